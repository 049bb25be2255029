// SPDX-License-Identifier: MIT
// packed_rows: the ternary weights of Hugging Face checkpoints, four rows of a matrix to a row of bytes.
#ifndef BITNET_CHECKPOINT_PACKED_ROWS_HPP
#define BITNET_CHECKPOINT_PACKED_ROWS_HPP

#include <bitnet/core/checked.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/io/gguf_reader.hpp>

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace bitnet::inline BITNET_ABI::detail {

/// The rows of a tensor of tensor_type::hf_packed, [rows, cols], rows a multiple of 4; the scale stands beside it.
///
///     byte (p, c), p < rows / 4:   bits 2i, 2i + 1 are the code of row p + i * rows / 4 in column c
///
/// Borrows the tensor's bytes. Source: pack_weights in transformers' integrations/bitnet.py.
class packed_rows {
public:
    /// \pre tensor.type == tensor_type::hf_packed, its bytes as many as its dims need
    explicit packed_rows(const gguf_tensor& tensor) noexcept
        : data_(reinterpret_cast<const std::uint8_t*>(tensor.bytes.data())), quarter_(to_size(tensor.dims[1] / 4)),
          cols_(to_size(tensor.dims[0])) {
        assert(tensor.type == tensor_type::hf_packed && tensor.dims[1] % 4 == 0);
    }

    [[nodiscard]] float scale() const noexcept { return 1.0f; }

    /// Writes the cols codes of a row. \return false where one of them is 3. \pre row < rows
    [[nodiscard]] bool read(std::size_t row, std::uint8_t* codes) const noexcept {
        const std::uint8_t* packed = data_ + row % quarter_ * cols_;
        const auto shift = static_cast<unsigned>(2 * (row / quarter_));
        std::uint64_t bad = 0;
        std::size_t c = 0;
        for (constexpr std::size_t step = sizeof(std::uint64_t); c + step <= cols_; c += step) {
            std::uint64_t word = 0; // eight bytes, one code each: what a shift takes from the next byte is masked
            std::memcpy(&word, packed + c, step);
            word = (word >> shift) & 0x0303030303030303u;
            bad |= word & (word >> 1);
            std::memcpy(codes + c, &word, step);
        }
        for (; c < cols_; ++c) {
            codes[c] = static_cast<std::uint8_t>((packed[c] >> shift) & 3u);
            bad |= codes[c] & (codes[c] >> 1u);
        }
        return (bad & 0x0101010101010101u) == 0;
    }

private:
    const std::uint8_t* data_;
    std::size_t quarter_;
    std::size_t cols_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
