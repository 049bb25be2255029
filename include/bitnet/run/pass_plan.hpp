// SPDX-License-Identifier: MIT
// pass_plan: which rows of which speakers run in a pass of a scheduler.
#ifndef BITNET_RUN_PASS_PLAN_HPP
#define BITNET_RUN_PASS_PLAN_HPP

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/memory_source.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/model/sequence_row.hpp>
#include <bitnet/run/guess_round.hpp>
#include <bitnet/run/pass_times.hpp>
#include <bitnet/run/served_speaker.hpp>
#include <bitnet/run/served_speakers.hpp>
#include <bitnet/run/session_core.hpp>
#include <bitnet/run/session_options.hpp>
#include <bitnet/run/token_chooser.hpp>
#include <bitnet/text/token.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace bitnet::inline BITNET_ABI::detail {

/// The token behind the last one of all that are speaking, pieces of the prompts of others, and guesses where a pass
/// has time for them. Borrows the options and the speakers. Allocates in open() only.
class pass_plan {
public:
    pass_plan(const scheduler_options& options, served_speakers& speakers) noexcept
        : options_(options), speakers_(speakers) {}

    /// \return errc::out_of_memory
    [[nodiscard]] result<void> open(const memory_from& from) {
        error failure;
        allocate(order_, options_.speakers, "scheduler", failure, from);
        allocate(rows_, most_rows(), "scheduler", failure, from);
        return failure.code == errc{} ? result<void>{} : failure;
    }
    [[nodiscard]] std::size_t most_rows() const noexcept {
        return (std::max)(options_.prompt_chunk, options_.answers + options_.prompt_beside_answers);
    }

    /// Plans another pass. \return whether there is anything to do
    [[nodiscard]] bool make() noexcept {
        ++passes_;
        std::size_t active = 0;
        bool is_anybody_speaking = false;
        for (served_speaker& each : speakers_.places()) {
            each.leave_pass();
            if (each.prepare()) {
                order_[active++] = &each;
                is_anybody_speaking = is_anybody_speaking || each.is_speaking;
            }
        }
        const std::span<served_speaker*> order = order_.span().first(active);
        sort(order);
        used_rows_ = 0;
        places left{most_rows(), is_anybody_speaking ? options_.prompt_beside_answers : options_.prompt_chunk,
                    options_.answers};
        bool is_anybody_served = false;
        for (served_speaker* each : order) {
            is_anybody_served = give(*each, left) || is_anybody_served;
        }
        if (!is_anybody_served) {
            return false;
        }
        give_guesses(order, left);
        for (served_speaker* each : order) {
            place_rows(*each);
        }
        return true;
    }
    /// Of the pass; none where all that is asked for is there and the head alone has to run.
    [[nodiscard]] std::span<sequence_row> rows() noexcept { return rows_.span().first(used_rows_); }

    /// The pass is not run to its end.
    void drop() noexcept {
        plain_rows_ = 0;
        for (served_speaker& each : speakers_.places()) {
            each.drop_rows_ahead();
        }
    }
    /// It is over, unless it was dropped: what its guesses have cost and brought is learned.
    void end(std::chrono::nanoseconds took) noexcept {
        if (plain_rows_ == 0) {
            return;
        }
        std::size_t rows = plain_rows_;
        for (const served_speaker& each : speakers_.places()) {
            rows += each.is_in_pass ? each.ahead : 0;
        }
        times_.learn(rows, static_cast<std::uint64_t>(took.count()));
        for (served_speaker& each : speakers_.places()) {
            if (each.is_in_pass) {
                each.round.end(times_, plain_rows_);
                each.drop_rows_ahead();
            }
        }
        plain_rows_ = 0;
    }

private:
    /// What a pass has left.
    struct places {
        std::size_t rows;
        std::size_t prompts; ///< of the rows
        std::size_t answers;
    };

    /// By priority and how long they waited; in every fourth pass only by that.
    void sort(std::span<served_speaker*> order) const noexcept {
        const bool is_by_priority = passes_ % 4 != 0;
        std::sort(order.begin(), order.end(), [&](const served_speaker* a, const served_speaker* b) noexcept {
            if (is_by_priority && a->priority != b->priority) {
                return a->priority > b->priority;
            }
            return a->last_turn < b->last_turn;
        });
    }

