// SPDX-License-Identifier: MIT
// A model opened from a Hugging Face checkpoint is the model of the GGUF file: the same logits, bit for bit.
#include "golden/checkpoint_writer.hpp"
#include "golden/golden_data.hpp"
#include "golden/tiny_model_writer.hpp"
#include "io/temporary_folder.hpp"
#include "run/isas_that_run.hpp"

#include <bitnet/io/json.hpp>
#include <bitnet/run/any_session.hpp>
#include <bitnet/run/dispatch.hpp>
#include <bitnet/run/model.hpp>
#include <bitnet/run/open_model.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;
using bitnet_tests::checkpoint_weights;
using bitnet_tests::temporary_folder;

namespace {

/// Rows of keys that are no multiple of 128, and three layers.
bitnet_tests::model_shape odd_shape() {
    bitnet_tests::model_shape shape;
    shape.layers = 3;
    shape.hidden = 256;
    shape.ffn = 384;
    shape.heads = 4;
    shape.kv_heads = 1;
    return shape;
}

const open_options without_tokenizer{.load_tokenizer = false, .threads = 2};

/// The last logits of seven tokens. \tparam Model any_model or a model<P>
template <class Model> std::vector<float> logits_of(const result<Model>& opened) {
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    auto s = any_session::open(*opened);
    REQUIRE(s);
    REQUIRE(s->feed(std::vector<token>{3, 290, 17, 111, 64, 0, 255}));
    const auto logits = s->logits();
    REQUIRE(logits);
    return {logits->begin(), logits->end()};
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

std::vector<token> ids_of(json_value array) {
    std::vector<token> ids;
    for (const json_value id : array.elements()) {
        ids.push_back(id.as_integer<token>().value());
    }
    return ids;
}

struct last_step {
    std::vector<float> logits;
    std::vector<token> greedy;
};

/// Of every prompt of golden.json.
std::vector<last_step> golden_steps(const std::string& path, json_value prompts) {
    const auto opened = any_model::open(path, {.load_tokenizer = false});
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    auto s = any_session::open(*opened, {.threads = 2, .stop_at_stop_tokens = false});
    auto choose = sampler::open(sampler_options::greedy(), opened->parameters().vocabulary);
    REQUIRE(s);
    REQUIRE(choose);
    std::vector<last_step> steps;
    for (const json_value prompt : prompts.elements()) {
        const std::vector<token> ids = ids_of(*prompt.find("ids"));
        s->reset();
        REQUIRE(s->feed(ids));
        const auto logits = s->logits();
        REQUIRE(logits);
        last_step& step = steps.emplace_back();
        step.logits.assign(logits->begin(), logits->end());
        for (int i = 0; i < 16; ++i) {
            step.greedy.push_back(s->next(*choose).value());
        }
    }
    return steps;
}

/// The checkpoint of a GGUF model in one file and in shards, with packed weights and with masters.
struct written_checkpoints {
    temporary_folder folders[4];

    explicit written_checkpoints(std::span<const std::byte> gguf) {
        const auto packed = bitnet_tests::checkpoint_of(gguf, odd_shape(), checkpoint_weights::packed);
        const auto masters = bitnet_tests::checkpoint_of(gguf, odd_shape(), checkpoint_weights::masters);
        packed.write(folders[0].path());
        packed.write_sharded(folders[1].path(), 4);
        masters.write(folders[2].path());
        masters.write_sharded(folders[3].path(), 4);
    }
};

/// The checkpoints, opened with Ladder, have the expected logits.
template <class Ladder>
void check_checkpoints(const written_checkpoints& written, const std::vector<float>& expected, std::string_view isa) {
    for (const temporary_folder& folder : written.folders) {
        CAPTURE(folder.path());
        CHECK(same_bits(logits_of(any_model::open<Ladder>(folder.path(), without_tokenizer, isa)), expected));
    }
}

} // namespace

TEST_CASE("a checkpoint, packed or of masters, in one file or sharded, has the GGUF file's logits") {
    const auto bytes = bitnet_tests::tiny_model(odd_shape());
    REQUIRE(bytes);
    const auto expected =
        logits_of(any_model::open(byte_source::borrow(bytes->span(), "test"), without_tokenizer, "scalar"));
    const written_checkpoints written(bytes->span());
    for (const std::string& isa : bitnet_tests::isas_that_run()) {
        CAPTURE(isa);
        check_checkpoints<any_cpu>(written, expected, isa);
    }
    check_checkpoints<ladder<policy<isa::scalar, base3>>>(written, expected, {});
    check_checkpoints<ladder<policy<isa::scalar, lookup3>>>(written, expected, {});
}

TEST_CASE("a LLaMA checkpoint, rows not permuted, has the logits of its GGUF file, rows permuted") {
    auto shape = odd_shape();
    shape.architecture = "llama";
    shape.own_head = true;
    shape.rotary = "halves";
    const auto bytes = bitnet_tests::tiny_model(shape);
    REQUIRE(bytes);
    const auto expected = logits_of(any_model::open(byte_source::borrow(bytes->span(), "test"), without_tokenizer));
    const temporary_folder folder;
    bitnet_tests::checkpoint_of(bytes->span(), shape).write(folder.path());
    CHECK(same_bits(logits_of(any_model::open(folder.path(), without_tokenizer)), expected));
}

TEST_CASE("a MiniCPM checkpoint, rows not permuted, has the scales and the logits of its GGUF file") {
    auto shape = odd_shape();
    shape.architecture = "minicpm";
    shape.own_head = true;
    shape.rotary = "halves";
    const auto bytes = bitnet_tests::tiny_model(shape);
    REQUIRE(bytes);
    const auto expected = logits_of(any_model::open(byte_source::borrow(bytes->span(), "test"), without_tokenizer));
    auto written = bitnet_tests::checkpoint_of(bytes->span(), shape);
    const temporary_folder folder;
    written.write(folder.path());
    CHECK(same_bits(logits_of(any_model::open(folder.path(), without_tokenizer)), expected));
    written.change(R"("dim_model_base": 256)", R"("dim_model_base": 0)");
    const temporary_folder broken;
    written.write(broken.path());
    const auto refused = any_model::open(broken.path(), without_tokenizer);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == errc::out_of_range);
    CHECK(refused.error().message.find("'minicpm.logit_scale' is not finite") != std::string::npos);
}

