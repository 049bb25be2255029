// SPDX-License-Identifier: MIT
// float_element and float_matrix: the embedding and the output matrix in whichever element type a file has.
#ifndef BITNET_CORE_FLOAT_MATRIX_HPP
#define BITNET_CORE_FLOAT_MATRIX_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/half.hpp>
#include <bitnet/core/quantized_block.hpp>

#include <cstddef>

namespace bitnet::inline BITNET_ABI {

/// What the elements of a float_matrix are.
enum class float_element : unsigned char { f32, f16, bf16, q8_0, q6_k, q4_k, q4_0 };

namespace detail {

inline constexpr std::size_t float_elements = 7;

/// Calls f.operator()<E>() for the C++ type of the elements.
template <class F> constexpr auto with_element(float_element element, F&& f) noexcept {
    switch (element) {
    case float_element::f32:
        return f.template operator()<float>();
    case float_element::bf16:
        return f.template operator()<bfloat16>();
    case float_element::q8_0:
        return f.template operator()<detail::q8_0>();
    case float_element::q6_k:
        return f.template operator()<detail::q6_k>();
    case float_element::q4_k:
        return f.template operator()<detail::q4_k>();
    case float_element::q4_0:
        return f.template operator()<detail::q4_0>();
    case float_element::f16:
        break;
    }
    return f.template operator()<half>();
}

/// Bytes of `columns` elements in a row. \pre whole blocks
[[nodiscard]] constexpr std::size_t row_bytes_of(float_element element, std::size_t columns) noexcept {
    return with_element(element, [columns]<class E>() { return row_bytes_of<E>(columns); });
}

/// Whether a screen of such a matrix is much smaller than itself: Q8_0, Q6_K and the like are about as small.
[[nodiscard]] constexpr bool admits_screen(float_element element) noexcept {
    return element == float_element::f32 || element == float_element::f16 || element == float_element::bf16;
}

/// A [rows, cols] matrix in a file's own element type and place, at any alignment. Borrows its memory.
struct float_matrix {
    const std::byte* data = nullptr;
    std::size_t rows = 0;
    std::size_t cols = 0;
    float_element element = float_element::f16;

    [[nodiscard]] std::size_t row_bytes() const noexcept { return row_bytes_of(element, cols); }
    [[nodiscard]] const std::byte* row(std::size_t r) const noexcept { return data + r * row_bytes(); }
};

} // namespace detail

} // namespace bitnet::inline BITNET_ABI

#endif
