// SPDX-License-Identifier: MIT
// tool_set: functions that a model may call: their schemas, the grammar of a call, and the call itself.
#ifndef BITNET_CONSTRAIN_TOOL_SET_HPP
#define BITNET_CONSTRAIN_TOOL_SET_HPP

#include <bitnet/constrain/fields.hpp>
#include <bitnet/constrain/from_json.hpp>
#include <bitnet/constrain/grammar.hpp>
#include <bitnet/constrain/json_schema.hpp>
#include <bitnet/constrain/schema_options.hpp>
#include <bitnet/constrain/type_schema.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/core/utf8.hpp>
#include <bitnet/io/json.hpp>
#include <bitnet/io/python_json.hpp>
#include <bitnet/text/tool_form.hpp>

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <iterator>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI {

/// What a model knows a function by: its name, and a sentence about what it does. Borrows both.
class tool_name {
public:
    constexpr tool_name(std::string_view name, std::string_view description = {}) noexcept
        : name_(name), description_(description) {}
    constexpr tool_name(const char* name) noexcept : name_(name) {}

    [[nodiscard]] constexpr std::string_view name() const noexcept { return name_; }
    [[nodiscard]] constexpr std::string_view description() const noexcept { return description_; }

private:
    std::string_view name_;
    std::string_view description_;
};

namespace detail {

/// What a parameter of type T is kept as: a view as a string, a reference as what it refers to.
template <class T> struct argument_of { using type = std::remove_cvref_t<T>; };
template <class T>
requires std::same_as<std::remove_cvref_t<T>, std::string_view>
struct argument_of<T> {
    using type = std::string;
};

/// The signature of a function, a pointer to one, or an object that is called.
template <class F> struct signature_of : signature_of<decltype(&F::operator())> {};
template <class R, class... A> struct signature_of<R (*)(A...)> {
    using result_type = R;
    using arguments = std::tuple<typename argument_of<A>::type...>;
    static constexpr std::size_t arity = sizeof...(A);
};
template <class R, class... A> struct signature_of<R (*)(A...) noexcept> : signature_of<R (*)(A...)> {};
template <class C, class R, class... A> struct signature_of<R (C::*)(A...)> : signature_of<R (*)(A...)> {};
template <class C, class R, class... A> struct signature_of<R (C::*)(A...) const> : signature_of<R (*)(A...)> {};
template <class C, class R, class... A> struct signature_of<R (C::*)(A...) noexcept> : signature_of<R (*)(A...)> {};
template <class C, class R, class... A>
struct signature_of<R (C::*)(A...) const noexcept> : signature_of<R (*)(A...)> {};

template <class T> inline constexpr bool is_result = false;
template <class T> inline constexpr bool is_result<result<T>> = true;

/// One function of a tool_set.
class tool {
public:
    tool(std::string name, std::string description) : name_(std::move(name)), description_(std::move(description)) {}
    tool(const tool&) = delete;
    tool& operator=(const tool&) = delete;
    virtual ~tool() = default;

    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] const std::string& description() const noexcept { return description_; }

    /// The schema of its arguments, at that place of a document.
    [[nodiscard]] virtual std::string schema(std::string place) const = 0;
    [[nodiscard]] virtual result<std::string> call(json_value arguments) = 0;

private:
    std::string name_;
    std::string description_;
};

template <class Function> class tool_of final : public tool {
public:
    using signature = signature_of<Function>;
    using names = std::array<std::string, signature::arity>;

    tool_of(const tool_name& called, Function function, names parameters)
        : tool(std::string(called.name()), std::string(called.description())), function_(std::move(function)),
          parameters_(std::move(parameters)) {}

    [[nodiscard]] std::string schema(std::string place) const override {
        std::string made = "{\"type\":\"object\",\"properties\":{";
        std::string required;
        each_parameter([&]<std::size_t Place>() {
            using type = std::tuple_element_t<Place, typename signature::arguments>;
            made += Place == 0 ? "" : ",";
            append_json_string(made, parameters_[Place]);
            made += ':';
            made += member_schema<type>(place, parameters_[Place]);
            if constexpr (!is_optional<type>) {
                required += required.empty() ? "" : ",";
                append_json_string(required, parameters_[Place]);
            }
        });
        return made.append("},\"required\":[").append(required).append("],\"additionalProperties\":false}");
    }

    [[nodiscard]] result<std::string> call(json_value from) override {
        json_reader reader(name());
        typename signature::arguments arguments{};
        std::size_t found = 0;
        bool is_read = from.is_object() || reader.mismatch("an object of arguments", from);
        each_parameter([&]<std::size_t Place>() {
            is_read = is_read && reader.read_member(from, parameters_[Place], std::get<Place>(arguments), {}, found);
        });
        if (!is_read || !reader.refuse_others(from, found)) {
            return std::move(reader).take_failure();
        }
        return outcome_of(arguments);
    }

private:
    template <class Do> static void each_parameter(Do&& with) {
        [&]<std::size_t... Places>(std::index_sequence<Places...>) { (with.template operator()<Places>(), ...); }
        (std::make_index_sequence<signature::arity>{});
    }

    template <class T> [[nodiscard]] static std::string member_schema(const std::string& place, std::string_view key) {
        type_schema_writer writer(place + type_schema_writer::property_step(key));
        if constexpr (is_optional<T>) {
            writer.template write<typename T::value_type>({});
        } else {
            writer.template write<T>({});
        }
        return std::move(writer).take();
    }

    [[nodiscard]] result<std::string> outcome_of(typename signature::arguments& arguments) {
        using returned = typename signature::result_type;
        if constexpr (std::is_void_v<returned>) {
            std::apply(function_, arguments);
            return std::string("null");
        } else if constexpr (is_result<returned>) {
            auto made = std::apply(function_, arguments);
            if (!made) {
                return failed(made);
            }
            if constexpr (std::is_void_v<typename returned::value_type>) {
                return std::string("null");
            } else {
                return to_json(*made);
            }
        } else {
            return to_json<std::remove_cvref_t<returned>>(std::apply(function_, arguments));
        }
    }

    Function function_;
    names parameters_;
};

/// A function whose arguments a JSON Schema describes.
template <class Function> class tool_with_schema final : public tool {
public:
    /// \param schema as it is shown to models \param embedded the same within another one
    tool_with_schema(const tool_name& called, std::string schema, std::string embedded, Function function)
        : tool(std::string(called.name()), std::string(called.description())), schema_(std::move(schema)),
          embedded_(std::move(embedded)), function_(std::move(function)) {}

    [[nodiscard]] std::string schema(std::string place) const override { return place == "#" ? schema_ : embedded_; }

    [[nodiscard]] result<std::string> call(json_value from) override {
        std::string arguments;
        append_python_json(arguments, from);
        return function_(std::string_view(arguments));
    }

private:
    std::string schema_;
    std::string embedded_;
    Function function_;
};

} // namespace detail

