// SPDX-License-Identifier: MIT
// tokenizer: encoding, decoding, what it reports; and all golden files, with no difference.
#include <bitnet/core/utf8.hpp>
#include <bitnet/io/byte_source.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/json.hpp>
#include <bitnet/text/open_tokenizer.hpp>
#include <bitnet/text/stream_decoder.hpp>

#include <golden/golden_data.hpp>
#include <text/small_vocabulary.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iterator>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;

namespace {
using ids = std::vector<token>;

tokenizer open_small(const small_vocabulary& keys, tokenizer_options options = {}) {
    const auto file = keys.file();
    REQUIRE(file);
    auto opened = tokenizer::open(file->file, options);
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    return *std::move(opened); // and the file goes: the tokenizer needs it no more
}

tokenizer open_file(const std::string& path, tokenizer_options options = {}) {
    const auto source = byte_source::open(path);
    REQUIRE_MESSAGE(source, (source ? "" : source.error().message));
    const auto file = gguf_file::parse(source->bytes(), path);
    REQUIRE_MESSAGE(file, (file ? "" : file.error().message));
    auto opened = tokenizer::open(*file, options);
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    return *std::move(opened);
}

const tokenizer& llama3() {
    static const tokenizer opened = open_file(golden_path("tokenizer/llama3-vocab.gguf"));
    return opened;
}

std::string read_text(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    REQUIRE(in);
    return {std::istreambuf_iterator<char>(in), {}};
}

ids ids_of(const json_value& list) {
    ids read;
    for (const json_value id : list.elements()) {
        read.push_back(id.as_integer<token>().value());
    }
    return read;
}

struct golden_case {
    std::string text;
    ids expected;
};

golden_case case_of(const json_value& object) {
    golden_case c;
    const auto text = object.find("text");
    const auto list = object.find("ids");
    REQUIRE(text);
    REQUIRE(list);
    c.text = text->as_string().value();
    c.expected = ids_of(*list);
    return c;
}

/// How many cases of a JSON Lines file differ; `cases` counts them.
std::size_t differences(const std::string& name, bool parse_special, std::size_t& cases) {
    std::istringstream lines(read_text(golden_path("tokenizer/" + name)));
    std::size_t differing = 0;
    cases = 0;
    for (std::string line; std::getline(lines, line);) {
        const auto document = json_document::parse(line, name);
        REQUIRE_MESSAGE(document, (document ? "" : document.error().message));
        const golden_case c = case_of(document->root());
        const auto encoded = llama3().encode(c.text, {.parse_special = parse_special});
        REQUIRE(encoded);
        if (*encoded != c.expected || llama3().decode(*encoded) != c.text) {
            ++differing;
            MESSAGE(name, " differs: ", c.text);
        }
        ++cases;
    }
    return differing;
}

/// FNV-1a 64 as the golden sweep counts it.
struct digest {
    std::uint64_t value = 0xcbf29ce484222325u;
    void add(std::uint32_t number) {
        for (int i = 0; i < 4; ++i, number >>= 8) {
            value = (value ^ (number & 0xff)) * 0x100000001b3u;
        }
    }
    void add(const ids& tokens) {
        add(static_cast<std::uint32_t>(tokens.size()));
        for (const token id : tokens) {
            add(static_cast<std::uint32_t>(id));
        }
    }
};

std::string repeated(std::string_view unit, std::size_t size) {
    std::string text;
    while (text.size() < size) {
        text += unit;
    }
    return text;
}

/// Processor time of this program for encoding, at best: a busy machine hardly changes it.
double best_seconds(const tokenizer& t, const std::string& text) {
    double best = 1e9;
    ids tokens;
    for (int run = 0; run < 3; ++run) {
        tokens.clear();
        const std::clock_t start = std::clock();
        REQUIRE(t.encode(text, tokens));
        best = std::min(best, static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC);
    }
    return best;
}

/// Speed is promised for optimised builds. Without optimisation or under a sanitizer, a tenth of it has to do.
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(undefined_behavior_sanitizer)
constexpr double slower = 10;
#elif defined(__OPTIMIZE__)
constexpr double slower = 1;
#else
constexpr double slower = 10;
#endif
#elif defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
constexpr double slower = 1;
#else
constexpr double slower = 10;
#endif

ids sweep_ids(char32_t c) {
    std::string s;
    append_utf8(s, c);
    const std::string text = "a" + s + "1" + s + "2345 " + s + "'s\n" + s + s + "'ll";
    const auto encoded = llama3().encode(text);
    REQUIRE(encoded);
    REQUIRE(llama3().decode(*encoded) == text);
    return *encoded;
}
} // namespace

