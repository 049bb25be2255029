// SPDX-License-Identifier: MIT
// report: what a GGUF file holds, what would be made of it, and whether it runs here.
#pragma once

#include "ladder.hpp"
#include "model_options.hpp"
#include "utf8_path.hpp"

#include <bitnet/checkpoint/block_rows.hpp>
#include <bitnet/checkpoint/float_tensor.hpp>
#include <bitnet/checkpoint/hyper_parameter_reader.hpp>
#include <bitnet/checkpoint/layout_for.hpp>
#include <bitnet/checkpoint/model_file.hpp>
#include <bitnet/checkpoint/sampling_advice_reader.hpp>
#include <bitnet/checkpoint/ternary_rows.hpp>
#include <bitnet/checkpoint/ternary_source.hpp>
#include <bitnet/io/byte_source.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/text/open_chat_template.hpp>
#include <bitnet/text/open_tokenizer.hpp>
#include <bitnet/thread/thread_pool.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace tools {

/// All tensors of one type together.
struct total {
    std::uint64_t tensors = 0;
    std::uint64_t elements = 0;
    std::uint64_t bytes = 0;

    void add(const bitnet::gguf_tensor& tensor) {
        ++tensors;
        elements += bitnet::element_count(tensor.dims).value_or(0);
        bytes += tensor.bytes.size();
    }
    [[nodiscard]] double bits_per_element() const {
        return elements == 0 ? 0 : 8 * static_cast<double>(bytes) / static_cast<double>(elements);
    }
};

/// How dialogs are written, and what ends an answer.
struct chat_report {
    std::string_view in_file; ///< the file's own template; empty if it has none
    bitnet::result<bitnet::chat_format_choice> choice;
    std::vector<bitnet::token> stops;
    bool has_thoughts = false;
    std::array<std::string, 3> prompts; ///< after the header of an answer, by bitnet::chat_thinking
    std::string example;                ///< a question and the prompt of its answer
    bitnet::result<std::string> tools;  ///< the same with a tool, a call and its result, or why that is not to be had
};

/// What is allocated, in bytes, beside the file.
struct memory_report {
    /// Of a session with so many positions.
    struct session {
        std::size_t context;
        std::uint64_t kv_f16;
        std::uint64_t kv_f32;
        std::uint64_t kv_i8;
        std::uint64_t working; ///< all else
    };

    std::uint64_t model = 0; ///< whatever the sessions: repacked tensors, norms, tokenizer, tables
    std::vector<session> sessions;
    std::uint64_t screen = 0;           ///< what a screened head takes in the model; 0 if there is none
    std::uint64_t screened_session = 0; ///< and in each session
};

/// All that is known of a file; what could not be found out is a sentence.
struct report {
    const bitnet::gguf_file& file;
    std::span<const bitnet::byte_source> sources; ///< the files that hold tensors
    bool is_checkpoint;                           ///< a directory
    std::uint64_t file_bytes;
    std::map<std::string_view, total> totals; ///< by type
    total all;
    bitnet::result<bitnet::hyper_parameters> parameters;
    bitnet::result<bitnet::tokenizer> text;
    chat_report chat;
    bitnet::sampling_advice sampling;
    std::uint64_t ternary_tensors = 0;
    std::vector<std::string> bad_tensors; ///< codes and scales that are none
    memory_report memory;
    bitnet::result<bitnet::any_model> opened;

    [[nodiscard]] bool runs() const { return opened && bad_tensors.empty(); }
    [[nodiscard]] std::string why_not() const {
        return opened ? bad_tensors.empty() ? "" : bad_tensors.front() : opened.error().message;
    }
};

/// Looks at the scale and every code of every ternary tensor. A tensor of a type that is none is left to open().
inline void scan(report& made, const model_options& chosen) {
    const auto pool = bitnet::thread_pool::open(chosen.threads);
    if (!pool) {
        made.bad_tensors.push_back(pool.error().message);
        return;
    }
    for (const bitnet::gguf_tensor& tensor : made.file.tensors()) {
        const bool is_head = tensor.name == "token_embd.weight" || tensor.name == "output.weight";
        if (bitnet::detail::has_block_scales(tensor.type) && tensor.rank == 2 &&
            (is_head || bitnet::is_ternary_place(tensor.name))) {
            ++made.ternary_tensors;
            if (const auto good = bitnet::detail::block_rows(tensor).find_fault(**pool, made.file.name()); !good) {
                made.bad_tensors.push_back(good.error().message);
            }
            continue;
        }
        if (!bitnet::is_ternary_place(tensor.name)) {
            continue;
        }
        const auto source = bitnet::detail::ternary_source::open(made.file, tensor, chosen.reading(), **pool);
        if (!source && source.error().code == bitnet::errc::unsupported_type) {
            continue;
        }
        ++made.ternary_tensors;
        if (!source) {
            made.bad_tensors.push_back(source.error().message);
            continue;
        }
        const auto ignore = [](std::size_t, const std::uint8_t*, std::size_t) noexcept {};
        const auto read =
            bitnet::detail::for_each_rows(**pool, source->rows(), tensor, made.file.name(), 32,
                                          source->stride(static_cast<std::size_t>(tensor.dims[0])), ignore);
        if (!read) {
            made.bad_tensors.push_back(read.error().message);
        }
    }
}

