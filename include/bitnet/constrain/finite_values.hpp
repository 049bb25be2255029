// SPDX-License-Identifier: MIT
// finite_values: JSON values of which there are few, told apart as JSON Schema does.
#ifndef BITNET_CONSTRAIN_FINITE_VALUES_HPP
#define BITNET_CONSTRAIN_FINITE_VALUES_HPP

#include <bitnet/constrain/automaton.hpp>
#include <bitnet/constrain/number_language.hpp>
#include <bitnet/core/config.hpp>

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

/// The texts of a language; nullopt where they are more than `most`. \pre it is deterministic, and each of its states
/// leads to a text
[[nodiscard]] inline std::optional<std::vector<std::string>> texts_of(const automaton& language, std::size_t most) {
    std::vector<std::string> made;
    std::vector<std::pair<std::uint32_t, std::string>> todo;
    if (language.size() != 0) {
        todo.emplace_back(0, "");
    }
    std::size_t steps = 0;
    while (!todo.empty()) {
        constexpr std::size_t most_steps = 100'000;
        const auto [state, text] = std::move(todo.back());
        todo.pop_back();
        if (language.is_final(state)) {
            made.push_back(text);
        }
        // What is as long as there are states has met one of them twice, and goes on without end.
        if (made.size() > most || text.size() >= language.size() || ++steps > most_steps) {
            return std::nullopt;
        }
        for (const byte_edge edge : language.byte_edges(state)) {
            for (unsigned byte = edge.low; byte <= edge.high && todo.size() <= most; ++byte) {
                todo.emplace_back(edge.target, text + static_cast<char>(byte));
            }
        }
        if (todo.size() > most) {
            return std::nullopt;
        }
    }
    return made;
}

/// Values without parts, each with the texts that stand for it: of a string, its characters; of others, JSON.
class finite_values {
public:
    enum class kind : std::uint8_t { word, number, string };
    struct value {
        kind is;
        std::vector<std::string> texts;
    };

    /// The value's number, from 0 on; the same for equal ones.
    std::size_t add(kind is, std::string_view text) {
        const auto number = is == kind::number ? read_decimal(text) : std::nullopt;
        const std::string same = !number ? std::string(text) : number->is_zero() ? "0" : number->text();
        const auto [found, is_new] = numbers_.try_emplace({is, same}, all_.size());
        if (is_new) {
            all_.push_back({is, {}});
        }
        std::vector<std::string>& texts = all_[found->second].texts;
        if (std::find(texts.begin(), texts.end(), text) == texts.end()) {
            texts.emplace_back(text);
        }
        return found->second;
    }
    [[nodiscard]] std::size_t size() const noexcept { return all_.size(); }
    [[nodiscard]] const value& operator[](std::size_t number) const noexcept { return all_[number]; }

private:
    std::vector<value> all_;
    std::map<std::pair<kind, std::string>, std::size_t> numbers_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
