// SPDX-License-Identifier: MIT
// Hugging Face checkpoints, opened as if they were GGUF files: config.json as metadata, tensors in place.
#ifndef BITNET_CHECKPOINT_HUGGING_FACE_HPP
#define BITNET_CHECKPOINT_HUGGING_FACE_HPP

#include <bitnet/checkpoint/block_rows.hpp>
#include <bitnet/checkpoint/graph_parts.hpp>
#include <bitnet/checkpoint/hugging_face_config.hpp>
#include <bitnet/checkpoint/hugging_face_config_reader.hpp>
#include <bitnet/checkpoint/hugging_face_names.hpp>
#include <bitnet/checkpoint/model_file.hpp>
#include <bitnet/checkpoint/sentence_pooling.hpp>
#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/exponential.hpp>
#include <bitnet/core/half.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/byte_source.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/gguf_writer.hpp>
#include <bitnet/io/json.hpp>
#include <bitnet/io/safetensors.hpp>
#include <bitnet/text/tokenizer_json.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Whether `name` can only be a file inside a folder: no way out of the folder, no drive, no stream.
[[nodiscard]] constexpr bool is_plain_file_name(std::string_view name) noexcept {
    constexpr std::string_view forbidden("/\\:\0", 4);
    return !name.empty() && name != "." && name != ".." && name.find_first_of(forbidden) == std::string_view::npos;
}

} // namespace bitnet::inline BITNET_ABI::detail

namespace bitnet::inline BITNET_ABI::detail {

/// One opening of a directory. Use open_hugging_face.
class hugging_face_reader {
public:
    hugging_face_reader(std::string_view utf8_path, const checkpoint_options& options)
        : path_(utf8_path), options_(options), writer_({.memory = options.memory}) {
        while (path_.size() > 1 && (path_.back() == '/' || path_.back() == '\\')) {
            path_.pop_back();
        }
    }

    [[nodiscard]] result<opened_checkpoint> run() {
        if (!read_config() || !open_shards() || !goes_on() || !read_tensors() || !check_family() || !read_pooling() ||
            !read_text_changes() || !goes_on() || !read_tokenizer() || !goes_on()) {
            return std::move(failure_);
        }
        return finish();
    }

private:
    static constexpr std::string_view single_file = "model.safetensors";
    static constexpr std::string_view index_file = "model.safetensors.index.json";

    [[nodiscard]] std::string path_of(std::string_view file) const { return sentence({path_, "/", file}); }
    // Every step returns whether to go on; if not, the error is in failure_.
    [[nodiscard]] bool fail(error failure) {
        failure_ = std::move(failure);
        return false;
    }
    [[nodiscard]] bool fail(errc code, sentence_parts what) { return set_error(failure_, code, {path_, ": "}, what); }
    [[nodiscard]] bool fail(errc code, const safetensors_file& shard, const safetensors_tensor& tensor,
                            sentence_parts what) {
        return set_error(failure_, code, {shard.name(), ": tensor ", quoted{tensor.name}, ": "}, what);
    }

    [[nodiscard]] bool goes_on() { return advance(options_.progress, 0) || fail(options_.progress->cancelled(path_)); }
    [[nodiscard]] copy_progress copying() const noexcept {
        return options_.progress != nullptr ? options_.progress->copying() : copy_progress();
    }

    [[nodiscard]] result<json_document> read_json(std::string_view file) const {
        const auto text = byte_source::open(path_of(file));
        if (!text) {
            return failed(text);
        }
        return json_document::parse(text_of(*text), text->name(), {.memory = options_.memory});
    }
    [[nodiscard]] static std::string_view text_of(const byte_source& source) noexcept {
        const auto bytes = source.bytes();
        return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    }

    [[nodiscard]] bool read_config() {
        const auto text = read_json("config.json");
        if (!text) {
            return fail(failed(text));
        }
        auto read = hugging_face_config::read(text->root(), path_of("config.json"), writer_);
        if (!read) {
            return fail(failed(read));
        }
        config_ = *std::move(read);
        if (!read_stop_tokens(text->root(), "config.json")) {
            return false;
        }
        notes_ = std::move(config_.notes);
        writer_.add("general.name", std::string_view(path_).substr(path_.find_last_of("/\\") + 1));
        return true;
    }

