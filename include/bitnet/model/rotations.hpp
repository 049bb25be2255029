// SPDX-License-Identifier: MIT
// rotations: how a model turns queries and keys, which may depend on how long a session can become.
#ifndef BITNET_MODEL_ROTATIONS_HPP
#define BITNET_MODEL_ROTATIONS_HPP

#include <bitnet/checkpoint/hyper_parameters.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/simd/rotary.hpp>

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// The frequencies of a model's heads. With longrope there are two sets, of which a session takes one for all its
/// positions: keys in its cache are never turned again. Immutable once open.
class rotations {
public:
    /// \return errc::out_of_memory
    [[nodiscard]] static result<rotations> open(const hyper_parameters& model) {
        rotations made;
        made.original_context_ = model.rope_original_context;
        made.has_long_ = !model.rope_long_divisors.empty();
        auto usual = frequencies(model, model.rope_divisors);
        auto of_long = made.has_long_ ? frequencies(model, model.rope_long_divisors) : rotary_frequencies();
        if (!usual || !of_long) {
            return failed(usual ? of_long : usual);
        }
        made.usual_ = *std::move(usual);
        made.long_ = *std::move(of_long);
        return made;
    }

    /// Whether a session that has room for `context` positions takes the second set.
    [[nodiscard]] bool is_long(std::size_t context) const noexcept { return has_long_ && context > original_context_; }
    /// Those of a session that has room for `context` positions.
    [[nodiscard]] const rotary_frequencies& of(std::size_t context) const noexcept {
        return is_long(context) ? long_ : usual_;
    }

private:
    rotations() noexcept = default;

    [[nodiscard]] static result<rotary_frequencies> frequencies(const hyper_parameters& model,
                                                                std::span<const double> divisors) {
        return rotary_frequencies::open(model.rope_theta, model.head_size,
                                        {model.rope_factor, divisors, model.rope_magnitude});
    }

    rotary_frequencies usual_;
    rotary_frequencies long_;
    std::size_t original_context_ = 0;
    bool has_long_ = false;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
