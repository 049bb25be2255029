// SPDX-License-Identifier: MIT
// A screened head: the k largest logits, bit for bit, from a six-bit copy of the head and the few rows that matter.
#pragma once

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/huge_pages.hpp>
#include <bitnet/core/quantized_block.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/quoted_name.hpp>
#include <bitnet/model/head.hpp>
#include <bitnet/model/ranking.hpp>
#include <bitnet/model/ternary_rows.hpp>
#include <bitnet/model/weights.hpp>
#include <bitnet/policy.hpp>
#include <bitnet/simd/screen.hpp>
#include <bitnet/thread/pool.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// "token_embd.weight" -> "token_embd.screen": where a conversion stores the screen of a head.
[[nodiscard]] inline std::string screen_name(std::string_view head) {
    return std::string(head.substr(0, head.find('.'))) + ".screen";
}
[[nodiscard]] constexpr bool is_screen(std::string_view name) noexcept { return name.ends_with(".screen"); }

/// The screen of a head: 6.25 bits for each weight and 8 bytes for each row, made once. Immutable, shared by sessions.
class screened_head {
public:
    /// A screen of no head.
    screened_head() noexcept = default;

    /// Whether a head of this type gains from a screen. Q6_K and Q8_0 are about as small themselves.
    [[nodiscard]] static constexpr bool admits(dense_element element) noexcept {
        return element == dense_element::f32 || element == dense_element::f16 || element == dense_element::bf16;
    }

    /// Reads the head once, in parallel. \pre admits(head.element)
    /// \return errc::out_of_memory with the bytes asked for.
    template <policy_type P>
    [[nodiscard]] static result<screened_head> open(typename P::pool& pool, const dense_matrix& head) {
        const std::size_t row_bytes = screen_layout::row_bytes(head.cols);
        const auto size = checked_multiply(head.rows, row_bytes);
        if (!size) {
            return error{errc::out_of_memory, "screened head: the number of bytes overflows 64 bits"};
        }
        auto bytes = buffer<std::byte>::allocate_uninitialized(*size, "screened head");
        if (!bytes) {
            return std::move(bytes).error();
        }
        screened_head made;
        made.own_ = *std::move(bytes);
        made.bytes_ = made.own_.span();
        made.row_bytes_ = row_bytes;
        ask_for_huge_pages(made.own_.data(), made.own_.size());
        for_rows(pool, head.rows,
                 [&](std::size_t r) noexcept { write_row<P>(head, r, made.own_.data() + r * row_bytes); });
        return made;
    }

    /// A screen that a conversion has stored in the tensor screen_name(head): in place. Borrows its bytes.
    /// \param verify whether every row is made again and compared: a screen of another head would give other tokens.
    /// \pre admits(head.element)
    /// \return errc::unsupported_type, wrong_shape, inconsistent or out_of_memory, naming the file and the tensor.
    template <policy_type P>
    [[nodiscard]] static result<screened_head> open(typename P::pool& pool, const dense_matrix& head,
                                                    const gguf_tensor& stored, std::string_view file, bool verify) {
        const auto fail = [&](errc code, const std::string& sentence) {
            return error{code, std::string(file) + ": tensor " + quoted_name(stored.name) + ": " + sentence};
        };
        screened_head made;
        made.bytes_ = stored.bytes;
        made.row_bytes_ = screen_layout::row_bytes(head.cols);
        if (stored.type != tensor_type::hpp_screen) {
            return fail(errc::unsupported_type,
                        "type " + std::string(name_of(stored.type)) + " in the file, HPP_SCREEN expected");
        }
        if (stored.dims != tensor_dims{made.row_bytes_, head.rows, 1, 1}) {
            return fail(errc::wrong_shape, dims_text(stored) + " in the file, [" + std::to_string(made.row_bytes_) +
                                               ", " + std::to_string(head.rows) + "] expected from the head");
        }
        std::atomic<std::size_t> other{head.rows};
        for_rows(pool, verify ? head.rows : 0, [&](std::size_t r) noexcept {
            if (!is_row<P>(head, r, made.row(r))) {
                keep_lowest(other, r);
            }
        });
        if (const std::size_t row = other.load(std::memory_order_relaxed); row != head.rows) {
            return fail(errc::inconsistent, "row " + std::to_string(row) + " of its " + std::to_string(head.rows) +
                                                " rows is not the screen of the head's row");
        }
        return made;
    }

