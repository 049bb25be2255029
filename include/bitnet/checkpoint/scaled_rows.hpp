// SPDX-License-Identifier: MIT
// Tensors with a scale for each block: which ones there are, their scaled_blocks in place, and those made of others.
#ifndef BITNET_CHECKPOINT_SCALED_ROWS_HPP
#define BITNET_CHECKPOINT_SCALED_ROWS_HPP

#include <bitnet/checkpoint/format_rows.hpp>
#include <bitnet/checkpoint/ternary_rows.hpp>
#include <bitnet/core/buffer.hpp>
#include <bitnet/core/checked.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/half.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/gguf_types.hpp>
#include <bitnet/io/quoted_name.hpp>
#include <bitnet/kernel/float_groups.hpp>
#include <bitnet/kernel/layout_table.hpp>
#include <bitnet/kernel/ptq1_0.hpp>
#include <bitnet/kernel/row_format.hpp>
#include <bitnet/kernel/scaled_blocks.hpp>
#include <bitnet/kernel/tq1_0.hpp>
#include <bitnet/kernel/tq2_0.hpp>
#include <bitnet/thread/pool.hpp>

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// Whether kernels read tensors of this type where they lie.
[[nodiscard]] constexpr bool is_scaled_blocks(tensor_type type) noexcept {
    return type == tensor_type::q2_0 || type == tensor_type::q2_0_g64 || type == tensor_type::pq2_0;
}

/// \pre is_scaled_blocks(tensor.type)
[[nodiscard]] inline scaled_blocks blocks_of(const gguf_tensor& tensor) noexcept {
    return {reinterpret_cast<const std::uint8_t*>(tensor.bytes.data()), to_size(tensor.dims[1]),
            to_size(tensor.dims[0]), tensor.type == tensor_type::q2_0_g64 ? std::size_t{64} : std::size_t{128}};
}

/// Calls f.operator()<F>() for the row format of a type whose blocks have scales and are unpacked; false for others.
template <class Function> auto with_scaled_format(tensor_type type, Function&& f) {
    switch (type) {
    case tensor_type::tq1_0:
        return f.template operator()<tq1_0>();
    case tensor_type::tq2_0:
        return f.template operator()<tq2_0>();
    case tensor_type::ptq1_0:
        return f.template operator()<ptq1_0>();
    case tensor_type::f16_g128:
        return f.template operator()<float_groups<half>>();
    case tensor_type::bf16_g128:
        return f.template operator()<float_groups<bfloat16>>();
    default:
        return decltype(f.template operator()<tq1_0>()){};
    }
}

/// Whether a type is made for scales of blocks, so that no tensor of it is looked at for having one scale.
[[nodiscard]] constexpr bool is_for_block_scales(tensor_type type) noexcept {
    return is_scaled_blocks(type) || type == tensor_type::ptq1_0 || type == tensor_type::f16_g128 ||
           type == tensor_type::bf16_g128;
}
/// Whether the blocks of a type have scales, each a half.
[[nodiscard]] constexpr bool has_block_scales(tensor_type type) noexcept {
    return is_for_block_scales(type) || type == tensor_type::tq1_0 || type == tensor_type::tq2_0;
}

/// What is wrong with a row in format F that is not ternary, without the place.
template <class F> [[nodiscard]] constexpr std::string_view code_fault() noexcept {
    if constexpr (requires { F::fault; }) {
        return F::fault;
    } else {
        return "holds the code 3; only 0, 1 and 2 are ternary";
    }
}

/// Whether two blocks of a tensor have scales that differ; those of 0 do not count. Of types made for that it is taken
/// as said; TQ1_0 and TQ2_0 are also written for models with one scale for a whole matrix.
[[nodiscard]] inline bool has_several_scales(const gguf_tensor& tensor) noexcept {
    if (is_for_block_scales(tensor.type)) {
        return true;
    }
    return with_scaled_format(tensor.type, [&]<class F>() {
        const auto* data = reinterpret_cast<const std::uint8_t*>(tensor.bytes.data());
        const std::uint8_t* const end = data + tensor.bytes.size();
        unsigned first = 0; // of those that are not 0
        for (const std::uint8_t* block = data; block != end; block += F::block_bytes) {
            const half d = narrow<half>(F::scale(block, 0, F::block_columns, 0));
            const unsigned counted = (d.bits & 0x7fffu) != 0 ? d.bits : first;
            first = first == 0 ? counted : first;
            if (counted != first) {
                return true;
            }
        }
        return false;
    });
}

/// Finite and not below zero, which a zero with a sign is not: what the scale of a block may be.
[[nodiscard]] constexpr bool is_block_scale(half d) noexcept { return d.bits < 0x7c00u || d.bits == 0x8000u; }

/// The layout of scaled_blocks whose scales are all 1: for matrices with one scale, which is applied to the products.
inline constexpr layout_table unscaled_blocks{
    "Q2_0",
    1,
    128,
    34,
    [](std::size_t, std::size_t) noexcept { return true; },
    [](const std::uint8_t* codes, std::size_t, std::size_t blocks, std::uint8_t* out) noexcept {
        for (std::size_t b = 0; b < blocks; ++b) {
            write_block(codes + b * 128, 128, narrow<half>(1.0f), out + b * 34);
        }
    },
    [](const std::uint8_t* in, std::size_t blocks, std::uint8_t* codes, std::size_t) noexcept {
        for (std::size_t i = 0; i < blocks * 128; ++i) {
            codes[i] = static_cast<std::uint8_t>(code_in_block(in + i / 128 * 34, i % 128));
        }
    },
    [](const std::uint8_t* in, std::size_t blocks) noexcept {
        unsigned bad = 0;
        for (std::size_t i = 0; i < blocks * 34; ++i) {
            bad |= i % 34 < 2 ? 0u : in[i] & (in[i] >> 1) & 0x55u;
        }
        return bad == 0;
    }};

