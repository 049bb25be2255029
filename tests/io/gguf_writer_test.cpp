// SPDX-License-Identifier: MIT
#include "temporary_folder.hpp"

#include <bitnet/io/byte_source.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/gguf_writer.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using bitnet::errc;
using bitnet::gguf_file;
using bitnet::gguf_writer;
using bitnet::tensor_type;
using bitnet_tests::as_text;
using bitnet_tests::temporary_folder;

namespace {

using dims = std::vector<std::uint64_t>;

/// Gives bytes that depend on their offset; fails from `failing` on.
struct counter {
    std::uint64_t failing = UINT64_MAX;
    static std::byte at(std::uint64_t offset) {
        return std::byte{static_cast<unsigned char>(offset * 7 + offset / 65536)};
    }
    static bool read(void* context, std::uint64_t offset, std::span<std::byte> out) {
        for (std::size_t i = 0; i < out.size(); ++i) {
            out[i] = at(offset + i);
        }
        return offset + out.size() <= static_cast<const counter*>(context)->failing;
    }
};

errc refusal(const gguf_writer& writer, const std::string& word) {
    const auto written = writer.write_memory();
    REQUIRE_FALSE(written.has_value());
    CAPTURE(written.error().message);
    CHECK(written.error().message.find(word) != std::string::npos);
    return written.error().code;
}

gguf_writer with_tensor(const std::string& name, tensor_type type, const dims& shape, std::size_t bytes) {
    static const std::array<std::byte, 4096> zeros{};
    gguf_writer writer;
    writer.add_tensor(name, type, shape, std::span(zeros).first(bytes));
    return writer;
}

} // namespace

TEST_CASE("a file on disk has the same bytes as one in memory, and no other file remains") {
    const temporary_folder folder;
    counter numbers;
    gguf_writer writer;
    writer.add("general.architecture", "test");
    writer.add_tensor("streamed", tensor_type::i8_s, dims{3000001}, bitnet::read_callback{&counter::read, &numbers});
    std::vector<std::byte> ready(5000001);
    for (std::size_t i = 0; i < ready.size(); ++i) {
        ready[i] = counter::at(i);
    }
    writer.add_tensor("ready", tensor_type::i8_s, dims{ready.size()}, ready);
    const auto memory = writer.write_memory();
    REQUIRE(memory);
    CHECK(memory->size() == writer.file_size());
    const auto written = writer.write_file(folder.path("model.gguf"));
    REQUIRE(written);
    CHECK(*written == writer.file_size());
    CHECK(folder.files() == 1);
    const auto source = bitnet::byte_source::open(folder.path("model.gguf"));
    REQUIRE(source);
    CHECK(as_text(source->bytes()) == as_text(memory->span()));
    const auto file = gguf_file::parse(source->bytes(), source->name());
    REQUIRE(file);
    const auto* tensor = file->find_tensor("streamed");
    REQUIRE(tensor != nullptr);
    REQUIRE(tensor->bytes.size() == 3000001);
    CHECK(tensor->bytes[2999999] == counter::at(2999999));
}

TEST_CASE("tensors start at multiples of any alignment") {
    const std::array<std::byte, 5> five{};
    for (const std::uint32_t alignment : {8u, 32u, 4096u, 65536u}) {
        gguf_writer writer({3, alignment});
        writer.add_tensor("a", tensor_type::i8_s, dims{5}, five);
        writer.add_tensor("b", tensor_type::i8_s, dims{5}, five);
        const auto bytes = writer.write_memory();
        REQUIRE(bytes);
        const auto file = gguf_file::parse(bytes->span(), "test");
        REQUIRE(file);
        CHECK(file->alignment() == alignment);
        CHECK(file->find_tensor("a")->offset % alignment == 0);
        CHECK(file->find_tensor("b")->offset == file->find_tensor("a")->offset + alignment);
        CHECK(bytes->size() % alignment == 0);
    }
}

TEST_CASE("mistakes are kept and reported when the file is written") {
    gguf_writer twice;
    twice.add("key", 1);
    twice.add("other", 1);
    twice.add("key", 2);
    CHECK(refusal(twice, "'key' was added twice") == errc::duplicate_key);
    gguf_writer same_tensor = with_tensor("t", tensor_type::f32, {4}, 16);
    same_tensor.add_tensor("t", tensor_type::f32, dims{4}, bitnet::read_callback{&counter::read, nullptr});
    CHECK(refusal(same_tensor, "'t' was added twice") == errc::duplicate_tensor);
    gguf_writer no_key;
    no_key.add("", 1);
    no_key.add("later", 1);
    CHECK(refusal(no_key, "0 bytes") == errc::bad_key);
    CHECK(refusal(with_tensor("", tensor_type::f32, {4}, 16), "0 bytes") == errc::bad_tensor_name);
    CHECK(refusal(with_tensor(std::string(129, 't'), tensor_type::f32, {4}, 16), "129") == errc::bad_tensor_name);
    CHECK(refusal(with_tensor("t", tensor_type::f32, {4}, 15), "got 15 bytes, its shape and type need 16") ==
          errc::invalid_argument);
    CHECK(refusal(with_tensor("t", tensor_type::f32, {}, 0), "0 dimensions") == errc::bad_shape);
    CHECK(refusal(with_tensor("t", tensor_type::f32, {1, 1, 1, 1, 1}, 4), "5 dimensions") == errc::bad_shape);
    CHECK(refusal(with_tensor("t", tensor_type::f32, {0}, 0), "'t'") == errc::bad_shape);
    CHECK(refusal(with_tensor("t", tensor_type::q8_0, {16}, 17), "Q8_0") == errc::bad_shape);
    CHECK(refusal(with_tensor("t", tensor_type{77}, {4}, 4), "unknown") == errc::bad_shape);
    CHECK(refusal(with_tensor("t", tensor_type::f32, {1ull << 62}, 0), "F32") == errc::bad_shape);
    CHECK(refusal(gguf_writer({4, 32}), "version 4") == errc::invalid_argument);
    CHECK(refusal(gguf_writer({3, 33}), "alignment 33") == errc::bad_alignment);
}

