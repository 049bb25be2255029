// SPDX-License-Identifier: MIT
// chat_job: answers a request of /v1/chat/completions.
#pragma once

#include "answer_grammar.hpp"
#include "chat_request.hpp"
#include "chat_writer.hpp"
#include "job.hpp"
#include "open_choice.hpp"

#include <bitnet/any.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace server {

/// Its choices are written one after the other.
class chat_job final : public job {
public:
    chat_job(chat_request asked, std::shared_ptr<reply_sink> sink) : job(std::move(sink)), asked_(std::move(asked)) {}

    [[nodiscard]] std::size_t common(const chat_slot& in) const override { return in.common(asked_); }

    [[nodiscard]] std::optional<api_error> begin(served_model& of, chat_slot& in) override {
        model_ = &of;
        head_ = {made_id("chatcmpl-"), of.name};
        auto begun = begin_in(in, true);
        if (!begun && begun.error().code == bitnet::errc::invalid_argument && asked_.tools.is_used()) {
            begun = begin_in(in, false);
        }
        if (!begun) {
            return api_error_of(begun.error(), param_);
        }
        usage_.prompt = talk_->prompt_tokens();
        usage_.cached = talk_->session().position();
        if (asked_.sampling.stream) {
            begin_stream();
            send_delta(content_delta({}, true));
        }
        return std::nullopt;
    }

    [[nodiscard]] bitnet::any_session& session() noexcept override { return talk_->session(); }
    [[nodiscard]] std::optional<bitnet::any_chooser> chooser() noexcept override { return talk_->chooser(); }
    void take(std::optional<bitnet::token> id) noexcept override {
        if (id && asked_.logprobs && !talk_->format().is_stop(*id)) {
            note_logprobs();
        }
        if (id && !times_.first) {
            times_.first = std::chrono::steady_clock::now();
        }
        talk_->take(id);
        if (grammar_ != nullptr) {
            grammar_->note();
        }
        choice_->feed(talk_->take_text());
        const bool is_full = limit_ && talk_->answer_tokens() >= *limit_;
        const bool is_whole = grammar_ != nullptr && grammar_->is_done();
        if (!is_ended() && (is_full || is_whole || choice_->has_stopped())) {
            ended_ = is_full && !is_whole && !choice_->has_stopped() ? bitnet::answer_end::limit
                                                                     : bitnet::answer_end::stop_text;
            talk_->cancel();
        }
    }

    [[nodiscard]] bool pump() override {
        send_calls();
        if (!is_ended()) {
            send_text();
            return false;
        }
        if (talk_->ended_by() == bitnet::answer_end::error) {
            fail(api_error_of(talk_->last_error()));
            return true;
        }
        end_choice();
        if (choices_.size() < asked_.sampling.choices) {
            if (auto begun = next_choice(); !begun) {
                fail(api_error_of(begun.error()));
                return true;
            }
            return false;
        }
        finish();
        return true;
    }

    void cancel() override {
        talk_->cancel();
        settle();
        talk_->choose_with(std::nullopt);
    }

    void fail(const api_error& why) override {
        talk_->choose_with(std::nullopt);
        job::fail(why);
    }

private:
    [[nodiscard]] bool is_ended() const noexcept {
        return ended_ != bitnet::answer_end::none || talk_->ended_by() != bitnet::answer_end::none;
    }
    [[nodiscard]] std::size_t index() const noexcept { return choices_.size(); }

    [[nodiscard]] bitnet::result<void> begin_in(chat_slot& in, bool has_room) {
        param_ = asked_.tools.is_used() ? "tools" : "messages";
        auto told = in.tell(*model_, asked_, has_room);
        if (!told) {
            return std::move(told).error();
        }
        talk_ = *told;
        limit_ = in.limit_for(asked_);
        told_turns_ = talk_->history().size();
        return begin_choice();
    }

