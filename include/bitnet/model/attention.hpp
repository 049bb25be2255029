// SPDX-License-Identifier: MIT
// Causal grouped-query attention over the KV cache.
#ifndef BITNET_MODEL_ATTENTION_HPP
#define BITNET_MODEL_ATTENTION_HPP

#include <bitnet/checkpoint/hyper_parameters.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/matrix_view.hpp>
#include <bitnet/model/kv_cache.hpp>
#include <bitnet/model/scratch.hpp>
#include <bitnet/model/sequence_row.hpp>
#include <bitnet/simd/loop_table.hpp>
#include <bitnet/thread/pool.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace bitnet::inline BITNET_ABI::detail {

/// Up to eight queries that pass one block of keys and values together, so that its loads are shared.
struct attention_tile {
    static constexpr std::size_t most = 8;

    std::size_t size = 0;
    std::array<const float*, most> queries{}; ///< [head_size] each
    std::array<std::size_t, most> counts{};   ///< how many positions of the block a query sees: at least 1, ascending
    std::array<float*, most> out{};           ///< [head_size] each: the sum of weighted values
    std::array<softmax_state, most> states{}; ///< of the block

    void add(const float* query, std::size_t count, float* result) noexcept {
        queries[size] = query;
        counts[size] = count;
        out[size] = result;
        ++size;
    }
};

/// The softmax of one block, not yet divided by its sum.
inline void attend_tile(const loop_table& loops, const kv_table& kv, const kv_block& block, std::size_t head_size,
                        attention_tile& tile) noexcept {
    std::array<float, attention_tile::most * attention_block> weights;
    kv.scores(tile.queries.data(), tile.size, block.keys, head_size, tile.counts[tile.size - 1], weights.data());
    for (std::size_t i = 0; i < tile.size; ++i) {
        float* row = weights.data() + i * attention_block;
        if (kv.is_scaled) {
            loops.multiply(row, block.key_scales, tile.counts[i]);
        }
        tile.states[i] = loops.exponentials(row, tile.counts[i]);
        if (kv.is_scaled) {
            loops.multiply(row, block.value_scales, tile.counts[i]);
        }
    }
    const std::size_t seen_by_all = tile.counts[0];
    kv.weighted_values(weights.data(), tile.size, block.values, head_size, 0, seen_by_all, tile.out.data());
    for (std::size_t i = 0, end = 0; i < tile.size; i = end) { // the heads of one row together
        while (end < tile.size && tile.counts[end] == tile.counts[i]) {
            ++end;
        }
        kv.weighted_values(weights.data() + i * attention_block, end - i, block.values, head_size, seen_by_all,
                           tile.counts[i], tile.out.data() + i);
    }
}

/// Every row of a pass attends to positions 0..position of its sequence, with a window to those that are left:
/// out = softmax(q k^T / sqrt(head_size)) v, head by head; the heads of a group share keys and values.
///
/// Blocks of 256 positions are reduced one by one and merged ascending by one thread, so that the bits depend on the
/// position alone. Where rows are few and sequences long, blocks are the tasks, and their parts meet in scratch;
/// elsewhere a task takes up to four rows of a group, all blocks.
/// Source: the online softmax of Milakov and Gimelshein, 2018; tests/run/same_bits_test.cpp.
class attention {
public:
    /// query, sink_query, out [rows, heads * head_size]. \param sink_query of rows with a window that has dropped
    /// something: see sequence_row::is_beyond_gap
    attention(const loop_table& loops, const kv_table& kv, const hyper_parameters& model, std::size_t layer,
              std::span<const sequence_row> rows, matrix_view<float> query, matrix_view<float> sink_query,
              matrix_view<float> out, attention_parts& parts) noexcept
        : loops_(loops), kv_(kv), model_(model), layer_(layer), rows_(rows), query_(query), sink_query_(sink_query),
          out_(out), parts_(parts) {}

    void run(pool_ref pool) const noexcept {
        std::size_t blocks = 0;
        for (const sequence_row& each : rows_) {
            blocks += each.blocks();
        }
        constexpr std::size_t tasks_per_thread = 8; // so that a slow core does not hold up the rest
        const bool is_enough = rows_.size() * model_.kv_heads >= tasks_per_thread * pool.threads();
        if (pool.threads() == 1 || is_enough || blocks == rows_.size() || blocks > attention_parts::most) {
            const std::size_t groups = (rows_.size() + rows_per_task() - 1) / rows_per_task();
            return parallel_for(pool, groups * model_.kv_heads, [&](std::size_t task) noexcept {
                attend_rows(task % groups * rows_per_task(), task / groups); // a head's keys and values stay in cache
            });
        }
        parallel_for(pool, blocks * model_.kv_heads,
                     [&](std::size_t task) noexcept { attend_part(task / model_.kv_heads, task % model_.kv_heads); });
        parallel_for(pool, rows_.size() * model_.kv_heads,
                     [&](std::size_t task) noexcept { merge_parts(task / model_.kv_heads, task % model_.kv_heads); });
    }

private:
    static constexpr std::size_t most_rows = 4;
    static constexpr std::size_t queries_per_task = 16;

    /// One query head of one row, and its running softmax.
    struct running_query {
        std::size_t row;
        std::size_t column; ///< of the head, in query_ and out_
        softmax_state state;
    };

    [[nodiscard]] std::size_t rows_per_task() const noexcept {
        return std::clamp<std::size_t>(queries_per_task / model_.heads_per_kv(), 1, most_rows);
    }

