// SPDX-License-Identifier: MIT
// Writes complete BitNet models with random ternary weights, of any shape, the same bytes for the same seed everywhere.
#pragma once

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/half.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/io/gguf_writer.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

BITNET_PRECISE_BEGIN
namespace bitnet_tests {

/// Every random number is splitmix64 of a counter, no state and no library:
///     word(t, i) = mix(seed * 0x9E3779B97F4A7C15 + (t << 40) + i) mod 2^64, t the tensor's index in the file.
[[nodiscard]] inline std::uint64_t random_word(std::uint64_t seed, std::uint64_t tensor, std::uint64_t i) noexcept {
    constexpr std::uint64_t golden = 0x9E3779B97F4A7C15u;
    std::uint64_t z = seed * golden + (tensor << 40) + i + golden;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/// The data of one tensor, made on demand.
///   ternary: byte b of the codes is byte b % 8 of word(t, b / 8), its four fields mapped 0 1 2 3 -> 0 1 1 2, so that
///            -1, 0, +1 come with 25, 50, 25 %; then the scale.
///   others:  element i is made from g = the sum of the four 16-bit halves of word(t, i), less 131070, over 37837.2:
///            Irwin-Hall of order 4, mean 0, standard deviation 1. Embeddings are F16 of g * scale, norms F32 or F16
///            of 1 + 0.1 * g, biases F32 of g * scale; a constant is F32 of scale; divisors are F32, 1 for the first
///            half, then rising to scale.
///   blocks:  an embedding in Q8_0, Q6_K, Q4_K or Q4_0: byte b is byte b % 8 of word(t, b / 8), but the halves of every
///            block are such that the values have a standard deviation near scale.
///   scaled:  PQ2_0: block b of 128 columns has the scale `scale` * (0.75 + h / 2^17), h being the low half of word(t,
///   b)
///            of the tensor after the last one, and codes as in ternary.
struct random_tensor {
    enum class kind { ternary, scaled, embedding, blocks, norm, half_norm, bias, constant, divisors };

    std::string name;
    kind what = kind::norm;
    std::vector<std::uint64_t> dims;
    float scale = 0;
    std::uint64_t seed = 0;
    std::uint64_t index = 0;
    std::uint64_t code_bytes = 0;
    std::vector<bitnet::half> halves; ///< embedding values by the sum of the halves
    bitnet::tensor_type block_type = bitnet::tensor_type::q8_0;

    static constexpr std::size_t sums = 4 * 65535 + 1;
    [[nodiscard]] static float normal(std::size_t sum) noexcept {
        return static_cast<float>((static_cast<double>(sum) - 131070.0) / 37837.2);
    }
    [[nodiscard]] std::size_t sum_of(std::uint64_t i) const noexcept {
        const std::uint64_t word = random_word(seed, index, i);
        return static_cast<std::size_t>((word & 0xffff) + ((word >> 16) & 0xffff) + ((word >> 32) & 0xffff) +
                                        (word >> 48));
    }

    [[nodiscard]] bitnet::tensor_type type() const noexcept {
        switch (what) {
        case kind::ternary:
            return bitnet::tensor_type::i2_s;
        case kind::scaled:
            return bitnet::tensor_type::pq2_0;
        case kind::embedding:
        case kind::half_norm:
            return bitnet::tensor_type::f16;
        case kind::blocks:
            return block_type;
        default:
            return bitnet::tensor_type::f32;
        }
    }

    [[nodiscard]] bool is_half() const noexcept { return type() == bitnet::tensor_type::f16; }

    [[nodiscard]] static float near_one(std::size_t sum) noexcept {
        // Through memory: clang 14 under -ffast-math fuses a product and a sum even where a pragma forbids it.
        const volatile float tenth = 0.1f * normal(sum);
        return 1.0f + tenth;
    }

    /// 1, ..., 1, then in equal steps up to scale.
    [[nodiscard]] float divisor(std::uint64_t i) const noexcept {
        const std::uint64_t half_size = dims[0] / 2;
        return i < half_size ? 1.0f
                             : 1.0f + (scale - 1.0f) * static_cast<float>(i + 1 - half_size) /
                                          static_cast<float>(dims[0] - half_size);
    }

    /// What does not depend on the offset.
    void prepare() {
        std::uint64_t elements = 1;
        for (const std::uint64_t dim : dims) {
            elements *= dim;
        }
        code_bytes = elements / 4;
        if (is_half()) {
            halves.resize(sums);
            for (std::size_t sum = 0; sum < sums; ++sum) {
                halves[sum] =
                    bitnet::detail::narrow<bitnet::half>(what == kind::embedding ? normal(sum) * scale : near_one(sum));
            }
        }
    }

    void fill_codes(std::uint64_t offset, std::span<std::byte> out) const noexcept {
        for (std::size_t i = 0; i < out.size();) {
            const std::uint64_t at = offset + i;
            std::uint64_t word = random_word(seed, index, at / 8);
            // Field by field 0 1 2 3 -> 0 1 1 2: the high bit stays where both are set, the low bit where they differ.
            const std::uint64_t high = (word >> 1) & 0x5555555555555555u;
            const std::uint64_t low = word & 0x5555555555555555u;
            word = ((high & low) << 1) | (high ^ low);
            const std::size_t first = at % 8;
            const std::size_t count = std::min<std::size_t>(8 - first, out.size() - i);
            word >>= 8 * first;
            std::memcpy(out.data() + i, &word, count);
            i += count;
        }
    }

    void fill_ternary(std::uint64_t offset, std::span<std::byte> out) const noexcept {
        const auto codes = static_cast<std::size_t>(
            std::min<std::uint64_t>(out.size(), offset < code_bytes ? code_bytes - offset : 0));
        fill_codes(offset, out.first(codes));
        std::array<std::byte, 32> tail{};
        std::memcpy(tail.data(), &scale, sizeof(scale));
        const auto from = static_cast<std::size_t>(offset + codes - code_bytes);
        for (std::size_t i = codes; i < out.size(); ++i) {
            out[i] = tail[from + i - codes];
        }
    }

    /// Blocks of 34 bytes: the scale, then the codes.
    void fill_scaled(std::uint64_t offset, std::span<std::byte> out) const noexcept {
        constexpr std::uint64_t block_bytes = 34;
        constexpr std::uint64_t scales = std::uint64_t{1} << 20; // of another tensor than any of the file
        for (std::size_t i = 0; i < out.size();) {
            const std::uint64_t block = (offset + i) / block_bytes;
            const auto first = static_cast<std::size_t>((offset + i) % block_bytes);
            const std::size_t count = std::min<std::size_t>(block_bytes - first, out.size() - i);
            std::array<std::byte, block_bytes> bytes;
            const auto part = static_cast<float>(random_word(seed, index + scales, block) & 0xffffu) * 0x1p-17f;
            const volatile float factor = 0.75f + part; // through memory, as in near_one
            const auto half_scale = bitnet::detail::narrow<bitnet::half>(scale * factor);
            std::memcpy(bytes.data(), &half_scale, sizeof half_scale);
            fill_codes(32 * block, std::span(bytes).subspan(2));
            std::copy_n(bytes.data() + first, count, out.data() + i);
            i += count;
        }
    }

    /// The halves of a block: those from `at` on, each `factor`.
    struct block_halves {
        std::uint64_t block_bytes;
        std::uint64_t at;
        std::uint64_t bytes;
        bitnet::half factor;
    };
    /// Uniform bytes have a standard deviation of 73.9, six bits one of 18.5, four bits one of 4.6, and a product of
    /// six and four bits less another six bits, as in Q4_K, one of 219.
    [[nodiscard]] block_halves halves_of_blocks() const noexcept {
        const auto with = [this](float deviation) { return bitnet::detail::narrow<bitnet::half>(scale / deviation); };
        switch (block_type) {
        case bitnet::tensor_type::q8_0:
            return {34, 0, 2, with(73.9f)};
        case bitnet::tensor_type::q4_0:
            return {18, 0, 2, with(4.6f)};
        case bitnet::tensor_type::q4_k:
            return {144, 0, 4, with(219.0f)};
        default:
            return {210, 208, 2, with(73.9f * 18.5f)};
        }
    }
    void fill_blocks(std::uint64_t offset, std::span<std::byte> out) const noexcept {
        const block_halves halves_at = halves_of_blocks();
        for (std::size_t i = 0; i < out.size(); ++i) {
            const std::uint64_t at = offset + i;
            const std::uint64_t after = at % halves_at.block_bytes - halves_at.at;
            const std::uint64_t word = after < halves_at.bytes ? halves_at.factor.bits >> (8 * (after % 2))
                                                               : random_word(seed, index, at / 8) >> (8 * (at % 8));
            out[i] = static_cast<std::byte>(word & 0xffu);
        }
    }

    /// \pre offset and out.size() are multiples of the element's size
    void fill(std::uint64_t offset, std::span<std::byte> out) const noexcept {
        if (what == kind::ternary) {
            return fill_ternary(offset, out);
        }
        if (what == kind::scaled) {
            return fill_scaled(offset, out);
        }
        if (what == kind::blocks) {
            return fill_blocks(offset, out);
        }
        const std::size_t size = is_half() ? sizeof(bitnet::half) : sizeof(float);
        for (std::size_t i = 0; i < out.size(); i += size) {
            const std::uint64_t at = (offset + i) / size;
            if (is_half()) {
                std::memcpy(out.data() + i, &halves[sum_of(at)], size);
                continue;
            }
            const float number = what == kind::norm       ? near_one(sum_of(at))
                                 : what == kind::bias     ? normal(sum_of(at)) * scale
                                 : what == kind::divisors ? divisor(at)
                                                          : scale;
            std::memcpy(out.data() + i, &number, size);
        }
    }

    static bool generate(void* context, std::uint64_t offset, std::span<std::byte> out) {
        static_cast<const random_tensor*>(context)->fill(offset, out);
        return true;
    }
};

/// Tokens as a byte-level GGUF spells them.
struct token_list {
    std::vector<std::string> tokens; ///< plain ones, then specials
    std::vector<std::string> merges; ///< "left right"
    std::size_t plain = 0;
};

/// The 256 byte tokens in GPT-2's order: printable bytes as themselves, then the others as U+0100 and on.
[[nodiscard]] inline std::vector<std::string> byte_tokens() {
    const auto spell = [](unsigned code_point) {
        if (code_point < 0x80) {
            return std::string(1, static_cast<char>(code_point));
        }
        return std::string{static_cast<char>(0xc0u | (code_point >> 6)), static_cast<char>(0x80u | (code_point & 63u))};
    };
    const auto printable = [](unsigned b) {
        return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255);
    };
    std::vector<std::string> spelled;
    for (unsigned b = 0; b < 256; ++b) {
        if (printable(b)) {
            spelled.push_back(spell(b));
        }
    }
    for (unsigned next = 256; spelled.size() < 256; ++next) {
        spelled.push_back(spell(next));
    }
    return spelled;
}

/// Adds `count` special tokens in LLaMA-3's order: <|begin_of_text|> first, <|eot_id|> tenth.
inline void add_specials(token_list& list, std::size_t count) {
    const auto reserved = [](std::size_t n) { return "<|reserved_special_token_" + std::to_string(n) + "|>"; };
    list.plain = list.tokens.size();
    const std::array<std::string, 10> first{
        "<|begin_of_text|>", "<|end_of_text|>",     reserved(0),         reserved(1), reserved(2),
        reserved(3),         "<|start_header_id|>", "<|end_header_id|>", reserved(4), "<|eot_id|>"};
    for (std::size_t i = 0; i < count; ++i) {
        list.tokens.push_back(i < first.size() ? first[i] : reserved(i - 5));
    }
}

/// 256 bytes, ten merges, 32 specials, or another number of them.
[[nodiscard]] inline token_list tiny_tokens(std::size_t specials = 32) {
    token_list list{byte_tokens(), {}, 0};
    const std::string space = "\xc4\xa0"; // U+0120, a space in GPT-2's spelling
    const std::array<std::array<std::string, 2>, 10> merges{{{"t", "h"},
                                                             {"h", "e"},
                                                             {"i", "n"},
                                                             {"e", "r"},
                                                             {"a", "n"},
                                                             {space, "t"},
                                                             {"th", "e"},
                                                             {space, "a"},
                                                             {"in", "g"},
                                                             {space + "t", "he"}}};
    for (const auto& [left, right] : merges) {
        list.tokens.push_back(left + right);
        list.merges.push_back(left + " " + right);
    }
    add_specials(list, specials);
    return list;
}

/// The hyper-parameters of a model. The default is as small as a complete one can be: its layout A rows are one block.
struct model_shape {
    std::string architecture =
        "bitnet-b1.58"; ///< one of bitnet::detail::model_families; those of BitNet have sub-norms
    std::uint32_t layers = 1;
    std::uint32_t hidden = 128;
    std::uint32_t ffn = 128;
    std::uint32_t heads = 2;
    std::uint32_t kv_heads = 1;
    std::uint32_t head_dim = 64;
    std::uint32_t context = 64;
    float theta = 500000.0f;
    float epsilon = 1e-5f;
    std::uint64_t seed = 1;
    bool names_pre_tokenizer = true; ///< the official 2B-4T file lacks tokenizer.ggml.pre
    bool scale_tensors = false;      ///< blk.N.<t>.scale [1] F32 beside every ternary tensor, as old bitnet files have
    std::uint32_t alignment = 32;
    bitnet::tensor_type embedding = bitnet::tensor_type::f16; ///< or Q8_0, Q6_K, Q4_K, Q4_0
    bool own_head = false;                                    ///< output.weight, F16
    bool scaled_blocks = false;                               ///< all matrices are PQ2_0, embedding and head, too
    bool head_norms = false;                                  ///< attn_q_norm and attn_k_norm
    bool input_norms = false; ///< seven *_norm_in in F16, one before each ternary matrix
    bool biases = false;      ///< attn_q.bias, attn_k.bias and attn_v.bias
    bool post_norms = false;  ///< post_attention_norm and post_ffw_norm
    float rope_divisor = 0;   ///< rope_freqs.weight rises to this
    float rope_factor = 0;    ///< linear rope scaling
    float yarn_factor = 0;    ///< YaRN, of original_context
    float long_factor = 0;    ///< longrope: rope_factors_long.weight rises to this, and the short one
    float short_factor = 0;   ///< to this, of original_context
    float attention_factor = 0;
    std::uint32_t original_context = 0;
    float embedding_scale = 0; ///< and the others of minicpm; 0: no such key
    float residual_scale = 0;
    float logit_scale = 0;
    std::string rotary;        ///< bitnet_hpp.rotary
    std::string activation;    ///< hidden_activation; empty: no such key
    std::uint32_t pooling = 0; ///< pooling_type; also adds eos to texts
};

/// A model that can be written: metadata as in the official 2B-4T file, tensors in the order of its list. Movable; the
/// memory it needs does not depend on the size of the tensors.
class random_model {
public:
    random_model(model_shape shape, token_list tokens)
        : shape_(std::move(shape)), writer_({3, shape_.alignment}), tokens_(std::move(tokens)) {
        add_metadata();
        add_tensors();
    }

