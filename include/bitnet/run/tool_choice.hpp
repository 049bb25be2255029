// SPDX-License-Identifier: MIT
// tool_choice: whether the model may or has to call a function in its answers.
#ifndef BITNET_RUN_TOOL_CHOICE_HPP
#define BITNET_RUN_TOOL_CHOICE_HPP

#include <bitnet/core/config.hpp>

#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// What an answer is, as far as calls go.
enum class tool_mode : unsigned char {
    none,      ///< text: no call can begin
    automatic, ///< text, in which the model may begin a call
    required,  ///< a call of any function, from its first token on, after the thought if the model thinks
    named      ///< the same of one function
};

struct tool_choice {
    tool_mode mode = tool_mode::automatic;
    std::string_view name = {}; ///< of the function; named only
    /// Whether an answer may have several calls. If not, or if the model's form has but one
    /// (tool_form::has_one_call()), the first one ends it.
    bool parallel = false;
};

} // namespace bitnet::inline BITNET_ABI

#endif
