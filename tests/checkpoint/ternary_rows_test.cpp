// SPDX-License-Identifier: MIT
// Ternary rows of all formats: the values written by independent encoders, the refusals, and whole models in them.
#include "golden/ternary_encoders.hpp"
#include "golden/tiny_model_writer.hpp"
#include "kernel/repacking.hpp"

#include <bitnet/checkpoint/ternary_source.hpp>
#include <bitnet/kernel/row_format.hpp>
#include <bitnet/policy.hpp>
#include <bitnet/run/model.hpp>
#include <bitnet/run/session.hpp>
#include <bitnet/thread/thread_pool.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;
using bitnet_tests::code_matrix;
using bitnet_tests::layout_bytes;
using bitnet_tests::repack;

namespace {

constexpr tensor_type row_types[] = {tensor_type::tq1_0,     tensor_type::tq2_0, tensor_type::iq1_bn,
                                     tensor_type::iq2_bn,    tensor_type::f32,   tensor_type::f16,
                                     tensor_type::iq2_bn_r4, tensor_type::bf16};

gguf_tensor tensor_of(tensor_type type, std::size_t rows, std::size_t cols, std::span<const std::byte> bytes) {
    gguf_tensor tensor;
    tensor.name = "blk.0.attn_q.weight";
    tensor.type = type;
    tensor.dims = {cols, rows, 1, 1};
    tensor.rank = 2;
    tensor.bytes = bytes;
    return tensor;
}

struct packed_matrix {
    float scale = 0;
    std::vector<std::uint8_t> bytes;
    error failure;
};

/// A tensor read and packed into layout L by `threads` threads.
template <class L> packed_matrix packed(const gguf_tensor& tensor, std::size_t threads = 1, bool masters = false) {
    auto pool = thread_pool::open(threads);
    REQUIRE(pool);
    packed_matrix made;
    const auto bytes =
        layout_bytes<L>(static_cast<std::size_t>(tensor.dims[1]), static_cast<std::size_t>(tensor.dims[0]));
    REQUIRE(bytes);
    made.bytes.resize(static_cast<std::size_t>(*bytes), 0xee);
    const auto source = ternary_source::open(tensor, "test", masters, {}, **pool);
    if (!source) {
        made.failure = source.error();
        return made;
    }
    made.scale = source->scale();
    const auto done = pack_rows(**pool, source->rows(), tensor, "test", layout_table_of<L>, made.bytes.data());
    if (!done) {
        made.failure = done.error();
    }
    return made;
}

/// What L makes of the codes themselves.
template <class L> std::vector<std::uint8_t> expected(const code_matrix& m) {
    const auto bytes = bitnet_tests::encode_i2_s(m);
    std::vector<std::uint8_t> out(static_cast<std::size_t>(*layout_bytes<L>(m.rows, m.cols)));
    repack<L, i2s>({reinterpret_cast<const std::uint8_t*>(bytes.data()), m.rows, m.cols}, out.data());
    return out;
}

template <class L> void check_all_types(const code_matrix& m) {
    for (const tensor_type type : row_types) {
        INFO(name_of(type) << " to " << L::name << ", " << m.rows << " x " << m.cols);
        const auto bytes = bitnet_tests::encode(type, m);
        const auto tensor = tensor_of(type, m.rows, m.cols, bytes);
        CHECK(tensor_bytes(type, tensor.dims) == bytes.size());
        for (const std::size_t threads : {1u, 3u}) {
            const auto made = packed<L>(tensor, threads);
            REQUIRE_MESSAGE(made.failure.code == errc{}, made.failure.message);
            CHECK(made.scale == m.scale);
            CHECK(made.bytes == expected<L>(m));
        }
    }
}

void check_refusal(const packed_matrix& made, errc code, std::string_view place) {
    INFO(made.failure.message);
    CHECK(made.failure.code == code);
    CHECK(made.failure.message.find("test: tensor 'blk.0.attn_q.weight': ") == 0);
    CHECK(made.failure.message.find(place) != std::string::npos);
}

template <class T> void poke(std::vector<std::byte>& bytes, std::size_t at, T value) {
    REQUIRE(at + sizeof value <= bytes.size());
    std::memcpy(bytes.data() + at, &value, sizeof value);
}

template <class F> void check_packing(const code_matrix& m, tensor_type type) {
    static_assert(writable_row_format<F>);
    INFO(F::name);
    std::vector<std::byte> bytes(m.rows * F::row_bytes(m.cols));
    for (std::size_t row = 0; row < m.rows; ++row) {
        F::pack_row(m.codes.data() + row * m.cols, m.cols, m.scale,
                    reinterpret_cast<std::uint8_t*>(bytes.data()) + row * F::row_bytes(m.cols));
    }
    CHECK(bytes == bitnet_tests::encode(type, m));
    CHECK(F::stored_scale(m.scale) == m.scale);
}

std::vector<float> logits_of(std::span<const std::byte> bytes, tensor_type type) {
    using P = policy<isa::scalar>;
    auto opened = model<P>::open(byte_source::borrow(bytes, "test"), {.load_tokenizer = false, .threads = 2});
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    CHECK(opened->tensors().repacked_tensors() == (type == tensor_type::i2_s ? 0u : 14u));
    auto s = session<P>::open(*opened, {.prompt_chunk = 16});
    REQUIRE(s);
    const token ids[] = {1, 7, 290, 33, 2, 5};
    REQUIRE(s->feed(ids));
    const auto logits = s->logits();
    REQUIRE(logits);
    return {logits->begin(), logits->end()};
}

} // namespace

