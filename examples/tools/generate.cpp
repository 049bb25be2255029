// SPDX-License-Identifier: MIT
// bitnet-generate: continues a prompt, token by token.
#include "draft_options.hpp"
#include "grammar_options.hpp"
#include "json_writer.hpp"
#include "model_options.hpp"
#include "prompt_file.hpp"
#include "sampling_options.hpp"
#include "streams.hpp"

#include <bitnet/any.hpp>
#include <bitnet/constrain/healed_prefix.hpp>
#include <bitnet/constrain/token_trie.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

constexpr std::string_view program = "bitnet-generate";

struct settings {
    tools::model_options model;
    tools::sampling_options sampling;
    tools::grammar_options grammar;
    tools::draft_options draft;
    std::optional<std::string> given_prompt;
    std::optional<std::string> prompt_file;
    std::string prompt; ///< the one given or the file's
    std::size_t tokens = 256;
    bool special = false;
    bool show_special = false;
    bool echo = false;
    bool ignore_eos = false;
    bool ids = false;
    bool heal = false;
    std::vector<std::string> stops;
    std::optional<std::size_t> logprobs;
    bool logprobs_allowed = false;
    std::string stats = "text";

    void add_to(tools::options& all) {
        model.add_file(all);
        all.text("-p", "PROMPT", given_prompt, "the text to continue; this or -f is needed");
        all.text("-f", "FILE", prompt_file,
                 "a UTF-8 file with it, or - for stdin: byte for byte, a line end at its end included");
        all.number<std::size_t>("-n", "N", tokens, 0, std::size_t{1} << 30, "tokens to generate, at most");
        model.add_context(all, 1);
        sampling.add_to(all);
        grammar.add_to(all);
        draft.add_to(all);
        all.flag("--special", special, "control tokens that the prompt spells, such as <|eot_id|>, are those tokens");
        all.flag("--show-special", show_special,
                 "print control tokens as they are spelled instead of leaving them out");
        all.flag("--ignore-eos", ignore_eos, "go on after a stop token");
        all.list("--stop", "TEXT", stops, "ends before this text, of which nothing is printed; can be given again");
        all.number<std::size_t>("--logprobs", "K", logprobs, 0, 256,
                                "tell on stderr each token's logprob and the K largest, as JSON", "none");
        all.flag("--logprobs-allowed", logprobs_allowed,
                 "with --logprobs and a grammar: tell also the logprobs relative to the tokens that it allows");
        all.flag("--heal", heal, "the prompt may end in the middle of a word: the model chooses how the word goes on");
        all.flag("--echo", echo, "print the prompt first, unless --ids");
        all.flag("--ids", ids, "print the ids of the generated tokens on one line instead of text");
        constexpr std::array<std::string_view, 3> kinds{"text", "json", "none"};
        all.choice("--stats", kinds, stats, "what stderr tells: lines, one JSON object, or nothing");
        model.add_running(all);
        model.add_text(all);
        model.add_reading(all);
    }
};

class stopwatch {
public:
    /// Milliseconds since the last lap, or since it was made.
    double lap() {
        const auto now = clock::now();
        return std::chrono::duration<double, std::milli>(now - std::exchange(last_, now)).count();
    }

private:
    using clock = std::chrono::steady_clock;
    clock::time_point last_ = clock::now();
};

/// What was done and how long it took, in milliseconds.
struct statistics {
    double load_ms = 0;
    std::size_t prompt_tokens = 0;
    double prompt_ms = 0; ///< until the first token was chosen
    std::size_t generated_tokens = 0;
    double generated_ms = 0; ///< from the first token to the last
    std::string_view stopped = "length";

    [[nodiscard]] double prompt_rate() const { return rate(prompt_tokens, prompt_ms); }
    [[nodiscard]] double generated_rate() const {
        return rate(generated_tokens > 1 ? generated_tokens - 1 : 0, generated_ms);
    }

private:
    [[nodiscard]] static double rate(std::size_t tokens, double ms) {
        return ms > 0 ? 1000.0 * static_cast<double>(tokens) / ms : 0;
    }
};

