// SPDX-License-Identifier: MIT
// Every layout gives the logits of I2_S bit for bit: repacked while a model is opened, or from a file converted once.
#include "golden/gguf_editor.hpp"
#include "golden/tiny_model_writer.hpp"
#include "run/isas_that_run.hpp"

#include <bitnet/convert/checkpoint_converter.hpp>
#include <bitnet/run/any_session.hpp>
#include <bitnet/run/dispatch.hpp>
#include <bitnet/run/model.hpp>
#include <bitnet/run/open_model.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;

namespace {

/// Neither 384 nor 640 columns are whole blocks of every layout, 96 rows of keys no multiple of 64.
bitnet_tests::model_shape odd_shape() {
    bitnet_tests::model_shape shape;
    shape.layers = 2;
    shape.hidden = 384;
    shape.ffn = 640;
    shape.heads = 4;
    shape.kv_heads = 1;
    shape.head_dim = 96;
    shape.context = 64;
    return shape;
}

std::vector<float> logits_of(const any_model& opened) {
    auto s = any_session::open(opened, {.threads = 2, .prompt_chunk = 16});
    REQUIRE_MESSAGE(s, (s ? "" : s.error().message));
    std::vector<token> ids;
    for (token i = 0; i < 21; ++i) {
        ids.push_back((i * 37 + 11) % 290);
    }
    REQUIRE(s->feed(ids));
    REQUIRE(s->feed(std::span(ids).first(1)));
    const auto logits = s->logits();
    REQUIRE(logits);
    return {logits->begin(), logits->end()};
}

template <class P> result<model<P>> open(std::span<const std::byte> bytes, open_options options = {}) {
    options.load_tokenizer = false;
    return model<P>::open(byte_source::borrow(bytes, "test"), options);
}

template <class P> model<P> opened(std::span<const std::byte> bytes, open_options options = {}) {
    auto made = open<P>(bytes, options);
    REQUIRE_MESSAGE(made, (made ? "" : made.error().message));
    return *std::move(made);
}

template <class Ladder>
any_model opened_with(std::span<const std::byte> bytes, std::string_view isa, open_options options = {}) {
    options.load_tokenizer = false;
    auto made = any_model::open<Ladder>(byte_source::borrow(bytes, "test"), options, isa);
    REQUIRE_MESSAGE(made, (made ? "" : made.error().message));
    return *std::move(made);
}

const weights& tensors_of(const any_model& opened) {
    return static_cast<const model_core&>(opened.base()).parts().tensors;
}

std::string_view name_of_layout(tensor_type type) {
    return std::ranges::find(ternary_encodings, type, &ternary_encoding::type)->name;
}

template <class To> buffer<std::byte> converted(std::span<const std::byte> bytes) {
    const auto file = gguf_file::parse(bytes, "test");
    REQUIRE(file);
    auto pool = thread_pool::open(2);
    REQUIRE(pool);
    auto converter = checkpoint_converter::open(*file, {.layout = name_of_layout(file_type<To>)}, **pool);
    REQUIRE_MESSAGE(converter, (converter ? "" : converter.error().message));
    auto written = (*converter)->write_memory();
    REQUIRE_MESSAGE(written, (written ? "" : written.error().message));
    CHECK((*converter)->statistics().ternary_tensors == 14);
    CHECK((*converter)->statistics().scale_tensors == 0);
    CHECK((*converter)->file_size() == written->size());
    return *std::move(written);
}

bool same(std::span<const std::byte> a, std::span<const std::byte> b) { return std::ranges::equal(a, b); }

using oracle = policy<isa::scalar>;

} // namespace

