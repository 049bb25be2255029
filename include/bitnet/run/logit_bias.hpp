// SPDX-License-Identifier: MIT
// logit_bias: what a program adds to the logit of a token, or that it must not be chosen.
#ifndef BITNET_RUN_LOGIT_BIAS_HPP
#define BITNET_RUN_LOGIT_BIAS_HPP

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/memory_source.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/core/sort_first.hpp>
#include <bitnet/text/token.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

BITNET_PRECISE_BEGIN
namespace bitnet::inline BITNET_ABI {

struct logit_bias {
    token id;
    float bias; ///< -1000 to 1000, or forbidden()

    /// The bias of a token that is never chosen: minus infinity.
    [[nodiscard]] static constexpr float forbidden() noexcept { return std::bit_cast<float>(0xff800000u); }
};

namespace detail {

[[nodiscard]] inline bool is_forbidden(float bias) noexcept {
    return std::bit_cast<std::uint32_t>(bias) == 0xff800000u;
}

[[nodiscard]] inline token token_of(token id) noexcept { return id; }
template <class Entry> [[nodiscard]] token token_of(const Entry& entry) noexcept { return entry.id; }

/// The entry of token `id` in entries that ascend by it; null if there is none.
template <class Entry> [[nodiscard]] const Entry* find_token(std::span<const Entry> entries, token id) noexcept {
    while (!entries.empty()) {
        const std::size_t middle = entries.size() / 2;
        const token here = token_of(entries[middle]);
        if (here == id) {
            return &entries[middle];
        }
        entries = here < id ? entries.subspan(middle + 1) : entries.first(middle);
    }
    return nullptr;
}

/// The biases of a sampler, each token once, in the order of the vocabulary.
class bias_table {
public:
    /// \return errc::invalid_argument naming the token, errc::out_of_memory.
    [[nodiscard]] static result<bias_table> open(std::span<const logit_bias> biases, std::size_t vocabulary,
                                                 const memory_from& from) {
        bias_table made;
        if (biases.size() > vocabulary) {
            return error_saying(
                errc::invalid_argument,
                {"sampler: ", biases.size(), " biases were given, the vocabulary has ", vocabulary, " tokens"});
        }
        error failure;
        allocate(made.entries_, biases.size(), "logit biases", failure, from);
        if (failure.code != errc{}) {
            return failure;
        }
        for (std::size_t i = 0; i < biases.size(); ++i) {
            if (auto checked = check_entry(biases[i], vocabulary); !checked) {
                return failed(checked);
            }
            made.entries_[i] = biases[i];
            const std::size_t place = place_of(biases[i].id);
            made.known_[place / 64] |= std::uint64_t{1} << (place % 64);
        }
        sort_first(made.entries_.data(), biases.size(), biases.size(),
                   [](const logit_bias& a, const logit_bias& b) noexcept { return a.id < b.id; });
        if (auto counted = made.count(vocabulary); !counted) {
            return failed(counted);
        }
        return made;
    }

    [[nodiscard]] std::span<const logit_bias> entries() const noexcept { return entries_.span(); }
    [[nodiscard]] const logit_bias* find(token id) const noexcept {
        const std::size_t place = place_of(id);
        return (known_[place / 64] >> (place % 64) & 1u) != 0 ? find_token(entries(), id) : nullptr;
    }
    /// How many tokens lose by it, forbidden ones included.
    [[nodiscard]] std::size_t lowered() const noexcept { return lowered_; }
    /// Whether a token gains by it.
    [[nodiscard]] bool raises() const noexcept { return raises_; }

private:
    [[nodiscard]] static std::size_t place_of(token id) noexcept { return static_cast<std::size_t>(id) % 1024; }

    [[nodiscard]] static result<void> check_entry(const logit_bias& given, std::size_t vocabulary) {
        if (given.id < 0 || static_cast<std::size_t>(given.id) >= vocabulary) {
            return error_saying(errc::invalid_argument,
                                {"sampler: a bias is of token ", given.id, ", the vocabulary has ", vocabulary});
        }
        if (!(given.bias >= -1000.0f && given.bias <= 1000.0f) && !is_forbidden(given.bias)) {
            return error_saying(errc::invalid_argument,
                                {"sampler: the bias of token ", given.id, " must be -1000 to 1000, or forbidden()"});
        }
        return {};
    }

    [[nodiscard]] result<void> count(std::size_t vocabulary) {
        std::size_t forbidden = 0;
        for (std::size_t i = 0; i < entries_.size(); ++i) {
            if (i != 0 && entries_[i].id == entries_[i - 1].id) {
                return error_saying(errc::invalid_argument,
                                    {"sampler: the bias of token ", entries_[i].id, " is given twice"});
            }
            forbidden += is_forbidden(entries_[i].bias) ? 1u : 0u;
            lowered_ += entries_[i].bias < 0.0f || is_forbidden(entries_[i].bias) ? 1u : 0u;
            raises_ = raises_ || entries_[i].bias > 0.0f;
        }
        if (forbidden == vocabulary && vocabulary != 0) {
            return error_saying(errc::invalid_argument,
                                {"sampler: all ", vocabulary, " tokens are forbidden, none is left to choose"});
        }
        return {};
    }

    buffer<logit_bias> entries_;
    std::array<std::uint64_t, 16> known_{}; ///< remainders of the ids: most tokens of a vocabulary end here
    std::size_t lowered_ = 0;
    bool raises_ = false;
};

} // namespace detail

} // namespace bitnet::inline BITNET_ABI
BITNET_PRECISE_END

#endif