/// Functions of the program that a model may call. A call is the JSON text {"name":...,"arguments":{...}}. The types of
/// parameters are those of fields_of's members, by value, by const reference or as std::string_view; an argument for a
/// std::optional may be missing. A function may return nothing, such a value, or a result of either. Belongs to one
/// thread at a time.
class tool_set {
public:
    /// \param function a pointer to a function, or an object with one operator(), which is moved in. Names of
    /// parameters are in their order. \return errc::invalid_argument for an empty name or one that is there already, of
    /// a function or of a parameter; errc::out_of_memory.
    template <class Function, std::size_t N>
    [[nodiscard]] result<void> add(tool_name called, Function function, const std::string_view (&parameters)[N]) {
        static_assert(detail::signature_of<Function>::arity == N, "a name for each parameter is needed, and no more");
        return add_named(called, std::move(function), std::span<const std::string_view>(parameters));
    }
    /// The same for a function without parameters.
    template <class Function> [[nodiscard]] result<void> add(tool_name called, Function function) {
        static_assert(detail::signature_of<Function>::arity == 0, "name the parameters: {\"first\", \"second\"}");
        return add_named(called, std::move(function), {});
    }

    /// A function whose arguments are described by a JSON Schema, an object's: function(std::string_view) gets them as
    /// a JSON text that is valid by it if the model was held to it, and returns a JSON text or a result of one.
    /// \return errc::invalid_argument as above; what grammar::json_schema returns for such a call.
    template <class Function>
    [[nodiscard]] result<void> add_with_schema(tool_name called, std::string_view schema, Function function) {
        return detail::guarded([&]() -> result<void> {
            if (auto checked = check_names(called, {}); !checked) {
                return checked;
            }
            auto embedded = embedded_schema(called.name(), schema);
            if (!embedded) {
                return failed(embedded);
            }
            using made_of = detail::tool_with_schema<Function>;
            tools_.push_back(
                std::make_unique<made_of>(called, std::string(schema), *std::move(embedded), std::move(function)));
            auto compiled = call_grammar(called.name());
            if (!compiled) {
                tools_.pop_back();
                return failed(compiled);
            }
            return {};
        });
    }
    /// One that the model may call and call() does not make: the program sees to it.
    [[nodiscard]] result<void> declare(tool_name called, std::string_view schema) {
        const std::string name(called.name());
        return add_with_schema(called, schema, [name](std::string_view) -> result<std::string> {
            return detail::error_saying(errc::invalid_argument,
                                        {"tool ", detail::quoted{name}, ": was declared without a function"});
        });
    }
    /// The same for all functions of a list as declarations() writes it, which is OpenAI's.
    /// \return errc::bad_json, errc::bad_value for what is no such list; and as declare(). None is added then.
    [[nodiscard]] result<void> declare_list(std::string_view json) {
        const std::size_t before = tools_.size();
        auto done = detail::guarded([&] { return read_list(json); });
        if (!done) {
            tools_.resize(before);
        }
        return done;
    }

