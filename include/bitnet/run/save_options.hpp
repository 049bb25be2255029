// SPDX-License-Identifier: MIT
// save_options: what of a session is saved.
#ifndef BITNET_RUN_SAVE_OPTIONS_HPP
#define BITNET_RUN_SAVE_OPTIONS_HPP

#include <bitnet/core/config.hpp>

namespace bitnet::inline BITNET_ABI {

struct save_options {
    /// Whether keys and values are saved. Without them a save has four bytes for each token, all of which are to run
    /// through the model again; embeddings that were fed cannot, so that they need keys and values.
    bool keys_and_values = true;
};

} // namespace bitnet::inline BITNET_ABI

#endif
