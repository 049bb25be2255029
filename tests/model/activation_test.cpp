// SPDX-License-Identifier: MIT
// The activation function that a file says, in all spellings, and what is inferred where architecture bitnet does not.
#include "golden/gguf_editor.hpp"
#include "golden/golden_data.hpp"
#include "golden/tiny_model_writer.hpp"

#include <bitnet/checkpoint/hyper_parameter_reader.hpp>
#include <bitnet/io/byte_source.hpp>
#include <bitnet/io/json.hpp>
#include <bitnet/run/model.hpp>
#include <bitnet/run/session.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;
using edit = bitnet_tests::gguf_editor;

namespace {

buffer<std::byte> model_of(const std::string& architecture, const std::string& activation) {
    bitnet_tests::model_shape shape;
    shape.architecture = architecture;
    shape.activation = activation;
    auto bytes = bitnet_tests::tiny_model(shape);
    REQUIRE(bytes);
    return *std::move(bytes);
}

result<hyper_parameters> parameters_of(std::span<const std::byte> bytes) {
    const auto file = gguf_file::parse(bytes, "a.gguf");
    REQUIRE_MESSAGE(file, (file ? "" : file.error().message));
    return hyper_parameters::read(*file);
}

/// The file with another tokenizer.ggml.model, or with none.
hyper_parameters with_tokenizer(std::optional<std::string_view> model) {
    const auto bytes = model_of("bitnet", "");
    edit editor(bytes.span());
    if (model) {
        editor.set_value("tokenizer.ggml.model", gguf_type::string, edit::string(*model));
    } else {
        editor.remove_key("tokenizer.ggml.model");
    }
    auto read = parameters_of(editor.bytes());
    REQUIRE_MESSAGE(read, (read ? "" : read.error().message));
    return *std::move(read);
}

using logit_rows = std::vector<std::vector<float>>;

logit_rows logits_of(const std::string& path, std::span<const int> tokens) {
    using tested = native::with_kv<float>;
    auto source = byte_source::open(path);
    REQUIRE_MESSAGE(source, (source ? "" : source.error().message));
    const auto opened = model<tested>::open(*std::move(source), {.load_tokenizer = false});
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    auto s = session<tested>::open(*opened);
    REQUIRE(s);
    logit_rows rows;
    REQUIRE(s->feed_each(tokens,
                         [&](std::size_t, std::span<const float> row) { rows.emplace_back(row.begin(), row.end()); }));
    return rows;
}

struct difference {
    double rms = 0;
    double largest = 0;
};

/// From a file of float32 [positions, vocabulary].
difference from_golden(const logit_rows& rows, const std::string& path) {
    const auto golden = byte_source::open(path);
    REQUIRE_MESSAGE(golden, (golden ? "" : golden.error().message));
    REQUIRE(golden->bytes().size() == rows.size() * rows[0].size() * sizeof(float));
    difference found;
    const std::byte* at = golden->bytes().data();
    for (const auto& row : rows) {
        for (const float logit : row) {
            float expected = 0;
            std::memcpy(&expected, at, sizeof expected);
            at += sizeof expected;
            const double apart = std::abs(static_cast<double>(logit) - static_cast<double>(expected));
            found.largest = std::max(found.largest, apart);
            found.rms += apart * apart;
        }
    }
    found.rms = std::sqrt(found.rms / static_cast<double>(rows.size() * rows[0].size()));
    return found;
}

} // namespace

TEST_CASE("the key of the activation function decides in every architecture and in every spelling") {
    struct spelling {
        const char* name;
        activation_function function;
    };
    const spelling spellings[] = {
        {"relu2", activation_function::relu2},    {"relu_squared", activation_function::relu2},
        {"silu", activation_function::silu},      {"swish", activation_function::silu},
        {"swiglu", activation_function::silu},    {"gelu", activation_function::gelu},
        {"gelu_new", activation_function::gelu},  {"gelu_pytorch_tanh", activation_function::gelu},
        {"gelu_tanh", activation_function::gelu}, {"geglu", activation_function::gelu},
    };
    for (const model_family& family : model_families) {
        for (const spelling& each : spellings) {
            CAPTURE(std::string(family.architecture));
            CAPTURE(std::string(each.name));
            const auto bytes = model_of(std::string(family.architecture), each.name);
            const auto read = parameters_of(bytes.span());
            REQUIRE_MESSAGE(read, (read ? "" : read.error().message));
            CHECK(read->activation == each.function);
            CHECK(std::none_of(read->notes.begin(), read->notes.end(), [](const std::string& note) {
                return note.find("hidden_activation") != std::string::npos;
            }));
        }
    }
}

