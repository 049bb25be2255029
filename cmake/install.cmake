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

# bitnet_install_pkgconfig(<name> <folder> <libs> <requires> <install option>...): <name>.pc, whose paths are relative to it.
function(bitnet_install_pkgconfig name folder libs requires)
    file(RELATIVE_PATH to_prefix "/prefix/${folder}" "/prefix")
    set(includedir "\${prefix}")
    cmake_path(APPEND includedir "${CMAKE_INSTALL_INCLUDEDIR}")
    set(libdir "\${prefix}")
    cmake_path(APPEND libdir "${CMAKE_INSTALL_LIBDIR}")
    configure_file("${PROJECT_SOURCE_DIR}/cmake/bitnet.pc.in" "${CMAKE_CURRENT_BINARY_DIR}/${name}.pc" @ONLY)
    install(FILES "${CMAKE_CURRENT_BINARY_DIR}/${name}.pc" DESTINATION ${folder} ${ARGN})
endfunction()
bitnet_install_pkgconfig(bitnet "${CMAKE_INSTALL_DATADIR}/pkgconfig" "-pthread" "")
