// SPDX-License-Identifier: MIT
// bitnet-check as a process, and its SHA-256.
#include "../../examples/tools/published_figures.hpp"
#include "../../examples/tools/sha256.hpp"
#include "models.hpp"
#include "process.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

using namespace bitnet_tests;

namespace {

std::string sha256_of(std::string_view text, std::size_t part = SIZE_MAX) {
    tools::sha256 digest;
    for (std::size_t at = 0; at < text.size(); at += part) {
        digest.add(std::as_bytes(std::span(text.substr(at, part))));
        if (part == SIZE_MAX) {
            break;
        }
    }
    return digest.hex();
}

std::size_t count(std::string_view text, std::string_view part) {
    std::size_t found = 0;
    for (auto at = text.find(part); at != std::string_view::npos; at = text.find(part, at + 1)) {
        ++found;
    }
    return found;
}

/// The figure called `name` of what bitnet-check prints: from its verdict to what was found.
std::string figure_of(const std::string& text, const std::string& name) {
    const auto at = text.find("  " + name + "\n");
    REQUIRE(at != std::string::npos);
    const auto begin = text.rfind('\n', at) + 1;
    const auto found = text.find("found", at);
    return text.substr(begin, text.find('\n', found) - begin);
}

} // namespace

TEST_CASE("SHA-256 has the published digests, however the bytes are cut") {
    // FIPS 180-2, appendix B, and NIST's Cryptographic Algorithm Validation Program (SHA256ShortMsg.rsp).
    CHECK(sha256_of("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    CHECK(sha256_of("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK(sha256_of("\xd3") == "28969cdfa74a12c82f3bad960b0b000aca2ac329deea5c2328ebc6f2ba9802c1");
    CHECK(sha256_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
          "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    const std::string million(1000000, 'a');
    for (const std::size_t part : {SIZE_MAX, std::size_t{1}, std::size_t{63}, std::size_t{64}, std::size_t{1000}}) {
        CHECK(sha256_of(million, part) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    }
    for (std::size_t size = 50; size < 70; ++size) { // around where the length no longer fits the block
        CHECK(sha256_of(million.substr(0, size)) == sha256_of(million.substr(0, size), 7));
    }
}

TEST_CASE("bitnet-check finds every figure of the right file") {
    const outcome checked = run("check", {tiny, "--as", "tiny"});
    INFO(checked.out << checked.err);
    CHECK(checked.status == 0);
    CHECK(contains(checked.out, "17 of 17 figures hold"));
    CHECK(count(checked.out, "ok     ") == 17);
    CHECK(contains(figure_of(checked.out, "bytes"), "expected 3484096"));
    const auto scalar = run("check", {tiny, "--as", "tiny", "--isa", "scalar", "-t", "1"});
    CHECK(scalar.out == checked.out);
}

TEST_CASE("bitnet-check names the figures that another file has, and does not end with 0") {
    const temporary_folder folder;
    auto editor = edit_tiny();
    editor.rename_key("tokenizer.ggml.padding_token_id",
                      "tokenizer.ggml.unknown_token_id"); // which changes the digest only
    const outcome renamed = run("check", {folder.write("renamed.gguf", as_text(editor.bytes())), "--as", "tiny"});
    CHECK(renamed.status == 1);
    CHECK(figure_of(renamed.out, "sha256").starts_with("WRONG"));
    CHECK(contains(figure_of(renamed.out, "sha256"), "expected 27401dc539dc941b"));
    CHECK(figure_of(renamed.out, "metadata keys").starts_with("ok"));

    const outcome stopping =
        run("check", {write_with_swapped(folder, 308, 4105), "--as", "tiny"}); // " was", <|eot_id|>
    CHECK(stopping.status == 1);
    CHECK(contains(figure_of(stopping.out, "greedy after \"Once upon a time\""), "found    429 and stops"));
    CHECK(figure_of(stopping.out, "largest logit after \"Once upon a time\"").starts_with("ok"));

    auto other = edit_tiny();
    const auto& embedding = other.tensor("token_embd.weight");
    other.poke<std::uint8_t>(embedding.data + 429 * 512 + 1, 0x7b); // of the token that should come first
    const outcome louder = run("check", {folder.write("louder.gguf", as_text(other.bytes())), "--as", "tiny"});
    CHECK(figure_of(louder.out, "largest logit after \"Once upon a time\"").starts_with("WRONG"));

    const outcome as_large = run("check", {tiny});
    CHECK(as_large.status == 1);
    CHECK(contains(figure_of(as_large.out, "bytes"), "expected 1187801280"));
    CHECK(contains(figure_of(as_large.out, "types of tensors"), "found    1 F16, 25 F32, 42 I2_S"));
    CHECK(figure_of(as_large.out, "architecture").starts_with("ok"));
    CHECK(contains(as_large.out, "2 of 17 figures hold")); // the architecture and the constants
}

TEST_CASE("bitnet-check says of every figure why it cannot be found") {
    const temporary_folder folder;
    const outcome none = run("check", {folder.path("none.gguf")});
    CHECK(none.status == 1);
    CHECK(contains(none.err, "none.gguf"));
    const outcome noise = run("check", {folder.write("noise.gguf", std::string(1000, 'x')), "--as", "tiny"});
    CHECK(noise.status == 1);
    CHECK(contains(figure_of(noise.out, "bytes"), "found    1000"));
    CHECK(contains(figure_of(noise.out, "vocabulary"), "found    nothing ("));
    CHECK(contains(noise.out, "0 of 17 figures hold"));
    const outcome bad = run("check", {write_with_bad_code(folder), "--as", "tiny"});
    CHECK(figure_of(bad.out, "sha256").starts_with("WRONG"));
    CHECK(run("check", {tiny, "--as", "huge"}).status == 2);
}
