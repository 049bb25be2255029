// SPDX-License-Identifier: MIT
// Memory that ends at any request, one after another: an error comes back, nothing leaves by an exception, nothing
// leaks, and the same call works as soon as there is memory again.
#include "golden/checkpoint_writer.hpp"
#include "golden/tiny_model_writer.hpp"
#include "io/temporary_folder.hpp"
#include "memory/refused_allocations.hpp"
#include "text/chatml_templates.hpp"
#include "text/sentence_piece_vocabulary.hpp"

#include <bitnet/checkpoint/open_model_file.hpp>
#include <bitnet/convert/checkpoint_comparison.hpp>
#include <bitnet/convert/checkpoint_converter.hpp>
#include <bitnet/convert/metadata_edit.hpp>
#include <bitnet/io/available_memory.hpp>
#include <bitnet/io/json.hpp>
#include <bitnet/io/safetensors.hpp>
#include <bitnet/run/any_batch.hpp>
#include <bitnet/run/embedding.hpp>
#include <bitnet/run/open_model.hpp>
#include <bitnet/text/open_chat_template.hpp>
#include <bitnet/text/open_tokenizer.hpp>
#include <bitnet/text/stream_decoder.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace bitnet;
using bitnet_tests::refusal;
using bitnet_tests::temporary_folder;

namespace {

/// What a call gave: an error's code, or all bytes of its value as one number.
struct outcome {
    errc code{};
    std::uint64_t digest = 14695981039346656037u;

    friend bool operator==(const outcome&, const outcome&) = default;

    template <class T> outcome& add(std::span<const T> values) noexcept {
        for (const std::byte byte : std::as_bytes(values)) {
            digest = (digest ^ static_cast<std::uint64_t>(byte)) * 1099511628211u;
        }
        return *this;
    }
    outcome& add(std::string_view text) noexcept { return add(std::span(text.data(), text.size())); }
    outcome& add(std::uint64_t number) noexcept { return add(std::span<const std::uint64_t>(&number, 1)); }
    outcome& add(const std::vector<token>& ids) noexcept { return add(std::span<const token>(ids)); }

    /// \return whether there is a value to go on with
    template <class T> bool take(const result<T>& made) noexcept {
        code = made ? code : made.error().code;
        return made.has_value();
    }
};

/// Calls `call` with every one of its requests refused, until it makes fewer than are granted.
template <class Call> void refuse_each(const Call& call) {
    const outcome expected = call();
    for (const refusal kind : {refusal::one, refusal::all}) {
        bool was_refused = true;
        for (std::size_t granted = 0; was_refused; ++granted) {
            CAPTURE(granted);
            const std::size_t before = bitnet_tests::live_allocations();
            std::optional<outcome> made;
            bitnet_tests::refuse_after(granted, kind);
            try {
                made = call();
            } catch (...) {
            }
            was_refused = bitnet_tests::stop_refusing();
            REQUIRE(bitnet_tests::live_allocations() == before);
            REQUIRE_MESSAGE(made, "an exception left the library");
            const bool is_told = was_refused && made->code == errc::out_of_memory;
            const bool is_expected = made->code == expected.code && (expected.code != errc{} || *made == expected);
            REQUIRE_MESSAGE((is_told || is_expected), static_cast<int>(made->code));
        }
        CHECK(call() == expected);
    }
}

bitnet_tests::model_shape tiny_shape() {
    bitnet_tests::model_shape shape;
    shape.layers = 2;
    shape.hidden = 256;
    shape.ffn = 512;
    shape.heads = 4;
    shape.kv_heads = 2;
    return shape;
}

const buffer<std::byte>& tiny() {
    static const auto bytes = bitnet_tests::tiny_model(tiny_shape());
    REQUIRE(bytes);
    return *bytes;
}

byte_source tiny_source() { return byte_source::borrow(tiny().span(), "tiny"); }

any_model opened(const open_options& options = {}) {
    auto made = any_model::open(tiny_source(), options);
    REQUIRE_MESSAGE(made, (made ? "" : made.error().message));
    return *std::move(made);
}

outcome outcome_of(const result<any_model>& made) {
    outcome all;
    if (all.take(made)) {
        all.add(made->notes().size()).add(made->isa()).add(made->parameters().vocabulary);
    }
    return all;
}

/// The tiny vocabulary as a tokenizer.json with LLaMA-3's steps.
std::string tokenizer_json() {
    const bitnet_tests::token_list list = bitnet_tests::tiny_tokens();
    std::string vocab;
    std::string added;
    std::string merges;
    const auto quoted = [](std::string_view text) {
        std::string made;
        detail::append_json_string(made, text);
        return made;
    };
    for (std::size_t id = 0; id < list.tokens.size(); ++id) {
        const std::string number = std::to_string(id);
        if (id < list.plain) {
            vocab += (vocab.empty() ? "" : ", ") + quoted(list.tokens[id]) + ": " + number;
        } else {
            added += (added.empty() ? "" : ", ") + (R"({"id": )" + number) + R"(, "content": )" +
                     quoted(list.tokens[id]) + R"(, "special": true})";
        }
    }
    for (const std::string& merge : list.merges) {
        merges += (merges.empty() ? "" : ", ") + quoted(merge);
    }
    return R"({"added_tokens": [)" + added + R"x(], "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "behavior": "Isolated", "invert": false, "pattern": {"Regex":
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},
        {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]}, "model": {"type": "BPE",
        "ignore_merges": true, "vocab": {)x" +
           vocab + R"(}, "merges": [)" + merges + "]}}";
}

} // namespace

