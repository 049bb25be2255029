// SPDX-License-Identifier: MIT
// json_document: reads JSON strictly by RFC 8259; append_json_string writes strings as pure ASCII.
#ifndef BITNET_IO_JSON_HPP
#define BITNET_IO_JSON_HPP

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/decimal.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/core/utf8.hpp>

#include <algorithm>
#include <cassert>
#include <charconv>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

namespace bitnet::inline BITNET_ABI {

namespace detail {
class json_parser;
} // namespace detail

enum class json_type : std::uint8_t { null, boolean, number, string, array, object };

/// "null", "boolean", ...
[[nodiscard]] constexpr std::string_view name_of(json_type type) noexcept {
    constexpr std::string_view names[] = {"null", "boolean", "number", "string", "array", "object"};
    return names[static_cast<std::size_t>(type)];
}

namespace detail {

/// One value, key or container in a json_document's table; containers come before what they hold.
struct json_node {
    std::uint32_t start; ///< strings, numbers: first character; objects: first place in the order of keys; bool: value
    std::uint32_t size;  ///< strings, numbers: characters; containers: elements or members
    std::uint32_t next;  ///< the node after this one and all that it holds
    json_type type;
};

} // namespace detail

struct json_member;

/// A value inside a json_document, which must outlive it; the size of three pointers, to be passed by value.
class json_value {
public:
    template <class Item> class sequence;

    [[nodiscard]] json_type type() const noexcept { return node().type; }
    [[nodiscard]] bool is_null() const noexcept { return type() == json_type::null; }
    [[nodiscard]] bool is_object() const noexcept { return type() == json_type::object; }
    [[nodiscard]] bool is_array() const noexcept { return type() == json_type::array; }

    /// The value if it is of that type, otherwise nullopt.
    [[nodiscard]] std::optional<bool> as_bool() const noexcept {
        return type() == json_type::boolean ? std::optional{node().start != 0} : std::nullopt;
    }
    [[nodiscard]] std::optional<std::string_view> as_string() const noexcept {
        return type() == json_type::string ? std::optional{characters()} : std::nullopt;
    }
    /// A number that is written without fraction and exponent and fits T; -0 is 0.
    template <std::integral T> [[nodiscard]] std::optional<T> as_integer() const noexcept {
        T value{};
        std::string_view text = type() == json_type::number ? characters() : std::string_view{};
        text.remove_prefix(text == "-0" ? 1 : 0);
        const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
        const bool whole = !text.empty() && read.ec == std::errc{} && read.ptr == text.data() + text.size();
        return whole ? std::optional{value} : std::nullopt;
    }
    /// The characters of a number, as it is written.
    [[nodiscard]] std::optional<std::string_view> as_number_text() const noexcept {
        return type() == json_type::number ? std::optional{characters()} : std::nullopt;
    }
    /// A number as the nearest double; nullopt above the largest one. Costs microseconds.
    [[nodiscard]] std::optional<double> as_double() const noexcept {
        return type() == json_type::number ? detail::parse_decimal(characters()) : std::nullopt;
    }

    /// A number as the text spells it.
    [[nodiscard]] std::optional<std::string_view> number_text() const noexcept {
        return type() == json_type::number ? std::optional{characters()} : std::nullopt;
    }

    /// Elements of an array or members of an object; 0 for other types.
    [[nodiscard]] std::size_t size() const noexcept { return is_array() || is_object() ? node().size : 0; }
    /// A forward range of json_value: the elements of an array, in order. Empty for other types.
    [[nodiscard]] sequence<json_value> elements() const noexcept;
    /// A forward range of json_member: the members of an object, in the order of the text. Empty for other types.
    [[nodiscard]] sequence<json_member> members() const noexcept;
    /// The member of an object called `key`; nullopt if there is none or this is not an object. O(log members).
    [[nodiscard]] std::optional<json_value> find(std::string_view key) const noexcept;

private:
    friend class json_document;

    json_value(const detail::json_node* nodes, const std::uint32_t* order, const char* text,
               std::uint32_t index) noexcept
        : nodes_(nodes), order_(order), text_(text), index_(index) {}
    [[nodiscard]] const detail::json_node& node() const noexcept { return nodes_[index_]; }
    [[nodiscard]] std::string_view characters() const noexcept { return {text_ + node().start, node().size}; }
    [[nodiscard]] json_value at(std::uint32_t index) const noexcept { return {nodes_, order_, text_, index}; }

