// SPDX-License-Identifier: MIT
// tool_source: the functions that the model of a conversation may call, and what holds its answers to whole calls.
#ifndef BITNET_RUN_TOOL_SOURCE_HPP
#define BITNET_RUN_TOOL_SOURCE_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/run/conversation_turn.hpp>
#include <bitnet/run/token_chooser.hpp>
#include <bitnet/run/tool_choice.hpp>
#include <bitnet/text/token.hpp>
#include <bitnet/text/tokenizer.hpp>
#include <bitnet/text/tool_form.hpp>

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

namespace detail {

/// What answers of a conversation are like. Borrows all of it.
struct answer_form {
    const tokenizer* text;
    std::span<const token> stops; ///< that end an answer
    std::string_view prompt;      ///< what an answer follows, such as "<think>\n"
    bool has_thoughts = false;
    tool_form tools = {};
};

/// What a token is to an answer.
struct answer_part {
    enum class part_kind : unsigned char {
        text,     ///< text, but for the last `tail` bytes, which may become a call
        call,     ///< of a call, and so are the last `tail` bytes of what may have become one
        call_end, ///< the last one of a call
    };
    part_kind kind = part_kind::text;
    std::size_t tail = 0;
    bool is_last = false;      ///< call_end: the answer ends with it
    bool is_cut_short = false; ///< call_end: the limit had a say in what it is

    static constexpr std::size_t all = static_cast<std::size_t>(-1);
};

/// Follows the answers of one conversation, token by token, and decides which may come next. It is where it is because
/// of the tokens since begin(): whoever tells it the same ones gets the same guide.
class call_guide {
public:
    call_guide() noexcept = default;
    call_guide(const call_guide&) = delete;
    call_guide& operator=(const call_guide&) = delete;
    virtual ~call_guide() = default;

    /// From the next answer on. \return errc::invalid_argument for a function that there is not; nothing changes then
    [[nodiscard]] virtual result<void> set_choice(const tool_choice& choice) = 0;
    /// The fewest tokens that an answer can have.
    [[nodiscard]] virtual std::size_t least() const noexcept = 0;
    /// An answer begins. \param begun what the host begins it with
    /// \param most how many tokens the model may write; it has no whole call where that is less than least()
    /// \param is_new false: it is told again from its beginning, and set_choice() counts from the next one on
    virtual void begin(std::string_view begun, std::size_t most, bool is_new) = 0;
    /// How to choose the next token, if `free` is what would choose in a text. Valid until the next call.
    [[nodiscard]] virtual any_chooser chooser(any_chooser free) noexcept = 0;
    /// The next token of the answer, which is no stop token.
    [[nodiscard]] virtual answer_part take(token id) = 0;
    /// The call that the last token ended.
    [[nodiscard]] virtual result<conversation_turn::call> call() const = 0;
    /// Another one for the same functions, which is to be told the answer that this one follows.
    [[nodiscard]] virtual result<std::unique_ptr<call_guide>> copy() const = 0;
};

} // namespace detail

/// Functions for conversation_options::tools: constrained_tools, which bitnet/constrain.hpp has. An interface, so that
/// programs without tools compile nothing of them.
class tool_source {
public:
    /// A JSON array, as for chat_options::tools. Lives as long as this.
    [[nodiscard]] virtual std::string_view declarations() const noexcept = 0;
    /// For one conversation. \param form its tokenizer lives as long as the guide, the rest of it need not
    /// \return errc::out_of_memory, and what the compilation of a grammar returns
    [[nodiscard]] virtual result<std::unique_ptr<detail::call_guide>> guide(const detail::answer_form& form) const = 0;

    tool_source(const tool_source&) = default;
    tool_source& operator=(const tool_source&) = default;

protected:
    tool_source() noexcept = default;
    ~tool_source() = default;
};

} // namespace bitnet::inline BITNET_ABI

#endif
