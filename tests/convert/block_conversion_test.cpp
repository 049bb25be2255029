// SPDX-License-Identifier: MIT
// Conversions between types whose blocks have scales keep every one of them, or say which cannot be kept.
#include "golden/block_encoders.hpp"
#include "golden/gguf_editor.hpp"
#include "golden/tiny_model_writer.hpp"

#include <bitnet/any.hpp>
#include <bitnet/convert/checkpoint_comparison.hpp>
#include <bitnet/convert/checkpoint_converter.hpp>
#include <bitnet/thread/thread_pool.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;
using bitnet_tests::gguf_editor;
using bitnet_tests::with_block_scales;

namespace {

constexpr std::string_view block_layouts[] = {"q2_0", "q2_0_g64", "pq2_0", "ptq1_0", "tq1_0", "tq2_0"};

/// One layer of Qwen3 in I2_S, its embedding in F16.
std::vector<std::byte> plain_model(std::uint32_t hidden = 256) {
    bitnet_tests::model_shape shape;
    shape.architecture = "qwen3";
    shape.hidden = hidden;
    shape.ffn = 2 * hidden;
    shape.heads = hidden / 64;
    shape.head_norms = true;
    const auto bytes = bitnet_tests::tiny_model(shape);
    REQUIRE(bytes);
    return {bytes->span().begin(), bytes->span().end()};
}

gguf_file parsed(std::span<const std::byte> bytes) {
    auto file = gguf_file::parse(bytes, "test");
    REQUIRE_MESSAGE(file, (file ? "" : file.error().message));
    return *std::move(file);
}

result<buffer<std::byte>> convert(std::span<const std::byte> bytes, std::string_view layout,
                                  std::string_view head = {}) {
    const auto pool = thread_pool::open(2);
    REQUIRE(pool);
    const gguf_file file = parsed(bytes);
    auto converter = checkpoint_converter::open(file, {.layout = layout, .head = head}, **pool);
    return converter ? (*converter)->write_memory() : result<buffer<std::byte>>(converter.error());
}

buffer<std::byte> converted(std::span<const std::byte> bytes, std::string_view layout, std::string_view head = {}) {
    auto written = convert(bytes, layout, head);
    REQUIRE_MESSAGE(written, (written ? "" : written.error().message));
    return *std::move(written);
}

result<comparison_report> compared(std::span<const std::byte> from, std::span<const std::byte> to) {
    const auto pool = thread_pool::open(2);
    REQUIRE(pool);
    return compare_checkpoints(parsed(from), {}, parsed(to), **pool);
}

void check_same_model(std::span<const std::byte> from, std::span<const std::byte> to, std::size_t ternary_tensors) {
    const auto report = compared(from, to);
    REQUIRE_MESSAGE(report, (report ? "" : report.error().message));
    CHECK(report->ternary_tensors == ternary_tensors);
    CHECK(report->changed_floats == 0);
}

bool same_tensors(std::span<const std::byte> a, std::span<const std::byte> b) {
    return std::ranges::equal(parsed(a).tensors(), parsed(b).tensors(), [](const gguf_tensor& x, const gguf_tensor& y) {
        return x.name == y.name && x.type == y.type && x.dims == y.dims && std::ranges::equal(x.bytes, y.bytes);
    });
}

void check_refused(const result<buffer<std::byte>>& written, errc code, std::string_view part) {
    REQUIRE_FALSE(written);
    INFO(written.error().message);
    INFO(part);
    CHECK(written.error().code == code);
    CHECK(written.error().message.find(part) != std::string::npos);
}

std::vector<float> logits_of(std::span<const std::byte> bytes, activation_rounding rounding) {
    const auto opened =
        any_model::open(byte_source::borrow(bytes, "test"), {.load_tokenizer = false, .activations = rounding});
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    auto session = any_session::open(*opened);
    REQUIRE(session);
    REQUIRE(session->feed(std::vector<token>{3, 1, 4, 1, 5, 9, 2, 6}));
    const auto logits = session->logits();
    REQUIRE(logits);
    return {logits->begin(), logits->end()};
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
    double largest = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        largest = std::max(largest, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
    }
    return largest;
}

} // namespace

