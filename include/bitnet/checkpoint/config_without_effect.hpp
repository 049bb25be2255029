// SPDX-License-Identifier: MIT
// config_without_effect: members of config.json that do not change what a model computes.
#ifndef BITNET_CHECKPOINT_CONFIG_WITHOUT_EFFECT_HPP
#define BITNET_CHECKPOINT_CONFIG_WITHOUT_EFFECT_HPP

#include <bitnet/core/config.hpp>

#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// Members of config.json that say nothing about the numbers of a forward pass: who made the file and how, training,
/// tokens and sampling, for which there are other files, and what transformers writes of every model.
inline constexpr std::string_view config_without_effect[] = {
    "_name_or_path",
    "_attn_implementation",
    "_attn_implementation_autoset",
    "_commit_hash",
    "model_type",
    "auto_map",
    "transformers_version",
    "unsloth_version",
    "unsloth_fixed",
    "torch_dtype",
    "dtype",
    "use_cache",
    "cache_implementation",
    "initializer_range",
    "attention_dropout",
    "hidden_dropout",
    "hidden_dropout_prob",
    "dropout",
    "embd_pdrop",
    "resid_pdrop",
    "attn_pdrop",
    "pretraining_tp",
    "gradient_checkpointing",
    "tokenizer_class",
    "prefix",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "unk_token_id",
    "sep_token_id",
    "cls_token_id",
    "mask_token_id",
    "decoder_start_token_id",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "max_window_layers", // of layers with windows, and no context is longer than one
    "sliding_window_pattern",
    "_sliding_window_pattern",
    "chunk_size_feed_forward",
    "cross_attention_hidden_size",
    "add_cross_attention",
    "is_decoder",
    "is_encoder_decoder",
    "tie_encoder_decoder",
    "pruned_heads",
    "return_dict",
    "return_dict_in_generate",
    "output_attentions",
    "output_hidden_states",
    "output_scores",
    "torchscript",
    "tf_legacy_loss",
    "use_bfloat16",
    "finetuning_task",
    "problem_type",
    "task_specific_params",
    "id2label",
    "label2id",
    "num_labels",
    "do_sample",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
    "num_beams",
    "num_beam_groups",
    "num_return_sequences",
    "diversity_penalty",
    "repetition_penalty",
    "length_penalty",
    "exponential_decay_length_penalty",
    "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size",
    "bad_words_ids",
    "suppress_tokens",
    "begin_suppress_tokens",
    "remove_invalid_values",
    "early_stopping",
    "min_length",
    "max_length",
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
