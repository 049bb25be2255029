// SPDX-License-Identifier: MIT
// ternarised_rows<E>: ternary rows out of weights in floating point, exact where they are ternary and by absmean
// otherwise.
#ifndef BITNET_CHECKPOINT_TERNARISED_ROWS_HPP
#define BITNET_CHECKPOINT_TERNARISED_ROWS_HPP

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/checked.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/float_environment.hpp>
#include <bitnet/core/half.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/quoted_name.hpp>
#include <bitnet/kernel/row_format.hpp>
#include <bitnet/thread/pool.hpp>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

namespace bitnet::inline BITNET_ABI::detail {

/// The bits of a floating point element: a sign, and a magnitude that orders as the number does.
template <class E> struct float_bits {
    using word = std::conditional_t<sizeof(E) == 2, std::uint16_t, std::uint32_t>;
    static_assert(sizeof(word) == sizeof(E));

    static constexpr word sign = static_cast<word>(word{1} << (8 * sizeof(word) - 1));
    static constexpr word infinity = std::is_same_v<E, float>  ? static_cast<word>(0x7f800000u)
                                     : std::is_same_v<E, half> ? static_cast<word>(0x7c00u)
                                                               : static_cast<word>(0x7f80u);

    [[nodiscard]] static word load(const std::byte* row, std::size_t i) noexcept {
        word bits;
        std::memcpy(&bits, row + i * sizeof bits, sizeof bits);
        return bits;
    }
    [[nodiscard]] static word magnitude(word bits) noexcept { return static_cast<word>(bits & (sign - 1u)); }
    [[nodiscard]] static float value(word bits) noexcept { return widen(std::bit_cast<E>(bits)); }
};

/// What a pass over a row of masters finds.
struct ternarised_row_facts {
    double sum = 0;         ///< of the magnitudes
    bool finite = true;     ///< no infinity, no NaN
    bool is_ternary = true; ///< 0 and one magnitude only
};

} // namespace bitnet::inline BITNET_ABI::detail

BITNET_PRECISE_BEGIN
namespace bitnet::inline BITNET_ABI::detail {

/// The arithmetic of absmean, as written whatever the including program is built with.
struct absmean {
    /// One double sum over ascending columns. `only` is the magnitude that a ternary row has besides 0.
    template <class E>
    [[nodiscard]] static ternarised_row_facts facts_of(const std::byte* row, std::size_t cols,
                                                       typename float_bits<E>::word only) noexcept {
        ternarised_row_facts facts;
        std::size_t i = 0;
        for (; i + 16 <= cols; i += 16) {
            add<E>(row + i * sizeof(E), 16, only, facts);
        }
        add<E>(row + i * sizeof(E), cols - i, only, facts);
        return facts;
    }

    /// max(sum of all rows / elements, 1e-5), rows added in ascending order.
    [[nodiscard]] static double mean(const ternarised_row_facts* facts, std::size_t rows, std::size_t cols) noexcept {
        double sum = 0;
        for (std::size_t row = 0; row < rows; ++row) {
            sum = sum + facts[row].sum;
        }
        const double mean = sum / (static_cast<double>(rows) * static_cast<double>(cols));
        return mean > 1e-5 ? mean : 1e-5;
    }

    /// The bits of the smallest magnitude w that becomes 1, which is round(w / mean), half to even, clamped to 1: the
    /// smallest one whose quotient is above 0.5. \pre w / mean ascends with w
    template <class E> [[nodiscard]] static typename float_bits<E>::word threshold(double mean) noexcept {
        using bits = float_bits<E>;
        typename bits::word below = 0;
        typename bits::word above = bits::infinity;
        while (above - below > 1) {
            const auto middle = static_cast<typename bits::word>(below + (above - below) / 2);
            const bool rounds_up = static_cast<double>(bits::value(middle)) / mean > 0.5;
            (rounds_up ? above : below) = middle;
        }
        return above;
    }

