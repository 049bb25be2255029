// SPDX-License-Identifier: MIT
// Synthetic models of real shapes, such as BitNet-b1.58-2B-4T, with random weights and a made-up vocabulary of their
// size.
#pragma once

#include "../golden/tiny_model_writer.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>

namespace bitnet_tests {

/// Adds a token and every merge of its first or last character with the rest that makes it, as far as both exist.
class token_inventor {
public:
    explicit token_inventor(std::size_t wanted) : wanted_(wanted) {
        list_.tokens = byte_tokens();
        known_.insert(list_.tokens.begin(), list_.tokens.end());
    }
    [[nodiscard]] bool full() const noexcept { return list_.tokens.size() >= wanted_; }

    /// `first` is a character and `rest` what follows it; both must make sense as tokens one by one.
    void add(const std::string& first, const std::string& rest) {
        const std::string token = first + rest;
        if (full() || !known_.insert(token).second) {
            return;
        }
        list_.tokens.push_back(token);
        const std::string head = token.substr(0, token.size() - 1);
        const std::string tail = token.substr(token.size() - 1);
        if (head != first && known_.contains(head)) {
            list_.merges.push_back(head + " " + tail);
        }
        list_.merges.push_back(first + " " + rest);
    }
    [[nodiscard]] token_list take() && { return std::move(list_); }

private:
    std::size_t wanted_;
    token_list list_;
    std::unordered_set<std::string> known_;
};

/// `size` tokens: 256 bytes, then two letters, three letters, the same after a space, and four letters, each made by
/// merges of earlier ones, and 256 specials in LLaMA-3's order at the end. 128,256 is LLaMA-3's size: its specials
/// begin at 128000. Nothing is taken from a real vocabulary.
/// \pre size >= 512
[[nodiscard]] inline token_list synthetic_tokens(std::size_t size) {
    constexpr std::string_view letters = "etaoinshrdlcumwfgypbvkjxqz";
    const std::string space = "\xc4\xa0"; // U+0120, a space in GPT-2's spelling
    constexpr std::size_t specials = 256;
    token_inventor inventor(size - specials);
    std::vector<std::string> shorter(letters.size());
    for (std::size_t i = 0; i < letters.size(); ++i) {
        shorter[i] = letters[i];
    }
    for (int length = 2; length <= 4 && !inventor.full(); ++length) {
        for (const std::string& rest : shorter) {
            inventor.add(space, rest);
        }
        std::vector<std::string> longer;
        for (const char first : letters) {
            for (const std::string& rest : shorter) {
                inventor.add(std::string(1, first), rest);
                longer.push_back(first + rest);
            }
        }
        shorter = std::move(longer);
    }
    token_list list = std::move(inventor).take();
    add_specials(list, specials);
    return list;
}

/// A shape and the size of its vocabulary.
struct synthetic_shape {
    model_shape model;
    std::size_t vocabulary;
};

/// Ternary Bonsai: Qwen3 in blocks with scales, PQ2_0, the embedding, too; YaRN from a quarter of the context.
[[nodiscard]] inline std::optional<synthetic_shape> find_bonsai_shape(std::string_view size) {
    struct row {
        std::string_view size;
        std::uint32_t layers;
        std::uint32_t hidden;
        std::uint32_t ffn;
        std::uint32_t heads;
        std::uint32_t context;
        bool own_head;
    };
    constexpr row rows[] = {{"1.7b", 28, 2048, 6144, 16, 32768, false},
                            {"4b", 36, 2560, 9728, 32, 32768, false},
                            {"8b", 36, 4096, 12288, 32, 65536, true}};
    for (const row& each : rows) {
        if (each.size == size) {
            synthetic_shape found{{}, 151669};
            model_shape& m = found.model;
            m.architecture = "qwen3";
            m.layers = each.layers;
            m.hidden = each.hidden;
            m.ffn = each.ffn;
            m.heads = each.heads;
            m.kv_heads = 8;
            m.head_dim = 128;
            m.context = each.context;
            m.theta = 1e6f;
            m.epsilon = 1e-6f;
            m.head_norms = true;
            m.own_head = each.own_head;
            m.scaled_blocks = true;
            m.yarn_factor = 4.0f;
            m.original_context = each.context / 4;
            return found;
        }
    }
    return std::nullopt;
}

/// "2b4t": BitNet-b1.58-2B-4T, 1.19 GB. "8b": Llama3-8B-1.58, 3.85 GB. "tiny": four layers, 1.9 MB, the tensors of
/// golden data bitnetcpp/synth-tiny. "bonsai-1.7b", "bonsai-4b" and "bonsai-8b", 0.46, 1.07 and 2.18 GB. After one of
/// the first three, "-q8_0" or "-q6_k": the same with an embedding of that type.
[[nodiscard]] inline std::optional<synthetic_shape> find_synthetic_shape(std::string_view name) {
    if (constexpr std::string_view bonsai = "bonsai-"; name.starts_with(bonsai)) {
        return find_bonsai_shape(name.substr(bonsai.size()));
    }
    synthetic_shape found{{}, 128256};
    model_shape& m = found.model;
    for (const auto type : {bitnet::tensor_type::q8_0, bitnet::tensor_type::q6_k}) {
        const std::string suffix = type == bitnet::tensor_type::q8_0 ? "-q8_0" : "-q6_k";
        if (name.ends_with(suffix)) {
            m.embedding = type;
            name.remove_suffix(suffix.size());
            break;
        }
    }
    if (name == "2b4t") {
        m.layers = 30;
        m.hidden = 2560;
        m.ffn = 6912;
        m.heads = 20;
        m.kv_heads = 5;
        m.head_dim = 128;
        m.context = 4096;
        return found;
    }
    if (name == "8b") {
        m.architecture = "llama";
        m.layers = 32;
        m.hidden = 4096;
        m.ffn = 14336;
        m.heads = 32;
        m.kv_heads = 8;
        m.head_dim = 128;
        m.context = 8192;
        m.own_head = true;
        return found;
    }
    if (name == "tiny") {
        m.layers = 4;
        m.hidden = 256;
        m.ffn = 768;
        m.heads = 4;
        m.kv_heads = 2;
        m.head_dim = 64;
        m.context = 512;
        found.vocabulary = 2048;
        return found;
    }
    return std::nullopt;
}

[[nodiscard]] inline random_model synthetic_model(const synthetic_shape& shape, std::uint64_t seed) {
    model_shape seeded = shape.model;
    seeded.seed = seed;
    return {std::move(seeded), synthetic_tokens(shape.vocabulary)};
}

} // namespace bitnet_tests
