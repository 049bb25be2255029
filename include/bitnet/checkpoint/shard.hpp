// SPDX-License-Identifier: MIT
// shard: one GGUF file of a split model, by what it says and by its name.
#ifndef BITNET_CHECKPOINT_SHARD_HPP
#define BITNET_CHECKPOINT_SHARD_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/gguf_reader.hpp>

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

namespace bitnet::inline BITNET_ABI::detail {

/// Whether a metadata key only tells how files are split.
[[nodiscard]] constexpr bool is_shard_key(std::string_view key) noexcept {
    return key == "split.no" || key == "split.count" || key == "split.tensors.count";
}

/// Which part of a model a GGUF file says it is.
struct shard_facts {
    std::uint64_t number = 0;             ///< from 0
    std::uint64_t count = 1;              ///< 1: the file is the whole model
    std::optional<std::uint64_t> tensors; ///< of all shards together

    /// \return errc::wrong_type, missing_key or out_of_range, naming the key.
    [[nodiscard]] static result<shard_facts> read(const gguf_file& file) {
        const auto count = file.get_or<std::uint64_t>("split.count", 1);
        if (!count || *count <= 1) { // 0 is what gguf-split leaves when it joins shards
            return count ? result<shard_facts>(shard_facts{}) : failed(count);
        }
        const auto number = file.get<std::uint64_t>("split.no");
        if (!number) {
            return failed(number);
        }
        if (*number >= *count) {
            return error{errc::out_of_range, sentence({file.name(), ": 'split.no' is ", *number,
                                                       ", which is to be less than 'split.count', ", *count})};
        }
        shard_facts made{*number, *count, std::nullopt};
        if (file.find("split.tensors.count") != nullptr) {
            const auto tensors = file.get<std::uint64_t>("split.tensors.count");
            if (!tensors) {
                return failed(tensors);
            }
            made.tensors = *tensors;
        }
        return made;
    }
};

/// A path that ends as gguf-split names shards, "-00001-of-00003.gguf": the names of all others follow from it, and
/// from nothing that is in a file.
class shard_path {
public:
    /// nullopt for a path with another ending.
    [[nodiscard]] static std::optional<shard_path> parse(std::string_view path) {
        if (path.size() < ending_size) {
            return std::nullopt;
        }
        const std::string_view ending = path.substr(path.size() - ending_size);
        const auto number = number_of(ending.substr(1, digits));
        const auto count = number_of(ending.substr(10, digits));
        if (!number || !count || *number == 0 || *number > *count) {
            return std::nullopt;
        }
        const shard_path made(path.substr(0, path.size() - ending_size), *number - 1, *count);
        return made.of(made.number()) == path ? std::optional(made) : std::nullopt;
    }

    [[nodiscard]] std::uint64_t number() const noexcept { return number_; } ///< from 0
    [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
    /// The path of shard `number`, from 0.
    [[nodiscard]] std::string of(std::uint64_t number) const { return std::string(stem_) + ending(number, count_); }

    /// \pre number < count
    [[nodiscard]] static std::string ending(std::uint64_t number, std::uint64_t count) {
        return sentence({"-", padded(number + 1), "-of-", padded(count), ".gguf"});
    }

private:
    static constexpr std::size_t digits = 5;
    static constexpr std::size_t ending_size = 20; // -00001-of-00003.gguf

    shard_path(std::string_view stem, std::uint64_t number, std::uint64_t count) noexcept
        : stem_(stem), number_(number), count_(count) {}

    [[nodiscard]] static std::optional<std::uint64_t> number_of(std::string_view text) noexcept {
        std::uint64_t number = 0;
        const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
        const bool is_whole = read.ec == std::errc{} && read.ptr == text.data() + text.size();
        return is_whole ? std::optional(number) : std::nullopt;
    }
    [[nodiscard]] static std::string padded(std::uint64_t number) {
        const std::string text = std::to_string(number);
        return std::string(text.size() < digits ? digits - text.size() : 0, '0') + text;
    }

    std::string_view stem_;
    std::uint64_t number_;
    std::uint64_t count_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
