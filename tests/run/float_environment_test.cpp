// SPDX-License-Identifier: MIT
// A model opens and gives the same bits whatever floating-point environment the host has set, in its threads too.
#include "golden/tiny_model_writer.hpp"
#include "host_float_environment.hpp"
#include "run/isas_that_run.hpp"

#include <bitnet/run/any_batch.hpp>
#include <bitnet/run/embedding.hpp>
#include <bitnet/run/embedding_codes.hpp>
#include <bitnet/run/model.hpp>
#include <bitnet/run/open_model.hpp>
#include <bitnet/run/session.hpp>

#include <doctest/doctest.h>

#include <span>
#include <string>
#include <string_view>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;

namespace {

template <class T> void append(std::string& out, std::span<const T> values) {
    out.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
}

/// Everything that a program asks of an opened model, as bytes; a sentence for what fails.
std::string outcome_of(const any_model& opened, std::size_t threads) {
    std::string made;
    const auto ids = tokens_to_embed(opened, "in the beginning 123");
    auto a = any_session::open(opened, {.threads = threads, .stop_at_stop_tokens = false});
    auto b = any_session::open(opened, {.threads = threads, .stop_at_stop_tokens = false});
    auto together = any_batch::open(opened, {.sessions = 2, .threads = threads});
    sampler_options options;
    options.repeat_penalty = 1.1f;
    options.presence_penalty = 1e-40f;
    options.min_p = 0.01f;
    auto choose = sampler::open(options, opened.parameters().vocabulary);
    if (!ids || !a || !b || !together || !choose) {
        return "not opened";
    }
    std::vector<float> seen;
    const auto visit = [&](std::size_t, std::span<const float> logits) { seen.assign(logits.begin(), logits.end()); };
    if (!a->feed(*ids) || !b->feed_each(*ids, visit)) {
        return "not fed";
    }
    append(made, std::span<const float>(seen));
    any_session* const both[] = {&*a, &*b};
    for (int i = 0; i < 6; ++i) {
        for (any_session* each : both) {
            made += std::to_string(each->next(*choose).value_or(-1));
        }
        made += together->run_pending(both) ? "" : "not run";
    }
    const auto logits = a->logits();
    const auto largest = b->largest_logits(3);
    if (!logits || !largest) {
        return "no logits";
    }
    append(made, *logits);
    append(made, *largest);
    const auto embedding = a->embed(*ids);
    if (!embedding) {
        return "no embedding";
    }
    append(made, *embedding);
    std::vector<std::int8_t> narrow(embedding->size());
    const float scale = quantize_embedding(*embedding, narrow);
    append(made, std::span<const float>(&scale, 1));
    append(made, std::span<const std::int8_t>(narrow));
    return made;
}

template <class Opened> std::string outcome_of(const result<Opened>& opened, std::size_t threads) {
    return opened ? outcome_of(*opened, threads) : opened.error().message;
}

const buffer<std::byte>& tiny() {
    static const auto bytes = [] {
        bitnet_tests::model_shape shape;
        shape.layers = 2;
        shape.context = 64;
        return bitnet_tests::tiny_model(shape);
    }();
    REQUIRE(bytes);
    return *bytes;
}

} // namespace

TEST_CASE("a model opens and gives the same bits in any floating-point environment of the host's") {
    for (const std::string& isa : bitnet_tests::isas_that_run()) {
        for (const lm_head_mode head : {lm_head_mode::as_stored, lm_head_mode::screened}) {
            const auto open_and_run = [&] {
                return outcome_of(any_model::open(byte_source::borrow(tiny().span(), "tiny"), {.lm_head = head}, isa),
                                  2);
            };
            const std::string expected = open_and_run();
            REQUIRE(expected.size() > 1000);
            for (const bitnet_tests::float_setting& setting : bitnet_tests::host_settings) {
                CAPTURE(isa);
                CAPTURE(setting.name);
                const auto made = bitnet_tests::outcome_in(setting, open_and_run);
                const bool same = made.value == expected;
                CHECK_MESSAGE(same, made.value.substr(0, 200));
                CHECK(made.kept);
            }
        }
    }
}

#if BITNET_THREADS
TEST_CASE("loops compute alike in threads that the host has set up as it likes, and leave them so") {
    using in_host_threads = policy<isa::scalar>::with_pool<bitnet_tests::host_pool>;
    const auto open_and_run = [] {
        return outcome_of(model<in_host_threads>::open(byte_source::borrow(tiny().span(), "tiny"),
                                                       {.lm_head = lm_head_mode::screened}),
                          1);
    };
    bitnet_tests::host_pool::setting = {"the default", bitnet_tests::float_word()};
    const std::string expected = open_and_run();
    REQUIRE(expected.size() > 1000);
    for (const bitnet_tests::float_setting& setting : bitnet_tests::host_settings) {
        CAPTURE(setting.name);
        bitnet_tests::host_pool::setting = setting;
        const bool same = open_and_run() == expected;
        CHECK(same);
    }
    CHECK(bitnet_tests::host_pool::settings_lost == 0);
}
#endif
