// SPDX-License-Identifier: MIT
// model<P>: an opened model file: hyper-parameters, tokenizer and weights. Immutable, shared by any number of sessions.
#pragma once

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/io/byte_source.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/kernel/ternary_layout.hpp>
#include <bitnet/model/hyper_parameters.hpp>
#include <bitnet/model/model_file.hpp>
#include <bitnet/model/screened_head.hpp>
#include <bitnet/model/self_test.hpp>
#include <bitnet/model/weights.hpp>
#include <bitnet/policy.hpp>
#include <bitnet/simd/rotary.hpp>
#include <bitnet/text/open_tokenizer.hpp>

#include <cassert>
#include <cstddef>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI {

/// How sessions find the largest logits.
enum class head_mode {
    as_stored, ///< by reading the whole head
    screened,  ///< the same tokens and logits by reading two fifths of an F16 head: see screened_head
};

struct open_options {
    /// Name of the pre-tokenizer, instead of the file's own or the inferred one: see tokenizer_options.
    std::string_view pre_tokenizer = {};
    /// Whether the tokenizer is read. Without one a model still runs on token ids, and opens faster.
    bool load_tokenizer = true;
    /// Byte order of the file's I2_S tensors, which no file tells: see i2s_order.
    i2s_order file_order = i2s_order::planar_128;
    /// The text of the kernel_config.ini that a file in TL1 or TL2 of microsoft/BitNet was written with: the file does
    /// not hold its tile sizes. Needed while the model is opened.
    std::string_view lookup_tiling = {};
    /// Whether every ternary code is looked at, to refuse code 3. Reads all weights once, so that by default mapped
    /// files are not scanned and other sources are.
    std::optional<bool> verify_codes = {};
    /// A screened head takes 6.25 bits more memory for each of its weights, and the time to read the head once. Heads
    /// in F16, BF16 and F32 have one; others are used as stored, and a note says so.
    head_mode head = head_mode::as_stored;
    /// Threads that repack ternary tensors and make the screen while the model is opened. They are gone when open()
    /// returns.
    std::size_t threads = 1;
};

/// What is known of a model before its weights are laid out for a policy.
struct model_facts {
    model_file source;
    hyper_parameters parameters;
    std::optional<tokenizer> text;
    rotary_frequencies frequencies;
    std::vector<std::string> notes;

    [[nodiscard]] const gguf_file& file() const noexcept { return source.gguf(); }

    [[nodiscard]] static result<std::unique_ptr<model_facts>> read(model_file source, const open_options& options);

private:
    model_facts(model_file opened, hyper_parameters read, rotary_frequencies turns)
        : source(std::move(opened)), parameters(std::move(read)), frequencies(std::move(turns)),
          notes(source.notes().begin(), source.notes().end()) {}

    [[nodiscard]] result<void> read_tokenizer(const open_options& options);
};

/// The type of a file's ternary tensors, so that a program can choose a policy before it opens a model: see
/// model_file::open.
/// \return errc::missing_tensor where the file has no blk.0.attn_q.weight.
[[nodiscard]] inline result<tensor_type> layout_of(const gguf_file& file) {
    const gguf_tensor* tensor = file.find_tensor("blk.0.attn_q.weight");
    if (tensor == nullptr) {
        return error{errc::missing_tensor, file.name() + ": tensor 'blk.0.attn_q.weight': not in the file"};
    }
    return tensor->type;
}
[[nodiscard]] inline result<tensor_type> layout_of(const byte_source& source) {
    const auto file = gguf_file::parse(source.bytes(), source.name());
    return file ? layout_of(*file) : result<tensor_type>(file.error());
}
[[nodiscard]] inline result<tensor_type> layout_of(const model_file& file) { return layout_of(file.gguf()); }

