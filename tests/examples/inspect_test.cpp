// SPDX-License-Identifier: MIT
// bitnet-inspect as a process.
#include "golden/block_encoders.hpp"
#include "golden/tiny_model_writer.hpp"
#include "models.hpp"
#include "process.hpp"

#include <golden/golden_data.hpp>

#include <bitnet/io/json.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

using namespace bitnet_tests;

namespace {

/// What --json prints about a file: one line of valid JSON in pure ASCII.
bitnet::json_document inspect(const std::string& file) {
    const std::string text = output("inspect", {file, "--json"});
    INFO(text);
    CHECK(text.find('\n') == text.size() - 1);
    auto json = bitnet::json_document::parse(text, "inspect");
    REQUIRE(json);
    return *std::move(json);
}

bitnet::json_value member(const bitnet::json_document& json, std::string_view key) {
    const auto value = json.root().find(key);
    REQUIRE(value);
    return *value;
}
std::string string(bitnet::json_value object, std::string_view key) {
    const auto value = object.find(key);
    REQUIRE(value);
    return std::string(value->as_string().value_or("no string"));
}
std::int64_t number(bitnet::json_value object, std::string_view key) {
    const auto value = object.find(key);
    REQUIRE(value);
    return value->as_integer<std::int64_t>().value_or(-1);
}

} // namespace

TEST_CASE("the JSON of a model has metadata, tensors, totals, sizes, tokenizer, and that it runs") {
    const auto json = inspect(tiny);
    CHECK(number(json.root(), "bytes") == static_cast<std::int64_t>(contents(tiny).size()));
    CHECK(member(json, "metadata").size() == 25);
    CHECK(member(json, "tensors").size() == 68);
    CHECK(member(json, "totals").size() == 3);
    CHECK(number(member(json, "total"), "elements") == 5784832);
    const auto model = member(json, "model");
    CHECK(string(model, "architecture") == "bitnet-b1.58");
    CHECK(number(model, "layers") == 6);
    CHECK(number(model, "context") == 512);
    CHECK(string(model, "family") == "BitNet b1.58 2B-4T");
    CHECK(string(model, "rotation") == "halves");
    CHECK(string(model, "embedding_type") == "F16");
    CHECK(string(model, "head_type") == "F16");
    CHECK(string(model, "head") == "token_embd.weight");
    CHECK(model.find("is_embedder")->as_bool() == false);
    CHECK(string(model, "layout") == "I2_S");
    CHECK(string(model, "scales") == "one scale for each tensor");
    CHECK(string(json.root(), "activations") == "token");
    CHECK(string(member(json, "tokenizer"), "pre_tokenizer") == "llama-bpe");
    CHECK(number(json.root(), "ternary_tensors") == 42);
    CHECK(member(json, "bad_tensors").size() == 0);
    CHECK(member(json, "runs").as_bool() == true);
    CHECK(isas_that_run().front() == string(json.root(), "isa"));
    CHECK(string(json.root(), "runs_in_layout") == "i2_s");
    CHECK(number(json.root(), "repacked_bytes") == 0);
}

