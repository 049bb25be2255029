// SPDX-License-Identifier: MIT
// The list of all public names; other names are in bitnet::detail. Declares those that can be declared ahead cheaply.
#ifndef BITNET_FWD_HPP
#define BITNET_FWD_HPP

#include <bitnet/core/config.hpp>

#include <cstdint>

namespace bitnet::inline BITNET_ABI {

using token = std::int32_t;

// core
enum class errc;
struct error;
template <class T> class result;
struct half;
struct bfloat16;
enum class float_element : unsigned char;
template <class T> struct matrix_view;

// files and memory
enum class access_hint;
struct byte_room;
class byte_sink;
class file_writer;
struct memory_hint;
struct memory_source;
enum class memory_use : std::uint8_t;
class byte_source;
struct open_progress;
enum class page_mode;
struct read_callback;
struct write_callback;

// io: GGUF, JSON, safetensors
class gguf_file;
class gguf_strings;
struct gguf_tensor;
enum class gguf_type : std::uint32_t;
struct gguf_value;
class gguf_writer;
struct gguf_writer_options;
enum class tensor_type : std::uint32_t;
class json_document;
struct json_member;
struct json_options;
enum class json_type : std::uint8_t;
class json_value;
class safetensors_file;
struct safetensors_tensor;
enum class safetensors_type : std::uint8_t;

// text
class tokenizer;
struct tokenizer_json_files;
struct tokenizer_options;
struct encode_options;
struct decode_options;
struct pre_tokenizer_choice;
class stop_texts;
class stream_decoder;
struct stream_decoder_options;
class chat_dialog;
enum class chat_format : unsigned char;
struct chat_format_choice;
struct chat_message;
struct chat_options;
class chat_template;
enum class chat_thinking : unsigned char;
struct chat_tool_call;
struct tool_form;
enum class tool_syntax : unsigned char;

// constrain
class constrained_tools;
struct constraint_options;
template <class E> struct enum_name;
template <class Owner, class Member> struct field;
template <class T> struct fields_of;
enum class forced_text : unsigned char;
class grammar;
class healed_answers;
class matcher;
struct matcher_options;
struct schema_options;
template <class E> struct names_of;
class token_constraint;
class token_trie;
class tool_name;
class tool_set;
enum class unsupported_keyword : std::uint8_t;
struct value_limits;

/// Instruction sets.
namespace isa {
struct scalar;
struct sse41;
struct avx2;
struct avx_vnni;
struct avx512_vnni;
struct amx_int8;
struct neon;
struct neon_dotprod;
struct neon_i8mm;
struct wasm_simd128;
struct wasm_relaxed_simd;
} // namespace isa

// threads
class inline_pool;
struct loop_body;
class pool_ref;
class thread_pool;

// layouts, and the tables of functions that a policy names
enum class i2s_order;
struct base3;
struct lookup2;
struct lookup3;
struct any_cpu;
struct block_table;
struct engine;
struct kv_table;
struct layout_table;
struct loop_table;
struct ternary_table;

// models
enum class activation_function;
enum class activation_rounding : unsigned char;
enum class pooling_type : std::uint8_t;
enum class rotary_pairing;
struct checkpoint_options;
struct hyper_parameters;
class model_file;
struct ternary_reading;

// running them
struct allowed_tokens;
enum class answer_end : unsigned char;
class any_batch;
class any_chooser;
class any_model;
class any_session;
struct batch_entry;
struct batch_options;
template <class Ladder> struct compiled_for;
class conversation;
struct conversation_options;
enum class conversation_state : unsigned char;
struct conversation_turn;
class draft_model;
enum class full_context : unsigned char;
class kv_pool;
enum class lm_head_mode;
struct logit_bias;
struct logits_visitor;
struct memory_estimate;
struct open_options;
class prefix_source;
class prompt_lookup;
class sampler;
struct sampler_options;
struct sampling_advice;
struct save_options;
class scheduler;
struct scheduler_options;
struct scored_token;
enum class screen_state;
struct screen_statistics;
struct session_options;
class speaker;
struct speculation_options;
struct speculation_statistics;
enum class step_state;
enum class stop_reason;
struct token_logprob;
struct tool_choice;
enum class tool_mode : unsigned char;
class tool_source;

// converting them
class checkpoint_converter;
struct comparison_report;
struct conversion_options;
struct conversion_progress;
struct conversion_statistics;
class metadata_edit;
struct ternary_encoding;

// Public too, and declared in the header beside the name only: aliases, concepts, constants, functions, and templates
// whose parameters are constrained.
//
//     buffer                     core/buffer.hpp
//     failed                     core/result.hpp
//
//     byte_taker                 io/byte_sink.hpp
//     dims_text                  io/gguf_tensor.hpp
//     element_count              io/gguf_types.hpp
//     name_of                    io/gguf_types.hpp
//     name_of                    io/json.hpp
//     name_of                    io/safetensors.hpp
//     tensor_dims                io/gguf_types.hpp
//
//     chat_format_names          text/chat_format.hpp
//     end_of_turn                text/chat_format.hpp
//     find_chat_format           text/chat_format.hpp
//     name_of                    text/chat_format.hpp
//     no_token                   text/token.hpp
//
//     fields                     constrain/fields.hpp
//     from_json                  constrain/from_json.hpp
//     schema_of                  constrain/type_schema.hpp
//     to_json                    constrain/from_json.hpp
//
//     isa::all_of_this_machine   simd/isa.hpp
//     isa::enable                simd/isa.hpp
//     isa::instruction_set       simd/isa.hpp
//     isa::list                  simd/isa.hpp
//     default_spin               thread/thread_limits.hpp
//     loop_runner                thread/pool.hpp
//     most_threads               thread/thread_limits.hpp
//     thread_pool_type           thread/pool.hpp
//     usable_cores               thread/usable_cores.hpp
//
//     default_pool               policy.hpp
//     engine_of                  policy.hpp
//     i2s                        kernel/ternary_layout.hpp
//     i2s_b                      kernel/ternary_layout.hpp
//     i2s_c                      kernel/ternary_layout.hpp
//     kv_element_type            policy.hpp
//     native                     policy.hpp
//     policy                     policy.hpp
//     policy_type                policy.hpp
//     in_all_layouts             run/dispatch.hpp
//     joined_ladders             run/dispatch.hpp
//     ladder                     run/dispatch.hpp
//     with_first_available       run/dispatch.hpp
//
//     activation_rounding_names  checkpoint/activation_rounding.hpp
//     find_activation_rounding   checkpoint/activation_rounding.hpp
//     is_ternary_place           checkpoint/layout_for.hpp
//     largest_head_size          checkpoint/hyper_parameters.hpp
//     layout_for                 checkpoint/layout_for.hpp
//     name_of                    checkpoint/activation_rounding.hpp
//     name_of                    checkpoint/hyper_parameters.hpp
//     ternary_type_of            checkpoint/layout_for.hpp
//
//     constrained_chooser        constrain/constrained_chooser.hpp
//     healed_prefix              constrain/healed_prefix.hpp
//     tokens_to_heal             constrain/healed_prefix.hpp
//
//     batch                      run/batch.hpp
//     binarize_embedding         run/embedding_codes.hpp
//     binary_embedding_bytes     run/embedding_codes.hpp
//     constrained_token_chooser  run/token_chooser.hpp
//     estimate_memory            run/memory_estimate.hpp
//     foreseeing_token_chooser   run/token_chooser.hpp
//     logprobs_among             run/logprobs.hpp
//     model                      run/model.hpp
//     quantize_embedding         run/embedding_codes.hpp
//     session                    run/session.hpp
//     speculation                run/speculation.hpp
//     token_chooser              run/token_chooser.hpp
//     token_draft                run/token_draft.hpp
//     tokens_to_embed            run/embedding.hpp
//
//     compare_checkpoints        convert/checkpoint_comparison.hpp
//     find_ternary_encoding      convert/ternary_encoding.hpp
//     ternary_encoding_names     convert/ternary_encoding.hpp
//     ternary_encodings          convert/ternary_encoding.hpp

} // namespace bitnet::inline BITNET_ABI

#endif
