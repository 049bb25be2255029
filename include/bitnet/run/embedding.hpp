// SPDX-License-Identifier: MIT
// Text embeddings: the tokens of a text to embed.
#ifndef BITNET_RUN_EMBEDDING_HPP
#define BITNET_RUN_EMBEDDING_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/run/any_model.hpp>
#include <bitnet/text/token.hpp>
#include <bitnet/text/tokenizer.hpp>

#include <string_view>
#include <vector>

namespace bitnet::inline BITNET_ABI {

/// The tokens of `text` as any_session::embed() wants them: bos before and eos after it if the file asks for them. Text
/// embedding models are trained with that eos, in which one that pools by the last state gathers the text. What else a
/// model wants around a text, such as an instruction before a query, is up to the caller. \pre model.has_text().
/// \return what tokenizer::encode returns.
[[nodiscard]] inline result<std::vector<token>> tokens_to_embed(const any_model& model, std::string_view text) {
    return detail::guarded([&]() -> result<std::vector<token>> {
        const tokenizer& tokens = model.text();
        std::vector<token> made;
        if (tokens.add_bos() && tokens.bos()) {
            made.push_back(*tokens.bos());
        }
        if (auto done = tokens.encode(text, made); !done) {
            return failed(done);
        }
        if (tokens.add_eos() && tokens.eos()) {
            made.push_back(*tokens.eos());
        }
        return made;
    });
}

} // namespace bitnet::inline BITNET_ABI

#endif
