// SPDX-License-Identifier: MIT
#include "report.hpp"

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
    json.member("peak_rss_mb", rounded(of.peak_rss_mb, 1));
    json.member("anonymous_mb", rounded(of.anonymous_mb, 1));
    json.member("load_seconds", rounded(of.load_seconds, 4));
    json.member("first_token_seconds", rounded(of.first_token_seconds, 4));
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
    text += " | " + fixed(of.load_seconds, 2) + " | " +
            (of.first_token_seconds > 0 ? fixed(of.first_token_seconds, 2) : "") + " | " + fixed(of.peak_rss_mb, 0) +
            " | " + fixed(of.anonymous_mb, 0) + " |";
    if (usd_per_hour > 0) {
        text += " " + fixed(bench::usd_per_million_tokens(of, usd_per_hour), 3) + " |";
    }
    return text + "\n";
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
    json.end('}');
    return json.text();
}

std::string to_markdown(const report& all) {
    std::string text = all.machine + ", commit " + all.commit + ":\n`" + all.command + "`\n\n";
    text += "Before anything was timed, the " + fixed(static_cast<double>(all.warm_up.bytes) / 1e6, 0) +
            " MB of the model were read into the page cache in " + fixed(all.warm_up.seconds, 2) + " s.\n\n";
    text += "| test | threads | isa | layout | head | kv | pages | batch | tok/s (min-max) | MB/token | read GB/s "
            "| of the limit | model's pages GB/s | of theirs | ternary | head | attention | rest | waiting | load s | "
            "first token s | peak MB | anonymous MB |";
    const std::string rule =
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|";
    text += all.usd_per_hour > 0 ? " USD per million tokens |\n" + rule + "---|\n" : "\n" + rule + "\n";
    for (const measurement& each : all.results) {
        text += row(each, all.usd_per_hour);
    }
    return text;
}

} // namespace bench