/// A model ready to run with policy P. Move-only; moving it moves nothing that sessions borrow.
/// Memory: the file's pages as the system maps them, norms, tokenizer, and what had to be repacked.
template <policy_type P> class model {
public:
    using policy = P;

    /// Maps and opens what is at `utf8_path`: a GGUF file, or the folder of a Hugging Face checkpoint. The files must
    /// not be shortened meanwhile: see byte_source.
    /// \return errc::unsupported_cpu where P::isa is not available, and any error of model_file::open,
    /// hyper_parameters::read, tokenizer::open, P::pool::open and weights::open: each names its place.
    [[nodiscard]] static result<model> open(std::string_view utf8_path, open_options options = {}) {
        auto source = model_file::open(utf8_path, {options.load_tokenizer, options.pre_tokenizer});
        return source ? open(*std::move(source), options) : result<model>(std::move(source).error());
    }

    /// The same from the bytes of a GGUF file that the model takes over: borrowed memory, a callback's bytes, a file
    /// that was read.
    [[nodiscard]] static result<model> open(byte_source source, open_options options = {}) {
        auto file = model_file::open(std::move(source));
        return file ? open(*std::move(file), options) : result<model>(std::move(file).error());
    }

    /// The same from a file that the program has looked at before, which the model takes over.
    [[nodiscard]] static result<model> open(model_file source, open_options options = {}) {
        if (!isa::enable<typename P::isa>()) {
            return error{errc::unsupported_cpu, source.name() + ": this CPU or operating system does not support " +
                                                    std::string(P::isa::name)};
        }
        if (auto tested = self_test<P>::run(); !tested) {
            return error{tested.error().code, source.name() + ": " + tested.error().message};
        }
        source.advise(access_hint::huge_pages); // where the system maps files so; ignored elsewhere
        auto facts = model_facts::read(std::move(source), options);
        if (!facts) {
            return std::move(facts).error();
        }
        auto pool = P::pool::open(options.threads);
        if (!pool) {
            return std::move(pool).error();
        }
        const weight_options ternary{options.file_order, options.verify_codes.value_or(!(*facts)->source.is_mapped()),
                                     &(*facts)->source, options.lookup_tiling};
        auto tensors = weights<typename P::layout>::open((*facts)->file(), (*facts)->parameters, ternary, **pool);
        if (!tensors) {
            return std::move(tensors).error();
        }
        auto screen = make_screen(**pool, **facts, tensors->head(), options.head, ternary.verify_codes);
        if (!screen) {
            return std::move(screen).error();
        }
        return finish(*std::move(facts), *std::move(tensors), *std::move(screen));
    }

    [[nodiscard]] const hyper_parameters& parameters() const noexcept { return state_->facts->parameters; }
    [[nodiscard]] const gguf_file& file() const noexcept { return state_->facts->file(); }

    [[nodiscard]] bool has_text() const noexcept { return state_->facts->text.has_value(); }
    /// \pre has_text(): the model was opened with open_options::load_tokenizer.
    [[nodiscard]] const tokenizer& text() const noexcept {
        assert(has_text());
        return *state_->facts->text;
    }

    [[nodiscard]] const weights<typename P::layout>& tensors() const noexcept { return state_->tensors; }
    /// Empty unless the model was opened with head_mode::screened.
    [[nodiscard]] const screened_head& screen() const noexcept { return state_->screen; }
    [[nodiscard]] const rotary_frequencies& frequencies() const noexcept { return state_->facts->frequencies; }

    /// What was decided or passed over while opening, a sentence each: an inferred pre-tokenizer, repacked tensors, a
    /// tensor that the architecture does not use.
    [[nodiscard]] std::span<const std::string> notes() const noexcept { return state_->facts->notes; }

private:
    struct state {
        std::unique_ptr<model_facts> facts;
        weights<typename P::layout> tensors;
        screened_head screen;
    };
    explicit model(std::unique_ptr<state> opened) noexcept : state_(std::move(opened)) {}

    [[nodiscard]] static result<screened_head> make_screen(typename P::pool& pool, model_facts& facts,
                                                           const dense_matrix& head, head_mode mode, bool verify) {
        if (mode == head_mode::as_stored || facts.parameters.is_embedder) {
            return screened_head();
        }
        if (!screened_head::admits(head.element)) {
            facts.notes.emplace_back(
                "the head is used as stored: a screen is for F16, BF16 and F32, and this one is " +
                std::string(name_of(facts.file().find_tensor(facts.parameters.head_name())->type)));
            return screened_head();
        }
        const gguf_file& file = facts.file();
        if (const auto* stored = file.find_tensor(screen_name(facts.parameters.head_name())); stored != nullptr) {
            return screened_head::open<P>(pool, head, *stored, file.name(), verify);
        }
        return screened_head::open<P>(pool, head);
    }

    [[nodiscard]] static result<model> finish(std::unique_ptr<model_facts> facts, weights<typename P::layout> tensors,
                                              screened_head screen) {
        if (tensors.repacked_tensors() != 0) {
            facts->notes.push_back(std::to_string(tensors.repacked_tensors()) +
                                   " ternary tensors were repacked to layout " + std::string(P::layout::name) + ": " +
                                   std::to_string(tensors.repacked_bytes()) + " bytes");
        }
        std::unique_ptr<state> opened(new (std::nothrow)
                                          state{std::move(facts), std::move(tensors), std::move(screen)});
        if (opened == nullptr) {
            return error{errc::out_of_memory,
                         "model: " + std::to_string(sizeof(state)) + " bytes could not be allocated"};
        }
        return model(std::move(opened));
    }

    std::unique_ptr<state> state_;
};