TEST_CASE_TEMPLATE("a layout gives scalar I2_S's logits, repacked or mapped, with every instruction set", L, base3,
                   lookup2, lookup3) {
    using in_layout = any_cpu::with_layout<L>;
    const auto bytes = bitnet_tests::tiny_model(odd_shape());
    REQUIRE(bytes);
    const auto expected = logits_of(opened<oracle>(bytes->span()));
    const auto file = converted<L>(bytes->span());
    for (const std::string& isa : bitnet_tests::isas_that_run()) {
        CAPTURE(isa);
        for (const std::size_t threads : {1u, 3u}) {
            const any_model repacked = opened_with<in_layout>(bytes->span(), isa, {.threads = threads});
            CHECK(tensors_of(repacked).repacked_tensors() == 14);
            CHECK(logits_of(repacked) == expected);
        }
        const any_model in_place = opened_with<in_layout>(file.span(), isa);
        CHECK(in_place.layout() == L::name);
        CHECK(tensors_of(in_place).repacked_tensors() == 0);
        CHECK(in_place.repacked_bytes() == 0);
        CHECK(logits_of(in_place) == expected);
        const auto& codes = tensors_of(in_place).layer(1).ffn_up.codes;
        const auto* first = reinterpret_cast<const std::uint8_t*>(file.data());
        CHECK((codes.data > first && codes.data < first + file.size()));
    }
}

TEST_CASE_TEMPLATE("a file converted to a layout and back is the file it was", L, base3, lookup2, lookup3) {
    const auto bytes = bitnet_tests::tiny_model(odd_shape());
    REQUIRE(bytes);
    const auto there = converted<L>(bytes->span());
    CHECK_FALSE(same(there.span(), bytes->span()));
    CHECK(same(converted<i2s>(there.span()).span(), bytes->span()));
    CHECK(same(converted<L>(there.span()).span(), there.span()));
    CHECK(logits_of(opened<oracle>(there.span())) == logits_of(opened<oracle>(bytes->span())));
}

TEST_CASE("of a ladder in all layouts, the first instruction set and the file's layout are taken") {
    constexpr std::span<const engine* const> engines = in_all_layouts<any_cpu>::engines;
    CHECK(engines.size() == 4 * any_cpu::engines.size());
    const engine* first = choose_engine(any_cpu::engines, {}, layout_table_of<i2s>);
    REQUIRE(first != nullptr);
    for (const layout_table* layout : {&layout_table_of<i2s>, &layout_table_of<base3>, &layout_table_of<lookup3>}) {
        const engine* best = choose_engine(engines, {}, *layout);
        REQUIRE(best != nullptr);
        CHECK(best->isa == first->isa);
        CHECK(best->ternary->layout == layout);
        const engine* named = choose_engine(engines, "scalar", *layout);
        REQUIRE(named != nullptr);
        CHECK(named->isa == "scalar");
        CHECK(named->ternary->layout == layout);
    }
    CHECK(choose_engine(any_cpu::engines, "scalar", layout_table_of<lookup3>)->ternary->layout ==
          &layout_table_of<i2s>);
    CHECK(choose_engine(engines, "mmx", layout_table_of<i2s>) == nullptr);
}

TEST_CASE("the note says how much was repacked") {
    const auto bytes = bitnet_tests::tiny_model(odd_shape());
    REQUIRE(bytes);
    const auto repacked = opened<policy<isa::scalar, lookup3>>(bytes->span());
    const std::uint64_t hidden_blocks = 384 / 24;
    const std::uint64_t per_layer = (2 * 12 * hidden_blocks + 2 * 3 * hidden_blocks + // q, o: 384 rows; k, v: 96
                                     2 * 20 * hidden_blocks + 12 * 27) *
                                    160; // 640 columns are 27 blocks
    CHECK(repacked.tensors().repacked_bytes() == 2 * per_layer);
    REQUIRE(repacked.notes().size() == 1);
    CHECK(repacked.notes()[0] ==
          "14 ternary tensors were repacked to layout lookup3: " + std::to_string(2 * per_layer) + " bytes");
}

