// SPDX-License-Identifier: MIT
// Ternary rows: a matrix that is read row by row, whatever it lies in, and packed into a layout.
#pragma once

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/checked.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/quoted_name.hpp>
#include <bitnet/kernel/ternary_layout.hpp>
#include <bitnet/thread/pool.hpp>

#include <algorithm>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// The rows of a ternary matrix, with one scale for all. Several threads may read at a time.
template <class R>
concept ternary_rows = requires(const R& rows, std::size_t row, std::uint8_t* codes) {
    { rows.scale() } // 1 where the scale stands in a tensor of its own
    noexcept->std::same_as<float>;
    { rows.read(row, codes) } // cols codes 0, 1, 2 of one row; false where the row is not ternary
    noexcept->std::same_as<bool>;
};

/// Rows that can say what is wrong with a row that read() refused: "holds the code 3".
template <class R>
concept explained_rows = ternary_rows<R> && requires(const R& rows, std::size_t row) {
    { rows.fault(row) } -> std::same_as<error>; // without the place
};

/// Any ternary_rows, so that what packs them is compiled once. Borrows them.
class any_ternary_rows {
public:
    template <ternary_rows R>
    explicit any_ternary_rows(const R& rows) noexcept
        : rows_(&rows), scale_(rows.scale()),
          read_([](const void* self, std::size_t row, std::uint8_t* codes) noexcept {
              return static_cast<const R*>(self)->read(row, codes);
          }),
          fault_([]([[maybe_unused]] const void* self, [[maybe_unused]] std::size_t row) {
              if constexpr (explained_rows<R>) {
                  return static_cast<const R*>(self)->fault(row);
              } else {
                  return error{errc::bad_code, "holds the code 3; only 0, 1 and 2 are ternary"};
              }
          }) {}

    [[nodiscard]] float scale() const noexcept { return scale_; }
    [[nodiscard]] bool read(std::size_t row, std::uint8_t* codes) const noexcept { return read_(rows_, row, codes); }
    [[nodiscard]] error fault(std::size_t row) const { return fault_(rows_, row); }

private:
    const void* rows_;
    float scale_;
    bool (*read_)(const void*, std::size_t, std::uint8_t*) noexcept;
    error (*fault_)(const void*, std::size_t);
};

/// "tensor 'blk.0.attn_q.weight': row 17 of its 2560 rows " and what `rows` has to say about it.
[[nodiscard]] inline error row_fault(const any_ternary_rows& rows, std::size_t row, const gguf_tensor& tensor,
                                     std::string_view file) {
    error found = rows.fault(row);
    found.message = std::string(file) + ": tensor " + quoted_name(tensor.name) + ": row " + std::to_string(row) +
                    " of its " + std::to_string(tensor.dims[1]) + " rows " + found.message;
    return found;
}

/// Lowers `known` to `row` where that is lower. Several threads may do so at a time.
inline void keep_lowest(std::atomic<std::size_t>& known, std::size_t row) noexcept {
    std::size_t lowest = known.load(std::memory_order_relaxed);
    while (row < lowest && !known.compare_exchange_weak(lowest, row, std::memory_order_relaxed)) {
    }
}

/// Reads all rows in ascending runs on the threads of `pool`, `Together` at a time into codes [Together, stride], and
/// calls pack(first row, codes, stride) noexcept for each. Columns behind the row and rows behind the last one are code
/// 1. Memory: Together * stride bytes for each thread.
/// \param stride at least the columns of `tensor`
/// \return errc::out_of_memory, or the fault of the first row that is not ternary.
template <std::size_t Together, thread_pool_type Pool, class Pack>
[[nodiscard]] result<void> for_each_rows(Pool& pool, const any_ternary_rows& rows, const gguf_tensor& tensor,
                                         std::string_view file, std::size_t stride, Pack&& pack) {
    const auto count = static_cast<std::size_t>(tensor.dims[1]);
    const auto one = checked_multiply(stride, Together);
    const auto all = one ? checked_multiply(*one, pool.threads()) : one;
    auto memory = buffer<std::uint8_t>::allocate_uninitialized(all.value_or(UINT64_MAX), "rows of ternary codes");
    if (!memory) {
        return std::move(memory).error();
    }
    const std::size_t slot_bytes = stride * Together;
    std::memset(memory->data(), 1, memory->size());
    std::atomic<std::size_t> next{0};
    std::atomic<std::size_t> first_bad{count};
    const auto read = [&](std::size_t row, std::uint8_t* codes) noexcept {
        if (row >= count) {
            std::memset(codes, 1, stride);
        } else if (!rows.read(row, codes)) {
            keep_lowest(first_bad, row);
        }
    };
    parallel_for(pool, pool.threads(), [&](std::size_t slot) noexcept {
        std::uint8_t* const codes = memory->data() + slot * slot_bytes;
        for (std::size_t first = 0; (first = Together * next.fetch_add(1, std::memory_order_relaxed)) < count;) {
            for (std::size_t r = 0; r < Together; ++r) {
                read(first + r, codes + r * stride);
            }
            pack(first, codes, stride);
        }
    });
    const std::size_t bad = first_bad.load(std::memory_order_relaxed);
    return bad == count ? result<void>{} : row_fault(rows, bad, tensor, file);
}

/// Writes all rows to `out` in layout `To`. \pre `To` admits the shape; `out` holds layout_bytes<To> of it
/// \return as for_each_rows
template <ternary_layout To, thread_pool_type Pool>
[[nodiscard]] result<void> pack_rows(Pool& pool, const any_ternary_rows& rows, const gguf_tensor& tensor,
                                     std::string_view file, std::uint8_t* out) {
    const std::size_t across = blocks_across<To>(static_cast<std::size_t>(tensor.dims[0]));
    const auto pack = [&](std::size_t first, const std::uint8_t* codes, std::size_t stride) noexcept {
        std::uint8_t* block = out + first / To::block_rows * across * To::block_bytes;
        for (std::size_t i = 0; i < across; ++i, block += To::block_bytes) {
            To::pack_block(codes + i * To::block_columns, stride, block);
        }
    };
    return for_each_rows<To::block_rows>(pool, rows, tensor, file, across * To::block_columns, pack);
}

} // namespace bitnet::inline BITNET_ABI
