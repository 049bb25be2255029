// SPDX-License-Identifier: MIT
// bitnet-generate as a process.
#include "models.hpp"
#include "process.hpp"

#include <bitnet/io/json.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

using namespace bitnet_tests;

namespace {

/// A command line that generates with the tiny model.
std::vector<std::string> with(std::vector<std::string> more, const std::string& prompt = "Once upon a time") {
    more.insert(more.begin(), {"-m", tiny, "-p", prompt});
    return more;
}

/// The ids that --ids printed.
std::vector<int> ids_of(const std::string& line) {
    std::istringstream words(line);
    std::vector<int> ids;
    for (int id = 0; words >> id;) {
        ids.push_back(id);
    }
    return ids;
}

/// The JSON object that --stats json writes to stderr, as its only line.
bitnet::json_document stats_of(const outcome& ran) {
    INFO(ran.err);
    REQUIRE(ran.status == 0);
    REQUIRE(ran.err.find('\n') == ran.err.size() - 1);
    auto json = bitnet::json_document::parse(ran.err, "stats");
    REQUIRE(json);
    return *std::move(json);
}

std::size_t number(const bitnet::json_document& json, std::string_view key) {
    const auto value = json.root().find(key);
    REQUIRE(value);
    return value->as_integer<std::size_t>().value_or(~std::size_t{0});
}
std::string string(const bitnet::json_document& json, std::string_view key) {
    const auto value = json.root().find(key);
    REQUIRE(value);
    return std::string(value->as_string().value_or("no string"));
}

} // namespace

TEST_CASE("golden: greedy ids of ten prompts are the reference's up to its first near-tie") {
    if (skip_without_golden()) {
        return;
    }
    const std::string text = contents(golden_path("tiny/golden/golden.json"));
    const auto json = bitnet::json_document::parse(text, "golden.json");
    REQUIRE(json);
    std::size_t compared = 0;
    for (const bitnet::json_value each : json->root().find("prompts")->elements()) {
        const std::string prompt(*each.find("prompt")->as_string());
        const auto ids = ids_of(output("generate", with({"-n", "64", "--temp", "0", "--ids", "--kv", "f32"}, prompt)));
        std::vector<double> margins;
        for (const bitnet::json_value margin : each.find("margin")->elements()) {
            margins.push_back(*margin.as_double());
        }
        std::size_t step = 0;
        for (const bitnet::json_value id : each.find("greedy_ids")->elements()) {
            if (margins[step] < 0.1) { // one flip of an int8 activation moves a logit by up to 0.06
                break;
            }
            INFO(prompt << ", step " << step);
            REQUIRE(step < ids.size());
            CHECK(ids[step] == id.as_integer<int>());
            ++step;
            ++compared;
        }
    }
    CHECK(compared >= 70);
}

TEST_CASE("the ids of --ids are those of the text") {
    const std::vector<std::string> options{"-n", "60", "--seed", "5"};
    const std::string text = output("generate", with(options));
    auto with_ids = with(options);
    with_ids.emplace_back("--ids");
    const std::string line = output("generate", with_ids);
    CHECK(ids_of(line).size() == 60);
    CHECK(line.find('\n') == line.size() - 1);
    CHECK(!contains(line, "  "));

    std::string list = line.substr(0, line.size() - 1);
    std::replace(list.begin(), list.end(), ' ', ',');
    const auto decoded = output("tokenize", {"-m", tiny, "--decode"}, "{\"ids\":[" + list + "]}\n");
    const auto json = bitnet::json_document::parse(decoded, "decoded");
    REQUIRE(json);
    CHECK(json->root().find("text")->as_string() == text);
}

TEST_CASE("the same seed gives the same bytes and another seed others") {
    const std::string first = output("generate", with({"-n", "40", "--seed", "11"}));
    CHECK(!first.empty());
    CHECK(output("generate", with({"-n", "40", "--seed", "11"})) == first);
    CHECK(output("generate", with({"-n", "40", "--seed", "12"})) != first);
    CHECK(output("generate", with({"-n", "40"})) == output("generate", with({"-n", "40", "--seed", "0"})));
}

