// SPDX-License-Identifier: MIT
// Forward declarations come first, so that a name that changed its kind does not compile.
#include <bitnet/fwd.hpp>

// and then the definitions
#include <bitnet/bitnet.hpp>

#include <doctest/doctest.h>

#include <type_traits>

TEST_CASE("forward declarations declare what the library defines") {
    static_assert(std::is_same_v<bitnet::token, std::int32_t>);
    static_assert(sizeof(bitnet::any_model) > 0 && sizeof(bitnet::any_session) > 0 && sizeof(bitnet::sampler) > 0);
    static_assert(sizeof(bitnet::result<int>) > sizeof(bitnet::error));
    CHECK(bitnet::isa::scalar::available());
}
