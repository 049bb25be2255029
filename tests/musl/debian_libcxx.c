/* SPDX-License-Identifier: MIT
   What Debian's static libc++, compiled for glibc, takes from its C library and musl does not have. */
#include <locale.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

int vasprintf(char** text, const char* format, va_list list);

/* The fortified variants, without their checks. */
int __vfprintf_chk(FILE* file, int flag, const char* format, va_list list) {
    (void)flag;
    return vfprintf(file, format, list);
}
int __fprintf_chk(FILE* file, int flag, const char* format, ...) {
    va_list list;
    va_start(list, format);
    const int written = __vfprintf_chk(file, flag, format, list);
    va_end(list);
    return written;
}
int __vsnprintf_chk(char* to, size_t size, int flag, size_t room, const char* format, va_list list) {
    (void)flag, (void)room;
    return vsnprintf(to, size, format, list);
}
int __vasprintf_chk(char** to, int flag, const char* format, va_list list) {
    (void)flag;
    return vasprintf(to, format, list);
}
void* __memmove_chk(void* to, const void* from, size_t size, size_t room) {
    (void)room;
    return memmove(to, from, size);
}
wchar_t* __wmemcpy_chk(wchar_t* to, const wchar_t* from, size_t size, size_t room) {
    (void)room;
    return wmemcpy(to, from, size);
}
wchar_t* __wmemmove_chk(wchar_t* to, const wchar_t* from, size_t size, size_t room) {
    (void)room;
    return wmemmove(to, from, size);
}

/* GNU's functions. musl knows one locale. */
long long strtoll_l(const char* text, char** end, int base, locale_t locale) {
    (void)locale;
    return strtoll(text, end, base);
}
unsigned long long strtoull_l(const char* text, char** end, int base, locale_t locale) {
    (void)locale;
    return strtoull(text, end, base);
}
char* gnu_strerror_r(int number, char* to, size_t size) __asm__("strerror_r"); /* musl declares POSIX's */
char* gnu_strerror_r(int number, char* to, size_t size) {
    (void)to, (void)size;
    return strerror(number);
}

/* Thread-local objects are not destroyed here; the tests have none that need it. */
int __cxa_thread_atexit_impl(void (*destroy)(void*), void* object, void* program) {
    (void)destroy, (void)object, (void)program;
    return 0;
}
