// SPDX-License-Identifier: MIT
// What a benchmark found, as one JSON object and as one Markdown table.
#pragma once

#include "phase_shares.hpp"
#include "runner.hpp"
#include "schema.hpp"

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace bench {

struct spread {
    double median = 0;
    double min = 0;
    double max = 0;
};

/// \pre values is not empty
[[nodiscard]] spread spread_of(std::vector<double> values);
[[nodiscard]] phase_shares mean(const std::vector<phase_shares>& all);

/// Of session::step() with a budget.
struct step_figures {
    std::size_t budget_us = 0;
    std::size_t steps = 0;
    double p50_us = 0;
    double p99_us = 0;
    double p99_9_us = 0;
    double max_us = 0;
    double tokens_per_second = 0; ///< by the time within steps and next(), the median of the repetitions
};

struct measurement {
    std::string test; ///< "pp128", "tg64", "tg64@4000": prompt or generated tokens, and positions at the end
    std::size_t threads = 1;
    std::string isa;
    std::string layout;
    std::string head;
    std::string kv;
    std::string pages;               ///< "mapped" or "copied", as they were
    std::string activations;         ///< "token", "128", "32", "float"
    std::size_t batch = 1;           ///< sequences
    bool is_scheduled = false;       ///< by a scheduler, which chose the tokens of each
    std::optional<double> times_one; ///< of a scheduler: its speed over one sequence's in a session of its own
    spread tokens_per_second;
    double bytes_per_token = 0;    ///< read from memory: weights, head, KV cache, norms
    double read_gb_per_second = 0; ///< the fastest read loop over anonymous huge pages or those below, at these threads
    double model_read_gb_per_second = 0; ///< the fastest read loop over what a step reads, where it lies
    double int8_peak_gops = 0;           ///< products in registers, 1e9/s, at these threads; 0 where unknown
    std::optional<double> int8_peak_from_cache_gops; ///< the same with AMX tiles loaded from the L1 cache
    double roofline_fraction = 0;           ///< the least time that memory and products need, over the time taken
    double model_roofline_fraction = 0;     ///< the same with the time that model_read_gb_per_second needs
    std::optional<double> joules_per_token; ///< of the processor packages, where their counters can be read
    phase_shares phases;
    double loops_per_step = 0; ///< of generation: parallel loops of one step
    double loop_seconds = 0;   ///< of one that has nothing to do, at these threads
    double peak_rss_mb = 0;
    double anonymous_mb = 0;
    double load_seconds = 0;
    double screen_seconds = 0;      ///< until the screen was there that is made in the background; 0 without one
    double first_token_seconds = 0; ///< opening, a session, a prompt of first_prompt tokens, the choice
    std::optional<step_figures> step;

    /// Faster than the machine: the limit was measured while something else slowed it down.
    [[nodiscard]] bool failed() const noexcept { return roofline_fraction > 1.03; }
};

/// The prompt of first_token_seconds.
inline constexpr std::size_t first_prompt = 16;

struct report {
    std::string machine;
    std::string commit;
    std::string command;
    double usd_per_hour = 0; ///< what the machine costs; 0 for no column of prices
    page_cache_warm_up warm_up;
    std::vector<measurement> results;
    std::vector<schema_figures> schemas; ///< of --schema, for each model and number of threads
};

/// What a million tokens cost at the median speed, in dollars. \pre usd_per_hour > 0
[[nodiscard]] double usd_per_million_tokens(const measurement& of, double usd_per_hour) noexcept;

[[nodiscard]] std::string to_json(const report& all);
[[nodiscard]] std::string to_markdown(const report& all);

} // namespace bench
