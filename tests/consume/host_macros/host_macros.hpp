// SPDX-License-Identifier: MIT
// Macros of other libraries' headers that a program may have included before bitnet.hpp, in the shapes that they have
// there. bitnet.hpp uses no word of them, and calls no function by the name of a macro with arguments;
// tests/headers/check.cmake reads the names from here.
//
// Left out is what no C++ program has in force where it includes standard headers: keywords (new of MFC's debug build,
// true, false and bool of C headers), move, clear and erase of curses, which defines none of them for C++, and columns
// and lines of term.h. So are macros that rename what they hit alike everywhere, such as R's error and X11's access.
#pragma once

// windows.h: windef.h, winbase.h, wingdi.h, winuser.h, winnt.h, objbase.h, rpcndr.h, dlgs.h, winsock.h
#define min(a, b) (((a) < (b)) ? (a) : (b))
#define max(a, b) (((a) > (b)) ? (a) : (b))
#define near
#define far
#define NEAR
#define FAR
#define small char
#define hyper long long
#define interface struct
#define pascal
#define cdecl
#define huge
#define IN
#define OUT
#define OPTIONAL
#define CONST const
#define VOID void
#define STRICT 1
#define TRUE 1
#define FALSE 0
#define NULL_BRUSH 5
#define ERROR 0
#define NOERROR 0
#define NO_ERROR 0L
#define DELETE (0x00010000L)
#define SYNCHRONIZE (0x00100000L)
#define IGNORE 0
#define INFINITE 0xFFFFFFFF
#define DIFFERENCE 11
#define RELATIVE 2
#define ABSOLUTE 1
#define OPAQUE 2
#define TRANSPARENT 1
#define ALTERNATE 1
#define DOMAIN 1
#define OVERFLOW 3
#define UNDERFLOW 4
#define PASSTHROUGH 19
#define CALLBACK
#define WINAPI
#define APIENTRY
#define PURE = 0
#define THIS_
#define THIS void
#define TEXT(quote) L##quote
#define Yield()
#define GetObject GetObjectW
#define GetMessage GetMessageW
#define SendMessage SendMessageW
#define CreateFile CreateFileW
#define DeleteFile DeleteFileW
#define MoveFile MoveFileW
#define CopyFile CopyFileW
#define LoadImage LoadImageW
#define LoadString LoadStringW
#define GetClassName GetClassNameW
#define GetCommandLine GetCommandLineW
#define GetCurrentTime GetTickCount
#define GetFreeSpace(w) (0x100000L)
#define DrawText DrawTextW
#define CreateWindow CreateWindowW
#define CreateEvent CreateEventW
#define MessageBox MessageBoxW
#define StartService StartServiceW
#define ReportEvent ReportEventW
#define RegisterClass RegisterClassW
#define UpdateResource UpdateResourceW
#define FindText FindTextW
#define IsMinimized(hwnd) IsIconic(hwnd)
#define IsMaximized(hwnd) IsZoomed(hwnd)
#define GetFirstChild(hwnd) GetTopWindow(hwnd)
#define GetNextSibling(hwnd) GetWindow(hwnd, 2)
#define CopyMemory RtlCopyMemory
#define ZeroMemory RtlZeroMemory
#define s_addr S_un.S_addr
#define h_addr h_addr_list[0]
#define edt1 0x0480
#define grp1 0x0430
#define ico1 0x043c
#define rct1 0x0438

// Qt: qobjectdefs.h, qglobal.h, qforeach.h
#define slots
#define signals public
#define emit
#define foreach(variable, container) for (variable : container)
#define forever for (;;)
#define Q_OBJECT
#define Q_SLOTS
#define Q_SIGNALS public
#define Q_EMIT
#define Q_UNUSED(x) (void)x;
#define SIGNAL(a) "2" #a
#define SLOT(a) "1" #a
#define METHOD(a) "0" #a
#define QT_VERSION 0x060000
#define qApp nullptr
#define qDebug() 0

