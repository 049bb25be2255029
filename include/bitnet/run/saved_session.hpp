// SPDX-License-Identifier: MIT
// saved_session: the bytes of a saved session, written and read.
//
// All numbers are little-endian; sizes are counts of elements.
//
//     offset  bytes  what
//          0      8  "BITNETSS"
//          8      4  version, 1
//         12      4  flags: 1 the last state is there, 2 next() gave a token that has not run, 4 a window has dropped
//                    something
//         16      8  bytes of the whole save
//         24      8  fingerprint of the model: see model_fingerprint
//         32  9 * 8  layers, KV heads, columns of a head, hidden size, vocabulary, bytes of a KV element,
//                    activation_rounding, pooling (1 mean, 3 last), rotation (1 for longrope's long one)
//        104      8  n, all tokens but those that were dropped
//        112      8  those at the end that are queued: all, if keys and values were left out
//        120      8  states in the sum of states
//        128      8  checksum of the bytes before
//        136  3 * 8  if a window has dropped something: its context, its sinks, and how many positions it dropped
//                    behind them
//          .    4 n  tokens: those that have keys and values (-1 where an embedding was fed), the one that has not run,
//                    those that are queued
//                 .  the last state, f32 [hidden], if it is there
//                 .  the sum of states, f32 [hidden], if any token has keys and values and the pooling is mean
//                 8  checksum of the bytes from 136 on, seeded with that at 128
//
// Then for each 256 positions that have keys and values, or the rest of them: those of each head of each layer, keys as
// [position / 16][head_size][16] with zeros after the last one, values as [position][head_size]; if elements have one
// byte, then f32 scales of each head's keys, and of its values; 8 bytes of checksum, seeded with the one before the
// pages plus the number of the page.
#ifndef BITNET_RUN_SAVED_SESSION_HPP
#define BITNET_RUN_SAVED_SESSION_HPP

#include <bitnet/core/checked.hpp>
#include <bitnet/core/checksum.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/byte_sink.hpp>
#include <bitnet/model/kv_cache.hpp>
#include <bitnet/simd/lane_ops.hpp>
#include <bitnet/text/token.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// What a save and the session that takes it must have in common for the same bits to go on.
struct save_terms {
    std::uint64_t fingerprint = 0;
    std::uint64_t layers = 0;
    std::uint64_t kv_heads = 0;
    std::uint64_t head_size = 0;
    std::uint64_t hidden = 0;
    std::uint64_t vocabulary = 0;
    std::uint64_t element_bytes = 0;
    std::uint64_t rounding = 0;
    std::uint64_t pooling = 0;
    std::uint64_t rotation = 0;
};

/// The window of a session, all zeros without. What comes after it has dropped something depends on all of it.
struct save_window {
    std::uint64_t context = 0;
    std::uint64_t sinks = 0;
    std::uint64_t dropped = 0;
};

/// What a session that takes a save has room for.
struct save_room {
    std::size_t context = 0;
    std::size_t tokens = 0; ///< queued ones, too
    save_window window;     ///< its own
};

/// A session as a save has it. Borrows all of it.
struct saved_session {
    save_terms terms;
    save_window window;
    std::span<const token> tokens; ///< the queued ones too
    std::size_t queued = 0;
    bool has_pending = false; ///< the token before the queue has not run
    std::size_t summed_states = 0;
    std::span<const float> state; ///< [hidden] or none
    std::span<const float> sum;   ///< [hidden] if the pooling is mean and cached() is not 0

    [[nodiscard]] std::size_t cached() const noexcept { return tokens.size() - queued - (has_pending ? 1 : 0); }

    /// Bytes of the save. \param cache what the keys and values are in
    [[nodiscard]] std::uint64_t bytes(const kv_cache& cache) const noexcept;
    /// \return what the sink returns
    [[nodiscard]] result<void> write(byte_sink sink, const kv_cache& cache) const;
};

/// The same in the bytes of a save, which are checked: parts are unaligned.
struct session_bytes {
    std::size_t token_count = 0;
    std::size_t queued = 0;
    bool has_pending = false;
    std::size_t summed_states = 0;
    std::size_t dropped = 0;
    std::span<const std::byte> tokens;
    std::span<const std::byte> state;
    std::span<const std::byte> sum;
    std::span<const std::byte> pages;

    [[nodiscard]] std::size_t cached() const noexcept { return token_count - queued - (has_pending ? 1 : 0); }

