// SPDX-License-Identifier: MIT
// A result holds either a value or an error: the value alone is not to be had without asking.
// EXPECT: cannot convert|no viable conversion
#include <bitnet/core/result.hpp>

int value_of(bitnet::result<int> answer) {
#ifdef FIXED
    return answer ? *answer : 0;
#else
    int value = answer;
    return value;
#endif
}
