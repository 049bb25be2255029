// SPDX-License-Identifier: MIT
// bitnet-chat: talks with a model, line by line. Answers go to stdout as they come, everything else to stderr.
#include "draft_options.hpp"
#include "grammar_options.hpp"
#include "interrupt.hpp"
#include "model_options.hpp"
#include "sampling_options.hpp"
#include "streams.hpp"
#include "tool_options.hpp"

#include <bitnet/any.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <optional>
#include <span>
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
constexpr std::array<std::string_view, 3> when_full_words{"drop", "window", "stop"};

struct settings {
    tools::model_options model;
    tools::sampling_options sampling;
    tools::grammar_options grammar;
    tools::draft_options draft;
    tools::tool_options functions;
    std::string system;
    std::size_t tokens = 0;
    std::vector<std::string> stops;
    std::string thinking = "auto";
    std::string when_full = "drop";
    bool show_thoughts = false;
    bool show_special = false;

    /// \param drafting null: none \param callable the same \param stop_texts views of `stops`, borrowed
    [[nodiscard]] bitnet::conversation_options to_conversation(const bitnet::any_model& opened,
                                                               const bitnet::any_model* drafting,
                                                               const bitnet::tool_source* callable,
                                                               std::span<const std::string_view> stop_texts) const {
        return {.system = system,
                .session = model.to_session(),
                .sampling = sampling.with(opened.sampling()),
                .chat_format = model.chat_format,
                .chat = {.thinking = thinking == "on"    ? bitnet::chat_thinking::on
                                     : thinking == "off" ? bitnet::chat_thinking::off
                                                         : bitnet::chat_thinking::by_template,
                         .syntax = functions.syntax()},
                .tools = callable,
                .calls = functions.first(),
                .when_full = when_full == "stop"     ? bitnet::full_context::stop
                             : when_full == "window" ? bitnet::full_context::window
                                                     : bitnet::full_context::drop_oldest,
                .stop_texts = stop_texts,
                .answer_limit = tokens,
                .lookup = draft.lookup,
                .draft = drafting,
                .show_thoughts = show_thoughts,
                .show_special = show_special};
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
        all.list("--stop", "TEXT", stops,
                 "an answer ends before this text, of which nothing is printed; can be given again");
        all.flag("--show-special", show_special,
                 "print control tokens as they are spelled instead of leaving them out");
        model.add_context(all, 1);
        all.choice(
            "--when-full", when_full_words, when_full,
            "what happens when the context is full: drop forgets the oldest turns and reads the rest again; window "
            "drops 256 positions behind the first ones and reads nothing again, which is approximate; stop ends the "
            "dialog there");
        sampling.add_to(all);
        draft.add_to(all);
        grammar.add_to(all); // of each answer, from its first token on: --thinking off where a model thinks
        functions.add_to(all);
        model.add_running(all);
        model.add_text(all);
        model.add_reading(all);
    }
};

void say(const std::string& line) { std::fprintf(stderr, "%s\n", line.c_str()); }

/// A conversation whose answers are printed.
class printed_conversation {
public:
    [[nodiscard]] static bitnet::result<printed_conversation>
    open(const settings& chosen, const bitnet::any_model& model, const bitnet::any_model* drafting) {
        if (chosen.functions.list && chosen.grammar.is_given()) {
            return bitnet::error{bitnet::errc::invalid_argument, "--tools was given, and a grammar, which answers "
                                                                 "with calls cannot have"};
        }
        std::unique_ptr<tools::declared_tools> functions;
        if (chosen.functions.list) {
            auto declared = tools::declared_tools::open(*chosen.functions.list, model.text());
            if (!declared) {
                return std::move(declared).error();
            }
            functions = *std::move(declared);
        }
        const std::vector<std::string_view> stops(chosen.stops.begin(), chosen.stops.end());
        auto talk = bitnet::conversation::open(
            model,
            chosen.to_conversation(model, drafting, functions != nullptr ? &functions->source() : nullptr, stops));
        if (!talk) {
            return std::move(talk).error();
        }
        printed_conversation made(chosen, model, *std::move(talk));
        made.functions_ = std::move(functions);
        if (auto opened = made.open_grammar(); !opened) {
            return std::move(opened).error();
        }
        return made;
    }

    /// Starts anew.
    [[nodiscard]] bitnet::result<void> reset() {
        dropped_ = 0;
        dropped_tokens_ = 0;
        if (choose_ != nullptr) {
            choose_->reset();
        }
        return talk_.reset();
    }

    /// Prints the answer to `question`. A question that does not fit the context is told and forgotten.
    [[nodiscard]] bitnet::result<void> answer(std::string_view question) {
        if (functions_ != nullptr) {
            if (auto chosen = talk_.choose_calls(settings_->functions.first()); !chosen) {
                return chosen;
            }
        }
        if (auto asked = talk_.say(question); !asked) {
            if (asked.error().code != bitnet::errc::context_full) {
                return asked;
            }
            say(asked.error().message);
            say_what_to_do();
            return {};
        }
        if (constrained_ != nullptr) {
            constrained_->constraint().restart();
        }
        auto printed = print();
        while (printed && !talk_.calls().empty() && talk_.ended_by() != bitnet::answer_end::cancelled) {
            printed = go_on_with_results();
        }
        return printed;
    }

