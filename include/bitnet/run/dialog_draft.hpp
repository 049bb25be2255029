// SPDX-License-Identifier: MIT
// dialog_draft: who guesses the tokens of a conversation.
#ifndef BITNET_RUN_DIALOG_DRAFT_HPP
#define BITNET_RUN_DIALOG_DRAFT_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/run/any_model.hpp>
#include <bitnet/run/any_session.hpp>
#include <bitnet/run/draft_model.hpp>
#include <bitnet/run/prompt_lookup.hpp>
#include <bitnet/run/session_options.hpp>
#include <bitnet/run/speculation.hpp>
#include <bitnet/run/speculation_options.hpp>
#include <bitnet/text/token.hpp>
#include <bitnet/thread/pool.hpp>

#include <cstddef>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// What a conversation was told of guesses, for its forks too. Models and pool are borrowed.
struct dialog_draft_options {
    const any_model* main = nullptr;
    const any_model* model = nullptr; ///< null: none, as the next one
    std::optional<pool_ref> pool = {};
    bool lookup = false;
    speculation_options speculation = {};
    session_options session = {};

    [[nodiscard]] bool is_given() const noexcept { return lookup || model != nullptr; }
};

/// A token_draft: the lookup, and where that finds nothing the model.
class dialog_guesser {
public:
    /// \return what prompt_lookup and draft_model return
    [[nodiscard]] result<void> open(const dialog_draft_options& options, std::size_t context) {
        if (options.lookup) {
            auto lookup = prompt_lookup::open(context, 3, options.session.memory);
            if (!lookup) {
                return failed(lookup);
            }
            lookup_.emplace(*std::move(lookup));
        }
        if (options.model == nullptr) {
            return {};
        }
        session_options own = options.session;
        own.context = context;
        own.window = false;
        own.kv = nullptr; // its pages are of the other model
        auto model = options.pool ? draft_model::open(*options.main, *options.model, *options.pool, own)
                                  : draft_model::open(*options.main, *options.model, own);
        if (!model) {
            return failed(model);
        }
        model_.emplace(*std::move(model));
        return {};
    }

    [[nodiscard]] std::span<const token> propose(std::span<const token> all, std::size_t at_most) {
        const auto found = lookup_ ? lookup_->propose(all, at_most) : std::span<const token>();
        return found.empty() && model_ ? model_->propose(all, at_most) : found;
    }

private:
    std::optional<prompt_lookup> lookup_;
    std::optional<draft_model> model_;
};

/// With the speculation that asks it.
struct dialog_draft {
    dialog_guesser guesser;
    std::optional<speculation<dialog_guesser>> faster; ///< never empty

    /// Borrows the session. Null where nothing was asked for.
    [[nodiscard]] static result<std::unique_ptr<dialog_draft>> open(const dialog_draft_options& options,
                                                                    any_session& session) {
        if (!options.is_given()) {
            return std::unique_ptr<dialog_draft>();
        }
        std::unique_ptr<dialog_draft> made(new (std::nothrow) dialog_draft);
        if (made == nullptr) {
            return error_saying(errc::out_of_memory,
                                {"conversation: ", sizeof(dialog_draft), " bytes could not be allocated"});
        }
        if (auto opened = made->guesser.open(options, session.context()); !opened) {
            return failed(opened);
        }
        auto faster = speculation<dialog_guesser>::open(session, made->guesser, options.speculation);
        if (!faster) {
            return failed(faster);
        }
        made->faster.emplace(*std::move(faster));
        return made;
    }
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
