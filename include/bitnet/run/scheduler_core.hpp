// SPDX-License-Identifier: MIT
// scheduler_core: what scheduler holds, compiled once for all engines.
#ifndef BITNET_RUN_SCHEDULER_CORE_HPP
#define BITNET_RUN_SCHEDULER_CORE_HPP

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/float_environment.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/memory_source.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/model/ranking.hpp>
#include <bitnet/model/screened_search.hpp>
#include <bitnet/model/sequence_row.hpp>
#include <bitnet/model/transformer.hpp>
#include <bitnet/run/allowed_tokens.hpp>
#include <bitnet/run/draft_length.hpp>
#include <bitnet/run/forward_pass.hpp>
#include <bitnet/run/guess_round.hpp>
#include <bitnet/run/model_parts.hpp>
#include <bitnet/run/pass_times.hpp>
#include <bitnet/run/scheduler.hpp>
#include <bitnet/run/session_core.hpp>
#include <bitnet/run/shared_head.hpp>
#include <bitnet/run/workspace.hpp>
#include <bitnet/thread/stepped_pool.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

class scheduler_core final : public scheduler_base {
public:
    [[nodiscard]] static result<std::unique_ptr<scheduler_base>>
    open(const model_parts& model, const scheduler_options& options, const pool_ref* borrowed) {
        auto pool = session_pool::open(model.tables, options.threads, options.spin, borrowed);
        if (!pool) {
            return failed(pool);
        }
        if (auto checked = check_options(model.parameters, options); !checked) {
            return failed(checked);
        }
        std::unique_ptr<scheduler_core> made(new (std::nothrow) scheduler_core(model, options, *std::move(pool)));
        if (made == nullptr) {
            return error{errc::out_of_memory,
                         sentence({"scheduler: ", sizeof(scheduler_core), " bytes could not be allocated"})};
        }
        if (auto allocated = made->allocate_all(); !allocated) {
            return failed(allocated);
        }
        return std::unique_ptr<scheduler_base>(std::move(made));
    }

    result<void> add(speaker& who, int priority) override {
        return guarded([&] { return add_checked(who, priority); });
    }

    bool set_priority(const speaker& who, int priority) noexcept override {
        served* const found = find(who);
        if (found != nullptr) {
            found->priority = priority;
        }
        return found != nullptr;
    }

    bool remove(const speaker& who) noexcept override {
        served* const found = find(who);
        if (found == nullptr) {
            return false;
        }
        if (stage_ == stage::layers && found->is_in_pass) {
            drop_pass(); // its pages may be gone when the others' layers run
        }
        drop_rows_ahead(*found);
        *found = {};
        --count_;
        return true;
    }

    step_state step(std::optional<std::chrono::nanoseconds> budget) noexcept override {
        for (served& each : all_.span()) {
            each.is_refused = false;
        }
        if (budget) {
            steps_.start(*budget, nullptr);
        } else {
            steps_.start(nullptr);
        }
        for (;;) {
            const auto start = clock::now();
            if (stage_ == stage::none && !begin_pass()) {
                return step_state::ready;
            }
            const bool is_done = go_on();
            pass_time_ += clock::now() - start;
            if (!is_done) {
                return step_state::working;
            }
            end_rounds();
            if (!budget || steps_.is_over()) {
                return has_work() ? step_state::working : step_state::ready;
            }
        }
    }

    std::size_t speakers() const noexcept override { return count_; }
    std::size_t threads() const noexcept override { return pool_.ref().threads(); }

private:
    using clock = std::chrono::steady_clock;

    /// How far a pass is.
    enum class stage { none, layers, head, choosing };

    /// A speaker, and what it has in the present pass.
    struct served {
        speaker* who = nullptr; ///< null: the place is free
        session_core* session = nullptr;
        int priority = 0;
        std::uint64_t last_turn = 0; ///< the turns_ when it had something, or was added
        std::uint64_t revision = 0;  ///< of the session, so that a change is seen
        std::size_t first_row = 0;
        std::size_t rows = 0;
        std::size_t ahead = 0; ///< rows of guesses behind these
        guess_round round;
        std::size_t rows_taken = 0; ///< of those ahead
        bool goes_on = false;       ///< its last token is that of the next row ahead
        bool is_refused = false;    ///< by this step
        bool is_in_pass = false;
        bool is_answered = false;  ///< by this pass
        bool wants_answer = false; ///< behind its queue
        bool is_speaking = false;  ///< wants an answer and has no queue
    };

