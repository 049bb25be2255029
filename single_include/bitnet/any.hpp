// SPDX-License-Identifier: MIT
// any.hpp in one file, generated from include/bitnet/ by cmake/amalgamate.cmake: edit there, not here.

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

// ---- bitnet/any.hpp ----
// The light face of bitnet.hpp: what a program uses of a model, without what it is made of.
#ifndef BITNET_ANY_HPP
#define BITNET_ANY_HPP

// ---- bitnet/checkpoint/hyper_parameters.hpp ----
// hyper_parameters: the sizes and constants of a model, read from GGUF metadata and checked.
#ifndef BITNET_CHECKPOINT_HYPER_PARAMETERS_HPP
#define BITNET_CHECKPOINT_HYPER_PARAMETERS_HPP

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

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bitnet::inline BITNET_ABI {

class gguf_file;

/// The function between the two halves of a gated feed-forward layer.
enum class activation_function {
    relu2, ///< relu(gate)^2 * up: bitnet-b1.58, bitnet-25, and bitnet where it is 2B-4T
    silu,  ///< silu(gate) * up: bitnet, llama, minicpm, qwen2, qwen3
    gelu,  ///< gelu(gate) * up, the tanh form: gemma3
};

[[nodiscard]] constexpr std::string_view name_of(activation_function f) noexcept {
    switch (f) {
    case activation_function::relu2:
        return "relu2";
    case activation_function::silu:
        return "silu";
    case activation_function::gelu:
        break;
    }
    return "gelu";
}

namespace detail {

struct activation_spelling {
    std::string_view name;
    activation_function function;
};

/// How configurations and GGUF files call them. "gelu" is the tanh form in GGUF files; transformers' gelu is not.
inline constexpr activation_spelling activation_spellings[] = {
    {"relu2", activation_function::relu2},
    {"relu_squared", activation_function::relu2},
    {"squared_relu", activation_function::relu2},
    {"relu_sqr", activation_function::relu2},
    {"silu", activation_function::silu},
    {"swish", activation_function::silu},
    {"swiglu", activation_function::silu},
    {"gelu", activation_function::gelu},
    {"geglu", activation_function::gelu},
    {"gelu_pytorch_tanh", activation_function::gelu},
    {"gelu_tanh", activation_function::gelu},
    {"gelu_new", activation_function::gelu},
    {"gelu_fast", activation_function::gelu},
    {"gelu_accurate", activation_function::gelu},
    {"gelu_python_tanh", activation_function::gelu},
};

/// Nullopt for functions that are not computed here.
[[nodiscard]] constexpr std::optional<activation_function> activation_called(std::string_view name) noexcept {
    for (const activation_spelling& each : activation_spellings) {
        if (each.name == name) {
            return each.function;
        }
    }
    return std::nullopt;
}

} // namespace detail

/// Which two columns of a head rotate against each other.
enum class rotary_pairing {
    halves,      ///< j and j + head_size / 2, as in all checkpoints of Hugging Face
    interleaved, ///< 2 j and 2 j + 1: GGUF files of llama and minicpm, whose rows their converter has permuted
};

[[nodiscard]] constexpr std::string_view name_of(rotary_pairing p) noexcept {
    return p == rotary_pairing::halves ? "halves" : "interleaved";
}

/// The largest number of columns of one head. Arrays on the stack of attention and of the KV cache have this size.
inline constexpr std::size_t largest_head_size = 1024;

/// How one vector is made of the states of all tokens; numbered as in GGUF metadata, which has cls (2) and rank (4)
/// too: these are refused.
enum class pooling_type : std::uint8_t {
    none = 0, ///< the model has logits instead
    mean = 1, ///< the mean of all states after the last norm
    last = 3, ///< the last token's state after the last norm
};

[[nodiscard]] constexpr std::string_view name_of(pooling_type p) noexcept {
    return p == pooling_type::mean ? "mean" : p == pooling_type::last ? "last" : "none";
}

namespace detail {

/// What follows from an architecture's name. The rest of the graph follows from the metadata and the tensors.
struct model_family {
    std::string_view architecture;
    activation_function activation; ///< where `<architecture>.hidden_activation` does not say another
    rotary_pairing pairing;
    bool has_sub_norms;    ///< RMSNorms before attn_output and ffn_down, which a file must have; elsewhere they are
                           ///< optional
    bool ties_head;        ///< even if there is an output.weight; otherwise only if there is none
    bool scales_embedding; ///< by sqrt(hidden)
    bool may_have_biases = false; ///< of attn_q, attn_k and attn_v; elsewhere biases are refused
    bool has_scales = false;      ///< keys scale embeddings, both branches of a layer, and logits
};

inline constexpr model_family model_families[] = {
    {"bitnet", activation_function::silu, rotary_pairing::halves, true, true, false},
    {"bitnet-25", activation_function::relu2, rotary_pairing::halves, true, true, false},
    {"bitnet-b1.58", activation_function::relu2, rotary_pairing::halves, true, true, false},
    {"llama", activation_function::silu, rotary_pairing::interleaved, false, false, false},
    {"minicpm", activation_function::silu, rotary_pairing::interleaved, false, false, false, false, true},
    {"qwen2", activation_function::silu, rotary_pairing::halves, false, false, false, true},
    {"qwen3", activation_function::silu, rotary_pairing::halves, false, false, false},
    {"gemma3", activation_function::gelu, rotary_pairing::halves, false, false, true},
};

/// What of an architecture is not run, where ternary models have it.
struct foreign_family {
    std::string_view architecture;
    std::string_view what;
};

inline constexpr foreign_family foreign_families[] = {
    {"qwen35", ", which has layers of linear attention, as Ternary Bonsai 2"},
    {"qwen35moe", ", which has layers of linear attention and mixed experts"},
    {"maple", ", which has mixed experts and local attention with a rotation of its own"},
    {"hunyuan-dense", ", which norms heads after their rotation"},
    {"hunyuan-moe", ", which has mixed experts"},
    {"qwen2moe", ", which has mixed experts"},
    {"qwen3moe", ", which has mixed experts"},
    {"minicpm3", ", which has latent attention"},
};

/// Empty for an architecture that nothing is known of.
[[nodiscard]] constexpr std::string_view what_is_not_run(std::string_view architecture) noexcept {
    for (const foreign_family& each : foreign_families) {
        if (each.architecture == architecture) {
            return each.what;
        }
    }
    return {};
}

} // namespace detail

/// Sizes are counts of elements. All are checked: nothing that follows can divide by zero, overflow or be absurdly
/// large.
struct hyper_parameters {
    std::string architecture; ///< general.architecture, one of model_families
    std::string model_name;   ///< general.name; may be empty
    std::size_t layers = 0;
    std::size_t hidden = 0;       ///< columns of the residual stream
    std::size_t feed_forward = 0; ///< columns between ffn_up and ffn_down
    std::size_t heads = 0;
    std::size_t kv_heads = 0;  ///< heads / kv_heads query heads share one key and value head
    std::size_t head_size = 0; ///< columns of one head
    std::size_t vocabulary = 0;
    std::size_t context = 0; ///< positions the model was trained for
    float rms_epsilon = 0;
    float rope_theta = 0;
    float rope_factor = 1;                  ///< linear scaling: angles are divided by it
    std::vector<double> rope_divisors;      ///< and by these, pair by pair (rope_freqs.weight, YaRN, longrope's short
                                            ///< factors); empty: by 1
    std::vector<double> rope_long_divisors; ///< instead of them in sessions that have room for more than
                                            ///< rope_original_context positions (longrope's long factors); empty: none
    std::size_t rope_original_context = 0;  ///< positions that YaRN and longrope extend; 0: neither
    float rope_magnitude = 1;               ///< what cosines and sines are multiplied by (YaRN, longrope)
    rotary_pairing pairing = rotary_pairing::halves;
    bool keeps_row_order = false; ///< rows of Q and K are not permuted, as GGUF files of the architecture have them
    activation_function activation = activation_function::relu2;
    float embedding_scale = 1;                 ///< what looked up embeddings are multiplied by
    float residual_scale = 1;                  ///< and what the two branches of a layer are before x takes them
    float logit_scale = 1;                     ///< what the products of the head are divided by
    bool has_sub_norms = true;                 ///< as in model_family
    bool has_qkv_biases = false;               ///< attn_q, attn_k and attn_v have biases, in every layer
    bool has_own_lm_head = false;              ///< the head is output.weight; otherwise the embedding
    bool is_embedder = false;                  ///< a text embedding model, trained without a head: it has no logits
    pooling_type pooling = pooling_type::none; ///< of a text embedding model; `mean` if its file does not say

    std::vector<std::string> notes; ///< what was inferred, and what of the file has no place in the graph

    [[nodiscard]] std::size_t query_columns() const noexcept { return heads * head_size; }
    [[nodiscard]] std::size_t kv_columns() const noexcept { return kv_heads * head_size; }
    [[nodiscard]] std::size_t heads_per_kv() const noexcept { return heads / kv_heads; }

    /// The tensor that logits are made with.
    [[nodiscard]] std::string_view lm_head_name() const noexcept {
        return has_own_lm_head ? "output.weight" : "token_embd.weight";
    }

    /// Reads the keys of `file`, and what the names of its tensors show. A key or tensor that changes the graph in a
    /// way that is not implemented is refused, any other that is not read is named in a note. \return
    /// errc::unsupported_architecture, missing_key, wrong_type, out_of_range or inconsistent, naming the file, the key
    /// and both numbers.
    [[nodiscard]] static inline result<hyper_parameters> read(const gguf_file& file);
};

} // namespace bitnet::inline BITNET_ABI

#endif

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

// ---- bitnet/io/byte_sink.hpp ----
// byte_sink: where bytes are written to: a vector, a fixed piece of memory, a callback, a file.
#ifndef BITNET_IO_BYTE_SINK_HPP
#define BITNET_IO_BYTE_SINK_HPP

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

// ---- bitnet/core/sentence.hpp ----
// sentence, set_error: the text of an error message, joined out of line from texts, names and numbers.
#ifndef BITNET_CORE_SENTENCE_HPP
#define BITNET_CORE_SENTENCE_HPP

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

#include <concepts>
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

namespace bitnet::inline BITNET_ABI {

/// Writes to wherever the host keeps its data: takes all of `bytes`, which follow those of the calls before, or returns
/// false.
struct write_callback {
    bool (*write)(void* context, std::span<const std::byte> bytes) = nullptr;
    void* context = nullptr;
};

/// Memory of the caller's that is filled from its beginning. Allocates nothing.
struct byte_room {
    std::span<std::byte> room;
    std::size_t size = 0; ///< bytes that are filled

    /// \return errc::invalid_argument with both numbers if `bytes` do not fit; none of them are taken then.
    [[nodiscard]] result<void> write(std::span<const std::byte> bytes) noexcept {
        if (bytes.size() > room.size() - size) {
            return detail::error_saying(errc::invalid_argument,
                                        {"writing to memory: ", bytes.size(), " bytes do not fit, of ", room.size(),
                                         " bytes ", size, " are filled"});
        }
        if (!bytes.empty()) {
            std::memcpy(room.data() + size, bytes.data(), bytes.size());
            size += bytes.size();
        }
        return {};
    }
};

/// What a byte_sink can refer to: byte_room, file_writer, and classes of the program's own.
template <class T>
concept byte_taker = requires(T& taker, std::span<const std::byte> bytes) {
    { taker.write(bytes) } -> std::same_as<result<void>>;
};

/// A reference to what takes bytes, one piece after another; it must outlive the sink. Copied like a pointer.
class byte_sink {
public:
    /// Appends to `out`; who reserves beforehand has no allocation. \return errc::out_of_memory from write().
    byte_sink(std::vector<std::byte>& out) noexcept : context_(std::addressof(out)), take_(&append) {}
    /// \pre callback.write != nullptr
    byte_sink(write_callback callback) noexcept
        : context_(callback.context), callback_(callback.write), take_(&call_back) {}
    template <byte_taker Taker>
    byte_sink(Taker& taker) noexcept : context_(std::addressof(taker)), take_(&take<Taker>) {}

    /// \return what the taker returns: see the constructors; errc::io_error for a callback that returns false.
    [[nodiscard]] result<void> write(std::span<const std::byte> bytes) const { return take_(*this, bytes); }

private:
    [[nodiscard]] static result<void> append(const byte_sink& sink, std::span<const std::byte> bytes) {
        return detail::guarded([&]() -> result<void> {
            auto& out = *static_cast<std::vector<std::byte>*>(sink.context_);
            out.insert(out.end(), bytes.begin(), bytes.end());
            return {};
        });
    }
    [[nodiscard]] static result<void> call_back(const byte_sink& sink, std::span<const std::byte> bytes) {
        if (!sink.callback_(sink.context_, bytes)) {
            return detail::error_saying(errc::io_error, {"the write callback could not take ", bytes.size(), " bytes"});
        }
        return {};
    }
    template <class Taker>
    [[nodiscard]] static result<void> take(const byte_sink& sink, std::span<const std::byte> bytes) {
        return static_cast<Taker*>(sink.context_)->write(bytes);
    }

    void* context_;
    bool (*callback_)(void* context, std::span<const std::byte> bytes) = nullptr;
    result<void> (*take_)(const byte_sink& sink, std::span<const std::byte> bytes);
};

} // namespace bitnet::inline BITNET_ABI

#endif

// ---- bitnet/run/any_batch.hpp ----
// any_batch: one step of several sessions together, so that the weights are read once for all of them.
#ifndef BITNET_RUN_ANY_BATCH_HPP
#define BITNET_RUN_ANY_BATCH_HPP

// ---- bitnet/run/any_model.hpp ----
// any_model: a model in the policy that this machine runs best, as a plain type.
#ifndef BITNET_RUN_ANY_MODEL_HPP
#define BITNET_RUN_ANY_MODEL_HPP

// ---- bitnet/checkpoint/activation_rounding.hpp ----
// activation_rounding: what happens to activations before they meet ternary weights.
#ifndef BITNET_CHECKPOINT_ACTIVATION_ROUNDING_HPP
#define BITNET_CHECKPOINT_ACTIVATION_ROUNDING_HPP

#include <array>
#include <cstddef>
#include <optional>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// What happens to the activations of a product with ternary weights. BitNet's models were trained with one int8 scale
/// for each token; models with a scale for each block of weights were trained with 16-bit activations, and a scale for
/// each 32 columns loses least of all int8 choices. .github/GUIDE.md has the measured errors.
enum class activation_rounding : unsigned char {
    by_model,  ///< per_token where every ternary matrix has one scale, per_32 elsewhere
    per_token, ///< int8 with a scale for each token: BitNet's contract
    per_128,   ///< int8 with a scale for each 128 columns
    per_32,    ///< int8 with a scale for each 32 columns, as llama.cpp's Q8_0
    none,      ///< float: the reference, and slow
};

/// In the order of the enumeration: what programs call them.
inline constexpr std::array<std::string_view, 5> activation_rounding_names{"default", "token", "128", "32", "float"};

[[nodiscard]] constexpr std::string_view name_of(activation_rounding rounding) noexcept {
    return activation_rounding_names[static_cast<std::size_t>(rounding)];
}

/// The rounding of that name; nullopt if there is none.
[[nodiscard]] constexpr std::optional<activation_rounding> find_activation_rounding(std::string_view name) noexcept {
    for (std::size_t i = 0; i < activation_rounding_names.size(); ++i) {
        if (activation_rounding_names[i] == name) {
            return static_cast<activation_rounding>(i);
        }
    }
    return std::nullopt;
}

namespace detail {

/// Columns of `cols` that share a scale. \pre not by_model or none
[[nodiscard]] constexpr std::size_t columns_per_scale(activation_rounding rounding, std::size_t cols) noexcept {
    return rounding == activation_rounding::per_32 ? 32 : rounding == activation_rounding::per_128 ? 128 : cols;
}

} // namespace detail

} // namespace bitnet::inline BITNET_ABI

#endif

// ---- bitnet/checkpoint/sampling_advice.hpp ----
// sampling_advice: how a file advises to choose tokens.
#ifndef BITNET_CHECKPOINT_SAMPLING_ADVICE_HPP
#define BITNET_CHECKPOINT_SAMPLING_ADVICE_HPP

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace bitnet::inline BITNET_ABI {

class gguf_file;

/// What a model's makers advise, in the ranges of sampler_options: the keys general.sampling.temp, .top_k, .top_p and
/// .min_p of a GGUF file. nullopt: they say nothing.
struct sampling_advice {
    std::optional<float> temperature; ///< >= 0, finite
    std::optional<std::size_t> top_k; ///< 0 keeps all, for which files have -1, too
    std::optional<float> top_p;       ///< 0 to 1
    std::optional<float> min_p;       ///< 0 to 1

    [[nodiscard]] bool is_empty() const noexcept { return !temperature && !top_k && !top_p && !min_p; }

    /// Include <bitnet/checkpoint/sampling_advice_reader.hpp> to call it.
    /// \param notes a sentence is added for each key with a value that cannot be, which is passed over
    [[nodiscard]] static inline sampling_advice read(const gguf_file& file, std::vector<std::string>& notes);
};

} // namespace bitnet::inline BITNET_ABI

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

// ---- bitnet/model/kv_pool.hpp ----
// kv_pool: memory for the keys and values of several sessions, with a cap that is known beforehand.
#ifndef BITNET_MODEL_KV_POOL_HPP
#define BITNET_MODEL_KV_POOL_HPP

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

namespace bitnet::inline BITNET_ABI {

namespace detail {

/// What kv_pool holds; a kv_page_store is what there is.
class kv_pool_base {
public:
    kv_pool_base(const kv_pool_base&) = delete;
    kv_pool_base& operator=(const kv_pool_base&) = delete;
    virtual ~kv_pool_base() = default;

    [[nodiscard]] virtual std::uint64_t page_bytes() const noexcept = 0;
    [[nodiscard]] virtual std::size_t pages() const noexcept = 0;
    [[nodiscard]] virtual std::size_t free_pages() const noexcept = 0;

protected:
    kv_pool_base() noexcept = default;
};

} // namespace detail

/// A fixed number of pages of 256 positions, allocated once by any_model::open_kv_pool(); memory that is never written
/// is never used. Sessions that are opened with session_options::kv take pages as they grow, share those of a common
/// past after fork(), and give them back when they are rewound, reset or closed. One with a window whose context is
/// full goes on with the pages that it has. A pool that is full is errc::kv_pool_full for who needs a page; nothing is
/// lost. Move-only; must outlive its sessions, which may be on different threads.
///
/// A prefix that many share is fed to one session, which is forked for each of them. A prefix of p positions takes
/// ceil(p / 256) pages once. A fork with q positions of its own takes ceil((p + q) / 256) - floor(p / 256): if p is no
/// multiple of 256, it copies the last page of the prefix, because it writes behind it there. So a hundred forks with
/// 100 positions of their own behind 1,000 take 4 + 100 * 2 pages, and behind 1,024 they take 4 + 100.
class kv_pool {
public:
    /// Bytes of the keys and values of 256 positions.
    [[nodiscard]] std::uint64_t page_bytes() const noexcept { return base_->page_bytes(); }
    [[nodiscard]] std::size_t pages() const noexcept { return base_->pages(); }
    [[nodiscard]] std::size_t free_pages() const noexcept { return base_->free_pages(); }

    /// The library's own.
    explicit kv_pool(std::unique_ptr<detail::kv_pool_base> base) noexcept : base_(std::move(base)) {}
    [[nodiscard]] detail::kv_pool_base& base() const noexcept { return *base_; }

private:
    std::unique_ptr<detail::kv_pool_base> base_;
};

} // namespace bitnet::inline BITNET_ABI

#endif

// ---- bitnet/run/open_options.hpp ----
// open_options: how a model is opened.
#ifndef BITNET_RUN_OPEN_OPTIONS_HPP
#define BITNET_RUN_OPEN_OPTIONS_HPP

// ---- bitnet/io/open_progress.hpp ----
// open_progress: how far the opening of a model is, for a host that shows it or may give it up.
#ifndef BITNET_IO_OPEN_PROGRESS_HPP
#define BITNET_IO_OPEN_PROGRESS_HPP

#include <cstdint>

namespace bitnet::inline BITNET_ABI {

/// Told while a model is opened, by the thread that opens it: `done` bytes of `all` are copied, read, checked, repacked
/// or in the screen of the head. Before the first, after each tensor and each 16 MiB of a copy, and when all are done.
/// `done` never falls; `all` grows with each further file of a split model that is copied, and changes a little when a
/// copy has told what is in it. False gives the opening up: errc::cancelled, and nothing is left of it.
struct open_progress {
    bool (*goes_on)(void* context, std::uint64_t done, std::uint64_t all) noexcept = nullptr; ///< null: not told
    void* context = nullptr;
};

} // namespace bitnet::inline BITNET_ABI

#endif

// ---- bitnet/io/page_mode.hpp ----
// page_mode: whether a model's files are mapped or copied into memory with huge pages.
#ifndef BITNET_IO_PAGE_MODE_HPP
#define BITNET_IO_PAGE_MODE_HPP

namespace bitnet::inline BITNET_ABI {

/// In which pages of memory a model's files lie.
enum class page_mode {
    /// Copied where that gains, memory allows and the copy runs at 2 GB/s or more, otherwise mapped; a note says which,
    /// and why. See page_choice and copy_pace.
    automatic,
    /// Those of the system's cache: nothing is read before it is needed, all processes share them, and the system may
    /// drop them. Files that are shortened meanwhile end the process: see byte_source::open.
    mapped,
    /// Memory of the process's own, in huge pages where the system has them, which are read up to a fifth faster. It
    /// takes as many bytes as the files have, the time to read all of them, and the system keeps its own copy as long
    /// as it likes. Files may change later.
    copied,
};

} // namespace bitnet::inline BITNET_ABI

#endif

// ---- bitnet/kernel/i2s_order.hpp ----
// i2s_order: the three byte orders of I2_S tensors.
#ifndef BITNET_KERNEL_I2S_ORDER_HPP
#define BITNET_KERNEL_I2S_ORDER_HPP

namespace bitnet::inline BITNET_ABI {

/// The byte orders that all carry GGUF type id 36, "I2_S", with nothing in the file to tell them apart.
enum class i2s_order {
    planar_128, ///< A: the official files, converters, x86 builds: 128 weights of a row in 32 bytes
    planar_64,  ///< B: files quantised by an Arm build: 64 weights of a row in 16 bytes
    four_rows,  ///< C: x86 builds without ACT_PARALLEL: one column of four rows in a byte
};

} // namespace bitnet::inline BITNET_ABI

#endif

// ---- bitnet/thread/pool.hpp ----
// The pool concept: who runs the pieces of a parallel loop. inline_pool runs them on the calling thread.
#ifndef BITNET_THREAD_POOL_HPP
#define BITNET_THREAD_POOL_HPP

// ---- bitnet/thread/thread_limits.hpp ----
// How many threads a pool may have, and how long one without work spins.
#ifndef BITNET_THREAD_THREAD_LIMITS_HPP
#define BITNET_THREAD_THREAD_LIMITS_HPP

#include <chrono>
#include <cstddef>

namespace bitnet::inline BITNET_ABI {

/// How long a thread without work spins before it sleeps: longer than the gaps within a token, and so short that a
/// program that waits for its user uses no CPU.
inline constexpr std::chrono::microseconds default_spin{50};

inline constexpr std::size_t most_threads = 1024;

} // namespace bitnet::inline BITNET_ABI

#endif

#include <chrono>
#include <concepts>
#include <cstddef>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// One task of a loop, erased: `function(context, index)`. The context outlives the loop.
struct loop_body {
    void (*function)(void* context, std::size_t index) noexcept;
    void* context;

    void operator()(std::size_t index) const noexcept { function(context, index); }
};

/// Runs `body(0) ... body(count - 1)`, each once, in any order on any threads, and returns when all are done; one loop
/// at a time. threads() says for how many threads it is worth cutting a loop up, 1 and more, always the same number.
/// What a host's own job system has to have; the calling thread may take part or not.
template <class R>
concept loop_runner = requires(R& runner, const R& constant, std::size_t count, loop_body body) {
    { runner.run(count, body) }
    noexcept->std::same_as<void>;
    { constant.threads() }
    noexcept->std::convertible_to<std::size_t>;
};

/// A loop_runner that the library can make: open(threads, spin), of which a pool that does not spin ignores the second.
template <class P>
concept thread_pool_type = loop_runner<P> && requires {
    { P::open(std::size_t{}, std::chrono::microseconds{}) } -> std::same_as<result<std::unique_ptr<P>>>;
};

/// Any loop_runner, borrowed: what runs parallel loops is compiled once for all of them.
class pool_ref {
public:
    /// A copy of a pool_ref borrows what that borrows.
    template <loop_runner Pool>
    requires(!std::same_as<std::remove_const_t<Pool>, pool_ref>) pool_ref(Pool& pool)
    noexcept
        : pool_(std::addressof(pool)), run_([](void* self, std::size_t count, loop_body body) noexcept {
              static_cast<Pool*>(self)->run(count, body);
          }),
          threads_(pool.threads()) {}

    /// The library's own: a pool of `count` threads whose run() itself hands neighbouring indices to one thread, so
    /// that loops leave that to it.
    pool_ref(void* pool, void (*run_loop)(void*, std::size_t, loop_body) noexcept, std::size_t count) noexcept
        : pool_(pool), run_(run_loop), threads_(count), makes_runs_(true) {}

    void run(std::size_t count, loop_body body) const noexcept { run_(pool_, count, body); }
    [[nodiscard]] std::size_t threads() const noexcept { return threads_; }
    /// Whether run() hands out neighbouring indices together.
    [[nodiscard]] bool makes_runs() const noexcept { return makes_runs_; }

private:
    void* pool_;
    void (*run_)(void*, std::size_t, loop_body) noexcept;
    std::size_t threads_;
    bool makes_runs_ = false;
};

namespace detail {

/// Any pool, owned. Move-only.
class owned_pool {
public:
    template <thread_pool_type Pool>
    explicit owned_pool(std::unique_ptr<Pool> pool) noexcept
        : ref_(*pool), pool_(pool.release(), [](void* self) noexcept { delete static_cast<Pool*>(self); }) {}

    [[nodiscard]] pool_ref ref() const noexcept { return ref_; }

private:
    pool_ref ref_;
    std::unique_ptr<void, void (*)(void*) noexcept> pool_;
};

/// Pool::open, erased.
template <thread_pool_type Pool>
[[nodiscard]] result<owned_pool> open_owned_pool(std::size_t threads, std::chrono::microseconds spin) {
    auto pool = Pool::open(threads, spin);
    if (!pool) {
        return failed(pool);
    }
    return owned_pool(*std::move(pool));
}

/// Calls f(index) for every index below `count` on the threads of `pool`, in the default floating-point environment:
/// the threads may be the host's, set up as it likes.
template <class F> void parallel_for(pool_ref pool, std::size_t count, F&& f) noexcept {
    using body = std::remove_reference_t<F>;
    const auto call = [](void* context, std::size_t index) noexcept {
        const default_float_environment environment;
        (*static_cast<body*>(context))(index);
    };
    pool.run(count, loop_body{call, const_cast<void*>(static_cast<const void*>(std::addressof(f)))});
}

/// Indices 0 to count - 1 as contiguous runs of falling length: each round gives every thread 1 / (2 * threads) of what
/// is left, down to single indices ("guided self-scheduling", Polychronopoulos and Kuck, 1987).
/// Within a run a thread streams through memory; short runs at the end let all threads finish together.
class guided_runs {
public:
    struct run {
        std::size_t begin;
        std::size_t end;
    };
    /// \pre threads > 0
    guided_runs(std::size_t count, std::size_t threads) noexcept : count_(count), threads_(threads) {
        for (std::size_t begin = 0; begin < count_; size_ += threads_) {
            begin += threads_ * run_length(begin);
        }
    }

    /// Number of runs; the last ones may be empty.
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    /// \pre index < size()
    [[nodiscard]] run operator[](std::size_t index) const noexcept {
        std::size_t begin = 0;
        for (std::size_t round = 0; round < index / threads_; ++round) {
            begin += threads_ * run_length(begin);
        }
        const std::size_t now = run_length(begin);
        begin += index % threads_ * now;
        return {begin < count_ ? begin : count_, begin + now < count_ ? begin + now : count_};
    }

private:
    /// Of the runs of the round that starts at `begin`.
    [[nodiscard]] std::size_t run_length(std::size_t begin) const noexcept {
        const std::size_t half_a_share = (count_ - begin) / (2 * threads_);
        return half_a_share != 0 ? half_a_share : 1;
    }

    std::size_t count_;
    std::size_t threads_;
    std::size_t size_ = 0;
};

/// parallel_for() for tasks that each read the memory that follows that of the task before: a thread takes them in
/// guided_runs.
template <class F> void parallel_stream(pool_ref pool, std::size_t count, F&& f) noexcept {
    // As many threads as indices make runs of one.
    const guided_runs runs(count, pool.makes_runs() && count != 0 ? count : pool.threads());
    parallel_for(pool, runs.size(), [&](std::size_t index) noexcept {
        const guided_runs::run run = runs[index];
        for (std::size_t i = run.begin; i < run.end; ++i) {
            f(i);
        }
    });
}

} // namespace detail

/// No threads at all: for single-threaded hosts, browsers and tests.
class inline_pool {
public:
    /// Both parameters are ignored: there is one thread, and it does not wait.
    [[nodiscard]] static result<std::unique_ptr<inline_pool>> open(std::size_t /*threads*/,
                                                                   std::chrono::microseconds /*spin*/ = default_spin) {
        std::unique_ptr<inline_pool> made(new (std::nothrow) inline_pool);
        return made != nullptr ? result<std::unique_ptr<inline_pool>>(std::move(made)) : detail::out_of_memory();
    }
    void run(std::size_t count, loop_body body) noexcept {
        for (std::size_t i = 0; i < count; ++i) {
            body(i);
        }
    }
    [[nodiscard]] std::size_t threads() const noexcept { return 1; }
};

} // namespace bitnet::inline BITNET_ABI

#endif

#include <cstddef>
#include <optional>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// How sessions find the largest logits.
enum class lm_head_mode {
    as_stored, ///< by reading the whole output matrix
    /// The same tokens and logits by reading two fifths of an F16 one: see lm_head_screen. open() makes the screen.
    screened,
    /// Screened where that gains and memory allows, otherwise as stored; a note says which, and why. A screen that the
    /// file does not hold is made after open(), by a thread of its own that begins a second later and ends with the
    /// model: until it is ready, the whole matrix is read, with the same tokens. As stored where there are no threads
    /// (WebAssembly), in a policy with another pool than thread_pool, and where the system does not tell how much
    /// memory is available.
    automatic,
};

/// Whether a model has a screen of its head.
enum class screen_state {
    none,       ///< and will have none
    being_made, ///< in the background
    ready,
};

