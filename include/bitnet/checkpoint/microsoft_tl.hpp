// SPDX-License-Identifier: MIT
// microsoft_tl1_rows and microsoft_tl2_rows: the rows of tensors in the lookup formats of microsoft/BitNet, whose
// tiling a caller supplies.
#ifndef BITNET_CHECKPOINT_MICROSOFT_TL_HPP
#define BITNET_CHECKPOINT_MICROSOFT_TL_HPP

#include <bitnet/checkpoint/microsoft_tl_tiling.hpp>
#include <bitnet/core/checked.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/quoted_name.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// What both formats have in common: a matrix cut into tiles of bm rows and bk columns, those into stripes of 32, 64..
/// rows, and a tile's stripes one after the other. The scale stands in a tensor of its own, `<name>.weight_scale`.
struct microsoft_tl_matrix {
    const std::uint8_t* data = nullptr;
    std::size_t rows = 0;
    std::size_t cols = 0;
    microsoft_tl_tiling tiling;

    /// Finds the tiling of a tensor in `ini`. \return errc::wrong_layout where there is none.
    [[nodiscard]] static result<microsoft_tl_matrix> open(const gguf_tensor& tensor, std::string_view file,
                                                          std::string_view ini) {
        const std::string place = std::string(file) + ": tensor " + quoted_name(tensor.name) + ": ";
        if (ini.empty()) {
            return error{errc::wrong_layout, place + "type " + std::string(name_of(tensor.type)) +
                                                 " of microsoft/BitNet: its tile sizes are not in the file. They stand "
                                                 "in the kernel_config.ini that it was written with: give its text as "
                                                 "open_options::microsoft_tl_tiling"};
        }
        microsoft_tl_matrix made{reinterpret_cast<const std::uint8_t*>(tensor.bytes.data()),
                                 to_size(tensor.dims[1]),
                                 to_size(tensor.dims[0]),
                                 {}};
        const auto tiling = microsoft_tl_tiling::find(ini, made.rows, made.cols);
        if (!tiling) {
            return tiling.error();
        }
        if (!*tiling) {
            return error{errc::wrong_layout, place + dims_text(tensor) +
                                                 " in the file, and kernel_config.ini has no section with k = " +
                                                 std::to_string(made.cols) + " and m = " + std::to_string(made.rows)};
        }
        made.tiling = **tiling;
        return made;
    }

    /// Where the parts of a row are in a region that has `columns` columns in tiles of `tile_columns`, with stripes of
    /// `stripe` rows, `bytes` bytes for each tile and stripe. Calls part(first column of the region, where it begins).
    template <class Part>
    void for_each_tile(std::size_t row, std::size_t columns, std::size_t tile_columns, std::size_t stripe,
                       std::size_t bytes, Part&& part) const noexcept {
        const std::size_t across = columns / tile_columns;
        const std::size_t stripes = tiling.bm / stripe;
        for (std::size_t tile = 0; tile < across; ++tile) {
            const std::size_t at = (row / tiling.bm * across + tile) * stripes + row % tiling.bm / stripe;
            part(tile * tile_columns, at * bytes);
        }
    }

    [[nodiscard]] error does_not_fit(const gguf_tensor& tensor, std::string_view file, std::string_view rule) const {
        return error{errc::wrong_layout, std::string(file) + ": tensor " + quoted_name(tensor.name) + ": " +
                                             dims_text(tensor) + " as " + std::string(name_of(tensor.type)) +
                                             " with bm = " + std::to_string(tiling.bm) +
                                             ", bk = " + std::to_string(tiling.bk) +
                                             ", bmm = " + std::to_string(tiling.bmm) + ": " + std::string(rule)};
    }

    /// Two codes from an index 3 * c0 + c1. \return whether it is one, 0 to 8
    [[nodiscard]] static bool unpack_pair(unsigned index, std::uint8_t* codes) noexcept {
        codes[0] = static_cast<std::uint8_t>(index / 3);
        codes[1] = static_cast<std::uint8_t>(index % 3);
        return index <= 8;
    }
};

