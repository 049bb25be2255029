// SPDX-License-Identifier: MIT
// conversation_core: what a conversation does.
#ifndef BITNET_RUN_CONVERSATION_CORE_HPP
#define BITNET_RUN_CONVERSATION_CORE_HPP

#include <bitnet/core/checked.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/byte_sink.hpp>
#include <bitnet/run/answer_text.hpp>
#include <bitnet/run/any_model.hpp>
#include <bitnet/run/any_session.hpp>
#include <bitnet/run/conversation.hpp>
#include <bitnet/run/conversation_options.hpp>
#include <bitnet/run/conversation_save.hpp>
#include <bitnet/run/conversation_turn.hpp>
#include <bitnet/run/dialog_draft.hpp>
#include <bitnet/run/dialog_room.hpp>
#include <bitnet/run/dialog_settings.hpp>
#include <bitnet/run/opened_dialog.hpp>
#include <bitnet/run/prefix_source.hpp>
#include <bitnet/run/sampler.hpp>
#include <bitnet/run/save_options.hpp>
#include <bitnet/run/saved_conversation.hpp>
#include <bitnet/run/session_options.hpp>
#include <bitnet/run/speaker.hpp>
#include <bitnet/run/speculation_options.hpp>
#include <bitnet/run/token_chooser.hpp>
#include <bitnet/run/tool_choice.hpp>
#include <bitnet/run/tool_source.hpp>
#include <bitnet/run/transcript.hpp>
#include <bitnet/text/chat_dialog.hpp>
#include <bitnet/text/chat_format.hpp>
#include <bitnet/text/chat_template.hpp>
#include <bitnet/text/stop_texts.hpp>
#include <bitnet/text/token.hpp>
#include <bitnet/thread/pool.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// See conversation for what the functions promise. Stays where it is: its session knows the place of `cancel_`.
class conversation_core final : public conversation_base {
public:
    [[nodiscard]] static result<std::unique_ptr<conversation_base>>
    open(const any_model& model, const conversation_options& options, const pool_ref* pool) {
        return guarded([&] { return make(model, pool, options); });
    }

    [[nodiscard]] result<void> say(std::string_view text, std::string_view begun) override {
        return change(fate::begins, [&](transcript& next) {
            auto added = next.add({.role = "user", .text = std::string(text)});
            return added ? next.begin_answer(begun, healer()) : std::move(added);
        });
    }

    [[nodiscard]] result<void> add(const chat_message& message) override {
        return change(fate::ends, [&](transcript& next) {
            conversation_turn turn{.role = std::string(message.role), .text = std::string(message.content)};
            for (const chat_tool_call& call : message.calls) {
                turn.calls.push_back({std::string(call.name), std::string(call.arguments)});
            }
            return next.add(std::move(turn));
        });
    }

    [[nodiscard]] result<void> say_results(std::span<const std::string> results) override {
        if (results.empty() || results.size() != calls().size()) {
            return error_saying(errc::invalid_argument,
                                {"conversation: ", results.size(), " results were given, and the last turn has ",
                                 calls().size(), " calls"});
        }
        return change(fate::begins, [&](transcript& next) {
            result<void> done;
            for (std::size_t i = 0; done && i < results.size(); ++i) {
                done = next.add({.role = "tool", .text = results[i]});
            }
            return done ? next.begin_answer({}) : std::move(done);
        });
    }
    [[nodiscard]] result<void> choose_calls(const tool_choice& choice) override {
        if (guide_ == nullptr) {
            return error_saying(errc::invalid_argument,
                                {"conversation: it was opened without tools that could be called"});
        }
        return guarded([&] { return guide_->set_choice(choice); });
    }

    [[nodiscard]] result<void> begin_answer(std::string_view begun) override {
        return change(fate::begins, [&](transcript& next) { return next.begin_answer(begun, healer()); });
    }

    [[nodiscard]] result<void> regenerate() override {
        if (history().empty() || history().back().role != "assistant") {
            return error_saying(errc::invalid_argument,
                                {"conversation: the last turn is no answer that could be written anew"});
        }
        return change(fate::begins, [&](transcript& next) { return next.answer_again(); });
    }

