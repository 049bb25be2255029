// SPDX-License-Identifier: MIT
// opened_dialog: what a conversation is made of, opened and checked as its options say.
#ifndef BITNET_RUN_OPENED_DIALOG_HPP
#define BITNET_RUN_OPENED_DIALOG_HPP

#include <bitnet/checkpoint/hyper_parameters.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/run/answer_text.hpp>
#include <bitnet/run/any_model.hpp>
#include <bitnet/run/any_session.hpp>
#include <bitnet/run/conversation_options.hpp>
#include <bitnet/run/dialog_settings.hpp>
#include <bitnet/run/sampler.hpp>
#include <bitnet/run/session_options.hpp>
#include <bitnet/run/tool_source.hpp>
#include <bitnet/run/transcript.hpp>
#include <bitnet/text/chat_dialog.hpp>
#include <bitnet/text/chat_format.hpp>
#include <bitnet/text/chat_template.hpp>
#include <bitnet/text/stop_texts.hpp>
#include <bitnet/thread/pool.hpp>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// A dialog of the system's turn, or of none.
[[nodiscard]] inline result<void> begin_with_system(transcript& next, const std::string& system) {
    auto done = next.become({});
    return done && !system.empty() ? next.add({.role = "system", .text = system}) : std::move(done);
}

struct opened_dialog {
    dialog_settings settings;
    chat_template format;
    any_session session;
    sampler choose;
    transcript now; ///< empty yet
    answer_text text;
    std::unique_ptr<call_guide> guide; ///< null without tools

    /// \param pool null: none \return what conversation::open returns
    [[nodiscard]] static result<opened_dialog> open(const any_model& model, const pool_ref* pool,
                                                    const conversation_options& options) {
        if (auto checked = check_model(model); !checked) {
            return failed(checked);
        }
        auto format = model.chat(options.chat_format);
        if (!format) {
            return failed(format);
        }
        auto of_chat = chat_options_of(options);
        auto dialog = of_chat ? format->open_dialog(*of_chat) : failed(of_chat);
        if (!dialog) {
            return failed(dialog);
        }
        auto session = open_session(model, pool, options, *dialog);
        if (!session) {
            return failed(session);
        }
        auto choose = sampler::open(options.sampling.value_or(sampler_options::advised_by(model.sampling())),
                                    model.parameters().vocabulary, options.session.memory);
        if (!choose) {
            return failed(choose);
        }
        auto stops = stop_texts::open(options.stop_texts);
        if (!stops) {
            return failed(stops);
        }
        const answer_text::options shown{
            .show_thoughts = options.show_thoughts || !format->has_thoughts(),
            .show_special = options.show_special,
            .prompt = format->prompt(options.chat.thinking),
        };
        auto guide = open_guide(model, *format, options);
        if (!guide) {
            return failed(guide);
        }
        auto settings = dialog_settings::of(model, pool, options, session->context());
        return opened_dialog{std::move(settings),
                             *std::move(format),
                             *std::move(session),
                             *std::move(choose),
                             transcript(*std::move(dialog), model.text()),
                             answer_text(model.text(), shown, *std::move(stops)),
                             *std::move(guide)};
    }

private:
    [[nodiscard]] static result<void> check_model(const any_model& model) {
        if (model.parameters().is_embedder) {
            return error_saying(errc::no_lm_head, {"conversation: the model is a text embedding model, which "
                                                   "gives no answers"});
        }
        if (!model.has_text()) {
            return error_saying(errc::invalid_argument, {"conversation: the model was opened without its tokenizer"});
        }
        return {};
    }

    /// With the declarations of tools.
    [[nodiscard]] static result<chat_options> chat_options_of(const conversation_options& options) {
        chat_options made = options.chat;
        if (options.tools != nullptr) {
            if (!made.tools.empty()) {
                return error_saying(errc::invalid_argument,
                                    {"conversation_options: tools are given twice, in `tools` and in `chat`"});
            }
            made.tools = options.tools->declarations();
            made.tools_in_words = true;
        }
        if (options.tools != nullptr && options.heal != nullptr) {
            return error_saying(errc::invalid_argument,
                                {"conversation_options: `heal` and `tools` are given, and what begins an answer that "
                                 "may have calls is not healed"});
        }
        return made;
    }

    /// With a window its sinks are as large as the system's turn.
    [[nodiscard]] static result<any_session> open_session(const any_model& model, const pool_ref* pool,
                                                          const conversation_options& options,
                                                          const chat_dialog& dialog) {
        session_options made = options.session;
        made.stop_at_stop_tokens = false; // the format may know more of them than the tokenizer
        made.window = made.window || options.when_full == full_context::window;
        if (made.window) {
            transcript first(dialog, model.text());
            if (auto begun = begin_with_system(first, std::string(options.system)); !begun) {
                return failed(begun);
            }
            made.sinks = (std::max)(made.sinks, first.tokens().size());
        }
        return pool != nullptr ? any_session::open(model, *pool, made) : any_session::open(model, made);
    }

    /// Null without tools.
    [[nodiscard]] static result<std::unique_ptr<call_guide>>
    open_guide(const any_model& model, const chat_template& format, const conversation_options& options) {
        if (options.tools == nullptr) {
            return std::unique_ptr<call_guide>();
        }
        auto made = options.tools->guide({.text = &model.text(),
                                          .stops = format.stop_tokens(),
                                          .prompt = format.prompt(options.chat.thinking),
                                          .has_thoughts = format.has_thoughts(),
                                          .tools = format.calls(options.chat.syntax)});
        auto chosen = made ? (*made)->set_choice(options.calls) : failed(made);
        return chosen ? std::move(made) : failed(chosen);
    }
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
