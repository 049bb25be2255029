// SPDX-License-Identifier: MIT
// Ternary matrices with a scale for each block of columns: which files open, with which numbers, and why others do not.
#include "golden/block_encoders.hpp"
#include "golden/gguf_editor.hpp"
#include "golden/tiny_model_writer.hpp"

#include <bitnet/any.hpp>
#include <bitnet/checkpoint/scaled_rows.hpp>
#include <bitnet/io/gguf_reader.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;
using bitnet_tests::block_choice;
using bitnet_tests::gguf_editor;
using bitnet_tests::with_block_scales;

namespace {

constexpr std::string_view query = "blk.1.attn_q.weight";

/// A Qwen3 decoder whose rows are whole blocks of every type, with an odd number of tokens.
std::vector<std::byte> decoder(std::uint32_t hidden = 256, std::uint32_t ffn = 512, bool own_head = false) {
    bitnet_tests::model_shape shape;
    shape.architecture = "qwen3";
    shape.layers = 2;
    shape.hidden = hidden;
    shape.ffn = ffn;
    shape.heads = hidden / 64;
    shape.kv_heads = 1;
    shape.head_norms = true;
    shape.own_head = own_head;
    auto tokens = bitnet_tests::tiny_tokens();
    tokens.tokens.emplace_back("<|one_more|>");
    REQUIRE(tokens.tokens.size() == 299);
    const auto written = bitnet_tests::random_model(shape, tokens).writer().write_memory();
    REQUIRE_MESSAGE(written, (written ? "" : written.error().message));
    return {written->span().begin(), written->span().end()};
}

result<any_model> open(std::span<const std::byte> bytes, open_options options = {}, std::string_view isa = {}) {
    options.load_tokenizer = false;
    return any_model::open(byte_source::borrow(bytes, "test"), options, isa);
}

/// The logits after each of some tokens, the last of the vocabulary among them.
std::vector<float> logits_of(std::span<const std::byte> bytes, const open_options& options = {},
                             std::string_view isa = {}) {
    const auto opened = open(bytes, options, isa);
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    auto session = any_session::open(*opened, {.prompt_chunk = 4});
    REQUIRE_MESSAGE(session, (session ? "" : session.error().message));
    const auto last = static_cast<token>(opened->parameters().vocabulary - 1);
    const std::vector<token> ids{3, 1, 4, last, 1, 5, 9, 2, 6};
    std::vector<float> all;
    const auto fed = session->feed_each(
        ids, [&](std::size_t, std::span<const float> logits) { all.insert(all.end(), logits.begin(), logits.end()); });
    REQUIRE_MESSAGE(fed, (fed ? "" : fed.error().message));
    CHECK(all.size() == ids.size() * opened->parameters().vocabulary);
    return all;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
    REQUIRE(a.size() == b.size());
    double largest = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        largest = std::max(largest, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
    }
    return largest;
}

void check_refused(std::span<const std::byte> bytes, errc code, const std::string& sentence) {
    for (const std::size_t threads : {1u, 3u}) {
        const auto opened = open(bytes, {.threads = threads});
        REQUIRE_FALSE(opened);
        INFO(opened.error().message);
        INFO(sentence);
        CHECK(opened.error().code == code);
        CHECK(opened.error().message.find(sentence) != std::string::npos);
    }
}

/// Columns and bytes of a block, where its scale is.
struct block_place {
    tensor_type type;
    std::size_t columns;
    std::size_t bytes;
    std::size_t scale_at;
};
constexpr block_place block_places[] = {{tensor_type::q2_0, 128, 34, 0},   {tensor_type::q2_0_g64, 64, 18, 0},
                                        {tensor_type::pq2_0, 128, 34, 0},  {tensor_type::ptq1_0, 128, 28, 26},
                                        {tensor_type::tq1_0, 256, 54, 52}, {tensor_type::tq2_0, 256, 66, 64}};

} // namespace