    [[nodiscard]] result<void> edit(std::size_t turn, std::string_view text) override {
        if (auto checked = check_turns(turn, history().size()); !checked) {
            return checked;
        }
        const bool stays = now_.is_open() && turn + 1 != history().size();
        return change(stays ? fate::stays : fate::ends, [&](transcript& next) {
            std::vector<conversation_turn> turns = next.turns();
            conversation_turn& old = turns[turn]; // the text of an answer has its calls
            old = {.role = old.role,
                   .text = std::string(text),
                   .calls = old.is_answer ? std::vector<conversation_turn::call>() : old.calls};
            return next.become(std::move(turns));
        });
    }

    [[nodiscard]] result<void> rewind(std::size_t turns) override {
        if (turns == history().size()) {
            return {};
        }
        if (auto checked = check_turns(turns, history().size()); !checked) {
            return checked;
        }
        return change(fate::ends, [&](transcript& next) {
            const auto& all = next.turns();
            return next.become({all.begin(), all.begin() + static_cast<std::ptrdiff_t>(turns)});
        });
    }

    [[nodiscard]] result<void> reset() override {
        auto done = change(fate::ends, [&](transcript& next) { return begin_with_system(next, settings_.system); });
        if (done) {
            sampler_.reset();
            accept_last(now_.tokens().size());
            ended_ = answer_end::none;
            dropped_ = 0;
        }
        return done;
    }

    [[nodiscard]] result<conversation_state> step(std::chrono::nanoseconds budget) override {
        const auto start = std::chrono::steady_clock::now();
        std::chrono::nanoseconds left = budget;
        for (bool is_first = true; state() != conversation_state::idle && (is_first || left.count() > 0);) {
            auto advanced = advance(left);
            if (!advanced) {
                return failed(advanced);
            }
            if (*advanced == step_state::working) {
                break;
            }
            is_first = false;
            left = budget - (std::chrono::steady_clock::now() - start);
        }
        settle_cancel();
        return state();
    }

    [[nodiscard]] result<answer_end> answer(text_visitor on_text) override {
        while (state() != conversation_state::idle) {
            if (auto advanced = advance((std::chrono::nanoseconds::max)()); !advanced) {
                return failed(advanced);
            }
            if (const std::string_view text = take_text(); !text.empty() && !on_text(text)) {
                cancel();
            }
        }
        settle_cancel();
        return ended_;
    }

    [[nodiscard]] std::string_view take_text() noexcept override { return text_.take(); }

    void cancel() noexcept override { cancel_.store(true, std::memory_order_relaxed); }

    [[nodiscard]] result<void> retry() override {
        if (!now_.is_open() || ended_ != answer_end::error) {
            return {};
        }
        auto done = guarded([&] { return room_.follow(now_.tokens()); });
        ended_ = done ? answer_end::none : ended_;
        return done;
    }

    [[nodiscard]] result<std::unique_ptr<conversation_base>> fork(std::optional<std::uint64_t> seed) override {
        return guarded([&] { return make_fork(seed); });
    }

    [[nodiscard]] result<void> save(byte_sink sink, const save_options& options) override {
        return guarded([&] { return write_to(sink, options); });
    }
    [[nodiscard]] result<void> restore(std::span<const std::byte> saved, std::string_view name) override {
        return guarded([&] { return take_saved(saved, name); });
    }

    void choose_with(std::optional<any_chooser> chooser) noexcept override { chooser_ = chooser; }

    [[nodiscard]] conversation_state state() const noexcept override {
        if (is_answering() && is_cancelled()) {
            return conversation_state::idle;
        }
        return is_reading()     ? conversation_state::reading
               : is_answering() ? conversation_state::speaking
                                : conversation_state::idle;
    }
    [[nodiscard]] answer_end ended_by() const noexcept override {
        return is_answering() && is_cancelled() ? answer_end::cancelled : ended_;
    }
    [[nodiscard]] const error& last_error() const noexcept override { return error_; }
    [[nodiscard]] bool is_in_thought() const noexcept override { return now_.is_open() && text_.is_in_thought(); }

    [[nodiscard]] std::span<const conversation_turn> history() const noexcept override { return now_.turns(); }
    [[nodiscard]] std::size_t dropped() const noexcept override { return dropped_; }

    [[nodiscard]] std::span<const token> tokens() const noexcept override { return now_.tokens(); }
    [[nodiscard]] std::size_t prompt_tokens() const noexcept override {
        return now_.is_open() ? now_.answer_begin() : now_.tokens().size();
    }
    [[nodiscard]] std::size_t answer_tokens() const noexcept override { return now_.written(); }

