// SPDX-License-Identifier: MIT
// json_string: from languages of strings to those of their JSON forms, and how many characters they have.
#ifndef BITNET_CONSTRAIN_JSON_STRING_HPP
#define BITNET_CONSTRAIN_JSON_STRING_HPP

#include <bitnet/constrain/automaton.hpp>
#include <bitnet/constrain/expression.hpp>
#include <bitnet/constrain/language_algebra.hpp>
#include <bitnet/constrain/subset_construction.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/utf8.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Adds what a JSON string holds for the bytes of an edge: themselves, the short escapes, and \u00XX for control
/// characters alone.
class json_escaping {
public:
    explicit json_escaping(nondeterministic_automaton& out) : out_(out) {}

    void add(std::uint32_t from, byte_edge edge) {
        constexpr byte_edge plain[] = {{0x20, 0x21, 0}, {0x23, 0x5b, 0}, {0x5d, 0xff, 0}};
        for (const byte_edge range : plain) {
            const std::uint8_t low = (std::max)(range.low, edge.low);
            const std::uint8_t high = (std::min)(range.high, edge.high);
            if (low <= high) {
                out_.add(from, byte_edge{low, high, edge.target});
            }
        }
        constexpr std::string_view meant = "\"\\/\b\f\n\r\t";
        constexpr std::string_view written = "\"\\/bfnrt";
        for (std::size_t i = 0; i < meant.size(); ++i) {
            const auto byte = static_cast<std::uint8_t>(meant[i]);
            if (byte >= edge.low && byte <= edge.high) {
                const auto letter = static_cast<std::uint8_t>(written[i]);
                out_.add(after_backslash(from), byte_edge{letter, letter, edge.target});
            }
        }
        for (unsigned byte = edge.low; byte <= edge.high && byte < 0x20; ++byte) {
            add_hexadecimal(from, byte, edge.target);
        }
    }

private:
    std::uint32_t after_backslash(std::uint32_t from) { return step(from, '\\'); }
    void add_hexadecimal(std::uint32_t from, unsigned byte, std::uint32_t target) {
        const std::uint32_t zeros = step(step(step(after_backslash(from), 'u'), '0'), '0');
        const std::uint32_t tens = step(zeros, static_cast<char>('0' + (byte >> 4)));
        constexpr std::string_view lower = "0123456789abcdef";
        constexpr std::string_view upper = "0123456789ABCDEF";
        for (const std::string_view digits : {lower, upper}) {
            const auto digit = static_cast<std::uint8_t>(digits[byte & 15]);
            out_.add(tens, byte_edge{digit, digit, target});
        }
    }
    /// The state after one more character of an escape.
    std::uint32_t step(std::uint32_t from, char c) {
        const auto [found, is_new] = steps_.try_emplace({from, c}, 0);
        if (is_new) {
            const auto byte = static_cast<std::uint8_t>(c);
            found->second = out_.add_state();
            out_.add(from, byte_edge{byte, byte, found->second});
        }
        return found->second;
    }

    nondeterministic_automaton& out_;
    std::map<std::pair<std::uint32_t, char>, std::uint32_t> steps_;
};

/// The inside of the JSON strings whose values are texts of `content`.
[[nodiscard]] inline automaton json_string_body(const automaton& content) {
    nondeterministic_automaton states;
    for (std::uint32_t state = 0; state < content.size(); ++state) {
        states.add_state();
        if (content.is_final(state)) {
            states.set_final(state);
        }
    }
    json_escaping escaping(states);
    for (std::uint32_t state = 0; state < content.size(); ++state) {
        for (const byte_edge edge : content.byte_edges(state)) {
            escaping.add(state, edge);
        }
    }
    return minimised(states.as_it_is()); // deterministic, as `content` is
}

/// A text as the inside of a JSON string: what is written for each character is the shortest of its forms.
[[nodiscard]] inline std::string json_string_text(std::string_view text) {
    constexpr std::string_view meant = "\"\\\b\f\n\r\t";
    constexpr std::string_view written = "\"\\bfnrt";
    constexpr std::string_view digits = "0123456789abcdef";
    std::string made;
    for (const char c : text) {
        const auto found = meant.find(c);
        const auto byte = static_cast<unsigned char>(c);
        if (found != std::string_view::npos) {
            made += '\\';
            made += written[found];
        } else if (byte < 0x20) {
            made += "\\u00";
            made += digits[byte >> 4];
            made += digits[byte & 15];
        } else {
            made += c;
        }
    }
    return made;
}

