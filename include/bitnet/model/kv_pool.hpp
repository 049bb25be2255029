// SPDX-License-Identifier: MIT
// kv_pool: memory for the keys and values of several sessions, with a cap that is known beforehand.
#ifndef BITNET_MODEL_KV_POOL_HPP
#define BITNET_MODEL_KV_POOL_HPP

#include <bitnet/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

namespace bitnet::inline BITNET_ABI {

namespace detail {

/// What kv_pool holds; a kv_page_store is what there is.
class kv_pool_base {
public:
    kv_pool_base(const kv_pool_base&) = delete;
    kv_pool_base& operator=(const kv_pool_base&) = delete;
    virtual ~kv_pool_base() = default;

    [[nodiscard]] virtual std::uint64_t page_bytes() const noexcept = 0;
    [[nodiscard]] virtual std::size_t pages() const noexcept = 0;
    [[nodiscard]] virtual std::size_t free_pages() const noexcept = 0;

protected:
    kv_pool_base() noexcept = default;
};

} // namespace detail

/// A fixed number of pages of 256 positions, allocated once by any_model::open_kv_pool(); memory that is never written
/// is never used. Sessions that are opened with session_options::kv take pages as they grow, share those of a common
/// past after fork(), and give them back when they are rewound, reset or closed. One with a window whose context is
/// full goes on with the pages that it has. A pool that is full is errc::kv_pool_full for who needs a page; nothing is
/// lost. Move-only; must outlive its sessions, which may be on different threads.
///
/// A prefix that many share is fed to one session, which is forked for each of them. A prefix of p positions takes
/// ceil(p / 256) pages once. A fork with q positions of its own takes ceil((p + q) / 256) - floor(p / 256): if p is no
/// multiple of 256, it copies the last page of the prefix, because it writes behind it there. So a hundred forks with
/// 100 positions of their own behind 1,000 take 4 + 100 * 2 pages, and behind 1,024 they take 4 + 100.
class kv_pool {
public:
    /// Bytes of the keys and values of 256 positions.
    [[nodiscard]] std::uint64_t page_bytes() const noexcept { return base_->page_bytes(); }
    [[nodiscard]] std::size_t pages() const noexcept { return base_->pages(); }
    [[nodiscard]] std::size_t free_pages() const noexcept { return base_->free_pages(); }

    /// The library's own.
    explicit kv_pool(std::unique_ptr<detail::kv_pool_base> base) noexcept : base_(std::move(base)) {}
    [[nodiscard]] detail::kv_pool_base& base() const noexcept { return *base_; }

private:
    std::unique_ptr<detail::kv_pool_base> base_;
};

} // namespace bitnet::inline BITNET_ABI

#endif
