// SPDX-License-Identifier: MIT
// bench-open-model FILE: how long a model takes to open and how much memory it takes to run; fails where that is more
// than the KV cache and 64 MB beside the mapped file.
#include "ladder.hpp"

#include <bitnet/run/open_model.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

namespace {

double milliseconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

/// Resident memory that no file backs, in bytes; nothing where the system does not tell.
std::optional<std::uint64_t> anonymous_bytes() {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);) {
        if (line.starts_with("RssAnon:")) {
            return std::strtoull(line.c_str() + 8, nullptr, 10) * 1024;
        }
    }
    return std::nullopt;
}

/// Median of five openings.
std::optional<double> opening_time(const char* path, bool load_tokenizer) {
    std::array<double, 5> times{};
    for (double& time : times) {
        const auto start = std::chrono::steady_clock::now();
        const auto model = tools::open_model(path,
                                             {.load_tokenizer = load_tokenizer,
                                              .pages = bitnet::page_mode::mapped,
                                              .lm_head = bitnet::lm_head_mode::as_stored},
                                             {}, "f16");
        time = milliseconds_since(start);
        if (!model) {
            std::fprintf(stderr, "%s\n", model.error().message.c_str());
            return std::nullopt;
        }
    }
    std::sort(times.begin(), times.end());
    return times[2];
}

/// Runs 64 tokens of prompt and 8 more. \return the exit status.
int check_memory(const char* path) {
    const auto model = tools::open_model(
        path, {.pages = bitnet::page_mode::mapped, .lm_head = bitnet::lm_head_mode::as_stored}, {}, "f16");
    auto session = model ? bitnet::any_session::open(*model, {.threads = 2, .stop_at_stop_tokens = false})
                         : bitnet::result<bitnet::any_session>(model.error());
    if (!session) {
        std::fprintf(stderr, "%s\n", session.error().message.c_str());
        return 1;
    }
    auto choose = bitnet::sampler::open(bitnet::sampler_options::greedy(), model->parameters().vocabulary);
    const std::vector<bitnet::token> prompt(64, 1);
    bool ran = choose && session->feed(prompt);
    for (int i = 0; i < 8; ++i) {
        ran = ran && session->next(*choose);
    }
    if (!ran) {
        std::fprintf(stderr, "%s\n", session->last_error().message.c_str());
        return 1;
    }
    const std::uint64_t kv =
        bitnet::detail::kv_cache::bytes(model->parameters(), sizeof(bitnet::half), false, session->context());
    const std::uint64_t bound = kv + (std::uint64_t{64} << 20);
    const auto anonymous = anonymous_bytes();
    std::printf("KV cache of %zu positions: %.1f MB\n", session->context(), static_cast<double>(kv) / 1e6);
    if (!anonymous) {
        std::printf("anonymous memory: this system does not tell\n");
        return 0;
    }
    std::printf("anonymous memory after %zu tokens: %.1f MB, bound %.1f MB\n", session->position(),
                static_cast<double>(*anonymous) / 1e6, static_cast<double>(bound) / 1e6);
    return *anonymous <= bound ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: bench-open-model FILE\n");
        return 2;
    }
    const auto without = opening_time(argv[1], false);
    const auto with = opening_time(argv[1], true);
    if (!without || !with) {
        return 1;
    }
    std::printf("opening: %.1f ms without tokenizer, %.1f ms with it\n", *without, *with);
    return check_memory(argv[1]);
}
