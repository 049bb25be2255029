// SPDX-License-Identifier: MIT
// python_json: JSON as Python's json.dumps(ensure_ascii=False) spells it, which is how chat templates write it.
#ifndef BITNET_IO_PYTHON_JSON_HPP
#define BITNET_IO_PYTHON_JSON_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/json.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Appends `text` in double quotes. Python escapes quotes, backslashes and what is below U+0020, and nothing else.
inline void append_python_string(std::string& out, std::string_view text) {
    constexpr std::string_view meant = "\"\\\b\f\n\r\t";
    constexpr std::string_view written = "\"\\bfnrt";
    out += '"';
    for (const char c : text) {
        const std::size_t named = meant.find(c);
        if (named != std::string_view::npos) {
            out += '\\';
            out += written[named];
        } else if (static_cast<unsigned char>(c) < 0x20) {
            append_json_escape(out, static_cast<unsigned char>(c));
        } else {
            out += c;
        }
    }
    out += '"';
}

/// How json.dumps(indent=...) breaks lines.
struct python_indent {
    std::size_t spaces = 0; ///< of a level; 0: all is on one line
    std::size_t level = 0;

    [[nodiscard]] python_indent deeper() const noexcept { return {spaces, level + 1}; }
    /// Appends what is in front of an item, or of the end of a list.
    void begin_line(std::string& out) const {
        if (spaces != 0) {
            out.append(1, '\n').append(spaces * level, ' ');
        }
    }
};

/// Appends `value`: ", " between items where there are no lines, ": " after keys, members in the order of the text,
/// numbers as the text spells them (Python would write 1e2 as 100.0).
inline void append_python_json(std::string& out, json_value value, python_indent lines = {}) {
    const std::string_view after_item = lines.spaces != 0 ? "," : ", ";
    std::string_view between;
    switch (value.type()) {
    case json_type::null:
        out += "null";
        break;
    case json_type::boolean:
        out += *value.as_bool() ? "true" : "false";
        break;
    case json_type::number:
        out += *value.number_text();
        break;
    case json_type::string:
        append_python_string(out, *value.as_string());
        break;
    case json_type::array:
        out += '[';
        for (const json_value element : value.elements()) {
            out += between;
            lines.deeper().begin_line(out);
            append_python_json(out, element, lines.deeper());
            between = after_item;
        }
        if (!between.empty()) {
            lines.begin_line(out);
        }
        out += ']';
        break;
    case json_type::object:
        out += '{';
        for (const json_member member : value.members()) {
            out += between;
            lines.deeper().begin_line(out);
            append_python_string(out, member.key);
            out += ": ";
            append_python_json(out, member.value, lines.deeper());
            between = after_item;
        }
        if (!between.empty()) {
            lines.begin_line(out);
        }
        out += '}';
        break;
    }
}

/// `json` in that spelling. `name` is what errors call it. \return what json_document::parse returns.
[[nodiscard]] inline result<std::string> python_json(std::string_view json, std::string_view name) {
    return guarded([&]() -> result<std::string> {
        const auto document = json_document::parse(json, name);
        if (!document) {
            return failed(document);
        }
        std::string made;
        append_python_json(made, document->root());
        return made;
    });
}

/// The elements of an array, each in that spelling. \return what python_json returns; errc::invalid_argument if `json`
/// is no array.
[[nodiscard]] inline result<std::vector<std::string>> python_json_list(std::string_view json, std::string_view name) {
    return guarded([&]() -> result<std::vector<std::string>> {
        const auto document = json_document::parse(json, name);
        if (!document) {
            return failed(document);
        }
        if (!document->root().is_array()) {
            return error{errc::invalid_argument,
                         sentence({name, " is of the type ", name_of(document->root().type()), ", not an array"})};
        }
        std::vector<std::string> made;
        for (const json_value element : document->root().elements()) {
            append_python_json(made.emplace_back(), element);
        }
        return made;
    });
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
