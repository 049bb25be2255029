// SPDX-License-Identifier: MIT
// job: the work for one request, done by the engine's thread between and in passes over the weights.
#pragma once

#include "api_error.hpp"
#include "chat_slot.hpp"
#include "reply_sink.hpp"
#include "served_model.hpp"

#include <bitnet/any.hpp>

#include <cstddef>
#include <memory>
#include <optional>
#include <utility>

namespace server {

struct token_usage {
    std::size_t prompt = 0;
    std::size_t cached = 0; ///< of the prompt's, those that were there
    std::size_t written = 0;
};

class job : public bitnet::speaker {
public:
    explicit job(std::shared_ptr<reply_sink> sink) : sink_(std::move(sink)) {}
    job(const job&) = delete;
    job& operator=(const job&) = delete;
    virtual ~job() = default;

    /// Whether the scheduler serves it, once it has begun. Otherwise pump() does all the work.
    [[nodiscard]] virtual bool speaks() const noexcept { return true; }
    /// How much of what it needs is in a slot.
    [[nodiscard]] virtual std::size_t common(const chat_slot&) const { return 0; }
    /// \return what the client is told instead of an answer
    [[nodiscard]] virtual std::optional<api_error> begin(served_model& of, chat_slot& in) = 0;
    /// After each pass: sends what there is. \return whether all is done
    [[nodiscard]] virtual bool pump() = 0;
    /// Nobody waits for it.
    virtual void cancel() = 0;
    /// After begin(): tells the client, and that is the end.
    virtual void fail(const api_error& why) {
        if (is_stream_) {
            sink_->piece(event_of(to_json(why)));
            sink_->end_stream();
        } else {
            sink_->send(why);
        }
    }

    [[nodiscard]] reply_sink& sink() noexcept { return *sink_; }
    [[nodiscard]] const token_usage& usage() const noexcept { return usage_; }

protected:
    void begin_stream() {
        is_stream_ = true;
        sink_->begin_stream();
    }
    void end_stream() {
        sink_->piece(event_of("[DONE]"));
        sink_->end_stream();
    }

    std::shared_ptr<reply_sink> sink_;
    token_usage usage_;

private:
    bool is_stream_ = false;
};

} // namespace server