TEST_CASE("neither threads nor the instruction set change a byte") {
    for (const std::string kv : {"f16", "f32", "i8"}) {
        const std::string first = output("generate", with({"-n", "40", "--kv", kv, "-t", "1", "--isa", "scalar"}));
        for (const std::string threads : {"2", "3", "8"}) {
            CHECK(output("generate", with({"-n", "40", "--kv", kv, "-t", threads})) == first);
        }
        for (const std::string& isa : isas_that_run()) {
            INFO(isa);
            CHECK(output("generate", with({"-n", "40", "--kv", kv, "-t", "2", "--isa", isa})) == first);
        }
    }
}

TEST_CASE("--echo prints the prompt first, byte for byte, and --ids does without it") {
    const std::string prompt = "It's a \"king\"; caf\xc3\xa9 $HOME \xf0\x9f\x91\x91";
    const std::string plain = output("generate", with({"-n", "8"}, prompt));
    CHECK(output("generate", with({"-n", "8", "--echo"}, prompt)) == prompt + plain);
    CHECK(output("generate", with({"-n", "8", "--echo", "--ids"}, prompt)) ==
          output("generate", with({"-n", "8", "--ids"}, prompt)));
}

TEST_CASE("-n 0 generates nothing and succeeds") {
    const outcome ran = run("generate", with({"-n", "0", "--stats", "json"}));
    CHECK(ran.out.empty());
    const auto stats = stats_of(ran);
    CHECK(number(stats, "generated_tokens") == 0);
    CHECK(number(stats, "prompt_tokens") == 5);
    CHECK(output("generate", with({"-n", "0", "--ids"})) == "\n");
}

TEST_CASE("statistics are one line of JSON on stderr") {
    const auto options = with({"-n", "9", "-t", "2", "-c", "77", "--seed", "18446744073709551615", "--isa", "scalar",
                               "--kv", "f32", "--stats", "json"});
    const auto stats = stats_of(run("generate", options));
    CHECK(number(stats, "prompt_tokens") == 5); // BOS and four words
    CHECK(number(stats, "generated_tokens") == 9);
    CHECK(number(stats, "threads") == 2);
    CHECK(number(stats, "context") == 77);
    CHECK(number(stats, "seed") == 18446744073709551615u);
    CHECK(string(stats, "isa") == "scalar");
    CHECK(string(stats, "kv") == "f32");
    CHECK(string(stats, "stopped_by") == "length");
    for (const std::string_view key :
         {"load_ms", "prompt_ms", "prompt_tokens_per_second", "generated_ms", "generated_tokens_per_second"}) {
        INFO(key);
        CHECK(stats.root().find(key)->as_double().value_or(0) > 0);
    }
    CHECK(stats.root().find("notes")->size() == 0);
}

TEST_CASE("statistics for people name seed, speed, threads and context, and can be left out") {
    const outcome lines = run("generate", with({"-n", "3", "-t", "1", "--isa", "scalar"}));
    for (const std::string_view part : {"seed 0", "isa scalar", "kv f16", "1 thread", "context 512", "load ",
                                        "prompt 5 tokens", "generated 3 tokens", "tok/s"}) {
        INFO(part);
        CHECK(contains(lines.err, part));
    }
    CHECK(run("generate", with({"-n", "3", "--stats", "none"})).err.empty());
}

TEST_CASE("generation ends when the context is full") {
    const outcome ran = run("generate", with({"-c", "12", "-n", "100", "--ids", "--stats", "json"}));
    const auto stats = stats_of(ran);
    CHECK(string(stats, "stopped_by") == "context full");
    CHECK(ids_of(ran.out).size() == 12 - 5);
    CHECK(number(stats, "generated_tokens") == 7);
}

TEST_CASE("generation ends at a stop token, and --ignore-eos continues after it") {
    // Found by trying seeds: with this one the model ends its story.
    const std::vector<std::string> options{"--seed", "26", "-n", "400", "--ids", "--stats", "json"};
    const outcome stopped = run("generate", with(options));
    const auto stats = stats_of(stopped);
    CHECK(string(stats, "stopped_by") == "stop token");
    const auto ids = ids_of(stopped.out);
    CHECK(ids.size() == number(stats, "generated_tokens"));
    CHECK(ids.size() < 400);
    CHECK(std::count(ids.begin(), ids.end(), 4097) == 0);

    auto going_on = with(options);
    going_on.emplace_back("--ignore-eos");
    const auto more = ids_of(output("generate", going_on));
    REQUIRE(more.size() == 400);
    CHECK(std::equal(ids.begin(), ids.end(), more.begin()));
    CHECK(more[ids.size()] == 4097);
}

