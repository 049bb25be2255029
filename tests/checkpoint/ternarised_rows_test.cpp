// SPDX-License-Identifier: MIT
// Masters: absmean ternarisation against the formula written out, refusals, and the published forms of one model.
#include "golden/golden_data.hpp"
#include "golden/ternary_encoders.hpp"

#include <bitnet/checkpoint/ternary_source.hpp>
#include <bitnet/core/byte_reader.hpp>
#include <bitnet/io/byte_source.hpp>
#include <bitnet/io/gguf_writer.hpp>
#include <bitnet/thread/thread_pool.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;

namespace {

struct master_matrix {
    std::size_t rows;
    std::size_t cols;
    std::vector<float> values;
};

template <class E> master_matrix random_masters(std::size_t rows, std::size_t cols, double deviation) {
    std::mt19937 engine(7);
    master_matrix m{rows, cols, {}};
    for (std::size_t i = 0; i < rows * cols; ++i) {
        const double unit = static_cast<double>(engine()) / 4294967296.0 + static_cast<double>(engine()) / 4294967296.0;
        m.values.push_back(widen(narrow<E>(static_cast<float>((unit - 1.0) * deviation))));
    }
    return m;
}

template <class E> std::vector<std::byte> bytes_of(const master_matrix& m) {
    std::vector<std::byte> bytes(m.values.size() * sizeof(E));
    for (std::size_t i = 0; i < m.values.size(); ++i) {
        const E element = narrow<E>(m.values[i]);
        std::memcpy(bytes.data() + i * sizeof(E), &element, sizeof element);
    }
    return bytes;
}

template <class E> constexpr tensor_type type_of = tensor_type::f32;
template <> constexpr tensor_type type_of<half> = tensor_type::f16;
template <> constexpr tensor_type type_of<bfloat16> = tensor_type::bf16;

struct ternarised {
    float scale = 0;
    std::vector<std::uint8_t> codes; ///< [rows, cols]
    error failure;
};

ternarised read_all(const gguf_tensor& tensor, std::size_t threads, bool masters = true) {
    auto pool = thread_pool::open(threads);
    REQUIRE(pool);
    const auto rows = static_cast<std::size_t>(tensor.dims[1]);
    const auto cols = static_cast<std::size_t>(tensor.dims[0]);
    ternarised made;
    made.codes.resize(rows * cols, 9);
    const auto source = ternary_source::open(tensor, "test", masters, {}, **pool);
    if (!source) {
        made.failure = source.error();
        return made;
    }
    made.scale = source->scale();
    for (std::size_t row = 0; row < rows; ++row) {
        REQUIRE(source->rows().read(row, made.codes.data() + row * cols));
    }
    return made;
}

gguf_tensor tensor_of(tensor_type type, std::size_t rows, std::size_t cols, std::span<const std::byte> bytes) {
    gguf_tensor tensor;
    tensor.name = "blk.0.ffn_up.weight";
    tensor.type = type;
    tensor.dims = {cols, rows, 1, 1};
    tensor.rank = 2;
    tensor.bytes = bytes;
    return tensor;
}

/// The published recipe: mean in double, round half to even, clamp.
template <class E> void check_absmean(std::size_t rows, std::size_t cols, double deviation) {
    INFO(rows << " x " << cols << " " << name_of(type_of<E>) << ", deviation " << deviation);
    const master_matrix m = random_masters<E>(rows, cols, deviation);
    const auto bytes = bytes_of<E>(m);
    double sum = 0;
    for (std::size_t row = 0; row < rows; ++row) {
        double of_row = 0;
        for (std::size_t col = 0; col < cols; ++col) {
            of_row += std::fabs(static_cast<double>(m.values[row * cols + col]));
        }
        sum += of_row;
    }
    const double mean = std::max(sum / static_cast<double>(rows * cols), 1e-5);
    for (const std::size_t threads : {1u, 3u}) {
        const ternarised made = read_all(tensor_of(type_of<E>, rows, cols, bytes), threads);
        REQUIRE_MESSAGE(made.failure.code == errc{}, made.failure.message);
        CHECK(made.scale == widen(narrow<E>(static_cast<float>(mean))));
        for (std::size_t i = 0; i < m.values.size(); ++i) {
            const double rounded = std::nearbyint(static_cast<double>(m.values[i]) / mean);
            REQUIRE(static_cast<double>(made.codes[i]) - 1.0 == std::clamp(rounded, -1.0, 1.0));
        }
    }
}

void check_refusal(const ternarised& made, errc code, std::string_view place) {
    INFO(made.failure.message);
    CHECK(made.failure.code == code);
    CHECK(made.failure.message.find("test: tensor 'blk.0.ffn_up.weight': ") == 0);
    CHECK(made.failure.message.find(place) != std::string::npos);
}

/// The tensors of a safetensors file, only what this test needs.
class tensor_shard {
public:
    explicit tensor_shard(const std::string& path) {
        auto opened = byte_source::open(path);
        REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
        source_.emplace(*std::move(opened));
        byte_reader reader(source_->bytes());
        const auto length = reader.read<std::uint64_t>();
        REQUIRE(length);
        const auto text = reader.read_bytes(*length);
        REQUIRE(text);
        header_ = std::string(reinterpret_cast<const char*>(text->data()), text->size());
        data_ = source_->bytes().subspan(reader.offset());
    }

