// SPDX-License-Identifier: MIT
// compiled(): from what a reader made to a grammar.
#ifndef BITNET_CONSTRAIN_COMPILATION_HPP
#define BITNET_CONSTRAIN_COMPILATION_HPP

#include <bitnet/constrain/expression.hpp>
#include <bitnet/constrain/grammar.hpp>
#include <bitnet/constrain/grammar_compiler.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// The grammar of compiled tables, or the error of the compilation with `name` in front.
[[nodiscard]] inline result<grammar> compiled(const grammar_source& source, std::string_view name,
                                              std::vector<std::string> notes = {}) {
    auto tables = grammar_compiler(source, {}).run();
    if (!tables) {
        return error_saying(tables.error().code, {name, ": ", tables.error().message});
    }
    return grammar_access::make(std::make_shared<const compiled_grammar>(*std::move(tables)), std::move(notes));
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