TEST_CASE("the bytes of every type with block scales are the values that an independent encoder wrote") {
    const auto m = bitnet_tests::block_matrix::random(5, 512, 256, 0.25f);
    inline_pool pool;
    for (const block_place& place : block_places) {
        INFO(name_of(place.type));
        const auto bytes = bitnet_tests::encode(place.type, m);
        gguf_tensor tensor;
        tensor.name = query;
        tensor.type = place.type;
        tensor.dims = {m.cols, m.rows, 1, 1};
        tensor.rank = 2;
        tensor.bytes = bytes;
        CHECK(tensor_bytes(place.type, tensor.dims) == bytes.size());
        std::vector<std::uint8_t> packed(m.rows * m.cols / 128 * 34);
        scaled_blocks w{packed.data(), m.rows, m.cols, 128};
        if (is_scaled_blocks(place.type)) {
            w = blocks_of(tensor);
            CHECK(check_scaled_blocks(pool, tensor, "test"));
        } else {
            REQUIRE(pack_scaled_rows(pool, tensor, "test", packed.data()));
        }
        std::vector<float> row(m.cols);
        for (std::size_t r = 0; r < m.rows; ++r) {
            widen_blocks(w, r, 0, m.cols, row.data());
            for (std::size_t c = 0; c < m.cols; ++c) {
                REQUIRE(static_cast<double>(row[c]) == m.value(r, c));
            }
        }
    }
}

TEST_CASE("packings with blocks of 128 columns and more give the same bits, with every rounding") {
    const auto model = decoder();
    for (const auto rounding : {activation_rounding::by_model, activation_rounding::per_token,
                                activation_rounding::per_128, activation_rounding::none}) {
        INFO(name_of(rounding));
        std::vector<float> first;
        for (const tensor_type type :
             {tensor_type::q2_0, tensor_type::pq2_0, tensor_type::ptq1_0, tensor_type::tq1_0, tensor_type::tq2_0}) {
            INFO(name_of(type));
            const auto file = with_block_scales(model, {.type = type, .group = 256});
            const auto logits = logits_of(file, {.activations = rounding});
            first = first.empty() ? logits : first;
            CHECK(same_bits(logits, first));
            CHECK(same_bits(logits_of(file, {.activations = rounding}, "scalar"), first));
        }
        const auto halves = with_block_scales(model, {.type = tensor_type::q2_0_g64, .group = 256});
        CHECK(largest_difference(logits_of(halves, {.activations = rounding}), first) < 1e-4);
    }
}

TEST_CASE("blocks in halves and codes are multiplied where they lie, others are repacked") {
    const auto model = decoder();
    for (const block_place& place : block_places) {
        INFO(name_of(place.type));
        const auto file = with_block_scales(model, {.type = place.type, .group = 256, .embedding = true});
        const auto opened = open(file);
        REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
        CHECK((opened->repacked_bytes() == 0) == is_scaled_blocks(place.type));
        CHECK(opened->activations() == activation_rounding::per_32);
        CHECK(opened->layout() == (place.type == tensor_type::q2_0_g64 ? "Q2_0_G64" : "Q2_0"));
    }
}

TEST_CASE("embedding and head are ternary, tied or not, and have the values of the same in F32") {
    for (const bool own_head : {false, true}) {
        const auto model = decoder(256, 512, own_head);
        const auto ternary = with_block_scales(model, {.type = tensor_type::pq2_0, .embedding = true});
        const auto parsed = gguf_file::parse(ternary, "test");
        REQUIRE(parsed);
        gguf_writer writer;
        for (const gguf_value& entry : parsed->metadata()) {
            writer.add(entry);
        }
        std::deque<std::vector<float>> widened;
        for (const gguf_tensor& tensor : parsed->tensors()) {
            const auto dims = std::span(tensor.dims).first(tensor.rank);
            if (tensor.name != "token_embd.weight" && tensor.name != "output.weight") {
                writer.add_tensor(tensor.name, tensor.type, dims, tensor.bytes);
                continue;
            }
            const scaled_blocks w = blocks_of(tensor);
            auto& floats = widened.emplace_back(w.rows * w.cols);
            for (std::size_t r = 0; r < w.rows; ++r) {
                widen_blocks(w, r, 0, w.cols, floats.data() + r * w.cols);
            }
            writer.add_tensor(tensor.name, tensor_type::f32, dims, std::as_bytes(std::span(floats)));
        }
        const auto floats = writer.write_memory();
        REQUIRE(floats);
        // Without rounding a ternary head and the same in floats are two orders of one sum.
        const open_options exact{.activations = activation_rounding::none};
        const auto of_floats = logits_of(floats->span(), exact);
        CHECK(largest_difference(logits_of(ternary, exact), of_floats) < 1e-3);
        CHECK(largest_difference(logits_of(ternary), of_floats) > 1e-3); // the head's activations are rounded, too
    }
}