TEST_CASE("pieces become whole tokens if there is one, and are merged otherwise") {
    const small_vocabulary keys;
    const tokenizer t = open_small(keys);
    CHECK(*t.encode("hello world") == ids{keys.token_of("hello"), keys.token_of("\u0120world")});
    CHECK(*t.encode("xyzzy") == ids{keys.token_of("xyzzy")});
    CHECK(*t.encode("xyzzyx") == ids{'x', 'y', 'z', 'z', 'y', 'x'});
    CHECK(*t.encode("hellx") == ids{keys.token_of("hell"), 'x'});
    CHECK(t.encode("")->empty());
}

TEST_CASE("control tokens in text are text unless parse_special is set") {
    const small_vocabulary keys;
    const tokenizer t = open_small(keys);
    const std::string text = "hello<|eot_id|><|eot_id|";
    CHECK(t.encode(text)->size() == 1 + 10 + 9);
    const auto parsed = t.encode(text, {.parse_special = true});
    REQUIRE(parsed->size() == 2 + 9);
    CHECK((*parsed)[1] == keys.token_of("<|eot_id|>"));
    CHECK(t.decode(*parsed) == text);
    CHECK(t.is_special((*parsed)[1]));
    CHECK(!t.is_special((*parsed)[0]));
    CHECK(!t.is_special(-1));
    CHECK(!t.is_special(279));
}

TEST_CASE("encoding appends to the caller's tokens") {
    const tokenizer t = open_small({});
    ids out{7};
    REQUIRE(t.encode("ab", out));
    CHECK(out == ids{7, 'a', 'b'});
}

TEST_CASE("decode(encode(x)) is x for random bytes") {
    const tokenizer t = open_small({});
    std::uint64_t state = 5;
    std::size_t differing = 0;
    for (int round = 0; round < 2000; ++round) {
        std::string text;
        for (int i = 0; i < 120; ++i) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            text += static_cast<char>(static_cast<unsigned char>(state >> 56));
        }
        for (const bool special : {false, true}) {
            const auto encoded = t.encode(text, {.parse_special = special});
            REQUIRE(encoded);
            differing += t.decode(*encoded) != text ? 1 : 0;
        }
    }
    CHECK(differing == 0);
}

TEST_CASE("tokens outside the vocabulary have no bytes") {
    const tokenizer t = open_small({});
    CHECK(t.bytes_of(-1).empty());
    CHECK(t.bytes_of(279).empty());
    CHECK(t.bytes_of(INT32_MAX).empty());
    CHECK(t.decode(ids{'a', -5, 'b', 100000}) == "ab");
}

