// SPDX-License-Identifier: MIT
// Calls of tools by the hundred, sampled hot and cut short: each is whole and what its schema says. By hand, written
// down for another validator, which tests/constrain/ajv/run does:
//     build/release/tests/test_run -tc="tool calls*" --tool-calls=10000 --tool-calls-file=calls.jsonl
#include "golden/golden_data.hpp"
#include "soak.hpp"

#include <bitnet/constrain/constrained_tools.hpp>
#include <bitnet/constrain/token_trie.hpp>
#include <bitnet/constrain/tool_set.hpp>
#include <bitnet/io/json.hpp>
#include <bitnet/run/any_session.hpp>
#include <bitnet/run/open_model.hpp>
#include <bitnet/run/sampler.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace bitnet;

namespace {

template <class T> T must(result<T> made) {
    REQUIRE_MESSAGE(made, (made ? std::string() : made.error().message));
    return *std::move(made);
}

struct declared {
    std::string_view name;
    std::string_view schema;
};

/// Something of each kind that schemas of tools have.
constexpr declared all_declared[] = {
    {"wait", R"({"type":"object","properties":{}})"},
    {"dice", R"({"type":"object","properties":{"n":{"type":"integer","minimum":1,"maximum":20}},"required":["n"]})"},
    {"give", R"({"type":"object","properties":{"to":{"type":"string","maxLength":12},"what":{"enum":["sword","bread",)"
             R"("a \"fine\" hat",7,null]},"count":{"type":"integer","exclusiveMinimum":-3,"exclusiveMaximum":1000}},)"
             R"("required":["to","what"]})"},
    {"go", R"({"type":"object","properties":{"x":{"type":"number","minimum":-1.5,"maximum":22.25},)"
           R"("y":{"type":"number","multipleOf":0.25},"fast":{"type":"boolean"}},"required":["x"]})"},
    {"say", R"({"type":"object","properties":{"text":{"type":"string","minLength":1},)"
            R"("to":{"type":["string","null"],"pattern":"^[A-Z][a-zé]{1,8}( [A-Z]\\.)?$"}},"required":["text"]})"},
    {"list",
     R"({"type":"object","properties":{"ids":{"type":"array","items":{"type":"integer","multipleOf":3,"minimum":-99999,"maximum":99999},)"
     R"("minItems":1,"maxItems":4},"pair":{"prefixItems":[{"type":"string"},{"type":"boolean"}],)"
     R"("type":"array","items":false}},"required":["ids"]})"},
    {"tree", R"({"$id":"tree:1","type":"object","properties":{"at":{"$ref":"#/$defs/node"}},"required":["at"],)"
             R"("$defs":{"node":{"type":"object","properties":{"v":{"type":"integer"},"next":{"$ref":"#/$defs/node"}},)"
             R"("required":["v"],"additionalProperties":false}}})"},
    {"at", R"({"type":"object","properties":{"day":{"type":"string","format":"date"},)"
           R"("time":{"type":"string","format":"time"},"who":{"type":"string","format":"uuid"}}})"},
    {"pick", R"({"type":"object","properties":{"of":{"anyOf":[{"type":"string","maxLength":5},{"type":"integer"},)"
             R"({"type":"array","items":{"type":"null"},"maxItems":2}]}},"required":["of"]})"},
    {"cast", R"({"type":"object","properties":{"spell":{"oneOf":[{"type":"object","properties":{"kind":)"
             R"({"const":"fire"},"heat":{"type":"integer","minimum":0}},"required":["kind","heat"]},{"type":"object",)"
             R"("properties":{"kind":{"const":"ice"}},"required":["kind"]}]}},"required":["spell"]})"},
    {"note", R"({"type":"object","properties":{"k":{"type":"string"}},"patternProperties":{"^x_[a-c]+$":)"
             R"({"type":"integer"}},"additionalProperties":false,"maxProperties":3})"},
    {"free", R"({"type":"object","properties":{"data":{}},"additionalProperties":{"type":"boolean"}})"},
};

/// The schema of a call of the function of that number.
std::string schema_of_call(std::size_t number) {
    return std::string(R"({"type":"object","properties":{"name":{"const":")")
        .append(all_declared[number].name)
        .append(R"("},"arguments":)")
        .append(all_declared[number].schema)
        .append(R"(},"required":["name","arguments"],"additionalProperties":false})");
}

