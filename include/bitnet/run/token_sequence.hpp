// SPDX-License-Identifier: MIT
// token_sequence: the tokens of a session with their keys and values: what has run, what waits, and where there is
// room.
#ifndef BITNET_RUN_TOKEN_SEQUENCE_HPP
#define BITNET_RUN_TOKEN_SEQUENCE_HPP

#include <bitnet/checkpoint/hyper_parameters.hpp>
#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/engine.hpp>
#include <bitnet/model/kv_cache.hpp>
#include <bitnet/model/kv_page.hpp>
#include <bitnet/model/sequence_row.hpp>
#include <bitnet/run/complete_options.hpp>
#include <bitnet/run/model_parts.hpp>
#include <bitnet/run/saved_session.hpp>
#include <bitnet/run/session_options.hpp>
#include <bitnet/simd/rotary.hpp>
#include <bitnet/text/token.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// Tokens stand at places: those that have run, cached() of them; then those that wait for a pass, which are the token
/// that next() gave, if there is one, and the queue. A window that is full drops its oldest page behind the sinks: then
/// places and positions are no longer the same. Computes nothing. Move-only; rows refer to it.
class token_sequence {
public:
    /// Of complete options. \return errc::invalid_argument for a KV pool of another model, errc::out_of_memory
    [[nodiscard]] static result<token_sequence> open(const model_parts& model, const session_options& options) {
        auto store = page_store(model, options);
        if (!store) {
            return failed(store);
        }
        auto cache = kv_cache::open(model.parameters, *model.tables.kv, options.context, *store, options.memory);
        if (!cache) {
            return failed(cache);
        }
        auto tokens = buffer<token>::allocate_uninitialized(token_places(options), "session, its tokens",
                                                            session_scratch(options));
        if (!tokens) {
            return failed(tokens);
        }
        return token_sequence(options, model.turns.of(options.context), *std::move(cache), *std::move(tokens));
    }

    [[nodiscard]] std::size_t context() const noexcept { return context_; }
    /// Positions at the front that are never dropped; 0 without a window.
    [[nodiscard]] std::size_t sinks() const noexcept { return sinks_; }
    [[nodiscard]] bool has_window() const noexcept { return sinks_ != 0; }

    /// Counts up with whatever makes rows that were written earlier wrong.
    [[nodiscard]] std::uint64_t revision() const noexcept { return revision_; }
    /// Tokens that have run and are there.
    [[nodiscard]] std::size_t cached() const noexcept { return cached_; }
    /// Positions that a window has dropped.
    [[nodiscard]] std::size_t dropped() const noexcept { return dropped_; }
    /// Given by next(), not yet run.
    [[nodiscard]] const std::optional<token>& pending() const noexcept { return pending_; }
    /// Accepted behind these, not yet run.
    [[nodiscard]] std::size_t queued() const noexcept { return queued_; }
    [[nodiscard]] std::size_t waiting() const noexcept { return (pending_ ? 1 : 0) + queued_; }
    /// Places that are taken without the queue, and with it.
    [[nodiscard]] std::size_t kept() const noexcept { return cached_ + (pending_ ? 1 : 0); }
    [[nodiscard]] std::size_t end() const noexcept { return cached_ + waiting(); }
    [[nodiscard]] std::size_t position() const noexcept { return dropped_ + kept(); }

    /// no_token where something else than a token was fed.
    [[nodiscard]] std::span<const token> tokens() const noexcept { return tokens_.span().first(kept()); }
    [[nodiscard]] std::span<const token> tokens_with_queue() const noexcept { return tokens_.span().first(end()); }
    /// Places for tokens, of which those that run have room in the context.
    [[nodiscard]] std::size_t places() const noexcept { return tokens_.size(); }

    // Room.