    [[nodiscard]] const model_shape& shape() const noexcept { return shape_; }
    [[nodiscard]] const bitnet::gguf_writer& writer() const noexcept { return writer_; }

private:
    using kind = random_tensor::kind;

    void add(std::string_view key, std::uint32_t value) {
        writer_.add(shape_.architecture + "." + std::string(key), value);
    }
    void add(std::string_view key, float value) { writer_.add(shape_.architecture + "." + std::string(key), value); }

    void add_metadata() {
        writer_.add("general.architecture", shape_.architecture);
        writer_.add("general.name", "synth-bitnet");
        add("vocab_size", static_cast<std::uint32_t>(tokens_.tokens.size()));
        add("context_length", shape_.context);
        add("embedding_length", shape_.hidden);
        add("block_count", shape_.layers);
        add("feed_forward_length", shape_.ffn);
        add("rope.dimension_count", shape_.head_dim);
        add("attention.head_count", shape_.heads);
        add("attention.head_count_kv", shape_.kv_heads);
        if (shape_.heads * shape_.head_dim != shape_.hidden) {
            add("attention.key_length", shape_.head_dim);
            add("attention.value_length", shape_.head_dim);
        }
        writer_.add("tokenizer.ggml.add_bos_token", true);
        add("attention.layer_norm_rms_epsilon", shape_.epsilon);
        add("rope.freq_base", shape_.theta);
        if (shape_.rope_factor != 0) {
            writer_.add(shape_.architecture + ".rope.scaling.type", "linear");
            add("rope.scaling.factor", shape_.rope_factor);
        }
        add_context_extension();
        const std::pair<const char*, float> scales[] = {{"embedding_scale", shape_.embedding_scale},
                                                        {"residual_scale", shape_.residual_scale},
                                                        {"logit_scale", shape_.logit_scale}};
        for (const auto& [key, scale] : scales) {
            if (scale != 0) {
                add(key, scale);
            }
        }
        if (!shape_.activation.empty()) {
            writer_.add(shape_.architecture + ".hidden_activation", shape_.activation);
        }
        if (!shape_.rotary.empty()) {
            writer_.add("bitnet_hpp.rotary", shape_.rotary);
        }
        if (shape_.pooling != 0) {
            add("pooling_type", shape_.pooling);
            writer_.add("tokenizer.ggml.add_eos_token", true);
        }
        writer_.add("general.file_type", 40u);
        add_tokenizer();
        writer_.add("general.quantization_version", 2u);
    }

