// SPDX-License-Identifier: MIT
// sha256: the digest by which published files are known. Source: FIPS 180-4, section 6.2.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace tools {

/// SHA-256 of bytes that may come in parts.
class sha256 {
public:
    void add(std::span<const std::byte> bytes) {
        size_ += bytes.size();
        while (!bytes.empty()) {
            const std::size_t taken = std::min(bytes.size(), block_.size() - used_);
            std::copy_n(bytes.begin(), taken, block_.begin() + static_cast<std::ptrdiff_t>(used_));
            used_ += taken;
            bytes = bytes.subspan(taken);
            if (used_ == block_.size()) {
                mix();
            }
        }
    }

    /// The digest of all that was added, as 64 hexadecimal digits. Ends the object's use.
    [[nodiscard]] std::string hex() {
        const std::uint64_t bits = size_ * 8;
        constexpr std::byte one_bit[] = {std::byte{0x80}};
        constexpr std::byte zero[] = {std::byte{0}};
        add(one_bit);
        while (used_ != length_at) {
            add(zero);
        }
        std::array<std::byte, 8> length;
        for (std::size_t i = 0; i < length.size(); ++i) {
            length[i] = static_cast<std::byte>(bits >> (56 - 8 * i) & 0xff);
        }
        add(length);
        std::string text;
        for (const std::uint32_t word : state_) {
            for (int shift = 28; shift >= 0; shift -= 4) {
                text += "0123456789abcdef"[word >> shift & 15];
            }
        }
        return text;
    }

private:
    static constexpr std::size_t length_at = 56; ///< where the last block holds the number of bits

    // The first 32 bits of the fractional parts of the cube roots of the first 64 primes.
    static constexpr std::array<std::uint32_t, 64> constants{
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
        0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
        0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
        0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
        0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
        0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
        0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
        0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

    /// Takes the full block into the state.
    void mix() {
        std::array<std::uint32_t, 64> w;
        for (std::size_t t = 0; t < 16; ++t) {
            w[t] = 0;
            for (std::size_t i = 0; i < 4; ++i) {
                w[t] = w[t] << 8 | std::to_integer<std::uint32_t>(block_[4 * t + i]);
            }
        }
        for (std::size_t t = 16; t < w.size(); ++t) {
            const std::uint32_t low = std::rotr(w[t - 15], 7) ^ std::rotr(w[t - 15], 18) ^ w[t - 15] >> 3;
            const std::uint32_t high = std::rotr(w[t - 2], 17) ^ std::rotr(w[t - 2], 19) ^ w[t - 2] >> 10;
            w[t] = high + w[t - 7] + low + w[t - 16];
        }
        auto [a, b, c, d, e, f, g, h] = state_;
        for (std::size_t t = 0; t < w.size(); ++t) {
            const std::uint32_t sum_e = std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25);
            const std::uint32_t sum_a = std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22);
            const std::uint32_t first = h + sum_e + ((e & f) ^ (~e & g)) + constants[t] + w[t];
            const std::uint32_t second = sum_a + ((a & b) ^ (a & c) ^ (b & c));
            h = g, g = f, f = e, e = d + first;
            d = c, c = b, b = a, a = first + second;
        }
        const std::array<std::uint32_t, 8> mixed{a, b, c, d, e, f, g, h};
        for (std::size_t i = 0; i < state_.size(); ++i) {
            state_[i] += mixed[i];
        }
        used_ = 0;
    }

    // The first 32 bits of the fractional parts of the square roots of the first 8 primes.
    std::array<std::uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    std::array<std::byte, 64> block_{};
    std::size_t used_ = 0; ///< bytes of block_
    std::uint64_t size_ = 0;
};

} // namespace tools
