// SPDX-License-Identifier: MIT
#include "temporary_folder.hpp"

#include <bitnet/io/byte_source.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <utility>
#include <vector>

using bitnet::byte_source;
using bitnet::errc;
using bitnet_tests::as_text;
using bitnet_tests::temporary_folder;

namespace {

/// A pak file in memory: serves bytes that depend on their offset, and fails from `failing` on.
struct pak {
    std::uint64_t failing = UINT64_MAX;
    std::uint64_t next = 0;
    std::vector<std::size_t> chunks;

    static bool read(void* context, std::uint64_t offset, std::span<std::byte> out) {
        auto& self = *static_cast<pak*>(context);
        const bool in_order = offset == self.next;
        self.chunks.push_back(out.size());
        self.next += out.size();
        for (std::size_t i = 0; i < out.size(); ++i) {
            out[i] = std::byte{static_cast<unsigned char>((offset + i) % 251)};
        }
        return in_order && self.next <= self.failing;
    }
};

} // namespace

TEST_CASE("mapped, read, borrowed and callback sources show the same bytes and their names") {
    const temporary_folder folder;
    const std::string path = folder.write("data", "weights");
    const auto mapped = byte_source::open(path);
    const auto copied = byte_source::read(path);
    REQUIRE(mapped);
    REQUIRE(copied);
    const std::string memory = "weights";
    const auto borrowed = byte_source::borrow(std::as_bytes(std::span(memory)), "memory");
    const auto copy_out = [](void* context, std::uint64_t offset, std::span<std::byte> out) {
        std::memcpy(out.data(), static_cast<const std::string*>(context)->data() + offset, out.size());
        return true;
    };
    auto context = memory;
    const auto called = byte_source::from_callback({copy_out, &context}, memory.size(), "pak:weights");
    REQUIRE(called);
    CHECK(as_text(mapped->bytes()) == "weights");
    CHECK(as_text(copied->bytes()) == "weights");
    CHECK(as_text(borrowed.bytes()) == "weights");
    CHECK(as_text(called->bytes()) == "weights");
    CHECK(mapped->is_mapped());
    CHECK_FALSE(copied->is_mapped());
    CHECK_FALSE(borrowed.is_mapped());
    CHECK_FALSE(called->is_mapped());
    CHECK(borrowed.bytes().data() == reinterpret_cast<const std::byte*>(memory.data()));
    CHECK(mapped->name() == path);
    CHECK(copied->name() == path);
    CHECK(borrowed.name() == "memory");
    CHECK(called->name() == "pak:weights");
}

TEST_CASE("moving a source does not move its bytes and empties the old one") {
    const temporary_folder folder;
    const std::string path = folder.write("data", "weights");
    for (const bool map : {true, false}) {
        auto first = map ? byte_source::open(path) : byte_source::read(path);
        REQUIRE(first);
        const auto* bytes = first->bytes().data();
        const byte_source second = *std::move(first);
        CHECK(second.bytes().data() == bytes);
        CHECK(first->bytes().empty());
    }
}

TEST_CASE("the bytes of a file that was read stay the same when the file changes") {
    const temporary_folder folder;
    const std::string path = folder.write("data", "before");
    const auto source = byte_source::read(path);
    REQUIRE(source);
    static_cast<void>(folder.write("data", ""));
    CHECK(as_text(source->bytes()) == "before");
}

TEST_CASE("memory that a source owns is 64-byte aligned") {
    const temporary_folder folder;
    const auto source = byte_source::read(folder.write("data", "x"));
    REQUIRE(source);
    CHECK(reinterpret_cast<std::uintptr_t>(source->bytes().data()) % 64 == 0);
}

TEST_CASE("a callback is asked for everything once, in order, in chunks of at most 16 MiB") {
    constexpr std::uint64_t chunk = std::uint64_t{16} << 20;
    pak file;
    const auto source = byte_source::from_callback({&pak::read, &file}, 2 * chunk + 5, "pak");
    REQUIRE(source);
    CHECK(file.chunks == std::vector<std::size_t>{chunk, chunk, 5});
    CHECK(source->bytes().size() == 2 * chunk + 5);
    CHECK(source->bytes()[chunk + 7] == std::byte{static_cast<unsigned char>((chunk + 7) % 251)});
}

TEST_CASE("a callback that fails is an io_error with the place") {
    pak file{10, 0, {}};
    const auto source = byte_source::from_callback({&pak::read, &file}, 11, "data.pak");
    REQUIRE_FALSE(source.has_value());
    CHECK(source.error().code == errc::io_error);
    CHECK(source.error().message == "data.pak: the read callback could not give 11 bytes at offset 0 of 11");
}

TEST_CASE("a size beyond all memory is out_of_memory before the callback is asked") {
    pak file;
    for (const std::uint64_t size : {UINT64_MAX, std::uint64_t{1} << 62}) {
        const auto source = byte_source::from_callback({&pak::read, &file}, size, "huge.pak");
        REQUIRE_FALSE(source.has_value());
        CHECK(source.error().code == errc::out_of_memory);
        CHECK(source.error().message.find(std::to_string(size)) != std::string::npos);
    }
    CHECK(file.chunks.empty());
}

TEST_CASE("an empty source is an error, whatever its kind") {
    const temporary_folder folder;
    pak file;
    CHECK(byte_source::open(folder.write("empty", "")).error().code == errc::truncated);
    CHECK(byte_source::read(folder.path("empty")).error().code == errc::truncated);
    CHECK(byte_source::from_callback({&pak::read, &file}, 0, "pak").error().code == errc::truncated);
    CHECK(byte_source::read(folder.path("missing")).error().code == errc::file_not_found);
    CHECK(byte_source::read(folder.path()).error().code == errc::not_a_file);
}
