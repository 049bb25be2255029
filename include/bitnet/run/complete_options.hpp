// SPDX-License-Identifier: MIT
// complete_options: session_options with the model's own numbers in place of those that were left to it, checked.
#ifndef BITNET_RUN_COMPLETE_OPTIONS_HPP
#define BITNET_RUN_COMPLETE_OPTIONS_HPP

#include <bitnet/checkpoint/hyper_parameters.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/memory_source.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/model/kv_page.hpp>
#include <bitnet/run/session_options.hpp>

#include <algorithm>
#include <cstddef>

namespace bitnet::inline BITNET_ABI::detail {

/// Of options whose context is known. \return errc::invalid_argument
[[nodiscard]] inline result<void> check_window(const session_options& options) {
    const std::size_t pages = options.context / attention_block;
    if (!options.window) {
        return {};
    }
    if (options.context % attention_block != 0 || pages < 2) {
        return error{errc::invalid_argument,
                     sentence({"session: a window takes a context of whole pages of ", attention_block,
                               " positions, two at least, and ", options.context, " positions were asked for"})};
    }
    if (options.sinks == 0 || options.sinks > options.context - attention_block) {
        return error{
            errc::invalid_argument,
            sentence({"session: ", options.sinks, " positions were asked for as the sinks of a window, 1 ", "to ",
                      options.context - attention_block, " are possible in a context of ", options.context})};
    }
    return {};
}

/// The same for all of them.
[[nodiscard]] inline result<void> check_options(const hyper_parameters& parameters, const session_options& options) {
    if (options.context > parameters.context) {
        return error{errc::invalid_argument, sentence({"session: a context of ", options.context,
                                                       " was asked for, the model has ", parameters.context})};
    }
    if (options.prompt_chunk == 0 || options.prompt_chunk > session_options::largest_prompt_chunk) {
        return error{errc::invalid_argument,
                     sentence({"session: a prompt chunk of ", options.prompt_chunk, " was asked for, 1 to ",
                               session_options::largest_prompt_chunk, " are possible"})};
    }
    if (auto checked = check_window(options); !checked) {
        return checked;
    }
    if (options.pooling && *options.pooling != pooling_type::mean && *options.pooling != pooling_type::last) {
        return error{errc::invalid_argument,
                     sentence({"session: pooling ", static_cast<unsigned>(*options.pooling), " (",
                               name_of(*options.pooling), ") was asked for, 1 (mean) and 3 (last) are possible"})};
    }
    return {};
}

/// Completes and checks them. \return errc::invalid_argument
[[nodiscard]] inline result<void> complete_options(const hyper_parameters& parameters, session_options& options) {
    if (options.context == 0) {
        options.context = (std::min)(parameters.context, session_options::default_context);
        options.context -= options.window ? options.context % attention_block : 0;
    }
    if (auto checked = check_options(parameters, options); !checked) {
        return checked;
    }
    options.prompt_chunk = (std::min)(options.prompt_chunk, options.context);
    options.sinks = (options.sinks + attention_block - 1) / attention_block * attention_block;
    return {};
}

// What complete options say.

/// How many tokens a session keeps, queued ones included. With a window as many can be queued as are there.
[[nodiscard]] inline std::size_t token_places(const session_options& options) noexcept {
    return options.window ? 2 * options.context : options.context;
}
/// Whether embedding() is a mean.
[[nodiscard]] inline bool has_mean(const hyper_parameters& parameters, const session_options& options) noexcept {
    return options.pooling.value_or(parameters.pooling) == pooling_type::mean;
}
[[nodiscard]] inline memory_from session_scratch(const session_options& options) noexcept {
    return {options.memory, {memory_use::scratch, false}};
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
