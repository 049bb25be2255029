// SPDX-License-Identifier: MIT
// bitnet-perplexity: how well a model predicts a text. The text is encoded without BOS and cut into chunks of one less
// than the context; each is fed after a BOS from an empty cache, and all of its tokens are scored. With --when-full it
// is one sequence after one BOS instead, and other things happen where the context is full.
#include "model_options.hpp"
#include "streams.hpp"

#include <bitnet/any.hpp>
#include <bitnet/io/byte_source.hpp>

#include <algorithm>
#include <array>
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

constexpr std::array<std::string_view, 3> when_full_words{"restart", "again", "window"};

/// What was scored so far.
class running_score {
public:
    explicit running_score(std::size_t all) : all_(all) {}
    ~running_score() {
        if (is_watched_) {
            std::fputs("\n", stderr);
        }
    }
    running_score(const running_score&) = delete;
    running_score& operator=(const running_score&) = delete;

    void add(std::span<const float> logits, bitnet::token id) {
        total_ += negative_log_likelihood(logits, id);
        ++count_;
    }
    void show() const {
        if (is_watched_) {
            std::fprintf(stderr, "\r%zu of %zu tokens, perplexity %.3f ", count_, all_,
                         std::exp(total_ / static_cast<double>(count_)));
            std::fflush(stderr);
        }
    }
    /// In nats.
    [[nodiscard]] double total() const { return total_; }

private:
    bool is_watched_ = tools::stderr_is_terminal();
    std::size_t all_;
    std::size_t count_ = 0;
    double total_ = 0;
};

/// Scores all of `ids` as one sequence after a BOS. What is full has a window, or else begins anew with a BOS and the
/// last three quarters.
bitnet::result<double> score_as_one(bitnet::any_session& session, bitnet::token bos, std::span<const bitnet::token> ids,
                                    bool has_window) {
    std::vector<bitnet::token> fed(1, bos);
    fed.insert(fed.end(), ids.begin(), ids.end() - 1);
    running_score score(ids.size());
    for (std::size_t begin = 0; begin < fed.size();) {
        if (!has_window && session.position() == session.context()) {
            const std::size_t kept = session.context() / 4 * 3;
            session.reset();
            const auto told = session.feed(std::span(fed).first(1));
            const auto again = told ? session.feed(std::span(fed).subspan(begin - kept, kept)) : told;
            if (!again) {
                return bitnet::error{again.error()};
            }
        }
        const std::size_t room = has_window ? session.context() : session.context() - session.position();
        const auto part = std::span(fed).subspan(begin, std::min(room, fed.size() - begin));
        const auto done = session.feed_each(
            part, [&](std::size_t i, std::span<const float> logits) { score.add(logits, ids[begin + i]); });
        if (!done) {
            return bitnet::error{done.error()};
        }
        begin += part.size();
        score.show();
    }
    return score.total();
}

/// Scores `ids` in chunks, each after a BOS from an empty cache.
bitnet::result<double> score_chunks(bitnet::any_session& session, bitnet::token bos,
                                    std::span<const bitnet::token> ids) {
    const std::size_t chunk = session.context() - 1;
    running_score score(ids.size());
    std::vector<bitnet::token> fed;
    for (std::size_t begin = 0; begin < ids.size(); begin += chunk) {
        const auto scored = ids.subspan(begin, std::min(chunk, ids.size() - begin));
        fed.assign(1, bos);
        fed.insert(fed.end(), scored.begin(), scored.end() - 1);
        session.reset();
        const auto done =
            session.feed_each(fed, [&](std::size_t i, std::span<const float> logits) { score.add(logits, scored[i]); });
        if (!done) {
            return bitnet::error{done.error()};
        }
        score.show();
    }
    return score.total();
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

int run(const tools::model_options& chosen, const std::string& path, const std::string& when_full) {
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
    bitnet::session_options of_session = chosen.to_session();
    of_session.window = when_full == "window";
    auto session = bitnet::any_session::open(*model, of_session);
    if (!session) {
        return tools::fail(program, session.error().message);
    }
    if (session->context() < 2) {
        return tools::fail(program, "a context of 1 position has no room for a token after BOS");
    }
    const auto total = when_full == "restart" || ids->empty()
                           ? score_chunks(*session, *model->text().bos(), *ids)
                           : score_as_one(*session, *model->text().bos(), *ids, of_session.window);
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
    tools::options options(
        std::string(program),
        "Scores every token of a text, cut into chunks of CTX - 1 after a BOS token each, or as one.");
    tools::model_options chosen;
    std::string path;
    chosen.add_file(options);
    options.required("-f", "TEXT", path, "the text, a UTF-8 file");
    chosen.add_context(options, 2);
    std::string when_full = "restart";
    options.choice("--when-full", when_full_words, when_full,
                   "restart: chunks, each from nothing; again: one sequence, whose last three quarters are read again "
                   "after a BOS when the context is full; window: one sequence through a window with sinks");
    chosen.head = "as-stored"; // the logits of every token are read
    chosen.add_running(options);
    chosen.add_text(options);
    chosen.add_reading(options);
    if (const auto status = options.read(argc, argv)) {
        return *status;
    }
    return run(chosen, path, when_full);
}
