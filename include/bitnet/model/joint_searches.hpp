// SPDX-License-Identifier: MIT
// joint_searches: the largest logits of several rows from one reading of the screen.
#ifndef BITNET_MODEL_JOINT_SEARCHES_HPP
#define BITNET_MODEL_JOINT_SEARCHES_HPP

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/float_matrix.hpp>
#include <bitnet/core/memory_source.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/model/lm_head_screen.hpp>
#include <bitnet/model/screened_search.hpp>
#include <bitnet/simd/loop_table.hpp>
#include <bitnet/simd/screen.hpp>
#include <bitnet/simd/screen_group.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// Searches that are begun one by one, bounded together and finished one by one. Where the instruction set has loops
/// for that, sixteen states share what is done for each row of the screen, which is most of the work of a few already;
/// otherwise a task bounds its rows for one search after the other, while they are in a second level cache.
/// Allocates in open() only.
class joint_searches {
public:
    /// None.
    joint_searches() noexcept = default;

    /// \param what names the owner in errors \return errc::out_of_memory
    [[nodiscard]] static result<joint_searches> open(const loop_table& loops, const float_matrix& lm_head,
                                                     const lm_head_screen& screen, float logit_scale, std::size_t count,
                                                     std::string_view what, const memory_source* memory) {
        joint_searches made;
        made.loops_ = &loops;
        made.screen_ = &screen;
        made.searches_.reset(new (std::nothrow) screened_search[count]);
        if (made.searches_ == nullptr) {
            return error{errc::out_of_memory,
                         sentence({what, ": ", count, " searches of the head could not be allocated"})};
        }
        for (std::size_t i = 0; i < count; ++i) {
            auto search = screened_search::open(loops, lm_head, screen, logit_scale, memory);
            if (!search) {
                return failed(search);
            }
            made.searches_[i] = *std::move(search);
        }
        made.blocks_ = screen_layout::blocks(lm_head.cols);
        const std::size_t groups = groups_of(loops, count);
        const memory_from from{memory, {memory_use::scratch, false}};
        error failure;
        allocate(made.groups_, groups, what, failure, from);
        allocate(made.values_, groups * screen_group::value_bytes(made.blocks_), what, failure, from);
        allocate(made.offsets_, groups * made.blocks_ * screen_group::inputs, what, failure, from);
        if (failure.code != errc{}) {
            return failure;
        }
        return made;
    }

    /// What open() allocates for a head [rows, cols].
    [[nodiscard]] static std::uint64_t bytes(const loop_table& loops, std::size_t rows, std::size_t cols,
                                             std::size_t count) noexcept {
        const std::size_t blocks = screen_layout::blocks(cols);
        const std::uint64_t group = sizeof(screen_group) + screen_group::value_bytes(blocks) +
                                    blocks * screen_group::inputs * sizeof(std::int32_t);
        return count * (sizeof(screened_search) + screened_search::working_bytes(rows, cols)) +
               groups_of(loops, count) * group;
    }

    [[nodiscard]] bool empty() const noexcept { return searches_ == nullptr; }
    [[nodiscard]] screened_search& operator[](std::size_t i) const noexcept { return searches_[i]; }

    /// Behind begin() or prepare() of searches [first, first + count): their bounds are made together, by bound() for
    /// every task below bound_tasks(), on any threads.
    void begin_bounds(std::size_t first, std::size_t count) noexcept {
        first_ = first;
        count_ = count;
        used_groups_ = count < loops_->screen_groups.fewest ? 0 : groups_of(*loops_, count);
        if (used_groups_ == 0) {
            return;
        }
        for (std::size_t g = 0; g < used_groups_; ++g) {
            std::int8_t* values = values_.data() + g * screen_group::value_bytes(blocks_);
            std::int32_t* offsets = offsets_.data() + g * blocks_ * screen_group::inputs;
            groups_[g] = screen_group{};
            groups_[g].values = values;
            groups_[g].offsets = offsets;
            groups_[g].blocks = blocks_;
            for (std::size_t t = 0; t < screen_group::inputs && g * screen_group::inputs + t < count; ++t) {
                const screened_search& each = searches_[first + g * screen_group::inputs + t];
                if (!each.is_over()) {
                    groups_[g].put(t, each.input(), values, offsets);
                }
            }
        }
    }
    [[nodiscard]] std::size_t bound_tasks() const noexcept { return count_ != 0 ? searches_[first_].bound_tasks() : 0; }
    void bound(std::size_t task) noexcept {
        for (std::size_t g = 0; g < used_groups_; g += screen_group::most) {
            bound_groups(task, g, (std::min)(screen_group::most, used_groups_ - g));
        }
        for (std::size_t i = first_; i < first_ + count_; ++i) {
            searches_[i].bound(task, used_groups_ != 0);
        }
    }

private:
    [[nodiscard]] static std::size_t groups_of(const loop_table& loops, std::size_t count) noexcept {
        return loops.screen_groups.bound != nullptr ? (count + screen_group::inputs - 1) / screen_group::inputs : 0;
    }

    /// Bounds of the rows of a task for the searches of groups [begin, begin + group_count).
    void bound_groups(std::size_t task, std::size_t begin, std::size_t group_count) noexcept {
        constexpr std::size_t piece = 32;
        alignas(64) float upper[screen_group::most * piece * screen_group::inputs];
        const screened_search::row_range rows = searches_[first_].rows_of(task);
        for (std::size_t r = 0; r < rows.count; r += piece) {
            const std::size_t count = (std::min)(piece, rows.count - r);
            loops_->screen_groups.bound(screen_->row(rows.first + r), count, groups_.data() + begin, group_count,
                                        upper);
            const std::size_t first_input = begin * screen_group::inputs;
            const std::size_t end_input = (std::min)(count_, first_input + group_count * screen_group::inputs);
            for (std::size_t i = first_input; i < end_input; ++i) {
                const std::size_t at = (i - first_input) / screen_group::inputs * count * screen_group::inputs;
                searches_[first_ + i].take_bounds(rows.first + r, count, upper + at + i % screen_group::inputs,
                                                  screen_group::inputs);
            }
        }
    }

    const loop_table* loops_ = nullptr;
    const lm_head_screen* screen_ = nullptr;
    std::unique_ptr<screened_search[]> searches_;
    std::size_t blocks_ = 0; ///< of a row of the screen
    buffer<screen_group> groups_;
    buffer<std::int8_t> values_;
    buffer<std::int32_t> offsets_;
    std::size_t first_ = 0; ///< of the searches that are bounded
    std::size_t count_ = 0;
    std::size_t used_groups_ = 0; ///< 0: one search after the other
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
