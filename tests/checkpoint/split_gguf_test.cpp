// SPDX-License-Identifier: MIT
// Split GGUF files open as one, and a shard that is missing or of another model is named.
#include "golden/gguf_editor.hpp"
#include "golden/split_gguf.hpp"
#include "golden/tiny_model_writer.hpp"
#include "io/temporary_folder.hpp"

#include <bitnet/checkpoint/hyper_parameter_reader.hpp>
#include <bitnet/checkpoint/open_model_file.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

using namespace bitnet;
using namespace bitnet::detail;
using bitnet_tests::as_text;
using bitnet_tests::gguf_editor;
using bitnet_tests::temporary_folder;

namespace {

/// A model of two layers in three files, and what it was before.
class split_model {
public:
    split_model() : bytes_(written()) {
        for (std::size_t i = 0; i < count; ++i) {
            write(i, as_text(bitnet_tests::shard_of(whole(), i, count).span()));
        }
    }

    static constexpr std::size_t count = 3;

    [[nodiscard]] gguf_file whole() const { return *gguf_file::parse(bytes_.span(), "whole"); }
    [[nodiscard]] static std::string name(std::size_t number) {
        return "m" + bitnet_tests::shard_ending(number, count);
    }
    [[nodiscard]] std::string path(std::size_t number) const { return folder_.path(name(number)); }
    void write(std::size_t number, std::string_view bytes) const { (void)folder_.write(name(number), bytes); }
    void remove(std::size_t number) const { std::filesystem::remove(path(number)); }
    [[nodiscard]] gguf_editor edit(std::size_t number) const {
        const auto source = byte_source::read(path(number));
        REQUIRE(source);
        return gguf_editor(source->bytes());
    }
    void write(std::size_t number, const gguf_editor& edited) const { write(number, as_text(edited.bytes())); }

    [[nodiscard]] error refused(std::size_t number = 0) const {
        auto opened = model_file::open(path(number));
        REQUIRE_FALSE(opened);
        return opened.error();
    }

private:
    static buffer<std::byte> written() {
        bitnet_tests::model_shape shape;
        shape.layers = 2;
        auto made = bitnet_tests::tiny_model(shape);
        REQUIRE(made);
        return *std::move(made);
    }

    buffer<std::byte> bytes_;
    temporary_folder folder_;
};

bool says(const error& failure, std::string_view part) { return failure.message.find(part) != std::string::npos; }

} // namespace

TEST_CASE("a split model has the metadata of its first shard and the tensors of all") {
    const split_model model;
    const auto opened = model_file::open(model.path(0));
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    CHECK(opened->sources().size() == split_model::count);
    CHECK(opened->is_mapped() == mapped_file::supported);
    CHECK(opened->notes().empty());
    CHECK(opened->name() == model.path(0));
    std::uint64_t bytes = 0;
    for (std::size_t i = 0; i < split_model::count; ++i) {
        bytes += std::filesystem::file_size(model.path(i));
    }
    CHECK(opened->size() == bytes);
    const gguf_file whole = model.whole();
    REQUIRE(opened->gguf().tensors().size() == whole.tensors().size());
    for (const gguf_tensor& expected : whole.tensors()) {
        const gguf_tensor* found = opened->gguf().find_tensor(expected.name);
        REQUIRE(found != nullptr);
        CHECK(found->dims == expected.dims);
        CHECK(found->type == expected.type);
        CHECK(std::equal(found->bytes.begin(), found->bytes.end(), expected.bytes.begin(), expected.bytes.end()));
        CHECK(opened->give_back(found->bytes) == mapped_file::supported);
    }
    CHECK(hyper_parameters::read(opened->gguf()));
}

TEST_CASE("all shards of a split model are copied where copies are asked for") {
    const split_model model;
    const auto copied = model_file::open(model.path(0), {.pages = page_mode::copied});
    REQUIRE_MESSAGE(copied, (copied ? "" : copied.error().message));
    REQUIRE(copied->sources().size() == split_model::count);
    for (const byte_source& source : copied->sources()) {
        CHECK_FALSE(source.is_mapped());
    }
    CHECK(copied->notes().size() == 1);
    for (std::size_t i = 0; i < split_model::count; ++i) {
        model.remove(i);
    }
    const gguf_file whole = model.whole();
    for (const gguf_tensor& expected : whole.tensors()) {
        const gguf_tensor* found = copied->gguf().find_tensor(expected.name);
        REQUIRE(found != nullptr);
        CHECK(std::equal(found->bytes.begin(), found->bytes.end(), expected.bytes.begin(), expected.bytes.end()));
    }
}

TEST_CASE("a split model is opened by its first shard, and each other one says so") {
    const split_model model;
    const error second = model.refused(1);
    CHECK(second.code == errc::invalid_argument);
    CHECK(says(second, "is shard 2 of 3"));
    CHECK(says(second, model.path(0)));
    auto source = byte_source::read(model.path(0));
    REQUIRE(source);
    const auto from_bytes = model_file::open(*std::move(source));
    REQUIRE_FALSE(from_bytes);
    CHECK(from_bytes.error().code == errc::invalid_argument);
    CHECK(says(from_bytes.error(), "is shard 1 of 3"));
    CHECK(says(from_bytes.error(), "path of its first shard"));
}

