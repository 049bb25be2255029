// SPDX-License-Identifier: MIT
// TL1 and TL2 tensors made as the converter of microsoft/BitNet makes them: by reshaping and swapping axes of arrays.
#pragma once

#include "ternary_encoders.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <numeric>
#include <vector>

namespace bitnet_tests {

/// An array of any number of axes, the last one fastest.
class axes_array {
public:
    axes_array(std::vector<std::size_t> shape, std::vector<unsigned> values)
        : shape_(std::move(shape)), values_(std::move(values)) {
        REQUIRE(product(shape_) == values_.size());
    }
    [[nodiscard]] axes_array reshape(std::vector<std::size_t> shape) const { return {std::move(shape), values_}; }
    /// Exchanges two neighbouring axes, `axis` and the one after it.
    [[nodiscard]] axes_array swap(std::size_t axis) const {
        const std::size_t inner = product({shape_.begin() + static_cast<std::ptrdiff_t>(axis) + 2, shape_.end()});
        const std::size_t a = shape_[axis];
        const std::size_t b = shape_[axis + 1];
        axes_array made = *this;
        std::swap(made.shape_[axis], made.shape_[axis + 1]);
        for (std::size_t i = 0; i < values_.size(); ++i) {
            const std::size_t in = i % inner;
            const std::size_t y = i / inner % b;
            const std::size_t x = i / inner / b % a;
            const std::size_t out = i / inner / b / a;
            made.values_[((out * b + y) * a + x) * inner + in] = values_[i];
        }
        return made;
    }
    [[nodiscard]] const std::vector<unsigned>& values() const { return values_; }

private:
    [[nodiscard]] static std::size_t product(const std::vector<std::size_t>& shape) {
        return std::accumulate(shape.begin(), shape.end(), std::size_t{1}, std::multiplies<>());
    }
    std::vector<std::size_t> shape_;
    std::vector<unsigned> values_;
};

/// Tile sizes by their names in kernel_config.ini.
struct tile_sizes {
    std::size_t bm, bk, bmm;
};

/// [rows, cols] weights as [rows / bm, cols / bk, bm / bmm, bk / by, bmm, by / width], of which `width` make one value.
[[nodiscard]] inline axes_array tiled(const std::vector<unsigned>& values, std::size_t rows, std::size_t cols,
                                      tile_sizes t, std::size_t by, std::size_t width) {
    const std::size_t m = rows / t.bm;
    const std::size_t k = cols / t.bk;
    return axes_array({m, t.bm, cols / width}, values)
        .swap(1)
        .reshape({m, k, t.bk / width, t.bm})
        .swap(2)
        .reshape({m, k, t.bm / t.bmm, t.bmm, t.bk / width})
        .swap(3)
        .reshape({m, k, t.bm / t.bmm, t.bk / by, by / width, t.bmm})
        .swap(4);
}

/// 3 c0 + c1 for the columns [first, first + count) of every row.
[[nodiscard]] inline std::vector<unsigned> pairs_of(const code_matrix& m, std::size_t first, std::size_t count) {
    std::vector<unsigned> pairs;
    for (std::size_t row = 0; row < m.rows; ++row) {
        for (std::size_t col = first; col < first + count; col += 2) {
            pairs.push_back(3 * m.at(row, col) + m.at(row, col + 1));
        }
    }
    return pairs;
}

/// Two values to a byte, the first one in the high nibble.
inline void append_nibbles(std::vector<std::byte>& out, const std::vector<unsigned>& values) {
    for (std::size_t i = 0; i < values.size(); i += 2) {
        out.push_back(static_cast<std::byte>(values[i] << 4 | values[i + 1]));
    }
}

[[nodiscard]] inline std::vector<std::byte> encode_tl1(const code_matrix& m, tile_sizes t) {
    const std::size_t by = 256 / t.bmm;
    const std::vector<std::size_t> outer{m.rows / t.bm, m.cols / t.bk, t.bm / t.bmm, t.bk / by};
    const auto shaped = [&](std::vector<std::size_t> inner) {
        inner.insert(inner.begin(), outer.begin(), outer.end());
        return inner;
    };
    const auto order = tiled(pairs_of(m, 0, m.cols), m.rows, m.cols, t, by, 2)
                           .reshape(shaped({t.bmm / 16, 16, by / 2}))
                           .swap(5)
                           .reshape(shaped({t.bmm / 16, by / 4, 2, 16}))
                           .swap(6);
    std::vector<std::byte> out;
    append_nibbles(out, order.values());
    return out;
}

/// Of every 32 bytes the second and third eight change places.
inline void append_shuffled(std::vector<std::byte>& out, const std::vector<unsigned>& values) {
    std::vector<std::byte> bytes;
    append_nibbles(bytes, values);
    for (std::size_t i = 0; i < bytes.size(); i += 32) {
        std::swap_ranges(bytes.begin() + static_cast<std::ptrdiff_t>(i) + 8,
                         bytes.begin() + static_cast<std::ptrdiff_t>(i) + 16,
                         bytes.begin() + static_cast<std::ptrdiff_t>(i) + 16);
    }
    out.insert(out.end(), bytes.begin(), bytes.end());
}

/// \pre t.bmm is 32: the format has no other
[[nodiscard]] inline std::vector<std::byte> encode_tl2(const code_matrix& m, tile_sizes t) {
    const std::size_t by = 192 / t.bmm; // 6
    const std::size_t in_triples = m.cols - m.cols % t.bk;
    std::vector<unsigned> magnitudes;
    std::vector<unsigned> signs;
    for (std::size_t row = 0; row < m.rows; ++row) {
        for (std::size_t col = 0; col < in_triples; col += 3) {
            const int value = 9 * (static_cast<int>(m.at(row, col)) - 1) +
                              3 * (static_cast<int>(m.at(row, col + 1)) - 1) +
                              (static_cast<int>(m.at(row, col + 2)) - 1);
            magnitudes.push_back(static_cast<unsigned>(std::abs(value)));
            signs.push_back(value < 0 ? 1 : 0);
        }
    }
    std::vector<std::byte> out;
    append_shuffled(out, tiled(magnitudes, m.rows, in_triples, t, by, 3).values());
    // The signs of eight triples and 32 rows, [8, 32] read as [16, 16]: sixteen bits of each of sixteen numbers.
    const auto order = tiled(signs, m.rows, in_triples, t, 4 * by, 3).swap(4).values();
    for (std::size_t i = 0; i < order.size(); i += 256) {
        for (std::size_t lane = 0; lane < 16; ++lane) {
            unsigned bits = 0;
            for (std::size_t bit = 0; bit < 16; ++bit) {
                bits |= order[i + bit * 16 + lane] << (15 - bit);
            }
            out.push_back(static_cast<std::byte>(bits & 255u));
            out.push_back(static_cast<std::byte>(bits >> 8));
        }
    }
    const std::size_t rest = m.cols - in_triples;
    if (rest != 0) {
        append_shuffled(out, tiled(pairs_of(m, in_triples, rest), m.rows, rest, {t.bm, 32, 32}, 4, 2).values());
    }
    out.resize((m.cols - 256) * m.rows / 3 * 5 / 8 + 256 * m.rows / 2 * 4 / 8);
    return out;
}

} // namespace bitnet_tests
