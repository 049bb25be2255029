// SPDX-License-Identifier: MIT
// constrain.hpp in one file, generated from include/bitnet/ by cmake/amalgamate.cmake: edit there, not here.

// ---- bitnet/core/config.hpp ----
// The only macros of the library: version, target architecture, code regions. None configures behaviour.

// Several copies of the library may come together in one source if they have one version: what the first has, the
// others leave out. Of two versions the second is refused, and single_include leaves out all of it. An edited copy is
// another version, so that both the version before and the one below are compared.
#define BITNET_VERSION_IS_0_1_0 (BITNET_VERSION_MAJOR == 0 && BITNET_VERSION_MINOR == 1 && BITNET_VERSION_PATCH == 0)
#if defined(BITNET_VERSION_MAJOR) && !(defined(BITNET_CORE_CONFIG_HPP) && BITNET_VERSION_IS_0_1_0)
#define BITNET_SECOND_VERSION
#endif
#undef BITNET_VERSION_MAJOR
#undef BITNET_VERSION_MINOR
#undef BITNET_VERSION_PATCH
#define BITNET_VERSION_MAJOR 0
#define BITNET_VERSION_MINOR 1
#define BITNET_VERSION_PATCH 0
#if defined(BITNET_CORE_CONFIG_HPP) && !BITNET_VERSION_IS_0_1_0
#define BITNET_SECOND_VERSION
#endif
#ifdef BITNET_SECOND_VERSION
#error "two versions of bitnet.hpp in one source: include the same one everywhere, or each in sources of its own"
#endif

#ifndef BITNET_CORE_CONFIG_HPP
#define BITNET_CORE_CONFIG_HPP

// Every name lives in `namespace bitnet::inline BITNET_ABI` or its `detail`, so that two versions can meet in one
// program, and so can translation units that are compiled for different CPUs or with -ffast-math: of two inline
// functions of one name the linker keeps either, and an older CPU must never meet the one for a newer. Objects do not
// pass between such units: that program does not link.
#if defined(__AMX_TILE__)
#define BITNET_ABI_CPU _amx
#elif defined(__AVX512VNNI__)
#define BITNET_ABI_CPU _avx512_vnni
#elif defined(__AVX512F__)
#define BITNET_ABI_CPU _avx512
#elif defined(__AVXVNNI__)
#define BITNET_ABI_CPU _avx_vnni
#elif defined(__AVX2__)
#define BITNET_ABI_CPU _avx2
#elif defined(__FMA__) || defined(__F16C__) || defined(__BMI__)
#define BITNET_ABI_CPU _fma
#elif defined(__AVX__)
#define BITNET_ABI_CPU _avx
#elif defined(__SSE4_2__) || defined(__POPCNT__)
#define BITNET_ABI_CPU _sse42
#elif defined(__SSE4_1__)
#define BITNET_ABI_CPU _sse41
#elif defined(__SSSE3__)
#define BITNET_ABI_CPU _ssse3
#elif defined(__SSE3__)
#define BITNET_ABI_CPU _sse3
#elif defined(__ARM_FEATURE_SVE)
#define BITNET_ABI_CPU _sve
#elif defined(__ARM_FEATURE_MATMUL_INT8)
#define BITNET_ABI_CPU _i8mm
#elif defined(__ARM_FEATURE_DOTPROD)
#define BITNET_ABI_CPU _dotprod
#elif defined(__ARM_FEATURE_ATOMICS)
#define BITNET_ABI_CPU _lse
#elif defined(__wasm_relaxed_simd__)
#define BITNET_ABI_CPU _relaxed_simd
#elif defined(__wasm_simd128__)
#define BITNET_ABI_CPU _simd128
#else
#define BITNET_ABI_CPU
#endif
#if defined(__FAST_MATH__) || defined(_M_FP_FAST)
#define BITNET_ABI_ARITHMETIC _fast_math
#else
#define BITNET_ABI_ARITHMETIC
#endif
#define BITNET_ABI_JOIN(major, minor, patch, cpu, arithmetic) v##major##_##minor##_##patch##cpu##arithmetic
#define BITNET_ABI_NAME(major, minor, patch, cpu, arithmetic) BITNET_ABI_JOIN(major, minor, patch, cpu, arithmetic)
#define BITNET_ABI                                                                                                     \
    BITNET_ABI_NAME(BITNET_VERSION_MAJOR, BITNET_VERSION_MINOR, BITNET_VERSION_PATCH, BITNET_ABI_CPU,                  \
                    BITNET_ABI_ARITHMETIC)

#if defined(__x86_64__) || defined(_M_X64)
#define BITNET_X86_64 1
#else
#define BITNET_X86_64 0
#endif

#if defined(__aarch64__) || defined(_M_ARM64)
#define BITNET_ARM64 1
#else
#define BITNET_ARM64 0
#endif

// WebAssembly: whether the module may use 128-bit SIMD, relaxed SIMD too, and whether there are threads (-pthread).
#if defined(__wasm_simd128__)
#define BITNET_WASM_SIMD128 1
#else
#define BITNET_WASM_SIMD128 0
#endif
#if defined(__wasm_relaxed_simd__)
#define BITNET_WASM_RELAXED_SIMD 1
#else
#define BITNET_WASM_RELAXED_SIMD 0
#endif
#if defined(__wasm__) && !(defined(__wasm_atomics__) && defined(_REENTRANT))
#define BITNET_THREADS 0
#else
#define BITNET_THREADS 1
#endif

// Whether a standard container that finds no memory throws, and does not end the program.
#if defined(__cpp_exceptions) || defined(_CPPUNWIND)
#define BITNET_EXCEPTIONS 1
#else
#define BITNET_EXCEPTIONS 0
#endif

// Whether inline assembly knows the tile instructions of AMX (gcc 11, clang 12): compilers that do have these headers.
#if BITNET_X86_64 && defined(__GNUC__) && (__has_include(<amxintrin.h>) || __has_include(<amxint8intrin.h>))
#define BITNET_AMX_ASSEMBLER 1
#else
#define BITNET_AMX_ASSEMBLER 0
#endif

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "bitnet.hpp reads little-endian files in place and refuses big-endian machines"
#endif
#if (defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ != 0) || (defined(_M_IX86_FP) && _M_IX86_FP < 2)
#error "bitnet.hpp needs float arithmetic in float precision: on 32-bit x86 compile with -msse2 -mfpmath=sse"
#endif
#if defined(__wasm__) && defined(__FAST_MATH__)
#error "bitnet.hpp cannot keep its arithmetic exact under -ffast-math on WebAssembly: clang offers no way there"
#endif
#if !defined(_MSC_VER) && __cplusplus < 202002L
#error "bitnet.hpp needs C++20"
#endif

// BITNET_NOINLINE: what is rarely called from many places, which compilers would copy to each of them.
#if defined(_MSC_VER) && !defined(__clang__)
#define BITNET_ALWAYS_INLINE __forceinline
#define BITNET_NOINLINE __declspec(noinline)
#else
#define BITNET_ALWAYS_INLINE __attribute__((always_inline)) inline
#define BITNET_NOINLINE __attribute__((noinline))
#endif

// What only failures call: never inlined, and code that leads there is made small instead of fast.
#if defined(__GNUC__)
#define BITNET_COLD __attribute__((cold))
#else
#define BITNET_COLD
#endif

#define BITNET_PRAGMA(text) _Pragma(#text)

// Before a loop of a fixed few steps over an array of vector registers. gcc's -O2 would leave loop and array in memory;
// clang would unroll too late to keep larger arrays out of it.
#if defined(__clang__)
#define BITNET_UNROLL _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define BITNET_UNROLL _Pragma("GCC unroll 16")
#else
#define BITNET_UNROLL
#endif

// BITNET_PRECISE_BEGIN .. END: float arithmetic exactly as written, whatever flags the including program is built with.
// BITNET_TARGET_BEGIN(isa) .. END: the same, and functions are compiled for `isa`. Opened outside any namespace.
// (clang has float_control for Arm from version 15 on. Before, what comes after these headers stays without
// contraction and reassociation, too, which changes no result that the program could rely on.)
#if BITNET_ARM64 && defined(__clang__) && __clang_major__ < 15
#define BITNET_FLOAT_CONTROL 0
#else
#define BITNET_FLOAT_CONTROL 1
#endif
#if defined(__clang__) && defined(__wasm__)
// clang has no float_control for WebAssembly; what remains to be said is the default anyway without -ffast-math.
#define BITNET_PRECISE_BEGIN _Pragma("clang fp contract(off)")
#define BITNET_PRECISE_END _Pragma("clang fp contract(on)")
#elif defined(__clang__)
#if !BITNET_FLOAT_CONTROL
#define BITNET_PRECISE_BEGIN _Pragma("clang fp contract(off) reassociate(off)")
#define BITNET_PRECISE_END
#else
#define BITNET_PRECISE_BEGIN _Pragma("float_control(precise, on, push)") _Pragma("clang fp contract(off)")
#define BITNET_PRECISE_END _Pragma("float_control(pop)")
#endif
#define BITNET_TARGET_BEGIN(isa)                                                                                       \
    BITNET_PRECISE_BEGIN BITNET_PRAGMA(clang attribute push(__attribute__((target(isa))), apply_to = function))
#define BITNET_TARGET_END _Pragma("clang attribute pop") BITNET_PRECISE_END
#elif defined(__GNUC__)
#define BITNET_PRECISE_BEGIN _Pragma("GCC push_options") _Pragma("GCC optimize(\"no-fast-math\", \"fp-contract=off\")")
#define BITNET_PRECISE_END _Pragma("GCC pop_options")
// gcc 12's AVX-512 headers warn inside themselves; the diagnostic pragmas silence that and nothing of ours.
#define BITNET_TARGET_BEGIN(isa)                                                                                       \
    BITNET_PRECISE_BEGIN BITNET_PRAGMA(GCC target(isa)) _Pragma("GCC diagnostic push")                                 \
        _Pragma("GCC diagnostic ignored \"-Wuninitialized\"")                                                          \
            _Pragma("GCC diagnostic ignored \"-Wmaybe-uninitialized\"")
#define BITNET_TARGET_END _Pragma("GCC diagnostic pop") BITNET_PRECISE_END
#elif defined(_MSC_VER)
#define BITNET_PRECISE_BEGIN __pragma(float_control(precise, on, push)) __pragma(fp_contract(off))
#define BITNET_PRECISE_END __pragma(float_control(pop))
#define BITNET_TARGET_BEGIN(isa) BITNET_PRECISE_BEGIN
#define BITNET_TARGET_END BITNET_PRECISE_END
#endif

// The arguments of BITNET_TARGET_BEGIN on x86-64: what cpu.hpp checks before isa::avx2 and the others are available.
#define BITNET_TARGET_SSE41 "sse4.1"
#define BITNET_TARGET_AVX2 "avx2,fma,f16c,bmi,bmi2"
#define BITNET_TARGET_AVX_VNNI "avx2,fma,f16c,bmi,bmi2,avxvnni"
#define BITNET_TARGET_AVX512_VNNI "avx2,fma,f16c,bmi,bmi2,avx512f,avx512cd,avx512bw,avx512dq,avx512vl,avx512vnni"

// And on Arm. A region must have all that the functions inlined into it have, hence the first one, and gcc's assembler
// takes the dot products from Armv8.2 on only.
#if defined(__clang__)
#define BITNET_TARGET_NEON "neon"
#define BITNET_TARGET_NEON_DOTPROD "dotprod"
#define BITNET_TARGET_NEON_I8MM "dotprod,i8mm"
#else
#define BITNET_TARGET_NEON "arch=armv8-a"
#if defined(__ARM_FEATURE_DOTPROD)
#define BITNET_TARGET_NEON_DOTPROD "+dotprod"
#define BITNET_TARGET_NEON_I8MM "+dotprod+i8mm"
#else
#define BITNET_TARGET_NEON_DOTPROD "arch=armv8.2-a+dotprod"
#define BITNET_TARGET_NEON_I8MM "arch=armv8.2-a+dotprod+i8mm"
#endif
#endif

#endif

#ifndef BITNET_SECOND_VERSION

// ---- bitnet/constrain.hpp ----
// Grammars, JSON Schemas, regular expressions and lists of choices, and matchers that follow a text in them byte by
// byte. Apart from bitnet.hpp: nothing there needs them, and they would be a tenth of what a program compiles.
#ifndef BITNET_CONSTRAIN_HPP
#define BITNET_CONSTRAIN_HPP

// ---- bitnet/constrain/automaton.hpp ----
// automaton: states with edges over bytes, and with calls and counts where the language of a rule is not regular.
#ifndef BITNET_CONSTRAIN_AUTOMATON_HPP
#define BITNET_CONSTRAIN_AUTOMATON_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Bytes low to high lead to the state `target`.
struct byte_edge {
    std::uint8_t low;
    std::uint8_t high;
    std::uint32_t target;
};

/// Edges that no byte goes along.
enum class special_kind : std::uint8_t {
    call,      ///< a text of rule `value`, then `target`
    tail_call, ///< the same where nothing follows in the caller
    count,     ///< adds one to the counter of the rule, if it is below `value`
    skip,      ///< no condition: left where a rule was too large to be made deterministic
};

struct special_edge {
    special_kind kind;
    std::uint32_t value;
    std::uint32_t target;
};

/// States 0 (the start) to size() - 1; none at all is the language without a text. Built state by state: add_state(),
/// then its edges. Edges over bytes of one state are sorted; they overlap only where a rule stayed nondeterministic.
class automaton {
public:
    [[nodiscard]] std::size_t size() const noexcept { return states_.size(); }
    [[nodiscard]] bool is_final(std::size_t state) const noexcept { return states_[state].is_final; }
    [[nodiscard]] BITNET_ALWAYS_INLINE std::span<const byte_edge> byte_edges(std::size_t state) const noexcept {
        const std::size_t first = states_[state].first_byte;
        const std::size_t last = state + 1 < size() ? states_[state + 1].first_byte : bytes_.size();
        return {bytes_.data() + first, last - first};
    }
    [[nodiscard]] BITNET_ALWAYS_INLINE std::span<const special_edge> special_edges(std::size_t state) const noexcept {
        const std::size_t first = states_[state].first_special;
        const std::size_t last = state + 1 < size() ? states_[state + 1].first_special : specials_.size();
        return {specials_.data() + first, last - first};
    }
    /// Edges of all states together.
    [[nodiscard]] std::size_t edges() const noexcept { return bytes_.size() + specials_.size(); }

    void add_state(bool is_final) {
        states_.push_back(
            {static_cast<std::uint32_t>(bytes_.size()), static_cast<std::uint32_t>(specials_.size()), is_final});
    }
    void add(byte_edge edge) { bytes_.push_back(edge); }
    void add(special_edge edge) { specials_.push_back(edge); }

    /// The state after `byte` in a deterministic automaton; no_state where there is none.
    [[nodiscard]] std::uint32_t next(std::size_t state, std::uint8_t byte) const noexcept {
        for (const byte_edge edge : byte_edges(state)) {
            if (byte <= edge.high) {
                return byte >= edge.low ? edge.target : no_state;
            }
        }
        return no_state;
    }
    /// Whether a deterministic automaton accepts `text`.
    [[nodiscard]] bool accepts(std::string_view text) const noexcept {
        std::uint32_t state = size() == 0 ? no_state : 0;
        for (std::size_t i = 0; i < text.size() && state != no_state; ++i) {
            state = next(state, static_cast<std::uint8_t>(text[i]));
        }
        return state != no_state && is_final(state);
    }

    static constexpr std::uint32_t no_state = 0xffffffffu;

private:
    struct state_row {
        std::uint32_t first_byte;
        std::uint32_t first_special;
        bool is_final;
    };

    std::vector<state_row> states_;
    std::vector<byte_edge> bytes_;
    std::vector<special_edge> specials_;
};

/// Work and size that a compilation may cost; what is spent is counted down.
struct compile_budget {
    std::uint64_t steps = 50'000'000; ///< edges looked at: about a quarter of a second
    std::uint32_t states = 65'536;    ///< of one deterministic automaton
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

// ---- bitnet/constrain/call_marks.hpp ----
// call_marks: the texts around calls as tokens of a vocabulary, and which tokens end the mark in front of one.
#ifndef BITNET_CONSTRAIN_CALL_MARKS_HPP
#define BITNET_CONSTRAIN_CALL_MARKS_HPP

// ---- bitnet/core/result.hpp ----
// errc, error and result<T>: how functions report failure. Nothing here throws.
#ifndef BITNET_CORE_RESULT_HPP
#define BITNET_CORE_RESULT_HPP

#include <cassert>
#include <new>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// What went wrong, for programs. The sentence for people is in error::message.
enum class errc {
    // the machine and the operating system
    file_not_found = 1, ///< no such file
    not_a_file,         ///< a directory, a pipe, ...
    io_error,           ///< the operating system refused to open, map, read or write
    out_of_memory,      ///< the message holds the bytes asked for, where they are many
    unsupported_cpu,    ///< no policy of the list runs on this CPU
    thread_error,       ///< the operating system refused a thread
    broken_kernel,      ///< a kernel does not compute what plain C++ does: a compiler's or a CPU's fault
    // bytes of a file
    truncated,     ///< the file ends before what it announces
    bad_magic,     ///< not a GGUF file, or not a save
    bad_version,   ///< GGUF version other than 2 or 3, or byte-swapped; a save of another version
    bad_checksum,  ///< bytes of a save that are not those that were written
    bad_count,     ///< a count that the remaining bytes cannot hold
    bad_key,       ///< a metadata key that is empty, too long or has a NUL byte
    duplicate_key, ///< one metadata key twice
    bad_value,     ///< unknown value type, nested array, bool other than 0 and 1
    bad_alignment, ///< general.alignment of the wrong type, 0, not a power of two or above 64 KiB
    bad_tensor_name,
    duplicate_tensor,
    bad_shape, ///< 0 or > 4 dimensions, a zero dimension, an overflowing product, a row that is no multiple of its
               ///< block
    unsupported_type, ///< a tensor type id that is unknown here
    bad_offset,       ///< a tensor that is unaligned, overlaps another or lies beyond the file
    bad_scale,        ///< a ternary scale that is not finite or not positive
    bad_code,         ///< ternary code 3
    bad_json,         ///< JSON text that does not follow RFC 8259
    bad_utf8,         ///< bytes that are not UTF-8
    bad_file_name,    ///< a file of a checkpoint whose name is no plain file name
    // meaning of a file
    unsupported_architecture,
    missing_key,    ///< a metadata key that the architecture needs
    wrong_type,     ///< a metadata value of another type than the key has
    out_of_range,   ///< a hyper-parameter outside its sane range
    inconsistent,   ///< two facts in the file that disagree
    missing_tensor, ///< a tensor that the architecture needs
    wrong_shape,    ///< a tensor of another shape than the hyper-parameters imply
    wrong_layout,   ///< a ternary layout that the policy cannot take
    bad_vocabulary, ///< tokens, scores, types or merges that do not fit together
    unknown_pre_tokenizer,
    unsupported_tokenizer,
    unknown_chat_template, ///< a dialog has to be written in a format that nothing tells
    wrong_model,           ///< a save of another model, or of a session that computes otherwise
    // grammars
    bad_grammar,        ///< a grammar, regular expression or list of choices that cannot be read
    bad_schema,         ///< a JSON text that is no JSON Schema
    unsupported_schema, ///< a keyword of a JSON Schema that cannot be enforced
    empty_language,     ///< no text at all matches a grammar
    grammar_budget,     ///< more states, ways of reading a text or work than the limits allow
    no_token_left,      ///< no token may be chosen
    // the caller's requests
    invalid_argument, ///< a value outside its documented range
    invalid_token,    ///< a token id outside the vocabulary
    context_full,     ///< more tokens than the context has room for
    kv_pool_full,     ///< more positions than a kv_pool has free pages for
    nothing_fed,      ///< next() or logits() before any token was fed
    no_lm_head,       ///< logits or tokens of a text embedding model
    cancelled,        ///< the caller's own callback or flag stopped the work
};

/// One failure: a code for programs and a sentence for people, naming the place and both disagreeing numbers.
struct error {
    errc code{};
    std::string message;
};

/// A value or an error. Like std::expected<T, error> of C++23, as far as this library needs it.
template <class T> class [[nodiscard]] result {
public:
    using value_type = T;

    result(T value) noexcept(std::is_nothrow_move_constructible_v<T>) : ok_(true) {
        ::new (static_cast<void*>(&value_)) T(std::move(value));
    }
    result(bitnet::error failure) noexcept : ok_(false) {
        ::new (static_cast<void*>(&error_)) bitnet::error(std::move(failure));
    }
    result(result&& other) noexcept(std::is_nothrow_move_constructible_v<T>) : ok_(other.ok_) {
        take(std::move(other));
    }
    result& operator=(result&& other) noexcept(std::is_nothrow_move_constructible_v<T>) {
        if (this != &other) {
            destroy();
            ok_ = other.ok_;
            take(std::move(other));
        }
        return *this;
    }
    result(const result&) = delete;
    result& operator=(const result&) = delete;
    ~result() { destroy(); }

    [[nodiscard]] bool has_value() const noexcept { return ok_; }
    explicit operator bool() const noexcept { return ok_; }

    /// \pre has_value()
    [[nodiscard]] T& operator*() & noexcept { return assert(ok_), value_; }
    [[nodiscard]] const T& operator*() const& noexcept { return assert(ok_), value_; }
    [[nodiscard]] T&& operator*() && noexcept { return assert(ok_), std::move(value_); }
    [[nodiscard]] T* operator->() noexcept { return assert(ok_), &value_; }
    [[nodiscard]] const T* operator->() const noexcept { return assert(ok_), &value_; }

    /// \pre !has_value()
    [[nodiscard]] const bitnet::error& error() const& noexcept { return assert(!ok_), error_; }
    [[nodiscard]] bitnet::error&& error() && noexcept { return assert(!ok_), std::move(error_); }

private:
    void take(result&& other) {
        if (ok_) {
            ::new (static_cast<void*>(&value_)) T(std::move(other.value_));
        } else {
            ::new (static_cast<void*>(&error_)) bitnet::error(std::move(other.error_));
        }
    }
    void destroy() noexcept {
        if (ok_) {
            value_.~T();
        } else {
            error_.~error();
        }
    }

    union {
        T value_;
        bitnet::error error_;
    };
    bool ok_;
};

/// Success without a value, or an error.
template <> class [[nodiscard]] result<void> {
public:
    using value_type = void;

    result() noexcept = default;
    result(bitnet::error failure) noexcept : error_(std::move(failure)) {}

    [[nodiscard]] bool has_value() const noexcept { return error_.code == errc{}; }
    explicit operator bool() const noexcept { return has_value(); }

    /// \pre !has_value()
    [[nodiscard]] const bitnet::error& error() const& noexcept { return assert(!has_value()), error_; }
    [[nodiscard]] bitnet::error&& error() && noexcept { return assert(!has_value()), std::move(error_); }

private:
    bitnet::error error_;
};

/// The error of a result that failed, to be returned as the error of another: `if (!opened) return failed(opened);`
/// Takes the sentence out of a result that may be changed, and copies it from one that may not. \pre !made.has_value()
template <class T> [[nodiscard]] error failed(result<T>& made) noexcept { return std::move(made).error(); }
template <class T> [[nodiscard]] error failed(result<T>&& made) noexcept { return std::move(made).error(); }
template <class T> [[nodiscard]] error failed(const result<T>& made) { return made.error(); }

} // namespace bitnet::inline BITNET_ABI

#endif

// ---- bitnet/run/tool_source.hpp ----
// tool_source: the functions that the model of a conversation may call, and what holds its answers to whole calls.
#ifndef BITNET_RUN_TOOL_SOURCE_HPP
#define BITNET_RUN_TOOL_SOURCE_HPP

// ---- bitnet/run/conversation_turn.hpp ----
// conversation_turn: one turn of a conversation's history.
#ifndef BITNET_RUN_CONVERSATION_TURN_HPP
#define BITNET_RUN_CONVERSATION_TURN_HPP

// ---- bitnet/text/token.hpp ----
// token: the number of one entry of a vocabulary.
#ifndef BITNET_TEXT_TOKEN_HPP
#define BITNET_TEXT_TOKEN_HPP

#include <cstdint>

namespace bitnet::inline BITNET_ABI {

/// Index of an entry of a vocabulary: 0 to vocabulary_size() - 1. GGUF and every runtime use 32 signed bits.
using token = std::int32_t;

/// No entry of any vocabulary.
inline constexpr token no_token = -1;

} // namespace bitnet::inline BITNET_ABI

#endif

#include <cstddef>
#include <string>
#include <vector>

namespace bitnet::inline BITNET_ABI {

/// What was said once, as data.
struct conversation_turn {
    /// A call of a tool, as chat_tool_call.
    struct call {
        std::string name;
        std::string arguments;
    };

    std::string role;             ///< "system", "user", "assistant", "tool" ...
    std::string text;             ///< of an answer with its thoughts, and with what the host began it with
    std::vector<call> calls = {}; ///< of an assistant's turn; those of an answer are in `text`, too

    bool is_answer = false;         ///< the model wrote it, and it is in the dialog as the tokens it wrote
    std::vector<token> tokens = {}; ///< of an answer, those that the host began it with included, not the stop token
    std::size_t begun_tokens = 0;   ///< how many of `tokens` the host began it with
    std::size_t begun_bytes = 0;    ///< and how many bytes of `text`
    token stop = no_token;          ///< the stop token at its end; no_token if it was ended otherwise
};

} // namespace bitnet::inline BITNET_ABI

#endif

// ---- bitnet/run/token_chooser.hpp ----
// token_chooser: what chooses the next token from logits, such as a sampler or a class of the program's own.
#ifndef BITNET_RUN_TOKEN_CHOOSER_HPP
#define BITNET_RUN_TOKEN_CHOOSER_HPP

// ---- bitnet/model/ranking.hpp ----
// The order of logits: the largest first, the lower id on ties, NaN below everything.
#ifndef BITNET_MODEL_RANKING_HPP
#define BITNET_MODEL_RANKING_HPP

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

namespace bitnet::inline BITNET_ABI {

/// A token and the logit it has.
struct scored_token {
    token id;
    float logit;
};

namespace detail {

/// Orders floats as integers, NaN below everything: a strict order whatever the flags of the including program.
[[nodiscard]] inline std::int32_t rank_of(float x) noexcept {
    const auto bits = std::bit_cast<std::int32_t>(x);
    if ((bits & 0x7fffffff) > 0x7f800000) {
        return INT32_MIN;
    }
    return bits < 0 ? -(bits & 0x7fffffff) : bits;
}

/// Whether `a` comes before `b` in a sorted list of logits: a total order of different tokens.
[[nodiscard]] inline bool precedes(float a, token a_id, float b, token b_id) noexcept {
    const std::int32_t x = rank_of(a);
    const std::int32_t y = rank_of(b);
    return x != y ? x > y : a_id < b_id;
}
[[nodiscard]] inline bool precedes(const scored_token& a, const scored_token& b) noexcept {
    return precedes(a.logit, a.id, b.logit, b.id);
}

/// The out.size() first of all `logits`, in order; all if there are fewer. \return how many
[[nodiscard]] inline std::size_t take_largest(std::span<const float> logits, std::span<scored_token> out) noexcept {
    std::size_t count = 0;
    for (std::size_t i = 0; i < logits.size() && !out.empty(); ++i) {
        const scored_token here{static_cast<token>(i), logits[i]};
        if (count == out.size() && !precedes(here, out[count - 1])) {
            continue;
        }
        count += count == out.size() ? 0u : 1u; // one drops out at the end if it is full
        std::size_t at = count - 1;
        for (; at != 0 && precedes(here, out[at - 1]); --at) {
            out[at] = out[at - 1];
        }
        out[at] = here;
    }
    return count;
}

} // namespace detail

} // namespace bitnet::inline BITNET_ABI

#endif

// ---- bitnet/run/allowed_tokens.hpp ----
// allowed_tokens: which tokens of a vocabulary may be chosen next.
#ifndef BITNET_RUN_ALLOWED_TOKENS_HPP
#define BITNET_RUN_ALLOWED_TOKENS_HPP

#include <cstddef>
#include <cstdint>
#include <span>

namespace bitnet::inline BITNET_ABI {

/// A set of tokens. Views memory of the chooser that made it.
struct allowed_tokens {
    /// Sets of at most so many are listed, so that only their rows of the output matrix are computed.
    static constexpr std::size_t most_listed = 4096;

    std::size_t count = 0;                   ///< how many there are
    std::span<const std::uint64_t> bits;     ///< bit id % 64 of word id / 64; ids beyond are not allowed
    std::span<const std::uint32_t> few = {}; ///< the ids, ascending, if count <= most_listed

    [[nodiscard]] bool contains(token id) const noexcept {
        const auto at = static_cast<std::size_t>(id);
        return at / 64 < bits.size() && (bits[at / 64] >> at % 64 & 1) != 0;
    }
};

} // namespace bitnet::inline BITNET_ABI

#endif

#include <concepts>
#include <cstddef>
#include <memory>
#include <span>
#include <type_traits>

namespace bitnet::inline BITNET_ABI {

/// Chooses tokens for one sequence. A session calls, for each token: needs(), in steps more than once, then one of the
/// two choose(), then accept() with the token that choose() returned; where that is none of the vocabulary, next() ends
/// with stop_reason::error instead (no_token: errc::no_token_left). None of them may throw.
///
/// needs(): how many of the largest logits suffice to choose, given the tokens accepted so far. 0: all of them, in the
/// order of the vocabulary. A small number lets the session skip most of the head's work, if it has a screen for it.
///
/// choose(all): the token, from the logits of the whole vocabulary; `all[id]` is that of token id. A session may call
/// this one whatever needs() says, so it must work for every chooser.
///
/// choose(largest): the token, from exactly needs() or more of the largest logits, in any order, every token once; or
/// from all of them, if the vocabulary has fewer. Must give the token that the other choose() would give. Never called
/// while needs() is 0.
///
/// accept(id): `id` was taken: the next call of needs() and choose() is for the token after it.
template <class C>
concept token_chooser = requires(C& chooser, std::span<const float> all, std::span<const scored_token> largest,
                                 token id) {
    { chooser.needs() } -> std::convertible_to<std::size_t>;
    { chooser.choose(all) } -> std::same_as<token>;
    { chooser.choose(largest) } -> std::same_as<token>;
    chooser.accept(id);
};

/// A token_chooser to which some tokens are forbidden. A session calls allowed() before needs(), and schedulers more
/// than once; and then one of the two choose(), as before: choose(largest) with the needs() largest logits of the
/// tokens that are allowed (all of these, if they are fewer; one alone with a logit of 0, because its logit decides
/// nothing), or choose(all), which has to leave out the others itself. needs() may be 0 and choose(largest) is called
/// with all tokens that are allowed.
///
/// An error of allowed() ends next() with stop_reason::error, and so does a set without a token.
template <class C>
concept constrained_token_chooser = token_chooser<C> && requires(C& chooser) {
    { chooser.allowed() } -> std::same_as<result<allowed_tokens>>;
};

/// A constrained_token_chooser that knows tokens before they are asked for: forced() are those that it will choose
/// next, one after the other, whatever the logits are. Before it asks for them a session runs up to 15 in the pass of
/// the token that waits, in next() and step(), and so do schedulers. They are guesses to it, as those of
/// any_session::run_ahead: it asks allowed() and choose() of each. May be called at any time; what it gives is read
/// before the next call.
template <class C>
concept foreseeing_token_chooser = constrained_token_chooser<C> && requires(C& chooser) {
    { chooser.forced() } -> std::same_as<std::span<const token>>;
};

/// A reference to any token_chooser, for functions that are no templates. Borrows the chooser, which must outlive it.
class any_chooser {
public:
    template <token_chooser C>
    requires(!std::is_const_v<C> && !std::same_as<C, any_chooser>) any_chooser(C& chooser)
    noexcept
        : self_(std::addressof(chooser)),
          needs_([](void* self) noexcept -> std::size_t { return static_cast<C*>(self)->needs(); }),
          choose_([](void* self, std::span<const float> all) noexcept { return static_cast<C*>(self)->choose(all); }),
          choose_among_([](void* self, std::span<const scored_token> largest) noexcept {
              return static_cast<C*>(self)->choose(largest);
          }),
          accept_([](void* self, token id) noexcept { static_cast<void>(static_cast<C*>(self)->accept(id)); }) {
        if constexpr (constrained_token_chooser<C>) {
            allowed_ = [](void* self) { return static_cast<C*>(self)->allowed(); };
        }
        if constexpr (foreseeing_token_chooser<C>) {
            forced_ = [](void* self) noexcept { return static_cast<C*>(self)->forced(); };
        }
    }

    [[nodiscard]] std::size_t needs() const noexcept { return needs_(self_); }
    [[nodiscard]] token choose(std::span<const float> all) const noexcept { return choose_(self_, all); }
    [[nodiscard]] token choose(std::span<const scored_token> largest) const noexcept {
        return choose_among_(self_, largest);
    }
    void accept(token id) const noexcept { accept_(self_, id); }

    /// Whether it is a constrained_token_chooser.
    [[nodiscard]] bool is_constrained() const noexcept { return allowed_ != nullptr; }
    /// \pre is_constrained()
    [[nodiscard]] result<allowed_tokens> allowed() const { return allowed_(self_); }
    /// The tokens that it will choose next; none if it is no foreseeing_token_chooser.
    [[nodiscard]] std::span<const token> forced() const noexcept {
        return forced_ != nullptr ? forced_(self_) : std::span<const token>();
    }

private:
    void* self_;
    std::size_t (*needs_)(void*) noexcept;
    token (*choose_)(void*, std::span<const float>) noexcept;
    token (*choose_among_)(void*, std::span<const scored_token>) noexcept;
    void (*accept_)(void*, token) noexcept;
    result<allowed_tokens> (*allowed_)(void*) = nullptr;
    std::span<const token> (*forced_)(void*) noexcept = nullptr;
};

} // namespace bitnet::inline BITNET_ABI

#endif

// ---- bitnet/run/tool_choice.hpp ----
// tool_choice: whether the model may or has to call a function in its answers.
#ifndef BITNET_RUN_TOOL_CHOICE_HPP
#define BITNET_RUN_TOOL_CHOICE_HPP

#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// What an answer is, as far as calls go.
enum class tool_mode : unsigned char {
    none,      ///< text: no call can begin
    automatic, ///< text, in which the model may begin a call
    required,  ///< a call of any function, from its first token on, after the thought if the model thinks
    named      ///< the same of one function
};

struct tool_choice {
    tool_mode mode = tool_mode::automatic;
    std::string_view name = {}; ///< of the function; named only
    /// Whether an answer may have several calls. If not, or if the model's form has but one
    /// (tool_form::has_one_call()), the first one ends it.
    bool parallel = false;
};

} // namespace bitnet::inline BITNET_ABI

#endif

// ---- bitnet/text/tokenizer.hpp ----
// tokenizer: text to tokens and back, for byte-level models (GPT-2 and later) and SentencePiece models.
#ifndef BITNET_TEXT_TOKENIZER_HPP
#define BITNET_TEXT_TOKENIZER_HPP

// ---- bitnet/fwd.hpp ----
// The list of all public names; other names are in bitnet::detail. Declares those that can be declared ahead cheaply.
#ifndef BITNET_FWD_HPP
#define BITNET_FWD_HPP

#include <cstdint>

namespace bitnet::inline BITNET_ABI {

using token = std::int32_t;

// core
enum class errc;
struct error;
template <class T> class result;
struct half;
struct bfloat16;
enum class float_element : unsigned char;
template <class T> struct matrix_view;

// files and memory
enum class access_hint;
struct byte_room;
class byte_sink;
class file_writer;
struct memory_hint;
struct memory_source;
enum class memory_use : std::uint8_t;
class byte_source;
struct open_progress;
enum class page_mode;
struct read_callback;
struct write_callback;

// io: GGUF, JSON, safetensors
class gguf_file;
class gguf_strings;
struct gguf_tensor;
enum class gguf_type : std::uint32_t;
struct gguf_value;
class gguf_writer;
struct gguf_writer_options;
enum class tensor_type : std::uint32_t;
class json_document;
struct json_member;
struct json_options;
enum class json_type : std::uint8_t;
class json_value;
class safetensors_file;
struct safetensors_tensor;
enum class safetensors_type : std::uint8_t;

// text
class tokenizer;
struct tokenizer_json_files;
struct tokenizer_options;
struct encode_options;
struct decode_options;
struct pre_tokenizer_choice;
class stop_texts;
class stream_decoder;
struct stream_decoder_options;
class chat_dialog;
enum class chat_format : unsigned char;
struct chat_format_choice;
struct chat_message;
struct chat_options;
class chat_template;
enum class chat_thinking : unsigned char;
struct chat_tool_call;
struct tool_form;
enum class tool_syntax : unsigned char;

// constrain
class constrained_tools;
struct constraint_options;
template <class E> struct enum_name;
template <class Owner, class Member> struct field;
template <class T> struct fields_of;
enum class forced_text : unsigned char;
class grammar;
class healed_answers;
class matcher;
struct matcher_options;
struct schema_options;
template <class E> struct names_of;
class token_constraint;
class token_trie;
class tool_name;
class tool_set;
enum class unsupported_keyword : std::uint8_t;
struct value_limits;

/// Instruction sets.
namespace isa {
struct scalar;
struct sse41;
struct avx2;
struct avx_vnni;
struct avx512_vnni;
struct amx_int8;
struct neon;
struct neon_dotprod;
struct neon_i8mm;
struct wasm_simd128;
struct wasm_relaxed_simd;
} // namespace isa

// threads
class inline_pool;
struct loop_body;
class pool_ref;
class thread_pool;

// layouts, and the tables of functions that a policy names
enum class i2s_order;
struct base3;
struct lookup2;
struct lookup3;
struct any_cpu;
struct block_table;
struct engine;
struct kv_table;
struct layout_table;
struct loop_table;
struct ternary_table;

// models
enum class activation_function;
enum class activation_rounding : unsigned char;
enum class pooling_type : std::uint8_t;
enum class rotary_pairing;
struct checkpoint_options;
struct hyper_parameters;
class model_file;
struct ternary_reading;

// running them
struct allowed_tokens;
enum class answer_end : unsigned char;
class any_batch;
class any_chooser;
class any_model;
class any_session;
struct batch_entry;
struct batch_options;
template <class Ladder> struct compiled_for;
class conversation;
struct conversation_options;
enum class conversation_state : unsigned char;
struct conversation_turn;
class draft_model;
enum class full_context : unsigned char;
class kv_pool;
enum class lm_head_mode;
struct logit_bias;
struct logits_visitor;
struct memory_estimate;
struct open_options;
class prefix_source;
class prompt_lookup;
class sampler;
struct sampler_options;
struct sampling_advice;
struct save_options;
class scheduler;
struct scheduler_options;
struct scored_token;
enum class screen_state;
struct screen_statistics;
struct session_options;
class speaker;
struct speculation_options;
struct speculation_statistics;
enum class step_state;
enum class stop_reason;
struct token_logprob;
struct tool_choice;
enum class tool_mode : unsigned char;
class tool_source;

// converting them
class checkpoint_converter;
struct comparison_report;
struct conversion_options;
struct conversion_progress;
struct conversion_statistics;
class metadata_edit;
struct ternary_encoding;

// Public too, and declared in the header beside the name only: aliases, concepts, constants, functions, and templates
// whose parameters are constrained.
//
//     buffer                     core/buffer.hpp
//     failed                     core/result.hpp
//
//     byte_taker                 io/byte_sink.hpp
//     dims_text                  io/gguf_tensor.hpp
//     element_count              io/gguf_types.hpp
//     name_of                    io/gguf_types.hpp
//     name_of                    io/json.hpp
//     name_of                    io/safetensors.hpp
//     tensor_dims                io/gguf_types.hpp
//
//     chat_format_names          text/chat_format.hpp
//     end_of_turn                text/chat_format.hpp
//     find_chat_format           text/chat_format.hpp
//     name_of                    text/chat_format.hpp
//     no_token                   text/token.hpp
//
//     fields                     constrain/fields.hpp
//     from_json                  constrain/from_json.hpp
//     schema_of                  constrain/type_schema.hpp
//     to_json                    constrain/from_json.hpp
//
//     isa::all_of_this_machine   simd/isa.hpp
//     isa::enable                simd/isa.hpp
//     isa::instruction_set       simd/isa.hpp
//     isa::list                  simd/isa.hpp
//     default_spin               thread/thread_limits.hpp
//     loop_runner                thread/pool.hpp
//     most_threads               thread/thread_limits.hpp
//     thread_pool_type           thread/pool.hpp
//     usable_cores               thread/usable_cores.hpp
//
//     default_pool               policy.hpp
//     engine_of                  policy.hpp
//     i2s                        kernel/ternary_layout.hpp
//     i2s_b                      kernel/ternary_layout.hpp
//     i2s_c                      kernel/ternary_layout.hpp
//     kv_element_type            policy.hpp
//     native                     policy.hpp
//     policy                     policy.hpp
//     policy_type                policy.hpp
//     in_all_layouts             run/dispatch.hpp
//     joined_ladders             run/dispatch.hpp
//     ladder                     run/dispatch.hpp
//     with_first_available       run/dispatch.hpp
//
//     activation_rounding_names  checkpoint/activation_rounding.hpp
//     find_activation_rounding   checkpoint/activation_rounding.hpp
//     is_ternary_place           checkpoint/layout_for.hpp
//     largest_head_size          checkpoint/hyper_parameters.hpp
//     layout_for                 checkpoint/layout_for.hpp
//     name_of                    checkpoint/activation_rounding.hpp
//     name_of                    checkpoint/hyper_parameters.hpp
//     ternary_type_of            checkpoint/layout_for.hpp
//
//     constrained_chooser        constrain/constrained_chooser.hpp
//     healed_prefix              constrain/healed_prefix.hpp
//     tokens_to_heal             constrain/healed_prefix.hpp
//
//     batch                      run/batch.hpp
//     binarize_embedding         run/embedding_codes.hpp
//     binary_embedding_bytes     run/embedding_codes.hpp
//     constrained_token_chooser  run/token_chooser.hpp
//     estimate_memory            run/memory_estimate.hpp
//     foreseeing_token_chooser   run/token_chooser.hpp
//     logprobs_among             run/logprobs.hpp
//     model                      run/model.hpp
//     quantize_embedding         run/embedding_codes.hpp
//     session                    run/session.hpp
//     speculation                run/speculation.hpp
//     token_chooser              run/token_chooser.hpp
//     token_draft                run/token_draft.hpp
//     tokens_to_embed            run/embedding.hpp
//
//     compare_checkpoints        convert/checkpoint_comparison.hpp
//     find_ternary_encoding      convert/ternary_encoding.hpp
//     ternary_encoding_names     convert/ternary_encoding.hpp
//     ternary_encodings          convert/ternary_encoding.hpp

} // namespace bitnet::inline BITNET_ABI

#endif

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI {

struct tokenizer_options {
    /// One of pre_tokenizer_names, used instead of what the file says; empty: the file decides. Byte-level models only.
    std::string_view pre_tokenizer = {};
};

struct encode_options {
    /// Whether control tokens spelled in the text, such as <|eot_id|>, become those tokens. If false, they are text
    /// like any other, as a user's own words have to be.
    bool parse_special = false;
    /// Whether the text continues other text. Matters only to SentencePiece models that put a space in front of text:
    /// then they do not.
    bool follows_text = false;
};

struct decode_options {
    /// Whether the tokens continue others, such as a prompt. Matters only to SentencePiece models that put a space in
    /// front of text: then a space at the start is kept, otherwise one is taken away.
    bool follows_text = false;
};

/// Which splitter is in use, and how that was decided.
struct pre_tokenizer_choice {
    std::string name;      ///< as a file would spell it, "llama-bpe"; "none" for SentencePiece
    bool inferred = false; ///< the file names none; it was recognised by its vocabulary
    std::string why;       ///< a sentence for people
};

namespace detail {

/// Added tokens that end an answer if they exist, whatever a file's keys say. <|fim_pad|>, <|repo_name|> and
/// <|file_sep|> come after a text that code models fill in, and end it in llama.cpp too; <|fim_prefix|>, <|fim_suffix|>
/// and <|fim_middle|> are what prompts for that are made of.
inline constexpr std::array<std::string_view, 10> stop_spellings{
    "<|end_of_text|>", "<|endoftext|>", "</s>",    "<|eom_id|>",    "<|im_end|>",
    "<end_of_turn>",   "<|fim_pad|>",   "<|end|>", "<|repo_name|>", "<|file_sep|>"};

/// The small facts of a tokenizer.
struct tokenizer_facts {
    std::size_t vocabulary_size = 0;
    std::size_t longest_token = 0; ///< bytes
    std::optional<token> bos;
    std::optional<token> eos;
    std::optional<token> eot;
    std::vector<token> stops; ///< ascending
    bool add_bos = false;
    bool add_eos = false;
    bool space_prefix = false;
    pre_tokenizer_choice pre_tokenizer;
    std::vector<std::string> notes;
};

/// What a tokenizer looks up: its vocabulary, its merges and its splitter. An interface, so that programs that are
/// given a tokenizer do not compile these; text/tokenizer_tables.hpp has the two kinds. Immutable. See tokenizer for
/// the meaning of each function.
class tokenizer_tables {
public:
    tokenizer_tables() noexcept = default;
    tokenizer_tables(const tokenizer_tables&) = delete;
    tokenizer_tables& operator=(const tokenizer_tables&) = delete;
    virtual ~tokenizer_tables() = default;

    [[nodiscard]] virtual result<void> encode(std::string_view text, std::vector<token>& out,
                                              encode_options options) const = 0;
    [[nodiscard]] virtual std::string_view bytes_of(token id) const noexcept = 0;
    [[nodiscard]] virtual bool is_special(token id) const noexcept = 0;
    [[nodiscard]] virtual token find_special(std::string_view spelling) const noexcept = 0; ///< or no_token
};

} // namespace detail

/// Text to tokens and back. Owns its tables: the file may be closed once it is open. Immutable: any number of threads
/// may use it at a time. Move-only. Made by open(), which text/open_tokenizer.hpp defines, or given by a model.
///
/// encode() takes any bytes: those that are not UTF-8 count as characters of no class, one by one. With byte-level
/// models decode(encode(x)) is x for every x. (Only a vocabulary without tokens for some bytes, which notes() tell of,
/// makes encode() fail on these, or gives the unknown token if there is one; LLaMA-3 has all.) SentencePiece cannot
/// distinguish U+2581 from a space, and models that put a space in front of text do so after control and user-defined
/// tokens too, as llama.cpp and SentencePiece do; all other text comes back as it was.
class tokenizer {
public:
    /// Reads all tokenizer.ggml.* keys that it uses. Include <bitnet/text/open_tokenizer.hpp> to call it.
    /// Cost for LLaMA-3's 128,256 tokens and 280,147 merges: one pass over 5.5 MB, memory about 12 MB.
    /// \return errc::unsupported_tokenizer (tokenizer.ggml.model is not gpt2 or llama), unknown_pre_tokenizer,
    /// missing_key, wrong_type, bad_vocabulary or out_of_memory, naming the file, the key and both disagreeing numbers.
    [[nodiscard]] static inline result<tokenizer> open(const gguf_file& file, tokenizer_options options = {});

    /// The tokens of `text`, without BOS. Cost: linear but for pieces of text without a boundary, O(n log n) for these.
    /// \return errc::invalid_argument for text of 2 GiB or more and for a byte without token, where there is no unknown
    /// token either; errc::out_of_memory.
    [[nodiscard]] result<std::vector<token>> encode(std::string_view text, encode_options options = {}) const {
        std::vector<token> tokens;
        if (auto done = encode(text, tokens, options); !done) {
            return failed(done);
        }
        return tokens;
    }

    /// The same, appended to `out`, which an error leaves as it was: for messages made of several parts, and for
    /// callers who reuse their memory.
    [[nodiscard]] result<void> encode(std::string_view text, std::vector<token>& out,
                                      encode_options options = {}) const {
        return tables_->encode(text, out, options);
    }

    /// The bytes that a token stands for, or its spelling if it is a control token; empty outside the vocabulary. With
    /// SentencePiece a word's token has its space in front; decode() takes away the first one.
    /// Lives as long as the tokenizer. Need not be whole code points: see stream_decoder.
    [[nodiscard]] std::string_view bytes_of(token id) const noexcept { return tables_->bytes_of(id); }

    /// The bytes of all tokens, one after another, unchanged; without the first space if adds_space_prefix(). Throws
    /// std::bad_alloc as a std::string does; a stream_decoder needs no memory.
    [[nodiscard]] std::string decode(std::span<const token> tokens, decode_options options = {}) const {
        std::string text;
        for (const token id : tokens) {
            text.append(bytes_of(id));
        }
        if (adds_space_prefix() && !options.follows_text && text.starts_with(' ')) {
            text.erase(0, 1);
        }
        return text;
    }

    [[nodiscard]] std::size_t vocabulary_size() const noexcept { return facts_.vocabulary_size; }
    [[nodiscard]] bool contains(token id) const noexcept {
        return id >= 0 && static_cast<std::size_t>(id) < vocabulary_size();
    }

    /// Whether a token is a control or unknown token, which no text becomes unless encode_options asks for it.
    [[nodiscard]] bool is_special(token id) const noexcept { return tables_->is_special(id); }

    /// The token of this spelling that parse_special finds in text; nullopt if there is none.
    [[nodiscard]] std::optional<token> find_special(std::string_view spelling) const noexcept {
        const token id = tables_->find_special(spelling);
        return id == no_token ? std::nullopt : std::optional{id};
    }

    [[nodiscard]] std::optional<token> bos() const noexcept { return facts_.bos; } ///< begins every sequence
    [[nodiscard]] std::optional<token> eos() const noexcept { return facts_.eos; } ///< ends a document
    [[nodiscard]] std::optional<token> eot() const noexcept { return facts_.eot; } ///< ends a turn of a dialog

    /// Whether the model expects bos() in front and eos() at the end: tokenizer.ggml.add_bos_token and .add_eos_token.
    /// Without the first key: whether there is a BOS in a SentencePiece model or one of LLaMA-3's kind, false in
    /// others, as in llama.cpp; without the second: false. encode() never adds them.
    [[nodiscard]] bool add_bos() const noexcept { return facts_.add_bos; }
    [[nodiscard]] bool add_eos() const noexcept { return facts_.add_eos; }

    /// Whether `tokens` begin with BOS twice, as they do if a prompt spells it (with parse_special) and the program
    /// adds it, too, because add_bos() says so. Models are trained with one, and answer worse.
    [[nodiscard]] bool begins_twice(std::span<const token> tokens) const noexcept {
        return bos() && tokens.size() > 1 && tokens[0] == *bos() && tokens[1] == *bos();
    }

    /// Whether encode() puts a space in front of text, and decode() takes it away: SentencePiece models unless
    /// tokenizer.ggml.add_space_prefix is false.
    [[nodiscard]] bool adds_space_prefix() const noexcept { return facts_.space_prefix; }

    /// The tokens after which generation ends, as far as they exist: those of the keys eos, eot, eom, fim_pad, fim_rep
    /// and fim_sep, and those that are spelled as such tokens are, "<|im_end|>" among them; ascending.
    [[nodiscard]] const std::vector<token>& stop_tokens() const noexcept { return facts_.stops; }
    [[nodiscard]] bool is_stop(token id) const noexcept {
        for (const token stop : facts_.stops) {
            if (stop == id) {
                return true;
            }
        }
        return false;
    }

    [[nodiscard]] const pre_tokenizer_choice& pre_tokenizer() const noexcept { return facts_.pre_tokenizer; }

    /// What of the file was put right or passed over, one sentence each. any_model::notes() has them, too.
    [[nodiscard]] const std::vector<std::string>& notes() const noexcept { return facts_.notes; }

    /// Bytes of the longest token.
    [[nodiscard]] std::size_t longest_token() const noexcept { return facts_.longest_token; }

private:
    tokenizer(detail::tokenizer_facts facts, std::unique_ptr<const detail::tokenizer_tables> tables) noexcept
        : facts_(std::move(facts)), tables_(std::move(tables)) {}

    detail::tokenizer_facts facts_;
    std::unique_ptr<const detail::tokenizer_tables> tables_;
};

} // namespace bitnet::inline BITNET_ABI

#endif

// ---- bitnet/text/tool_form.hpp ----
// tool_form: how functions are declared, calls written and results told outside of ChatML.
#ifndef BITNET_TEXT_TOOL_FORM_HPP
#define BITNET_TEXT_TOOL_FORM_HPP

// ---- bitnet/text/chat_format.hpp ----
// chat_format: the published ways of writing a dialog as one text, and what they do to its roles and contents.
#ifndef BITNET_TEXT_CHAT_FORMAT_HPP
#define BITNET_TEXT_CHAT_FORMAT_HPP

// ---- bitnet/core/utf8.hpp ----
// UTF-8 by the Unicode standard, table 3-7: no overlong forms, no surrogates, nothing beyond U+10FFFF.
#ifndef BITNET_CORE_UTF8_HPP
#define BITNET_CORE_UTF8_HPP

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// Stands for a byte that is not part of well-formed UTF-8. Larger than every code point.
inline constexpr char32_t invalid_code_point = 0xffffffffu;

/// One code point and the bytes it takes; a byte that fits nowhere is {invalid_code_point, 1}.
struct decoded_code_point {
    char32_t value;
    std::uint32_t size; ///< bytes, 1 to 4
};

/// What a first byte announces. `size` 0: it can start no sequence.
struct utf8_lead {
    std::uint8_t size;
    std::uint8_t second_low;  ///< bounds of the second byte, where there is one
    std::uint8_t second_high; ///< (every further byte lies in 80..BF)
};

[[nodiscard]] constexpr utf8_lead utf8_lead_of(unsigned char first) noexcept {
    if (first < 0x80) {
        return {1, 0, 0};
    }
    if (first < 0xc2 || first > 0xf4) {
        return {0, 0, 0};
    }
    if (first < 0xe0) {
        return {2, 0x80, 0xbf};
    }
    if (first < 0xf0) { // E0 would be overlong below A0, ED a surrogate above 9F
        return {3, static_cast<std::uint8_t>(first == 0xe0 ? 0xa0 : 0x80),
                static_cast<std::uint8_t>(first == 0xed ? 0x9f : 0xbf)};
    }
    return {4, static_cast<std::uint8_t>(first == 0xf0 ? 0x90 : 0x80),
            static_cast<std::uint8_t>(first == 0xf4 ? 0x8f : 0xbf)};
}

/// How many bytes from the start of `rest` agree with what its first byte announces: 0 to 4.
[[nodiscard]] constexpr std::size_t utf8_prefix_size(std::string_view rest) noexcept {
    if (rest.empty()) {
        return 0;
    }
    const utf8_lead lead = utf8_lead_of(static_cast<unsigned char>(rest[0]));
    std::size_t good = lead.size == 0 ? 0 : 1;
    while (good < lead.size && good < rest.size()) {
        const auto byte = static_cast<unsigned char>(rest[good]);
        const unsigned low = good == 1 ? lead.second_low : 0x80u;
        const unsigned high = good == 1 ? lead.second_high : 0xbfu;
        if (byte < low || byte > high) {
            break;
        }
        ++good;
    }
    return good;
}

/// The code point at the start of `rest`. \pre !rest.empty()
[[nodiscard]] constexpr decoded_code_point first_code_point(std::string_view rest) noexcept {
    assert(!rest.empty());
    const auto first = static_cast<unsigned char>(rest[0]);
    if (first < 0x80) {
        return {first, 1};
    }
    const std::size_t size = utf8_lead_of(first).size;
    if (size == 0 || utf8_prefix_size(rest) != size) {
        return {invalid_code_point, 1};
    }
    char32_t value = first & (0x7fu >> size);
    for (std::size_t i = 1; i < size; ++i) {
        value = (value << 6) | (static_cast<unsigned char>(rest[i]) & 0x3fu);
    }
    return {value, static_cast<std::uint32_t>(size)};
}

/// Bytes at the end of `text` that start a code point which is not complete yet: 0 to 3.
[[nodiscard]] constexpr std::size_t unfinished_tail(std::string_view text) noexcept {
    for (std::size_t tail = 1; tail <= 3 && tail <= text.size(); ++tail) {
        const std::string_view end = text.substr(text.size() - tail);
        const std::size_t announced = utf8_lead_of(static_cast<unsigned char>(end[0])).size;
        if (announced > tail && utf8_prefix_size(end) == tail) {
            return tail;
        }
    }
    return 0;
}

/// Appends the UTF-8 form of a scalar value. \pre code_point <= U+10FFFF and no surrogate
inline void append_utf8(std::string& out, char32_t code_point) {
    assert(code_point <= 0x10ffff && (code_point < 0xd800 || code_point > 0xdfff));
    const auto put = [&out](char32_t byte) { out.push_back(static_cast<char>(static_cast<unsigned char>(byte))); };
    if (code_point < 0x80) {
        return put(code_point);
    }
    if (code_point < 0x800) {
        put(0xc0 | (code_point >> 6));
    } else if (code_point < 0x10000) {
        put(0xe0 | (code_point >> 12));
        put(0x80 | ((code_point >> 6) & 0x3f));
    } else {
        put(0xf0 | (code_point >> 18));
        put(0x80 | ((code_point >> 12) & 0x3f));
        put(0x80 | ((code_point >> 6) & 0x3f));
    }
    put(0x80 | (code_point & 0x3f));
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// One format for each published template; chat_format_rules says what each writes.
/// Sources: the templates published with microsoft/bitnet-b1.58-2B-4T and with LLaMA-3; falcon3 is what llama.cpp calls
/// so, with EOS after an answer, as the model puts it (Tulu's and OLMo's templates are the same); ChatML is OpenAI's.
enum class chat_format : unsigned char { bitnet, llama3, falcon3, chatml };

namespace detail {

/// How a format writes the name of a role.
enum class role_spelling : unsigned char {
    as_given,    ///< text
    capitalized, ///< text, "user" as "User"
    mark,        ///< the control token <|user|>, or that as text if the vocabulary has no such token
};

/// All that a format writes. A turn is its header (`header_begin`, the role, `header_end`, `after_header`), its
/// content, `turn_end` and `after_turn`; an answer is prompted by the header alone. A new format is a new row of
/// chat_format_rules, and what text/open_chat_template.hpp recognises it by.
struct chat_format_rule {
    chat_format format;
    std::string_view name;
    role_spelling role;
    std::string_view header_begin = {}; ///< a control token; empty: none
    std::string_view header_end = {};   ///< a control token; empty: none
    std::string_view after_header = {}; ///< text
    std::string_view turn_end = {};     ///< a control token; empty: the vocabulary's EOS
    std::string_view after_turn = {};   ///< text
    std::string_view other_stop = {};   ///< another control token that ends answers, if the vocabulary has it
    bool begins_with_bos = false;       ///< always; if false, only if vocabulary or template say so
    bool strips_content = false;        ///< white space around contents is removed
    /// Only answers have `turn_end`; theirs is followed by `after_turn` only if another turn follows.
    bool ends_answers_only = false;
    /// The only roles that the template writes; none: all that are not empty.
    std::array<std::string_view, 3> roles = {};
};

/// In the order of the enumeration. [x] is the control token x, \n a line end.
inline constexpr std::array<chat_format_rule, 4> chat_format_rules{{
    // Role: content[<|eot_id|>]
    {.format = chat_format::bitnet,
     .name = "bitnet",
     .role = role_spelling::capitalized,
     .after_header = ": ",
     .turn_end = "<|eot_id|>",
     .begins_with_bos = true,
     .strips_content = true},
    // [<|start_header_id|>]role[<|end_header_id|>]\n\ncontent[<|eot_id|>]
    {.format = chat_format::llama3,
     .name = "llama3",
     .role = role_spelling::as_given,
     .header_begin = "<|start_header_id|>",
     .header_end = "<|end_header_id|>",
     .after_header = "\n\n",
     .turn_end = "<|eot_id|>",
     .begins_with_bos = true,
     .strips_content = true},
    // [<|role|>]\ncontent\n, and answers: [<|assistant|>]\ncontent[EOS]\n
    {.format = chat_format::falcon3,
     .name = "falcon3",
     .role = role_spelling::mark,
     .after_header = "\n",
     .after_turn = "\n",
     .ends_answers_only = true,
     .roles = {"system", "user", "assistant"}},
    // [<|im_start|>]role\ncontent[<|im_end|>]\n
    {.format = chat_format::chatml,
     .name = "chatml",
     .role = role_spelling::as_given,
     .header_begin = "<|im_start|>",
     .after_header = "\n",
     .turn_end = "<|im_end|>",
     .after_turn = "\n",
     .other_stop = "<|endoftext|>"}, // Qwen's models end answers with either
}};

[[nodiscard]] constexpr const chat_format_rule& rule_of(chat_format format) noexcept {
    return chat_format_rules[static_cast<std::size_t>(format)];
}

static_assert(
    [] {
        for (std::size_t i = 0; i < chat_format_rules.size(); ++i) {
            if (chat_format_rules[i].format != static_cast<chat_format>(i)) {
                return false;
            }
        }
        return true;
    }(),
    "chat_format_rules is in the order of the enumeration");

} // namespace detail

/// In the order of the enumeration.
inline constexpr auto chat_format_names = [] {
    std::array<std::string_view, detail::chat_format_rules.size()> names;
    for (std::size_t i = 0; i < names.size(); ++i) {
        names[i] = detail::chat_format_rules[i].name;
    }
    return names;
}();

[[nodiscard]] constexpr std::string_view name_of(chat_format format) noexcept { return detail::rule_of(format).name; }

/// The format of that name; nullopt if there is none.
[[nodiscard]] constexpr std::optional<chat_format> find_chat_format(std::string_view name) noexcept {
    for (const detail::chat_format_rule& rule : detail::chat_format_rules) {
        if (rule.name == name) {
            return rule.format;
        }
    }
    return std::nullopt;
}

/// A call of a tool, which an assistant's message makes. Borrows its texts.
struct chat_tool_call {
    std::string_view name;
    std::string_view arguments; ///< a JSON object; what is no JSON is written as it is
};

/// One turn of a dialog. Borrows its texts.
struct chat_message {
    std::string_view role;    ///< "system", "user", "assistant", "tool" for a result; some formats take others, too
    std::string_view content; ///< any bytes; control tokens spelled in it are text
    std::span<const chat_tool_call> calls = {}; ///< of an assistant
};

namespace detail {

/// Whether the template writes turns of that role.
[[nodiscard]] constexpr bool has_role(chat_format format, std::string_view role) noexcept {
    const auto& known = rule_of(format).roles;
    for (const std::string_view one : known) {
        if (!role.empty() && role == one) {
            return true;
        }
    }
    return known[0].empty() && !role.empty();
}

} // namespace detail

/// The spelling of the token that ends a turn; empty if it is the vocabulary's EOS.
[[nodiscard]] constexpr std::string_view end_of_turn(chat_format format) noexcept {
    return detail::rule_of(format).turn_end;
}

namespace detail {

/// Whether a dialog begins with BOS whatever the vocabulary says.
[[nodiscard]] constexpr bool begins_with_bos(chat_format format) noexcept { return rule_of(format).begins_with_bos; }

/// Whether white space around a content is removed.
[[nodiscard]] constexpr bool strips_content(chat_format format) noexcept { return rule_of(format).strips_content; }

/// `text` without white space at both ends, as the `trim` of templates sees it: Python's str.strip(), to which the four
/// separators from U+001C on are white space too.
[[nodiscard]] constexpr std::string_view stripped(std::string_view text) noexcept {
    const auto is_space = [](char32_t c) {
        return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
               (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
    };
    std::size_t begin = text.size();
    std::size_t end = text.size();
    for (std::size_t i = 0; i < text.size();) {
        const decoded_code_point c = first_code_point(text.substr(i));
        const bool space = is_space(c.value);
        begin = begin == text.size() && !space ? i : begin;
        i += c.size;
        end = space ? end : i;
    }
    return text.substr(begin, end - begin);
}

/// The first letter in upper case and the others in lower case, as `capitalize` in templates does it; ASCII only.
[[nodiscard]] inline std::string capitalized(std::string_view role) {
    std::string made(role);
    for (std::size_t i = 0; i < made.size(); ++i) {
        const char low = i == 0 ? 'a' : 'A';
        const bool turn = made[i] >= low && made[i] <= low + 25;
        made[i] = turn ? static_cast<char>(made[i] ^ 0x20) : made[i];
    }
    return made;
}

} // namespace detail

} // namespace bitnet::inline BITNET_ABI

#endif

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// The ways in which models are told of functions, and write calls of them.
enum class tool_syntax : unsigned char {
    by_template, ///< the file's own, where it is one of these; otherwise `marked`, if chat_options::tools_in_words
    /// As Qwen's and Hermes' models do. A ChatML template has its own words for it; elsewhere the functions are
    /// declared in the system's turn and results are turns of the user's, <tool_response>.
    marked,
    /// LLaMA-3.1's: declared in the first turn of the user's. The call is the whole answer, without a mark, and there
    /// is one: an answer that begins with {"name" is a call. A content beside a call is not written, as the template
    /// has it. A result is a turn of `ipython`, as a JSON string.
    llama3,
    /// Falcon3's: declared in the system's turn; calls are a list between the marks, results turns of the assistant's
    /// without an end. What models write is a list of one call, and another one for each further call. The template
    /// forgets the header of a call without content; here it is written, as what the model had.
    falcon3
};

/// How an answer has a call: `begin`, `before`, the JSON text {"name":...,"arguments":{...}}, `after`, `end`; `between`
/// two of them. Begin and end may be control tokens.
struct tool_form {
    std::string_view begin = "<tool_call>"; ///< empty: see `lead`
    std::string_view before = "\n";
    std::string_view after = "\n";
    std::string_view end = "</tool_call>";
    std::string_view between = "\n";
    std::string_view arguments = "arguments"; ///< the key of the arguments
    /// Where nothing is in front of a call: what its text begins with. An answer that begins so is a call and nothing
    /// else, so that it has no other.
    std::string_view lead = {};
    tool_syntax syntax = tool_syntax::marked;

    [[nodiscard]] constexpr bool has_one_call() const noexcept { return begin.empty(); }
};

namespace detail {

/// In the order of tool_syntax, from `marked` on.
inline constexpr std::array<tool_form, 3> tool_forms{{
    {},
    {.begin = {},
     .before = {},
     .after = {},
     .end = {},
     .between = {},
     .arguments = "parameters",
     .lead = "{\"name\"",
     .syntax = tool_syntax::llama3},
    {.before = "\n[\n  ", .after = "\n]\n", .syntax = tool_syntax::falcon3},
}};

/// \pre syntax is not by_template
[[nodiscard]] constexpr const tool_form& form_of(tool_syntax syntax) noexcept {
    return tool_forms[static_cast<std::size_t>(syntax) - 1];
}

/// Appends the calls of a message to its content.
inline void append_calls(std::string& content, const chat_message& message, const tool_form& form = {}) {
    const bool is_list = form.syntax == tool_syntax::falcon3;
    std::string_view between = content.empty() ? std::string_view{} : form.between;
    for (std::size_t i = 0; i < message.calls.size(); ++i) {
        const bool goes_on = is_list && i + 1 < message.calls.size();
        if (is_list && i != 0) {
            content.append(",\n  ");
        } else {
            content.append(between).append(form.begin).append(form.before);
        }
        content.append("{\"name\": \"").append(message.calls[i].name).append("\", \"").append(form.arguments);
        content.append("\": ").append(message.calls[i].arguments).append("}");
        content.append(goes_on ? "" : form.after).append(goes_on ? "" : form.end);
        between = form.between;
    }
}

/// A result as a turn of the user's has it.
[[nodiscard]] inline std::string as_tool_response(std::string_view result) {
    return std::string("<tool_response>\n").append(result).append("\n</tool_response>");
}

/// What the system's turn says of the functions, after its own content if it has any.
[[nodiscard]] inline std::string declared_tools(std::string_view content, std::string_view declarations) {
    std::string made(content);
    made.append(made.empty() ? "" : "\n\n");
    made.append("# Tools\n\nThese functions can be called:\n<tools>\n").append(declarations);
    made.append("\n</tools>\n\nA call is written as follows, and its result is told next:\n<tool_call>\n");
    return made.append("{\"name\": NAME, \"arguments\": OBJECT}\n</tool_call>");
}

/// What else the forms of LLaMA-3.1 and Falcon3 write: see text/tool_words.hpp. Pointers, so that programs do not
/// compile what reads JSON.
struct tool_words {
    /// A JSON array of functions, as declaration() is to have it. \return errc::invalid_argument if it is no array
    result<std::string> (*list)(std::string_view json, tool_syntax syntax) = nullptr;
    /// The turn in which functions are declared. \param content its own
    std::string (*declaration)(std::string_view content, std::string_view list, tool_syntax syntax) = nullptr;
    std::string (*outcome)(std::string_view text, tool_syntax syntax) = nullptr; ///< of a call
    result<std::string> (*arguments)(std::string_view json) = nullptr;           ///< of a call
};

} // namespace detail

} // namespace bitnet::inline BITNET_ABI

#endif

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

namespace detail {

/// What answers of a conversation are like. Borrows all of it.
struct answer_form {
    const tokenizer* text;
    std::span<const token> stops; ///< that end an answer
    std::string_view prompt;      ///< what an answer follows, such as "<think>\n"
    bool has_thoughts = false;
    tool_form tools = {};
};

/// What a token is to an answer.
struct answer_part {
    enum class part_kind : unsigned char {
        text,     ///< text, but for the last `tail` bytes, which may become a call
        call,     ///< of a call, and so are the last `tail` bytes of what may have become one
        call_end, ///< the last one of a call
    };
    part_kind kind = part_kind::text;
    std::size_t tail = 0;
    bool is_last = false;      ///< call_end: the answer ends with it
    bool is_cut_short = false; ///< call_end: the limit had a say in what it is

    static constexpr std::size_t all = static_cast<std::size_t>(-1);
};

/// Follows the answers of one conversation, token by token, and decides which may come next. It is where it is because
/// of the tokens since begin(): whoever tells it the same ones gets the same guide.
class call_guide {
public:
    call_guide() noexcept = default;
    call_guide(const call_guide&) = delete;
    call_guide& operator=(const call_guide&) = delete;
    virtual ~call_guide() = default;

    /// From the next answer on. \return errc::invalid_argument for a function that there is not; nothing changes then
    [[nodiscard]] virtual result<void> set_choice(const tool_choice& choice) = 0;
    /// The fewest tokens that an answer can have.
    [[nodiscard]] virtual std::size_t least() const noexcept = 0;
    /// An answer begins. \param begun what the host begins it with
    /// \param most how many tokens the model may write; it has no whole call where that is less than least()
    /// \param is_new false: it is told again from its beginning, and set_choice() counts from the next one on
    virtual void begin(std::string_view begun, std::size_t most, bool is_new) = 0;
    /// How to choose the next token, if `free` is what would choose in a text. Valid until the next call.
    [[nodiscard]] virtual any_chooser chooser(any_chooser free) noexcept = 0;
    /// The next token of the answer, which is no stop token.
    [[nodiscard]] virtual answer_part take(token id) = 0;
    /// The call that the last token ended.
    [[nodiscard]] virtual result<conversation_turn::call> call() const = 0;
    /// Another one for the same functions, which is to be told the answer that this one follows.
    [[nodiscard]] virtual result<std::unique_ptr<call_guide>> copy() const = 0;
};

} // namespace detail

/// Functions for conversation_options::tools: constrained_tools, which bitnet/constrain.hpp has. An interface, so that
/// programs without tools compile nothing of them.
class tool_source {
public:
    /// A JSON array, as for chat_options::tools. Lives as long as this.
    [[nodiscard]] virtual std::string_view declarations() const noexcept = 0;
    /// For one conversation. \param form its tokenizer lives as long as the guide, the rest of it need not
    /// \return errc::out_of_memory, and what the compilation of a grammar returns
    [[nodiscard]] virtual result<std::unique_ptr<detail::call_guide>> guide(const detail::answer_form& form) const = 0;

    tool_source(const tool_source&) = default;
    tool_source& operator=(const tool_source&) = default;

protected:
    tool_source() noexcept = default;
    ~tool_source() = default;
};

} // namespace bitnet::inline BITNET_ABI

#endif

// ---- bitnet/text/thought_filter.hpp ----
// thought_filter: takes the thought in front of an answer out of its text while it streams.
#ifndef BITNET_TEXT_THOUGHT_FILTER_HPP
#define BITNET_TEXT_THOUGHT_FILTER_HPP

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// A thought begins the answer, or began in its prompt, and ends with </think>; line ends around it belong to it.
class thought_filter {
public:
    static constexpr std::string_view begin_mark = "<think>";
    static constexpr std::string_view end_mark = "</think>";

    /// \param begins_in_thought the answer's prompt has begun one
    explicit thought_filter(bool begins_in_thought) noexcept
        : place_(begins_in_thought ? place::thought : place::beginning) {}

    /// Begins another answer, in the memory there is.
    void reset(bool begins_in_thought) noexcept {
        kept_.clear();
        place_ = begins_in_thought ? place::thought : place::beginning;
    }

    /// So that feed() allocates nothing for texts of so many bytes.
    void reserve(std::size_t bytes) { kept_.reserve(bytes); }

    /// What of the answer so far is to be shown and was not yet. Valid as long as `text`, and until the next call.
    /// Throws std::bad_alloc as a std::string does, until the thought has ended.
    [[nodiscard]] std::string_view feed(std::string_view text) {
        if (place_ == place::answer) {
            return text;
        }
        kept_ += text;
        if (place_ == place::beginning) {
            find_beginning();
        }
        if (place_ == place::thought) {
            find_end();
        }
        if (place_ == place::line_ends) {
            skip(line_ends);
            place_ = kept_.empty() ? place_ : place::answer;
        }
        return place_ == place::answer ? std::string_view(kept_) : std::string_view();
    }
    /// What is left at the end of the answer, such as a part of a mark. Valid until the next call.
    [[nodiscard]] std::string_view flush() const noexcept {
        return place_ == place::beginning ? std::string_view(kept_) : std::string_view();
    }

    /// No thought begins any more. \return what was held back. Valid until the next call.
    [[nodiscard]] std::string_view settle() noexcept {
        const std::string_view held = flush();
        place_ = place_ == place::thought ? place_ : place::answer;
        return held;
    }

    [[nodiscard]] bool is_in_thought() const noexcept { return place_ == place::thought; }

private:
    enum class place : unsigned char { beginning, thought, line_ends, answer };

    static constexpr std::string_view line_ends = "\r\n";

    void find_beginning() {
        const std::size_t first = (std::min)(kept_.find_first_not_of(" \t\r\n"), kept_.size());
        const std::string_view rest = std::string_view(kept_).substr(first);
        if (rest.starts_with(begin_mark)) {
            place_ = place::thought;
        } else if (!begin_mark.starts_with(rest)) {
            place_ = place::answer;
        }
    }
    void find_end() {
        const std::size_t end = kept_.find(end_mark);
        if (end == std::string::npos) {
            kept_.erase(0, kept_.size() - (std::min)(kept_.size(), end_mark.size() - 1));
        } else {
            kept_.erase(0, end + end_mark.size());
            place_ = place::line_ends;
        }
    }
    void skip(std::string_view characters) {
        kept_.erase(0, (std::min)(kept_.find_first_not_of(characters), kept_.size()));
    }

    std::string kept_; ///< of the answer, not yet decided on
    place place_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Of one vocabulary and format. A mark is its own token where the vocabulary has one, otherwise text. Where a form has
/// none, `open` and `close` are empty.
struct call_marks {
    /// Tokens that complete the mark in front of calls, given how much of it was there.
    struct endings {
        std::vector<token> tokens; ///< first those whose last byte is the mark's
        std::size_t exact = 0;     ///< how many these are
    };

    tool_form tools;
    bool has_thoughts = false;
    bool begins_in_thought = false; ///< in that of the prompt
    bool may_think = false;         ///< it may begin one itself
    std::vector<token> stops;
    std::vector<token> open;
    std::vector<token> open_after_thought;
    std::vector<token> open_next; ///< after another call
    std::vector<token> close;
    std::vector<token> think;
    std::vector<token> end_thought;
    std::vector<std::size_t> borders;
    std::vector<endings> ends; ///< by how many bytes of the mark were there

    [[nodiscard]] static result<call_marks> make(const answer_form& form) {
        constexpr std::string_view begin = thought_filter::begin_mark;
        constexpr std::string_view end = thought_filter::end_mark;
        call_marks made;
        made.tools = form.tools;
        made.has_thoughts = form.has_thoughts;
        const bool is_begun = form.has_thoughts && form.prompt.find(begin) != std::string_view::npos;
        made.begins_in_thought = is_begun && form.prompt.find(end) == std::string_view::npos;
        made.may_think = form.has_thoughts && !is_begun;
        made.stops.assign(form.stops.begin(), form.stops.end());
        const std::string_view opening = form.tools.begin;
        using list = std::tuple<std::vector<token>*, std::vector<std::string_view>>;
        for (const auto& [into, pieces] :
             {list{&made.open, {opening}}, list{&made.open_after_thought, {"\n\n", opening}},
              list{&made.open_next, {form.tools.between, opening}}, list{&made.close, {form.tools.end}},
              list{&made.think, {begin}}, list{&made.end_thought, {"\n", end}}}) {
            if (auto encoded = encode(*form.text, pieces, *into); !encoded) {
                return failed(encoded);
            }
        }
        made.find_borders();
        made.find_endings(*form.text);
        return made;
    }

    /// What a call is known by: the mark in front of it, or what the answer begins with that is one.
    [[nodiscard]] std::string_view mark() const noexcept { return is_lead() ? tools.lead : tools.begin; }
    /// Whether that belongs to the call, and is one at the beginning of an answer only.
    [[nodiscard]] bool is_lead() const noexcept { return tools.begin.empty(); }
    /// How much of the mark a text ends with that ended with so much of it before.
    [[nodiscard]] std::size_t after(std::size_t matched, char byte) const noexcept {
        while (matched != 0 && mark()[matched] != byte) {
            matched = borders[matched];
        }
        return mark()[matched] == byte ? matched + 1 : 0;
    }

private:
    /// Appends the tokens of pieces, those that are tokens of their own as these.
    [[nodiscard]] static result<void> encode(const tokenizer& text, const std::vector<std::string_view>& pieces,
                                             std::vector<token>& into) {
        std::string run;
        for (const std::string_view piece : pieces) {
            const auto id = text.find_special(piece);
            run += id ? std::string_view{} : piece;
            if (id) {
                if (auto encoded = text.encode(run, into, {.follows_text = true}); !encoded) {
                    return encoded;
                }
                run.clear();
                into.push_back(*id);
            }
        }
        return text.encode(run, into, {.follows_text = true});
    }

    /// borders[n]: the longest beginning of the mark, shorter than n, that its first n bytes end with.
    void find_borders() {
        borders.assign(mark().size() + 1, 0);
        for (std::size_t n = 2; n < borders.size(); ++n) {
            borders[n] = after(borders[n - 1], mark()[n - 1]);
        }
    }
    void find_endings(const tokenizer& text) {
        ends.resize(mark().size());
        std::vector<std::vector<token>> longer(ends.size());
        for (std::size_t id = 0; id < text.vocabulary_size(); ++id) {
            const std::string_view bytes = text.bytes_of(static_cast<token>(id));
            const std::size_t last = bytes.find(mark().back());
            for (std::size_t state = 0; last != std::string_view::npos && state < ends.size(); ++state) {
                if (const std::size_t end = end_of(state, bytes); end != 0) {
                    auto& list = end == bytes.size() ? ends[state].tokens : longer[state];
                    list.push_back(static_cast<token>(id));
                }
            }
        }
        for (std::size_t state = 0; state < ends.size(); ++state) {
            ends[state].exact = ends[state].tokens.size();
            ends[state].tokens.insert(ends[state].tokens.end(), longer[state].begin(), longer[state].end());
        }
    }
    /// Up to where the mark is complete, 0 if it does not become so.
    [[nodiscard]] std::size_t end_of(std::size_t state, std::string_view bytes) const noexcept {
        for (std::size_t i = 0; i < bytes.size(); ++i) {
            if (is_lead() && mark()[state] != bytes[i]) {
                return 0;
            }
            state = after(state, bytes[i]);
            if (state == mark().size()) {
                return i + 1;
            }
        }
        return 0;
    }
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

// ---- bitnet/constrain/call_writer.hpp ----
// call_writer: follows an answer from text to calls and back, and tells which tokens may come next.
#ifndef BITNET_CONSTRAIN_CALL_WRITER_HPP
#define BITNET_CONSTRAIN_CALL_WRITER_HPP

// ---- bitnet/constrain/from_json.hpp ----
// from_json, to_json: values of C++ types from JSON texts and back.
#ifndef BITNET_CONSTRAIN_FROM_JSON_HPP
#define BITNET_CONSTRAIN_FROM_JSON_HPP

// ---- bitnet/constrain/fields.hpp ----
// field, fields_of, names_of: how a program names the members of its structs and the values of its enums, once.
#ifndef BITNET_CONSTRAIN_FIELDS_HPP
#define BITNET_CONSTRAIN_FIELDS_HPP

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace bitnet::inline BITNET_ABI {

/// What is asked of a value beyond its type. Those that do not fit the type mean nothing.
struct value_limits {
    std::optional<std::int64_t> minimum = {}; ///< of a number
    std::optional<std::int64_t> maximum = {};
    std::size_t min_size = 0; ///< characters (code points) of a string, elements of a vector
    std::size_t max_size = (std::numeric_limits<std::size_t>::max)();
    std::string_view description = {}; ///< for the model, where the schema is shown to it
};

/// A member of a struct, its key in JSON, and its limits.
template <class Owner, class Member> struct field {
    constexpr field(std::string_view key, Member Owner::*of, value_limits asked = {}) noexcept
        : name(key), member(of), limits(asked) {}

    std::string_view name;
    Member Owner::*member;
    value_limits limits;
};

/// Several fields, in the order in which a model writes them.
template <class... Fields> [[nodiscard]] constexpr std::tuple<Fields...> fields(Fields... each) noexcept {
    return {each...};
}

/// To be specialised for a struct that is to be written and read as a JSON object:
///
///     template <> struct bitnet::fields_of<npc_action> {
///         static constexpr auto list = bitnet::fields(bitnet::field("say", &npc_action::say, {.max_size = 80}),
///                                                     bitnet::field("mood", &npc_action::mood));
///     };
///
/// Members may be bool, integers, floating-point numbers, std::string, enums with names_of, structs with fields_of, and
/// std::optional, std::vector, std::array and std::variant of these. A struct that is an alternative of a variant also
/// has `static constexpr std::string_view name`, which its JSON object has under "type". An optional member may be
/// missing; elsewhere an optional may be null. A struct may contain itself by way of a vector.
template <class T> struct fields_of;

template <class E> struct enum_name {
    std::string_view name;
    E value;
};

/// To be specialised for an enum that is written as a JSON string:
///
///     template <> struct bitnet::names_of<mood> {
///         static constexpr bitnet::enum_name<mood> list[] = {{"calm", mood::calm}, {"angry", mood::angry}};
///     };
template <class E> struct names_of;

namespace detail {

template <class T>
concept character_type = std::same_as<T, char> || std::same_as<T, wchar_t> || std::same_as<T, char8_t> ||
    std::same_as<T, char16_t> || std::same_as<T, char32_t>;
template <class T>
concept json_integer = std::integral<T> && !std::same_as<T, bool> && !character_type<T>;
template <class T>
concept has_fields = requires {
    fields_of<T>::list;
};
template <class T>
concept has_names = requires {
    names_of<T>::list;
};

template <class T> inline constexpr bool is_optional = false;
template <class T> inline constexpr bool is_optional<std::optional<T>> = true;
template <class T> inline constexpr bool is_vector = false;
template <class T> inline constexpr bool is_vector<std::vector<T>> = true;
template <class T> inline constexpr bool is_array = false;
template <class T, std::size_t N> inline constexpr bool is_array<std::array<T, N>> = true;
template <class T> inline constexpr bool is_variant = false;
template <class... T> inline constexpr bool is_variant<std::variant<T...>> = true;

/// False for every T, but only once it is known.
template <class T> inline constexpr bool never = false;

/// The key of an alternative's name.
inline constexpr std::string_view variant_key = "type";

/// Calls each(field) for the fields of T in order.
template <has_fields T, class Each> constexpr void for_each_field(Each&& each) {
    std::apply([&](const auto&... all) { (each(all), ...); }, fields_of<T>::list);
}
template <class Owner, class Member> Member member_type(const field<Owner, Member>&);

/// A number of type T as JSON may have it: from low to high, texts of decimal numbers.
struct number_range {
    std::string low;
    std::string high;
};

/// The numbers of type T within the limits.
template <class T> [[nodiscard]] number_range range_of(const value_limits& limits) {
    number_range made;
    if constexpr (json_integer<T>) {
        made = {std::to_string((std::numeric_limits<T>::min)()), std::to_string((std::numeric_limits<T>::max)())};
    } else if constexpr (sizeof(T) == sizeof(float)) {
        made = {"-3.4028235e38", "3.4028235e38"};
    } else {
        made = {"-1.7976931348623157e308", "1.7976931348623157e308"};
    }
    if constexpr (std::integral<T>) {
        const bool is_low = limits.minimum && std::cmp_greater(*limits.minimum, (std::numeric_limits<T>::min)());
        const bool is_high = limits.maximum && std::cmp_less(*limits.maximum, (std::numeric_limits<T>::max)());
        made.low = is_low ? std::to_string(*limits.minimum) : made.low;
        made.high = is_high ? std::to_string(*limits.maximum) : made.high;
    } else {
        made.low = limits.minimum ? std::to_string(*limits.minimum) : made.low;
        made.high = limits.maximum ? std::to_string(*limits.maximum) : made.high;
    }
    return made;
}

} // namespace detail

} // namespace bitnet::inline BITNET_ABI

#endif

// ---- bitnet/constrain/schema_document.hpp ----
// schema_document: the places of a JSON Schema's text, and what its references mean.
#ifndef BITNET_CONSTRAIN_SCHEMA_DOCUMENT_HPP
#define BITNET_CONSTRAIN_SCHEMA_DOCUMENT_HPP

// ---- bitnet/constrain/source_reader.hpp ----
// source_reader: characters of a grammar's source and their escapes, with places for errors.
#ifndef BITNET_CONSTRAIN_SOURCE_READER_HPP
#define BITNET_CONSTRAIN_SOURCE_READER_HPP

// ---- bitnet/constrain/code_point_class.hpp ----
// code_point_class: a set of code points, and the automaton of its UTF-8 forms.
#ifndef BITNET_CONSTRAIN_CODE_POINT_CLASS_HPP
#define BITNET_CONSTRAIN_CODE_POINT_CLASS_HPP

// ---- bitnet/constrain/subset_construction.hpp ----
// nondeterministic_automaton, determinised(): from expressions to automata that hold one state per text.
#ifndef BITNET_CONSTRAIN_SUBSET_CONSTRUCTION_HPP
#define BITNET_CONSTRAIN_SUBSET_CONSTRUCTION_HPP

// ---- bitnet/core/checked.hpp ----
// Size arithmetic that notices overflow: for every size that a file or a caller controls.
#ifndef BITNET_CORE_CHECKED_HPP
#define BITNET_CORE_CHECKED_HPP

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>

namespace bitnet::inline BITNET_ABI::detail {

/// a + b, or nullopt if it does not fit 64 bits.
[[nodiscard]] constexpr std::optional<std::uint64_t> checked_add(std::uint64_t a, std::uint64_t b) noexcept {
    if (b > (std::numeric_limits<std::uint64_t>::max)() - a) {
        return std::nullopt;
    }
    return a + b;
}

/// a * b, or nullopt if it does not fit 64 bits.
[[nodiscard]] constexpr std::optional<std::uint64_t> checked_multiply(std::uint64_t a, std::uint64_t b) noexcept {
    if (a != 0 && b > (std::numeric_limits<std::uint64_t>::max)() / a) {
        return std::nullopt;
    }
    return a * b;
}

/// `size` in the type of sizes in memory. \pre it fits: 64 bits may be too many for a 32-bit system
template <std::unsigned_integral T> [[nodiscard]] constexpr std::size_t to_size(T size) noexcept {
    if constexpr (sizeof(T) > sizeof(std::size_t)) {
        return static_cast<std::size_t>(size);
    } else {
        return size;
    }
}

/// `value` rounded up to a multiple of `alignment` (a power of two), or nullopt if that does not fit 64 bits.
[[nodiscard]] constexpr std::optional<std::uint64_t> checked_align(std::uint64_t value,
                                                                   std::uint64_t alignment) noexcept {
    const auto padded = checked_add(value, alignment - 1);
    return padded ? std::optional{*padded & ~(alignment - 1)} : std::nullopt;
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// An automaton under construction: edges in any order, several for one byte. State 0 is the start.
class nondeterministic_automaton {
public:
    struct arc {
        bool is_byte;
        byte_edge byte;
        special_edge special;
        std::uint32_t next; ///< arc of the same state, or none
    };
    static constexpr std::uint32_t none = 0xffffffffu;

    std::uint32_t add_state() {
        heads_.push_back(none);
        finals_.push_back(false);
        return static_cast<std::uint32_t>(heads_.size() - 1);
    }
    void set_final(std::uint32_t state) { finals_[state] = true; }
    void add(std::uint32_t from, byte_edge edge) {
        arcs_.push_back({true, edge, {}, heads_[from]});
        heads_[from] = static_cast<std::uint32_t>(arcs_.size() - 1);
    }
    void add(std::uint32_t from, special_edge edge) {
        arcs_.push_back({false, {}, edge, heads_[from]});
        heads_[from] = static_cast<std::uint32_t>(arcs_.size() - 1);
    }
    void skip(std::uint32_t from, std::uint32_t to) { add(from, special_edge{special_kind::skip, 0, to}); }

    /// Copies `part` so that its texts lead from `from` to `to`.
    void embed(const automaton& part, std::uint32_t from, std::uint32_t to) {
        const auto first = static_cast<std::uint32_t>(heads_.size());
        for (std::size_t state = 0; state < part.size(); ++state) {
            add_state();
        }
        if (part.size() != 0) {
            skip(from, first);
        }
        for (std::uint32_t state = 0; state < part.size(); ++state) {
            for (const byte_edge edge : part.byte_edges(state)) {
                add(first + state, byte_edge{edge.low, edge.high, first + edge.target});
            }
            for (const special_edge edge : part.special_edges(state)) {
                add(first + state, special_edge{edge.kind, edge.value, first + edge.target});
            }
            if (part.is_final(state)) {
                skip(first + state, to);
            }
        }
    }

    [[nodiscard]] std::size_t size() const noexcept { return heads_.size(); }
    [[nodiscard]] bool is_final(std::uint32_t state) const noexcept { return finals_[state]; }
    [[nodiscard]] std::uint32_t first_arc(std::uint32_t state) const noexcept { return heads_[state]; }
    [[nodiscard]] const arc& at(std::uint32_t index) const noexcept { return arcs_[index]; }

    /// The same states and edges, sorted as an automaton has them.
    [[nodiscard]] automaton as_it_is() const {
        automaton made;
        std::vector<byte_edge> sorted;
        for (std::uint32_t state = 0; state < size(); ++state) {
            made.add_state(finals_[state]);
            sorted.clear();
            for (std::uint32_t i = heads_[state]; i != none; i = arcs_[i].next) {
                if (arcs_[i].is_byte) {
                    sorted.push_back(arcs_[i].byte);
                } else {
                    made.add(arcs_[i].special);
                }
            }
            std::sort(sorted.begin(), sorted.end(), [](byte_edge a, byte_edge b) { return a.low < b.low; });
            for (const byte_edge edge : sorted) {
                made.add(edge);
            }
        }
        return made;
    }

private:
    std::vector<std::uint32_t> heads_;
    std::vector<bool> finals_;
    std::vector<arc> arcs_;
};

/// The subset construction; calls and counts are symbols like bytes. Use determinised().
class subset_construction {
public:
    subset_construction(const nondeterministic_automaton& source, compile_budget& budget)
        : source_(source), budget_(budget), stamps_(source.size(), 0) {}

    [[nodiscard]] std::optional<automaton> run() {
        close_and_intern({0});
        for (std::size_t at = 0; at < subsets_.size(); ++at) {
            if (!expand(*subsets_[at])) {
                return std::nullopt;
            }
        }
        return std::move(made_);
    }

private:
    using subset = std::vector<std::uint32_t>;
    struct subset_hash {
        std::size_t operator()(const subset& states) const noexcept {
            std::uint64_t hash = 0x9e3779b97f4a7c15u;
            for (const std::uint32_t state : states) {
                hash = (hash ^ state) * 0xff51afd7ed558ccdu;
                hash ^= hash >> 29;
            }
            return to_size(hash);
        }
    };

    /// The number of the subset that `states` lead to without a byte.
    std::uint32_t close_and_intern(subset states) {
        ++stamp_;
        subset closed;
        while (!states.empty()) {
            const std::uint32_t state = states.back();
            states.pop_back();
            if (std::exchange(stamps_[state], stamp_) == stamp_) {
                continue;
            }
            bool matters = source_.is_final(state);
            for (std::uint32_t i = source_.first_arc(state); i != source_.none; i = source_.at(i).next) {
                const auto& arc = source_.at(i);
                spent_ += 1;
                if (!arc.is_byte && arc.special.kind == special_kind::skip) {
                    states.push_back(arc.special.target);
                } else {
                    matters = true;
                }
            }
            if (matters) {
                closed.push_back(state);
            }
        }
        std::sort(closed.begin(), closed.end());
        kept_ += closed.size();
        const auto [found, is_new] =
            numbers_.try_emplace(std::move(closed), static_cast<std::uint32_t>(numbers_.size()));
        if (is_new) {
            subsets_.push_back(&found->first);
        }
        return found->second;
    }

    /// Adds the state of a subset with its edges. \return false where the budget is spent
    [[nodiscard]] bool expand(const subset& states) {
        const bool is_final =
            std::any_of(states.begin(), states.end(), [&](std::uint32_t s) { return source_.is_final(s); });
        made_.add_state(is_final);
        gather(states);
        for (std::size_t low = 0; low < 256;) {
            std::size_t high = low;
            while (high < 255 && !borders_[high + 1]) {
                ++high;
            }
            add_byte_edge(low, high);
            low = high + 1;
        }
        add_specials();
        constexpr std::uint64_t most_kept = 8'000'000; // 32 MB of subsets
        if (spent_ > budget_.steps || subsets_.size() > budget_.states || kept_ > most_kept) {
            return false;
        }
        budget_.steps -= spent_;
        spent_ = 0;
        return true;
    }

    /// Sorts the arcs of all states of a subset: by the byte at which their range begins, or into specials_.
    void gather(const subset& states) {
        borders_.fill(false);
        bytes_.clear();
        specials_.clear();
        for (const std::uint32_t state : states) {
            for (std::uint32_t i = source_.first_arc(state); i != source_.none; i = source_.at(i).next) {
                const auto& arc = source_.at(i);
                if (arc.is_byte) {
                    borders_[arc.byte.low] = true;
                    borders_[std::size_t{arc.byte.high} + 1] = true;
                    bytes_.push_back(arc.byte);
                } else if (arc.special.kind != special_kind::skip) {
                    specials_.push_back(arc.special);
                }
            }
        }
        for (auto& targets : targets_) {
            targets.clear();
        }
        for (const byte_edge edge : bytes_) {
            for (std::size_t byte = edge.low; byte <= edge.high; ++byte) {
                if (byte == edge.low || borders_[byte]) {
                    targets_[byte].push_back(edge.target);
                    ++spent_;
                }
            }
        }
    }

    void add_byte_edge(std::size_t low, std::size_t high) {
        if (targets_[low].empty()) {
            return;
        }
        const std::uint32_t target = close_and_intern(targets_[low]);
        made_.add(byte_edge{static_cast<std::uint8_t>(low), static_cast<std::uint8_t>(high), target});
    }

    void add_specials() {
        const auto key = [](const special_edge& edge) { return std::pair{edge.kind, edge.value}; };
        std::sort(specials_.begin(), specials_.end(),
                  [&](const special_edge& a, const special_edge& b) { return key(a) < key(b); });
        for (std::size_t i = 0; i < specials_.size();) {
            subset targets;
            const special_edge first = specials_[i];
            for (; i < specials_.size() && key(specials_[i]) == key(first); ++i) {
                targets.push_back(specials_[i].target);
            }
            made_.add(special_edge{first.kind, first.value, close_and_intern(std::move(targets))});
        }
    }

    const nondeterministic_automaton& source_;
    compile_budget& budget_;
    automaton made_;
    std::unordered_map<subset, std::uint32_t, subset_hash> numbers_;
    std::vector<const subset*> subsets_; // in the order of their numbers
    std::vector<std::uint32_t> stamps_;  // of states, in which closure they were met last
    std::uint32_t stamp_ = 0;
    std::uint64_t spent_ = 0;
    std::uint64_t kept_ = 0;
    std::array<bool, 257> borders_{};
    std::array<subset, 256> targets_;
    std::vector<byte_edge> bytes_;
    std::vector<special_edge> specials_;
};

/// The deterministic automaton of the same language; nullopt where that exceeds the budget.
[[nodiscard]] inline std::optional<automaton> determinised(const nondeterministic_automaton& source,
                                                           compile_budget& budget) {
    return subset_construction(source, budget).run();
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <tuple>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Code points `low` to `high`.
struct code_point_range {
    char32_t low;
    char32_t high;

    [[nodiscard]] bool operator==(const code_point_range&) const noexcept = default;
};

inline constexpr char32_t last_code_point = 0x10ffff;

/// A set of scalar values: ranges that are sorted and apart, without surrogates.
class code_point_class {
public:
    void add(char32_t low, char32_t high) {
        ranges_.push_back({low, high});
        is_sorted_ = false;
    }
    void add(const code_point_class& other) {
        ranges_.insert(ranges_.end(), other.ranges_.begin(), other.ranges_.end());
        is_sorted_ = false;
    }
    /// All scalar values that are not in it.
    [[nodiscard]] code_point_class complement() {
        code_point_class made;
        char32_t next = 0;
        for (const code_point_range range : ranges()) {
            if (range.low > next) {
                made.add(next, range.low - 1);
            }
            next = range.high + 1;
        }
        if (next <= last_code_point) {
            made.add(next, last_code_point);
        }
        return made;
    }
    [[nodiscard]] const std::vector<code_point_range>& ranges() {
        if (!is_sorted_) {
            sort();
        }
        return ranges_;
    }

private:
    void sort() {
        std::vector<code_point_range> parts;
        for (const code_point_range range : ranges_) { // surrogates have no UTF-8 form
            if (range.low < 0xd800) {
                parts.push_back({range.low, (std::min)(range.high, char32_t{0xd7ff})});
            }
            if (range.high > 0xdfff) {
                parts.push_back({(std::max)(range.low, char32_t{0xe000}), range.high});
            }
        }
        std::sort(parts.begin(), parts.end(), [](auto a, auto b) { return a.low < b.low; });
        ranges_.clear();
        for (const code_point_range part : parts) {
            if (!ranges_.empty() && part.low <= ranges_.back().high + 1) {
                ranges_.back().high = (std::max)(ranges_.back().high, part.high);
            } else {
                ranges_.push_back(part);
            }
        }
        is_sorted_ = true;
    }

    std::vector<code_point_range> ranges_;
    bool is_sorted_ = true;
};

/// Builds the UTF-8 automaton of a class; byte sequences share their tails.
class utf8_encoder {
public:
    explicit utf8_encoder(nondeterministic_automaton& out) : out_(out) {}

    /// The texts of one code point out of `range` lead from `from` to `to`.
    void connect(std::uint32_t from, std::uint32_t to, code_point_range range) {
        constexpr char32_t last_of_size[] = {0x7f, 0x7ff, 0xffff, last_code_point};
        for (std::size_t bytes = 1; bytes <= 4 && range.low <= range.high; ++bytes) {
            const char32_t last = (std::min)(range.high, last_of_size[bytes - 1]);
            if (range.low <= last) {
                split(from, to, {range.low, last}, bytes);
                range.low = last + 1;
            }
        }
    }

private:
    /// Cuts a range of equally long forms until each byte of them is a range of its own. At most 7 pieces.
    void split(std::uint32_t from, std::uint32_t to, code_point_range range, std::size_t bytes) {
        std::vector<code_point_range> todo{range};
        while (!todo.empty()) {
            const code_point_range part = todo.back();
            todo.pop_back();
            bool is_cut = false;
            for (std::size_t i = 1; i < bytes && !is_cut; ++i) {
                const char32_t mask = (char32_t{1} << (6 * i)) - 1;
                if ((part.low & ~mask) == (part.high & ~mask)) {
                    break;
                }
                if ((part.low & mask) != 0) {
                    is_cut = true;
                    todo.push_back({part.low, part.low | mask});
                    todo.push_back({(part.low | mask) + 1, part.high});
                } else if ((part.high & mask) != mask) {
                    is_cut = true;
                    todo.push_back({part.low, (part.high & ~mask) - 1});
                    todo.push_back({part.high & ~mask, part.high});
                }
            }
            if (!is_cut) {
                add_sequence(from, to, part, bytes);
            }
        }
    }

    void add_sequence(std::uint32_t from, std::uint32_t to, code_point_range range, std::size_t bytes) {
        constexpr unsigned lead[] = {0, 0xc0, 0xe0, 0xf0};
        std::uint32_t target = to;
        for (std::size_t i = 0; i + 1 < bytes; ++i) { // from the last byte to the second
            const auto low = static_cast<std::uint8_t>(0x80 | ((range.low >> (6 * i)) & 0x3f));
            const auto high = static_cast<std::uint8_t>(0x80 | ((range.high >> (6 * i)) & 0x3f));
            const auto [found, is_new] = tails_.try_emplace(std::tuple{low, high, target}, 0);
            if (is_new) {
                found->second = out_.add_state();
                out_.add(found->second, byte_edge{low, high, target});
            }
            target = found->second;
        }
        const std::size_t shift = 6 * (bytes - 1);
        out_.add(from, byte_edge{static_cast<std::uint8_t>(lead[bytes - 1] | (range.low >> shift)),
                                 static_cast<std::uint8_t>(lead[bytes - 1] | (range.high >> shift)), target});
    }

    nondeterministic_automaton& out_;
    std::map<std::tuple<std::uint8_t, std::uint8_t, std::uint32_t>, std::uint32_t> tails_;
};

/// The deterministic automaton of one code point out of `set`.
[[nodiscard]] inline automaton utf8_automaton(code_point_class set) {
    nondeterministic_automaton parts;
    const std::uint32_t from = parts.add_state();
    const std::uint32_t to = parts.add_state();
    parts.set_final(to);
    utf8_encoder encoder(parts);
    for (const code_point_range range : set.ranges()) {
        encoder.connect(from, to, range);
    }
    compile_budget budget; // at most some 20,000 states, by the number of two- and three-byte prefixes
    return set.ranges().empty() ? automaton() : determinised(parts, budget).value_or(automaton());
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif

// ---- bitnet/constrain/expression.hpp ----
// expression_pool: what all readers of grammars make: expressions over bytes, and rules that call each other.
#ifndef BITNET_CONSTRAIN_EXPRESSION_HPP
#define BITNET_CONSTRAIN_EXPRESSION_HPP

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// An expression of a pool; those it is made of have smaller numbers.
using expression = std::uint32_t;

enum class expression_kind : std::uint8_t {
    nothing,  ///< no text at all
    literal,  ///< one text, perhaps empty
    language, ///< the texts of an automaton
    counted,  ///< the texts of an automaton that count from `low` to `high`
    sequence, ///< its parts in order
    choice,   ///< one of its parts
    repeat,   ///< its part, `low` to `high` times
    rule,     ///< a text of rule `low`
};

/// How often repeat and counted may go on at most: no limit.
inline constexpr std::uint32_t unlimited = 0xffffffffu;
/// The largest number of a repetition.
inline constexpr std::uint32_t largest_count = 0x7fffffffu;

struct expression_node {
    expression_kind kind;
    std::uint32_t first; ///< of parts, characters or automata
    std::uint32_t size;  ///< parts or characters
    std::uint32_t low;
    std::uint32_t high;
};

/// The expressions of one grammar.
class expression_pool {
public:
    [[nodiscard]] expression nothing() { return add({expression_kind::nothing, 0, 0, 0, 0}); }
    [[nodiscard]] expression empty() { return literal({}); }
    [[nodiscard]] expression literal(std::string_view text) {
        const auto first = static_cast<std::uint32_t>(characters_.size());
        characters_ += text;
        return add({expression_kind::literal, first, static_cast<std::uint32_t>(text.size()), 0, 0});
    }
    [[nodiscard]] expression language(automaton texts) {
        automata_.push_back(std::move(texts));
        return add({expression_kind::language, static_cast<std::uint32_t>(automata_.size() - 1), 0, 0, 0});
    }
    [[nodiscard]] expression one_of(code_point_class set) { return language(utf8_automaton(std::move(set))); }
    /// `high` is in the count edges of `texts`. \param step_bytes the most bytes that one count takes
    [[nodiscard]] expression counted(automaton texts, std::uint32_t low, std::uint32_t high, std::uint32_t step_bytes) {
        automata_.push_back(std::move(texts));
        const auto number = static_cast<std::uint32_t>(automata_.size() - 1);
        return add({expression_kind::counted, number, step_bytes, low, high});
    }
    [[nodiscard]] expression sequence(std::span<const expression> parts) {
        return parts.size() == 1 ? parts[0] : list(expression_kind::sequence, parts);
    }
    [[nodiscard]] expression choice(std::span<const expression> parts) {
        return parts.size() == 1 ? parts[0] : list(expression_kind::choice, parts);
    }
    [[nodiscard]] expression sequence(std::initializer_list<expression> parts) {
        return sequence(std::span<const expression>(parts.begin(), parts.size()));
    }
    [[nodiscard]] expression choice(std::initializer_list<expression> parts) {
        return choice(std::span<const expression>(parts.begin(), parts.size()));
    }
    /// `part` low to high times. Of a repetition of a repetition, one, where that is the same.
    [[nodiscard]] expression repeat(expression part, std::uint32_t low, std::uint32_t high) {
        const expression_node inner = nodes_[part];
        if (inner.kind == expression_kind::repeat) {
            if (const auto joined = product(inner, low, high)) {
                return repeat(parts_[inner.first], joined->first, joined->second);
            }
        }
        if (high == 0) {
            return empty();
        }
        if (low == 1 && high == 1) {
            return part;
        }
        parts_.push_back(part);
        return add({expression_kind::repeat, static_cast<std::uint32_t>(parts_.size() - 1), 1, low, high});
    }
    [[nodiscard]] expression rule(std::uint32_t number) { return add({expression_kind::rule, 0, 0, number, 0}); }

    [[nodiscard]] std::size_t size() const noexcept { return nodes_.size(); }
    [[nodiscard]] const expression_node& at(expression number) const noexcept { return nodes_[number]; }
    [[nodiscard]] std::span<const expression> parts(const expression_node& node) const noexcept {
        return has_parts(node) ? std::span(parts_).subspan(node.first, node.size) : std::span<const expression>();
    }
    [[nodiscard]] std::string_view text(const expression_node& node) const noexcept {
        return std::string_view(characters_).substr(node.first, node.size);
    }
    [[nodiscard]] const automaton& texts(const expression_node& node) const noexcept { return automata_[node.first]; }

private:
    [[nodiscard]] static bool has_parts(const expression_node& node) noexcept {
        return node.kind == expression_kind::sequence || node.kind == expression_kind::choice ||
               node.kind == expression_kind::repeat;
    }
    [[nodiscard]] expression add(expression_node node) {
        nodes_.push_back(node);
        return static_cast<expression>(nodes_.size() - 1);
    }
    [[nodiscard]] expression list(expression_kind kind, std::span<const expression> parts) {
        if (parts.empty()) {
            return kind == expression_kind::sequence ? empty() : nothing();
        }
        const auto first = static_cast<std::uint32_t>(parts_.size());
        parts_.insert(parts_.end(), parts.begin(), parts.end());
        return add({kind, first, static_cast<std::uint32_t>(parts.size()), 0, 0});
    }
    /// The bounds of (x{a,b}){low,high} as one repetition of x; nullopt where its counts leave gaps, or are too large.
    [[nodiscard]] static std::optional<std::pair<std::uint32_t, std::uint32_t>>
    product(const expression_node& inner, std::uint64_t low, std::uint64_t high) {
        const std::uint64_t a = inner.low;
        const std::uint64_t b = inner.high;
        if (low == high && high == 0) {
            return std::pair{0u, 0u};
        }
        // k rounds give k*a to k*b. The gap above k rounds closes where k*b + 1 >= (k + 1)*a, first of all for k = low.
        const bool is_open = b == unlimited;
        if (low != high && low == 0 && a > 1) {
            return std::nullopt;
        }
        if (low != high && !is_open && low * b + 1 < (low + 1) * a) {
            return std::nullopt;
        }
        const bool is_endless = high == unlimited || is_open;
        if (low * a > largest_count || (!is_endless && high * b > largest_count)) {
            return std::nullopt;
        }
        return std::pair{static_cast<std::uint32_t>(low * a),
                         is_endless && b != 0 ? unlimited : static_cast<std::uint32_t>(b == 0 ? 0 : high * b)};
    }

    std::vector<expression_node> nodes_;
    std::vector<expression> parts_;
    std::string characters_;
    std::vector<automaton> automata_;
};

/// A rule: its name, for errors, and what it stands for.
struct grammar_rule {
    std::string name;
    expression body = 0;
};

/// A grammar as it was read, not compiled yet.
struct grammar_source {
    expression_pool pool;
    std::vector<grammar_rule> rules;
    std::uint32_t root = 0;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

// ---- bitnet/core/sentence.hpp ----
// sentence, set_error: the text of an error message, joined out of line from texts, names and numbers.
#ifndef BITNET_CORE_SENTENCE_HPP
#define BITNET_CORE_SENTENCE_HPP

// ---- bitnet/core/guarded.hpp ----
// guarded: what a public function does, kept apart from the host: no exception for want of memory leaves it, and it
// computes in the default floating-point environment.
#ifndef BITNET_CORE_GUARDED_HPP
#define BITNET_CORE_GUARDED_HPP

// ---- bitnet/core/float_environment.hpp ----
// default_float_environment: round to nearest, keep denormals and trap nothing while the library computes, whatever
// the host has set.
#ifndef BITNET_CORE_FLOAT_ENVIRONMENT_HPP
#define BITNET_CORE_FLOAT_ENVIRONMENT_HPP

#if BITNET_X86_64 && !defined(__GNUC__) && !defined(__clang__)
#include <xmmintrin.h>
#elif !BITNET_X86_64 && !(BITNET_ARM64 && defined(__GNUC__))
#include <cfenv>
#endif

#include <cstdint>

namespace bitnet::inline BITNET_ABI::detail {

/// Sets the IEEE default for this thread, and gives the caller's setting and exception flags back when it goes out of
/// scope. Needed because hosts change rounding and trap exceptions, and -ffast-math links start-up code that flushes
/// denormals. Cost: some ten nanoseconds. Proven by tests/core/float_environment_test.cpp.
class default_float_environment {
public:
    default_float_environment() noexcept : saved_(load()) { store_default(); }
    ~default_float_environment() { store(saved_); }
    default_float_environment(const default_float_environment&) = delete;
    default_float_environment& operator=(const default_float_environment&) = delete;

private:
#if BITNET_X86_64
    using state = std::uint32_t; // MXCSR: compilers use no other unit for float and double here
    static void store_default() noexcept { store(0x1f80); } // its value after reset: all exceptions masked, nearest
#if defined(__GNUC__) || defined(__clang__)                 // the intrinsics' own builtins: their header is large
    [[nodiscard]] static state load() noexcept { return __builtin_ia32_stmxcsr(); }
    static void store(state value) noexcept { __builtin_ia32_ldmxcsr(value); }
#else
    [[nodiscard]] static state load() noexcept { return _mm_getcsr(); }
    static void store(state value) noexcept { _mm_setcsr(value); }
#endif
#elif BITNET_ARM64 && defined(__GNUC__)
    struct state {
        std::uint64_t control; ///< FPCR. 0: nearest, no flush to zero, no traps, IEEE half precision
        std::uint64_t flags;   ///< FPSR
    };
    [[nodiscard]] static state load() noexcept {
        state now;
        __asm__ volatile("mrs %0, fpcr\n\tmrs %1, fpsr" : "=r"(now.control), "=r"(now.flags) : : "memory");
        return now;
    }
    static void store_default() noexcept { store({0, 0}); }
    static void store(state value) noexcept {
        __asm__ volatile("msr fpsr, %1\n\tmsr fpcr, %0" : : "r"(value.control), "r"(value.flags) : "memory");
    }
#else
    using state = std::fenv_t; // all units that there are: on 32-bit x86 the x87, too, which returns results
    [[nodiscard]] static state load() noexcept {
        state now;
        std::fegetenv(&now);
        return now;
    }
    static void store_default() noexcept { std::fesetenv(FE_DFL_ENV); }
    static void store(const state& value) noexcept { std::fesetenv(&value); }
#endif
    state saved_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

#include <new>
#include <stdexcept>
#include <string>

namespace bitnet::inline BITNET_ABI::detail {

/// Calls work(). \return whether memory sufficed: false where a standard container threw because it did not. Without
/// exceptions a container does what the standard library does then, and this returns true. Other exceptions pass: they
/// are those of the host's own callbacks.
template <class Work> [[nodiscard]] bool has_memory_for(Work&& work) {
#if BITNET_EXCEPTIONS
    try {
        work();
    } catch (const std::bad_alloc&) {
        return false;
    } catch (const std::length_error&) {
        return false;
    }
#else
    work();
#endif
    return true;
}

/// What an error says that found no memory for its sentence: needs none where strings hold short texts in themselves.
[[nodiscard]] BITNET_COLD inline std::string no_memory_text() noexcept {
    std::string text;
    return has_memory_for([&] { text = "out of memory"; }) ? text : std::string();
}
[[nodiscard]] BITNET_COLD inline error out_of_memory() noexcept { return {errc::out_of_memory, no_memory_text()}; }

/// The result<T> of work(), or errc::out_of_memory where a container found no memory. Every public function that
/// returns a result and may allocate or compute does so in here, so that no code below has to think of either.
template <class Work> [[nodiscard]] auto guarded(Work&& work) -> decltype(work()) {
    const default_float_environment environment;
#if BITNET_EXCEPTIONS
    try {
        return work();
    } catch (const std::bad_alloc&) {
        return out_of_memory();
    } catch (const std::length_error&) {
        return out_of_memory();
    }
#else
    return work();
#endif
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// Appends `name` in single quotes and printable ASCII: other bytes become \xHH, and what exceeds `longest` bytes
/// becomes "...". A key of 64 KiB or a terminal escape sequence in a file must not reach a log as it is.
BITNET_COLD inline void append_quoted(std::string& out, std::string_view name, std::size_t longest) {
    out += '\'';
    for (const char c : name.substr(0, longest)) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte >= 0x20 && byte < 0x7f) {
            out += c;
        } else {
            const char escaped[] = {'\\', 'x', "0123456789abcdef"[byte >> 4], "0123456789abcdef"[byte & 15]};
            out.append(escaped, sizeof escaped);
        }
    }
    out.append(name.size() > longest ? "...'" : "'");
}

/// A name out of a file as a part of a sentence: at most 80 bytes of it, in quotes, as append_quoted() writes them.
struct quoted {
    std::string_view name;
};

/// A text as it is, a quoted name, or an integer in decimal. Borrows the text.
class sentence_part {
public:
    sentence_part(std::string_view text) noexcept : text_(text.data()), value_(text.size()) {}
    sentence_part(const char* text) noexcept : sentence_part(std::string_view(text)) {}
    sentence_part(const std::string& text) noexcept : sentence_part(std::string_view(text)) {}
    sentence_part(quoted part) noexcept : text_(part.name.data()), value_(part.name.size()), kind_(kind::quoted) {}
    template <std::integral Number>
    requires(!std::same_as<Number, bool> && !std::same_as<Number, char>) sentence_part(Number number)
    noexcept
        : value_(number < 0 ? std::uint64_t{0} - static_cast<std::uint64_t>(number)
                            : static_cast<std::uint64_t>(number)),
          kind_(number < 0 ? kind::negative : kind::positive) {}

    /// Appends it to `out`.
    BITNET_COLD void append_to(std::string& out) const {
        switch (kind_) {
        case kind::text:
            out.append(text_, to_size(value_));
            break;
        case kind::quoted:
            append_quoted(out, {text_, to_size(value_)}, 80);
            break;
        case kind::positive:
        case kind::negative:
            append_number(out);
            break;
        }
    }

private:
    enum class kind : unsigned char { text, quoted, positive, negative };

    void append_number(std::string& out) const {
        char digits[21];
        char* const end = digits + sizeof digits;
        char* begin = end;
        std::uint64_t rest = value_;
        do {
            *--begin = static_cast<char>('0' + rest % 10);
            rest /= 10;
        } while (rest != 0);
        if (kind_ == kind::negative) {
            *--begin = '-';
        }
        out.append(begin, end);
    }

    const char* text_ = nullptr;
    std::uint64_t value_; ///< the size of a text, the magnitude of a number
    kind kind_ = kind::text;
};

using sentence_parts = std::initializer_list<sentence_part>;

/// All parts, one after another: sentence({file, ": ", rows, " rows in the file"}). A call compiles to less code than
/// `+` and std::to_string, which are inlined wherever they are used.
[[nodiscard]] BITNET_COLD inline std::string sentence(sentence_parts parts) {
    std::string made;
    for (const sentence_part& part : parts) {
        part.append_to(made);
    }
    return made;
}

/// Makes `failure` the error of that code whose sentence is `place` and then `what`. \return false: for functions that
/// keep their error in a member and return whether they worked, which takes less code than returning result<void>.
/// An error whose sentence finds no memory still has its code.
BITNET_COLD inline bool set_error(error& failure, errc code, sentence_parts place, sentence_parts what) noexcept {
    failure.code = code;
    const bool is_told = has_memory_for([&] {
        failure.message.clear();
        for (const sentence_parts parts : {place, what}) {
            for (const sentence_part& part : parts) {
                part.append_to(failure.message);
            }
        }
    });
    if (!is_told) {
        failure.message = no_memory_text();
    }
    return false;
}

/// The error of that code and that sentence, for functions that are not guarded(): needs no memory to have its code.
[[nodiscard]] BITNET_COLD inline error error_saying(errc code, sentence_parts what) noexcept {
    error made;
    set_error(made, code, what, {});
    return made;
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// The largest source of a grammar: 16 MiB.
inline constexpr std::size_t most_source_bytes = std::size_t{16} << 20;
/// How deep groups of a grammar or a pattern may be nested.
inline constexpr std::size_t most_nested_groups = 1000;

/// A position in the source of a grammar.
class source_reader {
public:
    explicit source_reader(std::string_view text) noexcept : text_(text) {}

    [[nodiscard]] bool at_end() const noexcept { return at_ == text_.size(); }
    [[nodiscard]] bool is_next(char c) const noexcept { return !at_end() && text_[at_] == c; }
    [[nodiscard]] bool is_next(std::string_view word) const noexcept { return text_.substr(at_, word.size()) == word; }
    [[nodiscard]] char peek() const noexcept { return at_end() ? '\0' : text_[at_]; }
    [[nodiscard]] std::size_t place() const noexcept { return at_; }
    void go_to(std::size_t place) noexcept { at_ = place; }
    [[nodiscard]] std::string_view since(std::size_t place) const noexcept { return text_.substr(place, at_ - place); }
    void advance(std::size_t bytes = 1) noexcept { at_ += bytes; }
    bool skip(std::string_view word) noexcept {
        const bool found = is_next(word);
        at_ += found ? word.size() : 0;
        return found;
    }

    /// The next character; nullopt where the bytes are not UTF-8. \pre !at_end()
    [[nodiscard]] std::optional<char32_t> character() noexcept {
        const decoded_code_point found = first_code_point(text_.substr(at_));
        if (found.value == invalid_code_point) {
            return std::nullopt;
        }
        at_ += found.size;
        return found.value;
    }
    /// The value of exactly `digits` hexadecimal digits; nullopt where others stand here.
    [[nodiscard]] std::optional<char32_t> hexadecimal(std::size_t digits) noexcept {
        char32_t value = 0;
        for (std::size_t i = 0; i < digits; ++i) {
            const int digit = at_end() ? -1 : hexadecimal_digit(text_[at_]);
            if (digit < 0) {
                return std::nullopt;
            }
            value = value * 16 + static_cast<char32_t>(digit);
            ++at_;
        }
        return value;
    }
    /// A number in decimal digits, nullopt where there is none; above largest_count, largest_count + 1.
    [[nodiscard]] std::optional<std::uint32_t> number() noexcept {
        const std::size_t first = at_;
        std::uint32_t value = 0;
        for (; !at_end() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
            const auto digit = static_cast<std::uint32_t>(text_[at_] - '0');
            value = value > (largest_count - digit) / 10 ? largest_count + 1 : value * 10 + digit;
        }
        return at_ != first ? std::optional{value} : std::nullopt;
    }

    /// Line and column of here, both from 1; a column is a byte.
    [[nodiscard]] std::size_t line() const noexcept {
        std::size_t lines = 1;
        for (const char c : text_.substr(0, at_)) {
            lines += c == '\n' ? 1 : 0;
        }
        return lines;
    }
    [[nodiscard]] std::size_t column() const noexcept {
        const std::size_t start = text_.substr(0, at_).rfind('\n');
        return start == std::string_view::npos ? at_ + 1 : at_ - start;
    }

    [[nodiscard]] static constexpr int hexadecimal_digit(char c) noexcept {
        return c >= '0' && c <= '9'   ? c - '0'
               : c >= 'a' && c <= 'f' ? c - 'a' + 10
               : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                      : -1;
    }

private:
    std::string_view text_;
    std::size_t at_ = 0;
};

[[nodiscard]] constexpr bool is_high_surrogate(char32_t c) noexcept { return c >= 0xd800 && c <= 0xdbff; }
[[nodiscard]] constexpr bool is_low_surrogate(char32_t c) noexcept { return c >= 0xdc00 && c <= 0xdfff; }
[[nodiscard]] constexpr char32_t of_surrogates(char32_t high, char32_t low) noexcept {
    return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif

// ---- bitnet/io/json.hpp ----
// json_document: reads JSON strictly by RFC 8259; append_json_string writes strings as pure ASCII.
#ifndef BITNET_IO_JSON_HPP
#define BITNET_IO_JSON_HPP

// ---- bitnet/core/buffer.hpp ----
// buffer<T>: aligned storage whose size a file or a caller controls; says out_of_memory instead of throwing.
#ifndef BITNET_CORE_BUFFER_HPP
#define BITNET_CORE_BUFFER_HPP

// ---- bitnet/core/huge_pages.hpp ----
// Huge pages for large buffers: a tenth to a quarter more bandwidth where they are read from end to end, and one fault
// instead of 512 where they are first written.
#ifndef BITNET_CORE_HUGE_PAGES_HPP
#define BITNET_CORE_HUGE_PAGES_HPP

#include <cstddef>
#include <cstdint>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace bitnet::inline BITNET_ABI::detail {

/// Asks for huge pages for [memory, memory + bytes): a hint, and no error if the system cannot.
/// To be asked before the memory is first written. Pages then come 2 MB at a time.
inline void ask_for_huge_pages([[maybe_unused]] void* memory, [[maybe_unused]] std::size_t bytes) noexcept {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    constexpr std::uintptr_t page = std::uintptr_t{2} << 20;
    const auto address = reinterpret_cast<std::uintptr_t>(memory);
    const std::uintptr_t first = (address + page - 1) / page * page;
    const std::uintptr_t end = (address + bytes) / page * page;
    if (first < end) {
        ::madvise(static_cast<char*>(memory) + (first - address), end - first, MADV_HUGEPAGE);
    }
#endif
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif

// ---- bitnet/core/memory_source.hpp ----
// memory_source: where a host lets the library have its large blocks of memory from.
#ifndef BITNET_CORE_MEMORY_SOURCE_HPP
#define BITNET_CORE_MEMORY_SOURCE_HPP

#include <cstddef>
#include <cstdint>

namespace bitnet::inline BITNET_ABI {

/// What a block of memory is for.
enum class memory_use : std::uint8_t {
    weights,   ///< of a model: a copy of its file, repacked tensors, norms, the screen of its head
    tables,    ///< of a model: its tokenizer, the list of its tensors
    pages,     ///< keys and values, of a session or of a kv_pool
    scratch,   ///< of a session, a batch, a scheduler or a sampler: activations, logits, tokens
    temporary, ///< given back before the call that asked for it returns
};

struct memory_hint {
    memory_use use = memory_use::temporary;
    /// Whether the block is large and read from end to end again and again: huge pages are worth a tenth to a quarter
    /// of its speed. Without a source of the host's own the library asks the system for them.
    bool huge_pages = false;
};

/// A host's own allocator: see open_options::memory. It outlives all that was opened with it, and both functions may be
/// called by several threads at a time, where several threads use the model or the system makes a screen in the
/// background. What is given need not be zero.
///
/// Through it goes every block whose size the model, the context or another option decides. The rest is operator new:
/// objects of a few KiB, strings and messages, stacks of threads, the containers that public functions return, chat
/// templates, grammars, conversions, and what reading the folder of a Hugging Face checkpoint puts into containers.
/// Files that are mapped are the system's.
struct memory_source {
    /// `bytes` > 0 of memory at a multiple of `alignment`, a power of two; null refuses, which is errc::out_of_memory.
    void* (*allocate)(void* context, std::size_t bytes, std::size_t alignment, memory_hint hint) noexcept = nullptr;
    /// Takes back what allocate() gave, with the same two numbers.
    void (*release)(void* context, void* memory, std::size_t bytes, std::size_t alignment) noexcept = nullptr;
    void* context = nullptr;
};

namespace detail {

/// Where a buffer's memory comes from, and what for. Null is operator new.
struct memory_from {
    const memory_source* source = nullptr;
    memory_hint hint = {};
};

} // namespace detail

} // namespace bitnet::inline BITNET_ABI

#endif

#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

namespace bitnet::inline BITNET_ABI {

namespace detail {

/// Memory for `size` elements of `element_bytes`, to be given to release_bytes() with the same source and alignment.
/// \return errc::out_of_memory with the bytes asked for.
[[nodiscard]] inline result<void*> allocate_bytes(std::uint64_t size, std::size_t element_bytes, std::size_t alignment,
                                                  std::string_view what, const memory_from& from) {
    const auto bytes = checked_multiply(size, element_bytes);
    if (!bytes || *bytes > static_cast<std::uint64_t>(PTRDIFF_MAX)) {
        return error_saying(errc::out_of_memory,
                            {what, ": ", size, " elements of ", element_bytes, " bytes exceed the address space"});
    }
    const bool is_of_host = from.source != nullptr && *bytes != 0;
    void* memory = is_of_host ? from.source->allocate(from.source->context, to_size(*bytes), alignment, from.hint)
                              : ::operator new (to_size(*bytes), std::align_val_t{alignment}, std::nothrow);
    if (memory == nullptr) {
        return error_saying(errc::out_of_memory, {what, ": ", *bytes, " bytes could not be allocated"});
    }
    if (from.hint.huge_pages && !is_of_host) {
        ask_for_huge_pages(memory, to_size(*bytes));
    }
    return memory;
}

inline void release_bytes(void* memory, std::size_t bytes, std::size_t alignment,
                          const memory_source* source) noexcept {
    if (source == nullptr || bytes == 0) {
        ::operator delete (memory, std::align_val_t{alignment});
    } else if (memory != nullptr) {
        source->release(source->context, memory, bytes, alignment);
    }
}

} // namespace detail

/// A fixed number of trivial elements, 64-byte aligned (a cache line, an AVX-512 register). Move-only.
template <class T>
requires std::is_trivially_copyable_v<T>
class buffer {
public:
    static constexpr std::size_t alignment = 64;
    static_assert(alignof(T) <= alignment);

    buffer() noexcept = default;
    buffer(buffer&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, std::size_t{0})),
          source_(other.source_) {}
    buffer& operator=(buffer&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        std::swap(source_, other.source_);
        return *this;
    }
    buffer(const buffer&) = delete;
    buffer& operator=(const buffer&) = delete;
    ~buffer() { detail::release_bytes(data_, size_bytes(), alignment, source_); }

    /// `size` elements, all bytes zero.
    /// \param what names the purpose in the error message.
    /// \param from where the memory comes from; its source outlives the buffer.
    /// \return errc::out_of_memory with the bytes asked for.
    [[nodiscard]] static result<buffer> allocate(std::uint64_t size, std::string_view what,
                                                 const detail::memory_from& from = {}) {
        auto made = allocate_uninitialized(size, what, from);
        if (made) {
            if (from.source == nullptr) {
                detail::ask_for_huge_pages(made->data_, made->size_bytes()); // all of it is written now
            }
            for (std::size_t i = 0; i < made->size_; ++i) {
                ::new (static_cast<void*>(made->data_ + i)) T();
            }
        }
        return made;
    }

    /// The same with bytes of any value: pages that are never written need no memory.
    [[nodiscard]] static result<buffer> allocate_uninitialized(std::uint64_t size, std::string_view what,
                                                               const detail::memory_from& from = {}) {
        auto memory = detail::allocate_bytes(size, sizeof(T), alignment, what, from);
        if (!memory) {
            return failed(memory);
        }
        buffer made;
        made.size_ = detail::to_size(size);
        made.data_ = static_cast<T*>(*memory);
        made.source_ = from.source;
        return made;
    }

    [[nodiscard]] T* data() noexcept { return data_; }
    [[nodiscard]] const T* data() const noexcept { return data_; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] std::size_t size_bytes() const noexcept { return size_ * sizeof(T); }
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
    /// What the memory is from; null: operator new.
    [[nodiscard]] const memory_source* source() const noexcept { return source_; }
    [[nodiscard]] std::span<T> span() noexcept { return {data_, size_}; }
    [[nodiscard]] std::span<const T> span() const noexcept { return {data_, size_}; }
    [[nodiscard]] T& operator[](std::size_t i) noexcept { return data_[i]; }
    [[nodiscard]] const T& operator[](std::size_t i) const noexcept { return data_[i]; }

private:
    T* data_ = nullptr;
    std::size_t size_ = 0;
    const memory_source* source_ = nullptr;
};

namespace detail {

/// For several buffers that belong together: `size` zeroed elements into `into`, unless an allocation before has
/// failed. The first failure stays in `failure`, whose code is errc{} as long as there is none.
template <class T>
void allocate(buffer<T>& into, std::uint64_t size, std::string_view what, error& failure,
              const memory_from& from = {}) {
    if (failure.code != errc{}) {
        return;
    }
    auto made = buffer<T>::allocate(size, what, from);
    if (made) {
        into = *std::move(made);
    } else {
        failure = failed(made);
    }
}

/// The same with bytes of any value.
template <class T>
void allocate_uninitialized(buffer<T>& into, std::uint64_t size, std::string_view what, error& failure,
                            const memory_from& from = {}) {
    if (failure.code != errc{}) {
        return;
    }
    auto made = buffer<T>::allocate_uninitialized(size, what, from);
    if (made) {
        into = *std::move(made);
    } else {
        failure = failed(made);
    }
}

} // namespace detail

} // namespace bitnet::inline BITNET_ABI

#endif

// ---- bitnet/core/decimal.hpp ----
// parse_decimal: text to double, correctly rounded, whatever the locale, the C++ library and the compiler's flags.
#ifndef BITNET_CORE_DECIMAL_HPP
#define BITNET_CORE_DECIMAL_HPP

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// A natural number of up to 4,480 bits, just enough arithmetic for parse_decimal.
class big_natural {
public:
    [[nodiscard]] bool is_zero() const noexcept { return used_ == 0; }

    /// this = this * factor + addend
    void multiply_add(std::uint32_t factor, std::uint32_t addend) noexcept {
        std::uint64_t carry = addend;
        for (std::size_t i = 0; i < used_; ++i) {
            carry += std::uint64_t{words_[i]} * factor;
            words_[i] = static_cast<std::uint32_t>(carry);
            carry >>= 32;
        }
        push(static_cast<std::uint32_t>(carry));
    }
    void multiply_by_power_of_ten(std::int64_t power) noexcept {
        for (; power >= 9; power -= 9) {
            multiply_add(1000000000u, 0);
        }
        for (; power > 0; --power) {
            multiply_add(10, 0);
        }
    }
    [[nodiscard]] int bits() const noexcept {
        return used_ == 0 ? 0 : static_cast<int>(used_ * 32) - std::countl_zero(words_[used_ - 1]);
    }
    void shift_left(int count) noexcept {
        const auto whole = static_cast<std::size_t>(count / 32);
        const int part = count % 32;
        std::uint32_t above = 0;
        if (part != 0) {
            for (std::size_t i = 0; i < used_; ++i) {
                const std::uint32_t word = words_[i];
                words_[i] = (word << part) | above;
                above = word >> (32 - part);
            }
            push(above);
        }
        if (whole != 0 && used_ != 0) {
            std::copy_backward(words_.begin(), words_.begin() + static_cast<std::ptrdiff_t>(used_),
                               words_.begin() + static_cast<std::ptrdiff_t>(used_ + whole));
            std::fill_n(words_.begin(), whole, 0u);
            used_ += whole;
        }
    }
    [[nodiscard]] bool at_least(const big_natural& other) const noexcept {
        if (used_ != other.used_) {
            return used_ > other.used_;
        }
        for (std::size_t i = used_; i-- > 0;) {
            if (words_[i] != other.words_[i]) {
                return words_[i] > other.words_[i];
            }
        }
        return true;
    }
    /// \pre at_least(other)
    void subtract(const big_natural& other) noexcept {
        std::uint64_t borrow = 0;
        for (std::size_t i = 0; i < used_; ++i) {
            const std::uint64_t taken = (i < other.used_ ? other.words_[i] : 0) + borrow;
            borrow = words_[i] < taken ? 1 : 0;
            words_[i] = static_cast<std::uint32_t>(words_[i] - taken);
        }
        while (used_ != 0 && words_[used_ - 1] == 0) {
            --used_;
        }
    }

private:
    void push(std::uint32_t word) noexcept {
        if (word != 0) {
            words_[used_++] = word;
        }
    }
    // 800 digits over a power of ten of 1,143 are 3,797 bits, aligning adds none: 119 words.
    std::array<std::uint32_t, 140> words_{};
    std::size_t used_ = 0;
};

/// The digits and the exponent of a decimal number: value = digits * 10^exponent.
struct decimal_number {
    big_natural digits;
    std::int64_t digit_count = 0; ///< without leading zeros
    std::int64_t exponent = 0;
    bool negative = false;
};

/// Takes a decimal number apart, from left to right.
class decimal_scanner {
public:
    explicit decimal_scanner(std::string_view text) noexcept : text_(text) {}

    [[nodiscard]] std::optional<decimal_number> scan() noexcept {
        number_.negative = skip('-');
        if (!take_digits(0) || (skip('.') && !take_digits(1))) {
            return std::nullopt;
        }
        if ((skip('e') || skip('E')) && !take_exponent()) {
            return std::nullopt;
        }
        if (dropped_) {
            number_.digits.multiply_add(10, 1);
            ++number_.digit_count;
            --number_.exponent;
        }
        return at_ == text_.size() ? std::optional{number_} : std::nullopt;
    }

private:
    // Digits beyond the 800th only decide ties (767 can matter, for halfway cases of the smallest doubles), so a 1 in
    // the 801st place stands for all of them.
    static constexpr std::int64_t most_digits = 800;

    [[nodiscard]] bool is_digit() const noexcept {
        return at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9';
    }
    bool skip(char wanted) noexcept {
        const bool found = at_ < text_.size() && text_[at_] == wanted;
        at_ += found ? 1 : 0;
        return found;
    }
    /// `scale`: by how many powers of ten each digit moves the others (1 after the point).
    [[nodiscard]] bool take_digits(std::int64_t scale) noexcept {
        const std::size_t first = at_;
        for (; is_digit(); ++at_) {
            const auto digit = static_cast<std::uint32_t>(text_[at_] - '0');
            const bool kept = number_.digit_count < most_digits;
            if (kept && (digit != 0 || number_.digit_count != 0)) {
                number_.digits.multiply_add(10, digit);
                ++number_.digit_count;
            }
            dropped_ = dropped_ || (!kept && digit != 0);
            number_.exponent += (kept ? 0 : 1) - scale;
        }
        return at_ > first;
    }
    [[nodiscard]] bool take_exponent() noexcept {
        const bool minus = skip('-');
        if (!minus) {
            skip('+');
        }
        const std::size_t first = at_;
        std::int64_t power = 0;
        for (; is_digit(); ++at_) {
            // Beyond any number of digits that fits memory, so the clamp cannot change a value.
            power = std::min<std::int64_t>(power * 10 + (text_[at_] - '0'), std::int64_t{1} << 56);
        }
        number_.exponent += minus ? -power : power;
        return at_ > first;
    }

    std::string_view text_;
    std::size_t at_ = 0;
    bool dropped_ = false;
    decimal_number number_;
};

/// upper / lower = (quotient + less than one, 0 only if exact) * 2^(power - 63), quotient of 64 bits with the top one
/// set.
struct binary_quotient {
    std::uint64_t quotient = 0;
    int power = 0;
    bool exact = false;
};

/// Schoolbook division, one bit at a time.
[[nodiscard]] inline binary_quotient divide(big_natural upper, big_natural lower) noexcept {
    binary_quotient made;
    made.power = upper.bits() - lower.bits();
    lower.shift_left((std::max)(made.power, 0));
    upper.shift_left((std::max)(-made.power, 0));
    if (!upper.at_least(lower)) {
        upper.shift_left(1);
        --made.power;
    }
    for (int i = 0; i < 64; ++i) {
        const bool one = upper.at_least(lower);
        if (one) {
            upper.subtract(lower);
        }
        made.quotient = (made.quotient << 1) | (one ? 1u : 0u);
        upper.shift_left(1);
    }
    made.exact = upper.is_zero();
    return made;
}

/// The bits of the nearest double, ties to even; nullopt above the largest.
[[nodiscard]] inline std::optional<std::uint64_t> round_to_double_bits(const binary_quotient& value) noexcept {
    // Keep 53 bits, fewer below the smallest normal double; round on what is cut off.
    const int cut = 11 + (std::max)(-1022 - value.power, 0);
    if (cut > 64) {
        return 0;
    }
    const std::uint64_t kept = cut == 64 ? 0 : value.quotient >> cut;
    const std::uint64_t half = std::uint64_t{1} << (cut - 1);
    const std::uint64_t rest = value.quotient & (half | (half - 1));
    const bool up = rest > half || (rest == half && (!value.exact || (kept & 1) != 0));
    const std::uint64_t exponent = value.power >= -1022 ? static_cast<std::uint64_t>(value.power + 1022) << 52 : 0;
    const std::uint64_t bits = exponent + kept + (up ? 1 : 0); // kept brings the leading one: + 1 in the exponent
    constexpr std::uint64_t infinity = 0x7ff0000000000000u;
    return bits < infinity ? std::optional{bits} : std::nullopt;
}

/// The double nearest to |number|, as bits; nullopt above the largest double.
[[nodiscard]] inline std::optional<std::uint64_t> nearest_double_bits(const decimal_number& number) noexcept {
    const std::int64_t magnitude = number.digit_count + number.exponent; // value < 10^magnitude
    if (number.digits.is_zero() || magnitude < -330) {
        return 0;
    }
    if (magnitude > 310) {
        return std::nullopt;
    }
    big_natural upper = number.digits;
    big_natural lower;
    lower.multiply_add(1, 1);
    upper.multiply_by_power_of_ten(number.exponent);
    lower.multiply_by_power_of_ten(-number.exponent);
    return round_to_double_bits(divide(upper, lower));
}

/// The double nearest to all of `text`, ties to even: an optional '-', digits, optionally '.' and digits, optionally an
/// exponent; nullopt if `text` is anything else or exceeds the largest double. Integer arithmetic only, so that
/// neither a locale nor -ffast-math changes a bit; std::from_chars for double is missing in libraries that are in use.
/// Cost: a few microseconds, linear in the text. Proven against std::from_chars by tests/core/decimal_test.cpp.
[[nodiscard]] inline std::optional<double> parse_decimal(std::string_view text) noexcept {
    const auto number = decimal_scanner(text).scan();
    const auto bits = number ? nearest_double_bits(*number) : std::nullopt;
    constexpr std::uint64_t sign = 0x8000000000000000u;
    return bits ? std::optional{std::bit_cast<double>(*bits | (number->negative ? sign : 0))} : std::nullopt;
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif

#include <algorithm>
#include <cassert>
#include <charconv>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

namespace bitnet::inline BITNET_ABI {

namespace detail {
class json_parser;
} // namespace detail

enum class json_type : std::uint8_t { null, boolean, number, string, array, object };

/// "null", "boolean", ...
[[nodiscard]] constexpr std::string_view name_of(json_type type) noexcept {
    constexpr std::string_view names[] = {"null", "boolean", "number", "string", "array", "object"};
    return names[static_cast<std::size_t>(type)];
}

namespace detail {

/// One value, key or container in a json_document's table; containers come before what they hold.
struct json_node {
    std::uint32_t start; ///< strings, numbers: first character; objects: first place in the order of keys; bool: value
    std::uint32_t size;  ///< strings, numbers: characters; containers: elements or members
    std::uint32_t next;  ///< the node after this one and all that it holds
    json_type type;
};

} // namespace detail

struct json_member;

/// A value inside a json_document, which must outlive it; the size of three pointers, to be passed by value.
class json_value {
public:
    template <class Item> class sequence;

    [[nodiscard]] json_type type() const noexcept { return node().type; }
    [[nodiscard]] bool is_null() const noexcept { return type() == json_type::null; }
    [[nodiscard]] bool is_object() const noexcept { return type() == json_type::object; }
    [[nodiscard]] bool is_array() const noexcept { return type() == json_type::array; }

    /// The value if it is of that type, otherwise nullopt.
    [[nodiscard]] std::optional<bool> as_bool() const noexcept {
        return type() == json_type::boolean ? std::optional{node().start != 0} : std::nullopt;
    }
    [[nodiscard]] std::optional<std::string_view> as_string() const noexcept {
        return type() == json_type::string ? std::optional{characters()} : std::nullopt;
    }
    /// A number that is written without fraction and exponent and fits T; -0 is 0.
    template <std::integral T> [[nodiscard]] std::optional<T> as_integer() const noexcept {
        T value{};
        std::string_view text = type() == json_type::number ? characters() : std::string_view{};
        text.remove_prefix(text == "-0" ? 1 : 0);
        const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
        const bool whole = !text.empty() && read.ec == std::errc{} && read.ptr == text.data() + text.size();
        return whole ? std::optional{value} : std::nullopt;
    }
    /// The characters of a number, as it is written.
    [[nodiscard]] std::optional<std::string_view> as_number_text() const noexcept {
        return type() == json_type::number ? std::optional{characters()} : std::nullopt;
    }
    /// A number as the nearest double; nullopt above the largest one. Costs microseconds.
    [[nodiscard]] std::optional<double> as_double() const noexcept {
        return type() == json_type::number ? detail::parse_decimal(characters()) : std::nullopt;
    }

    /// A number as the text spells it.
    [[nodiscard]] std::optional<std::string_view> number_text() const noexcept {
        return type() == json_type::number ? std::optional{characters()} : std::nullopt;
    }

    /// Elements of an array or members of an object; 0 for other types.
    [[nodiscard]] std::size_t size() const noexcept { return is_array() || is_object() ? node().size : 0; }
    /// A forward range of json_value: the elements of an array, in order. Empty for other types.
    [[nodiscard]] sequence<json_value> elements() const noexcept;
    /// A forward range of json_member: the members of an object, in the order of the text. Empty for other types.
    [[nodiscard]] sequence<json_member> members() const noexcept;
    /// The member of an object called `key`; nullopt if there is none or this is not an object. O(log members).
    [[nodiscard]] std::optional<json_value> find(std::string_view key) const noexcept;

private:
    friend class json_document;

    json_value(const detail::json_node* nodes, const std::uint32_t* order, const char* text,
               std::uint32_t index) noexcept
        : nodes_(nodes), order_(order), text_(text), index_(index) {}
    [[nodiscard]] const detail::json_node& node() const noexcept { return nodes_[index_]; }
    [[nodiscard]] std::string_view characters() const noexcept { return {text_ + node().start, node().size}; }
    [[nodiscard]] json_value at(std::uint32_t index) const noexcept { return {nodes_, order_, text_, index}; }

    const detail::json_node* nodes_;
    const std::uint32_t* order_;
    const char* text_;
    std::uint32_t index_;
};

/// A key of an object and its value.
struct json_member {
    std::string_view key;
    json_value value;
};

/// What a json_value holds, one after the other.
template <class Item> class json_value::sequence {
public:
    class iterator {
    public:
        using value_type = Item;
        using difference_type = std::ptrdiff_t;

        iterator() noexcept : at_(nullptr, nullptr, nullptr, 0) {}
        explicit iterator(json_value at, json_value after) noexcept : at_(at), end_(after.index_) { skip_replaced(); }
        [[nodiscard]] Item operator*() const noexcept {
            if constexpr (std::is_same_v<Item, json_member>) {
                return {at_.characters(), at_.at(at_.index_ + 1)};
            } else {
                return at_;
            }
        }
        iterator& operator++() noexcept {
            go_on();
            skip_replaced();
            return *this;
        }
        iterator operator++(int) noexcept {
            const iterator before = *this;
            ++*this;
            return before;
        }
        [[nodiscard]] bool operator==(const iterator& other) const noexcept { return at_.index_ == other.at_.index_; }

    private:
        void go_on() noexcept {
            const std::uint32_t value = at_.index_ + (std::is_same_v<Item, json_member> ? 1u : 0u);
            at_ = at_.at(at_.nodes_[value].next);
        }
        /// Members whose key comes again.
        void skip_replaced() noexcept {
            while (std::is_same_v<Item, json_member> && at_.index_ != end_ && at_.type() != json_type::string) {
                go_on();
            }
        }

        json_value at_;
        std::uint32_t end_ = 0;
    };

    sequence(json_value first, json_value after, std::size_t size) noexcept
        : first_(first), after_(after), size_(size) {}
    [[nodiscard]] iterator begin() const noexcept { return iterator{first_, after_}; }
    [[nodiscard]] iterator end() const noexcept { return iterator{after_, after_}; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

private:
    json_value first_;
    json_value after_;
    std::size_t size_;
};

inline json_value::sequence<json_value> json_value::elements() const noexcept {
    const std::uint32_t first = index_ + 1;
    return {at(first), at(is_array() ? node().next : first), is_array() ? size() : 0};
}

inline json_value::sequence<json_member> json_value::members() const noexcept {
    const std::uint32_t first = index_ + 1;
    return {at(first), at(is_object() ? node().next : first), is_object() ? size() : 0};
}

inline std::optional<json_value> json_value::find(std::string_view key) const noexcept {
    if (!is_object()) {
        return std::nullopt;
    }
    const std::uint32_t* first = order_ + node().start;
    const std::uint32_t* last = first + node().size;
    const auto less = [&](std::uint32_t i, std::string_view k) { return at(i).characters() < k; };
    const std::uint32_t* found = std::lower_bound(first, last, key, less);
    return found != last && at(*found).characters() == key ? std::optional{at(*found + 1)} : std::nullopt;
}

struct json_options {
    std::uint32_t depth = 64;              ///< containers inside each other; at most 1024
    const memory_source* memory = nullptr; ///< null: operator new
    bool last_of_key = false;              ///< a key that an object has twice has its last value; false: is refused
};

/// A JSON text, read and checked. Owns all that its values show: the text itself need not outlive it. Move-only;
/// values stay valid when it moves.
class json_document {
public:
    /// Reads exactly one JSON value, by RFC 8259: UTF-8 only, no comments, no trailing commas. Stricter
    /// where the RFC leaves room: a key twice in an object (see json_options) and a lone surrogate are refused, and so
    /// is a byte order mark. `name` is what error messages call the text. Cost: O(n log n); memory for
    /// 16 bytes per '[', '{', ',' and ':' of the text, 4 more per ':', and the text once, allocated before reading.
    /// \pre options.depth <= 1024
    /// \return errc::bad_json with line and byte offset, errc::bad_utf8 likewise, or errc::out_of_memory.
    [[nodiscard]] static result<json_document> parse(std::string_view text, std::string_view name,
                                                     json_options options = {});

    [[nodiscard]] json_value root() const& noexcept { return {nodes_.data(), order_.data(), text_.data(), 0}; }
    json_value root() && = delete; // would dangle

private:
    friend class detail::json_parser;

    buffer<detail::json_node> nodes_;
    buffer<std::uint32_t> order_; // per object: the nodes of its keys, sorted
    buffer<char> text_;           // strings without escapes, numbers as written
};

namespace detail {

/// One reading of a JSON text. Use json_document::parse.
class json_parser {
public:
    json_parser(std::string_view text, std::string_view name, json_options options)
        : text_(text), name_(name), depth_left_(options.depth),
          last_of_key_(options.last_of_key), from_{options.memory, {memory_use::temporary, false}} {
        assert(options.depth <= 1024);
    }

    [[nodiscard]] result<json_document> run() {
        if (text_.size() >= (std::numeric_limits<std::uint32_t>::max)()) {
            return error{errc::bad_json, sentence({name_, ": ", text_.size(),
                                                   " bytes are more than a JSON text may have here (4 GiB)"})};
        }
        if (!allocate_tables() || !read_text()) {
            return std::move(failure_);
        }
        return std::move(document_);
    }

private:
    // Every step returns whether to go on; if not, the error is in failure_.
    [[nodiscard]] bool fail(std::string_view what, errc code = errc::bad_json) {
        const auto lines = std::count(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(at_), '\n');
        return set_error(failure_, code, {name_, ": line ", lines + 1, ", byte ", at_, ": "}, {what});
    }

    /// Every value but the first follows one of [ { , : and every key follows { or , so counting them bounds both.
    [[nodiscard]] bool allocate_tables() {
        std::uint64_t bound = 1;
        for (const char c : text_) {
            bound += c == '[' || c == '{' || c == ',' || c == ':' ? 1 : 0;
        }
        const auto colons = static_cast<std::uint64_t>(std::count(text_.begin(), text_.end(), ':'));
        const std::string what = sentence({name_, ": JSON"});
        allocate(document_.nodes_, bound + 1, what, failure_, from_); // one more: the `next` of the last
        allocate(document_.order_, colons, what, failure_, from_);
        allocate(document_.text_, text_.size(), what, failure_, from_);
        return failure_.code == errc{};
    }

    [[nodiscard]] bool read_text() {
        skip_whitespace();
        if (!read_value()) {
            return false;
        }
        skip_whitespace();
        return at_end() || fail("the end of the text is expected here");
    }

    [[nodiscard]] bool at_end() const noexcept { return at_ == text_.size(); }
    [[nodiscard]] char peek() const noexcept { return at_end() ? '\0' : text_[at_]; }
    bool skip(char wanted) noexcept {
        const bool found = !at_end() && text_[at_] == wanted;
        at_ += found ? 1 : 0;
        return found;
    }
    void skip_whitespace() noexcept {
        while (!at_end() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\r' || text_[at_] == '\t')) {
            ++at_;
        }
    }

    [[nodiscard]] json_node& open_node(json_type type) noexcept {
        json_node& node = document_.nodes_[nodes_used_++];
        node = {0, 0, nodes_used_, type};
        return node;
    }
    void put(char c) noexcept { document_.text_[text_used_++] = c; }
    void put(std::string_view characters) noexcept {
        std::copy(characters.begin(), characters.end(), document_.text_.data() + text_used_);
        text_used_ += static_cast<std::uint32_t>(characters.size());
    }

    [[nodiscard]] bool read_value() {
        switch (peek()) {
        case '{':
            return read_object();
        case '[':
            return read_array();
        case '"':
            return read_string();
        case 't':
            return read_word("true", json_type::boolean, 1);
        case 'f':
            return read_word("false", json_type::boolean, 0);
        case 'n':
            return read_word("null", json_type::null, 0);
        default:
            return read_number();
        }
    }

    [[nodiscard]] bool read_word(std::string_view word, json_type type, std::uint32_t value) {
        if (text_.substr(at_, word.size()) != word) {
            return fail("a value is expected here");
        }
        at_ += word.size();
        open_node(type).start = value;
        return true;
    }

    std::size_t skip_digits() noexcept {
        const std::size_t first = at_;
        while (peek() >= '0' && peek() <= '9') {
            ++at_;
        }
        return at_ - first;
    }

    [[nodiscard]] bool read_number() {
        const std::size_t first = at_;
        const bool minus = skip('-');
        if (!skip('0') && skip_digits() == 0) {
            return fail(minus      ? "a digit is expected here"
                        : at_end() ? "the text ends where a value is expected"
                                   : "a value is expected here");
        }
        if (skip('.') && skip_digits() == 0) {
            return fail("a digit is expected after the decimal point");
        }
        if (skip('e') || skip('E')) {
            if (!skip('-')) {
                skip('+');
            }
            if (skip_digits() == 0) {
                return fail("a digit is expected in the exponent");
            }
        }
        json_node& node = open_node(json_type::number);
        node.start = text_used_;
        node.size = static_cast<std::uint32_t>(at_ - first);
        put(text_.substr(first, at_ - first));
        return true;
    }

    [[nodiscard]] bool read_string() {
        assert(peek() == '"');
        ++at_;
        json_node& node = open_node(json_type::string);
        node.start = text_used_;
        while (!skip('"')) {
            if (!(peek() == '\\' ? read_escape() : read_characters())) {
                return false;
            }
        }
        node.size = text_used_ - node.start;
        return true;
    }

    [[nodiscard]] bool read_characters() {
        if (at_end()) {
            return fail("the text ends inside a string");
        }
        if (static_cast<unsigned char>(text_[at_]) < 0x20) {
            return fail("a control character inside a string must be escaped");
        }
        const auto character = first_code_point(text_.substr(at_));
        if (character.value == invalid_code_point) {
            return fail("the string is not UTF-8", errc::bad_utf8);
        }
        put(text_.substr(at_, character.size));
        at_ += character.size;
        return true;
    }

    [[nodiscard]] bool read_escape() {
        constexpr std::string_view written = "\"\\/bfnrt";
        constexpr std::string_view meant = "\"\\/\b\f\n\r\t";
        ++at_;
        if (skip('u')) {
            return read_unicode_escape();
        }
        const auto which = at_end() ? std::string_view::npos : written.find(text_[at_]);
        if (which == std::string_view::npos) {
            return fail("there is no such escape in JSON");
        }
        put(meant[which]);
        ++at_;
        return true;
    }

    [[nodiscard]] bool read_unicode_escape() {
        auto first = read_four_digits();
        if (!first) {
            return fail("\\u needs four hexadecimal digits");
        }
        char32_t code_point = *first;
        if (code_point >= 0xd800 && code_point < 0xe000) {
            const bool high = code_point < 0xdc00;
            const auto low = high && skip('\\') && skip('u') ? read_four_digits() : std::nullopt;
            if (!low || *low < 0xdc00 || *low > 0xdfff) {
                return fail("a surrogate must be one of a pair");
            }
            code_point = 0x10000 + ((code_point - 0xd800) << 10) + (*low - 0xdc00);
        }
        put_utf8(code_point);
        return true;
    }

    [[nodiscard]] std::optional<char32_t> read_four_digits() noexcept {
        std::uint32_t value = 0;
        const std::string_view digits = text_.substr(at_, 4);
        const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
        if (digits.size() != 4 || read.ec != std::errc{} || read.ptr != digits.data() + 4) {
            return std::nullopt;
        }
        at_ += 4;
        return value;
    }

    /// At most 4 bytes for the 12 of a surrogate pair, 3 for the 6 of a single escape: the text only shrinks.
    void put_utf8(char32_t c) noexcept {
        const auto tail = [&](unsigned shift) { put(static_cast<char>(0x80u | ((c >> shift) & 0x3fu))); };
        if (c < 0x80) {
            put(static_cast<char>(c));
        } else if (c < 0x800) {
            put(static_cast<char>(0xc0u | (c >> 6)));
            tail(0);
        } else if (c < 0x10000) {
            put(static_cast<char>(0xe0u | (c >> 12)));
            tail(6);
            tail(0);
        } else {
            put(static_cast<char>(0xf0u | (c >> 18)));
            tail(12);
            tail(6);
            tail(0);
        }
    }

    [[nodiscard]] bool enter() {
        if (depth_left_ == 0) {
            return fail("the containers are nested more deeply than is allowed here");
        }
        --depth_left_;
        ++at_;
        skip_whitespace();
        return true;
    }

    [[nodiscard]] bool read_array() {
        if (!enter()) {
            return false;
        }
        json_node& array = open_node(json_type::array);
        bool more = !skip(']');
        while (more) {
            if (!read_value()) {
                return false;
            }
            ++array.size;
            skip_whitespace();
            more = skip(',');
            if (!more && !skip(']')) {
                return fail("',' or ']' is expected here");
            }
            skip_whitespace_if(more);
        }
        array.next = nodes_used_;
        ++depth_left_;
        return true;
    }

    [[nodiscard]] bool read_object() {
        if (!enter()) {
            return false;
        }
        json_node& object = open_node(json_type::object);
        bool more = !skip('}');
        while (more) {
            if (!read_member()) {
                return false;
            }
            ++object.size;
            skip_whitespace();
            more = skip(',');
            if (!more && !skip('}')) {
                return fail("',' or '}' is expected here");
            }
            skip_whitespace_if(more);
        }
        object.next = nodes_used_;
        ++depth_left_;
        return sort_keys(object);
    }

    void skip_whitespace_if(bool more) noexcept {
        if (more) {
            skip_whitespace();
        }
    }

    [[nodiscard]] bool read_member() {
        if (peek() != '"') {
            return fail("a key in double quotes is expected here");
        }
        if (!read_string()) {
            return false;
        }
        skip_whitespace();
        if (!skip(':')) {
            return fail("':' is expected after a key");
        }
        skip_whitespace();
        return read_value();
    }

    [[nodiscard]] bool sort_keys(json_node& object) {
        object.start = order_used_;
        const json_node* nodes = document_.nodes_.data();
        std::uint32_t key = static_cast<std::uint32_t>(&object - nodes) + 1;
        for (std::uint32_t i = 0; i < object.size; ++i) {
            document_.order_[order_used_++] = key;
            key = nodes[key + 1].next;
        }
        const auto characters = [&](std::uint32_t node) {
            return std::string_view(document_.text_.data() + nodes[node].start, nodes[node].size);
        };
        const auto order = document_.order_.span().subspan(object.start, object.size);
        std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
            const int order_of_keys = characters(a).compare(characters(b));
            return order_of_keys != 0 ? order_of_keys < 0 : a > b;
        });
        const auto is_same = [&](std::uint32_t a, std::uint32_t b) { return characters(a) == characters(b); };
        const auto same = std::adjacent_find(order.begin(), order.end(), is_same);
        if (last_of_key_) {
            replace_members(object, static_cast<std::size_t>(same - order.begin()));
        }
        return last_of_key_ || same == order.end() ||
               fail(sentence({"the object that ends here has the key ", quoted{characters(*same)}, " twice"}));
    }

    /// Marks members whose key comes again, which are those behind another one of that key in the sorted order.
    void replace_members(json_node& object, std::size_t first) noexcept {
        std::uint32_t* const order = document_.order_.data() + object.start;
        json_node* const nodes = document_.nodes_.data();
        std::size_t kept = first + 1;
        for (std::size_t i = first + 1; i < object.size; ++i) {
            json_node& last = nodes[order[kept - 1]];
            json_node& key = nodes[order[i]];
            const char* const text = document_.text_.data();
            if (std::string_view(text + last.start, last.size) == std::string_view(text + key.start, key.size)) {
                key.type = json_type::null;
            } else {
                order[kept++] = order[i];
            }
        }
        object.size = static_cast<std::uint32_t>((std::min)(kept, std::size_t{object.size}));
    }

    std::string_view text_;
    std::string_view name_;
    std::size_t at_ = 0;
    std::uint32_t depth_left_;
    bool last_of_key_;
    detail::memory_from from_;
    json_document document_;
    std::uint32_t nodes_used_ = 0;
    std::uint32_t text_used_ = 0;
    std::uint32_t order_used_ = 0;
    error failure_;
};

} // namespace detail

inline result<json_document> json_document::parse(std::string_view text, std::string_view name, json_options options) {
    return detail::guarded([&] { return detail::json_parser(text, name, options).run(); });
}

namespace detail {

/// Appends \uXXXX.
inline void append_json_escape(std::string& out, std::uint32_t unit) {
    constexpr std::string_view digits = "0123456789abcdef";
    out += "\\u";
    for (int shift = 12; shift >= 0; shift -= 4) {
        out += digits[(unit >> shift) & 15u];
    }
}

/// Appends `utf8` as a JSON string with its quotes, in pure ASCII: what is not printable ASCII becomes \uXXXX, beyond
/// U+FFFF as a surrogate pair, and every longest prefix of something that is not UTF-8 becomes \ufffd.
inline void append_json_string(std::string& out, std::string_view utf8) {
    constexpr std::string_view meant = "\"\\\b\f\n\r\t";
    constexpr std::string_view written = "\"\\bfnrt";
    out += '"';
    while (!utf8.empty()) {
        const auto first = first_code_point(utf8);
        const bool valid = first.value != invalid_code_point;
        const char32_t c = valid ? first.value : 0xfffd;
        const auto named = c < 0x80 ? meant.find(static_cast<char>(c)) : std::string_view::npos;
        if (named != std::string_view::npos) {
            out += '\\';
            out += written[named];
        } else if (c >= 0x20 && c < 0x7f) {
            out += static_cast<char>(c);
        } else if (c < 0x10000) {
            append_json_escape(out, c);
        } else {
            append_json_escape(out, 0xd800u + ((c - 0x10000u) >> 10));
            append_json_escape(out, 0xdc00u + ((c - 0x10000u) & 0x3ffu));
        }
        utf8.remove_prefix(valid ? first.size : std::max<std::size_t>(utf8_prefix_size(utf8), 1));
    }
    out += '"';
}

} // namespace detail

} // namespace bitnet::inline BITNET_ABI

#endif

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// `uri` against the base that it stands under (RFC 3986 5.2, as far as schemas need it: dot segments in front alone).
[[nodiscard]] inline std::string resolved_uri(std::string_view base, std::string_view uri) {
    const std::string_view document = base.substr(0, base.find('#'));
    const std::size_t colon = uri.find(':');
    if (colon != std::string_view::npos && colon < uri.find_first_of("/?#")) {
        return std::string(uri);
    }
    while (uri.substr(0, 2) == "./") {
        uri.remove_prefix(2);
    }
    if (uri.empty() || uri[0] == '#') {
        return std::string(document).append(uri);
    }
    const std::size_t authority = document.find("://");
    const std::size_t path = authority == std::string_view::npos ? 0 : document.find('/', authority + 3);
    if (uri[0] == '/') {
        return std::string(document.substr(0, path)).append(uri);
    }
    const std::size_t last = document.rfind('/');
    const bool has_path = last != std::string_view::npos && path != std::string_view::npos;
    return std::string(has_path ? document.substr(0, last + 1) : std::string_view()).append(uri);
}

/// The longest key that a schema may name.
inline constexpr std::size_t most_key_bytes = 4096;

/// One key or index of a JSON pointer, escaped.
[[nodiscard]] inline std::string pointer_step(std::string_view key) {
    std::string made = "/";
    for (const char c : key) {
        made += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
    }
    return made;
}

/// The longest URI that a schema may give itself or a part of itself.
inline constexpr std::size_t most_uri_bytes = 2048;

/// A value of the schema's text, and where it stands. Places that stand in one another share what is above them: a text
/// of a megabyte may have a hundred thousand places whose pointers are as long.
struct schema_place {
    json_value value;
    std::uint32_t parent; ///< the place that it is in; of the root, itself
    std::string_view key; ///< in there, or the index
    std::uint32_t base;   ///< number of the URI that references here are relative to
};

/// The schema as places with numbers, made as they are asked for; a place has one number.
class schema_document {
public:
    explicit schema_document(const json_document& text) {
        (void)number_of_base("");
        places_.push_back({text.root(), 0, "", base_of(text.root(), 0)});
        find_identifiers();
    }
    schema_document(schema_document&&) = delete; // its parts refer to one another

    /// Bytes of the longest key in the text.
    [[nodiscard]] std::size_t longest_key() const noexcept { return longest_key_; }
    /// Bytes of the longest URI that `$id` gives.
    [[nodiscard]] std::size_t longest_uri() const noexcept { return longest_uri_; }
    [[nodiscard]] const schema_place& at(std::uint32_t place) const { return places_[place]; }
    /// Where a place stands, as a JSON pointer for sentences: as much of it as these show.
    [[nodiscard]] std::string pointer(std::uint32_t place) const {
        constexpr std::size_t shown = 256;
        std::vector<std::uint32_t> way;
        for (; place != 0; place = places_[place].parent) {
            way.push_back(place);
        }
        std::string made;
        for (auto step = way.rbegin(); step != way.rend() && made.size() < shown; ++step) {
            made += pointer_step(places_[*step].key);
        }
        return made;
    }
    /// The value of `key` in an object; nullopt where there is none.
    [[nodiscard]] std::optional<std::uint32_t> child(std::uint32_t place, std::string_view key) {
        const auto found = places_[place].value.find(key);
        return found ? std::optional{child(place, key, *found)} : std::nullopt;
    }
    /// All values of an object or array, in order.
    [[nodiscard]] std::vector<std::uint32_t> children(std::uint32_t place) {
        std::vector<std::uint32_t> made;
        const json_value value = places_[place].value;
        for (const auto [key, member] : value.members()) {
            made.push_back(child(place, key, member));
        }
        std::size_t index = 0;
        for (const json_value element : value.elements()) {
            made.push_back(child(place, std::to_string(index++), element));
        }
        return made;
    }

    /// The place that a reference from `place` means; nullopt where it is none of this text.
    [[nodiscard]] std::optional<std::uint32_t> referred(std::uint32_t place, std::string_view reference) {
        const std::string uri = resolved_uri(bases_[places_[place].base], reference);
        const std::size_t mark = (std::min)(uri.find('#'), uri.size());
        const std::string fragment = percent_decoded(std::string_view(uri).substr((std::min)(mark + 1, uri.size())));
        const std::string document = uri.substr(0, mark);
        if (!fragment.empty() && fragment[0] != '/') {
            const auto anchor = identifiers_.find(document + "#" + fragment);
            return anchor == identifiers_.end() ? std::nullopt : std::optional{anchor->second};
        }
        const auto found = identifiers_.find(document);
        return found == identifiers_.end() ? std::nullopt : go_to(found->second, fragment);
    }

private:
    [[nodiscard]] std::uint32_t number_of_base(std::string uri) {
        const auto [found, is_new] =
            base_numbers_.try_emplace(std::move(uri), static_cast<std::uint32_t>(bases_.size()));
        if (is_new) {
            bases_.push_back(found->first);
        }
        return found->second;
    }
    /// What references in a value are relative to. \param base of what it is in
    [[nodiscard]] std::uint32_t base_of(json_value value, std::uint32_t base) {
        const auto id = value.find("$id");
        const auto text = id ? id->as_string() : std::nullopt;
        if (!text) {
            return base;
        }
        std::string made = resolved_uri(bases_[base], *text);
        longest_uri_ = (std::max)(longest_uri_, made.size());
        return made.size() <= most_uri_bytes ? number_of_base(std::move(made)) : base;
    }
    [[nodiscard]] std::uint32_t child(std::uint32_t place, std::string_view key, json_value value) {
        const auto number = static_cast<std::uint32_t>(places_.size());
        const auto [found, is_new] = numbers_.try_emplace({place, std::string(key)}, number);
        if (is_new) {
            places_.push_back({value, place, found->first.second, base_of(value, places_[place].base)});
        }
        return found->second;
    }
    [[nodiscard]] static std::string percent_decoded(std::string_view text) {
        std::string made;
        for (std::size_t i = 0; i < text.size(); ++i) {
            const bool is_escape = text[i] == '%' && i + 2 < text.size() &&
                                   source_reader::hexadecimal_digit(text[i + 1]) >= 0 &&
                                   source_reader::hexadecimal_digit(text[i + 2]) >= 0;
            made += is_escape ? static_cast<char>(source_reader::hexadecimal_digit(text[i + 1]) * 16 +
                                                  source_reader::hexadecimal_digit(text[i + 2]))
                              : text[i];
            i += is_escape ? 2 : 0;
        }
        return made;
    }

    /// An object or array of the text, on the way to others.
    struct visit {
        json_value value;
        std::uint32_t parent; ///< among the visits
        std::string_view key;
        std::size_t index;
        std::uint32_t base;  ///< of what it is in
        std::uint32_t place; ///< or none, as long as nobody has asked
    };
    static constexpr std::uint32_t none = 0xffffffffu;

    /// Collects what $id and $anchor name, all over the text but in examples of values.
    void find_identifiers() {
        identifiers_[""] = 0;
        std::vector<visit> visits{{places_[0].value, 0, "", 0, 0, 0}};
        for (std::uint32_t at = 0; at < visits.size(); ++at) {
            const json_value value = visits[at].value;
            const std::uint32_t base = base_of(value, visits[at].base);
            const std::string document(bases_[base].substr(0, bases_[base].find('#')));
            if (base != visits[at].base) {
                identifiers_.try_emplace(document, place_of(visits, at));
                identifiers_.try_emplace(std::string(bases_[base]), place_of(visits, at));
            }
            const auto anchor = value.find("$anchor");
            if (anchor && anchor->as_string()) {
                identifiers_.try_emplace(document + "#" + std::string(*anchor->as_string()), place_of(visits, at));
            }
            visit_parts(visits, at, base);
        }
    }
    void visit_parts(std::vector<visit>& visits, std::uint32_t at, std::uint32_t base) {
        const json_value value = visits[at].value;
        for (const auto [key, member] : value.members()) {
            longest_key_ = (std::max)(longest_key_, key.size());
            const bool is_example = key == "enum" || key == "const" || key == "examples" || key == "default";
            if (member.size() != 0 && key.size() <= most_key_bytes && !is_example) {
                visits.push_back({member, at, key, 0, base, none});
            }
        }
        std::size_t index = 0;
        for (const json_value element : value.elements()) {
            if (element.size() != 0) {
                visits.push_back({element, at, "", index, base, none});
            }
            ++index;
        }
    }
    /// The place of a visit: its own and those of what it is in are made if nobody has asked for them yet.
    [[nodiscard]] std::uint32_t place_of(std::vector<visit>& visits, std::uint32_t at) {
        std::vector<std::uint32_t> way;
        for (; visits[at].place == none; at = visits[at].parent) {
            way.push_back(at);
        }
        std::uint32_t place = visits[at].place;
        for (auto step = way.rbegin(); step != way.rend(); ++step) {
            visit& next = visits[*step];
            const bool is_element = places_[place].value.is_array();
            place =
                is_element ? child(place, std::to_string(next.index), next.value) : child(place, next.key, next.value);
            next.place = place;
        }
        return place;
    }

    /// Follows a pointer from a place.
    [[nodiscard]] std::optional<std::uint32_t> go_to(std::uint32_t place, std::string_view pointer) {
        while (!pointer.empty()) {
            pointer.remove_prefix(1);
            const std::string_view step = pointer.substr(0, pointer.find('/'));
            pointer.remove_prefix(step.size());
            const auto next = follow(place, unescaped(step));
            if (!next) {
                return std::nullopt;
            }
            place = *next;
        }
        return place;
    }
    [[nodiscard]] std::optional<std::uint32_t> follow(std::uint32_t place, const std::string& key) {
        const json_value value = places_[place].value;
        if (!value.is_array()) {
            return child(place, key);
        }
        std::size_t index = 0;
        const auto read = std::from_chars(key.data(), key.data() + key.size(), index);
        if (read.ec != std::errc{} || read.ptr != key.data() + key.size() || index >= value.size()) {
            return std::nullopt;
        }
        auto element = value.elements().begin();
        for (std::size_t i = 0; i < index; ++i) {
            ++element;
        }
        return child(place, std::to_string(index), *element);
    }
    [[nodiscard]] static std::string unescaped(std::string_view step) {
        std::string made;
        for (std::size_t i = 0; i < step.size(); ++i) {
            const bool is_escape = step[i] == '~' && i + 1 < step.size();
            made += !is_escape ? step[i] : step[i + 1] == '1' ? '/' : '~';
            i += is_escape ? 1 : 0;
        }
        return made;
    }

    std::size_t longest_key_ = 0;
    std::size_t longest_uri_ = 0;
    std::vector<schema_place> places_;
    std::map<std::pair<std::uint32_t, std::string>, std::uint32_t> numbers_; // by what it is in, and the key there
    std::vector<std::string_view> bases_;                                    // by number
    std::map<std::string, std::uint32_t, std::less<>> base_numbers_;
    std::map<std::string, std::uint32_t, std::less<>> identifiers_; // places by URI or URI#anchor
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

#include <algorithm>
#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace bitnet::inline BITNET_ABI {

namespace detail {

/// Reads values out of a JSON text, with a sentence about the first that is not what the type has.
class json_reader {
public:
    explicit json_reader(std::string_view name) : name_(name) {}

    /// \return whether it worked; if not, failure() says why
    template <class T> [[nodiscard]] bool read(json_value from, T& to, const value_limits& limits) {
        static_assert(!character_type<T>, "a character is no JSON value: take std::string");
        if constexpr (std::same_as<T, bool>) {
            const auto value = from.as_bool();
            to = value.value_or(false);
            return value || mismatch("true or false", from);
        } else if constexpr (json_integer<T>) {
            return read_integer(from, to, limits);
        } else if constexpr (std::floating_point<T>) {
            return read_number(from, to, limits);
        } else if constexpr (std::same_as<T, std::string>) {
            return read_string(from, to, limits);
        } else if constexpr (std::is_enum_v<T>) {
            return read_name(from, to);
        } else if constexpr (is_optional<T>) {
            to.reset();
            return from.is_null() || read(from, to.emplace(), limits);
        } else if constexpr (is_vector<T>) {
            return read_vector(from, to, limits);
        } else if constexpr (is_array<T>) {
            return read_array(from, to);
        } else if constexpr (is_variant<T>) {
            return read_variant(from, to);
        } else {
            return read_object(from, to, false);
        }
    }

    [[nodiscard]] bool refuse_others(json_value object, std::size_t known) {
        return object.size() == known || fail({"has ", object.size(), " keys, ", known, " of which are known"});
    }
    template <class T>
    [[nodiscard]] bool read_member(json_value object, std::string_view key, T& to, const value_limits& limits,
                                   std::size_t& found) {
        const auto member = object.find(key);
        found += member ? 1u : 0u;
        if (!member) {
            if constexpr (is_optional<T>) {
                to.reset();
                return true;
            }
            return fail({"has no key ", quoted{key}});
        }
        return inside(pointer_step(key), [&] { return read(*member, to, limits); });
    }

    [[nodiscard]] bool mismatch(std::string_view expected, json_value from) {
        return fail({"is of type ", name_of(from.type()), " where ", expected, " is expected"});
    }
    bool fail(sentence_parts what) {
        set_error(failure_, errc::bad_value,
                  {name_, ": ", place_.empty() ? "the value" : std::string_view(shown_place()), " "}, what);
        return false;
    }
    [[nodiscard]] error take_failure() && { return std::move(failure_); }

private:
    [[nodiscard]] std::string shown_place() const {
        std::string made;
        append_quoted(made, place_, 200);
        return made;
    }

    template <class Read> [[nodiscard]] bool inside(std::string_view step, Read&& read) {
        const std::size_t before = place_.size();
        place_ += step;
        const bool is_read = read();
        place_.resize(before);
        return is_read;
    }

    template <class T> [[nodiscard]] bool read_integer(json_value from, T& to, const value_limits& limits) {
        const auto text = from.as_number_text();
        if (!text) {
            return mismatch("an integer", from);
        }
        const auto value = from.as_integer<T>();
        to = value.value_or(T{0});
        const bool fits = value && (!limits.minimum || !std::cmp_less(to, *limits.minimum)) &&
                          (!limits.maximum || !std::cmp_greater(to, *limits.maximum));
        return fits || out_of_range<T>(*text, limits);
    }
    template <class T> [[nodiscard]] bool read_number(json_value from, T& to, const value_limits& limits) {
        const auto text = from.as_number_text();
        if (!text) {
            return mismatch("a number", from);
        }
        const auto value = from.as_double();
        const double number = value.value_or(0.0);
        constexpr double largest = 3.4028234663852886e38; // of a float; written with few digits it is a little more
        constexpr double most = 3.4028235e38;
        const bool fits = value && (sizeof(T) != sizeof(float) || (number >= -most && number <= most));
        const double within = sizeof(T) != sizeof(float) ? number : (std::max)((std::min)(number, largest), -largest);
        to = static_cast<T>(fits ? within : 0.0);
        const bool is_allowed = fits && (!limits.minimum || number >= static_cast<double>(*limits.minimum)) &&
                                (!limits.maximum || number <= static_cast<double>(*limits.maximum));
        return is_allowed || out_of_range<T>(*text, limits);
    }
    template <class T> [[nodiscard]] bool out_of_range(std::string_view text, const value_limits& limits) {
        const number_range range = range_of<T>(limits);
        const std::string_view kind = json_integer<T> ? "an integer from " : "a number from ";
        return fail({"is ", quoted{text}, " where ", kind, range.low, " to ", range.high, " is expected"});
    }

    [[nodiscard]] bool read_string(json_value from, std::string& to, const value_limits& limits) {
        const auto value = from.as_string();
        if (!value) {
            return mismatch("a string", from);
        }
        to = *value;
        std::size_t characters = 0;
        for (const char c : to) {
            characters += (static_cast<unsigned char>(c) & 0xc0u) != 0x80u ? 1u : 0u;
        }
        return check_size(characters, "characters", limits);
    }
    [[nodiscard]] bool check_size(std::size_t size, std::string_view of_what, const value_limits& limits) {
        return (size >= limits.min_size && size <= limits.max_size) ||
               (size < limits.min_size
                    ? fail({"has ", size, " ", of_what, ", at least ", limits.min_size, " are expected"})
                    : fail({"has ", size, " ", of_what, ", at most ", limits.max_size, " are expected"}));
    }

    template <class E> [[nodiscard]] bool read_name(json_value from, E& to) {
        static_assert(has_names<E>, "specialise bitnet::names_of for this enum");
        const auto value = from.as_string();
        if (!value) {
            return mismatch("a string", from);
        }
        for (const auto& each : names_of<E>::list) {
            if (each.name == *value) {
                to = each.value;
                return true;
            }
        }
        return fail({"is ", quoted{*value}, ", which is none of its names"});
    }

    template <class T> [[nodiscard]] bool read_vector(json_value from, std::vector<T>& to, const value_limits& limits) {
        if (!from.is_array()) {
            return mismatch("an array", from);
        }
        to.clear();
        to.reserve(from.size());
        for (const json_value each : from.elements()) {
            T element{};
            if (!inside("/" + std::to_string(to.size()), [&] { return read(each, element, {}); })) {
                return false;
            }
            to.push_back(std::move(element));
        }
        return check_size(to.size(), "elements", limits);
    }
    template <class T, std::size_t N> [[nodiscard]] bool read_array(json_value from, std::array<T, N>& to) {
        if (!from.is_array()) {
            return mismatch("an array", from);
        }
        if (from.size() != N) {
            return fail({"has ", from.size(), " elements, ", N, " are expected"});
        }
        std::size_t i = 0;
        for (const json_value each : from.elements()) {
            if (!inside("/" + std::to_string(i), [&] { return read(each, to[i], {}); })) {
                return false;
            }
            ++i;
        }
        return true;
    }

    template <class... T> [[nodiscard]] bool read_variant(json_value from, std::variant<T...>& to) {
        if (!from.is_object()) {
            return mismatch("an object", from);
        }
        const auto tag = from.find(variant_key);
        const auto name = tag ? tag->as_string() : std::nullopt;
        if (!name) {
            return fail({"has no key ", quoted{variant_key}, " with a string"});
        }
        bool is_known = false;
        bool is_read = false;
        const auto read_one = [&]<class One>() {
            if (!is_known && fields_of<One>::name == *name) {
                is_known = true;
                is_read = read_object(from, to.template emplace<One>(), true);
            }
        };
        (read_one.template operator()<T>(), ...);
        return is_read || (!is_known && fail({"has the type ", quoted{*name}, ", which is none of its types"}));
    }

    template <class T> [[nodiscard]] bool read_object(json_value from, T& to, bool has_tag) {
        static_assert(has_fields<T>, "specialise bitnet::fields_of for this type");
        if (!from.is_object()) {
            return mismatch("an object", from);
        }
        std::size_t found = has_tag ? 1 : 0;
        bool is_read = true;
        for_each_field<T>([&](const auto& each) {
            is_read = is_read && read_member(from, each.name, to.*each.member, each.limits, found);
        });
        return is_read && refuse_others(from, found);
    }

    std::string_view name_;
    std::string place_; ///< a JSON pointer
    error failure_;
};

/// Writes values as JSON texts, in pure ASCII.
class json_value_writer {
public:
    template <class T> void write(const T& value) {
        static_assert(!character_type<T>, "a character is no JSON value: take std::string");
        if constexpr (std::same_as<T, bool>) {
            text_ += value ? "true" : "false";
        } else if constexpr (json_integer<T>) {
            text_ += std::to_string(value);
        } else if constexpr (std::floating_point<T>) {
            write_number(static_cast<double>(value), sizeof(T) == sizeof(float));
        } else if constexpr (std::same_as<T, std::string> || std::same_as<T, std::string_view>) {
            append_json_string(text_, value);
        } else if constexpr (std::is_enum_v<T>) {
            write_name(value);
        } else if constexpr (is_optional<T>) {
            value ? write(*value) : void(text_ += "null");
        } else if constexpr (is_vector<T> || is_array<T>) {
            write_elements(value);
        } else if constexpr (is_variant<T>) {
            std::visit([&]<class One>(const One& one) { write_object(one, fields_of<One>::name); }, value);
        } else {
            write_object(value, {});
        }
    }
    [[nodiscard]] std::string take() && { return std::move(text_); }

private:
    /// With as few digits as give the number back; null if it is not finite, which JSON does not know.
    void write_number(double value, bool is_float) {
        constexpr std::uint64_t exponent = 0x7ff0000000000000u;
        if ((std::bit_cast<std::uint64_t>(value) & exponent) == exponent) {
            text_ += "null";
            return;
        }
        char digits[40];
        const auto is_same = [&](double other) {
            return is_float ? static_cast<float>(other) == static_cast<float>(value) : other == value;
        };
        int size = 0;
        for (int precision = is_float ? 6 : 15; precision <= 17; ++precision) {
            size = std::snprintf(digits, sizeof digits, "%.*g", precision, value);
            for (int i = 0; i < size; ++i) { // the locale's point
                const char c = digits[i];
                digits[i] = (c >= '0' && c <= '9') || c == '-' || c == '+' || c == 'e' ? c : '.';
            }
            const auto read = parse_decimal({digits, static_cast<std::size_t>(size)});
            if (read && is_same(*read)) {
                break;
            }
        }
        text_.append(digits, static_cast<std::size_t>(size));
    }

    template <class E> void write_name(E value) {
        static_assert(has_names<E>, "specialise bitnet::names_of for this enum");
        for (const auto& each : names_of<E>::list) {
            if (each.value == value) {
                append_json_string(text_, each.name);
                return;
            }
        }
        text_ += "null"; // a value without a name
    }
    template <class List> void write_elements(const List& list) {
        text_ += '[';
        bool is_first = true;
        for (const auto& each : list) {
            text_ += is_first ? "" : ",";
            write<typename List::value_type>(each);
            is_first = false;
        }
        text_ += ']';
    }
    template <class T> void write_object(const T& value, std::string_view name) {
        static_assert(has_fields<T>, "specialise bitnet::fields_of for this type");
        text_ += '{';
        bool is_first = name.empty();
        if (!name.empty()) {
            text_.append("\"").append(variant_key).append("\":");
            append_json_string(text_, name);
        }
        for_each_field<T>([&](const auto& each) {
            const auto& member = value.*each.member;
            if constexpr (is_optional<std::remove_cvref_t<decltype(member)>>) {
                if (!member) {
                    return;
                }
            }
            text_ += is_first ? "" : ",";
            is_first = false;
            append_json_string(text_, each.name);
            text_ += ':';
            write(member);
        });
        text_ += '}';
    }

    std::string text_;
};

/// As deep as JSON is read.
inline constexpr json_options deep_json{.depth = 1024};
/// The same for what a model writes, whose grammar lets a free key come again.
inline constexpr json_options written_json{.depth = 1024, .last_of_key = true};

} // namespace detail

/// The value of a JSON text: what grammar::of<T>() lets pass, and other texts with the same values, with keys in any
/// order. T needs a default constructor.
/// \return errc::bad_json, errc::bad_utf8; errc::bad_value with the JSON pointer of a value of another type or outside
/// its limits, of an object where a key is missing or unknown; errc::out_of_memory.
template <class T>
[[nodiscard]] result<T> from_json(std::string_view text, const value_limits& limits = {},
                                  std::string_view name = "JSON") {
    return detail::guarded([&]() -> result<T> {
        const auto json = json_document::parse(text, name, detail::deep_json);
        if (!json) {
            return failed(json);
        }
        T made{};
        detail::json_reader reader(name);
        if (!reader.read(json->root(), made, limits)) {
            return std::move(reader).take_failure();
        }
        return made;
    });
}

/// A value as a JSON text in pure ASCII, which from_json<T>() gives back; numbers that are not finite, and values of
/// enums without a name, become null. \return errc::out_of_memory.
template <class T> [[nodiscard]] result<std::string> to_json(const T& value) {
    return detail::guarded([&]() -> result<std::string> {
        detail::json_value_writer writer;
        writer.write(value);
        return std::move(writer).take();
    });
}

} // namespace bitnet::inline BITNET_ABI

#endif

// ---- bitnet/constrain/grammar.hpp ----
// grammar: which texts are allowed, compiled for matchers.
#ifndef BITNET_CONSTRAIN_GRAMMAR_HPP
#define BITNET_CONSTRAIN_GRAMMAR_HPP

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI {

namespace detail {
struct compiled_grammar;
struct grammar_access;
} // namespace detail

/// A set of texts, compiled: immutable, independent of vocabularies, shared by its copies and by all matchers.
/// Opening one costs time and memory in proportion to its source, has limits of its own (grammar_limits), needs 64 KiB
/// of stack, and ends in an error for whatever exceeds them. No error sentence holds more than 1,000 bytes.
class grammar {
public:
    /// The language of llama.cpp's GBNF guide; its rule `root` is what has to match. Repetitions are exact up to
    /// 2^31 - 1, rules may be left-recursive and ambiguous.
    /// \return errc::bad_grammar with rule, line and column; errc::empty_language where nothing at all could match;
    /// errc::grammar_budget. Included with bitnet/constrain/gbnf_reader.hpp.
    [[nodiscard]] static result<grammar> gbnf(std::string_view source, std::string_view name = "grammar");

    /// The whole text has to match a regular expression in the dialect of JSON Schema's `pattern` (ECMA-262 without
    /// look-around, back-references, word borders and \p, which are refused). \d, \w and \s are ASCII.
    /// \return errc::bad_grammar with the column, and as above. Included with bitnet/constrain/regex_reader.hpp.
    [[nodiscard]] static result<grammar> regex(std::string_view pattern, std::string_view name = "regular expression");

    /// One of a list of texts, each of which is UTF-8; duplicates do not matter.
    /// \return errc::bad_grammar where the list is empty or a text is no UTF-8. Included with
    /// bitnet/constrain/choices.hpp.
    [[nodiscard]] static result<grammar> choices(std::span<const std::string_view> texts,
                                                 std::string_view name = "choices");

    /// JSON texts that are valid by a JSON Schema of draft 2020-12; see schema_options for the form they have.
    /// \return errc::bad_json, errc::bad_schema, errc::unsupported_schema with the JSON pointer of the keyword, and as
    /// above. Included with bitnet/constrain/json_schema.hpp.
    [[nodiscard]] static result<grammar> json_schema(std::string_view schema, const schema_options& options,
                                                     std::string_view name = "schema");
    [[nodiscard]] static result<grammar> json_schema(std::string_view schema);

    /// JSON texts that from_json<T>() reads, for types that fields_of describes, and vectors, variants ... of them.
    /// \return as above, if the limits contradict each other. Included with bitnet/constrain/type_schema.hpp.
    template <class T> [[nodiscard]] static result<grammar> of(const value_limits& limits);
    template <class T> [[nodiscard]] static result<grammar> of();

    /// What was read in a particular way, or not enforced because the options say so: one sentence each.
    [[nodiscard]] std::span<const std::string> notes() const noexcept { return notes_; }

private:
    friend struct detail::grammar_access;

    std::shared_ptr<const detail::compiled_grammar> tables_;
    std::vector<std::string> notes_;
};

namespace detail {

/// How readers make grammars, and matchers see their tables.
struct grammar_access {
    [[nodiscard]] static grammar make(std::shared_ptr<const compiled_grammar> tables, std::vector<std::string> notes) {
        grammar made;
        made.tables_ = std::move(tables);
        made.notes_ = std::move(notes);
        return made;
    }
    [[nodiscard]] static const std::shared_ptr<const compiled_grammar>& tables(const grammar& of) noexcept {
        return of.tables_;
    }
};

} // namespace detail

} // namespace bitnet::inline BITNET_ABI

#endif

// ---- bitnet/constrain/mask_bits.hpp ----
// Masks of tokens as lists: of ids, and of candidates with their logits.
#ifndef BITNET_CONSTRAIN_MASK_BITS_HPP
#define BITNET_CONSTRAIN_MASK_BITS_HPP

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

namespace bitnet::inline BITNET_ABI::detail {

/// Calls use(id) of each bit that is set, ascending.
template <class Use> void for_each_bit(std::span<const std::uint64_t> bits, Use&& use) {
    for (std::size_t word = 0; word < bits.size(); ++word) {
        for (std::uint64_t rest = bits[word]; rest != 0; rest &= rest - 1) {
            use(word * 64 + static_cast<std::size_t>(std::countr_zero(rest)));
        }
    }
}

/// Sets the bits of all `tokens`, and no other one.
inline void allow_all(std::span<std::uint64_t> bits, std::size_t tokens) noexcept {
    std::fill(bits.begin(), bits.end(), ~std::uint64_t{0});
    if (tokens % 64 != 0) {
        bits[tokens / 64] = (std::uint64_t{1} << tokens % 64) - 1;
    }
}

/// The ids of a mask of `count` tokens, written to `room`; none where they are more than it takes.
[[nodiscard]] inline std::span<const std::uint32_t> listed(std::span<const std::uint64_t> bits, std::size_t count,
                                                           std::span<std::uint32_t> room) noexcept {
    if (count > room.size()) {
        return {};
    }
    std::size_t used = 0;
    for_each_bit(bits, [&](std::size_t id) { room[used++] = static_cast<std::uint32_t>(id); });
    return room.first(used);
}

/// The tokens of a mask with their logits, written to `room`, ascending.
[[nodiscard]] inline std::span<const scored_token> candidates_of(std::span<const std::uint64_t> bits,
                                                                 std::span<const float> logits,
                                                                 std::span<scored_token> room) noexcept {
    std::size_t used = 0;
    for_each_bit(bits, [&](std::size_t id) { room[used++] = {static_cast<token>(id), logits[id]}; });
    return room.first(used);
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif

// ---- bitnet/constrain/matcher.hpp ----
// matcher: follows a text byte by byte through a grammar.
#ifndef BITNET_CONSTRAIN_MATCHER_HPP
#define BITNET_CONSTRAIN_MATCHER_HPP

// ---- bitnet/constrain/match_compaction.hpp ----
// Compaction of a match_store: what no way of reading can come back to gives up its place.
#ifndef BITNET_CONSTRAIN_MATCH_COMPACTION_HPP
#define BITNET_CONSTRAIN_MATCH_COMPACTION_HPP

// ---- bitnet/constrain/match_store.hpp ----
// match_store: the items, frames and links of a matcher, level by level.
#ifndef BITNET_CONSTRAIN_MATCH_STORE_HPP
#define BITNET_CONSTRAIN_MATCH_STORE_HPP

// ---- bitnet/constrain/matcher_options.hpp ----
// matcher_options: how much a matcher may hold.
#ifndef BITNET_CONSTRAIN_MATCHER_OPTIONS_HPP
#define BITNET_CONSTRAIN_MATCHER_OPTIONS_HPP

#include <cstdint>

namespace bitnet::inline BITNET_ABI {

/// How much a matcher may hold. Its memory is 16 bytes an item, 24 a frame and 24 a link, 140 for each item at once (to
/// find them again) and 4 for each rule: 10 MiB by default. matcher::open() allocates it, and touches next to none:
/// pages that no text needs are never written.
struct matcher_options {
    std::uint32_t items = 65'536;            ///< of all positions that can be gone back to
    std::uint32_t items_at_once = 8'192;     ///< ways in which one text can be read so far
    std::uint32_t frames = 65'536;           ///< rules that are open, in all ways of reading
    std::uint32_t links = 262'144;           ///< ways back out of them
    std::uint32_t longest_lookahead = 1'024; ///< bytes that allows() looks at, such as those of the longest token
};

} // namespace bitnet::inline BITNET_ABI

#endif

#include <cstddef>
#include <cstdint>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// One way of reading the text so far: a state of a rule, the call it belongs to, and from how much to how much the
/// rule's counter may have come.
struct match_item {
    std::uint32_t state;
    std::uint32_t frame;
    std::uint32_t low;
    std::uint32_t high;
};

/// Where a rule goes on when a text of it is complete: an item of the caller.
struct match_link {
    match_item back;
    std::uint32_t next;  ///< link of the same frame, an older one, or none
    std::uint32_t frame; ///< whose link it is
};

/// A rule that was called at one position, once for all its callers there.
struct match_frame {
    std::uint32_t rule;
    std::uint32_t first_link;
    std::uint32_t popped_at;    ///< the last pass in which it ended
    std::uint32_t bytes_to_end; ///< scratch of match_distances
    std::uint32_t moved_to;     ///< scratch of compact()
    std::uint32_t seen;         ///< scratch of frame_watch
};

/// All that is known after one byte: the items from `first_item` on.
struct match_level {
    std::uint32_t first_item;
    std::uint32_t first_frame;
    std::uint32_t first_link;
    bool can_end;
};

/// A place that a matcher can go back to.
struct match_mark {
    match_level level;
    std::uint32_t items;
    std::uint32_t frames;
    std::uint32_t links;
};

/// Three stacks. Each byte begins a level on top of them, and going back takes the levels behind it off again.
/// Allocates in open() alone.
struct match_store {
    static constexpr std::uint32_t none = 0xffffffffu; ///< of states: an item that is none any more, the end of a text

    /// \return errc::out_of_memory
    [[nodiscard]] static result<match_store> open(const matcher_options& options) {
        match_store made;
        error failure;
        allocate_uninitialized(made.items, options.items, "matcher", failure);
        allocate_uninitialized(made.frames, options.frames, "matcher", failure);
        allocate_uninitialized(made.links, options.links, "matcher", failure);
        allocate_uninitialized(made.levels, std::uint64_t{options.longest_lookahead} + 2, "matcher", failure);
        made.items_at_once = options.items_at_once;
        return failure.code == errc{} ? result<match_store>(std::move(made)) : failure;
    }

    [[nodiscard]] match_level& last() noexcept { return levels[level]; }
    [[nodiscard]] const match_level& last() const noexcept { return levels[level]; }

    /// Begins level 0.
    void clear() noexcept {
        items_used = frames_used = links_used = level = 0;
        levels[0] = {0, 0, 0, false};
        has_overflowed = is_marked = false;
    }
    /// Begins another one. \pre level + 1 < levels.size()
    void open_level() noexcept {
        levels[++level] = {items_used, frames_used, links_used, false};
        has_overflowed = false;
    }
    /// \pre to <= level
    void go_back_to(std::uint32_t to) noexcept {
        if (level == to) {
            return;
        }
        items_used = levels[to + 1].first_item;
        frames_used = levels[to + 1].first_frame;
        links_used = levels[to + 1].first_link;
        level = to;
    }
    /// The last level becomes the first: nothing goes back behind it.
    void forget_levels() noexcept {
        levels[0] = levels[level];
        level = 0;
    }

    /// \pre level 0
    void set_mark() noexcept {
        mark = {levels[0], items_used, frames_used, links_used};
        is_marked = true;
    }
    /// \pre is_marked, level 0
    void go_back_to_mark() noexcept {
        levels[0] = mark.level;
        items_used = mark.items;
        frames_used = mark.frames;
        links_used = mark.links;
    }

    /// Whether a text can go on for a while without compact().
    [[nodiscard]] bool is_room() const noexcept {
        return items_used + items_at_once < items.size() && frames_used + frames.size() / 8 < frames.size() &&
               links_used + links.size() / 8 < links.size();
    }
    [[nodiscard]] std::size_t size_bytes() const noexcept {
        return items.size_bytes() + frames.size_bytes() + links.size_bytes() + levels.size_bytes();
    }

    buffer<match_item> items;
    buffer<match_frame> frames;
    buffer<match_link> links;
    buffer<match_level> levels;
    std::uint32_t items_used = 0;
    std::uint32_t frames_used = 0;
    std::uint32_t links_used = 0;
    std::uint32_t level = 0;
    std::uint32_t items_at_once = 0; ///< of one level
    bool has_overflowed = false;     ///< the last level needs more than there is room for
    bool is_marked = false;
    match_mark mark{};
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

#include <algorithm>
#include <cstdint>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// Sets moved_to of the frames that items need to their new numbers, of the others to none.
inline void number_needed_frames(match_store& of) noexcept {
    constexpr std::uint32_t none = match_store::none;
    for (std::uint32_t i = 0; i < of.frames_used; ++i) {
        of.frames[i].moved_to = none;
    }
    std::uint32_t todo = none; // a list through bytes_to_end
    const auto need = [&](std::uint32_t frame) {
        if (frame != none && of.frames[frame].moved_to == none) {
            of.frames[frame].moved_to = 0;
            of.frames[frame].bytes_to_end = std::exchange(todo, frame);
        }
    };
    for (std::uint32_t i = 0; i < of.items_used; ++i) {
        need(of.items[i].state == none ? none : of.items[i].frame);
    }
    while (todo != none) {
        const match_frame& frame = of.frames[todo];
        todo = frame.bytes_to_end;
        for (std::uint32_t i = frame.first_link; i != none; i = of.links[i].next) {
            need(of.links[i].back.frame);
        }
    }
    std::uint32_t kept = 0;
    for (std::uint32_t i = 0; i < of.frames_used; ++i) {
        of.frames[i].moved_to = of.frames[i].moved_to == none ? none : kept++;
    }
}

/// Moves the links of numbered frames to the front, and drops the others. Older ones come first, so that each chain is
/// made anew in its order.
inline void move_needed_links(match_store& of) noexcept {
    constexpr std::uint32_t none = match_store::none;
    for (std::uint32_t i = 0; i < of.frames_used; ++i) {
        of.frames[i].first_link = none;
    }
    std::uint32_t links = 0;
    std::uint32_t marked = 0;
    for (std::uint32_t i = 0; i < of.links_used; ++i) {
        marked = i == of.mark.links ? links : marked;
        match_link link = of.links[i];
        match_frame& owner = of.frames[link.frame];
        if (owner.moved_to == none) {
            continue;
        }
        link.back.frame = link.back.frame == none ? none : of.frames[link.back.frame].moved_to;
        link.frame = owner.moved_to;
        link.next = std::exchange(owner.first_link, links);
        of.links[links++] = link;
    }
    of.mark.links = of.mark.links < of.links_used ? marked : links;
    of.links_used = links;
}

/// The same of the frames.
inline void move_needed_frames(match_store& of) noexcept {
    std::uint32_t frames = 0;
    std::uint32_t marked = 0;
    for (std::uint32_t i = 0; i < of.frames_used; ++i) {
        marked = i == of.mark.frames ? frames : marked;
        if (of.frames[i].moved_to != match_store::none) {
            of.frames[frames++] = of.frames[i];
        }
    }
    of.mark.frames = of.mark.frames < of.frames_used ? marked : frames;
    of.frames_used = frames;
}

/// Gives back what the present items, and those of the mark, cannot reach. \pre level 0
inline void compact(match_store& of) noexcept {
    const std::uint32_t first = of.levels[0].first_item;
    const bool is_apart = of.is_marked && of.mark.level.first_item != first;
    const std::uint32_t marked = is_apart ? of.mark.items - of.mark.level.first_item : 0;
    if (is_apart) {
        std::copy_n(of.items.data() + of.mark.level.first_item, marked, of.items.data());
    }
    std::copy(of.items.data() + first, of.items.data() + of.items_used, of.items.data() + marked);
    of.items_used -= first - marked;
    number_needed_frames(of);
    for (std::uint32_t i = 0; i < of.items_used; ++i) {
        if (of.items[i].state != match_store::none) {
            of.items[i].frame = of.frames[of.items[i].frame].moved_to;
        }
    }
    move_needed_links(of);
    move_needed_frames(of);
    of.levels[0] = {marked, of.frames_used, of.links_used, of.levels[0].can_end};
    of.mark.level.first_item = 0;
    of.mark.items = is_apart ? marked : of.items_used;
}

/// The same where little room is left. \pre level 0
inline void make_room(match_store& of) noexcept {
    if (!of.is_room()) {
        compact(of);
    }
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif

// ---- bitnet/constrain/match_distances.hpp ----
// match_distances: how many bytes a text needs to its end, from each way of reading it.
#ifndef BITNET_CONSTRAIN_MATCH_DISTANCES_HPP
#define BITNET_CONSTRAIN_MATCH_DISTANCES_HPP

// ---- bitnet/constrain/compiled_grammar.hpp ----
// compiled_grammar: the tables that a matcher runs over, and how many bytes each state is from the end of its rule.
#ifndef BITNET_CONSTRAIN_COMPILED_GRAMMAR_HPP
#define BITNET_CONSTRAIN_COMPILED_GRAMMAR_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <queue>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// A rule as states. A text of it is complete in a final state where the counter has reached `least`.
struct compiled_rule {
    std::uint32_t start = 0;      ///< state
    std::uint32_t least = 0;      ///< count, 0 where nothing is counted
    std::uint32_t step_bytes = 0; ///< the most bytes that one more count takes
    bool counts_itself = false;   ///< an automaton that counts, not a repetition
    bool is_nullable = false;     ///< the empty text is one; callers skip the call then
    std::uint32_t bytes = 0;      ///< of a shortest text, saturated
};

/// All rules of a grammar; their states are numbered together.
struct compiled_grammar {
    automaton states;
    std::vector<std::uint32_t> rule_of; ///< per state
    std::vector<std::uint32_t> to_end;  ///< per state: bytes to the end of its rule, whatever is counted; saturated
    std::vector<compiled_rule> rules;
    std::uint32_t root = 0;
};

/// Bytes to an end, saturated at a number that sums of a few cannot overflow.
inline constexpr std::uint32_t endless = 0x3fffffffu;

[[nodiscard]] constexpr std::uint32_t bytes_together(std::uint64_t a, std::uint64_t b) noexcept {
    return static_cast<std::uint32_t>((std::min)(a + b, std::uint64_t{endless}));
}

/// Computes to_end and compiled_rule::bytes: shortest paths in which a call costs the shortest text of its rule
/// (Knuth's generalisation of Dijkstra's algorithm). Nodes are all states, then all rules.
class distance_search {
public:
    explicit distance_search(compiled_grammar& grammar)
        : grammar_(grammar), states_(static_cast<std::uint32_t>(grammar.states.size())),
          bytes_(states_ + grammar.rules.size(), endless), uses_(bytes_.size(), none) {}

    void run() {
        for (std::uint32_t state = 0; state < states_; ++state) {
            link_state(state);
        }
        for (std::uint32_t rule = 0; rule < grammar_.rules.size(); ++rule) {
            link_rule(rule);
        }
        while (!queue_.empty()) {
            const auto [bytes, node] = queue_.top();
            queue_.pop();
            if (bytes == bytes_[node] && !is_settled_[node]) {
                is_settled_[node] = true;
                settle(node);
            }
        }
        for (std::uint32_t number = 0; number < grammar_.rules.size(); ++number) {
            compiled_rule& rule = grammar_.rules[number];
            rule.bytes = bytes_[states_ + number];
            const special_edge* const step = count_edge(rule);
            rule.step_bytes = step == nullptr ? rule.step_bytes : bytes_[step->target];
        }
        bytes_.resize(states_);
        grammar_.to_end = std::move(bytes_);
    }

private:
    static constexpr std::uint32_t none = 0xffffffffu;
    /// `to` takes times * bytes of `first` + bytes of `second` + plus.
    struct way {
        std::uint32_t to;
        std::uint32_t first;
        std::uint32_t second; ///< or none
        std::uint32_t times;
        std::uint32_t plus;
    };
    struct use {
        std::uint32_t way;
        std::uint32_t next;
    };

    void link_state(std::uint32_t state) {
        if (grammar_.states.is_final(state)) {
            reach(state, 0);
        }
        for (const byte_edge edge : grammar_.states.byte_edges(state)) {
            add({state, edge.target, none, 1, 1});
        }
        for (const special_edge edge : grammar_.states.special_edges(state)) {
            const bool is_call = edge.kind == special_kind::call || edge.kind == special_kind::tail_call;
            add({state, edge.target, is_call ? states_ + edge.value : none, 1, 0});
        }
    }

    /// The edge by which a repetition begins another round, where rounds have to be counted and their bytes are not
    /// known.
    [[nodiscard]] const special_edge* count_edge(const compiled_rule& rule) const noexcept {
        for (const special_edge& edge : grammar_.states.special_edges(rule.start)) {
            if (edge.kind == special_kind::count && rule.least != 0 && !rule.counts_itself) {
                return &edge;
            }
        }
        return nullptr;
    }
    void link_rule(std::uint32_t number) {
        const compiled_rule& rule = grammar_.rules[number];
        const std::uint32_t node = states_ + number;
        if (const special_edge* const step = count_edge(rule)) {
            add({node, step->target, rule.start, rule.least, 0});
        } else {
            const std::uint64_t counted = std::uint64_t{rule.least} * rule.step_bytes;
            add({node, rule.start, none, 1, bytes_together(counted, 0)});
        }
    }

    void add(way made) {
        const auto number = static_cast<std::uint32_t>(ways_.size());
        ways_.push_back(made);
        for (const std::uint32_t node : {made.first, made.second}) {
            if (node != none) {
                list_.push_back({number, uses_[node]});
                uses_[node] = static_cast<std::uint32_t>(list_.size() - 1);
            }
        }
    }

    void reach(std::uint32_t node, std::uint32_t bytes) {
        if (bytes < bytes_[node]) {
            bytes_[node] = bytes;
            queue_.push({bytes, node});
        }
    }

    void settle(std::uint32_t node) {
        for (std::uint32_t i = uses_[node]; i != none; i = list_[i].next) {
            const way& made = ways_[list_[i].way];
            if (is_settled_[made.first] && (made.second == none || is_settled_[made.second])) {
                const std::uint64_t second = made.second == none ? 0 : bytes_[made.second];
                reach(made.to, bytes_together(std::uint64_t{made.times} * bytes_[made.first], second + made.plus));
            }
        }
    }

    compiled_grammar& grammar_;
    std::uint32_t states_;
    std::vector<std::uint32_t> bytes_;
    std::vector<std::uint32_t> uses_;
    std::vector<bool> is_settled_ = std::vector<bool>(bytes_.size());
    std::vector<way> ways_;
    std::vector<use> list_;
    using entry = std::pair<std::uint32_t, std::uint32_t>;
    std::priority_queue<entry, std::vector<entry>, std::greater<>> queue_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

#include <algorithm>
#include <cstdint>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// Computes bytes_to_end of frames: to the end of the text from where the frame's rule is complete. What is said of
/// items holds once all frames of the store were measured.
class match_distances {
public:
    match_distances(const compiled_grammar& tables, match_store& of) noexcept : tables_(tables), of_(of) {}

    /// The frames from `first` on, given those before it.
    void measure(std::uint32_t first) noexcept {
        for (std::uint32_t i = first; i < of_.frames_used; ++i) {
            of_.frames[i].bytes_to_end = endless;
        }
        for (bool is_shorter = first < of_.frames_used;
             is_shorter;) { // links go to older frames, but for left recursion
            is_shorter = false;
            for (std::uint32_t i = first; i < of_.frames_used; ++i) {
                is_shorter = shorten(of_.frames[i]) || is_shorter;
            }
        }
    }
    /// All frames. \return the most that one of them has
    std::uint32_t measure_all() noexcept {
        measure(0);
        std::uint32_t most = 0;
        for (std::uint32_t i = 0; i < of_.frames_used; ++i) {
            most = (std::max)(most, of_.frames[i].bytes_to_end);
        }
        return most;
    }

    /// The fewest from an item of the last level.
    [[nodiscard]] std::uint32_t from_level() const noexcept {
        std::uint32_t fewest = of_.last().can_end ? 0 : endless;
        for (std::uint32_t i = of_.last().first_item; i < of_.items_used; ++i) {
            fewest = of_.items[i].state == match_store::none ? fewest : (std::min)(fewest, from(of_.items[i]));
        }
        return fewest;
    }
    [[nodiscard]] std::uint32_t from(const match_item& item) const noexcept {
        return bytes_together(tables_.to_end[item.state], behind(item));
    }
    /// Of these, what does not depend on the state within the rule.
    [[nodiscard]] std::uint32_t behind(const match_item& item) const noexcept {
        const compiled_rule& rule = tables_.rules[tables_.rule_of[item.state]];
        const std::uint64_t missing = item.high < rule.least ? rule.least - item.high : 0;
        return bytes_together(missing * rule.step_bytes, of_.frames[item.frame].bytes_to_end);
    }

private:
    [[nodiscard]] bool shorten(match_frame& frame) noexcept {
        std::uint32_t fewest = frame.bytes_to_end;
        for (std::uint32_t i = frame.first_link; i != match_store::none; i = of_.links[i].next) {
            const match_item& back = of_.links[i].back;
            fewest = (std::min)(fewest, back.state == match_store::none ? 0 : from(back));
        }
        return std::exchange(frame.bytes_to_end, fewest) != fewest;
    }

    const compiled_grammar& tables_;
    match_store& of_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

// ---- bitnet/constrain/match_lookahead.hpp ----
// match_lookahead: goes on behind a place in a text, where the grammar leaves no choice and where it does, and back.
#ifndef BITNET_CONSTRAIN_MATCH_LOOKAHEAD_HPP
#define BITNET_CONSTRAIN_MATCH_LOOKAHEAD_HPP

// ---- bitnet/constrain/match_readings.hpp ----
// match_readings: all ways in which a grammar can read a text, byte by byte.
#ifndef BITNET_CONSTRAIN_MATCH_READINGS_HPP
#define BITNET_CONSTRAIN_MATCH_READINGS_HPP

// ---- bitnet/constrain/frame_watch.hpp ----
// frame_watch: which frames of a matcher are looked at while a mask is made.
#ifndef BITNET_CONSTRAIN_FRAME_WATCH_HPP
#define BITNET_CONSTRAIN_FRAME_WATCH_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

namespace bitnet::inline BITNET_ABI::detail {

/// mask_key numbers frames in the order in which it meets them. What counts is the highest number of those whose links
/// are looked at from start() to stop(); newer frames depend on them only through links that are looked at themselves.
class frame_watch {
public:
    static constexpr std::uint32_t most = 64;             ///< frames that have numbers
    static constexpr std::uint32_t unknown = 0xffffffffu; ///< the number of a frame that has none

    /// No frame has a number. \param frames all there is room for
    void forget(std::span<match_frame> frames) noexcept {
        base_ += most;
        if (base_ >= 0xffffff00u) {
            for (match_frame& frame : frames) {
                frame.seen = 0;
            }
            base_ = most;
        }
    }
    [[nodiscard]] std::uint32_t number(const match_frame& frame) const noexcept {
        return (frame.seen ^ base_) < most ? frame.seen - base_ : unknown;
    }
    void set_number(match_frame& frame, std::uint32_t number) const noexcept { frame.seen = base_ + number; }

    /// Begins to watch the first `frames`.
    void start(std::uint32_t frames) noexcept {
        watched_ = frames;
        looked_at_ = 0;
    }
    void look(const match_store& of, std::uint32_t frame) noexcept {
        if (frame < watched_) {
            note(of.frames[frame]);
        }
    }
    /// Ends. \return how many of the numbered frames, from the first one on, include all that were looked at; unknown:
    /// more than those
    [[nodiscard]] std::uint32_t stop() noexcept {
        watched_ = 0;
        return looked_at_;
    }

private:
    void note(const match_frame& frame) noexcept {
        const std::uint32_t at = number(frame);
        looked_at_ = at == unknown ? unknown : (std::max)(looked_at_, at + 1);
    }

    std::uint32_t watched_ = 0;
    std::uint32_t base_ = 0; ///< what `seen` has of a numbered frame, in the upper bits
    std::uint32_t looked_at_ = 0;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

// ---- bitnet/constrain/level_items.hpp ----
// level_items: adds items to the last level of a match_store, each state of a frame once.
#ifndef BITNET_CONSTRAIN_LEVEL_ITEMS_HPP
#define BITNET_CONSTRAIN_LEVEL_ITEMS_HPP

// ---- bitnet/constrain/stamp_table.hpp ----
// stamp_table: finds numbers by three others, and forgets all of them at once.
#ifndef BITNET_CONSTRAIN_STAMP_TABLE_HPP
#define BITNET_CONSTRAIN_STAMP_TABLE_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// Lists of entries, by a hash of their keys. The memory for all of them is allocated by open() and touched as they
/// come to be in use: a table that is opened and hardly needed costs a page, whatever it has room for.
class stamp_table {
public:
    /// \param entries at once. \return errc::out_of_memory.
    [[nodiscard]] static result<stamp_table> open(std::uint32_t entries) {
        std::uint64_t lists = fewest_lists;
        while (lists < entries) {
            lists *= 2;
        }
        stamp_table made;
        error failure;
        allocate_uninitialized(made.lists_, lists, "matcher", failure);
        allocate_uninitialized(made.entries_, entries, "matcher", failure);
        if (failure.code != errc{}) {
            return failure;
        }
        made.begin_lists(fewest_lists);
        return made;
    }

    void forget() noexcept {
        used_ = 0;
        if (++stamp_ == 0) {
            begin_lists(lists_in_use_);
        }
    }
    /// The number kept for a, b and c, `none` where it is new; nullptr where the table is full.
    [[nodiscard]] std::uint32_t* at(std::uint32_t a, std::uint32_t b, std::uint32_t c) noexcept {
        for (std::uint32_t i = first_of(list_of(a, b, c)); i != none; i = entries_[i].next) {
            entry& found = entries_[i];
            if (found.a == a && found.b == b && found.c == c) {
                return &found.value;
            }
        }
        if (used_ == entries_.size()) {
            return nullptr;
        }
        if (used_ == lists_in_use_) { // lists_ has one for each entry
            begin_lists(lists_in_use_ * 2);
            for (std::uint32_t i = 0; i < used_; ++i) {
                put_in_list(i);
            }
        }
        entries_[used_] = {a, b, c, none, none};
        put_in_list(used_);
        return &entries_[used_++].value;
    }

    [[nodiscard]] std::size_t size_bytes() const noexcept { return lists_.size_bytes() + entries_.size_bytes(); }

    static constexpr std::uint32_t none = 0xffffffffu;

private:
    static constexpr std::uint32_t fewest_lists = 64;
    struct list {
        std::uint32_t stamp; ///< of the entries; another one than stamp_: there are none
        std::uint32_t first;
    };
    struct entry {
        std::uint32_t a;
        std::uint32_t b;
        std::uint32_t c;
        std::uint32_t value;
        std::uint32_t next;
    };

    /// Makes so many lists, all of them empty.
    void begin_lists(std::uint32_t count) noexcept {
        stamp_ = 1;
        lists_in_use_ = count;
        std::fill_n(lists_.data(), count, list{0, none});
    }
    [[nodiscard]] list& list_of(std::uint32_t a, std::uint32_t b, std::uint32_t c) noexcept {
        std::uint64_t hash =
            (std::uint64_t{a} << 32 | b) * 0x9e3779b97f4a7c15u ^ (std::uint64_t{c} + 1) * 0xc2b2ae3d27d4eb4fu;
        hash ^= hash >> 29;
        return lists_[static_cast<std::uint32_t>(hash) & (lists_in_use_ - 1)];
    }
    [[nodiscard]] std::uint32_t first_of(const list& of) const noexcept { return of.stamp == stamp_ ? of.first : none; }
    void put_in_list(std::uint32_t number) noexcept {
        entry& put = entries_[number];
        list& into = list_of(put.a, put.b, put.c);
        put.next = first_of(into);
        into = {stamp_, number};
    }

    buffer<list> lists_; ///< of these, the first lists_in_use_: a power of two
    buffer<entry> entries_;
    std::uint32_t lists_in_use_ = 0;
    std::uint32_t stamp_ = 1;
    std::uint32_t used_ = 0;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// Finds the item of a state and a frame: one after the other where they are few, by a table where they are many. Its
/// functions take the same store each time.
class level_items {
public:
    level_items() = default;
    /// \param found with room for the items of a level
    explicit level_items(stamp_table found) noexcept : found_(std::move(found)) {}

    /// The last level is a new one.
    void begin() noexcept { found_.forget(); }

    /// Adds an item, or its counts to those of an item that is there, where no count is missing between them.
    void add(match_store& of, match_item item) noexcept {
        const std::uint32_t number = find(of, item);
        if (of.has_overflowed || number == match_store::none) {
            return of.has_overflowed ? void() : put(of, item);
        }
        match_item& found = of.items[number];
        if (item.low >= found.low && item.high <= found.high) {
            return;
        }
        const bool is_apart = item.low > found.high + 1 || found.low > item.high + 1;
        if (is_apart) {
            return put(of, item);
        }
        item.low = (std::min)(item.low, found.low);
        item.high = (std::max)(item.high, found.high);
        if (number > at_) { // not followed yet
            found = item;
            return;
        }
        found.state = match_store::none;
        put(of, item);
    }

    /// Calls follow() of each item, and of those that it adds.
    template <class Follow> void for_each(match_store& of, Follow&& follow) noexcept {
        for (at_ = of.last().first_item; at_ < of.items_used && !of.has_overflowed; ++at_) {
            const match_item item = of.items[at_]; // a copy: it may end while it is followed
            if (item.state != match_store::none) {
                follow(item);
            }
        }
    }

    [[nodiscard]] std::size_t size_bytes() const noexcept { return found_.size_bytes(); }

private:
    static constexpr std::uint32_t few = 8; ///< sought one after the other

    /// The newest item with this state and frame; none where there is none.
    [[nodiscard]] std::uint32_t find(match_store& of, const match_item& item) noexcept {
        const std::uint32_t first = of.last().first_item;
        if (of.items_used - first > few) {
            const std::uint32_t* const slot = found_.at(item.state, item.frame, 0);
            of.has_overflowed = of.has_overflowed || slot == nullptr;
            return slot == nullptr ? match_store::none : *slot;
        }
        for (std::uint32_t i = of.items_used; i-- > first;) {
            if (of.items[i].state == item.state && of.items[i].frame == item.frame) {
                return i;
            }
        }
        return match_store::none;
    }
    void put(match_store& of, const match_item& item) noexcept {
        const std::uint32_t first = of.last().first_item;
        if (of.items_used == of.items.size() || of.items_used - first == of.items_at_once) {
            of.has_overflowed = true;
            return;
        }
        of.items[of.items_used++] = item;
        if (of.items_used - first <= few) {
            return;
        }
        const bool is_first_of_many = of.items_used - first == few + 1;
        for (std::uint32_t i = is_first_of_many ? first : of.items_used - 1; i < of.items_used; ++i) {
            if (of.items[i].state != match_store::none) {
                put_in_table(of, i);
            }
        }
    }
    void put_in_table(match_store& of, std::uint32_t number) noexcept {
        std::uint32_t* const slot = found_.at(of.items[number].state, of.items[number].frame, 0);
        of.has_overflowed = of.has_overflowed || slot == nullptr;
        if (slot != nullptr) {
            *slot = number;
        }
    }

    stamp_table found_;    ///< (state, frame, 0) to an item
    std::uint32_t at_ = 0; ///< the item that is being followed
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

// ---- bitnet/constrain/level_links.hpp ----
// level_links: adds links to frames of the last level of a match_store, each way back once.
#ifndef BITNET_CONSTRAIN_LEVEL_LINKS_HPP
#define BITNET_CONSTRAIN_LEVEL_LINKS_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// Finds links as level_items finds items. Its functions take the same store each time.
class level_links {
public:
    level_links() = default;
    /// \param found with room for the links of a level
    explicit level_links(stamp_table found) noexcept : found_(std::move(found)) {}

    /// The last level is a new one.
    void begin() noexcept { found_.forget(); }

    /// A text of the frame's rule goes on at `back`, too.
    void add(match_store& of, std::uint32_t frame, match_item back) noexcept {
        const std::uint32_t number = find(of, frame, back);
        if (of.has_overflowed || of.links_used == of.links.size()) {
            of.has_overflowed = true;
            return;
        }
        if (number != match_store::none) {
            match_item& found = of.links[number].back;
            if (back.low <= found.high + 1 && found.low <= back.high + 1) {
                found.low = (std::min)(back.low, found.low);
                found.high = (std::max)(back.high, found.high);
                return;
            }
        }
        of.links[of.links_used] = {back, of.frames[frame].first_link, frame};
        of.frames[frame].first_link = of.links_used++;
        const std::uint32_t first = of.last().first_link;
        if (of.links_used - first <= few) {
            return;
        }
        const bool is_first_of_many = of.links_used - first == few + 1;
        for (std::uint32_t i = is_first_of_many ? first : of.links_used - 1; i < of.links_used; ++i) {
            put_in_table(of, i);
        }
    }

    [[nodiscard]] std::size_t size_bytes() const noexcept { return found_.size_bytes(); }

private:
    static constexpr std::uint32_t few = 8; ///< sought one after the other

    [[nodiscard]] std::uint32_t find(match_store& of, std::uint32_t frame, const match_item& back) noexcept {
        if (of.links_used - of.last().first_link > few) {
            const std::uint32_t* const slot = found_.at(frame, back.state, back.frame);
            of.has_overflowed = of.has_overflowed || slot == nullptr;
            return slot == nullptr ? match_store::none : *slot;
        }
        std::uint32_t i = of.frames[frame].first_link;
        while (i != match_store::none &&
               (of.links[i].back.state != back.state || of.links[i].back.frame != back.frame)) {
            i = of.links[i].next;
        }
        return i;
    }
    void put_in_table(match_store& of, std::uint32_t number) noexcept {
        const match_link& link = of.links[number];
        std::uint32_t* const slot = found_.at(link.frame, link.back.state, link.back.frame);
        of.has_overflowed = of.has_overflowed || slot == nullptr;
        if (slot != nullptr) {
            *slot = number;
        }
    }

    stamp_table found_; ///< (frame, state, caller's frame) to a link
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// Every way is followed at once (as generalised LL parsers do: calls of one rule at one position share a frame). A
/// byte makes a level: the targets of its edges, and all that is reached from there without a byte, by calls, counts
/// and ends of rules. Allocates in open() alone.
class match_readings {
public:
    match_readings() = default; ///< of nothing: see open()

    /// \pre restart() comes next \return errc::out_of_memory
    [[nodiscard]] static result<match_readings> open(std::shared_ptr<const compiled_grammar> tables,
                                                     const matcher_options& options) {
        match_readings made;
        auto store = match_store::open(options);
        if (!store) {
            return failed(store);
        }
        made.store_ = *std::move(store);
        error failure;
        allocate(made.frame_of_rule_, tables->rules.size(), "matcher", failure);
        if (failure.code != errc{}) {
            return failure;
        }
        auto items = stamp_table::open(options.items_at_once);
        auto links = stamp_table::open(options.items_at_once * 4);
        if (!items || !links) {
            return items ? failed(links) : failed(items);
        }
        made.items_ = level_items(*std::move(items));
        made.links_ = level_links(*std::move(links));
        made.tables_ = std::move(tables);
        return made;
    }

    [[nodiscard]] const compiled_grammar& tables() const noexcept { return *tables_; }
    [[nodiscard]] match_store& store() noexcept { return store_; }
    [[nodiscard]] const match_store& store() const noexcept { return store_; }
    [[nodiscard]] match_distances distances() noexcept { return {*tables_, store_}; }
    [[nodiscard]] frame_watch& watch() noexcept { return watch_; }
    [[nodiscard]] bool can_end() const noexcept { return store_.last().can_end; }
    /// Whether the last step() was refused for lack of room.
    [[nodiscard]] bool out_of_budget() const noexcept { return out_of_budget_; }
    [[nodiscard]] std::size_t memory_bytes() const noexcept {
        return store_.size_bytes() + frame_of_rule_.size_bytes() + items_.size_bytes() + links_.size_bytes();
    }

    /// Begins another text, at level 0.
    void restart() noexcept {
        store_.clear();
        out_of_budget_ = false;
        begin_level();
        links_.add(store_, frame_of(tables_->root), {none, none, 0, 0});
        close_level();
        store_.last().can_end = tables_->rules[tables_->root].is_nullable;
    }

    /// Takes a byte, on a level of its own. \return whether it is allowed; all is as it was where it is not
    [[nodiscard]] bool step(std::uint8_t byte) noexcept {
        const std::uint32_t first = store_.last().first_item;
        const std::uint32_t last = store_.items_used;
        open_level();
        for (std::uint32_t i = first; i < last && !store_.has_overflowed; ++i) {
            add_targets(store_.items[i], byte);
        }
        close_level();
        out_of_budget_ = store_.has_overflowed;
        return keep_level();
    }
    /// Back to level 0, as if no step() had been tried from there.
    void go_back() noexcept {
        store_.go_back_to(0);
        out_of_budget_ = false;
    }

    // Of a step: open_level(), add_targets() of what was there, close_level(), keep_level().

    void open_level() noexcept {
        store_.open_level();
        begin_level();
    }
    /// Adds what an item, perhaps one that is none any more, becomes by a byte.
    void add_targets(const match_item item, std::uint8_t byte) noexcept {
        if (item.state == none) {
            return;
        }
        for (const byte_edge edge : tables_->states.byte_edges(item.state)) {
            if (byte < edge.low) {
                break;
            }
            if (byte <= edge.high) {
                items_.add(store_, {edge.target, item.frame, item.low, item.high});
            }
        }
    }
    /// Follows what needs no byte, from every item of the new level.
    void close_level() noexcept {
        const automaton& states = tables_->states;
        items_.for_each(store_, [&](const match_item& item) noexcept {
            if (states.is_final(item.state)) {
                end_rule(item);
            }
            for (const special_edge& edge : states.special_edges(item.state)) {
                follow(item, edge);
            }
        });
    }
    /// Goes back where the new level has too many ways of reading, or none. \return whether it did not
    [[nodiscard]] bool keep_level() noexcept {
        const bool is_empty = store_.items_used == store_.last().first_item && !can_end();
        if (store_.has_overflowed || is_empty) {
            store_.go_back_to(store_.level - 1);
            return false;
        }
        return true;
    }

    /// The item behind an edge that counts; state none where the count is reached.
    [[nodiscard]] BITNET_ALWAYS_INLINE match_item counted(const match_item& at,
                                                          const special_edge& edge) const noexcept {
        if (edge.value == no_limit) { // what exceeds the least count is the same
            const std::uint32_t least = tables_->rules[tables_->rule_of[at.state]].least;
            return {edge.target, at.frame, (std::min)(at.low + 1, least), (std::min)(at.high + 1, least)};
        }
        if (at.low >= edge.value) {
            return {none, 0, 0, 0};
        }
        return {edge.target, at.frame, at.low + 1, (std::min)(at.high, edge.value - 1) + 1};
    }

private:
    static constexpr std::uint32_t none = match_store::none;
    static constexpr std::uint32_t no_limit = 0xffffffffu;

    void begin_level() noexcept {
        ++pass_;
        items_.begin();
        links_.begin();
    }

    void follow(const match_item& item, const special_edge& edge) noexcept {
        switch (edge.kind) {
        case special_kind::skip:
            return items_.add(store_, {edge.target, item.frame, item.low, item.high});
        case special_kind::count:
            if (const match_item next = counted(item, edge); next.state != none) {
                items_.add(store_, next);
            }
            return;
        case special_kind::call:
        case special_kind::tail_call:
            return call(item, edge);
        }
    }

    void call(const match_item& item, const special_edge& edge) noexcept {
        const std::uint32_t called = frame_of(edge.value);
        if (called == none) {
            return;
        }
        // Nothing is left to do in the caller: the called rule goes back to where that would have gone. (The links of a
        // frame of this level may still become more.)
        if (edge.kind == special_kind::tail_call && item.frame < store_.last().first_frame) {
            watch_.look(store_, item.frame);
            for (std::uint32_t i = store_.frames[item.frame].first_link; i != none && !store_.has_overflowed;
                 i = store_.links[i].next) {
                links_.add(store_, called, store_.links[i].back);
            }
            return;
        }
        links_.add(store_, called, {edge.target, item.frame, item.low, item.high});
    }

    /// The frame of a rule that is called here, made where it is the first call; none where there is no room.
    [[nodiscard]] std::uint32_t frame_of(std::uint32_t rule) noexcept {
        const std::uint32_t known = frame_of_rule_[rule];
        if (known >= store_.last().first_frame && known < store_.frames_used && store_.frames[known].rule == rule) {
            return known;
        }
        if (store_.frames_used == store_.frames.size()) {
            store_.has_overflowed = true;
            return none;
        }
        const std::uint32_t made = store_.frames_used++;
        store_.frames[made] = {rule, none, 0, endless, 0, 0};
        frame_of_rule_[rule] = made;
        items_.add(store_, {tables_->rules[rule].start, made, 0, 0});
        return made;
    }

    /// A text of the item's rule is complete. One that was called here has taken no byte: its callers skip it.
    void end_rule(const match_item& item) noexcept {
        match_frame& frame = store_.frames[item.frame];
        if (item.high < tables_->rules[frame.rule].least || item.frame >= store_.last().first_frame ||
            std::exchange(frame.popped_at, pass_) == pass_) {
            return;
        }
        watch_.look(store_, item.frame);
        for (std::uint32_t i = frame.first_link; i != none && !store_.has_overflowed; i = store_.links[i].next) {
            if (store_.links[i].back.state == none) {
                store_.last().can_end = true;
            } else {
                items_.add(store_, store_.links[i].back);
            }
        }
    }

    std::shared_ptr<const compiled_grammar> tables_;
    match_store store_;
    level_items items_;
    level_links links_;
    buffer<std::uint32_t> frame_of_rule_; ///< [rules]: the last frame of each
    frame_watch watch_;
    std::uint32_t pass_ = 0; ///< counts levels, also those that were gone back from
    bool out_of_budget_ = false;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

namespace bitnet::inline BITNET_ABI::detail {

/// Begins at level 0, and goes back there when it ends.
class match_lookahead {
public:
    explicit match_lookahead(match_readings& of) noexcept : of_(of) { make_room(of.store()); }
    match_lookahead(const match_lookahead&) = delete;
    match_lookahead& operator=(const match_lookahead&) = delete;
    ~match_lookahead() { of_.go_back(); }

    /// Takes the bytes that have to come next, because there is no other one and the text may not end, and writes them,
    /// as many as have room. \return how many
    [[nodiscard]] std::size_t take_forced(std::span<char> out) noexcept {
        const std::size_t most = (std::min)(out.size(), of_.store().levels.size() - 2);
        std::size_t count = 0;
        for (int byte = only_byte(); byte >= 0 && count < most; byte = only_byte()) {
            if (!of_.step(static_cast<std::uint8_t>(byte))) {
                break;
            }
            out[count++] = static_cast<char>(byte);
        }
        forced_level_ = of_.store().level;
        return count;
    }

    enum class verdict : unsigned char { allowed, refused, unknown };
    /// Tries `byte` as the one at `depth`, from 1 on, behind those that were forced, after those at lesser depths.
    /// \return unknown: there is too little room to tell
    [[nodiscard]] verdict try_byte(std::size_t depth, std::uint8_t byte) noexcept {
        of_.store().go_back_to(static_cast<std::uint32_t>(forced_level_ + depth - 1));
        if (of_.store().level + 2 > of_.store().levels.size()) {
            return verdict::unknown;
        }
        return of_.step(byte) ? verdict::allowed : of_.out_of_budget() ? verdict::unknown : verdict::refused;
    }
    /// Goes back behind those that were forced.
    void drop_tried() noexcept { of_.store().go_back_to(forced_level_); }

private:
    /// The byte that has to come next; below 0 where there are others, or the text may end.
    [[nodiscard]] int only_byte() const noexcept {
        const match_store& store = of_.store();
        int found = -1;
        for (std::uint32_t i = store.last().first_item; i < store.items_used && !of_.can_end(); ++i) {
            if (store.items[i].state == match_store::none) {
                continue;
            }
            for (const byte_edge edge : of_.tables().states.byte_edges(store.items[i].state)) {
                if (edge.low != edge.high || (found >= 0 && found != edge.low)) {
                    return -1;
                }
                found = edge.low;
            }
        }
        return found;
    }

    match_readings& of_;
    std::uint32_t forced_level_ = 0;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// Where a text stands in a grammar: which bytes may come next, and whether it may end. One matcher belongs to one
/// thread at a time; it shares the grammar's tables. Allocates in open() alone.
///
/// Every way of reading the text is followed at once, byte by byte (as generalised LL parsers do: calls of one rule at
/// one position share a frame), so that ambiguity and left recursion cost no more than items. What is allowed can
/// always be completed. Cost of a byte: linear in the items, one to three for JSON.
class matcher {
public:
    /// At the start of a text.
    /// \return errc::out_of_memory with the bytes asked for; errc::grammar_budget where the grammar can begin in more
    /// ways than `options` have room for; errc::invalid_argument where an option is 0.
    [[nodiscard]] static result<matcher> open(const grammar& texts, matcher_options options = {});

    /// Takes as many bytes of `text` as the grammar allows. \return how many these are; fewer than all: the next one is
    /// not allowed, or out_of_budget() says that the matcher cannot tell.
    std::size_t accept(std::string_view text) noexcept;

    /// Whether all bytes of `text` are allowed next, one after the other; takes none. False where they are more than
    /// longest_lookahead. Cost: that of accept(), and going back.
    [[nodiscard]] bool allows(std::string_view text) noexcept;

    /// Writes the bytes that have to come next, because there is no other one and the text may not end, as many as have
    /// room and no more than longest_lookahead; takes none. \return how many. Cost: that of allows().
    [[nodiscard]] std::size_t forced(std::span<char> out) noexcept {
        detail::match_lookahead ahead(readings_);
        return ahead.take_forced(out);
    }

    /// Whether the text may end here.
    [[nodiscard]] bool can_end() const noexcept { return readings_.can_end(); }
    /// Whether it has to: no byte is allowed.
    [[nodiscard]] bool is_done() const noexcept;
    /// Bytes with which the text can be completed from here: the fewest, or, where a length is counted within a string,
    /// an upper bound. 0 where it may end. Cost: linear in the frames.
    [[nodiscard]] std::uint32_t shortest_end() noexcept;

    /// The same after `text`, all bytes of which are taken as by allows(). \pre allows(text)
    [[nodiscard]] std::uint32_t shortest_end_after(std::string_view text) noexcept;

    /// Whether the last byte was refused because the ways of reading exceeded the options, not because of the grammar.
    [[nodiscard]] bool out_of_budget() const noexcept { return readings_.out_of_budget(); }
    /// Begins another text, and forgets the checkpoint.
    void restart() noexcept { readings_.restart(); }

    /// Remembers this place, instead of the one remembered before.
    void checkpoint() noexcept { readings_.store().set_mark(); }
    /// Goes back to the place that checkpoint() remembered, any number of times. \pre it did, after the last restart()
    void rewind() noexcept;
    /// Bytes that open() allocated.
    [[nodiscard]] std::size_t memory_bytes() const noexcept { return readings_.memory_bytes(); }

private:
    friend class token_constraint; // which makes masks of the readings

    [[nodiscard]] static result<void> check_options(const matcher_options& options);

    detail::match_readings readings_;
};

inline result<matcher> matcher::open(const grammar& texts, matcher_options options) {
    return detail::guarded([&]() -> result<matcher> {
        if (auto checked = check_options(options); !checked) {
            return failed(checked);
        }
        auto opened = detail::match_readings::open(detail::grammar_access::tables(texts), options);
        if (!opened) {
            return failed(opened);
        }
        matcher made;
        made.readings_ = *std::move(opened);
        made.restart();
        if (made.readings_.store().has_overflowed) {
            return detail::error_saying(errc::grammar_budget,
                                        {"a text of the grammar can begin in more ways than a matcher holds (",
                                         options.items_at_once, " items at once, ", options.frames, " frames)"});
        }
        return made;
    });
}

inline result<void> matcher::check_options(const matcher_options& options) {
    if (options.items_at_once == 0 || options.frames == 0 || options.links == 0 || options.longest_lookahead == 0 ||
        options.items < options.items_at_once) {
        return detail::error_saying(errc::invalid_argument,
                                    {"matcher_options: ", options.items, " items, ", options.items_at_once,
                                     " at once: none of the options may be 0, and the first not below the second"});
    }
    return {};
}

inline std::size_t matcher::accept(std::string_view text) noexcept {
    std::size_t taken = 0;
    while (taken < text.size()) {
        detail::make_room(readings_.store());
        if (!readings_.step(static_cast<std::uint8_t>(text[taken]))) {
            break;
        }
        readings_.store().forget_levels();
        ++taken;
    }
    return taken;
}

inline bool matcher::allows(std::string_view text) noexcept {
    if (text.size() + 2 > readings_.store().levels.size()) {
        return false;
    }
    detail::make_room(readings_.store());
    std::size_t taken = 0;
    while (taken < text.size() && readings_.step(static_cast<std::uint8_t>(text[taken]))) {
        ++taken;
    }
    readings_.store().go_back_to(0);
    return taken == text.size();
}

inline bool matcher::is_done() const noexcept {
    const detail::match_store& store = readings_.store();
    for (std::uint32_t i = store.last().first_item; i < store.items_used; ++i) {
        const std::uint32_t state = store.items[i].state;
        if (state != detail::match_store::none && !readings_.tables().states.byte_edges(state).empty()) {
            return false;
        }
    }
    return true;
}

inline std::uint32_t matcher::shortest_end() noexcept {
    if (can_end()) {
        return 0;
    }
    detail::match_distances distances = readings_.distances();
    distances.measure_all();
    return distances.from_level();
}

inline std::uint32_t matcher::shortest_end_after(std::string_view text) noexcept {
    for (const char byte : text) {
        static_cast<void>(readings_.step(static_cast<std::uint8_t>(byte)));
    }
    const std::uint32_t fewest = shortest_end();
    readings_.store().go_back_to(0);
    return fewest;
}

inline void matcher::rewind() noexcept {
    readings_.go_back();
    readings_.store().go_back_to_mark();
}

} // namespace bitnet::inline BITNET_ABI

#endif

// ---- bitnet/constrain/token_constraint.hpp ----
// token_constraint: follows the tokens of a text through a grammar, and tells which ones may come next.
#ifndef BITNET_CONSTRAIN_TOKEN_CONSTRAINT_HPP
#define BITNET_CONSTRAIN_TOKEN_CONSTRAINT_HPP

// ---- bitnet/constrain/forced_text.hpp ----
// forced_text: what a grammar leaves no choice about, as the tokens that a tokenizer makes of it.
#ifndef BITNET_CONSTRAIN_FORCED_TEXT_HPP
#define BITNET_CONSTRAIN_FORCED_TEXT_HPP

// ---- bitnet/constrain/token_tree.hpp ----
// token_tree: the bytes of many tokens as one tree, in the order in which it is walked.
#ifndef BITNET_CONSTRAIN_TOKEN_TREE_HPP
#define BITNET_CONSTRAIN_TOKEN_TREE_HPP

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// A token's id and the bytes it stands for, the first eight of which are at hand: hardly a comparison needs more.
struct token_bytes {
    static constexpr std::size_t head_bytes = 8;

    std::uint64_t head; ///< the first byte on top; 0 where there is none
    const char* data;
    std::uint32_t size;
    std::uint32_t id;

    /// \pre `bytes` has no more than 65,535
    [[nodiscard]] static token_bytes of(std::string_view bytes, std::uint32_t id) noexcept {
        std::uint64_t head = 0;
        for (std::size_t i = 0; i < head_bytes; ++i) {
            head = head << 8 | (i < bytes.size() ? static_cast<std::uint8_t>(bytes[i]) : 0u);
        }
        return {head, bytes.data(), static_cast<std::uint32_t>(bytes.size()), id};
    }
    [[nodiscard]] std::string_view bytes() const noexcept { return {data, size}; }
    /// \pre i < size
    [[nodiscard]] std::uint8_t operator[](std::size_t i) const noexcept {
        return static_cast<std::uint8_t>(i < head_bytes ? head >> (56 - 8 * i) : static_cast<std::uint8_t>(data[i]));
    }
    /// By bytes, and then by id.
    [[nodiscard]] bool operator<(const token_bytes& other) const noexcept {
        if (head != other.head) {
            return head < other.head;
        }
        const int order = bytes().compare(other.bytes());
        return order != 0 ? order < 0 : id < other.id;
    }
    /// How many bytes both begin with.
    [[nodiscard]] std::size_t common(const token_bytes& other) const noexcept {
        const std::size_t most = (std::min)(size, other.size);
        if (head != other.head) {
            return (std::min)(most, static_cast<std::size_t>(std::countl_zero(head ^ other.head)) / 8);
        }
        std::size_t same = (std::min)(most, head_bytes);
        while (same < most && data[same] == other.data[same]) {
            ++same;
        }
        return same;
    }
};

/// A byte that follows those of the nodes above it.
struct token_node {
    std::uint32_t next; ///< the node after all that are below this one
    std::uint32_t
        first_token;     ///< of the tokens that end here or below; those that end here come before the next node's
    std::uint16_t depth; ///< bytes from the start, this one included
    std::uint8_t byte;
};

/// Nodes are in preorder: the first of those below a node is the one after it. 12 bytes a node, 4 a token.
class token_tree {
public:
    /// \param sorted by bytes, none of them empty or of more than 65,535 bytes. \return errc::out_of_memory.
    [[nodiscard]] static result<token_tree> open(std::span<const token_bytes> sorted) {
        std::uint64_t nodes = 0;
        std::size_t longest = 0;
        for (std::size_t i = 0; i < sorted.size(); ++i) {
            nodes += sorted[i].size - (i == 0 ? 0 : sorted[i - 1].common(sorted[i]));
            longest = (std::max)(longest, std::size_t{sorted[i].size});
        }
        token_tree made;
        made.longest_ = longest;
        buffer<std::uint32_t> path;
        error failure;
        allocate_uninitialized(made.nodes_, nodes + 1, "token tree", failure, {nullptr, {memory_use::tables, true}});
        allocate_uninitialized(made.tokens_, sorted.size(), "token tree", failure);
        allocate_uninitialized(path, longest, "token tree", failure);
        if (failure.code != errc{}) {
            return failure;
        }
        made.fill(sorted, path.span());
        return made;
    }

    /// The nodes and one more behind them, whose first_token is the number of tokens.
    [[nodiscard]] const token_node* nodes() const noexcept { return nodes_.data(); }
    [[nodiscard]] std::uint32_t size() const noexcept { return static_cast<std::uint32_t>(nodes_.size() - 1); }
    /// Ids, by bytes.
    [[nodiscard]] std::span<const std::uint32_t> tokens() const noexcept { return tokens_.span(); }
    [[nodiscard]] std::size_t longest() const noexcept { return longest_; }

    /// The nodes below one: [first, last).
    struct place {
        std::uint32_t first;
        std::uint32_t last;
    };
    [[nodiscard]] place root() const noexcept { return {0, size()}; }
    /// Goes to the node of `byte`. \return whether there is one; `at` is as it was otherwise
    [[nodiscard]] bool enter(place& at, std::uint8_t byte) const noexcept {
        std::uint32_t n = at.first;
        while (n < at.last && nodes_[n].byte != byte) {
            n = nodes_[n].next;
        }
        const bool is_there = n < at.last;
        at = is_there ? place{n + 1, nodes_[n].next} : at;
        return is_there;
    }
    /// Whether a token ends with node n.
    [[nodiscard]] bool ends(std::uint32_t n) const noexcept {
        return nodes_[n].first_token != nodes_[n + 1].first_token;
    }
    /// The ids of tokens that end with the node that was entered, and of those that go on below it.
    [[nodiscard]] std::span<const std::uint32_t> tokens_at(place entered) const noexcept {
        return tokens_between(entered.first - 1, entered.first);
    }
    [[nodiscard]] std::span<const std::uint32_t> tokens_below(place entered) const noexcept {
        return tokens_between(entered.first, entered.last);
    }
    [[nodiscard]] std::size_t memory_bytes() const noexcept { return nodes_.size_bytes() + tokens_.size_bytes(); }

private:
    [[nodiscard]] std::span<const std::uint32_t> tokens_between(std::uint32_t first,
                                                                std::uint32_t last) const noexcept {
        const std::uint32_t from = nodes_[first].first_token;
        return tokens_.span().subspan(from, nodes_[last].first_token - from);
    }

    /// \param path room for the nodes from the root to the last one
    void fill(std::span<const token_bytes> sorted, std::span<std::uint32_t> path) noexcept {
        std::uint32_t used = 0;
        std::size_t open = 0; // nodes of the path
        const auto close = [&](std::size_t depth) {
            for (; open > depth; --open) {
                nodes_[path[open - 1]].next = used;
            }
        };
        for (std::uint32_t i = 0; i < sorted.size(); ++i) {
            const token_bytes& one = sorted[i];
            close(i == 0 ? 0 : sorted[i - 1].common(one));
            for (; open < one.size; ++open) {
                path[open] = used;
                nodes_[used++] = {0, i, static_cast<std::uint16_t>(open + 1), one[open]};
            }
            tokens_[i] = one.id;
        }
        close(0);
        nodes_[used] = {used, static_cast<std::uint32_t>(sorted.size()), 0, 0};
    }

    buffer<token_node> nodes_;
    buffer<std::uint32_t> tokens_;
    std::size_t longest_ = 0;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

// ---- bitnet/constrain/token_trie.hpp ----
// token_trie: what grammars need to know of a vocabulary: the bytes of all its tokens, and which ones end a text.
#ifndef BITNET_CONSTRAIN_TOKEN_TRIE_HPP
#define BITNET_CONSTRAIN_TOKEN_TRIE_HPP

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <string_view>
#include <vector>

namespace bitnet::inline BITNET_ABI {

namespace detail {

struct trie_access;

/// How many characters a text has of those that a JSON string holds as they are, which are all but quotes, backslashes
/// and control characters; 0 where it has others, or a part of one.
[[nodiscard]] inline std::size_t plain_characters(std::string_view text) noexcept {
    std::size_t count = 0;
    for (std::size_t at = 0; at < text.size(); ++count) {
        const decoded_code_point next = first_code_point(text.substr(at));
        if (next.value == invalid_code_point || next.value < 0x20 || next.value == U'"' || next.value == U'\\') {
            return 0;
        }
        at += next.size;
    }
    return count;
}

} // namespace detail

/// The tokens of one vocabulary, sorted out once for all grammars. Control and unknown tokens are no text; the stop
/// tokens end one. Immutable: any number of threads and of constraints may use it at a time. Borrows the tokenizer,
/// which must outlive it. About 5 MB and 20 ms for LLaMA-3's 128,256 tokens.
class token_trie {
public:
    /// \return errc::out_of_memory.
    [[nodiscard]] static result<token_trie> open(const tokenizer& text) {
        return detail::guarded([&] { return make(text); });
    }
    static result<token_trie> open(tokenizer&&) = delete; // would dangle

    [[nodiscard]] const tokenizer& text() const noexcept { return *text_; }
    /// Tokens of the vocabulary, control tokens included.
    [[nodiscard]] std::size_t vocabulary() const noexcept { return vocabulary_; }
    [[nodiscard]] std::size_t memory_bytes() const noexcept {
        return all_.memory_bytes() + special_.memory_bytes() + long_.memory_bytes() + plain_bits_.size_bytes();
    }

private:
    friend struct detail::trie_access;

    /// Plain texts are told apart by their characters up to this many; longer ones have a tree of their own.
    static constexpr std::size_t most_characters = 32;

    [[nodiscard]] static result<token_trie> make(const tokenizer& text) {
        token_trie made;
        made.text_ = &text;
        made.vocabulary_ = text.vocabulary_size();
        made.words_ = (made.vocabulary_ + 63) / 64;
        error failure;
        detail::allocate(made.plain_bits_, (most_characters + 2) * std::uint64_t{made.words_}, "token trie", failure);
        if (failure.code != errc{}) {
            return failure;
        }
        const std::vector<kind> kinds = made.sort_out(text);
        const auto all_sorted = sorted_tokens(text);
        if (!all_sorted) {
            return failed(all_sorted);
        }
        const std::span<const detail::token_bytes> sorted = all_sorted->span();
        std::vector<detail::token_bytes> special;
        std::vector<detail::token_bytes> longer;
        for (const detail::token_bytes& one : sorted) {
            if (kinds[one.id] != kind::plain) {
                (kinds[one.id] == kind::special ? special : longer).push_back(one);
            }
        }
        made.add_shorter();
        for (const auto& [tree, tokens] :
             {tree_of{&made.all_, sorted}, tree_of{&made.special_, special}, tree_of{&made.long_, longer}}) {
            auto opened = detail::token_tree::open(tokens);
            if (!opened) {
                return failed(opened);
            }
            *tree = *std::move(opened);
        }
        return made;
    }
    struct tree_of {
        detail::token_tree* tree;
        std::span<const detail::token_bytes> tokens;
    };
    enum class kind : std::uint8_t { plain, longer, special };

    /// Calls use(bytes, id) of every token that is text.
    template <class Use> static void for_each_text(const tokenizer& text, Use&& use) {
        for (std::uint32_t id = 0; id < text.vocabulary_size(); ++id) {
            const std::string_view bytes = text.bytes_of(static_cast<token>(id));
            if (!bytes.empty() && !text.is_special(static_cast<token>(id)) && !text.is_stop(static_cast<token>(id))) {
                use(bytes, id);
            }
        }
    }
    /// Sets the bits of plain texts. \return the kind of each token
    [[nodiscard]] std::vector<kind> sort_out(const tokenizer& text) {
        std::vector<kind> kinds(vocabulary_, kind::special);
        for_each_text(text, [&](std::string_view bytes, std::uint32_t id) {
            const std::size_t characters = detail::plain_characters(bytes);
            if (characters == 0) {
                return;
            }
            kinds[id] = characters > most_characters ? kind::longer : kind::plain;
            const std::size_t row = (std::min)(characters, most_characters + 1);
            plain_bits_[row * words_ + id / 64] |= std::uint64_t{1} << id % 64;
            ++plain_counts_[row];
        });
        return kinds;
    }
    /// By their bytes: the first two of which leave little to be sorted.
    [[nodiscard]] static result<buffer<detail::token_bytes>> sorted_tokens(const tokenizer& text) {
        const auto start_of = [](std::string_view bytes) {
            return static_cast<std::uint8_t>(bytes[0]) * std::size_t{256} +
                   (bytes.size() > 1 ? static_cast<std::uint8_t>(bytes[1]) : 0u);
        };
        std::vector<std::uint32_t> places(std::size_t{65536} + 1); // of tokens with each start: where they begin
        for_each_text(text, [&](std::string_view bytes, std::uint32_t) { ++places[start_of(bytes) + 1]; });
        std::partial_sum(places.begin(), places.end(), places.begin());
        auto sorted = buffer<detail::token_bytes>::allocate_uninitialized(places.back(), "token trie",
                                                                          {nullptr, {memory_use::temporary, true}});
        if (!sorted) {
            return failed(sorted);
        }
        for_each_text(text, [&](std::string_view bytes, std::uint32_t id) {
            (*sorted)[places[start_of(bytes)]++] = detail::token_bytes::of(bytes, id);
        });
        auto first = sorted->span().begin();
        for (const std::uint32_t end : places) { // by now: where they end
            const auto last = sorted->span().begin() + static_cast<std::ptrdiff_t>(end);
            std::sort(first, last);
            first = last;
        }
        return sorted;
    }

    /// Row k of plain_bits_ has the tokens of k characters; from here on, of k or fewer.
    void add_shorter() noexcept {
        for (std::size_t row = 1; row < plain_counts_.size(); ++row) {
            plain_counts_[row] += plain_counts_[row - 1];
            for (std::size_t i = 0; i < words_; ++i) {
                plain_bits_[row * words_ + i] |= plain_bits_[(row - 1) * words_ + i];
            }
        }
    }

    const tokenizer* text_ = nullptr;
    std::size_t vocabulary_ = 0;
    std::size_t words_ = 0; ///< of 64 tokens
    detail::token_tree all_;
    detail::token_tree special_; ///< those that are no plain text
    detail::token_tree long_;    ///< those that are plain text of more than most_characters
    buffer<std::uint64_t> plain_bits_;
    std::array<std::uint32_t, most_characters + 2> plain_counts_{};
};

namespace detail {

/// How masks are made of a trie.
struct trie_access {
    static constexpr std::size_t most_characters = token_trie::most_characters;

    [[nodiscard]] static const token_tree& all(const token_trie& of) noexcept { return of.all_; }
    [[nodiscard]] static const token_tree& special(const token_trie& of) noexcept { return of.special_; }
    [[nodiscard]] static const token_tree& longer(const token_trie& of) noexcept { return of.long_; }
    [[nodiscard]] static std::size_t words(const token_trie& of) noexcept { return of.words_; }
    /// Calls use(id) of each token that `bytes` begin with, and then of each that begins with them and is longer.
    template <class Use> static void for_each_beginning(const token_trie& of, std::string_view bytes, Use&& use) {
        token_tree::place at = of.all_.root();
        for (const char byte : bytes) {
            if (!of.all_.enter(at, static_cast<std::uint8_t>(byte))) {
                return;
            }
            for (const std::uint32_t id : of.all_.tokens_at(at)) {
                use(id);
            }
        }
        for (const std::uint32_t id : of.all_.tokens_below(at)) {
            use(id);
        }
    }
    /// Plain texts of at most so many characters, all of them where these are more than most_characters: as bits, and
    /// how many.
    [[nodiscard]] static std::span<const std::uint64_t> plain(const token_trie& of, std::size_t characters) noexcept {
        const std::size_t row = (std::min)(characters, most_characters + 1);
        return of.plain_bits_.span().subspan(row * of.words_, of.words_);
    }
    [[nodiscard]] static std::uint32_t plain_count(const token_trie& of, std::size_t characters) noexcept {
        return of.plain_counts_[(std::min)(characters, most_characters + 1)];
    }
};

} // namespace detail

} // namespace bitnet::inline BITNET_ABI

#endif

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace bitnet::inline BITNET_ABI {

/// Who cuts the text into tokens where the grammar allows one only.
enum class forced_text : unsigned char {
    /// The tokenizer does, as it would a text that is read, which is what models are trained with. These tokens need no
    /// logits, and a session runs several of them together.
    canonical,
    /// The model does: every token is chosen among all that are allowed.
    off,
};

namespace detail {

/// Finds these tokens for one constraint. Allocates in open() only.
///
/// Text that is forced is encoded with the tokens before it, whose kind of characters decides where words begin. Of its
/// end as many tokens are left to the model as may be parts of longer ones: those from the first of the last
/// `most_open` on with which a token begins that goes on behind the forced text, as the grammar allows.
class forced_tokens {
public:
    /// Bytes that are looked at for one find(), and those of them that come before: no piece of a text of 64 bytes is
    /// so long that encoding it allocates.
    static constexpr std::size_t window = 64;
    static constexpr std::size_t most_before = 16;
    static constexpr std::size_t most_open = 4;

    /// Bytes that a matcher has to look ahead.
    [[nodiscard]] static std::uint32_t lookahead(const token_trie& trie) noexcept {
        return static_cast<std::uint32_t>(window + trie_access::all(trie).longest());
    }

    forced_tokens() = default;
    /// Throws std::bad_alloc.
    explicit forced_tokens(const token_trie& trie) : trie_(&trie) { tokens_.reserve(window); }

    /// At the start of a text.
    void restart() noexcept {
        forget();
        recent_.fill(no_token);
    }
    /// The text goes on with this token.
    void take(token id) noexcept {
        std::copy(recent_.begin() + 1, recent_.end(), recent_.begin());
        recent_.back() = id;
        if (at_ < tokens_.size() && tokens_[at_] == id) {
            ++at_;
        } else {
            at_ = tokens_.size();
        }
        is_found_ = at_ < tokens_.size();
    }
    /// The tokens that come next, as many as are certain. \pre no byte is to come that `of` does not know
    [[nodiscard]] std::span<const token> find(match_readings& of) noexcept {
        if (!is_found_) {
            forget();
            look(of);
            is_found_ = true;
        }
        return std::span(tokens_).subspan(at_);
    }

private:
    void forget() noexcept {
        tokens_.clear();
        at_ = 0;
        is_found_ = false;
    }

    void look(match_readings& of) noexcept {
        const std::size_t before = put_before();
        match_lookahead ahead(of);
        const std::size_t size = ahead.take_forced(std::span(text_).subspan(before));
        if (size != 0 && encode(before, size)) {
            const bool is_cut = before + size == window;
            tokens_.resize(certain({text_.data() + before, size}, is_cut, ahead));
        } else {
            tokens_.clear();
        }
    }

    /// Writes the bytes of the last tokens. \return how many
    std::size_t put_before() noexcept {
        std::size_t first = recent_.size();
        std::size_t size = 0;
        while (first != 0 && recent_[first - 1] != no_token) {
            const std::size_t more = trie_->text().bytes_of(recent_[first - 1]).size();
            if (size + more > most_before) {
                break;
            }
            size += more;
            --first;
        }
        char* to = text_.data();
        for (; first < recent_.size(); ++first) {
            const std::string_view bytes = trie_->text().bytes_of(recent_[first]);
            to = std::copy(bytes.begin(), bytes.end(), to);
        }
        return size;
    }

    /// The tokens of text_[before, before + size). \return false where they are not what can be chosen
    [[nodiscard]] bool encode(std::size_t before, std::size_t size) noexcept {
        if (!encode_from(0, before + size)) {
            return false;
        }
        std::size_t at = 0;
        std::size_t first = 0;
        while (at < before && first < tokens_.size()) {
            at += trie_->text().bytes_of(tokens_[first++]).size();
        }
        tokens_.erase(tokens_.begin(), tokens_.begin() + static_cast<std::ptrdiff_t>(first));
        return at == before || encode_from(before, size); // a token of both has been cut already
    }
    [[nodiscard]] bool encode_from(std::size_t first, std::size_t size) noexcept {
        const std::string_view text(text_.data() + first, size);
        const tokenizer& by = trie_->text();
        tokens_.clear();
        if (!by.encode(text, tokens_, {.follows_text = true})) {
            return false;
        }
        std::size_t at = 0;
        for (const token id : tokens_) {
            const std::string_view bytes = by.bytes_of(id);
            if (bytes.empty() || by.is_special(id) || by.is_stop(id) || text.substr(at, bytes.size()) != bytes) {
                return false;
            }
            at += bytes.size();
        }
        return at == size;
    }

    /// How many of the tokens of `text`, which is what `ahead` took, nothing that follows it can change.
    /// \param is_cut it is a part of what is forced
    [[nodiscard]] std::size_t certain(std::string_view text, bool is_cut, match_lookahead& ahead) const noexcept {
        const std::size_t count = tokens_.size();
        const std::size_t open = (std::min)(count, most_open);
        if (is_cut && open != count) {
            return count - open;
        }
        std::size_t at = text.size();
        for (std::size_t i = count - open; i < count; ++i) {
            at -= trie_->text().bytes_of(tokens_[i]).size();
        }
        for (std::size_t i = count - open; i < count; ++i) {
            if (goes_on(text.substr(at), ahead)) {
                return i;
            }
            at += trie_->text().bytes_of(tokens_[i]).size();
        }
        return count;
    }
    /// Whether a token begins with `bytes`, is longer and allowed behind them.
    [[nodiscard]] bool goes_on(std::string_view bytes, match_lookahead& ahead) const noexcept {
        const token_tree& tree = trie_access::all(*trie_);
        token_tree::place below = tree.root();
        for (const char byte : bytes) {
            if (!tree.enter(below, static_cast<std::uint8_t>(byte))) {
                return false;
            }
        }
        const token_node* const nodes = tree.nodes();
        for (std::uint32_t n = below.first; n < below.last;) {
            const auto tried = ahead.try_byte(nodes[n].depth - bytes.size(), nodes[n].byte);
            if (tried == match_lookahead::verdict::unknown ||
                (tried == match_lookahead::verdict::allowed && tree.ends(n))) {
                ahead.drop_tried();
                return true;
            }
            n = tried == match_lookahead::verdict::allowed ? n + 1 : nodes[n].next;
        }
        ahead.drop_tried();
        return false;
    }

    const token_trie* trie_ = nullptr;
    std::array<token, 4> recent_{no_token, no_token, no_token, no_token}; ///< the last ones, the latest at the end
    std::array<char, window> text_{};
    std::vector<token> tokens_;
    std::size_t at_ = 0; ///< of these were taken
    bool is_found_ = false;
};

} // namespace detail

} // namespace bitnet::inline BITNET_ABI

#endif

// ---- bitnet/constrain/mask_cache.hpp ----
// mask_cache: masks that were made before, found by what they depend on.
#ifndef BITNET_CONSTRAIN_MASK_CACHE_HPP
#define BITNET_CONSTRAIN_MASK_CACHE_HPP

// ---- bitnet/constrain/mask_key.hpp ----
// mask_key: what of a matcher's state a mask can depend on, as numbers that are equal where masks are.
#ifndef BITNET_CONSTRAIN_MASK_KEY_HPP
#define BITNET_CONSTRAIN_MASK_KEY_HPP

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace bitnet::inline BITNET_ABI::detail {

/// The items that a byte can follow, and the links of their frames, and of the frames of these, depth by depth: a mask
/// depends on as many depths as frames were left while it was made. Counters matter only near their bounds.
class mask_key {
public:
    static constexpr std::size_t most_words = 128;
    static constexpr std::size_t most_depths = 8;

    /// \param longest_token bytes. \return errc::out_of_memory.
    [[nodiscard]] static result<mask_key> open(const compiled_grammar& tables, std::size_t longest_token) {
        mask_key made;
        made.longest_ = static_cast<std::uint32_t>(longest_token);
        error failure;
        allocate(made.most_, tables.rules.size(), "grammar mask", failure);
        if (failure.code != errc{}) {
            return failure;
        }
        for (std::uint32_t state = 0; state < tables.states.size(); ++state) {
            for (const special_edge& edge : tables.states.special_edges(state)) {
                if (edge.kind == special_kind::count) {
                    made.most_[tables.rule_of[state]] = edge.value;
                }
            }
        }
        return made;
    }

    /// Reads the place where the matcher is, and makes it watch which frames are left from now on.
    /// \pre at level 0
    void read(match_readings& of) noexcept {
        match_store& store = of.store();
        make_room(store);
        size_ = 0;
        depths_ = 0;
        known_ = 0;
        is_whole_ = true;
        of.watch().forget(store.frames.span());
        put(of.can_end() ? 1 : 0);
        for (std::uint32_t i = store.levels[0].first_item; i < store.items_used; ++i) {
            const match_item& item = store.items[i];
            if (item.state != match_store::none && !of.tables().states.byte_edges(item.state).empty()) {
                put_item(of, item);
            }
        }
        std::size_t expanded = 0;
        while (is_whole_ && depths_ < most_depths) {
            ends_[depths_] = size_;
            frames_at_[depths_++] = known_;
            for (const std::size_t end = known_; expanded < end; ++expanded) {
                put_links(of, frames_[expanded]);
            }
        }
        of.watch().start(store.frames_used);
    }

    /// How many depths there are keys for: at least one, if the items are not too many.
    [[nodiscard]] std::size_t depths() const noexcept { return depths_; }
    /// The key of a mask that depends on the links of frames up to `depth`. \pre depth < depths()
    [[nodiscard]] std::span<const std::uint32_t> key(std::size_t depth) const noexcept {
        return std::span(words_).first(ends_[depth]);
    }

    /// The depth of what was looked at since read(), which ends; depths() where it is beyond all keys.
    [[nodiscard]] std::size_t looked_at(match_readings& of) const noexcept {
        const std::uint32_t frames = of.watch().stop();
        if (frames == 0) {
            return 0;
        }
        std::size_t depth = 0;
        while (depth < depths_ && frames > frames_at_[depth]) {
            ++depth;
        }
        return (std::min)(depth + 1, depths_);
    }

    [[nodiscard]] std::size_t memory_bytes() const noexcept { return most_.size_bytes(); }

private:
    static constexpr std::uint32_t most_frames = frame_watch::most;
    static constexpr std::uint32_t root = 0xffffffffu;

    void put(std::uint32_t word) noexcept {
        is_whole_ = is_whole_ && size_ < words_.size();
        if (is_whole_) {
            words_[size_++] = word;
        }
    }
    void put_item(match_readings& of, const match_item& item) noexcept {
        put(item.state);
        if (item.state == root) {
            return;
        }
        put(number_of(of, item.frame));
        const std::uint32_t rule = of.tables().rule_of[item.state];
        if (most_[rule] != 0) {
            put(clamped(item.low, of.tables().rules[rule].least, most_[rule]));
            put(clamped(item.high, of.tables().rules[rule].least, most_[rule]));
        }
    }
    void put_links(match_readings& of, std::uint32_t frame) noexcept {
        const match_store& store = of.store();
        put(store.frames[frame].rule);
        for (std::uint32_t i = store.frames[frame].first_link; i != match_store::none && is_whole_;
             i = store.links[i].next) {
            put_item(of, store.links[i].back);
        }
        put(root - 1); // no state has that number
    }
    /// What a frame is called: a number in the order in which they are met.
    [[nodiscard]] std::uint32_t number_of(match_readings& of, std::uint32_t frame) noexcept {
        match_frame& met = of.store().frames[frame];
        if (const std::uint32_t number = of.watch().number(met); number != frame_watch::unknown) {
            return number;
        }
        is_whole_ = is_whole_ && known_ < most_frames;
        if (!is_whole_) {
            return 0;
        }
        frames_[known_] = frame;
        of.watch().set_number(met, known_);
        return known_++;
    }
    /// A count, the same for all from which one token cannot tell the bounds apart.
    [[nodiscard]] std::uint32_t clamped(std::uint32_t count, std::uint32_t least, std::uint32_t most) const noexcept {
        const bool is_free = most == 0xffffffffu || (count <= most && most - count > longest_ + 1);
        if (is_free && count >= least) {
            return 0xffffffffu;
        }
        return is_free && least - count > longest_ + 1 ? 0xfffffffeu : count;
    }

    buffer<std::uint32_t> most_; ///< [rules]: the highest count; 0 where nothing is counted
    std::uint32_t longest_ = 0;
    std::array<std::uint32_t, most_words> words_;
    std::array<std::uint32_t, most_frames> frames_;
    std::array<std::size_t, most_depths> ends_;        ///< of the key of each depth
    std::array<std::uint32_t, most_depths> frames_at_; ///< how many frames are known there
    std::size_t size_ = 0;
    std::size_t depths_ = 0;
    std::uint32_t known_ = 0;
    bool is_whole_ = true;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

// ---- bitnet/constrain/mask_walk.hpp ----
// mask_walk: which tokens of a vocabulary a matcher allows, by one walk of the tree of their bytes.
#ifndef BITNET_CONSTRAIN_MASK_WALK_HPP
#define BITNET_CONSTRAIN_MASK_WALK_HPP

// ---- bitnet/constrain/state_rows.hpp ----
// state_rows: where each byte leads from a state, as rows of 256, of the states that are in use.
#ifndef BITNET_CONSTRAIN_STATE_ROWS_HPP
#define BITNET_CONSTRAIN_STATE_ROWS_HPP

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace bitnet::inline BITNET_ABI::detail {

/// Whether any plain text (see plain_characters) can follow a state.
enum class plain_kind : std::uint8_t {
    unknown,
    none,
    limited,      ///< each character is counted, up to a count of `most`
    fixed,        ///< `most` characters
    endless_text, ///< as much as there is
};
struct plain_text {
    plain_kind kind = plain_kind::unknown;
    std::uint32_t most = 0;
    std::uint32_t to_end = 0; ///< the most bytes from behind a character to the end of the rule
    bool may_leave = false;   ///< whether the rule may end behind a character
};

/// Rows are made when they are asked for and kept until another state needs their place. 256 KiB.
class state_rows {
public:
    static constexpr std::uint32_t dead = 0xffffffffu;        ///< no edge
    static constexpr std::uint32_t needs_level = 0x80000000u; ///< in a target: not a single state with edges alone

    /// Borrows the tables. \return errc::out_of_memory.
    [[nodiscard]] static result<state_rows> open(const compiled_grammar& tables) {
        state_rows made;
        made.tables_ = &tables;
        error failure;
        allocate_uninitialized(made.rows_, std::uint64_t{most} * 256, "grammar mask", failure);
        allocate_uninitialized(made.held_, most, "grammar mask", failure);
        allocate(made.plain_, tables.states.size(), "grammar mask", failure);
        allocate(made.visited_, tables.states.size(), "grammar mask", failure);
        if (failure.code != errc{}) {
            return failure;
        }
        std::fill_n(made.held_.data(), most, none);
        return made;
    }

    /// Where each byte leads from a state. Valid until the next call.
    [[nodiscard]] const std::uint32_t* of(std::uint32_t state) noexcept {
        const std::uint32_t at = state % most;
        std::uint32_t* const row = rows_.data() + std::size_t{at} * 256;
        if (held_[at] != state) {
            fill(state, row);
            held_[at] = state;
        }
        return row;
    }
    /// Whether more than bytes leads on from a state: a call, a count or the end of its rule.
    [[nodiscard]] bool needs_closing(std::uint32_t state) const noexcept {
        return tables_->states.is_final(state) || !tables_->states.special_edges(state).empty();
    }
    /// Whether a byte leads on that plain text begins with.
    [[nodiscard]] bool begins_plain(std::uint32_t state) noexcept {
        const std::uint32_t* const row = of(state);
        return std::any_of(std::begin(edges), std::end(edges), [&](const plain_edge& edge) {
            return edge.from == 0 && std::any_of(row + edge.low, row + edge.high + 1u,
                                                 [](std::uint32_t target) { return target != dead; });
        });
    }
    [[nodiscard]] plain_text plain(std::uint32_t state) noexcept {
        if (plain_[state].kind == plain_kind::unknown) {
            plain_[state] = plain_search(*this).run(state);
            if (plain_[state].kind == plain_kind::none) {
                plain_[state] = plain_search(*this).run_layers(state);
            }
        }
        return plain_[state];
    }

    [[nodiscard]] std::size_t memory_bytes() const noexcept {
        return rows_.size_bytes() + held_.size_bytes() + plain_.size_bytes() + visited_.size_bytes();
    }

private:
    static constexpr std::uint32_t most = 256;
    static constexpr std::uint32_t none = 0xffffffffu;

    /// The automaton of one plain character: states 0, and what is expected after the first byte.
    struct plain_edge {
        std::uint8_t from;
        std::uint8_t low;
        std::uint8_t high;
        std::uint8_t to;
    };
    static constexpr plain_edge edges[] = {
        {0, 0x20, 0x21, 0}, {0, 0x23, 0x5b, 0}, {0, 0x5d, 0x7f, 0}, {0, 0xc2, 0xdf, 1}, {0, 0xe0, 0xe0, 4},
        {0, 0xe1, 0xec, 2}, {0, 0xed, 0xed, 5}, {0, 0xee, 0xef, 2}, {0, 0xf0, 0xf0, 6}, {0, 0xf1, 0xf3, 3},
        {0, 0xf4, 0xf4, 7}, {1, 0x80, 0xbf, 0}, {2, 0x80, 0xbf, 1}, {3, 0x80, 0xbf, 2}, {4, 0xa0, 0xbf, 1},
        {5, 0x80, 0x9f, 1}, {6, 0x90, 0xbf, 2}, {7, 0x80, 0x8f, 2},
    };

    void fill(std::uint32_t state, std::uint32_t* row) const noexcept {
        std::fill_n(row, 256, dead);
        for (const byte_edge edge : tables_->states.byte_edges(state)) {
            const std::uint32_t target = needs_closing(edge.target) ? edge.target | needs_level : edge.target;
            for (std::size_t byte = edge.low; byte <= edge.high; ++byte) {
                row[byte] = row[byte] == dead || row[byte] == target ? target : needs_level; // several: the matcher
            }
        }
    }

    /// Follows plain text from a state of a rule on, through all pairs of a state of `edges` and one of the rule.
    class plain_search {
    public:
        explicit plain_search(state_rows& all) noexcept : all_(all), states_(all.tables_->states) {}

        [[nodiscard]] plain_text run(std::uint32_t state) noexcept {
            bool is_plain = add(0, state);
            for (std::size_t at = 0; is_plain && at < static_cast<std::size_t>(size_); ++at) {
                for (const plain_edge& edge : edges) {
                    is_plain = is_plain && (edge.from != pairs_[at].plain || follow(edge, pairs_[at].state));
                }
            }
            clear_visited();
            for (std::size_t i = 0; i < static_cast<std::size_t>(size_); ++i) {
                if (is_plain && found_.kind == plain_kind::endless_text && pairs_[i].plain == 0) {
                    all_.plain_[pairs_[i].state] = found_; // any text from there is one from here
                }
            }
            return is_plain ? found_ : plain_text{plain_kind::none, 0, 0, false};
        }

        /// The same where plain text ends after some characters, whichever they are: layer by layer, each of them the
        /// states after one character more.
        [[nodiscard]] plain_text run_layers(std::uint32_t state) noexcept {
            is_layered_ = true;
            bool is_plain = add(0, state);
            for (found_.most = 0; is_plain && found_.most <= most_layers; ++found_.most) {
                const auto begins = [this](const pair& one) { return all_.begins_plain(one.state); };
                if (std::none_of(pairs_.begin(), pairs_.begin() + size_, begins)) {
                    clear_visited();
                    found_.kind = found_.most == 0 ? plain_kind::none : plain_kind::fixed;
                    return found_;
                }
                next_size_ = 0;
                for (std::size_t at = 0; is_plain && at < static_cast<std::size_t>(size_); ++at) {
                    for (const plain_edge& edge : edges) {
                        is_plain = is_plain && (edge.from != pairs_[at].plain || follow(edge, pairs_[at].state));
                    }
                }
                clear_visited();
                size_ = 0;
                for (std::size_t i = 0; i < next_size_; ++i) {
                    is_plain = is_plain && add(0, next_[i]);
                }
            }
            clear_visited();
            return {plain_kind::none, 0, 0, false};
        }

    private:
        static constexpr std::size_t most_pairs = 2048;
        static constexpr std::uint32_t most_layers = 1024; ///< no token is longer
        struct pair {
            std::uint32_t state;
            std::uint32_t plain;
        };

        [[nodiscard]] bool add(std::uint32_t plain, std::uint32_t state) noexcept {
            std::uint8_t& visited = all_.visited_[state];
            const auto bit = static_cast<std::uint8_t>(1u << plain);
            if ((visited & bit) != 0) {
                return true;
            }
            if (size_ == std::ptrdiff_t{most_pairs}) {
                return false;
            }
            visited = static_cast<std::uint8_t>(visited | bit);
            pairs_[static_cast<std::size_t>(size_++)] = {state, plain};
            return true;
        }
        /// All bytes of an edge of plain text, each by one edge of the rule.
        [[nodiscard]] bool follow(const plain_edge& edge, std::uint32_t state) noexcept {
            unsigned next = edge.low;
            for (const byte_edge& way : states_.byte_edges(state)) {
                if (way.high < edge.low || way.low > edge.high) {
                    continue;
                }
                if (way.low > next || (way.low < next && next != edge.low) || !arrive(edge.to, way.target)) {
                    return false;
                }
                next = way.high + 1u;
            }
            return next > edge.high;
        }
        [[nodiscard]] bool arrive(std::uint32_t plain, std::uint32_t target) noexcept {
            const std::span<const special_edge> special = states_.special_edges(target);
            found_.may_leave = found_.may_leave || states_.is_final(target);
            if (plain != 0) {
                return special.empty() && add(plain, target);
            }
            if (is_layered_) {
                return special.empty() && add_next(target);
            }
            found_.to_end = (std::max)(found_.to_end, all_.tables_->to_end[target]);
            if (!states_.byte_edges(target).empty()) {
                return special.empty() && is_now(plain_kind::endless_text, none) && add(0, target);
            }
            if (special.size() != 1 || special[0].kind != special_kind::count) {
                return false;
            }
            const plain_kind kind = special[0].value == none ? plain_kind::endless_text : plain_kind::limited;
            return is_now(kind, special[0].value) && add(0, special[0].target);
        }
        [[nodiscard]] bool add_next(std::uint32_t state) noexcept {
            found_.to_end = (std::max)(found_.to_end, all_.tables_->to_end[state]);
            if (std::find(next_.begin(), next_.begin() + static_cast<std::ptrdiff_t>(next_size_), state) !=
                next_.begin() + static_cast<std::ptrdiff_t>(next_size_)) {
                return true;
            }
            if (next_size_ == next_.size()) {
                return false;
            }
            next_[next_size_++] = state;
            return true;
        }
        void clear_visited() noexcept {
            for (std::size_t i = 0; i < static_cast<std::size_t>(size_); ++i) {
                all_.visited_[pairs_[i].state] = 0;
            }
        }
        [[nodiscard]] bool is_now(plain_kind kind, std::uint32_t highest) noexcept {
            const bool is_same = found_.kind == plain_kind::unknown || (found_.kind == kind && found_.most == highest);
            found_.kind = kind;
            found_.most = highest;
            return is_same;
        }

        state_rows& all_;
        const automaton& states_;
        plain_text found_;
        std::array<pair, most_pairs> pairs_; ///< 16 KiB of stack
        std::ptrdiff_t size_ = 0;
        std::array<std::uint32_t, 16> next_; ///< states of the next layer
        std::size_t next_size_ = 0;
        bool is_layered_ = false;
    };

    const compiled_grammar* tables_ = nullptr;
    buffer<std::uint32_t> rows_;
    buffer<std::uint32_t> held_; ///< whose rows these are
    buffer<plain_text> plain_;   ///< [states]
    buffer<std::uint8_t> visited_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

namespace bitnet::inline BITNET_ABI::detail {

/// What came of a walk.
struct walked_mask {
    std::uint32_t count = 0;     ///< tokens that are allowed, without those that end the text
    std::uint32_t most_left = 0; ///< the most bytes that one of them leaves to the end, or to that of an older frame
    bool is_whole = true;        ///< false: the ways of reading, or the work, exceeded their limits
};

/// Walks the trie with a matcher. As long as there is one way of reading, and no rule is called or left, a byte is one
/// look into a row of 256; otherwise the matcher takes it, on a level of its own. Tokens that are plain text are added
/// as a whole where plain text is allowed. Working memory of one constraint; allocates in open() only.
class mask_walk {
public:
    static constexpr std::uint32_t any_end = 0xffffffffu;
    /// Nodes and items that are looked at for one mask: some 50 ms.
    static constexpr std::uint64_t most_work = 8'000'000;

    /// \return errc::out_of_memory.
    [[nodiscard]] static result<mask_walk> open(const compiled_grammar& tables, const token_trie& trie) {
        mask_walk made;
        error failure;
        allocate_uninitialized(made.places_, trie_access::all(trie).longest() + 1, "grammar mask", failure);
        allocate_uninitialized(made.path_, trie_access::all(trie).longest() + 1, "grammar mask", failure);
        if (failure.code != errc{}) {
            return failure;
        }
        auto rows = state_rows::open(tables);
        if (!rows) {
            return failed(rows);
        }
        made.rows_ = *std::move(rows);
        return made;
    }

    /// Sets the bits of all tokens that are allowed next and after which no more than `most_left` bytes are missing.
    /// \param most_left any_end: as many as there may be; bytes_to_end of the frames is set to 0 then, and otherwise
    /// has to be what the matcher measured. \param bits all 0, one for each token \pre the matcher is at level 0
    [[nodiscard]] walked_mask run(match_readings& of, const token_trie& trie, std::uint32_t most_left,
                                  std::span<std::uint64_t> bits) noexcept {
        begin(of, most_left, bits);
        if (add_plain(trie)) {
            walk(trie_access::special(trie));
        } else {
            walk(trie_access::all(trie));
        }
        store_->go_back_to(0);
        return made_;
    }

    [[nodiscard]] std::size_t memory_bytes() const noexcept {
        return places_.size_bytes() + path_.size_bytes() + rows_.memory_bytes();
    }

private:
    static constexpr std::uint32_t none = 0xffffffffu;
    static constexpr std::uint32_t unknown = 0xffffffffu;

    /// Where a text stands: at one or two items whose states have nothing but edges over bytes, or at those of a level.
    struct place {
        match_item first;    ///< state none: nothing can follow, or see is_level
        match_item second;   ///< state none: there is none
        std::uint32_t level; ///< whose frames there are
        std::uint32_t left;  ///< bytes to the end; unknown: those of the first item
        bool is_level;
        std::uint32_t behind = unknown; ///< of them, those behind the rule of the only item, and what that has to count
    };
    /// The same on the way through a tree.
    struct point {
        std::uint32_t state; ///< of the only item; none: see the place
        std::uint32_t
            origin; ///< the depth of the place that has the rest; nowhere: that of this depth, without an item
    };
    static constexpr std::uint32_t nowhere = 0xffffffffu;
    static constexpr match_item no_item{none, 0, 0, 0};

    void begin(match_readings& of, std::uint32_t most_left, std::span<std::uint64_t> bits) noexcept {
        of_ = &of;
        store_ = &of.store();
        bits_ = bits;
        most_left_ = most_left;
        made_ = {};
        work_ = 0;
        if (most_left == any_end) {
            for (std::uint32_t i = 0; i < store_->frames_used; ++i) {
                store_->frames[i].bytes_to_end = 0;
            }
        }
        places_[0] = place_of_level();
        put_point(0);
    }

    /// The last level of the matcher as a place.
    [[nodiscard]] place place_of_level() noexcept {
        place made{no_item, no_item, store_->level, of_->distances().from_level(), false};
        for (std::uint32_t i = store_->levels[store_->level].first_item; i < store_->items_used; ++i) {
            const match_item item = store_->items[i];
            if (item.state == none || of_->tables().states.byte_edges(item.state).empty()) {
                continue;
            }
            if (made.second.state != none) {
                return {no_item, no_item, made.level, made.left, true};
            }
            (made.first.state == none ? made.first : made.second) = item;
        }
        return made;
    }

    /// Nearly all nodes are reached by an edge to a state from which nothing is called, counted or left. Of those no
    /// more than the state is written: the rest is that of the last place above.
    void walk(const token_tree& tree) noexcept {
        const token_node* const nodes = tree.nodes();
        const std::uint32_t* const tokens = tree.tokens().data();
        const std::uint32_t size = tree.size();
        std::uint64_t visited = 0;
        for (std::uint32_t n = 0; n < size;) {
            const token_node& node = nodes[n];
            if (++visited + work_ > most_work) {
                made_.is_whole = false;
                return;
            }
            const point from = path_[node.depth - 1u];
            const std::uint32_t target = from.state != none ? rows_.of(from.state)[node.byte] : state_rows::needs_level;
            if (target == state_rows::dead || ((target & state_rows::needs_level) != 0 && !arrive(from, node))) {
                n = node.next;
                continue;
            }
            if ((target & state_rows::needs_level) == 0) {
                path_[node.depth] = {target, from.origin};
            }
            if (const std::uint32_t end = nodes[n + 1].first_token; node.first_token != end) {
                take(node.depth, {tokens + node.first_token, end - node.first_token});
            }
            n = path_[node.depth].origin != nowhere ? n + 1 : node.next;
        }
        work_ += visited;
    }
    /// Goes from a point to the one of `node`, whatever is called or left on the way. \return whether that is allowed
    [[nodiscard]] bool arrive(const point& from, const token_node& node) noexcept {
        if (from.origin == nowhere) { // the text is complete
            return false;
        }
        const place& origin = places_[from.origin];
        place& to = places_[node.depth];
        bool is_there = false;
        if (from.state == none || from.origin + 1 == node.depth) {
            is_there = step(origin, node.byte, to);
        } else {
            place before = origin;
            before.first.state = from.state;
            is_there = step(before, node.byte, to);
        }
        if (!is_there) {
            return false;
        }
        put_point(node.depth);
        return true;
    }
    /// The point of a place that is written.
    void put_point(std::uint32_t depth) noexcept {
        place& at = places_[depth];
        const bool is_alone = !at.is_level && at.first.state != none && at.second.state == none;
        const bool is_end = !at.is_level && at.first.state == none;
        path_[depth] = {is_alone ? at.first.state : none, is_end ? nowhere : depth};
        at.behind = unknown;
    }
    /// What a token that ends at a point leaves to be written.
    [[nodiscard]] std::uint32_t left_at(std::uint32_t depth) noexcept {
        const point at = path_[depth];
        if (at.origin == depth || at.origin == nowhere) {
            const place& here = places_[depth];
            return here.left != unknown ? here.left : of_->distances().from(here.first);
        }
        place& origin = places_[at.origin];
        origin.behind = origin.behind != unknown ? origin.behind : of_->distances().behind(origin.first);
        return bytes_together(of_->tables().to_end[at.state], origin.behind);
    }
    /// Takes the tokens that end at a point, unless they leave too much to be written.
    void take(std::uint32_t depth, std::span<const std::uint32_t> tokens) noexcept {
        const std::uint32_t left = left_at(depth);
        if (left > most_left_) {
            return;
        }
        made_.most_left = (std::max)(made_.most_left, left);
        made_.count += static_cast<std::uint32_t>(tokens.size());
        for (const std::uint32_t id : tokens) {
            bits_[id / 64] |= std::uint64_t{1} << id % 64;
        }
    }

    [[nodiscard]] bool step(const place& from, std::uint8_t byte, place& to) noexcept {
        if (from.is_level) {
            return step_level(from, byte, to);
        }
        const std::uint32_t target = from.first.state == none ? state_rows::dead : rows_.of(from.first.state)[byte];
        if (from.second.state == none) {
            return target != state_rows::dead && go(from, from.first, target, byte, to);
        }
        const std::uint32_t other = rows_.of(from.second.state)[byte];
        if (target != state_rows::dead && other != state_rows::dead) {
            return open_level(from, byte, to);
        }
        return target != state_rows::dead  ? go(from, from.first, target, byte, to)
               : other != state_rows::dead ? go(from, from.second, other, byte, to)
                                           : false;
    }
    /// Follows the only item that a byte leads on from.
    [[nodiscard]] bool go(const place& from, const match_item& item, std::uint32_t target, std::uint8_t byte,
                          place& to) noexcept {
        if ((target & state_rows::needs_level) == 0) {
            to = {{target, item.frame, item.low, item.high}, no_item, from.level, unknown, false};
            return true;
        }
        const match_item there{target & ~state_rows::needs_level, item.frame, item.low, item.high};
        return (target != state_rows::needs_level && close(from, there, to)) || open_level(from, byte, to);
    }
    /// What the matcher does at a state where a rule may end, or a count goes on, as long as that leads to no more than
    /// two items. \return whether it does
    [[nodiscard]] bool close(const place& from, const match_item& at, place& to) noexcept {
        const automaton& states = of_->tables().states;
        const std::span<const special_edge> special = states.special_edges(at.state);
        place made{no_item, no_item, from.level, of_->distances().from(at), false};
        if (!special.empty()) {
            if (special.size() != 1 || special[0].kind != special_kind::count || !states.byte_edges(at.state).empty() ||
                rows_.needs_closing(special[0].target)) {
                return false;
            }
            made.first = of_->counted(at, special[0]);
        } else if (!states.byte_edges(at.state).empty()) {
            made.first = at;
        }
        if (states.is_final(at.state) && !leave(at, made)) {
            return false;
        }
        for (const match_item& item : {made.first, made.second}) {
            made.left = item.state == none ? made.left : (std::min)(made.left, of_->distances().from(item));
        }
        to = made;
        return true;
    }
    /// Adds the item behind the rule of `at`, whose text is complete. \return whether there is but one, and a simple
    /// one
    [[nodiscard]] bool leave(const match_item& at, place& made) noexcept {
        const match_frame& frame = store_->frames[at.frame];
        if (at.high < of_->tables().rules[frame.rule].least) {
            return true;
        }
        of_->watch().look(*store_, at.frame);
        const match_link& link = store_->links[frame.first_link];
        if (link.next != none) {
            return false;
        }
        if (link.back.state == none) {
            made.left = 0;
            return true;
        }
        (made.first.state == none ? made.first : made.second) = link.back;
        return !rows_.needs_closing(link.back.state);
    }
    /// The same where there are more than two items: without a level if one of them alone goes on.
    [[nodiscard]] bool step_level(const place& from, std::uint8_t byte, place& to) noexcept {
        store_->go_back_to(from.level);
        const std::uint32_t last = store_->items_used;
        const std::uint32_t first = store_->levels[from.level].first_item;
        work_ += last - first;
        std::uint32_t going = none;
        std::uint32_t found = state_rows::dead;
        for (std::uint32_t i = first; i < last; ++i) {
            const std::uint32_t state = store_->items[i].state;
            const std::uint32_t target = state == none ? state_rows::dead : rows_.of(state)[byte];
            if (target == state_rows::dead) {
                continue;
            }
            if (going != none) {
                return open_level(from, byte, to);
            }
            going = i;
            found = target;
        }
        const match_item item = going == none ? no_item : store_->items[going];
        return going != none && go(from, item, found, byte, to);
    }

    [[nodiscard]] bool open_level(const place& from, std::uint8_t byte, place& to) noexcept {
        store_->go_back_to(from.level);
        const std::uint32_t first = store_->last().first_item;
        const std::uint32_t last = store_->items_used;
        of_->open_level();
        if (from.is_level) {
            for (std::uint32_t i = first; i < last; ++i) {
                of_->add_targets(store_->items[i], byte);
            }
        } else {
            of_->add_targets(from.first, byte);
            of_->add_targets(from.second, byte);
        }
        of_->close_level();
        work_ += store_->items_used - last;
        if (!of_->keep_level()) {
            made_.is_whole = made_.is_whole && !store_->has_overflowed;
            return false;
        }
        of_->distances().measure(store_->last().first_frame);
        to = place_of_level();
        return true;
    }

    /// Adds the tokens that are plain text where they are allowed whatever else is, by one item.
    /// \return whether it did, and all others of them are not
    [[nodiscard]] bool add_plain(const token_trie& trie) noexcept {
        const std::uint32_t first = store_->levels[0].first_item;
        for (std::uint32_t i = first; i < store_->items_used; ++i) {
            const match_item item = store_->items[i];
            if (item.state == none || of_->tables().states.byte_edges(item.state).empty()) {
                continue;
            }
            const plain_text fit = rows_.plain(item.state);
            if (fit.kind == plain_kind::none || left_of_plain(item, fit) > most_left_) {
                continue;
            }
            const std::size_t characters = fit.kind == plain_kind::endless_text ? any_end
                                           : fit.kind == plain_kind::fixed      ? fit.most
                                                                                : std::size_t{fit.most} - item.low + 1;
            if (characters >= trie_access::all(trie).longest()) {
                add_plain(trie, trie_access::most_characters + 1, left_of_plain(item, fit));
                return true;
            }
            if (is_alone(item, i, fit.may_leave)) {
                add_plain(trie, (std::min)(characters, trie_access::most_characters), left_of_plain(item, fit));
                if (characters > trie_access::most_characters) {
                    walk(trie_access::longer(trie));
                }
                return true;
            }
        }
        return false;
    }
    void add_plain(const token_trie& trie, std::size_t characters, std::uint32_t left) noexcept {
        const std::span<const std::uint64_t> plain = trie_access::plain(trie, characters);
        std::copy(plain.begin(), plain.end(), bits_.begin());
        made_.count = trie_access::plain_count(trie, characters);
        made_.most_left = left;
    }
    /// The most that plain text leaves to the end.
    [[nodiscard]] std::uint32_t left_of_plain(const match_item& item, const plain_text& fit) const noexcept {
        return bytes_together(fit.to_end, of_->distances().behind(item));
    }
    /// Whether plain text can be read in no other way than from one item on, not even behind its rule.
    [[nodiscard]] bool is_alone(const match_item& item, std::uint32_t number, bool may_leave) noexcept {
        for (std::uint32_t i = store_->levels[0].first_item; i < store_->items_used; ++i) {
            if (i != number && store_->items[i].state != none && rows_.begins_plain(store_->items[i].state)) {
                return false;
            }
        }
        if (!may_leave) {
            return true;
        }
        of_->watch().look(*store_, item.frame);
        for (std::uint32_t i = store_->frames[item.frame].first_link; i != none; i = store_->links[i].next) {
            const std::uint32_t back = store_->links[i].back.state;
            if (back != none && (rows_.needs_closing(back) || rows_.begins_plain(back))) {
                return false;
            }
        }
        return true;
    }

    match_readings* of_ = nullptr;
    match_store* store_ = nullptr; ///< of these
    std::span<std::uint64_t> bits_;
    std::uint32_t most_left_ = 0;
    walked_mask made_;
    std::uint64_t work_ = 0;
    buffer<place> places_; ///< [longest token + 1]: of the nodes from the root on
    buffer<point> path_;   ///< the same
    state_rows rows_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace bitnet::inline BITNET_ABI::detail {

/// A fixed number of masks; a new one takes the place of one that was not used for the longest time, about. Allocates
/// in open() only, where it touches 9 bytes a mask.
class mask_cache {
public:
    /// \param words of a mask. \return errc::out_of_memory.
    [[nodiscard]] static result<mask_cache> open(std::size_t masks, std::size_t words) {
        mask_cache made;
        made.words_ = words;
        error failure;
        allocate_uninitialized(made.bits_, std::uint64_t{masks} * words, "grammar masks", failure);
        allocate_uninitialized(made.entries_, masks, "grammar masks", failure);
        allocate(made.hashes_, masks, "grammar masks", failure);
        allocate(made.is_used_, masks, "grammar masks", failure);
        if (failure.code != errc{}) {
            return failure;
        }
        return made;
    }

    static constexpr std::size_t nowhere = static_cast<std::size_t>(-1);

    /// The mask of a state; nowhere if it has to be made.
    [[nodiscard]] std::size_t find(const mask_key& key) noexcept {
        for (std::size_t depth = 0; depth < key.depths(); ++depth) {
            if ((depths_in_use_ >> depth & 1) == 0) {
                continue;
            }
            const std::span<const std::uint32_t> words = key.key(depth);
            const std::uint64_t hash = hash_of(words, depth);
            for (std::size_t i = 0; i < hashes_.size(); ++i) {
                if (hashes_[i] == hash && entries_[i].depth == depth && is_of(entries_[i], words)) {
                    is_used_[i] = true;
                    return i;
                }
            }
        }
        return nowhere;
    }

    /// A place for a new mask, whose bits are 0. It is found again after keep().
    [[nodiscard]] std::size_t make_room() noexcept {
        while (is_used_[hand_]) {
            is_used_[hand_] = false;
            hand_ = (hand_ + 1) % entries_.size();
        }
        const std::size_t at = hand_;
        hand_ = (hand_ + 1) % entries_.size();
        hashes_[at] = 0;
        const std::span<std::uint64_t> cleared = bits(at);
        std::fill(cleared.begin(), cleared.end(), 0u);
        return at;
    }
    /// \pre depth < key.depths()
    void keep(std::size_t at, const walked_mask& mask, const mask_key& key, std::size_t depth) noexcept {
        const std::span<const std::uint32_t> words = key.key(depth);
        entry& made = entries_[at];
        made.mask = mask;
        made.depth = depth;
        made.size = words.size();
        std::copy(words.begin(), words.end(), made.words.begin());
        is_used_[at] = true;
        hashes_[at] = hash_of(words, depth);
        depths_in_use_ |= 1u << depth;
    }

    [[nodiscard]] std::span<std::uint64_t> bits(std::size_t at) noexcept {
        return bits_.span().subspan(at * words_, words_);
    }
    [[nodiscard]] const walked_mask& mask(std::size_t at) const noexcept { return entries_[at].mask; }
    [[nodiscard]] std::size_t memory_bytes() const noexcept {
        return bits_.size_bytes() + entries_.size_bytes() + hashes_.size_bytes() + is_used_.size_bytes();
    }

private:
    struct entry {
        walked_mask mask;
        std::size_t depth;
        std::size_t size;
        std::array<std::uint32_t, mask_key::most_words> words;
    };

    /// Never 0, which is what a place without a mask has.
    [[nodiscard]] static std::uint64_t hash_of(std::span<const std::uint32_t> words, std::size_t depth) noexcept {
        std::uint64_t hash = depth + 1;
        for (const std::uint32_t word : words) {
            hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
            hash ^= hash >> 32;
        }
        return hash | 1;
    }
    [[nodiscard]] static bool is_of(const entry& made, std::span<const std::uint32_t> words) noexcept {
        return made.size == words.size() && std::equal(words.begin(), words.end(), made.words.begin());
    }

    std::size_t words_ = 0;
    std::size_t hand_ = 0;
    unsigned depths_in_use_ = 0;
    buffer<std::uint64_t> bits_;
    buffer<entry> entries_;
    buffer<std::uint64_t> hashes_; ///< 0: no mask is kept there, and bits and entry are not written
    buffer<bool> is_used_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

struct constraint_options {
    /// The text ends within so many tokens, whatever is chosen: towards the limit only those are allowed after which
    /// the rest still fits, a token for each byte that is missing. nullopt: as long as the grammar likes.
    std::optional<std::size_t> limit;
    std::size_t masks = 128; ///< that are kept, a bit for each token: 2 MiB for LLaMA-3's vocabulary
    matcher_options matcher;
    /// Whether allowed() leaves only the tokenizer's own token where the grammar forces the text.
    forced_text forced = forced_text::canonical;
};

/// Where a text of tokens stands in a grammar. Belongs to one thread at a time; borrows the trie, which must outlive
/// it, and shares the grammar's tables. Allocates in open() alone, see memory_bytes(), and touches what it allocated as
/// texts need it, so that open() costs well below a millisecond.
///
/// Stop tokens are allowed where the text may end, and end it. Control tokens are no text, and never allowed.
class token_constraint {
public:
    /// At the start of a text.
    /// \return errc::invalid_argument where the limit is below the shortest text, or no masks are kept; and what
    /// matcher::open() returns.
    [[nodiscard]] static result<token_constraint> open(const grammar& texts, const token_trie& trie,
                                                       constraint_options options = {}) {
        return detail::guarded([&] { return make(texts, trie, options); });
    }
    static result<token_constraint> open(const grammar&, token_trie&&, constraint_options = {}) = delete;

    /// The tokens that are allowed next. Valid until the next call that is not const.
    /// Cost: that of a look-up where a text stood in the same place before; otherwise of a walk of the trie as far as
    /// the grammar goes along, from microseconds to a few milliseconds. Towards the limit every call walks. Where
    /// forced() has tokens the first of them is the only one that is allowed.
    /// \return errc::no_token_left where no token is, because the text has ended or the vocabulary lacks one for the
    /// bytes that have to come; errc::grammar_budget where the text can be read in more ways than the options have
    /// room for; errc::invalid_token after a token that was not allowed.
    [[nodiscard]] result<allowed_tokens> allowed() {
        return detail::guarded([&] { return find_allowed(); });
    }
    /// The tokens that come next whatever the logits are, as the tokenizer cuts the text that the grammar forces: those
    /// of them that nothing which may follow can change. None with forced_text::off. Valid until the next call that is
    /// not const. Cost: that of encoding up to 64 bytes, where no other byte is allowed; little otherwise.
    [[nodiscard]] std::span<const token> forced() noexcept {
        if (options_.forced == forced_text::off || has_ended_ || is_broken_ || begun_at_ != begun_.size()) {
            return {};
        }
        const std::span<const token> found = forced_.find(matcher_.readings_);
        return found.empty() || allows(found.front()) ? found : std::span<const token>();
    }
    /// Whether the grammar, and the limit, allow a token next: any of those that are text as it goes on. Cost: that of
    /// following its bytes.
    [[nodiscard]] bool allows(token id) noexcept {
        if (has_ended_ || is_broken_ || !trie_->text().contains(id)) {
            return false;
        }
        const std::string_view missing = missing_of_begun();
        if (trie_->text().is_stop(id)) {
            return missing.empty() && matcher_.can_end();
        }
        const std::string_view bytes = trie_->text().bytes_of(id);
        if (bytes.empty() || trie_->text().is_special(id)) {
            return false;
        }
        const std::size_t known = (std::min)(bytes.size(), missing.size());
        const std::string_view rest = bytes.substr(known);
        return bytes.substr(0, known) == missing.substr(0, known) && (rest.empty() || matcher_.allows(rest)) &&
               leaves_room(rest, missing.size() - known);
    }
    /// Takes a token. \return whether it was allowed; where it was not, nothing is until restart().
    bool accept(token id) noexcept {
        if (!allows(id)) {
            is_beyond_ = !is_broken_ && !has_ended_ && matcher_.out_of_budget();
            is_broken_ = true;
            return false;
        }
        ++tokens_;
        if (trie_->text().is_stop(id)) {
            has_ended_ = true;
            return true;
        }
        const std::string_view bytes = trie_->text().bytes_of(id);
        const std::size_t known = (std::min)(bytes.size(), missing_of_begun().size());
        begun_at_ += known;
        matcher_.accept(bytes.substr(known));
        forced_.take(id);
        return true;
    }

    /// Whether the text may end here.
    [[nodiscard]] bool can_end() const noexcept {
        return !is_broken_ && begun_at_ == begun_.size() && matcher_.can_end();
    }
    /// Whether it has to, or a stop token has ended it.
    [[nodiscard]] bool is_done() const noexcept {
        return has_ended_ || (begun_at_ == begun_.size() && matcher_.is_done());
    }
    /// Whether the limit has an effect here: tokens that the grammar allows are not allowed.
    [[nodiscard]] bool is_near_limit() const noexcept { return is_near_; }
    /// Tokens of the vocabulary.
    [[nodiscard]] std::size_t vocabulary() const noexcept { return trie_->vocabulary(); }
    /// Tokens that were taken.
    [[nodiscard]] std::size_t tokens() const noexcept { return tokens_; }

    /// Begins another text, with the same limit.
    void restart() noexcept {
        matcher_.restart();
        forced_.restart();
        tokens_ = 0;
        begun_.clear();
        begun_at_ = 0;
        has_ended_ = is_broken_ = is_beyond_ = is_near_ = false;
    }
    /// The same with another one. \return errc::invalid_argument as open(); the limit is as it was then.
    [[nodiscard]] result<void> restart(std::optional<std::size_t> limit) {
        auto checked = detail::guarded([&] { return check_limit(limit); });
        limit_ = checked ? limit : limit_;
        restart();
        return checked;
    }

    /// The same behind bytes that do not belong to the text, and that the next tokens have to give first: the last one
    /// of them may go on into the text. For an answer whose beginning the host gives, and whose last tokens were taken
    /// back: see healed_prefix. A token for each of these bytes counts within the limit. \return errc::out_of_memory,
    /// errc::invalid_argument as open(); the text begins without them then.
    [[nodiscard]] result<void> restart_behind(std::string_view begun, std::optional<std::size_t> limit) {
        return detail::guarded([&]() -> result<void> {
            if (auto begins = restart(limit); !begins) {
                return begins;
            }
            if (limit && *limit - matcher_.shortest_end() < begun.size()) {
                return detail::error_saying(errc::invalid_argument,
                                            {"constraint_options: a limit of ", *limit, " tokens, and ", begun.size(),
                                             " bytes in front of a text of the grammar, which may need ",
                                             matcher_.shortest_end(), ", one for each byte"});
            }
            begun_ = begun;
            return {};
        });
    }

    /// Bytes that open() allocated. The trie is apart.
    [[nodiscard]] std::size_t memory_bytes() const noexcept {
        return matcher_.memory_bytes() + walk_.memory_bytes() + key_.memory_bytes() + cache_.memory_bytes() +
               own_.size_bytes() + few_.size_bytes();
    }

private:
    explicit token_constraint(matcher of, const token_trie& trie, const constraint_options& options)
        : matcher_(std::move(of)), trie_(&trie), options_(options), forced_(trie) {}

    [[nodiscard]] static result<token_constraint> make(const grammar& texts, const token_trie& trie,
                                                       constraint_options options) {
        if (options.masks == 0) {
            return error{errc::invalid_argument, "constraint_options: 0 masks are kept, 1 at least is needed"};
        }
        const std::size_t longest = detail::trie_access::all(trie).longest();
        options.matcher.longest_lookahead =
            (std::max)(options.matcher.longest_lookahead, detail::forced_tokens::lookahead(trie));
        auto opened = matcher::open(texts, options.matcher);
        if (!opened) {
            return failed(opened);
        }
        token_constraint made(*std::move(opened), trie, options);
        const detail::compiled_grammar& tables = *detail::grammar_access::tables(texts);
        auto key = detail::mask_key::open(tables, longest);
        auto walk = detail::mask_walk::open(tables, trie);
        auto cache = detail::mask_cache::open(options.masks, detail::trie_access::words(trie));
        error failure = !key ? failed(key) : !walk ? failed(walk) : !cache ? failed(cache) : error{};
        detail::allocate_uninitialized(made.own_, detail::trie_access::words(trie), "grammar mask", failure);
        detail::allocate_uninitialized(made.few_, allowed_tokens::most_listed, "grammar mask", failure);
        if (failure.code != errc{}) {
            return failure;
        }
        made.key_ = *std::move(key);
        made.walk_ = *std::move(walk);
        made.cache_ = *std::move(cache);
        if (auto checked = made.check_limit(options.limit); !checked) {
            return failed(checked);
        }
        made.limit_ = options.limit;
        return made;
    }

    [[nodiscard]] result<void> check_limit(std::optional<std::size_t> limit) {
        if (!limit) {
            return {};
        }
        matcher_.restart();
        const std::uint32_t needed = matcher_.shortest_end();
        if (needed > *limit) {
            return detail::error_saying(errc::invalid_argument,
                                        {"constraint_options: a limit of ", *limit,
                                         " tokens, and the shortest text of ", "the grammar may need ", needed,
                                         ", one for each byte"});
        }
        return {};
    }

    /// Bytes that may be missing after one more token.
    [[nodiscard]] std::size_t room() const noexcept { return *limit_ - tokens_ - 1; }
    /// \param missing bytes in front of the text that `bytes` leaves to come
    [[nodiscard]] bool leaves_room(std::string_view bytes, std::size_t missing) noexcept {
        if (!limit_) {
            return true;
        }
        if (tokens_ >= *limit_ || missing > room()) {
            return false;
        }
        return matcher_.shortest_end_after(bytes) <= room() - missing;
    }
    [[nodiscard]] std::string_view missing_of_begun() const noexcept {
        return std::string_view(begun_).substr(begun_at_);
    }

    [[nodiscard]] result<allowed_tokens> find_allowed() {
        if (is_broken_ && is_beyond_) {
            return budget_error();
        }
        if (is_broken_) {
            return error{errc::invalid_token, "grammar: the last token was not allowed, so that none can follow it"};
        }
        if (has_ended_) {
            return error{errc::no_token_left, "grammar: a stop token has ended the text, and nothing can follow it"};
        }
        if (!missing_of_begun().empty()) {
            return allowed_behind(missing_of_begun());
        }
        if (const std::span<const token> next = forced(); !next.empty()) {
            return only(next.front());
        }
        key_.read(matcher_.readings_);
        std::size_t at = cache_.find(key_);
        const bool is_new = at == detail::mask_cache::nowhere;
        if (is_new) {
            at = cache_.make_room();
            const detail::walked_mask made =
                walk_.run(matcher_.readings_, *trie_, detail::mask_walk::any_end, cache_.bits(at));
            if (!made.is_whole) {
                return budget_error();
            }
            keep(at, made);
        }
        const detail::walked_mask& found = is_new ? last_ : cache_.mask(at);
        if (!limit_ || leaves_enough(found)) {
            is_near_ = false;
            return with_ends(cache_.bits(at), found.count);
        }
        return near_limit(found.count);
    }
    void keep(std::size_t at, const detail::walked_mask& made) noexcept {
        last_ = made;
        if (const std::size_t depth = key_.looked_at(matcher_.readings_); depth < key_.depths()) {
            cache_.keep(at, made, key_, depth);
        }
    }
    std::uint32_t measure_frames() noexcept { return matcher_.readings_.distances().measure_all(); }
    /// Whether all tokens of a mask leave so little to the end that the limit forbids none.
    [[nodiscard]] bool leaves_enough(const detail::walked_mask& found) noexcept {
        return tokens_ < *limit_ && std::uint64_t{found.most_left} + measure_frames() <= std::uint64_t{room()};
    }
    [[nodiscard]] result<allowed_tokens> near_limit(std::uint32_t before) {
        std::fill_n(own_.data(), own_.size(), 0u);
        detail::walked_mask made;
        if (tokens_ < *limit_) {
            measure_frames();
            const auto most = static_cast<std::uint32_t>((std::min)(room(), std::size_t{detail::endless}));
            made = walk_.run(matcher_.readings_, *trie_, most, own_.span());
        }
        if (!made.is_whole) {
            return budget_error();
        }
        is_near_ = made.count != before;
        return with_ends(own_.span(), made.count);
    }

    [[nodiscard]] allowed_tokens only(token id) noexcept {
        is_near_ = false;
        std::fill_n(own_.data(), own_.size(), std::uint64_t{0});
        own_[static_cast<std::size_t>(id) / 64] = std::uint64_t{1} << static_cast<std::size_t>(id) % 64;
        few_[0] = static_cast<std::uint32_t>(id);
        return {1, own_.span(), few_.span().first(1)};
    }
    /// The tokens that begin what is missing in front of the text, or go on behind it.
    [[nodiscard]] result<allowed_tokens> allowed_behind(std::string_view missing) noexcept {
        is_near_ = false;
        std::fill_n(own_.data(), own_.size(), std::uint64_t{0});
        std::size_t count = 0;
        detail::trie_access::for_each_beginning(*trie_, missing, [&](std::uint32_t id) {
            const bool is_one = allows(static_cast<token>(id));
            own_[id / 64] |= std::uint64_t{is_one} << id % 64;
            count += is_one ? 1u : 0u;
        });
        return count != 0 ? result<allowed_tokens>({count, own_.span(), list(own_.span(), count)}) : nothing_left();
    }

    [[nodiscard]] error budget_error() const {
        return {errc::grammar_budget, "grammar: the text so far can be read in more ways than a matcher holds, or than "
                                      "can be followed through the vocabulary"};
    }

    /// A mask, and the stop tokens where the text may end.
    [[nodiscard]] result<allowed_tokens> with_ends(std::span<std::uint64_t> bits, std::size_t count) {
        for (const token id : trie_->text().stop_tokens()) {
            const auto at = static_cast<std::size_t>(id);
            const std::uint64_t bit = std::uint64_t{1} << at % 64;
            if (matcher_.can_end()) {
                bits[at / 64] |= bit;
                ++count;
            }
        }
        if (count == 0) {
            return nothing_left();
        }
        return allowed_tokens{count, bits, list(bits, count)};
    }
    [[nodiscard]] error nothing_left() const {
        return matcher_.can_end()
                   ? error{errc::no_token_left, "grammar: the text is complete, and the vocabulary has no stop token"}
                   : error{errc::no_token_left, "grammar: the vocabulary has no token for the bytes that have to come"};
    }
    [[nodiscard]] std::span<const std::uint32_t> list(std::span<const std::uint64_t> bits, std::size_t count) noexcept {
        return detail::listed(bits, count, few_.span());
    }

    matcher matcher_;
    const token_trie* trie_;
    detail::mask_key key_;
    detail::mask_walk walk_;
    detail::mask_cache cache_;
    detail::walked_mask last_;
    buffer<std::uint64_t> own_; ///< the mask near the limit
    buffer<std::uint32_t> few_;
    constraint_options options_;
    detail::forced_tokens forced_;
    std::optional<std::size_t> limit_;
    std::size_t tokens_ = 0;
    std::string begun_;        ///< bytes that come before the text
    std::size_t begun_at_ = 0; ///< of them were given
    bool has_ended_ = false;
    bool is_broken_ = false; ///< a token was taken that was not allowed
    bool is_beyond_ = false; ///< or that the matcher could not follow
    bool is_near_ = false;
};

} // namespace bitnet::inline BITNET_ABI

#endif

// ---- bitnet/constrain/tool_set.hpp ----
// tool_set: functions that a model may call: their schemas, the grammar of a call, and the call itself.
#ifndef BITNET_CONSTRAIN_TOOL_SET_HPP
#define BITNET_CONSTRAIN_TOOL_SET_HPP

// ---- bitnet/constrain/json_schema.hpp ----
// schema_compiler: JSON Schemas as grammars of JSON texts. Defines grammar::json_schema.
#ifndef BITNET_CONSTRAIN_JSON_SCHEMA_HPP
#define BITNET_CONSTRAIN_JSON_SCHEMA_HPP

// ---- bitnet/constrain/compilation.hpp ----
// compiled(): from what a reader made to a grammar.
#ifndef BITNET_CONSTRAIN_COMPILATION_HPP
#define BITNET_CONSTRAIN_COMPILATION_HPP

// ---- bitnet/constrain/grammar_compiler.hpp ----
// grammar_compiler: rules of expressions to states. Every state it keeps can reach an end.
#ifndef BITNET_CONSTRAIN_GRAMMAR_COMPILER_HPP
#define BITNET_CONSTRAIN_GRAMMAR_COMPILER_HPP

// ---- bitnet/constrain/expression_task.hpp ----
// expression_task: an expression that is to lead from one state to another; how those made of parts are taken apart.
#ifndef BITNET_CONSTRAIN_EXPRESSION_TASK_HPP
#define BITNET_CONSTRAIN_EXPRESSION_TASK_HPP

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

struct expression_task {
    expression part;
    std::uint32_t from;
    std::uint32_t to;
};

inline void connect_literal(nondeterministic_automaton& states, std::string_view text, expression_task task) {
    std::uint32_t from = task.from;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto byte = static_cast<std::uint8_t>(text[i]);
        const std::uint32_t to = i + 1 == text.size() ? task.to : states.add_state();
        states.add(from, byte_edge{byte, byte, to});
        from = to;
    }
    if (text.empty()) {
        states.skip(task.from, task.to);
    }
}

inline void connect_sequence(nondeterministic_automaton& states, std::span<const expression> parts,
                             expression_task task, std::vector<expression_task>& todo) {
    std::uint32_t from = task.from;
    for (std::size_t i = 0; i < parts.size(); ++i) {
        const std::uint32_t to = i + 1 == parts.size() ? task.to : states.add_state();
        todo.push_back({parts[i], from, to});
        from = to;
    }
    if (parts.empty()) {
        states.skip(task.from, task.to);
    }
}

/// A repetition as copies of its part, and a loop where it has no limit.
inline void connect_copies(nondeterministic_automaton& states, expression part, const expression_node& repeat,
                           expression_task task, std::vector<expression_task>& todo) {
    std::uint32_t from = task.from;
    const auto add_copy = [&] {
        const std::uint32_t to = states.add_state();
        todo.push_back({part, from, to});
        from = to;
    };
    for (std::uint32_t i = 0; i < repeat.low; ++i) {
        add_copy();
    }
    if (repeat.high == unlimited) {
        const std::uint32_t loop = states.add_state();
        states.skip(from, loop);
        todo.push_back({part, loop, loop});
        from = loop;
    }
    for (std::uint32_t i = repeat.low; repeat.high != unlimited && i < repeat.high; ++i) {
        states.skip(from, task.to);
        add_copy();
    }
    states.skip(from, task.to);
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Who is a part of whom among the expressions and rules of a grammar. Nodes: expressions, then rules, whose only part
/// is their body.
class part_graph {
public:
    explicit part_graph(const grammar_source& source)
        : source_(source), first_(source.pool.size() + source.rules.size() + 1, 0) {
        each_part([&](std::uint32_t part, std::uint32_t) { ++first_[part + 1]; });
        for (std::size_t i = 1; i < first_.size(); ++i) {
            first_[i] += first_[i - 1];
        }
        wholes_.resize(first_.back());
        std::vector<std::uint32_t> next(first_.begin(), first_.end() - 1);
        each_part([&](std::uint32_t part, std::uint32_t whole) { wholes_[next[part]++] = whole; });
    }

    [[nodiscard]] std::uint32_t nodes() const noexcept { return static_cast<std::uint32_t>(first_.size() - 1); }
    [[nodiscard]] std::uint32_t rule_node(std::uint32_t rule) const noexcept {
        return static_cast<std::uint32_t>(source_.pool.size()) + rule;
    }
    [[nodiscard]] std::span<const std::uint32_t> wholes_of(std::uint32_t node) const noexcept {
        return {wholes_.data() + first_[node], first_[node + 1] - first_[node]};
    }
    [[nodiscard]] std::uint32_t parts_of(std::uint32_t node) const noexcept {
        return node >= source_.pool.size() || source_.pool.at(node).kind == expression_kind::rule
                   ? 1
                   : static_cast<std::uint32_t>(source_.pool.parts(source_.pool.at(node)).size());
    }

    /// Which nodes hold, in the order in which that was found: those in `known`, and those of which `needed(node)`
    /// parts do.
    template <class Needed>
    [[nodiscard]] std::vector<bool> spread(std::vector<std::uint32_t> known, Needed&& needed,
                                           std::vector<std::uint32_t>* order = nullptr) const {
        std::vector<bool> holds(nodes());
        std::vector<std::uint32_t> met(nodes(), 0);
        for (const std::uint32_t node : known) {
            holds[node] = true;
        }
        for (std::size_t at = 0; at < known.size(); ++at) {
            for (const std::uint32_t whole : wholes_of(known[at])) {
                if (!holds[whole] && ++met[whole] >= needed(whole)) {
                    holds[whole] = true;
                    known.push_back(whole);
                }
            }
        }
        if (order != nullptr) {
            *order = std::move(known);
        }
        return holds;
    }

private:
    template <class Visit> void each_part(Visit&& visit) const {
        const auto expressions = static_cast<std::uint32_t>(source_.pool.size());
        for (std::uint32_t node = 0; node < expressions; ++node) {
            const expression_node& at = source_.pool.at(node);
            if (at.kind == expression_kind::rule) {
                visit(expressions + at.low, node);
            }
            for (const expression part : source_.pool.parts(at)) {
                visit(part, node);
            }
        }
        for (std::uint32_t rule = 0; rule < source_.rules.size(); ++rule) {
            visit(source_.rules[rule].body, expressions + rule);
        }
    }

    const grammar_source& source_;
    std::vector<std::uint32_t> first_;
    std::vector<std::uint32_t> wholes_;
};

/// One compilation. Use compiled().
class grammar_compiler {
public:
    grammar_compiler(const grammar_source& source, compile_budget budget)
        : source_(source), budget_(budget), graph_(source) {}

    [[nodiscard]] result<compiled_grammar> run() {
        find_productive();
        find_nullable();
        measure();
        const grammar_rule& root = source_.rules[source_.root];
        if (!is_productive_[root.body]) {
            return error_saying(errc::empty_language, {"rule ", quoted{root.name},
                                                       ": no text at all matches, so that nothing could be generated"});
        }
        made_.root = number_of({kind::whole, root.body, 1, 1});
        for (std::size_t at = 0; at < wanted_.size(); ++at) {
            if (!compile(static_cast<std::uint32_t>(at))) {
                return error_saying(errc::grammar_budget,
                                    {"the grammar has more than ", most_states, " states, the most that are compiled"});
            }
        }
        distance_search(made_).run();
        return std::move(made_);
    }

private:
    static constexpr std::uint32_t most_states = 2'000'000;
    static constexpr std::uint32_t inlined_states = 512;  ///< a rule of at most so many is copied into its callers
    static constexpr std::uint32_t unrolled_states = 256; ///< a repetition of at most so many is copied, not counted

    enum class kind : std::uint8_t { whole, repeat, counted };
    /// What becomes a rule with states of its own: an expression as it is, one that is repeated with a counter, or one
    /// that counts itself; and its bounds.
    using wanted = std::tuple<kind, std::uint32_t, std::uint32_t, std::uint32_t>;
    using task = expression_task;

    void find_productive() {
        std::vector<std::uint32_t> known;
        for (std::uint32_t node = 0; node < source_.pool.size(); ++node) {
            const expression_node& at = source_.pool.at(node);
            const bool is_text =
                at.kind == expression_kind::literal || (at.kind == expression_kind::repeat && at.low == 0);
            const bool has_texts = at.kind == expression_kind::language || at.kind == expression_kind::counted;
            const bool is_empty_sequence = at.kind == expression_kind::sequence && at.size == 0;
            if (is_text || is_empty_sequence || (has_texts && source_.pool.texts(at).size() != 0)) {
                known.push_back(node);
            }
        }
        is_productive_ = graph_.spread(std::move(known), [this](std::uint32_t node) { return needed_parts(node); });
    }
    void find_nullable() {
        std::vector<std::uint32_t> known;
        for (std::uint32_t node = 0; node < source_.pool.size(); ++node) {
            const expression_node& at = source_.pool.at(node);
            const bool has_texts =
                at.kind == expression_kind::language || (at.kind == expression_kind::counted && at.low == 0);
            if ((at.kind == expression_kind::literal && at.size == 0) ||
                (at.kind == expression_kind::repeat && at.low == 0) ||
                (has_texts && source_.pool.texts(at).size() != 0 && source_.pool.texts(at).is_final(0))) {
                known.push_back(node);
            }
        }
        is_nullable_ = graph_.spread(std::move(known), [this](std::uint32_t node) { return needed_parts(node); });
    }
    /// All parts of a sequence, one of a choice.
    [[nodiscard]] std::uint32_t needed_parts(std::uint32_t node) const {
        const bool is_sequence = node < source_.pool.size() && source_.pool.at(node).kind == expression_kind::sequence;
        return is_sequence ? graph_.parts_of(node) : 1;
    }

    /// Computes how many states each expression takes, and which rules are not recursive.
    void measure() {
        std::vector<std::uint32_t> order;
        for (std::uint32_t node = 0; node < graph_.nodes(); ++node) {
            if (graph_.parts_of(node) == 0) {
                order.push_back(node);
            }
        }
        states_.assign(graph_.nodes(), 1);
        is_finite_ = graph_.spread(
            std::move(order), [this](std::uint32_t node) { return graph_.parts_of(node); }, &order);
        for (const std::uint32_t node : order) {
            states_[node] = states_of(node);
        }
        for (std::uint32_t node = 0; node < source_.pool.size(); ++node) {
            if (!is_finite_[node]) {
                states_[node] = states_of(node);
            }
        }
    }
    [[nodiscard]] std::uint32_t states_of(std::uint32_t node) const {
        if (node >= source_.pool.size()) {
            return states_[source_.rules[node - source_.pool.size()].body];
        }
        const expression_node& at = source_.pool.at(node);
        std::uint64_t total = 1;
        switch (at.kind) {
        case expression_kind::literal:
            total += at.size;
            break;
        case expression_kind::language:
            total += source_.pool.texts(at).size();
            break;
        case expression_kind::sequence:
        case expression_kind::choice:
            for (const expression part : source_.pool.parts(at)) {
                total += states_[part];
            }
            break;
        case expression_kind::repeat:
            total += is_unrolled(at) ? copies(at) * states_[source_.pool.parts(at)[0]] : 0;
            break;
        case expression_kind::rule:
            total = is_inlined(at.low) ? states_[graph_.rule_node(at.low)] : 1;
            break;
        case expression_kind::nothing:
        case expression_kind::counted:
            break;
        }
        return static_cast<std::uint32_t>((std::min)(total, std::uint64_t{1} << 30));
    }
    [[nodiscard]] bool is_inlined(std::uint32_t rule) const {
        return is_finite_[graph_.rule_node(rule)] && states_[graph_.rule_node(rule)] <= inlined_states;
    }
    [[nodiscard]] static std::uint64_t copies(const expression_node& repeat) noexcept {
        return repeat.high == unlimited ? std::uint64_t{repeat.low} + 1 : repeat.high;
    }
    [[nodiscard]] bool is_unrolled(const expression_node& repeat) const {
        const std::uint64_t count = copies(repeat);
        return count <= 1 || count * states_[source_.pool.parts(repeat)[0]] <= unrolled_states;
    }

    [[nodiscard]] std::uint32_t number_of(wanted rule) {
        const auto [found, is_new] = numbers_.try_emplace(rule, static_cast<std::uint32_t>(wanted_.size()));
        if (is_new) {
            wanted_.push_back(rule);
            compiled_rule made;
            const auto [what, index, low, high] = rule;
            if (what == kind::whole) {
                made.is_nullable = is_nullable_[index];
            } else {
                made.least = what == kind::repeat && is_nullable_[index] ? 0 : low;
                made.is_nullable = made.least == 0 && (what == kind::repeat || is_nullable_[index]);
                made.counts_itself = what == kind::counted;
                made.step_bytes = what == kind::counted ? source_.pool.at(index).size : 0;
            }
            made_.rules.push_back(made);
        }
        return found->second;
    }

    /// Appends the states of a rule. \return false where they are too many
    [[nodiscard]] bool compile(std::uint32_t number) {
        nondeterministic_automaton parts;
        shared_.clear();
        const std::uint32_t from = parts.add_state();
        const auto [what, index, low, high] = wanted_[number];
        if (what == kind::repeat) {
            parts.set_final(from);
            const std::uint32_t counted = parts.add_state();
            parts.add(from, special_edge{special_kind::count, high, counted});
            if (is_nullable_[index]) { // a call takes at least one byte, so that no round is counted for nothing
                call(parts, {kind::whole, index, 1, 1}, counted, from);
            } else {
                connect(parts, {index, counted, from});
            }
        } else {
            const std::uint32_t to = parts.add_state();
            parts.set_final(to);
            if (what == kind::counted) {
                parts.embed(source_.pool.texts(source_.pool.at(index)), from, to);
            } else {
                connect(parts, {index, from, to});
            }
        }
        if (parts.size() > most_states) {
            return false;
        }
        compile_budget budget = budget_;
        budget.states = (std::min)(budget.states, static_cast<std::uint32_t>(4 * parts.size() + 256));
        auto states = determinised(parts, budget);
        budget_.steps = states ? budget.steps : budget_.steps - (std::min)(budget_.steps, budget_.steps / 4);
        return append(number, states ? *states : parts.as_it_is(), what != kind::whole);
    }

    [[nodiscard]] bool append(std::uint32_t number, const automaton& states, bool counts) {
        if (made_.states.size() + states.size() > most_states) {
            return false;
        }
        const auto first = static_cast<std::uint32_t>(made_.states.size());
        made_.rules[number].start = first;
        for (std::uint32_t state = 0; state < states.size(); ++state) {
            made_.states.add_state(states.is_final(state));
            made_.rule_of.push_back(number);
            for (const byte_edge edge : states.byte_edges(state)) {
                made_.states.add(byte_edge{edge.low, edge.high, first + edge.target});
            }
            for (special_edge edge : states.special_edges(state)) {
                const bool is_last = !counts && states.is_final(edge.target) &&
                                     states.byte_edges(edge.target).empty() &&
                                     states.special_edges(edge.target).empty();
                if (edge.kind == special_kind::call && is_last) {
                    edge.kind = special_kind::tail_call;
                }
                edge.target += first;
                made_.states.add(edge);
            }
        }
        return true;
    }

    void call(nondeterministic_automaton& parts, wanted rule, std::uint32_t from, std::uint32_t to) {
        parts.add(from, special_edge{special_kind::call, number_of(rule), to});
    }
    void call_or_skip(nondeterministic_automaton& parts, wanted rule, std::uint32_t from, std::uint32_t to) {
        call(parts, rule, from, to);
        if (made_.rules[number_of(rule)].is_nullable) {
            parts.skip(from, to);
        }
    }

    /// Makes the texts of an expression lead from one state to another.
    void connect(nondeterministic_automaton& parts, task whole) {
        todo_.assign(1, whole);
        while (!todo_.empty() && parts.size() <= most_states) {
            const task next = todo_.back();
            todo_.pop_back();
            if (is_productive_[next.part]) {
                connect_one(parts, next);
            }
        }
    }
    void connect_one(nondeterministic_automaton& parts, task next) {
        const expression_node& at = source_.pool.at(next.part);
        switch (at.kind) {
        case expression_kind::nothing:
            break;
        case expression_kind::literal:
            connect_literal(parts, source_.pool.text(at), next);
            break;
        case expression_kind::language:
            parts.embed(source_.pool.texts(at), next.from, next.to);
            break;
        case expression_kind::counted:
            call_or_skip(parts, {kind::counted, next.part, at.low, at.high}, next.from, next.to);
            break;
        case expression_kind::sequence:
            connect_sequence(parts, source_.pool.parts(at), next, todo_);
            break;
        case expression_kind::choice:
            connect_choice(parts, at, next);
            break;
        case expression_kind::repeat:
            connect_repeat(parts, at, next);
            break;
        case expression_kind::rule:
            if (is_inlined(at.low)) {
                todo_.push_back({source_.rules[at.low].body, next.from, next.to});
            } else {
                call_or_skip(parts, {kind::whole, source_.rules[at.low].body, 1, 1}, next.from, next.to);
            }
            break;
        }
    }
    /// A choice that is a part of several expressions is built once for each place that it leads to.
    void connect_choice(nondeterministic_automaton& parts, const expression_node& at, task next) {
        std::uint32_t from = next.from;
        if (graph_.wholes_of(next.part).size() > 1) {
            const auto [found, is_new] = shared_.try_emplace({next.part, next.to}, 0);
            if (is_new) {
                found->second = parts.add_state();
            }
            from = found->second;
            parts.skip(next.from, from);
            if (!is_new) {
                return;
            }
        }
        for (const expression part : source_.pool.parts(at)) {
            todo_.push_back({part, from, next.to});
        }
    }
    void connect_repeat(nondeterministic_automaton& parts, const expression_node& at, task next) {
        const expression part = source_.pool.parts(at)[0];
        if (!is_unrolled(at)) {
            return call_or_skip(parts, {kind::repeat, part, at.low, at.high}, next.from, next.to);
        }
        connect_copies(parts, part, at, next, todo_);
    }

    const grammar_source& source_;
    compile_budget budget_;
    part_graph graph_;
    std::vector<bool> is_productive_; // per node of the graph, as the next three
    std::vector<bool> is_nullable_;
    std::vector<bool> is_finite_; ///< not recursive, and nothing in it is
    std::vector<std::uint32_t> states_;
    std::map<wanted, std::uint32_t> numbers_;
    std::vector<wanted> wanted_;
    std::map<std::pair<expression, std::uint32_t>, std::uint32_t> shared_; // of the rule that is being compiled
    std::vector<task> todo_;
    compiled_grammar made_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// The grammar of compiled tables, or the error of the compilation with `name` in front.
[[nodiscard]] inline result<grammar> compiled(const grammar_source& source, std::string_view name,
                                              std::vector<std::string> notes = {}) {
    auto tables = grammar_compiler(source, {}).run();
    if (!tables) {
        return error_saying(tables.error().code, {name, ": ", tables.error().message});
    }
    return grammar_access::make(std::make_shared<const compiled_grammar>(*std::move(tables)), std::move(notes));
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif

// ---- bitnet/constrain/schema_arrays.hpp ----
// schema_arrays: expressions of the arrays that a shape allows.
#ifndef BITNET_CONSTRAIN_SCHEMA_ARRAYS_HPP
#define BITNET_CONSTRAIN_SCHEMA_ARRAYS_HPP

// ---- bitnet/constrain/schema_contained_items.hpp ----
// schema_contained_items: expressions of the items of arrays of which some meet contains.
#ifndef BITNET_CONSTRAIN_SCHEMA_CONTAINED_ITEMS_HPP
#define BITNET_CONSTRAIN_SCHEMA_CONTAINED_ITEMS_HPP

// ---- bitnet/constrain/schema_items.hpp ----
// schema_items: what each item of an array has to meet.
#ifndef BITNET_CONSTRAIN_SCHEMA_ITEMS_HPP
#define BITNET_CONSTRAIN_SCHEMA_ITEMS_HPP

// ---- bitnet/constrain/schema_shape.hpp ----
// schema_shape: what several schemas together ask of a JSON value, by its type, without alternatives.
#ifndef BITNET_CONSTRAIN_SCHEMA_SHAPE_HPP
#define BITNET_CONSTRAIN_SCHEMA_SHAPE_HPP

#include <algorithm>
#include <compare>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Sets of JSON values, as bits: the booleans one by one, numbers by whether they are whole.
enum value_set : std::uint32_t {
    set_null = 1,
    set_true = 2,
    set_false = 4,
    set_whole = 8,
    set_fraction = 16,
    set_string = 32,
    set_array = 64,
    set_object = 128,
    set_all = 255,
};

/// The values that are one word of JSON.
inline constexpr std::pair<std::uint32_t, std::string_view> value_words[] = {
    {set_null, "null"}, {set_true, "true"}, {set_false, "false"}};

/// The values of a type's name, 0 for a name that is none.
[[nodiscard]] inline std::uint32_t values_of_type(std::string_view name) noexcept {
    constexpr std::pair<std::string_view, std::uint32_t> types[] = {
        {"null", set_null},     {"boolean", set_true | set_false},
        {"integer", set_whole}, {"number", set_whole | set_fraction},
        {"string", set_string}, {"array", set_array},
        {"object", set_object}};
    for (const auto& [type, values] : types) {
        if (type == name) {
            return values;
        }
    }
    return 0;
}

/// One demand on a value, or on its parts.
enum class demand_kind : std::uint8_t {
    nothing_fits, ///< false
    schema,       ///< valid by the schema at `place`
    negated,      ///< not valid by it
    value,        ///< equal to the value at `place`
    scalars,      ///< one of the values at `place`, those that are no arrays and objects
    not_values,   ///< none of the values of the array at `place`
    not_value,    ///< not the value at `place`
    not_type,     ///< not of the type or types at `place`
    lacks,        ///< if an object, without the key `name`
    has_all,      ///< if an object, with the keys at `place`
    has,          ///< if an object, with the key `name`
    object,       ///< an object
    breaks_key,   ///< an object with the key `name`, whose value is not valid by the schema at `place`
    bad_item,     ///< an array with an item that is not valid by the schema at `place`
    no_item,      ///< an array without an item that is valid by it
    breaks,       ///< not what the keyword `name` at `place` says
};

struct demand {
    demand_kind kind;
    std::uint32_t place = 0;
    std::uint32_t name = 0; ///< of a list of names

    [[nodiscard]] auto operator<=>(const demand&) const noexcept = default;
};

using demands = std::vector<demand>;
using shared_language = std::shared_ptr<const automaton>;

/// properties, patternProperties and additionalProperties of one schema.
struct object_part {
    std::vector<std::pair<std::string, demand>> properties;
    std::vector<std::pair<shared_language, demand>> patterns;
    std::optional<demand> additional; ///< of keys that are not among those
};

/// prefixItems and items of one schema.
struct array_part {
    demands prefix;
    std::optional<demand> rest;
};

/// contains: so many elements meet the demand.
struct contained_part {
    demand what;
    std::uint32_t least;
    std::uint32_t most;
};

struct schema_shape {
    std::uint32_t values = set_all;
    std::vector<shared_language> strings; ///< all of them hold
    std::uint32_t least_length = 0;
    std::uint32_t most_length = unlimited;
    std::vector<shared_language> numbers;
    std::vector<object_part> objects;
    std::vector<std::string> required;
    std::uint32_t least_properties = 0;
    std::uint32_t most_properties = unlimited;
    demands property_names;
    bool is_one_value = false; ///< of objects, those that equal one: in its order
    std::vector<array_part> arrays;
    std::uint32_t least_items = 0;
    std::uint32_t most_items = unlimited;
    std::vector<contained_part> contained;
    std::optional<std::uint32_t> unique_place; ///< where uniqueItems is asked for
    /// Schemas whose keywords are yet to be met: what they ask for depends on which others hold.
    std::vector<std::uint32_t> unevaluated_properties;
    std::vector<std::uint32_t> unevaluated_items;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

#include <algorithm>
#include <cstddef>

namespace bitnet::inline BITNET_ABI::detail {

/// Items that have a place of their own among the demands.
[[nodiscard]] inline std::size_t prefix_of(const schema_shape& shape) {
    std::size_t made = 0;
    for (const array_part& part : shape.arrays) {
        made = (std::max)(made, part.prefix.size());
    }
    return made;
}
/// What the item at `index` has to meet.
[[nodiscard]] inline demands demands_of_item(const schema_shape& shape, std::size_t index) {
    demands made;
    for (const array_part& part : shape.arrays) {
        if (index < part.prefix.size()) {
            made.push_back(part.prefix[index]);
        } else if (part.rest) {
            made.push_back(*part.rest);
        }
    }
    return made;
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif

// ---- bitnet/constrain/schema_rules.hpp ----
// schema_rules: the rules of the grammar that a JSON Schema becomes, and the pieces that they share.
#ifndef BITNET_CONSTRAIN_SCHEMA_RULES_HPP
#define BITNET_CONSTRAIN_SCHEMA_RULES_HPP

// ---- bitnet/constrain/language_algebra.hpp ----
// Operations on the languages of deterministic automata without calls: intersection, difference, word lists, machines.
#ifndef BITNET_CONSTRAIN_LANGUAGE_ALGEBRA_HPP
#define BITNET_CONSTRAIN_LANGUAGE_ALGEBRA_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Of each state, whether an end can be reached from it.
[[nodiscard]] inline std::vector<bool> live_states(const automaton& whole) {
    std::vector<std::vector<std::uint32_t>> ways_in(whole.size());
    std::vector<std::uint32_t> todo;
    std::vector<bool> is_live(whole.size());
    for (std::uint32_t state = 0; state < whole.size(); ++state) {
        for (const byte_edge edge : whole.byte_edges(state)) {
            ways_in[edge.target].push_back(state);
        }
        for (const special_edge& edge : whole.special_edges(state)) {
            ways_in[edge.target].push_back(state);
        }
        if (whole.is_final(state)) {
            is_live[state] = true;
            todo.push_back(state);
        }
    }
    while (!todo.empty()) {
        const std::uint32_t state = todo.back();
        todo.pop_back();
        for (const std::uint32_t from : ways_in[state]) {
            if (!is_live[from]) {
                is_live[from] = true;
                todo.push_back(from);
            }
        }
    }
    return is_live;
}

/// The states of an automaton from which an end can be reached, renumbered; none where the start is not.
[[nodiscard]] inline automaton trimmed(const automaton& whole) {
    const std::vector<bool> is_live = live_states(whole);
    automaton made;
    if (whole.size() == 0 || !is_live[0]) {
        return made;
    }
    std::vector<std::uint32_t> number(whole.size(), 0);
    for (std::uint32_t state = 0, next = 0; state < whole.size(); ++state) {
        number[state] = is_live[state] ? next++ : automaton::no_state;
    }
    for (std::uint32_t state = 0; state < whole.size(); ++state) {
        if (!is_live[state]) {
            continue;
        }
        made.add_state(whole.is_final(state));
        for (const byte_edge edge : whole.byte_edges(state)) {
            if (is_live[edge.target]) {
                made.add(byte_edge{edge.low, edge.high, number[edge.target]});
            }
        }
        for (const special_edge& edge : whole.special_edges(state)) {
            if (is_live[edge.target]) {
                made.add(special_edge{edge.kind, edge.value, number[edge.target]});
            }
        }
    }
    return made;
}

/// Moore's partition refinement.
class state_merging {
public:
    explicit state_merging(const automaton& whole) : whole_(whole), block_(whole.size()) {}

    /// The smallest automaton of the language, or the same one where that would take long to find.
    [[nodiscard]] automaton run() {
        constexpr std::size_t most_states = 8192;
        constexpr int most_rounds = 100;
        if (whole_.size() > most_states) {
            return whole_;
        }
        for (std::uint32_t state = 0; state < whole_.size(); ++state) {
            block_[state] = whole_.is_final(state) == whole_.is_final(0) ? 0 : 1;
        }
        std::size_t blocks = 0;
        for (int round = 0; round < most_rounds; ++round) {
            const std::size_t refined = refine();
            if (refined == blocks) {
                return merged(blocks);
            }
            blocks = refined;
        }
        return whole_;
    }

private:
    using signature = std::vector<std::uint64_t>;

    /// Splits the blocks by where their states lead. \return their number
    std::size_t refine() {
        std::map<signature, std::uint32_t> numbers;
        std::vector<std::uint32_t> next(whole_.size());
        signature seen;
        for (std::uint32_t state = 0; state < whole_.size(); ++state) {
            seen.assign(1, block_[state]);
            for (const byte_edge edge : whole_.byte_edges(state)) {
                const std::uint64_t target = block_[edge.target];
                const bool continues = seen.size() > 1 && (seen.back() & 0xffffffffu) == target &&
                                       ((seen.back() >> 32) & 0xff) + 1 == edge.low;
                if (continues) {
                    seen.back() = (seen.back() & ~(std::uint64_t{0xff} << 32)) | std::uint64_t{edge.high} << 32;
                } else {
                    seen.push_back(std::uint64_t{edge.low} << 40 | std::uint64_t{edge.high} << 32 | target);
                }
            }
            next[state] = numbers.try_emplace(seen, static_cast<std::uint32_t>(numbers.size())).first->second;
        }
        block_ = std::move(next); // numbered in the order of their first states: that of the start is 0
        return numbers.size();
    }
    [[nodiscard]] automaton merged(std::size_t blocks) const {
        automaton made;
        for (std::uint32_t state = 0; state < whole_.size(); ++state) {
            if (block_[state] != made.size() || made.size() == blocks) {
                continue; // not the first of its block
            }
            made.add_state(whole_.is_final(state));
            std::optional<byte_edge> open;
            for (const byte_edge edge : whole_.byte_edges(state)) {
                const byte_edge moved{edge.low, edge.high, block_[edge.target]};
                if (open && open->target == moved.target && open->high + 1 == moved.low) {
                    open->high = moved.high;
                    continue;
                }
                if (open) {
                    made.add(*open);
                }
                open = moved;
            }
            if (open) {
                made.add(*open);
            }
        }
        return made;
    }

    const automaton& whole_;
    std::vector<std::uint32_t> block_; // per state
};

[[nodiscard]] inline automaton minimised(const automaton& whole) { return state_merging(trimmed(whole)).run(); }

/// Texts of both automata, or of the first and not the second.
enum class product_kind : std::uint8_t { both, without };

/// Builds pairs of states as they are met. Use intersection() and difference().
class language_product {
public:
    language_product(const automaton& a, const automaton& b, product_kind kind) : a_(a), b_(b), kind_(kind) {}

    [[nodiscard]] std::optional<automaton> run(std::size_t most_states) {
        if (a_.size() == 0 || (b_.size() == 0 && kind_ == product_kind::both)) {
            return automaton();
        }
        (void)number_of(0, b_.size() == 0 ? automaton::no_state : 0);
        for (std::size_t at = 0; at < pairs_.size(); ++at) {
            if (pairs_.size() > most_states) {
                return std::nullopt;
            }
            expand(pairs_[at]);
        }
        return minimised(made_);
    }

private:
    using pair = std::pair<std::uint32_t, std::uint32_t>;

    std::uint32_t number_of(std::uint32_t a, std::uint32_t b) {
        const auto [found, is_new] =
            numbers_.try_emplace(std::uint64_t{a} << 32 | b, static_cast<std::uint32_t>(pairs_.size()));
        if (is_new) {
            pairs_.push_back({a, b});
        }
        return found->second;
    }

    void expand(pair at) {
        const bool has_b = at.second != automaton::no_state;
        const bool ends_b = has_b && b_.is_final(at.second);
        made_.add_state(a_.is_final(at.first) && ends_b == (kind_ == product_kind::both));
        const auto others = has_b ? b_.byte_edges(at.second) : std::span<const byte_edge>();
        std::size_t next = 0;
        for (const byte_edge edge : a_.byte_edges(at.first)) {
            unsigned low = edge.low;
            while (low <= edge.high) {
                while (next < others.size() && others[next].high < low) {
                    ++next;
                }
                const bool is_met = next < others.size() && others[next].low <= low;
                const unsigned border = next == others.size() ? 256u
                                        : is_met              ? others[next].high + 1u
                                                              : others[next].low;
                const unsigned high = (std::min)(unsigned{edge.high}, border - 1);
                add(low, high, edge.target, is_met ? others[next].target : automaton::no_state);
                low = high + 1;
            }
        }
    }
    void add(unsigned low, unsigned high, std::uint32_t a, std::uint32_t b) {
        if (b != automaton::no_state || kind_ == product_kind::without) {
            made_.add(byte_edge{static_cast<std::uint8_t>(low), static_cast<std::uint8_t>(high), number_of(a, b)});
        }
    }

    const automaton& a_;
    const automaton& b_;
    product_kind kind_;
    automaton made_;
    std::unordered_map<std::uint64_t, std::uint32_t> numbers_;
    std::vector<pair> pairs_;
};

/// How many states a language may have here; what exceeds it is refused.
inline constexpr std::size_t most_language_states = 65'536;

/// nullopt where the result has more than most_language_states.
[[nodiscard]] inline std::optional<automaton> intersection(const automaton& a, const automaton& b) {
    return language_product(a, b, product_kind::both).run(most_language_states);
}
[[nodiscard]] inline std::optional<automaton> difference(const automaton& a, const automaton& b) {
    return language_product(a, b, product_kind::without).run(most_language_states);
}

/// The automaton of a machine that is given by its steps: `start()`, `next(state, byte)` (nullopt: refused) and
/// `is_final(state)` for a `state` that can be ordered, over the bytes of `alphabet`, sorted.
template <class Machine>
[[nodiscard]] std::optional<automaton> explored(const Machine& machine, std::string_view alphabet) {
    using state = typename Machine::state;
    std::map<state, std::uint32_t> numbers;
    std::vector<state> states{machine.start()};
    numbers.emplace(states[0], 0);
    automaton made;
    for (std::size_t at = 0; at < states.size(); ++at) {
        if (states.size() > most_language_states) {
            return std::nullopt;
        }
        const state from = states[at];
        made.add_state(machine.is_final(from));
        for (const char c : alphabet) {
            const auto byte = static_cast<std::uint8_t>(c);
            const std::optional<state> to = machine.next(from, c);
            if (!to) {
                continue;
            }
            const auto [found, is_new] = numbers.try_emplace(*to, static_cast<std::uint32_t>(states.size()));
            if (is_new) {
                states.push_back(*to);
            }
            made.add(byte_edge{byte, byte, found->second});
        }
    }
    return minimised(made);
}

/// The smallest automaton of a list of words, built word by word (Daciuk et al., 2000).
class word_automaton {
public:
    /// \pre words are added in ascending order of their bytes, none twice
    void add(std::string_view word) {
        std::size_t common = 0;
        while (common < (std::min)(word.size(), last_.size()) && word[common] == last_[common]) {
            ++common;
        }
        freeze(common);
        for (std::size_t i = common; i < word.size(); ++i) {
            open_.back().edges.push_back({static_cast<std::uint8_t>(word[i]), static_cast<std::uint8_t>(word[i]), 0});
            open_.emplace_back();
        }
        open_.back().is_final = true;
        last_ = word;
    }
    [[nodiscard]] automaton finish() {
        freeze(0);
        const std::uint32_t start = number_of(std::move(open_[0]));
        automaton made; // nodes are numbered from the ends to the start
        for (std::uint32_t i = start + 1; i-- > 0;) {
            made.add_state(nodes_[i]->is_final);
            for (const byte_edge edge : nodes_[i]->edges) {
                made.add(byte_edge{edge.low, edge.high, start - edge.target});
            }
        }
        return made;
    }

private:
    struct node {
        bool is_final = false;
        std::vector<byte_edge> edges;

        [[nodiscard]] bool operator==(const node& other) const noexcept {
            return is_final == other.is_final &&
                   std::equal(edges.begin(), edges.end(), other.edges.begin(), other.edges.end(),
                              [](byte_edge a, byte_edge b) { return a.low == b.low && a.target == b.target; });
        }
    };
    struct node_hash {
        std::size_t operator()(const node& of) const noexcept {
            std::uint64_t hash = of.is_final ? 0x9e3779b97f4a7c15u : 0x517cc1b727220a95u;
            for (const byte_edge edge : of.edges) {
                hash = (hash ^ (std::uint64_t{edge.target} << 8 | edge.low)) * 0xff51afd7ed558ccdu;
                hash ^= hash >> 31;
            }
            return to_size(hash);
        }
    };

    /// Ends all nodes of the last word below the first `depth` characters.
    void freeze(std::size_t depth) {
        while (open_.size() > depth + 1) {
            const std::uint32_t number = number_of(std::move(open_.back()));
            open_.pop_back();
            open_.back().edges.back().target = number;
        }
    }
    std::uint32_t number_of(node made) {
        const auto [found, is_new] = numbers_.try_emplace(std::move(made), static_cast<std::uint32_t>(nodes_.size()));
        if (is_new) {
            nodes_.push_back(&found->first);
        }
        return found->second;
    }

    std::vector<node> open_ = std::vector<node>(1); // along the last word
    std::string last_;
    std::unordered_map<node, std::uint32_t, node_hash> numbers_;
    std::vector<const node*> nodes_;
};

/// The automaton of some words, in any order.
[[nodiscard]] inline automaton words_automaton(std::vector<std::string_view> words) {
    std::sort(words.begin(), words.end());
    words.erase(std::unique(words.begin(), words.end()), words.end());
    word_automaton made;
    for (const std::string_view word : words) {
        made.add(word);
    }
    return words.empty() ? automaton() : made.finish();
}

/// The states of an expression without rules, as one deterministic automaton; nullopt beyond the budget.
[[nodiscard]] inline std::optional<automaton> language_of(const expression_pool& pool, expression whole,
                                                          compile_budget budget = {}) {
    constexpr std::size_t most_parts = 400'000;
    nondeterministic_automaton states;
    const std::uint32_t from = states.add_state();
    const std::uint32_t to = states.add_state();
    states.set_final(to);
    std::vector<expression_task> todo{{whole, from, to}};
    while (!todo.empty()) {
        const expression_task task = todo.back();
        todo.pop_back();
        const expression_node& at = pool.at(task.part);
        if (states.size() > most_parts ||
            (at.kind == expression_kind::repeat && (at.high == unlimited ? at.low : at.high) > most_parts)) {
            return std::nullopt;
        }
        if (at.kind == expression_kind::literal) {
            connect_literal(states, pool.text(at), task);
        } else if (at.kind == expression_kind::language) {
            states.embed(pool.texts(at), task.from, task.to);
        } else if (at.kind == expression_kind::sequence) {
            connect_sequence(states, pool.parts(at), task, todo);
        } else if (at.kind == expression_kind::repeat) {
            connect_copies(states, pool.parts(at)[0], at, task, todo);
        } else {
            for (const expression part : pool.parts(at)) {
                todo.push_back({part, task.from, task.to});
            }
        }
    }
    const auto made = determinised(states, budget);
    return made ? std::optional{minimised(*made)} : std::nullopt;
}

/// All texts that are UTF-8.
[[nodiscard]] inline automaton any_utf8() {
    expression_pool pool;
    code_point_class any;
    any.add(0, last_code_point);
    const expression all = pool.repeat(pool.one_of(std::move(any)), 0, unlimited);
    return language_of(pool, all).value_or(automaton());
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif

// ---- bitnet/constrain/schema_options.hpp ----
// schema_options: in which form JSON is written, and what becomes of keywords that cannot be enforced.
#ifndef BITNET_CONSTRAIN_SCHEMA_OPTIONS_HPP
#define BITNET_CONSTRAIN_SCHEMA_OPTIONS_HPP

#include <cstdint>

namespace bitnet::inline BITNET_ABI {

/// What becomes of a keyword that cannot be enforced.
enum class unsupported_keyword : std::uint8_t {
    refuse, ///< errc::unsupported_schema with its JSON pointer
    note,   ///< it is not enforced, and a note says so
};

/// Objects have their keys in the order of `properties`, then of `required`, then others; a key that is declared comes
/// at most once. Strings are UTF-8 with the short escapes, and \u for control characters. Integers have no fraction;
/// only numbers without bounds have exponents.
struct schema_options {
    unsupported_keyword unsupported = unsupported_keyword::refuse;
    bool closed = false;           ///< keys that `properties` does not name need additionalProperties to be allowed
    bool spaces = false;           ///< one space is allowed after each comma and colon
    bool strict_formats = false;   ///< a `format` that is not enforced is refused, not noted
    bool one_of_is_any_of = false; ///< oneOf means anyOf, and a note says so
};

} // namespace bitnet::inline BITNET_ABI

#endif

// ---- bitnet/constrain/schema_reader.hpp ----
// schema_reader: from demands on a value to the shapes that meet them: references, combinations and negations resolved.
#ifndef BITNET_CONSTRAIN_SCHEMA_READER_HPP
#define BITNET_CONSTRAIN_SCHEMA_READER_HPP

// ---- bitnet/constrain/schema_draft.hpp ----
// schema_draft: what demands on a value have come to so far, and what they ask for further.
#ifndef BITNET_CONSTRAIN_SCHEMA_DRAFT_HPP
#define BITNET_CONSTRAIN_SCHEMA_DRAFT_HPP

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Demands on one value, of which some are settled: what they come to, and what is to be chosen yet.
class schema_draft {
public:
    struct choice {
        std::uint32_t parent; ///< which demand asked for it
        std::shared_ptr<const std::vector<demands>>
            lists; ///< shared: drafts are copied with the choices they leave open
    };

    void begin(const demands& all) {
        for (const demand one : all) {
            todo_.push_back({one, none});
        }
    }
    /// The next demand, which is the present one then; nullopt at the end, or where no value is left.
    [[nodiscard]] std::optional<demand> next() {
        return at_ != todo_.size() && shape.values != 0 ? std::optional{todo_[at_++].what} : std::nullopt;
    }
    /// \return whether it is met for the first time
    [[nodiscard]] bool see(demand what) { return seen_.insert(what).second; }
    [[nodiscard]] bool has_seen(demand what) const { return seen_.count(what) != 0; }
    /// Whether the present demand asks for itself, perhaps by way of others on the same value.
    [[nodiscard]] bool is_cycle() const {
        const demand what = todo_[at_ - 1].what;
        for (std::uint32_t i = todo_[at_ - 1].parent; i != none; i = todo_[i].parent) {
            if (todo_[i].what == what) {
                return true;
            }
        }
        return false;
    }
    /// The present demand asks for another one, or for one of several lists.
    void want(demand what) { todo_.push_back({what, present()}); }
    void want_one(std::vector<demands> lists) {
        choices_.push_back({present(), std::make_shared<const std::vector<demands>>(std::move(lists))});
    }

    /// Demands so far: what a copy costs.
    [[nodiscard]] std::size_t size() const noexcept { return todo_.size(); }
    [[nodiscard]] const std::vector<choice>& choices() const noexcept { return choices_; }
    /// Whether fork() has one list left. \pre there are choices
    [[nodiscard]] bool is_at_last_fork() const noexcept { return forks_ + 1 == choices_.front().lists->size(); }
    /// The draft that meets the next list of the first choice; the last one takes all that this one has.
    /// \pre there are choices, and lists left of the first
    [[nodiscard]] schema_draft fork() {
        const choice first = choices_.front();
        const bool is_last = is_at_last_fork();
        const demands& list = (*first.lists)[forks_++];
        schema_draft made = is_last ? std::move(*this) : *this;
        made.forks_ = 0;
        made.choices_.erase(made.choices_.begin());
        for (const demand what : list) {
            made.todo_.push_back({what, first.parent});
        }
        return made;
    }

    schema_shape shape;

private:
    static constexpr std::uint32_t none = 0xffffffffu;
    struct origin {
        demand what;
        std::uint32_t parent; ///< in the same list: which demand asked for it, or none
    };
    [[nodiscard]] std::uint32_t present() const noexcept { return static_cast<std::uint32_t>(at_ - 1); }

    std::vector<origin> todo_;
    std::size_t at_ = 0;
    std::set<demand> seen_;
    std::vector<choice> choices_; ///< of each, one list has to be met
    std::size_t forks_ = 0;       ///< lists of the first one that were forked
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

// ---- bitnet/constrain/schema_evaluation.hpp ----
// schema_evaluation: unevaluatedProperties and unevaluatedItems beside keywords that combine schemas.
#ifndef BITNET_CONSTRAIN_SCHEMA_EVALUATION_HPP
#define BITNET_CONSTRAIN_SCHEMA_EVALUATION_HPP

// ---- bitnet/constrain/schema_languages.hpp ----
// schema_languages: what keywords say about strings and numbers, as languages.
#ifndef BITNET_CONSTRAIN_SCHEMA_LANGUAGES_HPP
#define BITNET_CONSTRAIN_SCHEMA_LANGUAGES_HPP

// ---- bitnet/constrain/number_language.hpp ----
// Languages of JSON numbers by their values: bounds, multiples, exact at any size. Written without exponents.
#ifndef BITNET_CONSTRAIN_NUMBER_LANGUAGE_HPP
#define BITNET_CONSTRAIN_NUMBER_LANGUAGE_HPP

#include <algorithm>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

inline constexpr std::string_view number_alphabet = "-.0123456789";

/// A decimal number, exactly: digits before and after the point, without zeros that mean nothing.
struct exact_decimal {
    bool is_negative = false;
    std::string whole;    ///< empty for 0
    std::string fraction; ///< empty for whole numbers

    [[nodiscard]] bool is_zero() const noexcept { return whole.empty() && fraction.empty(); }
    [[nodiscard]] std::string text() const {
        const std::string digits = whole.empty() ? "0" : whole;
        return (is_negative && !is_zero() ? "-" : "") + digits + (fraction.empty() ? "" : "." + fraction);
    }
};

/// The value of a JSON number; nullopt where it takes more than 4,096 digits.
[[nodiscard]] inline std::optional<exact_decimal> read_decimal(std::string_view text) {
    constexpr std::int64_t most_digits = 4096;
    exact_decimal made;
    made.is_negative = !text.empty() && text[0] == '-';
    text.remove_prefix(made.is_negative ? 1 : 0);
    const std::size_t exponent_at = (std::min)(text.find_first_of("eE"), text.size());
    std::int64_t exponent = 0;
    bool is_small = false;
    for (const char c : text.substr(exponent_at)) {
        is_small = is_small || c == '-';
        exponent = c >= '0' && c <= '9' ? (std::min)(exponent * 10 + (c - '0'), std::int64_t{1} << 40) : exponent;
    }
    const std::string_view mantissa = text.substr(0, exponent_at);
    const std::size_t point = (std::min)(mantissa.find('.'), mantissa.size());
    std::string digits(mantissa.substr(0, point));
    digits += mantissa.substr((std::min)(point + 1, mantissa.size()));
    std::int64_t whole = static_cast<std::int64_t>(point) + (is_small ? -exponent : exponent);
    const std::size_t first = (std::min)(digits.find_first_not_of('0'), digits.size());
    digits.erase(0, first);
    whole -= static_cast<std::int64_t>(first);
    digits.erase(digits.find_last_not_of('0') + 1);
    if (digits.empty()) {
        return exact_decimal{};
    }
    if (whole > most_digits || whole < -most_digits || static_cast<std::int64_t>(digits.size()) > most_digits) {
        return std::nullopt;
    }
    const auto places = static_cast<std::int64_t>(digits.size());
    made.whole = digits.substr(0, static_cast<std::size_t>((std::max)(whole, std::int64_t{0})));
    made.whole.append(static_cast<std::size_t>((std::max)(whole - places, std::int64_t{0})), '0');
    made.fraction = std::string(static_cast<std::size_t>((std::max)(-whole, std::int64_t{0})), '0') +
                    (whole < places ? digits.substr(static_cast<std::size_t>((std::max)(whole, std::int64_t{0}))) : "");
    return made;
}

/// Which numbers are meant by their order to a bound.
struct number_relation {
    bool less = false;
    bool equal = false;
    bool greater = false;
};

/// How far a JSON number has been read.
enum class number_phase : std::uint8_t { start, minus, zero, digits, point, fraction };

/// The phase after `c`; nullopt where no JSON number goes on so.
[[nodiscard]] constexpr std::optional<number_phase> phase_after(number_phase phase, char c) noexcept {
    const bool is_digit = c >= '0' && c <= '9';
    if (c == '-') {
        return phase == number_phase::start ? std::optional{number_phase::minus} : std::nullopt;
    }
    if (c == '.') {
        const bool is_whole = phase == number_phase::zero || phase == number_phase::digits;
        return is_whole ? std::optional{number_phase::point} : std::nullopt;
    }
    if (!is_digit || phase == number_phase::zero) {
        return std::nullopt;
    }
    if (phase == number_phase::start || phase == number_phase::minus) {
        return c == '0' ? number_phase::zero : number_phase::digits;
    }
    return phase == number_phase::digits ? number_phase::digits : number_phase::fraction;
}
[[nodiscard]] constexpr bool is_number_end(number_phase phase) noexcept {
    return phase == number_phase::zero || phase == number_phase::digits || phase == number_phase::fraction;
}

/// Numbers that are less than, equal to or greater than a bound, digit by digit.
class bound_machine {
public:
    struct state {
        number_phase phase = number_phase::start;
        bool is_negative = false;
        std::int8_t order = 0;   ///< of the digits so far to those of the bound
        std::uint32_t place = 0; ///< digits read of this part, as far as the bound has them and one more

        [[nodiscard]] auto operator<=>(const state&) const noexcept = default;
    };

    bound_machine(const exact_decimal& bound, number_relation wanted) : bound_(bound), wanted_(wanted) {}

    [[nodiscard]] state start() const noexcept { return {}; }
    [[nodiscard]] std::optional<state> next(const state& from, char c) const noexcept {
        const auto phase = phase_after(from.phase, c);
        if (!phase) {
            return std::nullopt;
        }
        state to = from;
        to.phase = *phase;
        to.is_negative = from.is_negative || c == '-';
        if (*phase == number_phase::point) {
            to.order = static_cast<std::int8_t>(order_of_whole(from));
            to.place = 0;
        } else if (*phase == number_phase::digits || *phase == number_phase::fraction) {
            const std::string& digits = *phase == number_phase::digits ? bound_.whole : bound_.fraction;
            const bool is_open = to.order == 0 && (*phase == number_phase::fraction || to.place < digits.size());
            const char other = to.place < digits.size() ? digits[to.place] : '0';
            to.order = !is_open ? to.order : static_cast<std::int8_t>(c < other ? -1 : c > other ? 1 : 0);
            const bool is_counted = *phase == number_phase::digits || to.order == 0;
            to.place = is_counted ? (std::min)(to.place + 1, static_cast<std::uint32_t>(digits.size()) + 1) : 0;
        }
        return to;
    }
    [[nodiscard]] bool is_final(const state& at) const noexcept {
        if (!is_number_end(at.phase)) {
            return false;
        }
        const int size = order_of_size(at);
        int order = at.is_negative ? -size : size;
        if (at.is_negative != (bound_.is_negative && !bound_.is_zero())) {
            const bool are_zero = bound_.is_zero() && size == 0;
            order = are_zero ? 0 : at.is_negative ? -1 : 1;
        }
        return order < 0 ? wanted_.less : order > 0 ? wanted_.greater : wanted_.equal;
    }

private:
    [[nodiscard]] int order_of_whole(const state& at) const noexcept {
        const std::size_t places = at.phase == number_phase::zero ? 0 : at.place;
        const std::size_t wanted = bound_.whole.size();
        return places < wanted ? -1 : places > wanted ? 1 : static_cast<int>(at.order);
    }
    /// The order of the absolute values.
    [[nodiscard]] int order_of_size(const state& at) const noexcept {
        if (at.phase != number_phase::fraction) {
            const int whole = order_of_whole(at);
            return whole != 0 || bound_.fraction.empty() ? whole : -1;
        }
        return at.order != 0 || at.place >= bound_.fraction.size() ? static_cast<int>(at.order) : -1;
    }

    const exact_decimal& bound_;
    number_relation wanted_;
};

/// Multiples of step / 10^places, by the remainder of the digits so far.
class multiple_machine {
public:
    struct state {
        number_phase phase = number_phase::start;
        std::uint32_t rest = 0;
        std::uint32_t place = 0; ///< digits behind the point

        [[nodiscard]] auto operator<=>(const state&) const noexcept = default;
    };

    multiple_machine(std::uint32_t step, std::uint32_t places) : step_(step), places_(places) {}

    [[nodiscard]] state start() const noexcept { return {}; }
    [[nodiscard]] std::optional<state> next(const state& from, char c) const noexcept {
        const auto phase = phase_after(from.phase, c);
        if (!phase) {
            return std::nullopt;
        }
        state to = from;
        to.phase = *phase;
        if (c == '-' || c == '.') {
            return to;
        }
        if (*phase == number_phase::fraction && from.place == places_) {
            return c == '0' ? std::optional{to} : std::nullopt;
        }
        to.rest = (from.rest * 10 + static_cast<std::uint32_t>(c - '0')) % step_;
        to.place = from.place + (*phase == number_phase::fraction ? 1 : 0);
        return to;
    }
    [[nodiscard]] bool is_final(const state& at) const noexcept {
        std::uint32_t rest = at.rest;
        for (std::uint32_t place = at.place; place < places_; ++place) {
            rest = rest * 10 % step_;
        }
        return is_number_end(at.phase) && rest == 0;
    }

private:
    std::uint32_t step_;
    std::uint32_t places_;
};

/// nullopt where it takes too many states.
[[nodiscard]] inline std::optional<automaton> numbers_by(const exact_decimal& bound, number_relation wanted) {
    return explored(bound_machine(bound, wanted), number_alphabet);
}
/// nullopt where the remainders are more than 4,096.
[[nodiscard]] inline std::optional<automaton> multiples_of(const exact_decimal& step) {
    constexpr std::uint64_t most_states = 4096;
    const std::string digits = step.whole + step.fraction;
    std::uint64_t value = 0;
    for (const char c : digits) {
        value = (std::min)(value * 10 + static_cast<std::uint64_t>(c - '0'), std::uint64_t{1} << 40);
    }
    if (value == 0 || value * (step.fraction.size() + 1) > most_states) {
        return std::nullopt;
    }
    return explored(
        multiple_machine(static_cast<std::uint32_t>(value), static_cast<std::uint32_t>(step.fraction.size())),
        number_alphabet);
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif

// ---- bitnet/constrain/regex_reader.hpp ----
// regex_reader: regular expressions in the dialect of JSON Schema's `pattern`. Defines grammar::regex.
#ifndef BITNET_CONSTRAIN_REGEX_READER_HPP
#define BITNET_CONSTRAIN_REGEX_READER_HPP

// ---- bitnet/constrain/group_stack.hpp ----
// group_stack: alternatives of sequences in groups, as they are read from left to right, without recursion.
#ifndef BITNET_CONSTRAIN_GROUP_STACK_HPP
#define BITNET_CONSTRAIN_GROUP_STACK_HPP

#include <cstddef>
#include <cstdint>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Makes one expression out of parts, "|" and parentheses.
class group_stack {
public:
    explicit group_stack(expression_pool& pool) : pool_(pool) { open(); }

    void open() { groups_.push_back({alternatives_.size(), parts_.size()}); }
    void add(expression part) { parts_.push_back(part); }
    /// The end of an alternative: what comes next is another one.
    void alternate() {
        const std::size_t first = groups_.back().first_part;
        alternatives_.push_back(pool_.sequence(std::span(parts_).subspan(first)));
        parts_.resize(first);
    }
    /// Closes the innermost group. \return it as one expression, which has not been added to the group around it
    [[nodiscard]] expression close() {
        alternate();
        const std::size_t first = groups_.back().first_alternative;
        const expression made = pool_.choice(std::span(alternatives_).subspan(first));
        alternatives_.resize(first);
        groups_.pop_back();
        return made;
    }
    /// Groups that are open, the outermost included.
    [[nodiscard]] std::size_t depth() const noexcept { return groups_.size(); }
    /// Whether the present alternative has no part yet.
    [[nodiscard]] bool is_empty() const noexcept { return parts_.size() == groups_.back().first_part; }
    /// Replaces the last part of the present alternative by its repetition. \pre !is_empty()
    void repeat(std::uint32_t low, std::uint32_t high) { parts_.back() = pool_.repeat(parts_.back(), low, high); }

private:
    struct group {
        std::size_t first_alternative;
        std::size_t first_part;
    };

    expression_pool& pool_;
    std::vector<group> groups_;
    std::vector<expression> alternatives_;
    std::vector<expression> parts_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

namespace detail {

/// What differs between a regular expression that a whole text has to match, and a `pattern` within a text.
struct regex_dialect {
    bool unicode_space = false; ///< \s takes the white space of Unicode, as ECMA-262 says
    bool outer_anchors = true;  ///< ^ and $ at the ends of an alternative stay as marks; otherwise they mean nothing
};

/// Bytes that UTF-8 never has: they stand for ^ and $ in expressions.
inline constexpr char start_mark = '\xfe';
inline constexpr char end_mark = '\xff';

/// One reading of a regular expression. Every step returns whether to go on; if not, the error is in failure_.
class regex_reader {
public:
    regex_reader(std::string_view text, std::string_view name, expression_pool& pool, regex_dialect dialect)
        : in_(text), bytes_(text.size()), name_(name), pool_(pool), groups_(pool), dialect_(dialect) {}

    [[nodiscard]] result<expression> run() {
        if (bytes_ > most_source_bytes) {
            return error_saying(errc::bad_grammar,
                                {name_, ": ", bytes_, " bytes, and at most ", most_source_bytes, " are read"});
        }
        while (!in_.at_end()) {
            if (!read_next()) {
                return std::move(failure_);
            }
        }
        if (groups_.depth() != 1) {
            (void)fail({"a parenthesis does not close"});
            return std::move(failure_);
        }
        return groups_.close();
    }
    /// Whether marks stand in the expression.
    [[nodiscard]] bool has_marks() const noexcept { return has_marks_; }

private:
    [[nodiscard]] bool fail(sentence_parts what) {
        return set_error(failure_, errc::bad_grammar, {name_, ": column ", in_.place() + 1, ": "}, what);
    }

    [[nodiscard]] bool read_next() {
        switch (in_.peek()) {
        case '|':
            in_.advance();
            groups_.alternate();
            return true;
        case '(':
            return open_group();
        case ')':
            if (groups_.depth() == 1) {
                return fail({"a parenthesis closes that has not been opened"});
            }
            in_.advance();
            groups_.add(close_group());
            return read_quantifier();
        case '^':
            return read_anchor(start_mark);
        case '$':
            return read_anchor(end_mark);
        case '*':
        case '+':
        case '?':
            return fail({"there is nothing to repeat here"});
        case '{':
            if (is_bounds_next()) {
                return fail({"there is nothing to repeat here"});
            }
            break;
        default:
            break;
        }
        return read_atom() && read_quantifier();
    }
    [[nodiscard]] expression close_group() { return groups_.close(); }

    [[nodiscard]] bool open_group() {
        if (in_.is_next("(?=") || in_.is_next("(?!") || in_.is_next("(?<=") || in_.is_next("(?<!")) {
            return fail({"look-around cannot be enforced"});
        }
        if (groups_.depth() > most_nested_groups) {
            return fail({"groups are nested more than ", most_nested_groups, " deep"});
        }
        in_.advance();
        if (in_.skip("?<")) { // a name
            while (!in_.at_end() && !in_.is_next('>')) {
                in_.advance();
            }
            if (!in_.skip(">")) {
                return fail({"the name of a group does not end"});
            }
        } else if (in_.is_next('?') && !in_.skip("?:")) {
            return fail({"an unknown kind of group: (?: and (?<name> are known"});
        }
        groups_.open();
        return true;
    }

    [[nodiscard]] bool read_anchor(char mark) {
        const bool is_start = mark == start_mark;
        const bool opens = is_start && groups_.is_empty();
        in_.advance();
        const bool closes = !is_start && (in_.at_end() || in_.is_next('|'));
        if (!dialect_.outer_anchors && groups_.depth() == 1 && (opens || closes)) {
            return true;
        }
        has_marks_ = true;
        groups_.add(pool_.literal({&mark, 1}));
        return in_.is_next('*') || in_.is_next('+') || in_.is_next('?') || is_bounds_next()
                   ? fail({"an anchor cannot be repeated"})
                   : true;
    }

    [[nodiscard]] bool read_atom() {
        code_point_class set;
        if (in_.is_next('[')) {
            if (!read_class(set)) {
                return false;
            }
        } else if (in_.skip(".")) {
            for (const char32_t line_end : {U'\n', U'\r', U'\u2028', U'\u2029'}) {
                set.add(line_end, line_end);
            }
            set = set.complement();
        } else {
            char32_t c = 0;
            if (!read_character(c, set, false)) {
                return false;
            }
            if (set.ranges().empty()) {
                std::string text;
                append_utf8(text, c);
                groups_.add(pool_.literal(text));
                return true;
            }
        }
        groups_.add(set.ranges().empty() ? pool_.nothing() : pool_.one_of(std::move(set)));
        return true;
    }

    [[nodiscard]] bool read_class(code_point_class& set) {
        in_.advance();
        const bool is_negated = in_.skip("^");
        while (!in_.is_next(']')) {
            if (in_.at_end()) {
                return fail({"the class does not end: ']' is missing"});
            }
            code_point_class named;
            char32_t low = 0;
            if (!read_character(low, named, true)) {
                return false;
            }
            const bool is_range = named.ranges().empty() && in_.is_next('-') && !in_.is_next("-]");
            char32_t high = low;
            if (is_range) {
                in_.advance();
                if (in_.at_end()) {
                    return fail({"the class does not end: ']' is missing"});
                }
                if (!read_character(high, named, true)) {
                    return false;
                }
            }
            if (is_range && !named.ranges().empty()) {
                return fail({"a range of the class ends in another class"});
            }
            if (high < low) {
                return fail(
                    {"a range of the class is the wrong way round: ", std::uint32_t{low}, " to ", std::uint32_t{high}});
            }
            if (named.ranges().empty()) {
                set.add(low, high);
            } else {
                set.add(named);
            }
        }
        in_.advance();
        if (is_negated) {
            set = set.complement();
        }
        return true;
    }

    /// One character, or what an escape stands for: a character, or a class, which then is not empty.
    [[nodiscard]] bool read_character(char32_t& c, code_point_class& named, bool in_class) {
        if (!in_.is_next('\\')) {
            const auto found = in_.character();
            c = found.value_or(0);
            return found || fail({"the expression is not UTF-8 here"});
        }
        in_.advance();
        if (in_.at_end()) {
            return fail({"an escape has no end"});
        }
        const char kind = in_.peek();
        switch (kind) {
        case 'd':
        case 'D':
        case 'w':
        case 'W':
        case 's':
        case 'S':
            in_.advance();
            named = class_named(kind);
            return true;
        case 'b':
            if (in_class) {
                in_.advance();
                c = '\b';
                return true;
            }
            [[fallthrough]];
        case 'B':
            return fail({"word borders cannot be enforced"});
        case 'p':
        case 'P':
            return fail({"classes of Unicode properties (\\p) are not supported"});
        case 'k':
            return fail({"back-references cannot be enforced"});
        default:
            break;
        }
        if (kind >= '1' && kind <= '9') {
            return fail({"back-references cannot be enforced"});
        }
        return read_escape(c, kind);
    }

    [[nodiscard]] bool read_escape(char32_t& c, char kind) {
        constexpr std::string_view letters = "tnvfr0";
        constexpr std::string_view meant("\t\n\v\f\r\0", 6);
        const std::size_t found = letters.find(kind);
        const bool is_letter = (kind >= 'a' && kind <= 'z') || (kind >= 'A' && kind <= 'Z') || kind == '_';
        if (found != std::string_view::npos) {
            in_.advance();
            c = static_cast<char32_t>(meant[found]);
            return kind != '0' || !(in_.peek() >= '0' && in_.peek() <= '9') ||
                   fail({"octal escapes are not supported"});
        }
        if (kind == 'x' || kind == 'u') {
            in_.advance();
            return read_code_point(c, kind == 'x' ? 2 : 4);
        }
        if (kind == 'c') {
            in_.advance();
            const char control = in_.peek();
            c = static_cast<char32_t>(control & 31);
            in_.advance(in_.at_end() ? 0 : 1);
            return (control >= 'a' && control <= 'z') || (control >= 'A' && control <= 'Z') ||
                   fail({"a letter is expected behind \\c"});
        }
        if (is_letter) {
            return fail({"an unknown escape"});
        }
        const auto character = in_.character();
        c = character.value_or(0);
        return character || fail({"the expression is not UTF-8 here"});
    }
    [[nodiscard]] bool read_code_point(char32_t& c, std::size_t digits) {
        if (digits == 4 && in_.skip("{")) {
            const std::size_t first = in_.place();
            c = 0;
            while (source_reader::hexadecimal_digit(in_.peek()) >= 0 && in_.place() < first + 6) {
                c = c * 16 + *in_.hexadecimal(1);
            }
            if (in_.place() == first || !in_.skip("}")) {
                return fail({"1 to 6 hexadecimal digits and '}' are expected here"});
            }
        } else {
            const auto first = in_.hexadecimal(digits);
            if (!first) {
                return fail({digits, " hexadecimal digits are expected here"});
            }
            c = *first;
            if (is_high_surrogate(c) && in_.skip("\\u")) {
                const auto second = in_.hexadecimal(4);
                c = second && is_low_surrogate(*second) ? of_surrogates(c, *second) : c;
            }
        }
        return (c <= last_code_point && (c < 0xd800 || c > 0xdfff)) ||
               fail({"an escape that is no character: code point ", std::uint32_t{c}});
    }

    [[nodiscard]] code_point_class class_named(char kind) const {
        code_point_class set;
        if (kind == 'd' || kind == 'D') {
            set.add('0', '9');
        } else if (kind == 'w' || kind == 'W') {
            set.add('0', '9');
            set.add('A', 'Z');
            set.add('_', '_');
            set.add('a', 'z');
        } else {
            set.add('\t', '\r');
            set.add(' ', ' ');
            if (dialect_.unicode_space) {
                for (const char32_t c : {0xa0u, 0x1680u, 0x2028u, 0x2029u, 0x202fu, 0x205fu, 0x3000u, 0xfeffu}) {
                    set.add(c, c);
                }
                set.add(0x2000, 0x200a);
            }
        }
        return kind >= 'A' && kind <= 'Z' ? set.complement() : set;
    }

    [[nodiscard]] bool is_bounds_next() {
        const std::size_t before = in_.place();
        bool found = in_.skip("{") && in_.number().has_value();
        if (found && in_.skip(",")) {
            (void)in_.number();
        }
        found = found && in_.is_next('}');
        in_.go_to(before);
        return found;
    }

    /// *, +, ? or {...} behind a part, and whether it is lazy, which does not change the language.
    [[nodiscard]] bool read_quantifier() {
        std::uint32_t low = 0;
        std::uint32_t high = unlimited;
        if (in_.skip("+")) {
            low = 1;
        } else if (in_.skip("?")) {
            high = 1;
        } else if (is_bounds_next()) {
            in_.advance();
            low = in_.number().value_or(0);
            high = low;
            if (in_.skip(",")) {
                high = in_.number().value_or(unlimited);
            }
            if (low > largest_count || (high != unlimited && high > largest_count)) {
                return fail({"a repetition is of at most ", largest_count, " times"});
            }
            if (high < low) {
                return fail({"at most ", high, " times is fewer than at least ", low});
            }
            in_.advance();
        } else if (!in_.skip("*")) {
            return true;
        }
        (void)in_.skip("?");
        groups_.repeat(low, high);
        return true;
    }

    source_reader in_;
    std::size_t bytes_;
    std::string_view name_;
    expression_pool& pool_;
    group_stack groups_;
    regex_dialect dialect_;
    bool has_marks_ = false;
    error failure_;
};

/// Texts w of which start_mark* w end_mark* has a text in `marked`: what an expression means whose ^ and $ are marks.
[[nodiscard]] inline std::optional<automaton> without_marks(const automaton& marked) {
    constexpr auto start = static_cast<std::uint8_t>(start_mark);
    constexpr auto end = static_cast<std::uint8_t>(end_mark);
    nondeterministic_automaton states;
    const std::uint32_t from = states.add_state();
    for (std::size_t state = 0; state < marked.size(); ++state) {
        states.add_state();
    }
    std::vector<bool> is_met(marked.size());
    for (std::uint32_t at = marked.size() == 0 ? automaton::no_state : 0; at != automaton::no_state && !is_met[at];
         at = marked.next(at, start)) {
        is_met[at] = true;
        states.skip(from, at + 1);
    }
    for (std::uint32_t state = 0; state < marked.size(); ++state) {
        for (const byte_edge edge : marked.byte_edges(state)) {
            if (edge.low < start) {
                states.add(state + 1,
                           byte_edge{edge.low, (std::min)(edge.high, std::uint8_t{start - 1}), edge.target + 1});
            }
        }
        std::uint32_t last = state;
        for (std::size_t steps = 0; steps <= marked.size() && last != automaton::no_state; ++steps) {
            if (marked.is_final(last)) {
                states.set_final(state + 1);
                break;
            }
            last = marked.next(last, end);
        }
    }
    compile_budget budget;
    const auto made = determinised(states, budget);
    return made ? std::optional{minimised(*made)} : std::nullopt;
}

/// The texts in which `pattern` matches somewhere, over the UTF-8 of the text itself.
/// \return errc::bad_grammar as regex_reader has it, errc::grammar_budget.
[[nodiscard]] inline result<automaton> pattern_language(std::string_view pattern, std::string_view name) {
    expression_pool pool;
    auto read = regex_reader(pattern, name, pool, {.unicode_space = true, .outer_anchors = true}).run();
    if (!read) {
        return failed(read);
    }
    const expression any = pool.language(any_utf8());
    const expression before = pool.sequence({pool.repeat(pool.literal({&start_mark, 1}), 0, unlimited), any});
    const expression after = pool.sequence({any, pool.repeat(pool.literal({&end_mark, 1}), 0, unlimited)});
    const auto marked = language_of(pool, pool.sequence({before, *read, after}));
    auto made = marked ? without_marks(*marked) : std::nullopt;
    if (!made) {
        return error_saying(errc::grammar_budget,
                            {name, ": the pattern has more than ", most_language_states, " states"});
    }
    return *std::move(made);
}

} // namespace detail

inline result<grammar> grammar::regex(std::string_view pattern, std::string_view name) {
    return detail::guarded([&]() -> result<grammar> {
        detail::grammar_source source;
        detail::regex_reader reader(pattern, name, source.pool, {.unicode_space = false, .outer_anchors = false});
        auto read = reader.run();
        if (!read) {
            return failed(read);
        }
        if (reader.has_marks()) {
            const auto marked = detail::language_of(source.pool, *read);
            auto made = marked ? detail::without_marks(*marked) : std::nullopt;
            if (!made) {
                return detail::error_saying(errc::grammar_budget,
                                            {name, ": an expression with anchors inside has more than ",
                                             detail::most_language_states, " states"});
            }
            source.rules.push_back({"root", source.pool.language(*std::move(made))});
        } else {
            source.rules.push_back({"root", *read});
        }
        return detail::compiled(source, name);
    });
}

} // namespace bitnet::inline BITNET_ABI

#endif

// ---- bitnet/constrain/schema_source.hpp ----
// schema_source: the text of a schema, the mistakes that are found in it, and what is not enforced.
#ifndef BITNET_CONSTRAIN_SCHEMA_SOURCE_HPP
#define BITNET_CONSTRAIN_SCHEMA_SOURCE_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Keywords of JSON Schema that ask for nothing.
[[nodiscard]] inline bool is_annotation(std::string_view key) noexcept {
    constexpr std::string_view all[] = {
        "title",         "description", "default",   "examples", "$comment", "contentEncoding", "contentMediaType",
        "contentSchema", "$schema",     "$id",       "$anchor",  "$defs",    "definitions",     "$vocabulary",
        "deprecated",    "readOnly",    "writeOnly", "id"};
    return std::find(std::begin(all), std::end(all), key) != std::end(all);
}

/// The text of a schema, and what is said about it: steps that read from it return whether to go on; if not, the error
/// is in failure().
class schema_source {
public:
    schema_source(const json_document& text, std::string_view name, const schema_options& options)
        : document_(text), name_(name), options_(options) {}

    [[nodiscard]] json_value value(std::uint32_t place) const { return document_.at(place).value; }
    [[nodiscard]] schema_document& document() noexcept { return document_; }
    [[nodiscard]] const schema_document& document() const noexcept { return document_; }
    [[nodiscard]] const schema_options& options() const noexcept { return options_; }
    [[nodiscard]] std::string_view source_name() const noexcept { return name_; }
    [[nodiscard]] error& failure() noexcept { return failure_; }
    [[nodiscard]] std::vector<std::string>& notes() noexcept { return notes_; }

    /// Whether an unevaluated* keyword was met that depends on which schemas hold.
    [[nodiscard]] bool has_unevaluated() const noexcept { return has_unevaluated_; }
    void set_unevaluated() noexcept { has_unevaluated_ = true; }

    /// Steps of reading: a schema of a megabyte may refer to half of itself ten thousand times.
    void count_steps(std::size_t more) noexcept { steps_ += more; }
    [[nodiscard]] bool has_steps_left() {
        return steps_ <= most_steps || set_error(failure_, errc::grammar_budget, {name_, ": "},
                                                 {"combinations of its schemas take more than ", most_steps, " steps"});
    }

    // -- errors and notes --
    [[nodiscard]] bool malformed(std::uint32_t place, sentence_parts why) {
        return set_error(failure_, errc::bad_schema, {name_, ": ", quoted{document_.pointer(place)}, ": "}, why);
    }
    void note(std::string text) {
        constexpr std::size_t most_notes = 100;
        if (notes_.size() < most_notes && std::find(notes_.begin(), notes_.end(), text) == notes_.end()) {
            notes_.push_back(std::move(text));
        }
    }
    void note_unknown(std::uint32_t keyword) {
        note(sentence({quoted{document_.pointer(keyword)}, ": no keyword of JSON Schema, taken as an annotation"}));
    }
    /// What cannot be enforced: an error, or a note where that is asked for.
    [[nodiscard]] bool refuse(std::uint32_t place, sentence_parts why) {
        if (options_.unsupported == unsupported_keyword::note) {
            std::string text;
            for (const sentence_part& part : why) {
                part.append_to(text);
            }
            note(sentence({quoted{document_.pointer(place)}, ": ", text, "; it is not enforced"}));
            return true;
        }
        return set_error(failure_, errc::unsupported_schema, {name_, ": ", quoted{document_.pointer(place)}, ": "},
                         why);
    }

    // -- what keywords hold --
    [[nodiscard]] bool read_types(std::uint32_t at, std::uint32_t& values) {
        const json_value type = value(at);
        if (const auto one = type.as_string()) {
            values = values_of_type(*one);
            return values != 0 || malformed(at, {"no type is called ", quoted{*one}});
        }
        if (!type.is_array()) {
            return malformed(at, {"a type is a name or a list of names"});
        }
        for (const json_value element : type.elements()) {
            const std::uint32_t more = values_of_type(element.as_string().value_or(""));
            if (more == 0) {
                return malformed(at, {"the list holds something else than names of types"});
            }
            values |= more;
        }
        return true;
    }
    [[nodiscard]] bool read_types_quietly(std::uint32_t at, std::uint32_t& values) {
        const error before = failure_;
        const bool is_read = read_types(at, values);
        failure_ = before;
        return is_read;
    }
    /// A count of a schema: a whole number that is not negative; what is larger than any count here, as unlimited.
    [[nodiscard]] bool read_count(std::uint32_t at, std::uint32_t& count) {
        const auto text = value(at).as_number_text();
        const auto number = text ? read_decimal(*text) : std::nullopt;
        if (!number || !number->fraction.empty() || (number->is_negative && !number->is_zero())) {
            return malformed(at, {"a whole number from 0 on is expected"});
        }
        std::uint64_t sum = 0;
        for (const char c : number->whole) {
            sum = (std::min)(sum * 10 + static_cast<std::uint64_t>(c - '0'), std::uint64_t{unlimited});
        }
        count = sum > largest_count ? unlimited : static_cast<std::uint32_t>(sum);
        return true;
    }
    [[nodiscard]] bool raise(std::uint32_t at, std::uint32_t& least) {
        std::uint32_t count = 0;
        if (!read_count(at, count)) {
            return false;
        }
        least = count != unlimited ? (std::max)(least, count) : least;
        return count != unlimited || refuse(at, {"a count above ", largest_count, " is not supported"});
    }
    [[nodiscard]] bool lower(std::uint32_t at, std::uint32_t& most) {
        std::uint32_t count = 0;
        const bool is_read = read_count(at, count);
        most = (std::min)(most, count);
        return is_read && (count != unlimited || refuse(at, {"a count above ", largest_count, " is not supported"}));
    }

    // -- keys, by number --
    [[nodiscard]] std::uint32_t name(std::string_view text) {
        const auto [found, is_new] =
            name_numbers_.try_emplace(std::string(text), static_cast<std::uint32_t>(names_.size()));
        if (is_new) {
            names_.emplace_back(text);
        }
        return found->second;
    }
    [[nodiscard]] const std::string& name_of(demand of) const { return names_[of.name]; }

private:
    static constexpr std::uint64_t most_steps = 2'000'000; // about a second

    schema_document document_;
    std::string_view name_;
    const schema_options& options_;
    std::vector<std::string> names_;
    std::map<std::string, std::uint32_t> name_numbers_;
    std::vector<std::string> notes_;
    bool has_unevaluated_ = false;
    std::uint64_t steps_ = 0;
    error failure_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

// ---- bitnet/constrain/string_format.hpp ----
// string_format: the values of `format` that are enforced, as regular expressions.
#ifndef BITNET_CONSTRAIN_STRING_FORMAT_HPP
#define BITNET_CONSTRAIN_STRING_FORMAT_HPP

#include <string>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// The pattern of a format's strings, anchored; empty for a format that is only an annotation here. Deliberately
/// narrower than the RFCs where they leave what a pattern cannot tell: leap seconds are those of UTC, host names have
/// no A-labels.
[[nodiscard]] inline std::string pattern_of_format(std::string_view format) {
    const std::string date = "(?:\\d{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|"
                             "30)|02-(?:0[1-9]|1\\d|2[0-8]))"
                             "|(?:\\d\\d(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29)";
    const std::string hours = "(?:[01]\\d|2[0-3]):[0-5]\\d";
    const std::string time =
        "(?:" + hours + ":[0-5]\\d(?:\\.\\d+)?(?:[Zz]|[+\\-]" + hours + ")|23:59:60(?:\\.\\d+)?(?:[Zz]|[+\\-]00:00))";
    const std::string octet = "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
    const std::string ipv4 = "(?:" + octet + "\\.){3}" + octet;
    const std::string h16 = "[0-9A-Fa-f]{1,4}";
    const std::string ls32 = "(?:" + h16 + ":" + h16 + "|" + ipv4 + ")";
    const auto up_to = [&](const char* times) { return "(?:(?:" + h16 + ":){0," + times + "}" + h16 + ")?"; };
    const std::string ipv6 = "(?:(?:" + h16 + ":){6}" + ls32 + "|::(?:" + h16 + ":){5}" + ls32 + "|(?:" + h16 +
                             ")?::(?:" + h16 + ":){4}" + ls32 + "|" + up_to("1") + "::(?:" + h16 + ":){3}" + ls32 +
                             "|" + up_to("2") + "::(?:" + h16 + ":){2}" + ls32 + "|" + up_to("3") + "::" + h16 + ":" +
                             ls32 + "|" + up_to("4") + "::" + ls32 + "|" + up_to("5") + "::" + h16 + "|" + up_to("6") +
                             "::)";
    // The third and fourth characters of a label are not both hyphens.
    const std::string alnum = "[A-Za-z0-9]";
    const std::string any = "[A-Za-z0-9-]";
    const std::string label = "(?:" + alnum + "|" + alnum + any + "{0,2}" + alnum + "|" + alnum + any + "(?:" + alnum +
                              any + "|-" + alnum + ")" + any + "{0,58}" + alnum + ")";
    const std::string host = label + "(?:\\." + label + ")*";
    const std::string atom = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~\\-]+";
    const std::string pct = "%[0-9A-Fa-f]{2}";
    const std::string unreserved = "A-Za-z0-9\\-._~!$&'()*+,;=";
    const std::string pchar = "(?:[" + unreserved + ":@]|" + pct + ")";
    const std::string authority = "(?:(?:[" + unreserved + ":]|" + pct + ")*@)?(?:\\[" + ipv6 + "\\]|(?:[" +
                                  unreserved + "]|" + pct + ")*)(?::\\d*)?";
    const std::string path = "(?://" + authority + "(?:/" + pchar + "*)*|/(?:" + pchar + "+(?:/" + pchar + "*)*)?|" +
                             pchar + "+(?:/" + pchar + "*)*)?";
    const std::string tail = "(?:\\?(?:" + pchar + "|[/?])*)?(?:#(?:" + pchar + "|[/?])*)?";
    const std::string day = "(?:\\d+Y(?:\\d+M(?:\\d+D)?)?|\\d+M(?:\\d+D)?|\\d+D)";
    const std::string clock = "T(?:\\d+H(?:\\d+M(?:\\d+S)?)?|\\d+M(?:\\d+S)?|\\d+S)";
    const std::string patterns[][2] = {
        {"date", date},
        {"time", time},
        {"date-time", date + "[Tt]" + time},
        {"duration", "P(?:\\d+W|" + day + "(?:" + clock + ")?|" + clock + ")"},
        {"ipv4", ipv4},
        {"ipv6", ipv6},
        {"hostname", host},
        {"email", "(?:" + atom + "(?:\\." + atom + ")*|\"(?:[ !#-\\[\\]-~]|\\\\[ -~])*\")@(?:" + host +
                      "|\\[(?:" + ipv4 + "|IPv6:" + ipv6 + ")\\])"},
        {"uri", "[A-Za-z][A-Za-z0-9+.\\-]*:" + path + tail},
        {"uuid", "[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}"},
        {"json-pointer", "(?:/(?:[^~/]|~[01])*)*"},
    };
    for (const auto& [name, pattern] : patterns) {
        if (name == format) {
            return "^(?:" + pattern + ")$";
        }
    }
    return {};
}

/// The most characters of a format's strings, 0 for no limit.
[[nodiscard]] inline unsigned longest_of_format(std::string_view format) { return format == "hostname" ? 253 : 0; }

} // namespace bitnet::inline BITNET_ABI::detail

#endif

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Adds to shapes what keywords of one schema say about strings and numbers.
class schema_languages {
public:
    /// Borrows the source.
    explicit schema_languages(schema_source& in) : in_(in) {}

    // -- strings --
    /// A long repetition of one class, as in ^.{1,5000}$, is a language and a length: that is counted, not copied.
    [[nodiscard]] bool add_counted_class(schema_shape& shape, std::uint32_t at) {
        constexpr std::uint32_t copied = 64;
        const std::string_view pattern = in_.value(at).as_string().value_or("");
        if (pattern.size() < 2 || pattern.front() != '^' || pattern.back() != '$') {
            return false;
        }
        expression_pool pool;
        regex_reader reader(pattern, "pattern", pool, {.unicode_space = true, .outer_anchors = false});
        const auto read = reader.run();
        const expression_node whole = read ? pool.at(*read) : expression_node{};
        if (!read || reader.has_marks() || whole.kind != expression_kind::repeat ||
            (whole.high == unlimited ? whole.low : whole.high) <= copied ||
            pool.at(pool.parts(whole)[0]).kind != expression_kind::language) {
            return false;
        }
        auto any_number = language_of(pool, pool.repeat(pool.parts(whole)[0], 0, unlimited));
        if (!any_number) {
            return false;
        }
        shape.strings.push_back(std::make_shared<const automaton>(*std::move(any_number)));
        shape.least_length = (std::max)(shape.least_length, whole.low);
        shape.most_length = (std::min)(shape.most_length, whole.high);
        return true;
    }
    [[nodiscard]] bool add_pattern(std::vector<shared_language>& to, std::uint32_t at, bool is_negated) {
        const auto pattern = in_.value(at).as_string();
        if (!pattern) {
            return in_.malformed(at, {"a pattern is a string"});
        }
        return add_pattern_text(to, at, *pattern, is_negated);
    }
    [[nodiscard]] bool add_pattern_text(std::vector<shared_language>& to, std::uint32_t at, std::string_view pattern,
                                        bool is_negated) {
        const auto known = patterns_.find(pattern);
        shared_language made = known == patterns_.end() ? nullptr : known->second;
        if (made == nullptr) {
            auto read = pattern_language(pattern, "pattern");
            if (!read) {
                return in_.refuse(at, {read.error().message});
            }
            made = std::make_shared<const automaton>(*std::move(read));
            patterns_.emplace(pattern, made);
        }
        return add_language(to, at, made, is_negated, any_text_);
    }
    /// Adds a language, or what is in `all` and not in it.
    [[nodiscard]] bool add_language(std::vector<shared_language>& to, std::uint32_t at, shared_language made,
                                    bool is_negated, const automaton& all) {
        if (is_negated) {
            auto others = difference(all, *made);
            if (!others) {
                return in_.refuse(at, {"it has more than ", most_language_states, " states"});
            }
            made = std::make_shared<const automaton>(*std::move(others));
        }
        to.push_back(std::move(made));
        return true;
    }
    [[nodiscard]] bool add_format(schema_shape& shape, std::uint32_t at) {
        const auto format = in_.value(at).as_string();
        if (!format) {
            return in_.malformed(at, {"a format is a string"});
        }
        const std::string pattern = pattern_of_format(*format);
        if (pattern.empty()) {
            if (in_.options().strict_formats) {
                return in_.refuse(at, {"the format ", quoted{*format}, " is not supported"});
            }
            in_.note(sentence(
                {quoted{in_.document().pointer(at)}, ": the format ", quoted{*format}, " is taken as an annotation"}));
            return true;
        }
        if (const unsigned most = longest_of_format(*format)) {
            shape.most_length =
                (shape.values & set_string) != 0 ? (std::min)(shape.most_length, most) : shape.most_length;
        }
        return add_pattern_text(shape.strings, at, pattern, false);
    }

    // -- numbers --
    [[nodiscard]] bool add_number_keyword(schema_shape& shape, std::uint32_t place, std::string_view key,
                                          std::uint32_t at) {
        if (in_.value(at).as_bool() && key.substr(0, 9) == "exclusive") { // of draft 4: read with minimum and maximum
            return true;
        }
        number_relation wanted;
        wanted.greater = key == "minimum" || key == "exclusiveMinimum";
        wanted.less = !wanted.greater;
        wanted.equal = (key == "minimum" || key == "maximum") && !is_strict(place, key);
        return add_numbers(shape, at, key == "multipleOf", wanted, false);
    }
    /// Whether `minimum` or `maximum` of a schema is exclusive in the way of draft 4.
    [[nodiscard]] bool is_strict(std::uint32_t place, std::string_view key) const {
        const auto strict = in_.value(place).find(key == "minimum" ? "exclusiveMinimum" : "exclusiveMaximum");
        return strict && strict->as_bool().value_or(false);
    }
    [[nodiscard]] bool add_numbers(schema_shape& shape, std::uint32_t at, bool is_step, number_relation wanted,
                                   bool is_negated) {
        const auto text = in_.value(at).as_number_text();
        if (!text) {
            return in_.malformed(at, {"a number is expected"});
        }
        const auto number = read_decimal(*text);
        if (!number) {
            return in_.refuse(at, {"a number of more than 4096 digits is not supported"});
        }
        if (is_step && (number->is_negative || number->is_zero())) {
            return in_.malformed(at, {"a number above 0 is expected"});
        }
        auto made = is_step ? multiples_of(*number) : numbers_by(*number, wanted);
        if (!made) {
            return in_.refuse(at, {"multiples of ", number->text(), " need more than 4096 remainders"});
        }
        return add_language(shape.numbers, at, std::make_shared<const automaton>(*std::move(made)), is_negated,
                            all_numbers());
    }
    [[nodiscard]] const automaton& all_numbers() {
        if (all_numbers_.size() == 0) {
            all_numbers_ = numbers_by({}, {true, true, true}).value_or(automaton());
        }
        return all_numbers_;
    }

    // -- values without parts --
    /// One of them.
    [[nodiscard]] bool meet_scalars(schema_shape& shape, const std::vector<std::uint32_t>& all) {
        std::uint32_t values = 0;
        std::vector<std::string_view> texts;
        std::vector<std::string> numbers;
        for (const std::uint32_t one : all) {
            const json_value scalar = in_.value(one);
            if (const auto text = scalar.as_string()) {
                values |= set_string;
                texts.push_back(*text);
            } else if (const auto written = scalar.as_number_text()) {
                const auto number = read_decimal(*written);
                if (!number) {
                    return in_.refuse(one, {"a number of more than 4096 digits is not supported"});
                }
                values |= number->fraction.empty() ? set_whole : set_fraction;
                numbers.push_back(number->text());
                if (written->find_first_of("eE") == std::string_view::npos &&
                    !(number->is_zero() && (*written)[0] == '-')) {
                    numbers.emplace_back(*written);
                }
            } else if (const auto truth = scalar.as_bool()) {
                values |= *truth ? set_true : set_false;
            } else if (scalar.is_null()) {
                values |= set_null;
            }
        }
        shape.values &= values;
        if (!texts.empty()) {
            shape.strings.push_back(std::make_shared<const automaton>(words_automaton(std::move(texts))));
        }
        if (!numbers.empty()) {
            auto words = words_automaton({numbers.begin(), numbers.end()});
            shape.numbers.push_back(std::make_shared<const automaton>(std::move(words)));
        }
        return true;
    }
    /// None of them.
    [[nodiscard]] bool avoid_values(schema_shape& shape, const std::vector<std::uint32_t>& all) {
        std::vector<std::string_view> texts;
        for (const std::uint32_t one : all) {
            const json_value avoided = in_.value(one);
            if (const auto text = avoided.as_string()) {
                texts.push_back(*text);
            } else if (avoided.as_number_text()) {
                if (!add_numbers(shape, one, false, {true, false, true}, false)) {
                    return false;
                }
            } else if (const auto truth = avoided.as_bool()) {
                shape.values &= ~std::uint32_t{*truth ? set_true : set_false};
            } else if (avoided.is_null()) {
                shape.values &= ~std::uint32_t{set_null};
            } else if (!in_.refuse(one, {"an array or object cannot be excluded"})) {
                return false;
            }
        }
        const auto words = std::make_shared<const automaton>(words_automaton(std::move(texts)));
        return words->size() == 0 || add_language(shape.strings, all[0], words, true, any_text_);
    }

private:
    schema_source& in_;
    automaton any_text_ = any_utf8();
    automaton all_numbers_;
    std::map<std::string, shared_language, std::less<>> patterns_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// A draft without open choices says of each schema that applies to its value whether it holds. The parts that those
/// evaluate which do are therefore known, and what is left for an unevaluated* keyword is what additional* would be
/// left by one schema that has all these parts. Where a schema may hold unasked, and evaluate something, that is not
/// so: the keyword is refused.
class schema_evaluation {
public:
    /// Borrows both.
    schema_evaluation(schema_source& in, schema_languages& languages) : in_(in), languages_(languages) {}

    /// Whether drafts have to say of every schema of this anyOf whether it holds: see subsets().
    [[nodiscard]] bool needs_subsets(std::uint32_t place, std::uint32_t any_of) {
        const std::vector<std::uint32_t> parts = in_.document().children(any_of);
        const bool is_needed = in_.has_unevaluated() && parts.size() > 1 && parts.size() <= most_parts &&
                               std::any_of(parts.begin(), parts.end(), [&](std::uint32_t part) {
                                   return may_evaluate(part, of_objects) || may_evaluate(part, of_arrays);
                               });
        if (is_needed) {
            subsets_of_.insert(place);
        }
        return is_needed;
    }
    /// Demands for all sets of some schemas of an anyOf.
    [[nodiscard]] static std::vector<demands> subsets(const std::vector<std::uint32_t>& parts) {
        std::vector<demands> lists;
        for (std::size_t set = 1; set >> parts.size() == 0; ++set) {
            demands list;
            for (std::size_t i = 0; i < parts.size(); ++i) {
                if ((set >> i & 1) != 0) {
                    list.push_back({demand_kind::schema, parts[i]});
                }
            }
            lists.push_back(std::move(list));
        }
        return lists;
    }

    /// Adds to the draft's shape what its unevaluated* keywords ask for. \pre it has no choices left
    [[nodiscard]] bool meet(schema_draft& of) {
        for (const std::uint32_t place : of.shape.unevaluated_properties) {
            evaluated found;
            if (!collect(of, place, of_objects, found)) {
                return false;
            }
            if (!found.is_all) {
                found.members.additional = demand{demand_kind::schema, keyword_of(place, of_objects)};
                of.shape.objects.push_back(std::move(found.members));
            }
        }
        for (const std::uint32_t place : of.shape.unevaluated_items) {
            evaluated found;
            if (!collect(of, place, of_arrays, found)) {
                return false;
            }
            if (!found.is_all) {
                of.shape.arrays.push_back(
                    {std::move(found.prefix), demand{demand_kind::schema, keyword_of(place, of_arrays)}});
            }
        }
        return true;
    }

private:
    static constexpr std::size_t most_parts = 4; ///< of an anyOf

    enum parts_of : std::uint8_t { of_objects, of_arrays };
    struct evaluated {
        object_part members; ///< their demands are those that hold anyhow
        demands prefix;
        bool is_all = false;
    };

    [[nodiscard]] std::uint32_t keyword_of(std::uint32_t place, parts_of kind) {
        return *in_.document().child(place, kind == of_objects ? "unevaluatedProperties" : "unevaluatedItems");
    }
    [[nodiscard]] bool refuse(std::uint32_t place, parts_of kind, evaluated& found, std::string_view key) {
        found.is_all = true; // as far as this goes on, nothing more is asked for
        return in_.refuse(keyword_of(place, kind), {"beside ", quoted{key}, " it cannot be enforced here"});
    }

    /// What the schemas evaluate that hold and apply to the same value as the one at `place`, itself included.
    [[nodiscard]] bool collect(const schema_draft& of, std::uint32_t place, parts_of kind, evaluated& found) {
        std::set<std::uint32_t> met{place};
        std::vector<std::uint32_t> todo{place};
        while (!todo.empty() && !found.is_all) {
            const std::uint32_t at = todo.back();
            todo.pop_back();
            in_.count_steps(1);
            if (!add_own(at, place, kind, found)) {
                return false;
            }
            std::vector<std::uint32_t> applied;
            std::string_view unsure;
            for (const auto [key, member] : in_.value(at).members()) {
                if (!add_applied(of, at, key, kind, applied)) {
                    unsure = key;
                }
            }
            if (!unsure.empty() && !found.is_all) {
                return refuse(place, kind, found, unsure);
            }
            for (const std::uint32_t one : applied) {
                if (met.insert(one).second) {
                    todo.push_back(one);
                }
            }
        }
        return true;
    }

    /// What one schema evaluates by itself. \param place whose keyword it is for, and which is no part of that
    [[nodiscard]] bool add_own(std::uint32_t at, std::uint32_t place, parts_of kind, evaluated& found) {
        const json_value schema = in_.value(at);
        if (kind == of_objects) {
            found.is_all = found.is_all || schema.find("additionalProperties") ||
                           (at != place && schema.find("unevaluatedProperties"));
            return found.is_all || add_members(at, found.members);
        }
        const auto items = schema.find("items");
        const bool is_old = items && items->is_array();
        found.is_all = found.is_all || (items && !is_old) || (is_old && schema.find("additionalItems")) ||
                       (at != place && schema.find("unevaluatedItems"));
        const auto prefix = in_.document().child(at, is_old ? "items" : "prefixItems");
        const std::vector<std::uint32_t> first =
            prefix ? in_.document().children(*prefix) : std::vector<std::uint32_t>();
        for (std::size_t i = found.prefix.size(); i < first.size(); ++i) {
            found.prefix.push_back({demand_kind::schema, first[i]});
        }
        return true;
    }
    [[nodiscard]] bool add_members(std::uint32_t at, object_part& members) {
        if (const auto list = in_.document().child(at, "properties")) {
            for (const auto [key, member] : in_.value(*list).members()) {
                members.properties.emplace_back(key, demand{demand_kind::schema, *in_.document().child(*list, key)});
            }
        }
        if (const auto list = in_.document().child(at, "patternProperties")) {
            for (const auto [pattern, member] : in_.value(*list).members()) {
                const std::uint32_t schema = *in_.document().child(*list, pattern);
                std::vector<shared_language> made;
                if (!languages_.add_pattern_text(made, schema, pattern, false)) {
                    return false;
                }
                if (!made.empty()) {
                    members.patterns.emplace_back(made[0], demand{demand_kind::schema, schema});
                }
            }
        }
        return true;
    }

    /// The schemas of a keyword that apply to the same value and hold. \return false where one that is not known to
    /// hold may, and may evaluate something
    [[nodiscard]] bool add_applied(const schema_draft& of, std::uint32_t at, std::string_view key, parts_of kind,
                                   std::vector<std::uint32_t>& applied) {
        const auto evaluates = [&](std::uint32_t part) { return may_evaluate(part, kind); };
        const std::vector<std::uint32_t> parts = applied_by(at, key);
        if (key == "allOf" || key == "$ref") {
            applied.insert(applied.end(), parts.begin(), parts.end());
            return true;
        }
        if (key == "if") {
            return add_conditional(of, at, applied) || std::none_of(parts.begin(), parts.end(), evaluates);
        }
        if (key == "anyOf" || key == "oneOf") {
            std::copy_if(parts.begin(), parts.end(), std::back_inserter(applied), [&](std::uint32_t part) {
                return of.has_seen({demand_kind::schema, part});
            });
            const bool is_known =
                key == "oneOf" ? !in_.options().one_of_is_any_of : parts.size() == 1 || subsets_of_.count(at) != 0;
            return is_known || std::none_of(parts.begin(), parts.end(), evaluates);
        }
        if (key == "dependentSchemas" || key == "dependencies") {
            return add_dependent(of, at, key, kind, applied);
        }
        // Items are evaluated one by one by `contains`, and whatever dynamic references lead to is not known.
        return key != "$dynamicRef" && key != "$recursiveRef" && (key != "contains" || kind == of_objects);
    }
    /// \return whether the draft says if the condition holds
    [[nodiscard]] bool add_conditional(const schema_draft& of, std::uint32_t at, std::vector<std::uint32_t>& applied) {
        const std::uint32_t condition = *in_.document().child(at, "if");
        const bool holds = of.has_seen({demand_kind::schema, condition});
        if (!holds && !of.has_seen({demand_kind::negated, condition})) {
            return false;
        }
        if (holds) {
            applied.push_back(condition);
        }
        if (const auto next = in_.document().child(at, holds ? "then" : "else")) {
            applied.push_back(*next);
        }
        return true;
    }

    /// A schema that depends on a key: applies where the draft asks for the key. \return whether the draft says so, or
    /// that the key is not there
    [[nodiscard]] bool add_dependent(const schema_draft& of, std::uint32_t at, std::string_view key, parts_of kind,
                                     std::vector<std::uint32_t>& applied) {
        const std::uint32_t list = *in_.document().child(at, key);
        for (const auto [name, member] : in_.value(list).members()) {
            const std::uint32_t part = *in_.document().child(list, name);
            const bool is_there = of.has_seen({demand_kind::has, 0, in_.name(name)});
            if (is_there && of.has_seen({demand_kind::schema, part})) {
                applied.push_back(part);
            } else if (!of.has_seen({demand_kind::lacks, 0, in_.name(name)}) && may_evaluate(part, kind)) {
                return false;
            }
        }
        return true;
    }

    /// The schemas of a keyword that may apply to the same value.
    [[nodiscard]] std::vector<std::uint32_t> applied_by(std::uint32_t at, std::string_view key) {
        const std::uint32_t member = *in_.document().child(at, key);
        if (key == "allOf" || key == "anyOf" || key == "oneOf" || key == "dependentSchemas" || key == "dependencies") {
            return in_.document().children(member);
        }
        if (key == "$ref") {
            const auto target = in_.document().referred(member, in_.value(member).as_string().value_or(""));
            return target ? std::vector{*target} : std::vector<std::uint32_t>();
        }
        return key == "if" || key == "then" || key == "else" ? std::vector{member} : std::vector<std::uint32_t>();
    }
    /// Whether there are values of whose parts a schema evaluates some, as far as its keywords tell.
    [[nodiscard]] bool may_evaluate(std::uint32_t place, parts_of kind) {
        constexpr std::string_view members[] = {"properties", "patternProperties", "additionalProperties",
                                                "unevaluatedProperties"};
        constexpr std::string_view items[] = {"prefixItems", "items", "contains", "unevaluatedItems"};
        std::set<std::uint32_t> met{place};
        std::vector<std::uint32_t> todo{place};
        while (!todo.empty()) {
            const std::uint32_t at = todo.back();
            todo.pop_back();
            in_.count_steps(1);
            for (const auto [key, member] : in_.value(at).members()) {
                const auto& list = kind == of_objects ? members : items;
                if (std::find(std::begin(list), std::end(list), key) != std::end(list) || key == "$dynamicRef" ||
                    key == "$recursiveRef") {
                    return true;
                }
                for (const std::uint32_t one : applied_by(at, key)) {
                    if (met.insert(one).second) {
                        todo.push_back(one);
                    }
                }
            }
        }
        return false;
    }

    schema_source& in_;
    schema_languages& languages_;
    std::set<std::uint32_t> subsets_of_; ///< schemas whose anyOf became subsets()
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

// ---- bitnet/constrain/schema_key_order.hpp ----
// schema_key_order: the order in which schemas name the keys of an object.
#ifndef BITNET_CONSTRAIN_SCHEMA_KEY_ORDER_HPP
#define BITNET_CONSTRAIN_SCHEMA_KEY_ORDER_HPP

#include <cstdint>
#include <set>
#include <string>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// The order in which schemas name the keys of an object.
class schema_key_order {
public:
    /// Borrows the source.
    explicit schema_key_order(schema_source& in) : in_(in) {}

    /// The keys that schemas of `all` name, in the order of the text: of `properties`, through what applies to the same
    /// value, and then those of `required`.
    [[nodiscard]] std::vector<std::string> of(const demands& all) {
        has_listed_keys_ = false;
        std::vector<std::string> properties;
        std::vector<std::string> required;
        std::set<std::uint32_t> met;
        std::vector<std::uint32_t> todo;
        for (auto what = all.rbegin(); what != all.rend(); ++what) {
            if (what->kind == demand_kind::schema || what->kind == demand_kind::value) {
                todo.push_back(what->place);
            }
        }
        while (!todo.empty()) {
            const std::uint32_t place = todo.back();
            todo.pop_back();
            in_.count_steps(1);
            if (lists_of_keys_.count(place) != 0) {
                for (const auto [key, member] : in_.value(place).members()) {
                    properties.emplace_back(key);
                    has_listed_keys_ = true;
                }
            } else if (met.insert(place).second) {
                add_applied(place, todo, required);
            }
        }
        properties.insert(properties.end(), required.begin(), required.end());
        return properties;
    }

    /// Whether some of them are named by `properties`.
    [[nodiscard]] bool has_listed_keys() const noexcept { return has_listed_keys_; }

private:
    /// What applies to the same value as a schema, the first on top; of `properties`, the list of keys itself.
    void add_applied(std::uint32_t place, std::vector<std::uint32_t>& todo, std::vector<std::string>& required) {
        std::vector<std::uint32_t> made;
        for (const auto [key, member] : in_.value(place).members()) {
            const std::uint32_t at = *in_.document().child(place, key);
            if (key == "properties") {
                lists_of_keys_.insert(at);
                made.push_back(at);
            } else if (key == "$ref") {
                const auto target = in_.document().referred(at, member.as_string().value_or(""));
                made.insert(made.end(), target ? 1 : 0, target.value_or(0));
            } else if (key == "allOf" || key == "anyOf" || key == "oneOf" || key == "dependentSchemas") {
                const auto parts = in_.document().children(at);
                made.insert(made.end(), parts.begin(), parts.end());
            } else if (key == "if" || key == "then" || key == "else") {
                made.push_back(at);
            } else if (key == "dependentRequired" || key == "dependencies") {
                add_dependent(member, required);
            } else if (key == "required") {
                for (const json_value name : member.elements()) {
                    required.emplace_back(name.as_string().value_or(""));
                }
            }
        }
        todo.insert(todo.end(), made.rbegin(), made.rend());
    }

    static void add_dependent(json_value lists, std::vector<std::string>& required) {
        for (const auto [key, list] : lists.members()) {
            required.emplace_back(key);
            for (const json_value name : list.elements()) {
                required.emplace_back(name.as_string().value_or(""));
            }
        }
    }

    schema_source& in_;
    std::set<std::uint32_t> lists_of_keys_; ///< values of `properties`
    bool has_listed_keys_ = false;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

// ---- bitnet/constrain/schema_negations.hpp ----
// schema_negations: what values have in common that are not valid.
#ifndef BITNET_CONSTRAIN_SCHEMA_NEGATIONS_HPP
#define BITNET_CONSTRAIN_SCHEMA_NEGATIONS_HPP

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// A value that is not valid breaks one keyword at least.
class schema_negations {
public:
    /// Borrows both.
    schema_negations(schema_source& in, schema_languages& languages) : in_(in), languages_(languages) {}

    /// Lists of demands: a value is not valid by the schema at `place` where it meets one list.
    [[nodiscard]] bool negate(schema_draft& of, std::uint32_t place) {
        const json_value schema = in_.value(place);
        if (const auto all = schema.as_bool()) {
            of.shape.values = *all ? 0 : of.shape.values;
            return true;
        }
        if (!schema.is_object()) {
            return in_.malformed(
                place, {"a schema is an object, true or false, not of type ", bitnet::name_of(schema.type())});
        }
        std::vector<demands> lists;
        for (const auto [key, member] : schema.members()) {
            if (!negate_keyword(place, key, *in_.document().child(place, key), lists)) {
                return false;
            }
        }
        if (lists.empty()) {
            of.shape.values = 0;
        }
        of.want_one(std::move(lists));
        return true;
    }
    /// What a value is that breaks one keyword.
    [[nodiscard]] bool break_keyword(schema_shape& shape, std::uint32_t at, std::string_view key) {
        if (key == "pattern") {
            shape.values &= set_string;
            return languages_.add_pattern(shape.strings, at, true);
        }
        if (key == "multipleOf") {
            shape.values &= set_whole | set_fraction;
            return languages_.add_numbers(shape, at, true, {}, true);
        }
        if (key.find("imum") != std::string_view::npos) {
            number_relation wanted;
            wanted.less = key == "minimum" || key == "exclusiveMinimum";
            wanted.greater = !wanted.less;
            wanted.equal = key.substr(0, 9) == "exclusive" || languages_.is_strict(in_.document().at(at).parent, key);
            shape.values &= set_whole | set_fraction;
            return languages_.add_numbers(shape, at, false, wanted, false);
        }
        std::uint32_t count = 0;
        if (!in_.read_count(at, count)) {
            return false;
        }
        const std::string_view of = key.substr(3);
        shape.values &= of == "Length" ? set_string : of == "Items" ? set_array : set_object;
        std::uint32_t& least = of == "Length"  ? shape.least_length
                               : of == "Items" ? shape.least_items
                                               : shape.least_properties;
        std::uint32_t& most = of == "Length"  ? shape.most_length
                              : of == "Items" ? shape.most_items
                                              : shape.most_properties;
        if (key.substr(0, 3) == "max") {
            shape.values = count >= largest_count ? 0 : shape.values;
            least = (std::max)(least, count >= largest_count ? 0 : count + 1);
        } else {
            shape.values = count == 0 ? 0 : shape.values;
            most = (std::min)(most, count == 0 ? 0 : count - 1);
        }
        return true;
    }

private:
    [[nodiscard]] bool negate_keyword(std::uint32_t place, std::string_view key, std::uint32_t at,
                                      std::vector<demands>& lists) {
        constexpr std::string_view plain[] = {"minLength",     "maxLength",        "minItems",         "maxItems",
                                              "minProperties", "maxProperties",    "pattern",          "minimum",
                                              "maximum",       "exclusiveMinimum", "exclusiveMaximum", "multipleOf"};
        const bool is_of_draft_4 = key.substr(0, 9) == "exclusive" && in_.value(at).as_bool(); // see break_keyword()
        if (is_annotation(key) || key == "then" || key == "else" || is_of_draft_4) {
            return true;
        }
        if (std::find(std::begin(plain), std::end(plain), key) != std::end(plain)) {
            lists.push_back({{demand_kind::breaks, at, in_.name(key)}});
        } else if (key == "type") {
            lists.push_back({{demand_kind::not_type, at}});
        } else if (key == "const") {
            lists.push_back({{demand_kind::not_value, at}});
        } else if (key == "enum" && in_.value(at).is_array() && in_.value(at).size() != 0) {
            lists.push_back({{demand_kind::not_values, at}});
        } else if (key == "required" && in_.value(at).is_array()) {
            for (const json_value one : in_.value(at).elements()) {
                lists.push_back(
                    {{demand_kind::object}, {demand_kind::lacks, 0, in_.name(one.as_string().value_or(""))}});
            }
        } else if (key == "properties" && in_.value(at).is_object()) {
            for (const auto [one, member] : in_.value(at).members()) {
                lists.push_back({{demand_kind::breaks_key, *in_.document().child(at, one), in_.name(one)}});
            }
        } else {
            return negate_combination(place, key, at, lists);
        }
        return true;
    }
    /// Keywords that are known and cannot be enforced the other way round.
    static constexpr std::string_view not_negated[] = {"$ref",
                                                       "$dynamicRef",
                                                       "$dynamicAnchor",
                                                       "$recursiveRef",
                                                       "$recursiveAnchor",
                                                       "oneOf",
                                                       "if",
                                                       "items",
                                                       "prefixItems",
                                                       "additionalItems",
                                                       "contains",
                                                       "minContains",
                                                       "maxContains",
                                                       "uniqueItems",
                                                       "unevaluatedItems",
                                                       "unevaluatedProperties",
                                                       "patternProperties",
                                                       "additionalProperties",
                                                       "propertyNames",
                                                       "dependencies",
                                                       "dependentRequired",
                                                       "dependentSchemas",
                                                       "format",
                                                       "enum",
                                                       "required",
                                                       "properties"};
    [[nodiscard]] bool negate_combination(std::uint32_t place, std::string_view key, std::uint32_t at,
                                          std::vector<demands>& lists) {
        if (key == "not") {
            lists.push_back({{demand_kind::schema, at}});
            return true;
        }
        if (key == "anyOf" || key == "allOf") {
            demands all;
            for (const std::uint32_t part : in_.document().children(at)) {
                all.push_back({demand_kind::negated, part});
                if (key == "allOf") {
                    lists.push_back({{demand_kind::negated, part}});
                }
            }
            if (key == "anyOf") {
                lists.push_back(std::move(all));
            }
            return true;
        }
        if (key == "items" && !in_.value(at).is_array() && !in_.value(place).find("prefixItems")) {
            lists.push_back({{demand_kind::bad_item, at}});
            return true;
        }
        if (key == "contains" && !in_.value(place).find("minContains") && !in_.value(place).find("maxContains")) {
            lists.push_back({{demand_kind::no_item, at}});
            return true;
        }
        if (key == "$ref") {
            const auto target = in_.document().referred(at, in_.value(at).as_string().value_or(""));
            if (target && *target != place) {
                lists.push_back({{demand_kind::negated, *target}});
                return true;
            }
        }
        if (std::find(std::begin(not_negated), std::end(not_negated), key) == std::end(not_negated)) {
            in_.note_unknown(at);
            return true;
        }
        return in_.refuse(at, {"it stands in a schema that must not hold (not, if, oneOf), and there ", quoted{key},
                               " cannot be enforced"});
    }

    schema_source& in_;
    schema_languages& languages_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

// ---- bitnet/constrain/schema_outlines.hpp ----
// schema_outlines: what is easily known of the values of schemas, to tell them apart.
#ifndef BITNET_CONSTRAIN_SCHEMA_OUTLINES_HPP
#define BITNET_CONSTRAIN_SCHEMA_OUTLINES_HPP

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Tells which schemas have no value in common, as far as that is easily known.
class schema_outlines {
public:
    /// Borrows the source.
    explicit schema_outlines(schema_source& in) : in_(in) {}

    [[nodiscard]] bool are_disjoint(std::uint32_t a, std::uint32_t b, int depth = 0) {
        const outline& x = outline_of(a);
        const outline& y = outline_of(b);
        if ((x.values & y.values) == 0) {
            return true;
        }
        if (x.scalars && y.scalars) {
            return std::none_of(x.scalars->begin(), x.scalars->end(),
                                [&](const std::string& one) { return y.scalars->count(one) != 0; });
        }
        if ((x.values & y.values) != set_object || depth == 4) {
            return false;
        }
        const auto lacks = [](const outline& has, const outline& other) {
            return other.is_closed &&
                   std::any_of(has.required.begin(), has.required.end(),
                               [&](const std::string& key) { return other.properties.count(key) == 0; });
        };
        if (lacks(x, y) || lacks(y, x)) {
            return true;
        }
        return std::any_of(x.required.begin(), x.required.end(), [&](const std::string& key) {
            const auto in_x = x.properties.find(key);
            const auto in_y = y.properties.find(key);
            return in_x != x.properties.end() && in_y != y.properties.end() &&
                   are_disjoint(in_x->second, in_y->second, depth + 1);
        });
    }

private:
    /// What is easily known of a schema's values.
    struct outline {
        std::uint32_t values = set_all;
        std::optional<std::set<std::string>> scalars; ///< the only values, as JSON
        std::set<std::string> required;
        std::map<std::string, std::uint32_t> properties;
        bool is_closed = false;
    };
    /// Made once: oneOf compares each of its schemas with all others.
    [[nodiscard]] const outline& outline_of(std::uint32_t place) {
        const auto [found, is_new] = outlines_.try_emplace(place);
        if (is_new) {
            found->second = made_of(place);
        }
        return found->second;
    }
    [[nodiscard]] outline made_of(std::uint32_t place) {
        outline made;
        for (int depth = 0; depth < 16; ++depth) {
            if (const auto constant = in_.document().child(place, "const")) {
                made.scalars = scalars_of({*constant});
            } else if (const auto list = in_.document().child(place, "enum")) {
                made.scalars = scalars_of(in_.document().children(*list));
            }
            std::uint32_t values = 0;
            const auto type = in_.document().child(place, "type");
            const bool is_typed = type && in_.read_types_quietly(*type, values);
            made.values &= is_typed ? values : set_all;
            const auto required = in_.value(place).find("required");
            for (const json_value key : required ? required->elements() : in_.value(place).elements()) {
                made.required.emplace(key.as_string().value_or(""));
            }
            if (const auto properties = in_.document().child(place, "properties")) {
                for (const auto [key, member] : in_.value(*properties).members()) {
                    made.properties.emplace(key, *in_.document().child(*properties, key));
                }
            }
            const auto others = in_.value(place).find("additionalProperties");
            made.is_closed = made.is_closed || (others && !others->as_bool().value_or(true) &&
                                                !in_.value(place).find("patternProperties"));
            const auto reference = in_.value(place).find("$ref");
            const auto text = reference ? reference->as_string() : std::nullopt;
            const auto target = text ? in_.document().referred(place, *text) : std::nullopt;
            if (!target || made.is_closed) {
                break;
            }
            place = *target;
        }
        return made;
    }
    /// The values of a list as JSON texts; nullopt where one is an array or object.
    [[nodiscard]] std::optional<std::set<std::string>> scalars_of(const std::vector<std::uint32_t>& all) {
        std::set<std::string> made;
        for (const std::uint32_t one : all) {
            const json_value scalar = in_.value(one);
            const auto text = scalar.as_string();
            const auto number = scalar.as_number_text() ? read_decimal(*scalar.as_number_text()) : std::nullopt;
            if (scalar.is_array() || scalar.is_object() || (scalar.as_number_text() && !number)) {
                return std::nullopt;
            }
            made.insert(text                ? "\"" + std::string(*text)
                        : number            ? number->text()
                        : scalar.is_null()  ? "null"
                        : *scalar.as_bool() ? "true"
                                            : "false");
        }
        return made;
    }

    schema_source& in_;
    std::map<std::uint32_t, outline> outlines_; ///< by place
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

// ---- bitnet/constrain/schema_parts.hpp ----
// schema_parts: what keywords say about the parts of objects and arrays.
#ifndef BITNET_CONSTRAIN_SCHEMA_PARTS_HPP
#define BITNET_CONSTRAIN_SCHEMA_PARTS_HPP

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Adds to shapes what keywords of one schema say about the members of objects and the items of arrays.
class schema_parts {
public:
    /// Borrows both.
    schema_parts(schema_source& in, schema_languages& languages) : in_(in), languages_(languages) {}

    [[nodiscard]] bool add_required(schema_shape& shape, std::uint32_t at) {
        if (!in_.value(at).is_array()) {
            return in_.malformed(at, {"a list of keys is expected"});
        }
        for (const json_value key : in_.value(at).elements()) {
            if (!key.as_string()) {
                return in_.malformed(at, {"the list holds something else than strings"});
            }
            shape.required.emplace_back(*key.as_string());
        }
        return true;
    }
    [[nodiscard]] bool meet_object_keywords(schema_shape& shape, std::uint32_t place) {
        object_part part;
        if (const auto at = in_.document().child(place, "properties")) {
            if (!in_.value(*at).is_object()) {
                return in_.malformed(*at, {"an object is expected"});
            }
            for (const auto [key, member] : in_.value(*at).members()) {
                part.properties.emplace_back(key, demand{demand_kind::schema, *in_.document().child(*at, key)});
            }
        }
        if (const auto at = in_.document().child(place, "patternProperties")) {
            if (!in_.value(*at).is_object()) {
                return in_.malformed(*at, {"an object is expected"});
            }
            for (const auto [key, member] : in_.value(*at).members()) {
                const std::uint32_t schema = *in_.document().child(*at, key);
                std::vector<shared_language> made;
                if (!languages_.add_pattern_text(made, schema, key, false)) {
                    return false;
                }
                if (!made.empty()) {
                    part.patterns.emplace_back(made[0], demand{demand_kind::schema, schema});
                }
            }
        }
        const std::size_t unevaluated = shape.unevaluated_properties.size();
        if (const auto at = additional_properties(shape, place)) {
            part.additional = demand{demand_kind::schema, *at};
        } else if (in_.options().closed && !part.properties.empty() &&
                   unevaluated == shape.unevaluated_properties.size()) {
            part.additional = demand{demand_kind::nothing_fits};
        }
        if (const auto at = in_.document().child(place, "propertyNames")) {
            shape.property_names.push_back({demand_kind::schema, *at});
        }
        const auto required = in_.document().child(place, "required");
        if (required && !in_.value(*required).as_bool() && !add_required(shape, *required)) { // a boolean: of draft 3
            return false;
        }
        if (!part.properties.empty() || !part.patterns.empty() || part.additional) {
            shape.objects.push_back(std::move(part));
        }
        return true;
    }
    /// The schema of other keys; unevaluatedProperties where it means the same, which is kept for later otherwise.
    [[nodiscard]] std::optional<std::uint32_t> additional_properties(schema_shape& shape, std::uint32_t place) {
        const auto additional = in_.document().child(place, "additionalProperties");
        const auto unevaluated = in_.document().child(place, "unevaluatedProperties");
        if (!unevaluated || in_.value(*unevaluated).as_bool().value_or(false)) {
            return additional;
        }
        if (!additional && has_combinations(place)) {
            shape.unevaluated_properties.push_back(place);
            in_.set_unevaluated();
            return std::nullopt;
        }
        return additional ? additional : unevaluated;
    }
    [[nodiscard]] bool has_combinations(std::uint32_t place) const {
        const json_value schema = in_.value(place);
        for (const char* key : {"$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "if", "not", "dependentSchemas",
                                "dependencies", "contains"}) {
            if (schema.find(key)) {
                return true;
            }
        }
        return false;
    }

    [[nodiscard]] bool meet_array_keywords(schema_shape& shape, std::uint32_t place) {
        array_part part;
        auto prefix = in_.document().child(place, "prefixItems");
        auto rest = in_.document().child(place, "items");
        if (rest && in_.value(*rest).is_array()) { // of draft 2019 and before
            prefix = rest;
            rest = in_.document().child(place, "additionalItems");
        }
        if (prefix) {
            if (!in_.value(*prefix).is_array()) {
                return in_.malformed(*prefix, {"a list of schemas is expected"});
            }
            for (const std::uint32_t element : in_.document().children(*prefix)) {
                part.prefix.push_back({demand_kind::schema, element});
            }
        }
        const auto unevaluated = in_.document().child(place, "unevaluatedItems");
        if (unevaluated && !in_.value(*unevaluated).as_bool().value_or(false) && !rest) {
            if (has_combinations(place)) {
                shape.unevaluated_items.push_back(place);
                in_.set_unevaluated();
            } else {
                rest = unevaluated;
            }
        }
        if (rest) {
            part.rest = demand{demand_kind::schema, *rest};
        }
        if (!part.prefix.empty() || part.rest) {
            shape.arrays.push_back(std::move(part));
        }
        const auto unique = in_.document().child(place, "uniqueItems");
        if (unique && in_.value(*unique).as_bool().value_or(true)) {
            shape.unique_place = *unique;
        }
        return meet_contains(shape, place);
    }
    [[nodiscard]] bool meet_contains(schema_shape& shape, std::uint32_t place) {
        const auto what = in_.document().child(place, "contains");
        if (!what) {
            return true;
        }
        contained_part part{{demand_kind::schema, *what}, 1, unlimited};
        const auto least = in_.document().child(place, "minContains");
        const auto most = in_.document().child(place, "maxContains");
        if ((least && !in_.read_count(*least, part.least)) || (most && !in_.read_count(*most, part.most))) {
            return false;
        }
        shape.contained.push_back(part);
        return true;
    }

private:
    schema_source& in_;
    schema_languages& languages_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Reads a schema's keywords. Steps return whether to go on; if not, the error is in failure().
class schema_reader {
public:
    schema_reader(const json_document& text, std::string_view name, const schema_options& options)
        : in_(text, name, options), languages_(in_), parts_(in_, languages_), outlines_(in_),
          negations_(in_, languages_), evaluation_(in_, languages_), keys_(in_) {}
    schema_reader(schema_reader&&) = delete; // its parts borrow the source

    /// All shapes of values that meet `all`: alternatives that may overlap. Empty: no value does.
    [[nodiscard]] bool read(const demands& all, std::vector<schema_shape>& shapes) {
        schema_draft next;
        next.begin(all);
        std::vector<schema_draft> open; // whose first choices have lists left
        for (std::size_t made = 0;;) {
            if (!settle(next)) {
                return false;
            }
            if (next.shape.values != 0 && next.choices().empty()) {
                if (!evaluation_.meet(next)) {
                    return false;
                }
                shapes.push_back(std::move(next.shape));
            } else if (next.shape.values != 0) {
                made += next.choices().front().lists->size();
                if ((std::max)(made, next.choices().size()) > most_drafts) {
                    return too_many_drafts();
                }
                open.push_back(std::move(next));
            }
            if (open.empty()) {
                return true;
            }
            in_.count_steps(open.back().size());
            const bool is_last = open.back().is_at_last_fork();
            next = open.back().fork();
            if (is_last) {
                open.pop_back();
            }
        }
    }

    /// The keys that schemas of `all` name, in the order of the text: of `properties`, through what applies to the same
    /// value, and then those of `required`.
    [[nodiscard]] std::vector<std::string> key_order(const demands& all) { return keys_.of(all); }
    /// Whether some of them are named by `properties`.
    [[nodiscard]] bool has_listed_keys() const noexcept { return keys_.has_listed_keys(); }

    [[nodiscard]] error& failure() noexcept { return in_.failure(); }
    [[nodiscard]] std::vector<std::string>& notes() noexcept { return in_.notes(); }
    [[nodiscard]] schema_document& document() noexcept { return in_.document(); }
    [[nodiscard]] bool refuse(std::uint32_t place, sentence_parts why) { return in_.refuse(place, why); }

private:
    static constexpr std::size_t most_drafts = 4096;

    [[nodiscard]] bool too_many_drafts() {
        return set_error(in_.failure(), errc::grammar_budget, {in_.source_name(), ": "},
                         {"anyOf, oneOf and what becomes of them have more than ", most_drafts, " combinations"});
    }

    // -- demands --
    [[nodiscard]] bool settle(schema_draft& of) {
        while (const auto what = of.next()) {
            in_.count_steps(1);
            if (!in_.has_steps_left()) {
                return false;
            }
            if ((what->kind == demand_kind::schema || what->kind == demand_kind::negated) && of.is_cycle()) {
                return in_.malformed(what->place,
                                     {"it refers to itself: whether a value is valid by it depends on whether it is"});
            }
            if (of.see(*what) && !meet(of, *what)) {
                return false;
            }
        }
        return true;
    }
    [[nodiscard]] bool meet(schema_draft& of, demand what) {
        schema_shape& shape = of.shape;
        switch (what.kind) {
        case demand_kind::nothing_fits:
            shape.values = 0;
            return true;
        case demand_kind::schema:
            return meet_schema(of, what.place);
        case demand_kind::negated:
            return negations_.negate(of, what.place);
        case demand_kind::value:
            return meet_value(of, what.place);
        case demand_kind::scalars:
            return languages_.meet_scalars(of.shape, in_.document().children(what.place));
        case demand_kind::not_values:
            return languages_.avoid_values(of.shape, in_.document().children(what.place));
        case demand_kind::not_value:
            return languages_.avoid_values(of.shape, {what.place});
        case demand_kind::not_type: {
            std::uint32_t values = 0;
            const bool is_read = in_.read_types(what.place, values);
            shape.values &= ~values;
            return is_read;
        }
        case demand_kind::lacks: {
            object_part part;
            part.properties.emplace_back(in_.name_of(what), demand{demand_kind::nothing_fits});
            shape.objects.push_back(std::move(part));
            return true;
        }
        case demand_kind::has_all:
            return parts_.add_required(shape, what.place);
        case demand_kind::has:
            shape.required.push_back(in_.name_of(what));
            return true;
        case demand_kind::object:
            shape.values &= set_object;
            return true;
        case demand_kind::breaks_key: {
            object_part part;
            part.properties.emplace_back(in_.name_of(what), demand{demand_kind::negated, what.place});
            shape.objects.push_back(std::move(part));
            shape.required.push_back(in_.name_of(what));
            shape.values &= set_object;
            return true;
        }
        case demand_kind::bad_item:
            shape.values &= set_array;
            shape.contained.push_back({{demand_kind::negated, what.place}, 1, unlimited});
            return true;
        case demand_kind::no_item: {
            array_part part;
            part.rest = demand{demand_kind::negated, what.place};
            shape.values &= set_array;
            shape.arrays.push_back(std::move(part));
            return true;
        }
        case demand_kind::breaks:
            return negations_.break_keyword(shape, what.place, in_.name_of(what));
        }
        return true;
    }

    // -- keywords --
    [[nodiscard]] bool meet_schema(schema_draft& of, std::uint32_t place) {
        const json_value schema = in_.value(place);
        if (const auto all = schema.as_bool()) {
            of.shape.values = *all ? of.shape.values : 0;
            return true;
        }
        if (!schema.is_object()) {
            return in_.malformed(
                place, {"a schema is an object, true or false, not of type ", bitnet::name_of(schema.type())});
        }
        if (!parts_.meet_object_keywords(of.shape, place) || !parts_.meet_array_keywords(of.shape, place)) {
            return false;
        }
        for (const auto [key, member] : schema.members()) {
            const std::uint32_t at = *in_.document().child(place, key);
            if (!meet_keyword(of, place, key, at)) {
                return false;
            }
        }
        return true;
    }

    [[nodiscard]] bool meet_keyword(schema_draft& of, std::uint32_t place, std::string_view key, std::uint32_t at) {
        schema_shape& shape = of.shape;
        if (key == "type") {
            std::uint32_t values = 0;
            const bool is_read = in_.read_types(at, values);
            shape.values &= values;
            return is_read;
        }
        if (key == "enum") {
            return meet_enum(of, at);
        }
        if (key == "const") {
            return meet_value(of, at);
        }
        if (key == "minLength" || key == "minItems" || key == "minProperties") {
            std::uint32_t& least = key == "minLength"  ? shape.least_length
                                   : key == "minItems" ? shape.least_items
                                                       : shape.least_properties;
            return in_.raise(at, least);
        }
        if (key == "maxLength" || key == "maxItems" || key == "maxProperties") {
            std::uint32_t& most = key == "maxLength"  ? shape.most_length
                                  : key == "maxItems" ? shape.most_items
                                                      : shape.most_properties;
            return in_.lower(at, most);
        }
        if (key == "pattern") {
            return languages_.add_counted_class(shape, at) || languages_.add_pattern(shape.strings, at, false);
        }
        if (key == "format") {
            return languages_.add_format(shape, at);
        }
        if (key == "minimum" || key == "maximum" || key == "exclusiveMinimum" || key == "exclusiveMaximum" ||
            key == "multipleOf") {
            return languages_.add_number_keyword(shape, place, key, at);
        }
        return meet_combination(of, place, key, at);
    }

    [[nodiscard]] bool meet_combination(schema_draft& of, std::uint32_t place, std::string_view key, std::uint32_t at) {
        if (key == "$ref") {
            return refer(of, at);
        }
        if (key == "allOf" || key == "anyOf" || key == "oneOf") {
            if (!in_.value(at).is_array() || in_.value(at).size() == 0) {
                return in_.malformed(at, {"a list of at least one schema is expected"});
            }
        }
        if (key == "allOf") {
            for (const std::uint32_t part : in_.document().children(at)) {
                of.want({demand_kind::schema, part});
            }
            return true;
        }
        if (key == "anyOf" || key == "oneOf") {
            std::vector<demands> lists;
            const std::vector<std::uint32_t> parts = in_.document().children(at);
            if (parts.size() > most_drafts) { // before oneOf compares each with all others
                return too_many_drafts();
            }
            for (const std::uint32_t part : parts) {
                lists.push_back({{demand_kind::schema, part}});
            }
            if (key == "anyOf" && evaluation_.needs_subsets(place, at)) {
                lists = evaluation_.subsets(parts);
            } else if (key == "oneOf") {
                exclude_others(at, lists);
            }
            of.want_one(std::move(lists));
            return true;
        }
        if (key == "not") {
            of.want({demand_kind::negated, at});
            return true;
        }
        if (key == "if") {
            return meet_if(of, place, at);
        }
        if (key == "dependentRequired" || key == "dependentSchemas" || key == "dependencies") {
            return meet_dependencies(of, at);
        }
        return meet_other(key, at);
    }

    /// Keywords that mean nothing by themselves, or that nobody knows.
    [[nodiscard]] bool meet_other(std::string_view key, std::uint32_t at) {
        constexpr std::string_view read_elsewhere[] = {"properties",
                                                       "patternProperties",
                                                       "additionalProperties",
                                                       "required",
                                                       "propertyNames",
                                                       "items",
                                                       "prefixItems",
                                                       "additionalItems",
                                                       "contains",
                                                       "minContains",
                                                       "maxContains",
                                                       "uniqueItems",
                                                       "unevaluatedItems",
                                                       "unevaluatedProperties",
                                                       "then",
                                                       "else"};
        if (key == "$dynamicRef" || key == "$recursiveRef") {
            return in_.refuse(at, {"dynamic references are not supported"});
        }
        if (key == "$dynamicAnchor" || key == "$recursiveAnchor") {
            return in_.refuse(at, {"dynamic anchors are not supported"});
        }
        const bool is_known =
            std::find(std::begin(read_elsewhere), std::end(read_elsewhere), key) != std::end(read_elsewhere) ||
            is_annotation(key);
        if (!is_known) {
            in_.note_unknown(at);
        }
        return true;
    }

    // -- values --
    [[nodiscard]] bool meet_enum(schema_draft& of, std::uint32_t at) {
        if (!in_.value(at).is_array()) {
            return in_.malformed(at, {"a list of values is expected"});
        }
        const std::vector<std::uint32_t> all = in_.document().children(at);
        std::vector<demands> lists{{{demand_kind::scalars, at}}};
        for (const std::uint32_t one : all) {
            if (in_.value(one).is_array() || in_.value(one).is_object()) {
                lists.push_back({{demand_kind::value, one}});
            }
        }
        if (lists.size() == 1) {
            return languages_.meet_scalars(of.shape, all);
        }
        of.want_one(std::move(lists));
        return true;
    }
    /// Arrays and objects that are one value: all parts are, and there are no others.
    [[nodiscard]] bool meet_value(schema_draft& of, std::uint32_t at) {
        const json_value whole = in_.value(at);
        if (whole.is_array()) {
            array_part part;
            for (const std::uint32_t element : in_.document().children(at)) {
                part.prefix.push_back({demand_kind::value, element});
            }
            of.shape.values &= set_array;
            of.shape.least_items = (std::max)(of.shape.least_items, static_cast<std::uint32_t>(part.prefix.size()));
            of.shape.most_items = (std::min)(of.shape.most_items, static_cast<std::uint32_t>(part.prefix.size()));
            of.shape.arrays.push_back(std::move(part));
            return true;
        }
        if (!whole.is_object()) {
            return languages_.meet_scalars(of.shape, {at});
        }
        object_part part;
        for (const auto [key, member] : whole.members()) {
            part.properties.emplace_back(key, demand{demand_kind::value, *in_.document().child(at, key)});
            of.shape.required.emplace_back(key);
        }
        part.additional = demand{demand_kind::nothing_fits};
        of.shape.values &= set_object;
        of.shape.is_one_value = true;
        of.shape.objects.push_back(std::move(part));
        return true;
    }

    // -- combinations --
    [[nodiscard]] bool refer(schema_draft& of, std::uint32_t at) {
        const auto reference = in_.value(at).as_string();
        if (!reference) {
            return in_.malformed(at, {"a reference is a string"});
        }
        const auto target = in_.document().referred(at, *reference);
        if (!target) {
            return set_error(
                in_.failure(), errc::unsupported_schema,
                {in_.source_name(), ": ", quoted{in_.document().pointer(at)}, ": "},
                {"the reference ", quoted{*reference}, " leads to nothing in this schema, and nothing else is read"});
        }
        of.want({demand_kind::schema, *target});
        return true;
    }
    [[nodiscard]] bool meet_if(schema_draft& of, std::uint32_t place, std::uint32_t at) {
        const auto yes = in_.document().child(place, "then");
        const auto no = in_.document().child(place, "else");
        if (!yes && !no && !in_.has_unevaluated()) {
            return true;
        }
        std::vector<demands> lists{{{demand_kind::schema, at}}, {{demand_kind::negated, at}}};
        if (yes) {
            lists[0].push_back({demand_kind::schema, *yes});
        }
        if (no) {
            lists[1].push_back({demand_kind::schema, *no});
        }
        of.want_one(std::move(lists));
        return true;
    }
    [[nodiscard]] bool meet_dependencies(schema_draft& of, std::uint32_t at) {
        if (!in_.value(at).is_object()) {
            return in_.malformed(at, {"an object is expected"});
        }
        for (const auto [key, member] : in_.value(at).members()) {
            const std::uint32_t then = *in_.document().child(at, key);
            const demand with{member.is_array() ? demand_kind::has_all : demand_kind::schema, then};
            demands list{with};
            if (in_.has_unevaluated()) { // which depends on whether the schema applies, not only on whether it holds
                list.insert(list.begin(), {{demand_kind::object}, {demand_kind::has, 0, in_.name(key)}});
            }
            of.want_one({{{demand_kind::lacks, 0, in_.name(key)}}, std::move(list)});
        }
        return true;
    }
    /// Of oneOf: each alternative excludes the others, but those that cannot be valid together with it anyhow.
    void exclude_others(std::uint32_t at, std::vector<demands>& lists) {
        if (in_.options().one_of_is_any_of) {
            return in_.note(sentence({quoted{in_.document().pointer(at)}, ": oneOf is taken as anyOf"}));
        }
        const std::vector<std::uint32_t> parts = in_.document().children(at);
        for (std::size_t i = 0; i < parts.size(); ++i) {
            for (std::size_t j = i + 1; j < parts.size(); ++j) {
                if (!outlines_.are_disjoint(parts[i], parts[j])) {
                    lists[i].push_back({demand_kind::negated, parts[j]});
                    lists[j].push_back({demand_kind::negated, parts[i]});
                }
            }
        }
    }

    schema_source in_;
    schema_languages languages_;
    schema_parts parts_;
    schema_outlines outlines_;
    schema_negations negations_;
    schema_evaluation evaluation_;
    schema_key_order keys_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Sets of demands get a rule each when they are first asked for, and its body later: wanted() says which is next.
/// Steps of those who make the bodies return whether to go on; if not, the error is in the reader's failure().
class schema_rules {
public:
    schema_rules(schema_reader& reader, const schema_options& options) noexcept : reader_(reader), options_(options) {}

    /// The first rule is that of the schema itself. \pre called once, before all others
    void begin() {
        source_.root = rule_of({{demand_kind::schema, 0}});
        comma_ = separator(",");
        colon_ = separator(":");
    }
    /// The grammar has `before` in front of what its first rule allows, and `after` behind it.
    void surround(std::string_view before, std::string_view after) {
        const expression json = source_.pool.rule(source_.root);
        source_.root = static_cast<std::uint32_t>(source_.rules.size());
        source_.rules.push_back(
            {"text", source_.pool.sequence({source_.pool.literal(before), json, source_.pool.literal(after)})});
    }
    [[nodiscard]] const grammar_source& source() const noexcept { return source_; }
    [[nodiscard]] schema_reader& reader() noexcept { return reader_; }
    [[nodiscard]] expression_pool& pool() noexcept { return source_.pool; }

    [[nodiscard]] std::size_t size() const noexcept { return wanted_.size(); }
    /// What the values of a rule have to meet; null for an own_rule().
    [[nodiscard]] const demands* wanted(std::size_t rule) const noexcept { return wanted_[rule]; }
    /// That its body is about to be made: which place to name where it is at fault as a whole.
    void begin_body(const demands& all) noexcept { at_fault_ = all.empty() ? 0 : all[0].place; }
    void set_body(std::uint32_t rule, expression body) noexcept { source_.rules[rule].body = body; }

    /// A value that meets all of them.
    [[nodiscard]] expression value_of(demands all) { return source_.pool.rule(rule_of(std::move(all))); }
    /// A rule whose body is made at once. It takes a number among those that are wanted, for which nothing is to be
    /// done, and is kept apart from the others.
    [[nodiscard]] std::uint32_t own_rule() {
        wanted_.push_back(nullptr);
        source_.rules.push_back({"items", 0});
        return static_cast<std::uint32_t>(source_.rules.size() - 1);
    }

    // Pieces that all share.

    [[nodiscard]] expression comma() const noexcept { return comma_; }
    [[nodiscard]] expression colon() const noexcept { return colon_; }
    [[nodiscard]] expression quoted_text(expression body) {
        return source_.pool.sequence({source_.pool.literal("\""), body, source_.pool.literal("\"")});
    }
    /// least to most parts with commas between them, and before the first unless it is first of all.
    [[nodiscard]] expression list_of(expression part, bool is_first, std::uint32_t least, std::uint32_t most) {
        if (least > most) {
            return source_.pool.nothing();
        }
        const expression further = source_.pool.sequence({comma_, part});
        if (!is_first || most == 0) {
            return source_.pool.repeat(further, least, most);
        }
        const std::uint32_t rest = most == unlimited ? unlimited : most - 1;
        const expression some =
            source_.pool.sequence({part, source_.pool.repeat(further, least == 0 ? 0 : least - 1, rest)});
        return least == 0 ? source_.pool.choice({source_.pool.empty(), some}) : some;
    }

    /// The place to name where a whole shape is at fault: that of the rule's first schema.
    [[nodiscard]] bool refuse(sentence_parts why) { return reader_.refuse(at_fault_, why); }
    [[nodiscard]] bool too_large() {
        return refuse({"its combination has more than ", most_language_states, " states"});
    }

private:
    [[nodiscard]] expression separator(std::string_view mark) {
        const expression made = source_.pool.literal(mark);
        return options_.spaces ? source_.pool.sequence({made, source_.pool.repeat(source_.pool.literal(" "), 0, 1)})
                               : made;
    }
    [[nodiscard]] std::uint32_t rule_of(demands all) {
        std::sort(all.begin(), all.end());
        all.erase(std::unique(all.begin(), all.end()), all.end());
        const auto [found, is_new] = rules_.try_emplace(std::move(all), static_cast<std::uint32_t>(wanted_.size()));
        if (is_new) { // rules and what is wanted of them have the same numbers
            wanted_.push_back(&found->first);
            source_.rules.push_back({"value", 0});
        }
        return found->second;
    }

    schema_reader& reader_;
    const schema_options& options_;
    grammar_source source_;
    expression comma_ = 0;
    expression colon_ = 0;
    std::uint32_t at_fault_ = 0;
    std::map<demands, std::uint32_t> rules_;
    std::vector<const demands*> wanted_; // per rule
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// A rule for every number of items and of those that meet `contains`. Borrows the rules.
class schema_contained_items {
public:
    explicit schema_contained_items(schema_rules& rules) noexcept : rules_(rules), pool_(rules.pool()) {}

    /// Items of which some meet `contains`; those that may be too many must not meet it. `items` stays empty where that
    /// is not enforced. \return whether to go on
    [[nodiscard]] bool make(const schema_shape& shape, std::optional<expression>& items) {
        constexpr std::uint64_t most_states = 4096;
        if (shape.contained.size() != 1) {
            return rules_.refuse({"contains in more than one of the schemas that hold together is not supported"});
        }
        const contained_part& wanted = shape.contained[0];
        const bool is_limited = wanted.most != unlimited;
        if (wanted.least > wanted.most) {
            items = pool_.nothing();
            return true;
        }
        const std::uint64_t met = is_limited ? wanted.most : wanted.least;
        const std::uint64_t places = shape.most_items != unlimited ? std::uint64_t{shape.most_items}
                                                                   : (std::max)(std::uint64_t{shape.least_items},
                                                                                std::uint64_t{prefix_of(shape)} + 1);
        if ((places + 1) * (met + 1) > most_states) {
            return rules_.refuse({"contains beside prefixItems or a number of items needs too many states"});
        }
        return rules_for(shape, static_cast<std::uint32_t>(places), static_cast<std::uint32_t>(met), items);
    }

private:
    [[nodiscard]] bool rules_for(const schema_shape& shape, std::uint32_t places, std::uint32_t met,
                                 std::optional<expression>& items) {
        const contained_part& wanted = shape.contained[0];
        const bool is_limited = wanted.most != unlimited;
        const bool is_endless = shape.most_items == unlimited;
        std::vector<std::uint32_t> rules;
        for (std::uint64_t i = 0; i < (std::uint64_t{places} + 1) * (met + 1); ++i) {
            rules.push_back(rules_.own_rule());
        }
        const auto rule_at = [&](std::uint32_t place, std::uint32_t count) {
            return rules[std::size_t{place} * (met + 1) + count];
        };
        for (std::uint32_t place = 0; place <= places; ++place) {
            demands plain = demands_of_item(shape, place);
            demands hit = plain;
            hit.push_back(wanted.what);
            if (is_limited) {
                const bool is_negated = wanted.what.kind == demand_kind::negated;
                plain.push_back({is_negated ? demand_kind::schema : demand_kind::negated, wanted.what.place});
            }
            const std::uint32_t next = place < places ? place + 1 : place;
            for (std::uint32_t count = 0; count <= met; ++count) {
                std::vector<expression> ways;
                if (place >= shape.least_items && count >= wanted.least) {
                    ways.push_back(pool_.empty());
                }
                const bool has_more = is_endless || place < shape.most_items;
                const auto add = [&](const demands& all, std::uint32_t then) {
                    const expression item = rules_.value_of(all);
                    const expression rest = pool_.rule(rule_at(next, then));
                    ways.push_back(place == 0 ? pool_.sequence({item, rest})
                                              : pool_.sequence({rules_.comma(), item, rest}));
                };
                if (has_more) {
                    add(plain, count);
                }
                if (has_more && (count < met || !is_limited)) {
                    add(hit, (std::min)(count + 1, met));
                }
                rules_.set_body(rule_at(place, count), pool_.choice(ways));
            }
        }
        items = pool_.rule(rule_at(0, 0));
        return true;
    }

    schema_rules& rules_;
    expression_pool& pool_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

// ---- bitnet/constrain/schema_strings.hpp ----
// schema_strings: expressions of the strings that a shape allows, by pattern and length.
#ifndef BITNET_CONSTRAIN_SCHEMA_STRINGS_HPP
#define BITNET_CONSTRAIN_SCHEMA_STRINGS_HPP

// ---- bitnet/constrain/json_string.hpp ----
// json_string: from languages of strings to those of their JSON forms, and how many characters they have.
#ifndef BITNET_CONSTRAIN_JSON_STRING_HPP
#define BITNET_CONSTRAIN_JSON_STRING_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Adds what a JSON string holds for the bytes of an edge: themselves, the short escapes, and \u00XX for control
/// characters alone.
class json_escaping {
public:
    explicit json_escaping(nondeterministic_automaton& out) : out_(out) {}

    void add(std::uint32_t from, byte_edge edge) {
        constexpr byte_edge plain[] = {{0x20, 0x21, 0}, {0x23, 0x5b, 0}, {0x5d, 0xff, 0}};
        for (const byte_edge range : plain) {
            const std::uint8_t low = (std::max)(range.low, edge.low);
            const std::uint8_t high = (std::min)(range.high, edge.high);
            if (low <= high) {
                out_.add(from, byte_edge{low, high, edge.target});
            }
        }
        constexpr std::string_view meant = "\"\\/\b\f\n\r\t";
        constexpr std::string_view written = "\"\\/bfnrt";
        for (std::size_t i = 0; i < meant.size(); ++i) {
            const auto byte = static_cast<std::uint8_t>(meant[i]);
            if (byte >= edge.low && byte <= edge.high) {
                const auto letter = static_cast<std::uint8_t>(written[i]);
                out_.add(after_backslash(from), byte_edge{letter, letter, edge.target});
            }
        }
        for (unsigned byte = edge.low; byte <= edge.high && byte < 0x20; ++byte) {
            add_hexadecimal(from, byte, edge.target);
        }
    }

private:
    std::uint32_t after_backslash(std::uint32_t from) { return step(from, '\\'); }
    void add_hexadecimal(std::uint32_t from, unsigned byte, std::uint32_t target) {
        const std::uint32_t zeros = step(step(step(after_backslash(from), 'u'), '0'), '0');
        const std::uint32_t tens = step(zeros, static_cast<char>('0' + (byte >> 4)));
        constexpr std::string_view lower = "0123456789abcdef";
        constexpr std::string_view upper = "0123456789ABCDEF";
        for (const std::string_view digits : {lower, upper}) {
            const auto digit = static_cast<std::uint8_t>(digits[byte & 15]);
            out_.add(tens, byte_edge{digit, digit, target});
        }
    }
    /// The state after one more character of an escape.
    std::uint32_t step(std::uint32_t from, char c) {
        const auto [found, is_new] = steps_.try_emplace({from, c}, 0);
        if (is_new) {
            const auto byte = static_cast<std::uint8_t>(c);
            found->second = out_.add_state();
            out_.add(from, byte_edge{byte, byte, found->second});
        }
        return found->second;
    }

    nondeterministic_automaton& out_;
    std::map<std::pair<std::uint32_t, char>, std::uint32_t> steps_;
};

/// The inside of the JSON strings whose values are texts of `content`.
[[nodiscard]] inline automaton json_string_body(const automaton& content) {
    nondeterministic_automaton states;
    for (std::uint32_t state = 0; state < content.size(); ++state) {
        states.add_state();
        if (content.is_final(state)) {
            states.set_final(state);
        }
    }
    json_escaping escaping(states);
    for (std::uint32_t state = 0; state < content.size(); ++state) {
        for (const byte_edge edge : content.byte_edges(state)) {
            escaping.add(state, edge);
        }
    }
    return minimised(states.as_it_is()); // deterministic, as `content` is
}

/// A text as the inside of a JSON string: what is written for each character is the shortest of its forms.
[[nodiscard]] inline std::string json_string_text(std::string_view text) {
    constexpr std::string_view meant = "\"\\\b\f\n\r\t";
    constexpr std::string_view written = "\"\\bfnrt";
    constexpr std::string_view digits = "0123456789abcdef";
    std::string made;
    for (const char c : text) {
        const auto found = meant.find(c);
        const auto byte = static_cast<unsigned char>(c);
        if (found != std::string_view::npos) {
            made += '\\';
            made += written[found];
        } else if (byte < 0x20) {
            made += "\\u00";
            made += digits[byte >> 4];
            made += digits[byte & 15];
        } else {
            made += c;
        }
    }
    return made;
}

/// How many characters (code points) the texts of a language have from each of its states on.
class character_counts {
public:
    explicit character_counts(const automaton& content) : content_(content), is_border_(content.size()) {
        find_borders();
        find_fewest();
    }

    /// Whether texts begin or end here, not within a character.
    [[nodiscard]] bool is_border(std::uint32_t state) const noexcept { return is_border_[state]; }
    /// The fewest characters that are still to begin.
    [[nodiscard]] std::uint32_t fewest(std::uint32_t state) const noexcept { return fewest_[state]; }

    /// Whether every number of characters from fewest() on can be reached from every state: then a counter suffices.
    [[nodiscard]] bool is_open_everywhere() const {
        std::vector<bool> is_open = is_border_;
        for (int round = 0; round < 1000; ++round) {
            bool is_stable = true;
            const std::vector<std::uint32_t> next = fewest_over(is_open);
            for (std::uint32_t state = 0; state < content_.size(); ++state) {
                const std::uint32_t wanted = fewest_[state] == 0 ? 0 : fewest_[state] - 1;
                if (is_open[state] && fewest_after(state, next) > wanted) {
                    is_open[state] = false;
                    is_stable = false;
                }
            }
            if (is_stable) {
                return is_open == is_border_;
            }
        }
        return false;
    }

    /// Whether there always is a character of one byte that brings no more to follow.
    [[nodiscard]] bool is_plain() const {
        for (std::uint32_t state = 0; state < content_.size(); ++state) {
            const auto edges = content_.byte_edges(state);
            const std::uint32_t wanted = fewest_[state] == 0 ? 0 : fewest_[state] - 1;
            const auto is_nearer = [&](byte_edge edge) {
                const bool has_plain = edge.high >= 0x23 && edge.low < 0x80 && edge.high != 0x5c;
                return has_plain && fewest_[edge.target] <= wanted;
            };
            if (is_border_[state] && std::none_of(edges.begin(), edges.end(), is_nearer)) {
                return false;
            }
        }
        return true;
    }

private:
    static constexpr std::uint32_t none = 0xffffffffu;

    void find_borders() {
        std::vector<std::uint32_t> todo;
        std::vector<std::uint8_t> pending(content_.size(), 0xff); // bytes that a character still has
        if (content_.size() != 0) {
            pending[0] = 0;
            todo.push_back(0);
        }
        while (!todo.empty()) {
            const std::uint32_t state = todo.back();
            todo.pop_back();
            is_border_[state] = pending[state] == 0;
            for (const byte_edge edge : content_.byte_edges(state)) {
                const unsigned size = utf8_lead_of(edge.low).size;
                const unsigned left = pending[state] != 0 ? pending[state] - 1u : size - 1u;
                if (pending[edge.target] == 0xff) {
                    pending[edge.target] = static_cast<std::uint8_t>(left);
                    todo.push_back(edge.target);
                }
            }
        }
    }
    /// Breadth-first from the ends: a character counts where it begins.
    void find_fewest() {
        std::vector<std::vector<std::uint32_t>> ways_in(content_.size());
        fewest_.assign(content_.size(), none);
        std::vector<std::uint32_t> todo;
        for (std::uint32_t state = 0; state < content_.size(); ++state) {
            for (const byte_edge edge : content_.byte_edges(state)) {
                ways_in[edge.target].push_back(state);
            }
            if (content_.is_final(state)) {
                fewest_[state] = 0;
                todo.push_back(state);
            }
        }
        while (!todo.empty()) {
            std::vector<std::uint32_t> further; // one character more
            for (std::size_t at = 0; at < todo.size(); ++at) {
                spread_fewest(todo[at], ways_in[todo[at]], todo, further);
            }
            todo = std::move(further);
        }
    }
    void spread_fewest(std::uint32_t state, const std::vector<std::uint32_t>& ways_in, std::vector<std::uint32_t>& todo,
                       std::vector<std::uint32_t>& further) {
        for (const std::uint32_t from : ways_in) {
            const std::uint32_t characters = fewest_[state] + (is_border_[from] ? 1 : 0);
            if (characters < fewest_[from]) {
                fewest_[from] = characters;
                (is_border_[from] ? further : todo).push_back(from);
            }
        }
    }
    /// Per state within a character: the fewest characters of an open border at its end.
    [[nodiscard]] std::vector<std::uint32_t> fewest_over(const std::vector<bool>& is_open) const {
        std::vector<std::uint32_t> made(content_.size(), none);
        for (std::uint32_t state = 0; state < content_.size(); ++state) {
            made[state] = is_border_[state] && is_open[state] ? fewest_[state] : none;
        }
        for (int depth = 0; depth < 3; ++depth) {
            for (std::uint32_t state = 0; state < content_.size(); ++state) {
                made[state] = is_border_[state] ? made[state] : (std::min)(made[state], fewest_after(state, made));
            }
        }
        return made;
    }
    [[nodiscard]] std::uint32_t fewest_after(std::uint32_t state, const std::vector<std::uint32_t>& next) const {
        std::uint32_t made = none;
        for (const byte_edge edge : content_.byte_edges(state)) {
            made = (std::min)(made, next[edge.target]);
        }
        return made;
    }

    const automaton& content_;
    std::vector<bool> is_border_;
    std::vector<std::uint32_t> fewest_;
};

/// The inside of JSON strings with at most `most` characters, as an automaton that counts them: from a border one count
/// edge for every number of characters that may have to follow the next one, so that what is begun can be ended.
/// \pre counts.is_open_everywhere()
[[nodiscard]] inline automaton counting_string_body(const automaton& content, const character_counts& counts,
                                                    std::uint32_t most) {
    nondeterministic_automaton states;
    std::map<std::pair<std::uint32_t, std::uint32_t>, std::uint32_t>
        within; // (state, to follow): that part of a character
    std::vector<std::pair<std::uint32_t, std::uint32_t>> todo;
    json_escaping escaping(states);
    for (std::uint32_t state = 0; state < content.size(); ++state) {
        states.add_state();
        if (content.is_final(state) && counts.is_border(state)) {
            states.set_final(state);
        }
    }
    const auto number_of = [&](std::uint32_t state, std::uint32_t follow) {
        const auto [found, is_new] = within.try_emplace({state, follow}, 0);
        if (is_new) {
            found->second = states.add_state();
            todo.emplace_back(state, follow);
        }
        return found->second;
    };
    std::vector<std::uint32_t> numbers; // of characters that may have to follow
    for (std::uint32_t state = 0; state < content.size(); ++state) {
        if (counts.is_border(state)) {
            numbers.push_back(counts.fewest(state));
        }
    }
    std::sort(numbers.begin(), numbers.end());
    numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
    for (std::uint32_t state = 0; state < content.size(); ++state) {
        for (const std::uint32_t follow : numbers) {
            if (counts.is_border(state) && (most == unlimited || follow < most)) {
                const std::uint32_t cap = most == unlimited ? unlimited : most - follow;
                states.add(state, special_edge{special_kind::count, cap, number_of(state, follow)});
            }
        }
    }
    for (std::size_t at = 0; at < todo.size(); ++at) {
        const auto [state, follow] = todo[at];
        const std::uint32_t from = number_of(state, follow);
        for (const byte_edge edge : content.byte_edges(state)) {
            if (!counts.is_border(edge.target)) {
                escaping.add(from, {edge.low, edge.high, number_of(edge.target, follow)});
            } else if (counts.fewest(edge.target) == follow) {
                escaping.add(from, edge);
            }
        }
    }
    return trimmed(states.as_it_is());
}

/// Texts of `content` with `low` to `high` characters, state by state: none where low is above high; nullopt where that
/// takes too many states.
[[nodiscard]] inline std::optional<automaton> of_length(const automaton& content, std::uint32_t low,
                                                        std::uint32_t high) {
    constexpr std::uint32_t most_characters = 16'384;
    if (low > high) {
        return automaton();
    }
    if ((high == unlimited ? low : high) > most_characters) {
        return std::nullopt;
    }
    expression_pool pool;
    code_point_class any;
    any.add(0, last_code_point);
    const auto lengths = language_of(pool, pool.repeat(pool.one_of(std::move(any)), low, high));
    return lengths ? intersection(content, *lengths) : std::nullopt;
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Borrows the rules.
class schema_strings {
public:
    explicit schema_strings(schema_rules& rules) : rules_(rules), pool_(rules.pool()), any_text_(any_utf8()) {}

    /// The language of all texts, without quotes and as they are before JSON escapes them.
    [[nodiscard]] const automaton& any_text() const noexcept { return any_text_; }
    /// Those of a shape of any length; nullopt where that has too many states.
    [[nodiscard]] std::optional<automaton> content_of(const schema_shape& shape) const {
        std::optional<automaton> made = any_text_;
        for (const shared_language& language : shape.strings) {
            made = made ? intersection(*made, *language) : std::nullopt;
        }
        return made;
    }

    /// Adds the strings of a shape to `parts`.
    [[nodiscard]] bool add(const schema_shape& shape, std::vector<expression>& parts) {
        if (shape.strings.empty() && shape.least_length == 0 && shape.most_length == unlimited) {
            return add_any(parts);
        }
        auto content = content_of(shape);
        if (!content) {
            return rules_.too_large() && add_any(parts);
        }
        if (shape.least_length > shape.most_length || content->size() == 0) {
            return true;
        }
        if (shape.least_length == 0 && shape.most_length == unlimited) {
            parts.push_back(rules_.quoted_text(pool_.language(json_string_body(*content))));
            return true;
        }
        return add_of_length(shape, *content, parts);
    }

private:
    [[nodiscard]] bool add_any(std::vector<expression>& parts) {
        any_string_ = any_string_ ? any_string_ : rules_.quoted_text(pool_.language(json_string_body(any_text_)));
        parts.push_back(*any_string_);
        return true;
    }
    /// \pre the length is limited, and something has it
    [[nodiscard]] bool add_of_length(const schema_shape& shape, const automaton& content,
                                     std::vector<expression>& parts) {
        const character_counts counts(content);
        const bool is_small = shape.most_length <= 64 && content.size() <= 64;
        if (!is_small && counts.is_open_everywhere()) {
            if (counts.fewest(0) <= shape.most_length) {
                automaton body = counting_string_body(content, counts, shape.most_length);
                const std::uint32_t least = shape.least_length;
                parts.push_back(rules_.quoted_text(
                    pool_.counted(std::move(body), least, shape.most_length, counts.is_plain() ? 1 : 6)));
            }
            return true;
        }
        const auto bounded = of_length(content, shape.least_length, shape.most_length);
        if (!bounded) {
            return rules_.too_large() && add_any(parts);
        }
        parts.push_back(rules_.quoted_text(pool_.language(json_string_body(*bounded))));
        return true;
    }

    schema_rules& rules_;
    expression_pool& pool_;
    automaton any_text_;
    std::optional<expression> any_string_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

// ---- bitnet/constrain/schema_unique_items.hpp ----
// schema_unique_items: expressions of the items of arrays in which no value comes twice.
#ifndef BITNET_CONSTRAIN_SCHEMA_UNIQUE_ITEMS_HPP
#define BITNET_CONSTRAIN_SCHEMA_UNIQUE_ITEMS_HPP

// ---- bitnet/constrain/finite_values.hpp ----
// finite_values: JSON values of which there are few, told apart as JSON Schema does.
#ifndef BITNET_CONSTRAIN_FINITE_VALUES_HPP
#define BITNET_CONSTRAIN_FINITE_VALUES_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// The texts of a language; nullopt where they are more than `most`. \pre it is deterministic, and each of its states
/// leads to a text
[[nodiscard]] inline std::optional<std::vector<std::string>> texts_of(const automaton& language, std::size_t most) {
    std::vector<std::string> made;
    std::vector<std::pair<std::uint32_t, std::string>> todo;
    if (language.size() != 0) {
        todo.emplace_back(0, "");
    }
    std::size_t steps = 0;
    while (!todo.empty()) {
        constexpr std::size_t most_steps = 100'000;
        const auto [state, text] = std::move(todo.back());
        todo.pop_back();
        if (language.is_final(state)) {
            made.push_back(text);
        }
        // What is as long as there are states has met one of them twice, and goes on without end.
        if (made.size() > most || text.size() >= language.size() || ++steps > most_steps) {
            return std::nullopt;
        }
        for (const byte_edge edge : language.byte_edges(state)) {
            for (unsigned byte = edge.low; byte <= edge.high && todo.size() <= most; ++byte) {
                todo.emplace_back(edge.target, text + static_cast<char>(byte));
            }
        }
        if (todo.size() > most) {
            return std::nullopt;
        }
    }
    return made;
}

/// Values without parts, each with the texts that stand for it: of a string, its characters; of others, JSON.
class finite_values {
public:
    enum class kind : std::uint8_t { word, number, string };
    struct value {
        kind is;
        std::vector<std::string> texts;
    };

    /// The value's number, from 0 on; the same for equal ones.
    std::size_t add(kind is, std::string_view text) {
        const auto number = is == kind::number ? read_decimal(text) : std::nullopt;
        const std::string same = !number ? std::string(text) : number->is_zero() ? "0" : number->text();
        const auto [found, is_new] = numbers_.try_emplace({is, same}, all_.size());
        if (is_new) {
            all_.push_back({is, {}});
        }
        std::vector<std::string>& texts = all_[found->second].texts;
        if (std::find(texts.begin(), texts.end(), text) == texts.end()) {
            texts.emplace_back(text);
        }
        return found->second;
    }
    [[nodiscard]] std::size_t size() const noexcept { return all_.size(); }
    [[nodiscard]] const value& operator[](std::size_t number) const noexcept { return all_[number]; }

private:
    std::vector<value> all_;
    std::map<std::pair<kind, std::string>, std::size_t> numbers_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

// ---- bitnet/constrain/schema_numbers.hpp ----
// schema_numbers: expressions of the numbers that a shape allows.
#ifndef BITNET_CONSTRAIN_SCHEMA_NUMBERS_HPP
#define BITNET_CONSTRAIN_SCHEMA_NUMBERS_HPP

#include <map>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Borrows the rules.
class schema_numbers {
public:
    explicit schema_numbers(schema_rules& rules) noexcept : rules_(rules), pool_(rules.pool()) {}

    /// Adds the numbers of a shape to `parts`.
    [[nodiscard]] bool add(const schema_shape& shape, std::vector<expression>& parts) {
        if (shape.numbers.empty()) {
            return add_plain(shape, parts);
        }
        auto numbers = numbers_of(shape);
        if (!numbers) {
            return rules_.too_large() && add_plain(shape, parts);
        }
        parts.push_back(pool_.language(*std::move(numbers)));
        return true;
    }
    /// Their language; nullopt where it has too many states.
    [[nodiscard]] static std::optional<automaton> numbers_of(const schema_shape& shape) {
        std::optional<automaton> numbers = regular(number_pattern(shape));
        for (const shared_language& language : shape.numbers) {
            numbers = numbers ? intersection(*numbers, *language) : std::nullopt;
        }
        return numbers;
    }

private:
    /// Numbers of the shape's types, whatever else it asks for.
    [[nodiscard]] bool add_plain(const schema_shape& shape, std::vector<expression>& parts) {
        const std::string_view pattern = number_pattern(shape);
        const auto [found, is_new] = plain_.try_emplace(pattern, 0);
        if (is_new) {
            found->second = pool_.language(regular(pattern).value_or(automaton()));
        }
        parts.push_back(found->second);
        return true;
    }
    [[nodiscard]] static std::string_view number_pattern(const schema_shape& shape) noexcept {
        const bool has_whole = (shape.values & set_whole) != 0;
        const bool has_fraction = (shape.values & set_fraction) != 0;
        return !has_fraction           ? "-?(0|[1-9][0-9]*)"
               : !has_whole            ? "-?(0|[1-9][0-9]*)\\.[0-9]*[1-9][0-9]*"
               : shape.numbers.empty() ? "-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][-+]?[0-9]+)?"
                                       : "-?(0|[1-9][0-9]*)(\\.[0-9]+)?";
    }
    /// \pre it is small and has no mistake
    [[nodiscard]] static std::optional<automaton> regular(std::string_view pattern) {
        expression_pool pool;
        const auto read = regex_reader(pattern, "number", pool, {}).run();
        return read ? language_of(pool, *read) : std::nullopt;
    }

    schema_rules& rules_;
    expression_pool& pool_;
    std::map<std::string_view, expression> plain_; // without bounds, by their pattern
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Items are told apart by which values have come: a rule for every set of these. Borrows the rules and the strings.
class schema_unique_items {
public:
    schema_unique_items(schema_rules& rules, const schema_strings& strings) noexcept
        : rules_(rules), pool_(rules.pool()), strings_(strings) {}

    /// Items of which no two are equal. \return whether to go on: not where the values are too many
    [[nodiscard]] bool make(const schema_shape& shape, std::optional<expression>& items) {
        finite_values all;
        std::vector<std::vector<std::size_t>> at_place; // the values that may stand there; the last one: and behind
        const std::size_t places = (std::min)(prefix_of(shape) + 1, std::size_t{shape.most_items});
        bool is_finite = shape.contained.empty();
        for (std::size_t place = 0; place < places && is_finite; ++place) {
            at_place.emplace_back();
            if (!add_values(demands_of_item(shape, place), all, at_place.back(), is_finite)) {
                return false;
            }
        }
        if (is_finite && unique_rules(shape, all, at_place, items)) {
            return true;
        }
        return rules_.reader().refuse(*shape.unique_place,
                                      {"that items are unique can be enforced where they are some of a few (up to ",
                                       most_unique, ") strings, numbers, booleans and null, or one item at most"});
    }

private:
    static constexpr std::size_t most_unique = 24; ///< values, of which
    static constexpr std::size_t most_sets = 2048; ///< so many sets may come together

    /// Adds the values that meet `wanted`, if they are few and have no parts.
    [[nodiscard]] bool add_values(const demands& wanted, finite_values& all, std::vector<std::size_t>& which,
                                  bool& is_finite) {
        std::vector<schema_shape> shapes;
        if (!rules_.reader().read(wanted, shapes)) {
            return false;
        }
        const auto add = [&](finite_values::kind is, const std::optional<automaton>& language) {
            const auto texts = language ? texts_of(*language, std::size_t{2} * most_unique) : std::nullopt;
            is_finite = is_finite && texts;
            for (std::size_t i = 0; is_finite && i < texts->size(); ++i) {
                which.push_back(all.add(is, (*texts)[i]));
            }
        };
        for (const schema_shape& shape : shapes) {
            is_finite = is_finite && (shape.values & (set_array | set_object)) == 0;
            for (const auto& [value, word] : value_words) {
                if ((shape.values & value) != 0) {
                    which.push_back(all.add(finite_values::kind::word, word));
                }
            }
            if ((shape.values & (set_whole | set_fraction)) != 0) {
                add(finite_values::kind::number,
                    shape.numbers.empty() ? std::nullopt : schema_numbers::numbers_of(shape));
            }
            if ((shape.values & set_string) != 0) {
                const bool is_any_length = shape.least_length == 0 && shape.most_length == unlimited;
                auto content = shape.strings.empty() ? std::nullopt : strings_.content_of(shape);
                add(finite_values::kind::string,
                    content && !is_any_length ? of_length(*content, shape.least_length, shape.most_length) : content);
            }
        }
        return true;
    }
    /// \return whether there are not too many sets
    [[nodiscard]] bool unique_rules(const schema_shape& shape, const finite_values& all,
                                    const std::vector<std::vector<std::size_t>>& at_place,
                                    std::optional<expression>& items) {
        if (all.size() > most_unique) {
            return false;
        }
        std::vector<expression> texts;
        for (std::size_t i = 0; i < all.size(); ++i) {
            texts.push_back(text_of(all[i]));
        }
        std::vector<std::uint32_t> sets{0}; // each with a rule
        std::map<std::uint32_t, std::uint32_t> rules{{0u, rules_.own_rule()}};
        for (std::size_t at = 0; at < sets.size(); ++at) {
            const std::uint32_t come = sets[at];
            const auto count = static_cast<std::size_t>(std::popcount(come));
            std::vector<expression> ways;
            if (count >= shape.least_items) {
                ways.push_back(pool_.empty());
            }
            std::uint32_t tried = count < shape.most_items ? come : ~0u;
            for (const std::size_t value : at_place[(std::min)(count, at_place.size() - 1)]) {
                const std::uint32_t bit = 1u << value;
                if ((tried & bit) != 0) {
                    continue;
                }
                tried |= bit;
                const auto [found, is_new] = rules.try_emplace(come | bit, 0);
                if (is_new) {
                    found->second = rules_.own_rule();
                    sets.push_back(come | bit);
                }
                const expression rest = pool_.rule(found->second);
                ways.push_back(count == 0 ? pool_.sequence({texts[value], rest})
                                          : pool_.sequence({rules_.comma(), texts[value], rest}));
            }
            if (sets.size() > most_sets) {
                return false;
            }
            rules_.set_body(rules.at(come), pool_.choice(ways));
        }
        items = pool_.rule(rules.at(0));
        return true;
    }
    [[nodiscard]] expression text_of(const finite_values::value& one) {
        if (one.is == finite_values::kind::string) {
            return rules_.quoted_text(pool_.language(json_string_body(words_automaton({one.texts.front()}))));
        }
        std::vector<expression> ways;
        for (const std::string& text : one.texts) {
            ways.push_back(pool_.literal(text));
        }
        return pool_.choice(ways);
    }

    schema_rules& rules_;
    expression_pool& pool_;
    const schema_strings& strings_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Borrows the rules and the strings.
class schema_arrays {
public:
    schema_arrays(schema_rules& rules, const schema_strings& strings) noexcept
        : rules_(rules), pool_(rules.pool()), unique_(rules, strings), contained_(rules) {}

    /// Adds the arrays of a shape to `parts`.
    [[nodiscard]] bool add(const schema_shape& shape, std::vector<expression>& parts) {
        if (shape.least_items > shape.most_items) {
            return true;
        }
        std::optional<expression> items;
        if (shape.unique_place && shape.most_items > 1 && !unique_.make(shape, items)) {
            return false;
        }
        if (!items && !shape.contained.empty() && !contained_.make(shape, items)) {
            return false;
        }
        const expression inside = items ? *items : plain_items(shape);
        parts.push_back(pool_.sequence({pool_.literal("["), inside, pool_.literal("]")}));
        return true;
    }

private:
    /// Items that nothing but their place tells apart.
    [[nodiscard]] expression plain_items(const schema_shape& shape) {
        const auto prefix = static_cast<std::uint32_t>((std::min)(prefix_of(shape), std::size_t{shape.most_items}));
        const std::uint32_t least = shape.least_items > prefix ? shape.least_items - prefix : 0;
        const std::uint32_t most = shape.most_items == unlimited ? unlimited : shape.most_items - prefix;
        expression next = rules_.list_of(rules_.value_of(demands_of_item(shape, prefix)), prefix == 0, least, most);
        for (std::uint32_t index = prefix; index-- > 0;) {
            const expression item = rules_.value_of(demands_of_item(shape, index));
            next = index == 0 ? pool_.sequence({item, next}) : pool_.sequence({rules_.comma(), item, next});
            if (index >= shape.least_items) {
                next = pool_.choice({pool_.empty(), next});
            }
        }
        return next;
    }

    schema_rules& rules_;
    expression_pool& pool_;
    schema_unique_items unique_;
    schema_contained_items contained_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

// ---- bitnet/constrain/schema_objects.hpp ----
// schema_objects: expressions of the objects that a shape allows: which keys, and which value each may have.
#ifndef BITNET_CONSTRAIN_SCHEMA_OBJECTS_HPP
#define BITNET_CONSTRAIN_SCHEMA_OBJECTS_HPP

// ---- bitnet/constrain/schema_members.hpp ----
// schema_members: expressions of the members of a JSON object, of which keys are declared and others may come.
#ifndef BITNET_CONSTRAIN_SCHEMA_MEMBERS_HPP
#define BITNET_CONSTRAIN_SCHEMA_MEMBERS_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// A member whose key a schema names.
struct declared_key {
    std::string name;
    expression member; ///< key, colon and value
    bool is_required;
};

/// In which order, and how many of them, members of an object come. Borrows the rules.
class schema_members {
public:
    explicit schema_members(schema_rules& rules) noexcept : rules_(rules), pool_(rules.pool()) {}

    /// Declared members in order, then others, as many as the shape allows; nullopt where that takes too many states.
    [[nodiscard]] std::optional<expression> in_order(const schema_shape& shape, const std::vector<declared_key>& keys,
                                                     std::optional<expression> others) {
        constexpr std::size_t most_states = 200'000;
        const bool is_limited = shape.most_properties != unlimited;
        const std::size_t counted = // above which the number of members does not matter, or cannot be
            (std::min)(keys.size(),
                       std::size_t{is_limited ? shape.most_properties : (std::max)(shape.least_properties, 1u)});
        if ((keys.size() + 1) * (counted + 1) > most_states) {
            return std::nullopt;
        }
        std::vector<expression> next(counted + 1);
        for (std::uint32_t count = 0; count <= counted; ++count) {
            next[count] = other_list(shape, count, others);
        }
        for (std::size_t key = keys.size(); key-- > 0;) {
            std::vector<expression> made(counted + 1);
            for (std::size_t count = 0; count <= (std::min)(counted, key); ++count) {
                std::vector<expression> ways;
                if (count < shape.most_properties) {
                    const expression after = next[(std::min)(count + 1, counted)];
                    ways.push_back(count == 0 ? pool_.sequence({keys[key].member, after})
                                              : pool_.sequence({rules_.comma(), keys[key].member, after}));
                }
                if (!keys[key].is_required) {
                    ways.push_back(next[count]);
                }
                made[count] = pool_.choice(ways);
            }
            next = std::move(made);
        }
        return next[0];
    }
    /// Members in any order, others among them: by which of the keys have come.
    [[nodiscard]] expression unordered(const std::vector<declared_key>& keys, std::optional<expression> others) {
        const expression other = others.value_or(pool_.nothing());
        const expression further = pool_.repeat(pool_.sequence({rules_.comma(), other}), 0, unlimited);
        std::vector<expression> behind(std::size_t{1} << keys.size()); // per set of keys that have come
        std::vector<expression> ways;
        for (std::size_t come = behind.size(); come-- > 0;) {
            ways.clear();
            bool can_end = true;
            for (std::size_t key = 0; key < keys.size(); ++key) {
                const std::size_t bit = std::size_t{1} << key;
                can_end = can_end && ((come & bit) != 0 || !keys[key].is_required);
                if ((come & bit) == 0) {
                    ways.push_back(pool_.sequence({rules_.comma(), keys[key].member, behind[come | bit]}));
                }
            }
            if (can_end) {
                ways.push_back(pool_.empty());
            }
            behind[come] = pool_.sequence({further, pool_.choice(ways)});
        }
        std::vector<expression> first{pool_.sequence({other, behind[0]})};
        bool can_end = true;
        for (std::size_t key = 0; key < keys.size(); ++key) {
            can_end = can_end && !keys[key].is_required;
            first.push_back(pool_.sequence({keys[key].member, behind[std::size_t{1} << key]}));
        }
        if (can_end) {
            first.push_back(pool_.empty());
        }
        return pool_.choice(first);
    }

private:
    /// Members with keys that are not declared, behind `count` others.
    [[nodiscard]] expression other_list(const schema_shape& shape, std::uint32_t count,
                                        std::optional<expression> others) {
        if (count > shape.most_properties) {
            return pool_.nothing();
        }
        const std::uint32_t least = shape.least_properties > count ? shape.least_properties - count : 0;
        const std::uint32_t most = shape.most_properties == unlimited ? unlimited : shape.most_properties - count;
        return rules_.list_of(others.value_or(pool_.nothing()), count == 0, least, most);
    }

    schema_rules& rules_;
    expression_pool& pool_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

#include <algorithm>
#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Borrows the rules and the strings.
class schema_objects {
public:
    schema_objects(schema_rules& rules, const schema_strings& strings) noexcept
        : rules_(rules), pool_(rules.pool()), strings_(strings), members_(rules) {}

    /// Adds the objects of a shape to `parts`. \param key_order of the rule whose body this is for
    [[nodiscard]] bool add(const schema_shape& shape, std::span<const std::string> key_order,
                           std::vector<expression>& parts) {
        std::optional<automaton> names;
        if (!name_language(shape, names)) {
            return false;
        }
        key_set known;
        const std::vector<declared_key> keys = declared_keys(shape, key_order, names, known);
        std::optional<expression> others;
        if (!other_members(shape, known, names, others)) {
            return false;
        }
        // Where no schema lists properties, no order of keys is meant.
        constexpr std::size_t most_unordered = 6;
        const bool is_unordered = !rules_.reader().has_listed_keys() && keys.size() <= most_unordered &&
                                  shape.least_properties == 0 && shape.most_properties == unlimited &&
                                  !shape.is_one_value;
        auto members = is_unordered ? members_.unordered(keys, others) : members_.in_order(shape, keys, others);
        if (!members) {
            if (!rules_.refuse({"minProperties or maxProperties beside ", keys.size(), " keys need too many states"})) {
                return false;
            }
            schema_shape unlimited_shape = shape;
            unlimited_shape.least_properties = 0;
            unlimited_shape.most_properties = unlimited;
            members = members_.in_order(unlimited_shape, keys, others); // there are fewer keys than rules
        }
        parts.push_back(pool_.sequence({pool_.literal("{"), members.value_or(pool_.nothing()), pool_.literal("}")}));
        return true;
    }

private:
    using key_set = std::set<std::string, std::less<>>;

    /// Those that a schema names: in the order of the schema, then what only negations and constants name.
    [[nodiscard]] std::vector<declared_key> declared_keys(const schema_shape& shape,
                                                          std::span<const std::string> key_order,
                                                          const std::optional<automaton>& names, key_set& known) {
        const key_set required(shape.required.begin(), shape.required.end());
        const std::vector<listed_keys> listed = listed_keys_of(shape);
        std::vector<declared_key> keys;
        const auto declare = [&](const std::string& key) {
            if (known.insert(key).second) {
                const bool is_named = !names || names->accepts(key);
                const expression text = pool_.literal("\"" + json_string_text(key) + "\"");
                const expression value =
                    is_named ? rules_.value_of(demands_of_key(shape, listed, key)) : pool_.nothing();
                keys.push_back({key, pool_.sequence({text, rules_.colon(), value}), required.count(key) != 0});
            }
        };
        for (const std::string& key : key_order) {
            declare(key);
        }
        for (const object_part& part : shape.objects) {
            for (const auto& [key, what] : part.properties) {
                declare(key);
            }
        }
        for (const std::string& key : shape.required) {
            declare(key);
        }
        return keys;
    }
    /// What `properties` of one part ask for, by key: a list of them may be long.
    using listed_keys = std::multimap<std::string_view, demand>;

    [[nodiscard]] static std::vector<listed_keys> listed_keys_of(const schema_shape& shape) {
        std::vector<listed_keys> made;
        for (const object_part& part : shape.objects) {
            made.emplace_back(part.properties.begin(), part.properties.end());
        }
        return made;
    }
    [[nodiscard]] static demands demands_of_key(const schema_shape& shape, const std::vector<listed_keys>& listed,
                                                std::string_view key) {
        demands made;
        for (std::size_t i = 0; i < listed.size(); ++i) {
            const object_part& part = shape.objects[i];
            const auto [first, last] = listed[i].equal_range(key);
            bool is_met = first != last;
            for (auto at = first; at != last; ++at) {
                made.push_back(at->second);
            }
            for (const auto& [pattern, what] : part.patterns) {
                if (pattern->accepts(key)) {
                    is_met = true;
                    made.push_back(what);
                }
            }
            if (!is_met && part.additional) {
                made.push_back(*part.additional);
            }
        }
        return made;
    }

    /// The language of propertyNames; nullopt where it asks for nothing.
    [[nodiscard]] bool name_language(const schema_shape& shape, std::optional<automaton>& names) {
        if (shape.property_names.empty()) {
            return true;
        }
        std::vector<schema_shape> shapes;
        if (!rules_.reader().read(shape.property_names, shapes)) {
            return false;
        }
        automaton rest = strings_.any_text(); // what no shape takes
        for (const schema_shape& one : shapes) {
            auto content = (one.values & set_string) != 0 ? strings_.content_of(one) : automaton();
            if (content && (one.least_length != 0 || one.most_length != unlimited)) {
                content = of_length(*content, one.least_length, one.most_length);
            }
            auto left = content ? difference(rest, *content) : std::nullopt;
            if (!left) {
                return rules_.too_large();
            }
            rest = *std::move(left);
        }
        names = difference(strings_.any_text(), rest);
        return names || rules_.too_large();
    }

    /// A member whose key is not declared; nullopt where there is none.
    [[nodiscard]] bool other_members(const schema_shape& shape, const key_set& known,
                                     const std::optional<automaton>& names, std::optional<expression>& others) {
        const auto words = words_automaton({known.begin(), known.end()});
        auto keys = difference(names ? *names : strings_.any_text(), words);
        if (!keys) {
            return rules_.too_large();
        }
        std::vector<key_class> classes;
        classes.push_back({*std::move(keys), {}});
        for (const object_part& part : shape.objects) {
            for (const auto& [pattern, what] : part.patterns) {
                if (!split(classes, *pattern)) {
                    return rules_.too_large();
                }
            }
        }
        std::vector<expression> parts;
        for (const key_class& one : classes) {
            const demands all = demands_of_class(shape, one.is_met);
            const bool is_none = std::any_of(all.begin(), all.end(), [&](demand what) { return never_fits(what); });
            if (!is_none) {
                const expression text = rules_.quoted_text(pool_.language(json_string_body(one.keys)));
                parts.push_back(pool_.sequence({text, rules_.colon(), rules_.value_of(all)}));
            }
        }
        if (!parts.empty()) {
            others = pool_.choice(parts);
        }
        return true;
    }
    struct key_class {
        automaton keys;
        std::vector<bool> is_met; ///< which of all patterns, in order
    };
    [[nodiscard]] static bool split(std::vector<key_class>& classes, const automaton& pattern) {
        constexpr std::size_t most_classes = 64;
        std::vector<key_class> made;
        for (key_class& one : classes) {
            auto in = intersection(one.keys, pattern);
            auto out = difference(one.keys, pattern);
            if (!in || !out) {
                return false;
            }
            for (auto* const keys : {&*in, &*out}) {
                if (keys->size() != 0) {
                    made.push_back({std::move(*keys), one.is_met});
                    made.back().is_met.push_back(keys == &*in);
                }
            }
        }
        classes = std::move(made);
        return classes.size() <= most_classes;
    }
    [[nodiscard]] static demands demands_of_class(const schema_shape& shape, const std::vector<bool>& is_met) {
        demands made;
        std::size_t at = 0;
        for (const object_part& part : shape.objects) {
            bool is_any_met = false;
            for (const auto& [pattern, what] : part.patterns) {
                if (is_met[at++]) {
                    is_any_met = true;
                    made.push_back(what);
                }
            }
            if (!is_any_met && part.additional) {
                made.push_back(*part.additional);
            }
        }
        return made;
    }
    [[nodiscard]] bool never_fits(demand what) {
        return what.kind == demand_kind::nothing_fits ||
               (what.kind == demand_kind::schema &&
                !rules_.reader().document().at(what.place).value.as_bool().value_or(true));
    }

    schema_rules& rules_;
    expression_pool& pool_;
    const schema_strings& strings_;
    schema_members members_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI {

namespace detail {

/// Makes the body of one rule after another, of which each may ask for further ones. Steps return whether to go on; if
/// not, the error is in the reader's failure().
class schema_compiler {
public:
    schema_compiler(const json_document& text, std::string_view name, const schema_options& options)
        : reader_(text, name, options), name_(name), rules_(reader_, options), numbers_(rules_), strings_(rules_),
          arrays_(rules_, strings_), objects_(rules_, strings_) {}

    /// \param before a text in front of the JSON text \param after and one behind it
    [[nodiscard]] result<grammar> run(std::string_view before = {}, std::string_view after = {}) {
        if (reader_.document().longest_key() > most_key_bytes) {
            return error_saying(errc::grammar_budget, {name_, ": a key of ", reader_.document().longest_key(),
                                                       " bytes, and at most ", most_key_bytes, " are supported"});
        }
        if (reader_.document().longest_uri() > most_uri_bytes) {
            return error_saying(errc::grammar_budget, {name_, ": $id gives a URI of ", reader_.document().longest_uri(),
                                                       " bytes, and at most ", most_uri_bytes, " are supported"});
        }
        rules_.begin();
        for (std::size_t at = 0; at < rules_.size(); ++at) {
            constexpr std::size_t most_rules = 20'000;
            constexpr std::size_t most_expressions = 4'000'000; // some 40 bytes each
            if (at == most_rules) {
                return error_saying(errc::grammar_budget,
                                    {name_, ": combinations of its schemas need more than ", most_rules, " rules"});
            }
            if (rules_.pool().size() > most_expressions) {
                return error_saying(errc::grammar_budget, {name_, ": its first ", at, " rules need more than ",
                                                           most_expressions, " expressions"});
            }
            const demands* const all = rules_.wanted(at);
            if (all != nullptr && !compile(*all, static_cast<std::uint32_t>(at))) {
                return std::move(reader_.failure());
            }
        }
        if (!before.empty() || !after.empty()) {
            rules_.surround(before, after);
        }
        return compiled(rules_.source(), name_, std::move(reader_.notes()));
    }

private:
    [[nodiscard]] bool compile(const demands& all, std::uint32_t rule) {
        rules_.begin_body(all);
        const auto key_order = reader_.key_order(all);
        std::vector<schema_shape> shapes;
        if (!reader_.read(all, shapes)) {
            return false;
        }
        std::vector<expression> parts;
        for (const schema_shape& shape : shapes) {
            if (!add_shape(shape, key_order, parts)) {
                return false;
            }
        }
        rules_.set_body(rule, rules_.pool().choice(parts));
        return true;
    }
    [[nodiscard]] bool add_shape(const schema_shape& shape, std::span<const std::string> key_order,
                                 std::vector<expression>& parts) {
        for (const auto& [value, word] : value_words) {
            if ((shape.values & value) != 0) {
                parts.push_back(rules_.pool().literal(word));
            }
        }
        return ((shape.values & (set_whole | set_fraction)) == 0 || numbers_.add(shape, parts)) &&
               ((shape.values & set_string) == 0 || strings_.add(shape, parts)) &&
               ((shape.values & set_array) == 0 || arrays_.add(shape, parts)) &&
               ((shape.values & set_object) == 0 || objects_.add(shape, key_order, parts));
    }

    schema_reader reader_;
    std::string_view name_;
    schema_rules rules_;
    schema_numbers numbers_;
    schema_strings strings_;
    schema_arrays arrays_;
    schema_objects objects_;
};

/// grammar::json_schema with a text in front and one behind.
[[nodiscard]] inline result<grammar> json_schema_between(std::string_view before, std::string_view after,
                                                         std::string_view schema, const schema_options& options,
                                                         std::string_view name) {
    return guarded([&]() -> result<grammar> {
        if (schema.size() > most_source_bytes) {
            return error_saying(errc::bad_schema,
                                {name, ": ", schema.size(), " bytes, and at most ", most_source_bytes, " are read"});
        }
        constexpr std::uint32_t most_nested = 512;
        auto text = json_document::parse(schema, name, {.depth = most_nested});
        return text ? schema_compiler(*text, name, options).run(before, after) : failed(text);
    });
}

} // namespace detail

inline result<grammar> grammar::json_schema(std::string_view schema, const schema_options& options,
                                            std::string_view name) {
    return detail::json_schema_between({}, {}, schema, options, name);
}
inline result<grammar> grammar::json_schema(std::string_view schema) {
    return grammar::json_schema(schema, schema_options{});
}

} // namespace bitnet::inline BITNET_ABI

#endif

// ---- bitnet/constrain/type_schema.hpp ----
// schema_of: the JSON Schema of a C++ type. Defines grammar::of.
#ifndef BITNET_CONSTRAIN_TYPE_SCHEMA_HPP
#define BITNET_CONSTRAIN_TYPE_SCHEMA_HPP

#include <concepts>
#include <cstddef>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace bitnet::inline BITNET_ABI {

namespace detail {

/// The alternative T of a variant: an object with its name under "type".
template <class T> struct tagged {};

/// Writes the JSON Schema of a type. The structs that it is inside of are a list of types, `Open`, the innermost first:
/// where one of them comes again, a reference to its place is written.
class type_schema_writer {
public:
    /// \param place of the schema in the document, such as #
    explicit type_schema_writer(std::string place) : place_(std::move(place)) {}

    template <class T, class... Open> void write(const value_limits& limits) {
        static_assert(!character_type<T>, "a character is no JSON value: take std::string");
        if constexpr (std::same_as<T, bool>) {
            plain("boolean", limits);
        } else if constexpr (json_integer<T> || std::floating_point<T>) {
            const number_range range = range_of<T>(limits);
            begin(json_integer<T> ? "integer" : "number", limits);
            text_.append(",\"minimum\":").append(range.low).append(",\"maximum\":").append(range.high).append("}");
        } else if constexpr (std::same_as<T, std::string>) {
            begin("string", limits);
            sizes("Length", limits.min_size, limits.max_size);
            text_ += '}';
        } else if constexpr (std::is_enum_v<T>) {
            names<T>(limits);
        } else if constexpr (is_optional<T>) {
            choice_of<T>(limits, [&] {
                inside("/anyOf/0", [&] { write<typename T::value_type, Open...>(limits); });
                text_ += ",{\"type\":\"null\"}";
            });
        } else if constexpr (is_vector<T> || is_array<T>) {
            elements<T, Open...>(limits);
        } else if constexpr (is_variant<T>) {
            choice_of<T>(limits, [&] { alternatives<Open...>(static_cast<const T*>(nullptr)); });
        } else if constexpr ((std::same_as<T, Open> || ...)) {
            reference(index_of<T, Open...>());
        } else {
            object<T, Open...>(limits);
        }
    }

    [[nodiscard]] std::string take() && { return std::move(text_); }

    /// From the place of an object's schema to that of one of its keys.
    [[nodiscard]] static std::string property_step(std::string_view key) { return "/properties" + step_of(key); }

private:
    template <class T, class First, class... Rest> [[nodiscard]] static constexpr std::size_t index_of() noexcept {
        if constexpr (std::same_as<T, First>) {
            return 0;
        } else {
            return 1 + index_of<T, Rest...>();
        }
    }

    void description_of(const value_limits& limits) {
        if (!limits.description.empty()) {
            text_ += "\"description\":";
            append_json_string(text_, limits.description);
            text_ += ',';
        }
    }
    void begin(std::string_view type, const value_limits& limits) {
        text_ += '{';
        description_of(limits);
        text_.append("\"type\":\"").append(type).append("\"");
    }
    void plain(std::string_view type, const value_limits& limits) {
        begin(type, limits);
        text_ += '}';
    }
    void sizes(std::string_view of, std::size_t least, std::size_t most) {
        if (least != 0) {
            text_.append(",\"min").append(of).append("\":").append(std::to_string(least));
        }
        if (most != (std::numeric_limits<std::size_t>::max)()) {
            text_.append(",\"max").append(of).append("\":").append(std::to_string(most));
        }
    }
    void reference(std::size_t outwards) {
        text_ += "{\"$ref\":";
        append_json_string(text_, open_[open_.size() - 1 - outwards]);
        text_ += '}';
    }

    /// write() at a place below this one.
    template <class Write> void inside(std::string_view step, Write&& write) {
        const std::size_t before = place_.size();
        place_ += step;
        write();
        place_.resize(before);
    }
    /// A key as a step of a JSON pointer in a URI.
    [[nodiscard]] static std::string step_of(std::string_view key) {
        constexpr std::string_view digits = "0123456789ABCDEF";
        std::string made;
        for (const char c : pointer_step(key)) {
            const auto byte = static_cast<unsigned char>(c);
            const bool is_plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                                  std::string_view("-._~/").find(c) != std::string_view::npos;
            if (is_plain) {
                made += c;
            } else {
                made += '%';
                made += digits[byte >> 4];
                made += digits[byte & 15];
            }
        }
        return made;
    }

    template <class E> void names(const value_limits& limits) {
        static_assert(has_names<E>, "specialise bitnet::names_of for this enum");
        text_ += '{';
        description_of(limits);
        text_ += "\"enum\":[";
        bool is_first = true;
        for (const auto& each : names_of<E>::list) {
            text_ += is_first ? "" : ",";
            append_json_string(text_, each.name);
            is_first = false;
        }
        text_ += "]}";
    }

    template <class T, class Write> void choice_of(const value_limits& limits, Write&& write) {
        text_ += '{';
        description_of(limits);
        text_ += "\"anyOf\":[";
        write();
        text_ += "]}";
    }

    template <class T, class... Open> void elements(const value_limits& limits) {
        begin("array", limits);
        text_ += ",\"items\":";
        inside("/items", [&] { write<typename T::value_type, Open...>({}); });
        if constexpr (is_array<T>) {
            sizes("Items", std::tuple_size_v<T>, std::tuple_size_v<T>);
        } else {
            sizes("Items", limits.min_size, limits.max_size);
        }
        text_ += '}';
    }

    template <class... Open, class... T> void alternatives(const std::variant<T...>*) {
        std::size_t number = 0;
        const auto write_one = [&]<class One>() {
            text_ += number == 0 ? "" : ",";
            inside("/anyOf/" + std::to_string(number), [&] { write<tagged<One>, Open...>({}); });
            ++number;
        };
        (write_one.template operator()<T>(), ...);
    }

    template <class T> struct content_of { using type = T; };
    template <class T> struct content_of<tagged<T>> { using type = T; };

    /// \param T a struct, or tagged<one>
    template <class T, class... Open> void object(const value_limits& limits) {
        using content = typename content_of<T>::type;
        constexpr bool has_tag = !std::same_as<T, content>;
        static_assert(has_fields<content>, "specialise bitnet::fields_of for this type");
        open_.push_back(place_);
        begin("object", limits);
        text_ += ",\"properties\":{";
        std::string required;
        if constexpr (has_tag) {
            text_.append("\"").append(variant_key).append("\":{\"const\":");
            append_json_string(text_, fields_of<content>::name);
            text_ += '}';
            append_json_string(required, variant_key);
        }
        bool is_first = !has_tag;
        for_each_field<content>([&](const auto& each) {
            using member = decltype(member_type(each));
            text_ += is_first ? "" : ",";
            is_first = false;
            append_json_string(text_, each.name);
            text_ += ':';
            inside(property_step(each.name), [&] { write_member<member, T, Open...>(each.limits); });
            if constexpr (!is_optional<member>) {
                required += required.empty() ? "" : ",";
                append_json_string(required, each.name);
            }
        });
        text_.append("},\"required\":[").append(required).append("],\"additionalProperties\":false}");
        open_.pop_back();
    }
    /// An optional member is one that may be missing.
    template <class T, class... Open> void write_member(const value_limits& limits) {
        if constexpr (is_optional<T>) {
            write<typename T::value_type, Open...>(limits);
        } else {
            write<T, Open...>(limits);
        }
    }

    std::string text_;
    std::string place_;
    std::vector<std::string> open_; ///< places of the structs that are open, the outermost first
};

} // namespace detail

/// The JSON Schema of the texts that from_json<T>() reads: to be shown to a model, or for grammar::json_schema.
template <class T> [[nodiscard]] result<std::string> schema_of(const value_limits& limits = {}) {
    return detail::guarded([&]() -> result<std::string> {
        detail::type_schema_writer writer("#");
        writer.write<T>(limits);
        return std::move(writer).take();
    });
}

template <class T> result<grammar> grammar::of(const value_limits& limits) {
    auto schema = schema_of<T>(limits);
    return schema ? json_schema(*schema, schema_options{}, "type") : failed(schema);
}
template <class T> result<grammar> grammar::of() { return of<T>(value_limits{}); }

} // namespace bitnet::inline BITNET_ABI

#endif

// ---- bitnet/io/python_json.hpp ----
// python_json: JSON as Python's json.dumps(ensure_ascii=False) spells it, which is how chat templates write it.
#ifndef BITNET_IO_PYTHON_JSON_HPP
#define BITNET_IO_PYTHON_JSON_HPP

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Appends `text` in double quotes. Python escapes quotes, backslashes and what is below U+0020, and nothing else.
inline void append_python_string(std::string& out, std::string_view text) {
    constexpr std::string_view meant = "\"\\\b\f\n\r\t";
    constexpr std::string_view written = "\"\\bfnrt";
    out += '"';
    for (const char c : text) {
        const std::size_t named = meant.find(c);
        if (named != std::string_view::npos) {
            out += '\\';
            out += written[named];
        } else if (static_cast<unsigned char>(c) < 0x20) {
            append_json_escape(out, static_cast<unsigned char>(c));
        } else {
            out += c;
        }
    }
    out += '"';
}

/// How json.dumps(indent=...) breaks lines.
struct python_indent {
    std::size_t spaces = 0; ///< of a level; 0: all is on one line
    std::size_t level = 0;

    [[nodiscard]] python_indent deeper() const noexcept { return {spaces, level + 1}; }
    /// Appends what is in front of an item, or of the end of a list.
    void begin_line(std::string& out) const {
        if (spaces != 0) {
            out.append(1, '\n').append(spaces * level, ' ');
        }
    }
};

/// Appends `value`: ", " between items where there are no lines, ": " after keys, members in the order of the text,
/// numbers as the text spells them (Python would write 1e2 as 100.0).
inline void append_python_json(std::string& out, json_value value, python_indent lines = {}) {
    const std::string_view after_item = lines.spaces != 0 ? "," : ", ";
    std::string_view between;
    switch (value.type()) {
    case json_type::null:
        out += "null";
        break;
    case json_type::boolean:
        out += *value.as_bool() ? "true" : "false";
        break;
    case json_type::number:
        out += *value.number_text();
        break;
    case json_type::string:
        append_python_string(out, *value.as_string());
        break;
    case json_type::array:
        out += '[';
        for (const json_value element : value.elements()) {
            out += between;
            lines.deeper().begin_line(out);
            append_python_json(out, element, lines.deeper());
            between = after_item;
        }
        if (!between.empty()) {
            lines.begin_line(out);
        }
        out += ']';
        break;
    case json_type::object:
        out += '{';
        for (const json_member member : value.members()) {
            out += between;
            lines.deeper().begin_line(out);
            append_python_string(out, member.key);
            out += ": ";
            append_python_json(out, member.value, lines.deeper());
            between = after_item;
        }
        if (!between.empty()) {
            lines.begin_line(out);
        }
        out += '}';
        break;
    }
}

/// `json` in that spelling. `name` is what errors call it. \return what json_document::parse returns.
[[nodiscard]] inline result<std::string> python_json(std::string_view json, std::string_view name) {
    return guarded([&]() -> result<std::string> {
        const auto document = json_document::parse(json, name);
        if (!document) {
            return failed(document);
        }
        std::string made;
        append_python_json(made, document->root());
        return made;
    });
}

/// The elements of an array, each in that spelling. \return what python_json returns; errc::invalid_argument if `json`
/// is no array.
[[nodiscard]] inline result<std::vector<std::string>> python_json_list(std::string_view json, std::string_view name) {
    return guarded([&]() -> result<std::vector<std::string>> {
        const auto document = json_document::parse(json, name);
        if (!document) {
            return failed(document);
        }
        if (!document->root().is_array()) {
            return error{errc::invalid_argument,
                         sentence({name, " is of the type ", name_of(document->root().type()), ", not an array"})};
        }
        std::vector<std::string> made;
        for (const json_value element : document->root().elements()) {
            append_python_json(made.emplace_back(), element);
        }
        return made;
    });
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <iterator>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI {

/// What a model knows a function by: its name, and a sentence about what it does. Borrows both.
class tool_name {
public:
    constexpr tool_name(std::string_view name, std::string_view description = {}) noexcept
        : name_(name), description_(description) {}
    constexpr tool_name(const char* name) noexcept : name_(name) {}

    [[nodiscard]] constexpr std::string_view name() const noexcept { return name_; }
    [[nodiscard]] constexpr std::string_view description() const noexcept { return description_; }

private:
    std::string_view name_;
    std::string_view description_;
};

namespace detail {

/// What a parameter of type T is kept as: a view as a string, a reference as what it refers to.
template <class T> struct argument_of { using type = std::remove_cvref_t<T>; };
template <class T>
requires std::same_as<std::remove_cvref_t<T>, std::string_view>
struct argument_of<T> {
    using type = std::string;
};

/// The signature of a function, a pointer to one, or an object that is called.
template <class F> struct signature_of : signature_of<decltype(&F::operator())> {};
template <class R, class... A> struct signature_of<R (*)(A...)> {
    using result_type = R;
    using arguments = std::tuple<typename argument_of<A>::type...>;
    static constexpr std::size_t arity = sizeof...(A);
};
template <class R, class... A> struct signature_of<R (*)(A...) noexcept> : signature_of<R (*)(A...)> {};
template <class C, class R, class... A> struct signature_of<R (C::*)(A...)> : signature_of<R (*)(A...)> {};
template <class C, class R, class... A> struct signature_of<R (C::*)(A...) const> : signature_of<R (*)(A...)> {};
template <class C, class R, class... A> struct signature_of<R (C::*)(A...) noexcept> : signature_of<R (*)(A...)> {};
template <class C, class R, class... A>
struct signature_of<R (C::*)(A...) const noexcept> : signature_of<R (*)(A...)> {};

template <class T> inline constexpr bool is_result = false;
template <class T> inline constexpr bool is_result<result<T>> = true;

/// One function of a tool_set.
class tool {
public:
    tool(std::string name, std::string description) : name_(std::move(name)), description_(std::move(description)) {}
    tool(const tool&) = delete;
    tool& operator=(const tool&) = delete;
    virtual ~tool() = default;

    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] const std::string& description() const noexcept { return description_; }

    /// The schema of its arguments, at that place of a document.
    [[nodiscard]] virtual std::string schema(std::string place) const = 0;
    [[nodiscard]] virtual result<std::string> call(json_value arguments) = 0;

private:
    std::string name_;
    std::string description_;
};

template <class Function> class tool_of final : public tool {
public:
    using signature = signature_of<Function>;
    using names = std::array<std::string, signature::arity>;

    tool_of(const tool_name& called, Function function, names parameters)
        : tool(std::string(called.name()), std::string(called.description())), function_(std::move(function)),
          parameters_(std::move(parameters)) {}

    [[nodiscard]] std::string schema(std::string place) const override {
        std::string made = "{\"type\":\"object\",\"properties\":{";
        std::string required;
        each_parameter([&]<std::size_t Place>() {
            using type = std::tuple_element_t<Place, typename signature::arguments>;
            made += Place == 0 ? "" : ",";
            append_json_string(made, parameters_[Place]);
            made += ':';
            made += member_schema<type>(place, parameters_[Place]);
            if constexpr (!is_optional<type>) {
                required += required.empty() ? "" : ",";
                append_json_string(required, parameters_[Place]);
            }
        });
        return made.append("},\"required\":[").append(required).append("],\"additionalProperties\":false}");
    }

    [[nodiscard]] result<std::string> call(json_value from) override {
        json_reader reader(name());
        typename signature::arguments arguments{};
        std::size_t found = 0;
        bool is_read = from.is_object() || reader.mismatch("an object of arguments", from);
        each_parameter([&]<std::size_t Place>() {
            is_read = is_read && reader.read_member(from, parameters_[Place], std::get<Place>(arguments), {}, found);
        });
        if (!is_read || !reader.refuse_others(from, found)) {
            return std::move(reader).take_failure();
        }
        return outcome_of(arguments);
    }

private:
    template <class Do> static void each_parameter(Do&& with) {
        [&]<std::size_t... Places>(std::index_sequence<Places...>) { (with.template operator()<Places>(), ...); }
        (std::make_index_sequence<signature::arity>{});
    }

    template <class T> [[nodiscard]] static std::string member_schema(const std::string& place, std::string_view key) {
        type_schema_writer writer(place + type_schema_writer::property_step(key));
        if constexpr (is_optional<T>) {
            writer.template write<typename T::value_type>({});
        } else {
            writer.template write<T>({});
        }
        return std::move(writer).take();
    }

    [[nodiscard]] result<std::string> outcome_of(typename signature::arguments& arguments) {
        using returned = typename signature::result_type;
        if constexpr (std::is_void_v<returned>) {
            std::apply(function_, arguments);
            return std::string("null");
        } else if constexpr (is_result<returned>) {
            auto made = std::apply(function_, arguments);
            if (!made) {
                return failed(made);
            }
            if constexpr (std::is_void_v<typename returned::value_type>) {
                return std::string("null");
            } else {
                return to_json(*made);
            }
        } else {
            return to_json<std::remove_cvref_t<returned>>(std::apply(function_, arguments));
        }
    }

    Function function_;
    names parameters_;
};

/// A function whose arguments a JSON Schema describes.
template <class Function> class tool_with_schema final : public tool {
public:
    /// \param schema as it is shown to models \param embedded the same within another one
    tool_with_schema(const tool_name& called, std::string schema, std::string embedded, Function function)
        : tool(std::string(called.name()), std::string(called.description())), schema_(std::move(schema)),
          embedded_(std::move(embedded)), function_(std::move(function)) {}

    [[nodiscard]] std::string schema(std::string place) const override { return place == "#" ? schema_ : embedded_; }

    [[nodiscard]] result<std::string> call(json_value from) override {
        std::string arguments;
        append_python_json(arguments, from);
        return function_(std::string_view(arguments));
    }

private:
    std::string schema_;
    std::string embedded_;
    Function function_;
};

} // namespace detail

/// Functions of the program that a model may call. A call is the JSON text {"name":...,"arguments":{...}}. The types of
/// parameters are those of fields_of's members, by value, by const reference or as std::string_view; an argument for a
/// std::optional may be missing. A function may return nothing, such a value, or a result of either. Belongs to one
/// thread at a time.
class tool_set {
public:
    /// \param function a pointer to a function, or an object with one operator(), which is moved in. Names of
    /// parameters are in their order. \return errc::invalid_argument for an empty name or one that is there already, of
    /// a function or of a parameter; errc::out_of_memory.
    template <class Function, std::size_t N>
    [[nodiscard]] result<void> add(tool_name called, Function function, const std::string_view (&parameters)[N]) {
        static_assert(detail::signature_of<Function>::arity == N, "a name for each parameter is needed, and no more");
        return add_named(called, std::move(function), std::span<const std::string_view>(parameters));
    }
    /// The same for a function without parameters.
    template <class Function> [[nodiscard]] result<void> add(tool_name called, Function function) {
        static_assert(detail::signature_of<Function>::arity == 0, "name the parameters: {\"first\", \"second\"}");
        return add_named(called, std::move(function), {});
    }

    /// A function whose arguments are described by a JSON Schema, an object's: function(std::string_view) gets them as
    /// a JSON text that is valid by it if the model was held to it, and returns a JSON text or a result of one.
    /// \return errc::invalid_argument as above; what grammar::json_schema returns for such a call.
    template <class Function>
    [[nodiscard]] result<void> add_with_schema(tool_name called, std::string_view schema, Function function) {
        return detail::guarded([&]() -> result<void> {
            if (auto checked = check_names(called, {}); !checked) {
                return checked;
            }
            auto embedded = embedded_schema(called.name(), schema);
            if (!embedded) {
                return failed(embedded);
            }
            using made_of = detail::tool_with_schema<Function>;
            tools_.push_back(
                std::make_unique<made_of>(called, std::string(schema), *std::move(embedded), std::move(function)));
            auto compiled = call_grammar(called.name());
            if (!compiled) {
                tools_.pop_back();
                return failed(compiled);
            }
            return {};
        });
    }
    /// One that the model may call and call() does not make: the program sees to it.
    [[nodiscard]] result<void> declare(tool_name called, std::string_view schema) {
        const std::string name(called.name());
        return add_with_schema(called, schema, [name](std::string_view) -> result<std::string> {
            return detail::error_saying(errc::invalid_argument,
                                        {"tool ", detail::quoted{name}, ": was declared without a function"});
        });
    }
    /// The same for all functions of a list as declarations() writes it, which is OpenAI's.
    /// \return errc::bad_json, errc::bad_value for what is no such list; and as declare(). None is added then.
    [[nodiscard]] result<void> declare_list(std::string_view json) {
        const std::size_t before = tools_.size();
        auto done = detail::guarded([&] { return read_list(json); });
        if (!done) {
            tools_.resize(before);
        }
        return done;
    }

    [[nodiscard]] std::size_t size() const noexcept { return tools_.size(); }
    [[nodiscard]] bool contains(std::string_view name) const noexcept {
        return std::any_of(tools_.begin(), tools_.end(), [&](const auto& each) { return each->name() == name; });
    }

    /// The JSON Schema of one call of any of the functions, or of the one of that name. \param key of its arguments
    /// \return errc::out_of_memory.
    [[nodiscard]] result<std::string> call_schema(std::string_view name = {},
                                                  std::string_view key = "arguments") const {
        return detail::guarded([&]() -> result<std::string> {
            std::string made = "{\"anyOf\":[";
            for (std::size_t i = 0, written = 0; i < tools_.size(); ++i) {
                if (!name.empty() && tools_[i]->name() != name) {
                    continue;
                }
                made += written == 0 ? "" : ",";
                made += "{\"type\":\"object\",\"properties\":{\"name\":{\"const\":";
                detail::append_json_string(made, tools_[i]->name());
                made.append("},\"").append(key).append("\":");
                made += tools_[i]->schema(
                    std::string("#/anyOf/").append(std::to_string(written++)).append("/properties/").append(key));
                made.append("},\"required\":[\"name\",\"").append(key).append("\"],\"additionalProperties\":false}");
            }
            return made + "]}";
        });
    }

    /// The grammar of one call, of any of the functions or of the one of that name.
    /// \return errc::bad_schema without any function, and what grammar::json_schema returns.
    [[nodiscard]] result<grammar> call_grammar(std::string_view name = {}) const {
        return call_grammar(name, {.before = {}, .after = {}}, {.closed = true});
    }
    /// The same with the texts of a form in front and behind, its marks not among them.
    [[nodiscard]] result<grammar> call_grammar(std::string_view name, const tool_form& form,
                                               const schema_options& options) const {
        auto schema = call_schema(name, form.arguments);
        return schema ? detail::json_schema_between(form.before, form.after, *schema, options, "tools")
                      : failed(schema);
    }

    /// What the functions are, as chat templates show it to models: a JSON array of {"type":"function","function":
    /// {"name":...,"description":...,"parameters":...}}. \return errc::out_of_memory.
    [[nodiscard]] result<std::string> declarations() const {
        return detail::guarded([&]() -> result<std::string> {
            std::string made = "[";
            for (const auto& each : tools_) {
                made += made.size() == 1 ? "" : ",";
                made += "{\"type\":\"function\",\"function\":{\"name\":";
                detail::append_json_string(made, each->name());
                if (!each->description().empty()) {
                    made += ",\"description\":";
                    detail::append_json_string(made, each->description());
                }
                made.append(",\"parameters\":").append(each->schema("#")).append("}}");
            }
            return made + "]";
        });
    }

    /// Makes a call. \param arguments a JSON object \return as call(text)
    [[nodiscard]] result<std::string> call(std::string_view name, std::string_view arguments) {
        return detail::guarded([&]() -> result<std::string> {
            const auto json = json_document::parse(arguments, name, detail::written_json);
            return json ? call_of(name, json->root()) : failed(json);
        });
    }
    /// Reads a call and makes it. \return what the function returned, as a JSON text, null if nothing;
    /// errc::bad_json; errc::bad_value where the text is no such call, naming the place; the function's own error.
    [[nodiscard]] result<std::string> call(std::string_view text) {
        return detail::guarded([&]() -> result<std::string> {
            const auto json = json_document::parse(text, "call", detail::written_json);
            if (!json) {
                return failed(json);
            }
            const auto name = json->root().find("name");
            const auto arguments = json->root().find("arguments");
            const auto called = name ? name->as_string() : std::nullopt;
            if (!called || !arguments || json->root().size() != 2) {
                return detail::error_saying(
                    errc::bad_value, {"call: an object of a name and of arguments is expected, and nothing else"});
            }
            return call_of(*called, *arguments);
        });
    }

private:
    [[nodiscard]] result<std::string> call_of(std::string_view name, json_value arguments) {
        for (const auto& each : tools_) {
            if (each->name() == name) {
                return each->call(arguments);
            }
        }
        return detail::error_saying(errc::bad_value, {"call: there is no function ", detail::quoted{name}});
    }

    /// The schema as a document of its own within another one, so that references in it mean what they did, and of
    /// objects only.
    [[nodiscard]] result<std::string> embedded_schema(std::string_view name, std::string_view schema) const {
        const auto json = json_document::parse(schema, name, detail::deep_json);
        if (!json) {
            return failed(json);
        }
        const auto type = json->root().find("type");
        if (!json->root().is_object() || (type && type->as_string() != std::optional<std::string_view>("object"))) {
            return detail::error_saying(errc::invalid_argument,
                                        {"tool ", detail::quoted{name}, ": its schema is not one of an object"});
        }
        const std::string_view members = schema.substr(schema.find('{') + 1);
        std::string made = "{";
        made.append(json->root().find("$id") ? "" : "\"$id\":\"tool:" + std::to_string(tools_.size()) + "/\",");
        made.append(type ? "" : "\"type\":\"object\",");
        made.append(has_no_parameters(json->root()) ? "\"additionalProperties\":false," : "");
        if (json->root().size() == 0) {
            made.pop_back(); // the comma
        }
        return made.append(members);
    }
    /// Whether a schema says nothing of its object's members: so functions without parameters are declared.
    [[nodiscard]] static bool has_no_parameters(json_value schema) noexcept {
        constexpr std::string_view neutral[] = {"type", "required", "title", "description", "$schema", "$id"};
        for (const auto [key, value] : schema.members()) {
            const bool is_empty = key == "properties" && value.size() == 0;
            if (!is_empty && std::find(std::begin(neutral), std::end(neutral), key) == std::end(neutral)) {
                return false;
            }
        }
        return true;
    }

    [[nodiscard]] result<void> read_list(std::string_view json) {
        const auto list = json_document::parse(json, "tools");
        if (!list) {
            return failed(list);
        }
        if (!list->root().is_array()) {
            return error{errc::bad_value, "tools: a JSON array of functions is expected"};
        }
        std::size_t number = 0;
        for (const json_value each : list->root().elements()) {
            const auto function = each.find("function");
            const auto name = function ? function->find("name") : std::nullopt;
            const auto text = name ? name->as_string() : std::nullopt;
            if (!text) {
                return detail::error_saying(
                    errc::bad_value,
                    {"tools: element ", number, " is no {\"type\":\"function\",\"function\":{\"name\":...}}"});
            }
            const auto description = function->find("description");
            const auto parameters = function->find("parameters");
            std::string schema = "{\"type\":\"object\",\"properties\":{}}";
            if (parameters) {
                schema.clear();
                detail::append_python_json(schema, *parameters);
            }
            const auto told = description ? description->as_string() : std::nullopt;
            if (auto declared = declare({*text, told.value_or(std::string_view{})}, schema); !declared) {
                return declared;
            }
            ++number;
        }
        return {};
    }

    template <class Function>
    [[nodiscard]] result<void> add_named(const tool_name& called, Function function,
                                         std::span<const std::string_view> parameters) {
        using made_of = detail::tool_of<Function>;
        return detail::guarded([&]() -> result<void> {
            if (auto checked = check_names(called, parameters); !checked) {
                return checked;
            }
            typename made_of::names names;
            for (std::size_t i = 0; i < parameters.size(); ++i) {
                names[i] = parameters[i];
            }
            tools_.push_back(std::make_unique<made_of>(called, std::move(function), std::move(names)));
            return {};
        });
    }

    [[nodiscard]] result<void> check_names(const tool_name& called,
                                           std::span<const std::string_view> parameters) const {
        for (const auto& each : tools_) {
            if (each->name() == called.name()) {
                return detail::error_saying(errc::invalid_argument,
                                            {"tool ", detail::quoted{called.name()}, ": there is one of that name"});
            }
        }
        bool is_good = is_name(called.name());
        for (std::size_t i = 0; i < parameters.size(); ++i) {
            is_good = is_good && is_name(parameters[i]);
            for (std::size_t j = 0; j < i; ++j) {
                is_good = is_good && parameters[i] != parameters[j];
            }
        }
        return is_good ? result<void>()
                       : result<void>(detail::error_saying(
                             errc::invalid_argument, {"tool ", detail::quoted{called.name()},
                                                      ": names are UTF-8, not empty, and those of parameters differ"}));
    }
    [[nodiscard]] static bool is_name(std::string_view name) noexcept {
        bool is_good = !name.empty();
        while (is_good && !name.empty()) {
            const detail::decoded_code_point first = detail::first_code_point(name);
            is_good = first.value != detail::invalid_code_point;
            name.remove_prefix(first.size);
        }
        return is_good;
    }

    std::vector<std::unique_ptr<detail::tool>> tools_;
};

} // namespace bitnet::inline BITNET_ABI

#endif

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// The guide of constrained_tools. An answer goes through these places:
///
///     text     free text, but that no call may begin where it would not fit, or none is wanted
///     thought  the same of an answer that has to be a call, up to </think>; closed in time for a call to fit
///     fixed    one of two lists of tokens, such as those of <tool_call>, or a stop token
///     json     {"name":...,"arguments":{...}}, held to its grammar
///     done     the answer has ended
///
/// Where a form has no mark in front of calls, the grammar goes along with the text from its first byte until that is
/// no call any more, and a text that has come as far as the form's `lead` is in `json`.
///
/// It is a constrained_token_chooser, too, for all places where not every token is allowed.
class call_writer final : public call_guide {
public:
    [[nodiscard]] static result<std::unique_ptr<call_guide>>
    open(const tool_set& tools, const token_trie& trie, const constraint_options& options, const answer_form& form) {
        return guarded([&]() -> result<std::unique_ptr<call_guide>> {
            if (&trie.text() != form.text) {
                return error{errc::invalid_argument, "constrained_tools: the token_trie is of another tokenizer than "
                                                     "that of the conversation's model"};
            }
            auto marks = call_marks::make(form);
            if (!marks) {
                return failed(marks);
            }
            auto shared = std::make_shared<const call_marks>(*std::move(marks));
            auto made = std::make_unique<call_writer>(tools, trie, options, std::move(shared));
            if (auto ready = made->allocate(); !ready) {
                return failed(ready);
            }
            return std::unique_ptr<call_guide>(std::move(made));
        });
    }
    /// Use open().
    call_writer(const tool_set& tools, const token_trie& trie, const constraint_options& options,
                std::shared_ptr<const call_marks> marks)
        : tools_(&tools), trie_(&trie), options_(options), marks_(std::move(marks)) {}

    [[nodiscard]] result<void> set_choice(const tool_choice& choice) override {
        const bool is_named = choice.mode == tool_mode::named;
        if (is_named && !tools_->contains(choice.name)) {
            return error_saying(errc::invalid_argument, {"tool_choice: there is no function ", quoted{choice.name}});
        }
        setting made{choice.mode, choice.parallel, std::string(is_named ? choice.name : std::string_view{}), {}, 0};
        if (next_ != nullptr && next_->name == made.name) {
            made.calls = next_->calls;
            made.least_call = next_->least_call;
        } else {
            auto calls = tools_->call_grammar(made.name, marks_->tools, {.closed = true, .spaces = true});
            if (!calls) {
                return failed(calls);
            }
            auto at = matcher::open(*calls, options_.matcher);
            auto held = at ? token_constraint::open(*calls, *trie_, options_) : failed(at);
            if (!held) {
                return failed(held);
            }
            made.calls = *std::move(calls);
            made.least_call = at->shortest_end() + marks_->close.size();
            next_held_ = *std::move(held);
        }
        next_ = std::make_shared<const setting>(std::move(made));
        return {};
    }

    [[nodiscard]] std::size_t least() const noexcept override {
        const std::size_t before = marks_->has_thoughts ? tokens_after_thought() : marks_->open.size();
        return requires_call(*next_) ? before + next_->least_call : 1;
    }

    void begin(std::string_view begun, std::size_t most, bool is_new) override {
        if (is_new || now_ == nullptr) {
            now_ = next_;
            held_ = next_held_ ? std::exchange(next_held_, std::nullopt) : std::move(held_);
        }
        is_told_again_ = !is_new;
        left_ = most;
        matched_ = 0;
        json_.clear();
        is_lead_ = marks_->is_lead() && begun.empty();
        is_led_ = is_lead_ && may_call() && held_->restart(left_).has_value();
        filter_.reset(marks_->begins_in_thought);
        static_cast<void>(marks_->has_thoughts ? filter_.feed(begun) : std::string_view{});
        go_to(place::text);
        if (requires_call(*now_) && filter_.is_in_thought()) {
            go_to(place::thought);
        } else if (requires_call(*now_) && marks_->is_lead()) {
            begin_call();
        } else if (requires_call(*now_)) {
            const bool may_think =
                begun.empty() && marks_->may_think && has_room_for_call(marks_->think.size() + tokens_after_thought());
            go_to(place::fixed);
            add_way(marks_->open, outcome::call);
            if (may_think) {
                add_way(marks_->think, outcome::thought);
            }
        } else if (!marks_->is_lead()) {
            static_cast<void>(match(begun));
        }
        end_thought_in_time();
    }

    [[nodiscard]] any_chooser chooser(any_chooser free) noexcept override {
        inner_ = free;
        is_told_again_ = false;
        const bool is_free = place_ == place::done || (place_ == place::text && forbidden().empty());
        return is_free ? free : any_chooser(*this);
    }

    [[nodiscard]] answer_part take(token id) override {
        left_ -= left_ != 0 ? 1 : 0;
        const answer_part part = follow(id);
        end_thought_in_time();
        return part;
    }

    [[nodiscard]] result<conversation_turn::call> call() const override {
        const auto json = json_document::parse(json_, "call", written_json);
        const auto name = json
                              ? (json->root().is_array() ? *json->root().elements().begin() : json->root()).find("name")
                              : std::nullopt;
        const auto called = name ? name->as_string() : std::nullopt;
        if (!called) {
            return json ? error{errc::bad_value, "call: it has no name"} : failed(json);
        }
        return conversation_turn::call{std::string(*called), std::string(arguments_of(json_))};
    }

    [[nodiscard]] result<std::unique_ptr<call_guide>> copy() const override {
        auto made = std::make_unique<call_writer>(*tools_, *trie_, options_, marks_);
        auto ready = made->allocate();
        if (ready && now_ != nullptr) {
            ready = put(made->held_, now_);
        }
        if (ready && next_ != now_ && (now_ == nullptr || next_->name != now_->name)) {
            ready = put(made->next_held_, next_);
        }
        made->now_ = now_;
        made->next_ = next_;
        return ready ? result<std::unique_ptr<call_guide>>(std::move(made)) : failed(ready);
    }

    // As a constrained_token_chooser.

    [[nodiscard]] result<allowed_tokens> allowed() {
        switch (place_) {
        case place::json:
            return held_->allowed();
        case place::fixed:
            return allowed_ways();
        case place::text:
            return marks_->is_lead() ? all_but_no_call(forbidden()) : all_but(forbidden());
        default:
            return all_but({});
        }
    }
    /// See foreseeing_token_chooser.
    [[nodiscard]] std::span<const token> forced() noexcept {
        if (place_ == place::json) {
            return held_->forced();
        }
        const bool is_first = !ways_[0].tokens.empty();
        const std::span<const token> left = ways_[is_first ? 0 : 1].tokens;
        const bool is_only = place_ == place::fixed && !may_stop_ && is_first != !ways_[1].tokens.empty();
        return is_only && at_ < left.size() ? left.subspan(at_) : std::span<const token>();
    }
    [[nodiscard]] std::size_t needs() const { return inner_->needs(); }
    [[nodiscard]] token choose(std::span<const float> all) {
        const auto some = allowed();
        return some && some->count != 0 ? inner_->choose(candidates_of(some->bits, all, candidates_.span())) : no_token;
    }
    [[nodiscard]] token choose(std::span<const scored_token> largest) const { return inner_->choose(largest); }
    void accept(token id) const { inner_->accept(id); }

private:
    enum class place : unsigned char { text, thought, fixed, json, done };
    /// What comes behind a list of fixed tokens.
    enum class outcome : unsigned char { thought, thought_end, call, call_end };
    struct way {
        std::span<const token> tokens;
        outcome then = outcome::call;
    };
    struct setting {
        tool_mode mode;
        bool is_parallel;
        std::string name; ///< of the one function that can be called; empty: any
        grammar calls;
        std::size_t least_call; ///< tokens behind the mark in front of a call that suffice for one, its end included
    };
    using part_kind = answer_part::part_kind;

    [[nodiscard]] static bool requires_call(const setting& chosen) noexcept {
        return chosen.mode == tool_mode::required || chosen.mode == tool_mode::named;
    }

    [[nodiscard]] result<void> allocate() {
        error failure;
        detail::allocate(bits_, (trie_->vocabulary() + 63) / 64, "calls", failure);
        detail::allocate(candidates_, trie_->vocabulary(), "calls", failure);
        constexpr std::size_t usual_call = 1024; // bytes
        json_.reserve(usual_call);
        filter_.reserve(usual_call);
        return failure.code != errc{} ? result<void>(failure) : result<void>();
    }
    [[nodiscard]] result<void> put(std::optional<token_constraint>& into,
                                   const std::shared_ptr<const setting>& of) const {
        auto made = token_constraint::open(of->calls, *trie_, options_);
        if (!made) {
            return failed(made);
        }
        into = *std::move(made);
        return {};
    }

    void go_to(place next) noexcept {
        place_ = next;
        ways_.fill({});
        at_ = 0;
        may_stop_ = false;
    }
    void add_way(std::span<const token> tokens, outcome then) noexcept {
        ways_[ways_[0].tokens.empty() ? 0 : 1] = {tokens, then};
    }
    void go_way(std::span<const token> tokens, outcome then) noexcept {
        go_to(place::fixed);
        add_way(tokens, then);
    }
    /// \param after tokens that come first
    [[nodiscard]] bool has_room_for_call(std::size_t after) const noexcept {
        return left_ >= after && left_ - after >= now_->least_call;
    }
    void end_thought_in_time() noexcept {
        if (place_ == place::thought && !has_room_for_call(tokens_after_thought() + 1)) {
            go_way(marks_->end_thought, outcome::thought_end);
        }
    }
    /// Those that end a thought and begin a call.
    [[nodiscard]] std::size_t tokens_after_thought() const noexcept {
        return marks_->end_thought.size() + marks_->open_after_thought.size();
    }
    void begin_call() {
        json_.clear();
        is_cut_short_ = false;
        go_to(place::json);
        if (!held_->restart(left_ - (std::min)(left_, marks_->close.size()))) {
            static_cast<void>(held_->restart(std::nullopt)); // cut where the answer ends: it has less than least()
        }
    }

    [[nodiscard]] answer_part follow(token id) {
        const std::string_view bytes = trie_->text().bytes_of(id);
        switch (place_) {
        case place::thought:
            static_cast<void>(filter_.feed(bytes));
            if (!filter_.is_in_thought()) {
                go_way(marks_->open_after_thought, outcome::call);
            }
            return {};
        case place::text:
            return marks_->is_lead() ? follow_lead(id, bytes) : follow_text(bytes);
        case place::fixed:
            return follow_way(id);
        case place::json:
            return follow_call(id, bytes);
        default:
            return {};
        }
    }
    [[nodiscard]] answer_part follow_text(std::string_view bytes) {
        static_cast<void>(marks_->has_thoughts ? filter_.feed(bytes) : std::string_view{});
        if (marks_->has_thoughts && filter_.is_in_thought()) {
            matched_ = 0;
            return {};
        }
        const bool begins = match(bytes);
        if (begins && may_call() && has_room_for_call(0)) {
            begin_call();
            return {part_kind::call, marks_->tools.begin.size()};
        }
        return {part_kind::text, matched_};
    }
    /// The same where a call has no mark in front of it.
    [[nodiscard]] answer_part follow_lead(token id, std::string_view bytes) {
        for (std::size_t i = 0; is_lead_ && i < bytes.size() && matched_ < marks_->mark().size(); ++i) {
            is_lead_ = marks_->mark()[matched_] == bytes[i];
            matched_ += is_lead_ ? 1u : 0u;
        }
        is_led_ = is_led_ && is_lead_ && held_->accept(id);
        json_ += is_led_ ? bytes : std::string_view{};
        const bool is_whole = is_lead_ && matched_ == marks_->mark().size();
        is_lead_ = is_lead_ && !is_whole;
        if (is_whole && is_led_) {
            is_cut_short_ = false;
            go_to(place::json);
            return {part_kind::call, answer_part::all};
        }
        return {part_kind::text, is_lead_ ? matched_ : 0};
    }
    /// \return whether the mark in front of calls ends with these bytes
    [[nodiscard]] bool match(std::string_view bytes) noexcept {
        bool is_end = false;
        for (const char byte : bytes) {
            matched_ = marks_->after(matched_, byte);
            is_end = matched_ == marks_->mark().size();
            matched_ = is_end ? 0 : matched_;
        }
        return is_end;
    }
    [[nodiscard]] answer_part follow_way(token id) {
        for (way& each : ways_) {
            if (at_ < each.tokens.size() && each.tokens[at_] != id) {
                each.tokens = {};
            }
        }
        ++at_;
        may_stop_ = false;
        bool may_be_text = false;
        bool may_be_call = false;
        for (const way& each : ways_) {
            if (!each.tokens.empty() && each.tokens.size() == at_) {
                return end_way(each.then);
            }
            const bool is_text = each.then == outcome::thought || each.then == outcome::thought_end;
            may_be_text = may_be_text || (!each.tokens.empty() && is_text);
            may_be_call = may_be_call || (!each.tokens.empty() && !is_text);
        }
        if (!may_be_text && !may_be_call) { // an answer is told again that was written under other rules
            go_to(place::text);
        }
        return {may_be_text || !may_be_call ? part_kind::text : part_kind::call, may_be_call ? answer_part::all : 0};
    }
    [[nodiscard]] answer_part end_way(outcome then) {
        if (then == outcome::thought) {
            filter_.reset(true);
            go_to(place::thought);
            return {};
        }
        if (then == outcome::thought_end) {
            go_way(marks_->open_after_thought, outcome::call);
            return {};
        }
        if (then == outcome::call) {
            begin_call();
            return {part_kind::call, answer_part::all};
        }
        const bool is_last = !now_->is_parallel || marks_->tools.has_one_call();
        const bool goes_on = requires_call(*now_);
        go_to(is_last ? place::done : goes_on ? place::fixed : place::text);
        matched_ = 0;
        may_stop_ = !is_last && goes_on;
        if (may_stop_ && has_room_for_call(marks_->open_next.size())) {
            add_way(marks_->open_next, outcome::call);
        }
        return {part_kind::call_end, answer_part::all, is_last, is_cut_short_};
    }
    [[nodiscard]] answer_part follow_call(token id, std::string_view bytes) {
        if (is_told_again_) {
            static_cast<void>(held_->allowed()); // says whether the limit is near, as it did the first time
        }
        is_cut_short_ = is_cut_short_ || held_->is_near_limit();
        if (!held_->accept(id)) {
            go_to(place::text);
            return {};
        }
        json_ += bytes;
        if (held_->can_end() && marks_->close.empty()) {
            return end_way(outcome::call_end);
        }
        if (held_->can_end()) {
            go_way(marks_->close, outcome::call_end);
        }
        return {part_kind::call, answer_part::all};
    }

    [[nodiscard]] bool may_call() const noexcept { return now_->mode != tool_mode::none; }
    /// Tokens that may not come in a text: those with which a call would begin that may not, and those that go on
    /// behind the mark.
    [[nodiscard]] std::span<const token> forbidden() const noexcept {
        if (marks_->has_thoughts && filter_.is_in_thought()) {
            return {};
        }
        if (marks_->is_lead()) { // those with which what may be a call comes to be one
            return is_lead_ ? std::span<const token>(marks_->ends[matched_].tokens) : std::span<const token>();
        }
        const call_marks::endings& ends = marks_->ends[matched_];
        const bool may_begin = may_call() && has_room_for_call(1);
        return std::span(ends.tokens).subspan(may_begin ? ends.exact : 0);
    }

    [[nodiscard]] allowed_tokens all_but(std::span<const token> those) noexcept {
        std::size_t count = trie_->vocabulary();
        allow_all(bits_.span(), count);
        const auto take_out = [&](token id) {
            const auto at = static_cast<std::size_t>(id);
            const std::uint64_t bit = std::uint64_t{1} << at % 64;
            count -= (bits_[at / 64] & bit) != 0 ? 1u : 0u;
            bits_[at / 64] &= ~bit;
        };
        std::for_each(those.begin(), those.end(), take_out);
        if (place_ == place::thought) { // which a call has to follow
            std::for_each(marks_->stops.begin(), marks_->stops.end(), take_out);
        }
        return {count, bits_.span()};
    }
    /// All but those of these tokens that are not of a call.
    [[nodiscard]] allowed_tokens all_but_no_call(std::span<const token> those) noexcept {
        allowed_tokens made = all_but(those);
        for (const token id : those) {
            if (is_led_ && held_->allows(id)) {
                const auto at = static_cast<std::size_t>(id);
                bits_[at / 64] |= std::uint64_t{1} << at % 64;
                ++made.count;
            }
        }
        return made;
    }
    [[nodiscard]] allowed_tokens allowed_ways() noexcept {
        std::fill_n(bits_.data(), bits_.size(), std::uint64_t{0});
        std::size_t count = 0;
        const auto put_in = [&](token id) {
            const auto at = static_cast<std::size_t>(id);
            const std::uint64_t bit = std::uint64_t{1} << at % 64;
            if ((bits_[at / 64] & bit) == 0 && count < few_.size()) {
                bits_[at / 64] |= bit;
                few_[count++] = static_cast<std::uint32_t>(id);
            }
        };
        for (const way& each : ways_) {
            if (at_ < each.tokens.size()) {
                put_in(each.tokens[at_]);
            }
        }
        if (may_stop_) {
            std::for_each(marks_->stops.begin(), marks_->stops.end(), put_in);
        }
        std::sort(few_.begin(), few_.begin() + static_cast<std::ptrdiff_t>(count));
        return {count, bits_.span(), std::span(few_).first(count)};
    }

    /// The arguments as they are written in a call that its grammar allows.
    [[nodiscard]] static std::string_view arguments_of(std::string_view call) noexcept {
        std::size_t at = call.find("\"name\"");
        at = call.find('"', call.find(':', at));
        for (++at; at < call.size() && call[at] != '"'; ++at) {
            at += call[at] == '\\' ? 1u : 0u;
        }
        const std::size_t begin = call.find('{', at);
        const std::size_t end = call.rfind('}');
        return begin < end ? call.substr(begin, call.rfind('}', end - 1) + 1 - begin) : std::string_view{};
    }

    const tool_set* tools_;
    const token_trie* trie_;
    constraint_options options_;
    std::shared_ptr<const call_marks> marks_;
    std::shared_ptr<const setting> now_;  ///< of the answer that is being given
    std::shared_ptr<const setting> next_; ///< and of those that follow
    std::optional<token_constraint> held_;
    std::optional<token_constraint> next_held_; ///< none: the same one
    std::optional<any_chooser> inner_;

    place place_ = place::done;
    std::array<way, 2> ways_;
    std::size_t at_ = 0;      ///< tokens of the ways that were taken
    std::size_t matched_ = 0; ///< bytes of the mark in front of calls that the text ends with
    std::size_t left_ = 0;    ///< tokens that the answer may have yet
    bool may_stop_ = false;
    bool is_cut_short_ = false;
    bool is_told_again_ = false;
    bool is_lead_ = false; ///< the answer so far begins the form's `lead`
    bool is_led_ = false;  ///< and held_ has gone along with it
    thought_filter filter_{false};
    std::string json_;
    buffer<std::uint64_t> bits_;
    buffer<scored_token> candidates_;
    std::array<std::uint32_t, 64> few_{};
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

// ---- bitnet/constrain/choices.hpp ----
// Lists of choices as grammars. Defines grammar::choices.
#ifndef BITNET_CONSTRAIN_CHOICES_HPP
#define BITNET_CONSTRAIN_CHOICES_HPP

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

namespace bitnet::inline BITNET_ABI {

namespace detail {

[[nodiscard]] inline result<void> check_choices(std::span<const std::string_view> texts, std::string_view name) {
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < texts.size(); ++i) {
        bytes += texts[i].size();
        for (std::string_view rest = texts[i]; !rest.empty();) {
            const decoded_code_point first = first_code_point(rest);
            if (first.value == invalid_code_point) {
                return error_saying(errc::bad_grammar, {name, ": choice ", i + 1, " is not UTF-8 at byte ",
                                                        texts[i].size() - rest.size()});
            }
            rest.remove_prefix(first.size);
        }
    }
    if (bytes > most_source_bytes) {
        return error_saying(errc::bad_grammar,
                            {name, ": ", bytes, " bytes, and at most ", most_source_bytes, " are read"});
    }
    return texts.empty() ? result<void>(error_saying(errc::bad_grammar,
                                                     {name, ": there are 0 choices, and at least 1 is needed"}))
                         : result<void>();
}

} // namespace detail

inline result<grammar> grammar::choices(std::span<const std::string_view> texts, std::string_view name) {
    return detail::guarded([&]() -> result<grammar> {
        if (auto checked = detail::check_choices(texts, name); !checked) {
            return failed(checked);
        }
        detail::grammar_source source;
        auto list = detail::words_automaton({texts.begin(), texts.end()});
        source.rules.push_back({"root", source.pool.language(std::move(list))});
        return detail::compiled(source, name);
    });
}

} // namespace bitnet::inline BITNET_ABI

#endif

// ---- bitnet/constrain/constrained_chooser.hpp ----
// constrained_chooser: a sampler, or any other chooser, that chooses among the tokens which a grammar allows.
#ifndef BITNET_CONSTRAIN_CONSTRAINED_CHOOSER_HPP
#define BITNET_CONSTRAIN_CONSTRAINED_CHOOSER_HPP

#include <cstddef>
#include <span>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// A constrained_token_chooser for session.next(): the grammar's mask comes first, then all steps of the sampler in its
/// own order, which counts among the tokens that are left. Penalties and top_k see no forbidden token, and no forbidden
/// one is ever chosen. The same token whichever way the session takes: all logits, those of a screened head, of the
/// allowed rows alone, or none where one token is allowed. Text that the grammar forces becomes the tokenizer's own
/// tokens, of which the session runs several in a pass: see constraint_options::forced.
///
/// Borrows both, which must outlive it, and serves one sequence. `C::choose(largest)` has to work with any number of
/// tokens, also while needs() is 0, as the sampler's does.
///
///     while (auto id = session.next(choose)) ...   // stops at a stop token, which comes where the text may end
template <token_chooser C> class constrained_chooser {
public:
    /// \return errc::out_of_memory.
    [[nodiscard]] static result<constrained_chooser> open(C& inner, token_constraint& constraint) {
        auto candidates = buffer<scored_token>::allocate(constraint.vocabulary(), "constrained chooser");
        if (!candidates) {
            return failed(candidates);
        }
        return constrained_chooser(inner, constraint, *std::move(candidates));
    }

    [[nodiscard]] result<allowed_tokens> allowed() { return constraint_->allowed(); }
    /// See foreseeing_token_chooser.
    [[nodiscard]] std::span<const token> forced() noexcept { return constraint_->forced(); }
    [[nodiscard]] std::size_t needs() { return inner_->needs(); }
    /// \return no_token if none is allowed, which allowed() tells before.
    [[nodiscard]] token choose(std::span<const float> all) {
        const auto allowed = constraint_->allowed();
        return allowed ? inner_->choose(detail::candidates_of(allowed->bits, all, candidates_.span())) : no_token;
    }
    [[nodiscard]] token choose(std::span<const scored_token> largest) { return inner_->choose(largest); }
    void accept(token id) {
        inner_->accept(id);
        static_cast<void>(constraint_->accept(id));
    }

private:
    constrained_chooser(C& inner, token_constraint& constraint, buffer<scored_token> candidates) noexcept
        : inner_(&inner), constraint_(&constraint), candidates_(std::move(candidates)) {}

    C* inner_;
    token_constraint* constraint_;
    buffer<scored_token> candidates_;
};

} // namespace bitnet::inline BITNET_ABI

#endif

// ---- bitnet/constrain/constrained_tools.hpp ----
// constrained_tools: the functions of a tool_set for conversations, whose calls are held to their schemas.
#ifndef BITNET_CONSTRAIN_CONSTRAINED_TOOLS_HPP
#define BITNET_CONSTRAIN_CONSTRAINED_TOOLS_HPP

#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// For conversation_options::tools: what the model writes as a call is one, whole and valid, also at the token limit.
///
///     auto functions = constrained_tools::open(tools, trie);
///     auto talk = conversation::open(model, {.tools = &*functions});
///     talk->say("Give Ann the bread.");
///     talk->answer(print);
///     for (const auto& call : talk->calls()) ... tools.call(call.name, call.arguments) ...
///     talk->say_results(results);
///     talk->answer(print);
///
/// Borrows the set, which must not change meanwhile, and the trie, of the tokenizer of the conversation's model. Both
/// must outlive it. Immutable: any number of conversations may use it at a time, each of which compiles the grammar and
/// has a token_constraint of its own.
class constrained_tools final : public tool_source {
public:
    /// \param options of each conversation's token_constraint, but for its limit
    /// \return errc::bad_schema without any function, errc::out_of_memory, what grammar::json_schema returns
    [[nodiscard]] static result<constrained_tools> open(const tool_set& tools, const token_trie& trie,
                                                        const constraint_options& options = for_json()) {
        auto declarations = tools.declarations();
        if (!declarations) {
            return failed(declarations);
        }
        if (auto compiled = tools.call_grammar(); !compiled) {
            return failed(compiled);
        }
        return constrained_tools(tools, trie, options, *std::move(declarations));
    }
    static result<constrained_tools> open(tool_set&&, const token_trie&, const constraint_options& = {}) = delete;
    static result<constrained_tools> open(const tool_set&, token_trie&&, const constraint_options& = {}) = delete;

    /// 64 masks and 1.4 MiB of matcher, which is plenty for JSON: its texts can be read in few ways.
    [[nodiscard]] static constexpr constraint_options for_json() noexcept {
        return {.limit = {},
                .masks = 64,
                .matcher = {.items = 8'192, .items_at_once = 1'024, .frames = 8'192, .links = 32'768},
                .forced = forced_text::canonical};
    }

    [[nodiscard]] std::string_view declarations() const noexcept override { return declarations_; }
    [[nodiscard]] result<std::unique_ptr<detail::call_guide>> guide(const detail::answer_form& form) const override {
        return detail::call_writer::open(*tools_, *trie_, options_, form);
    }

private:
    constrained_tools(const tool_set& tools, const token_trie& trie, const constraint_options& options,
                      std::string declarations) noexcept
        : tools_(&tools), trie_(&trie), options_(options), declarations_(std::move(declarations)) {}

    const tool_set* tools_;
    const token_trie* trie_;
    constraint_options options_;
    std::string declarations_;
};

} // namespace bitnet::inline BITNET_ABI

#endif

// ---- bitnet/constrain/gbnf_reader.hpp ----
// gbnf_reader: the grammar language of llama.cpp's GBNF guide. Defines grammar::gbnf.
#ifndef BITNET_CONSTRAIN_GBNF_READER_HPP
#define BITNET_CONSTRAIN_GBNF_READER_HPP

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI {

namespace detail {

/// One reading of a GBNF text. Every step returns whether to go on; if not, the error is in failure_.
class gbnf_reader {
public:
    gbnf_reader(std::string_view text, std::string_view name) : in_(text), bytes_(text.size()), name_(name) {}

    [[nodiscard]] result<grammar_source> run() {
        if (bytes_ > most_source_bytes) {
            return error_saying(errc::bad_grammar,
                                {name_, ": ", bytes_, " bytes, and at most ", most_source_bytes, " are read"});
        }
        skip_space(true);
        while (!in_.at_end()) {
            if (!read_rule()) {
                return std::move(failure_);
            }
            skip_space(true);
        }
        return is_complete() ? result<grammar_source>(std::move(source_)) : std::move(failure_);
    }

private:
    struct rule_place {
        std::size_t first_use = 0;
        bool is_defined = false;
    };

    [[nodiscard]] bool fail(sentence_parts what) {
        return set_error(failure_, errc::bad_grammar,
                         {name_, ": rule ", quoted{rule_}, ", line ", in_.line(), ", column ", in_.column(), ": "},
                         what);
    }

    /// Spaces, tabs and comments; line ends, too, where they mean nothing.
    void skip_space(bool with_lines) {
        while (!in_.at_end()) {
            const char c = in_.peek();
            if (c == '#') {
                while (!in_.at_end() && in_.peek() != '\n') {
                    in_.advance();
                }
            } else if (c == ' ' || c == '\t' || (with_lines && (c == '\n' || c == '\r'))) {
                in_.advance();
            } else {
                return;
            }
        }
    }

    [[nodiscard]] std::string_view read_name() {
        const std::size_t first = in_.place();
        const auto is_of_name = [](char c) {
            return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
        };
        while (!in_.at_end() && is_of_name(in_.peek())) {
            in_.advance();
        }
        return in_.since(first);
    }
    [[nodiscard]] std::uint32_t number_of(std::string_view name) {
        const auto [found, is_new] = numbers_.try_emplace(name, static_cast<std::uint32_t>(places_.size()));
        if (is_new) {
            places_.push_back({in_.place(), false});
            source_.rules.push_back({std::string(name.substr(0, 100)), 0});
        }
        return found->second;
    }

    [[nodiscard]] bool read_rule() {
        const std::string_view name = read_name();
        rule_ = name;
        if (name.empty()) {
            return fail({"the name of a rule is expected here"});
        }
        const std::uint32_t rule = number_of(name);
        if (std::exchange(places_[rule].is_defined, true)) {
            return fail({"a rule of this name has been defined above"});
        }
        skip_space(false);
        if (!in_.skip("::=")) {
            return fail({"'::=' is expected behind the name of a rule"});
        }
        skip_space(true);
        group_stack groups(source_.pool);
        if (!read_alternatives(groups)) {
            return false;
        }
        source_.rules[rule].body = groups.close();
        return true;
    }

    /// All to the end of the rule.
    [[nodiscard]] bool read_alternatives(group_stack& groups) {
        while (true) {
            skip_space(groups.depth() > 1);
            if (in_.at_end() || in_.is_next('\n') || in_.is_next("\r\n")) {
                return groups.depth() == 1 || fail({"a parenthesis does not close"});
            }
            if (in_.skip("|")) {
                groups.alternate();
                skip_space(true);
                if (groups.depth() == 1 && is_rule_next()) {
                    return true; // an empty alternative at the end of the rule
                }
            } else if (!read_element(groups)) {
                return false;
            }
        }
    }
    [[nodiscard]] bool is_rule_next() {
        const std::size_t before = in_.place();
        const bool is_name = !read_name().empty();
        skip_space(false);
        const bool found = is_name && in_.is_next("::=");
        in_.go_to(before);
        return found;
    }

    [[nodiscard]] bool read_element(group_stack& groups) {
        switch (in_.peek()) {
        case '(':
            if (groups.depth() > most_nested_groups) {
                return fail({"parentheses are nested more than ", most_nested_groups, " deep"});
            }
            in_.advance();
            groups.open();
            return true;
        case ')':
            if (groups.depth() == 1) {
                return fail({"a parenthesis closes that has not been opened"});
            }
            in_.advance();
            groups.add(close(groups));
            return read_repetitions(groups);
        case '*':
        case '+':
        case '?':
        case '{':
            return fail({"there is nothing to repeat here"});
        case '<':
        case '!':
            return fail({"terminals that are tokens (<name>, <[id]>, !<name>) need a vocabulary, and none is at hand"});
        default:
            return read_terminal(groups) && read_repetitions(groups);
        }
    }
    [[nodiscard]] static expression close(group_stack& groups) { return groups.close(); }

    [[nodiscard]] bool read_terminal(group_stack& groups) {
        if (in_.is_next('"')) {
            return read_literal(groups);
        }
        if (in_.is_next('[')) {
            return read_class(groups);
        }
        if (in_.skip(".")) {
            code_point_class any;
            any.add(0, last_code_point);
            groups.add(source_.pool.one_of(std::move(any)));
            return true;
        }
        const std::string_view name = read_name();
        if (name.empty()) {
            return fail({"a text, a class, a group or the name of a rule is expected here"});
        }
        groups.add(source_.pool.rule(number_of(name)));
        return true;
    }

    [[nodiscard]] bool read_literal(group_stack& groups) {
        in_.advance();
        std::string text;
        while (!in_.is_next('"')) {
            if (in_.at_end() || in_.is_next('\n')) {
                return fail({"the text does not end: '\"' is missing"});
            }
            char32_t c = 0;
            if (!read_character(c)) {
                return false;
            }
            append_utf8(text, c);
        }
        in_.advance();
        groups.add(source_.pool.literal(text));
        return true;
    }

    [[nodiscard]] bool read_class(group_stack& groups) {
        in_.advance();
        const bool is_negated = in_.skip("^");
        code_point_class set;
        while (!in_.is_next(']')) {
            if (in_.at_end() || in_.is_next('\n')) {
                return fail({"the class does not end: ']' is missing"});
            }
            char32_t low = 0;
            if (!read_character(low)) {
                return false;
            }
            char32_t high = low;
            if (in_.is_next('-') && !in_.is_next("-]")) {
                in_.advance();
                if (in_.at_end() || !read_character(high)) {
                    return failure_.code != errc{} ? false : fail({"the class does not end: ']' is missing"});
                }
            }
            if (high < low) {
                return fail(
                    {"a range of the class is the wrong way round: ", std::uint32_t{low}, " to ", std::uint32_t{high}});
            }
            set.add(low, high);
        }
        in_.advance();
        if (!is_negated && set.ranges().empty()) {
            return fail({"the class is empty"});
        }
        groups.add(source_.pool.one_of(is_negated ? set.complement() : std::move(set)));
        return true;
    }

    /// A character of a text or a class, or an escape.
    [[nodiscard]] bool read_character(char32_t& c) {
        if (!in_.is_next('\\')) {
            const auto found = in_.character();
            c = found.value_or(0);
            return found || fail({"the grammar is not UTF-8 here"});
        }
        in_.advance();
        const char kind = in_.peek();
        in_.advance(in_.at_end() ? 0 : 1);
        switch (kind) {
        case 'x':
            return read_code_point(c, 2);
        case 'u':
            return read_code_point(c, 4);
        case 'U':
            return read_code_point(c, 8);
        case 't':
            c = '\t';
            return true;
        case 'r':
            c = '\r';
            return true;
        case 'n':
            c = '\n';
            return true;
        case '\\':
        case '"':
        case '[':
        case ']':
        case '-':
        case '^':
            c = static_cast<char32_t>(kind);
            return true;
        default:
            return fail(
                {"an unknown escape: \\n \\r \\t \\\\ \\\" \\[ \\] \\- \\^ \\xHH \\uHHHH \\UHHHHHHHH are known"});
        }
    }
    [[nodiscard]] bool read_code_point(char32_t& c, std::size_t digits) {
        const auto first = in_.hexadecimal(digits);
        if (!first) {
            return fail({digits, " hexadecimal digits are expected here"});
        }
        c = *first;
        if (is_high_surrogate(c) && in_.skip("\\u")) {
            const auto second = in_.hexadecimal(4);
            if (second && is_low_surrogate(*second)) {
                c = of_surrogates(c, *second);
            }
        }
        return (c <= last_code_point && (c < 0xd800 || c > 0xdfff)) ||
               fail({"an escape that is no character: code point ", std::uint32_t{c}});
    }

    /// Every *, +, ? and {...} behind an element.
    [[nodiscard]] bool read_repetitions(group_stack& groups) {
        while (true) {
            skip_space(groups.depth() > 1);
            if (in_.skip("*")) {
                groups.repeat(0, unlimited);
            } else if (in_.skip("+")) {
                groups.repeat(1, unlimited);
            } else if (in_.skip("?")) {
                groups.repeat(0, 1);
            } else if (in_.is_next('{')) {
                if (!read_bounds(groups)) {
                    return false;
                }
            } else {
                return true;
            }
        }
    }
    [[nodiscard]] bool read_bounds(group_stack& groups) {
        in_.advance();
        skip_space(true);
        const auto low = in_.number();
        if (!low) {
            return fail({"a number is expected in braces"});
        }
        skip_space(true);
        std::uint32_t high = *low;
        if (in_.skip(",")) {
            skip_space(true);
            high = in_.is_next('}') ? unlimited : in_.number().value_or(0);
            skip_space(true);
        }
        if (!in_.is_next('}')) {
            return fail({"'}' is expected here"});
        }
        if (*low > largest_count || (high != unlimited && high > largest_count)) {
            return fail({"a repetition is of at most ", largest_count, " times"});
        }
        if (high < *low) {
            return fail({"at most ", high, " times is fewer than at least ", *low});
        }
        in_.advance();
        groups.repeat(*low, high);
        return true;
    }

    /// Every rule that is used has to be defined, and one of them is the root.
    [[nodiscard]] bool is_complete() {
        for (const auto& [name, rule] : numbers_) {
            if (!places_[rule].is_defined) {
                rule_ = name;
                in_.go_to(places_[rule].first_use);
                return fail({"it is used up to here and defined nowhere"});
            }
        }
        const auto root = numbers_.find("root");
        if (root == numbers_.end()) {
            return set_error(failure_, errc::bad_grammar, {name_, ": "}, {"there is no rule called 'root'"});
        }
        source_.root = root->second;
        return true;
    }

    source_reader in_;
    std::size_t bytes_;
    std::string_view name_;
    std::string_view rule_;
    grammar_source source_;
    std::unordered_map<std::string_view, std::uint32_t> numbers_;
    std::vector<rule_place> places_;
    error failure_;
};

} // namespace detail

inline result<grammar> grammar::gbnf(std::string_view source, std::string_view name) {
    return detail::guarded([&]() -> result<grammar> {
        auto read = detail::gbnf_reader(source, name).run();
        return read ? detail::compiled(*read, name) : failed(read);
    });
}

} // namespace bitnet::inline BITNET_ABI

#endif

// ---- bitnet/constrain/healed_answers.hpp ----
// healed_answers: conversations whose answers may begin with a text that ends in the middle of a word.
#ifndef BITNET_CONSTRAIN_HEALED_ANSWERS_HPP
#define BITNET_CONSTRAIN_HEALED_ANSWERS_HPP

// ---- bitnet/constrain/healed_prefix.hpp ----
// healed_prefix: goes on with a text that ends in the middle of a word, as if the model had written its end.
#ifndef BITNET_CONSTRAIN_HEALED_PREFIX_HPP
#define BITNET_CONSTRAIN_HEALED_PREFIX_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI {

namespace detail {

inline constexpr std::size_t most_tokens_to_heal = 4;

} // namespace detail

/// How many tokens at the end of a prompt are to be taken back, so that the model chooses how the word goes on that
/// they may have cut: the most of the last four whose bytes another, longer token begins with. 0 where none does.
/// Control tokens stay, and so does the first token. Their bytes have to come first again: healed_prefix sees to that,
/// and where a grammar follows token_constraint::restart_behind().
[[nodiscard]] inline std::size_t tokens_to_heal(const token_trie& trie, std::span<const token> prompt) noexcept {
    const tokenizer& text = trie.text();
    const detail::token_tree& tree = detail::trie_access::all(trie);
    std::size_t found = 0;
    for (std::size_t count = 1; count <= detail::most_tokens_to_heal && count < prompt.size(); ++count) {
        const std::span<const token> last = prompt.last(count);
        if (text.is_special(last[0]) || text.is_stop(last[0]) || text.bytes_of(last[0]).empty()) {
            break;
        }
        detail::token_tree::place at = tree.root();
        bool is_there = true;
        for (const token id : last) {
            for (const char byte : text.bytes_of(id)) {
                is_there = is_there && tree.enter(at, static_cast<std::uint8_t>(byte));
            }
        }
        found = is_there && at.first != at.last ? count : found;
    }
    return found;
}

/// A constrained_token_chooser for a text whose end was taken back: until that has come again only such tokens are
/// allowed as begin what is missing of it, or begin with it and go on. From there on it is as if it were not there.
/// "The capital of Fra" becomes " France" so where " Fra" alone would rarely be followed by "nce".
///
///     auto healed = *healed_prefix<sampler>::open(choose, trie);
///     const auto fed = *healed.begin(prompt);                 // fewer tokens than the prompt has
///     session.feed(std::span(prompt).first(fed));
///     while (auto id = session.next(healed)) ...              // missing() bytes come first that the prompt had
///
/// In a conversation: conversation_options::heal. With a grammar, token_constraint::restart_behind() takes what
/// tokens_to_heal() says, in place of this. Borrows both, which must outlive it, and serves one sequence. Allocates in
/// open() and begin() only.
template <token_chooser C> class healed_prefix {
    static_assert(!constrained_token_chooser<C>, "a grammar takes a prefix itself: token_constraint::restart_behind()");

public:
    /// \return errc::out_of_memory.
    [[nodiscard]] static result<healed_prefix> open(C& inner, const token_trie& trie) {
        healed_prefix made(inner, trie);
        error failure;
        detail::allocate(made.bits_, (trie.vocabulary() + 63) / 64, "healed prefix", failure);
        detail::allocate(made.few_, allowed_tokens::most_listed, "healed prefix", failure);
        detail::allocate(made.candidates_, trie.vocabulary(), "healed prefix", failure);
        if (!detail::has_memory_for(
                [&] { made.missing_.reserve(detail::most_tokens_to_heal * trie.text().longest_token()); })) {
            return detail::out_of_memory();
        }
        return failure.code != errc{} ? result<healed_prefix>(failure) : std::move(made);
    }
    static result<healed_prefix> open(C&, token_trie&&) = delete; // would dangle

    /// \param prompt all tokens of the sequence \return how many of them are to be fed; errc::out_of_memory.
    [[nodiscard]] result<std::size_t> begin(std::span<const token> prompt) {
        return detail::guarded([&]() -> result<std::size_t> {
            const std::size_t kept = prompt.size() - tokens_to_heal(*trie_, prompt);
            missing_.clear();
            for (const token id : prompt.subspan(kept)) {
                missing_ += trie_->text().bytes_of(id);
            }
            at_ = 0;
            return kept;
        });
    }
    /// The same of a text that follows others. \return the part of it that is to be said; what tokenizer::encode
    /// returns.
    [[nodiscard]] result<std::string_view> begin(std::string_view begun) {
        return detail::guarded([&]() -> result<std::string_view> {
            std::vector<token> tokens{no_token}; // what stands in front
            if (auto encoded = trie_->text().encode(begun, tokens, {.follows_text = true}); !encoded) {
                return failed(encoded);
            }
            if (auto kept = begin(tokens); !kept) {
                return failed(kept);
            }
            if (!begun.ends_with(missing_)) { // spelled otherwise, as U+2581 for a space
                missing_.clear();
            }
            return begun.substr(0, begun.size() - missing_.size());
        });
    }
    /// The same where the tokens of these bytes were taken back already. Allocates nothing for what tokens_to_heal()
    /// takes back.
    void begin_behind(std::string_view missing) {
        missing_ = missing;
        at_ = 0;
    }
    /// The bytes that were taken back and have not come again.
    [[nodiscard]] std::string_view missing() const noexcept { return std::string_view(missing_).substr(at_); }

    [[nodiscard]] result<allowed_tokens> allowed() {
        if (missing().empty()) {
            detail::allow_all(bits_.span(), trie_->vocabulary());
            return allowed_tokens{trie_->vocabulary(), bits_.span()};
        }
        std::fill_n(bits_.data(), bits_.size(), std::uint64_t{0});
        std::size_t count = 0;
        detail::trie_access::for_each_beginning(*trie_, missing(), [&](std::uint32_t id) {
            bits_[id / 64] |= std::uint64_t{1} << id % 64;
            ++count;
        });
        return allowed_tokens{count, bits_.span(), detail::listed(bits_.span(), count, few_.span())};
    }
    [[nodiscard]] std::size_t needs() { return inner_->needs(); }
    [[nodiscard]] token choose(std::span<const float> all) {
        if (missing().empty()) {
            return inner_->choose(all);
        }
        const auto some = allowed();
        return some && some->count != 0 ? inner_->choose(detail::candidates_of(some->bits, all, candidates_.span()))
                                        : no_token;
    }
    [[nodiscard]] token choose(std::span<const scored_token> largest) { return inner_->choose(largest); }
    void accept(token id) {
        inner_->accept(id);
        at_ += (std::min)(missing().size(), trie_->text().bytes_of(id).size());
    }

private:
    healed_prefix(C& inner, const token_trie& trie) noexcept : inner_(&inner), trie_(&trie) {}

    C* inner_;
    const token_trie* trie_;
    std::string missing_;
    std::size_t at_ = 0; ///< bytes of it that have come
    buffer<std::uint64_t> bits_;
    buffer<std::uint32_t> few_;
    buffer<scored_token> candidates_;
};

} // namespace bitnet::inline BITNET_ABI

#endif

// ---- bitnet/run/prefix_source.hpp ----
// prefix_source: has the model write again how a word goes on in which the host's beginning of an answer ends.
#ifndef BITNET_RUN_PREFIX_SOURCE_HPP
#define BITNET_RUN_PREFIX_SOURCE_HPP

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

namespace detail {

/// Of one conversation: which tokens at the end of a beginning are taken back, and that their bytes come again first.
class answer_healer {
public:
    answer_healer() noexcept = default;
    answer_healer(const answer_healer&) = delete;
    answer_healer& operator=(const answer_healer&) = delete;
    virtual ~answer_healer() = default;

    /// How many of the last tokens of an answer's beginning the model is to write itself.
    [[nodiscard]] virtual std::size_t taken_back(std::span<const token> begun) const noexcept = 0;
    /// These bytes, of tokens that were taken back, are to come first.
    virtual void begin(std::string_view missing) = 0;
    /// How to choose the next token, if `free` is what would choose behind the beginning. Valid until the next call.
    [[nodiscard]] virtual any_chooser chooser(any_chooser free) noexcept = 0;
};

} // namespace detail

/// For conversation_options::heal: healed_answers, which bitnet/constrain.hpp has. An interface, so that programs
/// without it compile nothing of it.
class prefix_source {
public:
    /// For one conversation. \param text its tokenizer, which outlives the healer
    /// \return errc::out_of_memory, errc::invalid_argument for another tokenizer than this is of
    [[nodiscard]] virtual result<std::unique_ptr<detail::answer_healer>> healer(const tokenizer& text) const = 0;

    prefix_source(const prefix_source&) = default;
    prefix_source& operator=(const prefix_source&) = default;

protected:
    prefix_source() noexcept = default;
    ~prefix_source() = default;
};

} // namespace bitnet::inline BITNET_ABI

#endif

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

namespace detail {

/// Stays where it is: its parts know each other's place.
class answer_healing final : public answer_healer {
public:
    [[nodiscard]] static result<std::unique_ptr<answer_healer>> open(const token_trie& trie) {
        return guarded([&]() -> result<std::unique_ptr<answer_healer>> {
            auto made = std::make_unique<answer_healing>(trie);
            auto healed = healed_prefix<inner_chooser>::open(made->inner_, trie);
            if (!healed) {
                return failed(healed);
            }
            made->healed_.emplace(*std::move(healed));
            return std::unique_ptr<answer_healer>(std::move(made));
        });
    }
    /// Use open().
    explicit answer_healing(const token_trie& trie) noexcept : trie_(&trie) {}

    [[nodiscard]] std::size_t taken_back(std::span<const token> begun) const noexcept override {
        return tokens_to_heal(*trie_, begun);
    }
    void begin(std::string_view missing) override { healed_->begin_behind(missing); }
    [[nodiscard]] any_chooser chooser(any_chooser free) noexcept override {
        inner_.chooser = free;
        return healed_->missing().empty() ? free : any_chooser(*healed_);
    }

private:
    /// What chooses, which is told what may be chosen.
    struct inner_chooser {
        std::optional<any_chooser> chooser;

        [[nodiscard]] std::size_t needs() const noexcept { return chooser->needs(); }
        [[nodiscard]] token choose(std::span<const float> all) const noexcept { return chooser->choose(all); }
        [[nodiscard]] token choose(std::span<const scored_token> some) const noexcept { return chooser->choose(some); }
        void accept(token id) const noexcept { chooser->accept(id); }
    };

    const token_trie* trie_;
    inner_chooser inner_;
    std::optional<healed_prefix<inner_chooser>> healed_;
};

} // namespace detail

/// For conversation_options::heal: say(text, begun) and begin_answer(begun) may end in the middle of a word. Borrows
/// the trie, of the tokenizer of the conversation's model, which must outlive it. Immutable: any number of
/// conversations may use it at a time, each of which has 8 bytes for each token of the vocabulary.
class healed_answers final : public prefix_source {
public:
    explicit healed_answers(const token_trie& trie) noexcept : trie_(&trie) {}
    explicit healed_answers(token_trie&&) = delete; // would dangle

    [[nodiscard]] result<std::unique_ptr<detail::answer_healer>> healer(const tokenizer& text) const override {
        if (&trie_->text() != &text) {
            return error{errc::invalid_argument, "healed_answers: the token_trie is of another tokenizer than that of "
                                                 "the conversation's model"};
        }
        return detail::answer_healing::open(*trie_);
    }

private:
    const token_trie* trie_;
};

} // namespace bitnet::inline BITNET_ABI

#endif

#endif

#endif // BITNET_SECOND_VERSION
