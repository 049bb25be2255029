// SPDX-License-Identifier: MIT
// hyper_parameter_reader: reads the keys of a GGUF file that describe a model, and checks them.
#ifndef BITNET_CHECKPOINT_HYPER_PARAMETER_READER_HPP
#define BITNET_CHECKPOINT_HYPER_PARAMETER_READER_HPP

#include <bitnet/checkpoint/context_extension.hpp>
#include <bitnet/checkpoint/graph_parts.hpp>
#include <bitnet/checkpoint/hyper_parameters.hpp>
#include <bitnet/core/checked.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/exponential.hpp>
#include <bitnet/core/fixed_point.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/foreign_contents.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/quoted_name.hpp>
#include <bitnet/simd/rotary.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI {

namespace detail {

/// Reads and checks one key after the other; the first failure stays.
class hyper_parameter_reader {
public:
    explicit hyper_parameter_reader(const gguf_file& file) : file_(file) {}

    [[nodiscard]] result<hyper_parameters> run() {
        if (auto marks = refuse_foreign_marks(file_.metadata(), file_.name()); !marks) {
            return failed(marks);
        }
        read_architecture();
        read_sizes();
        read_activation();
        read_heads();
        read_constants();
        read_scales();
        read_rotation();
        read_pooling();
        refuse_variants();
        look_at_other_keys();
        look_at_tensors();
        if (failure_.code != errc{}) {
            return std::move(failure_);
        }
        return std::move(made_);
    }

private:
    // Far above every published model, far below anything that could overflow: 2^16 * 2^18 weights fit 64 bits.
    static constexpr std::uint64_t most_layers = 1024;
    static constexpr std::uint64_t most_columns = 1u << 16;
    static constexpr std::uint64_t most_feed_forward = 1u << 18;
    static constexpr std::uint64_t most_heads = 1024;
    static constexpr std::uint64_t most_vocabulary = 1u << 22;
    static constexpr std::uint64_t most_context = 1u << 20;

    void fail(errc code, sentence_parts what) {
        if (failure_.code == errc{}) {
            failure_ = {code, sentence({file_.name(), ": ", sentence(what)})};
        }
    }
    void fail(error failure) {
        if (failure_.code == errc{}) {
            failure_ = std::move(failure);
        }
    }

    [[nodiscard]] std::string key(std::string_view suffix) const { return sentence({made_.architecture, ".", suffix}); }

    /// The value of `suffix`, 1 to `most`; 1 after a failure, so that reading can go on.
    [[nodiscard]] std::size_t size(std::string_view suffix, std::uint64_t most) {
        const auto value = file_.get<std::uint64_t>(key(suffix));
        if (!value) {
            fail(failed(value));
            return 1;
        }
        if (*value == 0 || *value > most) {
            fail(errc::out_of_range, {"'", key(suffix), "' is ", *value, ", 1 to ", most, " are possible"});
            return 1;
        }
        return to_size(*value);
    }
    [[nodiscard]] std::size_t size_or(std::string_view suffix, std::uint64_t most, std::size_t fallback) {
        return file_.find(key(suffix)) != nullptr ? size(suffix, most) : fallback;
    }

    void read_architecture() {
        const auto name = file_.get<std::string_view>("general.architecture");
        if (!name) {
            fail(failed(name));
            return;
        }
        made_.architecture = std::string(*name);
        const auto* family = std::find_if(std::begin(model_families), std::end(model_families),
                                          [&](const model_family& f) { return f.architecture == *name; });
        if (family == std::end(model_families)) {
            std::string known;
            for (const model_family& f : model_families) {
                known += sentence({known.empty() ? "" : ", ", f.architecture});
            }
            fail(errc::unsupported_architecture,
                 {"'general.architecture' is ", quoted_name(made_.architecture), what_is_not_run(made_.architecture),
                  "; with ternary weights ", known, " can be run"});
            return;
        }
        made_.activation = family->activation;
        made_.pairing = family->pairing;
        made_.has_sub_norms = family->has_sub_norms;
        made_.has_own_lm_head = !family->ties_head && file_.find_tensor("output.weight") != nullptr;
        scales_embedding_ = family->scales_embedding;
        may_have_biases_ = family->may_have_biases;
        has_scales_ = family->has_scales;
        const auto title = file_.get_or<std::string_view>("general.name", "");
        made_.model_name = title ? std::string(*title) : std::string();
    }

