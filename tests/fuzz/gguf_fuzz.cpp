// SPDX-License-Identifier: MIT
// Fuzzes the GGUF reader and the model that it opens: raw bytes, and good files in which the input chooses fields to
// change.
#include "../golden/gguf_editor.hpp"
#include "../golden/tiny_model_writer.hpp"

#include <bitnet/checkpoint/scaled_rows.hpp>
#include <bitnet/checkpoint/ternary_source.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/gguf_writer.hpp>
#include <bitnet/io/ternary_tail.hpp>
#include <bitnet/run/model.hpp>
#include <bitnet/run/session.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace {

void require(bool holds) {
    if (!holds) {
        __builtin_trap();
    }
}

/// A number in the good file's header: its place and its bytes.
struct field {
    std::size_t at;
    std::size_t size;
};

struct good_file {
    std::vector<std::byte> bytes;
    std::vector<field> fields;
    std::size_t header = 0;
};

/// The types of ternary tensors that are read row by row.
constexpr bitnet::tensor_type row_types[] = {bitnet::tensor_type::tq1_0,     bitnet::tensor_type::tq2_0,
                                             bitnet::tensor_type::iq1_bn,    bitnet::tensor_type::iq2_bn,
                                             bitnet::tensor_type::iq2_bn_r4, bitnet::tensor_type::tl1,
                                             bitnet::tensor_type::tl2,       bitnet::tensor_type::bf16};

/// The tilings of the tensors that with_every_row_format adds, in TL1 and TL2.
constexpr std::string_view lookup_tiling = "[Kernels_0]\nm = 32\nk = 256\nbm = 32\nbk = 96\nbmm = 32\n"
                                           "[Kernels_1]\nm = 64\nk = 256\nbm = 64\nbk = 64\nbmm = 32\n";

/// A model with one more tensor in each of them. Bytes of 0x55 are a good scale and code 1 in most.
bitnet::result<bitnet::buffer<std::byte>> with_every_row_format(std::span<const std::byte> model) {
    const auto file = bitnet::gguf_file::parse(model, "good");
    require(file.has_value());
    bitnet::gguf_writer writer;
    for (const auto& entry : file->metadata()) {
        writer.add(entry);
    }
    for (const auto& tensor : file->tensors()) {
        writer.add_tensor(tensor.name, tensor.type, std::span(tensor.dims).first(tensor.rank), tensor.bytes);
    }
    const std::vector<std::byte> bytes(std::size_t{64} * 256 * 2, std::byte{0x55});
    for (const auto type : row_types) {
        const std::uint64_t dims[] = {256, type == bitnet::tensor_type::tl1 ? 64u : 32u};
        const auto size = bitnet::detail::tensor_bytes(type, {dims[0], dims[1], 1, 1});
        writer.add_tensor("rows." + std::string(bitnet::name_of(type)), type, dims,
                          std::span(bytes).first(static_cast<std::size_t>(*size)));
    }
    return writer.write_memory();
}

