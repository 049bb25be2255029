// SPDX-License-Identifier: MIT
// The largest logits found through a screen are those of the whole output matrix: the same tokens, the same bits.
#include "run/isas_that_run.hpp"

#include <bitnet/model/joint_searches.hpp>
#include <bitnet/model/lm_head.hpp>
#include <bitnet/model/screened_search.hpp>
#include <bitnet/run/dispatch.hpp>
#include <bitnet/run/open_model.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;

namespace {

/// A head of Gaussian rows in elements of E: 17 of them twice, 17 that differ from another in the last bit of one
/// element, one zero, one a hundred times the size.
template <class E> struct random_head {
    std::vector<E> elements;
    float_matrix view;

    random_head(std::size_t rows, std::size_t cols, unsigned seed) : elements(rows * cols) {
        std::mt19937 engine(seed);
        std::normal_distribution<float> normal(0.0f, 0.03f);
        std::generate(elements.begin(), elements.end(), [&] { return narrow<E>(normal(engine)); });
        const auto row = [&](std::size_t r) { return elements.begin() + static_cast<std::ptrdiff_t>(r * cols); };
        for (std::size_t i = 0; i < 17; ++i) {
            std::copy_n(row(3 * i), cols, row(rows - 1 - i));
            std::copy_n(row(3 * i + 1), cols, row(rows - 20 - i));
            auto bits = std::bit_cast<std::array<std::uint8_t, sizeof(E)>>(row(rows - 20 - i)[static_cast<long>(i)]);
            bits[0] ^= 1;
            row(rows - 20 - i)[static_cast<long>(i)] = std::bit_cast<E>(bits);
        }
        std::fill_n(row(100), cols, narrow<E>(0.0f));
        std::transform(row(101), row(102), row(101), [](E e) { return narrow<E>(widen(e) * 100.0f); });
        constexpr bool is_half = std::is_same_v<E, half>;
        view = {reinterpret_cast<const std::byte*>(elements.data()), rows, cols,
                is_half                       ? float_element::f16
                : std::is_same_v<E, bfloat16> ? float_element::bf16
                                              : float_element::f32};
    }

    [[nodiscard]] float at(std::size_t r, std::size_t c) const { return widen(elements[r * view.cols + c]); }
};

/// State `i` of a series of sixteen kinds in turn.
template <class E> std::vector<float> state(const random_head<E>& head, std::size_t i) {
    std::mt19937 engine(static_cast<unsigned>(i));
    std::normal_distribution<float> normal;
    std::vector<float> x(head.view.cols);
    std::generate(x.begin(), x.end(), [&] { return normal(engine); });
    const std::size_t row = engine() % head.view.rows;
    const std::size_t at = engine() % x.size();
    const auto scale = [&](float factor) { std::for_each(x.begin(), x.end(), [&](float& v) { v *= factor; }); };
    const auto along = [&](std::size_t r) {
        for (std::size_t c = 0; c < x.size(); ++c) {
            x[c] = head.at(r, c) * 30.0f;
        }
    };
    switch (i % 16) {
    case 0:
        std::fill(x.begin(), x.end(), 0.0f);
        break;
    case 1:
        x[at] = 1e4f; // one outlier
        break;
    case 2:
        along(3 * (i / 16 % 17)); // an exact tie for the first place
        break;
    case 3:
        along(3 * (i / 16 % 17) + 1); // nearly a tie
        break;
    case 4:
        scale(1e-42f);
        break;
    case 5:
        x[at] = std::numeric_limits<float>::infinity();
        break;
    case 6:
        x[at] = std::numeric_limits<float>::quiet_NaN();
        break;
    case 7:
        std::fill(x.begin(), x.end(), 0.0f);
        x[at] = -2.0f; // one column, many near-ties
        break;
    case 8:
        along(row);
        break;
    case 9:
        scale(1e-15f);
        break;
    default: // random, of any size
        scale(std::exp2(static_cast<float>(i % 7) - 3.0f));
    }
    return x;
}

struct counts {
    std::size_t asked = 0;
    std::size_t full = 0;
    std::size_t greedy_of_random = 0; ///< largest(1) of random states that did not need the full pass
};

/// largest(k) of `states` states against the sorted logits of the full head, which are products / `logit_scale`.
template <class E>
counts compare(const engine& with, const random_head<E>& head, std::size_t states, std::size_t threads,
               float logit_scale = 1.0f) {
    const auto opened = with.open_pool(threads, default_spin);
    REQUIRE(opened);
    const pool_ref pool = opened->ref();
    const auto screen = lm_head_screen::open(pool, *with.loops, head.view);
    REQUIRE(screen);
    auto search = screened_search::open(*with.loops, head.view, *screen, logit_scale);
    REQUIRE(search);
    std::vector<float> logits(head.view.rows);
    float* const to = logits.data();
    counts sum;
    bool same = true;
    for (std::size_t i = 0; i < states; ++i) {
        const auto x = state(head, i);
        lm_head_products(pool, *with.loops, head.view, {x.data(), 1, x.size()}, {&to, 1});
        std::vector<scored_token> sorted;
        for (std::size_t r = 0; r < logits.size(); ++r) {
            const volatile float logit = logits[r] / logit_scale;
            sorted.push_back({static_cast<token>(r), logit});
        }
        std::partial_sort(sorted.begin(), sorted.begin() + 256, sorted.end(),
                          [](const scored_token& a, const scored_token& b) { return precedes(a, b); });
        for (const std::size_t k : {1u, 5u, 40u, 256u}) {
            ++sum.asked;
            const auto found = search->largest(pool, x.data(), k);
            sum.full += found ? 0 : 1;
            sum.greedy_of_random += found && k == 1 && i % 16 >= 10 ? 1 : 0;
            same = same && (!found || (found->size() == k &&
                                       std::memcmp(found->data(), sorted.data(), k * sizeof(scored_token)) == 0));
        }
        REQUIRE_MESSAGE(same, "state " << i);
    }
    CHECK(search->statistics().steps == sum.asked);
    CHECK(search->statistics().full_passes == sum.full);
    return sum;
}

/// The engine of the named instruction set, or the best that runs here.
const engine& engine_here(std::string_view isa = {}) {
    const engine* chosen = choose_engine(any_cpu::engines, isa, layout_table_of<i2s>);
    REQUIRE(chosen != nullptr);
    return *chosen;
}

} // namespace

