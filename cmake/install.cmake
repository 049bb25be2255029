# SPDX-License-Identifier: MIT
# Install rules: headers, CMake package, pkg-config file. All of it can be moved to another prefix afterwards.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

target_include_directories(bitnet INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/bitnet" DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
    FILES_MATCHING PATTERN "*.hpp" PATTERN "*.h")

set(package_dir "${CMAKE_INSTALL_DATADIR}/cmake/bitnet")
install(TARGETS bitnet EXPORT bitnet)
install(EXPORT bitnet FILE bitnetTargets.cmake NAMESPACE bitnet:: DESTINATION ${package_dir})
install(FILES "${CMAKE_CURRENT_LIST_DIR}/any_cpu.cmake" "${CMAKE_CURRENT_LIST_DIR}/c.cmake" DESTINATION ${package_dir})
install(DIRECTORY "${CMAKE_CURRENT_LIST_DIR}/any_cpu" "${CMAKE_CURRENT_LIST_DIR}/c" DESTINATION ${package_dir})
configure_package_config_file("${CMAKE_CURRENT_LIST_DIR}/bitnetConfig.cmake.in"
    "${CMAKE_CURRENT_BINARY_DIR}/bitnetConfig.cmake" INSTALL_DESTINATION ${package_dir}
    NO_SET_AND_CHECK_MACRO NO_CHECK_REQUIRED_COMPONENTS_MACRO)
write_basic_package_version_file("${CMAKE_CURRENT_BINARY_DIR}/bitnetConfigVersion.cmake"
    COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/bitnetConfig.cmake" "${CMAKE_CURRENT_BINARY_DIR}/bitnetConfigVersion.cmake"
    DESTINATION ${package_dir})

set(pkgconfig_dir "${CMAKE_INSTALL_DATADIR}/pkgconfig")
file(RELATIVE_PATH pkgconfig_to_prefix "${CMAKE_INSTALL_FULL_DATADIR}/pkgconfig" "${CMAKE_INSTALL_PREFIX}")
set(pkgconfig_includedir "\${prefix}")
cmake_path(APPEND pkgconfig_includedir "${CMAKE_INSTALL_INCLUDEDIR}")
configure_file("${CMAKE_CURRENT_LIST_DIR}/bitnet.pc.in" "${CMAKE_CURRENT_BINARY_DIR}/bitnet.pc" @ONLY)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/bitnet.pc" DESTINATION ${pkgconfig_dir})
