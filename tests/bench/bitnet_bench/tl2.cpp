// SPDX-License-Identifier: MIT
#include "layouts.hpp"

namespace bench {

opened_model open_tl2(const model_choice& choice) {
    return open_with<bitnet::any_cpu::with_layout<bitnet::tl2>>(choice);
}

} // namespace bench
