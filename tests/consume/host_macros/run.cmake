# SPDX-License-Identifier: MIT
# The headers compile after the macros of others: any.hpp, and bitnet.hpp that includes it, of either folder, with the
# standard's headers before these or after them.
cmake_minimum_required(VERSION 3.25)
list(GET FOLDERS 0 as_files)
list(GET FOLDERS 1 as_one)
function(compile folder header)
    execute_process(COMMAND "${CXX}" -std=c++20 -fsyntax-only -Wall -Wextra -Werror "-DHEADER=<bitnet/${header}.hpp>" ${ARGN}
        -I "${folder}" "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/program.cpp" COMMAND_ERROR_IS_FATAL ANY)
endfunction()
compile("${as_files}" any)
compile("${as_one}" any -DSTANDARD_HEADERS_FIRST)
compile("${as_files}" bitnet -DSTANDARD_HEADERS_FIRST)
compile("${as_one}" bitnet)
