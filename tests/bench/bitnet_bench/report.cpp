// SPDX-License-Identifier: MIT
#include "report.hpp"

#include "scaling.hpp"

#include "json_writer.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

namespace {

constexpr double unknown = std::numeric_limits<double>::quiet_NaN(); // null in JSON

/// `number` to so many digits after the point, and so with no more than that in JSON.
double rounded(double number, int digits) {
    const double unit = std::pow(10.0, digits);
    return std::round(number * unit) / unit;
}

void add_phases(tools::json_writer& json, const bench::phase_shares& shares) {
    json.begin("phases", '{');
    json.member("ternary", rounded(shares.ternary, 4));
    json.member("head", rounded(shares.head, 4));
    json.member("attention", rounded(shares.attention, 4));
    json.member("rest", rounded(shares.rest, 4));
    json.member("waiting", rounded(shares.waiting, 4));
    json.end('}');
}

void add_step(tools::json_writer& json, const bench::step_figures& step) {
    json.begin("step", '{');
    json.member("budget_us", step.budget_us);
    json.member("steps", step.steps);
    json.member("p50_us", rounded(step.p50_us, 1));
    json.member("p99_us", rounded(step.p99_us, 1));
    json.member("p99_9_us", rounded(step.p99_9_us, 1));
    json.member("max_us", rounded(step.max_us, 1));
    json.member("tokens_per_second", rounded(step.tokens_per_second, 2));
    json.end('}');
}

void add_result(tools::json_writer& json, const bench::measurement& of, double usd_per_hour) {
    json.begin('{');
    json.member("test", of.test);
    json.member("threads", of.threads);
    json.member("isa", of.isa);
    json.member("layout", of.layout);
    json.member("head", of.head);
    json.member("kv", of.kv);
    json.member("pages", of.pages);
    json.member("activations", of.activations);
    json.member("batch", of.batch);
    json.member("scheduler", of.is_scheduled);
    json.member("times_one", rounded(of.times_one.value_or(unknown), 3));
    json.begin("tokens_per_second", '{');
    json.member("median", rounded(of.tokens_per_second.median, 2));
    json.member("min", rounded(of.tokens_per_second.min, 2));
    json.member("max", rounded(of.tokens_per_second.max, 2));
    json.end('}');
    json.member("bytes_per_token", rounded(of.bytes_per_token, 0));
    json.member("read_gb_per_second", rounded(of.read_gb_per_second, 2));
    json.member("model_read_gb_per_second", rounded(of.model_read_gb_per_second, 2));
    json.member("int8_peak_gops", rounded(of.int8_peak_gops, 1));
    json.member("int8_peak_from_cache_gops", rounded(of.int8_peak_from_cache_gops.value_or(unknown), 1));
    json.member("roofline_fraction", rounded(of.roofline_fraction, 3));
    json.member("model_roofline_fraction", rounded(of.model_roofline_fraction, 3));
    json.member("failed", of.failed());
    add_phases(json, of.phases);
    json.member("loops_per_step", rounded(of.loops_per_step, 1));
    json.member("loop_seconds", rounded(of.loop_seconds, 9));
    json.member("peak_rss_mb", rounded(of.peak_rss_mb, 1));
    json.member("anonymous_mb", rounded(of.anonymous_mb, 1));
    json.member("load_seconds", rounded(of.load_seconds, 4));
    json.member("screen_seconds", rounded(of.screen_seconds, 4));
    json.member("first_token_seconds", rounded(of.first_token_seconds, 4));
    if (of.step) {
        add_step(json, *of.step);
    }
    json.member("joules_per_token", rounded(of.joules_per_token.value_or(unknown), 4));
    if (usd_per_hour > 0) {
        json.member("usd_per_million_tokens", rounded(bench::usd_per_million_tokens(of, usd_per_hour), 4));
    }
    json.end('}');
}

/// A number with `digits` after the point.
std::string fixed(double number, int digits) {
    char text[64];
    return std::string(text, static_cast<std::size_t>(std::snprintf(text, sizeof text, "%.*f", digits, number)));
}

std::string percent(double share) { return fixed(100 * share, 0) + " %"; }

std::string row(const bench::measurement& of, double usd_per_hour) {
    const std::string limit = of.failed() ? "failed: " + percent(of.roofline_fraction) : percent(of.roofline_fraction);
    const bench::phase_shares& s = of.phases;
    std::string text = "| " + of.test + " | " + std::to_string(of.threads) + " | " + of.isa + " | " + of.layout +
                       " | " + of.head + " | " + of.kv + " | " + of.pages + " | " + std::to_string(of.batch) +
                       (of.times_one ? " (" + fixed(*of.times_one, 2) + " times one)" : "");
    text += " | " + fixed(of.tokens_per_second.median, 1) + " (" + fixed(of.tokens_per_second.min, 1) + "-" +
            fixed(of.tokens_per_second.max, 1) + ")";
    text += " | " + fixed(of.bytes_per_token / 1e6, 0) + " | " + fixed(of.read_gb_per_second, 1) + " | " + limit +
            " | " + fixed(of.model_read_gb_per_second, 1) + " | " + percent(of.model_roofline_fraction);
    for (const double share : {s.ternary, s.head, s.attention, s.rest, s.waiting}) {
        text += " | " + percent(share);
    }
    text += " | " + fixed(of.load_seconds, 2) + " | " + (of.screen_seconds > 0 ? fixed(of.screen_seconds, 2) : "") +
            " | " + fixed(of.first_token_seconds, 2) + " | " + fixed(of.peak_rss_mb, 0) + " | " +
            fixed(of.anonymous_mb, 0) + " |";
    if (usd_per_hour > 0) {
        text += " " + fixed(bench::usd_per_million_tokens(of, usd_per_hour), 3) + " |";
    }
    return text + "\n";
}

std::string step_row(const bench::measurement& of, const bench::step_figures& step) {
    std::string text = "| " + of.test + " | " + std::to_string(of.threads) + " | " + of.isa + " | " + of.layout +
                       " | " + of.head + " | " + fixed(static_cast<double>(step.budget_us) / 1000, 2) + " | " +
                       std::to_string(step.steps);
    for (const double us : {step.p50_us, step.p99_us, step.p99_9_us, step.max_us}) {
        text += " | " + fixed(us / 1000, 2);
    }
    return text + " | " + fixed(step.tokens_per_second, 1) + " | " +
           percent(step.tokens_per_second / of.tokens_per_second.median) + " |\n";
}

/// Empty where nothing ran in steps.
std::string step_table(const std::vector<bench::measurement>& all) {
    std::string rows;
    for (const bench::measurement& each : all) {
        rows += each.step ? step_row(each, *each.step) : "";
    }
    return rows.empty()
               ? rows
               : "\n| test | threads | isa | layout | head | budget ms | steps | p50 | p99 | p99.9 | max "
                 "| tok/s | of calls without steps |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|\n" +
                     rows;
}

void add_spread(tools::json_writer& json, std::string_view name, const std::vector<double>& rates) {
    const bench::spread of = bench::spread_of(rates);
    json.begin(name, '{');
    json.member("median", rounded(of.median, 2));
    json.member("min", rounded(of.min, 2));
    json.member("max", rounded(of.max, 2));
    json.end('}');
}

double times_free(const bench::schema_figures& of, const std::vector<double>& rates) {
    return bench::spread_of(rates).median / bench::spread_of(of.free).median;
}

void add_schema(tools::json_writer& json, const bench::schema_figures& of) {
    json.begin('{');
    json.member("threads", of.threads);
    json.member("isa", of.isa);
    json.member("head", of.head);
    add_spread(json, "free_tokens_per_second", of.free);
    add_spread(json, "schema_tokens_per_second", of.held);
    add_spread(json, "forced_tokens_per_second", of.forced);
    json.member("schema_times_free", rounded(times_free(of, of.held), 3));
    json.member("forced_times_free", rounded(times_free(of, of.forced), 3));
    json.member("schema_tokens", of.held_tokens);
    json.member("forced_text_tokens", of.forced_tokens);
    json.member("forced_tokens", of.taken_tokens);
    json.member("masks", of.masks);
    json.member("mask_p50_us", rounded(of.p50_us, 2));
    json.member("mask_p99_us", rounded(of.p99_us, 2));
    json.member("mask_max_us", rounded(of.max_us, 2));
    json.end('}');
}

/// Empty without --schema.
std::string schema_table(const std::vector<bench::schema_figures>& all) {
    std::string rows;
    for (const bench::schema_figures& of : all) {
        rows += "| " + std::to_string(of.threads) + " | " + of.isa + " | " + of.head + " | " +
                fixed(bench::spread_of(of.free).median, 1);
        for (const auto* rates : {&of.held, &of.forced}) {
            rows += " | " + fixed(bench::spread_of(*rates).median, 1) + " | " + fixed(times_free(of, *rates), 2);
        }
        const double share = static_cast<double>(of.taken_tokens) / static_cast<double>(of.forced_tokens);
        rows += " | " + percent(share) + " | " + std::to_string(of.masks) + " | " + fixed(of.p50_us, 1) + " | " +
                fixed(of.p99_us, 1) + " | " + fixed(of.max_us, 1) + " |\n";
    }
    return rows.empty()
               ? rows
               : "\n| threads | isa | head | free tok/s | by the schema | times free | with forced text | times "
                 "free | forced tokens | masks | p50 us | p99 us | max us "
                 "|\n|---|---|---|---|---|---|---|---|---|---|---|---|---|\n" +
                     rows;
}

} // namespace

