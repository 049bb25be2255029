// SPDX-License-Identifier: MIT
// The table of malformed GGUF files: what is broken in the tiny model, and what the reader must say about it.
#pragma once

#include "gguf_editor.hpp"

#include <bitnet/core/result.hpp>
#include <bitnet/io/gguf_types.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>

namespace bitnet_tests {

/// One malformed file.
struct malformed_gguf {
    const char* name;
    void (*damage)(gguf_editor&);
    bitnet::errc expected;
    const char* place; ///< must be in the sentence
};

/// Found by gguf_file::parse.
[[nodiscard]] inline std::span<const malformed_gguf> malformed_files() {
    using bitnet::errc;
    using bitnet::gguf_type;
    using bitnet::tensor_type;
    using edit = gguf_editor;
    constexpr auto largest = std::numeric_limits<std::uint64_t>::max();
    static constexpr auto q = "blk.0.attn_q.weight";
    static constexpr auto k = "blk.0.attn_k.weight";
    static constexpr auto name = "general.name";
    static constexpr auto tokens = "tokenizer.ggml.tokens";
    static constexpr auto scores = "tokenizer.ggml.scores";
    static constexpr auto bos = "tokenizer.ggml.add_bos_token";
    static constexpr auto set_type = [](edit& f, std::string_view tensor, tensor_type type) {
        f.poke(f.tensor(tensor).type, static_cast<std::uint32_t>(type));
    };
    static constexpr auto add_alignment = [](edit& f, std::uint32_t alignment) {
        f.add_key("general.alignment", gguf_type::u32, edit::number(alignment));
    };
    static const malformed_gguf rows[] = {
        // header
        {"empty file", [](edit& f) { f.truncate(0); }, errc::truncated, "has 0 bytes"},
        {"half a magic", [](edit& f) { f.truncate(2); }, errc::truncated, "has 2 bytes"},
        {"header cut by one byte", [](edit& f) { f.truncate(23); }, errc::truncated, "needs 24"},
        {"GGML file", [](edit& f) { f.poke(3, 'L'); }, errc::bad_magic, "'GGUL'"},
        {"zeros for magic", [](edit& f) { f.poke(0, 0u); }, errc::bad_magic, "'\\x00\\x00\\x00\\x00'"},
        {"version 0", [](edit& f) { f.poke(edit::version, 0u); }, errc::bad_version, "version 0"},
        {"version 1", [](edit& f) { f.poke(edit::version, 1u); }, errc::bad_version, "version 1"},
        {"version 4", [](edit& f) { f.poke(edit::version, 4u); }, errc::bad_version, "version 4"},
        {"version -1", [](edit& f) { f.poke(edit::version, -1); }, errc::bad_version, "version 4294967295"},
        {"big-endian 3", [](edit& f) { f.poke(edit::version, 0x03000000u); }, errc::bad_version, "byte-swapped"},
        {"big-endian 2", [](edit& f) { f.poke(edit::version, 0x02000000u); }, errc::bad_version, "byte-swapped"},
        {"2^64 - 1 keys", [](edit& f) { f.poke(edit::key_count, largest); }, errc::bad_count,
         "18446744073709551615 metadata keys"},
        {"a million keys", [](edit& f) { f.poke(edit::key_count, std::uint64_t{1000000}); }, errc::bad_count,
         "1000000 metadata keys"},
        {"one key too many", [](edit& f) { f.poke(edit::key_count, f.keys().size() + 1); }, errc::truncated,
         "the name of tensor 0 of 13"},
        {"one key too few", [](edit& f) { f.poke(edit::key_count, f.keys().size() - 1); }, errc::truncated,
         "the name of tensor 1 of 13"},
        {"2^64 - 1 tensors", [](edit& f) { f.poke(edit::tensor_count, largest); }, errc::bad_count,
         "18446744073709551615 tensors"},
        {"a million tensors", [](edit& f) { f.poke(edit::tensor_count, std::uint64_t{1000000}); }, errc::bad_count,
         "1000000 tensors"},
        {"ten tensors too many", [](edit& f) { f.poke(edit::tensor_count, f.tensors().size() + 10); },
         errc::truncated, "the name of tensor 13 of 23"},
        // keys
        {"empty key", [](edit& f) { f.rename_key(name, ""); }, errc::bad_key, "metadata key 1 has 0 bytes"},
        {"key with NUL", [](edit& f) { f.poke(f.key(name).key + 7, '\0'); }, errc::bad_key, "'general\\x00name'"},
        {"key of 64 KiB and 1", [](edit& f) { f.rename_key(name, std::string(65537, 'k')); }, errc::bad_key, "65537"},
        {"key length 2^63", [](edit& f) { f.poke(f.key(name).length, std::uint64_t{1} << 63); }, errc::truncated,
         "metadata key 1 of 25"},
        {"key length -1", [](edit& f) { f.poke(f.key(name).length, largest); }, errc::truncated,
         "metadata key 1 of 25"},
        {"key longer than the file", [](edit& f) { f.poke(f.key(name).length, f.bytes().size()); }, errc::truncated,
         "metadata key 1 of 25"},
        {"neighbouring keys equal", [](edit& f) { f.rename_key(name, "general.architecture"); }, errc::duplicate_key,
         "'general.architecture' appears twice, as entries 0 and 1"},
        {"distant keys equal", [](edit& f) { f.rename_key("general.quantization_version", name); },
         errc::duplicate_key, "'general.name' appears twice, as entries 1 and 24"},
        {"file ends in a key's length", [](edit& f) { f.truncate(f.key(name).length + 4); }, errc::bad_count,
         "25 metadata keys"},
        {"file ends in a key", [](edit& f) { f.truncate(f.key(scores).key + 4); }, errc::truncated,
         "metadata key 17 of 25"},
        {"file ends in a value type", [](edit& f) { f.truncate(f.key(scores).type + 2); }, errc::truncated,
         "the type of metadata key 17 'tokenizer.ggml.scores'"},
        // values
        {"value type 13", [](edit& f) { f.poke(f.key(name).type, 13u); }, errc::bad_value, "type 13"},
        {"value type -1", [](edit& f) { f.poke(f.key(name).type, -1); }, errc::bad_value, "type 4294967295"},
        {"array of arrays", [](edit& f) { f.poke(f.key(scores).value, 9u); }, errc::bad_value,
         "'tokenizer.ggml.scores' is an array of arrays"},
        {"array of type 13", [](edit& f) { f.poke(f.key(scores).value, 13u); }, errc::bad_value, "type 13"},
        {"array of type 2^31", [](edit& f) { f.poke(f.key(scores).value, 0x80000000u); }, errc::bad_value,
         "type 2147483648"},
        {"bool 2", [](edit& f) { f.poke(f.key(bos).value, char{2}); }, errc::bad_value,
         "'tokenizer.ggml.add_bos_token' holds the bool 2"},
        {"bool 255", [](edit& f) { f.poke(f.key(bos).value, '\xff'); }, errc::bad_value, "bool 255"},
        {"bool 3 in an array",
         [](edit& f) {
             f.add_key("test.flags", gguf_type::array,
                       edit::number(7u) + edit::number(std::uint64_t{4}) + std::string("\1\0\1\3", 4));
         },
         errc::bad_value, "'test.flags' holds the bool 3"},
        {"2^64 - 1 strings", [](edit& f) { f.poke(f.key(tokens).element_count, largest); }, errc::bad_count,
         "'tokenizer.ggml.tokens' announces an array of 18446744073709551615 string"},
        {"more strings than bytes",
         [](edit& f) { f.poke(f.key(tokens).element_count, std::uint64_t{f.bytes().size()}); }, errc::bad_count,
         "'tokenizer.ggml.tokens'"},
        {"a million strings of nothing",
         [](edit& f) {
             f.poke(f.key(tokens).element_count, std::uint64_t{f.bytes().size() / 8 - 1000});
         },
         errc::truncated, "'tokenizer.ggml.tokens'"},
        {"2^62 floats, whose bytes overflow", [](edit& f) { f.poke(f.key(scores).element_count, std::uint64_t{1} << 62); },
         errc::bad_count, "'tokenizer.ggml.scores' announces an array of 4611686018427387904 f32"},
        {"one float more than the file holds",
         [](edit& f) {
             const std::size_t left = f.bytes().size() - f.key(scores).elements;
             f.poke(f.key(scores).element_count, std::uint64_t{left / 4 + 1});
         },
         errc::bad_count, "'tokenizer.ggml.scores'"},
        {"string length -1", [](edit& f) { f.poke(f.key(name).value, largest); }, errc::truncated,
         "the string of metadata key 1 'general.name'"},
        {"string longer than the file", [](edit& f) { f.poke(f.key(name).value, std::uint64_t{f.bytes().size()}); },
         errc::truncated, "the string of metadata key 1 'general.name'"},
        {"string in an array longer than the file",
         [](edit& f) { f.poke(f.key(tokens).elements, std::uint64_t{f.bytes().size()}); }, errc::truncated,
         "string 0 of the 298 of metadata key 16 'tokenizer.ggml.tokens'"},
        {"string in an array of length -1", [](edit& f) { f.poke(f.key(tokens).elements + 9, largest); },
         errc::truncated, "string 1 of the 298"},
        {"file ends in a number", [](edit& f) { f.truncate(f.key("general.quantization_version").value + 2); },
         errc::truncated, "the value of metadata key 24 'general.quantization_version'"},
        {"file ends in a string", [](edit& f) { f.truncate(f.key("tokenizer.chat_template").value + 20); },
         errc::truncated, "the string of metadata key 23 'tokenizer.chat_template'"},
        {"file ends in an array header", [](edit& f) { f.truncate(f.key("tokenizer.ggml.merges").element_count + 3); },
         errc::truncated, "the array header of metadata key 19 'tokenizer.ggml.merges'"},
        // alignment
        {"alignment of type i32",
         [](edit& f) { f.add_key("general.alignment", gguf_type::i32, edit::number(32)); }, errc::bad_alignment,
         "of type i32"},
        {"alignment of type u64",
         [](edit& f) { f.add_key("general.alignment", gguf_type::u64, edit::number(std::uint64_t{32})); },
         errc::bad_alignment, "of type u64"},
        {"alignment of type string",
         [](edit& f) { f.add_key("general.alignment", gguf_type::string, edit::string("32")); }, errc::bad_alignment,
         "of type string"},
        {"alignment 0", [](edit& f) { add_alignment(f, 0); }, errc::bad_alignment, "general.alignment is 0"},
        {"alignment 1", [](edit& f) { add_alignment(f, 1); }, errc::bad_alignment, "general.alignment is 1"},
        {"alignment 48", [](edit& f) { add_alignment(f, 48); }, errc::bad_alignment, "general.alignment is 48"},
        {"alignment 128 KiB", [](edit& f) { add_alignment(f, 131072); }, errc::bad_alignment, "131072"},
        {"alignment 2^31", [](edit& f) { add_alignment(f, 0x80000000u); }, errc::bad_alignment, "2147483648"},
        {"alignment that the tensors do not have", [](edit& f) { add_alignment(f, 4096); }, errc::bad_offset,
         "not a multiple of the alignment 4096"},
        // tensor names
        {"empty tensor name", [](edit& f) { f.rename_tensor(q, ""); }, errc::bad_tensor_name, "tensor 2 has 0 bytes"},
        {"tensor name of 129 bytes", [](edit& f) { f.rename_tensor(q, std::string(129, 't')); },
         errc::bad_tensor_name, "tensor 2 has 129 bytes"},
        {"tensor name with NUL", [](edit& f) { f.poke(f.tensor(q).characters + 3, '\0'); }, errc::bad_tensor_name,
         "'blk\\x000.attn_q.weight'"},
        {"tensor name length -1", [](edit& f) { f.poke(f.tensor(q).length, largest); }, errc::truncated,
         "the name of tensor 2 of 13"},
        {"neighbouring tensors of one name", [](edit& f) { f.rename_tensor(k, q); }, errc::duplicate_tensor,
         "'blk.0.attn_q.weight' appears twice, as tensors 2 and 3"},
        {"distant tensors of one name", [](edit& f) { f.rename_tensor("output_norm.weight", "token_embd.weight"); },
         errc::duplicate_tensor, "'token_embd.weight' appears twice, as tensors 0 and 12"},
        // shapes
        {"0 dimensions", [](edit& f) { f.poke(f.tensor(q).rank, 0u); }, errc::bad_shape,
         "'blk.0.attn_q.weight' has 0 dimensions"},
        {"5 dimensions", [](edit& f) { f.poke(f.tensor(q).rank, 5u); }, errc::bad_shape, "has 5 dimensions"},
        {"2^32 - 1 dimensions", [](edit& f) { f.poke(f.tensor(q).rank, -1); }, errc::bad_shape,
         "4294967295 dimensions"},
        {"a dimension 0", [](edit& f) { f.set_dim(q, 1, 0); }, errc::bad_shape,
         "'blk.0.attn_q.weight': dimension 1 is 0"},
        {"a dimension -1", [](edit& f) { f.set_dim(q, 0, largest); }, errc::bad_shape, "dimension 0 is negative"},
        {"a dimension -2^63", [](edit& f) { f.set_dim(q, 0, std::uint64_t{1} << 63); }, errc::bad_shape,
         "dimension 0 is negative"},
        {"2^64 elements",
         [](edit& f) {
             f.set_dim(q, 0, std::uint64_t{1} << 32);
             f.set_dim(q, 1, std::uint64_t{1} << 32);
         },
         errc::bad_shape, "[4294967296, 4294967296] has more elements"},
        {"2^63 elements",
         [](edit& f) {
             f.set_dim(q, 0, std::uint64_t{1} << 32);
             f.set_dim(q, 1, std::uint64_t{1} << 31);
         },
         errc::bad_shape, "has more elements"},
        {"2^62 floats of four bytes", [](edit& f) { f.set_dim("output_norm.weight", 0, std::uint64_t{1} << 62); },
         errc::bad_shape, "'output_norm.weight' of shape [4611686018427387904] has more bytes as F32"},
        {"I2_S of an odd number of elements",
         [](edit& f) {
             f.set_dim(q, 0, 127);
             f.set_dim(q, 1, 127);
         },
         errc::bad_shape, "the blocks of I2_S: the number of its elements must be a multiple of 4"},
        {"rows that are no Q6_K blocks", [](edit& f) { set_type(f, q, tensor_type::q6_k); }, errc::bad_shape,
         "Q6_K: the first dimension must be a multiple of 256"},
        {"rows that are no TQ1_0 blocks", [](edit& f) { set_type(f, q, tensor_type::tq1_0); }, errc::bad_shape,
         "TQ1_0"},
        {"rows that are no Q8_0 blocks",
         [](edit& f) {
             set_type(f, q, tensor_type::q8_0);
             f.set_dim(q, 0, 100);
         },
         errc::bad_shape, "Q8_0: the first dimension must be a multiple of 32"},
        {"rows that do not come in fours",
         [](edit& f) {
             set_type(f, q, tensor_type::iq2_bn_r4);
             f.set_dim(q, 1, 126);
         },
         errc::bad_shape, "the second a multiple of 4"},
        {"TL2 rows below 256", [](edit& f) { set_type(f, q, tensor_type::tl2); }, errc::bad_shape,
         "TL2: its rows must have at least 256"},
        // types
        {"tensor type 3", [](edit& f) { set_type(f, q, tensor_type{3}); }, errc::unsupported_type,
         "'blk.0.attn_q.weight' has the unknown tensor type 3"},
        {"tensor type 40", [](edit& f) { set_type(f, q, tensor_type{40}); }, errc::unsupported_type, "type 40"},
        {"binary weights", [](edit& f) { set_type(f, q, tensor_type{41}); }, errc::unsupported_type,
         "'blk.0.attn_q.weight' has type 41, Q1_0: its weights are binary"},
        {"sparse ternary weights", [](edit& f) { set_type(f, q, tensor_type{43}); }, errc::unsupported_type,
         "'blk.0.attn_q.weight' has type 43, STQ1_0"},
        {"sparse ternary weights under the id of Q2_0",
         [](edit& f) {
             set_type(f, q, tensor_type{42});
             f.poke(f.tensor("blk.0.attn_k.weight").offset,
                    f.peek<std::uint64_t>(f.tensor(q).offset) + std::uint64_t{128 * 128 / 256 * 42});
         },
         errc::unsupported_type, "'blk.0.attn_q.weight' has type 42, STQ1_0"},
        {"tensor type -1", [](edit& f) { set_type(f, q, tensor_type{0xffffffffu}); }, errc::unsupported_type,
         "type 4294967295"},
        {"a type id of another program", [](edit& f) { set_type(f, "token_embd.weight", tensor_type::i2_s); },
         errc::unsupported_type, "'token_embd.weight' would take 9568 bytes as I2_S, but 76288 bytes"},
        // places
        {"unaligned offset", [](edit& f) { f.poke(f.tensor(q).offset, f.peek<std::uint64_t>(f.tensor(q).offset) + 4); },
         errc::bad_offset, "'blk.0.attn_q.weight' starts at offset 76804, which is not a multiple of the alignment 32"},
        {"offset beyond the file", [](edit& f) { f.poke(f.tensor(q).offset, std::uint64_t{f.bytes().size() / 32 * 32}); },
         errc::bad_offset, "'blk.0.attn_q.weight' takes 4128 bytes"},
        {"offset that overflows", [](edit& f) { f.poke(f.tensor(q).offset, largest - 31); }, errc::bad_offset,
         "18446744073709551584"},
        {"offset whose end overflows", [](edit& f) { f.poke(f.tensor(q).offset, std::uint64_t{0} - 8192); },
         errc::bad_offset, "18446744073709543424"},
        {"two tensors in one place",
         [](edit& f) { f.poke(f.tensor(k).offset, f.peek<std::uint64_t>(f.tensor(q).offset)); }, errc::bad_offset,
         "overlap"},
        {"two tensors that overlap by 32 bytes",
         [](edit& f) { f.poke(f.tensor(k).offset, f.peek<std::uint64_t>(f.tensor(k).offset) - 32); },
         errc::bad_offset, "'blk.0.attn_q.weight' (bytes"},
        {"a shape larger than the place", [](edit& f) { f.set_dim(q, 1, 256); }, errc::bad_offset,
         "'blk.0.attn_q.weight' (bytes"},
        {"a shape larger than the file", [](edit& f) { f.set_dim(q, 1, std::uint64_t{1} << 40); }, errc::bad_offset,
         "takes 35184372088864 bytes"},
        {"last tensor cut by one byte",
         [](edit& f) { f.truncate(f.tensor("output_norm.weight").data + f.tensor("output_norm.weight").data_size - 1); },
         errc::bad_offset, "'output_norm.weight' takes 512 bytes"},
        {"no tensor data at all", [](edit& f) { f.truncate(f.data_start()); }, errc::bad_offset,
         "'token_embd.weight' takes 76288 bytes"},
        {"file ends in a tensor name", [](edit& f) { f.truncate(f.tensors().back().characters + 3); },
         errc::truncated, "the name of tensor 12 of 13"},
        {"file ends in a rank", [](edit& f) { f.truncate(f.tensors().back().rank + 3); }, errc::truncated,
         "the number of dimensions of tensor 'output_norm.weight'"},
        {"file ends in a dimension", [](edit& f) { f.truncate(f.tensors().back().dims + 3); }, errc::truncated,
         "dimension 0 of tensor 'output_norm.weight'"},
        {"file ends in an offset", [](edit& f) { f.truncate(f.tensors().back().offset + 3); }, errc::truncated,
         "the type and offset of tensor 'output_norm.weight'"},
    };
    return rows;
}

/// Accepted by gguf_file::parse, refused by scale_of_tail and check_i2s_codes.
[[nodiscard]] inline std::span<const malformed_gguf> malformed_ternary_data() {
    using bitnet::errc;
    using edit = gguf_editor;
    static constexpr auto set_scale = [](edit& f, float scale) {
        const auto at = f.tensor("blk.0.attn_q.weight");
        f.poke(at.data + at.data_size - 32, scale);
    };
    static constexpr auto set_code_byte = [](edit& f, std::size_t i, unsigned char codes) {
        f.poke(f.tensor("blk.0.ffn_up.weight").data + i, codes);
    };
    static const malformed_gguf rows[] = {
        {"scale NaN", [](edit& f) { set_scale(f, std::numeric_limits<float>::quiet_NaN()); }, errc::bad_scale,
         "'blk.0.attn_q.weight': its I2_S scale"},
        {"scale infinite", [](edit& f) { set_scale(f, std::numeric_limits<float>::infinity()); }, errc::bad_scale,
         "bits 2139095040"},
        {"scale 0", [](edit& f) { set_scale(f, 0.0f); }, errc::bad_scale, "bits 0"},
        {"scale -0", [](edit& f) { set_scale(f, -0.0f); }, errc::bad_scale, "bits 2147483648"},
        {"scale -1", [](edit& f) { set_scale(f, -1.0f); }, errc::bad_scale, "'blk.0.attn_q.weight'"},
        {"code 3 first", [](edit& f) { set_code_byte(f, 0, 0xc0); }, errc::bad_code,
         "'blk.0.ffn_up.weight': byte 0 of its 4096 bytes of codes is 192"},
        {"code 3 last", [](edit& f) { set_code_byte(f, 4095, 0x03); }, errc::bad_code, "byte 4095 of"},
        {"code 3 in the middle", [](edit& f) { set_code_byte(f, 2047, 0x0c); }, errc::bad_code, "byte 2047 of"},
    };
    return rows;
}

} // namespace bitnet_tests
