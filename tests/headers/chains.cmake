# SPDX-License-Identifier: MIT
# Sources that prove that each header compiles alone, fewer than there are headers. Where all that a header includes is
# also included by the next one, the next finds nothing that it would lack alone, so one source takes both, in this order.

# bitnet_read_includes(<folder> <header>...): sets `includes_<header>` to those of ours.
macro(bitnet_read_includes folder)
    foreach(header IN ITEMS ${ARGN})
        file(STRINGS "${folder}/${header}" includes_${header} REGEX "^#include <bitnet/")
        list(TRANSFORM includes_${header} REPLACE "^#include <([^>]+)>.*" "\\1")
    endforeach()
endmacro()

# Sets `closure_<header>` to the header and all that it includes.
macro(bitnet_close header)
    if(NOT DEFINED closure_${header})
        set(closure_${header} ${header})
        foreach(included IN LISTS includes_${header})
            bitnet_close(${included})
            list(APPEND closure_${header} ${closure_${included}})
        endforeach()
        list(REMOVE_DUPLICATES closure_${header})
    endif()
endmacro()

# bitnet_chain_headers(<folder> <headers> <out>): <out> has a list for each chain, its headers with | between them, the
# one that includes all others last.
function(bitnet_chain_headers folder headers out)
    bitnet_read_includes(${folder} ${headers})
    set(by_size "")
    foreach(header IN LISTS headers)
        bitnet_close(${header})
        list(LENGTH closure_${header} size)
        math(EXPR size "10000 + ${size}")
        list(APPEND by_size "${size} ${header}")
    endforeach()
    list(SORT by_size ORDER DESCENDING)
    set(firsts "") # of the chains so far, those that include least in front
    foreach(header IN LISTS by_size)
        string(REGEX REPLACE "^[0-9]+ " "" header ${header})
        set(chain ${header})
        foreach(first IN LISTS firsts)
            if(header IN_LIST closure_${first})
                set(chain "${header}|${chain_${first}}")
                list(REMOVE_ITEM firsts ${first})
                break()
            endif()
        endforeach()
        set(chain_${header} ${chain})
        list(PREPEND firsts ${header})
    endforeach()
    set(chains "")
    foreach(first IN LISTS firsts)
        list(APPEND chains ${chain_${first}})
    endforeach()
    set(${out} ${chains} PARENT_SCOPE)
endfunction()
