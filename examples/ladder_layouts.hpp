// SPDX-License-Identifier: MIT
// The run-time ladder in the layouts beside I2_S, for files that are stored in one or that I2_S does not admit.
#pragma once

#include <bitnet/model/model_file.hpp>
#include <bitnet/run/any_model.hpp>

#include <string_view>

namespace tools {

/// The name of the layout, one of bitnet::all_layouts, in which the tools run a file.
[[nodiscard]] std::string_view layout_for(const bitnet::gguf_file& file);

/// any_model::open with bitnet::any_cpu in that layout, which is not I2_S.
[[nodiscard]] bitnet::result<bitnet::any_model> open_in_layout(std::string_view layout, bitnet::model_file file,
                                                               const bitnet::open_options& options,
                                                               std::string_view isa);

} // namespace tools