TEST_CASE("an activation function that is not computed here is refused by name") {
    for (const char* name : {"relu", "reglu", "gelu_erf", "quick_gelu", "mish", "SiLU"}) {
        const auto bytes = model_of("bitnet", name);
        const auto read = parameters_of(bytes.span());
        REQUIRE_FALSE(read);
        CHECK(read.error().code == errc::unsupported_architecture);
        CHECK(read.error().message ==
              "a.gguf: 'bitnet.hidden_activation' is '" + std::string(name) + "'; relu2, silu and gelu can be run");
    }
    const auto bytes = model_of("bitnet", "silu");
    edit editor(bytes.span());
    editor.set_value("bitnet.hidden_activation", gguf_type::u32, edit::number(1u));
    const auto read = parameters_of(editor.bytes());
    REQUIRE_FALSE(read);
    CHECK(read.error().code == errc::wrong_type);
}

TEST_CASE("bitnet without the key is ReLU² with a byte-level BPE, otherwise SiLU, and a note says why") {
    const auto byte_level = with_tokenizer("gpt2");
    CHECK(byte_level.activation == activation_function::relu2);
    REQUIRE(byte_level.notes.size() == 1);
    CHECK(byte_level.notes[0] == "'bitnet.hidden_activation' is missing: relu2 is taken, because the vocabulary is a "
                                 "byte-level BPE, as that of 2B-4T");
    const auto sentence_piece = with_tokenizer("llama");
    CHECK(sentence_piece.activation == activation_function::silu);
    REQUIRE(sentence_piece.notes.size() == 1);
    CHECK(sentence_piece.notes[0].find("silu is taken, because the vocabulary is SentencePiece") != std::string::npos);
    const auto none = with_tokenizer(std::nullopt); // 298 tokens
    CHECK(none.activation == activation_function::silu);
    REQUIRE(none.notes.size() == 1);
    CHECK(none.notes[0].find("is not that of 2B-4T") != std::string::npos);
}

TEST_CASE("what was inferred of the activation function is among the model's notes") {
    const auto bytes = model_of("bitnet", "");
    const auto opened = model<policy<isa::scalar>>::open(byte_source::borrow(bytes.span(), "a.gguf"));
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    REQUIRE(opened->notes().size() == 1);
    CHECK(opened->notes()[0].starts_with("'bitnet.hidden_activation' is missing: relu2"));
    const auto other = model_of("bitnet-b1.58", "");
    const auto silent = model<policy<isa::scalar>>::open(byte_source::borrow(other.span(), "b.gguf"));
    REQUIRE(silent);
    CHECK(silent->notes().empty());
}

TEST_CASE("golden: architecture bitnet with relu2, without the key and with silu has the exact graph's logits") {
    if (skip_without_golden()) {
        return;
    }
    const auto text = byte_source::open(golden_path("ternary/golden/golden.json"));
    REQUIRE(text);
    const auto golden = json_document::parse(
        {reinterpret_cast<const char*>(text->bytes().data()), text->bytes().size()}, "golden.json");
    REQUIRE(golden);
    std::vector<logit_rows> found;
    for (const std::string name : {"bitnet-relu2", "bitnet-nokey", "bitnet-silu"}) {
        std::vector<int> ids;
        const auto prompts = golden->root().find("models")->find(name)->find("prompts");
        for (const json_value id : (*++prompts->elements().begin()).find("ids")->elements()) {
            ids.push_back(*id.as_integer<int>());
        }
        found.push_back(logits_of(golden_path("ternary/" + name + "-tq2_0.gguf"), ids));
        const std::string place = "ternary/golden/" + name + ".p1.";
        const auto contract = from_golden(found.back(), golden_path(place + "token.f32"));
        const auto exact = from_golden(found.back(), golden_path(place + "f32"));
        MESSAGE(name << ": rms " << contract.rms << " from int8 activations, " << exact.rms << " from exact ones");
        CHECK(contract.rms < 0.1); // another function: 1.6
        CHECK(contract.largest < 0.9);
        CHECK(exact.rms < 0.25);
    }
    CHECK(found[0] == found[1]);
    CHECK(found[0] != found[2]);
}