// Unreal: AssertionMacros.h, Platform.h, UnrealMathUtility.h
#define check(expression)                                                                                              \
    {                                                                                                                  \
        if (!(expression)) {                                                                                           \
        }                                                                                                              \
    }
#define checkf(expression, format, ...)                                                                                \
    {}
#define checkSlow(expression)                                                                                          \
    {}
#define checkCode(code)                                                                                                \
    do {                                                                                                               \
        code;                                                                                                          \
    } while (false)
#define checkNoEntry()
#define checkNoReentry()
#define checkNoRecursion()
#define verify(expression)                                                                                             \
    {                                                                                                                  \
        if (!(expression)) {                                                                                           \
        }                                                                                                              \
    }
#define verifyf(expression, format, ...)                                                                               \
    {}
#define ensure(expression) (!!(expression))
#define ensureMsgf(expression, format, ...) (!!(expression))
#define ensureAlways(expression) (!!(expression))
#define unimplemented()
#define PI (3.1415926535897932f)
#define SMALL_NUMBER (1.e-8f)
#define BIG_NUMBER (3.4e+38f)
#define INDEX_NONE -1
#define FORCEINLINE inline
#define FORCENOINLINE
#define RESTRICT __restrict
#define ABSTRACT
#define LIKELY(x) (x)
#define UNLIKELY(x) (x)
#define likely(x) (x)
#define unlikely(x) (x)
#define UPROPERTY(...)
#define UFUNCTION(...)
#define GENERATED_BODY(...)
#define DEPRECATED(version, message)
#define LOCTEXT(key, text) text

// X11: X.h, Xlib.h, Xutil.h
#define None 0L
#define Bool int
#define Status int
#define True 1
#define False 0
#define Success 0
#define Always 2
#define NotUseful 0
#define WhenMapped 1
#define Above 0
#define Below 1
#define TopIf 2
#define BottomIf 3
#define Opposite 4
#define Complex 0
#define Nonconvex 1
#define Convex 2
#define Unsorted 0
#define YSorted 1
#define CursorShape 0
#define TileShape 1
#define StippleShape 2
#define KeyPress 2
#define KeyRelease 3
#define ButtonPress 4
#define FocusIn 9
#define FocusOut 10
#define Expose 12
#define ParentRelative 1L
#define CopyFromParent 0L
#define PointerWindow 0L
#define InputFocus 1L
#define AnyKey 0L
#define AllTemporary 0L
#define CurrentTime 0L
#define NoSymbol 0L
#define BadRequest 1
#define BadValue 2
#define BadMatch 8
#define BadName 15
#define GrayScale 1
#define StaticColor 2
#define Absolute 1
#define DestroyAll 0
#define AllValues 0x000F
#define Button1 1
#define LSBFirst 0
#define MSBFirst 1
#define ControlMask (1 << 2)
#define LineSolid 0
#define FillSolid 0
#define WindingRule 1
#define RootWindow(display, screen) 0L
#define DefaultScreen(display) 0

// Apple: AssertMacros.h, objc.h, MacTypes.h, Block.h
#define require(assertion, label)                                                                                      \
    do {                                                                                                               \
        if (!(assertion)) {                                                                                            \
            goto label;                                                                                                \
        }                                                                                                              \
    } while (false)
#define require_action(assertion, label, action)                                                                       \
    do {                                                                                                               \
        if (!(assertion)) {                                                                                            \
            action;                                                                                                    \
            goto label;                                                                                                \
        }                                                                                                              \
    } while (false)
#define require_noerr(error, label) require((error) == 0, label)
#define require_quiet(assertion, label) require(assertion, label)
#define check_noerr(error) check((error) == 0)
#define check_string(assertion, message) check(assertion)
#define verify_noerr(error) verify((error) == 0)
#define verify_action(assertion, action)                                                                               \
    do {                                                                                                               \
        if (!(assertion)) {                                                                                            \
            action;                                                                                                    \
        }                                                                                                              \
    } while (false)
#define nil nullptr
#define Nil nullptr
#define YES 1
#define NO 0
#define IBOutlet
#define IBAction void
#define TYPE_BOOL 1

