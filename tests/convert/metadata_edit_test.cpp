// SPDX-License-Identifier: MIT
#include <bitnet/convert/metadata_edit.hpp>

#include <bitnet/io/gguf_reader.hpp>

#include <doctest/doctest.h>

#include <string>
#include <string_view>

using namespace bitnet;
using namespace bitnet::detail;

namespace {

/// A file with one entry, as `text` sets it.
struct edited_file {
    buffer<std::byte> bytes;
    gguf_file file;

    static edited_file with(std::string_view text) {
        const auto edit = metadata_edit::parse(text);
        REQUIRE_MESSAGE(edit, (edit ? "" : edit.error().message));
        gguf_writer writer;
        edit->add_to(writer);
        auto bytes = writer.write_memory();
        REQUIRE(bytes);
        auto file = gguf_file::parse(bytes->span(), "edited");
        REQUIRE(file);
        return {*std::move(bytes), *std::move(file)};
    }
};

template <class T> void check_value(std::string_view text, std::string_view key, T expected) {
    const auto made = edited_file::with(text);
    const gguf_value* value = made.file.find(key);
    REQUIRE(value != nullptr);
    CHECK(value->type == gguf_type_of<T>());
    CHECK(value->element<T>(0) == expected);
}

} // namespace

TEST_CASE("every type is set with its own type id") {
    check_value<std::uint8_t>("a.b=u8:255", "a.b", 255);
    check_value<std::int8_t>("a.b=i8:-128", "a.b", -128);
    check_value<std::uint16_t>("a=u16:65535", "a", 65535);
    check_value<std::int16_t>("a=i16:-1", "a", -1);
    check_value<std::uint32_t>("a=u32:4294967295", "a", 4294967295u);
    check_value<std::int32_t>("a=i32:-7", "a", -7);
    check_value<std::uint64_t>("a=u64:18446744073709551615", "a", UINT64_MAX);
    check_value<std::int64_t>("a=i64:-9223372036854775808", "a", INT64_MIN);
    check_value<float>("a=f32:1e-5", "a", 1e-5f);
    check_value<double>("a=f64:-0.1", "a", -0.1);
    check_value<bool>("a=bool:true", "a", true);
    check_value<bool>("a=bool:false", "a", false);
}

TEST_CASE("a string is everything after the first colon of its value") {
    for (const std::string_view text : {"llama-bpe", "", "with = and : in it"}) {
        const auto made = edited_file::with("tokenizer.ggml.pre=str:" + std::string(text));
        CHECK(made.file.find("tokenizer.ggml.pre")->string() == text);
    }
}

TEST_CASE("text that is no entry is refused by name") {
    for (const std::string_view text : {"", "key", "=u8:1", "key=u8", "key:u8=1", "key=:1"}) {
        const auto refused = metadata_edit::parse(text);
        REQUIRE_FALSE(refused);
        CHECK(refused.error().code == errc::invalid_argument);
    }
    for (const std::string_view value : {"u8:256", "u8:-1", "i8:128", "u32:", "u32: 1", "u32:1x", "f32:nan",
                                         "f32:", "bool:1", "array:1", "U8:1", "i64:9223372036854775808"}) {
        const auto refused = metadata_edit::parse("key=" + std::string(value));
        REQUIRE_FALSE(refused);
        CHECK(refused.error().code == errc::invalid_argument);
        CHECK(refused.error().message.find("'" + std::string(value.substr(value.find(':') + 1)) + "' is no value") !=
              std::string::npos);
    }
}
