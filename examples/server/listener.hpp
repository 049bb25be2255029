// SPDX-License-Identifier: MIT
// listener: the port of an http_server, and what its connections share.
#pragma once

#include "http_server.hpp"

#include <boost/asio.hpp>
#include <boost/beast.hpp>

#include <set>

namespace server {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using tcp = asio::ip::tcp;
using boost::system::error_code;

class connection;

/// What all connections share.
class listener {
public:
    explicit listener(const http_options& chosen) : options(chosen) {}

    [[nodiscard]] error_code open();
    void accept();
    void end();
    void give_up();

    http_options options;
    const http_server::handler* handle = nullptr;
    std::set<connection*> connections = {};
    bool is_ending = false;
    bool is_loopback = true;
    asio::io_context io{1}; // behind the connections, which its handlers hold
    tcp::acceptor acceptor{io};
};

} // namespace server
