// SPDX-License-Identifier: MIT
// bitnet-batch: requests of OpenAI's interface from a file, a line each, and their answers in another, in the same
// order. What is there of the answers is kept, so that a run that was ended goes on where it stopped.
#include "../tools/streams.hpp"
#include "../tools/utf8_path.hpp"
#include "answer.hpp"
#include "open_engine.hpp"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

namespace {

constexpr std::string_view program = "bitnet-batch";

struct settings {
    tools::model_options model;
    server::engine_options engine;
    std::string in;
    std::string out;

    void add_to(tools::options& all) {
        model.add_file(all);
        all.required(
            "-i", "FILE", in,
            "requests, a JSON object a line: with \"messages\" a chat, with \"prompt\" a text to continue, with "
            "\"input\" texts to embed; -: stdin");
        all.required("-o", "FILE", out,
                     "answers, a line for each request; what is there is kept, and not asked again; -: stdout");
        all.number<std::size_t>("--parallel", "N", engine.parallel, 1, 256, "requests that are answered at a time");
        model.add_context(all, 1);
        model.add_running(all);
        model.add_text(all);
        model.add_reading(all);
    }
};

bitnet::error failed(const std::string& file, const std::string& what) {
    return {bitnet::errc::io_error, file + ": " + what};
}

/// Keeps the reply to one line.
class line_reply final : public server::reply_sink {
public:
    void send(server::api_reply reply) override {
        const std::lock_guard lock(mutex_);
        reply_ = std::move(reply);
        change_.notify_one();
    }
    void begin_stream() override {
        send(server::api_reply{400, server::to_json({400, "a batch has no streams", "stream", {}})});
    }
    void piece(std::string) override {}
    void end_stream() override {}

    [[nodiscard]] server::api_reply wait() {
        std::unique_lock lock(mutex_);
        change_.wait(lock, [&] { return reply_.has_value(); });
        return *reply_;
    }

private:
    std::mutex mutex_;
    std::condition_variable change_;
    std::optional<server::api_reply> reply_;
};

/// The path that takes such a request; chats where it says nothing, whose reader tells what is wrong.
std::string path_for(const std::string& line) {
    const auto json = bitnet::json_document::parse(line, "request", {.depth = 128});
    const auto has = [&](std::string_view member) { return json && json->root().find(member).has_value(); };
    return has("prompt") ? "/completions" : has("input") ? "/embeddings" : "/chat/completions";
}

/// Whole lines of a file; what stands behind the last one is cut off, as a run that was killed leaves it.
bitnet::result<std::size_t> lines_kept(const std::string& name) {
    std::ifstream file(tools::utf8_path(name), std::ios::binary);
    if (!file) {
        return std::size_t{0};
    }
    std::size_t lines = 0;
    std::uintmax_t whole = 0;
    std::uintmax_t at = 0;
    for (char c = 0; file.get(c);) {
        ++at;
        if (c == '\n') {
            ++lines;
            whole = at;
        }
    }
    file.close();
    std::error_code code;
    if (whole != at) {
        std::filesystem::resize_file(tools::utf8_path(name), whole, code);
    }
    return code ? bitnet::result<std::size_t>(failed(name, "its last line cannot be cut off: " + code.message()))
                : bitnet::result<std::size_t>(lines);
}

/// How far it is, on stderr, once a second.
class progress {
public:
    progress(std::size_t kept, std::uintmax_t bytes) : kept_(kept), bytes_(bytes) {}

    void skipped(std::size_t bytes) noexcept { skipped_ += bytes; }
    void done(std::size_t bytes) {
        ++lines_;
        done_ += bytes;
        const auto now = clock::now();
        if (now - told_ >= std::chrono::seconds(1)) {
            told_ = now;
            tell();
        }
    }
    void tell() const {
        const double seconds = std::chrono::duration<double>(clock::now() - start_).count();
        const double rate = static_cast<double>(lines_) / (std::max)(seconds, 1e-9);
        const auto left = static_cast<double>(bytes_ - (std::min)(bytes_, skipped_ + done_));
        std::fprintf(stderr, "%zu answers, %.1f a second", kept_ + lines_, rate);
        if (bytes_ != 0 && done_ != 0) {
            std::fprintf(stderr, ", %.0f s left", left * seconds / static_cast<double>(done_));
        }
        std::fputc('\n', stderr);
    }
    [[nodiscard]] std::size_t lines() const noexcept { return lines_; }

private:
    using clock = std::chrono::steady_clock;

