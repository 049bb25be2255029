// SPDX-License-Identifier: MIT
// last_logits: what the head says behind a session's last token: all logits, the largest, or those of a few tokens.
#ifndef BITNET_RUN_LAST_LOGITS_HPP
#define BITNET_RUN_LAST_LOGITS_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/model/ranking.hpp>
#include <bitnet/model/screened_search.hpp>
#include <bitnet/run/allowed_tokens.hpp>
#include <bitnet/run/forward_pass.hpp>
#include <bitnet/run/last_state.hpp>
#include <bitnet/run/model_parts.hpp>
#include <bitnet/run/rows_ahead.hpp>
#include <bitnet/run/session_options.hpp>
#include <bitnet/run/session_steps.hpp>
#include <bitnet/run/workspace.hpp>
#include <bitnet/text/token.hpp>
#include <bitnet/thread/stepped_pool.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <span>

namespace bitnet::inline BITNET_ABI::detail {

/// Finds as little as is asked for: the k largest by way of the screen, if the model has one, and all logits by reading
/// the whole output matrix. What is read for the last token serves rows ahead, too. \pre of all but is_held(): the
/// last_state is there and owns the workspace, and no pass is under way
class last_logits {
public:
    last_logits(workspace& space, session_steps& steps, last_state& state, const model_parts& model) noexcept
        : space_(space), steps_(steps), state_(state), model_(model) {}

    /// Computes the k largest, all of them for 0. \return errc::cancelled
    [[nodiscard]] result<void> run(std::size_t k) {
        return steps_.run_whole([&]() noexcept { return run_in_step(k); });
    }
    /// Goes on with the k largest, all of them for 0, until the step ends. \return whether they are there: found(k), or
    /// all()
    [[nodiscard]] bool run_in_step(std::size_t k) noexcept {
        if (is_screened(k) && !space_.pass.has_begun_logits()) {
            if (!is_search_done(k)) {
                return false;
            }
            if (search().found()) {
                return true;
            }
        }
        return state_.logits().has() || are_logits_done();
    }

    /// After run(k): the k largest if the screen has them, and otherwise all().
    [[nodiscard]] std::optional<std::span<const scored_token>> found(std::size_t k) const noexcept {
        return state_.logits().has() ? std::nullopt : space_.pass.found(search(), k);
    }
    [[nodiscard]] std::span<const float> all() const noexcept {
        return {state_.logits().values(), model_.parameters.vocabulary};
    }
    /// After run(k): the k largest, wherever they come from. \pre k <= screened_search::most
    [[nodiscard]] std::span<const scored_token> largest(std::size_t k) noexcept {
        const auto few = found(k);
        return few ? *few : largest_of_all(k);
    }
    /// After run(0).
    [[nodiscard]] std::span<const scored_token> largest_of_all(std::size_t k) noexcept {
        const std::span<scored_token> places(space_.largest);
        return places.first(take_largest(all(), places.first(k)));
    }

    /// Logits of tokens that are allowed, the `needed` largest at least; nullopt where all logits have to do.
    [[nodiscard]] std::optional<std::span<const scored_token>> among(const allowed_tokens& allowed,
                                                                     std::size_t needed) noexcept {
        if (state_.logits().has()) {
            return std::nullopt;
        }
        space_.pass.drop_head();
        if (!allowed.few.empty() && space_.forward->has_listed_logits()) {
            return listed(allowed);
        }
        if (!is_screened(needed) || needed > allowed.count) {
            return std::nullopt;
        }
        if (space_.ahead.wants_bounds()) {
            space_.ahead.bound(state_.row(), *space_.forward,
                               [&](loop_progress&, std::size_t) noexcept { return space_.pool.ref(); });
            space_.ahead.end_bounds();
        }
        screened_search& of_last = search();
        const auto best = of_last.largest(space_.pool.ref(), space_.forward->final_state(state_.row()), needed,
                                          allowed.bits, space_.ahead.has_bounds());
        count(of_last);
        return best;
    }

