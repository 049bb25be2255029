// SPDX-License-Identifier: MIT
// A session borrows its model: one that is gone at the end of the line would dangle.
// EXPECT: use of deleted function|call to deleted (member )?function
#include <bitnet/run/session.hpp>

#include <utility>

using policy = bitnet::policy<bitnet::isa::scalar>;

// Not called, only looked for: compiling what is called would take many times as long.
#ifdef FIXED
using opened = decltype(bitnet::session<policy>::open(std::declval<bitnet::model<policy>&>()));
#else
using opened = decltype(bitnet::session<policy>::open(std::declval<bitnet::model<policy>>()));
#endif
opened* instance = nullptr;
