// SPDX-License-Identifier: MIT
// The codes of any ternary tensor, row by row: of a layout of this library, or of another format.
#pragma once

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/i2s_tensor.hpp>
#include <bitnet/io/quoted_name.hpp>
#include <bitnet/kernel/ternary_layout.hpp>
#include <bitnet/model/hyper_parameters.hpp>
#include <bitnet/model/ternary_rows.hpp>
#include <bitnet/model/ternary_tensor.hpp>
#include <bitnet/thread/pool.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// Whether a tensor of this name is one of the matrices that are ternary: "blk.0.attn_q.weight".
[[nodiscard]] constexpr bool is_ternary_place(std::string_view name) noexcept {
    constexpr std::array<std::string_view, 7> places{".attn_q.weight",      ".attn_k.weight",   ".attn_v.weight",
                                                     ".attn_output.weight", ".ffn_gate.weight", ".ffn_up.weight",
                                                     ".ffn_down.weight"};
    return name.starts_with("blk.") &&
           std::any_of(places.begin(), places.end(), [name](std::string_view place) { return name.ends_with(place); });
}

/// The rows of a matrix in a layout of this library.
template <ternary_layout L> class layout_rows {
public:
    layout_rows(const typename L::view& codes, float scale) noexcept : codes_(codes), scale_(scale) {}

    [[nodiscard]] float scale() const noexcept { return scale_; }

    [[nodiscard]] bool read(std::size_t row, std::uint8_t* out) const noexcept {
        std::size_t col = 0;
        if constexpr (L::block_rows == 1) {
            const std::uint8_t* block = codes_.data + row * blocks_across<L>(codes_.cols) * L::block_bytes;
            for (; col + L::block_columns <= codes_.cols; col += L::block_columns, block += L::block_bytes) {
                L::unpack_block(block, out + col, codes_.cols);
            }
        }
        for (; col < codes_.cols; ++col) {
            out[col] = L::code(codes_, row, col);
        }
        std::uint8_t most = 0;
        for (std::size_t c = 0; c < codes_.cols; ++c) {
            most = std::max(most, out[c]);
        }
        return most <= 2;
    }

private:
    typename L::view codes_;
    float scale_;
};

/// What no file tells of its ternary tensors.
struct ternary_reading {
    i2s_order order = i2s_order::planar_128; ///< of I2_S tensors
    std::string_view lookup_tiling = {};     ///< the text of the kernel_config.ini that TL1 and TL2 were written with
};

/// Opens the rows of a ternary tensor of any type and gives them to f, an any_ternary_rows that lives as long as the
/// call. Masters are read once before, on the threads of `pool`.
/// \return what f returns; errc::wrong_shape where the tensor is no matrix; wrong_layout where its own layout does not
/// admit its shape; and as with_ternary_rows.
template <thread_pool_type Pool, class F>
[[nodiscard]] result<void> with_ternary_codes(const gguf_file& file, const gguf_tensor& tensor,
                                              const ternary_reading& reading, Pool& pool, F&& f) {
    const auto fail = [&](errc code, const std::string& sentence) {
        return error{code, file.name() + ": tensor " + quoted_name(tensor.name) + ": " + dims_text(tensor) + sentence};
    };
    if (tensor.rank != 2) {
        return fail(errc::wrong_shape, " in the file, a matrix expected");
    }
    result<void> done;
    const bool is_layout = with_layout_of(tensor.type, reading.order, [&]<class From>() {
        const auto scale = i2s_scale(tensor, file.name());
        if (!scale) {
            done = error{scale.error()};
        } else if (!From::admits(tensor.dims[1], tensor.dims[0])) {
            done =
                fail(errc::wrong_layout, " in the file, which layout " + std::string(From::name) + " does not admit");
        } else {
            done = f(any_ternary_rows(layout_rows<From>(codes_of<From>(tensor), *scale)));
        }
    });
    return is_layout ? std::move(done)
                     : with_ternary_rows(tensor, {file.name(), has_masters(file), reading.lookup_tiling}, pool,
                                         std::forward<F>(f));
}

/// "blk.0.attn_q.weight" -> "blk.0.attn_q.scale". \pre is_ternary_place(name)
[[nodiscard]] inline std::string scale_name(std::string_view name) {
    return std::string(name.substr(0, name.size() - std::string_view("weight").size())) + "scale";
}

/// The scale that stands in a tensor of its own beside a ternary one, which microsoft/BitNet's TL1 and TL2 always have;
/// nothing where there is none.
/// \return errc::missing_tensor, wrong_shape or bad_scale.
[[nodiscard]] inline result<std::optional<float>> find_scale(const gguf_file& file, const gguf_tensor& ternary) {
    const bool is_lookup = ternary.type == tensor_type::tl1 || ternary.type == tensor_type::tl2;
    const std::string name = is_lookup ? std::string(ternary.name) + "_scale" : scale_name(ternary.name);
    const gguf_tensor* tensor = file.find_tensor(name);
    const auto fail = [&](errc code, const std::string& sentence) {
        return error{code, file.name() + ": tensor " + quoted_name(name) + ": " + sentence};
    };
    if (tensor == nullptr) {
        return is_lookup ? result<std::optional<float>>(fail(errc::missing_tensor, "not in the file"))
                         : std::optional<float>{};
    }
    if (tensor->type != tensor_type::f32 || tensor->dims != tensor_dims{1, 1, 1, 1}) {
        return fail(errc::wrong_shape,
                    std::string(name_of(tensor->type)) + " " + dims_text(*tensor) + " in the file, F32 [1] expected");
    }
    float scale = 0;
    std::memcpy(&scale, tensor->bytes.data(), sizeof scale);
    if (!is_ternary_scale(scale)) {
        return fail(errc::bad_scale, "the scale is " + scale_text(scale) + ", it must be finite and above zero");
    }
    return std::optional(scale);
}

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

} // namespace bitnet::inline BITNET_ABI
