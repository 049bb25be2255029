// SPDX-License-Identifier: MIT
// bitnet-convert as a process: what it writes, reports and leaves unchanged.
#include "golden/golden_data.hpp"
#include "golden/split_gguf.hpp"
#include "models.hpp"
#include "process.hpp"

#include <bitnet/io/gguf_reader.hpp>

#include <doctest/doctest.h>

#include <filesystem>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <vector>

using namespace bitnet_tests;

namespace {

/// What `args` make of `source`; the file's path.
std::string convert(const temporary_folder& folder, const std::string& source, std::vector<std::string> args) {
    const std::string target = folder.path("out.gguf");
    args.insert(args.begin(), {source, target, "--force", "--verify"});
    CHECK(contains(output("convert", args), "verified: 4718592 ternary values and the scales of 42 tensors, 4128 "));
    return target;
}

std::size_t files_in(const temporary_folder& folder) {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder.path()), {}));
}

} // namespace

TEST_CASE("converted to any layout, a model is verified, gives the same text and converts back") {
    const std::vector<std::string> prompt{"-p", "Once upon a time", "-n", "12", "--temp", "0"};
    const auto text_of = [&](const std::string& file) {
        auto args = prompt;
        args.insert(args.begin(), {"-m", file});
        return output("generate", args);
    };
    const std::string expected = text_of(tiny);
    const temporary_folder folder;
    const temporary_folder home;
    for (const char* layout : {"i2_s", "base3", "lookup2", "lookup3", "tq1_0", "tq2_0", "iq2_bn"}) {
        const std::string there = convert(folder, tiny, {"--layout", layout});
        CHECK(text_of(there) == expected);
        CHECK(contents(convert(home, there, {"--layout", "i2_s"})) == contents(tiny));
        const bool runs_as_stored = contains("base3 lookup2 lookup3", layout);
        CHECK(contains(output("inspect", {there}), std::string(", in layout ") + (runs_as_stored ? layout : "i2_s")));
    }
}

TEST_CASE("a screen is stored, and heads of other types say what changed") {
    const temporary_folder folder;
    const std::string screened = convert(folder, tiny, {"--head", "screened"});
    const std::vector<std::string> options{"-p", "the king", "-n", "8", "--temp", "0"};
    auto with_screen = options;
    with_screen.insert(with_screen.begin(), {"-m", screened, "--head", "screened"});
    auto without = options;
    without.insert(without.begin(), {"-m", tiny});
    CHECK(output("generate", with_screen) == output("generate", without));
    const auto file = contents(screened);
    CHECK(bitnet::gguf_file::parse(std::as_bytes(std::span(file)), "out")->find_tensor("token_embd.screen") != nullptr);
    const std::string said = output("convert", {tiny, folder.path("q8.gguf"), "--head", "q8_0", "--verify"});
    CHECK(contains(said, "in another type "));
    CHECK_FALSE(contains(said, "in another type 0 values"));
}

TEST_CASE("control tokens that are spelled with BOS in front are repaired") {
    const temporary_folder folder;
    const std::string broken = write_with_bos_in_front(folder, true);
    CHECK(contents(convert(folder, broken, {})) == contents(tiny));
    const std::string said = output("convert", {broken, folder.path("again.gguf")});
    CHECK(contains(said, "31 control tokens were spelled with BOS before or EOS after them, and are no more"));
    CHECK_FALSE(contains(output("convert", {tiny, folder.path("good.gguf")}), "control tokens"));
}

TEST_CASE("--set repairs metadata") {
    const temporary_folder folder;
    const std::string broken = write_without_pre(folder);
    const std::string repaired = convert(folder, broken, {"--set", "tokenizer.ggml.pre=str:llama-bpe"});
    const auto file = contents(repaired);
    const auto parsed = bitnet::gguf_file::parse(std::as_bytes(std::span(file)), "out");
    REQUIRE(parsed);
    CHECK(*parsed->get<std::string_view>("tokenizer.ggml.pre") == "llama-bpe");
    const outcome wrong = run("convert", {broken, folder.path("x.gguf"), "--set", "tokenizer.ggml.pre=llama-bpe"});
    CHECK(wrong.status == 2);
    CHECK(contains(wrong.err, "tokenizer.ggml.pre"));
}

