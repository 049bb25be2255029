// SPDX-License-Identifier: MIT
// stop_texts: finds the texts at which an answer ends, and holds back what may become one.
#ifndef BITNET_TEXT_STOP_TEXTS_HPP
#define BITNET_TEXT_STOP_TEXTS_HPP

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// Takes an answer piece by piece and gives back what may be shown of it: nothing of a stop text ever is, wherever the
/// pieces are cut. Of several stop texts the one that is complete first is the hit; of those that end at the same byte
/// the longest, of equal ones the first. What is held back is the longest end of the answer that begins a stop text.
/// One stop_texts serves one answer at a time. Allocates in open() only, about 21 bytes for each byte of the texts.
/// Aho-Corasick over bytes (Aho and Corasick, 1975): a time linear in the answer, whatever the texts.
class stop_texts {
public:
    static constexpr std::size_t most = 64;      ///< texts
    static constexpr std::size_t longest = 1024; ///< bytes of one

    /// What came of feeding a piece.
    struct step {
        /// What may be shown now, in this order: what had been held back, and of the piece. Either may be empty. The
        /// first is valid as long as the stop_texts is neither moved nor destroyed, the second as long as the piece.
        std::array<std::string_view, 2> shown;
        std::optional<std::size_t> stop; ///< the index of the stop text that was hit
    };

    /// Copies the texts; without any, all that is fed is shown. \return errc::invalid_argument if there are more than
    /// 64, or if one is empty or has more than 1,024 bytes; errc::out_of_memory.
    [[nodiscard]] static result<stop_texts> open(std::span<const std::string_view> texts) {
        auto bytes = count_bytes(texts);
        if (!bytes) {
            return failed(bytes);
        }
        stop_texts made;
        buffer<std::uint32_t> queue;
        error failure;
        detail::allocate(made.bytes_, *bytes, "stop texts", failure);
        detail::allocate(made.nodes_, *bytes + 1, "automaton of stop texts", failure);
        detail::allocate(queue, *bytes + 1, "queue of stop texts", failure);
        if (failure.code != errc{}) {
            return failure;
        }
        made.add(texts);
        made.link(queue.span());
        return made;
    }

    /// Takes the next piece of the answer. After a hit nothing more is shown, and every further call names the same
    /// stop, until reset().
    [[nodiscard]] step feed(std::string_view piece) noexcept {
        if (hit_) {
            return {{}, hit_};
        }
        const std::string_view before = held();
        for (std::size_t i = 0; i < piece.size(); ++i) {
            state_ = after(state_, piece[i]);
            if (const std::size_t ended = nodes_[state_].stop; ended != 0) {
                hit_ = ended - 1;
                state_ = 0;
                return {without_end(before, piece.substr(0, i + 1), sizes_[ended - 1]), hit_};
            }
        }
        return {without_end(before, piece, nodes_[state_].depth), std::nullopt};
    }

    /// What is still held back, at the end of the answer, which has become no stop text; empty after a hit. Valid as
    /// long as the stop_texts is neither moved nor destroyed.
    [[nodiscard]] std::string_view flush() noexcept {
        const std::string_view rest = held();
        state_ = 0;
        return rest;
    }

    /// What is held back at present.
    [[nodiscard]] std::string_view held() const noexcept {
        return {bytes_.data() + nodes_[state_].text, nodes_[state_].depth};
    }

    /// Begins a new answer with the same texts.
    void reset() noexcept {
        state_ = 0;
        hit_.reset();
    }

private:
    /// A beginning of a stop text. Node 0 is the empty one.
    struct node {
        std::uint32_t child;   ///< the first of those one byte longer; 0 is none
        std::uint32_t sibling; ///< the next of those that differ in the last byte; 0 is none
        std::uint32_t failure; ///< the longest node that this one ends with
        std::uint32_t text;    ///< where in bytes_ a stop text begins with it
        std::uint16_t depth;   ///< its bytes
        std::uint8_t byte;     ///< the last of them
        std::uint8_t stop;     ///< 1 + index of the longest stop text that it ends with; 0 is none
    };
    static_assert(most < 256 && longest < 65536, "what a node has room for");

