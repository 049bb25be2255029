// SPDX-License-Identifier: MIT
// TL1 and TL2 tensors of microsoft/BitNet: read with the tiling they were written with, refused without.
#include "golden/gguf_editor.hpp"
#include "golden/lookup_encoders.hpp"
#include "golden/ternary_encoders.hpp"
#include "golden/tiny_model_writer.hpp"

#include <bitnet/checkpoint/microsoft_tl.hpp>
#include <bitnet/checkpoint/ternary_rows.hpp>
#include <bitnet/policy.hpp>
#include <bitnet/run/model.hpp>
#include <bitnet/run/session.hpp>

#include <doctest/doctest.h>

#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;
using bitnet_tests::code_matrix;
using bitnet_tests::tile_sizes;

namespace {

std::string section(std::size_t rows, std::size_t cols, tile_sizes t) {
    return "[Kernels_" + std::to_string(rows) + "]\nm = " + std::to_string(rows) + "\nk = " + std::to_string(cols) +
           "\nbm = " + std::to_string(t.bm) + "\r\nbk=" + std::to_string(t.bk) + "\n  bmm = " + std::to_string(t.bmm) +
           "\n\n";
}

gguf_tensor tensor_of(tensor_type type, std::size_t rows, std::size_t cols, std::span<const std::byte> bytes) {
    gguf_tensor tensor;
    tensor.name = "blk.0.attn_q.weight";
    tensor.type = type;
    tensor.dims = {cols, rows, 1, 1};
    tensor.rank = 2;
    tensor.bytes = bytes;
    return tensor;
}

template <class Rows> void check_values(tensor_type type, std::size_t rows, std::size_t cols, tile_sizes t) {
    INFO(name_of(type) << " " << rows << " x " << cols << ", bm " << t.bm << ", bk " << t.bk << ", bmm " << t.bmm);
    const auto m = code_matrix::random(rows, cols, 1.0f);
    const auto bytes = type == tensor_type::tl1 ? bitnet_tests::encode_tl1(m, t) : bitnet_tests::encode_tl2(m, t);
    const auto tensor = tensor_of(type, rows, cols, bytes);
    CHECK(tensor_bytes(type, tensor.dims) == bytes.size());
    const std::string ini = "# two shapes\n" + section(16, 16, {1, 1, 1}) + section(rows, cols, t);
    const auto opened = Rows::open(tensor, "test", ini);
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    std::vector<std::uint8_t> codes(m.codes.size(), 9);
    for (std::size_t row = 0; row < rows; ++row) {
        REQUIRE(opened->read(row, codes.data() + row * cols));
    }
    CHECK(codes == m.codes);
}

template <class Rows> void check_refusal(tensor_type type, std::string_view ini, errc code, std::string_view place) {
    const std::vector<std::byte> bytes(64 * 256 / 4);
    const auto opened = Rows::open(tensor_of(type, 64, 256, bytes), "test", ini);
    REQUIRE_FALSE(opened);
    INFO(opened.error().message);
    CHECK(opened.error().code == code);
    CHECK(opened.error().message.find(place) != std::string::npos);
}

/// The tiny model in TL1 or TL2, scales beside the tensors, and its kernel_config.ini.
struct lookup_model {
    buffer<std::byte> bytes;
    std::string ini;
};
lookup_model model_in(tensor_type type, std::span<const std::byte> i2s_model) {
    const auto file = gguf_file::parse(i2s_model, "test");
    REQUIRE(file);
    gguf_writer writer;
    for (const gguf_value& entry : file->metadata()) {
        writer.add(entry);
    }
    std::deque<std::vector<std::byte>> kept;
    std::deque<code_matrix> matrices;
    lookup_model made;
    for (const gguf_tensor& tensor : file->tensors()) {
        if (tensor.type != tensor_type::i2_s) {
            writer.add_tensor(tensor.name, tensor.type, std::span(tensor.dims).first(tensor.rank), tensor.bytes);
            continue;
        }
        const auto& m = matrices.emplace_back(bitnet_tests::decode_i2_s(tensor));
        const tile_sizes t = type == tensor_type::tl1 ? tile_sizes{64, 64, 32} : tile_sizes{64, 96, 32};
        made.ini += section(m.rows, m.cols, t);
        kept.push_back(type == tensor_type::tl1 ? bitnet_tests::encode_tl1(m, t) : bitnet_tests::encode_tl2(m, t));
        writer.add_tensor(tensor.name, type, std::span(tensor.dims).first(2), std::span<const std::byte>(kept.back()));
        const std::uint64_t one[] = {1};
        writer.add_tensor(std::string(tensor.name) + "_scale", tensor_type::f32, one,
                          std::as_bytes(std::span(&m.scale, 1)));
    }
    auto written = writer.write_memory();
    REQUIRE_MESSAGE(written, (written ? "" : written.error().message));
    made.bytes = *std::move(written);
    return made;
}

using P = policy<isa::scalar>;

result<model<P>> open(std::span<const std::byte> bytes, std::string_view ini) {
    return model<P>::open(byte_source::borrow(bytes, "test"), {.load_tokenizer = false, .lookup_tiling = ini});
}
std::vector<float> logits_of(const result<model<P>>& opened) {
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    auto s = session<P>::open(*opened, {.prompt_chunk = 16});
    REQUIRE(s);
    const token ids[] = {3, 1, 4, 1, 5, 9, 2, 6};
    REQUIRE(s->feed(ids));
    const auto logits = s->logits();
    REQUIRE(logits);
    return {logits->begin(), logits->end()};
}

bitnet_tests::model_shape shape() {
    bitnet_tests::model_shape made;
    made.hidden = 256;
    made.ffn = 512;
    made.heads = 4;
    return made;
}

} // namespace

