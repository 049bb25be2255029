// SPDX-License-Identifier: MIT
// chat_slot: a place in which one request at a time is answered, and what stays there for requests that go on with it.
#pragma once

#include "chat_request.hpp"
#include "served_model.hpp"

#include <bitnet/any.hpp>
#include <bitnet/constrain/constrained_tools.hpp>
#include <bitnet/constrain/matcher.hpp>
#include <bitnet/constrain/tool_set.hpp>
#include <bitnet/text/tool_form.hpp>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace server {

/// A dialog is told to the conversation that was here before, which computes only what is new; its answers are read as
/// text again, so that what a request gets does not depend on what was here.
class chat_slot {
public:
    /// How many turns of the request's are here.
    [[nodiscard]] std::size_t common(const chat_request& asked) const {
        return talk_ && key_ == key_of(asked) ? common_turns(asked.turns) : 0;
    }
    [[nodiscard]] bool is_empty() const noexcept { return !talk_.has_value(); }

    /// The conversation tells the request's turns, and no answer is begun.
    /// \param has_room whether the limit has room for a call; if not, the form of one comes on top of it
    [[nodiscard]] bitnet::result<bitnet::conversation*> tell(served_model& of, const chat_request& asked,
                                                             bool has_room) {
        if (!talk_ || key_ != key_of(asked) || has_room_ != has_room) {
            if (auto opened = open(of, asked, has_room); !opened) {
                return std::move(opened).error();
            }
        }
        auto told = tell_turns(asked);
        if (!told) {
            return std::move(told).error();
        }
        if (tools_) {
            if (auto chosen = talk_->choose_calls(choice_of(asked)); !chosen) {
                return std::move(chosen).error();
            }
        }
        return &*talk_;
    }

    /// Tokens of an answer, after tell(). nullopt: as many as there is room for
    [[nodiscard]] std::optional<std::size_t> limit_for(const chat_request& asked) const {
        return asked.tools.is_used() ? limit_ : asked.sampling.limit;
    }

    /// The session of raw texts.
    [[nodiscard]] bitnet::result<bitnet::any_session*> text_session(served_model& of) {
        if (!session_) {
            auto options = of.to_session();
            options.stop_at_stop_tokens = true;
            auto opened = bitnet::any_session::open(of.model, *of.threads, options);
            if (!opened) {
                return std::move(opened).error();
            }
            session_.emplace(*std::move(opened));
        }
        return &*session_;
    }

private:
    /// The functions of a conversation.
    struct callable {
        bitnet::tool_set set;
        std::optional<bitnet::constrained_tools> source;
    };

    [[nodiscard]] static bitnet::tool_choice choice_of(const chat_request& asked) {
        bitnet::tool_choice choice = asked.tools.choice;
        choice.name = asked.tools.named;
        return choice;
    }

    /// What a conversation is opened for: conversations with tools keep them and the limit.
    [[nodiscard]] static std::string key_of(const chat_request& asked) {
        std::string key;
        for (const auto& [name, description, parameters] : asked.tools.functions) {
            key.append(name).append(1, '\0').append(description).append(1, '\0').append(parameters).append(1, '\0');
        }
        return key.empty() ? key : key + std::to_string(asked.sampling.limit.value_or(0));
    }

    [[nodiscard]] bitnet::result<void> open(served_model& of, const chat_request& asked, bool has_room) {
        talk_.reset();
        tools_.reset();
        limit_ = asked.sampling.limit;
        bitnet::conversation_options options;
        options.session = of.to_session();
        options.sampling = bitnet::sampler_options::greedy(); // every request brings its own
        options.chat.tools_in_words = true;
        if (asked.tools.is_used()) {
            auto made = open_tools(of, asked.tools);
            if (!made) {
                return std::move(made).error();
            }
            tools_ = *std::move(made);
            options.tools = &*tools_->source;
            options.calls = {bitnet::tool_mode::none};
            const auto form =
                has_room ? bitnet::result<std::size_t>(std::size_t{0}) : form_of(of, *tools_, asked.tools);
            if (!form) {
                return bitnet::error{form.error()};
            }
            options.answer_limit = limit_ ? *(limit_ = *limit_ + *form) : 0;
        }
        auto opened = bitnet::conversation::open(of.model, *of.threads, options);
        if (!opened) {
            return std::move(opened).error();
        }
        talk_.emplace(*std::move(opened));
        key_ = key_of(asked);
        has_room_ = has_room;
        return {};
    }