TEST_CASE("10,000 random and adversarial states have the largest logits of the full head, bit for bit") {
    const engine& best = engine_here();
    const std::size_t factor = best.isa == "scalar" ? 1 : 25;
    const random_head<half> narrow_rows(5003, 320, 1);
    const auto all = compare(best, narrow_rows, 240 * factor, 2);
    CHECK(all.full > 0);
    CHECK(all.full < all.asked / 2);
    // Six of sixteen kinds are random; the best of 5,003 logits, 3.7 deviations out, is far above the bounds.
    CHECK(all.greedy_of_random == 90 * factor);
    compare(best, random_head<float>(4097, 100, 2), 80 * factor, 1);
    compare(best, random_head<half>(3001, 2560, 3), 40 * factor, 2);
    compare(best, random_head<bfloat16>(1531, 3200, 4), 40 * factor, 3);
}

TEST_CASE("an output matrix of any number of rows gives the products of its single rows") {
    const engine& best = engine_here();
    const auto opened = best.open_pool(3, default_spin);
    REQUIRE(opened);
    for (const std::size_t rows : {389u, 1027u, 151669u}) {
        const random_head<half> head(rows, 96, 9);
        const element_loops& loops = best.loops->of(head.view.element);
        std::vector<float> x;
        for (std::size_t i = 0; i < 13; ++i) {
            const auto one = state(head, 10 + i % 6);
            x.insert(x.end(), one.begin(), one.end());
        }
        std::vector<float> logits(13 * rows);
        std::vector<float*> out;
        for (std::size_t t = 0; t < 13; ++t) {
            out.push_back(logits.data() + t * rows);
        }
        lm_head_products(opened->ref(), *best.loops, head.view, {x.data(), 13, 96}, out);
        std::size_t differences = 0;
        for (std::size_t r = 0; r < rows; r += rows / 389) {
            for (std::size_t t = 0; t < 13; ++t) {
                float alone = 0;
                float* const to = &alone;
                loops.dot_rows(head.view.row(r), head.view.row_bytes(), 1, {x.data() + t * 96, 1, 96}, &to);
                differences += alone == out[t][r] ? 0 : 1;
            }
        }
        CHECK(differences == 0);
    }
    compare(best, random_head<half>(389, 384, 10), 80, 2);
    compare(best, random_head<half>(151669, 64, 11), 16, 3);
}

TEST_CASE("logits that a division makes equal are ranked by their ids, as in the full head") {
    const random_head<half> head(3001, 320, 8);
    const auto all = compare(engine_here(), head, 80, 2, 3.0f);
    CHECK(all.full < all.asked / 2);
    compare(engine_here(), head, 80, 1, 1e6f);
    compare(engine_here(), head, 80, 1, 1e-6f);
}

