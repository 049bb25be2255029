// SPDX-License-Identifier: MIT
// An opened Hugging Face checkpoint has the numbers of the GGUF file with the same model.
#include "golden/checkpoint_writer.hpp"
#include "golden/golden_data.hpp"
#include "golden/tiny_model_writer.hpp"
#include "io/temporary_folder.hpp"

#include <bitnet/checkpoint/hyper_parameter_reader.hpp>
#include <bitnet/checkpoint/open_model_file.hpp>
#include <bitnet/checkpoint/packed_rows.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;
using bitnet_tests::checkpoint;
using bitnet_tests::checkpoint_weights;
using bitnet_tests::temporary_folder;

namespace {

/// Two layers, and a feed-forward network that is not as wide as the stream.
bitnet_tests::model_shape small_shape() {
    bitnet_tests::model_shape shape;
    shape.layers = 2;
    shape.ffn = 256;
    return shape;
}

struct sample {
    buffer<std::byte> gguf;
    checkpoint written;
};

sample small_model(checkpoint_weights weights = checkpoint_weights::packed) {
    auto bytes = bitnet_tests::tiny_model(small_shape());
    REQUIRE(bytes);
    checkpoint made = bitnet_tests::checkpoint_of(bytes->span(), small_shape(), weights);
    return {*std::move(bytes), std::move(made)};
}

result<model_file> open_folder(const std::string& path) { return model_file::open(path, {.load_tokenizer = false}); }

model_file opened(const std::string& path) {
    auto file = open_folder(path);
    REQUIRE_MESSAGE(file, (file ? "" : file.error().message));
    return *std::move(file);
}

model_file opened(const checkpoint& written, const temporary_folder& folder) {
    written.write(folder.path());
    return opened(folder.path());
}

float number_in(const gguf_file& file, std::string_view tensor) {
    const gguf_tensor* found = file.find_tensor(tensor);
    REQUIRE_MESSAGE(found != nullptr, std::string(tensor));
    CHECK(found->type == tensor_type::f32);
    float value = 0;
    std::memcpy(&value, found->bytes.data(), sizeof value);
    return value;
}

std::string_view string_in(const gguf_file& file, std::string_view key) {
    const auto value = file.get<std::string_view>(key);
    REQUIRE_MESSAGE(value, (value ? "" : value.error().message));
    return *value;
}

void check_same_parameters(const gguf_file& a, const gguf_file& b) {
    const auto one = hyper_parameters::read(a);
    const auto other = hyper_parameters::read(b);
    REQUIRE_MESSAGE(one, (one ? "" : one.error().message));
    REQUIRE_MESSAGE(other, (other ? "" : other.error().message));
    CHECK(one->architecture == other->architecture);
    const auto sizes = [](const hyper_parameters& p) {
        return std::array{p.layers,   p.hidden,    p.feed_forward, p.heads,
                          p.kv_heads, p.head_size, p.vocabulary,   p.context};
    };
    CHECK(sizes(*one) == sizes(*other));
    CHECK(one->rms_epsilon == other->rms_epsilon);
    CHECK(one->rope_theta == other->rope_theta);
    CHECK(one->activation == other->activation);
}

/// Every code and scale of the I2_S file.
void check_same_ternary(const gguf_file& i2s_file, const gguf_file& packed_file) {
    std::size_t ternary = 0;
    for (const gguf_tensor& tensor : i2s_file.tensors()) {
        if (tensor.type != tensor_type::i2_s) {
            continue;
        }
        ++ternary;
        CAPTURE(std::string(tensor.name));
        const gguf_tensor* packed = packed_file.find_tensor(tensor.name);
        REQUIRE(packed != nullptr);
        REQUIRE(packed->type == tensor_type::hf_packed);
        REQUIRE(packed->dims == tensor.dims);
        const i2s::view codes{reinterpret_cast<const std::uint8_t*>(tensor.bytes.data()),
                              static_cast<std::size_t>(tensor.dims[1]), static_cast<std::size_t>(tensor.dims[0])};
        const packed_rows rows(*packed);
        std::vector<std::uint8_t> row(codes.cols);
        std::size_t differences = 0;
        for (std::size_t r = 0; r < codes.rows; ++r) {
            differences += rows.read(r, row.data()) ? 0 : 1;
            for (std::size_t c = 0; c < codes.cols; ++c) {
                differences += i2s::code(codes, r, c) == row[c] ? 0 : 1;
            }
        }
        CHECK(differences == 0);
        const std::string stem(tensor.name.substr(0, tensor.name.rfind('.')));
        CHECK(number_in(packed_file, stem + ".scale") == *scale_of_tail(tensor, "test"));
    }
    CHECK(ternary % 7 == 0);
    CHECK(ternary != 0);
}

} // namespace

