// SPDX-License-Identifier: MIT
// sequence_feed: how tokens and embeddings come into a session: checked, queued, and run unless they are to wait.
#ifndef BITNET_RUN_SEQUENCE_FEED_HPP
#define BITNET_RUN_SEQUENCE_FEED_HPP

#include <bitnet/checkpoint/hyper_parameters.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/run/fed_embeddings.hpp>
#include <bitnet/run/guess_pass.hpp>
#include <bitnet/run/last_logits.hpp>
#include <bitnet/run/last_state.hpp>
#include <bitnet/run/sequence_pass.hpp>
#include <bitnet/run/session_options.hpp>
#include <bitnet/run/token_choice.hpp>
#include <bitnet/run/token_sequence.hpp>
#include <bitnet/text/token.hpp>

#include <cstddef>
#include <span>

namespace bitnet::inline BITNET_ABI::detail {

/// What is refused leaves all as it was. What is cancelled, or finds no page, stays as far as it ran.
class sequence_feed {
public:
    sequence_feed(const hyper_parameters& parameters, token_sequence& sequence, last_state& state, sequence_pass& pass,
                  guess_pass& guesses, last_logits& logits) noexcept
        : parameters_(parameters), sequence_(sequence), state_(state), pass_(pass), guesses_(guesses), logits_(logits) {
    }

    /// \param visitor sees the logits behind each token; null: none
    /// \return errc::invalid_token, errc::context_full, errc::kv_pool_full, errc::cancelled
    [[nodiscard]] result<void> run(std::span<const token> tokens, const logits_visitor* visitor) {
        if (auto checked = check_tokens(tokens); !checked) {
            return checked;
        }
        if (auto begun = begin(tokens.size()); !begun || tokens.empty()) {
            return begun;
        }
        std::span<const token> part; // of one pass
        for (std::size_t begin = 0; begin < tokens.size(); begin += part.size()) {
            part = tokens.subspan(begin, pass_.most_of(tokens.size() - begin));
            sequence_.queue(part);
            auto ran = pass_.run_waiting();
            if (ran && visitor != nullptr) {
                ran = logits_.visit_each(begin, part.size(), *visitor);
            }
            if (!ran) {
                drop_queue();
                return ran;
            }
        }
        return {};
    }

    /// The same of embeddings `rows` [n, hidden]. \return also errc::invalid_argument
    [[nodiscard]] result<void> run(std::span<const float> rows) {
        const std::size_t hidden = parameters_.hidden;
        if (auto checked = check_whole_rows(rows.size(), hidden); !checked) {
            return checked;
        }
        const std::size_t count = rows.size() / hidden;
        if (auto checked = sequence_.check_room(count, "embeddings"); !checked) {
            return checked;
        }
        if (auto checked = check_finite(rows, hidden, {"session: "}); !checked) {
            return checked;
        }
        if (auto begun = begin(count); !begun || count == 0) {
            return begun;
        }
        std::size_t together = 0;
        for (std::size_t begin = 0; begin < count; begin += together) {
            if (auto room = sequence_.make_room(); !room) {
                return room;
            }
            together = pass_.most_of(count - begin);
            if (auto ran = pass_.run_embeddings(rows.subspan(begin * hidden, together * hidden), hidden); !ran) {
                drop_queue();
                return ran;
            }
        }
        return {};
    }

    /// Tokens wait, and nothing runs. \return errc::invalid_token, errc::context_full, errc::kv_pool_full
    [[nodiscard]] result<void> queue(std::span<const token> tokens) {
        if (auto checked = check_tokens(tokens); !checked) {
            return checked;
        }
        guesses_.settle();
        guesses_.drop();
        const std::size_t room = sequence_.places() - sequence_.end();
        if (tokens.size() > room) {
            return error{errc::context_full,
                         sentence({"session: ", tokens.size(), " tokens do not fit the queue, which has room for ",
                                   room, " more"})};
        }
        if (auto reserved = sequence_.reserve_to(sequence_.end() + tokens.size()); !reserved) {
            return reserved;
        }
        sequence_.queue(tokens);
        return {};
    }
    /// What is queued, and what has begun of it, is none of the sequence.
    void drop_queue() noexcept {
        pass_.drop();
        sequence_.drop_queue();
    }

private:
    /// Makes room for `count` rows, and unless that is 0 runs what waits before them.
    [[nodiscard]] result<void> begin(std::size_t count) {
        guesses_.settle();
        if (auto reserved = sequence_.reserve_to(sequence_.end() + count); !reserved || count == 0) {
            return reserved;
        }
        state_.take_workspace();
        return pass_.run_waiting();
    }

    [[nodiscard]] result<void> check_tokens(std::span<const token> tokens) const {
        if (auto checked = sequence_.check_room(tokens.size(), "tokens"); !checked) {
            return checked;
        }
        for (std::size_t i = 0; i < tokens.size(); ++i) {
            if (!is_token_of(parameters_.vocabulary, tokens[i])) {
                return error{errc::invalid_token, sentence({"session: token ", i, " is ", tokens[i],
                                                            ", the vocabulary has ", parameters_.vocabulary})};
            }
        }
        return {};
    }

    const hyper_parameters& parameters_;
    token_sequence& sequence_;
    last_state& state_;
    sequence_pass& pass_;
    guess_pass& guesses_;
    last_logits& logits_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
