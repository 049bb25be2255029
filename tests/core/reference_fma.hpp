// SPDX-License-Identifier: MIT
// reference_fma: a multiply-add rounded once that is not ours.
#pragma once

#include <cfloat>
#include <cmath>

namespace bitnet_tests {

/// glibc's, or of a library without long double. Others are not exact in all cases: WebAssembly's lacks
/// rounding modes, MinGW's rounds twice, musl's does so to denormal numbers. There 64 or 113 bits suffice; a sum that
/// does not fit them is moved by one last bit towards the remainder, so that it is no tie.
[[nodiscard]] inline float reference_fma(float a, float b, float c) {
#if !defined(__GLIBC__) && LDBL_MANT_DIG >= 64
    const long double product = static_cast<long double>(a) * static_cast<long double>(b);
    const auto addend = static_cast<long double>(c);
    const long double sum = product + addend;
    const long double addend_part = sum - product;
    const long double rest = (product - (sum - addend_part)) + (addend - addend_part);
    const long double moved = rest > 0   ? std::nextafter(sum, HUGE_VALL)
                              : rest < 0 ? std::nextafter(sum, -HUGE_VALL)
                                         : sum;
    return static_cast<float>(moved);
#else
    return std::fma(a, b, c);
#endif
}

} // namespace bitnet_tests
