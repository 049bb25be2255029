// SPDX-License-Identifier: MIT
// The self-test passes for every kernel that this machine runs, and notices one that is wrong in a single number.
#include <bitnet/model/self_test.hpp>
#include <bitnet/run/dispatch.hpp>
#include <bitnet/run/model.hpp>

#include <doctest/doctest.h>

#include <string>

using namespace bitnet;
using namespace bitnet::detail;

namespace {

/// What a broken compiler might make of the scalar code.
struct wrong_isa : isa::scalar {
    static constexpr std::string_view name = "wrong";
};
enum class mistake { none, decode, prefill, norm, rounding, blocks, blocks_of_64, block_rounding };
mistake made = mistake::none;

} // namespace

namespace bitnet::inline BITNET_ABI::detail {

template <> struct kernel<wrong_isa, i2s> : kernel<isa::scalar, i2s> {
    static void multiply(const i2s::view& w, std::size_t first, std::size_t count, const activation_view& x,
                         std::int32_t* y, std::size_t y_stride) noexcept {
        kernel<isa::scalar, i2s>::multiply(w, first, count, x, y, y_stride);
        if (made == (x.tokens == 1 ? mistake::decode : mistake::prefill)) {
            y[y_stride * (x.tokens - 1) + count - 1] ^= 1;
        }
    }
};
template <> struct block_kernel<wrong_isa> : block_kernel<isa::scalar> {
    static void multiply(const scaled_blocks& w, std::size_t first, std::size_t count, const block_activations& x,
                         float* y, std::size_t y_stride) noexcept {
        block_kernel<isa::scalar>::multiply(w, first, count, x, y, y_stride);
        if ((made == mistake::blocks && x.tokens > 1) || (made == mistake::blocks_of_64 && w.block_columns == 64)) {
            y[y_stride * (x.tokens - 1) + count - 1] *= 1.0000001f;
        }
    }
    static void quantize(const float* x, std::size_t n, std::size_t per, const block_row& out) noexcept {
        block_kernel<isa::scalar>::quantize(x, n, per, out);
        out.sums[0] += made == mistake::block_rounding ? 1 : 0;
    }
};
template <> struct float_ops<wrong_isa> : float_ops<isa::scalar> {
    static void rms_norm(const float* x, const float* weight, float eps, std::size_t n, float* y) noexcept {
        float_ops<isa::scalar>::rms_norm(x, weight, made == mistake::norm ? 2 * eps : eps, n, y);
    }
    static row_quantization quantize(const float* x, std::size_t n, std::int8_t* q) noexcept {
        const auto all = float_ops<isa::scalar>::quantize(x, n, q);
        q[n - 1] = static_cast<std::int8_t>(q[n - 1] ^ (made == mistake::rounding ? 1 : 0));
        return all;
    }
};

} // namespace bitnet::inline BITNET_ABI::detail

TEST_CASE("every policy that this machine runs passes the self-test in every layout") {
    for (const engine* each : in_all_layouts<any_cpu>::engines) {
        if (each->enable()) {
            const auto tested = self_test::run(*each);
            CHECK_MESSAGE(tested, (tested ? "" : tested.error().message));
        }
    }
}

TEST_CASE("one wrong number is an error that names the kernel or the loop, and no model opens") {
    using P = policy<wrong_isa>;
    const auto check = [](mistake which, const std::string& part) {
        made = which;
        const auto tested = self_test::run(engine_of<P>::tables);
        const auto opened = model<P>::open(BITNET_TEST_MODEL);
        made = mistake::none;
        REQUIRE_FALSE(tested);
        CHECK(tested.error().code == errc::broken_kernel);
        CHECK_MESSAGE(tested.error().message.find(part) != std::string::npos, tested.error().message);
        REQUIRE_FALSE(opened);
        CHECK(opened.error().message == BITNET_TEST_MODEL ": " + tested.error().message);
    };
    CHECK(self_test::run(engine_of<P>::tables));
    check(mistake::decode, "the kernel wrong on i2_s gives ");
    check(mistake::prefill, "for row 11 of 5 tokens");
    check(mistake::blocks_of_64, "the kernel wrong on blocks of 64 columns gives other bits");
    check(mistake::blocks, "for row 32 of 5 tokens");
    check(mistake::block_rounding, "wrong rounds activations to other int8");
    check(mistake::norm, "the loop rms_norm of wrong");
    check(mistake::rounding, "the loop quantize of wrong");
}
