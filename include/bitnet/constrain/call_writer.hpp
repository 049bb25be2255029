// SPDX-License-Identifier: MIT
// call_writer: follows an answer from text to calls and back, and tells which tokens may come next.
#ifndef BITNET_CONSTRAIN_CALL_WRITER_HPP
#define BITNET_CONSTRAIN_CALL_WRITER_HPP

#include <bitnet/constrain/call_marks.hpp>
#include <bitnet/constrain/from_json.hpp>
#include <bitnet/constrain/grammar.hpp>
#include <bitnet/constrain/mask_bits.hpp>
#include <bitnet/constrain/matcher.hpp>
#include <bitnet/constrain/token_constraint.hpp>
#include <bitnet/constrain/token_trie.hpp>
#include <bitnet/constrain/tool_set.hpp>
#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/json.hpp>
#include <bitnet/model/ranking.hpp>
#include <bitnet/run/allowed_tokens.hpp>
#include <bitnet/run/conversation_turn.hpp>
#include <bitnet/run/token_chooser.hpp>
#include <bitnet/run/tool_choice.hpp>
#include <bitnet/run/tool_source.hpp>
#include <bitnet/text/thought_filter.hpp>
#include <bitnet/text/token.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// The guide of constrained_tools. An answer goes through these places:
///
///     text     free text, but that no call may begin where it would not fit, or none is wanted
///     thought  the same of an answer that has to be a call, up to </think>; closed in time for a call to fit
///     fixed    one of two lists of tokens, such as those of <tool_call>, or a stop token
///     json     {"name":...,"arguments":{...}}, held to its grammar
///     done     the answer has ended
///
/// Where a form has no mark in front of calls, the grammar goes along with the text from its first byte until that is
/// no call any more, and a text that has come as far as the form's `lead` is in `json`.
///
/// It is a constrained_token_chooser, too, for all places where not every token is allowed.
class call_writer final : public call_guide {
public:
    [[nodiscard]] static result<std::unique_ptr<call_guide>>
    open(const tool_set& tools, const token_trie& trie, const constraint_options& options, const answer_form& form) {
        return guarded([&]() -> result<std::unique_ptr<call_guide>> {
            if (&trie.text() != form.text) {
                return error{errc::invalid_argument, "constrained_tools: the token_trie is of another tokenizer than "
                                                     "that of the conversation's model"};
            }
            auto marks = call_marks::make(form);
            if (!marks) {
                return failed(marks);
            }
            auto shared = std::make_shared<const call_marks>(*std::move(marks));
            auto made = std::make_unique<call_writer>(tools, trie, options, std::move(shared));
            if (auto ready = made->allocate(); !ready) {
                return failed(ready);
            }
            return std::unique_ptr<call_guide>(std::move(made));
        });
    }
    /// Use open().
    call_writer(const tool_set& tools, const token_trie& trie, const constraint_options& options,
                std::shared_ptr<const call_marks> marks)
        : tools_(&tools), trie_(&trie), options_(options), marks_(std::move(marks)) {}

    [[nodiscard]] result<void> set_choice(const tool_choice& choice) override {
        const bool is_named = choice.mode == tool_mode::named;
        if (is_named && !tools_->contains(choice.name)) {
            return error_saying(errc::invalid_argument, {"tool_choice: there is no function ", quoted{choice.name}});
        }
        setting made{choice.mode, choice.parallel, std::string(is_named ? choice.name : std::string_view{}), {}, 0};
        if (next_ != nullptr && next_->name == made.name) {
            made.calls = next_->calls;
            made.least_call = next_->least_call;
        } else {
            auto calls = tools_->call_grammar(made.name, marks_->tools, {.closed = true, .spaces = true});
            if (!calls) {
                return failed(calls);
            }
            auto at = matcher::open(*calls, options_.matcher);
            auto held = at ? token_constraint::open(*calls, *trie_, options_) : failed(at);
            if (!held) {
                return failed(held);
            }
            made.calls = *std::move(calls);
            made.least_call = at->shortest_end() + marks_->close.size();
            next_held_ = *std::move(held);
        }
        next_ = std::make_shared<const setting>(std::move(made));
        return {};
    }

