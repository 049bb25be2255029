// SPDX-License-Identifier: MIT
#include "temporary_folder.hpp"

#include <bitnet/io/mapped_file.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>

#if !defined(_WIN32)
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

using bitnet::errc;
using bitnet::detail::mapped_file;
using bitnet_tests::as_text;
using bitnet_tests::temporary_folder;

namespace {

void check_refusal(const std::string& path, errc code, const std::string& word) {
    const auto opened = mapped_file::open(path);
    REQUIRE_FALSE(opened.has_value());
    CAPTURE(opened.error().message);
    CHECK(opened.error().code == code);
    CHECK(opened.error().message.find(path) != std::string::npos);
    CHECK(opened.error().message.find(word) != std::string::npos);
}

} // namespace

TEST_CASE("a mapped file shows the file's bytes, at a page boundary") {
    const temporary_folder folder;
    const auto mapping = mapped_file::open(folder.write("data", "ternary weights"));
    REQUIRE(mapping);
    CHECK(as_text(mapping->bytes()) == "ternary weights");
    CHECK(reinterpret_cast<std::uintptr_t>(mapping->bytes().data()) % 4096 == 0);
}

TEST_CASE("a path may hold any UTF-8") {
    const temporary_folder folder;
    const auto mapping = mapped_file::open(folder.write("Stra\xc3\x9f"
                                                        "e \xe6\xbc\xa2\xe5\xad\x97 \xf0\x9f\x98\x80",
                                                        "x"));
    REQUIRE(mapping);
    CHECK(as_text(mapping->bytes()) == "x");
}

TEST_CASE("moving a mapping does not move its bytes") {
    const temporary_folder folder;
    auto first = mapped_file::open(folder.write("data", "abc"));
    REQUIRE(first);
    const auto* bytes = first->bytes().data();
    mapped_file second = *std::move(first);
    CHECK(second.bytes().data() == bytes);
    CHECK_FALSE(first->is_open());
    CHECK(first->bytes().empty());
    mapped_file third;
    third = std::move(second);
    CHECK(as_text(third.bytes()) == "abc");
}

TEST_CASE("a missing file, a folder, an empty file and no name are different errors") {
    const temporary_folder folder;
    check_refusal(folder.path("missing.gguf"), errc::file_not_found, "cannot be opened: ");
    check_refusal(folder.path("no/such/folder.gguf"), errc::file_not_found, "cannot be opened: ");
    check_refusal(folder.path(), errc::not_a_file, "directory");
    check_refusal(folder.write("empty.gguf", ""), errc::truncated, "0 bytes");
    CHECK(mapped_file::open("").error().code == errc::file_not_found);
    CHECK(mapped_file::open(std::string_view("a\0b", 3)).error().message.find("NUL") != std::string::npos);
}

TEST_CASE("hints are accepted by a mapping and refused without one") {
    const temporary_folder folder;
    const auto mapping = mapped_file::open(folder.write("data", std::string(1 << 16, 'x')));
    REQUIRE(mapping);
#if defined(__linux__)
    for (const auto hint : {bitnet::access_hint::normal, bitnet::access_hint::sequential, bitnet::access_hint::random,
                            bitnet::access_hint::will_need}) {
        CHECK(mapping->advise(hint));
    }
#endif
    mapping->advise(bitnet::access_hint::huge_pages); // depends on the kernel; must do no harm
    CHECK(as_text(mapping->bytes()).front() == 'x');
    CHECK_FALSE(mapped_file().advise(bitnet::access_hint::sequential));
}

#if defined(__linux__)
TEST_CASE("pages that the system has in its cache are mapped at once") {
    constexpr std::size_t size = std::size_t{9} << 20; // three pieces
    const temporary_folder folder;
    const auto mapping = mapped_file::open(folder.write("data", std::string(size, 'x')));
    REQUIRE(mapping);
    if (!mapping->map_cached()) {
        MESSAGE("not checked: this system has no MADV_POPULATE_READ");
        return;
    }
    const auto faults = [] {
        rusage used{};
        ::getrusage(RUSAGE_SELF, &used);
        return used.ru_minflt + used.ru_majflt;
    };
    const long before = faults();
    unsigned sum = 0;
    for (std::size_t i = 0; i < size; i += 4096) {
        sum += std::to_integer<unsigned>(mapping->bytes()[i]);
    }
    CHECK(sum == size / 4096 * 'x');
    CHECK(faults() - before < 16); // 144 where each brings 16 pages
}

TEST_CASE("nothing is mapped of no file") { CHECK_FALSE(mapped_file().map_cached()); }
#endif

#if !defined(_WIN32)
TEST_CASE("a pipe is refused at once, even when nobody writes to it") {
    const temporary_folder folder;
    REQUIRE(::mkfifo(folder.path("pipe").c_str(), 0600) == 0);
    check_refusal(folder.path("pipe"), errc::not_a_file, "not a regular file");
}

TEST_CASE("a file without read permission is an io_error") {
    const temporary_folder folder;
    const std::string path = folder.write("secret", "x");
    std::filesystem::permissions(path, std::filesystem::perms::none);
    if (::geteuid() == 0) {
        CHECK(mapped_file::open(path).has_value()); // root may read everything
    } else {
        check_refusal(path, errc::io_error, "Permission denied");
    }
}

TEST_CASE("a file below a file is not found") {
    const temporary_folder folder;
    check_refusal(folder.write("file", "x") + "/below", errc::file_not_found, "Not a directory");
}
#endif
