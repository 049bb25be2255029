// SPDX-License-Identifier: MIT
#include "given_system_files.hpp"
#include "temporary_folder.hpp"

#include <bitnet/io/available_memory.hpp>
#include <bitnet/io/byte_source.hpp>
#include <bitnet/io/copy_pace.hpp>
#include <bitnet/io/page_choice.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

using bitnet::byte_source;
using bitnet::page_mode;
using bitnet::detail::available_memory_of_linux;
using bitnet::detail::choose_pages;
using bitnet::detail::page_facts;
using bitnet_tests::given_system_files;
using bitnet_tests::temporary_folder;

namespace {

constexpr std::uint64_t gib = std::uint64_t{1} << 30;

std::optional<std::uint64_t> available(std::map<std::string, std::string> texts) {
    const given_system_files given(std::move(texts));
    return available_memory_of_linux(given.files());
}

const std::string meminfo = "MemTotal:       16777216 kB\nMemFree:         1048576 kB\nMemAvailable:    8388608 kB\n";

/// The flags of the mapping that `at` lies in.
[[maybe_unused]] std::string flags_of(const void* at) {
    const auto address = reinterpret_cast<std::uintptr_t>(at);
    std::ifstream maps("/proc/self/smaps");
    bool here = false;
    for (std::string line; std::getline(maps, line);) {
        char* dash = nullptr;
        const std::uintptr_t first = std::strtoull(line.c_str(), &dash, 16);
        if (dash != line.c_str() && *dash == '-') {
            here = first <= address && address < std::strtoull(dash + 1, nullptr, 16);
        } else if (here && line.starts_with("VmFlags:")) {
            return line;
        }
    }
    return {};
}

} // namespace

TEST_CASE("available memory is what the system has, or what a control group leaves if that is less") {
    CHECK_FALSE(available({}));
    CHECK_FALSE(available({{"/proc/meminfo", "MemTotal: 1 kB\n"}}));
    CHECK(available({{"/proc/meminfo", meminfo}}) == 8 * gib);

    std::map<std::string, std::string> second{
        {"/proc/meminfo", meminfo},
        {"/proc/self/cgroup", "0::/games/one\n"},
        {"/sys/fs/cgroup/games/one/memory.max", "max\n"},
        {"/sys/fs/cgroup/games/memory.max", "4294967296\n"},
        {"/sys/fs/cgroup/games/memory.current", "3221225472\n"},
        {"/sys/fs/cgroup/games/memory.stat", "anon 1\nfile 5\ninactive_file 1073741824\nactive_file 536870912\n"}};
    CHECK(available(second) == 2 * gib + gib / 2); // 4 - (3 - 1.5)
    second["/sys/fs/cgroup/games/one/memory.high"] = "1073741824\n";
    CHECK(available(second) == gib);
    second["/sys/fs/cgroup/games/memory.current"] = "8589934592\n";
    CHECK(available(second) == 0);
}

TEST_CASE("limits of control groups of version 1 count, also where a container shows only its own part of the tree") {
    std::map<std::string, std::string> first{
        {"/proc/meminfo", meminfo},
        {"/proc/self/cgroup", "9:cpu,cpuacct:/other\n4:memory:/docker/abc\n0::/ignored\n"},
        {"/sys/fs/cgroup/memory/memory.limit_in_bytes", "2147483648\n"},
        {"/sys/fs/cgroup/memory/memory.usage_in_bytes", "1073741824\n"},
        {"/sys/fs/cgroup/memory/memory.stat", "inactive_file 7\ntotal_inactive_file 536870912\ntotal_active_file 0\n"},
        {"/sys/fs/cgroup/ignored/memory.max", "1\n"}};
    CHECK(available(first) == gib + gib / 2);
    first["/sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes"] = "9223372036854771712\n"; // none
    CHECK(available(first) == gib + gib / 2);
    first["/sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes"] = "1073741824\n";
    CHECK(available(first) == gib);
}

TEST_CASE("texts of the system that make no sense limit nothing") {
    for (const char* cgroup : {"", "\n\n", "0", "0::", "0::no/slash", "memory", ":::::", "0::/a\n0::/b"}) {
        CAPTURE(cgroup);
        CHECK(available(
                  {{"/proc/meminfo", meminfo}, {"/proc/self/cgroup", cgroup}, {"/sys/fs/cgroup/memory.max", "much"}}) ==
              8 * gib);
    }
    CHECK(available({{"/proc/meminfo", meminfo}, {"/proc/self/cgroup", "0::/" + std::string(3000, 'x')}}) == 8 * gib);
}