/// "model.gguf: tensor 'blk.0.attn_q.weight': row 17 of its 2560 rows has at column 128 the scale ..."
[[nodiscard]] inline error scaled_row_fault(const gguf_tensor& tensor, std::string_view file, std::size_t row,
                                            errc code, std::string_view what) {
    return {code, sentence({file, ": tensor ", quoted_name(tensor.name), ": row ", row, " of its ", tensor.dims[1],
                            " rows ", what})};
}
[[nodiscard]] inline std::string bad_scale_text(std::size_t column, std::string_view format, float scale) {
    return sentence({"has at column ", column, " the ", format, " scale ", scale_text(scale),
                     ", it must be finite and not below zero"});
}

/// Looks at `count` rows on the threads of a pool: `is_good(row, slot)` noexcept, with a slot for each thread.
/// \return the lowest bad row; count if there is none
template <class IsGood>
[[nodiscard]] std::size_t first_bad_row(pool_ref pool, std::size_t count, IsGood&& is_good) noexcept {
    constexpr std::size_t together = 16;
    std::atomic<std::size_t> next{0};
    std::atomic<std::size_t> lowest{count};
    const auto look_at = [&](std::size_t row, std::size_t slot) noexcept {
        if (!is_good(row, slot)) {
            keep_lowest(lowest, row);
        }
    };
    parallel_for(pool, pool.threads(), [&](std::size_t slot) noexcept {
        for (std::size_t begin = next.fetch_add(together); begin < count; begin = next.fetch_add(together)) {
            for (std::size_t row = begin; row < count && row < begin + together; ++row) {
                look_at(row, slot);
            }
        }
    });
    return lowest.load();
}

/// Whether all codes and scales of scaled_blocks are ternary. Reads the whole tensor.
/// \return errc::bad_code or bad_scale, naming the row and what is wrong
[[nodiscard]] inline result<void> check_scaled_blocks(pool_ref pool, const gguf_tensor& tensor, std::string_view file) {
    const scaled_blocks w = blocks_of(tensor);
    const std::size_t bytes = w.block_bytes();
    const auto is_good = [&](std::size_t row, std::size_t) noexcept {
        const std::uint8_t* block = w.row(row);
        unsigned bad = 0;
        for (std::size_t b = 0; b < w.blocks_across(); ++b, block += bytes) {
            bad |= is_block_scale(scale_of_block(block)) ? 0u : 1u;
            for (std::size_t i = 2; i < bytes; ++i) {
                bad |= block[i] & (block[i] >> 1) & 0x55u;
            }
        }
        return bad == 0;
    };
    const std::size_t row = first_bad_row(pool, w.rows, is_good);
    if (row == w.rows) {
        return {};
    }
    for (std::size_t b = 0; b < w.blocks_across(); ++b) {
        const half d = scale_of_block(w.row(row) + b * bytes);
        if (!is_block_scale(d)) {
            return scaled_row_fault(tensor, file, row, errc::bad_scale,
                                    bad_scale_text(b * w.block_columns, name_of(tensor.type), widen(d)));
        }
    }
    return scaled_row_fault(tensor, file, row, errc::bad_code,
                            "holds the code 3: four values, as other programs write type 42, are not ternary");
}

/// Writes a tensor in a row format with block scales as scaled_blocks of 128 columns to `out`.
/// \pre has_block_scales(tensor.type), not is_scaled_blocks \return errc::bad_code, bad_scale or out_of_memory
[[nodiscard]] inline result<void> pack_scaled_rows(pool_ref pool, const gguf_tensor& tensor, std::string_view file,
                                                   std::uint8_t* out, const memory_source* memory = nullptr) {
    const auto rows = to_size(tensor.dims[1]);
    const auto cols = to_size(tensor.dims[0]);
    auto all = buffer<std::uint8_t>::allocate_uninitialized(cols * pool.threads(), "rows of ternary codes",
                                                            {memory, {memory_use::temporary, false}});
    if (!all) {
        return failed(all);
    }
    const auto* data = reinterpret_cast<const std::uint8_t*>(tensor.bytes.data());
    return with_scaled_format(tensor.type, [&]<class F>() -> result<void> {
        static_assert(F::block_columns % 128 == 0);
        const auto scale_at = [&](std::size_t row, std::size_t col) noexcept {
            return F::scale(data, row, cols, col / F::block_columns);
        };
        const auto pack = [&](std::size_t row, std::size_t slot) noexcept {
            std::uint8_t* const codes = all->data() + slot * cols;
            bool good = F::unpack_row(data, row, cols, codes);
            for (std::size_t col = 0; col < cols; col += 128) {
                const half d = narrow<half>(scale_at(row, col));
                good = good && is_block_scale(d);
                write_block(codes + col, 128, d, out + (row * cols + col) / 128 * 34);
            }
            return good;
        };
        const std::size_t bad = first_bad_row(pool, rows, pack);
        if (bad == rows) {
            return {};
        }
        for (std::size_t col = 0; col < cols; col += F::block_columns) {
            if (!is_block_scale(narrow<half>(scale_at(bad, col)))) {
                return scaled_row_fault(tensor, file, bad, errc::bad_scale,
                                        bad_scale_text(col, F::name, scale_at(bad, col)));
            }
        }
        return scaled_row_fault(tensor, file, bad, errc::bad_code, code_fault<F>());
    });
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
