// SPDX-License-Identifier: MIT
// lm_head_screen: a six-bit copy of the output matrix, which tells its few rows that matter from the rest.
#ifndef BITNET_MODEL_LM_HEAD_SCREEN_HPP
#define BITNET_MODEL_LM_HEAD_SCREEN_HPP

#include <bitnet/checkpoint/ternary_rows.hpp>
#include <bitnet/core/buffer.hpp>
#include <bitnet/core/checked.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/float_matrix.hpp>
#include <bitnet/core/memory_source.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/progress_meter.hpp>
#include <bitnet/io/quoted_name.hpp>
#include <bitnet/simd/loop_table.hpp>
#include <bitnet/simd/screen.hpp>
#include <bitnet/thread/pool.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// "token_embd.weight" -> "token_embd.screen": where a conversion stores the screen of a head.
[[nodiscard]] inline std::string screen_name(std::string_view head) {
    return std::string(head.substr(0, head.find('.'))) + ".screen";
}
[[nodiscard]] constexpr bool is_screen(std::string_view name) noexcept { return name.ends_with(".screen"); }

/// The screen of a head: 6.25 bits for each weight and 8 bytes for each row, made once. Immutable, shared by sessions.
class lm_head_screen {
public:
    /// A screen of no head.
    lm_head_screen() noexcept = default;

    /// Reads the head once, in parallel. \pre admits_screen(lm_head.element)
    /// \return errc::out_of_memory with the bytes asked for; errc::cancelled if `progress`, which may be null, says so.
    [[nodiscard]] static result<lm_head_screen> open(pool_ref pool, const loop_table& loops,
                                                     const float_matrix& lm_head, const memory_source* memory = nullptr,
                                                     progress_meter* progress = nullptr) {
        auto made = allocate(lm_head, memory);
        if (!made) {
            return made;
        }
        const auto write = [&](std::size_t first, std::size_t end) noexcept {
            for_rows(pool, first, end, [&](std::size_t r) noexcept { made->write(loops, lm_head, r); });
        };
        if (!in_steps(lm_head, progress, write)) {
            return progress->cancelled("screened head");
        }
        return made;
    }

    /// Memory for the screen of a head, which fill() writes. \return errc::out_of_memory with the bytes asked for.
    [[nodiscard]] static result<lm_head_screen> allocate(const float_matrix& lm_head,
                                                         const memory_source* memory = nullptr) {
        const auto size = bytes_for(lm_head);
        if (!size) {
            return error{errc::out_of_memory, "screened head: the number of bytes overflows 64 bits"};
        }
        auto bytes =
            buffer<std::byte>::allocate_uninitialized(*size, "screened head", {memory, {memory_use::weights, true}});
        if (!bytes) {
            return failed(bytes);
        }
        lm_head_screen made;
        made.own_ = *std::move(bytes);
        made.bytes_ = made.own_.span();
        made.row_bytes_ = screen_layout::row_bytes(lm_head.cols);
        return made;
    }
    /// Bytes of the screen of a head; nullopt if they overflow.
    [[nodiscard]] static std::optional<std::uint64_t> bytes_for(const float_matrix& lm_head) noexcept {
        return checked_multiply(lm_head.rows, screen_layout::row_bytes(lm_head.cols));
    }

    /// Reads the head once, in parallel, until `stop` is true. \return whether all rows are written.
    /// \pre allocated for this head, and admits_screen(lm_head.element)
    [[nodiscard]] bool fill(pool_ref pool, const loop_table& loops, const float_matrix& lm_head,
                            const std::atomic<bool>& stop) noexcept {
        std::atomic<bool> is_whole{true};
        for_rows(pool, 0, lm_head.rows, [&](std::size_t r) noexcept {
            if (stop.load(std::memory_order_relaxed)) {
                is_whole.store(false, std::memory_order_relaxed);
                return;
            }
            write(loops, lm_head, r);
        });
        return is_whole.load(std::memory_order_relaxed);
    }

