// SPDX-License-Identifier: MIT
// self_test: a few rows through an engine's kernel and float loops against plain C++, whenever a model is opened.
#ifndef BITNET_MODEL_SELF_TEST_HPP
#define BITNET_MODEL_SELF_TEST_HPP

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/half.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/engine.hpp>
#include <bitnet/kernel/block_activations.hpp>
#include <bitnet/kernel/block_kernel.hpp>
#include <bitnet/kernel/block_table.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/kernel/scalar.hpp>
#include <bitnet/kernel/scaled_blocks.hpp>
#include <bitnet/kernel/ternary_layout.hpp>
#include <bitnet/kernel/ternary_table.hpp>
#include <bitnet/simd/float_ops.hpp>
#include <bitnet/simd/isa.hpp>
#include <bitnet/simd/loop_table.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// So that a compiler that breaks a kernel, or a CPU that is not what it says, gives an error instead of word salad.
/// Needs no file: 12 rows of 640 weights times 1 and 5 rows of activations, 33 rows of blocks with scales times as
/// many, and the float loops on 77 numbers.
class self_test {
public:
    /// Cost: a fifth of a millisecond. \return errc::broken_kernel with the first number that differs; out_of_memory.
    [[nodiscard]] static result<void> run(const engine& tested, const memory_source* memory = nullptr) {
        const memory_from from{memory, {memory_use::temporary, false}};
        const ternary_table& kernel = *tested.ternary;
        const std::size_t groups = (tokens - 1) / kernel.arranged_tokens + 1;
        error failure;
        buffer<self_test> numbers;
        buffer<std::uint8_t> codes;
        buffer<std::byte> arranged;
        allocate(numbers, 1, "self-test", failure, from);
        allocate(codes, *kernel.layout->bytes(rows, cols), "self-test", failure, from);
        allocate(arranged, groups * kernel.arranged_stride(cols), "self-test", failure, from);
        if (failure.code != errc{}) {
            return failure;
        }
        self_test& test = numbers[0];
        test.tested_ = &tested;
        test.fill();
        test.pack(codes.data());
        for (const std::size_t count : {std::size_t{1}, tokens}) {
            if (auto done = test.check_products({codes.data(), rows, cols}, count, arranged.data()); !done) {
                return done;
            }
        }
        for (const std::size_t columns : {std::size_t{64}, std::size_t{128}}) {
            if (auto done = test.check_blocks(columns); !done) {
                return done;
            }
        }
        return test.check_loops();
    }

private:
    static constexpr std::size_t rows = 12;
    static constexpr std::size_t cols = activation_padding;
    static constexpr std::size_t tokens = 5;
    static constexpr std::size_t floats = 77;        ///< whole registers and a rest, on every instruction set
    static constexpr std::size_t block_rows = 33;    ///< the most that a tile has and one
    static constexpr std::size_t block_cols = 192;   ///< a block and a half of 128 columns: one in three of 64
    static constexpr std::size_t block_stride = 256; ///< int8 that these become
    static constexpr std::size_t most_rows = 32;     ///< of a layout's block
    static constexpr std::size_t most_cols = 960;    ///< whole blocks of every layout, of 24 and 320 columns too

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

    /// The rows of i2s_ in the layout of the tested kernel.
    void pack(std::uint8_t* out) noexcept {
        const layout_table& to = *tested_->ternary->layout;
        const std::size_t across = to.blocks_across(cols);
        std::memset(codes_, 1, sizeof codes_);
        for (std::size_t row = 0; row < rows; ++row) {
            layout_table_of<i2s>.unpack(i2s_ + row * (cols / 4), cols / i2s::block_columns, codes_[row], most_cols);
        }
        for (std::size_t row = 0; row < rows; row += to.block_rows, out += across * to.block_bytes) {
            to.pack(codes_[row], most_cols, across, out);
        }
    }

