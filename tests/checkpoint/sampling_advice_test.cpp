// SPDX-License-Identifier: MIT
// sampling_advice: the keys general.sampling.*, what they may be, and what becomes of them.
#include <bitnet/checkpoint/sampling_advice_reader.hpp>
#include <bitnet/run/sampler.hpp>

#include <text/small_vocabulary.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

using namespace bitnet;

namespace {

struct read_advice {
    sampling_advice advice;
    std::vector<std::string> notes;
};

read_advice read_with(std::function<void(gguf_writer&)> write) {
    small_vocabulary keys;
    keys.more = std::move(write);
    const auto file = keys.file();
    REQUIRE(file);
    read_advice made;
    made.advice = sampling_advice::read(file->file, made.notes);
    return made;
}

} // namespace

TEST_CASE("a file without the keys gives no advice, and the sampler's defaults stay") {
    const read_advice none = read_with([](gguf_writer&) {});
    CHECK(none.advice.is_empty());
    CHECK(none.notes.empty());
    const sampler_options defaults;
    const sampler_options advised = sampler_options::advised_by(none.advice);
    CHECK(advised.temperature == defaults.temperature);
    CHECK(advised.top_k == defaults.top_k);
    CHECK(advised.top_p == defaults.top_p);
    CHECK(advised.min_p == defaults.min_p);
}

TEST_CASE("what a file advises is followed, whatever types its numbers have") {
    const read_advice all = read_with([](gguf_writer& writer) {
        writer.add("general.sampling.temp", 0.5f);
        writer.add("general.sampling.top_k", std::int32_t{20});
        writer.add("general.sampling.top_p", 0.875);
        writer.add("general.sampling.min_p", -0.0f);
    });
    CHECK(all.notes.empty());
    CHECK(!all.advice.is_empty());
    const sampler_options advised = sampler_options::advised_by(all.advice);
    CHECK(advised.temperature == 0.5f);
    CHECK(advised.top_k == 20);
    CHECK(advised.top_p == 0.875f);
    CHECK(advised.min_p == 0.0f);
    CHECK(sampler::open(advised, 10));
    CHECK(read_with([](gguf_writer& writer) { writer.add("general.sampling.top_k", std::uint64_t{7}); }).advice.top_k ==
          7);
    CHECK(read_with([](gguf_writer& writer) { writer.add("general.sampling.top_k", std::int32_t{-1}); }).advice.top_k ==
          0);
    CHECK(read_with([](gguf_writer& writer) { writer.add("general.sampling.temp", 0.0f); }).advice.temperature == 0.0f);
}

TEST_CASE("a value that cannot be is passed over, and a note names the key, the value and what is possible") {
    const auto refused = [](std::string_view key, auto value) {
        const read_advice made = read_with([&](gguf_writer& writer) { writer.add(key, value); });
        CHECK(made.advice.is_empty());
        REQUIRE(made.notes.size() == 1);
        CHECK(made.notes[0].find(key) != std::string::npos);
        CHECK(made.notes[0].find("passed over") != std::string::npos);
        return made.notes[0];
    };
    constexpr float infinity = std::numeric_limits<float>::infinity();
    CHECK(refused("general.sampling.temp", -0.5f).find("-0.5") != std::string::npos);
    CHECK(refused("general.sampling.temp", std::numeric_limits<float>::quiet_NaN()).find("not finite") !=
          std::string::npos);
    CHECK(refused("general.sampling.temp", infinity).find("not finite") != std::string::npos);
    CHECK(refused("general.sampling.temp", 1e300).find("finite number") != std::string::npos);
    CHECK(refused("general.sampling.top_p", 1.5f).find("0 to 1") != std::string::npos);
    CHECK(refused("general.sampling.top_p", -infinity).find("not finite") != std::string::npos);
    CHECK(refused("general.sampling.min_p", 1.0001).find("0 to 1") != std::string::npos);
    CHECK(refused("general.sampling.top_k", std::int32_t{-2}).find("-2") != std::string::npos);
    CHECK(refused("general.sampling.top_k", std::uint64_t{1} << 40).find("1099511627776") != std::string::npos);
    CHECK(refused("general.sampling.top_k", 20.0f).find("f32") != std::string::npos);
    CHECK(refused("general.sampling.temp", std::string_view("0.5")).find("string") != std::string::npos);
}
