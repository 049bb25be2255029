// SPDX-License-Identifier: MIT
#include "scaling.hpp"

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <set>

namespace bench {
namespace {

std::string fixed(double number, int digits) {
    char text[64];
    return std::string(text, static_cast<std::size_t>(std::snprintf(text, sizeof text, "%.*f", digits, number)));
}

std::string configuration_of(const measurement& of) {
    return of.test + ", " + of.isa + ", " + of.layout + ", " + of.head + ", " + of.kv + ", " + of.pages + ", " +
           of.activations;
}

const measurement* find(std::span<const measurement> rows, std::size_t threads) {
    const auto found = std::ranges::find(rows, threads, &measurement::threads);
    return found == rows.end() ? nullptr : &*found;
}

std::string table_of(std::span<const measurement> rows) {
    const step_model model(rows);
    std::set<std::size_t> threads{4, 8, 16, 32, 64, 128};
    for (const measurement& row : rows) {
        threads.insert(row.threads);
    }
    std::string text = "\nA model of the step of " + configuration_of(rows.front()) + ", by its " +
                       fixed(rows.front().loops_per_step, 0) + " parallel loops and what was measured with " +
                       std::to_string(rows.front().threads) + " threads:\n\n";
    text +=
        "| threads | serial ms | loops ms | kernels ms | this memory ms | tok/s | with memory that grows | measured "
        "|\n|---|---|---|---|---|---|---|---|\n";
    for (const std::size_t n : threads) {
        const step_parts here = model.with_this_memory(n);
        const measurement* row = find(rows, n);
        text += "| " + std::to_string(n);
        for (const double part : {here.serial, here.loops, here.kernels, here.memory}) {
            text += " | " + fixed(1e3 * part, 2);
        }
        text += " | " + fixed(1 / here.sum(), 1) + " | " + fixed(1 / model.with_growing_memory(n).sum(), 1) + " | " +
                (row != nullptr ? fixed(row->tokens_per_second.median, 1) : "") + " |\n";
    }
    return text;
}

} // namespace

step_model::step_model(std::span<const measurement> rows) : rows_(rows) {}

step_parts step_model::with(std::size_t threads, double gb_per_second) const {
    const measurement& few = rows_.front();
    const measurement& many = rows_.back();
    const auto busy = static_cast<double>(few.threads) / few.tokens_per_second.median; // of all threads together
    const phase_shares& s = few.phases;
    const measurement* same = find(rows_, threads);
    const double loop = same != nullptr
                            ? same->loop_seconds
                            : many.loop_seconds * static_cast<double>(threads) / static_cast<double>(many.threads);
    return {s.rest * busy, few.loops_per_step * loop,
            (s.ternary + s.head + s.attention) * busy / static_cast<double>(threads),
            few.bytes_per_token / (gb_per_second * 1e9)};
}

step_parts step_model::with_this_memory(std::size_t threads) const {
    const measurement* row = &rows_.front();
    for (const measurement& each : rows_) {
        row = each.threads <= threads ? &each : row;
    }
    return with(threads, row->model_read_gb_per_second);
}

step_parts step_model::with_growing_memory(std::size_t threads) const {
    const measurement& few = rows_.front();
    return with(threads,
                few.model_read_gb_per_second * static_cast<double>(threads) / static_cast<double>(few.threads));
}

std::string scaling_to_markdown(const std::vector<measurement>& all) {
    std::vector<measurement> left;
    std::ranges::copy_if(all, std::back_inserter(left), [](const measurement& each) {
        return each.batch == 1 && !each.is_scheduled && each.loops_per_step > 0;
    });
    std::string text;
    while (!left.empty()) {
        const std::string name = configuration_of(left.front());
        const auto others = std::stable_partition(
            left.begin(), left.end(), [&](const measurement& each) { return configuration_of(each) == name; });
        std::vector<measurement> rows(left.begin(), others);
        left.erase(left.begin(), others);
        std::ranges::sort(rows, {}, &measurement::threads);
        text += table_of(rows);
    }
    return text;
}

} // namespace bench
