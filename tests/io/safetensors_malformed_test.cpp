// SPDX-License-Identifier: MIT
// What a safetensors reader must refuse, row by row, and that no damage makes it crash.
#include "../golden/safetensors_writer.hpp"

#include <bitnet/io/safetensors.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;
using bitnet_tests::safetensors_bytes;

namespace {

// In an allocation of exactly that size, so that AddressSanitizer sees a read of one byte too many.
std::vector<std::byte> exact_copy(std::string_view text) {
    const auto bytes = std::as_bytes(std::span(text));
    return {bytes.begin(), bytes.end()};
}

struct malformed {
    const char* name;
    std::string file;
    errc expected;
    const char* place;
};

/// A file whose only tensor 't' has that entry, and eight bytes of data.
std::string with_entry(std::string_view entry) {
    return safetensors_bytes("{\"t\":" + std::string(entry) + "}", "12345678");
}

void check_rows(std::span<const malformed> rows) {
    for (const malformed& row : rows) {
        CAPTURE(std::string(row.name));
        const auto bytes = exact_copy(row.file);
        const auto read = safetensors_file::parse(bytes, "broken.safetensors");
        REQUIRE_FALSE(read.has_value());
        CAPTURE(read.error().message);
        CHECK(read.error().code == row.expected);
        CHECK(read.error().message.starts_with("broken.safetensors: "));
        CHECK(read.error().message.find(row.place) != std::string::npos);
    }
}

const std::string good = safetensors_bytes(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                                           R"("b":{"dtype":"BF16","shape":[2,1],"data_offsets":[8,12]}})",
                                           "123456789abc");

} // namespace

TEST_CASE("a malformed safetensors header is a named error") {
    const malformed rows[] = {
        {"no bytes", "", errc::truncated, "has 0 bytes"},
        {"seven bytes", "1234567", errc::truncated, "has 7 bytes"},
        {"a header beyond the file", safetensors_bytes("{}", "", 3), errc::truncated,
         "header of 3 bytes, but only 2 bytes follow"},
        {"a header beyond memory", safetensors_bytes("{}", "", UINT64_MAX), errc::bad_count, "18446744073709551615"},
        {"a header above the limit", safetensors_bytes("{}", "", 100'000'001), errc::bad_count, "up to 100000000"},
        {"no header", safetensors_bytes("", ""), errc::bad_json, "header: line 1, byte 0"},
        {"no JSON", safetensors_bytes("{\"t\":}", ""), errc::bad_json, "header: line 1, byte 5"},
        {"an array", safetensors_bytes("[]", ""), errc::wrong_type, "the header is of JSON type array"},
        {"a name that is not UTF-8", safetensors_bytes("{\"\xff\":1}", ""), errc::bad_utf8, "header: line 1"},
        {"deep nesting", with_entry("[[[[1]]]]"), errc::bad_json, "nested"},
        {"a tensor twice",
         safetensors_bytes(R"({"t":{"dtype":"U8","shape":[],"data_offsets":[0,1]},)"
                           R"("t":{"dtype":"U8","shape":[],"data_offsets":[1,2]}})",
                           "12"),
         errc::bad_json, "'t' twice"},
        {"metadata that is no object", safetensors_bytes(R"({"__metadata__":"pt"})", ""), errc::wrong_type,
         "__metadata__ is of JSON type string"},
        {"metadata with a number", safetensors_bytes(R"({"__metadata__":{"n":1}})", ""), errc::wrong_type,
         "'n' is of JSON type number"},
    };
    check_rows(rows);
}

