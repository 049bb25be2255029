// SPDX-License-Identifier: MIT
// file_handle: one open file of POSIX or Windows, named by a UTF-8 path; every failure is a sentence.
#ifndef BITNET_IO_FILE_HANDLE_HPP
#define BITNET_IO_FILE_HANDLE_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/win32.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#if !defined(_WIN32)
#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

namespace bitnet::inline BITNET_ABI::detail {

/// The calls of the operating system, under the same names on every system. Functions return 0 or the system's error
/// number.
struct operating_system {
    enum class access { read, create };
    struct facts {
        bool regular = false;
        std::uint64_t size = 0; ///< bytes
    };

#if defined(_WIN32)
    using native = void*;
    static native closed() noexcept { return reinterpret_cast<void*>(static_cast<std::intptr_t>(-1)); }

    /// UTF-8 to UTF-16; empty if `path` is not UTF-8.
    static std::wstring wide(const std::string& path) {
        constexpr unsigned int utf8 = 65001;         // CP_UTF8
        constexpr unsigned long strict = 0x00000008; // MB_ERR_INVALID_CHARS
        const int bytes = static_cast<int>(path.size());
        const int length = MultiByteToWideChar(utf8, strict, path.data(), bytes, nullptr, 0);
        std::wstring converted(static_cast<std::size_t>(length > 0 ? length : 0), L'\0');
        MultiByteToWideChar(utf8, strict, path.data(), bytes, converted.data(), length);
        return converted;
    }
    static int open(const std::string& path, access wanted, native& file) {
        const bool create = wanted == access::create;
        const unsigned long rights = create ? 0x40000000u : 0x80000000u; // GENERIC_WRITE, GENERIC_READ
        const unsigned long sharing = create ? 0u : 1u;                  // FILE_SHARE_READ
        const unsigned long disposition = create ? 2u : 3u;              // CREATE_ALWAYS, OPEN_EXISTING
        file = CreateFileW(wide(path).c_str(), rights, sharing, nullptr, disposition, 0x80u, nullptr);
        return file != closed() ? 0 : static_cast<int>(GetLastError());
    }
    static bool is_directory(const std::string& path) {
        const unsigned long attributes = GetFileAttributesW(wide(path).c_str());
        return attributes != 0xffffffffu && (attributes & 0x10u) != 0; // FILE_ATTRIBUTE_DIRECTORY
    }
    static int look(native file, facts& found) noexcept {
        std::int64_t size = 0; // LARGE_INTEGER is this number
        if (GetFileSizeEx(file, reinterpret_cast<_LARGE_INTEGER*>(&size)) == 0) {
            return static_cast<int>(GetLastError());
        }
        found = {GetFileType(file) == 1u, static_cast<std::uint64_t>(size)}; // FILE_TYPE_DISK
        return 0;
    }
    static int read(native file, std::span<std::byte> out, std::size_t& taken) noexcept {
        unsigned long count = 0;
        const bool ok = ReadFile(file, out.data(), static_cast<unsigned long>(out.size()), &count, nullptr) != 0;
        taken = count;
        return ok ? 0 : static_cast<int>(GetLastError());
    }
    static int write(native file, std::span<const std::byte> bytes, std::size_t& taken) noexcept {
        unsigned long count = 0;
        const bool ok = WriteFile(file, bytes.data(), static_cast<unsigned long>(bytes.size()), &count, nullptr) != 0;
        taken = count;
        return ok ? 0 : static_cast<int>(GetLastError());
    }
    static int close(native file) noexcept { return CloseHandle(file) != 0 ? 0 : static_cast<int>(GetLastError()); }
    static int rename(const std::string& from, const std::string& to) {
        constexpr unsigned long replace_and_flush = 0x1u | 0x8u; // MOVEFILE_REPLACE_EXISTING | _WRITE_THROUGH
        const bool ok = MoveFileExW(wide(from).c_str(), wide(to).c_str(), replace_and_flush) != 0;
        return ok ? 0 : static_cast<int>(GetLastError());
    }
    static void remove(const std::string& path) { DeleteFileW(wide(path).c_str()); }
    static bool means_missing(int code) noexcept { return code == 2 || code == 3; } // file, path not found
    static std::string message(int code) { return std::system_category().message(code); }
#else
    using native = int;
    static native closed() noexcept { return -1; }

    static int open(const std::string& path, access wanted, native& file) noexcept {
        // O_NONBLOCK: opening a pipe that nobody writes to must not hang; regular files ignore it.
        const int flags = wanted == access::create ? O_WRONLY | O_CREAT | O_TRUNC : O_RDONLY | O_NONBLOCK;
        do {
            file = ::open(path.c_str(), flags | O_CLOEXEC, 0666);
        } while (file < 0 && errno == EINTR);
        return file >= 0 ? 0 : errno;
    }
    static bool is_directory(const std::string& path) noexcept {
        struct stat status = {};
        return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
    }
    static int look(native file, facts& found) noexcept {
        struct stat status = {};
        if (::fstat(file, &status) != 0) {
            return errno;
        }
        found = {S_ISREG(status.st_mode), static_cast<std::uint64_t>(status.st_size)};
        return 0;
    }
    static int read(native file, std::span<std::byte> out, std::size_t& taken) noexcept {
        const auto count = ::read(file, out.data(), out.size());
        taken = count > 0 ? static_cast<std::size_t>(count) : 0;
        return count >= 0 || errno == EINTR ? 0 : errno;
    }
    static int write(native file, std::span<const std::byte> bytes, std::size_t& taken) noexcept {
        const auto count = ::write(file, bytes.data(), bytes.size());
        taken = count > 0 ? static_cast<std::size_t>(count) : 0;
        return count >= 0 || errno == EINTR ? 0 : errno;
    }
    static int close(native file) noexcept { return ::close(file) == 0 || errno == EINTR ? 0 : errno; }
    static int rename(const std::string& from, const std::string& to) noexcept {
        return std::rename(from.c_str(), to.c_str()) == 0 ? 0 : errno;
    }
    static void remove(const std::string& path) noexcept { ::unlink(path.c_str()); }
    static bool means_missing(int code) noexcept { return code == ENOENT || code == ENOTDIR; }
    static std::string message(int code) { return std::generic_category().message(code); }
#endif
};

/// An open file and its path. Move-only; closes itself. Not for two threads at once.
class file_handle {
public:
    file_handle() noexcept = default;
    file_handle(file_handle&& other) noexcept
        : file_(std::exchange(other.file_, operating_system::closed())), size_(std::exchange(other.size_, 0)),
          path_(std::move(other.path_)) {}
    file_handle& operator=(file_handle&& other) noexcept {
        std::swap(file_, other.file_);
        std::swap(size_, other.size_);
        std::swap(path_, other.path_);
        return *this;
    }
    file_handle(const file_handle&) = delete;
    file_handle& operator=(const file_handle&) = delete;
    ~file_handle() {
        if (is_open()) {
            operating_system::close(file_);
        }
    }

