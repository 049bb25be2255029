// SPDX-License-Identifier: MIT
// compiled_for<Ladder>: what opening a model compiles: all that the policies of a ladder name.
#ifndef BITNET_RUN_OPEN_MODEL_HPP
#define BITNET_RUN_OPEN_MODEL_HPP

#include <bitnet/checkpoint/layout_for.hpp>
#include <bitnet/checkpoint/model_file.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/engine.hpp>
#include <bitnet/io/byte_source.hpp>
#include <bitnet/io/progress_meter.hpp>
#include <bitnet/run/any_batch.hpp>
#include <bitnet/run/any_model.hpp>
#include <bitnet/run/dialog_part.hpp>
#include <bitnet/run/dispatch.hpp>
#include <bitnet/run/estimated_memory.hpp>
#include <bitnet/run/files_part.hpp>
#include <bitnet/run/memory_estimate.hpp>
#include <bitnet/run/model_core.hpp>
#include <bitnet/run/open_options.hpp>
#include <bitnet/run/parts.hpp>
#include <bitnet/run/scheduler.hpp>

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

namespace detail {

/// The first of `engines` that this CPU runs, or the first of instruction set `isa` if that is not empty; of its
/// instruction set, the one in `layout` if there is one. Null if there is none.
[[nodiscard]] inline const engine* choose_engine(std::span<const engine* const> engines, std::string_view isa,
                                                 const layout_table& layout) {
    const engine* chosen = nullptr;
    for (const engine* each : engines) {
        if (chosen == nullptr) {
            chosen = isa.empty() ? (each->enable() ? each : nullptr) : (each->isa == isa ? each : nullptr);
        }
        if (chosen != nullptr && each->isa == chosen->isa && each->ternary->layout == &layout) {
            return each;
        }
    }
    return chosen;
}

[[nodiscard]] inline error no_engine(std::span<const engine* const> engines, std::string_view isa) {
    std::string names;
    for (const engine* each : engines) {
        if (names.find(each->isa) == std::string::npos) {
            names.append(names.empty() ? "" : ", ").append(each->isa);
        }
    }
    return error{errc::unsupported_cpu, isa.empty() ? sentence({"this CPU runs none of: ", names})
                                                    : sentence({"'", isa, "' is none of: ", names})};
}

/// any_model::open over engines, the fastest first.
[[nodiscard]] inline result<any_model> open_model(model_file source, const open_options& options, std::string_view isa,
                                                  std::span<const engine* const> engines, progress_meter& progress) {
    const engine* chosen = choose_engine(engines, isa, layout_for(source.gguf()));
    if (chosen == nullptr) {
        return guarded([&]() -> result<any_model> { return no_engine(engines, isa); });
    }
    auto opened = model_core::open(*chosen, std::move(source), options, progress);
    return opened ? result<any_model>(any_model(*std::move(opened))) : failed(opened);
}

[[nodiscard]] inline result<any_model> open_model(model_file source, const open_options& options, std::string_view isa,
                                                  std::span<const engine* const> engines) {
    progress_meter progress(options.progress);
    return open_model(std::move(source), options, isa, engines, progress);
}

/// estimate_memory over engines, the fastest first.
[[nodiscard]] inline result<memory_estimate> estimate_memory(const model_file& source, const open_options& options,
                                                             const session_options& of_session, std::string_view isa,
                                                             std::span<const engine* const> engines) {
    const engine* chosen = choose_engine(engines, isa, layout_for(source.gguf()));
    if (chosen == nullptr) {
        return guarded([&]() -> result<memory_estimate> { return no_engine(engines, isa); });
    }
    return estimate_in(*chosen, source, options, of_session);
}

} // namespace detail

template <class Ladder>
result<memory_estimate> compiled_for<Ladder>::estimate(const model_file& source, const open_options& options,
                                                       const session_options& of_session, std::string_view isa) {
    return detail::estimate_memory(source, options, of_session, isa, Ladder::engines);
}

template <class Ladder>
result<memory_estimate> compiled_for<Ladder>::estimate(std::string_view utf8_path, const open_options& options,
                                                       const session_options& of_session, std::string_view isa) {
    const auto file =
        detail::files_part<>::open(utf8_path, {options.load_tokenizer, options.pre_tokenizer, page_mode::mapped});
    if (!file) {
        return failed(file);
    }
    auto made = estimate(*file, options, of_session, isa);
    if (made && detail::would_be_copied(*file, options.pages)) {
        made->copied += std::exchange(made->mapped, 0u);
    }
    return made;
}

template <class Ladder>
result<any_model> compiled_for<Ladder>::open(model_file source, const open_options& options, std::string_view isa) {
    return detail::open_model(std::move(source), options, isa, Ladder::engines);
}

template <class Ladder>
result<any_model> compiled_for<Ladder>::open(byte_source source, const open_options& options, std::string_view isa) {
    auto file = detail::files_part<>::open(std::move(source), options.memory);
    return file ? open(*std::move(file), options, isa) : failed(file);
}

template <class Ladder>
result<any_model> compiled_for<Ladder>::open(std::string_view utf8_path, const open_options& options,
                                             std::string_view isa) {
    detail::progress_meter progress(options.progress);
    auto file = detail::files_part<>::open(utf8_path, detail::checkpoint_options_of(options, progress));
    return file ? detail::open_model(*std::move(file), options, isa, Ladder::engines, progress) : failed(file);
}

template <class Ladder>
result<std::unique_ptr<detail::batch_base>>
compiled_for<Ladder>::open_batch(const any_model& model, const batch_options& options, const pool_ref* pool) {
    const auto& core = static_cast<const detail::model_core&>(model.base());
    return detail::guarded([&] { return detail::graph_part<>::open(core.parts(), core.with_memory(options), pool); });
}

template <class Ladder>
result<std::unique_ptr<detail::scheduler_base>>
compiled_for<Ladder>::open_scheduler(const any_model& model, const scheduler_options& options, const pool_ref* pool) {
    const auto& core = static_cast<const detail::model_core&>(model.base());
    return detail::guarded([&] { return detail::graph_part<>::open(core.parts(), core.with_memory(options), pool); });
}

template <class Ladder>
result<std::unique_ptr<detail::conversation_base>>
compiled_for<Ladder>::open_conversation(const any_model& model, const conversation_options& options,
                                        const pool_ref* pool) {
    return detail::dialog_part<>::open(model, options, pool);
}

} // namespace bitnet::inline BITNET_ABI

#endif