    [[nodiscard]] bool open_shards() {
        auto single = byte_source::open(path_of(single_file), options_.pages, options_.memory, copying());
        if (single) {
            return add_shard(*std::move(single));
        }
        if (single.error().code != errc::file_not_found) {
            return fail(failed(single));
        }
        const auto index = read_json(index_file);
        if (!index) {
            const bool neither = index.error().code == errc::file_not_found;
            return neither ? fail(errc::file_not_found, {"there is neither ", single_file, " nor ", index_file})
                           : fail(failed(index));
        }
        const auto map = index->root().find("weight_map");
        if (!map || !map->is_object()) {
            return set_error(failure_, errc::wrong_type, {path_of(index_file), ": "},
                             {"'weight_map' must be an object"});
        }
        if (!open_shards_of(*map)) {
            return false;
        }
        return check_index(*map);
    }

    [[nodiscard]] bool add_shard(byte_source source) {
        auto shard = safetensors_file::parse(source.bytes(), source.name(), options_.memory);
        if (!shard) {
            return fail(failed(shard));
        }
        sources_.push_back(std::move(source));
        shards_.push_back(*std::move(shard));
        return true;
    }

    [[nodiscard]] bool open_shards_of(json_value map) {
        std::vector<std::string_view> files;
        for (const auto& [tensor, file] : map.members()) {
            const auto name = file.as_string();
            if (!name || !is_plain_file_name(*name)) {
                return set_error(failure_, errc::bad_file_name, {path_of(index_file), ": "},
                                 {"the file of ", quoted{tensor}, ", ", quoted{name.value_or("")},
                                  ", is no plain name of a file in the same folder"});
            }
            files.push_back(*name);
        }
        std::sort(files.begin(), files.end());
        files.erase(std::unique(files.begin(), files.end()), files.end());
        for (const std::string_view file : files) {
            auto source = byte_source::open(path_of(file), options_.pages, options_.memory, copying());
            if (!source) {
                return set_error(failure_, source.error().code, {path_of(index_file), ": a file that it names: "},
                                 {source.error().message});
            }
            if (!add_shard(*std::move(source))) {
                return false;
            }
        }
        return true;
    }

    /// Every tensor is in the file that the index names, and in no other.
    [[nodiscard]] bool check_index(json_value map) {
        std::size_t found = 0;
        for (const safetensors_file& shard : shards_) {
            for (const safetensors_tensor& tensor : shard.tensors()) {
                const auto file = map.find(tensor.name);
                if (!file || path_of(file->as_string().value_or("")) != shard.name()) {
                    return fail(errc::inconsistent, shard, tensor, {"the index does not say that it is in this file"});
                }
                ++found;
            }
        }
        if (found == map.size()) {
            return true;
        }
        for (const auto& [tensor, file] : map.members()) {
            const std::string path = path_of(file.as_string().value_or(""));
            const auto shard = std::find_if(shards_.begin(), shards_.end(),
                                            [&](const safetensors_file& each) { return each.name() == path; });
            if (shard == shards_.end() || shard->find(tensor) == nullptr) {
                return set_error(failure_, errc::missing_tensor, {path, ": tensor ", quoted{tensor}},
                                 {": not in the file, though the index says so"});
            }
        }
        return true;
    }

    [[nodiscard]] bool read_tensors() {
        std::size_t count = 0;
        for (const safetensors_file& shard : shards_) {
            count += shard.tensors().size();
        }
        names_.reserve(count); // views of short names would not survive a move
        for (const safetensors_file& shard : shards_) {
            for (const safetensors_tensor& tensor : shard.tensors()) {
                if (!read_tensor(shard, tensor)) {
                    return false;
                }
            }
        }
        return true;
    }

    [[nodiscard]] bool read_tensor(const safetensors_file& shard, const safetensors_tensor& tensor) {
        checkpoint_name name = gguf_name_of(tensor.name, config_.is_gemma());
        if (name.layer && *name.layer >= config_.layers) {
            return fail(errc::inconsistent, shard, tensor,
                        {"a layer beyond the ", config_.layers, " of 'num_hidden_layers'"});
        }
        switch (name.role) {
        case checkpoint_role::unknown:
            return fail(errc::unsupported_architecture, shard, tensor,
                        {"no part of a model of architecture ", config_.architecture});
        case checkpoint_role::unused:
            left_out_.push_back(tensor.name);
            return true;
        case checkpoint_role::scale:
            return read_scale(shard, tensor, name.gguf);
        case checkpoint_role::norm:
            return config_.is_gemma() ? read_gemma_norm(shard, tensor, name.gguf)
                                      : borrow(shard, tensor, std::move(name));
        case checkpoint_role::head:
            return read_head(shard, tensor, std::move(name));
        case checkpoint_role::norm_in:
            has_norm_in_ = true;
            break;
        case checkpoint_role::bias:
            if (!config_.may_have_biases() || !is_qkv_bias(name_in_layer(name.gguf, config_.layers))) {
                return fail(errc::unsupported_architecture, shard, tensor,
                            {"the graph of ", config_.architecture, " has no place for this bias"});
            }
            break;
        default:
            break;
        }
        return borrow(shard, tensor, std::move(name));
    }

