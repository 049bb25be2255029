// SPDX-License-Identifier: MIT
// byte_sink and file_writer: all bytes arrive in their order, or an error says why.
#include "temporary_folder.hpp"

#include <bitnet/io/byte_sink.hpp>
#include <bitnet/io/byte_source.hpp>
#include <bitnet/io/file_writer.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

using namespace bitnet;

namespace {

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

} // namespace

TEST_CASE("a vector, memory and a callback get what is written") {
    std::vector<std::byte> all;
    const byte_sink sink = all;
    CHECK(sink.write(bytes_of("one")));
    CHECK(sink.write(bytes_of("two")));
    CHECK(all.size() == 6);
    CHECK(all[3] == std::byte{'t'});

    std::array<std::byte, 5> memory{};
    byte_room room{memory};
    const byte_sink fixed = room;
    CHECK(fixed.write(bytes_of("one")));
    const auto full = fixed.write(bytes_of("two"));
    REQUIRE_FALSE(full.has_value());
    CHECK(full.error().code == errc::invalid_argument);
    CHECK(full.error().message == "writing to memory: 3 bytes do not fit, of 5 bytes 3 are filled");
    CHECK(room.size == 3);

    std::size_t count = 0;
    const auto refuse_third = [](void* context, std::span<const std::byte>) {
        return ++*static_cast<std::size_t*>(context) < 3;
    };
    const byte_sink called = write_callback{refuse_third, &count};
    CHECK(called.write(bytes_of("a")));
    CHECK(called.write(bytes_of("b")));
    CHECK(called.write(bytes_of("c")).error().code == errc::io_error);
}

TEST_CASE("a file is there when it is whole, and what had its name stays until then") {
    const bitnet_tests::temporary_folder folder;
    const std::string path = folder.write("x.save", "old");
    const auto text_of = [&] {
        const auto source = byte_source::read(path);
        REQUIRE(source.has_value());
        const auto bytes = source->bytes();
        return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    };
    {
        auto given_up = file_writer::create(path);
        REQUIRE(given_up.has_value());
        CHECK(byte_sink(*given_up).write(bytes_of("half")));
    }
    CHECK(text_of() == "old");
    CHECK(folder.files() == 1);
    auto file = file_writer::create(path);
    REQUIRE(file.has_value());
    CHECK(byte_sink(*file).write(bytes_of("new")));
    CHECK(byte_sink(*file).write(bytes_of("er")));
    CHECK(text_of() == "old");
    CHECK(file->commit());
    CHECK(text_of() == "newer");
    CHECK(folder.files() == 1);
    CHECK(file_writer::create(folder.path()).error().code == errc::not_a_file);
    CHECK(file_writer::create(folder.path("none/x")).error().code == errc::file_not_found);
}