    void read_sizes() {
        made_.layers = size("block_count", most_layers);
        made_.hidden = size("embedding_length", most_columns);
        made_.feed_forward = size("feed_forward_length", most_feed_forward);
        made_.context = size("context_length", most_context);
        read_vocabulary();
    }

    /// The vocabulary is what the embedding has rows for; vocab_size and the token list, if present, must agree.
    void read_vocabulary() {
        const auto* embedding = file_.find_tensor("token_embd.weight");
        if (embedding == nullptr) {
            fail(errc::missing_tensor, {"there is no tensor 'token_embd.weight'"});
            return;
        }
        const std::uint64_t rows = embedding->dims[1];
        if (rows > most_vocabulary) {
            fail(errc::out_of_range,
                 {"'token_embd.weight' has ", rows, " rows, up to ", most_vocabulary, " are possible"});
            return;
        }
        made_.vocabulary = to_size(rows);
        const std::size_t said = size_or("vocab_size", most_vocabulary, made_.vocabulary);
        if (said != made_.vocabulary) {
            fail(errc::inconsistent,
                 {"'", key("vocab_size"), "' is ", said, ", 'token_embd.weight' has ", rows, " rows"});
        }
    }

    void read_activation() {
        const std::string name = key("hidden_activation");
        if (file_.find(name) == nullptr) {
            if (made_.architecture == "bitnet") {
                infer_activation(name);
            }
            return;
        }
        const auto said = file_.get<std::string_view>(name);
        const auto function = said ? activation_called(*said) : std::nullopt;
        if (!said) {
            fail(failed(said));
        } else if (!function) {
            fail(errc::unsupported_architecture,
                 {"'", name, "' is ", quoted{*said}, "; relu2, silu and gelu can be run"});
        } else {
            made_.activation = *function;
        }
    }

    /// Architecture bitnet is SiLU in 1bitLLM's models, whose tokenizer is SentencePiece, and ReLU² where a converter
    /// made it of 2B-4T, whose tokenizer is a byte-level BPE of 128256 tokens.
    void infer_activation(const std::string& missing) {
        constexpr std::size_t tokens_of_2b_4t = 128256;
        const auto model = file_.get_or<std::string_view>("tokenizer.ggml.model", "");
        if (!model) {
            return fail(failed(model));
        }
        const bool is_2b_4t = *model == "gpt2" || (model->empty() && made_.vocabulary == tokens_of_2b_4t);
        made_.activation = is_2b_4t ? activation_function::relu2 : activation_function::silu;
        made_.notes.push_back(
            sentence({"'", missing, "' is missing: ", name_of(made_.activation), " is taken, because the vocabulary ",
                      *model == "gpt2"    ? "is a byte-level BPE, as that of 2B-4T"
                      : *model == "llama" ? "is SentencePiece, as those of the large and the 3B model"
                      : is_2b_4t          ? "has 128256 tokens, as that of 2B-4T"
                                          : "is not that of 2B-4T"}));
    }

