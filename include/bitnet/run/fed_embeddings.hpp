// SPDX-License-Identifier: MIT
// fed_embeddings: checks of embeddings that are fed in place of tokens.
#ifndef BITNET_RUN_FED_EMBEDDINGS_HPP
#define BITNET_RUN_FED_EMBEDDINGS_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

namespace bitnet::inline BITNET_ABI::detail {

/// Whether all of `rows` [count, hidden] are finite, seen by their bits, because -ffast-math folds other tests.
/// \return errc::invalid_argument, naming the first place that is not
[[nodiscard]] inline result<void> check_finite(std::span<const float> rows, std::size_t hidden, sentence_parts place) {
    for (std::size_t i = 0; i < rows.size(); ++i) {
        if ((std::bit_cast<std::uint32_t>(rows[i]) & 0x7f800000u) == 0x7f800000u) {
            return error{errc::invalid_argument, sentence({sentence(place), "embedding ", i / hidden,
                                                           " is not finite in column ", i % hidden})};
        }
    }
    return {};
}

/// Whether `floats` are a whole number of rows [hidden]. \return errc::invalid_argument
[[nodiscard]] inline result<void> check_whole_rows(std::size_t floats, std::size_t hidden) {
    if (floats % hidden != 0) {
        return error{errc::invalid_argument, sentence({"session: ", floats, " floats are no whole number of ",
                                                       "embeddings, which have ", hidden, " each"})};
    }
    return {};
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
