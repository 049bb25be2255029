// SPDX-License-Identifier: MIT
// kv_cache: the keys and values of every position that a sequence has passed, in pages.
#ifndef BITNET_MODEL_KV_CACHE_HPP
#define BITNET_MODEL_KV_CACHE_HPP

#include <bitnet/checkpoint/hyper_parameters.hpp>
#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/memory_source.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/model/kv_page.hpp>
#include <bitnet/simd/lane_ops.hpp>
#include <bitnet/simd/loop_table.hpp>
#include <bitnet/thread/pool.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// One head's keys and values of up to attention_block positions, in the cache's element type. Borrows its memory.
struct kv_block {
    const std::byte* keys;     ///< [positions / 16][head_size][16]
    const std::byte* values;   ///< [positions][head_size]
    const float* key_scales;   ///< [positions]: what keys are to be multiplied by; null unless kv_table::is_scaled
    const float* value_scales; ///< the same for values
};

/// Pages of 256 positions, each [layer][kv_head], and of each head first its keys [position / 16][head_size][16], so
/// that one fma chain per position runs in sixteen lanes, then its values [position][head_size]. An integer element has
/// one scale for each position and head, absmax / 127. The order is private to this class and the loops. Pages are the
/// cache's own, one after another and the last as short as the context allows, or taken from a kv_page_store when they
/// are needed and given back; those of a store may be shared, and are copied when they are written. Memory is written
/// as the sequence grows, from front to back: a short one in a long context takes what it needs. With a window pages
/// are dropped between, and positions are those that are there.
class kv_cache {
public:
    static constexpr std::size_t key_lanes = reduction_lanes; ///< positions whose keys are stored side by side

    kv_cache() noexcept = default;
    kv_cache(kv_cache&& other) noexcept { *this = std::move(other); }
    kv_cache& operator=(kv_cache&& other) noexcept {
        keep(0);
        shape_ = other.shape_;
        store_ = std::exchange(other.store_, nullptr);
        own_ = std::move(other.own_);
        pages_ = std::move(other.pages_);
        held_ = std::exchange(other.held_, 0);
        copy_ = std::exchange(other.copy_, {});
        positions_ = other.positions_;
        return *this;
    }
    ~kv_cache() { keep(0); }

    /// Bytes of a cache: 2 * layers * kv_heads * context (rounded up to 16) * head_size elements, and scales.
    [[nodiscard]] static std::uint64_t bytes(const hyper_parameters& model, std::size_t element_bytes, bool is_scaled,
                                             std::size_t context) noexcept {
        const std::uint64_t row = element_bytes * model.head_size + (is_scaled ? sizeof(float) : 0);
        return row * 2 * model.layers * model.kv_heads * padded(context);
    }

    /// \param store null: the cache has memory of its own for the whole context. Must outlive the cache.
    /// \pre 1 <= context <= 2^20; the store is of the same shape \return errc::out_of_memory with the bytes asked for.
    [[nodiscard]] static result<kv_cache> open(const hyper_parameters& model, const kv_table& element,
                                               std::size_t context, kv_page_store* store,
                                               const memory_source* memory = nullptr) {
        kv_cache made;
        made.shape_ = kv_shape::of(model, element);
        made.positions_ = padded(context);
        const std::size_t count = (context + attention_block - 1) / attention_block;
        error failure;
        allocate(made.pages_, count, "KV cache", failure, {memory, {memory_use::pages, false}});
        if (failure.code != errc{}) {
            return failure;
        }
        made.store_ = store;
        if (store != nullptr) {
            return made;
        }
        // Cannot overflow: 2^10 layers, 2^10 heads, 2^20 positions, 2^10 columns of 2^2 bytes and 2 for keys and values
        // are 2^53.
        auto own = buffer<std::byte>::allocate_uninitialized(made.shape_.bytes(made.positions_), "KV cache",
                                                             {memory, {memory_use::pages, true}});
        if (!own) {
            return failed(own);
        }
        made.own_ = *std::move(own);
        for (std::size_t i = 0; i < count; ++i) {
            made.pages_[i] = {made.own_.data() + made.shape_.bytes(i * attention_block), 0};
        }
        made.held_ = count;
        return made;
    }

