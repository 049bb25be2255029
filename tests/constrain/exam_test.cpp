// SPDX-License-Identifier: MIT
// Grammars, expressions and schemas of the exam for constrained output: what it counts, and what it never forgives.
#include "constrain/feeding.hpp"

#include <bitnet/constrain/choices.hpp>
#include <bitnet/constrain/gbnf_reader.hpp>
#include <bitnet/constrain/json_schema.hpp>
#include <bitnet/constrain/regex_reader.hpp>
#include <bitnet/io/json.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

using namespace bitnet_tests;

namespace {

std::string exam_file(const std::string& name) { return std::string(BITNET_TEST_DATA_DIR) + "/constrained/" + name; }

/// `if (is_missing(...)) return;` opens every test case here: the exam is no part of the repository.
bool is_missing(const std::string& name) {
    if (std::ifstream(exam_file(name))) {
        return false;
    }
    std::cout << "SKIPPED (no golden data): nothing at " << exam_file(name) << std::endl;
    return true;
}

template <class Visit> void each_case(const std::string& name, Visit&& visit) {
    std::ifstream lines(exam_file(name));
    for (std::string line; std::getline(lines, line);) {
        const auto json = must(bitnet::json_document::parse(line, name));
        visit(json.root());
    }
}

std::string text_of(bitnet::json_value object, std::string_view key) {
    const auto member = object.find(key);
    return std::string(member && member->as_string() ? *member->as_string() : "");
}
bool has_tag(bitnet::json_value object, std::string_view tag) {
    const auto tags = object.find("tags");
    for (const auto element : tags ? tags->elements() : object.elements()) {
        if (element.as_string() == tag) {
            return true;
        }
    }
    return false;
}

struct tally {
    int right = 0;
    int wrong_accepted = 0;
    int excused = 0;
    int not_accepted = 0;
    int refused = 0;
    int compiled = 0;
    int valid = 0;

    void print(std::string_view name) const {
        std::cout << name << ": " << right << " right, " << wrong_accepted << " wrong accepted, " << excused
                  << " excused, " << not_accepted << " valid not accepted, " << refused << " refused, " << compiled
                  << " compiled" << std::endl;
    }
};

void count_instance(tally& counts, const bitnet::grammar& grammar, bitnet::json_value instance, bool is_noted) {
    const bool is_valid = *instance.find("valid")->as_bool();
    const bool is_accepted = accepts(grammar, text_of(instance, "instance_text"));
    bool is_excused = is_accepted && (is_noted || has_tag(instance, "needs_format"));
    for (const char* tag : {"integral_float", "exponent", "u_escape", "minus_zero"}) {
        is_excused = is_excused || (!is_accepted && has_tag(instance, tag));
    }
    counts.valid += is_valid ? 1 : 0;
    if (is_accepted == is_valid) {
        ++counts.right;
    } else if (is_excused) {
        ++counts.excused;
    } else {
        ++(is_accepted ? counts.wrong_accepted : counts.not_accepted);
        INFO(text_of(instance, "instance_text"));
        CHECK(!is_accepted);
    }
}

tally count_schemas(const std::string& file, std::string_view sources) {
    tally counts;
    each_case(file, [&](bitnet::json_value one) {
        if (sources.find(" " + text_of(one, "source") + " ") == std::string_view::npos) {
            return;
        }
        const auto grammar = bitnet::grammar::json_schema(text_of(one, "schema_text"));
        if (!grammar) {
            ++counts.refused;
            return;
        }
        ++counts.compiled;
        for (const auto instance : one.find("cases")->elements()) {
            count_instance(counts, *grammar, instance, false);
        }
    });
    counts.print(std::string(file).append(sources));
    CHECK(counts.wrong_accepted == 0);
    CHECK(counts.not_accepted * 200 <= counts.valid);
    return counts;
}

std::string built(bitnet::json_value parts) {
    std::string made;
    for (const auto part : parts.elements()) {
        std::vector<bitnet::json_value> of;
        for (const auto element : part.elements()) {
            of.push_back(element);
        }
        const std::string kind(*of[0].as_string());
        if (kind == "text") {
            made += *of[1].as_string();
        } else if (kind == "hex") {
            const std::string_view digits = *of[1].as_string();
            for (std::size_t i = 0; i + 1 < digits.size(); i += 2) {
                made += static_cast<char>(bitnet::detail::source_reader::hexadecimal_digit(digits[i]) * 16 +
                                          bitnet::detail::source_reader::hexadecimal_digit(digits[i + 1]));
            }
        } else if (kind == "repeat") {
            for (std::uint32_t i = 0; i < *of[2].as_integer<std::uint32_t>(); ++i) {
                made += *of[1].as_string();
            }
        } else if (kind == "count") {
            for (std::uint32_t i = 0; i < *of[2].as_integer<std::uint32_t>(); ++i) {
                std::string text = (i == 0 ? "" : std::string(*of[3].as_string())) + std::string(*of[1].as_string());
                for (const auto& [mark, number] : {std::pair{"{i}", i}, std::pair{"{j}", i + 1}}) {
                    for (std::size_t at = text.find(mark); at != std::string::npos; at = text.find(mark)) {
                        text.replace(at, 3, std::to_string(number));
                    }
                }
                made += text;
            }
        } else if (kind == "ranges") {
            char32_t c = 0x100;
            for (std::uint32_t i = 0; i < *of[1].as_integer<std::uint32_t>(); c += 2) {
                if (c < 0xd800 || c > 0xdfff) {
                    bitnet::detail::append_utf8(made, c);
                    made += '-';
                    bitnet::detail::append_utf8(made, c);
                    ++i;
                }
            }
        }
    }
    return made;
}

bitnet::result<bitnet::grammar> opened(std::string_view kind, const std::string& source) {
    if (kind == "gbnf") {
        return bitnet::grammar::gbnf(source);
    }
    if (kind == "regex") {
        return bitnet::grammar::regex(source);
    }
    if (kind == "json_schema") {
        return bitnet::grammar::json_schema(source);
    }
    std::vector<std::string_view> lines;
    for (std::string_view rest = source; !rest.empty();) {
        lines.push_back(rest.substr(0, rest.find('\n')));
        rest.remove_prefix((std::min)(lines.back().size() + 1, rest.size()));
    }
    return bitnet::grammar::choices(lines);
}

} // namespace

