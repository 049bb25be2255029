// SPDX-License-Identifier: MIT
// bitnet-check: whether a file is the published one and runs here as it does elsewhere, figure by figure.
#include "figure_check.hpp"
#include "model_options.hpp"
#include "options.hpp"
#include "published_figures.hpp"
#include "streams.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdio>
#include <string>
#include <string_view>

namespace {

constexpr std::string_view program = "bitnet-check";

int run(const tools::published_figures& published, const tools::model_options& chosen) {
    const auto figures = tools::figure_check(published, chosen).run();
    if (!figures) {
        return tools::fail(program, figures.error().message);
    }
    std::printf("%s against %s\n", chosen.file.c_str(), std::string(published.title).c_str());
    std::size_t wrong = 0;
    for (const tools::figure& each : *figures) {
        wrong += each.holds ? 0 : 1;
        std::printf("%s  %s\n       expected %s\n       found    %s\n", each.holds ? "ok   " : "WRONG",
                    each.name.c_str(), each.expected.c_str(), each.found.c_str());
    }
    std::printf("%zu of %zu figures hold\n", figures->size() - wrong, figures->size());
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
        return tools::fail(program, "stdout takes no more bytes");
    }
    return wrong == 0 ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
    tools::use_binary_streams();
    tools::options options(
        std::string(program),
        "Compares a file and what it does here with the figures published for it: size, sha256, keys, "
        "tensors, token ids, greedy answers, a logit. Ends with 0 if all hold.");
    tools::model_options chosen;
    std::array<std::string_view, tools::all_published_figures.size()> names;
    std::transform(tools::all_published_figures.begin(), tools::all_published_figures.end(), names.begin(),
                   [](const tools::published_figures& each) { return each.name; });
    std::string name(names.front());
    options.argument("FILE", chosen.file, "the GGUF file");
    options.choice("--as", names, name, "the published file that it should be");
    chosen.add_running(options);
    if (const auto status = options.read(argc, argv)) {
        return *status;
    }
    const auto* published = std::find_if(tools::all_published_figures.begin(), tools::all_published_figures.end(),
                                         [&](const tools::published_figures& each) { return each.name == name; });
    return run(*published, chosen);
}
