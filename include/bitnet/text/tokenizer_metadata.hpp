// SPDX-License-Identifier: MIT
// Strict reading of the tokenizer.ggml.* keys of a GGUF file.
#ifndef BITNET_TEXT_TOKENIZER_METADATA_HPP
#define BITNET_TEXT_TOKENIZER_METADATA_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/gguf_types.hpp>
#include <bitnet/io/gguf_value.hpp>
#include <bitnet/text/token.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// errc::bad_vocabulary: "FILE: KEY WHY".
[[nodiscard]] inline error bad_vocabulary(const gguf_file& file, std::string_view key, std::string_view why) {
    return {errc::bad_vocabulary, sentence({file.name(), ": ", key, " ", why})};
}

/// errc::bad_vocabulary: "FILE: KEY[INDEX] WHY".
[[nodiscard]] inline error bad_vocabulary(const gguf_file& file, std::string_view key, std::uint64_t index,
                                          std::string_view why) {
    return bad_vocabulary(file, sentence({key, "[", index, "]"}), why);
}

/// The array under `key`; null if the file has no such key.
/// \return errc::bad_vocabulary if it is not an array of exactly `element`.
[[nodiscard]] inline result<const gguf_value*> find_array(const gguf_file& file, std::string_view key,
                                                          gguf_type element) {
    const gguf_value* value = file.find(key);
    if (value == nullptr || value->is_array_of(element)) {
        return value;
    }
    const bool is_array = value->type == gguf_type::array;
    return bad_vocabulary(
        file, key,
        sentence({is_array ? "is an array of " : "is a ", name_of(is_array ? value->element_type : value->type),
                  ", an array of ", name_of(element), " is needed"}));
}

/// The same, with errc::missing_key if the file has no such key.
[[nodiscard]] inline result<const gguf_value*> need_array(const gguf_file& file, std::string_view key,
                                                          gguf_type element) {
    auto found = find_array(file, key, element);
    if (found && *found == nullptr) {
        return error{errc::missing_key, sentence({file.name(), ": the tokenizer needs ", key})};
    }
    return found;
}

/// The same as find_array, of exactly `count` elements, one for each token.
[[nodiscard]] inline result<const gguf_value*> find_array_of(const gguf_file& file, std::string_view key,
                                                             gguf_type element, std::uint64_t count) {
    auto found = find_array(file, key, element);
    if (found && *found != nullptr && (*found)->count != count) {
        return bad_vocabulary(file, key, sentence({"has ", (*found)->count, " elements for ", count, " tokens"}));
    }
    return found;
}

/// An array of integers of any type, of exactly `count` elements; null if the file has no such key.
[[nodiscard]] inline result<const gguf_value*> find_integers_of(const gguf_file& file, std::string_view key,
                                                                std::uint64_t count) {
    const gguf_value* value = file.find(key);
    const bool is_integers = value != nullptr && value->type == gguf_type::array &&
                             (value->count == 0 || wide_element(*value, 0).has_value());
    return find_array_of(file, key, is_integers ? value->element_type : gguf_type::i32, count);
}

/// The token id under `key`, of any integer type; nullopt if the file has no such key.
/// \return errc::wrong_type if it is not an integer, errc::bad_vocabulary if it is outside the vocabulary.
[[nodiscard]] inline result<std::optional<token>> find_token_id(const gguf_file& file, std::string_view key,
                                                                std::size_t vocabulary_size) {
    if (file.find(key) == nullptr) {
        return std::optional<token>{};
    }
    const auto id = file.get<std::int64_t>(key);
    if (!id) {
        return failed(id);
    }
    if (*id < 0 || static_cast<std::uint64_t>(*id) >= vocabulary_size) {
        return bad_vocabulary(file, key,
                              sentence({"is ", *id, ", outside the vocabulary of ", vocabulary_size, " tokens"}));
    }
    return std::optional<token>{static_cast<token>(*id)};
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
