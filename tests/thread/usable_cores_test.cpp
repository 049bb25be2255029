// SPDX-License-Identifier: MIT
#include "given_system_files.hpp"

#include <bitnet/thread/usable_cores.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <initializer_list>
#include <map>
#include <string>
#include <thread>

using namespace bitnet;
using bitnet_tests::given_system_files;
using detail::cpu_numbers;

namespace {

using texts = std::map<std::string, std::string>;

cpu_numbers cpus(std::size_t first, std::size_t count) {
    cpu_numbers all;
    for (std::size_t i = 0; i < count; ++i) {
        all.set(first + i);
    }
    return all;
}

std::string siblings_of(std::size_t cpu) {
    return "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list";
}

std::size_t cores(const cpu_numbers& allowed, texts files = {}) {
    const given_system_files given(std::move(files));
    return detail::usable_cores_of_linux(allowed, given.files());
}

/// 64 CPUs, two to a core: 0 and 32, 1 and 33, ...
texts server() {
    texts files;
    for (std::size_t i = 0; i < 64; ++i) {
        files[siblings_of(i)] = std::to_string(i % 32) + "," + std::to_string(i % 32 + 32) + "\n";
    }
    return files;
}

} // namespace

TEST_CASE("hyperthreads of one core count once") {
    CHECK(cores(cpus(0, 64), server()) == 32);
    CHECK(cores(cpus(0, 2), {{siblings_of(0), "0-1\n"}, {siblings_of(1), "0-1\n"}}) == 1);
    CHECK(cores(cpus(0, 4), {{siblings_of(0), "0-1,4-5\n"}, {siblings_of(2), "2\n"}, {siblings_of(3), "3\n"}}) == 3);
}

TEST_CASE("a process counts only the CPUs that it may run on") {
    CHECK(cores(cpus(0, 4), server()) == 4);
    cpu_numbers pair = cpus(7, 1);
    pair.set(39); // the other half of the same core
    CHECK(cores(pair, server()) == 1);
    CHECK(cores(cpus(8000, 3)) == 3);
}

TEST_CASE("a CPU whose siblings are unknown is a core") {
    CHECK(cores(cpus(0, 6)) == 6);
    CHECK(cores(cpus(0, 2), {{siblings_of(0), "what?"}, {siblings_of(1), ""}}) == 2);
    CHECK(cores(cpus(0, 2), {{siblings_of(0), "0-"}, {siblings_of(1), "99999999999,1"}}) == 2);
}

TEST_CASE("the quota of the innermost or any outer control group limits, rounded up") {
    texts files = server();
    files["/proc/self/cgroup"] = "0::/pods/one\n";
    files["/sys/fs/cgroup/pods/one/cpu.max"] = "max 100000\n";
    CHECK(cores(cpus(0, 64), files) == 32);
    files["/sys/fs/cgroup/pods/cpu.max"] = "400000 100000\n";
    CHECK(cores(cpus(0, 64), files) == 4);
    files["/sys/fs/cgroup/pods/one/cpu.max"] = "150000 100000\n";
    CHECK(cores(cpus(0, 64), files) == 2);
    files["/sys/fs/cgroup/pods/one/cpu.max"] = "5000 100000\n";
    CHECK(cores(cpus(0, 64), files) == 1);
    CHECK(cores(cpus(0, 1), files) == 1);
}

TEST_CASE("quotas of version 1 limit, and -1 is none") {
    texts files = server();
    files["/proc/self/cgroup"] = "5:cpu,cpuacct:/docker/abc\n2:memory:/docker/abc\n";
    files["/sys/fs/cgroup/cpu/cpu.cfs_quota_us"] = "250000\n"; // what a container sees of its own group
    files["/sys/fs/cgroup/cpu/cpu.cfs_period_us"] = "100000\n";
    CHECK(cores(cpus(0, 64), files) == 3);
    files["/sys/fs/cgroup/cpu/cpu.cfs_quota_us"] = "-1\n";
    CHECK(cores(cpus(0, 64), files) == 32);
    files["/sys/fs/cgroup/cpu/docker/abc/cpu.cfs_quota_us"] = "200000\n";
    CHECK(cores(cpus(0, 64), files) == 32); // without a period it says nothing
    files["/sys/fs/cgroup/cpu/docker/abc/cpu.cfs_period_us"] = "0\n";
    CHECK(cores(cpus(0, 64), files) == 32);
    files["/sys/fs/cgroup/cpu/docker/abc/cpu.cfs_period_us"] = "100000\n";
    CHECK(cores(cpus(0, 64), files) == 2);
}

TEST_CASE("quotas that make no sense do not limit") {
    for (const char* text : {"", "max", "max max", "100000", "100000 ", "100000 0", "-5 100000", "x y"}) {
        CAPTURE(text);
        CHECK(cores(cpus(0, 3), {{"/proc/self/cgroup", "0::/\n"}, {"/sys/fs/cgroup/cpu.max", text}}) == 3);
    }
}

TEST_CASE("this process can use at least one core, and no more than there are CPUs") {
    CHECK(usable_cores() >= 1);
    CHECK(usable_cores() <= most_threads);
    if (const unsigned all = std::thread::hardware_concurrency(); all != 0) {
        CHECK(usable_cores() <= all);
    }
}

#if defined(__linux__)
TEST_CASE("a process that is held on one CPU can use one core") {
    std::size_t held = 0;
    std::thread other([&] { // only this thread is held
        const cpu_numbers allowed = detail::allowed_cpus();
        std::size_t first = 0;
        while (first < allowed.size() && !allowed.test(first)) {
            ++first;
        }
        cpu_set_t one;
        CPU_ZERO(&one);
        if (first < CPU_SETSIZE) {
            CPU_SET(first, &one);
            held = sched_setaffinity(0, sizeof one, &one) == 0 ? usable_cores() : 1;
        }
    });
    other.join();
    CHECK(held == 1);
}
#endif
