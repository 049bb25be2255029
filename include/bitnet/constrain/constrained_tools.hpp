// SPDX-License-Identifier: MIT
// constrained_tools: the functions of a tool_set for conversations, whose calls are held to their schemas.
#ifndef BITNET_CONSTRAIN_CONSTRAINED_TOOLS_HPP
#define BITNET_CONSTRAIN_CONSTRAINED_TOOLS_HPP

#include <bitnet/constrain/call_writer.hpp>
#include <bitnet/constrain/forced_text.hpp>
#include <bitnet/constrain/token_constraint.hpp>
#include <bitnet/constrain/token_trie.hpp>
#include <bitnet/constrain/tool_set.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/run/tool_source.hpp>

#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// For conversation_options::tools: what the model writes as a call is one, whole and valid, also at the token limit.
///
///     auto functions = constrained_tools::open(tools, trie);
///     auto talk = conversation::open(model, {.tools = &*functions});
///     talk->say("Give Ann the bread.");
///     talk->answer(print);
///     for (const auto& call : talk->calls()) ... tools.call(call.name, call.arguments) ...
///     talk->say_results(results);
///     talk->answer(print);
///
/// Borrows the set, which must not change meanwhile, and the trie, of the tokenizer of the conversation's model. Both
/// must outlive it. Immutable: any number of conversations may use it at a time, each of which compiles the grammar and
/// has a token_constraint of its own.
class constrained_tools final : public tool_source {
public:
    /// \param options of each conversation's token_constraint, but for its limit
    /// \return errc::bad_schema without any function, errc::out_of_memory, what grammar::json_schema returns
    [[nodiscard]] static result<constrained_tools> open(const tool_set& tools, const token_trie& trie,
                                                        const constraint_options& options = for_json()) {
        auto declarations = tools.declarations();
        if (!declarations) {
            return failed(declarations);
        }
        if (auto compiled = tools.call_grammar(); !compiled) {
            return failed(compiled);
        }
        return constrained_tools(tools, trie, options, *std::move(declarations));
    }
    static result<constrained_tools> open(tool_set&&, const token_trie&, const constraint_options& = {}) = delete;
    static result<constrained_tools> open(const tool_set&, token_trie&&, const constraint_options& = {}) = delete;

    /// 64 masks and 1.4 MiB of matcher, which is plenty for JSON: its texts can be read in few ways.
    [[nodiscard]] static constexpr constraint_options for_json() noexcept {
        return {.limit = {},
                .masks = 64,
                .matcher = {.items = 8'192, .items_at_once = 1'024, .frames = 8'192, .links = 32'768},
                .forced = forced_text::canonical};
    }

    [[nodiscard]] std::string_view declarations() const noexcept override { return declarations_; }
    [[nodiscard]] result<std::unique_ptr<detail::call_guide>> guide(const detail::answer_form& form) const override {
        return detail::call_writer::open(*tools_, *trie_, options_, form);
    }

private:
    constrained_tools(const tool_set& tools, const token_trie& trie, const constraint_options& options,
                      std::string declarations) noexcept
        : tools_(&tools), trie_(&trie), options_(options), declarations_(std::move(declarations)) {}

    const tool_set* tools_;
    const token_trie* trie_;
    constraint_options options_;
    std::string declarations_;
};

} // namespace bitnet::inline BITNET_ABI

#endif
