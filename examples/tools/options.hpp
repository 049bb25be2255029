// SPDX-License-Identifier: MIT
// options: strict command lines for the example programs, so that they need nothing but a compiler.
#pragma once

#include "arguments.hpp"

#include <bitnet/core/decimal.hpp>
#include <bitnet/io/byte_source.hpp>

#include <algorithm>
#include <charconv>
#include <concepts>
#include <cstddef>
#include <cstdio>
#include <functional>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace tools {

/// What one program can be told. Each call of text(), number(), ... adds an option and keeps a reference to where its
/// value goes; what stands there beforehand is the default.
class options {
public:
    /// \param program its name in messages. \param purpose one sentence for --help.
    options(std::string program, std::string purpose) : program_(std::move(program)), purpose_(std::move(purpose)) {}

    /// An option that is there or not.
    void flag(std::string name, bool& target, std::string meaning) {
        add({std::move(name), {}, std::move(meaning), {}, false, [&target](std::string_view) {
                 target = true;
                 return std::string();
             }});
    }

    /// Any text.
    void text(std::string name, std::string value, std::string& target, std::string meaning) {
        add({std::move(name), std::move(value), std::move(meaning), target, false, store(target)});
    }
    /// The same, where a program has to know whether it was given.
    void text(std::string name, std::string value, std::optional<std::string>& target, std::string meaning) {
        add({std::move(name), std::move(value), std::move(meaning), {}, false, [&target](std::string_view given) {
                 target = given;
                 return std::string();
             }});
    }
    /// Any text, and the program cannot do without.
    void required(std::string name, std::string value, std::string& target, std::string meaning) {
        add({std::move(name), std::move(value), std::move(meaning), {}, true, store(target)});
    }

    /// One word of a list. An empty default is called `automatic` in the usage.
    template <class Words>
    void choice(std::string name, const Words& words, std::string& target, std::string meaning,
                std::string automatic = {}) {
        std::string list;
        for (const std::string_view word : words) {
            list.append(list.empty() ? "" : "|").append(word);
        }
        const std::vector<std::string> allowed(std::begin(words), std::end(words));
        const auto set = [&target, allowed, list](std::string_view given) {
            target = given;
            return std::find(allowed.begin(), allowed.end(), given) != allowed.end() ? std::string() : "one of " + list;
        };
        add({std::move(name), list, std::move(meaning), target.empty() ? automatic : target, false, set});
    }

    /// A number from `least` to `most`. `automatic`, where given, is what the usage calls the default.
    template <class Number>
    void number(std::string name, std::string value, Number& target, Number least, Number most, std::string meaning,
                std::string automatic = {}) {
        const auto set = [&target, least, most](std::string_view given) {
            const auto parsed = parse<Number>(given);
            target = parsed.value_or(least);
            return complaint(parsed && *parsed >= least && *parsed <= most, least, most);
        };
        add({std::move(name), std::move(value), std::move(meaning),
             automatic.empty() ? spelled(target) : std::move(automatic), false, set});
    }

    /// The same, and the target stays empty unless it is given.
    template <class Number>
    void number(std::string name, std::string value, std::optional<Number>& target, Number least, Number most,
                std::string meaning, std::string automatic) {
        const auto set = [&target, least, most](std::string_view given) {
            const auto parsed = parse<Number>(given);
            target = parsed.value_or(least);
            return complaint(parsed && *parsed >= least && *parsed <= most, least, most);
        };
        add({std::move(name), std::move(value), std::move(meaning), std::move(automatic), false, set});
    }

    /// Any text, as often as it is given.
    void list(std::string name, std::string value, std::vector<std::string>& target, std::string meaning) {
        add({std::move(name), std::move(value), std::move(meaning), {}, false, [&target](std::string_view given) {
                 target.emplace_back(given);
                 return std::string();
             }});
    }

    /// As often as it is given, each time `take` stores it, or returns what was expected instead.
    void each(std::string name, std::string value, std::function<std::string(std::string_view)> take,
              std::string meaning) {
        add({std::move(name), std::move(value), std::move(meaning), {}, false, std::move(take)});
    }

    /// The name of a file, whose contents are stored.
    void contents(std::string name, std::string value, std::string& target, std::string meaning) {
        add({std::move(name), std::move(value), std::move(meaning), {}, false, [&target](std::string_view given) {
                 const auto file = bitnet::byte_source::open(given);
                 if (!file) {
                     return "a file that can be read (" + file.error().message + ")";
                 }
                 target.assign(reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size());
                 return std::string();
             }});
    }

    /// The same, where a program has to know whether it was given.
    void contents(std::string name, std::string value, std::optional<std::string>& target, std::string meaning) {
        add({std::move(name), std::move(value), std::move(meaning), {}, false, [&target](std::string_view given) {
                 const auto file = bitnet::byte_source::open(given);
                 if (!file) {
                     return "a file that can be read (" + file.error().message + ")";
                 }
                 target.emplace(reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size());
                 return std::string();
             }});
    }

    /// The next argument that stands alone; required.
    void argument(std::string value, std::string& target, std::string meaning) {
        arguments_.push_back({std::move(value), {}, std::move(meaning), {}, true, store(target)});
    }

