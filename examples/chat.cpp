// SPDX-License-Identifier: MIT
// bitnet-chat: talks with a model, line by line. Answers go to stdout as they come, everything else to stderr.
#include "interrupt.hpp"
#include "model_options.hpp"
#include "sampling_options.hpp"
#include "streams.hpp"
#include "thought_filter.hpp"

#include <bitnet/any.hpp>

#include <array>
#include <cstddef>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

constexpr std::string_view program = "bitnet-chat";
constexpr std::string_view help = "A line is a question; a line that begins with a space is one even if a / follows.\n"
                                  "/reset  forgets the dialog and starts anew, with the same seed\n"
                                  "/help   prints this\n"
                                  "/exit   ends the program, as the end of the input does\n"
                                  "Ctrl-C stops an answer and keeps the dialog; where none runs it ends the program.\n"
                                  "Thoughts in front of answers are not printed (--show-thoughts prints them).\n";

constexpr std::array<std::string_view, 3> thinking_words{"auto", "on", "off"};

struct settings {
    tools::model_options model;
    tools::sampling_options sampling;
    std::string system;
    std::size_t tokens = 0;
    std::string thinking = "auto";
    bool show_thoughts = false;
    bool show_special = false;

    [[nodiscard]] bitnet::chat_options to_dialog() const {
        return {.thinking = thinking == "on"    ? bitnet::chat_thinking::on
                            : thinking == "off" ? bitnet::chat_thinking::off
                                                : bitnet::chat_thinking::by_template};
    }

    void add_to(tools::options& all) {
        model.add_file(all);
        all.text("-s", "TEXT", system, "the system prompt, what the model is told before the first question");
        all.text("--system", "TEXT", system, "the same");
        model.add_chat(all);
        all.choice("--thinking", thinking_words, thinking,
                   "whether the model is to think before it answers; auto: as its template has it");
        all.flag("--show-thoughts", show_thoughts, "print what the model thinks, too, which is left out otherwise");
        all.number<std::size_t>("-n", "N", tokens, 0, std::size_t{1} << 30,
                                "tokens of an answer, at most; 0: no limit");
        all.flag("--show-special", show_special,
                 "print control tokens as they are spelled instead of leaving them out");
        model.add_context(all, 1);
        sampling.add_to(all);
        model.add_running(all);
        model.add_text(all);
        model.add_reading(all);
    }
};

void say(const std::string& line) { std::fprintf(stderr, "%s\n", line.c_str()); }

/// Prints an answer while it is made, its thought aside unless that is to be shown.
class answer_printer {
public:
    answer_printer(const settings& chosen, const bitnet::any_model& model, const bitnet::chat_template& format)
        : prompt_(format.prompt(chosen.to_dialog().thinking)), text_(&model.text()),
          hides_(format.has_thoughts() && !chosen.show_thoughts),
          decoder_(*text_, {.show_special = chosen.show_special}), filter_(begins_in_thought()) {}

    /// \return false, as the other functions do, if stdout takes no more bytes
    [[nodiscard]] bool begin() { return hides_ || !begins_in_thought() || tools::put(prompt_); }
    [[nodiscard]] bool put(bitnet::token id) {
        const bool is_mark =
            text_->is_special(id) && (text_->bytes_of(id) == "<think>" || text_->bytes_of(id) == "</think>");
        const std::string_view decoded = decoder_.feed(id);
        return show(is_mark && decoded.empty() ? text_->bytes_of(id) : decoded);
    }
    [[nodiscard]] bool end() {
        const bool shown = show(decoder_.flush()) && (!hides_ || tools::put(filter_.flush())) && tools::put("\n");
        if (hides_ && filter_.is_in_thought()) {
            say("(the answer ends in the midst of its thought: -n allows more tokens, --show-thoughts shows it)");
        }
        return shown;
    }

private:
    [[nodiscard]] bool begins_in_thought() const noexcept {
        return prompt_.find("<think>") != std::string_view::npos && prompt_.find("</think>") == std::string_view::npos;
    }
    [[nodiscard]] bool show(std::string_view text) {
        return tools::put(hides_ ? filter_.feed(text) : std::string(text));
    }

