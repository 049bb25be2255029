// SPDX-License-Identifier: MIT
// schema_document: the places of a JSON Schema's text, and what its references mean.
#ifndef BITNET_CONSTRAIN_SCHEMA_DOCUMENT_HPP
#define BITNET_CONSTRAIN_SCHEMA_DOCUMENT_HPP

#include <bitnet/constrain/source_reader.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/io/json.hpp>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// `uri` against the base that it stands under (RFC 3986 5.2, as far as schemas need it: dot segments in front alone).
[[nodiscard]] inline std::string resolved_uri(std::string_view base, std::string_view uri) {
    const std::string_view document = base.substr(0, base.find('#'));
    const std::size_t colon = uri.find(':');
    if (colon != std::string_view::npos && colon < uri.find_first_of("/?#")) {
        return std::string(uri);
    }
    while (uri.substr(0, 2) == "./") {
        uri.remove_prefix(2);
    }
    if (uri.empty() || uri[0] == '#') {
        return std::string(document).append(uri);
    }
    const std::size_t authority = document.find("://");
    const std::size_t path = authority == std::string_view::npos ? 0 : document.find('/', authority + 3);
    if (uri[0] == '/') {
        return std::string(document.substr(0, path)).append(uri);
    }
    const std::size_t last = document.rfind('/');
    const bool has_path = last != std::string_view::npos && path != std::string_view::npos;
    return std::string(has_path ? document.substr(0, last + 1) : std::string_view()).append(uri);
}

/// The longest key that a schema may name.
inline constexpr std::size_t most_key_bytes = 4096;

/// One key or index of a JSON pointer, escaped.
[[nodiscard]] inline std::string pointer_step(std::string_view key) {
    std::string made = "/";
    for (const char c : key) {
        made += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
    }
    return made;
}

/// The longest URI that a schema may give itself or a part of itself.
inline constexpr std::size_t most_uri_bytes = 2048;

/// A value of the schema's text, and where it stands. Places that stand in one another share what is above them: a text
/// of a megabyte may have a hundred thousand places whose pointers are as long.
struct schema_place {
    json_value value;
    std::uint32_t parent; ///< the place that it is in; of the root, itself
    std::string_view key; ///< in there, or the index
    std::uint32_t base;   ///< number of the URI that references here are relative to
};

/// The schema as places with numbers, made as they are asked for; a place has one number.
class schema_document {
public:
    explicit schema_document(const json_document& text) {
        (void)number_of_base("");
        places_.push_back({text.root(), 0, "", base_of(text.root(), 0)});
        find_identifiers();
    }
    schema_document(schema_document&&) = delete; // its parts refer to one another

    /// Bytes of the longest key in the text.
    [[nodiscard]] std::size_t longest_key() const noexcept { return longest_key_; }
    /// Bytes of the longest URI that `$id` gives.
    [[nodiscard]] std::size_t longest_uri() const noexcept { return longest_uri_; }
    [[nodiscard]] const schema_place& at(std::uint32_t place) const { return places_[place]; }
    /// Where a place stands, as a JSON pointer for sentences: as much of it as these show.
    [[nodiscard]] std::string pointer(std::uint32_t place) const {
        constexpr std::size_t shown = 256;
        std::vector<std::uint32_t> way;
        for (; place != 0; place = places_[place].parent) {
            way.push_back(place);
        }
        std::string made;
        for (auto step = way.rbegin(); step != way.rend() && made.size() < shown; ++step) {
            made += pointer_step(places_[*step].key);
        }
        return made;
    }
    /// The value of `key` in an object; nullopt where there is none.
    [[nodiscard]] std::optional<std::uint32_t> child(std::uint32_t place, std::string_view key) {
        const auto found = places_[place].value.find(key);
        return found ? std::optional{child(place, key, *found)} : std::nullopt;
    }
    /// All values of an object or array, in order.
    [[nodiscard]] std::vector<std::uint32_t> children(std::uint32_t place) {
        std::vector<std::uint32_t> made;
        const json_value value = places_[place].value;
        for (const auto [key, member] : value.members()) {
            made.push_back(child(place, key, member));
        }
        std::size_t index = 0;
        for (const json_value element : value.elements()) {
            made.push_back(child(place, std::to_string(index++), element));
        }
        return made;
    }