TEST_CASE("the tensors of a folder are mapped, or copied where copies are asked for") {
    const sample model = small_model();
    const temporary_folder folder;
    model.written.write(folder.path());
    for (const page_mode pages : {page_mode::mapped, page_mode::automatic, page_mode::copied}) {
        const auto file = model_file::open(folder.path(), {.load_tokenizer = false, .pages = pages});
        REQUIRE_MESSAGE(file, (file ? "" : file.error().message));
        const bool is_copied = pages == page_mode::copied;
        CHECK(file->is_mapped() == (!is_copied && mapped_file::supported));
        CHECK(std::ranges::any_of(file->notes(), [](const std::string& note) {
                  return note.starts_with("pages: the ") &&
                         note.ends_with(" bytes of the model were copied into memory");
              }) == is_copied);
    }
}

TEST_CASE("a packed checkpoint equals its GGUF in parameters, codes, scales, norms and embedding") {
    const sample model = small_model();
    const auto expected = gguf_file::parse(model.gguf.span(), "test");
    REQUIRE(expected);
    const temporary_folder folder;
    const model_file file = opened(model.written, folder);
    check_same_parameters(*expected, file.gguf());
    check_same_ternary(*expected, file.gguf());
    for (const gguf_tensor& tensor : expected->tensors()) {
        if (tensor.type != tensor_type::i2_s) {
            const gguf_tensor* found = file.gguf().find_tensor(tensor.name);
            REQUIRE(found != nullptr);
            CHECK(found->type == tensor.type);
            CHECK(std::ranges::equal(found->bytes, tensor.bytes));
        }
    }
    CHECK(file.gguf().tensors().size() == expected->tensors().size() + 14); // the scales
    CHECK(file.gguf().find("bitnet_hpp.masters") == nullptr);
    CHECK(string_in(file.gguf(), "bitnet_hpp.rotary") == "halves");
    CHECK(file.is_mapped());
}

TEST_CASE("a sharded checkpoint is the same as one file") {
    const sample model = small_model();
    const temporary_folder one;
    const temporary_folder three;
    const model_file whole = opened(model.written, one);
    model.written.write_sharded(three.path(), 3);
    model_file sharded = opened(three.path());
    const model_file moved = std::move(sharded);
    REQUIRE(moved.gguf().tensors().size() == whole.gguf().tensors().size());
    for (const gguf_tensor& tensor : whole.gguf().tensors()) {
        const gguf_tensor* found = moved.gguf().find_tensor(tensor.name);
        REQUIRE(found != nullptr);
        CHECK(found->type == tensor.type);
        CHECK(found->dims == tensor.dims);
        CHECK(std::ranges::equal(found->bytes, tensor.bytes));
        moved.give_back(found->bytes);
        CHECK(std::ranges::equal(found->bytes, tensor.bytes));
    }
    CHECK_FALSE(moved.give_back(model.gguf.span()));
    CHECK(moved.is_mapped());
}

TEST_CASE("weight_scale multiplies if linear_class is autobitlinear and divides otherwise") {
    constexpr float four = 4.0f;
    for (const auto& [config, expected] :
         {std::pair(R"("linear_class": "autobitlinear")", 4.0f), std::pair(R"("linear_class": "bitlinear")", 0.25f),
          std::pair(R"("modules_to_not_convert": ["lm_head"])", 0.25f), std::pair(R"("linear_class": null)", 0.25f)}) {
        sample model = small_model();
        model.written.change(R"("linear_class": "autobitlinear")", config);
        std::string& scale = model.written.tensor("model.layers.1.mlp.up_proj.weight_scale").data;
        std::memcpy(scale.data(), &four, sizeof four);
        const temporary_folder folder;
        const model_file file = opened(model.written, folder);
        CHECK(number_in(file.gguf(), "blk.1.ffn_up.scale") == expected);
        REQUIRE(file.notes().size() == 1);
        CHECK(file.notes()[0].find(expected == four ? "code * weight_scale" : "code / weight_scale") !=
              std::string::npos);
    }
}