    [[nodiscard]] std::size_t least() const noexcept override {
        const std::size_t before = marks_->has_thoughts ? tokens_after_thought() : marks_->open.size();
        return requires_call(*next_) ? before + next_->least_call : 1;
    }

    void begin(std::string_view begun, std::size_t most, bool is_new) override {
        if (is_new || now_ == nullptr) {
            now_ = next_;
            held_ = next_held_ ? std::exchange(next_held_, std::nullopt) : std::move(held_);
        }
        is_told_again_ = !is_new;
        left_ = most;
        matched_ = 0;
        json_.clear();
        is_lead_ = marks_->is_lead() && begun.empty();
        is_led_ = is_lead_ && may_call() && held_->restart(left_).has_value();
        filter_.reset(marks_->begins_in_thought);
        static_cast<void>(marks_->has_thoughts ? filter_.feed(begun) : std::string_view{});
        go_to(place::text);
        if (requires_call(*now_) && filter_.is_in_thought()) {
            go_to(place::thought);
        } else if (requires_call(*now_) && marks_->is_lead()) {
            begin_call();
        } else if (requires_call(*now_)) {
            const bool may_think =
                begun.empty() && marks_->may_think && has_room_for_call(marks_->think.size() + tokens_after_thought());
            go_to(place::fixed);
            add_way(marks_->open, outcome::call);
            if (may_think) {
                add_way(marks_->think, outcome::thought);
            }
        } else if (!marks_->is_lead()) {
            static_cast<void>(match(begun));
        }
        end_thought_in_time();
    }

    [[nodiscard]] any_chooser chooser(any_chooser free) noexcept override {
        inner_ = free;
        is_told_again_ = false;
        const bool is_free = place_ == place::done || (place_ == place::text && forbidden().empty());
        return is_free ? free : any_chooser(*this);
    }

    [[nodiscard]] answer_part take(token id) override {
        left_ -= left_ != 0 ? 1 : 0;
        const answer_part part = follow(id);
        end_thought_in_time();
        return part;
    }

    [[nodiscard]] result<conversation_turn::call> call() const override {
        const auto json = json_document::parse(json_, "call", written_json);
        const auto name = json
                              ? (json->root().is_array() ? *json->root().elements().begin() : json->root()).find("name")
                              : std::nullopt;
        const auto called = name ? name->as_string() : std::nullopt;
        if (!called) {
            return json ? error{errc::bad_value, "call: it has no name"} : failed(json);
        }
        return conversation_turn::call{std::string(*called), std::string(arguments_of(json_))};
    }

    [[nodiscard]] result<std::unique_ptr<call_guide>> copy() const override {
        auto made = std::make_unique<call_writer>(*tools_, *trie_, options_, marks_);
        auto ready = made->allocate();
        if (ready && now_ != nullptr) {
            ready = put(made->held_, now_);
        }
        if (ready && next_ != now_ && (now_ == nullptr || next_->name != now_->name)) {
            ready = put(made->next_held_, next_);
        }
        made->now_ = now_;
        made->next_ = next_;
        return ready ? result<std::unique_ptr<call_guide>>(std::move(made)) : failed(ready);
    }

    // As a constrained_token_chooser.

    [[nodiscard]] result<allowed_tokens> allowed() {
        switch (place_) {
        case place::json:
            return held_->allowed();
        case place::fixed:
            return allowed_ways();
        case place::text:
            return marks_->is_lead() ? all_but_no_call(forbidden()) : all_but(forbidden());
        default:
            return all_but({});
        }
    }
    /// See foreseeing_token_chooser.
    [[nodiscard]] std::span<const token> forced() noexcept {
        if (place_ == place::json) {
            return held_->forced();
        }
        const bool is_first = !ways_[0].tokens.empty();
        const std::span<const token> left = ways_[is_first ? 0 : 1].tokens;
        const bool is_only = place_ == place::fixed && !may_stop_ && is_first != !ways_[1].tokens.empty();
        return is_only && at_ < left.size() ? left.subspan(at_) : std::span<const token>();
    }
    [[nodiscard]] std::size_t needs() const { return inner_->needs(); }
    [[nodiscard]] token choose(std::span<const float> all) {
        const auto some = allowed();
        return some && some->count != 0 ? inner_->choose(candidates_of(some->bits, all, candidates_.span())) : no_token;
    }
    [[nodiscard]] token choose(std::span<const scored_token> largest) const { return inner_->choose(largest); }
    void accept(token id) const { inner_->accept(id); }

private:
    enum class place : unsigned char { text, thought, fixed, json, done };
    /// What comes behind a list of fixed tokens.
    enum class outcome : unsigned char { thought, thought_end, call, call_end };
    struct way {
        std::span<const token> tokens;
        outcome then = outcome::call;
    };
    struct setting {
        tool_mode mode;
        bool is_parallel;
        std::string name; ///< of the one function that can be called; empty: any
        grammar calls;
        std::size_t least_call; ///< tokens behind the mark in front of a call that suffice for one, its end included
    };
    using part_kind = answer_part::part_kind;

