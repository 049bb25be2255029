# SPDX-License-Identifier: MIT
# Writes OUT, a header with the commit of SOURCE and whether it was changed since; touches it only when that changes.
cmake_minimum_required(VERSION 3.25)
execute_process(COMMAND git -C "${SOURCE}" describe --always --dirty --abbrev=10 OUTPUT_VARIABLE commit
    OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(failed)
    set(commit "unknown")
endif()
file(CONFIGURE OUTPUT "${OUT}" CONTENT "#pragma once
namespace bench {
inline constexpr const char* commit = \"@commit@\";
}
" @ONLY)