    void add_context_extension() {
        if (shape_.yarn_factor != 0) {
            writer_.add(shape_.architecture + ".rope.scaling.type", "yarn");
            add("rope.scaling.factor", shape_.yarn_factor);
        } else if (shape_.long_factor != 0) {
            writer_.add(shape_.architecture + ".rope.scaling.type", "longrope");
        }
        if (shape_.original_context != 0) {
            add("rope.scaling.original_context_length", shape_.original_context);
        }
        if (shape_.attention_factor != 0) {
            add("rope.scaling.attn_factor", shape_.attention_factor);
        }
    }

    void add_tokenizer() {
        const std::vector<float> scores(tokens_.tokens.size());
        std::vector<std::int32_t> types(tokens_.tokens.size(), 3); // control
        std::fill_n(types.begin(), tokens_.plain, 1);              // normal
        writer_.add("tokenizer.ggml.model", "gpt2");
        if (shape_.names_pre_tokenizer) {
            writer_.add("tokenizer.ggml.pre", "llama-bpe");
        }
        writer_.add_strings("tokenizer.ggml.tokens", tokens_.tokens);
        if (!shape_.scaled_blocks) { // Qwen's files have none
            writer_.add_array<float>("tokenizer.ggml.scores", scores);
        }
        writer_.add_array<std::int32_t>("tokenizer.ggml.token_type", types);
        writer_.add_strings("tokenizer.ggml.merges", tokens_.merges);
        writer_.add("tokenizer.ggml.bos_token_id", static_cast<std::uint32_t>(tokens_.plain));
        writer_.add("tokenizer.ggml.eos_token_id", static_cast<std::uint32_t>(tokens_.plain + 1));
        writer_.add("tokenizer.ggml.padding_token_id", static_cast<std::uint32_t>(tokens_.plain + 1));
        writer_.add("tokenizer.chat_template", "{% for message in messages %}{{ message['content'] }}{% endfor %}");
    }

