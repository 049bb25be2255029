// SPDX-License-Identifier: MIT
// copy_pace: gives a copy up that takes longer than it is worth.
#ifndef BITNET_IO_COPY_PACE_HPP
#define BITNET_IO_COPY_PACE_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/byte_source.hpp>

#include <chrono>
#include <cstdint>
#include <string>

namespace bitnet::inline BITNET_ABI::detail {

/// Watches one copy of one or more files from its construction on. From the page cache into memory that the system has
/// at hand a copy runs at 4 to 13 GB/s. A disk is slower, and so is a virtual machine's memory that the host has to
/// find first, page by page: 1.2 GB took up to nine seconds there, which a few hundred tokens would not win back.
class copy_pace {
public:
    /// Below this pace, and after a grace of 20 ms, a copy is given up.
    static constexpr double least_bytes_per_second = 2e9;
    static constexpr double grace_seconds = 0.02;

    [[nodiscard]] static constexpr bool is_enough(std::uint64_t bytes, double seconds) noexcept {
        return seconds <= grace_seconds || static_cast<double>(bytes) >= seconds * least_bytes_per_second;
    }

    /// \param also told of the copy, and may give it up, too
    explicit copy_pace(copy_progress also = {}) noexcept : also_(also) {}
    copy_pace(const copy_pace&) = delete;
    copy_pace& operator=(const copy_pace&) = delete;

    /// Borrows this.
    [[nodiscard]] copy_progress progress() noexcept {
        return {[](void* self, std::uint64_t done, std::uint64_t all) noexcept {
                    return static_cast<copy_pace*>(self)->take(done, all);
                },
                this};
    }

    /// Why the copy was given up.
    [[nodiscard]] std::string note() const {
        return sentence({"pages: mapped, because the copy of the model, at ",
                         static_cast<std::uint64_t>(static_cast<double>(bytes_) / seconds_ / 1e6),
                         " MB/s, would have taken too long; page_mode::copied waits for it"});
    }

private:
    [[nodiscard]] bool take(std::uint64_t done, std::uint64_t all) noexcept {
        bytes_ += done > of_this_file_ ? done - of_this_file_ : done; // the first piece of the next file is fewer
        of_this_file_ = done;
        seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
        const bool goes_on = also_.goes_on == nullptr || also_.goes_on(also_.context, done, all);
        return goes_on && is_enough(bytes_, seconds_);
    }

    copy_progress also_;
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
    std::uint64_t bytes_ = 0;
    std::uint64_t of_this_file_ = 0;
    double seconds_ = grace_seconds;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
