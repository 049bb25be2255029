// SPDX-License-Identifier: MIT
// A report as lines for people.
#pragma once

#include "inspection.hpp"
#include "inspection_json.hpp"
#include "json_writer.hpp"
#include "sampling_options.hpp"

#include <bitnet/io/byte_source.hpp>
#include <bitnet/io/gguf_value.hpp>
#include <bitnet/io/quoted_name.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <string_view>

namespace tools {

/// `text` cut to what fits a line.
inline std::string shortened(std::string text) {
    constexpr std::size_t shown_characters = 80;
    if (text.size() > shown_characters) {
        text.resize(shown_characters - 3);
        text += "...";
    }
    return text;
}

inline void print_metadata(const bitnet::gguf_file& file) {
    std::printf("metadata\n");
    for (const bitnet::gguf_value& value : file.metadata()) {
        json_writer json; // its strings are pure ASCII: nothing in a file can reach the terminal as it is
        write_value(json, value);
        std::string type(bitnet::name_of(value.type));
        if (value.type == bitnet::gguf_type::array) {
            type = std::to_string(value.count) + " " + std::string(bitnet::name_of(value.element_type));
        }
        const std::string key = bitnet::detail::quoted_name(value.key);
        std::printf("  %-46s %-14s %s\n", key.c_str(), type.c_str(), shortened(json.text()).c_str());
    }
}

inline void print_tensors(const report& made) {
    std::printf("\ntensors (dimensions fastest first)\n");
    for (const bitnet::gguf_tensor& tensor : made.file.tensors()) {
        std::printf("  %-32s %-5s %-16s %12zu bytes\n", bitnet::detail::quoted_name(tensor.name).c_str(),
                    std::string(bitnet::name_of(tensor.type)).c_str(), bitnet::dims_text(tensor).c_str(),
                    tensor.bytes.size());
    }
    const auto line = [](std::string_view name, const total& sum) {
        std::printf("  %-32s %6llu tensors %14llu elements %12llu bytes %9.4f bits each\n", std::string(name).c_str(),
                    static_cast<unsigned long long>(sum.tensors), static_cast<unsigned long long>(sum.elements),
                    static_cast<unsigned long long>(sum.bytes), sum.bits_per_element());
    };
    std::printf("\ntotals\n");
    for (const auto& [type, sum] : made.totals) {
        line(type, sum);
    }
    line("all", made.all);
}

inline void print_model(const report& made) {
    std::printf("\nmodel\n");
    if (!made.parameters) {
        std::printf("  %s\n", made.parameters.error().message.c_str());
        return;
    }
    const bitnet::hyper_parameters& p = *made.parameters;
    const std::string_view family = family_of(p);
    std::printf("  family: %s\n", std::string(family.empty() ? "not known" : family).c_str());
    std::printf("  architecture %s, activation %s, %zu layers, hidden %zu, feed-forward %zu\n", p.architecture.c_str(),
                std::string(bitnet::name_of(p.activation)).c_str(), p.layers, p.hidden, p.feed_forward);
    std::printf("  %zu heads, %zu key and value heads of %zu, vocabulary %zu, context %zu\n", p.heads, p.kv_heads,
                p.head_size, p.vocabulary, p.context);
    const std::string head =
        p.is_embedder
            ? "no head: a text embedding model that pools by " + std::string(bitnet::name_of(p.pooling))
            : "head " + std::string(type_of(made.file, p.lm_head_name())) + " in " + std::string(p.lm_head_name());
    std::printf("  rotation of %s, ternary tensors %s with %s, embedding %s, %s\n",
                std::string(bitnet::name_of(p.pairing)).c_str(), std::string(layout_name(made.file)).c_str(),
                scales_of(made.file).c_str(), std::string(type_of(made.file, "token_embd.weight")).c_str(),
                head.c_str());
}

inline void print_memory(const report& made) {
    if (made.memory.sessions.empty()) {
        return;
    }
    const auto number = [](std::uint64_t bytes) { return static_cast<unsigned long long>(bytes); };
    std::printf("\nmemory in bytes: %llu of the file, %llu of the model beside it, and for each session\n",
                number(made.file_bytes), number(made.memory.model));
    std::printf("  %9s %14s %14s %14s %14s %16s\n", "positions", "KV as f16", "as f32", "as i8", "working",
                "all, KV as f16");
    for (const memory_report::session& each : made.memory.sessions) {
        std::printf("  %9zu %14llu %14llu %14llu %14llu %16llu\n", each.context, number(each.kv_f16),
                    number(each.kv_f32), number(each.kv_i8), number(each.working),
                    number(made.file_bytes + made.memory.model + each.kv_f16 + each.working));
    }
    if (made.memory.screened_session != 0) {
        std::printf("  a screened head takes %llu more, and %llu more for each session\n", number(made.memory.screen),
                    number(made.memory.screened_session));
    }
}

inline void print_text(const report& made) {
    std::printf("\ntokenizer\n");
    if (!made.text) {
        std::printf("  %s\n", made.text.error().message.c_str());
        return;
    }
    const auto& splitter = made.text->pre_tokenizer();
    std::printf("  %zu tokens, BOS is %sadded, stop tokens", made.text->vocabulary_size(),
                made.text->add_bos() ? "" : "not ");
    for (const bitnet::token id : made.text->stop_tokens()) {
        std::printf(" %d", id);
    }
    std::printf("\n  pre-tokenizer %s%s: %s\n", splitter.name.c_str(), splitter.inferred ? " (inferred)" : "",
                splitter.why.c_str());
    if (!made.opened) { // else they are among the model's notes
        for (const std::string& note : made.text->notes()) {
            std::printf("  note: %s\n", note.c_str());
        }
    }
}

/// What dialogs look like, as JSON strings.
inline void print_dialogs(const chat_report& chat) {
    const auto quoted = [](std::string_view text) {
        std::string made;
        bitnet::detail::append_json_string(made, text);
        return made;
    };
    std::printf("  thoughts: %s\n", chat.has_thoughts ? "known" : "none");
    if (chat.has_thoughts) {
        std::printf("    an answer begins with %s, told to think with %s, told not to with %s\n",
                    quoted(chat.prompts[0]).c_str(), quoted(chat.prompts[1]).c_str(), quoted(chat.prompts[2]).c_str());
    }
    std::printf("  a question: %s\n", quoted(chat.example).c_str());
    if (chat.tools) {
        std::printf("  tools: %s\n", quoted(*chat.tools).c_str());
    } else {
        std::printf("  tools: none: %s\n", chat.tools.error().message.c_str());
    }
}

inline void print_chat(const report& made) {
    std::printf("\nchat\n  template of the file: %s\n",
                made.chat.in_file.empty() ? "none" : bitnet::detail::quoted_name(made.chat.in_file).c_str());
    if (!made.chat.choice) {
        std::printf("  %s\n", made.chat.choice.error().message.c_str());
        return;
    }
    const bitnet::chat_format_choice& choice = *made.chat.choice;
    std::printf("  format %s%s: %s\n  answers end with", std::string(bitnet::name_of(choice.format)).c_str(),
                choice.inferred ? " (inferred)" : "", choice.why.c_str());
    for (const bitnet::token id : made.chat.stops) {
        std::printf(" %d", id);
    }
    std::printf("\n");
    print_dialogs(made.chat);
    const std::string advised = sampling_options{}.followed(made.sampling);
    std::printf("%s%s%s", advised.empty() ? "" : "  ", advised.c_str(), advised.empty() ? "" : "\n");
}

inline void print_peculiarities(const report& made) {
    const auto all = peculiarities(made);
    std::printf("\nnot standard%s\n", all.empty() ? ": nothing known" : "");
    for (const std::string& sentence : all) {
        std::printf("  %s\n", sentence.c_str());
    }
}

inline std::string described(bitnet::activation_rounding rounding) {
    switch (rounding) {
    case bitnet::activation_rounding::none:
        return "in floats";
    case bitnet::activation_rounding::per_32:
        return "in int8 with a scale for each 32 columns";
    case bitnet::activation_rounding::per_128:
        return "in int8 with a scale for each 128 columns";
    default:
        return "in int8 with a scale for each token";
    }
}

inline void print_verdict(const report& made) {
    if (made.ternary_tensors != 0) {
        std::printf("\n%llu ternary tensors, all scales and codes looked at: %zu mistakes\n",
                    static_cast<unsigned long long>(made.ternary_tensors), made.bad_tensors.size());
    } else {
        std::printf("\nno ternary tensors\n");
    }
    for (const std::string& sentence : made.bad_tensors) {
        std::printf("  %s\n", sentence.c_str());
    }
    if (made.opened) {
        for (const std::string& note : made.opened->notes()) {
            std::printf("note: %s\n", note.c_str());
        }
    }
    if (made.runs()) {
        std::printf("runs here, with %s, in layout %s, activations %s\n", std::string(made.opened->isa()).c_str(),
                    std::string(made.opened->layout()).c_str(), described(made.opened->activations()).c_str());
    } else {
        std::printf("does not run: %s\n", made.why_not().c_str());
    }
}

/// The files of a split model.
inline void print_shards(std::span<const bitnet::byte_source> shards) {
    if (shards.size() == 1) {
        return;
    }
    std::printf("split into %zu shards, shown as one file\n", shards.size());
    for (const bitnet::byte_source& shard : shards) {
        std::printf("  %s: %zu bytes\n", shard.name().c_str(), shard.bytes().size());
    }
}

inline void print_table(const report& made) {
    const auto bytes = static_cast<unsigned long long>(made.file_bytes);
    if (made.is_checkpoint) {
        std::printf("%s: Hugging Face checkpoint, %llu bytes of safetensors, shown as it is read: as GGUF\n\n",
                    made.file.name().c_str(), bytes);
    } else {
        std::printf("%s: GGUF version %u, %llu bytes, alignment %u\n", made.file.name().c_str(), made.file.version(),
                    bytes, made.file.alignment());
        print_shards(made.sources);
        std::printf("\n");
    }
    print_metadata(made.file);
    print_tensors(made);
    print_model(made);
    print_memory(made);
    print_text(made);
    print_chat(made);
    print_peculiarities(made);
    print_verdict(made);
}

} // namespace tools