TEST_CASE("the first revision of 2B-4T, which names no linear_class, multiplies by weight_scale") {
    constexpr float four = 4.0f;
    for (const char* config :
         {R"("offline_quantization": true)", R"("offline_quantization": true, "online_quantization": false)",
          R"("offline_quantization": true, "quantization_mode": "offline", "linear_class": "autobitlinear")"}) {
        sample model = small_model();
        model.written.change(R"("linear_class": "autobitlinear", "quantization_mode": "offline")", config);
        std::string& scale = model.written.tensor("model.layers.1.mlp.up_proj.weight_scale").data;
        std::memcpy(scale.data(), &four, sizeof four);
        const temporary_folder folder;
        const model_file file = opened(model.written, folder);
        CHECK(number_in(file.gguf(), "blk.1.ffn_up.scale") == four);
        REQUIRE(file.notes().size() == 1);
        CHECK(file.notes()[0] == "weights are code * weight_scale (offline_quantization)");
    }
    sample masters = small_model(checkpoint_weights::masters);
    masters.written.change(R"("linear_class": "autobitlinear", "quantization_mode": "offline")",
                           R"("online_quantization": true)");
    const temporary_folder folder;
    CHECK(opened(masters.written, folder).notes().empty());
}

TEST_CASE("without a quantization_config weight_scale multiplies, and the note says that nothing tells") {
    sample model = small_model();
    model.written.change(
        R"("quantization_config": {"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "offline"}, )",
        "");
    const temporary_folder folder;
    const model_file file = opened(model.written, folder);
    REQUIRE(file.notes().size() == 1);
    CHECK(file.notes()[0] == "weights are code * weight_scale (no quantization_config)");
}

TEST_CASE("members of config.json without effect are passed over, others that nothing reads are named in a note") {
    sample model = small_model();
    model.written.add(R"("model_type": "bitnet", "torch_dtype": "bfloat16", "use_cache": true, "pretraining_tp": 1,
                         "auto_map": {"AutoConfig": "configuration_bitnet.BitNetConfig"}, "bos_token_id": 128000,
                         "initializer_range": 0.02, "transformers_version": "4.52", "sliding_window": null,
                         "use_sliding_window": false, "weight_bits": 1, "input_bits": 8, "new_member": null,
                         "mlp_bias": false, "layer_types": ["full_attention", "full_attention"])");
    const temporary_folder silent;
    CHECK(opened(model.written, silent).notes().size() == 1); // about weight_scale
    model.written.add(R"("residual_multiplier": 0.5, "sinks": [1, 2])");
    model.written.change(R"("sliding_window": null)", R"("sliding_window": 16)"); // which no BitNet looks at
    const temporary_folder folder;
    const model_file file = opened(model.written, folder);
    REQUIRE(file.notes().size() == 2);
    CHECK(file.notes()[0] ==
          "members of config.json that are not read: 'residual_multiplier', 'sinks', 'sliding_window'");
    CHECK(file.gguf().find("bitnet-b1.58.attention.sliding_window") == nullptr);
}

TEST_CASE("a scale is read from F32, F16 and BF16, with one dimension or none") {
    const std::pair<const char*, std::string> halves[] = {{"BF16", std::string("\x80\x3e", 2)},
                                                          {"F16", std::string("\x00\x34", 2)}};
    for (const auto& [type, data] : halves) {
        for (const auto& shape : {std::vector<std::uint64_t>{}, std::vector<std::uint64_t>{1}}) {
            sample model = small_model();
            model.written.tensor("model.layers.0.self_attn.q_proj.weight_scale") = {
                "model.layers.0.self_attn.q_proj.weight_scale", type, shape, data};
            const temporary_folder folder;
            CHECK(number_in(opened(model.written, folder).gguf(), "blk.0.attn_q.scale") == 0.25f);
        }
    }
}

