// SPDX-License-Identifier: MIT
// connection: one client of an http_server, whose requests are answered one after the other.
#pragma once

#include "listener.hpp"

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <random>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>

namespace server {

using std::chrono::seconds;

/// The answer to one request, whose calls come from any thread and go on in the server's.
class exchange final : public reply_sink {
public:
    explicit exchange(std::shared_ptr<connection> to) : to_(std::move(to)) {}
    /// Wherever it ends, the connection ends in the server's thread.
    ~exchange() override;

    using reply_sink::send;
    void send(api_reply reply) override;
    void begin_stream() override;
    void piece(std::string bytes) override;
    void end_stream() override;

private:
    template <class Work> void post(Work work);
    std::shared_ptr<connection> to_;
};

/// The views of one Boost are not those of another.
template <class View> std::string text_of(const View& view) { return {view.data(), view.size()}; }

inline std::string made_request_id() {
    std::random_device random;
    std::ostringstream text;
    text << std::hex << random() << random();
    return text.str();
}

class connection final : public std::enable_shared_from_this<connection> {
public:
    connection(listener& of, tcp::socket socket) : of_(of), stream_(std::move(socket)), ping_(of.io) {
        of_.connections.insert(this);
    }
    ~connection() { of_.connections.erase(this); }

    void read(seconds patience) {
        parser_.emplace();
        parser_->header_limit(static_cast<std::uint32_t>(of_.options.head_limit));
        parser_->body_limit(of_.options.body_limit);
        is_reading_head_ = true;
        stream_.expires_after(patience);
        http::async_read_header(stream_, buffer_, *parser_,
                                [self = shared_from_this()](error_code failed, std::size_t) { self->on_head(failed); });
    }

    /// The server ends: a connection without a request does, too.
    void end() {
        if (exchange_ == nullptr && is_reading_head_) {
            close();
        }
    }
    void give_up() {
        if (exchange_ != nullptr) {
            exchange_->set_gone();
        }
        close();
    }

    [[nodiscard]] asio::io_context& io() noexcept { return of_.io; }

    // What an exchange asks for, on this thread.

    void send(const exchange* from, api_reply reply) {
        if (from != exchange_.get()) {
            return;
        }
        http::response<http::string_body> made(static_cast<http::status>(reply.status), version_);
        set_head(made, reply.type);
        for (const auto& [name, value] : reply.headers) {
            made.set(name, value);
        }
        made.body() = std::move(reply.body);
        made.prepare_payload();
        if (made.result() == http::status::no_content) { // has none of these
            made.erase(http::field::content_length);
            made.erase(http::field::content_type);
        }
        std::ostringstream bytes;
        if (is_head_) {
            bytes << made.base();
        } else {
            bytes << made;
        }
        write(bytes.str());
        finish();
    }
    void begin_stream(const exchange* from) {
        if (from != exchange_.get()) {
            return;
        }
        http::response<http::empty_body> made(http::status::ok, version_);
        is_chunked_ = version_ >= 11;
        keeps_alive_ = keeps_alive_ && is_chunked_;
        set_head(made, "text/event-stream; charset=utf-8");
        made.set(http::field::cache_control, "no-cache");
        made.set("X-Accel-Buffering", "no");
        made.chunked(is_chunked_);
        std::ostringstream bytes;
        bytes << made.base();
        write(bytes.str());
        ping_later();
    }
    void piece(const exchange* from, const std::string& bytes) {
        if (from != exchange_.get()) {
            return;
        }
        write(is_chunked_ ? beast::buffers_to_string(http::make_chunk(asio::buffer(bytes))) : bytes);
        ping_later();
    }
    void end_stream(const exchange* from) {
        if (from != exchange_.get()) {
            return;
        }
        ping_.cancel();
        if (is_chunked_) {
            write(beast::buffers_to_string(http::make_chunk_last()));
        }
        finish();
    }

private:
    void on_head(error_code failed) {
        is_reading_head_ = false;
        if (failed) {
            return refuse(failed);
        }
        if (beast::iequals(parser_->get()[http::field::expect], "100-continue")) {
            http::response<http::empty_body> go_on(http::status::continue_, 11);
            std::ostringstream bytes;
            bytes << go_on.base();
            write(bytes.str());
        }
        stream_.expires_after(seconds(60));
        http::async_read(stream_, buffer_, *parser_,
                         [self = shared_from_this()](error_code broken, std::size_t) { self->on_request(broken); });
    }

    /// What is no request is told so where that is possible.
    void refuse(error_code why) {
        if (why == http::error::end_of_stream || why == beast::error::timeout ||
            why == asio::error::operation_aborted || why.category() != error_code(http::error::bad_method).category()) {
            return close();
        }
        keeps_alive_ = false;
        const int status = why == http::error::body_limit ? 413 : why == http::error::header_limit ? 431 : 400;
        begin_exchange()->send(api_error{status, "the HTTP request cannot be read: " + why.message(), {}, {}});
    }

    std::shared_ptr<exchange> begin_exchange() {
        exchange_ = std::make_shared<exchange>(shared_from_this());
        return exchange_;
    }

