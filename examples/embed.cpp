// SPDX-License-Identifier: MIT
// Compares texts by their embeddings. Meant for text embedding models; any other model has a last hidden state, too,
// which is not trained for this.
#include "value.hpp"

#include <bitnet/any.hpp>

#include <cstdio>
#include <numeric>
#include <string_view>
#include <vector>

int main(int argc, char** argv) {
    const auto model = value(bitnet::any_model::open(argc > 1 ? argv[1] : "examples/models/tiny.gguf"));
    auto session = value(bitnet::any_session::open(model, {.context = 128, .threads = 2}));

    const auto embed = [&](std::string_view text) {
        const auto tokens = value(bitnet::tokens_to_embed(model, text));
        const auto embedding = value(session.embed(tokens)); // of length one, valid until the next call
        return std::vector<float>(embedding.begin(), embedding.end());
    };
    const auto query = embed("The king lived in a castle.");
    for (const std::string_view text : {"The queen lived in a palace.", "Put the bread into the oven!"}) {
        const auto other = embed(text);
        std::printf("%.3f  %s\n", std::inner_product(query.begin(), query.end(), other.begin(), 0.0), text.data());
    }
}