TEST_CASE("packed rows of any width hold the codes, and a 3 is noticed at any place") {
    constexpr std::size_t rows = 8;
    for (const std::size_t cols : {std::size_t{1}, std::size_t{7}, std::size_t{8}, std::size_t{29}}) {
        std::vector<std::uint8_t> bytes(rows / 4 * cols);
        const auto code_at = [](std::size_t row, std::size_t col) {
            return static_cast<std::uint8_t>((5 * row + 7 * col + row * col) % 3);
        };
        for (std::size_t i = 0; i < rows * cols; ++i) {
            const std::size_t row = i / cols;
            std::uint8_t& byte = bytes[row % 2 * cols + i % cols];
            byte = static_cast<std::uint8_t>(byte | code_at(row, i % cols) << (2 * (row / 2)));
        }
        const gguf_tensor tensor{"t", tensor_type::hf_packed,         {cols, rows, 1, 1}, 2,
                                 0,   std::as_bytes(std::span(bytes))};
        const packed_rows packed(tensor);
        CHECK(packed.scale() == 1.0f);
        for (std::size_t row = 0; row < rows; ++row) {
            std::vector<std::uint8_t> codes(cols + 1, 0xaa);
            CHECK(packed.read(row, codes.data()));
            CHECK(codes[cols] == 0xaa);
            for (std::size_t col = 0; col < cols; ++col) {
                CHECK(codes[col] == code_at(row, col));
                const auto mask = static_cast<std::uint8_t>(3u << (2 * (row / 2)));
                std::uint8_t& byte = bytes[row % 2 * cols + col];
                const std::uint8_t kept = byte;
                byte = static_cast<std::uint8_t>(byte | mask);
                std::vector<std::uint8_t> ignored(cols);
                CHECK_FALSE(packed.read(row, ignored.data()));
                CHECK(packed.read((row + 2) % rows, ignored.data()));
                byte = kept;
            }
        }
    }
}

TEST_CASE("weights in F32, F16 and BF16 are masters, and the metadata has a key for it") {
    const sample model = small_model(checkpoint_weights::masters);
    const temporary_folder folder;
    const model_file file = opened(model.written, folder);
    const auto masters = file.gguf().get<bool>("bitnet_hpp.masters");
    REQUIRE(masters);
    CHECK(*masters);
    const gguf_tensor* q = file.gguf().find_tensor("blk.0.attn_q.weight");
    REQUIRE(q != nullptr);
    CHECK(q->type == tensor_type::f32);
    CHECK(q->dims == tensor_dims{128, 128, 1, 1});
}

TEST_CASE("frequencies that a checkpoint stores are left out with a note") {
    sample model = small_model();
    for (const char* layer : {"0", "1"}) {
        model.written.tensors.push_back({"model.layers." + std::string(layer) + ".self_attn.rotary_emb.inv_freq",
                                         "F32",
                                         {32},
                                         std::string(128, '\0')});
    }
    const temporary_folder folder;
    const model_file file = opened(model.written, folder);
    REQUIRE(file.notes().size() == 2);
    CHECK(file.notes()[0] == "frequencies of the rotation are computed, not read: "
                             "'model.layers.0.self_attn.rotary_emb.inv_freq', "
                             "'model.layers.1.self_attn.rotary_emb.inv_freq'");
}

