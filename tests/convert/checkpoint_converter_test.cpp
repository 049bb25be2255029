// SPDX-License-Identifier: MIT
// Conversions keep every ternary value and scale, and comparison notices every difference.
#include "golden/gguf_editor.hpp"
#include "golden/golden_data.hpp"
#include "golden/split_gguf.hpp"
#include "golden/tiny_model_writer.hpp"
#include "io/temporary_folder.hpp"

#include <bitnet/checkpoint/open_model_file.hpp>
#include <bitnet/convert/checkpoint_comparison.hpp>
#include <bitnet/convert/checkpoint_converter.hpp>
#include <bitnet/io/gguf_writer.hpp>
#include <bitnet/run/model.hpp>
#include <bitnet/run/session.hpp>
#include <bitnet/thread/thread_pool.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;

namespace {

using oracle = policy<isa::scalar>;
using converter_type = checkpoint_converter;

bitnet_tests::model_shape two_layers() {
    bitnet_tests::model_shape shape;
    shape.layers = 2;
    shape.hidden = 256; // whole blocks of every format
    shape.ffn = 512;
    shape.heads = 4;
    shape.kv_heads = 2;
    shape.head_dim = 64;
    return shape;
}

buffer<std::byte> tiny(const bitnet_tests::model_shape& shape) {
    auto bytes = bitnet_tests::tiny_model(shape);
    REQUIRE(bytes);
    return *std::move(bytes);
}

gguf_file parsed(std::span<const std::byte> bytes) {
    auto file = gguf_file::parse(bytes, "test");
    REQUIRE_MESSAGE(file, (file ? "" : file.error().message));
    return *std::move(file);
}

std::unique_ptr<thread_pool> threads(std::size_t count) {
    auto pool = thread_pool::open(count);
    REQUIRE(pool);
    return *std::move(pool);
}

result<buffer<std::byte>> convert(const gguf_file& file, const conversion_options& options) {
    const auto pool = threads(2);
    auto converter = converter_type::open(file, options, *pool);
    return converter ? (*converter)->write_memory() : result<buffer<std::byte>>(converter.error());
}

buffer<std::byte> converted(std::span<const std::byte> bytes, const conversion_options& options) {
    auto written = convert(parsed(bytes), options);
    REQUIRE_MESSAGE(written, (written ? "" : written.error().message));
    return *std::move(written);
}

/// The bits of the logits after the last of eight tokens.
std::vector<std::uint32_t> logits_of(std::span<const std::byte> bytes) {
    const auto opened = model<oracle>::open(byte_source::borrow(bytes, "test"), {.load_tokenizer = false});
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    auto s = session<oracle>::open(*opened, {.threads = 1});
    REQUIRE(s);
    REQUIRE(s->feed(std::vector<token>{3, 1, 4, 1, 5, 9, 2, 6}));
    const auto logits = s->logits();
    REQUIRE(logits);
    std::vector<std::uint32_t> bits(logits->size());
    std::memcpy(bits.data(), logits->data(), logits->size_bytes());
    return bits;
}

bool same_tensors(const gguf_file& a, const gguf_file& b) {
    return std::ranges::equal(a.tensors(), b.tensors(), [](const gguf_tensor& x, const gguf_tensor& y) {
        return x.name == y.name && x.type == y.type && x.dims == y.dims && std::ranges::equal(x.bytes, y.bytes);
    });
}

/// The same file with BOS in front of the spelling of every other control token.
buffer<std::byte> with_bos_in_front(std::span<const std::byte> bytes) {
    const gguf_file file = parsed(bytes);
    gguf_writer writer;
    for (const gguf_value& entry : file.metadata()) {
        if (entry.key != "tokenizer.ggml.tokens") {
            writer.add(entry);
            continue;
        }
        std::vector<std::string> spellings(entry.strings().begin(), entry.strings().end());
        for (std::string& spelling : spellings) {
            if (spelling.starts_with("<|") && spelling != "<|begin_of_text|>") {
                spelling.insert(0, "<|begin_of_text|>");
            }
        }
        writer.add_strings(entry.key, spellings);
    }
    for (const gguf_tensor& tensor : file.tensors()) {
        writer.add_tensor(tensor.name, tensor.type, std::span(tensor.dims).first(tensor.rank), tensor.bytes);
    }
    auto written = writer.write_memory();
    REQUIRE_MESSAGE(written, (written ? "" : written.error().message));
    return *std::move(written);
}

/// The same file and blk.0.attn_q.bias, [1].
buffer<std::byte> with_one_tensor_more(std::span<const std::byte> bytes) {
    const gguf_file file = parsed(bytes);
    gguf_writer writer;
    for (const gguf_value& entry : file.metadata()) {
        writer.add(entry);
    }
    for (const gguf_tensor& tensor : file.tensors()) {
        writer.add_tensor(tensor.name, tensor.type, std::span(tensor.dims).first(tensor.rank), tensor.bytes);
    }
    const float one = 1.0f;
    const std::uint64_t dims[] = {1};
    writer.add_tensor("blk.0.attn_q.bias", tensor_type::f32, dims, std::as_bytes(std::span(&one, 1)));
    auto written = writer.write_memory();
    REQUIRE_MESSAGE(written, (written ? "" : written.error().message));
    return *std::move(written);
}

result<comparison_report> compare(std::span<const std::byte> from, std::span<const std::byte> to) {
    const auto pool = threads(2);
    return compare_checkpoints(parsed(from), ternary_reading(), parsed(to), *pool);
}

} // namespace

