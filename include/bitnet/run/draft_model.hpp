// SPDX-License-Identifier: MIT
// draft_model: guesses what a smaller model of the same vocabulary would say.
#ifndef BITNET_RUN_DRAFT_MODEL_HPP
#define BITNET_RUN_DRAFT_MODEL_HPP

#include <bitnet/checkpoint/hyper_parameters.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/run/any_model.hpp>
#include <bitnet/run/any_session.hpp>
#include <bitnet/run/sampler.hpp>
#include <bitnet/run/session_options.hpp>
#include <bitnet/text/token.hpp>
#include <bitnet/text/tokenizer.hpp>
#include <bitnet/thread/pool.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// A token_draft: a session of its own with another model, which follows the one whose tokens are guessed, also where
/// that is rewound, and gives the largest logit. Guesses nothing behind embeddings, behind a stop token, and where its
/// context is full. Borrows its model, which must outlive it. Serves one session at a time. Allocates in open() only.
class draft_model {
public:
    /// \param main whose tokens are guessed \param options of the session; its context is cut to what `drafting` has
    /// \return errc::invalid_argument if a token is not the same in both, naming the first, or if only one of them has
    /// a tokenizer; errc::no_lm_head; and what any_session::open returns.
    [[nodiscard]] static result<draft_model> open(const any_model& main, const any_model& drafting,
                                                  const session_options& options = {}) {
        return made(main, drafting, nullptr, options);
    }
    /// The same on the caller's pool, which must outlive it, and may be that of the session whose tokens are guessed.
    [[nodiscard]] static result<draft_model> open(const any_model& main, const any_model& drafting, pool_ref pool,
                                                  const session_options& options = {}) {
        return made(main, drafting, &pool, options);
    }
    static result<draft_model> open(const any_model&, any_model&&, const session_options& = {}) = delete; // dangle
    static result<draft_model> open(const any_model&, any_model&&, pool_ref, const session_options& = {}) = delete;

    /// See token_draft. No more than 64. Takes, without a stop, a pass for each guess, after those that read what is
    /// new in `all`: once the whole prompt.
    [[nodiscard]] std::span<const token> propose(std::span<const token> all, std::size_t at_most) {
        if (!follow(all)) {
            return {};
        }
        std::size_t count = 0;
        while (count < (std::min)(at_most, guesses_.size())) {
            const auto id = session_.next(choose_);
            if (!id) {
                break;
            }
            guesses_[count++] = *id;
        }
        return {guesses_.data(), count};
    }

    /// For its figures, and for a cancel flag: the guesses up to it are used then.
    [[nodiscard]] any_session& session() noexcept { return session_; }

private:
    draft_model(any_session session, sampler choose) noexcept
        : session_(std::move(session)), choose_(std::move(choose)) {}

    [[nodiscard]] static result<draft_model> made(const any_model& main, const any_model& drafting,
                                                  const pool_ref* pool, session_options options) {
        return detail::guarded([&]() -> result<draft_model> {
            if (auto checked = check_vocabularies(main, drafting); !checked) {
                return failed(checked);
            }
            options.context = (std::min)(options.context, drafting.parameters().context);
            auto session =
                pool != nullptr ? any_session::open(drafting, *pool, options) : any_session::open(drafting, options);
            if (!session) {
                return failed(session);
            }
            sampler_options greedy = sampler_options::greedy();
            greedy.penalty_window = 0;
            auto choose = sampler::open(greedy, drafting.parameters().vocabulary, options.memory);
            if (!choose) {
                return failed(choose);
            }
            return draft_model(*std::move(session), *std::move(choose));
        });
    }

    [[nodiscard]] static result<void> check_vocabularies(const any_model& main, const any_model& drafting) {
        if (drafting.parameters().is_embedder) {
            return error{errc::no_lm_head, "draft model: it is a text embedding model and has no next token"};
        }
        if (main.has_text() != drafting.has_text()) {
            return error{errc::invalid_argument,
                         "draft model: one of the two models was opened without a tokenizer, so "
                         "that their tokens cannot be compared"};
        }
        const std::size_t own = drafting.parameters().vocabulary;
        const std::size_t others = main.parameters().vocabulary;
        if (own != others) {
            return error{errc::invalid_argument, detail::sentence({"draft model: its vocabulary has ", own,
                                                                   " tokens, that of the model whose tokens it is to "
                                                                   "guess ",
                                                                   others})};
        }
        for (std::size_t i = 0; main.has_text() && i < own; ++i) {
            const auto id = static_cast<token>(i);
            const std::string_view here = bytes_of(drafting.text(), id);
            const std::string_view there = bytes_of(main.text(), id);
            if (here != there) {
                return error{
                    errc::invalid_argument,
                    detail::sentence({"draft model: its token ", i, " is ", detail::quoted{here},
                                      ", that of the model whose tokens it is to guess ", detail::quoted{there}})};
            }
        }
        return {};
    }
    [[nodiscard]] static std::string_view bytes_of(const tokenizer& text, token id) noexcept {
        return text.contains(id) ? text.bytes_of(id) : std::string_view();
    }

    /// Makes `all` the tokens of the session. \return whether they are
    [[nodiscard]] bool follow(std::span<const token> all) {
        const std::span<const token> own = session_.tokens();
        const std::size_t most = (std::min)(own.size(), all.size());
        const auto common = static_cast<std::size_t>(
            std::mismatch(own.begin(), own.begin() + static_cast<std::ptrdiff_t>(most), all.begin()).first -
            own.begin());
        if (!session_.rewind(common)) {
            return false;
        }
        if (!session_.feed(all.subspan(common))) {
            return false; // the next call goes on from what was fed
        }
        return true;
    }

    any_session session_;
    sampler choose_;
    std::array<token, 64> guesses_{};
};

} // namespace bitnet::inline BITNET_ABI

#endif
