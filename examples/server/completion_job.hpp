// SPDX-License-Identifier: MIT
// completion_job: answers a request of /v1/completions: raw texts, each continued.
#pragma once

#include "chat_writer.hpp"
#include "job.hpp"
#include "open_choice.hpp"
#include "text_request.hpp"

#include <bitnet/any.hpp>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace server {

/// Its choices, sampling.choices of each prompt, are written one after the other.
class completion_job final : public job {
public:
    completion_job(completion_request asked, std::shared_ptr<reply_sink> sink)
        : job(std::move(sink)), asked_(std::move(asked)) {}

    [[nodiscard]] std::optional<api_error> begin(served_model& of, chat_slot& in) override {
        model_ = &of;
        head_ = {made_id("cmpl-"), of.name};
        const auto opened = in.text_session(of);
        if (!opened) {
            return api_error_of(opened.error());
        }
        session_ = *opened;
        for (const text_or_tokens& each : asked_.prompts) {
            auto tokens = tokens_of(each);
            if (!tokens) {
                return api_error_of(tokens.error(), "prompt");
            }
            usage_.prompt += tokens->size();
            prompts_.push_back(*std::move(tokens));
        }
        if (auto begun = begin_choice(); !begun) {
            return api_error_of(begun.error(), param_);
        }
        usage_.cached = session_->position();
        if (asked_.sampling.stream) {
            begin_stream();
        }
        return std::nullopt;
    }

    [[nodiscard]] bitnet::any_session& session() noexcept override { return *session_; }
    [[nodiscard]] std::optional<bitnet::any_chooser> chooser() noexcept override {
        return finish_.empty() ? std::optional<bitnet::any_chooser>(choice_->sampler()) : std::nullopt;
    }
    void take(std::optional<bitnet::token> id) noexcept override {
        if (!finish_.empty()) {
            return;
        }
        if (!id) {
            const bitnet::stop_reason why = session_->stopped_by();
            has_failed_ = why == bitnet::stop_reason::error;
            finish_ = why == bitnet::stop_reason::context_full ? "length" : "stop";
            return;
        }
        times_.first = times_.first ? times_.first : std::chrono::steady_clock::now();
        if (asked_.logprobs) {
            note_logprobs();
        }
        ++written_;
        choice_->feed(decoder_->feed(*id));
        if (choice_->has_stopped()) {
            finish_ = "stop";
        } else if (written_ == *asked_.sampling.limit) {
            finish_ = "length";
        }
    }

    [[nodiscard]] bool pump() override {
        if (has_failed_) {
            fail(api_error_of(session_->last_error()));
            return true;
        }
        if (finish_.empty()) {
            send_text();
            return false;
        }
        end_choice();
        if (choices_.size() < prompts_.size() * asked_.sampling.choices) {
            if (auto begun = begin_choice(); !begun) {
                fail(api_error_of(begun.error(), param_));
                return true;
            }
            return false;
        }
        finish();
        return true;
    }
    void cancel() override { finish_ = "stop"; }

private:
    [[nodiscard]] std::size_t index() const noexcept { return choices_.size(); }

    [[nodiscard]] bitnet::result<std::vector<bitnet::token>> tokens_of(const text_or_tokens& given) const {
        const bitnet::tokenizer& text = model_->model.text();
        std::vector<bitnet::token> made;
        if (const auto* tokens = std::get_if<std::vector<bitnet::token>>(&given)) {
            made = *tokens;
        } else {
            auto encoded = text.encode(std::get<std::string>(given));
            if (!encoded) {
                return std::move(encoded).error();
            }
            made = *std::move(encoded);
            if (text.add_bos() && text.bos()) {
                made.insert(made.begin(), *text.bos());
            }
        }
        if (made.empty()) {
            return bitnet::error{bitnet::errc::invalid_argument, "a prompt without any token cannot be continued"};
        }
        if (made.size() >= session_->context()) {
            return bitnet::error{bitnet::errc::context_full, "the prompt has " + std::to_string(made.size()) +
                                                                 " tokens, and the context has " +
                                                                 std::to_string(session_->context()) + " positions"};
        }
        return made;
    }

    [[nodiscard]] bitnet::result<void> begin_choice() {
        const std::vector<bitnet::token>& prompt = prompts_[index() / asked_.sampling.choices];
        auto opened = open_choice::open(asked_.sampling, index(), model_->model.parameters().vocabulary, param_);
        if (!opened) {
            return std::move(opened).error();
        }
        choice_.emplace(*std::move(opened));
        decoder_.emplace(model_->model.text(), bitnet::stream_decoder_options{.follows_text = true});
        for (const bitnet::token id : prompt) {
            if (!model_->model.text().contains(id)) {
                param_ = "prompt";
                return bitnet::error{bitnet::errc::invalid_token,
                                     "token " + std::to_string(id) + " is not in the vocabulary"};
            }
            choice_->sampler().accept(id);
        }
        finish_ = {};
        written_ = sent_tokens_ = 0;
        made_ = {};
        const auto there = session_->tokens();
        const auto common =
            std::mismatch(there.begin(), there.end(), prompt.begin(), prompt.end()).first - there.begin();
        std::size_t kept = static_cast<std::size_t>(common);
        kept = session_->can_rewind(kept) ? kept : 0;
        if (auto rewound = session_->rewind(kept); !rewound) {
            return rewound;
        }
        if (asked_.echo) {
            const auto* text = std::get_if<std::string>(&asked_.prompts[index() / asked_.sampling.choices]);
            choice_->show(text != nullptr ? *text : model_->model.text().decode(prompt));
        }
        return session_->queue(std::span(prompt).subspan(kept));
    }