    /// Presents `tensor` under its new name; its data is not copied.
    [[nodiscard]] bool borrow(const safetensors_file& shard, const safetensors_tensor& tensor, checkpoint_name name) {
        const auto type = type_of(tensor, name.role);
        if (!type) {
            return fail(errc::unsupported_type, shard, tensor,
                        {"dtype ", name_of(tensor.type), ", F32, F16 or BF16",
                         (name.role == checkpoint_role::ternary ? " (or U8, packed)" : ""), " expected"});
        }
        if (tensor.rank == 0 || tensor.rank > 2 || tensor.bytes.empty()) {
            return fail(errc::bad_shape, shard, tensor,
                        {"shape ", shape_text(tensor), ", one or two dimensions above 0 expected"});
        }
        gguf_tensor borrowed{
            names_.emplace_back(std::move(name.gguf)), *type, {1, 1, 1, 1}, tensor.rank, tensor.offset, tensor.bytes};
        std::reverse_copy(tensor.shape.begin(), tensor.shape.begin() + tensor.rank, borrowed.dims.begin());
        if (*type == tensor_type::hf_packed) {
            borrowed.dims[1] *= 4; // its bytes are in memory: no overflow
        }
        if (name.role == checkpoint_role::ternary) {
            borrowed.type = grouped_type(borrowed);
        }
        const bool is_master =
            name.role == checkpoint_role::ternary && *type == borrowed.type && *type != tensor_type::hf_packed;
        has_masters_ = has_masters_ || is_master;
        has_packed_ = has_packed_ || *type == tensor_type::hf_packed;
        tensors_.push_back(borrowed);
        return true;
    }

    [[nodiscard]] static std::optional<tensor_type> type_of(const safetensors_tensor& tensor,
                                                            checkpoint_role role) noexcept {
        switch (tensor.type) {
        case safetensors_type::f32:
            return tensor_type::f32;
        case safetensors_type::f16:
            return tensor_type::f16;
        case safetensors_type::bf16:
            return tensor_type::bf16;
        case safetensors_type::u8:
            return role == checkpoint_role::ternary && tensor.rank == 2 ? std::optional(tensor_type::hf_packed)
                                                                        : std::nullopt;
        default:
            return std::nullopt;
        }
    }

    /// The elements of a F32, F16 or BF16 tensor as floats; empty for others.
    [[nodiscard]] static std::vector<float> floats(const safetensors_tensor& tensor) {
        const std::size_t width = safetensors_formats[static_cast<std::size_t>(tensor.type)].bytes;
        std::vector<float> values(tensor.bytes.size() / width);
        const auto widen_all = [&]<class E>(E element) {
            for (std::size_t i = 0; i < values.size(); ++i) {
                std::memcpy(&element, tensor.bytes.data() + i * sizeof(E), sizeof(E));
                values[i] = widen(element);
            }
        };
        switch (tensor.type) {
        case safetensors_type::f32:
            widen_all(0.0f);
            return values;
        case safetensors_type::f16:
            widen_all(half{});
            return values;
        case safetensors_type::bf16:
            widen_all(bfloat16{});
            return values;
        default:
            return {};
        }
    }

    void add_floats(std::string_view name, std::vector<float> values) {
        const auto& kept = made_.emplace_back(std::move(values));
        const std::array<std::uint64_t, 1> dims{kept.size()};
        writer_.add_tensor(name, tensor_type::f32, dims, std::as_bytes(std::span(kept)));
    }

