// SPDX-License-Identifier: MIT
// The energy counters of processor packages (RAPL), which Linux shows to who may read them.
#pragma once

#include <bitnet/core/system_files.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace bench {

/// One reading of one package's counter, in microjoules.
struct energy_reading {
    std::uint64_t microjoules = 0;
    std::uint64_t range = 0; ///< the counter wraps around at this value
};

/// Of every package; empty where the system has no counters or does not let this user read them.
[[nodiscard]] inline std::vector<energy_reading> read_energy(const bitnet::detail::system_files& files = {}) {
    std::vector<energy_reading> all;
    for (std::size_t package = 0;; ++package) {
        const std::string folder = "/sys/class/powercap/intel-rapl:" + std::to_string(package) + "/";
        bitnet::detail::system_text text;
        const auto used = bitnet::detail::leading_number(files.text({folder, "energy_uj"}, text));
        if (!used) {
            return all;
        }
        const auto range = bitnet::detail::leading_number(files.text({folder, "max_energy_range_uj"}, text));
        all.push_back({*used, range.value_or(0)});
    }
}

/// Joules of all packages between two readings, less than one turn of a counter apart. nullopt without counters.
[[nodiscard]] inline std::optional<double> joules_between(const std::vector<energy_reading>& before,
                                                          const std::vector<energy_reading>& after) {
    if (before.empty() || before.size() != after.size()) {
        return std::nullopt;
    }
    double microjoules = 0;
    for (std::size_t i = 0; i < before.size(); ++i) {
        const std::uint64_t first = before[i].microjoules;
        const std::uint64_t last = after[i].microjoules;
        if (last < first && before[i].range < first) {
            return std::nullopt; // it wrapped around at a value that nobody tells
        }
        microjoules += static_cast<double>(last >= first ? last - first : before[i].range - first + last);
    }
    return microjoules / 1e6;
}

} // namespace bench