    /// The place that a reference from `place` means; nullopt where it is none of this text.
    [[nodiscard]] std::optional<std::uint32_t> referred(std::uint32_t place, std::string_view reference) {
        const std::string uri = resolved_uri(bases_[places_[place].base], reference);
        const std::size_t mark = (std::min)(uri.find('#'), uri.size());
        const std::string fragment = percent_decoded(std::string_view(uri).substr((std::min)(mark + 1, uri.size())));
        const std::string document = uri.substr(0, mark);
        if (!fragment.empty() && fragment[0] != '/') {
            const auto anchor = identifiers_.find(document + "#" + fragment);
            return anchor == identifiers_.end() ? std::nullopt : std::optional{anchor->second};
        }
        const auto found = identifiers_.find(document);
        return found == identifiers_.end() ? std::nullopt : go_to(found->second, fragment);
    }

private:
    [[nodiscard]] std::uint32_t number_of_base(std::string uri) {
        const auto [found, is_new] =
            base_numbers_.try_emplace(std::move(uri), static_cast<std::uint32_t>(bases_.size()));
        if (is_new) {
            bases_.push_back(found->first);
        }
        return found->second;
    }
    /// What references in a value are relative to. \param base of what it is in
    [[nodiscard]] std::uint32_t base_of(json_value value, std::uint32_t base) {
        const auto id = value.find("$id");
        const auto text = id ? id->as_string() : std::nullopt;
        if (!text) {
            return base;
        }
        std::string made = resolved_uri(bases_[base], *text);
        longest_uri_ = (std::max)(longest_uri_, made.size());
        return made.size() <= most_uri_bytes ? number_of_base(std::move(made)) : base;
    }
    [[nodiscard]] std::uint32_t child(std::uint32_t place, std::string_view key, json_value value) {
        const auto number = static_cast<std::uint32_t>(places_.size());
        const auto [found, is_new] = numbers_.try_emplace({place, std::string(key)}, number);
        if (is_new) {
            places_.push_back({value, place, found->first.second, base_of(value, places_[place].base)});
        }
        return found->second;
    }
    [[nodiscard]] static std::string percent_decoded(std::string_view text) {
        std::string made;
        for (std::size_t i = 0; i < text.size(); ++i) {
            const bool is_escape = text[i] == '%' && i + 2 < text.size() &&
                                   source_reader::hexadecimal_digit(text[i + 1]) >= 0 &&
                                   source_reader::hexadecimal_digit(text[i + 2]) >= 0;
            made += is_escape ? static_cast<char>(source_reader::hexadecimal_digit(text[i + 1]) * 16 +
                                                  source_reader::hexadecimal_digit(text[i + 2]))
                              : text[i];
            i += is_escape ? 2 : 0;
        }
        return made;
    }

    /// An object or array of the text, on the way to others.
    struct visit {
        json_value value;
        std::uint32_t parent; ///< among the visits
        std::string_view key;
        std::size_t index;
        std::uint32_t base;  ///< of what it is in
        std::uint32_t place; ///< or none, as long as nobody has asked
    };
    static constexpr std::uint32_t none = 0xffffffffu;