    void read_heads() {
        made_.heads = size("attention.head_count", most_heads);
        made_.kv_heads = size_or("attention.head_count_kv", most_heads, made_.heads);
        if (made_.heads % made_.kv_heads != 0) {
            fail(errc::inconsistent, {"'", key("attention.head_count"), "' is ", made_.heads, ", not a multiple of '",
                                      key("attention.head_count_kv"), "', ", made_.kv_heads});
        }
        made_.head_size = size_or("attention.key_length", largest_head_size, made_.hidden / made_.heads);
        if (file_.find(key("attention.key_length")) == nullptr && made_.hidden % made_.heads != 0) {
            fail(errc::inconsistent, {"'", key("embedding_length"), "' is ", made_.hidden, ", not a multiple of '",
                                      key("attention.head_count"), "', ", made_.heads});
        }
        same_as_head_size("attention.value_length");
        same_as_head_size("rope.dimension_count");
        if (made_.head_size == 0 || made_.head_size % 2 != 0 || made_.head_size > largest_head_size) {
            fail(errc::out_of_range, {"the head size is ", made_.head_size, ", an even number from 2 to ",
                                      largest_head_size, " is needed"});
        }
    }

    void same_as_head_size(std::string_view suffix) {
        const std::size_t value = size_or(suffix, largest_head_size, made_.head_size);
        if (value != made_.head_size) {
            fail(errc::inconsistent, {"'", key(suffix), "' is ", value, ", the head size is ", made_.head_size});
        }
    }

    void read_constants() {
        made_.rms_epsilon = positive("attention.layer_norm_rms_epsilon", 0.0f, 1.0f);
        made_.rope_theta =
            file_.find(key("rope.freq_base")) != nullptr ? positive("rope.freq_base", 1.0f, 1e30f) : 10000.0f;
    }

    /// Files of minicpm before these keys mean the numbers of MiniCPM 1B and 2B. Source: llama.cpp's converter.
    void read_scales() {
        const auto hidden = static_cast<float>(made_.hidden);
        if (has_scales_) {
            const float root = exact_square_root(static_cast<float>(made_.layers));
            made_.embedding_scale = scale_or("embedding_scale", 12.0f);
            made_.residual_scale = scale_or("residual_scale", exact_quotient(1.4f, root));
            made_.logit_scale = scale_or("logit_scale", exact_quotient(hidden, 256.0f));
            return;
        }
        made_.embedding_scale = scales_embedding_ ? exact_square_root(hidden) : 1.0f;
        only("embedding_scale", static_cast<double>(made_.embedding_scale), scales_embedding_ ? 0.0 : 1.0);
        only("residual_scale", 0.0, 1.0);
        only("logit_scale", 0.0, 1.0);
    }
    [[nodiscard]] float scale_or(std::string_view suffix, float usual) {
        if (file_.find(key(suffix)) != nullptr) {
            return positive(suffix, 1e-6f, 1e6f);
        }
        made_.notes.push_back(sentence({"'", key(suffix), "' is missing: ", std::to_string(usual),
                                        " is taken, as files mean that were written before it"}));
        return usual;
    }

    /// How the rotation is scaled: not, linearly, by YaRN or by longrope, and the divisors that converters make of
    /// "llama3" scaling. Source: llama.cpp's llama-model.cpp.
    void read_rotation() {
        read_pairing();
        const bool has_factor = file_.find(key("rope.scaling.factor")) != nullptr;
        const bool has_old_factor = file_.find(key("rope.scale_linear")) != nullptr;
        const std::string factor_key = key(has_old_factor && !has_factor ? "rope.scale_linear" : "rope.scaling.factor");
        const auto type =
            file_.get_or<std::string_view>(key("rope.scaling.type"), has_factor || has_old_factor ? "linear" : "none");
        if (!type) {
            fail(failed(type));
        } else if (*type == "linear") {
            made_.rope_factor = at_least_one(factor_key, file_.get<float>(factor_key));
            if (has_factor && has_old_factor) {
                only("rope.scale_linear", static_cast<double>(made_.rope_factor));
            }
        } else if (*type == "yarn") {
            return read_yarn();
        } else if (*type == "longrope") {
            return read_longrope();
        } else if (*type != "none") {
            fail(errc::unsupported_architecture, {"'", key("rope.scaling.type"), "' is ", quoted_name(*type),
                                                  "; none, linear, yarn and longrope can be run"});
        } else if (const auto unused = file_.get_or<float>(factor_key, 1.0f);
                   !unused || (!is_near(*unused, 1.0) && !is_near(*unused, 0.0))) {
            made_.notes.push_back(
                sentence({"'", factor_key, "' is not used, because '", key("rope.scaling.type"), "' is none"}));
        }
        only("rope.scaling.attn_factor", 1.0);
        only("rope.scaling.yarn_ext_factor", 0.0, -1.0);
        read_divisors();
    }

