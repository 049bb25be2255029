// SPDX-License-Identifier: MIT
// sort_first: the first k of n elements, in order. For headers that are too light for <algorithm>.
#ifndef BITNET_CORE_SORT_FIRST_HPP
#define BITNET_CORE_SORT_FIRST_HPP

#include <bitnet/core/config.hpp>

#include <cstddef>

namespace bitnet::inline BITNET_ABI::detail {

namespace sorting {

template <class T> void exchange(T& a, T& b) noexcept {
    const T kept = a;
    a = b;
    b = kept;
}

/// Moves the element at `hole` down to its place in a heap: heap[i] comes after heap[2 i + 1] and heap[2 i + 2].
template <class T, class Before> void sift_down(T* heap, std::size_t size, std::size_t hole, Before before) noexcept {
    const T moved = heap[hole];
    for (std::size_t child = 2 * hole + 1; child < size; child = 2 * hole + 1) {
        child += child + 1 < size && before(heap[child], heap[child + 1]) ? 1u : 0u;
        if (!before(moved, heap[child])) {
            break;
        }
        heap[hole] = heap[child];
        hole = child;
    }
    heap[hole] = moved;
}

/// A heap of the first k elements so far takes in what comes before its last one, and is sorted in the end.
template <class T, class Before>
void sort_first_by_heap(T* data, std::size_t n, std::size_t k, Before before) noexcept {
    for (std::size_t i = k / 2; i-- > 0;) {
        sift_down(data, k, i, before);
    }
    for (std::size_t i = k; k != 0 && i < n; ++i) {
        if (before(data[i], data[0])) {
            exchange(data[0], data[i]);
            sift_down(data, k, 0, before);
        }
    }
    for (std::size_t size = k; size > 1; --size) {
        exchange(data[0], data[size - 1]);
        sift_down(data, size - 1, 0, before);
    }
}

/// Hoare's partition around the median of three. \return m, 0 < m < n: no element of [m, n) comes before one of [0, m)
/// \pre n >= 3
template <class T, class Before> std::size_t partition(T* data, std::size_t n, Before before) noexcept {
    const T *low = data, *pivot = data + n / 2, *high = data + n - 1;
    if (before(*high, *low)) {
        const T* const kept = low;
        low = high;
        high = kept;
    }
    pivot = before(*pivot, *low) ? low : before(*high, *pivot) ? high : pivot;
    const T middle = *pivot; // at least one other element does not come before it: it ends both scans
    for (std::size_t i = 0, j = n - 1;; ++i, --j) {
        while (before(data[i], middle)) {
            ++i;
        }
        while (before(middle, data[j])) {
            --j;
        }
        if (i >= j) {
            return j + 1;
        }
        exchange(data[i], data[j]);
    }
}

} // namespace sorting

/// Moves the k elements of data[0, n) that come first in the strict weak order `before` to the front, sorted; the
/// others follow in any order. O(n log n) at worst, about one comparison per element if k is small. Needs no memory.
/// \pre k <= n; T is trivially copyable
template <class T, class Before>
void sort_first(T* data, std::size_t n, std::size_t k, Before before, unsigned rounds = 64) noexcept {
    constexpr std::size_t few = 24;
    for (; k > few && k > n / 8 && rounds != 0; --rounds) { // quicksort, as long as it divides well
        const std::size_t middle = sorting::partition(data, n, before);
        if (k <= middle) {
            n = middle;
            continue;
        }
        sort_first(data, middle, middle, before, rounds - 1);
        data += middle;
        n -= middle;
        k -= middle;
    }
    sorting::sort_first_by_heap(data, n, k, before);
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
