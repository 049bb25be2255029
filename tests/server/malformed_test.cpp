// SPDX-License-Identifier: MIT
#include "../soak.hpp"
#include "asked.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>

#define MESSAGES R"("messages":[{"role":"user","content":"a"}])"

namespace {

/// Bodies for /v1/chat/completions that are all refused.
constexpr std::string_view refused[] = {
    "",
    " ",
    "{",
    "}",
    "[]",
    "null",
    "1",
    "\"a\"",
    "{}",
    "\xff",
    "{\"messages\":",
    "{\"messages\":[}",
    "\xef\xbb\xbf{" MESSAGES "}",
    "{" MESSAGES "}x",
    "{" MESSAGES ",}",
    "{" MESSAGES "," MESSAGES "}",
    "{'messages':[]}",
    R"({"messages":"x"})",
    R"({"messages":null})",
    R"({"messages":{}})",
    R"({"messages":[]})",
    R"({"messages":[1]})",
    R"({"messages":[null]})",
    R"({"messages":[[]]})",
    R"({"messages":[{}]})",
    R"({"messages":[{"role":"user"}]})",
    R"({"messages":[{"role":1,"content":"a"}]})",
    R"({"messages":[{"role":"king","content":"a"}]})",
    R"({"messages":[{"role":"function","content":"a"}]})",
    R"({"messages":[{"role":"user","content":1}]})",
    R"({"messages":[{"role":"user","content":null}]})",
    R"({"messages":[{"role":"user","content":{}}]})",
    R"({"messages":[{"role":"user","content":["a"]}]})",
    R"({"messages":[{"role":"user","content":[{"type":"text"}]}]})",
    R"({"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]})",
    R"({"messages":[{"role":"user","content":"\ud800"}]})",
    R"({"messages":[{"role":"assistant","content":null,"tool_calls":1},{"role":"user","content":"a"}]})",
    R"({"messages":[{"role":"assistant","content":null,"tool_calls":[{}]},{"role":"user","content":"a"}]})",
    "{" MESSAGES R"(,"temperature":"hot"})",
    "{" MESSAGES R"(,"temperature":-1})",
    "{" MESSAGES R"(,"temperature":1e999})",
    "{" MESSAGES R"(,"temperature":3})",
    "{" MESSAGES R"(,"top_p":2})",
    "{" MESSAGES R"(,"max_tokens":0})",
    "{" MESSAGES R"(,"max_tokens":-1})",
    "{" MESSAGES R"(,"max_tokens":1.5})",
    "{" MESSAGES R"(,"max_tokens":99999999999999999999})",
    "{" MESSAGES R"(,"n":0})",
    "{" MESSAGES R"(,"n":9})",
    "{" MESSAGES R"(,"seed":"x"})",
    "{" MESSAGES R"(,"stop":1})",
    "{" MESSAGES R"(,"stop":[""]})",
    "{" MESSAGES R"(,"stop":["a",1]})",
    "{" MESSAGES R"(,"stop":["a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a"]})",
    "{" MESSAGES R"(,"logit_bias":[]})",
    "{" MESSAGES R"(,"logit_bias":{"x":1}})",
    "{" MESSAGES R"(,"logit_bias":{"1":101}})",
    "{" MESSAGES R"(,"logit_bias":{"99999999":1}})",
    "{" MESSAGES R"(,"logit_bias":{"-1":1}})",
    "{" MESSAGES R"(,"logit_bias":{"1":1,"01":1}})",
    "{" MESSAGES R"(,"stream":1})",
    "{" MESSAGES R"(,"stream_options":1})",
    "{" MESSAGES R"(,"stream_options":{"include_usage":1}})",
    "{" MESSAGES R"(,"logprobs":3})",
    "{" MESSAGES R"(,"top_logprobs":21})",
    "{" MESSAGES R"(,"response_format":"json"})",
    "{" MESSAGES R"(,"response_format":{"type":"xml"}})",
    "{" MESSAGES R"(,"response_format":{"type":"json_schema"}})",
    "{" MESSAGES R"(,"response_format":{"type":"json_schema","json_schema":{"schema":1}}})",
    "{" MESSAGES R"(,"response_format":{"type":"json_schema","json_schema":{"schema":{"type":"king"}}}})",
    "{" MESSAGES
    R"(,"max_tokens":1,"response_format":{"type":"json_schema","json_schema":{"schema":{"const":"abcdefgh"}}}})",
    "{" MESSAGES R"(,"grammar":"root ::= x"})",
    "{" MESSAGES R"(,"grammar":1})",
    "{" MESSAGES R"(,"tools":1})",
    "{" MESSAGES R"(,"tools":[1]})",
    "{" MESSAGES R"(,"tools":[{"type":"custom","custom":{"name":"x"}}]})",
    "{" MESSAGES R"(,"tools":[{"type":"function","function":{"name":"a b"}}]})",
    "{" MESSAGES R"(,"tools":[{"type":"function","function":{"name":"a","parameters":1}}]})",
    "{" MESSAGES R"(,"tools":[{"type":"function","function":{"name":"a","parameters":{"type":"array"}}}]})",
    "{" MESSAGES
    R"(,"tools":[{"type":"function","function":{"name":"a"}},{"type":"function","function":{"name":"a"}}]})",
    "{" MESSAGES R"(,"tool_choice":"required"})",
    "{" MESSAGES R"(,"tool_choice":"maybe"})",
    "{" MESSAGES R"(,"tool_choice":{"type":"function"}})",
    "{" MESSAGES R"(,"functions":[]})",
    "{" MESSAGES R"(,"audio":{}})",
};

