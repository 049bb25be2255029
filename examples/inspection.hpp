// SPDX-License-Identifier: MIT
// report: what a GGUF file holds, what would be made of it, and whether it runs here.
#pragma once

#include "model_options.hpp"

#include <bitnet/core/half.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/i2s_tensor.hpp>
#include <bitnet/model/hyper_parameters.hpp>
#include <bitnet/model/kv_cache.hpp>
#include <bitnet/run/model.hpp>
#include <bitnet/text/tokenizer.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace tools {

/// All tensors of one type together.
struct total {
    std::uint64_t tensors = 0;
    std::uint64_t elements = 0;
    std::uint64_t bytes = 0;

    void add(const bitnet::gguf_tensor& tensor) {
        ++tensors;
        elements += bitnet::element_count(tensor.dims).value_or(0);
        bytes += tensor.bytes.size();
    }
};

/// All that is known of a file; what could not be found out is a sentence.
struct report {
    const bitnet::gguf_file& file;
    std::uint64_t file_bytes;
    std::map<std::string_view, total> totals; ///< by type
    total all;
    bitnet::result<bitnet::hyper_parameters> parameters;
    bitnet::result<bitnet::tokenizer> text;
    std::uint64_t ternary_tensors = 0;
    std::vector<std::string> bad_tensors; ///< codes and scales that are none
    bitnet::result<bitnet::any_model> opened;

    [[nodiscard]] bool runs() const { return opened && bad_tensors.empty(); }
    [[nodiscard]] std::string why_not() const {
        return opened ? bad_tensors.empty() ? "" : bad_tensors.front() : opened.error().message;
    }
};

/// Looks at the scale and every code of every I2_S tensor.
inline void scan(report& made) {
    for (const bitnet::gguf_tensor& tensor : made.file.tensors()) {
        if (tensor.type != bitnet::tensor_type::i2_s) {
            continue;
        }
        ++made.ternary_tensors;
        if (const auto scale = bitnet::i2s_scale(tensor, made.file.name()); !scale) {
            made.bad_tensors.push_back(scale.error().message);
        }
        if (const auto codes = bitnet::check_i2s_codes(tensor, made.file.name()); !codes) {
            made.bad_tensors.push_back(codes.error().message);
        }
    }
}

inline report look_at(const bitnet::gguf_file& file, std::uint64_t bytes, const model_options& chosen) {
    report made{.file = file,
                .file_bytes = bytes,
                .totals = {},
                .all = {},
                .parameters = bitnet::hyper_parameters::read(file),
                .text = bitnet::tokenizer::open(file, {.pre_tokenizer = chosen.pre_tokenizer}),
                .ternary_tensors = 0,
                .bad_tensors = {},
                .opened = open_model(chosen.file, chosen.to_open(), chosen.isa, chosen.kv)};
    for (const bitnet::gguf_tensor& tensor : file.tensors()) {
        made.totals[bitnet::name_of(tensor.type)].add(tensor);
        made.all.add(tensor);
    }
    scan(made);
    return made;
}

inline std::string_view head_type(const bitnet::gguf_file& file) {
    const auto* embedding = file.find_tensor("token_embd.weight");
    return embedding != nullptr ? bitnet::name_of(embedding->type) : "none";
}

inline std::string_view layout_name(const bitnet::gguf_file& file) {
    const auto type = bitnet::layout_of(file);
    return type ? bitnet::name_of(*type) : "none";
}

} // namespace tools
