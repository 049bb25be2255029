// SPDX-License-Identifier: MIT
// chat_template: which chat format a model takes, why, and whole dialogs in it.
#ifndef BITNET_TEXT_CHAT_TEMPLATE_HPP
#define BITNET_TEXT_CHAT_TEMPLATE_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/fwd.hpp>
#include <bitnet/text/chat_dialog.hpp>
#include <bitnet/text/chat_format.hpp>
#include <bitnet/text/chatml_facts.hpp>
#include <bitnet/text/token.hpp>
#include <bitnet/text/tokenizer.hpp>
#include <bitnet/text/tool_form.hpp>

#include <memory>
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

/// What a dialog is opened with.
struct chat_options {
    std::string_view tools = {}; ///< a JSON array of what the model may call, as OpenAI's interface has it; empty: none
    chat_thinking thinking = chat_thinking::by_template;
    /// Where the template has no place for tools that is known here: they are declared all the same, as
    /// tool_syntax::marked has it.
    bool tools_in_words = false;
    /// How functions are declared, calls written and results told, in place of what the template says.
    tool_syntax syntax = tool_syntax::by_template;
};

/// The chat format of a model. Immutable: any number of threads may use it at a time. Borrows the tokenizer, which must
/// outlive it; the file may be closed. Made by open(), which text/open_chat_template.hpp defines.
class chat_template {
public:
    /// Recognises tokenizer.chat_template by what it contains; without one, infers the format from the architecture and
    /// the vocabulary if these leave no doubt. `name`, one of chat_format_names, is used instead of all that.
    /// Include <bitnet/text/open_chat_template.hpp> to call it.
    /// A ChatML template is read further, because there are many: what it begins answers with, what becomes of
    /// thoughts, the words around a list of tools. choice().why names what of it is not known. \return
    /// errc::unknown_chat_template for a template, a name or a model that is not known: a dialog in a wrong format
    /// gives answers that look right and are not. errc::bad_vocabulary if the format's control tokens are missing;
    /// errc::wrong_type.
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

    /// Whether dialogs can have tools, calls of them and their results as the file's template writes them: a ChatML
    /// template, whose own words are used, LLaMA-3.1's or Falcon3's.
    [[nodiscard]] bool has_tools() const noexcept { return has_own_tools() || syntax_ != tool_syntax::marked; }
    /// How answers have calls.
    [[nodiscard]] const tool_form& calls(tool_syntax chosen = tool_syntax::by_template) const noexcept {
        return detail::form_of(chosen != tool_syntax::by_template ? chosen : syntax_);
    }
    /// Whether the file's template knows of thoughts, between <think> and </think> in front of an answer.
    [[nodiscard]] bool has_thoughts() const noexcept { return facts_ != nullptr && facts_->has_thoughts(); }
    /// What an answer is prompted with after the header of its turn, such as an empty thought, which keeps a model from
    /// thinking, or "<think>\n"; empty in most formats.
    [[nodiscard]] std::string_view prompt(chat_thinking thinking = chat_thinking::by_template) const noexcept {
        return facts_ != nullptr ? std::string_view(facts_->prompt(thinking)) : std::string_view{};
    }

    /// An empty dialog, for a session.
    [[nodiscard]] chat_dialog dialog() const { return opened({}, chat_thinking::by_template); }
    /// The same with tools, or told whether to think.
    /// \return errc::invalid_argument for tools that are no array or that the template has no place for, and for a
    /// model that is to think and cannot; what json_document::parse returns.
    [[nodiscard]] result<chat_dialog> open_dialog(const chat_options& options) const {
        return detail::guarded([&]() -> result<chat_dialog> {
            if (auto accepted = accepts(options); !accepted) {
                return failed(accepted);
            }
            if (has_own_tools()) {
                auto listed = options.tools.empty() ? result<std::vector<std::string>>(std::vector<std::string>())
                                                    : facts_->to_json_list(options.tools, "the list of tools");
                return listed ? result<chat_dialog>(opened(*std::move(listed), options.thinking)) : failed(listed);
            }
            chat_dialog made = opened({}, options.thinking);
            if (!options.tools.empty() || options.syntax != tool_syntax::by_template) {
                made.form_ = &calls(options.syntax);
            }
            made.tools_ = options.tools;
            if (!options.tools.empty() && made.form_->syntax != tool_syntax::marked) {
                auto listed = words_->list(options.tools, made.form_->syntax);
                if (!listed) {
                    return failed(listed);
                }
                made.tools_ = *std::move(listed);
            }
            return made;
        });
    }

