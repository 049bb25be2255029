// SPDX-License-Identifier: MIT
// prefix_source: has the model write again how a word goes on in which the host's beginning of an answer ends.
#ifndef BITNET_RUN_PREFIX_SOURCE_HPP
#define BITNET_RUN_PREFIX_SOURCE_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/run/token_chooser.hpp>
#include <bitnet/text/token.hpp>
#include <bitnet/text/tokenizer.hpp>

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

namespace detail {

/// Of one conversation: which tokens at the end of a beginning are taken back, and that their bytes come again first.
class answer_healer {
public:
    answer_healer() noexcept = default;
    answer_healer(const answer_healer&) = delete;
    answer_healer& operator=(const answer_healer&) = delete;
    virtual ~answer_healer() = default;

    /// How many of the last tokens of an answer's beginning the model is to write itself.
    [[nodiscard]] virtual std::size_t taken_back(std::span<const token> begun) const noexcept = 0;
    /// These bytes, of tokens that were taken back, are to come first.
    virtual void begin(std::string_view missing) = 0;
    /// How to choose the next token, if `free` is what would choose behind the beginning. Valid until the next call.
    [[nodiscard]] virtual any_chooser chooser(any_chooser free) noexcept = 0;
};

} // namespace detail

/// For conversation_options::heal: healed_answers, which bitnet/constrain.hpp has. An interface, so that programs
/// without it compile nothing of it.
class prefix_source {
public:
    /// For one conversation. \param text its tokenizer, which outlives the healer
    /// \return errc::out_of_memory, errc::invalid_argument for another tokenizer than this is of
    [[nodiscard]] virtual result<std::unique_ptr<detail::answer_healer>> healer(const tokenizer& text) const = 0;

    prefix_source(const prefix_source&) = default;
    prefix_source& operator=(const prefix_source&) = default;

protected:
    prefix_source() noexcept = default;
    ~prefix_source() = default;
};

} // namespace bitnet::inline BITNET_ABI

#endif