TEST_CASE("a repeat penalty counts the prompt and the generated tokens") {
    const std::string ids = output(
        "generate", with({"-n", "40", "--temp", "0", "--repeat-penalty", "1000", "--ids"}, "there was a great many"));
    std::set<int> seen;
    const auto prompt = output("tokenize", {"-m", tiny}, "{\"text\":\"there was a great many\"}\n");
    const auto json = bitnet::json_document::parse(prompt, "prompt");
    REQUIRE(json);
    for (const bitnet::json_value id : json->root().find("ids")->elements()) {
        seen.insert(*id.as_integer<int>());
    }
    CHECK(seen.size() == 6);
    for (const int id : ids_of(ids)) {
        INFO(id);
        CHECK(seen.insert(id).second);
    }
}

TEST_CASE("sampling options reach the sampler: each way of keeping one token is greedy") {
    const std::string greedy = output("generate", with({"-n", "30", "--temp", "0"}));
    CHECK(output("generate", with({"-n", "30", "--top-k", "1"})) == greedy);
    CHECK(output("generate", with({"-n", "30", "--top-p", "0"})) == greedy);
    CHECK(output("generate", with({"-n", "30", "--min-p", "1"})) == greedy);
    CHECK(output("generate", with({"-n", "30", "--temp", "1e-3"})) == greedy);
    CHECK(output("generate", with({"-n", "30"})) != greedy);
}

TEST_CASE("tokens are chosen as the file advises where the user says nothing, and a note says so") {
    const temporary_folder folder;
    auto editor = edit_tiny();
    editor.add_key("general.sampling.temp", bitnet::gguf_type::f32, gguf_editor::number(0.5f));
    editor.add_key("general.sampling.top_k", bitnet::gguf_type::i32, gguf_editor::number(std::int32_t{20}));
    editor.add_key("general.sampling.top_p", bitnet::gguf_type::f32, gguf_editor::number(1.5f));
    const std::string file = folder.write("advised.gguf", as_text(editor.bytes()));
    const auto of_file = [&](std::vector<std::string> more) {
        more.insert(more.begin(), {"-m", file, "-p", "Once upon a time", "-n", "30"});
        return run("generate", more);
    };
    const outcome advised = of_file({});
    CHECK(advised.out == output("generate", with({"-n", "30", "--temp", "0.5", "--top-k", "20"}, "Once upon a time")));
    CHECK(contains(advised.err, "note: tokens are chosen as the file advises: temperature 0.5, top-k 20\n"));
    CHECK(contains(advised.err, "note: metadata key 'general.sampling.top_p' is 1.5"));
    CHECK(of_file({"--temp", "0.8", "--top-k", "40"}).out ==
          output("generate", with({"-n", "30"}, "Once upon a time")));
    CHECK(!contains(of_file({"--temp", "0"}).err, "as the file advises"));
}

TEST_CASE("control tokens in the prompt are text unless --special") {
    const auto count = [](const std::vector<std::string>& options) {
        return number(stats_of(run("generate", with(options, "<|eot_id|>"))), "prompt_tokens");
    };
    CHECK(count({"-n", "0", "--stats", "json"}) > 3);
    CHECK(count({"-n", "0", "--stats", "json", "--special"}) == 2); // after BOS
}

TEST_CASE("a prompt that spells BOS for a model that adds it is told about, once") {
    const std::string note = "note: the prompt begins with BOS, <|begin_of_text|>, which is added";
    const auto count = [](std::string_view text, std::string_view part) {
        std::size_t found = 0;
        for (std::size_t at = text.find(part); at != std::string_view::npos; at = text.find(part, at + 1)) {
            ++found;
        }
        return found;
    };
    for (const char* prompt : {"<|begin_of_text|>Once", "<|begin_of_text|><|begin_of_text|>Once"}) {
        CHECK(count(run("generate", with({"-n", "2", "--special"}, prompt)).err, note) == 1);
        CHECK(count(run("generate", with({"-n", "2"}, prompt)).err, note) == 0); // there it is text
        const auto json = stats_of(run("generate", with({"-n", "2", "--special", "--stats", "json"}, prompt)));
        CHECK(json.root().find("notes")->size() == 1);
    }
    CHECK(count(run("generate", with({"-n", "2", "--special"}, "Once<|begin_of_text|>")).err, note) == 0);
    const temporary_folder folder;
    const outcome without =
        run("generate", {"-m", write_without_bos(folder), "-p", "<|begin_of_text|>Once", "-n", "2", "--special"});
    CHECK(without.status == 0);
    CHECK(count(without.err, note) == 0);
}