/// What writes calls with the tiny model, at a temperature.
class caller {
public:
    caller(const any_model& model, const tool_source& tools, float temperature)
        : text_(&model.text()), stops_(must(model.chat()).stop_tokens()),
          session_(must(any_session::open(model, {.context = 250, .threads = 1, .stop_at_stop_tokens = false}))),
          choose_(must(sampler::open({.temperature = temperature, .top_k = 0, .top_p = 1.0f, .seed = 5},
                                     model.parameters().vocabulary))),
          guide_(must(tools.guide({.text = text_, .stops = stops_, .prompt = {}}))) {
        prompt_ = must(model.text().encode("Once upon a time Ann asked for"));
        REQUIRE(session_.feed(prompt_));
    }
    void call_only(std::string_view name) { REQUIRE(guide_->set_choice({tool_mode::named, name})); }
    /// The fewest tokens that an answer may have.
    [[nodiscard]] std::size_t least() const { return guide_->least(); }

    /// \return an answer of at most so many tokens, up to where it has to end; nothing where it did not
    std::string answer(std::size_t most) {
        REQUIRE(session_.rewind(prompt_.size()));
        guide_->begin({}, most, true);
        std::string made;
        for (std::size_t i = 0; i < most; ++i) {
            any_chooser choose = guide_->chooser(choose_);
            const auto id = session_.next(choose);
            if (!id) {
                FAIL(session_.last_error().message);
                return {};
            }
            made += text_->bytes_of(*id);
            if (guide_->take(*id).is_last) {
                return made;
            }
        }
        return {};
    }

private:
    const tokenizer* text_;
    std::vector<token> stops_;
    std::vector<token> prompt_;
    any_session session_;
    sampler choose_;
    std::unique_ptr<detail::call_guide> guide_;
};

/// What stands between the marks; nothing without them.
std::string_view inside(std::string_view answer) {
    constexpr std::string_view begin = "<tool_call>\n";
    constexpr std::string_view end = "\n</tool_call>";
    const bool is_call =
        answer.size() >= begin.size() + end.size() && answer.starts_with(begin) && answer.ends_with(end);
    return is_call ? answer.substr(begin.size(), answer.size() - begin.size() - end.size()) : std::string_view{};
}

} // namespace

TEST_CASE("tool calls are whole and of their function, however hot the sampler and short the limit") {
    const any_model model = must(any_model::open(tiny_model_path()));
    const token_trie trie = must(token_trie::open(model.text()));
    tool_set tools;
    for (const declared& each : all_declared) {
        const auto added = tools.declare(each.name, each.schema);
        REQUIRE_MESSAGE(added, (added ? std::string() : added.error().message));
    }
    const auto source = must(constrained_tools::open(tools, trie));
    caller callers[] = {{model, source, 1.5f}, {model, source, 2.0f}};
    std::ofstream file(bitnet_tests::tool_calls_file, std::ios::binary);
    const auto count = static_cast<std::size_t>(bitnet_tests::tool_calls);
    unsigned state = 1;
    for (std::size_t number = 0; number < std::size(all_declared); ++number) {
        const std::string schema = schema_of_call(number);
        for (caller& each : callers) {
            each.call_only(all_declared[number].name);
        }
        for (std::size_t i = number; i < count; i += std::size(all_declared)) {
            state = state * 1664525u + 1013904223u;
            caller& calls = callers[i / std::size(all_declared) % 2];
            const std::size_t above = (std::max)(calls.least() + 16, std::size_t{64}) - calls.least() + 1;
            const std::string answer = calls.answer(calls.least() + (state >> 8) % above);
            CAPTURE(answer);
            const std::string_view call = inside(answer);
            const json_document json = must(json_document::parse(call, "call", detail::written_json));
            REQUIRE(json.root().find("name"));
            CHECK(json.root().find("name")->as_string() == all_declared[number].name);
            CHECK(json.root().size() == 2);
            file << "{\"schema\":" << schema << ",\"instance\":" << call << "}\n";
        }
    }
    CHECK((std::string_view(bitnet_tests::tool_calls_file).empty() || file.good()));
}
