// SPDX-License-Identifier: MIT
// gguf_editor: breaks one thing in a good GGUF file and leaves the rest as it was.
#pragma once

#include <bitnet/io/gguf_reader.hpp>

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace bitnet_tests {

/// The bytes of a good file and where its parts are. Positions are those of the file as it is now: every edit reads
/// the file again, as long as it can be read, and otherwise keeps the positions known last.
class gguf_editor {
public:
    /// \pre `good` is a GGUF file without faults
    explicit gguf_editor(std::span<const std::byte> good) : bytes_(good.begin(), good.end()) { locate(); }

    [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }

    /// Header fields.
    static constexpr std::size_t magic = 0;
    static constexpr std::size_t version = 4;
    static constexpr std::size_t tensor_count = 8;
    static constexpr std::size_t key_count = 16;

    struct key_position {
        std::string name;
        std::size_t length; ///< of the key, u64
        std::size_t key;
        std::size_t type;          ///< u32
        std::size_t value;         ///< a number, or the u64 length of a string, or the u32 element type of an array
        std::size_t element_count; ///< of an array, u64
        std::size_t elements;      ///< of an array
        std::size_t end;
    };
    struct tensor_position {
        std::string name;
        std::size_t length; ///< of the name, u64
        std::size_t characters;
        std::size_t rank;   ///< u32
        std::size_t dims;   ///< u64 each
        std::size_t type;   ///< u32
        std::size_t offset; ///< u64
        std::size_t end;
        std::size_t data;
        std::size_t data_size;
    };

    [[nodiscard]] const key_position& key(std::string_view name) const {
        for (const auto& found : keys_) {
            if (found.name == name) {
                return found;
            }
        }
        assert(false && "no such key");
        return keys_.front();
    }
    [[nodiscard]] const tensor_position& tensor(std::string_view name) const {
        for (const auto& found : tensors_) {
            if (found.name == name) {
                return found;
            }
        }
        assert(false && "no such tensor");
        return tensors_.front();
    }
    [[nodiscard]] const std::vector<key_position>& keys() const noexcept { return keys_; }
    [[nodiscard]] const std::vector<tensor_position>& tensors() const noexcept { return tensors_; }
    [[nodiscard]] std::size_t header_end() const noexcept {
        return tensors_.empty() ? keys_end() : tensors_.back().end;
    }
    [[nodiscard]] std::size_t keys_end() const noexcept { return keys_.empty() ? 24 : keys_.back().end; }
    [[nodiscard]] std::size_t data_start() const noexcept { return data_start_; }

    template <class T>
    requires std::is_arithmetic_v<T>
    [[nodiscard]] T peek(std::size_t at) const {
        T value;
        assert(at + sizeof(T) <= bytes_.size());
        std::memcpy(&value, bytes_.data() + at, sizeof(T));
        return value;
    }
    template <class T>
    requires std::is_arithmetic_v<T>
    void poke(std::size_t at, T value) {
        assert(at + sizeof(T) <= bytes_.size());
        std::memcpy(bytes_.data() + at, &value, sizeof(T));
    }
    void truncate(std::size_t size) { bytes_.resize(size); }

    /// Replaces `erased` bytes of the header by `inserted` and keeps the tensor data after it aligned.
    void splice(std::size_t at, std::size_t erased, std::string_view inserted) {
        assert(at + erased <= header_end());
        const auto first = reinterpret_cast<const std::byte*>(inserted.data());
        const std::size_t new_end = header_end() - erased + inserted.size();
        const std::size_t alignment = alignment_;
        const std::vector<std::byte> padding((alignment - new_end % alignment) % alignment);
        const std::vector<std::byte> data(bytes_.begin() + position(data_start_), bytes_.end());
        bytes_.resize(header_end());
        bytes_.erase(bytes_.begin() + position(at), bytes_.begin() + position(at + erased));
        bytes_.insert(bytes_.begin() + position(at), first, first + inserted.size());
        bytes_.insert(bytes_.end(), padding.begin(), padding.end());
        bytes_.insert(bytes_.end(), data.begin(), data.end());
        locate();
    }

    void rename_key(std::string_view from, std::string_view to) {
        const key_position at = key(from);
        splice(at.length, at.type - at.length, string(to));
    }
    void rename_tensor(std::string_view from, std::string_view to) {
        const tensor_position at = tensor(from);
        splice(at.length, at.rank - at.length, string(to));
    }
    /// Gives `name` the value type `type` and the bytes `value`.
    void set_value(std::string_view name, bitnet::gguf_type type, std::string_view value) {
        const key_position at = key(name);
        splice(at.type, at.end - at.type, number(static_cast<std::uint32_t>(type)) + std::string(value));
    }
    /// Adds a key after all others.
    void add_key(std::string_view name, bitnet::gguf_type type, std::string_view value) {
        poke(key_count, peek<std::uint64_t>(key_count) + 1);
        splice(keys_end(), 0, string(name) + number(static_cast<std::uint32_t>(type)) + std::string(value));
    }
    void remove_key(std::string_view name) {
        const key_position at = key(name);
        poke(key_count, peek<std::uint64_t>(key_count) - 1);
        splice(at.length, at.end - at.length, "");
    }
    /// Takes a tensor out of the list; its data stays.
    void remove_tensor(std::string_view name) {
        const tensor_position at = tensor(name);
        poke(tensor_count, peek<std::uint64_t>(tensor_count) - 1);
        splice(at.length, at.end - at.length, "");
    }
    void set_dim(std::string_view tensor_name, std::size_t i, std::uint64_t dim) {
        poke(tensor(tensor_name).dims + 8 * i, dim);
    }

    /// A number as the file has it.
    template <class T>
    requires std::is_arithmetic_v<T>
    [[nodiscard]] static std::string number(T value) {
        std::string bytes(sizeof(T), '\0');
        std::memcpy(bytes.data(), &value, sizeof(T));
        return bytes;
    }
    /// A string as the file has it.
    [[nodiscard]] static std::string string(std::string_view text) {
        return number(static_cast<std::uint64_t>(text.size())) + std::string(text);
    }

private:
    [[nodiscard]] static std::ptrdiff_t position(std::size_t at) noexcept { return static_cast<std::ptrdiff_t>(at); }

    void locate() {
        const auto file = bitnet::gguf_file::parse(bytes_, "edited");
        if (!file) {
            return;
        }
        const auto at = [&](const void* p) {
            return static_cast<std::size_t>(static_cast<const std::byte*>(p) - bytes_.data());
        };
        keys_.clear();
        for (const bitnet::gguf_value& value : file->metadata()) {
            const std::size_t key = at(value.key.data());
            const std::size_t type = key + value.key.size();
            const std::size_t end = at(value.bytes.data()) + value.bytes.size();
            keys_.push_back({std::string(value.key), key - 8, key, type, type + 4, type + 8, type + 16, end});
        }
        tensors_.clear();
        for (const bitnet::gguf_tensor& tensor : file->tensors()) {
            const std::size_t name = at(tensor.name.data());
            const std::size_t rank = name + tensor.name.size();
            const std::size_t type = rank + 4 + 8 * tensor.rank;
            tensors_.push_back({std::string(tensor.name), name - 8, name, rank, rank + 4, type, type + 4, type + 12,
                                at(tensor.bytes.data()), tensor.bytes.size()});
        }
        alignment_ = file->alignment();
        data_start_ = static_cast<std::size_t>(file->data_offset());
    }

    std::vector<std::byte> bytes_;
    std::vector<key_position> keys_;
    std::vector<tensor_position> tensors_;
    std::size_t alignment_ = 32;
    std::size_t data_start_ = 0;
};

} // namespace bitnet_tests