/// TL1 as convert-hf-to-gguf-bitnet.py of microsoft/BitNet writes it. Pairs of columns are indices 3 * c0 + c1. A
/// tile's stripes are bmm rows high and cut into groups of by = 256 / bmm columns, 64 bytes each:
///
///   byte 16 * (r / 16 * (by / 4) + p) + r % 16 of row r and columns 4p .. 4p + 3 of the group
///   bits 7:4 columns 4p, 4p + 1    bits 3:0 columns 4p + 2, 4p + 3
///
/// Every byte lies inside rows * cols / 4: tiles cover the matrix once. Borrows the tensor's bytes.
class microsoft_tl1_rows {
public:
    /// \return errc::wrong_layout where `ini` has no tiling for the shape, or one that does not divide it.
    [[nodiscard]] static result<microsoft_tl1_rows> open(const gguf_tensor& tensor, std::string_view file,
                                                         std::string_view ini) {
        const auto matrix = microsoft_tl_matrix::open(tensor, file, ini);
        if (!matrix) {
            return matrix.error();
        }
        const microsoft_tl_tiling& t = matrix->tiling;
        const bool fits = (t.bmm == 16 || t.bmm == 32 || t.bmm == 64) && t.bm != 0 && t.bm % t.bmm == 0 &&
                          t.m % t.bm == 0 && t.bk != 0 && t.bk % (256 / t.bmm) == 0 && t.k % t.bk == 0;
        if (!fits) {
            return matrix->does_not_fit(tensor, file,
                                        "bmm must be 16, 32 or 64, bm a multiple of it that divides the rows, and bk a "
                                        "multiple of 256 / bmm that divides the columns");
        }
        return microsoft_tl1_rows(*matrix);
    }

    [[nodiscard]] float scale() const noexcept { return 1.0f; }

    [[nodiscard]] bool read(std::size_t row, std::uint8_t* codes) const noexcept {
        const std::size_t bk = matrix_.tiling.bk;
        const std::size_t bmm = matrix_.tiling.bmm;
        const std::size_t group = 256 / bmm;
        const std::size_t r = row % bmm;
        bool good = true;
        matrix_.for_each_tile(
            row, matrix_.cols, bk, bmm, bk * bmm / 4, [&](std::size_t first, std::size_t at) noexcept {
                for (std::size_t c = 0; c < bk; c += 4) {
                    const std::size_t sixteen = r / 16 * (group / 4) + c % group / 4;
                    const unsigned pairs = matrix_.data[at + c / group * 64 + sixteen * 16 + r % 16];
                    good = microsoft_tl_matrix::unpack_pair(pairs >> 4, codes + first + c) && good;
                    good = microsoft_tl_matrix::unpack_pair(pairs & 15u, codes + first + c + 2) && good;
                }
            });
        return good;
    }
    [[nodiscard]] error fault(std::size_t) const {
        return {errc::bad_code, "holds an index above 8, which TL1 has not"};
    }

private:
    explicit microsoft_tl1_rows(const microsoft_tl_matrix& matrix) noexcept : matrix_(matrix) {}

    microsoft_tl_matrix matrix_;
};

/// TL2 as convert-hf-to-gguf-bitnet.py of microsoft/BitNet writes it. The columns that whole tiles of bk cover are
/// triples: v = 9 w0 + 3 w1 + w2, stored as |v| in four bits and v < 0 in one. The rest are pairs 3 * c0 + c1, in tiles
/// of 32 columns. Stripes are 32 rows high. Three regions, one after the other:
///
///   |v|     32 bytes for each 6 columns of a stripe:  bits 7:4 columns 0 .. 2, bits 3:0 columns 3 .. 5
///   v < 0   32 bytes for each 24 columns of a stripe: bit 15 - (2t + r / 16) of the u16 r % 16 for triple t
///   pairs   32 bytes for each 4 columns of a stripe:  bits 7:4 columns 0 and 1, bits 3:0 columns 2 and 3
///
/// Byte j of the first and third belongs to row j, but rows 8 .. 15 and 16 .. 23 have changed places. Of `a` columns in
/// triples and `b` in pairs a row takes 5a / 24 + b / 4 bytes, which b <= 256 keeps within what the format counts for a
/// tensor: 5(a + b - 256) / 24 + 64. Borrows the tensor's bytes.
class microsoft_tl2_rows {
public:
    /// \return errc::wrong_layout where `ini` has no tiling for the shape, or one that does not fit it.
    [[nodiscard]] static result<microsoft_tl2_rows> open(const gguf_tensor& tensor, std::string_view file,
                                                         std::string_view ini) {
        const auto matrix = microsoft_tl_matrix::open(tensor, file, ini);
        if (!matrix) {
            return matrix.error();
        }
        const microsoft_tl_tiling& t = matrix->tiling;
        const bool fits = t.bmm == 32 && t.bm != 0 && t.bm % 32 == 0 && t.m % t.bm == 0 && t.bk != 0 &&
                          t.bk % 24 == 0 && t.k % t.bk % 32 == 0 && t.k % t.bk <= 256;
        if (!fits) {
            return matrix->does_not_fit(tensor, file,
                                        "bmm must be 32, bm a multiple of it that divides the rows, and bk a multiple "
                                        "of 24 that leaves a multiple of 32 and at most 256 of the columns");
        }
        return microsoft_tl2_rows(*matrix);
    }