/// The model, a session with it, and what is printed on the way.
class generation {
public:
    generation(const settings& chosen, const bitnet::any_model& model) : settings_(chosen), model_(model) {}

    [[nodiscard]] bitnet::result<void> run() {
        auto prompt = encode();
        if (!prompt) {
            return std::move(prompt).error();
        }
        note_double_bos(*prompt);
        note(settings_.sampling.followed(model_.sampling()));
        auto options = settings_.model.to_session();
        options.stop_at_stop_tokens = !settings_.ignore_eos;
        auto session = bitnet::any_session::open(model_, options);
        if (!session) {
            return std::move(session).error();
        }
        auto choose = settings_.sampling.open(model_);
        if (!choose) {
            return std::move(choose).error();
        }
        auto stops = open_stops();
        if (!stops) {
            return std::move(stops).error();
        }
        if (auto opened = open_grammar(*choose); !opened) {
            return opened;
        }
        if (settings_.logprobs_allowed && (!settings_.logprobs || constrained_ == nullptr)) {
            return bitnet::error{bitnet::errc::invalid_argument,
                                 "--logprobs-allowed was given, and needs --logprobs and a grammar"};
        }
        auto fed_tokens = heal(*prompt, *choose);
        if (!fed_tokens) {
            return std::move(fed_tokens).error();
        }
        prompt->resize(*fed_tokens);
        if (auto opened = open_draft(*session); !opened) {
            return opened;
        }
        context_ = session->context();
        stats.prompt_tokens = prompt->size();
        stopwatch watch;
        if (auto fed = session->feed(*prompt); !fed) {
            return fed;
        }
        for (const bitnet::token id : *prompt) {
            choose->accept(id);
        }
        largest_.resize(settings_.logprobs.value_or(0));
        largest_.resize((std::min)(largest_.size(), model_.parameters().vocabulary));
        return loop(*session,
                    constrained_ ? constrained_->chooser()
                    : healed_    ? bitnet::any_chooser(*healed_)
                                 : bitnet::any_chooser(*choose),
                    *stops, watch);
    }

    /// Null without any.
    [[nodiscard]] const tools::drafting* guesses() const noexcept { return drafting_.get(); }

    [[nodiscard]] std::size_t context() const noexcept { return context_; }

    statistics stats;
    std::vector<std::string> notes;    ///< about the prompt and the choice of tokens
    std::vector<std::string> logprobs; ///< a JSON object for each token, where --stats json has them all

private:
    /// What is generated ends within -n tokens, whole.
    [[nodiscard]] bitnet::result<void> open_grammar(bitnet::sampler& choose) {
        if (!settings_.grammar.is_given()) {
            return {};
        }
        auto opened = tools::constrained_sampler::open(settings_.grammar, model_.text(), choose, settings_.tokens);
        if (!opened) {
            return std::move(opened).error();
        }
        constrained_ = *std::move(opened);
        for (const std::string& what : constrained_->grammar().notes()) {
            note(what);
        }
        return {};
    }

    /// Takes back what may be a part of a word. \return how many tokens of the prompt stay
    [[nodiscard]] bitnet::result<std::size_t> heal(std::span<const bitnet::token> prompt, bitnet::sampler& choose) {
        if (!settings_.heal) {
            return prompt.size();
        }
        if (constrained_ == nullptr) {
            auto trie = bitnet::token_trie::open(model_.text());
            if (!trie) {
                return std::move(trie).error();
            }
            trie_.emplace(*std::move(trie));
            auto opened = bitnet::healed_prefix<bitnet::sampler>::open(choose, *trie_);
            if (!opened) {
                return std::move(opened).error();
            }
            healed_.emplace(*std::move(opened));
            auto kept = healed_->begin(prompt);
            unshown_ = healed_->missing().size();
            return kept;
        }
        const std::size_t kept = prompt.size() - bitnet::tokens_to_heal(constrained_->trie(), prompt);
        const std::string missing = model_.text().decode(prompt.subspan(kept), {.follows_text = true});
        unshown_ = missing.size();
        if (auto begun = constrained_->constraint().restart_behind(missing, settings_.tokens); !begun) {
            return std::move(begun).error();
        }
        return kept;
    }