    [[nodiscard]] const chat_template& format() const noexcept override { return format_; }
    [[nodiscard]] const sampler& chooses() const noexcept override { return sampler_; }

    [[nodiscard]] speculation_statistics speculated() const noexcept override {
        if (draft_ == nullptr) {
            return {};
        }
        speculation_statistics all = draft_->faster->statistics();
        all.add(scheduled_);
        return all;
    }
    void add_statistics(const speculation_statistics& more) noexcept override { scheduled_.add(more); }

    [[nodiscard]] any_session& session() noexcept override { return session_; }
    [[nodiscard]] std::optional<any_chooser> chooser() noexcept override {
        settle_cancel();
        if (!is_answering()) {
            return std::nullopt;
        }
        const any_chooser chosen = chooser_ ? *chooser_ : any_chooser(sampler_);
        return guide_ != nullptr ? guide_->chooser(chosen) : healer_ != nullptr ? healer_->chooser(chosen) : chosen;
    }
    void take(std::optional<token> id) noexcept override {
        if (!is_answering()) {
            return;
        }
        if (!id) {
            take_reason(session_.stopped_by());
        } else if (auto taken = guarded([&] { return take_token(*id); }); !taken) {
            fail(failed(taken));
        }
    }

    [[nodiscard]] std::span<const token> guess(std::size_t at_most) noexcept override {
        if (draft_ == nullptr || at_most == 0) {
            return {};
        }
        const auto guesses = guarded(
            [&]() -> result<std::span<const token>> { return draft_->guesser.propose(session_.tokens(), at_most); });
        return guesses ? *guesses : std::span<const token>();
    }

private:
    /// What becomes of the answer that is being given, when the dialog changes.
    enum class fate : unsigned char { begins, stays, ends };

    conversation_core(opened_dialog opened) noexcept
        : settings_(std::move(opened.settings)), format_(std::move(opened.format)), session_(std::move(opened.session)),
          sampler_(std::move(opened.choose)), guide_(std::move(opened.guide)), now_(std::move(opened.now)),
          text_(std::move(opened.text)), room_(settings_, session_, now_) {
        session_.set_cancel_flag(&cancel_);
    }

    /// With the system's turn.
    [[nodiscard]] static result<std::unique_ptr<conversation_base>> make(const any_model& model, const pool_ref* pool,
                                                                         const conversation_options& options) {
        auto made = assembled(opened_dialog::open(model, pool, options));
        if (!made) {
            return failed(made);
        }
        const std::string& system = (*made)->settings_.system;
        auto begun = (*made)->change(fate::ends, [&](transcript& next) { return begin_with_system(next, system); });
        return begun ? result<std::unique_ptr<conversation_base>>(*std::move(made)) : failed(begun);
    }
    [[nodiscard]] static result<std::unique_ptr<conversation_core>> assembled(result<opened_dialog> opened) {
        if (!opened) {
            return failed(opened);
        }
        std::unique_ptr<conversation_core> made(new (std::nothrow) conversation_core(*std::move(opened)));
        if (made == nullptr) {
            return out_of_memory();
        }
        if (auto drafted = made->open_draft(); !drafted) {
            return failed(drafted);
        }
        return made;
    }

    [[nodiscard]] result<void> open_draft() {
        auto opened = dialog_draft::open(settings_.draft, session_);
        if (!opened) {
            return failed(opened);
        }
        draft_ = *std::move(opened);
        return open_healer();
    }
    [[nodiscard]] result<void> open_healer() {
        if (settings_.heal == nullptr) {
            return {};
        }
        auto opened = settings_.heal->healer(now_.text_of_tokens());
        if (!opened) {
            return failed(opened);
        }
        healer_ = *std::move(opened);
        heal_open_answer();
        return {};
    }
    /// Those of a grammar know of prefixes themselves.
    [[nodiscard]] const answer_healer* healer() const noexcept {
        return chooser_ && chooser_->is_constrained() ? nullptr : healer_.get();
    }
    /// The healer is where the open answer is.
    void heal_open_answer() {
        if (healer_ != nullptr) {
            healer_->begin(now_.is_open() ? now_.missing_yet() : std::string_view{});
        }
    }

