// SPDX-License-Identifier: MIT
// The options that say who guesses tokens, so that fewer passes give them: --lookup, --draft.
#pragma once

#include "ladder.hpp"
#include "model_options.hpp"
#include "options.hpp"

#include <bitnet/any.hpp>
#include <bitnet/run/draft_model.hpp>
#include <bitnet/run/prompt_lookup.hpp>
#include <bitnet/run/speculation.hpp>

#include <array>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

namespace tools {

struct draft_options {
    bool lookup = false;
    std::optional<std::string> model;

    void add_to(options& all) {
        all.flag("--lookup", lookup, "guess tokens from what came before, where that is faster: the same output");
        all.text("--draft", "FILE", model,
                 "guess tokens with this smaller model of the same vocabulary: the same output");
    }

    [[nodiscard]] bool is_given() const noexcept { return lookup || model; }

    /// Opens the model of --draft, if it was given.
    [[nodiscard]] bitnet::result<std::optional<bitnet::any_model>> open_model(const model_options& running) const {
        std::optional<bitnet::any_model> made;
        if (model) {
            auto opened = tools::open_model(*model, running.to_open(), running.isa, running.kv);
            if (!opened) {
                return std::move(opened).error();
            }
            made.emplace(*std::move(opened));
        }
        return made;
    }
};

/// A line of what guesses have saved.
[[nodiscard]] inline std::string summary_of(const bitnet::speculation_statistics& told) {
    std::array<char, 24> rate{};
    std::snprintf(rate.data(), rate.size(), "%.2f", told.tokens_per_pass());
    return "guessed " + std::to_string(told.drafted) + " tokens, " + std::to_string(told.accepted) +
           " of them right; " + rate.data() + " tokens to a pass";
}

/// A token_draft of what was asked for: the lookup, and where that finds nothing the model.
class guesser {
public:
    /// \pre chosen.is_given()
    [[nodiscard]] bitnet::result<void> open(const draft_options& chosen, const model_options& running,
                                            const bitnet::any_model& model, const bitnet::any_session& session) {
        if (chosen.lookup) {
            auto lookup = bitnet::prompt_lookup::open(session.context());
            if (!lookup) {
                return std::move(lookup).error();
            }
            lookup_.emplace(*std::move(lookup));
        }
        return chosen.model ? open_model(chosen, running, model, session) : bitnet::result<void>{};
    }

    [[nodiscard]] std::span<const bitnet::token> propose(std::span<const bitnet::token> all, std::size_t at_most) {
        const auto found = lookup_ ? lookup_->propose(all, at_most) : std::span<const bitnet::token>();
        return found.empty() && by_model_ ? by_model_->propose(all, at_most) : found;
    }

private:
    [[nodiscard]] bitnet::result<void> open_model(const draft_options& chosen, const model_options& running,
                                                  const bitnet::any_model& model, const bitnet::any_session& session) {
        auto opened = chosen.open_model(running);
        if (!opened) {
            return std::move(opened).error();
        }
        model_ = *std::move(opened);
        auto options = running.to_session();
        options.context = session.context();
        auto made = bitnet::draft_model::open(model, *model_, options);
        if (!made) {
            return bitnet::error{made.error().code, *chosen.model + ": " + made.error().message};
        }
        by_model_.emplace(*std::move(made));
        return {};
    }

    std::optional<bitnet::any_model> model_;
    std::optional<bitnet::prompt_lookup> lookup_;
    std::optional<bitnet::draft_model> by_model_;
};

/// A session with its guesser.
struct drafting {
    /// Borrows the model and the session. \pre chosen.is_given()
    [[nodiscard]] static bitnet::result<std::unique_ptr<drafting>> open(const draft_options& chosen,
                                                                        const model_options& running,
                                                                        const bitnet::any_model& model,
                                                                        bitnet::any_session& session) {
        auto made = std::make_unique<drafting>();
        if (auto opened = made->guesses.open(chosen, running, model, session); !opened) {
            return std::move(opened).error();
        }
        auto session_of_it = bitnet::speculation<guesser>::open(session, made->guesses);
        if (!session_of_it) {
            return std::move(session_of_it).error();
        }
        made->session.emplace(*std::move(session_of_it));
        return made;
    }

    [[nodiscard]] std::string summary() const { return summary_of(session->statistics()); }

    guesser guesses;
    std::optional<bitnet::speculation<guesser>> session;
};

} // namespace tools