    /// Of the first tensor whose entry begins with `name`: shape [rows, cols] or [count], and data.
    [[nodiscard]] std::span<const std::byte> find(const std::string& name, std::vector<std::size_t>& shape) const {
        const std::size_t entry = header_.find("\"" + name + "\":");
        REQUIRE(entry != std::string::npos);
        const auto numbers = [&](const char* key) {
            std::vector<std::size_t> found;
            std::size_t at = header_.find('[', header_.find(key, entry));
            while (header_[at] != ']') {
                found.push_back(std::stoul(header_.substr(at + 1)));
                at = header_.find_first_of(",]", at + 1);
            }
            return found;
        };
        shape = numbers("\"shape\"");
        const auto range = numbers("\"data_offsets\"");
        REQUIRE(range.size() == 2);
        return data_.subspan(range[0], range[1] - range[0]);
    }

private:
    std::optional<byte_source> source_;
    std::string header_;
    std::span<const std::byte> data_;
};

} // namespace

TEST_CASE("masters are ternarised by absmean as the formula says, on any number of threads") {
    check_absmean<float>(7, 130, 0.05);
    check_absmean<half>(8, 256, 0.05);
    check_absmean<bfloat16>(33, 100, 0.05);
    check_absmean<bfloat16>(3, 64, 1e-6); // the mean is below 1e-5
    check_absmean<float>(2, 64, 1e30);
    check_absmean<half>(5, 96, 30000.0);
}

TEST_CASE("the scale of masters is their mean in their own type") {
    // 0.01 lies between two numbers of each type. -0.015 keeps the weights from being ternary as they are.
    const auto scale_of = []<class E>(E) {
        const master_matrix m{1, 4, {0.01f, -0.015f, 0.005f, 0.01f}};
        const ternarised made = read_all(tensor_of(type_of<E>, 1, 4, bytes_of<E>(m)), 1);
        REQUIRE_MESSAGE(made.failure.code == errc{}, made.failure.message);
        CHECK(made.codes[1] == 0);
        return made.scale;
    };
    CHECK(scale_of(0.0f) == 0.01f);
    CHECK(scale_of(bfloat16{}) == 0.010009765625f);  // 164 / 2^14: eight significant bits
    CHECK(scale_of(half{}) == 0.01000213623046875f); // 1311 / 2^17: eleven
}

TEST_CASE("a weight of exactly half the mean is 0, the next one above it is 1") {
    const float next = std::nextafter(0.5f, 1.0f);
    // The magnitudes add up to 8, so that the mean is 1.
    const master_matrix ones{1, 8, {0.5f, next, -next, 0.0f, 1.5f, -1.5f, 1.5f, -(3.0f - 2.0f * next)}};
    const auto bytes = bytes_of<float>(ones);
    const ternarised made = read_all(tensor_of(tensor_type::f32, 1, 8, bytes), 1);
    CHECK(made.scale == 1.0f);
    CHECK(made.codes == std::vector<std::uint8_t>{1, 2, 0, 1, 2, 0, 2, 0});
}

TEST_CASE("weights that are ternary already keep their own scale, in any architecture") {
    const auto m = bitnet_tests::code_matrix::random(5, 96, 0.0123291015625f);
    for (const tensor_type type : {tensor_type::f32, tensor_type::f16, tensor_type::bf16}) {
        const auto bytes = bitnet_tests::encode(type, m);
        for (const bool masters : {false, true}) {
            const ternarised made = read_all(tensor_of(type, m.rows, m.cols, bytes), 2, masters);
            REQUIRE_MESSAGE(made.failure.code == errc{}, made.failure.message);
            CHECK(made.scale == m.scale);
            CHECK(made.codes == m.codes);
        }
    }
}

TEST_CASE("weights that are not ternary are refused unless the file says that they are masters") {
    const auto bytes = bytes_of<half>(random_masters<half>(4, 64, 0.05));
    check_refusal(read_all(tensor_of(tensor_type::f16, 4, 64, bytes), 1, false), errc::unsupported_type,
                  "type F16 in the file, with weights that are not -s, 0 and +s for one s");
}

TEST_CASE("masters that are not finite are refused, naming the row") {
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
        master_matrix m = random_masters<bfloat16>(9, 64, 0.05);
        m.values[5 * 64 + 63] = bad;
        check_refusal(read_all(tensor_of(tensor_type::bf16, 9, 64, bytes_of<bfloat16>(m)), 2), errc::bad_scale,
                      "row 5 of its 9 rows holds a NaN or an infinity");
        check_refusal(read_all(tensor_of(tensor_type::f32, 9, 64, bytes_of<float>(m)), 2), errc::bad_scale, "row 5");
        check_refusal(read_all(tensor_of(tensor_type::f16, 9, 64, bytes_of<half>(m)), 2), errc::bad_scale, "row 5");
    }
}