TEST_CASE("tensors of every published naming get their GGUF names") {
    const std::array<std::string_view, 2> names[] = {
        {"model.embed_tokens.weight", "token_embd.weight"},
        {"embed_tokens.weight", "token_embd.weight"},
        {"model.norm.weight", "output_norm.weight"},
        {"lm_head.weight", "output.weight"},
        {"model.layers.0.input_layernorm.weight", "blk.0.attn_norm.weight"},
        {"layers.17.self_attn.q_proj.weight", "blk.17.attn_q.weight"},
        {"model.layers.3.self_attn.o_proj.weight_scale", "blk.3.attn_output.scale"},
        {"model.layers.3.self_attn.attn_sub_norm.weight", "blk.3.attn_sub_norm.weight"},
        {"model.layers.3.self_attn.inner_attn_ln.weight", "blk.3.attn_sub_norm.weight"},
        {"model.layers.3.mlp.ffn_layernorm.weight", "blk.3.ffn_sub_norm.weight"},
        {"model.layers.3.mlp.ffn_sub_norm.weight", "blk.3.ffn_sub_norm.weight"},
        {"layers.2.self_attn.q_norm.weight", "blk.2.attn_q_norm.weight"},
        {"layers.2.self_attn.v_proj.bias", "blk.2.attn_v.bias"},
        {"layers.2.self_attn.q_proj.norm.weight", "blk.2.attn_q_norm_in.weight"},
        {"layers.2.self_attn.o_proj.norm.weight", "blk.2.attn_output_norm_in.weight"},
        {"layers.2.mlp.down_proj.rms_norm.weight", "blk.2.ffn_down_norm_in.weight"},
    };
    for (const auto& [from, to] : names) {
        CHECK(gguf_name_of(from, false).gguf == to);
    }
    CHECK(gguf_name_of("layers.2.post_attention_layernorm.weight", false).gguf == "blk.2.ffn_norm.weight");
    CHECK(gguf_name_of("layers.2.post_attention_layernorm.weight", true).gguf == "blk.2.post_attention_norm.weight");
    CHECK(gguf_name_of("layers.2.pre_feedforward_layernorm.weight", true).gguf == "blk.2.ffn_norm.weight");
    CHECK(gguf_name_of("layers.2.post_feedforward_layernorm.weight", true).gguf == "blk.2.post_ffw_norm.weight");
    CHECK(gguf_name_of("model.layers.0.self_attn.rotary_emb.inv_freq", false).role == checkpoint_role::unused);
    for (const std::string_view unknown :
         {"", "model.", "layers.", "layers.0", "layers.0.", "layers.00.input_layernorm.weight",
          "layers.-1.input_layernorm.weight", "layers.4294967296.input_layernorm.weight",
          "layers.0.self_attn.q_norm.bias", "layers.0.self_attn.q_proj", "layers.0.mlp.experts.0.up_proj.weight",
          "layers.0.pre_feedforward_layernorm.weight", "model.model.norm.weight", "score.weight"}) {
        CHECK_MESSAGE(gguf_name_of(unknown, false).role == checkpoint_role::unknown, std::string(unknown));
    }
}

TEST_CASE("a LLaMA checkpoint with ternary weights keeps its own head, and rows that are not permuted") {
    sample model = small_model();
    model.written.change("BitNetForCausalLM", "LlamaForCausalLM");
    model.written.change("relu2", "silu");
    model.written.change(R"("tie_word_embeddings": true)", R"("tie_word_embeddings": false)");
    auto head = model.written.tensor("model.embed_tokens.weight");
    head.name = "lm_head.weight";
    model.written.tensors.push_back(head);
    const temporary_folder folder;
    const model_file file = opened(model.written, folder);
    CHECK(string_in(file.gguf(), "general.architecture") == "llama");
    CHECK(string_in(file.gguf(), "bitnet_hpp.rotary") == "halves");
    CHECK(file.gguf().find_tensor("output.weight") != nullptr);
    CHECK(file.gguf().find("llama.attention.head_count") != nullptr);
}

TEST_CASE("a head beside a tied embedding is not used, and there is a note about it") {
    sample model = small_model();
    auto head = model.written.tensor("model.embed_tokens.weight");
    head.name = "lm_head.weight";
    model.written.tensors.push_back(head);
    const temporary_folder folder;
    const model_file file = opened(model.written, folder);
    CHECK(file.gguf().find_tensor("output.weight") == nullptr);
    CHECK(std::ranges::any_of(file.notes(), [](const std::string& note) {
        return note.find("'lm_head.weight' is not used") != std::string::npos;
    }));
}

TEST_CASE("the activation function of config.json reaches the metadata from each of its spellings") {
    struct row {
        const char* config;
        const char* architecture;
        const char* activation;
        std::size_t notes; ///< besides the one about weight_scale
    };
    const row rows[] = {
        {R"("hidden_act": "relu2")", "bitnet-b1.58", "relu2", 0},
        {R"("hidden_act": "relu_squared")", "bitnet-b1.58", "relu2", 0},
        {R"("hidden_activation": "relu2")", "bitnet-b1.58", "relu2", 0},
        {R"("hidden_act": "silu")", "bitnet", "silu", 0},
        {R"("hidden_act": "swish", "hidden_activation": "silu")", "bitnet", "silu", 0},
        {R"("hidden_act": "relu2", "hidden_activation": "silu")", "bitnet-b1.58", "relu2", 1},
    };
    for (const row& each : rows) {
        sample model = small_model();
        model.written.change(R"("hidden_act": "relu2")", each.config);
        const temporary_folder folder;
        const model_file file = opened(model.written, folder);
        CHECK(string_in(file.gguf(), "general.architecture") == each.architecture);
        CHECK(string_in(file.gguf(), std::string(each.architecture) + ".hidden_activation") == each.activation);
        REQUIRE(file.notes().size() == 1 + each.notes);
        CHECK((each.notes == 0 || file.notes()[0] == "'hidden_activation', 'silu', is not used: 'BitNetForCausalLM' "
                                                     "goes by 'hidden_act', 'relu2'"));
    }
}

