// SPDX-License-Identifier: MIT
// stamp_table: finds numbers by three others, and forgets all of them at once.
#ifndef BITNET_CONSTRAIN_STAMP_TABLE_HPP
#define BITNET_CONSTRAIN_STAMP_TABLE_HPP

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// Lists of entries, by a hash of their keys. The memory for all of them is allocated by open() and touched as they
/// come to be in use: a table that is opened and hardly needed costs a page, whatever it has room for.
class stamp_table {
public:
    /// \param entries at once. \return errc::out_of_memory.
    [[nodiscard]] static result<stamp_table> open(std::uint32_t entries) {
        std::uint64_t lists = fewest_lists;
        while (lists < entries) {
            lists *= 2;
        }
        stamp_table made;
        error failure;
        allocate_uninitialized(made.lists_, lists, "matcher", failure);
        allocate_uninitialized(made.entries_, entries, "matcher", failure);
        if (failure.code != errc{}) {
            return failure;
        }
        made.begin_lists(fewest_lists);
        return made;
    }

    void forget() noexcept {
        used_ = 0;
        if (++stamp_ == 0) {
            begin_lists(lists_in_use_);
        }
    }
    /// The number kept for a, b and c, `none` where it is new; nullptr where the table is full.
    [[nodiscard]] std::uint32_t* at(std::uint32_t a, std::uint32_t b, std::uint32_t c) noexcept {
        for (std::uint32_t i = first_of(list_of(a, b, c)); i != none; i = entries_[i].next) {
            entry& found = entries_[i];
            if (found.a == a && found.b == b && found.c == c) {
                return &found.value;
            }
        }
        if (used_ == entries_.size()) {
            return nullptr;
        }
        if (used_ == lists_in_use_) { // lists_ has one for each entry
            begin_lists(lists_in_use_ * 2);
            for (std::uint32_t i = 0; i < used_; ++i) {
                put_in_list(i);
            }
        }
        entries_[used_] = {a, b, c, none, none};
        put_in_list(used_);
        return &entries_[used_++].value;
    }

    [[nodiscard]] std::size_t size_bytes() const noexcept { return lists_.size_bytes() + entries_.size_bytes(); }

    static constexpr std::uint32_t none = 0xffffffffu;

private:
    static constexpr std::uint32_t fewest_lists = 64;
    struct list {
        std::uint32_t stamp; ///< of the entries; another one than stamp_: there are none
        std::uint32_t first;
    };
    struct entry {
        std::uint32_t a;
        std::uint32_t b;
        std::uint32_t c;
        std::uint32_t value;
        std::uint32_t next;
    };

    /// Makes so many lists, all of them empty.
    void begin_lists(std::uint32_t count) noexcept {
        stamp_ = 1;
        lists_in_use_ = count;
        std::fill_n(lists_.data(), count, list{0, none});
    }
    [[nodiscard]] list& list_of(std::uint32_t a, std::uint32_t b, std::uint32_t c) noexcept {
        std::uint64_t hash =
            (std::uint64_t{a} << 32 | b) * 0x9e3779b97f4a7c15u ^ (std::uint64_t{c} + 1) * 0xc2b2ae3d27d4eb4fu;
        hash ^= hash >> 29;
        return lists_[static_cast<std::uint32_t>(hash) & (lists_in_use_ - 1)];
    }
    [[nodiscard]] std::uint32_t first_of(const list& of) const noexcept { return of.stamp == stamp_ ? of.first : none; }
    void put_in_list(std::uint32_t number) noexcept {
        entry& put = entries_[number];
        list& into = list_of(put.a, put.b, put.c);
        put.next = first_of(into);
        into = {stamp_, number};
    }

    buffer<list> lists_; ///< of these, the first lists_in_use_: a power of two
    buffer<entry> entries_;
    std::uint32_t lists_in_use_ = 0;
    std::uint32_t stamp_ = 1;
    std::uint32_t used_ = 0;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
