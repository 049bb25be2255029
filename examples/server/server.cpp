// SPDX-License-Identifier: MIT
// bitnet-server: OpenAI's interface to a model, for the clients that speak it.
#include "../tools/model_options.hpp"
#include "../tools/streams.hpp"
#include "http_server.hpp"
#include "open_engine.hpp"
#include "page.hpp"

#include <cstdint>
#include <cstdio>
#include <iterator>
#include <memory>
#include <string>
#include <utility>

namespace {

constexpr std::string_view program = "bitnet-server";

struct settings {
    tools::model_options model;
    server::http_options http;
    server::engine_options engine;
    server::answer_options answers;
    std::string alias;
    bool no_page = false;

    void add_to(tools::options& all) {
        model.add_file(all);
        all.text("--alias", "NAME", alias, "what the model is called; default: the file's name without its end");
        all.text("--host", "ADDRESS", http.host, "the address to listen on; others than loopback let the network in");
        all.number<std::uint16_t>("--port", "N", http.port, 0, 65535, "the port; 0 takes a free one");
        all.number<std::size_t>("--parallel", "N", engine.parallel, 1, 256, "requests that are answered at a time");
        all.number<std::size_t>("--queue", "N", engine.queue, 1, 65536, "requests that wait, before 429 is answered");
        all.text("--api-key", "KEY", answers.api_key, "the key that clients have to send; default: none");
        all.text("--cors", "ORIGIN", http.cors, "the origin whose pages may ask, such as http://localhost:3000");
        all.flag("--no-page", no_page, "no chat page at the root");
        model.add_context(all, 1);
        model.add_running(all);
        model.add_text(all);
        model.add_reading(all);
    }
};

int run(settings& chosen) {
    if (!chosen.no_page) {
        chosen.answers.page.assign(std::begin(server::page), std::end(server::page));
    }
    server::http_server http(chosen.http); // first, because requests answer to it
    auto opened = server::open_engine(chosen.model, chosen.alias, chosen.engine);
    if (!opened) {
        return tools::fail(program, opened.error().message);
    }
    server::engine& engine = **opened;
    const auto handle = [&](const server::api_request& request, std::shared_ptr<server::reply_sink> sink) {
        server::answer(request, engine, chosen.answers, std::move(sink));
    };
    const auto listening = [&](std::uint16_t port) {
        std::fprintf(stderr, "%s: %s at http://%s:%u/v1%s\n", program.data(), engine.served().name.c_str(),
                     chosen.http.host.c_str(), static_cast<unsigned>(port),
                     chosen.no_page ? "" : ", and a page to chat with it at the root");
    };
    const std::string failed = http.run(handle, listening);
    return failed.empty() ? 0 : tools::fail(program, failed);
}

} // namespace

int main(int argc, char** argv) {
    tools::options options(std::string(program), "Serves a model by OpenAI's interface over HTTP.");
    settings chosen;
    chosen.add_to(options);
    if (const auto status = options.read(argc, argv)) {
        return *status;
    }
    return run(chosen);
}