TEST_CASE("TL1 gives back what the converter's reshaping hid, in every published tiling") {
    check_values<microsoft_tl1_rows>(tensor_type::tl1, 320, 512, {160, 64, 32}); // bitnet_b1_58-3B
    check_values<microsoft_tl1_rows>(tensor_type::tl1, 640, 256, {320, 128, 64});
    check_values<microsoft_tl1_rows>(tensor_type::tl1, 640, 320, {320, 64, 32});
    check_values<microsoft_tl1_rows>(tensor_type::tl1, 256, 128, {128, 64, 64}); // bitnet_b1_58-large
    check_values<microsoft_tl1_rows>(tensor_type::tl1, 32, 64, {32, 32, 16});
}

TEST_CASE("TL2 gives back what the converter's reshaping hid, with and without a rest in pairs") {
    check_values<microsoft_tl2_rows>(tensor_type::tl2, 320, 384, {160, 96, 32});  // bitnet_b1_58-3B
    check_values<microsoft_tl2_rows>(tensor_type::tl2, 320, 320, {320, 96, 32});  // 32 columns in pairs
    check_values<microsoft_tl2_rows>(tensor_type::tl2, 128, 384, {128, 192, 32}); // bitnet_b1_58-large
    check_values<microsoft_tl2_rows>(tensor_type::tl2, 64, 352, {64, 96, 32});    // 64 in pairs
    check_values<microsoft_tl2_rows>(tensor_type::tl2, 64, 640, {32, 384, 32});   // 256 in pairs, as many as can be
}

TEST_CASE("a tiling that is missing or does not fit is refused, naming tensor, shape and rule") {
    const auto one = tensor_type::tl1;
    const auto two = tensor_type::tl2;
    check_refusal<microsoft_tl1_rows>(
        one, "", errc::wrong_layout,
        "test: tensor 'blk.0.attn_q.weight': type TL1 of microsoft/BitNet: its tile sizes are not "
        "in the file. They stand in the kernel_config.ini");
    check_refusal<microsoft_tl2_rows>(two, "", errc::wrong_layout,
                                      "give its text as open_options::microsoft_tl_tiling");
    check_refusal<microsoft_tl1_rows>(
        one, section(256, 64, {64, 64, 32}), errc::wrong_layout,
        "[256, 64] in the file, and kernel_config.ini has no section with k = 256 and m = 64");
    check_refusal<microsoft_tl1_rows>(one, "[a]\nm = 64\nk = twelve\n", errc::invalid_argument,
                                      "kernel_config.ini: line 3 is 'k = twelve'");
    check_refusal<microsoft_tl1_rows>(one, "[a]\nm = 64\nheight = 12\n", errc::invalid_argument,
                                      "line 3 is 'height = 12'");
    check_refusal<microsoft_tl1_rows>(one, "m = 64 1\n", errc::invalid_argument, "line 1");
    check_refusal<microsoft_tl1_rows>(one, "m = 99999999999999999999999\n", errc::invalid_argument, "line 1");
    check_refusal<microsoft_tl1_rows>(one, "[a]\nm = 64\nk = 256\n", errc::wrong_layout, "bm = 0, bk = 0, bmm = 0");
    for (const tile_sizes bad :
         {tile_sizes{64, 64, 8}, tile_sizes{64, 64, 0}, tile_sizes{48, 64, 32}, tile_sizes{128, 64, 32},
          tile_sizes{64, 60, 64}, tile_sizes{64, 512, 32}, tile_sizes{64, 96, 32}}) {
        check_refusal<microsoft_tl1_rows>(one, section(64, 256, bad), errc::wrong_layout,
                                          "[256, 64] as TL1 with bm = " + std::to_string(bad.bm));
    }
    for (const tile_sizes bad : {tile_sizes{64, 96, 64}, tile_sizes{64, 96, 16}, tile_sizes{48, 96, 32},
                                 tile_sizes{64, 64, 32}, tile_sizes{64, 72, 32}, tile_sizes{64, 0, 32}}) {
        check_refusal<microsoft_tl2_rows>(two, section(64, 256, bad), errc::wrong_layout,
                                          "[256, 64] as TL2 with bm = " + std::to_string(bad.bm));
    }
}