    void read_yarn() {
        const std::string factor = key("rope.scaling.factor");
        made_.rope_original_context = size_or("rope.scaling.original_context_length", most_context, made_.context);
        const yarn_scaling yarn{static_cast<double>(at_least_one(factor, file_.get<float>(factor))),
                                static_cast<double>(made_.rope_original_context), turns_or("yarn_beta_fast", 32.0f),
                                turns_or("yarn_beta_slow", 1.0f)};
        only("rope.scale_linear", 1.0, yarn.factor);
        only("rope.scaling.yarn_ext_factor", 1.0, -1.0);
        refuse_divisors("yarn");
        if (failure_.code == errc{}) {
            made_.rope_divisors = yarn.divisors(static_cast<double>(made_.rope_theta), made_.head_size);
            made_.rope_magnitude =
                static_cast<float>(yarn.magnitude() * static_cast<double>(attention_factor_or(1.0f)));
        }
    }
    [[nodiscard]] double turns_or(std::string_view name, float usual) {
        const std::string suffix = sentence({"rope.scaling.", name});
        constexpr auto least = static_cast<float>(yarn_scaling::least_turns);
        constexpr auto most = static_cast<float>(yarn_scaling::most_turns);
        return static_cast<double>(file_.find(key(suffix)) != nullptr ? positive(suffix, least, most) : usual);
    }
    [[nodiscard]] float attention_factor_or(float usual) {
        constexpr std::string_view suffix = "rope.scaling.attn_factor";
        return file_.find(key(suffix)) != nullptr ? positive(suffix, 0x1p-12f, 0x1p+12f) : usual;
    }

    /// The factors of all pairs, long and short, are tensors.
    void read_longrope() {
        made_.rope_original_context = size_or("rope.scaling.original_context_length", most_context, made_.context);
        for (const char* suffix : {"rope.scaling.factor", "rope.scale_linear"}) {
            only(suffix, 1.0, 0.0);
        }
        only("rope.scaling.yarn_ext_factor", 0.0, -1.0);
        refuse_divisors("longrope");
        made_.rope_divisors = divisors_in("rope_factors_short.weight", rotary_scaling::least_divisor);
        made_.rope_long_divisors = divisors_in("rope_factors_long.weight", rotary_scaling::least_divisor);
        const float usual =
            longrope_magnitude(static_cast<double>(made_.context), static_cast<double>(made_.rope_original_context));
        made_.rope_magnitude = attention_factor_or(usual);
        if (usual != 1.0f && file_.find(key("rope.scaling.attn_factor")) == nullptr) {
            made_.notes.push_back(sentence({"'", key("rope.scaling.attn_factor"), "' is missing: ",
                                            std::to_string(usual), " is taken, which follows from the two contexts"}));
        }
    }

    void refuse_divisors(std::string_view scaling) {
        if (file_.find_tensor("rope_freqs.weight") != nullptr) {
            fail(errc::inconsistent, {"tensor 'rope_freqs.weight': in the file, but '", key("rope.scaling.type"),
                                      "' is ", scaling, ", which scales the rotation in its own way"});
        }
    }