    /// The rows from `first` on that a task takes, in runs of neighbours: the same sequence, ascending positions.
    void attend_rows(std::size_t first, std::size_t kv_head) const noexcept {
        const std::size_t end = (std::min)(first + rows_per_task(), rows_.size());
        while (first < end) {
            std::size_t next = first + 1;
            while (next < end && rows_[next].cache == rows_[first].cache &&
                   rows_[next].position > rows_[next - 1].position) {
                ++next;
            }
            for (std::size_t head = 0; head < model_.heads_per_kv(); head += queries_per_task) {
                attend_neighbours(first, next, kv_head, head);
            }
            first = next;
        }
    }

    /// Rows [first, end) of one sequence, up to queries_per_task heads of a group from `head` on.
    void attend_neighbours(std::size_t first, std::size_t end, std::size_t kv_head, std::size_t head) const noexcept {
        std::array<running_query, queries_per_task> all;
        std::size_t size = 0;
        const std::size_t head_end = (std::min)(head + queries_per_task, model_.heads_per_kv());
        for (std::size_t r = first; r < end; ++r) {
            for (std::size_t h = head; h < head_end; ++h) {
                all[size++] = {r, (kv_head * model_.heads_per_kv() + h) * model_.head_size, {}};
            }
        }
        const sequence_row& last = rows_[end - 1];
        for (std::size_t b = 0; b < last.blocks(); ++b) {
            const auto block = last.cache->block(layer_, kv_head, b * attention_block);
            std::size_t begin = 0;
            while (rows_[all[begin].row].blocks() <= b) {
                ++begin;
            }
            for (; begin < size; begin += attention_tile::most) {
                const std::size_t count = (std::min)(attention_tile::most, size - begin);
                attend_and_merge(block, b, std::span(all).subspan(begin, count));
            }
        }
        for (const running_query& each : std::span(all).first(size)) {
            loops_.divide(out_of(each), each.state.sum, model_.head_size);
        }
    }

    /// Block `b` for up to eight queries: the first goes to out_, later ones are merged into it.
    void attend_and_merge(const kv_block& block, std::size_t b, std::span<running_query> some) const noexcept {
        std::array<float, attention_tile::most * largest_head_size> later;
        attention_tile tile;
        for (const running_query& each : some) {
            float* out = b == 0 ? out_of(each) : later.data() + tile.size * model_.head_size;
            tile.add(query_of(each.row, b) + each.column, seen(rows_[each.row], b), out);
        }
        attend_tile(loops_, kv_, block, model_.head_size, tile);
        for (std::size_t i = 0; i < some.size(); ++i) {
            some[i].state =
                b == 0 ? tile.states[i]
                       : loops_.merge(some[i].state, out_of(some[i]), tile.states[i], tile.out[i], model_.head_size);
        }
    }

    /// The part of one block, counted over all rows, for all heads of a group.
    void attend_part(std::size_t part, std::size_t kv_head) const noexcept {
        std::size_t r = 0;
        std::size_t b = part;
        while (b >= rows_[r].blocks()) {
            b -= rows_[r++].blocks();
        }
        const auto block = rows_[r].cache->block(layer_, kv_head, b * attention_block);
        const std::size_t end = (kv_head + 1) * model_.heads_per_kv();
        for (std::size_t head = kv_head * model_.heads_per_kv(); head < end; head += attention_tile::most) {
            attention_tile tile;
            for (std::size_t h = head; h < (std::min)(head + attention_tile::most, end); ++h) {
                const std::size_t column = h * model_.head_size;
                tile.add(query_of(r, b) + column, seen(rows_[r], b), parts_.vector(part) + column);
            }
            attend_tile(loops_, kv_, block, model_.head_size, tile);
            std::copy_n(tile.states.data(), tile.size, parts_.states(part) + head);
        }
    }

    /// out_ of one row and all heads of a group from the parts of its blocks, ascending.
    void merge_parts(std::size_t r, std::size_t kv_head) const noexcept {
        std::size_t part = 0;
        for (std::size_t earlier = 0; earlier < r; ++earlier) {
            part += rows_[earlier].blocks();
        }
        const std::size_t end = part + rows_[r].blocks();
        for (std::size_t h = 0; h < model_.heads_per_kv(); ++h) {
            const std::size_t head = kv_head * model_.heads_per_kv() + h;
            const std::size_t column = head * model_.head_size;
            float* out = out_.row(r).data() + column;
            std::copy_n(parts_.vector(part) + column, model_.head_size, out);
            softmax_state state = parts_.states(part)[head];
            for (std::size_t later = part + 1; later < end; ++later) {
                state = loops_.merge(state, out, parts_.states(later)[head], parts_.vector(later) + column,
                                     model_.head_size);
            }
            loops_.divide(out, state.sum, model_.head_size);
        }
    }

    /// The query row that block `b` sees.
    [[nodiscard]] const float* query_of(std::size_t r, std::size_t b) const noexcept {
        return rows_[r].is_beyond_gap(b) ? sink_query_.row(r).data() : query_.row(r).data();
    }
    [[nodiscard]] float* out_of(const running_query& each) const noexcept {
        return out_.row(each.row).data() + each.column;
    }
    /// How many positions of block `b` a row sees.
    [[nodiscard]] static std::size_t seen(const sequence_row& each, std::size_t b) noexcept {
        return (std::min)(attention_block, each.position + 1 - b * attention_block);
    }

    const loop_table& loops_;
    const kv_table& kv_;
    const hyper_parameters& model_;
    std::size_t layer_;
    std::span<const sequence_row> rows_;
    matrix_view<float> query_;
    matrix_view<float> sink_query_;
    matrix_view<float> out_;
    attention_parts& parts_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
