// SPDX-License-Identifier: MIT
// Text embeddings: the tokens of a text to embed, and smaller forms of the vector.
#pragma once

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/simd/float_ops.hpp>
#include <bitnet/simd/isa.hpp>
#include <bitnet/text/token.hpp>
#include <bitnet/text/tokenizer.hpp>

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI {

/// The tokens of `text` as session::embed() wants them: bos in front and eos behind where the file asks for them. Text
/// embedding models are trained to gather the text in that eos. What else a model wants around a text, such as an
/// instruction before a query, is up to the caller.
/// \param model a model<P> or an any_model
/// \pre model.has_text(). \return errc::wrong_type for a tokenizer.ggml.add_eos_token that is no bool,
/// errc::missing_key where it asks for an eos that there is not; what tokenizer::encode returns.
template <class Model>
[[nodiscard]] result<std::vector<token>> tokens_to_embed(const Model& model, std::string_view text) {
    const tokenizer& tokens = model.text();
    const auto add_eos = model.file().template get_or<bool>("tokenizer.ggml.add_eos_token", false);
    if (!add_eos) {
        return add_eos.error();
    }
    if (*add_eos && !tokens.eos()) {
        return error{errc::missing_key, model.file().name() + ": 'tokenizer.ggml.add_eos_token' is true, but there is "
                                                              "no 'tokenizer.ggml.eos_token_id'"};
    }
    std::vector<token> made;
    if (tokens.add_bos() && tokens.bos()) {
        made.push_back(*tokens.bos());
    }
    if (auto done = tokens.encode(text, made); !done) {
        return std::move(done).error();
    }
    if (*add_eos) {
        made.push_back(*tokens.eos());
    }
    return made;
}

/// out[i] = round_half_even(x[i] * 127 / max|x|): a quarter of the bytes. Cosines can be taken of the integers as they
/// are. \pre out.size() == x.size(). \return what an integer is to be multiplied by for x.
inline float quantize_embedding(std::span<const float> x, std::span<std::int8_t> out) noexcept {
    assert(out.size() == x.size());
    return float_ops<isa::scalar>::narrow_row(x.data(), x.size(), out.data());
}

/// Bytes of a binary embedding of `size` elements.
[[nodiscard]] constexpr std::size_t binary_embedding_bytes(std::size_t size) noexcept { return (size + 7) / 8; }

/// One bit for each element, 1 where it is above 0: a 32nd of the bytes. Element 8 b is the highest bit of byte b, as
/// numpy.packbits and sentence-transformers' "ubinary" have it; the last byte is filled up with zeros. The fewer bits
/// two embeddings differ in, the closer they are. \pre out.size() == binary_embedding_bytes(x.size())
inline void binarize_embedding(std::span<const float> x, std::span<std::uint8_t> out) noexcept {
    assert(out.size() == binary_embedding_bytes(x.size()));
    for (std::size_t b = 0; b < out.size(); ++b) {
        unsigned bits = 0;
        for (std::size_t i = 8 * b; i < 8 * b + 8; ++i) {
            bits = 2 * bits + (i < x.size() && x[i] > 0.0f ? 1u : 0u);
        }
        out[b] = static_cast<std::uint8_t>(bits);
    }
}

} // namespace bitnet::inline BITNET_ABI
