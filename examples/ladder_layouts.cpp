// SPDX-License-Identifier: MIT
// The run-time ladder in the layouts beside I2_S: a source of its own, because each costs as much to compile as I2_S.
#include "ladder_layouts.hpp"

#include <bitnet/convert/ternary_codes.hpp>
#include <bitnet/run/dispatch.hpp>

#include <algorithm>
#include <string>
#include <utility>

namespace tools {

std::string_view layout_for(const bitnet::gguf_file& file) {
    const auto type = bitnet::layout_of(file);
    if (type && *type == bitnet::file_type<bitnet::tl1>) {
        return bitnet::tl1::name;
    }
    if (type && *type == bitnet::file_type<bitnet::tl2>) {
        return bitnet::tl2::name;
    }
    const bool fits = std::ranges::all_of(file.tensors(), [](const bitnet::gguf_tensor& tensor) {
        return !bitnet::is_ternary_place(tensor.name) || bitnet::i2s::admits(tensor.dims[1], tensor.dims[0]);
    });
    const bool is_dense = type && *type == bitnet::file_type<bitnet::dense>;
    return fits && !is_dense ? bitnet::i2s::name : bitnet::dense::name;
}

bitnet::result<bitnet::any_model> open_in_layout(std::string_view layout, bitnet::model_file file,
                                                 const bitnet::open_options& options, std::string_view isa) {
    using others = bitnet::layout_list<bitnet::dense, bitnet::tl1, bitnet::tl2>;
    bitnet::result<bitnet::any_model> opened =
        bitnet::error{bitnet::errc::invalid_argument, "there is no layout '" + std::string(layout) + "'"};
    others::with_layout(layout, [&]<class L>() {
        opened = bitnet::any_model::open<bitnet::any_cpu::with_layout<L>>(std::move(file), options, isa);
    });
    return opened;
}

} // namespace tools