/// A Qwen3 decoder whose matrices, embedding and head have a scale for each block, with two more tensors in rows.
bitnet::result<bitnet::buffer<std::byte>> with_block_scales(bitnet::tensor_type type) {
    bitnet_tests::model_shape shape;
    shape.architecture = "qwen3";
    shape.head_norms = true;
    shape.own_head = true;
    const auto model = bitnet_tests::tiny_model(shape);
    require(model.has_value());
    const auto file = bitnet::gguf_file::parse(model->span(), "good");
    require(file.has_value());
    bitnet::gguf_writer writer;
    for (const auto& entry : file->metadata()) {
        writer.add(entry);
    }
    const std::size_t block = type == bitnet::tensor_type::q2_0_g64 ? 18 : 34;
    std::vector<std::byte> bytes(std::size_t{1} << 16, std::byte{0x12}); // the codes 2, 0, 1, 0
    for (std::size_t at = 0; at + 1 < bytes.size(); at += block) {
        bytes[at] = std::byte{0};
        bytes[at + 1] = std::byte{0x2c}; // a sixteenth
    }
    const auto add = [&](std::string_view name, bitnet::tensor_type as, std::uint64_t cols, std::uint64_t rows) {
        const std::uint64_t dims[] = {cols, rows};
        const auto size = bitnet::detail::tensor_bytes(as, {cols, rows, 1, 1});
        writer.add_tensor(name, as, dims, std::span(bytes).first(static_cast<std::size_t>(*size)));
    };
    for (const auto& tensor : file->tensors()) {
        if (tensor.rank == 2) {
            add(tensor.name, type, tensor.dims[0], tensor.dims[1]);
        } else {
            writer.add_tensor(tensor.name, tensor.type, std::span(tensor.dims).first(tensor.rank), tensor.bytes);
        }
    }
    add("rows.PTQ1_0", bitnet::tensor_type::ptq1_0, 256, 8);
    add("rows.PQ2_0", bitnet::tensor_type::pq2_0, 256, 8);
    return writer.write_memory();
}

bitnet::result<bitnet::buffer<std::byte>> with_one_scale() {
    bitnet_tests::model_shape shape;
    shape.scale_tensors = true;
    const auto model = bitnet_tests::tiny_model(shape);
    require(model.has_value());
    return with_every_row_format(model->span());
}

good_file make_good_file(const bitnet::result<bitnet::buffer<std::byte>>& model) {
    require(model.has_value());
    bitnet_tests::gguf_editor editor(model->span());
    using bitnet::gguf_type;
    using edit = bitnet_tests::gguf_editor;
    editor.add_key("general.alignment", gguf_type::u32, edit::number(32u));
    editor.add_key("flags", gguf_type::array,
                   edit::number(7u) + edit::number(std::uint64_t{3}) + std::string("\1\0\1", 3));
    good_file good{
        {editor.bytes().begin(), editor.bytes().end()}, {{0, 4}, {4, 4}, {8, 8}, {16, 8}}, editor.data_start()};
    for (const auto& key : editor.keys()) {
        for (const field f : {field{key.length, 8}, field{key.key, 1}, field{key.type, 4}, field{key.value, 4},
                              field{key.value, 8}, field{key.element_count, 8}, field{key.elements, 8}}) {
            good.fields.push_back(f);
        }
    }
    for (const auto& tensor : editor.tensors()) {
        for (const field f : {field{tensor.length, 8}, field{tensor.characters, 1}, field{tensor.rank, 4},
                              field{tensor.dims, 8}, field{tensor.dims + 8, 8}, field{tensor.type, 4},
                              field{tensor.offset, 8}, field{tensor.data + tensor.data_size - 32, 4}}) {
            good.fields.push_back(f);
        }
    }
    return good;
}

/// Takes numbers off the input; zeros when it is empty.
class choices {
public:
    choices(const std::uint8_t* data, std::size_t size) : data_(data), left_(size) {}
    [[nodiscard]] bool empty() const noexcept { return left_ == 0; }
    template <class T> [[nodiscard]] T take() {
        T value{};
        const std::size_t size = std::min(sizeof(T), left_);
        std::memcpy(&value, data_, size);
        data_ += size;
        left_ -= size;
        return value;
    }

private:
    const std::uint8_t* data_;
    std::size_t left_;
};

std::uint64_t interesting(choices& input, std::uint64_t old) {
    constexpr std::array<std::uint64_t, 19> values{0,
                                                   1,
                                                   2,
                                                   3,
                                                   4,
                                                   9,
                                                   36,
                                                   41,
                                                   42,
                                                   142,
                                                   143,
                                                   128,
                                                   64,
                                                   0x7fffffff,
                                                   0x80000000,
                                                   0xffffffff,
                                                   1ull << 32,
                                                   1ull << 62,
                                                   ~std::uint64_t{0}};
    const auto which = input.take<std::uint8_t>();
    switch (which & 3u) {
    case 0:
        return values[(which >> 2) % values.size()];
    case 1:
        return old + (which >> 2);
    case 2:
        return old - (which >> 2);
    default:
        return input.take<std::uint64_t>();
    }
}