    /// Whose a token to be chosen is: that behind its last token, or behind which guess, counted from 1.
    struct answer {
        served* whose;
        std::size_t ahead;
        std::size_t row;   ///< of the pass
        std::size_t asked; ///< number in head_; later: not asked of the head, which needs little for it, or nothing
    };
    static constexpr std::size_t later = static_cast<std::size_t>(-1);

    /// What a pass has left.
    struct places {
        std::size_t rows;
        std::size_t prompts; ///< of the rows
        std::size_t answers;
    };

    scheduler_core(const model_parts& model, const scheduler_options& options, session_pool pool) noexcept
        : model_(model), options_(options), pool_(std::move(pool)), steps_(pool_.ref()) {}

    [[nodiscard]] static result<void> check_options(const hyper_parameters& parameters,
                                                    const scheduler_options& options) {
        struct range {
            std::string_view what;
            std::size_t asked;
            std::size_t most;
        };
        const range ranges[] = {
            {"speakers", options.speakers, scheduler_options::most_speakers},
            {"answers to a pass", options.answers, scheduler_options::most_answers},
            {"prompt tokens to a pass", options.prompt_chunk, session_options::largest_prompt_chunk},
            {"prompt tokens beside answers", options.prompt_beside_answers, session_options::largest_prompt_chunk}};
        for (const auto& [what, asked, most] : ranges) {
            if (asked == 0 || asked > most) {
                return error{errc::invalid_argument, sentence({"scheduler: ", asked, " ", what,
                                                               " were asked for, 1 to ", most, " are possible"})};
            }
        }
        if (options.speculation.most > draft_length::most) {
            return error{errc::invalid_argument,
                         sentence({"scheduler: ", options.speculation.most, " guesses to a pass were asked for, up to ",
                                   draft_length::most, " are possible"})};
        }
        if (parameters.is_embedder) {
            return error{errc::no_lm_head, "scheduler: the model is a text embedding model and has no head; see "
                                           "session::embed()"};
        }
        return {};
    }

    [[nodiscard]] std::size_t most_rows() const noexcept {
        return (std::max)(options_.prompt_chunk, options_.answers + options_.prompt_beside_answers);
    }

    [[nodiscard]] result<void> allocate_all() {
        const memory_from from{options_.memory, {memory_use::scratch, false}};
        auto forward =
            transformer::open(model_.tables, model_.parameters, model_.tensors, most_rows(), options_.memory);
        if (!forward) {
            return failed(forward);
        }
        forward_.emplace(*std::move(forward));
        if (auto opened = head_.open(model_, options_.answers, from); !opened) {
            return opened;
        }
        error failure;
        allocate(all_, options_.speakers, "scheduler", failure, from);
        allocate(order_, options_.speakers, "scheduler", failure, from);
        allocate(rows_, most_rows(), "scheduler", failure, from);
        allocate(answers_, options_.answers, "scheduler", failure, from);
        allocate_uninitialized(listed_, allowed_tokens::most_listed, "scheduler", failure, from);
        allocate_uninitialized(listed_values_, allowed_tokens::most_listed, "scheduler", failure, from);
        return failure.code == errc{} ? result<void>{} : failure;
    }

    [[nodiscard]] served* find(const speaker& who) noexcept {
        for (served& each : all_.span()) {
            if (each.who == &who) {
                return &each;
            }
        }
        return nullptr;
    }

    [[nodiscard]] result<void> add_checked(speaker& who, int priority) {
        auto& session = static_cast<session_core&>(who.session().base()); // there is no other session_base
        if (!session.is_of(model_.parameters)) {
            return error{errc::invalid_argument, "scheduler: the speaker's session is one of another model"};
        }
        served* place = nullptr;
        for (served& each : all_.span()) {
            if (each.who == &who || each.session == &session) {
                return error{errc::invalid_argument, "scheduler: the speaker or its session is served already"};
            }
            place = place == nullptr && each.who == nullptr ? &each : place;
        }
        if (place == nullptr) {
            return error{errc::invalid_argument, sentence({"scheduler: ", count_,
                                                           " speakers are served, and "
                                                           "scheduler_options::speakers makes room for no more"})};
        }
        *place = {};
        place->who = &who;
        place->session = &session;
        place->priority = priority;
        place->last_turn = ++turns_;
        ++count_;
        return {};
    }

    [[nodiscard]] bool has_work() const noexcept {
        return std::any_of(all_.span().begin(), all_.span().end(), [](const served& each) noexcept {
            return each.who != nullptr && !each.is_refused &&
                   (each.session->queued() != 0 || each.who->chooser().has_value());
        });
    }

