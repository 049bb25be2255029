// SPDX-License-Identifier: MIT
#include "kernels.hpp"

#include "ladder.hpp"
#include "report.hpp"

#include <bitnet/core/buffer.hpp>
#include <bitnet/engine.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/kernel/ternary_layout.hpp>
#include <bitnet/model/scratch.hpp>
#include <bitnet/simd/screen.hpp>
#include <bitnet/thread/thread_pool.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <utility>

namespace bench {
namespace {

namespace library = bitnet::detail;

constexpr std::size_t cols = 2560;
constexpr std::size_t rows_of_task = 64;
constexpr std::size_t many_tokens = 128;

double seconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Memory to read, and what it is.
struct memory {
    std::span<const std::byte> bytes;
    std::string pages;
};

/// Calls task(bytes of its rows) for all tasks of `task_bytes` bytes. \return seconds
template <class Task>
double seconds_of(bitnet::thread_pool& pool, std::span<const std::byte> bytes, std::size_t task_bytes, Task&& task) {
    const auto start = std::chrono::steady_clock::now();
    library::parallel_stream(pool, bytes.size() / task_bytes,
                             [&](std::size_t i) noexcept { task(bytes.data() + i * task_bytes); });
    return seconds_since(start);
}

/// The kernels of one instruction set on the threads of one pool.
class kernel_trial {
public:
    kernel_trial(const kernel_choice& choice, const read_benchmark& reader, bitnet::thread_pool& pool)
        : choice_(choice), reader_(reader), pool_(pool) {}

    /// A kernel that reads `task_bytes` at a time with one token.
    template <class Task>
    kernel_figure read(std::string kernel, std::string_view isa, const memory& from, std::size_t task_bytes,
                       Task&& task) const {
        std::vector<double> speeds;
        std::vector<std::vector<double>> of_loops;
        const std::size_t bytes = from.bytes.size() / task_bytes * task_bytes;
        for (std::size_t i = 0; i < choice_.repetitions; ++i) {
            const std::span<const std::byte> all = from.bytes.first(bytes);
            const std::vector<double> turn = reader_.turn(pool_, {&all, 1});
            of_loops.resize(turn.size());
            for (std::size_t loop = 0; loop < turn.size(); ++loop) {
                of_loops[loop].push_back(turn[loop]);
            }
            speeds.push_back(static_cast<double>(bytes) / seconds_of(pool_, all, task_bytes, task) / 1e9);
        }
        double best = 0;
        for (const auto& loop : of_loops) {
            best = std::max(best, spread_of(loop).median);
        }
        kernel_figure made{std::move(kernel), std::string(isa), from.pages, pool_.threads()};
        made.gb_per_second = spread_of(std::move(speeds)).median;
        made.of_reading = made.gb_per_second / best;
        return made;
    }

    /// A layout's products with one token and with many.
    [[nodiscard]] bitnet::result<kernel_figure> multiply(const bitnet::engine& tables, const memory& from) const {
        auto one = activations(*tables.ternary, 1);
        auto many = activations(*tables.ternary, many_tokens);
        if (!one || !many) {
            return bitnet::error{one ? many.error() : one.error()};
        }
        const std::size_t task_bytes = bitnet::detail::to_size(*tables.ternary->layout->bytes(rows_of_task, cols));
        const auto products_with = [&](const library::quantized_rows& x) {
            return [&tables, &x](const std::byte* rows) noexcept {
                std::array<std::int32_t, many_tokens * rows_of_task> products;
                tables.ternary->multiply({reinterpret_cast<const std::uint8_t*>(rows), rows_of_task, cols}, 0,
                                         rows_of_task, x.view(0, x.used_rows), products.data(), rows_of_task);
            };
        };
        kernel_figure made =
            read(std::string(tables.ternary->layout->name), tables.isa, from, task_bytes, products_with(*one));
        const std::size_t some = from.bytes.size() / 8 / task_bytes * task_bytes; // or it would take long
        const auto multiply_many = products_with(*many);
        const auto products_per_second = [&](auto&& task) {
            std::vector<double> speeds;
            const double products = static_cast<double>(some / task_bytes * rows_of_task * cols * many_tokens);
            for (std::size_t i = 0; i < choice_.repetitions; ++i) {
                speeds.push_back(products / seconds_of(pool_, from.bytes.first(some), task_bytes, task) / 1e9);
            }
            return spread_of(std::move(speeds)).median;
        };
        made.products_per_second = products_per_second(multiply_many);
        made.cached_products_per_second =
            products_per_second([&](const std::byte*) noexcept { multiply_many(from.bytes.data()); });
        const double peak = int8_peak(pool_, tables.isa);
        made.of_peak = peak > 0 ? made.products_per_second / peak : 0;
        return made;
    }

    /// Rows of F16 times one row of floats.
    [[nodiscard]] kernel_figure multiply_halves(const bitnet::engine& tables, const memory& from) const {
        const std::vector<float> x = some_floats();
        const auto dot_rows = tables.loops->of(bitnet::float_element::f16).dot_rows;
        return read("F16 rows", tables.isa, from, rows_of_task * 2 * cols, [&](const std::byte* rows) noexcept {
            std::array<float, rows_of_task> y;
            float* const to = y.data();
            dot_rows(rows, 2 * cols, rows_of_task, {x.data(), 1, cols}, &to);
        });
    }

