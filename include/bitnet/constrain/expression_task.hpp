// SPDX-License-Identifier: MIT
// expression_task: an expression that is to lead from one state to another; how those made of parts are taken apart.
#ifndef BITNET_CONSTRAIN_EXPRESSION_TASK_HPP
#define BITNET_CONSTRAIN_EXPRESSION_TASK_HPP

#include <bitnet/constrain/automaton.hpp>
#include <bitnet/constrain/expression.hpp>
#include <bitnet/constrain/subset_construction.hpp>
#include <bitnet/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

struct expression_task {
    expression part;
    std::uint32_t from;
    std::uint32_t to;
};

inline void connect_literal(nondeterministic_automaton& states, std::string_view text, expression_task task) {
    std::uint32_t from = task.from;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto byte = static_cast<std::uint8_t>(text[i]);
        const std::uint32_t to = i + 1 == text.size() ? task.to : states.add_state();
        states.add(from, byte_edge{byte, byte, to});
        from = to;
    }
    if (text.empty()) {
        states.skip(task.from, task.to);
    }
}

inline void connect_sequence(nondeterministic_automaton& states, std::span<const expression> parts,
                             expression_task task, std::vector<expression_task>& todo) {
    std::uint32_t from = task.from;
    for (std::size_t i = 0; i < parts.size(); ++i) {
        const std::uint32_t to = i + 1 == parts.size() ? task.to : states.add_state();
        todo.push_back({parts[i], from, to});
        from = to;
    }
    if (parts.empty()) {
        states.skip(task.from, task.to);
    }
}

/// A repetition as copies of its part, and a loop where it has no limit.
inline void connect_copies(nondeterministic_automaton& states, expression part, const expression_node& repeat,
                           expression_task task, std::vector<expression_task>& todo) {
    std::uint32_t from = task.from;
    const auto add_copy = [&] {
        const std::uint32_t to = states.add_state();
        todo.push_back({part, from, to});
        from = to;
    };
    for (std::uint32_t i = 0; i < repeat.low; ++i) {
        add_copy();
    }
    if (repeat.high == unlimited) {
        const std::uint32_t loop = states.add_state();
        states.skip(from, loop);
        todo.push_back({part, loop, loop});
        from = loop;
    }
    for (std::uint32_t i = repeat.low; repeat.high != unlimited && i < repeat.high; ++i) {
        states.skip(from, task.to);
        add_copy();
    }
    states.skip(from, task.to);
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
