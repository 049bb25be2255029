// SPDX-License-Identifier: MIT
// saved_conversation: the bytes of a saved conversation, written and read.
//
// All numbers are little-endian and have eight bytes; a text or a list is its size and then its elements.
//
//     offset  bytes  what
//          0      8  "BITNETCO"
//          8      8  version, 1
//         16  3 * 8  bytes of the dialog, the sampler and the session, which follow the header in this order
//         40      8  checksum of the bytes before and of the dialog
//
// The dialog: why the answer ended (answer_end), the code and the sentence of the last error, how many turns were
// dropped, the text that was not taken, how many tokens all turns are and a checksum of them, the turns. A turn: role,
// text, calls (name and arguments), 1 if the model wrote it, tokens as i32, how many tokens and how many bytes the host
// began it with, the stop token or 2^64 - 1. Sampler and session are as they save themselves.
#ifndef BITNET_RUN_SAVED_CONVERSATION_HPP
#define BITNET_RUN_SAVED_CONVERSATION_HPP

#include <bitnet/core/byte_reader.hpp>
#include <bitnet/core/checked.hpp>
#include <bitnet/core/checksum.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/byte_sink.hpp>
#include <bitnet/run/conversation_options.hpp>
#include <bitnet/run/conversation_turn.hpp>
#include <bitnet/text/token.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// What of a conversation is neither session nor sampler. Borrows all of it.
struct saved_dialog {
    answer_end ended = answer_end::none;
    errc error_code{};
    std::string_view error_text;
    std::uint64_t dropped = 0;
    std::string_view untaken;
    std::uint64_t token_count = 0;
    std::uint64_t token_sum = 0;
};

[[nodiscard]] inline std::uint64_t sum_of(std::span<const token> tokens) noexcept {
    return checksum::of(std::as_bytes(tokens));
}

/// Counts bytes, adds them to a checksum and, if there is a sink, writes them.
class dialog_writer {
public:
    dialog_writer(const byte_sink* sink, checksum sum) noexcept : sink_(sink), sum_(sum) {}

    void put(const saved_dialog& dialog, std::span<const conversation_turn> turns) {
        number(static_cast<std::uint64_t>(dialog.ended));
        number(static_cast<std::uint64_t>(dialog.error_code));
        text(dialog.error_text);
        number(dialog.dropped);
        text(dialog.untaken);
        number(dialog.token_count);
        number(dialog.token_sum);
        number(turns.size());
        for (const conversation_turn& turn : turns) {
            put(turn);
        }
    }

    [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
    [[nodiscard]] std::uint64_t sum() const noexcept { return sum_.value(); }
    [[nodiscard]] result<void> done() && { return std::move(written_); }

private:
    void put(const conversation_turn& turn) {
        text(turn.role);
        text(turn.text);
        number(turn.calls.size());
        for (const conversation_turn::call& call : turn.calls) {
            text(call.name);
            text(call.arguments);
        }
        number(turn.is_answer ? 1 : 0);
        number(turn.tokens.size());
        bytes(std::as_bytes(std::span(turn.tokens)));
        number(turn.begun_tokens);
        number(turn.begun_bytes);
        number(static_cast<std::uint64_t>(std::int64_t{turn.stop}));
    }
    void number(std::uint64_t value) { bytes(std::as_bytes(std::span(&value, 1))); }
    void text(std::string_view value) {
        number(value.size());
        bytes(std::as_bytes(std::span(value.data(), value.size())));
    }
    void bytes(std::span<const std::byte> some) {
        size_ += some.size();
        sum_.add(some);
        if (sink_ != nullptr && written_ && !some.empty()) {
            written_ = sink_->write(some);
        }
    }

    const byte_sink* sink_;
    checksum sum_;
    std::uint64_t size_ = 0;
    result<void> written_;
};

/// Reads what dialog_writer wrote. Allocates only what is there to fill it.
class dialog_reader {
public:
    explicit dialog_reader(std::span<const std::byte> bytes) noexcept : reader_(bytes) {}

    /// \return whether the bytes are a dialog, all of them
    [[nodiscard]] bool read(saved_dialog& dialog, std::vector<conversation_turn>& turns) {
        const std::uint64_t ended = number();
        dialog.ended = static_cast<answer_end>(ended);
        dialog.error_code = static_cast<errc>(number() & 0xffff);
        dialog.error_text = text();
        dialog.dropped = number();
        dialog.untaken = text();
        dialog.token_count = number();
        dialog.token_sum = number();
        const std::uint64_t count = number();
        for (std::uint64_t i = 0; is_good_ && i < count; ++i) { // each takes bytes, so that a wrong count ends soon
            turns.push_back(turn());
        }
        return is_good_ && reader_.remaining() == 0 && ended <= static_cast<std::uint64_t>(answer_end::tool_calls);
    }

private:
    [[nodiscard]] conversation_turn turn() {
        conversation_turn made;
        made.role = text();
        made.text = text();
        const std::uint64_t calls = number();
        for (std::uint64_t i = 0; is_good_ && i < calls; ++i) {
            const std::string_view name = text();
            made.calls.push_back({std::string(name), std::string(text())});
        }
        made.is_answer = number() == 1;
        const std::uint64_t count = number();
        const auto tokens = bytes(count <= UINT32_MAX ? count * sizeof(token) : UINT64_MAX);
        if (!tokens.empty()) {
            made.tokens.resize(to_size(count));
            std::memcpy(made.tokens.data(), tokens.data(), tokens.size());
        }
        made.begun_tokens = to_size(number());
        made.begun_bytes = to_size(number());
        made.stop = static_cast<token>(static_cast<std::int64_t>(number()));
        is_good_ = is_good_ && made.begun_tokens <= made.tokens.size() && made.begun_bytes <= made.text.size() &&
                   (made.is_answer || made.tokens.empty());
        return made;
    }