    [[nodiscard]] bool empty() const noexcept { return bytes_.empty(); }
    [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_.size(); }
    [[nodiscard]] std::size_t row_bytes() const noexcept { return row_bytes_; }
    [[nodiscard]] const std::byte* row(std::size_t r) const noexcept { return bytes_.data() + r * row_bytes_; }

private:
    template <policy_type P, class Take>
    static void make_row(const dense_matrix& head, std::size_t r, Take&& take) noexcept {
        with_element(head.element, [&]<class E>() {
            const std::byte* row = head.data + r * row_bytes_of<E>(head.cols);
            const auto widen = [row](std::size_t first, std::size_t count, float* floats) noexcept {
                P::loops::template widen_row<E>(row + row_bytes_of<E>(first), count, floats);
            };
            make_screen_row(head.cols, widen, take);
        });
    }
    template <policy_type P> static void write_row(const dense_matrix& head, std::size_t r, std::byte* out) noexcept {
        make_row<P>(head, r, [&](const std::byte* piece, std::size_t size) noexcept {
            std::memcpy(out, piece, size);
            out += size;
        });
    }
    template <policy_type P>
    [[nodiscard]] static bool is_row(const dense_matrix& head, std::size_t r, const std::byte* stored) noexcept {
        bool same = true;
        make_row<P>(head, r, [&](const std::byte* piece, std::size_t size) noexcept {
            same = same && std::memcmp(stored, piece, size) == 0;
            stored += size;
        });
        return same;
    }
    template <class Pool, class F> static void for_rows(Pool& pool, std::size_t rows, F&& f) noexcept {
        constexpr std::size_t chunk = 64;
        parallel_for(pool, (rows + chunk - 1) / chunk, [&](std::size_t task) noexcept {
            const std::size_t end = std::min(rows, (task + 1) * chunk);
            for (std::size_t r = task * chunk; r < end; ++r) {
                f(r);
            }
        });
    }

    std::span<const std::byte> bytes_; ///< [rows, row_bytes_]
    buffer<std::byte> own_;            ///< where they are made here
    std::size_t row_bytes_ = 0;
};

/// What a session's screened steps cost.
struct head_statistics {
    std::uint64_t steps = 0;         ///< times that largest logits were asked for
    std::uint64_t full_passes = 0;   ///< of these, how often the whole head was read instead
    std::uint64_t rescored_rows = 0; ///< rows of the head that were read in the others
    std::uint64_t bytes_read = 0;    ///< of the screen and the head together
};

