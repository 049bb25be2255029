// SPDX-License-Identifier: MIT
// Fuzzes the readers of grammars and the matcher: the first byte tells which reader takes what stands before a NUL; the
// rest is fed. What is taken can always be completed, and looking ahead agrees with taking.
#include <bitnet/constrain/choices.hpp>
#include <bitnet/constrain/gbnf_reader.hpp>
#include <bitnet/constrain/json_schema.hpp>
#include <bitnet/constrain/matcher.hpp>
#include <bitnet/constrain/regex_reader.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace {

void require(bool holds) {
    if (!holds) {
        __builtin_trap();
    }
}

bitnet::result<bitnet::grammar> opened(int kind, std::string_view source) {
    if (kind == 0) {
        return bitnet::grammar::gbnf(source);
    }
    if (kind == 1) {
        return bitnet::grammar::regex(source);
    }
    if (kind == 2) {
        return bitnet::grammar::json_schema(source);
    }
    const std::vector<std::string_view> list{source.substr(0, source.size() / 2), source.substr(source.size() / 2)};
    return bitnet::grammar::choices(list);
}

void feed(bitnet::matcher& matcher, std::string_view text) {
    require(matcher.shortest_end() < 0x3fffffffu);
    for (std::size_t i = 0; i < text.size(); ++i) {
        const bool is_allowed = matcher.allows(text.substr(i, 1));
        const bool is_unknown = matcher.out_of_budget();
        const bool is_taken = matcher.accept(text.substr(i, 1)) == 1;
        require(is_allowed == is_taken || is_unknown);
        if (!is_taken) {
            return;
        }
        require(matcher.can_end() == (matcher.shortest_end() == 0));
        require(!matcher.is_done() || matcher.can_end());
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) {
        return 0;
    }
    const std::vector<char> exact(data + 1, data + size); // the sanitizer watches its end
    const std::string_view input(exact.data(), exact.size());
    const std::size_t end = (std::min)(input.find('\0'), input.size());
    const auto grammar = opened(data[0] % 4, input.substr(0, end));
    if (!grammar) {
        require(!grammar.error().message.empty() && grammar.error().message.size() <= 1000);
        return 0;
    }
    auto matcher =
        bitnet::matcher::open(*grammar, {.items = 4096, .items_at_once = 256, .frames = 1024, .links = 4096});
    if (matcher) {
        feed(*matcher, input.substr((std::min)(end + 1, input.size())));
    }
    return 0;
}
