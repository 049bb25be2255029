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
#include <bitnet/model/screened_search.hpp>
#include <bitnet/model/sequence_row.hpp>
#include <bitnet/model/transformer.hpp>
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
        bool goes_on = false;    ///< its last token is that of the next row ahead
        bool is_refused = false; ///< by this step
        bool is_in_pass = false;
        bool is_answered = false;  ///< by this pass
        bool wants_answer = false; ///< behind its queue
        bool is_speaking = false;  ///< wants an answer and has no queue
    };

    /// Whose a row of the head is: of its last token, or of which guess behind it, counted from 1.
    struct answer {
        served* whose;
        std::size_t ahead;
    };

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
        const auto guesses = each.round.begin((std::min)({limit, options_.speculation.most, session.next_room() - 1}),
                                              times_, plain_rows_, options_.speculation.is_adaptive,
                                              [&](std::size_t count) noexcept { return each.who->guess(count); });
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
            chosen_ = 0;
            stage_ = stage::choosing;
        }
        for (bool is_first = true; chosen_ < head_.size(); ++chosen_, is_first = false) {
            if (!is_first && steps_.is_over()) {
                return false;
            }
            choose(chosen_);
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
            for (std::size_t i = 0; i <= each.ahead; ++i) {
                answers_[head_.size()] = {&each, i};
                const std::size_t needs = needs_of(*chooser); // penalties may need one more for each token before
                head_.add(row + i, needs != 0 ? needs + i : 0);
            }
        }
        head_.choose_way();
    }

    /// All logits for a chooser that allows some: the screen is searched for several together, and without their masks.
    [[nodiscard]] static std::size_t needs_of(const any_chooser& chooser) noexcept {
        return chooser.is_constrained() ? 0 : chooser.needs();
    }
    [[nodiscard]] static result<void> check_allowed(const any_chooser& chooser) {
        if (!chooser.is_constrained()) {
            return {};
        }
        const auto allowed = chooser.allowed();
        if (!allowed) {
            return failed(allowed);
        }
        return allowed->count != 0 ? result<void>{} : error{errc::no_token_left, "scheduler: no token is allowed"};
    }

    /// The token of answer `i`, unless the speaker has left or thought of something else meanwhile.
    void choose(std::size_t i) noexcept {
        served& each = *answers_[i].whose;
        if (!each.is_in_pass || each.revision != each.session->revision() || each.session->queued() != 0) {
            return;
        }
        if (const std::size_t ahead = answers_[i].ahead; ahead != 0) {
            if (!std::exchange(each.goes_on, false)) {
                return;
            }
            each.session->end_rows(*forward_, each.first_row + ahead, 1);
            each.revision = each.session->revision();
            if (each.session->is_full()) {
                return; // the next pass says so
            }
        }
        const default_float_environment environment;
        const auto chooser = each.who->chooser();
        if (!chooser) {
            return;
        }
        if (each.session->is_cancelled()) {
            return refuse(each, stop_reason::cancelled);
        }
        if (auto allowed = guarded([&] { return check_allowed(*chooser); }); !allowed) {
            each.who->take(each.session->stopped(failed(allowed)));
            return;
        }
        const std::size_t needs = needs_of(*chooser);
        if (const auto few = head_.few(i, needs)) {
            take(each, *chooser, chooser->choose(*few));
        } else if (const auto logits = head_.logits(i)) {
            take(each, *chooser, chooser->choose(*logits));
        } // else it needs more than it said: its state stays, and the next pass begins with the head
    }
    void take(served& each, const any_chooser& chooser, token chosen) noexcept {
        const std::optional<token> given = each.session->take(chooser, chosen);
        each.revision = each.session->revision(); // before the speaker thinks of something else
        each.goes_on = given && each.round.take(*given) && each.ahead != 0;
        each.who->take(given);
    }

    model_parts model_;
    scheduler_options options_;
    session_pool pool_;
    stepped_pool steps_; ///< of pool_
    std::optional<transformer> forward_;
    forward_pass pass_;
    shared_head head_;
    buffer<served> all_;        ///< [speakers], each at its place as long as it is served
    buffer<served*> order_;     ///< [speakers]
    buffer<sequence_row> rows_; ///< [most_rows()]
    buffer<answer> answers_;    ///< [answers]: whose the head's rows are
    stage stage_ = stage::none;
    std::size_t used_rows_ = 0;
    std::size_t plain_rows_ = 0; ///< of a pass whose rows are all answers: without those of guesses
    pass_times times_;           ///< of such passes
    clock::duration pass_time_{};
    std::size_t chosen_ = 0; ///< of the answers
    std::size_t count_ = 0;
    std::uint64_t passes_ = 0;
    std::uint64_t turns_ = 0; ///< parts of passes, and additions: no two alike
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
