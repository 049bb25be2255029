// SPDX-License-Identifier: MIT
// published_figures: what is known of published files, to compare them with.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace tools {

/// A greedy continuation. Ids are decimal, with a space between.
struct published_continuation {
    std::string_view prompt;          ///< after BOS; control tokens that it spells are those tokens
    std::string_view prompt_ids;      ///< BOS included
    std::string_view answer_ids;      ///< without the token that ends it
    bool stops = false;               ///< the answer ends there by itself
    double first_logit = 0;           ///< the largest after the prompt; 0: not published
    double first_logit_tolerance = 0; ///< other programs add in another order, and publish few digits
};

struct published_figures {
    std::string_view name;
    std::string_view title;
    std::uint64_t bytes;
    std::string_view sha256;
    std::size_t keys;
    std::size_t tensors;
    std::string_view tensor_types; ///< in the order of their names
    std::string_view architecture;
    std::string_view model_name;
    std::string_view sizes;     ///< layers, hidden, feed-forward, heads / key and value heads / head size, context
    std::string_view constants; ///< of the rotation, of the norms
    std::size_t vocabulary;
    std::size_t merges;
    std::string_view bos_and_eos;
    std::array<published_continuation, 2> continuations;
};

/// The first is the default. Sources: the file's page at huggingface.co and the logs and issues of microsoft/BitNet.
inline constexpr std::array<published_figures, 2> all_published_figures{{
    {.name = "2b-4t",
     .title = "microsoft/bitnet-b1.58-2B-4T-gguf, ggml-model-i2_s.gguf",
     .bytes = 1187801280,
     .sha256 = "4221b252fdd5fd25e15847adfeb5ee88886506ba50b8a34548374492884c2162",
     .keys = 24,
     .tensors = 332,
     .tensor_types = "1 F16, 121 F32, 210 I2_S",
     .architecture = "bitnet-b1.58",
     .model_name = "bitnet2b",
     .sizes = "30 layers, 2560, 6912, 20 / 5 / 128, 4096",
     .constants = "500000, 1e-05",
     .vocabulary = 128256,
     .merges = 280147,
     .bos_and_eos = "128000 128001",
     .continuations = {{{.prompt = "The capital of France is",
                         .prompt_ids = "128000 791 6864 315 9822 374",
                         .answer_ids = "12366 13 12366 374 264 3363 430 374 3967 369 1202 9257 3925 11 7829 11 323 "
                                       "18112 13 1102",
                         .first_logit = 18.95,
                         .first_logit_tolerance = 0.2},
                        {.prompt = "User: What is the capital of France? Answer in one short sentence.<|eot_id|>"
                                   "Assistant: ",
                         .prompt_ids =
                             "128000 1502 25 3639 374 279 6864 315 9822 30 22559 304 832 2875 11914 13 128009 "
                             "72803 25 220",
                         .answer_ids = "791 6864 315 9822 374 12366 13",
                         .stops = true}}}},
    {.name = "tiny",
     .title = "tiny.gguf of this project",
     .bytes = 3484096,
     .sha256 = "27401dc539dc941bffc98de19178a6646e7431fbab99e74a667594db0108b8ec",
     .keys = 25,
     .tensors = 68,
     .tensor_types = "1 F16, 25 F32, 42 I2_S",
     .architecture = "bitnet-b1.58",
     .model_name = "tiny-a",
     .sizes = "6 layers, 256, 768, 4 / 2 / 64, 512",
     .constants = "500000, 1e-05",
     .vocabulary = 4128,
     .merges = 3840,
     .bos_and_eos = "4096 4097",
     .continuations = {{{.prompt = "Once upon a time",
                         .prompt_ids = "4096 2365 681 258 525",
                         .answer_ids = "429 308 258 522 920 1055 11 267 259 467 386 744",
                         .first_logit = 7.89193,
                         .first_logit_tolerance = 0.00001},
                        {.prompt = "User: Who are you?<|eot_id|>Assistant: ",
                         .prompt_ids = "4096 52 1676 25 2993 513 312 30 4105 32 490 637 404 25 220",
                         .answer_ids = "1114 11 319 391 591 258 274 1286 291 258 437 11"}}}},
}};

} // namespace tools
