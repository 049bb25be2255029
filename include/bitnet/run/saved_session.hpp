// SPDX-License-Identifier: MIT
// saved_session: the bytes of a saved session, written and read.
//
// All numbers are little-endian; sizes are counts of elements.
//
//     offset  bytes  what
//          0      8  "BITNETSS"
//          8      4  version, 1
//         12      4  flags: 1 keys and values, 2 the last state, 4 the last logits, 8 the last token has not run
//         16      8  bytes of the whole save
//         24      8  fingerprint of the model: see model_fingerprint
//         32   9 * 8  layers, KV heads, columns of a head, hidden size, vocabulary, bytes of a KV element,
//                    activation_rounding, pooling (1 mean, 3 last), rotation (1 for longrope's long one)
//        104      8  n, the tokens of the sequence
//        112      8  states in the sum of states
//        120      8  checksum of the bytes before
//        128    4 n  tokens, -1 where an embedding was fed
//                 .  the last state, f32 [hidden], if there is one
//                 .  the sum of states, f32 [hidden], if there are keys and values and the pooling is mean
//                 .  the last logits, f32 [vocabulary], if they are there
//                 8  checksum of the bytes from 128 on, seeded with that at 120
//
// Then, if there are keys and values, for each 256 positions or the rest of them: the keys and values of each head of
// each layer, keys as [position / 16][head_size][16] with zeros after the last one, values as [position][head_size];
// if elements have one byte, then f32 scales of each head's keys, and of its values; 8 bytes of checksum, seeded with
// the one before them all plus the number of the page. Positions that did not run yet have none.
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

/// A session as a save has it. Borrows all of it.
struct saved_session {
    save_terms terms;
    std::span<const token> tokens;
    bool has_pages = false;
    bool has_pending = false; ///< the last token has not run
    std::uint64_t summed_states = 0;
    std::span<const float> state;  ///< [hidden] or none
    std::span<const float> sum;    ///< [hidden] if the pooling is mean
    std::span<const float> logits; ///< [vocabulary] or none

    [[nodiscard]] std::size_t cached() const noexcept { return tokens.size() - (has_pending ? 1 : 0); }

    /// Bytes of the save. \param cache what the keys and values are in
    [[nodiscard]] std::uint64_t bytes(const kv_cache& cache) const noexcept;
    /// \return what the sink returns
    [[nodiscard]] result<void> write(byte_sink sink, const kv_cache& cache) const;
};

/// The same in the bytes of a save, which are checked: parts are unaligned.
struct session_bytes {
    std::uint32_t flags = 0;
    std::uint64_t summed_states = 0;
    std::size_t token_count = 0;
    std::span<const std::byte> tokens;
    std::span<const std::byte> state;
    std::span<const std::byte> sum;
    std::span<const std::byte> logits;
    std::span<const std::byte> pages;

    static constexpr std::uint32_t flag_pages = 1;
    static constexpr std::uint32_t flag_state = 2;
    static constexpr std::uint32_t flag_logits = 4;
    static constexpr std::uint32_t flag_pending = 8;

    [[nodiscard]] bool has(std::uint32_t flag) const noexcept { return (flags & flag) != 0; }
    [[nodiscard]] std::size_t cached() const noexcept { return token_count - (has(flag_pending) ? 1 : 0); }

    /// Checks all of `bytes`, pages too. Allocates nothing.
    /// \param name what error messages call the save \param here those of the session \param cache of that one
    /// \return errc::truncated, bad_magic, bad_version, bad_checksum, wrong_model, context_full, inconsistent or
    /// invalid_token
    [[nodiscard]] static result<session_bytes> read(std::span<const std::byte> bytes, std::string_view name,
                                                    const save_terms& here, std::size_t context, const kv_cache& cache);
};

inline constexpr std::string_view session_magic = "BITNETSS";
inline constexpr std::uint32_t session_version = 1;

/// The first bytes of a save.
struct session_header {
    static constexpr std::size_t bytes = 128;

    std::array<char, 8> magic{};
    std::uint32_t version = session_version;
    std::uint32_t flags = 0;
    std::uint64_t total = 0;
    save_terms terms;
    std::uint64_t tokens = 0;
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
    return session_header::bytes + tokens.size_bytes() + state.size_bytes() + sum.size_bytes() + logits.size_bytes() +
           sizeof(std::uint64_t) + (has_pages ? saved_bytes_of(cache, cached()) : 0);
}

