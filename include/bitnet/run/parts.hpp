// SPDX-License-Identifier: MIT
// The four large parts of opening and running a model, as templates: a program may compile each in a source of its own.
#pragma once

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/engine.hpp>
#include <bitnet/io/byte_source.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/model/hyper_parameters.hpp>
#include <bitnet/model/lm_head_screen.hpp>
#include <bitnet/model/model_file.hpp>
#include <bitnet/model/self_test.hpp>
#include <bitnet/model/weight_reader.hpp>
#include <bitnet/model/weights.hpp>
#include <bitnet/run/batch_core.hpp>
#include <bitnet/run/session_core.hpp>
#include <bitnet/text/open_chat_template.hpp>
#include <bitnet/text/open_tokenizer.hpp>
#include <bitnet/thread/pool.hpp>

#include <memory>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// What is no template but a whole part of the library is called through one, so that `extern template` keeps it out of
/// a source: see cmake/any_cpu, which spreads the library over several that compile side by side.
/// Reading what a path or memory holds.
template <class Program = void> struct files_part {
    [[nodiscard]] static result<model_file> open(std::string_view utf8_path, const checkpoint_options& options);
    [[nodiscard]] static result<model_file> open(byte_source source);
};
template <class Program>
result<model_file> files_part<Program>::open(std::string_view utf8_path, const checkpoint_options& options) {
    return model_file::open(utf8_path, options);
}
template <class Program> result<model_file> files_part<Program>::open(byte_source source) {
    return model_file::open(std::move(source));
}

/// Hyper-parameters, tokenizer and chat format.
template <class Program = void> struct text_part {
    [[nodiscard]] static result<hyper_parameters> read(const gguf_file& file);
    [[nodiscard]] static result<tokenizer> open(const gguf_file& file, const tokenizer_options& options);
    [[nodiscard]] static result<chat_template> open_chat(const gguf_file& file, const tokenizer& text,
                                                         std::string_view format);
};
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

/// Weights and their screen.
template <class Program = void> struct tensors_part {
    [[nodiscard]] static result<void> test(const engine& tables);
    [[nodiscard]] static result<weights> open(const gguf_file& file, const hyper_parameters& model,
                                              const layout_table& layout, const weight_options& options, pool_ref pool);
    /// \param stored null: the screen is made
    [[nodiscard]] static result<lm_head_screen> open_screen(pool_ref pool, const loop_table& loops,
                                                            const float_matrix& lm_head, const gguf_tensor* stored,
                                                            std::string_view file, bool verify);
};
template <class Program> result<void> tensors_part<Program>::test(const engine& tables) {
    return self_test::run(tables);
}
template <class Program>
result<weights> tensors_part<Program>::open(const gguf_file& file, const hyper_parameters& model,
                                            const layout_table& layout, const weight_options& options, pool_ref pool) {
    return weights::open(file, model, layout, options, pool);
}
template <class Program>
result<lm_head_screen> tensors_part<Program>::open_screen(pool_ref pool, const loop_table& loops,
                                                          const float_matrix& lm_head, const gguf_tensor* stored,
                                                          std::string_view file, bool verify) {
    return stored != nullptr ? lm_head_screen::open(pool, loops, lm_head, *stored, file, verify)
                             : lm_head_screen::open(pool, loops, lm_head);
}

/// Sessions and batches.
template <class Program = void> struct graph_part {
    [[nodiscard]] static result<std::unique_ptr<session_base>>
    open(const model_parts& model, const session_options& options, const pool_ref* pool);
    [[nodiscard]] static result<std::unique_ptr<batch_base>> open(const model_parts& model,
                                                                  const batch_options& options, const pool_ref* pool);
};
template <class Program>
result<std::unique_ptr<session_base>> graph_part<Program>::open(const model_parts& model,
                                                                const session_options& options, const pool_ref* pool) {
    return session_core::open(model, options, pool);
}
template <class Program>
result<std::unique_ptr<batch_base>> graph_part<Program>::open(const model_parts& model, const batch_options& options,
                                                              const pool_ref* pool) {
    return batch_core::open(model, options, pool);
}

} // namespace bitnet::inline BITNET_ABI