    [[nodiscard]] bitnet::result<void> open_draft(bitnet::any_session& session) {
        if (!settings_.draft.is_given()) {
            return {};
        }
        auto opened = tools::drafting::open(settings_.draft, settings_.model, model_, session);
        if (!opened) {
            return std::move(opened).error();
        }
        drafting_ = *std::move(opened);
        return {};
    }

    [[nodiscard]] bitnet::result<bitnet::stop_texts> open_stops() const {
        const std::vector<std::string_view> texts(settings_.stops.begin(), settings_.stops.end());
        return bitnet::stop_texts::open(texts);
    }

    void note_double_bos(const std::vector<bitnet::token>& prompt) {
        if (!model_.text().begins_twice(prompt)) {
            return;
        }
        note("the prompt begins with BOS, " + std::string(model_.text().bytes_of(prompt[0])) +
             ", which is added to every prompt of this model: it is there twice");
    }

    void note(const std::string& what) {
        if (what.empty()) {
            return;
        }
        notes.push_back(what);
        if (settings_.stats == "text") {
            std::fprintf(stderr, "note: %s\n", what.c_str());
        }
    }

    [[nodiscard]] bitnet::result<std::vector<bitnet::token>> encode() const {
        const bitnet::tokenizer& text = model_.text();
        std::vector<bitnet::token> tokens;
        if (text.add_bos()) {
            tokens.push_back(*text.bos());
        }
        if (auto done = text.encode(settings_.prompt, tokens, {.parse_special = settings_.special}); !done) {
            return std::move(done).error();
        }
        if (tokens.empty()) {
            return bitnet::error{bitnet::errc::nothing_fed, "the prompt is empty, and " + model_.file().name() +
                                                                " adds no BOS token: there is nothing to continue"};
        }
        return tokens;
    }

    [[nodiscard]] bitnet::result<void> loop(bitnet::any_session& session, bitnet::any_chooser choose,
                                            bitnet::stop_texts& stops, stopwatch& watch) {
        bitnet::stream_decoder decoder(model_.text(), {.show_special = settings_.show_special});
        bool written = !settings_.echo || settings_.ids || tools::put(settings_.prompt);
        bool is_stopped = false;
        while (written && !is_stopped && stats.generated_tokens < settings_.tokens) {
            const auto id = next(session, choose);
            (stats.generated_tokens == 0 ? stats.prompt_ms : stats.generated_ms) += watch.lap();
            if (!id) {
                stats.stopped = session.stopped_by() == bitnet::stop_reason::stop_token ? "stop token" : "context full";
                break;
            }
            if (auto told = tell_logprobs(session); !told) {
                return told;
            }
            const auto step = stops.feed(shown(decoder.feed(*id)));
            written = print(*id, step);
            is_stopped = step.stop.has_value();
            ++stats.generated_tokens;
            if (constrained_ != nullptr && constrained_->constraint().is_done()) {
                stats.stopped = "grammar";
                break;
            }
        }
        if (session.stopped_by() == bitnet::stop_reason::error) {
            return bitnet::error{session.last_error()};
        }
        stats.stopped = is_stopped ? "stop text" : stats.stopped;
        stats.prompt_ms += settings_.tokens == 0 ? watch.lap() : 0;
        if (!written || !print_rest(decoder, stops)) {
            return bitnet::error{bitnet::errc::io_error, "stdout takes no more bytes"};
        }
        return {};
    }

    [[nodiscard]] std::optional<bitnet::token> next(bitnet::any_session& session, bitnet::any_chooser choose) {
        if (settings_.logprobs_allowed && session.position() < session.context()) {
            note_allowed(session);
        }
        if (drafting_ != nullptr) {
            return drafting_->session->next(choose); // of several tokens' logits together: see any_session::run_ahead
        }
        if (settings_.logprobs && session.position() < session.context()) {
            static_cast<void>(session.logits()); // all are needed; next() tells what may be wrong
        }
        return session.next(choose);
    }