/// How many characters (code points) the texts of a language have from each of its states on.
class character_counts {
public:
    explicit character_counts(const automaton& content) : content_(content), is_border_(content.size()) {
        find_borders();
        find_fewest();
    }

    /// Whether texts begin or end here, not within a character.
    [[nodiscard]] bool is_border(std::uint32_t state) const noexcept { return is_border_[state]; }
    /// The fewest characters that are still to begin.
    [[nodiscard]] std::uint32_t fewest(std::uint32_t state) const noexcept { return fewest_[state]; }

    /// Whether every number of characters from fewest() on can be reached from every state: then a counter suffices.
    [[nodiscard]] bool is_open_everywhere() const {
        std::vector<bool> is_open = is_border_;
        for (int round = 0; round < 1000; ++round) {
            bool is_stable = true;
            const std::vector<std::uint32_t> next = fewest_over(is_open);
            for (std::uint32_t state = 0; state < content_.size(); ++state) {
                const std::uint32_t wanted = fewest_[state] == 0 ? 0 : fewest_[state] - 1;
                if (is_open[state] && fewest_after(state, next) > wanted) {
                    is_open[state] = false;
                    is_stable = false;
                }
            }
            if (is_stable) {
                return is_open == is_border_;
            }
        }
        return false;
    }

    /// Whether there always is a character of one byte that brings no more to follow.
    [[nodiscard]] bool is_plain() const {
        for (std::uint32_t state = 0; state < content_.size(); ++state) {
            const auto edges = content_.byte_edges(state);
            const std::uint32_t wanted = fewest_[state] == 0 ? 0 : fewest_[state] - 1;
            const auto is_nearer = [&](byte_edge edge) {
                const bool has_plain = edge.high >= 0x23 && edge.low < 0x80 && edge.high != 0x5c;
                return has_plain && fewest_[edge.target] <= wanted;
            };
            if (is_border_[state] && std::none_of(edges.begin(), edges.end(), is_nearer)) {
                return false;
            }
        }
        return true;
    }

private:
    static constexpr std::uint32_t none = 0xffffffffu;

    void find_borders() {
        std::vector<std::uint32_t> todo;
        std::vector<std::uint8_t> pending(content_.size(), 0xff); // bytes that a character still has
        if (content_.size() != 0) {
            pending[0] = 0;
            todo.push_back(0);
        }
        while (!todo.empty()) {
            const std::uint32_t state = todo.back();
            todo.pop_back();
            is_border_[state] = pending[state] == 0;
            for (const byte_edge edge : content_.byte_edges(state)) {
                const unsigned size = utf8_lead_of(edge.low).size;
                const unsigned left = pending[state] != 0 ? pending[state] - 1u : size - 1u;
                if (pending[edge.target] == 0xff) {
                    pending[edge.target] = static_cast<std::uint8_t>(left);
                    todo.push_back(edge.target);
                }
            }
        }
    }
    /// Breadth-first from the ends: a character counts where it begins.
    void find_fewest() {
        std::vector<std::vector<std::uint32_t>> ways_in(content_.size());
        fewest_.assign(content_.size(), none);
        std::vector<std::uint32_t> todo;
        for (std::uint32_t state = 0; state < content_.size(); ++state) {
            for (const byte_edge edge : content_.byte_edges(state)) {
                ways_in[edge.target].push_back(state);
            }
            if (content_.is_final(state)) {
                fewest_[state] = 0;
                todo.push_back(state);
            }
        }
        while (!todo.empty()) {
            std::vector<std::uint32_t> further; // one character more
            for (std::size_t at = 0; at < todo.size(); ++at) {
                spread_fewest(todo[at], ways_in[todo[at]], todo, further);
            }
            todo = std::move(further);
        }
    }
    void spread_fewest(std::uint32_t state, const std::vector<std::uint32_t>& ways_in, std::vector<std::uint32_t>& todo,
                       std::vector<std::uint32_t>& further) {
        for (const std::uint32_t from : ways_in) {
            const std::uint32_t characters = fewest_[state] + (is_border_[from] ? 1 : 0);
            if (characters < fewest_[from]) {
                fewest_[from] = characters;
                (is_border_[from] ? further : todo).push_back(from);
            }
        }
    }
    /// Per state within a character: the fewest characters of an open border at its end.
    [[nodiscard]] std::vector<std::uint32_t> fewest_over(const std::vector<bool>& is_open) const {
        std::vector<std::uint32_t> made(content_.size(), none);
        for (std::uint32_t state = 0; state < content_.size(); ++state) {
            made[state] = is_border_[state] && is_open[state] ? fewest_[state] : none;
        }
        for (int depth = 0; depth < 3; ++depth) {
            for (std::uint32_t state = 0; state < content_.size(); ++state) {
                made[state] = is_border_[state] ? made[state] : (std::min)(made[state], fewest_after(state, made));
            }
        }
        return made;
    }
    [[nodiscard]] std::uint32_t fewest_after(std::uint32_t state, const std::vector<std::uint32_t>& next) const {
        std::uint32_t made = none;
        for (const byte_edge edge : content_.byte_edges(state)) {
            made = (std::min)(made, next[edge.target]);
        }
        return made;
    }