    /// A screen that a conversion has stored in the tensor screen_name(head): in place. Borrows its bytes.
    /// \param verify whether every row is made again and compared: a screen of another head would give other tokens.
    /// \pre admits_screen(lm_head.element)
    /// \return errc::unsupported_type, wrong_shape, inconsistent or out_of_memory, naming the file and the tensor.
    [[nodiscard]] static result<lm_head_screen> open(pool_ref pool, const loop_table& loops,
                                                     const float_matrix& lm_head, const gguf_tensor& stored,
                                                     std::string_view file, bool verify,
                                                     progress_meter* progress = nullptr) {
        const auto fail = [&](errc code, std::string_view what) {
            return error{code, sentence({file, ": tensor ", quoted_name(stored.name), ": ", what})};
        };
        lm_head_screen made;
        made.bytes_ = stored.bytes;
        made.row_bytes_ = screen_layout::row_bytes(lm_head.cols);
        if (stored.type != tensor_type::hpp_screen) {
            return fail(errc::unsupported_type,
                        sentence({"type ", name_of(stored.type), " in the file, HPP_SCREEN expected"}));
        }
        if (stored.dims != tensor_dims{made.row_bytes_, lm_head.rows, 1, 1}) {
            return fail(errc::wrong_shape, sentence({dims_text(stored), " in the file, [", made.row_bytes_, ", ",
                                                     lm_head.rows, "] expected from the head"}));
        }
        std::atomic<std::size_t> other{lm_head.rows};
        const auto compare = [&](std::size_t first, std::size_t end) noexcept {
            for_rows(pool, first, end, [&](std::size_t r) noexcept {
                if (!is_row(loops, lm_head, r, made.row(r))) {
                    keep_lowest(other, r);
                }
            });
        };
        if (verify && !in_steps(lm_head, progress, compare)) {
            return progress->cancelled(file);
        }
        if (const std::size_t row = other.load(std::memory_order_relaxed); row != lm_head.rows) {
            return fail(errc::inconsistent,
                        sentence({"row ", row, " of its ", lm_head.rows, " rows is not the screen of the head's row"}));
        }
        return made;
    }

    [[nodiscard]] bool empty() const noexcept { return bytes_.empty(); }
    [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_.size(); }
    /// 0 if it lies in the file.
    [[nodiscard]] std::uint64_t own_bytes() const noexcept { return own_.size(); }
    [[nodiscard]] std::size_t row_bytes() const noexcept { return row_bytes_; }
    [[nodiscard]] const std::byte* row(std::size_t r) const noexcept { return bytes_.data() + r * row_bytes_; }

private:
    template <class Take>
    static void make_row(const loop_table& loops, const float_matrix& lm_head, std::size_t r, Take&& take) noexcept {
        const auto widen = [&, row = lm_head.row(r)](std::size_t first, std::size_t count, float* floats) noexcept {
            loops.of(lm_head.element).widen_row(row + row_bytes_of(lm_head.element, first), count, floats);
        };
        make_screen_row(lm_head.cols, widen, take);
    }
    static void write_row(const loop_table& loops, const float_matrix& lm_head, std::size_t r,
                          std::byte* out) noexcept {
        make_row(loops, lm_head, r, [&](const std::byte* piece, std::size_t size) noexcept {
            std::memcpy(out, piece, size);
            out += size;
        });
    }
    [[nodiscard]] static bool is_row(const loop_table& loops, const float_matrix& lm_head, std::size_t r,
                                     const std::byte* stored) noexcept {
        bool same = true;
        make_row(loops, lm_head, r, [&](const std::byte* piece, std::size_t size) noexcept {
            same = same && std::memcmp(stored, piece, size) == 0;
            stored += size;
        });
        return same;
    }
    void write(const loop_table& loops, const float_matrix& lm_head, std::size_t r) noexcept {
        write_row(loops, lm_head, r, own_.data() + r * row_bytes_);
    }
    template <class F> static void for_rows(pool_ref pool, std::size_t first, std::size_t end, F&& f) noexcept {
        constexpr std::size_t chunk = 64;
        parallel_for(pool, (end - first + chunk - 1) / chunk, [&](std::size_t task) noexcept {
            const std::size_t last = (std::min)(end, first + (task + 1) * chunk);
            for (std::size_t r = first + task * chunk; r < last; ++r) {
                f(r);
            }
        });
    }
    /// f(first, end) for all rows of the head, some 16 MiB at a time with a meter. \return false if that gives it up
    template <class F>
    [[nodiscard]] static bool in_steps(const float_matrix& lm_head, progress_meter* progress, F&& f) noexcept {
        constexpr std::size_t step_bytes = std::size_t{16} << 20;
        const std::size_t rows = lm_head.rows;
        const std::size_t step = progress != nullptr ? 64 + step_bytes / lm_head.row_bytes() / 64 * 64 : rows;
        for (std::size_t first = 0; first < rows; first += step) {
            const std::size_t end = (std::min)(rows, first + step);
            f(first, end);
            if (!advance(progress, std::uint64_t{end - first} * lm_head.row_bytes())) {
                return false;
            }
        }
        return true;
    }

    std::span<const std::byte> bytes_; ///< [rows, row_bytes_]
    buffer<std::byte> own_;            ///< where they are made here
    std::size_t row_bytes_ = 0;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
