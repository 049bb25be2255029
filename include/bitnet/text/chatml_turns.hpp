// SPDX-License-Identifier: MIT
// chatml_turns: the turns of a dialog as a file's own ChatML template writes them.
#ifndef BITNET_TEXT_CHATML_TURNS_HPP
#define BITNET_TEXT_CHATML_TURNS_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/text/chat_format.hpp>
#include <bitnet/text/chat_pieces.hpp>
#include <bitnet/text/chatml_facts.hpp>
#include <bitnet/text/token.hpp>
#include <bitnet/text/tokenizer.hpp>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// A turn that later ones may change.
struct chatml_turn {
    enum class turn_kind : unsigned char { fixed, prompt, answer, results };
    struct call {
        std::string name;
        std::string arguments; ///< as they are written
    };

    turn_kind kind;
    std::string content;              ///< of an answer, thoughts included
    std::vector<call> calls;          ///< of an answer
    std::vector<std::string> results; ///< of tools
    chat_pieces whole;                ///< as it is in the dialog now
    chat_pieces rest;                 ///< what of it is to be taken
    std::optional<std::size_t> begin; ///< its first token's position, once something of it was taken
};

/// What chat_dialog holds for a template that has facts. What a template writes of a turn may depend on the turns that
/// follow, up to the next question: those since the last question are kept as messages, and rewritten when they change.
/// Copyable, which is how a dialog stays as it was where memory ends.
class chatml_turns {
public:
    /// \param tools as JSON, as they are written
    chatml_turns(std::shared_ptr<const chatml_facts> facts, const tokenizer& text, std::vector<std::string> tools,
                 chat_thinking thinking) noexcept
        : facts_(std::move(facts)), text_(&text), tools_(std::move(tools)), thinking_(thinking),
          is_asked_(facts_->begins_asked) {}

    [[nodiscard]] const chatml_facts& facts() const noexcept { return *facts_; }

    [[nodiscard]] bool has_role(std::string_view role) const noexcept {
        const bool is_result = role == "tool" && facts_->has_calls;
        return role == "system" || role == "user" || role == "assistant" || is_result || facts_->has_other_roles;
    }

    /// Appends a turn; what nothing can change any more goes to `settled`.
    /// \return errc::out_of_memory if that befell the reading of arguments
    [[nodiscard]] result<void> add(const chat_message& message, chat_pieces& settled) {
        if (begin(&message, settled)) {
            return {};
        }
        for (chatml_turn& turn : open_) {
            turn.kind = turn.kind == chatml_turn::turn_kind::prompt ? chatml_turn::turn_kind::fixed : turn.kind;
        }
        if (is_question(message)) {
            update(false, false);
            settle(settled);
            is_asked_ = true;
            settled.append(plain_turn(message.role, message.content));
            return {};
        }
        if (auto appended = append(message); !appended) {
            return appended;
        }
        update(is_asked_, true);
        return {};
    }

    void add_prompt(chat_pieces& settled) {
        static_cast<void>(begin(nullptr, settled));
        const std::string& prompt = facts_->prompt(thinking_);
        chat_pieces whole(*text_);
        write_header(whole, "assistant");
        whole.write_literal(prompt);
        open_.push_back({chatml_turn::turn_kind::prompt, prompt, {}, {}, whole, whole, {}});
    }

    /// Ends the turn that add_prompt() began with what the model wrote. \return false if there is no such turn
    [[nodiscard]] bool end_answer(const std::string& answer, bool stopped) {
        if (open_.empty() || open_.back().kind != chatml_turn::turn_kind::prompt || !open_.back().begin) {
            return false;
        }
        chatml_turn& turn = open_.back();
        turn.kind = chatml_turn::turn_kind::answer;
        turn.content += answer;
        const std::size_t closed = turn.content.rfind("</think>");
        const std::size_t opened = turn.content.rfind("<think>");
        if (opened != std::string::npos && (closed == std::string::npos || closed < opened)) {
            turn.content += "\n</think>\n\n";
        }
        turn.whole.write(answer);
        end_turn(turn.whole, true);
        end_turn(turn.rest, !stopped);
        return true;
    }