TEST_CASE("an empty prompt is continued if the model begins with BOS, and an error otherwise") {
    const temporary_folder folder;
    const std::string no_bos = write_without_bos(folder);
    const outcome with_bos = run("generate", with({"-n", "5", "--stats", "json"}, ""));
    CHECK(!with_bos.out.empty());
    CHECK(number(stats_of(with_bos), "prompt_tokens") == 1);

    const outcome without = run("generate", {"-m", no_bos, "-p", "", "-n", "5"});
    CHECK(without.status == 1);
    CHECK(without.out.empty());
    CHECK(contains(without.err, "the prompt is empty"));
    CHECK(number(stats_of(run("generate", {"-m", no_bos, "-p", "Once", "-n", "0", "--stats", "json"})),
                 "prompt_tokens") == 1);
}

TEST_CASE("a prompt longer than the context is an error that names both lengths") {
    std::string prompt;
    for (int i = 0; i < 300; ++i) {
        prompt += " king and queen";
    }
    const outcome ran = run("generate", with({}, prompt));
    CHECK(ran.status == 1);
    CHECK(ran.out.empty());
    CHECK(contains(ran.err, "901 tokens"));
    CHECK(contains(ran.err, "512"));
    const outcome short_context = run("generate", with({"-c", "4"}));
    CHECK(short_context.status == 1);
    CHECK(contains(short_context.err, "5 tokens"));
    const outcome long_context = run("generate", with({"-c", "513"}));
    CHECK(long_context.status == 1);
    CHECK(contains(long_context.err, "513"));
    CHECK(contains(long_context.err, "512"));
}

TEST_CASE("an inferred pre-tokenizer is reported, and --pre overrides it") {
    const temporary_folder folder;
    const std::string file = write_without_pre(folder);
    const auto command = [&](std::vector<std::string> more) {
        more.insert(more.begin(), {"-m", file, "-p", "Once upon a time", "-n", "20"});
        return more;
    };
    const outcome inferred = run("generate", command({}));
    CHECK(inferred.err.starts_with("note: "));
    CHECK(contains(inferred.err, "tokenizer.ggml.pre is missing"));
    CHECK(inferred.out == output("generate", with({"-n", "20"})));
    const auto stats = stats_of(run("generate", command({"--stats", "json"})));
    CHECK(stats.root().find("notes")->size() == 1);

    const outcome named = run("generate", command({"--pre", "llama-bpe"}));
    CHECK(!contains(named.err, "note:"));
    CHECK(named.out == inferred.out);
    const outcome unknown = run("generate", command({"--pre", "gpt-5"}));
    CHECK(unknown.status == 1);
    CHECK(contains(unknown.err, "gpt-5"));
}

TEST_CASE("a prompt comes from a file or stdin as from the command line, with every byte") {
    const temporary_folder folder;
    const std::vector<std::string> options{"-n", "8", "--temp", "0", "--echo"};
    const auto by_file = [&](const std::string& path, std::string_view input = {}) {
        auto all = options;
        all.insert(all.begin(), {"-m", tiny, "-f", path});
        return run("generate", all, input);
    };
    for (const std::string text : {"Once upon a time", "Once upon\r\na time\n\n", "  caf\u00e9 \xf0\x9f\x98\x80\t "}) {
        const std::string expected = output("generate", with(options, text));
        REQUIRE(expected.starts_with(text));
        CHECK(by_file(folder.write("prompt.txt", text)).out == expected);
        CHECK(by_file("-", text).out == expected);
        CHECK(by_file(folder.write("marked.txt", "\xef\xbb\xbf" + text)).out == expected);
    }
    const std::string with_nul("a\0b\x1a z", 6); // neither ends a text
    CHECK(by_file(folder.write("nul.txt", with_nul)).out.starts_with(with_nul));
    CHECK(by_file("-", with_nul).out.starts_with(with_nul));
    const std::string of_nothing = output("generate", with(options, ""));
    CHECK(by_file(folder.write("empty.txt", "")).out == of_nothing);
    CHECK(by_file("-").out == of_nothing);
}

