# SPDX-License-Identifier: MIT
# Runs PROGRAM, which has to succeed and to print the bytes of the file EXPECTED.
cmake_minimum_required(VERSION 3.25)
file(READ "${EXPECTED}" expected)
execute_process(COMMAND "${PROGRAM}" OUTPUT_VARIABLE printed RESULT_VARIABLE status)
if(NOT status EQUAL 0)
    message(FATAL_ERROR "exit status ${status}: ${PROGRAM}")
endif()
if(NOT printed STREQUAL expected)
    message(FATAL_ERROR "${PROGRAM} prints\n${printed}\nand ${EXPECTED} has\n${expected}")
endif()
