// SPDX-License-Identifier: MIT
// token_store and token_index: the bytes of every token, and the token of given bytes.
#ifndef BITNET_TEXT_TOKEN_INDEX_HPP
#define BITNET_TEXT_TOKEN_INDEX_HPP

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/checked.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/text/token.hpp>

#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// The bytes of tokens 0, 1, 2, ... one after another in one block of memory that it owns.
class token_store {
public:
    /// Bytes of memory for `count` tokens of `bytes` bytes in total.
    [[nodiscard]] static std::uint64_t bytes_for(std::uint64_t count, std::uint64_t bytes) noexcept {
        return (count + 1) * sizeof(std::uint32_t) + bytes;
    }
    /// Room for `count` tokens of `bytes` bytes in total.
    /// \return errc::out_of_memory with the bytes asked for.
    [[nodiscard]] static result<token_store> allocate(std::uint64_t count, std::uint64_t bytes,
                                                      const memory_source* memory = nullptr) {
        const memory_from from{memory, {memory_use::tables, false}};
        token_store made;
        auto ends = buffer<std::uint32_t>::allocate(count + 1, "token offsets", from);
        if (!ends) {
            return failed(ends);
        }
        auto text = buffer<char>::allocate(bytes, "token bytes", from);
        if (!text) {
            return failed(text);
        }
        made.ends_ = *std::move(ends);
        made.bytes_ = *std::move(text);
        return made;
    }

    /// Where the next token's bytes go. They are not part of the store before append().
    [[nodiscard]] char* free_space() noexcept { return bytes_.data() + ends_[count_]; }

    /// Makes the first `size` bytes of free_space() the next token. \pre they fit what was allocated
    void append(std::size_t size) noexcept {
        assert(count_ + 1 < ends_.size() && size <= bytes_.size() - ends_[count_]);
        ends_[count_ + 1] = ends_[count_] + static_cast<std::uint32_t>(size);
        ++count_;
    }

    [[nodiscard]] std::size_t size() const noexcept { return count_; }

    /// \pre 0 <= id < size()
    [[nodiscard]] std::string_view operator[](token id) const noexcept {
        const auto i = static_cast<std::size_t>(id);
        assert(i < count_);
        return {bytes_.data() + ends_[i], ends_[i + 1] - ends_[i]};
    }

private:
    buffer<std::uint32_t> ends_; ///< ends_[i + 1] is where token i ends
    buffer<char> bytes_;
    std::size_t count_ = 0;
};

/// Tables below give up when a key is this far from its place. In a table half full of ordinary keys, the
/// farthest of a million is below 100; only a file made to collide gets here, which would otherwise load in quadratic
/// time.
inline constexpr std::size_t longest_probe = 1024;

/// 64 well mixed bits of a short string, eight bytes at a time.
[[nodiscard]] inline std::uint64_t hash_bytes(std::string_view bytes) noexcept {
    constexpr std::uint64_t odd = 0x9e3779b97f4a7c15u; // 2^64 divided by the golden ratio
    const auto mix = [](std::uint64_t h) { return (h ^ (h >> 32)) * odd; };
    std::uint64_t hash = bytes.size() * odd;
    const char* at = bytes.data();
    std::size_t left = bytes.size();
    std::uint64_t word = 0;
    for (; left >= 8; at += 8, left -= 8) {
        std::memcpy(&word, at, 8);
        hash = mix(hash ^ word);
    }
    word = 0;
    if (left >= 4) { // two halves that may overlap: no byte loop
        std::uint32_t low = 0;
        std::uint32_t high = 0;
        std::memcpy(&low, at, 4);
        std::memcpy(&high, at + left - 4, 4);
        word = low | (std::uint64_t{high} << 32);
    } else if (left != 0) {
        const auto byte = [at](std::size_t i) { return std::uint64_t{static_cast<unsigned char>(at[i])}; };
        word = byte(0) | (byte(left / 2) << 8) | (byte(left - 1) << 16);
    }
    hash = mix(hash ^ word);
    return hash ^ (hash >> 29);
}

/// The token of given bytes: a flat hash table, at most half full, linear probing. Holds ids; the bytes stay in the
/// token_store, which is passed in so that both can be moved freely.
class token_index {
public:
    /// Bytes of memory for `count` tokens.
    [[nodiscard]] static std::uint64_t bytes_for(std::uint64_t count) noexcept {
        return slots_for(count) * sizeof(slot);
    }
    /// \return errc::out_of_memory with the bytes asked for.
    [[nodiscard]] static result<token_index> allocate(std::uint64_t count, const memory_source* memory = nullptr) {
        auto table = buffer<slot>::allocate(slots_for(count), "token index", {memory, {memory_use::tables, false}});
        if (!table) {
            return failed(table);
        }
        token_index made;
        made.slots_ = *std::move(table);
        return made;
    }

    enum class outcome { inserted, duplicate, crowded };

    /// Adds token `id` of `store`. `crowded`: longest_probe was reached.
    [[nodiscard]] outcome insert(const token_store& store, token id) noexcept {
        const std::string_view bytes = store[id];
        const std::uint64_t hash = hash_bytes(bytes);
        const std::size_t mask = slots_.size() - 1;
        for (std::size_t probe = 0; probe < longest_probe; ++probe) {
            slot& s = slots_[(to_size(hash >> 32) + probe) & mask];
            if (s.token_plus_one == 0) {
                s = {static_cast<std::uint32_t>(hash), static_cast<std::uint32_t>(id) + 1};
                return outcome::inserted;
            }
            if (holds(s, hash, bytes, store)) {
                return outcome::duplicate;
            }
        }
        return outcome::crowded;
    }

    /// A hint that these bytes will be looked for or added soon: the table is larger than most caches. Inlined, because
    /// g++ drops calls of functions that only prefetch.
    BITNET_ALWAYS_INLINE void fetch([[maybe_unused]] std::string_view bytes) const noexcept {
#if defined(__GNUC__)
        __builtin_prefetch(&slots_[to_size(hash_bytes(bytes) >> 32) & (slots_.size() - 1)], 1);
#endif
    }

    /// The token with exactly these bytes, or no_token.
    [[nodiscard]] token find(const token_store& store, std::string_view bytes) const noexcept {
        const std::uint64_t hash = hash_bytes(bytes);
        const std::size_t mask = slots_.size() - 1;
        for (std::size_t i = to_size(hash >> 32) & mask;; i = (i + 1) & mask) {
            const slot& s = slots_[i];
            if (s.token_plus_one == 0) { // at most half full: every probe ends here
                return no_token;
            }
            if (holds(s, hash, bytes, store)) {
                return static_cast<token>(s.token_plus_one - 1);
            }
        }
    }

private:
    [[nodiscard]] static std::uint64_t slots_for(std::uint64_t count) noexcept { return std::bit_ceil(2 * count + 2); }
    struct slot {
        std::uint32_t tag; ///< low half of the hash; the high half gives the place
        std::uint32_t token_plus_one;
    };

    [[nodiscard]] static bool holds(const slot& s, std::uint64_t hash, std::string_view bytes,
                                    const token_store& store) noexcept {
        return s.tag == static_cast<std::uint32_t>(hash) && store[static_cast<token>(s.token_plus_one - 1)] == bytes;
    }

    buffer<slot> slots_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