/// Bodies that are answered, to begin with.
constexpr std::string_view seeds[] = {
    "{" MESSAGES R"(,"max_tokens":2,"temperature":0.5,"top_p":0.9,"seed":7,"stop":["x","yz"],"stream":true})",
    R"({"messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"\u00e9"}]}],"max_tokens":2,"n":2})",
    "{" MESSAGES
    R"(,"max_tokens":9,"response_format":{"type":"json_object","schema":{"type":"object","properties":{},"additionalProperties":false}}})",
    "{" MESSAGES R"(,"max_tokens":2,"logprobs":true,"top_logprobs":1,"logit_bias":{"5":-100},"presence_penalty":1})",
};

/// Changes some bytes of a text, whichever the random numbers say.
class mutation {
public:
    explicit mutation(std::uint64_t seed) noexcept : random_(seed) {}

    [[nodiscard]] std::string of(std::string_view text) {
        constexpr std::string_view pieces[] = {"\"", "{",   "}",    "[",    "]",  ",",    ":",  "0",
                                               "-1", "1e9", "null", "true", "\\", "\xff", "\n", "\\u0000"};
        std::string made(text);
        for (std::size_t left = 1 + below(4); left != 0 && !made.empty(); --left) {
            const std::size_t at = below(made.size());
            const std::size_t size = (std::min)(1 + below(8), made.size() - at);
            switch (below(4)) {
            case 0:
                made.erase(at, size);
                break;
            case 1:
                made.insert(at, pieces[below(std::size(pieces))]);
                break;
            case 2:
                made[at] = static_cast<char>(below(256));
                break;
            default:
                made.insert(below(made.size()), made.substr(at, size));
            }
        }
        return made;
    }

private:
    [[nodiscard]] std::size_t below(std::size_t end) noexcept {
        random_ = random_ * 6364136223846793005u + 1442695040888963407u;
        return static_cast<std::size_t>(random_ >> 33) % end;
    }
    std::uint64_t random_;
};

void check_error(const asked::kept_reply& reply) {
    const asked::read_json json(reply.whole().body);
    CHECK(reply.whole().status >= 400);
    CHECK(reply.whole().status < 500);
    CHECK(json.text("error.message").size() > 5);
    CHECK(json.text("error.type") == "invalid_request_error");
    CHECK(json.at("error.param"));
    CHECK(json.at("error.code"));
    CHECK(reply.ends() == 1);
}

} // namespace

TEST_CASE("what is no request is refused as JSON, by the field") {
    const auto engine = asked::opened();
    CHECK(std::size(refused) >= 60);
    for (const std::string_view body : refused) {
        const auto reply = asked::answered(*engine, "POST", "/v1/chat/completions", std::string(body));
        CAPTURE(body);
        CHECK(!reply->is_stream());
        check_error(*reply);
    }
    const auto deep = asked::answered(*engine, "POST", "/v1/chat/completions", std::string(100000, '['));
    check_error(*deep);
    const auto long_text = R"({"messages":[{"role":"user","content":")" + std::string(20000, 'a') + "\"}]}";
    const auto too_long = asked::answered(*engine, "POST", "/v1/chat/completions", long_text);
    check_error(*too_long);
    CHECK(asked::read_json(too_long->whole().body).text("error.code") == "context_length_exceeded");
    const auto wrong = asked::answered(*engine, "POST", "/v1/chat/completions", R"({"messages":"x"})");
    CHECK(asked::read_json(wrong->whole().body).text("error.param") == "messages");
    CHECK(asked::chatted(*engine, R"("max_tokens":1)")->whole().status == 200); // and it lives on
}

// --server-requests=N for more
TEST_CASE("whatever a body is, there is an answer or an error as JSON") {
    const auto engine = asked::opened();
    for (std::size_t i = 0; i < static_cast<std::size_t>(bitnet_tests::server_requests); ++i) {
        const std::string body = mutation(i).of(seeds[i % std::size(seeds)]);
        const auto sink = asked::sent(*engine, "POST", "/v1/chat/completions", body);
        if (i % 16 == 15) {
            sink->set_gone(); // in a random place
            continue;
        }
        CAPTURE(i);
        CAPTURE(body);
        REQUIRE(sink->wait());
        if (!sink->is_stream() && sink->whole().status != 200) {
            check_error(*sink);
        } else if (!sink->is_stream()) {
            CHECK(asked::read_json(sink->whole().body).text("object") == "chat.completion");
        } else {
            static_cast<void>(asked::text_of(*sink));
        }
    }
}