TEST_CASE("memory is estimated for contexts from 512 positions up to the model's") {
    const auto json = inspect(tiny); // whose context is 512
    REQUIRE(member(json, "memory").size() == 1);
    const bitnet::json_value only = *member(json, "memory").elements().begin();
    CHECK(number(only, "context") == 512);
    CHECK(number(only, "kv_cache_bytes_f16") == 2 * 2 * 6 * 2 * 512 * 64);
    CHECK(number(only, "kv_cache_bytes_f32") == 2 * 4 * 6 * 2 * 512 * 64);
    CHECK(number(only, "kv_cache_bytes_i8") == 2 * 6 * 2 * 512 * (64 + 4));
    CHECK(number(json.root(), "model_bytes") > 100000); // a vocabulary
    CHECK(number(only, "all_bytes_f16") == number(json.root(), "bytes") + number(json.root(), "model_bytes") +
                                               number(only, "kv_cache_bytes_f16") + number(only, "working_bytes"));
    const auto screened = member(json, "screened_head");
    const auto rows = number(member(json, "model"), "vocabulary");
    CHECK(number(screened, "screen_bytes") > rows * number(member(json, "model"), "hidden") * 6 / 8);
    CHECK(number(screened, "session_bytes") > 8 * rows);

    const temporary_folder folder;
    auto editor = edit_tiny();
    editor.poke<std::uint32_t>(editor.key("bitnet-b1.58.context_length").value, 5000);
    std::vector<std::int64_t> contexts;
    const auto longer = inspect(folder.write("long.gguf", as_text(editor.bytes())));
    for (const bitnet::json_value each : member(longer, "memory").elements()) {
        contexts.push_back(number(each, "context"));
    }
    CHECK(contexts == std::vector<std::int64_t>{512, 2048, 4096, 5000});
}

TEST_CASE("the file's template, the chosen format, the reason and the stop tokens are shown") {
    const auto json = inspect(tiny);
    const auto chat = member(json, "chat");
    CHECK(string(chat, "format") == "bitnet");
    CHECK(contains(string(chat, "template"), "capitalize"));
    CHECK(contains(string(chat, "why"), "bitnet's template"));
    CHECK(chat.find("stop_tokens")->size() == 2);

    const temporary_folder folder;
    const auto with_template = [&](std::string_view text) {
        auto editor = edit_tiny();
        editor.set_value("tokenizer.chat_template", bitnet::gguf_type::string, gguf_editor::string(text));
        return folder.write("template.gguf", as_text(editor.bytes()));
    };
    const std::string wrong = with_template("{{ 'Human: ' + message.role + 'BITNETAssistant: ' }}");
    CHECK(contains(output("inspect", {wrong}), "tokenizer.chat_template is known to be wrong"));
    CHECK(contains(output("inspect", {wrong}), "format bitnet: "));
    CHECK(contains(output("inspect", {wrong, "--template", "llama3"}), "format llama3: chosen by the caller"));
    const std::string unknown = with_template("{{ messages }}");
    CHECK(contains(output("inspect", {unknown}), "tokenizer.chat_template is not known"));
    const auto refused = inspect(unknown);
    CHECK(contains(string(member(refused, "chat"), "error"), "bitnet, llama3, falcon3, chatml"));
    CHECK(member(refused, "runs").as_bool() == true);
}

TEST_CASE("dialogs are shown as the model gets them, and why there are no tools") {
    const auto chat = member(inspect(tiny), "chat");
    CHECK(chat.find("thoughts")->as_bool() == false);
    CHECK(string(chat, "prompt").empty());
    CHECK(string(chat, "example") == "<|begin_of_text|>User: Hello<|eot_id|>Assistant: ");
    CHECK(chat.find("tools")->as_bool() == false);
    CHECK(contains(string(chat, "why_no_tools"), "no place for them"));
    CHECK(contains(output("inspect", {tiny}), "tools: none: chat format bitnet: there are tools, but the format"));
}

TEST_CASE("golden: thoughts, tools and what a template writes around them are shown") {
    if (skip_without_golden()) {
        return;
    }
    const std::string file = golden_path("ternary/bitnet-silu-tq2_0.gguf");
    const auto json = inspect(file);
    const auto chat = member(json, "chat");
    CHECK(chat.find("thoughts")->as_bool() == true);
    CHECK(string(chat, "prompt") == "<think>\n\n</think>\n\n");
    CHECK(string(chat, "prompt_to_think").empty());
    CHECK(string(chat, "example") ==
          "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n");
    CHECK(contains(string(chat, "example_with_tools"),
                   "<tool_call>\n{\"name\": \"dice\", \"arguments\": {}}\n</tool_call>"));
    CHECK(member(json, "sampling").size() == 0);
    const std::string lines = output("inspect", {file});
    CHECK(contains(lines, "an answer begins with \"<think>\\n\\n</think>\\n\\n\", told to think with \"\""));
    CHECK(contains(lines, "a question: \"<|im_start|>user\\nHello<|im_end|>\\n"));
}