TEST_CASE("types whose blocks have scales convert into each other and back, embedding included, byte for byte") {
    const auto model = plain_model();
    for (const std::string_view from : block_layouts) {
        const ternary_encoding& source = *find_ternary_encoding(from);
        const auto bytes = with_block_scales(model, {.type = source.type, .group = 256, .embedding = true});
        for (const std::string_view to : block_layouts) {
            INFO(from << " to " << to);
            const ternary_encoding& target = *find_ternary_encoding(to);
            const auto there = converted(bytes, to);
            const gguf_file file = parsed(there.span());
            CHECK(*file.get<std::uint32_t>("general.file_type") == target.file_type);
            CHECK(file.find_tensor("token_embd.weight")->type == target.type);
            CHECK(file.find_tensor("blk.0.ffn_down.weight")->type == target.type);
            check_same_model(bytes, there.span(), 8);
            CHECK(same_tensors(converted(there.span(), from).span(), bytes));
        }
    }
}

TEST_CASE("general.file_type is the number that the programs with these types write") {
    CHECK(find_ternary_encoding("q2_0")->file_type == 41);
    CHECK(find_ternary_encoding("q2_0_g64")->file_type == 41);
    CHECK(find_ternary_encoding("pq2_0")->file_type == 141);
    CHECK(find_ternary_encoding("ptq1_0")->file_type == 143);
    CHECK(find_ternary_encoding("tq2_0")->file_type == 37);
    CHECK(find_ternary_encoding("tq1_0")->file_type == 36);
}

TEST_CASE("blocks are joined only where their scales are equal, and the first place where not is named") {
    const auto model = plain_model();
    const auto pairs = with_block_scales(model, {.type = tensor_type::q2_0_g64, .group = 128});
    check_same_model(pairs, converted(pairs, "ptq1_0").span(), 7);
    gguf_editor one(pairs);
    const std::size_t at = one.tensor("blk.0.attn_k.weight").data + 9 * 72 + 3 * 18; // columns 192 to 255 of row 9
    const auto scale = one.peek<std::uint16_t>(at);
    one.poke(at, static_cast<std::uint16_t>(scale + 1));
    for (const std::string_view layout : {"q2_0", "pq2_0", "ptq1_0"}) {
        check_refused(convert(one.bytes(), layout), errc::bad_scale,
                      "test: tensor 'blk.0.attn_k.weight': row 9 of its 64 rows has at column 192 the scale ");
    }
    check_same_model(one.bytes(), converted(one.bytes(), "q2_0_g64").span(), 7);
    for (const std::string_view layout : {"tq1_0", "tq2_0"}) {
        check_refused(convert(pairs, layout), errc::bad_scale, "tensor 'blk.0.attn_q.weight': row 0 of its 256 rows");
        check_refused(convert(pairs, layout), errc::bad_scale, " has one for 256 columns");
    }
    for (const std::string_view layout : {"i2_s", "base3", "lookup3", "iq2_bn"}) {
        check_refused(convert(pairs, layout), errc::bad_scale, ": a ternary tensor has one scale");
    }
}

TEST_CASE("rows that are no whole blocks of the new type are refused") {
    const auto bytes = with_block_scales(plain_model(320), {.type = tensor_type::q2_0_g64, .group = 64});
    check_refused(convert(bytes, "ptq1_0"), errc::wrong_layout,
                  "tensor 'blk.0.attn_q.weight': [320, 320] in the file, which layout ptq1_0 does not admit");
    check_same_model(bytes, converted(bytes, "q2_0_g64").span(), 7);
}

TEST_CASE("one scale becomes that of every block and comes back, if it is one that blocks can hold") {
    const auto model = bitnet_tests::with_ternary_type(plain_model(), tensor_type::i2_s);
    for (const std::string_view layout : block_layouts) {
        INFO(layout);
        const auto there = converted(model.span(), layout);
        check_same_model(model.span(), there.span(), 7);
        for (const std::string_view back : {"i2_s", "base3", "lookup2", "iq2_bn"}) {
            const auto here = converted(there.span(), back);
            check_same_model(model.span(), here.span(), 7);
            CHECK(parsed(here.span()).find_tensor("token_embd.weight")->type == tensor_type::f16);
        }
    }
}

