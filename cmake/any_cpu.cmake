# SPDX-License-Identifier: MIT
# bitnet::any_cpu: what <bitnet/any.hpp> declares, as a static library of several sources that compile side by side.
# Built if something links it. Used by the project itself and by its installed package, which has the sources too.
file(GLOB sources "${CMAKE_CURRENT_LIST_DIR}/any_cpu/*.cpp")
add_library(bitnet_any_cpu STATIC EXCLUDE_FROM_ALL ${sources})
add_library(bitnet::any_cpu ALIAS bitnet_any_cpu)
target_link_libraries(bitnet_any_cpu PUBLIC bitnet::bitnet)
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES AND NOT MSVC)
    target_compile_options(bitnet_any_cpu PRIVATE -O2) # who names no build type wants a model that runs, not a debugger
endif()
