// SPDX-License-Identifier: MIT
// self_test: a few rows through a policy's kernel and float loops against plain C++, whenever a model is opened.
#pragma once

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/half.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/kernel/scalar.hpp>
#include <bitnet/kernel/ternary_layout.hpp>
#include <bitnet/policy.hpp>
#include <bitnet/simd/float_ops.hpp>
#include <bitnet/simd/isa.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// So that a compiler that breaks a kernel, or a CPU that is not what it says, gives an error instead of word salad.
/// Needs no file: 12 rows of 640 weights times 1 and 5 rows of activations, and the float loops on 77 numbers.
template <policy_type P> class self_test {
public:
    /// Cost: a tenth of a millisecond. \return errc::broken_kernel with the first number that differs; out_of_memory.
    [[nodiscard]] static result<void> run() {
        auto numbers = buffer<self_test>::allocate(1, "self-test");
        auto codes = buffer<std::uint8_t>::allocate(*layout_bytes<layout>(rows, cols), "self-test");
        auto arranged = buffer<std::byte>::allocate(arranged_bytes(), "self-test");
        if (!numbers || !codes || !arranged) {
            return error{(!numbers ? numbers.error() : !codes ? codes.error() : arranged.error())};
        }
        self_test& test = (*numbers)[0];
        test.fill();
        test.pack(codes->data());
        for (const std::size_t count : {std::size_t{1}, tokens}) {
            if (auto done = test.check_products({codes->data(), rows, cols}, count, arranged->data()); !done) {
                return done;
            }
        }
        return test.check_loops();
    }

private:
    using layout = typename P::layout;
    using loops = typename P::loops;
    using plain_loops = float_ops<isa::scalar>;

    static constexpr std::size_t rows = 12;
    static constexpr std::size_t cols = activation_padding;
    static constexpr std::size_t tokens = 5;
    static constexpr std::size_t floats = 77; ///< whole registers and a rest, on every instruction set

    [[nodiscard]] static constexpr std::size_t arranged_bytes() noexcept {
        if constexpr (arranging_kernel<typename P::ternary>) {
            return group_stride() * ((tokens - 1) / P::ternary::arranged_tokens + 1);
        } else {
            return 0;
        }
    }
    [[nodiscard]] static constexpr std::size_t group_stride() noexcept requires arranging_kernel<typename P::ternary> {
        return (P::ternary::arranged_bytes(cols) + 63) / 64 * 64;
    }

    /// The next of many numbers that look random: Knuth's MMIX generator.
    [[nodiscard]] std::uint32_t next() noexcept {
        state_ = state_ * 6364136223846793005u + 1442695040888963407u;
        return static_cast<std::uint32_t>(state_ >> 33);
    }

    void fill() noexcept {
        for (std::uint8_t& byte : i2s_) {
            byte = static_cast<std::uint8_t>(next() % 3 << 6 | next() % 3 << 4 | next() % 3 << 2 | next() % 3);
        }
        for (std::size_t t = 0; t < tokens; ++t) {
            for (std::size_t c = 0; c < cols; ++c) {
                x_[t * cols + c] = static_cast<std::int8_t>(static_cast<int>(next() % 255) - 127);
                sums_[t] += x_[t * cols + c];
            }
        }
        for (std::size_t i = 0; i < floats; ++i) {
            a_[i] = static_cast<float>(static_cast<int>(next() % 20001) - 10000) / 2500.0f;
            b_[i] = static_cast<float>(static_cast<int>(next() % 20001) - 10000) / 2500.0f;
        }
    }

    void pack(std::uint8_t* codes) const noexcept {
        if constexpr (std::is_same_v<layout, i2s>) {
            std::memcpy(codes, i2s_, sizeof i2s_);
        } else {
            repack<layout, i2s>({i2s_, rows, cols}, codes);
        }
    }

    [[nodiscard]] static std::string name() { return std::string(P::isa::name) + " on " + std::string(layout::name); }

    [[nodiscard]] result<void> check_products(const typename layout::view& w, std::size_t count,
                                              [[maybe_unused]] std::byte* arranged) noexcept {
        activation_view x{x_, sums_, cols, count};
        if constexpr (arranging_kernel<typename P::ternary>) {
            x.arranged = arranged;
            x.arranged_stride = group_stride();
            for (std::size_t t = 0; t < count; t += P::ternary::arranged_tokens) {
                P::ternary::arrange(x, t, cols, arranged + t / P::ternary::arranged_tokens * group_stride());
            }
        }
        P::ternary::rows(w, 0, rows, x, products_[0], rows);
        kernel<isa::scalar, i2s>::rows({i2s_, rows, cols}, 0, rows, x, products_[1], rows);
        for (std::size_t i = 0; i < count * rows; ++i) {
            if (products_[0][i] != products_[1][i]) {
                return error{errc::broken_kernel, "self-test: the kernel " + name() + " gives " +
                                                      std::to_string(products_[0][i]) + " for row " +
                                                      std::to_string(i % rows) + " of " + std::to_string(count) +
                                                      " tokens, plain C++ gives " + std::to_string(products_[1][i])};
            }
        }
        return {};
    }

    /// Calls loop(loops, out) for both kinds of loops. \return whether the bits they write are the same
    template <class Loop> [[nodiscard]] bool same(Loop&& loop) noexcept {
        std::memset(out_, 0, sizeof out_);
        loop(loops{}, out_[0]);
        loop(plain_loops{}, out_[1]);
        return std::memcmp(out_[0], out_[1], sizeof out_[0]) == 0;
    }

    [[nodiscard]] result<void> check_loops() noexcept {
        constexpr std::size_t pairs = floats / 2;
        const std::pair<std::string_view, bool> checks[] = {
            {"rms_norm", same([this](auto f, float* y) { f.rms_norm(a_, b_, 1e-5f, floats, y); })},
            {"quantize", same([this](auto f, float* y) {
                 std::int8_t q[floats];
                 y[floats] = f.quantize(a_, floats, q).scale;
                 std::memcpy(y, q, sizeof q);
             })},
            {"relu2_times", same([this](auto f, float* y) { f.relu2_times(a_, b_, floats, y); })},
            {"silu_times", same([this](auto f, float* y) { f.silu_times(a_, b_, floats, y); })},
            {"rotate", same([this](auto f, float* y) {
                 std::memcpy(y, a_, sizeof a_);
                 f.rotate(y, b_, b_ + pairs, pairs);
             })},
            {"dot_rows", same([this](auto f, float* y) {
                 half row[floats];
                 f.narrow_row(a_, floats, row);
                 const matrix_view<const float> x{b_, 1, floats};
                 f.template dot_rows<half>(reinterpret_cast<const std::byte*>(row), sizeof row, 1, x, &y);
             })},
            {"exponentials", same([this](auto f, float* y) {
                 std::memcpy(y, a_, sizeof a_);
                 y[floats] = f.exponentials(y, floats).sum;
             })},
        };
        for (const auto& [loop, passed] : checks) {
            if (!passed) {
                return error{errc::broken_kernel, "self-test: the loop " + std::string(loop) + " of " +
                                                      std::string(P::isa::name) + " gives other bits than plain C++"};
            }
        }
        return {};
    }

    std::uint64_t state_;
    std::int8_t x_[tokens * cols];
    std::int32_t sums_[tokens];
    std::uint8_t i2s_[rows * cols / 4];
    std::int32_t products_[2][tokens * rows]; ///< of the kernel and of plain C++
    float a_[floats];
    float b_[floats];
    float out_[2][floats + 1]; ///< of the loops and of plain C++
};

} // namespace bitnet::inline BITNET_ABI
