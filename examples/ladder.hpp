// SPDX-License-Identifier: MIT
// The run-time ladder, compiled once in ladder.cpp and shared by all tools: their own sources hold no transformer.
#pragma once

#include <bitnet/run/any_model.hpp>

#include <cstdint>
#include <string_view>

namespace tools {

/// bitnet::any_cpu as it is, with a KV cache of half, and the same with one of float or of int8.
using ladder_f16 = bitnet::any_cpu;
using ladder_f32 = bitnet::any_cpu::with_kv<float>;
using ladder_i8 = bitnet::any_cpu::with_kv<std::int8_t>;

/// Opens a model with a KV cache of that element and the best instruction set of this machine, or the one named.
/// With F16 it runs in the layout of its file where that is one of this library's, and in dense where I2_S does not
/// admit its shapes (the 3B model's 8640 columns); otherwise in I2_S. \param kv "f16", "f32" or "i8"; anything else is
/// errc::invalid_argument \return what model_file::open and any_model::open return
[[nodiscard]] bitnet::result<bitnet::any_model> open_model(std::string_view utf8_path, bitnet::open_options options,
                                                           std::string_view isa, std::string_view kv);

} // namespace tools