    const detail::json_node* nodes_;
    const std::uint32_t* order_;
    const char* text_;
    std::uint32_t index_;
};

/// A key of an object and its value.
struct json_member {
    std::string_view key;
    json_value value;
};

/// What a json_value holds, one after the other.
template <class Item> class json_value::sequence {
public:
    class iterator {
    public:
        using value_type = Item;
        using difference_type = std::ptrdiff_t;

        iterator() noexcept : at_(nullptr, nullptr, nullptr, 0) {}
        explicit iterator(json_value at, json_value after) noexcept : at_(at), end_(after.index_) { skip_replaced(); }
        [[nodiscard]] Item operator*() const noexcept {
            if constexpr (std::is_same_v<Item, json_member>) {
                return {at_.characters(), at_.at(at_.index_ + 1)};
            } else {
                return at_;
            }
        }
        iterator& operator++() noexcept {
            go_on();
            skip_replaced();
            return *this;
        }
        iterator operator++(int) noexcept {
            const iterator before = *this;
            ++*this;
            return before;
        }
        [[nodiscard]] bool operator==(const iterator& other) const noexcept { return at_.index_ == other.at_.index_; }

    private:
        void go_on() noexcept {
            const std::uint32_t value = at_.index_ + (std::is_same_v<Item, json_member> ? 1u : 0u);
            at_ = at_.at(at_.nodes_[value].next);
        }
        /// Members whose key comes again.
        void skip_replaced() noexcept {
            while (std::is_same_v<Item, json_member> && at_.index_ != end_ && at_.type() != json_type::string) {
                go_on();
            }
        }

        json_value at_;
        std::uint32_t end_ = 0;
    };

    sequence(json_value first, json_value after, std::size_t size) noexcept
        : first_(first), after_(after), size_(size) {}
    [[nodiscard]] iterator begin() const noexcept { return iterator{first_, after_}; }
    [[nodiscard]] iterator end() const noexcept { return iterator{after_, after_}; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

private:
    json_value first_;
    json_value after_;
    std::size_t size_;
};

inline json_value::sequence<json_value> json_value::elements() const noexcept {
    const std::uint32_t first = index_ + 1;
    return {at(first), at(is_array() ? node().next : first), is_array() ? size() : 0};
}

inline json_value::sequence<json_member> json_value::members() const noexcept {
    const std::uint32_t first = index_ + 1;
    return {at(first), at(is_object() ? node().next : first), is_object() ? size() : 0};
}

inline std::optional<json_value> json_value::find(std::string_view key) const noexcept {
    if (!is_object()) {
        return std::nullopt;
    }
    const std::uint32_t* first = order_ + node().start;
    const std::uint32_t* last = first + node().size;
    const auto less = [&](std::uint32_t i, std::string_view k) { return at(i).characters() < k; };
    const std::uint32_t* found = std::lower_bound(first, last, key, less);
    return found != last && at(*found).characters() == key ? std::optional{at(*found + 1)} : std::nullopt;
}

struct json_options {
    std::uint32_t depth = 64;              ///< containers inside each other; at most 1024
    const memory_source* memory = nullptr; ///< null: operator new
    bool last_of_key = false;              ///< a key that an object has twice has its last value; false: is refused
};

/// A JSON text, read and checked. Owns all that its values show: the text itself need not outlive it. Move-only;
/// values stay valid when it moves.
class json_document {
public:
    /// Reads exactly one JSON value, by RFC 8259: UTF-8 only, no comments, no trailing commas. Stricter
    /// where the RFC leaves room: a key twice in an object (see json_options) and a lone surrogate are refused, and so
    /// is a byte order mark. `name` is what error messages call the text. Cost: O(n log n); memory for
    /// 16 bytes per '[', '{', ',' and ':' of the text, 4 more per ':', and the text once, allocated before reading.
    /// \pre options.depth <= 1024
    /// \return errc::bad_json with line and byte offset, errc::bad_utf8 likewise, or errc::out_of_memory.
    [[nodiscard]] static result<json_document> parse(std::string_view text, std::string_view name,
                                                     json_options options = {});

    [[nodiscard]] json_value root() const& noexcept { return {nodes_.data(), order_.data(), text_.data(), 0}; }
    json_value root() && = delete; // would dangle

private:
    friend class detail::json_parser;

    buffer<detail::json_node> nodes_;
    buffer<std::uint32_t> order_; // per object: the nodes of its keys, sorted
    buffer<char> text_;           // strings without escapes, numbers as written
};

namespace detail {

/// One reading of a JSON text. Use json_document::parse.
class json_parser {
public:
    json_parser(std::string_view text, std::string_view name, json_options options)
        : text_(text), name_(name), depth_left_(options.depth),
          last_of_key_(options.last_of_key), from_{options.memory, {memory_use::temporary, false}} {
        assert(options.depth <= 1024);
    }

    [[nodiscard]] result<json_document> run() {
        if (text_.size() >= (std::numeric_limits<std::uint32_t>::max)()) {
            return error{errc::bad_json, sentence({name_, ": ", text_.size(),
                                                   " bytes are more than a JSON text may have here (4 GiB)"})};
        }
        if (!allocate_tables() || !read_text()) {
            return std::move(failure_);
        }
        return std::move(document_);
    }

private:
    // Every step returns whether to go on; if not, the error is in failure_.
    [[nodiscard]] bool fail(std::string_view what, errc code = errc::bad_json) {
        const auto lines = std::count(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(at_), '\n');
        return set_error(failure_, code, {name_, ": line ", lines + 1, ", byte ", at_, ": "}, {what});
    }

    /// Every value but the first follows one of [ { , : and every key follows { or , so counting them bounds both.
    [[nodiscard]] bool allocate_tables() {
        std::uint64_t bound = 1;
        for (const char c : text_) {
            bound += c == '[' || c == '{' || c == ',' || c == ':' ? 1 : 0;
        }
        const auto colons = static_cast<std::uint64_t>(std::count(text_.begin(), text_.end(), ':'));
        const std::string what = sentence({name_, ": JSON"});
        allocate(document_.nodes_, bound + 1, what, failure_, from_); // one more: the `next` of the last
        allocate(document_.order_, colons, what, failure_, from_);
        allocate(document_.text_, text_.size(), what, failure_, from_);
        return failure_.code == errc{};
    }

    [[nodiscard]] bool read_text() {
        skip_whitespace();
        if (!read_value()) {
            return false;
        }
        skip_whitespace();
        return at_end() || fail("the end of the text is expected here");
    }

    [[nodiscard]] bool at_end() const noexcept { return at_ == text_.size(); }
    [[nodiscard]] char peek() const noexcept { return at_end() ? '\0' : text_[at_]; }
    bool skip(char wanted) noexcept {
        const bool found = !at_end() && text_[at_] == wanted;
        at_ += found ? 1 : 0;
        return found;
    }
    void skip_whitespace() noexcept {
        while (!at_end() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\r' || text_[at_] == '\t')) {
            ++at_;
        }
    }

    [[nodiscard]] json_node& open_node(json_type type) noexcept {
        json_node& node = document_.nodes_[nodes_used_++];
        node = {0, 0, nodes_used_, type};
        return node;
    }
    void put(char c) noexcept { document_.text_[text_used_++] = c; }
    void put(std::string_view characters) noexcept {
        std::copy(characters.begin(), characters.end(), document_.text_.data() + text_used_);
        text_used_ += static_cast<std::uint32_t>(characters.size());
    }

    [[nodiscard]] bool read_value() {
        switch (peek()) {
        case '{':
            return read_object();
        case '[':
            return read_array();
        case '"':
            return read_string();
        case 't':
            return read_word("true", json_type::boolean, 1);
        case 'f':
            return read_word("false", json_type::boolean, 0);
        case 'n':
            return read_word("null", json_type::null, 0);
        default:
            return read_number();
        }
    }

    [[nodiscard]] bool read_word(std::string_view word, json_type type, std::uint32_t value) {
        if (text_.substr(at_, word.size()) != word) {
            return fail("a value is expected here");
        }
        at_ += word.size();
        open_node(type).start = value;
        return true;
    }

    std::size_t skip_digits() noexcept {
        const std::size_t first = at_;
        while (peek() >= '0' && peek() <= '9') {
            ++at_;
        }
        return at_ - first;
    }

    [[nodiscard]] bool read_number() {
        const std::size_t first = at_;
        const bool minus = skip('-');
        if (!skip('0') && skip_digits() == 0) {
            return fail(minus      ? "a digit is expected here"
                        : at_end() ? "the text ends where a value is expected"
                                   : "a value is expected here");
        }
        if (skip('.') && skip_digits() == 0) {
            return fail("a digit is expected after the decimal point");
        }
        if (skip('e') || skip('E')) {
            if (!skip('-')) {
                skip('+');
            }
            if (skip_digits() == 0) {
                return fail("a digit is expected in the exponent");
            }
        }
        json_node& node = open_node(json_type::number);
        node.start = text_used_;
        node.size = static_cast<std::uint32_t>(at_ - first);
        put(text_.substr(first, at_ - first));
        return true;
    }

    [[nodiscard]] bool read_string() {
        assert(peek() == '"');
        ++at_;
        json_node& node = open_node(json_type::string);
        node.start = text_used_;
        while (!skip('"')) {
            if (!(peek() == '\\' ? read_escape() : read_characters())) {
                return false;
            }
        }
        node.size = text_used_ - node.start;
        return true;
    }

    [[nodiscard]] bool read_characters() {
        if (at_end()) {
            return fail("the text ends inside a string");
        }
        if (static_cast<unsigned char>(text_[at_]) < 0x20) {
            return fail("a control character inside a string must be escaped");
        }
        const auto character = first_code_point(text_.substr(at_));
        if (character.value == invalid_code_point) {
            return fail("the string is not UTF-8", errc::bad_utf8);
        }
        put(text_.substr(at_, character.size));
        at_ += character.size;
        return true;
    }

    [[nodiscard]] bool read_escape() {
        constexpr std::string_view written = "\"\\/bfnrt";
        constexpr std::string_view meant = "\"\\/\b\f\n\r\t";
        ++at_;
        if (skip('u')) {
            return read_unicode_escape();
        }
        const auto which = at_end() ? std::string_view::npos : written.find(text_[at_]);
        if (which == std::string_view::npos) {
            return fail("there is no such escape in JSON");
        }
        put(meant[which]);
        ++at_;
        return true;
    }

    [[nodiscard]] bool read_unicode_escape() {
        auto first = read_four_digits();
        if (!first) {
            return fail("\\u needs four hexadecimal digits");
        }
        char32_t code_point = *first;
        if (code_point >= 0xd800 && code_point < 0xe000) {
            const bool high = code_point < 0xdc00;
            const auto low = high && skip('\\') && skip('u') ? read_four_digits() : std::nullopt;
            if (!low || *low < 0xdc00 || *low > 0xdfff) {
                return fail("a surrogate must be one of a pair");
            }
            code_point = 0x10000 + ((code_point - 0xd800) << 10) + (*low - 0xdc00);
        }
        put_utf8(code_point);
        return true;
    }

    [[nodiscard]] std::optional<char32_t> read_four_digits() noexcept {
        std::uint32_t value = 0;
        const std::string_view digits = text_.substr(at_, 4);
        const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
        if (digits.size() != 4 || read.ec != std::errc{} || read.ptr != digits.data() + 4) {
            return std::nullopt;
        }
        at_ += 4;
        return value;
    }

    /// At most 4 bytes for the 12 of a surrogate pair, 3 for the 6 of a single escape: the text only shrinks.
    void put_utf8(char32_t c) noexcept {
        const auto tail = [&](unsigned shift) { put(static_cast<char>(0x80u | ((c >> shift) & 0x3fu))); };
        if (c < 0x80) {
            put(static_cast<char>(c));
        } else if (c < 0x800) {
            put(static_cast<char>(0xc0u | (c >> 6)));
            tail(0);
        } else if (c < 0x10000) {
            put(static_cast<char>(0xe0u | (c >> 12)));
            tail(6);
            tail(0);
        } else {
            put(static_cast<char>(0xf0u | (c >> 18)));
            tail(12);
            tail(6);
            tail(0);
        }
    }

    [[nodiscard]] bool enter() {
        if (depth_left_ == 0) {
            return fail("the containers are nested more deeply than is allowed here");
        }
        --depth_left_;
        ++at_;
        skip_whitespace();
        return true;
    }

    [[nodiscard]] bool read_array() {
        if (!enter()) {
            return false;
        }
        json_node& array = open_node(json_type::array);
        bool more = !skip(']');
        while (more) {
            if (!read_value()) {
                return false;
            }
            ++array.size;
            skip_whitespace();
            more = skip(',');
            if (!more && !skip(']')) {
                return fail("',' or ']' is expected here");
            }
            skip_whitespace_if(more);
        }
        array.next = nodes_used_;
        ++depth_left_;
        return true;
    }

    [[nodiscard]] bool read_object() {
        if (!enter()) {
            return false;
        }
        json_node& object = open_node(json_type::object);
        bool more = !skip('}');
        while (more) {
            if (!read_member()) {
                return false;
            }
            ++object.size;
            skip_whitespace();
            more = skip(',');
            if (!more && !skip('}')) {
                return fail("',' or '}' is expected here");
            }
            skip_whitespace_if(more);
        }
        object.next = nodes_used_;
        ++depth_left_;
        return sort_keys(object);
    }

    void skip_whitespace_if(bool more) noexcept {
        if (more) {
            skip_whitespace();
        }
    }

    [[nodiscard]] bool read_member() {
        if (peek() != '"') {
            return fail("a key in double quotes is expected here");
        }
        if (!read_string()) {
            return false;
        }
        skip_whitespace();
        if (!skip(':')) {
            return fail("':' is expected after a key");
        }
        skip_whitespace();
        return read_value();
    }

    [[nodiscard]] bool sort_keys(json_node& object) {
        object.start = order_used_;
        const json_node* nodes = document_.nodes_.data();
        std::uint32_t key = static_cast<std::uint32_t>(&object - nodes) + 1;
        for (std::uint32_t i = 0; i < object.size; ++i) {
            document_.order_[order_used_++] = key;
            key = nodes[key + 1].next;
        }
        const auto characters = [&](std::uint32_t node) {
            return std::string_view(document_.text_.data() + nodes[node].start, nodes[node].size);
        };
        const auto order = document_.order_.span().subspan(object.start, object.size);
        std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
            const int order_of_keys = characters(a).compare(characters(b));
            return order_of_keys != 0 ? order_of_keys < 0 : a > b;
        });
        const auto is_same = [&](std::uint32_t a, std::uint32_t b) { return characters(a) == characters(b); };
        const auto same = std::adjacent_find(order.begin(), order.end(), is_same);
        if (last_of_key_) {
            replace_members(object, static_cast<std::size_t>(same - order.begin()));
        }
        return last_of_key_ || same == order.end() ||
               fail(sentence({"the object that ends here has the key ", quoted{characters(*same)}, " twice"}));
    }

    /// Marks members whose key comes again, which are those behind another one of that key in the sorted order.
    void replace_members(json_node& object, std::size_t first) noexcept {
        std::uint32_t* const order = document_.order_.data() + object.start;
        json_node* const nodes = document_.nodes_.data();
        std::size_t kept = first + 1;
        for (std::size_t i = first + 1; i < object.size; ++i) {
            json_node& last = nodes[order[kept - 1]];
            json_node& key = nodes[order[i]];
            const char* const text = document_.text_.data();
            if (std::string_view(text + last.start, last.size) == std::string_view(text + key.start, key.size)) {
                key.type = json_type::null;
            } else {
                order[kept++] = order[i];
            }
        }
        object.size = static_cast<std::uint32_t>((std::min)(kept, std::size_t{object.size}));
    }

    std::string_view text_;
    std::string_view name_;
    std::size_t at_ = 0;
    std::uint32_t depth_left_;
    bool last_of_key_;
    detail::memory_from from_;
    json_document document_;
    std::uint32_t nodes_used_ = 0;
    std::uint32_t text_used_ = 0;
    std::uint32_t order_used_ = 0;
    error failure_;
};

} // namespace detail

