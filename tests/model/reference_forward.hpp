// SPDX-License-Identifier: MIT
// A slow, independent forward pass in double precision, straight from the GGUF file: the oracle of the graph.
#pragma once

#include <bitnet/checkpoint/hyper_parameters.hpp>
#include <bitnet/io/gguf_reader.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <numbers>
#include <string>
#include <string_view>
#include <vector>

namespace bitnet_tests {

using rows_of_doubles = std::vector<std::vector<double>>;

/// Numbers as in the papers: int8 activations by absmax in float, everything else double; K and V are kept exact.
/// Shares no code with the library but the file reader. Codes in layout A only. Steps without a tensor in the
/// file are left out; the rest of a family follows from its name.
class reference_forward {
public:
    /// \param is_long whether the session is longer than the context that longrope extends
    explicit reference_forward(const bitnet::gguf_file& file, bool is_long = false) : file_(file), is_long_(is_long) {
        architecture_ = std::string(*file.get<std::string_view>("general.architecture"));
        prefix_ = architecture_ + ".";
        layers_ = size("block_count");
        heads_ = size("attention.head_count");
        kv_heads_ = size("attention.head_count_kv");
        head_size_ = static_cast<std::size_t>(file.find_tensor("blk.0.attn_q.weight")->dims[1]) / heads_;
        epsilon_ = static_cast<double>(*file.get<float>(prefix_ + "attention.layer_norm_rms_epsilon"));
        theta_ = static_cast<double>(*file.get<float>(prefix_ + "rope.freq_base"));
        rope_factor_ = static_cast<double>(*file.get_or<float>(prefix_ + "rope.scaling.factor", 1.0f));
        const bool is_2b_4t = architecture_ == "bitnet-b1.58" || architecture_ == "bitnet-25";
        const std::string_view usual = is_2b_4t ? "relu2" : architecture_ == "gemma3" ? "gelu" : "silu";
        activation_ = std::string(*file.get_or<std::string_view>(prefix_ + "hidden_activation", usual));
        neighbours_ =
            *file.get_or<std::string_view>("bitnet_hpp.rotary", architecture_ == "llama" || architecture_ == "minicpm"
                                                                    ? std::string_view("interleaved")
                                                                    : std::string_view("halves")) == "interleaved";
        read_scales();
        read_context_extension();
    }

    /// From here on with a window, as in the paper of Xiao et al.: a token sees the first `sinks` positions and the
    /// last blocks of 256, as many as `context` has, and all of these are rotated anew by their places among what it
    /// sees.
    void see_through_a_window(std::size_t context, std::size_t sinks) {
        window_ = context;
        sinks_ = sinks;
    }

    /// Hidden states after the last norm, after each token.
    [[nodiscard]] rows_of_doubles states(const std::vector<int>& tokens) const {
        const rows_of_doubles embedding = dense("token_embd.weight");
        rows_of_doubles x;
        for (const int token : tokens) {
            x.push_back(embedding[static_cast<std::size_t>(token)]);
            for (double& value : x.back()) {
                value *= embedding_scale_;
            }
        }
        for (std::size_t layer = 0; layer < layers_; ++layer) {
            const std::string block = "blk." + std::to_string(layer) + ".";
            attention(block, x);
            feed_forward(block, x);
        }
        for (auto& row : x) {
            row = norm(row, "output_norm.weight");
        }
        return x;
    }

    /// Logits after each token.
    [[nodiscard]] rows_of_doubles logits(const std::vector<int>& tokens) const {
        const bool tied = architecture_.starts_with("bitnet") || file_.find_tensor("output.weight") == nullptr;
        const rows_of_doubles head = dense(tied ? "token_embd.weight" : "output.weight");
        rows_of_doubles out;
        for (const auto& row : states(tokens)) {
            out.emplace_back();
            for (const auto& weights : head) {
                out.back().push_back(dot(weights, row) / logit_scale_);
            }
        }
        return out;
    }

