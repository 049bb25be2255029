# SPDX-License-Identifier: MIT
# bitnet::c: what <bitnet/bitnet.h> declares, as a shared library that exports nothing else. Built if something links it,
# or as the target bitnet_c.
get_property(has_shared_libraries GLOBAL PROPERTY TARGET_SUPPORTS_SHARED_LIBS)
if(NOT has_shared_libraries)
    return()
endif()
file(GLOB sources "${CMAKE_CURRENT_LIST_DIR}/c/*.cpp")
add_library(bitnet_c SHARED EXCLUDE_FROM_ALL ${sources})
add_library(bitnet::c ALIAS bitnet_c)
target_include_directories(bitnet_c INTERFACE $<TARGET_PROPERTY:bitnet::bitnet,INTERFACE_INCLUDE_DIRECTORIES>)
target_link_libraries(bitnet_c PRIVATE bitnet::any_cpu)
target_compile_definitions(bitnet_c PRIVATE BITNET_C_BUILD)
set_target_properties(bitnet_c PROPERTIES OUTPUT_NAME bitnet SOVERSION 0
    CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND UNIX)
    target_compile_options(bitnet_c PRIVATE -fno-gnu-unique)
endif()
if(CMAKE_SYSTEM_NAME STREQUAL "Linux") # templates of the standard library are visible whatever the options say
    target_link_options(bitnet_c PRIVATE "LINKER:--version-script=${CMAKE_CURRENT_LIST_DIR}/c/exported.map")
    set_target_properties(bitnet_c PROPERTIES LINK_DEPENDS "${CMAKE_CURRENT_LIST_DIR}/c/exported.map")
endif()