    /// A checkpoint from Hugging Face keeps the order of the rows that the converter of llama files permutes, and has a
    /// key for it.
    void read_pairing() {
        const bool is_said = file_.find("bitnet_hpp.rotary") != nullptr;
        const auto pairing = file_.get_or<std::string_view>("bitnet_hpp.rotary", "halves");
        if (!pairing) {
            fail(failed(pairing));
        } else if (*pairing != "halves") {
            fail(errc::out_of_range, {"'bitnet_hpp.rotary' is ", quoted_name(*pairing), ", only halves is possible"});
        } else if (is_said) {
            made_.keeps_row_order = made_.pairing == rotary_pairing::interleaved;
            made_.pairing = rotary_pairing::halves;
        }
    }

    void read_divisors() {
        if (file_.find_tensor("rope_freqs.weight") != nullptr) {
            made_.rope_divisors = divisors_in("rope_freqs.weight", 1.0);
        }
    }

    /// A number for each pair, `least` to rotary_scaling::most.
    [[nodiscard]] std::vector<double> divisors_in(std::string_view name, double least) {
        const auto* tensor = file_.find_tensor(name);
        if (failure_.code != errc{}) {
            return {};
        }
        if (tensor == nullptr) {
            fail(errc::missing_tensor, {"tensor '", name, "': not in the file"});
            return {};
        }
        if (tensor->type != tensor_type::f32 || tensor->dims != tensor_dims{made_.head_size / 2, 1, 1, 1}) {
            fail(errc::wrong_shape, {"tensor '", name, "': ", name_of(tensor->type), " ", dims_text(*tensor),
                                     " in the file, F32 [", made_.head_size / 2, "] expected"});
            return {};
        }
        std::vector<double> divisors(made_.head_size / 2);
        for (std::size_t j = 0; j < divisors.size(); ++j) {
            float divisor = 0;
            std::memcpy(&divisor, tensor->bytes.data() + j * sizeof divisor, sizeof divisor);
            divisors[j] = static_cast<double>(at_least(static_cast<float>(least), std::string(name), divisor));
        }
        return divisors;
    }

    [[nodiscard]] float at_least_one(const std::string& place, const result<float>& value) {
        return at_least(1.0f, place, value);
    }
    /// `value` if it is `least` to rotary_scaling::most; 1 after a failure. \pre least > 0
    [[nodiscard]] float at_least(float least, const std::string& place, const result<float>& value) {
        if (!value) {
            fail(failed(value));
            return 1.0f;
        }
        const auto bits = std::bit_cast<std::uint32_t>(*value); // positive floats order as their bits
        if (bits < std::bit_cast<std::uint32_t>(least) || bits > std::bit_cast<std::uint32_t>(rotary_scaling::most)) {
            fail(errc::out_of_range,
                 {"'", place, "' is ", text_of(*value), ", ", least == 1.0f ? "1" : std::to_string(least), " to ",
                  std::to_string(rotary_scaling::most), " are possible"});
            return 1.0f;
        }
        return *value;
    }

    /// A text embedding model: it has a key for pooling, or the norms before each projection that only BitNet's
    /// embedding models have. Both published ones have `mean`, and their card's vector comes out of it.
    void read_pooling() {
        const bool has_input_norms = file_.find_tensor("blk.0.attn_q_norm_in.weight") != nullptr;
        const auto said = file_.get_or<std::uint64_t>(key("pooling_type"), 0);
        if (!said) {
            return fail(failed(said));
        }
        constexpr std::array<std::string_view, 5> names{"none", "mean", "cls", "last", "rank"};
        made_.is_embedder = has_input_norms || *said != 0;
        made_.pooling = static_cast<pooling_type>(*said);
        if (*said == 0 && has_input_norms) {
            made_.pooling = pooling_type::mean;
        } else if (*said == 2 || *said > 3) {
            fail(errc::unsupported_architecture,
                 {"'", key("pooling_type"), "' is ", *said, " (",
                  *said < names.size() ? names[to_size(*said)] : "unknown", "); 1 (mean) and 3 (last) can be run"});
        }
    }

