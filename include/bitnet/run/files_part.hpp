// SPDX-License-Identifier: MIT
// files_part: reading what a path or memory holds.
#ifndef BITNET_RUN_FILES_PART_HPP
#define BITNET_RUN_FILES_PART_HPP

#include <bitnet/checkpoint/model_file.hpp>
#include <bitnet/checkpoint/open_model_file.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/io/byte_source.hpp>
#include <bitnet/run/parts.hpp>

#include <memory>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

template <class Program>
result<model_file> files_part<Program>::open(std::string_view utf8_path, const checkpoint_options& options) {
    return model_file::open(utf8_path, options);
}

template <class Program> result<model_file> files_part<Program>::open(byte_source source, const memory_source* memory) {
    return model_file::open(std::move(source), memory);
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