    /// The scale that converters keep: the mean as a float, then in the type of the masters.
    template <class E> [[nodiscard]] static float scale(double mean) noexcept {
        return widen(narrow<E>(static_cast<float>(mean)));
    }

private:
    /// Up to 16 elements; of 16, what is no sum is vectorised.
    template <class E>
    static BITNET_ALWAYS_INLINE void add(const std::byte* elements, std::size_t count,
                                         typename float_bits<E>::word only, ternarised_row_facts& facts) noexcept {
        using bits = float_bits<E>;
        typename bits::word magnitudes[16];
        unsigned infinite = 0;
        unsigned other = 0;
        for (std::size_t l = 0; l < count; ++l) {
            magnitudes[l] = bits::magnitude(bits::load(elements, l));
            infinite |= magnitudes[l] >= bits::infinity ? 1u : 0u;
            other |= magnitudes[l] != 0 && magnitudes[l] != only ? 1u : 0u;
        }
        for (std::size_t l = 0; l < count; ++l) {
            facts.sum = facts.sum + static_cast<double>(bits::value(magnitudes[l]));
        }
        facts.finite = facts.finite && infinite == 0;
        facts.is_ternary = facts.is_ternary && other == 0;
    }
};

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_PRECISE_END

namespace bitnet::inline BITNET_ABI::detail {

/// Rows of float, half or bfloat16 weights. Where all of them are -s, 0 or +s for one s, that is what is read. Other
/// ones are masters, ternarised as in training (Ma et al., "The Era of 1-bit LLMs", 2024): m = max(mean |w|, 1e-5),
/// code = clamp(round(w / m), -1, 1) + 1, and the scale is m in the type of the masters: bfloat16(m) where they are
/// BF16, half(m) for F16, float(m) for F32. The sum runs over each row and then over the rows, in double, whatever the
/// number of threads. Borrows the tensor's bytes.
template <class E> class ternarised_rows {
    using bits = float_bits<E>;
    using word = typename bits::word;

public:
    /// Reads the tensor once on the threads of `pool`. Memory: 16 bytes for each row.
    /// \param masters whether weights that are not ternary are ternarised
    /// \return errc::unsupported_type for those where they are not; bad_scale for a NaN or infinity; out_of_memory.
    [[nodiscard]] static result<ternarised_rows> open(const gguf_tensor& tensor, std::string_view file, bool masters,
                                                      pool_ref pool, const memory_source* memory = nullptr) {
        ternarised_rows made(tensor);
        const auto rows = to_size(tensor.dims[1]);
        auto facts =
            buffer<ternarised_row_facts>::allocate(rows, "sums of rows", {memory, {memory_use::temporary, false}});
        if (!facts) {
            return std::move(facts).error();
        }
        const word only = made.first_magnitude(rows);
        const default_float_environment environment;
        parallel_for(pool, rows, [&](std::size_t row) noexcept {
            (*facts)[row] = absmean::facts_of<E>(made.row(row), made.cols_, only);
        });
        if (const auto decided = made.decide(tensor, facts->span(), only, masters); !decided) {
            return error{decided.error().code,
                         std::string(file) + ": tensor " + quoted_name(tensor.name) + ": " + decided.error().message};
        }
        return made;
    }

    [[nodiscard]] float scale() const noexcept { return scale_; }

    [[nodiscard]] bool read(std::size_t r, std::uint8_t* codes) const noexcept {
        const std::byte* const weights = row(r);
        std::size_t i = 0;
        for (; i + 16 <= cols_; i += 16) {
            code_up_to_16(weights + i * sizeof(E), 16, codes + i);
        }
        code_up_to_16(weights + i * sizeof(E), cols_ - i, codes + i);
        return true;
    }

private:
    explicit ternarised_rows(const gguf_tensor& tensor) noexcept
        : data_(tensor.bytes.data()), cols_(to_size(tensor.dims[0])) {}

    /// Threshold and scale. Errors are without the place.
    [[nodiscard]] result<void> decide(const gguf_tensor& tensor, std::span<const ternarised_row_facts> facts, word only,
                                      bool masters) {
        const auto infinite =
            std::find_if(facts.begin(), facts.end(), [](const ternarised_row_facts& row) { return !row.finite; });
        if (infinite != facts.end()) {
            return error{errc::bad_scale, "row " + std::to_string(infinite - facts.begin()) + " of its " +
                                              std::to_string(facts.size()) + " rows holds a NaN or an infinity"};
        }
        if (std::all_of(facts.begin(), facts.end(), [](const ternarised_row_facts& row) { return row.is_ternary; })) {
            threshold_ = 1;
            scale_ = only != 0 ? bits::value(only) : 1.0f;
            return {};
        }
        if (!masters) {
            return error{errc::unsupported_type,
                         "type " + std::string(name_of(tensor.type)) +
                             " in the file, with weights that are not -s, 0 and +s for one s: not a ternary model"};
        }
        const double mean = absmean::mean(facts.data(), facts.size(), cols_);
        threshold_ = absmean::threshold<E>(mean);
        scale_ = absmean::scale<E>(mean);
        return is_ternary_scale(scale_)
                   ? result<void>()
                   : error{errc::bad_scale, "the mean of its magnitudes is too large for the type of its weights, " +
                                                std::string(name_of(tensor.type))};
    }

    /// A code is 1 below the threshold, otherwise 2 or 0 by the sign.
    BITNET_ALWAYS_INLINE void code_up_to_16(const std::byte* weights, std::size_t count,
                                            std::uint8_t* codes) const noexcept {
        for (std::size_t l = 0; l < count; ++l) {
            const word w = bits::load(weights, l);
            const unsigned step = bits::magnitude(w) >= threshold_ ? 1u : 0u;
            const unsigned down = w >= bits::sign ? step : 0u;
            codes[l] = static_cast<std::uint8_t>(1u + step - 2u * down);
        }
    }

    [[nodiscard]] const std::byte* row(std::size_t r) const noexcept { return data_ + r * cols_ * sizeof(E); }

    /// The first that is not 0; 0 where all are.
    [[nodiscard]] word first_magnitude(std::size_t rows) const noexcept {
        for (std::size_t i = 0; i < rows * cols_; ++i) {
            if (const word magnitude = bits::magnitude(bits::load(data_, i)); magnitude != 0) {
                return magnitude;
            }
        }
        return 0;
    }

    const std::byte* data_;
    std::size_t cols_;
    word threshold_ = 1;
    float scale_ = 1.0f;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