    [[nodiscard]] static bitnet::result<std::unique_ptr<callable>> open_tools(served_model& of,
                                                                              const tool_fields& declared) {
        auto made = std::make_unique<callable>();
        for (const auto& [name, description, parameters] : declared.functions) {
            if (auto added = made->set.declare({name, description}, parameters); !added) {
                return std::move(added).error();
            }
        }
        const auto trie = of.trie();
        if (!trie) {
            return bitnet::error{trie.error()};
        }
        auto source = bitnet::constrained_tools::open(made->set, **trie);
        if (!source) {
            return std::move(source).error();
        }
        made->source.emplace(*std::move(source));
        return made;
    }

    /// Tokens that the shortest call of any function may need, one for each byte.
    [[nodiscard]] static bitnet::result<std::size_t> form_of(served_model& of, const callable& made,
                                                             const tool_fields& declared) {
        const auto format = of.model.chat();
        if (!format) {
            return bitnet::error{format.error()};
        }
        const bitnet::tool_form& form = format->calls();
        const std::string before = std::string(form.begin).append(form.before);
        const std::string after = std::string(form.after).append(form.end);
        bitnet::tool_form whole = form;
        whole.before = before;
        whole.after = after;
        std::size_t most = 0;
        for (const tool_fields::function& each : declared.functions) {
            const auto grammar = made.set.call_grammar(each.name, whole, {.closed = true});
            if (!grammar) {
                return bitnet::error{grammar.error()};
            }
            auto follows = bitnet::matcher::open(*grammar);
            if (!follows) {
                return std::move(follows).error();
            }
            most = (std::max)(most, std::size_t{follows->shortest_end()});
        }
        return most;
    }

    [[nodiscard]] std::size_t common_turns(const std::vector<bitnet::conversation_turn>& turns) const {
        const auto same = [](const bitnet::conversation_turn& a, const bitnet::conversation_turn& b) {
            const auto same_call = [](const auto& x, const auto& y) {
                return x.name == y.name && x.arguments == y.arguments;
            };
            // The text of an answer has its calls: it is told anew.
            return a.role == b.role && a.text == b.text && (!a.is_answer || a.calls.empty()) &&
                   std::equal(a.calls.begin(), a.calls.end(), b.calls.begin(), b.calls.end(), same_call);
        };
        const auto here = talk_->history();
        return static_cast<std::size_t>(
            std::mismatch(here.begin(), here.end(), turns.begin(), turns.end(), same).first - here.begin());
    }

    [[nodiscard]] bitnet::result<void> tell_turns(const chat_request& asked) {
        const std::size_t kept = common_turns(asked.turns);
        if (auto done = talk_->rewind(kept); !done) {
            return done;
        }
        for (std::size_t i = 0; i < kept; ++i) {
            if (talk_->history()[i].is_answer) {
                if (auto read = talk_->edit(i, asked.turns[i].text); !read) {
                    return read;
                }
            }
        }
        for (std::size_t i = kept; i < asked.turns.size(); ++i) {
            if (auto added = tell_turn(asked.turns[i]); !added) {
                return added;
            }
        }
        return {};
    }
    [[nodiscard]] bitnet::result<void> tell_turn(const bitnet::conversation_turn& turn) {
        std::vector<bitnet::chat_tool_call> calls;
        for (const auto& [name, arguments] : turn.calls) {
            calls.push_back({name, arguments});
        }
        auto added = talk_->add({turn.role, turn.text, calls});
        if (added || added.error().code != bitnet::errc::invalid_argument || talk_->format().has_tools() ||
            (calls.empty() && turn.role != "tool")) {
            return added;
        }
        // The template has no place for calls: they are told in words, as where there are tools.
        if (turn.role == "tool") {
            return talk_->add({"user", bitnet::detail::as_tool_response(turn.text)});
        }
        std::string text = turn.text;
        bitnet::detail::append_calls(text, {turn.role, turn.text, calls});
        return talk_->add({turn.role, text});
    }

    std::string key_;
    bool has_room_ = true;
    std::optional<std::size_t> limit_;
    std::unique_ptr<callable> tools_; ///< outlives talk_, which borrows it
    std::optional<bitnet::conversation> talk_;
    std::optional<bitnet::any_session> session_;
};

} // namespace server