    [[nodiscard]] static bool requires_call(const setting& chosen) noexcept {
        return chosen.mode == tool_mode::required || chosen.mode == tool_mode::named;
    }

    [[nodiscard]] result<void> allocate() {
        error failure;
        detail::allocate(bits_, (trie_->vocabulary() + 63) / 64, "calls", failure);
        detail::allocate(candidates_, trie_->vocabulary(), "calls", failure);
        constexpr std::size_t usual_call = 1024; // bytes
        json_.reserve(usual_call);
        filter_.reserve(usual_call);
        return failure.code != errc{} ? result<void>(failure) : result<void>();
    }
    [[nodiscard]] result<void> put(std::optional<token_constraint>& into,
                                   const std::shared_ptr<const setting>& of) const {
        auto made = token_constraint::open(of->calls, *trie_, options_);
        if (!made) {
            return failed(made);
        }
        into = *std::move(made);
        return {};
    }

    void go_to(place next) noexcept {
        place_ = next;
        ways_.fill({});
        at_ = 0;
        may_stop_ = false;
    }
    void add_way(std::span<const token> tokens, outcome then) noexcept {
        ways_[ways_[0].tokens.empty() ? 0 : 1] = {tokens, then};
    }
    void go_way(std::span<const token> tokens, outcome then) noexcept {
        go_to(place::fixed);
        add_way(tokens, then);
    }
    /// \param after tokens that come first
    [[nodiscard]] bool has_room_for_call(std::size_t after) const noexcept {
        return left_ >= after && left_ - after >= now_->least_call;
    }
    void end_thought_in_time() noexcept {
        if (place_ == place::thought && !has_room_for_call(tokens_after_thought() + 1)) {
            go_way(marks_->end_thought, outcome::thought_end);
        }
    }
    /// Those that end a thought and begin a call.
    [[nodiscard]] std::size_t tokens_after_thought() const noexcept {
        return marks_->end_thought.size() + marks_->open_after_thought.size();
    }
    void begin_call() {
        json_.clear();
        is_cut_short_ = false;
        go_to(place::json);
        if (!held_->restart(left_ - (std::min)(left_, marks_->close.size()))) {
            static_cast<void>(held_->restart(std::nullopt)); // cut where the answer ends: it has less than least()
        }
    }

