// SPDX-License-Identifier: MIT
// estimate_memory against what opening allocates: models of several formats, mapped, copied and screened.
#include "golden/block_encoders.hpp"
#include "golden/tiny_model_writer.hpp"
#include "run/counted_allocations.hpp"

#include <bitnet/checkpoint/scaled_rows.hpp>
#include <bitnet/run/memory_estimate.hpp>
#include <bitnet/run/open_model.hpp>
#include <bitnet/run/session.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

using namespace bitnet;
using namespace bitnet::detail;

namespace {

template <class E> struct estimating_policy : policy<isa::scalar>::with_kv<E> {};

/// Within one in a hundred.
void check_close(std::string_view what, std::uint64_t estimated, std::uint64_t taken) {
    INFO(what << ": " << estimated << " bytes estimated, " << taken << " taken");
    CHECK(100 * estimated >= 99 * taken);
    CHECK(100 * estimated <= 101 * taken);
}

/// Opens a model by open() and a session of it, and compares what both take.
template <class Open>
void check(const result<memory_estimate>& estimated, session_options of_session, const Open& open) {
    REQUIRE_MESSAGE(estimated, (estimated ? "" : estimated.error().message));
    of_session.threads = 1;
    const std::size_t at_first = bitnet_tests::live_bytes();
    const result<any_model> m = open();
    REQUIRE_MESSAGE(m, (m ? "" : m.error().message));
    const std::size_t with_model = bitnet_tests::live_bytes();
    const auto s = any_session::open(*m, of_session);
    REQUIRE_MESSAGE(s, (s ? "" : s.error().message));
    const std::size_t with_session = bitnet_tests::live_bytes();
    CHECK(estimated->screen == m->screen_bytes());
    CHECK((estimated->repacked == 0) == (m->repacked_bytes() == 0));
    check_close("a session", estimated->session(), with_session - with_model);
    check_close("a model, its file and a session", estimated->mapped + estimated->model() + estimated->session(),
                estimated->mapped + (with_session - at_first));
}

template <class Ladder = any_cpu>
void check_bytes(std::span<const std::byte> bytes, const open_options& options, const session_options& of_session) {
    const auto file = model_file::open(byte_source::borrow(bytes, "wide"));
    REQUIRE(file);
    const auto estimated = estimate_memory<Ladder>(*file, options, of_session);
    check(estimated, of_session, [&] { return any_model::open<Ladder>(byte_source::borrow(bytes, "wide"), options); });
    CHECK(estimated->mapped == bytes.size());
}

bitnet_tests::model_shape wide_shape() {
    bitnet_tests::model_shape shape;
    shape.context = 3000;
    shape.hidden = 512;
    shape.ffn = 1024;
    shape.heads = 8;
    shape.layers = 3;
    return shape;
}

} // namespace

TEST_CASE("the tiny model takes what is estimated, mapped and copied, with a screen and without") {
    for (const page_mode pages : {page_mode::mapped, page_mode::copied, page_mode::automatic}) {
        for (const lm_head_mode head : {lm_head_mode::as_stored, lm_head_mode::screened, lm_head_mode::automatic}) {
            const open_options options{.pages = pages, .lm_head = head};
            check(estimate_memory(BITNET_TEST_MODEL, options), {},
                  [&] { return any_model::open(BITNET_TEST_MODEL, options); });
        }
    }
    const auto mapped = estimate_memory(BITNET_TEST_MODEL, {.pages = page_mode::mapped});
    const auto copied = estimate_memory(BITNET_TEST_MODEL, {.pages = page_mode::copied});
    REQUIRE(mapped.has_value());
    REQUIRE(copied.has_value());
    CHECK(mapped->copied == 0);
    CHECK(copied->mapped == 0);
    CHECK(mapped->mapped == copied->copied);
}

TEST_CASE_TEMPLATE("sessions of every element take what is estimated, in every context", E, half, float, std::int8_t) {
    const auto bytes = bitnet_tests::tiny_model(wide_shape());
    REQUIRE(bytes);
    for (const std::size_t context : {0u, 1u, 300u, 2048u}) {
        check_bytes<ladder<estimating_policy<E>>>(bytes->span(), {}, {.context = context});
    }
    check_bytes<ladder<estimating_policy<E>>>(bytes->span(), {},
                                              {.context = 500, .prompt_chunk = 7, .pooling = pooling_type::mean});
}

TEST_CASE("formats that are repacked take what is estimated") {
    auto shape = wide_shape();
    shape.architecture = "qwen3";
    shape.head_norms = true;
    const auto plain = bitnet_tests::tiny_model(shape);
    REQUIRE(plain);
    for (const auto rounding : {activation_rounding::by_model, activation_rounding::per_token,
                                activation_rounding::per_128, activation_rounding::none}) {
        check_bytes(plain->span(), {.activations = rounding}, {});
        for (const tensor_type type :
             {tensor_type::q2_0, tensor_type::q2_0_g64, tensor_type::ptq1_0, tensor_type::tq2_0}) {
            CAPTURE(name_of(type));
            const auto bytes =
                bitnet_tests::with_block_scales(plain->span(), {.type = type, .group = 256, .embedding = true});
            check_bytes(bytes, {.load_tokenizer = false, .activations = rounding}, {});
        }
    }
    check_bytes<ladder<policy<isa::scalar, base3>>>(plain->span(), {}, {});
}

TEST_CASE("an estimate refuses what opening refuses") {
    const auto bytes = bitnet_tests::tiny_model(wide_shape());
    REQUIRE(bytes);
    const auto file = model_file::open(byte_source::borrow(bytes->span(), "wide"));
    REQUIRE(file);
    CHECK(estimate_memory(*file, {}, {.context = 3001}).error().code == errc::invalid_argument);
    CHECK(estimate_memory(*file, {}, {.prompt_chunk = 0}).error().code == errc::invalid_argument);
    CHECK(estimate_memory(*file, {}, {}, "z80").error().code == errc::unsupported_cpu);
    CHECK(estimate_memory("no such file").error().code == errc::file_not_found);
}
