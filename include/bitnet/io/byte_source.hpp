// SPDX-License-Identifier: MIT
// byte_source: the bytes of a model, in a file, in the memory of the host, or read by its callback.
#ifndef BITNET_IO_BYTE_SOURCE_HPP
#define BITNET_IO_BYTE_SOURCE_HPP

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/memory_source.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/file_handle.hpp>
#include <bitnet/io/mapped_file.hpp>
#include <bitnet/io/page_mode.hpp>

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// Reads from wherever the host keeps its data: fills all of `out` with the bytes from `offset` on, or returns false.
struct read_callback {
    bool (*read)(void* context, std::uint64_t offset, std::span<std::byte> out) = nullptr;
    void* context = nullptr;
};

namespace detail {

/// Told during a copy, after each piece of up to 16 MiB, how many bytes of all of the file are there. False gives the
/// copy up.
struct copy_progress {
    bool (*goes_on)(void* context, std::uint64_t done, std::uint64_t all) noexcept = nullptr;
    void* context = nullptr;
};

} // namespace detail

/// Immutable bytes and the name that error messages give them. Owns them, maps them or borrows them; move-only.
/// Moving it does not move the bytes: spans into them stay valid. Reading is thread-safe.
class byte_source {
public:
    byte_source() noexcept = default;

    /// Maps a file: no copy, no read. The file must not be shortened meanwhile (see mapped_file). Where files cannot be
    /// mapped (WebAssembly), reads it.
    /// \return errc::file_not_found, not_a_file, truncated (an empty file), io_error or out_of_memory.
    [[nodiscard]] static result<byte_source> open(std::string_view utf8_path) {
        if constexpr (!detail::mapped_file::supported) {
            return read(utf8_path);
        }
        return detail::guarded([&]() -> result<byte_source> {
            auto mapping = detail::mapped_file::open(utf8_path);
            if (!mapping) {
                return failed(mapping);
            }
            byte_source source;
            source.mapping_ = *std::move(mapping);
            source.name_ = utf8_path;
            return source;
        });
    }

    /// Reads a file into memory of its own (64-byte aligned, in huge pages where the system has them): safe against
    /// files that change later. \return as open(); errc::truncated also when the file shrinks while it is read.
    /// \param memory null: operator new
    [[nodiscard]] static result<byte_source> read(std::string_view utf8_path, const memory_source* memory = nullptr) {
        return read(utf8_path, detail::copy_progress(), memory);
    }
    /// For the library: the same, and errc::cancelled if `progress` gives it up.
    [[nodiscard]] static result<byte_source> read(std::string_view utf8_path, detail::copy_progress progress,
                                                  const memory_source* memory = nullptr) {
        return detail::guarded([&]() -> result<byte_source> {
            auto file = detail::file_handle::open(utf8_path);
            if (!file) {
                return failed(file);
            }
            auto source = allocate(file->size(), std::string(utf8_path), memory);
            if (!source) {
                return source;
            }
            if (auto filled = fill(*file, source->copy_.span(), progress); !filled) {
                return failed(filled);
            }
            return source;
        });
    }

    /// For the library: read() for page_mode::copied, otherwise open().
    [[nodiscard]] static result<byte_source> open(std::string_view utf8_path, page_mode pages,
                                                  const memory_source* memory, detail::copy_progress progress = {}) {
        return pages == page_mode::copied || !detail::mapped_file::supported ? read(utf8_path, progress, memory)
                                                                             : open(utf8_path);
    }

    /// The caller's own memory, which must outlive the source. Nothing is copied.
    [[nodiscard]] static byte_source borrow(std::span<const std::byte> bytes, std::string name) {
        byte_source source;
        source.borrowed_ = bytes;
        source.name_ = std::move(name);
        return source;
    }

    /// Copies `size` bytes into memory of its own through `callback`, in ascending chunks of at most 16 MiB.
    /// \param memory null: operator new \pre callback.read != nullptr
    /// \return errc::truncated when `size` is 0, io_error when the callback returns false, out_of_memory.
    [[nodiscard]] static result<byte_source> from_callback(read_callback callback, std::uint64_t size, std::string name,
                                                           const memory_source* memory = nullptr) {
        assert(callback.read != nullptr);
        if (size == 0) {
            return detail::error_saying(errc::truncated, {name, ": there is nothing to read (0 bytes)"});
        }
        auto source = allocate(size, std::move(name), memory);
        if (!source) {
            return source;
        }
        const auto all = source->copy_.span();
        for (std::size_t offset = 0; offset < all.size(); offset += largest_piece) {
            const std::size_t left = all.size() - offset;
            const auto out = all.subspan(offset, left < largest_piece ? left : largest_piece);
            if (!callback.read(callback.context, offset, out)) {
                return detail::error_saying(errc::io_error, {source->name_, ": the read callback could not give ",
                                                             out.size(), " bytes at offset ", offset, " of ", size});
            }
        }
        return source;
    }

    [[nodiscard]] std::span<const std::byte> bytes() const noexcept {
        if (mapping_.is_open()) {
            return mapping_.bytes();
        }
        return copy_.empty() ? borrowed_ : copy_.span();
    }
    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] bool is_mapped() const noexcept { return mapping_.is_open(); }
    /// Whether the bytes are in memory of its own.
    [[nodiscard]] bool is_copy() const noexcept { return !copy_.empty(); }

    /// Passes a hint on to the mapping. \return false if nothing is mapped or the system ignores it.
    bool advise(access_hint hint) const noexcept { return mapping_.advise(hint); }
    /// The same for mapped_file::map_cached.
    bool map_cached() const noexcept { return mapping_.map_cached(); }
    /// The same for mapped_file::give_back. \pre `part` lies within bytes()
    bool give_back(std::span<const std::byte> part) const noexcept { return mapping_.give_back(part); }

private:
    static constexpr std::size_t largest_piece = std::size_t{16} << 20;

    [[nodiscard]] static result<void> fill(detail::file_handle& file, std::span<std::byte> all,
                                           detail::copy_progress progress) {
        if (progress.goes_on == nullptr) {
            return file.read(all);
        }
        for (std::size_t done = 0; done < all.size();) {
            const std::size_t left = all.size() - done;
            const std::size_t size = left < largest_piece ? left : largest_piece;
            if (auto filled = file.read(all.subspan(done, size)); !filled) {
                return filled;
            }
            done += size;
            if (!progress.goes_on(progress.context, done, all.size())) {
                return detail::error_saying(errc::cancelled, {file.path(), ": the copy was given up after ", done,
                                                              " of ", all.size(), " bytes"});
            }
        }
        return {};
    }

    /// Bytes of any value: who asks for them writes all of them.
    [[nodiscard]] static result<byte_source> allocate(std::uint64_t size, std::string name,
                                                      const memory_source* memory) {
        auto bytes = buffer<std::byte>::allocate_uninitialized(size, name, {memory, {memory_use::weights, true}});
        if (!bytes) {
            return failed(bytes);
        }
        byte_source source;
        source.copy_ = *std::move(bytes);
        source.name_ = std::move(name);
        return source;
    }

    detail::mapped_file mapping_;
    buffer<std::byte> copy_;
    std::span<const std::byte> borrowed_;
    std::string name_;
};

} // namespace bitnet::inline BITNET_ABI

#endif
