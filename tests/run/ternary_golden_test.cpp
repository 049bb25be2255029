// SPDX-License-Identifier: MIT
// Ternary models beyond BitNet against an independent implementation. Why these bounds: the README of the golden data.
#include "golden/golden_data.hpp"

#include <bitnet/io/json.hpp>
#include <bitnet/run/open_model.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;

namespace {

/// A file of data/ternary and the model of golden.json that it holds.
struct golden_file {
    const char* name;
    const char* model;
};

constexpr golden_file files[] = {
    {"bonsai-tied-q2_0_g128.gguf", "bonsai-tied"},
    {"bonsai-tied-q2_0_g64.gguf", "bonsai-tied"},
    {"bonsai-tied-pq2_0.gguf", "bonsai-tied"},
    {"bonsai-tied-ptq1_0.gguf", "bonsai-tied"},
    {"bonsai-plain-ptq1_0.gguf", "bonsai-plain"},
    {"bonsai-g64-q2_0_g64.gguf", "bonsai-g64"},
    {"bonsai-outliers-pq2_0.gguf", "bonsai-outliers"},
    {"llama-longrope-tq2_0.gguf", "llama-longrope"},
    {"llama-longrope-tq1_0.gguf", "llama-longrope"},
    {"minicpm-tq2_0.gguf", "minicpm"},
    {"qwen2-bias-i2_s.gguf", "qwen2-bias"},
    {"row-scales-tq2_0.gguf", "row-scales"},
    {"bitnet-relu2-tq2_0.gguf", "bitnet-relu2"},
    {"bitnet-nokey-tq2_0.gguf", "bitnet-nokey"},
    {"bitnet-silu-tq2_0.gguf", "bitnet-silu"},
};

constexpr activation_rounding roundings[] = {activation_rounding::per_token, activation_rounding::per_128,
                                             activation_rounding::per_32};

std::string read_text(const std::string& relative) {
    std::ifstream in(golden_path("ternary/" + relative), std::ios::binary);
    REQUIRE_MESSAGE(in, "missing golden file " << relative);
    return {std::istreambuf_iterator<char>(in), {}};
}

/// Logits of positions, [positions, vocabulary].
using logits = std::vector<float>;

logits read_logits(json_value file) {
    const auto name = file.as_string();
    REQUIRE(name);
    const std::string bytes = read_text("golden/" + std::string(*name));
    logits values(bytes.size() / sizeof(float));
    std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
    return values;
}

std::vector<token> ids_of(json_value prompt) {
    std::vector<token> ids;
    for (const json_value id : prompt.find("ids")->elements()) {
        ids.push_back(id.as_integer<token>().value());
    }
    return ids;
}

any_model open_model(const golden_file& file, activation_rounding rounding) {
    auto opened = any_model::open<any_cpu::with_kv<float>>(golden_path("ternary/" + std::string(file.name)),
                                                           {.activations = rounding});
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    return *std::move(opened);
}

/// How far logits are from others.
struct distance {
    double squares = 0;
    double largest = 0;
    std::size_t count = 0;
    std::size_t positions = 0;
    std::size_t near_positions = 0; ///< no logit differs by more than 1e-3

