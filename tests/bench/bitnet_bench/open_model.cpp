// SPDX-License-Identifier: MIT
#include "ladder.hpp"
#include "measured_model.hpp"
#include "parts.hpp"

namespace bench {
namespace {

/// The first that this CPU runs, or the one named; null if there is none.
const bitnet::engine* choose(const model_choice& choice) {
    for (const bitnet::engine* each : tools::engines_with(choice.kv)) {
        const bool is_wanted = choice.isa.empty() ? each->enable() : each->isa == choice.isa;
        if (each->ternary->layout->name == choice.layout && is_wanted) {
            return each;
        }
    }
    return nullptr;
}

} // namespace

bitnet::result<std::unique_ptr<bench_model>> open_model(const model_choice& choice) {
    const bitnet::engine* plain = choose(choice);
    if (plain == nullptr) {
        return bitnet::error{bitnet::errc::invalid_argument, "layout '" + choice.layout + "' with a KV cache of '" +
                                                                 choice.kv + "' and instruction set '" + choice.isa +
                                                                 "': not built in, or not of this CPU"};
    }
    const auto start = std::chrono::steady_clock::now();
    auto file = bitnet::model_file::open(choice.path);
    if (!file) {
        return failed(file);
    }
    auto opened = bitnet::detail::model_core::open(timed_engine::over(*plain), *std::move(file), choice.to_open());
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
    if (!opened) {
        return failed(opened);
    }
    return std::unique_ptr<bench_model>(
        std::make_unique<measured_model>(bitnet::any_model(*std::move(opened)), passed.count()));
}

} // namespace bench