/// What dialogs look like, without and with a tool.
inline void show_dialogs(const bitnet::chat_template& chat, chat_report& made) {
    constexpr std::string_view tools = "[{\"type\": \"function\", \"function\": {\"name\": \"dice\", \"parameters\": "
                                       "{\"type\": \"object\", \"properties\": {}}}}]";
    made.has_thoughts = chat.has_thoughts();
    for (std::size_t i = 0; i < made.prompts.size(); ++i) {
        made.prompts[i] = chat.prompt(static_cast<bitnet::chat_thinking>(i));
    }
    const bitnet::chat_tool_call call{"dice", "{}"};
    const std::array<bitnet::chat_message, 3> all{
        {{"user", "Hello", {}}, {"assistant", "", {&call, 1}}, {"tool", "4", {}}}};
    const auto plain = chat.render(std::span(all).first(1));
    made.example = plain ? *plain : plain.error().message;
    made.tools = chat.render(all, true, {.tools = tools});
}

inline chat_report look_at_chat(const bitnet::gguf_file& file, const bitnet::result<bitnet::tokenizer>& text,
                                std::string_view wanted) {
    const auto in_file = file.get_or<std::string_view>("tokenizer.chat_template", {});
    chat_report made{.in_file = in_file ? *in_file : std::string_view{},
                     .choice = bitnet::chat_format_choice{},
                     .stops = {},
                     .prompts = {},
                     .example = {},
                     .tools = std::string()};
    if (!text) {
        made.choice = bitnet::error{text.error().code, "there is no tokenizer to write dialogs with"};
        return made;
    }
    const auto chat = bitnet::chat_template::open(file, *text, wanted);
    if (chat) {
        made.choice = bitnet::chat_format_choice(chat->choice());
        made.stops.assign(chat->stop_tokens().begin(), chat->stop_tokens().end());
        show_dialogs(*chat, made);
    } else {
        made.choice = bitnet::error{chat.error()};
    }
    return made;
}

/// For 512 positions, each further power of two from 2048 on below the model's context, and for that.
inline memory_report estimated_memory(const bitnet::model_file& source, const model_options& chosen) {
    memory_report made;
    const auto parameters = bitnet::hyper_parameters::read(source.gguf());
    bitnet::open_options options = chosen.to_open();
    const auto estimate = [&](std::size_t context, std::string_view kv) {
        const auto found = estimate_memory(source, options, {.context = context}, chosen.isa, kv);
        return found ? *found : bitnet::memory_estimate{};
    };
    const auto add = [&](std::size_t context) {
        const bitnet::memory_estimate all = estimate(context, "f16");
        made.model = all.model() - all.copied;
        made.sessions.push_back({context, all.keys_and_values, estimate(context, "f32").keys_and_values,
                                 estimate(context, "i8").keys_and_values, all.session() - all.keys_and_values});
    };
    for (std::size_t context = 512; parameters && context < parameters->context; context *= context == 512 ? 4 : 2) {
        add(context);
    }
    if (parameters) {
        add(parameters->context);
        const bitnet::memory_estimate stored = estimate(1, "f16");
        options.lm_head = bitnet::lm_head_mode::screened;
        const bitnet::memory_estimate screened = estimate(1, "f16");
        made.screen = screened.screen;
        made.screened_session = screened.scratch - stored.scratch;
    }
    return made;
}

inline report look_at(const bitnet::model_file& source, const model_options& chosen) {
    std::error_code ignored;
    const bitnet::gguf_file& file = source.gguf();
    report made{.file = file,
                .sources = source.sources(),
                .is_checkpoint = std::filesystem::is_directory(utf8_path(chosen.file), ignored),
                .file_bytes = source.size(),
                .totals = {},
                .all = {},
                .parameters = bitnet::hyper_parameters::read(file),
                .text = bitnet::tokenizer::open(file, {.pre_tokenizer = chosen.pre_tokenizer}),
                .chat = {.in_file = {},
                         .choice = bitnet::chat_format_choice{},
                         .stops = {},
                         .prompts = {},
                         .example = {},
                         .tools = std::string()},
                .sampling = {},
                .ternary_tensors = 0,
                .bad_tensors = {},
                .memory = estimated_memory(source, chosen),
                .opened = open_model(chosen.file, chosen.to_open(), chosen.isa, chosen.kv)};
    for (const bitnet::gguf_tensor& tensor : file.tensors()) {
        made.totals[bitnet::name_of(tensor.type)].add(tensor);
        made.all.add(tensor);
    }
    made.chat = look_at_chat(file, made.text, chosen.chat_format);
    std::vector<std::string> noted; // by the model, too
    made.sampling = bitnet::sampling_advice::read(file, noted);
    scan(made, chosen);
    return made;
}

