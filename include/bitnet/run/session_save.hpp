// SPDX-License-Identifier: MIT
// session_save: what a session puts into a save, and what it demands of one that it takes.
#ifndef BITNET_RUN_SESSION_SAVE_HPP
#define BITNET_RUN_SESSION_SAVE_HPP

#include <bitnet/checkpoint/hyper_parameters.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/engine.hpp>
#include <bitnet/io/byte_sink.hpp>
#include <bitnet/model/rotations.hpp>
#include <bitnet/model/weights.hpp>
#include <bitnet/run/last_state.hpp>
#include <bitnet/run/model_parts.hpp>
#include <bitnet/run/save_options.hpp>
#include <bitnet/run/saved_session.hpp>
#include <bitnet/run/token_sequence.hpp>
#include <bitnet/text/token.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// The bytes themselves are saved_session.hpp's. Borrows all of it.
class session_save {
public:
    session_save(const model_parts& model, const token_sequence& sequence, const last_state& state) noexcept
        : model_(model), sequence_(sequence), state_(state) {}

    [[nodiscard]] std::uint64_t bytes(const save_options& options) const noexcept {
        return record(options).bytes(sequence_.cache());
    }
    /// \return what the sink returns, errc::invalid_argument
    [[nodiscard]] result<void> write(byte_sink sink, const save_options& options) const {
        if (auto checked = options.keys_and_values ? result<void>{} : check_tokens_are_all(); !checked) {
            return checked;
        }
        return record(options).write(sink, sequence_.cache());
    }
    /// What `bytes` are for this session, which is not changed. \return see session_bytes::read
    [[nodiscard]] result<session_bytes> read(std::span<const std::byte> bytes, std::string_view name) const {
        return session_bytes::read(bytes, name, terms(), {sequence_.context(), sequence_.places(), window()},
                                   sequence_.cache());
    }

private:
    [[nodiscard]] save_terms terms() const noexcept {
        const hyper_parameters& parameters = model_.parameters;
        return {model_.identity.value(),
                parameters.layers,
                parameters.kv_heads,
                parameters.head_size,
                parameters.hidden,
                parameters.vocabulary,
                model_.tables.kv->element_bytes,
                static_cast<std::uint64_t>(model_.tensors.activations()),
                static_cast<std::uint64_t>(state_.has_mean() ? pooling_type::mean : pooling_type::last),
                model_.turns.is_long(sequence_.context()) ? std::uint64_t{1} : std::uint64_t{0}};
    }
    [[nodiscard]] save_window window() const noexcept {
        return {sequence_.has_window() ? sequence_.context() : 0, sequence_.sinks(), sequence_.dropped()};
    }
    /// What a save has. Without keys and values all tokens wait.
    [[nodiscard]] saved_session record(const save_options& options) const noexcept {
        saved_session made;
        made.terms = terms();
        made.window = window();
        made.tokens = sequence_.tokens_with_queue();
        made.queued = options.keys_and_values ? sequence_.queued() : sequence_.end();
        made.has_pending = options.keys_and_values && sequence_.pending().has_value();
        if (made.cached() == 0) {
            return made;
        }
        made.sum = state_.sum();
        made.summed_states = state_.summed();
        made.state = state_.values();
        return made;
    }
    /// Whether the tokens alone can run again.
    [[nodiscard]] result<void> check_tokens_are_all() const {
        if (sequence_.dropped() != 0) {
            return error{errc::invalid_argument,
                         sentence({"session: the window has dropped ", sequence_.dropped(),
                                   " positions, without which nothing can run again, so that a save needs keys and "
                                   "values"})};
        }
        for (std::size_t i = 0; i < sequence_.cached(); ++i) {
            if (sequence_.tokens()[i] == no_token) {
                return error{errc::invalid_argument,
                             sentence({"session: what stands at position ", i,
                                       " was fed as an embedding and cannot run again, so that a save needs keys and "
                                       "values"})};
            }
        }
        return {};
    }

    const model_parts& model_;
    const token_sequence& sequence_;
    const last_state& state_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
