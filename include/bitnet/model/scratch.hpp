// SPDX-License-Identifier: MIT
// scratch: the working memory of one forward pass. Belongs to a session, never to the model.
#pragma once

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/model/hyper_parameters.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// Rows of int8 activations with their scales and sums: the input of every ternary product. [rows, cols]
struct quantized_rows {
    buffer<std::int8_t> values;
    buffer<float> scales;      ///< [rows]; value = int8 / scale
    buffer<std::int32_t> sums; ///< [rows]
    std::size_t stride = 0;    ///< int8 values from row to row
    std::size_t used_rows = 0; ///< of this pass

    [[nodiscard]] std::int8_t* row(std::size_t r) noexcept { return values.data() + r * stride; }
    [[nodiscard]] activation_view view(std::size_t first, std::size_t count) const noexcept {
        return {values.data() + first * stride, sums.data() + first, stride, count};
    }
};

/// Buffers for up to max_rows() rows, allocated once; nothing allocates after open().
class scratch {
public:
    scratch() noexcept = default;

    /// \pre max_rows > 0. \return errc::out_of_memory with the bytes asked for.
    [[nodiscard]] static result<scratch> open(const hyper_parameters& model, std::size_t max_rows) {
        scratch made;
        made.max_rows_ = max_rows;
        const std::size_t widest = std::max({model.hidden, model.query_columns(), model.feed_forward});
        error failure;
        const auto floats = [&](buffer<float>& into, std::size_t cols) { allocate(into, max_rows * cols, failure); };
        floats(made.residual_, model.hidden);
        floats(made.normed_, widest);
        floats(made.query_, model.query_columns());
        floats(made.key_, model.kv_columns());
        floats(made.value_, model.kv_columns());
        floats(made.attended_, model.query_columns());
        floats(made.gated_, model.feed_forward);
        floats(made.cosines_, model.head_size / 2);
        floats(made.sines_, model.head_size / 2);
        floats(made.quantized.scales, 1);
        allocate(made.quantized.sums, max_rows, failure);
        made.quantized.stride = (widest + 63) / 64 * 64;
        allocate(made.quantized.values, max_rows * made.quantized.stride, failure);
        if (failure.code != errc{}) {
            return failure;
        }
        return made;
    }

    [[nodiscard]] std::size_t max_rows() const noexcept { return max_rows_; }

    /// [max_rows(), cols] each; which columns a buffer has is said at open().
    [[nodiscard]] float* residual() noexcept { return residual_.data(); }
    [[nodiscard]] float* normed() noexcept { return normed_.data(); }
    [[nodiscard]] float* query() noexcept { return query_.data(); }
    [[nodiscard]] float* key() noexcept { return key_.data(); }
    [[nodiscard]] float* value() noexcept { return value_.data(); }
    [[nodiscard]] float* attended() noexcept { return attended_.data(); }
    [[nodiscard]] float* gated() noexcept { return gated_.data(); }
    [[nodiscard]] float* cosines() noexcept { return cosines_.data(); }
    [[nodiscard]] float* sines() noexcept { return sines_.data(); }

    quantized_rows quantized;

private:
    template <class T> static void allocate(buffer<T>& into, std::size_t size, error& failure) {
        auto made = buffer<T>::allocate(size, "scratch");
        if (made) {
            into = *std::move(made);
        } else if (failure.code == errc{}) {
            failure = std::move(made).error();
        }
    }

    std::size_t max_rows_ = 0;
    buffer<float> residual_;
    buffer<float> normed_;
    buffer<float> query_;
    buffer<float> key_;
    buffer<float> value_;
    buffer<float> attended_;
    buffer<float> gated_;
    buffer<float> cosines_;
    buffer<float> sines_;
};

} // namespace bitnet::inline BITNET_ABI
