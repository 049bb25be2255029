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
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;

namespace {

/// A file of data/ternary, the model of golden.json that it holds, and how its activations are quantised.
struct golden_file {
    const char* name;
    const char* model;
    const char* contract;
};

constexpr golden_file files[] = {
    {"bitnet-relu2-tq2_0.gguf", "bitnet-relu2", "token"},
    {"bitnet-nokey-tq2_0.gguf", "bitnet-nokey", "token"},
    {"bitnet-silu-tq2_0.gguf", "bitnet-silu", "token"},
    {"qwen2-bias-i2_s.gguf", "qwen2-bias", "token"},
};

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

any_model open_model(const golden_file& file) {
    auto opened = any_model::open<any_cpu::with_kv<float>>(golden_path("ternary/" + std::string(file.name)));
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

/// Against the golden of its own contract: equal, until an activation rounds the other way.
/// \return the distance from it, for the share of positions that are near in all files
distance check_file(const golden_file& file, json_value model) {
    const any_model opened = open_model(file);
    const std::size_t vocabulary = opened.parameters().vocabulary;
    const auto error = model.find("errors")->find(file.contract);
    REQUIRE(error);
    const double rms = error->find("rms")->as_double().value();
    const double largest = error->find("max")->as_double().value();
    distance own;
    distance exact;
    for (const json_value prompt : model.find("prompts")->elements()) {
        const auto ids = ids_of(prompt);
        if (const auto text = prompt.find("text")) {
            const auto encoded = opened.text().encode(text->as_string().value());
            REQUIRE(encoded);
            CHECK(*encoded == ids);
        }
        const std::size_t context = context_of(opened, prompt);
        if (ids.size() > context) {
            continue;
        }
        const logits actual = logits_of(opened, ids, context);
        exact.add(actual, read_logits(*prompt.find("file")), vocabulary);
        if (const auto contracts = prompt.find("contracts")) {
            own.add(actual, read_logits(*contracts->find(file.contract)), vocabulary);
        }
    }
    MESSAGE(std::string(file.name) << ", " << std::string(file.contract) << ": rms " << own.rms() << ", max "
                                   << own.largest << " from its own, " << own.near_positions << " of " << own.positions
                                   << " positions within 1e-3; rms " << exact.rms() << " from the exact logits");
    CHECK(own.rms() <= 0.7 * rms);
    CHECK(own.largest <= 6 * largest);
    CHECK(exact.rms() <= 1.15 * rms);
    return own;
}

} // namespace

TEST_CASE("golden: logits of ternary models of many families") {
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
        const distance own = check_file(file, *model);
        positions += own.positions;
        near_positions += own.near_positions;
    }
    CHECK(10 * near_positions >= 6 * positions);
}
