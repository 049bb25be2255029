// SPDX-License-Identifier: MIT
#include "schema.hpp"

#include "../mask_times.hpp"

#include <bitnet/constrain/constrained_chooser.hpp>
#include <bitnet/constrain/json_schema.hpp>
#include <bitnet/constrain/matcher.hpp>
#include <bitnet/constrain/token_constraint.hpp>
#include <bitnet/constrain/token_trie.hpp>
#include <bitnet/run/any_session.hpp>
#include <bitnet/run/sampler.hpp>
#include <bitnet/text/tokenizer.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bench {
namespace {

using clock = std::chrono::steady_clock;

/// A text that a model is to write, and the tokens that it writes it with from each of its bytes on.
class script {
public:
    [[nodiscard]] static bitnet::result<script> open(const bitnet::tokenizer& text, std::string_view answer) {
        script made;
        for (std::size_t at = 0; at < answer.size(); ++at) {
            const auto rest = text.encode(answer.substr(at));
            if (!rest) {
                return bitnet::failed(rest);
            }
            made.next_.push_back(rest->front());
        }
        if (text.stop_tokens().empty()) {
            return bitnet::error{bitnet::errc::invalid_argument,
                                 "answers end with a stop token, and the model has none"};
        }
        made.next_.push_back(text.stop_tokens().front());
        return made;
    }
    [[nodiscard]] std::size_t bytes() const noexcept { return next_.size() - 1; }
    /// The token with which the text goes on from byte `at`; the stop token at its end.
    [[nodiscard]] bitnet::token from(std::size_t at) const noexcept { return next_[std::min(at, bytes())]; }

private:
    std::vector<bitnet::token> next_;
};

/// Does all that a sampler does, and then takes the token of the script, if there is one: what a model costs that
/// writes this text.
class reciter {
public:
    reciter(bitnet::sampler& inner, const bitnet::tokenizer& text, const script* told) noexcept
        : inner_(&inner), text_(&text), told_(told) {}

    [[nodiscard]] std::size_t needs() { return inner_->needs(); }
    [[nodiscard]] bitnet::token choose(std::span<const float> all) { return or_told(inner_->choose(all)); }
    [[nodiscard]] bitnet::token choose(std::span<const bitnet::scored_token> largest) {
        const bitnet::token chosen = inner_->choose(largest);
        return largest.size() == 1 ? chosen : or_told(chosen); // the one that is forced
    }
    void accept(bitnet::token id) {
        inner_->accept(id);
        at_ += text_->bytes_of(id).size();
    }

private:
    [[nodiscard]] bitnet::token or_told(bitnet::token chosen) const noexcept {
        return told_ != nullptr ? told_->from(at_) : chosen;
    }

    bitnet::sampler* inner_;
    const bitnet::tokenizer* text_;
    const script* told_;
    std::size_t at_ = 0;
};

/// What one way of writing needs: kept from repetition to repetition, as the cache of masks is.
class writer {
public:
    writer(const bitnet::any_model& model, bitnet::any_session& session, std::size_t limit)
        : model_(&model), session_(&session), limit_(limit) {}

    [[nodiscard]] bitnet::result<void> hold(const bitnet::grammar& grammar, const bitnet::token_trie& trie,
                                            bitnet::forced_text forced) {
        bitnet::constraint_options options;
        options.limit = limit_;
        options.forced = forced;
        auto opened = bitnet::token_constraint::open(grammar, trie, options);
        if (!opened) {
            return std::move(opened).error();
        }
        constraint_.emplace(*std::move(opened));
        return {};
    }