    /// Opens a regular file that is not empty.
    /// \return errc::file_not_found, not_a_file (a directory, a pipe, a device), truncated (an empty file) or io_error
    /// (no permission, or anything else that the system reports), each with the path.
    [[nodiscard]] static result<file_handle> open(std::string_view utf8_path) {
        auto file = open_as(utf8_path, operating_system::access::read);
        if (!file) {
            return file;
        }
        operating_system::facts found;
        if (const int code = operating_system::look(file->file_, found)) {
            return file->failed("cannot be examined", code);
        }
        if (!found.regular) {
            return error{errc::not_a_file, sentence({file->path_, ": is not a regular file"})};
        }
        if (found.size == 0) {
            return error{errc::truncated, sentence({file->path_, ": the file is empty (0 bytes)"})};
        }
        file->size_ = found.size;
        return file;
    }

    /// Creates a file for writing, or empties an existing one.
    [[nodiscard]] static result<file_handle> create(std::string_view utf8_path) {
        return open_as(utf8_path, operating_system::access::create);
    }

    [[nodiscard]] bool is_open() const noexcept { return file_ != operating_system::closed(); }
    [[nodiscard]] std::uint64_t size() const noexcept { return size_; } ///< bytes when it was opened
    [[nodiscard]] const std::string& path() const noexcept { return path_; }
    [[nodiscard]] operating_system::native native() const noexcept { return file_; }

    /// Fills `out` from the current position.
    /// \return errc::truncated when the file ends first (somebody shortened it), or io_error.
    [[nodiscard]] result<void> read(std::span<std::byte> out) {
        const std::size_t wanted = out.size();
        while (!out.empty()) {
            std::size_t taken = 0;
            if (const int code = operating_system::read(file_, out.first(step_of(out.size())), taken)) {
                return failed("cannot be read", code);
            }
            if (taken == 0) {
                return error{errc::truncated, sentence({path_, ": ends ", out.size(), " bytes before the ", wanted,
                                                        " bytes that it had when it was opened"})};
            }
            out = out.subspan(taken);
        }
        return {};
    }

    /// Appends all of `bytes`. \return errc::io_error, a full disk for instance.
    [[nodiscard]] result<void> write(std::span<const std::byte> bytes) {
        while (!bytes.empty()) {
            std::size_t taken = 0;
            const auto step = bytes.first(step_of(bytes.size()));
            if (const int code = operating_system::write(file_, step, taken)) {
                return failed("cannot be written", code);
            }
            bytes = bytes.subspan(taken);
        }
        return {};
    }

    /// Closes now. \return an error if the system has not accepted all that was written.
    [[nodiscard]] result<void> close() {
        if (const int code = operating_system::close(std::exchange(file_, operating_system::closed()))) {
            return failed("cannot be completed", code);
        }
        return {};
    }

    /// `path: what: the system's words (its number)`.
    [[nodiscard]] error failed(std::string_view what, int code) const {
        const errc kind = operating_system::means_missing(code) ? errc::file_not_found : errc::io_error;
        return error{
            kind, sentence({path_, ": ", what, ": ", operating_system::message(code), " (system error ", code, ")"})};
    }

private:
    // 64 MiB: below every system's limit for one call.
    static constexpr std::size_t largest_step = std::size_t{64} << 20;
    [[nodiscard]] static std::size_t step_of(std::size_t left) noexcept {
        return left < largest_step ? left : largest_step;
    }

    [[nodiscard]] static result<file_handle> open_as(std::string_view utf8_path, operating_system::access wanted) {
        file_handle file;
        file.path_ = utf8_path;
        if (utf8_path.empty() || utf8_path.find('\0') != std::string_view::npos) {
            return error{errc::file_not_found, sentence({"the path of ", utf8_path.size(),
                                                         " bytes is empty or holds a NUL byte, so it names no file"})};
        }
        if (operating_system::is_directory(file.path_)) {
            return error{errc::not_a_file, sentence({file.path_, ": is a directory, not a file"})};
        }
        if (const int code = operating_system::open(file.path_, wanted, file.file_)) {
            file.file_ = operating_system::closed();
            return file.failed(wanted == operating_system::access::create ? "cannot be created" : "cannot be opened",
                               code);
        }
        return file;
    }

    operating_system::native file_ = operating_system::closed();
    std::uint64_t size_ = 0;
    std::string path_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