    /// All turns are to stay as they are, and how many tokens they have is not known from here on.
    void freeze(chat_pieces& settled) {
        settle(settled);
        is_counted_ = false;
    }

    /// How many of `position` tokens are to be kept.
    [[nodiscard]] std::size_t kept(std::size_t position) const noexcept { return cut_.value_or(position); }

    /// Appends the tokens that were not taken yet. \param kept the position of tokens[0]
    /// \return what tokenizer::encode returns; all is as before then
    [[nodiscard]] result<void> take(std::size_t kept, std::vector<token>& tokens) {
        std::vector<std::size_t> begins;
        for (const chatml_turn& turn : open_) {
            begins.push_back(turn.begin.value_or(kept + tokens.size()));
            if (auto done = turn.rest.encode(tokens); !done) {
                return done;
            }
        }
        for (std::size_t i = 0; i < open_.size(); ++i) {
            open_[i].begin = begins[i];
            open_[i].rest.clear();
        }
        cut_.reset();
        return {};
    }

    /// What take() would append, as text.
    [[nodiscard]] std::string text() const {
        std::string all;
        for (const chatml_turn& turn : open_) {
            all += turn.rest.text();
        }
        return all;
    }

private:
    /// Writes what comes in front of all turns, once. \param first null: there is no message yet
    /// \return whether the first message is part of it
    [[nodiscard]] bool begin(const chat_message* first, chat_pieces& settled) {
        if (std::exchange(has_begun_, true)) {
            return false;
        }
        const bool is_led = first != nullptr && first->role == "system";
        if (tools_.empty()) {
            settled.write_literal(is_led ? std::string_view{} : std::string_view(facts_->default_system));
            return false;
        }
        const chatml_facts::tool_list& list = *facts_->tools;
        write_header(settled, "system");
        settled.write(is_led ? first->content : std::string_view{});
        settled.write_literal(is_led ? list.after_system : list.without_system);
        for (const std::string& tool : tools_) {
            settled.write_literal(list.before_each);
            settled.write(tool);
            settled.write_literal(list.after_each);
        }
        settled.write_literal(list.end);
        tools_.clear();
        return is_led;
    }

    [[nodiscard]] bool is_question(const chat_message& message) const noexcept {
        const bool is_result = facts_->results_are_no_question && message.content.starts_with("<tool_response>") &&
                               message.content.ends_with("</tool_response>");
        return message.role == "user" && !is_result;
    }

    /// A turn that is not a question.
    [[nodiscard]] result<void> append(const chat_message& message) {
        using kind = chatml_turn::turn_kind;
        const chat_pieces none(*text_);
        if (message.role == "assistant") {
            chatml_turn turn{kind::answer, std::string(message.content), {}, {}, none, none, {}};
            for (const chat_tool_call& call : message.calls) {
                auto arguments = facts_->to_json(call.arguments, "the arguments of a call");
                if (!arguments && arguments.error().code == errc::out_of_memory) {
                    return failed(arguments);
                }
                turn.calls.push_back({std::string(call.name), arguments ? *arguments : std::string(call.arguments)});
            }
            open_.push_back(std::move(turn));
        } else if (message.role == "tool" && facts_->has_calls) {
            if (open_.empty() || open_.back().kind != kind::results) {
                open_.push_back({kind::results, {}, {}, {}, none, none, {}});
            }
            open_.back().results.emplace_back(message.content);
        } else {
            const chat_pieces whole = plain_turn(message.role, message.content);
            open_.push_back({kind::fixed, {}, {}, {}, whole, whole, {}});
        }
        return {};
    }

    /// Rewrites the turns that are not as the template has them now, and those after them, which follow other tokens.
    void update(bool is_asked, bool has_last) {
        bool changes = false;
        for (std::size_t i = 0; i < open_.size(); ++i) {
            chatml_turn& turn = open_[i];
            if (turn.begin && !is_counted_) {
                continue;
            }
            chat_pieces made = rendered(turn, is_asked, has_last && i + 1 == open_.size());
            if (!changes && made.text() == turn.whole.text()) {
                continue;
            }
            changes = true;
            cut_ = turn.begin ? (std::min)(kept(*turn.begin), *turn.begin) : cut_;
            turn.begin.reset();
            turn.rest = made;
            turn.whole = std::move(made);
        }
    }

