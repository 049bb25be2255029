// SPDX-License-Identifier: MIT
// The doctest runner of every test program. A filter that selects no test case is a failure, not a success.
// --soak=SECONDS: how long a test goes on whose name begins with "soak". --damaged-saves=N: how many saves the one
// tries whose name begins with "damaged". --tool-calls=N, --tool-calls-file=FILE: how many calls the one makes whose
// name begins with "tool calls", and where it writes them. --speculated-prompts=N: of the one that begins with "many
// prompts". --server-requests=N: of "whatever a body is".
#include "soak.hpp"

#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdlib>
#include <iostream>
#include <string_view>

namespace {

unsigned selected = 0;

struct count_selected : doctest::IReporter {
    explicit count_selected(const doctest::ContextOptions&) {}
    void test_run_end(const doctest::TestRunStats& stats) override { selected = stats.numTestCasesPassingFilters; }
    void report_query(const doctest::QueryData&) override {}
    void test_run_start() override {}
    void test_case_start(const doctest::TestCaseData&) override {}
    void test_case_reenter(const doctest::TestCaseData&) override {}
    void test_case_end(const doctest::CurrentTestCaseStats&) override {}
    void test_case_exception(const doctest::TestCaseException&) override {}
    void subcase_start(const doctest::SubcaseSignature&) override {}
    void subcase_end() override {}
    void log_assert(const doctest::AssertData&) override {}
    void log_message(const doctest::MessageData&) override {}
    void test_case_skipped(const doctest::TestCaseData&) override {}
};

REGISTER_LISTENER("count_selected", 1, count_selected);

} // namespace

int main(int argc, char** argv) {
    for (int i = 1; i < argc; ++i) {
        const std::string_view option = argv[i];
        const char* const value = option.data() + option.find('=') + 1;
        if (option.starts_with("--soak=")) {
            bitnet_tests::soak_seconds = std::atoi(value);
        } else if (option.starts_with("--damaged-saves=")) {
            bitnet_tests::damaged_saves = std::atoi(value);
        } else if (option.starts_with("--tool-calls=")) {
            bitnet_tests::tool_calls = std::atoi(value);
        } else if (option.starts_with("--tool-calls-file=")) {
            bitnet_tests::tool_calls_file = value;
        } else if (option.starts_with("--speculated-prompts=")) {
            bitnet_tests::speculated_prompts = std::atoi(value);
        } else if (option.starts_with("--server-requests=")) {
            bitnet_tests::server_requests = std::atoi(value);
        }
    }
    doctest::Context context(argc, argv);
    const int status = context.run();
    const bool query = context.shouldExit(); // --help, --list-test-cases and the like
    if (!query && status == 0 && selected == 0) {
        std::cerr << "no test case was selected\n";
        return 1;
    }
    return status;
}