    [[nodiscard]] result<void> check_products(const ternary_view& w, std::size_t count, std::byte* arranged) {
        const ternary_table& kernel = *tested_->ternary;
        activation_view x{x_, sums_, cols, count};
        if (kernel.arrange != nullptr) {
            x.arranged = arranged;
            x.arranged_stride = kernel.arranged_stride(cols);
            for (std::size_t t = 0; t < count; t += kernel.arranged_tokens) {
                kernel.arrange(x, t, cols, arranged + t / kernel.arranged_tokens * x.arranged_stride);
            }
        }
        kernel.multiply(w, 0, rows, x, products_[0], rows);
        detail::kernel<isa::scalar, i2s>::multiply({i2s_, rows, cols}, 0, rows, x, products_[1], rows);
        for (std::size_t i = 0; i < count * rows; ++i) {
            if (products_[0][i] != products_[1][i]) {
                return error{errc::broken_kernel,
                             sentence({"self-test: the kernel ", tested_->isa, " on ", kernel.layout->name, " gives ",
                                       products_[0][i], " for row ", i % rows, " of ", count,
                                       " tokens, plain C++ gives ", products_[1][i]})};
            }
        }
        return {};
    }

    [[nodiscard]] static bool same_bytes(const void* a, const void* b, std::size_t n) noexcept {
        return std::memcmp(a, b, n) == 0;
    }

    /// The tested rounding of activations and its products with blocks of so many columns.
    [[nodiscard]] result<void> check_blocks(std::size_t columns) {
        const scaled_blocks w{blocks_, block_rows, block_cols / columns * columns, columns};
        fill_blocks(w);
        const block_table plain = block_table_of<block_kernel<isa::scalar>>;
        round_rows(*tested_->blocks, w.cols, rounded_[0]);
        round_rows(plain, w.cols, rounded_[1]);
        if (!same_bytes(&rounded_[0], &rounded_[1], sizeof rounded_[0])) {
            return error{errc::broken_kernel,
                         sentence({"self-test: ", tested_->isa, " rounds activations to other int8 than plain C++"})};
        }
        for (const std::size_t count : {std::size_t{1}, tokens}) {
            const block_activations x{rounded_[0].values, rounded_[0].steps, rounded_[0].sums, block_stride, count};
            tested_->blocks->multiply(w, 0, block_rows, x, block_products_[0], block_rows);
            plain.multiply(w, 0, block_rows, x, block_products_[1], block_rows);
            for (std::size_t i = 0; i < count * block_rows; ++i) {
                if (!same_bytes(&block_products_[0][i], &block_products_[1][i], sizeof(float))) {
                    return error{errc::broken_kernel,
                                 sentence({"self-test: the kernel ", tested_->isa, " on blocks of ", columns,
                                           " columns gives other bits than plain C++ for row ", i % block_rows, " of ",
                                           count, " tokens"})};
                }
            }
        }
        return {};
    }

    void fill_blocks(const scaled_blocks& w) noexcept {
        std::uint8_t* block = blocks_;
        for (std::size_t b = 0; b < w.rows * w.blocks_across(); ++b, block += w.block_bytes()) {
            std::uint8_t codes[128];
            for (std::size_t c = 0; c < w.block_columns; ++c) {
                codes[c] = static_cast<std::uint8_t>(next() % 3);
            }
            write_block(codes, w.block_columns, narrow<half>(static_cast<float>(next() % 1000 + 1) / 8192.0f), block);
        }
    }

    /// Rows of activations as int8.
    struct rounded_rows {
        alignas(64) std::int8_t values[tokens * block_stride];
        float steps[tokens * block_stride / columns_per_step];
        std::int32_t sums[tokens * block_stride / columns_per_step];
    };

    /// Rows of numbers from a_ and b_, with steps for 32, 64 and all columns.
    void round_rows(const block_table& kernel, std::size_t columns, rounded_rows& out) noexcept {
        for (std::size_t t = 0; t < tokens; ++t) {
            float x[block_cols];
            for (std::size_t c = 0; c < columns; ++c) {
                x[c] = a_[(c + 7 * t) % floats] * b_[c * (t + 1) % floats];
            }
            const std::size_t at = t * block_stride;
            const std::size_t per = t % 3 == 0 ? 32 : t % 3 == 1 ? 64 : columns;
            kernel.quantize(x, columns, per,
                            {out.values + at, out.steps + at / columns_per_step, out.sums + at / columns_per_step});
        }
    }

