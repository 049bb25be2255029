// SPDX-License-Identifier: MIT
// The graph of every architecture against a double-precision forward, and the types and sources of weights.
#include "golden/gguf_editor.hpp"
#include "golden/tiny_model_writer.hpp"
#include "kernel/repacking.hpp"
#include "reference_forward.hpp"

#include <bitnet/checkpoint/layout_for.hpp>
#include <bitnet/run/batch.hpp>
#include <bitnet/run/model.hpp>
#include <bitnet/run/session.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;
using bitnet_tests::repack;

namespace {

using tested = native::with_kv<float>;
using edit = bitnet_tests::gguf_editor;

const std::vector<int> tokens{3, 290, 17, 111, 64, 0, 255};

template <class P = tested>
std::vector<std::vector<float>> logits_of(std::span<const std::byte> bytes, open_options options = {},
                                          std::size_t context = 0) {
    const auto opened = model<P>::open(byte_source::borrow(bytes, "test"), options);
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    auto s = session<P>::open(*opened, {.context = context});
    REQUIRE(s);
    std::vector<std::vector<float>> rows;
    REQUIRE(s->feed_each(tokens,
                         [&](std::size_t, std::span<const float> row) { rows.emplace_back(row.begin(), row.end()); }));
    return rows;
}

/// Float32 differs from double by rounding only, until a rounding turns an int8 over; then by about 1 %.
/// \param context of the session; 0: the model's own
void check_graph(const bitnet_tests::model_shape& shape, std::size_t context = 0,
                 const bitnet_tests::token_list& vocabulary = bitnet_tests::tiny_tokens()) {
    const auto bytes = bitnet_tests::tiny_model(shape, vocabulary);
    REQUIRE(bytes);
    const auto file = gguf_file::parse(bytes->span(), "test");
    REQUIRE(file);
    const std::size_t room = context != 0 ? context : shape.context;
    const auto expected = bitnet_tests::reference_forward(*file, room > shape.original_context).logits(tokens);
    const auto actual = logits_of(bytes->span(), {}, context);
    REQUIRE(actual.size() == expected.size());
    double largest = 0;
    double largest_first = 0;
    for (std::size_t r = 0; r < expected.size(); ++r) {
        for (std::size_t i = 0; i < expected[r].size(); ++i) {
            const double difference = std::abs(static_cast<double>(actual[r][i]) - expected[r][i]);
            largest = std::max(largest, difference);
            largest_first = r == 0 ? std::max(largest_first, difference) : largest_first;
        }
    }
    MESSAGE(shape.architecture << ": position 0 differs by " << largest_first << ", all positions by " << largest);
    CHECK(largest_first < 1e-4);
    CHECK(largest < 0.1);
}

/// The same for the embedding of a model without head. An int8 that a rounding turns over moves it by about 1 %.
void check_embedding(const bitnet_tests::model_shape& shape) {
    const auto bytes = bitnet_tests::tiny_model(shape);
    REQUIRE(bytes);
    const auto file = gguf_file::parse(bytes->span(), "test");
    REQUIRE(file);
    const bitnet_tests::reference_forward reference(*file);
    const auto opened = model<tested>::open(byte_source::borrow(bytes->span(), "test"));
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    CHECK(opened->parameters().is_embedder);
    for (const pooling_type pooling : {pooling_type::mean, pooling_type::last}) {
        const bool is_default = static_cast<std::uint32_t>(pooling) == shape.pooling;
        auto s = session<tested>::open(*opened, {.pooling = is_default ? std::nullopt : std::optional(pooling)});
        REQUIRE(s);
        const auto differs_by = [&](std::size_t count) {
            const auto expected =
                reference.embedding({tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(count)}, pooling);
            const auto actual = s->embed(std::span(tokens).first(count));
            REQUIRE(actual);
            REQUIRE(actual->size() == expected.size());
            double largest = 0;
            for (std::size_t i = 0; i < expected.size(); ++i) {
                largest = std::max(largest, std::abs(static_cast<double>((*actual)[i]) - expected[i]));
            }
            return largest;
        };
        const double first = differs_by(1);
        const double all = differs_by(tokens.size());
        MESSAGE(shape.architecture << ", " << name_of(pooling) << ": the embedding of one token differs by " << first
                                   << ", of all by " << all);
        CHECK(first < 1e-5);
        CHECK(all < 0.005);
    }
}

/// All keys but arrays: what a model without tokenizer needs.
void copy_model_keys(const gguf_file& file, gguf_writer& writer) {
    for (const auto& value : file.metadata()) {
        if (value.type == gguf_type::string) {
            writer.add(value.key, value.string());
        } else if (value.type == gguf_type::u32) {
            writer.add(value.key, value.element<std::uint32_t>(0));
        } else if (value.type == gguf_type::f32) {
            writer.add(value.key, value.element<float>(0));
        }
    }
}

bitnet_tests::model_shape grouped() {
    bitnet_tests::model_shape shape;
    shape.layers = 2;
    shape.hidden = 256;
    shape.ffn = 384;
    shape.heads = 4;
    shape.kv_heads = 2;
    shape.head_dim = 64;
    return shape;
}

} // namespace

