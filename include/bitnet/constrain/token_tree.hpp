// SPDX-License-Identifier: MIT
// token_tree: the bytes of many tokens as one tree, in the order in which it is walked.
#ifndef BITNET_CONSTRAIN_TOKEN_TREE_HPP
#define BITNET_CONSTRAIN_TOKEN_TREE_HPP

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// A token's id and what it stands for.
struct token_bytes {
    std::string_view bytes;
    std::uint32_t id;
};

/// A byte that follows those of the nodes above it.
struct token_node {
    std::uint32_t next; ///< the node after all that are below this one
    std::uint32_t
        first_token;     ///< of the tokens that end here or below; those that end here come before the next node's
    std::uint16_t depth; ///< bytes from the start, this one included
    std::uint8_t byte;
};

/// Nodes are in preorder: the first of those below a node is the one after it. 12 bytes a node, 4 a token.
class token_tree {
public:
    /// \param sorted by bytes, none of them empty or of more than 65,535 bytes. \return errc::out_of_memory.
    [[nodiscard]] static result<token_tree> open(std::span<const token_bytes> sorted) {
        std::uint64_t nodes = 0;
        std::size_t longest = 0;
        std::string_view before;
        for (const token_bytes& one : sorted) {
            nodes += one.bytes.size() - common(before, one.bytes);
            longest = (std::max)(longest, one.bytes.size());
            before = one.bytes;
        }
        token_tree made;
        made.longest_ = longest;
        buffer<std::uint32_t> path;
        error failure;
        allocate(made.nodes_, nodes + 1, "token tree", failure);
        allocate(made.tokens_, sorted.size(), "token tree", failure);
        allocate(path, longest, "token tree", failure);
        if (failure.code != errc{}) {
            return failure;
        }
        made.fill(sorted, path.span());
        return made;
    }

    /// The nodes and one more behind them, whose first_token is the number of tokens.
    [[nodiscard]] const token_node* nodes() const noexcept { return nodes_.data(); }
    [[nodiscard]] std::uint32_t size() const noexcept { return static_cast<std::uint32_t>(nodes_.size() - 1); }
    /// Ids, by bytes.
    [[nodiscard]] std::span<const std::uint32_t> tokens() const noexcept { return tokens_.span(); }
    [[nodiscard]] std::size_t longest() const noexcept { return longest_; }

    /// The nodes below one: [first, last).
    struct place {
        std::uint32_t first;
        std::uint32_t last;
    };
    [[nodiscard]] place root() const noexcept { return {0, size()}; }
    /// Goes to the node of `byte`. \return whether there is one; `at` is as it was otherwise
    [[nodiscard]] bool enter(place& at, std::uint8_t byte) const noexcept {
        std::uint32_t n = at.first;
        while (n < at.last && nodes_[n].byte != byte) {
            n = nodes_[n].next;
        }
        const bool is_there = n < at.last;
        at = is_there ? place{n + 1, nodes_[n].next} : at;
        return is_there;
    }
    /// Whether a token ends with node n.
    [[nodiscard]] bool ends(std::uint32_t n) const noexcept {
        return nodes_[n].first_token != nodes_[n + 1].first_token;
    }
    /// The ids of tokens that end with the node that was entered, and of those that go on below it.
    [[nodiscard]] std::span<const std::uint32_t> tokens_at(place entered) const noexcept {
        return tokens_between(entered.first - 1, entered.first);
    }
    [[nodiscard]] std::span<const std::uint32_t> tokens_below(place entered) const noexcept {
        return tokens_between(entered.first, entered.last);
    }
    [[nodiscard]] std::size_t memory_bytes() const noexcept { return nodes_.size_bytes() + tokens_.size_bytes(); }

private:
    [[nodiscard]] std::span<const std::uint32_t> tokens_between(std::uint32_t first,
                                                                std::uint32_t last) const noexcept {
        const std::uint32_t from = nodes_[first].first_token;
        return tokens_.span().subspan(from, nodes_[last].first_token - from);
    }
    [[nodiscard]] static std::size_t common(std::string_view a, std::string_view b) noexcept {
        const std::size_t most = (std::min)(a.size(), b.size());
        std::size_t same = 0;
        while (same < most && a[same] == b[same]) {
            ++same;
        }
        return same;
    }

    /// \param path room for the nodes from the root to the last one
    void fill(std::span<const token_bytes> sorted, std::span<std::uint32_t> path) noexcept {
        std::uint32_t used = 0;
        std::string_view before;
        const auto close = [&](std::size_t depth) {
            for (std::size_t d = depth; d < before.size(); ++d) {
                nodes_[path[d]].next = used;
            }
        };
        for (std::uint32_t i = 0; i < sorted.size(); ++i) {
            const std::string_view bytes = sorted[i].bytes;
            std::size_t depth = common(before, bytes);
            close(depth);
            for (; depth < bytes.size(); ++depth) {
                path[depth] = used;
                nodes_[used++] = {0, i, static_cast<std::uint16_t>(depth + 1), static_cast<std::uint8_t>(bytes[depth])};
            }
            tokens_[i] = sorted[i].id;
            before = bytes;
        }
        close(0);
        nodes_[used] = {used, static_cast<std::uint32_t>(sorted.size()), 0, 0};
    }

    buffer<token_node> nodes_;
    buffer<std::uint32_t> tokens_;
    std::size_t longest_ = 0;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
