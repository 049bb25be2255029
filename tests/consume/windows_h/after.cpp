// SPDX-License-Identifier: MIT
// A Windows program: the library, which declares functions of the system without windows.h, then that.
#include <bitnet/bitnet.hpp>

#include <windows.h>

int main() {
    const HANDLE file = CreateFileW(L"tiny.gguf", GENERIC_READ, FILE_SHARE_READ, nullptr, OPEN_EXISTING, 0, nullptr);
    LARGE_INTEGER size{};
    SECURITY_ATTRIBUTES attributes{};
    const HANDLE mapping = CreateFileMappingW(file, &attributes, PAGE_READONLY, 0, 0, nullptr);
    return GetFileSizeEx(file, &size) != 0 && CloseHandle(mapping) != 0 && CloseHandle(file) != 0 &&
                   bitnet::any_model::open("tiny.gguf")
               ? 0
               : 1;
}