TEST_CASE("a prompt that is missing or not UTF-8 is named with its place") {
    const temporary_folder folder;
    const auto refusal = [](const std::string& path, std::string_view input = {}) {
        const outcome refused = run("generate", {"-m", tiny, "-f", path}, input);
        CHECK(refused.status == 1);
        CHECK(refused.out.empty());
        return refused.err;
    };
    CHECK(contains(refusal(folder.path("none.txt")), "none.txt"));
    CHECK(contains(refusal(folder.path()), "is a directory"));
    CHECK(contains(refusal(folder.write("latin1.txt", "caf\xe9")), "latin1.txt: byte 3 of 4 is not UTF-8"));
    CHECK(contains(refusal("-", "caf\xe9 au lait"), "standard input: byte 3 of 12 is not UTF-8"));
    const std::string wide("\xff\xfeO\0n\0", 6);
    CHECK(contains(refusal(folder.write("wide.txt", wide)), "byte 0 of 6 is not UTF-8: the text seems to be UTF-16"));
}

TEST_CASE("control tokens in an answer are left out, unless --show-special") {
    const temporary_folder folder;
    const std::vector<std::string> options{"-n", "12", "--temp", "0"};
    auto for_ids = options;
    for_ids.emplace_back("--ids");
    const auto second = static_cast<std::size_t>(ids_of(output("generate", with(for_ids))).at(1));
    constexpr std::size_t reserved = 4100;
    const std::string file = write_with_swapped(folder, second, reserved);
    const auto text_of = [&](std::vector<std::string> more) {
        more.insert(more.begin(), {"-m", file, "-p", "Once upon a time"});
        more.insert(more.end(), options.begin(), options.end());
        return output("generate", more);
    };
    const std::string plain = output("generate", with(options)); // " there was a ..."
    const std::size_t begin = plain.find(' ', 1);
    const std::size_t end = plain.find(' ', begin + 1);
    REQUIRE(end != std::string::npos);
    CHECK(text_of({}) == plain.substr(0, begin) + plain.substr(end));
    CHECK(text_of({"--show-special"}) == plain.substr(0, begin) + "<|reserved_special_token_2|>" + plain.substr(end));
}

TEST_CASE("generation ends before a stop text, wherever the tokens are cut, and prints nothing of it") {
    const std::string all = output("generate", with({"-n", "40", "--temp", "0"}));
    const std::size_t daughter = all.find("'s daugh");
    REQUIRE(daughter != std::string::npos);
    const auto ended = run("generate", with({"-n", "40", "--temp", "0", "--stop", "unseen", "--stop", "'s daugh"}));
    CHECK(ended.status == 0);
    CHECK(ended.out == all.substr(0, daughter));
    CHECK(contains(ended.err, "stopped by stop text"));
    CHECK(output("generate", with({"-n", "40", "--temp", "0", "--stop", "unseen"})) == all);
    // What is held back at the end, because it begins a stop text, is printed.
    CHECK(output("generate", with({"-n", "40", "--temp", "0", "--stop", all.substr(all.size() - 5) + "\x01"})) == all);

    const auto stats =
        stats_of(run("generate", with({"-n", "40", "--temp", "0", "--stop", "'s daugh", "--ids", "--stats", "json"})));
    CHECK(string(stats, "stopped_by") == "stop text");
    CHECK(number(stats, "generated_tokens") < 40);

    const auto refused = run("generate", with({"--stop", ""}));
    CHECK(refused.status == 1);
    CHECK(contains(refused.err, "stop texts: text 0 has 0 bytes, 1 to 1024 are possible"));
}

