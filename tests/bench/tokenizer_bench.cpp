// SPDX-License-Identifier: MIT
// Arguments VOCABULARY.gguf [TEXT]: how long opening takes, and how many MB/s encode() and decode() make.
#include <bitnet/io/byte_source.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/text/open_tokenizer.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

namespace {

/// The shortest of five runs, in seconds: other programs can only make a run longer.
template <class Work> double best_seconds(Work work) {
    double best = 1e9;
    for (int run = 0; run < 5; ++run) {
        const auto start = std::chrono::steady_clock::now();
        work();
        best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    return best;
}

void report(const bitnet::tokenizer& t, const char* name, const std::string& text) {
    std::vector<bitnet::token> tokens;
    const double encoding = best_seconds([&] {
        tokens.clear();
        if (auto done = t.encode(text, tokens); !done) {
            std::printf("%s\n", done.error().message.c_str());
        }
    });
    std::string back;
    const double decoding = best_seconds([&] { back = t.decode(tokens); });
    const double megabytes = static_cast<double>(text.size()) / 1e6;
    std::printf("%-22s %6.2f MB %8zu tokens   encode %7.1f MB/s (%.3f s)   decode %7.1f MB/s%s\n", name, megabytes,
                tokens.size(), megabytes / encoding, encoding, megabytes / decoding,
                back == text ? "" : "   DIFFERS AFTER DECODING");
}

std::string repeated(std::string_view unit, std::size_t size) {
    std::string text;
    while (text.size() < size && !unit.empty()) {
        text += unit;
    }
    return text;
}

/// Words of the vocabulary, frequent ones more often (the n-th about 1/n of the time), with some punctuation: no
/// natural language, but as little repetition as one.
std::string words(const bitnet::tokenizer& t, std::size_t size) {
    std::vector<std::string_view> list;
    for (bitnet::token id = 0; t.contains(id) && list.size() < 30000; ++id) {
        const std::string_view word = t.bytes_of(id);
        const bool letters = word.size() > 2 && word[0] == ' ' &&
                             std::all_of(word.begin() + 1, word.end(), [](char c) { return c >= 'a' && c <= 'z'; });
        if (letters) {
            list.push_back(word);
        }
    }
    std::string text;
    for (std::uint64_t state = 1; text.size() < size && !list.empty();) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        const auto number = static_cast<double>(state >> 11) / 9007199254740992.0; // 2^53: uniform in [0, 1)
        const double place = std::pow(static_cast<double>(list.size()), number) - 1;
        text += list[std::min(static_cast<std::size_t>(place), list.size() - 1)];
        if ((state >> 60) == 0) {
            text += (state >> 59 & 1) != 0 ? ".\n" : ",";
        }
    }
    return text;
}

} // namespace

int main(int argc, char** argv) {
    if (argc < 2) {
        std::printf("usage: %s VOCABULARY.gguf [TEXT]\n", argv[0]);
        return 2;
    }
    const auto source = bitnet::byte_source::open(argv[1]);
    if (!source) {
        std::printf("%s\n", source.error().message.c_str());
        return 1;
    }
    const auto open = [&]() -> bitnet::result<bitnet::tokenizer> {
        const auto file = bitnet::gguf_file::parse(source->bytes(), argv[1]);
        return file ? bitnet::tokenizer::open(*file) : bitnet::result<bitnet::tokenizer>(bitnet::error{file.error()});
    };
    const auto t = open();
    if (!t) {
        std::printf("%s\n", t.error().message.c_str());
        return 1;
    }
    const double seconds = best_seconds([&] { static_cast<void>(open()); });
    std::printf("open: %zu tokens in %.1f ms\n", t->vocabulary_size(), 1e3 * seconds);
    constexpr std::size_t ten_megabytes = 10'000'000;
    if (argc > 2) {
        std::ifstream in(argv[2], std::ios::binary);
        const std::string text(std::istreambuf_iterator<char>(in), {});
        report(*t, "text", repeated(text, ten_megabytes));
    }
    report(*t, "words", words(*t, ten_megabytes));
    report(*t, "one letter", std::string(1'000'000, 'a'));
    report(*t, "spaces", std::string(1'000'000, ' '));
    report(*t, "line ends and spaces", repeated(" \n ", 1'000'000));
    report(*t, "random letters", [] {
        std::string text(1'000'000, 'a');
        std::uint64_t state = 2;
        for (char& c : text) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            c = static_cast<char>('a' + (state >> 40) % 26);
        }
        return text;
    }());
    return 0;
}