    void on_request(error_code failed) {
        if (failed) {
            return refuse(failed);
        }
        stream_.expires_never();
        auto request = parser_->release();
        version_ = request.version();
        is_head_ = request.method() == http::verb::head;
        keeps_alive_ = request.keep_alive() && !of_.is_ending;
        const auto made = begin_exchange();
        if (!is_ours(text_of(request[http::field::host]))) {
            return made->send(
                api_error{403, "this server listens on loopback alone, and takes requests to localhost", {}, {}});
        }
        if (of_.connections.size() > of_.options.connections || of_.is_ending) {
            keeps_alive_ = false;
            return made->send(api_error{503, "there are too many connections, or the server ends", {}, {}});
        }
        if (request.method() == http::verb::options) {
            return made->send(options_reply(request));
        }
        watch();
        (*of_.handle)({text_of(request.method_string()), text_of(request.target()), std::move(request.body()),
                       text_of(request[http::field::authorization])},
                      made);
    }

    [[nodiscard]] api_reply options_reply(const http::request<http::string_body>& request) const {
        api_reply reply{204, {}};
        if (!of_.options.cors.empty()) {
            const auto asked = request[http::field::access_control_request_headers];
            reply.headers.emplace_back("Access-Control-Allow-Methods", "GET, POST, OPTIONS");
            reply.headers.emplace_back("Access-Control-Allow-Headers",
                                       asked.empty() ? "Authorization, Content-Type" : text_of(asked));
            reply.headers.emplace_back("Access-Control-Max-Age", "600");
        } else {
            reply.headers.emplace_back("Allow", "GET, HEAD, POST, OPTIONS");
        }
        return reply;
    }

    /// A page of another site cannot come here by a name of its own for this machine.
    [[nodiscard]] bool is_ours(std::string_view host) const {
        if (!of_.is_loopback) {
            return true;
        }
        const auto port = host.rfind(':');
        const auto name = host.substr(0, port == host.npos || host.ends_with(']') ? host.size() : port);
        return host.empty() || name == "localhost" || name == "127.0.0.1" || name == "[::1]";
    }

    template <class Message> void set_head(Message& made, const std::string& type) const {
        made.set(http::field::content_type, type);
        made.set(http::field::server, "bitnet-server");
        made.set("x-request-id", made_request_id());
        if (!of_.options.cors.empty()) {
            made.set(http::field::access_control_allow_origin, of_.options.cors);
            made.set(http::field::vary, "Origin");
        }
        made.keep_alive(keeps_alive_);
    }

    /// While an answer is made, a client that goes away is noticed.
    void watch() {
        stream_.socket().async_wait(tcp::socket::wait_read,
                                    [self = shared_from_this(), of = exchange_](error_code failed) {
                                        error_code ignored;
                                        if (of != self->exchange_ || failed == asio::error::operation_aborted) {
                                            return;
                                        }
                                        if (failed || self->stream_.socket().available(ignored) == 0) {
                                            self->give_up();
                                        }
                                    });
    }

    void ping_later() {
        ping_.expires_after(seconds(5));
        ping_.async_wait([self = shared_from_this(), of = exchange_](error_code failed) {
            if (!failed && of == self->exchange_) {
                self->piece(of.get(), ": ping\n\n");
            }
        });
    }

    void write(std::string bytes) {
        unwritten_.push_back(std::move(bytes));
        if (unwritten_.size() == 1) {
            write_next();
        }
    }
    void write_next() {
        stream_.expires_after(seconds(60));
        asio::async_write(stream_, asio::buffer(unwritten_.front()),
                          [self = shared_from_this()](error_code failed, std::size_t) { self->on_written(failed); });
    }
    void on_written(error_code failed) {
        unwritten_.pop_front();
        if (failed) {
            unwritten_.clear();
            return give_up();
        }
        if (!unwritten_.empty()) {
            return write_next();
        }
        if (exchange_ == nullptr && is_finished_) {
            go_on();
        } else if (exchange_ != nullptr) {
            stream_.expires_never();
        }
    }

    /// The answer is written as far as this goes.
    void finish() {
        exchange_ = nullptr;
        is_finished_ = true;
        if (unwritten_.empty()) {
            go_on();
        }
    }
    void go_on() {
        is_finished_ = false;
        if (keeps_alive_ && !of_.is_ending) {
            read(seconds(60));
        } else {
            error_code ignored;
            stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
            close();
        }
    }
    void close() {
        exchange_ = nullptr;
        ping_.cancel();
        stream_.close();
    }

    listener& of_;
    beast::tcp_stream stream_;
    beast::flat_buffer buffer_;
    std::optional<http::request_parser<http::string_body>> parser_;
    asio::steady_timer ping_;
    std::shared_ptr<exchange> exchange_; ///< null: no request is being answered
    std::deque<std::string> unwritten_;
    unsigned version_ = 11;
    bool is_reading_head_ = false;
    bool is_head_ = false;
    bool is_chunked_ = false;
    bool keeps_alive_ = false;
    bool is_finished_ = false; ///< and what it wrote is on its way
};

template <class Work> void exchange::post(Work work) {
    asio::post(to_->io(), [to = to_, from = this, work = std::move(work)]() mutable { work(*to, from); });
}
inline exchange::~exchange() {
    asio::io_context& io = to_->io();
    asio::post(io, [to = std::move(to_)] {});
}
inline void exchange::send(api_reply reply) {
    post([reply = std::move(reply)](connection& to, const exchange* from) mutable { to.send(from, std::move(reply)); });
}
inline void exchange::begin_stream() {
    post([](connection& to, const exchange* from) { to.begin_stream(from); });
}
inline void exchange::piece(std::string bytes) {
    post([bytes = std::move(bytes)](connection& to, const exchange* from) { to.piece(from, bytes); });
}
inline void exchange::end_stream() {
    post([](connection& to, const exchange* from) { to.end_stream(from); });
}

} // namespace server
