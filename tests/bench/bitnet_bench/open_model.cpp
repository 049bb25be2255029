// SPDX-License-Identifier: MIT
#include "ladder.hpp"
#include "measured_model.hpp"
#include "parts.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <utility>

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

/// An opened model and whether its file is mapped.
struct opened_model {
    bitnet::any_model model;
    bool is_mapped;
};

bitnet::result<opened_model> open(const model_choice& choice, const bitnet::engine& tables) {
    auto file = bitnet::model_file::open(choice.path, {.pages = choice.page_mode()});
    if (!file) {
        return failed(file);
    }
    const bool is_mapped = file->is_mapped();
    auto opened = bitnet::detail::model_core::open(tables, *std::move(file), choice.to_open());
    if (!opened) {
        return failed(opened);
    }
    return opened_model{bitnet::any_model(*std::move(opened)), is_mapped};
}

bitnet::result<const bitnet::engine*> find_engine(const model_choice& choice) {
    if (const bitnet::engine* found = choose(choice)) {
        return found;
    }
    return bitnet::error{bitnet::errc::invalid_argument, "layout '" + choice.layout + "' with a KV cache of '" +
                                                             choice.kv + "' and instruction set '" + choice.isa +
                                                             "': not built in, or not of this CPU"};
}

using clock = std::chrono::steady_clock;

double seconds_since(clock::time_point start) { return std::chrono::duration<double>(clock::now() - start).count(); }

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
    const auto plain = find_engine(choice);
    if (!plain) {
        return failed(plain);
    }
    const auto start = clock::now();
    auto opened = open(choice, timed_engine::over(**plain));
    if (!opened) {
        return failed(opened);
    }
    measured_model::opening how{seconds_since(start), 0, opened->is_mapped};
    if (opened->model.head_screen() == bitnet::screen_state::being_made) {
        while (opened->model.head_screen() == bitnet::screen_state::being_made) {
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        how.screen_seconds = seconds_since(start);
    }
    return std::unique_ptr<bench_model>(std::make_unique<measured_model>(std::move(opened->model), how));
}

bitnet::result<double> seconds_to_first_token(const model_choice& choice, std::size_t threads,
                                              std::span<const bitnet::token> prompt) {
    const auto plain = find_engine(choice);
    if (!plain) {
        return failed(plain);
    }
    const auto start = clock::now();
    const auto opened = open(choice, **plain);
    if (!opened) {
        return failed(opened);
    }
    auto choose = bitnet::sampler::open(bitnet::sampler_options::greedy(), opened->model.parameters().vocabulary);
    if (!choose) {
        return failed(choose);
    }
    auto session = bitnet::any_session::open(
        opened->model, {.context = prompt.size() + 1, .threads = threads, .stop_at_stop_tokens = false});
    if (!session) {
        return failed(session);
    }
    if (auto fed = session->feed(prompt); !fed) {
        return failed(fed);
    }
    if (!session->next(*choose)) {
        return bitnet::error{session->last_error()};
    }
    return seconds_since(start);
}

} // namespace bench