    /// Checks all of `bytes`, pages too. Allocates nothing.
    /// \param name what error messages call the save \param here those of the session \param cache of that one
    /// \return errc::truncated, bad_magic, bad_version, bad_checksum, wrong_model, context_full, inconsistent or
    /// invalid_token
    [[nodiscard]] static result<session_bytes> read(std::span<const std::byte> bytes, std::string_view name,
                                                    const save_terms& here, const save_room& room,
                                                    const kv_cache& cache);
};

inline constexpr std::string_view session_magic = "BITNETSS";
inline constexpr std::uint32_t session_version = 1;

/// The first bytes of a save.
struct session_header {
    static constexpr std::size_t bytes = 136;
    static constexpr std::uint32_t flag_state = 1;
    static constexpr std::uint32_t flag_pending = 2;
    static constexpr std::uint32_t flag_dropped = 4;

    std::array<char, 8> magic{};
    std::uint32_t version = session_version;
    std::uint32_t flags = 0;
    std::uint64_t total = 0;
    save_terms terms;
    std::uint64_t tokens = 0;
    std::uint64_t queued = 0;
    std::uint64_t summed_states = 0;
    std::uint64_t sum = 0;

    /// The checksum of all before it.
    [[nodiscard]] std::uint64_t checked() const noexcept {
        return checksum::of(std::as_bytes(std::span(this, 1)).first(bytes - sizeof sum));
    }
};
static_assert(sizeof(session_header) == session_header::bytes, "no padding, which would have any value");

/// Pages of a save, and positions in the last one.
[[nodiscard]] constexpr std::size_t pages_of(std::size_t positions) noexcept {
    return (positions + attention_block - 1) / attention_block;
}
[[nodiscard]] constexpr std::size_t positions_of_page(std::size_t positions, std::size_t page) noexcept {
    const std::size_t rest = positions - page * attention_block;
    return rest < attention_block ? rest : attention_block;
}
/// Bytes of all of them and their checksums.
[[nodiscard]] inline std::uint64_t saved_bytes_of(const kv_cache& cache, std::size_t positions) noexcept {
    const std::size_t whole = positions / attention_block;
    const std::size_t rest = positions % attention_block;
    return whole * cache.saved_bytes(attention_block) + (rest != 0 ? cache.saved_bytes(rest) : 0) +
           pages_of(positions) * sizeof(std::uint64_t);
}

inline std::uint64_t saved_session::bytes(const kv_cache& cache) const noexcept {
    return session_header::bytes + (window.dropped != 0 ? sizeof window : 0) + tokens.size_bytes() +
           state.size_bytes() + sum.size_bytes() + sizeof(std::uint64_t) + saved_bytes_of(cache, cached());
}

inline result<void> saved_session::write(byte_sink sink, const kv_cache& cache) const {
    session_header header;
    std::copy_n(session_magic.data(), header.magic.size(), header.magic.data());
    header.flags = (state.empty() ? 0 : session_header::flag_state) | (has_pending ? session_header::flag_pending : 0) |
                   (window.dropped != 0 ? session_header::flag_dropped : 0);
    header.total = bytes(cache);
    header.terms = terms;
    header.tokens = tokens.size();
    header.queued = queued;
    header.summed_states = summed_states;
    header.sum = header.checked();
    if (auto written = sink.write(std::as_bytes(std::span(&header, 1))); !written) {
        return written;
    }
    checksum of_parts(header.sum);
    const std::span<const save_window> windows(&window, window.dropped != 0 ? 1 : 0);
    for (const auto part : {std::as_bytes(windows), std::as_bytes(tokens), std::as_bytes(state), std::as_bytes(sum)}) {
        of_parts.add(part);
        if (auto written = part.empty() ? result<void>{} : sink.write(part); !written) {
            return written;
        }
    }
    const std::uint64_t seed = of_parts.value();
    auto written = sink.write(std::as_bytes(std::span(&seed, 1)));
    for (std::size_t page = 0; written && page < pages_of(cached()); ++page) {
        checksum of_page(seed + page);
        written = cache.save_page(page, positions_of_page(cached(), page), [&](std::span<const std::byte> piece) {
            of_page.add(piece);
            return sink.write(piece);
        });
        const std::uint64_t value = of_page.value();
        written = written ? sink.write(std::as_bytes(std::span(&value, 1))) : std::move(written);
    }
    return written;
}

/// Checks a save from front to back.
class session_bytes_reader {
public:
    session_bytes_reader(std::span<const std::byte> bytes, std::string_view name, const kv_cache& cache) noexcept
        : bytes_(bytes), name_(name), cache_(cache) {}

