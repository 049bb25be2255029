// SPDX-License-Identifier: MIT
// token_constraint: follows the tokens of a text through a grammar, and tells which ones may come next.
#ifndef BITNET_CONSTRAIN_TOKEN_CONSTRAINT_HPP
#define BITNET_CONSTRAIN_TOKEN_CONSTRAINT_HPP

#include <bitnet/constrain/compiled_grammar.hpp>
#include <bitnet/constrain/forced_text.hpp>
#include <bitnet/constrain/grammar.hpp>
#include <bitnet/constrain/mask_bits.hpp>
#include <bitnet/constrain/mask_cache.hpp>
#include <bitnet/constrain/mask_key.hpp>
#include <bitnet/constrain/mask_walk.hpp>
#include <bitnet/constrain/matcher.hpp>
#include <bitnet/constrain/matcher_options.hpp>
#include <bitnet/constrain/token_trie.hpp>
#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/run/allowed_tokens.hpp>
#include <bitnet/text/token.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

struct constraint_options {
    /// The text ends within so many tokens, whatever is chosen: towards the limit only those are allowed after which
    /// the rest still fits, a token for each byte that is missing. nullopt: as long as the grammar likes.
    std::optional<std::size_t> limit;
    std::size_t masks = 128; ///< that are kept, a bit for each token: 2 MiB for LLaMA-3's vocabulary
    matcher_options matcher;
    /// Whether allowed() leaves only the tokenizer's own token where the grammar forces the text.
    forced_text forced = forced_text::canonical;
};

/// Where a text of tokens stands in a grammar. Belongs to one thread at a time; borrows the trie, which must outlive
/// it, and shares the grammar's tables. Allocates in open() alone, see memory_bytes(), and touches what it allocated as
/// texts need it, so that open() costs well below a millisecond.
///
/// Stop tokens are allowed where the text may end, and end it. Control tokens are no text, and never allowed.
class token_constraint {
public:
    /// At the start of a text.
    /// \return errc::invalid_argument where the limit is below the shortest text, or no masks are kept; and what
    /// matcher::open() returns.
    [[nodiscard]] static result<token_constraint> open(const grammar& texts, const token_trie& trie,
                                                       constraint_options options = {}) {
        return detail::guarded([&] { return make(texts, trie, options); });
    }
    static result<token_constraint> open(const grammar&, token_trie&&, constraint_options = {}) = delete;

    /// The tokens that are allowed next. Valid until the next call that is not const.
    /// Cost: that of a look-up where a text stood in the same place before; otherwise of a walk of the trie as far as
    /// the grammar goes along, from microseconds to a few milliseconds. Towards the limit every call walks. Where
    /// forced() has tokens the first of them is the only one that is allowed.
    /// \return errc::no_token_left where no token is, because the text has ended or the vocabulary lacks one for the
    /// bytes that have to come; errc::grammar_budget where the text can be read in more ways than the options have
    /// room for; errc::invalid_token after a token that was not allowed.
    [[nodiscard]] result<allowed_tokens> allowed() {
        return detail::guarded([&] { return find_allowed(); });
    }
    /// The tokens that come next whatever the logits are, as the tokenizer cuts the text that the grammar forces: those
    /// of them that nothing which may follow can change. None with forced_text::off. Valid until the next call that is
    /// not const. Cost: that of encoding up to 64 bytes, where no other byte is allowed; little otherwise.
    [[nodiscard]] std::span<const token> forced() noexcept {
        if (options_.forced == forced_text::off || has_ended_ || is_broken_ || begun_at_ != begun_.size()) {
            return {};
        }
        const std::span<const token> found = forced_.find(matcher_.readings_);
        return found.empty() || allows(found.front()) ? found : std::span<const token>();
    }
    /// Whether the grammar, and the limit, allow a token next: any of those that are text as it goes on. Cost: that of
    /// following its bytes.
    [[nodiscard]] bool allows(token id) noexcept {
        if (has_ended_ || is_broken_ || !trie_->text().contains(id)) {
            return false;
        }
        const std::string_view missing = missing_of_begun();
        if (trie_->text().is_stop(id)) {
            return missing.empty() && matcher_.can_end();
        }
        const std::string_view bytes = trie_->text().bytes_of(id);
        if (bytes.empty() || trie_->text().is_special(id)) {
            return false;
        }
        const std::size_t known = (std::min)(bytes.size(), missing.size());
        const std::string_view rest = bytes.substr(known);
        return bytes.substr(0, known) == missing.substr(0, known) && (rest.empty() || matcher_.allows(rest)) &&
               leaves_room(rest, missing.size() - known);
    }
    /// Takes a token. \return whether it was allowed; where it was not, nothing is until restart().
    bool accept(token id) noexcept {
        if (!allows(id)) {
            is_beyond_ = !is_broken_ && !has_ended_ && matcher_.out_of_budget();
            is_broken_ = true;
            return false;
        }
        ++tokens_;
        if (trie_->text().is_stop(id)) {
            has_ended_ = true;
            return true;
        }
        const std::string_view bytes = trie_->text().bytes_of(id);
        const std::size_t known = (std::min)(bytes.size(), missing_of_begun().size());
        begun_at_ += known;
        matcher_.accept(bytes.substr(known));
        forced_.take(id);
        return true;
    }