    /// weight_scale becomes the factor that GGUF knows.
    [[nodiscard]] bool read_scale(const safetensors_file& shard, const safetensors_tensor& tensor,
                                  std::string_view name) {
        std::vector<float> values = floats(tensor);
        if (values.size() != 1) {
            return fail(
                errc::wrong_shape, shard, tensor,
                {name_of(tensor.type), " ", shape_text(tensor), ", one number of type F32, F16 or BF16 expected"});
        }
        // By bits, because -ffast-math folds comparisons with infinity. Below 2^-126 the quotient could be infinite.
        const auto bits = std::bit_cast<std::uint32_t>(values[0]);
        if (bits < 0x00800000u || bits >= 0x7f800000u) {
            return fail(errc::bad_scale, shard, tensor,
                        {"the scale has the bits ", bits,
                         ", it must be a finite normal float above zero (bits 8388608 to 2139095039)"});
        }
        values[0] = config_.divides ? exact_quotient(1.0f, values[0]) : values[0];
        add_floats(name, std::move(values));
        return true;
    }

    [[nodiscard]] bool read_gemma_norm(const safetensors_file& shard, const safetensors_tensor& tensor,
                                       std::string_view name) {
        std::vector<float> values = floats(tensor);
        if (values.empty() || tensor.rank != 1) {
            return fail(
                errc::wrong_shape, shard, tensor,
                {name_of(tensor.type), " ", shape_text(tensor), ", one dimension of F32, F16 or BF16 expected"});
        }
        for (float& value : values) {
            value += 1.0f;
        }
        add_floats(name, std::move(values));
        return true;
    }

    [[nodiscard]] bool read_head(const safetensors_file& shard, const safetensors_tensor& tensor,
                                 checkpoint_name name) {
        if (config_.tied.value_or(false)) {
            notes_.emplace_back(
                "tensor 'lm_head.weight' is not used: 'tie_word_embeddings' makes the embedding the head");
            return true;
        }
        if (config_.architecture.starts_with("bitnet")) {
            return fail(errc::unsupported_architecture, shard, tensor,
                        {"architecture ", config_.architecture,
                         " ties the head to the embedding, but 'tie_word_embeddings' is not true"});
        }
        has_head_ = true;
        return borrow(shard, tensor, std::move(name));
    }

    /// Whether the tensors are what the configuration promises, and ternary at all.
    [[nodiscard]] bool check_family() {
        if (!config_.is_bitnet && !has_norm_in_) {
            return fail(errc::unsupported_architecture,
                        {"not a BitNet model: config.json has no 'quantization_config' of method bitnet, and no "
                         "projection has a norm of its own"});
        }
        if (config_.needs_norm_in && !has_norm_in_) {
            return fail(errc::missing_tensor, {"'use_rms_norm' is true, but no projection has a norm of its own"});
        }
        if (config_.online && has_packed_) {
            return fail(errc::inconsistent, {"'quantization_mode' is online, but there are packed weights"});
        }
        if (config_.tied == std::optional(false) && !has_head_ && !has_norm_in_) {
            return fail(errc::missing_tensor, {"'tie_word_embeddings' is false, but there is no 'lm_head.weight'"});
        }
        return true;
    }

    /// What sentence-transformers keeps of a text embedding model: modules.json names the folder of the pooling.
    [[nodiscard]] bool read_pooling() {
        const auto modules = read_json("modules.json");
        if (!modules && modules.error().code != errc::file_not_found) {
            return fail(failed(modules));
        }
        std::string folder = "1_Pooling";
        if (modules) {
            const auto named = sentence_pooling::folder(modules->root(), path_of("modules.json"));
            if (!named) {
                return fail(failed(named));
            }
            if (!named->empty() && !is_plain_file_name(*named)) {
                return fail(errc::bad_file_name, {"modules.json: the folder of the pooling, ", quoted{*named},
                                                  ", is no plain name of a folder in the same folder"});
            }
            folder = *named;
        }
        return folder.empty() || read_pooling(sentence({folder, "/config.json"}), modules.has_value());
    }
    [[nodiscard]] bool read_pooling(const std::string& file, bool is_named) {
        const auto config = read_json(file);
        if (!config) {
            return (!is_named && config.error().code == errc::file_not_found) || fail(failed(config));
        }
        const auto pooling = sentence_pooling::read(config->root(), path_of(file));
        if (!pooling) {
            return fail(failed(pooling));
        }
        const std::uint64_t columns = embedding_dims()[0];
        if (pooling->dimension.value_or(columns) != columns) {
            return fail(errc::inconsistent,
                        {file, " is for states of ", *pooling->dimension, " columns, the embedding has ", columns});
        }
        writer_.add(sentence({config_.architecture, ".pooling_type"}), static_cast<std::uint32_t>(pooling->type));
        if (!pooling->includes_prompt && pooling->type == pooling_type::mean) {
            notes_.push_back(
                sentence({file, ": 'include_prompt' is false, but an instruction in front of a text is part "
                                "of the mean here"}));
        }
        return true;
    }

