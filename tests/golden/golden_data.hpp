// SPDX-License-Identifier: MIT
// Where the tests find their data: golden files outside the repository, and the tiny model inside it.
#pragma once

#include <iostream>
#include <string>
#include <string_view>
#include <system_error>

#if !defined(__wasm__) // whose C++ library has no <filesystem>
#include <filesystem>
#endif

/// The path of a golden file, such as "tiny/golden/golden.json". Its root is the CMake variable BITNET_TEST_DATA.
[[nodiscard]] inline std::string golden_path(std::string_view relative) {
    return std::string(BITNET_TEST_DATA_DIR) + "/" + std::string(relative);
}

/// Whether this machine has golden data. If it has, a test fails on a single missing file.
[[nodiscard]] inline bool golden_available() {
#if defined(__wasm__)
    return false;
#else
    std::error_code ignored;
    return std::filesystem::is_directory(BITNET_TEST_DATA_DIR, ignored);
#endif
}

/// True if there is no golden data, after printing the line by which ctest reports the test as skipped:
/// `if (skip_without_golden()) return;` opens every test case named "golden: ...".
[[nodiscard]] inline bool skip_without_golden() {
    if (golden_available()) {
        return false;
    }
    std::cout << "SKIPPED (no golden data): nothing at " << BITNET_TEST_DATA_DIR << std::endl;
    return true;
}

/// The path of the tiny model that is part of the repository.
[[nodiscard]] inline std::string tiny_model_path() { return BITNET_TEST_MODEL; }
