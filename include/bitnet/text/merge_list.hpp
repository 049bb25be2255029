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

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// Reads tokenizer.ggml.merges: "LEFT RIGHT" as the vocabulary spells normal tokens, in the order of their ranks, into
/// a table. Use read_merges().
class merge_reader {
public:
    merge_reader(const gguf_file& file, const vocabulary& tokens) noexcept : file_(file), tokens_(tokens) {}

    [[nodiscard]] result<merge_table> run() {
        const auto list = need_array(file_, key, gguf_type::string);
        if (!list) {
            return failed(list);
        }
        if ((*list)->count >= merge::never) {
            return bad_vocabulary(
                file_, key,
                sentence({"has ", (*list)->count, " elements, fewer than ", merge::never, " are possible"}));
        }
        auto table = merge_table::allocate((*list)->count);
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
        return table;
    }

private:
    static constexpr std::string_view key = "tokenizer.ggml.merges";

    [[nodiscard]] result<void> add(merge_table& table, std::string_view text, std::uint32_t rank) {
        const std::size_t space = text.find(' ');
        if (space == std::string_view::npos || text.size() > 4 * vocabulary::longest_token) {
            return bad_vocabulary(file_, key, rank,
                                  sentence({"is ", quoted_name(text), ", not two tokens with one space between"}));
        }
        const std::string_view left = text.substr(0, space);
        const std::string_view right = text.substr(space + 1);
        // The halves are decoded next to each other: together they are the bytes of the whole.
        const auto left_size = tokens_.decode_normal(left, bytes_.data());
        const auto right_size = left_size ? tokens_.decode_normal(right, bytes_.data() + *left_size) : std::nullopt;
        if (!right_size) {
            return missing(text, rank, left_size ? right : left);
        }
        const token left_id = tokens_.find({bytes_.data(), *left_size});
        const token right_id = tokens_.find({bytes_.data() + *left_size, *right_size});
        if (left_id == no_token || right_id == no_token) {
            return missing(text, rank, left_id == no_token ? left : right);
        }
        const token whole = tokens_.find({bytes_.data(), *left_size + *right_size});
        if (whole == no_token) {
            return missing(text, rank, std::string(left).append(right));
        }
        return insert(table, text, left_id, right_id, {rank, whole});
    }

    [[nodiscard]] result<void> insert(merge_table& table, std::string_view text, token left, token right, merge made) {
        switch (table.insert(left, right, made)) {
        case token_index::outcome::duplicate:
            return bad_vocabulary(
                file_, key, made.rank,
                sentence({"is ", quoted_name(text), ", the same as element ", table.find(left, right).rank}));
        case token_index::outcome::crowded:
            return bad_vocabulary(file_, key, made.rank,
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
    std::array<char, 4 * vocabulary::longest_token> bytes_{}; ///< no text that decodes is longer than its spelling
};

/// The merges of `file` between tokens of `tokens`. Cost: three look-ups per merge, memory 24 to 48 bytes per merge.
/// \return errc::missing_key; errc::bad_vocabulary (no two halves, a half or the whole that is no token, a merge
/// twice); errc::out_of_memory. tests/text/vocabulary_test.cpp has one of each.
[[nodiscard]] inline result<merge_table> read_merges(const gguf_file& file, const vocabulary& tokens) {
    return merge_reader(file, tokens).run();
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
