// SPDX-License-Identifier: MIT
// sampling_fields: how a request wants its tokens chosen, and where its answer is to end.
#pragma once

#include "field_reader.hpp"

#include <bitnet/any.hpp>

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace server {

struct sampling_fields {
    bitnet::sampler_options options = {}; ///< without the biases
    std::vector<bitnet::logit_bias> biases = {};
    bool has_seed = false;
    std::vector<std::string> stops = {};
    std::optional<std::size_t> limit = {}; ///< tokens; nullopt: as many as the context has room for
    std::size_t choices = 1;
    bool stream = false;
    bool include_usage = false;

    /// Of choice `index`.
    [[nodiscard]] bitnet::result<bitnet::sampler> open(std::size_t index, std::size_t vocabulary) const {
        bitnet::sampler_options made = options;
        made.seed += index;
        made.biases = biases;
        return bitnet::sampler::open(made, vocabulary);
    }
    [[nodiscard]] bitnet::result<bitnet::stop_texts> open_stops() const {
        return bitnet::stop_texts::open(std::vector<std::string_view>(stops.begin(), stops.end()));
    }
};

namespace detail {

inline void read_biases(field_reader& fields, std::vector<bitnet::logit_bias>& biases) {
    const auto given = fields.object("logit_bias");
    if (!given) {
        return;
    }
    for (const auto [key, value] : given->members()) {
        bitnet::logit_bias made{0, 0.0f};
        const auto read = std::from_chars(key.data(), key.data() + key.size(), made.id);
        const auto bias = value.as_double();
        if (key.empty() || read.ec != std::errc{} || read.ptr != key.data() + key.size() || !bias || *bias < -100 ||
            *bias > 100) {
            fields.expect("logit_bias", "an object of token ids and numbers from -100 to 100");
            return;
        }
        made.bias = *bias > -100 ? static_cast<float>(*bias) : bitnet::logit_bias::forbidden();
        biases.push_back(made);
    }
}

inline void read_stops(field_reader& fields, std::vector<std::string>& stops) {
    constexpr std::string_view wanted = "a string or an array of at most 16 strings, none of them empty";
    const auto given = fields.find("stop");
    if (!given) {
        return;
    }
    if (const auto one = given->as_string()) {
        if (!one->empty()) { // clients send it where they mean none
            stops.emplace_back(*one);
        }
        return;
    }
    if (!given->is_array() || given->size() > 16) {
        fields.expect("stop", wanted);
        return;
    }
    for (const bitnet::json_value each : given->elements()) {
        const auto text = each.as_string();
        if (!text || text->empty()) {
            fields.expect("stop", wanted);
            return;
        }
        stops.emplace_back(*text);
    }
}

} // namespace detail

/// \param made what is set is the default
inline void read_sampling(field_reader& fields, sampling_fields& made) {
    constexpr auto largest = (std::numeric_limits<std::int64_t>::max)();
    const auto number = [&](std::string_view key, float& target, double least, double most) {
        const auto given = fields.number(key, least, most);
        target = given ? static_cast<float>(*given) : target;
    };
    number("temperature", made.options.temperature, 0, 2);
    number("top_p", made.options.top_p, 0, 1);
    number("min_p", made.options.min_p, 0, 1);
    number("presence_penalty", made.options.presence_penalty, -2, 2);
    number("frequency_penalty", made.options.frequency_penalty, -2, 2);
    number("repeat_penalty", made.options.repeat_penalty, 0.01, 100);
    if (const auto k = fields.integer("top_k", 0, 1 << 30)) {
        made.options.top_k = static_cast<std::size_t>(*k);
    }
    if (const auto seed = fields.integer("seed", (std::numeric_limits<std::int64_t>::min)(), largest)) {
        made.options.seed = static_cast<std::uint64_t>(*seed);
        made.has_seed = true;
    }
    if (const auto n = fields.integer("n", 1, 8)) {
        made.choices = static_cast<std::size_t>(*n);
    }
    for (const std::string_view key : {"max_completion_tokens", "max_tokens"}) {
        if (const auto most = fields.integer(key, 1, 1 << 30); most && !made.limit) {
            made.limit = static_cast<std::size_t>(*most);
        }
    }
    detail::read_biases(fields, made.biases);
    detail::read_stops(fields, made.stops);
    made.stream = fields.flag("stream").value_or(false);
    if (const auto more = fields.object("stream_options")) {
        field_reader inner(*more);
        made.include_usage = inner.flag("include_usage").value_or(false);
        if (inner.failure()) {
            fields.refuse("stream_options", inner.failure()->message);
        }
    }
}

} // namespace server