TEST_CASE("golden: GBNF of the exam: every text, and where a wrong one dies") {
    if (is_missing("gbnf/cases.jsonl")) {
        return;
    }
    int texts = 0;
    each_case("gbnf/cases.jsonl", [&](bitnet::json_value one) {
        INFO(text_of(one, "id"));
        const auto grammar = bitnet::grammar::gbnf(text_of(one, "grammar"));
        if (one.find("error")) {
            CHECK(!grammar.has_value());
            return;
        }
        REQUIRE(grammar.has_value());
        for (const auto text : one.find("accept")->elements()) {
            CHECK(accepts(*grammar, *text.as_string()));
            ++texts;
        }
        for (const auto wrong : one.find("reject")->elements()) {
            const std::string text = text_of(wrong, "text");
            const std::size_t bytes = taken(*grammar, text);
            const auto dies_at = wrong.find("dies_at")->as_integer<std::size_t>();
            CHECK(bytes <= text.size());
            CHECK((dies_at ? bytes >= *dies_at && bytes < *dies_at + 4 && bytes < text.size() : bytes == text.size()));
            ++texts;
        }
    });
    std::cout << "gbnf: " << texts << " texts" << std::endl;
}

TEST_CASE("golden: regular expressions of the exam") {
    if (is_missing("regex/cases.jsonl")) {
        return;
    }
    each_case("regex/cases.jsonl", [&](bitnet::json_value one) {
        INFO(text_of(one, "id"));
        const auto grammar = bitnet::grammar::regex(text_of(one, "pattern"));
        CHECK(grammar.has_value() == !one.find("error").has_value());
        if (grammar) {
            for (const auto text : one.find("accept")->elements()) {
                CHECK(accepts(*grammar, *text.as_string()));
            }
            for (const auto text : one.find("reject")->elements()) {
                CHECK(!accepts(*grammar, *text.as_string()));
            }
        }
    });
}

TEST_CASE("golden: the test suite of JSON Schema") {
    if (is_missing("json_schema_suite/cases.jsonl")) {
        return;
    }
    tally must_hold;
    tally may_refuse;
    tally format;
    each_case("json_schema_suite/cases.jsonl", [&](bitnet::json_value one) {
        const std::string tier = text_of(one, "tier");
        tally& counts = tier == "must" ? must_hold : tier == "format" ? format : may_refuse;
        INFO(text_of(one, "id"));
        const auto grammar = bitnet::grammar::json_schema(text_of(one, "schema_text"));
        if (grammar) {
            count_instance(counts, *grammar, one, tier == "format" && !grammar->notes().empty());
        } else {
            const bool has_none =
                grammar.error().code == bitnet::errc::empty_language && !*one.find("valid")->as_bool();
            ++(has_none ? counts.right : counts.refused);
        }
    });
    must_hold.print("suite, must");
    may_refuse.print("suite, may_refuse");
    format.print("suite, format");
    CHECK(must_hold.wrong_accepted + may_refuse.wrong_accepted + format.wrong_accepted == 0);
    CHECK((must_hold.not_accepted + must_hold.refused) * 50 <= must_hold.right);
    CHECK(may_refuse.not_accepted == 0);
    CHECK(may_refuse.right * 10 >= (may_refuse.right + may_refuse.refused) * 3);
}

TEST_CASE("golden: schemas of games and from practice") {
    if (is_missing("schemas/real.jsonl")) {
        return;
    }
    const tally games = count_schemas("schemas/games.jsonl", " own ");
    CHECK(games.refused + games.not_accepted == 0);
    const tally tools = count_schemas("schemas/real.jsonl", " BFCL Glaiveai2K JME MCPspec ");
    CHECK(tools.compiled * 100 >= (tools.compiled + tools.refused) * 97);
    const tally others = count_schemas("schemas/real.jsonl", " Kubernetes Snowplow JsonSchemaStore ");
    CHECK(others.compiled * 100 >= (others.compiled + others.refused) * 85);
}

TEST_CASE("golden: hostile inputs end in a sentence or work") {
    if (is_missing("hostile/cases.jsonl")) {
        return;
    }
    each_case("hostile/cases.jsonl", [&](bitnet::json_value one) {
        const std::string kind = text_of(one, "kind");
        const std::string expect = text_of(one, "expect");
        if (kind == "stop_texts") {
            return;
        }
        INFO(text_of(one, "id"));
        const auto grammar = opened(kind, built(*one.find("build")));
        if (!grammar) {
            CHECK(expect != "works");
            CHECK(grammar.error().message.size() <= 1000);
            return;
        }
        CHECK(expect != "error");
        for (const char* list : {"feed", "feed_rejected"}) {
            const auto texts = one.find(list);
            for (const auto text : texts ? texts->elements() : one.find("build")->elements()) {
                if (texts) {
                    CHECK(accepts(*grammar, built(text)) == (std::string_view(list) == "feed"));
                }
            }
        }
    });
}
