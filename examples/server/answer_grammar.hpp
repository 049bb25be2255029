// SPDX-License-Identifier: MIT
// answer_grammar: holds one answer to a JSON Schema or a grammar.
#pragma once

#include "chat_request.hpp"
#include "served_model.hpp"

#include <bitnet/constrain/constrained_chooser.hpp>
#include <bitnet/constrain/gbnf_reader.hpp>
#include <bitnet/constrain/json_schema.hpp>
#include <bitnet/constrain/token_constraint.hpp>

#include <cstddef>
#include <memory>
#include <optional>
#include <utility>

namespace server {

/// Where it is, because its parts borrow each other.
class answer_grammar {
public:
    /// \param limit tokens of the answer, in which a text by the grammar has to be whole
    /// \return null where the request asks for none
    [[nodiscard]] static bitnet::result<std::unique_ptr<answer_grammar>>
    open(served_model& of, const chat_request& asked, bitnet::sampler& choose, std::size_t limit) {
        if (!asked.schema && !asked.grammar) {
            return std::unique_ptr<answer_grammar>();
        }
        const auto trie = of.trie();
        if (!trie) {
            return bitnet::error{trie.error()};
        }
        auto texts = asked.schema ? bitnet::grammar::json_schema(*asked.schema) : bitnet::grammar::gbnf(*asked.grammar);
        if (!texts) {
            return std::move(texts).error();
        }
        bitnet::constraint_options options = bitnet::constraint_options{};
        options.limit = limit;
        auto opened = bitnet::token_constraint::open(*texts, **trie, options);
        if (!opened) {
            return std::move(opened).error();
        }
        std::unique_ptr<answer_grammar> made(new answer_grammar(*std::move(opened)));
        auto chooser = bitnet::constrained_chooser<bitnet::sampler>::open(choose, made->constraint_);
        if (!chooser) {
            return std::move(chooser).error();
        }
        made->chooser_.emplace(*std::move(chooser));
        return made;
    }

    [[nodiscard]] bitnet::any_chooser chooser() noexcept { return bitnet::any_chooser(*chooser_); }
    [[nodiscard]] bool is_done() const noexcept { return constraint_.is_done(); }
    [[nodiscard]] bool is_cut_short() const noexcept { return was_near_; }
    /// After each token.
    void note() noexcept { was_near_ = was_near_ || constraint_.is_near_limit(); }

private:
    explicit answer_grammar(bitnet::token_constraint opened) : constraint_(std::move(opened)) {}

    bitnet::token_constraint constraint_;
    std::optional<bitnet::constrained_chooser<bitnet::sampler>> chooser_;
    bool was_near_ = false;
};

} // namespace server