struct open_options {
    /// Name of the pre-tokenizer, instead of the file's own or the inferred one: see tokenizer_options.
    std::string_view pre_tokenizer = {};
    /// Whether the tokenizer is read. Without one a model still runs on token ids, and opens faster.
    bool load_tokenizer = true;
    /// Byte order of the file's I2_S tensors, which no file tells: see i2s_order.
    i2s_order file_order = i2s_order::planar_128;
    /// The text of the kernel_config.ini that a file in TL1 or TL2 of microsoft/BitNet was written with: the file does
    /// not hold its tile sizes. Needed while the model is opened.
    std::string_view lookup_tiling = {};
    /// Whether every ternary code is looked at, to refuse code 3. Reads all weights once, so that by default files that
    /// are opened by a path are not scanned and other sources are. Those of type Q2_0 and PQ2_0 always are unless this
    /// is false, since files with four-valued weights have that type, too.
    std::optional<bool> verify_codes = {};
    /// Whether the model's files are mapped or copied, if they are opened by a path. A host that runs several processes
    /// over one file, or wants to keep its memory small, says mapped.
    page_mode pages = page_mode::automatic;
    /// What happens to activations before they meet ternary weights.
    activation_rounding activations = activation_rounding::by_model;
    /// A screen of the output matrix takes 6.25 bits more memory for each of its weights, and the time to read it once.
    /// Matrices in F16, BF16 and F32 have one; others are used as stored, and a note says so. Who never asks for the
    /// few largest logits, but for all of them or for embeddings, says as_stored.
    lm_head_mode lm_head = lm_head_mode::automatic;
    /// Threads that repack ternary tensors and make the screen while the model is opened; nullopt: usable_cores(). They
    /// are gone when open() returns.
    std::optional<std::size_t> threads = {};
    /// What runs those loops instead, such as the host's own job system; `threads` is not used then.
    std::optional<pool_ref> pool = {};
    /// Where the memory of the model and of all that is opened on it comes from, unless that says otherwise; null:
    /// operator new, or what a model_file was opened with. Must outlive them.
    const memory_source* memory = nullptr;
    /// Told how far the opening is, and may give it up. A model may be opened by one thread and used by another.
    open_progress progress = {};
};

} // namespace bitnet::inline BITNET_ABI

#endif

// ---- bitnet/run/session_options.hpp ----
// session_options, batch_options and scheduler_options, and why a session stopped.
#ifndef BITNET_RUN_SESSION_OPTIONS_HPP
#define BITNET_RUN_SESSION_OPTIONS_HPP

// ---- bitnet/run/speculation_options.hpp ----
// speculation_options: how many guesses a pass verifies, and what came of them.
#ifndef BITNET_RUN_SPECULATION_OPTIONS_HPP
#define BITNET_RUN_SPECULATION_OPTIONS_HPP

#include <cstddef>
#include <cstdint>

namespace bitnet::inline BITNET_ABI {

struct speculation_options {
    /// Guesses that a pass verifies at most, up to 15.
    std::size_t most = 15;
    /// Whether fewer are verified, down to none, where they cost more time than they save, as measured: n tokens take
    /// no longer than about 1.01 n + 1 would without guesses. Times decide how long a token takes then, and never which
    /// one it is.
    bool is_adaptive = true;
};

struct speculation_statistics {
    std::uint64_t tokens = 0;   ///< that next() gave, or a scheduler
    std::uint64_t passes = 0;   ///< through the model for these, that of the prompt included
    std::uint64_t drafted = 0;  ///< guesses that ran
    std::uint64_t accepted = 0; ///< of these, those that next() gave

    void add(const speculation_statistics& more) noexcept {
        tokens += more.tokens;
        passes += more.passes;
        drafted += more.drafted;
        accepted += more.accepted;
    }
    [[nodiscard]] double tokens_per_pass() const noexcept {
        return passes != 0 ? static_cast<double>(tokens) / static_cast<double>(passes) : 0.0;
    }
};

} // namespace bitnet::inline BITNET_ABI

#endif

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>

namespace bitnet::inline BITNET_ABI {

struct session_options {
    /// Positions that the session has room for; 0 takes the model's own, but not more than 4096. In a model with
    /// longrope it also decides how all of them rotate: see hyper_parameters::rope_long_divisors.
    std::size_t context = 0;
    /// Whether a session whose context is full goes on, with a window: of what it has, the first positions (sinks)
    /// stay, and of what is behind them the oldest page of 256 positions is dropped whenever room is needed. So a token
    /// sees the sinks and the last ones, context - 255 to context positions together. The keys and values of those were
    /// made while more was there: the answers are not those of a session that was fed what is left, and what was
    /// dropped is forgotten but for that. Distances are counted as if nothing had been between the sinks and the
    /// window, so that none is longer than the context. What is computed depends on the tokens, `context` and `sinks`
    /// alone. The context is a whole number of pages then; 0 takes as many as there are. Costs 4 bytes more a position.
    /// Source: Xiao et al., "Efficient Streaming Language Models with Attention Sinks", 2023, here with keys that are
    /// never rotated again: it is the query that is rotated a second time for the sinks.
    bool window = false;
    /// Positions at the front that a window keeps, in whole pages: rounded up to a multiple of 256. One page or the
    /// length of a system prompt.
    std::size_t sinks = 1;
    /// Threads that a step uses, the calling one included; nullopt: usable_cores(). A host that has other work for its
    /// cores, or opens many sessions, says how many, or lends a pool.
    std::optional<std::size_t> threads = {};
    /// How long a thread without work spins before it sleeps; more saves wake-ups between tokens, zero saves power.
    std::chrono::microseconds spin = default_spin;
    /// Tokens that run through the layers together while a prompt is fed. More are faster until the caches are full.
    std::size_t prompt_chunk = 128;
    /// Where keys and values are kept; null: memory of the session's own for the whole context. The pool is one of the
    /// same model and must outlive the session.
    kv_pool* kv = nullptr;
    /// Where its memory comes from, keys and values without a kv_pool too; null: as the model's.
    const memory_source* memory = nullptr;
    /// Whether next() ends at the tokenizer's stop tokens. A model without tokenizer has none.
    bool stop_at_stop_tokens = true;
    /// How embedding() makes one vector of all states, mean or last; nullopt: as the file says, and in a model with
    /// logits last. A mean costs one norm and one addition of [hidden] for each token.
    std::optional<pooling_type> pooling = {};

    static constexpr std::size_t default_context = 4096; ///< at most, if `context` is 0
    static constexpr std::size_t largest_prompt_chunk = 4096;
};

struct batch_options {
    /// Sessions that one step can take.
    std::size_t sessions = 8;
    /// As in session_options; the threads of the sessions themselves rest meanwhile.
    std::optional<std::size_t> threads = {};
    std::chrono::microseconds spin = default_spin;
    /// Null: as the model's.
    const memory_source* memory = nullptr;

    static constexpr std::size_t most_sessions = 1024;
};

struct scheduler_options {
    /// That can be served at the same time.
    std::size_t speakers = 128;
    /// Speakers that get a token in one pass, each from logits in the scheduler's memory: half a megabyte for each in a
    /// vocabulary of 128,000. Of more, those that waited longest come next.
    std::size_t answers = 32;
    /// Tokens of prompts in a pass in which nobody gets a token: more are faster, see session_options::prompt_chunk.
    std::size_t prompt_chunk = 128;
    /// Tokens of prompts in any other pass. They make it longer, and those that are speaking wait for it.
    std::size_t prompt_beside_answers = 16;
    /// Of guesses, see speaker::guess: those of all speakers together run in passes of up to 16 rows, each as an
    /// answer. So do tokens that a foreseeing_token_chooser knows, whatever is set here.
    speculation_options speculation = {};
    /// As in session_options; the threads of the sessions themselves rest meanwhile.
    std::optional<std::size_t> threads = {};
    std::chrono::microseconds spin = default_spin;
    /// Null: as the model's.
    const memory_source* memory = nullptr;

    static constexpr std::size_t most_speakers = 65536;
    static constexpr std::size_t most_answers = 1024;
};

/// Why next() gave no token.
enum class stop_reason {
    none,         ///< it gave one, or was not called
    stop_token,   ///< the model ended its turn; the stop token is part of the sequence
    context_full, ///< no position is left
    error,        ///< see last_error()
    cancelled,    ///< the flag of set_cancel_flag() is true
};

/// Whether a session's step() has more to do.
enum class step_state {
    working, ///< the budget is used up: call it again
    ready,   ///< all that was asked for is computed
};

/// What a session does with the logits of each token of feed_each(): `function(context, index, logits)`.
struct logits_visitor {
    void (*function)(void* context, std::size_t index, std::span<const float> logits);
    void* context;

    void operator()(std::size_t index, std::span<const float> logits) const { function(context, index, logits); }
};

namespace detail {

/// Erases visit(index, logits), which must outlive the visitor.
template <class Visit> [[nodiscard]] logits_visitor visitor_of(Visit& visit) noexcept {
    const auto call = [](void* context, std::size_t index, std::span<const float> logits) {
        (*static_cast<Visit*>(context))(index, logits);
    };
    return {call, const_cast<void*>(static_cast<const void*>(std::addressof(visit)))};
}

} // namespace detail

} // namespace bitnet::inline BITNET_ABI

#endif

// ---- bitnet/text/chat_template.hpp ----
// chat_template: which chat format a model takes, why, and whole dialogs in it.
#ifndef BITNET_TEXT_CHAT_TEMPLATE_HPP
#define BITNET_TEXT_CHAT_TEMPLATE_HPP

// ---- bitnet/text/chat_dialog.hpp ----
// chat_dialog: the turns of a dialog as tokens, piece by piece as a session needs them.
#ifndef BITNET_TEXT_CHAT_DIALOG_HPP
#define BITNET_TEXT_CHAT_DIALOG_HPP

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

// ---- bitnet/text/chat_pieces.hpp ----
// chat_pieces: text with control tokens in it, which only a format can write.
#ifndef BITNET_TEXT_CHAT_PIECES_HPP
#define BITNET_TEXT_CHAT_PIECES_HPP

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

// ---- bitnet/text/tokenizer.hpp ----
// tokenizer: text to tokens and back, for byte-level models (GPT-2 and later) and SentencePiece models.
#ifndef BITNET_TEXT_TOKENIZER_HPP
#define BITNET_TEXT_TOKENIZER_HPP

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

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Text between two control tokens is one run, which is encoded as a whole. Borrows the tokenizer.
class chat_pieces {
public:
    explicit chat_pieces(const tokenizer& text) noexcept : tokenizer_(&text) {}

    /// Appends text. Control tokens spelled in it are text, too.
    void write(std::string_view plain) { text_.append(plain); }
    /// Appends a control token. no_token is ignored.
    void mark(token id) {
        if (id != no_token) {
            marks_.push_back({text_.size(), id});
            text_.append(tokenizer_->bytes_of(id));
        }
    }
    /// Appends the control token of that spelling, or the spelling as text if the vocabulary has no such token.
    void mark(std::string_view spelling) {
        if (const auto id = tokenizer_->find_special(spelling)) {
            mark(*id);
        } else {
            write(spelling);
        }
    }
    /// Appends text of a template, in which tokens of the form <...> are control tokens.
    void write_literal(std::string_view literal) {
        while (!literal.empty()) {
            const std::size_t begin = (std::min)(literal.find('<'), literal.size());
            write(literal.substr(0, begin));
            literal.remove_prefix(begin);
            const std::size_t end = literal.substr(0, longest_mark).find('>');
            const std::string_view spelling = literal.substr(0, end == std::string_view::npos ? 1 : end + 1);
            const auto id = tokenizer_->find_special(spelling);
            const std::size_t taken = id ? spelling.size() : (std::min<std::size_t>)(literal.size(), 1);
            if (id) {
                mark(*id);
            } else {
                write(literal.substr(0, taken));
            }
            literal.remove_prefix(taken);
        }
    }
    void append(const chat_pieces& more) {
        const std::size_t before = text_.size();
        text_.append(more.text_);
        for (const control_token& mark : more.marks_) {
            marks_.push_back({before + mark.position, mark.id});
        }
    }
    void clear() noexcept {
        text_.clear();
        marks_.clear();
    }
    /// Calls append(), which writes and marks. \return false, and all is as before, if memory did not suffice.
    template <class Append> [[nodiscard]] bool try_to(Append&& append) {
        const std::size_t text_before = text_.size();
        const std::size_t marks_before = marks_.size();
        const bool done = has_memory_for(append);
        if (!done) {
            text_.resize(text_before);
            marks_.resize(marks_before);
        }
        return done;
    }

    /// Appends all tokens to `out`, or leaves it as it is. \return what tokenizer::encode returns.
    [[nodiscard]] result<void> encode(std::vector<token>& out) const {
        const std::size_t before = out.size();
        std::size_t from = 0;
        for (std::size_t i = 0; i <= marks_.size(); ++i) {
            const std::size_t end = i < marks_.size() ? marks_[i].position : text_.size();
            if (auto done = tokenizer_->encode(std::string_view(text_).substr(from, end - from), out); !done) {
                out.resize(before);
                return done;
            }
            if (i < marks_.size()) {
                if (!has_memory_for([&] { out.push_back(marks_[i].id); })) {
                    out.resize(before);
                    return out_of_memory();
                }
                from = end + tokenizer_->bytes_of(marks_[i].id).size();
            }
        }
        return {};
    }
    /// All as text, control tokens as they are spelled.
    [[nodiscard]] const std::string& text() const noexcept { return text_; }

private:
    static constexpr std::size_t longest_mark = 256; ///< bytes of a control token in a template

    struct control_token {
        std::size_t position = 0; ///< of its spelling in `text_`
        token id = no_token;
    };

    const tokenizer* tokenizer_;
    std::string text_;
    std::vector<control_token> marks_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

// ---- bitnet/text/chatml_facts.hpp ----
// chatml_facts: what a file's own ChatML template writes beyond the format.
#ifndef BITNET_TEXT_CHATML_FACTS_HPP
#define BITNET_TEXT_CHATML_FACTS_HPP

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bitnet::inline BITNET_ABI {

/// Whether a model is to think before it answers, as far as its template has a way to say so.
enum class chat_thinking : unsigned char {
    by_template, ///< what the template does if it is told nothing
    on,
    off
};

namespace detail {

/// What becomes of the thoughts in front of an assistant's answers.
enum class thought_rule : unsigned char {
    text,          ///< the template does not know of any: all is text
    dropped,       ///< always left out
    since_question ///< written since the last question, if there is one or the answer is the last message
};

/// The texts are the template's own; control tokens spelled in them are control tokens.
struct chatml_facts {
    /// Around the list of tools, in the system's turn that the dialog begins with.
    struct tool_list {
        std::string after_system;   ///< from the content of the system's message to the first tool
        std::string without_system; ///< from the header to the first tool
        std::string before_each;
        std::string after_each;
        std::string end; ///< the turn's end included
    };

    std::array<std::string, 3> prompts; ///< after "<|im_start|>assistant\n", by chat_thinking
    std::string default_system;         ///< a whole turn, written if the first message is not the system's
    std::optional<tool_list> tools;
    std::string why_no_tools; ///< where there is no `tools`
    bool has_calls = false;   ///< an assistant's calls and the results of role "tool" are written as Qwen's models do
    bool parts_thoughts = false;  ///< a line end is before the first call if there is content or a dropped thought
    bool has_other_roles = false; ///< turns of roles that the template does not name are like the user's
    thought_rule thoughts = thought_rule::text;
    bool strips_answers = false;         ///< dropped: line ends in front of an answer go, thought or not
    bool thinks_always = false;          ///< since_question: a thought is written even if there is none
    bool results_are_no_question = true; ///< a user's message that is a bare <tool_response>
    bool begins_asked = false;           ///< since_question: so it is before the first question
    /// JSON, and the elements of an array, as the template writes them. `name` is what errors call the text. Pointers,
    /// so that programs that only have dialogs do not compile what reads JSON.
    result<std::string> (*to_json)(std::string_view json, std::string_view name) = nullptr;
    result<std::vector<std::string>> (*to_json_list)(std::string_view json, std::string_view name) = nullptr;

    [[nodiscard]] const std::string& prompt(chat_thinking thinking) const noexcept {
        return prompts[static_cast<unsigned char>(thinking)];
    }
    /// Whether the template knows of thoughts at all.
    [[nodiscard]] bool has_thoughts() const noexcept {
        return thoughts != thought_rule::text || prompt(chat_thinking::on) != prompt(chat_thinking::off);
    }
};

} // namespace detail

} // namespace bitnet::inline BITNET_ABI

#endif

// ---- bitnet/text/chatml_turns.hpp ----
// chatml_turns: the turns of a dialog as a file's own ChatML template writes them.
#ifndef BITNET_TEXT_CHATML_TURNS_HPP
#define BITNET_TEXT_CHATML_TURNS_HPP

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// A turn that later ones may change.
struct chatml_turn {
    enum class turn_kind : unsigned char { fixed, prompt, answer, results };
    struct call {
        std::string name;
        std::string arguments; ///< as they are written
    };

    turn_kind kind;
    std::string content;              ///< of an answer, thoughts included
    std::vector<call> calls;          ///< of an answer
    std::vector<std::string> results; ///< of tools
    chat_pieces whole;                ///< as it is in the dialog now
    chat_pieces rest;                 ///< what of it is to be taken
    std::optional<std::size_t> begin; ///< its first token's position, once something of it was taken
};

/// What chat_dialog holds for a template that has facts. What a template writes of a turn may depend on the turns that
/// follow, up to the next question: those since the last question are kept as messages, and rewritten when they change.
/// Copyable, which is how a dialog stays as it was where memory ends.
class chatml_turns {
public:
    /// \param tools as JSON, as they are written
    chatml_turns(std::shared_ptr<const chatml_facts> facts, const tokenizer& text, std::vector<std::string> tools,
                 chat_thinking thinking) noexcept
        : facts_(std::move(facts)), text_(&text), tools_(std::move(tools)), thinking_(thinking),
          is_asked_(facts_->begins_asked) {}

    [[nodiscard]] const chatml_facts& facts() const noexcept { return *facts_; }

    [[nodiscard]] bool has_role(std::string_view role) const noexcept {
        const bool is_result = role == "tool" && facts_->has_calls;
        return role == "system" || role == "user" || role == "assistant" || is_result || facts_->has_other_roles;
    }

    /// Appends a turn; what nothing can change any more goes to `settled`.
    /// \return errc::out_of_memory if that befell the reading of arguments
    [[nodiscard]] result<void> add(const chat_message& message, chat_pieces& settled) {
        if (begin(&message, settled)) {
            return {};
        }
        for (chatml_turn& turn : open_) {
            turn.kind = turn.kind == chatml_turn::turn_kind::prompt ? chatml_turn::turn_kind::fixed : turn.kind;
        }
        if (is_question(message)) {
            update(false, false);
            settle(settled);
            is_asked_ = true;
            settled.append(plain_turn(message.role, message.content));
            return {};
        }
        if (auto appended = append(message); !appended) {
            return appended;
        }
        update(is_asked_, true);
        return {};
    }

    void add_prompt(chat_pieces& settled) {
        static_cast<void>(begin(nullptr, settled));
        const std::string& prompt = facts_->prompt(thinking_);
        chat_pieces whole(*text_);
        write_header(whole, "assistant");
        whole.write_literal(prompt);
        open_.push_back({chatml_turn::turn_kind::prompt, prompt, {}, {}, whole, whole, {}});
    }

    /// Ends the turn that add_prompt() began with what the model wrote. \return false if there is no such turn
    [[nodiscard]] bool end_answer(const std::string& answer, bool stopped) {
        if (open_.empty() || open_.back().kind != chatml_turn::turn_kind::prompt || !open_.back().begin) {
            return false;
        }
        chatml_turn& turn = open_.back();
        turn.kind = chatml_turn::turn_kind::answer;
        turn.content += answer;
        const std::size_t closed = turn.content.rfind("</think>");
        const std::size_t opened = turn.content.rfind("<think>");
        if (opened != std::string::npos && (closed == std::string::npos || closed < opened)) {
            turn.content += "\n</think>\n\n";
        }
        turn.whole.write(answer);
        end_turn(turn.whole, true);
        end_turn(turn.rest, !stopped);
        return true;
    }

    /// All turns are to stay as they are, and how many tokens they have is not known from here on.
    void freeze(chat_pieces& settled) {
        settle(settled);
        is_counted_ = false;
    }

    /// How many of `position` tokens are to be kept.
    [[nodiscard]] std::size_t kept(std::size_t position) const noexcept { return cut_.value_or(position); }

    /// Appends the tokens that were not taken yet. \param kept the position of tokens[0]
    /// \return what tokenizer::encode returns; all is as before then
    [[nodiscard]] result<void> take(std::size_t kept, std::vector<token>& tokens) {
        std::vector<std::size_t> begins;
        for (const chatml_turn& turn : open_) {
            begins.push_back(turn.begin.value_or(kept + tokens.size()));
            if (auto done = turn.rest.encode(tokens); !done) {
                return done;
            }
        }
        for (std::size_t i = 0; i < open_.size(); ++i) {
            open_[i].begin = begins[i];
            open_[i].rest.clear();
        }
        cut_.reset();
        return {};
    }

    /// What take() would append, as text.
    [[nodiscard]] std::string text() const {
        std::string all;
        for (const chatml_turn& turn : open_) {
            all += turn.rest.text();
        }
        return all;
    }

private:
    /// Writes what comes in front of all turns, once. \param first null: there is no message yet
    /// \return whether the first message is part of it
    [[nodiscard]] bool begin(const chat_message* first, chat_pieces& settled) {
        if (std::exchange(has_begun_, true)) {
            return false;
        }
        const bool is_led = first != nullptr && first->role == "system";
        if (tools_.empty()) {
            settled.write_literal(is_led ? std::string_view{} : std::string_view(facts_->default_system));
            return false;
        }
        const chatml_facts::tool_list& list = *facts_->tools;
        write_header(settled, "system");
        settled.write(is_led ? first->content : std::string_view{});
        settled.write_literal(is_led ? list.after_system : list.without_system);
        for (const std::string& tool : tools_) {
            settled.write_literal(list.before_each);
            settled.write(tool);
            settled.write_literal(list.after_each);
        }
        settled.write_literal(list.end);
        tools_.clear();
        return is_led;
    }

    [[nodiscard]] bool is_question(const chat_message& message) const noexcept {
        const bool is_result = facts_->results_are_no_question && message.content.starts_with("<tool_response>") &&
                               message.content.ends_with("</tool_response>");
        return message.role == "user" && !is_result;
    }

    /// A turn that is not a question.
    [[nodiscard]] result<void> append(const chat_message& message) {
        using kind = chatml_turn::turn_kind;
        const chat_pieces none(*text_);
        if (message.role == "assistant") {
            chatml_turn turn{kind::answer, std::string(message.content), {}, {}, none, none, {}};
            for (const chat_tool_call& call : message.calls) {
                auto arguments = facts_->to_json(call.arguments, "the arguments of a call");
                if (!arguments && arguments.error().code == errc::out_of_memory) {
                    return failed(arguments);
                }
                turn.calls.push_back({std::string(call.name), arguments ? *arguments : std::string(call.arguments)});
            }
            open_.push_back(std::move(turn));
        } else if (message.role == "tool" && facts_->has_calls) {
            if (open_.empty() || open_.back().kind != kind::results) {
                open_.push_back({kind::results, {}, {}, {}, none, none, {}});
            }
            open_.back().results.emplace_back(message.content);
        } else {
            const chat_pieces whole = plain_turn(message.role, message.content);
            open_.push_back({kind::fixed, {}, {}, {}, whole, whole, {}});
        }
        return {};
    }

    /// Rewrites the turns that are not as the template has them now, and those after them, which follow other tokens.
    void update(bool is_asked, bool has_last) {
        bool changes = false;
        for (std::size_t i = 0; i < open_.size(); ++i) {
            chatml_turn& turn = open_[i];
            if (turn.begin && !is_counted_) {
                continue;
            }
            chat_pieces made = rendered(turn, is_asked, has_last && i + 1 == open_.size());
            if (!changes && made.text() == turn.whole.text()) {
                continue;
            }
            changes = true;
            cut_ = turn.begin ? (std::min)(kept(*turn.begin), *turn.begin) : cut_;
            turn.begin.reset();
            turn.rest = made;
            turn.whole = std::move(made);
        }
    }

    void settle(chat_pieces& settled) {
        for (const chatml_turn& turn : open_) {
            settled.append(turn.rest);
        }
        open_.clear();
    }

    [[nodiscard]] chat_pieces rendered(const chatml_turn& turn, bool is_asked, bool is_last) const {
        chat_pieces out(*text_);
        switch (turn.kind) {
        case chatml_turn::turn_kind::fixed:
        case chatml_turn::turn_kind::prompt:
            return turn.whole;
        case chatml_turn::turn_kind::answer:
            write_answer(out, turn, is_asked, is_last);
            break;
        case chatml_turn::turn_kind::results:
            out.mark("<|im_start|>");
            out.write("user");
            for (const std::string& result : turn.results) {
                out.write_literal("\n<tool_response>\n");
                out.write(result);
                out.write_literal("\n</tool_response>");
            }
            end_turn(out, true);
            break;
        }
        return out;
    }

    void write_answer(chat_pieces& out, const chatml_turn& turn, bool is_asked, bool is_last) const {
        constexpr std::string_view mark = "</think>";
        std::string_view said = turn.content;
        std::string_view thought;
        const std::size_t end = said.find(mark);
        if (facts_->thoughts != thought_rule::text && end != std::string_view::npos) {
            thought = without_line_ends(thought_before(said.substr(0, end)), true);
            said = without_line_ends(said.substr(said.rfind(mark) + mark.size()), false);
        }
        said = facts_->strips_answers ? without_line_ends(said, false) : said;
        const bool may_think = facts_->thoughts == thought_rule::since_question && is_asked;
        write_header(out, "assistant");
        if (may_think && (is_last || !thought.empty() || facts_->thinks_always)) {
            out.write_literal("<think>\n");
            out.write(thought);
            out.write_literal("\n</think>\n\n");
            out.write(without_line_ends(said, false));
        } else {
            out.write(said);
        }
        bool follows = facts_->parts_thoughts ? !turn.content.empty() : !said.empty();
        for (const chatml_turn::call& call : turn.calls) {
            out.write(follows ? "\n" : "");
            out.write_literal("<tool_call>\n{\"name\": \"");
            out.write(call.name);
            out.write("\", \"arguments\": ");
            out.write(call.arguments);
            out.write_literal("}\n</tool_call>");
            follows = true;
        }
        end_turn(out, true);
    }

    /// What follows the last mark that begins a thought.
    [[nodiscard]] static std::string_view thought_before(std::string_view text) noexcept {
        constexpr std::string_view mark = "<think>";
        const std::size_t begin = text.rfind(mark);
        return begin == std::string_view::npos ? text : text.substr(begin + mark.size());
    }
    [[nodiscard]] static std::string_view without_line_ends(std::string_view text, bool at_end) noexcept {
        text.remove_prefix((std::min)(text.find_first_not_of('\n'), text.size()));
        return at_end ? text.substr(0, text.find_last_not_of('\n') + 1) : text;
    }

    [[nodiscard]] chat_pieces plain_turn(std::string_view role, std::string_view content) const {
        chat_pieces made(*text_);
        write_header(made, role);
        made.write(content);
        end_turn(made, true);
        return made;
    }
    static void write_header(chat_pieces& out, std::string_view role) {
        out.mark("<|im_start|>");
        out.write(role);
        out.write("\n");
    }
    static void end_turn(chat_pieces& out, bool with_mark) {
        if (with_mark) {
            out.mark("<|im_end|>");
        }
        out.write("\n");
    }

