// SPDX-License-Identifier: MIT
// model_options: what all tools that open a model can be told about it.
#pragma once

#include "ladder.hpp"
#include "options.hpp"

#include <bitnet/any.hpp>
#include <bitnet/checkpoint/activation_rounding.hpp>
#include <bitnet/convert/permuted_rows.hpp>
#include <bitnet/text/chat_format.hpp>
#include <bitnet/thread/usable_cores.hpp>

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

namespace tools {

struct model_options {
    std::string file;
    std::string isa;
    std::string kv = "f16";
    std::string pre_tokenizer;
    std::string chat_format;
    std::string i2s_source = "a";
    std::string lookup_tiling;
    std::string head = "automatic";
    std::string pages = "automatic";
    std::string activations = "default";
    std::size_t threads = bitnet::usable_cores();
    std::size_t context = 0;

    static constexpr std::size_t most_threads = bitnet::most_threads;
    static constexpr std::size_t most_context = std::size_t{1} << 20;

    void add_file(options& all) {
        all.required("-m", "FILE", file, "the model: a GGUF file, or the folder of a Hugging Face checkpoint");
    }

    /// What files do not tell of their ternary tensors: --i2s-source, --tiling.
    void add_reading(options& all) {
        constexpr std::array<std::string_view, 3> sources{"a", "b", "c"};
        all.choice("--i2s-source", sources, i2s_source, "byte order of I2_S tensors, which no file tells");
        all.contents("--tiling", "FILE", lookup_tiling, "the kernel_config.ini that TL1 and TL2 were written with");
    }
    /// How text is split: --pre.
    void add_text(options& all) {
        all.text("--pre", "NAME", pre_tokenizer, "pre-tokenizer, instead of the file's or the inferred one");
    }
    /// How dialogs are written: --template.
    void add_chat(options& all) {
        all.choice("--template", bitnet::chat_format_names, chat_format, "how a dialog is written",
                   "what the file tells");
    }
    /// How many threads work: -t.
    void add_threads(options& all) {
        all.number<std::size_t>("-t", "THREADS", threads, 1, most_threads, "threads that work at a time",
                                "one a core that this process may use, here " + std::to_string(threads));
    }
    /// How the model runs: -t, --isa, --kv, --head, --pages, --activations.
    void add_running(options& all) {
        constexpr std::array<std::string_view, 3> elements{"f16", "f32", "i8"};
        add_threads(all);
        all.choice("--isa", isa_names(), isa, "instruction set", "the best available");
        all.choice("--kv", elements, kv, "element of the KV cache; i8 is approximate");
        constexpr std::array<std::string_view, 3> heads{"automatic", "as-stored", "screened"};
        all.choice("--head", heads, head, "screened: the same tokens from a six-bit copy and few rows of the head");
        constexpr std::array<std::string_view, 3> modes{"automatic", "mapped", "copied"};
        all.choice("--pages", modes, pages,
                   "copied: the file in memory of its own, read faster; or as the system maps it");
        add_activations(all);
    }
    /// What happens to activations before ternary products: --activations.
    void add_activations(options& all) {
        all.choice("--activations", bitnet::activation_rounding_names, activations,
                   "int8 with a scale for each token, 128 or 32 columns, or float; default: as the model was trained");
    }
    /// How long a sequence may get: -c.
    void add_context(options& all, std::size_t least) {
        all.number<std::size_t>("-c", "CTX", context, least, most_context, "positions of the context",
                                "the model's, at most 4096");
    }

    [[nodiscard]] bitnet::ternary_reading reading() const {
        return {i2s_source == "b"   ? bitnet::i2s_order::planar_64
                : i2s_source == "c" ? bitnet::i2s_order::four_rows
                                    : bitnet::i2s_order::planar_128,
                lookup_tiling};
    }
    [[nodiscard]] bitnet::open_options to_open() const {
        bitnet::open_options open;
        open.pre_tokenizer = pre_tokenizer;
        open.file_order = reading().order;
        open.lookup_tiling = lookup_tiling;
        open.lm_head = head == "screened"    ? bitnet::lm_head_mode::screened
                       : head == "as-stored" ? bitnet::lm_head_mode::as_stored
                                             : bitnet::lm_head_mode::automatic;
        open.pages = pages == "mapped"   ? bitnet::page_mode::mapped
                     : pages == "copied" ? bitnet::page_mode::copied
                                         : bitnet::page_mode::automatic;
        open.activations =
            bitnet::find_activation_rounding(activations).value_or(bitnet::activation_rounding::by_model);
        open.threads = threads;
        return open;
    }
    [[nodiscard]] bitnet::session_options to_session() const {
        bitnet::session_options session;
        session.threads = threads;
        session.context = context;
        return session;
    }
};

} // namespace tools
