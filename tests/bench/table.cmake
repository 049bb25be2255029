# SPDX-License-Identifier: MIT
# cmake -DJSON=FILE -P table.cmake: prints the Markdown table of README.md from what bitnet-bench --json wrote.
cmake_minimum_required(VERSION 3.25)

# bench_table(FILE OUT): the table with machine, commit and command, as text in OUT.
function(bench_table file out)
    file(READ "${file}" json)
    foreach(key machine commit command)
        string(JSON ${key} GET "${json}" ${key})
    endforeach()
    set(text "${machine}, commit ${commit}: `${command}`\n\n")
    string(APPEND text "| test | threads | isa | layout | head | batch | tok/s (min to max) | read GB/s | of the limit |\n"
        "|---|---|---|---|---|---|---|---|---|\n")
    string(JSON last LENGTH "${json}" results)
    math(EXPR last "${last} - 1")
    foreach(i RANGE ${last})
        foreach(key test threads isa layout head batch read_gb_per_second roofline_fraction failed)
            string(JSON ${key} GET "${json}" results ${i} ${key})
        endforeach()
        foreach(key median min max)
            string(JSON ${key} GET "${json}" results ${i} tokens_per_second ${key})
        endforeach()
        if(failed)
            set(roofline_fraction "failed: ${roofline_fraction}")
        endif()
        string(APPEND text "| ${test} | ${threads} | ${isa} | ${layout} | ${head} | ${batch} "
            "| ${median} (${min} to ${max}) | ${read_gb_per_second} | ${roofline_fraction} |\n")
    endforeach()
    set(${out} "${text}" PARENT_SCOPE)
endfunction()

if(CMAKE_SCRIPT_MODE_FILE STREQUAL CMAKE_CURRENT_LIST_FILE)
    bench_table("${JSON}" text)
    execute_process(COMMAND ${CMAKE_COMMAND} -E echo_append "${text}")
endif()
