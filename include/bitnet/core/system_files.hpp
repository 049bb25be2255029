// SPDX-License-Identifier: MIT
// system_files: the small text files in which Linux tells of itself and of this process, below /proc and /sys.
#ifndef BITNET_CORE_SYSTEM_FILES_HPP
#define BITNET_CORE_SYSTEM_FILES_HPP

#include <bitnet/core/config.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string_view>
#include <system_error>

#if defined(__linux__)
#include <cerrno>
#include <fcntl.h>
#include <unistd.h>
#endif

namespace bitnet::inline BITNET_ABI::detail {

/// The path of such a file, put together without an allocation. Too long a path is empty: it names no file.
class system_path {
public:
    system_path(std::initializer_list<std::string_view> parts) noexcept {
        for (const std::string_view part : parts) {
            is_whole_ = is_whole_ && part.size() < text_.size() - size_;
            if (is_whole_) {
                std::copy(part.begin(), part.end(), text_.begin() + static_cast<std::ptrdiff_t>(size_));
                size_ += part.size();
            }
        }
        text_[is_whole_ ? size_ : 0] = '\0';
    }
    [[nodiscard]] const char* c_str() const noexcept { return text_.data(); }

private:
    std::array<char, 1024> text_;
    std::size_t size_ = 0;
    bool is_whole_ = true;
};

/// Reads them: the system's own by default, those of a test otherwise. Allocates nothing.
struct system_files {
    /// Writes the first bytes of the file to `out`. \return their number; 0 if there is no such file.
    std::size_t (*read)(const void* context, const char* path, std::span<char> out) noexcept = read_own;
    const void* context = nullptr;

    /// The first bytes of a file, as many as `memory` takes; empty if there is no such file.
    [[nodiscard]] std::string_view text(const system_path& path, std::span<char> memory) const noexcept {
        return {memory.data(), read(context, path.c_str(), memory)};
    }

    [[nodiscard]] static std::size_t read_own([[maybe_unused]] const void* context, [[maybe_unused]] const char* path,
                                              [[maybe_unused]] std::span<char> out) noexcept {
        std::size_t size = 0;
#if defined(__linux__)
        const int file = ::open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (file < 0) {
            return 0;
        }
        while (size < out.size()) {
            const ::ssize_t taken = ::read(file, out.data() + size, out.size() - size);
            if (taken <= 0 && !(taken < 0 && errno == EINTR)) {
                break;
            }
            size += taken > 0 ? static_cast<std::size_t>(taken) : 0;
        }
        ::close(file);
#endif
        return size;
    }
};

/// Room for any of these files but the longest, of which the first lines are wanted.
using system_text = std::array<char, 8192>;

/// Takes the first line off `text`.
[[nodiscard]] inline std::string_view take_line(std::string_view& text) noexcept {
    const std::size_t end = (std::min)(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix((std::min)(end + 1, text.size()));
    return line;
}

/// The number that `text` begins with, after spaces. nullopt for another word, such as "max", or -1.
[[nodiscard]] inline std::optional<std::uint64_t> leading_number(std::string_view text) noexcept {
    text.remove_prefix((std::min)(text.find_first_not_of(" \t"), text.size()));
    std::uint64_t number = 0;
    const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
    return read.ec == std::errc{} ? std::optional(number) : std::nullopt;
}

/// The number in the line of `text` that begins with `key`.
[[nodiscard]] inline std::optional<std::uint64_t> number_after(std::string_view text, std::string_view key) noexcept {
    while (!text.empty()) {
        const std::string_view line = take_line(text);
        if (line.starts_with(key)) {
            return leading_number(line.substr(key.size()));
        }
    }
    return std::nullopt;
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
