// SPDX-License-Identifier: MIT
// reply_sink: where the answer to one request goes, whole or as a stream of pieces.
#pragma once

#include "api_error.hpp"

#include <atomic>
#include <string>
#include <utility>
#include <vector>

namespace server {

struct api_reply {
    int status = 200;
    std::string body = {};
    std::string type = "application/json";
    std::vector<std::pair<std::string, std::string>> headers = {};
};

/// One of send() and begin_stream(), then pieces and end_stream(). Any thread may call them, one at a time.
class reply_sink {
public:
    reply_sink() = default;
    reply_sink(const reply_sink&) = delete;
    reply_sink& operator=(const reply_sink&) = delete;
    virtual ~reply_sink() = default;

    virtual void send(api_reply reply) = 0;
    /// Of server-sent events.
    virtual void begin_stream() = 0;
    virtual void piece(std::string bytes) = 0;
    virtual void end_stream() = 0;

    /// Whether nobody waits for the answer any more.
    [[nodiscard]] bool is_gone() const noexcept { return gone_.load(std::memory_order_relaxed); }
    void set_gone() noexcept { gone_.store(true, std::memory_order_relaxed); }

    void send(const api_error& why) {
        api_reply reply{why.status, to_json(why)};
        if (why.status == 429 || why.status == 503) {
            reply.headers.emplace_back("Retry-After", "1");
        }
        send(std::move(reply));
    }

private:
    std::atomic<bool> gone_ = false;
};

/// One event of a stream.
inline std::string event_of(const std::string& json) { return "data: " + json + "\n\n"; }

} // namespace server