TEST_CASE("the tokenizer reports its special tokens, from the keys or from their spelling") {
    small_vocabulary keys;
    const tokenizer by_spelling = open_small(keys);
    CHECK(by_spelling.bos() == keys.token_of("<|begin_of_text|>"));
    CHECK(by_spelling.eos() == keys.token_of("<|end_of_text|>"));
    CHECK(by_spelling.eot() == keys.token_of("<|eot_id|>"));
    CHECK(by_spelling.find_special("<|eot_id|>") == keys.token_of("<|eot_id|>"));
    CHECK(!by_spelling.find_special("xyzzy"));
    REQUIRE(by_spelling.stop_tokens().size() == 2);
    CHECK(by_spelling.is_stop(keys.token_of("<|end_of_text|>")));
    CHECK(by_spelling.is_stop(keys.token_of("<|eot_id|>")));
    CHECK(!by_spelling.is_stop(keys.token_of("<|begin_of_text|>")));
    keys.ids.emplace_back("eot", keys.id_of("xyzzy"));
    keys.ids.emplace_back("eom", keys.id_of("<|reserved_special_token_2|>"));
    const tokenizer by_key = open_small(keys);
    CHECK(by_key.eot() == keys.token_of("xyzzy"));
    CHECK(by_key.is_stop(keys.token_of("<|reserved_special_token_2|>")));
    CHECK(by_key.stop_tokens().size() == 3);
}

TEST_CASE("BOS is added if the file says so, or if it does not say and there is one") {
    small_vocabulary keys;
    CHECK(open_small(keys).add_bos());
    keys.add_bos = false;
    CHECK(!open_small(keys).add_bos());
    keys.add_bos.reset();
    CHECK(open_small(keys).add_bos());
    keys.ids.clear();
    CHECK(!open_small(keys).add_bos());
    CHECK(!open_small(keys).bos());
}

TEST_CASE("tokens that begin with BOS twice are noticed") {
    const tokenizer t = open_small({});
    const token bos = *t.bos();
    CHECK(t.begins_twice(ids{bos, bos}));
    CHECK(t.begins_twice(ids{bos, bos, bos, 'a'}));
    for (const ids& once : {ids{}, ids{bos}, ids{bos, 'a', bos}, ids{'a', bos, bos}, ids{'a', 'a'}}) {
        CHECK(!t.begins_twice(once));
    }
    small_vocabulary without;
    without.ids.clear();
    without.add_bos = false;
    CHECK(!open_small(without).begins_twice(ids{bos, bos}));
}

TEST_CASE("the pre-tokenizer is the caller's, the file's or inferred, and the choice says which") {
    small_vocabulary keys;
    const tokenizer named = open_small(keys);
    CHECK(named.pre_tokenizer().name == "llama-bpe");
    CHECK(!named.pre_tokenizer().inferred);
    keys.pre.reset();
    const tokenizer inferred = open_small(keys);
    CHECK(inferred.pre_tokenizer().name == "llama-bpe");
    CHECK(inferred.pre_tokenizer().inferred);
    CHECK(inferred.pre_tokenizer().why.find("LLaMA-3's order") != std::string::npos);
    keys.pre = "nonsense";
    const tokenizer overridden = open_small(keys, {.pre_tokenizer = "llama3"});
    CHECK(overridden.pre_tokenizer().name == "llama3");
    CHECK(!overridden.pre_tokenizer().inferred);
    CHECK(overridden.pre_tokenizer().why.find("'nonsense'") != std::string::npos);
    const auto file = keys.file();
    REQUIRE(file);
    const auto wrong = tokenizer::open(file->file, {.pre_tokenizer = "nonsense"});
    REQUIRE(!wrong);
    CHECK(wrong.error().code == errc::unknown_pre_tokenizer);
    CHECK(wrong.error().message.find("'nonsense'") != std::string::npos);
}

