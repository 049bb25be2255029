// SPDX-License-Identifier: MIT
// mask_cache: masks that were made before, found by what they depend on.
#ifndef BITNET_CONSTRAIN_MASK_CACHE_HPP
#define BITNET_CONSTRAIN_MASK_CACHE_HPP

#include <bitnet/constrain/mask_key.hpp>
#include <bitnet/constrain/mask_walk.hpp>
#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace bitnet::inline BITNET_ABI::detail {

/// A fixed number of masks; a new one takes the place of one that was not used for the longest time, about. Allocates
/// in open() only, where it touches 9 bytes a mask.
class mask_cache {
public:
    /// \param words of a mask. \return errc::out_of_memory.
    [[nodiscard]] static result<mask_cache> open(std::size_t masks, std::size_t words) {
        mask_cache made;
        made.words_ = words;
        error failure;
        allocate_uninitialized(made.bits_, std::uint64_t{masks} * words, "grammar masks", failure);
        allocate_uninitialized(made.entries_, masks, "grammar masks", failure);
        allocate(made.hashes_, masks, "grammar masks", failure);
        allocate(made.is_used_, masks, "grammar masks", failure);
        if (failure.code != errc{}) {
            return failure;
        }
        return made;
    }

    static constexpr std::size_t nowhere = static_cast<std::size_t>(-1);

    /// The mask of a state; nowhere if it has to be made.
    [[nodiscard]] std::size_t find(const mask_key& key) noexcept {
        for (std::size_t depth = 0; depth < key.depths(); ++depth) {
            if ((depths_in_use_ >> depth & 1) == 0) {
                continue;
            }
            const std::span<const std::uint32_t> words = key.key(depth);
            const std::uint64_t hash = hash_of(words, depth);
            for (std::size_t i = 0; i < hashes_.size(); ++i) {
                if (hashes_[i] == hash && entries_[i].depth == depth && is_of(entries_[i], words)) {
                    is_used_[i] = true;
                    return i;
                }
            }
        }
        return nowhere;
    }

    /// A place for a new mask, whose bits are 0. It is found again after keep().
    [[nodiscard]] std::size_t make_room() noexcept {
        while (is_used_[hand_]) {
            is_used_[hand_] = false;
            hand_ = (hand_ + 1) % entries_.size();
        }
        const std::size_t at = hand_;
        hand_ = (hand_ + 1) % entries_.size();
        hashes_[at] = 0;
        const std::span<std::uint64_t> cleared = bits(at);
        std::fill(cleared.begin(), cleared.end(), 0u);
        return at;
    }
    /// \pre depth < key.depths()
    void keep(std::size_t at, const walked_mask& mask, const mask_key& key, std::size_t depth) noexcept {
        const std::span<const std::uint32_t> words = key.key(depth);
        entry& made = entries_[at];
        made.mask = mask;
        made.depth = depth;
        made.size = words.size();
        std::copy(words.begin(), words.end(), made.words.begin());
        is_used_[at] = true;
        hashes_[at] = hash_of(words, depth);
        depths_in_use_ |= 1u << depth;
    }

    [[nodiscard]] std::span<std::uint64_t> bits(std::size_t at) noexcept {
        return bits_.span().subspan(at * words_, words_);
    }
    [[nodiscard]] const walked_mask& mask(std::size_t at) const noexcept { return entries_[at].mask; }
    [[nodiscard]] std::size_t memory_bytes() const noexcept {
        return bits_.size_bytes() + entries_.size_bytes() + hashes_.size_bytes() + is_used_.size_bytes();
    }

private:
    struct entry {
        walked_mask mask;
        std::size_t depth;
        std::size_t size;
        std::array<std::uint32_t, mask_key::most_words> words;
    };

    /// Never 0, which is what a place without a mask has.
    [[nodiscard]] static std::uint64_t hash_of(std::span<const std::uint32_t> words, std::size_t depth) noexcept {
        std::uint64_t hash = depth + 1;
        for (const std::uint32_t word : words) {
            hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
            hash ^= hash >> 32;
        }
        return hash | 1;
    }
    [[nodiscard]] static bool is_of(const entry& made, std::span<const std::uint32_t> words) noexcept {
        return made.size == words.size() && std::equal(words.begin(), words.end(), made.words.begin());
    }

    std::size_t words_ = 0;
    std::size_t hand_ = 0;
    unsigned depths_in_use_ = 0;
    buffer<std::uint64_t> bits_;
    buffer<entry> entries_;
    buffer<std::uint64_t> hashes_; ///< 0: no mask is kept there, and bits and entry are not written
    buffer<bool> is_used_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
