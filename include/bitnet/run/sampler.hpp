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
#include <bitnet/run/logit_bias.hpp>
#include <bitnet/run/repetition_penalty.hpp>
#include <bitnet/run/token_chooser.hpp>
#include <bitnet/run/token_counts.hpp>
#include <bitnet/text/token.hpp>

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// Steps are taken in this order: biases, penalties (repeat, presence, frequency), DRY, top_k, typical_p, top_p, min_p,
/// temperature, draw. temperature 0 is greedy: the largest logit after DRY, the lowest id on ties.
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
    /// 0 to 1; keep the fewest that reach this share of the probability, those first whose information content is
    /// closest to the entropy (locally typical sampling, Meister et al., 2022, arXiv:2202.00666); 1 keeps all
    float typical_p = 1.0f;
    /// 0 to 1000. Not 0: a token that would go on with a sequence of n tokens, n >= dry_allowed_length, which is the
    /// end of all tokens and stood among the last dry_window before, loses
    /// dry_multiplier * dry_base^(n - dry_allowed_length), at most 1e6 (DRY, P. E. Weidmann, 2024)
    float dry_multiplier = 0.0f;
    float dry_base = 1.75f;                ///< 1 to 100
    std::size_t dry_allowed_length = 2;    ///< 1 or more
    std::size_t dry_window = 1024;         ///< 0 to 65536; 20 bytes each, and a time linear in it for each token
    std::span<const token> dry_breakers{}; ///< tokens that no repeated sequence contains; copied by sampler::open()
    std::span<const logit_bias> biases{};  ///< each token once at most; copied by sampler::open()

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
/// Allocates in open() only: 12 bytes for each logit that it can need, which is needs() with full windows, under 40 for
/// each token of the window, 20 for each of DRY's, and 8 for each bias. Where only all logits are enough, these are the
/// vocabulary's.
class sampler {
public:
    static constexpr std::size_t largest_window = 1u << 16;

    /// \param vocabulary number of logits \param memory null: operator new \return errc::invalid_argument naming the
    /// option and its range, or the token whose bias is given twice or out of range, or if all tokens are forbidden;
    /// errc::out_of_memory.
    [[nodiscard]] static result<sampler> open(const sampler_options& options, std::size_t vocabulary,
                                              const memory_source* memory = nullptr) {
        const detail::default_float_environment environment;
        sampler made;
        if (auto checked = check_options(options); !checked) {
            return failed(checked);
        }
        made.options_ = options;
        made.random_ = options.seed;
        made.vocabulary_ = vocabulary;
        const detail::memory_from from{memory, {memory_use::scratch, false}};
        if (auto copied = made.copy_lists(options, vocabulary, from); !copied) {
            return failed(copied);
        }
        auto counts = detail::token_counts::open(options.penalty_window, from);
        if (!counts) {
            return failed(counts);
        }
        made.counts_ = *std::move(counts);
        const std::size_t most = made.needs_if(options.penalty_window, made.repetition_.most());
        error failure;
        detail::allocate(made.candidates_, most == 0 || most > vocabulary ? vocabulary : most, "sampler candidates",
                         failure, from);
        detail::allocate(made.recent_, options.penalty_window, "recent tokens", failure, from);
        if (failure.code != errc{}) {
            return failure;
        }
        return made;
    }

    /// Chooses a token, never a forbidden one. Changes only the random state; call accept() with the token that was
    /// taken. \pre logits.size() is the vocabulary size given to open(), and not 0.
    [[nodiscard]] token choose(std::span<const float> logits) noexcept {
        assert(logits.size() == vocabulary_ && !logits.empty());
        return choose_of(logits.size(), [&](std::size_t i) noexcept -> candidate {
            return {logits[i], static_cast<token>(i), 0.0f};
        });
    }

    /// The same from the needs() largest logits alone, in any order: the token that all logits would give; no_token if
    /// all of `largest` are forbidden, which the precondition excludes.
    /// \pre 0 < needs() <= largest.size() or largest has all tokens; every token once
    [[nodiscard]] token choose(std::span<const scored_token> largest) noexcept {
        assert(!largest.empty() && largest.size() <= vocabulary_);
        return choose_of(largest.size(), [&](std::size_t i) noexcept -> candidate {
            return {largest[i].logit, largest[i].id, 0.0f};
        });
    }