    /// Reads the command line, what main() was given. \return the status to exit with at once: 0 after --help, 2 after
    /// a mistake, which is named on stderr; nothing when the program can begin.
    [[nodiscard]] std::optional<int> read(int argc, char** argv) {
        const std::vector<std::string> all = arguments(argc, argv);
        for (std::size_t i = 1; i < all.size(); ++i) {
            const std::string_view given = all[i];
            if (given == "--help" || given == "-h") {
                std::fputs(usage().c_str(), stdout);
                return 0;
            }
            option* alone = next_argument(given);
            std::string mistake = alone != nullptr ? set(*alone, given) : take(given, i, all);
            if (!mistake.empty()) {
                return refuse(mistake);
            }
        }
        for (const option& each : all_) {
            if (each.required && !each.seen) {
                return refuse(each.name + " " + each.value + " is missing");
            }
        }
        for (const option& each : arguments_) {
            if (!each.seen) {
                return refuse(each.name + " is missing");
            }
        }
        return std::nullopt;
    }

    /// For what only the program can check: prints `mistake` as read() does. \return 2.
    [[nodiscard]] int refuse(const std::string& mistake) const {
        std::fprintf(stderr, "%s: %s (--help shows all options)\n", program_.c_str(), mistake.c_str());
        return 2;
    }

    [[nodiscard]] std::string usage() const {
        std::string text = "usage: " + program_;
        for (const option& each : arguments_) {
            text += " " + each.name;
        }
        for (const option& each : all_) {
            text += each.required ? " " + each.name + " " + each.value : "";
        }
        text += " [options]\n" + purpose_ + "\n\n";
        for (const option& each : arguments_) {
            text += line(each);
        }
        for (const option& each : all_) {
            text += line(each);
        }
        return text + line({"--help", {}, "print this", {}, false, {}});
    }

private:
    struct option {
        std::string name;
        std::string value; ///< what the usage calls it; empty for a flag
        std::string meaning;
        std::string fallback; ///< the default, for the usage
        bool required;
        std::function<std::string(std::string_view)> set; ///< stores it, or returns what was expected
        bool seen = false;
    };

    void add(option made) { all_.push_back(std::move(made)); }

    [[nodiscard]] static std::function<std::string(std::string_view)> store(std::string& target) {
        return [&target](std::string_view given) {
            target = given;
            return std::string();
        };
    }

    template <class Number> [[nodiscard]] static std::optional<Number> parse(std::string_view given) {
        if constexpr (std::integral<Number>) {
            Number value{};
            const auto read = std::from_chars(given.data(), given.data() + given.size(), value);
            const bool whole = read.ec == std::errc{} && read.ptr == given.data() + given.size();
            return whole ? std::optional(value) : std::nullopt;
        } else {
            const auto value = bitnet::detail::parse_decimal(given);
            return value ? std::optional(static_cast<Number>(*value)) : std::nullopt;
        }
    }

    /// What a number has to be; empty if it is.
    template <class Number> [[nodiscard]] static std::string complaint(bool is_good, Number least, Number most) {
        return is_good ? std::string()
                       : (std::integral<Number> ? "an integer from " : "a number from ") + spelled(least) + " to " +
                             spelled(most);
    }
    template <class Number> [[nodiscard]] static std::string spelled(Number number) {
        char digits[32];
        return std::string(digits, std::to_chars(digits, digits + sizeof digits, number).ptr);
    }

    /// What takes `given`, if it is no option.
    [[nodiscard]] option* next_argument(std::string_view given) {
        const auto open = std::find_if(arguments_.begin(), arguments_.end(), [](const option& o) { return !o.seen; });
        return open != arguments_.end() && (given.empty() || given[0] != '-') ? &*open : nullptr;
    }

    /// `--name value`, `--name=value` or a flag; moves `i` after the value. \return the mistake, if any.
    [[nodiscard]] std::string take(std::string_view given, std::size_t& i, const std::vector<std::string>& all) {
        const auto equals = given.starts_with("--") ? given.find('=') : std::string_view::npos;
        const std::string_view name = given.substr(0, equals);
        const auto found =
            std::find_if(all_.begin(), all_.end(), [&](const option& each) { return each.name == name; });
        if (found == all_.end()) {
            const bool looks_like_one = given.size() > 1 && given[0] == '-';
            return (looks_like_one ? "there is no option '" : "nothing takes the argument '") + std::string(name) + "'";
        }
        if (found->value.empty()) {
            return equals == std::string_view::npos ? set(*found, {}) : found->name + " takes no value";
        }
        if (equals != std::string_view::npos) {
            return set(*found, given.substr(equals + 1));
        }
        return ++i < all.size() ? set(*found, all[i]) : found->name + " needs a value, " + found->value;
    }

    [[nodiscard]] static std::string set(option& target, std::string_view given) {
        target.seen = true;
        const std::string expected = target.set(given);
        return expected.empty() ? "" : target.name + " takes " + expected + ", not '" + std::string(given) + "'";
    }

    [[nodiscard]] static std::string line(const option& each) {
        constexpr std::size_t column = 26;
        std::string text = "  " + each.name + (each.value.empty() ? "" : " " + each.value);
        text += text.size() < column ? std::string(column - text.size(), ' ') : "\n" + std::string(column, ' ');
        return text + each.meaning + (each.fallback.empty() ? "" : " [" + each.fallback + "]") + "\n";
    }

    std::string program_;
    std::string purpose_;
    std::vector<option> arguments_;
    std::vector<option> all_;
};

} // namespace tools
