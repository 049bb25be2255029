// SPDX-License-Identifier: MIT
// hyper_parameters: the sizes and constants of a model, read from GGUF metadata and checked.
#pragma once

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/quoted_name.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// The function between the two halves of a gated feed-forward layer.
enum class activation_function {
    relu2, ///< relu(gate)^2 * up: bitnet-b1.58, bitnet-25
    silu,  ///< silu(gate) * up: bitnet
};

[[nodiscard]] constexpr std::string_view name_of(activation_function f) noexcept {
    return f == activation_function::relu2 ? "relu2" : "silu";
}

/// Sizes are counts of elements. All are checked: nothing that follows can divide by zero, overflow or be absurdly
/// large.
struct hyper_parameters {
    std::string architecture; ///< general.architecture: "bitnet-b1.58", "bitnet-25" or "bitnet"
    std::string model_name;   ///< general.name; may be empty
    std::size_t layers = 0;
    std::size_t hidden = 0;       ///< columns of the residual stream
    std::size_t feed_forward = 0; ///< columns between ffn_up and ffn_down
    std::size_t heads = 0;
    std::size_t kv_heads = 0;  ///< heads / kv_heads query heads share one key and value head
    std::size_t head_size = 0; ///< columns of one head
    std::size_t vocabulary = 0;
    std::size_t context = 0; ///< positions the model was trained for
    float rms_epsilon = 0;
    float rope_theta = 0;
    activation_function activation = activation_function::relu2;

    [[nodiscard]] std::size_t query_columns() const noexcept { return heads * head_size; }
    [[nodiscard]] std::size_t kv_columns() const noexcept { return kv_heads * head_size; }
    [[nodiscard]] std::size_t heads_per_kv() const noexcept { return heads / kv_heads; }

    /// Reads the keys of `file`. \return errc::unsupported_architecture, missing_key, wrong_type, out_of_range or
    /// inconsistent, naming the file, the key and both numbers.
    [[nodiscard]] static result<hyper_parameters> read(const gguf_file& file);
};

/// Reads and checks one key after the other; the first failure stays.
class hyper_parameter_reader {
public:
    explicit hyper_parameter_reader(const gguf_file& file) : file_(file) {}