    /// Makes positions [first, end) writable: takes pages that are missing and copies the one of `first` if it is
    /// shared. \pre positions below `first` are stored \return errc::kv_pool_full with both numbers; nothing is taken
    /// then.
    [[nodiscard]] result<void> reserve(std::size_t first, std::size_t end) {
        auto reserved = reserve_to_copy(first, end);
        if (reserved) {
            inline_pool here;
            copy_shared(here);
            use_copy();
        }
        return reserved;
    }
    /// The same but for the copy, which takes milliseconds: before anything is written, copy_shared() and use_copy().
    [[nodiscard]] result<void> reserve_to_copy(std::size_t first, std::size_t end) {
        if (store_ == nullptr || first == end) {
            return {};
        }
        const std::size_t held = held_;
        while (held_ * attention_block < end) {
            const auto taken = store_->take();
            if (!taken) {
                const std::size_t more = (end + attention_block - 1) / attention_block - held;
                drop_pages(held);
                return store_->is_full(more);
            }
            pages_[held_++] = *taken;
        }
        const std::size_t written = first / attention_block;
        if (written < held && copy_.to.data == nullptr && store_->is_shared(pages_[written])) {
            const auto taken = store_->take();
            if (!taken) {
                drop_pages(held);
                return store_->is_full(1);
            }
            copy_ = {*taken, written, first % attention_block};
        }
        return {};
    }
    /// The copy of a shared page that is to be written, if there is one. All see the old page meanwhile.
    void copy_shared(pool_ref pool) noexcept {
        if (copy_.to.data == nullptr) {
            return;
        }
        parallel_for(pool, copy_.count != 0 ? shape_.heads : 0, [&](std::size_t head) noexcept {
            copy_head(head, pages_[copy_.page].data, attention_block, copy_.to.data, attention_block, copy_.count);
        });
    }
    void use_copy() noexcept {
        if (copy_.to.data != nullptr) {
            store_->give_back(std::exchange(pages_[copy_.page], copy_.to));
            copy_ = {};
        }
    }

    /// Forgets the positions from `count` on, and a copy that is not in use.
    void keep(std::size_t count) noexcept {
        if (copy_.to.data != nullptr) {
            store_->give_back(std::exchange(copy_, {}).to);
        }
        if (store_ != nullptr) {
            drop_pages((count + attention_block - 1) / attention_block);
        }
    }

    /// Page `page` goes, those behind it move up, and a writable one comes at the end: the same, unless it is shared.
    /// \pre all pages of the context are held; it is a multiple of attention_block
    /// \return errc::kv_pool_full; nothing is dropped then
    [[nodiscard]] result<void> drop_page(std::size_t page) {
        kv_page last = pages_[page];
        if (store_ != nullptr && store_->is_shared(last)) {
            const auto taken = store_->take();
            if (!taken) {
                return store_->is_full(1);
            }
            store_->give_back(std::exchange(last, *taken));
        }
        for (; page + 1 < held_; ++page) {
            pages_[page] = pages_[page + 1];
        }
        pages_[page] = last;
        return {};
    }

    /// Becomes a copy of the first `count` positions of `other`: its pages are shared if both are of one store.
    /// \pre the same model and element; the context has room \return errc::kv_pool_full; the cache is empty then.
    [[nodiscard]] result<void> copy(const kv_cache& other, std::size_t count) {
        keep(0);
        const std::size_t pages = (count + attention_block - 1) / attention_block;
        if (store_ != nullptr && store_ == other.store_) {
            for (; held_ < pages; ++held_) {
                pages_[held_] = other.pages_[held_];
                store_->share(pages_[held_]);
            }
            return {};
        }
        if (auto reserved = reserve(0, count); !reserved) {
            return reserved;
        }
        for (std::size_t i = 0; i < pages; ++i) {
            const std::size_t rest = count - i * attention_block;
            copy_page(other.pages_[i].data, other.positions_in(i), pages_[i].data, positions_in(i),
                      rest < attention_block ? rest : attention_block);
        }
        return {};
    }

