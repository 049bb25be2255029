// SPDX-License-Identifier: MIT
// merge_table: which two neighbouring tokens may become one, and how early.
#ifndef BITNET_TEXT_MERGE_TABLE_HPP
#define BITNET_TEXT_MERGE_TABLE_HPP

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/checked.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/text/token.hpp>
#include <bitnet/text/token_index.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// What two neighbours become. Lower ranks go first.
struct merge {
    static constexpr std::uint32_t never = (std::numeric_limits<std::uint32_t>::max)();
    std::uint32_t rank = never;
    token whole = no_token;
};

/// (left, right) -> merge: a flat hash table, at most two thirds full, linear probing, 16 bytes per slot so that a
/// probe costs one cache line.
class merge_table {
public:
    /// Bytes of memory for `count` merges.
    [[nodiscard]] static std::uint64_t bytes_for(std::uint64_t count) noexcept {
        return slots_for(count) * sizeof(slot);
    }
    /// \return errc::out_of_memory with the bytes asked for.
    [[nodiscard]] static result<merge_table> allocate(std::uint64_t count, const memory_source* memory = nullptr) {
        auto table = buffer<slot>::allocate(slots_for(count), "merge table", {memory, {memory_use::tables, false}});
        if (!table) {
            return failed(table);
        }
        merge_table made;
        made.slots_ = *std::move(table);
        return made;
    }

    [[nodiscard]] const memory_source* source() const noexcept { return slots_.source(); }

    /// A hint that this pair will be added soon: the table is larger than most caches. Inlined, because g++ drops calls
    /// of functions that only prefetch.
    BITNET_ALWAYS_INLINE void fetch([[maybe_unused]] token left, [[maybe_unused]] token right) const noexcept {
#if defined(__GNUC__)
        __builtin_prefetch(&slots_[home_of(left, right) & (slots_.size() - 1)], 1);
#endif
    }

    /// Adds a pair. \pre `made.rank` < merge::never, and no more pairs than allocate() was called for
    [[nodiscard]] token_index::outcome insert(token left, token right, merge made) noexcept {
        const std::size_t mask = slots_.size() - 1;
        const std::size_t home = home_of(left, right);
        for (std::size_t probe = 0; probe < longest_probe; ++probe) {
            slot& s = slots_[(home + probe) & mask];
            if (s.rank_plus_one == 0) {
                s = {left, right, made.rank + 1, made.whole};
                return token_index::outcome::inserted;
            }
            if (s.left == left && s.right == right) {
                return token_index::outcome::duplicate;
            }
        }
        return token_index::outcome::crowded;
    }

    /// The merge of two neighbours; {merge::never, no_token} if they have none.
    [[nodiscard]] merge find(token left, token right) const noexcept {
        const std::size_t mask = slots_.size() - 1;
        for (std::size_t i = home_of(left, right) & mask;; i = (i + 1) & mask) {
            const slot& s = slots_[i];
            if (s.rank_plus_one == 0) { // never full: every probe ends here
                return {};
            }
            if (s.left == left && s.right == right) {
                return {s.rank_plus_one - 1, s.whole};
            }
        }
    }

private:
    [[nodiscard]] static std::uint64_t slots_for(std::uint64_t count) noexcept {
        return std::bit_ceil(count + count / 2 + 2);
    }
    struct slot {
        token left;
        token right;
        std::uint32_t rank_plus_one; ///< 0: free
        token whole;
    };

    [[nodiscard]] static std::size_t home_of(token left, token right) noexcept {
        const auto low = static_cast<std::uint64_t>(static_cast<std::uint32_t>(right));
        std::uint64_t key = (static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32) | low;
        key *= 0x9e3779b97f4a7c15u; // 2^64 divided by the golden ratio: an odd number without pattern
        key = (key ^ (key >> 32)) * 0x9e3779b97f4a7c15u;
        return to_size(key >> 32);
    }

    buffer<slot> slots_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