TEST_CASE("rotary scaling reaches the metadata") {
    const std::array<const char*, 3> cases[] = {
        {R"("rope_scaling": {"type": "linear", "factor": 4.0})", "linear", "4"},
        {R"("rope_scaling": {"rope_type": "yarn", "factor": 8})", "yarn", "8"},
        {R"("rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0})", "linear", "2"},
    };
    for (const auto& [config, type, factor] : cases) {
        sample model = small_model();
        model.written.change(R"("rope_scaling": null)", config);
        const temporary_folder folder;
        const model_file file = opened(model.written, folder);
        CHECK(string_in(file.gguf(), "bitnet-b1.58.rope.scaling.type") == type);
        const auto read = file.gguf().get<float>("bitnet-b1.58.rope.scaling.factor");
        REQUIRE(read);
        CHECK(*read == std::stof(factor));
    }
    sample model = small_model();
    model.written.change(R"("rope_scaling": null)",
                         R"("rope_parameters": {"rope_type": "default", "rope_theta": 1e6})");
    const temporary_folder folder;
    const model_file file = opened(model.written, folder);
    CHECK(file.gguf().find("bitnet-b1.58.rope.scaling.type") == nullptr);
    CHECK(*file.gguf().get<float>("bitnet-b1.58.rope.freq_base") == 1e6f);
}

TEST_CASE("YaRN's numbers reach the metadata, and an attention factor takes the place of YaRN's own") {
    sample model = small_model();
    model.written.change(R"("rope_scaling": null)",
                         R"("rope_scaling": {"rope_type": "yarn", "factor": 4.0, "beta_fast": 16, "beta_slow": 2,
                            "original_max_position_embeddings": 16, "attention_factor": 0.9, "truncate": true})");
    const temporary_folder folder;
    const model_file file = opened(model.written, folder);
    CHECK(*file.gguf().get<float>("bitnet-b1.58.rope.scaling.yarn_beta_fast") == 16.0f);
    CHECK(*file.gguf().get<float>("bitnet-b1.58.rope.scaling.yarn_beta_slow") == 2.0f);
    CHECK(*file.gguf().get<std::uint32_t>("bitnet-b1.58.rope.scaling.original_context_length") == 16);
    const auto read = hyper_parameters::read(file.gguf());
    REQUIRE_MESSAGE(read, (read ? "" : read.error().message));
    CHECK(read->rope_magnitude == doctest::Approx(0.9).epsilon(1e-7));
    CHECK(read->rope_original_context == 16);
    model.written.change(R"("original_max_position_embeddings": 16, "attention_factor": 0.9, )", "");
    const temporary_folder usual;
    const auto without = hyper_parameters::read(opened(model.written, usual).gguf());
    REQUIRE(without);
    CHECK(without->rope_magnitude == 1.1386294f);
    CHECK(without->rope_original_context == 64); // max_position_embeddings
}

TEST_CASE("longrope's factors become tensors, and its attention factor follows from the contexts") {
    sample model = small_model();
    std::string factors = "0.997";
    for (int i = 1; i < 32; ++i) {
        factors += ", " + std::to_string(i) + ".5";
    }
    model.written.change(R"("rope_scaling": null)",
                         R"("original_max_position_embeddings": 16, "rope_scaling": {"rope_type": "longrope",
                            "long_factor": [)" +
                             factors + R"(], "short_factor": [)" + factors + "]}");
    const temporary_folder folder;
    const model_file file = opened(model.written, folder);
    const auto read = hyper_parameters::read(file.gguf());
    REQUIRE_MESSAGE(read, (read ? "" : read.error().message));
    CHECK(read->rope_original_context == 16);
    CHECK(read->rope_magnitude == doctest::Approx(std::sqrt(1.5)).epsilon(1e-7)); // 64 of 16: 1 + ln 4 / ln 16
    REQUIRE(read->rope_long_divisors.size() == 32);
    CHECK(read->rope_divisors == read->rope_long_divisors);
    CHECK(read->rope_divisors[0] == static_cast<double>(0.997f));
    CHECK(read->rope_divisors[31] == 31.5);
    model.written.change("longrope\"", R"(longrope", "attention_factor": 1.1, "factor": 4.0)");
    const temporary_folder said;
    const auto other = hyper_parameters::read(opened(model.written, said).gguf());
    REQUIRE(other);
    CHECK(other->rope_magnitude == 1.1f);
}

