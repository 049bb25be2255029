// SPDX-License-Identifier: MIT
// Models of every kind, compiled once in ladder.cpp and shared by all tools: their own sources hold no transformer.
#pragma once

#include <bitnet/any.hpp>

#include <span>
#include <string_view>

namespace tools {

/// The instruction sets that models can be opened with, the fastest first.
[[nodiscard]] std::span<const std::string_view> isa_names() noexcept;

/// The engines that open_model() chooses from, those of the best instruction set first.
/// \param kv "f16", "f32" or "i8"; none for anything else
[[nodiscard]] std::span<const bitnet::engine* const> engines_with(std::string_view kv) noexcept;

/// Opens a model with a KV cache of that element and the best instruction set of this machine, or the one named, in the
/// layout that bitnet::layout_for says. \param kv "f16", "f32" or "i8"; anything else is errc::invalid_argument
/// \return what any_model::open returns
[[nodiscard]] bitnet::result<bitnet::any_model>
open_model(std::string_view utf8_path, const bitnet::open_options& options, std::string_view isa, std::string_view kv);

/// What that would allocate, and a session. \return what bitnet::estimate_memory returns
[[nodiscard]] bitnet::result<bitnet::memory_estimate> estimate_memory(const bitnet::model_file& file,
                                                                      const bitnet::open_options& options,
                                                                      const bitnet::session_options& of_session,
                                                                      std::string_view isa, std::string_view kv);

} // namespace tools
