# SPDX-License-Identifier: MIT
# Objects pass between translation units that are compiled with the same flags; with others the program does not link.
set(source "${CMAKE_CURRENT_LIST_DIR}/passing.cpp")
function(link status_variable output_variable)
    execute_process(COMMAND ${CXX} -std=c++20 -I${INCLUDE_DIR} -DDEFINES ${ARGN} -c ${source} -o ${SCRATCH}.o
        COMMAND_ERROR_IS_FATAL ANY)
    execute_process(COMMAND ${CXX} -std=c++20 -I${INCLUDE_DIR} ${source} ${SCRATCH}.o -o ${SCRATCH}
        RESULT_VARIABLE status ERROR_VARIABLE output)
    set(${status_variable} "${status}" PARENT_SCOPE)
    set(${output_variable} "${output}" PARENT_SCOPE)
endfunction()

link(status output -O1)
if(NOT status EQUAL 0)
    message(FATAL_ERROR "with the same flags:\n${output}")
endif()
foreach(flag IN LISTS FLAGS)
    link(status output ${flag})
    if(status EQUAL 0 OR NOT output MATCHES "undefined reference to .*length_of\\(bitnet::v[0-9]+::error const&\\)")
        message(FATAL_ERROR "${flag}: status ${status}, an undefined reference expected\n${output}")
    endif()
endforeach()