TEST_CASE("128256 tokens with BOS 128000 are LLaMA-3's, whatever the control tokens are called") {
    small_vocabulary keys;
    keys.pre.reset();
    keys.tokens.resize(keys.tokens.size() - 10); // without its control tokens
    keys.kinds->resize(keys.tokens.size());
    keys.scores->resize(keys.tokens.size());
    while (keys.tokens.size() < 128256) {
        const std::size_t id = keys.tokens.size();
        keys.add_token((id < 128000 ? "word" : "control") + std::to_string(id), id < 128000 ? 1 : 3);
    }
    keys.ids = {{"bos", 128000}, {"eos", 128001}};
    const tokenizer t = open_small(keys);
    CHECK(t.pre_tokenizer().name == "llama-bpe");
    CHECK(t.pre_tokenizer().inferred);
    CHECK(t.pre_tokenizer().why.find("128256 tokens with BOS 128000") != std::string::npos);
    CHECK(!t.eot());
    keys.ids[0].second = 128002;
    const auto file = keys.file();
    REQUIRE(file);
    const auto other = tokenizer::open(file->file);
    REQUIRE(!other);
    CHECK(other.error().code == errc::unknown_pre_tokenizer);
}

TEST_CASE("Falcon3's vocabulary is recognised, whatever type its first token has") {
    for (const std::size_t size : {131072u, 131080u}) {
        for (const std::int32_t kind : {1, 3}) {
            small_vocabulary keys;
            keys.pre.reset();
            keys.ids.clear();
            keys.add_bos.reset();
            keys.add_token(keys.tokens[0], 1);
            keys.tokens[0] = ">>TITLE<<";
            (*keys.kinds)[0] = kind;
            while (keys.tokens.size() < size) {
                keys.add_token("word" + std::to_string(keys.tokens.size()), 1);
            }
            const tokenizer t = open_small(keys);
            CHECK(t.pre_tokenizer().name == "falcon3");
            CHECK(t.pre_tokenizer().inferred);
            CHECK(!t.add_bos());
            CHECK(t.encode("12")->size() == 2);
        }
    }
}

TEST_CASE("Qwen's vocabulary is recognised by its size and <|im_start|>, and both are needed") {
    for (const std::size_t size : {151669u, 151936u, 152064u, 151670u}) {
        for (const std::size_t place : {151644u, 151643u}) {
            small_vocabulary keys;
            keys.pre.reset();
            keys.ids.clear();
            keys.add_bos = false;
            keys.tokens[keys.id_of("<|begin_of_text|>")] = "<|other|>"; // LLaMA-3's order would be recognised, too
            while (keys.tokens.size() < size) {
                const std::size_t id = keys.tokens.size();
                keys.add_token(id == place ? "<|im_start|>" : "word" + std::to_string(id), id == place ? 3 : 1);
            }
            const auto file = keys.file();
            REQUIRE(file);
            const auto opened = tokenizer::open(file->file);
            INFO(size << " tokens, <|im_start|> is " << place);
            REQUIRE(opened.has_value() == (place == 151644 && size != 151670));
            if (opened) {
                CHECK(opened->pre_tokenizer().name == "qwen2");
                CHECK(opened->pre_tokenizer().why.find(std::to_string(size)) != std::string::npos);
                CHECK(!opened->add_bos());
                CHECK(opened->encode("12")->size() == 2); // each digit by itself
            } else {
                CHECK(opened.error().code == errc::unknown_pre_tokenizer);
            }
        }
    }
}

TEST_CASE("user-defined tokens are found in any text, control tokens only on request") {
    small_vocabulary keys;
    keys.pre = "qwen2";
    for (const char* spelling : {"<think>", "</think>", "<tool_call>", "</tool_call>"}) {
        keys.add_token(spelling, 4);
    }
    keys.add_token("<|im_end|>", 3);
    const tokenizer t = open_small(keys);
    const auto id = [&](std::string_view spelling) { return keys.token_of(spelling); };
    CHECK(*t.encode("a<think>\n</think>b") == ids{'a', id("<think>"), '\n', id("</think>"), 'b'});
    CHECK(*t.encode("<tool_call></tool_call>") == ids{id("<tool_call>"), id("</tool_call>")});
    CHECK(*t.encode("<thin") == ids{'<', 't', 'h', 'i', 'n'});
    CHECK(t.encode("<|im_end|>")->size() == 10);
    CHECK(*t.encode("<|im_end|>", {.parse_special = true}) == ids{id("<|im_end|>")});
    CHECK(t.find_special("<think>") == id("<think>"));
    CHECK(!t.is_special(id("<think>")));
}

