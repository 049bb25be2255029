// SPDX-License-Identifier: MIT
// The one instantiation of the run-time ladder: every instruction set, with each element of a KV cache.
#include "ladder.hpp"

#include <string>

namespace tools {

bitnet::result<bitnet::any_model> open_model(std::string_view utf8_path, bitnet::open_options options,
                                             std::string_view isa, std::string_view kv) {
    if (kv == "f16") {
        return bitnet::any_model::open<ladder_f16>(utf8_path, options, isa);
    }
    if (kv == "f32") {
        return bitnet::any_model::open<ladder_f32>(utf8_path, options, isa);
    }
    if (kv == "i8") {
        return bitnet::any_model::open<ladder_i8>(utf8_path, options, isa);
    }
    return bitnet::error{bitnet::errc::invalid_argument,
                         "a KV cache of '" + std::string(kv) + "': f16, f32 or i8 expected"};
}

} // namespace tools

template bitnet::result<bitnet::any_model>
    bitnet::any_model::open<tools::ladder_f16>(std::string_view, bitnet::open_options, std::string_view);
template bitnet::result<bitnet::any_model>
    bitnet::any_model::open<tools::ladder_f16>(bitnet::byte_source, bitnet::open_options, std::string_view);
template bitnet::result<bitnet::any_model>
    bitnet::any_model::open<tools::ladder_f32>(std::string_view, bitnet::open_options, std::string_view);
template bitnet::result<bitnet::any_model>
    bitnet::any_model::open<tools::ladder_f32>(bitnet::byte_source, bitnet::open_options, std::string_view);
template bitnet::result<bitnet::any_model>
    bitnet::any_model::open<tools::ladder_i8>(std::string_view, bitnet::open_options, std::string_view);
template bitnet::result<bitnet::any_model>
    bitnet::any_model::open<tools::ladder_i8>(bitnet::byte_source, bitnet::open_options, std::string_view);