inline result<json_document> json_document::parse(std::string_view text, std::string_view name, json_options options) {
    return detail::guarded([&] { return detail::json_parser(text, name, options).run(); });
}

namespace detail {

/// Appends \uXXXX.
inline void append_json_escape(std::string& out, std::uint32_t unit) {
    constexpr std::string_view digits = "0123456789abcdef";
    out += "\\u";
    for (int shift = 12; shift >= 0; shift -= 4) {
        out += digits[(unit >> shift) & 15u];
    }
}

/// Appends `utf8` as a JSON string with its quotes, in pure ASCII: what is not printable ASCII becomes \uXXXX, beyond
/// U+FFFF as a surrogate pair, and every longest prefix of something that is not UTF-8 becomes \ufffd.
inline void append_json_string(std::string& out, std::string_view utf8) {
    constexpr std::string_view meant = "\"\\\b\f\n\r\t";
    constexpr std::string_view written = "\"\\bfnrt";
    out += '"';
    while (!utf8.empty()) {
        const auto first = first_code_point(utf8);
        const bool valid = first.value != invalid_code_point;
        const char32_t c = valid ? first.value : 0xfffd;
        const auto named = c < 0x80 ? meant.find(static_cast<char>(c)) : std::string_view::npos;
        if (named != std::string_view::npos) {
            out += '\\';
            out += written[named];
        } else if (c >= 0x20 && c < 0x7f) {
            out += static_cast<char>(c);
        } else if (c < 0x10000) {
            append_json_escape(out, c);
        } else {
            append_json_escape(out, 0xd800u + ((c - 0x10000u) >> 10));
            append_json_escape(out, 0xdc00u + ((c - 0x10000u) & 0x3ffu));
        }
        utf8.remove_prefix(valid ? first.size : std::max<std::size_t>(utf8_prefix_size(utf8), 1));
    }
    out += '"';
}

} // namespace detail

} // namespace bitnet::inline BITNET_ABI

#endif
