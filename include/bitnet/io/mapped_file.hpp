// SPDX-License-Identifier: MIT
// mapped_file: a file's bytes in the address space, read-only, without copying them.
#ifndef BITNET_IO_MAPPED_FILE_HPP
#define BITNET_IO_MAPPED_FILE_HPP

#include <bitnet/core/checked.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/file_handle.hpp>
#include <bitnet/io/win32.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#if !defined(_WIN32)
#include <cerrno>
#endif
#if !defined(_WIN32) && !defined(__wasm__)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace bitnet::inline BITNET_ABI {

/// How the bytes will be read: a hint, not a promise.
enum class access_hint {
    normal,
    sequential, ///< from start to end: read ahead far
    random,     ///< do not read ahead
    will_need,  ///< start reading all of it now
    huge_pages, ///< back the range with huge pages if the system can
};

namespace detail {

/// A read-only mapping of a whole file, page-aligned. Move-only; unmaps itself. Reading it is thread-safe.
///
/// The file must keep its length while it is mapped: a file that another program shortens raises SIGBUS (POSIX) or an
/// in-page error (Windows) in the code that reads the lost pages, and no library can turn that into an error value.
/// Where files can change, use byte_source::read, which copies. (Windows refuses to shorten a mapped file.)
class mapped_file {
public:
    /// Whether this system can map files. Where it cannot, open() returns errc::io_error.
#if defined(__wasm__)
    static constexpr bool supported = false;
#else
    static constexpr bool supported = true;
#endif

    mapped_file() noexcept = default;
    mapped_file(mapped_file&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, std::size_t{0})) {}
    mapped_file& operator=(mapped_file&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        return *this;
    }
    mapped_file(const mapped_file&) = delete;
    mapped_file& operator=(const mapped_file&) = delete;
    ~mapped_file() { unmap(); }

    /// Maps the file at `utf8_path`. Reads nothing yet: pages come when they are touched.
    /// \return errc::file_not_found, not_a_file, truncated (an empty file), io_error or out_of_memory (larger than the
    /// address space), each with the path.
    [[nodiscard]] static result<mapped_file> open(std::string_view utf8_path) {
        auto file = file_handle::open(utf8_path);
        if (!file) {
            return failed(file);
        }
        if (file->size() > static_cast<std::uint64_t>(PTRDIFF_MAX)) {
            return error{errc::out_of_memory,
                         sentence({file->path(), ": ", file->size(), " bytes exceed the address space"})};
        }
        mapped_file mapping;
        mapping.size_ = to_size(file->size());
        if (const int code = mapping.map(file->native())) {
            mapping.size_ = 0;
            return file->failed("cannot be mapped", code);
        }
        return mapping;
    }

    [[nodiscard]] bool is_open() const noexcept { return data_ != nullptr; }
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept {
        return {static_cast<const std::byte*>(data_), size_};
    }

    /// Tells the system how the bytes will be read. \return whether the system took the hint.
    bool advise(access_hint hint) const noexcept;

    /// Enters the pages that the system has in its cache into the address space now, many at once: each that is first
    /// touched while it is read costs more time than the reading. Ends where the file itself would have to be read, or
    /// soon after. \return whether the system can do that.
    bool map_cached() const noexcept;

    /// Tells the system that a part of bytes() will not be read soon, so that its pages need not count as this
    /// process's memory. They stay readable: touched again, they come back from the system's cache or the file.
    /// \return whether the system took the hint.
    bool give_back(std::span<const std::byte> part) const noexcept;

private:
#if defined(_WIN32)
    int map(void* file) noexcept {
        void* section = CreateFileMappingW(file, nullptr, 0x02u, 0, 0, nullptr); // PAGE_READONLY
        if (section == nullptr) {
            return static_cast<int>(GetLastError());
        }
        data_ = MapViewOfFile(section, 0x04u, 0, 0, 0); // FILE_MAP_READ
        const int code = data_ != nullptr ? 0 : static_cast<int>(GetLastError());
        CloseHandle(section); // the view keeps the section alive
        return code;
    }
    void unmap() noexcept {
        if (data_ != nullptr) {
            UnmapViewOfFile(data_);
        }
    }
#elif defined(__wasm__)
    int map(int) noexcept { return ENOTSUP; }
    void unmap() noexcept {}
#else
    int map(int file) noexcept {
        void* mapped = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, file, 0);
        if (mapped == MAP_FAILED) {
            return errno;
        }
        data_ = mapped; // the mapping outlives the descriptor
        return 0;
    }
    void unmap() noexcept {
        if (data_ != nullptr) {
            ::munmap(data_, size_);
        }
    }
#endif

    void* data_ = nullptr;
    std::size_t size_ = 0;
};

inline bool mapped_file::advise([[maybe_unused]] access_hint hint) const noexcept {
#if defined(_WIN32) || defined(__wasm__)
    return false;
#else
    if (data_ == nullptr) {
        return false;
    }
    switch (hint) {
    case access_hint::normal:
        return ::madvise(data_, size_, MADV_NORMAL) == 0;
    case access_hint::sequential:
        return ::madvise(data_, size_, MADV_SEQUENTIAL) == 0;
    case access_hint::random:
        return ::madvise(data_, size_, MADV_RANDOM) == 0;
    case access_hint::will_need:
        return ::madvise(data_, size_, MADV_WILLNEED) == 0;
    case access_hint::huge_pages:
#if defined(MADV_HUGEPAGE)
        return ::madvise(data_, size_, MADV_HUGEPAGE) == 0;
#else
        return false;
#endif
    }
    return false;
#endif
}

inline bool mapped_file::map_cached() const noexcept {
#if defined(MADV_POPULATE_READ)
    constexpr std::size_t piece = std::size_t{4} << 20;
    constexpr std::chrono::milliseconds longest(8); // the cache takes 0.3 ms, a disk of 500 MB/s as long as this
    for (std::size_t begin = 0; begin < size_; begin += piece) {
        const auto start = std::chrono::steady_clock::now();
        const std::size_t size = size_ - begin < piece ? size_ - begin : piece;
        if (::madvise(static_cast<std::byte*>(data_) + begin, size, MADV_POPULATE_READ) != 0) {
            return false;
        }
        if (std::chrono::steady_clock::now() - start > longest) {
            break;
        }
    }
    return data_ != nullptr;
#else
    return false;
#endif
}

inline bool mapped_file::give_back([[maybe_unused]] std::span<const std::byte> part) const noexcept {
#if defined(_WIN32) || defined(__wasm__)
    return false;
#else
    const long page_bytes = ::sysconf(_SC_PAGESIZE);
    if (data_ == nullptr || page_bytes <= 0) {
        return false;
    }
    // Whole pages only: what lies beside the part may be in use.
    const auto page = static_cast<std::size_t>(page_bytes);
    const auto* start = static_cast<const std::byte*>(data_);
    const auto begin = static_cast<std::size_t>(part.data() - start);
    const std::size_t first = (begin + page - 1) / page * page;
    const std::size_t end = (begin + part.size()) / page * page;
    return first >= end || ::madvise(static_cast<std::byte*>(data_) + first, end - first, MADV_DONTNEED) == 0;
#endif
}

} // namespace detail

} // namespace bitnet::inline BITNET_ABI

#endif
