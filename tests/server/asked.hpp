// SPDX-License-Identifier: MIT
// asked: an engine with the tiny model, and what it answers to a request, without sockets.
#pragma once

#include "../../examples/server/answer.hpp"

#include <bitnet/any.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace asked {

/// Keeps what it is told.
class kept_reply final : public server::reply_sink {
public:
    using reply_sink::send;
    void send(server::api_reply reply) override {
        const std::lock_guard lock(mutex_);
        whole_ = std::move(reply);
        end();
    }
    void begin_stream() override {
        const std::lock_guard lock(mutex_);
        is_stream_ = true;
        change_.notify_all();
    }
    void piece(std::string bytes) override {
        const std::lock_guard lock(mutex_);
        stream_ += bytes;
        change_.notify_all();
    }
    void end_stream() override {
        const std::lock_guard lock(mutex_);
        end();
    }

    /// \return whether it came to an end in a minute
    [[nodiscard]] bool wait() {
        std::unique_lock lock(mutex_);
        return change_.wait_for(lock, std::chrono::minutes(1), [&] { return ends_ != 0; });
    }
    /// The same until it streams.
    [[nodiscard]] bool wait_for_stream() {
        std::unique_lock lock(mutex_);
        return change_.wait_for(lock, std::chrono::minutes(1), [&] { return is_stream_ || ends_ != 0; });
    }
    [[nodiscard]] int ends() const noexcept { return ends_; } ///< has to be 1
    [[nodiscard]] const server::api_reply& whole() const noexcept { return whole_; }
    [[nodiscard]] const std::string& stream() const noexcept { return stream_; }
    [[nodiscard]] bool is_stream() const noexcept { return is_stream_; }

private:
    void end() {
        ++ends_;
        change_.notify_all();
    }

    std::mutex mutex_;
    std::condition_variable change_;
    server::api_reply whole_;
    std::string stream_;
    bool is_stream_ = false;
    int ends_ = 0;
};

inline std::unique_ptr<server::engine> opened_with(bitnet::result<bitnet::any_model> model,
                                                   const server::engine_options& options) {
    REQUIRE(model);
    auto served = server::served_model::open(*std::move(model), "tiny", 1, 512, 1);
    REQUIRE(served);
    auto made = server::engine::open(*std::move(served), options);
    REQUIRE(made);
    return *std::move(made);
}

inline std::unique_ptr<server::engine> opened(const server::engine_options& options = {.parallel = 2, .queue = 8}) {
    return opened_with(bitnet::any_model::open(BITNET_TEST_MODEL), options);
}

inline std::shared_ptr<kept_reply> sent(server::engine& to, std::string method, std::string target,
                                        std::string body = {}, std::string authorization = {},
                                        const server::answer_options& options = {}) {
    auto sink = std::make_shared<kept_reply>();
    server::answer({std::move(method), std::move(target), std::move(body), std::move(authorization)}, to, options,
                   sink);
    return sink;
}
/// The same, and it has ended.
inline std::shared_ptr<kept_reply> answered(server::engine& by, std::string method, std::string target,
                                            std::string body = {}) {
    auto sink = sent(by, std::move(method), std::move(target), std::move(body));
    REQUIRE(sink->wait());
    return sink;
}
inline std::shared_ptr<kept_reply> chatted(server::engine& with, const std::string& members) {
    return answered(with, "POST", "/v1/chat/completions",
                    R"({"messages":[{"role":"user","content":"Who lived in the castle?"}],)" + members + "}");
}

/// A value of a JSON text at a path such as "choices.0.message".
class read_json {
public:
    explicit read_json(std::string_view text) {
        auto read = bitnet::json_document::parse(text, "reply", {.depth = 128});
        CAPTURE(text);
        REQUIRE(read);
        document_ = *std::move(read);
    }
    [[nodiscard]] std::optional<bitnet::json_value> at(std::string_view path) const {
        std::optional<bitnet::json_value> here = document_.root();
        while (here && !path.empty()) {
            const std::string_view key = path.substr(0, path.find('.'));
            path.remove_prefix((std::min)(path.size(), key.size() + 1));
            here = here->is_array() ? element(*here, key) : here->find(key);
        }
        return here;
    }
    [[nodiscard]] std::string text(std::string_view path) const {
        const auto found = at(path);
        CAPTURE(path);
        REQUIRE(found);
        REQUIRE(found->as_string());
        return std::string(*found->as_string());
    }
    [[nodiscard]] std::size_t number(std::string_view path) const {
        const auto found = at(path);
        CAPTURE(path);
        REQUIRE(found);
        REQUIRE(found->as_integer<std::size_t>());
        return *found->as_integer<std::size_t>();
    }

private:
    [[nodiscard]] static std::optional<bitnet::json_value> element(bitnet::json_value of, std::string_view index) {
        std::size_t left = static_cast<std::size_t>(index[0] - '0');
        for (const bitnet::json_value each : of.elements()) {
            if (left-- == 0) {
                return each;
            }
        }
        return std::nullopt;
    }
    bitnet::json_document document_;
};

/// The contents of a stream's deltas together; every event is checked.
inline std::string text_of(const kept_reply& reply) {
    std::string text;
    std::string_view rest = reply.stream();
    CHECK(rest.ends_with("data: [DONE]\n\n"));
    while (!rest.empty()) {
        const auto end = rest.find("\n\n");
        REQUIRE(end != rest.npos);
        REQUIRE(rest.starts_with("data: "));
        const std::string_view event = rest.substr(6, end - 6);
        rest.remove_prefix(end + 2);
        if (event == "[DONE]") {
            CHECK(rest.empty());
            break;
        }
        const read_json json(event);
        const auto content = json.at("choices.0.delta.content");
        text += content ? std::string(content->as_string().value_or("")) : "";
    }
    return text;
}

} // namespace asked
