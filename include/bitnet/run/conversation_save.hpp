// SPDX-License-Identifier: MIT
// conversation_save: what a conversation puts into a save, and the dialog that it finds in one.
#ifndef BITNET_RUN_CONVERSATION_SAVE_HPP
#define BITNET_RUN_CONVERSATION_SAVE_HPP

#include <bitnet/core/checksum.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/byte_sink.hpp>
#include <bitnet/run/any_session.hpp>
#include <bitnet/run/conversation_turn.hpp>
#include <bitnet/run/sampler.hpp>
#include <bitnet/run/save_options.hpp>
#include <bitnet/run/saved_conversation.hpp>
#include <bitnet/run/transcript.hpp>

#include <cstddef>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// The bytes themselves are saved_conversation.hpp's. \return what the sink returns
[[nodiscard]] inline result<void> save_conversation(byte_sink sink, const saved_dialog& dialog,
                                                    std::span<const conversation_turn> turns, const sampler& choose,
                                                    const any_session& session, const save_options& options) {
    dialog_writer counted(nullptr, checksum());
    counted.put(dialog, turns);
    auto header = conversation_header::with(counted.size(), choose.saved_bytes(), session.saved_bytes(options));
    dialog_writer summed(nullptr, header.begun_sum());
    summed.put(dialog, turns);
    header.sum = summed.sum();
    auto written = sink.write(std::as_bytes(std::span(&header, 1)));
    if (written) {
        dialog_writer writer(&sink, checksum());
        writer.put(dialog, turns);
        written = std::move(writer).done();
    }
    written = written ? choose.save(sink) : std::move(written);
    return written ? session.save(sink, options) : std::move(written);
}

/// The dialog of a save: its `next` has the turns, checked. Its texts are in the bytes of the save.
struct restored_dialog {
    saved_dialog about;
    transcript next;

    /// \param name what error messages call the save \param now a transcript of the same conversation
    /// \return errc::inconsistent, invalid_token, wrong_model
    [[nodiscard]] static result<restored_dialog> read(std::span<const std::byte> bytes, std::string_view name,
                                                      const transcript& now) {
        saved_dialog about;
        std::vector<conversation_turn> turns;
        if (!dialog_reader(bytes).read(about, turns)) {
            return error_saying(errc::inconsistent,
                                {name, ": its ", bytes.size(), " bytes of dialog are no ", turns.size(), " turns"});
        }
        for (const conversation_turn& turn : turns) {
            if (!now.has_tokens_of(turn)) {
                return error_saying(errc::invalid_token, {name, ": an answer of ", turn.tokens.size(),
                                                          " tokens has some that are not in the vocabulary"});
            }
        }
        transcript next = now;
        if (auto became = next.become(std::move(turns)); !became) {
            return failed(became);
        }
        if (next.tokens().size() != about.token_count || sum_of(next.tokens()) != about.token_sum) {
            return error_saying(errc::wrong_model,
                                {name, ": the dialog that was saved is ", about.token_count, " tokens, here ",
                                 next.tokens().size(), " others: another chat format or tokenizer"});
        }
        return restored_dialog{about, std::move(next)};
    }
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
