// SPDX-License-Identifier: MIT
// The order of rows in which a GGUF file of architecture llama has the query and key matrices of a checkpoint.
#ifndef BITNET_CONVERT_PERMUTED_ROWS_HPP
#define BITNET_CONVERT_PERMUTED_ROWS_HPP

#include <bitnet/checkpoint/hyper_parameters.hpp>
#include <bitnet/checkpoint/layout_for.hpp>
#include <bitnet/checkpoint/ternary_rows.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/io/gguf_types.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// Whether a tensor of this name is the scale of a ternary one.
[[nodiscard]] inline bool is_scale_of_ternary(std::string_view name) {
    const auto belongs = [name](std::string_view ending) {
        return name.ends_with(ending) &&
               is_ternary_place(std::string(name.substr(0, name.size() - ending.size())) + ".weight");
    };
    return belongs(".scale") || belongs(".weight_scale");
}

/// In which order a checkpoint has the rows of a query or key matrix that a GGUF file of architecture llama permutes:
/// there, rows 2k and 2k + 1 of a head are turned together, here k and k + head_size / 2.
struct permuted_rows {
    std::size_t head_size = 0; ///< 0: rows are where they are

    /// The row of the checkpoint that is row `row` of the GGUF file.
    [[nodiscard]] std::size_t operator[](std::size_t row) const noexcept {
        if (head_size == 0) {
            return row;
        }
        const std::size_t in_head = row % head_size;
        return row - in_head + in_head / 2 + in_head % 2 * (head_size / 2);
    }

    /// For a tensor of a model with these parameters.
    [[nodiscard]] static permuted_rows of(const hyper_parameters& model, const gguf_tensor& tensor) noexcept {
        const bool turns = tensor.name.ends_with(".attn_q.weight") || tensor.name.ends_with(".attn_k.weight");
        return {model.keeps_row_order && turns ? model.head_size : 0};
    }
};

/// Rows in another order. Borrows them.
class reordered_rows {
public:
    reordered_rows(const any_ternary_rows& rows, permuted_rows order) noexcept : rows_(rows), order_(order) {}

    [[nodiscard]] float scale() const noexcept { return rows_.scale(); }
    [[nodiscard]] bool read(std::size_t row, std::uint8_t* codes) const noexcept {
        return rows_.read(order_[row], codes);
    }
    [[nodiscard]] error fault(std::size_t row) const { return rows_.fault(order_[row]); }

private:
    const any_ternary_rows& rows_;
    permuted_rows order_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