    /// What guesses have saved, if there were any.
    void tell_guesses() const {
        if (settings_->draft.is_given()) {
            say("(" + tools::summary_of(talk_.speculated()) + ")");
        }
    }

private:
    printed_conversation(const settings& chosen, const bitnet::any_model& model, bitnet::conversation talk)
        : settings_(&chosen), model_(&model), talk_(std::move(talk)) {}

    /// Every answer is to match the grammar, and ends within -n tokens, whole.
    [[nodiscard]] bitnet::result<void> open_grammar() {
        if (!settings_->grammar.is_given()) {
            return {};
        }
        auto choose =
            bitnet::sampler::open(settings_->sampling.with(model_->sampling()), model_->parameters().vocabulary);
        if (!choose) {
            return std::move(choose).error();
        }
        choose_ = std::make_unique<bitnet::sampler>(*std::move(choose));
        auto opened = tools::constrained_sampler::open(
            settings_->grammar, model_->text(), *choose_,
            settings_->tokens != 0 ? std::optional<std::size_t>(settings_->tokens) : std::nullopt);
        if (!opened) {
            return std::move(opened).error();
        }
        constrained_ = *std::move(opened);
        talk_.choose_with(constrained_->chooser());
        for (const std::string& note : constrained_->grammar().notes()) {
            say("note: " + note);
        }
        return {};
    }

    /// Prints the calls and reads a result of each; where the input ends, the answer has ended.
    [[nodiscard]] bitnet::result<void> go_on_with_results() {
        for (const auto& call : talk_.calls()) {
            if (!tools::put(call.name + " " + call.arguments + "\n")) {
                return bitnet::error{bitnet::errc::io_error, "stdout takes no more bytes"};
            }
        }
        std::vector<std::string> results;
        for (std::string line; results.size() < talk_.calls().size();) {
            if (!tools::read_line(line)) {
                return talk_.rewind(talk_.history().size() - 1);
            }
            results.push_back(line);
        }
        auto done = talk_.choose_calls(settings_->functions.next());
        done = done ? talk_.say_results(results) : std::move(done);
        return done ? print() : std::move(done);
    }

    [[nodiscard]] bitnet::result<void> print() {
        const tools::interrupt interrupt;
        while (talk_.state() != bitnet::conversation_state::idle) {
            if (interrupt.seen()) {
                talk_.cancel();
            }
            if (auto stepped = talk_.step(between_looks); !stepped) {
                return std::move(stepped).error();
            }
            if (!tools::put(talk_.take_text())) {
                return bitnet::error{bitnet::errc::io_error, "stdout takes no more bytes"};
            }
        }
        if (!tools::put("\n")) {
            return bitnet::error{bitnet::errc::io_error, "stdout takes no more bytes"};
        }
        tell_end();
        return {};
    }

    void tell_end() {
        if (talk_.is_in_thought() && talk_.format().has_thoughts() && !settings_->show_thoughts) {
            say("(the answer ends in the midst of its thought: -n allows more tokens, --show-thoughts shows it)");
        }
        if (talk_.dropped() != dropped_) {
            say("(to make room, the oldest turns were forgotten: " + std::to_string(talk_.dropped() - dropped_) +
                "; --when-full stop keeps them)");
            dropped_ = talk_.dropped();
        }
        if (talk_.dropped_tokens() != dropped_tokens_) {
            say("(the window has " + std::to_string(talk_.position() - talk_.dropped_tokens()) + " of " +
                std::to_string(talk_.position()) + " tokens)");
            dropped_tokens_ = talk_.dropped_tokens();
        }
        if (talk_.ended_by() == bitnet::answer_end::cancelled) {
            say("(stopped)");
        } else if (talk_.ended_by() == bitnet::answer_end::context_full) {
            say("(the answer ends here: all " + std::to_string(talk_.context()) + " positions are taken)");
            say_what_to_do();
        }
    }

    void say_what_to_do() const {
        const std::size_t most = model_->parameters().context;
        say("/reset starts anew" + (talk_.context() < most
                                        ? "; a context of up to " + std::to_string(most) + " positions is had with -c"
                                        : std::string()));
    }

    static constexpr std::chrono::milliseconds between_looks{20}; ///< at whether Ctrl-C was pressed

    const settings* settings_;
    const bitnet::any_model* model_;
    std::unique_ptr<tools::declared_tools> functions_; ///< null without --tools
    bitnet::conversation talk_;
    std::unique_ptr<bitnet::sampler> choose_; ///< null without a grammar, as the next
    std::unique_ptr<tools::constrained_sampler> constrained_;
    std::size_t dropped_ = 0; ///< turns, as far as they were told
    std::size_t dropped_tokens_ = 0;
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
bitnet::result<void> obey(const std::string& command, printed_conversation& talk) {
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

bitnet::result<void> talk_until_the_end(printed_conversation& talk) {
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
    const auto drafting = chosen.draft.open_model(chosen.model);
    if (!drafting) {
        return tools::fail(program, drafting.error().message);
    }
    auto talk = printed_conversation::open(chosen, *model, *drafting ? &**drafting : nullptr);
    if (!talk) {
        return tools::fail(program, talk.error().message);
    }
    const auto done = talk_until_the_end(*talk);
    talk->tell_guesses();
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
