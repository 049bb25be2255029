// SPDX-License-Identifier: MIT
// byte_reader: a cursor over untrusted little-endian bytes that never reads past their end.
#ifndef BITNET_CORE_BYTE_READER_HPP
#define BITNET_CORE_BYTE_READER_HPP

#include <bitnet/core/checked.hpp>
#include <bitnet/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

namespace bitnet::inline BITNET_ABI::detail {

/// Reads forward through bytes that it borrows. A read that does not fit returns nullopt and does not move.
class byte_reader {
public:
    explicit byte_reader(std::span<const std::byte> bytes, std::size_t offset = 0) noexcept
        : bytes_(bytes), offset_(offset < bytes.size() ? offset : bytes.size()) {}

    [[nodiscard]] std::size_t offset() const noexcept { return offset_; }
    [[nodiscard]] std::size_t remaining() const noexcept { return bytes_.size() - offset_; }

    /// The next sizeof(T) bytes as a T. Needs no alignment.
    template <class T>
    requires std::is_arithmetic_v<T>
    [[nodiscard]] std::optional<T> read() noexcept {
        if (remaining() < sizeof(T)) {
            return std::nullopt;
        }
        T value;
        std::memcpy(&value, bytes_.data() + offset_, sizeof(T));
        offset_ += sizeof(T);
        return value;
    }

    /// The next `count` bytes, in place. `count` is 64 bits wide on purpose: it comes from a file.
    [[nodiscard]] std::optional<std::span<const std::byte>> read_bytes(std::uint64_t count) noexcept {
        if (count > remaining()) {
            return std::nullopt;
        }
        const auto taken = bytes_.subspan(offset_, to_size(count));
        offset_ += taken.size();
        return taken;
    }

    /// A GGUF string: u64 length, then that many bytes, in place.
    [[nodiscard]] std::optional<std::string_view> read_string() noexcept {
        const std::size_t start = offset_;
        if (const auto length = read<std::uint64_t>()) {
            if (const auto text = read_bytes(*length)) {
                return std::string_view(reinterpret_cast<const char*>(text->data()), text->size());
            }
        }
        offset_ = start;
        return std::nullopt;
    }

private:
    std::span<const std::byte> bytes_;
    std::size_t offset_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
