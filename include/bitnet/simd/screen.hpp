// SPDX-License-Identifier: MIT
// A screen of a float matrix: six bits a weight and two norms a row, enough to bound every dot product from above.
#ifndef BITNET_SIMD_SCREEN_HPP
#define BITNET_SIMD_SCREEN_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/simd/lane_ops.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>

#if BITNET_X86_64
#include <xmmintrin.h>
#endif

BITNET_PRECISE_BEGIN
namespace bitnet::inline BITNET_ABI::detail {

/// A row w [cols] of a screen: blocks of 128 columns, the last one padded with zeros, then a row_bound. Column
/// c of a block is s * (q - 32) with a six-bit code q in 1..63 and the block's own s.
///
///     0   low[64]   byte j: low four bits of q of columns j (low nibble) and 64 + j (high nibble)
///     64  high[32]  byte j: high two bits of columns j, 32 + j, 64 + j, 96 + j, from bit 0 up
///     96  s         float
struct screen_layout {
    static constexpr std::size_t block_columns = 128;
    static constexpr std::size_t high_at = 64;
    static constexpr std::size_t scale_at = 96;
    static constexpr std::size_t block_bytes = 100;
    static constexpr int zero = 32;
    static constexpr int largest_code = 31; ///< codes are zero - 31 to zero + 31

    [[nodiscard]] static constexpr std::size_t blocks(std::size_t cols) noexcept {
        return (cols + block_columns - 1) / block_columns;
    }
    [[nodiscard]] static constexpr std::size_t row_bytes(std::size_t cols) noexcept {
        return blocks(cols) * block_bytes + 2 * sizeof(float);
    }
};

#if BITNET_X86_64
/// Asks level `Level` of the caches for a block of the rows that follow `distance` bytes behind. Called once for each
/// block of rows that are read one after another, as memory holds them: four rows side by side were a sixth slower.
/// On Zen 5, from huge pages, 4 KiB into the first level alone gave 1.0 to 1.1 of a loop that only reads.
template <int Level> BITNET_ALWAYS_INLINE void prefetch_screen(const std::byte* block, std::size_t distance) noexcept {
    const char* const line = reinterpret_cast<const char*>(block) + distance;
    if constexpr (Level == 1) {
        _mm_prefetch(line, _MM_HINT_T0);
        _mm_prefetch(line + 64, _MM_HINT_T0);
    } else {
        _mm_prefetch(line, _MM_HINT_T1);
        _mm_prefetch(line + 64, _MM_HINT_T1);
    }
}
#endif

/// What is known of a row w and its screened copy v, both rounded up. error is infinity if w is not finite or huge:
/// such a row is never screened out.
struct row_bound {
    float error; ///< >= |w - v|
    float norm;  ///< >= |w| and >= |v|
};

/// A row x of floats as 16-bit integers, x = unit * (256 * high + low) + rest, and the bound of what that leaves open.
///
/// For every row w of a screen, with L the dot product of w and x that lane_ops::dot_rows computes in float, S the sum
/// that screen_rows computes and u = 2^-24:
///
///     L <= S * unit + error * norm + row_bound.norm * slack + tiny        (|.| the Euclidean norm, norm >= |x|)
///
/// Let y = x - rest, the value of the integers. Then
///     w x - v y = (w - v) x + v (x - y)        so |w x - v y| <= |w - v| |x| + |v| |rest|       (Cauchy-Schwarz)
///     |L - w x| <= g(m + 4) |w| |x|            m = ceil(cols / 16) fmas to a lane and 4 additions to fold the lanes;
///                                              g(k) = k u / (1 - k u), sum |w_i x_i| <= |w| |x|
///     |S unit - v y| <= g(b + 4) |v| |y|       b blocks: one fma to a lane for each, and the same fold. The integers
///                                              under it are exact: a lane of a block adds 8 products of at most
///                                              31 * 32,767, less than 2^24
///     |y| <= |x| + |rest|
/// so slack = (g(m + 4) + g(b + 4) + 4 u) (|x| + |rest|) + |rest|. The 4 u and factors of 1 + 2^-20 on both norms are
/// for the roundings of the bound itself: the three fmas that add it up. `tiny` is for underflow: at most 2^20
/// operations, each wrong by 2^-150, and their sum multiplied by unit < 2^15. Nothing overflows, because rows of a norm
/// above 2^60 have an error of infinity and x with an element above 2^30 is refused.
struct screen_input {
    const std::int8_t* high = nullptr;    ///< [blocks * 128]
    const std::int8_t* low = nullptr;     ///< [blocks * 128]
    const std::int32_t* offset = nullptr; ///< [blocks * 16] -32 times the sum of the integers of a lane
    std::size_t blocks = 0;
    float unit = 0;
    float norm = 0;
    float slack = 0;