TEST_CASE("rows of every ternary format have the values that an independent encoder wrote") {
    check_all_types<i2s>(code_matrix::random(12, 512, 0.0123291015625f));
    check_all_types<i2s>(code_matrix::random(4, 256, 1.0f, 2));
    check_all_types<base3>(code_matrix::random(8, 768, 0.5f, 3));
    check_all_types<lookup2>(code_matrix::random(36, 512, 0.25f, 4));
    check_all_types<lookup3>(code_matrix::random(68, 256, 2.0f, 5));
    check_all_types<i2s_c>(code_matrix::random(20, 256, 0.75f, 6));
}

TEST_CASE("rows that are no multiple of 128 are read into layouts that admit them") {
    const auto m = code_matrix::random(8, 320, 0.5f);
    for (const tensor_type type : {tensor_type::iq1_bn, tensor_type::iq2_bn, tensor_type::iq2_bn_r4}) {
        const auto bytes = bitnet_tests::encode(type, m);
        const auto made = packed<lookup3>(tensor_of(type, m.rows, m.cols, bytes));
        REQUIRE_MESSAGE(made.failure.code == errc{}, made.failure.message);
        for (std::size_t i = 0; i < m.codes.size(); ++i) {
            REQUIRE(lookup3::code({made.bytes.data(), m.rows, m.cols}, i / m.cols, i % m.cols) == m.codes[i]);
        }
    }
}

TEST_CASE("packed rows are those of an independent encoder") {
    const auto m = code_matrix::random(5, 768, 0.0123291015625f);
    check_packing<tq1_0>(m, tensor_type::tq1_0);
    check_packing<tq2_0>(m, tensor_type::tq2_0);
    check_packing<iq1_bn>(m, tensor_type::iq1_bn);
    check_packing<iq2_bn>(m, tensor_type::iq2_bn);
    CHECK(tq2_0::stored_scale(1.00048828125f) == 1.0f); // half of the last place of a half: to even
    CHECK(iq2_bn::stored_scale(1.00048828125f) == 1.00048828125f);
}

TEST_CASE("blocks and rows of scale 0 are zeros, whatever their codes") {
    code_matrix m = code_matrix::random(4, 512, 0.5f);
    for (const tensor_type type : row_types) {
        if (type == tensor_type::f32 || type == tensor_type::f16 || type == tensor_type::bf16) {
            continue;
        }
        INFO(name_of(type));
        auto bytes = bitnet_tests::encode(type, m);
        code_matrix zeroed = m;
        const bool blocks = type == tensor_type::tq1_0 || type == tensor_type::tq2_0;
        std::fill_n(zeroed.codes.begin(), blocks ? 256 : 512, std::uint8_t{1}); // the first ones
        if (type == tensor_type::tq1_0) {
            poke(bytes, 52, std::uint16_t{0x8000}); // a negative zero
        } else if (type == tensor_type::tq2_0) {
            poke(bytes, 64, std::uint16_t{0});
        } else if (type == tensor_type::iq1_bn) {
            poke(bytes, 0, std::uint16_t{0});
        } else {
            poke(bytes, 0, 0.0f);
        }
        const auto made = packed<i2s>(tensor_of(type, m.rows, m.cols, bytes));
        REQUIRE_MESSAGE(made.failure.code == errc{}, made.failure.message);
        CHECK(made.scale == 0.5f);
        CHECK(made.bytes == expected<i2s>(zeroed));
    }
}

TEST_CASE("a tensor of zeros has the scale 1") {
    code_matrix m = code_matrix::random(4, 256, 0.0f);
    for (const tensor_type type : row_types) {
        INFO(name_of(type));
        const auto bytes = bitnet_tests::encode(type, m);
        const auto made = packed<i2s>(tensor_of(type, m.rows, m.cols, bytes));
        REQUIRE_MESSAGE(made.failure.code == errc{}, made.failure.message);
        CHECK(made.scale == 1.0f);
        CHECK(made.bytes == std::vector<std::uint8_t>(256, 0x55));
    }
}

