// SPDX-License-Identifier: MIT
// schema_items: what each item of an array has to meet.
#ifndef BITNET_CONSTRAIN_SCHEMA_ITEMS_HPP
#define BITNET_CONSTRAIN_SCHEMA_ITEMS_HPP

#include <bitnet/constrain/schema_shape.hpp>
#include <bitnet/core/config.hpp>

#include <algorithm>
#include <cstddef>

namespace bitnet::inline BITNET_ABI::detail {

/// Items that have a place of their own among the demands.
[[nodiscard]] inline std::size_t prefix_of(const schema_shape& shape) {
    std::size_t made = 0;
    for (const array_part& part : shape.arrays) {
        made = (std::max)(made, part.prefix.size());
    }
    return made;
}
/// What the item at `index` has to meet.
[[nodiscard]] inline demands demands_of_item(const schema_shape& shape, std::size_t index) {
    demands made;
    for (const array_part& part : shape.arrays) {
        if (index < part.prefix.size()) {
            made.push_back(part.prefix[index]);
        } else if (part.rest) {
            made.push_back(*part.rest);
        }
    }
    return made;
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