TEST_CASE("a Qwen2 checkpoint has the biases and the logits of its GGUF file, packed and as masters") {
    auto shape = odd_shape();
    shape.architecture = "qwen2";
    shape.biases = true;
    const auto bytes = bitnet_tests::tiny_model(shape);
    REQUIRE(bytes);
    const auto expected = logits_of(any_model::open(byte_source::borrow(bytes->span(), "test"), without_tokenizer));
    for (const auto weights : {checkpoint_weights::packed, checkpoint_weights::masters}) {
        auto written = bitnet_tests::checkpoint_of(bytes->span(), shape, weights);
        const temporary_folder folder;
        written.write(folder.path());
        CHECK(same_bits(logits_of(any_model::open(folder.path(), without_tokenizer)), expected));
        written.remove("model.layers.1.self_attn.k_proj.bias");
        const temporary_folder lacking;
        written.write(lacking.path());
        const auto refused = any_model::open(lacking.path(), without_tokenizer);
        REQUIRE_FALSE(refused);
        CHECK(refused.error().code == errc::missing_tensor);
        CHECK(refused.error().message.find("'blk.1.attn_k.bias'") != std::string::npos);
    }
}

TEST_CASE("checkpoints of text embedding models give the GGUF files' embeddings") {
    using P = policy<isa::scalar>;
    const open_options options{.load_tokenizer = false};
    const auto embedding_of = [](result<model<P>> opened) {
        REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
        auto s = any_session::open(*opened);
        REQUIRE(s);
        const auto embedding = s->embed(std::vector<token>{3, 290, 17, 111, 64, 0, 255});
        REQUIRE_MESSAGE(embedding, (embedding ? "" : embedding.error().message));
        return std::vector<float>(embedding->begin(), embedding->end());
    };
    for (const char* architecture : {"qwen3", "gemma3"}) {
        auto shape = odd_shape();
        shape.architecture = architecture;
        shape.head_dim = 128; // 512 query columns
        shape.head_norms = true;
        shape.input_norms = true;
        shape.post_norms = shape.architecture == "gemma3";
        shape.pooling = 1; // as a folder that does not say has it
        const auto bytes = bitnet_tests::tiny_model(shape);
        REQUIRE(bytes);
        const auto expected = embedding_of(model<P>::open(byte_source::borrow(bytes->span(), "test"), options));
        const temporary_folder folder;
        bitnet_tests::checkpoint_of(bytes->span(), shape, checkpoint_weights::masters).write(folder.path());
        CHECK(same_bits(embedding_of(model<P>::open(folder.path(), options)), expected));
    }
}