    /// Gives a speaker its part of a pass. \return whether there is one
    [[nodiscard]] bool give(served_speaker& each, places& left) noexcept {
        session_core& session = *each.session;
        const std::size_t waiting = session.waiting();
        std::size_t count = each.is_speaking ? waiting : (std::min)({waiting, left.prompts, left.rows});
        count = (std::min)(count, session.next_room());
        each.is_answered = each.wants_answer && count == waiting;
        if (each.is_answered && left.answers == 0) {
            if (each.is_speaking) {
                return false;
            }
            --count; // its last token in a pass that has an answer for it
            each.is_answered = false;
        }
        // A state that is there already needs a row for the head alone.
        const std::size_t taken = (std::max)(count, each.is_answered ? std::size_t{1} : std::size_t{0});
        if (taken == 0 || taken > left.rows) {
            return false;
        }
        if (auto reserved = guarded([&] { return session.reserve_rows(count); }); !reserved) {
            each.refuse(failed(reserved));
            return false;
        }
        left.rows -= taken;
        left.prompts -= each.is_speaking ? 0 : count;
        left.answers -= each.is_answered ? 1 : 0;
        each.is_in_pass = true;
        each.last_turn = speakers_.next_turn();
        each.rows = count;
        return true;
    }

    /// Rows for guesses, where all rows of the pass are answers and so few that their products wait for the weights:
    /// 16 with those of guesses, which is what is read together. Speakers share what room there is, and a pass now and
    /// then has none, to see what it takes.
    void give_guesses(std::span<served_speaker* const> order, const places& left) noexcept {
        std::size_t rows = 0;
        std::size_t guessing = 0; // speakers that may
        for (const served_speaker* each : order) {
            rows += each->rows;
            guessing += each->is_answered && each->is_speaking && each->rows == 1 ? 1u : 0u;
        }
        plain_rows_ = rows == guessing && rows != 0 && rows <= pass_times::most_rows ? rows : 0;
        if (plain_rows_ == 0) {
            return;
        }
        std::size_t room = (std::min)({pass_times::most_rows - rows, left.rows, left.answers});
        for (served_speaker* each : order) {
            if (each->rows != 0) {
                room -= guess(*each, passes_ % 64 != 0 || !options_.speculation.is_adaptive
                                         ? (room + guessing - 1) / guessing
                                         : 0);
                --guessing;
            }
        }
    }
    /// \return how many rows ahead a speaker gets
    [[nodiscard]] std::size_t guess(served_speaker& each, std::size_t limit) noexcept {
        session_core& session = *each.session;
        limit = (std::min)(limit, session.next_room() - 1);
        auto guesses = each.round.begin((std::min)(limit, options_.speculation.most), times_, plain_rows_,
                                        options_.speculation.is_adaptive,
                                        [&](std::size_t count) noexcept { return each.who->guess(count); });
        // What the chooser knows runs, where the speaker does not guess that and more.
        const auto chooser = limit != 0 ? each.who->chooser() : std::nullopt;
        std::span<const token> forced = chooser ? chooser->forced() : std::span<const token>();
        forced = forced.first((std::min)(forced.size(), limit));
        if (!forced.empty() &&
            (guesses.size() < forced.size() || !std::equal(forced.begin(), forced.end(), guesses.begin()))) {
            guesses = each.round.begin_known(forced);
        }
        const std::size_t count = session.usable(guesses);
        if (count != 0 && guarded([&] { return session.reserve_rows(1 + count); })) {
            each.ahead = count;
            each.round.run(count);
        }
        return each.ahead;
    }

    void place_rows(served_speaker& each) noexcept {
        if (!each.is_in_pass) {
            return;
        }
        each.goes_on = false;
        each.rows_taken = 0;
        each.revision = each.session->revision();
        each.first_row = used_rows_;
        each.session->write_rows(rows_.span().subspan(used_rows_, each.rows));
        used_rows_ += each.rows;
        each.session->write_ahead(each.round.running().first(each.ahead), rows_.span().subspan(used_rows_, each.ahead));
        used_rows_ += each.ahead;
    }

    const scheduler_options& options_;
    served_speakers& speakers_;
    buffer<served_speaker*> order_; ///< [speakers]
    buffer<sequence_row> rows_;     ///< [most_rows()]
    std::size_t used_rows_ = 0;
    std::size_t plain_rows_ = 0; ///< of a pass whose rows are all answers: without those of guesses
    pass_times times_;           ///< of such passes
    std::uint64_t passes_ = 0;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
