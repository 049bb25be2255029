// SPDX-License-Identifier: MIT
// model_parts: what sessions and batches borrow of a model.
#ifndef BITNET_RUN_MODEL_PARTS_HPP
#define BITNET_RUN_MODEL_PARTS_HPP

#include <bitnet/checkpoint/hyper_parameters.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/engine.hpp>
#include <bitnet/model/rotations.hpp>
#include <bitnet/model/weights.hpp>
#include <bitnet/run/model_fingerprint.hpp>
#include <bitnet/run/model_screen.hpp>
#include <bitnet/text/tokenizer.hpp>

namespace bitnet::inline BITNET_ABI::detail {

struct model_parts {
    const engine& tables;
    const hyper_parameters& parameters;
    const weights& tensors;
    const model_screen& screen;
    const rotations& turns;
    const tokenizer* text; ///< null without one
    const model_fingerprint& identity;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
