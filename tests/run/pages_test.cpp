// SPDX-License-Identifier: MIT
// Models whose files are mapped and models whose files are copied are the same.
#include "bench/synthetic_model.hpp"
#include "golden/golden_data.hpp"
#include "io/temporary_folder.hpp"

#include <bitnet/checkpoint/open_model_file.hpp>
#include <bitnet/io/available_memory.hpp>
#include <bitnet/io/page_choice.hpp>
#include <bitnet/run/open_model.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

using namespace bitnet;
using bitnet_tests::temporary_folder;

namespace {

any_model open_with(const std::string& path, page_mode pages) {
    auto opened = any_model::open(path, {.load_tokenizer = false, .pages = pages});
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    return *std::move(opened);
}

std::vector<float> logits_of(const any_model& model) {
    auto s = any_session::open(model, {.context = 16, .threads = 2});
    REQUIRE(s);
    const token ids[] = {1, 7, 2, 100};
    REQUIRE(s->feed(ids));
    const auto logits = s->logits();
    REQUIRE(logits);
    return {logits->begin(), logits->end()};
}

std::string page_note(const any_model& model) {
    for (const std::string& note : model.notes()) {
        if (note.starts_with("pages: ")) {
            return note;
        }
    }
    return {};
}

/// A model whose file has 68 MB.
std::string write_large(const temporary_folder& folder) {
    bitnet_tests::synthetic_shape shape{{}, 32768};
    shape.model.hidden = 1024;
    const std::string path = folder.path("large.gguf");
    REQUIRE(bitnet_tests::synthetic_model(shape, 1).writer().write_file(path));
    return path;
}

} // namespace

TEST_CASE("a model gives the same logits from mapped and from copied pages, and a note tells of a copy") {
    const std::string path = tiny_model_path();
    const any_model mapped = open_with(path, page_mode::mapped);
    const any_model copied = open_with(path, page_mode::copied);
    const any_model chosen = open_with(path, page_mode::automatic);
    const std::vector<float> expected = logits_of(mapped);
    CHECK(logits_of(copied) == expected);
    CHECK(logits_of(chosen) == expected);
    CHECK(page_note(mapped).empty());
    CHECK(page_note(copied) == "pages: the " + std::to_string(std::filesystem::file_size(path)) +
                                   " bytes of the model were copied into memory");
    CHECK(page_note(chosen).empty()); // too small to choose
}

TEST_CASE("automatic pages are what the rule says for this machine, with the same logits") {
    const temporary_folder folder;
    const std::string path = write_large(folder);
    const any_model mapped = open_with(path, page_mode::mapped);
    const any_model chosen = open_with(path, page_mode::automatic);
    CHECK(logits_of(chosen) == logits_of(mapped));
    const auto file = model_file::open(path, {.pages = page_mode::automatic});
    REQUIRE(file);
    REQUIRE(file->notes().size() == 1);
    const std::string& note = file->notes()[0];
    CAPTURE(note);
    if (!file->is_mapped()) {
        CHECK(note.starts_with("pages: copied, because "));
    } else if (detail::has_huge_pages() && detail::available_memory().value_or(0) > (std::uint64_t{1} << 30)) {
        CHECK(note.starts_with("pages: mapped, because the copy of the model, at ")); // on a busy machine
    } else {
        CHECK(note.starts_with("pages: mapped, because "));
    }
}

TEST_CASE("a copied model does not need its file any more") {
    const temporary_folder folder;
    std::ifstream file(tiny_model_path(), std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    const std::string path = folder.write("m.gguf", bytes);
    const any_model copied = open_with(path, page_mode::copied);
    const std::vector<float> expected = logits_of(copied);
    std::filesystem::resize_file(path, 0);
    CHECK(logits_of(copied) == expected);
}

TEST_CASE("codes of files are looked at when asked for, mapped or copied, and of bytes by default") {
    const auto open = [](page_mode pages) { return model_file::open(tiny_model_path(), {.pages = pages}); };
    const auto mapped = open(page_mode::mapped);
    const auto copied = open(page_mode::copied);
    REQUIRE(mapped);
    REQUIRE(copied);
    CHECK(mapped->is_by_path());
    CHECK(copied->is_by_path());
    CHECK(mapped->is_mapped() == detail::mapped_file::supported);
    CHECK_FALSE(copied->is_mapped());
    auto read = byte_source::read(tiny_model_path());
    REQUIRE(read);
    const auto given = model_file::open(*std::move(read));
    REQUIRE(given);
    CHECK_FALSE(given->is_by_path());
}
