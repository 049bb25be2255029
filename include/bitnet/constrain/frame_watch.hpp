// SPDX-License-Identifier: MIT
// frame_watch: which frames of a matcher are looked at while a mask is made.
#ifndef BITNET_CONSTRAIN_FRAME_WATCH_HPP
#define BITNET_CONSTRAIN_FRAME_WATCH_HPP

#include <bitnet/constrain/match_store.hpp>
#include <bitnet/core/config.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

namespace bitnet::inline BITNET_ABI::detail {

/// mask_key numbers frames in the order in which it meets them. What counts is the highest number of those whose links
/// are looked at from start() to stop(); newer frames depend on them only through links that are looked at themselves.
class frame_watch {
public:
    static constexpr std::uint32_t most = 64;             ///< frames that have numbers
    static constexpr std::uint32_t unknown = 0xffffffffu; ///< the number of a frame that has none

    /// No frame has a number. \param frames all there is room for
    void forget(std::span<match_frame> frames) noexcept {
        base_ += most;
        if (base_ >= 0xffffff00u) {
            for (match_frame& frame : frames) {
                frame.seen = 0;
            }
            base_ = most;
        }
    }
    [[nodiscard]] std::uint32_t number(const match_frame& frame) const noexcept {
        return (frame.seen ^ base_) < most ? frame.seen - base_ : unknown;
    }
    void set_number(match_frame& frame, std::uint32_t number) const noexcept { frame.seen = base_ + number; }

    /// Begins to watch the first `frames`.
    void start(std::uint32_t frames) noexcept {
        watched_ = frames;
        looked_at_ = 0;
    }
    void look(const match_store& of, std::uint32_t frame) noexcept {
        if (frame < watched_) {
            note(of.frames[frame]);
        }
    }
    /// Ends. \return how many of the numbered frames, from the first one on, include all that were looked at; unknown:
    /// more than those
    [[nodiscard]] std::uint32_t stop() noexcept {
        watched_ = 0;
        return looked_at_;
    }

private:
    void note(const match_frame& frame) noexcept {
        const std::uint32_t at = number(frame);
        looked_at_ = at == unknown ? unknown : (std::max)(looked_at_, at + 1);
    }

    std::uint32_t watched_ = 0;
    std::uint32_t base_ = 0; ///< what `seen` has of a numbered frame, in the upper bits
    std::uint32_t looked_at_ = 0;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
