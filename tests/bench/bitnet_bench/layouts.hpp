// SPDX-License-Identifier: MIT
// One translation unit for the policies of each layout, so that they compile side by side.
#pragma once

#include "policy_model.hpp"

#include <bitnet/run/dispatch.hpp>

namespace bench {

using opened_model = bitnet::result<std::unique_ptr<bench_model>>;

[[nodiscard]] opened_model open_i2s(const model_choice& choice);
[[nodiscard]] opened_model open_i2s_i8(const model_choice& choice); ///< with an int8 KV cache
[[nodiscard]] opened_model open_dense(const model_choice& choice);
[[nodiscard]] opened_model open_tl1(const model_choice& choice);
[[nodiscard]] opened_model open_tl2(const model_choice& choice);

} // namespace bench
