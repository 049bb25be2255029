// SPDX-License-Identifier: MIT
// token_tree: the bytes of many tokens as one tree, in the order in which it is walked.
#ifndef BITNET_CONSTRAIN_TOKEN_TREE_HPP
#define BITNET_CONSTRAIN_TOKEN_TREE_HPP

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/memory_source.hpp>
#include <bitnet/core/result.hpp>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// A token's id and the bytes it stands for, the first eight of which are at hand: hardly a comparison needs more.
struct token_bytes {
    static constexpr std::size_t head_bytes = 8;

    std::uint64_t head; ///< the first byte on top; 0 where there is none
    const char* data;
    std::uint32_t size;
    std::uint32_t id;

    /// \pre `bytes` has no more than 65,535
    [[nodiscard]] static token_bytes of(std::string_view bytes, std::uint32_t id) noexcept {
        std::uint64_t head = 0;
        for (std::size_t i = 0; i < head_bytes; ++i) {
            head = head << 8 | (i < bytes.size() ? static_cast<std::uint8_t>(bytes[i]) : 0u);
        }
        return {head, bytes.data(), static_cast<std::uint32_t>(bytes.size()), id};
    }
    [[nodiscard]] std::string_view bytes() const noexcept { return {data, size}; }
    /// \pre i < size
    [[nodiscard]] std::uint8_t operator[](std::size_t i) const noexcept {
        return static_cast<std::uint8_t>(i < head_bytes ? head >> (56 - 8 * i) : static_cast<std::uint8_t>(data[i]));
    }
    /// By bytes, and then by id.
    [[nodiscard]] bool operator<(const token_bytes& other) const noexcept {
        if (head != other.head) {
            return head < other.head;
        }
        const int order = bytes().compare(other.bytes());
        return order != 0 ? order < 0 : id < other.id;
    }
    /// How many bytes both begin with.
    [[nodiscard]] std::size_t common(const token_bytes& other) const noexcept {
        const std::size_t most = (std::min)(size, other.size);
        if (head != other.head) {
            return (std::min)(most, static_cast<std::size_t>(std::countl_zero(head ^ other.head)) / 8);
        }
        std::size_t same = (std::min)(most, head_bytes);
        while (same < most && data[same] == other.data[same]) {
            ++same;
        }
        return same;
    }
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
        for (std::size_t i = 0; i < sorted.size(); ++i) {
            nodes += sorted[i].size - (i == 0 ? 0 : sorted[i - 1].common(sorted[i]));
            longest = (std::max)(longest, std::size_t{sorted[i].size});
        }
        token_tree made;
        made.longest_ = longest;
        buffer<std::uint32_t> path;
        error failure;
        allocate_uninitialized(made.nodes_, nodes + 1, "token tree", failure, {nullptr, {memory_use::tables, true}});
        allocate_uninitialized(made.tokens_, sorted.size(), "token tree", failure);
        allocate_uninitialized(path, longest, "token tree", failure);
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

    /// \param path room for the nodes from the root to the last one
    void fill(std::span<const token_bytes> sorted, std::span<std::uint32_t> path) noexcept {
        std::uint32_t used = 0;
        std::size_t open = 0; // nodes of the path
        const auto close = [&](std::size_t depth) {
            for (; open > depth; --open) {
                nodes_[path[open - 1]].next = used;
            }
        };
        for (std::uint32_t i = 0; i < sorted.size(); ++i) {
            const token_bytes& one = sorted[i];
            close(i == 0 ? 0 : sorted[i - 1].common(one));
            for (; open < one.size; ++open) {
                path[open] = used;
                nodes_[used++] = {0, i, static_cast<std::uint16_t>(open + 1), one[open]};
            }
            tokens_[i] = one.id;
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
