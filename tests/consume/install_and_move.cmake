# SPDX-License-Identifier: MIT
# Installs the project of BUILD, then moves it to MOVED: what consumers find there works only if it is relocatable.
cmake_minimum_required(VERSION 3.25)
set(first "${MOVED}.first")
file(REMOVE_RECURSE "${first}" "${MOVED}")
execute_process(COMMAND ${CMAKE_COMMAND} --install "${BUILD}" --config "${CONFIG}" --prefix "${first}"
    COMMAND_ERROR_IS_FATAL ANY)
file(RENAME "${first}" "${MOVED}")
