// SPDX-License-Identifier: MIT
#include "../golden/gguf_editor.hpp"
#include "../golden/golden_data.hpp"
#include "../golden/tiny_model_writer.hpp"

#include <bitnet/io/byte_source.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/gguf_writer.hpp>
#include <bitnet/io/ternary_tail.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using bitnet::errc;
using bitnet::gguf_file;
using bitnet::gguf_type;
using bitnet::tensor_type;

namespace {

constexpr std::array<std::uint64_t, 1> four{4};

bitnet::buffer<std::byte> one_of_each() {
    bitnet::gguf_writer writer;
    writer.add("u8", std::uint8_t{200});
    writer.add("i8", std::int8_t{-5});
    writer.add("u16", std::uint16_t{60000});
    writer.add("i16", std::int16_t{-300});
    writer.add("u32", 4000000000u);
    writer.add("i32", -70000);
    writer.add("u64", std::numeric_limits<std::uint64_t>::max());
    writer.add("i64", std::numeric_limits<std::int64_t>::min());
    writer.add("f32", 1.5f);
    writer.add("f64", 0.1);
    writer.add("yes", true);
    writer.add("text", "ternary");
    writer.add("nothing", "");
    writer.add_array<std::int16_t>("numbers", std::array<std::int16_t, 3>{1, -2, 3});
    writer.add_strings("words", std::vector<std::string>{"", "b", "cde"});
    writer.add_strings("no words", std::vector<std::string>{});
    auto bytes = writer.write_memory();
    REQUIRE(bytes);
    return *std::move(bytes);
}

gguf_file parse(std::span<const std::byte> bytes) {
    auto file = gguf_file::parse(bytes, "test.gguf");
    CAPTURE((file ? std::string() : file.error().message));
    REQUIRE(file);
    return *std::move(file);
}

template <class T> errc refusal(const gguf_file& file, std::string_view key) {
    const auto value = file.get<T>(key);
    REQUIRE_FALSE(value.has_value());
    return value.error().code;
}

} // namespace

TEST_CASE("an integer key gives any integer type that its value fits") {
    const auto bytes = one_of_each();
    const auto file = parse(bytes.span());
    CHECK(*file.get<std::uint32_t>("u8") == 200);
    CHECK(*file.get<std::int64_t>("i8") == -5);
    CHECK(*file.get<int>("u16") == 60000);
    CHECK(*file.get<std::int16_t>("i16") == -300);
    CHECK(*file.get<std::uint64_t>("u32") == 4000000000u);
    CHECK(*file.get<std::int32_t>("i32") == -70000);
    CHECK(*file.get<std::uint64_t>("u64") == std::numeric_limits<std::uint64_t>::max());
    CHECK(*file.get<std::int64_t>("i64") == std::numeric_limits<std::int64_t>::min());
    CHECK(refusal<std::int8_t>(file, "u8") == errc::out_of_range);
    CHECK(refusal<std::uint64_t>(file, "i8") == errc::out_of_range);
    CHECK(refusal<std::int32_t>(file, "u32") == errc::out_of_range);
    CHECK(refusal<std::int64_t>(file, "u64") == errc::out_of_range);
    CHECK(file.get<std::uint32_t>("i32").error().message ==
          "test.gguf: metadata key 'i32' is -70000, which does not fit the u32 that is needed");
}

TEST_CASE("floats, bools and strings are given only as their own type") {
    const auto bytes = one_of_each();
    const auto file = parse(bytes.span());
    CHECK(*file.get<float>("f32") == 1.5f);
    CHECK(*file.get<double>("f64") == 0.1);
    CHECK(*file.get<double>("f32") == 1.5);
    CHECK(*file.get<bool>("yes"));
    CHECK(*file.get<std::string_view>("text") == "ternary");
    CHECK(file.get<std::string_view>("nothing")->empty());
    CHECK(refusal<float>(file, "f64") == errc::wrong_type);
    CHECK(refusal<float>(file, "u8") == errc::wrong_type);
    CHECK(refusal<bool>(file, "u8") == errc::wrong_type);
    CHECK(refusal<int>(file, "yes") == errc::wrong_type);
    CHECK(refusal<int>(file, "f32") == errc::wrong_type);
    CHECK(refusal<std::string_view>(file, "words") == errc::wrong_type);
    CHECK(file.get<float>("words").error().message ==
          "test.gguf: metadata key 'words' is of type array of 3 string, f32 is needed");
}

TEST_CASE("a missing key is an error or the given fallback, a key of the wrong type always an error") {
    const auto bytes = one_of_each();
    const auto file = parse(bytes.span());
    CHECK(file.find("missing") == nullptr);
    CHECK(refusal<float>(file, "missing") == errc::missing_key);
    CHECK(file.get<float>("missing").error().message == "test.gguf: the metadata has no key 'missing' (f32 is needed)");
    CHECK(*file.get_or<float>("missing", 2.5f) == 2.5f);
    CHECK(*file.get_or<float>("f32", 2.5f) == 1.5f);
    CHECK(file.get_or<float>("text", 2.5f).error().code == errc::wrong_type);
}

