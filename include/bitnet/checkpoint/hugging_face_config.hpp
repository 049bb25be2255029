// SPDX-License-Identifier: MIT
// hugging_face_config: what config.json of a Hugging Face checkpoint says about its tensors.
#ifndef BITNET_CHECKPOINT_HUGGING_FACE_CONFIG_HPP
#define BITNET_CHECKPOINT_HUGGING_FACE_CONFIG_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/gguf_writer.hpp>
#include <bitnet/io/json.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// What config.json says about how to read the tensors.
struct hugging_face_config {
    std::string_view architecture; ///< as general.architecture calls it
    std::size_t layers = 0;
    bool is_bitnet = false; ///< declares that its linear layers are ternary
    bool online = false;    ///< ternarised while it runs: the weights are masters
    bool divides = false;   ///< weight = code / weight_scale, otherwise code * weight_scale
    std::string_view scale_rule = "no quantization_config"; ///< what `divides` follows from
    bool needs_norm_in = false;                             ///< a norm in front of every projection
    std::optional<bool> tied;                               ///< whether the embedding is the head
    std::vector<float> rotary_divisors;                     ///< empty but for rope_type llama3
    std::vector<float> long_factors;                        ///< empty but for rope_type longrope
    std::vector<float> short_factors;
    std::vector<std::string> notes; ///< what was decided, one sentence each

    /// Gemma's norms multiply by 1 + weight.
    [[nodiscard]] bool is_gemma() const noexcept { return architecture == "gemma3"; }
    /// Qwen2's class has biases of the query, key and value projections, whatever its configuration says.
    [[nodiscard]] bool may_have_biases() const noexcept { return architecture == "qwen2"; }

    /// The key of GGUF metadata for a number of this architecture, such as "llama.context_length".
    [[nodiscard]] std::string key(std::string_view suffix) const { return sentence({architecture, ".", suffix}); }

    /// Include <bitnet/checkpoint/hugging_face_config_reader.hpp> to call it.
    /// Reads `config`, the root of config.json, and adds the metadata keys of hyper_parameters to `out`. `name` is what
    /// error messages call the file. What would change a result is refused, and other members that nothing reads are
    /// named in a note; those of quantization_config and of scaled rotations are refused, too.
    /// \return errc::missing_key, wrong_type, out_of_range, inconsistent or unsupported_architecture, naming the key.
    [[nodiscard]] static inline result<hugging_face_config> read(json_value config, std::string_view name,
                                                                 gguf_writer& out);
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
