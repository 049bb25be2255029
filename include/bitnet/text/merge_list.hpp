// SPDX-License-Identifier: MIT
// read_merges: the merges of a model, from a GGUF file, every one of them checked.
#ifndef BITNET_TEXT_MERGE_LIST_HPP
#define BITNET_TEXT_MERGE_LIST_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/gguf_types.hpp>
#include <bitnet/io/gguf_value.hpp>
#include <bitnet/io/quoted_name.hpp>
#include <bitnet/text/merge_table.hpp>
#include <bitnet/text/token.hpp>
#include <bitnet/text/token_index.hpp>
#include <bitnet/text/tokenizer_metadata.hpp>
#include <bitnet/text/vocabulary.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Reads tokenizer.ggml.merges: "LEFT RIGHT" as the vocabulary spells normal tokens, in the order of their ranks, into
/// a table. Use read_merges().
class merge_reader {
public:
    merge_reader(const gguf_file& file, const vocabulary& tokens) noexcept : file_(file), tokens_(tokens) {}

    [[nodiscard]] result<merge_table> run(std::vector<std::string>* notes) {
        const auto list = need_array(file_, key, gguf_type::string);
        if (!list) {
            return failed(list);
        }
        if ((*list)->count >= merge::never) {
            return bad_vocabulary(
                file_, key,
                sentence({"has ", (*list)->count, " elements, fewer than ", merge::never, " are possible"}));
        }
        auto table = merge_table::allocate((*list)->count, file_.memory());
        if (!table) {
            return table;
        }
        std::uint32_t rank = 0;
        for (const std::string_view text : (*list)->strings()) {
            if (auto done = add(*table, text, rank); !done) {
                return failed(done);
            }
            ++rank;
        }
        for (; looked_up_ < spelled_; ++looked_up_) {
            if (auto done = look_up(*table, spelled_merges_[looked_up_ % ahead]); !done) {
                return failed(done);
            }
        }
        for (; inserted_ < found_; ++inserted_) {
            if (auto done = insert(*table, found_merges_[inserted_ % ahead]); !done) {
                return failed(done);
            }
        }
        if (passed_over_ != 0 && notes != nullptr) {
            notes->push_back(sentence({passed_over_, " of ", rank, " merges, such as ", quoted{first_passed_over_},
                                       ", name added tokens, or bytes without token, and are passed over"}));
        }
        return table;
    }

private:
    static constexpr std::string_view key = "tokenizer.ggml.merges";

    // Both tables are larger than most caches. A merge passes two queues, so that its places in them have come from
    // memory when they are looked at: its halves', then its own.
    static constexpr std::size_t ahead = 16;

    /// A merge whose tokens are not known yet. The halves are decoded next to each other: together they are the bytes
    /// of the whole. Where these are too long, they are decoded again.
    struct spelled_merge {
        std::string_view text;
        std::uint32_t rank = 0;
        std::uint32_t left_size = 0;
        std::uint32_t size = 0;
        std::array<char, 44> bytes{};
    };
    struct known_merge {
        std::string_view text;
        token left = no_token;
        token right = no_token;
        merge made;
    };

    [[nodiscard]] result<void> add(merge_table& table, std::string_view text, std::uint32_t rank) {
        if (spelled_ - looked_up_ == ahead) {
            if (auto done = look_up(table, spelled_merges_[looked_up_++ % ahead]); !done) {
                return done;
            }
        }
        const std::size_t space = text.find(' ');
        if (space == std::string_view::npos || text.size() > vocabulary::longest_merge) {
            return bad_vocabulary(file_, key, rank,
                                  sentence({"is ", quoted_name(text), ", not two tokens with one space between"}));
        }
        const std::string_view left = text.substr(0, space);
        const std::string_view right = text.substr(space + 1);
        const auto left_size = tokens_.decode_normal(left, bytes_.data());
        const auto right_size = left_size ? tokens_.decode_normal(right, bytes_.data() + *left_size) : std::nullopt;
        if (!right_size) {
            return missing(text, rank, left_size ? right : left);
        }
        tokens_.fetch({bytes_.data(), *left_size});
        tokens_.fetch({bytes_.data() + *left_size, *right_size});
        spelled_merge& made = spelled_merges_[spelled_++ % ahead];
        made.text = text;
        made.rank = rank;
        made.left_size = static_cast<std::uint32_t>(*left_size);
        made.size = static_cast<std::uint32_t>(*left_size + *right_size);
        std::memcpy(made.bytes.data(), bytes_.data(), (std::min)(std::size_t{made.size}, made.bytes.size()));
        return {};
    }