    [[nodiscard]] bitnet::result<void> begin_choice() {
        auto opened = open_choice::open(asked_.sampling, index(), model_->model.parameters().vocabulary, param_);
        if (!opened) {
            return std::move(opened).error();
        }
        choice_.emplace(*std::move(opened));
        ended_ = bitnet::answer_end::none;
        made_ = {};
        sent_calls_ = sent_tokens_ = 0;
        if (auto begun = talk_->begin_answer(asked_.begun); !begun) {
            param_ = "messages";
            return begun;
        }
        const auto told = talk_->tokens();
        for (const bitnet::token id : told) { // which penalties count
            choice_->sampler().accept(id);
        }
        const std::size_t room = talk_->context() - talk_->position();
        param_ = asked_.schema ? "response_format" : "grammar";
        auto grammar =
            answer_grammar::open(*model_, asked_, choice_->sampler(), (std::min)(room, limit_.value_or(room)));
        if (!grammar) {
            return std::move(grammar).error();
        }
        grammar_ = *std::move(grammar);
        talk_->choose_with(grammar_ != nullptr ? grammar_->chooser() : bitnet::any_chooser(choice_->sampler()));
        return {};
    }

    [[nodiscard]] bitnet::result<void> next_choice() {
        if (auto done = talk_->rewind(told_turns_); !done) {
            return done;
        }
        if (auto begun = begin_choice(); !begun) {
            return begun;
        }
        if (asked_.sampling.stream) {
            send_delta(content_delta({}, true));
        }
        return {};
    }

    void note_logprobs() {
        token_choice made{{}, std::vector<bitnet::token_logprob>(asked_.top_logprobs)};
        if (const auto chosen = talk_->session().logprobs(made.likeliest)) {
            made.chosen = *chosen;
            made_.tokens.push_back(std::move(made));
        }
    }

    /// What was asked to end does.
    void settle() { static_cast<void>(talk_->step(std::chrono::nanoseconds(0))); }

    void end_choice() {
        settle();
        choice_->feed(talk_->take_text());
        choice_->flush();
        send_calls();
        send_text();
        usage_.written += talk_->answer_tokens();
        const bitnet::answer_end why = ended_ != bitnet::answer_end::none ? ended_ : talk_->ended_by();
        const bool is_cut = why == bitnet::answer_end::limit || why == bitnet::answer_end::context_full ||
                            (grammar_ != nullptr && grammar_->is_cut_short());
        made_.finish = is_cut && !choice_->has_stopped() ? "length" : !made_.calls.empty() ? "tool_calls" : "stop";
        talk_->choose_with(std::nullopt);
        if (asked_.sampling.stream) {
            send_delta("{}", made_.finish);
        }
        choices_.push_back(std::move(made_));
        made_ = {};
    }

    void send_delta(std::string_view delta, std::string_view finish = {}) {
        const auto tokens = std::span<const token_choice>(made_.tokens).subspan(sent_tokens_);
        sent_tokens_ = made_.tokens.size();
        sink().piece(
            event_of(chat_chunk(head_, index(), delta, model_->model.text(), tokens, asked_.logprobs, finish)));
    }
    void send_text() {
        const std::string text = choice_->take();
        made_.text += text;
        if (asked_.sampling.stream && !text.empty()) {
            send_delta(content_delta(text, false));
        }
    }
    void send_calls() {
        const auto calls = talk_->calls();
        for (; sent_calls_ < calls.size(); ++sent_calls_) {
            made_.calls.push_back({made_id("call_"), calls[sent_calls_].name, calls[sent_calls_].arguments});
            if (asked_.sampling.stream) {
                send_delta(call_begins(sent_calls_, made_.calls.back()));
                send_delta(call_goes_on(sent_calls_, made_.calls.back()));
            }
        }
    }

    void finish() {
        if (!asked_.sampling.stream) {
            sink().send(api_reply{
                200, chat_completion(head_, choices_, model_->model.text(), asked_.logprobs, usage_, times_)});
            return;
        }
        if (asked_.sampling.include_usage) {
            sink().piece(event_of(usage_chunk(head_, "chat.completion.chunk", usage_, times_)));
        }
        end_stream();
    }

    chat_request asked_;
    served_model* model_ = nullptr;
    answer_head head_;
    bitnet::conversation* talk_ = nullptr;
    std::size_t told_turns_ = 0;
    std::optional<std::size_t> limit_; ///< tokens of a choice
    std::optional<open_choice> choice_;
    std::unique_ptr<answer_grammar> grammar_;
    std::string param_; ///< what an error of begin_choice() is about

    bitnet::answer_end ended_ = bitnet::answer_end::none; ///< why this ended it, not the conversation
    finished_choice made_;
    std::size_t sent_calls_ = 0;
    std::size_t sent_tokens_ = 0; ///< of made_.tokens
    std::vector<finished_choice> choices_;
    answer_times times_;
};

} // namespace server
