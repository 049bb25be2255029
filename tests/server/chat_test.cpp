// SPDX-License-Identifier: MIT
#include "asked.hpp"
#include "text/tool_templates.hpp"

#include <bitnet/any.hpp>
#include <bitnet/io/byte_source.hpp>

#include <doctest/doctest.h>

#include <fstream>
#include <iterator>
#include <memory>
#include <span>
#include <string>
#include <vector>

using asked::chatted;
using asked::read_json;

TEST_CASE("an answer has text, a reason and usage, and a stream has the same text") {
    const auto engine = asked::opened();
    const std::string how = R"("max_tokens":12,"seed":3)";
    const auto whole = chatted(*engine, how);
    REQUIRE(whole->whole().status == 200);
    const read_json json(whole->whole().body);
    CHECK(json.text("object") == "chat.completion");
    CHECK(json.text("choices.0.message.role") == "assistant");
    CHECK(json.text("choices.0.finish_reason") == "length");
    CHECK(json.number("usage.completion_tokens") == 12);
    CHECK(json.number("usage.total_tokens") == json.number("usage.prompt_tokens") + 12);
    const std::string text = json.text("choices.0.message.content");
    CHECK(!text.empty());

    const auto stream = chatted(*engine, how + R"(,"stream":true)");
    CHECK(stream->is_stream());
    CHECK(asked::text_of(*stream) == text);
    CHECK(stream->stream().find("usage") == std::string::npos);
    const auto counted = chatted(*engine, how + R"(,"stream":true,"stream_options":{"include_usage":true})");
    CHECK(counted->stream().find(R"("choices":[],"usage")") != std::string::npos);
    CHECK(stream->ends() == 1);
}

TEST_CASE("what was answered before changes no answer, and is not computed again") {
    const std::string dialog = R"({"seed":5,"max_tokens":8,"messages":[{"role":"user","content":"Who are you?"},)"
                               R"({"role":"assistant","content":"I am the king."},{"role":"user","content":"Why?"}]})";
    const auto fresh = asked::opened();
    const auto used = asked::opened({.parallel = 1, .queue = 8});
    static_cast<void>(
        asked::answered(*used, "POST", "/v1/chat/completions",
                        R"({"seed":5,"max_tokens":8,"messages":[{"role":"user","content":"Who are you?"}]})"));
    const auto once = asked::answered(*fresh, "POST", "/chat/completions/", dialog);
    const auto again = asked::answered(*used, "POST", "/v1/chat/completions?x=1", dialog);
    REQUIRE(once->whole().status == 200);
    REQUIRE(again->whole().status == 200);
    const read_json one(once->whole().body);
    const read_json other(again->whole().body);
    CHECK(one.text("choices.0.message.content") == other.text("choices.0.message.content"));
    CHECK(one.number("usage.prompt_tokens_details.cached_tokens") == 0);
    CHECK(other.number("usage.prompt_tokens_details.cached_tokens") > 0);
}

TEST_CASE("requests at the same time get what they get alone") {
    const auto engine = asked::opened({.parallel = 3, .queue = 16});
    std::vector<std::string> alone;
    std::vector<std::shared_ptr<asked::kept_reply>> together;
    const auto body = [](int seed) {
        return R"({"messages":[{"role":"user","content":"A story"}],"max_tokens":10,"seed":)" + std::to_string(seed) +
               "}";
    };
    for (int seed = 0; seed < 6; ++seed) {
        const auto reply = asked::answered(*engine, "POST", "/v1/chat/completions", body(seed));
        alone.push_back(read_json(reply->whole().body).text("choices.0.message.content"));
    }
    for (int seed = 0; seed < 6; ++seed) {
        together.push_back(asked::sent(*engine, "POST", "/v1/chat/completions", body(seed)));
    }
    for (std::size_t i = 0; i < together.size(); ++i) {
        REQUIRE(together[i]->wait());
        CHECK(read_json(together[i]->whole().body).text("choices.0.message.content") == alone[i]);
    }
}

TEST_CASE("a stop text ends an answer and is not in it, and several choices have seeds of their own") {
    const auto engine = asked::opened();
    const auto free = read_json(chatted(*engine, R"("max_tokens":20,"temperature":0)")->whole().body);
    const std::string text = free.text("choices.0.message.content");
    REQUIRE(text.find('e') != std::string::npos);
    const auto stopped =
        read_json(chatted(*engine, R"("max_tokens":20,"temperature":0,"stop":["e","zzz"])")->whole().body);
    CHECK(stopped.text("choices.0.message.content") == text.substr(0, text.find('e')));
    CHECK(stopped.text("choices.0.finish_reason") == "stop");

    const auto both = read_json(chatted(*engine, R"("max_tokens":9,"seed":4,"n":2)")->whole().body);
    const auto second = read_json(chatted(*engine, R"("max_tokens":9,"seed":5)")->whole().body);
    CHECK(both.number("choices.1.index") == 1);
    CHECK(both.text("choices.1.message.content") == second.text("choices.0.message.content"));
    CHECK(both.number("usage.completion_tokens") == 18);
}