    /// Tells a speaker that it gets nothing more in this step.
    void refuse(served& each, stop_reason why) noexcept {
        each.is_refused = true;
        each.who->take(each.session->stopped(why));
    }
    void refuse(served& each, error why) noexcept {
        each.is_refused = true;
        each.who->take(each.session->stopped(std::move(why)));
    }

    /// Whether there is something to do for a speaker, what it is, and that it can be done.
    [[nodiscard]] bool is_active(served& each) noexcept {
        if (each.who == nullptr || each.is_refused) {
            return false;
        }
        const bool is_asked = each.who->chooser().has_value();
        session_core& session = *each.session;
        if (session.queued() == 0 && !is_asked) {
            return false;
        }
        if (session.is_cancelled()) {
            refuse(each, stop_reason::cancelled);
            return false;
        }
        each.is_speaking = session.queued() == 0;
        each.wants_answer = is_asked && !session.is_full();
        if (each.is_speaking && session.is_full()) {
            refuse(each, stop_reason::context_full);
            return false;
        }
        if (auto prepared = guarded([&] { return session.prepare_for_pass(each.wants_answer); }); !prepared) {
            refuse(each, failed(prepared));
            return false;
        }
        return true;
    }

    /// Plans a pass. \return whether there is anything to do
    [[nodiscard]] bool begin_pass() noexcept {
        ++passes_;
        pass_time_ = {};
        std::size_t active = 0;
        bool is_anybody_speaking = false;
        for (served& each : all_.span()) {
            each.is_in_pass = each.is_answered = false;
            each.rows = each.ahead = 0;
            each.round.begin_without();
            if (is_active(each)) {
                order_[active++] = &each;
                is_anybody_speaking = is_anybody_speaking || each.is_speaking;
            }
        }
        const std::span<served*> order = order_.span().first(active);
        sort(order);
        used_rows_ = 0;
        places left{most_rows(), is_anybody_speaking ? options_.prompt_beside_answers : options_.prompt_chunk,
                    options_.answers};
        bool is_anybody_served = false;
        for (served* each : order) {
            is_anybody_served = give(*each, left) || is_anybody_served;
        }
        if (!is_anybody_served) {
            return false;
        }
        give_guesses(order, left);
        for (served* each : order) {
            place_rows(*each);
        }
        stage_ = stage::layers;
        pass_.begin(rows_.span().first(used_rows_));
        return true;
    }

    /// By priority and how long they waited; in every fourth pass only by that.
    void sort(std::span<served*> order) const noexcept {
        const bool is_by_priority = passes_ % 4 != 0;
        std::sort(order.begin(), order.end(), [&](const served* a, const served* b) noexcept {
            if (is_by_priority && a->priority != b->priority) {
                return a->priority > b->priority;
            }
            return a->last_turn < b->last_turn;
        });
    }