TEST_CASE("a scale beside a tensor in blocks multiplies those of its blocks, in files and in conversions") {
    const auto model = plain_model(); // its scales are not halves
    const auto expected = logits_of(model, activation_rounding::per_32);
    for (const std::string_view layout : block_layouts) {
        INFO(layout);
        const auto there = converted(model, layout);
        CHECK(parsed(there.span()).find_tensor("blk.0.attn_q.scale") != nullptr);
        check_same_model(model, there.span(), 7);
        CHECK(largest_difference(logits_of(there.span(), activation_rounding::per_32), expected) < 1e-4);
        check_same_model(there.span(), converted(there.span(), "tq1_0").span(), 7);
    }
}

TEST_CASE("a ternary embedding becomes floats where that is asked for, in F16 without a change") {
    const auto bytes = with_block_scales(plain_model(), {.type = tensor_type::ptq1_0, .embedding = true});
    const auto report = compared(bytes, converted(bytes, "pq2_0", "f16").span());
    REQUIRE_MESSAGE(report, (report ? "" : report.error().message));
    CHECK(report->ternary_tensors == 7);
    CHECK(report->changed_floats == 0);
    const auto rounded = compared(bytes, converted(bytes, "pq2_0", "q6_k").span());
    REQUIRE(rounded);
    CHECK(rounded->changed_floats > 0);
    check_refused(convert(bytes, "pq2_0", "screened"), errc::unsupported_type, "a screen is for F16, BF16 and F32");
}

TEST_CASE("comparison finds one other code or scale in blocks, and takes zeros for zeros") {
    const auto bytes = with_block_scales(plain_model(), {.type = tensor_type::pq2_0, .embedding = true});
    const auto changed = [&](std::string_view tensor, std::size_t at, std::uint8_t bits) {
        gguf_editor editor(bytes);
        const std::size_t place = editor.tensor(tensor).data + at;
        editor.poke(place, static_cast<std::uint8_t>(editor.peek<std::uint8_t>(place) ^ bits));
        return compared(bytes, editor.bytes());
    };
    for (const std::string_view tensor : {"blk.0.ffn_up.weight", "token_embd.weight"}) {
        const auto scale = changed(tensor, 5 * 68, 1);
        REQUIRE_FALSE(scale);
        CHECK(scale.error().code == errc::inconsistent);
        CHECK(scale.error().message.find("'" + std::string(tensor) + "': row 5 of ") != std::string::npos);
    }
    gguf_editor zero(bytes);
    gguf_editor zeros(bytes);
    const std::size_t at = zero.tensor("blk.0.ffn_up.weight").data;
    zero.poke(at, std::uint16_t{0});
    for (std::size_t i = 2; i < 34; ++i) {
        zeros.poke(at + i, std::uint8_t{0x55});
    }
    CHECK(compared(zero.bytes(), zeros.bytes()));
}

TEST_CASE("scales and codes that are none are named while they are converted") {
    const auto bytes = with_block_scales(plain_model(), {.type = tensor_type::q2_0});
    gguf_editor editor(bytes);
    editor.poke(editor.tensor("blk.0.ffn_up.weight").data + 3 * 68 + 34, std::uint16_t{0xfc00});
    check_refused(convert(editor.bytes(), "ptq1_0"), errc::bad_scale,
                  "tensor 'blk.0.ffn_up.weight': row 3 of its 512 rows has at column 128 the Q2_0 scale -inf");
    gguf_editor fourth(bytes);
    fourth.poke(fourth.tensor("blk.0.ffn_up.weight").data + 4 * 68 + 2, std::uint8_t{0xc0});
    check_refused(convert(fourth.bytes(), "ptq1_0"), errc::bad_code,
                  "tensor 'blk.0.ffn_up.weight': row 4 of its 512 rows holds the code 3");
}