TEST_CASE("every layout gives I2_S's logits, compares as the same model, and converts back") {
    for (const bool scale_tensors : {false, true}) {
        auto shape = two_layers();
        shape.scale_tensors = scale_tensors;
        const auto source = tiny(shape);
        const auto expected = logits_of(source.span());
        for (const auto& encoding : ternary_encodings) {
            CAPTURE(std::string(encoding.name));
            const auto there = converted(source.span(), {.layout = encoding.name});
            const auto file = parsed(there.span());
            CHECK(file.find_tensor("blk.1.ffn_down.weight")->type == encoding.type);
            CHECK(*file.get<std::uint32_t>("general.file_type") == encoding.file_type);
            const bool is_made_for_one_scale = !encoding.has_block_scales || encoding.name.starts_with("tq");
            if (is_made_for_one_scale) { // others are read as models whose activations are rounded by columns
                CHECK(logits_of(there.span()) == expected);
            }
            const auto report = compare(source.span(), there.span());
            REQUIRE_MESSAGE(report, (report ? "" : report.error().message));
            CHECK(report->ternary_tensors == 14);
            CHECK(report->ternary_values == 2 * (2 * 256 * 256 + 2 * 128 * 256 + 3 * 512 * 256));
            CHECK(report->changed_floats == 0);
            CHECK(report->vocabulary_entries == parsed(source.span()).find("tokenizer.ggml.tokens")->count);
            const auto back = converted(there.span(), {.layout = "i2_s"});
            CHECK(compare(source.span(), back.span()));
            if (!scale_tensors) {
                CHECK(std::ranges::equal(back.span(), source.span()));
            }
        }
    }
}

TEST_CASE("rows of Q and K of a LLaMA checkpoint are permuted, and its logits keep their bits") {
    auto shape = two_layers();
    shape.architecture = "llama";
    shape.own_head = true;
    const auto permuted = tiny(shape); // the same codes in the same order, read as rows that a converter has permuted
    shape.rotary = "halves";
    const auto source = tiny(shape);
    const auto expected = logits_of(source.span());
    CHECK(logits_of(permuted.span()) != expected);
    for (const std::string_view layout : {"i2_s", "lookup2"}) {
        const auto there = converted(source.span(), {.layout = layout});
        CHECK(parsed(there.span()).find("bitnet_hpp.rotary") == nullptr);
        CHECK(logits_of(there.span()) == expected);
        CHECK(compare(source.span(), there.span()));
        CHECK_FALSE(compare(permuted.span(), there.span()));
    }
}

TEST_CASE("a scale that a layout cannot hold is stored in a tensor of its own, bit for bit") {
    const auto source = tiny(two_layers());
    bitnet_tests::gguf_editor editor(source.span());
    const float scale = 0.012345678f; // needs more than the eleven bits of a half
    const auto& tensor = editor.tensor("blk.0.ffn_up.weight");
    editor.poke(tensor.data + 256 * 512 / 4, scale);
    const auto expected = logits_of(editor.bytes());
    for (const std::string_view layout : {"tq1_0", "tq2_0"}) {
        const auto there = converted(editor.bytes(), {.layout = layout});
        const gguf_file file = parsed(there.span());
        const gguf_tensor* beside = file.find_tensor("blk.0.ffn_up.scale");
        REQUIRE(beside != nullptr);
        float stored = 0;
        std::memcpy(&stored, beside->bytes.data(), sizeof stored);
        CHECK(stored == scale);
        CHECK(logits_of(there.span()) == expected);
        const auto back = converted(there.span(), {.layout = "i2_s"});
        CHECK(std::ranges::equal(back.span(), editor.bytes()));
    }
}