    void note_logprobs() {
        token_choice made{{}, std::vector<bitnet::token_logprob>(*asked_.logprobs)};
        if (const auto chosen = session_->logprobs(made.likeliest)) {
            made.chosen = *chosen;
            made_.tokens.push_back(std::move(made));
        }
    }

    void end_choice() {
        choice_->feed(decoder_->flush());
        choice_->flush();
        made_.finish = finish_;
        send_text();
        if (asked_.sampling.stream) {
            send_chunk({}, finish_);
        }
        usage_.written += written_;
        choices_.push_back(std::move(made_));
        made_ = {};
    }

    /// In the shape of old: {"tokens":[...],"token_logprobs":[...],"top_logprobs":[...],"text_offset":[...]}.
    void write_logprobs_of(tools::json_writer& json, std::span<const token_choice> tokens) const {
        const bitnet::tokenizer& text = model_->model.text();
        if (!asked_.logprobs) {
            json.name("logprobs");
            json.raw("null");
            return;
        }
        json.begin("logprobs", '{');
        json.begin("tokens", '[');
        for (const token_choice& each : tokens) {
            json.value(text.bytes_of(each.chosen.id));
        }
        json.end(']');
        json.begin("token_logprobs", '[');
        for (const token_choice& each : tokens) {
            json.value(each.chosen.logprob);
        }
        json.end(']');
        json.begin("top_logprobs", '[');
        for (const token_choice& each : tokens) {
            json.begin('{');
            for (const bitnet::token_logprob& likely : each.likeliest) {
                json.member(text.bytes_of(likely.id), likely.logprob);
            }
            json.end('}');
        }
        json.end(']');
        json.begin("text_offset", '[');
        std::size_t offset = 0;
        for (const token_choice& each : tokens) {
            json.value(offset);
            offset += text.bytes_of(each.chosen.id).size();
        }
        json.end(']');
        json.end('}');
    }
    void write_choice(tools::json_writer& json, std::size_t index, std::string_view text,
                      std::span<const token_choice> tokens, std::string_view finish) const {
        json.begin('{');
        json.member("text", text);
        json.member("index", index);
        write_logprobs_of(json, tokens);
        json.name("finish_reason");
        finish.empty() ? json.raw("null") : json.value(finish);
        json.end('}');
    }

    void send_chunk(std::string_view text, std::string_view finish) {
        const auto tokens = std::span<const token_choice>(made_.tokens).subspan(sent_tokens_);
        sent_tokens_ = made_.tokens.size();
        tools::json_writer json;
        head_.write(json, "text_completion");
        json.begin("choices", '[');
        write_choice(json, index(), text, tokens, finish);
        json.end(']');
        json.end('}');
        sink().piece(event_of(json.text()));
    }
    void send_text() {
        const std::string text = choice_->take();
        made_.text += text;
        if (asked_.sampling.stream && !text.empty()) {
            send_chunk(text, {});
        }
    }

    void finish() {
        if (asked_.sampling.stream) {
            if (asked_.sampling.include_usage) {
                sink().piece(event_of(usage_chunk(head_, "text_completion", usage_, times_)));
            }
            return end_stream();
        }
        tools::json_writer json;
        head_.write(json, "text_completion");
        json.begin("choices", '[');
        for (std::size_t i = 0; i < choices_.size(); ++i) {
            write_choice(json, i, choices_[i].text, choices_[i].tokens, choices_[i].finish);
        }
        json.end(']');
        write_usage(json, usage_);
        write_times(json, usage_, times_);
        json.end('}');
        sink().send(api_reply{200, json.text()});
    }

    completion_request asked_;
    served_model* model_ = nullptr;
    answer_head head_;
    bitnet::any_session* session_ = nullptr;
    std::vector<std::vector<bitnet::token>> prompts_;
    std::optional<open_choice> choice_;
    std::optional<bitnet::stream_decoder> decoder_;
    std::string param_; ///< what an error of begin_choice() is about

    std::string_view finish_; ///< why the choice ended; empty: it did not
    bool has_failed_ = false;
    std::size_t written_ = 0;
    std::size_t sent_tokens_ = 0; ///< of made_.tokens
    finished_choice made_;
    std::vector<finished_choice> choices_;
    answer_times times_;
};

} // namespace server
