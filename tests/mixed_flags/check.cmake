# SPDX-License-Identifier: MIT
# Objects pass between translation units that are compiled with the same flags; with others the program does not link.
set(source "${CMAKE_CURRENT_LIST_DIR}/passing.cpp")
function(link caller defining status_variable output_variable)
    execute_process(COMMAND ${CXX} -std=c++20 -I${INCLUDE_DIR} -DDEFINES ${defining} -c ${source} -o ${SCRATCH}.o
        COMMAND_ERROR_IS_FATAL ANY)
    execute_process(COMMAND ${CXX} -std=c++20 -I${INCLUDE_DIR} ${caller} ${source} ${SCRATCH}.o -o ${SCRATCH}
        RESULT_VARIABLE status ERROR_VARIABLE output)
    set(${status_variable} "${status}" PARENT_SCOPE)
    set(${output_variable} "${output}" PARENT_SCOPE)
endfunction()

link("" -O1 status output)
if(NOT status EQUAL 0)
    message(FATAL_ERROR "with the same flags:\n${output}")
endif()
set(before "")
foreach(flag IN LISTS FLAGS) # each with the one before it, the first one with none
    link("${before}" ${flag} status output)
    if(status EQUAL 0 OR NOT output MATCHES "undefined reference to .*length_of\\(bitnet::v[0-9]+[a-z0-9_]*::error const&\\)")
        message(FATAL_ERROR "${before} calls ${flag}: status ${status}, an undefined reference expected\n${output}")
    endif()
    set(before ${flag})
endforeach()
