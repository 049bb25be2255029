# SPDX-License-Identifier: MIT
# One plain compiler line on the two single headers, then the program.
cmake_minimum_required(VERSION 3.25)
execute_process(COMMAND "${CXX}" -std=c++20 -O0 -Wall -Wextra -Wpedantic -Werror -I "${INCLUDE_DIR}" ${SOURCES}
    -o "${PROGRAM}" -pthread COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND "${PROGRAM}" "${MODEL}" COMMAND_ERROR_IS_FATAL ANY)