TEST_CASE("no file is overwritten without --force, the source never, and a failure leaves no file") {
    const temporary_folder folder;
    const std::string existing = folder.write("kept.gguf", "kept");
    const outcome refused = run("convert", {tiny, existing});
    CHECK(refused.status == 1);
    CHECK(contains(refused.err, "kept.gguf: exists; --force"));
    CHECK(contents(existing) == "kept");
    const outcome itself = run("convert", {tiny, tiny, "--force"});
    CHECK(itself.status == 1);
    CHECK(contains(itself.err, "is a file of the model that is to be read"));

    const std::string bad = write_with_bad_code(folder);
    const std::size_t before = files_in(folder);
    const outcome failed = run("convert", {bad, folder.path("new.gguf"), "--layout", "base3"});
    CHECK(failed.status == 1);
    CHECK(contains(failed.err, "blk.3.ffn_up.weight"));
    CHECK(files_in(folder) == before);
    const outcome nowhere = run("convert", {tiny, folder.path("no/such/folder/x.gguf")});
    CHECK(nowhere.status == 1);
    CHECK(contains(nowhere.err, "no/such/folder"));
    CHECK(files_in(folder) == before);
    CHECK(run("convert", {folder.path("missing.gguf"), folder.path("new.gguf")}).status == 1);
    const std::string no_tiling = folder.path("kernel_config.ini");
    const outcome untiled = run("convert", {tiny, folder.path("new.gguf"), "--tiling", no_tiling});
    CHECK(untiled.status == 2);
    CHECK(contains(untiled.err, "kernel_config.ini"));
    CHECK(run("convert", {tiny}).status == 2);
}

TEST_CASE("golden: the tools take a checkpoint's directory in place of its GGUF file") {
    if (skip_without_golden()) {
        return;
    }
    const temporary_folder folder;
    const std::vector<std::string> options{"-p", "Once upon a time", "-n", "12", "--temp", "0"};
    const auto text_of = [&](const std::string& file) {
        auto args = options;
        args.insert(args.begin(), {"-m", file});
        return output("generate", args);
    };
    for (const char* checkpoint : {"tiny/hf", "tiny/hf-bf16"}) {
        const std::string directory = golden_path(checkpoint);
        CHECK(text_of(directory) == text_of(tiny));
        CHECK(text_of(convert(folder, directory, {})) == text_of(tiny));
        const std::string line = "{\"text\":\"the king\"}\n";
        CHECK(output("tokenize", {"-m", directory}, line) == output("tokenize", {"-m", tiny}, line));
        CHECK(contains(output("inspect", {directory}), "Hugging Face checkpoint"));
    }
}

TEST_CASE("the tools open a split model by its first shard, show all shards and join them") {
    const temporary_folder folder;
    const std::string bytes = contents(tiny);
    const auto file = bitnet::gguf_file::parse(std::as_bytes(std::span(bytes)), "tiny");
    REQUIRE(file);
    for (std::size_t i = 0; i < 3; ++i) {
        (void)folder.write("m" + shard_ending(i, 3), as_text(shard_of(*file, i, 3).span()));
    }
    const std::string first = folder.path("m" + shard_ending(0, 3));
    const std::vector<std::string> prompt{"-p", "Once upon a time", "-n", "12", "--temp", "0"};
    auto of_whole = prompt;
    of_whole.insert(of_whole.begin(), {"-m", tiny});
    auto of_split = prompt;
    of_split.insert(of_split.begin(), {"-m", first});
    CHECK(output("generate", of_split) == output("generate", of_whole));
    const std::string shown = output("inspect", {first});
    CHECK(contains(shown, "split into 3 shards"));
    CHECK(contains(shown, folder.path("m" + shard_ending(2, 3)) + ": "));
    CHECK(contains(output("inspect", {first, "--json"}), shard_ending(1, 3)));
    CHECK(contents(convert(folder, first, {})) == contents(tiny));
    const outcome over = run("convert", {first, folder.path("m" + shard_ending(1, 3)), "--force"});
    CHECK(over.status == 1);
    CHECK(contains(over.err, "is a file of the model that is to be read"));
    const outcome second = run("inspect", {folder.path("m" + shard_ending(1, 3))});
    CHECK(second.status == 1);
    CHECK(contains(second.err, first));
}
