# SPDX-License-Identifier: MIT
# bitnet::any_cpu: what <bitnet/any.hpp> declares, as a static library of several sources that compile side by side.
# Built if something links it. Used by the project itself and by its installed package, which has the sources too.
file(GLOB sources "${CMAKE_CURRENT_LIST_DIR}/any_cpu/*.cpp")
add_library(bitnet_any_cpu STATIC EXCLUDE_FROM_ALL ${sources})
add_library(bitnet::any_cpu ALIAS bitnet_any_cpu)
target_link_libraries(bitnet_any_cpu PUBLIC bitnet::bitnet)
set_target_properties(bitnet_any_cpu PROPERTIES POSITION_INDEPENDENT_CODE ON # for shared libraries, too, which keep it
    CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)               # to themselves
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND UNIX)
    target_compile_options(bitnet_any_cpu PRIVATE -fno-gnu-unique) # such a library could not be unloaded
endif()
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES AND NOT MSVC)
    target_compile_options(bitnet_any_cpu PRIVATE -O2) # who names no build type wants a model that runs, not a debugger
endif()
