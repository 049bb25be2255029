// SPDX-License-Identifier: MIT
// Ternary tensors of a file: the layout or format they lie in, their codes, and their conversion to another layout.
#pragma once

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/i2s_tensor.hpp>
#include <bitnet/io/quoted_name.hpp>
#include <bitnet/kernel/dense.hpp>
#include <bitnet/kernel/iq1_bn.hpp>
#include <bitnet/kernel/iq2_bn.hpp>
#include <bitnet/kernel/ternary_layout.hpp>
#include <bitnet/kernel/tl1.hpp>
#include <bitnet/kernel/tl2.hpp>
#include <bitnet/kernel/tq1_0.hpp>
#include <bitnet/kernel/tq2_0.hpp>
#include <bitnet/model/format_rows.hpp>
#include <bitnet/model/lookup_rows.hpp>
#include <bitnet/model/master_rows.hpp>
#include <bitnet/model/packed_rows.hpp>
#include <bitnet/model/ternary_rows.hpp>
#include <bitnet/thread/pool.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// The type of tensors in layout `L` in a file.
template <ternary_layout L> inline constexpr tensor_type file_type = tensor_type::i2_s;
template <> inline constexpr tensor_type file_type<dense> = tensor_type::hpp_dense;
template <> inline constexpr tensor_type file_type<tl1> = tensor_type::hpp_tl1;
template <> inline constexpr tensor_type file_type<tl2> = tensor_type::hpp_tl2;

/// Calls f.operator()<L>() for the layout L that tensors of `type` lie in; `order` tells which I2_S it is.
/// \return whether the type is a ternary one that can be read.
template <class F> bool with_layout_of(tensor_type type, i2s_order order, F&& f) {
    switch (type) {
    case tensor_type::i2_s:
        if (order == i2s_order::planar_128) {
            f.template operator()<i2s>();
        } else if (order == i2s_order::planar_64) {
            f.template operator()<i2s_b>();
        } else {
            f.template operator()<i2s_c>();
        }
        return true;
    case tensor_type::hpp_dense:
        f.template operator()<dense>();
        return true;
    case tensor_type::hpp_tl1:
        f.template operator()<tl1>();
        return true;
    case tensor_type::hpp_tl2:
        f.template operator()<tl2>();
        return true;
    default:
        return false;
    }
}

/// What the reading of ternary rows depends on besides the tensor.
struct row_options {
    std::string_view file;               ///< what error messages call it
    bool masters = false;                ///< whether weights in floating point are ternarised: see has_masters
    std::string_view lookup_tiling = {}; ///< the text of the kernel_config.ini that TL1 and TL2 were written with
};

/// Whether a file's weights in floating point are the masters of ternary ones, to be ternarised as in training: those
/// of a bitnet architecture, and those that the metadata calls so. Others are read if they are ternary as they stand.
[[nodiscard]] inline bool has_masters(const gguf_file& file) {
    const auto architecture = file.get_or<std::string_view>("general.architecture", "");
    const auto said = file.get_or<bool>("bitnet_hpp.masters", false);
    return (architecture && architecture->starts_with("bitnet")) || (said && *said);
}

/// Opens the rows of a tensor that is in no layout of ours and gives them to f, an any_ternary_rows that lives as long
/// as the call. Masters are read once before, on the threads of `pool`.
/// \pre the tensor is a matrix, [cols, rows]
/// \return what f returns; errc::unsupported_type, wrong_layout, bad_scale or out_of_memory, naming the file and the
/// tensor.
template <thread_pool_type Pool, class F>
[[nodiscard]] result<void> with_ternary_rows(const gguf_tensor& tensor, const row_options& options, Pool& pool, F&& f) {
    const auto give = [&](const auto& opened) -> result<void> {
        return opened ? f(any_ternary_rows(*opened)) : result<void>(opened.error());
    };
    const auto masters = [&]<class E>() {
        return give(master_rows<E>::open(tensor, options.file, options.masters, pool));
    };
    switch (tensor.type) {
    case tensor_type::tq1_0:
        return give(format_rows<tq1_0>::open(tensor, options.file));
    case tensor_type::tq2_0:
        return give(format_rows<tq2_0>::open(tensor, options.file));
    case tensor_type::iq1_bn:
        return give(format_rows<iq1_bn>::open(tensor, options.file));
    case tensor_type::iq2_bn:
        return give(format_rows<iq2_bn>::open(tensor, options.file));
    case tensor_type::iq2_bn_r4:
        return give(format_rows<iq2_bn_r4>::open(tensor, options.file));
    case tensor_type::hf_packed:
        return give(result<packed_rows>(packed_rows(tensor)));
    case tensor_type::tl1:
        return give(tl1_rows::open(tensor, options.file, options.lookup_tiling));
    case tensor_type::tl2:
        return give(tl2_rows::open(tensor, options.file, options.lookup_tiling));
    case tensor_type::f32:
        return masters.template operator()<float>();
    case tensor_type::f16:
        return masters.template operator()<half>();
    case tensor_type::bf16:
        return masters.template operator()<bfloat16>();
    default:
        return error{errc::unsupported_type, std::string(options.file) + ": tensor " + quoted_name(tensor.name) +
                                                 ": type " + std::string(name_of(tensor.type)) +
                                                 " in the file, a ternary one expected: I2_S, TQ1_0, TQ2_0, IQ1_BN, " +
                                                 "IQ2_BN, TL1, TL2, or F32, F16, BF16 masters"};
    }
}