TEST_CASE("what a file advises for choosing tokens is shown") {
    const temporary_folder folder;
    auto editor = edit_tiny();
    editor.add_key("general.sampling.temp", bitnet::gguf_type::f32, gguf_editor::number(0.5f));
    editor.add_key("general.sampling.top_k", bitnet::gguf_type::i32, gguf_editor::number(std::int32_t{20}));
    const std::string file = folder.write("advised.gguf", as_text(editor.bytes()));
    CHECK(number(member(inspect(file), "sampling"), "top_k") == 20);
    CHECK(contains(output("inspect", {file}), "as the file advises: temperature 0.5, top-k 20\n"));
}

TEST_CASE("what other programs may stumble over is listed") {
    std::vector<std::string> told;
    const temporary_folder folder;
    const auto json = inspect(write_without_pre(folder));
    for (const bitnet::json_value each : member(json, "non_standard").elements()) {
        told.emplace_back(*each.as_string());
    }
    REQUIRE(told.size() == 3);
    CHECK(contains(told[0], "tensor type I2_S is bitnet.cpp's own"));
    CHECK(contains(told[1], "tokenizer.ggml.pre is missing"));
    CHECK(told[2] == "answers end with token 4105, not with EOS, 4097");
    CHECK(contains(output("inspect", {tiny}), "not standard\n  tensor type I2_S"));
}

TEST_CASE("2B-4T under llama.cpp's name runs with the right function, and what is missing is told") {
    const temporary_folder folder;
    auto editor = edit_tiny();
    std::vector<std::string> keys;
    for (const auto& key : editor.keys()) {
        keys.push_back(key.name);
    }
    for (const std::string& key : keys) {
        if (key.starts_with("bitnet-b1.58.")) {
            editor.rename_key(key, "bitnet." + key.substr(13));
        }
    }
    editor.set_value("general.architecture", bitnet::gguf_type::string, gguf_editor::string("bitnet"));
    const std::string file = folder.write("bitnet.gguf", as_text(editor.bytes()));
    const std::string table = output("inspect", {file});
    for (const std::string_view part : {"family: BitNet b1.58 2B-4T", "architecture bitnet, activation relu2",
                                        "bitnet.hidden_activation is missing: programs that do not infer it run SiLU",
                                        "note: 'bitnet.hidden_activation' is missing: relu2 is taken"}) {
        INFO(part);
        CHECK(contains(table, part));
    }
    editor.add_key("bitnet.hidden_activation", bitnet::gguf_type::string, gguf_editor::string("relu2"));
    const std::string said = output("inspect", {folder.write("said.gguf", as_text(editor.bytes()))});
    CHECK_FALSE(contains(said, "hidden_activation is missing"));
    CHECK_FALSE(contains(said, "note: "));
}

TEST_CASE("metadata comes with types, and long arrays are cut") {
    const auto json = inspect(tiny);
    bool tokens = false;
    bool epsilon = false;
    for (const bitnet::json_value entry : member(json, "metadata").elements()) {
        if (string(entry, "key") == "tokenizer.ggml.tokens") {
            tokens = true;
            CHECK(string(entry, "element_type") == "string");
            CHECK(number(entry, "count") == 4128);
            CHECK(entry.find("first")->size() == 6);
        } else if (string(entry, "key") == "bitnet-b1.58.attention.layer_norm_rms_epsilon") {
            epsilon = true;
            CHECK(entry.find("value")->as_double() == 1e-5);
        }
    }
    CHECK(tokens);
    CHECK(epsilon);
}

