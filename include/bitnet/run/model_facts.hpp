// SPDX-License-Identifier: MIT
// model_facts: what is known of a model before its weights are laid out for an engine.
#ifndef BITNET_RUN_MODEL_FACTS_HPP
#define BITNET_RUN_MODEL_FACTS_HPP

#include <bitnet/checkpoint/hyper_parameters.hpp>
#include <bitnet/checkpoint/model_file.hpp>
#include <bitnet/checkpoint/sampling_advice_reader.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/model/rotations.hpp>
#include <bitnet/run/open_options.hpp>
#include <bitnet/run/text_part.hpp>
#include <bitnet/text/tokenizer.hpp>

#include <memory>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

struct model_facts {
    model_file source;
    hyper_parameters parameters;
    std::optional<tokenizer> text;
    rotations turns;
    std::vector<std::string> notes;
    sampling_advice sampling;

    [[nodiscard]] const gguf_file& file() const noexcept { return source.gguf(); }

    [[nodiscard]] static result<std::unique_ptr<model_facts>> read(model_file source, const open_options& options);

private:
    model_facts(model_file opened, hyper_parameters read, rotations opened_turns)
        : source(std::move(opened)), parameters(std::move(read)), turns(std::move(opened_turns)),
          notes(source.notes().begin(), source.notes().end()) {
        notes.insert(notes.end(), parameters.notes.begin(), parameters.notes.end());
    }

    [[nodiscard]] result<void> read_tokenizer(const open_options& options);
    void note_what_is_not_used();
};

inline result<std::unique_ptr<model_facts>> model_facts::read(model_file source, const open_options& options) {
    auto parameters = text_part<>::read(source.gguf());
    if (!parameters) {
        return failed(parameters);
    }
    auto turns = rotations::open(*parameters);
    if (!turns) {
        return failed(turns);
    }
    std::unique_ptr<model_facts> facts(new (std::nothrow)
                                           model_facts(std::move(source), *std::move(parameters), *std::move(turns)));
    if (facts == nullptr) {
        return error{errc::out_of_memory, sentence({"model: ", sizeof(model_facts), " bytes could not be allocated"})};
    }
    facts->note_what_is_not_used();
    facts->sampling = sampling_advice::read(facts->file(), facts->notes);
    if (auto read = facts->read_tokenizer(options); !read) {
        return failed(read);
    }
    return facts;
}

inline void model_facts::note_what_is_not_used() {
    if (!parameters.has_own_lm_head && file().find_tensor("output.weight") != nullptr) {
        notes.push_back(sentence({"tensor 'output.weight' is not used: architecture ", parameters.architecture,
                                  " ties the head to the embedding"}));
    }
    const std::string pooling_key = parameters.architecture + ".pooling_type";
    const auto said = file().get_or<std::uint64_t>(pooling_key, 0);
    if (parameters.is_embedder && said && *said == 0) {
        notes.push_back(sentence({"'", pooling_key,
                                  "' does not say how embeddings are made: as the mean of all states, "
                                  "as in the published text embedding models"}));
    }
}

inline result<void> model_facts::read_tokenizer(const open_options& options) {
    if (!options.load_tokenizer) {
        return {};
    }
    auto opened = text_part<>::open(file(), {.pre_tokenizer = options.pre_tokenizer});
    if (!opened) {
        return failed(opened);
    }
    if (opened->vocabulary_size() != parameters.vocabulary) {
        return error{errc::inconsistent,
                     sentence({source.name(), ": 'tokenizer.ggml.tokens' has ", opened->vocabulary_size(),
                               " entries, 'token_embd.weight' has ", parameters.vocabulary, " rows"})};
    }
    if (opened->pre_tokenizer().inferred) {
        notes.push_back(
            sentence({"pre-tokenizer ", opened->pre_tokenizer().name, " was inferred: ", opened->pre_tokenizer().why}));
    }
    notes.insert(notes.end(), opened->notes().begin(), opened->notes().end());
    text.emplace(*std::move(opened));
    return {};
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
