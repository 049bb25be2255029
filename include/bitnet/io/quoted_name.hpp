// SPDX-License-Identifier: MIT
// quoted_name: names out of untrusted files, made fit for an error message.
#ifndef BITNET_IO_QUOTED_NAME_HPP
#define BITNET_IO_QUOTED_NAME_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/sentence.hpp>

#include <cstddef>
#include <string>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// `name` in quotes and printable ASCII, of at most `longest` bytes: see append_quoted. In a sentence(), a quoted{name}
/// does the same and makes no string of its own.
[[nodiscard]] inline std::string quoted_name(std::string_view name, std::size_t longest = 80) {
    std::string made;
    append_quoted(made, name, longest);
    return made;
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