    [[nodiscard]] result<std::unique_ptr<conversation_base>> make_fork(std::optional<std::uint64_t> seed) {
        settle_cancel();
        auto session = session_.fork();
        if (!session) {
            return failed(session);
        }
        auto choose = sampler_.copy();
        if (!choose) {
            return failed(choose);
        }
        if (seed) {
            choose->reseed(*seed);
        }
        auto stops = settings_.open_stops();
        if (!stops) {
            return failed(stops);
        }
        auto guide = guide_at(now_);
        if (!guide) {
            return failed(guide);
        }
        auto made = assembled(opened_dialog{settings_, format_, *std::move(session), *std::move(choose), now_,
                                            text_.copy(*std::move(stops)), *std::move(guide)});
        if (!made) {
            return failed(made);
        }
        conversation_core& copy = **made;
        if (auto followed = copy.room_.follow(now_.tokens()); !followed) {
            return failed(followed);
        }
        copy.ended_ = ended_;
        copy.error_ = error_;
        copy.dropped_ = dropped_;
        copy.reserve();
        return std::unique_ptr<conversation_base>(*std::move(made));
    }

    [[nodiscard]] result<void> write_to(byte_sink sink, const save_options& options) {
        settle_cancel();
        if (!options.keys_and_values && session_.dropped() != 0) {
            return session_.save(sink, options); // says why that cannot be
        }
        const saved_dialog dialog{ended_,          error_.code,          error_.message,       dropped_,
                                  text_.untaken(), now_.tokens().size(), sum_of(now_.tokens())};
        return save_conversation(sink, dialog, now_.turns(), sampler_, session_, options);
    }

    [[nodiscard]] result<void> take_saved(std::span<const std::byte> saved, std::string_view name) {
        const auto parts = conversation_parts::read(saved, name);
        if (!parts) {
            return failed(parts);
        }
        auto dialog = restored_dialog::read(parts->dialog, name, now_);
        if (!dialog) {
            return failed(dialog);
        }
        transcript& next = dialog->next;
        if (!settings_.has_window && next.tokens().size() > session_.context()) { // its session may have had fewer
            return error_saying(errc::context_full, {name, ": the dialog that was saved is ", next.tokens().size(),
                                                     " tokens, the context has ", session_.context(), " positions"});
        }
        auto choose = sampler_.copy();
        if (auto restored = choose ? choose->restore(parts->sampler, name) : failed(choose); !restored) {
            return restored;
        }
        auto guide = copied_guide(next);
        auto shown = guide ? made_text(next, dialog->about.untaken, guide->get()) : failed(guide);
        if (!shown) {
            return failed(shown);
        }
        error why{dialog->about.error_code, std::string(dialog->about.error_text)};
        if (auto restored = session_.restore(parts->session, name); !restored) {
            return restored;
        }
        cancel_.store(false, std::memory_order_relaxed);
        now_ = std::move(next);
        sampler_ = *std::move(choose);
        text_ = *std::move(shown);
        guide_ = *std::move(guide);
        ended_ = dialog->about.ended;
        error_ = std::move(why);
        dropped_ = to_size(dialog->about.dropped);
        heal_open_answer();
        reserve();
        return {};
    }
    /// The text of the open answer, of which all but `untaken` was taken.
    [[nodiscard]] result<answer_text> made_text(const transcript& next, std::string_view untaken,
                                                call_guide* guide) const {
        auto stops = settings_.open_stops();
        if (!stops) {
            return failed(stops);
        }
        auto made = text_.copy(*std::move(stops));
        if (next.is_open()) {
            const conversation_turn& answer = next.turns().back();
            made.begin(std::string_view(answer.text).substr(0, answer.begun_bytes), next.missing().size());
            std::string whole;
            for (const token id : std::span(answer.tokens).subspan(answer.begun_tokens)) {
                static_cast<void>(guide != nullptr ? made.put(id, whole, guide->take(id)) : made.put(id, whole));
            }
        }
        made.set_untaken(untaken);
        return made;
    }

    /// A guide for answers like these, at the beginning of the open one. Null without tools.
    [[nodiscard]] result<std::unique_ptr<call_guide>> copied_guide(const transcript& next) const {
        if (guide_ == nullptr) {
            return std::unique_ptr<call_guide>();
        }
        auto made = guide_->copy();
        if (made && next.is_open()) {
            const auto most = room_.longest_answer(next);
            if (!most) {
                return failed(most);
            }
            (*made)->begin(begun_text(next), *most, false);
        }
        return made;
    }
    /// The same where the open answer is.
    [[nodiscard]] result<std::unique_ptr<call_guide>> guide_at(const transcript& next) const {
        auto made = copied_guide(next);
        if (made && *made != nullptr && next.is_open()) {
            const conversation_turn& answer = next.turns().back();
            for (const token id : std::span(answer.tokens).subspan(answer.begun_tokens)) {
                static_cast<void>((*made)->take(id));
            }
        }
        return made;
    }

