// SPDX-License-Identifier: MIT
// shared_head: the logits of several rows of a pass, or the largest of them.
#ifndef BITNET_RUN_SHARED_HEAD_HPP
#define BITNET_RUN_SHARED_HEAD_HPP

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/float_matrix.hpp>
#include <bitnet/core/memory_source.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/model/ranking.hpp>
#include <bitnet/model/screened_search.hpp>
#include <bitnet/model/transformer.hpp>
#include <bitnet/run/forward_pass.hpp>
#include <bitnet/run/model_parts.hpp>
#include <bitnet/thread/pool.hpp>
#include <bitnet/thread/stepped_pool.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// Rows of a pass, each with how many of its largest logits are needed. Two ways lead to them: the screen is searched
/// for one row after the other, or the output matrix is read once for all. The rule: the screen, if all rows can do
/// with few logits and reading it once for each reads fewer bytes than the matrix has. Where a search gives up, the
/// matrix is read for the rows that gave up. Allocates in open() only.
class shared_head {
public:
    /// Borrows the model. \return errc::out_of_memory.
    [[nodiscard]] result<void> open(const model_parts& model, std::size_t rows, const memory_from& from) {
        screen_ = &model.screen;
        tensors_ = &model.tensors;
        vocabulary_ = model.parameters.vocabulary;
        // No row's memory is used before it is written.
        auto logits =
            buffer<float>::allocate_uninitialized(std::uint64_t{rows} * vocabulary_, "scheduler, logits", from);
        if (!logits) {
            return failed(logits);
        }
        logits_ = *std::move(logits);
        auto found = buffer<scored_token>::allocate_uninitialized(rows * most, "scheduler, largest logits", from);
        if (!found) {
            return failed(found);
        }
        few_ = *std::move(found);
        error failure;
        allocate(asked_, rows, "scheduler", failure, from);
        allocate(full_rows_, rows, "scheduler", failure, from);
        allocate(full_out_, rows, "scheduler", failure, from);
        allocate(full_, rows, "scheduler", failure, from);
        if (failure.code != errc{}) {
            return failure;
        }
        if (model.screen.is_expected()) {
            auto search = screened_search::open(*model.tables.loops, model.tensors.lm_head(), model.screen.get(),
                                                model.parameters.logit_scale, from.source);
            if (!search) {
                return failed(search);
            }
            search_ = *std::move(search);
        }
        return {};
    }

    void clear() noexcept { size_ = 0; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    /// \param needs as token_chooser has it: 0 for all logits. \pre fewer rows than open() was told
    void add(std::size_t row, std::size_t needs) noexcept {
        asked_[size_++] = {row, needs <= most ? (std::min)(needs, vocabulary_) : 0, 0, false};
    }
    /// After the last add().
    void choose_way() noexcept {
        searched_ = size_;
        fulls_ = 0;
        has_logits_ = false;
        ranks_ = {};
        if (is_screen_shorter()) {
            searched_ = 0;
        } else {
            for (std::size_t i = 0; i < size_; ++i) {
                read_all_of(i);
            }
        }
    }

    /// Goes on until the step ends. \pre the layers of the pass have run. \return whether all is there
    [[nodiscard]] bool run(forward_pass& pass, stepped_pool& steps, transformer& forward) noexcept {
        for (; searched_ < size_; ++searched_) {
            asked& each = asked_[searched_];
            if (!pass.run_search(steps, search_, forward.final_state(each.row), each.needs)) {
                return false;
            }
            if (const auto found = search_.found()) {
                std::copy(found->begin(), found->end(), few_.data() + searched_ * most);
                each.found = found->size();
            } else {
                read_all_of(searched_);
            }
            pass.drop_head();
        }
        if (fulls_ == 0) {
            return true;
        }
        if (!has_logits_) {
            has_logits_ = pass.run_logits(steps, forward, full_rows_.span().first(fulls_),
                                          std::span<float* const>(full_out_.data(), fulls_));
            if (!has_logits_) {
                return false;
            }
        }
        parallel_for(steps.resume(ranks_, {rank_stage, 1}), fulls_, [&](std::size_t i) noexcept { rank(full_[i]); });
        return !steps.is_stopped();
    }

    /// At least the `needs` largest logits of row `i`; nullopt if they are not there, or all are needed.
    [[nodiscard]] std::optional<std::span<const scored_token>> few(std::size_t i, std::size_t needs) const noexcept {
        const std::size_t found = asked_[i].found;
        if (needs == 0 || found < (std::min)(needs, vocabulary_)) {
            return std::nullopt;
        }
        return std::span<const scored_token>(few_.data() + i * most, found);
    }
    /// All logits of row `i`, if they were computed.
    [[nodiscard]] std::optional<std::span<const float>> logits(std::size_t i) const noexcept {
        if (!asked_[i].is_full) {
            return std::nullopt;
        }
        return std::span<const float>(logits_.data() + i * vocabulary_, vocabulary_);
    }

private:
    static constexpr std::size_t most = screened_search::most;
    static constexpr std::size_t rank_stage = forward_pass::search_stage + 3;

    struct asked {
        std::size_t row;
        std::size_t needs; ///< 0: all logits
        std::size_t found; ///< of its few
        bool is_full;      ///< all logits are computed
    };

    [[nodiscard]] bool is_screen_shorter() const noexcept {
        if (!screen_->is_ready()) {
            return false;
        }
        for (std::size_t i = 0; i < size_; ++i) {
            if (asked_[i].needs == 0) {
                return false;
            }
        }
        const float_matrix& head = tensors_->lm_head();
        return size_ * screen_->get().bytes() < std::uint64_t{head.rows} * head.row_bytes();
    }

    void read_all_of(std::size_t i) noexcept {
        asked_[i].is_full = true;
        full_rows_[fulls_] = asked_[i].row;
        full_out_[fulls_] = logits_.data() + i * vocabulary_;
        full_[fulls_++] = i;
    }

    /// Out of all logits the few that are needed, side by side with other rows': a chooser would do it one by one.
    void rank(std::size_t i) noexcept {
        asked& each = asked_[i];
        if (each.needs != 0) {
            each.found =
                take_largest({logits_.data() + i * vocabulary_, vocabulary_}, {few_.data() + i * most, each.needs});
        }
    }

    const model_screen* screen_ = nullptr;
    const weights* tensors_ = nullptr;
    std::size_t vocabulary_ = 0;
    screened_search search_;
    buffer<float> logits_;          ///< [rows, vocabulary]
    buffer<scored_token> few_;      ///< [rows, most]
    buffer<asked> asked_;           ///< [rows]
    buffer<std::size_t> full_rows_; ///< [rows]: of those whose logits are all computed: their rows in the pass,
    buffer<float*> full_out_;       ///< where the logits go,
    buffer<std::size_t> full_;      ///< and which they are
    std::size_t size_ = 0;
    std::size_t searched_ = 0;
    std::size_t fulls_ = 0;
    bool has_logits_ = false;
    loop_progress ranks_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
