// SPDX-License-Identifier: MIT
#include "../bench/bitnet_bench/energy.hpp"
#include "given_system_files.hpp"
#include "process.hpp"

#include <bitnet/io/json.hpp>

#include <doctest/doctest.h>

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

using bitnet_tests::contents;
using bitnet_tests::outcome;
using bitnet_tests::run;
using bitnet_tests::temporary_folder;

namespace {

bitnet::json_value member(const bitnet::json_value& object, std::string_view key) {
    const auto found = object.find(key);
    REQUIRE_MESSAGE(found, std::string(key));
    return *found;
}

double number(const bitnet::json_value& object, std::string_view key) {
    const auto value = member(object, key).as_double();
    REQUIRE_MESSAGE(value, std::string(key));
    return *value;
}

/// What one result must have, whatever it measured.
void check_result(const bitnet::json_value& of) {
    for (const std::string_view key : {"test", "isa", "layout", "head", "kv", "activations", "pages"}) {
        CHECK_MESSAGE(member(of, key).as_string(), std::string(key));
    }
    const auto speed = member(of, "tokens_per_second");
    CHECK(number(speed, "min") > 0);
    CHECK(number(speed, "min") <= number(speed, "median"));
    CHECK(number(speed, "median") <= number(speed, "max"));
    CHECK(number(of, "bytes_per_token") > 0);
    CHECK(number(of, "read_gb_per_second") > 0);
    CHECK(number(of, "model_read_gb_per_second") > 0);
    CHECK(number(of, "model_read_gb_per_second") <= number(of, "read_gb_per_second"));
    CHECK(number(of, "roofline_fraction") > 0);
    CHECK(number(of, "roofline_fraction") <= number(of, "model_roofline_fraction"));
    const auto joules = member(of, "joules_per_token");
    CHECK((joules.is_null() == bench::read_energy().empty()));
    CHECK((joules.is_null() || number(of, "joules_per_token") >= 0));
    const bool has_tiles = *member(of, "isa").as_string() == "amx_int8";
    CHECK(member(of, "int8_peak_from_cache_gops").is_null() == !has_tiles);
    CHECK(number(of, "peak_rss_mb") >= number(of, "anonymous_mb"));
    CHECK(number(of, "load_seconds") > 0);
    CHECK(number(of, "screen_seconds") >= 0);
    CHECK(number(of, "first_token_seconds") > 0);
    CHECK(number(of, "loop_seconds") > 0);
    const bool is_generation = member(of, "test").as_string()->starts_with("tg");
    CHECK((number(of, "loops_per_step") > 0) == is_generation);
    double shares = 0;
    for (const std::string_view phase : {"ternary", "head", "attention", "rest", "waiting"}) {
        shares += number(member(of, "phases"), phase);
    }
    CHECK(shares == doctest::Approx(1.0).epsilon(0.05));
}

} // namespace

TEST_CASE("bitnet-bench writes what it found as one JSON object and one table") {
    const temporary_folder folder;
    const std::string json = folder.path("found.json");
    const outcome done = run("bench", {"--synthetic", "tiny", "-p", "40", "-n", "6", "-t", "1,2", "-r", "2", "--batch",
                                       "1,3", "--json", json});
    REQUIRE_MESSAGE(done.status == 0, done.err);
    CHECK(done.out.find("| pp40 | 1 |") != std::string::npos);
    CHECK(done.out.find("| tg6 | 2 |") != std::string::npos);
    const std::string text = contents(json);
    const auto parsed = bitnet::json_document::parse(text, "found.json");
    REQUIRE(parsed);
    for (const std::string_view key : {"machine", "commit", "command"}) {
        CHECK_MESSAGE(member(parsed->root(), key).as_string(), std::string(key));
    }
    const auto results = member(parsed->root(), "results");
    CHECK(results.size() == 2 * 3); // threads * (pp40, tg6 of one sequence and of three)
    for (const auto each : results.elements()) {
        check_result(each);
    }
}