    /// What a text embedding model gives for the tokens: the mean of all states or the last one, of length one.
    [[nodiscard]] std::vector<double> embedding(const std::vector<int>& tokens, bitnet::pooling_type pooling) const {
        const auto all = states(tokens);
        std::vector<double> pooled = all.back();
        for (std::size_t i = 0; pooling == bitnet::pooling_type::mean && i < pooled.size(); ++i) {
            pooled[i] = 0;
            for (const auto& state : all) {
                pooled[i] += state[i] / static_cast<double>(all.size());
            }
        }
        const double length = std::sqrt(dot(pooled, pooled));
        for (double& value : pooled) {
            value /= length;
        }
        return pooled;
    }

private:
    /// Those of files that were written before the keys are MiniCPM 2B's.
    void read_scales() {
        const auto hidden = static_cast<double>(size("embedding_length"));
        const auto scale = [&](const char* key, double usual) {
            const std::string name = prefix_ + key;
            return file_.find(name) != nullptr ? static_cast<double>(*file_.get<float>(name)) : usual;
        };
        embedding_scale_ = architecture_ == "gemma3" ? std::sqrt(hidden) : 1.0;
        if (architecture_ == "minicpm") {
            embedding_scale_ = scale("embedding_scale", 12);
            residual_scale_ = scale("residual_scale", 1.4 / std::sqrt(static_cast<double>(layers_)));
            logit_scale_ = scale("logit_scale", hidden / 256);
        }
    }

    [[nodiscard]] std::size_t size(const std::string& key) const {
        return static_cast<std::size_t>(*file_.get<std::uint64_t>(prefix_ + key));
    }

    static double dot(const std::vector<double>& a, const std::vector<double>& b) {
        double sum = 0;
        for (std::size_t i = 0; i < a.size(); ++i) {
            sum += a[i] * b[i];
        }
        return sum;
    }

    static double half_to_double(std::uint16_t bits) {
        const int exponent = (bits >> 10) & 31;
        const double fraction = bits & 1023;
        const double magnitude = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
        return (bits & 0x8000) != 0 ? -magnitude : magnitude;
    }

    /// ggml's Q4_K: two f16, then scales and minima of eight groups in twelve bytes of six-bit numbers, then 64 columns
    /// at a time, those of low nibbles first.
    template <class Put> static void fill_from_q4_k(const bitnet::gguf_tensor& t, const Put& put) {
        const auto byte = [&](std::size_t i) { return static_cast<unsigned>(t.bytes[i]); };
        const auto half_at = [&](std::size_t i) {
            return half_to_double(static_cast<std::uint16_t>(byte(i) | byte(i + 1) << 8));
        };
        for (std::size_t at = 0; at < t.bytes.size(); at += 144) {
            std::array<unsigned, 8> scale{};
            std::array<unsigned, 8> minimum{};
            for (std::size_t j = 0; j < 4; ++j) {
                scale[j] = byte(at + 4 + j) % 64;
                minimum[j] = byte(at + 8 + j) % 64;
                scale[4 + j] = byte(at + 12 + j) % 16 + byte(at + 4 + j) / 64 * 16;
                minimum[4 + j] = byte(at + 12 + j) / 16 + byte(at + 8 + j) / 64 * 16;
            }
            for (std::size_t i = 0; i < 256; ++i) {
                const unsigned pair = byte(at + 16 + i / 64 * 32 + i % 32);
                const unsigned q = i % 64 < 32 ? pair % 16 : pair / 16;
                put(at / 144 * 256 + i, half_at(at) * scale[i / 32] * q - half_at(at + 2) * minimum[i / 32]);
            }
        }
    }