TEST_CASE("LLaMA 3.1 scaling becomes the divisors that its definition gives") {
    sample model = small_model();
    model.written.change("BitNetForCausalLM", "LlamaForCausalLM");
    model.written.change("relu2", "silu");
    model.written.change(R"("rope_scaling": null)",
                         R"("rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                            "high_freq_factor": 4.0, "original_max_position_embeddings": 8192})");
    const temporary_folder folder;
    const model_file file = opened(model.written, folder);
    CHECK(file.gguf().find("llama.rope.scaling.type") == nullptr);
    const gguf_tensor* divisors = file.gguf().find_tensor("rope_freqs.weight");
    REQUIRE(divisors != nullptr);
    REQUIRE(divisors->dims == tensor_dims{32, 1, 1, 1});
    std::size_t blended = 0;
    for (std::size_t j = 0; j < 32; ++j) {
        const double wavelength = 2 * 3.14159265358979323846 * std::pow(500000.0, static_cast<double>(j) / 32);
        const double smooth = (8192 / wavelength - 1) / 3;
        const double expected = wavelength < 8192.0 / 4   ? 1
                                : wavelength > 8192.0 / 1 ? 8
                                                          : 1 / ((1 - smooth) / 8 + smooth);
        blended += expected > 1 && expected < 8 ? 1 : 0;
        float value = 0;
        std::memcpy(&value, divisors->bytes.data() + j * sizeof value, sizeof value);
        CHECK(value == doctest::Approx(expected).epsilon(1e-6));
    }
    CHECK(blended > 0);
}

TEST_CASE("Gemma's norms get their 1, norms before projections do not, the window ends the context") {
    sample model = small_model(checkpoint_weights::masters);
    model.written.change(R"("BitNetForCausalLM")", R"("Gemma3TextModel")");
    model.written.change(R"("hidden_act": "relu2")", R"("hidden_activation": "gelu_pytorch_tanh")");
    model.written.change(R"("attention_bias": false)",
                         R"("head_dim": 64, "query_pre_attn_scalar": 64, "sliding_window": 32,
                            "rope_local_base_freq": 500000)");
    const std::array<std::string, 2> norms[] = {{"input_layernorm", "attn_norm"},
                                                {"pre_feedforward_layernorm", "ffn_norm"},
                                                {"post_attention_layernorm", "post_attention_norm"},
                                                {"self_attn.q_proj.norm", "attn_q_norm_in"}};
    const std::array<float, 2> halves{0.5f, -0.25f};
    const std::string data(reinterpret_cast<const char*>(halves.data()), sizeof halves);
    for (const auto& [name, gguf] : norms) {
        model.written.tensor("model.layers.0." + name +
                             ".weight") = {"model.layers.0." + name + ".weight", "F32", {2}, data};
    }
    model.written.remove("model.layers.0.self_attn.attn_sub_norm.weight");
    const temporary_folder folder;
    const model_file file = opened(model.written, folder);
    CHECK(string_in(file.gguf(), "general.architecture") == "gemma3");
    for (const auto& [name, gguf] : norms) {
        CHECK(number_in(file.gguf(), "blk.0." + gguf + ".weight") == (name.ends_with("proj.norm") ? 0.5f : 1.5f));
    }
    CHECK(*file.gguf().get<std::uint32_t>("gemma3.context_length") == 32);
    CHECK(*file.gguf().get<std::uint32_t>("gemma3.attention.sliding_window") == 32);
    CHECK(*file.gguf().get<std::uint32_t>("gemma3.attention.key_length") == 64);
    REQUIRE(file.notes().size() == 1);
    CHECK(file.notes()[0].find("ends at 32 of its 64 positions") != std::string::npos);
}