    const automaton& content_;
    std::vector<bool> is_border_;
    std::vector<std::uint32_t> fewest_;
};

/// The inside of JSON strings with at most `most` characters, as an automaton that counts them: from a border one count
/// edge for every number of characters that may have to follow the next one, so that what is begun can be ended.
/// \pre counts.is_open_everywhere()
[[nodiscard]] inline automaton counting_string_body(const automaton& content, const character_counts& counts,
                                                    std::uint32_t most) {
    nondeterministic_automaton states;
    std::map<std::pair<std::uint32_t, std::uint32_t>, std::uint32_t>
        within; // (state, to follow): that part of a character
    std::vector<std::pair<std::uint32_t, std::uint32_t>> todo;
    json_escaping escaping(states);
    for (std::uint32_t state = 0; state < content.size(); ++state) {
        states.add_state();
        if (content.is_final(state) && counts.is_border(state)) {
            states.set_final(state);
        }
    }
    const auto number_of = [&](std::uint32_t state, std::uint32_t follow) {
        const auto [found, is_new] = within.try_emplace({state, follow}, 0);
        if (is_new) {
            found->second = states.add_state();
            todo.emplace_back(state, follow);
        }
        return found->second;
    };
    std::vector<std::uint32_t> numbers; // of characters that may have to follow
    for (std::uint32_t state = 0; state < content.size(); ++state) {
        if (counts.is_border(state)) {
            numbers.push_back(counts.fewest(state));
        }
    }
    std::sort(numbers.begin(), numbers.end());
    numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
    for (std::uint32_t state = 0; state < content.size(); ++state) {
        for (const std::uint32_t follow : numbers) {
            if (counts.is_border(state) && (most == unlimited || follow < most)) {
                const std::uint32_t cap = most == unlimited ? unlimited : most - follow;
                states.add(state, special_edge{special_kind::count, cap, number_of(state, follow)});
            }
        }
    }
    for (std::size_t at = 0; at < todo.size(); ++at) {
        const auto [state, follow] = todo[at];
        const std::uint32_t from = number_of(state, follow);
        for (const byte_edge edge : content.byte_edges(state)) {
            if (!counts.is_border(edge.target)) {
                escaping.add(from, {edge.low, edge.high, number_of(edge.target, follow)});
            } else if (counts.fewest(edge.target) == follow) {
                escaping.add(from, edge);
            }
        }
    }
    return trimmed(states.as_it_is());
}

/// Texts of `content` with `low` to `high` characters, state by state: none where low is above high; nullopt where that
/// takes too many states.
[[nodiscard]] inline std::optional<automaton> of_length(const automaton& content, std::uint32_t low,
                                                        std::uint32_t high) {
    constexpr std::uint32_t most_characters = 16'384;
    if (low > high) {
        return automaton();
    }
    if ((high == unlimited ? low : high) > most_characters) {
        return std::nullopt;
    }
    expression_pool pool;
    code_point_class any;
    any.add(0, last_code_point);
    const auto lengths = language_of(pool, pool.repeat(pool.one_of(std::move(any)), low, high));
    return lengths ? intersection(content, *lengths) : std::nullopt;
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
