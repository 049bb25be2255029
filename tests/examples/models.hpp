// SPDX-License-Identifier: MIT
// The tiny model and files made of it, for tests of the example programs.
#pragma once

#include "../golden/gguf_editor.hpp"
#include "../golden/golden_data.hpp"
#include "process.hpp"

#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/gguf_writer.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bitnet_tests {

inline const std::string tiny = tiny_model_path();

/// An editor of the tiny model's bytes.
[[nodiscard]] inline gguf_editor edit_tiny() {
    const std::string bytes = contents(tiny);
    return gguf_editor(std::as_bytes(std::span(bytes)));
}

/// The tiny model without the name of its pre-tokenizer, as the official 2B-4T file is.
[[nodiscard]] inline std::string write_without_pre(const temporary_folder& folder) {
    auto editor = edit_tiny();
    editor.remove_key("tokenizer.ggml.pre");
    return folder.write("nopre.gguf", as_text(editor.bytes()));
}

/// The tiny model as bitnet.cpp's setup would write it: with BOS in front of every other control token's spelling.
[[nodiscard]] inline std::string write_with_bos_in_front(const temporary_folder& folder, bool names_pre) {
    const std::string bytes = contents(tiny);
    const auto file = bitnet::gguf_file::parse(std::as_bytes(std::span(bytes)), tiny);
    bitnet::gguf_writer writer;
    for (const bitnet::gguf_value& entry : file->metadata()) {
        if (entry.key == "tokenizer.ggml.tokens") {
            std::vector<std::string> spellings;
            for (const std::string_view spelling : entry.strings()) {
                const bool is_changed = spelling.starts_with("<|") && spelling != "<|begin_of_text|>";
                spellings.push_back((is_changed ? "<|begin_of_text|>" : "") + std::string(spelling));
            }
            writer.add_strings(entry.key, spellings);
        } else if (names_pre || entry.key != "tokenizer.ggml.pre") {
            writer.add(entry);
        }
    }
    for (const bitnet::gguf_tensor& tensor : file->tensors()) {
        writer.add_tensor(tensor.name, tensor.type, std::span(tensor.dims).first(tensor.rank), tensor.bytes);
    }
    const auto written = writer.write_memory();
    return folder.write(names_pre ? "bos.gguf" : "bos_nopre.gguf", as_text(written->span()));
}

/// The tiny model, with add_bos_token off.
[[nodiscard]] inline std::string write_without_bos(const temporary_folder& folder) {
    auto editor = edit_tiny();
    editor.poke<std::uint8_t>(editor.key("tokenizer.ggml.add_bos_token").value, 0);
    return folder.write("nobos.gguf", as_text(editor.bytes()));
}

/// The tiny model's metadata without any tensor: a vocabulary.
[[nodiscard]] inline std::string write_vocabulary(const temporary_folder& folder) {
    auto editor = edit_tiny();
    editor.poke<std::uint64_t>(gguf_editor::tensor_count, 0);
    editor.truncate(editor.keys_end());
    return folder.write("vocabulary.gguf", as_text(editor.bytes()));
}

/// The tiny model with two tokens in each other's place: where it wrote one, it writes the other.
[[nodiscard]] inline std::string write_with_swapped(const temporary_folder& folder, std::size_t a, std::size_t b) {
    const auto editor = edit_tiny();
    const auto& table = editor.tensor("token_embd.weight");
    constexpr std::size_t vocabulary = 4128;
    const std::size_t row = table.data_size / vocabulary;
    std::string bytes(as_text(editor.bytes()));
    const auto at = [&](std::size_t id) { return bytes.begin() + static_cast<std::ptrdiff_t>(table.data + id * row); };
    std::swap_ranges(at(a), at(a + 1), at(b));
    return folder.write("swapped.gguf", bytes);
}

/// The tiny model with code 3 in one ternary tensor.
[[nodiscard]] inline std::string write_with_bad_code(const temporary_folder& folder) {
    auto editor = edit_tiny();
    editor.poke<std::uint8_t>(editor.tensor("blk.3.ffn_up.weight").data + 77, 0xff);
    return folder.write("badcode.gguf", as_text(editor.bytes()));
}

} // namespace bitnet_tests