    void settle(chat_pieces& settled) {
        for (const chatml_turn& turn : open_) {
            settled.append(turn.rest);
        }
        open_.clear();
    }

    [[nodiscard]] chat_pieces rendered(const chatml_turn& turn, bool is_asked, bool is_last) const {
        chat_pieces out(*text_);
        switch (turn.kind) {
        case chatml_turn::turn_kind::fixed:
        case chatml_turn::turn_kind::prompt:
            return turn.whole;
        case chatml_turn::turn_kind::answer:
            write_answer(out, turn, is_asked, is_last);
            break;
        case chatml_turn::turn_kind::results:
            out.mark("<|im_start|>");
            out.write("user");
            for (const std::string& result : turn.results) {
                out.write_literal("\n<tool_response>\n");
                out.write(result);
                out.write_literal("\n</tool_response>");
            }
            end_turn(out, true);
            break;
        }
        return out;
    }

    void write_answer(chat_pieces& out, const chatml_turn& turn, bool is_asked, bool is_last) const {
        constexpr std::string_view mark = "</think>";
        std::string_view said = turn.content;
        std::string_view thought;
        const std::size_t end = said.find(mark);
        if (facts_->thoughts != thought_rule::text && end != std::string_view::npos) {
            thought = without_line_ends(thought_before(said.substr(0, end)), true);
            said = without_line_ends(said.substr(said.rfind(mark) + mark.size()), false);
        }
        said = facts_->strips_answers ? without_line_ends(said, false) : said;
        const bool may_think = facts_->thoughts == thought_rule::since_question && is_asked;
        write_header(out, "assistant");
        if (may_think && (is_last || !thought.empty() || facts_->thinks_always)) {
            out.write_literal("<think>\n");
            out.write(thought);
            out.write_literal("\n</think>\n\n");
            out.write(without_line_ends(said, false));
        } else {
            out.write(said);
        }
        bool follows = facts_->parts_thoughts ? !turn.content.empty() : !said.empty();
        for (const chatml_turn::call& call : turn.calls) {
            out.write(follows ? "\n" : "");
            out.write_literal("<tool_call>\n{\"name\": \"");
            out.write(call.name);
            out.write("\", \"arguments\": ");
            out.write(call.arguments);
            out.write_literal("}\n</tool_call>");
            follows = true;
        }
        end_turn(out, true);
    }

    /// What follows the last mark that begins a thought.
    [[nodiscard]] static std::string_view thought_before(std::string_view text) noexcept {
        constexpr std::string_view mark = "<think>";
        const std::size_t begin = text.rfind(mark);
        return begin == std::string_view::npos ? text : text.substr(begin + mark.size());
    }
    [[nodiscard]] static std::string_view without_line_ends(std::string_view text, bool at_end) noexcept {
        text.remove_prefix((std::min)(text.find_first_not_of('\n'), text.size()));
        return at_end ? text.substr(0, text.find_last_not_of('\n') + 1) : text;
    }

    [[nodiscard]] chat_pieces plain_turn(std::string_view role, std::string_view content) const {
        chat_pieces made(*text_);
        write_header(made, role);
        made.write(content);
        end_turn(made, true);
        return made;
    }
    static void write_header(chat_pieces& out, std::string_view role) {
        out.mark("<|im_start|>");
        out.write(role);
        out.write("\n");
    }
    static void end_turn(chat_pieces& out, bool with_mark) {
        if (with_mark) {
            out.mark("<|im_end|>");
        }
        out.write("\n");
    }

    std::shared_ptr<const chatml_facts> facts_;
    const tokenizer* text_;
    std::vector<std::string> tools_;
    chat_thinking thinking_;
    bool has_begun_ = false;
    bool is_asked_;          ///< there was a question
    bool is_counted_ = true; ///< all tokens of the session are known
    std::vector<chatml_turn> open_;
    std::optional<std::size_t> cut_; ///< where what was taken is no longer the dialog
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
