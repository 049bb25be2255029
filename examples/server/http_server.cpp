// SPDX-License-Identifier: MIT
// http_server: one thread that serves all connections; all of HTTP is Boost.Beast's.
#include "http_server.hpp"

#include "connection.hpp"
#include "listener.hpp"

#include <chrono>
#include <csignal>
#include <set>
#include <utility>

namespace server {

error_code listener::open() {
    error_code failed;
    const auto address = asio::ip::make_address(options.host, failed);
    if (failed) {
        return failed;
    }
    is_loopback = address.is_loopback();
    const tcp::endpoint at(address, options.port);
    acceptor.open(at.protocol(), failed);
    if (!failed) {
        acceptor.set_option(tcp::acceptor::reuse_address(true), failed);
    }
    if (!failed) {
        acceptor.bind(at, failed);
    }
    if (!failed) {
        acceptor.listen(tcp::acceptor::max_listen_connections, failed);
    }
    return failed;
}

void listener::accept() {
    acceptor.async_accept([this](error_code failed, tcp::socket socket) {
        if (is_ending) {
            return;
        }
        if (!failed) {
            error_code ignored;
            socket.set_option(tcp::no_delay(true), ignored);
            std::make_shared<connection>(*this, std::move(socket))->read(seconds(10));
        }
        accept();
    });
}

void listener::end() {
    is_ending = true;
    error_code ignored;
    acceptor.close(ignored);
    for (connection* each : std::set<connection*>(connections)) {
        each->end();
    }
}

void listener::give_up() {
    for (connection* each : std::set<connection*>(connections)) {
        each->give_up();
    }
}

http_server::http_server(const http_options& options) : listener_(std::make_unique<listener>(options)) {}
http_server::~http_server() = default;

std::string http_server::run(const handler& handle, const std::function<void(std::uint16_t)>& listening) {
    listener& all = *listener_;
    all.handle = &handle;
    if (const error_code failed = all.open()) {
        return all.options.host + ", port " + std::to_string(all.options.port) + ": " + failed.message();
    }
    asio::steady_timer patience(all.io);
    asio::signal_set signals(all.io, SIGINT, SIGTERM);
    bool is_over = false;
    signals.async_wait([&](error_code failed, int) {
        if (failed) {
            return;
        }
        all.end();
        patience.expires_after(seconds(all.options.grace));
        patience.async_wait([&](error_code) { is_over = true; });
        signals.async_wait([&](error_code, int) { is_over = true; }); // who asks twice does not wait
    });
    all.accept();
    listening(all.acceptor.local_endpoint().port());
    while (!is_over && !(all.is_ending && all.connections.empty())) {
        all.io.run_one();
    }
    all.give_up();
    return {};
}

} // namespace server
