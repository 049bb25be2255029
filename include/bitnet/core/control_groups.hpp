// SPDX-License-Identifier: MIT
// control_groups: the groups in which Linux limits what this process gets, which is how containers are limited.
#ifndef BITNET_CORE_CONTROL_GROUPS_HPP
#define BITNET_CORE_CONTROL_GROUPS_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/system_files.hpp>

#include <algorithm>
#include <cstddef>
#include <span>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// The group of this process for one controller and all groups around it, each of which may have a limit of its own.
/// Of version 2 (one tree below /sys/fs/cgroup) or 1 (a tree for each controller, /sys/fs/cgroup/memory). Where a
/// container shows the path of the host but only its own part of the tree, the folders that are not there are passed
/// over, and the last one, the root of the tree, has the container's limits. Borrows `files`.
class control_groups {
public:
    /// \param controller "cpu" or "memory"
    control_groups(const system_files& files, std::string_view controller) noexcept : files_(files) {
        std::string_view rest = files.text({"/proc/self/cgroup"}, text_);
        while (!rest.empty()) {
            read_line(take_line(rest), controller);
        }
    }

    control_groups(const control_groups&) = delete;
    control_groups& operator=(const control_groups&) = delete;

    /// Whether the controller is in a tree of version 1.
    [[nodiscard]] bool is_version_1() const noexcept { return is_version_1_; }

    /// Calls visit(folder) with each of them, the innermost first: read() takes it.
    template <class F> void for_each(F&& visit) const noexcept {
        for (std::string_view path = path_; path.starts_with('/') && path != "/";
             path = path.substr(0, path.rfind('/'))) {
            visit(path);
        }
        visit(std::string_view());
    }

    /// The file `name` of a group.
    [[nodiscard]] std::string_view read(std::string_view folder, std::string_view name,
                                        std::span<char> memory) const noexcept {
        return files_.text(
            {"/sys/fs/cgroup", is_version_1_ ? "/" : "", is_version_1_ ? controller_ : "", folder, "/", name}, memory);
    }

private:
    /// "0::/path" of version 2, "4:cpu,cpuacct:/path" of version 1, which has the controller if both have a line.
    void read_line(std::string_view line, std::string_view controller) noexcept {
        const std::size_t first = line.find(':');
        const std::size_t second = first == line.npos ? line.npos : line.find(':', first + 1);
        if (second == line.npos) {
            return;
        }
        std::string_view names = line.substr(first + 1, second - first - 1);
        const std::string_view path = line.substr(second + 1);
        if (names.empty() && !is_version_1_) {
            path_ = path;
        }
        while (!names.empty()) {
            const std::size_t comma = (std::min)(names.find(','), names.size());
            if (names.substr(0, comma) == controller) {
                is_version_1_ = true;
                controller_ = controller;
                path_ = path;
            }
            names.remove_prefix((std::min)(comma + 1, names.size()));
        }
    }

    const system_files& files_;
    system_text text_; ///< that path_ points into
    std::string_view path_;
    std::string_view controller_;
    bool is_version_1_ = false;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