TEST_CASE("the table shows the same to people") {
    const std::string table = output("inspect", {tiny});
    for (const std::string_view part :
         {"GGUF version 3", "'bitnet-b1.58.block_count'", "'blk.5.attn_v.weight'", "[256, 128]", "4128 string",
          "42 tensors", "5784832 elements", "architecture bitnet-b1.58", "positions      KV as f16",
          "512        1572864", "family: BitNet b1.58 2B-4T",
          "rotation of halves, ternary tensors I2_S with one scale for each tensor, embedding F16, head F16 in "
          "token_embd.weight",
          "format bitnet: the file has bitnet's template", "answers end with 4097 4105", "pre-tokenizer llama-bpe",
          "42 ternary tensors, all scales and codes looked at: 0 mistakes", "runs here, with ",
          ", in layout i2_s, activations in int8 with a scale for each token"}) {
        INFO(part);
        CHECK(contains(table, part));
    }
}

TEST_CASE("scales of blocks, their bits, activations and a ternary embedding are shown") {
    const temporary_folder folder;
    model_shape shape;
    shape.architecture = "qwen3";
    shape.hidden = 256;
    shape.ffn = 256;
    shape.heads = 4;
    shape.head_norms = true;
    const auto model = tiny_model(shape);
    REQUIRE(model);
    const std::vector<std::pair<bitnet::tensor_type, std::string>> kinds{
        {bitnet::tensor_type::q2_0, "Q2_0 with a scale for each 128 columns, embedding Q2_0, head Q2_0; 2.1250"},
        {bitnet::tensor_type::q2_0_g64,
         "Q2_0_G64 with a scale for each 64 columns, embedding Q2_0_G64, head Q2_0_G64; 2.2500"},
        {bitnet::tensor_type::pq2_0, "PQ2_0 with a scale for each 128 columns, embedding PQ2_0, head PQ2_0; 2.1250"},
        {bitnet::tensor_type::ptq1_0,
         "PTQ1_0 with a scale for each 128 columns, embedding PTQ1_0, head PTQ1_0; 1.7500"},
        {bitnet::tensor_type::tq1_0, "TQ1_0 with a scale for each 256 columns, embedding TQ1_0, head TQ1_0; 1.6875"},
        {bitnet::tensor_type::tq2_0, "TQ2_0 with a scale for each 256 columns, embedding TQ2_0, head TQ2_0; 2.0625"}};
    for (const auto& [type, shown] : kinds) {
        const auto bytes = with_block_scales(model->span(), {.type = type, .group = 256, .embedding = true});
        const std::string path = folder.write("blocks.gguf", as_text(bytes));
        const std::string table = output("inspect", {path});
        const std::size_t bits = shown.find("; ");
        INFO(table);
        CHECK(contains(table, "ternary tensors " + shown.substr(0, bits) + " in token_embd.weight"));
        CHECK(contains(table, shown.substr(bits + 2) + " bits each"));
        CHECK(contains(table, "8 ternary tensors, all scales and codes looked at: 0 mistakes"));
        CHECK(contains(table, ", activations in int8 with a scale for each 32 columns"));
        CHECK(contains(output("inspect", {path, "--activations", "float"}), ", activations in floats"));
    }
}

TEST_CASE("a scale of a block that is none is found, and the model does not run") {
    const temporary_folder folder;
    const auto model = tiny_model();
    REQUIRE(model);
    gguf_editor editor(with_block_scales(model->span(), {}));
    editor.poke(editor.tensor("blk.0.ffn_up.weight").data + 34, std::uint16_t{0xffff});
    const std::string table = output("inspect", {folder.write("bad.gguf", as_text(editor.bytes()))});
    CHECK(contains(table, "7 ternary tensors, all scales and codes looked at: 1 mistakes"));
    CHECK(contains(table, "row 1 of its 128 rows has at column 0 the PQ2_0 scale"));
    CHECK(contains(table, "does not run: "));
}