void change(std::vector<std::byte>& bytes, const good_file& good, choices& input) {
    const auto what = input.take<std::uint8_t>();
    const auto where = input.take<std::uint16_t>();
    if (what < 8) {
        bytes.resize(std::min<std::size_t>(bytes.size(), where * std::size_t{what + 1u}));
    } else if (what < 16) {
        const std::size_t at = std::min<std::size_t>(where, bytes.size());
        const std::size_t count = std::min<std::size_t>(bytes.size() - at, what);
        bytes.erase(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                    bytes.begin() + static_cast<std::ptrdiff_t>(at + count));
    } else if (what < 32) {
        const std::size_t at = where % good.header;
        if (at < bytes.size()) {
            bytes[at] = std::byte{input.take<std::uint8_t>()};
        }
    } else {
        const field f = good.fields[where % good.fields.size()];
        if (f.at + f.size <= bytes.size()) {
            std::uint64_t value = 0;
            std::memcpy(&value, bytes.data() + f.at, f.size);
            value = interesting(input, value);
            std::memcpy(bytes.data() + f.at, &value, f.size);
        }
    }
}

std::uint64_t touch_metadata(const bitnet::gguf_file& file) {
    std::uint64_t sum = 0;
    for (const auto& value : file.metadata()) {
        require(file.find(value.key) == &value);
        if (value.is_array_of(bitnet::gguf_type::string)) {
            std::uint64_t count = 0;
            for (const std::string_view text : value.strings()) {
                sum += static_cast<std::uint64_t>(std::ranges::count(text, 'e'));
                ++count;
            }
            require(count == value.count);
        } else {
            require(value.type == bitnet::gguf_type::string ||
                    value.bytes.size() == value.count * bitnet::detail::size_of(value.element_type));
            for (const std::byte b : value.bytes) {
                sum += std::to_integer<std::uint64_t>(b);
            }
        }
        const auto number = file.get<std::int64_t>(value.key);
        const auto text = file.get<std::string_view>(value.key);
        sum += number ? static_cast<std::uint64_t>(*number) : number.error().message.size();
        sum += text ? text->size() : text.error().message.size();
    }
    return sum;
}

/// All rows of a tensor in blocks with scales.
bool read_blocks(const bitnet::gguf_tensor& tensor) {
    bitnet::inline_pool pool;
    const bool is_in_place = bitnet::detail::is_scaled_blocks(tensor.type);
    std::vector<std::uint8_t> packed(static_cast<std::size_t>(tensor.dims[0] * tensor.dims[1] / 128 * 34));
    const auto read = is_in_place ? bitnet::detail::check_scaled_blocks(pool, tensor, "fuzz")
                                  : bitnet::detail::pack_scaled_rows(pool, tensor, "fuzz", packed.data());
    require(read || (read.error().code != bitnet::errc{} && read.error().message.size() < 1000));
    return read.has_value();
}

/// All rows of a tensor, if its type is one that has them.
bool read_rows(const bitnet::gguf_tensor& tensor) {
    bitnet::inline_pool pool;
    std::vector<std::uint8_t> codes(static_cast<std::size_t>(tensor.dims[0]));
    const bitnet::ternary_reading reading{bitnet::i2s_order::planar_128, lookup_tiling};
    const auto read = [&]() -> bitnet::result<void> {
        const auto source = bitnet::detail::ternary_source::open(tensor, "fuzz", true, reading, pool);
        if (!source) {
            return failed(source);
        }
        for (std::size_t row = 0; row < tensor.dims[1]; ++row) {
            if (!source->rows().read(row, codes.data())) {
                return bitnet::detail::row_fault(source->rows(), row, tensor, "fuzz");
            }
            require(std::ranges::all_of(codes, [](std::uint8_t code) { return code <= 2; }));
        }
        return {};
    }();
    require(read || (read.error().code != bitnet::errc{} && read.error().message.size() < 1000));
    return read.has_value();
}

