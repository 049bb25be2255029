// SPDX-License-Identifier: MIT
// Masks of tokens as lists: of ids, and of candidates with their logits.
#ifndef BITNET_CONSTRAIN_MASK_BITS_HPP
#define BITNET_CONSTRAIN_MASK_BITS_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/model/ranking.hpp>
#include <bitnet/text/token.hpp>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

namespace bitnet::inline BITNET_ABI::detail {

/// Calls use(id) of each bit that is set, ascending.
template <class Use> void for_each_bit(std::span<const std::uint64_t> bits, Use&& use) {
    for (std::size_t word = 0; word < bits.size(); ++word) {
        for (std::uint64_t rest = bits[word]; rest != 0; rest &= rest - 1) {
            use(word * 64 + static_cast<std::size_t>(std::countr_zero(rest)));
        }
    }
}

/// Sets the bits of all `tokens`, and no other one.
inline void allow_all(std::span<std::uint64_t> bits, std::size_t tokens) noexcept {
    std::fill(bits.begin(), bits.end(), ~std::uint64_t{0});
    if (tokens % 64 != 0) {
        bits[tokens / 64] = (std::uint64_t{1} << tokens % 64) - 1;
    }
}

/// The ids of a mask of `count` tokens, written to `room`; none where they are more than it takes.
[[nodiscard]] inline std::span<const std::uint32_t> listed(std::span<const std::uint64_t> bits, std::size_t count,
                                                           std::span<std::uint32_t> room) noexcept {
    if (count > room.size()) {
        return {};
    }
    std::size_t used = 0;
    for_each_bit(bits, [&](std::size_t id) { room[used++] = static_cast<std::uint32_t>(id); });
    return room.first(used);
}

/// The tokens of a mask with their logits, written to `room`, ascending.
[[nodiscard]] inline std::span<const scored_token> candidates_of(std::span<const std::uint64_t> bits,
                                                                 std::span<const float> logits,
                                                                 std::span<scored_token> room) noexcept {
    std::size_t used = 0;
    for_each_bit(bits, [&](std::size_t id) { room[used++] = {static_cast<token>(id), logits[id]}; });
    return room.first(used);
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
