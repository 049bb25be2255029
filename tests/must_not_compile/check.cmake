# SPDX-License-Identifier: MIT
# Compiles SOURCE twice: as it is, which must fail with the message of its `// EXPECT: <regex>`, and with -DFIXED.
cmake_minimum_required(VERSION 3.25)

file(STRINGS "${SOURCE}" expect REGEX "^// EXPECT: ")
if(NOT expect MATCHES "^// EXPECT: (.+)$")
    message(FATAL_ERROR "${SOURCE} has no line `// EXPECT: <regex>`")
endif()
set(expect "${CMAKE_MATCH_1}")
set(compile "${CXX}" -std=c++20 -fsyntax-only -I "${INCLUDE_DIR}" "${SOURCE}")

execute_process(COMMAND ${compile} -DFIXED RESULT_VARIABLE status ERROR_VARIABLE messages)
if(NOT status EQUAL 0)
    message(FATAL_ERROR "${SOURCE} does not compile even with -DFIXED:\n${messages}")
endif()
execute_process(COMMAND ${compile} RESULT_VARIABLE status ERROR_VARIABLE messages)
if(status EQUAL 0)
    message(FATAL_ERROR "${SOURCE} compiles, and must not")
elseif(NOT messages MATCHES "${expect}")
    message(FATAL_ERROR "${SOURCE} fails to compile, but not with \"${expect}\":\n${messages}")
endif()