TEST_CASE("a screen that finds no memory leaves the head as stored, and a note says why") {
    if (BITNET_THREADS == 0 || detail::available_memory().value_or(0) < (std::uint64_t{1} << 30)) {
        return; // no screen would be made
    }
    bitnet_tests::model_shape shape = tiny_shape();
    shape.hidden = 1024;
    bitnet_tests::token_list list = bitnet_tests::tiny_tokens();
    for (int i = 0; list.tokens.size() < 16384; ++i) { // a head of 32 MiB
        list.tokens.push_back("filler " + std::to_string(i));
    }
    const auto bytes = bitnet_tests::random_model(shape, std::move(list)).writer().write_memory();
    REQUIRE(bytes);
    const auto open = [&] {
        return any_model::open(byte_source::borrow(bytes->span(), "large"),
                               {.load_tokenizer = false, .verify_codes = false});
    };
    const auto expected = open();
    REQUIRE(expected);
    REQUIRE(expected->notes().back().starts_with("head: screened"));
    bool was_refused = true;
    std::size_t noted = 0;
    for (std::size_t granted = 0; was_refused; ++granted) {
        bitnet_tests::refuse_after(granted, refusal::one);
        const auto made = open();
        was_refused = bitnet_tests::stop_refusing();
        if (was_refused && made && made->head_screen() == screen_state::none) {
            CHECK(made->notes().back().starts_with("head: as stored, because screened head: "));
            CHECK(made->notes().back().ends_with(" bytes could not be allocated"));
            ++noted;
        }
    }
    CHECK(noted == 1);
}

TEST_CASE("a GGUF file opens or says that memory ended, at any request") {
    refuse_each([] { return outcome_of(any_model::open(tiny_source())); });
    refuse_each([] { return outcome_of(any_model::open(tiny_source(), {.lm_head = lm_head_mode::screened})); });
    refuse_each([] { return outcome_of(any_model::open(tiny_source(), {.load_tokenizer = false, .threads = 2})); });
    const temporary_folder folder;
    const std::string path = folder.write("a model of many letters.gguf", bitnet_tests::as_text(tiny().span()));
    refuse_each([&] { return outcome_of(any_model::open(path)); });
    refuse_each([&] {
        outcome all;
        if (const auto source = byte_source::read(path); all.take(source)) {
            all.add(source->bytes()).add(source->name());
        }
        return all;
    });
}

TEST_CASE("a folder of a checkpoint with its tokenizer opens or says that memory ended, at any request") {
    const auto checkpoint = bitnet_tests::checkpoint_of(tiny().span(), tiny_shape());
    const temporary_folder folder;
    checkpoint.write_sharded(folder.path(), 3);
    const std::string json = folder.write("tokenizer.json", tokenizer_json());
    const std::string config =
        folder.write("tokenizer_config.json", R"({"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"})");
    const std::string path = folder.path();
    REQUIRE(outcome_of(any_model::open(path)).code == errc{});
    refuse_each([&] { return outcome_of(any_model::open(path)); });
}

