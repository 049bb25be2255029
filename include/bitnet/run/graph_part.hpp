// SPDX-License-Identifier: MIT
// graph_part: sessions, batches and schedulers.
#ifndef BITNET_RUN_GRAPH_PART_HPP
#define BITNET_RUN_GRAPH_PART_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/run/batch_core.hpp>
#include <bitnet/run/parts.hpp>
#include <bitnet/run/scheduler_core.hpp>
#include <bitnet/run/session_core.hpp>

#include <memory>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

template <class Program>
result<std::unique_ptr<session_base>> graph_part<Program>::open(const model_parts& model,
                                                                const session_options& options, const pool_ref* pool) {
    return session_core::open(model, options, pool);
}

template <class Program>
result<std::unique_ptr<batch_base>> graph_part<Program>::open(const model_parts& model, const batch_options& options,
                                                              const pool_ref* pool) {
    return batch_core::open(model, options, pool);
}

template <class Program>
result<std::unique_ptr<scheduler_base>>
graph_part<Program>::open(const model_parts& model, const scheduler_options& options, const pool_ref* pool) {
    return scheduler_core::open(model, options, pool);
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