TEST_CASE("an answer follows a JSON Schema, or is a call that parses") {
    const auto engine = asked::opened();
    const std::string schema =
        R"({"type":"object","properties":{"a":{"type":"integer","minimum":0,"maximum":99}},"required":["a"],"additionalProperties":false})";
    const std::string format = R"("response_format":{"type":"json_schema","json_schema":{"name":"x","schema":)";
    const auto reply = chatted(*engine, R"("max_tokens":40,"seed":1,)" + format + schema + "}}");
    const read_json json(reply->whole().body);
    CHECK(json.text("choices.0.finish_reason") == "stop");
    CHECK(read_json(json.text("choices.0.message.content")).number("a") < 100);

    const std::string tools = R"("tools":[{"type":"function","function":{"name":"rule","parameters":)" + schema +
                              R"(}}],"max_tokens":60,"seed":1,"tool_choice":)";
    for (const std::string choice : {R"("required")", R"({"type":"function","function":{"name":"rule"}})"}) {
        const auto called = chatted(*engine, tools + choice);
        CAPTURE(called->whole().body);
        const read_json call(called->whole().body);
        CHECK(call.text("choices.0.finish_reason") == "tool_calls");
        CHECK(call.at("choices.0.message.content")->is_null());
        CHECK(call.text("choices.0.message.tool_calls.0.function.name") == "rule");
        CHECK(read_json(call.text("choices.0.message.tool_calls.0.function.arguments")).number("a") < 100);
    }
    const auto none = chatted(*engine, tools + R"("none")");
    CHECK(!read_json(none->whole().body).at("choices.0.message.tool_calls"));
}

TEST_CASE("calls and results are told in the form of the model's template") {
    std::ifstream file(BITNET_TEST_MODEL, std::ios::binary);
    const std::string plain{std::istreambuf_iterator<char>(file), {}};
    const std::string bytes = bitnet_tests::with_template(plain, bitnet_tests::llama3_tools);
    const auto engine = asked::opened_with(
        bitnet::any_model::open(bitnet::byte_source::borrow(std::as_bytes(std::span(bytes)), "model")),
        {.parallel = 1, .queue = 8});
    const std::string tools = R"("tools":[{"type":"function","function":{"name":"go"}}],"max_tokens":40,"seed":1})";
    const std::string question = R"({"messages":[{"role":"user","content":"Go"})";
    const std::string call = R"(,{"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function",)"
                             R"("function":{"name":"go","arguments":"{}"}})";
    const auto post = [&](const std::string& body) {
        return asked::answered(*engine, "POST", "/v1/chat/completions", body)->whole().body;
    };
    const std::string required = post(question + R"(],"tool_choice":"required",)" + tools);
    CAPTURE(required);
    const read_json called(required);
    CHECK(called.text("choices.0.finish_reason") == "tool_calls");
    CHECK(called.text("choices.0.message.tool_calls.0.function.name") == "go");
    CHECK(called.text("choices.0.message.tool_calls.0.function.arguments") == "{}");
    // The result follows in the same form; what the template cannot write is refused.
    const std::string told = post(question + call + R"(]},{"role":"tool","tool_call_id":"a","content":"4"}],)" + tools);
    CAPTURE(told);
    CHECK(read_json(told).number("usage.completion_tokens") > 0);
    const std::string two = post(question + call +
                                 R"(,{"id":"b","type":"function","function":{"name":"go",)"
                                 R"("arguments":"{}"}}]},{"role":"user","content":"a"}],)" +
                                 tools);
    CHECK(read_json(two).text("error.message").find("the model's template writes one") != std::string::npos);
}

TEST_CASE("logprobs are those of the tokens, whose bytes are the text") {
    const auto engine = asked::opened();
    const auto reply = chatted(*engine, R"("max_tokens":4,"temperature":0,"logprobs":true,"top_logprobs":2)");
    const read_json json(reply->whole().body);
    std::string bytes;
    for (const char place : {'0', '1', '2', '3'}) {
        const std::string at = std::string("choices.0.logprobs.content.") + place;
        for (const bitnet::json_value byte : json.at(at + ".bytes")->elements()) {
            bytes += static_cast<char>(*byte.as_integer<int>());
        }
        CHECK(json.at(at + ".logprob")->as_double() <= 0.0);
        CHECK(json.text(at + ".token") == json.text(at + ".top_logprobs.0.token")); // greedy
        CHECK(json.at(at + ".top_logprobs")->size() == 2);
    }
    CHECK(bytes.ends_with(json.text("choices.0.message.content")));
}

TEST_CASE("a client that goes away frees its place, and more than the queue takes are told to wait") {
    const auto engine = asked::opened({.parallel = 1, .queue = 1});
    const std::string endless =
        R"({"stream":true,"logit_bias":{},"messages":[{"role":"user","content":"Go on"}],"seed":1})";
    auto first = asked::sent(*engine, "POST", "/v1/chat/completions", endless);
    REQUIRE(first->wait_for_stream());
    first->set_gone();
    const auto next = chatted(*engine, R"("max_tokens":3)");
    CHECK(next->whole().status == 200);

    std::vector<std::shared_ptr<asked::kept_reply>> many;
    for (int i = 0; i < 6; ++i) {
        many.push_back(asked::sent(*engine, "POST", "/v1/chat/completions", endless));
    }
    std::size_t refused = 0;
    for (const auto& each : many) {
        if (each->whole().status == 429) {
            ++refused;
            CHECK(each->whole().headers.at(0).first == "Retry-After");
        }
        each->set_gone();
    }
    CHECK(refused >= 4);
    CHECK(engine->counts().refused == refused);
    CHECK(chatted(*engine, R"("max_tokens":3)")->whole().status != 500);
}
