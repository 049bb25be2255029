// SPDX-License-Identifier: MIT
// last_state: what the layers left of a session's last token, in the workspace or aside, and the sum of all such
// states.
#ifndef BITNET_RUN_LAST_STATE_HPP
#define BITNET_RUN_LAST_STATE_HPP

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/memory_source.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/model/transformer.hpp>
#include <bitnet/run/logits_rows.hpp>
#include <bitnet/run/saved_session.hpp>
#include <bitnet/run/workspace.hpp>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

struct state_memory {
    buffer<float> state; ///< [hidden]
    buffer<float> sum;   ///< [hidden] if embedding() is a mean

    /// \return errc::out_of_memory
    [[nodiscard]] static result<state_memory> open(std::size_t hidden, bool has_mean, const memory_from& from) {
        state_memory made;
        error failure;
        allocate(made.state, hidden, "hidden state", failure, from);
        allocate(made.sum, has_mean ? hidden : 0, "sum of states", failure, from);
        return failure.code == errc{} ? result<state_memory>(std::move(made)) : failure;
    }
};

/// A workspace belongs to one session at a time, whose last state is in its transformer; those of the others are kept
/// aside. So this is also who has the workspace. Not copyable: workspace::owner refers to it.
class last_state {
public:
    last_state(workspace& space, state_memory memory) noexcept
        : space_(space), state_(std::move(memory.state)), sum_(std::move(memory.sum)) {}
    last_state(const last_state&) = delete;
    last_state& operator=(const last_state&) = delete;
    ~last_state() { leave_workspace(); }

    /// Whether there is one: the last token has run and was not taken back. Otherwise there are no logits either.
    [[nodiscard]] bool is_there() const noexcept { return is_there_; }
    [[nodiscard]] held_logits& logits() noexcept { return logits_; }
    [[nodiscard]] const held_logits& logits() const noexcept { return logits_; }
    /// Its row in the transformer. \pre owns_workspace(), and no pass is under way
    [[nodiscard]] std::size_t row() const noexcept { return row_; }
    /// The state [hidden], wherever it is; empty if there is none.
    [[nodiscard]] std::span<const float> values() const noexcept {
        if (is_there_ && owns_workspace() && !space_.pass.is_under_way()) {
            return {space_.forward->state(row_), state_.size()};
        }
        return is_there_ && is_aside_ ? state_.span() : std::span<const float>();
    }
    /// What embedding() is made of. \pre owns_workspace(), and no pass is under way
    [[nodiscard]] const float* pooled() noexcept {
        return has_mean() ? sum_.data() : space_.forward->final_state(row_);
    }

    // The workspace.

    [[nodiscard]] bool owns_workspace() const noexcept { return space_.owner == this; }
    /// Makes it this session's: who had it before keeps its state.
    void take_workspace() noexcept {
        if (owns_workspace()) {
            return;
        }
        if (space_.owner != nullptr && !space_.pass.is_under_way()) { // a pass keeps it when it begins
            space_.owner->keep();
        }
        forget_work();
        space_.owner = this;
        restore();
    }
    /// What this session has in it is forgotten.
    void leave_workspace() noexcept {
        if (owns_workspace()) {
            forget_work();
            space_.owner = nullptr;
        }
    }
    /// Puts the state aside, before something runs in its place. \pre owns_workspace()
    void keep() noexcept {
        is_aside_ = is_there_;
        if (is_aside_) {
            space_.forward->copy_state(row_, state_.data());
        }
    }
    /// Puts it back, into row 0. \pre owns_workspace()
    void restore() noexcept {
        if (is_aside_) {
            space_.forward->set_state(state_.data());
            row_ = 0;
        }
    }
    /// The state [hidden], put aside. \pre is_there()
    [[nodiscard]] const float* aside() noexcept {
        if (owns_workspace()) {
            keep();
        }
        return state_.data();
    }

    // What changes it.

    /// The last token is that of row `row` now, in this session's own workspace.
    void move_to(std::size_t row) noexcept {
        row_ = row;
        is_there_ = true;
        logits_.release();
    }
    /// The same, of a pass of somebody else's.
    void take(transformer& pass, std::size_t row) noexcept {
        if (owns_workspace()) {
            space_.owner = nullptr;
        }
        pass.copy_state(row, state_.data());
        is_aside_ = is_there_ = true;
        logits_.release();
    }
    /// The last token is another one now, whose state is gone.
    void lose() noexcept {
        is_there_ = false;
        logits_.release();
    }
    /// The sequence is empty.
    void clear() noexcept {
        if (owns_workspace()) {
            forget_work();
        }
        summed_ = 0;
        lose();
    }

    // The sum, which stands for the mean, because only its direction matters.

    [[nodiscard]] bool has_mean() const noexcept { return sum_.size() != 0; }
    [[nodiscard]] std::span<const float> sum() const noexcept { return sum_.span(); }
    /// States that it has.
    [[nodiscard]] std::size_t summed() const noexcept { return summed_; }
    /// Adds `count` rows of a pass, in the order of their positions: the same bits whatever the chunks. Without a mean
    /// does nothing.
    void add(transformer& pass, std::size_t first, std::size_t count) noexcept {
        if (!has_mean()) {
            return;
        }
        if (summed_ == 0) {
            std::fill(sum_.span().begin(), sum_.span().end(), 0.0f);
        }
        for (std::size_t row = first; row < first + count; ++row) {
            pass.add_final_state(row, sum_.span());
        }
        summed_ += count;
    }

    // Forks and saves.

    /// All of it but the logits, which the state gives again. \pre `from` owns the workspace, and no pass is under way
    void copy(last_state& from) noexcept {
        from.keep();
        std::copy_n(from.state_.data(), state_.size(), state_.data());
        std::copy_n(from.sum_.data(), sum_.size(), sum_.data());
        is_aside_ = from.is_aside_;
        is_there_ = from.is_there_;
        summed_ = from.summed_;
    }
    void load(const session_bytes& saved) noexcept {
        leave_workspace();
        logits_.release();
        const auto load_part = [](buffer<float>& to, std::span<const std::byte> part) {
            if (!part.empty()) {
                std::memcpy(to.data(), part.data(), part.size());
            }
        };
        load_part(state_, saved.state);
        load_part(sum_, saved.sum);
        is_aside_ = is_there_ = !saved.state.empty();
        summed_ = saved.summed_states;
    }

private:
    void forget_work() noexcept {
        space_.pass.drop();
        space_.ahead.clear();
    }

    workspace& space_;
    buffer<float> state_;
    buffer<float> sum_;
    held_logits logits_;
    std::size_t row_ = 0;
    std::size_t summed_ = 0;
    bool is_there_ = false;
    bool is_aside_ = false; ///< whether state_ has it, or had it when a pass began
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