TEST_CASE("Gemma's layers have local attention unless all of them are listed as global") {
    const auto gemma = [](const char* more) {
        sample model = small_model(checkpoint_weights::masters);
        model.written.change(R"("BitNetForCausalLM")", R"("Gemma3TextModel")");
        model.written.change(R"("hidden_act": "relu2")", R"("hidden_activation": "gelu_pytorch_tanh")");
        model.written.change(R"("rope_theta": 500000.000000, )", "");
        model.written.change(R"("rope_scaling": null)", more);
        return model;
    };
    const auto context = [&](const char* more) {
        const temporary_folder folder;
        const model_file file = opened(gemma(more).written, folder);
        CHECK(hyper_parameters::read(file.gguf()).has_value());
        return *file.gguf().get<std::uint32_t>("gemma3.context_length");
    };
    CHECK(context(R"("rope_theta": 10000, "sliding_window": 32)") == 32); // 10000 is what local layers have
    CHECK(context(R"("rope_theta": 1e6, "sliding_window": 32, "layer_types": ["full_attention", "full_attention"])") ==
          64);
    CHECK(context(R"("rope_theta": 1e6, "sliding_window": 32, "rope_local_base_freq": 1e6,
                     "layer_types": ["sliding_attention", "full_attention"])") == 32);
    CHECK(context(R"("sliding_window": 32, "rope_parameters": {
                     "full_attention": {"rope_type": "default", "rope_theta": 1e6},
                     "sliding_attention": {"rope_type": "default", "rope_theta": 1e6}})") == 32);
    for (const char* two_rotations :
         {R"("rope_theta": 1e6, "sliding_window": 32)",
          R"("rope_theta": 10000, "sliding_window": 32, "rope_scaling": {"rope_type": "linear", "factor": 8})",
          R"("sliding_window": 32, "rope_parameters": {"rope_type": "default", "rope_theta": 1e6})",
          R"("sliding_window": 32, "rope_parameters": {"full_attention": {"rope_theta": 1e6}})"}) {
        const temporary_folder folder;
        gemma(two_rotations).written.write(folder.path());
        const auto refused = open_folder(folder.path());
        REQUIRE_FALSE(refused.has_value());
        CHECK(refused.error().message.find("only one rotation for all layers can be run") != std::string::npos);
    }
}

TEST_CASE("a Qwen3 embedding checkpoint is known by the norms before its projections") {
    sample model = small_model(checkpoint_weights::masters);
    model.written.change(R"("BitNetForCausalLM")", R"("Qwen3Model")");
    model.written.change("relu2", "silu");
    model.written.change(
        R"("quantization_config": {"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "offline"}, )",
        "");
    const temporary_folder folder;
    model.written.write(folder.path());
    const auto plain = open_folder(folder.path());
    REQUIRE_FALSE(plain.has_value());
    CHECK(plain.error().code == errc::unsupported_architecture);
    CHECK(plain.error().message.find("not a BitNet model") != std::string::npos);
    model.written.tensors.push_back(
        {"model.layers.0.self_attn.q_proj.norm.weight", "BF16", {128}, std::string(256, '\0')});
    const model_file file = opened(model.written, folder);
    CHECK(string_in(file.gguf(), "general.architecture") == "qwen3");
    CHECK(file.gguf().find_tensor("blk.0.attn_q_norm_in.weight") != nullptr);
}

TEST_CASE("a model file is named by its path, a checkpoint by its folder") {
    const sample model = small_model();
    const temporary_folder folder;
    model.written.write(folder.path());
    const model_file file = opened(folder.path() + "/");
    CHECK(file.name() == folder.path());
    CHECK(folder.path().ends_with("/" + std::string(string_in(file.gguf(), "general.name"))));
    const std::string gguf = folder.write("model.gguf", bitnet_tests::as_text(std::as_bytes(model.gguf.span())));
    const model_file single = opened(gguf);
    CHECK(single.name() == gguf);
    CHECK(single.size() == model.gguf.size());
    CHECK(single.notes().empty());
    CHECK(single.give_back(single.gguf().tensors()[0].bytes));
}

TEST_CASE("golden: the packed and the bf16 checkpoint have the numbers of the GGUF file") {
    if (skip_without_golden()) {
        return;
    }
    const model_file expected = opened(golden_path("tiny/tiny-a-i2_s.gguf"));
    const model_file packed = opened(golden_path("tiny/hf"));
    const model_file masters = opened(golden_path("tiny/hf-bf16"));
    check_same_parameters(expected.gguf(), packed.gguf());
    check_same_parameters(expected.gguf(), masters.gguf());
    check_same_ternary(expected.gguf(), packed.gguf());
    CHECK(masters.gguf().find_tensor("blk.5.ffn_down.weight")->type == tensor_type::bf16);
}
