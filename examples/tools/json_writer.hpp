// SPDX-License-Identifier: MIT
// json_writer: JSON text in pure ASCII, with the commas where they belong.
#pragma once

#include <bitnet/io/json.hpp>

#include <charconv>
#include <concepts>
#include <cstddef>
#include <string>
#include <string_view>

namespace tools {

class json_writer {
public:
    /// `bracket` is one of [ { and, for end(), one of ] }.
    void begin(char bracket) { separate() += bracket, comma_ = false; }
    void end(char bracket) { text_ += bracket, comma_ = true; }
    void begin(std::string_view key, char bracket) { name(key), begin(bracket); }

    void value(std::string_view utf8) { bitnet::detail::append_json_string(separate(), utf8); }
    void value(const char* utf8) { value(std::string_view(utf8)); }
    void value(const std::string& utf8) { value(std::string_view(utf8)); }
    void value(bool yes) { separate() += yes ? "true" : "false"; }
    void value(std::integral auto number) { separate() += std::to_string(number); }
    /// As few digits as tell the number from its neighbours. JSON knows no infinity and no NaN: they become null.
    void value(std::floating_point auto number) {
        char digits[32];
        const auto written = std::to_chars(digits, digits + sizeof digits, number, std::chars_format::general);
        const std::string_view text(digits, static_cast<std::size_t>(written.ptr - digits));
        separate() += text.find_first_of("in") == std::string_view::npos ? text : "null"; // inf, nan
    }

    /// A value that is JSON already.
    void raw(std::string_view json) { separate() += json; }

    /// The key of the value, array or object that comes next.
    void name(std::string_view key) {
        bitnet::detail::append_json_string(separate(), key);
        text_ += ':';
        comma_ = false;
    }
    template <class T> void member(std::string_view key, const T& of) { name(key), value(of); }

    [[nodiscard]] const std::string& text() const noexcept { return text_; }

private:
    /// What is to be appended to, after the comma that may be due.
    std::string& separate() {
        text_ += comma_ ? "," : "";
        comma_ = true;
        return text_;
    }

    std::string text_;
    bool comma_ = false;
};

} // namespace tools