TEST_CASE("orders B and C of I2_S are read as the caller says") {
    // Every code 1 but the first of row 0: its place differs between the orders.
    const auto source = tiny(two_layers());
    bitnet_tests::gguf_editor editor(source.span());
    const auto& tensor = editor.tensor("blk.0.attn_q.weight");
    for (std::size_t i = 0; i < 256 * 256 / 4; ++i) {
        editor.poke(tensor.data + i, std::uint8_t{0x55});
    }
    editor.poke(tensor.data + 17, std::uint8_t{0x95}); // code 2 at the top bits of byte 17
    const auto place_of_two = [&](i2s_order order) {
        const auto there = converted(editor.bytes(), {.layout = "i2_s", .reading = {order}});
        const gguf_file file = parsed(there.span());
        const auto view = codes_of(*file.find_tensor("blk.0.attn_q.weight"));
        for (std::size_t row = 0; row < 256; ++row) {
            for (std::size_t col = 0; col < 256; ++col) {
                if (i2s::code(view, row, col) == 2) {
                    return std::pair(row, col);
                }
            }
        }
        return std::pair(std::size_t{999}, std::size_t{999});
    };
    CHECK(place_of_two(i2s_order::planar_128) == std::pair<std::size_t, std::size_t>(0, 17));
    CHECK(place_of_two(i2s_order::planar_64) == std::pair<std::size_t, std::size_t>(0, 65));
    CHECK(place_of_two(i2s_order::four_rows) == std::pair<std::size_t, std::size_t>(0, 17));
}

TEST_CASE("the head is written in the requested type, and comparison reports how far its values moved") {
    const auto source = tiny(two_layers());
    for (const auto& [head, type, most] : {std::tuple("q8_0", tensor_type::q8_0, 0.005f), // of values up to about 1
                                           std::tuple("q6_k", tensor_type::q6_k, 0.03f)}) {
        const auto there = converted(source.span(), {.head = head});
        const auto file = parsed(there.span());
        CHECK(file.find_tensor("token_embd.weight")->type == type);
        const auto report = compare(source.span(), there.span());
        REQUIRE(report);
        CHECK(report->changed_floats > 1000);
        CHECK(report->largest_change > 0);
        CHECK(report->largest_change < most);
        const auto logits = logits_of(there.span());
        const auto back = converted(there.span(), {.head = "f16"});
        CHECK(parsed(back.span()).find_tensor("token_embd.weight")->type == tensor_type::f16);
    }
    CHECK(std::ranges::equal(converted(source.span(), {.head = "f16"}).span(), source.span()));
}

TEST_CASE("a screen that a file holds is used where it lies, unless the head is to be read as stored") {
    const auto plain = bitnet_tests::tiny_model();
    REQUIRE(plain);
    conversion_options options;
    options.head = "screened";
    const auto bytes = converted(plain->span(), options);
    for (const lm_head_mode mode : {lm_head_mode::automatic, lm_head_mode::screened, lm_head_mode::as_stored}) {
        const auto opened =
            model<oracle>::open(byte_source::borrow(bytes.span(), "test"), {.load_tokenizer = false, .lm_head = mode});
        REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
        CHECK(opened->head_screen() == (mode == lm_head_mode::as_stored ? screen_state::none : screen_state::ready));
        CHECK(opened->screen_bytes() == 0);
    }
}

TEST_CASE("metadata is set in place or added, and nothing else changes") {
    auto shape = two_layers();
    shape.names_pre_tokenizer = false; // as the official 2B-4T file
    const auto source = tiny(shape);
    const auto pre = metadata_edit::parse("tokenizer.ggml.pre=str:llama-bpe");
    const auto name = metadata_edit::parse("general.name=str:repaired");
    REQUIRE((pre && name));
    const metadata_edit edits[] = {*pre, *name};
    const auto there = converted(source.span(), {.edits = edits});
    const auto before = parsed(source.span());
    const auto after = parsed(there.span());
    CHECK(after.find("tokenizer.ggml.pre")->string() == "llama-bpe");
    CHECK(after.find("general.name")->string() == "repaired");
    CHECK(after.metadata().size() == before.metadata().size() + 1);
    CHECK(after.metadata()[1].key == "general.name");
    CHECK(same_tensors(before, after));
    const auto pool = threads(1);
    const std::string_view keys[] = {"general.name", "tokenizer.ggml.pre"};
    CHECK(compare_checkpoints(before, ternary_reading(), after, *pool, keys));
}