TEST_CASE("--logprobs tells of every token its logprob and the largest, and changes no token") {
    const std::string plain = output("generate", with({"-n", "12", "--ids", "--seed", "3", "--temp", "1.5"}));
    const auto told = run(
        "generate", with({"-n", "12", "--ids", "--seed", "3", "--temp", "1.5", "--logprobs", "4", "--stats", "none"}));
    CHECK(told.status == 0);
    CHECK(told.out == plain);
    std::istringstream lines(told.err);
    std::vector<std::string> each;
    std::vector<int> ids;
    for (std::string line; std::getline(lines, line);) {
        each.push_back(line);
        const auto json = bitnet::json_document::parse(line, "logprobs");
        REQUIRE(json);
        ids.push_back(static_cast<int>(number(*json, "id")));
        CHECK(json->root().find("text")->as_string());
        const double own = json->root().find("logprob")->as_double().value_or(1);
        CHECK(own <= 0);
        double before = 0;
        CHECK(json->root().find("top")->size() == 4);
        for (const bitnet::json_value top : json->root().find("top")->elements()) {
            const double logprob = top.find("logprob")->as_double().value_or(1);
            CHECK(logprob <= before);
            CHECK((top.find("id")->as_integer<int>() != std::optional(ids.back()) || logprob == own));
            before = logprob;
        }
    }
    CHECK(ids == ids_of(plain));
    const auto object = stats_of(
        run("generate", with({"-n", "12", "--seed", "3", "--temp", "1.5", "--logprobs", "4", "--stats", "json"})));
    const auto list = object.root().find("logprobs");
    REQUIRE(list);
    CHECK(list->size() == each.size());
    const auto without = stats_of(run("generate", with({"-n", "2", "--stats", "json"})));
    CHECK(!without.root().find("logprobs"));
}

TEST_CASE("--logprobs-allowed tells logprobs relative to the tokens of the grammar, and changes no token") {
    const temporary_folder folder;
    const std::string choices = folder.write("choices.txt", "yes\nyellow\nno\n");
    const std::vector<std::string> options{"--choices", choices, "--ids", "--seed", "3", "--temp", "2", "-n", "12"};
    auto telling = options;
    telling.insert(telling.end(), {"--logprobs", "200", "--logprobs-allowed", "--stats", "none"});
    for (const bool guesses : {false, true}) {
        if (guesses) {
            telling.emplace_back("--lookup");
        }
        const auto told = run("generate", with(telling));
        REQUIRE_MESSAGE(told.status == 0, told.err);
        CHECK(told.out == output("generate", with(options)));
        std::istringstream lines(told.err);
        std::size_t count = 0;
        for (std::string line; std::getline(lines, line); ++count) {
            const auto json = bitnet::json_document::parse(line, "logprobs");
            REQUIRE(json);
            const auto own = json->root().find("logprob_allowed");
            REQUIRE(own);
            CHECK(own->as_double().value_or(1) <= 0);
            CHECK(own->as_double().value_or(-99) >= json->root().find("logprob")->as_double().value_or(1));
            double share = 0;
            for (const bitnet::json_value top : json->root().find("top")->elements()) {
                const auto among = top.find("logprob_allowed");
                share += among ? std::exp(among->as_double().value_or(1)) : 0;
            }
            CHECK(share < 1.0001);
        }
        CHECK(count == ids_of(told.out).size());
    }
    const auto refused = run("generate", with({"--logprobs-allowed", "--logprobs", "2"}));
    CHECK(refused.status == 1);
    CHECK(contains(refused.err, "--logprobs-allowed was given, and needs --logprobs and a grammar"));
}

TEST_CASE("biases, typical sampling and DRY reach the sampler") {
    const auto greedy = ids_of(output("generate", with({"-n", "60", "--ids", "--temp", "0"})));
    REQUIRE(greedy.size() == 60);
    const std::string first = std::to_string(greedy[0]);
    const auto others =
        ids_of(output("generate", with({"-n", "60", "--ids", "--temp", "0", "--logit-bias", first + "=-inf"})));
    CHECK(std::find(others.begin(), others.end(), greedy[0]) == others.end());
    const auto always =
        ids_of(output("generate", with({"-n", "5", "--ids", "--temp", "0", "--logit-bias", "300=1000"})));
    CHECK(always == std::vector<int>(5, 300));
    CHECK(ids_of(output("generate", with({"-n", "60", "--ids", "--temp", "0", "--dry", "5"}))) != greedy);
    const auto loop = ids_of(
        output("generate", with({"-n", "20", "--ids", "--temp", "0", "--logit-bias", "300=1000", "--dry", "1000"})));
    CHECK(std::count(loop.begin(), loop.end(), 300) < 15);
    CHECK(output("generate", with({"-n", "30", "--typical", "0.1", "--seed", "2"})) !=
          output("generate", with({"-n", "30", "--seed", "2"})));

    const auto refused = run("generate", with({"--logit-bias", "99999=1"}));
    CHECK(refused.status == 1);
    CHECK(contains(refused.err, "sampler: a bias is of token 99999, the vocabulary has"));
}

