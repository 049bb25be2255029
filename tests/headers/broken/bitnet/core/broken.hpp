// One offence of each kind that check.cmake looks for. Nothing includes or compiles this.
#include "result.hpp"

#include <iostream>

#if 1
#include <bitnet/run/above.hpp>
#endif

#define BROKEN 1

inline void broken(int how) {
    if (how == 0) {
        abort();
    }
    const int near = 1;
    if (how == std::max(how, near)) {
        throw how;
    }
}
