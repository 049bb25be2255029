// SPDX-License-Identifier: MIT
// sampling_advice::read: the keys general.sampling.* of a GGUF file.
#ifndef BITNET_CHECKPOINT_SAMPLING_ADVICE_READER_HPP
#define BITNET_CHECKPOINT_SAMPLING_ADVICE_READER_HPP

#include <bitnet/checkpoint/sampling_advice.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/gguf_reader.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bitnet::inline BITNET_ABI {

namespace detail {

/// Reads the keys of one file. Use sampling_advice::read().
class sampling_advice_reader {
public:
    sampling_advice_reader(const gguf_file& file, std::vector<std::string>& notes) noexcept
        : file_(file), notes_(notes) {}

    /// A number from 0 to `most`; compared as bits, because -ffast-math has no NaN.
    [[nodiscard]] std::optional<float> number(std::string_view key, float most, std::string_view range) const {
        if (file_.find(key) == nullptr) {
            return std::nullopt;
        }
        const auto value = file_.get<double>(key);
        if (!value) {
            pass_over(value.error().message.substr(file_.name().size() + 2));
            return std::nullopt;
        }
        constexpr std::uint64_t sign = std::uint64_t{1} << 63;
        const auto bits = std::bit_cast<std::uint64_t>(*value);
        if (bits != sign && bits > std::bit_cast<std::uint64_t>(static_cast<double>(most))) {
            const bool is_finite = (bits & ~sign) < std::uint64_t{0x7ff} << 52;
            pass_over(sentence({"metadata key '", key, "' is ", is_finite ? std::to_string(*value) : "not finite", ", ",
                                range, " is possible"}));
            return std::nullopt;
        }
        return bits == sign ? 0.0f : static_cast<float>(*value);
    }

    [[nodiscard]] std::optional<std::size_t> count(std::string_view key) const {
        if (file_.find(key) == nullptr) {
            return std::nullopt;
        }
        const auto value = file_.get<std::int32_t>(key);
        if (!value || *value < -1) {
            pass_over(value ? sentence({"metadata key '", key, "' is ", *value, ", -1 or more is possible"})
                            : value.error().message.substr(file_.name().size() + 2));
            return std::nullopt;
        }
        return *value == -1 ? 0 : static_cast<std::size_t>(*value);
    }

private:
    void pass_over(std::string_view what) const {
        notes_.push_back(sentence({what, "; this advice for choosing tokens is passed over"}));
    }

    const gguf_file& file_;
    std::vector<std::string>& notes_;
};

} // namespace detail

inline sampling_advice sampling_advice::read(const gguf_file& file, std::vector<std::string>& notes) {
    const detail::sampling_advice_reader reader(file, notes);
    constexpr float largest = (std::numeric_limits<float>::max)();
    return {.temperature = reader.number("general.sampling.temp", largest, "a finite number from 0 on"),
            .top_k = reader.count("general.sampling.top_k"),
            .top_p = reader.number("general.sampling.top_p", 1.0f, "a number from 0 to 1"),
            .min_p = reader.number("general.sampling.min_p", 1.0f, "a number from 0 to 1")};
}

} // namespace bitnet::inline BITNET_ABI

#endif