    [[nodiscard]] std::size_t size() const noexcept { return tools_.size(); }
    [[nodiscard]] bool contains(std::string_view name) const noexcept {
        return std::any_of(tools_.begin(), tools_.end(), [&](const auto& each) { return each->name() == name; });
    }

    /// The JSON Schema of one call of any of the functions, or of the one of that name. \param key of its arguments
    /// \return errc::out_of_memory.
    [[nodiscard]] result<std::string> call_schema(std::string_view name = {},
                                                  std::string_view key = "arguments") const {
        return detail::guarded([&]() -> result<std::string> {
            std::string made = "{\"anyOf\":[";
            for (std::size_t i = 0, written = 0; i < tools_.size(); ++i) {
                if (!name.empty() && tools_[i]->name() != name) {
                    continue;
                }
                made += written == 0 ? "" : ",";
                made += "{\"type\":\"object\",\"properties\":{\"name\":{\"const\":";
                detail::append_json_string(made, tools_[i]->name());
                made.append("},\"").append(key).append("\":");
                made += tools_[i]->schema(
                    std::string("#/anyOf/").append(std::to_string(written++)).append("/properties/").append(key));
                made.append("},\"required\":[\"name\",\"").append(key).append("\"],\"additionalProperties\":false}");
            }
            return made + "]}";
        });
    }

    /// The grammar of one call, of any of the functions or of the one of that name.
    /// \return errc::bad_schema without any function, and what grammar::json_schema returns.
    [[nodiscard]] result<grammar> call_grammar(std::string_view name = {}) const {
        return call_grammar(name, {.before = {}, .after = {}}, {.closed = true});
    }
    /// The same with the texts of a form in front and behind, its marks not among them.
    [[nodiscard]] result<grammar> call_grammar(std::string_view name, const tool_form& form,
                                               const schema_options& options) const {
        auto schema = call_schema(name, form.arguments);
        return schema ? detail::json_schema_between(form.before, form.after, *schema, options, "tools")
                      : failed(schema);
    }

    /// What the functions are, as chat templates show it to models: a JSON array of {"type":"function","function":
    /// {"name":...,"description":...,"parameters":...}}. \return errc::out_of_memory.
    [[nodiscard]] result<std::string> declarations() const {
        return detail::guarded([&]() -> result<std::string> {
            std::string made = "[";
            for (const auto& each : tools_) {
                made += made.size() == 1 ? "" : ",";
                made += "{\"type\":\"function\",\"function\":{\"name\":";
                detail::append_json_string(made, each->name());
                if (!each->description().empty()) {
                    made += ",\"description\":";
                    detail::append_json_string(made, each->description());
                }
                made.append(",\"parameters\":").append(each->schema("#")).append("}}");
            }
            return made + "]";
        });
    }

    /// Makes a call. \param arguments a JSON object \return as call(text)
    [[nodiscard]] result<std::string> call(std::string_view name, std::string_view arguments) {
        return detail::guarded([&]() -> result<std::string> {
            const auto json = json_document::parse(arguments, name, detail::written_json);
            return json ? call_of(name, json->root()) : failed(json);
        });
    }
    /// Reads a call and makes it. \return what the function returned, as a JSON text, null if nothing;
    /// errc::bad_json; errc::bad_value where the text is no such call, naming the place; the function's own error.
    [[nodiscard]] result<std::string> call(std::string_view text) {
        return detail::guarded([&]() -> result<std::string> {
            const auto json = json_document::parse(text, "call", detail::written_json);
            if (!json) {
                return failed(json);
            }
            const auto name = json->root().find("name");
            const auto arguments = json->root().find("arguments");
            const auto called = name ? name->as_string() : std::nullopt;
            if (!called || !arguments || json->root().size() != 2) {
                return detail::error_saying(
                    errc::bad_value, {"call: an object of a name and of arguments is expected, and nothing else"});
            }
            return call_of(*called, *arguments);
        });
    }

private:
    [[nodiscard]] result<std::string> call_of(std::string_view name, json_value arguments) {
        for (const auto& each : tools_) {
            if (each->name() == name) {
                return each->call(arguments);
            }
        }
        return detail::error_saying(errc::bad_value, {"call: there is no function ", detail::quoted{name}});
    }

