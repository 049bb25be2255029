// SPDX-License-Identifier: MIT
// template_world: what a chat template is given, and whether its conditions hold then.
#ifndef BITNET_TEXT_TEMPLATE_WORLD_HPP
#define BITNET_TEXT_TEMPLATE_WORLD_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/text/template_lexer.hpp>
#include <bitnet/text/template_outline.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// What is known of the values that a template is given. nullopt: not known.
struct template_input {
    std::optional<bool> has_tools = {};
    std::optional<bool> has_system = {};       ///< the first message is the system's
    std::optional<bool> is_prompted = {};      ///< add_generation_prompt
    std::optional<bool> enables_thinking = {}; ///< enable_thinking; not given unless `sets_thinking`
    bool sets_thinking = false;
};

/// Whether conditions of an outline, which must outlive this, hold for an input; nullopt where that is not known.
class template_world {
public:
    template_world(const template_outline& outline, const template_input& input) : outline_(&outline), input_(input) {
        for (const template_tokens& condition : outline.conditions()) {
            std::size_t steps = most_steps;
            answers_.push_back(either(condition, steps));
        }
    }

    /// Whether all of the guards apply.
    [[nodiscard]] std::optional<bool> hold(std::span<const template_guard> guards) const noexcept {
        std::optional<bool> all = true;
        for (const template_guard& each : guards) {
            const auto one = answers_[each.condition];
            all = both(all, one ? std::optional(*one == each.holds) : std::nullopt);
        }
        return all;
    }

private:
    static constexpr std::size_t most_steps = 256;   ///< for one condition, the names in it included
    static constexpr std::size_t longest_named = 64; ///< tokens

    using tokens = std::span<const template_token>;
    using answer = std::optional<bool>;

    [[nodiscard]] static answer both(answer a, answer b) noexcept {
        return (a && !*a) || (b && !*b) ? answer(false) : a && b ? answer(true) : std::nullopt;
    }
    [[nodiscard]] static answer inverted(answer a) noexcept { return a ? answer(!*a) : std::nullopt; }

    /// A or B or ...; false for nothing. `steps` is what is left of most_steps.
    [[nodiscard]] answer either(tokens condition, std::size_t& steps) const {
        answer none = true;
        while (!condition.empty()) {
            const std::size_t end = find_outside(condition, "or");
            none = both(none, inverted(every(condition.first(end), steps)));
            condition = condition.subspan((std::min)(end + 1, condition.size()));
        }
        return inverted(none);
    }
    /// A and B and ...
    [[nodiscard]] answer every(tokens condition, std::size_t& steps) const {
        answer all = true;
        while (!condition.empty()) {
            const std::size_t end = find_outside(condition, "and");
            all = both(all, single(condition.first(end), steps));
            condition = condition.subspan((std::min)(end + 1, condition.size()));
        }
        return all;
    }
    /// not A, (A), or a question.
    [[nodiscard]] answer single(tokens condition, std::size_t& steps) const {
        if (steps == 0 || condition.empty()) {
            return std::nullopt;
        }
        --steps;
        if (condition[0].is("not")) {
            return inverted(single(condition.subspan(1), steps));
        }
        if (condition[0].is("(") && end_of_bracket(condition) == condition.size()) {
            return either(condition.subspan(1, condition.size() - 2), steps);
        }
        return question(spelled(condition), steps);
    }

    /// A value by itself, or one that is asked something.
    [[nodiscard]] answer question(const std::string& spelling, std::size_t& steps) const {
        struct ending {
            std::string_view text;
            answer (template_world::*asks)(std::string_view, std::size_t&) const;
            bool holds;
        };
        constexpr std::array<ending, 15> endings{{{" is defined", &template_world::is_given, true},
                                                  {" is not defined", &template_world::is_given, false},
                                                  {" is undefined", &template_world::is_given, false},
                                                  {" is true", &template_world::is_true, true},
                                                  {" is not true", &template_world::is_true, false},
                                                  {"==true", &template_world::is_true, true},
                                                  {" is false", &template_world::is_false, true},
                                                  {" is not false", &template_world::is_false, false},
                                                  {"==false", &template_world::is_false, true},
                                                  {"!=false", &template_world::is_false, false},
                                                  {" is not none", &template_world::has_value, true},
                                                  {" is none", &template_world::has_value, false},
                                                  {" is iterable", &template_world::has_value, true},
                                                  {"|length>0", &template_world::has_value, true},
                                                  {"|length!=0", &template_world::has_value, true}}};
        for (const ending& each : endings) {
            if (std::string_view(spelling).ends_with(each.text)) {
                const auto value = std::string_view(spelling).substr(0, spelling.size() - each.text.size());
                const answer found = (this->*each.asks)(value, steps);
                return each.holds ? found : inverted(found);
            }
        }
        return truth(spelling, steps);
    }

    [[nodiscard]] answer is_given(std::string_view value, std::size_t&) const {
        if (value == "enable_thinking") {
            return input_.sets_thinking;
        }
        const bool is_certain = value == "messages" || value == "add_generation_prompt";
        return is_certain || (value == "tools" && input_.has_tools == true) ? answer(true) : std::nullopt;
    }
    [[nodiscard]] answer is_true(std::string_view value, std::size_t& steps) const {
        const bool may_be = value == "enable_thinking" || value == "add_generation_prompt";
        return may_be ? truth(value, steps) : std::nullopt;
    }
    [[nodiscard]] answer is_false(std::string_view value, std::size_t& steps) const {
        const answer given = is_given(value, steps);
        return given == false ? given : inverted(is_true(value, steps));
    }
    [[nodiscard]] answer has_value(std::string_view value, std::size_t& steps) const {
        return value == "tools" || value == "messages" ? truth(value, steps) : std::nullopt;
    }

    [[nodiscard]] answer truth(std::string_view value, std::size_t& steps) const {
        const bool given_or_true = !input_.sets_thinking || input_.enables_thinking == true;
        const std::array<std::pair<std::string_view, answer>, 11> known{
            {{"tools", input_.has_tools},
             {"add_generation_prompt", input_.is_prompted},
             {"enable_thinking", input_.sets_thinking ? input_.enables_thinking : answer(false)},
             {"enable_thinking|default(true)", given_or_true},
             {"enable_thinking|default(false)", input_.sets_thinking ? input_.enables_thinking : answer(false)},
             {"messages[0].role=='system'", input_.has_system},
             {"messages[0].role!='system'", inverted(input_.has_system)},
             {"messages|first.role=='system'", input_.has_system},
             {"messages", true},
             {"true", true},
             {"false", false}}};
        for (const auto& [spelling, holds] : known) {
            if (spelling == value) {
                return holds;
            }
        }
        return named(value, steps);
    }

    /// A name that the template gives once, outside of loops and conditions.
    [[nodiscard]] answer named(std::string_view name, std::size_t& steps) const {
        const template_alias* found = nullptr;
        for (const template_alias& each : outline_->aliases()) {
            if (each.name == name && (found != nullptr || each.is_in_loop || !each.guards.empty())) {
                return std::nullopt;
            }
            found = each.name == name ? &each : found;
        }
        const bool is_simple = found != nullptr && steps != 0 && found->value.size() <= longest_named;
        return is_simple ? either(found->value, steps) : std::nullopt;
    }

    const template_outline* outline_;
    template_input input_;
    std::vector<std::optional<bool>> answers_; ///< by condition
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