    /// Collects what $id and $anchor name, all over the text but in examples of values.
    void find_identifiers() {
        identifiers_[""] = 0;
        std::vector<visit> visits{{places_[0].value, 0, "", 0, 0, 0}};
        for (std::uint32_t at = 0; at < visits.size(); ++at) {
            const json_value value = visits[at].value;
            const std::uint32_t base = base_of(value, visits[at].base);
            const std::string document(bases_[base].substr(0, bases_[base].find('#')));
            if (base != visits[at].base) {
                identifiers_.try_emplace(document, place_of(visits, at));
                identifiers_.try_emplace(std::string(bases_[base]), place_of(visits, at));
            }
            const auto anchor = value.find("$anchor");
            if (anchor && anchor->as_string()) {
                identifiers_.try_emplace(document + "#" + std::string(*anchor->as_string()), place_of(visits, at));
            }
            visit_parts(visits, at, base);
        }
    }
    void visit_parts(std::vector<visit>& visits, std::uint32_t at, std::uint32_t base) {
        const json_value value = visits[at].value;
        for (const auto [key, member] : value.members()) {
            longest_key_ = (std::max)(longest_key_, key.size());
            const bool is_example = key == "enum" || key == "const" || key == "examples" || key == "default";
            if (member.size() != 0 && key.size() <= most_key_bytes && !is_example) {
                visits.push_back({member, at, key, 0, base, none});
            }
        }
        std::size_t index = 0;
        for (const json_value element : value.elements()) {
            if (element.size() != 0) {
                visits.push_back({element, at, "", index, base, none});
            }
            ++index;
        }
    }
    /// The place of a visit: its own and those of what it is in are made if nobody has asked for them yet.
    [[nodiscard]] std::uint32_t place_of(std::vector<visit>& visits, std::uint32_t at) {
        std::vector<std::uint32_t> way;
        for (; visits[at].place == none; at = visits[at].parent) {
            way.push_back(at);
        }
        std::uint32_t place = visits[at].place;
        for (auto step = way.rbegin(); step != way.rend(); ++step) {
            visit& next = visits[*step];
            const bool is_element = places_[place].value.is_array();
            place =
                is_element ? child(place, std::to_string(next.index), next.value) : child(place, next.key, next.value);
            next.place = place;
        }
        return place;
    }

    /// Follows a pointer from a place.
    [[nodiscard]] std::optional<std::uint32_t> go_to(std::uint32_t place, std::string_view pointer) {
        while (!pointer.empty()) {
            pointer.remove_prefix(1);
            const std::string_view step = pointer.substr(0, pointer.find('/'));
            pointer.remove_prefix(step.size());
            const auto next = follow(place, unescaped(step));
            if (!next) {
                return std::nullopt;
            }
            place = *next;
        }
        return place;
    }
    [[nodiscard]] std::optional<std::uint32_t> follow(std::uint32_t place, const std::string& key) {
        const json_value value = places_[place].value;
        if (!value.is_array()) {
            return child(place, key);
        }
        std::size_t index = 0;
        const auto read = std::from_chars(key.data(), key.data() + key.size(), index);
        if (read.ec != std::errc{} || read.ptr != key.data() + key.size() || index >= value.size()) {
            return std::nullopt;
        }
        auto element = value.elements().begin();
        for (std::size_t i = 0; i < index; ++i) {
            ++element;
        }
        return child(place, std::to_string(index), *element);
    }
    [[nodiscard]] static std::string unescaped(std::string_view step) {
        std::string made;
        for (std::size_t i = 0; i < step.size(); ++i) {
            const bool is_escape = step[i] == '~' && i + 1 < step.size();
            made += !is_escape ? step[i] : step[i + 1] == '1' ? '/' : '~';
            i += is_escape ? 1 : 0;
        }
        return made;
    }

    std::size_t longest_key_ = 0;
    std::size_t longest_uri_ = 0;
    std::vector<schema_place> places_;
    std::map<std::pair<std::uint32_t, std::string>, std::uint32_t> numbers_; // by what it is in, and the key there
    std::vector<std::string_view> bases_;                                    // by number
    std::map<std::string, std::uint32_t, std::less<>> base_numbers_;
    std::map<std::string, std::uint32_t, std::less<>> identifiers_; // places by URI or URI#anchor
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
