// SPDX-License-Identifier: MIT
// session_options, batch_options and scheduler_options, and why a session stopped.
#ifndef BITNET_RUN_SESSION_OPTIONS_HPP
#define BITNET_RUN_SESSION_OPTIONS_HPP

#include <bitnet/checkpoint/hyper_parameters.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/memory_source.hpp>
#include <bitnet/model/kv_pool.hpp>
#include <bitnet/run/speculation_options.hpp>
#include <bitnet/thread/thread_limits.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>

namespace bitnet::inline BITNET_ABI {

struct session_options {
    /// Positions that the session has room for; 0 takes the model's own, but not more than 4096. In a model with
    /// longrope it also decides how all of them rotate: see hyper_parameters::rope_long_divisors.
    std::size_t context = 0;
    /// Whether a session whose context is full goes on, with a window: of what it has, the first positions (sinks)
    /// stay, and of what is behind them the oldest page of 256 positions is dropped whenever room is needed. So a token
    /// sees the sinks and the last ones, context - 255 to context positions together. The keys and values of those were
    /// made while more was there: the answers are not those of a session that was fed what is left, and what was
    /// dropped is forgotten but for that. Distances are counted as if nothing had been between the sinks and the
    /// window, so that none is longer than the context. What is computed depends on the tokens, `context` and `sinks`
    /// alone. The context is a whole number of pages then; 0 takes as many as there are. Costs 4 bytes more a position.
    /// Source: Xiao et al., "Efficient Streaming Language Models with Attention Sinks", 2023, here with keys that are
    /// never rotated again: it is the query that is rotated a second time for the sinks.
    bool window = false;
    /// Positions at the front that a window keeps, in whole pages: rounded up to a multiple of 256. One page or the
    /// length of a system prompt.
    std::size_t sinks = 1;
    /// Threads that a step uses, the calling one included; nullopt: usable_cores(). A host that has other work for its
    /// cores, or opens many sessions, says how many, or lends a pool.
    std::optional<std::size_t> threads = {};
    /// How long a thread without work spins before it sleeps; more saves wake-ups between tokens, zero saves power.
    std::chrono::microseconds spin = default_spin;
    /// Tokens that run through the layers together while a prompt is fed. More are faster until the caches are full.
    std::size_t prompt_chunk = 128;
    /// Where keys and values are kept; null: memory of the session's own for the whole context. The pool is one of the
    /// same model and must outlive the session.
    kv_pool* kv = nullptr;
    /// Where its memory comes from, keys and values without a kv_pool too; null: as the model's.
    const memory_source* memory = nullptr;
    /// Whether next() ends at the tokenizer's stop tokens. A model without tokenizer has none.
    bool stop_at_stop_tokens = true;
    /// How embedding() makes one vector of all states, mean or last; nullopt: as the file says, and in a model with
    /// logits last. A mean costs one norm and one addition of [hidden] for each token.
    std::optional<pooling_type> pooling = {};

    static constexpr std::size_t default_context = 4096; ///< at most, if `context` is 0
    static constexpr std::size_t largest_prompt_chunk = 4096;
};

struct batch_options {
    /// Sessions that one step can take.
    std::size_t sessions = 8;
    /// As in session_options; the threads of the sessions themselves rest meanwhile.
    std::optional<std::size_t> threads = {};
    std::chrono::microseconds spin = default_spin;
    /// Null: as the model's.
    const memory_source* memory = nullptr;

    static constexpr std::size_t most_sessions = 1024;
};

struct scheduler_options {
    /// That can be served at the same time.
    std::size_t speakers = 128;
    /// Speakers that get a token in one pass, each from logits in the scheduler's memory: half a megabyte for each in a
    /// vocabulary of 128,000. Of more, those that waited longest come next.
    std::size_t answers = 32;
    /// Tokens of prompts in a pass in which nobody gets a token: more are faster, see session_options::prompt_chunk.
    std::size_t prompt_chunk = 128;
    /// Tokens of prompts in any other pass. They make it longer, and those that are speaking wait for it.
    std::size_t prompt_beside_answers = 16;
    /// Of guesses, see speaker::guess: those of all speakers together run in passes of up to 16 rows, each as an
    /// answer. So do tokens that a foreseeing_token_chooser knows, whatever is set here.
    speculation_options speculation = {};
    /// As in session_options; the threads of the sessions themselves rest meanwhile.
    std::optional<std::size_t> threads = {};
    std::chrono::microseconds spin = default_spin;
    /// Null: as the model's.
    const memory_source* memory = nullptr;

    static constexpr std::size_t most_speakers = 65536;
    static constexpr std::size_t most_answers = 1024;
};

/// Why next() gave no token.
enum class stop_reason {
    none,         ///< it gave one, or was not called
    stop_token,   ///< the model ended its turn; the stop token is part of the sequence
    context_full, ///< no position is left
    error,        ///< see last_error()
    cancelled,    ///< the flag of set_cancel_flag() is true
};

/// Whether a session's step() has more to do.
enum class step_state {
    working, ///< the budget is used up: call it again
    ready,   ///< all that was asked for is computed
};

/// What a session does with the logits of each token of feed_each(): `function(context, index, logits)`.
struct logits_visitor {
    void (*function)(void* context, std::size_t index, std::span<const float> logits);
    void* context;

    void operator()(std::size_t index, std::span<const float> logits) const { function(context, index, logits); }
};

namespace detail {

/// Erases visit(index, logits), which must outlive the visitor.
template <class Visit> [[nodiscard]] logits_visitor visitor_of(Visit& visit) noexcept {
    const auto call = [](void* context, std::size_t index, std::span<const float> logits) {
        (*static_cast<Visit*>(context))(index, logits);
    };
    return {call, const_cast<void*>(static_cast<const void*>(std::addressof(visit)))};
}

} // namespace detail

} // namespace bitnet::inline BITNET_ABI

#endif