/// Finds the largest logits of one state after the other. Working memory of a session; allocates in open() only:
/// 12 bytes for each row of the head and 1.5 for each column.
///
/// 1. Every row's bound from above, out of the screen (screen_input has the proof).
/// 2. The exact logits of the rows whose bounds are the largest: the k-th largest of them is a floor, which the k-th
///    largest of all logits cannot be below.
/// 3. The exact logits of every row whose bound reaches the floor: the k largest of all are among them.
///
/// The exact logits come from dot_rows over the head as stored, so they are the full head's bit for bit, and the result
/// depends on nothing else: not on the instruction set, nor on the threads.
template <policy_type P> class head_screening {
public:
    using pool_type = typename P::pool;
    static constexpr std::size_t most = 256; ///< logits that can be asked for

    head_screening() noexcept = default;

    /// Borrows both. \return errc::out_of_memory.
    [[nodiscard]] static result<head_screening> open(const dense_matrix& head, const screened_head& screen) {
        head_screening made;
        made.head_ = &head;
        made.screen_ = &screen;
        made.group_ = (head.rows + most_groups - 1) / most_groups;
        const std::size_t groups = (head.rows + made.group_ - 1) / made.group_;
        const std::size_t cols = screen_layout::blocks(head.cols) * screen_layout::block_columns;
        error failure;
        allocate(made.high_, cols, failure);
        allocate(made.low_, cols, failure);
        allocate(made.offset_, cols / 8, failure);
        allocate(made.upper_, head.rows, failure);
        allocate(made.peaks_, groups, failure);
        allocate(made.order_, groups, failure);
        allocate(made.found_, made.limit() + most_candidates, failure);
        if (failure.code != errc{}) {
            return failure;
        }
        return made;
    }

    /// The k largest logits of head * x in descending order (see precedes), fewer where the head has fewer rows. Valid
    /// until the next call. Nothing where the whole head has to be read: x is not finite, or the bounds leave more than
    /// an eighth of the rows. x [head.cols]. \pre 1 <= k <= most; opened with a head
    [[nodiscard]] std::optional<std::span<const scored_token>> largest(pool_type& pool, const float* x,
                                                                       std::size_t k) noexcept {
        assert(k >= 1 && k <= most);
        k = std::min(k, head_->rows);
        ++statistics_.steps;
        if (!make_screen_input(x, head_->cols, high_.data(), low_.data(), offset_.data(), input_)) {
            return give_up();
        }
        bound_rows(pool);
        const std::int32_t floor = floor_of(pool, x, k);
        const std::size_t count = rescore(pool, x, floor);
        if (count > limit()) {
            return give_up();
        }
        statistics_.rescored_rows += count;
        statistics_.bytes_read += screen_->bytes() + (count + candidates_) * head_->row_bytes();
        scored_token* first = found_.data();
        std::nth_element(first, first + (k - 1), first + count, by_logit);
        std::sort(first, first + k, by_logit);
        return std::span<const scored_token>(first, k);
    }

    [[nodiscard]] const head_statistics& statistics() const noexcept { return statistics_; }

private:
    static constexpr std::size_t most_groups = 8192; ///< whose peaks are ordered by one thread, in under 0.1 ms
    static constexpr std::size_t most_candidates = 2 * most;
    static constexpr std::size_t rows_per_task = 256;
    static constexpr std::size_t rows_per_list = 64;

    /// The largest bound of a group of rows.
    struct peak {
        std::int32_t rank;
        std::uint32_t row;
    };

    template <class T> static void allocate(buffer<T>& into, std::size_t size, error& failure) {
        auto made = buffer<T>::allocate(size, "screened head, working memory");
        if (made) {
            into = *std::move(made);
        } else if (failure.code == errc{}) {
            failure = std::move(made).error();
        }
    }

    [[nodiscard]] static bool by_logit(const scored_token& a, const scored_token& b) noexcept { return precedes(a, b); }

    /// Rows that are rescored at most.
    [[nodiscard]] std::size_t limit() const noexcept { return head_->rows / 8 + 1; }

    [[nodiscard]] std::nullopt_t give_up() noexcept {
        ++statistics_.full_passes;
        statistics_.bytes_read += head_->rows * head_->row_bytes();
        return std::nullopt;
    }

    [[nodiscard]] std::size_t groups_per_task() const noexcept {
        return std::max<std::size_t>(1, rows_per_task / group_);
    }
    template <class F> void for_groups(pool_type& pool, F&& f) noexcept {
        const std::size_t per_task = groups_per_task();
        parallel_for(pool, (peaks_.size() + per_task - 1) / per_task, [&](std::size_t task) noexcept {
            f(task * per_task, std::min(peaks_.size(), (task + 1) * per_task));
        });
    }
    [[nodiscard]] std::size_t end_of(std::size_t group) const noexcept {
        return std::min(head_->rows, (group + 1) * group_);
    }

    [[nodiscard]] peak peak_of(std::size_t group) const noexcept {
        peak highest{INT32_MIN, 0};
        for (std::size_t r = group * group_; r < end_of(group); ++r) {
            const std::int32_t rank = rank_of(upper_[r]);
            if (rank > highest.rank) {
                highest = {rank, static_cast<std::uint32_t>(r)};
            }
        }
        return highest;
    }

    /// upper_ and peaks_.
    void bound_rows(pool_type& pool) noexcept {
        for_groups(pool, [&](std::size_t begin, std::size_t end) noexcept {
            const std::size_t first = begin * group_;
            P::loops::screen_rows(screen_->row(first), end_of(end - 1) - first, input_, upper_.data() + first);
            for (std::size_t g = begin; g < end; ++g) {
                peaks_[g] = peak_of(g);
            }
        });
    }

    /// The rank of a logit that k rows reach, from the exact logits of the highest peaks; the lowest rank where there
    /// are fewer than k peaks.
    [[nodiscard]] std::int32_t floor_of(pool_type& pool, const float* x, std::size_t k) noexcept {
        candidates_ = std::min({std::max<std::size_t>(16, 2 * k), most_candidates, order_.size()});
        if (candidates_ < k) {
            candidates_ = 0;
            return INT32_MIN;
        }
        std::copy_n(peaks_.data(), peaks_.size(), order_.data());
        std::nth_element(
            order_.data(), order_.data() + (candidates_ - 1), order_.data() + order_.size(),
            [](const peak& a, const peak& b) noexcept { return a.rank != b.rank ? a.rank > b.rank : a.row < b.row; });
        constexpr std::size_t chunk = 8;
        parallel_for(pool, (candidates_ + chunk - 1) / chunk, [&](std::size_t task) noexcept {
            std::array<std::uint32_t, chunk> rows;
            const std::size_t first = task * chunk;
            const std::size_t count = std::min(chunk, candidates_ - first);
            for (std::size_t i = 0; i < count; ++i) {
                rows[i] = order_[first + i].row;
            }
            score({rows.data(), count}, x, found_.data() + first);
        });
        std::nth_element(found_.data(), found_.data() + (k - 1), found_.data() + candidates_, by_logit);
        return rank_of(found_[k - 1].logit);
    }

    /// Calls visit(row) for the rows of groups [begin, end) whose bound reaches the floor.
    template <class F>
    void for_rows_reaching(std::int32_t floor, std::size_t begin, std::size_t end, F&& visit) const noexcept {
        for (std::size_t g = begin; g < end; ++g) {
            if (peaks_[g].rank < floor) {
                continue;
            }
            for (std::size_t r = g * group_; r < end_of(g); ++r) {
                if (rank_of(upper_[r]) >= floor) {
                    visit(r);
                }
            }
        }
    }

    /// Exact logits of all rows whose bound reaches the floor, to found_. \return their number; where it exceeds
    /// limit(), not all have been computed.
    [[nodiscard]] std::size_t rescore(pool_type& pool, const float* x, std::int32_t floor) noexcept {
        std::atomic<std::size_t> count{0};
        for_groups(pool, [&](std::size_t begin, std::size_t end) noexcept {
            std::array<std::uint32_t, rows_per_list> rows;
            std::size_t listed = 0;
            const auto flush = [&]() noexcept {
                const std::size_t at = count.fetch_add(listed, std::memory_order_relaxed);
                if (at + listed <= limit()) {
                    score({rows.data(), listed}, x, found_.data() + at);
                }
                listed = 0;
            };
            for_rows_reaching(floor, begin, end, [&](std::size_t row) noexcept {
                rows[listed++] = static_cast<std::uint32_t>(row);
                if (listed == rows.size()) {
                    flush();
                }
            });
            flush();
        });
        return count.load(std::memory_order_relaxed);
    }

    /// out[i] = row rows[i] and its exact logit. \pre rows.size() <= rows_per_list
    void score(std::span<const std::uint32_t> rows, const float* x, scored_token* out) const noexcept {
        std::array<float, rows_per_list> logits;
        with_element(head_->element, [&]<class E>() {
            P::loops::template dot_listed<E>(head_->data, row_bytes_of<E>(head_->cols), rows, x, head_->cols,
                                             logits.data());
        });
        for (std::size_t i = 0; i < rows.size(); ++i) {
            out[i] = {static_cast<token>(rows[i]), logits[i]};
        }
    }

    const dense_matrix* head_ = nullptr;
    const screened_head* screen_ = nullptr;
    std::size_t group_ = 1; ///< rows to a peak
    std::size_t candidates_ = 0;
    buffer<std::int8_t> high_;
    buffer<std::int8_t> low_;
    buffer<std::int32_t> offset_;
    screen_input input_;
    buffer<float> upper_;        ///< [rows] bounds
    buffer<peak> peaks_;         ///< [groups]
    buffer<peak> order_;         ///< [groups] the highest first
    buffer<scored_token> found_; ///< [limit + candidates]
    head_statistics statistics_;
};

} // namespace bitnet::inline BITNET_ABI