    /// Keys that would change the graph.
    void refuse_variants() {
        limit_local_attention();
        const auto causal = file_.get_or<bool>(key("attention.causal"), true);
        if (!causal) {
            fail(failed(causal));
        } else if (!*causal) {
            fail(errc::unsupported_architecture,
                 {"'", key("attention.causal"), "' is false; only causal attention can be run"});
        }
        for (const neutral_value& each : neutral_values) {
            only(each.key, each.value, each.other);
        }
        const auto size = static_cast<double>(made_.head_size);
        only("attention.scale", 1.0 / std::sqrt(size), 0.0);
        only("attention.query_pre_attn_scalar", size);
        only("embedding_length_out", static_cast<double>(made_.hidden), 0.0);
    }

    /// Local attention equals attention to all positions where the window holds the whole context: the context ends
    /// with it. But in Gemma its layers rotate in their own way.
    void limit_local_attention() {
        const auto window = file_.get_or<std::uint64_t>(key("attention.sliding_window"), 0);
        if (!window) {
            return fail(failed(window));
        }
        if (*window != 0 && *window < made_.context) {
            made_.notes.push_back(sentence({"the context ends at ", *window, " of its ", made_.context,
                                            " positions, where local attention would begin"}));
            made_.context = to_size(*window);
        }
        const auto size = static_cast<double>(made_.head_size);
        for (const char* suffix :
             {"attention.key_length_swa", "attention.value_length_swa", "rope.dimension_count_swa"}) {
            only(suffix, size, 0.0);
        }
        only("rope.freq_base_swa", static_cast<double>(made_.rope_theta));
        if (made_.architecture == "gemma3" && *window != 0) {
            refuse_second_rotation();
        }
    }

    /// Without a key of their own, Gemma's local layers turn with theta 10000, and never scaled.
    void refuse_second_rotation() {
        const bool is_same = file_.find(key("rope.freq_base_swa")) != nullptr || made_.rope_theta == 10000.0f;
        if (!is_same || made_.rope_factor != 1.0f || !made_.rope_divisors.empty()) {
            fail(errc::unsupported_architecture,
                 {"local attention rotates with theta ", is_same ? text_of(made_.rope_theta) : "10000",
                  ", attention to all positions with theta ", text_of(made_.rope_theta), " and a factor of ",
                  text_of(made_.rope_factor), "; only one rotation for all layers can be run"});
        }
    }

    /// Refuses any number but `value` and `other`, give or take two roundings to float, in each element if the key
    /// holds an array.
    void only(std::string_view suffix, double value, double other) {
        const gguf_value* found = file_.find(key(suffix));
        for (std::uint64_t i = 0; found != nullptr && i < found->count; ++i) {
            const auto said = number_in(*found, i);
            if (!said) {
                return fail(errc::wrong_type,
                            {"'", found->key, "' is of type ", name_of(found->element_type), ", a number is needed"});
            }
            if (!is_near(*said, value) && !is_near(*said, other)) {
                return fail(errc::unsupported_architecture, {"'", found->key, "' is ", std::to_string(*said), "; only ",
                                                             std::to_string(value), " can be run"});
            }
        }
    }
    void only(std::string_view suffix, double value) { only(suffix, value, value); }

    /// Compared as bits: a NaN is far away from any number.
    [[nodiscard]] static bool is_near(double a, double b) noexcept {
        const auto bits = [](double x) { return std::int64_t{std::bit_cast<std::int32_t>(static_cast<float>(x))}; };
        const std::int64_t apart = bits(a) - bits(b);
        return apart >= -2 && apart <= 2;
    }