    /// The logprobs of the tokens that may come next, relative to these. What may be wrong next() tells.
    void note_allowed(bitnet::any_session& session) {
        allowed_.clear();
        const auto logits = session.logits();
        const auto allowed = constrained_->constraint().allowed();
        for (std::size_t id = 0; logits && allowed && id < logits->size(); ++id) {
            if (allowed->contains(static_cast<bitnet::token>(id))) {
                allowed_.push_back({static_cast<bitnet::token>(id), (*logits)[id]});
            }
        }
        among_allowed_.resize(allowed_.size());
        bitnet::logprobs_among(allowed_, among_allowed_);
    }

    [[nodiscard]] bitnet::result<void> tell_logprobs(bitnet::any_session& session) {
        if (!settings_.logprobs) {
            return {};
        }
        const auto chosen = session.logprobs(largest_);
        if (!chosen) {
            return chosen.error();
        }
        tools::json_writer json;
        json.begin('{');
        write_members(json, *chosen);
        json.begin("top", '[');
        for (const bitnet::token_logprob& each : largest_) {
            json.begin('{');
            write_members(json, each);
            json.end('}');
        }
        json.end(']');
        json.end('}');
        if (settings_.stats == "json") {
            logprobs.push_back(json.text());
        } else {
            std::fprintf(stderr, "%s\n", json.text().c_str());
        }
        return {};
    }
    void write_members(tools::json_writer& json, const bitnet::token_logprob& of) const {
        json.member("id", of.id);
        json.member("text", model_.text().bytes_of(of.id));
        json.member("logprob", of.logprob);
        if (settings_.logprobs_allowed) {
            const auto at =
                std::lower_bound(among_allowed_.begin(), among_allowed_.end(), of.id,
                                 [](const bitnet::token_logprob& each, bitnet::token id) { return each.id < id; });
            if (at != among_allowed_.end() && at->id == of.id) {
                json.member("logprob_allowed", at->logprob);
            }
        }
    }

    /// Without what comes again of the prompt.
    [[nodiscard]] std::string_view shown(std::string_view text) noexcept {
        const std::size_t again = std::min(unshown_, text.size());
        unshown_ -= again;
        return text.substr(again);
    }
    [[nodiscard]] bool print(bitnet::token id, const bitnet::stop_texts::step& step) {
        if (settings_.ids) {
            return tools::put((stats.generated_tokens == 0 ? "" : " ") + std::to_string(id));
        }
        return tools::put(step.shown[0]) && tools::put(step.shown[1]);
    }
    [[nodiscard]] bool print_rest(bitnet::stream_decoder& decoder, bitnet::stop_texts& stops) {
        if (settings_.ids) {
            return tools::put("\n");
        }
        const auto step = stops.feed(shown(decoder.flush()));
        return tools::put(step.shown[0]) && tools::put(step.shown[1]) && tools::put(stops.flush());
    }

    const settings& settings_;
    const bitnet::any_model& model_;
    std::size_t context_ = 0;
    std::unique_ptr<tools::constrained_sampler> constrained_;
    std::optional<bitnet::token_trie> trie_; ///< for healed_
    std::optional<bitnet::healed_prefix<bitnet::sampler>> healed_;
    std::size_t unshown_ = 0; ///< bytes of the prompt that come again
    std::unique_ptr<tools::drafting> drafting_;
    std::vector<bitnet::token_logprob> largest_;
    std::vector<bitnet::scored_token> allowed_;        ///< with --logprobs-allowed, as the next
    std::vector<bitnet::token_logprob> among_allowed_; ///< by ascending ids
};