    /// What one loop makes of a_ and b_: into out, which is zero, floats + 1 of them.
    struct loop_check {
        std::string_view name;
        void (*run)(self_test& test, const loop_table& loops, float* out) noexcept;
    };

    [[nodiscard]] result<void> check_loops() {
        static constexpr loop_check checks[] = {
            {"rms_norm",
             [](self_test& t, const loop_table& f, float* y) noexcept { f.rms_norm(t.a_, t.b_, 1e-5f, floats, y); }},
            {"quantize", &quantize},
            {"relu2_times",
             [](self_test& t, const loop_table& f, float* y) noexcept { f.relu2_times(t.a_, t.b_, floats, y); }},
            {"silu_times",
             [](self_test& t, const loop_table& f, float* y) noexcept { f.silu_times(t.a_, t.b_, floats, y); }},
            {"rotate", &rotate},
            {"dot_rows", &dot_rows},
            {"exponentials", &exponentials},
        };
        for (const loop_check& check : checks) {
            std::memset(out_, 0, sizeof out_);
            check.run(*this, *tested_->loops, out_[0]);
            check.run(*this, plain_loops(), out_[1]);
            if (std::memcmp(bits_of(0), bits_of(1), sizeof out_[0]) != 0) {
                return error{errc::broken_kernel, sentence({"self-test: the loop ", check.name, " of ", tested_->isa,
                                                            " gives other bits than plain C++"})};
            }
        }
        return {};
    }

    /// The scalar loops that checks run, and no others: a program of one policy compiles no more of them.
    [[nodiscard]] static loop_table plain_loops() noexcept {
        using plain = float_ops<isa::scalar>;
        loop_table made{};
        made.rms_norm = &plain::rms_norm;
        made.quantize = &plain::quantize;
        made.relu2_times = &plain::relu2_times;
        made.silu_times = &plain::silu_times;
        made.rotate = &plain::rotate;
        made.exponentials = &plain::exponentials;
        made.elements[static_cast<std::size_t>(float_element::f16)].dot_rows = &plain::dot_rows<half>;
        return made;
    }

    [[nodiscard]] const std::byte* bits_of(std::size_t i) const noexcept {
        return reinterpret_cast<const std::byte*>(out_[i]);
    }

    static void quantize(self_test& test, const loop_table& loops, float* y) noexcept {
        std::int8_t q[floats];
        y[floats] = loops.quantize(test.a_, floats, q).scale;
        std::memcpy(y, q, sizeof q);
    }
    static void rotate(self_test& test, const loop_table& loops, float* y) noexcept {
        std::memcpy(y, test.a_, sizeof test.a_);
        loops.rotate(y, test.b_, test.b_ + floats / 2, floats / 2);
    }
    static void dot_rows(self_test& test, const loop_table& loops, float* y) noexcept {
        half row[floats];
        for (std::size_t i = 0; i < floats; ++i) {
            row[i] = narrow<half>(test.a_[i]);
        }
        const matrix_view<const float> x{test.b_, 1, floats};
        loops.of(float_element::f16).dot_rows(reinterpret_cast<const std::byte*>(row), sizeof row, 1, x, &y);
    }
    static void exponentials(self_test& test, const loop_table& loops, float* y) noexcept {
        std::memcpy(y, test.a_, sizeof test.a_);
        y[floats] = loops.exponentials(y, floats).sum;
    }

    rounded_rows rounded_[2]; ///< by the kernel and by plain C++
    const engine* tested_;
    std::uint64_t state_;
    std::int8_t x_[tokens * cols];
    std::int32_t sums_[tokens];
    std::uint8_t i2s_[rows * cols / 4];
    std::uint8_t codes_[most_rows][most_cols];
    std::int32_t products_[2][tokens * rows]; ///< of the kernel and of plain C++
    std::uint8_t blocks_[block_rows * 54];    ///< three blocks of 64 columns, or one of 128
    float block_products_[2][tokens * block_rows];
    float a_[floats];
    float b_[floats];
    float out_[2][floats + 1]; ///< of the loops and of plain C++
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
