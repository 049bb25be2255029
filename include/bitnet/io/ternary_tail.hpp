// SPDX-License-Identifier: MIT
// The scale after the codes of a ternary tensor, and the check of the codes of I2_S.
#ifndef BITNET_IO_TERNARY_TAIL_HPP
#define BITNET_IO_TERNARY_TAIL_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/quoted_name.hpp>

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// Whether a tensor of that type is codes and then a scale in 32 bytes: I2_S and our own layouts.
[[nodiscard]] constexpr bool has_ternary_tail(tensor_type type) noexcept {
    const auto* format = format_of(type);
    return type == tensor_type::i2_s || (format != nullptr && format->padded);
}

/// The codes of such a tensor (of I2_S four to a byte), without the ternary_scale_bytes after them.
/// \pre has_ternary_tail(tensor.type)
[[nodiscard]] inline std::span<const std::byte> codes_before_tail(const gguf_tensor& tensor) noexcept {
    assert(has_ternary_tail(tensor.type) && tensor.bytes.size() >= ternary_scale_bytes);
    return tensor.bytes.first(tensor.bytes.size() - ternary_scale_bytes);
}

/// The scale of such a tensor: the float after its codes. Reads one page of the file.
/// \pre has_ternary_tail(tensor.type)
/// \return errc::bad_scale if it is not finite or not above zero.
[[nodiscard]] inline result<float> scale_of_tail(const gguf_tensor& tensor, std::string_view file) {
    float scale = 0;
    const auto codes = codes_before_tail(tensor);
    std::memcpy(&scale, codes.data() + codes.size(), sizeof(scale));
    // By bits, because -ffast-math folds comparisons with infinity: above +0, below +infinity, sign clear.
    const auto bits = std::bit_cast<std::uint32_t>(scale);
    if (bits == 0 || bits >= 0x7f800000u) {
        return error{errc::bad_scale, sentence({file, ": tensor ", quoted_name(tensor.name), ": its ",
                                                name_of(tensor.type), " scale has the bits ", bits,
                                                ", it must be a finite float above zero (bits 1 to 2139095039)"})};
    }
    return scale;
}

/// A bit for every two-bit field that is 3. The fields are the same in every I2_S layout.
[[nodiscard]] constexpr std::uint64_t i2s_invalid_codes(std::uint64_t codes) noexcept {
    return codes & (codes >> 1) & 0x5555555555555555u;
}

/// Checks that no code of an I2_S tensor is 3, the one without a meaning. Reads the whole tensor.
/// \pre tensor.type == tensor_type::i2_s
/// \return errc::bad_code with the first byte that holds one.
[[nodiscard]] inline result<void> check_i2s_codes(const gguf_tensor& tensor, std::string_view file) {
    const auto codes = codes_before_tail(tensor);
    std::size_t at = 0;
    for (constexpr std::size_t step = 4096; at + step <= codes.size(); at += step) {
        std::uint64_t bad = 0; // no branch inside the step: the compiler makes vectors of it
        for (std::size_t i = 0; i < step; i += sizeof(std::uint64_t)) {
            std::uint64_t word = 0;
            std::memcpy(&word, codes.data() + at + i, sizeof(word));
            bad |= i2s_invalid_codes(word);
        }
        if (bad != 0) {
            break;
        }
    }
    const auto rest = codes.subspan(at);
    const auto found = std::find_if(rest.begin(), rest.end(), [](std::byte b) {
        return i2s_invalid_codes(std::to_integer<std::uint64_t>(b)) != 0;
    });
    if (found == rest.end()) {
        return {};
    }
    return error{errc::bad_code,
                 sentence({file, ": tensor ", quoted_name(tensor.name), ": byte ", found - codes.begin(), " of its ",
                           codes.size(), " bytes of codes is ", std::to_integer<unsigned>(*found),
                           ", which holds the code 3; only 0, 1 and 2 are ternary"})};
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
