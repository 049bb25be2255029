// SPDX-License-Identifier: MIT
// Command lines and files that every program refuses.
#include "models.hpp"
#include "process.hpp"

#include <bitnet/simd/isa.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

using namespace bitnet_tests;

namespace {

struct command {
    std::string tool;
    std::vector<std::string> arguments;
    std::string sentence; ///< part of what stderr says
};

/// A command line of each tool that works if `model` is one.
std::vector<command> one_of_each(const std::string& model, const std::string& text) {
    return {{"generate", {"-m", model, "-p", "Once", "-n", "1"}, {}},
            {"tokenize", {"-m", model}, {}},
            {"logits", {"-m", model, "--ids", "1"}, {}},
            {"inspect", {model}, {}},
            {"perplexity", {"-m", model, "-f", text}, {}}};
}

} // namespace

TEST_CASE("a mistake in the options is named, prints nothing to stdout and exits with 2") {
    const std::vector<command> mistakes{
        {"generate", {}, "-m FILE is missing"},
        {"generate", {"-m", tiny}, "-p PROMPT is missing"},
        {"generate", {"-m", tiny}, "and so is -f FILE"},
        {"generate", {"-m", tiny, "-p", "", "-f", "-"}, "-p and -f both give a prompt"},
        {"generate", {"-m", tiny, "-p"}, "-p needs a value, PROMPT"},
        {"generate", {"-m", tiny, "-p", "x", "--frobnicate"}, "there is no option '--frobnicate'"},
        {"generate", {"-m", tiny, "-p", "x", "-q", "1"}, "there is no option '-q'"},
        {"generate", {"-m", tiny, "-p", "x", "y"}, "nothing takes the argument 'y'"},
        {"generate", {"-m", tiny, "-p", "x", "-n", "ten"}, "-n takes an integer from 0 to 1073741824, not 'ten'"},
        {"generate", {"-m", tiny, "-p", "x", "-n", "-1"}, "-n takes an integer from 0"},
        {"generate", {"-m", tiny, "-p", "x", "-n", "1.5"}, "not '1.5'"},
        {"generate", {"-m", tiny, "-p", "x", "-n", " 1"}, "not ' 1'"},
        {"generate", {"-m", tiny, "-p", "x", "-n", ""}, "not ''"},
        {"generate", {"-m", tiny, "-p", "x", "-n", "99999999999999999999"}, "-n takes an integer"},
        {"generate", {"-m", tiny, "-p", "x", "-t", "0"}, "-t takes an integer from 1 to 1024, not '0'"},
        {"generate", {"-m", tiny, "-p", "x", "-c", "0"}, "-c takes an integer from 1 to 1048576, not '0'"},
        {"generate", {"-m", tiny, "-p", "x", "--temp", "hot"}, "--temp takes a number from 0 to"},
        {"generate", {"-m", tiny, "-p", "x", "--temp", "-0.5"}, "not '-0.5'"},
        {"generate", {"-m", tiny, "-p", "x", "--temp", "nan"}, "not 'nan'"},
        {"generate", {"-m", tiny, "-p", "x", "--temp", "0.8x"}, "not '0.8x'"},
        {"generate", {"-m", tiny, "-p", "x", "--top-p", "1.01"}, "--top-p takes a number from 0 to 1"},
        {"generate",
         {"-m", tiny, "-p", "x", "--logit-bias", "5"},
         "--logit-bias takes a token's id, = and a number or -inf"},
        {"generate", {"-m", tiny, "-p", "x", "--logit-bias", "=5"}, "not '=5'"},
        {"generate", {"-m", tiny, "-p", "x", "--logit-bias", "-5=1"}, "not '-5=1'"},
        {"generate", {"-m", tiny, "-p", "x", "--logit-bias", "5=inf"}, "not '5=inf'"},
        {"generate", {"-m", tiny, "-p", "x", "--logprobs", "257"}, "--logprobs takes an integer from 0 to 256"},
        {"generate", {"-m", tiny, "-p", "x", "--min-p", "inf"}, "--min-p takes a number from 0 to 1"},
        {"generate", {"-m", tiny, "-p", "x", "--repeat-penalty", "0"}, "--repeat-penalty takes a number"},
        {"generate", {"-m", tiny, "-p", "x", "--seed", "-1"}, "--seed takes an integer from 0 to 18446744073709551615"},
        {"generate", {"-m", tiny, "-p", "x", "--isa", "mmx"}, "--isa takes one of"},
        {"generate", {"-m", tiny, "-p", "x", "--kv", "f64"}, "--kv takes one of f16|f32|i8, not 'f64'"},
        {"generate",
         {"-m", tiny, "-p", "x", "--activations", "64"},
         "--activations takes one of default|token|128|32|float, not '64'"},
        {"generate", {"-m", tiny, "-p", "x", "--stats=xml"}, "--stats takes one of text|json|none, not 'xml'"},
        {"generate", {"-m", tiny, "-p", "x", "--ids=yes"}, "--ids takes no value"},
        {"generate", {"-m", tiny, "-p", "x", "--i2s-source", "d"}, "--i2s-source takes one of a|b|c, not 'd'"},
        {"tokenize", {}, "-m FILE is missing"},
        {"tokenize", {"-m", tiny, "--encode"}, "there is no option '--encode'"},
        {"logits", {"-m", tiny}, "--ids ID,ID... is missing"},
        {"logits", {"-m", tiny, "--ids", ""}, "--ids takes integers with commas between them"},
        {"logits", {"-m", tiny, "--ids", "1,,2"}, "not '1,,2'"},
        {"logits", {"-m", tiny, "--ids", "1,2,"}, "not '1,2,'"},
        {"logits", {"-m", tiny, "--ids", "1, 2"}, "not '1, 2'"},
        {"logits", {"-m", tiny, "--ids", "1;2"}, "not '1;2'"},
        {"logits", {"-m", tiny, "--ids", "4294967296"}, "not '4294967296'"},
        {"inspect", {}, "FILE is missing"},
        {"inspect", {tiny, "another"}, "nothing takes the argument 'another'"},
        {"inspect", {tiny, "--xml"}, "there is no option '--xml'"},
        {"perplexity", {"-m", tiny}, "-f TEXT is missing"},
        {"perplexity", {"-m", tiny, "-f", "x", "-c", "1"}, "-c takes an integer from 2"},
    };
    for (const command& each : mistakes) {
        const outcome ran = run(each.tool, each.arguments);
        INFO("bitnet-" << each.tool << " should say: " << each.sentence << ", said: " << ran.err);
        CHECK(ran.status == 2);
        CHECK(ran.out.empty());
        CHECK(ran.err.starts_with("bitnet-" + each.tool + ": "));
        CHECK(contains(ran.err, each.sentence));
        CHECK(ran.err.find('\n') == ran.err.size() - 1);
    }
}

