// SPDX-License-Identifier: MIT
// shared_head: the logits of several rows of a pass, or the largest of them.
#ifndef BITNET_RUN_SHARED_HEAD_HPP
#define BITNET_RUN_SHARED_HEAD_HPP

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/memory_source.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/model/joint_searches.hpp>
#include <bitnet/model/ranking.hpp>
#include <bitnet/model/screened_search.hpp>
#include <bitnet/model/transformer.hpp>
#include <bitnet/run/forward_pass.hpp>
#include <bitnet/run/model_parts.hpp>
#include <bitnet/run/model_screen.hpp>
#include <bitnet/thread/pool.hpp>
#include <bitnet/thread/stepped_pool.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// Rows of a pass, each with how many of its largest logits are needed. Two ways lead to them, each in one reading for
/// all rows: the screen, and the output matrix as it is stored. The rule: the screen, which has half the bytes and half
/// the work, if there is one and all rows can do with few logits. Where a search gives up, the matrix is read for the
/// rows that gave up. Allocates in open() only.
class shared_head {
public:
    /// Borrows the model. \return errc::out_of_memory.
    [[nodiscard]] result<void> open(const model_parts& model, std::size_t rows, const memory_from& from) {
        screen_ = &model.screen;
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
            auto searches = joint_searches::open(*model.tables.loops, model.tensors.lm_head(), model.screen.get(),
                                                 model.parameters.logit_scale, rows, "scheduler", from.source);
            if (!searches) {
                return failed(searches);
            }
            searches_ = *std::move(searches);
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
        fulls_ = 0;
        has_logits_ = false;
        search_stage_ = can_search() ? search_stage::none : search_stage::over;
        progress_ = {};
        ranks_ = {};
        for (std::size_t i = 0; i < size_ && search_stage_ == search_stage::over; ++i) {
            read_all_of(i);
        }
    }

    /// For rows that were added after run() has ended, from number `first` on: all their logits, which run() computes.
    void read_more(std::size_t first) noexcept {
        fulls_ = 0;
        has_logits_ = false;
        ranks_ = {};
        for (std::size_t i = first; i < size_; ++i) {
            read_all_of(i);
        }
    }

    /// Goes on until the step ends. \pre the layers of the pass have run. \return whether all is there
    [[nodiscard]] bool run(forward_pass& pass, stepped_pool& steps, transformer& forward) noexcept {
        if (!search(steps, forward)) {
            return false;
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

    [[nodiscard]] bool can_search() const noexcept {
        for (std::size_t i = 0; i < size_; ++i) {
            if (asked_[i].needs == 0) {
                return false;
            }
        }
        return size_ != 0 && !searches_.empty() && screen_->is_ready();
    }

    /// Searches for the few of all rows, reading the screen once. \return whether that is over
    [[nodiscard]] bool search(stepped_pool& steps, transformer& forward) noexcept {
        if (search_stage_ == search_stage::none) {
            for (std::size_t i = 0; i < size_; ++i) {
                searches_[i].begin(forward.final_state(asked_[i].row, i), asked_[i].needs);
            }
            searches_.begin_bounds(0, size_);
            search_stage_ = search_stage::bounds;
        }
        if (search_stage_ == search_stage::bounds) {
            const loop_kind kind{forward_pass::search_stage, size_};
            parallel_for(steps.resume(progress_, kind), searches_.bound_tasks(),
                         [&](std::size_t task) noexcept { searches_.bound(task); });
            if (steps.is_stopped()) {
                return false;
            }
            search_stage_ = search_stage::rest;
            progress_ = {};
        }
        if (search_stage_ == search_stage::rest) {
            parallel_for(steps.resume(progress_, {rank_stage, 2}), size_,
                         [&](std::size_t i) noexcept { finish_search(i, forward.place_of_state(i)); });
            if (steps.is_stopped()) {
                return false;
            }
            search_stage_ = search_stage::over;
            for (std::size_t i = 0; i < size_; ++i) {
                if (asked_[i].found == 0) {
                    read_all_of(i);
                }
            }
        }
        return true;
    }
    void finish_search(std::size_t i, const float* x) noexcept {
        searches_[i].finish(x);
        if (const auto found = searches_[i].found()) {
            std::copy(found->begin(), found->end(), few_.data() + i * most);
            asked_[i].found = found->size();
        }
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

    enum class search_stage { none, bounds, rest, over };

    const model_screen* screen_ = nullptr;
    std::size_t vocabulary_ = 0;
    joint_searches searches_;       ///< [rows], none without a screen
    buffer<float> logits_;          ///< [rows, vocabulary]
    buffer<scored_token> few_;      ///< [rows, most]
    buffer<asked> asked_;           ///< [rows]
    buffer<std::size_t> full_rows_; ///< [rows]: of those whose logits are all computed: their rows in the pass,
    buffer<float*> full_out_;       ///< where the logits go,
    buffer<std::size_t> full_;      ///< and which they are
    std::size_t size_ = 0;
    search_stage search_stage_ = search_stage::over;
    loop_progress progress_; ///< of that stage
    std::size_t fulls_ = 0;
    bool has_logits_ = false;
    loop_progress ranks_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
