// SPDX-License-Identifier: MIT
// kv_page_store: memory for the KV caches of several sessions, in pages that can be shared.
#ifndef BITNET_MODEL_KV_PAGE_HPP
#define BITNET_MODEL_KV_PAGE_HPP

#include <bitnet/checkpoint/hyper_parameters.hpp>
#include <bitnet/core/buffer.hpp>
#include <bitnet/core/checked.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/memory_source.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/model/kv_pool.hpp>
#include <bitnet/simd/lane_ops.hpp>
#include <bitnet/simd/loop_table.hpp>

#include <atomic>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>

namespace bitnet::inline BITNET_ABI::detail {

/// What decides the size and order of a page.
struct kv_shape {
    const kv_table* element = nullptr;
    std::size_t heads = 0; ///< layers * kv_heads
    std::size_t kv_heads = 0;
    std::size_t head_size = 0;
    std::size_t row_bytes = 0; ///< of head_size elements

    [[nodiscard]] static kv_shape of(const hyper_parameters& model, const kv_table& element) noexcept {
        return {&element, model.layers * model.kv_heads, model.kv_heads, model.head_size,
                model.head_size * element.element_bytes};
    }

    /// Bytes of the keys and values of so many positions, a multiple of 16, and of their scales.
    [[nodiscard]] std::uint64_t bytes(std::size_t positions) const noexcept {
        return std::uint64_t{2} * heads * positions * (row_bytes + (element->is_scaled ? sizeof(float) : 0));
    }

    friend bool operator==(const kv_shape&, const kv_shape&) = default;
};

/// The memory of attention_block positions, and which page of its store it is.
struct kv_page {
    std::byte* data;
    std::size_t index;
};

/// A fixed number of pages, allocated once. Threads may take and give back pages of one store at the same time.
class kv_page_store final : public kv_pool_base {
public:
    /// \return errc::out_of_memory with the bytes asked for.
    [[nodiscard]] static result<std::unique_ptr<kv_page_store>> open(const kv_shape& shape, std::size_t pages,
                                                                     const memory_source* memory = nullptr) {
        const auto bytes = checked_multiply(shape.bytes(attention_block), pages);
        auto all = buffer<std::byte>::allocate_uninitialized(bytes.value_or(UINT64_MAX), "KV pool",
                                                             {memory, {memory_use::pages, true}});
        if (!all) {
            return failed(all);
        }
        const auto table = checked_multiply(pages, sizeof(owner_count));
        auto owners = buffer<std::byte>::allocate_uninitialized(table.value_or(UINT64_MAX), "KV pool, a table of pages",
                                                                {memory, {memory_use::pages, false}});
        if (!owners) {
            return failed(owners);
        }
        std::unique_ptr<kv_page_store> made(new (std::nothrow) kv_page_store);
        if (made == nullptr) {
            return error{errc::out_of_memory,
                         sentence({"KV pool: ", sizeof(kv_page_store), " bytes could not be allocated"})};
        }
        made->shape_ = shape;
        made->memory_ = *std::move(all);
        made->table_ = *std::move(owners);
        for (std::size_t i = 0; i < pages; ++i) {
            ::new (static_cast<void*>(made->table_.data() + i * sizeof(owner_count))) owner_count(0);
        }
        made->owners_ = std::launder(reinterpret_cast<owner_count*>(made->table_.data()));
        made->pages_ = pages;
        return made;
    }

    [[nodiscard]] const kv_shape& shape() const noexcept { return shape_; }
    [[nodiscard]] std::uint64_t page_bytes() const noexcept override { return shape_.bytes(attention_block); }
    [[nodiscard]] std::size_t pages() const noexcept override { return pages_; }
    [[nodiscard]] std::size_t free_pages() const noexcept override {
        return pages_ - taken_.load(std::memory_order_relaxed);
    }

    /// A page with one owner; nullopt if all are taken.
    [[nodiscard]] std::optional<kv_page> take() noexcept {
        const std::size_t start = next_.load(std::memory_order_relaxed);
        for (std::size_t i = 0; i < pages_; ++i) {
            const std::size_t page = (start + i) % pages_;
            std::uint32_t none = 0;
            if (owners_[page].compare_exchange_strong(none, 1, std::memory_order_acquire, std::memory_order_relaxed)) {
                taken_.fetch_add(1, std::memory_order_relaxed);
                next_.store(page, std::memory_order_relaxed);
                return kv_page{memory_.data() + page * to_size(page_bytes()), page};
            }
        }
        return std::nullopt;
    }

    /// One owner more. \pre the caller is one
    void share(const kv_page& page) noexcept { owners_[page.index].fetch_add(1, std::memory_order_relaxed); }
    [[nodiscard]] bool is_shared(const kv_page& page) const noexcept {
        return owners_[page.index].load(std::memory_order_acquire) > 1;
    }
    /// One owner less; the page is free without any.
    void give_back(const kv_page& page) noexcept {
        if (owners_[page.index].fetch_sub(1, std::memory_order_acq_rel) == 1) {
            taken_.fetch_sub(1, std::memory_order_relaxed);
            next_.store(page.index, std::memory_order_relaxed);
        }
    }

    /// errc::kv_pool_full: so many more pages were asked for.
    [[nodiscard]] error is_full(std::size_t more) const {
        return {errc::kv_pool_full,
                sentence({"KV pool: ", more, " more pages of ", attention_block, " positions are needed, and ",
                          free_pages(), " of ", pages_, " are free"})};
    }

private:
    using owner_count = std::atomic<std::uint32_t>;

    kv_page_store() noexcept = default;

    kv_shape shape_;
    buffer<std::byte> memory_;
    buffer<std::byte> table_;
    owner_count* owners_ = nullptr; ///< [pages], in table_: how many caches have it
    std::size_t pages_ = 0;
    std::atomic<std::size_t> taken_{0};
    std::atomic<std::size_t> next_{0}; ///< where a search for a free page starts
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
