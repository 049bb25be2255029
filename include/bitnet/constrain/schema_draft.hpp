// SPDX-License-Identifier: MIT
// schema_draft: what demands on a value have come to so far, and what they ask for further.
#ifndef BITNET_CONSTRAIN_SCHEMA_DRAFT_HPP
#define BITNET_CONSTRAIN_SCHEMA_DRAFT_HPP

#include <bitnet/constrain/schema_shape.hpp>
#include <bitnet/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
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
        std::shared_ptr<const std::vector<demands>>
            lists; ///< shared: drafts are copied with the choices they leave open
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
    void want_one(std::vector<demands> lists) {
        choices_.push_back({present(), std::make_shared<const std::vector<demands>>(std::move(lists))});
    }

    [[nodiscard]] const std::vector<choice>& choices() const noexcept { return choices_; }
    /// Whether fork() has one list left. \pre there are choices
    [[nodiscard]] bool is_at_last_fork() const noexcept { return forks_ + 1 == choices_.front().lists->size(); }
    /// The draft that meets the next list of the first choice; the last one takes all that this one has.
    /// \pre there are choices, and lists left of the first
    [[nodiscard]] schema_draft fork() {
        const choice first = choices_.front();
        const bool is_last = is_at_last_fork();
        const demands& list = (*first.lists)[forks_++];
        schema_draft made = is_last ? std::move(*this) : *this;
        made.forks_ = 0;
        made.choices_.erase(made.choices_.begin());
        for (const demand what : list) {
            made.todo_.push_back({what, first.parent});
        }
        return made;
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
    std::size_t forks_ = 0;       ///< lists of the first one that were forked
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
