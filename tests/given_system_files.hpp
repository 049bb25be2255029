// SPDX-License-Identifier: MIT
// given_system_files: files of /proc and /sys with the contents that a test gives.
#pragma once

#include <bitnet/core/system_files.hpp>

#include <algorithm>
#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <utility>

namespace bitnet_tests {

class given_system_files {
public:
    explicit given_system_files(std::map<std::string, std::string> texts) : texts_(std::move(texts)) {}

    /// Borrows this.
    [[nodiscard]] bitnet::detail::system_files files() const noexcept { return {read, this}; }

private:
    static std::size_t read(const void* context, const char* path, std::span<char> out) noexcept {
        const auto& texts = static_cast<const given_system_files*>(context)->texts_;
        const auto found = texts.find(path);
        const std::size_t size = found == texts.end() ? 0 : std::min(found->second.size(), out.size());
        std::copy_n(found == texts.end() ? nullptr : found->second.data(), size, out.data());
        return size;
    }

    std::map<std::string, std::string> texts_;
};

} // namespace bitnet_tests
