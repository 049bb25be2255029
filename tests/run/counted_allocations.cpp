// SPDX-License-Identifier: MIT
// A file of its own: where gcc inlines operator delete alone, it takes free() for a mismatch.
#include "run/counted_allocations.hpp"

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>

namespace {

std::atomic<std::size_t> count{0};
std::atomic<std::size_t> bytes{0};

std::atomic<std::size_t> live{0};

/// Bytes in front of a block, where its size is.
std::size_t front_of(std::size_t alignment) noexcept {
    return alignment < alignof(std::max_align_t) ? alignof(std::max_align_t) : alignment;
}

void* counted(std::size_t size, std::size_t alignment) noexcept {
    ++count;
    bytes += size;
    const std::size_t front = front_of(alignment);
    auto* const memory = static_cast<char*>(std::aligned_alloc(front, (size + front - 1) / front * front + front));
    if (memory == nullptr) {
        return nullptr;
    }
    live += size;
    std::memcpy(memory + front - sizeof size, &size, sizeof size);
    return memory + front;
}

void give_back(void* block, std::size_t alignment) noexcept {
    if (block != nullptr) {
        std::size_t size = 0;
        std::memcpy(&size, static_cast<char*>(block) - sizeof size, sizeof size);
        live -= size;
        std::free(static_cast<char*>(block) - front_of(alignment));
    }
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
void operator delete(void* memory) noexcept { give_back(memory, 0); }
void operator delete(void* memory, std::size_t) noexcept { give_back(memory, 0); }
void operator delete(void* memory, std::align_val_t a) noexcept { give_back(memory, static_cast<std::size_t>(a)); }
void operator delete(void* memory, std::size_t, std::align_val_t a) noexcept {
    give_back(memory, static_cast<std::size_t>(a));
}

std::size_t bitnet_tests::allocations() noexcept { return count.load(); }
std::size_t bitnet_tests::allocated_bytes() noexcept { return bytes.load(); }
std::size_t bitnet_tests::live_bytes() noexcept { return live.load(); }
