// SPDX-License-Identifier: MIT
// sampler: chooses the next token from logits. The same seed gives the same tokens on every platform.
#ifndef BITNET_RUN_SAMPLER_HPP
#define BITNET_RUN_SAMPLER_HPP

#include <bitnet/checkpoint/sampling_advice.hpp>
#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/exponential.hpp>
#include <bitnet/core/float_environment.hpp>
#include <bitnet/core/fma.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/core/sort_first.hpp>
#include <bitnet/model/ranking.hpp>
#include <bitnet/run/token_chooser.hpp>
#include <bitnet/text/token.hpp>

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// Steps are taken in this order: penalties, top_k, top_p, min_p, temperature, draw. temperature 0 is greedy: the
/// largest logit after penalties, the lowest id on ties.
struct sampler_options {
    float temperature = 0.8f;        ///< >= 0; probabilities are softmax(logits / temperature)
    std::size_t top_k = 40;          ///< keep the k largest; 0 keeps all
    float top_p = 0.95f;             ///< 0 to 1; keep the fewest that reach this share of the probability; 1 keeps all
    float min_p = 0.0f;              ///< 0 to 1; keep those with at least this share of the largest probability
    float repeat_penalty = 1.0f;     ///< > 0; divides positive and multiplies negative logits of recent tokens
    float presence_penalty = 0.0f;   ///< subtracted once from the logits of recent tokens
    float frequency_penalty = 0.0f;  ///< subtracted for each time a token is among the recent ones
    std::size_t penalty_window = 64; ///< how many tokens are recent
    std::uint64_t seed = 0;

    [[nodiscard]] static sampler_options greedy() noexcept {
        sampler_options options;
        options.temperature = 0.0f;
        return options;
    }
    /// What a file advises, and the defaults where it says nothing.
    [[nodiscard]] static sampler_options advised_by(const sampling_advice& advice) noexcept {
        sampler_options options;
        options.temperature = advice.temperature.value_or(options.temperature);
        options.top_k = advice.top_k.value_or(options.top_k);
        options.top_p = advice.top_p.value_or(options.top_p);
        options.min_p = advice.min_p.value_or(options.min_p);
        return options;
    }
};

} // namespace bitnet::inline BITNET_ABI

BITNET_PRECISE_BEGIN
namespace bitnet::inline BITNET_ABI {

/// The library's token_chooser. Holds its settings, its random state and the recent tokens. One sampler serves one
/// sequence.
/// Allocates in open() only: 16 bytes for each token of the vocabulary.
class sampler {
public:
    static constexpr std::size_t largest_window = 1u << 16;

    /// \param vocabulary number of logits. \return errc::invalid_argument naming the option and its range,
    /// errc::out_of_memory.
    [[nodiscard]] static result<sampler> open(const sampler_options& options, std::size_t vocabulary) {
        const detail::default_float_environment environment;
        sampler made;
        if (auto checked = check_options(options); !checked) {
            return failed(checked);
        }
        made.options_ = options;
        made.random_ = options.seed;
        error failure;
        detail::allocate(made.candidates_, vocabulary, "sampler candidates", failure);
        detail::allocate(made.counts_, vocabulary, "sampler counts", failure);
        detail::allocate(made.recent_, options.penalty_window, "recent tokens", failure);
        if (failure.code != errc{}) {
            return failure;
        }
        return made;
    }

    /// Chooses a token. Changes only the random state; call accept() with the token that was taken.
    /// \pre logits.size() is the vocabulary size given to open(), and not 0.
    [[nodiscard]] token choose(std::span<const float> logits) noexcept {
        assert(logits.size() == candidates_.size() && !logits.empty());
        const detail::default_float_environment environment;
        for (std::size_t i = 0; i < logits.size(); ++i) {
            candidates_[i] = {penalized(logits[i], counts_[i]), static_cast<token>(i), 0.0f};
        }
        return choose_among(logits.size());
    }