    stop_texts() noexcept = default;

    [[nodiscard]] static result<std::size_t> count_bytes(std::span<const std::string_view> texts) {
        if (texts.size() > most) {
            return detail::error_saying(errc::invalid_argument,
                                        {"stop texts: ", texts.size(), " were given, at most ", most, " are possible"});
        }
        std::size_t bytes = 0;
        for (std::size_t i = 0; i < texts.size(); ++i) {
            if (texts[i].empty() || texts[i].size() > longest) {
                return detail::error_saying(errc::invalid_argument, {"stop texts: text ", i, " has ", texts[i].size(),
                                                                     " bytes, 1 to ", longest, " are possible"});
            }
            bytes += texts[i].size();
        }
        return bytes;
    }

    void add(std::span<const std::string_view> texts) noexcept {
        std::uint32_t nodes = 1;
        std::uint32_t begin = 0;
        for (std::size_t i = 0; i < texts.size(); ++i) {
            std::uint32_t at = 0;
            std::uint16_t depth = 0;
            for (const char c : texts[i]) {
                bytes_[begin + depth++] = c;
                std::uint32_t next = child_of(at, c);
                if (next == 0) {
                    next = nodes++;
                    nodes_[next] = {0, nodes_[at].child, 0, begin, depth, static_cast<std::uint8_t>(c), 0};
                    nodes_[at].child = next;
                }
                at = next;
            }
            if (nodes_[at].stop == 0) {
                nodes_[at].stop = static_cast<std::uint8_t>(i + 1);
            }
            sizes_[i] = depth;
            begin += depth;
        }
    }

    /// Failure links, and the stops that come by them, from short nodes to long ones.
    void link(std::span<std::uint32_t> queue) noexcept {
        std::size_t queued = 1; // queue[0] is the empty node
        for (std::size_t i = 0; i < queued; ++i) {
            const std::uint32_t parent = queue[i];
            for (std::uint32_t at = nodes_[parent].child; at != 0; at = nodes_[at].sibling) {
                node& here = nodes_[at];
                if (parent != 0) {
                    here.failure = after(nodes_[parent].failure, static_cast<char>(here.byte));
                }
                if (here.stop == 0) {
                    here.stop = nodes_[here.failure].stop;
                }
                queue[queued++] = at;
            }
        }
    }

    [[nodiscard]] std::uint32_t child_of(std::uint32_t at, char byte) const noexcept {
        std::uint32_t child = nodes_[at].child;
        while (child != 0 && nodes_[child].byte != static_cast<std::uint8_t>(byte)) {
            child = nodes_[child].sibling;
        }
        return child;
    }

    /// The longest node that `at` and then `byte` end with.
    [[nodiscard]] std::uint32_t after(std::uint32_t at, char byte) const noexcept {
        for (;; at = nodes_[at].failure) {
            const std::uint32_t next = child_of(at, byte);
            if (next != 0 || at == 0) {
                return next;
            }
        }
    }

    /// `first` and then `second` without their last `bytes`. \pre there are as many
    [[nodiscard]] static std::array<std::string_view, 2> without_end(std::string_view first, std::string_view second,
                                                                     std::size_t bytes) noexcept {
        if (bytes <= second.size()) {
            return {first, second.substr(0, second.size() - bytes)};
        }
        return {first.substr(0, first.size() - (bytes - second.size())), std::string_view{}};
    }

    buffer<char> bytes_; ///< all texts, one after another
    buffer<node> nodes_;
    std::array<std::uint16_t, most> sizes_{};
    std::uint32_t state_ = 0;
    std::optional<std::size_t> hit_;
};

} // namespace bitnet::inline BITNET_ABI

#endif