TEST_CASE("rows of 320 and 448 columns run in blocks of 64") {
    const auto file = with_block_scales(decoder(320, 448), {.type = tensor_type::q2_0_g64, .group = 64});
    const auto best = logits_of(file);
    CHECK(same_bits(logits_of(file, {}, "scalar"), best));
    CHECK(std::all_of(best.begin(), best.end(), [](float logit) { return std::isfinite(logit); }));
    const auto refused = with_block_scales(decoder(320, 448), {.type = tensor_type::q2_0_g64, .group = 64});
    gguf_editor editor(refused);
    editor.poke(editor.tensor(query).type, std::uint32_t{142});
    check_refused(editor.bytes(), errc::bad_shape,
                  "tensor 'blk.1.attn_q.weight' of shape [320, 320] does not fit the blocks of PQ2_0: the first "
                  "dimension must be a multiple of 128");
}

TEST_CASE("a scale that is below zero or not finite is refused, naming row, column and number") {
    const auto model = decoder();
    for (const block_place& place : block_places) {
        const auto good = with_block_scales(model, {.type = place.type, .group = 256});
        constexpr std::uint16_t bad_scales[] = {0xb800, 0x8001, 0x7c00, 0xfc00, 0x7e00, 0xffff};
        for (const std::uint16_t bits : bad_scales) {
            INFO(name_of(place.type) << ", scale " << bits);
            gguf_editor editor(good);
            const std::size_t row_bytes = 256 / place.columns * place.bytes;
            const std::size_t last_block = 256 / place.columns - 1;
            editor.poke(editor.tensor(query).data + 7 * row_bytes + last_block * place.bytes + place.scale_at, bits);
            check_refused(editor.bytes(), errc::bad_scale,
                          "test: tensor 'blk.1.attn_q.weight': row 7 of its 256 rows has at column " +
                              std::to_string(last_block * place.columns) + " the " + std::string(name_of(place.type)) +
                              " scale ");
        }
    }
}

TEST_CASE("a scale of zero, of either sign, is a block of zeros") {
    const auto model = decoder();
    for (const block_place& place : block_places) {
        INFO(name_of(place.type));
        gguf_editor zeros(with_block_scales(model, {.type = place.type, .group = 256}));
        gguf_editor ones = zeros;
        gguf_editor signs = zeros;
        const std::size_t at = zeros.tensor(query).data;
        const auto poke_codes = [&](gguf_editor& editor, std::uint8_t byte) {
            for (std::size_t i = 0; i < place.bytes; ++i) {
                const bool is_scale = i == place.scale_at || i == place.scale_at + 1;
                editor.poke(at + i, is_scale ? std::uint8_t{0} : byte);
            }
        };
        const bool in_digits = place.type == tensor_type::tq1_0 || place.type == tensor_type::ptq1_0;
        poke_codes(zeros, in_digits ? 128 : 0x55); // 121 of 243 are the digits 11111
        poke_codes(ones, in_digits ? 255 : 0xaa);
        poke_codes(signs, 0);
        signs.poke(at + place.scale_at, std::uint16_t{0x8000});
        const auto expected = logits_of(zeros.bytes());
        CHECK(same_bits(logits_of(ones.bytes()), expected));
        CHECK(same_bits(logits_of(signs.bytes()), expected));
    }
}