    /// The same from the needs() largest logits alone, in any order: the token that all logits would give.
    /// \pre 0 < needs() <= largest.size() or largest has all tokens; every token once
    [[nodiscard]] token choose(std::span<const scored_token> largest) noexcept {
        assert(!largest.empty() && largest.size() <= candidates_.size());
        const detail::default_float_environment environment;
        for (std::size_t i = 0; i < largest.size(); ++i) {
            const auto [id, logit] = largest[i];
            candidates_[i] = {penalized(logit, counts_[static_cast<std::size_t>(id)]), id, 0.0f};
        }
        return choose_among(largest.size());
    }

    /// How many of the largest logits are enough for choose(); 0 if only all of them are. Greedy needs one, top_k
    /// needs k. If penalties lower the logits of c recent tokens, at most c others take their places: c more are
    /// enough.
    [[nodiscard]] std::size_t needs() const noexcept {
        const detail::default_float_environment environment;
        const std::size_t kept = is_greedy() ? 1 : options_.top_k;
        const bool lowers =
            options_.repeat_penalty >= 1.0f && options_.presence_penalty >= 0.0f && options_.frequency_penalty >= 0.0f;
        if (kept == 0 || (distinct_ != 0 && !lowers)) {
            return 0;
        }
        const bool penalizes =
            options_.repeat_penalty != 1.0f || options_.presence_penalty != 0.0f || options_.frequency_penalty != 0.0f;
        return kept + (penalizes ? distinct_ : 0);
    }

    /// Counts a token among the recent ones: those that were chosen, and those of the prompt if they should count.
    /// \pre 0 <= id < vocabulary
    void accept(token id) noexcept {
        if (recent_.empty()) {
            return;
        }
        const std::size_t at = accepted_ % recent_.size();
        if (accepted_ >= recent_.size()) {
            distinct_ -= --counts_[static_cast<std::size_t>(recent_[at])] == 0 ? 1u : 0u;
        }
        recent_[at] = id;
        distinct_ += ++counts_[static_cast<std::size_t>(id)] == 1 ? 1u : 0u;
        ++accepted_;
    }

    /// Forgets recent tokens and starts the random sequence anew.
    void reset() noexcept {
        for (std::size_t i = 0; i < counts_.size(); ++i) {
            counts_[i] = 0;
        }
        accepted_ = 0;
        distinct_ = 0;
        random_ = options_.seed;
    }

    /// Another sampler in the same state. \return errc::out_of_memory.
    [[nodiscard]] result<sampler> copy() const {
        auto made = open(options_, candidates_.size());
        if (made) {
            std::copy_n(counts_.data(), counts_.size(), made->counts_.data());
            std::copy_n(recent_.data(), recent_.size(), made->recent_.data());
            made->random_ = random_;
            made->accepted_ = accepted_;
            made->distinct_ = distinct_;
        }
        return made;
    }

    /// Starts another random sequence; recent tokens stay.
    void reseed(std::uint64_t seed) noexcept {
        options_.seed = seed;
        random_ = seed;
    }

    [[nodiscard]] const sampler_options& options() const noexcept { return options_; }
    [[nodiscard]] bool is_greedy() const noexcept { return options_.temperature == 0.0f; }

private:
    struct candidate {
        float logit;
        token id;
        float weight;
    };

    sampler() noexcept = default;

    [[nodiscard]] static result<void> check_options(const sampler_options& o) {
        struct rule {
            std::string_view text;
            bool holds;
        };
        const rule rules[] = {
            {"temperature must be 0 to 1e6", within(o.temperature, 0.0f, 1e6f)},
            {"top_p must be 0 to 1", within(o.top_p, 0.0f, 1.0f)},
            {"min_p must be 0 to 1", within(o.min_p, 0.0f, 1.0f)},
            {"repeat_penalty must be 0.001 to 1000", within(o.repeat_penalty, 0.001f, 1000.0f)},
            {"presence_penalty must be -1000 to 1000", within(o.presence_penalty, -1000.0f, 1000.0f)},
            {"frequency_penalty must be -1000 to 1000", within(o.frequency_penalty, -1000.0f, 1000.0f)},
            {"penalty_window must be 0 to 65536", o.penalty_window <= largest_window},
        };
        for (const auto& [text, holds] : rules) {
            if (!holds) {
                return detail::error_saying(errc::invalid_argument, {"sampler: ", text});
            }
        }
        return {};
    }
    [[nodiscard]] static bool within(float value, float low, float high) noexcept {
        return value >= low && value <= high;
    }