    /// What the host began the open answer with.
    [[nodiscard]] static std::string_view begun_text(const transcript& of) noexcept {
        return std::string_view(of.turns().back().text).substr(0, of.turns().back().begun_bytes);
    }
    /// \return errc::invalid_argument where an answer that begins cannot have the calls that it has to have
    [[nodiscard]] result<std::size_t> room_for_calls(const transcript& next) const {
        auto most = room_.longest_answer(next);
        if (most && *most < guide_->least()) {
            return error_saying(errc::invalid_argument, {"conversation: an answer of at most ", *most,
                                                         " tokens, and a call may need ", guide_->least()});
        }
        return most;
    }

    [[nodiscard]] static result<void> check_turns(std::size_t turn, std::size_t turns) {
        if (turn >= turns) {
            return error_saying(errc::invalid_argument,
                                {"conversation: turn ", turn, " was asked for, the history has ", turns});
        }
        return {};
    }

    /// Calls work(transcript&) on a copy, which becomes the dialog if that works and the session can follow it.
    template <class Work> [[nodiscard]] result<void> change(fate answers, Work&& work) {
        return guarded([&]() -> result<void> {
            settle_cancel();
            transcript next = now_;
            if (auto done = work(next); !done) {
                return done;
            }
            const std::size_t told = next.tokens().size() - common_prefix_length(now_.tokens(), next.tokens());
            const bool goes_on = answers == fate::begins || (answers == fate::stays && is_answering());
            std::size_t dropped = 0;
            const bool is_guided = answers == fate::begins && guide_ != nullptr;
            const std::size_t need = is_guided ? (std::max<std::size_t>)(guide_->least(), 1) : goes_on ? 1 : 0;
            if (auto fits = room_.make(next, need, dropped); !fits) {
                return fits;
            }
            const result<std::size_t> most = is_guided ? room_for_calls(next) : std::size_t{0};
            if (!most) {
                return failed(most);
            }
            if (goes_on) {
                prepare(next);
            }
            if (auto followed = room_.follow(next.tokens()); !followed) {
                if (auto back = room_.follow(now_.tokens()); !back && is_answering()) {
                    fail(failed(back));
                }
                return followed;
            }
            take_over(next, answers, told);
            if (is_guided) {
                guide_->begin(begun_text(now_), *most, true);
            }
            dropped_ += dropped;
            return {};
        });
    }

    void take_over(transcript& next, fate answers, std::size_t told) {
        const bool was_answering = is_answering();
        std::swap(now_, next);
        accept_last(told);
        if (answers == fate::begins) {
            const conversation_turn& answer = now_.turns().back();
            text_.begin(std::string_view(answer.text).substr(0, answer.begun_bytes), now_.missing().size());
            heal_open_answer();
            ended_ = answer_end::none;
            cancel_.store(false, std::memory_order_relaxed);
        } else if (answers == fate::ends && was_answering) {
            ended_ = answer_end::cancelled;
        }
    }

    /// Memory for the rest of the answer.
    void prepare(transcript& next) {
        const std::size_t taken = settings_.has_window ? 0 : next.tokens().size(); // a window always has room
        const std::size_t room = room_.behind(taken);
        const std::size_t limit = settings_.answer_limit;
        next.reserve(limit != 0 ? (std::min)(room, limit + 1) : room);
        text_.reserve(next.turns().back().begun_bytes);
    }
    void reserve() {
        if (is_answering()) {
            prepare(now_);
        }
    }

    /// The sampler counts the last `count` tokens among the recent ones, all if turns were dropped meanwhile and there
    /// are fewer.
    void accept_last(std::size_t count) noexcept {
        for (const token id : tokens().last((std::min)(count, tokens().size()))) {
            sampler_.accept(id);
        }
    }

    [[nodiscard]] bool is_answering() const noexcept { return now_.is_open() && ended_ == answer_end::none; }
    [[nodiscard]] bool is_cancelled() const noexcept { return cancel_.load(std::memory_order_relaxed); }
    [[nodiscard]] bool is_reading() const noexcept { return session_.queued() != 0; }