namespace bench {

spread spread_of(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    const std::size_t middle = values.size() / 2;
    const double median = values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
    return {median, values.front(), values.back()};
}

phase_shares mean(const std::vector<phase_shares>& all) {
    phase_shares sum;
    const auto part = 1.0 / static_cast<double>(all.size());
    for (const phase_shares& each : all) {
        sum.ternary += part * each.ternary;
        sum.head += part * each.head;
        sum.attention += part * each.attention;
        sum.rest += part * each.rest;
        sum.waiting += part * each.waiting;
    }
    return sum;
}

double usd_per_million_tokens(const measurement& of, double usd_per_hour) noexcept {
    return usd_per_hour / 3600 * 1e6 / of.tokens_per_second.median;
}

std::string to_json(const report& all) {
    tools::json_writer json;
    json.begin('{');
    json.member("machine", all.machine);
    json.member("commit", all.commit);
    json.member("command", all.command);
    if (all.usd_per_hour > 0) {
        json.member("usd_per_hour", all.usd_per_hour);
    }
    json.begin("page_cache_warm_up", '{');
    json.member("bytes", all.warm_up.bytes);
    json.member("seconds", rounded(all.warm_up.seconds, 4));
    json.end('}');
    json.begin("results", '[');
    for (const measurement& each : all.results) {
        add_result(json, each, all.usd_per_hour);
    }
    json.end(']');
    if (!all.schemas.empty()) {
        json.begin("schema", '{');
        json.begin("results", '[');
        for (const schema_figures& each : all.schemas) {
            add_schema(json, each);
        }
        json.end(']');
        json.end('}');
    }
    json.end('}');
    return json.text();
}

std::string to_markdown(const report& all) {
    std::string text = all.machine + ", commit " + all.commit + ":\n`" + all.command + "`\n\n";
    text += "Before anything was timed, the " + fixed(static_cast<double>(all.warm_up.bytes) / 1e6, 0) +
            " MB of the model were read into the page cache in " + fixed(all.warm_up.seconds, 2) +
            " s. The first token: opening, a session, a prompt of " + std::to_string(first_prompt) +
            ", the choice.\n\n";
    text += "| test | threads | isa | layout | head | kv | pages | batch | tok/s (min-max) | MB/token | read GB/s "
            "| of the limit | model's pages GB/s | of theirs | ternary | head | attention | rest | waiting | load s | "
            "screen s | first token s | peak MB | anonymous MB |";
    const std::string rule =
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|";
    text += all.usd_per_hour > 0 ? " USD per million tokens |\n" + rule + "---|\n" : "\n" + rule + "\n";
    for (const measurement& each : all.results) {
        text += row(each, all.usd_per_hour);
    }
    return text + step_table(all.results) + scaling_to_markdown(all.results) + schema_table(all.schemas);
}

} // namespace bench
