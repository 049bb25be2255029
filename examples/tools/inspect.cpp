// SPDX-License-Identifier: MIT
// bitnet-inspect: what a model file holds, what would be made of it, and whether it runs here. Looks at every ternary
// code. Useful for vocabularies and for models that cannot be run, too.
#include "inspection.hpp"
#include "inspection_json.hpp"
#include "inspection_table.hpp"
#include "model_options.hpp"
#include "options.hpp"
#include "streams.hpp"

#include <bitnet/checkpoint/open_model_file.hpp>

#include <cstdio>
#include <string>
#include <string_view>

namespace {

constexpr std::string_view program = "bitnet-inspect";

int run(const tools::model_options& chosen, bool json) {
    const auto file = bitnet::model_file::open(chosen.file);
    if (!file) {
        return tools::fail(program, file.error().message);
    }
    const tools::report made = tools::look_at(*file, chosen);
    bool written = true;
    if (json) {
        written = tools::put(tools::as_json(made));
    } else {
        tools::print_table(made);
        written = std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
    }
    return written ? 0 : tools::fail(program, "stdout takes no more bytes");
}

} // namespace

int main(int argc, char** argv) {
    tools::use_binary_streams();
    tools::options options(std::string(program), "Shows what a model file holds and whether it runs here.");
    tools::model_options chosen;
    chosen.pages = "mapped"; // it looks once, and runs nothing
    chosen.head = "as-stored";
    bool json = false;
    options.argument(
        "FILE", chosen.file,
        "a GGUF file, model or vocabulary, the first shard of a split one, or the folder of a Hugging Face checkpoint");
    options.flag("--json", json, "as one JSON object on one line");
    chosen.add_text(options);
    chosen.add_chat(options);
    chosen.add_reading(options);
    chosen.add_activations(options);
    if (const auto status = options.read(argc, argv)) {
        return *status;
    }
    return run(chosen, json);
}
