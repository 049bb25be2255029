// SPDX-License-Identifier: MIT
// The one source that compiles models: every instruction set, layout and element of a KV cache.
#include "ladder.hpp"

#include "parts.hpp"

#include <bitnet/bitnet.hpp>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace tools {

template <class Kv> using every_layout = bitnet::in_all_layouts<bitnet::any_cpu::with_kv<Kv>>;

std::span<const std::string_view> isa_names() noexcept { return bitnet::any_cpu::names; }

std::span<const bitnet::engine* const> engines_with(std::string_view kv) noexcept {
    if (kv == "f16") {
        return every_layout<bitnet::half>::engines;
    }
    if (kv == "f32") {
        return every_layout<float>::engines;
    }
    if (kv == "i8") {
        return every_layout<std::int8_t>::engines;
    }
    return {};
}

static bitnet::error no_element(std::string_view kv) {
    return {bitnet::errc::invalid_argument, "a KV cache of '" + std::string(kv) + "': f16, f32 or i8 expected"};
}

bitnet::result<bitnet::any_model> open_model(std::string_view utf8_path, const bitnet::open_options& options,
                                             std::string_view isa, std::string_view kv) {
    const auto engines = engines_with(kv);
    if (!engines.empty()) {
        auto file = bitnet::detail::files_part<>::open(utf8_path,
                                                       {options.load_tokenizer, options.pre_tokenizer, options.pages});
        return file ? bitnet::detail::open_model(*std::move(file), options, isa, engines) : failed(file);
    }
    return no_element(kv);
}

bitnet::result<bitnet::memory_estimate> estimate_memory(const bitnet::model_file& file,
                                                        const bitnet::open_options& options,
                                                        const bitnet::session_options& of_session, std::string_view isa,
                                                        std::string_view kv) {
    const auto engines = engines_with(kv);
    if (engines.empty()) {
        return no_element(kv);
    }
    return bitnet::detail::estimate_memory(file, options, of_session, isa, engines);
}

} // namespace tools
