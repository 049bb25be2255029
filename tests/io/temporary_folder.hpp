// SPDX-License-Identifier: MIT
// temporary_folder: a folder of its own for one test, gone when the test ends.
#pragma once

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

namespace bitnet_tests {

class temporary_folder {
public:
    temporary_folder() {
        const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
        for (int i = 0;; ++i) {
            path_ = std::filesystem::temp_directory_path() /
                    ("bitnet-test-" + std::to_string(now) + "-" + std::to_string(i));
            if (std::filesystem::create_directory(path_)) {
                return;
            }
        }
    }
    temporary_folder(const temporary_folder&) = delete;
    temporary_folder& operator=(const temporary_folder&) = delete;
    ~temporary_folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }

    /// Paths are UTF-8, as the library takes them.
    [[nodiscard]] std::string path(const std::string& name) const { return utf8(path_ / from_utf8(name)); }
    [[nodiscard]] std::string path() const { return utf8(path_); }
    [[nodiscard]] std::string write(const std::string& name, std::string_view text) const {
        std::ofstream(path_ / from_utf8(name), std::ios::binary) << text;
        return path(name);
    }
    [[nodiscard]] std::size_t files() const {
        std::size_t count = 0;
        for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(path_)) {
            ++count;
        }
        return count;
    }

private:
    [[nodiscard]] static std::string utf8(const std::filesystem::path& path) {
        const auto text = path.u8string();
        return {text.begin(), text.end()};
    }
    [[nodiscard]] static std::filesystem::path from_utf8(const std::string& name) {
        return {std::u8string(name.begin(), name.end())};
    }
    std::filesystem::path path_;
};

[[nodiscard]] inline std::string_view as_text(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

} // namespace bitnet_tests
