// SPDX-License-Identifier: MIT
// Arguments VOCABULARY.gguf CASES.jsonl: how long masks take, for every token of every instance of every schema.
// A line: {"schema_text":"...","cases":[{"instance_text":"..."}...]}.
#include "mask_times.hpp"

#include <bitnet/constrain/json_schema.hpp>
#include <bitnet/constrain/token_constraint.hpp>
#include <bitnet/constrain/token_trie.hpp>
#include <bitnet/io/byte_source.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/json.hpp>
#include <bitnet/text/open_tokenizer.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

namespace {

void report(const char* name, std::vector<double> all) {
    if (all.empty()) {
        return;
    }
    std::sort(all.begin(), all.end());
    double sum = 0;
    for (const double one : all) {
        sum += one;
    }
    const auto at = [&](double share) { return bench::at_share(all, share); };
    std::printf("%s: %zu, mean %.1f us, p50 %.1f, p90 %.1f, p99 %.1f, p99.9 %.1f, worst %.1f\n", name, all.size(),
                sum / static_cast<double>(all.size()), at(0.5), at(0.9), at(0.99), at(0.999), all.back());
}

/// Feeds one text, as far as it is allowed.
void feed(bitnet::token_constraint& constraint, const bitnet::tokenizer& text, std::string_view instance,
          std::vector<double>& masks, std::vector<double>& first) {
    const auto ids = text.encode(instance);
    constraint.restart();
    const std::size_t before = masks.size();
    if (ids) {
        bench::add_mask_times(constraint, *ids, masks);
    }
    if (masks.size() != before) {
        first.push_back(masks[before]);
    }
}

} // namespace

int main(int argc, char** argv) {
    if (argc != 3) {
        std::printf("VOCABULARY.gguf and CASES.jsonl are expected\n");
        return 2;
    }
    const auto source = bitnet::byte_source::open(argv[1]);
    const auto file = source ? bitnet::gguf_file::parse(source->bytes(), argv[1]) : bitnet::failed(source);
    const auto text = file ? bitnet::tokenizer::open(*file) : bitnet::failed(file);
    if (!text) {
        std::printf("%s\n", text.error().message.c_str());
        return 1;
    }
    std::vector<double> tries;
    for (int i = 0; i < 5; ++i) {
        tries.push_back(bench::microseconds([&] { static_cast<void>(bitnet::token_trie::open(*text)); }));
    }
    report("tries", tries);
    const auto trie = bitnet::token_trie::open(*text);
    std::vector<double> masks;
    std::vector<double> first;
    std::vector<double> opened;
    std::ifstream lines(argv[2]);
    for (std::string line; trie && std::getline(lines, line);) {
        const auto json = bitnet::json_document::parse(line, argv[2]);
        const auto schema = json ? json->root().find("schema_text") : std::nullopt;
        const auto grammar = schema ? bitnet::grammar::json_schema(schema->as_string().value_or(""))
                                    : bitnet::error{bitnet::errc::bad_json, ""};
        if (!grammar) {
            continue;
        }
        bitnet::constraint_options masks_alone;
        masks_alone.forced = bitnet::forced_text::off;
        auto constraint = bitnet::token_constraint::open(*grammar, *trie, masks_alone);
        opened.push_back(
            bench::microseconds([&] { static_cast<void>(bitnet::token_constraint::open(*grammar, *trie)); }));
        for (const auto one : json->root().find("cases")->elements()) {
            if (const auto instance = one.find("instance_text"); constraint && instance) {
                feed(*constraint, *text, instance->as_string().value_or(""), masks, first);
            }
        }
    }
    report("masks", masks);
    report("first masks", first);
    report("constraints opened", opened);
}
