// SPDX-License-Identifier: MIT
// What a JSON Schema costs a model that writes by it, or saves it.
#pragma once

#include <bitnet/core/result.hpp>
#include <bitnet/run/any_model.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace bench {

/// Of texts by a schema, in sessions of one sequence, each repetition with random numbers of its own.
struct schema_figures {
    std::size_t threads = 1;
    std::string isa;
    std::string head;
    std::vector<double> free;      ///< tokens per second of each repetition: as many tokens without the schema
    std::vector<double> held;      ///< with it, every token chosen among those that are allowed
    std::vector<double> forced;    ///< with it, and text that it forces as the tokenizer's tokens, several in a pass
    std::size_t held_tokens = 0;   ///< of all repetitions
    std::size_t forced_tokens = 0; ///< the same with forced text
    std::size_t taken_tokens = 0;  ///< how many of these were forced
    std::size_t masks = 0;         ///< that were timed, all of one constraint and its cache
    double p50_us = 0;
    double p99_us = 0;
    double max_us = 0;
};

/// Texts of at most `tokens` tokens, or of as many as the shortest may need; or `repetitions` times each of `answers`,
/// where there are any: a model with random weights writes other texts than a trained one, and longer strings.
/// \return what grammar::json_schema, any_session::open and next() return
[[nodiscard]] bitnet::result<schema_figures> measure_schema(const bitnet::any_model& model, std::string_view schema,
                                                            const std::vector<std::string>& answers,
                                                            std::size_t threads, std::size_t tokens,
                                                            std::size_t repetitions);

} // namespace bench