    [[nodiscard]] result<hyper_parameters> run() {
        read_architecture();
        read_sizes();
        read_heads();
        read_constants();
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
    static constexpr std::uint64_t most_head_size = 1024;
    static constexpr std::uint64_t most_vocabulary = 1u << 22;
    static constexpr std::uint64_t most_context = 1u << 20;

    void fail(errc code, const std::string& sentence) {
        if (failure_.code == errc{}) {
            failure_ = {code, file_.name() + ": " + sentence};
        }
    }
    void fail(error failure) {
        if (failure_.code == errc{}) {
            failure_ = std::move(failure);
        }
    }

    [[nodiscard]] std::string key(std::string_view suffix) const {
        return made_.architecture + '.' + std::string(suffix);
    }

    /// The value of `suffix`, 1 to `most`; 1 after a failure, so that reading can go on.
    [[nodiscard]] std::size_t size(std::string_view suffix, std::uint64_t most) {
        const auto value = file_.get<std::uint64_t>(key(suffix));
        if (!value) {
            fail(value.error());
            return 1;
        }
        if (*value == 0 || *value > most) {
            fail(errc::out_of_range, "'" + key(suffix) + "' is " + std::to_string(*value) + ", 1 to " +
                                         std::to_string(most) + " are possible");
            return 1;
        }
        return static_cast<std::size_t>(*value);
    }
    [[nodiscard]] std::size_t size_or(std::string_view suffix, std::uint64_t most, std::size_t fallback) {
        return file_.find(key(suffix)) != nullptr ? size(suffix, most) : fallback;
    }

    void read_architecture() {
        const auto name = file_.get<std::string_view>("general.architecture");
        if (!name) {
            fail(name.error());
            return;
        }
        made_.architecture = std::string(*name);
        if (*name == "bitnet") {
            made_.activation = activation_function::silu;
        } else if (*name != "bitnet-b1.58" && *name != "bitnet-25") {
            fail(errc::unsupported_architecture, "'general.architecture' is " + quoted_name(made_.architecture) +
                                                     "; bitnet-b1.58, bitnet-25 and bitnet can be run");
        }
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

    /// The vocabulary is what the embedding has rows for; vocab_size and the token list, where present, must agree.
    void read_vocabulary() {
        const auto* embedding = file_.find_tensor("token_embd.weight");
        if (embedding == nullptr) {
            fail(errc::missing_tensor, "there is no tensor 'token_embd.weight'");
            return;
        }
        const std::uint64_t rows = embedding->dims[1];
        if (rows > most_vocabulary) {
            fail(errc::out_of_range, "'token_embd.weight' has " + std::to_string(rows) + " rows, up to " +
                                         std::to_string(most_vocabulary) + " are possible");
            return;
        }
        made_.vocabulary = static_cast<std::size_t>(rows);
        const std::size_t said = size_or("vocab_size", most_vocabulary, made_.vocabulary);
        if (said != made_.vocabulary) {
            fail(errc::inconsistent, "'" + key("vocab_size") + "' is " + std::to_string(said) +
                                         ", 'token_embd.weight' has " + std::to_string(rows) + " rows");
        }
    }

    void read_heads() {
        made_.heads = size("attention.head_count", most_heads);
        made_.kv_heads = size_or("attention.head_count_kv", most_heads, made_.heads);
        if (made_.heads % made_.kv_heads != 0) {
            fail(errc::inconsistent, "'" + key("attention.head_count") + "' is " + std::to_string(made_.heads) +
                                         ", no multiple of '" + key("attention.head_count_kv") + "', " +
                                         std::to_string(made_.kv_heads));
        }
        made_.head_size = size_or("attention.key_length", most_head_size, made_.hidden / made_.heads);
        if (file_.find(key("attention.key_length")) == nullptr && made_.hidden % made_.heads != 0) {
            fail(errc::inconsistent, "'" + key("embedding_length") + "' is " + std::to_string(made_.hidden) +
                                         ", no multiple of '" + key("attention.head_count") + "', " +
                                         std::to_string(made_.heads));
        }
        same_as_head_size("attention.value_length");
        same_as_head_size("rope.dimension_count");
        if (made_.head_size == 0 || made_.head_size % 2 != 0 || made_.head_size > most_head_size) {
            fail(errc::out_of_range, "the head size is " + std::to_string(made_.head_size) +
                                         ", an even number from 2 to " + std::to_string(most_head_size) + " is needed");
        }
    }

    void same_as_head_size(std::string_view suffix) {
        const std::size_t value = size_or(suffix, most_head_size, made_.head_size);
        if (value != made_.head_size) {
            fail(errc::inconsistent, "'" + key(suffix) + "' is " + std::to_string(value) + ", the head size is " +
                                         std::to_string(made_.head_size));
        }
    }

    void read_constants() {
        made_.rms_epsilon = positive("attention.layer_norm_rms_epsilon", 0.0f, 1.0f);
        made_.rope_theta =
            file_.find(key("rope.freq_base")) != nullptr ? positive("rope.freq_base", 1.0f, 1e30f) : 10000.0f;
        const auto scaling = file_.get_or<std::string_view>(key("rope.scaling.type"), "none");
        if (!scaling) {
            fail(scaling.error());
        } else if (*scaling != "none") {
            fail(errc::unsupported_architecture,
                 "'" + key("rope.scaling.type") + "' is " + quoted_name(*scaling) + "; only none can be run");
        }
    }

    /// A finite number above `above` and up to `most`. Compared as bits: -ffast-math compiles isfinite() away.
    [[nodiscard]] float positive(std::string_view suffix, float above, float most) {
        const auto value = file_.get<float>(key(suffix));
        if (!value) {
            fail(value.error());
            return 1.0f;
        }
        const auto bits = std::bit_cast<std::uint32_t>(*value); // positive floats order as their bits
        if (bits <= std::bit_cast<std::uint32_t>(above) || bits > std::bit_cast<std::uint32_t>(most)) {
            const bool finite = (bits & 0x7f800000u) != 0x7f800000u;
            fail(errc::out_of_range, "'" + key(suffix) + "' is " + (finite ? std::to_string(*value) : "not finite") +
                                         ", it must be above " + std::to_string(above) + " and at most " +
                                         std::to_string(most));
            return 1.0f;
        }
        return *value;
    }

    const gguf_file& file_;
    hyper_parameters made_;
    error failure_;
};

inline result<hyper_parameters> hyper_parameters::read(const gguf_file& file) {
    return hyper_parameter_reader(file).run();
}

} // namespace bitnet::inline BITNET_ABI
