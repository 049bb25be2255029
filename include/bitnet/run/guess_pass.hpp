// SPDX-License-Identifier: MIT
// guess_pass: guesses that run behind the token that waits, and what becomes of their rows when the next token is
// known.
#ifndef BITNET_RUN_GUESS_PASS_HPP
#define BITNET_RUN_GUESS_PASS_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/memory_source.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/model/joint_searches.hpp>
#include <bitnet/run/last_state.hpp>
#include <bitnet/run/model_parts.hpp>
#include <bitnet/run/rows_ahead.hpp>
#include <bitnet/run/sequence_pass.hpp>
#include <bitnet/run/token_chooser.hpp>
#include <bitnet/run/token_sequence.hpp>
#include <bitnet/run/workspace.hpp>
#include <bitnet/text/token.hpp>

#include <algorithm>
#include <cstddef>
#include <span>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// The rows themselves are the workspace's rows_ahead. As long as next() gives what was guessed, settle() takes the row
/// of a guess in place of a pass; whatever it gives, the bits are those of a session that never guessed.
class guess_pass {
public:
    guess_pass(workspace& space, const hyper_parameters& parameters, token_sequence& sequence, last_state& state,
               sequence_pass& pass) noexcept
        : space_(space), parameters_(parameters), sequence_(sequence), state_(state), pass_(pass) {}

    /// Allocates searches for the rows ahead, once, where the model has a screen, or will. \return errc::out_of_memory
    [[nodiscard]] result<void> reserve(const model_parts& model, const memory_source* memory) {
        if (!model.screen.is_expected() || !space_.ahead.searches.empty()) {
            return {};
        }
        auto made = joint_searches::open(*model.tables.loops, model.tensors.lm_head(), model.screen.get(),
                                         model.parameters.logit_scale, rows_ahead::most + 1, "session", memory);
        if (!made) {
            return failed(made);
        }
        space_.ahead.searches = *std::move(made);
        return {};
    }

    /// How many of `guesses` can run behind the token that waits.
    [[nodiscard]] std::size_t usable(std::span<const token> guesses) const noexcept {
        if (!sequence_.pending() || sequence_.queued() != 0 || state_.has_mean() || parameters_.is_embedder ||
            pass_.is_under_way()) {
            return 0;
        }
        const std::size_t most =
            (std::min)({guesses.size(), rows_ahead::most, space_.rows.size() - 1, sequence_.next_room() - 1});
        std::size_t count = 0;
        while (count < most && guesses[count] >= 0 &&
               static_cast<std::size_t>(guesses[count]) < parameters_.vocabulary) {
            ++count;
        }
        return count;
    }

    /// Begins a pass of the token that waits, and `guesses` behind it. \return how many of these it has;
    /// errc::kv_pool_full: all is as it was then
    [[nodiscard]] result<std::size_t> begin(std::span<const token> guesses) {
        settle();
        const std::size_t count = usable(guesses);
        if (count == 0) {
            return std::size_t{0};
        }
        if (auto room = sequence_.make_room(); !room) {
            return failed(room);
        }
        if (auto reserved = sequence_.reserve_to(sequence_.cached() + 1 + count); !reserved) {
            return failed(reserved);
        }
        state_.take_workspace();
        pass_.begin_with(guesses.first(count));
        return count;
    }
    /// Runs what begin() began. \return errc::cancelled: all is as it was before that then
    [[nodiscard]] result<void> run() {
        auto ran = pass_.run_whole();
        if (!ran) {
            pass_.drop();
        }
        return ran;
    }
    /// Begins the pass of the token that waits with those that the chooser knows to follow it, unless they have run.
    /// Where that fails the token still waits, and what runs it says why.
    void begin_forced(const any_chooser& choose) {
        settle();
        const std::span<const token> next = sequence_.pending() ? choose.forced() : std::span<const token>();
        if (!next.empty()) {
            static_cast<void>(begin(next));
        }
    }

    /// Before anything that waits runs: where its first token is the one that a row ahead is of, that row has run, and
    /// otherwise the rows ahead are none any more. Comes before what reserves positions, which are taken here.
    void settle() noexcept {
        if (!has_rows() || sequence_.waiting() == 0) {
            return;
        }
        rows_ahead& ahead = space_.ahead;
        if (!sequence_.pending() || !ahead.is_next(*sequence_.pending())) {
            return drop();
        }
        space_.pass.drop_head();
        ahead.take();
        sequence_.end_rows(1);
        state_.move_to(state_.row() + 1);
        if (ahead.has_logits(state_.row())) {
            state_.logits().hold(space_.logits[state_.row() - ahead.first_logits()]);
        }
    }
    /// The rows ahead are none any more.
    void drop() noexcept {
        if (has_rows()) {
            space_.pass.drop_head();
            space_.ahead.drop();
            sequence_.give_up_rest();
        }
    }

private:
    [[nodiscard]] bool has_rows() const noexcept { return state_.owns_workspace() && space_.ahead.count() != 0; }

    workspace& space_;
    const hyper_parameters& parameters_;
    token_sequence& sequence_;
    last_state& state_;
    sequence_pass& pass_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
