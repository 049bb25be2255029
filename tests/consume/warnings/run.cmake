# SPDX-License-Identifier: MIT
# Both headers, not as system headers, with more warnings than most programs ask for, all of them errors: as C++20 from
# the folder, as C++23 from the single files. -Wnull-dereference looks at optimised code: bitnet::any_cpu is built with it.
cmake_minimum_required(VERSION 3.25)
set(warnings -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wold-style-cast -Wundef -Wnull-dereference
    -Wcast-qual -Wdouble-promotion -Wformat=2 -Wnon-virtual-dtor -Woverloaded-virtual -Wextra-semi
    -Wzero-as-null-pointer-constant -Wredundant-decls -Wmissing-declarations)
if(COMPILER_ID STREQUAL "GNU")
    list(APPEND warnings -Wuseless-cast -Wduplicated-cond -Wduplicated-branches -Wlogical-op)
endif()
foreach(source IN ITEMS any bitnet)
    foreach(standard_and_folder IN ITEMS c++20:include c++2b:single_include)
        string(REPLACE ":" ";-I;${ROOT}/" options "-std=${standard_and_folder}")
        execute_process(COMMAND "${CXX}" ${options} -fsyntax-only ${warnings} -Werror
            "${CMAKE_CURRENT_LIST_DIR}/${source}.cpp" COMMAND_ERROR_IS_FATAL ANY)
    endforeach()
endforeach()
