// SPDX-License-Identifier: MIT
// schema_source: the text of a schema, the mistakes that are found in it, and what is not enforced.
#ifndef BITNET_CONSTRAIN_SCHEMA_SOURCE_HPP
#define BITNET_CONSTRAIN_SCHEMA_SOURCE_HPP

#include <bitnet/constrain/expression.hpp>
#include <bitnet/constrain/number_language.hpp>
#include <bitnet/constrain/schema_document.hpp>
#include <bitnet/constrain/schema_options.hpp>
#include <bitnet/constrain/schema_shape.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/json.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Keywords of JSON Schema that ask for nothing.
[[nodiscard]] inline bool is_annotation(std::string_view key) noexcept {
    constexpr std::string_view all[] = {
        "title",         "description", "default",   "examples", "$comment", "contentEncoding", "contentMediaType",
        "contentSchema", "$schema",     "$id",       "$anchor",  "$defs",    "definitions",     "$vocabulary",
        "deprecated",    "readOnly",    "writeOnly", "id"};
    return std::find(std::begin(all), std::end(all), key) != std::end(all);
}

/// The text of a schema, and what is said about it: steps that read from it return whether to go on; if not, the error
/// is in failure().
class schema_source {
public:
    schema_source(const json_document& text, std::string_view name, const schema_options& options)
        : document_(text), name_(name), options_(options) {}

    [[nodiscard]] json_value value(std::uint32_t place) const { return document_.at(place).value; }
    [[nodiscard]] schema_document& document() noexcept { return document_; }
    [[nodiscard]] const schema_document& document() const noexcept { return document_; }
    [[nodiscard]] const schema_options& options() const noexcept { return options_; }
    [[nodiscard]] std::string_view source_name() const noexcept { return name_; }
    [[nodiscard]] error& failure() noexcept { return failure_; }
    [[nodiscard]] std::vector<std::string>& notes() noexcept { return notes_; }

    /// Whether an unevaluated* keyword was met that depends on which schemas hold.
    [[nodiscard]] bool has_unevaluated() const noexcept { return has_unevaluated_; }
    void set_unevaluated() noexcept { has_unevaluated_ = true; }

    // -- errors and notes --
    [[nodiscard]] bool malformed(std::uint32_t place, sentence_parts why) {
        return set_error(failure_, errc::bad_schema, {name_, ": ", quoted{document_.pointer(place)}, ": "}, why);
    }
    void note(std::string text) {
        constexpr std::size_t most_notes = 100;
        if (notes_.size() < most_notes && std::find(notes_.begin(), notes_.end(), text) == notes_.end()) {
            notes_.push_back(std::move(text));
        }
    }
    void note_unknown(std::uint32_t keyword) {
        note(sentence({quoted{document_.pointer(keyword)}, ": no keyword of JSON Schema, taken as an annotation"}));
    }
    /// What cannot be enforced: an error, or a note where that is asked for.
    [[nodiscard]] bool refuse(std::uint32_t place, sentence_parts why) {
        if (options_.unsupported == unsupported_keyword::note) {
            std::string text;
            for (const sentence_part& part : why) {
                part.append_to(text);
            }
            note(sentence({quoted{document_.pointer(place)}, ": ", text, "; it is not enforced"}));
            return true;
        }
        return set_error(failure_, errc::unsupported_schema, {name_, ": ", quoted{document_.pointer(place)}, ": "},
                         why);
    }

    // -- what keywords hold --
    [[nodiscard]] bool read_types(std::uint32_t at, std::uint32_t& values) {
        const json_value type = value(at);
        if (const auto one = type.as_string()) {
            values = values_of_type(*one);
            return values != 0 || malformed(at, {"no type is called ", quoted{*one}});
        }
        if (!type.is_array()) {
            return malformed(at, {"a type is a name or a list of names"});
        }
        for (const json_value element : type.elements()) {
            const std::uint32_t more = values_of_type(element.as_string().value_or(""));
            if (more == 0) {
                return malformed(at, {"the list holds something else than names of types"});
            }
            values |= more;
        }
        return true;
    }
    [[nodiscard]] bool read_types_quietly(std::uint32_t at, std::uint32_t& values) {
        const error before = failure_;
        const bool is_read = read_types(at, values);
        failure_ = before;
        return is_read;
    }
    /// A count of a schema: a whole number that is not negative; what is larger than any count here, as unlimited.
    [[nodiscard]] bool read_count(std::uint32_t at, std::uint32_t& count) {
        const auto text = value(at).as_number_text();
        const auto number = text ? read_decimal(*text) : std::nullopt;
        if (!number || !number->fraction.empty() || (number->is_negative && !number->is_zero())) {
            return malformed(at, {"a whole number from 0 on is expected"});
        }
        std::uint64_t sum = 0;
        for (const char c : number->whole) {
            sum = (std::min)(sum * 10 + static_cast<std::uint64_t>(c - '0'), std::uint64_t{unlimited});
        }
        count = sum > largest_count ? unlimited : static_cast<std::uint32_t>(sum);
        return true;
    }
    [[nodiscard]] bool raise(std::uint32_t at, std::uint32_t& least) {
        std::uint32_t count = 0;
        if (!read_count(at, count)) {
            return false;
        }
        least = count != unlimited ? (std::max)(least, count) : least;
        return count != unlimited || refuse(at, {"a count above ", largest_count, " is not supported"});
    }
    [[nodiscard]] bool lower(std::uint32_t at, std::uint32_t& most) {
        std::uint32_t count = 0;
        const bool is_read = read_count(at, count);
        most = (std::min)(most, count);
        return is_read && (count != unlimited || refuse(at, {"a count above ", largest_count, " is not supported"}));
    }

    // -- keys, by number --
    [[nodiscard]] std::uint32_t name(std::string_view text) {
        const auto [found, is_new] =
            name_numbers_.try_emplace(std::string(text), static_cast<std::uint32_t>(names_.size()));
        if (is_new) {
            names_.emplace_back(text);
        }
        return found->second;
    }
    [[nodiscard]] const std::string& name_of(demand of) const { return names_[of.name]; }

private:
    schema_document document_;
    std::string_view name_;
    const schema_options& options_;
    std::vector<std::string> names_;
    std::map<std::string, std::uint32_t> name_numbers_;
    std::vector<std::string> notes_;
    bool has_unevaluated_ = false;
    error failure_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
