// SPDX-License-Identifier: MIT
// open_choice: a choice while it is written: what its tokens are chosen by, and what of its text may be shown.
#pragma once

#include "sampling_fields.hpp"

#include <bitnet/any.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace server {

class open_choice {
public:
    /// \param param which field an error is about
    [[nodiscard]] static bitnet::result<open_choice> open(const sampling_fields& asked, std::size_t index,
                                                          std::size_t vocabulary, std::string& param) {
        auto sampler = asked.open(index, vocabulary);
        if (!sampler) {
            param = "logit_bias";
            return std::move(sampler).error();
        }
        auto stops = asked.open_stops();
        if (!stops) {
            param = "stop";
            return std::move(stops).error();
        }
        return open_choice(*std::move(sampler), *std::move(stops));
    }

    [[nodiscard]] bitnet::sampler& sampler() noexcept { return sampler_; }
    [[nodiscard]] bool has_stopped() const noexcept { return has_stopped_; } ///< at a stop text

    /// More of its text, of which nothing is shown from a stop text on.
    void feed(std::string_view text) {
        if (has_stopped_ || text.empty()) {
            return;
        }
        const bitnet::stop_texts::step step = stops_.feed(text);
        for (const std::string_view part : step.shown) {
            unsent_ += part;
        }
        has_stopped_ = step.stop.has_value();
    }
    /// Shown as it is, such as a prompt that is echoed.
    void show(std::string_view text) { unsent_ += text; }
    /// What might have become a stop text does not.
    void flush() {
        if (!has_stopped_) {
            unsent_ += stops_.flush();
        }
    }
    /// What is to be shown since the last call.
    [[nodiscard]] std::string take() noexcept { return std::exchange(unsent_, {}); }

private:
    open_choice(bitnet::sampler sampler, bitnet::stop_texts stops)
        : sampler_(std::move(sampler)), stops_(std::move(stops)) {}

    bitnet::sampler sampler_;
    bitnet::stop_texts stops_;
    bool has_stopped_ = false;
    std::string unsent_;
};

} // namespace server
