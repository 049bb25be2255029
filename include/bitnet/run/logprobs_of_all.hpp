// SPDX-License-Identifier: MIT
// normalizer_of: what turns the logits of a whole vocabulary into logprobs.
#ifndef BITNET_RUN_LOGPROBS_OF_ALL_HPP
#define BITNET_RUN_LOGPROBS_OF_ALL_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/run/logprobs.hpp>
#include <bitnet/simd/lane_ops.hpp>
#include <bitnet/simd/loop_table.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>

namespace bitnet::inline BITNET_ABI::detail {

/// Blocks of 256 logits, each in the order of its 16 lanes, are added in double from the first to the last, all
/// relative to the largest logit. \pre !logits.empty()
[[nodiscard]] inline log_normalizer normalizer_of(const loop_table& loops, std::span<const float> logits) noexcept {
    std::array<float, attention_block> block;
    exponential_sum sum(*std::max_element(logits.begin(), logits.end()));
    for (std::size_t begin = 0; begin < logits.size(); begin += block.size()) {
        const std::size_t count = (std::min)(block.size(), logits.size() - begin);
        std::copy_n(logits.data() + begin, count, block.data());
        const softmax_state part = loops.exponentials(block.data(), count);
        sum.add(part.max, part.sum);
    }
    return log_normalizer(sum);
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