TEST_CASE("indices that the formats do not have are refused") {
    const auto m = code_matrix::random(64, 320, 1.0f);
    const auto refused = [&](tensor_type type, std::size_t at, unsigned byte) {
        const tile_sizes t{64, type == tensor_type::tl1 ? std::size_t{64} : std::size_t{96}, 32};
        auto bytes = type == tensor_type::tl1 ? bitnet_tests::encode_tl1(m, t) : bitnet_tests::encode_tl2(m, t);
        bytes[at] = static_cast<std::byte>(byte);
        const auto tensor = tensor_of(type, m.rows, m.cols, bytes);
        const std::string ini = section(m.rows, m.cols, t);
        std::vector<std::uint8_t> codes(m.cols);
        std::size_t bad = 0;
        const auto count = [&](const auto& rows) {
            REQUIRE(rows);
            for (std::size_t row = 0; row < m.rows; ++row) {
                bad += rows->read(row, codes.data()) ? 0 : 1;
                for (const std::uint8_t code : codes) {
                    REQUIRE((bad != 0 || code <= 2));
                }
            }
            CHECK(any_ternary_rows(*rows).fault(0).code == errc::bad_code);
        };
        if (type == tensor_type::tl1) {
            count(microsoft_tl1_rows::open(tensor, "test", ini));
        } else {
            count(microsoft_tl2_rows::open(tensor, "test", ini));
        }
        return bad;
    };
    CHECK(refused(tensor_type::tl1, 0, 0x09) == 1);
    CHECK(refused(tensor_type::tl1, 5000, 0xf0) == 1);
    CHECK(refused(tensor_type::tl1, 77, 0x88) == 0);
    CHECK(refused(tensor_type::tl2, 100, 0x0e) == 1);
    CHECK(refused(tensor_type::tl2, 100, 0xe0) == 1);
    CHECK(refused(tensor_type::tl2, 100, 0xdd) == 0);
    CHECK(refused(tensor_type::tl2, 64 * 288 * 5 / 24 + 10, 0x90) == 1); // in the pairs
}

TEST_CASE("a model in TL1 or TL2 gives the logits of I2_S bit for bit") {
    const auto source = bitnet_tests::tiny_model(shape());
    REQUIRE(source);
    const auto i2s_file = bitnet_tests::with_ternary_type(source->span(), tensor_type::i2_s);
    const auto expected = logits_of(open(i2s_file.span(), ""));
    for (const tensor_type type : {tensor_type::tl1, tensor_type::tl2}) {
        INFO(name_of(type));
        const auto made = model_in(type, source->span());
        CHECK(logits_of(open(made.bytes.span(), made.ini)) == expected);

        const auto refused = open(made.bytes.span(), "");
        REQUIRE_FALSE(refused);
        CHECK(refused.error().code == errc::wrong_layout);
        CHECK(refused.error().message.find("kernel_config.ini") != std::string::npos);

        // As the converter writes them: scales without dimensions.
        bitnet_tests::gguf_editor editor(made.bytes.span());
        const auto scale = editor.tensor("blk.0.attn_q.weight_scale");
        editor.poke(scale.rank, 0u);
        editor.splice(scale.dims, 8, "");
        CHECK(logits_of(open(editor.bytes(), made.ini)) == expected);

        editor.remove_tensor("blk.0.attn_q.weight_scale");
        const auto scaleless = open(editor.bytes(), made.ini);
        REQUIRE_FALSE(scaleless);
        CHECK(scaleless.error().code == errc::missing_tensor);
        CHECK(scaleless.error().message.find("'blk.0.attn_q.weight_scale'") != std::string::npos);
    }
}
