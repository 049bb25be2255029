// SPDX-License-Identifier: MIT
// memory_estimate: what a model and its sessions will take, before either is opened.
#ifndef BITNET_RUN_MEMORY_ESTIMATE_HPP
#define BITNET_RUN_MEMORY_ESTIMATE_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/run/any_model.hpp>
#include <bitnet/run/open_options.hpp>
#include <bitnet/run/session_options.hpp>

#include <cstdint>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// Bytes. What model() and session() add up to is within 1 % of what opening allocates, but for the stacks of threads;
/// of memory that is allocated and not written the system uses none.
struct memory_estimate {
    // of a model
    std::uint64_t mapped = 0;    ///< the file's, where it is mapped or borrowed: the system's to keep or drop
    std::uint64_t copied = 0;    ///< the file's, where it is copied into memory
    std::uint64_t repacked = 0;  ///< ternary weights in another layout than the file's
    std::uint64_t screen = 0;    ///< of the head; made in the background if lm_head_mode::automatic says so
    std::uint64_t norms = 0;     ///< and biases, as F32
    std::uint64_t tokenizer = 0; ///< vocabulary and merges
    std::uint64_t tables = 0;    ///< of layers, metadata and tensors
    // of each session
    std::uint64_t keys_and_values = 0; ///< of the whole context; with a kv_pool, in whole pages of it
    std::uint64_t scratch = 0;         ///< rows of a prompt chunk, parts of attention, the search through the screen
    std::uint64_t logits = 0;
    std::uint64_t tokens = 0; ///< and the state of the last one
    /// What any_session::reserve_ahead() adds to a session, as speculation and conversation_options::lookup do; not
    /// part of session(). A draft_model takes the session() of its own file, with the same options and no kv_pool; a
    /// prompt_lookup what its bytes() say.
    std::uint64_t ahead = 0;

    /// What a model takes beside the pages of a mapped file.
    [[nodiscard]] std::uint64_t model() const noexcept {
        return copied + repacked + screen + norms + tokenizer + tables;
    }
    [[nodiscard]] std::uint64_t session() const noexcept { return keys_and_values + scratch + logits + tokens; }
};

/// What any_model::open and any_session::open would allocate with the same arguments, from the file's header: weights
/// are not read, but for scales of blocks. What depends on free memory (page_mode::automatic, lm_head_mode::automatic)
/// is decided as it would be now. \return what any_model::open returns for a header that it refuses, and
/// errc::invalid_argument for a context or prompt chunk that any_session::open refuses.
template <class Ladder = any_cpu>
[[nodiscard]] result<memory_estimate> estimate_memory(std::string_view utf8_path, const open_options& options = {},
                                                      const session_options& of_session = {},
                                                      std::string_view isa = {}) {
    return compiled_for<Ladder>::estimate(utf8_path, options, of_session, isa);
}
/// The same of a file that is open, whose pages are what they are.
template <class Ladder = any_cpu>
[[nodiscard]] result<memory_estimate> estimate_memory(const model_file& file, const open_options& options = {},
                                                      const session_options& of_session = {},
                                                      std::string_view isa = {}) {
    return compiled_for<Ladder>::estimate(file, options, of_session, isa);
}

} // namespace bitnet::inline BITNET_ABI

#endif
