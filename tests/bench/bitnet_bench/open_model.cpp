// SPDX-License-Identifier: MIT
#include "ladder.hpp"
#include "measured_model.hpp"
#include "parts.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

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

bitnet::result<page_cache_warm_up> warm_page_cache(const std::string& path) {
    const auto start = std::chrono::steady_clock::now();
    const auto file = bitnet::model_file::open(path, {.load_tokenizer = false});
    if (!file) {
        return failed(file);
    }
    for (const bitnet::byte_source& source : file->sources()) {
        constexpr std::size_t page = 4096; // or a multiple
        const volatile std::byte* bytes = source.bytes().data();
        for (std::size_t i = 0; i < source.bytes().size(); i += page) {
            static_cast<void>(bytes[i]);
        }
    }
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
    return page_cache_warm_up{file->size(), passed.count()};
}

bitnet::result<std::unique_ptr<bench_model>> open_model(const model_choice& choice) {
    const bitnet::engine* plain = choose(choice);
    if (plain == nullptr) {
        return bitnet::error{bitnet::errc::invalid_argument, "layout '" + choice.layout + "' with a KV cache of '" +
                                                                 choice.kv + "' and instruction set '" + choice.isa +
                                                                 "': not built in, or not of this CPU"};
    }
    const auto start = std::chrono::steady_clock::now();
    auto file = bitnet::model_file::open(choice.path, {.pages = choice.page_mode()});
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
