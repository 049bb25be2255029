// SPDX-License-Identifier: MIT
// The one instantiation of the run-time ladder: every instruction set, with each element of a KV cache.
#include "ladder.hpp"

#include "ladder_layouts.hpp"

#include <bitnet/model/model_file.hpp>

#include <string>
#include <utility>

namespace tools {

bitnet::result<bitnet::any_model> open_model(std::string_view utf8_path, bitnet::open_options options,
                                             std::string_view isa, std::string_view kv) {
    auto file = bitnet::model_file::open(utf8_path, {options.load_tokenizer, options.pre_tokenizer});
    if (!file) {
        return std::move(file).error();
    }
    const std::string_view layout = layout_for(file->gguf());
    if (kv == "f16") {
        return layout == bitnet::i2s::name ? bitnet::any_model::open<ladder_f16>(*std::move(file), options, isa)
                                           : open_in_layout(layout, *std::move(file), options, isa);
    }
    if (kv == "f32") {
        return bitnet::any_model::open<ladder_f32>(*std::move(file), options, isa);
    }
    if (kv == "i8") {
        return bitnet::any_model::open<ladder_i8>(*std::move(file), options, isa);
    }
    return bitnet::error{bitnet::errc::invalid_argument,
                         "a KV cache of '" + std::string(kv) + "': f16, f32 or i8 expected"};
}

} // namespace tools