    /// Element `i` of a number, a bool or an array of such; nullopt for strings.
    [[nodiscard]] static std::optional<double> number_in(const gguf_value& value, std::uint64_t i) noexcept {
        switch (value.element_type) {
        case gguf_type::boolean:
            return value.element<bool>(i) ? 1.0 : 0.0;
        case gguf_type::u8:
            return value.element<std::uint8_t>(i);
        case gguf_type::i8:
            return value.element<std::int8_t>(i);
        case gguf_type::u16:
            return value.element<std::uint16_t>(i);
        case gguf_type::i16:
            return value.element<std::int16_t>(i);
        case gguf_type::u32:
            return value.element<std::uint32_t>(i);
        case gguf_type::i32:
            return value.element<std::int32_t>(i);
        case gguf_type::u64:
            return static_cast<double>(value.element<std::uint64_t>(i));
        case gguf_type::i64:
            return static_cast<double>(value.element<std::int64_t>(i));
        case gguf_type::f32:
            return static_cast<double>(value.element<float>(i));
        case gguf_type::f64:
            return value.element<double>(i);
        default:
            return std::nullopt;
        }
    }

    /// Keys that nothing reads are named, lest one of them mattered.
    void look_at_other_keys() {
        std::vector<std::string_view> unread;
        for (const gguf_value& entry : file_.metadata()) {
            if (!is_known_key(entry.key, made_.architecture, made_.rope_original_context != 0)) {
                unread.push_back(entry.key);
            }
        }
        if (!unread.empty()) {
            made_.notes.push_back(sentence({"metadata keys that are not read: ", listed(unread)}));
        }
    }

    void look_at_tensors() {
        const gguf_tensor* first = file_.find_tensor("blk.0.attn_q.weight");
        const bool is_lookup = first != nullptr && (first->type == tensor_type::tl1 || first->type == tensor_type::tl2);
        std::vector<std::string_view> left_out;
        for (const gguf_tensor& tensor : file_.tensors()) {
            const std::string_view in_layer = name_in_layer(tensor.name, made_.layers);
            const auto place = in_layer.empty() ? place_outside(tensor.name, !made_.rope_long_divisors.empty())
                                                : place_in_layer(in_layer, is_lookup, may_have_biases_);
            if (place == tensor_place::foreign) {
                return fail(errc::unsupported_architecture,
                            {"tensor ", quoted{tensor.name}, ": in the file, but the graph of ", made_.architecture,
                             " has no place for it (", made_.layers, " layers)"});
            }
            made_.has_qkv_biases = made_.has_qkv_biases || is_qkv_bias(in_layer);
            if (place == tensor_place::without_effect) {
                left_out.push_back(tensor.name);
            }
        }
        if (!left_out.empty()) {
            made_.notes.push_back(sentence({"tensors that the graph does not use: ", listed(left_out)}));
        }
    }

    /// A finite number above `above` and up to `most`. Compared as bits: -ffast-math compiles isfinite() away.
    [[nodiscard]] float positive(std::string_view suffix, float above, float most) {
        const auto value = file_.get<float>(key(suffix));
        if (!value) {
            fail(failed(value));
            return 1.0f;
        }
        const auto bits = std::bit_cast<std::uint32_t>(*value); // positive floats order as their bits
        if (bits <= std::bit_cast<std::uint32_t>(above) || bits > std::bit_cast<std::uint32_t>(most)) {
            fail(errc::out_of_range, {"'", key(suffix), "' is ", text_of(*value), ", it must be above ",
                                      std::to_string(above), " and at most ", std::to_string(most)});
            return 1.0f;
        }
        return *value;
    }

    [[nodiscard]] static std::string text_of(float value) {
        const bool finite = (std::bit_cast<std::uint32_t>(value) & 0x7f800000u) != 0x7f800000u;
        return finite ? std::to_string(value) : "not finite";
    }

    const gguf_file& file_;
    hyper_parameters made_;
    bool scales_embedding_ = false;
    bool may_have_biases_ = false;
    bool has_scales_ = false;
    error failure_;
};

} // namespace detail

inline result<hyper_parameters> hyper_parameters::read(const gguf_file& file) {
    return detail::guarded([&] { return detail::hyper_parameter_reader(file).run(); });
}

} // namespace bitnet::inline BITNET_ABI

#endif
