// SPDX-License-Identifier: MIT
// token_counts: how often each token is among a few.
#ifndef BITNET_RUN_TOKEN_COUNTS_HPP
#define BITNET_RUN_TOKEN_COUNTS_HPP

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/memory_source.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/text/token.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// A hash table with linear probing, at most half full, so that its size is that of a window of tokens and not of the
/// vocabulary. Allocates in open() only: 16 to 32 bytes for each token that it has room for.
class token_counts {
public:
    /// \param most tokens that are counted at the same time. \return errc::out_of_memory.
    [[nodiscard]] static result<token_counts> open(std::size_t most, const memory_from& from = {}) {
        token_counts made;
        std::size_t size = most != 0 ? 2 : 0;
        while (size < 2 * most) {
            size *= 2;
        }
        auto places = buffer<place>::allocate(size, "sampler counts", from);
        if (!places) {
            return failed(places);
        }
        made.places_ = *std::move(places);
        return made;
    }

    [[nodiscard]] std::size_t distinct() const noexcept { return distinct_; }
    [[nodiscard]] std::uint32_t of(token id) const noexcept { return distinct_ == 0 ? 0 : places_[find(id)].count; }

    /// \pre fewer than the tokens given to open() are counted
    void add(token id) noexcept {
        place& at = places_[find(id)];
        at.id = id;
        distinct_ += ++at.count == 1 ? 1u : 0u;
    }

    /// \pre it is counted
    void remove(token id) noexcept {
        const std::size_t at = find(id);
        if (--places_[at].count == 0) {
            --distinct_;
            close_gap(at);
        }
    }

    void clear() noexcept {
        for (place& each : places_.span()) {
            each = {};
        }
        distinct_ = 0;
    }

private:
    struct place {
        token id;
        std::uint32_t count; ///< 0: the place is free
    };

    [[nodiscard]] std::size_t mask() const noexcept { return places_.size() - 1; }
    [[nodiscard]] std::size_t home_of(token id) const noexcept {
        const std::uint32_t mixed = static_cast<std::uint32_t>(id) * 0x9e3779b1u; // Fibonacci hashing
        return (mixed ^ (mixed >> 15)) & mask();
    }
    /// Where `id` is or would be.
    [[nodiscard]] std::size_t find(token id) const noexcept {
        std::size_t at = home_of(id);
        while (places_[at].count != 0 && places_[at].id != id) {
            at = (at + 1) & mask();
        }
        return at;
    }

    /// Moves what follows a place that became free to where find() looks for it.
    void close_gap(std::size_t gap) noexcept {
        for (std::size_t at = (gap + 1) & mask(); places_[at].count != 0; at = (at + 1) & mask()) {
            const std::size_t from_home = (at - home_of(places_[at].id)) & mask();
            if (from_home >= ((at - gap) & mask())) {
                places_[gap] = places_[at];
                places_[at].count = 0;
                gap = at;
            }
        }
    }

    buffer<place> places_; ///< a power of two
    std::size_t distinct_ = 0;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
