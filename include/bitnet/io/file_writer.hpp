// SPDX-License-Identifier: MIT
// file_writer: a file that is there when it is whole, and otherwise as it was before.
#ifndef BITNET_IO_FILE_WRITER_HPP
#define BITNET_IO_FILE_WRITER_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/file_handle.hpp>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// Writes a file under its name with ".partial" after it, which takes the place of the name when commit() is called.
/// Without that it is removed, and what had the name stays. Move-only. A byte_sink can refer to it.
class file_writer {
public:
    /// \return errc::file_not_found for a folder that does not exist, not_a_file, io_error, out_of_memory.
    [[nodiscard]] static result<file_writer> create(std::string_view utf8_path) {
        return detail::guarded([&]() -> result<file_writer> {
            file_writer made;
            made.path_ = utf8_path;
            made.partial_ = made.path_ + ".partial";
            if (detail::operating_system::is_directory(made.path_)) {
                return error{errc::not_a_file, detail::sentence({made.path_, ": is a directory, not a file"})};
            }
            auto file = detail::file_handle::create(made.partial_);
            if (!file) {
                return failed(file);
            }
            made.file_ = *std::move(file);
            return made;
        });
    }

    file_writer(file_writer&& other) noexcept = default;
    file_writer& operator=(file_writer&& other) noexcept {
        std::swap(file_, other.file_);
        std::swap(path_, other.path_);
        std::swap(partial_, other.partial_);
        return *this;
    }
    ~file_writer() { give_up(); }

    /// Appends all of `bytes`. \return errc::io_error, a full disk for instance. \pre commit() was not called
    [[nodiscard]] result<void> write(std::span<const std::byte> bytes) {
        return detail::guarded([&] { return file_.write(bytes); });
    }

    /// Completes the file and gives it its name. \return errc::io_error; nothing is left of it then.
    [[nodiscard]] result<void> commit() {
        return detail::guarded([&]() -> result<void> {
            if (auto closed = file_.close(); !closed) {
                detail::operating_system::remove(partial_);
                return closed;
            }
            if (const int code = detail::operating_system::rename(partial_, path_)) {
                detail::operating_system::remove(partial_);
                return error{errc::io_error, detail::sentence({path_, ": ", partial_, " cannot be renamed to it: ",
                                                               detail::operating_system::message(code)})};
            }
            return {};
        });
    }

private:
    file_writer() noexcept = default;

    void give_up() noexcept {
        if (!file_.is_open()) {
            return;
        }
        { const detail::file_handle closed = std::move(file_); } // first: Windows insists
        static_cast<void>(detail::has_memory_for([&] { detail::operating_system::remove(partial_); }));
    }

    detail::file_handle file_;
    std::string path_;
    std::string partial_;
};

} // namespace bitnet::inline BITNET_ABI

#endif
