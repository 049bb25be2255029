// SPDX-License-Identifier: MIT
// microsoft_tl_tiling: the tile sizes of microsoft/BitNet's TL1 and TL2 tensors, as written in a kernel_config.ini.
#ifndef BITNET_CHECKPOINT_MICROSOFT_TL_TILING_HPP
#define BITNET_CHECKPOINT_MICROSOFT_TL_TILING_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/quoted_name.hpp>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

namespace bitnet::inline BITNET_ABI::detail {

/// How a [rows, cols] matrix was cut when a file was written; names as in the section of the ini file.
struct microsoft_tl_tiling {
    std::size_t m = 0; ///< rows
    std::size_t k = 0; ///< columns
    std::size_t bm = 0;
    std::size_t bk = 0;
    std::size_t bmm = 0;

    /// The section of `ini`, the text of a kernel_config.ini, for a matrix of that shape; nullopt if there is none.
    /// \return errc::invalid_argument with the line that is neither a section, a comment nor a known key with a number.
    [[nodiscard]] static result<std::optional<microsoft_tl_tiling>> find(std::string_view ini, std::size_t rows,
                                                                         std::size_t cols);

private:
    [[nodiscard]] std::size_t* field(std::string_view key) noexcept {
        return key == "m"     ? &m
               : key == "k"   ? &k
               : key == "bm"  ? &bm
               : key == "bk"  ? &bk
               : key == "bmm" ? &bmm
                              : nullptr;
    }
    [[nodiscard]] static std::string_view trimmed(std::string_view text) noexcept {
        const auto first = text.find_first_not_of(" \t\r");
        const auto last = text.find_last_not_of(" \t\r");
        return first == text.npos ? std::string_view() : text.substr(first, last - first + 1);
    }
    /// "bm = 160" goes to its field. \return whether it is of that form
    [[nodiscard]] bool read_line(std::string_view line) noexcept {
        const auto equals = line.find('=');
        std::size_t* const to = equals != line.npos ? field(trimmed(line.substr(0, equals))) : nullptr;
        if (to == nullptr) {
            return false;
        }
        const std::string_view number = trimmed(line.substr(equals + 1));
        const auto [end, failed] = std::from_chars(number.data(), number.data() + number.size(), *to);
        return failed == std::errc() && end == number.data() + number.size();
    }
};

inline result<std::optional<microsoft_tl_tiling>> microsoft_tl_tiling::find(std::string_view ini, std::size_t rows,
                                                                            std::size_t cols) {
    microsoft_tl_tiling section;
    for (std::size_t number = 1; !ini.empty(); ++number) {
        const std::string_view line = trimmed(ini.substr(0, ini.find('\n')));
        ini.remove_prefix((std::min)(ini.size(), ini.find('\n') < ini.size() ? ini.find('\n') + 1 : ini.size()));
        if (line.empty() || line.front() == '#' || line.front() == ';') {
            continue;
        }
        if (line.front() == '[' && line.back() == ']') {
            if (section.m == rows && section.k == cols) {
                break;
            }
            section = {};
        } else if (!section.read_line(line)) {
            return error{errc::invalid_argument,
                         sentence({"kernel_config.ini: line ", number, " is ", quoted_name(line),
                                   "; [section] or m, k, bm, bk or bmm = NUMBER expected"})};
        }
    }
    const bool found = section.m == rows && section.k == cols;
    return found ? std::optional(section) : std::optional<microsoft_tl_tiling>();
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
