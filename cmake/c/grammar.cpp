// SPDX-License-Identifier: MIT
// Grammars and tools.
#include "grammar.hpp"

namespace bitnet_c {

bitnet::result<std::shared_ptr<const lazy_trie>> trie_of(model_state& model) {
    const mutex_lock lock(model.making_trie);
    if (model.trie == nullptr) {
        auto opened = bitnet::token_trie::open(model.model->text());
        if (!opened) {
            return bitnet::failed(opened);
        }
        model.trie.reset(new lazy_trie{*std::move(opened)});
    }
    return model.trie;
}

namespace {

bitnet::result<bitnet::grammar> compiled(std::int32_t kind, std::string_view source) {
    switch (kind) {
    case BITNET_GRAMMAR_GBNF:
        return bitnet::grammar::gbnf(source);
    case BITNET_GRAMMAR_JSON_SCHEMA:
        return bitnet::grammar::json_schema(source);
    case BITNET_GRAMMAR_REGEX:
        return bitnet::grammar::regex(source);
    default:
        return bitnet::error{bitnet::errc::invalid_argument, "bitnet_grammar_open: kind is none of BITNET_GRAMMAR_..."};
    }
}

} // namespace

} // namespace bitnet_c

using namespace bitnet_c;

extern "C" {

int32_t bitnet_grammar_open(int32_t kind, const char* source, int64_t bytes, bitnet_grammar** grammar, char* message,
                            uint32_t capacity) {
    const auto text = view(source, bytes);
    if (!text || source == nullptr || grammar == nullptr) {
        return fail("bitnet_grammar_open: there is no source, or nowhere to put the grammar", message, capacity);
    }
    *grammar = nullptr;
    auto opened = bitnet::detail::guarded([&] { return compiled(kind, *text); });
    if (!opened) {
        return fail(opened.error(), message, capacity);
    }
    *grammar = made<bitnet_grammar>(*std::move(opened));
    return *grammar != nullptr ? BITNET_OK : fail(bitnet::detail::out_of_memory(), message, capacity);
}

void bitnet_grammar_close(bitnet_grammar* grammar) { delete grammar; }

int32_t bitnet_grammar_note(const bitnet_grammar* grammar, uint32_t index, const char** text, uint64_t* bytes) {
    if (grammar == nullptr || index >= grammar->texts.notes().size()) {
        return BITNET_E_ARGUMENT;
    }
    give(grammar->texts.notes()[index], text, bytes);
    return BITNET_OK;
}

int32_t bitnet_tools_open(bitnet_model* model, const char* json, int64_t bytes, bitnet_tools** tools, char* message,
                          uint32_t capacity) {
    const auto text = view(json, bytes);
    if (model == nullptr || !text || json == nullptr || tools == nullptr) {
        return fail("bitnet_tools_open: there is no model, no list, or nowhere to put the tools", message, capacity);
    }
    *tools = nullptr;
    auto opened = bitnet::detail::guarded([&]() -> bitnet::result<std::shared_ptr<tools_state>> {
        auto state = std::make_shared<tools_state>();
        state->model = model->state;
        if (auto added = state->set.declare_list(*text); !added) {
            return bitnet::failed(added);
        }
        auto trie = trie_of(*model->state);
        if (!trie) {
            return bitnet::failed(trie);
        }
        state->trie = *std::move(trie);
        auto source = bitnet::constrained_tools::open(state->set, state->trie->tokens);
        if (!source) {
            return bitnet::failed(source);
        }
        state->source.emplace(*std::move(source));
        return state;
    });
    if (!opened) {
        return fail(opened.error(), message, capacity);
    }
    *tools = made<bitnet_tools>(*std::move(opened));
    return *tools != nullptr ? BITNET_OK : fail(bitnet::detail::out_of_memory(), message, capacity);
}

void bitnet_tools_close(bitnet_tools* tools) { delete tools; }

} // extern "C"