    /// A whole dialog as tokens, BOS included; `with_prompt`: the assistant is to answer. Contents are text: control
    /// tokens spelled in them do not become control tokens. (User-defined tokens do, such as <think> in Qwen's models.)
    /// \return errc::invalid_argument for a role that the format does not have; what open_dialog() and
    /// tokenizer::encode return.
    [[nodiscard]] result<std::vector<token>> encode(std::span<const chat_message> messages, bool with_prompt = true,
                                                    const chat_options& options = {}) const {
        auto written = write(messages, with_prompt, options);
        if (!written) {
            return failed(written);
        }
        return written->take();
    }
    /// The same as text, for display: encoding that text may give other tokens.
    [[nodiscard]] result<std::string> render(std::span<const chat_message> messages, bool with_prompt = true,
                                             const chat_options& options = {}) const {
        return detail::guarded([&]() -> result<std::string> {
            auto written = write(messages, with_prompt, options);
            if (!written) {
                return failed(written);
            }
            return written->text();
        });
    }

private:
    chat_template(const tokenizer& text, chat_format_choice choice, std::vector<token> stops, bool begins_with_bos,
                  std::shared_ptr<const detail::chatml_facts> facts, tool_syntax syntax,
                  const detail::tool_words& words) noexcept
        : text_(&text), choice_(std::move(choice)), stops_(std::move(stops)), begins_with_bos_(begins_with_bos),
          facts_(std::move(facts)), syntax_(syntax), words_(&words) {}

    [[nodiscard]] bool has_own_tools() const noexcept { return facts_ != nullptr && facts_->tools.has_value(); }

    [[nodiscard]] chat_dialog opened(std::vector<std::string> tools, chat_thinking thinking) const {
        chat_dialog made(choice_.format, *text_, begins_with_bos_);
        if (facts_ != nullptr) {
            made.own_.emplace(facts_, *text_, std::move(tools), thinking);
        } else if (syntax_ != tool_syntax::marked) {
            made.form_ = &calls();
        }
        made.words_ = words_;
        return made;
    }

    [[nodiscard]] result<void> accepts(const chat_options& options) const {
        const bool is_of_format = options.syntax == tool_syntax::llama3    ? format() == chat_format::llama3
                                  : options.syntax == tool_syntax::falcon3 ? format() == chat_format::falcon3
                                                                           : true;
        if (!is_of_format) {
            return error{errc::invalid_argument,
                         detail::sentence({"chat format ", name_of(format()), ": calls of tools are to be written as ",
                                           options.syntax == tool_syntax::llama3 ? "LLaMA-3.1's" : "Falcon3's",
                                           " are, whose chat format is another one"})};
        }
        const bool is_chosen = options.syntax != tool_syntax::by_template;
        if (!options.tools.empty() && !has_tools() && !options.tools_in_words && !is_chosen) {
            return error{errc::invalid_argument,
                         detail::sentence({"chat format ", name_of(format()), ": there are tools, but ",
                                           facts_ != nullptr ? std::string_view(facts_->why_no_tools)
                                                             : "the format has no place for them"})};
        }
        if (options.thinking == chat_thinking::on && !has_thoughts()) {
            return error{errc::invalid_argument,
                         detail::sentence({"chat format ", name_of(format()),
                                           ": the model is to think, but its template knows of no thoughts"})};
        }
        return {};
    }

    [[nodiscard]] result<chat_dialog> write(std::span<const chat_message> messages, bool with_prompt,
                                            const chat_options& options) const {
        auto written = open_dialog(options);
        if (!written) {
            return failed(written);
        }
        for (const chat_message& message : messages) {
            if (auto done = written->add(message); !done) {
                return failed(done);
            }
        }
        if (with_prompt) {
            written->add_prompt();
        }
        return written->is_complete() ? std::move(written) : detail::out_of_memory();
    }

    const tokenizer* text_;
    chat_format_choice choice_;
    std::vector<token> stops_;
    bool begins_with_bos_ = false;
    std::shared_ptr<const detail::chatml_facts> facts_; ///< null unless the format is ChatML by the file's own template
    tool_syntax syntax_;                                ///< of calls; `marked` also where the file says nothing
    const detail::tool_words* words_;
};

} // namespace bitnet::inline BITNET_ABI

#endif
