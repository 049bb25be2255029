// SPDX-License-Identifier: MIT
#include "layouts.hpp"

namespace bench {

opened_model open_model(const model_choice& choice) {
    if (choice.layout == "i2_s") {
        return open_i2s(choice);
    }
    return bitnet::error{bitnet::errc::invalid_argument, "layout '" + choice.layout + "': i2_s expected"};
}

} // namespace bench
