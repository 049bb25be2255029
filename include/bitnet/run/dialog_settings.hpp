// SPDX-License-Identifier: MIT
// dialog_settings: what of conversation_options a conversation and its forks keep.
#ifndef BITNET_RUN_DIALOG_SETTINGS_HPP
#define BITNET_RUN_DIALOG_SETTINGS_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/run/any_model.hpp>
#include <bitnet/run/conversation_options.hpp>
#include <bitnet/run/dialog_draft.hpp>
#include <bitnet/run/prefix_source.hpp>
#include <bitnet/text/stop_texts.hpp>
#include <bitnet/thread/pool.hpp>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

struct dialog_settings {
    std::string system;
    std::vector<std::string> stop_texts = {};
    std::size_t answer_limit = 0; ///< 0: none
    std::size_t room = 0;         ///< 0: the full context is where it stops
    bool has_window = false;
    dialog_draft_options draft = {};
    const prefix_source* heal = nullptr;

    /// \param context of the session \param pool null: none
    [[nodiscard]] static dialog_settings of(const any_model& model, const pool_ref* pool,
                                            const conversation_options& options, std::size_t context) {
        dialog_settings made{
            .system = std::string(options.system), .answer_limit = options.answer_limit, .heal = options.heal};
        for (const std::string_view text : options.stop_texts) {
            made.stop_texts.emplace_back(text);
        }
        made.has_window = options.session.window || options.when_full == full_context::window;
        if (!made.has_window && options.when_full == full_context::drop_oldest) {
            made.room = (std::max<std::size_t>)(options.room != 0 ? options.room : context / 4, 1);
        }
        made.draft = {.main = &model,
                      .model = options.draft,
                      .pool = pool != nullptr ? std::optional(*pool) : std::nullopt,
                      .lookup = options.lookup,
                      .speculation = options.speculation,
                      .session = options.session};
        return made;
    }

    /// \return errc::invalid_argument
    [[nodiscard]] result<bitnet::stop_texts> open_stops() const {
        const std::vector<std::string_view> texts(stop_texts.begin(), stop_texts.end());
        return bitnet::stop_texts::open(texts);
    }
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
