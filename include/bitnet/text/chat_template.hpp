// SPDX-License-Identifier: MIT
// chat_template: which chat format a model takes, why, and whole dialogs in it.
#ifndef BITNET_TEXT_CHAT_TEMPLATE_HPP
#define BITNET_TEXT_CHAT_TEMPLATE_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/fwd.hpp>
#include <bitnet/text/chat_dialog.hpp>
#include <bitnet/text/chat_format.hpp>
#include <bitnet/text/token.hpp>
#include <bitnet/text/tokenizer.hpp>

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI {

/// Which format is in use, and how that was decided.
struct chat_format_choice {
    chat_format format = chat_format::bitnet;
    bool inferred = false;  ///< from architecture and vocabulary: neither the caller nor a template of the file says so
    bool corrected = false; ///< the file's template is known to be wrong, and not what is used
    std::string why;        ///< a sentence for people
};

/// The chat format of a model. Immutable: any number of threads may use it at a time. Borrows the tokenizer, which must
/// outlive it; the file may be closed. Made by open(), which text/open_chat_template.hpp defines.
class chat_template {
public:
    /// Recognises tokenizer.chat_template by what it contains; without one, infers the format from the architecture and
    /// the vocabulary if these leave no doubt. `name`, one of chat_format_names, is used instead of all that.
    /// Include <bitnet/text/open_chat_template.hpp> to call it.
    /// \return errc::unknown_chat_template for a template, a name or a model that is not known: a dialog in a wrong
    /// format gives answers that look right and are not. errc::bad_vocabulary if the format's control tokens are
    /// missing; errc::wrong_type.
    [[nodiscard]] static inline result<chat_template> open(const gguf_file& file, const tokenizer& text,
                                                           std::string_view name = {});
    static result<chat_template> open(const gguf_file&, tokenizer&&, std::string_view = {}) = delete; // would dangle

    [[nodiscard]] chat_format format() const noexcept { return choice_.format; }
    [[nodiscard]] const chat_format_choice& choice() const noexcept { return choice_; }

    /// The tokens that end an answer: those that end a turn in this format, and tokenizer::stop_tokens(); ascending.
    [[nodiscard]] const std::vector<token>& stop_tokens() const noexcept { return stops_; }
    [[nodiscard]] bool is_stop(token id) const noexcept {
        for (const token stop : stops_) {
            if (stop == id) {
                return true;
            }
        }
        return false;
    }

    /// An empty dialog, for a session.
    [[nodiscard]] chat_dialog dialog() const { return {choice_.format, *text_, begins_with_bos_}; }

    /// A whole dialog as tokens, BOS included; `with_prompt`: the assistant is to answer. Contents are text: control
    /// tokens spelled in them do not become control tokens.
    /// \return errc::invalid_argument for a role that the format does not have; what tokenizer::encode returns.
    [[nodiscard]] result<std::vector<token>> encode(std::span<const chat_message> messages,
                                                    bool with_prompt = true) const {
        auto written = write(messages, with_prompt);
        if (!written) {
            return failed(written);
        }
        return written->take();
    }
    /// The same as text, for display: encoding that text may give other tokens.
    [[nodiscard]] result<std::string> render(std::span<const chat_message> messages, bool with_prompt = true) const {
        auto written = write(messages, with_prompt);
        if (!written) {
            return failed(written);
        }
        return std::move(*written).text();
    }

private:
    chat_template(const tokenizer& text, chat_format_choice choice, std::vector<token> stops,
                  bool begins_with_bos) noexcept
        : text_(&text), choice_(std::move(choice)), stops_(std::move(stops)), begins_with_bos_(begins_with_bos) {}

    [[nodiscard]] result<chat_dialog> write(std::span<const chat_message> messages, bool with_prompt) const {
        chat_dialog written = dialog();
        for (const chat_message& message : messages) {
            if (auto done = written.add(message); !done) {
                return failed(done);
            }
        }
        if (with_prompt) {
            written.add_prompt();
        }
        return written.is_complete() ? result<chat_dialog>(std::move(written)) : detail::out_of_memory();
    }

    const tokenizer* text_;
    chat_format_choice choice_;
    std::vector<token> stops_;
    bool begins_with_bos_ = false;
};

} // namespace bitnet::inline BITNET_ABI

#endif
