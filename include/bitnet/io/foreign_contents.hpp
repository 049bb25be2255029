// SPDX-License-Identifier: MIT
// What other programs write into GGUF files and nobody reads here: tensor types, and marks that change what types mean.
#ifndef BITNET_IO_FOREIGN_CONTENTS_HPP
#define BITNET_IO_FOREIGN_CONTENTS_HPP

#include <bitnet/core/checked.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/gguf_types.hpp>
#include <bitnet/io/gguf_value.hpp>
#include <bitnet/io/quoted_name.hpp>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// A tensor type that is known for what it is.
struct foreign_type {
    std::uint32_t id;
    std::string_view what;
};

inline constexpr foreign_type q1_0_of_prism{
    41, "Q1_0: its weights are binary, one bit each, and only ternary ones can be run"};
inline constexpr foreign_type stq1_0{
    43, "STQ1_0: ternary weights of which every fourth is zero, in an encoding that is not read"};

/// What type `id` is; empty for one that nothing is known of. Early files have STQ1_0 under the id of Q2_0, 42: known
/// by its 42 bytes for 256 columns, which blocks of Q2_0 never take. \param space bytes from the tensor to the next
/// one, or to the end of the file
[[nodiscard]] inline std::string_view what_is_type(std::uint32_t id, std::uint64_t elements, std::uint64_t space,
                                                   std::uint32_t alignment) noexcept {
    const auto bytes = checked_multiply(elements / 256, std::uint64_t{42});
    const auto padded = bytes ? checked_align(*bytes, alignment) : bytes;
    const bool is_sparse =
        id == 42 && elements != 0 && elements % 256 == 0 && padded && (space == *bytes || space == *padded);
    return id == q1_0_of_prism.id         ? q1_0_of_prism.what
           : id == stq1_0.id || is_sparse ? stq1_0.what
                                          : std::string_view{};
}

/// Marks in the metadata by which tensors are not what their types say.
/// \return errc::unsupported_architecture or unsupported_type, naming the file and the key.
[[nodiscard]] inline result<void> refuse_foreign_marks(std::span<const gguf_value> metadata, std::string_view file) {
    for (const gguf_value& entry : metadata) {
        if (entry.key.starts_with("prism.hadamard.")) {
            return error{errc::unsupported_architecture,
                         sentence({file, ": ", quoted{entry.key}, " says that the weights are rotated, as those of ",
                                   "Ternary Bonsai 2: they mean nothing without that rotation, which cannot be run"})};
        }
        const bool is_version = entry.key == "general.quantization_version" && entry.type == gguf_type::string;
        if (is_version && entry.string() == "TQ2_0_G128") {
            return error{
                errc::unsupported_type,
                sentence({file, ": 'general.quantization_version' is 'TQ2_0_G128': blocks of OxiBonsai's own, ",
                          "whose scale comes last, under the id of Q2_0; they are not read"})};
        }
    }
    return {};
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