TEST_CASE("a fourth value of a code is refused by row, and read as stored if nobody looks") {
    for (const tensor_type type : {tensor_type::q2_0, tensor_type::q2_0_g64, tensor_type::pq2_0}) {
        INFO(name_of(type));
        gguf_editor editor(with_block_scales(decoder(), {.type = type, .group = 256, .embedding = true}));
        const std::size_t row_bytes = type == tensor_type::q2_0_g64 ? 72 : 68;
        const std::size_t at = editor.tensor("token_embd.weight").data + 298 * row_bytes + row_bytes - 1;
        editor.poke(at, static_cast<std::uint8_t>(editor.peek<std::uint8_t>(at) | 0xc0u));
        check_refused(editor.bytes(), errc::bad_code,
                      "test: tensor 'token_embd.weight': row 298 of its 299 rows holds the code 3: four values, as "
                      "other programs write type 42, are not ternary");
        CHECK(open(editor.bytes(), {.verify_codes = false}));
    }
    gguf_editor tq2(with_block_scales(decoder(), {.type = tensor_type::tq2_0, .group = 256}));
    tq2.poke(tq2.tensor(query).data + 9 * 66 + 63, std::uint8_t{0xff});
    check_refused(tq2.bytes(), errc::bad_code,
                  "tensor 'blk.1.attn_q.weight': row 9 of its 256 rows holds the code 3; only 0, 1 and 2 are ternary");
}

TEST_CASE("codes before their scale, as another program wrote type 42, are refused") {
    const auto good = with_block_scales(decoder(), {.type = tensor_type::q2_0});
    gguf_editor editor(good);
    for (const auto& tensor : editor.tensors()) {
        if (editor.peek<std::uint32_t>(tensor.type) != 42) {
            continue;
        }
        for (std::size_t at = tensor.data; at < tensor.data + tensor.data_size; at += 34) {
            const auto scale = editor.peek<std::uint16_t>(at);
            for (std::size_t i = 0; i < 32; ++i) {
                editor.poke(at + i, editor.peek<std::uint8_t>(at + i + 2));
            }
            editor.poke(at + 32, scale);
        }
    }
    const auto opened = open(editor.bytes());
    REQUIRE_FALSE(opened);
    CHECK((opened.error().code == errc::bad_scale || opened.error().code == errc::bad_code));
    CHECK(opened.error().message.starts_with("test: tensor 'blk.0.attn_q.weight': row 0 of its 256 rows "));
    // What such a file may say of itself is taken at its word, whatever its weights look like.
    gguf_editor marked(good);
    marked.set_value("general.quantization_version", gguf_type::string, gguf_editor::string("TQ2_0_G128"));
    check_refused(marked.bytes(), errc::unsupported_type, "'general.quantization_version' is 'TQ2_0_G128'");
}

TEST_CASE("bytes that no writer makes are digits in PTQ1_0, too") {
    gguf_tensor tensor;
    tensor.name = query;
    tensor.type = tensor_type::ptq1_0;
    tensor.dims = {128, 256, 1, 1};
    tensor.rank = 2;
    std::vector<std::byte> bytes(256 * 28);
    for (std::size_t row = 0; row < 256; ++row) { // row n holds the byte n in all places
        std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(row * 28), 26, static_cast<std::byte>(row));
        const half one = narrow<half>(1.0f);
        std::memcpy(bytes.data() + row * 28 + 26, &one, sizeof one);
    }
    tensor.bytes = bytes;
    std::vector<std::uint8_t> packed(256 * 34);
    inline_pool pool;
    REQUIRE(pack_scaled_rows(pool, tensor, "test", packed.data()));
    const scaled_blocks w{packed.data(), 256, 128, 128};
    for (std::size_t row = 0; row < 256; ++row) {
        for (std::size_t column = 0; column < 128; ++column) {
            const std::size_t digit = column < 80 ? column / 16 : column < 120 ? (column - 80) / 8 : (column - 120) / 2;
            std::size_t left = row; // of a fraction of 256
            for (std::size_t i = 0; i < digit; ++i) {
                left = left * 3 % 256;
            }
            REQUIRE(code_in_block(w.row(row), column) == left * 3 / 256);
        }
    }
}

