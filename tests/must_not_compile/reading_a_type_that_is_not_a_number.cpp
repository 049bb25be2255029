// SPDX-License-Identifier: MIT
// A struct read from file bytes would depend on the compiler's padding.
// EXPECT: is_arithmetic
#include <bitnet/core/byte_reader.hpp>

struct header {
    char magic[4];
    unsigned version;
};

void read_header(bitnet::detail::byte_reader& reader) {
#ifdef FIXED
    static_cast<void>(reader.read<unsigned>());
#else
    static_cast<void>(reader.read<header>());
#endif
}
