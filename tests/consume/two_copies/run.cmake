# SPDX-License-Identifier: MIT
# Copies of the library that dependencies of one program bring along: of the same version they are one; two versions are
# refused in one source, and work in two.
cmake_minimum_required(VERSION 3.25)
file(REMOVE_RECURSE "${SCRATCH}")
foreach(name IN ITEMS any bitnet)
    file(READ "${ROOT}/single_include/bitnet/${name}.hpp" text)
    file(WRITE "${SCRATCH}/copy/${name}.hpp" "${text}")
    file(WRITE "${SCRATCH}/copy_with_a_line_in_front/${name}.hpp" "// vendored\n${text}")
    string(REPLACE "define BITNET_VERSION_PATCH " "define BITNET_VERSION_PATCH 9" edited "${text}")
    file(WRITE "${SCRATCH}/edited/${name}.hpp" "${edited}")
    string(REGEX REPLACE "(BITNET_VERSION_IS_[0-9]+_[0-9]+_)" "\\19" other "${edited}")
    string(REPLACE "BITNET_VERSION_PATCH == " "BITNET_VERSION_PATCH == 9" other "${other}")
    string(REPLACE "temperature must be" "heat must be" other "${other}")
    file(WRITE "${SCRATCH}/other/${name}.hpp" "${other}")
endforeach()

# compile(<headers> <status> <errors>): a source that includes all of these.
function(compile headers status_variable errors_variable)
    list(TRANSFORM headers REPLACE "(.+)" "#include <\\1>")
    list(JOIN headers "\n" includes)
    file(WRITE "${SCRATCH}/source.cpp" "${includes}\nint main() { return bitnet::errc{} == bitnet::errc{} ? 0 : 1; }\n")
    execute_process(COMMAND "${CXX}" -std=c++20 -fsyntax-only -Wall -Wextra -Werror -I "${SCRATCH}" -I "${ROOT}/include"
        "${SCRATCH}/source.cpp" RESULT_VARIABLE status ERROR_VARIABLE errors)
    set(${status_variable} "${status}" PARENT_SCOPE)
    set(${errors_variable} "${includes}\n${errors}" PARENT_SCOPE)
endfunction()

function(expect_one)
    compile("${ARGN}" status errors)
    if(NOT status EQUAL 0)
        message(FATAL_ERROR "copies of one version:\n${errors}")
    endif()
endfunction()
expect_one(copy/any.hpp copy_with_a_line_in_front/bitnet.hpp bitnet/bitnet.hpp copy_with_a_line_in_front/any.hpp
    copy/bitnet.hpp)
expect_one(bitnet/run/sampler.hpp copy/any.hpp bitnet/bitnet.hpp copy/bitnet.hpp)

function(expect_refusal)
    compile("${ARGN}" status errors)
    string(REGEX MATCHALL " error: " count "${errors}")
    list(LENGTH count count)
    if(status EQUAL 0 OR NOT count EQUAL 1 OR NOT errors MATCHES "two versions of bitnet.hpp in one source")
        message(FATAL_ERROR "two versions: status ${status}, ${count} errors, one expected:\n${errors}")
    endif()
endfunction()
expect_refusal(copy/any.hpp other/bitnet.hpp)
expect_refusal(other/any.hpp copy/bitnet.hpp)
expect_refusal(copy/any.hpp edited/any.hpp)
expect_refusal(edited/any.hpp copy/any.hpp)
expect_refusal(bitnet/any.hpp other/bitnet.hpp)

set(command "${CXX}" -std=c++20 -O0 -I "${SCRATCH}" "${CMAKE_CURRENT_LIST_DIR}/refuse.cpp" -c)
execute_process(COMMAND ${command} "-DHEADER=<copy/any.hpp>" -DFUNCTION=refused_by_one -o "${SCRATCH}/one.o"
    COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${command} "-DHEADER=<other/any.hpp>" -DFUNCTION=refused_by_other -o "${SCRATCH}/other.o"
    COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND "${CXX}" -std=c++20 "${CMAKE_CURRENT_LIST_DIR}/main.cpp" "${SCRATCH}/one.o" "${SCRATCH}/other.o"
    -o "${SCRATCH}/program" COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND "${SCRATCH}/program" COMMAND_ERROR_IS_FATAL ANY)
