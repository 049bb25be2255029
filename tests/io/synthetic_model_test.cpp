// SPDX-License-Identifier: MIT
#include "../bench/synthetic_model.hpp"
#include "../golden/golden_data.hpp"
#include "../golden/tiny_model_writer.hpp"

#include <bitnet/core/half.hpp>
#include <bitnet/io/byte_source.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/ternary_tail.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

using bitnet_tests::find_synthetic_shape;
using bitnet_tests::synthetic_model;

namespace {

/// FNV-1a, 64 bits.
std::uint64_t digest(std::span<const std::byte> bytes) {
    std::uint64_t hash = 0xcbf29ce484222325u;
    for (const std::byte b : bytes) {
        hash = (hash ^ std::to_integer<std::uint64_t>(b)) * 0x100000001b3u;
    }
    return hash;
}

} // namespace

TEST_CASE("the synthetic tiny model never changes, on any machine") {
    const auto bytes = synthetic_model(*find_synthetic_shape("tiny"), 1).writer().write_memory();
    REQUIRE(bytes);
    CHECK(bytes->size() == 1939840);
    CHECK(digest(bytes->span()) == 122759159033232285u);
    const auto other = synthetic_model(*find_synthetic_shape("tiny"), 2).writer().write_memory();
    REQUIRE(other);
    CHECK(digest(other->span()) != digest(bytes->span()));
}

TEST_CASE("the tiniest model of the tests never changes, on any machine") {
    const auto bytes = bitnet_tests::tiny_model();
    REQUIRE(bytes);
    CHECK(digest(bytes->span()) == 5284383351528128507u);
}

TEST_CASE("a tensor does not depend on the pieces in which it is made") {
    bitnet_tests::random_tensor tensor{"t", bitnet_tests::random_tensor::kind::ternary, {128, 5}, 0.5f, 7, 3, 0, {}};
    tensor.prepare();
    std::array<std::byte, 128 * 5 / 4 + 32> whole{};
    std::array<std::byte, 128 * 5 / 4 + 32> pieces{};
    tensor.fill(0, whole);
    for (std::size_t at = 0, size = 1; at < pieces.size(); at += size, ++size) {
        tensor.fill(at, std::span(pieces).subspan(at, std::min(size, pieces.size() - at)));
    }
    CHECK(whole == pieces);
}

