// SPDX-License-Identifier: MIT
// token_matcher: finds tokens in text by their spelling, such as <|eot_id|>.
#ifndef BITNET_TEXT_TOKEN_MATCHER_HPP
#define BITNET_TEXT_TOKEN_MATCHER_HPP

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/text/token.hpp>
#include <bitnet/text/token_index.hpp>

#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>
#include <span>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// One token found in text. `size` 0: there was none up to the end, which is `position`.
struct token_match {
    std::size_t position = 0;
    std::size_t size = 0;
    token id = no_token;
};

/// A set of tokens in the order of their bytes. Leftmost first, the longest if several start at one place.
class token_matcher {
public:
    token_matcher() noexcept = default;

    /// \pre the tokens of `ids` are in strictly ascending order of their bytes, and none of these is empty
    /// \return errc::out_of_memory with the bytes asked for.
    [[nodiscard]] static result<token_matcher> make(const token_store& store, std::span<const token> ids,
                                                    const memory_source* memory = nullptr) {
        auto sorted = buffer<token>::allocate(ids.size(), "special tokens", {memory, {memory_use::tables, false}});
        if (!sorted) {
            return failed(sorted);
        }
        token_matcher made;
        made.ids_ = *std::move(sorted);
        std::copy(ids.begin(), ids.end(), made.ids_.data());
        for (const token id : ids) {
            assert(!store[id].empty());
            made.starts_[static_cast<unsigned char>(store[id][0])] = true;
        }
        return made;
    }

    [[nodiscard]] bool empty() const noexcept { return ids_.empty(); }

    /// The first of the tokens in `text` from `from` on. Cost: one table read per byte, and for a byte that starts some
    /// token two binary searches per matching byte.
    [[nodiscard]] token_match next(const token_store& store, std::string_view text, std::size_t from) const noexcept {
        for (std::size_t i = from; !ids_.empty() && i < text.size(); ++i) {
            if (!starts_[static_cast<unsigned char>(text[i])]) {
                continue;
            }
            if (const token id = longest_at(store, text.substr(i)); id != no_token) {
                return {i, store[id].size(), id};
            }
        }
        return {text.size(), 0, no_token};
    }

private:
    [[nodiscard]] token longest_at(const token_store& store, std::string_view rest) const noexcept {
        token best = no_token;
        auto candidates = ids_.span(); // those that share their first `depth` bytes with `rest`
        for (std::size_t depth = 0; !candidates.empty(); ++depth) {
            if (store[candidates.front()].size() == depth) { // a prefix of all the others, hence first
                best = candidates.front();
                candidates = candidates.subspan(1);
            }
            if (depth == rest.size()) {
                break;
            }
            const auto wanted = static_cast<unsigned char>(rest[depth]);
            const auto byte = [&](token id) { return static_cast<unsigned char>(store[id][depth]); };
            const auto low =
                std::partition_point(candidates.begin(), candidates.end(), [&](token id) { return byte(id) < wanted; });
            const auto high = std::partition_point(low, candidates.end(), [&](token id) { return byte(id) == wanted; });
            candidates = {low, high};
        }
        return best;
    }

    buffer<token> ids_;
    std::array<bool, 256> starts_{}; ///< bytes with which some token starts
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
