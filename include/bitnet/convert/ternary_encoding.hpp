// SPDX-License-Identifier: MIT
// ternary_encoding: how a tensor type stores rows of ternary codes, for whoever chooses the type at run time.
#ifndef BITNET_CONVERT_TERNARY_ENCODING_HPP
#define BITNET_CONVERT_TERNARY_ENCODING_HPP

#include <bitnet/checkpoint/ternary_source.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/io/gguf_types.hpp>
#include <bitnet/kernel/base3.hpp>
#include <bitnet/kernel/iq2_bn.hpp>
#include <bitnet/kernel/lookup2.hpp>
#include <bitnet/kernel/lookup3.hpp>
#include <bitnet/kernel/ptq1_0.hpp>
#include <bitnet/kernel/q2_0.hpp>
#include <bitnet/kernel/row_format.hpp>
#include <bitnet/kernel/ternary_layout.hpp>
#include <bitnet/kernel/tq1_0.hpp>
#include <bitnet/kernel/tq2_0.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// A tensor type that ternary weights can be written in.
struct ternary_encoding {
    std::string_view name; ///< "i2_s", "lookup2", ..., "tq1_0"
    tensor_type type;
    std::uint32_t file_type; ///< general.file_type of a file of such tensors
    /// Rows that are stored together: 1 or a divisor of 32.
    std::size_t row_group;
    bool (*admits)(std::size_t rows, std::size_t cols) noexcept;
    /// Whether the type can hold this very scale.
    bool (*holds)(float scale) noexcept;
    /// Writes codes [rows, stride] of a group of row_group rows. After `cols` columns, up to `stride`, they are 1.
    void (*encode)(const std::uint8_t* codes, std::size_t cols, std::size_t stride, float scale,
                   std::uint8_t* out) noexcept;
    std::size_t block_columns; ///< encode() reads whole blocks: `stride` is a multiple of it
    /// Whether each block has a scale of its own: then encode() takes single blocks, too.
    bool has_block_scales;

    [[nodiscard]] std::size_t stride(std::size_t cols) const noexcept {
        return (cols + block_columns - 1) / block_columns * block_columns;
    }
};

namespace detail {

/// A layout of this library, whose scale stands in 32 bytes after the rows.
template <ternary_layout L>
[[nodiscard]] constexpr ternary_encoding layout_encoding(std::string_view name, std::uint32_t file_type_id) noexcept {
    constexpr auto encode = [](const std::uint8_t* codes, std::size_t cols, std::size_t stride, float,
                               std::uint8_t* out) noexcept {
        for (std::size_t col = 0; col < cols; col += L::block_columns, out += L::block_bytes) {
            L::pack_block(codes + col, stride, out);
        }
    };
    return {name,   file_type<L>,     file_type_id, L::block_rows, &L::admits, [](float) noexcept { return true; },
            encode, L::block_columns, false};
}

/// A row format of other programs, which holds the scale in every row or block.
template <writable_row_format F>
[[nodiscard]] constexpr ternary_encoding row_encoding(std::string_view name, tensor_type type,
                                                      std::uint32_t file_type_id) noexcept {
    return {name,
            type,
            file_type_id,
            1,
            [](std::size_t, std::size_t cols) noexcept { return cols % F::block_columns == 0; },
            [](float scale) noexcept { return F::stored_scale(scale) == scale; },
            [](const std::uint8_t* codes, std::size_t cols, std::size_t, float scale, std::uint8_t* out) noexcept {
                F::pack_row(codes, cols, scale, out);
            },
            F::block_columns,
            F::row_bytes(2 * F::block_columns) == 2 * F::row_bytes(F::block_columns)};
}

} // namespace detail

/// What bitnet.cpp, ik_llama.cpp and llama.cpp call their files, and the tensor type itself for our own layouts.
inline constexpr std::array<ternary_encoding, 11> ternary_encodings{
    {detail::layout_encoding<i2s>("i2_s", 40),
     detail::layout_encoding<base3>("base3", static_cast<std::uint32_t>(tensor_type::hpp_base3)),
     detail::layout_encoding<lookup2>("lookup2", static_cast<std::uint32_t>(tensor_type::hpp_lookup2)),
     detail::layout_encoding<lookup3>("lookup3", static_cast<std::uint32_t>(tensor_type::hpp_lookup3)),
     detail::row_encoding<detail::q2_0>("q2_0", tensor_type::q2_0, 41),
     detail::row_encoding<detail::q2_0_g64>("q2_0_g64", tensor_type::q2_0_g64, 41),
     detail::row_encoding<detail::pq2_0>("pq2_0", tensor_type::pq2_0, 141),
     detail::row_encoding<detail::ptq1_0>("ptq1_0", tensor_type::ptq1_0, 143),
     detail::row_encoding<detail::tq1_0>("tq1_0", tensor_type::tq1_0, 36),
     detail::row_encoding<detail::tq2_0>("tq2_0", tensor_type::tq2_0, 37),
     detail::row_encoding<detail::iq2_bn>("iq2_bn", tensor_type::iq2_bn, 137)}};

inline constexpr auto ternary_encoding_names = [] {
    std::array<std::string_view, ternary_encodings.size()> names;
    std::transform(ternary_encodings.begin(), ternary_encodings.end(), names.begin(),
                   [](const ternary_encoding& each) { return each.name; });
    return names;
}();

/// Null where there is none of this name.
[[nodiscard]] constexpr const ternary_encoding* find_ternary_encoding(std::string_view name) noexcept {
    for (const ternary_encoding& each : ternary_encodings) {
        if (each.name == name) {
            return &each;
        }
    }
    return nullptr;
}

} // namespace bitnet::inline BITNET_ABI

#endif
