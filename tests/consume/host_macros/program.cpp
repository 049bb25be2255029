// SPDX-License-Identifier: MIT
// A program whose other libraries define macros: HEADER comes after all of them. With STANDARD_HEADERS_FIRST the
// standard's headers are included before, as they are where an earlier header includes them.
#ifdef STANDARD_HEADERS_FIRST
#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <bitset>
#include <cassert>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <deque>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <map>
#include <memory>
#include <new>
#include <numeric>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>
#if __has_include(<immintrin.h>)
#include <immintrin.h>
#endif
#if __has_include(<unistd.h>)
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

#include "host_macros.hpp"

#include HEADER

int main() {
    auto model = bitnet::any_model::open("tiny.gguf");
    if (!model) {
        return 1;
    }
    auto session = bitnet::any_session::open(*model, {.context = 64});
    auto choose = bitnet::sampler::open({.seed = 1}, model->parameters().vocabulary);
    const auto prompt = model->text().encode("Once upon a time");
    return session && choose && prompt && session->feed(*prompt) && session->next(*choose) ? 0 : 1;
}
