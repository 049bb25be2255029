// SPDX-License-Identifier: MIT
// What a GGUF reader must refuse, row by row, and that no damage makes it crash, hang or allocate without need.
#include "../golden/gguf_editor.hpp"
#include "../golden/malformed_gguf.hpp"
#include "../golden/tiny_model_writer.hpp"

#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/ternary_tail.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <string>
#include <string_view>
#include <vector>

namespace {

[[maybe_unused]] std::atomic<std::size_t> allocated_bytes{0};

// Copies to an allocation of exactly that size, so that AddressSanitizer sees a read of one byte too many.
std::vector<std::byte> exact_copy(std::span<const std::byte> bytes) { return {bytes.begin(), bytes.end()}; }

bitnet::buffer<std::byte> good_model() {
    auto model = bitnet_tests::tiny_model();
    REQUIRE(model);
    return *std::move(model);
}

/// Parses and, if that works, checks all ternary data.
bitnet::result<void> read_all(std::span<const std::byte> bytes) {
    const auto file = bitnet::gguf_file::parse(bytes, "broken.gguf");
    if (!file) {
        return file.error();
    }
    for (const bitnet::gguf_tensor& tensor : file->tensors()) {
        if (tensor.type != bitnet::tensor_type::i2_s) {
            continue;
        }
        if (auto scale = bitnet::detail::scale_of_tail(tensor, file->name()); !scale) {
            return std::move(scale).error();
        }
        if (auto codes = bitnet::detail::check_i2s_codes(tensor, file->name()); !codes) {
            return codes;
        }
    }
    return {};
}

void check_rows(std::span<const bitnet_tests::malformed_gguf> rows) {
    const auto good = good_model();
    for (const auto& row : rows) {
        CAPTURE(std::string(row.name));
        bitnet_tests::gguf_editor editor(good.span());
        row.damage(editor);
        const auto broken = exact_copy(editor.bytes());
        const auto read = read_all(broken);
        REQUIRE_FALSE(read.has_value());
        const std::string& message = read.error().message;
        CAPTURE(message);
        CHECK(read.error().code == row.expected);
        CHECK(message.starts_with("broken.gguf: "));
        CHECK(message.find(row.place) != std::string::npos);
    }
}

/// Touches everything that a reader of the file could touch.
std::uint64_t touch(const bitnet::gguf_file& file) {
    std::uint64_t sum = 0;
    for (const auto& value : file.metadata()) {
        sum += value.key.size();
        if (value.is_array_of(bitnet::gguf_type::string)) {
            for (const auto text : value.strings()) {
                sum += text.empty() ? 0 : static_cast<unsigned char>(text.back());
            }
        } else if (!value.bytes.empty()) {
            sum += std::to_integer<unsigned>(value.bytes.back());
        }
    }
    for (const auto& tensor : file.tensors()) {
        sum += std::to_integer<unsigned>(tensor.bytes.front()) + std::to_integer<unsigned>(tensor.bytes.back());
    }
    return sum;
}

} // namespace

#if !defined(_WIN32) // which has no aligned_alloc
// Every large piece of memory of the library comes from here (core/buffer.hpp). A size that no machine has is refused
// here, because AddressSanitizer would end the program instead.
void* operator new(std::size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
    allocated_bytes += size;
    if (size > std::size_t{1} << 40) {
        return nullptr;
    }
    const std::size_t unit = static_cast<std::size_t>(alignment);
    return std::aligned_alloc(unit, (std::max<std::size_t>(size, 1) + unit - 1) / unit * unit);
}
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t, const std::nothrow_t&) noexcept { std::free(memory); }
#endif

TEST_CASE("the undamaged model is accepted") {
    const auto good = good_model();
    const auto read = read_all(good.span());
    CAPTURE((read ? std::string() : read.error().message));
    CHECK(read.has_value());
}

TEST_CASE("there are at least sixty malformed files, each with a name of its own") {
    std::vector<std::string_view> names;
    for (const auto rows : {bitnet_tests::malformed_files(), bitnet_tests::malformed_ternary_data()}) {
        for (const auto& row : rows) {
            names.emplace_back(row.name);
        }
    }
    CHECK(names.size() >= 60);
    std::ranges::sort(names);
    CHECK(std::ranges::adjacent_find(names) == names.end());
}

TEST_CASE("every malformed file gives its own code and a message that names the place") {
    check_rows(bitnet_tests::malformed_files());
}

TEST_CASE("ternary data without a meaning gives its own code and a message that names the place") {
    check_rows(bitnet_tests::malformed_ternary_data());
}

TEST_CASE("a file cut anywhere before its last tensor ends is refused") {
    const auto good = good_model();
    const auto whole = bitnet::gguf_file::parse(good.span(), "good");
    REQUIRE(whole);
    const std::size_t header = static_cast<std::size_t>(whole->data_offset());
    for (std::size_t size = 0; size <= header; ++size) {
        const auto cut = exact_copy(good.span().first(size));
        if (bitnet::gguf_file::parse(cut, "cut").has_value()) {
            FAIL("a file cut to " << size << " bytes was accepted");
        }
    }
}

TEST_CASE("whatever byte of the header changes, a file that is still accepted can be read") {
    const auto good = good_model();
    const auto whole = bitnet::gguf_file::parse(good.span(), "good");
    REQUIRE(whole);
    auto bytes = exact_copy(good.span());
    std::uint64_t sum = 0;
    std::size_t accepted = 0;
    for (std::size_t at = 0; at < whole->data_offset(); ++at) {
        for (const unsigned flip : {0x01u, 0x80u, 0xffu}) {
            bytes[at] ^= std::byte{static_cast<unsigned char>(flip)};
            if (const auto file = bitnet::gguf_file::parse(bytes, "flipped"); file) {
                sum += touch(*file);
                ++accepted;
            }
            bytes[at] ^= std::byte{static_cast<unsigned char>(flip)};
        }
    }
    CHECK(accepted > 0); // letters of names and numbers may change
    CHECK(sum > 0);
}

#if !defined(_WIN32)
TEST_CASE("no malformed file makes the reader allocate more than six times the file") {
    const auto good = good_model();
    for (const auto& row : bitnet_tests::malformed_files()) {
        CAPTURE(std::string(row.name));
        bitnet_tests::gguf_editor editor(good.span());
        row.damage(editor);
        allocated_bytes = 0;
        CHECK_FALSE(bitnet::gguf_file::parse(editor.bytes(), "broken").has_value());
        // A key of 14 bytes becomes a gguf_value of 64 and an index of 8; a tensor of 33 becomes 88 and two of 8.
        CHECK(allocated_bytes <= 6 * editor.bytes().size());
    }
    allocated_bytes = 0;
    REQUIRE(bitnet::gguf_file::parse(good.span(), "good"));
    CHECK(allocated_bytes > 0); // the counter counts
}
#endif