    /// How many of the largest logits are enough for choose(); 0 if only all of them are. Greedy needs one, top_k
    /// needs k. If biases, penalties and DRY lower the logits of c tokens, at most c others take their places: c more
    /// are enough. A bias that raises a logit may do so with any, and asks for all.
    [[nodiscard]] std::size_t needs() const noexcept {
        const detail::default_float_environment environment;
        return needs_if(counts_.distinct(), repetition_.entries().size());
    }

    /// Counts a token among the recent ones: those that were chosen, and those of the prompt if they should count.
    /// \pre 0 <= id < vocabulary
    void accept(token id) noexcept {
        repetition_.accept(id);
        if (recent_.empty()) {
            return;
        }
        const std::size_t at = accepted_ % recent_.size();
        if (accepted_ >= recent_.size()) {
            counts_.remove(recent_[at]);
        }
        recent_[at] = id;
        counts_.add(id);
        ++accepted_;
    }

    /// Forgets recent tokens and starts the random sequence anew.
    void reset() noexcept {
        counts_.clear();
        accepted_ = 0;
        random_ = options_.seed;
        repetition_.reset();
    }

    /// Their lists are the sampler's own copies.
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
            {"typical_p must be 0 to 1", within(o.typical_p, 0.0f, 1.0f)},
            {"dry_multiplier must be 0 to 1000", within(o.dry_multiplier, 0.0f, 1000.0f)},
            {"dry_base must be 1 to 100", within(o.dry_base, 1.0f, 100.0f)},
            {"dry_allowed_length must be 1 or more", o.dry_allowed_length != 0},
            {"dry_window must be 0 to 65536", o.dry_window <= largest_window},
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

    [[nodiscard]] result<void> copy_lists(const sampler_options& options, std::size_t vocabulary,
                                          const detail::memory_from& from) {
        auto biases = detail::bias_table::open(options.biases, vocabulary, from);
        if (!biases) {
            return failed(biases);
        }
        auto repetition = detail::repetition_penalty::open(
            {options.dry_multiplier, options.dry_base, options.dry_allowed_length, options.dry_window},
            options.dry_breakers, vocabulary, from);
        if (!repetition) {
            return failed(repetition);
        }
        biases_ = *std::move(biases);
        repetition_ = *std::move(repetition);
        options_.biases = biases_.entries();
        options_.dry_breakers = repetition_.breakers();
        return {};
    }

    [[nodiscard]] static bool before(const candidate& a, const candidate& b) noexcept {
        return detail::precedes(a.logit, a.id, b.logit, b.id);
    }

    /// needs() if `distinct` tokens are recent, and `repeating` lose by DRY.
    [[nodiscard]] std::size_t needs_if(std::size_t distinct, std::size_t repeating) const noexcept {
        constexpr std::size_t most = SIZE_MAX / 2; // so that the sum below is one
        const std::size_t top_k = options_.top_k < most ? options_.top_k : most;
        const std::size_t kept = is_greedy() ? 1 : top_k;
        const bool lowers =
            options_.repeat_penalty >= 1.0f && options_.presence_penalty >= 0.0f && options_.frequency_penalty >= 0.0f;
        if (kept == 0 || biases_.raises() || (distinct != 0 && !lowers)) {
            return 0;
        }
        const bool penalizes =
            options_.repeat_penalty != 1.0f || options_.presence_penalty != 0.0f || options_.frequency_penalty != 0.0f;
        return kept + (penalizes ? distinct : 0) + biases_.lowered() + repeating;
    }

    /// Chooses among the candidates at(0) ... at(size - 1), of which it keeps as many as it needs.
    template <class At> [[nodiscard]] token choose_of(std::size_t size, At at) noexcept {
        const detail::default_float_environment environment;
        const std::size_t needed = needs_if(counts_.distinct(), repetition_.entries().size());
        const std::size_t n = needed == 0 || needed > size ? size : needed;
        for (std::size_t i = 0; i < n; ++i) {
            candidates_[i] = at(i);
        }
        if (n != size) {
            take_larger(n, size, at);
        }
        return choose_among(adjust(n));
    }