    /// Whether the text may end here.
    [[nodiscard]] bool can_end() const noexcept {
        return !is_broken_ && begun_at_ == begun_.size() && matcher_.can_end();
    }
    /// Whether it has to, or a stop token has ended it.
    [[nodiscard]] bool is_done() const noexcept {
        return has_ended_ || (begun_at_ == begun_.size() && matcher_.is_done());
    }
    /// Whether the limit has an effect here: tokens that the grammar allows are not allowed.
    [[nodiscard]] bool is_near_limit() const noexcept { return is_near_; }
    /// Tokens of the vocabulary.
    [[nodiscard]] std::size_t vocabulary() const noexcept { return trie_->vocabulary(); }
    /// Tokens that were taken.
    [[nodiscard]] std::size_t tokens() const noexcept { return tokens_; }

    /// Begins another text, with the same limit.
    void restart() noexcept {
        matcher_.restart();
        forced_.restart();
        tokens_ = 0;
        begun_.clear();
        begun_at_ = 0;
        has_ended_ = is_broken_ = is_beyond_ = is_near_ = false;
    }
    /// The same with another one. \return errc::invalid_argument as open(); the limit is as it was then.
    [[nodiscard]] result<void> restart(std::optional<std::size_t> limit) {
        auto checked = detail::guarded([&] { return check_limit(limit); });
        limit_ = checked ? limit : limit_;
        restart();
        return checked;
    }

    /// The same behind bytes that do not belong to the text, and that the next tokens have to give first: the last one
    /// of them may go on into the text. For an answer whose beginning the host gives, and whose last tokens were taken
    /// back: see healed_prefix. A token for each of these bytes counts within the limit. \return errc::out_of_memory,
    /// errc::invalid_argument as open(); the text begins without them then.
    [[nodiscard]] result<void> restart_behind(std::string_view begun, std::optional<std::size_t> limit) {
        return detail::guarded([&]() -> result<void> {
            if (auto begins = restart(limit); !begins) {
                return begins;
            }
            if (limit && *limit - matcher_.shortest_end() < begun.size()) {
                return detail::error_saying(errc::invalid_argument,
                                            {"constraint_options: a limit of ", *limit, " tokens, and ", begun.size(),
                                             " bytes in front of a text of the grammar, which may need ",
                                             matcher_.shortest_end(), ", one for each byte"});
            }
            begun_ = begun;
            return {};
        });
    }

    /// Bytes that open() allocated. The trie is apart.
    [[nodiscard]] std::size_t memory_bytes() const noexcept {
        return matcher_.memory_bytes() + walk_.memory_bytes() + key_.memory_bytes() + cache_.memory_bytes() +
               own_.size_bytes() + few_.size_bytes();
    }

private:
    explicit token_constraint(matcher of, const token_trie& trie, const constraint_options& options)
        : matcher_(std::move(of)), trie_(&trie), options_(options), forced_(trie) {}

