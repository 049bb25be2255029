# SPDX-License-Identifier: MIT
# The library and windows.h in one source, in both orders.
cmake_minimum_required(VERSION 3.25)
foreach(source IN ITEMS before after)
    execute_process(COMMAND "${CXX}" -std=c++20 -fsyntax-only -Wall -Wextra -Werror -I "${INCLUDE_DIR}"
        "${CMAKE_CURRENT_LIST_DIR}/${source}.cpp" COMMAND_ERROR_IS_FATAL ANY)
endforeach()