TEST_CASE("bitnet-bench measures a scheduler against one sequence") {
    const temporary_folder folder;
    const std::string json = folder.path("scheduled.json");
    const outcome done = run("bench", {"--synthetic", "tiny", "-p", "0", "-n", "6", "-t", "1,2", "-r", "2",
                                       "--sequences", "2,5", "--head", "as-stored,screened", "--json", json});
    REQUIRE_MESSAGE(done.status == 0, done.err);
    CHECK(done.out.find("| tg6, scheduler | 2 |") != std::string::npos);
    CHECK(done.out.find("| mapped | 5 (") != std::string::npos);
    const std::string text = contents(json);
    const auto parsed = bitnet::json_document::parse(text, "scheduled.json");
    REQUIRE(parsed);
    const auto results = member(parsed->root(), "results");
    CHECK(results.size() == 2 * 2 * 3); // heads * threads * (one, two, five)
    for (const auto each : results.elements()) {
        check_result(each);
        const bool is_scheduled = *member(each, "scheduler").as_bool();
        CHECK(is_scheduled == (number(each, "batch") > 1));
        CHECK(member(each, "times_one").is_null() == !is_scheduled);
        CHECK((!is_scheduled || number(each, "times_one") > 0));
    }
}

TEST_CASE("bitnet-bench measures mapped and copied pages, after a warm-up of the page cache that it tells") {
    const temporary_folder folder;
    const std::string json = folder.path("pages.json");
    const outcome done = run("bench", {"--synthetic", "tiny", "-p", "8", "-n", "0", "-t", "1", "-r", "1", "--pages",
                                       "mapped,copied", "--json", json});
    REQUIRE_MESSAGE(done.status == 0, done.err);
    CHECK(done.err.find(" MB of the model were read into the page cache in ") != std::string::npos);
    CHECK(done.out.find(" MB of the model were read into the page cache in ") != std::string::npos);
    CHECK(done.out.find("| f16 | copied | 1 |") != std::string::npos);
    const std::string text = contents(json);
    const auto parsed = bitnet::json_document::parse(text, "pages.json");
    REQUIRE(parsed);
    const auto warm_up = member(parsed->root(), "page_cache_warm_up");
    CHECK(number(warm_up, "bytes") > 1'000'000);
    CHECK(number(warm_up, "seconds") >= 0);
    std::set<std::string> pages;
    for (const auto each : member(parsed->root(), "results").elements()) {
        check_result(each);
        pages.insert(std::string(*member(each, "pages").as_string()));
    }
    CHECK(pages == std::set<std::string>{"mapped", "copied"});
}

TEST_CASE("bitnet-bench measures steps of a budget beside calls without") {
    const temporary_folder folder;
    const std::string json = folder.path("steps.json");
    const outcome done = run("bench", {"--synthetic", "tiny", "-p", "40", "-n", "6", "-t", "2", "-r", "2", "--batch",
                                       "1,2", "--step", "100", "--json", json});
    REQUIRE_MESSAGE(done.status == 0, done.err);
    CHECK(done.out.find("| of calls without steps |") != std::string::npos);
    const std::string text = contents(json);
    const auto parsed = bitnet::json_document::parse(text, "steps.json");
    REQUIRE(parsed);
    std::size_t found = 0;
    for (const auto each : member(parsed->root(), "results").elements()) {
        check_result(each);
        const auto step = each.find("step");
        REQUIRE(step.has_value() == (number(each, "batch") == 1));
        if (!step) {
            continue;
        }
        ++found;
        CHECK(number(*step, "budget_us") == 100);
        CHECK(number(*step, "steps") >= 2 * (*member(each, "test").as_string() == "tg6" ? 6 : 1));
        CHECK(number(*step, "p50_us") <= number(*step, "p99_us"));
        CHECK(number(*step, "p99_us") <= number(*step, "p99_9_us"));
        CHECK(number(*step, "p99_9_us") <= number(*step, "max_us"));
        CHECK(number(*step, "tokens_per_second") > 0);
    }
    CHECK(found == 2); // pp40 and tg6 of one sequence
}