    [[nodiscard]] static result<token_constraint> make(const grammar& texts, const token_trie& trie,
                                                       constraint_options options) {
        if (options.masks == 0) {
            return error{errc::invalid_argument, "constraint_options: 0 masks are kept, 1 at least is needed"};
        }
        const std::size_t longest = detail::trie_access::all(trie).longest();
        options.matcher.longest_lookahead =
            (std::max)(options.matcher.longest_lookahead, detail::forced_tokens::lookahead(trie));
        auto opened = matcher::open(texts, options.matcher);
        if (!opened) {
            return failed(opened);
        }
        token_constraint made(*std::move(opened), trie, options);
        const detail::compiled_grammar& tables = *detail::grammar_access::tables(texts);
        auto key = detail::mask_key::open(tables, longest);
        auto walk = detail::mask_walk::open(tables, trie);
        auto cache = detail::mask_cache::open(options.masks, detail::trie_access::words(trie));
        error failure = !key ? failed(key) : !walk ? failed(walk) : !cache ? failed(cache) : error{};
        detail::allocate_uninitialized(made.own_, detail::trie_access::words(trie), "grammar mask", failure);
        detail::allocate_uninitialized(made.few_, allowed_tokens::most_listed, "grammar mask", failure);
        if (failure.code != errc{}) {
            return failure;
        }
        made.key_ = *std::move(key);
        made.walk_ = *std::move(walk);
        made.cache_ = *std::move(cache);
        if (auto checked = made.check_limit(options.limit); !checked) {
            return failed(checked);
        }
        made.limit_ = options.limit;
        return made;
    }

    [[nodiscard]] result<void> check_limit(std::optional<std::size_t> limit) {
        if (!limit) {
            return {};
        }
        matcher_.restart();
        const std::uint32_t needed = matcher_.shortest_end();
        if (needed > *limit) {
            return detail::error_saying(errc::invalid_argument,
                                        {"constraint_options: a limit of ", *limit,
                                         " tokens, and the shortest text of ", "the grammar may need ", needed,
                                         ", one for each byte"});
        }
        return {};
    }

    /// Bytes that may be missing after one more token.
    [[nodiscard]] std::size_t room() const noexcept { return *limit_ - tokens_ - 1; }
    /// \param missing bytes in front of the text that `bytes` leaves to come
    [[nodiscard]] bool leaves_room(std::string_view bytes, std::size_t missing) noexcept {
        if (!limit_) {
            return true;
        }
        if (tokens_ >= *limit_ || missing > room()) {
            return false;
        }
        return matcher_.shortest_end_after(bytes) <= room() - missing;
    }
    [[nodiscard]] std::string_view missing_of_begun() const noexcept {
        return std::string_view(begun_).substr(begun_at_);
    }

    [[nodiscard]] result<allowed_tokens> find_allowed() {
        if (is_broken_ && is_beyond_) {
            return budget_error();
        }
        if (is_broken_) {
            return error{errc::invalid_token, "grammar: the last token was not allowed, so that none can follow it"};
        }
        if (has_ended_) {
            return error{errc::no_token_left, "grammar: a stop token has ended the text, and nothing can follow it"};
        }
        if (!missing_of_begun().empty()) {
            return allowed_behind(missing_of_begun());
        }
        if (const std::span<const token> next = forced(); !next.empty()) {
            return only(next.front());
        }
        key_.read(matcher_.readings_);
        std::size_t at = cache_.find(key_);
        const bool is_new = at == detail::mask_cache::nowhere;
        if (is_new) {
            at = cache_.make_room();
            const detail::walked_mask made =
                walk_.run(matcher_.readings_, *trie_, detail::mask_walk::any_end, cache_.bits(at));
            if (!made.is_whole) {
                return budget_error();
            }
            keep(at, made);
        }
        const detail::walked_mask& found = is_new ? last_ : cache_.mask(at);
        if (!limit_ || leaves_enough(found)) {
            is_near_ = false;
            return with_ends(cache_.bits(at), found.count);
        }
        return near_limit(found.count);
    }
    void keep(std::size_t at, const detail::walked_mask& made) noexcept {
        last_ = made;
        if (const std::size_t depth = key_.looked_at(matcher_.readings_); depth < key_.depths()) {
            cache_.keep(at, made, key_, depth);
        }
    }
    std::uint32_t measure_frames() noexcept { return matcher_.readings_.distances().measure_all(); }
    /// Whether all tokens of a mask leave so little to the end that the limit forbids none.
    [[nodiscard]] bool leaves_enough(const detail::walked_mask& found) noexcept {
        return tokens_ < *limit_ && std::uint64_t{found.most_left} + measure_frames() <= std::uint64_t{room()};
    }
    [[nodiscard]] result<allowed_tokens> near_limit(std::uint32_t before) {
        std::fill_n(own_.data(), own_.size(), 0u);
        detail::walked_mask made;
        if (tokens_ < *limit_) {
            measure_frames();
            const auto most = static_cast<std::uint32_t>((std::min)(room(), std::size_t{detail::endless}));
            made = walk_.run(matcher_.readings_, *trie_, most, own_.span());
        }
        if (!made.is_whole) {
            return budget_error();
        }
        is_near_ = made.count != before;
        return with_ends(own_.span(), made.count);
    }

