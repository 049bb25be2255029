// SPDX-License-Identifier: MIT
// forward_pass: a pass of a transformer, and what is asked of the head behind it, that can stop anywhere and go on.
#ifndef BITNET_RUN_FORWARD_PASS_HPP
#define BITNET_RUN_FORWARD_PASS_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/model/kv_cache.hpp>
#include <bitnet/model/screened_search.hpp>
#include <bitnet/model/sequence_row.hpp>
#include <bitnet/model/transformer.hpp>
#include <bitnet/thread/pool.hpp>
#include <bitnet/thread/stepped_pool.hpp>

#include <cstddef>
#include <optional>
#include <span>

namespace bitnet::inline BITNET_ABI::detail {

/// How far a pass is. The transformer's working memory holds what was computed: one pass at a time, and nothing else
/// may use it before the pass is done or dropped. A pass that is dropped has stored keys and values at its rows'
/// positions, which the next pass there overwrites.
class forward_pass {
public:
    /// Stages as loop_kind has them.
    static constexpr std::size_t start_stage = 0;
    static constexpr std::size_t layer_stage = 1;
    static constexpr std::size_t logits_stage = 2;
    static constexpr std::size_t search_stage = 3; ///< and the two after it
    static constexpr std::size_t copy_stage = 6;

    /// Computes nothing yet. Rows as transformer::begin() wants them, those of one sequence side by side and at
    /// consecutive positions, for which the cache has room (kv_cache::reserve_to_copy). They live until the pass is
    /// over.
    void begin(std::span<const sequence_row> rows) noexcept {
        rows_ = rows;
        reached_ = 0;
        progress_ = {};
        head_ = head::none;
    }
    /// Whether there are rows that have not passed all layers.
    [[nodiscard]] bool is_under_way() const noexcept { return !rows_.empty(); }
    [[nodiscard]] std::size_t rows() const noexcept { return rows_.size(); }

    /// Goes on. \return whether all layers have run: the pass is over then, and its states are in `forward`.
    [[nodiscard]] bool run(stepped_pool& pool, transformer& forward) noexcept {
        for (; reached_ < first_layer + forward.layers(); ++reached_, progress_ = {}) {
            run_stage(pool, forward);
            if (pool.is_stopped()) {
                return false;
            }
            if (reached_ == 0) {
                for_sequences([](kv_cache& cache, std::size_t, std::size_t) noexcept { cache.use_copy(); });
            }
        }
        rows_ = {};
        return true;
    }

    /// Goes on with transformer::logits, or begins it. \pre the pass is over, and the arguments are the same until this
    /// returns true. \return whether they are computed.
    [[nodiscard]] bool run_logits(stepped_pool& pool, transformer& forward, std::span<const std::size_t> rows,
                                  std::span<float* const> out) noexcept {
        go_to(head::logits);
        forward.logits(pool.resume(progress_, {logits_stage, rows.size()}), rows, out);
        if (pool.is_stopped()) {
            return false;
        }
        head_ = head::none;
        return true;
    }

    /// Goes on with screened_search::largest, or begins it. \param is_again see screened_search::begin_again \pre the
    /// pass is over, and x is the same until this returns true. \return whether it is over.
    [[nodiscard]] bool run_search(stepped_pool& pool, screened_search& search, const float* x, std::size_t k,
                                  bool is_again) noexcept {
        if (head_ != head::search || search.asked() != k) {
            go_to(head::search);
            is_again ? search.begin_again(k) : search.begin(x, k);
        }
        for (; !search.is_over(); progress_ = {}) {
            search.run_stage(pool.resume(progress_, {search_stage + search.stage_index(), 1}), x);
            if (pool.is_stopped()) {
                return false;
            }
            search.end_stage();
        }
        return true;
    }
    /// What run_search() has found for k; nullopt if it was not asked, has not ended or gave up.
    [[nodiscard]] std::optional<std::span<const scored_token>> found(const screened_search& search,
                                                                     std::size_t k) const noexcept {
        const bool is_there = head_ == head::search && search.asked() == k && search.is_over();
        return is_there ? search.found() : std::nullopt;
    }
    /// Whether run_logits() was called last, and has not ended.
    [[nodiscard]] bool has_begun_logits() const noexcept { return head_ == head::logits; }

    /// Forgets all: the states in the transformer are nobody's.
    void drop() noexcept { begin({}); }
    /// Forgets what was asked of the head: its working memory is needed otherwise.
    void drop_head() noexcept {
        if (!is_under_way()) {
            drop();
        }
    }

private:
    static constexpr std::size_t first_layer = 2;

    enum class head { none, logits, search };

    void go_to(head what) noexcept {
        if (what != head_) {
            head_ = what;
            progress_ = {};
        }
    }

    /// The stage that is reached, from its first loop on.
    void run_stage(stepped_pool& pool, transformer& forward) noexcept {
        if (reached_ == 0) {
            const pool_ref ref = pool.resume(progress_, {copy_stage, 1});
            for_sequences([&](kv_cache& cache, std::size_t, std::size_t) noexcept { cache.copy_shared(ref); });
        } else if (reached_ == 1) {
            const pool_ref ref = pool.resume(progress_, {start_stage, rows_.size()});
            for_sequences([&](kv_cache& cache, std::size_t position, std::size_t count) noexcept {
                cache.extend(ref, position, count);
            });
            forward.begin(ref, rows_);
        } else {
            forward.layer(pool.resume(progress_, {layer_stage, rows_.size()}), reached_ - first_layer);
        }
    }

    /// Calls visit(cache, first position, number of positions) for each sequence.
    template <class Visit> void for_sequences(Visit&& visit) noexcept {
        for (std::size_t first = 0; first < rows_.size();) {
            std::size_t end = first + 1;
            while (end < rows_.size() && rows_[end].cache == rows_[first].cache) {
                ++end;
            }
            visit(*rows_[first].cache, rows_[first].position, end - first);
            first = end;
        }
    }

    std::span<const sequence_row> rows_;
    std::size_t reached_ = 0; ///< 0: copies of shared pages, 1: the start, then layers
    loop_progress progress_;
    head head_ = head::none;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
