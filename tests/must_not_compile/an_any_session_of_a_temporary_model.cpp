// SPDX-License-Identifier: MIT
// The same for the type-erased pair.
// EXPECT: use of deleted function|call to deleted (member )?function
#include <bitnet/run/open_model.hpp>

#include <utility>

// Not called, only looked for: compiling what is called would take many times as long.
#ifdef FIXED
using opened = decltype(bitnet::any_session::open(std::declval<bitnet::any_model&>()));
#else
using opened = decltype(bitnet::any_session::open(std::declval<bitnet::any_model>()));
#endif
opened* instance = nullptr;
