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

    [[nodiscard]] std::string path(const std::string& name) const { return (path_ / name).string(); }
    [[nodiscard]] std::string path() const { return path_.string(); }
    [[nodiscard]] std::string write(const std::string& name, std::string_view text) const {
        std::ofstream(path(name), std::ios::binary) << text;
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
    std::filesystem::path path_;
};

[[nodiscard]] inline std::string_view as_text(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

} // namespace bitnet_tests
