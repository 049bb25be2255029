// SPDX-License-Identifier: MIT
// What the opaque handles of bitnet.h hold, and what its functions have in common.
#pragma once

#include <bitnet/any.hpp>
#include <bitnet/bitnet.h>
#include <bitnet/core/guarded.hpp>
#include <bitnet/io/byte_source.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <limits>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace bitnet_c {

#if BITNET_THREADS
using mutex = std::mutex;
using mutex_lock = std::lock_guard<std::mutex>;
#else // where the standard library has no mutex, either
struct mutex {};
struct mutex_lock {
    explicit mutex_lock(mutex&) noexcept {}
};
#endif

struct lazy_trie; // of a model's tokenizer, made for the first grammar; see grammar.hpp

/// A model and what it borrows. Shared by all that was opened with it.
struct model_state {
    void* (*allocate)(void*, std::uint64_t, std::uint64_t) = nullptr;
    void (*release)(void*, void*, std::uint64_t, std::uint64_t) = nullptr;
    void* memory = nullptr;
    bitnet::memory_source source; ///< the library's face of these three
    std::optional<bitnet::any_model> model;
    std::string isa;
    std::string layout;
    mutex making_trie;
    std::shared_ptr<const lazy_trie> trie;
};

[[nodiscard]] std::int32_t code_of(bitnet::errc code) noexcept;

/// Writes as much of `text` as fits, and a 0.
void put_message(std::string_view text, char* message, std::uint32_t capacity) noexcept;

/// The code of an error whose sentence goes to `message`, of an open that failed.
[[nodiscard]] inline std::int32_t fail(const bitnet::error& why, char* message, std::uint32_t capacity) noexcept {
    put_message(why.message, message, capacity);
    return code_of(why.code);
}
[[nodiscard]] inline std::int32_t fail(std::string_view what, char* message, std::uint32_t capacity) noexcept {
    put_message(what, message, capacity);
    return BITNET_E_ARGUMENT;
}

/// A text with its size, or up to its 0; nullopt for a null pointer with a size.
[[nodiscard]] inline std::optional<std::string_view> view(const char* text, std::int64_t bytes) noexcept {
    if (bytes > 0 && static_cast<std::uint64_t>(bytes) > PTRDIFF_MAX) {
        return std::nullopt;
    }
    if (text == nullptr) {
        return bytes <= 0 ? std::optional<std::string_view>(std::string_view()) : std::nullopt;
    }
    return bytes < 0 ? std::string_view(text) : std::string_view(text, static_cast<std::size_t>(bytes));
}
[[nodiscard]] inline std::string_view view(const char* text) noexcept {
    return text != nullptr ? std::string_view(text) : std::string_view();
}

/// Sets a pointer and a size that are the caller's, where they are wanted.
inline void give(std::string_view text, const char** out, std::uint64_t* bytes) noexcept {
    if (out != nullptr) {
        *out = text.data() != nullptr ? text.data() : "";
    }
    if (bytes != nullptr) {
        *bytes = text.size();
    }
}

/// The caller's options, of which a library older than the header knows the beginning only. \return a sentence where
/// it does not know a field that was set
template <class Options>
[[nodiscard]] std::optional<std::string_view> take(const Options* given, Options& out) noexcept {
    if (given == nullptr) {
        return std::nullopt;
    }
    if (given->struct_size < sizeof(std::uint32_t)) {
        return "options: struct_size is not set; use the _init function";
    }
    const auto* bytes = reinterpret_cast<const unsigned char*>(given);
    for (std::size_t i = sizeof(Options); i < given->struct_size; ++i) {
        if (bytes[i] != 0) {
            return "options: a field is set that this version of the library does not know";
        }
    }
    std::memcpy(&out, given, (std::min)(std::size_t{given->struct_size}, sizeof(Options)));
    out.struct_size = sizeof(Options);
    return std::nullopt;
}
template <class Options> std::int32_t initialise(Options* out) noexcept {
    if (out == nullptr) {
        return BITNET_E_ARGUMENT;
    }
    *out = Options{};
    out->struct_size = sizeof(Options);
    return BITNET_OK;
}