inline result<std::unique_ptr<model_facts>> model_facts::read(model_file source, const open_options& options) {
    auto parameters = hyper_parameters::read(source.gguf());
    if (!parameters) {
        return std::move(parameters).error();
    }
    auto frequencies = rotary_frequencies::open(parameters->rope_theta, parameters->head_size, parameters->scaling());
    if (!frequencies) {
        return std::move(frequencies).error();
    }
    std::unique_ptr<model_facts> facts(
        new (std::nothrow) model_facts(std::move(source), *std::move(parameters), *std::move(frequencies)));
    if (facts == nullptr) {
        return error{errc::out_of_memory,
                     "model: " + std::to_string(sizeof(model_facts)) + " bytes could not be allocated"};
    }
    if (!facts->parameters.has_own_head && facts->file().find_tensor("output.weight") != nullptr) {
        facts->notes.emplace_back("tensor 'output.weight' is not used: architecture " + facts->parameters.architecture +
                                  " ties the head to the embedding");
    }
    if (const auto pooling = facts->parameters.pooling;
        facts->parameters.is_embedder && pooling != pooling_type::last) {
        facts->notes.emplace_back("'" + facts->parameters.architecture + ".pooling_type' is " +
                                  std::to_string(static_cast<unsigned>(pooling)) +
                                  "; the embedding is the last token's state nevertheless, as BitNet's embedding "
                                  "models were trained");
    }
    if (auto read = facts->read_tokenizer(options); !read) {
        return std::move(read).error();
    }
    return facts;
}

inline result<void> model_facts::read_tokenizer(const open_options& options) {
    if (!options.load_tokenizer) {
        return {};
    }
    auto opened = tokenizer::open(file(), {.pre_tokenizer = options.pre_tokenizer});
    if (!opened) {
        return std::move(opened).error();
    }
    if (opened->vocabulary_size() != parameters.vocabulary) {
        return error{errc::inconsistent,
                     source.name() + ": 'tokenizer.ggml.tokens' has " + std::to_string(opened->vocabulary_size()) +
                         " entries, 'token_embd.weight' has " + std::to_string(parameters.vocabulary) + " rows"};
    }
    if (opened->pre_tokenizer().inferred) {
        notes.push_back("pre-tokenizer " + opened->pre_tokenizer().name +
                        " was inferred: " + opened->pre_tokenizer().why);
    }
    text.emplace(*std::move(opened));
    return {};
}

} // namespace bitnet::inline BITNET_ABI