TEST_CASE("a tensor that cannot be converted is refused by name") {
    auto shape = two_layers();
    shape.hidden = 384; // no multiple of 256
    shape.head_dim = 96;
    const auto source = tiny(shape);
    const auto check = [&](const conversion_options& options, errc code, std::string_view part) {
        const auto refused = convert(parsed(source.span()), options);
        REQUIRE_FALSE(refused);
        CHECK(refused.error().code == code);
        CHECK_MESSAGE(refused.error().message.find(part) != std::string::npos, refused.error().message);
    };
    check({.layout = "tq2_0"}, errc::wrong_layout, "'blk.0.attn_q.weight': [384, 384] in the file");
    check({.layout = "tl3"}, errc::invalid_argument, "'tl3'");
    check({.head = "q4_0"}, errc::invalid_argument, "'q4_0'");
    check({.head = "q6_k"}, errc::unsupported_type, "'token_embd.weight': F16 [384, ");
}

TEST_CASE("a stopped conversion returns an error and leaves no file") {
    const auto source = tiny(two_layers());
    const auto file = parsed(source.span());
    const auto pool = threads(1);
    std::uint64_t seen = 0;
    const auto stop = [](void* context, std::uint64_t done, std::uint64_t total) noexcept {
        *static_cast<std::uint64_t*>(context) = done;
        return done * 2 < total;
    };
    auto converter = converter_type::open(file, {.progress = {stop, &seen}}, *pool);
    REQUIRE(converter);
    const auto stopped = (*converter)->write_memory();
    REQUIRE_FALSE(stopped);
    CHECK(stopped.error().code == errc::cancelled);
    CHECK(stopped.error().message.find(std::to_string(seen) + " of ") != std::string::npos);
    const bitnet_tests::temporary_folder folder;
    const std::string target = folder.write("kept.gguf", "what was there");
    const auto on_disk = (*converter)->write_file(target);
    REQUIRE_FALSE(on_disk);
    CHECK(on_disk.error().code == errc::cancelled);
    CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
    CHECK(std::filesystem::file_size(target) == 14);
}

TEST_CASE("comparison finds one changed code, scale, norm, embedding or token, and a missing tensor") {
    const auto source = tiny(two_layers());
    const auto check = [&](auto&& change, std::string_view part) {
        bitnet_tests::gguf_editor editor(source.span());
        change(editor);
        const auto report = compare(source.span(), editor.bytes());
        REQUIRE_FALSE(report);
        CHECK_MESSAGE(report.error().message.find(part) != std::string::npos, report.error().message);
    };
    const auto flip = [](std::string_view tensor, std::size_t at) {
        return [=](bitnet_tests::gguf_editor& editor) {
            const auto place = editor.tensor(std::string(tensor)).data + at;
            editor.poke(place, static_cast<std::uint8_t>(std::to_integer<unsigned>(editor.bytes()[place]) ^ 1u));
        };
    };
    check(flip("blk.1.attn_v.weight", 64 * 100), "'blk.1.attn_v.weight': row 100 of 128");
    check(flip("blk.0.attn_q.weight", 256 * 256 / 4), "'blk.0.attn_q.weight': the scale");
    check(flip("blk.0.attn_norm.weight", 5), "'blk.0.attn_norm.weight': other bytes");
    check(flip("token_embd.weight", 1001), "'token_embd.weight': other bytes");
    check(
        [](bitnet_tests::gguf_editor& editor) {
            editor.rename_tensor("blk.1.ffn_norm.weight", "blk.1.ffn_norn.weight");
        },
        "'blk.1.ffn_norm.weight': not in the file");
    check(
        [](bitnet_tests::gguf_editor& editor) {
            const auto place = editor.key("bitnet-b1.58.rope.freq_base").value;
            editor.poke(place, 10000.0f);
        },
        "'bitnet-b1.58.rope.freq_base' is not the one");
    const auto more = compare(source.span(), with_one_tensor_more(source.span()).span());
    REQUIRE_FALSE(more);
    CHECK(more.error().message.find("'blk.0.attn_q.bias': not in ") != std::string::npos);
}