TEST_CASE("sizes that would overflow are refused when they are added") {
    counter numbers;
    gguf_writer writer;
    for (int i = 0; i < 9; ++i) {
        writer.add_tensor(std::string("t").append(std::to_string(i)), tensor_type::i8_s, dims{1ull << 61},
                          bitnet::read_callback{&counter::read, &numbers});
    }
    CHECK(refusal(writer, "'t2'") == errc::bad_shape);
}

TEST_CASE("a generator that fails leaves no file and does not touch the old one") {
    const temporary_folder folder;
    static_cast<void>(folder.write("model.gguf", "old"));
    counter numbers{2000000};
    gguf_writer writer;
    writer.add_tensor("t", tensor_type::i8_s, dims{3000000}, bitnet::read_callback{&counter::read, &numbers});
    const auto written = writer.write_file(folder.path("model.gguf"));
    REQUIRE_FALSE(written.has_value());
    CHECK(written.error().code == errc::io_error);
    CHECK(written.error().message.find("tensor 't': its generator could not give 1048576 bytes at offset 1048576 of "
                                       "3000000") != std::string::npos);
    CHECK(folder.files() == 1);
    const auto old = bitnet::byte_source::read(folder.path("model.gguf"));
    REQUIRE(old);
    CHECK(as_text(old->bytes()) == "old");
    CHECK(writer.write_memory().error().code == errc::io_error);
}

TEST_CASE("a missing folder and a folder in the way are errors with the path") {
    const temporary_folder folder;
    const gguf_writer writer;
    const auto nowhere = writer.write_file(folder.path("no/model.gguf"));
    REQUIRE_FALSE(nowhere.has_value());
    CHECK(nowhere.error().code == errc::file_not_found);
    CHECK(nowhere.error().message.find(folder.path("no/model.gguf")) != std::string::npos);
    CHECK(writer.write_file(folder.path()).error().code == errc::not_a_file);
}

#if defined(__linux__)
TEST_CASE("a file is written in steps of 2 MiB, which the system can keep in huge pages") {
    // How often this process has called write(), or nullopt if the system does not report it. By stdio: an
    // ifstream crashes in the programs of tests/musl.
    const auto writes = []() -> std::optional<unsigned long long> {
        const std::unique_ptr<std::FILE, int (*)(std::FILE*)> counters(std::fopen("/proc/self/io", "re"), std::fclose);
        std::array<char, 64> line{};
        while (counters && std::fgets(line.data(), int(line.size()), counters.get()) != nullptr) {
            if (std::string_view(line.data()).starts_with("syscw: ")) {
                return std::strtoull(line.data() + 7, nullptr, 10);
            }
        }
        return std::nullopt;
    };
    const temporary_folder folder;
    counter numbers;
    const std::vector<std::byte> ready(5000001);
    gguf_writer writer;
    writer.add_tensor("a", tensor_type::i8_s, dims{3000001}, bitnet::read_callback{&counter::read, &numbers});
    writer.add_tensor("b", tensor_type::i8_s, dims{ready.size()}, ready);
    const auto before = writes();
    REQUIRE(writer.write_file(folder.path("model.gguf")));
    const auto after = writes();
    if (!before || !after) {
        MESSAGE("skipped: this system does not count the writes of a process");
        return;
    }
    constexpr std::uint64_t step = 2u << 20;
    CHECK(*after - *before == (writer.file_size() + step - 1) / step); // so few only if all but the last are whole
}

TEST_CASE("a full disk is an io_error and no file remains") {
    const temporary_folder folder;
    std::filesystem::create_symlink("/dev/full", folder.path("model.gguf.partial"));
    const auto written = gguf_writer().write_file(folder.path("model.gguf"));
    REQUIRE_FALSE(written.has_value());
    CAPTURE(written.error().message);
    CHECK(written.error().code == errc::io_error);
    CHECK(written.error().message.find("No space left on device") != std::string::npos);
    CHECK(folder.files() == 0);
}
#endif

TEST_CASE("a writer can be moved before it writes") {
    gguf_writer first;
    first.add("key", 5);
    gguf_writer second = std::move(first);
    second.add("more", 6);
    const auto bytes = second.write_memory();
    REQUIRE(bytes);
    const auto file = gguf_file::parse(bytes->span(), "test");
    REQUIRE(file);
    CHECK(*file->get<int>("key") == 5);
    CHECK(*file->get<int>("more") == 6);
}