    /// Makes the first `count` positions writable and forgets all: takes pages in place of those that are missing or
    /// shared. \return errc::kv_pool_full with both numbers; nothing is forgotten then.
    [[nodiscard]] result<void> renew(std::size_t count) {
        if (store_ == nullptr) {
            return {};
        }
        const std::size_t pages = (count + attention_block - 1) / attention_block;
        std::size_t missing = 0;
        for (std::size_t i = 0; i < pages; ++i) {
            missing += is_missing(i) ? 1u : 0u;
        }
        kv_page chain{}; // of those taken: each holds the one before it, so that no list has to be allocated
        std::size_t taken = 0;
        for (; taken < missing; ++taken) {
            const auto page = store_->take();
            if (!page) {
                give_back_chain(chain, taken);
                return store_->is_full(missing);
            }
            std::memcpy(page->data, &chain, sizeof chain);
            chain = *page;
        }
        for (std::size_t i = 0; i < pages; ++i) {
            if (is_missing(i)) { // no more of them than before: nobody can share what is this cache's alone
                const kv_page fresh = unchain(chain);
                --taken;
                if (i < held_) {
                    store_->give_back(pages_[i]);
                }
                pages_[i] = fresh;
            }
        }
        give_back_chain(chain, taken); // if others have given up their share meanwhile
        drop_pages(pages);
        held_ = pages;
        return {};
    }

    /// Bytes that the first `count` positions of a page take in a save: keys of whole sixteens, values, scales.
    [[nodiscard]] std::uint64_t saved_bytes(std::size_t count) const noexcept {
        const std::uint64_t scales = shape_.element->is_scaled ? 2 * count * sizeof(float) : 0;
        return shape_.heads * (std::uint64_t{padded(count) + count} * shape_.row_bytes + scales);
    }
    /// Shows them to take(std::span<const std::byte>), which returns result<void>, piece by piece. Lanes of positions
    /// from `count` on are zeros, whatever was there. \pre the positions are stored
    template <class Take>
    [[nodiscard]] result<void> save_page(std::size_t page, std::size_t count, const Take& take) const {
        std::byte* const data = pages_[page].data;
        if (count == attention_block) {
            return take({data, to_size(shape_.bytes(attention_block))});
        }
        const std::size_t positions = positions_in(page);
        const std::size_t whole = count / key_lanes * key_lanes;
        result<void> taken;
        for (std::size_t head = 0; taken && head < shape_.heads; ++head) {
            const place at = find(data, positions, head, 0);
            taken = take({at.key, whole * shape_.row_bytes});
            if (taken && whole != count) {
                taken = save_lanes(at.key + whole * shape_.row_bytes, count - whole, take);
            }
            taken = taken ? take({at.value, count * shape_.row_bytes}) : std::move(taken);
        }
        for (std::size_t head = 0; shape_.element->is_scaled && taken && head < shape_.heads; ++head) {
            const place at = find(data, positions, head, 0);
            taken = take(std::as_bytes(std::span<const float>(at.key_scale, count)));
            taken = taken ? take(std::as_bytes(std::span<const float>(at.value_scale, count))) : std::move(taken);
        }
        return taken;
    }
    /// Takes them from a save. \pre the page is writable: see renew()
    void load_page(std::size_t page, std::size_t count, const std::byte* from) noexcept {
        std::byte* const data = pages_[page].data;
        const auto load = [&](void* to, std::size_t size) {
            std::memcpy(to, from, size);
            from += size;
        };
        if (count == attention_block) {
            return load(data, to_size(shape_.bytes(attention_block)));
        }
        const std::size_t positions = positions_in(page);
        for (std::size_t head = 0; head < shape_.heads; ++head) {
            const place at = find(data, positions, head, 0);
            load(at.key, padded(count) * shape_.row_bytes);
            load(at.value, count * shape_.row_bytes);
        }
        for (std::size_t head = 0; shape_.element->is_scaled && head < shape_.heads; ++head) {
            const place at = find(data, positions, head, 0);
            load(at.key_scale, count * sizeof(float));
            load(at.value_scale, count * sizeof(float));
        }
    }

