// SPDX-License-Identifier: MIT
// Lists of choices as grammars. Defines grammar::choices.
#ifndef BITNET_CONSTRAIN_CHOICES_HPP
#define BITNET_CONSTRAIN_CHOICES_HPP

#include <bitnet/constrain/compilation.hpp>
#include <bitnet/constrain/expression.hpp>
#include <bitnet/constrain/grammar.hpp>
#include <bitnet/constrain/language_algebra.hpp>
#include <bitnet/constrain/source_reader.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/core/utf8.hpp>

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

namespace bitnet::inline BITNET_ABI {

namespace detail {

[[nodiscard]] inline result<void> check_choices(std::span<const std::string_view> texts, std::string_view name) {
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < texts.size(); ++i) {
        bytes += texts[i].size();
        for (std::string_view rest = texts[i]; !rest.empty();) {
            const decoded_code_point first = first_code_point(rest);
            if (first.value == invalid_code_point) {
                return error_saying(errc::bad_grammar, {name, ": choice ", i + 1, " is not UTF-8 at byte ",
                                                        texts[i].size() - rest.size()});
            }
            rest.remove_prefix(first.size);
        }
    }
    if (bytes > most_source_bytes) {
        return error_saying(errc::bad_grammar,
                            {name, ": ", bytes, " bytes, and at most ", most_source_bytes, " are read"});
    }
    return texts.empty() ? result<void>(error_saying(errc::bad_grammar,
                                                     {name, ": there are 0 choices, and at least 1 is needed"}))
                         : result<void>();
}

} // namespace detail

inline result<grammar> grammar::choices(std::span<const std::string_view> texts, std::string_view name) {
    return detail::guarded([&]() -> result<grammar> {
        if (auto checked = detail::check_choices(texts, name); !checked) {
            return failed(checked);
        }
        detail::grammar_source source;
        auto list = detail::words_automaton({texts.begin(), texts.end()});
        source.rules.push_back({"root", source.pool.language(std::move(list))});
        return detail::compiled(source, name);
    });
}

} // namespace bitnet::inline BITNET_ABI

#endif
