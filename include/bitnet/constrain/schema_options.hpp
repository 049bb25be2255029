// SPDX-License-Identifier: MIT
// schema_options: in which form JSON is written, and what becomes of keywords that cannot be enforced.
#ifndef BITNET_CONSTRAIN_SCHEMA_OPTIONS_HPP
#define BITNET_CONSTRAIN_SCHEMA_OPTIONS_HPP

#include <bitnet/core/config.hpp>

#include <cstdint>

namespace bitnet::inline BITNET_ABI {

/// What becomes of a keyword that cannot be enforced.
enum class unsupported_keyword : std::uint8_t {
    refuse, ///< errc::unsupported_schema with its JSON pointer
    note,   ///< it is not enforced, and a note says so
};

/// Objects have their keys in the order of `properties`, then of `required`, then others; a key that is declared comes
/// at most once. Strings are UTF-8 with the short escapes, and \u for control characters. Integers have no fraction;
/// only numbers without bounds have exponents.
struct schema_options {
    unsupported_keyword unsupported = unsupported_keyword::refuse;
    bool closed = false;           ///< keys that `properties` does not name need additionalProperties to be allowed
    bool spaces = false;           ///< one space is allowed after each comma and colon
    bool strict_formats = false;   ///< a `format` that is not enforced is refused, not noted
    bool one_of_is_any_of = false; ///< oneOf means anyOf, and a note says so
};

} // namespace bitnet::inline BITNET_ABI

#endif