TEST_CASE("float masters open and are converted, or say that memory ended, at any request") {
    const temporary_folder folder;
    bitnet_tests::checkpoint_of(tiny().span(), tiny_shape(), bitnet_tests::checkpoint_weights::masters)
        .write(folder.path());
    const std::string path = folder.path();
    inline_pool pool;
    refuse_each([&] {
        outcome all;
        const auto file = model_file::open(path, {.load_tokenizer = false});
        if (!all.take(file)) {
            return all;
        }
        const auto converter = checkpoint_converter::open(file->gguf(), {.layout = "tq1_0"}, pool);
        if (!all.take(converter)) {
            return all;
        }
        if (const auto written = (*converter)->write_memory(); all.take(written)) {
            all.add(std::span<const std::byte>(written->span()));
        }
        return all;
    });
    refuse_each([&] { return outcome_of(any_model::open(path, {.load_tokenizer = false})); });
}

TEST_CASE("what does not open has its own error or says that memory ended, at any request") {
    const temporary_folder folder;
    const std::string missing = folder.path("a file that nobody has written.gguf");
    const std::string empty = folder.write("a file that has not got a single byte.gguf", "");
    auto cut = std::string(bitnet_tests::as_text(tiny().span().first(4000)));
    const auto source_of = [](std::string_view text) {
        return byte_source::borrow(std::as_bytes(std::span(text.data(), text.size())), "cut");
    };
    refuse_each([&] { return outcome_of(any_model::open(missing)); });
    refuse_each([&] { return outcome_of(any_model::open(empty)); });
    refuse_each([&] { return outcome_of(any_model::open(source_of(cut))); });
    refuse_each([&] { return outcome_of(any_model::open(source_of("GGUF of a kind that is not known here"))); });
    refuse_each([] { return outcome_of(any_model::open(tiny_source(), {.pre_tokenizer = "nobody's splitter"})); });
    refuse_each([] { return outcome_of(any_model::open(tiny_source(), {}, "an instruction set of nobody's")); });
    refuse_each([&] {
        outcome all;
        const auto document = json_document::parse(R"({"a": [1, 2, {"b": "text with \u00e9"}], "c": tru})", "text");
        all.take(document);
        return all;
    });
}

TEST_CASE("text becomes tokens or memory ends, and the tokens before it stay, at any request") {
    const any_model model = opened();
    const std::string text = "the thing <|eot_id|> there 123 " + std::string(300, 'e') + " in the tin";
    std::vector<token> ids{1, 2, 3};
    refuse_each([&] {
        outcome all;
        if (const auto made = model.text().encode(text, {.parse_special = true}); all.take(made)) {
            all.add(*made);
        }
        return all;
    });
    refuse_each([&] {
        outcome all;
        ids.resize(3);
        ids.shrink_to_fit();
        const bool done = all.take(model.text().encode(text, ids));
        REQUIRE((done || (ids.size() == 3 && ids[2] == 3)));
        return all.add(done ? ids.size() : 3);
    });
    refuse_each([&] {
        outcome all;
        if (const auto made = tokens_to_embed(model, text); all.take(made)) {
            all.add(*made);
        }
        return all;
    });
    const auto file = sentence_piece_vocabulary().file();
    REQUIRE(file);
    refuse_each([&] {
        outcome all;
        const auto pieces = tokenizer::open(file->file);
        if (!all.take(pieces)) {
            return all;
        }
        if (const auto made = pieces->encode("hello \xc3\xa9 " + std::string(), {}); all.take(made)) {
            all.add(*made);
        }
        return all;
    });
    const std::string_view endless(text.data(), SIZE_MAX / 2);
    CHECK(model.text().encode(endless).error().code == errc::invalid_argument);
}

