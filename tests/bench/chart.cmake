# SPDX-License-Identifier: MIT
# Tokens a second beside other programs, as a chart of bars: an SVG of what a JSON file of results/ like peers.json says.
#     cmake -DJSON=tests/bench/results/peers.json -DOUT=tests/bench/results/peers.svg -P tests/bench/chart.cmake
# Included elsewhere it only defines bench_chart(JSON OUT), which gives the text of the SVG.
cmake_minimum_required(VERSION 3.25)

# tenths(NUMBER OUT): an integer, of a number with up to one digit after its point.
function(tenths number out)
    string(REGEX MATCH "^([0-9]+)[.]?([0-9]?)" ignored "${number}")
    set(digit "${CMAKE_MATCH_2}")
    if(digit STREQUAL "")
        set(digit 0)
    endif()
    math(EXPR value "${CMAKE_MATCH_1} * 10 + ${digit}")
    set(${out} ${value} PARENT_SCOPE)
endfunction()

# One group of bars: `what` is a key of the results, `title` stands above it.
macro(add_group what title left)
    set(longest 1)
    foreach(i RANGE ${last})
        string(JSON speed GET "${json}" results ${i} ${what})
        tenths(${speed} value)
        if(value GREATER longest)
            set(longest ${value})
        endif()
    endforeach()
    string(APPEND svg "<text x=\"${left}\" y=\"20\" class=\"title\">${title}</text>\n")
    foreach(i RANGE ${last})
        string(JSON program GET "${json}" results ${i} program)
        string(REGEX REPLACE ",.*" "" program "${program}")
        string(JSON speed GET "${json}" results ${i} ${what})
        tenths(${speed} value)
        math(EXPR width "${value} * 190 / ${longest}")
        math(EXPR y "34 + ${i} * 30")
        math(EXPR text_y "${y} + 15")
        math(EXPR bar_x "${left} + 100")
        math(EXPR number_x "${bar_x} + ${width} + 6")
        set(class other)
        if(i EQUAL 0)
            set(class ours)
        endif()
        string(APPEND svg "<text x=\"${left}\" y=\"${text_y}\">${program}</text>\n"
            "<rect x=\"${bar_x}\" y=\"${y}\" width=\"${width}\" height=\"20\" class=\"${class}\"/>\n"
            "<text x=\"${number_x}\" y=\"${text_y}\">${speed}</text>\n")
    endforeach()
endmacro()

function(bench_chart path out)
    file(READ "${path}" json)
    string(JSON count LENGTH "${json}" results)
    math(EXPR last "${count} - 1")
    math(EXPR height "${count} * 30 + 44")
    string(JSON machine GET "${json}" machine)
    string(JSON model GET "${json}" model)
    set(svg "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 760 ${height}\" role=\"img\">\n")
    string(APPEND svg "<title>Tokens a second of ${model} on ${machine}</title>\n"
        "<style>text{font:13px sans-serif;fill:#57606a}.title{font-weight:bold}.ours{fill:#1a7f37}.other{fill:#8c959f}"
        "@media(prefers-color-scheme:dark){text{fill:#adbac7}}</style>\n")
    add_group(tg64 "Generated tokens a second" 10)
    add_group(pp512 "Prompt tokens a second" 400)
    string(APPEND svg "</svg>\n")
    set(${out} "${svg}" PARENT_SCOPE)
endfunction()

if(CMAKE_SCRIPT_MODE_FILE STREQUAL CMAKE_CURRENT_LIST_FILE)
    bench_chart("${JSON}" svg)
    file(WRITE "${OUT}" "${svg}")
endif()