    /// ggml's Q8_0 (f16, 32 int8) and Q6_K (128 bytes of low nibbles, 64 of high pairs, 16 int8 scales, f16), walked in
    /// the order of the bytes.
    static void fill_from_blocks(const bitnet::gguf_tensor& t, rows_of_doubles& rows) {
        const auto byte = [&](std::size_t i) { return static_cast<unsigned>(t.bytes[i]); };
        const auto signed_byte = [&](std::size_t i) { return static_cast<double>(static_cast<signed char>(byte(i))); };
        const auto half_at = [&](std::size_t i) {
            return half_to_double(static_cast<std::uint16_t>(byte(i) | byte(i + 1) << 8));
        };
        const auto put = [&](std::size_t flat, double value) { rows[flat / t.dims[0]][flat % t.dims[0]] = value; };
        const std::size_t elements = t.dims[0] * t.dims[1];
        if (t.type == bitnet::tensor_type::q8_0) {
            for (std::size_t i = 0; i < elements; ++i) {
                put(i, half_at(i / 32 * 34) * signed_byte(i / 32 * 34 + 2 + i % 32));
            }
            return;
        }
        if (t.type == bitnet::tensor_type::q4_0) {
            for (std::size_t i = 0; i < elements; ++i) {
                const unsigned pair = byte(i / 32 * 18 + 2 + i % 16);
                put(i, half_at(i / 32 * 18) * (static_cast<double>(i % 32 < 16 ? pair & 15 : pair >> 4) - 8.0));
            }
            return;
        }
        if (t.type == bitnet::tensor_type::q4_k) {
            fill_from_q4_k(t, put);
            return;
        }
        for (std::size_t block = 0; block < elements / 256; ++block) {
            const std::size_t at = block * 210;
            for (std::size_t n = 0; n < 2; ++n) {
                for (std::size_t l = 0; l < 32; ++l) {
                    const unsigned a = byte(at + 64 * n + l);
                    const unsigned b = byte(at + 64 * n + 32 + l);
                    const unsigned h = byte(at + 128 + 32 * n + l);
                    const std::array<unsigned, 4> q{(a & 15) | (h & 3) << 4, (b & 15) | (h >> 2 & 3) << 4,
                                                    a >> 4 | (h >> 4 & 3) << 4, b >> 4 | (h >> 6) << 4};
                    for (std::size_t k = 0; k < 4; ++k) {
                        const double scale = half_at(at + 208) * signed_byte(at + 192 + 8 * n + 2 * k + l / 16);
                        put(block * 256 + 128 * n + 32 * k + l, scale * (static_cast<double>(q[k]) - 32.0));
                    }
                }
            }
        }
    }

    [[nodiscard]] rows_of_doubles dense(const std::string& name) const {
        const auto& t = *file_.find_tensor(name);
        rows_of_doubles rows(t.dims[1], std::vector<double>(t.dims[0]));
        if (t.type == bitnet::tensor_type::q8_0 || t.type == bitnet::tensor_type::q6_k ||
            t.type == bitnet::tensor_type::q4_k || t.type == bitnet::tensor_type::q4_0) {
            fill_from_blocks(t, rows);
            return rows;
        }
        std::size_t at = 0;
        for (auto& row : rows) {
            for (double& value : row) {
                if (t.type == bitnet::tensor_type::f16) {
                    std::uint16_t bits = 0;
                    std::memcpy(&bits, t.bytes.data() + 2 * at++, 2);
                    value = half_to_double(bits);
                } else {
                    float wide = 0;
                    std::memcpy(&wide, t.bytes.data() + 4 * at++, 4);
                    value = static_cast<double>(wide);
                }
            }
        }
        return rows;
    }

    [[nodiscard]] std::vector<double> norm(const std::vector<double>& x, const std::string& name) const {
        const auto weight = dense(name)[0];
        const double root = std::sqrt(dot(x, x) / static_cast<double>(x.size()) + epsilon_);
        std::vector<double> y;
        for (std::size_t i = 0; i < x.size(); ++i) {
            y.push_back(x[i] / root * weight[i]);
        }
        return y;
    }

    /// norm() if the file has it.
    [[nodiscard]] std::vector<double> norm_if(const std::vector<double>& x, const std::string& name) const {
        return file_.find_tensor(name) != nullptr ? norm(x, name) : x;
    }

    /// Each head by itself.
    [[nodiscard]] std::vector<double> norm_heads(const std::vector<double>& x, const std::string& name) const {
        std::vector<double> y;
        for (std::size_t at = 0; at < x.size(); at += head_size_) {
            const std::vector<double> head(x.begin() + static_cast<std::ptrdiff_t>(at),
                                           x.begin() + static_cast<std::ptrdiff_t>(at + head_size_));
            const auto normed = norm_if(head, name);
            y.insert(y.end(), normed.begin(), normed.end());
        }
        return y;
    }

    /// linear() after the norm that its input may have, and the bias that it may have.
    [[nodiscard]] std::vector<double> projection(const std::vector<double>& x, const std::string& name) const {
        auto y = linear(norm_if(x, name + "_norm_in.weight"), name);
        if (file_.find_tensor(name + ".bias") != nullptr) {
            add(y, dense(name + ".bias")[0]);
        }
        return y;
    }