    void add(std::string name, kind what, std::vector<std::uint64_t> dims, double scale) {
        tensors_.push_back({std::move(name),
                            what,
                            std::move(dims),
                            static_cast<float>(scale),
                            shape_.seed,
                            tensors_.size(),
                            0,
                            {},
                            shape_.embedding});
        random_tensor& tensor = tensors_.back();
        tensor.prepare();
        writer_.add_tensor(tensor.name, tensor.type(), tensor.dims,
                           bitnet::read_callback{&random_tensor::generate, &tensor});
    }

    /// `gain` / sqrt(columns / 2) keeps the variance of a product with -1, 0, +1 at 25, 50, 25 % near gain².
    void add_ternary(const std::string& block, const std::string& what, std::uint64_t columns, std::uint64_t rows,
                     double gain) {
        add(block + what + ".weight", shape_.scaled_blocks ? kind::scaled : kind::ternary, {columns, rows},
            gain / std::sqrt(0.5 * static_cast<double>(columns)));
        if (shape_.scale_tensors) {
            add(block + what + ".scale", kind::constant, {1}, 0.75);
        }
    }

    void add_tensors() {
        const std::uint64_t hidden = shape_.hidden;
        const std::uint64_t ffn = shape_.ffn;
        const std::uint64_t queries = std::uint64_t{shape_.heads} * shape_.head_dim;
        const std::uint64_t keys = std::uint64_t{shape_.kv_heads} * shape_.head_dim;
        const bool blocks = shape_.embedding != bitnet::tensor_type::f16;
        const kind of_head = shape_.scaled_blocks ? kind::scaled : kind::embedding;
        add("token_embd.weight", blocks ? kind::blocks : of_head, {hidden, tokens_.tokens.size()},
            1.5 / std::sqrt(static_cast<double>(hidden)));
        if (shape_.own_head) {
            add("output.weight", of_head, {hidden, tokens_.tokens.size()},
                1.5 / std::sqrt(static_cast<double>(hidden)));
        }
        if (shape_.rope_divisor != 0) {
            add("rope_freqs.weight", kind::divisors, {shape_.head_dim / 2}, shape_.rope_divisor);
        }
        if (shape_.long_factor != 0) {
            add("rope_factors_long.weight", kind::divisors, {shape_.head_dim / 2}, shape_.long_factor);
            add("rope_factors_short.weight", kind::divisors, {shape_.head_dim / 2}, shape_.short_factor);
        }
        const bool sub_norms = shape_.architecture.starts_with("bitnet");
        for (std::uint32_t layer = 0; layer < shape_.layers; ++layer) {
            const std::string block = "blk." + std::to_string(layer) + ".";
            add(block + "attn_norm.weight", kind::norm, {hidden}, 0);
            add_optional_norms(block);
            add_ternary(block, "attn_q", hidden, queries, 1.0);
            add_ternary(block, "attn_k", hidden, keys, 1.0);
            add_ternary(block, "attn_v", hidden, keys, 1.0);
            if (shape_.biases) {
                add(block + "attn_q.bias", kind::bias, {queries}, 0.5);
                add(block + "attn_k.bias", kind::bias, {keys}, 0.5);
                add(block + "attn_v.bias", kind::bias, {keys}, 0.5);
            }
            if (sub_norms) {
                add(block + "attn_sub_norm.weight", kind::norm, {queries}, 0);
            }
            add_ternary(block, "attn_output", queries, hidden, 0.3);
            add(block + "ffn_norm.weight", kind::norm, {hidden}, 0);
            add_ternary(block, "ffn_gate", hidden, ffn, 1.0);
            add_ternary(block, "ffn_up", hidden, ffn, 1.0);
            if (sub_norms) {
                add(block + "ffn_sub_norm.weight", kind::norm, {ffn}, 0);
            }
            add_ternary(block, "ffn_down", ffn, hidden, 0.3);
        }
        add("output_norm.weight", kind::norm, {hidden}, 0);
    }

