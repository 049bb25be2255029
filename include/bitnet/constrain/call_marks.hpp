// SPDX-License-Identifier: MIT
// call_marks: the texts around calls as tokens of a vocabulary, and which tokens end the mark in front of one.
#ifndef BITNET_CONSTRAIN_CALL_MARKS_HPP
#define BITNET_CONSTRAIN_CALL_MARKS_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/run/tool_source.hpp>
#include <bitnet/text/thought_filter.hpp>
#include <bitnet/text/token.hpp>
#include <bitnet/text/tokenizer.hpp>
#include <bitnet/text/tool_form.hpp>

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Of one vocabulary and format. A mark is its own token where the vocabulary has one, otherwise text. Where a form has
/// none, `open` and `close` are empty.
struct call_marks {
    /// Tokens that complete the mark in front of calls, given how much of it was there.
    struct endings {
        std::vector<token> tokens; ///< first those whose last byte is the mark's
        std::size_t exact = 0;     ///< how many these are
    };

    tool_form tools;
    bool has_thoughts = false;
    bool begins_in_thought = false; ///< in that of the prompt
    bool may_think = false;         ///< it may begin one itself
    std::vector<token> stops;
    std::vector<token> open;
    std::vector<token> open_after_thought;
    std::vector<token> open_next; ///< after another call
    std::vector<token> close;
    std::vector<token> think;
    std::vector<token> end_thought;
    std::vector<std::size_t> borders;
    std::vector<endings> ends; ///< by how many bytes of the mark were there

    [[nodiscard]] static result<call_marks> make(const answer_form& form) {
        constexpr std::string_view begin = thought_filter::begin_mark;
        constexpr std::string_view end = thought_filter::end_mark;
        call_marks made;
        made.tools = form.tools;
        made.has_thoughts = form.has_thoughts;
        const bool is_begun = form.has_thoughts && form.prompt.find(begin) != std::string_view::npos;
        made.begins_in_thought = is_begun && form.prompt.find(end) == std::string_view::npos;
        made.may_think = form.has_thoughts && !is_begun;
        made.stops.assign(form.stops.begin(), form.stops.end());
        const std::string_view opening = form.tools.begin;
        using list = std::tuple<std::vector<token>*, std::vector<std::string_view>>;
        for (const auto& [into, pieces] :
             {list{&made.open, {opening}}, list{&made.open_after_thought, {"\n\n", opening}},
              list{&made.open_next, {form.tools.between, opening}}, list{&made.close, {form.tools.end}},
              list{&made.think, {begin}}, list{&made.end_thought, {"\n", end}}}) {
            if (auto encoded = encode(*form.text, pieces, *into); !encoded) {
                return failed(encoded);
            }
        }
        made.find_borders();
        made.find_endings(*form.text);
        return made;
    }

    /// What a call is known by: the mark in front of it, or what the answer begins with that is one.
    [[nodiscard]] std::string_view mark() const noexcept { return is_lead() ? tools.lead : tools.begin; }
    /// Whether that belongs to the call, and is one at the beginning of an answer only.
    [[nodiscard]] bool is_lead() const noexcept { return tools.begin.empty(); }
    /// How much of the mark a text ends with that ended with so much of it before.
    [[nodiscard]] std::size_t after(std::size_t matched, char byte) const noexcept {
        while (matched != 0 && mark()[matched] != byte) {
            matched = borders[matched];
        }
        return mark()[matched] == byte ? matched + 1 : 0;
    }

private:
    /// Appends the tokens of pieces, those that are tokens of their own as these.
    [[nodiscard]] static result<void> encode(const tokenizer& text, const std::vector<std::string_view>& pieces,
                                             std::vector<token>& into) {
        std::string run;
        for (const std::string_view piece : pieces) {
            const auto id = text.find_special(piece);
            run += id ? std::string_view{} : piece;
            if (id) {
                if (auto encoded = text.encode(run, into, {.follows_text = true}); !encoded) {
                    return encoded;
                }
                run.clear();
                into.push_back(*id);
            }
        }
        return text.encode(run, into, {.follows_text = true});
    }

    /// borders[n]: the longest beginning of the mark, shorter than n, that its first n bytes end with.
    void find_borders() {
        borders.assign(mark().size() + 1, 0);
        for (std::size_t n = 2; n < borders.size(); ++n) {
            borders[n] = after(borders[n - 1], mark()[n - 1]);
        }
    }
    void find_endings(const tokenizer& text) {
        ends.resize(mark().size());
        std::vector<std::vector<token>> longer(ends.size());
        for (std::size_t id = 0; id < text.vocabulary_size(); ++id) {
            const std::string_view bytes = text.bytes_of(static_cast<token>(id));
            const std::size_t last = bytes.find(mark().back());
            for (std::size_t state = 0; last != std::string_view::npos && state < ends.size(); ++state) {
                if (const std::size_t end = end_of(state, bytes); end != 0) {
                    auto& list = end == bytes.size() ? ends[state].tokens : longer[state];
                    list.push_back(static_cast<token>(id));
                }
            }
        }
        for (std::size_t state = 0; state < ends.size(); ++state) {
            ends[state].exact = ends[state].tokens.size();
            ends[state].tokens.insert(ends[state].tokens.end(), longer[state].begin(), longer[state].end());
        }
    }
    /// Up to where the mark is complete, 0 if it does not become so.
    [[nodiscard]] std::size_t end_of(std::size_t state, std::string_view bytes) const noexcept {
        for (std::size_t i = 0; i < bytes.size(); ++i) {
            if (is_lead() && mark()[state] != bytes[i]) {
                return 0;
            }
            state = after(state, bytes[i]);
            if (state == mark().size()) {
                return i + 1;
            }
        }
        return 0;
    }
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