    [[nodiscard]] allowed_tokens only(token id) noexcept {
        is_near_ = false;
        std::fill_n(own_.data(), own_.size(), std::uint64_t{0});
        own_[static_cast<std::size_t>(id) / 64] = std::uint64_t{1} << static_cast<std::size_t>(id) % 64;
        few_[0] = static_cast<std::uint32_t>(id);
        return {1, own_.span(), few_.span().first(1)};
    }
    /// The tokens that begin what is missing in front of the text, or go on behind it.
    [[nodiscard]] result<allowed_tokens> allowed_behind(std::string_view missing) noexcept {
        is_near_ = false;
        std::fill_n(own_.data(), own_.size(), std::uint64_t{0});
        std::size_t count = 0;
        detail::trie_access::for_each_beginning(*trie_, missing, [&](std::uint32_t id) {
            const bool is_one = allows(static_cast<token>(id));
            own_[id / 64] |= std::uint64_t{is_one} << id % 64;
            count += is_one ? 1u : 0u;
        });
        return count != 0 ? result<allowed_tokens>({count, own_.span(), list(own_.span(), count)}) : nothing_left();
    }

    [[nodiscard]] error budget_error() const {
        return {errc::grammar_budget, "grammar: the text so far can be read in more ways than a matcher holds, or than "
                                      "can be followed through the vocabulary"};
    }

    /// A mask, and the stop tokens where the text may end.
    [[nodiscard]] result<allowed_tokens> with_ends(std::span<std::uint64_t> bits, std::size_t count) {
        for (const token id : trie_->text().stop_tokens()) {
            const auto at = static_cast<std::size_t>(id);
            const std::uint64_t bit = std::uint64_t{1} << at % 64;
            if (matcher_.can_end()) {
                bits[at / 64] |= bit;
                ++count;
            }
        }
        if (count == 0) {
            return nothing_left();
        }
        return allowed_tokens{count, bits, list(bits, count)};
    }
    [[nodiscard]] error nothing_left() const {
        return matcher_.can_end()
                   ? error{errc::no_token_left, "grammar: the text is complete, and the vocabulary has no stop token"}
                   : error{errc::no_token_left, "grammar: the vocabulary has no token for the bytes that have to come"};
    }
    [[nodiscard]] std::span<const std::uint32_t> list(std::span<const std::uint64_t> bits, std::size_t count) noexcept {
        return detail::listed(bits, count, few_.span());
    }

    matcher matcher_;
    const token_trie* trie_;
    detail::mask_key key_;
    detail::mask_walk walk_;
    detail::mask_cache cache_;
    detail::walked_mask last_;
    buffer<std::uint64_t> own_; ///< the mask near the limit
    buffer<std::uint32_t> few_;
    constraint_options options_;
    detail::forced_tokens forced_;
    std::optional<std::size_t> limit_;
    std::size_t tokens_ = 0;
    std::string begun_;        ///< bytes that come before the text
    std::size_t begun_at_ = 0; ///< of them were given
    bool has_ended_ = false;
    bool is_broken_ = false; ///< a token was taken that was not allowed
    bool is_beyond_ = false; ///< or that the matcher could not follow
    bool is_near_ = false;
};

} // namespace bitnet::inline BITNET_ABI

#endif
