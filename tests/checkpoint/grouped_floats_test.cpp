// SPDX-License-Identifier: MIT
// Folders whose F16 and BF16 weights are ternary with a scale for each 128 columns: unpacked models, not masters.
#include "golden/block_encoders.hpp"
#include "golden/checkpoint_writer.hpp"
#include "golden/tiny_model_writer.hpp"
#include "io/temporary_folder.hpp"

#include <bitnet/any.hpp>
#include <bitnet/checkpoint/block_rows.hpp>
#include <bitnet/checkpoint/open_model_file.hpp>
#include <bitnet/convert/checkpoint_comparison.hpp>
#include <bitnet/convert/checkpoint_converter.hpp>
#include <bitnet/thread/thread_pool.hpp>

#include <doctest/doctest.h>

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;

namespace {

bitnet_tests::model_shape grouped_shape() {
    bitnet_tests::model_shape shape;
    shape.hidden = 256;
    shape.ffn = 384;
    shape.heads = 4;
    return shape;
}

template <class E> std::string floats_of(const gguf_tensor& tensor) {
    const block_rows rows(tensor);
    std::vector<float> row(static_cast<std::size_t>(tensor.dims[0]));
    std::string data;
    for (std::size_t r = 0; r < tensor.dims[1]; ++r) {
        REQUIRE(rows.widen_row(r, row.data()));
        for (const float weight : row) {
            const E element = narrow<E>(weight);
            data.append(reinterpret_cast<const char*>(&element), sizeof element);
        }
    }
    return data;
}

/// A folder with the weights of a file in PQ2_0.
template <class E> bitnet_tests::checkpoint folder_of(std::span<const std::byte> blocks) {
    const auto plain = bitnet_tests::tiny_model(grouped_shape());
    REQUIRE(plain);
    auto made = bitnet_tests::checkpoint_of(plain->span(), grouped_shape(), bitnet_tests::checkpoint_weights::masters);
    const auto file = gguf_file::parse(blocks, "blocks");
    REQUIRE(file);
    for (const gguf_tensor& tensor : file->tensors()) {
        if (tensor.type == tensor_type::pq2_0) {
            auto& entry = made.tensor(bitnet_tests::checkpoint_name_of(tensor.name, false));
            entry.type = std::is_same_v<E, half> ? "F16" : "BF16";
            entry.data = floats_of<E>(tensor);
        }
    }
    return made;
}

std::vector<std::byte> blocks() {
    const auto plain = bitnet_tests::tiny_model(grouped_shape());
    REQUIRE(plain);
    return bitnet_tests::with_block_scales(plain->span(), {});
}

std::vector<float> logits_of(result<any_model> opened) {
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    CHECK(opened->activations() == activation_rounding::per_32);
    auto session = any_session::open(*opened);
    REQUIRE(session);
    REQUIRE(session->feed(std::vector<token>{3, 1, 4, 1, 5, 9, 2, 6}));
    const auto logits = session->logits();
    REQUIRE(logits);
    return {logits->begin(), logits->end()};
}

template <class E> void check_folder() {
    const auto file = blocks();
    const bitnet_tests::temporary_folder folder;
    folder_of<E>(file).write(folder.path());
    const open_options options{.load_tokenizer = false};
    CHECK(logits_of(any_model::open(folder.path(), options)) ==
          logits_of(any_model::open(byte_source::borrow(file, "blocks"), options)));
    const auto source = model_file::open(folder.path(), {.load_tokenizer = false});
    REQUIRE_MESSAGE(source, (source ? "" : source.error().message));
    const auto pool = thread_pool::open(2);
    REQUIRE(pool);
    const auto converter = checkpoint_converter::open(source->gguf(), {.layout = "ptq1_0"}, **pool);
    REQUIRE_MESSAGE(converter, (converter ? "" : converter.error().message));
    const auto written = (*converter)->write_memory();
    REQUIRE_MESSAGE(written, (written ? "" : written.error().message));
    const auto target = gguf_file::parse(written->span(), "written");
    REQUIRE(target);
    const auto report = compare_checkpoints(source->gguf(), {}, *target, **pool);
    REQUIRE_MESSAGE(report, (report ? "" : report.error().message));
    CHECK(report->ternary_tensors == 7);
}

} // namespace

TEST_CASE("a folder of floats that are ternary by 128 columns is the model in blocks, and converts to them") {
    check_folder<half>();
    check_folder<bfloat16>();
}

TEST_CASE("one weight that does not fit its 128 columns is refused by row, beyond the rows that are looked at first") {
    const bitnet_tests::temporary_folder folder;
    auto made = folder_of<half>(blocks());
    auto& entry = made.tensor("model.layers.0.self_attn.q_proj.weight");
    const half other = narrow<half>(0.75f);
    std::memcpy(entry.data.data() + (200 * 256 + 130) * sizeof other, &other, sizeof other);
    made.write(folder.path());
    const auto opened = any_model::open(folder.path(), {.load_tokenizer = false});
    REQUIRE_FALSE(opened);
    INFO(opened.error().message);
    CHECK(opened.error().code == errc::bad_code);
    CHECK(opened.error().message.find("tensor 'blk.0.attn_q.weight': row 200 of its 256 rows has weights that are not "
                                      "-d, 0 and +d for one half d in 128 columns") != std::string::npos);
}

TEST_CASE("floats that are no such groups stay masters, and those with one magnitude keep it as their scale") {
    const bitnet_tests::temporary_folder folder;
    auto made = folder_of<half>(blocks());
    for (auto& entry : made.tensors) {
        if (entry.type == "F16" && entry.shape.size() == 2 && entry.name.find("proj") != std::string::npos) {
            const half other = narrow<half>(0.75f);
            std::memcpy(entry.data.data(), &other, sizeof other);
            const half another = narrow<half>(0.5f);
            std::memcpy(entry.data.data() + sizeof another, &another, sizeof another);
        }
    }
    made.write(folder.path());
    const auto opened = any_model::open(folder.path(), {.load_tokenizer = false});
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    CHECK(opened->activations() == activation_rounding::per_token);
}