    [[nodiscard]] answer_part follow(token id) {
        const std::string_view bytes = trie_->text().bytes_of(id);
        switch (place_) {
        case place::thought:
            static_cast<void>(filter_.feed(bytes));
            if (!filter_.is_in_thought()) {
                go_way(marks_->open_after_thought, outcome::call);
            }
            return {};
        case place::text:
            return marks_->is_lead() ? follow_lead(id, bytes) : follow_text(bytes);
        case place::fixed:
            return follow_way(id);
        case place::json:
            return follow_call(id, bytes);
        default:
            return {};
        }
    }
    [[nodiscard]] answer_part follow_text(std::string_view bytes) {
        static_cast<void>(marks_->has_thoughts ? filter_.feed(bytes) : std::string_view{});
        if (marks_->has_thoughts && filter_.is_in_thought()) {
            matched_ = 0;
            return {};
        }
        const bool begins = match(bytes);
        if (begins && may_call() && has_room_for_call(0)) {
            begin_call();
            return {part_kind::call, marks_->tools.begin.size()};
        }
        return {part_kind::text, matched_};
    }
    /// The same where a call has no mark in front of it.
    [[nodiscard]] answer_part follow_lead(token id, std::string_view bytes) {
        for (std::size_t i = 0; is_lead_ && i < bytes.size() && matched_ < marks_->mark().size(); ++i) {
            is_lead_ = marks_->mark()[matched_] == bytes[i];
            matched_ += is_lead_ ? 1u : 0u;
        }
        is_led_ = is_led_ && is_lead_ && held_->accept(id);
        json_ += is_led_ ? bytes : std::string_view{};
        const bool is_whole = is_lead_ && matched_ == marks_->mark().size();
        is_lead_ = is_lead_ && !is_whole;
        if (is_whole && is_led_) {
            is_cut_short_ = false;
            go_to(place::json);
            return {part_kind::call, answer_part::all};
        }
        return {part_kind::text, is_lead_ ? matched_ : 0};
    }
    /// \return whether the mark in front of calls ends with these bytes
    [[nodiscard]] bool match(std::string_view bytes) noexcept {
        bool is_end = false;
        for (const char byte : bytes) {
            matched_ = marks_->after(matched_, byte);
            is_end = matched_ == marks_->mark().size();
            matched_ = is_end ? 0 : matched_;
        }
        return is_end;
    }
    [[nodiscard]] answer_part follow_way(token id) {
        for (way& each : ways_) {
            if (at_ < each.tokens.size() && each.tokens[at_] != id) {
                each.tokens = {};
            }
        }
        ++at_;
        may_stop_ = false;
        bool may_be_text = false;
        bool may_be_call = false;
        for (const way& each : ways_) {
            if (!each.tokens.empty() && each.tokens.size() == at_) {
                return end_way(each.then);
            }
            const bool is_text = each.then == outcome::thought || each.then == outcome::thought_end;
            may_be_text = may_be_text || (!each.tokens.empty() && is_text);
            may_be_call = may_be_call || (!each.tokens.empty() && !is_text);
        }
        if (!may_be_text && !may_be_call) { // an answer is told again that was written under other rules
            go_to(place::text);
        }
        return {may_be_text || !may_be_call ? part_kind::text : part_kind::call, may_be_call ? answer_part::all : 0};
    }
    [[nodiscard]] answer_part end_way(outcome then) {
        if (then == outcome::thought) {
            filter_.reset(true);
            go_to(place::thought);
            return {};
        }
        if (then == outcome::thought_end) {
            go_way(marks_->open_after_thought, outcome::call);
            return {};
        }
        if (then == outcome::call) {
            begin_call();
            return {part_kind::call, answer_part::all};
        }
        const bool is_last = !now_->is_parallel || marks_->tools.has_one_call();
        const bool goes_on = requires_call(*now_);
        go_to(is_last ? place::done : goes_on ? place::fixed : place::text);
        matched_ = 0;
        may_stop_ = !is_last && goes_on;
        if (may_stop_ && has_room_for_call(marks_->open_next.size())) {
            add_way(marks_->open_next, outcome::call);
        }
        return {part_kind::call_end, answer_part::all, is_last, is_cut_short_};
    }
    [[nodiscard]] answer_part follow_call(token id, std::string_view bytes) {
        if (is_told_again_) {
            static_cast<void>(held_->allowed()); // says whether the limit is near, as it did the first time
        }
        is_cut_short_ = is_cut_short_ || held_->is_near_limit();
        if (!held_->accept(id)) {
            go_to(place::text);
            return {};
        }
        json_ += bytes;
        if (held_->can_end() && marks_->close.empty()) {
            return end_way(outcome::call_end);
        }
        if (held_->can_end()) {
            go_way(marks_->close, outcome::call_end);
        }
        return {part_kind::call, answer_part::all};
    }

    [[nodiscard]] bool may_call() const noexcept { return now_->mode != tool_mode::none; }
    /// Tokens that may not come in a text: those with which a call would begin that may not, and those that go on
    /// behind the mark.
    [[nodiscard]] std::span<const token> forbidden() const noexcept {
        if (marks_->has_thoughts && filter_.is_in_thought()) {
            return {};
        }
        if (marks_->is_lead()) { // those with which what may be a call comes to be one
            return is_lead_ ? std::span<const token>(marks_->ends[matched_].tokens) : std::span<const token>();
        }
        const call_marks::endings& ends = marks_->ends[matched_];
        const bool may_begin = may_call() && has_room_for_call(1);
        return std::span(ends.tokens).subspan(may_begin ? ends.exact : 0);
    }

