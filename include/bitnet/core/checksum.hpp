// SPDX-License-Identifier: MIT
// checksum: 64 bits that show whether bytes are those that were written.
#ifndef BITNET_CORE_CHECKSUM_HPP
#define BITNET_CORE_CHECKSUM_HPP

#include <bitnet/core/config.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace bitnet::inline BITNET_ABI::detail {

/// A hash of bytes that are given piece by piece, at several gigabytes a second: the value does not depend on where the
/// pieces end. Bytes are cut into blocks of eight little-endian words, the last filled up with zeros; word i goes to
/// lane i, lane = rotate(lane ^ word, 29) * an odd constant. value() folds the lanes and the number of bytes in the
/// same way, and mixes. Every step is one to one in each operand, so that a change within one word always shows; others
/// pass with a probability of 2^-64 unless they were made to pass: this is no signature.
class checksum {
public:
    explicit checksum(std::uint64_t seed = 0) noexcept {
        for (std::size_t i = 0; i < lanes; ++i) {
            lanes_[i] = step(seed, i);
        }
    }

    void add(std::span<const std::byte> bytes) noexcept {
        size_ += bytes.size();
        if (held_ != 0) {
            const std::size_t room = block_bytes - held_;
            const auto taken = bytes.first(bytes.size() < room ? bytes.size() : room);
            hold(taken);
            bytes = bytes.subspan(taken.size());
            if (held_ < block_bytes) {
                return;
            }
            add_blocks(rest_.data(), 1);
            held_ = 0;
        }
        const std::size_t whole = bytes.size() / block_bytes;
        add_blocks(bytes.data(), whole);
        hold(bytes.subspan(whole * block_bytes));
    }

    [[nodiscard]] std::uint64_t value() const noexcept {
        checksum last = *this;
        if (held_ != 0) {
            std::memset(last.rest_.data() + held_, 0, block_bytes - held_);
            last.add_blocks(last.rest_.data(), 1);
        }
        std::uint64_t folded = size_;
        for (const std::uint64_t lane : last.lanes_) {
            folded = step(folded, lane);
        }
        folded = (folded ^ (folded >> 32)) * multiplier;
        return folded ^ (folded >> 29);
    }

    [[nodiscard]] static std::uint64_t of(std::span<const std::byte> bytes, std::uint64_t seed = 0) noexcept {
        checksum made(seed);
        made.add(bytes);
        return made.value();
    }

private:
    static constexpr std::size_t lanes = 8;
    static constexpr std::size_t block_bytes = lanes * sizeof(std::uint64_t);
    static constexpr std::uint64_t multiplier = 0x9fb21c651e98df25u; // odd, half of its bits set

    [[nodiscard]] static constexpr std::uint64_t step(std::uint64_t lane, std::uint64_t word) noexcept {
        return std::rotl(lane ^ word, 29) * multiplier;
    }

    void add_blocks(const std::byte* at, std::size_t count) noexcept {
        std::array<std::uint64_t, lanes> now = lanes_; // in registers
        for (std::size_t block = 0; block < count; ++block, at += block_bytes) {
            std::array<std::uint64_t, lanes> words;
            std::memcpy(words.data(), at, block_bytes);
            for (std::size_t i = 0; i < lanes; ++i) {
                now[i] = step(now[i], words[i]);
            }
        }
        lanes_ = now;
    }
    void hold(std::span<const std::byte> bytes) noexcept {
        if (!bytes.empty()) {
            std::memcpy(rest_.data() + held_, bytes.data(), bytes.size());
            held_ += bytes.size();
        }
    }

    std::array<std::uint64_t, lanes> lanes_;
    std::array<std::byte, block_bytes> rest_{};
    std::size_t held_ = 0; ///< bytes in rest_
    std::uint64_t size_ = 0;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