    std::shared_ptr<const chatml_facts> facts_;
    const tokenizer* text_;
    std::vector<std::string> tools_;
    chat_thinking thinking_;
    bool has_begun_ = false;
    bool is_asked_;          ///< there was a question
    bool is_counted_ = true; ///< all tokens of the session are known
    std::vector<chatml_turn> open_;
    std::optional<std::size_t> cut_; ///< where what was taken is no longer the dialog
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

// ---- bitnet/text/tool_form.hpp ----
// tool_form: how functions are declared, calls written and results told outside of ChatML.
#ifndef BITNET_TEXT_TOOL_FORM_HPP
#define BITNET_TEXT_TOOL_FORM_HPP

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
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI {

/// A dialog that grows turn by turn while a session follows it. What take() returns, call after call, are the tokens of
/// the whole dialog: no token has to be fed to the session again.
///
///     dialog.add({"user", question});
///     dialog.add_prompt();
///     session.feed(*dialog.take());
///     ... the session's answer, up to a stop token or until it is interrupted ...
///     dialog.end_answer(stopped);      // and the next question
///
/// Templates of models that think leave thoughts out once another question follows. With end_answer(answer, stopped) a
/// dialog does so, too, and before it is fed again the session has to forget what is no longer part of it:
///
///     session.rewind(dialog.kept());
///     session.feed(*dialog.take());
///
/// All else of an answer remains the tokens that the model generated; encoding its text again may give others.
/// Where memory ends, add() and take() return errc::out_of_memory and the dialog is as before. If it ends in one of the
/// functions that return nothing, they do so from then on, because a part is missing: assign a copy or a new dialog.
/// Borrows the tokenizer, which must outlive it. Copyable: assigning a copy takes turns back. Usually made by
/// chat_template::dialog.
class chat_dialog {
public:
    chat_dialog(chat_format format, const tokenizer& text, bool begin_with_bos) noexcept
        : rule_(&detail::rule_of(format)), tokenizer_(&text), pieces_(text) {
        if (begin_with_bos && text.bos()) {
            append([&] { pieces_.mark(*text.bos()); });
        }
    }
    chat_dialog(chat_format, tokenizer&&, bool) = delete; // would dangle

    /// Appends a whole turn. Results of calls, of the role "tool", may share one with those before them.
    /// \return errc::invalid_argument for a role that the format does not have, and for calls that it cannot write.
    [[nodiscard]] result<void> add(const chat_message& message) {
        return form_ != nullptr ? detail::guarded([&] { return add_with_tools(message); }) : add_one(message);
    }

    /// Appends the beginning of the assistant's turn, which the model is to continue.
    void add_prompt() noexcept {
        if (!tools_.empty() && is_complete_) {
            is_complete_ = detail::guarded([&] { return declare({"assistant", {}}); }).has_value();
        }
        append([&] {
            if (own_) {
                change([](detail::chatml_turns& next, detail::chat_pieces& settled) {
                    next.add_prompt(settled);
                    return true;
                });
            } else {
                write_header("assistant");
            }
        });
    }

    /// Ends a turn that the model wrote. `stopped`: its last token is a stop token, which serves as the mark that
    /// ends a turn; otherwise that mark is appended. The answer stays in the dialog as it is, its thoughts too, and
    /// kept() counts no more.
    void end_answer(bool stopped) noexcept {
        append([&] {
            if (own_) {
                change([](detail::chatml_turns& next, detail::chat_pieces& settled) {
                    next.freeze(settled);
                    return true;
                });
            }
            end_turn(!stopped);
        });
    }
    /// The same with the answer's tokens, the stop token not among them, so that its thoughts can be left out later. An
    /// answer that ends in the midst of a thought has no other content.
    /// \pre the prompt was taken
    void end_answer(std::span<const token> answer, bool stopped) noexcept {
        append([&] {
            const std::string text = tokenizer_->decode(answer, {.follows_text = true});
            bool is_kept = false;
            if (own_) {
                change([&](detail::chatml_turns& next, detail::chat_pieces&) {
                    return is_kept = next.end_answer(text, stopped);
                });
            }
            if (own_ && !is_kept) {
                change([](detail::chatml_turns& next, detail::chat_pieces& settled) {
                    next.freeze(settled);
                    return true;
                });
            }
            if (!is_kept) {
                end_turn(!stopped);
            }
            position_ += answer.size() + (stopped ? 1 : 0);
        });
    }

    /// How many of the session's tokens, those taken and those of the answers, are part of the dialog still. The
    /// session is to forget the others before it is fed what take() returns: any_session::rewind().
    [[nodiscard]] std::size_t kept() const noexcept { return own_ ? own_->kept(position_) : position_; }

    /// The tokens since the last call. \return what tokenizer::encode returns; the dialog is as before then.
    [[nodiscard]] result<std::vector<token>> take() {
        return detail::guarded([&]() -> result<std::vector<token>> {
            std::vector<token> tokens;
            auto done = is_complete_ ? pieces_.encode(tokens) : detail::out_of_memory();
            const std::size_t begin = kept();
            if (done && own_) {
                done = own_->take(begin, tokens);
            }
            if (!done) {
                return failed(done);
            }
            position_ = begin + tokens.size();
            pieces_.clear();
            return tokens;
        });
    }

    /// Whether no part is missing for want of memory.
    [[nodiscard]] bool is_complete() const noexcept { return is_complete_; }

    /// What take() would return, for display: control tokens as they are spelled. Throws std::bad_alloc as a
    /// std::string does.
    [[nodiscard]] std::string text() const { return pieces_.text() + (own_ ? own_->text() : std::string()); }

private:
    friend class chat_template;

    [[nodiscard]] result<void> add_one(const chat_message& message) {
        if (auto known = accepts(message); !known) {
            return known;
        }
        const bool text_was_due = text_due_;
        result<void> added;
        const bool written = is_complete_ && pieces_.try_to([&] {
            if (own_) {
                change([&](detail::chatml_turns& next, detail::chat_pieces& settled) {
                    added = next.add(message, settled);
                    return added.has_value();
                });
            } else {
                write_turn(message);
            }
        });
        if (!written) {
            text_due_ = text_was_due;
            return detail::out_of_memory();
        }
        return added;
    }

    /// What add() does where `form_` is how calls are written.
    [[nodiscard]] result<void> add_with_tools(const chat_message& message) {
        if (!tools_.empty()) {
            chat_dialog next = *this; // so that nothing is declared if the message cannot follow
            const auto is_part = next.declare(message);
            auto done = !is_part ? failed(is_part) : *is_part ? result<void>() : next.add_with_tools(message);
            if (done) {
                *this = std::move(next);
            }
            return done;
        }
        if (message.role == "tool") {
            return add_result(message.content);
        }
        if (message.calls.empty() || message.role != "assistant") {
            return add_one(message);
        }
        return add_calls(message);
    }
    [[nodiscard]] result<void> add_result(std::string_view text) {
        switch (form_->syntax) {
        case tool_syntax::llama3:
            return add_one({"ipython", words_->outcome(text, form_->syntax)});
        case tool_syntax::falcon3:
            return add_unended("assistant", words_->outcome(text, form_->syntax));
        default:
            return add_one({"user", detail::as_tool_response(text)});
        }
    }
    [[nodiscard]] result<void> add_calls(const chat_message& message) {
        if (form_->has_one_call() && message.calls.size() != 1) {
            return detail::error_saying(errc::invalid_argument,
                                        {"chat format ", rule_->name, ": a message has ", message.calls.size(),
                                         " calls of tools, the model's template writes one"});
        }
        std::vector<std::string> texts;
        std::vector<chat_tool_call> calls(message.calls.begin(), message.calls.end());
        texts.reserve(calls.size());
        for (chat_tool_call& call : calls) {
            const bool is_respelled = form_->syntax != tool_syntax::marked;
            auto written = is_respelled ? words_->arguments(call.arguments) : std::string(call.arguments);
            if (!written && written.error().code == errc::out_of_memory) {
                return failed(written);
            }
            call.arguments = written ? std::string_view(texts.emplace_back(*std::move(written))) : call.arguments;
        }
        std::string content(form_->has_one_call() ? std::string_view{} : message.content);
        detail::append_calls(content, {message.role, message.content, calls}, *form_);
        return add_one({message.role, content});
    }

    /// Declares the functions in front of the first message, or in it. \return whether it is part of that
    [[nodiscard]] result<bool> declare(const chat_message& first) {
        if (form_->syntax == tool_syntax::llama3) {
            return declare_in_question(first);
        }
        const bool is_led = first.role == "system";
        const std::string_view content = is_led ? first.content : std::string_view{};
        auto added = add_one({"system", form_->syntax == tool_syntax::falcon3
                                            ? words_->declaration(content, tools_, form_->syntax)
                                            : detail::declared_tools(content, tools_)});
        return declared(added, is_led);
    }
    /// The same in the first question, which a turn of the system's precedes that says so.
    [[nodiscard]] result<bool> declare_in_question(const chat_message& first) {
        const bool is_led = first.role == "system";
        if (!is_led_) {
            const std::string_view content = is_led ? detail::stripped(first.content) : std::string_view{};
            auto added = add_unstripped("system", std::string("Environment: ipython\n\n").append(content));
            is_led_ = added.has_value();
            if (!added || is_led) {
                return added ? result<bool>(true) : failed(added);
            }
        }
        const bool is_question = first.role == "user";
        if (is_led) {
            auto added = add_one(first);
            return added ? result<bool>(true) : failed(added);
        }
        const std::string_view content = is_question ? detail::stripped(first.content) : std::string_view{};
        return declared(add_unstripped("user", words_->declaration(content, tools_, form_->syntax)), is_question);
    }
    [[nodiscard]] result<bool> declared(const result<void>& added, bool is_part) {
        if (!added) {
            return failed(added);
        }
        tools_.clear();
        return is_part;
    }

    /// A turn whose content is written as it is.
    [[nodiscard]] result<void> add_unstripped(std::string_view role, std::string_view content) {
        return add_written([&] {
            write_header(role);
            pieces_.write(content);
            end_turn(true);
        });
    }
    /// A turn of Falcon3's assistant without the mark that ends its answers.
    [[nodiscard]] result<void> add_unended(std::string_view role, std::string_view content) {
        return add_written([&] {
            if (std::exchange(text_due_, false)) {
                pieces_.write(rule_->after_turn);
            }
            write_header(role);
            pieces_.write(content);
            pieces_.write(rule_->after_turn);
        });
    }
    template <class Work> [[nodiscard]] result<void> add_written(Work&& work) {
        const bool text_was_due = text_due_;
        if (is_complete_ && pieces_.try_to(work)) {
            return {};
        }
        text_due_ = text_was_due;
        return detail::out_of_memory();
    }

    template <class Work> void append(Work&& work) noexcept { is_complete_ = is_complete_ && pieces_.try_to(work); }

    /// Calls work(turns, settled) on copies, and takes them if it returns true. \pre own_
    template <class Work> void change(Work&& work) {
        detail::chatml_turns next = *own_;
        detail::chat_pieces settled(*tokenizer_);
        if (work(next, settled)) {
            pieces_.append(settled);
            *own_ = std::move(next);
        }
    }

    [[nodiscard]] result<void> accepts(const chat_message& message) const {
        const bool has_calls = own_ && own_->facts().has_calls;
        if (!detail::has_role(rule_->format, message.role) || (own_ && !own_->has_role(message.role))) {
            return detail::error_saying(errc::invalid_argument,
                                        {"chat format ", rule_->name, " has no role ", detail::quoted{message.role}});
        }
        if (!message.calls.empty() && (!has_calls || message.role != "assistant")) {
            return detail::error_saying(errc::invalid_argument,
                                        {"chat format ", rule_->name,
                                         has_calls ? "" : ", as the model's template has it,",
                                         " has no calls of tools in messages of ", detail::quoted{message.role}});
        }
        return {};
    }

    void write_turn(const chat_message& message) {
        if (std::exchange(text_due_, false)) {
            pieces_.write(rule_->after_turn);
        }
        write_header(message.role);
        pieces_.write(rule_->strips_content ? detail::stripped(message.content) : message.content);
        if (rule_->ends_answers_only && message.role != "assistant") {
            pieces_.write(rule_->after_turn);
        } else {
            end_turn(true);
        }
    }

    void write_header(std::string_view role) {
        if (!rule_->header_begin.empty()) {
            pieces_.mark(rule_->header_begin);
        }
        switch (rule_->role) {
        case detail::role_spelling::as_given:
            pieces_.write(role);
            break;
        case detail::role_spelling::capitalized:
            pieces_.write(detail::capitalized(role));
            break;
        case detail::role_spelling::mark:
            pieces_.mark(detail::sentence({"<|", role, "|>"}));
            break;
        }
        if (!rule_->header_end.empty()) {
            pieces_.mark(rule_->header_end);
        }
        pieces_.write(rule_->after_header);
    }

    void end_turn(bool with_mark) {
        if (with_mark && rule_->turn_end.empty()) {
            pieces_.mark(tokenizer_->eos().value_or(no_token));
        } else if (with_mark) {
            pieces_.mark(rule_->turn_end);
        }
        text_due_ = rule_->ends_answers_only;
        if (!text_due_) {
            pieces_.write(rule_->after_turn);
        }
    }

    const detail::chat_format_rule* rule_;
    const tokenizer* tokenizer_;
    detail::chat_pieces pieces_;
    std::optional<detail::chatml_turns> own_;   ///< of the file's own template, if it says more than the format
    const tool_form* form_ = nullptr;           ///< how calls are written, if `own_` does not see to it; null: not
    const detail::tool_words* words_ = nullptr; ///< for all forms but `marked`
    std::string tools_;                         ///< to be declared as `form_` has it, unless that was done
    bool is_led_ = false;                       ///< llama3: the system's turn that precedes the declaration is written
    std::size_t position_ = 0;                  ///< tokens taken, and those of answers
    bool text_due_ = false;                     ///< `after_turn` of an answer, if another turn follows
    bool is_complete_ = true;
};

} // namespace bitnet::inline BITNET_ABI

#endif

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI {

/// Which format is in use, and how that was decided.
struct chat_format_choice {
    chat_format format = chat_format::bitnet;
    bool inferred = false;  ///< from architecture and vocabulary: neither the caller nor a template of the file says so
    bool corrected = false; ///< the file's template is known to be wrong, and not what is used
    std::string why;        ///< a sentence for people
};

/// What a dialog is opened with.
struct chat_options {
    std::string_view tools = {}; ///< a JSON array of what the model may call, as OpenAI's interface has it; empty: none
    chat_thinking thinking = chat_thinking::by_template;
    /// Where the template has no place for tools that is known here: they are declared all the same, as
    /// tool_syntax::marked has it.
    bool tools_in_words = false;
    /// How functions are declared, calls written and results told, in place of what the template says.
    tool_syntax syntax = tool_syntax::by_template;
};

/// The chat format of a model. Immutable: any number of threads may use it at a time. Borrows the tokenizer, which must
/// outlive it; the file may be closed. Made by open(), which text/open_chat_template.hpp defines.
class chat_template {
public:
    /// Recognises tokenizer.chat_template by what it contains; without one, infers the format from the architecture and
    /// the vocabulary if these leave no doubt. `name`, one of chat_format_names, is used instead of all that.
    /// Include <bitnet/text/open_chat_template.hpp> to call it.
    /// A ChatML template is read further, because there are many: what it begins answers with, what becomes of
    /// thoughts, the words around a list of tools. choice().why names what of it is not known. \return
    /// errc::unknown_chat_template for a template, a name or a model that is not known: a dialog in a wrong format
    /// gives answers that look right and are not. errc::bad_vocabulary if the format's control tokens are missing;
    /// errc::wrong_type.
    [[nodiscard]] static inline result<chat_template> open(const gguf_file& file, const tokenizer& text,
                                                           std::string_view name = {});
    static result<chat_template> open(const gguf_file&, tokenizer&&, std::string_view = {}) = delete; // would dangle

    [[nodiscard]] chat_format format() const noexcept { return choice_.format; }
    [[nodiscard]] const chat_format_choice& choice() const noexcept { return choice_; }

    /// The tokens that end an answer: those that end a turn in this format, and tokenizer::stop_tokens(); ascending.
    [[nodiscard]] const std::vector<token>& stop_tokens() const noexcept { return stops_; }
    [[nodiscard]] bool is_stop(token id) const noexcept {
        for (const token stop : stops_) {
            if (stop == id) {
                return true;
            }
        }
        return false;
    }

    /// Whether dialogs can have tools, calls of them and their results as the file's template writes them: a ChatML
    /// template, whose own words are used, LLaMA-3.1's or Falcon3's.
    [[nodiscard]] bool has_tools() const noexcept { return has_own_tools() || syntax_ != tool_syntax::marked; }
    /// How answers have calls.
    [[nodiscard]] const tool_form& calls(tool_syntax chosen = tool_syntax::by_template) const noexcept {
        return detail::form_of(chosen != tool_syntax::by_template ? chosen : syntax_);
    }
    /// Whether the file's template knows of thoughts, between <think> and </think> in front of an answer.
    [[nodiscard]] bool has_thoughts() const noexcept { return facts_ != nullptr && facts_->has_thoughts(); }
    /// What an answer is prompted with after the header of its turn, such as an empty thought, which keeps a model from
    /// thinking, or "<think>\n"; empty in most formats.
    [[nodiscard]] std::string_view prompt(chat_thinking thinking = chat_thinking::by_template) const noexcept {
        return facts_ != nullptr ? std::string_view(facts_->prompt(thinking)) : std::string_view{};
    }

    /// An empty dialog, for a session.
    [[nodiscard]] chat_dialog dialog() const { return opened({}, chat_thinking::by_template); }
    /// The same with tools, or told whether to think.
    /// \return errc::invalid_argument for tools that are no array or that the template has no place for, and for a
    /// model that is to think and cannot; what json_document::parse returns.
    [[nodiscard]] result<chat_dialog> open_dialog(const chat_options& options) const {
        return detail::guarded([&]() -> result<chat_dialog> {
            if (auto accepted = accepts(options); !accepted) {
                return failed(accepted);
            }
            if (has_own_tools()) {
                auto listed = options.tools.empty() ? result<std::vector<std::string>>(std::vector<std::string>())
                                                    : facts_->to_json_list(options.tools, "the list of tools");
                return listed ? result<chat_dialog>(opened(*std::move(listed), options.thinking)) : failed(listed);
            }
            chat_dialog made = opened({}, options.thinking);
            if (!options.tools.empty() || options.syntax != tool_syntax::by_template) {
                made.form_ = &calls(options.syntax);
            }
            made.tools_ = options.tools;
            if (!options.tools.empty() && made.form_->syntax != tool_syntax::marked) {
                auto listed = words_->list(options.tools, made.form_->syntax);
                if (!listed) {
                    return failed(listed);
                }
                made.tools_ = *std::move(listed);
            }
            return made;
        });
    }

    /// A whole dialog as tokens, BOS included; `with_prompt`: the assistant is to answer. Contents are text: control
    /// tokens spelled in them do not become control tokens. (User-defined tokens do, such as <think> in Qwen's models.)
    /// \return errc::invalid_argument for a role that the format does not have; what open_dialog() and
    /// tokenizer::encode return.
    [[nodiscard]] result<std::vector<token>> encode(std::span<const chat_message> messages, bool with_prompt = true,
                                                    const chat_options& options = {}) const {
        auto written = write(messages, with_prompt, options);
        if (!written) {
            return failed(written);
        }
        return written->take();
    }
    /// The same as text, for display: encoding that text may give other tokens.
    [[nodiscard]] result<std::string> render(std::span<const chat_message> messages, bool with_prompt = true,
                                             const chat_options& options = {}) const {
        return detail::guarded([&]() -> result<std::string> {
            auto written = write(messages, with_prompt, options);
            if (!written) {
                return failed(written);
            }
            return written->text();
        });
    }

private:
    chat_template(const tokenizer& text, chat_format_choice choice, std::vector<token> stops, bool begins_with_bos,
                  std::shared_ptr<const detail::chatml_facts> facts, tool_syntax syntax,
                  const detail::tool_words& words) noexcept
        : text_(&text), choice_(std::move(choice)), stops_(std::move(stops)), begins_with_bos_(begins_with_bos),
          facts_(std::move(facts)), syntax_(syntax), words_(&words) {}

    [[nodiscard]] bool has_own_tools() const noexcept { return facts_ != nullptr && facts_->tools.has_value(); }

    [[nodiscard]] chat_dialog opened(std::vector<std::string> tools, chat_thinking thinking) const {
        chat_dialog made(choice_.format, *text_, begins_with_bos_);
        if (facts_ != nullptr) {
            made.own_.emplace(facts_, *text_, std::move(tools), thinking);
        } else if (syntax_ != tool_syntax::marked) {
            made.form_ = &calls();
        }
        made.words_ = words_;
        return made;
    }

    [[nodiscard]] result<void> accepts(const chat_options& options) const {
        const bool is_of_format = options.syntax == tool_syntax::llama3    ? format() == chat_format::llama3
                                  : options.syntax == tool_syntax::falcon3 ? format() == chat_format::falcon3
                                                                           : true;
        if (!is_of_format) {
            return error{errc::invalid_argument,
                         detail::sentence({"chat format ", name_of(format()), ": calls of tools are to be written as ",
                                           options.syntax == tool_syntax::llama3 ? "LLaMA-3.1's" : "Falcon3's",
                                           " are, whose chat format is another one"})};
        }
        const bool is_chosen = options.syntax != tool_syntax::by_template;
        if (!options.tools.empty() && !has_tools() && !options.tools_in_words && !is_chosen) {
            return error{errc::invalid_argument,
                         detail::sentence({"chat format ", name_of(format()), ": there are tools, but ",
                                           facts_ != nullptr ? std::string_view(facts_->why_no_tools)
                                                             : "the format has no place for them"})};
        }
        if (options.thinking == chat_thinking::on && !has_thoughts()) {
            return error{errc::invalid_argument,
                         detail::sentence({"chat format ", name_of(format()),
                                           ": the model is to think, but its template knows of no thoughts"})};
        }
        return {};
    }

    [[nodiscard]] result<chat_dialog> write(std::span<const chat_message> messages, bool with_prompt,
                                            const chat_options& options) const {
        auto written = open_dialog(options);
        if (!written) {
            return failed(written);
        }
        for (const chat_message& message : messages) {
            if (auto done = written->add(message); !done) {
                return failed(done);
            }
        }
        if (with_prompt) {
            written->add_prompt();
        }
        return written->is_complete() ? std::move(written) : detail::out_of_memory();
    }

    const tokenizer* text_;
    chat_format_choice choice_;
    std::vector<token> stops_;
    bool begins_with_bos_ = false;
    std::shared_ptr<const detail::chatml_facts> facts_; ///< null unless the format is ChatML by the file's own template
    tool_syntax syntax_;                                ///< of calls; `marked` also where the file says nothing
    const detail::tool_words* words_;
};

} // namespace bitnet::inline BITNET_ABI

#endif

#include <cassert>
#include <concepts>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

class byte_source;
class gguf_file;
class model_file;
struct any_cpu;
struct conversation_options;
struct hyper_parameters;
struct memory_estimate;

namespace detail {

class batch_base;
class conversation_base;
class scheduler_base;
class session_base;

/// What any_model holds: what can be asked of a model, and what is compiled elsewhere.
class model_base {
public:
    model_base(const model_base&) = delete;
    model_base& operator=(const model_base&) = delete;
    virtual ~model_base() = default;

    /// \param pool null: one of its own
    [[nodiscard]] virtual result<std::unique_ptr<session_base>> open_session(const session_options& options,
                                                                             const pool_ref* pool) const = 0;
    [[nodiscard]] virtual result<std::unique_ptr<kv_pool_base>> open_kv_pool(std::uint64_t bytes,
                                                                             const memory_source* memory) const = 0;
    [[nodiscard]] virtual result<chat_template> open_chat(std::string_view format) const = 0;
    [[nodiscard]] virtual screen_state head_screen() const noexcept = 0;

    /// Set when the model is opened.
    struct description {
        const hyper_parameters* parameters = nullptr;
        const gguf_file* file = nullptr;
        const tokenizer* text = nullptr; ///< null without one
        const sampling_advice* sampling = nullptr;
        std::span<const std::string> notes;
        std::string_view isa;
        std::string_view layout;
        std::uint64_t repacked_bytes = 0;
        std::uint64_t screen_bytes = 0;
        activation_rounding activations = activation_rounding::per_token;
    };
    [[nodiscard]] const description& about() const noexcept { return about_; }

protected:
    model_base() noexcept = default;

    description about_;
};

} // namespace detail

class any_model;

/// Opens models with the policies of a ladder. Declared here and defined by <bitnet/run/open_model.hpp>, so that one
/// source of a program can hold all that is expensive to compile, and all others include <bitnet/any.hpp> alone:
///
///     #include <bitnet/bitnet.hpp>
///     template struct bitnet::compiled_for<bitnet::any_cpu>; // in one source of the program
template <class Ladder> struct compiled_for {
    [[nodiscard]] static result<any_model> open(std::string_view utf8_path, const open_options& options,
                                                std::string_view isa);
    [[nodiscard]] static result<any_model> open(byte_source source, const open_options& options, std::string_view isa);
    [[nodiscard]] static result<any_model> open(model_file source, const open_options& options, std::string_view isa);

    /// See any_batch::open, scheduler::open and conversation::open: compiled by who calls them in a program that has
    /// all in one source. \param pool null: one of its own
    [[nodiscard]] static result<std::unique_ptr<detail::batch_base>>
    open_batch(const any_model& model, const batch_options& options, const pool_ref* pool);
    [[nodiscard]] static result<std::unique_ptr<detail::scheduler_base>>
    open_scheduler(const any_model& model, const scheduler_options& options, const pool_ref* pool);
    [[nodiscard]] static result<std::unique_ptr<detail::conversation_base>>
    open_conversation(const any_model& model, const conversation_options& options, const pool_ref* pool);

    /// See estimate_memory in memory_estimate.hpp.
    [[nodiscard]] static result<memory_estimate> estimate(std::string_view utf8_path, const open_options& options,
                                                          const session_options& of_session, std::string_view isa);
    [[nodiscard]] static result<memory_estimate> estimate(const model_file& source, const open_options& options,
                                                          const session_options& of_session, std::string_view isa);
};

/// An opened model file: hyper-parameters, tokenizer and weights. Immutable, shared by any number of sessions and
/// threads. A plain type that a class can hold; move-only; what it gives stays valid when it moves.
/// Memory: the file's pages as the system maps them or a copy (see page_mode), norms, tokenizer, what had to be
/// repacked, and the screen of the head (see lm_head_mode).
///
///     class storyteller {
///         bitnet::any_model model_;
///         bitnet::any_session session_;   // after model_: it borrows it
///     };
class any_model {
public:
    /// Opens what is at `utf8_path`, a GGUF file or the folder of a Hugging Face checkpoint, with the first policy of
    /// `Ladder` that this CPU can run, or with the one named `isa`. Files that are mapped must not be shortened
    /// meanwhile: see byte_source and open_options::pages. \return errc::unsupported_cpu if there is none or it is not
    /// available, and any error of model_file::open, hyper_parameters::read, tokenizer::open, the pool's open and
    /// weights::open: each names its place.
    template <class Ladder = any_cpu>
    [[nodiscard]] static result<any_model> open(std::string_view utf8_path, const open_options& options = {},
                                                std::string_view isa = {}) {
        return compiled_for<Ladder>::open(utf8_path, options, isa);
    }
    /// The same from the bytes of a GGUF file, which the model takes over: borrowed memory, a callback's bytes, a file
    /// that was read.
    template <class Ladder = any_cpu, class Source>
    requires std::same_as<Source, byte_source> || std::same_as<Source, model_file>
    [[nodiscard]] static result<any_model> open(Source source, const open_options& options = {},
                                                std::string_view isa = {}) {
        return compiled_for<Ladder>::open(std::move(source), options, isa);
    }

    [[nodiscard]] const hyper_parameters& parameters() const noexcept { return *base_->about().parameters; }
    [[nodiscard]] const gguf_file& file() const noexcept { return *base_->about().file; }
    [[nodiscard]] bool has_text() const noexcept { return base_->about().text != nullptr; }
    /// \pre has_text(): the model was opened with open_options::load_tokenizer.
    [[nodiscard]] const tokenizer& text() const noexcept {
        assert(has_text());
        return *base_->about().text;
    }
    /// How the model takes dialogs; `format`, one of chat_format_names, is used instead of what the file says. Borrows
    /// the model. \pre has_text(). \return what chat_template::open returns.
    [[nodiscard]] result<chat_template> chat(std::string_view format = {}) const { return base_->open_chat(format); }

    /// Memory for the keys and values of several sessions of this model: as many pages of 256 positions as `bytes`
    /// hold. \param memory null: as the model's \return errc::invalid_argument if that is none, errc::out_of_memory.
    [[nodiscard]] result<kv_pool> open_kv_pool(std::uint64_t bytes, const memory_source* memory = nullptr) const {
        auto made = base_->open_kv_pool(bytes, memory);
        return made ? result<kv_pool>(kv_pool(*std::move(made))) : failed(made);
    }

    /// How the file advises to choose tokens; sampler_options::advised_by() follows it.
    [[nodiscard]] const sampling_advice& sampling() const noexcept { return *base_->about().sampling; }

    /// What was decided or passed over while opening, a sentence each: an inferred pre-tokenizer, repacked tensors, a
    /// tensor that the architecture does not use.
    [[nodiscard]] std::span<const std::string> notes() const noexcept { return base_->about().notes; }
    [[nodiscard]] std::string_view isa() const noexcept { return base_->about().isa; } ///< "avx2", ...
    /// The layout in which ternary tensors are multiplied: "i2_s", ...
    [[nodiscard]] std::string_view layout() const noexcept { return base_->about().layout; }
    /// Memory for tensors that the file has in another layout; 0 if all are used as they are mapped.
    [[nodiscard]] std::uint64_t repacked_bytes() const noexcept { return base_->about().repacked_bytes; }
    /// Memory for the screen of the head, once it is made; 0 without one, and if the file holds it.
    [[nodiscard]] std::uint64_t screen_bytes() const noexcept { return base_->about().screen_bytes; }
    /// Whether sessions search through a screen of the head: see lm_head_mode. Any thread may ask.
    [[nodiscard]] screen_state head_screen() const noexcept { return base_->head_screen(); }
    /// What happens to activations before ternary products, never by_model: see open_options::activations.
    [[nodiscard]] activation_rounding activations() const noexcept { return base_->about().activations; }

