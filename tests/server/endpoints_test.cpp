// SPDX-License-Identifier: MIT
#include "asked.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using asked::answered;
using asked::read_json;

TEST_CASE("health and models are told, with and without /v1") {
    const auto engine = asked::opened();
    CHECK(answered(*engine, "GET", "/health")->whole().body == R"({"status":"ok"})");
    for (const std::string path : {"/v1/models", "/models", "/v1/models/", "/models?limit=1"}) {
        const read_json list(answered(*engine, "GET", path)->whole().body);
        CHECK(list.text("object") == "list");
        CHECK(list.text("data.0.id") == "tiny");
        CHECK(list.number("data.0.created") == 1);
    }
    CHECK(read_json(answered(*engine, "GET", "/v1/models/tiny")->whole().body).text("id") == "tiny");
}

TEST_CASE("other paths and methods are refused with what would be right") {
    const auto engine = asked::opened();
    for (const std::string path : {"/", "/v1", "/v1/nothing", "/v1/models/other", "", "?", "/v1/v1/models", "//"}) {
        const auto reply = answered(*engine, "GET", path);
        CHECK(reply->whole().status == 404);
        CHECK(read_json(reply->whole().body).text("error.type") == "not_found_error");
    }
    CHECK(answered(*engine, "POST", "/v1/responses")->whole().body.find("/v1/chat/completions") != std::string::npos);
    const auto wrong = answered(*engine, "GET", "/v1/chat/completions");
    CHECK(wrong->whole().status == 405);
    CHECK(wrong->whole().headers.at(0).second == "POST");
    CHECK(answered(*engine, "DELETE", "/v1/models")->whole().status == 405);
}

TEST_CASE("with a key, who does not have it is refused everywhere but at /health") {
    const auto engine = asked::opened();
    const server::answer_options options{.api_key = "secret"};
    const auto status = [&](const std::string& path, const std::string& authorization) {
        return asked::sent(*engine, "GET", path, {}, authorization, options)->whole().status;
    };
    CHECK(status("/v1/models", "Bearer secret") == 200);
    for (const std::string wrong : {"", "secret", "Bearer secre", "Bearer secrets", "Bearer Secret", "Basic secret"}) {
        CHECK(status("/v1/models", wrong) == 401);
    }
    CHECK(status("/health", "") == 200);
}

TEST_CASE("a page is at the root for everybody, and asks nobody but its server") {
    const auto engine = asked::opened();
    const server::answer_options options{.api_key = "secret", .page = "<p>hello"};
    for (const std::string path : {"/", "/?from=here"}) {
        const auto reply = asked::sent(*engine, "GET", path, {}, "", options);
        CHECK(reply->whole().status == 200);
        CHECK(reply->whole().body == "<p>hello");
        CHECK(reply->whole().type == "text/html; charset=utf-8");
        CHECK(reply->whole().headers.at(0).second.find("connect-src 'self'") != std::string::npos);
    }
    CHECK(asked::sent(*engine, "POST", "/", "{}", "", options)->whole().status == 401);
}

TEST_CASE("a raw text is continued, whole and streamed, several at once") {
    const auto engine = asked::opened();
    const std::string how = R"("prompt":["Once upon","The king"],"max_tokens":6,"seed":2)";
    const read_json whole(answered(*engine, "POST", "/v1/completions", "{" + how + R"(,"logprobs":1})")->whole().body);
    CHECK(whole.text("object") == "text_completion");
    CHECK(whole.text("choices.1.finish_reason") == "length");
    CHECK(whole.at("choices.0.logprobs.tokens")->size() == 6);
    CHECK(whole.number("usage.completion_tokens") == 12);
    const auto stream = answered(*engine, "POST", "/v1/completions", "{" + how + R"(,"stream":true})");
    CHECK(stream->is_stream());
    CHECK(stream->stream().ends_with("data: [DONE]\n\n"));
    const read_json echoed(
        answered(*engine, "POST", "/completions", R"({"prompt":"Once upon","max_tokens":1,"echo":true})")
            ->whole()
            .body);
    CHECK(echoed.text("choices.0.text").starts_with("Once upon"));
    for (const std::string body :
         {R"({})", R"({"prompt":[]})", R"({"prompt":[-1]})", R"({"prompt":[99999999]})", R"({"prompt":[""," ",1]})",
          R"({"prompt":[[]]})", R"({"prompt":"a","suffix":"b"})", R"({"prompt":"a","logprobs":6})"}) {
        const auto refused = answered(*engine, "POST", "/v1/completions", body);
        CAPTURE(body);
        CHECK(refused->whole().status == 400);
    }
}

TEST_CASE("embeddings are the same numbers as floats and in base64") {
    const auto engine = asked::opened();
    CHECK(server::base64_of(std::vector<float>{1.0f}) == "AACAPw==");
    CHECK(server::base64_of(std::vector<float>{1.0f, -2.0f, 0.0f}) == "AACAPwAAAMAAAAAA");
    const auto reply = [&](const std::string& more) {
        return answered(*engine, "POST", "/v1/embeddings", R"({"input":["hello","king"])" + more + "}")->whole();
    };
    const read_json floats(reply("").body);
    const read_json coded(reply(R"(,"encoding_format":"base64")").body);
    for (const std::string at : {"data.0.embedding", "data.1.embedding"}) {
        std::vector<float> values;
        for (const bitnet::json_value each : floats.at(at)->elements()) {
            values.push_back(static_cast<float>(*each.as_double()));
        }
        CHECK(server::base64_of(values) == coded.text(at));
    }
    CHECK(floats.number("usage.prompt_tokens") == floats.number("usage.total_tokens"));
    for (const std::string more : {R"(,"dimensions":7)", R"(,"encoding_format":"int8")"}) {
        CHECK(reply(more).status == 400);
    }
    for (const std::string body :
         {R"({})", R"({"input":[]})", R"({"input":[[99999999]]})", R"({"input":{}})", R"({"input":[1.5]})"}) {
        CHECK(answered(*engine, "POST", "/v1/embeddings", body)->whole().status == 400);
    }
}

TEST_CASE("tokens of a text are its text again, and metrics count what was done") {
    const auto engine = asked::opened();
    const auto tokens = answered(*engine, "POST", "/tokenize", R"({"content":"Once upon a time"})");
    CHECK(read_json(answered(*engine, "POST", "/detokenize", tokens->whole().body)->whole().body).text("content") ==
          "Once upon a time");
    CHECK(answered(*engine, "POST", "/detokenize", R"({"tokens":[99999999]})")->whole().status == 400);
    CHECK(answered(*engine, "POST", "/tokenize", "[]")->whole().status == 400);
    static_cast<void>(asked::chatted(*engine, R"("max_tokens":3)"));
    const std::string metrics = answered(*engine, "GET", "/metrics")->whole().body;
    CHECK(metrics.find("\nbitnet_requests_total 1\n") != std::string::npos);
}
