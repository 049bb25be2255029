# SPDX-License-Identifier: MIT
# What our own programs are built with, and no program that uses the library: warnings, sanitizers, the ladder.
# Warnings become errors with -DCMAKE_COMPILE_WARNING_AS_ERROR=ON, as most presets say.

add_library(bitnet_warnings INTERFACE)
if(MSVC)
    target_compile_options(bitnet_warnings INTERFACE /W4)
else()
    target_compile_options(bitnet_warnings INTERFACE -Wall -Wextra -Wpedantic -Wconversion -Wshadow)
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
        # gcc 12 sees an overlap in `"text" + std::string` at -O3 (gcc bug 105651). Consumers' -Wall keeps the warning.
        target_compile_options(bitnet_warnings INTERFACE -Wno-restrict)
    endif()
endif()

# What the library itself is compiled with besides, so that it stays clean in programs that ask for more.
add_library(bitnet_library_warnings INTERFACE)
target_link_libraries(bitnet_library_warnings INTERFACE bitnet_warnings)
if(NOT MSVC)
    target_compile_options(bitnet_library_warnings INTERFACE -Wsign-conversion -Wold-style-cast -Wundef
        $<$<CXX_COMPILER_ID:GNU>:-Wuseless-cast>)
    if(NOT BITNET_SANITIZE)
        target_compile_options(bitnet_library_warnings INTERFACE -Wnull-dereference)
    endif()
endif()

add_library(bitnet_sanitizers INTERFACE)
if(BITNET_SANITIZE)
    set(flags -fsanitize=${BITNET_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_compile_options(bitnet_sanitizers INTERFACE ${flags})
    target_link_options(bitnet_sanitizers INTERFACE ${flags})
endif()

add_library(bitnet_developer INTERFACE)
target_link_libraries(bitnet_developer INTERFACE bitnet bitnet_warnings bitnet_sanitizers)
target_link_libraries(bitnet_any_cpu PRIVATE bitnet_developer bitnet_library_warnings)
if(TARGET bitnet_c)
    target_link_libraries(bitnet_c PRIVATE bitnet_developer bitnet_library_warnings)
endif()

# One program <prefix>-<name> for each <name>.cpp or <name>_<prefix>.cpp of the folder, an underscore in the name made a
# hyphen; `ladder.cpp` is none of them. Further arguments are compile and link flags.
function(bitnet_add_programs prefix folder)
    file(GLOB sources CONFIGURE_DEPENDS "${folder}/*.cpp")
    list(FILTER sources EXCLUDE REGEX "/ladder\\.cpp$")
    foreach(source IN LISTS sources)
        cmake_path(GET source STEM name)
        string(REGEX REPLACE "_${prefix}$" "" name ${name})
        string(REPLACE "_" "-" name ${name})
        add_executable(${prefix}-${name} ${source})
        target_link_libraries(${prefix}-${name} PRIVATE bitnet_developer)
        target_compile_options(${prefix}-${name} PRIVATE ${ARGN})
        target_link_options(${prefix}-${name} PRIVATE ${ARGN})
        if(TARGET bitnet_ladder AND NOT prefix STREQUAL "fuzz")
            target_link_libraries(${prefix}-${name} PRIVATE bitnet_ladder)
        endif()
    endforeach()
endfunction()