TEST_CASE("TQ1_0 and TQ2_0 have one scale or several, whatever their zeros are") {
    const auto model = decoder();
    for (const tensor_type type : {tensor_type::tq1_0, tensor_type::tq2_0}) {
        const auto bytes = bitnet_tests::with_ternary_type(model, type);
        gguf_editor editor(bytes.span());
        const std::size_t block = type == tensor_type::tq1_0 ? 54 : 66;
        const std::size_t scale = editor.tensor(query).data + block - 2;
        constexpr std::uint16_t zeros[] = {0x0000, 0x8000};
        for (const std::uint16_t zero : zeros) {
            editor.poke(scale, zero);
            const auto opened = open(editor.bytes());
            REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
            CHECK(opened->activations() == activation_rounding::per_token);
            CHECK(opened->layout() == "i2_s");
        }
        editor.poke(scale + block, static_cast<std::uint16_t>(editor.peek<std::uint16_t>(scale + block) + 1));
        const auto opened = open(editor.bytes());
        REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
        CHECK(opened->activations() == activation_rounding::per_32);
        CHECK(opened->layout() == "Q2_0");
    }
}

TEST_CASE("an embedding may be ternary where the other matrices have one scale") {
    const auto model = decoder();
    for (const tensor_type type : {tensor_type::tq2_0, tensor_type::ptq1_0}) {
        INFO(name_of(type));
        const auto parsed = gguf_file::parse(model, "test");
        REQUIRE(parsed);
        gguf_writer writer;
        for (const gguf_value& entry : parsed->metadata()) {
            writer.add(entry);
        }
        auto m = bitnet_tests::block_matrix::random(299, 256, 256, 0.25f);
        std::fill(m.scales.begin(), m.scales.end(), narrow<half>(0.25f));
        const auto rows = bitnet_tests::encode(type, m);
        for (const gguf_tensor& tensor : parsed->tensors()) {
            const bool is_embedding = tensor.name == "token_embd.weight";
            writer.add_tensor(tensor.name, is_embedding ? type : tensor.type, std::span(tensor.dims).first(tensor.rank),
                              is_embedding ? std::span<const std::byte>(rows) : tensor.bytes);
        }
        const auto written = writer.write_memory();
        REQUIRE(written);
        CHECK(same_bits(logits_of(written->span()), logits_of(written->span(), {}, "scalar")));
    }
}

TEST_CASE("models with one scale run with activations rounded by columns, whatever their type") {
    bitnet_tests::model_shape shape;
    shape.layers = 2;
    shape.hidden = 256;
    shape.ffn = 512;
    shape.heads = 4;
    const auto model = bitnet_tests::tiny_model(shape);
    REQUIRE(model);
    for (const auto rounding : {activation_rounding::per_128, activation_rounding::per_32, activation_rounding::none}) {
        INFO(name_of(rounding));
        const auto expected = logits_of(bitnet_tests::with_ternary_type(model->span(), tensor_type::i2_s).span(),
                                        {.activations = rounding});
        const auto logits_in = [&](tensor_type type) {
            return logits_of(bitnet_tests::with_ternary_type(model->span(), type).span(), {.activations = rounding});
        };
        CHECK(same_bits(logits_in(tensor_type::iq2_bn), expected));
        CHECK(same_bits(logits_in(tensor_type::bf16), expected)); // masters
        // TQ applies its scale to the sum of each block, others to that of a row: two orders of rounding.
        CHECK(largest_difference(logits_in(tensor_type::tq2_0), expected) < 1e-4);
        CHECK(same_bits(logits_in(tensor_type::tq1_0), logits_in(tensor_type::tq2_0)));
        const auto opened = open(model->span(), {.activations = rounding});
        REQUIRE(opened);
        CHECK(opened->activations() == rounding);
    }
    const auto by_token = logits_of(model->span());
    CHECK(same_bits(logits_of(model->span(), {.activations = activation_rounding::per_token}), by_token));
}
