// SPDX-License-Identifier: MIT
// Fuzzes tokenizer.json: any text, and good files spoiled in places; what is taken becomes a file that can be read.
#include <bitnet/core/utf8.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/gguf_writer.hpp>
#include <bitnet/text/open_tokenizer.hpp>
#include <bitnet/text/tokenizer_json.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace {

void require(bool holds) {
    if (!holds) {
        __builtin_trap();
    }
}

constexpr std::string_view byte_level = R"({"added_tokens": [{"id": 4, "content": "<|end|>", "special": true,
    "lstrip": false}, {"id": 5, "content": "<think>", "special": false}], "normalizer": {"type": "NFC"},
    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": true},
    {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true}]}, "post_processor": {"type":
    "TemplateProcessing", "single": [{"Sequence": {"id": "A"}}, {"SpecialToken": {"id": "<|end|>"}}]},
    "model": {"type": "BPE", "ignore_merges": false, "vocab": {"a": 0, "b": 1, "ab": 2, "abb": 3},
    "merges": ["a b", ["ab", "b"]]}})";

/// LLaMA-2's kind, with all of its bytes.
std::string pieces() {
    std::string vocabulary = R"("<unk>": 0)";
    constexpr std::string_view digits = "0123456789ABCDEF";
    for (std::size_t byte = 0; byte < 256; ++byte) {
        vocabulary +=
            std::string(", \"<0x") + digits[byte / 16] + digits[byte % 16] + ">\": " + std::to_string(byte + 1);
    }
    return R"({"added_tokens": [{"id": 0, "content": "<unk>", "special": true}], "normalizer": null,
        "pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": false},
        "model": {"type": "BPE", "unk_token": "<unk>", "byte_fallback": true, "merges": ["\u2581 a", "\u2581a a"],
        "vocab": {"\u2581": 257, "a": 258, "\u2581a": 259, "\u2581aa": 260, )" +
           vocabulary + "}}}";
}

/// Replaces up to six stretches of `text` by bytes of `data`, which are taken off its front.
std::string spoiled(std::string text, std::string_view& data) {
    const auto byte = [&data] {
        const std::size_t value = data.empty() ? 0 : static_cast<unsigned char>(data[0]);
        data.remove_prefix(data.empty() ? 0 : 1);
        return value;
    };
    for (std::size_t edits = byte() % 7; edits > 0 && !text.empty(); --edits) {
        const std::size_t high = byte();
        const std::size_t at = (high << 8 | byte()) % text.size();
        const std::size_t removed = byte() % 32;
        const std::string_view added = data.substr(0, byte() % 16);
        data.remove_prefix(added.size());
        text.replace(at, removed, added);
    }
    return text;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    std::string_view data(reinterpret_cast<const char*>(bytes), size);
    const unsigned kind = size == 0 ? 0 : bytes[0] % 4u;
    data.remove_prefix(size == 0 ? 0 : 1);
    const std::string text = kind == 0   ? std::string(data)
                             : kind == 1 ? spoiled(pieces(), data)
                                         : spoiled(std::string(byte_level), data);
    const std::string config = R"({"eos_token": "<|end|>", "add_bos_token": false})";
    bitnet::gguf_writer writer;
    const auto added = bitnet::detail::add_tokenizer_json(
        writer, {.name = "t.json", .tokenizer = text, .tokenizer_config = kind == 3 ? config : std::string_view{}},
        kind == 3 ? 9 : 0);
    if (!added) {
        require(added.error().code != bitnet::errc{} && added.error().message.starts_with("t.json"));
        return 0;
    }
    const auto file = writer.write_memory();
    require(file.has_value());
    const auto parsed = bitnet::gguf_file::parse(file->span(), "made");
    require(parsed.has_value());
    const auto opened = bitnet::tokenizer::open(*parsed);
    if (!opened) {
        require(opened.error().message.starts_with("made: "));
        return 0;
    }
    for (const bool special : {false, true}) {
        const auto encoded = opened->encode("ab abb <|end|> a1", {.parse_special = special});
        require(encoded.has_value() || encoded.error().code == bitnet::errc::invalid_argument);
    }
    return 0;
}
