# SPDX-License-Identifier: MIT
# The program that the downstream projects share: two sources that see <bitnet/any.hpp> alone. Its warnings are errors, in
# the library's headers too. What opens models comes from the target bitnet::any_cpu; a single compiler line has models.cpp.
set(CMAKE_NO_SYSTEM_FROM_IMPORTED ON)
add_executable(consumer "${CMAKE_CURRENT_LIST_DIR}/main.cpp" "${CMAKE_CURRENT_LIST_DIR}/storyteller.cpp")
target_compile_options(consumer PRIVATE -Wall -Wextra -Wpedantic -Werror)