    void add(std::span<const float> actual, std::span<const float> expected, std::size_t vocabulary) {
        REQUIRE(actual.size() == expected.size());
        for (std::size_t at = 0; at < actual.size(); at += vocabulary) {
            double here = 0;
            for (std::size_t i = at; i < at + vocabulary; ++i) {
                const double apart = std::abs(static_cast<double>(actual[i]) - static_cast<double>(expected[i]));
                squares += apart * apart;
                here = std::max(here, apart);
            }
            largest = std::max(largest, here);
            ++positions;
            near_positions += here <= 1e-3 ? 1 : 0;
        }
        count += actual.size();
    }
    [[nodiscard]] double rms() const { return std::sqrt(squares / static_cast<double>(count)); }
};

/// The context of a session that rotates as a prompt's logits were made: longrope's short factors are for sessions that
/// cannot become longer than the original context.
std::size_t context_of(const any_model& model, json_value prompt) {
    const auto factors = prompt.find("rope_factors");
    const bool is_short = factors && *factors->as_string() == "short";
    return is_short ? model.parameters().rope_original_context : model.parameters().context;
}

/// The logits after each token of a prompt.
logits logits_of(const any_model& model, std::span<const token> ids, std::size_t context) {
    auto session = any_session::open(model, {.context = context, .threads = 2});
    REQUIRE(session);
    logits all;
    REQUIRE(session->feed_each(
        ids, [&](std::size_t, std::span<const float> row) { all.insert(all.end(), row.begin(), row.end()); }));
    return all;
}

/// Calls visit(prompt, logits) for all prompts of `model`.
template <class Visit> void visit_prompts(const any_model& opened, json_value model, const Visit& visit) {
    for (const json_value prompt : model.find("prompts")->elements()) {
        const auto ids = ids_of(prompt);
        if (const auto text = prompt.find("text")) {
            const auto encoded = opened.text().encode(text->as_string().value());
            REQUIRE(encoded);
            CHECK(*encoded == ids);
        }
        const std::size_t context = context_of(opened, prompt);
        if (ids.size() <= context) {
            visit(prompt, logits_of(opened, ids, context));
        }
    }
}

/// Against the golden of its own contract: equal, until an activation rounds the other way.
/// \return the distance from it, for the share of positions that are near in all files
distance check_rounded(const golden_file& file, json_value model, activation_rounding rounding) {
    const any_model opened = open_model(file, rounding);
    const std::size_t vocabulary = opened.parameters().vocabulary;
    const auto error = model.find("errors")->find(name_of(rounding));
    REQUIRE(error);
    const double rms = error->find("rms")->as_double().value();
    const double largest = error->find("max")->as_double().value();
    distance own;
    distance exact;
    visit_prompts(opened, model, [&](json_value prompt, const logits& actual) {
        exact.add(actual, read_logits(*prompt.find("file")), vocabulary);
        if (const auto contracts = prompt.find("contracts")) {
            own.add(actual, read_logits(*contracts->find(name_of(rounding))), vocabulary);
        }
    });
    MESSAGE(std::string(file.name) << ", " << std::string(name_of(rounding)) << ": rms " << own.rms() << ", max "
                                   << own.largest << " from its own, " << own.near_positions << " of " << own.positions
                                   << " positions within 1e-3; rms " << exact.rms() << " from the exact logits");
    CHECK(own.rms() <= 0.7 * rms);
    CHECK(own.largest <= 6 * largest);
    CHECK(exact.rms() <= 1.15 * rms);
    return own;
}

/// Whether the largest logit of every position is the exact one's, where that leads by more than 2e-3.
void check_largest(json_value prompt, const logits& actual, std::size_t vocabulary) {
    std::vector<token> largest;
    for (const json_value id : prompt.find("argmax")->elements()) {
        largest.push_back(id.as_integer<token>().value());
    }
    std::size_t i = 0;
    for (const json_value margin : prompt.find("margin")->elements()) {
        const auto row = std::span(actual).subspan(i * vocabulary, vocabulary);
        const auto found = std::max_element(row.begin(), row.end()) - row.begin();
        CHECK((margin.as_double().value() <= 2e-3 || found == largest[i]));
        ++i;
    }
}

} // namespace

TEST_CASE("golden: logits of ternary models of many families, by float activations") {
    if (skip_without_golden()) {
        return;
    }
    const auto golden = json_document::parse(read_text("golden/golden.json"), "golden.json");
    REQUIRE(golden);
    for (const golden_file& file : files) {
        const any_model opened = open_model(file, activation_rounding::none);
        const std::size_t vocabulary = opened.parameters().vocabulary;
        distance exact;
        const auto model = golden->root().find("models")->find(file.model);
        REQUIRE(model);
        visit_prompts(opened, *model, [&](json_value prompt, const logits& actual) {
            exact.add(actual, read_logits(*prompt.find("file")), vocabulary);
            check_largest(prompt, actual, vocabulary);
        });
        MESSAGE(std::string(file.name) << ": max " << exact.largest << ", rms " << exact.rms());
        CHECK(exact.largest <= 1e-3);
    }
}

TEST_CASE("golden: logits of ternary models of many families, by int8 activations of every kind") {
    if (skip_without_golden()) {
        return;
    }
    const auto golden = json_document::parse(read_text("golden/golden.json"), "golden.json");
    REQUIRE(golden);
    std::size_t positions = 0;
    std::size_t near_positions = 0;
    for (const golden_file& file : files) {
        const auto model = golden->root().find("models")->find(file.model);
        REQUIRE(model);
        for (const activation_rounding rounding : roundings) {
            const distance own = check_rounded(file, *model, rounding);
            positions += own.positions;
            near_positions += own.near_positions;
        }
    }
    MESSAGE(near_positions << " of " << positions << " positions within 1e-3");
    CHECK(10 * near_positions >= 6 * positions);
}

TEST_CASE("golden: packings of one model give the same bits") {
    if (skip_without_golden()) {
        return;
    }
    const auto golden = json_document::parse(read_text("golden/golden.json"), "golden.json");
    REQUIRE(golden);
    const auto prompt = *golden->root().find("models")->find("bonsai-tied")->find("prompts")->elements().begin();
    const auto of = [&](const golden_file& file, activation_rounding rounding) {
        const any_model opened = open_model(file, rounding);
        return logits_of(opened, ids_of(prompt), opened.parameters().context);
    };
    const auto same = [](const logits& a, const logits& b) {
        return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
    };
    const golden_file& first = files[0];
    CHECK(std::string_view(first.model) == "bonsai-tied");
    for (const activation_rounding rounding : {activation_rounding::none, activation_rounding::by_model}) {
        for (const golden_file& other : std::span(files).subspan(1, 3)) {
            CHECK_MESSAGE(same(of(first, rounding), of(other, rounding)), std::string(other.name));
        }
    }
}
