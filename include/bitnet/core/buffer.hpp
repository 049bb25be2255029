// SPDX-License-Identifier: MIT
// buffer<T>: aligned storage whose size a file or a caller controls; says out_of_memory instead of throwing.
#ifndef BITNET_CORE_BUFFER_HPP
#define BITNET_CORE_BUFFER_HPP

#include <bitnet/core/checked.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/huge_pages.hpp>
#include <bitnet/core/memory_source.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>

#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

namespace bitnet::inline BITNET_ABI {

namespace detail {

/// Memory for `size` elements of `element_bytes`, to be given to release_bytes() with the same source and alignment.
/// \return errc::out_of_memory with the bytes asked for.
[[nodiscard]] inline result<void*> allocate_bytes(std::uint64_t size, std::size_t element_bytes, std::size_t alignment,
                                                  std::string_view what, const memory_from& from) {
    const auto bytes = checked_multiply(size, element_bytes);
    if (!bytes || *bytes > static_cast<std::uint64_t>(PTRDIFF_MAX)) {
        return error_saying(errc::out_of_memory,
                            {what, ": ", size, " elements of ", element_bytes, " bytes exceed the address space"});
    }
    const bool is_of_host = from.source != nullptr && *bytes != 0;
    void* memory = is_of_host ? from.source->allocate(from.source->context, to_size(*bytes), alignment, from.hint)
                              : ::operator new (to_size(*bytes), std::align_val_t{alignment}, std::nothrow);
    if (memory == nullptr) {
        return error_saying(errc::out_of_memory, {what, ": ", *bytes, " bytes could not be allocated"});
    }
    if (from.hint.huge_pages && !is_of_host) {
        ask_for_huge_pages(memory, to_size(*bytes));
    }
    return memory;
}

inline void release_bytes(void* memory, std::size_t bytes, std::size_t alignment,
                          const memory_source* source) noexcept {
    if (source == nullptr || bytes == 0) {
        ::operator delete (memory, std::align_val_t{alignment});
    } else if (memory != nullptr) {
        source->release(source->context, memory, bytes, alignment);
    }
}

} // namespace detail

/// A fixed number of trivial elements, 64-byte aligned (a cache line, an AVX-512 register). Move-only.
template <class T>
requires std::is_trivially_copyable_v<T>
class buffer {
public:
    static constexpr std::size_t alignment = 64;
    static_assert(alignof(T) <= alignment);

    buffer() noexcept = default;
    buffer(buffer&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, std::size_t{0})),
          source_(other.source_) {}
    buffer& operator=(buffer&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        std::swap(source_, other.source_);
        return *this;
    }
    buffer(const buffer&) = delete;
    buffer& operator=(const buffer&) = delete;
    ~buffer() { detail::release_bytes(data_, size_bytes(), alignment, source_); }

    /// `size` elements, all bytes zero.
    /// \param what names the purpose in the error message.
    /// \param from where the memory comes from; its source outlives the buffer.
    /// \return errc::out_of_memory with the bytes asked for.
    [[nodiscard]] static result<buffer> allocate(std::uint64_t size, std::string_view what,
                                                 const detail::memory_from& from = {}) {
        auto made = allocate_uninitialized(size, what, from);
        if (made) {
            if (from.source == nullptr) {
                detail::ask_for_huge_pages(made->data_, made->size_bytes()); // all of it is written now
            }
            for (std::size_t i = 0; i < made->size_; ++i) {
                ::new (static_cast<void*>(made->data_ + i)) T();
            }
        }
        return made;
    }

    /// The same with bytes of any value: pages that are never written need no memory.
    [[nodiscard]] static result<buffer> allocate_uninitialized(std::uint64_t size, std::string_view what,
                                                               const detail::memory_from& from = {}) {
        auto memory = detail::allocate_bytes(size, sizeof(T), alignment, what, from);
        if (!memory) {
            return failed(memory);
        }
        buffer made;
        made.size_ = detail::to_size(size);
        made.data_ = static_cast<T*>(*memory);
        made.source_ = from.source;
        return made;
    }

    [[nodiscard]] T* data() noexcept { return data_; }
    [[nodiscard]] const T* data() const noexcept { return data_; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] std::size_t size_bytes() const noexcept { return size_ * sizeof(T); }
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
    /// What the memory is from; null: operator new.
    [[nodiscard]] const memory_source* source() const noexcept { return source_; }
    [[nodiscard]] std::span<T> span() noexcept { return {data_, size_}; }
    [[nodiscard]] std::span<const T> span() const noexcept { return {data_, size_}; }
    [[nodiscard]] T& operator[](std::size_t i) noexcept { return data_[i]; }
    [[nodiscard]] const T& operator[](std::size_t i) const noexcept { return data_[i]; }

private:
    T* data_ = nullptr;
    std::size_t size_ = 0;
    const memory_source* source_ = nullptr;
};

namespace detail {

/// For several buffers that belong together: `size` zeroed elements into `into`, unless an allocation before has
/// failed. The first failure stays in `failure`, whose code is errc{} as long as there is none.
template <class T>
void allocate(buffer<T>& into, std::uint64_t size, std::string_view what, error& failure,
              const memory_from& from = {}) {
    if (failure.code != errc{}) {
        return;
    }
    auto made = buffer<T>::allocate(size, what, from);
    if (made) {
        into = *std::move(made);
    } else {
        failure = failed(made);
    }
}

/// The same with bytes of any value.
template <class T>
void allocate_uninitialized(buffer<T>& into, std::uint64_t size, std::string_view what, error& failure,
                            const memory_from& from = {}) {
    if (failure.code != errc{}) {
        return;
    }
    auto made = buffer<T>::allocate_uninitialized(size, what, from);
    if (made) {
        into = *std::move(made);
    } else {
        failure = failed(made);
    }
}

} // namespace detail

} // namespace bitnet::inline BITNET_ABI

#endif
