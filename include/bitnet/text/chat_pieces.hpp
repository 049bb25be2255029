// SPDX-License-Identifier: MIT
// chat_pieces: text with control tokens in it, which only a format can write.
#ifndef BITNET_TEXT_CHAT_PIECES_HPP
#define BITNET_TEXT_CHAT_PIECES_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/text/token.hpp>
#include <bitnet/text/tokenizer.hpp>

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Text between two control tokens is one run, which is encoded as a whole. Borrows the tokenizer.
class chat_pieces {
public:
    explicit chat_pieces(const tokenizer& text) noexcept : tokenizer_(&text) {}

    /// Appends text. Control tokens spelled in it are text, too.
    void write(std::string_view plain) { text_.append(plain); }
    /// Appends a control token. no_token is ignored.
    void mark(token id) {
        if (id != no_token) {
            marks_.push_back({text_.size(), id});
            text_.append(tokenizer_->bytes_of(id));
        }
    }
    /// Appends the control token of that spelling, or the spelling as text if the vocabulary has no such token.
    void mark(std::string_view spelling) {
        if (const auto id = tokenizer_->find_special(spelling)) {
            mark(*id);
        } else {
            write(spelling);
        }
    }
    /// Appends text of a template, in which tokens of the form <...> are control tokens.
    void write_literal(std::string_view literal) {
        while (!literal.empty()) {
            const std::size_t begin = (std::min)(literal.find('<'), literal.size());
            write(literal.substr(0, begin));
            literal.remove_prefix(begin);
            const std::size_t end = literal.substr(0, longest_mark).find('>');
            const std::string_view spelling = literal.substr(0, end == std::string_view::npos ? 1 : end + 1);
            const auto id = tokenizer_->find_special(spelling);
            const std::size_t taken = id ? spelling.size() : (std::min<std::size_t>)(literal.size(), 1);
            if (id) {
                mark(*id);
            } else {
                write(literal.substr(0, taken));
            }
            literal.remove_prefix(taken);
        }
    }
    void append(const chat_pieces& more) {
        const std::size_t before = text_.size();
        text_.append(more.text_);
        for (const control_token& mark : more.marks_) {
            marks_.push_back({before + mark.position, mark.id});
        }
    }
    void clear() noexcept {
        text_.clear();
        marks_.clear();
    }
    /// Calls append(), which writes and marks. \return false, and all is as before, if memory did not suffice.
    template <class Append> [[nodiscard]] bool try_to(Append&& append) {
        const std::size_t text_before = text_.size();
        const std::size_t marks_before = marks_.size();
        const bool done = has_memory_for(append);
        if (!done) {
            text_.resize(text_before);
            marks_.resize(marks_before);
        }
        return done;
    }

    /// Appends all tokens to `out`, or leaves it as it is. \return what tokenizer::encode returns.
    [[nodiscard]] result<void> encode(std::vector<token>& out) const {
        const std::size_t before = out.size();
        std::size_t from = 0;
        for (std::size_t i = 0; i <= marks_.size(); ++i) {
            const std::size_t end = i < marks_.size() ? marks_[i].position : text_.size();
            if (auto done = tokenizer_->encode(std::string_view(text_).substr(from, end - from), out); !done) {
                out.resize(before);
                return done;
            }
            if (i < marks_.size()) {
                if (!has_memory_for([&] { out.push_back(marks_[i].id); })) {
                    out.resize(before);
                    return out_of_memory();
                }
                from = end + tokenizer_->bytes_of(marks_[i].id).size();
            }
        }
        return {};
    }
    /// All as text, control tokens as they are spelled.
    [[nodiscard]] const std::string& text() const noexcept { return text_; }

private:
    static constexpr std::size_t longest_mark = 256; ///< bytes of a control token in a template

    struct control_token {
        std::size_t position = 0; ///< of its spelling in `text_`
        token id = no_token;
    };

    const tokenizer* tokenizer_;
    std::string text_;
    std::vector<control_token> marks_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
