# SPDX-License-Identifier: MIT
# The program that the downstream projects share. Its warnings are errors, in the library's headers too.
set(CMAKE_NO_SYSTEM_FROM_IMPORTED ON)
file(GLOB sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_LIST_DIR}/*.cpp")
add_executable(consumer ${sources})
target_compile_options(consumer PRIVATE -Wall -Wextra -Wpedantic -Werror)