    /// Gives a speaker its part of a pass. \return whether there is one
    [[nodiscard]] bool give(served& each, places& left) noexcept {
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
            refuse(each, failed(reserved));
            return false;
        }
        left.rows -= taken;
        left.prompts -= each.is_speaking ? 0 : count;
        left.answers -= each.is_answered ? 1 : 0;
        each.is_in_pass = true;
        each.last_turn = ++turns_;
        each.rows = count;
        return true;
    }

    /// Rows for guesses, where all rows of the pass are answers and so few that their products wait for the weights:
    /// 16 with those of guesses, which is what is read together. Speakers share what room there is, and a pass now and
    /// then has none, to see what it takes.
    void give_guesses(std::span<served* const> order, const places& left) noexcept {
        std::size_t rows = 0;
        std::size_t guessing = 0; // speakers that may
        for (const served* each : order) {
            rows += each->rows;
            guessing += each->is_answered && each->is_speaking && each->rows == 1 ? 1u : 0u;
        }
        plain_rows_ = rows == guessing && rows != 0 && rows <= pass_times::most_rows ? rows : 0;
        if (plain_rows_ == 0) {
            return;
        }
        std::size_t room = (std::min)({pass_times::most_rows - rows, left.rows, left.answers});
        for (served* each : order) {
            if (each->rows != 0) {
                room -= guess(*each, passes_ % 64 != 0 || !options_.speculation.is_adaptive
                                         ? (room + guessing - 1) / guessing
                                         : 0);
                --guessing;
            }
        }
    }
    /// \return how many rows ahead a speaker gets
    [[nodiscard]] std::size_t guess(served& each, std::size_t limit) noexcept {
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

    void place_rows(served& each) noexcept {
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

    /// A pass is over, and perhaps was dropped.
    void end_rounds() noexcept {
        if (plain_rows_ == 0) {
            return;
        }
        std::size_t rows = plain_rows_;
        for (const served& each : all_.span()) {
            rows += each.is_in_pass ? each.ahead : 0;
        }
        const std::chrono::nanoseconds took = pass_time_;
        times_.learn(rows, static_cast<std::uint64_t>(took.count()));
        for (served& each : all_.span()) {
            if (each.is_in_pass) {
                each.round.end(times_, plain_rows_);
                drop_rows_ahead(each);
            }
        }
        plain_rows_ = 0;
    }
    static void drop_rows_ahead(served& each) noexcept {
        if (std::exchange(each.ahead, 0) != 0) {
            each.session->drop_rows_ahead();
        }
    }

    /// Goes on with a pass until it is done or the step ends. \return whether it is done
    [[nodiscard]] bool go_on() noexcept {
        if (stage_ == stage::layers) {
            if (has_changed()) {
                drop_pass();
                return true;
            }
            if (used_rows_ != 0 && !pass_.run(steps_, *forward_)) {
                return false;
            }
            end_layers();
            stage_ = stage::head;
        }
        if (stage_ == stage::head) {
            if (!head_.run(pass_, steps_, *forward_)) {
                return false;
            }
            stage_ = stage::choosing;
        }
        for (bool is_first = true; chosen_ < answered_; ++chosen_, is_first = false) {
            if (!is_first && steps_.is_over()) {
                return false;
            }
            if (!choose(answers_[chosen_])) {
                ask_for_rest(chosen_);
                if (!head_.run(pass_, steps_, *forward_)) {
                    stage_ = stage::head;
                    return false;
                }
                static_cast<void>(choose(answers_[chosen_]));
            }
        }
        pass_.drop();
        stage_ = stage::none;
        return true;
    }

    void drop_pass() noexcept {
        pass_.drop();
        stage_ = stage::none;
        plain_rows_ = 0;
        for (served& each : all_.span()) {
            drop_rows_ahead(each);
        }
    }

    /// Whether a session of the pass is not as it was when the pass began.
    [[nodiscard]] bool has_changed() const noexcept {
        return std::any_of(all_.span().begin(), all_.span().end(), [](const served& each) noexcept {
            return each.is_in_pass && each.revision != each.session->revision();
        });
    }

    /// Sessions take over what has run, and the head is told what to compute.
    void end_layers() noexcept {
        head_.clear();
        chosen_ = answered_ = 0;
        std::size_t spare_row = used_rows_;
        for (served& each : all_.span()) {
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
            const bool is_later = needs_little(*chooser);
            const std::size_t needs = needs_of(*chooser);
            for (std::size_t i = 0; i <= each.ahead; ++i) {
                answers_[answered_++] = {&each, i, row + i, is_later ? later : head_.size()};
                if (!is_later) {
                    head_.add(row + i, needs != 0 ? needs + i : 0); // penalties may need one more for each token before
                }
            }
        }
        head_.choose_way();
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
        const served* const whose = answers_[i].whose;
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
        served& each = *of.whose;
        if (!each.is_in_pass || each.revision != each.session->revision() || each.session->queued() != 0) {
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
            refuse(each, stop_reason::cancelled);
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
        forward_->listed_logits(pool_.ref(), row, ids, listed_values_.data());
        for (std::size_t i = 0; i < ids.size(); ++i) {
            listed_[i] = {static_cast<token>(ids[i]), listed_values_[i]};
        }
        return listed_.span().first(ids.size());
    }
    void take(const answer& of, const any_chooser& chooser, token chosen) noexcept {
        served& each = *of.whose;
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

    model_parts model_;
    scheduler_options options_;
    session_pool pool_;
    stepped_pool steps_; ///< of pool_
    std::optional<transformer> forward_;
    forward_pass pass_;
    shared_head head_;
    buffer<served> all_;          ///< [speakers], each at its place as long as it is served
    buffer<served*> order_;       ///< [speakers]
    buffer<sequence_row> rows_;   ///< [most_rows()]
    buffer<answer> answers_;      ///< [answers]
    buffer<scored_token> listed_; ///< [allowed_tokens::most_listed], as the next one
    buffer<float> listed_values_;
    stage stage_ = stage::none;
    std::size_t used_rows_ = 0;
    std::size_t plain_rows_ = 0; ///< of a pass whose rows are all answers: without those of guesses
    pass_times times_;           ///< of such passes
    clock::duration pass_time_{};
    std::size_t answered_ = 0; ///< answers of the pass
    std::size_t chosen_ = 0;   ///< of these
    std::size_t count_ = 0;
    std::uint64_t passes_ = 0;
    std::uint64_t turns_ = 0; ///< parts of passes, and additions: no two alike
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