    std::string_view prompt_;
    const bitnet::tokenizer* text_;
    bool hides_;
    bitnet::stream_decoder decoder_;
    tools::thought_filter filter_;
};

/// A session and the dialog that it has been fed.
class conversation {
public:
    [[nodiscard]] static bitnet::result<conversation> open(const settings& chosen, const bitnet::any_model& model,
                                                           const bitnet::chat_template& format) {
        auto options = chosen.model.to_session();
        options.stop_at_stop_tokens = false; // the format may know more of them than the tokenizer
        auto session = bitnet::any_session::open(model, options);
        if (!session) {
            return std::move(session).error();
        }
        auto choose = chosen.sampling.open(model);
        if (!choose) {
            return std::move(choose).error();
        }
        auto dialog = format.open_dialog(chosen.to_dialog());
        if (!dialog) {
            return std::move(dialog).error();
        }
        conversation made(chosen, model, format, *std::move(session), *std::move(choose), *std::move(dialog));
        if (auto ready = made.reset(); !ready) {
            return std::move(ready).error();
        }
        return made;
    }

    /// Starts anew.
    [[nodiscard]] bitnet::result<void> reset() {
        session_.reset();
        choose_.reset();
        dialog_ = empty_;
        return settings_->system.empty() ? bitnet::result<void>() : dialog_.add({"system", settings_->system});
    }

    /// Prints the answer to `question`. A question that does not fit the context is told and forgotten.
    [[nodiscard]] bitnet::result<void> answer(std::string_view question) {
        const bitnet::chat_dialog before = dialog_;
        if (auto asked = ask(question); !asked) {
            dialog_ = before;
            if (asked.error().code != bitnet::errc::context_full) {
                return asked;
            }
            say(asked.error().message);
            say_what_to_do();
            return {};
        }
        return generate();
    }

private:
    conversation(const settings& chosen, const bitnet::any_model& model, const bitnet::chat_template& format,
                 bitnet::any_session session, bitnet::sampler choose, bitnet::chat_dialog dialog)
        : settings_(&chosen), model_(&model), format_(&format), session_(std::move(session)),
          choose_(std::move(choose)), empty_(std::move(dialog)), dialog_(empty_) {}

    [[nodiscard]] bitnet::result<void> ask(std::string_view question) {
        if (auto added = dialog_.add({"user", question}); !added) {
            return added;
        }
        dialog_.add_prompt();
        const std::size_t kept = dialog_.kept();
        const auto tokens = dialog_.take();
        if (!tokens) {
            return bitnet::error{tokens.error()};
        }
        if (kept + tokens->size() > session_.context()) { // so that the session can go on as it is
            return bitnet::error{bitnet::errc::context_full,
                                 std::to_string(tokens->size()) + " tokens do not fit, the context has " +
                                     std::to_string(session_.context()) + " positions and " + std::to_string(kept) +
                                     " are taken"};
        }
        if (auto rewound = session_.rewind(kept); !rewound) {
            return rewound;
        }
        if (auto fed = session_.feed(*tokens); !fed) {
            return fed;
        }
        for (const bitnet::token id : *tokens) {
            choose_.accept(id);
        }
        return {};
    }