    [[nodiscard]] result<session_bytes> read(const save_terms& here, const save_room& room) {
        auto checked = read_header();
        checked = checked ? check_terms(here) : std::move(checked);
        checked = checked ? divide(room) : std::move(checked);
        checked = checked ? check_tokens() : std::move(checked);
        checked = checked ? check_window(room.window) : std::move(checked);
        checked = checked ? check_pages() : std::move(checked);
        return checked ? result<session_bytes>(made_) : failed(checked);
    }

private:
    [[nodiscard]] error fail(errc code, sentence_parts what) const {
        return {code, sentence({name_, ": ", sentence(what)})};
    }
    [[nodiscard]] result<void> check_sum(std::uint64_t found, std::uint64_t stored, sentence_parts of_what) const {
        return found == stored ? result<void>{}
                               : fail(errc::bad_checksum, {"the bytes of ", sentence(of_what), " have the checksum ",
                                                           found, ", and ", stored, " was saved with them"});
    }

    [[nodiscard]] result<void> read_header() {
        if (bytes_.size() < session_header::bytes) {
            return fail(errc::truncated,
                        {"a saved session has at least ", session_header::bytes, " bytes, these are ", bytes_.size()});
        }
        std::memcpy(&header_, bytes_.data(), session_header::bytes);
        const std::string_view magic(header_.magic.data(), header_.magic.size());
        if (magic != session_magic) {
            return fail(errc::bad_magic,
                        {"is no saved session: it begins with ", quoted{magic}, ", not with ", quoted{session_magic}});
        }
        if (header_.version != session_version) {
            return fail(errc::bad_version, {"is of version ", header_.version, " of saved sessions, only version ",
                                            session_version, " is read"});
        }
        if (auto checked = check_sum(header_.checked(), header_.sum, {"the header"}); !checked) {
            return checked;
        }
        if (header_.total != bytes_.size()) {
            return fail(header_.total > bytes_.size() ? errc::truncated : errc::inconsistent,
                        {"was saved with ", header_.total, " bytes, these are ", bytes_.size()});
        }
        return {};
    }

    [[nodiscard]] result<void> check_terms(const save_terms& here) const {
        const save_terms& saved = header_.terms;
        const struct {
            std::string_view what;
            std::uint64_t saved;
            std::uint64_t here;
        } terms[] = {{"layers", saved.layers, here.layers},
                     {"KV heads", saved.kv_heads, here.kv_heads},
                     {"columns of a head", saved.head_size, here.head_size},
                     {"columns of the hidden state", saved.hidden, here.hidden},
                     {"tokens in the vocabulary", saved.vocabulary, here.vocabulary},
                     {"as fingerprint of the model", saved.fingerprint, here.fingerprint},
                     {"bytes in an element of keys and values", saved.element_bytes, here.element_bytes},
                     {"as the rounding of activations", saved.rounding, here.rounding},
                     {"as pooling", saved.pooling, here.pooling},
                     {"as longrope's rotation, which the size of the context decides", saved.rotation, here.rotation}};
        for (const auto& term : terms) {
            if (term.saved != term.here) {
                return fail(errc::wrong_model, {"the session that was saved has ", term.saved, " ", term.what,
                                                ", this one has ", term.here});
            }
        }
        return {};
    }