    [[nodiscard]] std::uint64_t number() {
        const auto value = reader_.read<std::uint64_t>();
        is_good_ = is_good_ && value;
        return value.value_or(0);
    }
    [[nodiscard]] std::span<const std::byte> bytes(std::uint64_t size) {
        const auto some = is_good_ ? reader_.read_bytes(size) : std::nullopt;
        is_good_ = some.has_value();
        return some.value_or(std::span<const std::byte>());
    }
    [[nodiscard]] std::string_view text() {
        const auto some = bytes(number());
        return {reinterpret_cast<const char*>(some.data()), some.size()};
    }

    byte_reader reader_;
    bool is_good_ = true;
};

/// The first bytes of a saved conversation.
struct conversation_header {
    static constexpr std::string_view known_magic = "BITNETCO";
    static constexpr std::uint64_t known_version = 1;

    std::array<char, 8> magic{};
    std::uint64_t version = known_version;
    std::uint64_t dialog = 0;
    std::uint64_t sampler = 0;
    std::uint64_t session = 0;
    std::uint64_t sum = 0;

    [[nodiscard]] static conversation_header with(std::uint64_t dialog, std::uint64_t sampler,
                                                  std::uint64_t session) noexcept {
        conversation_header made{{}, known_version, dialog, sampler, session, 0};
        std::memcpy(made.magic.data(), known_magic.data(), made.magic.size());
        return made;
    }
    /// The checksum of all but `sum`, to which the dialog's bytes are to be added.
    [[nodiscard]] checksum begun_sum() const noexcept {
        checksum made;
        made.add(std::as_bytes(std::span(this, 1)).first(sizeof(*this) - sizeof sum));
        return made;
    }
};
static_assert(sizeof(conversation_header) == 48, "no padding, which would have any value");

/// The three parts of a saved conversation.
struct conversation_parts {
    std::span<const std::byte> dialog; ///< whose checksum is right
    std::span<const std::byte> sampler;
    std::span<const std::byte> session;

    /// \return errc::truncated, bad_magic, bad_version, inconsistent or bad_checksum
    [[nodiscard]] static result<conversation_parts> read(std::span<const std::byte> saved, std::string_view name) {
        conversation_header header;
        if (saved.size() < sizeof header) {
            return error_saying(errc::truncated, {name, ": a saved conversation has at least ", sizeof header,
                                                  " bytes, these are ", saved.size()});
        }
        std::memcpy(&header, saved.data(), sizeof header);
        const std::string_view magic(header.magic.data(), header.magic.size());
        if (magic != conversation_header::known_magic) {
            return error_saying(errc::bad_magic, {name, ": is no saved conversation: it begins with ", quoted{magic},
                                                  ", not with ", quoted{conversation_header::known_magic}});
        }
        if (header.version != conversation_header::known_version) {
            return error_saying(errc::bad_version,
                                {name, ": is of version ", header.version, " of saved conversations, only version ",
                                 conversation_header::known_version, " is read"});
        }
        const auto some = checked_add(header.dialog, header.sampler);
        const auto parts = some ? checked_add(*some, header.session) : some;
        const auto all = parts ? checked_add(*parts, sizeof header) : parts;
        if (!all || *all != saved.size()) {
            const std::uint64_t expected = all.value_or(UINT64_MAX);
            return error_saying(expected > saved.size() ? errc::truncated : errc::inconsistent,
                                {name, ": was saved with ", expected, " bytes, these are ", saved.size()});
        }
        conversation_parts made;
        made.dialog = saved.subspan(sizeof header, to_size(header.dialog));
        made.sampler = saved.subspan(sizeof header + made.dialog.size(), to_size(header.sampler));
        made.session = saved.last(to_size(header.session));
        checksum sum = header.begun_sum();
        sum.add(made.dialog);
        if (sum.value() != header.sum) {
            return error_saying(errc::bad_checksum, {name, ": the bytes of the dialog have the checksum ", sum.value(),
                                                     ", and ", header.sum, " was saved with them"});
        }
        return made;
    }
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
