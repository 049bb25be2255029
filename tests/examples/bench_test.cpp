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
}
