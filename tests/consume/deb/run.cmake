# SPDX-License-Identifier: MIT
# Packs what is built into a .deb, unpacks it into a folder, and programs in C and C++ are compiled against it by
# pkg-config alone. Without a search for versions to depend on, which takes longer than all of that.
cmake_minimum_required(VERSION 3.25)
file(REMOVE_RECURSE "${SCRATCH}")
cmake_path(GET CMAKE_COMMAND PARENT_PATH cmake_folder)
execute_process(COMMAND "${cmake_folder}/cpack" -G DEB -D CPACK_DEBIAN_PACKAGE_SHLIBDEPS=OFF
        --config "${BUILD}/CPackConfig.cmake" -B "${SCRATCH}"
    OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
file(GLOB package "${SCRATCH}/bitnet_*.deb")
execute_process(COMMAND ${DPKG} -c "${package}" OUTPUT_VARIABLE listed COMMAND_ERROR_IS_FATAL ANY)
list(TRANSFORM PROGRAMS PREPEND bin/)
foreach(file IN ITEMS ${PROGRAMS} include/bitnet/bitnet.hpp include/bitnet/any.hpp include/bitnet/bitnet.h
        lib/libbitnet.so lib/libbitnet.so.0 lib/libbitnet_any_cpu.a lib/pkgconfig/bitnet-c.pc
        lib/pkgconfig/bitnet-any-cpu.pc share/pkgconfig/bitnet.pc share/cmake/bitnet/bitnetConfig.cmake
        share/doc/bitnet/copyright)
    string(FIND "${listed}" " ./usr/${file}" at)
    if(at EQUAL -1)
        message(FATAL_ERROR "${file} is not in the package:\n${listed}")
    endif()
endforeach()
if(listed MATCHES "example-|test_|/examples/")
    message(FATAL_ERROR "more than it should be is in the package:\n${listed}")
endif()

set(root "${SCRATCH}/unpacked/usr")
execute_process(COMMAND ${DPKG} -x "${package}" "${SCRATCH}/unpacked" COMMAND_ERROR_IS_FATAL ANY)
set(ENV{PKG_CONFIG_PATH} "${root}/share/pkgconfig:${root}/lib/pkgconfig")
set(ENV{LD_LIBRARY_PATH} "${root}/lib")
set(model "${ROOT}/examples/models/tiny.gguf")
function(flags_of package variable)
    execute_process(COMMAND ${PKGCONFIG} --cflags --libs ${package} OUTPUT_VARIABLE flags COMMAND_ERROR_IS_FATAL ANY)
    separate_arguments(flags UNIX_COMMAND "${flags}")
    set(${variable} ${flags} PARENT_SCOPE)
endfunction()
flags_of(bitnet-c flags)
execute_process(COMMAND ${CC} "${ROOT}/tests/c/dialog.c" ${flags} -o "${SCRATCH}/in_c" COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND "${SCRATCH}/in_c" "${model}" OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
set(app "${ROOT}/tests/consume/app")
flags_of(bitnet-any-cpu flags)
execute_process(COMMAND ${CXX} -std=c++20 "${app}/main.cpp" "${app}/storyteller.cpp" ${flags} -o "${SCRATCH}/in_cpp"
    COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND "${SCRATCH}/in_cpp" "${model}" OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND "${root}/bin/bitnet-generate" -m "${model}" -p Once -n 4 OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
