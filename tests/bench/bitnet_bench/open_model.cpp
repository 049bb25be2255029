// SPDX-License-Identifier: MIT
#include "layouts.hpp"

namespace bench {

opened_model open_model(const model_choice& choice) {
    using opener = opened_model (*)(const model_choice&);
    struct combination {
        std::string_view layout, kv;
        opener open;
    };
    constexpr combination built[] = {{"i2_s", "f16", &open_i2s},
                                     {"i2_s", "i8", &open_i2s_i8},
                                     {"dense", "f16", &open_dense},
                                     {"tl1", "f16", &open_tl1},
                                     {"tl2", "f16", &open_tl2}};
    for (const combination& each : built) {
        if (each.layout == choice.layout && each.kv == choice.kv) {
            return each.open(choice);
        }
    }
    return bitnet::error{bitnet::errc::invalid_argument,
                         "layout '" + choice.layout + "' with a KV cache of '" + choice.kv +
                             "': i2_s with f16 or i8, dense, tl1 and tl2 with f16 are built in"};
}

} // namespace bench