    [[nodiscard]] std::vector<double> linear(const std::vector<double>& x, const std::string& name) const {
        const auto& t = *file_.find_tensor(name + ".weight");
        float largest = 1e-5f;
        for (const double value : x) {
            largest = std::max(largest, std::abs(static_cast<float>(value)));
        }
        const float s = 127.0f / largest;
        std::vector<double> q;
        for (const double value : x) {
            q.push_back(std::nearbyint(static_cast<float>(value) * s));
        }
        float scale = 0;
        std::memcpy(&scale, t.bytes.data() + t.dims[0] * t.dims[1] / 4, 4);
        double factor = static_cast<double>(scale);
        if (const auto* extra = file_.find_tensor(name + ".scale")) {
            std::memcpy(&scale, extra->bytes.data(), 4);
            factor *= static_cast<double>(scale);
        }
        std::vector<double> y(t.dims[1]);
        for (std::size_t r = 0; r < y.size(); ++r) {
            for (std::size_t c = 0; c < t.dims[0]; ++c) {
                const std::size_t flat = r * t.dims[0] + c;
                const auto byte = static_cast<unsigned>(t.bytes[flat / 128 * 32 + flat % 32]);
                const int code = static_cast<int>((byte >> (6 - 2 * (flat % 128 / 32))) & 3u);
                y[r] += (code - 1) * q[c];
            }
            y[r] *= factor / static_cast<double>(s);
        }
        return y;
    }

    void read_context_extension() {
        const std::string scaling = prefix_ + "rope.scaling.";
        kind_ = std::string(*file_.get_or<std::string_view>(scaling + "type", "none"));
        magnitude_ = static_cast<double>(*file_.get_or<float>(scaling + "attn_factor", 1.0f));
        original_context_ = static_cast<double>(*file_.get_or<std::uint64_t>(scaling + "original_context_length", 0));
        magnitude_ *= kind_ == "yarn" ? 1 + 0.1 * std::log(rope_factor_) : 1.0;
    }

    /// The pair that makes so many turns within the original context.
    [[nodiscard]] double pair_of(double turns) const {
        return static_cast<double>(head_size_) * std::log(original_context_ / (turns * 2 * std::numbers::pi)) /
               (2 * std::log(theta_));
    }

    [[nodiscard]] double frequency(std::size_t pair) const {
        const double exponent = -2.0 * static_cast<double>(pair) / static_cast<double>(head_size_);
        if (kind_ == "yarn") {
            const double low = std::max(std::floor(pair_of(32)), 0.0);
            const double high = std::min(std::ceil(pair_of(1)), static_cast<double>(head_size_) - 1);
            const double ramp = std::clamp((static_cast<double>(pair) - low) / std::max(high - low, 0.001), 0.0, 1.0);
            return std::pow(theta_, exponent) * (1 - ramp) + std::pow(theta_, exponent) / rope_factor_ * ramp;
        }
        if (kind_ == "longrope") {
            return std::pow(theta_, exponent) /
                   dense(is_long_ ? "rope_factors_long.weight" : "rope_factors_short.weight")[0][pair];
        }
        const double plain = std::pow(theta_, exponent) / rope_factor_;
        return file_.find_tensor("rope_freqs.weight") != nullptr ? plain / dense("rope_freqs.weight")[0][pair] : plain;
    }

    void rotate(std::vector<double>& x, std::size_t position) const {
        const std::size_t half = head_size_ / 2;
        for (std::size_t j = 0; j < half; ++j) {
            const double angle = static_cast<double>(position) * frequency(j);
            for (std::size_t head = 0; head < x.size() / head_size_; ++head) {
                double& a = x[head * head_size_ + (neighbours_ ? 2 * j : j)];
                double& b = x[head * head_size_ + (neighbours_ ? 2 * j + 1 : j + half)];
                const double rotated = a * std::cos(angle) - b * std::sin(angle);
                b = magnitude_ * (a * std::sin(angle) + b * std::cos(angle));
                a = magnitude_ * rotated;
            }
        }
    }

    void attention(const std::string& block, rows_of_doubles& x) const {
        rows_of_doubles keys;
        rows_of_doubles keys_as_made;
        rows_of_doubles values;
        for (std::size_t position = 0; position < x.size(); ++position) {
            const auto n = norm(x[position], block + "attn_norm.weight");
            auto q = norm_heads(projection(n, block + "attn_q"), block + "attn_q_norm.weight");
            keys.push_back(norm_heads(projection(n, block + "attn_k"), block + "attn_k_norm.weight"));
            values.push_back(projection(n, block + "attn_v"));
            keys_as_made.push_back(keys.back());
            rotate(keys.back(), position);
            const auto seen = seen_from(position);
            rotate(q, seen.size() - 1);
            const auto attended = norm_if(seen.size() == keys.size()
                                              ? attend(q, keys, values)
                                              : attend(q, rotated(chosen(keys_as_made, seen)), chosen(values, seen)),
                                          block + "attn_sub_norm.weight");
            add_branch(x[position],
                       norm_if(projection(attended, block + "attn_output"), block + "post_attention_norm.weight"));
        }
    }