    /// Prepares `count` positions from `first` on, before any of them is stored. Keys are read 16 positions at a time:
    /// zeroes the unwritten lanes of the last, incomplete block. \pre reserve() was called for them
    void extend(pool_ref pool, std::size_t first, std::size_t count) noexcept {
        const std::size_t last = (first + count) / key_lanes * key_lanes; // the incomplete block
        if (last == first + count || last < first) {
            return; // none, or one that was prepared before
        }
        // A loop, because the first write to each huge page may take the system 0.2 ms.
        parallel_for(pool, shape_.heads, [&](std::size_t head) noexcept {
            std::memset(find(head, last).key, 0, key_lanes * shape_.row_bytes);
        });
    }
    void extend(std::size_t first, std::size_t count) noexcept {
        inline_pool here;
        extend(here, first, count);
    }

    /// Stores one position's key and value rows, [kv_heads * head_size] floats each, rounded to the element.
    /// \pre extend() was called for the position. Different positions may be stored by different threads.
    void store(std::size_t layer, std::size_t position, const float* key, const float* value) noexcept {
        alignas(float) std::byte narrowed[largest_head_size * sizeof(float)];
        const kv_table& element = *shape_.element;
        for (std::size_t head = 0; head < shape_.kv_heads; ++head) {
            const place at = find(layer * shape_.kv_heads + head, position);
            const std::size_t column = head * shape_.head_size;
            const float key_scale = element.narrow_row(key + column, shape_.head_size, narrowed);
            const std::size_t lane = position % key_lanes;
            scatter(narrowed, at.key - lane * shape_.row_bytes + lane * element.element_bytes);
            const float value_scale = element.narrow_row(value + column, shape_.head_size, at.value);
            if (element.is_scaled) {
                *at.key_scale = key_scale;
                *at.value_scale = value_scale;
            }
        }
    }

    /// One head's positions from `first` on, a multiple of attention_block.
    [[nodiscard]] kv_block block(std::size_t layer, std::size_t head, std::size_t first) const noexcept {
        const place at = find(layer * shape_.kv_heads + head, first);
        const bool is_scaled = shape_.element->is_scaled;
        return {at.key, at.value, is_scaled ? at.key_scale : nullptr, is_scaled ? at.value_scale : nullptr};
    }

private:
    /// A page that will take the place of a shared one.
    struct shared_copy {
        kv_page to{};
        std::size_t page = 0;  ///< the one it takes the place of
        std::size_t count = 0; ///< positions of it that are copied
    };

    /// A position's key, or what is in its place of the sixteen, its value, and their scales if elements have any.
    struct place {
        std::byte* key;
        std::byte* value;
        float* key_scale;
        float* value_scale;
    };

    [[nodiscard]] static std::size_t padded(std::size_t context) noexcept {
        return (context + key_lanes - 1) / key_lanes * key_lanes;
    }
    [[nodiscard]] std::size_t positions_in(std::size_t page) const noexcept {
        const std::size_t rest = positions_ - page * attention_block;
        return store_ != nullptr || rest > attention_block ? attention_block : rest;
    }

    /// `head` counts those of all layers.
    [[nodiscard]] place find(std::size_t head, std::size_t position) const noexcept {
        const std::size_t page = position / attention_block;
        return find(pages_[page].data, positions_in(page), head, position % attention_block);
    }
    [[nodiscard]] place find(std::byte* page, std::size_t positions, std::size_t head, std::size_t i) const noexcept {
        const std::size_t key = 2 * head * positions + i;
        const std::size_t value = key + positions;
        auto* const scales = reinterpret_cast<float*>(page + 2 * shape_.heads * positions * shape_.row_bytes);
        return {page + key * shape_.row_bytes, page + value * shape_.row_bytes, scales + key, scales + value};
    }

