# SPDX-License-Identifier: MIT
# A shared object with the library inside leaves the process when it is closed.
cmake_minimum_required(VERSION 3.25)
set(flags -std=c++20 -O0 -pthread)
if(COMPILER_ID STREQUAL "GNU")
    list(APPEND flags -fno-gnu-unique)
endif()
file(MAKE_DIRECTORY "${SCRATCH}")
execute_process(COMMAND "${CXX}" ${flags} -fPIC -shared -I "${ROOT}/single_include" "${CMAKE_CURRENT_LIST_DIR}/plug_in.cpp"
    -o "${SCRATCH}/plug_in.so" COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND "${CXX}" -std=c++20 "${CMAKE_CURRENT_LIST_DIR}/host.cpp" -o "${SCRATCH}/host" -ldl
    COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND "${SCRATCH}/host" "${SCRATCH}/plug_in.so" "${ROOT}/examples/models/tiny.gguf"
    COMMAND_ERROR_IS_FATAL ANY)