    [[nodiscard]] allowed_tokens all_but(std::span<const token> those) noexcept {
        std::size_t count = trie_->vocabulary();
        allow_all(bits_.span(), count);
        const auto take_out = [&](token id) {
            const auto at = static_cast<std::size_t>(id);
            const std::uint64_t bit = std::uint64_t{1} << at % 64;
            count -= (bits_[at / 64] & bit) != 0 ? 1u : 0u;
            bits_[at / 64] &= ~bit;
        };
        std::for_each(those.begin(), those.end(), take_out);
        if (place_ == place::thought) { // which a call has to follow
            std::for_each(marks_->stops.begin(), marks_->stops.end(), take_out);
        }
        return {count, bits_.span()};
    }
    /// All but those of these tokens that are not of a call.
    [[nodiscard]] allowed_tokens all_but_no_call(std::span<const token> those) noexcept {
        allowed_tokens made = all_but(those);
        for (const token id : those) {
            if (is_led_ && held_->allows(id)) {
                const auto at = static_cast<std::size_t>(id);
                bits_[at / 64] |= std::uint64_t{1} << at % 64;
                ++made.count;
            }
        }
        return made;
    }
    [[nodiscard]] allowed_tokens allowed_ways() noexcept {
        std::fill_n(bits_.data(), bits_.size(), std::uint64_t{0});
        std::size_t count = 0;
        const auto put_in = [&](token id) {
            const auto at = static_cast<std::size_t>(id);
            const std::uint64_t bit = std::uint64_t{1} << at % 64;
            if ((bits_[at / 64] & bit) == 0 && count < few_.size()) {
                bits_[at / 64] |= bit;
                few_[count++] = static_cast<std::uint32_t>(id);
            }
        };
        for (const way& each : ways_) {
            if (at_ < each.tokens.size()) {
                put_in(each.tokens[at_]);
            }
        }
        if (may_stop_) {
            std::for_each(marks_->stops.begin(), marks_->stops.end(), put_in);
        }
        std::sort(few_.begin(), few_.begin() + static_cast<std::ptrdiff_t>(count));
        return {count, bits_.span(), std::span(few_).first(count)};
    }

    /// The arguments as they are written in a call that its grammar allows.
    [[nodiscard]] static std::string_view arguments_of(std::string_view call) noexcept {
        std::size_t at = call.find("\"name\"");
        at = call.find('"', call.find(':', at));
        for (++at; at < call.size() && call[at] != '"'; ++at) {
            at += call[at] == '\\' ? 1u : 0u;
        }
        const std::size_t begin = call.find('{', at);
        const std::size_t end = call.rfind('}');
        return begin < end ? call.substr(begin, call.rfind('}', end - 1) + 1 - begin) : std::string_view{};
    }

    const tool_set* tools_;
    const token_trie* trie_;
    constraint_options options_;
    std::shared_ptr<const call_marks> marks_;
    std::shared_ptr<const setting> now_;  ///< of the answer that is being given
    std::shared_ptr<const setting> next_; ///< and of those that follow
    std::optional<token_constraint> held_;
    std::optional<token_constraint> next_held_; ///< none: the same one
    std::optional<any_chooser> inner_;

    place place_ = place::done;
    std::array<way, 2> ways_;
    std::size_t at_ = 0;      ///< tokens of the ways that were taken
    std::size_t matched_ = 0; ///< bytes of the mark in front of calls that the text ends with
    std::size_t left_ = 0;    ///< tokens that the answer may have yet
    bool may_stop_ = false;
    bool is_cut_short_ = false;
    bool is_told_again_ = false;
    bool is_lead_ = false; ///< the answer so far begins the form's `lead`
    bool is_led_ = false;  ///< and held_ has gone along with it
    thought_filter filter_{false};
    std::string json_;
    buffer<std::uint64_t> bits_;
    buffer<scored_token> candidates_;
    std::array<std::uint32_t, 64> few_{};
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
