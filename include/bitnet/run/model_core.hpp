// SPDX-License-Identifier: MIT
// model_core: what any_model and model<P> hold, compiled once for all engines.
#ifndef BITNET_RUN_MODEL_CORE_HPP
#define BITNET_RUN_MODEL_CORE_HPP

#include <bitnet/checkpoint/layout_for.hpp>
#include <bitnet/checkpoint/model_file.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/engine.hpp>
#include <bitnet/io/available_memory.hpp>
#include <bitnet/io/byte_source.hpp>
#include <bitnet/io/progress_meter.hpp>
#include <bitnet/model/kv_page.hpp>
#include <bitnet/model/lm_head_screen.hpp>
#include <bitnet/model/weights.hpp>
#include <bitnet/run/any_model.hpp>
#include <bitnet/run/batch_core.hpp>
#include <bitnet/run/graph_part.hpp>
#include <bitnet/run/model_facts.hpp>
#include <bitnet/run/model_fingerprint.hpp>
#include <bitnet/run/model_screen.hpp>
#include <bitnet/run/open_options.hpp>
#include <bitnet/run/scheduler_core.hpp>
#include <bitnet/run/screen_choice.hpp>
#include <bitnet/run/session_core.hpp>
#include <bitnet/run/tensors_part.hpp>
#include <bitnet/thread/usable_cores.hpp>

#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

[[nodiscard]] inline checkpoint_options checkpoint_options_of(const open_options& options,
                                                              progress_meter& progress) noexcept {
    return {options.load_tokenizer, options.pre_tokenizer, options.pages, options.memory, &progress};
}

class model_core final : public model_base {
public:
    /// \return errc::unsupported_cpu if the engine cannot run here; otherwise see any_model::open.
    [[nodiscard]] static result<std::unique_ptr<const model_base>>
    open(const engine& tables, model_file source, const open_options& options, progress_meter& progress) {
        return guarded([&] { return open_in(tables, std::move(source), options, progress); });
    }

    [[nodiscard]] static result<std::unique_ptr<const model_base>> open(const engine& tables, model_file source,
                                                                        const open_options& options) {
        progress_meter progress(options.progress);
        return open(tables, std::move(source), options, progress);
    }

    result<std::unique_ptr<session_base>> open_session(const session_options& options,
                                                       const pool_ref* pool) const override {
        return guarded([&] { return graph_part<>::open(parts(), with_memory(options), pool); });
    }

    result<std::unique_ptr<kv_pool_base>> open_kv_pool(std::uint64_t bytes, const memory_source* from) const override {
        return guarded([&]() -> result<std::unique_ptr<kv_pool_base>> {
            const kv_shape shape = kv_shape::of(facts_->parameters, *tables_.kv);
            const std::uint64_t pages = bytes / shape.bytes(attention_block);
            if (pages == 0) {
                return error{errc::invalid_argument, sentence({"KV pool: ", bytes, " bytes were asked for, a page has ",
                                                               shape.bytes(attention_block)})};
            }
            auto made = kv_page_store::open(shape, to_size(pages), from != nullptr ? from : memory());
            return made ? result<std::unique_ptr<kv_pool_base>>(*std::move(made)) : failed(made);
        });
    }

    result<chat_template> open_chat(std::string_view format) const override {
        return text_part<>::open_chat(facts_->file(), *facts_->text, format);
    }

    screen_state head_screen() const noexcept override { return screen_.state(); }

    /// The options of a session, a batch or a scheduler.
    template <class Options> [[nodiscard]] Options with_memory(Options options) const noexcept {
        options.memory = options.memory != nullptr ? options.memory : memory();
        return options;
    }
    [[nodiscard]] model_parts parts() const noexcept {
        return {tables_,  facts_->parameters, tensors_, screen_, facts_->turns, facts_->text ? &*facts_->text : nullptr,
                identity_};
    }

private:
    [[nodiscard]] static result<std::unique_ptr<const model_base>>
    open_in(const engine& tables, model_file source, const open_options& options, progress_meter& progress) {
        if (!tables.enable()) {
            return error{errc::unsupported_cpu,
                         sentence({source.name(), ": this CPU or operating system does not support ", tables.isa})};
        }
        if (auto tested = tensors_part<>::test(tables, source.gguf().memory()); !tested) {
            return error{tested.error().code, sentence({source.name(), ": ", tested.error().message})};
        }
        if (options.memory != nullptr) {
            source.use(options.memory);
        }
        source.advise(access_hint::huge_pages); // if the system maps files so; ignored elsewhere
        expect_tensors(source.gguf(), options.lm_head, progress);
        if (!progress.advance(0)) {
            return progress.cancelled(source.name());
        }
        auto facts = model_facts::read(std::move(source), options);
        if (!facts) {
            return failed(facts);
        }
        std::unique_ptr<model_core> made(new (std::nothrow) model_core(tables, *std::move(facts), options));
        if (made == nullptr) {
            return error{errc::out_of_memory,
                         sentence({"model: ", sizeof(model_core), " bytes could not be allocated"})};
        }
        if (auto read = made->read_tensors(options, progress); !read) {
            return failed(read);
        }
        if (made->tensors_.repacked_tensors() == 0) { // and so all of the files is read in place
            made->facts_->source.map_cached();
        }
        if (!progress.finish()) {
            return progress.cancelled(made->facts_->source.name());
        }
        made->describe();
        return std::unique_ptr<const model_base>(std::move(made));
    }