    /// Shows the logits of the `count` rows of the last pass, several from one reading of the output matrix.
    /// \param begin what visitor() calls the first one \return errc::cancelled
    [[nodiscard]] result<void> visit_each(std::size_t begin, std::size_t count, const logits_visitor& visitor) {
        constexpr std::size_t most = workspace::rows_of_logits;
        std::array<std::size_t, most> rows;
        std::array<float*, most> out;
        for (std::size_t first = 0; first < count; first += most) {
            const std::size_t together = (std::min)(most, count - first);
            for (std::size_t i = 0; i < together; ++i) {
                rows[i] = first + i;
                out[i] = space_.logits.overwrite(together - 1 - i); // the last one to row 0, which is held
            }
            const auto compute = [&]() noexcept {
                return run_rows(std::span(rows).first(together), std::span(out).first(together));
            };
            if (auto computed = steps_.run_whole(compute); !computed) {
                space_.pass.drop_head();
                return computed;
            }
            for (std::size_t i = 0; i < together; ++i) {
                visitor(begin + first + i, {out[i], model_.parameters.vocabulary});
            }
        }
        state_.logits().hold(space_.logits[0]);
        return {};
    }

private:
    /// Whether the screen is to be searched: not without one, while it is being made, if k is out of range, or if all
    /// logits are already computed.
    [[nodiscard]] bool is_screened(std::size_t k) const noexcept {
        return model_.screen.is_ready() && !state_.logits().has() && k != 0 && k <= screened_search::most;
    }
    [[nodiscard]] screened_search& search() const noexcept {
        return space_.ahead.has_bounds() ? space_.ahead.searches[state_.row()] : space_.search;
    }
    void count(screened_search& of_last) noexcept {
        if (&of_last != &space_.search) {
            space_.search.take_statistics(of_last);
        }
    }

    /// Goes on with the search for k logits, and before it with the bounds of all rows ahead.
    [[nodiscard]] bool is_search_done(std::size_t k) noexcept {
        if (space_.ahead.wants_bounds()) {
            space_.ahead.bound(state_.row(), *space_.forward, [&](loop_progress& progress, std::size_t rows) noexcept {
                return steps_.pool().resume(progress, {forward_pass::search_stage, rows});
            });
            if (steps_.pool().is_stopped()) {
                return false;
            }
            space_.ahead.end_bounds();
        }
        screened_search& of_last = search();
        if (!space_.pass.run_search(steps_.pool(), of_last, space_.forward->final_state(state_.row()), k,
                                    space_.ahead.has_bounds())) {
            return false;
        }
        count(of_last);
        return true;
    }
    /// Goes on with all logits, and those of rows ahead from the same reading of the output matrix.
    [[nodiscard]] bool are_logits_done() noexcept {
        constexpr std::size_t most = workspace::rows_of_logits;
        const std::size_t together = (std::min)(most, 1 + space_.ahead.count());
        std::array<std::size_t, most> rows;
        std::array<float*, most> out;
        for (std::size_t i = 0; i < together; ++i) {
            rows[i] = state_.row() + i;
            out[i] = space_.logits.overwrite(i);
        }
        if (!run_rows(std::span(rows).first(together), std::span(out).first(together))) {
            return false;
        }
        space_.ahead.hold_logits(state_.row(), together);
        state_.logits().hold(space_.logits[0]);
        return true;
    }
    [[nodiscard]] bool run_rows(std::span<const std::size_t> rows, std::span<float* const> out) noexcept {
        return space_.pass.run_logits(steps_.pool(), *space_.forward, rows, out);
    }
    [[nodiscard]] std::span<const scored_token> listed(const allowed_tokens& allowed) noexcept {
        space_.forward->listed_logits(space_.pool.ref(), state_.row(), allowed.few, space_.listed_values.data());
        for (std::size_t i = 0; i < allowed.few.size(); ++i) {
            space_.listed[i] = {static_cast<token>(allowed.few[i]), space_.listed_values[i]};
        }
        return space_.listed.span().first(allowed.few.size());
    }

    workspace& space_;
    session_steps& steps_;
    last_state& state_;
    const model_parts& model_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