inline result<void> saved_session::write(byte_sink sink, const kv_cache& cache) const {
    session_header header{{}, session_version, 0, bytes(cache), terms, tokens.size(), summed_states, 0};
    std::copy_n(session_magic.data(), header.magic.size(), header.magic.data());
    header.flags = (has_pages ? session_bytes::flag_pages : 0) | (state.empty() ? 0 : session_bytes::flag_state) |
                   (logits.empty() ? 0 : session_bytes::flag_logits) | (has_pending ? session_bytes::flag_pending : 0);
    header.sum = header.checked();
    if (auto written = sink.write(std::as_bytes(std::span(&header, 1))); !written) {
        return written;
    }
    checksum sum_of_parts(header.sum);
    for (const auto part : {std::as_bytes(tokens), std::as_bytes(state), std::as_bytes(sum), std::as_bytes(logits)}) {
        sum_of_parts.add(part);
        if (auto written = part.empty() ? result<void>{} : sink.write(part); !written) {
            return written;
        }
    }
    const std::uint64_t seed = sum_of_parts.value();
    auto written = sink.write(std::as_bytes(std::span(&seed, 1)));
    for (std::size_t page = 0; has_pages && written && page < pages_of(cached()); ++page) {
        checksum of_page(seed + page);
        written = cache.save_page(page, positions_of_page(cached(), page), [&](std::span<const std::byte> piece) {
            of_page.add(piece);
            return sink.write(piece);
        });
        if (written) {
            const std::uint64_t value = of_page.value();
            written = sink.write(std::as_bytes(std::span(&value, 1)));
        }
    }
    return written;
}

/// Checks a save from front to back.
class session_bytes_reader {
public:
    session_bytes_reader(std::span<const std::byte> bytes, std::string_view name, const kv_cache& cache) noexcept
        : bytes_(bytes), name_(name), cache_(cache) {}

    [[nodiscard]] result<session_bytes> read(const save_terms& here, std::size_t context) {
        auto checked = read_header();
        checked = checked ? check_terms(here) : std::move(checked);
        checked = checked ? divide(context) : std::move(checked);
        checked = checked ? check_tokens() : std::move(checked);
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
    [[nodiscard]] result<void> divide(std::size_t context) {
        made_.flags = header_.flags;
        made_.summed_states = header_.summed_states;
        if (header_.tokens > context) {
            return fail(errc::context_full, {"has ", header_.tokens, " tokens, the context has room for ", context});
        }
        made_.token_count = to_size(header_.tokens);
        const bool has_sum = made_.has(session_bytes::flag_pages) &&
                             header_.terms.pooling == static_cast<std::uint64_t>(pooling_type::mean);
        if (header_.flags > 15 || (made_.token_count == 0 && header_.flags > session_bytes::flag_pages) ||
            made_.summed_states > made_.token_count) {
            return fail(errc::inconsistent, {"has the flags ", header_.flags, " and ", made_.summed_states,
                                             " states in its sum for ", made_.token_count, " tokens"});
        }
        const std::uint64_t hidden_bytes = header_.terms.hidden * sizeof(float); // those of this model
        const std::uint64_t sizes[] = {
            header_.tokens * sizeof(token), made_.has(session_bytes::flag_state) ? hidden_bytes : 0,
            has_sum ? hidden_bytes : 0,
            made_.has(session_bytes::flag_logits) ? header_.terms.vocabulary * sizeof(float) : 0};
        parts_ = sizes[0] + sizes[1] + sizes[2] + sizes[3];
        const bool has_pages = made_.has(session_bytes::flag_pages);
        const std::uint64_t expected = session_header::bytes + parts_ + sizeof(std::uint64_t) +
                                       (has_pages ? saved_bytes_of(cache_, made_.cached()) : 0);
        if (expected != header_.total) {
            return fail(errc::inconsistent,
                        {"has ", header_.total, " bytes, its ", header_.tokens, " tokens take ", expected});
        }
        std::size_t at = session_header::bytes;
        std::span<const std::byte>* const parts[] = {&made_.tokens, &made_.state, &made_.sum, &made_.logits};
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
            const bool may_be_none = made_.has(session_bytes::flag_pages) && i < made_.cached();
            if (id < (may_be_none ? no_token : 0) || (id >= 0 && std::uint64_t(id) >= header_.terms.vocabulary)) {
                return fail(errc::invalid_token,
                            {"token ", i, " is ", id, ", the vocabulary has ", header_.terms.vocabulary});
            }
        }
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
    std::uint64_t parts_ = 0; ///< bytes between the header and their checksum
    std::uint64_t seed_ = 0;
};

inline result<session_bytes> session_bytes::read(std::span<const std::byte> bytes, std::string_view name,
                                                 const save_terms& here, std::size_t context, const kv_cache& cache) {
    return session_bytes_reader(bytes, name, cache).read(here, context);
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