TEST_CASE("a malformed safetensors tensor is a named error") {
    const std::string long_name(1025, 'n');
    const malformed rows[] = {
        {"no name", safetensors_bytes(R"({"":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", "1"),
         errc::bad_tensor_name, "a name of 0 bytes"},
        {"a name with NUL", safetensors_bytes(R"({"a\u0000b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", "1"),
         errc::bad_tensor_name, "'a\\x00b'"},
        {"a long name",
         safetensors_bytes("{\"" + long_name + R"(":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", "1"),
         errc::bad_tensor_name, "a name of 1025 bytes"},
        {"a number for an entry", with_entry("1"), errc::wrong_type, "tensor 't': its entry must be an object"},
        {"no dtype", with_entry(R"({"shape":[8],"data_offsets":[0,8]})"), errc::wrong_type, "tensor 't'"},
        {"no shape", with_entry(R"({"dtype":"U8","data_offsets":[0,8]})"), errc::wrong_type, "tensor 't'"},
        {"no offsets", with_entry(R"({"dtype":"U8","shape":[8]})"), errc::wrong_type, "tensor 't'"},
        {"something more", with_entry(R"({"dtype":"U8","shape":[8],"data_offsets":[0,8],"x":1})"), errc::wrong_type,
         "tensor 't'"},
        {"a number for dtype", with_entry(R"({"dtype":8,"shape":[8],"data_offsets":[0,8]})"), errc::wrong_type,
         "dtype is of JSON type number"},
        {"an unknown dtype", with_entry(R"({"dtype":"I2","shape":[8],"data_offsets":[0,8]})"), errc::unsupported_type,
         "unknown dtype 'I2'"},
        {"a number for shape", with_entry(R"({"dtype":"U8","shape":8,"data_offsets":[0,8]})"), errc::bad_shape,
         "array of 0 to 8 dimensions"},
        {"nine dimensions", with_entry(R"({"dtype":"U8","shape":[8,1,1,1,1,1,1,1,1],"data_offsets":[0,8]})"),
         errc::bad_shape, "array of 0 to 8 dimensions"},
        {"a negative dimension", with_entry(R"({"dtype":"U8","shape":[2,-4],"data_offsets":[0,8]})"), errc::bad_shape,
         "dimension 1"},
        {"a fraction of a dimension", with_entry(R"({"dtype":"U8","shape":[8.0],"data_offsets":[0,8]})"),
         errc::bad_shape, "dimension 0"},
        {"a dimension of 2^64", with_entry(R"({"dtype":"U8","shape":[18446744073709551616],"data_offsets":[0,8]})"),
         errc::bad_shape, "dimension 0"},
        {"a product of 2^64", with_entry(R"({"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,8]})"),
         errc::bad_shape, "needs more than 2^64 bytes, its data_offsets give 8"},
        {"a product of 2^64 and 8", with_entry(R"({"dtype":"F64","shape":[2305843009213693953],"data_offsets":[0,8]})"),
         errc::bad_shape, "needs more than 2^64"},
        {"a shape of other bytes", with_entry(R"({"dtype":"F16","shape":[5],"data_offsets":[0,8]})"), errc::bad_shape,
         "shape [5] of F16 needs 10 bytes, its data_offsets give 8"},
        {"one offset", with_entry(R"({"dtype":"U8","shape":[8],"data_offsets":[0]})"), errc::bad_offset,
         "two integers"},
        {"three offsets", with_entry(R"({"dtype":"U8","shape":[8],"data_offsets":[0,8,9]})"), errc::bad_offset,
         "two integers"},
        {"offsets backwards", with_entry(R"({"dtype":"U8","shape":[8],"data_offsets":[8,0]})"), errc::bad_offset,
         "begin <= end"},
        {"a negative offset", with_entry(R"({"dtype":"U8","shape":[8],"data_offsets":[-8,0]})"), errc::bad_offset,
         "two integers"},
        {"data beyond the file", with_entry(R"({"dtype":"U8","shape":[9],"data_offsets":[0,9]})"), errc::bad_offset,
         "ends at 9, the file has 8 bytes of data"},
        {"data far beyond the file",
         with_entry(R"({"dtype":"U8","shape":[8],"data_offsets":[18446744073709551600,18446744073709551608]})"),
         errc::bad_offset, "ends at 18446744073709551608"},
    };
    check_rows(rows);
}

TEST_CASE("safetensors data that overlaps, leaves holes or is left over is a named error") {
    const auto two = [](const char* a, const char* b) {
        return safetensors_bytes(std::string(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)") + a +
                                     R"(},"b":{"dtype":"U8","shape":[4],"data_offsets":)" + b + "}}",
                                 "12345678");
    };
    const malformed rows[] = {
        {"the same data twice", two("[0,4]", "[0,4]"), errc::bad_offset, "'b': its data begins at 0, inside"},
        {"an overlap", two("[0,4]", "[3,7]"), errc::bad_offset, "'b': its data begins at 3, inside"},
        {"data left over", two("[4,8]", "[0,4]") + "9", errc::bad_offset, "ends at 8, the file has 9"},
        {"a hole in front", with_entry(R"({"dtype":"U8","shape":[7],"data_offsets":[1,8]})"), errc::bad_offset,
         "begins at 1, with a hole after the data before it, which ends at 0"},
        {"data that nobody owns", safetensors_bytes("{}", "1"), errc::bad_offset, "of its 0 tensors ends at 0"},
        {"an empty tensor in the midst of another",
         safetensors_bytes(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
                           R"("z":{"dtype":"U8","shape":[0],"data_offsets":[2,2]}})",
                           "1234"),
         errc::bad_offset, "'z': its data begins at 2, inside"},
    };
    check_rows(rows);
}

TEST_CASE("a truncated safetensors file is a named error, wherever it ends") {
    REQUIRE(safetensors_file::parse(exact_copy(good), "good").has_value());
    for (std::size_t size = 0; size < good.size(); ++size) {
        const auto bytes = exact_copy(std::string_view(good).substr(0, size));
        CHECK_FALSE(safetensors_file::parse(bytes, "short").has_value());
    }
}

TEST_CASE("no damaged byte makes the safetensors reader leave the file") {
    for (std::size_t at = 0; at < good.size(); ++at) {
        for (const unsigned flip : {0x01u, 0x10u, 0x80u, 0xffu}) {
            std::string damaged = good;
            damaged[at] = static_cast<char>(static_cast<unsigned char>(damaged[at]) ^ flip);
            const auto bytes = exact_copy(damaged);
            const auto read = safetensors_file::parse(bytes, "damaged");
            if (!read) {
                CHECK_FALSE(read.error().message.empty());
                continue;
            }
            std::size_t sum = 0;
            for (const auto& tensor : read->tensors()) {
                sum += tensor.bytes.size();
                CHECK(tensor.offset + tensor.bytes.size() <= bytes.size());
            }
            CHECK(sum == 12);
        }
    }
}
