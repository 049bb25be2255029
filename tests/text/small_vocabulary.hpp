// SPDX-License-Identifier: MIT
// A small byte-level vocabulary as GGUF metadata, whole or spoiled: what the tests of text/ open.
#pragma once

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/utf8.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/gguf_writer.hpp>
#include <bitnet/text/byte_alphabet.hpp>
#include <bitnet/text/token.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// A parsed file together with the bytes that it borrows.
struct file_in_memory {
    bitnet::buffer<std::byte> bytes;
    bitnet::gguf_file file;
};

/// The tokenizer.ggml.* keys of a file. Tokens 0 to 255 are the bytes, then the results of the merges in their order,
/// "xyzzy" that no merge makes, and ten control tokens in LLaMA-3's order.
struct small_vocabulary {
    std::optional<std::string> model = "gpt2";
    std::optional<std::string> pre = "llama-bpe";
    std::vector<std::string> tokens;
    std::optional<std::vector<std::int32_t>> kinds = std::vector<std::int32_t>{};
    std::optional<std::vector<float>> scores = std::vector<float>{};
    std::optional<std::vector<std::string>> merges = std::vector<std::string>{};
    std::vector<std::pair<std::string, std::uint32_t>> ids;
    std::optional<bool> add_bos = true;
    std::function<void(bitnet::gguf_writer&)> more = [](bitnet::gguf_writer&) {};

    small_vocabulary() {
        for (std::size_t byte = 0; byte < 256; ++byte) {
            add_token(spelling_of(byte), 1);
        }
        for (const char* merge : {"h e", "l l", "he ll", "hell o", "\u0120 w", "o r", "\u0120w or", "l d",
                                  "\u0120wor ld", "\u0120 \u0120", "a a", "aa aa"}) {
            add_merge(merge);
        }
        add_token("xyzzy", 1);
        for (const char* spelling :
             {"<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>", "<|reserved_special_token_1|>",
              "<|reserved_special_token_2|>", "<|reserved_special_token_3|>", "<|start_header_id|>",
              "<|end_header_id|>", "<|reserved_special_token_4|>", "<|eot_id|>"}) {
            add_token(spelling, 3);
        }
        ids = {{"bos", id_of("<|begin_of_text|>")}, {"eos", id_of("<|end_of_text|>")}};
    }

    void add_token(std::string spelling, std::int32_t kind) {
        tokens.push_back(std::move(spelling));
        kinds->push_back(kind);
        scores->push_back(0);
    }

    void add_merge(const std::string& merge) {
        merges->push_back(merge);
        const std::size_t space = merge.find(' ');
        add_token(merge.substr(0, space) + merge.substr(space + 1), 1);
    }

    [[nodiscard]] std::uint32_t id_of(std::string_view spelling) const {
        for (std::size_t i = 0; i < tokens.size(); ++i) {
            if (tokens[i] == spelling) {
                return static_cast<std::uint32_t>(i);
            }
        }
        return UINT32_MAX;
    }

    [[nodiscard]] bitnet::token token_of(std::string_view spelling) const {
        return static_cast<bitnet::token>(id_of(spelling));
    }

    /// The character of the byte alphabet for `byte`, found by looking at all of them.
    [[nodiscard]] static std::string spelling_of(std::size_t byte) {
        for (std::size_t c = 0; c < bitnet::detail::byte_alphabet::size; ++c) {
            if (bitnet::detail::byte_alphabet::bytes[c] == static_cast<std::int16_t>(byte)) {
                std::string spelling;
                bitnet::detail::append_utf8(spelling, static_cast<char32_t>(c));
                return spelling;
            }
        }
        return {};
    }

    /// The file, or the writer's or reader's error.
    [[nodiscard]] bitnet::result<file_in_memory> file() const {
        bitnet::gguf_writer writer;
        add_strings_and_numbers(writer);
        more(writer);
        auto bytes = writer.write_memory();
        if (!bytes) {
            return std::move(bytes).error();
        }
        auto parsed = bitnet::gguf_file::parse(bytes->span(), "small.gguf");
        if (!parsed) {
            return std::move(parsed).error();
        }
        return file_in_memory{*std::move(bytes), *std::move(parsed)};
    }

private:
    void add_strings_and_numbers(bitnet::gguf_writer& writer) const {
        if (model) {
            writer.add("tokenizer.ggml.model", *model);
        }
        if (pre) {
            writer.add("tokenizer.ggml.pre", *pre);
        }
        if (!tokens.empty()) {
            writer.add_strings("tokenizer.ggml.tokens", tokens);
        }
        if (kinds) {
            writer.add_array("tokenizer.ggml.token_type", std::span<const std::int32_t>(*kinds));
        }
        if (scores) {
            writer.add_array("tokenizer.ggml.scores", std::span<const float>(*scores));
        }
        if (merges) {
            writer.add_strings("tokenizer.ggml.merges", *merges);
        }
        for (const auto& [name, id] : ids) {
            writer.add("tokenizer.ggml." + name + "_token_id", id);
        }
        if (add_bos) {
            writer.add("tokenizer.ggml.add_bos_token", *add_bos);
        }
    }
};
