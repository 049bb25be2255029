// SPDX-License-Identifier: MIT
// Byte pair encoding of one piece of text: neighbours merge, lowest rank first, leftmost on ties.
#pragma once

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/text/merge_table.hpp>
#include <bitnet/text/token.hpp>

#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI {

/// Turns bytes into tokens by merging. Immutable: any number of threads may encode at a time.
class byte_pair_encoding {
public:
    /// `byte_tokens[b]` is the token of the single byte b, or no_token.
    byte_pair_encoding(const std::array<token, 256>& byte_tokens, merge_table merges) noexcept
        : byte_tokens_(byte_tokens), merges_(std::move(merges)),
          complete_(std::find(byte_tokens.begin(), byte_tokens.end(), no_token) == byte_tokens.end()) {}

    /// The longest piece that encode() takes: positions are kept in 32 bits.
    static constexpr std::size_t longest_piece = std::numeric_limits<std::int32_t>::max();

    /// Appends the tokens of `piece` to `out`. \pre piece.size() <= longest_piece
    /// Cost for n bytes: O(n log n); pieces of more than 64 bytes allocate 36 n bytes for the time of the call.
    /// \return errc::invalid_argument for a byte that has no token; errc::out_of_memory with the bytes asked for.
    [[nodiscard]] result<void> encode(std::string_view piece, std::vector<token>& out) const {
        assert(piece.size() <= longest_piece);
        if (!complete_) {
            if (auto possible = check_bytes(piece); !possible) {
                return possible;
            }
        }
        if (piece.size() > short_piece) {
            return encode_long(piece, out);
        }
        encode_short(piece, out);
        return {};
    }

private:
    /// Up to here, finding the lowest rank by looking at all of them beats a heap.
    static constexpr std::size_t short_piece = 64;

    [[nodiscard]] token token_of(char byte) const noexcept { return byte_tokens_[static_cast<unsigned char>(byte)]; }

    [[nodiscard]] result<void> check_bytes(std::string_view piece) const {
        for (const char byte : piece) {
            if (token_of(byte) == no_token) {
                return error{errc::invalid_argument, "the text holds byte " +
                                                         std::to_string(static_cast<unsigned char>(byte)) +
                                                         ", for which the vocabulary has no token"};
            }
        }
        return {};
    }

    void encode_short(std::string_view piece, std::vector<token>& out) const {
        std::array<token, short_piece> ids;
        std::array<merge, short_piece> pairs; // pairs[i] merges ids[i] and ids[i + 1]
        std::size_t count = piece.size();
        for (std::size_t i = 0; i < count; ++i) {
            ids[i] = token_of(piece[i]);
        }
        for (std::size_t i = 0; i + 1 < count; ++i) {
            pairs[i] = merges_.find(ids[i], ids[i + 1]);
        }
        while (count > 1) {
            const auto first = pairs.begin();
            const auto last = first + static_cast<std::ptrdiff_t>(count - 1);
            const auto lowest = static_cast<std::size_t>(
                std::min_element(first, last, [](const merge& a, const merge& b) { return a.rank < b.rank; }) - first);
            if (pairs[lowest].rank == merge::never) {
                break;
            }
            ids[lowest] = pairs[lowest].whole;
            --count;
            for (std::size_t i = lowest + 1; i < count; ++i) {
                ids[i] = ids[i + 1];
                pairs[i - 1] = pairs[i];
            }
            if (lowest > 0) {
                pairs[lowest - 1] = merges_.find(ids[lowest - 1], ids[lowest]);
            }
            if (lowest + 1 < count) {
                pairs[lowest] = merges_.find(ids[lowest], ids[lowest + 1]);
            }
        }
        out.insert(out.end(), ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(count));
    }

    /// A token of a long piece, in a doubly linked list; its place in the array is its first byte.
    struct node {
        token id;
        std::uint32_t previous;
        std::uint32_t next;
        merge pair; ///< with the next one
    };
    static constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();

    /// A heap of (rank, position): the lowest rank, and of equal ones the leftmost, is on top. Entries are not removed
    /// when their pair disappears; one counts only while its node still has a pair of that rank.
    class queue {
    public:
        explicit queue(buffer<std::uint64_t> room) noexcept : room_(std::move(room)) {}

        void add(std::uint32_t rank, std::uint32_t position) noexcept {
            if (rank != merge::never) {
                assert(size_ < room_.size());
                room_[size_++] = (std::uint64_t{rank} << 32) | position;
            }
        }
        void arrange() noexcept { std::make_heap(room_.data(), room_.data() + size_, later); }
        void push(std::uint32_t rank, std::uint32_t position) noexcept {
            const std::size_t before = size_;
            add(rank, position);
            if (size_ != before) {
                std::push_heap(room_.data(), room_.data() + size_, later);
            }
        }
        [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
        std::uint64_t pop() noexcept {
            std::pop_heap(room_.data(), room_.data() + size_, later);
            return room_[--size_];
        }

    private:
        static constexpr auto later = [](std::uint64_t a, std::uint64_t b) { return a > b; };

        buffer<std::uint64_t> room_;
        std::size_t size_ = 0;
    };

    [[nodiscard]] result<void> encode_long(std::string_view piece, std::vector<token>& out) const {
        auto allocated = buffer<node>::allocate(piece.size(), "merging a long piece of text");
        if (!allocated) {
            return std::move(allocated).error();
        }
        // One entry per pair at first, fewer than n. A merge takes one out and puts two in; there are fewer than n.
        auto room = buffer<std::uint64_t>::allocate(2 * std::uint64_t{piece.size()}, "merging a long piece of text");
        if (!room) {
            return std::move(room).error();
        }
        buffer<node>& nodes = *allocated;
        queue candidates(*std::move(room));
        link(piece, nodes, candidates);
        while (!candidates.empty()) {
            const std::uint64_t top = candidates.pop();
            const auto position = static_cast<std::uint32_t>(top);
            if (nodes[position].pair.rank == static_cast<std::uint32_t>(top >> 32)) {
                merge_with_next(nodes, position, candidates);
            }
        }
        for (std::uint32_t i = 0; i != none; i = nodes[i].next) {
            out.push_back(nodes[i].id);
        }
        return {};
    }

    void link(std::string_view piece, buffer<node>& nodes, queue& candidates) const noexcept {
        const auto count = static_cast<std::uint32_t>(piece.size());
        for (std::uint32_t i = 0; i < count; ++i) {
            nodes[i] = {token_of(piece[i]), i == 0 ? none : i - 1, i + 1 == count ? none : i + 1, {}};
        }
        for (std::uint32_t i = 0; i + 1 < count; ++i) {
            nodes[i].pair = merges_.find(nodes[i].id, nodes[i + 1].id);
            candidates.add(nodes[i].pair.rank, i);
        }
        candidates.arrange();
    }

    void merge_with_next(buffer<node>& nodes, std::uint32_t position, queue& candidates) const noexcept {
        node& left = nodes[position];
        node& right = nodes[left.next];
        left.id = left.pair.whole;
        left.next = right.next;
        right.pair = {}; // entries for it in the queue count no more
        left.pair = {};
        if (left.next != none) {
            nodes[left.next].previous = position;
            left.pair = merges_.find(left.id, nodes[left.next].id);
            candidates.push(left.pair.rank, position);
        }
        if (left.previous != none) {
            node& before = nodes[left.previous];
            before.pair = merges_.find(before.id, left.id);
            candidates.push(before.pair.rank, left.previous);
        }
    }

    std::array<token, 256> byte_tokens_;
    merge_table merges_;
    bool complete_; ///< every byte has a token
};

} // namespace bitnet::inline BITNET_ABI