    static constexpr float tiny = 0x1p-100f;
};

/// Upper bound of a row's dot product, from its integer sum and the row_bound after its blocks. Never a NaN.
template <class Fma>
[[nodiscard]] BITNET_ALWAYS_INLINE float upper_bound_of(float sum, const std::byte* tail,
                                                        const screen_input& x) noexcept {
    row_bound row;
    std::memcpy(&row, tail, sizeof row);
    const float rounding = Fma::fma(row.norm, x.slack, screen_input::tiny);
    const float bound = Fma::fma(row.error, x.norm, rounding);
    const float upper = Fma::fma(sum, x.unit, bound);
    const bool is_nan = (std::bit_cast<std::uint32_t>(upper) & 0x7fffffffu) > 0x7f800000u;
    return is_nan ? std::numeric_limits<float>::infinity() : upper;
}

/// upper[r] = a bound of the dot product of row r of a screen with x, from above: the loop as plain C++, and the
/// oracle. Lane l of a block adds columns 4l..4l+3 and 64+4l..64+4l+3 as integers; blocks follow as fmas; the lanes
/// fold.
template <class Fma>
BITNET_ALWAYS_INLINE void screen_rows(const std::byte* rows, std::size_t count, const screen_input& x,
                                      float* upper) noexcept {
    for (std::size_t r = 0; r < count; ++r) {
        const std::byte* block = rows + r * screen_layout::row_bytes(x.blocks * screen_layout::block_columns);
        float acc[reduction_lanes] = {};
        for (std::size_t b = 0; b < x.blocks; ++b, block += screen_layout::block_bytes) {
            std::int32_t sums[reduction_lanes];
            std::copy_n(x.offset + b * reduction_lanes, reduction_lanes, sums);
            for (std::size_t c = 0; c < screen_layout::block_columns; ++c) {
                const auto low = static_cast<int>(block[c % 64]) >> (c / 64 * 4) & 15;
                const auto high = static_cast<int>(block[screen_layout::high_at + c % 32]) >> (c / 32 * 2) & 3;
                const std::size_t i = b * screen_layout::block_columns + c;
                sums[c % 64 / 4] += (low | high << 4) * (256 * x.high[i] + x.low[i]);
            }
            float scale;
            std::memcpy(&scale, block + screen_layout::scale_at, sizeof scale);
            for (std::size_t l = 0; l < reduction_lanes; ++l) {
                acc[l] = Fma::fma(static_cast<float>(sums[l]), scale, acc[l]);
            }
        }
        upper[r] = upper_bound_of<Fma>(lane_ops<Fma>::fold(acc), block, x);
    }
}

/// Writes screens row by row: for each block encode(), then finish(). Double arithmetic, where squares of floats are
/// exact and a sum of 2^20 of them is wrong by 2^-33 at most; what is kept is rounded up by more.
class screen_writer {
public:
    /// One block of a row. w [128]
    void encode(const float* w, std::byte* block) noexcept {
        std::uint32_t largest = 0;
        for (std::size_t i = 0; i < screen_layout::block_columns; ++i) {
            largest = (std::max)(largest, std::bit_cast<std::uint32_t>(w[i]) & 0x7fffffffu);
        }
        finite_ = finite_ && largest < 0x7f800000u;
        const float scale = finite_ ? std::bit_cast<float>(largest) / 31.0f : 0.0f;
        const float inverse = scale > 0x1p-100f ? 1.0f / scale : 0.0f;
        std::int32_t codes[screen_layout::block_columns];
        for (std::size_t i = 0; i < screen_layout::block_columns; ++i) {
            codes[i] = code_of(w[i] * inverse);
        }
        if (finite_) {
            measure(w, codes, static_cast<double>(scale));
        }
        pack(codes, block);
        std::memcpy(block + screen_layout::scale_at, &scale, sizeof scale);
    }

    /// After the last block of a row; begins the next one.
    void finish(std::byte* tail) noexcept {
        double squares = 0;
        double errors = 0;
        for (std::size_t l = 0; l < lanes; ++l) {
            squares = squares + squares_[l];
            errors = errors + errors_[l];
        }
        const double norm = std::sqrt(squares) + std::sqrt(errors); // |v| <= |w| + |w - v|
        row_bound row{std::numeric_limits<float>::infinity(), 0.0f};
        if (finite_ && norm < 0x1p60) {
            row = {round_up(std::sqrt(errors)), round_up(norm)};
        }
        std::memcpy(tail, &row, sizeof row);
        *this = {};
    }

    /// A float not below the non-negative `value`, unless that is below 2^-126.
    [[nodiscard]] static float round_up(double value) noexcept { return static_cast<float>(value * (1.0 + 0x1p-20)); }

private:
    static constexpr std::size_t lanes = 8;

    [[nodiscard]] static std::int32_t code_of(float x) noexcept {
        constexpr float shift = 12582912.0f; // 1.5 * 2^23
        const float above = x > 31.0f ? 31.0f : x;
        const float clamped = above < -31.0f ? -31.0f : above;
        const float shifted = clamped + shift;
        return static_cast<std::int32_t>(std::bit_cast<std::uint32_t>(shifted) - std::bit_cast<std::uint32_t>(shift));
    }

