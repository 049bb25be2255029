// SPDX-License-Identifier: MIT
// token_logprob, logprobs_among: natural logarithms of the probabilities that logits stand for.
#ifndef BITNET_RUN_LOGPROBS_HPP
#define BITNET_RUN_LOGPROBS_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/exponential.hpp>
#include <bitnet/core/fixed_point.hpp>
#include <bitnet/core/float_environment.hpp>
#include <bitnet/model/ranking.hpp>
#include <bitnet/text/token.hpp>

#include <cassert>
#include <cstddef>
#include <span>

namespace bitnet::inline BITNET_ABI {

/// The logarithm of a token's probability: softmax(logits), without temperature or any other step of a sampler.
struct token_logprob {
    token id;
    float logprob;
};

} // namespace bitnet::inline BITNET_ABI

BITNET_PRECISE_BEGIN
namespace bitnet::inline BITNET_ABI {

namespace detail {

/// Adds up e^(logit - largest) in double, part after part. Either factor of a product has 24 bits, so that it is exact.
class exponential_sum {
public:
    explicit exponential_sum(float largest) noexcept : largest_(largest) {}

    void add(float logit) noexcept { sum_ = sum_ + static_cast<double>(software_exponential(logit - largest_)); }
    /// Logits whose own sum is `sum`, relative to the largest of them, `logit`.
    void add(float logit, float sum) noexcept {
        const double share = static_cast<double>(software_exponential(logit - largest_));
        sum_ = share > 0.0 ? sum_ + share * static_cast<double>(sum) : sum_;
    }
    [[nodiscard]] float largest() const noexcept { return largest_; }
    [[nodiscard]] double value() const noexcept { return sum_; }

private:
    float largest_;
    double sum_ = 0.0;
};

/// What turns logits into logprobs. The sum begins with the largest logit's 1, so that its logarithm is not below 0;
/// that is found by integers, with an error below 1e-15.
class log_normalizer {
public:
    explicit log_normalizer(const exponential_sum& all) noexcept : largest_(static_cast<double>(all.largest())) {
        const double sum = all.value();
        constexpr double ln2 = 0x1.62e42fefa39efp-1;
        const bool is_sum = sum >= 1.0 && sum < 0x1p62; // logits that are not finite have none
        log_of_sum_ = is_sum ? static_cast<double>(log2_fixed(sum)) * 0x1p-57 * ln2 : sum - sum;
    }
    [[nodiscard]] float logprob(float logit) const noexcept {
        const double below = static_cast<double>(logit) - largest_;
        return static_cast<float>(below - log_of_sum_);
    }

private:
    double largest_;
    double log_of_sum_;
};

} // namespace detail

/// The logprobs relative to `tokens` alone, in their order: of those that a grammar allows, for example. The same bits
/// everywhere; the error is below 4e-6 and a float's rounding. A logit of minus infinity has that logprob, and does not
/// count. \pre out has the size of tokens
inline void logprobs_among(std::span<const scored_token> tokens, std::span<token_logprob> out) noexcept {
    assert(out.size() == tokens.size());
    const detail::default_float_environment environment;
    if (tokens.empty()) {
        return;
    }
    float largest = tokens[0].logit;
    for (const scored_token& each : tokens) {
        largest = each.logit > largest ? each.logit : largest;
    }
    detail::exponential_sum sum(largest);
    for (const scored_token& each : tokens) {
        sum.add(each.logit);
    }
    const detail::log_normalizer normalizer(sum);
    for (std::size_t i = 0; i < tokens.size(); ++i) {
        out[i] = {tokens[i].id, normalizer.logprob(tokens[i].logit)};
    }
}

} // namespace bitnet::inline BITNET_ABI
BITNET_PRECISE_END

#endif