TEST_CASE("automatic pages are copied where that gains and a quarter of the memory holds the file") {
    const page_facts good{.file_bytes = gib, .has_huge_pages = true, .available = 4 * gib};
    CHECK(choose_pages(good).pages == page_mode::copied);
    CHECK(choose_pages(good).note == "pages: copied, because the 1073741824 bytes of the model are no more than a "
                                     "quarter of the 4294967296 bytes of memory that are available");

    page_facts tight = good;
    tight.available = 4 * gib - 1;
    CHECK(choose_pages(tight).pages == page_mode::mapped);
    CHECK(choose_pages(tight).note.find("more than a quarter of the 4294967295 bytes") != std::string::npos);
    page_facts unknown = good;
    unknown.available.reset();
    CHECK(choose_pages(unknown).pages == page_mode::mapped);
    CHECK(choose_pages(unknown).note.find("does not tell") != std::string::npos);
    page_facts small_pages = good;
    small_pages.has_huge_pages = false;
    CHECK(choose_pages(small_pages).pages == page_mode::mapped);
    CHECK(choose_pages(small_pages).note.find("no huge pages") != std::string::npos);
    page_facts repacked = good;
    repacked.is_read_in_place = false;
    CHECK(choose_pages(repacked).pages == page_mode::mapped);
    CHECK(choose_pages(repacked).note.find("repacked") != std::string::npos);
    page_facts small = good;
    small.file_bytes = (std::uint64_t{64} << 20) - 1;
    CHECK(choose_pages(small).pages == page_mode::mapped);
    CHECK(choose_pages(small).note.empty());
}

TEST_CASE("a copy is given up when it is slower than 2 GB/s after its first 20 ms") {
    using bitnet::detail::copy_pace;
    CHECK(copy_pace::is_enough(0, 0.02));
    CHECK_FALSE(copy_pace::is_enough(40'000'000, 0.021));
    CHECK(copy_pace::is_enough(42'000'001, 0.021));
    CHECK(copy_pace::is_enough(2 * gib, 1.0));
    CHECK_FALSE(copy_pace::is_enough(gib, 1.0));

    const temporary_folder folder;
    const std::string path = folder.write("weights", std::string(std::size_t{40} << 20, 'w'));
    std::vector<std::uint64_t> told;
    const auto until_second = [](void* context, std::uint64_t done, std::uint64_t of) noexcept {
        auto& all = *static_cast<std::vector<std::uint64_t>*>(context);
        all.push_back(done);
        return all.size() < 2 && of == std::uint64_t{40} << 20;
    };
    const auto given_up = byte_source::read(path, {until_second, &told});
    REQUIRE_FALSE(given_up);
    CHECK(given_up.error().code == bitnet::errc::cancelled);
    CHECK(given_up.error().message.ends_with("the copy was given up after 33554432 of 41943040 bytes"));
    CHECK(told == std::vector<std::uint64_t>{16u << 20, 32u << 20});
    const auto on = [](void*, std::uint64_t, std::uint64_t) noexcept { return true; };
    const auto whole = byte_source::read(path, {on, nullptr});
    REQUIRE(whole);
    CHECK(bitnet_tests::as_text(whole->bytes()) == std::string(std::size_t{40} << 20, 'w'));

    copy_pace slow;
    const auto progress = slow.progress();
    std::this_thread::sleep_for(std::chrono::milliseconds(60));
    CHECK_FALSE(progress.goes_on(progress.context, 1'000'000, 2'000'000));
    CHECK(slow.note().starts_with("pages: mapped, because the copy of the model, at 1"));
}

TEST_CASE("a system has huge pages for who asks unless it says never") {
    const std::string path = "/sys/kernel/mm/transparent_hugepage/enabled";
    const auto has = [&](const char* text) {
        const given_system_files given({{path, text}});
        return bitnet::detail::has_huge_pages(given.files());
    };
#if !defined(__ANDROID__)
    CHECK(has("[always] madvise never\n"));
    CHECK(has("always [madvise] never\n"));
#endif
    CHECK_FALSE(has("always madvise [never]\n"));
    CHECK_FALSE(has(""));
}

#if defined(__linux__)
TEST_CASE("what is copied lies in memory for which huge pages were asked") {
    if (!bitnet::detail::has_huge_pages()) {
        MESSAGE("skipped: this system has no huge pages");
        return;
    }
    const temporary_folder folder;
    const std::string path = folder.write("weights", std::string(std::size_t{8} << 20, 'w'));
    const auto read = byte_source::read(path);
    REQUIRE(read);
    const auto fill = [](void*, std::uint64_t, std::span<std::byte> out) {
        for (std::byte& each : out) {
            each = std::byte{'w'};
        }
        return true;
    };
    const auto called = byte_source::from_callback({fill, nullptr}, std::uint64_t{8} << 20, "pak");
    REQUIRE(called);
    for (const byte_source* copied : {&*read, &*called}) {
        const auto bytes = copied->bytes();
        const std::string flags = flags_of(bytes.data() + bytes.size() / 2);
        CAPTURE(flags);
        if (flags.empty()) { // an emulator's
            MESSAGE("skipped: this system does not tell the flags of its mappings");
            return;
        }
        CHECK(flags.find(" hg") != std::string::npos);
    }
}
#endif
