// SPDX-License-Identifier: MIT
// code_point_class: a set of code points, and the automaton of its UTF-8 forms.
#ifndef BITNET_CONSTRAIN_CODE_POINT_CLASS_HPP
#define BITNET_CONSTRAIN_CODE_POINT_CLASS_HPP

#include <bitnet/constrain/automaton.hpp>
#include <bitnet/constrain/subset_construction.hpp>
#include <bitnet/core/config.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <tuple>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Code points `low` to `high`.
struct code_point_range {
    char32_t low;
    char32_t high;

    [[nodiscard]] bool operator==(const code_point_range&) const noexcept = default;
};

inline constexpr char32_t last_code_point = 0x10ffff;

/// A set of scalar values: ranges that are sorted and apart, without surrogates.
class code_point_class {
public:
    void add(char32_t low, char32_t high) {
        ranges_.push_back({low, high});
        is_sorted_ = false;
    }
    void add(const code_point_class& other) {
        ranges_.insert(ranges_.end(), other.ranges_.begin(), other.ranges_.end());
        is_sorted_ = false;
    }
    /// All scalar values that are not in it.
    [[nodiscard]] code_point_class complement() {
        code_point_class made;
        char32_t next = 0;
        for (const code_point_range range : ranges()) {
            if (range.low > next) {
                made.add(next, range.low - 1);
            }
            next = range.high + 1;
        }
        if (next <= last_code_point) {
            made.add(next, last_code_point);
        }
        return made;
    }
    [[nodiscard]] const std::vector<code_point_range>& ranges() {
        if (!is_sorted_) {
            sort();
        }
        return ranges_;
    }

private:
    void sort() {
        std::vector<code_point_range> parts;
        for (const code_point_range range : ranges_) { // surrogates have no UTF-8 form
            if (range.low < 0xd800) {
                parts.push_back({range.low, (std::min)(range.high, char32_t{0xd7ff})});
            }
            if (range.high > 0xdfff) {
                parts.push_back({(std::max)(range.low, char32_t{0xe000}), range.high});
            }
        }
        std::sort(parts.begin(), parts.end(), [](auto a, auto b) { return a.low < b.low; });
        ranges_.clear();
        for (const code_point_range part : parts) {
            if (!ranges_.empty() && part.low <= ranges_.back().high + 1) {
                ranges_.back().high = (std::max)(ranges_.back().high, part.high);
            } else {
                ranges_.push_back(part);
            }
        }
        is_sorted_ = true;
    }

    std::vector<code_point_range> ranges_;
    bool is_sorted_ = true;
};

/// Builds the UTF-8 automaton of a class; byte sequences share their tails.
class utf8_encoder {
public:
    explicit utf8_encoder(nondeterministic_automaton& out) : out_(out) {}

    /// The texts of one code point out of `range` lead from `from` to `to`.
    void connect(std::uint32_t from, std::uint32_t to, code_point_range range) {
        constexpr char32_t last_of_size[] = {0x7f, 0x7ff, 0xffff, last_code_point};
        for (std::size_t bytes = 1; bytes <= 4 && range.low <= range.high; ++bytes) {
            const char32_t last = (std::min)(range.high, last_of_size[bytes - 1]);
            if (range.low <= last) {
                split(from, to, {range.low, last}, bytes);
                range.low = last + 1;
            }
        }
    }

private:
    /// Cuts a range of equally long forms until each byte of them is a range of its own. At most 7 pieces.
    void split(std::uint32_t from, std::uint32_t to, code_point_range range, std::size_t bytes) {
        std::vector<code_point_range> todo{range};
        while (!todo.empty()) {
            const code_point_range part = todo.back();
            todo.pop_back();
            bool is_cut = false;
            for (std::size_t i = 1; i < bytes && !is_cut; ++i) {
                const char32_t mask = (char32_t{1} << (6 * i)) - 1;
                if ((part.low & ~mask) == (part.high & ~mask)) {
                    break;
                }
                if ((part.low & mask) != 0) {
                    is_cut = true;
                    todo.push_back({part.low, part.low | mask});
                    todo.push_back({(part.low | mask) + 1, part.high});
                } else if ((part.high & mask) != mask) {
                    is_cut = true;
                    todo.push_back({part.low, (part.high & ~mask) - 1});
                    todo.push_back({part.high & ~mask, part.high});
                }
            }
            if (!is_cut) {
                add_sequence(from, to, part, bytes);
            }
        }
    }

    void add_sequence(std::uint32_t from, std::uint32_t to, code_point_range range, std::size_t bytes) {
        constexpr unsigned lead[] = {0, 0xc0, 0xe0, 0xf0};
        std::uint32_t target = to;
        for (std::size_t i = 0; i + 1 < bytes; ++i) { // from the last byte to the second
            const auto low = static_cast<std::uint8_t>(0x80 | ((range.low >> (6 * i)) & 0x3f));
            const auto high = static_cast<std::uint8_t>(0x80 | ((range.high >> (6 * i)) & 0x3f));
            const auto [found, is_new] = tails_.try_emplace(std::tuple{low, high, target}, 0);
            if (is_new) {
                found->second = out_.add_state();
                out_.add(found->second, byte_edge{low, high, target});
            }
            target = found->second;
        }
        const std::size_t shift = 6 * (bytes - 1);
        out_.add(from, byte_edge{static_cast<std::uint8_t>(lead[bytes - 1] | (range.low >> shift)),
                                 static_cast<std::uint8_t>(lead[bytes - 1] | (range.high >> shift)), target});
    }

    nondeterministic_automaton& out_;
    std::map<std::tuple<std::uint8_t, std::uint8_t, std::uint32_t>, std::uint32_t> tails_;
};

/// The deterministic automaton of one code point out of `set`.
[[nodiscard]] inline automaton utf8_automaton(code_point_class set) {
    nondeterministic_automaton parts;
    const std::uint32_t from = parts.add_state();
    const std::uint32_t to = parts.add_state();
    parts.set_final(to);
    utf8_encoder encoder(parts);
    for (const code_point_range range : set.ranges()) {
        encoder.connect(from, to, range);
    }
    compile_budget budget; // at most some 20,000 states, by the number of two- and three-byte prefixes
    return set.ranges().empty() ? automaton() : determinised(parts, budget).value_or(automaton());
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