    [[nodiscard]] std::vector<std::size_t> seen_from(std::size_t position) const {
        std::size_t first = 0; // behind the sinks
        while (window_ != 0 && position - first >= window_) {
            first += 256;
        }
        std::vector<std::size_t> seen;
        for (std::size_t p = 0; p <= position; ++p) {
            if (p < sinks_ || p >= sinks_ + first) {
                seen.push_back(p);
            }
        }
        return seen;
    }
    [[nodiscard]] static rows_of_doubles chosen(const rows_of_doubles& rows, const std::vector<std::size_t>& which) {
        rows_of_doubles some;
        for (const std::size_t row : which) {
            some.push_back(rows[row]);
        }
        return some;
    }
    [[nodiscard]] rows_of_doubles rotated(rows_of_doubles keys) const {
        for (std::size_t place = 0; place < keys.size(); ++place) {
            rotate(keys[place], place);
        }
        return keys;
    }

    [[nodiscard]] std::vector<double> attend(const std::vector<double>& q, const rows_of_doubles& keys,
                                             const rows_of_doubles& values) const {
        std::vector<double> out(q.size());
        for (std::size_t head = 0; head < heads_; ++head) {
            const std::size_t q_at = head * head_size_;
            const std::size_t kv_at = head / (heads_ / kv_heads_) * head_size_;
            std::vector<double> weights;
            double total = 0;
            for (const auto& key : keys) {
                double score = 0;
                for (std::size_t d = 0; d < head_size_; ++d) {
                    score += q[q_at + d] * key[kv_at + d];
                }
                weights.push_back(std::exp(score / std::sqrt(static_cast<double>(head_size_))));
                total += weights.back();
            }
            for (std::size_t p = 0; p < keys.size(); ++p) {
                for (std::size_t d = 0; d < head_size_; ++d) {
                    out[q_at + d] += weights[p] / total * values[p][kv_at + d];
                }
            }
        }
        return out;
    }

    [[nodiscard]] double activate(double g) const {
        if (activation_ == "relu2") {
            return std::max(g, 0.0) * std::max(g, 0.0);
        }
        if (activation_ == "gelu") {
            return g / 2 * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (g + 0.044715 * g * g * g)));
        }
        return g / (1 + std::exp(-g));
    }

    void feed_forward(const std::string& block, rows_of_doubles& x) const {
        for (auto& row : x) {
            const auto n = norm(row, block + "ffn_norm.weight");
            auto gate = projection(n, block + "ffn_gate");
            const auto up = projection(n, block + "ffn_up");
            for (std::size_t i = 0; i < gate.size(); ++i) {
                gate[i] = activate(gate[i]) * up[i];
            }
            const auto down = projection(norm_if(gate, block + "ffn_sub_norm.weight"), block + "ffn_down");
            add_branch(row, norm_if(down, block + "post_ffw_norm.weight"));
        }
    }

    void add_branch(std::vector<double>& x, std::vector<double> branch) const {
        for (double& value : branch) {
            value *= residual_scale_;
        }
        add(x, branch);
    }

    static void add(std::vector<double>& x, const std::vector<double>& y) {
        for (std::size_t i = 0; i < x.size(); ++i) {
            x[i] += y[i];
        }
    }

    const bitnet::gguf_file& file_;
    std::size_t window_ = 0; ///< 0: none
    std::size_t sinks_ = 0;
    std::string architecture_;
    std::string activation_;
    std::string prefix_;
    bool neighbours_ = false; ///< neighbours are rotated, not halves
    std::size_t layers_ = 0;
    std::size_t heads_ = 0;
    std::size_t kv_heads_ = 0;
    std::size_t head_size_ = 0;
    double epsilon_ = 0;
    double theta_ = 0;
    double rope_factor_ = 1;
    bool is_long_ = false;
    std::string kind_;
    double original_context_ = 0;
    double magnitude_ = 1;
    double embedding_scale_ = 1;
    double residual_scale_ = 1;
    double logit_scale_ = 1;
};

} // namespace bitnet_tests
