// SPDX-License-Identifier: MIT
// text_part: hyper-parameters, tokenizer and chat format.
#ifndef BITNET_RUN_TEXT_PART_HPP
#define BITNET_RUN_TEXT_PART_HPP

#include <bitnet/checkpoint/hyper_parameter_reader.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/run/parts.hpp>
#include <bitnet/text/open_chat_template.hpp>
#include <bitnet/text/open_tokenizer.hpp>

#include <memory>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

template <class Program> result<hyper_parameters> text_part<Program>::read(const gguf_file& file) {
    return hyper_parameters::read(file);
}

template <class Program>
result<tokenizer> text_part<Program>::open(const gguf_file& file, const tokenizer_options& options) {
    return tokenizer::open(file, options);
}

template <class Program>
result<chat_template> text_part<Program>::open_chat(const gguf_file& file, const tokenizer& text,
                                                    std::string_view format) {
    return chat_template::open(file, text, format);
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
