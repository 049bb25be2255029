// SPDX-License-Identifier: MIT
#include <bitnet/simd/isa.hpp>

#include <doctest/doctest.h>

#if defined(__linux__) && defined(__x86_64__)
#include <cstdint>
#include <sys/syscall.h>
#include <unistd.h>
#endif

using namespace bitnet;
using namespace bitnet::detail;

TEST_CASE("a CPU has what its instruction sets build on, and none of another architecture") {
    CHECK(isa::scalar::available());
    CHECK((!isa::avx_vnni::available() || isa::avx2::available()));
    CHECK((!isa::avx512_vnni::available() || isa::avx2::available()));
    CHECK((!isa::amx_int8::available() || isa::avx512_vnni::available()));
    CHECK((!isa::neon_i8mm::available() || isa::neon_dotprod::available()));
    CHECK((!isa::neon_dotprod::available() || isa::neon::available()));
    CHECK(isa::neon::available() == (BITNET_ARM64 != 0));
    CHECK_FALSE((isa::avx2::available() && isa::neon::available()));
    CHECK((!isa::enable<isa::amx_int8>() || isa::amx_int8::available()));
    CHECK(isa::enable<isa::avx2>() == isa::avx2::available());
}

#if defined(__linux__) && defined(__x86_64__)
TEST_CASE("asking for an instruction set changes no permission of the process") {
    const auto permitted = [] {
        std::uint64_t features = 0; // stays so if the kernel does not know ARCH_GET_XCOMP_PERM
        syscall(SYS_arch_prctl, 0x1022, &features);
        return features;
    };
    const std::uint64_t before = permitted();
    static_cast<void>(isa::amx_int8::available());
    CHECK(permitted() == before);
}
#endif
