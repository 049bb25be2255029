// SPDX-License-Identifier: MIT
#include "layouts.hpp"

namespace bench {

opened_model open_i2s(const model_choice& choice) {
    return open_with<bitnet::any_cpu::with_layout<bitnet::i2s>>(choice);
}

} // namespace bench