TEST_CASE("code 3 is refused by everything that repacks it, naming tensor and place") {
    const auto bytes = bitnet_tests::tiny_model(odd_shape());
    REQUIRE(bytes);
    bitnet_tests::gguf_editor editor(bytes->span());
    const auto& tensor = editor.tensor("blk.1.ffn_up.weight");
    editor.poke(tensor.data + 12345, std::uint8_t{0x31});
    const auto refused = open<policy<isa::scalar, base3>>(editor.bytes(), {.verify_codes = false, .threads = 2});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == errc::bad_code);
    CHECK(refused.error().message.find("'blk.1.ffn_up.weight': byte 12345 of") != std::string::npos);
    CHECK(open<oracle>(editor.bytes(), {.verify_codes = false}));

    const auto file = gguf_file::parse(editor.bytes(), "test");
    REQUIRE(file);
    auto pool = thread_pool::open(1);
    REQUIRE(pool);
    auto converter = checkpoint_converter::open(*file, {.layout = "lookup2"}, **pool);
    REQUIRE(converter);
    const auto written = (*converter)->write_memory();
    REQUIRE_FALSE(written);
    CHECK(written.error().code == errc::bad_code);
    CHECK(written.error().message.find("'blk.1.ffn_up.weight'") != std::string::npos);
}

TEST_CASE_TEMPLATE("indices that a layout does not have are refused if codes are verified", L, lookup2, lookup3) {
    const auto bytes = bitnet_tests::tiny_model(odd_shape());
    REQUIRE(bytes);
    const auto file = converted<L>(bytes->span());
    bitnet_tests::gguf_editor editor(file.span());
    editor.poke(editor.tensor("blk.0.attn_q.weight").data + 3 * L::block_bytes, std::uint8_t{0xf0});
    const auto refused = open<policy<isa::scalar, L>>(editor.bytes());
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == errc::bad_code);
    CHECK(refused.error().message.find("'blk.0.attn_q.weight': row 0 of its 384 rows") != std::string::npos);
    const auto not_repacked = open<oracle>(editor.bytes(), {.verify_codes = false});
    REQUIRE_FALSE(not_repacked);
    CHECK(not_repacked.error().message == refused.error().message);
}

TEST_CASE("an index that lookup3 does not have is refused beyond the last column, too") {
    const auto bytes = bitnet_tests::tiny_model(odd_shape());
    REQUIRE(bytes);
    const auto file = converted<lookup3>(bytes->span());
    bitnet_tests::gguf_editor editor(file.span());
    const std::size_t last_block = 640 / lookup3::block_columns; // its columns 18 to 23 begin at byte 96
    editor.poke(editor.tensor("blk.0.ffn_down.weight").data + last_block * lookup3::block_bytes + 96,
                std::uint8_t{0xff});
    for (const auto& refused : {open<policy<isa::scalar, lookup3>>(editor.bytes()).error().message,
                                open<oracle>(editor.bytes(), {.verify_codes = false}).error().message}) {
        CHECK_MESSAGE(refused.find("'blk.0.ffn_down.weight': row 0 of its 384 rows") != std::string::npos, refused);
    }
}

TEST_CASE("a shape that the file's own layout does not admit is refused by the converter") {
    const auto bytes = bitnet_tests::tiny_model(odd_shape());
    REQUIRE(bytes);
    const auto base3_file = converted<base3>(bytes->span());
    bitnet_tests::gguf_editor editor(base3_file.span());
    editor.set_dim("blk.0.attn_q.weight", 0, 383); // still two blocks of 320
    const auto file = gguf_file::parse(editor.bytes(), "test");
    REQUIRE_MESSAGE(file, (file ? "" : file.error().message));
    auto pool = thread_pool::open(1);
    REQUIRE(pool);
    const auto refused = checkpoint_converter::open(*file, {.layout = "i2_s"}, **pool);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == errc::wrong_layout);
    CHECK(refused.error().message.find("'blk.0.attn_q.weight': [383, 384] in the file") != std::string::npos);
}