    std::size_t kept_;
    std::uintmax_t bytes_; ///< of all requests
    std::uintmax_t skipped_ = 0;
    std::uintmax_t done_ = 0;
    std::size_t lines_ = 0;
    clock::time_point start_ = clock::now();
    clock::time_point told_ = start_;
};

/// A request that was sent.
struct asked {
    std::shared_ptr<line_reply> reply;
    std::size_t bytes;
};

std::string line_of(std::size_t number, const server::api_reply& reply) {
    tools::json_writer json;
    json.begin('{');
    json.member("line", number);
    json.member("status", reply.status);
    json.name("body");
    json.raw(reply.body);
    json.end('}');
    return json.text() + "\n";
}

bitnet::result<void> run_all(const settings& chosen, server::engine& engine) {
    const bool is_pipe = chosen.out == "-";
    const auto kept = is_pipe ? bitnet::result<std::size_t>(0) : lines_kept(chosen.out);
    if (!kept) {
        return kept.error();
    }
    std::ifstream in_file;
    if (chosen.in != "-") {
        in_file.open(tools::utf8_path(chosen.in), std::ios::binary);
    }
    std::istream& in = chosen.in != "-" ? static_cast<std::istream&>(in_file) : std::cin;
    if (chosen.in != "-" && !in_file.is_open()) {
        return failed(chosen.in, "cannot be opened");
    }
    std::ofstream out_file;
    if (!is_pipe) {
        out_file.open(tools::utf8_path(chosen.out), std::ios::binary | std::ios::app);
    }
    std::ostream& out = is_pipe ? std::cout : static_cast<std::ostream&>(out_file);
    if (!is_pipe && !out_file.is_open()) {
        return failed(chosen.out, "cannot be written");
    }
    std::error_code ignored;
    const auto size = std::filesystem::file_size(tools::utf8_path(chosen.in), ignored);
    progress told(*kept, ignored ? 0 : size);
    std::deque<asked> running;
    std::size_t number = *kept;
    const auto write_first = [&]() -> bitnet::result<void> {
        out << line_of(++number, running.front().reply->wait()) << std::flush;
        told.done(running.front().bytes);
        running.pop_front();
        return out ? bitnet::result<void>() : failed(chosen.out, "takes no more bytes");
    };
    std::size_t read = 0;
    for (std::string line; std::getline(in, line);) {
        if (++read <= *kept) {
            told.skipped(line.size() + 1);
            continue;
        }
        if (running.size() == 2 * chosen.engine.parallel) {
            if (auto written = write_first(); !written) {
                return written;
            }
        }
        running.push_back({std::make_shared<line_reply>(), line.size() + 1});
        server::answer({"POST", path_for(line), line}, engine, {}, running.back().reply);
    }
    if (read < *kept) {
        return failed(chosen.out, "has " + std::to_string(*kept) + " answers, and " + chosen.in + " only " +
                                      std::to_string(read) + " requests");
    }
    while (!running.empty()) {
        if (auto written = write_first(); !written) {
            return written;
        }
    }
    told.tell();
    return {};
}

int run(settings& chosen) {
    chosen.engine.queue = 4 * chosen.engine.parallel; // more than are ever sent
    auto engine = server::open_engine(chosen.model, {}, chosen.engine);
    if (!engine) {
        return tools::fail(program, engine.error().message);
    }
    const auto done = run_all(chosen, **engine);
    return done ? 0 : tools::fail(program, done.error().message);
}

} // namespace

int main(int argc, char** argv) {
    tools::use_binary_streams();
    tools::options options(std::string(program), "Answers requests of OpenAI's interface from a file, a line each.");
    settings chosen;
    chosen.add_to(options);
    if (const auto status = options.read(argc, argv)) {
        return *status;
    }
    return run(chosen);
}