    void add_optional_norms(const std::string& block) {
        if (shape_.head_norms) {
            add(block + "attn_q_norm.weight", kind::norm, {shape_.head_dim}, 0);
            add(block + "attn_k_norm.weight", kind::norm, {shape_.head_dim}, 0);
        }
        if (shape_.input_norms) {
            for (const char* what : {"attn_q", "attn_k", "attn_v", "ffn_gate", "ffn_up"}) {
                add(block + what + "_norm_in.weight", kind::half_norm, {shape_.hidden}, 0);
            }
            add(block + "attn_output_norm_in.weight", kind::half_norm, {std::uint64_t{shape_.heads} * shape_.head_dim},
                0);
            add(block + "ffn_down_norm_in.weight", kind::half_norm, {shape_.ffn}, 0);
        }
        if (shape_.post_norms) {
            add(block + "post_attention_norm.weight", kind::norm, {shape_.hidden}, 0);
            add(block + "post_ffw_norm.weight", kind::norm, {shape_.hidden}, 0);
        }
    }

    model_shape shape_;
    bitnet::gguf_writer writer_;
    token_list tokens_;
    std::deque<random_tensor> tensors_; // the writer keeps their addresses
};

/// The bytes of a tiny complete model, by default of the smallest shape.
[[nodiscard]] inline bitnet::result<bitnet::buffer<std::byte>> tiny_model(model_shape shape = {},
                                                                          token_list vocabulary = tiny_tokens()) {
    return random_model(std::move(shape), std::move(vocabulary)).writer().write_memory();
}

} // namespace bitnet_tests
BITNET_PRECISE_END
