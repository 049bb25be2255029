// SPDX-License-Identifier: MIT
// sampler: chooses the next token from logits. The same seed gives the same tokens on every platform.
#ifndef BITNET_RUN_SAMPLER_HPP
#define BITNET_RUN_SAMPLER_HPP

#include <bitnet/checkpoint/sampling_advice.hpp>
#include <bitnet/core/buffer.hpp>
#include <bitnet/core/checksum.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/exponential.hpp>
#include <bitnet/core/float_environment.hpp>
#include <bitnet/core/fma.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/core/sort_first.hpp>
#include <bitnet/io/byte_sink.hpp>
#include <bitnet/model/ranking.hpp>
#include <bitnet/run/saved_sampler.hpp>
#include <bitnet/run/token_chooser.hpp>
#include <bitnet/run/token_counts.hpp>
#include <bitnet/text/token.hpp>

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

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
/// Allocates in open() only: 12 bytes for each logit that it can need, which is needs() with a full window, and under
/// 40 for each token of the window. Where only all logits are enough, these are the vocabulary's.
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
        made.vocabulary_ = vocabulary;
        auto counts = detail::token_counts::open(options.penalty_window);
        if (!counts) {
            return failed(counts);
        }
        made.counts_ = *std::move(counts);
        const std::size_t most = made.needs_if(options.penalty_window);
        error failure;
        detail::allocate(made.candidates_, most == 0 || most > vocabulary ? vocabulary : most, "sampler candidates",
                         failure);
        detail::allocate(made.recent_, options.penalty_window, "recent tokens", failure);
        if (failure.code != errc{}) {
            return failure;
        }
        return made;
    }

    /// Chooses a token. Changes only the random state; call accept() with the token that was taken.
    /// \pre logits.size() is the vocabulary size given to open(), and not 0.
    [[nodiscard]] token choose(std::span<const float> logits) noexcept {
        assert(logits.size() == vocabulary_ && !logits.empty());
        return choose_of(logits.size(), [&](std::size_t i) noexcept -> candidate {
            return {logits[i], static_cast<token>(i), 0.0f};
        });
    }

    /// The same from the needs() largest logits alone, in any order: the token that all logits would give.
    /// \pre 0 < needs() <= largest.size() or largest has all tokens; every token once
    [[nodiscard]] token choose(std::span<const scored_token> largest) noexcept {
        assert(!largest.empty() && largest.size() <= vocabulary_);
        return choose_of(largest.size(), [&](std::size_t i) noexcept -> candidate {
            return {largest[i].logit, largest[i].id, 0.0f};
        });
    }

    /// How many of the largest logits are enough for choose(); 0 if only all of them are. Greedy needs one, top_k
    /// needs k. If penalties lower the logits of c recent tokens, at most c others take their places: c more are
    /// enough.
    [[nodiscard]] std::size_t needs() const noexcept {
        const detail::default_float_environment environment;
        return needs_if(counts_.distinct());
    }

    /// Counts a token among the recent ones: those that were chosen, and those of the prompt if they should count.
    /// \pre 0 <= id < vocabulary
    void accept(token id) noexcept {
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
    }

    /// Writes the random state, the recent tokens, and the options, which restore() compares but for the seed.
    /// Allocates nothing itself. \return what the sink returns
    [[nodiscard]] result<void> save(byte_sink sink) const {
        const detail::saved_sampler header = saved();
        detail::checksum sum;
        const auto write = [&](const void* data, std::size_t size) {
            const std::span bytes(static_cast<const std::byte*>(data), size);
            sum.add(bytes);
            return sink.write(bytes);
        };
        auto written = write(&header, sizeof header);
        for (std::size_t i = 0; written && i < header.recent; ++i) {
            const token id = recent_[(accepted_ - header.recent + i) % recent_.size()];
            written = write(&id, sizeof id);
        }
        const std::uint64_t value = sum.value();
        return written ? write(&value, sizeof value) : std::move(written);
    }
    /// Bytes that save() writes.
    [[nodiscard]] std::uint64_t saved_bytes() const noexcept {
        return detail::saved_sampler::bytes_with(saved().recent);
    }
    /// Becomes the sampler that was saved. Allocates nothing. \param name what error messages call the save
    /// \return errc::truncated, bad_magic, bad_version, bad_checksum, inconsistent or invalid_token for what is no
    /// whole save, wrong_model if options or vocabulary differ. The sampler stays as it was then.
    [[nodiscard]] result<void> restore(std::span<const std::byte> bytes, std::string_view name = "saved sampler") {
        const auto read = detail::saved_sampler::read(bytes, name, saved());
        if (!read) {
            return failed(read);
        }
        reset();
        for (std::size_t i = 0; i < read->recent; ++i) {
            accept(detail::saved_sampler::recent_token(bytes, i));
        }
        random_ = read->random;
        options_.seed = read->numbers[2];
        return {};
    }

    /// Another sampler in the same state. \return errc::out_of_memory.
    [[nodiscard]] result<sampler> copy() const {
        auto made = open(options_, vocabulary_);
        const std::size_t held = (std::min)(accepted_, recent_.size());
        for (std::size_t i = 0; made && i < held; ++i) { // the oldest first
            made->accept(recent_[(accepted_ - held + i) % recent_.size()]);
        }
        if (made) {
            made->random_ = random_;
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

    /// What a save begins with.
    [[nodiscard]] detail::saved_sampler saved() const noexcept {
        const sampler_options& o = options_;
        detail::saved_sampler made;
        made.magic = detail::saved_sampler::spelled_magic();
        made.recent = static_cast<std::uint32_t>(accepted_ < recent_.size() ? accepted_ : recent_.size());
        const float fractions[] = {o.temperature,      o.top_p, o.min_p, o.repeat_penalty, o.presence_penalty,
                                   o.frequency_penalty};
        for (std::size_t i = 0; i < made.fractions.size(); ++i) {
            made.fractions[i] = std::bit_cast<std::uint32_t>(fractions[i]);
        }
        made.numbers = {o.top_k, o.penalty_window, o.seed, vocabulary_};
        made.random = random_;
        return made;
    }

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

    [[nodiscard]] static bool before(const candidate& a, const candidate& b) noexcept {
        return detail::precedes(a.logit, a.id, b.logit, b.id);
    }

    /// needs() if `distinct` tokens are recent.
    [[nodiscard]] std::size_t needs_if(std::size_t distinct) const noexcept {
        constexpr std::size_t most = SIZE_MAX / 2; // so that the sum below is one
        const std::size_t top_k = options_.top_k < most ? options_.top_k : most;
        const std::size_t kept = is_greedy() ? 1 : top_k;
        const bool lowers =
            options_.repeat_penalty >= 1.0f && options_.presence_penalty >= 0.0f && options_.frequency_penalty >= 0.0f;
        if (kept == 0 || (distinct != 0 && !lowers)) {
            return 0;
        }
        const bool penalizes =
            options_.repeat_penalty != 1.0f || options_.presence_penalty != 0.0f || options_.frequency_penalty != 0.0f;
        return kept + (penalizes ? distinct : 0);
    }

    /// Chooses among the candidates at(0) ... at(size - 1), of which it keeps as many as it needs.
    template <class At> [[nodiscard]] token choose_of(std::size_t size, At at) noexcept {
        const detail::default_float_environment environment;
        const std::size_t needed = needs_if(counts_.distinct());
        const std::size_t n = needed == 0 || needed > size ? size : needed;
        for (std::size_t i = 0; i < n; ++i) {
            candidates_[i] = at(i);
        }
        if (n != size) {
            take_larger(n, size, at);
        }
        for (std::size_t i = 0; i < n; ++i) {
            candidates_[i].logit = penalized(candidates_[i].logit, counts_.of(candidates_[i].id));
        }
        return choose_among(n);
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
    std::size_t vocabulary_ = 0;
    buffer<candidate> candidates_; ///< [what needs() can be, or the vocabulary]
    detail::token_counts counts_;  ///< of the recent tokens
    buffer<token> recent_;         ///< ring
    std::size_t accepted_ = 0;
};

} // namespace bitnet::inline BITNET_ABI
BITNET_PRECISE_END

#endif
