// SPDX-License-Identifier: MIT
// http_server: HTTP/1.1 on a TCP port, by Boost.Beast in http_server.cpp.
#pragma once

#include "answer.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace server {

struct http_options {
    std::string host = "127.0.0.1"; ///< an address to bind
    std::uint16_t port = 8080;      ///< 0: a free one
    std::string cors = {};          ///< the origin that pages may come from; empty: none
    std::size_t connections = 64;
    std::size_t body_limit = std::size_t{16} << 20;
    std::size_t head_limit = std::size_t{16} << 10;
    unsigned grace = 10; ///< seconds that answers have left to end after SIGTERM
};

/// Ends after all that its sinks were given to, which may use them as long as it is there.
class http_server {
public:
    using handler = std::function<void(const api_request&, std::shared_ptr<reply_sink>)>;

    explicit http_server(const http_options& options);
    http_server(const http_server&) = delete;
    http_server& operator=(const http_server&) = delete;
    ~http_server();

    /// Serves until SIGINT or SIGTERM: then nothing more is accepted, and what is being answered has `grace` seconds to
    /// end. `handle` is called on this thread, and the sink it gets may be used by any.
    /// \param listening called once, with the port
    /// \return what went wrong; empty: nothing
    [[nodiscard]] std::string run(const handler& handle, const std::function<void(std::uint16_t)>& listening);

private:
    std::unique_ptr<class listener> listener_;
};

} // namespace server
