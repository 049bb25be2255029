// SPDX-License-Identifier: MIT
// dialog_part: conversations.
#ifndef BITNET_RUN_DIALOG_PART_HPP
#define BITNET_RUN_DIALOG_PART_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/run/conversation_core.hpp>
#include <bitnet/run/parts.hpp>

#include <memory>

namespace bitnet::inline BITNET_ABI::detail {

template <class Program>
result<std::unique_ptr<conversation_base>>
dialog_part<Program>::open(const any_model& model, const conversation_options& options, const pool_ref* pool) {
    return conversation_core::open(model, options, pool);
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
