// SPDX-License-Identifier: MIT
// Type 42 has blocks of 128 or of 64 columns: the spans of all tensors say which.
#include "golden/gguf_editor.hpp"

#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/gguf_types.hpp>
#include <bitnet/io/gguf_writer.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

using namespace bitnet;

namespace {

struct entry {
    std::string name;
    tensor_type type;
    std::vector<std::uint64_t> dims;
};

/// A file of such tensors, one after another, all bytes 0x55.
std::vector<std::byte> file_of(const std::vector<entry>& entries, std::uint32_t alignment = 32) {
    gguf_writer writer({3, alignment});
    const std::vector<std::byte> data(std::size_t{1} << 18, std::byte{0x55});
    for (const entry& each : entries) {
        tensor_dims dims{1, 1, 1, 1};
        std::copy(each.dims.begin(), each.dims.end(), dims.begin());
        const auto bytes = detail::tensor_bytes(each.type, dims);
        REQUIRE(bytes);
        writer.add_tensor(each.name, each.type, each.dims, std::span(data).first(static_cast<std::size_t>(*bytes)));
    }
    const auto written = writer.write_memory();
    REQUIRE_MESSAGE(written, (written ? "" : written.error().message));
    return {written->span().begin(), written->span().end()};
}

/// What a model has: norms between its matrices.
std::vector<entry> some_tensors(tensor_type type) {
    return {{"norm", tensor_type::f32, {300}},
            {"wide", type, {256, 12}},
            {"half", tensor_type::f16, {7}},
            {"tall", type, {128, 33}},
            {"last", type, {384, 5}}};
}

void check_types(std::span<const std::byte> bytes, tensor_type type) {
    const auto file = gguf_file::parse(bytes, "test");
    REQUIRE_MESSAGE(file, (file ? "" : file.error().message));
    for (const std::string_view name : {"wide", "tall", "last"}) {
        const gguf_tensor& tensor = *file->find_tensor(name);
        CHECK(name_of(tensor.type) == name_of(type));
        CHECK(tensor.bytes.size() == *detail::tensor_bytes(type, tensor.dims));
    }
}

void check_refused(std::span<const std::byte> bytes, errc code, const std::vector<std::string>& parts) {
    const auto file = gguf_file::parse(bytes, "test");
    REQUIRE(!file);
    INFO(file.error().message);
    CHECK(file.error().code == code);
    CHECK(file.error().message.starts_with("test: "));
    for (const std::string& part : parts) {
        INFO(part);
        CHECK(file.error().message.find(part) != std::string::npos);
    }
}

constexpr std::string_view neither = "blocks of 128 or of 64 columns, and this file fits neither: with 128, ";

} // namespace

TEST_CASE("tensors of type 42 have the blocks with which they meet every offset, at any alignment") {
    for (const std::uint32_t alignment : {8u, 32u, 64u, 256u}) {
        for (const tensor_type type : {tensor_type::q2_0, tensor_type::q2_0_g64}) {
            auto bytes = file_of(some_tensors(type), alignment);
            check_types(bytes, type);
            const std::size_t last = type == tensor_type::q2_0 ? 3 * 5 * 34 : 6 * 5 * 18;
            bytes.resize(bytes.size() - (alignment - last % alignment) % alignment); // without the last padding
            check_types(bytes, type);
        }
    }
}

TEST_CASE("a file holds the id 42 whichever blocks its tensors have") {
    const auto bytes = file_of({{"a", tensor_type::q2_0_g64, {64, 100}}});
    const bitnet_tests::gguf_editor editor(bytes);
    CHECK(editor.peek<std::uint32_t>(editor.tensor("a").type) == 42);
}

TEST_CASE("tensors are taken by their offsets, in whatever order they are listed") {
    const auto good =
        file_of({{"first", tensor_type::q2_0_g64, {256, 40}}, {"second", tensor_type::q2_0_g64, {256, 40}}});
    bitnet_tests::gguf_editor editor(good);
    const auto first = editor.peek<std::uint64_t>(editor.tensor("first").offset);
    const auto second = editor.peek<std::uint64_t>(editor.tensor("second").offset);
    editor.poke(editor.tensor("first").offset, second);
    editor.poke(editor.tensor("second").offset, first);
    const auto file = gguf_file::parse(editor.bytes(), "test");
    REQUIRE(file);
    CHECK(file->find_tensor("first")->type == tensor_type::q2_0_g64);
    CHECK(file->find_tensor("first")->offset > file->find_tensor("second")->offset);
}

TEST_CASE("columns that are no multiple of 128 have blocks of 64") {
    const auto bytes = file_of({{"a", tensor_type::q2_0_g64, {320, 6}}, {"b", tensor_type::q2_0_g64, {448, 6}}});
    const auto file = gguf_file::parse(bytes, "test");
    REQUIRE_MESSAGE(file, (file ? "" : file.error().message));
    CHECK(file->find_tensor("b")->type == tensor_type::q2_0_g64);
}