TEST_CASE("bitnet-b1.58 and bitnet-25: ReLU² layers equal the double-precision graph") {
    check_graph(grouped());
    auto first_upload = grouped();
    first_upload.architecture = "bitnet-25";
    check_graph(first_upload);
}

TEST_CASE("bitnet: SiLU layers with .scale tensors equal the double-precision graph") {
    auto shape = grouped();
    shape.architecture = "bitnet";
    shape.activation = "silu";
    shape.theta = 10000.0f;
    shape.kv_heads = 4;
    check_graph(shape);
    shape.scale_tensors = true;
    check_graph(shape);
}

TEST_CASE("the activation function that a file names equals the double-precision graph in any architecture") {
    auto shape = grouped();
    for (const auto& [architecture, activation] : {std::pair("bitnet", "relu2"), std::pair("bitnet-b1.58", "silu"),
                                                   std::pair("bitnet-25", "gelu"), std::pair("llama", "relu2")}) {
        shape.architecture = architecture;
        shape.activation = activation;
        check_graph(shape);
    }
}

TEST_CASE("heads of 96 that do not add up to the hidden size equal the double-precision graph") {
    auto shape = grouped();
    shape.heads = 4;
    shape.kv_heads = 1;
    shape.head_dim = 96; // 384 query columns, hidden 256
    check_graph(shape);
}

TEST_CASE("llama: no sub-norms, rotated pairs and its own head equal the double-precision graph") {
    auto shape = grouped();
    shape.architecture = "llama";
    check_graph(shape); // tied without output.weight
    shape.own_head = true;
    check_graph(shape);
    shape.rotary = "halves"; // rows as Hugging Face has them
    check_graph(shape);
}

TEST_CASE("llama: scaled rotation equals the double-precision graph") {
    auto shape = grouped();
    shape.architecture = "llama";
    shape.theta = 10000.0f;
    shape.rope_factor = 4.0f;
    check_graph(shape);
    shape.rope_divisor = 8.0f;
    check_graph(shape);
}

TEST_CASE(
    "an odd vocabulary, a tied head and more query columns than the stream has equal the double-precision graph") {
    const auto odd = bitnet_tests::tiny_tokens(123);
    REQUIRE(odd.tokens.size() == 389);
    auto shape = grouped();
    shape.architecture = "qwen3";
    shape.head_norms = true;
    shape.hidden = 384;
    shape.ffn = 640;
    shape.head_dim = 128; // 512 query columns, as 4096 over 2560 in the 4B model
    check_graph(shape, 0, odd);
    shape.heads = 3; // 384 columns, as many as the stream, of three heads that share one
    shape.kv_heads = 1;
    check_graph(shape, 0, odd);
    shape.heads = 1; // 128 columns, fewer than the stream
    shape.own_head = true;
    check_graph(shape, 0, odd);
}

TEST_CASE("YaRN equals the double-precision graph from position 0 on, in a context of any size") {
    auto shape = grouped();
    shape.architecture = "qwen3";
    shape.head_norms = true;
    shape.theta = 10000.0f;
    shape.yarn_factor = 4.0f;
    shape.original_context = 16;
    check_graph(shape);
    check_graph(shape, tokens.size());
    shape.architecture = "llama";
    shape.head_norms = false;
    shape.attention_factor = 0.8f;
    check_graph(shape);
    shape.original_context = 8192;
    shape.yarn_factor = 40.0f;
    check_graph(shape);
}

