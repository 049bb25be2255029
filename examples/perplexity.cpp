// SPDX-License-Identifier: MIT
// bitnet-perplexity: how well a model predicts a text. The text is encoded without BOS and cut into chunks of one less
// than the context; each is fed after a BOS from an empty cache, and all of its tokens are scored.
#include "model_options.hpp"
#include "streams.hpp"

#include <bitnet/any.hpp>
#include <bitnet/io/byte_source.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numbers>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr std::string_view program = "bitnet-perplexity";

/// -log of the probability that softmax(logits) gives `id`.
double negative_log_likelihood(std::span<const float> logits, bitnet::token id) {
    const double largest = *std::max_element(logits.begin(), logits.end());
    double sum = 0;
    for (const float logit : logits) {
        sum += std::exp(static_cast<double>(logit) - largest);
    }
    return std::log(sum) + largest - static_cast<double>(logits[static_cast<std::size_t>(id)]);
}

/// The sum over all tokens of `ids`, in nats.
bitnet::result<double> score(bitnet::any_session& session, bitnet::token bos, std::span<const bitnet::token> ids) {
    const std::size_t chunk = session.context() - 1;
    const bool watched = tools::stderr_is_terminal();
    double total = 0;
    std::vector<bitnet::token> fed;
    for (std::size_t begin = 0; begin < ids.size(); begin += chunk) {
        const auto scored = ids.subspan(begin, std::min(chunk, ids.size() - begin));
        fed.assign(1, bos);
        fed.insert(fed.end(), scored.begin(), scored.end() - 1);
        session.reset();
        const auto done = session.feed_each(fed, [&](std::size_t i, std::span<const float> logits) {
            total += negative_log_likelihood(logits, scored[i]);
        });
        if (!done) {
            return bitnet::error{done.error()};
        }
        const std::size_t end = begin + scored.size();
        if (watched) {
            std::fprintf(stderr, "\r%zu of %zu tokens, perplexity %.3f ", end, ids.size(),
                         std::exp(total / static_cast<double>(end)));
            std::fflush(stderr);
        }
    }
    if (watched) {
        std::fputs("\n", stderr);
    }
    return total;
}

bitnet::result<std::vector<bitnet::token>> encode(const bitnet::any_model& model, const bitnet::byte_source& text) {
    if (!model.text().bos()) {
        return bitnet::error{bitnet::errc::missing_key, model.file().name() +
                                                            ": there is no BOS token, and every chunk "
                                                            "has to begin with one"};
    }
    const auto bytes = text.bytes();
    return model.text().encode({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

int run(const tools::model_options& chosen, const std::string& path) {
    const auto text = bitnet::byte_source::open(path);
    if (!text) {
        return tools::fail(program, text.error().message);
    }
    const auto model = tools::open_model(chosen.file, chosen.to_open(), chosen.isa, chosen.kv);
    if (!model) {
        return tools::fail(program, model.error().message);
    }
    for (const std::string& note : model->notes()) {
        std::fprintf(stderr, "note: %s\n", note.c_str());
    }
    const auto ids = encode(*model, *text);
    if (!ids) {
        return tools::fail(program, ids.error().message);
    }
    auto session = bitnet::any_session::open(*model, chosen.to_session());
    if (!session) {
        return tools::fail(program, session.error().message);
    }
    if (session->context() < 2) {
        return tools::fail(program, "a context of 1 position has no room for a token after BOS");
    }
    const auto total = score(*session, *model->text().bos(), *ids);
    if (!total) {
        return tools::fail(program, total.error().message);
    }
    const auto count = static_cast<double>(ids->size());
    const auto bytes = static_cast<double>(text->bytes().size());
    std::printf("tokens %zu\nbytes %zu\ncontext %zu\nmean negative log likelihood %.6f\nperplexity %.4f\n"
                "bits per byte %.5f\n",
                ids->size(), text->bytes().size(), session->context(), *total / count, std::exp(*total / count),
                *total / std::numbers::ln2 / bytes);
    return std::fflush(stdout) == 0 ? 0 : tools::fail(program, "stdout takes no more bytes");
}

} // namespace

int main(int argc, char** argv) {
    tools::options options(std::string(program),
                           "Scores every token of a text, cut into chunks of CTX - 1 after a BOS token each.");
    tools::model_options chosen;
    std::string path;
    chosen.add_file(options);
    options.required("-f", "TEXT", path, "the text, a UTF-8 file");
    chosen.add_context(options, 2);
    chosen.head = "as-stored"; // the logits of every token are read
    chosen.add_running(options);
    chosen.add_text(options);
    chosen.add_reading(options);
    if (const auto status = options.read(argc, argv)) {
        return *status;
    }
    return run(chosen, path);
}