    [[nodiscard]] float scale() const noexcept { return 1.0f; }

    [[nodiscard]] bool read(std::size_t row, std::uint8_t* codes) const noexcept {
        const std::size_t bk = matrix_.tiling.bk;
        const std::size_t in_triples = matrix_.cols - matrix_.cols % bk;
        const std::size_t r = row % 32;
        const std::size_t place = (r & 7u) | (r & 8u) << 1 | (r & 16u) >> 1; // of its byte
        const std::uint8_t* const signs = matrix_.data + matrix_.rows * in_triples / 6;
        const std::uint8_t* const pairs = signs + matrix_.rows * in_triples / 24;
        bool good = true;
        matrix_.for_each_tile(row, in_triples, bk, 32, bk * 32 / 6, [&](std::size_t first, std::size_t at) noexcept {
            for (std::size_t c = 0; c < bk; c += 6) {
                const unsigned two = matrix_.data[at + c / 6 * 32 + place];
                const std::uint8_t* u16s = signs + at / 4 + c / 24 * 32 + r % 16 * 2;
                const unsigned bits = static_cast<unsigned>(u16s[0] | u16s[1] << 8) >> (r < 16 ? 1 : 0);
                const std::size_t shift = 14 - c % 24 / 3 * 2;
                good = unpack_triple(two >> 4, bits >> shift, codes + first + c) && good;
                good = unpack_triple(two & 15u, bits >> (shift - 2), codes + first + c + 3) && good;
            }
        });
        const auto read_pairs = [&](std::size_t first, std::size_t at) noexcept {
            for (std::size_t c = 0; c < 32; c += 4) {
                const unsigned two = pairs[at + c / 4 * 32 + place];
                good = microsoft_tl_matrix::unpack_pair(two >> 4, codes + in_triples + first + c) && good;
                good = microsoft_tl_matrix::unpack_pair(two & 15u, codes + in_triples + first + c + 2) && good;
            }
        };
        matrix_.for_each_tile(row, matrix_.cols - in_triples, 32, 32, 256, read_pairs);
        return good;
    }
    [[nodiscard]] error fault(std::size_t) const {
        return {errc::bad_code, "holds an index above 13 of three weights or above 8 of two, which TL2 has not"};
    }

private:
    explicit microsoft_tl2_rows(const microsoft_tl_matrix& matrix) noexcept : matrix_(matrix) {}

    /// Three codes from |v| and, in the lowest bit, v < 0. \return whether |v| is at most 13
    [[nodiscard]] static bool unpack_triple(unsigned magnitude, unsigned negative, std::uint8_t* codes) noexcept {
        const unsigned value = (negative & 1u) != 0 ? 13u - magnitude : 13u + magnitude; // 9 c0 + 3 c1 + c2
        codes[0] = static_cast<std::uint8_t>(value / 9 % 3);
        codes[1] = static_cast<std::uint8_t>(value / 3 % 3);
        codes[2] = static_cast<std::uint8_t>(value % 3);
        return magnitude <= 13;
    }

    microsoft_tl_matrix matrix_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
