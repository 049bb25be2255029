// SPDX-License-Identifier: MIT
// grammar: which texts are allowed, compiled for matchers.
#ifndef BITNET_CONSTRAIN_GRAMMAR_HPP
#define BITNET_CONSTRAIN_GRAMMAR_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/fwd.hpp>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI {

namespace detail {
struct compiled_grammar;
struct grammar_access;
} // namespace detail

/// A set of texts, compiled: immutable, independent of vocabularies, shared by its copies and by all matchers.
/// Opening one costs time and memory in proportion to its source, has limits of its own (grammar_limits), needs 64 KiB
/// of stack, and ends in an error for whatever exceeds them. No error sentence holds more than 1,000 bytes.
class grammar {
public:
    /// The language of llama.cpp's GBNF guide; its rule `root` is what has to match. Repetitions are exact up to
    /// 2^31 - 1, rules may be left-recursive and ambiguous.
    /// \return errc::bad_grammar with rule, line and column; errc::empty_language where nothing at all could match;
    /// errc::grammar_budget. Included with bitnet/constrain/gbnf_reader.hpp.
    [[nodiscard]] static result<grammar> gbnf(std::string_view source, std::string_view name = "grammar");

    /// The whole text has to match a regular expression in the dialect of JSON Schema's `pattern` (ECMA-262 without
    /// look-around, back-references, word borders and \p, which are refused). \d, \w and \s are ASCII.
    /// \return errc::bad_grammar with the column, and as above. Included with bitnet/constrain/regex_reader.hpp.
    [[nodiscard]] static result<grammar> regex(std::string_view pattern, std::string_view name = "regular expression");

    /// One of a list of texts, each of which is UTF-8; duplicates do not matter.
    /// \return errc::bad_grammar where the list is empty or a text is no UTF-8. Included with
    /// bitnet/constrain/choices.hpp.
    [[nodiscard]] static result<grammar> choices(std::span<const std::string_view> texts,
                                                 std::string_view name = "choices");

    /// JSON texts that are valid by a JSON Schema of draft 2020-12; see schema_options for the form they have.
    /// \return errc::bad_json, errc::bad_schema, errc::unsupported_schema with the JSON pointer of the keyword, and as
    /// above. Included with bitnet/constrain/json_schema.hpp.
    [[nodiscard]] static result<grammar> json_schema(std::string_view schema, const schema_options& options,
                                                     std::string_view name = "schema");
    [[nodiscard]] static result<grammar> json_schema(std::string_view schema);

    /// JSON texts that from_json<T>() reads, for types that fields_of describes, and vectors, variants ... of them.
    /// \return as above, if the limits contradict each other. Included with bitnet/constrain/type_schema.hpp.
    template <class T> [[nodiscard]] static result<grammar> of(const value_limits& limits);
    template <class T> [[nodiscard]] static result<grammar> of();

    /// What was read in a particular way, or not enforced because the options say so: one sentence each.
    [[nodiscard]] std::span<const std::string> notes() const noexcept { return notes_; }

private:
    friend struct detail::grammar_access;

    std::shared_ptr<const detail::compiled_grammar> tables_;
    std::vector<std::string> notes_;
};

namespace detail {

/// How readers make grammars, and matchers see their tables.
struct grammar_access {
    [[nodiscard]] static grammar make(std::shared_ptr<const compiled_grammar> tables, std::vector<std::string> notes) {
        grammar made;
        made.tables_ = std::move(tables);
        made.notes_ = std::move(notes);
        return made;
    }
    [[nodiscard]] static const std::shared_ptr<const compiled_grammar>& tables(const grammar& of) noexcept {
        return of.tables_;
    }
};

} // namespace detail

} // namespace bitnet::inline BITNET_ABI

#endif