    /// Gives each part its bytes, after the sizes of all are known to be right.
    [[nodiscard]] result<void> divide(const save_room& room) {
        const session_header& h = header_;
        if (h.tokens > room.tokens) {
            return fail(errc::context_full, {"has ", h.tokens, " tokens, the context has room for ", room.tokens});
        }
        const std::uint64_t pending = h.flags & session_header::flag_pending ? 1 : 0;
        const std::uint64_t has_state = h.flags & session_header::flag_state ? 1 : 0;
        const bool has_dropped = (h.flags & session_header::flag_dropped) != 0;
        if (h.flags > 7 || h.queued > h.tokens || h.tokens - h.queued < pending + has_state ||
            (h.summed_states > h.tokens && !has_dropped)) {
            return fail(errc::inconsistent, {"has the flags ", h.flags, ", ", h.queued, " queued tokens and ",
                                             h.summed_states, " states in its sum for ", h.tokens, " tokens"});
        }
        made_.token_count = to_size(h.tokens);
        made_.queued = to_size(h.queued);
        made_.has_pending = pending != 0;
        if (made_.cached() > room.context) {
            return fail(errc::context_full, {"has keys and values of ", made_.cached(),
                                             " tokens, the context has room for ", room.context});
        }
        made_.summed_states = to_size(h.summed_states);
        const bool has_sum = made_.cached() != 0 && h.terms.pooling == static_cast<std::uint64_t>(pooling_type::mean);
        const std::uint64_t hidden_bytes = h.terms.hidden * sizeof(float); // those of this model
        const std::uint64_t sizes[] = {has_dropped ? sizeof(save_window) : 0, h.tokens * sizeof(token),
                                       has_state * hidden_bytes, has_sum ? hidden_bytes : 0};
        parts_ = sizes[0] + sizes[1] + sizes[2] + sizes[3];
        const std::uint64_t expected =
            session_header::bytes + parts_ + sizeof(std::uint64_t) + saved_bytes_of(cache_, made_.cached());
        if (expected != h.total) {
            return fail(errc::inconsistent, {"has ", h.total, " bytes, its ", h.tokens, " tokens take ", expected});
        }
        std::size_t at = session_header::bytes;
        std::span<const std::byte>* const parts[] = {&window_, &made_.tokens, &made_.state, &made_.sum};
        for (std::size_t i = 0; i < 4; ++i) {
            *parts[i] = bytes_.subspan(at, to_size(sizes[i]));
            at += parts[i]->size();
        }
        made_.pages = bytes_.subspan(at + sizeof(std::uint64_t));
        return {};
    }

    [[nodiscard]] result<void> check_tokens() {
        const auto parts = bytes_.subspan(session_header::bytes, to_size(parts_));
        std::memcpy(&seed_, parts.data() + parts.size(), sizeof seed_);
        if (auto checked = check_sum(checksum::of(parts, header_.sum), seed_, {"the tokens"}); !checked) {
            return checked;
        }
        for (std::size_t i = 0; i < made_.token_count; ++i) {
            token id = 0;
            std::memcpy(&id, made_.tokens.data() + i * sizeof id, sizeof id);
            const bool is_embedding = id == no_token && i < made_.cached();
            if (!is_embedding && (id < 0 || static_cast<std::uint64_t>(id) >= header_.terms.vocabulary)) {
                return fail(errc::invalid_token,
                            {"token ", i, " is ", id, ", the vocabulary has ", header_.terms.vocabulary});
            }
        }
        return {};
    }

    /// What is in it is what was saved: the checksum is right.
    [[nodiscard]] result<void> check_window(const save_window& here) {
        save_window saved;
        if (window_.empty()) {
            return {};
        }
        std::memcpy(&saved, window_.data(), sizeof saved);
        if (saved.context != here.context || saved.sinks != here.sinks) {
            return fail(errc::wrong_model,
                        {"the session that was saved has a window of ", saved.context, " positions, ", saved.sinks,
                         " of them sinks, and has dropped ", saved.dropped, "; this one has a window of ", here.context,
                         " positions, ", here.sinks, " of them sinks"});
        }
        if (saved.dropped == 0 || saved.dropped % attention_block != 0 || saved.dropped > SIZE_MAX / 2 ||
            made_.cached() < saved.context - attention_block) {
            return fail(errc::inconsistent, {"has keys and values of ", made_.cached(), " tokens, and a window of ",
                                             saved.context, " positions that has dropped ", saved.dropped});
        }
        made_.dropped = to_size(saved.dropped);
        return {};
    }

    [[nodiscard]] result<void> check_pages() const {
        std::size_t at = 0;
        for (std::size_t page = 0; at < made_.pages.size(); ++page) {
            const std::size_t size = to_size(cache_.saved_bytes(positions_of_page(made_.cached(), page)));
            std::uint64_t stored = 0;
            std::memcpy(&stored, made_.pages.data() + at + size, sizeof stored);
            const std::uint64_t found = checksum::of(made_.pages.subspan(at, size), seed_ + page);
            if (auto checked = check_sum(found, stored, {"page ", page, " of keys and values"}); !checked) {
                return checked;
            }
            at += size + sizeof stored;
        }
        return {};
    }

    std::span<const std::byte> bytes_;
    std::string_view name_;
    const kv_cache& cache_;
    session_header header_;
    session_bytes made_;
    std::span<const std::byte> window_;
    std::uint64_t parts_ = 0; ///< bytes between the header and their checksum
    std::uint64_t seed_ = 0;
};

inline result<session_bytes> session_bytes::read(std::span<const std::byte> bytes, std::string_view name,
                                                 const save_terms& here, const save_room& room, const kv_cache& cache) {
    return session_bytes_reader(bytes, name, cache).read(here, room);
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
