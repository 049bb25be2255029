// SPDX-License-Identifier: MIT
// A file of its own: where gcc inlines operator delete alone, it takes free() for a mismatch.
#include "run/counted_allocations.hpp"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {

std::atomic<std::size_t> count{0};
std::atomic<std::size_t> bytes{0};

void* counted(std::size_t size, std::size_t alignment) noexcept {
    ++count;
    bytes += size;
    return std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

void* counted_or_end(std::size_t size, std::size_t alignment) {
    void* memory = counted(size, alignment);
    if (memory == nullptr) {
        std::abort();
    }
    return memory;
}

} // namespace

void* operator new(std::size_t size) { return counted_or_end(size, alignof(std::max_align_t)); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
    return counted(size, alignof(std::max_align_t));
}
void* operator new(std::size_t size, std::align_val_t a) { return counted_or_end(size, static_cast<std::size_t>(a)); }
void* operator new(std::size_t size, std::align_val_t a, const std::nothrow_t&) noexcept {
    return counted(size, static_cast<std::size_t>(a));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

std::size_t bitnet_tests::allocations() noexcept { return count.load(); }
std::size_t bitnet_tests::allocated_bytes() noexcept { return bytes.load(); }
