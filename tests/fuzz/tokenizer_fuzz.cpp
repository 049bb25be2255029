// SPDX-License-Identifier: MIT
// Fuzzes the tokenizer: any text through good vocabularies of both kinds, and vocabularies spoiled piece by piece.
#include <bitnet/text/open_tokenizer.hpp>
#include <bitnet/text/pre_tokenizer.hpp>
#include <bitnet/text/stream_decoder.hpp>

#include "../text/sentence_piece_vocabulary.hpp"
#include "../text/small_vocabulary.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

void expect(bool holds) {
    if (!holds) {
        __builtin_trap();
    }
}

/// Numbers and strings out of the fuzzer's bytes; zeros and empty strings once they are used up.
class input {
public:
    input(const std::uint8_t* data, std::size_t size) : rest_(reinterpret_cast<const char*>(data), size) {}

    std::size_t byte() { return static_cast<unsigned char>(take(1)[0]); }
    std::size_t below(std::size_t bound) {
        const std::size_t high = byte();
        const std::size_t number = high << 8 | byte();
        return bound == 0 ? 0 : number % bound;
    }
    std::string text(std::size_t longest) { return take(below(longest + 1)); }
    std::string_view rest() const { return rest_; }
    bool empty() const { return rest_.empty(); }

private:
    std::string take(std::size_t size) {
        std::string taken(rest_.substr(0, size));
        rest_.remove_prefix(taken.size());
        taken.resize(size);
        return taken;
    }
    std::string_view rest_;
};

void check_stream(const bitnet::tokenizer& t, const std::vector<bitnet::token>& tokens) {
    bitnet::stream_decoder decoder(t, {.show_special = true});
    std::string streamed;
    std::size_t fed = 0;
    for (const bitnet::token id : tokens) {
        fed += t.bytes_of(id).size();
        streamed += decoder.feed(id);
        expect(fed - streamed.size() <= (t.adds_space_prefix() ? 4 : 3));
    }
    streamed += decoder.flush();
    expect(streamed == t.decode(tokens));
}

/// What SentencePiece keeps of a text, whichever tokens it finds: everything but the places of the spaces.
std::string without_spaces(std::string_view text) {
    std::string kept;
    while (!text.empty()) {
        const bool mark = text.starts_with(bitnet::detail::vocabulary::space_mark);
        if (!mark && text[0] != ' ') {
            kept += text[0];
        }
        text.remove_prefix(mark ? bitnet::detail::vocabulary::space_mark.size() : 1);
    }
    return kept;
}

/// \param complete whether every byte has a token, so that encoding cannot fail
/// Whether bytes of `text` that have no token became the unknown token.
bool is_lossy(const bitnet::tokenizer& t, std::string_view text) {
    const auto encoded = t.encode(text);
    return encoded && std::any_of(encoded->begin(), encoded->end(), [&t](auto id) { return t.is_special(id); });
}

void check_round_trip(const bitnet::tokenizer& t, std::string_view text, bool complete) {
    const bool lossy = !complete && is_lossy(t, text);
    for (const bool special : {false, true}) {
        const auto encoded = t.encode(text, {.parse_special = special});
        if (!encoded) {
            expect(!complete && encoded.error().code == bitnet::errc::invalid_argument);
            continue;
        }
        for (const bitnet::token id : *encoded) {
            expect(t.contains(id) && !t.bytes_of(id).empty());
            expect(special || lossy || !t.is_special(id));
        }
        const std::string decoded = t.decode(*encoded);
        const bool pieces = t.pre_tokenizer().name == "none";
        expect(lossy || (pieces ? without_spaces(decoded) == without_spaces(text) : decoded == text));
        check_stream(t, *encoded);
    }
}

std::size_t index_of(input& in, const std::vector<std::string>& list) { return in.below(list.size()); }

void spoil_tokens(small_vocabulary& keys, input& in) {
    if (keys.tokens.empty()) {
        return;
    }
    std::string& chosen = keys.tokens[index_of(in, keys.tokens)];
    switch (in.byte() % 6) {
    case 0:
        chosen = in.text(12);
        break;
    case 1:
        chosen = keys.tokens[index_of(in, keys.tokens)];
        break;
    case 2:
        chosen += keys.tokens[index_of(in, keys.tokens)];
        break;
    case 3:
        chosen = "<0x" + in.text(2) + ">";
        break;
    case 4:
        chosen = std::string(in.below(2000), 'a');
        break;
    default:
        keys.tokens.resize(in.below(keys.tokens.size() + 1));
    }
}

