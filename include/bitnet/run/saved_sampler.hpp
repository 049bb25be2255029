// SPDX-License-Identifier: MIT
// saved_sampler: the bytes of a saved sampler, written and read.
//
// All numbers are little-endian.
//
//     offset  bytes  what
//          0      8  "BITNETSA"
//          8      4  version, 1
//         12      4  n, the recent tokens
//         16  6 * 4  temperature, top_p, min_p, repeat, presence and frequency penalty, f32
//         40  4 * 8  top_k, penalty window, seed, vocabulary
//         72      8  random state
//         80    4 n  recent tokens, the oldest first
//                 8  checksum of the bytes before
#ifndef BITNET_RUN_SAVED_SAMPLER_HPP
#define BITNET_RUN_SAVED_SAMPLER_HPP

#include <bitnet/core/checksum.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/text/token.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// The first bytes of a saved sampler.
struct saved_sampler {
    static constexpr std::size_t bytes = 80;
    static constexpr std::string_view known_magic = "BITNETSA";
    static constexpr std::uint32_t known_version = 1;

    std::array<char, 8> magic{};
    std::uint32_t version = known_version;
    std::uint32_t recent = 0;
    std::array<std::uint32_t, 6> fractions{}; ///< the bits of f32 options
    std::array<std::uint64_t, 4> numbers{};   ///< options that are numbers, and the vocabulary
    std::uint64_t random = 0;

    [[nodiscard]] static constexpr std::uint64_t bytes_with(std::uint64_t recent_tokens) noexcept {
        return bytes + recent_tokens * sizeof(token) + sizeof(std::uint64_t);
    }

    [[nodiscard]] static std::array<char, 8> spelled_magic() noexcept {
        std::array<char, 8> made{};
        std::memcpy(made.data(), known_magic.data(), made.size());
        return made;
    }

    /// Checks `saved` against the sampler that takes it, whose options and vocabulary `here` has. Allocates nothing.
    /// \return errc::truncated, bad_magic, bad_version, bad_checksum, inconsistent, wrong_model or invalid_token
    [[nodiscard]] static inline result<saved_sampler> read(std::span<const std::byte> saved, std::string_view name,
                                                           const saved_sampler& here);

    /// \pre i < recent, of the bytes that read() has checked
    [[nodiscard]] static token recent_token(std::span<const std::byte> saved, std::size_t i) noexcept {
        token id = 0;
        std::memcpy(&id, saved.data() + bytes + i * sizeof id, sizeof id);
        return id;
    }

private:
    [[nodiscard]] inline result<void> check_options(std::string_view name, const saved_sampler& here) const;
};
static_assert(sizeof(saved_sampler) == saved_sampler::bytes, "no padding, which would have any value");

inline result<void> saved_sampler::check_options(std::string_view name, const saved_sampler& here) const {
    constexpr std::string_view fraction_names[] = {
        "temperature", "top_p", "min_p", "repeat_penalty", "presence_penalty", "frequency_penalty"};
    constexpr std::string_view number_names[] = {"top_k", "penalty_window", "seed", "vocabulary"};
    for (std::size_t i = 0; i < fractions.size(); ++i) {
        if (fractions[i] != here.fractions[i]) {
            return error_saying(errc::wrong_model,
                                {name, ": the sampler that was saved has another ", fraction_names[i],
                                 " than this one, by its bits ", fractions[i], " and ", here.fractions[i]});
        }
    }
    for (std::size_t i = 0; i < numbers.size(); ++i) {
        if (i != 2 && numbers[i] != here.numbers[i]) { // random numbers go on from their state, whatever the seed was
            return error_saying(errc::wrong_model, {name, ": the sampler that was saved has ", number_names[i], " ",
                                                    numbers[i], ", this one ", here.numbers[i]});
        }
    }
    return {};
}

inline result<saved_sampler> saved_sampler::read(std::span<const std::byte> saved, std::string_view name,
                                                 const saved_sampler& here) {
    saved_sampler made;
    if (saved.size() < bytes_with(0)) {
        return error_saying(errc::truncated, {name, ": a saved sampler has at least ", bytes_with(0),
                                              " bytes, these are ", saved.size()});
    }
    std::memcpy(&made, saved.data(), bytes);
    const std::string_view magic(made.magic.data(), made.magic.size());
    if (magic != known_magic) {
        return error_saying(errc::bad_magic, {name, ": is no saved sampler: it begins with ", quoted{magic},
                                              ", not with ", quoted{known_magic}});
    }
    if (made.version != known_version) {
        return error_saying(errc::bad_version, {name, ": is of version ", made.version,
                                                " of saved samplers, only version ", known_version, " is read"});
    }
    const std::uint64_t expected = bytes_with(made.recent);
    if (saved.size() != expected) {
        return error_saying(saved.size() < expected ? errc::truncated : errc::inconsistent,
                            {name, ": a saved sampler with ", made.recent, " recent tokens has ", expected,
                             " bytes, these are ", saved.size()});
    }
    std::uint64_t stored = 0;
    const auto checked = saved.first(saved.size() - sizeof stored);
    std::memcpy(&stored, saved.data() + checked.size(), sizeof stored);
    if (const std::uint64_t found = checksum::of(checked); found != stored) {
        return error_saying(errc::bad_checksum, {name, ": the bytes of the sampler have the checksum ", found, ", and ",
                                                 stored, " was saved with them"});
    }
    if (auto same = made.check_options(name, here); !same) {
        return failed(same);
    }
    for (std::size_t i = 0; i < made.recent; ++i) {
        const token id = recent_token(saved, i);
        if (made.recent > here.numbers[1] || id < 0 || static_cast<std::uint64_t>(id) >= here.numbers[3]) {
            return error_saying(errc::invalid_token,
                                {name, ": recent token ", i, " of ", made.recent, " is ", id, ", the window has ",
                                 here.numbers[1], " tokens and the vocabulary ", here.numbers[3]});
        }
    }
    return made;
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
