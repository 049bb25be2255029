// SPDX-License-Identifier: MIT
// pass_answers: the tokens that a pass of a scheduler gives: what the head has to compute for them, and how they are
// chosen.
#ifndef BITNET_RUN_PASS_ANSWERS_HPP
#define BITNET_RUN_PASS_ANSWERS_HPP

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/float_environment.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/memory_source.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/model/ranking.hpp>
#include <bitnet/model/transformer.hpp>
#include <bitnet/run/allowed_tokens.hpp>
#include <bitnet/run/forward_pass.hpp>
#include <bitnet/run/guess_round.hpp>
#include <bitnet/run/model_parts.hpp>
#include <bitnet/run/served_speaker.hpp>
#include <bitnet/run/served_speakers.hpp>
#include <bitnet/run/session_core.hpp>
#include <bitnet/run/session_options.hpp>
#include <bitnet/run/shared_head.hpp>
#include <bitnet/run/speculation_options.hpp>
#include <bitnet/run/token_chooser.hpp>
#include <bitnet/text/token.hpp>
#include <bitnet/thread/pool.hpp>
#include <bitnet/thread/stepped_pool.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// One for each speaker whose last token has run, and one behind each guess that comes true. Allocates in open() only.
class pass_answers {
public:
    pass_answers(served_speakers& speakers, pool_ref pool) noexcept : speakers_(speakers), pool_(pool) {}

    /// Borrows the model and `forward`, which passes run in. \return errc::out_of_memory
    [[nodiscard]] result<void> open(const model_parts& model, transformer& forward, std::size_t most,
                                    const memory_from& from) {
        forward_ = &forward;
        if (auto opened = head_.open(model, most, from); !opened) {
            return opened;
        }
        error failure;
        allocate(answers_, most, "scheduler", failure, from);
        allocate_uninitialized(listed_, allowed_tokens::most_listed, "scheduler", failure, from);
        allocate_uninitialized(listed_values_, allowed_tokens::most_listed, "scheduler", failure, from);
        return failure.code == errc{} ? result<void>{} : failure;
    }

    /// The layers have run: sessions take over their rows, and the head is told what to compute.
    /// \param rows of the pass: those behind them are free
    void begin(std::size_t rows) noexcept {
        head_.clear();
        is_head_done_ = false;
        chosen_ = answered_ = 0;
        std::size_t spare_row = rows;
        for (served_speaker& each : speakers_.places()) {
            if (!each.is_in_pass) {
                continue;
            }
            if (each.rows != 0) {
                each.session->end_rows(*forward_, each.first_row, each.rows);
            }
            each.revision = each.session->revision();
            const auto chooser = each.is_answered ? each.who->chooser() : std::nullopt;
            if (!chooser) {
                continue;
            }
            std::size_t row = each.first_row + each.rows - 1;
            if (each.rows == 0) {
                row = spare_row++;
                forward_->set_state(each.session->state(), row);
            }
            ask_for(each, *chooser, row);
        }
        head_.choose_way();
    }

    /// Goes on until all tokens are chosen or the step ends. \return whether they are
    [[nodiscard]] bool run(forward_pass& pass, stepped_pool& steps) noexcept {
        if (!is_head_done_ && !run_head(pass, steps)) {
            return false;
        }
        for (bool is_first = true; chosen_ < answered_; ++chosen_, is_first = false) {
            if (!is_first && steps.is_over()) {
                return false;
            }
            if (!choose(answers_[chosen_])) {
                ask_for_rest(chosen_);
                if (!run_head(pass, steps)) {
                    return false;
                }
                static_cast<void>(choose(answers_[chosen_]));
            }
        }
        return true;
    }

private:
    /// Whose a token to be chosen is: that behind its last token, or behind which guess, counted from 1.
    struct answer {
        served_speaker* whose;
        std::size_t ahead;
        std::size_t row;   ///< of the pass
        std::size_t asked; ///< number in head_; later: not asked of the head, which needs little for it, or nothing
    };
    static constexpr std::size_t later = static_cast<std::size_t>(-1);

    [[nodiscard]] bool run_head(forward_pass& pass, stepped_pool& steps) noexcept {
        is_head_done_ = head_.run(pass, steps, *forward_);
        return is_head_done_;
    }

    /// \param row of its last token, with those of guesses behind it
    void ask_for(served_speaker& whose, const any_chooser& chooser, std::size_t row) noexcept {
        const bool is_later = needs_little(chooser);
        const std::size_t needs = needs_of(chooser);
        for (std::size_t i = 0; i <= whose.ahead; ++i) {
            answers_[answered_++] = {&whose, i, row + i, is_later ? later : head_.size()};
            if (!is_later) {
                head_.add(row + i, needs != 0 ? needs + i : 0); // penalties may need one more for each token before
            }
        }
    }
    /// Whether the token behind the last one is chosen from few tokens or one. Those behind guesses are likely to be,
    /// too, where that is so, and not to be where it is not.
    [[nodiscard]] bool needs_little(const any_chooser& chooser) const noexcept {
        if (!chooser.is_constrained()) {
            return false;
        }
        const auto allowed = guarded([&] { return chooser.allowed(); });
        return !allowed || is_listed(*allowed);
    }
    [[nodiscard]] bool is_listed(const allowed_tokens& allowed) const noexcept {
        return allowed.count == 0 || (!allowed.few.empty() && (allowed.count == 1 || forward_->has_listed_logits()));
    }

