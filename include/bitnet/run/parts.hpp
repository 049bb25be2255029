// SPDX-License-Identifier: MIT
// The five large parts of opening and running a model, as templates: a program may compile each in a source of its own.
#ifndef BITNET_RUN_PARTS_HPP
#define BITNET_RUN_PARTS_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/run/session_options.hpp>
#include <bitnet/thread/pool.hpp>

#include <atomic>
#include <memory>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

class any_model;
class byte_source;
class chat_template;
class gguf_file;
class model_file;
class tokenizer;
struct checkpoint_options;
struct conversation_options;
struct engine;
struct gguf_tensor;
struct hyper_parameters;
struct layout_table;
struct loop_table;
struct tokenizer_options;

namespace detail {

class batch_base;
class conversation_base;
class lm_head_screen;
class progress_meter;
class scheduler_base;
class session_base;
class weights;
struct float_matrix;
struct model_parts;
struct weight_options;

// Functions of which each takes a whole part of the library with it. They are templates only so that `extern template`
// can keep a part out of a source: cmake/any_cpu spreads the library over several sources that compile side by side.

/// Reading what a path or memory holds.
template <class Program = void> struct files_part {
    [[nodiscard]] static result<model_file> open(std::string_view utf8_path, const checkpoint_options& options);
    [[nodiscard]] static result<model_file> open(byte_source source, const memory_source* memory);
};

/// Hyper-parameters, tokenizer and chat format.
template <class Program = void> struct text_part {
    [[nodiscard]] static result<hyper_parameters> read(const gguf_file& file);
    [[nodiscard]] static result<tokenizer> open(const gguf_file& file, const tokenizer_options& options);
    [[nodiscard]] static result<chat_template> open_chat(const gguf_file& file, const tokenizer& text,
                                                         std::string_view format);
};

/// Weights and their screen.
template <class Program = void> struct tensors_part {
    [[nodiscard]] static result<void> test(const engine& tables, const memory_source* memory);
    [[nodiscard]] static result<weights> open(const gguf_file& file, const hyper_parameters& model,
                                              const layout_table& layout, const weight_options& options, pool_ref pool);
    /// \param stored null: the screen is made
    [[nodiscard]] static result<lm_head_screen> open_screen(pool_ref pool, const loop_table& loops,
                                                            const float_matrix& lm_head, const gguf_tensor* stored,
                                                            std::string_view file, bool verify,
                                                            const memory_source* memory, progress_meter* progress);
    /// lm_head_screen::fill.
    [[nodiscard]] static bool fill_screen(pool_ref pool, const loop_table& loops, const float_matrix& lm_head,
                                          lm_head_screen& out, const std::atomic<bool>& stop) noexcept;
};

/// Sessions, batches and schedulers.
template <class Program = void> struct graph_part {
    [[nodiscard]] static result<std::unique_ptr<session_base>>
    open(const model_parts& model, const session_options& options, const pool_ref* pool);
    [[nodiscard]] static result<std::unique_ptr<batch_base>> open(const model_parts& model,
                                                                  const batch_options& options, const pool_ref* pool);
    [[nodiscard]] static result<std::unique_ptr<scheduler_base>>
    open(const model_parts& model, const scheduler_options& options, const pool_ref* pool);
};

/// Conversations: whoever has one compiles it, so that those who do without need not.
template <class Program = void> struct dialog_part {
    [[nodiscard]] static result<std::unique_ptr<conversation_base>>
    open(const any_model& model, const conversation_options& options, const pool_ref* pool);
};

} // namespace detail

} // namespace bitnet::inline BITNET_ABI

#endif