    /// Whether no position is left, with a window because they would be too many to be counted.
    [[nodiscard]] bool is_full() const noexcept {
        return has_window() ? dropped_ > most_dropped : end() != 0 && end() == context_;
    }
    /// How many rows the next pass can have: one that makes room does so before its first row.
    [[nodiscard]] std::size_t next_room() const noexcept {
        return has_window() && cached_ == context_ ? attention_block : context_ - cached_;
    }
    /// Whether one more position can run at once. \pre nothing is queued
    [[nodiscard]] bool has_place() const noexcept { return has_window() ? !is_full() : cached_ != context_; }
    /// \return errc::context_full
    [[nodiscard]] result<void> check_room(std::size_t count, std::string_view of_what) const {
        if (has_window() ? is_full() : count > context_ - end()) {
            return error{errc::context_full,
                         sentence({"session: ", count, " ", of_what, " do not fit, the context has ", context_,
                                   " positions and ", end(), " are taken"})};
        }
        return {};
    }
    /// Pages for the places up to `last`, which with a window may be more than there will ever be.
    /// \return errc::kv_pool_full
    [[nodiscard]] result<void> reserve_to(std::size_t last) {
        return cache_.reserve_to_copy(cached_, (std::min)(last, context_));
    }
    /// The same for one row that runs without forward_pass.
    [[nodiscard]] result<void> reserve_single() { return cache_.reserve(cached_, cached_ + 1); }
    /// Before a pass: a window that is full drops its oldest page. \pre none is under way \return errc::kv_pool_full
    [[nodiscard]] result<void> make_room() {
        if (!has_window() || cached_ != context_) {
            return {};
        }
        if (auto dropped = cache_.drop_page(sinks_ / attention_block); !dropped) {
            return dropped;
        }
        const auto all = tokens_.span().first(end());
        const auto first = all.begin() + static_cast<std::ptrdiff_t>(sinks_);
        std::copy(first + static_cast<std::ptrdiff_t>(attention_block), all.end(), first);
        cached_ -= attention_block;
        dropped_ += attention_block;
        ++revision_;
        return {};
    }
    /// Gives up what was reserved behind end(), for guesses that are dropped.
    void give_up_rest() noexcept { cache_.keep(end()); }

    // What waits.

    /// \pre places() - end() >= tokens.size()
    void queue(std::span<const token> tokens) noexcept {
        std::copy(tokens.begin(), tokens.end(), tokens_.data() + end());
        queued_ += tokens.size();
    }
    void drop_queue() noexcept {
        ++revision_;
        queued_ = 0;
        cache_.keep(kept());
    }
    /// What next() gave. \pre nothing waits
    void give(token id) noexcept {
        pending_ = id;
        tokens_[cached_] = id;
        ++revision_;
    }
    /// The last one that has run waits as if next() had just given it. \return errc::invalid_argument for no token
    [[nodiscard]] result<void> wait_again() {
        if (tokens_[cached_ - 1] == no_token) {
            return error{errc::invalid_argument,
                         sentence({"session: what stands at position ", cached_ - 1,
                                   " was fed as an embedding and cannot run again; feed something behind it"})};
        }
        pending_ = tokens_[--cached_];
        ++revision_;
        return {};
    }
    /// A pass of `count` rows is over: of what waited, or else of what stands there now.
    void end_rows(std::size_t count) noexcept {
        if (waiting() != 0) {
            queued_ -= count - (pending_ ? 1 : 0);
            pending_.reset();
        }
        cached_ += count;
        ++revision_;
    }

    // Rows of a pass, for which there is room.

    /// The first rows.size() of those that wait.
    void write_waiting(std::span<sequence_row> rows) noexcept {
        for (std::size_t i = 0; i < rows.size(); ++i) {
            rows[i] = row(i, tokens_[cached_ + i], nullptr);
        }
    }
    /// Rows of guesses behind the one of the token that waits.
    void write_ahead(std::span<const token> guesses, std::span<sequence_row> rows) noexcept {
        for (std::size_t i = 0; i < guesses.size(); ++i) {
            rows[i] = row(1 + i, guesses[i], nullptr);
        }
    }
    /// Of embeddings [rows, hidden]. \pre nothing waits
    void write_embeddings(std::span<const float> embeddings, std::size_t hidden,
                          std::span<sequence_row> rows) noexcept {
        for (std::size_t i = 0; i < rows.size(); ++i) {
            rows[i] = row(i, 0, embeddings.data() + i * hidden);
            tokens_[cached_ + i] = no_token;
        }
    }
    /// One row that runs without forward_pass: of `id`, or `embedding` unless that is null. \pre nothing is queued
    [[nodiscard]] sequence_row single_row(token id, const float* embedding) noexcept {
        tokens_[cached_] = embedding == nullptr ? id : no_token;
        cache_.extend(cached_, 1);
        return row(0, id, embedding);
    }

    // Going back, forks and saves.

