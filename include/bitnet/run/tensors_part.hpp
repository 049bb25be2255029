// SPDX-License-Identifier: MIT
// tensors_part: weights and their screen.
#ifndef BITNET_RUN_TENSORS_PART_HPP
#define BITNET_RUN_TENSORS_PART_HPP

#include <bitnet/checkpoint/hyper_parameters.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/engine.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/model/lm_head_screen.hpp>
#include <bitnet/model/self_test.hpp>
#include <bitnet/model/weight_reader.hpp>
#include <bitnet/model/weights.hpp>
#include <bitnet/run/parts.hpp>

#include <atomic>
#include <memory>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

template <class Program> result<void> tensors_part<Program>::test(const engine& tables, const memory_source* memory) {
    return self_test::run(tables, memory);
}

template <class Program>
result<weights> tensors_part<Program>::open(const gguf_file& file, const hyper_parameters& model,
                                            const layout_table& layout, const weight_options& options, pool_ref pool) {
    return weights::open(file, model, layout, options, pool);
}

template <class Program>
result<lm_head_screen> tensors_part<Program>::open_screen(pool_ref pool, const loop_table& loops,
                                                          const float_matrix& lm_head, const gguf_tensor* stored,
                                                          std::string_view file, bool verify,
                                                          const memory_source* memory, progress_meter* progress) {
    return stored != nullptr ? lm_head_screen::open(pool, loops, lm_head, *stored, file, verify, progress)
                             : lm_head_screen::open(pool, loops, lm_head, memory, progress);
}

template <class Program>
bool tensors_part<Program>::fill_screen(pool_ref pool, const loop_table& loops, const float_matrix& lm_head,
                                        lm_head_screen& out, const std::atomic<bool>& stop) noexcept {
    return out.fill(pool, loops, lm_head, stop);
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
