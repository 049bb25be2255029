// SPDX-License-Identifier: MIT
// gguf_input: the bytes of a GGUF file, how far they are read, and the first thing that is wrong in them.
#ifndef BITNET_IO_GGUF_INPUT_HPP
#define BITNET_IO_GGUF_INPUT_HPP

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/byte_reader.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/memory_source.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/gguf_tensor.hpp>
#include <bitnet/io/name_index.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// What all steps of reading a GGUF file share. A step returns whether to go on; if not, the error is in failure().
/// Borrows the bytes and the name.
class gguf_input {
public:
    gguf_input(std::span<const std::byte> bytes, std::string_view name, const memory_source* memory)
        : bytes_(bytes), name_(name), memory_(memory), reader_(bytes) {}

    [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }
    [[nodiscard]] std::string_view name() const noexcept { return name_; }
    [[nodiscard]] byte_reader& reader() noexcept { return reader_; }
    [[nodiscard]] error& failure() noexcept { return failure_; }

    // Errors, of the file or of a tensor.
    [[nodiscard]] bool fail(errc code, sentence_parts what) { return set_error(failure_, code, {name_, ": "}, what); }
    [[nodiscard]] bool fail(errc code, const gguf_tensor& tensor, sentence_parts what) {
        return set_error(failure_, code, {name_, ": tensor ", quoted{tensor.name}}, what);
    }
    [[nodiscard]] bool ends(sentence_parts where) {
        return fail(errc::truncated, {"the file ends inside ", sentence(where), " (", reader_.remaining(), " of its ",
                                      bytes_.size(), " bytes are left there)"});
    }

    /// Memory for `size` elements.
    template <class T> [[nodiscard]] bool allocate_list(buffer<T>& list, std::uint64_t size, std::string_view what) {
        allocate(list, size, sentence({name_, ": ", what}), failure_, tables());
        return failure_.code == errc{};
    }
    /// Builds `index`. A name that occurs twice is an error of that code, in the words for one element and for several.
    [[nodiscard]] bool index_names(name_index& index, name_list names, errc code, std::string_view one,
                                   std::string_view several) {
        if (!index.build(names, sentence({name_, ": an index of names"}), failure_, tables())) {
            return false;
        }
        const auto [first, second] = index.duplicates(names);
        return first == name_index::none || fail(code, {one, " ", quoted{names[first]}, " appears twice, as ", several,
                                                        " ", first, " and ", second});
    }

private:
    [[nodiscard]] memory_from tables() const noexcept { return {memory_, {memory_use::tables, false}}; }

    std::span<const std::byte> bytes_;
    std::string_view name_;
    const memory_source* memory_;
    byte_reader reader_;
    error failure_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
