// SPDX-License-Identifier: MIT
// A conversion writes the same bytes whatever floating-point environment the host has set, in its threads too.
#include "golden/tiny_model_writer.hpp"
#include "host_float_environment.hpp"

#include <bitnet/convert/checkpoint_comparison.hpp>
#include <bitnet/convert/checkpoint_converter.hpp>
#include <bitnet/convert/metadata_edit.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/thread/pool.hpp>

#include <doctest/doctest.h>

#include <array>
#include <span>
#include <string>
#include <string_view>

using namespace bitnet;

namespace {

/// The converted file and what comparing it tells; a sentence for what fails.
std::string converted(std::span<const std::byte> bytes, std::string_view layout, std::string_view head, pool_ref pool) {
    const auto file = gguf_file::parse(bytes, "tiny");
    const auto edit = metadata_edit::parse("tiny.number=f32:1e-40");
    if (!file || !edit) {
        return file ? edit.error().message : file.error().message;
    }
    const metadata_edit edits[] = {*edit};
    auto converter = checkpoint_converter::open(*file, {.layout = layout, .head = head, .edits = edits}, pool);
    if (!converter) {
        return converter.error().message;
    }
    const auto written = (*converter)->write_memory();
    if (!written) {
        return written.error().message;
    }
    const auto again = gguf_file::parse(written->span(), "again");
    if (!again) {
        return again.error().message;
    }
    const auto report = compare_checkpoints(*file, {}, *again, pool);
    if (!report) {
        return report.error().message;
    }
    return std::string(reinterpret_cast<const char*>(written->data()), written->size()) +
           std::to_string(report->changed_floats);
}

const buffer<std::byte>& tiny() {
    static const auto bytes = [] {
        bitnet_tests::model_shape shape;
        shape.layers = 1;
        shape.hidden = 256;
        shape.ffn = 512;
        shape.heads = 4;
        shape.kv_heads = 2;
        shape.head_dim = 64;
        return bitnet_tests::tiny_model(shape);
    }();
    REQUIRE(bytes);
    return *bytes;
}

} // namespace

TEST_CASE("a conversion writes the same bytes in any floating-point environment of the host's") {
    inline_pool here;
    const std::array<std::string_view, 2> choices[] = {{"i2_s", "q6_k"}, {"tq1_0", "q8_0"}, {"lookup3", "screened"}};
    for (const auto& choice : choices) {
        const std::string_view layout = choice[0];
        const std::string_view head = choice[1];
        const std::string expected = converted(tiny().span(), layout, head, here);
        REQUIRE_MESSAGE(expected.starts_with("GGUF"), expected);
        for (const bitnet_tests::float_setting& setting : bitnet_tests::host_settings) {
            CAPTURE(std::string(layout));
            CAPTURE(setting.name);
            const auto made =
                bitnet_tests::outcome_in(setting, [&] { return converted(tiny().span(), layout, head, here); });
            const bool same = made.value == expected;
            CHECK_MESSAGE(same, made.value.substr(0, 200));
            CHECK(made.kept);
#if BITNET_THREADS
            bitnet_tests::host_pool::setting = setting;
            bitnet_tests::host_pool threads;
            const bool same_in_threads = converted(tiny().span(), layout, head, threads) == expected;
            CHECK(same_in_threads);
            CHECK(bitnet_tests::host_pool::settings_lost == 0);
#endif
        }
    }
}