TEST_CASE("an inferred pre-tokenizer is shown with the reason") {
    const temporary_folder folder;
    const std::string file = write_without_pre(folder);
    const auto json = inspect(file);
    const auto text = member(json, "tokenizer");
    CHECK(text.find("inferred")->as_bool() == true);
    CHECK(contains(string(text, "why"), "tokenizer.ggml.pre is missing"));
    CHECK(member(json, "notes").size() == 1);
    CHECK(contains(output("inspect", {file}), "pre-tokenizer llama-bpe (inferred): "));
    CHECK(contains(output("inspect", {file, "--pre", "llama3"}), "chosen by the caller"));
}

TEST_CASE("a vocabulary without weights is shown and does not run") {
    const temporary_folder folder;
    const std::string file = write_vocabulary(folder);
    const auto json = inspect(file);
    CHECK(member(json, "tensors").size() == 0);
    CHECK(number(member(json, "tokenizer"), "vocabulary") == 4128);
    CHECK(member(json, "runs").as_bool() == false);
    CHECK(contains(string(json.root(), "why_not"), "token_embd.weight"));
    CHECK(contains(output("inspect", {file}), "does not run: "));
}

TEST_CASE("a model of another architecture is shown and does not run") {
    const temporary_folder folder;
    auto editor = edit_tiny();
    editor.set_value("general.architecture", bitnet::gguf_type::string, gguf_editor::string("mamba\x1b[31m"));
    const std::string file = folder.write("other.gguf", as_text(editor.bytes()));
    const auto json = inspect(file);
    CHECK(member(json, "tensors").size() == 68);
    CHECK(contains(string(member(json, "model"), "error"), "mamba"));
    CHECK(member(json, "runs").as_bool() == false);
    CHECK(contains(string(json.root(), "why_not"), "mamba"));
}

TEST_CASE("an invalid code is found, although a mapped model opens without checking codes") {
    const temporary_folder folder;
    const std::string file = write_with_bad_code(folder);
    const auto json = inspect(file);
    REQUIRE(member(json, "bad_tensors").size() == 1);
    CHECK(contains(*(*member(json, "bad_tensors").elements().begin()).as_string(), "'blk.3.ffn_up.weight'"));
    CHECK(member(json, "runs").as_bool() == false);
    CHECK(contains(output("inspect", {file}), "row 1 of its 768 rows holds the code 3"));
    CHECK(run("generate", {"-m", file, "-p", "Once", "-n", "1"}).status == 0);
}

TEST_CASE("another byte order of the ternary tensors is repacked, and a note says so") {
    const std::string table = output("inspect", {tiny, "--i2s-source", "b"});
    CHECK(contains(table, "42 ternary tensors were repacked"));
}

TEST_CASE("what was put right in a tokenizer is told, also of a file that holds no model") {
    const temporary_folder folder;
    auto editor = edit_tiny();
    editor.set_value("tokenizer.ggml.padding_token_id", bitnet::gguf_type::i32, gguf_editor::number(std::int32_t{-1}));
    editor.poke<std::uint64_t>(gguf_editor::tensor_count, 0);
    editor.truncate(editor.keys_end());
    const std::string file = folder.write("vocabulary.gguf", as_text(editor.bytes()));
    CHECK(contains(output("inspect", {file}), "note: tokenizer.ggml.padding_token_id is -1, outside"));
    const auto json = inspect(file);
    CHECK(member(json, "tokenizer").find("notes")->size() == 1);
}

TEST_CASE("golden: LLaMA-3's vocabulary and those of other models are shown") {
    if (skip_without_golden()) {
        return;
    }
    const auto llama = inspect(golden_path("tokenizer/llama3-vocab.gguf"));
    CHECK(number(member(llama, "tokenizer"), "vocabulary") == 128256);
    const auto falcon = inspect(golden_path("tokenizer/others/falcon.gguf"));
    CHECK(string(member(falcon, "tokenizer"), "pre_tokenizer") == "falcon");
    CHECK(member(falcon, "runs").as_bool() == false);
    const auto unknown = inspect(golden_path("tokenizer/others/deepseek-llm.gguf"));
    CHECK(contains(string(member(unknown, "tokenizer"), "error"), "deepseek-llm"));
}
