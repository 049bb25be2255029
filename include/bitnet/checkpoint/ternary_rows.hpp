// SPDX-License-Identifier: MIT
// Ternary rows: a matrix that is read row by row, whatever it is stored in, and packed into a layout.
#ifndef BITNET_CHECKPOINT_TERNARY_ROWS_HPP
#define BITNET_CHECKPOINT_TERNARY_ROWS_HPP

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/checked.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/gguf_types.hpp>
#include <bitnet/io/quoted_name.hpp>
#include <bitnet/kernel/layout_table.hpp>
#include <bitnet/thread/pool.hpp>

#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// The rows of a ternary matrix, with one scale for all. Several threads may read at a time.
template <class R>
concept ternary_rows = requires(const R& rows, std::size_t row, std::uint8_t* codes) {
    { rows.scale() } // 1 if the scale is in a tensor of its own
    noexcept->std::same_as<float>;
    { rows.read(row, codes) } // cols codes 0, 1, 2 of one row; false if the row is not ternary
    noexcept->std::same_as<bool>;
};

/// Rows that can say what is wrong with a row that read() refused: "holds the code 3".
template <class R>
concept explained_rows = ternary_rows<R> && requires(const R& rows, std::size_t row) {
    { rows.fault(row) } -> std::same_as<error>; // without the place
};

/// Rows that are stored group_rows() together, and read best so.
template <class R>
concept grouped_rows = ternary_rows<R> &&
    requires(const R& rows, std::size_t first, std::uint8_t* codes, std::size_t stride) {
    { rows.group_rows() } // a power of two, at most 32
    noexcept->std::same_as<std::size_t>;
    { rows.read_group(first, codes, stride) } // rows [first, first + group_rows()) that exist; false as for read
    noexcept->std::same_as<bool>;
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
          }) {
        if constexpr (grouped_rows<R>) {
            group_ = rows.group_rows();
            read_group_ = [](const void* self, std::size_t first, std::uint8_t* codes, std::size_t stride) noexcept {
                return static_cast<const R*>(self)->read_group(first, codes, stride);
            };
        }
    }

    [[nodiscard]] float scale() const noexcept { return scale_; }
    [[nodiscard]] bool read(std::size_t row, std::uint8_t* codes) const noexcept { return read_(rows_, row, codes); }
    [[nodiscard]] error fault(std::size_t row) const { return fault_(rows_, row); }

    [[nodiscard]] std::size_t group_rows() const noexcept { return group_; }
    /// \pre first is a multiple of group_rows(); `stride` is the columns, rounded up to whole blocks of the rows'
    /// layout
    [[nodiscard]] bool read_group(std::size_t first, std::uint8_t* codes, std::size_t stride) const noexcept {
        return read_group_ != nullptr ? read_group_(rows_, first, codes, stride) : read(first, codes);
    }

private:
    const void* rows_;
    float scale_;
    std::size_t group_ = 1;
    bool (*read_)(const void*, std::size_t, std::uint8_t*) noexcept;
    bool (*read_group_)(const void*, std::size_t, std::uint8_t*, std::size_t) noexcept = nullptr;
    error (*fault_)(const void*, std::size_t);
};

/// "model.gguf: tensor 'blk.0.attn_q.weight': row 17 of its 2560 rows " and what `rows` has to say about it.
[[nodiscard]] inline error row_fault(const any_ternary_rows& rows, std::size_t row, const gguf_tensor& tensor,
                                     std::string_view file) {
    error found = rows.fault(row);
    found.message = sentence({file, ": tensor ", quoted_name(tensor.name), ": row ", row, " of its ", tensor.dims[1],
                              " rows ", found.message});
    return found;
}

/// Lowers `known` to `row` if that is lower. Several threads may do so at a time.
inline void keep_lowest(std::atomic<std::size_t>& known, std::size_t row) noexcept {
    std::size_t lowest = known.load(std::memory_order_relaxed);
    while (row < lowest && !known.compare_exchange_weak(lowest, row, std::memory_order_relaxed)) {
    }
}

/// One reading of all rows of a tensor, in ascending runs of `together` rows on the threads of a pool.
class row_reading {
public:
    /// \param together a multiple of rows.group_rows() \param stride at least the columns, and whole blocks of the
    /// rows' own layout
    row_reading(const any_ternary_rows& rows, std::size_t count, std::size_t cols, std::size_t together,
                std::size_t stride) noexcept
        : rows_(rows), count_(count), cols_(cols), together_(together), stride_(stride) {}

    /// Memory: together * stride bytes for each thread. \return errc::out_of_memory.
    [[nodiscard]] result<void> allocate(std::size_t threads, const memory_source* memory) {
        const auto one = checked_multiply(stride_, together_);
        const auto all = one ? checked_multiply(*one, threads) : one;
        auto codes = buffer<std::uint8_t>::allocate_uninitialized(all.value_or(UINT64_MAX), "rows of ternary codes",
                                                                  {memory, {memory_use::temporary, false}});
        if (!codes) {
            return failed(codes);
        }
        codes_ = *std::move(codes);
        return {};
    }

