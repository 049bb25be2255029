// SPDX-License-Identifier: MIT
#include "../golden/golden_data.hpp"
#include "../golden/safetensors_writer.hpp"
#include "temporary_folder.hpp"

#include <bitnet/io/byte_source.hpp>
#include <bitnet/io/safetensors.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;
using bitnet_tests::safetensors_bytes;

namespace {

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

} // namespace

TEST_CASE("a safetensors file gives its tensors in place, in the order of their data") {
    const std::string file = safetensors_bytes(
        R"({"b":{"dtype":"U8","shape":[2,3],"data_offsets":[4,10]}, "a":{"data_offsets":[0,4],"dtype":"F32","shape":[]}})",
        "abcdefghij");
    const auto read = safetensors_file::parse(bytes_of(file), "two.safetensors");
    REQUIRE(read);
    CHECK(read->name() == "two.safetensors");
    REQUIRE(read->tensors().size() == 2);
    const safetensors_tensor& first = read->tensors()[0];
    CHECK(first.name == "a");
    CHECK(first.type == safetensors_type::f32);
    CHECK(first.rank == 0);
    CHECK(bitnet_tests::as_text(first.bytes) == "abcd");
    CHECK(shape_text(first) == "[]");
    const safetensors_tensor& second = read->tensors()[1];
    CHECK(second.name == "b");
    CHECK(shape_text(second) == "[2, 3]");
    CHECK(second.offset == file.size() - 6);
    CHECK(second.bytes.data() == bytes_of(file).data() + second.offset);
    CHECK(bitnet_tests::as_text(second.bytes) == "efghij");
    CHECK(read->find("b") == &second);
    CHECK(read->find("a") == &first);
    CHECK(read->find("c") == nullptr);
}

TEST_CASE("tensors of a safetensors file stay valid when it moves") {
    const std::string file = safetensors_bytes(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", "x");
    auto read = safetensors_file::parse(bytes_of(file), "moved");
    REQUIRE(read);
    const safetensors_tensor* tensor = read->find("a");
    const safetensors_file moved = *std::move(read);
    CHECK(moved.find("a") == tensor);
    CHECK(tensor->name == "a");
}

TEST_CASE("an empty safetensors file, empty tensors and metadata are read") {
    const std::string none = safetensors_bytes("{}", "");
    CHECK(safetensors_file::parse(bytes_of(none), "none"));
    const std::string metadata = safetensors_bytes(R"({"__metadata__":{"format":"pt","n":"1"}}   )", "");
    const auto only = safetensors_file::parse(bytes_of(metadata), "metadata");
    REQUIRE(only);
    CHECK(only->tensors().empty());
    const std::string empty = safetensors_bytes(R"({"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                                                R"("z":{"dtype":"F32","shape":[4,0],"data_offsets":[0,0]}})",
                                                "abcd");
    const auto read = safetensors_file::parse(bytes_of(empty), "empty");
    REQUIRE_MESSAGE(read, (read ? "" : read.error().message));
    CHECK(read->find("z")->bytes.empty());
    CHECK(read->find("b")->bytes.size() == 4);
}

TEST_CASE("every safetensors type has its name and its bytes") {
    for (const safetensors_format& format : safetensors_formats) {
        CHECK(name_of(format.type) == format.name);
        const std::string entry = R"({"t":{"dtype":")" + std::string(format.name) +
                                  R"(","shape":[3],"data_offsets":[0,)" + std::to_string(3 * format.bytes) + "]}}";
        const std::string file = safetensors_bytes(entry, std::string(std::size_t{3} * format.bytes, 'x'));
        const auto read = safetensors_file::parse(bytes_of(file), "types");
        REQUIRE_MESSAGE(read, (read ? "" : read.error().message));
        CHECK(read->tensors()[0].type == format.type);
    }
}

TEST_CASE("golden: every tensor of the tiny checkpoints is read") {
    if (skip_without_golden()) {
        return;
    }
    for (const char* folder : {"hf", "hf-bf16"}) {
        const auto source = byte_source::open(golden_path(std::string("tiny/") + folder + "/model.safetensors"));
        REQUIRE(source);
        const auto read = safetensors_file::parse(source->bytes(), source->name());
        REQUIRE_MESSAGE(read, (read ? "" : read.error().message));
        const auto* embedding = read->find("model.embed_tokens.weight");
        REQUIRE(embedding != nullptr);
        CHECK(shape_text(*embedding) == "[4128, 256]");
        CHECK(embedding->type == safetensors_type::bf16);
    }
}