    void settle_cancel() noexcept {
        if (is_cancelled() && cancel_.exchange(false, std::memory_order_relaxed) && is_answering()) {
            static_cast<void>(session_.rewind(session_.position())); // drops the queue
            finish(answer_end::cancelled);
        }
    }

    [[nodiscard]] result<step_state> step_to(std::chrono::nanoseconds budget, any_chooser& choose) {
        return draft_ != nullptr ? draft_->faster->step(budget, choose) : session_.step(budget, choose);
    }

    /// A piece of work; `working`: the budget is used up.
    [[nodiscard]] result<step_state> advance(std::chrono::nanoseconds budget) {
        auto choose = chooser();
        auto stepped = choose ? step_to(budget, *choose) : session_.step(budget);
        if (!stepped && stepped.error().code == errc::cancelled) {
            return step_state::ready; // settle_cancel() sees to it
        }
        if (!stepped) {
            if (choose) {
                fail(error{stepped.error()});
            }
            return stepped;
        }
        if (*stepped == step_state::ready && choose) {
            take(draft_ != nullptr ? draft_->faster->next(*choose) : session_.next(*choose));
            if (ended_ == answer_end::error) {
                return error{error_};
            }
        }
        return stepped;
    }

    [[nodiscard]] result<void> take_token(token id) {
        if (format_.is_stop(id)) {
            now_.stop(id);
            finish(calls().empty() ? answer_end::stop_token : answer_end::tool_calls);
            return {};
        }
        now_.append(id);
        const answer_part part = guide_ != nullptr ? guide_->take(id) : answer_part{};
        if (guide_ != nullptr ? text_.put(id, now_.text(), part) : text_.put(id, now_.text())) {
            finish(answer_end::stop_text);
            return {};
        }
        const bool ends_call = part.kind == answer_part::part_kind::call_end;
        if (ends_call) {
            auto call = guide_->call();
            if (!call) {
                return failed(call);
            }
            now_.add_call(*std::move(call));
        }
        if (ends_call && part.is_last) {
            finish(part.is_cut_short ? answer_end::limit : answer_end::tool_calls);
        } else if (now_.written() == settings_.answer_limit) {
            finish(answer_end::limit);
        }
        return {};
    }

    void take_reason(stop_reason why) noexcept {
        switch (why) {
        case stop_reason::error:
            static_cast<void>(has_memory_for([&] { fail(error{session_.last_error()}); }));
            ended_ = answer_end::error;
            break;
        case stop_reason::context_full:
            go_on_without_the_oldest();
            break;
        default: // the flag is set
            settle_cancel();
        }
    }

    void go_on_without_the_oldest() noexcept {
        auto done = settings_.room != 0 ? change(fate::stays, [](transcript&) { return result<void>(); })
                                        : error_saying(errc::context_full, {});
        if (!done && done.error().code == errc::context_full) {
            finish(answer_end::context_full);
        } else if (!done) {
            fail(std::move(done).error());
        }
    }

    void fail(error why) noexcept {
        error_ = std::move(why);
        ended_ = answer_end::error;
    }

    /// The answer ends; what was held back of its text is shown.
    void finish(answer_end why) noexcept {
        ended_ = why;
        auto done = guarded([&]() -> result<void> {
            if (why != answer_end::stop_text && text_.end(now_.text())) {
                ended_ = answer_end::stop_text;
            }
            const bool follows_text = now_.turns().back().begun_bytes != 0;
            return ended_ == answer_end::stop_text ? now_.cut(text_.made_decoder(follows_text)) : result<void>();
        });
        if (!done) {
            fail(failed(done));
        }
    }

    dialog_settings settings_;
    chat_template format_;
    any_session session_;
    sampler sampler_;
    std::optional<any_chooser> chooser_;
    std::unique_ptr<call_guide> guide_;     ///< null without tools
    std::unique_ptr<answer_healer> healer_; ///< null if answers are not healed
    std::unique_ptr<dialog_draft> draft_;   ///< null without guesses
    speculation_statistics scheduled_;      ///< of schedulers
    transcript now_;
    answer_text text_;
    dialog_room room_; ///< of these
    std::atomic<bool> cancel_{false};
    answer_end ended_ = answer_end::none;
    error error_;
    std::size_t dropped_ = 0;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