/// The type of a tensor, "none" where there is no such tensor.
inline std::string_view type_of(const bitnet::gguf_file& file, std::string_view tensor) {
    const auto* found = file.find_tensor(tensor);
    return found != nullptr ? bitnet::name_of(found->type) : "none";
}

inline std::string_view layout_name(const bitnet::gguf_file& file) {
    const auto type = bitnet::ternary_type_of(file);
    return type ? bitnet::name_of(*type) : "none";
}

/// What an architecture is known for; empty for one that is not known.
inline std::string_view family_of(const bitnet::hyper_parameters& model) {
    const std::string_view architecture = model.architecture;
    if (architecture.starts_with("bitnet") && model.activation == bitnet::activation_function::relu2) {
        return "BitNet b1.58 2B-4T";
    }
    if (architecture == "bitnet") {
        return "BitNet b1.58 large and 3B";
    }
    if (architecture == "llama") {
        return "LLaMA, here with ternary weights: Llama3-8B-1.58, Falcon3-1.58, Falcon-E";
    }
    if (model.is_embedder) {
        return "BitNet embedding";
    }
    if (architecture == "minicpm") {
        return "MiniCPM, here with ternary weights: BitCPM";
    }
    return architecture == "qwen2"   ? "Qwen2, here with ternary weights: the language model of VibeVoice-ASR-BitNet"
           : architecture == "qwen3" ? "Qwen3, here with ternary weights: Ternary Bonsai"
                                     : "";
}

/// What goes with the codes of ternary tensors: "a scale for each 128 columns".
inline std::string scales_of(const bitnet::gguf_file& file) {
    const auto* tensor = file.find_tensor("blk.0.attn_q.weight");
    if (tensor == nullptr) {
        return "no scales";
    }
    if (!bitnet::detail::has_block_scales(tensor->type) || !bitnet::detail::has_several_scales(*tensor)) {
        return "one scale for each tensor";
    }
    return "a scale for each " + std::to_string(bitnet::detail::block_rows(*tensor).block_columns()) + " columns";
}

/// Which program's own a tensor type is; empty for types that all read alike.
inline std::string_view owner_of(std::string_view type) {
    if (type == "I2_S" || type == "I8_S" || type == "TL1" || type == "TL2") {
        return "bitnet.cpp";
    }
    if (type == "PQ2_0" || type == "PTQ1_0") {
        return "PrismML's llama.cpp";
    }
    return type.starts_with("IQ1_BN") || type.starts_with("IQ2_BN") ? "ik_llama.cpp" : "";
}

/// What other programs may stumble over, a sentence each.
inline std::vector<std::string> peculiarities(const report& made) {
    std::vector<std::string> all;
    if (made.file.version() != 3) {
        all.push_back("the file is of GGUF version " + std::to_string(made.file.version()) + ", 3 is usual");
    }
    if (made.totals.contains("Q2_0") || made.totals.contains("Q2_0_G64")) {
        all.emplace_back("tensor type 42, Q2_0, has blocks of 64 columns in llama.cpp and of 128 in older files of "
                         "PrismML; only the offsets of the tensors tell which");
    }
    for (const auto& [type, sum] : made.totals) {
        if (const std::string_view owner = owner_of(type); !owner.empty()) {
            all.push_back("tensor type " + std::string(type) + " is " + std::string(owner) +
                          "'s own; elsewhere its id is unknown or means another type");
        }
    }
    if (made.parameters && made.parameters->architecture == "bitnet" &&
        made.parameters->activation == bitnet::activation_function::relu2 &&
        made.file.find("bitnet.hidden_activation") == nullptr) {
        all.emplace_back(
            "bitnet.hidden_activation is missing: programs that do not infer it run SiLU instead of ReLU2");
    }
    if (made.text && made.text->pre_tokenizer().inferred) {
        all.emplace_back("tokenizer.ggml.pre is missing: programs that do not infer it split text in another way");
    }
    if (made.chat.choice && made.chat.choice->corrected) {
        all.emplace_back("tokenizer.chat_template is known to be wrong");
    } else if (made.text && made.chat.in_file.empty()) {
        all.emplace_back("tokenizer.chat_template is missing");
    }
    const auto eos = made.text ? made.text->eos() : std::nullopt;
    if (made.chat.choice && eos && !bitnet::end_of_turn(made.chat.choice->format).empty()) {
        const auto mark = made.text->find_special(bitnet::end_of_turn(made.chat.choice->format));
        if (mark != eos) {
            all.push_back("answers end with token " + std::to_string(*mark) + ", not with EOS, " +
                          std::to_string(*eos));
        }
    }
    return all;
}

} // namespace tools