TEST_CASE("answers end at added tokens that are spelled so and at those of the keys, infilling's own marks excepted") {
    small_vocabulary keys;
    const char* ends[] = {"<|endoftext|>", "<|im_end|>", "<|fim_pad|>", "<|repo_name|>",
                          "<|file_sep|>",  "</s>",       "<|eom_id|>"};
    const char* others[] = {"<|im_start|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<think>"};
    for (const char* spelling : ends) {
        keys.add_token(spelling, spelling[2] == 'f' || spelling[2] == 'r' ? 4 : 3);
    }
    for (const char* spelling : others) {
        keys.add_token(spelling, 4);
    }
    const tokenizer t = open_small(keys);
    for (const char* spelling : ends) {
        CHECK_MESSAGE(t.is_stop(keys.token_of(spelling)), spelling);
    }
    for (const char* spelling : others) {
        CHECK_MESSAGE(!t.is_stop(keys.token_of(spelling)), spelling);
    }
    for (const char* key : {"fim_pad", "fim_rep", "fim_sep"}) {
        small_vocabulary named;
        named.ids.emplace_back(key, named.id_of("xyzzy"));
        CHECK_MESSAGE(open_small(named).is_stop(named.token_of("xyzzy")), key);
        named.ids.back().second = 0xffffffff; // as converters write that there is none
        CHECK(open_small(named).stop_tokens().size() == 2);
        CHECK(open_small(named).notes().back().find(key) != std::string::npos);
    }
    small_vocabulary words; // words are no added tokens
    words.add_token("</s>", 1);
    CHECK(!open_small(words).is_stop(words.token_of("</s>")));
}

TEST_CASE("a megabyte without a boundary takes seconds at most, quadratic time would be hours") {
    const tokenizer t = open_small({});
    for (const std::string unit : {"a", " ", "\xe2", "ab", "h e"}) {
        const std::string text = repeated(unit, 1u << 20);
        CHECK(t.decode(*t.encode(text)) == text);
        CHECK(best_seconds(t, text) < 10);
    }
}

TEST_CASE("golden: public.jsonl, special tokens as text") {
    if (skip_without_golden()) {
        return;
    }
    std::size_t cases = 0;
    CHECK(differences("public.jsonl", false, cases) == 0);
    CHECK(cases == 2979);
}

TEST_CASE("golden: special.jsonl, special tokens parsed") {
    if (skip_without_golden()) {
        return;
    }
    std::size_t cases = 0;
    CHECK(differences("special.jsonl", true, cases) == 0);
    CHECK(cases == 168);
}

TEST_CASE("golden: vectors that llama.cpp publishes") {
    if (skip_without_golden()) {
        return;
    }
    std::size_t cases = 0;
    CHECK(differences("llamacpp_vec.jsonl", false, cases) == 0);
    CHECK(cases >= 46);
}

TEST_CASE("golden: code points on which Unicode versions differ") {
    if (skip_without_golden()) {
        return;
    }
    std::size_t cases = 0;
    CHECK(differences("unicode_version.jsonl", false, cases) == 0);
    CHECK(cases == 91);
}

TEST_CASE("golden: texts on which a fallback splitter fails") {
    if (skip_without_golden()) {
        return;
    }
    std::size_t cases = 0;
    CHECK(differences("default_pre.jsonl", false, cases) == 0);
    CHECK(cases == 440);
}

