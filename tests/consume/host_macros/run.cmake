# SPDX-License-Identifier: MIT
# Both headers compile after the macros of others, with the standard's headers before these and after them.
cmake_minimum_required(VERSION 3.25)
foreach(header IN ITEMS bitnet/any.hpp bitnet/bitnet.hpp)
    foreach(order IN ITEMS "" -DSTANDARD_HEADERS_FIRST)
        foreach(folder IN LISTS FOLDERS)
            execute_process(COMMAND "${CXX}" -std=c++20 -fsyntax-only -Wall -Wextra -Werror "-DHEADER=<${header}>" ${order}
                -I "${folder}" "${CMAKE_CURRENT_LIST_DIR}/program.cpp" COMMAND_ERROR_IS_FATAL ANY)
        endforeach()
    endforeach()
endforeach()
