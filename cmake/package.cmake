# SPDX-License-Identifier: MIT
# A .deb of headers, tools and the libraries bitnet::any_cpu and bitnet::c, compiled: the target `deb`. What is compiled
# is in components of its own, libraries and tools, which `cmake --install` leaves out unless it is told their names.
if(NOT TARGET bitnet_c OR NOT TARGET bitnet-generate OR NOT UNIX OR CMAKE_CROSSCOMPILING OR BITNET_SANITIZE)
    return()
endif()
get_property(programs DIRECTORY "${PROJECT_SOURCE_DIR}/examples" PROPERTY BUILDSYSTEM_TARGETS)
list(FILTER programs INCLUDE REGEX "^bitnet-")
list(REMOVE_ITEM programs bitnet-web)
install(TARGETS ${programs} DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT tools EXCLUDE_FROM_ALL)
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME copyright
    COMPONENT tools EXCLUDE_FROM_ALL)

set(library COMPONENT libraries EXCLUDE_FROM_ALL)
install(TARGETS bitnet_c bitnet_any_cpu
    ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} ${library} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} ${library})
set(pkgconfig "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
bitnet_install_pkgconfig(bitnet-any-cpu "${pkgconfig}" "-L\${libdir} -lbitnet_any_cpu -pthread" "bitnet" ${library})
bitnet_install_pkgconfig(bitnet-c "${pkgconfig}" "-L\${libdir} -lbitnet" "" ${library})

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME bitnet)
set(CPACK_PACKAGE_VENDOR "the bitnet.hpp authors")
set(CPACK_PACKAGE_CONTACT "${CPACK_PACKAGE_VENDOR}")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_COMPONENTS_ALL Unspecified libraries tools)
set(CPACK_COMPONENTS_GROUPING ALL_COMPONENTS_IN_ONE)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "libc6, libgcc-s1, libstdc++6") # with their versions where dpkg-dev is
find_program(BITNET_SHLIBDEPS dpkg-shlibdeps DOC "Finds the versions that a .deb depends on")
if(BITNET_SHLIBDEPS)
    set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
endif()
include(CPack)
set(CMAKE_SKIP_INSTALL_ALL_DEPENDENCY ON) # cpack builds nothing
add_custom_target(deb COMMAND ${CMAKE_CPACK_COMMAND} -G DEB WORKING_DIRECTORY "${PROJECT_BINARY_DIR}"
    COMMENT "A package of headers, tools and libraries" USES_TERMINAL VERBATIM)
add_dependencies(deb ${programs} bitnet_c bitnet_any_cpu)