TEST_CASE("what is generated matches the grammar, whatever the temperature, and is whole at the limit") {
    for (const char* seed : {"1", "2", "3"}) {
        const auto done = run("generate", with({"--regex", "[a-c]{3,5}(-[0-9]+)*", "--temp", "2", "--seed", seed, "-n",
                                                "12", "--stats", "none"}));
        CHECK(done.status == 0);
        INFO(done.out);
        REQUIRE(done.out.size() >= 3);
        const std::size_t letters = done.out.find_first_not_of("abc");
        CHECK((letters == std::string::npos ? done.out.size() : letters) <= 5);
        CHECK(done.out.back() != '-');
        CHECK(done.out.find_first_not_of("abc-0123456789") == std::string::npos);
    }
    CHECK(run("generate", with({"--regex", "x{30}", "-n", "12"})).err.find("30") != std::string::npos);
    CHECK(run("generate", with({"--regex", "x", "--choices", tiny})).status == 1);
    CHECK(run("generate", with({"--regex", "yes|no", "--ignore-eos", "--stats", "none", "-n", "9"})).out.size() <= 3);
}

TEST_CASE("text that a grammar forces is the same either way, and takes no more tokens as the tokenizer's") {
    const std::string sentence = "there was a little (girl|boy) named (Tim|Lily), who was (8|9) years old";
    std::array<std::size_t, 2> tokens{};
    for (const bool off : {false, true}) {
        const auto done = run("generate", with({"--regex", sentence, "--temp", "2", "--seed", "4", "-n", "90",
                                                "--stats", "json", "--forced-text", off ? "off" : "canonical"}));
        REQUIRE_MESSAGE(done.status == 0, done.err);
        CHECK(done.out.starts_with("there was a little "));
        CHECK(contains(done.out, ", who was "));
        tokens[off ? 1 : 0] = static_cast<std::size_t>(number(stats_of(done), "generated_tokens"));
    }
    CHECK(tokens[0] < tokens[1]); // the model cuts words to pieces at this temperature
    CHECK(run("generate", with({"--forced-text", "maybe"})).status == 2);
}

TEST_CASE("--heal goes on with a word that the prompt has begun, with a grammar or without, and prints it once") {
    const std::vector<std::string> greedy{"-n", "6", "--temp", "0", "--stats", "none", "--heal"};
    const auto whole =
        run("generate", with({"-n", "6", "--temp", "0", "--stats", "none", "--heal", "--echo"}, "Once upon a ti"));
    CHECK(whole.out.starts_with("Once upon a time"));
    CHECK("Once upon a ti" + run("generate", with(greedy, "Once upon a ti")).out == whole.out);
    auto held = greedy;
    held.insert(held.end(), {"--regex", "[a-z]{2,4}[!?]"});
    held[1] = "40";
    const auto exclaimed = run("generate", with(held, "Once upon a ti"));
    REQUIRE_MESSAGE(exclaimed.status == 0, exclaimed.err);
    CHECK(exclaimed.out.starts_with("me"));
    CHECK(exclaimed.out.find_first_of("!?") == exclaimed.out.size() - 1);
}

TEST_CASE("--lookup and --draft change no byte, and statistics tell of guesses") {
    const std::string prompt = "Once upon a time there was a king. Once upon a time";
    for (const std::vector<std::string>& more : {std::vector<std::string>{}, {"--regex", "[a-z ,.]+"}}) {
        std::vector<std::string> options{"-n", "40", "--seed", "5", "--temp", "0.4", "--stats", "json"};
        options.insert(options.end(), more.begin(), more.end());
        const auto plain = run("generate", with(options, prompt));
        for (const std::vector<std::string>& draft : {std::vector<std::string>{"--lookup"}, {"--draft", tiny}}) {
            auto drafting = options;
            drafting.insert(drafting.end(), draft.begin(), draft.end());
            const auto faster = run("generate", with(drafting, prompt));
            CHECK(faster.out == plain.out);
            const auto stats = stats_of(faster);
            CHECK(number(stats, "accepted") <= number(stats, "drafted"));
            CHECK(stats.root().find("tokens_per_pass")->as_double().value_or(0) > 0);
        }
    }
    CHECK(run("generate", with({"--draft", "no such file"})).status == 1);
}
