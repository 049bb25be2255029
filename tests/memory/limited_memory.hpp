// SPDX-License-Identifier: MIT
// A host's own allocator for tests: it counts, checks what it takes back, and ends at a place of the test's choice.
#pragma once

#include <bitnet/core/memory_source.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <vector>

namespace bitnet_tests {

/// Memory of malloc(): none of it is operator new's. Outlives all that it is given to.
class limited_memory {
public:
    /// Blocks that are granted before one is refused.
    static constexpr std::size_t everything = SIZE_MAX;

    limited_memory() { live_.reserve(4096); }
    limited_memory(const limited_memory&) = delete;
    limited_memory& operator=(const limited_memory&) = delete;
    ~limited_memory() = default;

    [[nodiscard]] const bitnet::memory_source* source() const noexcept { return &source_; }

    /// From now on so many requests are granted, and then one is refused, or all.
    void refuse_after(std::size_t granted, bool all) noexcept {
        granted_ = granted;
        refuses_all_ = all;
        was_refused_ = false;
    }
    /// Grants everything again. \return whether any request was refused.
    bool stop_refusing() noexcept {
        granted_ = everything;
        return was_refused_;
    }

    [[nodiscard]] std::size_t live_blocks() const noexcept { return live_.size(); }
    [[nodiscard]] std::size_t requests() const noexcept { return requests_; }
    /// Bytes of all blocks so far for that use, or of those for which huge pages are worth it.
    [[nodiscard]] std::uint64_t bytes(bitnet::memory_use use) const noexcept {
        return bytes_[static_cast<std::size_t>(use)];
    }
    [[nodiscard]] std::uint64_t huge_page_bytes() const noexcept { return huge_; }
    [[nodiscard]] std::uint64_t live_bytes() const noexcept {
        std::uint64_t all = 0;
        for (const block& each : live_) {
            all += each.bytes;
        }
        return all;
    }
    /// Whether all requests were sound, and all that was released had been given, with the same two numbers.
    [[nodiscard]] bool is_sound() const noexcept { return sound_; }

private:
    struct block {
        void* memory;
        void* whole;
        std::size_t bytes;
        std::size_t alignment;
    };

    void* allocate(std::size_t bytes, std::size_t alignment, bitnet::memory_hint hint) noexcept {
        const std::lock_guard lock(mutex_);
        ++requests_;
        sound_ = sound_ && bytes != 0 && alignment != 0 && (alignment & (alignment - 1)) == 0;
        if (granted_ != everything && granted_ == 0) {
            was_refused_ = true;
            granted_ = refuses_all_ ? 0 : everything;
            return nullptr;
        }
        granted_ -= granted_ != everything ? 1 : 0;
        void* const whole = std::malloc(bytes + alignment);
        if (whole == nullptr) {
            return nullptr;
        }
        const auto address = reinterpret_cast<std::uintptr_t>(whole);
        void* const memory = static_cast<char*>(whole) + (alignment - address % alignment);
        live_.push_back({memory, whole, bytes, alignment});
        bytes_[static_cast<std::size_t>(hint.use)] += bytes;
        huge_ += hint.huge_pages ? bytes : 0;
        return memory;
    }

    void release(const void* memory, std::size_t bytes, std::size_t alignment) noexcept {
        const std::lock_guard lock(mutex_);
        for (block& each : live_) {
            if (each.memory == memory) {
                sound_ = sound_ && each.bytes == bytes && each.alignment == alignment;
                std::free(each.whole);
                each = live_.back();
                live_.pop_back();
                return;
            }
        }
        sound_ = false;
    }

    bitnet::memory_source source_{
        [](void* self, std::size_t bytes, std::size_t alignment, bitnet::memory_hint hint) noexcept {
            return static_cast<limited_memory*>(self)->allocate(bytes, alignment, hint);
        },
        [](void* self, void* memory, std::size_t bytes, std::size_t alignment) noexcept {
            static_cast<limited_memory*>(self)->release(memory, bytes, alignment);
        },
        this};
    std::mutex mutex_;
    std::vector<block> live_;
    std::size_t granted_ = everything;
    bool refuses_all_ = false;
    bool was_refused_ = false;
    bool sound_ = true;
    std::size_t requests_ = 0;
    std::uint64_t bytes_[5] = {};
    std::uint64_t huge_ = 0;
};

} // namespace bitnet_tests