    /// Whether what was seen at position `to` is still there. A page is dropped for the first position of the last one,
    /// whose own state is that of a full window.
    [[nodiscard]] bool can_go_back(std::size_t to) const noexcept {
        return to <= position() &&
               (dropped_ == 0 || to <= sinks_ || to == position() || to > dropped_ + context_ - attention_block);
    }
    /// \return errc::invalid_argument, with the positions that can_go_back()
    [[nodiscard]] result<void> check_position(std::size_t to) const {
        if (to > position()) {
            return error{errc::invalid_argument,
                         sentence({"session: position ", to, " was asked for, ", position(), " are taken"})};
        }
        if (!can_go_back(to)) {
            return error{errc::invalid_argument,
                         sentence({"session: position ", to, " was asked for, the window has dropped positions ",
                                   sinks_, " to ", sinks_ + dropped_ - 1, "; up to ", sinks_, " and from ",
                                   dropped_ + context_ - attention_block + 1, " on are possible"})};
        }
        return {};
    }
    /// \pre can_go_back(to), to < position(), and nothing is queued
    void go_back(std::size_t to) noexcept {
        ++revision_;
        pending_.reset();
        if (dropped_ != 0 && to <= sinks_) {
            dropped_ = 0;
        }
        cached_ = to - dropped_;
        cache_.keep(cached_);
    }
    void clear() noexcept {
        cache_.keep(0);
        cached_ = dropped_ = queued_ = 0;
        pending_.reset();
        ++revision_;
    }

    /// Takes over all of `from` but its queue. \pre this one is new, with the same options
    /// \return errc::out_of_memory, errc::kv_pool_full
    [[nodiscard]] result<void> copy(const token_sequence& from) {
        if (auto copied = cache_.copy(from.cache_, from.cached_); !copied) {
            return copied;
        }
        std::copy_n(from.tokens_.data(), from.kept(), tokens_.data());
        cached_ = from.cached_;
        dropped_ = from.dropped_;
        pending_ = from.pending_;
        return {};
    }

    [[nodiscard]] const kv_cache& cache() const noexcept { return cache_; }
    /// Pages of its own for what load() brings; nothing is changed on error. \return errc::kv_pool_full
    [[nodiscard]] result<void> renew(const session_bytes& saved) {
        return cache_.renew((std::min)(saved.token_count, context_));
    }
    void load(const session_bytes& saved) noexcept {
        ++revision_;
        if (!saved.tokens.empty()) {
            std::memcpy(tokens_.data(), saved.tokens.data(), saved.tokens.size());
        }
        cached_ = saved.cached();
        dropped_ = saved.dropped;
        queued_ = saved.queued;
        pending_ = saved.has_pending ? std::optional(tokens_[cached_]) : std::nullopt;
        const std::byte* from = saved.pages.data();
        for (std::size_t page = 0; page < pages_of(cached_); ++page) {
            const std::size_t count = positions_of_page(cached_, page);
            cache_.load_page(page, count, from);
            from += to_size(cache_.saved_bytes(count)) + sizeof(std::uint64_t);
        }
    }

private:
    static constexpr std::size_t most_dropped = SIZE_MAX / 2; ///< so that position() does not overflow

    token_sequence(const session_options& options, const rotary_frequencies& frequencies, kv_cache cache,
                   buffer<token> tokens) noexcept
        : context_(options.context), sinks_(options.window ? options.sinks : 0), frequencies_(&frequencies),
          cache_(std::move(cache)), tokens_(std::move(tokens)) {}

    /// The pages of options.kv; null without. \return errc::invalid_argument if they are of another model.
    [[nodiscard]] static result<kv_page_store*> page_store(const model_parts& model, const session_options& options) {
        if (options.kv == nullptr) {
            return static_cast<kv_page_store*>(nullptr);
        }
        auto& store = static_cast<kv_page_store&>(options.kv->base()); // there is no other kv_pool_base
        const kv_shape own = kv_shape::of(model.parameters, *model.tables.kv);
        if (store.shape() != own) {
            return error{
                errc::invalid_argument,
                sentence({"session: the KV pool has pages of ", store.page_bytes(),
                          " bytes for another model or element, those of this one have ", own.bytes(attention_block)})};
        }
        return &store;
    }

    /// The row of place cached() + i.
    [[nodiscard]] sequence_row row(std::size_t i, token id, const float* embedding) noexcept {
        return {&cache_, frequencies_, cached_ + i, id, embedding, {sinks_ / attention_block, dropped_}};
    }

    std::size_t context_;
    std::size_t sinks_; ///< 0 without a window
    const rotary_frequencies* frequencies_;
    kv_cache cache_;
    buffer<token> tokens_; ///< [token_places()]
    std::size_t cached_ = 0;
    std::size_t dropped_ = 0; ///< behind the sinks
    std::optional<token> pending_;
    std::size_t queued_ = 0;
    std::uint64_t revision_ = 0;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
