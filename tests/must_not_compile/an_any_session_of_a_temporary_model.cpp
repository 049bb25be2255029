// SPDX-License-Identifier: MIT
// The same for the type-erased pair.
// EXPECT: use of deleted function|call to deleted (member )?function
#include <bitnet/run/open_model.hpp>

bool open(bitnet::any_model opened) {
#ifdef FIXED
    return bitnet::any_session::open(opened).has_value();
#else
    return bitnet::any_session::open(std::move(opened)).has_value();
#endif
}
