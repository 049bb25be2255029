// SPDX-License-Identifier: MIT
// How memory_estimate is made: of the sizes that the classes name that allocate.
#ifndef BITNET_RUN_ESTIMATED_MEMORY_HPP
#define BITNET_RUN_ESTIMATED_MEMORY_HPP

#include <bitnet/checkpoint/float_tensor.hpp>
#include <bitnet/checkpoint/hyper_parameters.hpp>
#include <bitnet/checkpoint/model_file.hpp>
#include <bitnet/checkpoint/open_model_file.hpp>
#include <bitnet/checkpoint/scaled_rows.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/engine.hpp>
#include <bitnet/io/available_memory.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/page_choice.hpp>
#include <bitnet/io/page_mode.hpp>
#include <bitnet/model/joint_searches.hpp>
#include <bitnet/model/kv_cache.hpp>
#include <bitnet/model/lm_head_screen.hpp>
#include <bitnet/model/ranking.hpp>
#include <bitnet/model/scratch.hpp>
#include <bitnet/model/screened_search.hpp>
#include <bitnet/model/sequence_row.hpp>
#include <bitnet/model/weight_sizes.hpp>
#include <bitnet/model/weights.hpp>
#include <bitnet/run/allowed_tokens.hpp>
#include <bitnet/run/complete_options.hpp>
#include <bitnet/run/memory_estimate.hpp>
#include <bitnet/run/model_facts.hpp>
#include <bitnet/run/open_options.hpp>
#include <bitnet/run/rows_ahead.hpp>
#include <bitnet/run/screen_choice.hpp>
#include <bitnet/run/session_core.hpp>
#include <bitnet/run/session_options.hpp>
#include <bitnet/run/text_part.hpp>
#include <bitnet/run/workspace.hpp>
#include <bitnet/simd/screen.hpp>
#include <bitnet/text/tokenizer_size.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace bitnet::inline BITNET_ABI::detail {

/// Adds up what a model in one engine and a session of it allocate.
class estimated_memory {
public:
    estimated_memory(const engine& tables, const model_file& source, const hyper_parameters& parameters,
                     const open_options& options) noexcept
        : tables_(tables), source_(source), file_(source.gguf()), parameters_(parameters), options_(options),
          arithmetic_(weight_arithmetic::of(file_, options.activations)) {}

    [[nodiscard]] memory_estimate of(const session_options& options) {
        for (const byte_source& each : source_.sources()) {
            (each.is_copy() ? made_.copied : made_.mapped) += each.bytes().size();
        }
        add_weights();
        add_screen();
        made_.tokenizer = options_.load_tokenizer ? tokenizer_bytes(file_) : 0;
        add_session(options);
        return made_;
    }

private:
    void add_weights() noexcept {
        const layout_table& layout = arithmetic_.has_blocks ? unscaled_blocks : *tables_.ternary->layout;
        made_.repacked = used_repacked_bytes(file_, layout, arithmetic_.has_blocks, options_.file_order);
        made_.norms = sizeof(float) * weights::norm_floats(parameters_);
        made_.tables = parameters_.layers * sizeof(layer_weights) + file_.table_bytes() + sizeof(model_facts);
    }

    /// As model_core decides it.
    void add_screen() {
        const gguf_tensor* head = file_.find_tensor(parameters_.lm_head_name());
        if (head == nullptr || options_.lm_head == lm_head_mode::as_stored || parameters_.is_embedder) {
            return;
        }
        const auto element = float_element_of(head->type);
        const bool is_admitted = element && admits_screen(*element);
        const std::uint64_t bytes =
            std::uint64_t{parameters_.vocabulary} * screen_layout::row_bytes(parameters_.hidden);
        const bool is_stored = is_admitted && file_.find_tensor(screen_name(parameters_.lm_head_name())) != nullptr;
        has_screen_ = is_stored;
        if (is_stored || !is_admitted) {
            return;
        }
        has_screen_ = options_.lm_head == lm_head_mode::screened ||
                      choose_screen({head->bytes.size(), bytes, true, tables_.has_threads, available_memory()}).is_made;
        made_.screen = has_screen_ ? bytes : 0;
    }

    void add_session(const session_options& options) noexcept {
        const std::size_t context = options.context;
        const std::size_t pages = (context + attention_block - 1) / attention_block;
        made_.keys_and_values = kv_cache::bytes(parameters_, tables_.kv->element_bytes, tables_.kv->is_scaled,
                                                options.kv != nullptr ? pages * attention_block : context);
        made_.scratch = scratch::bytes(parameters_, arithmetic_.activations, arithmetic_.has_blocks, *tables_.ternary,
                                       options.prompt_chunk) +
                        options.prompt_chunk * sizeof(sequence_row) + pages * sizeof(kv_page) + sizeof(workspace) +
                        sizeof(session_core) +
                        (has_screen_ ? screened_search::working_bytes(parameters_.vocabulary, parameters_.hidden) : 0);
        made_.logits = std::uint64_t{workspace::rows_of_logits} * parameters_.vocabulary * sizeof(float) +
                       allowed_tokens::most_listed * (sizeof(scored_token) + sizeof(float));
        made_.ahead = has_screen_ ? joint_searches::bytes(*tables_.loops, parameters_.vocabulary, parameters_.hidden,
                                                          rows_ahead::most + 1)
                                  : 0;
        made_.tokens = token_places(options) * sizeof(token) +
                       (has_mean(parameters_, options) ? 2 : 1) * parameters_.hidden * sizeof(float);
    }

    const engine& tables_;
    const model_file& source_;
    const gguf_file& file_;
    const hyper_parameters& parameters_;
    const open_options& options_;
    weight_arithmetic arithmetic_;
    bool has_screen_ = false;
    memory_estimate made_;
};

/// Whether opening the file that is mapped here would copy it.
[[nodiscard]] inline bool would_be_copied(const model_file& mapped, page_mode pages) {
    if (pages != page_mode::automatic || !mapped.is_mapped()) {
        return pages == page_mode::copied;
    }
    return choose_pages({mapped.size(), is_read_in_place(mapped.gguf()), has_huge_pages(), available_memory()}).pages ==
           page_mode::copied;
}

/// estimate_memory in one engine.
[[nodiscard]] inline result<memory_estimate> estimate_in(const engine& tables, const model_file& source,
                                                         const open_options& options, session_options of_session) {
    return guarded([&]() -> result<memory_estimate> {
        const auto parameters = text_part<>::read(source.gguf());
        if (!parameters) {
            return failed(parameters);
        }
        if (auto checked = complete_options(*parameters, of_session); !checked) {
            return failed(checked);
        }
        return estimated_memory(tables, source, *parameters, options).of(of_session);
    });
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
