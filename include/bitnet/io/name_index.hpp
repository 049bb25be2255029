// SPDX-License-Identifier: MIT
// name_index: finds things by name in O(log n), and notices a name that occurs twice.
#ifndef BITNET_IO_NAME_INDEX_HPP
#define BITNET_IO_NAME_INDEX_HPP

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sort_first.hpp>

#include <cstddef>
#include <span>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// Fills `order` with 0, 1, ... and sorts it by `compare`, which is below, at or above zero as
/// std::string_view::compare; equal elements by their index. Not a template: sorting costs more to compile than to run.
inline void sort_indices(std::span<std::size_t> order, const void* elements,
                         int (*compare)(const void* elements, std::size_t a, std::size_t b) noexcept) {
    for (std::size_t i = 0; i < order.size(); ++i) {
        order[i] = i;
    }
    const auto before = [=](std::size_t a, std::size_t b) noexcept {
        const int order_of_two = compare(elements, a, b);
        return order_of_two != 0 ? order_of_two < 0 : a < b;
    };
    sort_first(order.data(), order.size(), order.size(), before);
}

/// The names of the elements of an array, whatever else they hold. Borrows the array.
struct name_list {
    const void* elements;
    std::size_t size;
    std::string_view (*name_at)(const void* elements, std::size_t i) noexcept;

    [[nodiscard]] std::string_view operator[](std::size_t i) const noexcept { return name_at(elements, i); }
};

/// The list whose names are a member of the elements: list_of_names<&gguf_tensor::name>(tensors).
template <auto Name, class T> [[nodiscard]] name_list list_of_names(const buffer<T>& elements) noexcept {
    return {elements.data(), elements.size(),
            [](const void* first, std::size_t i) noexcept { return static_cast<const T*>(first)[i].*Name; }};
}

/// The indices of an array, sorted by the names of its elements. Does not keep the array, which may move: each call
/// gets its names.
class name_index {
public:
    static constexpr std::size_t none = static_cast<std::size_t>(-1);

    /// Sorts. Out of memory is reported in `failure`. \return whether it worked.
    [[nodiscard]] bool build(name_list names, std::string_view what, error& failure, const memory_from& from = {}) {
        allocate(sorted_, names.size, what, failure, from);
        if (failure.code != errc{}) {
            return false;
        }
        sort_indices(sorted_.span(), &names, [](const void* list, std::size_t a, std::size_t b) noexcept {
            const auto& all = *static_cast<const name_list*>(list);
            return all[a].compare(all[b]);
        });
        return true;
    }

    /// The index of the element called `wanted`, or none. \pre built from these names
    [[nodiscard]] std::size_t find(name_list names, std::string_view wanted) const noexcept {
        std::size_t first = 0; // names before it come before `wanted`, those from `last` on do not
        std::size_t last = sorted_.size();
        while (first < last) {
            const std::size_t middle = first + (last - first) / 2;
            if (names[sorted_[middle]] < wanted) {
                first = middle + 1;
            } else {
                last = middle;
            }
        }
        return first < sorted_.size() && names[sorted_[first]] == wanted ? sorted_[first] : none;
    }

    /// Two elements of the same name, the earlier first; {none, none} if all names differ. \pre as find()
    [[nodiscard]] std::pair<std::size_t, std::size_t> duplicates(name_list names) const noexcept {
        for (std::size_t i = 1; i < sorted_.size(); ++i) {
            if (names[sorted_[i - 1]] == names[sorted_[i]]) {
                return {sorted_[i - 1], sorted_[i]};
            }
        }
        return {none, none};
    }

private:
    buffer<std::size_t> sorted_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