TEST_CASE("golden: dialogs as chat templates render them") {
    if (skip_without_golden()) {
        return;
    }
    std::istringstream lines(read_text(golden_path("tokenizer/chat.jsonl")));
    std::size_t rendered = 0;
    for (std::string line; std::getline(lines, line); ++rendered) {
        const auto document = json_document::parse(line, "chat.jsonl");
        REQUIRE(document);
        for (const std::string style : {"bitnet", "llama3"}) {
            const auto text = document->root().find(style);
            const auto list = document->root().find(style + "_ids");
            REQUIRE(text);
            REQUIRE(list);
            CHECK(*llama3().encode(text->as_string().value(), {.parse_special = true}) == ids_of(*list));
        }
    }
    CHECK(rendered == 30);
}

TEST_CASE("golden: every scalar value in context") {
    if (skip_without_golden()) {
        return;
    }
    std::istringstream lines(read_text(golden_path("tokenizer/cp_sweep.tsv")));
    std::size_t blocks = 0;
    std::size_t differing = 0;
    digest total;
    for (std::string line; std::getline(lines, line);) {
        std::istringstream fields(line);
        std::string block;
        std::string expected;
        fields >> block >> expected;
        if (line.starts_with("#") || block == "tokens") {
            continue;
        }
        digest found;
        const bool sum = block == "total";
        const auto first = static_cast<char32_t>(sum ? 0 : std::strtoul(block.c_str(), nullptr, 16));
        for (char32_t c = first; !sum && c < first + 256; ++c) {
            if (c < 0xd800 || c > 0xdfff) {
                const ids tokens = sweep_ids(c);
                found.add(tokens);
                total.add(tokens);
            }
        }
        differing += (sum ? total.value : found.value) != std::strtoull(expected.c_str(), nullptr, 16) ? 1 : 0;
        blocks += sum ? 0 : 1;
    }
    CHECK(blocks == 0x1100 - 8); // without the surrogates
    CHECK(differing == 0);
}

TEST_CASE("golden: every token's text, encoded again") {
    if (skip_without_golden()) {
        return;
    }
    digest found;
    std::size_t valid = 0;
    std::size_t same = 0;
    for (token id = 0; id < 128000; ++id) {
        const std::string_view text = llama3().bytes_of(id);
        bool utf8 = true;
        for (std::size_t i = 0; i < text.size() && utf8;) {
            const auto c = first_code_point(text.substr(i));
            utf8 = c.value != invalid_code_point;
            i += c.size;
        }
        if (utf8) {
            const auto encoded = llama3().encode(text);
            REQUIRE(encoded);
            found.add(*encoded);
            same += *encoded == ids{id} ? 1 : 0;
            ++valid;
        }
    }
    CHECK(valid == 126648);
    CHECK(same == 126648);
    CHECK(found.value == 0x408cd026e6b22edbu);
}

TEST_CASE("golden: the LLaMA-3 vocabulary reports its facts") {
    if (skip_without_golden()) {
        return;
    }
    CHECK(llama3().vocabulary_size() == 128256);
    CHECK(llama3().bos() == 128000);
    CHECK(llama3().eos() == 128001);
    CHECK(llama3().eot() == 128009);
    CHECK(llama3().add_bos());
    CHECK(llama3().longest_token() == 128);
    const std::span<const token> stops = llama3().stop_tokens();
    CHECK(ids(stops.begin(), stops.end()) == ids{128001, 128009});
}

TEST_CASE("golden: a second for ten megabytes of English, or a megabyte of one letter or spaces") {
    if (skip_without_golden()) {
        return;
    }
    const std::string english = repeated(read_text(golden_path("tiny/golden/heldout20k.txt")), 10'000'000);
    CHECK(best_seconds(llama3(), english) < 1.0 * slower);
    CHECK(best_seconds(llama3(), std::string(1'000'000, 'a')) < 1.0 * slower);
    CHECK(best_seconds(llama3(), std::string(1'000'000, ' ')) < 1.0 * slower);
}