/// Handles whose calls leave a sentence behind.
struct failing {
    std::string message;

    [[nodiscard]] std::int32_t fail(const bitnet::error& why) noexcept {
        static_cast<void>(bitnet::detail::has_memory_for([&] { message = why.message; }));
        return code_of(why.code);
    }
    [[nodiscard]] std::int32_t fail(std::string_view what) noexcept {
        static_cast<void>(bitnet::detail::has_memory_for([&] { message = what; }));
        return BITNET_E_ARGUMENT;
    }
    template <class T> [[nodiscard]] std::int32_t code(const bitnet::result<T>& done) noexcept {
        return done ? BITNET_OK : fail(done.error());
    }
};

/// Takes bytes as far as there is room, and counts all.
struct counted_room {
    std::span<std::byte> room;
    std::uint64_t size = 0;

    [[nodiscard]] bitnet::result<void> write(std::span<const std::byte> bytes) noexcept {
        if (size <= room.size() && bytes.size() <= room.size() - size && !bytes.empty()) {
            std::memcpy(room.data() + size, bytes.data(), bytes.size());
        }
        size += bytes.size();
        return {};
    }
    /// \return the code of a save that ended here
    [[nodiscard]] std::int32_t done(std::uint64_t* needed) const noexcept {
        if (needed != nullptr) {
            *needed = size;
        }
        return size <= room.size() ? BITNET_OK : BITNET_E_TOO_SMALL;
    }
};

[[nodiscard]] inline std::size_t clamped(std::uint64_t number) noexcept {
    return static_cast<std::size_t>((std::min)(number, std::uint64_t{SIZE_MAX}));
}
[[nodiscard]] inline std::uint32_t counted(std::size_t number) noexcept {
    return static_cast<std::uint32_t>((std::min)(number, std::size_t{UINT32_MAX}));
}
[[nodiscard]] inline std::chrono::nanoseconds budget_of(std::uint64_t microseconds) noexcept {
    constexpr auto most = static_cast<std::uint64_t>((std::numeric_limits<std::int64_t>::max)()) / 1000;
    return std::chrono::nanoseconds(static_cast<std::int64_t>((std::min)(microseconds, most) * 1000));
}

[[nodiscard]] bitnet::sampler_options sampling_of(const bitnet_sampling& given,
                                                  const bitnet::any_model& model) noexcept;

/// The host's job system as a loop_runner. Sessions borrow it.
struct host_jobs {
    bitnet_jobs given;

    void run(std::size_t count, bitnet::loop_body body) noexcept {
        given.run(given.context, count, body.function, body.context);
    }
    [[nodiscard]] std::size_t threads() const noexcept { return given.threads; }
};
[[nodiscard]] inline std::optional<std::string_view> check_jobs(const bitnet_jobs* given) noexcept {
    if (given != nullptr && (given->run == nullptr || given->threads == 0 || given->reserved != 0)) {
        return "bitnet_jobs: run is null, threads is 0, or reserved is not";
    }
    return std::nullopt;
}
/// Null without one.
[[nodiscard]] inline std::shared_ptr<host_jobs> jobs_of(const bitnet_jobs* given) {
    return given != nullptr ? std::make_shared<host_jobs>(host_jobs{*given}) : nullptr;
}

/// A handle on the heap; null without memory.
template <class Handle, class... Parts> [[nodiscard]] Handle* made(Parts&&... parts) noexcept {
    return new (std::nothrow) Handle{std::forward<Parts>(parts)...};
}

} // namespace bitnet_c

struct bitnet_model {
    std::shared_ptr<bitnet_c::model_state> state;
};

/// Shared by what was opened with it.
struct bitnet_pages {
    std::shared_ptr<bitnet_c::model_state> model;
    std::shared_ptr<bitnet::kv_pool> pool; ///< goes first
};
