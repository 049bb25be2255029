// SPDX-License-Identifier: MIT
// A report as one JSON object.
#pragma once

#include "inspection.hpp"
#include "json_writer.hpp"

#include <bitnet/io/gguf_value.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace tools {

/// How many elements of a long array are shown.
inline constexpr std::size_t shown_elements = 6;

/// Calls f(number) with element `i`, in its own type. \pre a number or a bool
template <class F> void with_element(const bitnet::gguf_value& value, std::uint64_t i, F&& f) {
    using bitnet::gguf_type;
    switch (value.element_type) {
    case gguf_type::u8:
        return f(value.element<std::uint8_t>(i));
    case gguf_type::i8:
        return f(value.element<std::int8_t>(i));
    case gguf_type::u16:
        return f(value.element<std::uint16_t>(i));
    case gguf_type::i16:
        return f(value.element<std::int16_t>(i));
    case gguf_type::u32:
        return f(value.element<std::uint32_t>(i));
    case gguf_type::i32:
        return f(value.element<std::int32_t>(i));
    case gguf_type::u64:
        return f(value.element<std::uint64_t>(i));
    case gguf_type::i64:
        return f(value.element<std::int64_t>(i));
    case gguf_type::f32:
        return f(value.element<float>(i));
    case gguf_type::f64:
        return f(value.element<double>(i));
    default:
        return f(value.element<bool>(i));
    }
}

/// The first elements of an array, as JSON.
inline void write_elements(json_writer& json, const bitnet::gguf_value& value) {
    json.begin('[');
    if (value.is_array_of(bitnet::gguf_type::string)) {
        std::size_t left = shown_elements;
        for (const std::string_view element : value.strings()) {
            if (left-- == 0) {
                break;
            }
            json.value(element);
        }
    } else {
        for (std::uint64_t i = 0; i < std::min<std::uint64_t>(value.count, shown_elements); ++i) {
            with_element(value, i, [&](auto number) { json.value(number); });
        }
    }
    json.end(']');
}

inline void write_value(json_writer& json, const bitnet::gguf_value& value) {
    if (value.type == bitnet::gguf_type::array) {
        write_elements(json, value);
    } else if (value.type == bitnet::gguf_type::string) {
        json.value(value.string());
    } else {
        with_element(value, 0, [&](auto number) { json.value(number); });
    }
}

inline void write_metadata(json_writer& json, const bitnet::gguf_file& file) {
    json.begin("metadata", '[');
    for (const bitnet::gguf_value& value : file.metadata()) {
        const bool array = value.type == bitnet::gguf_type::array;
        json.begin('{');
        json.member("key", value.key);
        json.member("type", bitnet::name_of(value.type));
        if (array) {
            json.member("element_type", bitnet::name_of(value.element_type));
            json.member("count", value.count);
        }
        json.name(array ? "first" : "value");
        write_value(json, value);
        json.end('}');
    }
    json.end(']');
}

inline void write_total(json_writer& json, const total& sum) {
    json.member("tensors", sum.tensors);
    json.member("elements", sum.elements);
    json.member("bytes", sum.bytes);
    json.member("bits_per_element", sum.bits_per_element());
}

inline void write_tensors(json_writer& json, const report& made) {
    json.begin("tensors", '[');
    for (const bitnet::gguf_tensor& tensor : made.file.tensors()) {
        json.begin('{');
        json.member("name", tensor.name);
        json.member("type", bitnet::name_of(tensor.type));
        json.begin("dims", '[');
        for (std::uint32_t i = 0; i < tensor.rank; ++i) {
            json.value(tensor.dims[i]);
        }
        json.end(']');
        json.member("offset", tensor.offset);
        json.member("bytes", tensor.bytes.size());
        json.end('}');
    }
    json.end(']');
    json.begin("totals", '[');
    for (const auto& [type, sum] : made.totals) {
        json.begin('{');
        json.member("type", type);
        write_total(json, sum);
        json.end('}');
    }
    json.end(']');
    json.begin("total", '{');
    write_total(json, made.all);
    json.end('}');
}

inline void write_model(json_writer& json, const report& made) {
    json.begin("model", '{');
    if (made.parameters) {
        const bitnet::hyper_parameters& p = *made.parameters;
        json.member("architecture", p.architecture);
        json.member("family", family_of(p));
        json.member("name", p.model_name);
        json.member("layers", p.layers);
        json.member("hidden", p.hidden);
        json.member("feed_forward", p.feed_forward);
        json.member("heads", p.heads);
        json.member("kv_heads", p.kv_heads);
        json.member("head_size", p.head_size);
        json.member("vocabulary", p.vocabulary);
        json.member("context", p.context);
        json.member("activation", bitnet::name_of(p.activation));
        json.member("rotation", bitnet::name_of(p.pairing));
        json.member("embedding_type", type_of(made.file, "token_embd.weight"));
        if (!p.is_embedder) {
            json.member("head_type", type_of(made.file, p.lm_head_name()));
            json.member("head", p.lm_head_name());
        }
        json.member("is_embedder", p.is_embedder);
        json.member("pooling", bitnet::name_of(p.pooling));
        json.member("layout", layout_name(made.file));
        json.member("scales", scales_of(made.file));
    } else {
        json.member("error", made.parameters.error().message);
    }
    json.end('}');
}