    /// \param told what to write, null: what the model chooses. \param most tokens, where there is no constraint
    /// \return tokens per second; `written` has them then
    [[nodiscard]] bitnet::result<double> write(std::uint64_t seed, const script* told, std::size_t most) {
        auto options = bitnet::sampler_options{};
        options.seed = seed;
        auto sampler = bitnet::sampler::open(options, model_->parameters().vocabulary);
        if (!sampler) {
            return std::move(sampler).error();
        }
        reciter inner(*sampler, model_->text(), told);
        session_->reset();
        constexpr std::array<bitnet::token, 16> prompt{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
        auto fed = session_->feed(prompt);
        if (auto logits = fed ? session_->logits() : bitnet::failed(fed); !logits) {
            return std::move(logits).error();
        }
        written.clear();
        return constraint_ ? write_held(inner) : write_free(inner, most);
    }

    std::vector<bitnet::token> written;
    std::size_t taken = 0; ///< tokens that were forced

private:
    [[nodiscard]] bitnet::result<double> write_free(reciter& choose, std::size_t most) {
        const auto start = clock::now();
        while (written.size() < most) {
            const auto id = session_->next(choose);
            if (!id) {
                return bitnet::error{session_->last_error()};
            }
            written.push_back(*id);
        }
        return rate_since(start);
    }
    [[nodiscard]] bitnet::result<double> write_held(reciter& inner) {
        constraint_->restart();
        auto choose = bitnet::constrained_chooser<reciter>::open(inner, *constraint_);
        if (!choose) {
            return std::move(choose).error();
        }
        const auto start = clock::now();
        while (!constraint_->is_done()) {
            const auto id = session_->next(*choose);
            if (!id) {
                return bitnet::error{session_->last_error()};
            }
            written.push_back(*id);
        }
        const double rate = rate_since(start);
        count_forced();
        return rate;
    }
    /// Which of the tokens were forced, told again.
    void count_forced() {
        constraint_->restart();
        for (const bitnet::token id : written) {
            const auto next = constraint_->forced();
            taken += !next.empty() && next.front() == id ? 1u : 0u;
            static_cast<void>(constraint_->accept(id));
        }
    }
    [[nodiscard]] double rate_since(clock::time_point start) const {
        return static_cast<double>(written.size()) / std::chrono::duration<double>(clock::now() - start).count();
    }

    const bitnet::any_model* model_;
    bitnet::any_session* session_;
    std::size_t limit_;
    std::optional<bitnet::token_constraint> constraint_;
};

/// The masks of one text after another, by a constraint that has none at first.
bitnet::result<void> time_masks(const bitnet::grammar& grammar, const bitnet::token_trie& trie,
                                const std::vector<std::vector<bitnet::token>>& texts, schema_figures& found) {
    bitnet::constraint_options options;
    options.forced = bitnet::forced_text::off;
    auto constraint = bitnet::token_constraint::open(grammar, trie, options);
    if (!constraint) {
        return std::move(constraint).error();
    }
    std::vector<double> times;
    for (const auto& text : texts) {
        constraint->restart();
        add_mask_times(*constraint, text, times);
    }
    std::sort(times.begin(), times.end());
    found.masks = times.size();
    found.p50_us = at_share(times, 0.5);
    found.p99_us = at_share(times, 0.99);
    found.max_us = times.back();
    return {};
}

} // namespace

bitnet::result<schema_figures> measure_schema(const bitnet::any_model& model, std::string_view schema,
                                              const std::vector<std::string>& answers, std::size_t threads,
                                              std::size_t tokens, std::size_t repetitions) {
    const auto grammar = bitnet::grammar::json_schema(schema);
    auto matcher = grammar ? bitnet::matcher::open(*grammar) : bitnet::failed(grammar);
    if (!matcher) {
        return std::move(matcher).error();
    }
    const std::size_t shortest = matcher->shortest_end();
    std::vector<script> scripts;
    for (const std::string& answer : answers) {
        matcher->restart();
        if (matcher->accept(answer) < answer.size() || !matcher->can_end()) {
            return bitnet::error{bitnet::errc::invalid_argument, "the schema does not allow the answer " + answer};
        }
        auto told = script::open(model.text(), answer);
        if (!told) {
            return std::move(told).error();
        }
        scripts.push_back(*std::move(told));
        tokens = std::max(tokens, scripts.back().bytes() + 1);
    }
    const std::size_t limit = std::max(tokens, shortest);
    const auto trie = bitnet::token_trie::open(model.text());
    if (!trie) {
        return bitnet::failed(trie);
    }
    auto session =
        bitnet::any_session::open(model, {.context = limit + 32, .threads = threads, .stop_at_stop_tokens = false});
    if (!session) {
        return std::move(session).error();
    }
    writer free(model, *session, limit);
    writer held(model, *session, limit);
    writer forced(model, *session, limit);
    auto opened = held.hold(*grammar, *trie, bitnet::forced_text::off);
    opened = opened ? forced.hold(*grammar, *trie, bitnet::forced_text::canonical) : std::move(opened);
    if (!opened) {
        return std::move(opened).error();
    }
    schema_figures found;
    found.threads = threads;
    std::vector<std::vector<bitnet::token>> texts;
    for (std::size_t i = 0; i < std::max(repetitions, repetitions * scripts.size()); ++i) {
        const script* told = scripts.empty() ? nullptr : &scripts[i % scripts.size()];
        for (const auto& [one, rates] :
             {std::pair{&held, &found.held}, std::pair{&forced, &found.forced}, std::pair{&free, &found.free}}) {
            auto rate = one->write(i + 1, told, held.written.size());
            if (!rate) {
                return std::move(rate).error();
            }
            rates->push_back(*rate);
        }
        texts.push_back(held.written);
        found.held_tokens += held.written.size();
        found.forced_tokens += forced.written.size();
    }
    found.taken_tokens = forced.taken;
    if (auto timed = time_masks(*grammar, *trie, texts, found); !timed) {
        return std::move(timed).error();
    }
    return found;
}

} // namespace bench