    /// All logits are needed of answer `i` after all: they are computed with those of the guesses behind it.
    void ask_for_rest(std::size_t i) noexcept {
        const std::size_t first = head_.size();
        const served_speaker* const whose = answers_[i].whose;
        for (; i < answered_ && answers_[i].whose == whose; ++i) {
            answers_[i].asked = head_.size();
            head_.add(answers_[i].row, 0);
        }
        head_.read_more(first);
    }

    /// All logits for a chooser that allows some: the screen is searched for several together, and without their masks.
    [[nodiscard]] static std::size_t needs_of(const any_chooser& chooser) noexcept {
        return chooser.is_constrained() ? 0 : chooser.needs();
    }

    /// Chooses the token of an answer, unless the speaker has left or thought of something else meanwhile.
    /// \return false: it needs all logits, which were not asked for; nothing has changed then
    [[nodiscard]] bool choose(answer& of) noexcept {
        served_speaker& each = *of.whose;
        if (!each.is_in_pass || each.has_changed() || each.session->queued() != 0) {
            return true;
        }
        if (of.ahead != 0 && each.rows_taken != of.ahead) {
            if (!std::exchange(each.goes_on, false)) {
                return true;
            }
            each.session->end_rows(*forward_, each.first_row + of.ahead, 1);
            each.rows_taken = of.ahead;
            each.revision = each.session->revision();
        }
        if (of.ahead != 0 && each.session->is_full()) {
            return true; // the next pass says so
        }
        const default_float_environment environment;
        const auto chooser = each.who->chooser();
        if (!chooser) {
            return true;
        }
        if (each.session->is_cancelled()) {
            each.refuse(stop_reason::cancelled);
            return true;
        }
        return chooser->is_constrained() ? choose_allowed(of, *chooser) : choose_any(of, *chooser);
    }
    [[nodiscard]] bool choose_any(const answer& of, const any_chooser& chooser) noexcept {
        if (of.asked == later) {
            return false;
        }
        const std::size_t needs = chooser.needs();
        if (const auto few = head_.few(of.asked, needs)) {
            take(of, chooser, chooser.choose(*few));
        } else if (const auto logits = head_.logits(of.asked)) {
            take(of, chooser, chooser.choose(*logits));
        } // else it needs more than it said: its state stays, and the next pass begins with the head
        return true;
    }
    /// As a session alone does, but for the screen.
    [[nodiscard]] bool choose_allowed(const answer& of, const any_chooser& chooser) noexcept {
        const auto allowed = guarded([&] { return check_allowed(chooser); });
        if (!allowed) {
            of.whose->who->take(of.whose->session->stopped(failed(allowed)));
            return true;
        }
        const auto logits = of.asked != later ? head_.logits(of.asked) : std::nullopt;
        if (allowed->count == 1 && !allowed->few.empty()) {
            const scored_token only{static_cast<token>(allowed->few[0]), 0.0f};
            take(of, chooser, chooser.choose(std::span(&only, 1)));
        } else if (logits) {
            take(of, chooser, chooser.choose(*logits));
        } else if (is_listed(*allowed)) {
            take(of, chooser, chooser.choose(logits_of(of.row, allowed->few)));
        } else {
            return of.asked != later;
        }
        return true;
    }
    [[nodiscard]] static result<allowed_tokens> check_allowed(const any_chooser& chooser) {
        auto allowed = chooser.allowed();
        if (allowed && allowed->count == 0) {
            return error{errc::no_token_left, "scheduler: no token is allowed"};
        }
        return allowed;
    }
    /// Reads the rows of these tokens alone.
    [[nodiscard]] std::span<const scored_token> logits_of(std::size_t row,
                                                          std::span<const std::uint32_t> ids) noexcept {
        forward_->listed_logits(pool_, row, ids, listed_values_.data());
        for (std::size_t i = 0; i < ids.size(); ++i) {
            listed_[i] = {static_cast<token>(ids[i]), listed_values_[i]};
        }
        return listed_.span().first(ids.size());
    }
    void take(const answer& of, const any_chooser& chooser, token chosen) noexcept {
        served_speaker& each = *of.whose;
        const std::optional<token> given = each.session->take(chooser, chosen);
        each.revision = each.session->revision(); // before the speaker thinks of something else
        each.goes_on = given && each.round.take(*given) && each.ahead != 0;
        if (given) {
            const bool is_first = of.ahead == 0;
            each.who->add_statistics({.tokens = 1,
                                      .passes = is_first ? 1u : 0u,
                                      .drafted = is_first ? each.ahead : 0u,
                                      .accepted = each.goes_on ? 1u : 0u});
        }
        each.who->take(given);
    }

    served_speakers& speakers_;
    pool_ref pool_;
    transformer* forward_ = nullptr;
    shared_head head_;
    bool is_head_done_ = false;   ///< with all that was asked for
    buffer<answer> answers_;      ///< [answers]
    buffer<scored_token> listed_; ///< [allowed_tokens::most_listed], as the next one
    buffer<float> listed_values_;
    std::size_t answered_ = 0; ///< answers of the pass
    std::size_t chosen_ = 0;   ///< of these
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