    static void expect_tensors(const gguf_file& file, lm_head_mode head_mode, progress_meter& progress) noexcept {
        std::uint64_t bytes = 0;
        for (const gguf_tensor& tensor : file.tensors()) {
            bytes += tensor.bytes.size();
        }
        const gguf_tensor* const own = file.find_tensor("output.weight");
        const gguf_tensor* const head = own != nullptr ? own : file.find_tensor("token_embd.weight");
        const bool is_read_again = head_mode == lm_head_mode::screened && head != nullptr;
        progress.expect(is_read_again ? bytes + head->bytes.size() : bytes);
    }

    model_core(const engine& tables, std::unique_ptr<model_facts> facts, const open_options& options) noexcept
        : tables_(tables), facts_(std::move(facts)), identity_(facts_->file(), facts_->parameters, options.file_order) {
    }

    [[nodiscard]] const memory_source* memory() const noexcept { return facts_->file().memory(); }

    [[nodiscard]] result<void> read_tensors(const open_options& options, progress_meter& progress) {
        if (options.pool) {
            return read_tensors(options, *options.pool, progress);
        }
        const auto pool = tables_.open_pool(options.threads ? *options.threads : usable_cores(), default_spin);
        return pool ? read_tensors(options, pool->ref(), progress) : failed(pool);
    }
    [[nodiscard]] result<void> read_tensors(const open_options& options, pool_ref pool, progress_meter& progress) {
        const weight_options how{{options.file_order, options.lookup_tiling},
                                 options.verify_codes.value_or(!facts_->source.is_by_path()),
                                 options.verify_codes.value_or(true),
                                 options.activations,
                                 &facts_->source,
                                 &progress};
        auto tensors = tensors_part<>::open(facts_->file(), facts_->parameters, *tables_.ternary->layout, how, pool);
        if (!tensors) {
            return failed(tensors);
        }
        tensors_ = *std::move(tensors);
        return options.lm_head == lm_head_mode::as_stored || facts_->parameters.is_embedder
                   ? result<void>{}
                   : open_screen(options.lm_head, pool, how.verify_codes, progress);
    }

    /// \param mode screened or automatic
    [[nodiscard]] result<void> open_screen(lm_head_mode mode, pool_ref pool, bool verify, progress_meter& progress) {
        const std::string_view name = facts_->parameters.lm_head_name();
        const bool is_admitted = !tensors_.ternary_head().has_blocks() && admits_screen(tensors_.lm_head().element);
        const auto* stored = is_admitted ? facts_->file().find_tensor(screen_name(name)) : nullptr;
        if (stored == nullptr && mode == lm_head_mode::automatic) {
            start_screen(is_admitted);
            return {};
        }
        if (!is_admitted) {
            const gguf_tensor* head = facts_->file().find_tensor(name);
            facts_->notes.push_back(sentence({"the head is used as stored: a screen is for F16, BF16 and F32, and this "
                                              "one is ",
                                              head != nullptr ? name_of(head->type) : name}));
            return {};
        }
        auto made = tensors_part<>::open_screen(pool, *tables_.loops, tensors_.lm_head(), stored, facts_->file().name(),
                                                verify, memory(), &progress);
        if (!made) {
            return failed(made);
        }
        screen_.hold(*std::move(made));
        return {};
    }

    /// lm_head_mode::automatic without a screen in the file: the making of one where the rule says so. The head is used
    /// as stored, and a note says why, where memory or a thread for it cannot be had.
    void start_screen(bool is_admitted) {
        const float_matrix& lm_head = tensors_.lm_head();
        auto choice =
            choose_screen({lm_head.rows * lm_head.row_bytes(), lm_head_screen::bytes_for(lm_head).value_or(UINT64_MAX),
                           is_admitted, tables_.has_threads, available_memory()});
        if (choice.is_made) {
            auto allocated = lm_head_screen::allocate(lm_head, memory());
            if (!allocated) {
                choice.note = sentence({"head: as stored, because ", allocated.error().message});
            } else if (!screen_.make_in_background(*std::move(allocated), *tables_.loops, lm_head)) {
                choice.note = "head: as stored, because the operating system refused a thread to make a screen";
            }
        }
        if (!choice.note.empty()) {
            facts_->notes.push_back(std::move(choice.note));
        }
    }

    /// What models with scaled_blocks say: others have BitNet's int8 with a scale for each token.
    [[nodiscard]] std::string note_of_activations() const {
        const activation_rounding rounding = tensors_.activations();
        if (rounding == activation_rounding::none) {
            return "activations are not rounded before they meet ternary weights";
        }
        const std::string_view scale = rounding == activation_rounding::per_token ? "token"
                                       : rounding == activation_rounding::per_128 ? "128 columns"
                                                                                  : "32 columns";
        return sentence(
            {"ternary weights, as ", tensors_.layout(), ", meet activations in int8 with a scale for each ", scale});
    }

    void describe() {
        if (tensors_.has_blocks()) {
            facts_->notes.push_back(note_of_activations());
        }
        if (tensors_.repacked_tensors() != 0) {
            facts_->notes.push_back(sentence({tensors_.repacked_tensors(), " ternary tensors were repacked to layout ",
                                              tensors_.layout(), ": ", tensors_.repacked_bytes(), " bytes"}));
        }
        if (auto note = layout_note(tensors_.layout(), facts_->source.size(), tensors_.repacked_tensors() != 0);
            !note.empty()) {
            facts_->notes.push_back(std::move(note));
        }
        about_ = {&facts_->parameters,
                  &facts_->file(),
                  facts_->text ? &*facts_->text : nullptr,
                  &facts_->sampling,
                  facts_->notes,
                  tables_.isa,
                  tensors_.layout(),
                  tensors_.repacked_bytes(),
                  screen_.own_bytes(),
                  tensors_.activations()};
    }

    const engine& tables_;
    std::unique_ptr<model_facts> facts_;
    model_fingerprint identity_;
    weights tensors_;
    model_screen screen_; ///< the last one: its thread reads the others
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