void print_lines(const settings& chosen, const bitnet::any_model& model, const generation& done) {
    const statistics& s = done.stats;
    std::fprintf(stderr, "\nseed %llu, isa %s, kv %s, %zu threads, context %zu, stopped by %.*s\n",
                 static_cast<unsigned long long>(chosen.sampling.others.seed), std::string(model.isa()).c_str(),
                 chosen.model.kv.c_str(), chosen.model.threads, done.context(), static_cast<int>(s.stopped.size()),
                 s.stopped.data());
    std::fprintf(stderr, "load %.1f ms; prompt %zu tokens, %.1f tok/s; generated %zu tokens, %.1f tok/s\n", s.load_ms,
                 s.prompt_tokens, s.prompt_rate(), s.generated_tokens, s.generated_rate());
    if (done.guesses() != nullptr) {
        std::fprintf(stderr, "%s\n", done.guesses()->summary().c_str());
    }
}

void print_json(const settings& chosen, const bitnet::any_model& model, const generation& done) {
    const statistics& s = done.stats;
    tools::json_writer json;
    json.begin('{');
    json.member("load_ms", s.load_ms);
    json.member("prompt_tokens", s.prompt_tokens);
    json.member("prompt_ms", s.prompt_ms);
    json.member("prompt_tokens_per_second", s.prompt_rate());
    json.member("generated_tokens", s.generated_tokens);
    json.member("generated_ms", s.generated_ms);
    json.member("generated_tokens_per_second", s.generated_rate());
    if (done.guesses() != nullptr) {
        const bitnet::speculation_statistics& guesses = done.guesses()->session->statistics();
        json.member("drafted", guesses.drafted);
        json.member("accepted", guesses.accepted);
        json.member("tokens_per_pass", guesses.tokens_per_pass());
    }
    json.member("stopped_by", s.stopped);
    json.member("threads", chosen.model.threads);
    json.member("isa", model.isa());
    json.member("kv", chosen.model.kv);
    json.member("context", done.context());
    json.member("seed", chosen.sampling.others.seed);
    json.begin("notes", '[');
    for (const auto all : {model.notes(), std::span<const std::string>(done.notes)}) {
        for (const std::string& note : all) {
            json.value(note);
        }
    }
    json.end(']');
    if (chosen.logprobs) {
        json.begin("logprobs", '[');
        for (const std::string& each : done.logprobs) {
            json.raw(each);
        }
        json.end(']');
    }
    json.end('}');
    std::fprintf(stderr, "%s\n", json.text().c_str());
}

int run(const settings& chosen) {
    stopwatch watch;
    auto model = tools::open_model(chosen.model.file, chosen.model.to_open(), chosen.model.isa, chosen.model.kv);
    if (!model) {
        return tools::fail(program, model.error().message);
    }
    generation work(chosen, *model);
    work.stats.load_ms = watch.lap();
    if (chosen.stats == "text") {
        for (const std::string& note : model->notes()) {
            std::fprintf(stderr, "note: %s\n", note.c_str());
        }
    }
    if (const auto done = work.run(); !done) {
        return tools::fail(program, done.error().message);
    }
    if (chosen.stats == "text") {
        print_lines(chosen, *model, work);
    } else if (chosen.stats == "json") {
        print_json(chosen, *model, work);
    }
    return 0;
}

} // namespace

int main(int argc, char** argv) {
    tools::use_binary_streams();
    tools::options all(std::string(program), "Continues a prompt: text to stdout as it comes, figures to stderr.");
    settings chosen;
    chosen.add_to(all);
    if (const auto status = all.read(argc, argv)) {
        return *status;
    }
    if (chosen.given_prompt.has_value() == chosen.prompt_file.has_value()) {
        return all.refuse(chosen.given_prompt ? "-p and -f both give a prompt"
                                              : "-p PROMPT is missing, and so is -f FILE");
    }
    auto prompt = chosen.prompt_file ? tools::read_prompt(*chosen.prompt_file)
                                     : bitnet::result<std::string>(*std::move(chosen.given_prompt));
    if (!prompt) {
        return tools::fail(program, prompt.error().message);
    }
    chosen.prompt = *std::move(prompt);
    return run(chosen);
}