    [[nodiscard]] std::uint8_t* codes_of(std::size_t slot) noexcept {
        return codes_.data() + slot * stride_ * together_;
    }
    /// The first of the next rows; none are left if it is not below the number of rows.
    [[nodiscard]] std::size_t take() noexcept { return together_ * next_.fetch_add(1, std::memory_order_relaxed); }

    /// Rows [first, first + together) to `codes`. What is beyond the columns or the last row is code 1.
    void read(std::size_t first, std::uint8_t* codes) noexcept {
        const std::size_t group = rows_.group_rows();
        for (std::size_t r = 0; r < together_; r += group) {
            std::uint8_t* const out = codes + r * stride_;
            if (first + r < count_ && !rows_.read_group(first + r, out, stride_)) {
                keep_lowest(first_bad_, first + r);
            }
            for (std::size_t i = 0; i < group; ++i) {
                const std::size_t kept = first + r + i < count_ ? cols_ : 0;
                std::memset(out + i * stride_ + kept, 1, stride_ - kept);
            }
        }
    }

    /// The first row that is not ternary, or the first of its group if what fills the group up is not; the number of
    /// rows if all are.
    [[nodiscard]] std::size_t first_bad(std::uint8_t* spare) const noexcept {
        const std::size_t first = first_bad_.load(std::memory_order_relaxed);
        for (std::size_t row = first; row < count_ && row - first < rows_.group_rows(); ++row) {
            if (!rows_.read(row, spare)) {
                return row;
            }
        }
        return first < count_ ? first : count_;
    }

private:
    const any_ternary_rows& rows_;
    std::size_t count_;
    std::size_t cols_;
    std::size_t together_;
    std::size_t stride_;
    buffer<std::uint8_t> codes_;
    std::atomic<std::size_t> next_{0};
    std::atomic<std::size_t> first_bad_{SIZE_MAX};
};

/// Reads all rows, `together` at a time, into codes [together, stride], and calls pack(first row, codes, stride)
/// noexcept for each such run. Columns beyond the row's and rows beyond the last one are code 1.
/// \param together, stride as in row_reading
/// \return errc::out_of_memory, or the fault of the first row that is not ternary.
template <class Pack>
[[nodiscard]] result<void> for_each_rows(pool_ref pool, const any_ternary_rows& rows, const gguf_tensor& tensor,
                                         std::string_view file, std::size_t together, std::size_t stride, Pack&& pack,
                                         const memory_source* memory = nullptr) {
    const auto count = to_size(tensor.dims[1]);
    row_reading reading(rows, count, to_size(tensor.dims[0]), together, stride);
    if (auto allocated = reading.allocate(pool.threads(), memory); !allocated) {
        return allocated;
    }
    parallel_for(pool, pool.threads(), [&](std::size_t slot) noexcept {
        std::uint8_t* const codes = reading.codes_of(slot);
        for (std::size_t first = reading.take(); first < count; first = reading.take()) {
            reading.read(first, codes);
            pack(first, codes, stride);
        }
    });
    const std::size_t bad = reading.first_bad(reading.codes_of(0));
    return bad == count ? result<void>{} : row_fault(rows, bad, tensor, file);
}

/// Writes all rows to `out` in layout `to`. \param stride_of_rows whole blocks of the rows' own layout, if they have
/// one \pre `to` admits the shape; `out` holds to.bytes of it. \return as for_each_rows
[[nodiscard]] inline result<void> pack_rows(pool_ref pool, const any_ternary_rows& rows, const gguf_tensor& tensor,
                                            std::string_view file, const layout_table& to, std::uint8_t* out,
                                            std::size_t stride_of_rows = 0, const memory_source* memory = nullptr) {
    const std::size_t across = to.blocks_across(to_size(tensor.dims[0]));
    const std::size_t down = to.blocks_down(to_size(tensor.dims[1]));
    const std::size_t together = to.block_rows > rows.group_rows() ? to.block_rows : rows.group_rows();
    const std::size_t stride_of_blocks = across * to.block_columns;
    const auto pack = [&](std::size_t first, const std::uint8_t* codes, std::size_t stride) noexcept {
        for (std::size_t r = 0; r < together; r += to.block_rows) {
            if (const std::size_t row = (first + r) / to.block_rows; row < down) {
                to.pack(codes + r * stride, stride, across, out + row * across * to.block_bytes);
            }
        }
    };
    return for_each_rows(pool, rows, tensor, file, together,
                         stride_of_rows > stride_of_blocks ? stride_of_rows : stride_of_blocks, pack, memory);
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