    /// Biases, penalties and DRY for the first n candidates. \return how many are left without the forbidden ones
    [[nodiscard]] std::size_t adjust(std::size_t n) noexcept {
        std::size_t left = 0;
        for (std::size_t i = 0; i < n; ++i) {
            const auto [logit, id, weight] = candidates_[i];
            const logit_bias* const own = biases_.find(id);
            if (own != nullptr && detail::is_forbidden(own->bias)) {
                continue;
            }
            const float kept = penalized(own == nullptr ? logit : logit + own->bias, counts_.of(id));
            const auto* const repeats = repetition_.find(id);
            candidates_[left++] = {repeats == nullptr ? kept : kept - repeats->penalty, id, weight};
        }
        return left;
    }

    /// The first n candidates become the n largest of all.
    template <class At> void take_larger(std::size_t n, std::size_t size, At at) noexcept {
        candidate* heap = candidates_.data(); // the smallest on top
        for (std::size_t i = n / 2; i-- > 0;) {
            detail::sorting::sift_down(heap, n, i, before);
        }
        for (std::size_t i = n; i < size; ++i) {
            const candidate next = at(i);
            if (!(next.logit < heap[0].logit) && before(next, heap[0])) {
                heap[0] = next;
                detail::sorting::sift_down(heap, n, 0, before);
            }
        }
    }

    /// Moves the k largest of the first n to the front, sorted. \pre k <= n
    void sort_largest(std::size_t n, std::size_t k) noexcept { detail::sort_first(candidates_.data(), n, k, before); }

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

    /// The steps after DRY, over the first n candidates.
    [[nodiscard]] token choose_among(std::size_t n) noexcept {
        if (n == 0) {
            return no_token;
        }
        if (is_greedy()) {
            sort_largest(n, 1);
            return candidates_[0].id;
        }
        std::size_t kept = options_.top_k == 0 || options_.top_k > n ? n : options_.top_k;
        sort_largest(n, kept); // all later steps need the order
        kept = keep_typical(kept);
        kept = keep_top_p(kept);
        kept = keep_min_p(kept);
        return draw(kept);
    }

    /// The information content of a token less the entropy is the expected logit less its own: the logarithm of the sum
    /// is in both.
    [[nodiscard]] std::size_t keep_typical(std::size_t n) noexcept {
        if (options_.typical_p >= 1.0f) {
            return n;
        }
        const float sum = weigh(n, 1.0f);
        const float largest = candidates_[0].logit;
        float weighted = 0.0f;
        for (std::size_t i = 0; i < n; ++i) {
            const candidate& c = candidates_[i];
            weighted = c.weight > 0.0f ? detail::exact_fma(c.weight, c.logit - largest, weighted) : weighted;
        }
        const float expected = detail::exact_quotient(weighted, sum);
        const auto nearness = [&](const candidate& c) noexcept {
            const float away = (c.logit - largest) - expected;
            return away > 0.0f ? -away : away;
        };
        detail::sort_first(candidates_.data(), n, n, [&](const candidate& a, const candidate& b) noexcept {
            return detail::precedes(nearness(a), a.id, nearness(b), b.id);
        });
        const std::size_t kept = count_reaching(n, options_.typical_p * sum);
        sort_largest(kept, kept);
        return kept;
    }

    [[nodiscard]] std::size_t keep_top_p(std::size_t n) noexcept {
        if (options_.top_p >= 1.0f) {
            return n;
        }
        const float sum = weigh(n, 1.0f);
        return count_reaching(n, options_.top_p * sum);
    }

    /// How many of the first n have `enough` weight together.
    [[nodiscard]] std::size_t count_reaching(std::size_t n, float enough) const noexcept {
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
    std::size_t vocabulary_ = 0;
    buffer<candidate> candidates_; ///< [what needs() can be, or the vocabulary]
    detail::token_counts counts_;  ///< of the recent tokens
    buffer<token> recent_;         ///< ring
    detail::bias_table biases_;
    detail::repetition_penalty repetition_;
    std::size_t accepted_ = 0;
};

} // namespace bitnet::inline BITNET_ABI
BITNET_PRECISE_END

#endif