    /// The library's own: for sessions and batches, and for compiled_for.
    [[nodiscard]] const detail::model_base& base() const noexcept { return *base_; }
    explicit any_model(std::unique_ptr<const detail::model_base> base) noexcept : base_(std::move(base)) {}

private:
    std::unique_ptr<const detail::model_base> base_;
};

} // namespace bitnet::inline BITNET_ABI

#endif

// ---- bitnet/run/any_session.hpp ----
// any_session: one conversation with a model: its position, its KV cache and its working memory.
#ifndef BITNET_RUN_ANY_SESSION_HPP
#define BITNET_RUN_ANY_SESSION_HPP

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

// ---- bitnet/model/screen_statistics.hpp ----
// screen_statistics: what finding the largest logits through a screen has cost.
#ifndef BITNET_MODEL_SCREEN_STATISTICS_HPP
#define BITNET_MODEL_SCREEN_STATISTICS_HPP

#include <cstdint>

namespace bitnet::inline BITNET_ABI {

/// What a session's screened steps cost.
struct screen_statistics {
    std::uint64_t steps = 0;         ///< times that largest logits were asked for
    std::uint64_t full_passes = 0;   ///< of these, how often the whole head was read instead
    std::uint64_t rescored_rows = 0; ///< rows of the head that were read in the others
    std::uint64_t bytes_read = 0;    ///< of the screen and the head together
};

} // namespace bitnet::inline BITNET_ABI

#endif

// ---- bitnet/run/logprobs.hpp ----
// token_logprob, logprobs_among: natural logarithms of the probabilities that logits stand for.
#ifndef BITNET_RUN_LOGPROBS_HPP
#define BITNET_RUN_LOGPROBS_HPP

// ---- bitnet/core/exponential.hpp ----
// exact_quotient and exponential: a / b and e^x with the same bits on every compiler, whatever its float flags.
#ifndef BITNET_CORE_EXPONENTIAL_HPP
#define BITNET_CORE_EXPONENTIAL_HPP

// ---- bitnet/core/fma.hpp ----
// fused_multiply_add: float fma with one rounding on machines that have no such instruction.
#ifndef BITNET_CORE_FMA_HPP
#define BITNET_CORE_FMA_HPP

#include <bit>
#include <cstdint>

BITNET_PRECISE_BEGIN
namespace bitnet::inline BITNET_ABI::detail {

/// a * b + c with one rounding, bit for bit what an fma instruction gives, out of double arithmetic.
///
/// The product of two floats is exact in double (24 + 24 <= 53 bits). Its sum with c is split into the rounded sum and
/// the exact rounding error (Knuth's two-sum); if the error is not zero, the sum is moved to the neighbour with an
/// odd last bit (round to odd), which makes the final conversion to float round as if from the exact value: 53 >= 24 +
/// 2 bits (Boldo and Melquiond, "Emulation of a FMA and correctly rounded sums", 2008). Proven against the hardware
/// instruction by tests/core/fma_test.cpp.
[[nodiscard]] BITNET_ALWAYS_INLINE float exact_fma(float a, float b, float c) noexcept {
    const double product = static_cast<double>(a) * static_cast<double>(b);
    const double addend = static_cast<double>(c);
    const double sum = product + addend;
    const double addend_part = sum - product;
    const double product_part = sum - addend_part;
    const double addend_error = addend - addend_part;
    const double product_error = product - product_part;
    const double rounding_error = product_error + addend_error;
    const auto sum_bits = std::bit_cast<std::uint64_t>(sum);
    const auto error_bits = std::bit_cast<std::uint64_t>(rounding_error);
    constexpr std::uint64_t sign = 0x8000000000000000u;
    constexpr std::uint64_t infinity = 0x7ff0000000000000u;
    const bool inexact = (error_bits & ~sign) != 0;
    const bool even = (sum_bits & 1) == 0;
    const bool finite = (sum_bits & infinity) != infinity;
    // Away from zero when the error has the sum's sign, towards zero when not: the exact value lies on that side.
    const std::uint64_t away = ((sum_bits ^ error_bits) & sign) == 0 ? 1 : ~std::uint64_t{0};
    const std::uint64_t odd = sum_bits + (inexact && even && finite ? away : 0);
    return static_cast<float>(std::bit_cast<double>(odd));
}

/// Arithmetic backends of the float loops: how one multiply-add is made. Both give the same bits.
struct software_fma {
    [[nodiscard]] static BITNET_ALWAYS_INLINE float fma(float a, float b, float c) noexcept {
        return exact_fma(a, b, c);
    }
};
#if defined(__GNUC__) || defined(__clang__)
/// Only inside a target region whose CPU has the instruction; elsewhere it would be a slow library call.
struct hardware_fma {
    [[nodiscard]] static BITNET_ALWAYS_INLINE float fma(float a, float b, float c) noexcept {
        return __builtin_fmaf(a, b, c);
    }
};
#else
using hardware_fma = software_fma;
#endif

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_PRECISE_END

#endif

#include <bit>
#include <cstdint>

BITNET_PRECISE_BEGIN
namespace bitnet::inline BITNET_ABI::detail {

/// a / b. Under -ffast-math a compiler without float_control makes reciprocals of divisors and divisions of products
/// with reciprocals, unless it does not know what it divides.
[[nodiscard]] BITNET_ALWAYS_INLINE float exact_quotient(float a, float b) noexcept {
#if !BITNET_FLOAT_CONTROL
    __asm__("" : "+w"(a), "+w"(b));
#endif
    return a / b;
}

/// e^x within 2 units in the last place; 0 below -87 (never a denormal), e^88 above 88. `Fma` is one of the backends of
/// core/fma.hpp; both give the same bits.
/// n = round(x / ln 2), r = x - n ln 2 in two parts, then e^r by its Taylor series to r^7 (the rest is below
/// (ln 2 / 2)^8 / 8! = 5e-9) and an exact scaling by 2^n.
template <class Fma> [[nodiscard]] BITNET_ALWAYS_INLINE float exponential(float x) noexcept {
    constexpr float shift = 12582912.0f; // 1.5 * 2^23: adding it leaves the rounded integer in the low bits
    const float upper = x > 88.0f ? 88.0f : x;
    const float c = upper < -87.0f ? -87.0f : upper;
    const float shifted = Fma::fma(c, 0x1.715476p+0f, shift);
    const float n = shifted - shift;
    const float r_high = Fma::fma(n, -0x1.62e43p-1f, c);
    const float r = Fma::fma(n, 0x1.05c61p-29f, r_high);
    float p = 0x1.a01a02p-13f; // 1/7!
    p = Fma::fma(p, r, 0x1.6c16c2p-10f);
    p = Fma::fma(p, r, 0x1.111112p-7f);
    p = Fma::fma(p, r, 0x1.555556p-5f);
    p = Fma::fma(p, r, 0x1.555556p-3f);
    p = Fma::fma(p, r, 0.5f);
    p = Fma::fma(p, r, 1.0f);
    p = Fma::fma(p, r, 1.0f);
    const std::uint32_t exponent = (std::bit_cast<std::uint32_t>(shifted) - std::bit_cast<std::uint32_t>(shift)) << 23;
    const float scaled = std::bit_cast<float>(std::bit_cast<std::uint32_t>(p) + exponent);
    const std::uint32_t kept = x < -87.0f ? 0u : 0xffffffffu; // a mask, which vectorises; a choice does not
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(scaled) & kept);
}

/// exponential<software_fma>(), which is too long to be inlined wherever it is needed.
[[nodiscard]] BITNET_NOINLINE inline float software_exponential(float x) noexcept {
    return exponential<software_fma>(x);
}

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_PRECISE_END

#endif

// ---- bitnet/core/fixed_point.hpp ----
// Logarithm, exponential and square root by integers: the same bits on every compiler, whatever its float flags and
// libm.
#ifndef BITNET_CORE_FIXED_POINT_HPP
#define BITNET_CORE_FIXED_POINT_HPP

#include <bit>
#include <cassert>
#include <cmath>
#include <cstdint>

namespace bitnet::inline BITNET_ABI::detail {

/// The upper 64 bits of a * b.
[[nodiscard]] constexpr std::uint64_t multiply_high(std::uint64_t a, std::uint64_t b) noexcept {
    constexpr std::uint64_t low_half = 0xffffffffu;
    const std::uint64_t low = (a & low_half) * (b & low_half);
    const std::uint64_t cross1 = (a >> 32) * (b & low_half);
    const std::uint64_t cross2 = (a & low_half) * (b >> 32);
    const std::uint64_t middle = (low >> 32) + (cross1 & low_half) + (cross2 & low_half);
    return (a >> 32) * (b >> 32) + (cross1 >> 32) + (cross2 >> 32) + (middle >> 32);
}

/// Fraction bits of the logarithms below: 7 bits before the point suffice for any float above 1.
inline constexpr int log2_fraction_bits = 57;

/// log2(x) * 2^57, for 1 <= x < 2^127; wrong by at most 2 units. One bit of the logarithm for each squaring of x.
[[nodiscard]] constexpr std::uint64_t log2_fixed(double x) noexcept {
    const auto bits = std::bit_cast<std::uint64_t>(x);
    assert(bits >= 0x3ff0000000000000u && bits < 0x47e0000000000000u);
    std::uint64_t result = (bits >> 52) - 1023;
    std::uint64_t mantissa = (bits << 11) | std::uint64_t{1} << 63; // [1, 2) as 1.63 bits
    for (int i = 0; i < log2_fraction_bits; ++i) {
        const std::uint64_t square = multiply_high(mantissa, mantissa); // [1, 4) as 2.62 bits
        const bool carry = (square >> 63) != 0;
        result = (result << 1) | (carry ? 1u : 0u);
        mantissa = carry ? square : square << 1;
    }
    return result;
}
[[nodiscard]] constexpr std::uint64_t log2_fixed(float x) noexcept { return log2_fixed(static_cast<double>(x)); }

/// 2^-x * 2^64 for x > 0 given as x * 2^57; wrong by less than 64 units.
/// e^-u = 1 - (u - u^2/2! + u^3/3! - ...), u = fraction(x) ln 2 < 0.7: the 24th term is below 2^-90.
[[nodiscard]] constexpr std::uint64_t exp2_negative_fixed(std::uint64_t x) noexcept {
    constexpr std::uint64_t ln2 = 0xb17217f7d1cf79acu; // * 2^-64
    const std::uint64_t whole = x >> log2_fraction_bits;
    const std::uint64_t u = multiply_high(x << (64 - log2_fraction_bits), ln2);
    std::uint64_t term = u;
    std::uint64_t decrease = u;
    for (std::uint64_t n = 2; n <= 24; ++n) {
        term = multiply_high(term, u) / n;
        decrease = n % 2 == 0 ? decrease - term : decrease + term;
    }
    const std::uint64_t fraction = ~decrease; // 2^64 - decrease, less one unit so that 2^-0 fits
    return whole > 63 ? 0 : fraction >> whole;
}

/// The square root rounded to nearest even, as IEEE 754 and sqrtss have it; a NaN below zero.
/// Under -ffast-math clang makes an estimate of every sqrt that it sees, whatever pragma surrounds it. So the root
/// is taken of the 50-bit integer m * 2^25, where x = m * 2^(e - 23), e even and 1 <= m * 2^-23 < 4: that has 24 bits
/// and one more to round by. (A tie is impossible: an odd root has an odd square.)
[[nodiscard]] inline float exact_square_root(float x) noexcept {
    const auto bits = std::bit_cast<std::uint32_t>(x);
    constexpr std::uint32_t infinity = 0x7f800000u;
    constexpr std::uint32_t smallest_normal = 0x00800000u;
    if ((bits & 0x7fffffffu) == 0 || bits == infinity) {
        return x;
    }
    if (bits > infinity) {
        return std::bit_cast<float>(0x7fc00000u);
    }
    if (bits < smallest_normal) {
        return exact_square_root(x * 0x1p24f) * 0x1p-12f;
    }
    const std::uint32_t odd = ~(bits >> 23) & 1u; // the bias 127 is odd
    const std::uint64_t square = std::uint64_t{(bits & 0x7fffffu) | smallest_normal} << (25 + odd);
    auto root = static_cast<std::uint64_t>(std::sqrt(static_cast<double>(square))); // an estimate will do
    while (root * root > square) {
        --root;
    }
    while ((root + 1) * (root + 1) <= square) {
        ++root;
    }
    const std::uint32_t exponent = ((bits >> 23) + 127 - odd) / 2;
    return std::bit_cast<float>((exponent << 23) + static_cast<std::uint32_t>((root + 1) / 2 - smallest_normal));
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif

#include <cassert>
#include <cstddef>
#include <span>

namespace bitnet::inline BITNET_ABI {

/// The logarithm of a token's probability: softmax(logits), without temperature or any other step of a sampler.
struct token_logprob {
    token id;
    float logprob;
};

} // namespace bitnet::inline BITNET_ABI

BITNET_PRECISE_BEGIN
namespace bitnet::inline BITNET_ABI {

namespace detail {

/// Adds up e^(logit - largest) in double, part after part. Either factor of a product has 24 bits, so that it is exact.
class exponential_sum {
public:
    explicit exponential_sum(float largest) noexcept : largest_(largest) {}

    void add(float logit) noexcept { sum_ = sum_ + static_cast<double>(software_exponential(logit - largest_)); }
    /// Logits whose own sum is `sum`, relative to the largest of them, `logit`.
    void add(float logit, float sum) noexcept {
        const double share = static_cast<double>(software_exponential(logit - largest_));
        sum_ = share > 0.0 ? sum_ + share * static_cast<double>(sum) : sum_;
    }
    [[nodiscard]] float largest() const noexcept { return largest_; }
    [[nodiscard]] double value() const noexcept { return sum_; }

private:
    float largest_;
    double sum_ = 0.0;
};

/// What turns logits into logprobs. The sum begins with the largest logit's 1, so that its logarithm is not below 0;
/// that is found by integers, with an error below 1e-15.
class log_normalizer {
public:
    explicit log_normalizer(const exponential_sum& all) noexcept : largest_(static_cast<double>(all.largest())) {
        const double sum = all.value();
        constexpr double ln2 = 0x1.62e42fefa39efp-1;
        const bool is_sum = sum >= 1.0 && sum < 0x1p62; // logits that are not finite have none
        log_of_sum_ = is_sum ? static_cast<double>(log2_fixed(sum)) * 0x1p-57 * ln2 : sum - sum;
    }
    [[nodiscard]] float logprob(float logit) const noexcept {
        const double below = static_cast<double>(logit) - largest_;
        return static_cast<float>(below - log_of_sum_);
    }

private:
    double largest_;
    double log_of_sum_;
};

} // namespace detail

/// The logprobs relative to `tokens` alone, in their order: of those that a grammar allows, for example. The same bits
/// everywhere; the error is below 4e-6 and a float's rounding. A logit of minus infinity has that logprob, and does not
/// count. \pre out has the size of tokens
inline void logprobs_among(std::span<const scored_token> tokens, std::span<token_logprob> out) noexcept {
    assert(out.size() == tokens.size());
    const detail::default_float_environment environment;
    if (tokens.empty()) {
        return;
    }
    float largest = tokens[0].logit;
    for (const scored_token& each : tokens) {
        largest = each.logit > largest ? each.logit : largest;
    }
    detail::exponential_sum sum(largest);
    for (const scored_token& each : tokens) {
        sum.add(each.logit);
    }
    const detail::log_normalizer normalizer(sum);
    for (std::size_t i = 0; i < tokens.size(); ++i) {
        out[i] = {tokens[i].id, normalizer.logprob(tokens[i].logit)};
    }
}

} // namespace bitnet::inline BITNET_ABI
BITNET_PRECISE_END

#endif

// ---- bitnet/run/sampler.hpp ----
// sampler: chooses the next token from logits. The same seed gives the same tokens on every platform.
#ifndef BITNET_RUN_SAMPLER_HPP
#define BITNET_RUN_SAMPLER_HPP

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

// ---- bitnet/core/checksum.hpp ----
// checksum: 64 bits that show whether bytes are those that were written.
#ifndef BITNET_CORE_CHECKSUM_HPP
#define BITNET_CORE_CHECKSUM_HPP

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace bitnet::inline BITNET_ABI::detail {

/// A hash of bytes that are given piece by piece, at several gigabytes a second: the value does not depend on where the
/// pieces end. Bytes are cut into blocks of eight little-endian words, the last filled up with zeros; word i goes to
/// lane i, lane = rotate(lane ^ word, 29) * an odd constant. value() folds the lanes and the number of bytes in the
/// same way, and mixes. Every step is one to one in each operand, so that a change within one word always shows; others
/// pass with a probability of 2^-64 unless they were made to pass: this is no signature.
class checksum {
public:
    explicit checksum(std::uint64_t seed = 0) noexcept {
        for (std::size_t i = 0; i < lanes; ++i) {
            lanes_[i] = step(seed, i);
        }
    }

    void add(std::span<const std::byte> bytes) noexcept {
        size_ += bytes.size();
        if (held_ != 0) {
            const std::size_t room = block_bytes - held_;
            const auto taken = bytes.first(bytes.size() < room ? bytes.size() : room);
            hold(taken);
            bytes = bytes.subspan(taken.size());
            if (held_ < block_bytes) {
                return;
            }
            add_blocks(rest_.data(), 1);
            held_ = 0;
        }
        const std::size_t whole = bytes.size() / block_bytes;
        add_blocks(bytes.data(), whole);
        hold(bytes.subspan(whole * block_bytes));
    }

    [[nodiscard]] std::uint64_t value() const noexcept {
        checksum last = *this;
        if (held_ != 0) {
            std::memset(last.rest_.data() + held_, 0, block_bytes - held_);
            last.add_blocks(last.rest_.data(), 1);
        }
        std::uint64_t folded = size_;
        for (const std::uint64_t lane : last.lanes_) {
            folded = step(folded, lane);
        }
        folded = (folded ^ (folded >> 32)) * multiplier;
        return folded ^ (folded >> 29);
    }

    [[nodiscard]] static std::uint64_t of(std::span<const std::byte> bytes, std::uint64_t seed = 0) noexcept {
        checksum made(seed);
        made.add(bytes);
        return made.value();
    }

private:
    static constexpr std::size_t lanes = 8;
    static constexpr std::size_t block_bytes = lanes * sizeof(std::uint64_t);
    static constexpr std::uint64_t multiplier = 0x9fb21c651e98df25u; // odd, half of its bits set

    [[nodiscard]] static constexpr std::uint64_t step(std::uint64_t lane, std::uint64_t word) noexcept {
        return std::rotl(lane ^ word, 29) * multiplier;
    }

    void add_blocks(const std::byte* at, std::size_t count) noexcept {
        std::array<std::uint64_t, lanes> now = lanes_; // in registers
        for (std::size_t block = 0; block < count; ++block, at += block_bytes) {
            std::array<std::uint64_t, lanes> words;
            std::memcpy(words.data(), at, block_bytes);
            for (std::size_t i = 0; i < lanes; ++i) {
                now[i] = step(now[i], words[i]);
            }
        }
        lanes_ = now;
    }
    void hold(std::span<const std::byte> bytes) noexcept {
        if (!bytes.empty()) {
            std::memcpy(rest_.data() + held_, bytes.data(), bytes.size());
            held_ += bytes.size();
        }
    }

    std::array<std::uint64_t, lanes> lanes_;
    std::array<std::byte, block_bytes> rest_{};
    std::size_t held_ = 0; ///< bytes in rest_
    std::uint64_t size_ = 0;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

// ---- bitnet/core/sort_first.hpp ----
// sort_first: the first k of n elements, in order. For headers that are too light for <algorithm>.
#ifndef BITNET_CORE_SORT_FIRST_HPP
#define BITNET_CORE_SORT_FIRST_HPP

#include <cstddef>

namespace bitnet::inline BITNET_ABI::detail {

namespace sorting {

template <class T> void exchange(T& a, T& b) noexcept {
    const T kept = a;
    a = b;
    b = kept;
}

/// Moves the element at `hole` down to its place in a heap: heap[i] comes after heap[2 i + 1] and heap[2 i + 2].
template <class T, class Before> void sift_down(T* heap, std::size_t size, std::size_t hole, Before before) noexcept {
    const T moved = heap[hole];
    for (std::size_t child = 2 * hole + 1; child < size; child = 2 * hole + 1) {
        child += child + 1 < size && before(heap[child], heap[child + 1]) ? 1u : 0u;
        if (!before(moved, heap[child])) {
            break;
        }
        heap[hole] = heap[child];
        hole = child;
    }
    heap[hole] = moved;
}

/// A heap of the first k elements so far takes in what comes before its last one, and is sorted in the end.
template <class T, class Before>
void sort_first_by_heap(T* data, std::size_t n, std::size_t k, Before before) noexcept {
    for (std::size_t i = k / 2; i-- > 0;) {
        sift_down(data, k, i, before);
    }
    for (std::size_t i = k; k != 0 && i < n; ++i) {
        if (before(data[i], data[0])) {
            exchange(data[0], data[i]);
            sift_down(data, k, 0, before);
        }
    }
    for (std::size_t size = k; size > 1; --size) {
        exchange(data[0], data[size - 1]);
        sift_down(data, size - 1, 0, before);
    }
}

/// Hoare's partition around the median of three. \return m, 0 < m < n: no element of [m, n) comes before one of [0, m)
/// \pre n >= 3
template <class T, class Before> std::size_t partition(T* data, std::size_t n, Before before) noexcept {
    const T *low = data, *pivot = data + n / 2, *high = data + n - 1;
    if (before(*high, *low)) {
        const T* const kept = low;
        low = high;
        high = kept;
    }
    pivot = before(*pivot, *low) ? low : before(*high, *pivot) ? high : pivot;
    const T middle = *pivot; // at least one other element does not come before it: it ends both scans
    for (std::size_t i = 0, j = n - 1;; ++i, --j) {
        while (before(data[i], middle)) {
            ++i;
        }
        while (before(middle, data[j])) {
            --j;
        }
        if (i >= j) {
            return j + 1;
        }
        exchange(data[i], data[j]);
    }
}

} // namespace sorting

/// Moves the k elements of data[0, n) that come first in the strict weak order `before` to the front, sorted; the
/// others follow in any order. O(n log n) at worst, about one comparison per element if k is small. Needs no memory.
/// \pre k <= n; T is trivially copyable
template <class T, class Before>
void sort_first(T* data, std::size_t n, std::size_t k, Before before, unsigned rounds = 64) noexcept {
    constexpr std::size_t few = 24;
    for (; k > few && k > n / 8 && rounds != 0; --rounds) { // quicksort, as long as it divides well
        const std::size_t middle = sorting::partition(data, n, before);
        if (k <= middle) {
            n = middle;
            continue;
        }
        sort_first(data, middle, middle, before, rounds - 1);
        data += middle;
        n -= middle;
        k -= middle;
    }
    sorting::sort_first_by_heap(data, n, k, before);
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif

// ---- bitnet/run/logit_bias.hpp ----
// logit_bias: what a program adds to the logit of a token, or that it must not be chosen.
#ifndef BITNET_RUN_LOGIT_BIAS_HPP
#define BITNET_RUN_LOGIT_BIAS_HPP

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

BITNET_PRECISE_BEGIN
namespace bitnet::inline BITNET_ABI {

struct logit_bias {
    token id;
    float bias; ///< -1000 to 1000, or forbidden()

    /// The bias of a token that is never chosen: minus infinity.
    [[nodiscard]] static constexpr float forbidden() noexcept { return std::bit_cast<float>(0xff800000u); }
};

namespace detail {

[[nodiscard]] inline bool is_forbidden(float bias) noexcept {
    return std::bit_cast<std::uint32_t>(bias) == 0xff800000u;
}

[[nodiscard]] inline token token_of(token id) noexcept { return id; }
template <class Entry> [[nodiscard]] token token_of(const Entry& entry) noexcept { return entry.id; }

/// The entry of token `id` in entries that ascend by it; null if there is none.
template <class Entry> [[nodiscard]] const Entry* find_token(std::span<const Entry> entries, token id) noexcept {
    while (!entries.empty()) {
        const std::size_t middle = entries.size() / 2;
        const token here = token_of(entries[middle]);
        if (here == id) {
            return &entries[middle];
        }
        entries = here < id ? entries.subspan(middle + 1) : entries.first(middle);
    }
    return nullptr;
}

/// The biases of a sampler, each token once, in the order of the vocabulary.
class bias_table {
public:
    /// \return errc::invalid_argument naming the token, errc::out_of_memory.
    [[nodiscard]] static result<bias_table> open(std::span<const logit_bias> biases, std::size_t vocabulary,
                                                 const memory_from& from) {
        bias_table made;
        if (biases.size() > vocabulary) {
            return error_saying(
                errc::invalid_argument,
                {"sampler: ", biases.size(), " biases were given, the vocabulary has ", vocabulary, " tokens"});
        }
        error failure;
        allocate(made.entries_, biases.size(), "logit biases", failure, from);
        if (failure.code != errc{}) {
            return failure;
        }
        for (std::size_t i = 0; i < biases.size(); ++i) {
            if (auto checked = check_entry(biases[i], vocabulary); !checked) {
                return failed(checked);
            }
            made.entries_[i] = biases[i];
            const std::size_t place = place_of(biases[i].id);
            made.known_[place / 64] |= std::uint64_t{1} << (place % 64);
        }
        sort_first(made.entries_.data(), biases.size(), biases.size(),
                   [](const logit_bias& a, const logit_bias& b) noexcept { return a.id < b.id; });
        if (auto counted = made.count(vocabulary); !counted) {
            return failed(counted);
        }
        return made;
    }

    [[nodiscard]] std::span<const logit_bias> entries() const noexcept { return entries_.span(); }
    [[nodiscard]] const logit_bias* find(token id) const noexcept {
        const std::size_t place = place_of(id);
        return (known_[place / 64] >> (place % 64) & 1u) != 0 ? find_token(entries(), id) : nullptr;
    }
    /// How many tokens lose by it, forbidden ones included.
    [[nodiscard]] std::size_t lowered() const noexcept { return lowered_; }
    /// Whether a token gains by it.
    [[nodiscard]] bool raises() const noexcept { return raises_; }

private:
    [[nodiscard]] static std::size_t place_of(token id) noexcept { return static_cast<std::size_t>(id) % 1024; }

    [[nodiscard]] static result<void> check_entry(const logit_bias& given, std::size_t vocabulary) {
        if (given.id < 0 || static_cast<std::size_t>(given.id) >= vocabulary) {
            return error_saying(errc::invalid_argument,
                                {"sampler: a bias is of token ", given.id, ", the vocabulary has ", vocabulary});
        }
        if (!(given.bias >= -1000.0f && given.bias <= 1000.0f) && !is_forbidden(given.bias)) {
            return error_saying(errc::invalid_argument,
                                {"sampler: the bias of token ", given.id, " must be -1000 to 1000, or forbidden()"});
        }
        return {};
    }

    [[nodiscard]] result<void> count(std::size_t vocabulary) {
        std::size_t forbidden = 0;
        for (std::size_t i = 0; i < entries_.size(); ++i) {
            if (i != 0 && entries_[i].id == entries_[i - 1].id) {
                return error_saying(errc::invalid_argument,
                                    {"sampler: the bias of token ", entries_[i].id, " is given twice"});
            }
            forbidden += is_forbidden(entries_[i].bias) ? 1u : 0u;
            lowered_ += entries_[i].bias < 0.0f || is_forbidden(entries_[i].bias) ? 1u : 0u;
            raises_ = raises_ || entries_[i].bias > 0.0f;
        }
        if (forbidden == vocabulary && vocabulary != 0) {
            return error_saying(errc::invalid_argument,
                                {"sampler: all ", vocabulary, " tokens are forbidden, none is left to choose"});
        }
        return {};
    }

    buffer<logit_bias> entries_;
    std::array<std::uint64_t, 16> known_{}; ///< remainders of the ids: most tokens of a vocabulary end here
    std::size_t lowered_ = 0;
    bool raises_ = false;
};

} // namespace detail

} // namespace bitnet::inline BITNET_ABI
BITNET_PRECISE_END

#endif

// ---- bitnet/run/repetition_penalty.hpp ----
// repetition_penalty: finds the tokens that would go on with what was said before, for the sampler's DRY step.
#ifndef BITNET_RUN_REPETITION_PENALTY_HPP
#define BITNET_RUN_REPETITION_PENALTY_HPP

#include <cstddef>
#include <cstdint>
#include <span>

BITNET_PRECISE_BEGIN
namespace bitnet::inline BITNET_ABI::detail {

/// "Don't repeat yourself" (P. E. Weidmann, text-generation-webui, pull request 5677, 2024): if the last n tokens,
/// n >= allowed_length, stood somewhere before and t followed them, the logit of t loses
/// multiplier * base^(n - allowed_length), with the largest such n. A sequence breaker is in no such sequence and loses
/// nothing. Here at most 1e6 is lost; "somewhere before" is within the last `window` tokens, what is equal there may
/// begin earlier.
///
/// For every token of the window the length of the longest common end of what ends there and of all tokens is kept
/// up to date: a time linear in the window for each token.
class repetition_penalty {
public:
    struct settings {
        float multiplier = 0.0f; ///< 0 is off
        float base = 1.75f;
        std::size_t allowed_length = 2;
        std::size_t window = 1024;
    };
    struct entry {
        token id;
        std::uint32_t length; ///< n
        float penalty;
    };

    repetition_penalty() noexcept = default; ///< off

    /// \return errc::invalid_argument for a breaker outside the vocabulary, errc::out_of_memory.
    [[nodiscard]] static result<repetition_penalty> open(const settings& chosen, std::span<const token> breakers,
                                                         std::size_t vocabulary, const memory_from& from) {
        repetition_penalty made;
        made.settings_ = chosen;
        const std::size_t window = chosen.multiplier > 0.0f ? chosen.window : 0;
        error failure;
        allocate(made.tokens_, window, "tokens of the DRY window", failure, from);
        allocate(made.lengths_, window, "lengths of the DRY window", failure, from);
        allocate(made.entries_, window, "penalties of the DRY window", failure, from);
        allocate(made.breakers_, breakers.size(), "sequence breakers", failure, from);
        if (failure.code != errc{}) {
            return failure;
        }
        for (std::size_t i = 0; i < breakers.size(); ++i) {
            if (breakers[i] < 0 || static_cast<std::size_t>(breakers[i]) >= vocabulary) {
                return error_saying(errc::invalid_argument, {"sampler: a sequence breaker is token ", breakers[i],
                                                             ", the vocabulary has ", vocabulary});
            }
            made.breakers_[i] = breakers[i];
        }
        sort_first(made.breakers_.data(), breakers.size(), breakers.size(),
                   [](token a, token b) noexcept { return a < b; });
        return made;
    }

    /// How many can lose at the same time.
    [[nodiscard]] std::size_t most() const noexcept { return entries_.size(); }
    /// The tokens that lose, each once, in the order of the vocabulary.
    [[nodiscard]] std::span<const entry> entries() const noexcept { return entries_.span().first(listed_); }
    [[nodiscard]] std::span<const token> breakers() const noexcept { return breakers_.span(); }
    [[nodiscard]] const entry* find(token id) const noexcept { return find_token(entries(), id); }

    /// `id` is the next of all tokens.
    void accept(token id) noexcept {
        const std::size_t window = tokens_.size();
        if (window == 0) {
            return;
        }
        const default_float_environment environment;
        const bool breaks = is_breaker(id);
        // From the newest token back, because a length needs the one before it as it was. The oldest token of a full
        // window leaves it.
        for (std::size_t age = 1; age <= kept_ && age < window; ++age) {
            const std::size_t at = slot(age);
            const std::uint32_t before = age < kept_ ? lengths_[slot(age + 1)] : 0;
            lengths_[at] = !breaks && tokens_[at] == id ? before + 1 : 0;
        }
        tokens_[next_] = id;
        lengths_[next_] = 0;
        next_ = next_ + 1 == window ? 0 : next_ + 1;
        kept_ += kept_ < window ? 1u : 0u;
        list();
    }

    /// Tokens of the window, and how many of them there can be.
    [[nodiscard]] std::size_t kept() const noexcept { return kept_; }
    [[nodiscard]] std::size_t window() const noexcept { return tokens_.size(); }
    /// The i-th of them, the oldest first, and its length. \pre i < kept()
    [[nodiscard]] token token_at(std::size_t i) const noexcept { return tokens_[slot(kept_ - i)]; }
    [[nodiscard]] std::uint32_t length_at(std::size_t i) const noexcept { return lengths_[slot(kept_ - i)]; }
    /// Becomes a window of `count` tokens, of which the i-th is token_of(i) and has length_of(i). \pre count <=
    /// window()
    template <class TokenOf, class LengthOf>
    void become(std::size_t count, const TokenOf& token_of, const LengthOf& length_of) noexcept {
        reset();
        for (std::size_t i = 0; i < count; ++i) {
            tokens_[i] = token_of(i);
            lengths_[i] = length_of(i);
        }
        kept_ = count;
        next_ = count == window() ? 0 : count;
        const default_float_environment environment;
        list();
    }

    void reset() noexcept {
        kept_ = 0;
        next_ = 0;
        listed_ = 0;
    }

private:
    /// Where the token stands that came `age` tokens ago; 1 is the newest. \pre 1 <= age <= kept_
    [[nodiscard]] std::size_t slot(std::size_t age) const noexcept {
        return age <= next_ ? next_ - age : next_ + tokens_.size() - age;
    }

    [[nodiscard]] bool is_breaker(token id) const noexcept { return find_token(breakers(), id) != nullptr; }

    void list() noexcept {
        std::size_t found = 0;
        for (std::size_t age = kept_; age > 1; --age) {
            const std::uint32_t length = lengths_[slot(age)];
            const token next = tokens_[slot(age - 1)];
            if (length >= settings_.allowed_length && !is_breaker(next)) {
                entries_[found++] = {next, length, 0.0f};
            }
        }
        sort_first(entries_.data(), found, found, [](const entry& a, const entry& b) noexcept {
            return a.id != b.id ? a.id < b.id : a.length > b.length;
        });
        listed_ = 0;
        for (std::size_t i = 0; i < found; ++i) {
            if (listed_ == 0 || entries_[i].id != entries_[listed_ - 1].id) {
                entries_[listed_] = entries_[i];
                entries_[listed_++].penalty = penalty_of(entries_[i].length);
            }
        }
    }

    /// By squaring, so that every platform multiplies in the same order. \pre length >= allowed_length
    [[nodiscard]] float penalty_of(std::uint32_t length) const noexcept {
        constexpr float most = 1e6f;
        float power = settings_.base;
        float penalty = settings_.multiplier;
        for (std::size_t rest = length - settings_.allowed_length; rest != 0 && penalty < most; rest /= 2) {
            penalty = rest % 2 != 0 ? penalty * power : penalty;
            power = power < most ? power * power : power; // a further factor would exceed the limit anyway
        }
        return penalty < most ? penalty : most;
    }

    settings settings_;
    buffer<token> tokens_;          ///< ring of the last tokens
    buffer<std::uint32_t> lengths_; ///< [window] of the longest common end of what ends there and of all tokens
    buffer<entry> entries_;
    buffer<token> breakers_; ///< ascending
    std::size_t next_ = 0;   ///< the slot of the next token
    std::size_t kept_ = 0;
    std::size_t listed_ = 0;
};

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_PRECISE_END

#endif

// ---- bitnet/run/saved_sampler.hpp ----
// saved_sampler: the bytes of a saved sampler, written and read.
//
// All numbers are little-endian.
//
//     offset  bytes  what
//          0      8  "BITNETSA"
//          8      4  version, 1
//         12      4  n, the recent tokens
//         16      4  m, the tokens of the DRY window
//         20  9 * 4  temperature, top_p, min_p, repeat, presence and frequency penalty, typical_p, DRY's multiplier and
//                    base, f32
//         56  8 * 8  top_k, penalty window, seed, vocabulary, DRY's allowed length and window, checksums of its
//         breakers
//                    and of the biases
//        120      8  random state
//        128    4 n  recent tokens, the oldest first
//               4 m  tokens of the DRY window, the oldest first
//               4 m  and the length of each: see repetition_penalty
//                 8  checksum of the bytes before
#ifndef BITNET_RUN_SAVED_SAMPLER_HPP
#define BITNET_RUN_SAVED_SAMPLER_HPP

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// The first bytes of a saved sampler.
struct saved_sampler {
    static constexpr std::size_t bytes = 128;
    static constexpr std::string_view known_magic = "BITNETSA";
    static constexpr std::uint32_t known_version = 1;

    std::array<char, 8> magic{};
    std::uint32_t version = known_version;
    std::uint32_t recent = 0;
    std::uint32_t repeated = 0;
    std::array<std::uint32_t, 9> fractions{}; ///< the bits of f32 options
    std::array<std::uint64_t, 8> numbers{};   ///< options that are numbers, and the vocabulary
    std::uint64_t random = 0;

    /// Bytes of the whole save.
    [[nodiscard]] constexpr std::uint64_t all_bytes() const noexcept {
        return bytes + (recent + std::uint64_t{2} * repeated) * sizeof(token) + sizeof(std::uint64_t);
    }
    static constexpr std::size_t least_bytes = bytes + sizeof(std::uint64_t);

    [[nodiscard]] static std::array<char, 8> spelled_magic() noexcept {
        std::array<char, 8> made{};
        std::memcpy(made.data(), known_magic.data(), made.size());
        return made;
    }

    /// Checks `saved` against the sampler that takes it, whose options and vocabulary `here` has. Allocates nothing.
    /// \return errc::truncated, bad_magic, bad_version, bad_checksum, inconsistent, wrong_model or invalid_token
    [[nodiscard]] static inline result<saved_sampler> read(std::span<const std::byte> saved, std::string_view name,
                                                           const saved_sampler& here);

    /// The i-th of the words behind the header. \pre it is there: see read()
    [[nodiscard]] static std::uint32_t number_at(std::span<const std::byte> saved, std::size_t i) noexcept {
        std::uint32_t value = 0;
        std::memcpy(&value, saved.data() + bytes + i * sizeof value, sizeof value);
        return value;
    }

private:
    [[nodiscard]] inline result<void> check_options(std::string_view name, const saved_sampler& here) const;
};
static_assert(sizeof(saved_sampler) == saved_sampler::bytes, "no padding, which would have any value");

inline result<void> saved_sampler::check_options(std::string_view name, const saved_sampler& here) const {
    constexpr std::string_view fraction_names[] = {
        "temperature",       "top_p",     "min_p",          "repeat_penalty", "presence_penalty",
        "frequency_penalty", "typical_p", "dry_multiplier", "dry_base"};
    constexpr std::string_view number_names[] = {"top_k",
                                                 "penalty_window",
                                                 "seed",
                                                 "vocabulary",
                                                 "dry_allowed_length",
                                                 "dry_window",
                                                 "sequence breakers with the checksum",
                                                 "biases with the checksum"};
    for (std::size_t i = 0; i < fractions.size(); ++i) {
        if (fractions[i] != here.fractions[i]) {
            return error_saying(errc::wrong_model,
                                {name, ": the sampler that was saved has another ", fraction_names[i],
                                 " than this one, by its bits ", fractions[i], " and ", here.fractions[i]});
        }
    }
    for (std::size_t i = 0; i < numbers.size(); ++i) {
        if (i != 2 && numbers[i] != here.numbers[i]) { // random numbers go on from their state, whatever the seed was
            return error_saying(errc::wrong_model, {name, ": the sampler that was saved has ", number_names[i], " ",
                                                    numbers[i], ", this one ", here.numbers[i]});
        }
    }
    return {};
}

inline result<saved_sampler> saved_sampler::read(std::span<const std::byte> saved, std::string_view name,
                                                 const saved_sampler& here) {
    saved_sampler made;
    if (saved.size() < least_bytes) {
        return error_saying(errc::truncated,
                            {name, ": a saved sampler has at least ", least_bytes, " bytes, these are ", saved.size()});
    }
    std::memcpy(&made, saved.data(), bytes);
    const std::string_view magic(made.magic.data(), made.magic.size());
    if (magic != known_magic) {
        return error_saying(errc::bad_magic, {name, ": is no saved sampler: it begins with ", quoted{magic},
                                              ", not with ", quoted{known_magic}});
    }
    if (made.version != known_version) {
        return error_saying(errc::bad_version, {name, ": is of version ", made.version,
                                                " of saved samplers, only version ", known_version, " is read"});
    }
    const std::uint64_t expected = made.all_bytes();
    if (saved.size() != expected) {
        return error_saying(saved.size() < expected ? errc::truncated : errc::inconsistent,
                            {name, ": a saved sampler with ", made.recent, " recent tokens has ", expected,
                             " bytes, these are ", saved.size()});
    }
    std::uint64_t stored = 0;
    const auto checked = saved.first(saved.size() - sizeof stored);
    std::memcpy(&stored, saved.data() + checked.size(), sizeof stored);
    if (const std::uint64_t found = checksum::of(checked); found != stored) {
        return error_saying(errc::bad_checksum, {name, ": the bytes of the sampler have the checksum ", found, ", and ",
                                                 stored, " was saved with them"});
    }
    if (auto same = made.check_options(name, here); !same) {
        return failed(same);
    }
    const std::uint64_t dry_window = made.fractions[7] != 0 ? here.numbers[5] : 0; // without a multiplier there is none
    if (made.recent > here.numbers[1] || made.repeated > dry_window) {
        return error_saying(errc::inconsistent, {name, ": has ", made.recent, " recent tokens and ", made.repeated,
                                                 " of DRY, the windows have ", here.numbers[1], " and ", dry_window});
    }
    for (std::size_t i = 0; i < std::size_t{made.recent} + made.repeated; ++i) {
        if (number_at(saved, i) >= here.numbers[3] || number_at(saved, i) > INT32_MAX) {
            return error_saying(errc::invalid_token, {name, ": recent token ", i, " is ", number_at(saved, i),
                                                      ", the vocabulary has ", here.numbers[3]});
        }
    }
    return made;
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif

// ---- bitnet/run/token_chooser.hpp ----
// token_chooser: what chooses the next token from logits, such as a sampler or a class of the program's own.
#ifndef BITNET_RUN_TOKEN_CHOOSER_HPP
#define BITNET_RUN_TOKEN_CHOOSER_HPP

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

// ---- bitnet/run/token_counts.hpp ----
// token_counts: how often each token is among a few.
#ifndef BITNET_RUN_TOKEN_COUNTS_HPP
#define BITNET_RUN_TOKEN_COUNTS_HPP

#include <cstddef>
#include <cstdint>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// A hash table with linear probing, at most half full, so that its size is that of a window of tokens and not of the
/// vocabulary. Allocates in open() only: 16 to 32 bytes for each token that it has room for.
class token_counts {
public:
    /// \param most tokens that are counted at the same time. \return errc::out_of_memory.
    [[nodiscard]] static result<token_counts> open(std::size_t most, const memory_from& from = {}) {
        token_counts made;
        std::size_t size = most != 0 ? 2 : 0;
        while (size < 2 * most) {
            size *= 2;
        }
        auto places = buffer<place>::allocate(size, "sampler counts", from);
        if (!places) {
            return failed(places);
        }
        made.places_ = *std::move(places);
        return made;
    }

    [[nodiscard]] std::size_t distinct() const noexcept { return distinct_; }
    [[nodiscard]] std::uint32_t of(token id) const noexcept { return distinct_ == 0 ? 0 : places_[find(id)].count; }

    /// \pre fewer than the tokens given to open() are counted
    void add(token id) noexcept {
        place& at = places_[find(id)];
        at.id = id;
        distinct_ += ++at.count == 1 ? 1u : 0u;
    }

    /// \pre it is counted
    void remove(token id) noexcept {
        const std::size_t at = find(id);
        if (--places_[at].count == 0) {
            --distinct_;
            close_gap(at);
        }
    }

    void clear() noexcept {
        for (place& each : places_.span()) {
            each = {};
        }
        distinct_ = 0;
    }

private:
    struct place {
        token id;
        std::uint32_t count; ///< 0: the place is free
    };

    [[nodiscard]] std::size_t mask() const noexcept { return places_.size() - 1; }
    [[nodiscard]] std::size_t home_of(token id) const noexcept {
        const std::uint32_t mixed = static_cast<std::uint32_t>(id) * 0x9e3779b1u; // Fibonacci hashing
        return (mixed ^ (mixed >> 15)) & mask();
    }
    /// Where `id` is or would be.
    [[nodiscard]] std::size_t find(token id) const noexcept {
        std::size_t at = home_of(id);
        while (places_[at].count != 0 && places_[at].id != id) {
            at = (at + 1) & mask();
        }
        return at;
    }

    /// Moves what follows a place that became free to where find() looks for it.
    void close_gap(std::size_t gap) noexcept {
        for (std::size_t at = (gap + 1) & mask(); places_[at].count != 0; at = (at + 1) & mask()) {
            const std::size_t from_home = (at - home_of(places_[at].id)) & mask();
            if (from_home >= ((at - gap) & mask())) {
                places_[gap] = places_[at];
                places_[at].count = 0;
                gap = at;
            }
        }
    }

    buffer<place> places_; ///< a power of two
    std::size_t distinct_ = 0;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// Steps are taken in this order: biases, penalties (repeat, presence, frequency), DRY, top_k, typical_p, top_p, min_p,
/// temperature, draw. temperature 0 is greedy: the largest logit after DRY, the lowest id on ties.
struct sampler_options {
    float temperature = 0.8f;        ///< >= 0; probabilities are softmax(logits / temperature)
    std::size_t top_k = 40;          ///< keep the k largest; 0 keeps all
    float top_p = 0.95f;             ///< 0 to 1; keep the fewest that reach this share of the probability; 1 keeps all
    float min_p = 0.0f;              ///< 0 to 1; keep those with at least this share of the largest probability
    float repeat_penalty = 1.0f;     ///< > 0; divides positive and multiplies negative logits of recent tokens
    float presence_penalty = 0.0f;   ///< subtracted once from the logits of recent tokens
    float frequency_penalty = 0.0f;  ///< subtracted for each time a token is among the recent ones
    std::size_t penalty_window = 64; ///< how many tokens are recent
    std::uint64_t seed = 0;
    /// 0 to 1; keep the fewest that reach this share of the probability, those first whose information content is
    /// closest to the entropy (locally typical sampling, Meister et al., 2022, arXiv:2202.00666); 1 keeps all
    float typical_p = 1.0f;
    /// 0 to 1000. Not 0: a token that would go on with a sequence of n tokens, n >= dry_allowed_length, which is the
    /// end of all tokens and stood among the last dry_window before, loses
    /// dry_multiplier * dry_base^(n - dry_allowed_length), at most 1e6 (DRY, P. E. Weidmann, 2024)
    float dry_multiplier = 0.0f;
    float dry_base = 1.75f;                ///< 1 to 100
    std::size_t dry_allowed_length = 2;    ///< 1 or more
    std::size_t dry_window = 1024;         ///< 0 to 65536; 20 bytes each, and a time linear in it for each token
    std::span<const token> dry_breakers{}; ///< tokens that no repeated sequence contains; copied by sampler::open()
    std::span<const logit_bias> biases{};  ///< each token once at most; copied by sampler::open()

    [[nodiscard]] static sampler_options greedy() noexcept {
        sampler_options options;
        options.temperature = 0.0f;
        return options;
    }
    /// What a file advises, and the defaults where it says nothing.
    [[nodiscard]] static sampler_options advised_by(const sampling_advice& advice) noexcept {
        sampler_options options;
        options.temperature = advice.temperature.value_or(options.temperature);
        options.top_k = advice.top_k.value_or(options.top_k);
        options.top_p = advice.top_p.value_or(options.top_p);
        options.min_p = advice.min_p.value_or(options.min_p);
        return options;
    }
};

} // namespace bitnet::inline BITNET_ABI

BITNET_PRECISE_BEGIN
namespace bitnet::inline BITNET_ABI {

/// The library's token_chooser. Holds its settings, its random state and the recent tokens. One sampler serves one
/// sequence.
/// Allocates in open() only: 12 bytes for each logit that it can need, which is needs() with full windows, under 40 for
/// each token of the window, 20 for each of DRY's, and 8 for each bias. Where only all logits are enough, these are the
/// vocabulary's.
class sampler {
public:
    static constexpr std::size_t largest_window = 1u << 16;

    /// \param vocabulary number of logits \param memory null: operator new \return errc::invalid_argument naming the
    /// option and its range, or the token whose bias is given twice or out of range, or if all tokens are forbidden;
    /// errc::out_of_memory.
    [[nodiscard]] static result<sampler> open(const sampler_options& options, std::size_t vocabulary,
                                              const memory_source* memory = nullptr) {
        const detail::default_float_environment environment;
        sampler made;
        if (auto checked = check_options(options); !checked) {
            return failed(checked);
        }
        made.options_ = options;
        made.random_ = options.seed;
        made.vocabulary_ = vocabulary;
        const detail::memory_from from{memory, {memory_use::scratch, false}};
        if (auto copied = made.copy_lists(options, vocabulary, from); !copied) {
            return failed(copied);
        }
        auto counts = detail::token_counts::open(options.penalty_window, from);
        if (!counts) {
            return failed(counts);
        }
        made.counts_ = *std::move(counts);
        const std::size_t most = made.needs_if(options.penalty_window, made.repetition_.most());
        error failure;
        detail::allocate(made.candidates_, most == 0 || most > vocabulary ? vocabulary : most, "sampler candidates",
                         failure, from);
        detail::allocate(made.recent_, options.penalty_window, "recent tokens", failure, from);
        if (failure.code != errc{}) {
            return failure;
        }
        return made;
    }

    /// Chooses a token, never a forbidden one. Changes only the random state; call accept() with the token that was
    /// taken. \pre logits.size() is the vocabulary size given to open(), and not 0.
    [[nodiscard]] token choose(std::span<const float> logits) noexcept {
        assert(logits.size() == vocabulary_ && !logits.empty());
        return choose_of(logits.size(), [&](std::size_t i) noexcept -> candidate {
            return {logits[i], static_cast<token>(i), 0.0f};
        });
    }

    /// The same from the needs() largest logits alone, in any order: the token that all logits would give; no_token if
    /// all of `largest` are forbidden, which the precondition excludes.
    /// \pre 0 < needs() <= largest.size() or largest has all tokens; every token once
    [[nodiscard]] token choose(std::span<const scored_token> largest) noexcept {
        assert(!largest.empty() && largest.size() <= vocabulary_);
        return choose_of(largest.size(), [&](std::size_t i) noexcept -> candidate {
            return {largest[i].logit, largest[i].id, 0.0f};
        });
    }

    /// How many of the largest logits are enough for choose(); 0 if only all of them are. Greedy needs one, top_k
    /// needs k. If biases, penalties and DRY lower the logits of c tokens, at most c others take their places: c more
    /// are enough. A bias that raises a logit may do so with any, and asks for all.
    [[nodiscard]] std::size_t needs() const noexcept {
        const detail::default_float_environment environment;
        return needs_if(counts_.distinct(), repetition_.entries().size());
    }

    /// Counts a token among the recent ones: those that were chosen, and those of the prompt if they should count.
    /// \pre 0 <= id < vocabulary
    void accept(token id) noexcept {
        repetition_.accept(id);
        if (recent_.empty()) {
            return;
        }
        const std::size_t at = accepted_ % recent_.size();
        if (accepted_ >= recent_.size()) {
            counts_.remove(recent_[at]);
        }
        recent_[at] = id;
        counts_.add(id);
        ++accepted_;
    }

    /// Forgets recent tokens and starts the random sequence anew.
    void reset() noexcept {
        counts_.clear();
        accepted_ = 0;
        random_ = options_.seed;
        repetition_.reset();
    }

    /// Writes the random state, the recent tokens, and the options, which restore() compares but for the seed.
    /// Allocates nothing itself. \return what the sink returns
    [[nodiscard]] result<void> save(byte_sink sink) const {
        const detail::saved_sampler header = saved();
        detail::checksum sum;
        const auto write = [&](const void* data, std::size_t size) {
            const std::span bytes(static_cast<const std::byte*>(data), size);
            sum.add(bytes);
            return sink.write(bytes);
        };
        auto written = write(&header, sizeof header);
        for (std::size_t i = 0; written && i < header.recent; ++i) {
            const token id = recent_[(accepted_ - header.recent + i) % recent_.size()];
            written = write(&id, sizeof id);
        }
        for (std::size_t i = 0; written && i < header.repeated; ++i) {
            const token id = repetition_.token_at(i);
            written = write(&id, sizeof id);
        }
        for (std::size_t i = 0; written && i < header.repeated; ++i) {
            const std::uint32_t length = repetition_.length_at(i);
            written = write(&length, sizeof length);
        }
        const std::uint64_t value = sum.value();
        return written ? write(&value, sizeof value) : std::move(written);
    }
    /// Bytes that save() writes.
    [[nodiscard]] std::uint64_t saved_bytes() const noexcept { return saved().all_bytes(); }
    /// Becomes the sampler that was saved. Allocates nothing. \param name what error messages call the save
    /// \return errc::truncated, bad_magic, bad_version, bad_checksum, inconsistent or invalid_token for what is no
    /// whole save, wrong_model if options or vocabulary differ. The sampler stays as it was then.
    [[nodiscard]] result<void> restore(std::span<const std::byte> bytes, std::string_view name = "saved sampler") {
        const auto read = detail::saved_sampler::read(bytes, name, saved());
        if (!read) {
            return failed(read);
        }
        reset();
        for (std::size_t i = 0; i < read->recent; ++i) {
            accept(static_cast<token>(detail::saved_sampler::number_at(bytes, i)));
        }
        const std::size_t first = read->recent;
        const std::size_t count = read->repeated;
        repetition_.become(
            count,
            [&](std::size_t i) noexcept {
                return static_cast<token>(detail::saved_sampler::number_at(bytes, first + i));
            },
            [&](std::size_t i) noexcept { return detail::saved_sampler::number_at(bytes, first + count + i); });
        random_ = read->random;
        options_.seed = read->numbers[2];
        return {};
    }

    /// Another sampler in the same state. \return errc::out_of_memory.
    [[nodiscard]] result<sampler> copy() const {
        auto made = open(options_, vocabulary_);
        const std::size_t held = (std::min)(accepted_, recent_.size());
        for (std::size_t i = 0; made && i < held; ++i) { // the oldest first
            made->accept(recent_[(accepted_ - held + i) % recent_.size()]);
        }
        if (made) {
            made->random_ = random_;
            made->repetition_.become(
                repetition_.kept(), [this](std::size_t i) noexcept { return repetition_.token_at(i); },
                [this](std::size_t i) noexcept { return repetition_.length_at(i); });
        }
        return made;
    }

    /// Starts another random sequence; recent tokens stay.
    void reseed(std::uint64_t seed) noexcept {
        options_.seed = seed;
        random_ = seed;
    }

    /// Their lists are the sampler's own copies.
    [[nodiscard]] const sampler_options& options() const noexcept { return options_; }
    [[nodiscard]] bool is_greedy() const noexcept { return options_.temperature == 0.0f; }

private:
    struct candidate {
        float logit;
        token id;
        float weight;
    };

    sampler() noexcept = default;

    /// What a save begins with.
    [[nodiscard]] detail::saved_sampler saved() const noexcept {
        const sampler_options& o = options_;
        detail::saved_sampler made;
        made.magic = detail::saved_sampler::spelled_magic();
        made.recent = static_cast<std::uint32_t>(accepted_ < recent_.size() ? accepted_ : recent_.size());
        const float fractions[] = {
            o.temperature,       o.top_p,     o.min_p,          o.repeat_penalty, o.presence_penalty,
            o.frequency_penalty, o.typical_p, o.dry_multiplier, o.dry_base};
        for (std::size_t i = 0; i < made.fractions.size(); ++i) {
            made.fractions[i] = std::bit_cast<std::uint32_t>(fractions[i]);
        }
        made.repeated = static_cast<std::uint32_t>(repetition_.kept());
        made.numbers = {o.top_k,
                        o.penalty_window,
                        o.seed,
                        vocabulary_,
                        o.dry_allowed_length,
                        o.dry_window,
                        detail::checksum::of(std::as_bytes(repetition_.breakers())),
                        detail::checksum::of(std::as_bytes(biases_.entries()))};
        made.random = random_;
        return made;
    }

    [[nodiscard]] static result<void> check_options(const sampler_options& o) {
        struct rule {
            std::string_view text;
            bool holds;
        };
        const rule rules[] = {
            {"temperature must be 0 to 1e6", within(o.temperature, 0.0f, 1e6f)},
            {"top_p must be 0 to 1", within(o.top_p, 0.0f, 1.0f)},
            {"min_p must be 0 to 1", within(o.min_p, 0.0f, 1.0f)},
            {"repeat_penalty must be 0.001 to 1000", within(o.repeat_penalty, 0.001f, 1000.0f)},
            {"presence_penalty must be -1000 to 1000", within(o.presence_penalty, -1000.0f, 1000.0f)},
            {"frequency_penalty must be -1000 to 1000", within(o.frequency_penalty, -1000.0f, 1000.0f)},
            {"penalty_window must be 0 to 65536", o.penalty_window <= largest_window},
            {"typical_p must be 0 to 1", within(o.typical_p, 0.0f, 1.0f)},
            {"dry_multiplier must be 0 to 1000", within(o.dry_multiplier, 0.0f, 1000.0f)},
            {"dry_base must be 1 to 100", within(o.dry_base, 1.0f, 100.0f)},
            {"dry_allowed_length must be 1 or more", o.dry_allowed_length != 0},
            {"dry_window must be 0 to 65536", o.dry_window <= largest_window},
        };
        for (const auto& [text, holds] : rules) {
            if (!holds) {
                return detail::error_saying(errc::invalid_argument, {"sampler: ", text});
            }
        }
        return {};
    }
    [[nodiscard]] static bool within(float value, float low, float high) noexcept {
        return value >= low && value <= high;
    }

    [[nodiscard]] result<void> copy_lists(const sampler_options& options, std::size_t vocabulary,
                                          const detail::memory_from& from) {
        auto biases = detail::bias_table::open(options.biases, vocabulary, from);
        if (!biases) {
            return failed(biases);
        }
        auto repetition = detail::repetition_penalty::open(
            {options.dry_multiplier, options.dry_base, options.dry_allowed_length, options.dry_window},
            options.dry_breakers, vocabulary, from);
        if (!repetition) {
            return failed(repetition);
        }
        biases_ = *std::move(biases);
        repetition_ = *std::move(repetition);
        options_.biases = biases_.entries();
        options_.dry_breakers = repetition_.breakers();
        return {};
    }

    [[nodiscard]] static bool before(const candidate& a, const candidate& b) noexcept {
        return detail::precedes(a.logit, a.id, b.logit, b.id);
    }

    /// needs() if `distinct` tokens are recent, and `repeating` lose by DRY.
    [[nodiscard]] std::size_t needs_if(std::size_t distinct, std::size_t repeating) const noexcept {
        constexpr std::size_t most = SIZE_MAX / 2; // so that the sum below is one
        const std::size_t top_k = options_.top_k < most ? options_.top_k : most;
        const std::size_t kept = is_greedy() ? 1 : top_k;
        const bool lowers =
            options_.repeat_penalty >= 1.0f && options_.presence_penalty >= 0.0f && options_.frequency_penalty >= 0.0f;
        if (kept == 0 || biases_.raises() || (distinct != 0 && !lowers)) {
            return 0;
        }
        const bool penalizes =
            options_.repeat_penalty != 1.0f || options_.presence_penalty != 0.0f || options_.frequency_penalty != 0.0f;
        return kept + (penalizes ? distinct : 0) + biases_.lowered() + repeating;
    }

    /// Chooses among the candidates at(0) ... at(size - 1), of which it keeps as many as it needs.
    template <class At> [[nodiscard]] token choose_of(std::size_t size, At at) noexcept {
        const detail::default_float_environment environment;
        const std::size_t needed = needs_if(counts_.distinct(), repetition_.entries().size());
        const std::size_t n = needed == 0 || needed > size ? size : needed;
        for (std::size_t i = 0; i < n; ++i) {
            candidates_[i] = at(i);
        }
        if (n != size) {
            take_larger(n, size, at);
        }
        return choose_among(adjust(n));
    }

    /// Biases, penalties and DRY for the first n candidates. \return how many are left without the forbidden ones
    [[nodiscard]] std::size_t adjust(std::size_t n) noexcept {
        std::size_t left = 0;
        for (std::size_t i = 0; i < n; ++i) {
            const auto [logit, id, weight] = candidates_[i];
            const logit_bias* const own = biases_.find(id);
            if (own != nullptr && detail::is_forbidden(own->bias)) {
                continue;
            }
            const float kept = penalized(own == nullptr ? logit : logit + own->bias, counts_.of(id));
            const auto* const repeats = repetition_.find(id);
            candidates_[left++] = {repeats == nullptr ? kept : kept - repeats->penalty, id, weight};
        }
        return left;
    }

    /// The first n candidates become the n largest of all.
    template <class At> void take_larger(std::size_t n, std::size_t size, At at) noexcept {
        candidate* heap = candidates_.data(); // the smallest on top
        for (std::size_t i = n / 2; i-- > 0;) {
            detail::sorting::sift_down(heap, n, i, before);
        }
        for (std::size_t i = n; i < size; ++i) {
            const candidate next = at(i);
            if (!(next.logit < heap[0].logit) && before(next, heap[0])) {
                heap[0] = next;
                detail::sorting::sift_down(heap, n, 0, before);
            }
        }
    }

    /// Moves the k largest of the first n to the front, sorted. \pre k <= n
    void sort_largest(std::size_t n, std::size_t k) noexcept { detail::sort_first(candidates_.data(), n, k, before); }

    [[nodiscard]] float penalized(float logit, std::uint32_t count) const noexcept {
        if (count == 0) {
            return logit;
        }
        const float p = options_.repeat_penalty;
        const float absent = -options_.presence_penalty;
        const float present =
            logit > 0.0f ? detail::exact_quotient(logit, p) + absent : detail::exact_fma(logit, p, absent);
        return detail::exact_fma(-static_cast<float>(count), options_.frequency_penalty, present);
    }

    /// The steps after DRY, over the first n candidates.
    [[nodiscard]] token choose_among(std::size_t n) noexcept {
        if (n == 0) {
            return no_token;
        }
        if (is_greedy()) {
            sort_largest(n, 1);
            return candidates_[0].id;
        }
        std::size_t kept = options_.top_k == 0 || options_.top_k > n ? n : options_.top_k;
        sort_largest(n, kept); // all later steps need the order
        kept = keep_typical(kept);
        kept = keep_top_p(kept);
        kept = keep_min_p(kept);
        return draw(kept);
    }

    /// The information content of a token less the entropy is the expected logit less its own: the logarithm of the sum
    /// is in both.
    [[nodiscard]] std::size_t keep_typical(std::size_t n) noexcept {
        if (options_.typical_p >= 1.0f) {
            return n;
        }
        const float sum = weigh(n, 1.0f);
        const float largest = candidates_[0].logit;
        float weighted = 0.0f;
        for (std::size_t i = 0; i < n; ++i) {
            const candidate& c = candidates_[i];
            weighted = c.weight > 0.0f ? detail::exact_fma(c.weight, c.logit - largest, weighted) : weighted;
        }
        const float expected = detail::exact_quotient(weighted, sum);
        const auto nearness = [&](const candidate& c) noexcept {
            const float away = (c.logit - largest) - expected;
            return away > 0.0f ? -away : away;
        };
        detail::sort_first(candidates_.data(), n, n, [&](const candidate& a, const candidate& b) noexcept {
            return detail::precedes(nearness(a), a.id, nearness(b), b.id);
        });
        const std::size_t kept = count_reaching(n, options_.typical_p * sum);
        sort_largest(kept, kept);
        return kept;
    }

    [[nodiscard]] std::size_t keep_top_p(std::size_t n) noexcept {
        if (options_.top_p >= 1.0f) {
            return n;
        }
        const float sum = weigh(n, 1.0f);
        return count_reaching(n, options_.top_p * sum);
    }

    /// How many of the first n have `enough` weight together.
    [[nodiscard]] std::size_t count_reaching(std::size_t n, float enough) const noexcept {
        float reached = 0.0f;
        for (std::size_t i = 0; i < n; ++i) {
            reached = reached + candidates_[i].weight;
            if (reached >= enough) {
                return i + 1;
            }
        }
        return n;
    }

    [[nodiscard]] std::size_t keep_min_p(std::size_t n) noexcept {
        if (options_.min_p <= 0.0f) {
            return n;
        }
        weigh(n, 1.0f);
        std::size_t kept = 1;
        while (kept < n && candidates_[kept].weight >= options_.min_p) {
            ++kept;
        }
        return kept;
    }

    [[nodiscard]] token draw(std::size_t n) noexcept {
        const float sum = weigh(n, options_.temperature);
        const float target = uniform() * sum;
        float reached = 0.0f;
        for (std::size_t i = 0; i < n; ++i) {
            reached = reached + candidates_[i].weight;
            if (reached > target) {
                return candidates_[i].id;
            }
        }
        return candidates_[0].id; // all weights were rounded to 0, or logits are not numbers
    }

    /// weight = e^((logit - largest) / temperature) for the first n. \return their sum, ascending.
    float weigh(std::size_t n, float temperature) noexcept {
        float sum = 0.0f;
        for (std::size_t i = 0; i < n; ++i) {
            const float below = candidates_[i].logit - candidates_[0].logit;
            const float weight = detail::software_exponential(detail::exact_quotient(below, temperature));
            candidates_[i].weight = weight;
            sum = sum + weight;
        }
        return sum;
    }

    /// Uniform in [0, 1) with 24 bits, by splitmix64 (Steele, Lea and Flood, 2014).
    [[nodiscard]] float uniform() noexcept {
        random_ += 0x9e3779b97f4a7c15u;
        std::uint64_t z = random_;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        z = z ^ (z >> 31);
        return static_cast<float>(z >> 40) * 0x1p-24f;
    }

    sampler_options options_;
    std::uint64_t random_ = 0;
    std::size_t vocabulary_ = 0;
    buffer<candidate> candidates_; ///< [what needs() can be, or the vocabulary]
    detail::token_counts counts_;  ///< of the recent tokens
    buffer<token> recent_;         ///< ring
    detail::bias_table biases_;
    detail::repetition_penalty repetition_;
    std::size_t accepted_ = 0;
};

} // namespace bitnet::inline BITNET_ABI
BITNET_PRECISE_END

#endif

// ---- bitnet/run/save_options.hpp ----
// save_options: what of a session is saved.
#ifndef BITNET_RUN_SAVE_OPTIONS_HPP
#define BITNET_RUN_SAVE_OPTIONS_HPP

namespace bitnet::inline BITNET_ABI {

struct save_options {
    /// Whether keys and values are saved. Without them a save has four bytes for each token, all of which are to run
    /// through the model again; embeddings that were fed cannot, so that they need keys and values.
    bool keys_and_values = true;
};

} // namespace bitnet::inline BITNET_ABI

#endif

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

namespace detail {

/// What any_session holds, compiled elsewhere. See any_session for what the functions promise.
class session_base {
public:
    session_base(const session_base&) = delete;
    session_base& operator=(const session_base&) = delete;
    virtual ~session_base() = default;

    /// \param visitor null: none
    [[nodiscard]] virtual result<void> feed(std::span<const token> tokens, const logits_visitor* visitor) = 0;
    [[nodiscard]] virtual result<void> feed_embeddings(std::span<const float> rows) = 0;
    [[nodiscard]] virtual std::optional<token> next(sampler& choose) = 0;
    [[nodiscard]] virtual std::optional<token> next(any_chooser choose) = 0;
    [[nodiscard]] virtual result<std::span<const float>> logits() = 0;
    [[nodiscard]] virtual result<std::span<const scored_token>> largest_logits(std::size_t k) = 0;
    [[nodiscard]] virtual result<token_logprob> logprobs(std::span<token_logprob> largest) = 0;
    [[nodiscard]] virtual result<std::span<const float>> embedding() = 0;
    [[nodiscard]] virtual const screen_statistics& screening() const noexcept = 0;
    [[nodiscard]] virtual result<void> queue(std::span<const token> tokens) = 0;
    /// \param choose null: nothing is asked of the head
    [[nodiscard]] virtual result<step_state> step(std::chrono::nanoseconds budget, const any_chooser* choose) = 0;
    [[nodiscard]] virtual result<void> reserve_ahead() = 0;
    virtual std::size_t queue_ahead(std::span<const token> guesses) = 0;
    virtual std::size_t run_ahead(std::span<const token> guesses) = 0;
    virtual void set_cancel_flag(const std::atomic<bool>* flag) noexcept = 0;
    virtual void reset() noexcept = 0;
    [[nodiscard]] virtual result<void> rewind(std::size_t position) = 0;
    [[nodiscard]] virtual bool can_rewind(std::size_t position) const noexcept = 0;
    [[nodiscard]] virtual result<std::unique_ptr<session_base>> fork() = 0;
    [[nodiscard]] virtual std::span<const token> tokens() const noexcept = 0;
    [[nodiscard]] virtual std::uint64_t saved_bytes(const save_options& options) const noexcept = 0;
    [[nodiscard]] virtual result<void> save(byte_sink sink, const save_options& options) const = 0;
    [[nodiscard]] virtual result<void> restore(std::span<const std::byte> saved, std::string_view name) = 0;
    [[nodiscard]] virtual std::size_t position() const noexcept = 0;
    [[nodiscard]] virtual std::size_t dropped() const noexcept = 0;
    [[nodiscard]] virtual std::size_t sinks() const noexcept = 0;
    [[nodiscard]] virtual std::size_t queued() const noexcept = 0;
    [[nodiscard]] virtual std::size_t context() const noexcept = 0;
    [[nodiscard]] virtual std::size_t threads() const noexcept = 0;
    [[nodiscard]] virtual const std::optional<token>& pending() const noexcept = 0;
    [[nodiscard]] virtual stop_reason stopped_by() const noexcept = 0;
    [[nodiscard]] virtual const error& last_error() const noexcept = 0;

protected:
    session_base() noexcept = default;
};

} // namespace detail

/// Borrows the model, which must outlive it. Move-only, and belongs to one thread at a time. Allocates in open() only:
/// 2 * layers * context * kv_heads * head_size elements of the policy's kv_element, scratch for `prompt_chunk` rows
/// (under 150 KiB a row for the 2B model), and eight rows of logits.
class any_session {
public:
    /// \return errc::invalid_argument (a context beyond the model's, no threads, no prompt chunk, a pooling other than
    /// mean and last), errc::out_of_memory with the bytes asked for, errc::thread_error.
    [[nodiscard]] static result<any_session> open(const any_model& opened, const session_options& options = {}) {
        return made(opened.base().open_session(options, nullptr));
    }
    /// The same on the caller's pool or job system, any loop_runner, which must outlive the session; options.threads is
    /// not used. Sessions that share a pool take turns: a pool runs one loop at a time.
    [[nodiscard]] static result<any_session> open(const any_model& opened, pool_ref pool,
                                                  const session_options& options = {}) {
        return made(opened.base().open_session(options, &pool));
    }
    static result<any_session> open(any_model&&, const session_options& = {}) = delete;           // would dangle
    static result<any_session> open(any_model&&, pool_ref, const session_options& = {}) = delete; // would dangle

    /// Appends tokens to the sequence and runs them through the model, `prompt_chunk` at a time.
    /// \return errc::invalid_token, errc::context_full if position() + tokens.size() exceeds the context; nothing is
    /// fed then, and the session goes on as it was. With a window there is always room, but pages that are shared with
    /// a fork are replaced as they are dropped: errc::kv_pool_full is as errc::cancelled then, see set_cancel_flag().
    [[nodiscard]] result<void> feed(std::span<const token> tokens) { return base_->feed(tokens, nullptr); }

    /// The same, and visits the logits [vocabulary] after each of `tokens`: visit(index, span<const float>). Reads the
    /// output matrix once for eight tokens.
    template <class Visit> [[nodiscard]] result<void> feed_each(std::span<const token> tokens, Visit&& visit) {
        const logits_visitor visitor = detail::visitor_of(visit);
        return base_->feed(tokens, &visitor);
    }

    /// Appends embeddings `rows` [n, hidden] in place of tokens, as front ends for speech and images make them, each as
    /// the first layer takes it: a token's would be its row of token_embd.weight times
    /// hyper_parameters::embedding_scale, and then the bits are those of feeding the token.
    /// \return errc::invalid_argument if rows.size() is no multiple of the hidden size or a number is not finite,
    /// errc::context_full; nothing is fed then, and the session goes on as it was.
    [[nodiscard]] result<void> feed_embeddings(std::span<const float> rows) { return base_->feed_embeddings(rows); }

    /// The next token; nullopt at a stop token, at the end of the context and after an error. stopped_by() says which,
    /// last_error() has the sentence. The token is part of the sequence from here on; it runs through the model with
    /// the following call. After nullopt the session can be fed and asked again.
    /// \pre `choose` was opened for this model's vocabulary size.
    [[nodiscard]] std::optional<token> next(sampler& choose) { return base_->next(choose); }
    /// The same by a chooser of the program's own: see token_chooser.
    template <token_chooser Chooser> [[nodiscard]] std::optional<token> next(Chooser& choose) {
        return base_->next(any_chooser(choose));
    }

    /// Accepts tokens as feed() does, and computes nothing: step() does, or else the next call that needs them. They
    /// are part of the sequence, and counted by position(), once they have run; rewind() and reset() drop those that
    /// have not. With a window there is room for at least `context` tokens in the queue. \return as feed(); nothing is
    /// queued then.
    [[nodiscard]] result<void> queue(std::span<const token> tokens) { return base_->queue(tokens); }
    /// Tokens in the queue.
    [[nodiscard]] std::size_t queued() const noexcept { return base_->queued(); }

    /// Runs the token that next() gave, then the queue, and returns before `budget` is used up: what goes on takes its
    /// time, measured before, into account, and where it is too long stops in a prompt, a layer or a product. It runs
    /// something each time, however small the budget, so that enough calls get to the end. The bits are those of calls
    /// that do not stop. Any other call finishes first what it needs. A fork that is used in between shares the
    /// working memory: what was begun of a pass, at most prompt_chunk tokens through the layers, starts again.
    /// \return working while there is more to do; errc::cancelled, errc::kv_pool_full; the queue stays as it is then.
    [[nodiscard]] result<step_state> step(std::chrono::nanoseconds budget) { return base_->step(budget, nullptr); }
    /// The same, and goes on with the logits that `choose` needs, so that next(choose) has no more to do than to
    /// choose. \return also errc::nothing_fed, errc::no_lm_head.
    template <token_chooser Chooser>
    [[nodiscard]] result<step_state> step(std::chrono::nanoseconds budget, Chooser& choose) {
        const any_chooser erased(choose);
        return base_->step(budget, &erased);
    }

    /// Runs the token that next() gave, and `guesses` for those that follow it, in one pass: as long as next() gives
    /// these, it has nothing to run. Changes no token and no logit, whatever the guesses are: what next() gives
    /// otherwise goes on in their place. Runs as many as have room in the context, in the kv_pool and in a pass of
    /// prompt_chunk and of 16 rows, and none from an id on that the vocabulary lacks. \return how many ran. 0 also if
    /// no token waits, or some do in the queue; if the last guesses are not used up; if embedding() is a mean; if
    /// cancelled.
    std::size_t run_ahead(std::span<const token> guesses) { return base_->run_ahead(guesses); }
    /// The same, and computes nothing: what needs the token that next() gave runs the guesses with it, step() within
    /// its budget. \return how many will run, unless what comes next takes the token back, or a fork, a batch or a
    /// scheduler works first. See speculation, which calls it.
    std::size_t queue_ahead(std::span<const token> guesses) { return base_->queue_ahead(guesses); }
    /// Allocates, once, what lets rows of guesses read the screen of the head together: where a model has one, some 6
    /// bytes for each of its rows and guess. Without it each reads the screen when next() comes to it. \return
    /// errc::out_of_memory.
    [[nodiscard]] result<void> reserve_ahead() { return base_->reserve_ahead(); }

    /// From here on `*flag`, which another thread may set, stops what computes, within milliseconds, until it is false
    /// again; null: no flag, as after opening, and in a fork. The flag outlives its use here.
    /// feed(), feed_each() and feed_embeddings() return errc::cancelled: the sequence has what ran of their tokens, all
    /// together prompt_chunk at a time, as position() says, and not the rest. next() returns nullopt, and stopped_by()
    /// is stop_reason::cancelled; logits() and the like and step() return errc::cancelled. Those lose nothing: the
    /// queue stays, and rewind(position()) drops it.
    void set_cancel_flag(const std::atomic<bool>* flag) noexcept { base_->set_cancel_flag(flag); }

    /// The logits [vocabulary] after the last token. Valid until the next call that is not const.
    /// \return errc::nothing_fed before the first token, errc::no_lm_head from a text embedding model.
    [[nodiscard]] result<std::span<const float>> logits() { return base_->logits(); }

    /// The k largest logits after the last token, the largest first, the lower id on ties; all if the vocabulary is
    /// smaller. The same bits as in logits(), and if the model has a screen mostly without reading the whole output
    /// matrix. Valid until the next call that is not const.
    /// \return errc::nothing_fed, errc::no_lm_head, errc::invalid_argument unless 1 <= k <= 256.
    [[nodiscard]] result<std::span<const scored_token>> largest_logits(std::size_t k) {
        return base_->largest_logits(k);
    }

    /// The logprob of the token that next() gave last (a stop token, too), relative to all tokens: of what the model
    /// says, before biases, penalties and temperature. Writes the largest.size() largest logprobs at that place to
    /// `largest`, the largest first, the lower id on ties. To be asked before the token runs, which happens with the
    /// next call of next(), feed() or logits(). The same bits on every instruction set, with any number of threads; the
    /// error is below 4e-6 and a float's rounding. Cost: the whole output matrix is read, unless logits() was called
    /// before next() or next() read it because its chooser needed all; and one exponential for each token of the
    /// vocabulary. \return errc::invalid_argument if next() has given no token that is still to run, or if more than
    /// 256 or than the vocabulary has are asked for; errc::no_lm_head.
    [[nodiscard]] result<token_logprob> logprobs(std::span<token_logprob> largest = {}) {
        return base_->logprobs(largest);
    }

    /// The embedding [hidden] of the sequence, for which text embedding models are trained: the mean of the hidden
    /// states of all tokens after the last norm, or the last token's, as the file or session_options::pooling says,
    /// scaled to length one. The dot product of two is their cosine. Valid until the next call that is not const.
    /// \return errc::nothing_fed before the first token.
    [[nodiscard]] result<std::span<const float>> embedding() { return base_->embedding(); }

    /// The embedding [hidden] of a sequence of its own: reset(), feed(tokens), embedding(). Of a text, see
    /// tokens_to_embed(). \return what these return.
    [[nodiscard]] result<std::span<const float>> embed(std::span<const token> tokens) {
        reset();
        if (auto fed = feed(tokens); !fed) {
            return failed(fed);
        }
        return embedding();
    }

    /// What finding the largest logits has cost so far; all zero without a screen.
    [[nodiscard]] const screen_statistics& screening() const noexcept { return base_->screening(); }

    /// Tokens in the sequence: those fed, embeddings included, and those that next() gave; without the queue. With a
    /// window those that were dropped count, too, so that it passes the context.
    [[nodiscard]] std::size_t position() const noexcept { return base_->position(); }
    /// How many of these a window has dropped: positions [sinks(), sinks() + dropped()). A multiple of 256.
    [[nodiscard]] std::size_t dropped() const noexcept { return base_->dropped(); }
    /// Positions at the front that are never dropped; 0 without a window.
    [[nodiscard]] std::size_t sinks() const noexcept { return base_->sinks(); }
    [[nodiscard]] std::size_t context() const noexcept { return base_->context(); }
    [[nodiscard]] std::size_t threads() const noexcept { return base_->threads(); }
    /// The token that next() gave and that has not run yet; nullopt if there is none.
    [[nodiscard]] const std::optional<token>& pending() const noexcept { return base_->pending(); }

    [[nodiscard]] stop_reason stopped_by() const noexcept { return base_->stopped_by(); }
    /// \pre stopped_by() == stop_reason::error
    [[nodiscard]] const error& last_error() const noexcept { return base_->last_error(); }

    /// The tokens of the sequence, position() of them without dropped(): those of the sinks, then those of the window.
    /// no_token where something else than a token was fed.
    [[nodiscard]] std::span<const token> tokens() const noexcept { return base_->tokens(); }

    /// Forgets the tokens from `position` on, and the queue; what follows has the bits of a session that never had
    /// them. The last token that is kept runs once more if nothing is fed before the next one is asked for. \return
    /// errc::invalid_argument if there are fewer tokens, or if embedding() is a mean, which nothing can be taken out
    /// of, or if a window has dropped what was seen at `position`: see can_rewind(). Nothing is forgotten then.
    [[nodiscard]] result<void> rewind(std::size_t position) { return base_->rewind(position); }
    /// Whether rewind(position) finds what it needs: always, if there are as many tokens, until a window has dropped
    /// something. After that for positions up to sinks(), and for those behind the first one of the last page.
    [[nodiscard]] bool can_rewind(std::size_t position) const noexcept { return base_->can_rewind(position); }

    /// A session with the same tokens that goes its own way. It shares threads and working memory with this one, so
    /// that both belong to one thread at a time, and a call of one ends the life of what the other's logits() gave. In
    /// a kv_pool it shares the pages, too, and copies the last one when one of the two writes it: see kv_pool for a
    /// prefix that many share. Without a pool keys and values are copied. Beside them a fork takes 4 bytes a position
    /// of its context and 4 a value of its hidden state. The queue stays with this session. \return
    /// errc::out_of_memory, errc::kv_pool_full.
    [[nodiscard]] result<any_session> fork() { return made(base_->fork()); }

    /// Writes the session as it is: its tokens, those that are queued too, what it needs to go on with the same bits,
    /// and by default its keys and values, as they are. A save is the same on every machine and instruction set, and
    /// does not depend on the context or the kv_pool, until a window has dropped something; its layout is in
    /// run/saved_session.hpp. Allocates nothing itself. The session is not changed.
    /// \return what the sink returns, and errc::invalid_argument if keys and values are left out and embeddings were
    /// fed or a window has dropped something: they cannot be computed again then.
    [[nodiscard]] result<void> save(byte_sink sink, const save_options& options = {}) const {
        return base_->save(sink, options);
    }
    /// Bytes that save() writes.
    [[nodiscard]] std::uint64_t saved_bytes(const save_options& options = {}) const noexcept {
        return base_->saved_bytes(options);
    }

    /// Becomes the session that was saved and forgets its own tokens; what follows has the bits that would have
    /// followed there. Without keys and values all tokens are queued: step() runs them within a budget, and what needs
    /// them otherwise. stopped_by() is none afterwards. Reads `saved` twice: every checksum is compared before anything
    /// is changed. Allocates nothing. \param saved all bytes of one save, which do not change meanwhile \param name
    /// what error messages call them, the file's name for instance \return errc::truncated, bad_magic, bad_version,
    /// bad_checksum, inconsistent or invalid_token for what is no whole save; wrong_model for one of another model, or
    /// of other elements of keys and values, rounding of activations, pooling, rotation of longrope, or of
    /// another window that has dropped something; context_full, kv_pool_full. The session goes on as it was then.
    [[nodiscard]] result<void> restore(std::span<const std::byte> saved, std::string_view name = "saved session") {
        return base_->restore(saved, name);
    }

    /// Starts an empty sequence. Frees and allocates nothing.
    void reset() noexcept { base_->reset(); }

    /// The library's own: for any_batch.
    [[nodiscard]] detail::session_base& base() noexcept { return *base_; }

private:
    explicit any_session(std::unique_ptr<detail::session_base> base) noexcept : base_(std::move(base)) {}

    [[nodiscard]] static result<any_session> made(result<std::unique_ptr<detail::session_base>> opened) {
        return opened ? result<any_session>(any_session(*std::move(opened))) : failed(opened);
    }

    std::unique_ptr<detail::session_base> base_;
};

} // namespace bitnet::inline BITNET_ABI

#endif

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// What one session gets in a step: a token, or an embedding [hidden] as any_session::feed_embeddings takes it.
struct batch_entry {
    any_session* of;
    token id; ///< not used if there is an embedding
    std::span<const float> embedding = {};
};

namespace detail {

/// What any_batch holds. See there for what the functions promise.
class batch_base {
public:
    batch_base(const batch_base&) = delete;
    batch_base& operator=(const batch_base&) = delete;
    virtual ~batch_base() = default;

    [[nodiscard]] virtual result<void> step(std::span<const batch_entry> entries) = 0;
    /// Room for the entries of a step.
    [[nodiscard]] virtual std::span<batch_entry> entries() noexcept = 0;
    [[nodiscard]] virtual std::size_t threads() const noexcept = 0;
    [[nodiscard]] virtual error too_many(std::size_t sessions) const = 0;

protected:
    batch_base() noexcept = default;
};

} // namespace detail

/// Steps sessions of one model together: decoding is bound by reading the weights, and here one reading serves all.
/// The logits are the bits that each session would have computed alone. Borrows the model, which must outlive it, and
/// sessions only during a call; after it they read the logits out of the batch's memory until its next step, and
/// compute them again if they are asked for later. Belongs to one thread at a time, together with the sessions that it
/// stepped. Allocates in open() only: scratch and logits for `sessions` rows (under 150 KiB and 4 bytes a token of the
/// vocabulary for each; memory that is never written is never used). Verifies no guesses: those of
/// any_session::queue_ahead() are dropped, and a scheduler is what has them in a pass of several.
///
///     while (is_any_going_on) {
///         batch.run_pending(sessions);                   // one pass over the weights
///         for (auto* each : sessions) each->next(choose) // only samples
///     }
class any_batch {
public:
    /// \return errc::invalid_argument (no sessions, too many, no threads), errc::no_lm_head (a text embedding model),
    /// errc::out_of_memory, errc::thread_error. \tparam Ladder as in conversation::open
    template <class Ladder = any_cpu>
    [[nodiscard]] static result<any_batch> open(const any_model& opened, const batch_options& options = {}) {
        return made(compiled_for<Ladder>::open_batch(opened, options, nullptr));
    }
    /// The same on the caller's pool, which must outlive the batch; options.threads and spin are not used.
    template <class Ladder = any_cpu>
    [[nodiscard]] static result<any_batch> open(const any_model& opened, pool_ref pool,
                                                const batch_options& options = {}) {
        return made(compiled_for<Ladder>::open_batch(opened, options, &pool));
    }
    static result<any_batch> open(any_model&&, const batch_options& = {}) = delete;           // would dangle
    static result<any_batch> open(any_model&&, pool_ref, const batch_options& = {}) = delete; // would dangle

    /// Appends one token or embedding to each session and runs them in one pass; then logits() of each gives what
    /// follows it. A session whose next() gave a token takes that token first, so the entry must name it. \pre no
    /// entry's session is null. \return errc::invalid_argument (more entries than sessions(), a session of another
    /// model, the same one twice, another token than next() gave, an embedding of another size or not finite),
    /// errc::invalid_token, errc::context_full, errc::kv_pool_full: every session is then as it was, but that after
    /// kv_pool_full a window may have dropped the page that it would have dropped for the next token.
    [[nodiscard]] result<void> step(std::span<const batch_entry> entries) { return base_->step(entries); }

    /// Steps those of `all` whose next() gave a token that has not run yet, so that their next() only samples.
    /// \param all a range of pointers to any_session or session<P>. \return what step() returns.
    template <class Sessions> [[nodiscard]] result<void> run_pending(const Sessions& all) {
        const std::span<batch_entry> entries = base_->entries();
        std::size_t count = 0;
        std::size_t pending = 0;
        for (any_session* each : all) {
            if (const auto& id = each->pending()) {
                ++pending;
                if (count != entries.size()) {
                    entries[count++] = {each, *id};
                }
            }
        }
        return pending > count ? base_->too_many(pending) : base_->step(entries.first(count));
    }

    [[nodiscard]] std::size_t sessions() const noexcept { return base_->entries().size(); }
    [[nodiscard]] std::size_t threads() const noexcept { return base_->threads(); }

private:
    explicit any_batch(std::unique_ptr<detail::batch_base> base) noexcept : base_(std::move(base)) {}

    [[nodiscard]] static result<any_batch> made(result<std::unique_ptr<detail::batch_base>> opened) {
        return opened ? result<any_batch>(any_batch(*std::move(opened))) : failed(opened);
    }

    std::unique_ptr<detail::batch_base> base_;
};

} // namespace bitnet::inline BITNET_ABI

#endif

// ---- bitnet/run/conversation.hpp ----
// conversation: a dialog with a model: what is said, what it answers, and what becomes of both.
#ifndef BITNET_RUN_CONVERSATION_HPP
#define BITNET_RUN_CONVERSATION_HPP

// ---- bitnet/run/conversation_options.hpp ----
// conversation_options: how a conversation is opened; what it is doing; why an answer ended.
#ifndef BITNET_RUN_CONVERSATION_OPTIONS_HPP
#define BITNET_RUN_CONVERSATION_OPTIONS_HPP

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

// ---- bitnet/run/tool_source.hpp ----
// tool_source: the functions that the model of a conversation may call, and what holds its answers to whole calls.
#ifndef BITNET_RUN_TOOL_SOURCE_HPP
#define BITNET_RUN_TOOL_SOURCE_HPP

// ---- bitnet/run/conversation_turn.hpp ----
// conversation_turn: one turn of a conversation's history.
#ifndef BITNET_RUN_CONVERSATION_TURN_HPP
#define BITNET_RUN_CONVERSATION_TURN_HPP

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

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

namespace bitnet::inline BITNET_ABI {

/// What a conversation does when its context has no room left.
enum class full_context : unsigned char {
    stop,        ///< an answer ends there, and what is said next is errc::context_full
    drop_oldest, ///< the oldest turns are forgotten, questions with their answers, and the rest is fed again
    /// The session goes on with a window, see session_options::window: nothing is fed again, and the answers are not
    /// those of drop_oldest. The system's turn is in the sinks, which are made as large as it needs. The history keeps
    /// all turns, those that the window has dropped, too. A change that goes back to what the window does not have any
    /// more, as regenerate() of a long answer may, feeds again all that follows the sinks; if that is more than the
    /// context, the oldest turns are forgotten.
    window
};

/// Texts are copied.
struct conversation_options {
    std::string_view system = {}; ///< what the model is told in front of all; empty: nothing
    /// Context, threads, pages. Its stop_at_stop_tokens is not used: the chat format says what ends an answer. Its
    /// `window` is the same as full_context::window.
    session_options session = {};
    std::optional<sampler_options> sampling = {}; ///< nullopt: as the file advises
    std::string_view chat_format = {};            ///< one of chat_format_names; empty: as the file says
    chat_options chat = {};                       ///< tools that are only declared, thinking
    /// Functions that the model may call, declared to it as its template has it, or in words: see tool_form. Borrowed:
    /// it must outlive the conversation and its forks. Null: none.
    const tool_source* tools = nullptr;
    tool_choice calls = {}; ///< whether it may or has to call them
    /// Whether what answers are begun with (say(text, begun)) may end in the middle of a word, as "Fra" of France: the
    /// model chooses the tokens of its end, whose bytes are the same. take_text() and the history are as without; what
    /// is written again counts for answer_limit. Not while choose_with() has a constrained chooser, for which there is
    /// token_constraint::restart_behind(), and not beside `tools`. Borrowed: it must outlive the conversation and its
    /// forks. Null: no.
    const prefix_source* heal = nullptr;
    full_context when_full = full_context::stop;
    /// drop_oldest: how many positions are to be free afterwards, if there are turns enough to drop: feeding the rest
    /// again takes time, and with more room happens less often. 0: a quarter of the context.
    std::size_t room = 0;
    /// An answer ends before the first of these that the text of take_text() would have. See stop_texts.
    std::span<const std::string_view> stop_texts = {};
    std::size_t answer_limit = 0; ///< tokens of an answer that the model writes; 0: no limit
    /// Whether tokens are guessed from what came before in the dialog, so that fewer passes give them where the model
    /// quotes, edits or repeats: the same answers, and no slower. See prompt_lookup and speculation. 12 to 16 bytes for
    /// each position of the context, and what any_session::reserve_ahead() takes. A fork has its own.
    bool lookup = false;
    /// A smaller model of the same vocabulary that guesses, where the lookup does not: see draft_model, which takes a
    /// session with the options of this one, without pages of a pool. A step can take longer than its budget by what
    /// the guesses of a pass take. Borrowed: it must outlive the conversation and its forks. Null: none.
    const any_model* draft = nullptr;
    speculation_options speculation = {}; ///< of both
    bool show_thoughts = false;           ///< whether take_text() has the thought in front of an answer
    bool show_special = false;            ///< whether take_text() has control tokens, as they are spelled
};

/// What the next step() of a conversation does.
enum class conversation_state : unsigned char {
    idle,    ///< nothing: all is read, and no answer is wanted or it has ended
    reading, ///< runs what was said
    speaking ///< writes the answer
};

/// Why an answer ended.
enum class answer_end : unsigned char {
    none,         ///< it did not, or there is none
    stop_token,   ///< the model ended its turn
    stop_text,    ///< it wrote one of conversation_options::stop_texts
    limit,        ///< it has conversation_options::answer_limit tokens
    cancelled,    ///< by cancel(), by a callback or by what was said next
    context_full, ///< there is no room, and there was nothing to drop
    error,        ///< see conversation::last_error()
    tool_calls    ///< it has calls, and ended its turn or may have no more of them: see conversation::calls()
};

namespace detail {

/// What gets the text of an answer: call(text), which returns false to stop it, or nothing. Borrowed.
class text_visitor {
public:
    template <class Call>
    explicit text_visitor(Call& call) noexcept
        : context_(const_cast<void*>(static_cast<const void*>(std::addressof(call)))),
          function_([](void* context, std::string_view text) -> bool {
              if constexpr (std::is_void_v<decltype((*static_cast<Call*>(context))(text))>) {
                  (*static_cast<Call*>(context))(text);
                  return true;
              } else {
                  return static_cast<bool>((*static_cast<Call*>(context))(text));
              }
          }) {}

    [[nodiscard]] bool operator()(std::string_view text) const { return function_(context_, text); }

private:
    void* context_;
    bool (*function_)(void*, std::string_view);
};

} // namespace detail

} // namespace bitnet::inline BITNET_ABI

#endif

// ---- bitnet/run/speaker.hpp ----
// speaker: what a scheduler works for, a session and how its next token is chosen.
#ifndef BITNET_RUN_SPEAKER_HPP
#define BITNET_RUN_SPEAKER_HPP

#include <cstddef>
#include <optional>
#include <span>

namespace bitnet::inline BITNET_ABI {

/// One of the many that a scheduler serves: a conversation, or a class of the program's own. The scheduler calls it on
/// the thread of its step() only.
class speaker {
public:
    /// The session that is run. The same one as long as a scheduler serves the speaker.
    [[nodiscard]] virtual any_session& session() noexcept = 0;
    /// How to choose the token after what was queued; nullopt if none is wanted now.
    [[nodiscard]] virtual std::optional<any_chooser> chooser() noexcept = 0;
    /// What session().next(chooser()) gave; nullopt: session().stopped_by() says why.
    virtual void take(std::optional<token> id) noexcept = 0;

    /// Guesses for the tokens behind the last one of the session, at most so many, which is no more than a pass has
    /// room for: see token_draft, which they may come from. They run in the pass of that token, and the scheduler goes
    /// on through them as long as take() is given these. Any guesses give the same tokens; how many are asked for
    /// follows how many came true and what rows cost. Counts into the time of the step. Read before the next call.
    [[nodiscard]] virtual std::span<const token> guess(std::size_t at_most) noexcept {
        static_cast<void>(at_most);
        return {};
    }

    /// Before take() of a token: what it adds to the speaker's statistics.
    virtual void add_statistics(const speculation_statistics& more) noexcept { static_cast<void>(more); }

    speaker(const speaker&) = default;
    speaker& operator=(const speaker&) = default;

protected:
    speaker() noexcept = default;
    ~speaker() = default;
};

} // namespace bitnet::inline BITNET_ABI

#endif

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

namespace detail {

/// What conversation holds. See there for what the functions promise.
class conversation_base : public speaker {
public:
    conversation_base(const conversation_base&) = delete;
    conversation_base& operator=(const conversation_base&) = delete;
    virtual ~conversation_base() = default;

    [[nodiscard]] virtual result<void> say(std::string_view text, std::string_view begun) = 0;
    [[nodiscard]] virtual result<void> add(const chat_message& message) = 0;
    [[nodiscard]] virtual result<void> say_results(std::span<const std::string> results) = 0;
    [[nodiscard]] virtual result<void> choose_calls(const tool_choice& choice) = 0;
    [[nodiscard]] virtual result<void> begin_answer(std::string_view begun) = 0;
    [[nodiscard]] virtual result<void> regenerate() = 0;
    [[nodiscard]] virtual result<void> edit(std::size_t turn, std::string_view text) = 0;
    [[nodiscard]] virtual result<void> rewind(std::size_t turns) = 0;
    [[nodiscard]] virtual result<void> reset() = 0;
    [[nodiscard]] virtual result<conversation_state> step(std::chrono::nanoseconds budget) = 0;
    [[nodiscard]] virtual result<answer_end> answer(text_visitor on_text) = 0;
    [[nodiscard]] virtual std::string_view take_text() noexcept = 0;
    virtual void cancel() noexcept = 0;
    [[nodiscard]] virtual result<void> retry() = 0;
    [[nodiscard]] virtual result<std::unique_ptr<conversation_base>> fork(std::optional<std::uint64_t> seed) = 0;
    [[nodiscard]] virtual result<void> save(byte_sink sink, const save_options& options) = 0;
    [[nodiscard]] virtual result<void> restore(std::span<const std::byte> saved, std::string_view name) = 0;
    virtual void choose_with(std::optional<any_chooser> chooser) noexcept = 0;
    [[nodiscard]] virtual conversation_state state() const noexcept = 0;
    [[nodiscard]] virtual answer_end ended_by() const noexcept = 0;
    [[nodiscard]] virtual const error& last_error() const noexcept = 0;
    [[nodiscard]] virtual bool is_in_thought() const noexcept = 0;
    [[nodiscard]] virtual std::span<const conversation_turn> history() const noexcept = 0;
    [[nodiscard]] virtual std::size_t dropped() const noexcept = 0;
    [[nodiscard]] virtual std::span<const token> tokens() const noexcept = 0;
    [[nodiscard]] virtual std::size_t prompt_tokens() const noexcept = 0;
    [[nodiscard]] virtual std::size_t answer_tokens() const noexcept = 0;
    [[nodiscard]] virtual const chat_template& format() const noexcept = 0;
    [[nodiscard]] virtual const sampler& chooses() const noexcept = 0;
    [[nodiscard]] virtual speculation_statistics speculated() const noexcept = 0;

    [[nodiscard]] std::span<const conversation_turn::call> calls() const noexcept {
        const std::span<const conversation_turn> turns = history();
        return turns.empty() ? std::span<const conversation_turn::call>() : turns.back().calls;
    }

protected:
    conversation_base() noexcept = default;
};

} // namespace detail

/// A dialog with a model, and all that it takes: a session, a sampler, the chat format. What a user says is never a
/// control token, only what is new is computed, and what the model writes comes as text.
///
///     auto talk = conversation::open(model, {.system = "You tell fairy tales."});
///     talk->say("Who lived in the castle?");
///     talk->answer([](std::string_view text) { std::cout << text; });
///
/// or, in a loop that cannot wait:
///
///     talk->step(std::chrono::milliseconds(2));
///     label += talk->take_text();
///
/// The tokens are those of a session that was fed the dialog by hand, whatever the steps, and whatever was said, taken
/// back or changed before. What fails changes nothing. Borrows the model, which must outlive it; move-only. Belongs to
/// one thread at a time, but for cancel(). step(), take() and take_text() allocate nothing once an answer was begun,
/// but where a stop text is cut off, where turns are dropped, for text of more than 8 bytes a token, and with a window
/// for an answer that is longer than the context; the other functions allocate what the texts of the dialog need.
class conversation final : public speaker {
public:
    /// Reads nothing yet: the system's turn is run by the first step(), or with what is said first. \tparam Ladder of
    /// the compiled_for that the program has; the model may be of another
    /// \return errc::no_lm_head from a text embedding model, errc::invalid_argument for a model without tokenizer; what
    /// any_model::chat, any_session::open, sampler::open, chat_template::open_dialog and stop_texts::open return;
    /// errc::context_full if the context has no room for the system's turn; with a window errc::invalid_argument if it
    /// leaves no page of 256 positions behind it.
    template <class Ladder = any_cpu>
    [[nodiscard]] static result<conversation> open(const any_model& model, const conversation_options& options = {}) {
        return made(compiled_for<Ladder>::open_conversation(model, options, nullptr));
    }
    /// The same on the caller's pool, which must outlive the conversation. See any_session::open.
    template <class Ladder = any_cpu>
    [[nodiscard]] static result<conversation> open(const any_model& model, pool_ref pool,
                                                   const conversation_options& options = {}) {
        return made(compiled_for<Ladder>::open_conversation(model, options, &pool));
    }
    static result<conversation> open(any_model&&, const conversation_options& = {}) = delete;           // would dangle
    static result<conversation> open(any_model&&, pool_ref, const conversation_options& = {}) = delete; // would dangle

    /// Adds a turn of the user's, which the model is to answer. Nothing is computed. An answer that is being given ends
    /// here. \param begun what the answer is to begin with: take_text() does not have it, the history has. It is text,
    /// and best ends where a word does, but with conversation_options::heal. \return errc::context_full, and what
    /// chat_dialog::add and tokenizer::encode return.
    [[nodiscard]] result<void> say(std::string_view text, std::string_view begun = {}) {
        return base_->say(text, begun);
    }

    /// Adds a turn of any role, such as the result of a tool or a part of an earlier dialog; no answer is wanted. An
    /// answer that is being given ends here. \return as say()
    [[nodiscard]] result<void> add(const chat_message& message) { return base_->add(message); }

    /// Adds the results of the last answer's calls, in their order, and the model is to go on: an answer begins.
    /// \return errc::invalid_argument where the last turn has other than so many calls; and as say()
    [[nodiscard]] result<void> say_results(std::span<const std::string> results) { return base_->say_results(results); }
    /// The same for an answer with one call.
    [[nodiscard]] result<void> say_result(std::string text) { return say_results(std::span(&text, 1)); }

    /// Whether the model may or has to call functions in its next answers; the one that is being given goes on as it
    /// was begun. \return errc::invalid_argument for a function that is not among conversation_options::tools
    [[nodiscard]] result<void> choose_calls(const tool_choice& choice) { return base_->choose_calls(choice); }

    /// The model is to answer what was added. \param begun as in say() \return as say()
    [[nodiscard]] result<void> begin_answer(std::string_view begun = {}) { return base_->begin_answer(begun); }

    /// The last answer is written anew, with the same beginning if the host gave one. The sampler goes on where it is,
    /// so that the answer is another one unless it is greedy.
    /// \return errc::invalid_argument if the last turn is no answer
    [[nodiscard]] result<void> regenerate() { return base_->regenerate(); }

    /// Puts `text` in place of the one of a turn of the history. Turns after it stay; an answer that is being given
    /// goes on, unless it is the one that was changed. Only what follows the change is computed again. \return
    /// errc::invalid_argument if there is no such turn, errc::context_full, what tokenizer::encode returns
    [[nodiscard]] result<void> edit(std::size_t turn, std::string_view text) { return base_->edit(turn, text); }

    /// Forgets the turns from `turns` on: rewind(0) is all of them, the system's turn too.
    /// \return errc::invalid_argument if there are fewer
    [[nodiscard]] result<void> rewind(std::size_t turns) { return base_->rewind(turns); }

    /// Starts anew, with the system's turn alone and the sampler as it was opened.
    [[nodiscard]] result<void> reset() { return base_->reset(); }

    /// Works on what is to be read or written, and returns before the budget is used up, or when nothing is left to do:
    /// see any_session::step. An answer can end in it: ended_by(). Where forks take turns, a step has to be long enough
    /// for a pass of at most prompt_chunk tokens, which the next fork drops otherwise; a scheduler has no such limit.
    /// \return what any_session::step and next return; the answer has ended with answer_end::error then, and retry()
    /// goes on.
    [[nodiscard]] result<conversation_state> step(std::chrono::nanoseconds budget) { return base_->step(budget); }

    /// Works until the answer has ended, and calls on_text(std::string_view) with its text as it comes. The call
    /// returns nothing, or false to end the answer there. \return why the answer ended, or what step() returns
    template <class OnText> [[nodiscard]] result<answer_end> answer(OnText&& on_text) {
        return base_->answer(detail::text_visitor(on_text));
    }

    /// The text that the answer got since the last call: whole characters, but for bytes at its end that are none. What
    /// may become a stop text or a thought is held back. What is not taken before another answer begins is lost. Valid
    /// until the next call of a function that is not const.
    [[nodiscard]] std::string_view take_text() noexcept { return base_->take_text(); }

    /// The answer that is being given ends as it stands, and what was not read of the question is not. Any thread may
    /// call it; a step() that runs meanwhile returns soon.
    void cancel() noexcept { base_->cancel(); }

    /// After answer_end::error: the answer goes on, for example because another conversation has given back pages.
    /// \return what say() returns
    [[nodiscard]] result<void> retry() { return base_->retry(); }

    /// A conversation that has the same past and goes its own way. It shares threads and working memory with this one,
    /// so that both belong to one thread at a time; in a kv_pool it shares the pages, too: a hundred characters have
    /// one description of their world. \param seed of the sampler's random numbers from here on; nullopt: they go on as
    /// this one's \return errc::out_of_memory, errc::kv_pool_full
    [[nodiscard]] result<conversation> fork(std::optional<std::uint64_t> seed = {}) { return made(base_->fork(seed)); }

    /// Writes the conversation as it is, an answer that is being given included: its turns, its sampler and its
    /// session. See any_session::save, whose options and errors it has. What choose_with() was given is not saved.
    [[nodiscard]] result<void> save(byte_sink sink, const save_options& options = {}) {
        return base_->save(sink, options);
    }
    /// Becomes the conversation that was saved; what follows is what would have followed there. Settings, such as stop
    /// texts and the system's text for reset(), stay those that this one was opened with.
    /// \param saved all bytes of one save, which do not change meanwhile \param name what error messages call them
    /// \return what any_session::restore and sampler::restore return, errc::wrong_model also if the dialog is other
    /// tokens here. The conversation goes on as it was then.
    [[nodiscard]] result<void> restore(std::span<const std::byte> saved, std::string_view name = "saved conversation") {
        return base_->restore(saved, name);
    }

    /// What chooses tokens from here on in place of the sampler, such as one that keeps to a grammar; nullopt: the
    /// sampler. It is not told of tokens that it did not choose. Borrowed: it must outlive its use.
    void choose_with(std::optional<any_chooser> chooser) noexcept { base_->choose_with(chooser); }

    [[nodiscard]] conversation_state state() const noexcept { return base_->state(); }
    /// Why the last answer ended.
    [[nodiscard]] answer_end ended_by() const noexcept { return base_->ended_by(); }
    /// \pre ended_by() == answer_end::error
    [[nodiscard]] const error& last_error() const noexcept { return base_->last_error(); }
    /// The calls of the last turn, if it is the assistant's: those that the model has written so far, each of them
    /// whole, and those of a turn that was added. Valid until the next call of a function that is not const.
    [[nodiscard]] std::span<const conversation_turn::call> calls() const noexcept { return base_->calls(); }
    /// Whether the answer is still in its thought, or ended in it.
    [[nodiscard]] bool is_in_thought() const noexcept { return base_->is_in_thought(); }

    /// The turns that are in the context, or have been in it with a window, an answer that is being given included.
    /// Valid until the next call of a function that is not const.
    [[nodiscard]] std::span<const conversation_turn> history() const noexcept { return base_->history(); }
    /// How many turns were dropped so far to make room.
    [[nodiscard]] std::size_t dropped() const noexcept { return base_->dropped(); }
    /// How many of tokens() a window has dropped, behind the first session().sinks().
    [[nodiscard]] std::size_t dropped_tokens() const noexcept { return base_->session().dropped(); }

    /// The tokens of the dialog, those that are not computed yet and those that a window has dropped included.
    [[nodiscard]] std::span<const token> tokens() const noexcept { return base_->tokens(); }
    [[nodiscard]] std::size_t position() const noexcept { return tokens().size(); } ///< how many
    [[nodiscard]] std::size_t context() const noexcept { return base_->session().context(); }
    /// Tokens in front of the last answer.
    [[nodiscard]] std::size_t prompt_tokens() const noexcept { return base_->prompt_tokens(); }
    /// Tokens that the model wrote of the last answer, without a stop token.
    [[nodiscard]] std::size_t answer_tokens() const noexcept { return base_->answer_tokens(); }

    /// How dialogs are written.
    [[nodiscard]] const chat_template& format() const noexcept { return base_->format(); }
    [[nodiscard]] const sampler& chooses() const noexcept { return base_->chooses(); }
    /// What guesses have saved, see conversation_options::lookup, on its own and in schedulers. All zero without.
    [[nodiscard]] speculation_statistics speculated() const noexcept { return base_->speculated(); }

    // What a scheduler uses.

    [[nodiscard]] any_session& session() noexcept override { return base_->session(); }
    [[nodiscard]] std::optional<any_chooser> chooser() noexcept override { return base_->chooser(); }
    void take(std::optional<token> id) noexcept override { base_->take(id); }
    void add_statistics(const speculation_statistics& more) noexcept override { base_->add_statistics(more); }
    [[nodiscard]] std::span<const token> guess(std::size_t at_most) noexcept override { return base_->guess(at_most); }

private:
    explicit conversation(std::unique_ptr<detail::conversation_base> base) noexcept : base_(std::move(base)) {}

    [[nodiscard]] static result<conversation> made(result<std::unique_ptr<detail::conversation_base>> opened) {
        return opened ? result<conversation>(conversation(*std::move(opened))) : failed(opened);
    }

    std::unique_ptr<detail::conversation_base> base_;
};

} // namespace bitnet::inline BITNET_ABI

#endif

// ---- bitnet/run/draft_model.hpp ----
// draft_model: guesses what a smaller model of the same vocabulary would say.
#ifndef BITNET_RUN_DRAFT_MODEL_HPP
#define BITNET_RUN_DRAFT_MODEL_HPP

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// A token_draft: a session of its own with another model, which follows the one whose tokens are guessed, also where
/// that is rewound, and gives the largest logit. Guesses nothing behind embeddings, behind a stop token, and where its
/// context is full. Borrows its model, which must outlive it. Serves one session at a time. Allocates in open() only.
class draft_model {
public:
    /// \param main whose tokens are guessed \param options of the session; its context is cut to what `drafting` has
    /// \return errc::invalid_argument if a token is not the same in both, naming the first, or if only one of them has
    /// a tokenizer; errc::no_lm_head; and what any_session::open returns.
    [[nodiscard]] static result<draft_model> open(const any_model& main, const any_model& drafting,
                                                  const session_options& options = {}) {
        return made(main, drafting, nullptr, options);
    }
    /// The same on the caller's pool, which must outlive it, and may be that of the session whose tokens are guessed.
    [[nodiscard]] static result<draft_model> open(const any_model& main, const any_model& drafting, pool_ref pool,
                                                  const session_options& options = {}) {
        return made(main, drafting, &pool, options);
    }
    static result<draft_model> open(const any_model&, any_model&&, const session_options& = {}) = delete; // dangle
    static result<draft_model> open(const any_model&, any_model&&, pool_ref, const session_options& = {}) = delete;

    /// See token_draft. No more than 64. Takes, without a stop, a pass for each guess, after those that read what is
    /// new in `all`: once the whole prompt.
    [[nodiscard]] std::span<const token> propose(std::span<const token> all, std::size_t at_most) {
        if (!follow(all)) {
            return {};
        }
        std::size_t count = 0;
        while (count < (std::min)(at_most, guesses_.size())) {
            const auto id = session_.next(choose_);
            if (!id) {
                break;
            }
            guesses_[count++] = *id;
        }
        return {guesses_.data(), count};
    }

    /// For its figures, and for a cancel flag: the guesses up to it are used then.
    [[nodiscard]] any_session& session() noexcept { return session_; }

private:
    draft_model(any_session session, sampler choose) noexcept
        : session_(std::move(session)), choose_(std::move(choose)) {}

    [[nodiscard]] static result<draft_model> made(const any_model& main, const any_model& drafting,
                                                  const pool_ref* pool, session_options options) {
        return detail::guarded([&]() -> result<draft_model> {
            if (auto checked = check_vocabularies(main, drafting); !checked) {
                return failed(checked);
            }
            options.context = (std::min)(options.context, drafting.parameters().context);
            auto session =
                pool != nullptr ? any_session::open(drafting, *pool, options) : any_session::open(drafting, options);
            if (!session) {
                return failed(session);
            }
            sampler_options greedy = sampler_options::greedy();
            greedy.penalty_window = 0;
            auto choose = sampler::open(greedy, drafting.parameters().vocabulary, options.memory);
            if (!choose) {
                return failed(choose);
            }
            return draft_model(*std::move(session), *std::move(choose));
        });
    }

    [[nodiscard]] static result<void> check_vocabularies(const any_model& main, const any_model& drafting) {
        if (drafting.parameters().is_embedder) {
            return error{errc::no_lm_head, "draft model: it is a text embedding model and has no next token"};
        }
        if (main.has_text() != drafting.has_text()) {
            return error{errc::invalid_argument,
                         "draft model: one of the two models was opened without a tokenizer, so "
                         "that their tokens cannot be compared"};
        }
        const std::size_t own = drafting.parameters().vocabulary;
        const std::size_t others = main.parameters().vocabulary;
        if (own != others) {
            return error{errc::invalid_argument, detail::sentence({"draft model: its vocabulary has ", own,
                                                                   " tokens, that of the model whose tokens it is to "
                                                                   "guess ",
                                                                   others})};
        }
        for (std::size_t i = 0; main.has_text() && i < own; ++i) {
            const auto id = static_cast<token>(i);
            const std::string_view here = bytes_of(drafting.text(), id);
            const std::string_view there = bytes_of(main.text(), id);
            if (here != there) {
                return error{
                    errc::invalid_argument,
                    detail::sentence({"draft model: its token ", i, " is ", detail::quoted{here},
                                      ", that of the model whose tokens it is to guess ", detail::quoted{there}})};
            }
        }
        return {};
    }
    [[nodiscard]] static std::string_view bytes_of(const tokenizer& text, token id) noexcept {
        return text.contains(id) ? text.bytes_of(id) : std::string_view();
    }

    /// Makes `all` the tokens of the session. \return whether they are
    [[nodiscard]] bool follow(std::span<const token> all) {
        const std::span<const token> own = session_.tokens();
        const std::size_t most = (std::min)(own.size(), all.size());
        const auto common = static_cast<std::size_t>(
            std::mismatch(own.begin(), own.begin() + static_cast<std::ptrdiff_t>(most), all.begin()).first -
            own.begin());
        if (!session_.rewind(common)) {
            return false;
        }
        if (!session_.feed(all.subspan(common))) {
            return false; // the next call goes on from what was fed
        }
        return true;
    }

    any_session session_;
    sampler choose_;
    std::array<token, 64> guesses_{};
};

} // namespace bitnet::inline BITNET_ABI

#endif

// ---- bitnet/run/embedding.hpp ----
// Text embeddings: the tokens of a text to embed.
#ifndef BITNET_RUN_EMBEDDING_HPP
#define BITNET_RUN_EMBEDDING_HPP

#include <string_view>
#include <vector>

namespace bitnet::inline BITNET_ABI {

/// The tokens of `text` as any_session::embed() wants them: bos before and eos after it if the file asks for them. Text
/// embedding models are trained with that eos, in which one that pools by the last state gathers the text. What else a
/// model wants around a text, such as an instruction before a query, is up to the caller. \pre model.has_text().
/// \return what tokenizer::encode returns.
[[nodiscard]] inline result<std::vector<token>> tokens_to_embed(const any_model& model, std::string_view text) {
    return detail::guarded([&]() -> result<std::vector<token>> {
        const tokenizer& tokens = model.text();
        std::vector<token> made;
        if (tokens.add_bos() && tokens.bos()) {
            made.push_back(*tokens.bos());
        }
        if (auto done = tokens.encode(text, made); !done) {
            return failed(done);
        }
        if (tokens.add_eos() && tokens.eos()) {
            made.push_back(*tokens.eos());
        }
        return made;
    });
}

} // namespace bitnet::inline BITNET_ABI

#endif

// ---- bitnet/run/memory_estimate.hpp ----
// memory_estimate: what a model and its sessions will take, before either is opened.
#ifndef BITNET_RUN_MEMORY_ESTIMATE_HPP
#define BITNET_RUN_MEMORY_ESTIMATE_HPP

#include <cstdint>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// Bytes. What model() and session() add up to is within 1 % of what opening allocates, but for the stacks of threads;
/// of memory that is allocated and not written the system uses none.
struct memory_estimate {
    // of a model
    std::uint64_t mapped = 0;    ///< the file's, where it is mapped or borrowed: the system's to keep or drop
    std::uint64_t copied = 0;    ///< the file's, where it is copied into memory
    std::uint64_t repacked = 0;  ///< ternary weights in another layout than the file's
    std::uint64_t screen = 0;    ///< of the head; made in the background if lm_head_mode::automatic says so
    std::uint64_t norms = 0;     ///< and biases, as F32
    std::uint64_t tokenizer = 0; ///< vocabulary and merges
    std::uint64_t tables = 0;    ///< of layers, metadata and tensors
    // of each session
    std::uint64_t keys_and_values = 0; ///< of the whole context; with a kv_pool, in whole pages of it
    std::uint64_t scratch = 0;         ///< rows of a prompt chunk, parts of attention, the search through the screen
    std::uint64_t logits = 0;
    std::uint64_t tokens = 0; ///< and the state of the last one
    /// What any_session::reserve_ahead() adds to a session, as speculation and conversation_options::lookup do; not
    /// part of session(). A draft_model takes the session() of its own file, with the same options and no kv_pool; a
    /// prompt_lookup what its bytes() say.
    std::uint64_t ahead = 0;

    /// What a model takes beside the pages of a mapped file.
    [[nodiscard]] std::uint64_t model() const noexcept {
        return copied + repacked + screen + norms + tokenizer + tables;
    }
    [[nodiscard]] std::uint64_t session() const noexcept { return keys_and_values + scratch + logits + tokens; }
};

/// What any_model::open and any_session::open would allocate with the same arguments, from the file's header: weights
/// are not read, but for scales of blocks. What depends on free memory (page_mode::automatic, lm_head_mode::automatic)
/// is decided as it would be now. \return what any_model::open returns for a header that it refuses, and
/// errc::invalid_argument for a context or prompt chunk that any_session::open refuses.
template <class Ladder = any_cpu>
[[nodiscard]] result<memory_estimate> estimate_memory(std::string_view utf8_path, const open_options& options = {},
                                                      const session_options& of_session = {},
                                                      std::string_view isa = {}) {
    return compiled_for<Ladder>::estimate(utf8_path, options, of_session, isa);
}
/// The same of a file that is open, whose pages are what they are.
template <class Ladder = any_cpu>
[[nodiscard]] result<memory_estimate> estimate_memory(const model_file& file, const open_options& options = {},
                                                      const session_options& of_session = {},
                                                      std::string_view isa = {}) {
    return compiled_for<Ladder>::estimate(file, options, of_session, isa);
}

} // namespace bitnet::inline BITNET_ABI

#endif

// ---- bitnet/run/prompt_lookup.hpp ----
// prompt_lookup: guesses that a sequence goes on as it did where its last tokens stood before.
#ifndef BITNET_RUN_PROMPT_LOOKUP_HPP
#define BITNET_RUN_PROMPT_LOOKUP_HPP

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// A token_draft without a model: copies what followed the longest of the sequence's ends that stands in it earlier,
/// the latest where several are as long; where that runs into the end of the sequence, it repeats. For texts that
/// quote, edit or summarise their prompt, code, JSON. Serves one session at a time, and finds out itself that one was
/// rewound. Allocates in open() only, 12 to 16 bytes for each position. Cost: 10 ns for each token that is new, and for
/// a guess some microseconds at most: no more than 32 places are compared. Saxena, "Prompt Lookup Decoding", 2023.
class prompt_lookup {
public:
    /// \param context of the session: positions beyond are not looked up
    /// \param shortest 1 to 16: ends of fewer tokens are not looked up. Less guesses more, and worse.
    /// \param memory null: operator new \return errc::invalid_argument, errc::out_of_memory.
    [[nodiscard]] static result<prompt_lookup> open(std::size_t context, std::size_t shortest = 3,
                                                    const memory_source* memory = nullptr) {
        if (shortest == 0 || shortest > longest) {
            return detail::error_saying(
                errc::invalid_argument,
                {"prompt lookup: ends of ", shortest, " tokens were asked for, 1 to ", longest, " are possible"});
        }
        prompt_lookup made;
        made.shortest_ = shortest;
        const std::size_t positions = (std::min)(context, most_positions);
        const detail::memory_from from{memory, {memory_use::scratch, false}};
        error failure;
        detail::allocate(made.seen_, positions, "prompt lookup", failure, from);
        detail::allocate(made.before_, positions, "prompt lookup", failure, from);
        detail::allocate(made.latest_, std::bit_ceil(positions + 1), "prompt lookup", failure, from);
        if (failure.code != errc{}) {
            return failure;
        }
        std::fill(made.latest_.span().begin(), made.latest_.span().end(), none);
        return made;
    }

    /// What it takes.
    [[nodiscard]] static std::uint64_t bytes(std::size_t context) noexcept {
        const std::size_t positions = (std::min)(context, most_positions);
        return std::uint64_t{positions} * (sizeof(token) + sizeof(std::uint32_t)) +
               std::uint64_t{std::bit_ceil(positions + 1)} * sizeof(std::uint32_t);
    }

    /// See token_draft. No more than 64.
    [[nodiscard]] std::span<const token> propose(std::span<const token> all, std::size_t at_most) noexcept {
        take_in(all);
        const std::size_t behind = find(all);
        if (behind == 0) {
            return {};
        }
        const std::size_t count = (std::min)(at_most, guesses_.size());
        for (std::size_t i = 0; i < count; ++i) {
            guesses_[i] = behind + i < all.size() ? all[behind + i] : guesses_[behind + i - all.size()];
        }
        return {guesses_.data(), count};
    }

private:
    static constexpr std::size_t longest = 16; ///< ends that are told apart
    static constexpr std::size_t most_places = 32;
    static constexpr std::size_t most_positions = std::size_t{1} << 24;
    static constexpr std::uint32_t none = UINT32_MAX;

    prompt_lookup() noexcept = default;

    /// Where positions are listed that end the same shortest_ tokens, and some others. \pre shortest_ <= end
    [[nodiscard]] std::uint32_t& list_of(std::span<const token> all, std::size_t end) noexcept {
        std::uint64_t hash = 0;
        for (std::size_t i = end - shortest_; i < end; ++i) {
            hash = (hash ^ static_cast<std::uint32_t>(all[i])) * 0x9e3779b97f4a7c15u;
            hash ^= hash >> 32;
        }
        return latest_[detail::to_size(hash & (latest_.size() - 1))];
    }

    /// Lists the tokens that are new, after those that a rewound session has no more. Places are named by the number of
    /// tokens before their end.
    void take_in(std::span<const token> all) noexcept {
        const std::size_t size = (std::min)(all.size(), seen_.size());
        for (const std::size_t common = common_begin(all.first((std::min)(known_, size))); known_ > common; --known_) {
            if (known_ >= shortest_) {
                list_of(seen_.span(), known_) = before_[known_ - 1]; // the latest of its list
            }
        }
        while (known_ < size) {
            seen_[known_] = all[known_];
            if (++known_ >= shortest_) {
                std::uint32_t& latest = list_of(all, known_);
                before_[known_ - 1] = std::exchange(latest, static_cast<std::uint32_t>(known_));
            }
        }
    }
    /// How many of the first tokens are those that were seen.
    [[nodiscard]] std::size_t common_begin(std::span<const token> all) const noexcept {
        if (all.empty() || std::memcmp(all.data(), seen_.data(), all.size_bytes()) == 0) {
            return all.size();
        }
        return static_cast<std::size_t>(std::mismatch(all.begin(), all.end(), seen_.data()).first - all.begin());
    }

    /// How many tokens stand before what is to be copied; 0 if there is nothing.
    [[nodiscard]] std::size_t find(std::span<const token> all) noexcept {
        const std::size_t size = all.size();
        if (size < shortest_ || size > seen_.size()) {
            return 0;
        }
        std::size_t best = 0;
        std::size_t best_length = shortest_ - 1;
        std::uint32_t place = list_of(all, size);
        for (std::size_t i = 0; i < most_places && place != none && best_length < longest; ++i) {
            if (place < size) { // not the end itself
                const std::size_t length = common_end(all, place);
                best = length > best_length ? place : best;
                best_length = (std::max)(length, best_length);
            }
            place = before_[place - 1];
        }
        return best;
    }
    /// How many tokens before `end` are those before the end of all, up to `longest`.
    [[nodiscard]] static std::size_t common_end(std::span<const token> all, std::size_t end) noexcept {
        const std::size_t most = (std::min)(end, longest);
        std::size_t length = 0;
        while (length < most && all[end - 1 - length] == all[all.size() - 1 - length]) {
            ++length;
        }
        return length;
    }

    std::size_t shortest_ = 3;
    buffer<token> seen_;           ///< [positions] as they were listed
    buffer<std::uint32_t> before_; ///< [positions] of a place, less one: the one in its list before it
    buffer<std::uint32_t> latest_; ///< [power of two] of a hash
    std::size_t known_ = 0;
    std::array<token, 64> guesses_{};
};

} // namespace bitnet::inline BITNET_ABI

#endif

// ---- bitnet/run/scheduler.hpp ----
// scheduler: many conversations on one model, all of them in one reading of its weights.
#ifndef BITNET_RUN_SCHEDULER_HPP
#define BITNET_RUN_SCHEDULER_HPP

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <utility>

namespace bitnet::inline BITNET_ABI {

namespace detail {

/// What scheduler holds. See there for what the functions promise.
class scheduler_base {
public:
    scheduler_base(const scheduler_base&) = delete;
    scheduler_base& operator=(const scheduler_base&) = delete;
    virtual ~scheduler_base() = default;

    [[nodiscard]] virtual result<void> add(speaker& who, int priority) = 0;
    virtual bool set_priority(const speaker& who, int priority) noexcept = 0;
    virtual bool remove(const speaker& who) noexcept = 0;
    /// \param budget nullopt: one pass, without end
    [[nodiscard]] virtual step_state step(std::optional<std::chrono::nanoseconds> budget) noexcept = 0;
    [[nodiscard]] virtual std::size_t speakers() const noexcept = 0;
    [[nodiscard]] virtual std::size_t threads() const noexcept = 0;

protected:
    scheduler_base() noexcept = default;
};

} // namespace detail

/// Serves many speakers with one model by continuous batching: each pass over the weights takes one token of all that
/// are speaking and a piece of the prompts of others, and speakers come and go between passes. Every one gets the bits,
/// and so the tokens, that it would have had alone.
///
/// In the order of priorities, the highest first, and of equal ones the one that waited longest; in every fourth pass
/// the waiting alone decides, so that among n speakers nobody waits for more than 4 n passes.
///
/// What fails, fails for one: a speaker whose context or KV pool is full, whose flag is set (see
/// any_session::set_cancel_flag) or that has nothing to continue gets take(nullopt), its session says why, and it is
/// left out until the next step() asks it again.
///
/// Borrows the model, which must outlive it, and speakers until they are removed. Sessions need no memory for the work
/// that is done here; those made by any_session::fork() have none of their own. Belongs to one thread at a time,
/// together with its speakers, their sessions and all that these share a working memory with. Between two calls
/// sessions may be used like any others; a pass that stopped halfway starts again if one of its sessions was run,
/// rewound or removed meanwhile. Allocates in open() only: scratch for the rows of a pass, and logits for `answers`
/// rows, of which what is never written is never used.
///
///     while (server_is_running()) {
///         add_and_remove_speakers();
///         if (all.step(2ms) == step_state::ready) { wait_for_requests(); }
///     }
class scheduler {
public:
    /// \return errc::invalid_argument (an option that is out of its range, no threads), errc::no_lm_head (a text
    /// embedding model), errc::out_of_memory, errc::thread_error. \tparam Ladder as in conversation::open
    template <class Ladder = any_cpu>
    [[nodiscard]] static result<scheduler> open(const any_model& opened, const scheduler_options& options = {}) {
        return made(compiled_for<Ladder>::open_scheduler(opened, options, nullptr));
    }
    /// The same on the caller's pool, which must outlive the scheduler; options.threads and spin are not used.
    template <class Ladder = any_cpu>
    [[nodiscard]] static result<scheduler> open(const any_model& opened, pool_ref pool,
                                                const scheduler_options& options = {}) {
        return made(compiled_for<Ladder>::open_scheduler(opened, options, &pool));
    }
    static result<scheduler> open(any_model&&, const scheduler_options& = {}) = delete;           // would dangle
    static result<scheduler> open(any_model&&, pool_ref, const scheduler_options& = {}) = delete; // would dangle

    /// Serves `who` from the next step() on; it must outlive that, or be removed before. \return
    /// errc::invalid_argument (its session is another model's or already served, too many speakers).
    [[nodiscard]] result<void> add(speaker& who, int priority = 0) { return base_->add(who, priority); }
    /// \return whether `who` is served here
    bool set_priority(const speaker& who, int priority) noexcept { return base_->set_priority(who, priority); }
    /// Its session has all tokens that it was given, and what is left in its queue. \return whether `who` was served
    bool remove(const speaker& who) noexcept { return base_->remove(who); }

    /// Works, and returns before `budget` is used up, as any_session::step() does: it may stop within a pass, and the
    /// next call goes on there. Choosing a token is not divided; one speaker's is the most that a budget is missed by.
    /// \return ready if no speaker has anything to do
    [[nodiscard]] step_state step(std::chrono::nanoseconds budget) noexcept { return base_->step(budget); }
    /// One whole pass, or the rest of one: for servers, which look for new requests between two.
    [[nodiscard]] step_state step() noexcept { return base_->step(std::nullopt); }

    [[nodiscard]] std::size_t speakers() const noexcept { return base_->speakers(); }
    [[nodiscard]] std::size_t threads() const noexcept { return base_->threads(); }

private:
    explicit scheduler(std::unique_ptr<detail::scheduler_base> base) noexcept : base_(std::move(base)) {}

    [[nodiscard]] static result<scheduler> made(result<std::unique_ptr<detail::scheduler_base>> opened) {
        return opened ? result<scheduler>(scheduler(*std::move(opened))) : failed(opened);
    }

    std::unique_ptr<detail::scheduler_base> base_;
};

} // namespace bitnet::inline BITNET_ABI

#endif

// ---- bitnet/run/speculation.hpp ----
// speculation: the tokens of a session from fewer passes, where a draft guesses them.
#ifndef BITNET_RUN_SPECULATION_HPP
#define BITNET_RUN_SPECULATION_HPP

// ---- bitnet/run/draft_length.hpp ----
// draft_length: how many tokens to guess, from what guesses cost and how many came true.
#ifndef BITNET_RUN_DRAFT_LENGTH_HPP
#define BITNET_RUN_DRAFT_LENGTH_HPP

// ---- bitnet/run/pass_times.hpp ----
// pass_times: how long passes take, by the number of their rows, as measured.
#ifndef BITNET_RUN_PASS_TIMES_HPP
#define BITNET_RUN_PASS_TIMES_HPP

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace bitnet::inline BITNET_ABI::detail {

/// Moving averages, in any unit, for 1 to 16 rows.
class pass_times {
public:
    static constexpr std::size_t most_rows = 16; ///< of a tile

    /// \pre 1 <= rows <= most_rows
    void learn(std::size_t rows, std::uint64_t time) noexcept {
        double& known = times_[rows - 1];
        const double now = static_cast<double>((std::max)(time, std::uint64_t{1}));
        // Slow passes count less: the system may have taken a core away.
        known = known == 0.0  ? now
                : now < known ? (known + now) / 2.0
                              : known + ((std::min)(now, 2.0 * known) - known) / 8.0;
    }
    [[nodiscard]] bool knows(std::size_t rows) const noexcept { return times_[rows - 1] != 0.0; }

    /// What more rows than `rows` took, long ago and perhaps while something else ran, is believed less. \pre
    /// knows(rows)
    void doubt_more_than(std::size_t rows) noexcept {
        const double base = times_[rows - 1];
        for (std::size_t i = rows; i < most_rows; ++i) {
            times_[i] = times_[i] > base ? times_[i] - (times_[i] - base) / 4.0 : times_[i];
        }
    }

    /// How much longer than `rows` so many `more` take, as a multiple of the time of `rows`, from 0 on: as measured, or
    /// else in line with the nearest that were. \pre knows(rows), rows + more <= most_rows
    [[nodiscard]] double excess(std::size_t rows, std::size_t more) const noexcept {
        const std::size_t at = rows - 1 + more;
        std::size_t fewer = at;
        while (times_[fewer] == 0.0) { // ends at `rows`
            --fewer;
        }
        const double base = times_[rows - 1];
        double time = times_[fewer];
        if (fewer != at) {
            time += (std::max)(each_beyond(rows - 1, fewer, at), 0.0) * static_cast<double>(at - fewer);
        }
        return (std::max)(time / base - 1.0, 0.0);
    }
    /// Whether so long a time is little beside that of one row.
    [[nodiscard]] bool is_little(std::uint64_t time) const noexcept {
        return static_cast<double>(time) * 64.0 < times_[0];
    }

private:
    /// Of a row beside the first one, before any was measured. Where it is less, that is seen after a single one.
    static constexpr double slope = 0.5;

    /// The time of a row more, between the nearest that are known.
    [[nodiscard]] double each_beyond(std::size_t base, std::size_t fewer, std::size_t at) const noexcept {
        std::size_t more = at;
        while (more + 1 < most_rows && times_[more] == 0.0) {
            ++more;
        }
        if (times_[more] != 0.0) {
            return (times_[more] - times_[fewer]) / static_cast<double>(more - fewer);
        }
        return fewer != base ? (times_[fewer] - times_[base]) / static_cast<double>(fewer - base)
                             : slope * times_[base];
    }

    std::array<double, most_rows> times_{}; ///< 0: not known
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

#include <algorithm>
#include <cstddef>

namespace bitnet::inline BITNET_ABI::detail {

/// A round is a pass and the tokens that it gives: one for each of its rows without guesses, and one more for each
/// guess in a row that comes true. The length is the one with the most tokens for the time, (rows + a + a b + a b^2
/// ...) / time(rows + guesses), where a is the share of first guesses that came true, and b that of those behind one
/// that did; 0 where guesses do not pay.
///
/// Shares are moving averages, which what is new deceives. So guesses are paid for out of a credit, too: what they cost
/// goes off it, in tokens that passes without them would have given in that time, each one that comes true is a token
/// more, and no length is chosen that would cost more than there is, even if all were wrong. The credit is one token
/// at first and grows by 1 for 100 rounds: whatever is guessed, n tokens take no longer than 1.01 n + 1 would, and what
/// one guess of unknown cost takes.
class draft_length {
public:
    static constexpr std::size_t most = pass_times::most_rows - 1;

    /// How many to guess for the next round, `limit` at most; none before a round without guesses was measured, and now
    /// and then to measure one again. \param rows of the pass without guesses, each of which gives a token \pre rows +
    /// limit <= pass_times::most_rows
    [[nodiscard]] std::size_t choose(std::size_t limit, const pass_times& times, std::size_t rows = 1) const noexcept {
        constexpr double margin = 1.03; // what guesses gain at least: what was measured is not exact
        if (!times.knows(rows) || with_ >= often) {
            return 0;
        }
        std::size_t best = 0;
        double best_rate = margin;
        double gained = 0.0;
        double reached = first_;
        for (std::size_t count = 1; count <= (std::min)(limit, most); ++count, reached *= later_) {
            gained += reached;
            const double cost = price(count, times, rows);
            const auto plain = static_cast<double>(rows);
            if (const double rate = (plain + gained) / (plain + cost); rate > best_rate && cost <= credit_) {
                best = count;
                best_rate = rate;
            }
        }
        return best;
    }

    /// A round is over that had so many guesses. \param times that know it, if it was measured
    void end_round(std::size_t count, const pass_times& times, std::size_t rows = 1) noexcept {
        constexpr double allowance = 0.01;
        if (times.knows(rows)) {
            add(allowance - (count != 0 ? price(count, times, rows) : 0.0), most_credit);
        }
        without_ = count == 0 ? without_ + 1 : 0;
        with_ = count == 0 ? 0 : with_ + 1;
    }
    /// Whether so many rounds in a row had no guesses that what they cost should be doubted. Says so once.
    [[nodiscard]] bool is_out_of_practice() noexcept {
        const bool is_long = without_ >= often;
        without_ = is_long ? 0 : without_;
        return is_long;
    }

    /// Whether a guess came true, the first of its round or a later one, all before which did. \param has_run whether
    /// it had a row: one that had none has cost nothing and gained nothing, but says whether it is worth a try.
    void learn(bool is_first, bool is_true, bool has_run) noexcept {
        double& share = is_first ? first_ : later_;
        share += ((is_true ? 1.0 : 0.0) - share) / 16.0;
        if (has_run) {
            add(is_true ? 1.0 : 0.0, most_credit);
        } else if (is_true) {
            add(0.5, first_credit);
        } else {
            credit_ = (std::min)(credit_, (std::max)(credit_ - 0.25, 0.0));
        }
    }

private:
    static constexpr unsigned often = 64;       ///< rounds
    static constexpr double first_credit = 1.0; ///< tokens
    static constexpr double most_credit = most; ///< so that what went well for long can be over soon

    /// In tokens that passes without guesses give.
    [[nodiscard]] static double price(std::size_t count, const pass_times& times, std::size_t rows) noexcept {
        return times.excess(rows, count) * static_cast<double>(rows);
    }
    /// \param end that this does not pass
    void add(double tokens, double end) noexcept {
        credit_ = (std::max)(credit_, (std::min)(credit_ + tokens, end));
        credit_ += (std::min)(tokens, 0.0);
    }

    double credit_ = first_credit;
    double first_ = 0.6;
    double later_ = 0.7;
    unsigned without_ = 0; ///< guesses: rounds in a row
    unsigned with_ = 0;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

// ---- bitnet/run/guess_round.hpp ----
// guess_round: the guesses that a pass verifies for one sequence, and what is learned from them.
#ifndef BITNET_RUN_GUESS_ROUND_HPP
#define BITNET_RUN_GUESS_ROUND_HPP

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>

namespace bitnet::inline BITNET_ABI::detail {

class guess_round {
public:
    /// Forgets the last round's guesses and asks for others, as many as pay, `limit` at most. Where none pays one is
    /// asked for all the same, to see whether it comes true: each time if asking takes no time. \param rows of the pass
    /// without guesses \param propose of a number: a span of guesses \return those that are to run
    template <class Propose>
    [[nodiscard]] std::span<const token> begin(std::size_t limit, const pass_times& times, std::size_t rows,
                                               bool is_adaptive, Propose&& propose) {
        begin_without();
        const std::size_t wanted = is_adaptive ? length_.choose(limit, times, rows) : limit;
        if (limit == 0 || (wanted == 0 && ++unasked_ < pause_)) {
            return {};
        }
        const auto start = std::chrono::steady_clock::now();
        const std::size_t count = (std::max)(wanted, std::size_t{1});
        const std::span<const token> all = propose(count);
        guessed_ = (std::min)(all.size(), count);
        std::copy_n(all.begin(), guessed_, guesses_.begin());
        const std::chrono::nanoseconds took = std::chrono::steady_clock::now() - start;
        unasked_ = 0;
        pause_ = times.is_little(static_cast<std::uint64_t>(took.count())) ? 1 : 32;
        return {guesses_.data(), wanted != 0 ? guessed_ : 0};
    }
    /// Tokens that are known to come: nothing is learned of them.
    [[nodiscard]] std::span<const token> begin_known(std::span<const token> known) noexcept {
        begin_without();
        guessed_ = (std::min)(known.size(), guesses_.size());
        std::copy_n(known.begin(), guessed_, guesses_.begin());
        is_known_ = true;
        return {guesses_.data(), guessed_};
    }
    void begin_without() noexcept {
        guessed_ = ran_ = at_ = 0;
        is_known_ = false;
    }
    /// How many of them have rows.
    void run(std::size_t count) noexcept { ran_ = count; }
    [[nodiscard]] std::size_t ran() const noexcept { return ran_; }
    [[nodiscard]] std::span<const token> running() const noexcept { return {guesses_.data(), ran_}; }

    /// The next token of the sequence. \return whether the row of a guess stands for it
    [[nodiscard]] bool take(token given) noexcept {
        if (at_ == guessed_ || at_ > ran_) {
            return false;
        }
        const bool is_true = guesses_[at_] == given;
        const bool has_run = at_ < ran_;
        if (!is_known_) {
            length_.learn(at_ == 0, is_true, has_run);
        }
        ++at_;
        return is_true && has_run;
    }

    /// The round has cost what `times` say.
    void end(pass_times& times, std::size_t rows) noexcept {
        if (is_known_) {
            return;
        }
        length_.end_round(ran_, times, rows);
        if (length_.is_out_of_practice() && times.knows(rows)) {
            times.doubt_more_than(rows);
        }
    }

private:
    draft_length length_;
    std::array<token, draft_length::most> guesses_{};
    std::size_t guessed_ = 0;
    std::size_t ran_ = 0; ///< of these
    std::size_t at_ = 0;  ///< the one that comes true next or not
    bool is_known_ = false;
    unsigned unasked_ = 0; ///< rounds in a row
    unsigned pause_ = 1;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif

// ---- bitnet/run/token_draft.hpp ----
// token_draft: what guesses the tokens that a session will give next.
#ifndef BITNET_RUN_TOKEN_DRAFT_HPP
#define BITNET_RUN_TOKEN_DRAFT_HPP

#include <concepts>
#include <cstddef>
#include <span>

namespace bitnet::inline BITNET_ABI {

/// propose(all, at_most): guesses for the tokens behind `all`, the tokens of a session (no_token where an embedding was
/// fed), at most so many, none if it has none. They are read before the next call. Any guess is allowed, ids that no
/// vocabulary has too: one that is wrong costs time and nothing else. `all` need not continue that of the call before.
template <class D>
concept token_draft = requires(D& draft, std::span<const token> all, std::size_t at_most) {
    { draft.propose(all, at_most) } -> std::same_as<std::span<const token>>;
};

} // namespace bitnet::inline BITNET_ABI

#endif

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// Gives what session.next() would give: the same tokens with the same logits, from the same calls of the chooser, so
/// that its random state, penalties and grammar are the same too. Guesses run in the pass of the token before them, and
/// next() goes on through them as long as it gives them. Where the draft guesses well, that saves passes.
///
///     auto lookup = bitnet::prompt_lookup::open(session.context());
///     auto faster = bitnet::speculation<bitnet::prompt_lookup>::open(session, *lookup);
///     while (const auto id = faster->next(choose)) ...                 // as session.next(choose)
///
/// Borrows session and draft, which must outlive it. The session can be used between two calls in any way. Belongs to
/// the session's thread. Allocates in open() only, see any_session::reserve_ahead(). A conversation has one of its own,
/// see conversation_options::lookup; for speakers of a scheduler, see speaker::guess.
template <token_draft D> class speculation {
public:
    /// \return errc::invalid_argument, errc::out_of_memory.
    [[nodiscard]] static result<speculation> open(any_session& session, D& draft,
                                                  const speculation_options& options = {}) {
        if (options.most > detail::draft_length::most) {
            return detail::error_saying(errc::invalid_argument,
                                        {"speculation: ", options.most, " guesses to a pass were asked for, up to ",
                                         detail::draft_length::most, " are possible"});
        }
        if (auto reserved = session.reserve_ahead(); !reserved) {
            return failed(reserved);
        }
        return speculation(session, draft, options);
    }

    /// See any_session::next(); stopped_by() and last_error() are the session's.
    template <token_chooser Chooser> [[nodiscard]] std::optional<token> next(Chooser& choose) {
        const auto start = clock::now();
        prepare_round(any_chooser(choose).forced());
        const auto given = session_->next(choose);
        take(given);
        time_ += clock::now() - start;
        return given;
    }

    /// See any_session::step(): the rows of guesses run within the budget, too. The draft is asked for guesses once
    /// before each round, and is not divided: a prompt_lookup takes microseconds, and a draft_model up to as many
    /// passes of its own as there are guesses, after one that reads what is new to it.
    template <token_chooser Chooser>
    [[nodiscard]] result<step_state> step(std::chrono::nanoseconds budget, Chooser& choose) {
        const auto start = clock::now();
        prepare_round(any_chooser(choose).forced());
        const auto asking = std::chrono::duration_cast<std::chrono::nanoseconds>(clock::now() - start);
        auto stepped = session_->step(budget - (std::min)(budget, asking), choose);
        time_ += clock::now() - start;
        return stepped;
    }

    [[nodiscard]] const speculation_statistics& statistics() const noexcept { return statistics_; }

private:
    using clock = std::chrono::steady_clock;

    speculation(any_session& session, D& draft, const speculation_options& options) noexcept
        : session_(&session), draft_(&draft), options_(options) {}

    /// Before the pass of a token, once.
    void prepare_round(std::span<const token> forced) {
        if (is_open_ && session_->position() != position_) { // it was fed, rewound or both
            is_open_ = is_measured_ = false;
        }
        if (!is_open_) {
            end_round();
            begin_round(forced);
        }
    }
    void end_round() noexcept {
        if (is_measured_) {
            times_.learn(1 + round_.ran(), nanoseconds(time_));
        }
        if (has_begun_) {
            round_.end(times_, 1);
        }
        time_ = {};
    }
    /// Guesses for the tokens behind the one that waits. \param forced those that the chooser knows, which run where
    /// the draft does not guess them and more
    void begin_round(std::span<const token> forced) {
        is_measured_ = has_begun_ = session_->pending().has_value() && session_->queued() == 0;
        is_open_ = true;
        has_passed_ = false;
        position_ = session_->position();
        const std::size_t kept = session_->tokens().size(); // with a window, one more than the context at times
        const std::size_t room = session_->context() - (std::min)(kept, session_->context());
        if (!is_measured_ || room == 0) {
            return round_.begin_without();
        }
        auto guesses = round_.begin((std::min)(options_.most, room), times_, 1, options_.is_adaptive,
                                    [&](std::size_t count) { return draft_->propose(session_->tokens(), count); });
        if (!forced.empty() &&
            (guesses.size() < forced.size() || !std::equal(forced.begin(), forced.end(), guesses.begin()))) {
            guesses = round_.begin_known(forced);
            is_measured_ = false;
        }
        if (!guesses.empty()) {
            round_.run(session_->queue_ahead(guesses));
            statistics_.drafted += round_.ran();
        }
    }

    void take(const std::optional<token>& given) noexcept {
        if (!given) {
            is_open_ = is_measured_ = false;
            return;
        }
        position_ = session_->position();
        ++statistics_.tokens;
        statistics_.passes += std::exchange(has_passed_, true) ? 0u : 1u;
        is_open_ = round_.take(*given);
        statistics_.accepted += is_open_ ? 1u : 0u;
    }

    [[nodiscard]] static std::uint64_t nanoseconds(clock::duration time) noexcept {
        return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(time).count());
    }

    any_session* session_;
    D* draft_;
    speculation_options options_;
    speculation_statistics statistics_;
    detail::guess_round round_;
    detail::pass_times times_;
    bool is_open_ = false;     ///< the round gives more tokens
    bool has_passed_ = false;  ///< the pass of this round is counted
    bool has_begun_ = false;   ///< a round of one pass
    bool is_measured_ = false; ///< and nothing came between
    clock::duration time_{};   ///< of this round
    std::size_t position_ = 0; ///< of the session, after the last token
};

} // namespace bitnet::inline BITNET_ABI

#endif

// ---- bitnet/text/stop_texts.hpp ----
// stop_texts: finds the texts at which an answer ends, and holds back what may become one.
#ifndef BITNET_TEXT_STOP_TEXTS_HPP
#define BITNET_TEXT_STOP_TEXTS_HPP

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// Takes an answer piece by piece and gives back what may be shown of it: nothing of a stop text ever is, wherever the
/// pieces are cut. Of several stop texts the one that is complete first is the hit; of those that end at the same byte
/// the longest, of equal ones the first. What is held back is the longest end of the answer that begins a stop text.
/// One stop_texts serves one answer at a time. Allocates in open() only, about 21 bytes for each byte of the texts.
/// Aho-Corasick over bytes (Aho and Corasick, 1975): a time linear in the answer, whatever the texts.
class stop_texts {
public:
    static constexpr std::size_t most = 64;      ///< texts
    static constexpr std::size_t longest = 1024; ///< bytes of one

    /// What came of feeding a piece.
    struct step {
        /// What may be shown now, in this order: what had been held back, and of the piece. Either may be empty. The
        /// first is valid as long as the stop_texts is neither moved nor destroyed, the second as long as the piece.
        std::array<std::string_view, 2> shown;
        std::optional<std::size_t> stop; ///< the index of the stop text that was hit
    };

    /// Copies the texts; without any, all that is fed is shown. \return errc::invalid_argument if there are more than
    /// 64, or if one is empty or has more than 1,024 bytes; errc::out_of_memory.
    [[nodiscard]] static result<stop_texts> open(std::span<const std::string_view> texts) {
        auto bytes = count_bytes(texts);
        if (!bytes) {
            return failed(bytes);
        }
        stop_texts made;
        buffer<std::uint32_t> queue;
        error failure;
        detail::allocate(made.bytes_, *bytes, "stop texts", failure);
        detail::allocate(made.nodes_, *bytes + 1, "automaton of stop texts", failure);
        detail::allocate(queue, *bytes + 1, "queue of stop texts", failure);
        if (failure.code != errc{}) {
            return failure;
        }
        made.add(texts);
        made.link(queue.span());
        return made;
    }

    /// Takes the next piece of the answer. After a hit nothing more is shown, and every further call names the same
    /// stop, until reset().
    [[nodiscard]] step feed(std::string_view piece) noexcept {
        if (hit_) {
            return {{}, hit_};
        }
        const std::string_view before = held();
        for (std::size_t i = 0; i < piece.size(); ++i) {
            state_ = after(state_, piece[i]);
            if (const std::size_t ended = nodes_[state_].stop; ended != 0) {
                hit_ = ended - 1;
                state_ = 0;
                return {without_end(before, piece.substr(0, i + 1), sizes_[ended - 1]), hit_};
            }
        }
        return {without_end(before, piece, nodes_[state_].depth), std::nullopt};
    }

    /// What is still held back, at the end of the answer, which has become no stop text; empty after a hit. Valid as
    /// long as the stop_texts is neither moved nor destroyed.
    [[nodiscard]] std::string_view flush() noexcept {
        const std::string_view rest = held();
        state_ = 0;
        return rest;
    }

    /// What is held back at present.
    [[nodiscard]] std::string_view held() const noexcept {
        return {bytes_.data() + nodes_[state_].text, nodes_[state_].depth};
    }

    /// Begins a new answer with the same texts.
    void reset() noexcept {
        state_ = 0;
        hit_.reset();
    }

private:
    /// A beginning of a stop text. Node 0 is the empty one.
    struct node {
        std::uint32_t child;   ///< the first of those one byte longer; 0 is none
        std::uint32_t sibling; ///< the next of those that differ in the last byte; 0 is none
        std::uint32_t failure; ///< the longest node that this one ends with
        std::uint32_t text;    ///< where in bytes_ a stop text begins with it
        std::uint16_t depth;   ///< its bytes
        std::uint8_t byte;     ///< the last of them
        std::uint8_t stop;     ///< 1 + index of the longest stop text that it ends with; 0 is none
    };
    static_assert(most < 256 && longest < 65536, "what a node has room for");

    stop_texts() noexcept = default;

    [[nodiscard]] static result<std::size_t> count_bytes(std::span<const std::string_view> texts) {
        if (texts.size() > most) {
            return detail::error_saying(errc::invalid_argument,
                                        {"stop texts: ", texts.size(), " were given, at most ", most, " are possible"});
        }
        std::size_t bytes = 0;
        for (std::size_t i = 0; i < texts.size(); ++i) {
            if (texts[i].empty() || texts[i].size() > longest) {
                return detail::error_saying(errc::invalid_argument, {"stop texts: text ", i, " has ", texts[i].size(),
                                                                     " bytes, 1 to ", longest, " are possible"});
            }
            bytes += texts[i].size();
        }
        return bytes;
    }

    void add(std::span<const std::string_view> texts) noexcept {
        std::uint32_t nodes = 1;
        std::uint32_t begin = 0;
        for (std::size_t i = 0; i < texts.size(); ++i) {
            std::uint32_t at = 0;
            std::uint16_t depth = 0;
            for (const char c : texts[i]) {
                bytes_[begin + depth++] = c;
                std::uint32_t next = child_of(at, c);
                if (next == 0) {
                    next = nodes++;
                    nodes_[next] = {0, nodes_[at].child, 0, begin, depth, static_cast<std::uint8_t>(c), 0};
                    nodes_[at].child = next;
                }
                at = next;
            }
            if (nodes_[at].stop == 0) {
                nodes_[at].stop = static_cast<std::uint8_t>(i + 1);
            }
            sizes_[i] = depth;
            begin += depth;
        }
    }

    /// Failure links, and the stops that come by them, from short nodes to long ones.
    void link(std::span<std::uint32_t> queue) noexcept {
        std::size_t queued = 1; // queue[0] is the empty node
        for (std::size_t i = 0; i < queued; ++i) {
            const std::uint32_t parent = queue[i];
            for (std::uint32_t at = nodes_[parent].child; at != 0; at = nodes_[at].sibling) {
                node& here = nodes_[at];
                if (parent != 0) {
                    here.failure = after(nodes_[parent].failure, static_cast<char>(here.byte));
                }
                if (here.stop == 0) {
                    here.stop = nodes_[here.failure].stop;
                }
                queue[queued++] = at;
            }
        }
    }

    [[nodiscard]] std::uint32_t child_of(std::uint32_t at, char byte) const noexcept {
        std::uint32_t child = nodes_[at].child;
        while (child != 0 && nodes_[child].byte != static_cast<std::uint8_t>(byte)) {
            child = nodes_[child].sibling;
        }
        return child;
    }

    /// The longest node that `at` and then `byte` end with.
    [[nodiscard]] std::uint32_t after(std::uint32_t at, char byte) const noexcept {
        for (;; at = nodes_[at].failure) {
            const std::uint32_t next = child_of(at, byte);
            if (next != 0 || at == 0) {
                return next;
            }
        }
    }

    /// `first` and then `second` without their last `bytes`. \pre there are as many
    [[nodiscard]] static std::array<std::string_view, 2> without_end(std::string_view first, std::string_view second,
                                                                     std::size_t bytes) noexcept {
        if (bytes <= second.size()) {
            return {first, second.substr(0, second.size() - bytes)};
        }
        return {first.substr(0, first.size() - (bytes - second.size())), std::string_view{}};
    }

    buffer<char> bytes_; ///< all texts, one after another
    buffer<node> nodes_;
    std::array<std::uint16_t, most> sizes_{};
    std::uint32_t state_ = 0;
    std::optional<std::size_t> hit_;
};

} // namespace bitnet::inline BITNET_ABI

#endif

// ---- bitnet/text/stream_decoder.hpp ----
// stream_decoder: the text of one token after another, in whole code points.
#ifndef BITNET_TEXT_STREAM_DECODER_HPP
#define BITNET_TEXT_STREAM_DECODER_HPP

#include <array>
#include <cstddef>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

struct stream_decoder_options {
    /// As in decode_options.
    bool follows_text = false;
    /// Whether control tokens are returned as they are spelled. If false they are left out, as people who read an
    /// answer expect: tokens that tokenizer::is_special() or is_stop() knows, and bos. tokenizer::decode() has them
    /// always.
    bool show_special = false;
};

/// Turns tokens into text that can be shown at once: a code point whose bytes are spread over several tokens is
/// returned with the last of them. No byte is replaced: those that are not UTF-8 are returned as they are, so that all
/// the text that feed() and flush() return is, byte for byte, tokenizer::decode() of all the tokens that are shown.
/// Holds back three bytes at most. Borrows the tokenizer, which must outlive it. Allocates in the constructor only, if
/// the vocabulary has tokens of more than 253 bytes; where that memory is refused, bytes that are held back before such
/// a token are lost.
class stream_decoder {
public:
    explicit stream_decoder(const tokenizer& t, stream_decoder_options options = {}) noexcept
        : tokenizer_(&t), show_special_(options.show_special),
          drop_space_(t.adds_space_prefix() && !options.follows_text) {
        const std::size_t most = held_.size() + t.longest_token();
        if (most > short_.size() && !detail::has_memory_for([&] { long_.resize(most); })) {
            long_.clear();
        }
    }
    explicit stream_decoder(tokenizer&&, stream_decoder_options = {}) = delete; // would dangle

    /// The text that became complete with `id`; may be empty. A token outside the vocabulary has no text.
    /// Valid until the next call.
    [[nodiscard]] std::string_view feed(token id) noexcept {
        std::string_view bytes = shows(id) ? tokenizer_->bytes_of(id) : std::string_view{};
        if (drop_space_ && !bytes.empty()) {
            bytes.remove_prefix(bytes.starts_with(' ') ? 1 : 0);
            drop_space_ = false;
        }
        const std::string_view text = after_held(bytes);
        held_size_ = detail::unfinished_tail(text);
        const std::string_view complete = text.substr(0, text.size() - held_size_);
        if (held_size_ != 0) {
            std::memcpy(held_.data(), complete.data() + complete.size(), held_size_);
        }
        return complete;
    }

    /// What is still held back: the start of a code point that was never completed. Valid until the next call.
    [[nodiscard]] std::string_view flush() noexcept { return {held_.data(), std::exchange(held_size_, 0)}; }

private:
    [[nodiscard]] bool shows(token id) const noexcept {
        return show_special_ ||
               !(tokenizer_->is_special(id) || tokenizer_->is_stop(id) || tokenizer_->bos() == std::optional(id));
    }
    /// The bytes that are held back, and `bytes` after them.
    [[nodiscard]] std::string_view after_held(std::string_view bytes) noexcept {
        const std::span<char> room = long_.empty() ? std::span<char>(short_) : std::span<char>(long_);
        if (held_size_ == 0 || held_size_ + bytes.size() > room.size()) {
            return bytes;
        }
        std::memcpy(room.data(), held_.data(), held_size_);
        if (!bytes.empty()) {
            std::memcpy(room.data() + held_size_, bytes.data(), bytes.size());
        }
        return {room.data(), held_size_ + bytes.size()};
    }

    const tokenizer* tokenizer_;
    std::array<char, 3> held_{};
    std::size_t held_size_ = 0;
    std::array<char, 256> short_{}; ///< for what is held back and the next token, one after the other
    std::string long_;              ///< the same for a vocabulary with longer tokens
    bool show_special_;
    bool drop_space_; ///< the first byte is still to come, and is dropped if it is a space
};

} // namespace bitnet::inline BITNET_ABI

#endif

#endif

#endif // BITNET_SECOND_VERSION