TEST_CASE("longrope takes the long factors in sessions beyond the original context, else the short ones") {
    auto shape = grouped();
    shape.architecture = "llama";
    shape.theta = 10000.0f;
    shape.long_factor = 9.0f;
    shape.short_factor = 0.5f;
    shape.original_context = 16;
    shape.attention_factor = 1.25f;
    check_graph(shape, 16);
    check_graph(shape, 17);
    check_graph(shape);
    shape.architecture = "minicpm";
    check_graph(shape, tokens.size());
    check_graph(shape);
}

TEST_CASE("sessions of one batch keep their own longrope factors") {
    auto shape = grouped();
    shape.architecture = "llama";
    shape.long_factor = 9.0f;
    shape.short_factor = 2.0f;
    shape.original_context = 16;
    shape.attention_factor = 1.25f;
    const auto bytes = bitnet_tests::tiny_model(shape);
    REQUIRE(bytes);
    const auto opened = model<tested>::open(byte_source::borrow(bytes->span(), "test"));
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    auto of_short = session<tested>::open(*opened, {.context = 16});
    auto of_long = session<tested>::open(*opened, {.context = 17});
    auto both = batch<tested>::open(*opened, {.sessions = 2});
    REQUIRE(of_short);
    REQUIRE(of_long);
    REQUIRE(both);
    const auto short_rows = logits_of(bytes->span(), {}, 16);
    const auto long_rows = logits_of(bytes->span(), {}, 17);
    for (std::size_t i = 0; i < tokens.size(); ++i) {
        const batch_entry entries[] = {{&*of_long, tokens[i]}, {&*of_short, tokens[i]}};
        REQUIRE(both->step(entries));
        CHECK(std::ranges::equal(*of_short->logits(), short_rows[i]));
        CHECK(std::ranges::equal(*of_long->logits(), long_rows[i]));
    }
    CHECK(short_rows.back() != long_rows.back());
}

TEST_CASE("minicpm: scaled embeddings, branches and logits equal the double-precision graph") {
    auto shape = grouped();
    shape.architecture = "minicpm";
    check_graph(shape); // the numbers of files without the keys
    shape.embedding_scale = 3.0f;
    shape.residual_scale = 0.35f;
    shape.logit_scale = 0.3f;
    shape.own_head = true;
    check_graph(shape);
    shape.post_norms = true;
    shape.rotary = "halves";
    check_graph(shape);
}

TEST_CASE("qwen2: biases of query, key and value equal the double-precision graph") {
    auto shape = grouped();
    shape.architecture = "qwen2";
    check_graph(shape);
    shape.biases = true;
    check_graph(shape);
    shape.head_dim = 96; // 384 query columns, hidden 256
    shape.own_head = true;
    check_graph(shape);
}

TEST_CASE("qwen3 and gemma3 with ternary weights and a head equal the double-precision graph") {
    auto shape = grouped();
    shape.head_norms = true;
    shape.head_dim = 96;
    shape.architecture = "qwen3";
    check_graph(shape);
    shape.architecture = "gemma3"; // GELU, scaled embeddings
    shape.post_norms = true;
    shape.own_head = true;
    check_graph(shape);
}

TEST_CASE("text embedding models: a norm before each projection, the mean or the last state, length one") {
    auto shape = grouped();
    shape.architecture = "qwen3";
    shape.epsilon = 1e-6f;
    shape.head_norms = true;
    shape.input_norms = true;
    shape.head_dim = 128; // 512 query columns, hidden 256
    shape.pooling = 3;
    check_embedding(shape);
    shape.pooling = 1;
    check_embedding(shape);
    shape.architecture = "gemma3";
    shape.post_norms = true;
    shape.kv_heads = 1;
    check_embedding(shape);
}

TEST_CASE("embeddings in Q8_0, Q6_K, Q4_K and Q4_0 equal the double-precision graph") {
    auto shape = grouped();
    for (const auto type : {tensor_type::q8_0, tensor_type::q6_k, tensor_type::q4_k, tensor_type::q4_0}) {
        shape.embedding = type;
        check_graph(shape);
    }
}

