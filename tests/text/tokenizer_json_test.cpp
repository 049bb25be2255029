// SPDX-License-Identifier: MIT
// tokenizer.json: the same tokenizer as in the GGUF file, every family's steps recognised, everything else refused.
#include <bitnet/io/byte_source.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/gguf_writer.hpp>
#include <bitnet/io/json.hpp>
#include <bitnet/io/quoted_name.hpp>
#include <bitnet/text/open_chat_template.hpp>
#include <bitnet/text/open_tokenizer.hpp>
#include <bitnet/text/tokenizer_json.hpp>

#include <golden/golden_data.hpp>
#include <text/chatml_templates.hpp>
#include <text/small_vocabulary.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;

namespace {
using ids = std::vector<token>;

const std::string llama3_steps =
    R"({"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}, "behavior": "Isolated", "invert": false}, {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]})";
const std::string qwen2_steps =
    R"({"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}, "behavior": "Isolated", "invert": false}, {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false}]})";
const std::string gpt2_steps =
    R"({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true})";
const std::string starcoder_steps =
    R"({"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": true}, )" + gpt2_steps + "]}";
std::string falcon_steps(const std::string& digits) {
    return R"({"type": "Sequence", "pretokenizers": [{"type": "Punctuation", "behavior": "Contiguous"}, )" +
           gpt2_steps + digits +
           R"(, {"type": "Split", "pattern": {"Regex": "[0-9][0-9][0-9]"}, "behavior": "Isolated", "invert": false}]})";
}
const std::string digits_apart = R"(, {"type": "Digits", "individual_digits": false})";
const std::string digits_single = R"(, {"type": "Digits", "individual_digits": true})";
const std::string llama2_normalizer =
    R"({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]})";
const std::string gemma_normalizer = R"({"type": "Replace", "pattern": {"String": " "}, "content": "▁"})";

std::string as_json(std::string_view text) {
    std::string out;
    append_json_string(out, text);
    return out;
}

/// A tokenizer.json, put together from its parts as JSON texts.
struct json_parts {
    std::string type = R"("BPE")";
    std::string normalizer = "null";
    std::string pre_tokenizer = llama3_steps;
    std::string post_processor = "null";
    std::string ignore_merges = "true";
    std::string byte_fallback = "false";
    std::string more = "";                                  ///< further members of the model, each followed by a comma
    std::vector<std::pair<std::string, std::string>> vocab; ///< token and id
    std::vector<std::string> merges;                        ///< as JSON
    std::vector<std::string> added;                         ///< as JSON
    std::string config;
    std::string special_map;
    std::string model_config;
    std::string chat_template;
    std::string pre;
    std::uint64_t rows = 0;

    /// The bytes, "he" and "ll", "hell", and two control tokens after them.
    static json_parts small() {
        json_parts p;
        for (std::size_t byte = 0; byte < 256; ++byte) {
            p.vocab.emplace_back(small_vocabulary::spelling_of(byte), std::to_string(byte));
        }
        for (const char* text : {"he", "ll", "hell"}) {
            p.vocab.emplace_back(text, std::to_string(p.vocab.size()));
        }
        p.merges = {R"("h e")", R"(["l", "l"])", R"("he ll")"};
        p.added = {added_token(259, "<|begin|>", true), added_token(260, "<|end|>", true)};
        p.config = R"({"bos_token": "<|begin|>", "eos_token": {"content": "<|end|>"}, "chat_template": "hi"})";
        return p;
    }