TEST_CASE("bitnet-bench measures what a schema costs, with and without the text that it forces") {
    const temporary_folder folder;
    const std::string json = folder.path("schema.json");
    const std::string schema = folder.path("given.json");
    std::ofstream(schema) << R"({"type":"object","properties":{"name of the person":{"type":"string","maxLength":5}},)"
                             R"("required":["name of the person"],"additionalProperties":false})";
    const outcome done = run("bench", {"-m", BITNET_TEST_MODEL, "-p", "0", "-n", "0", "-t", "1", "-r", "2", "--schema",
                                       schema, "--json", json});
    REQUIRE_MESSAGE(done.status == 0, done.err);
    CHECK(done.out.find("| with forced text |") != std::string::npos);
    const std::string text = contents(json);
    const auto parsed = bitnet::json_document::parse(text, "schema.json");
    REQUIRE(parsed);
    std::size_t found = 0;
    for (const auto each : member(member(parsed->root(), "schema"), "results").elements()) {
        ++found;
        for (const char* rate : {"free_tokens_per_second", "schema_tokens_per_second", "forced_tokens_per_second"}) {
            CHECK(number(member(each, rate), "median") > 0);
        }
        CHECK(number(each, "forced_tokens") > 2);
        CHECK(number(each, "forced_tokens") <= number(each, "forced_text_tokens"));
        CHECK(number(each, "masks") == number(each, "schema_tokens"));
        CHECK(number(each, "mask_p50_us") <= number(each, "mask_p99_us"));
        CHECK(number(each, "mask_p99_us") <= number(each, "mask_max_us"));
    }
    CHECK(found == 1);

    const std::string answers = folder.path("answers.txt");
    std::ofstream(answers) << "{\"name of the person\":\"Ann\"}\n\n{\"name of the person\":\"\"}\n";
    const outcome told = run("bench", {"-m", BITNET_TEST_MODEL, "-p", "0", "-n", "0", "-t", "1", "-r", "2", "--schema",
                                       schema, "--answers", answers, "--json", json});
    REQUIRE_MESSAGE(told.status == 0, told.err);
    const std::string told_text = contents(json);
    const auto written = bitnet::json_document::parse(told_text, "schema.json");
    REQUIRE(written);
    const auto of_answers = *member(member(written->root(), "schema"), "results").elements().begin();
    CHECK(number(of_answers, "schema_tokens") == number(of_answers, "forced_text_tokens")); // each answer, twice
    std::ofstream(answers) << "{\"name of the person\":\"longer\"}\n";
    const outcome not_allowed = run("bench", {"-m", BITNET_TEST_MODEL, "-p", "0", "-n", "0", "-t", "1", "-r", "1",
                                              "--schema", schema, "--answers", answers});
    CHECK(not_allowed.status == 1);
    CHECK(not_allowed.err.find("the schema does not allow the answer {\"name of the person\":\"longer\"}") !=
          std::string::npos);

    std::ofstream(schema) << "{\"type\":\"thing\"}";
    const outcome refused =
        run("bench", {"-m", BITNET_TEST_MODEL, "-p", "0", "-n", "0", "-t", "1", "-r", "1", "--schema", schema});
    CHECK(refused.status == 1);
}

