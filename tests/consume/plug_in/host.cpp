// SPDX-License-Identifier: MIT
// host PLUG_IN MODEL: loads, runs and unloads the plug-in three times; nothing of it may stay in the process.
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <dlfcn.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>

namespace {

std::size_t mappings_of(const std::string& file) {
    std::ifstream maps("/proc/self/maps");
    std::size_t count = 0;
    for (std::string line; std::getline(maps, line);) {
        count += line.find(file) != std::string::npos ? 1 : 0;
    }
    return count;
}

std::size_t threads() {
    const std::filesystem::directory_iterator all("/proc/self/task");
    return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

/// A thread that was joined may be listed for a moment longer.
std::size_t threads_that_stay() {
    for (int wait = 0; wait < 1000 && threads() != 1; ++wait) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return threads();
}

} // namespace

int main(int, char** argv) {
    const std::string file = std::filesystem::path(argv[1]).filename();
    int first = -1;
    for (int round = 0; round < 3; ++round) {
        void* plug_in = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
        if (plug_in == nullptr) {
            std::puts(dlerror());
            return 1;
        }
        const auto open = reinterpret_cast<int (*)(const char*)>(dlsym(plug_in, "plug_in_open"));
        const auto close = reinterpret_cast<void (*)()>(dlsym(plug_in, "plug_in_close"));
        const int token = open(argv[2]);
        const std::size_t mapped = mappings_of(file);
        const std::size_t running = threads();
        close();
        dlclose(plug_in);
        const std::size_t left = mappings_of(file);
        const std::size_t still_running = threads_that_stay();
        std::printf("token %d, %zu mappings and %zu threads, then %zu and %zu\n", token, mapped, running, left,
                    still_running);
        first = round == 0 ? token : first;
        if (token < 0 || token != first || mapped == 0 || running != 2 || left != 0 || still_running != 1) {
            return 1;
        }
    }
    return 0;
}