    /// SentencePiece's kind: unk, the bytes, the space mark, letters, "ab", "▁ab".
    static json_parts pieces() {
        json_parts p;
        p.normalizer = llama2_normalizer;
        p.pre_tokenizer = "null";
        p.ignore_merges = "false";
        p.byte_fallback = "true";
        p.more = R"("unk_token": "<unk>", )";
        p.vocab = {{"<unk>", "0"}, {"<s>", "1"}, {"</s>", "2"}};
        constexpr std::string_view digits = "0123456789ABCDEF";
        for (std::size_t byte = 0; byte < 256; ++byte) {
            p.vocab.emplace_back(std::string("<0x") + digits[byte / 16] + digits[byte % 16] + ">",
                                 std::to_string(byte + 3));
        }
        for (const char* text : {"▁", "a", "b", "ab", "▁ab", "▁a"}) {
            p.vocab.emplace_back(text, std::to_string(p.vocab.size()));
        }
        p.merges = {R"("a b")", R"("▁ ab")", R"("▁a b")", R"("▁ a")"};
        p.added = {added_token(0, "<unk>", true), added_token(1, "<s>", true), added_token(2, "</s>", true)};
        p.config = R"({"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "add_bos_token": true})";
        return p;
    }

    static std::string added_token(int id, const std::string& text, bool special, const std::string& flags = "") {
        return R"({"id": )" + std::to_string(id) + R"(, "content": )" + as_json(text) + R"(, "special": )" +
               (special ? "true" : "false") + flags + "}";
    }

    [[nodiscard]] std::string text() const {
        std::string list;
        for (const auto& member : vocab) {
            list += (list.empty() ? "" : ", ") + as_json(member.first) + ": " + member.second;
        }
        return R"({"version": "1.0", "added_tokens": [)" + joined(added) + R"(], "normalizer": )" + normalizer +
               R"(, "pre_tokenizer": )" + pre_tokenizer + R"(, "post_processor": )" + post_processor +
               R"(, "model": {"type": )" + type + ", " + more + R"("ignore_merges": )" + ignore_merges +
               R"(, "byte_fallback": )" + byte_fallback + R"(, "vocab": {)" + list + R"(}, "merges": [)" +
               joined(merges) + "]}}";
    }

    [[nodiscard]] result<file_in_memory> file() const { return file_of(text()); }
    [[nodiscard]] result<file_in_memory> file_of(const std::string& json) const {
        gguf_writer writer;
        auto added_to = add_to(writer, json);
        if (!added_to) {
            return std::move(added_to).error();
        }
        auto bytes = writer.write_memory();
        if (!bytes) {
            return std::move(bytes).error();
        }
        auto parsed = gguf_file::parse(bytes->span(), "from json");
        if (!parsed) {
            return std::move(parsed).error();
        }
        return file_in_memory{*std::move(bytes), *std::move(parsed)};
    }

    [[nodiscard]] result<std::vector<std::string>> add_to(gguf_writer& writer, const std::string& json) const {
        return add_tokenizer_json(writer,
                                  {.name = "tokenizer.json",
                                   .tokenizer = json,
                                   .tokenizer_config = config,
                                   .special_tokens_map = special_map,
                                   .model_config = model_config,
                                   .chat_template = chat_template,
                                   .pre_tokenizer = pre},
                                  rows);
    }
    /// What was passed over.
    [[nodiscard]] std::vector<std::string> notes() const {
        gguf_writer writer;
        auto added_to = add_to(writer, text());
        REQUIRE_MESSAGE(added_to, (added_to ? "" : added_to.error().message));
        return *std::move(added_to);
    }

    [[nodiscard]] static std::string joined(const std::vector<std::string>& parts) {
        std::string out;
        for (const std::string& part : parts) {
            out += (out.empty() ? "" : ", ") + part;
        }
        return out;
    }
};

tokenizer open(const json_parts& parts) {
    const auto file = parts.file();
    REQUIRE_MESSAGE(file, (file ? "" : file.error().message));
    auto opened = tokenizer::open(file->file);
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    return *std::move(opened);
}

std::string read_text(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    REQUIRE(in);
    return {std::istreambuf_iterator<char>(in), {}};
}

std::vector<std::string> strings(const gguf_file& file, std::string_view key) {
    const gguf_value* value = file.find(key);
    REQUIRE(value != nullptr);
    const auto list = value->strings();
    return {list.begin(), list.end()};
}

template <class T> std::vector<T> numbers(const gguf_file& file, std::string_view key) {
    const gguf_value* value = file.find(key);
    REQUIRE(value != nullptr);
    std::vector<T> out;
    for (std::uint64_t i = 0; i < value->count; ++i) {
        out.push_back(value->element<T>(i));
    }
    return out;
}

/// The vocabulary of a GGUF file as the parts of a tokenizer.json.
json_parts parts_of(const gguf_file& file) {
    json_parts p;
    const auto tokens = strings(file, "tokenizer.ggml.tokens");
    const auto kinds = numbers<std::int32_t>(file, "tokenizer.ggml.token_type");
    for (std::size_t id = 0; id < tokens.size(); ++id) {
        if (kinds[id] == 1 || kinds[id] == 6) {
            p.vocab.emplace_back(tokens[id], std::to_string(id));
        } else {
            p.added.push_back(json_parts::added_token(static_cast<int>(id), tokens[id], kinds[id] != 4));
        }
    }
    return p;
}

/// How many of the published cases of a vocabulary differ.
std::size_t differences(const tokenizer& t, const std::string& path) {
    const std::string texts = read_text(path + ".inp");
    std::istringstream expected(read_text(path + ".out"));
    const std::string separator = "\n__ggml_vocab_test__\n";
    std::size_t differing = 0;
    std::string line;
    for (std::size_t from = 0, end = texts.find(separator); end != std::string::npos;
         from = end + separator.size(), end = texts.find(separator, from)) {
        REQUIRE(std::getline(expected, line));
        std::istringstream published(line);
        const auto encoded = t.encode(texts.substr(from, end - from));
        REQUIRE(encoded);
        differing += *encoded == ids{std::istream_iterator<token>(published), {}} ? 0 : 1;
    }
    return differing;
}
} // namespace