inline void write_text(json_writer& json, const report& made) {
    json.begin("tokenizer", '{');
    if (made.text) {
        json.member("vocabulary", made.text->vocabulary_size());
        json.member("pre_tokenizer", made.text->pre_tokenizer().name);
        json.member("inferred", made.text->pre_tokenizer().inferred);
        json.member("why", made.text->pre_tokenizer().why);
        json.member("add_bos", made.text->add_bos());
        json.begin("stop_tokens", '[');
        for (const bitnet::token id : made.text->stop_tokens()) {
            json.value(id);
        }
        json.end(']');
        json.begin("notes", '[');
        for (const std::string& note : made.text->notes()) {
            json.value(note);
        }
        json.end(']');
    } else {
        json.member("error", made.text.error().message);
    }
    json.end('}');
}

inline void write_dialogs(json_writer& json, const chat_report& chat) {
    json.member("thoughts", chat.has_thoughts);
    json.member("prompt", chat.prompts[0]);
    json.member("prompt_to_think", chat.prompts[1]);
    json.member("prompt_not_to_think", chat.prompts[2]);
    json.member("example", chat.example);
    json.member("tools", chat.tools.has_value());
    json.member(chat.tools ? "example_with_tools" : "why_no_tools",
                chat.tools ? *chat.tools : chat.tools.error().message);
}

inline void write_sampling(json_writer& json, const bitnet::sampling_advice& advice) {
    json.begin("sampling", '{');
    const auto write = [&](std::string_view name, const auto& value) {
        if (value) {
            json.member(name, *value);
        }
    };
    write("temperature", advice.temperature);
    write("top_k", advice.top_k);
    write("top_p", advice.top_p);
    write("min_p", advice.min_p);
    json.end('}');
}

inline void write_chat(json_writer& json, const report& made) {
    json.begin("chat", '{');
    if (!made.chat.in_file.empty()) {
        json.member("template", made.chat.in_file);
    }
    if (made.chat.choice) {
        json.member("format", bitnet::name_of(made.chat.choice->format));
        json.member("inferred", made.chat.choice->inferred);
        json.member("corrected", made.chat.choice->corrected);
        json.member("why", made.chat.choice->why);
        json.begin("stop_tokens", '[');
        for (const bitnet::token id : made.chat.stops) {
            json.value(id);
        }
        json.end(']');
        write_dialogs(json, made.chat);
    } else {
        json.member("error", made.chat.choice.error().message);
    }
    json.end('}');
}

inline void write_memory(json_writer& json, const report& made) {
    json.member("model_bytes", made.memory.model);
    json.begin("memory", '[');
    for (const memory_report::session& each : made.memory.sessions) {
        json.begin('{');
        json.member("context", each.context);
        json.member("kv_cache_bytes_f16", each.kv_f16);
        json.member("kv_cache_bytes_f32", each.kv_f32);
        json.member("kv_cache_bytes_i8", each.kv_i8);
        json.member("working_bytes", each.working);
        json.member("all_bytes_f16", made.file_bytes + made.memory.model + each.kv_f16 + each.working);
        json.end('}');
    }
    json.end(']');
    if (made.memory.screened_session != 0) {
        json.begin("screened_head", '{');
        json.member("screen_bytes", made.memory.screen);
        json.member("session_bytes", made.memory.screened_session);
        json.end('}');
    }
}

inline void write_strings(json_writer& json, std::string_view key, std::span<const std::string> strings) {
    json.begin(key, '[');
    for (const std::string& each : strings) {
        json.value(each);
    }
    json.end(']');
}

inline std::string as_json(const report& made) {
    json_writer json;
    json.begin('{');
    json.member("file", made.file.name());
    json.member("bytes", made.file_bytes);
    json.begin("files", '[');
    for (const bitnet::byte_source& source : made.sources) {
        json.begin('{');
        json.member("name", source.name());
        json.member("bytes", source.bytes().size());
        json.end('}');
    }
    json.end(']');
    json.member("is_checkpoint", made.is_checkpoint);
    json.member("gguf_version", made.file.version());
    json.member("alignment", made.file.alignment());
    write_metadata(json, made.file);
    write_tensors(json, made);
    write_model(json, made);
    write_text(json, made);
    write_chat(json, made);
    write_sampling(json, made.sampling);
    write_memory(json, made);
    write_strings(json, "non_standard", peculiarities(made));
    json.member("ternary_tensors", made.ternary_tensors);
    write_strings(json, "bad_tensors", made.bad_tensors);
    json.member("runs", made.runs());
    if (made.opened) {
        json.member("isa", made.opened->isa());
        json.member("runs_in_layout", made.opened->layout());
        json.member("activations", bitnet::name_of(made.opened->activations()));
        json.member("repacked_bytes", made.opened->repacked_bytes());
        write_strings(json, "notes", made.opened->notes());
    }
    if (!made.runs()) {
        json.member("why_not", made.why_not());
    }
    json.end('}');
    return json.text() + "\n";
}

} // namespace tools