/// The codes of a tensor in layout `L`, in place. \pre file_type<L> == tensor.type, L::admits its shape
template <ternary_layout L> [[nodiscard]] typename L::view codes_of(const gguf_tensor& tensor) noexcept {
    return {reinterpret_cast<const std::uint8_t*>(tensor.bytes.data()), static_cast<std::size_t>(tensor.dims[1]),
            static_cast<std::size_t>(tensor.dims[0])};
}

/// Whether rows [first, first + count) hold codes 0, 1 and 2 only. \pre they are whole blocks, or end the matrix
template <ternary_layout L>
[[nodiscard]] bool are_ternary(const typename L::view& w, std::size_t first, std::size_t count) noexcept {
    const std::size_t across = blocks_across<L>(w.cols);
    const std::uint8_t* begin = w.data + first / L::block_rows * across * L::block_bytes;
    const std::uint8_t* end = begin + blocks_down<L>(count) * across * L::block_bytes;
    for (; begin != end; begin += L::block_bytes) {
        if (!L::is_ternary(begin)) {
            return false;
        }
    }
    return true;
}

/// Whether all codes of a tensor are ternary. Reads the whole tensor. \pre as codes_of
/// \return errc::bad_code, naming the first place that is not.
template <ternary_layout L> [[nodiscard]] result<void> check_codes(const gguf_tensor& tensor, std::string_view file) {
    if constexpr (file_type<L> == tensor_type::i2_s) {
        return check_i2s_codes(tensor, file);
    } else {
        const auto codes = codes_of<L>(tensor);
        for (std::size_t row = 0; row < codes.rows; row += L::block_rows) {
            if (!are_ternary<L>(codes, row, std::min(L::block_rows, codes.rows - row))) {
                return error{errc::bad_code, std::string(file) + ": tensor " + quoted_name(tensor.name) + ": row " +
                                                 std::to_string(row) + " of its " + std::to_string(codes.rows) +
                                                 " rows, or one that shares its blocks, holds an index that layout " +
                                                 std::string(L::name) + " does not have"};
            }
        }
        return {};
    }
}

/// Writes the codes of `tensor`, which lies in layout `From`, to `out` in layout `To`, on the threads of `pool`. Reads
/// the tensor once. \pre both layouts admit its shape; `out` holds layout_bytes<To> of it
/// \return errc::bad_code, naming the tensor and the place of a code 3
template <ternary_layout To, ternary_layout From, thread_pool_type Pool>
[[nodiscard]] result<void> repack_tensor(Pool& pool, const gguf_tensor& tensor, std::string_view file,
                                         std::uint8_t* out) {
    constexpr std::size_t task_rows = 64; // tens of KiB: checked, they are still in a near cache when repacked
    static_assert(task_rows % repacked_rows<To, From> == 0);
    const auto from = codes_of<From>(tensor);
    std::atomic<bool> all_ternary{true};
    parallel_for(pool, (from.rows + task_rows - 1) / task_rows, [&](std::size_t task) noexcept {
        const std::size_t first = task * task_rows;
        const std::size_t count = std::min(task_rows, from.rows - first);
        if (are_ternary<From>(from, first, count)) {
            repack_rows<To, From>(from, first, count, out);
        } else {
            all_ternary.store(false, std::memory_order_relaxed);
        }
    });
    return all_ternary.load(std::memory_order_relaxed) ? result<void>{} : check_codes<From>(tensor, file);
}

} // namespace bitnet::inline BITNET_ABI