TEST_CASE("every instruction set finds the same largest logits, by the same bounds") {
    const random_head<half> head(2003, 320, 5);
    const auto expected = compare(engine_here("scalar"), head, 32, 1);
    for (const std::string& isa : bitnet_tests::isas_that_run()) {
        CAPTURE(isa);
        CHECK(compare(engine_here(isa), head, 32, 3).full == expected.full); // even the bounds are the same bits
    }
}

TEST_CASE("searches that read the screen together find what they find alone") {
    const random_head<half> head(2003, 320, 5);
    for (const std::string& isa : bitnet_tests::isas_that_run()) {
        CAPTURE(isa);
        const engine& with = engine_here(isa);
        const auto pool = with.open_pool(2, default_spin);
        REQUIRE(pool);
        const auto screen = lm_head_screen::open(pool->ref(), *with.loops, head.view);
        REQUIRE(screen);
        for (const float logit_scale : {1.0f, 3.0f}) {
            auto together = joint_searches::open(*with.loops, head.view, *screen, logit_scale, 70, "test", nullptr);
            auto alone = screened_search::open(*with.loops, head.view, *screen, logit_scale);
            REQUIRE(together);
            REQUIRE(alone);
            for (const auto& some : {std::pair<std::size_t, std::size_t>{0, 1}, {3, 2}, {1, 7}, {0, 70}, {4, 9}}) {
                const std::size_t first = some.first;
                const std::size_t count = some.second;
                const auto x = [&](std::size_t i) { return state(head, i + count); };
                const auto k = [](std::size_t i) { return i % 2 == 0 ? std::size_t{1} : std::size_t{40}; };
                for (std::size_t i = first; i < first + count; ++i) {
                    (*together)[i].begin(x(i).data(), k(i));
                }
                together->begin_bounds(first, count);
                parallel_for(pool->ref(), together->bound_tasks(),
                             [&](std::size_t task) noexcept { together->bound(task); });
                for (std::size_t i = first; i < first + count; ++i) {
                    const auto state_of_row = x(i);
                    (*together)[i].finish(state_of_row.data());
                    const auto found = (*together)[i].found();
                    const auto expected = alone->largest(pool->ref(), state_of_row.data(), k(i));
                    REQUIRE(found.has_value() == expected.has_value());
                    CHECK((!found || std::equal(found->begin(), found->end(), expected->begin(), expected->end(),
                                                [](const scored_token& a, const scored_token& b) {
                                                    return a.id == b.id && a.logit == b.logit;
                                                })));
                }
            }
        }
    }
}

TEST_CASE("rows that are not finite are rescored, and a head of only such rows is read completely") {
    random_head<half> head(600, 64, 6);
    head.elements[5 * 64 + 1] = half{0x7c00}; // infinity
    head.elements[7 * 64 + 2] = half{0x7e01}; // NaN
    const auto some = compare(engine_here(), head, 160, 1);
    CHECK(some.greedy_of_random > 0);
    std::fill(head.elements.begin(), head.elements.end(), half{0x7e00});
    const auto none = compare(engine_here(), head, 16, 1);
    CHECK(none.full == none.asked);
}

TEST_CASE("a Gaussian head is screened by reading two fifths of its bytes") {
    const engine& best = engine_here();
    if (best.isa == "scalar") {
        return; // a minute of emulated fmas, and the same bounds
    }
    const random_head<half> head(32768, 640, 7);
    const auto pool = best.open_pool(2, default_spin);
    REQUIRE(pool);
    const auto screen = lm_head_screen::open(pool->ref(), *best.loops, head.view);
    REQUIRE(screen);
    const double whole = static_cast<double>(head.view.rows * head.view.row_bytes());
    for (const auto& wanted : {std::pair<std::size_t, double>{1, 0.41}, {40, 0.43}, {256, 0.50}}) {
        const std::size_t k = wanted.first;
        const double share = wanted.second;
        auto search = screened_search::open(*best.loops, head.view, *screen, 1.0f);
        REQUIRE(search);
        for (std::size_t i = 0; i < 20; ++i) {
            REQUIRE(search->largest(pool->ref(), state(head, 16 * i + 15).data(), k));
        }
        const screen_statistics& sum = search->statistics();
        CHECK(sum.full_passes == 0);
        const double read = static_cast<double>(sum.bytes_read) / 20 / whole;
        CHECK_MESSAGE(read < share, "k " << k);
        CHECK(read > 0.39); // the screen itself
        MESSAGE("k " << k << ": " << read << " of the bytes, " << sum.rescored_rows / 20 << " rows rescored");
    }
}