    [[nodiscard]] bitnet::result<void> generate() {
        const tools::interrupt interrupt;
        answer_printer print(*settings_, *model_, *format_);
        std::vector<bitnet::token> answer;
        bool stopped = false;
        bool written = print.begin();
        while (written && !interrupt.seen() && (answer.size() < settings_->tokens || settings_->tokens == 0)) {
            const auto id = session_.next(choose_);
            stopped = id && format_->is_stop(*id);
            if (!id || stopped) {
                break;
            }
            answer.push_back(*id);
            written = print.put(*id);
        }
        if (session_.stopped_by() == bitnet::stop_reason::error) {
            return bitnet::error{session_.last_error()};
        }
        if (!written || !print.end()) {
            return bitnet::error{bitnet::errc::io_error, "stdout takes no more bytes"};
        }
        dialog_.end_answer(answer, stopped);
        tell_end(interrupt.seen());
        return {};
    }

    void tell_end(bool interrupted) const {
        if (interrupted) {
            say("(stopped)");
        } else if (session_.stopped_by() == bitnet::stop_reason::context_full) {
            say("(the answer ends here: all " + std::to_string(session_.context()) + " positions are taken)");
            say_what_to_do();
        }
    }

    void say_what_to_do() const {
        const std::size_t most = model_->parameters().context;
        say("/reset starts anew" + (session_.context() < most
                                        ? "; a context of up to " + std::to_string(most) + " positions is had with -c"
                                        : std::string()));
    }

    const settings* settings_;
    const bitnet::any_model* model_;
    const bitnet::chat_template* format_;
    bitnet::any_session session_;
    bitnet::sampler choose_;
    bitnet::chat_dialog empty_;
    bitnet::chat_dialog dialog_;
};

/// The next line of stdin, without its end; false at the end of the input.
bool read_line(std::string& line, bool prompted) {
    if (prompted) {
        std::fputs("> ", stderr);
    }
    if (!tools::read_line(line)) {
        return false;
    }
    if (line.ends_with('\r')) {
        line.pop_back();
    }
    return true;
}

/// Obeys /reset, /help and unknown commands.
bitnet::result<void> obey(const std::string& command, conversation& talk) {
    if (command == "/help") {
        std::fputs(std::string(help).c_str(), stderr);
        return {};
    }
    if (command == "/reset") {
        say("(a new dialog)");
        return talk.reset();
    }
    say("there is no command " + command + "; /help lists all");
    return {};
}

bitnet::result<void> talk_until_the_end(conversation& talk) {
    const bool prompted = tools::stdin_is_terminal();
    for (std::string line; read_line(line, prompted);) {
        if (line == "/exit") {
            break;
        }
        if (bitnet::detail::stripped(line).empty()) {
            continue;
        }
        if (auto done = line.starts_with('/') ? obey(line, talk) : talk.answer(line); !done) {
            return done;
        }
    }
    return {};
}

int run(const settings& chosen) {
    const auto model = tools::open_model(chosen.model.file, chosen.model.to_open(), chosen.model.isa, chosen.model.kv);
    if (!model) {
        return tools::fail(program, model.error().message);
    }
    if (model->parameters().is_embedder) {
        return tools::fail(program, model->file().name() + ": a text embedding model, which gives no answers");
    }
    for (const std::string& note : model->notes()) {
        say("note: " + note);
    }
    if (const std::string followed = chosen.sampling.followed(model->sampling()); !followed.empty()) {
        say("note: " + followed);
    }
    const auto format = model->chat(chosen.model.chat_format);
    if (!format) {
        return tools::fail(program, format.error().message + "; here: --template NAME");
    }
    say("chat format " + std::string(name_of(format->format())) + (format->choice().inferred ? " (inferred)" : "") +
        ": " + format->choice().why);
    auto talk = conversation::open(chosen, *model, *format);
    if (!talk) {
        return tools::fail(program, talk.error().message);
    }
    const auto done = talk_until_the_end(*talk);
    return done ? 0 : tools::fail(program, done.error().message);
}

} // namespace

int main(int argc, char** argv) {
    tools::use_binary_streams();
    tools::options all(std::string(program), "Talks with a model: a question per line, /help for more.");
    settings chosen;
    chosen.add_to(all);
    if (const auto status = all.read(argc, argv)) {
        return *status;
    }
    return run(chosen);
}