TEST_CASE("bitnet-bench measures what a program without options gets, and every combination that is named") {
    const temporary_folder folder;
    const std::string json = folder.path("choices.json");
    const auto configurations = [&](std::vector<std::string> options) {
        options.insert(options.begin(),
                       {"--synthetic", "tiny", "-p", "8", "-n", "0", "-t", "1", "-r", "1", "--json", json});
        const outcome done = run("bench", options);
        REQUIRE_MESSAGE(done.status == 0, done.err);
        const std::string text = contents(json);
        const auto parsed = bitnet::json_document::parse(text, "choices.json");
        REQUIRE(parsed);
        std::string found;
        for (const auto each : member(parsed->root(), "results").elements()) {
            found += std::string(*member(each, "head").as_string()) + " in " +
                     std::string(*member(each, "pages").as_string()) + "; ";
        }
        return found;
    };
    CHECK(configurations({}) == "f16 in mapped; "); // a small file, whose head is not worth a screen
    CHECK(configurations({"--head", "automatic,screened", "--pages", "automatic,copied"}) ==
          "f16 in mapped; f16 in copied; f16, screened in mapped; f16, screened in copied; ");
}

TEST_CASE("bitnet-bench prints a model of the step for more threads than there are") {
    const outcome done = run("bench", {"--synthetic", "tiny", "-p", "0", "-n", "4", "-t", "1,2", "-r", "2"});
    REQUIRE_MESSAGE(done.status == 0, done.err);
    const std::size_t at = done.out.find("A model of the step of tg4, ");
    REQUIRE(at != std::string::npos);
    std::string numbers;
    for (std::size_t row = done.out.find("\n| ", at + 1); row != std::string::npos;
         row = done.out.find("\n| ", row + 1)) {
        numbers += done.out.substr(row + 3, done.out.find(" |", row + 3) - row - 3) + " ";
    }
    CHECK(numbers == "threads 1 2 4 8 16 32 64 128 ");
    CHECK(run("bench", {"--synthetic", "tiny", "-p", "8", "-n", "0", "-t", "1", "-r", "1"}).out.find("A model of") ==
          std::string::npos);
}

TEST_CASE("energy is what the counters of all packages rose by, also past their end") {
    const auto read = [](std::map<std::string, std::string> texts) {
        const bitnet_tests::given_system_files given(std::move(texts));
        return bench::read_energy(given.files());
    };
    const std::string first = "/sys/class/powercap/intel-rapl:0/";
    const std::string second = "/sys/class/powercap/intel-rapl:1/";
    const auto before = read({{first + "energy_uj", "9000000\n"},
                              {first + "max_energy_range_uj", "10000000\n"},
                              {second + "energy_uj", "500000\n"},
                              {second + "max_energy_range_uj", "10000000\n"}});
    const auto after = read({{first + "energy_uj", "1000000\n"},
                             {first + "max_energy_range_uj", "10000000\n"},
                             {second + "energy_uj", "750000\n"},
                             {second + "max_energy_range_uj", "10000000\n"}});
    REQUIRE(before.size() == 2);
    CHECK(bench::joules_between(before, after) == doctest::Approx(2.25)); // 1 + 1, and 0.25
    CHECK(bench::joules_between(before, before) == doctest::Approx(0.0));
    CHECK_FALSE(bench::joules_between({}, {}));
    CHECK_FALSE(bench::joules_between(before, {}));
    CHECK(read({{second + "energy_uj", "1\n"}}).empty());
    CHECK(read({{first + "energy_uj", ""}}).empty()); // not for this user
    const auto endless = read({{first + "energy_uj", "7"}});
    CHECK_FALSE(bench::joules_between(endless, read({{first + "energy_uj", "6"}})));
    CHECK(bench::joules_between(endless, read({{first + "energy_uj", "8"}})) == doctest::Approx(1e-6));
}

TEST_CASE("bitnet-bench measures every rounding of activations that it is given") {
    const temporary_folder folder;
    const std::string json = folder.path("rounded.json");
    const outcome done = run("bench", {"--synthetic", "tiny", "-p", "0", "-n", "2", "-t", "1", "-r", "1",
                                       "--activations", "default,128,float", "--json", json});
    REQUIRE_MESSAGE(done.status == 0, done.err);
    const std::string text = contents(json);
    const auto parsed = bitnet::json_document::parse(text, "rounded.json");
    REQUIRE(parsed);
    std::string found;
    for (const auto each : member(parsed->root(), "results").elements()) {
        found += std::string(*member(each, "activations").as_string()) + " in " +
                 std::string(*member(each, "layout").as_string()) + ", ";
    }
    CHECK(found == "token in i2_s, 128 in Q2_0, float in Q2_0, ");
}

