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

/// A value of the schema's text, and where it stands.
struct schema_place {
    json_value value;
    std::string pointer; ///< from the root, "" for the root itself
    std::string base;    ///< the URI that references here are relative to
};

/// The schema as places with numbers, made as they are asked for; a place has one number.
class schema_document {
public:
    explicit schema_document(const json_document& text) : root_(text.root()) {
        find_identifiers();
        (void)add({root_, "", base_of(root_, "")});
    }

    /// Bytes of the longest key in the text.
    [[nodiscard]] std::size_t longest_key() const noexcept { return longest_key_; }
    [[nodiscard]] const schema_place& at(std::uint32_t place) const { return places_[place]; }
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
        const std::string uri = resolved_uri(places_[place].base, reference);
        const std::size_t mark = (std::min)(uri.find('#'), uri.size());
        const std::string fragment = percent_decoded(std::string_view(uri).substr((std::min)(mark + 1, uri.size())));
        const std::string document = uri.substr(0, mark);
        if (!fragment.empty() && fragment[0] != '/') {
            const auto anchor = identifiers_.find(document + "#" + fragment);
            return anchor == identifiers_.end() ? std::nullopt : go_to(anchor->second);
        }
        const auto found = identifiers_.find(document);
        return found == identifiers_.end() ? std::nullopt : go_to(found->second + fragment);
    }

private:
    [[nodiscard]] static std::string base_of(json_value value, const std::string& base) {
        const auto id = value.find("$id");
        const auto text = id ? id->as_string() : std::nullopt;
        return text ? resolved_uri(base, *text) : base;
    }
    [[nodiscard]] std::uint32_t child(std::uint32_t place, std::string_view key, json_value value) {
        const schema_place& parent = places_[place];
        std::string pointer = parent.pointer + pointer_step(key);
        std::string base = base_of(value, parent.base);
        return add({value, std::move(pointer), std::move(base)});
    }
    [[nodiscard]] std::uint32_t add(schema_place place) {
        const auto [found, is_new] = numbers_.try_emplace(place.pointer, static_cast<std::uint32_t>(places_.size()));
        if (is_new) {
            places_.push_back(std::move(place));
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

    /// Collects what $id and $anchor name, all over the text but in examples of values.
    void find_identifiers() {
        identifiers_[""] = "";
        std::vector<schema_place> todo{{root_, "", ""}};
        while (!todo.empty()) {
            const schema_place at = std::move(todo.back());
            todo.pop_back();
            const std::string base = base_of(at.value, at.base);
            if (base != at.base) {
                identifiers_.try_emplace(base.substr(0, base.find('#')), at.pointer);
                identifiers_.try_emplace(base, at.pointer);
            }
            const auto anchor = at.value.find("$anchor");
            if (anchor && anchor->as_string()) {
                identifiers_.try_emplace(base.substr(0, base.find('#')) + "#" + std::string(*anchor->as_string()),
                                         at.pointer);
            }
            for (const auto [key, member] : at.value.members()) {
                longest_key_ = (std::max)(longest_key_, key.size());
                if (key.size() <= most_key_bytes && key != "enum" && key != "const" && key != "examples" &&
                    key != "default") {
                    todo.push_back({member, at.pointer + pointer_step(key), base});
                }
            }
            std::size_t index = 0;
            for (const json_value element : at.value.elements()) {
                todo.push_back({element, at.pointer + "/" + std::to_string(index++), base});
            }
        }
    }

    /// Follows a pointer from the root.
    [[nodiscard]] std::optional<std::uint32_t> go_to(std::string_view pointer) {
        std::uint32_t place = 0;
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

    json_value root_;
    std::size_t longest_key_ = 0;
    std::vector<schema_place> places_;
    std::map<std::string, std::uint32_t, std::less<>> numbers_;   // by pointer
    std::map<std::string, std::string, std::less<>> identifiers_; // URI or URI#anchor to pointer
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
