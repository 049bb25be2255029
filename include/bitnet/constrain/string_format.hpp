// SPDX-License-Identifier: MIT
// string_format: the values of `format` that are enforced, as regular expressions.
#ifndef BITNET_CONSTRAIN_STRING_FORMAT_HPP
#define BITNET_CONSTRAIN_STRING_FORMAT_HPP

#include <bitnet/core/config.hpp>

#include <string>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// The pattern of a format's strings, anchored; empty for a format that is only an annotation here. Deliberately
/// narrower than the RFCs where they leave what a pattern cannot tell: leap seconds are those of UTC, host names have
/// no A-labels.
[[nodiscard]] inline std::string pattern_of_format(std::string_view format) {
    const std::string date = "(?:\\d{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|"
                             "30)|02-(?:0[1-9]|1\\d|2[0-8]))"
                             "|(?:\\d\\d(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29)";
    const std::string hours = "(?:[01]\\d|2[0-3]):[0-5]\\d";
    const std::string time =
        "(?:" + hours + ":[0-5]\\d(?:\\.\\d+)?(?:[Zz]|[+\\-]" + hours + ")|23:59:60(?:\\.\\d+)?(?:[Zz]|[+\\-]00:00))";
    const std::string octet = "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
    const std::string ipv4 = "(?:" + octet + "\\.){3}" + octet;
    const std::string h16 = "[0-9A-Fa-f]{1,4}";
    const std::string ls32 = "(?:" + h16 + ":" + h16 + "|" + ipv4 + ")";
    const auto up_to = [&](const char* times) { return "(?:(?:" + h16 + ":){0," + times + "}" + h16 + ")?"; };
    const std::string ipv6 = "(?:(?:" + h16 + ":){6}" + ls32 + "|::(?:" + h16 + ":){5}" + ls32 + "|(?:" + h16 +
                             ")?::(?:" + h16 + ":){4}" + ls32 + "|" + up_to("1") + "::(?:" + h16 + ":){3}" + ls32 +
                             "|" + up_to("2") + "::(?:" + h16 + ":){2}" + ls32 + "|" + up_to("3") + "::" + h16 + ":" +
                             ls32 + "|" + up_to("4") + "::" + ls32 + "|" + up_to("5") + "::" + h16 + "|" + up_to("6") +
                             "::)";
    // The third and fourth characters of a label are not both hyphens.
    const std::string alnum = "[A-Za-z0-9]";
    const std::string any = "[A-Za-z0-9-]";
    const std::string label = "(?:" + alnum + "|" + alnum + any + "{0,2}" + alnum + "|" + alnum + any + "(?:" + alnum +
                              any + "|-" + alnum + ")" + any + "{0,58}" + alnum + ")";
    const std::string host = label + "(?:\\." + label + ")*";
    const std::string atom = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~\\-]+";
    const std::string pct = "%[0-9A-Fa-f]{2}";
    const std::string unreserved = "A-Za-z0-9\\-._~!$&'()*+,;=";
    const std::string pchar = "(?:[" + unreserved + ":@]|" + pct + ")";
    const std::string authority = "(?:(?:[" + unreserved + ":]|" + pct + ")*@)?(?:\\[" + ipv6 + "\\]|(?:[" +
                                  unreserved + "]|" + pct + ")*)(?::\\d*)?";
    const std::string path = "(?://" + authority + "(?:/" + pchar + "*)*|/(?:" + pchar + "+(?:/" + pchar + "*)*)?|" +
                             pchar + "+(?:/" + pchar + "*)*)?";
    const std::string tail = "(?:\\?(?:" + pchar + "|[/?])*)?(?:#(?:" + pchar + "|[/?])*)?";
    const std::string day = "(?:\\d+Y(?:\\d+M(?:\\d+D)?)?|\\d+M(?:\\d+D)?|\\d+D)";
    const std::string clock = "T(?:\\d+H(?:\\d+M(?:\\d+S)?)?|\\d+M(?:\\d+S)?|\\d+S)";
    const std::string patterns[][2] = {
        {"date", date},
        {"time", time},
        {"date-time", date + "[Tt]" + time},
        {"duration", "P(?:\\d+W|" + day + "(?:" + clock + ")?|" + clock + ")"},
        {"ipv4", ipv4},
        {"ipv6", ipv6},
        {"hostname", host},
        {"email", "(?:" + atom + "(?:\\." + atom + ")*|\"(?:[ !#-\\[\\]-~]|\\\\[ -~])*\")@(?:" + host +
                      "|\\[(?:" + ipv4 + "|IPv6:" + ipv6 + ")\\])"},
        {"uri", "[A-Za-z][A-Za-z0-9+.\\-]*:" + path + tail},
        {"uuid", "[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}"},
        {"json-pointer", "(?:/(?:[^~/]|~[01])*)*"},
    };
    for (const auto& [name, pattern] : patterns) {
        if (name == format) {
            return "^(?:" + pattern + ")$";
        }
    }
    return {};
}

/// The most characters of a format's strings, 0 for no limit.
[[nodiscard]] inline unsigned longest_of_format(std::string_view format) { return format == "hostname" ? 253 : 0; }

} // namespace bitnet::inline BITNET_ABI::detail

#endif