    /// Bounds by a screen.
    [[nodiscard]] kernel_figure screen(const bitnet::engine& tables, const memory& from) const {
        using layout = library::screen_layout;
        const std::vector<float> x = some_floats();
        alignas(64) std::array<std::int8_t, cols> high;
        alignas(64) std::array<std::int8_t, cols> low;
        alignas(64) std::array<std::int32_t, cols / layout::block_columns * 16> offset;
        library::screen_input input;
        static_cast<void>(library::make_screen_input(x.data(), cols, high.data(), low.data(), offset.data(), input));
        const std::size_t task_bytes = rows_of_task * layout::row_bytes(cols);
        return read("screen", tables.isa, from, task_bytes, [&](const std::byte* rows) noexcept {
            std::array<float, rows_of_task> upper;
            tables.loops->screen_rows(rows, rows_of_task, input, upper.data());
        });
    }

private:
    [[nodiscard]] static std::vector<float> some_floats() {
        std::vector<float> x(cols);
        for (std::size_t i = 0; i < cols; ++i) {
            x[i] = static_cast<float>(i * 7919 % 255) / 127.0f - 1.0f;
        }
        return x;
    }

    /// Rows of activations as the kernel takes them.
    [[nodiscard]] static bitnet::result<library::quantized_rows> activations(const bitnet::ternary_table& kernel,
                                                                             std::size_t rows) {
        library::quantized_rows made;
        made.stride = library::quantized_rows::stride_of(cols);
        bitnet::error failure;
        made.allocate_rows(kernel, cols, rows, failure, {});
        if (failure.code != bitnet::errc{}) {
            return failure;
        }
        made.used_rows = rows;
        for (std::size_t r = 0; r < rows; ++r) {
            made.sums[r] = 0;
            for (std::size_t c = 0; c < cols; ++c) {
                made.row(r)[c] = static_cast<std::int8_t>(static_cast<int>((r * cols + c) * 7919 % 255) - 127);
                made.sums[r] += made.row(r)[c];
            }
        }
        if (made.arranged_stride != 0) {
            for (std::size_t first = 0; first < rows; first += made.group_rows) {
                kernel.arrange(made.view(0, rows), first, cols, made.group(first / made.group_rows));
            }
        }
        return made;
    }

    const kernel_choice& choice_;
    const read_benchmark& reader_;
    bitnet::thread_pool& pool_;
};

} // namespace

bitnet::result<std::vector<kernel_figure>> measure_kernels(const kernel_choice& choice, const read_benchmark& reader,
                                                           std::span<const std::byte> mapped) {
    auto pool = bitnet::thread_pool::open(choice.threads);
    if (!pool) {
        return std::move(pool).error();
    }
    const memory file{mapped, "mapped"};
    const memory huge{reader.memory(), "huge"};
    const kernel_trial trial(choice, reader, **pool);
    std::string_view isa = choice.isa;
    std::vector<kernel_figure> all;
    for (const bitnet::engine* tables : tools::engines_with("f16")) {
        if (isa.empty() && tables->enable()) {
            isa = tables->isa; // the best one comes first
        }
        if (tables->isa != isa || !tables->enable()) {
            continue;
        }
        const bool is_i2s = tables->ternary->layout->name == bitnet::i2s::name;
        for (const memory& from : is_i2s ? std::vector{file, huge} : std::vector{huge}) {
            auto made = trial.multiply(*tables, from);
            if (!made) {
                return std::move(made).error();
            }
            all.push_back(*std::move(made));
        }
        if (is_i2s) {
            all.push_back(trial.multiply_halves(*tables, file));
            all.push_back(trial.screen(*tables, huge));
        }
        std::fprintf(stderr, "%s, %s, %zu threads: measured\n", std::string(tables->isa).c_str(),
                     std::string(tables->ternary->layout->name).c_str(), choice.threads);
    }
    if (all.empty()) {
        return bitnet::error{bitnet::errc::invalid_argument,
                             "instruction set '" + std::string(choice.isa) + "': not built in, or not of this CPU"};
    }
    return all;
}

std::string kernels_to_markdown(const std::vector<kernel_figure>& all) {
    std::string text = "| kernel | isa | threads | pages | GB/s, one token | of reading | 1e9 products/s, 128 tokens | "
                       "of cached weights | of the peak |\n|---|---|--:|---|--:|--:|--:|--:|--:|\n";
    for (const kernel_figure& each : all) {
        std::array<char, 256> line;
        std::snprintf(line.data(), line.size(), "| %s | %s | %zu | %s | %.1f | %.2f |", each.kernel.c_str(),
                      each.isa.c_str(), each.threads, each.pages.c_str(), each.gb_per_second, each.of_reading);
        text += line.data();
        if (each.products_per_second > 0) {
            std::snprintf(line.data(), line.size(), " %.0f | %.2f |", each.products_per_second,
                          each.products_per_second / each.cached_products_per_second);
            text += line.data();
            std::snprintf(line.data(), line.size(), each.of_peak > 0 ? " %.2f |\n" : " |\n", each.of_peak);
            text += line.data();
        } else {
            text += " | | |\n";
        }
    }
    return text;
}

} // namespace bench
