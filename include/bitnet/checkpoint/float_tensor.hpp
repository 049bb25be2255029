// SPDX-License-Identifier: MIT
// The float_matrix of a tensor: which types an embedding, an output matrix and norms may have.
#ifndef BITNET_CHECKPOINT_FLOAT_TENSOR_HPP
#define BITNET_CHECKPOINT_FLOAT_TENSOR_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/float_matrix.hpp>
#include <bitnet/core/half.hpp>
#include <bitnet/io/gguf_types.hpp>

#include <cstddef>
#include <cstring>
#include <optional>

namespace bitnet::inline BITNET_ABI::detail {

struct stored_float {
    tensor_type type;
    float_element element;
};
inline constexpr stored_float stored_floats[] = {
    {tensor_type::f16, float_element::f16},   {tensor_type::f32, float_element::f32},
    {tensor_type::bf16, float_element::bf16}, {tensor_type::q8_0, float_element::q8_0},
    {tensor_type::q6_k, float_element::q6_k}, {tensor_type::q4_k, float_element::q4_k},
    {tensor_type::q4_0, float_element::q4_0}};

/// What the elements of a tensor are; nullopt for types that no embedding and no output matrix has.
[[nodiscard]] constexpr std::optional<float_element> float_element_of(tensor_type type) noexcept {
    for (const stored_float& each : stored_floats) {
        if (each.type == type) {
            return each.element;
        }
    }
    return std::nullopt;
}

/// Widens n elements of a tensor in F32, F16 or BF16. \return whether it has one of these types.
[[nodiscard]] inline bool widen_plain(tensor_type type, const std::byte* elements, std::size_t n, float* out) noexcept {
    const auto widen_all = [&]<class E>() {
        for (std::size_t i = 0; i < n; ++i) {
            out[i] = element_at<E>(elements, i);
        }
        return true;
    };
    switch (type) {
    case tensor_type::f32:
        return widen_all.template operator()<float>();
    case tensor_type::f16:
        return widen_all.template operator()<half>();
    case tensor_type::bf16:
        return widen_all.template operator()<bfloat16>();
    default:
        return false;
    }
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
