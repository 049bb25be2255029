// SPDX-License-Identifier: MIT
// bitnet-logits: the logits after the last of some tokens, or after each, as raw little-endian float32.
#include "model_options.hpp"
#include "streams.hpp"

#include <bitnet/any.hpp>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace {

constexpr std::string_view program = "bitnet-logits";

/// "1,2,3" as tokens. \return false where it is anything else.
bool parse_ids(std::string_view text, std::vector<bitnet::token>& ids) {
    const char* at = text.data();
    const char* const end = at + text.size();
    for (;;) {
        bitnet::token id = 0;
        const auto read = std::from_chars(at, end, id);
        if (read.ec != std::errc{}) {
            return false;
        }
        ids.push_back(id);
        if (read.ptr == end) {
            return true;
        }
        if (*read.ptr != ',') {
            return false;
        }
        at = read.ptr + 1;
    }
}

/// The library runs on little-endian machines only, so floats are written as they are.
bool put(std::span<const float> logits) {
    return tools::put({reinterpret_cast<const char*>(logits.data()), logits.size_bytes()});
}

bitnet::result<bool> write_logits(bitnet::any_session& session, std::span<const bitnet::token> ids, bool all) {
    bool written = true;
    if (all) {
        const auto fed = session.feed_each(
            ids, [&](std::size_t, std::span<const float> logits) { written = written && put(logits); });
        return fed ? bitnet::result<bool>(written) : bitnet::error{fed.error()};
    }
    if (const auto fed = session.feed(ids); !fed) {
        return bitnet::error{fed.error()};
    }
    const auto logits = session.logits();
    return logits ? bitnet::result<bool>(put(*logits)) : bitnet::error{logits.error()};
}

int run(const tools::model_options& chosen, std::span<const bitnet::token> ids, bool all) {
    auto opening = chosen.to_open();
    opening.load_tokenizer = false;
    const auto model = tools::open_model(chosen.file, opening, chosen.isa, chosen.kv);
    if (!model) {
        return tools::fail(program, model.error().message);
    }
    auto options = chosen.to_session();
    options.context = std::max(ids.size(), chosen.context);
    auto session = bitnet::any_session::open(*model, options);
    if (!session) {
        return tools::fail(program, session.error().message);
    }
    const auto written = write_logits(*session, ids, all);
    if (!written) {
        return tools::fail(program, written.error().message);
    }
    return *written ? 0 : tools::fail(program, "stdout takes no more bytes");
}

} // namespace

int main(int argc, char** argv) {
    tools::use_binary_streams();
    tools::options options(std::string(program),
                           "Writes the logits after the last token, [vocabulary] float32, little-endian, to stdout.");
    tools::model_options chosen;
    std::string list;
    bool all = false;
    chosen.add_file(options);
    options.required("--ids", "ID,ID...", list, "the tokens, BOS included where the model wants it");
    options.flag("--all", all, "after each token: [tokens, vocabulary]");
    chosen.head = "as-stored"; // all logits are read
    options.number<std::size_t>("-c", "CTX", chosen.context, 1, tools::model_options::most_context,
                                "positions of the context: longrope chooses its factors by them", "the tokens");
    chosen.add_running(options);
    chosen.add_reading(options);
    if (const auto status = options.read(argc, argv)) {
        return *status;
    }
    std::vector<bitnet::token> ids;
    if (!parse_ids(list, ids)) {
        return options.refuse("--ids takes integers with commas between them, such as 1,2,3, not '" + list + "'");
    }
    return run(chosen, ids, all);
}
