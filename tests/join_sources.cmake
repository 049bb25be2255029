# SPDX-License-Identifier: MIT
# Many sources of tests as one. As a script, it writes the one of a folder's tests and prints which sources to compile:
#     cmake -DFOLDER=<folder of tests> -DJOINED=<file to write> -P tests/join_sources.cmake
cmake_minimum_required(VERSION 3.25)

# bitnet_join_sources(<file> <sources>): one source that holds `sources`, each in a namespace of its own, after all that
# they include: what they instantiate alike, such as whole models, is compiled once.
function(bitnet_join_sources joined sources)
    set(includes "")
    set(bodies "")
    foreach(source IN LISTS sources)
        file(STRINGS "${source}" lines REGEX "^#include ")
        list(APPEND includes ${lines})
        file(STRINGS "${source}" macros REGEX "^#define [A-Z_]+")
        list(TRANSFORM macros REPLACE "^#define ([A-Z_]+).*" "#undef \\1")
        list(REMOVE_DUPLICATES macros)
        list(JOIN macros "\n" macros)
        cmake_path(GET source STEM name)
        string(APPEND bodies "namespace ${name} {\n#include \"${source}\"\n}\n${macros}\n")
        if(NOT CMAKE_SCRIPT_MODE_FILE)
            set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${source}")
        endif()
    endforeach()
    list(REMOVE_DUPLICATES includes)
    list(JOIN includes "\n" includes)
    file(CONFIGURE OUTPUT "${joined}" CONTENT "@includes@\n@bodies@" @ONLY)
endfunction()

# bitnet_join_most(<file> <sources> <apart>): the same, but for those that specialise templates, define operator new,
# declare before they include, or include what not every system has, which are in <apart> afterwards.
function(bitnet_join_most joined sources apart)
    set(alone ${sources})
    list(FILTER alone INCLUDE REGEX
        "/(self_test|tool_set|tool_conversation|type_schema|fwd|gguf_malformed|address_space|mapped_file|thread_pool)_test\\.cpp$")
    list(REMOVE_ITEM sources ${alone})
    bitnet_join_sources("${joined}" "${sources}")
    set(${apart} ${alone} PARENT_SCOPE)
endfunction()

if(CMAKE_SCRIPT_MODE_FILE)
    cmake_path(ABSOLUTE_PATH FOLDER)
    file(GLOB sources "${FOLDER}/*_test.cpp")
    bitnet_join_most("${JOINED}" "${sources}" apart)
    foreach(source IN ITEMS "${JOINED}" ${apart})
        execute_process(COMMAND ${CMAKE_COMMAND} -E echo "${source}")
    endforeach()
endif()