    void note_default_prompt(json_value root) {
        const auto found = root.find("default_prompt_name");
        const std::string_view name = found ? found->as_string().value_or("") : "";
        if (!name.empty()) {
            notes_.push_back(sentence({"config_sentence_transformers.json: 'default_prompt_name' is ", quoted{name},
                                       "; here the caller puts a prompt before a text"}));
        }
    }

    /// What sentence-transformers does to a text before its tokenizer sees it.
    [[nodiscard]] bool read_text_changes() {
        const auto module = read_json("sentence_bert_config.json");
        const auto lower = module ? module->root().find("do_lower_case") : std::nullopt;
        if (lower && lower->as_bool().value_or(false)) {
            return fail(errc::unsupported_tokenizer,
                        {"sentence_bert_config.json: 'do_lower_case' is true, only texts as they are can be embedded"});
        }
        const auto whole = read_json("config_sentence_transformers.json");
        if (whole) {
            note_default_prompt(whole->root());
        }
        for (const auto* config : {&module, &whole}) {
            if (!*config && config->error().code != errc::file_not_found) {
                return fail(error{config->error()});
            }
        }
        return true;
    }

    /// [columns, rows] of the embedding, 0 without one.
    [[nodiscard]] tensor_dims embedding_dims() const {
        const auto embedding = std::find_if(tensors_.begin(), tensors_.end(),
                                            [](const gguf_tensor& each) { return each.name == "token_embd.weight"; });
        return embedding != tensors_.end() ? embedding->dims : tensor_dims{0, 0, 1, 1};
    }

    [[nodiscard]] bool read_tokenizer() {
        if (!options_.load_tokenizer) {
            return true;
        }
        const auto main = byte_source::open(path_of("tokenizer.json"));
        if (!main) {
            return fail(failed(main));
        }
        constexpr std::array<std::string_view, 4> names{"tokenizer_config.json", "special_tokens_map.json",
                                                        "config.json", "chat_template.jinja"};
        std::array<byte_source, names.size()> others;
        for (std::size_t i = 0; i < names.size(); ++i) {
            auto source = byte_source::open(path_of(names[i]));
            if (!source && source.error().code != errc::file_not_found) {
                return fail(failed(source));
            }
            others[i] = source ? *std::move(source) : byte_source();
        }
        const std::uint64_t rows = embedding_dims()[1];
        const tokenizer_json_files files{.name = main->name(),
                                         .tokenizer = text_of(*main),
                                         .tokenizer_config = text_of(others[0]),
                                         .special_tokens_map = text_of(others[1]),
                                         .model_config = text_of(others[2]),
                                         .chat_template = text_of(others[3]),
                                         .pre_tokenizer = options_.pre_tokenizer,
                                         .memory = options_.memory};
        auto added = add_tokenizer_json(writer_, files, rows);
        if (!added) {
            return fail(failed(added));
        }
        std::move(added->begin(), added->end(), std::back_inserter(notes_));
        return add_stop_tokens();
    }

    /// An answer may end at more tokens than eos, and eot, which has its name. GGUF has a place for one more: eom.
    [[nodiscard]] bool add_stop_tokens() {
        const auto config = read_json("generation_config.json");
        if (!config && config.error().code != errc::file_not_found) {
            return fail(failed(config));
        }
        if (config && !read_stop_tokens(config->root(), "generation_config.json")) {
            return false;
        }
        if (stops_.size() > 1) {
            writer_.add("tokenizer.ggml.eom_token_id", stops_[1]);
        }
        if (stops_.size() > 2) {
            notes_.push_back(sentence(
                {stops_.size(), " tokens end an answer by 'eos_token_id'; of those beyond "
                                "the second, only end-of-turn tokens that are known by their spelling do here"}));
        }
        return true;
    }

    /// Collects the ids of eos_token_id: a number, a list or null.
    [[nodiscard]] bool read_stop_tokens(json_value config, std::string_view file) {
        const auto value = config.find("eos_token_id");
        std::vector<std::optional<std::uint32_t>> ids;
        if (value && value->is_array()) {
            for (const json_value id : value->elements()) {
                ids.push_back(id.as_integer<std::uint32_t>());
            }
        } else if (value && !value->is_null()) {
            ids.push_back(value->as_integer<std::uint32_t>());
        }
        for (const auto& id : ids) {
            if (!id) {
                return set_error(failure_, errc::wrong_type, {path_of(file), ": "},
                                 {"'eos_token_id' must be a token id or a list of them"});
            }
            if (std::find(stops_.begin(), stops_.end(), *id) == stops_.end()) {
                stops_.push_back(*id);
            }
        }
        return true;
    }

