// SPDX-License-Identifier: MIT
// schema_compiler: JSON Schemas as grammars of JSON texts. Defines grammar::json_schema.
#ifndef BITNET_CONSTRAIN_JSON_SCHEMA_HPP
#define BITNET_CONSTRAIN_JSON_SCHEMA_HPP

#include <bitnet/constrain/compilation.hpp>
#include <bitnet/constrain/expression.hpp>
#include <bitnet/constrain/grammar.hpp>
#include <bitnet/constrain/schema_arrays.hpp>
#include <bitnet/constrain/schema_numbers.hpp>
#include <bitnet/constrain/schema_objects.hpp>
#include <bitnet/constrain/schema_options.hpp>
#include <bitnet/constrain/schema_reader.hpp>
#include <bitnet/constrain/schema_rules.hpp>
#include <bitnet/constrain/schema_shape.hpp>
#include <bitnet/constrain/schema_source.hpp>
#include <bitnet/constrain/schema_strings.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/json.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI {

namespace detail {

/// Makes the body of one rule after another, of which each may ask for further ones. Steps return whether to go on; if
/// not, the error is in the reader's failure().
class schema_compiler {
public:
    schema_compiler(const json_document& text, std::string_view name, const schema_options& options)
        : reader_(text, name, options), name_(name), rules_(reader_, options), numbers_(rules_), strings_(rules_),
          arrays_(rules_, strings_), objects_(rules_, strings_) {}

    /// \param before a text in front of the JSON text \param after and one behind it
    [[nodiscard]] result<grammar> run(std::string_view before = {}, std::string_view after = {}) {
        if (reader_.document().longest_key() > most_key_bytes) {
            return error_saying(errc::grammar_budget, {name_, ": a key of ", reader_.document().longest_key(),
                                                       " bytes, and at most ", most_key_bytes, " are supported"});
        }
        if (reader_.document().longest_uri() > most_uri_bytes) {
            return error_saying(errc::grammar_budget, {name_, ": $id gives a URI of ", reader_.document().longest_uri(),
                                                       " bytes, and at most ", most_uri_bytes, " are supported"});
        }
        rules_.begin();
        for (std::size_t at = 0; at < rules_.size(); ++at) {
            constexpr std::size_t most_rules = 20'000;
            constexpr std::size_t most_expressions = 4'000'000; // some 40 bytes each
            if (at == most_rules) {
                return error_saying(errc::grammar_budget,
                                    {name_, ": combinations of its schemas need more than ", most_rules, " rules"});
            }
            if (rules_.pool().size() > most_expressions) {
                return error_saying(errc::grammar_budget, {name_, ": its first ", at, " rules need more than ",
                                                           most_expressions, " expressions"});
            }
            const demands* const all = rules_.wanted(at);
            if (all != nullptr && !compile(*all, static_cast<std::uint32_t>(at))) {
                return std::move(reader_.failure());
            }
        }
        if (!before.empty() || !after.empty()) {
            rules_.surround(before, after);
        }
        return compiled(rules_.source(), name_, std::move(reader_.notes()));
    }

private:
    [[nodiscard]] bool compile(const demands& all, std::uint32_t rule) {
        rules_.begin_body(all);
        const auto key_order = reader_.key_order(all);
        std::vector<schema_shape> shapes;
        if (!reader_.read(all, shapes)) {
            return false;
        }
        std::vector<expression> parts;
        for (const schema_shape& shape : shapes) {
            if (!add_shape(shape, key_order, parts)) {
                return false;
            }
        }
        rules_.set_body(rule, rules_.pool().choice(parts));
        return true;
    }
    [[nodiscard]] bool add_shape(const schema_shape& shape, std::span<const std::string> key_order,
                                 std::vector<expression>& parts) {
        for (const auto& [value, word] : value_words) {
            if ((shape.values & value) != 0) {
                parts.push_back(rules_.pool().literal(word));
            }
        }
        return ((shape.values & (set_whole | set_fraction)) == 0 || numbers_.add(shape, parts)) &&
               ((shape.values & set_string) == 0 || strings_.add(shape, parts)) &&
               ((shape.values & set_array) == 0 || arrays_.add(shape, parts)) &&
               ((shape.values & set_object) == 0 || objects_.add(shape, key_order, parts));
    }

    schema_reader reader_;
    std::string_view name_;
    schema_rules rules_;
    schema_numbers numbers_;
    schema_strings strings_;
    schema_arrays arrays_;
    schema_objects objects_;
};

/// grammar::json_schema with a text in front and one behind.
[[nodiscard]] inline result<grammar> json_schema_between(std::string_view before, std::string_view after,
                                                         std::string_view schema, const schema_options& options,
                                                         std::string_view name) {
    return guarded([&]() -> result<grammar> {
        if (schema.size() > most_source_bytes) {
            return error_saying(errc::bad_schema,
                                {name, ": ", schema.size(), " bytes, and at most ", most_source_bytes, " are read"});
        }
        constexpr std::uint32_t most_nested = 512;
        auto text = json_document::parse(schema, name, {.depth = most_nested});
        return text ? schema_compiler(*text, name, options).run(before, after) : failed(text);
    });
}

} // namespace detail

inline result<grammar> grammar::json_schema(std::string_view schema, const schema_options& options,
                                            std::string_view name) {
    return detail::json_schema_between({}, {}, schema, options, name);
}
inline result<grammar> grammar::json_schema(std::string_view schema) {
    return grammar::json_schema(schema, schema_options{});
}

} // namespace bitnet::inline BITNET_ABI

#endif
