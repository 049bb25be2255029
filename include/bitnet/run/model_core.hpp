// SPDX-License-Identifier: MIT
// model_core: what any_model and model<P> hold, compiled once for all engines.
#ifndef BITNET_RUN_MODEL_CORE_HPP
#define BITNET_RUN_MODEL_CORE_HPP

#include <bitnet/checkpoint/model_file.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/engine.hpp>
#include <bitnet/io/byte_source.hpp>
#include <bitnet/model/kv_page.hpp>
#include <bitnet/model/lm_head_screen.hpp>
#include <bitnet/model/weights.hpp>
#include <bitnet/run/any_model.hpp>
#include <bitnet/run/batch_core.hpp>
#include <bitnet/run/graph_part.hpp>
#include <bitnet/run/model_facts.hpp>
#include <bitnet/run/open_options.hpp>
#include <bitnet/run/session_core.hpp>
#include <bitnet/run/tensors_part.hpp>

#include <memory>
#include <new>
#include <string>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

class model_core final : public model_base {
public:
    /// \return errc::unsupported_cpu if the engine cannot run here; otherwise see any_model::open.
    [[nodiscard]] static result<std::unique_ptr<const model_base>> open(const engine& tables, model_file source,
                                                                        const open_options& options) {
        return guarded([&] { return open_in(tables, std::move(source), options); });
    }

    result<std::unique_ptr<session_base>> open_session(const session_options& options,
                                                       const pool_ref* pool) const override {
        return guarded([&] { return graph_part<>::open(parts(), options, pool); });
    }
    result<std::unique_ptr<batch_base>> open_batch(const batch_options& options, const pool_ref* pool) const override {
        return guarded([&] { return graph_part<>::open(parts(), options, pool); });
    }

    result<std::unique_ptr<kv_pool_base>> open_kv_pool(std::uint64_t bytes) const override {
        return guarded([&]() -> result<std::unique_ptr<kv_pool_base>> {
            const kv_shape shape = kv_shape::of(facts_->parameters, *tables_.kv);
            const std::uint64_t pages = bytes / shape.bytes(attention_block);
            if (pages == 0) {
                return error{errc::invalid_argument, sentence({"KV pool: ", bytes, " bytes were asked for, a page has ",
                                                               shape.bytes(attention_block)})};
            }
            auto made = kv_page_store::open(shape, to_size(pages));
            return made ? result<std::unique_ptr<kv_pool_base>>(*std::move(made)) : failed(made);
        });
    }

    result<chat_template> open_chat(std::string_view format) const override {
        return text_part<>::open_chat(facts_->file(), *facts_->text, format);
    }

    [[nodiscard]] model_parts parts() const noexcept {
        return {tables_, facts_->parameters, tensors_, screen_, facts_->turns, facts_->text ? &*facts_->text : nullptr};
    }

private:
    [[nodiscard]] static result<std::unique_ptr<const model_base>> open_in(const engine& tables, model_file source,
                                                                           const open_options& options) {
        if (!tables.enable()) {
            return error{errc::unsupported_cpu,
                         sentence({source.name(), ": this CPU or operating system does not support ", tables.isa})};
        }
        if (auto tested = tensors_part<>::test(tables); !tested) {
            return error{tested.error().code, sentence({source.name(), ": ", tested.error().message})};
        }
        source.advise(access_hint::huge_pages); // if the system maps files so; ignored elsewhere
        auto facts = model_facts::read(std::move(source), options);
        if (!facts) {
            return failed(facts);
        }
        std::unique_ptr<model_core> made(new (std::nothrow) model_core(tables, *std::move(facts)));
        if (made == nullptr) {
            return error{errc::out_of_memory,
                         sentence({"model: ", sizeof(model_core), " bytes could not be allocated"})};
        }
        if (auto read = made->read_tensors(options); !read) {
            return failed(read);
        }
        made->describe();
        return std::unique_ptr<const model_base>(std::move(made));
    }

    model_core(const engine& tables, std::unique_ptr<model_facts> facts) noexcept
        : tables_(tables), facts_(std::move(facts)) {}

    [[nodiscard]] result<void> read_tensors(const open_options& options) {
        const auto pool = tables_.open_pool(options.threads, default_spin);
        if (!pool) {
            return failed(pool);
        }
        const weight_options how{{options.file_order, options.lookup_tiling},
                                 options.verify_codes.value_or(!facts_->source.is_by_path()),
                                 options.verify_codes.value_or(true),
                                 options.activations,
                                 &facts_->source};
        auto tensors =
            tensors_part<>::open(facts_->file(), facts_->parameters, *tables_.ternary->layout, how, pool->ref());
        if (!tensors) {
            return failed(tensors);
        }
        tensors_ = *std::move(tensors);
        return options.lm_head == lm_head_mode::screened ? make_screen(pool->ref(), how.verify_codes) : result<void>{};
    }

    [[nodiscard]] result<void> make_screen(pool_ref pool, bool verify) {
        const gguf_file& file = facts_->file();
        const std::string_view name = facts_->parameters.lm_head_name();
        if (facts_->parameters.is_embedder) {
            return {};
        }
        if (tensors_.ternary_head().has_blocks() || !admits_screen(tensors_.lm_head().element)) {
            const gguf_tensor* head = file.find_tensor(name);
            facts_->notes.push_back(sentence({"the head is used as stored: a screen is for F16, BF16 and F32, and this "
                                              "one is ",
                                              head != nullptr ? name_of(head->type) : name}));
            return {};
        }
        const auto* stored = file.find_tensor(screen_name(name));
        auto made = tensors_part<>::open_screen(pool, *tables_.loops, tensors_.lm_head(), stored, file.name(), verify);
        if (!made) {
            return failed(made);
        }
        screen_ = *std::move(made);
        return {};
    }

    void describe() {
        if (tensors_.has_blocks()) {
            facts_->notes.push_back(sentence(
                {"ternary weights have a scale for each block, or meet activations that are not rounded token by "
                 "token; activations: ",
                 name_of(tensors_.activations())}));
        }
        if (tensors_.repacked_tensors() != 0) {
            facts_->notes.push_back(sentence({tensors_.repacked_tensors(), " ternary tensors were repacked to layout ",
                                              tensors_.layout(), ": ", tensors_.repacked_bytes(), " bytes"}));
        }
        about_ = {&facts_->parameters,
                  &facts_->file(),
                  facts_->text ? &*facts_->text : nullptr,
                  facts_->notes,
                  tables_.isa,
                  tensors_.layout(),
                  tensors_.repacked_bytes()};
    }

    const engine& tables_;
    std::unique_ptr<model_facts> facts_;
    weights tensors_;
    lm_head_screen screen_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