    [[nodiscard]] result<opened_checkpoint> finish() {
        const std::pair<std::string_view, std::vector<float>*> divisors[] = {
            {"rope_freqs.weight", &config_.rotary_divisors},
            {"rope_factors_long.weight", &config_.long_factors},
            {"rope_factors_short.weight", &config_.short_factors}};
        for (const auto& [name, values] : divisors) {
            if (!values->empty()) {
                add_floats(name, std::move(*values));
            }
        }
        if (has_masters_) {
            writer_.add("bitnet_hpp.masters", true);
        }
        if (!left_out_.empty()) {
            notes_.push_back(sentence({"frequencies of the rotation are computed, not read: ", listed(left_out_)}));
        }
        auto made = writer_.write_memory();
        if (!made) {
            return error{made.error().code, sentence({path_, ": ", made.error().message})};
        }
        auto metadata = gguf_file::parse(made->span(), path_, options_.memory);
        if (!metadata) {
            return failed(metadata);
        }
        auto whole = gguf_file::extend(*std::move(metadata), tensors_);
        if (!whole) {
            return failed(whole);
        }
        if (!check_scales(*whole)) {
            return std::move(failure_);
        }
        return opened_checkpoint{*std::move(whole), std::move(sources_), *std::move(made), std::move(names_),
                                 std::move(notes_)};
    }

    /// Packed weights mean nothing without their weight_scale.
    [[nodiscard]] bool check_scales(const gguf_file& file) {
        for (const gguf_tensor& tensor : tensors_) {
            constexpr std::string_view ending = ".weight";
            const std::string_view stem = tensor.name.substr(0, tensor.name.size() - ending.size());
            if (tensor.type == tensor_type::hf_packed && file.find_tensor(std::string(stem) + ".scale") == nullptr) {
                return fail(errc::missing_tensor, {"tensor ", quoted{tensor.name},
                                                   " has packed weights, but there is no weight_scale for it"});
            }
        }
        if (has_packed_) {
            notes_.push_back(sentence(
                {"weights are code ", config_.divides ? "/" : "*", " weight_scale (", config_.scale_rule, ")"}));
        }
        return true;
    }

    std::string path_;
    checkpoint_options options_;
    gguf_writer writer_;
    hugging_face_config config_;
    std::vector<byte_source> sources_;
    std::vector<safetensors_file> shards_;
    std::vector<std::vector<float>> made_; // until writer_ has written them; their elements do not move
    std::vector<std::string> names_;
    std::vector<gguf_tensor> tensors_;
    std::vector<std::string> notes_;
    std::vector<std::string_view> left_out_; ///< names of tensors
    std::vector<std::uint32_t> stops_;
    bool has_norm_in_ = false;
    bool has_masters_ = false;
    bool has_packed_ = false;
    bool has_head_ = false;
    error failure_;
};

/// Opens the Hugging Face checkpoint in the folder at `utf8_path`: config.json, and model.safetensors or
/// model.safetensors.index.json with its shards, mapped or copied. The result looks like a GGUF file: see
/// hugging_face_config for its metadata and gguf_name_of for the names. Packed weights are of tensor_type::hf_packed,
/// with the factor that they need beside them; rows of Q and K are not permuted, and "bitnet_hpp.rotary" says so;
/// "bitnet_hpp.masters" says that weights in F32, F16 and BF16 are to be ternarised.
/// The tokenizer is read from tokenizer.json and the files beside it: see add_tokenizer_json. The pooling of a text
/// embedding model is read from modules.json and 1_Pooling/config.json, where these are.
/// \return the errors of byte_source::open, json_document::parse, safetensors_file::parse, hugging_face_config::read
/// and add_tokenizer_json; bad_file_name, file_not_found, inconsistent, missing_tensor, duplicate_tensor,
/// unsupported_architecture, unsupported_type, bad_shape, wrong_shape, bad_scale or out_of_memory. Each names the file
/// and the tensor or key. Proven by tests/model/hugging_face_malformed_test.cpp.
[[nodiscard]] inline result<opened_checkpoint> open_hugging_face(std::string_view utf8_path,
                                                                 const checkpoint_options& options = {}) {
    return hugging_face_reader(utf8_path, options).run();
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
