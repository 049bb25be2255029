// SPDX-License-Identifier: MIT
// Forward declarations of public names, for headers of programs that only mention them.
#pragma once

#include <bitnet/core/config.hpp>

#include <cstdint>

namespace bitnet::inline BITNET_ABI {

using token = std::int32_t;

enum class errc;
struct error;
template <class T> class result;

struct half;
struct bfloat16;
template <class T> struct matrix_view;

class byte_source;
class gguf_file;
class gguf_writer;
class json_document;
class safetensors_file;
class model_file;

class tokenizer;
class stream_decoder;
class chat_template;
class chat_dialog;
struct chat_message;
enum class chat_format : unsigned char;
struct encode_options;
struct decode_options;
struct tokenizer_json_files;
struct tokenizer_options;

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

class thread_pool;
class inline_pool;
class pool_ref;

struct hyper_parameters;
struct open_options;
struct scored_token;
struct screen_statistics;
enum class lm_head_mode;
struct batch_options;
struct session_options;
struct sampler_options;
enum class stop_reason;
class sampler;
class any_chooser;
class any_model;
class any_session;
class any_batch;
struct batch_entry;
struct any_cpu;
template <class Ladder> struct compiled_for;

} // namespace bitnet::inline BITNET_ABI