TEST_CASE("a file that both blocks fit is refused as ambiguous") {
    // 1024 values: 8 * 34 = 272 and 16 * 18 = 288 bytes, of which padding to 32 makes one number.
    check_refused(file_of({{"a", tensor_type::q2_0, {128, 8}}, {"b", tensor_type::f32, {1}}}), errc::wrong_layout,
                  {"the offsets of this file fit both"});
}

TEST_CASE("a file that is cut fits neither, and both numbers are named") {
    const auto good = file_of(some_tensors(tensor_type::q2_0));
    const auto file = gguf_file::parse(good, "test");
    REQUIRE(file);
    const std::size_t start = file->data_offset();
    const std::size_t end = file->find_tensor("last")->offset + 510 - start;
    for (const std::size_t left : {end - 1, end - 100, std::size_t{1500}, std::size_t{0}}) {
        check_refused(std::span(good).first(start + left), errc::wrong_layout,
                      {std::string(neither) + "the data would take " + std::to_string(end) + " bytes, but it has " +
                           std::to_string(left),
                       "; with 64, tensor 'half' would start at offset 2080, but it does at 2048"});
    }
    auto longer = good;
    longer.resize(longer.size() + 32);
    check_refused(longer, errc::wrong_layout, {"the data would take " + std::to_string(end) + " bytes, but it has "});
}

TEST_CASE("a tensor that is not where the one before it ends fits neither") {
    bitnet_tests::gguf_editor moved(file_of(some_tensors(tensor_type::q2_0)));
    const std::size_t at = moved.tensor("tall").offset;
    const auto offset = moved.peek<std::uint64_t>(at);
    for (const std::uint64_t wrong : {offset + 32, offset - 32, std::uint64_t{0}, offset + 1, ~std::uint64_t{0}}) {
        moved.poke(at, wrong);
        check_refused(moved.bytes(), errc::wrong_layout, {std::string(neither) + "tensor '"});
    }
}

TEST_CASE("a changed dimension fits neither, and the first tensor that it moves is named") {
    bitnet_tests::gguf_editor changed(file_of(some_tensors(tensor_type::q2_0)));
    changed.set_dim("wide", 1, 13);
    check_refused(changed.bytes(), errc::wrong_layout,
                  {std::string(neither) + "tensor 'half' would start at offset 2112, but it does at 2048"});
    changed.set_dim("wide", 1, 12);
    changed.set_dim("wide", 0, 192);
    check_refused(changed.bytes(), errc::wrong_layout,
                  {std::string(neither) + "tensor 'wide' of shape [192, 12] has rows of no whole blocks",
                   "; with 64, tensor 'half' would start at offset 1888"});
    changed.set_dim("wide", 0, std::uint64_t{1} << 62);
    check_refused(changed.bytes(), errc::wrong_layout, {std::string(neither)});
}

TEST_CASE("blocks of 128 and of 64 in one file are refused") {
    check_refused(
        file_of({{"a", tensor_type::q2_0, {256, 40}}, {"b", tensor_type::q2_0_g64, {256, 40}}}), errc::wrong_layout,
        {"with 128, the data would take", "with 64, tensor 'b' would start at offset 2880, but it does at 2720"});
}

TEST_CASE("142 and 143 need no offsets to be understood, and take gaps between tensors as every type does") {
    for (const tensor_type type : {tensor_type::pq2_0, tensor_type::ptq1_0}) {
        bitnet_tests::gguf_editor editor(file_of({{"a", type, {256, 32}}, {"b", type, {256, 32}}}));
        std::vector<std::byte> longer(editor.bytes().begin(), editor.bytes().end());
        longer.resize(longer.size() + 64);
        bitnet_tests::gguf_editor moved(longer);
        moved.poke(moved.tensor("b").offset, moved.peek<std::uint64_t>(moved.tensor("b").offset) + 64);
        const auto file = gguf_file::parse(moved.bytes(), "test");
        REQUIRE_MESSAGE(file, (file ? "" : file.error().message));
        CHECK(file->find_tensor("b")->type == type);
    }
}

TEST_CASE("types that are not ternary are refused by their own reason, with other types of the file known") {
    bitnet_tests::gguf_editor editor(file_of(some_tensors(tensor_type::q2_0)));
    editor.poke(editor.tensor("wide").type, std::uint32_t{41});
    check_refused(editor.bytes(), errc::unsupported_type, {"'wide' has type 41, Q1_0: its weights are binary"});
    editor.poke(editor.tensor("wide").type, std::uint32_t{40});
    check_refused(editor.bytes(), errc::unsupported_type, {"'wide' has the unknown tensor type 40"});
    editor.poke(editor.tensor("wide").type, static_cast<std::uint32_t>(tensor_type::q2_0_g64));
    check_refused(editor.bytes(), errc::unsupported_type, {"'wide' has the unknown tensor type 2975334910"});
}