    /// The first `count` positions of a page, whatever the sizes of both.
    void copy_page(std::byte* from, std::size_t from_positions, std::byte* to, std::size_t to_positions,
                   std::size_t count) const noexcept {
        for (std::size_t head = 0; count != 0 && head < shape_.heads; ++head) {
            copy_head(head, from, from_positions, to, to_positions, count);
        }
    }
    void copy_head(std::size_t head, std::byte* from, std::size_t from_positions, std::byte* to,
                   std::size_t to_positions, std::size_t count) const noexcept {
        const place a = find(from, from_positions, head, 0);
        const place b = find(to, to_positions, head, 0);
        std::memcpy(b.key, a.key, padded(count) * shape_.row_bytes);
        std::memcpy(b.value, a.value, count * shape_.row_bytes);
        if (shape_.element->is_scaled) {
            std::memcpy(b.key_scale, a.key_scale, count * sizeof(float));
            std::memcpy(b.value_scale, a.value_scale, count * sizeof(float));
        }
    }

    /// The first `lanes` positions of a block of keys, with zeros in place of the others.
    template <class Take>
    [[nodiscard]] result<void> save_lanes(const std::byte* block, std::size_t lanes, const Take& take) const {
        const std::size_t column = key_lanes * shape_.element->element_bytes;
        const std::size_t kept = lanes * shape_.element->element_bytes;
        std::byte copy[4096]; // a whole number of columns, which have 16, 32 or 64 bytes
        result<void> taken;
        for (std::size_t done = 0, all = key_lanes * shape_.row_bytes; taken && done < all;) {
            const std::size_t size = all - done < sizeof copy ? all - done : sizeof copy;
            for (std::size_t at = 0; at < size; at += column) {
                std::memcpy(copy + at, block + done + at, kept);
                std::memset(copy + at + kept, 0, column - kept);
            }
            taken = take({copy, size});
            done += size;
        }
        return taken;
    }

    [[nodiscard]] bool is_missing(std::size_t page) const noexcept {
        return page >= held_ || store_->is_shared(pages_[page]);
    }
    /// The page at the front of a chain, which loses it.
    [[nodiscard]] static kv_page unchain(kv_page& chain) noexcept {
        const kv_page front = chain;
        std::memcpy(&chain, front.data, sizeof chain);
        return front;
    }
    void give_back_chain(kv_page chain, std::size_t count) noexcept {
        for (; count != 0; --count) {
            store_->give_back(unchain(chain));
        }
    }

    void drop_pages(std::size_t kept) noexcept {
        while (held_ > kept) {
            store_->give_back(pages_[--held_]);
        }
    }

    /// The elements of a key to one lane of its block, key_lanes elements apart.
    void scatter(const std::byte* key, std::byte* first) const noexcept {
        switch (shape_.element->element_bytes) {
        case 1:
            return scatter_elements<std::uint8_t>(key, first);
        case 2:
            return scatter_elements<std::uint16_t>(key, first);
        default:
            return scatter_elements<std::uint32_t>(key, first);
        }
    }
    template <class Bits> void scatter_elements(const std::byte* key, std::byte* first) const noexcept {
        for (std::size_t d = 0; d < shape_.head_size; ++d) {
            std::memcpy(first + d * key_lanes * sizeof(Bits), key + d * sizeof(Bits), sizeof(Bits));
        }
    }

    kv_shape shape_;
    kv_page_store* store_ = nullptr; ///< null: own_ is the memory of all pages
    buffer<std::byte> own_;
    buffer<kv_page> pages_;
    shared_copy copy_;
    std::size_t held_ = 0;      ///< how many of pages_ there are
    std::size_t positions_ = 0; ///< of the context, in whole sixteens
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