TEST_CASE("sessions and batches open, and run and refuse tokens, or say that memory ended, at any request") {
    const any_model model = opened({.lm_head = lm_head_mode::screened});
    const std::vector<token> prompt(9, 5);
    const std::vector<token> too_many(100, 5);
    const std::vector<token> foreign{1, 100000};
    refuse_each([&] {
        outcome all;
        auto session = any_session::open(model, {.threads = 2});
        auto choose = sampler::open({.seed = 3}, model.parameters().vocabulary);
        if (!all.take(session) || !all.take(choose) || !all.take(session->feed(prompt))) {
            return all;
        }
        for (int i = 0; i < 5; ++i) {
            all.add(static_cast<std::uint64_t>(session->next(*choose).value_or(-1)));
        }
        if (const auto logits = session->logits(); all.take(logits)) {
            all.add(*logits);
        }
        return all;
    });
    refuse_each([&] {
        outcome all;
        all.take(any_session::open(model, {.context = 100000}));
        return all;
    });
    refuse_each([&] {
        outcome all;
        all.take(any_session::open(model, {.threads = 100000}));
        return all;
    });
    refuse_each([&] {
        outcome all;
        auto batch = any_batch::open(model, {.sessions = 3, .threads = 2});
        return all.add(all.take(batch) ? batch->sessions() : 0);
    });
    auto session = any_session::open(model, {});
    auto other = any_session::open(model, {});
    auto batch = any_batch::open(model, {.sessions = 1});
    auto choose = sampler::open(sampler_options::greedy(), model.parameters().vocabulary);
    REQUIRE((session && other && batch && choose));
    refuse_each([&] {
        outcome all;
        REQUIRE_FALSE(session->next(*choose));
        REQUIRE(session->stopped_by() == stop_reason::error);
        all.code = session->last_error().code;
        return all;
    });
    for (const auto& ids : {too_many, foreign}) {
        refuse_each([&] {
            outcome all;
            all.take(session->feed(ids));
            return all;
        });
    }
    refuse_each([&] {
        outcome all;
        all.take(session->logits());
        return all;
    });
    refuse_each([&] {
        outcome all;
        all.take(sampler::open({.top_p = 2.0f}, 10));
        return all;
    });
    REQUIRE((session->feed(prompt) && other->feed(prompt)));
    REQUIRE((session->next(*choose) && other->next(*choose)));
    any_session* const both[] = {&*session, &*other};
    refuse_each([&] {
        outcome all;
        all.take(batch->run_pending(both));
        return all;
    });
    CHECK(session->next(*choose).has_value());
}

TEST_CASE("a dialog is written or memory ends, and then it is as before or says so, at any request") {
    const any_model model = opened();
    const std::string long_text = "a question of many words, longer than a string holds in itself";
    const chat_message question{"user", long_text};
    refuse_each([&] {
        outcome all;
        const auto chat = model.chat("llama3");
        if (!all.take(chat)) {
            return all;
        }
        chat_dialog dialog = chat->dialog();
        if (!all.take(dialog.add({"system", "Be brief."})) || !all.take(dialog.add(question))) {
            return all;
        }
        dialog.add_prompt();
        dialog.end_answer(false);
        dialog.add_prompt();
        if (const auto ids = dialog.take(); all.take(ids)) {
            all.add(*ids);
        }
        return all;
    });
    const auto chat = model.chat("llama3");
    REQUIRE(chat);
    refuse_each([&] {
        outcome all;
        if (const auto ids = chat->encode({&question, 1}); all.take(ids)) {
            all.add(*ids);
        }
        return all;
    });
    refuse_each([&] {
        outcome all;
        if (const auto text = chat->render({&question, 1}); all.take(text)) {
            all.add(std::string_view(*text));
        }
        return all;
    });
    refuse_each([&] {
        outcome all;
        all.take(model.chat("a format that nobody has"));
        return all;
    });

    chat_dialog dialog = chat->dialog();
    bitnet_tests::refuse_after(0, refusal::all);
    const auto refused = dialog.add(question);
    bitnet_tests::stop_refusing();
    REQUIRE_FALSE(refused);
    CHECK(dialog.text() == chat->dialog().text());
    REQUIRE(dialog.add(question));
    dialog.add_prompt();
    CHECK(dialog.text() == *chat->render({&question, 1}));

    chat_dialog incomplete = chat->dialog();
    bitnet_tests::refuse_after(0, refusal::all);
    incomplete.end_answer(false);
    bitnet_tests::stop_refusing();
    CHECK(incomplete.add(question).error().code == errc::out_of_memory);
    CHECK(incomplete.take().error().code == errc::out_of_memory);
    incomplete = dialog;
    CHECK(*incomplete.take() == *dialog.take());
}

