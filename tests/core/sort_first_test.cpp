// SPDX-License-Identifier: MIT
// sort_first: the same front as std::sort, whatever the input.
#include <bitnet/core/sort_first.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;

namespace {

/// Lists of n numbers: all equal, rising, falling, two values, saw-toothed and random ones.
std::vector<std::vector<int>> number_lists(std::size_t n) {
    std::vector<std::vector<int>> lists(7, std::vector<int>(n));
    std::uint32_t state = 1;
    for (std::size_t i = 0; i < n; ++i) {
        state = state * 1664525u + 1013904223u;
        const int x = static_cast<int>(i);
        lists[1][i] = x;
        lists[2][i] = -x;
        lists[3][i] = static_cast<int>(state >> 31);
        lists[4][i] = x % 17;
        lists[5][i] = static_cast<int>(state >> 8);
        lists[6][i] = x < static_cast<int>(n / 2) ? x : static_cast<int>(n) - x;
    }
    return lists;
}

} // namespace

TEST_CASE("the first k of n elements come to the front in order, and none is lost") {
    for (const std::size_t n : {0u, 1u, 2u, 3u, 4u, 24u, 25u, 26u, 100u, 1000u, 5000u}) {
        for (const std::vector<int>& list : number_lists(n)) {
            std::vector<int> expected = list;
            std::sort(expected.begin(), expected.end());
            for (const std::size_t k : {std::size_t{0}, std::size_t{1}, std::size_t{2}, std::size_t{24}, n / 8,
                                        n / 8 + 1, n / 2, n - (n == 0 ? 0 : 1), n}) {
                if (k > n) {
                    continue;
                }
                std::vector<int> sorted = list;
                sort_first(sorted.data(), n, k, std::less<int>{});
                const bool front = std::equal(sorted.data(), sorted.data() + k, expected.data());
                CHECK_MESSAGE(front, n << " " << k);
                std::sort(sorted.begin(), sorted.end());
                CHECK(sorted == expected);
            }
        }
    }
}

TEST_CASE("an order that defeats quicksort still takes O(n log n) comparisons") {
    const std::size_t n = 1u << 14;
    for (const std::vector<int>& list : number_lists(n)) {
        std::vector<int> sorted = list;
        std::size_t comparisons = 0;
        sort_first(sorted.data(), n, n, [&comparisons](int a, int b) {
            ++comparisons;
            return a < b;
        });
        CHECK(comparisons < 64 * n); // log2(n) is 14
    }
    std::vector<int> sorted = number_lists(n)[5];
    sort_first(sorted.data(), n, n, std::less<int>{}, 0u); // no rounds of quicksort: by the heap alone
    CHECK(std::is_sorted(sorted.begin(), sorted.end()));
}