TEST_CASE("a byte-level tokenizer.json becomes the keys that the tokenizer opens") {
    json_parts parts = json_parts::small();
    parts.rows = 264;
    const tokenizer t = open(parts);
    CHECK(t.vocabulary_size() == 264);
    CHECK(t.pre_tokenizer().name == "llama-bpe");
    CHECK(!t.pre_tokenizer().inferred);
    CHECK(*t.encode("hello<|end|>") == ids{258, 'o', '<', '|', 'e', 'n', 'd', '|', '>'});
    CHECK(*t.encode("hello<|end|>", {.parse_special = true}) == ids{258, 'o', 260});
    CHECK(t.bos() == 259);
    CHECK(t.eos() == 260);
    CHECK(t.bytes_of(263) == "[PAD263]");
    CHECK(t.encode("[PAD263]", {.parse_special = true})->size() == 8);
    const auto file = parts.file();
    REQUIRE(file);
    CHECK(*file->file.get<std::string_view>("tokenizer.chat_template") == "hi");
    CHECK(strings(file->file, "tokenizer.ggml.merges") == std::vector<std::string>{"h e", "l l", "he ll"});
}

TEST_CASE("the steps of every family select its splitter") {
    const std::vector<std::tuple<std::string, std::string, std::string>> families{
        {llama3_steps, "true", "llama-bpe"},
        {llama3_steps, "false", "smaug-bpe"},
        {qwen2_steps, "false", "qwen2"},
        {gpt2_steps, "false", "gpt-2"},
        {starcoder_steps, "false", "starcoder"},
        {falcon_steps(""), "false", "falcon"},
        {falcon_steps(digits_apart), "false", "falcon"},
        {falcon_steps(digits_single), "false", "falcon3"}};
    for (const auto& family : families) {
        json_parts parts = json_parts::small();
        parts.pre_tokenizer = std::get<0>(family);
        parts.ignore_merges = std::get<1>(family);
        CHECK(open(parts).pre_tokenizer().name == std::get<2>(family));
    }
    json_parts chosen = json_parts::small();
    chosen.pre_tokenizer = R"({"type": "Whitespace"})";
    chosen.pre = "qwen2";
    CHECK(open(chosen).pre_tokenizer().name == "qwen2");
}

TEST_CASE("a step Digits cannot be omitted if a token spans a place where it cuts") {
    json_parts parts = json_parts::small();
    parts.ignore_merges = "false";
    parts.vocab[258].first = "12";
    parts.merges = {R"("1 2")"};
    parts.pre_tokenizer = falcon_steps(digits_apart);
    CHECK(open(parts).pre_tokenizer().name == "falcon");
    for (const auto& [token_text, digits] : {std::pair{"a\u00bc", digits_single}, std::pair{"a1", digits_apart}}) {
        parts.vocab[258].first = token_text;
        parts.merges.clear();
        parts.pre_tokenizer = falcon_steps(digits);
        const auto file = parts.file();
        REQUIRE(!file);
        CHECK(file.error().code == errc::unknown_pre_tokenizer);
        CHECK(file.error().message.find(quoted_name(token_text)) != std::string::npos);
    }
}

TEST_CASE("Falcon3 cuts single digits, from tokenizer.json and from a GGUF file, even where a token joins them") {
    json_parts parts = json_parts::small();
    parts.ignore_merges = "false";
    parts.vocab[258].first = "12";
    parts.merges = {R"("1 2")"};
    parts.pre_tokenizer = falcon_steps(digits_single);
    const tokenizer folder = open(parts);
    CHECK(*folder.encode(" 12") == ids{' ', '1', '2'});
    const auto made = parts.file();
    REQUIRE(made);
    for (const char* name : {"falcon3", "falcon_e"}) {
        const auto file = tokenizer::open(made->file, {.pre_tokenizer = name});
        REQUIRE(file);
        for (const std::string text : {"a 12,345!", "x1\n\n 2", "\u00bd 12\u00b2", "it's $5 <a> ``b``"}) {
            CHECK(*file->encode(text) == *folder.encode(text));
        }
    }
}

TEST_CASE("the tokens that every text gets come from the template, then from the flags") {
    json_parts parts = json_parts::small();
    CHECK(open(parts).add_bos()); // the file does not say: as in all files of LLaMA-3's kind
    parts.config = R"({"bos_token": "<|begin|>", "eos_token": "<|end|>", "add_bos_token": false})";
    CHECK(!open(parts).add_bos());
    CHECK(!open(parts).add_eos());
    const std::string begin = R"({"SpecialToken": {"id": "<|begin|>", "type_id": 0}})";
    const std::string end = R"({"SpecialToken": {"id": "<|end|>", "type_id": 0}})";
    const std::string text = R"({"Sequence": {"id": "A", "type_id": 0}})";
    const auto processor = [](const std::string& single) {
        return R"({"type": "Sequence", "processors": [{"type": "ByteLevel"}, {"type": "TemplateProcessing", "single": [)" +
               single + "]}]}";
    };
    parts.post_processor = processor(begin + ", " + text);
    CHECK(open(parts).add_bos());
    CHECK(!open(parts).add_eos());
    // As Qwen3's embedding models: the token after every text is not eos_token.
    parts.added.push_back(json_parts::added_token(261, "<|endoftext|>", true));
    parts.post_processor = processor(text + R"(, {"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}})");
    const tokenizer appending = open(parts);
    CHECK(!appending.add_bos());
    CHECK(appending.add_eos());
    CHECK(appending.eos() == 261);
    CHECK(appending.eot() == 260);
    CHECK(appending.is_stop(260));
    parts.post_processor = processor(begin + ", " + begin + ", " + text);
    CHECK(!parts.file());
}