TEST_CASE("bitnet-bench says what a million tokens cost on a machine of that price") {
    const temporary_folder folder;
    const std::string json = folder.path("priced.json");
    const outcome done = run(
        "bench", {"--synthetic", "tiny", "-p", "8", "-n", "0", "-t", "1", "-r", "1", "--price", "3.6", "--json", json});
    REQUIRE_MESSAGE(done.status == 0, done.err);
    CHECK(done.out.find("| USD per million tokens |\n") != std::string::npos);
    const std::string text = contents(json);
    const auto parsed = bitnet::json_document::parse(text, "priced.json");
    REQUIRE(parsed);
    CHECK(number(parsed->root(), "usd_per_hour") == 3.6);
    const auto result = *member(parsed->root(), "results").elements().begin();
    const double rate = number(member(result, "tokens_per_second"), "median");
    CHECK(number(result, "usd_per_million_tokens") ==
          doctest::Approx(1000 / rate).epsilon(0.01)); // 1000 seconds for a dollar
}

TEST_CASE("bitnet-bench measures a long context at its end, and says when it is too short") {
    const outcome done = run("bench", {"--synthetic", "tiny", "-p", "0", "-n", "4", "-t", "1", "-r", "2", "-c", "300"});
    REQUIRE_MESSAGE(done.status == 0, done.err);
    CHECK(done.out.find("| tg4@300 |") != std::string::npos);
    const outcome refused = run("bench", {"--synthetic", "tiny", "-p", "0", "-n", "64", "-t", "1", "-c", "100"});
    CHECK(refused.status == 1);
    CHECK(refused.err.find("-c 100") != std::string::npos);
}

TEST_CASE("bitnet-bench writes the synthetic model, the same every time") {
    const temporary_folder folder;
    const std::string first = folder.path("first.gguf");
    const std::string second = folder.path("second.gguf");
    REQUIRE(run("bench", {"--synthetic", "tiny", "--write", first}).status == 0);
    REQUIRE(run("bench", {"--synthetic", "tiny", "--write", second}).status == 0);
    CHECK(contents(first).size() > 1'000'000);
    CHECK(contents(first) == contents(second));
}

TEST_CASE("bitnet-bench names mistakes in its options") {
    const std::vector<std::vector<std::string>> mistakes{
        {},
        {"--synthetic", "tiny", "-m", "x.gguf"},
        {"--synthetic", "tiny", "-p", "12,many"},
        {"--synthetic", "tiny", "--sequences", "-1"},
        {"-m", "x.gguf", "--write", "y.gguf"},
        {"--synthetic", "tiny", "-r", "0"},
        {"--synthetic", "tiny", "--pages", "torn"},
        {"--synthetic", "tiny", "--head", "none"},
        {"--synthetic", "tiny", "--activations", "token,64"},
    };
    for (const auto& arguments : mistakes) {
        const outcome refused = run("bench", arguments);
        CHECK(refused.status == 2);
        CHECK_FALSE(refused.err.empty());
    }
    CHECK(run("bench", {"--synthetic", "huge"}).status == 1);
    CHECK(run("bench", {"--synthetic", "tiny", "--isa", "mmx"}).status == 1);
    CHECK(run("bench", {"--synthetic", "tiny", "--layout", "i3"}).status == 1);
    const outcome refused = run("bench", {"--synthetic", "tiny", "--kernels", "--isa", "mmx"});
    CHECK(refused.status == 1);
    CHECK(refused.err.find("'mmx'") != std::string::npos);
}
