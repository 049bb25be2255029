// SPDX-License-Identifier: MIT
// progress_meter: adds up what one opening of a model has done, and tells it.
#ifndef BITNET_IO_PROGRESS_METER_HPP
#define BITNET_IO_PROGRESS_METER_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/byte_source.hpp>
#include <bitnet/io/open_progress.hpp>

#include <cstdint>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// Adds up what one opening has done. Belongs to the thread that opens.
class progress_meter {
public:
    explicit progress_meter(open_progress told) noexcept : told_(told) {}
    progress_meter(const progress_meter&) = delete;
    progress_meter& operator=(const progress_meter&) = delete;

    /// So many bytes of tensors, or for the screen, are to be gone through. What a copy has promised of them is
    /// included.
    void expect(std::uint64_t bytes) noexcept {
        all_ = done_ + bytes;
        of_file_ = 0;
    }

    /// \return whether to go on
    [[nodiscard]] bool advance(std::uint64_t bytes) noexcept {
        done_ = bytes < all_ - done_ ? done_ + bytes : all_;
        return tell();
    }
    [[nodiscard]] bool finish() noexcept {
        done_ = all_;
        return tell();
    }
    [[nodiscard]] bool is_cancelled() const noexcept { return is_cancelled_; }

    /// errc::cancelled. \param name of the model
    [[nodiscard]] error cancelled(std::string_view name) const {
        return error_saying(errc::cancelled,
                            {name, ": opening it was given up after ", done_, " of ", all_, " bytes of work"});
    }

    /// Counts copies, one file after the other, each followed by the reading of what it holds. Borrows this.
    [[nodiscard]] copy_progress copying() noexcept {
        return {[](void* self, std::uint64_t done, std::uint64_t all) noexcept {
                    return static_cast<progress_meter*>(self)->copy(done, all);
                },
                this};
    }
    /// A copy was given up for another reason: what was left of it is not done.
    void forget_copy() noexcept {
        all_ = done_;
        of_file_ = 0;
    }

private:
    [[nodiscard]] bool copy(std::uint64_t done, std::uint64_t all) noexcept {
        if (of_file_ == 0) { // its first piece
            all_ += 2 * all;
        }
        const std::uint64_t more = done - of_file_;
        of_file_ = done != all ? done : 0;
        return advance(more);
    }
    [[nodiscard]] bool tell() noexcept {
        is_cancelled_ = is_cancelled_ || (told_.goes_on != nullptr && !told_.goes_on(told_.context, done_, all_));
        return !is_cancelled_;
    }

    open_progress told_;
    std::uint64_t done_ = 0;
    std::uint64_t all_ = 0;
    std::uint64_t of_file_ = 0; ///< copied of the file that is being copied
    bool is_cancelled_ = false;
};

/// \return whether to go on, with or without a meter
[[nodiscard]] inline bool advance(progress_meter* meter, std::uint64_t bytes) noexcept {
    return meter == nullptr || meter->advance(bytes);
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
