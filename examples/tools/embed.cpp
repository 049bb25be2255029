// SPDX-License-Identifier: MIT
// bitnet-embed: the embedding of each line of stdin, as a JSON array of numbers on a line of its own.
#include "json_writer.hpp"
#include "model_options.hpp"
#include "streams.hpp"

#include <bitnet/any.hpp>

#include <array>
#include <cstddef>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>

namespace {

constexpr std::string_view program = "bitnet-embed";

/// nullopt: as the file says.
std::optional<bitnet::pooling_type> pooling_of(std::string_view word) {
    return word == "mean"   ? std::optional(bitnet::pooling_type::mean)
           : word == "last" ? std::optional(bitnet::pooling_type::last)
                            : std::nullopt;
}

bitnet::result<std::string> embedding_of(const bitnet::any_model& model, bitnet::any_session& session,
                                         std::string_view text) {
    const auto tokens = bitnet::tokens_to_embed(model, text);
    if (!tokens) {
        return bitnet::error{tokens.error()};
    }
    const auto embedding = session.embed(*tokens);
    if (!embedding) {
        return bitnet::error{embedding.error()};
    }
    tools::json_writer json;
    json.begin('[');
    for (const float value : *embedding) {
        json.value(value);
    }
    json.end(']');
    return json.text();
}

int run(const tools::model_options& chosen, std::string_view pooling) {
    const auto model = tools::open_model(chosen.file, chosen.to_open(), chosen.isa, chosen.kv);
    if (!model) {
        return tools::fail(program, model.error().message);
    }
    for (const std::string& note : model->notes()) {
        std::fprintf(stderr, "note: %s\n", note.c_str());
    }
    auto options = chosen.to_session();
    options.pooling = pooling_of(pooling);
    auto session = bitnet::any_session::open(*model, options);
    if (!session) {
        return tools::fail(program, session.error().message);
    }
    std::size_t number = 0;
    for (std::string line; tools::read_line(line);) {
        ++number;
        if (line.ends_with('\r')) {
            line.pop_back();
        }
        const auto made = embedding_of(*model, *session, line);
        if (!made) {
            return tools::fail(program, "standard input: line " + std::to_string(number) + ": " + made.error().message);
        }
        if (!tools::put(*made + "\n")) {
            return tools::fail(program, "stdout takes no more bytes");
        }
    }
    return 0;
}

} // namespace

int main(int argc, char** argv) {
    tools::use_binary_streams();
    tools::options options(std::string(program),
                           "Writes the embedding of each line of stdin, of length one, as a JSON array.");
    tools::model_options chosen;
    std::string pooling = "file";
    chosen.add_file(options);
    constexpr std::array<std::string_view, 3> poolings{"file", "mean", "last"};
    options.choice("--pooling", poolings, pooling, "what is made one vector of: all states or the last one");
    chosen.add_context(options, 1);
    chosen.head = "as-stored"; // no logits are read
    chosen.add_running(options);
    chosen.add_text(options);
    chosen.add_reading(options);
    if (const auto status = options.read(argc, argv)) {
        return *status;
    }
    return run(chosen, pooling);
}
