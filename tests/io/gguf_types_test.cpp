// SPDX-License-Identifier: MIT
#include <bitnet/io/gguf_types.hpp>
#include <bitnet/io/quoted_name.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

using bitnet::gguf_type;
using bitnet::name_of;
using bitnet::tensor_dims;
using bitnet::tensor_type;
using bitnet::detail::fits_blocks;
using bitnet::detail::size_of;
using bitnet::detail::tensor_bytes;

TEST_CASE("every tensor type has its published id and bytes per 256 x 8 elements") {
    struct row {
        std::uint32_t id;
        std::string_view name;
        std::uint64_t bytes;
    };
    constexpr std::uint64_t n = 256 * 8;
    const row rows[] = {
        {0, "F32", 4 * n},
        {1, "F16", 2 * n},
        {2, "Q4_0", n / 32 * 18},
        {8, "Q8_0", n / 32 * 34},
        {12, "Q4_K", 8 * 144},
        {14, "Q6_K", 8 * 210},
        {30, "BF16", 2 * n},
        {34, "TQ1_0", 8 * 54},
        {35, "TQ2_0", 8 * 66},
        {36, "I2_S", n / 4 + 32},
        {37, "I8_S", n},
        {38, "TL1", n / 4},
        {39, "TL2", 256 * 8 / 4}, // 256 columns: pairs only
        {42, "Q2_0", n / 128 * 34},
        {134, "IQ1_BN", 8 * 2 + n / 64 * 13},
        {135, "IQ2_BN", 8 * 4 + n / 64 * 16},
        {335, "IQ2_BN_R4", 8 * 4 + n / 64 * 16},
        {142, "PQ2_0", n / 128 * 34},
        {143, "PTQ1_0", n / 128 * 28},
        {0xb1580101, "HPP_BASE3", 8 * 1 * 64 + 32},       // 256 columns fill one block of 320
        {0xb1580102, "HPP_LOOKUP2", 256 / 16 * 128 + 32}, // 8 rows fill one group of 32
        {0xb1580103, "HPP_LOOKUP3", 11 * 160 + 32},       // eleven blocks of 24 columns
        {0xb1580104, "HPP_SCREEN", n},
        {0xb15801fc, "BF16_G128", 2 * n},
        {0xb15801fd, "F16_G128", 2 * n},
        {0xb15801fe, "Q2_0_G64", n / 64 * 18},
        {0xb15801ff, "U8_PACKED", n / 4},
    };
    CHECK(std::size(rows) == bitnet::detail::tensor_formats.size());
    for (const row& r : rows) {
        CAPTURE(r.id);
        const auto type = static_cast<tensor_type>(r.id);
        CHECK(name_of(type) == r.name);
        CHECK(fits_blocks(type, {256, 8, 1, 1}));
        CHECK(tensor_bytes(type, {256, 8, 1, 1}) == r.bytes);
    }
}

TEST_CASE("TL2 takes five bits for three weights, except in the last 256 columns") {
    // 3200 x 8640 of bitnet_b1_58-3B: 2944 * 8640 / 3 * 5 / 8 + 64 * 8640 is a multiple of 32.
    CHECK(tensor_bytes(tensor_type::tl2, {3200, 8640, 1, 1}) == 2944u * 8640 / 3 * 5 / 8 + 64u * 8640);
    CHECK(tensor_bytes(tensor_type::tl2, {259, 1, 1, 1}) == 64u); // three weights round down to no byte
    CHECK_FALSE(fits_blocks(tensor_type::tl2, {255, 8, 1, 1}));
}

TEST_CASE("this library's layouts take whole blocks of any shape") {
    CHECK(fits_blocks(tensor_type::hpp_base3, {1, 1, 1, 1}));
    CHECK(tensor_bytes(tensor_type::hpp_base3, {321, 3, 1, 1}) == 3u * 2 * 64 + 32);
    CHECK(tensor_bytes(tensor_type::hpp_lookup2, {17, 33, 1, 1}) == 2u * 2 * 128 + 32);
    CHECK(tensor_bytes(tensor_type::hpp_lookup3, {2560, 640, 2, 1}) == 107u * 40 * 160 + 32);
}

TEST_CASE("an unknown type has no name, no size and fits no shape") {
    for (const std::uint32_t id : {3u, 31u, 36u + 4u, 136u, 0xffffffffu}) {
        const auto type = static_cast<tensor_type>(id);
        CHECK(name_of(type) == "unknown");
        CHECK_FALSE(fits_blocks(type, {256, 1, 1, 1}));
        CHECK(tensor_bytes(type, {256, 1, 1, 1}) == std::nullopt);
    }
    CHECK(name_of(static_cast<gguf_type>(13)) == "unknown");
    CHECK(size_of(static_cast<gguf_type>(13)) == 0);
}

TEST_CASE("rows must hold whole blocks, and I2_S must hold whole bytes") {
    CHECK(fits_blocks(tensor_type::q8_0, {32, 3, 1, 1}));
    CHECK_FALSE(fits_blocks(tensor_type::q8_0, {16, 4, 1, 1}));
    CHECK(fits_blocks(tensor_type::iq2_bn, {64, 3, 1, 1}));
    CHECK_FALSE(fits_blocks(tensor_type::iq2_bn_r4, {64, 3, 1, 1}));
    CHECK(fits_blocks(tensor_type::i2_s, {2, 2, 1, 1}));
    CHECK_FALSE(fits_blocks(tensor_type::i2_s, {3, 3, 1, 1}));
}

TEST_CASE("sizes beyond 64 bits are noticed for every type") {
    constexpr std::uint64_t big = std::uint64_t{1} << 40;
    for (const auto& format : bitnet::detail::tensor_formats) {
        CAPTURE(format.name);
        CHECK(tensor_bytes(format.type, {big, big, 1, 1}) == std::nullopt);
        CHECK(tensor_bytes(format.type, {256, big, big, big}) == std::nullopt);
    }
    CHECK(tensor_bytes(tensor_type::f32, {std::uint64_t{1} << 62, 1, 1, 1}) == std::nullopt);
    CHECK(bitnet::element_count({big, 2, 3, 4}) == big * 24);
}

TEST_CASE("a C++ number has the GGUF type of its size and sign") {
    CHECK(bitnet::detail::gguf_type_of<bool>() == gguf_type::boolean);
    CHECK(bitnet::detail::gguf_type_of<std::int8_t>() == gguf_type::i8);
    CHECK(bitnet::detail::gguf_type_of<std::uint16_t>() == gguf_type::u16);
    CHECK(bitnet::detail::gguf_type_of<int>() == gguf_type::i32);
    CHECK(bitnet::detail::gguf_type_of<unsigned long long>() == gguf_type::u64);
    CHECK(bitnet::detail::gguf_type_of<float>() == gguf_type::f32);
    CHECK(bitnet::detail::gguf_type_of<double>() == gguf_type::f64);
    CHECK(size_of(gguf_type::f64) == 8);
    CHECK(name_of(gguf_type::boolean) == "bool");
}

TEST_CASE("names from files cannot harm a terminal or fill a log") {
    CHECK(bitnet::detail::quoted_name("general.name") == "'general.name'");
    CHECK(bitnet::detail::quoted_name("\x1b[2J\n\xff") == "'\\x1b[2J\\x0a\\xff'");
    CHECK(bitnet::detail::quoted_name(std::string(65536, 'k')) == "'" + std::string(80, 'k') + "...'");
}
