// SPDX-License-Identifier: MIT
// bench-convert IN OUT.gguf: converts a model to every layout with two threads, five times each, and tells the median
// of input read per second and the most anonymous memory; fails where that is more than 256 MB. bench-convert --packed
// FILE.gguf FOLDER: writes bitnet-bench's synthetic 2b4t as a packed Hugging Face checkpoint.
#include "../golden/checkpoint_writer.hpp"
#include "synthetic_model.hpp"

#include <bitnet/checkpoint/open_model_file.hpp>
#include <bitnet/convert/checkpoint_converter.hpp>
#include <bitnet/io/byte_source.hpp>
#include <bitnet/thread/thread_pool.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace {

int fail(const std::string& sentence) {
    std::fprintf(stderr, "bench-convert: %s\n", sentence.c_str());
    return 1;
}

/// Resident memory that no file backs, in bytes; 0 where the system does not tell.
std::uint64_t anonymous_bytes() {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);) {
        if (line.starts_with("RssAnon:")) {
            return std::strtoull(line.c_str() + 8, nullptr, 10) * 1024;
        }
    }
    return 0;
}

int write_packed(const char* from, const char* folder) {
    const auto source = bitnet::byte_source::open(from);
    if (!source) {
        return fail(source.error().message);
    }
    std::filesystem::create_directories(folder);
    bitnet_tests::checkpoint_of(source->bytes(), bitnet_tests::find_synthetic_shape("2b4t")->model).write(folder);
    return 0;
}

struct measurement {
    double seconds = 0;
    std::uint64_t most_anonymous = 0;
};

bitnet::result<measurement> convert(const char* in, const char* out, std::string_view layout) {
    measurement made;
    const auto start = std::chrono::steady_clock::now();
    const auto source = bitnet::model_file::open(in, {.load_tokenizer = false});
    auto pool = bitnet::thread_pool::open(2);
    if (!source || !pool) {
        return source ? pool.error() : source.error();
    }
    const auto look = [](void* most, std::uint64_t, std::uint64_t) noexcept {
        auto& known = *static_cast<std::uint64_t*>(most);
        known = std::max(known, anonymous_bytes());
        return true;
    };
    const bitnet::conversion_options options{.layout = layout, .progress = {look, &made.most_anonymous}};
    auto converter = bitnet::checkpoint_converter::open(source->gguf(), options, **pool);
    if (!converter) {
        return converter.error();
    }
    if (const auto written = (*converter)->write_file(out); !written) {
        return written.error();
    }
    made.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return made;
}

int measure(const char* in, const char* out) {
    const auto source = bitnet::model_file::open(in, {.load_tokenizer = false});
    if (!source) {
        return fail(source.error().message);
    }
    std::uint64_t most = 0;
    for (const auto& encoding : bitnet::ternary_encodings) {
        std::array<double, 5> seconds{};
        for (double& time : seconds) {
            const auto done = convert(in, out, encoding.name);
            if (!done) {
                return fail(done.error().message);
            }
            time = done->seconds;
            most = std::max(most, done->most_anonymous);
        }
        std::ranges::sort(seconds);
        const auto rate = [&](double time) { return static_cast<double>(source->size()) / 1e6 / time; };
        std::printf("%-8s %5.0f MB/s of input (%.0f to %.0f)\n", std::string(encoding.name).c_str(), rate(seconds[2]),
                    rate(seconds[4]), rate(seconds[0]));
    }
    constexpr std::uint64_t bound = std::uint64_t{256} << 20;
    std::printf("anonymous memory: %.1f MB at the most, bound %.1f MB\n", static_cast<double>(most) / 1e6,
                static_cast<double>(bound) / 1e6);
    return most <= bound ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
    if (argc == 4 && std::string_view(argv[1]) == "--packed") {
        return write_packed(argv[2], argv[3]);
    }
    if (argc != 3) {
        std::fprintf(stderr, "usage: bench-convert IN OUT.gguf, or bench-convert --packed FILE.gguf FOLDER\n");
        return 2;
    }
    return measure(argv[1], argv[2]);
}
