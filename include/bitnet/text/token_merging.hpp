// SPDX-License-Identifier: MIT
// token_merging: neighbours among tokens merge, lowest rank first, leftmost on ties: the core of all BPE models.
#ifndef BITNET_TEXT_TOKEN_MERGING_HPP
#define BITNET_TEXT_TOKEN_MERGING_HPP

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
#include <span>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Merges the tokens of single bytes or characters into those of words. Immutable: any number of threads may use it at
/// a time.
class token_merging {
public:
    explicit token_merging(merge_table merges) noexcept : merges_(std::move(merges)) {}

    /// The most symbols that run() takes: positions are kept in 32 bits.
    static constexpr std::size_t longest_run = (std::numeric_limits<std::uint32_t>::max)() - 1;

    /// Merges tokens[first], tokens[first + 1], ... where they are, and shortens `tokens` accordingly.
    /// \pre first <= tokens.size(), and no more than longest_run follow
    /// Cost for n symbols: O(n log n); runs of more than 64 symbols allocate 36 n bytes for the time of the call.
    /// \return errc::out_of_memory with the bytes asked for.
    [[nodiscard]] result<void> run(std::vector<token>& tokens, std::size_t first) const {
        assert(first <= tokens.size() && tokens.size() - first <= longest_run);
        const std::span<token> symbols = std::span(tokens).subspan(first);
        if (symbols.size() <= short_run) {
            tokens.resize(first + merge_short(symbols));
            return {};
        }
        auto merged = merge_long(symbols);
        if (!merged) {
            return failed(merged);
        }
        tokens.resize(first + *merged);
        return {};
    }

private:
    /// Up to here, finding the lowest rank by looking at all of them beats a heap.
    static constexpr std::size_t short_run = 64;

    /// \return how many are left
    [[nodiscard]] std::size_t merge_short(std::span<token> ids) const noexcept {
        std::array<merge, short_run> pairs; // pairs[i] merges ids[i] and ids[i + 1]
        std::size_t count = ids.size();
        for (std::size_t i = 0; i + 1 < count; ++i) {
            pairs[i] = merges_.find(ids[i], ids[i + 1]);
        }
        while (count > 1) {
            const auto first = pairs.begin();
            const auto last = first + static_cast<std::ptrdiff_t>(count - 1);
            const auto lowest = static_cast<std::size_t>(
                std::min_element(first, last, [](const auto& a, const auto& b) { return a.rank < b.rank; }) - first);
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
        return count;
    }

    /// A token of a long run, in a doubly linked list; its place in the array is that of its first symbol.
    struct node {
        token id;
        std::uint32_t previous;
        std::uint32_t next;
        merge pair; ///< with the next one
    };
    static constexpr std::uint32_t none = (std::numeric_limits<std::uint32_t>::max)();

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

    /// \return how many are left
    [[nodiscard]] result<std::size_t> merge_long(std::span<token> symbols) const {
        const memory_from from{merges_.source(), {memory_use::temporary, false}};
        auto allocated = buffer<node>::allocate(symbols.size(), "merging a long piece of text", from);
        if (!allocated) {
            return failed(allocated);
        }
        // One entry per pair at first, fewer than n. A merge takes one out and puts two in; there are fewer than n.
        auto room =
            buffer<std::uint64_t>::allocate(2 * std::uint64_t{symbols.size()}, "merging a long piece of text", from);
        if (!room) {
            return failed(room);
        }
        buffer<node>& nodes = *allocated;
        queue candidates(*std::move(room));
        link(symbols, nodes, candidates);
        while (!candidates.empty()) {
            const std::uint64_t top = candidates.pop();
            const auto position = static_cast<std::uint32_t>(top);
            if (nodes[position].pair.rank == static_cast<std::uint32_t>(top >> 32)) {
                merge_with_next(nodes, position, candidates);
            }
        }
        std::size_t count = 0;
        for (std::uint32_t i = 0; i != none; i = nodes[i].next) {
            symbols[count++] = nodes[i].id;
        }
        return count;
    }

    void link(std::span<const token> symbols, buffer<node>& nodes, queue& candidates) const noexcept {
        const auto count = static_cast<std::uint32_t>(symbols.size());
        for (std::uint32_t i = 0; i < count; ++i) {
            nodes[i] = {symbols[i], i == 0 ? none : i - 1, i + 1 == count ? none : i + 1, {}};
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

    merge_table merges_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