TEST_CASE("roles come from the config, then from the map, then from the model's ids") {
    json_parts parts = json_parts::small();
    parts.config.clear();
    CHECK(!open(parts).bos());
    parts.model_config = R"({"bos_token_id": 260, "eos_token_id": [259, 260], "pad_token_id": 258})";
    CHECK(open(parts).bos() == 260);
    CHECK(!open(parts).eos());
    parts.special_map = R"({"bos_token": {"content": "<|begin|>"}, "eos_token": "<|end|>"})";
    CHECK(open(parts).bos() == 259);
    CHECK(open(parts).eos() == 260);
    parts.config = R"({"chat_template": [{"name": "tool", "template": "x"}, {"name": "default", "template": "y"}]})";
    CHECK(*parts.file()->file.get<std::string_view>("tokenizer.chat_template") == "y");
    parts.chat_template = "from the file";
    CHECK(*parts.file()->file.get<std::string_view>("tokenizer.chat_template") == "from the file");
}

TEST_CASE("a padding or unknown token that is none is passed over with a note") {
    json_parts parts = json_parts::small();
    CHECK(parts.notes().empty());
    for (const char* id : {"-1", "261", "4294967295", "99999999999"}) {
        parts.model_config = R"({"pad_token_id": )" + std::string(id) + R"(, "bos_token_id": -1})";
        CHECK(open(parts).bos() == 259);
        const auto notes = parts.notes();
        REQUIRE(notes.size() == 1);
        CHECK(notes[0] == "config.json: pad_token " + std::string(id) +
                              " is not one of the 261 tokens; no text needs this token, so it is passed over");
    }
    parts.model_config = R"({"pad_token_id": null})";
    CHECK(parts.notes().empty());
    parts.config = R"({"unk_token": "<unk>", "pad_token": {"content": "<|end|>"}})";
    REQUIRE(parts.notes().size() == 1);
    CHECK(parts.notes()[0].starts_with("tokenizer_config.json: unk_token '<unk>' is not one of the 261 tokens"));
    CHECK(*parts.file()->file.get<int>("tokenizer.ggml.padding_token_id") == 260);
}

TEST_CASE("a BOS that no text gets may be no token, with a note, and one that texts get may not") {
    json_parts parts = json_parts::small();
    for (const char* bos : {R"("bos_token": "<s>")", R"("bos_token_id": 300)"}) {
        parts.config = "{" + std::string(bos) + R"(, "eos_token": "<|end|>", "add_bos_token": false})";
        CHECK(!open(parts).bos());
        REQUIRE(parts.notes().size() == 1);
        CHECK(parts.notes()[0].starts_with("tokenizer_config.json: bos_token "));
        parts.config = "{" + std::string(bos) + R"(, "eos_token": "<|end|>"})";
        CHECK(parts.file().error().code == errc::bad_vocabulary);
    }
}

TEST_CASE("added tokens that are not special are found in text, unless named like control tokens") {
    json_parts parts = json_parts::small();
    parts.added.push_back(json_parts::added_token(261, "<think>", false));
    parts.added.push_back(json_parts::added_token(262, "<|tool|>", false));
    const tokenizer t = open(parts);
    CHECK(*t.encode("a<think>") == ids{'a', 261});
    CHECK(t.encode("<|tool|>")->size() == 8);
    CHECK(*t.encode("<|tool|>", {.parse_special = true}) == ids{262});
}

TEST_CASE("a line feed that was added again is what merging makes, and a GGUF file of any form encodes alike") {
    for (const auto& [steps, ignore] :
         {std::pair{llama3_steps, "true"}, std::pair{falcon_steps(digits_single), "false"}}) {
        json_parts plain = json_parts::small();
        plain.pre_tokenizer = steps;
        plain.ignore_merges = ignore;
        plain.vocab[258].first = "\u010a\u010a";
        plain.merges = {R"("h e")", R"(["l", "l"])", "\"\u010a \u010a\""};
        const tokenizer expected = open(plain);
        for (const bool special : {false, true}) {
            for (const bool decoded : {false, true}) {
                json_parts parts = plain;
                for (const auto& [id, text, bytes] : {std::tuple{10, "\u010a", "\n"}, std::tuple{9, "\u0109", "\t"},
                                                      std::tuple{258, "\u010a\u010a", "\n\n"}}) {
                    parts.added.push_back(json_parts::added_token(id, decoded ? bytes : text, special));
                }
                const tokenizer t = open(parts);
                for (const std::string text : {"a\nb", "a\n\n\nb\t", " \n\n", "\n\n", "\t\n he"}) {
                    CHECK(*t.encode(text) == *expected.encode(text));
                    CHECK(*t.encode(text, {.parse_special = true}) == *expected.encode(text));
                    CHECK(t.decode(*t.encode(text)) == text);
                }
                CHECK(t.encode("a\n\n")->size() == 2);
                CHECK(!t.is_special(10));
                CHECK(parts.notes().empty());
            }
        }
    }
}

