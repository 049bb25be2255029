// SPDX-License-Identifier: MIT
// buffer<T>: aligned storage whose size a file or a caller controls; says out_of_memory instead of throwing.
#ifndef BITNET_CORE_BUFFER_HPP
#define BITNET_CORE_BUFFER_HPP

#include <bitnet/core/checked.hpp>
#include <bitnet/core/config.hpp>
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

/// Memory for `size` elements of `element_bytes`, to be deleted with the same alignment.
/// \return errc::out_of_memory with the bytes asked for.
[[nodiscard]] inline result<void*> allocate_bytes(std::uint64_t size, std::size_t element_bytes, std::size_t alignment,
                                                  std::string_view what) {
    const auto bytes = checked_multiply(size, element_bytes);
    if (!bytes || *bytes > static_cast<std::uint64_t>(PTRDIFF_MAX)) {
        return error_saying(errc::out_of_memory,
                            {what, ": ", size, " elements of ", element_bytes, " bytes exceed the address space"});
    }
    void* memory = ::operator new (to_size(*bytes), std::align_val_t{alignment}, std::nothrow);
    if (memory == nullptr) {
        return error_saying(errc::out_of_memory, {what, ": ", *bytes, " bytes could not be allocated"});
    }
    return memory;
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
        : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, std::size_t{0})) {}
    buffer& operator=(buffer&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        return *this;
    }
    buffer(const buffer&) = delete;
    buffer& operator=(const buffer&) = delete;
    ~buffer() { ::operator delete (data_, std::align_val_t{alignment}); }

    /// `size` elements, all bytes zero.
    /// \param what names the purpose in the error message.
    /// \return errc::out_of_memory with the bytes asked for.
    [[nodiscard]] static result<buffer> allocate(std::uint64_t size, std::string_view what) {
        auto made = allocate_uninitialized(size, what);
        if (made) {
            for (std::size_t i = 0; i < made->size_; ++i) {
                ::new (static_cast<void*>(made->data_ + i)) T();
            }
        }
        return made;
    }

    /// The same with bytes of any value: pages that are never written need no memory.
    [[nodiscard]] static result<buffer> allocate_uninitialized(std::uint64_t size, std::string_view what) {
        auto memory = detail::allocate_bytes(size, sizeof(T), alignment, what);
        if (!memory) {
            return failed(memory);
        }
        buffer made;
        made.size_ = detail::to_size(size);
        made.data_ = static_cast<T*>(*memory);
        return made;
    }

    [[nodiscard]] T* data() noexcept { return data_; }
    [[nodiscard]] const T* data() const noexcept { return data_; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] std::size_t size_bytes() const noexcept { return size_ * sizeof(T); }
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
    [[nodiscard]] std::span<T> span() noexcept { return {data_, size_}; }
    [[nodiscard]] std::span<const T> span() const noexcept { return {data_, size_}; }
    [[nodiscard]] T& operator[](std::size_t i) noexcept { return data_[i]; }
    [[nodiscard]] const T& operator[](std::size_t i) const noexcept { return data_[i]; }

private:
    T* data_ = nullptr;
    std::size_t size_ = 0;
};

namespace detail {

/// For several buffers that belong together: `size` zeroed elements into `into`, unless an allocation before has
/// failed. The first failure stays in `failure`, whose code is errc{} as long as there is none.
template <class T> void allocate(buffer<T>& into, std::uint64_t size, std::string_view what, error& failure) {
    if (failure.code != errc{}) {
        return;
    }
    auto made = buffer<T>::allocate(size, what);
    if (made) {
        into = *std::move(made);
    } else {
        failure = failed(made);
    }
}

} // namespace detail

} // namespace bitnet::inline BITNET_ABI

#endif
