// SPDX-License-Identifier: MIT
// kv_cache<E>: the keys and values of every position that a sequence has passed.
#pragma once

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/half.hpp>
#include <bitnet/core/huge_pages.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/model/hyper_parameters.hpp>
#include <bitnet/simd/lane_ops.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// One head's keys and values of up to attention_block positions. Borrows its memory.
template <class E> struct kv_block {
    const E* keys;             ///< [positions / 16][head_size][16]
    const E* values;           ///< [positions][head_size]
    const float* key_scales;   ///< [positions]: what keys are to be multiplied by; null unless E is an integer
    const float* value_scales; ///< the same for values
};

/// Blocks [position / 256][layer][kv_head], each first its keys [position % 256 / 16][head_size][16], so that one fma
/// chain per position runs in sixteen lanes, then its values [position % 256][head_size]. An integer element has one
/// scale for each position and head, absmax / 127. The order is private to this class and float_ops.
/// Memory is written as the sequence grows, from front to back: a short one in a long context takes what it needs.
template <class E> class kv_cache {
public:
    /// Whether keys and values are quantised, and so have scales.
    static constexpr bool is_scaled = std::is_integral_v<E>;

    kv_cache() noexcept = default;

    /// Bytes of a cache: 2 * layers * kv_heads * context (rounded up to 16) * head_size elements, and scales.
    [[nodiscard]] static std::uint64_t bytes(const hyper_parameters& model, std::size_t context) noexcept {
        return (sizeof(E) * model.head_size + (is_scaled ? sizeof(float) : 0)) * rows(model, context);
    }

    /// \pre 1 <= context <= 2^20. \return errc::out_of_memory with the bytes asked for.
    [[nodiscard]] static result<kv_cache> open(const hyper_parameters& model, std::size_t context) {
        auto elements = buffer<E>::allocate_uninitialized(rows(model, context) * model.head_size, "KV cache");
        if (!elements) {
            return std::move(elements).error();
        }
        auto scales = buffer<float>::allocate_uninitialized(is_scaled ? rows(model, context) : 0, "KV cache scales");
        if (!scales) {
            return std::move(scales).error();
        }
        ask_for_huge_pages(elements->data(), elements->size_bytes());
        kv_cache made;
        made.elements_ = *std::move(elements);
        made.scales_ = *std::move(scales);
        made.heads_ = model.layers * model.kv_heads;
        made.kv_heads_ = model.kv_heads;
        made.head_size_ = model.head_size;
        made.positions_ = padded(context);
        return made;
    }

    /// Prepares `count` positions from `first` on, before any of them is stored: keys of sixteen positions are read
    /// together, so those that do not exist yet must have some value.
    void extend(std::size_t first, std::size_t count) noexcept {
        const std::size_t last = (first + count) / 16 * 16; // of the blocks of sixteen, the one that stays incomplete
        if (last == first + count || last < first) {
            return; // none, or one that was prepared before
        }
        for (std::size_t head = 0; head < heads_; ++head) {
            std::fill_n(elements_.data() + find(head, last).key * head_size_, 16 * head_size_, E{});
        }
    }

    /// Stores one position's key and value rows, [kv_heads * head_size] floats each, rounded to E by `Loops`.
    /// \pre extend() was called for the position. Different positions may be stored by different threads.
    template <class Loops>
    void store(std::size_t layer, std::size_t position, const float* key, const float* value) noexcept {
        std::array<E, largest_head> narrowed;
        for (std::size_t head = 0; head < kv_heads_; ++head) {
            const place at = find(layer * kv_heads_ + head, position);
            const float key_scale = Loops::narrow_row(key + head * head_size_, head_size_, narrowed.data());
            E* column = elements_.data() + (at.key - position % 16) * head_size_ + position % 16;
            for (std::size_t d = 0; d < head_size_; ++d) {
                column[d * 16] = narrowed[d];
            }
            E* row = elements_.data() + at.value * head_size_;
            const float value_scale = Loops::narrow_row(value + head * head_size_, head_size_, row);
            if constexpr (is_scaled) {
                scales_[at.key] = key_scale;
                scales_[at.value] = value_scale;
            }
        }
    }

    /// One head's positions from `first` on, a multiple of attention_block.
    [[nodiscard]] kv_block<E> block(std::size_t layer, std::size_t head, std::size_t first) const noexcept {
        const place at = find(layer * kv_heads_ + head, first);
        kv_block<E> found{elements_.data() + at.key * head_size_, elements_.data() + at.value * head_size_, nullptr,
                          nullptr};
        if constexpr (is_scaled) {
            found.key_scales = scales_.data() + at.key;
            found.value_scales = scales_.data() + at.value;
        }
        return found;
    }

private:
    static constexpr std::size_t largest_head = 1024; // hyper_parameters refuses larger ones

    /// Indices of a position's key and value among all rows of head_size elements, and among all scales.
    struct place {
        std::size_t key;
        std::size_t value;
    };

    [[nodiscard]] static std::size_t padded(std::size_t context) noexcept { return (context + 15) / 16 * 16; }
    /// Rows of head_size elements, keys and values. Cannot overflow, nor can the elements' bytes: 2^10 layers, 2^10
    /// heads, 2^20 positions, 2^10 columns of 2^2 bytes and 2 for keys and values are 2^53.
    [[nodiscard]] static std::uint64_t rows(const hyper_parameters& model, std::size_t context) noexcept {
        return std::uint64_t{2} * model.layers * model.kv_heads * padded(context);
    }
    /// `head` counts those of all layers.
    [[nodiscard]] place find(std::size_t head, std::size_t position) const noexcept {
        const std::size_t first = position / attention_block * attention_block;
        const std::size_t positions = std::min(attention_block, positions_ - first); // the last block may be shorter
        const std::size_t key = 2 * (first * heads_ + head * positions) + (position - first);
        return {key, key + positions};
    }

    buffer<E> elements_;
    buffer<float> scales_;  ///< of each row of elements; empty unless is_scaled
    std::size_t heads_ = 0; ///< layers * kv_heads
    std::size_t kv_heads_ = 0;
    std::size_t head_size_ = 0;
    std::size_t positions_ = 0;
};

} // namespace bitnet::inline BITNET_ABI