TEST_CASE("a line feed that only added_tokens has is that byte, too") {
    for (const bool special : {false, true}) {
        for (const std::string text : {"\u010a", "\n"}) {
            json_parts parts = json_parts::small();
            parts.vocab[10].first = "feed";
            parts.added.push_back(json_parts::added_token(261, text, special));
            const tokenizer t = open(parts);
            CHECK(*t.encode("a\nb\n") == ids{'a', 261, 'b', 261});
            CHECK(t.decode(ids{'a', 261}) == "a\n");
            CHECK(!t.is_special(261));
        }
    }
}

TEST_CASE("a byte that the vocabulary lacks becomes the model's unknown token, if it names one") {
    json_parts parts = json_parts::small();
    parts.vocab[12].first = "feed";
    CHECK(!open(parts).encode("\f"));
    parts.added.push_back(json_parts::added_token(261, "<unk>", true));
    parts.more = R"("unk_token": "<unk>", )";
    CHECK(*open(parts).encode("a\f") == ids{'a', 261});
    parts.more = R"("unk_token": "<|end|>", )"; // which would end the text
    CHECK(!open(parts).encode("\f"));
}

TEST_CASE("an added token that the model spells alike is found in text, and a special one never by merging") {
    json_parts parts = json_parts::small();
    parts.added.push_back(json_parts::added_token(258, "hell", false));
    parts.added.push_back(json_parts::added_token(257, "ll", true));
    const tokenizer t = open(parts);
    CHECK(*t.encode("ahello") == ids{'a', 258, 'o'});
    CHECK(*t.encode("all") == ids{'a', 'l', 'l'});
    CHECK(*t.encode("all", {.parse_special = true}) == ids{'a', 257});
}

TEST_CASE("added tokens beyond the rows of the embedding are left out with a note, unless they are needed") {
    json_parts parts = json_parts::small();
    parts.rows = 261;
    parts.added.push_back(json_parts::added_token(261, "<image_soft_token>", true));
    const tokenizer t = open(parts);
    CHECK(t.vocabulary_size() == 261);
    CHECK(!t.find_special("<image_soft_token>"));
    REQUIRE(parts.notes().size() == 1);
    CHECK(parts.notes()[0] ==
          "added token '<image_soft_token>' has id 261, beyond the 261 rows of the embedding: it is left out");
    parts.rows = 270;
    parts.added.back() = json_parts::added_token(270, "<far>", false); // with a gap of padding below
    CHECK(open(parts).vocabulary_size() == 270);
    CHECK(parts.notes().size() == 1);
    parts.config = R"({"bos_token": "<|begin|>", "eos_token": "<|end|>", "pad_token": "<far>"})";
    CHECK(open(parts).eos() == 260);
    CHECK(parts.notes().size() == 2);
    parts.config = R"({"eos_token": "<far>"})";
    const auto refused = parts.file();
    REQUIRE(!refused);
    CHECK(refused.error().code == errc::inconsistent);
    CHECK(refused.error().message.find("271 tokens, but the embedding has 270 rows") != std::string::npos);
    parts.rows = 258; // a word of the model
    parts.added.clear();
    parts.config.clear();
    CHECK(parts.file().error().code == errc::inconsistent);
}

TEST_CASE("BPE with byte fallback becomes SentencePiece, with a space in front or without") {
    json_parts parts = json_parts::pieces();
    const tokenizer t = open(parts);
    const auto id = [&parts](std::string_view text) {
        return static_cast<token>(std::find_if(parts.vocab.begin(), parts.vocab.end(),
                                               [&](const auto& member) { return member.first == text; }) -
                                  parts.vocab.begin());
    };
    CHECK(t.adds_space_prefix());
    CHECK(t.add_bos());
    CHECK(*t.encode("ab a\n") == ids{id("▁ab"), id("▁a"), id("<0x0A>")});
    CHECK(*t.encode("ab<s>ab") == ids{id("▁ab"), id("<0x3C>"), id("<0x73>"), id("<0x3E>"), id("ab")});
    CHECK(*t.encode("ab<s>ab", {.parse_special = true}) == ids{id("▁ab"), id("<s>"), id("▁ab")});
    CHECK(t.is_special(0));
    parts.normalizer = gemma_normalizer;
    parts.pre_tokenizer =
        R"({"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": false})";
    parts.added.push_back(json_parts::added_token(265, "▁▁", false));
    const tokenizer gemma = open(parts);
    CHECK(!gemma.adds_space_prefix());
    CHECK(*gemma.encode("ab ab") == ids{id("ab"), id("▁ab")});
    CHECK(*gemma.encode("a  b") == ids{id("a"), 265, id("b")});
    CHECK(gemma.decode(*gemma.encode(" a  b ")) == " a  b ");
    parts.normalizer = "null";
    parts.pre_tokenizer = R"({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false})";
    CHECK(open(parts).adds_space_prefix());
}