TEST_CASE("synthetic Bonsai models have the sizes of the published files, as far as these are known") {
    struct row {
        const char* name;
        std::uint64_t bytes;  ///< of the published file in blocks of 128
        std::uint64_t within; ///< bytes
    };
    // Those in blocks of 64 have 490,163,968 and 1,137,806,656 bytes, a byte more for 64 weights.
    const row rows[] = {{"bonsai-1.7b", 490163968 - 1719904256 / 64, 463'000},
                        {"bonsai-4b", 1137806656 - 4021588480 / 64, 1'075'000},
                        {"bonsai-8b", 2'180'000'000, 5'000'000}};
    for (const row& each : rows) {
        const auto model = synthetic_model(*find_synthetic_shape(each.name), 1);
        const std::uint64_t size = model.writer().file_size();
        CAPTURE(each.name);
        CHECK(size > each.bytes - each.within);
        CHECK(size < each.bytes + each.within);
    }
    CHECK_FALSE(find_synthetic_shape("bonsai-27b"));
}

TEST_CASE("blocks with scales do not depend on the pieces in which they are made, and hold no code 3") {
    bitnet_tests::random_tensor tensor{"t", bitnet_tests::random_tensor::kind::scaled, {256, 3}, 0.5f, 7, 3, 0, {}};
    tensor.prepare();
    std::array<std::byte, 6 * 34> whole{};
    std::array<std::byte, 6 * 34> pieces{};
    tensor.fill(0, whole);
    for (std::size_t at = 0, size = 1; at < pieces.size(); at += size, ++size) {
        tensor.fill(at, std::span(pieces).subspan(at, std::min(size, pieces.size() - at)));
    }
    CHECK(whole == pieces);
    for (std::size_t i = 0; i < whole.size(); ++i) {
        const auto byte = std::to_integer<unsigned>(whole[i]);
        CHECK((i % 34 < 2 || (byte & (byte >> 1) & 0x55u) == 0));
        if (i % 34 == 0) {
            bitnet::half scale{};
            std::memcpy(&scale, whole.data() + i, sizeof scale);
            CHECK(bitnet::detail::widen(scale) >= 0.375f);
            CHECK(bitnet::detail::widen(scale) <= 0.625f);
        }
    }
}

TEST_CASE("the synthetic tiny model is consistent and has no code 3") {
    const auto bytes = synthetic_model(*find_synthetic_shape("tiny"), 1).writer().write_memory();
    REQUIRE(bytes);
    const auto file = bitnet::gguf_file::parse(bytes->span(), "tiny");
    REQUIRE(file);
    CHECK(file->tensors().size() == 46);
    CHECK(*file->get<std::uint32_t>("bitnet-b1.58.embedding_length") == 256);
    CHECK(*file->get<std::uint32_t>("tokenizer.ggml.bos_token_id") == 1792);
    std::array<std::size_t, 4> codes{};
    for (const auto& tensor : file->tensors()) {
        if (tensor.type == bitnet::tensor_type::i2_s) {
            CHECK(bitnet::detail::scale_of_tail(tensor, "tiny").has_value());
            CHECK(bitnet::detail::check_i2s_codes(tensor, "tiny").has_value());
            for (const std::byte b : bitnet::detail::codes_before_tail(tensor)) {
                ++codes[std::to_integer<std::size_t>(b & std::byte{3})];
            }
        }
    }
    const double all = static_cast<double>(codes[0] + codes[1] + codes[2]);
    CHECK(static_cast<double>(codes[0]) / all == doctest::Approx(0.25).epsilon(0.02));
    CHECK(static_cast<double>(codes[1]) / all == doctest::Approx(0.5).epsilon(0.02));
    CHECK(codes[3] == 0);
}

TEST_CASE("the synthetic vocabulary of LLaMA-3's size is made of merges of its own tokens") {
    const auto list = bitnet_tests::synthetic_tokens(128256);
    REQUIRE(list.tokens.size() == 128256);
    CHECK(list.plain == 128000);
    CHECK(list.tokens[128000] == "<|begin_of_text|>");
    CHECK(list.tokens[128009] == "<|eot_id|>");
    CHECK(list.tokens[128255] == "<|reserved_special_token_250|>");
    const std::unordered_set<std::string_view> known(list.tokens.begin(), list.tokens.end());
    CHECK(known.size() == list.tokens.size());
    std::unordered_set<std::string> reachable;
    bool consistent = true;
    for (const std::string& merge : list.merges) {
        const auto space = merge.find(' ');
        const std::string left = merge.substr(0, space);
        const std::string right = merge.substr(space + 1);
        consistent = consistent && known.contains(left) && known.contains(right) && known.contains(left + right);
        reachable.insert(left + right);
    }
    CHECK(consistent);
    CHECK(reachable.size() == 128000 - 256); // every token that is no single byte
    CHECK(std::unordered_set<std::string>(list.merges.begin(), list.merges.end()).size() == list.merges.size());
}

TEST_CASE("golden: the synthetic tensors are those of the reference generator") {
    if (skip_without_golden()) {
        return;
    }
    const auto source = bitnet::byte_source::open(golden_path("bitnetcpp/synth-tiny-i2_s.gguf"));
    REQUIRE(source);
    const auto reference = bitnet::gguf_file::parse(source->bytes(), source->name());
    const auto bytes = synthetic_model(*find_synthetic_shape("tiny"), 1).writer().write_memory();
    REQUIRE(bytes);
    const auto ours = bitnet::gguf_file::parse(bytes->span(), "ours");
    REQUIRE(ours);
    REQUIRE(reference);
    REQUIRE(ours->tensors().size() == reference->tensors().size());
    for (const auto& tensor : reference->tensors()) {
        CAPTURE(std::string(tensor.name));
        const auto* made = ours->find_tensor(tensor.name);
        REQUIRE(made != nullptr);
        CHECK(std::ranges::equal(made->bytes, tensor.bytes));
    }
}
