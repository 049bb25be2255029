// SPDX-License-Identifier: MIT
// group_stack: alternatives of sequences in groups, as they are read from left to right, without recursion.
#ifndef BITNET_CONSTRAIN_GROUP_STACK_HPP
#define BITNET_CONSTRAIN_GROUP_STACK_HPP

#include <bitnet/constrain/expression.hpp>
#include <bitnet/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Makes one expression out of parts, "|" and parentheses.
class group_stack {
public:
    explicit group_stack(expression_pool& pool) : pool_(pool) { open(); }

    void open() { groups_.push_back({alternatives_.size(), parts_.size()}); }
    void add(expression part) { parts_.push_back(part); }
    /// The end of an alternative: what comes next is another one.
    void alternate() {
        const std::size_t first = groups_.back().first_part;
        alternatives_.push_back(pool_.sequence(std::span(parts_).subspan(first)));
        parts_.resize(first);
    }
    /// Closes the innermost group. \return it as one expression, which has not been added to the group around it
    [[nodiscard]] expression close() {
        alternate();
        const std::size_t first = groups_.back().first_alternative;
        const expression made = pool_.choice(std::span(alternatives_).subspan(first));
        alternatives_.resize(first);
        groups_.pop_back();
        return made;
    }
    /// Groups that are open, the outermost included.
    [[nodiscard]] std::size_t depth() const noexcept { return groups_.size(); }
    /// Whether the present alternative has no part yet.
    [[nodiscard]] bool is_empty() const noexcept { return parts_.size() == groups_.back().first_part; }
    /// Replaces the last part of the present alternative by its repetition. \pre !is_empty()
    void repeat(std::uint32_t low, std::uint32_t high) { parts_.back() = pool_.repeat(parts_.back(), low, high); }

private:
    struct group {
        std::size_t first_alternative;
        std::size_t first_part;
    };

    expression_pool& pool_;
    std::vector<group> groups_;
    std::vector<expression> alternatives_;
    std::vector<expression> parts_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