TEST_CASE("a .scale tensor multiplies its matrix") {
    auto shape = grouped();
    shape.architecture = "bitnet";
    shape.scale_tensors = true;
    const auto bytes = bitnet_tests::tiny_model(shape);
    REQUIRE(bytes);
    edit editor(bytes->span());
    editor.poke(editor.tensor("blk.0.ffn_down.scale").data, 2.0f);
    const auto twice = logits_of(editor.bytes());
    edit other(bytes->span());
    const auto& down = other.tensor("blk.0.ffn_down.weight");
    const std::size_t scale_at = down.data + down.data_size - 32;
    const float factor = other.peek<float>(other.tensor("blk.0.ffn_down.scale").data);
    other.poke(scale_at, other.peek<float>(scale_at) * (2.0f / factor));
    CHECK(twice == logits_of(other.bytes()));
    CHECK(twice != logits_of(bytes->span()));
    editor.poke(editor.tensor("blk.0.ffn_down.scale").data, -1.0f);
    const auto refused = model<tested>::open(byte_source::borrow(editor.bytes(), "test"));
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == errc::bad_scale);
    CHECK(refused.error().message.find("'blk.0.ffn_down.scale'") != std::string::npos);
}

TEST_CASE("an output.weight that the architecture does not use is ignored with a note") {
    const auto bytes = bitnet_tests::tiny_model();
    REQUIRE(bytes);
    const auto file = gguf_file::parse(bytes->span(), "test");
    REQUIRE(file);
    const auto& embedding = *file->find_tensor("token_embd.weight");
    gguf_writer writer;
    copy_model_keys(*file, writer);
    for (const auto& tensor : file->tensors()) {
        writer.add_tensor(tensor.name, tensor.type, std::span(tensor.dims).first(tensor.rank), tensor.bytes);
    }
    const std::vector<std::byte> noise(embedding.bytes.size(), std::byte{0x33});
    writer.add_tensor("output.weight", embedding.type, std::span(embedding.dims).first(2), noise);
    const auto written = writer.write_memory();
    REQUIRE(written);
    const open_options without_text{.load_tokenizer = false};
    const auto opened = model<tested>::open(byte_source::borrow(written->span(), "test"), without_text);
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    REQUIRE(opened->notes().size() == 1);
    CHECK(opened->notes()[0].find("'output.weight' is not used") != std::string::npos);
    CHECK_FALSE(opened->has_text());
    CHECK(logits_of(written->span(), without_text) == logits_of(bytes->span()));
}

TEST_CASE("files in byte orders B and C give the logits of A if their order is named") {
    const auto shape = grouped();
    const auto bytes = bitnet_tests::tiny_model(shape);
    REQUIRE(bytes);
    const auto expected = logits_of(bytes->span());
    const auto reordered = [&]<class To>() {
        std::vector<std::byte> copy(bytes->data(), bytes->data() + bytes->size());
        const auto file = gguf_file::parse(bytes->span(), "test");
        REQUIRE(file);
        for (const auto& tensor : file->tensors()) {
            if (tensor.type == tensor_type::i2_s) {
                repack<To, i2s>(
                    {reinterpret_cast<const std::uint8_t*>(tensor.bytes.data()), tensor.dims[1], tensor.dims[0]},
                    reinterpret_cast<std::uint8_t*>(copy.data() + tensor.offset));
            }
        }
        return copy;
    };
    const auto b = reordered.operator()<i2s_b>();
    const auto c = reordered.operator()<i2s_c>();
    CHECK(logits_of(b, {.file_order = i2s_order::planar_64}) == expected);
    CHECK(logits_of(c, {.file_order = i2s_order::four_rows}) == expected);
    CHECK(logits_of(b) != expected); // the file does not say which order it has
    using in_place_b = policy<isa::scalar>::with_layout<i2s_b>::with_kv<float>;
    CHECK(logits_of<in_place_b>(b, {.file_order = i2s_order::planar_64}) == expected);
    using in_place_c = policy<isa::scalar>::with_layout<i2s_c>::with_kv<float>;
    CHECK(logits_of<in_place_c>(bytes->span()) == expected);

    const auto opened = model<tested>::open(byte_source::borrow(b, "test"), {.file_order = i2s_order::planar_64});
    REQUIRE(opened);
    CHECK(opened->tensors().repacked_tensors() == 14);
    CHECK(opened->tensors().repacked_bytes() == 2 * (256u * 256 * 2 + 256u * 128 * 2 + 256u * 384 * 3) / 4);
    REQUIRE(opened->notes().size() == 1);
    CHECK(opened->notes()[0].starts_with("14 ternary tensors were repacked to layout i2_s: "));
}