    /// Moves the k largest of the first n to the front, sorted. \pre k <= n
    void sort_largest(std::size_t n, std::size_t k) noexcept {
        detail::sort_first(candidates_.data(), n, k, [](const candidate& a, const candidate& b) noexcept {
            return detail::precedes(a.logit, a.id, b.logit, b.id);
        });
    }

    [[nodiscard]] float penalized(float logit, std::uint32_t count) const noexcept {
        if (count == 0) {
            return logit;
        }
        const float p = options_.repeat_penalty;
        const float absent = -options_.presence_penalty;
        const float present =
            logit > 0.0f ? detail::exact_quotient(logit, p) + absent : detail::exact_fma(logit, p, absent);
        return detail::exact_fma(-static_cast<float>(count), options_.frequency_penalty, present);
    }

    /// The steps after the penalties, over the first n candidates.
    [[nodiscard]] token choose_among(std::size_t n) noexcept {
        if (is_greedy()) {
            sort_largest(n, 1);
            return candidates_[0].id;
        }
        std::size_t kept = options_.top_k == 0 || options_.top_k > n ? n : options_.top_k;
        sort_largest(n, kept); // all later steps need the order
        kept = keep_top_p(kept);
        kept = keep_min_p(kept);
        return draw(kept);
    }

    [[nodiscard]] std::size_t keep_top_p(std::size_t n) noexcept {
        if (options_.top_p >= 1.0f) {
            return n;
        }
        const float sum = weigh(n, 1.0f);
        const float enough = options_.top_p * sum;
        float reached = 0.0f;
        for (std::size_t i = 0; i < n; ++i) {
            reached = reached + candidates_[i].weight;
            if (reached >= enough) {
                return i + 1;
            }
        }
        return n;
    }

    [[nodiscard]] std::size_t keep_min_p(std::size_t n) noexcept {
        if (options_.min_p <= 0.0f) {
            return n;
        }
        weigh(n, 1.0f);
        std::size_t kept = 1;
        while (kept < n && candidates_[kept].weight >= options_.min_p) {
            ++kept;
        }
        return kept;
    }

    [[nodiscard]] token draw(std::size_t n) noexcept {
        const float sum = weigh(n, options_.temperature);
        const float target = uniform() * sum;
        float reached = 0.0f;
        for (std::size_t i = 0; i < n; ++i) {
            reached = reached + candidates_[i].weight;
            if (reached > target) {
                return candidates_[i].id;
            }
        }
        return candidates_[0].id; // all weights were rounded to 0, or logits are not numbers
    }

    /// weight = e^((logit - largest) / temperature) for the first n. \return their sum, ascending.
    float weigh(std::size_t n, float temperature) noexcept {
        float sum = 0.0f;
        for (std::size_t i = 0; i < n; ++i) {
            const float below = candidates_[i].logit - candidates_[0].logit;
            const float weight = detail::software_exponential(detail::exact_quotient(below, temperature));
            candidates_[i].weight = weight;
            sum = sum + weight;
        }
        return sum;
    }

    /// Uniform in [0, 1) with 24 bits, by splitmix64 (Steele, Lea and Flood, 2014).
    [[nodiscard]] float uniform() noexcept {
        random_ += 0x9e3779b97f4a7c15u;
        std::uint64_t z = random_;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        z = z ^ (z >> 31);
        return static_cast<float>(z >> 40) * 0x1p-24f;
    }

    sampler_options options_;
    std::uint64_t random_ = 0;
    buffer<candidate> candidates_;
    buffer<std::uint32_t> counts_; ///< [vocabulary] how often each token is among the recent ones
    buffer<token> recent_;         ///< ring
    std::size_t accepted_ = 0;
    std::size_t distinct_ = 0; ///< tokens whose count is not 0
};

} // namespace bitnet::inline BITNET_ABI
BITNET_PRECISE_END

#endif
