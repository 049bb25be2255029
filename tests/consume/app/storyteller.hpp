// SPDX-License-Identifier: MIT
// What a game would write: a class that holds a model and a conversation, whatever CPU the player has.
#pragma once

#include <bitnet/any.hpp>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

class storyteller {
public:
    static bitnet::result<std::unique_ptr<storyteller>> open(std::string_view model_path);

    /// At most `words` tokens that go on from `beginning`.
    bitnet::result<std::string> tell(std::string_view beginning, std::size_t words);
    [[nodiscard]] std::string_view isa() const noexcept { return model_.isa(); }

private:
    storyteller(bitnet::any_model model, bitnet::any_session session, bitnet::sampler choose);

    bitnet::any_model model_;
    bitnet::any_session session_; // borrows model_, so it comes after it
    bitnet::sampler choose_;
};
