// SPDX-License-Identifier: MIT
// The types of GGUF: of metadata values and of tensors, their names and their sizes in bytes.
#ifndef BITNET_IO_GGUF_TYPES_HPP
#define BITNET_IO_GGUF_TYPES_HPP

#include <bitnet/core/checked.hpp>
#include <bitnet/core/config.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <type_traits>

namespace bitnet::inline BITNET_ABI {

/// The type of a metadata value, with its id in the file.
enum class gguf_type : std::uint32_t {
    u8 = 0,
    i8 = 1,
    u16 = 2,
    i16 = 3,
    u32 = 4,
    i32 = 5,
    f32 = 6,
    boolean = 7,
    string = 8,
    array = 9,
    u64 = 10,
    i64 = 11,
    f64 = 12,
};

/// "u32", "string", ...; "unknown" for an id that GGUF does not define.
[[nodiscard]] constexpr std::string_view name_of(gguf_type type) noexcept {
    constexpr std::array<std::string_view, 13> names{"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                                     "bool", "string", "array", "u64", "i64", "f64"};
    const auto id = static_cast<std::size_t>(type);
    return id < names.size() ? names[id] : "unknown";
}

namespace detail {

/// Bytes of one value; 0 for strings, arrays and unknown ids, which have no fixed size.
[[nodiscard]] constexpr std::uint64_t size_of(gguf_type type) noexcept {
    constexpr std::array<std::uint8_t, 13> sizes{1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    const auto id = static_cast<std::size_t>(type);
    return id < sizes.size() ? sizes[id] : 0;
}

/// The GGUF type that holds a C++ number or bool.
template <class T>
requires std::is_arithmetic_v<T>
[[nodiscard]] constexpr gguf_type gguf_type_of() noexcept {
    if constexpr (std::is_same_v<T, bool>) {
        return gguf_type::boolean;
    } else if constexpr (std::is_floating_point_v<T>) {
        static_assert(sizeof(T) == 4 || sizeof(T) == 8, "GGUF knows float and double");
        return sizeof(T) == 4 ? gguf_type::f32 : gguf_type::f64;
    } else {
        constexpr bool is_signed = std::is_signed_v<T>;
        switch (sizeof(T)) {
        case 1:
            return is_signed ? gguf_type::i8 : gguf_type::u8;
        case 2:
            return is_signed ? gguf_type::i16 : gguf_type::u16;
        case 4:
            return is_signed ? gguf_type::i32 : gguf_type::u32;
        default:
            return is_signed ? gguf_type::i64 : gguf_type::u64;
        }
    }
}

} // namespace detail

/// The element type of a tensor, with its id in the file. Ids 36 to 39 are those of microsoft/BitNet (upstream ggml
/// used them for others), 134 and above those of ik_llama.cpp, 142 and 143 those of PrismML's llama.cpp, 0xb158vvll
/// this library's own: layout ll, version vv.
enum class tensor_type : std::uint32_t {
    f32 = 0,
    f16 = 1,
    q4_0 = 2,
    q8_0 = 8,
    q4_k = 12,
    q6_k = 14,
    bf16 = 30,
    tq1_0 = 34,
    tq2_0 = 35,
    i2_s = 36,
    i8_s = 37,
    tl1 = 38,
    tl2 = 39,
    q2_0 = 42,
    iq1_bn = 134,
    iq2_bn = 135,
    pq2_0 = 142,
    ptq1_0 = 143,
    iq2_bn_r4 = 335,
    hpp_base3 = 0xb1580101,   ///< kernel/base3.hpp
    hpp_lookup2 = 0xb1580102, ///< kernel/lookup2.hpp
    hpp_lookup3 = 0xb1580103, ///< kernel/lookup3.hpp
    hpp_screen = 0xb1580104,  ///< simd/screen.hpp: the bytes of a screened head, no elements
    bf16_g128 = 0xb15801fc,   ///< never in a GGUF file: BF16 that is ternary with a scale for each 128 columns
    f16_g128 = 0xb15801fd,    ///< never in a GGUF file: the same of F16
    q2_0_g64 = 0xb15801fe,    ///< never in a GGUF file: what type 42 is where its blocks have 64 columns
    hf_packed = 0xb15801ff,   ///< never in a GGUF file: ternary U8 weights of Hugging Face, see model/packed_rows.hpp
};

namespace detail {

/// Bytes after the codes of I2_S and of this library's own layouts: the f32 scale of the tensor, padded.
inline constexpr std::uint32_t ternary_scale_bytes = 32;

/// Bounds of general.alignment. The format asks for a multiple of 8; below that, floats could not be read in place.
inline constexpr std::uint32_t least_gguf_alignment = 8;
inline constexpr std::uint32_t largest_gguf_alignment = 65536;

/// How a tensor type stores its elements: blocks of `block_elements` in `block_bytes`, none of which crosses the end of
/// a row unless `flat`; `row_bytes` more at the start of every row and `tail_bytes` more after the last one.
struct tensor_format {
    tensor_type type;
    std::string_view name;
    std::uint32_t block_elements;
    std::uint32_t block_bytes;
    std::uint32_t row_bytes = 0;  ///< a scale per row
    std::uint32_t tail_bytes = 0; ///< one scale per tensor, padded
    bool flat = false;            ///< the whole tensor is one run of blocks
    std::uint32_t row_group = 1;  ///< rows that are stored interleaved
    bool padded = false;          ///< row_group rows of block_elements are one block; both ends are filled up
};

/// All tensor types that can be read. I2_S: four codes to a byte, then the f32 scale in 32 bytes; the order of the
/// codes depends on the layout (A, B or C), which the file does not record. TL2 has no fixed block: see tensor_bytes.
inline constexpr std::array<tensor_format, 27> tensor_formats{{
    {tensor_type::f32, "F32", 1, 4},
    {tensor_type::f16, "F16", 1, 2},
    {tensor_type::q4_0, "Q4_0", 32, 18},    // f16 scale, 32 * 4 bits
    {tensor_type::q8_0, "Q8_0", 32, 34},    // f16 scale, 32 * 8 bits
    {tensor_type::q4_k, "Q4_K", 256, 144},  // 2 f16, 8 * 12 bits of scales, 256 * 4 bits
    {tensor_type::q6_k, "Q6_K", 256, 210},  // 256 * 6 bits, 16 scales, f16
    {tensor_type::bf16, "BF16", 1, 2},      //
    {tensor_type::tq1_0, "TQ1_0", 256, 54}, // 48 * 5 + 4 * 4 trits, f16 scale
    {tensor_type::tq2_0, "TQ2_0", 256, 66}, // 256 * 2 bits, f16 scale
    {tensor_type::i2_s, "I2_S", 4, 1, 0, ternary_scale_bytes, true},
    {tensor_type::i8_s, "I8_S", 1, 1},
    {tensor_type::tl1, "TL1", 4, 1, 0, 0, true}, // the scale is a tensor of its own, as that of TL2
    {tensor_type::tl2, "TL2", 1, 0},
    {tensor_type::q2_0, "Q2_0", 128, 34}, // f16 scale, 128 * 2 bits
    {tensor_type::q2_0_g64, "Q2_0_G64", 64, 18},
    {tensor_type::pq2_0, "PQ2_0", 128, 34},                        // the bytes of Q2_0
    {tensor_type::ptq1_0, "PTQ1_0", 128, 28},                      // 24 * 5 + 2 * 4 trits, f16 scale
    {tensor_type::iq1_bn, "IQ1_BN", 64, 13, 2},                    // f16 scale per row
    {tensor_type::iq2_bn, "IQ2_BN", 64, 16, 4},                    // f32 scale per row
    {tensor_type::iq2_bn_r4, "IQ2_BN_R4", 64, 16, 4, 0, false, 4}, // four rows of it interleaved
    {tensor_type::hpp_base3, "HPP_BASE3", 320, 64, 0, ternary_scale_bytes, false, 1, true},
    {tensor_type::hpp_lookup2, "HPP_LOOKUP2", 16, 128, 0, ternary_scale_bytes, false, 32, true},
    {tensor_type::hpp_lookup3, "HPP_LOOKUP3", 24, 160, 0, ternary_scale_bytes, false, 32, true},
    {tensor_type::hpp_screen, "HPP_SCREEN", 1, 1},
    {tensor_type::bf16_g128, "BF16_G128", 128, 256},
    {tensor_type::f16_g128, "F16_G128", 128, 256},
    {tensor_type::hf_packed, "U8_PACKED", 4, 1, 0, 0, true}, // four rows to a byte
}};

/// How `type` is stored; null for an id that is not known here.
[[nodiscard]] constexpr const tensor_format* format_of(tensor_type type) noexcept {
    for (const auto& format : tensor_formats) {
        if (format.type == type) {
            return &format;
        }
    }
    return nullptr;
}

} // namespace detail

/// "F16", "I2_S", ...; "unknown" for an id that is not known here.
[[nodiscard]] constexpr std::string_view name_of(tensor_type type) noexcept {
    const auto* format = detail::format_of(type);
    return format != nullptr ? format->name : "unknown";
}

/// Dimensions of a tensor, fastest first; those that it does not have are 1.
using tensor_dims = std::array<std::uint64_t, 4>;

/// The product of all dimensions, or nullopt if it does not fit 64 bits.
[[nodiscard]] constexpr std::optional<std::uint64_t> element_count(const tensor_dims& dims) noexcept {
    std::optional<std::uint64_t> product = 1;
    for (const std::uint64_t dim : dims) {
        product = product ? detail::checked_multiply(*product, dim) : product;
    }
    return product;
}

namespace detail {

/// Whether a type has an id of this library's making that no GGUF file may hold.
[[nodiscard]] constexpr bool is_in_memory_only(tensor_type type) noexcept {
    return type == tensor_type::hf_packed || type == tensor_type::q2_0_g64 || type == tensor_type::f16_g128 ||
           type == tensor_type::bf16_g128;
}

/// The id that a GGUF file has for a type.
[[nodiscard]] constexpr tensor_type file_id(tensor_type type) noexcept {
    return type == tensor_type::q2_0_g64 ? tensor_type::q2_0 : type;
}

/// How many elements of a row must be present at a time: `dims[0]` must be a multiple of it (for flat formats, the
/// number of all elements). 1 for an unknown type.
[[nodiscard]] constexpr bool fits_blocks(tensor_type type, const tensor_dims& dims) noexcept {
    const auto* format = format_of(type);
    if (format == nullptr) {
        return false;
    }
    if (type == tensor_type::tl2) {
        return dims[0] >= 256; // its last 256 columns are stored as pairs
    }
    if (format->padded) {
        return true;
    }
    const auto elements = element_count(dims);
    const bool whole =
        format->flat ? elements && *elements % format->block_elements == 0 : dims[0] % format->block_elements == 0;
    return whole && dims[1] % format->row_group == 0;
}

/// TL2 as the converter of microsoft/BitNet counts it: three weights in 4 + 1 bits but for the last 256 columns, two
/// weights in four bits there. (Its loader counts 32 bytes more, for TL1 too, which in files that the converter wrote
/// are the tensor of the scale.)
[[nodiscard]] constexpr std::optional<std::uint64_t> tl2_bytes(const tensor_dims& dims) noexcept {
    const auto rows = checked_multiply(dims[1], checked_multiply(dims[2], dims[3]).value_or(0));
    const auto triples = checked_multiply(dims[0] - 256, rows.value_or(0));
    const auto triple_bits = triples ? checked_multiply(*triples / 3, 5) : triples;
    const auto pair_bytes = checked_multiply(64, rows.value_or(0));
    if (!rows || *rows == 0 || !triple_bits || !pair_bytes) {
        return std::nullopt;
    }
    return checked_add(*triple_bits / 8, *pair_bytes);
}

/// Blocks of a padded format, and its tail.
[[nodiscard]] constexpr std::optional<std::uint64_t> padded_bytes(const tensor_format& format,
                                                                  const tensor_dims& dims) noexcept {
    const auto rows = checked_multiply(dims[1], checked_multiply(dims[2], dims[3]).value_or(0));
    const std::uint64_t across = dims[0] / format.block_elements + (dims[0] % format.block_elements != 0 ? 1 : 0);
    const std::uint64_t down = rows.value_or(0) / format.row_group + (rows.value_or(0) % format.row_group != 0 ? 1 : 0);
    const auto blocks = checked_multiply(across, down);
    const auto bytes = blocks ? checked_multiply(*blocks, format.block_bytes) : blocks;
    return rows && *rows != 0 && bytes ? checked_add(*bytes, format.tail_bytes) : std::nullopt;
}

/// Bytes that a tensor takes in the file, without the padding after it; nullopt on overflow.
/// \pre fits_blocks(type, dims)
[[nodiscard]] constexpr std::optional<std::uint64_t> tensor_bytes(tensor_type type, const tensor_dims& dims) noexcept {
    const auto* format = format_of(type);
    const auto elements = element_count(dims);
    if (format == nullptr || !elements) {
        return std::nullopt;
    }
    if (type == tensor_type::tl2) {
        return tl2_bytes(dims);
    }
    if (format->padded) {
        return padded_bytes(*format, dims);
    }
    const auto blocks = checked_multiply(*elements / format->block_elements, format->block_bytes);
    const auto row_headers = checked_multiply(dims[0] != 0 ? *elements / dims[0] : 0, format->row_bytes);
    const auto sum = blocks && row_headers ? checked_add(*blocks, *row_headers) : std::nullopt;
    return sum ? checked_add(*sum, format->tail_bytes) : sum;
}

} // namespace detail

} // namespace bitnet::inline BITNET_ABI

#endif