TEST_CASE("a folder of sentence-transformers says how states are pooled") {
    auto shape = odd_shape();
    shape.architecture = "qwen3";
    shape.head_dim = 128;
    shape.head_norms = true;
    shape.input_norms = true;
    const auto bytes = bitnet_tests::tiny_model(shape);
    REQUIRE(bytes);
    const auto made = bitnet_tests::checkpoint_of(bytes->span(), shape, checkpoint_weights::masters);
    const std::string columns = std::to_string(shape.hidden);
    const std::string old_mean = R"({"word_embedding_dimension": )" + columns +
                                 R"(, "pooling_mode_cls_token": false, "pooling_mode_mean_tokens": true,)"
                                 R"( "pooling_mode_lasttoken": false, "include_prompt": true})";
    const std::string old_last = R"({"pooling_mode_mean_tokens": false, "pooling_mode_lasttoken": true})";
    const std::string modules = R"([{"path": "", "type": "sentence_transformers.models.Transformer"},
        {"path": "gathering", "type": "sentence_transformers.models.Pooling"},
        {"path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}])";
    const auto pooling = [&](const std::string& config, const std::string& list) {
        const temporary_folder folder;
        made.write(folder.path());
        const std::string where = list.empty() ? "1_Pooling" : "gathering";
        std::filesystem::create_directory(folder.path() + "/" + where);
        (void)folder.write(where + "/config.json", config);
        if (!list.empty()) {
            (void)folder.write("modules.json", list);
        }
        return model<policy<isa::scalar>>::open(folder.path(), {.load_tokenizer = false});
    };
    const auto mean = pooling(old_mean, "");
    REQUIRE_MESSAGE(mean, (mean ? "" : mean.error().message));
    CHECK(mean->parameters().pooling == pooling_type::mean);
    CHECK(mean->file().get<std::uint32_t>("qwen3.pooling_type"));
    for (const std::string& config : {old_last, std::string(R"({"pooling_mode": "lasttoken"})")}) {
        const auto last = pooling(config, modules);
        REQUIRE_MESSAGE(last, (last ? "" : last.error().message));
        CHECK(last->parameters().pooling == pooling_type::last);
    }
    const auto refusal = [&](const std::string& config, const std::string& list) {
        const auto refused = pooling(config, list);
        REQUIRE_FALSE(refused);
        return refused.error().message;
    };
    CHECK(refusal(R"({"pooling_mode_cls_token": true})", "").find("'cls_token'") != std::string::npos);
    CHECK(refusal(R"({"pooling_mode_mean_tokens": true, "pooling_mode_max_tokens": true})", "")
              .find("'mean_tokens, max_tokens'") != std::string::npos);
    CHECK(refusal(R"({"pooling_mode": "mean", "embedding_dimension": 7})", "").find("7 columns") != std::string::npos);
    CHECK(refusal(old_mean, R"([{"path": "3_Dense", "type": "sentence_transformers.models.Dense"}])").find("Dense") !=
          std::string::npos);
    CHECK(refusal(old_mean, R"([{"path": "../other", "type": "sentence_transformers.models.Pooling"}])")
              .find("'../other'") != std::string::npos);
    CHECK(refusal(old_mean, R"([{"path": "elsewhere", "type": "sentence_transformers.models.Pooling"}])")
              .find("elsewhere/config.json") != std::string::npos);
}

TEST_CASE("what sentence-transformers does to a text before the tokenizer is refused or told") {
    const auto bytes = bitnet_tests::tiny_model();
    REQUIRE(bytes);
    const temporary_folder folder;
    bitnet_tests::checkpoint_of(bytes->span(), {}).write(folder.path());
    const auto open = [&] { return model_file::open(folder.path(), {.load_tokenizer = false}); };
    (void)folder.write("sentence_bert_config.json", R"({"max_seq_length": 512, "do_lower_case": false})");
    (void)folder.write("config_sentence_transformers.json",
                       R"({"prompts": {"query": "query: "}, "default_prompt_name": null})");
    const auto plain = open();
    REQUIRE_MESSAGE(plain, (plain ? "" : plain.error().message));
    const std::size_t notes = plain->notes().size();
    (void)folder.write("config_sentence_transformers.json", R"({"default_prompt_name": "query"})");
    const auto prompted = open();
    REQUIRE(prompted);
    REQUIRE(prompted->notes().size() == notes + 1);
    CHECK(std::any_of(prompted->notes().begin(), prompted->notes().end(), [](const std::string& note) {
        return note.find("'default_prompt_name' is 'query'") != std::string::npos;
    }));
    (void)folder.write("sentence_bert_config.json", R"({"do_lower_case": true})");
    const auto lowered = open();
    REQUIRE_FALSE(lowered);
    CHECK(lowered.error().code == errc::unsupported_tokenizer);
    CHECK(lowered.error().message.find("'do_lower_case'") != std::string::npos);
    (void)folder.write("sentence_bert_config.json", "{");
    CHECK(open().error().code == errc::bad_json);
}

TEST_CASE("a file that was inspected first opens as the same model") {
    using P = policy<isa::scalar>;
    const auto bytes = bitnet_tests::tiny_model();
    REQUIRE(bytes);
    const temporary_folder folder;
    bitnet_tests::checkpoint_of(bytes->span(), {}).write(folder.path());
    auto file = model_file::open(folder.path(), {.load_tokenizer = false});
    REQUIRE(file);
    const auto type = ternary_type_of(file->gguf());
    REQUIRE(type);
    CHECK(*type == tensor_type::hf_packed);
    auto opened = model<P>::open(*std::move(file), {.load_tokenizer = false});
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    CHECK(opened->notes().size() == 2); // the meaning of weight_scale, and the repacking
    CHECK(opened->parameters().model_name == opened->file().name().substr(opened->file().name().rfind('/') + 1));
}

TEST_CASE("a code 3 in packed weights is a named error") {
    const auto bytes = bitnet_tests::tiny_model();
    REQUIRE(bytes);
    auto broken = bitnet_tests::checkpoint_of(bytes->span(), {});
    broken.tensor("model.layers.0.mlp.up_proj.weight").data[5 * 128 + 3] = '\x31'; // row 5 + 2 * 32: code 3
    const temporary_folder folder;
    broken.write(folder.path());
    const auto opened = model<policy<isa::scalar>>::open(folder.path(), {.load_tokenizer = false});
    REQUIRE_FALSE(opened.has_value());
    CAPTURE(opened.error().message);
    CHECK(opened.error().code == errc::bad_code);
    CHECK(opened.error().message.find("tensor 'blk.0.ffn_up.weight': row 69 of its 128 rows") != std::string::npos);
}

TEST_CASE("a checkpoint whose tensors do not have the shapes of its config.json is a named error") {
    const auto bytes = bitnet_tests::tiny_model();
    REQUIRE(bytes);
    auto broken = bitnet_tests::checkpoint_of(bytes->span(), {});
    broken.change(R"("intermediate_size": 128)", R"("intermediate_size": 256)");
    const temporary_folder folder;
    broken.write(folder.path());
    const auto opened = model<policy<isa::scalar>>::open(folder.path(), {.load_tokenizer = false});
    REQUIRE_FALSE(opened.has_value());
    CHECK(opened.error().code == errc::wrong_shape);
    CHECK(opened.error().message.find("[128, 256] expected") != std::string::npos);
}

TEST_CASE("golden: the tiny checkpoints have the GGUF file's tokenizer, and give its ids") {
    if (skip_without_golden()) {
        return;
    }
    const auto open_text = [](const char* relative) {
        auto opened = model<policy<isa::scalar>>::open(golden_path(relative));
        REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
        return *std::move(opened);
    };
    const auto expected = open_text("tiny/tiny-a-i2_s.gguf");
    const auto golden_file = byte_source::open(golden_path("tiny/golden/tokenizer.json"));
    REQUIRE(golden_file);
    const auto golden = json_document::parse(bitnet_tests::as_text(golden_file->bytes()), "tokenizer.json");
    REQUIRE(golden);
    for (const char* folder : {"tiny/hf", "tiny/hf-bf16"}) {
        const auto opened = open_text(folder);
        for (const std::string_view key :
             {"tokenizer.ggml.tokens", "tokenizer.ggml.merges", "tokenizer.ggml.token_type", "tokenizer.ggml.pre",
              "tokenizer.chat_template", "tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id"}) {
            const auto* one = opened.file().find(key);
            const auto* other = expected.file().find(key);
            REQUIRE_MESSAGE((one != nullptr && other != nullptr), std::string(key));
            CHECK_MESSAGE(std::ranges::equal(one->bytes, other->bytes), std::string(key));
        }
        const auto stops = [](const auto& m) {
            return std::vector<token>(m.text().stop_tokens().begin(), m.text().stop_tokens().end());
        };
        CHECK(stops(opened) == stops(expected));
        CHECK(stops(opened) == std::vector<token>{4097, 4105}); // eos, and <|eot_id|> of generation_config.json
        std::size_t texts = 0;
        for (const json_value row : golden->root().elements()) {
            const auto text = row.find("text")->as_string();
            REQUIRE(text);
            CHECK(*opened.text().encode(*text, {.parse_special = true}) == ids_of(*row.find("ids")));
            if (const auto plain = row.find("ids_no_special")) {
                CHECK(*opened.text().encode(*text) == ids_of(*plain));
            }
            ++texts;
        }
        CHECK(texts == 23);
    }
}

TEST_CASE("a checkpoint without tokenizer.json opens only if no tokenizer is wanted") {
    const auto bytes = bitnet_tests::tiny_model();
    REQUIRE(bytes);
    const temporary_folder folder;
    bitnet_tests::checkpoint_of(bytes->span(), {}).write(folder.path());
    CHECK(model_file::open(folder.path(), {.load_tokenizer = false}));
    const auto opened = model<policy<isa::scalar>>::open(folder.path());
    REQUIRE_FALSE(opened.has_value());
    CHECK(opened.error().code == errc::file_not_found);
    CHECK(opened.error().message.find("tokenizer.json") != std::string::npos);
}

TEST_CASE("golden: the tiny checkpoints have the GGUF file's logits and greedy tokens") {
    if (skip_without_golden()) {
        return;
    }
    std::ifstream in(golden_path("tiny/golden/golden.json"), std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    const auto golden = json_document::parse(text, "golden.json");
    REQUIRE(golden);
    const json_value prompts = *golden->root().find("prompts");
    const auto expected = golden_steps(golden_path("tiny/tiny-a-i2_s.gguf"), prompts);
    for (const char* folder : {"tiny/hf", "tiny/hf-bf16"}) {
        CAPTURE(std::string(folder));
        const auto steps = golden_steps(golden_path(folder), prompts);
        REQUIRE(steps.size() == expected.size());
        for (std::size_t i = 0; i < steps.size(); ++i) {
            CHECK(same_bits(steps[i].logits, expected[i].logits));
            CHECK(steps[i].greedy == expected[i].greedy);
        }
    }
}
