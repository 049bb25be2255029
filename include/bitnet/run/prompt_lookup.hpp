// SPDX-License-Identifier: MIT
// prompt_lookup: guesses that a sequence goes on as it did where its last tokens stood before.
#ifndef BITNET_RUN_PROMPT_LOOKUP_HPP
#define BITNET_RUN_PROMPT_LOOKUP_HPP

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/checked.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/memory_source.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/text/token.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// A token_draft without a model: copies what followed the longest of the sequence's ends that stands in it earlier,
/// the latest where several are as long; where that runs into the end of the sequence, it repeats. For texts that
/// quote, edit or summarise their prompt, code, JSON. Serves one session at a time, and finds out itself that one was
/// rewound. Allocates in open() only, 12 to 16 bytes for each position. Cost: 10 ns for each token that is new, and for
/// a guess some microseconds at most: no more than 32 places are compared. Saxena, "Prompt Lookup Decoding", 2023.
class prompt_lookup {
public:
    /// \param context of the session: positions beyond are not looked up
    /// \param shortest 1 to 16: ends of fewer tokens are not looked up. Less guesses more, and worse.
    /// \param memory null: operator new \return errc::invalid_argument, errc::out_of_memory.
    [[nodiscard]] static result<prompt_lookup> open(std::size_t context, std::size_t shortest = 3,
                                                    const memory_source* memory = nullptr) {
        if (shortest == 0 || shortest > longest) {
            return detail::error_saying(
                errc::invalid_argument,
                {"prompt lookup: ends of ", shortest, " tokens were asked for, 1 to ", longest, " are possible"});
        }
        prompt_lookup made;
        made.shortest_ = shortest;
        const std::size_t positions = (std::min)(context, most_positions);
        const detail::memory_from from{memory, {memory_use::scratch, false}};
        error failure;
        detail::allocate(made.seen_, positions, "prompt lookup", failure, from);
        detail::allocate(made.before_, positions, "prompt lookup", failure, from);
        detail::allocate(made.latest_, std::bit_ceil(positions + 1), "prompt lookup", failure, from);
        if (failure.code != errc{}) {
            return failure;
        }
        std::fill(made.latest_.span().begin(), made.latest_.span().end(), none);
        return made;
    }

    /// What it takes.
    [[nodiscard]] static std::uint64_t bytes(std::size_t context) noexcept {
        const std::size_t positions = (std::min)(context, most_positions);
        return std::uint64_t{positions} * (sizeof(token) + sizeof(std::uint32_t)) +
               std::uint64_t{std::bit_ceil(positions + 1)} * sizeof(std::uint32_t);
    }

    /// See token_draft. No more than 64.
    [[nodiscard]] std::span<const token> propose(std::span<const token> all, std::size_t at_most) noexcept {
        take_in(all);
        const std::size_t behind = find(all);
        if (behind == 0) {
            return {};
        }
        const std::size_t count = (std::min)(at_most, guesses_.size());
        for (std::size_t i = 0; i < count; ++i) {
            guesses_[i] = behind + i < all.size() ? all[behind + i] : guesses_[behind + i - all.size()];
        }
        return {guesses_.data(), count};
    }

private:
    static constexpr std::size_t longest = 16; ///< ends that are told apart
    static constexpr std::size_t most_places = 32;
    static constexpr std::size_t most_positions = std::size_t{1} << 24;
    static constexpr std::uint32_t none = UINT32_MAX;

    prompt_lookup() noexcept = default;

    /// Where positions are listed that end the same shortest_ tokens, and some others. \pre shortest_ <= end
    [[nodiscard]] std::uint32_t& list_of(std::span<const token> all, std::size_t end) noexcept {
        std::uint64_t hash = 0;
        for (std::size_t i = end - shortest_; i < end; ++i) {
            hash = (hash ^ static_cast<std::uint32_t>(all[i])) * 0x9e3779b97f4a7c15u;
            hash ^= hash >> 32;
        }
        return latest_[detail::to_size(hash & (latest_.size() - 1))];
    }

    /// Lists the tokens that are new, after those that a rewound session has no more. Places are named by the number of
    /// tokens before their end.
    void take_in(std::span<const token> all) noexcept {
        const std::size_t size = (std::min)(all.size(), seen_.size());
        for (const std::size_t common = common_begin(all.first((std::min)(known_, size))); known_ > common; --known_) {
            if (known_ >= shortest_) {
                list_of(seen_.span(), known_) = before_[known_ - 1]; // the latest of its list
            }
        }
        while (known_ < size) {
            seen_[known_] = all[known_];
            if (++known_ >= shortest_) {
                std::uint32_t& latest = list_of(all, known_);
                before_[known_ - 1] = std::exchange(latest, static_cast<std::uint32_t>(known_));
            }
        }
    }
    /// How many of the first tokens are those that were seen.
    [[nodiscard]] std::size_t common_begin(std::span<const token> all) const noexcept {
        if (all.empty() || std::memcmp(all.data(), seen_.data(), all.size_bytes()) == 0) {
            return all.size();
        }
        return static_cast<std::size_t>(std::mismatch(all.begin(), all.end(), seen_.data()).first - all.begin());
    }

    /// How many tokens stand before what is to be copied; 0 if there is nothing.
    [[nodiscard]] std::size_t find(std::span<const token> all) noexcept {
        const std::size_t size = all.size();
        if (size < shortest_ || size > seen_.size()) {
            return 0;
        }
        std::size_t best = 0;
        std::size_t best_length = shortest_ - 1;
        std::uint32_t place = list_of(all, size);
        for (std::size_t i = 0; i < most_places && place != none && best_length < longest; ++i) {
            if (place < size) { // not the end itself
                const std::size_t length = common_end(all, place);
                best = length > best_length ? place : best;
                best_length = (std::max)(length, best_length);
            }
            place = before_[place - 1];
        }
        return best;
    }
    /// How many tokens before `end` are those before the end of all, up to `longest`.
    [[nodiscard]] static std::size_t common_end(std::span<const token> all, std::size_t end) noexcept {
        const std::size_t most = (std::min)(end, longest);
        std::size_t length = 0;
        while (length < most && all[end - 1 - length] == all[all.size() - 1 - length]) {
            ++length;
        }
        return length;
    }

    std::size_t shortest_ = 3;
    buffer<token> seen_;           ///< [positions] as they were listed
    buffer<std::uint32_t> before_; ///< [positions] of a place, less one: the one in its list before it
    buffer<std::uint32_t> latest_; ///< [power of two] of a hash
    std::size_t known_ = 0;
    std::array<token, 64> guesses_{};
};

} // namespace bitnet::inline BITNET_ABI

#endif