TEST_CASE("masters belong to bitnet architectures and to files that say so") {
    const auto of = [](const char* architecture, std::optional<bool> said) {
        gguf_writer writer;
        writer.add("general.architecture", architecture);
        if (said) {
            writer.add("bitnet_hpp.masters", *said);
        }
        const auto bytes = writer.write_memory();
        REQUIRE(bytes);
        const auto file = gguf_file::parse(bytes->span(), "test");
        REQUIRE(file);
        return has_float_masters(*file);
    };
    CHECK(of("bitnet-b1.58", {}));
    CHECK(of("bitnet", {}));
    CHECK_FALSE(of("llama", {}));
    CHECK_FALSE(of("llama", false));
    CHECK(of("llama", true));
}

TEST_CASE("a scale beside weights in floating point multiplies ternary ones, and masters cannot have one") {
    auto pool = thread_pool::open(1);
    REQUIRE(pool);
    const float beside = 0.5f;
    const auto open_with_scale = [&](const std::vector<std::byte>& weights) {
        gguf_writer writer;
        writer.add("general.architecture", "bitnet");
        const std::uint64_t dims[] = {96, 5};
        const std::uint64_t one = 1;
        writer.add_tensor("blk.0.ffn_up.weight", tensor_type::f32, dims, weights);
        writer.add_tensor("blk.0.ffn_up.scale", tensor_type::f32, {&one, 1}, std::as_bytes(std::span(&beside, 1)));
        const auto bytes = writer.write_memory();
        REQUIRE(bytes);
        const auto file = gguf_file::parse(bytes->span(), "test");
        REQUIRE(file);
        const auto source = ternary_source::open(*file, *file->find_tensor("blk.0.ffn_up.weight"), {}, **pool);
        return source ? result<float>(source->scale()) : result<float>(error{source.error()});
    };
    const auto ternary = open_with_scale(
        bitnet_tests::encode(tensor_type::f32, bitnet_tests::code_matrix::random(5, 96, 0.0123291015625f)));
    REQUIRE_MESSAGE(ternary, (ternary ? "" : ternary.error().message));
    CHECK(*ternary == 0.5f * 0.0123291015625f);
    const auto masters = open_with_scale(bytes_of<float>(random_masters<float>(5, 96, 0.05)));
    REQUIRE_FALSE(masters);
    CHECK(masters.error().code == errc::unsupported_type);
    CHECK(masters.error().message.find("'blk.0.ffn_up.weight': type F32 in the file, with weights that are not -s") !=
          std::string::npos);
}

TEST_CASE("golden: masters become the codes and scales of the packed checkpoint and of the I2_S file") {
    if (skip_without_golden()) {
        return;
    }
    const tensor_shard masters(golden_path("tiny/hf-bf16/model.safetensors"));
    const tensor_shard packed(golden_path("tiny/hf/model.safetensors"));
    const auto source = byte_source::open(golden_path("tiny/tiny-a-i2_s.gguf"));
    REQUIRE(source);
    const auto file = gguf_file::parse(source->bytes(), "tiny");
    REQUIRE(file);
    const char* names[][2] = {{"self_attn.q_proj", "attn_q"}, {"self_attn.k_proj", "attn_k"},
                              {"self_attn.v_proj", "attn_v"}, {"self_attn.o_proj", "attn_output"},
                              {"mlp.gate_proj", "ffn_gate"},  {"mlp.up_proj", "ffn_up"},
                              {"mlp.down_proj", "ffn_down"}};
    for (std::size_t layer = 0; layer < 6; ++layer) {
        for (const auto& name : names) {
            const std::string from = "model.layers." + std::to_string(layer) + "." + name[0] + ".weight";
            INFO(from);
            std::vector<std::size_t> shape;
            const auto weights = masters.find(from, shape);
            REQUIRE(shape.size() == 2);
            const ternarised made = read_all(tensor_of(tensor_type::bf16, shape[0], shape[1], weights), 2);
            REQUIRE_MESSAGE(made.failure.code == errc{}, made.failure.message);

            const gguf_tensor* i2 = file->find_tensor("blk." + std::to_string(layer) + "." + name[1] + ".weight");
            REQUIRE(i2 != nullptr);
            const auto expected = bitnet_tests::decode_i2_s(*i2);
            CHECK(made.scale == expected.scale);
            CHECK(made.codes == expected.codes);

            std::vector<std::size_t> quarter;
            const auto bytes = packed.find(from, quarter);
            REQUIRE(quarter.size() == 2);
            std::vector<std::uint8_t> codes;
            for (std::size_t i = 0; i < shape[0] * shape[1]; ++i) {
                const std::size_t row = i / shape[1];
                const auto byte = std::to_integer<unsigned>(bytes[row % quarter[0] * shape[1] + i % shape[1]]);
                codes.push_back(static_cast<std::uint8_t>(byte >> (2 * (row / quarter[0])) & 3u));
            }
            CHECK(made.codes == codes);
            const auto scale = packed.find(from + "_scale", quarter);
            bfloat16 stored;
            std::memcpy(&stored, scale.data(), sizeof stored);
            CHECK(made.scale == widen(stored));
        }
    }
}
