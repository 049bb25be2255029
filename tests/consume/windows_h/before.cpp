// SPDX-License-Identifier: MIT
// A Windows program: the system's headers with all their macros, then the library. (min and max, which MinGW leaves out
// of C++, are among those of host_macros.)
#include <winsock2.h>

#include <windows.h>
#include <windowsx.h>

#include <commctrl.h>
#include <ole2.h>
#include <rpc.h>
#include <shellapi.h>
#include <shlobj.h>

#include <bitnet/bitnet.hpp>

int main() { return bitnet::any_model::open("tiny.gguf") && GetTickCount() != 0 ? 0 : 1; }