TEST_CASE("a shard that is missing or of another model is named") {
    const split_model model;
    model.remove(2);
    CHECK(model.refused().code == errc::file_not_found);
    CHECK(says(model.refused(), "shard 3 of 3: " + model.path(2)));

    model.write(2, as_text(bitnet_tests::shard_of(model.whole(), 2, 4).span()));
    CHECK(model.refused().code == errc::inconsistent);
    CHECK(says(model.refused(), model.path(2) + ": says that it is shard 3 of 4, but by its name it is shard 3 of 3"));
    model.write(2, as_text(bitnet_tests::shard_of(model.whole(), 1, 3).span()));
    CHECK(says(model.refused(), model.path(2) + ": says that it is shard 2 of 3, but by its name it is shard 3 of 3"));
    model.write(2, as_text(bitnet_tests::shard_of(model.whole(), 0, 1).span())); // a whole model
    CHECK(says(model.refused(), model.path(2) + ": says that it is shard 1 of 1"));
    model.write(2, "GGUF");
    CHECK(model.refused().code == errc::truncated);
    CHECK(says(model.refused(), model.path(2)));

    model.write(2, as_text(bitnet_tests::shard_of(model.whole(), 2, 3).span()));
    gguf_editor other = model.edit(2);
    other.add_key("general.architecture", gguf_type::string, gguf_editor::string("llama"));
    model.write(2, other);
    CHECK(model.refused().code == errc::inconsistent);
    CHECK(says(model.refused(), model.path(2) + ": metadata key 'general.architecture'"));
    gguf_editor number = model.edit(1);
    number.set_value("split.tensors.count", gguf_type::i32, gguf_editor::number(std::int32_t{7}));
    model.write(1, number);
    CHECK(says(model.refused(), model.path(1) + ": 'split.tensors.count' is 7"));
}

TEST_CASE("the tensors of all shards are counted, and none may come twice") {
    const split_model model;
    gguf_editor fewer = model.edit(2);
    fewer.remove_tensor(fewer.tensors().back().name);
    model.write(2, fewer);
    const std::string all = std::to_string(model.whole().tensors().size());
    const std::string found = std::to_string(model.whole().tensors().size() - 1);
    CHECK(model.refused().code == errc::inconsistent);
    CHECK(says(model.refused(), "'split.tensors.count' is " + all + ", the 3 shards have " + found + " tensors"));

    gguf_editor twice = model.edit(1);
    const std::string name(model.whole().tensors()[0].name);
    twice.rename_tensor(twice.tensors().front().name, name);
    model.write(1, twice);
    model.write(2, as_text(bitnet_tests::shard_of(model.whole(), 2, 3).span()));
    CHECK(model.refused().code == errc::duplicate_tensor);
    CHECK(says(model.refused(), name));
}

TEST_CASE("the names of shards follow from the first one's name alone") {
    const temporary_folder folder;
    const split_model model;
    const auto first = bitnet_tests::shard_of(model.whole(), 0, 3);
    for (const char* name : {"model.gguf", "m-00001-of-00002.gguf", "m-00002-of-00003.gguf", "m-1-of-3.gguf",
                             "m-00001-of-00003.GGUF", "-00001-of-00003.ggu"}) {
        const auto opened = model_file::open(folder.write(name, as_text(first.span())));
        REQUIRE_FALSE(opened);
        CHECK(opened.error().code == errc::bad_file_name);
        CHECK(says(opened.error(), "'split.no' is 0 and 'split.count' 3"));
        CHECK(says(opened.error(), "-00001-of-00003.gguf"));
    }
    const auto whole = bitnet_tests::shard_of(model.whole(), 0, 1); // a split into one file
    CHECK(model_file::open(folder.write("alone.gguf", as_text(whole.span()))));
    const auto path = shard_path::parse("a/b-00007-of-00012.gguf");
    REQUIRE(path);
    CHECK(path->number() == 6);
    CHECK(path->count() == 12);
    CHECK(path->of(11) == "a/b-00012-of-00012.gguf");
    for (const char* name : {"", "-00000-of-00003.gguf", "-00004-of-00003.gguf", "-+0001-of-00003.gguf",
                             "-00001_of_00003.gguf", "x-00001-of-00003.gguf.gguf", " 00001-of-00003.gguf"}) {
        CHECK_FALSE(shard_path::parse(name));
    }
}

TEST_CASE("what only a later shard says is told, and numbers of shards may have any width") {
    const split_model model;
    gguf_editor last = model.edit(2);
    last.add_key("general.author", gguf_type::string, gguf_editor::string("somebody"));
    last.set_value("split.count", gguf_type::i64, gguf_editor::number(std::int64_t{3}));
    last.set_value("split.no", gguf_type::u8, gguf_editor::number(std::uint8_t{2}));
    model.write(2, last);
    const auto opened = model_file::open(model.path(0));
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    REQUIRE(opened->notes().size() == 1);
    CHECK(opened->notes()[0].find("'general.author'") != std::string::npos);
    CHECK(opened->notes()[0].find(model.path(2)) != std::string::npos);

    gguf_editor first = model.edit(0);
    first.set_value("split.no", gguf_type::u16, gguf_editor::number(std::uint16_t{3}));
    model.write(0, first);
    CHECK(model.refused().code == errc::out_of_range);
    first.remove_key("split.no");
    model.write(0, first);
    CHECK(model.refused().code == errc::missing_key);
    first.set_value("split.count", gguf_type::string, gguf_editor::string("3"));
    model.write(0, first);
    CHECK(model.refused().code == errc::wrong_type);
}