TEST_CASE("arrays give their elements in order") {
    const auto bytes = one_of_each();
    const auto file = parse(bytes.span());
    const auto* numbers = file.find("numbers");
    REQUIRE(numbers != nullptr);
    CHECK(numbers->is_array_of(gguf_type::i16));
    CHECK(numbers->count == 3);
    CHECK(numbers->element<std::int16_t>(1) == -2);
    const auto* words = file.find("words");
    REQUIRE(words != nullptr);
    const auto strings = words->strings();
    CHECK(std::vector<std::string>(strings.begin(), strings.end()) == std::vector<std::string>{"", "b", "cde"});
    CHECK(strings.size() == 3);
    CHECK(file.find("no words")->strings().begin() == file.find("no words")->strings().end());
    static_assert(std::ranges::forward_range<bitnet::gguf_strings>);
}

TEST_CASE("keys and tensors are found by name and listed in the order of the file") {
    const auto model = bitnet_tests::tiny_model();
    REQUIRE(model);
    const auto file = parse(model->span());
    CHECK(file.version() == 3);
    CHECK(file.alignment() == 32);
    CHECK(file.metadata().front().key == "general.architecture");
    CHECK(file.tensors().front().name == "token_embd.weight");
    for (const auto& value : file.metadata()) {
        CHECK(file.find(value.key) == &value);
    }
    for (const auto& tensor : file.tensors()) {
        CHECK(file.find_tensor(tensor.name) == &tensor);
        CHECK(tensor.bytes.data() == model->data() + tensor.offset);
        CHECK(tensor.offset % 32 == 0);
    }
    const auto* k = file.find_tensor("blk.0.attn_k.weight");
    REQUIRE(k != nullptr);
    CHECK(k->type == tensor_type::i2_s);
    CHECK(k->rank == 2);
    CHECK(k->dims == bitnet::tensor_dims{128, 64, 1, 1});
    CHECK(bitnet::dims_text(*k) == "[128, 64]");
    CHECK(k->bytes.size() == 128 * 64 / 4 + 32);
    CHECK(file.find_tensor("blk.1.attn_k.weight") == nullptr);
}

TEST_CASE("version 2 reads like version 3") {
    bitnet::gguf_writer writer({2, 32});
    writer.add("key", 7);
    const auto bytes = writer.write_memory();
    REQUIRE(bytes);
    const auto file = parse(bytes->span());
    CHECK(file.version() == 2);
    CHECK(*file.get<int>("key") == 7);
}

TEST_CASE("a file without keys and tensors is valid") {
    const auto bytes = bitnet::gguf_writer().write_memory();
    REQUIRE(bytes);
    const auto file = parse(bytes->span());
    CHECK(file.metadata().empty());
    CHECK(file.tensors().empty());
    CHECK(file.find("") == nullptr);
    CHECK(file.find_tensor("x") == nullptr);
}

TEST_CASE("moving a gguf_file keeps its pointers and spans valid") {
    const auto bytes = one_of_each();
    auto file = parse(bytes.span());
    const auto* value = file.find("text");
    const gguf_file moved = std::move(file);
    CHECK(moved.find("text") == value);
    CHECK(moved.name() == "test.gguf");
}

TEST_CASE("a hundred thousand keys and tensors are read and found") {
    bitnet::gguf_writer writer;
    const std::array<float, 4> data{};
    for (int i = 0; i < 100000; ++i) {
        writer.add("key " + std::to_string(i), i);
    }
    for (int i = 0; i < 100000; ++i) {
        writer.add_tensor("tensor " + std::to_string(i), tensor_type::f32, four, std::as_bytes(std::span(data)));
    }
    const auto bytes = writer.write_memory();
    REQUIRE(bytes);
    const auto file = parse(bytes->span());
    CHECK(*file.get<int>("key 77777") == 77777);
    CHECK(file.find_tensor("tensor 99999") == &file.tensors().back());
}

TEST_CASE("golden: the files of other writers are read") {
    if (skip_without_golden()) {
        return;
    }
    struct row {
        const char* path;
        std::size_t tokens;
        std::size_t tensors;
    };
    for (const row& r : {row{"bitnetcpp/synth-tiny-i2_s.gguf", 2048, 46}, row{"tiny/tiny-a-i2_s.gguf", 4128, 68},
                         row{"tokenizer/llama3-vocab.gguf", 128256, 0}, row{"tokenizer/others/falcon.gguf", 65024, 0},
                         row{"tokenizer/others/gpt-2.gguf", 50257, 0}}) {
        CAPTURE(std::string(r.path));
        const auto source = bitnet::byte_source::open(golden_path(r.path));
        REQUIRE(source);
        const auto file = parse(source->bytes());
        REQUIRE(file.find("tokenizer.ggml.tokens") != nullptr);
        CHECK(file.find("tokenizer.ggml.tokens")->count == r.tokens);
        CHECK(file.tensors().size() == r.tensors);
        for (const auto& tensor : file.tensors()) {
            if (tensor.type == tensor_type::i2_s) {
                CHECK(bitnet::detail::scale_of_tail(tensor, r.path).has_value());
                CHECK(bitnet::detail::check_i2s_codes(tensor, r.path).has_value());
            }
        }
    }
}
