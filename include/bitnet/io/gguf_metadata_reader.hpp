// SPDX-License-Identifier: MIT
// gguf_metadata_reader: the metadata entries of a GGUF file, read in place.
#ifndef BITNET_IO_GGUF_METADATA_READER_HPP
#define BITNET_IO_GGUF_METADATA_READER_HPP

#include <bitnet/core/byte_reader.hpp>
#include <bitnet/core/checked.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/gguf_file.hpp>
#include <bitnet/io/gguf_input.hpp>
#include <bitnet/io/gguf_types.hpp>
#include <bitnet/io/gguf_value.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// Reads as many entries as there are places for them.
class gguf_metadata_reader {
public:
    /// Borrows both.
    gguf_metadata_reader(gguf_input& in, std::span<gguf_value> entries)
        : in_(in), reader_(in.reader()), entries_(entries) {}

    [[nodiscard]] bool run() {
        for (gguf_value& entry : entries_) {
            if (!read_entry(entry)) {
                return false;
            }
        }
        return true;
    }

private:
    [[nodiscard]] std::size_t index_of(const gguf_value& entry) const noexcept {
        return static_cast<std::size_t>(&entry - entries_.data());
    }
    [[nodiscard]] bool fail(errc code, const gguf_value& entry, sentence_parts what) {
        return set_error(in_.failure(), code, {in_.name(), ": metadata key ", index_of(entry), " ", quoted{entry.key}},
                         what);
    }
    [[nodiscard]] bool ends(std::string_view part, const gguf_value& entry) {
        return in_.ends({part, " of metadata key ", index_of(entry), " ", quoted{entry.key}});
    }

    [[nodiscard]] bool read_entry(gguf_value& value) {
        const auto key = reader_.read_string();
        if (!key) {
            return in_.ends({"metadata key ", index_of(value), " of ", entries_.size()});
        }
        if (key->empty() || key->size() > gguf_file::longest_key) {
            return in_.fail(errc::bad_key, {"metadata key ", index_of(value), " has ", key->size(), " bytes, 1 to ",
                                            gguf_file::longest_key, " are allowed"});
        }
        value.key = *key;
        if (const auto nul = key->find('\0'); nul != std::string_view::npos) {
            return fail(errc::bad_key, value, {" holds a NUL byte at ", nul});
        }
        const auto type = reader_.read<std::uint32_t>();
        if (!type) {
            return ends("the type", value);
        }
        value.type = value.element_type = static_cast<gguf_type>(*type);
        return value.type == gguf_type::array ? read_array(value) : read_single(value);
    }

    [[nodiscard]] bool read_single(gguf_value& value) {
        if (value.type == gguf_type::string) {
            const auto text = reader_.read_string();
            if (!text) {
                return ends("the string", value);
            }
            value.bytes = std::as_bytes(std::span(*text));
            return true;
        }
        const std::uint64_t size = size_of(value.type);
        if (size == 0) {
            return unknown_type(value, value.type);
        }
        const auto bytes = reader_.read_bytes(size);
        if (!bytes) {
            return ends("the value", value);
        }
        value.bytes = *bytes;
        return check_bools(value);
    }

    [[nodiscard]] bool read_array(gguf_value& value) {
        const auto element = reader_.read<std::uint32_t>();
        const auto count = reader_.read<std::uint64_t>();
        if (!element || !count) {
            return ends("the array header", value);
        }
        value.element_type = static_cast<gguf_type>(*element);
        value.count = *count;
        if (value.element_type == gguf_type::array) {
            return fail(errc::bad_value, value, {" is an array of arrays, which is not read"});
        }
        if (value.element_type == gguf_type::string) {
            return read_strings(value);
        }
        const std::uint64_t size = size_of(value.element_type);
        if (size == 0) {
            return unknown_type(value, value.element_type);
        }
        const auto total = checked_multiply(value.count, size);
        const auto bytes = total ? reader_.read_bytes(*total) : std::nullopt;
        if (!bytes) {
            return bad_array_count(value);
        }
        value.bytes = *bytes;
        return check_bools(value);
    }

    [[nodiscard]] bool read_strings(gguf_value& value) {
        if (value.count > reader_.remaining() / sizeof(std::uint64_t)) {
            return bad_array_count(value);
        }
        const std::size_t start = reader_.offset();
        for (std::uint64_t n = 0; n < value.count; ++n) {
            if (!reader_.read_string()) {
                return ends(sentence({"string ", n, " of the ", value.count}), value);
            }
        }
        value.bytes = in_.bytes().subspan(start, reader_.offset() - start);
        return true;
    }

    [[nodiscard]] bool unknown_type(const gguf_value& value, gguf_type type) {
        return fail(errc::bad_value, value,
                    {" has the unknown value type ", static_cast<std::uint32_t>(type), ", 0 to 12 are known"});
    }
    [[nodiscard]] bool bad_array_count(const gguf_value& value) {
        return fail(errc::bad_count, value,
                    {" announces an array of ", value.count, " ", name_of(value.element_type), ", but only ",
                     reader_.remaining(), " bytes are left"});
    }

    [[nodiscard]] bool check_bools(const gguf_value& value) {
        if (value.element_type != gguf_type::boolean) {
            return true;
        }
        for (const std::byte b : value.bytes) {
            if (b > std::byte{1}) {
                return fail(errc::bad_value, value,
                            {" holds the bool ", std::to_integer<unsigned>(b), ", only 0 and 1 are bools"});
            }
        }
        return true;
    }

    gguf_input& in_;
    byte_reader& reader_;
    std::span<gguf_value> entries_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
