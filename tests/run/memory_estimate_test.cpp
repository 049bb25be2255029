// SPDX-License-Identifier: MIT
// memory_estimate of the example programs against what sessions allocate.
#include "../../examples/memory_estimate.hpp"
#include "golden/block_encoders.hpp"
#include "golden/tiny_model_writer.hpp"
#include "run/counted_allocations.hpp"

#include <bitnet/any.hpp>
#include <bitnet/checkpoint/scaled_rows.hpp>
#include <bitnet/run/model.hpp>
#include <bitnet/run/open_model.hpp>
#include <bitnet/run/session.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

using namespace bitnet;
using namespace bitnet::detail;

namespace {

/// What opening a session allocates, counted.
template <class Element> std::size_t counted(std::span<const std::byte> file, std::size_t context) {
    using P = policy<isa::scalar>::with_kv<Element>;
    const auto opened = model<P>::open(byte_source::borrow(file, "tiny"));
    REQUIRE(opened);
    const std::size_t before = bitnet_tests::allocated_bytes();
    const auto made = session<P>::open(*opened, {.context = context});
    REQUIRE(made);
    return bitnet_tests::allocated_bytes() - before;
}

/// The memory of a model with scales of blocks: what is allocated for its repacked tensors, and for a session.
void check_blocks(tensor_type type, activation_rounding rounding) {
    bitnet_tests::model_shape shape;
    shape.architecture = "qwen3";
    shape.context = 3000;
    shape.hidden = 512;
    shape.ffn = 1024;
    shape.heads = 8;
    shape.head_norms = true;
    const auto plain = bitnet_tests::tiny_model(shape);
    REQUIRE(plain);
    const auto bytes = bitnet_tests::with_block_scales(plain->span(), {.type = type, .group = 256, .embedding = true});
    const auto opened =
        any_model::open(byte_source::borrow(bytes, "tiny"), {.load_tokenizer = false, .activations = rounding});
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    const bool is_in_place = is_scaled_blocks(type);
    const std::uint64_t weights = 298 * 512 + 2 * 512 * 512 + 2 * 64 * 512 + 3 * 512 * 1024;
    CHECK(opened->repacked_bytes() == (is_in_place ? 0 : weights / 128 * 34));
    const double activation = tools::bytes_of_activation(opened->activations(), opened->layout());
    for (const tools::session_memory& each : tools::estimates(opened->parameters(), activation)) {
        const std::size_t before = bitnet_tests::allocated_bytes();
        const auto made = any_session::open(*opened, {.context = each.context});
        REQUIRE(made);
        const auto allocated = static_cast<double>(bitnet_tests::allocated_bytes() - before);
        const auto estimated = static_cast<double>(each.kv_f16 + each.working);
        const auto fixed = static_cast<double>(bytes.size() + opened->repacked_bytes());
        INFO(name_of(type) << ", " << name_of(rounding) << ", " << each.context << " positions: " << allocated
                           << " bytes, estimated " << estimated << ", and " << fixed << " of weights");
        CHECK(allocated + fixed == doctest::Approx(estimated + fixed).epsilon(0.01));
    }
}

} // namespace

TEST_CASE("a model with scales of blocks takes what is estimated, within one in a hundred") {
    for (const tensor_type type : {tensor_type::q2_0, tensor_type::q2_0_g64, tensor_type::ptq1_0, tensor_type::tq2_0}) {
        for (const auto rounding : {activation_rounding::by_model, activation_rounding::per_token,
                                    activation_rounding::per_128, activation_rounding::none}) {
            check_blocks(type, rounding);
        }
    }
}

TEST_CASE("a session allocates what is estimated, within a tenth of its working memory") {
    bitnet_tests::model_shape shape;
    shape.context = 5000;
    shape.hidden = 512;
    shape.ffn = 1024;
    const auto bytes = bitnet_tests::tiny_model(shape);
    REQUIRE(bytes);
    const auto file = gguf_file::parse(bytes->span(), "tiny");
    REQUIRE(file);
    const auto parameters = hyper_parameters::read(*file);
    REQUIRE(parameters);
    const auto all = tools::estimates(*parameters);
    REQUIRE(all.size() == 4);
    for (const tools::session_memory& each : all) {
        const auto close = [&](std::uint64_t kv, std::size_t allocated) {
            INFO(each.context << " positions: " << allocated << " bytes, estimated " << kv + each.working);
            CHECK(allocated > kv);
            CHECK(10 * (allocated - kv) >= 9 * each.working);
            CHECK(10 * (allocated - kv) <= 11 * each.working);
        };
        close(each.kv_f16, counted<half>(bytes->span(), each.context));
        close(each.kv_f32, counted<float>(bytes->span(), each.context));
        close(each.kv_i8, counted<std::int8_t>(bytes->span(), each.context));
    }
    CHECK(all[0].context == 512);
    CHECK(all[3].context == 5000);
}

TEST_CASE("a screened head takes what is estimated, in the model and in each session") {
    bitnet_tests::model_shape shape;
    shape.hidden = 512;
    const auto bytes = bitnet_tests::tiny_model(shape);
    REQUIRE(bytes);
    const auto open = [&](lm_head_mode mode) {
        auto opened = any_model::open(byte_source::borrow(bytes->span(), "tiny"), {.lm_head = mode});
        REQUIRE(opened);
        return *std::move(opened);
    };
    const auto counted_session = [](const any_model& model) {
        const std::size_t before = bitnet_tests::allocated_bytes();
        const auto made = any_session::open(model, {.context = 16});
        REQUIRE(made);
        return bitnet_tests::allocated_bytes() - before;
    };
    const any_model stored = open(lm_head_mode::as_stored);
    const any_model screened = open(lm_head_mode::screened);
    const auto estimated = tools::estimate_screened_head(stored.parameters());
    CHECK(screened.screen_bytes() == estimated.screen);
    CHECK(counted_session(screened) - counted_session(stored) == estimated.session);
}