    /// The schema as a document of its own within another one, so that references in it mean what they did, and of
    /// objects only.
    [[nodiscard]] result<std::string> embedded_schema(std::string_view name, std::string_view schema) const {
        const auto json = json_document::parse(schema, name, detail::deep_json);
        if (!json) {
            return failed(json);
        }
        const auto type = json->root().find("type");
        if (!json->root().is_object() || (type && type->as_string() != std::optional<std::string_view>("object"))) {
            return detail::error_saying(errc::invalid_argument,
                                        {"tool ", detail::quoted{name}, ": its schema is not one of an object"});
        }
        const std::string_view members = schema.substr(schema.find('{') + 1);
        std::string made = "{";
        made.append(json->root().find("$id") ? "" : "\"$id\":\"tool:" + std::to_string(tools_.size()) + "/\",");
        made.append(type ? "" : "\"type\":\"object\",");
        made.append(has_no_parameters(json->root()) ? "\"additionalProperties\":false," : "");
        if (json->root().size() == 0) {
            made.pop_back(); // the comma
        }
        return made.append(members);
    }
    /// Whether a schema says nothing of its object's members: so functions without parameters are declared.
    [[nodiscard]] static bool has_no_parameters(json_value schema) noexcept {
        constexpr std::string_view neutral[] = {"type", "required", "title", "description", "$schema", "$id"};
        for (const auto [key, value] : schema.members()) {
            const bool is_empty = key == "properties" && value.size() == 0;
            if (!is_empty && std::find(std::begin(neutral), std::end(neutral), key) == std::end(neutral)) {
                return false;
            }
        }
        return true;
    }

    [[nodiscard]] result<void> read_list(std::string_view json) {
        const auto list = json_document::parse(json, "tools");
        if (!list) {
            return failed(list);
        }
        if (!list->root().is_array()) {
            return error{errc::bad_value, "tools: a JSON array of functions is expected"};
        }
        std::size_t number = 0;
        for (const json_value each : list->root().elements()) {
            const auto function = each.find("function");
            const auto name = function ? function->find("name") : std::nullopt;
            const auto text = name ? name->as_string() : std::nullopt;
            if (!text) {
                return detail::error_saying(
                    errc::bad_value,
                    {"tools: element ", number, " is no {\"type\":\"function\",\"function\":{\"name\":...}}"});
            }
            const auto description = function->find("description");
            const auto parameters = function->find("parameters");
            std::string schema = "{\"type\":\"object\",\"properties\":{}}";
            if (parameters) {
                schema.clear();
                detail::append_python_json(schema, *parameters);
            }
            const auto told = description ? description->as_string() : std::nullopt;
            if (auto declared = declare({*text, told.value_or(std::string_view{})}, schema); !declared) {
                return declared;
            }
            ++number;
        }
        return {};
    }

    template <class Function>
    [[nodiscard]] result<void> add_named(const tool_name& called, Function function,
                                         std::span<const std::string_view> parameters) {
        using made_of = detail::tool_of<Function>;
        return detail::guarded([&]() -> result<void> {
            if (auto checked = check_names(called, parameters); !checked) {
                return checked;
            }
            typename made_of::names names;
            for (std::size_t i = 0; i < parameters.size(); ++i) {
                names[i] = parameters[i];
            }
            tools_.push_back(std::make_unique<made_of>(called, std::move(function), std::move(names)));
            return {};
        });
    }

    [[nodiscard]] result<void> check_names(const tool_name& called,
                                           std::span<const std::string_view> parameters) const {
        for (const auto& each : tools_) {
            if (each->name() == called.name()) {
                return detail::error_saying(errc::invalid_argument,
                                            {"tool ", detail::quoted{called.name()}, ": there is one of that name"});
            }
        }
        bool is_good = is_name(called.name());
        for (std::size_t i = 0; i < parameters.size(); ++i) {
            is_good = is_good && is_name(parameters[i]);
            for (std::size_t j = 0; j < i; ++j) {
                is_good = is_good && parameters[i] != parameters[j];
            }
        }
        return is_good ? result<void>()
                       : result<void>(detail::error_saying(
                             errc::invalid_argument, {"tool ", detail::quoted{called.name()},
                                                      ": names are UTF-8, not empty, and those of parameters differ"}));
    }
    [[nodiscard]] static bool is_name(std::string_view name) noexcept {
        bool is_good = !name.empty();
        while (is_good && !name.empty()) {
            const detail::decoded_code_point first = detail::first_code_point(name);
            is_good = first.value != detail::invalid_code_point;
            name.remove_prefix(first.size);
        }
        return is_good;
    }

    std::vector<std::unique_ptr<detail::tool>> tools_;
};

} // namespace bitnet::inline BITNET_ABI

#endif
