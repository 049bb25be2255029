// SPDX-License-Identifier: MIT
// sequence_pass: passes of one session's tokens through the layers, in its workspace.
#ifndef BITNET_RUN_SEQUENCE_PASS_HPP
#define BITNET_RUN_SEQUENCE_PASS_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/model/sequence_row.hpp>
#include <bitnet/model/transformer.hpp>
#include <bitnet/run/forward_pass.hpp>
#include <bitnet/run/last_state.hpp>
#include <bitnet/run/session_steps.hpp>
#include <bitnet/run/token_sequence.hpp>
#include <bitnet/run/workspace.hpp>
#include <bitnet/text/token.hpp>

#include <algorithm>
#include <cstddef>
#include <span>

namespace bitnet::inline BITNET_ABI::detail {

/// What waits in a token_sequence runs here, and the last_state moves on. Of rows behind the last token, which are of
/// guesses, guess_pass knows more. What runs takes the workspace before.
class sequence_pass {
public:
    sequence_pass(workspace& space, session_steps& steps, token_sequence& sequence, last_state& state) noexcept
        : space_(space), steps_(steps), sequence_(sequence), state_(state) {}

    /// Whether one has begun and not ended.
    [[nodiscard]] bool is_under_way() const noexcept { return state_.owns_workspace() && space_.pass.is_under_way(); }
    /// The most rows that the next one can have, of `count`.
    [[nodiscard]] std::size_t most_of(std::size_t count) const noexcept {
        return (std::min)({count, space_.rows.size(), sequence_.next_room()});
    }

    /// Runs all that waits. \return errc::cancelled, errc::kv_pool_full
    [[nodiscard]] result<void> run_waiting() {
        while (sequence_.waiting() != 0) {
            if (!is_under_way()) {
                if (auto room = sequence_.make_room(); !room) {
                    return room;
                }
                begin_waiting(most_of(sequence_.waiting()));
            }
            if (auto ran = run_whole(); !ran) {
                return ran;
            }
        }
        return {};
    }
    /// Goes on with all that waits until the step ends. \return whether nothing waits; errc::kv_pool_full
    [[nodiscard]] result<bool> run_waiting_in_step() {
        while (sequence_.waiting() != 0) {
            if (!is_under_way()) {
                if (auto room = sequence_.make_room(); !room) {
                    return failed(room);
                }
                begin_waiting(steps_.pool().rows_for(forward_pass::layer_stage, most_of(sequence_.waiting())));
            }
            if (!run()) {
                return false;
            }
        }
        return true;
    }
    /// A pass of embeddings [rows, hidden]. \pre there is room, and nothing waits. \return errc::cancelled
    [[nodiscard]] result<void> run_embeddings(std::span<const float> embeddings, std::size_t hidden) {
        const std::span<sequence_row> rows = space_.rows.span().first(embeddings.size() / hidden);
        sequence_.write_embeddings(embeddings, hidden, rows);
        begin(rows.size());
        return run_whole();
    }

    /// Begins one of the token that waits and of guesses behind it. \pre there is room
    void begin_with(std::span<const token> guesses) noexcept {
        const std::span<sequence_row> rows = space_.rows.span().first(1 + guesses.size());
        sequence_.write_waiting(rows.first(1));
        sequence_.write_ahead(guesses, rows.subspan(1));
        begin(rows.size());
        space_.ahead.plan(guesses);
    }
    /// Runs the one that is under way. \return errc::cancelled
    [[nodiscard]] result<void> run_whole() {
        return steps_.run_whole([&]() noexcept { return run(); });
    }

    /// Undoes the beginning of one; its tokens wait as before.
    void drop() noexcept {
        if (!is_under_way()) {
            return;
        }
        space_.pass.drop();
        if (space_.ahead.planned() != 0) {
            space_.ahead.drop();
            sequence_.give_up_rest();
        }
        state_.restore();
    }
    /// Undoes what has begun of the head.
    void drop_head() noexcept {
        if (state_.owns_workspace()) {
            space_.pass.drop_head();
        }
    }

    /// Rows of this session that a pass of somebody else's has run. \pre count > 0
    void end_rows(transformer& pass, std::size_t first, std::size_t count) noexcept {
        drop();
        drop_head();
        state_.add(pass, first, count);
        sequence_.end_rows(count);
        state_.take(pass, first + count - 1);
    }

private:
    /// Of the first `count` tokens that wait. \pre 1 <= count <= most_of(waiting)
    void begin_waiting(std::size_t count) noexcept {
        sequence_.write_waiting(space_.rows.span().first(count));
        begin(count);
    }
    void begin(std::size_t count) noexcept {
        state_.keep(); // in case the pass is dropped
        space_.ahead.clear();
        space_.pass.begin(space_.rows.span().first(count));
    }
    /// Goes on with the pass that is under way until the step ends. \return whether it is over.
    [[nodiscard]] bool run() noexcept {
        const std::size_t count = space_.pass.rows() - space_.ahead.planned();
        if (!space_.pass.run(steps_.pool(), *space_.forward)) {
            return false;
        }
        sequence_.end_rows(count);
        state_.move_to(count - 1);
        space_.ahead.begin();
        state_.add(*space_.forward, 0, count);
        return true;
    }

    workspace& space_;
    session_steps& steps_;
    token_sequence& sequence_;
    last_state& state_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