TEST_CASE("golden: the tiny model's texts, with and without a named pre-tokenizer") {
    if (skip_without_golden()) {
        return;
    }
    const std::string name = "tiny/golden/tokenizer.json";
    const auto document = json_document::parse(read_text(golden_path(name)), name);
    REQUIRE(document);
    for (const std::string file : {"tiny/tiny-a-i2_s.gguf", "tiny/tiny-a-i2_s-nopre.gguf"}) {
        const tokenizer t = open_file(golden_path(file));
        CHECK(t.pre_tokenizer().inferred == (file.find("nopre") != std::string::npos));
        std::size_t cases = 0;
        for (const json_value object : document->root().elements()) {
            const golden_case c = case_of(object);
            CAPTURE(c.text);
            CHECK(*t.encode(c.text, {.parse_special = true}) == c.expected);
            CHECK(t.decode(c.expected) == c.text);
            if (const auto list = object.find("ids_no_special")) {
                CHECK(*t.encode(c.text) == ids_of(*list));
            }
            ++cases;
        }
        CHECK(cases == 23);
    }
}

TEST_CASE("golden: texts cut by the splitter of files that name none") {
    if (skip_without_golden()) {
        return;
    }
    const tokenizer fallback = open_file(golden_path("tokenizer/llama3-vocab.gguf"), {.pre_tokenizer = "default"});
    std::istringstream lines(read_text(golden_path("tokenizer/default_pre.jsonl")));
    std::size_t cases = 0;
    for (std::string line; std::getline(lines, line); ++cases) {
        const auto document = json_document::parse(line, "default_pre.jsonl");
        REQUIRE(document);
        const std::string text(document->root().find("text")->as_string().value());
        CAPTURE(text);
        CHECK(*fallback.encode(text) == ids_of(*document->root().find("default_ids")));
    }
    CHECK(cases == 440);
}

TEST_CASE("golden: vocabularies of other families give llama.cpp's published ids") {
    if (skip_without_golden()) {
        return;
    }
    for (const std::string name : {"falcon", "gpt-2", "starcoder", "refact", "deepseek-coder", "llama-spm", "phi-3"}) {
        CAPTURE(name);
        const std::string path = golden_path("tokenizer/others/" + name + ".gguf");
        const tokenizer t = open_file(path);
        const std::string texts = read_text(path + ".inp");
        std::istringstream expected(read_text(path + ".out"));
        const std::string separator = "\n__ggml_vocab_test__\n";
        std::size_t cases = 0;
        for (std::size_t from = 0, end = texts.find(separator); end != std::string::npos;
             from = end + separator.size(), end = texts.find(separator, from), ++cases) {
            const std::string text = texts.substr(from, end - from);
            std::string line;
            REQUIRE(std::getline(expected, line));
            std::istringstream numbers(line);
            const ids published{std::istream_iterator<token>(numbers), {}};
            CAPTURE(text);
            const auto encoded = t.encode(text);
            REQUIRE(encoded);
            CHECK(*encoded == published);
            CHECK(t.decode(*encoded) == text);
        }
        CHECK(cases == 46);
    }
}

TEST_CASE("golden: an unknown splitter is refused by name, unless the caller names another") {
    if (skip_without_golden()) {
        return;
    }
    const auto source = byte_source::open(golden_path("tokenizer/others/deepseek-llm.gguf"));
    REQUIRE(source);
    const auto file = gguf_file::parse(source->bytes(), "deepseek-llm");
    REQUIRE(file);
    const auto refused = tokenizer::open(*file);
    REQUIRE(!refused);
    CHECK(refused.error().code == errc::unknown_pre_tokenizer);
    CHECK(refused.error().message.find("'deepseek-llm'") != std::string::npos);
    const auto forced = tokenizer::open(*file, {.pre_tokenizer = "llama-bpe"});
    REQUIRE_MESSAGE(forced, (forced ? "" : forced.error().message));
    const std::string text = "Hello world, 12 \u00e9t\u00e9s!";
    CHECK(forced->decode(*forced->encode(text)) == text);
}