TEST_CASE("every unsupported tokenizer.json is refused with its own sentence") {
    struct refusal {
        const char* name;
        std::function<void(json_parts&)> spoil;
        errc code;
        std::vector<std::string> words;
    };
    using p = json_parts&;
    const std::vector<refusal> all{
        {"another model",
         [](p s) { s.type = R"("Unigram")"; },
         errc::unsupported_tokenizer,
         {"model.type", "'Unigram'"}},
        {"a subword prefix",
         [](p s) { s.more = R"("continuing_subword_prefix": "##", )"; },
         errc::unsupported_tokenizer,
         {"continuing_subword_prefix"}},
        {"a normalizer",
         [](p s) { s.normalizer = R"({"type": "Lowercase"})"; },
         errc::unsupported_tokenizer,
         {"Lowercase"}},
        {"an unknown regex",
         [](p s) {
             s.pre_tokenizer =
                 R"({"type": "Split", "pattern": {"Regex": "\\d+x"}, "behavior": "Isolated", "invert": false})";
         },
         errc::unknown_pre_tokenizer,
         {"\\d+x"}},
        {"a known regex with another behaviour",
         [](p s) { s.pre_tokenizer.replace(s.pre_tokenizer.find("Isolated"), 8, "Removed"); },
         errc::unknown_pre_tokenizer,
         {"Removed"}},
        {"a known regex, inverted",
         [](p s) { s.pre_tokenizer.replace(s.pre_tokenizer.find("\"invert\": false"), 15, "\"invert\": true"); },
         errc::unknown_pre_tokenizer,
         {"invert"}},
        {"a prefix space",
         [](p s) { s.pre_tokenizer = R"({"type": "ByteLevel", "add_prefix_space": true, "use_regex": true})"; },
         errc::unknown_pre_tokenizer,
         {"add_prefix_space"}},
        {"whole pieces that no splitter has",
         [](p s) { s.pre_tokenizer = qwen2_steps; },
         errc::unknown_pre_tokenizer,
         {"ignore_merges true"}},
        {"byte fallback without SentencePiece's steps",
         [](p s) { s.byte_fallback = "true"; },
         errc::unsupported_tokenizer,
         {"byte_fallback"}},
        {"ignore_merges that is a number",
         [](p s) { s.ignore_merges = "1"; },
         errc::wrong_type,
         {"'ignore_merges'", "number"}},
        {"an id twice", [](p s) { s.vocab[7].second = "8"; }, errc::bad_vocabulary, {"id 8"}},
        {"a hole", [](p s) { s.vocab.erase(s.vocab.begin() + 7); }, errc::bad_vocabulary, {"260", "ids are missing"}},
        {"a hole after a token that is listed twice",
         [](p s) {
             s.vocab.erase(s.vocab.begin() + 7);
             s.added.push_back(s.added.back());
         },
         errc::bad_vocabulary,
         {"no token has id 7"}},
        {"a huge id", [](p s) { s.vocab[7].second = "4000000000"; }, errc::bad_vocabulary, {"4000000000", "261"}},
        {"a negative id", [](p s) { s.vocab[7].second = "-1"; }, errc::bad_vocabulary, {"no id"}},
        {"an id that is text", [](p s) { s.vocab[7].second = "\"7\""; }, errc::bad_vocabulary, {"no id"}},
        {"an empty token", [](p s) { s.vocab[7].first = ""; }, errc::bad_vocabulary, {"token 7 is empty"}},
        {"an added token without text",
         [](p s) { s.added[0] = R"({"id": 259})"; },
         errc::bad_vocabulary,
         {"added_tokens"}},
        {"an added token that eats white space",
         [](p s) { s.added[0] = json_parts::added_token(259, "<|begin|>", true, R"(, "rstrip": true)"); },
         errc::unsupported_tokenizer,
         {"<|begin|>", "rstrip"}},
        {"a merge of three", [](p s) { s.merges[1] = R"("l l l")"; }, errc::bad_vocabulary, {"merges[1]", "'l l l'"}},
        {"a merge of one", [](p s) { s.merges[1] = R"("ll")"; }, errc::bad_vocabulary, {"merges[1]", "'ll'"}},
        {"a merge with an empty half",
         [](p s) { s.merges[1] = R"(["", "l"])"; },
         errc::bad_vocabulary,
         {"merges[1]", "''"}},
        {"a merge with a space in it",
         [](p s) { s.merges[1] = R"(["a b", "l"])"; },
         errc::bad_vocabulary,
         {"merges[1]", "'a b'"}},
        {"a merge that is a number", [](p s) { s.merges[1] = "5"; }, errc::bad_vocabulary, {"merges[1]"}},
        {"a BOS that is no token",
         [](p s) { s.config = R"({"bos_token": "<s>"})"; },
         errc::bad_vocabulary,
         {"tokenizer_config.json", "bos_token", "'<s>'"}},
        {"an EOS id outside",
         [](p s) {
             s.config.clear();
             s.model_config = R"({"eos_token_id": 261})";
         },
         errc::bad_vocabulary,
         {"config.json", "eos_token", "261"}},
        {"a config that is no JSON", [](p s) { s.config = "{"; }, errc::bad_json, {"tokenizer_config.json"}},
        {"more tokens than rows", [](p s) { s.rows = 260; }, errc::inconsistent, {"261 tokens", "260 rows"}},
        {"too many rows", [](p s) { s.rows = 1ull << 31; }, errc::out_of_range, {"2147483648"}},
    };
    for (const refusal& r : all) {
        CAPTURE(r.name);
        json_parts spoiled = json_parts::small();
        r.spoil(spoiled);
        const auto file = spoiled.file();
        REQUIRE(!file);
        CAPTURE(file.error().message);
        CHECK(file.error().code == r.code);
        CHECK(file.error().message.starts_with("tokenizer.json"));
        for (const std::string& word : r.words) {
            CAPTURE(word);
            CHECK(file.error().message.find(word) != std::string::npos);
        }
    }
    const json_parts good = json_parts::small();
    CHECK(good.file_of("").error().code == errc::bad_json);
    CHECK(good.file_of("[]").error().code == errc::missing_key);
    CHECK(good.file_of(R"({"model": 5})").error().code == errc::wrong_type);
    CHECK(good.file_of(R"({"model": {"type": "BPE"}})").error().code == errc::unknown_pre_tokenizer);
    CHECK(good.file_of(R"({"model": {"type": "BPE"}, "pre_tokenizer": )" + gpt2_steps + "}").error().code ==
          errc::missing_key);
    CHECK(good.file_of(R"({"model": {"type": "BPE", "vocab": {}}, "added_tokens": {}, "pre_tokenizer": )" + gpt2_steps +
                       "}")
              .error()
              .code == errc::wrong_type);
}

TEST_CASE("golden: the tiny model's tokenizer.json is its GGUF tokenizer") {
    if (skip_without_golden()) {
        return;
    }
    const auto source = byte_source::open(golden_path("tiny/tiny-a-i2_s.gguf"));
    REQUIRE(source);
    const auto gguf = gguf_file::parse(source->bytes(), "tiny");
    REQUIRE(gguf);
    for (const std::string directory : {"tiny/hf/", "tiny/hf-bf16/"}) {
        json_parts parts;
        parts.config = read_text(golden_path(directory + "tokenizer_config.json"));
        parts.special_map = read_text(golden_path(directory + "special_tokens_map.json"));
        parts.model_config = read_text(golden_path(directory + "config.json"));
        parts.rows = 4128;
        const auto made = parts.file_of(read_text(golden_path(directory + "tokenizer.json")));
        REQUIRE_MESSAGE(made, (made ? "" : made.error().message));
        for (const char* key : {"tokenizer.ggml.tokens", "tokenizer.ggml.merges"}) {
            CHECK(strings(made->file, key) == strings(*gguf, key));
        }
        CHECK(numbers<std::int32_t>(made->file, "tokenizer.ggml.token_type") ==
              numbers<std::int32_t>(*gguf, "tokenizer.ggml.token_type"));
        CHECK(numbers<float>(made->file, "tokenizer.ggml.scores") == numbers<float>(*gguf, "tokenizer.ggml.scores"));
        for (const char* key : {"tokenizer.ggml.model", "tokenizer.ggml.pre", "tokenizer.chat_template"}) {
            CHECK(*made->file.get<std::string_view>(key) == *gguf->get<std::string_view>(key));
        }
        const auto expected = tokenizer::open(*gguf);
        const auto opened = tokenizer::open(made->file);
        REQUIRE(expected);
        REQUIRE(opened);
        CHECK(opened->bos() == expected->bos());
        CHECK(opened->eos() == expected->eos());
        CHECK(opened->add_bos() == expected->add_bos());
        const std::string name = "tiny/golden/tokenizer.json";
        const auto document = json_document::parse(read_text(golden_path(name)), name);
        REQUIRE(document);
        for (const json_value object : document->root().elements()) {
            const std::string text(object.find("text")->as_string().value());
            ids golden;
            for (const json_value id : object.find("ids")->elements()) {
                golden.push_back(id.as_integer<token>().value());
            }
            CHECK(*opened->encode(text, {.parse_special = true}) == golden);
        }
    }
}

TEST_CASE("golden: byte-level vocabularies as tokenizer.json give llama.cpp's published ids") {
    if (skip_without_golden()) {
        return;
    }
    const std::vector<std::pair<std::string, std::string>> families{
        {"gpt-2", gpt2_steps}, {"starcoder", starcoder_steps}, {"falcon", falcon_steps(digits_apart)}};
    for (const auto& family : families) {
        const std::string path = golden_path("tokenizer/others/" + family.first + ".gguf");
        CAPTURE(path);
        const auto source = byte_source::open(path);
        REQUIRE(source);
        const auto gguf = gguf_file::parse(source->bytes(), path);
        REQUIRE(gguf);
        json_parts parts = parts_of(*gguf);
        parts.ignore_merges = "false";
        parts.pre_tokenizer = family.second;
        for (const std::string& merge : strings(*gguf, "tokenizer.ggml.merges")) {
            parts.merges.push_back(as_json(merge));
        }
        CHECK(differences(open(parts), path) == 0);
    }
}

TEST_CASE("golden: LLaMA-2's tokenizer.json gives the same ids by merges and by scores") {
    if (skip_without_golden()) {
        return;
    }
    const std::string path = golden_path("tokenizer/others/llama-spm.gguf");
    const auto source = byte_source::open(path);
    REQUIRE(source);
    const auto gguf = gguf_file::parse(source->bytes(), path);
    REQUIRE(gguf);
    json_parts parts = parts_of(*gguf);
    parts.normalizer = llama2_normalizer;
    parts.pre_tokenizer = "null";
    parts.ignore_merges = "false";
    parts.byte_fallback = "true";
    // The merges as transformers' converter makes them: all cuts of every token, best score first.
    const auto tokens = strings(*gguf, "tokenizer.ggml.tokens");
    const auto scores = numbers<float>(*gguf, "tokenizer.ggml.scores");
    const auto kinds = numbers<std::int32_t>(*gguf, "tokenizer.ggml.token_type");
    std::map<std::string, std::size_t> known;
    std::vector<std::size_t> order;
    for (std::size_t id = 0; id < tokens.size(); ++id) {
        if (kinds[id] == 1) {
            known[tokens[id]] = id;
            order.push_back(id);
        }
    }
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return scores[a] > scores[b]; });
    for (const std::size_t id : order) {
        for (std::size_t i = 1; i < tokens[id].size(); ++i) {
            const std::string left = tokens[id].substr(0, i);
            const std::string right = tokens[id].substr(i);
            if (known.contains(left) && known.contains(right)) {
                parts.merges.push_back("[" + as_json(left) + ", " + as_json(right) + "]");
            }
        }
    }
    CHECK(parts.merges.size() == 61249);
    const auto made = parts.file();
    REQUIRE_MESSAGE(made, (made ? "" : made.error().message));
    const auto by_merges = tokenizer::open(made->file);
    REQUIRE_MESSAGE(by_merges, (by_merges ? "" : by_merges.error().message));
    CHECK(differences(*by_merges, path) == 0);
    gguf_writer only_scores;
    for (const gguf_value& value : made->file.metadata()) {
        if (value.key != "tokenizer.ggml.merges") {
            only_scores.add(value);
        }
    }
    const auto bytes = only_scores.write_memory();
    REQUIRE(bytes);
    const auto file = gguf_file::parse(bytes->span(), "scores");
    REQUIRE(file);
    const auto by_scores = tokenizer::open(*file);
    REQUIRE(by_scores);
    CHECK(differences(*by_scores, path) == 0);
    const std::string english = read_text(golden_path("tiny/golden/heldout20k.txt"));
    CHECK(*by_scores->encode(english) == *by_merges->encode(english));
    CHECK(by_merges->decode(*by_merges->encode(english)) == english);
}