TEST_CASE("--help names every option and exits with 0") {
    const std::vector<command> expected{
        {"generate",
         {"-m",           "-p",
          "-n",           "-t",
          "-c",           "--temp",
          "--top-k",      "--top-p",
          "--min-p",      "--repeat-penalty",
          "--seed",       "--isa",
          "--kv",         "--ignore-eos",
          "--ids",        "--stats",
          "--special",    "--echo",
          "--pre",        "--i2s-source",
          "--help",       "--activations",
          "--stop",       "--logprobs",
          "--logit-bias", "--typical",
          "--dry"},
         "[the file's, else 0.8]"},
        {"tokenize", {"-m", "--special", "--decode", "--pre"}, {}},
        {"logits", {"-m", "--ids", "--isa", "--kv", "--activations", "-t", "--all", "--i2s-source"}, "[f16]"},
        {"inspect", {"FILE", "--json", "--pre", "--i2s-source"}, {}},
        {"perplexity",
         {"-m", "-f", "-c", "--when-full", "-t", "--kv", "--activations", "--isa", "--pre", "--i2s-source"},
         "[restart]"},
    };
    for (const command& each : expected) {
        const std::string usage = output(each.tool, {"--help"});
        CHECK(usage.starts_with("usage: bitnet-" + each.tool + " "));
        CHECK(contains(usage, each.sentence));
        for (const std::string& name : each.arguments) {
            INFO(each.tool << " " << name);
            CHECK(contains(usage, "\n  " + name + " "));
        }
    }
}

TEST_CASE("a missing, empty or truncated file, a directory or no model is an error that names it") {
    const temporary_folder folder;
    const std::string good = contents(tiny);
    const std::vector<std::pair<std::string, std::string>> files{
        {folder.path("missing.gguf"), "cannot be opened"},
        {folder.path(), "config.json: cannot be opened"},
        {folder.write("empty.gguf", ""), "empty"},
        {folder.write("text.gguf", "Once upon a time there was no model in this file."), "GGUF"},
        {folder.write("header.gguf", good.substr(0, 100000)), "'tokenizer.ggml.merges'"},
        {folder.write("data.gguf", good.substr(0, good.size() - 1000)), "tensor 'output_norm.weight'"},
    };
    const std::string text = folder.write("text.txt", "Once upon a time");
    for (const auto& file : files) {
        for (const command& each : one_of_each(file.first, text)) {
            const outcome ran = run(each.tool, each.arguments);
            INFO(each.tool << ": " << ran.err);
            CHECK(ran.status == 1);
            CHECK(ran.out.empty());
            CHECK(ran.err.starts_with("bitnet-" + each.tool + ": "));
            CHECK(contains(ran.err, file.first));
            CHECK(contains(ran.err, file.second));
        }
    }
}

TEST_CASE("a full disk is an error") {
    if (!std::filesystem::exists("/dev/full")) {
        return;
    }
    const temporary_folder folder;
    const std::string text = folder.write("text.txt", "Once upon a time");
    for (const command& each : one_of_each(tiny, text)) {
        const std::string line = command_line(each.tool, each.arguments);
        const std::string in = folder.write("in", "{\"text\":\"Once\"}\n");
        const int status =
            std::system((line + " <" + shell_word(in) + " >/dev/full 2>" + shell_word(folder.path("err"))).c_str());
        INFO(each.tool << ": " << contents(folder.path("err")));
        CHECK(WEXITSTATUS(status) == 1);
        CHECK(contains(contents(folder.path("err")), "stdout takes no more bytes"));
    }
}

TEST_CASE("an instruction set that this machine lacks is an error, and one that it has is not") {
    const auto here = isas_that_run();
    std::vector<std::string> names{"mmx"}; // which no build knows
    bitnet::isa::all_of_this_machine::for_each([&]<class Isa>() { names.emplace_back(Isa::name); });
    for (const std::string& isa : names) {
        const outcome ran = run("logits", {"-m", tiny, "--ids", "1", "--isa", isa});
        const bool available = std::find(here.begin(), here.end(), isa) != here.end();
        INFO(isa << ": " << ran.err);
        CHECK((ran.status == 0) == available);
        CHECK((available || contains(ran.err, isa)));
    }
}
