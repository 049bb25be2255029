// SPDX-License-Identifier: MIT
// kv_cache: the keys and values of every position that a sequence has passed.
#ifndef BITNET_MODEL_KV_CACHE_HPP
#define BITNET_MODEL_KV_CACHE_HPP

#include <bitnet/checkpoint/hyper_parameters.hpp>
#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/huge_pages.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/simd/lane_ops.hpp>
#include <bitnet/simd/loop_table.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// One head's keys and values of up to attention_block positions, in the cache's element type. Borrows its memory.
struct kv_block {
    const std::byte* keys;     ///< [positions / 16][head_size][16]
    const std::byte* values;   ///< [positions][head_size]
    const float* key_scales;   ///< [positions]: what keys are to be multiplied by; null unless kv_table::is_scaled
    const float* value_scales; ///< the same for values
};

/// Blocks [position / 256][layer][kv_head], each first its keys [position % 256 / 16][head_size][16], so that one fma
/// chain per position runs in sixteen lanes, then its values [position % 256][head_size]. An integer element has one
/// scale for each position and head, absmax / 127. The order is private to this class and the loops.
/// Memory is written as the sequence grows, from front to back: a short one in a long context takes what it needs.
class kv_cache {
public:
    kv_cache() noexcept = default;

    /// Bytes of a cache: 2 * layers * kv_heads * context (rounded up to 16) * head_size elements, and scales.
    [[nodiscard]] static std::uint64_t bytes(const hyper_parameters& model, std::size_t element_bytes, bool is_scaled,
                                             std::size_t context) noexcept {
        return (element_bytes * model.head_size + (is_scaled ? sizeof(float) : 0)) * rows(model, context);
    }

    /// \pre 1 <= context <= 2^20. \return errc::out_of_memory with the bytes asked for.
    [[nodiscard]] static result<kv_cache> open(const hyper_parameters& model, const kv_table& element,
                                               std::size_t context) {
        auto elements = buffer<std::byte>::allocate_uninitialized(
            rows(model, context) * model.head_size * element.element_bytes, "KV cache");
        if (!elements) {
            return failed(elements);
        }
        auto scales =
            buffer<float>::allocate_uninitialized(element.is_scaled ? rows(model, context) : 0, "KV cache scales");
        if (!scales) {
            return failed(scales);
        }
        ask_for_huge_pages(elements->data(), elements->size_bytes());
        kv_cache made;
        made.element_ = &element;
        made.elements_ = *std::move(elements);
        made.scales_ = *std::move(scales);
        made.heads_ = model.layers * model.kv_heads;
        made.kv_heads_ = model.kv_heads;
        made.head_size_ = model.head_size;
        made.row_bytes_ = model.head_size * element.element_bytes;
        made.positions_ = padded(context);
        return made;
    }

    /// Prepares `count` positions from `first` on, before any of them is stored. Keys are read 16 positions at a time:
    /// zeroes the unwritten lanes of the last, incomplete block.
    void extend(std::size_t first, std::size_t count) noexcept {
        const std::size_t last = (first + count) / key_lanes * key_lanes; // the incomplete block
        if (last == first + count || last < first) {
            return; // none, or one that was prepared before
        }
        for (std::size_t head = 0; head < heads_; ++head) {
            std::memset(row(find(head, last).key), 0, key_lanes * row_bytes_);
        }
    }

    /// Stores one position's key and value rows, [kv_heads * head_size] floats each, rounded to the element.
    /// \pre extend() was called for the position. Different positions may be stored by different threads.
    void store(std::size_t layer, std::size_t position, const float* key, const float* value) noexcept {
        alignas(float) std::byte narrowed[largest_head_size * sizeof(float)];
        for (std::size_t head = 0; head < kv_heads_; ++head) {
            const place at = find(layer * kv_heads_ + head, position);
            const float key_scale = element_->narrow_row(key + head * head_size_, head_size_, narrowed);
            scatter(narrowed, row(at.key - position % key_lanes) + position % key_lanes * element_->element_bytes);
            const float value_scale = element_->narrow_row(value + head * head_size_, head_size_, row(at.value));
            if (element_->is_scaled) {
                scales_[at.key] = key_scale;
                scales_[at.value] = value_scale;
            }
        }
    }

    /// One head's positions from `first` on, a multiple of attention_block.
    [[nodiscard]] kv_block block(std::size_t layer, std::size_t head, std::size_t first) const noexcept {
        const place at = find(layer * kv_heads_ + head, first);
        const bool is_scaled = element_->is_scaled;
        return {elements_.data() + at.key * row_bytes_, elements_.data() + at.value * row_bytes_,
                is_scaled ? scales_.data() + at.key : nullptr, is_scaled ? scales_.data() + at.value : nullptr};
    }

private:
    static constexpr std::size_t key_lanes = reduction_lanes; ///< positions whose keys are stored side by side

    /// Indices of a position's key and value among all rows of head_size elements, and among all scales.
    struct place {
        std::size_t key;
        std::size_t value;
    };

    [[nodiscard]] static std::size_t padded(std::size_t context) noexcept {
        return (context + key_lanes - 1) / key_lanes * key_lanes;
    }
    /// Rows of head_size elements, keys and values. Cannot overflow, nor can the elements' bytes: 2^10 layers, 2^10
    /// heads, 2^20 positions, 2^10 columns of 2^2 bytes and 2 for keys and values are 2^53.
    [[nodiscard]] static std::uint64_t rows(const hyper_parameters& model, std::size_t context) noexcept {
        return std::uint64_t{2} * model.layers * model.kv_heads * padded(context);
    }
    /// `head` counts those of all layers.
    [[nodiscard]] place find(std::size_t head, std::size_t position) const noexcept {
        const std::size_t first = position / attention_block * attention_block;
        const std::size_t rest = positions_ - first;
        const std::size_t positions = rest < attention_block ? rest : attention_block; // the last block may be shorter
        const std::size_t key = 2 * (first * heads_ + head * positions) + (position - first);
        return {key, key + positions};
    }
    [[nodiscard]] std::byte* row(std::size_t index) noexcept { return elements_.data() + index * row_bytes_; }

    /// The elements of a key to one lane of its block, key_lanes elements apart.
    void scatter(const std::byte* key, std::byte* first) const noexcept {
        switch (element_->element_bytes) {
        case 1:
            return scatter_elements<std::uint8_t>(key, first);
        case 2:
            return scatter_elements<std::uint16_t>(key, first);
        default:
            return scatter_elements<std::uint32_t>(key, first);
        }
    }
    template <class Bits> void scatter_elements(const std::byte* key, std::byte* first) const noexcept {
        for (std::size_t d = 0; d < head_size_; ++d) {
            std::memcpy(first + d * key_lanes * sizeof(Bits), key + d * sizeof(Bits), sizeof(Bits));
        }
    }

    const kv_table* element_ = nullptr;
    buffer<std::byte> elements_;
    buffer<float> scales_;  ///< of each row of elements; empty unless is_scaled
    std::size_t heads_ = 0; ///< layers * kv_heads
    std::size_t kv_heads_ = 0;
    std::size_t head_size_ = 0;
    std::size_t row_bytes_ = 0; ///< of head_size elements
    std::size_t positions_ = 0;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