    void measure(const float* w, const std::int32_t* codes, double scale) noexcept {
        for (std::size_t i = 0; i < screen_layout::block_columns; i += lanes) {
            for (std::size_t l = 0; l < lanes; ++l) {
                const double exact = static_cast<double>(w[i + l]);
                const double screened = scale * static_cast<double>(codes[i + l]); // exact: 24 + 6 bits
                const double error = exact - screened;
                const double square = exact * exact;
                const double error_square = error * error;
                squares_[l] = squares_[l] + square;
                errors_[l] = errors_[l] + error_square;
            }
        }
    }

    static void pack(const std::int32_t* codes, std::byte* block) noexcept {
        const auto code = [codes](std::size_t i) {
            return static_cast<std::uint32_t>(codes[i] + screen_layout::zero) & 63u;
        };
        for (std::size_t j = 0; j < 64; ++j) {
            block[j] = static_cast<std::byte>((code(j) & 15u) | (code(64 + j) & 15u) << 4);
        }
        for (std::size_t j = 0; j < 32; ++j) {
            block[screen_layout::high_at + j] = static_cast<std::byte>(
                code(j) >> 4 | (code(32 + j) >> 4) << 2 | (code(64 + j) >> 4) << 4 | (code(96 + j) >> 4) << 6);
        }
    }

    double squares_[lanes] = {};
    double errors_[lanes] = {};
    bool finite_ = true;
};

/// Fills high, low [blocks * 128] and offset [blocks * 16] for x [cols], and gives a view of them in `view`.
/// \return false if x cannot be screened: not finite, all below 2^-60 or some above 2^30. Costs 10 us.
[[nodiscard]] inline bool make_screen_input(const float* x, std::size_t cols, std::int8_t* high, std::int8_t* low,
                                            std::int32_t* offset, screen_input& view) noexcept {
    std::uint32_t bits = 0;
    for (std::size_t i = 0; i < cols; ++i) {
        bits = (std::max)(bits, std::bit_cast<std::uint32_t>(x[i]) & 0x7fffffffu);
    }
    if (bits < std::bit_cast<std::uint32_t>(0x1p-60f) || bits > std::bit_cast<std::uint32_t>(0x1p30f)) {
        return false;
    }
    const float unit = std::bit_cast<float>(bits) / 32000.0f;
    const double inverse = 1.0 / static_cast<double>(unit);
    const std::size_t blocks = screen_layout::blocks(cols);
    std::fill_n(offset, blocks * 16, 0);
    double squares = 0;
    double rest_squares = 0;
    for (std::size_t i = 0; i < blocks * screen_layout::block_columns; ++i) {
        const double exact = i < cols ? static_cast<double>(x[i]) : 0.0;
        const double scaled = exact * inverse; // at most 32,000 and a rounding error
        const auto integer = static_cast<std::int32_t>(scaled < 0.0 ? scaled - 0.5 : scaled + 0.5);
        const std::int32_t upper = (integer + 128) >> 8; // -125..125
        high[i] = static_cast<std::int8_t>(upper);
        low[i] = static_cast<std::int8_t>(integer - upper * 256); // -128..127
        const std::size_t c = i % screen_layout::block_columns;
        offset[i / screen_layout::block_columns * 16 + c % 64 / 4] -= screen_layout::zero * integer;
        const double represented = static_cast<double>(unit) * static_cast<double>(integer); // exact
        const double rest = exact - represented;
        const double square = exact * exact;
        const double rest_square = rest * rest;
        squares = squares + square;
        rest_squares = rest_squares + rest_square;
    }
    const double norm = std::sqrt(squares);
    const double rest = std::sqrt(rest_squares);
    const auto gamma = [](std::size_t k) {
        const double ku = static_cast<double>(k) * 0x1p-24;
        return ku / (1.0 - ku);
    };
    const double relative = gamma((cols + 15) / 16 + 4) + gamma(blocks + 4) + 4 * 0x1p-24;
    const double total = norm + rest;
    const double rounding = relative * total;
    view = {high, low, offset, blocks, unit, screen_writer::round_up(norm), screen_writer::round_up(rounding + rest)};
    return true;
}

/// Makes a row of a screen, screen_layout::row_bytes(cols), piece by piece in ascending order: `widen`(first, count,
/// out) gives `count` columns as floats, `take`(piece, size) the bytes.
template <class Widen, class Take> void make_screen_row(std::size_t cols, Widen&& widen, Take&& take) noexcept {
    screen_writer writer;
    float block[screen_layout::block_columns];
    std::byte piece[screen_layout::block_bytes];
    for (std::size_t c = 0; c < cols; c += screen_layout::block_columns) {
        const std::size_t count = (std::min)(screen_layout::block_columns, cols - c);
        widen(c, count, static_cast<float*>(block));
        std::fill(block + count, block + screen_layout::block_columns, 0.0f);
        writer.encode(block, piece);
        take(static_cast<const std::byte*>(piece), sizeof piece);
    }
    writer.finish(piece);
    take(static_cast<const std::byte*>(piece), sizeof(row_bound));
}

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_PRECISE_END

#endif