void spoil_merges(small_vocabulary& keys, input& in) {
    if (!keys.merges || keys.merges->empty() || keys.tokens.empty()) {
        keys.merges.reset();
        return;
    }
    const std::string pair = keys.tokens[index_of(in, keys.tokens)] + " " + keys.tokens[index_of(in, keys.tokens)];
    switch (in.byte() % 4) {
    case 0:
        (*keys.merges)[index_of(in, *keys.merges)] = in.text(12);
        break;
    case 1:
        (*keys.merges)[index_of(in, *keys.merges)] = pair;
        break;
    case 2:
        keys.merges->insert(keys.merges->begin() + static_cast<std::ptrdiff_t>(index_of(in, *keys.merges)), pair);
        break;
    default:
        keys.merges->pop_back();
    }
}

/// Adds what holds together: a merge and its token, a token of any kind.
void extend(small_vocabulary& keys, input& in) {
    if (!keys.kinds || !keys.scores || !keys.merges || keys.tokens.empty()) {
        return;
    }
    if (in.byte() % 2 == 0) {
        keys.add_merge(keys.tokens[index_of(in, keys.tokens)] + " " + keys.tokens[index_of(in, keys.tokens)]);
    } else {
        const auto kind = static_cast<std::int32_t>(in.byte() % 8);
        keys.add_token(in.text(12), kind);
    }
}

void spoil_numbers(small_vocabulary& keys, input& in) {
    switch (in.byte() % 5) {
    case 0:
        if (keys.kinds && !keys.kinds->empty()) {
            (*keys.kinds)[in.below(keys.kinds->size())] = static_cast<std::int32_t>(in.byte()) - 2;
        }
        break;
    case 1:
        if (keys.kinds) {
            keys.kinds->resize(in.below(300), 1);
        }
        break;
    case 2:
        keys.kinds.reset();
        break;
    case 3:
        keys.scores.reset();
        break;
    default:
        keys.ids.emplace_back(in.text(3), static_cast<std::uint32_t>(in.below(300)));
    }
}

void spoil_names(small_vocabulary& keys, input& in) {
    switch (in.byte() % 4) {
    case 0:
        keys.pre.reset();
        break;
    case 1:
        keys.pre =
            in.byte() % 4 == 0
                ? in.text(10)
                : std::string(
                      bitnet::detail::pre_tokenizer_names[in.below(bitnet::detail::pre_tokenizer_names.size())].name);
        break;
    case 2:
        keys.model = in.text(5);
        break;
    default:
        keys.add_bos.reset();
        keys.ids.clear();
    }
}

void fuzz_vocabulary(input in) {
    static const small_vocabulary bytes;
    static const small_vocabulary pieces = sentence_piece_vocabulary();
    small_vocabulary keys = in.byte() % 2 == 0 ? bytes : pieces;
    for (std::size_t n = 1 + in.byte() % 8; n > 0 && !in.empty(); --n) {
        switch (in.byte() % 5) {
        case 0:
            spoil_tokens(keys, in);
            break;
        case 1:
            spoil_merges(keys, in);
            break;
        case 2:
            spoil_numbers(keys, in);
            break;
        case 3:
            spoil_names(keys, in);
            break;
        default:
            extend(keys, in);
        }
    }
    const auto file = keys.file();
    if (!file) {
        return; // the writer refused a key twice, or one that is no key
    }
    const auto opened = bitnet::tokenizer::open(file->file);
    if (!opened) {
        expect(opened.error().code != bitnet::errc{} && opened.error().message.starts_with("small.gguf: "));
        return;
    }
    check_round_trip(*opened, in.rest(), false);
    check_round_trip(*opened, "hello <|eot_id|> world  12345\n\xe4\xb8\xad xyzzy's", false);
}

bitnet::tokenizer open_good(const small_vocabulary& keys) {
    const auto file = keys.file();
    expect(file.has_value());
    auto made = bitnet::tokenizer::open(file->file);
    expect(made.has_value());
    return *std::move(made);
}

bitnet::tokenizer open_splitting(std::string_view pre) {
    small_vocabulary keys;
    keys.pre = pre;
    return open_good(keys);
}

/// One for every splitter, and SentencePiece's.
const std::vector<bitnet::tokenizer>& good_tokenizers() {
    static const std::vector<bitnet::tokenizer> all = [] {
        std::vector<bitnet::tokenizer> made;
        for (const auto& name : bitnet::detail::pre_tokenizer_names) {
            made.push_back(open_splitting(name.name));
        }
        made.push_back(open_good(sentence_piece_vocabulary()));
        return made;
    }();
    return all;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    input in(data, size);
    if (in.byte() % 2 == 0) {
        const std::size_t chosen = in.byte() % good_tokenizers().size();
        check_round_trip(good_tokenizers()[chosen], in.rest(), true);
    } else {
        fuzz_vocabulary(in);
    }
    return 0;
}