TEST_CASE("golden: packed and bf16 checkpoints convert to the GGUF file's ternary tensors") {
    if (skip_without_golden()) {
        return;
    }
    const auto original = byte_source::open(golden_path("tiny/tiny-a-i2_s.gguf"));
    REQUIRE(original);
    const auto expected = logits_of(original->bytes());
    for (const char* directory : {"tiny/hf", "tiny/hf-bf16"}) {
        const auto source = model_file::open(golden_path(directory));
        REQUIRE_MESSAGE(source, (source ? "" : source.error().message));
        const auto pool = threads(2);
        for (const std::string_view layout : {"i2_s", "lookup3", "tq2_0"}) {
            auto converter = converter_type::open(source->gguf(), {.layout = layout, .head = "f16"}, *pool);
            REQUIRE_MESSAGE(converter, (converter ? "" : converter.error().message));
            const auto bytes = (*converter)->write_memory();
            REQUIRE(bytes);
            const auto file = parsed(bytes->span());
            // The checkpoint does not have these; the head size is the rope's by default.
            const std::string_view unused[] = {"tokenizer.ggml.padding_token_id", "bitnet-b1.58.rope.dimension_count"};
            const auto report = compare_checkpoints(parsed(original->bytes()), ternary_reading(), file, *pool, unused);
            REQUIRE_MESSAGE(report, (report ? "" : report.error().message));
            CHECK(report->ternary_tensors == 42);
            CHECK(*file.get<std::uint32_t>("general.file_type") == find_ternary_encoding(layout)->file_type);
            CHECK(report->changed_floats == 0);
            CHECK(compare_checkpoints(source->gguf(), ternary_reading(), file, *pool));
            CHECK(logits_of(bytes->span()) == expected);
        }
    }
}

TEST_CASE("a split model is joined into one file without a trace of the shards") {
    const auto whole = tiny(two_layers());
    const gguf_file file = parsed(whole.span());
    const bitnet_tests::temporary_folder folder;
    for (std::size_t i = 0; i < 2; ++i) {
        (void)folder.write("m" + bitnet_tests::shard_ending(i, 2),
                           bitnet_tests::as_text(bitnet_tests::shard_of(file, i, 2).span()));
    }
    const auto split = model_file::open(folder.path("m" + bitnet_tests::shard_ending(0, 2)));
    REQUIRE_MESSAGE(split, (split ? "" : split.error().message));
    const auto joined = convert(split->gguf(), {});
    REQUIRE(joined);
    const auto expected = converted(whole.span(), {});
    CHECK(std::equal(joined->span().begin(), joined->span().end(), expected.span().begin(), expected.span().end()));
    CHECK(compare_checkpoints(split->gguf(), {}, parsed(joined->span()), *threads(2)));
}

TEST_CASE("control tokens with BOS in front are repaired by a conversion, and comparison accepts just that") {
    const auto good = tiny(two_layers());
    const auto wrong = with_bos_in_front(good.span());
    const auto pool = threads(2);
    const gguf_file from = parsed(wrong.span());
    auto converter = converter_type::open(from, {.layout = "i2_s"}, *pool);
    REQUIRE(converter);
    CHECK((*converter)->statistics().repaired_tokens == 31);
    const auto written = (*converter)->write_memory();
    REQUIRE(written);
    const gguf_file repaired = parsed(written->span());
    const auto tokens_of = [](const gguf_file& file) { return file.find("tokenizer.ggml.tokens")->bytes; };
    CHECK(std::ranges::equal(tokens_of(repaired), tokens_of(parsed(good.span()))));
    const auto same = compare_checkpoints(from, {}, repaired, *pool);
    REQUIRE_MESSAGE(same, (same ? "" : same.error().message));
    CHECK(same->vocabulary_entries == from.find("tokenizer.ggml.tokens")->count);
    const auto worse = compare_checkpoints(repaired, {}, from, *pool);
    REQUIRE(!worse);
    CHECK(worse.error().message.find("tokenizer.ggml.tokens") != std::string::npos);
    auto plain = converter_type::open(repaired, {.layout = "i2_s"}, *pool);
    REQUIRE(plain);
    CHECK((*plain)->statistics().repaired_tokens == 0);
}