TEST_CASE("a dialog by a file's own template is written, taken and rewritten, or memory ends, at any request") {
    const auto file = bitnet_tests::chatml_vocabulary(bitnet_tests::thinking_turns + bitnet_tests::told_prompt).file();
    REQUIRE(file);
    const auto text = tokenizer::open(file->file);
    REQUIRE(text);
    const std::string thought = "<think>\nwhat a string does not hold in itself\n</think>\n\nan answer";
    refuse_each([&] {
        outcome all;
        const auto chat = chat_template::open(file->file, *text);
        if (!all.take(chat)) {
            return all;
        }
        const chat_tool_call call{"a tool with a long name", "{\"and\": \"an argument\"}"};
        auto dialog = chat->open_dialog({.tools = "[{\"name\": \"a tool with a long name\"}]"});
        if (!all.take(dialog) || !all.take(dialog->add({"user", "a question that is long enough"})) ||
            !all.take(dialog->add({"assistant", thought, {&call, 1}}))) {
            return all;
        }
        for (const char* result : {"the first result of a call", "the second result of a call"}) {
            if (!all.take(dialog->add({"tool", result}))) {
                return all;
            }
            const auto ids = dialog->take();
            if (!all.take(ids)) {
                return all;
            }
            all.add(*ids);
        }
        dialog->add_prompt();
        if (const auto ids = dialog->take(); all.take(ids)) {
            dialog->end_answer(*ids, true);
        }
        if (!all.take(dialog->add({"user", "the next question, which drops the thought"}))) {
            return all;
        }
        all.add(std::uint64_t{dialog->kept()});
        if (const auto ids = dialog->take(); all.take(ids)) {
            all.add(*ids);
        }
        return all;
    });
}

TEST_CASE("a conversion is written or memory ends, and no half a file is left, at any request") {
    const auto file = gguf_file::parse(tiny().span(), "tiny");
    REQUIRE(file);
    inline_pool pool;
    const temporary_folder folder;
    const std::string path = folder.path("the file that is to be written.gguf");
    const auto converted = [&](const conversion_options& options) {
        outcome all;
        const auto edit = metadata_edit::parse("a.key=str:and its value");
        if (!all.take(edit)) {
            return all;
        }
        conversion_options with_edit = options;
        with_edit.edits = {&*edit, 1};
        const auto converter = checkpoint_converter::open(*file, with_edit, pool);
        if (!all.take(converter)) {
            return all;
        }
        if (const auto written = (*converter)->write_memory(); all.take(written)) {
            all.add(std::span<const std::byte>(written->span()));
        }
        return all;
    };
    refuse_each([&] { return converted({.layout = "i2_s", .head = "screened"}); });
    refuse_each([&] { return converted({.layout = "tq2_0", .head = "q8_0"}); });
    refuse_each([&] { return converted({.layout = "base3"}); });
    refuse_each([&] { return converted({.layout = "a layout that nobody has"}); });
    refuse_each([&] {
        outcome all;
        all.take(metadata_edit::parse("a.key=a type that is not known:and its value"));
        return all;
    });

    const auto converter = checkpoint_converter::open(*file, {}, pool);
    REQUIRE(converter);
    refuse_each([&] {
        outcome all;
        const auto written = (*converter)->write_file(path);
        return all.add(all.take(written) ? *written : 0);
    });
    CHECK(folder.files() == 1);
    const auto again = byte_source::open(path);
    REQUIRE(again);
    const auto parsed = gguf_file::parse(again->bytes(), again->name());
    REQUIRE(parsed);
    refuse_each([&] {
        outcome all;
        const auto report = compare_checkpoints(*file, {}, *parsed, pool);
        return all.add(all.take(report) ? report->ternary_values : 0);
    });
}

TEST_CASE("a GGUF writer keeps the error that memory ended, at any request") {
    const std::uint64_t dims[] = {4};
    const float numbers[] = {1, 2, 3, 4};
    refuse_each([&] {
        outcome all;
        gguf_writer writer({.alignment = 64});
        writer.add("a key of many letters", "a text of many letters, more than a string has");
        writer.add_array("another key of many letters", std::span<const float>(numbers));
        writer.add_tensor("a tensor", tensor_type::f32, dims, std::as_bytes(std::span(numbers)));
        if (const auto written = writer.write_memory(); all.take(written)) {
            all.add(std::span<const std::byte>(written->span()));
        }
        return all;
    });
    const std::string name(80, 'n');
    refuse_each([&] {
        outcome all;
        gguf_writer writer;
        writer.add_tensor(name, tensor_type::f32, dims, std::span<const std::byte>());
        all.take(writer.write_memory());
        return all;
    });
}

TEST_CASE("a stream decoder needs no memory") {
    const any_model model = opened();
    const auto ids = model.text().encode("the \xe2\x82\xac in \xf0\x9f\x98\x80 x");
    REQUIRE(ids);
    std::string streamed;
    streamed.reserve(100);
    bitnet_tests::refuse_after(0, refusal::all);
    stream_decoder out(model.text());
    for (const token id : *ids) {
        streamed += out.feed(id);
    }
    streamed += out.flush();
    CHECK_FALSE(bitnet_tests::stop_refusing());
    CHECK(streamed == model.text().decode(*ids));
}
