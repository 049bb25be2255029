// SPDX-License-Identifier: MIT
// sampling_advice: how a file advises to choose tokens.
#ifndef BITNET_CHECKPOINT_SAMPLING_ADVICE_HPP
#define BITNET_CHECKPOINT_SAMPLING_ADVICE_HPP

#include <bitnet/core/config.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace bitnet::inline BITNET_ABI {

class gguf_file;

/// What a model's makers advise, in the ranges of sampler_options: the keys general.sampling.temp, .top_k, .top_p and
/// .min_p of a GGUF file. nullopt: they say nothing.
struct sampling_advice {
    std::optional<float> temperature; ///< >= 0, finite
    std::optional<std::size_t> top_k; ///< 0 keeps all, for which files have -1, too
    std::optional<float> top_p;       ///< 0 to 1
    std::optional<float> min_p;       ///< 0 to 1

    [[nodiscard]] bool is_empty() const noexcept { return !temperature && !top_k && !top_p && !min_p; }

    /// Include <bitnet/checkpoint/sampling_advice_reader.hpp> to call it.
    /// \param notes a sentence is added for each key with a value that cannot be, which is passed over
    [[nodiscard]] static inline sampling_advice read(const gguf_file& file, std::vector<std::string>& notes);
};

} // namespace bitnet::inline BITNET_ABI

#endif
