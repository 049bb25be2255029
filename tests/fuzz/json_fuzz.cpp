// SPDX-License-Identifier: MIT
// Fuzzes the JSON reader: what it accepts can be written out again and read back as the same values.
#include <bitnet/io/json.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace {

void require(bool holds) {
    if (!holds) {
        __builtin_trap();
    }
}

void write(std::string& out, bitnet::json_value value) {
    using bitnet::json_type;
    std::size_t count = 0;
    switch (value.type()) {
    case json_type::null:
        out += "null";
        break;
    case json_type::boolean:
        out += *value.as_bool() ? "true" : "false";
        break;
    case json_type::string:
        bitnet::detail::append_json_string(out, *value.as_string());
        break;
    case json_type::number: {
        // The text of a number is not public: integers in their range exactly, others by whether they are numbers.
        const auto whole = value.as_integer<std::int64_t>();
        const auto real = value.as_double();
        require(!whole || real.has_value());
        out += whole ? std::to_string(*whole) : real ? "0.5" : "1e999";
        break;
    }
    case json_type::array:
        out += '[';
        for (const auto element : value.elements()) {
            out += count++ == 0 ? "" : ",";
            write(out, element);
        }
        out += ']';
        break;
    case json_type::object:
        out += '{';
        for (const auto [key, member] : value.members()) {
            require(value.find(key).has_value());
            out += count++ == 0 ? "" : ",";
            bitnet::detail::append_json_string(out, key);
            out += ':';
            write(out, member);
        }
        out += '}';
        break;
    }
    require(count == value.size());
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::vector<char> exact(data, data + size); // the sanitizer watches its end
    const std::string_view text(exact.data(), exact.size());
    std::string ascii;
    bitnet::detail::append_json_string(ascii, text); // any bytes
    require(bitnet::json_document::parse(ascii, "string").has_value());
    const auto document = bitnet::json_document::parse(text, "fuzz");
    if (!document) {
        require(document.error().code == bitnet::errc::bad_json || document.error().code == bitnet::errc::bad_utf8);
        return 0;
    }
    std::string once;
    write(once, document->root());
    const auto again = bitnet::json_document::parse(once, "again");
    require(again.has_value());
    std::string twice;
    write(twice, again->root());
    require(once == twice);
    return 0;
}