std::uint64_t touch_tensors(const bitnet::gguf_file& file, std::span<const std::byte> bytes) {
    std::uint64_t sum = 0;
    for (const auto& tensor : file.tensors()) {
        require(file.find_tensor(tensor.name) == &tensor);
        require(!tensor.bytes.empty() && tensor.offset % file.alignment() == 0);
        require(tensor.offset + tensor.bytes.size() <= bytes.size());
        require(tensor.bytes.data() == bytes.data() + tensor.offset);
        for (const std::byte b : tensor.bytes) {
            sum += std::to_integer<std::uint64_t>(b);
        }
        if (tensor.type == bitnet::tensor_type::i2_s) {
            sum += bitnet::detail::scale_of_tail(tensor, file.name()).has_value();
            sum += bitnet::detail::check_i2s_codes(tensor, file.name()).has_value();
        } else if (tensor.rank == 2 && tensor.dims[0] * tensor.dims[1] < (1u << 16)) {
            sum += read_rows(tensor);
            sum += bitnet::detail::has_block_scales(tensor.type) && read_blocks(tensor);
        }
    }
    return sum;
}

/// Opens the file as a model and, if that works, runs tokens through it, also of the last position.
void run_model(std::span<const std::byte> bytes) {
    using plain = bitnet::policy<bitnet::isa::scalar>::with_pool<bitnet::inline_pool>;
    const auto model = bitnet::model<plain>::open(bitnet::byte_source::borrow(bytes, "fuzz"));
    if (!model) {
        require(model.error().code != bitnet::errc{} && model.error().message.size() < 1000);
        return;
    }
    auto session =
        bitnet::session<plain>::open(*model, {.context = std::min<std::size_t>(model->parameters().context, 8)});
    require(session.has_value());
    const auto vocabulary = static_cast<bitnet::token>(model->parameters().vocabulary);
    const bitnet::token ids[] = {0, vocabulary - 1};
    require(vocabulary < 1 || session->feed(std::span(ids).first(session->context() < 2 ? 1 : 2)).has_value());
    require(!session->feed(std::span(&vocabulary, 1)).has_value());
    require(session->logits().has_value());
}

void parse_and_touch(std::span<const std::byte> bytes) {
    const std::vector<std::byte> exact(bytes.begin(), bytes.end()); // the sanitizer watches its end
    const auto file = bitnet::gguf_file::parse(exact, "fuzz");
    if (!file) {
        require(file.error().code != bitnet::errc{} && file.error().message.size() < 1000);
        return;
    }
    volatile std::uint64_t sum = touch_metadata(*file) + touch_tensors(*file, exact);
    static_cast<void>(sum);
    run_model(exact);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const good_file good_files[] = {make_good_file(with_one_scale()),
                                           make_good_file(with_block_scales(bitnet::tensor_type::q2_0)),
                                           make_good_file(with_block_scales(bitnet::tensor_type::q2_0_g64)),
                                           make_good_file(with_block_scales(bitnet::tensor_type::pq2_0))};
    if (size >= 4 && std::memcmp(data, "GGUF", 4) == 0) {
        parse_and_touch(std::as_bytes(std::span(data, size)));
        return 0;
    }
    choices input(data, size);
    const good_file& good = good_files[input.take<std::uint8_t>() % std::size(good_files)];
    std::vector<std::byte> bytes = good.bytes;
    for (int i = 0; i < 16 && !input.empty(); ++i) {
        change(bytes, good, input);
    }
    parse_and_touch(bytes);
    return 0;
}