TEST_CASE("a folder of a thinking model has the dialogs of its GGUF file, from either place of the template") {
    json_parts parts = json_parts::small();
    parts.pre_tokenizer = qwen2_steps;
    parts.ignore_merges = "false";
    int id = 261;
    for (const char* mark : {"<|im_start|>", "<|im_end|>", "<|endoftext|>"}) {
        parts.added.push_back(json_parts::added_token(id++, mark, true));
    }
    for (const char* mark : {"<think>", "</think>", "<tool_call>", "</tool_call>"}) {
        parts.added.push_back(json_parts::added_token(id++, mark, false));
    }
    const std::string text = bitnet_tests::thinking_turns + bitnet_tests::told_prompt;
    for (const bool in_config : {true, false}) {
        parts.config = R"({"eos_token": "<|im_end|>", "add_bos_token": false)" +
                       (in_config ? R"(, "chat_template": )" + as_json(text) : "") + "}";
        parts.chat_template = in_config ? "" : text;
        const auto file = parts.file();
        REQUIRE_MESSAGE(file, (file ? "" : file.error().message));
        const auto tokens = tokenizer::open(file->file);
        REQUIRE_MESSAGE(tokens, (tokens ? "" : tokens.error().message));
        CHECK(*tokens->encode("<think>") == ids{264});
        CHECK(!tokens->is_special(264));
        const auto chat = chat_template::open(file->file, *tokens);
        REQUIRE_MESSAGE(chat, (chat ? "" : chat.error().message));
        CHECK(chat->has_tools());
        CHECK(chat->stop_tokens() == ids{260, 262, 263}); // the first is <|end|>
        const std::vector<chat_message> messages{{"user", "he"}, {"assistant", "<think>T</think>ll"}};
        const auto made = chat->encode(messages, false);
        REQUIRE(made);
        CHECK(tokens->decode(*made) ==
              "<|im_start|>user\nhe<|im_end|>\n<|im_start|>assistant\n<think>\nT\n</think>\n\nll<|im_end|>\n");
        CHECK(std::count(made->begin(), made->end(), 264) == 1);
    }
}
