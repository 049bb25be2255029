// SPDX-License-Identifier: MIT
#include "layouts.hpp"

namespace bench {

opened_model open_i2s_i8(const model_choice& choice) {
    return open_with<bitnet::any_cpu::with_kv<std::int8_t>>(choice);
}

} // namespace bench
