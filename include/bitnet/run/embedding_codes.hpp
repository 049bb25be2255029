// SPDX-License-Identifier: MIT
// Embeddings in fewer bytes: as int8, and as bits.
#ifndef BITNET_RUN_EMBEDDING_CODES_HPP
#define BITNET_RUN_EMBEDDING_CODES_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/float_environment.hpp>
#include <bitnet/simd/float_ops.hpp>
#include <bitnet/simd/isa.hpp>

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>

namespace bitnet::inline BITNET_ABI {

/// out[i] = round_half_even(x[i] * 127 / max|x|): a quarter of the bytes. Cosines can be taken of the integers as they
/// are. \pre out.size() == x.size(). \return what an integer is to be multiplied by for x.
inline float quantize_embedding(std::span<const float> x, std::span<std::int8_t> out) noexcept {
    assert(out.size() == x.size());
    const detail::default_float_environment environment;
    return detail::float_ops<isa::scalar>::narrow_row(x.data(), x.size(), out.data());
}

/// Bytes of a binary embedding of `size` elements.
[[nodiscard]] constexpr std::size_t binary_embedding_bytes(std::size_t size) noexcept { return (size + 7) / 8; }

/// One bit for each element, 1 where it is above 0: a 32nd of the bytes. Element 8 b is the highest bit of byte b, as
/// numpy.packbits and sentence-transformers' "ubinary" have it; the last byte is filled up with zeros. The fewer bits
/// two embeddings differ in, the closer they are. \pre out.size() == binary_embedding_bytes(x.size())
inline void binarize_embedding(std::span<const float> x, std::span<std::uint8_t> out) noexcept {
    assert(out.size() == binary_embedding_bytes(x.size()));
    const detail::default_float_environment environment;
    for (std::size_t b = 0; b < out.size(); ++b) {
        unsigned bits = 0;
        for (std::size_t i = 8 * b; i < 8 * b + 8; ++i) {
            bits = 2 * bits + (i < x.size() && x[i] > 0.0f ? 1u : 0u);
        }
        out[b] = static_cast<std::uint8_t>(bits);
    }
}

} // namespace bitnet::inline BITNET_ABI

#endif
