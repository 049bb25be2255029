// SPDX-License-Identifier: MIT
// thought_filter: takes the thought in front of an answer out of its text while it streams.
#ifndef BITNET_TEXT_THOUGHT_FILTER_HPP
#define BITNET_TEXT_THOUGHT_FILTER_HPP

#include <bitnet/core/config.hpp>

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// A thought begins the answer, or began in its prompt, and ends with </think>; line ends around it belong to it.
class thought_filter {
public:
    static constexpr std::string_view begin_mark = "<think>";
    static constexpr std::string_view end_mark = "</think>";

    /// \param begins_in_thought the answer's prompt has begun one
    explicit thought_filter(bool begins_in_thought) noexcept
        : place_(begins_in_thought ? place::thought : place::beginning) {}

    /// Begins another answer, in the memory there is.
    void reset(bool begins_in_thought) noexcept {
        kept_.clear();
        place_ = begins_in_thought ? place::thought : place::beginning;
    }

    /// So that feed() allocates nothing for texts of so many bytes.
    void reserve(std::size_t bytes) { kept_.reserve(bytes); }

    /// What of the answer so far is to be shown and was not yet. Valid as long as `text`, and until the next call.
    /// Throws std::bad_alloc as a std::string does, until the thought has ended.
    [[nodiscard]] std::string_view feed(std::string_view text) {
        if (place_ == place::answer) {
            return text;
        }
        kept_ += text;
        if (place_ == place::beginning) {
            find_beginning();
        }
        if (place_ == place::thought) {
            find_end();
        }
        if (place_ == place::line_ends) {
            skip(line_ends);
            place_ = kept_.empty() ? place_ : place::answer;
        }
        return place_ == place::answer ? std::string_view(kept_) : std::string_view();
    }
    /// What is left at the end of the answer, such as a part of a mark. Valid until the next call.
    [[nodiscard]] std::string_view flush() const noexcept {
        return place_ == place::beginning ? std::string_view(kept_) : std::string_view();
    }

    /// No thought begins any more. \return what was held back. Valid until the next call.
    [[nodiscard]] std::string_view settle() noexcept {
        const std::string_view held = flush();
        place_ = place_ == place::thought ? place_ : place::answer;
        return held;
    }

    [[nodiscard]] bool is_in_thought() const noexcept { return place_ == place::thought; }

private:
    enum class place : unsigned char { beginning, thought, line_ends, answer };

    static constexpr std::string_view line_ends = "\r\n";

    void find_beginning() {
        const std::size_t first = (std::min)(kept_.find_first_not_of(" \t\r\n"), kept_.size());
        const std::string_view rest = std::string_view(kept_).substr(first);
        if (rest.starts_with(begin_mark)) {
            place_ = place::thought;
        } else if (!begin_mark.starts_with(rest)) {
            place_ = place::answer;
        }
    }
    void find_end() {
        const std::size_t end = kept_.find(end_mark);
        if (end == std::string::npos) {
            kept_.erase(0, kept_.size() - (std::min)(kept_.size(), end_mark.size() - 1));
        } else {
            kept_.erase(0, end + end_mark.size());
            place_ = place::line_ends;
        }
    }
    void skip(std::string_view characters) {
        kept_.erase(0, (std::min)(kept_.find_first_not_of(characters), kept_.size()));
    }

    std::string kept_; ///< of the answer, not yet decided on
    place place_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
