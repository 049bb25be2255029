// SPDX-License-Identifier: MIT
// byte_sink: where bytes are written to: a vector, a fixed piece of memory, a callback, a file.
#ifndef BITNET_IO_BYTE_SINK_HPP
#define BITNET_IO_BYTE_SINK_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>

#include <concepts>
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

namespace bitnet::inline BITNET_ABI {

/// Writes to wherever the host keeps its data: takes all of `bytes`, which follow those of the calls before, or returns
/// false.
struct write_callback {
    bool (*write)(void* context, std::span<const std::byte> bytes) = nullptr;
    void* context = nullptr;
};

/// Memory of the caller's that is filled from its beginning. Allocates nothing.
struct byte_room {
    std::span<std::byte> room;
    std::size_t size = 0; ///< bytes that are filled

    /// \return errc::invalid_argument with both numbers if `bytes` do not fit; none of them are taken then.
    [[nodiscard]] result<void> write(std::span<const std::byte> bytes) noexcept {
        if (bytes.size() > room.size() - size) {
            return detail::error_saying(errc::invalid_argument,
                                        {"writing to memory: ", bytes.size(), " bytes do not fit, of ", room.size(),
                                         " bytes ", size, " are filled"});
        }
        if (!bytes.empty()) {
            std::memcpy(room.data() + size, bytes.data(), bytes.size());
            size += bytes.size();
        }
        return {};
    }
};

/// What a byte_sink can refer to: byte_room, file_writer, and classes of the program's own.
template <class T>
concept byte_taker = requires(T& taker, std::span<const std::byte> bytes) {
    { taker.write(bytes) } -> std::same_as<result<void>>;
};

/// A reference to what takes bytes, one piece after another; it must outlive the sink. Copied like a pointer.
class byte_sink {
public:
    /// Appends to `out`; who reserves beforehand has no allocation. \return errc::out_of_memory from write().
    byte_sink(std::vector<std::byte>& out) noexcept : context_(std::addressof(out)), take_(&append) {}
    /// \pre callback.write != nullptr
    byte_sink(write_callback callback) noexcept
        : context_(callback.context), callback_(callback.write), take_(&call_back) {}
    template <byte_taker Taker>
    byte_sink(Taker& taker) noexcept : context_(std::addressof(taker)), take_(&take<Taker>) {}

    /// \return what the taker returns: see the constructors; errc::io_error for a callback that returns false.
    [[nodiscard]] result<void> write(std::span<const std::byte> bytes) const { return take_(*this, bytes); }

private:
    [[nodiscard]] static result<void> append(const byte_sink& sink, std::span<const std::byte> bytes) {
        return detail::guarded([&]() -> result<void> {
            auto& out = *static_cast<std::vector<std::byte>*>(sink.context_);
            out.insert(out.end(), bytes.begin(), bytes.end());
            return {};
        });
    }
    [[nodiscard]] static result<void> call_back(const byte_sink& sink, std::span<const std::byte> bytes) {
        if (!sink.callback_(sink.context_, bytes)) {
            return detail::error_saying(errc::io_error, {"the write callback could not take ", bytes.size(), " bytes"});
        }
        return {};
    }
    template <class Taker>
    [[nodiscard]] static result<void> take(const byte_sink& sink, std::span<const std::byte> bytes) {
        return static_cast<Taker*>(sink.context_)->write(bytes);
    }

    void* context_;
    bool (*callback_)(void* context, std::span<const std::byte> bytes) = nullptr;
    result<void> (*take_)(const byte_sink& sink, std::span<const std::byte> bytes);
};

} // namespace bitnet::inline BITNET_ABI

#endif
