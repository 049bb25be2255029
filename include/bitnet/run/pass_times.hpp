// SPDX-License-Identifier: MIT
// pass_times: how long passes take, by the number of their rows, as measured.
#ifndef BITNET_RUN_PASS_TIMES_HPP
#define BITNET_RUN_PASS_TIMES_HPP

#include <bitnet/core/config.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace bitnet::inline BITNET_ABI::detail {

/// Moving averages, in any unit, for 1 to 16 rows.
class pass_times {
public:
    static constexpr std::size_t most_rows = 16; ///< of a tile

    /// \pre 1 <= rows <= most_rows
    void learn(std::size_t rows, std::uint64_t time) noexcept {
        double& known = times_[rows - 1];
        const double now = static_cast<double>((std::max)(time, std::uint64_t{1}));
        // Slow passes count less: the system may have taken a core away.
        known = known == 0.0  ? now
                : now < known ? (known + now) / 2.0
                              : known + ((std::min)(now, 2.0 * known) - known) / 8.0;
    }
    [[nodiscard]] bool knows(std::size_t rows) const noexcept { return times_[rows - 1] != 0.0; }

    /// What more rows than `rows` took, long ago and perhaps while something else ran, is believed less. \pre
    /// knows(rows)
    void doubt_more_than(std::size_t rows) noexcept {
        const double base = times_[rows - 1];
        for (std::size_t i = rows; i < most_rows; ++i) {
            times_[i] = times_[i] > base ? times_[i] - (times_[i] - base) / 4.0 : times_[i];
        }
    }

    /// How much longer than `rows` so many `more` take, as a multiple of the time of `rows`, from 0 on: as measured, or
    /// else in line with the nearest that were. \pre knows(rows), rows + more <= most_rows
    [[nodiscard]] double excess(std::size_t rows, std::size_t more) const noexcept {
        const std::size_t at = rows - 1 + more;
        std::size_t fewer = at;
        while (times_[fewer] == 0.0) { // ends at `rows`
            --fewer;
        }
        const double base = times_[rows - 1];
        double time = times_[fewer];
        if (fewer != at) {
            time += (std::max)(each_beyond(rows - 1, fewer, at), 0.0) * static_cast<double>(at - fewer);
        }
        return (std::max)(time / base - 1.0, 0.0);
    }
    /// Whether so long a time is little beside that of one row.
    [[nodiscard]] bool is_little(std::uint64_t time) const noexcept {
        return static_cast<double>(time) * 64.0 < times_[0];
    }

private:
    /// Of a row beside the first one, before any was measured. Where it is less, that is seen after a single one.
    static constexpr double slope = 0.5;

    /// The time of a row more, between the nearest that are known.
    [[nodiscard]] double each_beyond(std::size_t base, std::size_t fewer, std::size_t at) const noexcept {
        std::size_t more = at;
        while (more + 1 < most_rows && times_[more] == 0.0) {
            ++more;
        }
        if (times_[more] != 0.0) {
            return (times_[more] - times_[fewer]) / static_cast<double>(more - fewer);
        }
        return fewer != base ? (times_[fewer] - times_[base]) / static_cast<double>(fewer - base)
                             : slope * times_[base];
    }

    std::array<double, most_rows> times_{}; ///< 0: not known
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