    [[nodiscard]] std::string_view whole_of(const spelled_merge& of) {
        if (of.size <= of.bytes.size()) {
            return {of.bytes.data(), of.size};
        }
        const std::size_t space = of.text.find(' ');
        static_cast<void>(tokens_.decode_normal(of.text.substr(0, space), bytes_.data()));
        static_cast<void>(tokens_.decode_normal(of.text.substr(space + 1), bytes_.data() + of.left_size));
        return {bytes_.data(), of.size};
    }

    /// Lists are mostly in the order of the tokens that merges make: the next one makes the same or the one after it.
    [[nodiscard]] result<void> look_up(merge_table& table, const spelled_merge& of) {
        const std::string_view whole = whole_of(of);
        const token left_id = tokens_.find(whole.substr(0, of.left_size));
        const token right_id = tokens_.find(whole.substr(of.left_size));
        const token whole_id = tokens_.find(whole, last_whole_);
        if (left_id == no_token || right_id == no_token || whole_id == no_token) {
            return pass_over(of.text, of.rank, whole, of.left_size);
        }
        last_whole_ = whole_id;
        return insert_later(table, {of.text, left_id, right_id, {of.rank, whole_id}});
    }

    [[nodiscard]] result<void> insert_later(merge_table& table, const known_merge& found) {
        result<void> done;
        if (found_ - inserted_ == ahead) {
            done = insert(table, found_merges_[inserted_++ % ahead]);
        }
        table.fetch(found.left, found.right);
        found_merges_[found_++ % ahead] = found;
        return done;
    }

    /// A merge that names no token: an error, unless added tokens or missing bytes are the reason.
    [[nodiscard]] result<void> pass_over(std::string_view text, std::uint32_t rank, std::string_view whole,
                                         std::size_t left_size) {
        const std::size_t space = text.find(' ');
        const std::string joined = std::string(text).erase(space, 1);
        const std::array<std::pair<std::string_view, std::string_view>, 3> parts{
            {{text.substr(0, space), whole.substr(0, left_size)},
             {text.substr(space + 1), whole.substr(left_size)},
             {joined, whole}}};
        for (const auto& [spelling, bytes] : parts) {
            if (tokens_.find(bytes) == no_token && !tokens_.is_beyond_merging(bytes)) {
                return missing(text, rank, spelling);
            }
        }
        first_passed_over_ = passed_over_++ == 0 ? text : first_passed_over_;
        return {};
    }

    [[nodiscard]] result<void> insert(merge_table& table, const known_merge& of) {
        switch (table.insert(of.left, of.right, of.made)) {
        case token_index::outcome::duplicate:
            return bad_vocabulary(
                file_, key, of.made.rank,
                sentence({"is ", quoted_name(of.text), ", the same as element ", table.find(of.left, of.right).rank}));
        case token_index::outcome::crowded:
            return bad_vocabulary(file_, key, of.made.rank,
                                  sentence({"collides with more than ", longest_probe, " other merges"}));
        default:
            return {};
        }
    }

    [[nodiscard]] error missing(std::string_view text, std::uint32_t rank, std::string_view part) const {
        return bad_vocabulary(file_, key, rank,
                              sentence({"is ", quoted_name(text), ", but ", quoted_name(part), " is not one of the ",
                                        tokens_.size(), " tokens"}));
    }

    const gguf_file& file_;
    const vocabulary& tokens_;
    std::array<spelled_merge, ahead> spelled_merges_{}; ///< not yet looked up
    std::size_t spelled_ = 0;
    std::size_t looked_up_ = 0;
    std::array<known_merge, ahead> found_merges_{}; ///< not yet inserted
    std::size_t found_ = 0;
    std::size_t inserted_ = 0;
    token last_whole_ = 0;
    std::size_t passed_over_ = 0;
    std::string_view first_passed_over_;
    std::array<char, vocabulary::longest_merge> bytes_{}; ///< no text that decodes is longer than its spelling
};

/// The merges of `file` between tokens of `tokens`. Cost: three look-ups per merge, memory 24 to 48 bytes per merge.
/// Merges that name an added token, or bytes that have none, can do nothing in any text; `notes`, if there are any, get
/// a sentence about these.
///
/// \return errc::missing_key; errc::bad_vocabulary (no two halves, a half or the whole that is no token, a merge
/// twice); errc::out_of_memory. tests/text/vocabulary_test.cpp has one of each.
[[nodiscard]] inline result<merge_table> read_merges(const gguf_file& file, const vocabulary& tokens,
                                                     std::vector<std::string>* notes = nullptr) {
    return merge_reader(file, tokens).run(notes);
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