TEST_CASE("scales that differ are refused, naming row, column and both") {
    const auto m = code_matrix::random(4, 512, 0.5f);
    auto tq2 = bitnet_tests::encode(tensor_type::tq2_0, m);
    poke(tq2, 5 * 66 + 64, narrow<half>(0.75f));
    for (const std::size_t threads : {1u, 3u}) {
        check_refusal(packed<i2s>(tensor_of(tensor_type::tq2_0, 4, 512, tq2), threads), errc::bad_scale,
                      "row 2 of its 4 rows has at column 256 the TQ2_0 scale 0.750000 (bits 1061158912), and those "
                      "before it are 0.500000 (bits 1056964608)");
    }
    auto tq1 = bitnet_tests::encode(tensor_type::tq1_0, m);
    poke(tq1, 54 + 52, narrow<half>(-0.5f));
    check_refusal(packed<base3>(tensor_of(tensor_type::tq1_0, 4, 512, tq1)), errc::bad_scale,
                  "row 0 of its 4 rows has at column 256 the TQ1_0 scale -0.500000");
    auto bn = bitnet_tests::encode(tensor_type::iq2_bn, m);
    poke(bn, 3 * (4 + 128), std::numeric_limits<float>::quiet_NaN());
    check_refusal(packed<i2s>(tensor_of(tensor_type::iq2_bn, 4, 512, bn)), errc::bad_scale,
                  "row 3 of its 4 rows has at column 0 the IQ2_BN scale");
    auto bn1 = bitnet_tests::encode(tensor_type::iq1_bn, m);
    poke(bn1, 2 + 8 * 13, std::uint16_t{0x3801});
    check_refusal(packed<i2s>(tensor_of(tensor_type::iq1_bn, 4, 512, bn1)), errc::bad_scale, "row 1 of its 4 rows");
}

TEST_CASE("a first scale that is negative or not finite is refused") {
    const auto m = code_matrix::random(4, 512, 0.5f);
    for (const float scale : {-0.5f, std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
        auto bn = bitnet_tests::encode(tensor_type::iq2_bn, m);
        poke(bn, 0, 0.0f);
        poke(bn, 4 + 128, scale);
        check_refusal(packed<i2s>(tensor_of(tensor_type::iq2_bn, 4, 512, bn)), errc::bad_scale,
                      "row 1 has the IQ2_BN scale");
        auto tq = bitnet_tests::encode(tensor_type::tq1_0, m);
        poke(tq, 52, narrow<half>(scale));
        check_refusal(packed<i2s>(tensor_of(tensor_type::tq1_0, 4, 512, tq)), errc::bad_scale,
                      "row 0 has the TQ1_0 scale");
    }
}

TEST_CASE("code 3 is refused in the formats that have one, naming the row") {
    const auto m = code_matrix::random(8, 512, 0.5f);
    const auto broken = [&](tensor_type type, std::size_t at, unsigned bits) {
        auto bytes = bitnet_tests::encode(type, m);
        REQUIRE(at < bytes.size());
        bytes[at] |= static_cast<std::byte>(bits);
        return packed<i2s>(tensor_of(type, m.rows, m.cols, bytes), 2);
    };
    check_refusal(broken(tensor_type::tq2_0, 132 * 5 + 66 + 63, 0xc0), errc::bad_code,
                  "row 5 of its 8 rows holds the code 3");
    check_refusal(broken(tensor_type::iq2_bn, 132 * 7 + 4 + 127, 0x03), errc::bad_code, "row 7 of its 8 rows");
    check_refusal(broken(tensor_type::iq2_bn_r4, 132 * 4 + 16 + 4 * 3 + 1, 0x0c), errc::bad_code,
                  "row 7 of its 8 rows");
}

TEST_CASE("a type that is not ternary is refused by name") {
    const std::vector<std::byte> bytes(4 * 144);
    check_refusal(packed<i2s>(tensor_of(tensor_type::q4_k, 4, 256, bytes)), errc::unsupported_type,
                  "type Q4_K in the file, a ternary one expected");
}

TEST_CASE("a model whose weights are in another ternary type gives the logits of I2_S bit for bit") {
    bitnet_tests::model_shape shape;
    shape.layers = 2;
    shape.hidden = 256;
    shape.ffn = 512;
    shape.heads = 4;
    const auto bytes = bitnet_tests::tiny_model(shape);
    REQUIRE(bytes);
    const auto i2s_logits =
        logits_of(bitnet_tests::with_ternary_type(bytes->span(), tensor_type::i2_s).span(), tensor_type::i2_s);
    for (const tensor_type type : row_types) {
        INFO(name_of(type));
        const auto file = bitnet_tests::with_ternary_type(bytes->span(), type);
        CHECK(logits_of(file.span(), type) == i2s_logits);
    }
}