// Arduino: Arduino.h, binary.h, WString.h, and the registers of its processors
#define constrain(amount, low, high) ((amount) < (low) ? (low) : ((amount) > (high) ? (high) : (amount)))
#define radians(degrees) ((degrees)*0.017453292519943295)
#define degrees(radians) ((radians)*57.29577951308232)
#define sq(x) ((x) * (x))
#define word(...) makeWord(__VA_ARGS__)
#define bit(b) (1UL << (b))
#define bitRead(value, bit) (((value) >> (bit)) & 0x01)
#define bitSet(value, bit) ((value) |= (1UL << (bit)))
#define bitClear(value, bit) ((value) &= ~(1UL << (bit)))
#define bitWrite(value, bit, bitvalue) ((bitvalue) ? bitSet(value, bit) : bitClear(value, bit))
#define lowByte(w) ((unsigned char)((w)&0xff))
#define highByte(w) ((unsigned char)((w) >> 8))
#define interrupts()
#define noInterrupts()
#define F(text) (text)
#define B0 0
#define B1 1
#define B00000001 1
#define HIGH 0x1
#define LOW 0x0
#define INPUT 0x0
#define OUTPUT 0x1
#define CHANGE 1
#define FALLING 2
#define RISING 3
#define DEFAULT 1
#define EXTERNAL 0
#define INTERNAL 3
#define SERIAL 0x0
#define DISPLAY 0x1
#define HALF_PI 1.5707963267948966
#define TWO_PI 6.283185307179586
#define EULER 2.718281828459045
#define DEG_TO_RAD 0.017453292519943295
#define RAD_TO_DEG 57.29577951308232
#define BIN 2
#define OCT 8
#define DEC 10
#define HEX 16
#define A0 14
#define SP 0x3D
#define low(sfr, bit) ((sfr) &= ~(1 << (bit)))
#define high(sfr, bit) ((sfr) |= (1 << (bit)))

// Systems and compilers: sys/sysmacros.h, sys/param.h, termios.h, complex.h, strings.h, gcc's gnu++ mode, Solaris
#define major(device) ((device) >> 8)
#define minor(device) ((device)&0xff)
#define makedev(major, minor) (((major) << 8) | (minor))
#define unix 1
#define linux 1
#define i386 1
#define sun 1
#define mips 1
#define MIN(a, b) (((a) < (b)) ? (a) : (b))
#define MAX(a, b) (((a) > (b)) ? (a) : (b))
#define ABS(a) (((a) < 0) ? -(a) : (a))
#define CLAMP(x, low, high) (((x) > (high)) ? (high) : (((x) < (low)) ? (low) : (x)))
#define ECHO 0000010
#define CR0 0
#define I 1

// Languages, databases and kits: Ruby, PostgreSQL's c.h, gettext, Linux' and Google's own style
#define finite(x) isfinite(x)
#define rp(object) (object)
#define _(text) (text)
#define N_(text) text
#define Min(x, y) ((x) < (y) ? (x) : (y))
#define Max(x, y) ((x) > (y) ? (x) : (y))
#define Abs(x) ((x) >= 0 ? (x) : -(x))
#define Assert(condition) ((void)0)
#define container_of(pointer, type, member) ((type*)(pointer))
#define BIT(n) (1UL << (n))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define UNUSED(x) (void)(x)
#define ALIGN(x) (x)
#define CHECK(condition)
#define LOG(level)
#define INFO 0
#define WARNING 1
#define FATAL 3
#define DEBUG 1
#define PACKED
#define API
#define EXPORT

// Arduino.h, strings.h and R's Rinternals.h again: a standard header after these does not compile with libstdc++.
#ifdef STANDARD_HEADERS_FIRST
#define abs(x) ((x) > 0 ? (x) : -(x))
#define round(x) ((x) >= 0 ? (long)((x) + 0.5) : (long)((x)-0.5))
#define index(text, character) strchr((text), (character))
#define rindex(text, character) strrchr((text), (character))
#define length(x) Rf_length(x)
#endif
