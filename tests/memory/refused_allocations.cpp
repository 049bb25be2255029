// SPDX-License-Identifier: MIT
// A file of its own: where gcc inlines operator delete alone, it takes free() for a mismatch.
#include "memory/refused_allocations.hpp"

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace {

constexpr std::size_t everything = SIZE_MAX;

std::atomic<std::size_t> left{everything}; ///< requests that are granted before one is refused
std::atomic<bool> refuses_all{false};
std::atomic<bool> refused{false};
std::atomic<std::size_t> live{0};
std::atomic<std::size_t> large_from{everything}; ///< bytes
std::atomic<std::size_t> large{0};

bool is_refused() noexcept {
    if (left == everything) {
        return false;
    }
    if (left != 0) {
        --left;
        return false;
    }
    refused = true;
    left = refuses_all ? 0 : everything;
    return true;
}

void* allocate(std::size_t size, std::size_t alignment) noexcept {
    if (is_refused()) {
        return nullptr;
    }
    large += size >= large_from ? 1 : 0;
    void* memory = std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    live += memory != nullptr ? 1 : 0;
    return memory;
}

void* allocate_or_throw(std::size_t size, std::size_t alignment) {
    void* memory = allocate(size, alignment);
    if (memory == nullptr) {
        throw std::bad_alloc();
    }
    return memory;
}

void give_back(void* memory) noexcept {
    live -= memory != nullptr ? 1 : 0;
    std::free(memory);
}

constexpr std::size_t default_alignment = alignof(std::max_align_t);

} // namespace

void* operator new(std::size_t size) { return allocate_or_throw(size, default_alignment); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return allocate(size, default_alignment); }
void* operator new(std::size_t size, std::align_val_t a) {
    return allocate_or_throw(size, static_cast<std::size_t>(a));
}
void* operator new(std::size_t size, std::align_val_t a, const std::nothrow_t&) noexcept {
    return allocate(size, static_cast<std::size_t>(a));
}
void operator delete(void* memory) noexcept { give_back(memory); }
void operator delete(void* memory, std::size_t) noexcept { give_back(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { give_back(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { give_back(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { give_back(memory); }
void operator delete(void* memory, std::align_val_t, const std::nothrow_t&) noexcept { give_back(memory); }

void bitnet_tests::refuse_after(std::size_t granted, refusal kind) noexcept {
    refused = false;
    refuses_all = kind == refusal::all;
    left = granted;
}
bool bitnet_tests::stop_refusing() noexcept {
    left = everything;
    return refused;
}
void bitnet_tests::count_large(std::size_t least) noexcept {
    large = 0;
    large_from = least;
}
std::size_t bitnet_tests::stop_counting_large() noexcept {
    large_from = everything;
    return large;
}
std::size_t bitnet_tests::live_allocations() noexcept { return live; }