TEST_CASE("norms and embeddings may be F32, F16 or BF16") {
    const auto bytes = bitnet_tests::tiny_model(grouped());
    REQUIRE(bytes);
    const auto file = gguf_file::parse(bytes->span(), "test");
    REQUIRE(file);
    // Every embedding is rounded to bfloat16 first, which F16 cannot hold exactly: so the F32 and BF16 files agree.
    const auto as = [&](tensor_type wanted) {
        gguf_writer writer;
        copy_model_keys(*file, writer);
        std::vector<std::vector<std::byte>> kept;
        kept.reserve(file->tensors().size());
        for (const auto& tensor : file->tensors()) {
            const auto dims = std::span(tensor.dims).first(tensor.rank);
            if (tensor.type == tensor_type::i2_s) {
                writer.add_tensor(tensor.name, tensor.type, dims, tensor.bytes);
                continue;
            }
            const std::size_t size = tensor.type == tensor_type::f16 ? 2 : 4;
            std::vector<std::byte> data;
            for (std::size_t i = 0; i < tensor.bytes.size(); i += size) {
                half narrow_value{};
                float value = 0;
                std::memcpy(size == 2 ? static_cast<void*>(&narrow_value) : &value, tensor.bytes.data() + i, size);
                const bfloat16 rounded = narrow<bfloat16>(size == 2 ? widen(narrow_value) : value);
                const float wide = widen(rounded);
                const std::size_t at = data.size();
                data.resize(at + (wanted == tensor_type::f32 ? 4 : 2));
                std::memcpy(data.data() + at, wanted == tensor_type::f32 ? static_cast<const void*>(&wide) : &rounded,
                            data.size() - at);
            }
            kept.push_back(std::move(data));
            writer.add_tensor(tensor.name, wanted, dims, kept.back());
        }
        auto written = writer.write_memory();
        REQUIRE(written);
        return *std::move(written);
    };
    const auto wide = as(tensor_type::f32);
    const auto narrow_file = as(tensor_type::bf16);
    const open_options without_text{.load_tokenizer = false};
    CHECK(logits_of(wide.span(), without_text) == logits_of(narrow_file.span(), without_text));
    const auto reference = gguf_file::parse(wide.span(), "wide");
    REQUIRE(reference);
    const auto expected = bitnet_tests::reference_forward(*reference).logits(tokens);
    const auto actual = logits_of(wide.span(), without_text);
    for (std::size_t i = 0; i < expected[0].size(); ++i) {
        CHECK(std::abs(static_cast<double>(actual[0][i]) - expected[0][i]) < 1e-4);
    }
}

TEST_CASE("spans, callbacks and files that are read give the same logits") {
    const auto bytes = bitnet_tests::tiny_model();
    REQUIRE(bytes);
    const auto read = [](void* context, std::uint64_t offset, std::span<std::byte> out) {
        std::memcpy(out.data(), static_cast<const buffer<std::byte>*>(context)->data() + offset, out.size());
        return true;
    };
    auto source = byte_source::from_callback({read, const_cast<buffer<std::byte>*>(&*bytes)}, bytes->size(), "pak");
    REQUIRE(source);
    const auto opened = model<tested>::open(*std::move(source));
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    auto s = session<tested>::open(*opened);
    REQUIRE(s);
    REQUIRE(s->feed(tokens));
    const auto logits = s->logits();
    REQUIRE(logits);
    CHECK(std::vector<float>(logits->begin(), logits->end()) == logits_of(bytes->span()).back());
    const auto file = gguf_file::parse(bytes->span(), "span");
    REQUIRE(file);
    const auto type = ternary_type_of(*file);
    REQUIRE(type);
    CHECK(*type == tensor_type::i2_s);
}
