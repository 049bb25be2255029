// SPDX-License-Identifier: MIT
// schema_draft: what demands on a value have come to so far, and what they ask for further.
#ifndef BITNET_CONSTRAIN_SCHEMA_DRAFT_HPP
#define BITNET_CONSTRAIN_SCHEMA_DRAFT_HPP

#include <bitnet/constrain/schema_shape.hpp>
#include <bitnet/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Demands on one value, of which some are settled: what they come to, and what is to be chosen yet.
class schema_draft {
public:
    struct choice {
        std::uint32_t parent; ///< which demand asked for it
        std::vector<demands> lists;
    };

    void begin(const demands& all) {
        for (const demand one : all) {
            todo_.push_back({one, none});
        }
    }
    /// The next demand, which is the present one then; nullopt at the end, or where no value is left.
    [[nodiscard]] std::optional<demand> next() {
        return at_ != todo_.size() && shape.values != 0 ? std::optional{todo_[at_++].what} : std::nullopt;
    }
    /// \return whether it is met for the first time
    [[nodiscard]] bool see(demand what) { return seen_.insert(what).second; }
    [[nodiscard]] bool has_seen(demand what) const { return seen_.count(what) != 0; }
    /// Whether the present demand asks for itself, perhaps by way of others on the same value.
    [[nodiscard]] bool is_cycle() const {
        const demand what = todo_[at_ - 1].what;
        for (std::uint32_t i = todo_[at_ - 1].parent; i != none; i = todo_[i].parent) {
            if (todo_[i].what == what) {
                return true;
            }
        }
        return false;
    }
    /// The present demand asks for another one, or for one of several lists.
    void want(demand what) { todo_.push_back({what, present()}); }
    void want_one(std::vector<demands> lists) { choices_.push_back({present(), std::move(lists)}); }

    [[nodiscard]] const std::vector<choice>& choices() const noexcept { return choices_; }
    /// Adds a draft for every list of the first choice, the first list at the end.
    void fork(std::vector<schema_draft>& drafts) && {
        const choice made_of = std::move(choices_.front());
        choices_.erase(choices_.begin());
        for (auto list = made_of.lists.rbegin(); list != made_of.lists.rend(); ++list) {
            schema_draft made = *this;
            for (const demand what : *list) {
                made.todo_.push_back({what, made_of.parent});
            }
            drafts.push_back(std::move(made));
        }
    }

    schema_shape shape;

private:
    static constexpr std::uint32_t none = 0xffffffffu;
    struct origin {
        demand what;
        std::uint32_t parent; ///< in the same list: which demand asked for it, or none
    };
    [[nodiscard]] std::uint32_t present() const noexcept { return static_cast<std::uint32_t>(at_ - 1); }

    std::vector<origin> todo_;
    std::size_t at_ = 0;
    std::set<demand> seen_;
    std::vector<choice> choices_; ///< of each, one list has to be met
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
