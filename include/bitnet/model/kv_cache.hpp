// SPDX-License-Identifier: MIT
// kv_cache<E>: the keys and values of every position that a sequence has passed.
#pragma once

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/half.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/model/hyper_parameters.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// Keys [layer][kv_head][position / 16][head_size][16], so that one fma chain per position runs in sixteen lanes;
/// values [layer][kv_head][position][head_size]. The order is private to this class and float_ops.
/// Memory is written as the sequence grows: a short one in a long context takes what it needs.
template <class E> class kv_cache {
public:
    kv_cache() noexcept = default;

    /// Bytes of a cache: 2 * layers * kv_heads * context (rounded up to 16) * head_size elements.
    [[nodiscard]] static std::uint64_t bytes(const hyper_parameters& model, std::size_t context) noexcept {
        return 2 * sizeof(E) * elements(model, context);
    }

    /// \pre 1 <= context <= 2^20. \return errc::out_of_memory with the bytes asked for.
    [[nodiscard]] static result<kv_cache> open(const hyper_parameters& model, std::size_t context) {
        auto keys = buffer<E>::allocate_uninitialized(elements(model, context), "KV cache (keys)");
        if (!keys) {
            return std::move(keys).error();
        }
        auto values = buffer<E>::allocate_uninitialized(elements(model, context), "KV cache (values)");
        if (!values) {
            return std::move(values).error();
        }
        kv_cache made;
        made.keys_ = *std::move(keys);
        made.values_ = *std::move(values);
        made.kv_heads_ = model.kv_heads;
        made.head_size_ = model.head_size;
        made.positions_ = padded(context);
        return made;
    }

    /// Prepares `count` positions from `first` on, before any of them is stored: keys of sixteen positions are read
    /// together, so those that do not exist yet must have some value.
    void extend(std::size_t first, std::size_t count) noexcept {
        const std::size_t begin = (first + 15) / 16 * 16;
        const std::size_t end = padded(first + count);
        for (std::size_t at_head = 0; begin < end && at_head < keys_.size(); at_head += positions_ * head_size_) {
            std::fill_n(keys_.data() + at_head + begin * head_size_, (end - begin) * head_size_, E{});
        }
    }

    /// Stores one position's key and value rows, [kv_heads * head_size] floats each, rounded to E.
    /// \pre extend() was called for the position. Different positions may be stored by different threads.
    void store(std::size_t layer, std::size_t position, const float* key, const float* value) noexcept {
        for (std::size_t head = 0; head < kv_heads_; ++head) {
            E* block = keys_.data() + at(layer, head) + position / 16 * 16 * head_size_ + position % 16;
            E* row = values_.data() + at(layer, head) + position * head_size_;
            for (std::size_t d = 0; d < head_size_; ++d) {
                block[d * 16] = narrow<E>(key[head * head_size_ + d]);
                row[d] = narrow<E>(value[head * head_size_ + d]);
            }
        }
    }

    /// The keys and values of one head from `position` on, a multiple of 16.
    [[nodiscard]] const E* keys(std::size_t layer, std::size_t head, std::size_t position) const noexcept {
        return keys_.data() + at(layer, head) + position * head_size_;
    }
    [[nodiscard]] const E* values(std::size_t layer, std::size_t head, std::size_t position) const noexcept {
        return values_.data() + at(layer, head) + position * head_size_;
    }

private:
    [[nodiscard]] static std::size_t padded(std::size_t context) noexcept { return (context + 15) / 16 * 16; }
    /// Cannot overflow: 2^10 layers, 2^10 heads, 2^20 positions and 2^10 columns are 2^50.
    [[nodiscard]] static std::uint64_t elements(const hyper_parameters& model, std::size_t context) noexcept {
        return std::uint64_t{model.layers} * model.kv_heads * padded(context) * model.head_size;
    }
    [[nodiscard]] std::size_t at(std::size_t layer, std::size_t head) const noexcept {
        return (layer * kv_heads_ + head) * positions_ * head_size_;
    }

    buffer<E> keys_;
    buffer<E> values_;
    std::size_t kv_heads_ = 0;
    std::size_t head_size_ = 0;
    std::size_t positions_ = 0;
};

} // namespace bitnet::inline BITNET_ABI
