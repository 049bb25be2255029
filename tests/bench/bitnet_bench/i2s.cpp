// SPDX-License-Identifier: MIT
#include "layouts.hpp"

namespace bench {

bitnet::result<std::unique_ptr<bench_model>> open_i2s(const model_choice& choice) {
    return open_with<bitnet::any_cpu>(choice);
}

} // namespace bench
