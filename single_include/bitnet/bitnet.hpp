// SPDX-License-Identifier: MIT
// bitnet.hpp in one file, generated from include/bitnet/ by cmake/amalgamate.cmake: edit there, not here.
#pragma once

// ---- bitnet/bitnet.hpp ----
// All of bitnet.hpp.

// ---- bitnet/convert/checkpoint_comparison.hpp ----
// compare_checkpoints: whether two files hold the same model, ternary value by ternary value.

// ---- bitnet/convert/ternary_codes.hpp ----
// The codes of any ternary tensor, row by row: of a layout of this library, or of another format.

// ---- bitnet/core/config.hpp ----
// The only macros of the library: version, target architecture, code regions. None configures behaviour.

#define BITNET_VERSION_MAJOR 0
#define BITNET_VERSION_MINOR 1
#define BITNET_VERSION_PATCH 0

// Every name lives in `namespace bitnet::inline BITNET_ABI`, so that two versions can meet in one program.
#define BITNET_ABI v0

#if defined(__x86_64__) || defined(_M_X64)
#define BITNET_X86_64 1
#else
#define BITNET_X86_64 0
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
#if defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ != 0
#error "bitnet.hpp needs float arithmetic in float precision: on 32-bit x86 compile with -msse2 -mfpmath=sse"
#endif
#if !defined(_MSC_VER) && __cplusplus < 202002L
#error "bitnet.hpp needs C++20"
#endif

#if defined(_MSC_VER) && !defined(__clang__)
#define BITNET_ALWAYS_INLINE __forceinline
#else
#define BITNET_ALWAYS_INLINE __attribute__((always_inline)) inline
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
#if defined(__clang__)
#define BITNET_PRECISE_BEGIN _Pragma("float_control(precise, on, push)") _Pragma("clang fp contract(off)")
#define BITNET_PRECISE_END _Pragma("float_control(pop)")
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

// ---- bitnet/core/result.hpp ----
// errc, error and result<T>: how the library says that something did not work. Nothing here throws.

#include <cassert>
#include <memory>
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
    out_of_memory,      ///< the message holds the bytes asked for
    unsupported_cpu,    ///< no policy of the list runs on this CPU
    thread_error,       ///< the operating system refused a thread
    // bytes of a file
    truncated,     ///< the file ends before what it announces
    bad_magic,     ///< not a GGUF file
    bad_version,   ///< GGUF version other than 2 or 3, or byte-swapped
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
    // the caller's requests
    invalid_argument, ///< a value outside its documented range
    invalid_token,    ///< a token id outside the vocabulary
    context_full,     ///< more tokens than the context has room for
    nothing_fed,      ///< next() or logits() before any token was fed
    no_head,          ///< logits or tokens of a text embedding model
    cancelled,        ///< the caller's own callback stopped the work
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
        std::construct_at(std::addressof(value_), std::move(value));
    }
    result(bitnet::error failure) noexcept : ok_(false) {
        std::construct_at(std::addressof(error_), std::move(failure));
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
    [[nodiscard]] T* operator->() noexcept { return assert(ok_), std::addressof(value_); }
    [[nodiscard]] const T* operator->() const noexcept { return assert(ok_), std::addressof(value_); }

    /// \pre !has_value()
    [[nodiscard]] const bitnet::error& error() const& noexcept { return assert(!ok_), error_; }
    [[nodiscard]] bitnet::error&& error() && noexcept { return assert(!ok_), std::move(error_); }

private:
    void take(result&& other) {
        if (ok_) {
            std::construct_at(std::addressof(value_), std::move(other.value_));
        } else {
            std::construct_at(std::addressof(error_), std::move(other.error_));
        }
    }
    void destroy() noexcept {
        if (ok_) {
            std::destroy_at(std::addressof(value_));
        } else {
            std::destroy_at(std::addressof(error_));
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

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/io/gguf_reader.hpp ----
// gguf_file: reads GGUF versions 2 and 3 in place and refuses what does not hold together.

// ---- bitnet/core/buffer.hpp ----
// buffer<T>: aligned storage whose size a file or a caller controls; says out_of_memory instead of throwing.

// ---- bitnet/core/checked.hpp ----
// Size arithmetic that notices overflow: for every size that a file or a caller controls.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>

namespace bitnet::inline BITNET_ABI {

/// a + b, or nothing where it does not fit 64 bits.
[[nodiscard]] constexpr std::optional<std::uint64_t> checked_add(std::uint64_t a, std::uint64_t b) noexcept {
    if (b > std::numeric_limits<std::uint64_t>::max() - a) {
        return std::nullopt;
    }
    return a + b;
}

/// a * b, or nothing where it does not fit 64 bits.
[[nodiscard]] constexpr std::optional<std::uint64_t> checked_multiply(std::uint64_t a, std::uint64_t b) noexcept {
    if (a != 0 && b > std::numeric_limits<std::uint64_t>::max() / a) {
        return std::nullopt;
    }
    return a * b;
}

/// `value` rounded up to a multiple of `alignment` (a power of two), or nothing where that does not fit 64 bits.
[[nodiscard]] constexpr std::optional<std::uint64_t> checked_align(std::uint64_t value,
                                                                   std::uint64_t alignment) noexcept {
    const auto padded = checked_add(value, alignment - 1);
    return padded ? std::optional{*padded & ~(alignment - 1)} : std::nullopt;
}

} // namespace bitnet::inline BITNET_ABI

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// A fixed number of trivial elements, 64-byte aligned (a cache line, an AVX-512 register). Move-only.
template <class T>
requires std::is_trivially_copyable_v<T>
class buffer {
public:
    static constexpr std::size_t alignment = 64;
    static_assert(alignof(T) <= alignment);

    buffer() noexcept = default;
    buffer(buffer&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, std::size_t{0})) {}
    buffer& operator=(buffer&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        return *this;
    }
    buffer(const buffer&) = delete;
    buffer& operator=(const buffer&) = delete;
    ~buffer() { ::operator delete (data_, std::align_val_t{alignment}); }

    /// `size` elements, all bytes zero.
    /// \param what names the purpose in the error message.
    /// \return errc::out_of_memory with the bytes asked for.
    [[nodiscard]] static result<buffer> allocate(std::uint64_t size, std::string_view what) {
        auto made = allocate_uninitialized(size, what);
        if (made) {
            std::uninitialized_value_construct_n(made->data_, made->size_);
        }
        return made;
    }

    /// The same with bytes of any value: pages that are never written need no memory.
    [[nodiscard]] static result<buffer> allocate_uninitialized(std::uint64_t size, std::string_view what) {
        const auto bytes = checked_multiply(size, sizeof(T));
        if (!bytes || *bytes > static_cast<std::uint64_t>(PTRDIFF_MAX)) {
            return error{errc::out_of_memory, std::string(what) + ": " + std::to_string(size) + " elements of " +
                                                  std::to_string(sizeof(T)) + " bytes exceed the address space"};
        }
        void* memory = ::operator new (static_cast<std::size_t>(*bytes), std::align_val_t{alignment}, std::nothrow);
        if (memory == nullptr) {
            return error{errc::out_of_memory,
                         std::string(what) + ": " + std::to_string(*bytes) + " bytes could not be allocated"};
        }
        buffer made;
        made.size_ = static_cast<std::size_t>(size);
        made.data_ = static_cast<T*>(memory);
        return made;
    }

    [[nodiscard]] T* data() noexcept { return data_; }
    [[nodiscard]] const T* data() const noexcept { return data_; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] std::size_t size_bytes() const noexcept { return size_ * sizeof(T); }
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
    [[nodiscard]] std::span<T> span() noexcept { return {data_, size_}; }
    [[nodiscard]] std::span<const T> span() const noexcept { return {data_, size_}; }
    [[nodiscard]] T& operator[](std::size_t i) noexcept { return data_[i]; }
    [[nodiscard]] const T& operator[](std::size_t i) const noexcept { return data_[i]; }

private:
    T* data_ = nullptr;
    std::size_t size_ = 0;
};

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/core/byte_reader.hpp ----
// byte_reader: a cursor over untrusted little-endian bytes that never reads past their end.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

namespace bitnet::inline BITNET_ABI {

/// Reads forward through bytes that it borrows. A read that does not fit returns nothing and moves nothing.
class byte_reader {
public:
    explicit byte_reader(std::span<const std::byte> bytes, std::size_t offset = 0) noexcept
        : bytes_(bytes), offset_(offset < bytes.size() ? offset : bytes.size()) {}

    [[nodiscard]] std::size_t offset() const noexcept { return offset_; }
    [[nodiscard]] std::size_t remaining() const noexcept { return bytes_.size() - offset_; }

    /// The next sizeof(T) bytes as a T. Needs no alignment.
    template <class T>
    requires std::is_arithmetic_v<T>
    [[nodiscard]] std::optional<T> read() noexcept {
        if (remaining() < sizeof(T)) {
            return std::nullopt;
        }
        T value;
        std::memcpy(&value, bytes_.data() + offset_, sizeof(T));
        offset_ += sizeof(T);
        return value;
    }

    /// The next `count` bytes, in place. `count` is 64 bits wide on purpose: it comes from a file.
    [[nodiscard]] std::optional<std::span<const std::byte>> read_bytes(std::uint64_t count) noexcept {
        if (count > remaining()) {
            return std::nullopt;
        }
        const auto taken = bytes_.subspan(offset_, static_cast<std::size_t>(count));
        offset_ += taken.size();
        return taken;
    }

    /// A GGUF string: u64 length, then that many bytes, in place.
    [[nodiscard]] std::optional<std::string_view> read_string() noexcept {
        const std::size_t start = offset_;
        if (const auto length = read<std::uint64_t>()) {
            if (const auto text = read_bytes(*length)) {
                return std::string_view(reinterpret_cast<const char*>(text->data()), text->size());
            }
        }
        offset_ = start;
        return std::nullopt;
    }

private:
    std::span<const std::byte> bytes_;
    std::size_t offset_;
};

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/io/gguf_types.hpp ----
// The types of GGUF: of metadata values and of tensors, their names and their sizes in bytes.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <type_traits>

namespace bitnet::inline BITNET_ABI {

/// The type of a metadata value, with its id in the file.
enum class gguf_type : std::uint32_t {
    u8 = 0,
    i8 = 1,
    u16 = 2,
    i16 = 3,
    u32 = 4,
    i32 = 5,
    f32 = 6,
    boolean = 7,
    string = 8,
    array = 9,
    u64 = 10,
    i64 = 11,
    f64 = 12,
};

/// "u32", "string", ...; "unknown" for an id that GGUF does not define.
[[nodiscard]] constexpr std::string_view name_of(gguf_type type) noexcept {
    constexpr std::array<std::string_view, 13> names{"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                                     "bool", "string", "array", "u64", "i64", "f64"};
    const auto id = static_cast<std::size_t>(type);
    return id < names.size() ? names[id] : "unknown";
}

/// Bytes of one value; 0 for strings, arrays and unknown ids, which have no fixed size.
[[nodiscard]] constexpr std::uint64_t size_of(gguf_type type) noexcept {
    constexpr std::array<std::uint8_t, 13> sizes{1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    const auto id = static_cast<std::size_t>(type);
    return id < sizes.size() ? sizes[id] : 0;
}

/// The GGUF type that holds a C++ number or bool.
template <class T>
requires std::is_arithmetic_v<T>
[[nodiscard]] constexpr gguf_type gguf_type_of() noexcept {
    if constexpr (std::is_same_v<T, bool>) {
        return gguf_type::boolean;
    } else if constexpr (std::is_floating_point_v<T>) {
        static_assert(sizeof(T) == 4 || sizeof(T) == 8, "GGUF knows float and double");
        return sizeof(T) == 4 ? gguf_type::f32 : gguf_type::f64;
    } else {
        constexpr bool is_signed = std::is_signed_v<T>;
        switch (sizeof(T)) {
        case 1:
            return is_signed ? gguf_type::i8 : gguf_type::u8;
        case 2:
            return is_signed ? gguf_type::i16 : gguf_type::u16;
        case 4:
            return is_signed ? gguf_type::i32 : gguf_type::u32;
        default:
            return is_signed ? gguf_type::i64 : gguf_type::u64;
        }
    }
}

/// The element type of a tensor, with its id in the file. Ids 36 to 39 are those of microsoft/BitNet (upstream ggml
/// used them for others), 134 and above those of ik_llama.cpp, 0xb158vvll this library's own: layout ll, version vv.
enum class tensor_type : std::uint32_t {
    f32 = 0,
    f16 = 1,
    q4_0 = 2,
    q8_0 = 8,
    q4_k = 12,
    q6_k = 14,
    bf16 = 30,
    tq1_0 = 34,
    tq2_0 = 35,
    i2_s = 36,
    i8_s = 37,
    tl1 = 38,
    tl2 = 39,
    iq1_bn = 134,
    iq2_bn = 135,
    iq2_bn_r4 = 335,
    hpp_dense = 0xb1580101,  ///< kernel/dense.hpp
    hpp_tl1 = 0xb1580102,    ///< kernel/tl1.hpp
    hpp_tl2 = 0xb1580103,    ///< kernel/tl2.hpp
    hpp_screen = 0xb1580104, ///< simd/screen.hpp: the bytes of a screened head, no elements
    hf_packed = 0xb15801ff,  ///< never in a GGUF file: ternary U8 weights of Hugging Face, see model/packed_rows.hpp
};

/// How a tensor type stores its elements: blocks of `block_elements` in `block_bytes`, none of which crosses the end of
/// a row unless `flat`; `row_bytes` more at the start of every row and `tail_bytes` more after the last one.
struct tensor_format {
    tensor_type type;
    std::string_view name;
    std::uint32_t block_elements;
    std::uint32_t block_bytes;
    std::uint32_t row_bytes = 0;  ///< a scale per row
    std::uint32_t tail_bytes = 0; ///< one scale per tensor, padded
    bool flat = false;            ///< the whole tensor is one run of blocks
    std::uint32_t row_group = 1;  ///< rows that are stored interleaved
    bool padded = false;          ///< row_group rows of block_elements are one block; both ends are filled up
};

/// All tensor types that can be read. I2_S: four codes to a byte, then the f32 scale in 32 bytes; which code stands
/// where depends on the layout (A, B or C), which no file tells. TL2 has no fixed block: see tensor_bytes.
inline constexpr std::array<tensor_format, 21> tensor_formats{{
    {tensor_type::f32, "F32", 1, 4},
    {tensor_type::f16, "F16", 1, 2},
    {tensor_type::q4_0, "Q4_0", 32, 18},    // f16 scale, 32 * 4 bits
    {tensor_type::q8_0, "Q8_0", 32, 34},    // f16 scale, 32 * 8 bits
    {tensor_type::q4_k, "Q4_K", 256, 144},  // 2 f16, 8 * 12 bits of scales, 256 * 4 bits
    {tensor_type::q6_k, "Q6_K", 256, 210},  // 256 * 6 bits, 16 scales, f16
    {tensor_type::bf16, "BF16", 1, 2},      //
    {tensor_type::tq1_0, "TQ1_0", 256, 54}, // 48 * 5 + 4 * 4 trits, f16 scale
    {tensor_type::tq2_0, "TQ2_0", 256, 66}, // 256 * 2 bits, f16 scale
    {tensor_type::i2_s, "I2_S", 4, 1, 0, 32, true},
    {tensor_type::i8_s, "I8_S", 1, 1},
    {tensor_type::tl1, "TL1", 4, 1, 0, 0, true}, // the scale is a tensor of its own, as that of TL2
    {tensor_type::tl2, "TL2", 1, 0},
    {tensor_type::iq1_bn, "IQ1_BN", 64, 13, 2},                    // f16 scale per row
    {tensor_type::iq2_bn, "IQ2_BN", 64, 16, 4},                    // f32 scale per row
    {tensor_type::iq2_bn_r4, "IQ2_BN_R4", 64, 16, 4, 0, false, 4}, // four rows of it interleaved
    {tensor_type::hpp_dense, "HPP_DENSE", 320, 64, 0, 32, false, 1, true},
    {tensor_type::hpp_tl1, "HPP_TL1", 16, 128, 0, 32, false, 32, true},
    {tensor_type::hpp_tl2, "HPP_TL2", 24, 160, 0, 32, false, 32, true},
    {tensor_type::hpp_screen, "HPP_SCREEN", 1, 1},
    {tensor_type::hf_packed, "U8_PACKED", 4, 1, 0, 0, true}, // four rows to a byte
}};

/// How `type` is stored; null for an id that is not known here.
[[nodiscard]] constexpr const tensor_format* format_of(tensor_type type) noexcept {
    for (const auto& format : tensor_formats) {
        if (format.type == type) {
            return &format;
        }
    }
    return nullptr;
}

/// "F16", "I2_S", ...; "unknown" for an id that is not known here.
[[nodiscard]] constexpr std::string_view name_of(tensor_type type) noexcept {
    const auto* format = format_of(type);
    return format != nullptr ? format->name : "unknown";
}

/// Dimensions of a tensor, fastest first; those that it does not have are 1.
using tensor_dims = std::array<std::uint64_t, 4>;

/// The product of all dimensions, or nothing where it does not fit 64 bits.
[[nodiscard]] constexpr std::optional<std::uint64_t> element_count(const tensor_dims& dims) noexcept {
    std::optional<std::uint64_t> product = 1;
    for (const std::uint64_t dim : dims) {
        product = product ? checked_multiply(*product, dim) : product;
    }
    return product;
}

/// How many elements of a row must be present at a time: `dims[0]` must be a multiple of it (for flat formats, the
/// number of all elements). 1 for an unknown type.
[[nodiscard]] constexpr bool fits_blocks(tensor_type type, const tensor_dims& dims) noexcept {
    const auto* format = format_of(type);
    if (format == nullptr) {
        return false;
    }
    if (type == tensor_type::tl2) {
        return dims[0] >= 256; // its last 256 columns are stored as pairs
    }
    if (format->padded) {
        return true;
    }
    const auto elements = element_count(dims);
    const bool whole =
        format->flat ? elements && *elements % format->block_elements == 0 : dims[0] % format->block_elements == 0;
    return whole && dims[1] % format->row_group == 0;
}

/// TL2 as the converter of microsoft/BitNet counts it: three weights in 4 + 1 bits but for the last 256 columns, two
/// weights in four bits there. (Its loader counts 32 bytes more, for TL1 too, which in files that the converter wrote
/// are the tensor of the scale.)
[[nodiscard]] constexpr std::optional<std::uint64_t> tl2_bytes(const tensor_dims& dims) noexcept {
    const auto rows = checked_multiply(dims[1], checked_multiply(dims[2], dims[3]).value_or(0));
    const auto triples = checked_multiply(dims[0] - 256, rows.value_or(0));
    const auto triple_bits = triples ? checked_multiply(*triples / 3, 5) : triples;
    const auto pair_bytes = checked_multiply(64, rows.value_or(0));
    if (!rows || *rows == 0 || !triple_bits || !pair_bytes) {
        return std::nullopt;
    }
    return checked_add(*triple_bits / 8, *pair_bytes);
}

/// Blocks of a padded format, and its tail.
[[nodiscard]] constexpr std::optional<std::uint64_t> padded_bytes(const tensor_format& format,
                                                                  const tensor_dims& dims) noexcept {
    const auto rows = checked_multiply(dims[1], checked_multiply(dims[2], dims[3]).value_or(0));
    const std::uint64_t across = dims[0] / format.block_elements + (dims[0] % format.block_elements != 0 ? 1 : 0);
    const std::uint64_t down = rows.value_or(0) / format.row_group + (rows.value_or(0) % format.row_group != 0 ? 1 : 0);
    const auto blocks = checked_multiply(across, down);
    const auto bytes = blocks ? checked_multiply(*blocks, format.block_bytes) : blocks;
    return rows && *rows != 0 && bytes ? checked_add(*bytes, format.tail_bytes) : std::nullopt;
}

/// Bytes that a tensor takes in the file, without the padding behind it; nothing on overflow.
/// \pre fits_blocks(type, dims)
[[nodiscard]] constexpr std::optional<std::uint64_t> tensor_bytes(tensor_type type, const tensor_dims& dims) noexcept {
    const auto* format = format_of(type);
    const auto elements = element_count(dims);
    if (format == nullptr || !elements) {
        return std::nullopt;
    }
    if (type == tensor_type::tl2) {
        return tl2_bytes(dims);
    }
    if (format->padded) {
        return padded_bytes(*format, dims);
    }
    const auto blocks = checked_multiply(*elements / format->block_elements, format->block_bytes);
    const auto row_headers = checked_multiply(dims[0] != 0 ? *elements / dims[0] : 0, format->row_bytes);
    const auto sum = blocks && row_headers ? checked_add(*blocks, *row_headers) : std::nullopt;
    return sum ? checked_add(*sum, format->tail_bytes) : sum;
}

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/io/gguf_value.hpp ----
// gguf_value: one metadata entry of a GGUF file, in place.

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <span>
#include <string_view>
#include <type_traits>

namespace bitnet::inline BITNET_ABI {

/// The strings of a GGUF string array, one after the other (u64 length, bytes): a forward range of std::string_view.
/// Borrows bytes that gguf_file::parse has checked.
class gguf_strings {
public:
    class iterator {
    public:
        using value_type = std::string_view;
        using difference_type = std::ptrdiff_t;
        using iterator_category = std::input_iterator_tag; // in the old sense: operator* gives a value
        using iterator_concept = std::forward_iterator_tag;

        iterator() noexcept = default;
        explicit iterator(const std::byte* at) noexcept : at_(at) {}
        [[nodiscard]] std::string_view operator*() const noexcept {
            return {reinterpret_cast<const char*>(at_ + sizeof(std::uint64_t)), length()};
        }
        iterator& operator++() noexcept {
            at_ += sizeof(std::uint64_t) + length();
            return *this;
        }
        iterator operator++(int) noexcept {
            const iterator before = *this;
            ++*this;
            return before;
        }
        friend bool operator==(iterator, iterator) = default;

    private:
        [[nodiscard]] std::size_t length() const noexcept {
            std::uint64_t length = 0;
            std::memcpy(&length, at_, sizeof(length));
            return static_cast<std::size_t>(length);
        }
        const std::byte* at_ = nullptr;
    };

    gguf_strings() noexcept = default;
    /// \pre `bytes` holds exactly `count` strings.
    gguf_strings(std::span<const std::byte> bytes, std::uint64_t count) noexcept
        : bytes_(bytes), count_(static_cast<std::size_t>(count)) {}

    [[nodiscard]] iterator begin() const noexcept { return iterator{bytes_.data()}; }
    [[nodiscard]] iterator end() const noexcept { return iterator{bytes_.data() + bytes_.size()}; }
    [[nodiscard]] std::size_t size() const noexcept { return count_; }
    [[nodiscard]] bool empty() const noexcept { return count_ == 0; }

private:
    std::span<const std::byte> bytes_;
    std::size_t count_ = 0;
};

/// One metadata entry. Everything points into the file's bytes, which must outlive it.
struct gguf_value {
    std::string_view key;
    gguf_type type = gguf_type::u8;
    gguf_type element_type = gguf_type::u8; ///< of an array; otherwise equal to `type`
    std::uint64_t count = 1;                ///< elements of an array; otherwise 1
    /// A number's bytes, a string's characters, or all elements of an array (strings with their lengths).
    std::span<const std::byte> bytes;

    [[nodiscard]] bool is_array_of(gguf_type element) const noexcept {
        return type == gguf_type::array && element_type == element;
    }

    /// \pre type == gguf_type::string
    [[nodiscard]] std::string_view string() const noexcept {
        assert(type == gguf_type::string);
        return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    }

    /// The elements of a string array.
    /// \pre is_array_of(gguf_type::string)
    [[nodiscard]] gguf_strings strings() const noexcept {
        assert(is_array_of(gguf_type::string));
        return {bytes, count};
    }

    /// Element `i` of a numeric array, or, for i = 0, a single number. Needs no alignment.
    /// \pre element_type == gguf_type_of<T>() and i < count
    template <class T>
    requires std::is_arithmetic_v<T>
    [[nodiscard]] T element(std::uint64_t i) const noexcept {
        assert(element_type == gguf_type_of<T>() && i < count);
        T value;
        std::memcpy(&value, bytes.data() + static_cast<std::size_t>(i) * sizeof(T), sizeof(T));
        return value;
    }
};

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/io/quoted_name.hpp ----
// quoted_name: names out of untrusted files, made fit for an error message.

#include <cstddef>
#include <string>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// `name` in single quotes and printable ASCII: other bytes become \xHH, and what exceeds `longest` bytes becomes
/// "...".
/// A key of 64 KiB or a terminal escape sequence in a file must not reach a log as it is.
[[nodiscard]] inline std::string quoted_name(std::string_view name, std::size_t longest = 80) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string quoted = "'";
    for (const char c : name.substr(0, longest)) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte >= 0x20 && byte < 0x7f) {
            quoted += c;
        } else {
            quoted += "\\x";
            quoted += digits[byte >> 4];
            quoted += digits[byte & 15];
        }
    }
    return quoted += name.size() > longest ? "...'" : "'";
}

} // namespace bitnet::inline BITNET_ABI

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// One tensor of a GGUF file. Everything points into the file's bytes, which must outlive it. `bytes` is as aligned as
/// the file in memory and general.alignment make it.
struct gguf_tensor {
    std::string_view name;
    tensor_type type = tensor_type::f32;
    tensor_dims dims{1, 1, 1, 1}; ///< fastest first; those beyond `rank` are 1
    std::uint32_t rank = 0;
    std::uint64_t offset = 0; ///< from the start of the file
    std::span<const std::byte> bytes;
};

/// "[2560, 6912]", fastest dimension first.
[[nodiscard]] inline std::string dims_text(const gguf_tensor& tensor) {
    std::string text = "[";
    for (std::uint32_t i = 0; i < tensor.rank; ++i) {
        text += (i == 0 ? "" : ", ") + std::to_string(tensor.dims[i]);
    }
    return text + "]";
}

/// The metadata and tensors of one GGUF file, in place and checked. Borrows the file's bytes, which must outlive it;
/// immutable, so reading is thread-safe. Move-only; pointers and spans that it gave stay valid when it moves.
class gguf_file {
public:
    static constexpr std::uint64_t longest_key = 65536;
    static constexpr std::uint64_t longest_tensor_name = 128;

    /// Reads the header of `bytes`; touches no tensor data. `name` is what error messages call the file.
    /// Cost: O(n log n) in the number of keys and of tensors, one pass over the metadata; memory for 64 bytes per key
    /// and 96 per tensor, allocated after the counts are known to fit the file.
    /// \return one of errc's "bytes of a file" codes, with a sentence naming the key or tensor and both numbers, or
    /// errc::out_of_memory. Proven by tests/io/gguf_malformed_test.cpp.
    [[nodiscard]] static result<gguf_file> parse(std::span<const std::byte> bytes, std::string_view name);

    /// `file` with `more` tensors behind its own. Their names and bytes may lie anywhere and must outlive what is made;
    /// their offsets count from wherever they came from. For checkpoints whose tensors stay in files of other formats.
    /// \pre every tensor of `more` has the bytes that its type and dims need
    /// \return errc::duplicate_tensor or out_of_memory.
    [[nodiscard]] static result<gguf_file> extend(gguf_file file, std::span<const gguf_tensor> more);

    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] std::uint32_t version() const noexcept { return version_; }
    [[nodiscard]] std::uint32_t alignment() const noexcept { return alignment_; } ///< bytes
    [[nodiscard]] std::uint64_t data_offset() const noexcept { return data_offset_; }
    /// In the order of the file.
    [[nodiscard]] std::span<const gguf_value> metadata() const noexcept { return values_.span(); }
    /// In the order of the file.
    [[nodiscard]] std::span<const gguf_tensor> tensors() const noexcept { return tensors_.span(); }

    /// The entry called `key`, or null. O(log n).
    [[nodiscard]] const gguf_value* find(std::string_view key) const noexcept {
        return search(values_, keys_sorted_, key, [](const gguf_value& v) { return v.key; });
    }
    /// The tensor called `tensor_name`, or null. O(log n).
    [[nodiscard]] const gguf_tensor* find_tensor(std::string_view tensor_name) const noexcept {
        return search(tensors_, names_sorted_, tensor_name, [](const gguf_tensor& t) { return t.name; });
    }

    /// The value of `key` as bool, an integer, float, double or std::string_view (into the file's bytes). An integer is
    /// taken from any integer type if its value fits T, a double from f32 too; nothing else is converted.
    /// \return errc::missing_key, wrong_type (names both types) or out_of_range (names the value).
    template <class T> [[nodiscard]] result<T> get(std::string_view key) const {
        const gguf_value* value = find(key);
        if (value == nullptr) {
            return error{errc::missing_key, name_ + ": the metadata has no key " + quoted_name(key) + " (" +
                                                std::string(wanted<T>()) + " is needed)"};
        }
        return convert<T>(*value);
    }

    /// Like get(), but `fallback` where the key is missing. A value of a wrong type is still an error.
    template <class T> [[nodiscard]] result<T> get_or(std::string_view key, T fallback) const {
        const gguf_value* value = find(key);
        return value != nullptr ? convert<T>(*value) : result<T>(std::move(fallback));
    }

private:
    friend class gguf_parser;

    template <class Element, class Key>
    [[nodiscard]] static const Element* search(const buffer<Element>& all, const buffer<std::size_t>& sorted,
                                               std::string_view wanted_key, Key key_of) noexcept {
        const auto order = sorted.span();
        const auto less = [&](std::size_t i, std::string_view k) { return key_of(all[i]) < k; };
        const auto found = std::lower_bound(order.begin(), order.end(), wanted_key, less);
        return found != order.end() && key_of(all[*found]) == wanted_key ? &all[*found] : nullptr;
    }

    template <class T> [[nodiscard]] static constexpr std::string_view wanted() noexcept {
        if constexpr (std::is_arithmetic_v<T>) {
            return name_of(gguf_type_of<T>());
        } else {
            static_assert(std::is_same_v<T, std::string_view>, "metadata is read as a number, bool or string_view");
            return name_of(gguf_type::string);
        }
    }

    [[nodiscard]] static std::string type_text(const gguf_value& value) {
        const std::string element(name_of(value.element_type));
        return value.type == gguf_type::array ? "array of " + std::to_string(value.count) + " " + element : element;
    }

    template <class T> [[nodiscard]] error wrong_type(const gguf_value& value) const {
        return error{errc::wrong_type, name_ + ": metadata key " + quoted_name(value.key) + " is of type " +
                                           type_text(value) + ", " + std::string(wanted<T>()) + " is needed"};
    }

    template <class T> [[nodiscard]] result<T> convert(const gguf_value& value) const {
        if constexpr (std::is_same_v<T, std::string_view>) {
            return value.type == gguf_type::string ? result<T>(value.string()) : wrong_type<T>(value);
        } else if constexpr (std::is_same_v<T, bool>) {
            return value.type == gguf_type::boolean ? result<T>(value.bytes[0] != std::byte{0}) : wrong_type<T>(value);
        } else if constexpr (std::is_integral_v<T>) {
            return convert_integer<T>(value);
        } else {
            if (value.type == gguf_type_of<T>()) {
                return value.element<T>(0);
            }
            // Widening is exact; narrowing a double is not offered.
            return value.type == gguf_type::f32 && sizeof(T) == 8 ? result<T>(static_cast<T>(value.element<float>(0)))
                                                                  : wrong_type<T>(value);
        }
    }

    template <class T> [[nodiscard]] result<T> convert_integer(const gguf_value& value) const {
        switch (value.type) {
        case gguf_type::u8:
            return fit<T>(value, value.element<std::uint8_t>(0));
        case gguf_type::i8:
            return fit<T>(value, value.element<std::int8_t>(0));
        case gguf_type::u16:
            return fit<T>(value, value.element<std::uint16_t>(0));
        case gguf_type::i16:
            return fit<T>(value, value.element<std::int16_t>(0));
        case gguf_type::u32:
            return fit<T>(value, value.element<std::uint32_t>(0));
        case gguf_type::i32:
            return fit<T>(value, value.element<std::int32_t>(0));
        case gguf_type::u64:
            return fit<T>(value, value.element<std::uint64_t>(0));
        case gguf_type::i64:
            return fit<T>(value, value.element<std::int64_t>(0));
        default:
            return wrong_type<T>(value);
        }
    }

    template <class T, class Stored> [[nodiscard]] result<T> fit(const gguf_value& value, Stored number) const {
        if (std::in_range<T>(number)) {
            return static_cast<T>(number);
        }
        return error{errc::out_of_range, name_ + ": metadata key " + quoted_name(value.key) + " is " +
                                             std::to_string(number) + ", which does not fit the " +
                                             std::string(wanted<T>()) + " that is needed"};
    }

    std::string name_;
    std::uint32_t version_ = 0;
    std::uint32_t alignment_ = 32;
    std::uint64_t data_offset_ = 0;
    buffer<gguf_value> values_;
    buffer<gguf_tensor> tensors_;
    buffer<std::size_t> keys_sorted_;  // indices of values_ by key
    buffer<std::size_t> names_sorted_; // indices of tensors_ by name
};

/// One reading of a GGUF file: fills a gguf_file from front to back. Use gguf_file::parse.
class gguf_parser {
public:
    gguf_parser(std::span<const std::byte> bytes, std::string_view name) : bytes_(bytes), reader_(bytes) {
        file_.name_ = name;
    }
    explicit gguf_parser(gguf_file file) : reader_({}), file_(std::move(file)) {}

    [[nodiscard]] result<gguf_file> extend(std::span<const gguf_tensor> more) {
        const auto own = file_.tensors_.span();
        auto all = buffer<gguf_tensor>::allocate(own.size() + more.size(), file_.name_ + ": tensor list");
        if (!all) {
            return std::move(all).error();
        }
        std::ranges::copy(more, std::ranges::copy(own, all->data()).out);
        file_.tensors_ = *std::move(all);
        if (auto sorted = sort_names(); !sorted) {
            return std::move(sorted).error();
        }
        return std::move(file_);
    }

    [[nodiscard]] result<gguf_file> run() {
        for (const auto step : {&gguf_parser::read_header, &gguf_parser::read_metadata, &gguf_parser::sort_keys,
                                &gguf_parser::read_alignment, &gguf_parser::read_tensors, &gguf_parser::sort_names,
                                &gguf_parser::place_tensors, &gguf_parser::check_overlaps}) {
            if (auto done = (this->*step)(); !done) {
                return std::move(done).error();
            }
        }
        return std::move(file_);
    }

private:
    [[nodiscard]] error fail(errc code, const std::string& sentence) const {
        return error{code, file_.name_ + ": " + sentence};
    }
    [[nodiscard]] error ends(const std::string& where) const {
        return fail(errc::truncated, "the file ends inside " + where + " (" + std::to_string(reader_.remaining()) +
                                         " of its " + std::to_string(bytes_.size()) + " bytes are left there)");
    }
    [[nodiscard]] static std::string key_place(std::size_t i, std::string_view key) {
        return "metadata key " + std::to_string(i) + " " + quoted_name(key);
    }
    [[nodiscard]] static std::string tensor_place(const gguf_tensor& tensor) {
        return "tensor " + quoted_name(tensor.name);
    }

    [[nodiscard]] result<void> read_header() {
        constexpr std::size_t header_bytes = 24; // magic, version, two counts
        if (bytes_.size() < header_bytes) {
            return fail(errc::truncated, "the file has " + std::to_string(bytes_.size()) +
                                             " bytes, a GGUF header needs " + std::to_string(header_bytes));
        }
        const auto magic = *reader_.read_bytes(4);
        if (std::memcmp(magic.data(), "GGUF", 4) != 0) {
            const std::string_view found(reinterpret_cast<const char*>(magic.data()), 4);
            return fail(errc::bad_magic, "starts with " + quoted_name(found) + " instead of 'GGUF'");
        }
        file_.version_ = *reader_.read<std::uint32_t>();
        if (auto known = check_version(); !known) {
            return known;
        }
        tensor_count_ = *reader_.read<std::uint64_t>();
        key_count_ = *reader_.read<std::uint64_t>();
        return check_counts();
    }

    [[nodiscard]] result<void> check_version() const {
        const std::uint32_t version = file_.version_;
        if (version == 2 || version == 3) {
            return {};
        }
        if (version != 0 && (version & 0xffffu) == 0) {
            return fail(errc::bad_version, "the version field is " + std::to_string(version) +
                                               ": a byte-swapped (big-endian) GGUF file, only little-endian is read");
        }
        return fail(errc::bad_version, "GGUF version " + std::to_string(version) + ", only 2 and 3 are read");
    }

    [[nodiscard]] result<void> check_counts() const {
        // The least that an entry takes: key length 8, key 1, type 4, value 1; name length 8, name 1, rank 4, one
        // dimension 8, type 4, offset 8.
        constexpr std::uint64_t least_key_bytes = 14;
        constexpr std::uint64_t least_tensor_bytes = 33;
        const std::uint64_t left = reader_.remaining();
        if (key_count_ > left / least_key_bytes) {
            return fail(errc::bad_count, "announces " + std::to_string(key_count_) + " metadata keys, but only " +
                                             std::to_string(left) + " bytes follow");
        }
        if (tensor_count_ > (left - key_count_ * least_key_bytes) / least_tensor_bytes) {
            return fail(errc::bad_count, "announces " + std::to_string(tensor_count_) + " tensors, but only " +
                                             std::to_string(left) + " bytes follow");
        }
        return {};
    }

    [[nodiscard]] result<void> read_metadata() {
        auto values = buffer<gguf_value>::allocate(key_count_, file_.name_ + ": metadata");
        if (!values) {
            return std::move(values).error();
        }
        file_.values_ = *std::move(values);
        for (std::size_t i = 0; i < file_.values_.size(); ++i) {
            if (auto done = read_entry(i, file_.values_[i]); !done) {
                return done;
            }
        }
        return {};
    }

    [[nodiscard]] result<void> read_entry(std::size_t i, gguf_value& value) {
        const auto key = reader_.read_string();
        if (!key) {
            return ends("metadata key " + std::to_string(i) + " of " + std::to_string(key_count_));
        }
        if (key->empty() || key->size() > gguf_file::longest_key) {
            return fail(errc::bad_key, "metadata key " + std::to_string(i) + " has " + std::to_string(key->size()) +
                                           " bytes, 1 to " + std::to_string(gguf_file::longest_key) + " are allowed");
        }
        if (const auto nul = key->find('\0'); nul != std::string_view::npos) {
            return fail(errc::bad_key, key_place(i, *key) + " holds a NUL byte at " + std::to_string(nul));
        }
        value.key = *key;
        const auto type = reader_.read<std::uint32_t>();
        if (!type) {
            return ends("the type of " + key_place(i, *key));
        }
        value.type = value.element_type = static_cast<gguf_type>(*type);
        return value.type == gguf_type::array ? read_array(i, value) : read_single(i, value);
    }

    [[nodiscard]] result<void> read_single(std::size_t i, gguf_value& value) {
        if (value.type == gguf_type::string) {
            const auto text = reader_.read_string();
            if (!text) {
                return ends("the string of " + key_place(i, value.key));
            }
            value.bytes = std::as_bytes(std::span(*text));
            return {};
        }
        const std::uint64_t size = size_of(value.type);
        if (size == 0) {
            return unknown_type(i, value, value.type);
        }
        const auto bytes = reader_.read_bytes(size);
        if (!bytes) {
            return ends("the value of " + key_place(i, value.key));
        }
        value.bytes = *bytes;
        return check_bools(i, value);
    }

    [[nodiscard]] result<void> read_array(std::size_t i, gguf_value& value) {
        const auto element = reader_.read<std::uint32_t>();
        const auto count = reader_.read<std::uint64_t>();
        if (!element || !count) {
            return ends("the array header of " + key_place(i, value.key));
        }
        value.element_type = static_cast<gguf_type>(*element);
        value.count = *count;
        if (value.element_type == gguf_type::array) {
            return fail(errc::bad_value, key_place(i, value.key) + " is an array of arrays, which is not read");
        }
        if (value.element_type == gguf_type::string) {
            return read_strings(i, value);
        }
        const std::uint64_t size = size_of(value.element_type);
        if (size == 0) {
            return unknown_type(i, value, value.element_type);
        }
        const auto total = checked_multiply(value.count, size);
        const auto bytes = total ? reader_.read_bytes(*total) : std::nullopt;
        if (!bytes) {
            return bad_array_count(i, value);
        }
        value.bytes = *bytes;
        return check_bools(i, value);
    }

    [[nodiscard]] result<void> read_strings(std::size_t i, gguf_value& value) {
        if (value.count > reader_.remaining() / sizeof(std::uint64_t)) {
            return bad_array_count(i, value);
        }
        const std::size_t start = reader_.offset();
        for (std::uint64_t n = 0; n < value.count; ++n) {
            if (!reader_.read_string()) {
                return ends("string " + std::to_string(n) + " of the " + std::to_string(value.count) + " of " +
                            key_place(i, value.key));
            }
        }
        value.bytes = bytes_.subspan(start, reader_.offset() - start);
        return {};
    }

    [[nodiscard]] error unknown_type(std::size_t i, const gguf_value& value, gguf_type type) const {
        return fail(errc::bad_value, key_place(i, value.key) + " has the unknown value type " +
                                         std::to_string(static_cast<std::uint32_t>(type)) + ", 0 to 12 are known");
    }
    [[nodiscard]] error bad_array_count(std::size_t i, const gguf_value& value) const {
        return fail(errc::bad_count, key_place(i, value.key) + " announces an array of " + std::to_string(value.count) +
                                         " " + std::string(name_of(value.element_type)) + ", but only " +
                                         std::to_string(reader_.remaining()) + " bytes are left");
    }

    [[nodiscard]] result<void> check_bools(std::size_t i, const gguf_value& value) const {
        if (value.element_type != gguf_type::boolean) {
            return {};
        }
        const auto bad = std::ranges::find_if(value.bytes, [](std::byte b) { return b > std::byte{1}; });
        if (bad == value.bytes.end()) {
            return {};
        }
        return fail(errc::bad_value, key_place(i, value.key) + " holds the bool " +
                                         std::to_string(static_cast<unsigned>(*bad)) + ", only 0 and 1 are bools");
    }

    /// The indices of `all`, sorted by key: they find duplicates now and names later.
    template <class Element, class Key>
    [[nodiscard]] result<buffer<std::size_t>> sorted_indices(const buffer<Element>& all, Key key_of) const {
        auto order = buffer<std::size_t>::allocate(all.size(), file_.name_ + ": an index of names");
        if (order) {
            for (std::size_t i = 0; i < all.size(); ++i) {
                (*order)[i] = i;
            }
            const auto less = [&](std::size_t a, std::size_t b) {
                const auto compared = key_of(all[a]) <=> key_of(all[b]);
                return compared != 0 ? compared < 0 : a < b;
            };
            std::ranges::sort(order->span(), less);
        }
        return order;
    }

    [[nodiscard]] result<void> sort_keys() {
        auto order = sorted_indices(file_.values_, [](const gguf_value& v) { return v.key; });
        if (!order) {
            return std::move(order).error();
        }
        file_.keys_sorted_ = *std::move(order);
        for (std::size_t i = 1; i < file_.keys_sorted_.size(); ++i) {
            const std::size_t first = file_.keys_sorted_[i - 1];
            const std::size_t second = file_.keys_sorted_[i];
            if (file_.values_[first].key == file_.values_[second].key) {
                return fail(errc::duplicate_key, "metadata key " + quoted_name(file_.values_[first].key) +
                                                     " stands twice, as entry " + std::to_string(first) + " and " +
                                                     std::to_string(second));
            }
        }
        return {};
    }

    [[nodiscard]] result<void> read_alignment() {
        // The format asks for a multiple of 8; below that, floats could not be read in place.
        constexpr std::uint32_t least = 8;
        constexpr std::uint32_t largest = 65536;
        const gguf_value* value = file_.find("general.alignment");
        if (value == nullptr) {
            return {};
        }
        if (value->type != gguf_type::u32) {
            return fail(errc::bad_alignment,
                        "general.alignment is of type " + std::string(name_of(value->type)) + ", it must be u32");
        }
        file_.alignment_ = value->element<std::uint32_t>(0);
        if (file_.alignment_ < least || file_.alignment_ > largest || !std::has_single_bit(file_.alignment_)) {
            return fail(errc::bad_alignment, "general.alignment is " + std::to_string(file_.alignment_) +
                                                 ", it must be a power of two from " + std::to_string(least) + " to " +
                                                 std::to_string(largest));
        }
        return {};
    }

    [[nodiscard]] result<void> read_tensors() {
        auto tensors = buffer<gguf_tensor>::allocate(tensor_count_, file_.name_ + ": tensor list");
        if (!tensors) {
            return std::move(tensors).error();
        }
        file_.tensors_ = *std::move(tensors);
        for (std::size_t i = 0; i < file_.tensors_.size(); ++i) {
            if (auto done = read_tensor(i, file_.tensors_[i]); !done) {
                return done;
            }
        }
        return {};
    }

    [[nodiscard]] result<void> read_tensor(std::size_t i, gguf_tensor& tensor) {
        const auto name = reader_.read_string();
        if (!name) {
            return ends("the name of tensor " + std::to_string(i) + " of " + std::to_string(tensor_count_));
        }
        if (name->empty() || name->size() > gguf_file::longest_tensor_name) {
            return fail(errc::bad_tensor_name, "the name of tensor " + std::to_string(i) + " has " +
                                                   std::to_string(name->size()) + " bytes, 1 to " +
                                                   std::to_string(gguf_file::longest_tensor_name) + " are allowed");
        }
        tensor.name = *name;
        if (const auto nul = name->find('\0'); nul != std::string_view::npos) {
            return fail(errc::bad_tensor_name, tensor_place(tensor) + " holds a NUL byte at " + std::to_string(nul));
        }
        if (auto done = read_dims(tensor); !done) {
            return done;
        }
        const auto type = reader_.read<std::uint32_t>();
        const auto offset = reader_.read<std::uint64_t>();
        if (!type || !offset) {
            return ends("the type and offset of " + tensor_place(tensor));
        }
        tensor.type = static_cast<tensor_type>(*type);
        tensor.offset = *offset; // from the data section, until place_tensors
        return {};
    }

    [[nodiscard]] result<void> read_dims(gguf_tensor& tensor) {
        const auto rank = reader_.read<std::uint32_t>();
        if (!rank) {
            return ends("the number of dimensions of " + tensor_place(tensor));
        }
        // The converter of microsoft/BitNet writes the scales of TL1 and TL2 as tensors without dimensions: one
        // element.
        const bool single = *rank == 0 && tensor.name.ends_with(".weight_scale");
        if ((*rank == 0 && !single) || *rank > tensor.dims.size()) {
            return fail(errc::bad_shape,
                        tensor_place(tensor) + " has " + std::to_string(*rank) + " dimensions, 1 to 4 are allowed");
        }
        tensor.rank = *rank;
        for (std::uint32_t d = 0; d < *rank; ++d) {
            const auto dim = reader_.read<std::uint64_t>();
            if (!dim) {
                return ends("dimension " + std::to_string(d) + " of " + tensor_place(tensor));
            }
            tensor.dims[d] = *dim;
            if (*dim == 0 || *dim > static_cast<std::uint64_t>(INT64_MAX)) {
                return fail(errc::bad_shape, tensor_place(tensor) + ": dimension " + std::to_string(d) + " is " +
                                                 (*dim == 0 ? "0" : "negative") + ", it must be at least 1");
            }
        }
        return {};
    }

    [[nodiscard]] result<void> sort_names() {
        auto order = sorted_indices(file_.tensors_, [](const gguf_tensor& t) { return t.name; });
        if (!order) {
            return std::move(order).error();
        }
        file_.names_sorted_ = *std::move(order);
        for (std::size_t i = 1; i < file_.names_sorted_.size(); ++i) {
            const std::size_t first = file_.names_sorted_[i - 1];
            const std::size_t second = file_.names_sorted_[i];
            if (file_.tensors_[first].name == file_.tensors_[second].name) {
                return fail(errc::duplicate_tensor, tensor_place(file_.tensors_[first]) + " stands twice, as tensor " +
                                                        std::to_string(first) + " and " + std::to_string(second));
            }
        }
        return {};
    }

    [[nodiscard]] result<void> place_tensors() {
        const auto start = checked_align(reader_.offset(), file_.alignment_);
        if (!start) {
            return fail(errc::bad_offset, "the padding behind the tensor list overflows");
        }
        file_.data_offset_ = *start;
        for (gguf_tensor& tensor : file_.tensors_.span()) {
            const auto bytes = byte_size(tensor);
            if (!bytes) {
                return std::move(bytes).error();
            }
            if (auto done = place(tensor, *bytes); !done) {
                return done;
            }
        }
        return {};
    }

    [[nodiscard]] result<std::uint64_t> byte_size(const gguf_tensor& tensor) const {
        const auto* format = format_of(tensor.type);
        if (format == nullptr || tensor.type == tensor_type::hf_packed) {
            return fail(errc::unsupported_type, tensor_place(tensor) + " has the unknown tensor type " +
                                                    std::to_string(static_cast<std::uint32_t>(tensor.type)));
        }
        const std::string shape = " of shape " + dims_text(tensor);
        const auto elements = element_count(tensor.dims);
        if (!elements || *elements > static_cast<std::uint64_t>(INT64_MAX)) {
            return fail(errc::bad_shape,
                        tensor_place(tensor) + shape + " has more elements than 64 bits with a sign can count");
        }
        if (!fits_blocks(tensor.type, tensor.dims)) {
            return fail(errc::bad_shape, tensor_place(tensor) + shape + " does not fit the blocks of " +
                                             std::string(format->name) + ": " + block_rule(*format));
        }
        const auto bytes = tensor_bytes(tensor.type, tensor.dims);
        if (!bytes) {
            return fail(errc::bad_shape, tensor_place(tensor) + shape + " has more bytes as " +
                                             std::string(format->name) + " than 64 bits can count");
        }
        return *bytes;
    }

    [[nodiscard]] static std::string block_rule(const tensor_format& format) {
        if (format.type == tensor_type::tl2) {
            return "its rows must have at least 256 elements";
        }
        std::string rule = format.flat ? "the number of its elements" : "the first dimension";
        rule += " must be a multiple of " + std::to_string(format.block_elements);
        return format.row_group == 1 ? rule
                                     : rule + " and the second a multiple of " + std::to_string(format.row_group);
    }

    [[nodiscard]] result<void> place(gguf_tensor& tensor, std::uint64_t bytes) {
        if (tensor.offset % file_.alignment_ != 0) {
            return fail(errc::bad_offset, tensor_place(tensor) + " starts at offset " + std::to_string(tensor.offset) +
                                              ", which is no multiple of the alignment " +
                                              std::to_string(file_.alignment_));
        }
        const auto first = checked_add(file_.data_offset_, tensor.offset);
        const auto last = first ? checked_add(*first, bytes) : first;
        if (!last || *last > bytes_.size()) {
            return fail(errc::bad_offset, tensor_place(tensor) + " takes " + std::to_string(bytes) +
                                              " bytes at offset " + std::to_string(tensor.offset) +
                                              " of the data, which starts at " + std::to_string(file_.data_offset_) +
                                              ", but the file has " + std::to_string(bytes_.size()) + " bytes");
        }
        tensor.offset = *first;
        tensor.bytes = bytes_.subspan(static_cast<std::size_t>(*first), static_cast<std::size_t>(bytes));
        return {};
    }

    [[nodiscard]] result<void> check_overlaps() {
        auto order = buffer<std::size_t>::allocate(file_.tensors_.size(), file_.name_ + ": an index of offsets");
        if (!order) {
            return std::move(order).error();
        }
        for (std::size_t i = 0; i < order->size(); ++i) {
            (*order)[i] = i;
        }
        std::ranges::sort(order->span(), {}, [&](std::size_t i) { return file_.tensors_[i].offset; });
        for (std::size_t i = 1; i < order->size(); ++i) {
            if (auto done = check_neighbours(file_.tensors_[(*order)[i - 1]], file_.tensors_[(*order)[i]]); !done) {
                return done;
            }
        }
        return order->empty()
                   ? result<void>()
                   : check_space(file_.tensors_[(*order)[order->size() - 1]], bytes_.size(), "the end of the file");
    }

    [[nodiscard]] result<void> check_neighbours(const gguf_tensor& lower, const gguf_tensor& upper) const {
        const std::uint64_t space = upper.offset - lower.offset;
        const std::uint64_t bytes = lower.bytes.size();
        if (space < bytes) {
            return fail(errc::bad_offset, tensor_place(lower) + " (bytes " + std::to_string(lower.offset) + " to " +
                                              std::to_string(lower.offset + bytes) + ") and " + tensor_place(upper) +
                                              " (from " + std::to_string(upper.offset) + ") overlap");
        }
        return check_space(lower, upper.offset, "the next tensor");
    }

    /// Upstream ggml gave ids 36 to 39 to types of 4.25 bits and more per element: twice the bytes of ours.
    [[nodiscard]] result<void> check_space(const gguf_tensor& tensor, std::uint64_t end, std::string_view what) const {
        const std::uint64_t space = end - tensor.offset;
        const bool claimed_twice = tensor.type >= tensor_type::i2_s && tensor.type <= tensor_type::tl2;
        if (claimed_twice && space / 2 >= tensor.bytes.size() + file_.alignment_) {
            return fail(errc::unsupported_type, tensor_place(tensor) + " would take " +
                                                    std::to_string(tensor.bytes.size()) + " bytes as " +
                                                    std::string(name_of(tensor.type)) + ", but " +
                                                    std::to_string(space) + " bytes lie before " + std::string(what) +
                                                    ": its type id means another type to whoever wrote it");
        }
        return {};
    }

    std::span<const std::byte> bytes_;
    byte_reader reader_;
    gguf_file file_;
    std::uint64_t tensor_count_ = 0;
    std::uint64_t key_count_ = 0;
};

inline result<gguf_file> gguf_file::parse(std::span<const std::byte> bytes, std::string_view name) {
    return gguf_parser(bytes, name).run();
}

inline result<gguf_file> gguf_file::extend(gguf_file file, std::span<const gguf_tensor> more) {
    return gguf_parser(std::move(file)).extend(more);
}

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/io/i2s_tensor.hpp ----
// Checks of ternary tensors that look at their data: the scale, and the codes of I2_S.

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// Whether codes and then a scale in 32 bytes are what a tensor of that type is made of: I2_S and our own layouts.
[[nodiscard]] constexpr bool has_ternary_scale(tensor_type type) noexcept {
    const auto* format = format_of(type);
    return type == tensor_type::i2_s || (format != nullptr && format->padded);
}

/// The codes of such a tensor (of I2_S four to a byte), without the 32 bytes of the scale behind them.
/// \pre has_ternary_scale(tensor.type)
[[nodiscard]] inline std::span<const std::byte> i2s_codes(const gguf_tensor& tensor) noexcept {
    assert(has_ternary_scale(tensor.type) && tensor.bytes.size() >= 32);
    return tensor.bytes.first(tensor.bytes.size() - 32);
}

/// The scale of such a tensor: the float behind its codes. Reads one page of the file.
/// \pre has_ternary_scale(tensor.type)
/// \return errc::bad_scale where it is not finite or not above zero.
[[nodiscard]] inline result<float> i2s_scale(const gguf_tensor& tensor, std::string_view file) {
    float scale = 0;
    const auto codes = i2s_codes(tensor);
    std::memcpy(&scale, codes.data() + codes.size(), sizeof(scale));
    // By bits, because -ffast-math folds comparisons with infinity: above +0, below +infinity, sign clear.
    const auto bits = std::bit_cast<std::uint32_t>(scale);
    if (bits == 0 || bits >= 0x7f800000u) {
        return error{errc::bad_scale, std::string(file) + ": tensor " + quoted_name(tensor.name) + ": its " +
                                          std::string(name_of(tensor.type)) + " scale has the bits " +
                                          std::to_string(bits) +
                                          ", it must be a finite float above zero (bits 1 to 2139095039)"};
    }
    return scale;
}

/// Where a two-bit field of the byte is 3. The fields are the same in every I2_S layout.
[[nodiscard]] constexpr std::uint64_t i2s_invalid_codes(std::uint64_t codes) noexcept {
    return codes & (codes >> 1) & 0x5555555555555555u;
}

/// Whether no code of an I2_S tensor is 3, the one that means nothing. Reads the whole tensor.
/// \pre tensor.type == tensor_type::i2_s
/// \return errc::bad_code with the first byte that holds one.
[[nodiscard]] inline result<void> check_i2s_codes(const gguf_tensor& tensor, std::string_view file) {
    const auto codes = i2s_codes(tensor);
    std::size_t at = 0;
    for (constexpr std::size_t step = 4096; at + step <= codes.size(); at += step) {
        std::uint64_t bad = 0; // no branch inside the step: the compiler makes vectors of it
        for (std::size_t i = 0; i < step; i += sizeof(std::uint64_t)) {
            std::uint64_t word = 0;
            std::memcpy(&word, codes.data() + at + i, sizeof(word));
            bad |= i2s_invalid_codes(word);
        }
        if (bad != 0) {
            break;
        }
    }
    const auto rest = codes.subspan(at);
    const auto found = std::ranges::find_if(
        rest, [](std::byte b) { return i2s_invalid_codes(std::to_integer<std::uint64_t>(b)) != 0; });
    if (found == rest.end()) {
        return {};
    }
    return error{errc::bad_code, std::string(file) + ": tensor " + quoted_name(tensor.name) + ": byte " +
                                     std::to_string(found - codes.begin()) + " of its " + std::to_string(codes.size()) +
                                     " bytes of codes is " + std::to_string(std::to_integer<unsigned>(*found)) +
                                     ", which holds the code 3; only 0, 1 and 2 are ternary"};
}

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/kernel/ternary_layout.hpp ----
// Ternary layouts: how weights of -1, 0, +1 lie in memory. The concept, repacking, and the three orders of I2_S.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <optional>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// A [rows, cols] matrix of codes in memory that somebody else owns. The scale is kept beside it, not here.
template <class Layout> struct ternary_view {
    const std::uint8_t* data = nullptr;
    std::size_t rows = 0;
    std::size_t cols = 0;
};

/// Weights -1, 0, +1 are codes 0, 1, 2. A layout cuts a matrix into blocks of block_rows x block_columns codes, each
/// block_bytes long: first those of the first block_rows rows by ascending columns, then the next rows. Blocks that
/// reach over the end of the matrix hold code 1 there; admits() tells which shapes may do that.
template <class L>
concept ternary_layout = requires(const typename L::view& w, std::size_t row, std::size_t col, const std::uint8_t* in,
                                  std::uint8_t* out, std::size_t stride) {
    { L::name } -> std::convertible_to<std::string_view>;
    { L::block_rows } -> std::convertible_to<std::size_t>;
    { L::block_columns } -> std::convertible_to<std::size_t>;
    { L::block_bytes } -> std::convertible_to<std::size_t>;
    { L::admits(row, col) }
    noexcept->std::same_as<bool>;
    { L::code(w, row, col) }
    noexcept->std::same_as<std::uint8_t>;
    { L::pack_block(in, stride, out) } // codes [block_rows, block_columns], `stride` bytes from row to row -> a block
    noexcept->std::same_as<void>;
    { L::unpack_block(in, out, stride) }
    noexcept->std::same_as<void>;
    { L::is_ternary(in) } // whether a block holds nothing but codes 0, 1 and 2
    noexcept->std::same_as<bool>;
};

/// How many blocks lie side by side in a row of `cols` columns.
template <class L> [[nodiscard]] constexpr std::size_t blocks_across(std::size_t cols) noexcept {
    return cols / L::block_columns + (cols % L::block_columns != 0 ? 1 : 0);
}
/// How many blocks lie below each other in `rows` rows.
template <class L> [[nodiscard]] constexpr std::size_t blocks_down(std::size_t rows) noexcept {
    return rows / L::block_rows + (rows % L::block_rows != 0 ? 1 : 0);
}
/// Bytes of a whole matrix; nothing on overflow.
template <class L>
[[nodiscard]] constexpr std::optional<std::uint64_t> layout_bytes(std::size_t rows, std::size_t cols) noexcept {
    const auto blocks = checked_multiply(blocks_down<L>(rows), blocks_across<L>(cols));
    return blocks ? checked_multiply(*blocks, L::block_bytes) : blocks;
}

/// The byte orders that all carry GGUF type id 36, "I2_S", with nothing in the file to tell them apart.
enum class i2s_order {
    planar_128, ///< A: the official files, converters, x86 builds: 128 weights of a row in 32 bytes
    planar_64,  ///< B: files quantised by an Arm build: 64 weights of a row in 16 bytes
    four_rows,  ///< C: x86 builds without ACT_PARALLEL: one column of four rows in a byte
};

/// Weights -1, 0, +1 as codes 0, 1, 2 of two bits. Code 3 is not written by anybody; every kernel gives it the value
/// +2.
///
///   order      | bytes of rows r and columns c            | bits of column c
///   planar_128 | row r: 32 bytes for each 128 columns     | byte c % 32 of its block, shift 6 - 2 * (c % 128 / 32)
///   planar_64  | row r: 16 bytes for each 64 columns      | byte c % 16 of its block, shift 6 - 2 * (c % 64 / 16)
///   four_rows  | rows 4k..4k+3: one byte for each column  | byte c, shift 6 - 2 * (r % 4)
template <i2s_order Order> struct i2s_layout {
    static constexpr i2s_order order = Order;
    static constexpr std::string_view name = Order == i2s_order::planar_128  ? "i2_s"
                                             : Order == i2s_order::planar_64 ? "i2_s (b, 64-blocks)"
                                                                             : "i2_s (c, four rows)";
    /// Columns must be a multiple of this many, so that no block crosses rows.
    static constexpr std::size_t block_columns = Order == i2s_order::planar_128  ? 128
                                                 : Order == i2s_order::planar_64 ? 64
                                                                                 : 1;
    /// Rows must be a multiple of this many.
    static constexpr std::size_t block_rows = Order == i2s_order::four_rows ? 4 : 1;

    static constexpr std::size_t block_bytes = block_rows * block_columns / 4;

    using view = ternary_view<i2s_layout>;

    [[nodiscard]] static constexpr bool admits(std::size_t rows, std::size_t cols) noexcept {
        return rows % block_rows == 0 && cols % block_columns == 0 && (rows * cols) % 4 == 0;
    }

    [[nodiscard]] static constexpr std::size_t byte_index(std::size_t row, std::size_t col, std::size_t cols) noexcept {
        if constexpr (Order == i2s_order::four_rows) {
            return row / 4 * cols + col;
        } else {
            constexpr std::size_t bytes = block_columns / 4;
            return row * (cols / 4) + col / block_columns * bytes + col % bytes;
        }
    }
    [[nodiscard]] static constexpr unsigned shift(std::size_t row, std::size_t col) noexcept {
        const std::size_t plane =
            Order == i2s_order::four_rows ? row % 4 : col % block_columns / (block_columns < 4 ? 1 : block_columns / 4);
        return static_cast<unsigned>(6 - 2 * plane);
    }

    /// The code 0..3 at (row, col). \pre row < rows, col < cols
    [[nodiscard]] static std::uint8_t code(const view& w, std::size_t row, std::size_t col) noexcept {
        return static_cast<std::uint8_t>((w.data[byte_index(row, col, w.cols)] >> shift(row, col)) & 3u);
    }

    static void pack_block(const std::uint8_t* codes, std::size_t stride, std::uint8_t* block) noexcept {
        const std::size_t plane = plane_stride(stride);
        std::uint8_t packed[block_bytes];
        for (std::size_t i = 0; i < block_bytes; ++i) {
            packed[i] = static_cast<std::uint8_t>(codes[i] << 6 | codes[plane + i] << 4 | codes[2 * plane + i] << 2 |
                                                  codes[3 * plane + i]);
        }
        std::memcpy(block, packed, block_bytes);
    }
    static void unpack_block(const std::uint8_t* block, std::uint8_t* codes, std::size_t stride) noexcept {
        std::uint8_t packed[block_bytes];
        std::memcpy(packed, block, block_bytes);
        for (std::size_t plane = 0; plane < 4; ++plane) {
            for (std::size_t i = 0; i < block_bytes; ++i) {
                codes[plane * plane_stride(stride) + i] =
                    static_cast<std::uint8_t>((packed[i] >> (6 - 2 * plane)) & 3u);
            }
        }
    }
    [[nodiscard]] static bool is_ternary(const std::uint8_t* block) noexcept {
        unsigned bad = 0;
        for (std::size_t i = 0; i < block_bytes; ++i) {
            bad |= block[i] & (block[i] >> 1) & 0x55u;
        }
        return bad == 0;
    }

private:
    /// From the codes of one bit pair of a block to those of the next: the next row (C), or the next columns.
    [[nodiscard]] static constexpr std::size_t plane_stride(std::size_t row_stride) noexcept {
        return Order == i2s_order::four_rows ? row_stride : block_bytes;
    }
};

using i2s = i2s_layout<i2s_order::planar_128>;
using i2s_b = i2s_layout<i2s_order::planar_64>;
using i2s_c = i2s_layout<i2s_order::four_rows>;

/// Rows that repack_rows takes at a time: whole blocks of both layouts.
template <ternary_layout To, ternary_layout From>
inline constexpr std::size_t repacked_rows = std::lcm(To::block_rows, From::block_rows);

/// Copies the codes of rows [first, first + count) from one layout to another, where `to` is the whole new matrix.
/// Goes through one byte a code in 30 KiB of stack at most. \pre `first` is a multiple of repacked_rows, `count` is one
/// or ends the matrix; both layouts admit the shape; `To` can hold the codes: only I2_S knows code 3.
template <ternary_layout To, ternary_layout From>
void repack_rows(const typename From::view& from, std::size_t first, std::size_t count, std::uint8_t* to) noexcept {
    constexpr std::size_t rows = repacked_rows<To, From>;
    constexpr std::size_t cols = std::lcm(To::block_columns, From::block_columns);
    std::uint8_t codes[rows * cols];
    const auto each_block = [&]<ternary_layout L>(std::size_t row, std::size_t col, auto&& visit) {
        const std::size_t across = blocks_across<L>(from.cols);
        for (std::size_t r = 0; r < rows && row + r < from.rows; r += L::block_rows) {
            for (std::size_t c = 0; c < cols && col + c < from.cols; c += L::block_columns) {
                const std::size_t block = (row + r) / L::block_rows * across + (col + c) / L::block_columns;
                visit(block * L::block_bytes, codes + r * cols + c);
            }
        }
    };
    for (std::size_t row = first; row < first + count; row += rows) {
        for (std::size_t col = 0; col < from.cols; col += cols) {
            if (row + rows > from.rows || col + cols > from.cols) {
                std::memset(codes, 1, sizeof codes);
            }
            each_block.template operator()<From>(row, col, [&](std::size_t at, std::uint8_t* unpacked) {
                From::unpack_block(from.data + at, unpacked, cols);
            });
            each_block.template operator()<To>(
                row, col, [&](std::size_t at, std::uint8_t* unpacked) { To::pack_block(unpacked, cols, to + at); });
        }
    }
}

/// repack_rows() of all rows. \pre `to` holds layout_bytes<To>(rows, cols).
template <ternary_layout To, ternary_layout From>
void repack(const typename From::view& from, std::uint8_t* to) noexcept {
    repack_rows<To, From>(from, 0, from.rows, to);
}

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/model/hyper_parameters.hpp ----
// hyper_parameters: the sizes and constants of a model, read from GGUF metadata and checked.

// ---- bitnet/core/fixed_point.hpp ----
// Logarithm, exponential and square root by integers: the same bits on every compiler, whatever its float flags and
// libm.

#include <bit>
#include <cassert>
#include <cmath>
#include <cstdint>

namespace bitnet::inline BITNET_ABI {

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
[[nodiscard]] constexpr std::uint64_t log2_fixed(float x) noexcept {
    const auto bits = std::bit_cast<std::uint32_t>(x);
    assert(bits >= 0x3f800000u && bits < 0x7f000000u);
    std::uint64_t result = (bits >> 23) - 127;
    std::uint64_t mantissa = (std::uint64_t{bits & 0x7fffffu} | 0x800000u) << 40; // [1, 2) as 1.63 bits
    for (int i = 0; i < log2_fraction_bits; ++i) {
        const std::uint64_t square = multiply_high(mantissa, mantissa); // [1, 4) as 2.62 bits
        const bool carry = (square >> 63) != 0;
        result = (result << 1) | (carry ? 1u : 0u);
        mantissa = carry ? square : square << 1;
    }
    return result;
}

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
/// Under -ffast-math clang makes an estimate of every sqrt that it sees, whatever pragma stands around it. So the root
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

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/simd/rotary.hpp ----
// Rotary position embedding: the angles of every position, from integer phases, the same bits everywhere.

// ---- bitnet/core/fma.hpp ----
// fused_multiply_add: float fma with one rounding on machines that have no such instruction.

#include <bit>
#include <cstdint>

BITNET_PRECISE_BEGIN
namespace bitnet::inline BITNET_ABI {

/// a * b + c with one rounding, bit for bit what an fma instruction gives, out of double arithmetic.
///
/// The product of two floats is exact in double (24 + 24 <= 53 bits). Its sum with c is split into the rounded sum and
/// the exact rounding error (Knuth's two-sum); where the error is not zero, the sum is moved to the neighbour with an
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

} // namespace bitnet::inline BITNET_ABI
BITNET_PRECISE_END

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

BITNET_PRECISE_BEGIN
namespace bitnet::inline BITNET_ABI {

struct sine_cosine {
    float sine;
    float cosine;
};

/// Sine and cosine of phase / 2^64 turns, each within 2 units in the last place of 1.
/// The phase is cut to the nearest quarter turn and a rest of at most an eighth, t in [-1/2, 1/2] quarter turns; then
/// the Taylor series of sin and cos of (pi/2) t, whose first left-out terms are below 2e-9.
[[nodiscard]] inline sine_cosine sine_cosine_of_turns(std::uint64_t phase) noexcept {
    constexpr std::uint64_t eighth = std::uint64_t{1} << 61;
    const std::uint64_t quarter = (phase + eighth) >> 62;
    const auto rest = static_cast<std::int64_t>(phase - (quarter << 62));
    const float t = static_cast<float>(rest) * 0x1p-62f;
    const float t2 = t * t;
    float s = 0x1.507834p-13f; // (pi/2)^9 / 9!
    s = exact_fma(s, t2, -0x1.32d2ccp-8f);
    s = exact_fma(s, t2, 0x1.466bc6p-4f);
    s = exact_fma(s, t2, -0x1.4abbcep-1f);
    s = exact_fma(s, t2, 0x1.921fb6p+0f); // pi/2
    s = s * t;
    float c = -0x1.a6d1f2p-16f; // -(pi/2)^10 / 10!
    c = exact_fma(c, t2, 0x1.e1f506p-11f);
    c = exact_fma(c, t2, -0x1.55d3c8p-6f);
    c = exact_fma(c, t2, 0x1.03c1fp-2f);
    c = exact_fma(c, t2, -0x1.3bd3ccp+0f);
    c = exact_fma(c, t2, 1.0f);
    switch (quarter & 3) {
    case 0:
        return {s, c};
    case 1:
        return {c, -s};
    case 2:
        return {-s, -c};
    default:
        return {-c, s};
    }
}

/// How context extension slows rotation down. Every number is 1 to 4096; above 1, an angle is divided by it.
struct rotary_scaling {
    static constexpr float most = 4096.0f;

    float factor = 1.0f;             ///< of all pairs
    std::span<const float> divisors; ///< of each pair, besides; empty: all 1
};

/// The frequencies theta^(-2 j / head_size), j < head_size / 2, as turns per position * 2^64.
/// position * frequency is then exact modulo whole turns, in 64-bit integers that wrap: no float argument reduction,
/// and an angle at position 2^20 is as good as one at position 1 (the frequency's error of 2^-48 grows to 2^-28 turns).
/// Source: Su et al., "RoFormer", 2021.
class rotary_frequencies {
public:
    rotary_frequencies() noexcept = default;

    /// \pre 1 <= theta <= 2^100, head_size even and not zero, divisors none or head_size / 2.
    /// The sum of all logarithms stays below 127: 100 of theta, 2.7 of 2 pi, twice 12 of scaling.
    /// \return errc::out_of_memory
    [[nodiscard]] static result<rotary_frequencies> open(float theta, std::size_t head_size,
                                                         const rotary_scaling& scaling = {}) {
        constexpr std::uint64_t log2_of_2pi = 0x54d90e6931bbeebu; // * 2^57
        auto turns = buffer<std::uint64_t>::allocate(head_size / 2, "rotary frequencies");
        if (!turns) {
            return std::move(turns).error();
        }
        const std::uint64_t step = log2_fixed(theta) / head_size;
        for (std::size_t j = 0; j < turns->size(); ++j) {
            const float divisor = scaling.divisors.empty() ? 1.0f : scaling.divisors[j];
            const std::uint64_t slower = log2_fixed(scaling.factor) + log2_fixed(divisor);
            (*turns)[j] = exp2_negative_fixed(log2_of_2pi + step * 2 * j + slower);
        }
        rotary_frequencies made;
        made.turns_ = *std::move(turns);
        return made;
    }

    [[nodiscard]] std::size_t pairs() const noexcept { return turns_.size(); }

    /// Writes cos and sin of position * frequency, [pairs()] each.
    void angles(std::uint64_t position, float* cosines, float* sines) const noexcept {
        for (std::size_t j = 0; j < turns_.size(); ++j) {
            const sine_cosine angle = sine_cosine_of_turns(turns_[j] * position);
            cosines[j] = angle.cosine;
            sines[j] = angle.sine;
        }
    }

private:
    buffer<std::uint64_t> turns_;
};

} // namespace bitnet::inline BITNET_ABI
BITNET_PRECISE_END

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI {

/// The function between the two halves of a gated feed-forward layer.
enum class activation_function {
    relu2, ///< relu(gate)^2 * up: bitnet-b1.58, bitnet-25
    silu,  ///< silu(gate) * up: bitnet, llama, qwen3
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

/// Which two columns of a head rotate against each other.
enum class rotary_pairing {
    halves,      ///< j and j + head_size / 2, as in all checkpoints of Hugging Face
    interleaved, ///< 2 j and 2 j + 1: GGUF files of architecture llama, whose rows their converter has permuted
};

[[nodiscard]] constexpr std::string_view name_of(rotary_pairing p) noexcept {
    return p == rotary_pairing::halves ? "halves" : "interleaved";
}

/// How a text embedding model makes one vector of many; numbered as in GGUF metadata.
enum class pooling_type : std::uint8_t { none = 0, mean = 1, last = 3 };

/// What an architecture's name says about the graph. The rest is in the metadata and in the tensors that are there.
struct model_family {
    std::string_view architecture;
    activation_function activation;
    rotary_pairing pairing;
    bool has_sub_norms;    ///< RMSNorms before attn_output and ffn_down, which a file must have; elsewhere they are
                           ///< optional
    bool ties_head;        ///< even where there is an output.weight; elsewhere only where there is none
    bool scales_embedding; ///< by sqrt(hidden)
};

inline constexpr model_family model_families[] = {
    {"bitnet", activation_function::silu, rotary_pairing::halves, true, true, false},
    {"bitnet-25", activation_function::relu2, rotary_pairing::halves, true, true, false},
    {"bitnet-b1.58", activation_function::relu2, rotary_pairing::halves, true, true, false},
    {"llama", activation_function::silu, rotary_pairing::interleaved, false, false, false},
    {"qwen3", activation_function::silu, rotary_pairing::halves, false, false, false},
    {"gemma3", activation_function::gelu, rotary_pairing::halves, false, false, true},
};

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
    float rope_factor = 1;            ///< linear scaling: angles are divided by it
    std::vector<float> rope_divisors; ///< and by these, pair by pair (rope_freqs.weight); empty: by 1
    rotary_pairing pairing = rotary_pairing::halves;
    bool keeps_row_order = false; ///< rows of Q and K are not permuted, as GGUF files of the architecture have them
    activation_function activation = activation_function::relu2;
    float embedding_scale = 1;                 ///< what looked up embeddings are multiplied by
    bool has_sub_norms = true;                 ///< as in model_family
    bool has_own_head = false;                 ///< the head is output.weight; otherwise the embedding
    bool is_embedder = false;                  ///< a text embedding model, trained without a head: it has no logits
    pooling_type pooling = pooling_type::none; ///< as the file says; what is done is always last

    [[nodiscard]] std::size_t query_columns() const noexcept { return heads * head_size; }
    [[nodiscard]] std::size_t kv_columns() const noexcept { return kv_heads * head_size; }
    [[nodiscard]] std::size_t heads_per_kv() const noexcept { return heads / kv_heads; }

    /// The tensor that logits are made with.
    [[nodiscard]] std::string_view head_name() const noexcept {
        return has_own_head ? "output.weight" : "token_embd.weight";
    }
    [[nodiscard]] rotary_scaling scaling() const noexcept { return {rope_factor, rope_divisors}; }

    /// Reads the keys of `file`, and what its tensors tell. A key that changes the graph in a way that is not
    /// implemented is refused, never passed over. \return errc::unsupported_architecture, missing_key, wrong_type,
    /// out_of_range or inconsistent, naming the file, the key and both numbers.
    [[nodiscard]] static result<hyper_parameters> read(const gguf_file& file);
};

/// Reads and checks one key after the other; the first failure stays.
class hyper_parameter_reader {
public:
    explicit hyper_parameter_reader(const gguf_file& file) : file_(file) {}

    [[nodiscard]] result<hyper_parameters> run() {
        read_architecture();
        read_sizes();
        read_heads();
        read_constants();
        read_rotation();
        read_pooling();
        refuse_variants();
        if (failure_.code != errc{}) {
            return std::move(failure_);
        }
        return std::move(made_);
    }

private:
    // Far above every published model, far below anything that could overflow: 2^16 * 2^18 weights fit 64 bits.
    static constexpr std::uint64_t most_layers = 1024;
    static constexpr std::uint64_t most_columns = 1u << 16;
    static constexpr std::uint64_t most_feed_forward = 1u << 18;
    static constexpr std::uint64_t most_heads = 1024;
    static constexpr std::uint64_t most_head_size = 1024;
    static constexpr std::uint64_t most_vocabulary = 1u << 22;
    static constexpr std::uint64_t most_context = 1u << 20;

    void fail(errc code, const std::string& sentence) {
        if (failure_.code == errc{}) {
            failure_ = {code, file_.name() + ": " + sentence};
        }
    }
    void fail(error failure) {
        if (failure_.code == errc{}) {
            failure_ = std::move(failure);
        }
    }

    [[nodiscard]] std::string key(std::string_view suffix) const {
        return made_.architecture + '.' + std::string(suffix);
    }

    /// The value of `suffix`, 1 to `most`; 1 after a failure, so that reading can go on.
    [[nodiscard]] std::size_t size(std::string_view suffix, std::uint64_t most) {
        const auto value = file_.get<std::uint64_t>(key(suffix));
        if (!value) {
            fail(value.error());
            return 1;
        }
        if (*value == 0 || *value > most) {
            fail(errc::out_of_range, "'" + key(suffix) + "' is " + std::to_string(*value) + ", 1 to " +
                                         std::to_string(most) + " are possible");
            return 1;
        }
        return static_cast<std::size_t>(*value);
    }
    [[nodiscard]] std::size_t size_or(std::string_view suffix, std::uint64_t most, std::size_t fallback) {
        return file_.find(key(suffix)) != nullptr ? size(suffix, most) : fallback;
    }

    void read_architecture() {
        const auto name = file_.get<std::string_view>("general.architecture");
        if (!name) {
            fail(name.error());
            return;
        }
        made_.architecture = std::string(*name);
        const auto* family = std::find_if(std::begin(model_families), std::end(model_families),
                                          [&](const model_family& f) { return f.architecture == *name; });
        if (family == std::end(model_families)) {
            std::string known;
            for (const model_family& f : model_families) {
                known += (known.empty() ? "" : ", ") + std::string(f.architecture);
            }
            fail(errc::unsupported_architecture, "'general.architecture' is " + quoted_name(made_.architecture) +
                                                     "; with ternary weights " + known + " can be run");
            return;
        }
        made_.activation = family->activation;
        made_.pairing = family->pairing;
        made_.has_sub_norms = family->has_sub_norms;
        made_.has_own_head = !family->ties_head && file_.find_tensor("output.weight") != nullptr;
        scales_embedding_ = family->scales_embedding;
        const auto title = file_.get_or<std::string_view>("general.name", "");
        made_.model_name = title ? std::string(*title) : std::string();
    }

    void read_sizes() {
        made_.layers = size("block_count", most_layers);
        made_.hidden = size("embedding_length", most_columns);
        made_.embedding_scale = scales_embedding_ ? exact_square_root(static_cast<float>(made_.hidden)) : 1.0f;
        made_.feed_forward = size("feed_forward_length", most_feed_forward);
        made_.context = size("context_length", most_context);
        read_vocabulary();
    }

    /// The vocabulary is what the embedding has rows for; vocab_size and the token list, where present, must agree.
    void read_vocabulary() {
        const auto* embedding = file_.find_tensor("token_embd.weight");
        if (embedding == nullptr) {
            fail(errc::missing_tensor, "there is no tensor 'token_embd.weight'");
            return;
        }
        const std::uint64_t rows = embedding->dims[1];
        if (rows > most_vocabulary) {
            fail(errc::out_of_range, "'token_embd.weight' has " + std::to_string(rows) + " rows, up to " +
                                         std::to_string(most_vocabulary) + " are possible");
            return;
        }
        made_.vocabulary = static_cast<std::size_t>(rows);
        const std::size_t said = size_or("vocab_size", most_vocabulary, made_.vocabulary);
        if (said != made_.vocabulary) {
            fail(errc::inconsistent, "'" + key("vocab_size") + "' is " + std::to_string(said) +
                                         ", 'token_embd.weight' has " + std::to_string(rows) + " rows");
        }
    }

    void read_heads() {
        made_.heads = size("attention.head_count", most_heads);
        made_.kv_heads = size_or("attention.head_count_kv", most_heads, made_.heads);
        if (made_.heads % made_.kv_heads != 0) {
            fail(errc::inconsistent, "'" + key("attention.head_count") + "' is " + std::to_string(made_.heads) +
                                         ", no multiple of '" + key("attention.head_count_kv") + "', " +
                                         std::to_string(made_.kv_heads));
        }
        made_.head_size = size_or("attention.key_length", most_head_size, made_.hidden / made_.heads);
        if (file_.find(key("attention.key_length")) == nullptr && made_.hidden % made_.heads != 0) {
            fail(errc::inconsistent, "'" + key("embedding_length") + "' is " + std::to_string(made_.hidden) +
                                         ", no multiple of '" + key("attention.head_count") + "', " +
                                         std::to_string(made_.heads));
        }
        same_as_head_size("attention.value_length");
        same_as_head_size("rope.dimension_count");
        if (made_.head_size == 0 || made_.head_size % 2 != 0 || made_.head_size > most_head_size) {
            fail(errc::out_of_range, "the head size is " + std::to_string(made_.head_size) +
                                         ", an even number from 2 to " + std::to_string(most_head_size) + " is needed");
        }
    }

    void same_as_head_size(std::string_view suffix) {
        const std::size_t value = size_or(suffix, most_head_size, made_.head_size);
        if (value != made_.head_size) {
            fail(errc::inconsistent, "'" + key(suffix) + "' is " + std::to_string(value) + ", the head size is " +
                                         std::to_string(made_.head_size));
        }
    }

    void read_constants() {
        made_.rms_epsilon = positive("attention.layer_norm_rms_epsilon", 0.0f, 1.0f);
        made_.rope_theta =
            file_.find(key("rope.freq_base")) != nullptr ? positive("rope.freq_base", 1.0f, 1e30f) : 10000.0f;
    }

    /// linear scaling, and the divisors that converters make of "llama3" scaling. Source: llama.cpp's llama-model.cpp.
    void read_rotation() {
        read_pairing();
        const std::string factor_key =
            file_.find(key("rope.scale_linear")) != nullptr ? "rope.scale_linear" : "rope.scaling.factor";
        const bool has_factor = file_.find(key(factor_key)) != nullptr;
        const auto type = file_.get_or<std::string_view>(key("rope.scaling.type"), has_factor ? "linear" : "none");
        if (!type) {
            fail(type.error());
        } else if (*type == "linear") {
            made_.rope_factor = at_least_one(key(factor_key), file_.get<float>(key(factor_key)));
        } else if (*type != "none") {
            fail(errc::unsupported_architecture,
                 "'" + key("rope.scaling.type") + "' is " + quoted_name(*type) + "; none and linear can be run");
        }
        read_divisors();
    }

    /// A checkpoint from Hugging Face keeps the rows that the converter of llama files permutes, and says so.
    void read_pairing() {
        const bool is_said = file_.find("bitnet_hpp.rotary") != nullptr;
        const auto pairing = file_.get_or<std::string_view>("bitnet_hpp.rotary", "halves");
        if (!pairing) {
            fail(pairing.error());
        } else if (*pairing != "halves") {
            fail(errc::out_of_range, "'bitnet_hpp.rotary' is " + quoted_name(*pairing) + ", only halves is possible");
        } else if (is_said) {
            made_.keeps_row_order = made_.pairing == rotary_pairing::interleaved;
            made_.pairing = rotary_pairing::halves;
        }
    }

    void read_divisors() {
        const auto* tensor = file_.find_tensor("rope_freqs.weight");
        if (tensor == nullptr || failure_.code != errc{}) {
            return;
        }
        if (tensor->type != tensor_type::f32 || tensor->dims != tensor_dims{made_.head_size / 2, 1, 1, 1}) {
            fail(errc::wrong_shape, "tensor 'rope_freqs.weight': " + std::string(name_of(tensor->type)) + " " +
                                        dims_text(*tensor) + " in the file, F32 [" +
                                        std::to_string(made_.head_size / 2) + "] expected");
            return;
        }
        made_.rope_divisors.resize(made_.head_size / 2);
        std::memcpy(made_.rope_divisors.data(), tensor->bytes.data(), tensor->bytes.size());
        for (float& divisor : made_.rope_divisors) {
            divisor = at_least_one("rope_freqs.weight", divisor);
        }
    }

    /// `value` if it is 1 to rotary_scaling::most; 1 after a failure.
    [[nodiscard]] float at_least_one(const std::string& place, const result<float>& value) {
        if (!value) {
            fail(value.error());
            return 1.0f;
        }
        const auto bits = std::bit_cast<std::uint32_t>(*value); // positive floats order as their bits
        if (bits < std::bit_cast<std::uint32_t>(1.0f) || bits > std::bit_cast<std::uint32_t>(rotary_scaling::most)) {
            fail(errc::out_of_range, "'" + place + "' is " + text_of(*value) + ", 1 to " +
                                         std::to_string(rotary_scaling::most) + " are possible");
            return 1.0f;
        }
        return *value;
    }

    /// A text embedding model: it says how to pool, or has the norms before each projection that only BitNet's
    /// embedding models have. Those were trained with the last token's state, whatever a converter wrote.
    void read_pooling() {
        const bool has_input_norms = file_.find_tensor("blk.0.attn_q_norm_in.weight") != nullptr;
        const auto absent = has_input_norms ? pooling_type::last : pooling_type::none;
        const auto said = file_.get_or<std::uint64_t>(key("pooling_type"), static_cast<std::uint64_t>(absent));
        if (!said) {
            return fail(said.error());
        }
        made_.is_embedder = has_input_norms || *said != 0;
        if (made_.is_embedder && *said != 3 && !(has_input_norms && *said <= 1)) {
            fail(errc::unsupported_architecture, "'" + key("pooling_type") + "' is " + std::to_string(*said) +
                                                     "; only 3, the last token's state, can be run");
            return;
        }
        made_.pooling = static_cast<pooling_type>(*said);
    }

    /// Keys that would change the graph.
    void refuse_variants() {
        const auto window = file_.get_or<std::uint64_t>(key("attention.sliding_window"), 0);
        if (!window) {
            fail(window.error());
        } else if (*window != 0 && *window < made_.context) {
            fail(errc::unsupported_architecture, "'" + key("attention.sliding_window") + "' is " +
                                                     std::to_string(*window) + ", less than the context of " +
                                                     std::to_string(made_.context) +
                                                     "; only attention to all positions can be run");
        }
        const auto causal = file_.get_or<bool>(key("attention.causal"), true);
        if (!causal) {
            fail(causal.error());
        } else if (!*causal) {
            fail(errc::unsupported_architecture,
                 "'" + key("attention.causal") + "' is false; only causal attention can be run");
        }
        only("expert_count", 0.0);
        only("attn_logit_softcapping", 0.0);
        only("final_logit_softcapping", 0.0);
        only("rope.scaling.attn_factor", 1.0);
        only("attention.scale", 1.0 / std::sqrt(static_cast<double>(made_.head_size)));
        only("attention.query_pre_attn_scalar", static_cast<double>(made_.head_size));
    }

    /// Refuses a number other than `value`, give or take two roundings to float.
    void only(std::string_view suffix, double value) {
        const gguf_value* found = file_.find(key(suffix));
        if (found == nullptr) {
            return;
        }
        const bool is_float = found->type == gguf_type::f32 || found->type == gguf_type::f64;
        const auto number = is_float ? result<std::int64_t>(0) : file_.get<std::int64_t>(key(suffix));
        if (!number) {
            return fail(number.error());
        }
        const double said = is_float ? *file_.get<double>(key(suffix)) : static_cast<double>(*number);
        const auto bits = [](double x) {
            return std::int64_t{std::bit_cast<std::int32_t>(static_cast<float>(x))}; // a NaN is far away from any
        };
        const std::int64_t apart = bits(said) - bits(value);
        if (apart < -2 || apart > 2) {
            fail(errc::unsupported_architecture, "'" + key(suffix) + "' is " + std::to_string(said) + "; only " +
                                                     std::to_string(value) + " can be run");
        }
    }

    /// A finite number above `above` and up to `most`. Compared as bits: -ffast-math compiles isfinite() away.
    [[nodiscard]] float positive(std::string_view suffix, float above, float most) {
        const auto value = file_.get<float>(key(suffix));
        if (!value) {
            fail(value.error());
            return 1.0f;
        }
        const auto bits = std::bit_cast<std::uint32_t>(*value); // positive floats order as their bits
        if (bits <= std::bit_cast<std::uint32_t>(above) || bits > std::bit_cast<std::uint32_t>(most)) {
            fail(errc::out_of_range, "'" + key(suffix) + "' is " + text_of(*value) + ", it must be above " +
                                         std::to_string(above) + " and at most " + std::to_string(most));
            return 1.0f;
        }
        return *value;
    }

    [[nodiscard]] static std::string text_of(float value) {
        const bool finite = (std::bit_cast<std::uint32_t>(value) & 0x7f800000u) != 0x7f800000u;
        return finite ? std::to_string(value) : "not finite";
    }

    const gguf_file& file_;
    hyper_parameters made_;
    bool scales_embedding_ = false;
    error failure_;
};

inline result<hyper_parameters> hyper_parameters::read(const gguf_file& file) {
    return hyper_parameter_reader(file).run();
}

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/model/ternary_rows.hpp ----
// Ternary rows: a matrix that is read row by row, whatever it lies in, and packed into a layout.

// ---- bitnet/thread/pool.hpp ----
// The pool concept: who runs the pieces of a parallel loop. inline_pool runs them on the calling thread.

#include <chrono>
#include <concepts>
#include <cstddef>
#include <memory>
#include <type_traits>

namespace bitnet::inline BITNET_ABI {

/// One task of a loop, erased: `function(context, index)`. The context outlives the loop.
struct loop_body {
    void (*function)(void* context, std::size_t index) noexcept;
    void* context;

    void operator()(std::size_t index) const noexcept { function(context, index); }
};

/// How long a thread without work spins before it sleeps, by default: longer than the gaps within a token, and so short
/// that a program that waits for its user uses no CPU.
inline constexpr std::chrono::microseconds default_spin{50};

/// A pool runs `body(0) ... body(count - 1)`, each once, in any order on any threads, and returns when all are done.
/// open(threads, spin) makes one; a pool that does not spin ignores the second.
template <class P>
concept thread_pool_type = requires(P& pool, const P& constant, std::size_t count, loop_body body) {
    { pool.run(count, body) }
    noexcept->std::same_as<void>;
    { constant.threads() }
    noexcept->std::convertible_to<std::size_t>;
    { P::open(std::size_t{}, std::chrono::microseconds{}) } -> std::same_as<result<std::unique_ptr<P>>>;
};

/// Calls f(index) for every index below `count` on the threads of `pool`.
template <thread_pool_type Pool, class F> void parallel_for(Pool& pool, std::size_t count, F&& f) noexcept {
    using body = std::remove_reference_t<F>;
    const auto call = [](void* context, std::size_t index) noexcept { (*static_cast<body*>(context))(index); };
    pool.run(count, loop_body{call, const_cast<void*>(static_cast<const void*>(std::addressof(f)))});
}

/// Indices 0 to count - 1 cut into runs of neighbours, long ones first: as often as there are threads a half of what is
/// left, shared between them, down to single indices ("guided self-scheduling", Polychronopoulos and Kuck, 1987).
/// A thread that streams through memory goes straight on within a run, and short runs at the end let all finish
/// together.
class guided_runs {
public:
    struct run {
        std::size_t begin;
        std::size_t end;
    };
    /// \pre threads > 0
    guided_runs(std::size_t count, std::size_t threads) noexcept : count_(count), threads_(threads) {
        for (std::size_t begin = 0; begin < count_; size_ += threads_) {
            begin += threads_ * length(begin);
        }
    }

    /// Number of runs; the last ones may be empty.
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    /// \pre index < size()
    [[nodiscard]] run operator[](std::size_t index) const noexcept {
        std::size_t begin = 0;
        for (std::size_t round = 0; round < index / threads_; ++round) {
            begin += threads_ * length(begin);
        }
        const std::size_t now = length(begin);
        begin += index % threads_ * now;
        return {begin < count_ ? begin : count_, begin + now < count_ ? begin + now : count_};
    }

private:
    /// Of the runs of the round that starts at `begin`.
    [[nodiscard]] std::size_t length(std::size_t begin) const noexcept {
        const std::size_t half_a_share = (count_ - begin) / (2 * threads_);
        return half_a_share != 0 ? half_a_share : 1;
    }

    std::size_t count_;
    std::size_t threads_;
    std::size_t size_ = 0;
};

/// parallel_for() for tasks that each read the memory behind the one before: a thread takes them in guided_runs.
template <thread_pool_type Pool, class F> void parallel_stream(Pool& pool, std::size_t count, F&& f) noexcept {
    const guided_runs runs(count, pool.threads());
    parallel_for(pool, runs.size(), [&](std::size_t index) noexcept {
        const guided_runs::run run = runs[index];
        for (std::size_t i = run.begin; i < run.end; ++i) {
            f(i);
        }
    });
}

/// No threads at all: for single-threaded hosts, browsers and tests.
class inline_pool {
public:
    /// Both parameters are ignored: there is one thread, and it does not wait.
    [[nodiscard]] static result<std::unique_ptr<inline_pool>> open(std::size_t /*threads*/,
                                                                   std::chrono::microseconds /*spin*/ = default_spin) {
        return std::make_unique<inline_pool>();
    }
    void run(std::size_t count, loop_body body) noexcept {
        for (std::size_t i = 0; i < count; ++i) {
            body(i);
        }
    }
    [[nodiscard]] std::size_t threads() const noexcept { return 1; }
};

} // namespace bitnet::inline BITNET_ABI

#include <algorithm>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// The rows of a ternary matrix, with one scale for all. Several threads may read at a time.
template <class R>
concept ternary_rows = requires(const R& rows, std::size_t row, std::uint8_t* codes) {
    { rows.scale() } // 1 where the scale stands in a tensor of its own
    noexcept->std::same_as<float>;
    { rows.read(row, codes) } // cols codes 0, 1, 2 of one row; false where the row is not ternary
    noexcept->std::same_as<bool>;
};

/// Rows that can say what is wrong with a row that read() refused: "holds the code 3".
template <class R>
concept explained_rows = ternary_rows<R> && requires(const R& rows, std::size_t row) {
    { rows.fault(row) } -> std::same_as<error>; // without the place
};

/// Any ternary_rows, so that what packs them is compiled once. Borrows them.
class any_ternary_rows {
public:
    template <ternary_rows R>
    explicit any_ternary_rows(const R& rows) noexcept
        : rows_(&rows), scale_(rows.scale()),
          read_([](const void* self, std::size_t row, std::uint8_t* codes) noexcept {
              return static_cast<const R*>(self)->read(row, codes);
          }),
          fault_([]([[maybe_unused]] const void* self, [[maybe_unused]] std::size_t row) {
              if constexpr (explained_rows<R>) {
                  return static_cast<const R*>(self)->fault(row);
              } else {
                  return error{errc::bad_code, "holds the code 3; only 0, 1 and 2 are ternary"};
              }
          }) {}

    [[nodiscard]] float scale() const noexcept { return scale_; }
    [[nodiscard]] bool read(std::size_t row, std::uint8_t* codes) const noexcept { return read_(rows_, row, codes); }
    [[nodiscard]] error fault(std::size_t row) const { return fault_(rows_, row); }

private:
    const void* rows_;
    float scale_;
    bool (*read_)(const void*, std::size_t, std::uint8_t*) noexcept;
    error (*fault_)(const void*, std::size_t);
};

/// "tensor 'blk.0.attn_q.weight': row 17 of its 2560 rows " and what `rows` has to say about it.
[[nodiscard]] inline error row_fault(const any_ternary_rows& rows, std::size_t row, const gguf_tensor& tensor,
                                     std::string_view file) {
    error found = rows.fault(row);
    found.message = std::string(file) + ": tensor " + quoted_name(tensor.name) + ": row " + std::to_string(row) +
                    " of its " + std::to_string(tensor.dims[1]) + " rows " + found.message;
    return found;
}

/// Lowers `known` to `row` where that is lower. Several threads may do so at a time.
inline void keep_lowest(std::atomic<std::size_t>& known, std::size_t row) noexcept {
    std::size_t lowest = known.load(std::memory_order_relaxed);
    while (row < lowest && !known.compare_exchange_weak(lowest, row, std::memory_order_relaxed)) {
    }
}

/// Reads all rows in ascending runs on the threads of `pool`, `Together` at a time into codes [Together, stride], and
/// calls pack(first row, codes, stride) noexcept for each. Columns behind the row and rows behind the last one are code
/// 1. Memory: Together * stride bytes for each thread.
/// \param stride at least the columns of `tensor`
/// \return errc::out_of_memory, or the fault of the first row that is not ternary.
template <std::size_t Together, thread_pool_type Pool, class Pack>
[[nodiscard]] result<void> for_each_rows(Pool& pool, const any_ternary_rows& rows, const gguf_tensor& tensor,
                                         std::string_view file, std::size_t stride, Pack&& pack) {
    const auto count = static_cast<std::size_t>(tensor.dims[1]);
    const auto one = checked_multiply(stride, Together);
    const auto all = one ? checked_multiply(*one, pool.threads()) : one;
    auto memory = buffer<std::uint8_t>::allocate_uninitialized(all.value_or(UINT64_MAX), "rows of ternary codes");
    if (!memory) {
        return std::move(memory).error();
    }
    const std::size_t slot_bytes = stride * Together;
    std::memset(memory->data(), 1, memory->size());
    std::atomic<std::size_t> next{0};
    std::atomic<std::size_t> first_bad{count};
    const auto read = [&](std::size_t row, std::uint8_t* codes) noexcept {
        if (row >= count) {
            std::memset(codes, 1, stride);
        } else if (!rows.read(row, codes)) {
            keep_lowest(first_bad, row);
        }
    };
    parallel_for(pool, pool.threads(), [&](std::size_t slot) noexcept {
        std::uint8_t* const codes = memory->data() + slot * slot_bytes;
        for (std::size_t first = 0; (first = Together * next.fetch_add(1, std::memory_order_relaxed)) < count;) {
            for (std::size_t r = 0; r < Together; ++r) {
                read(first + r, codes + r * stride);
            }
            pack(first, codes, stride);
        }
    });
    const std::size_t bad = first_bad.load(std::memory_order_relaxed);
    return bad == count ? result<void>{} : row_fault(rows, bad, tensor, file);
}

/// Writes all rows to `out` in layout `To`. \pre `To` admits the shape; `out` holds layout_bytes<To> of it
/// \return as for_each_rows
template <ternary_layout To, thread_pool_type Pool>
[[nodiscard]] result<void> pack_rows(Pool& pool, const any_ternary_rows& rows, const gguf_tensor& tensor,
                                     std::string_view file, std::uint8_t* out) {
    const std::size_t across = blocks_across<To>(static_cast<std::size_t>(tensor.dims[0]));
    const auto pack = [&](std::size_t first, const std::uint8_t* codes, std::size_t stride) noexcept {
        std::uint8_t* block = out + first / To::block_rows * across * To::block_bytes;
        for (std::size_t i = 0; i < across; ++i, block += To::block_bytes) {
            To::pack_block(codes + i * To::block_columns, stride, block);
        }
    };
    return for_each_rows<To::block_rows>(pool, rows, tensor, file, across * To::block_columns, pack);
}

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/model/ternary_tensor.hpp ----
// Ternary tensors of a file: the layout or format they lie in, their codes, and their conversion to another layout.

// ---- bitnet/kernel/dense.hpp ----
// The dense layout: five weights in a byte, 1.6 bits each.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// 320 columns of a row in 64 bytes, a cache line: byte j holds the codes d0..d4 of columns j, 64 + j, 128 + j, 192 + j
/// and 256 + j as a binary fraction q / 256 just above (81 d0 + 27 d1 + 9 d2 + 3 d3 + d4) / 243, so that digits come
/// out at the top by multiplying:
///
///     r0 = q,   3 r(k) = 256 d(k) + r(k+1)
///
/// Digit k is 0, 1 or 2 as r(k) is at most 85, at most 170 or above. (The same fraction as in llama.cpp's TQ1_0; the
/// order of columns is our own.)
struct dense {
    static constexpr std::string_view name = "dense";
    static constexpr std::size_t block_rows = 1;
    static constexpr std::size_t block_columns = 320;
    static constexpr std::size_t block_bytes = 64;
    /// 256 times a product must fit the int32 of a lane: see dense_avx_vnni.hpp.
    static constexpr std::size_t most_columns = std::size_t{1} << 18;

    using view = ternary_view<dense>;

    [[nodiscard]] static constexpr bool admits(std::size_t, std::size_t cols) noexcept { return cols <= most_columns; }

    /// The byte of a value d0..d4 in base 3, 0 to 242. The correction is 13/243 of the value but for rounding, which a
    /// test of all values checks: 1 + value * 55 / 1024.
    [[nodiscard]] static constexpr std::uint8_t fraction(unsigned value) noexcept {
        return static_cast<std::uint8_t>(value + 1 + (value * 55 >> 10));
    }
    /// Digit k of a byte. \pre k < 5
    [[nodiscard]] static constexpr std::uint8_t digit(std::uint8_t byte, std::size_t k) noexcept {
        unsigned r = byte;
        for (std::size_t i = 0; i < k; ++i) {
            r = 3 * r & 255u;
        }
        return static_cast<std::uint8_t>(3 * r >> 8);
    }

    /// The code 0..2 at (row, col). \pre row < rows, col < cols
    [[nodiscard]] static std::uint8_t code(const view& w, std::size_t row, std::size_t col) noexcept {
        const std::size_t block = row * blocks_across<dense>(w.cols) + col / block_columns;
        return digit(w.data[block * block_bytes + col % 64], col % block_columns / 64);
    }

    static void pack_block(const std::uint8_t* codes, std::size_t, std::uint8_t* block) noexcept {
        std::uint8_t packed[block_bytes];
        for (std::size_t j = 0; j < block_bytes; ++j) {
            unsigned value = codes[j];
            for (std::size_t k = 1; k < 5; ++k) {
                value = 3 * value + codes[64 * k + j];
            }
            packed[j] = fraction(value);
        }
        std::memcpy(block, packed, block_bytes);
    }
    static void unpack_block(const std::uint8_t* block, std::uint8_t* codes, std::size_t) noexcept {
        std::uint8_t rest[block_bytes];
        std::memcpy(rest, block, block_bytes);
        for (std::size_t k = 0; k < 5; ++k) {
            for (std::size_t j = 0; j < block_bytes; ++j) {
                const unsigned r = 3u * rest[j];
                codes[64 * k + j] = static_cast<std::uint8_t>(r >> 8);
                rest[j] = static_cast<std::uint8_t>(r);
            }
        }
    }
    /// Digits of a byte are never above 2: 3 * 255 / 256.
    [[nodiscard]] static bool is_ternary(const std::uint8_t*) noexcept { return true; }
};

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/kernel/iq1_bn.hpp ----
// The row format IQ1_BN of ik_llama.cpp: 64 weights in 13 bytes, a half for every row.

// ---- bitnet/core/half.hpp ----
// half (IEEE binary16) and bfloat16 as storage types: exact widening, round to nearest even when narrowing.

#include <bit>
#include <cstdint>

namespace bitnet::inline BITNET_ABI {

/// An IEEE 754 binary16 number, stored only; arithmetic is done in float.
struct half {
    std::uint16_t bits;
    friend bool operator==(half, half) = default;
};

/// The upper half of an IEEE 754 binary32 number, stored only.
struct bfloat16 {
    std::uint16_t bits;
    friend bool operator==(bfloat16, bfloat16) = default;
};

[[nodiscard]] constexpr float widen(float value) noexcept { return value; }
[[nodiscard]] constexpr float widen(std::int8_t value) noexcept { return static_cast<float>(value); }

/// Exact, for all 65,536 values; a NaN becomes quiet and keeps its payload, as vcvtph2ps does.
[[nodiscard]] constexpr float widen(half value) noexcept {
    const std::uint32_t sign = static_cast<std::uint32_t>(value.bits & 0x8000u) << 16;
    const std::uint32_t exponent = (value.bits >> 10) & 0x1fu;
    const std::uint32_t fraction = value.bits & 0x3ffu;
    if (exponent == 0x1f) {
        const std::uint32_t quiet = fraction != 0 ? 0x400000u : 0u;
        return std::bit_cast<float>(sign | 0x7f800000u | quiet | (fraction << 13));
    }
    if (exponent != 0) {
        return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (fraction << 13));
    }
    if (fraction == 0) {
        return std::bit_cast<float>(sign);
    }
    // Subnormal: fraction * 2^-24. Shift the leading one to bit 10; every step halves the exponent's weight.
    const int shift = std::countl_zero(fraction) - 21;
    const std::uint32_t normal = (fraction << shift) & 0x3ffu;
    return std::bit_cast<float>(sign | (static_cast<std::uint32_t>(113 - shift) << 23) | (normal << 13));
}

[[nodiscard]] constexpr float widen(bfloat16 value) noexcept {
    return std::bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16);
}

/// Narrows a float to the element type `To`, to nearest, ties to even, as vcvtps2ph does.
template <class To> [[nodiscard]] constexpr To narrow(float value) noexcept;

template <> [[nodiscard]] constexpr float narrow<float>(float value) noexcept { return value; }

template <> [[nodiscard]] constexpr half narrow<half>(float value) noexcept {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000u);
    const std::uint32_t magnitude = bits & 0x7fffffffu;
    const auto with_sign = [sign](std::uint32_t rest) { return half{static_cast<std::uint16_t>(sign | rest)}; };
    if (magnitude > 0x7f800000u) {
        return with_sign(0x7e00u | ((magnitude >> 13) & 0x3ffu)); // NaN: quiet, payload kept
    }
    if (magnitude >= 0x477ff000u) {
        return with_sign(0x7c00u); // 65520 and above round to infinity
    }
    if (magnitude >= 0x38800000u) { // at least 2^-14: normal
        const std::uint32_t rounded = magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u);
        return with_sign(rounded >> 13);
    }
    if (magnitude <= 0x33000000u) {
        return with_sign(0); // at most 2^-25, half of the smallest subnormal: ties to even is zero
    }
    const std::uint32_t mantissa = (magnitude & 0x7fffffu) | 0x800000u;
    const std::uint32_t shift = 126 - (magnitude >> 23); // 14 (just below 2^-14) to 24 (just above 2^-25)
    const std::uint32_t kept = mantissa >> shift;
    const std::uint32_t rest = mantissa & ((1u << shift) - 1);
    const std::uint32_t tie = 1u << (shift - 1);
    return with_sign(kept + (rest > tie || (rest == tie && (kept & 1u) != 0) ? 1 : 0));
}

template <> [[nodiscard]] constexpr bfloat16 narrow<bfloat16>(float value) noexcept {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        return {static_cast<std::uint16_t>((bits >> 16) | 0x40u)};
    }
    return {static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/kernel/ternary_fraction.hpp ----
// Five ternary digits in a byte, as TQ1_0 and IQ1_BN store them.

#include <cstdint>

namespace bitnet::inline BITNET_ABI {

/// The byte of a value of five digits in base 3, 0 to 242: the smallest q with q / 256 >= value / 243. Digits come out
/// at its top by multiplying with 3, most significant first. 242 * 256 + 242 = 62194 is the largest dividend.
[[nodiscard]] constexpr std::uint8_t ternary_fraction(unsigned value) noexcept {
    return static_cast<std::uint8_t>((value * 256 + 242) / 243);
}

/// Takes the most significant digit, 0 to 2, off a fraction: 3 * 255 / 256 is below 3, whatever the byte.
constexpr std::uint8_t take_digit(std::uint8_t& fraction) noexcept {
    const unsigned tripled = 3u * fraction;
    fraction = static_cast<std::uint8_t>(tripled);
    return static_cast<std::uint8_t>(tripled >> 8);
}

} // namespace bitnet::inline BITNET_ABI

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// A row is its scale, a half, and then 13 bytes for each 64 columns, 1.625 bits a weight. Bytes are ternary_fractions;
/// n counts their digits from the least significant one:
///
///     0   ql[12]  byte 3g + k, digit n: the code of column 16g + 5k + n     g < 4, k < 3, n < 5
///     12  extra   digit g: the code of column 16g + 15; the fifth is 0      g < 4
///
/// Every byte gives digits 0 to 2: there is nothing to refuse.
struct iq1_bn {
    static constexpr std::string_view name = "IQ1_BN";
    static constexpr std::size_t block_columns = 64;
    static constexpr std::size_t block_bytes = 13;

    [[nodiscard]] static constexpr std::size_t row_bytes(std::size_t cols) noexcept {
        return sizeof(half) + cols / block_columns * block_bytes;
    }
    [[nodiscard]] static constexpr std::size_t segment_columns(std::size_t cols) noexcept { return cols; }
    [[nodiscard]] static float scale(const std::uint8_t* data, std::size_t row, std::size_t cols,
                                     std::size_t) noexcept {
        half d;
        std::memcpy(&d, data + row * row_bytes(cols), sizeof d);
        return widen(d);
    }
    [[nodiscard]] static float stored_scale(float scale) noexcept { return widen(narrow<half>(scale)); }

    [[nodiscard]] static bool unpack_row(const std::uint8_t* data, std::size_t row, std::size_t cols,
                                         std::uint8_t* codes) noexcept {
        const std::uint8_t* block = data + row * row_bytes(cols) + sizeof(half);
        for (std::size_t col = 0; col < cols; col += block_columns, block += block_bytes) {
            unpack_block(block, codes + col);
        }
        return true;
    }

    static void pack_row(const std::uint8_t* codes, std::size_t cols, float scale, std::uint8_t* row) noexcept {
        const half d = narrow<half>(scale);
        std::memcpy(row, &d, sizeof d);
        row += sizeof d;
        for (std::size_t col = 0; col < cols; col += block_columns, row += block_bytes) {
            const std::uint8_t* c = codes + col;
            for (std::size_t i = 0; i < 12; ++i) {
                const std::uint8_t* five = c + i / 3 * 16 + i % 3 * 5;
                row[i] = ternary_fraction(five[0] + 3u * five[1] + 9u * five[2] + 27u * five[3] + 81u * five[4]);
            }
            row[12] = ternary_fraction(c[15] + 3u * c[31] + 9u * c[47] + 27u * c[63]);
        }
    }

private:
    static void unpack_block(const std::uint8_t* block, std::uint8_t* codes) noexcept {
        std::uint8_t extra = block[12];
        take_digit(extra); // the fifth
        for (std::size_t g = 4; g-- > 0;) {
            for (std::size_t k = 0; k < 3; ++k) {
                std::uint8_t fraction = block[3 * g + k];
                for (std::size_t n = 5; n-- > 0;) {
                    codes[16 * g + 5 * k + n] = take_digit(fraction);
                }
            }
            codes[16 * g + 15] = take_digit(extra);
        }
    }
};

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/kernel/iq2_bn.hpp ----
// The row formats IQ2_BN and IQ2_BN_R4 of ik_llama.cpp: two bits a weight, a float for every row.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// A row is its scale, a float, and then 16 bytes for each 64 columns:
///
///     byte j, bits 2l and 2l + 1: the code of column 16l + j      l < 4, j < 16
///
/// Code 3 is not written by anybody.
struct iq2_bn {
    static constexpr std::string_view name = "IQ2_BN";
    static constexpr std::size_t block_columns = 64;
    static constexpr std::size_t block_bytes = 16;

    [[nodiscard]] static constexpr std::size_t row_bytes(std::size_t cols) noexcept {
        return sizeof(float) + cols / block_columns * block_bytes;
    }
    [[nodiscard]] static constexpr std::size_t segment_columns(std::size_t cols) noexcept { return cols; }
    [[nodiscard]] static float scale(const std::uint8_t* data, std::size_t row, std::size_t cols,
                                     std::size_t) noexcept {
        float d;
        std::memcpy(&d, data + row * row_bytes(cols), sizeof d);
        return d;
    }
    [[nodiscard]] static float stored_scale(float scale) noexcept { return scale; }

    [[nodiscard]] static bool unpack_row(const std::uint8_t* data, std::size_t row, std::size_t cols,
                                         std::uint8_t* codes) noexcept {
        const std::uint8_t* block = data + row * row_bytes(cols) + sizeof(float);
        unsigned bad = 0;
        for (std::size_t col = 0; col < cols; col += block_columns, block += block_bytes) {
            std::uint8_t packed[block_bytes];
            std::memcpy(packed, block, block_bytes);
            for (const unsigned byte : packed) {
                bad |= byte & (byte >> 1);
            }
            for (std::size_t l = 0; l < 4; ++l) {
                for (std::size_t j = 0; j < block_bytes; ++j) {
                    codes[col + 16 * l + j] = static_cast<std::uint8_t>(packed[j] >> (2 * l) & 3u);
                }
            }
        }
        return (bad & 0x55u) == 0;
    }

    static void pack_row(const std::uint8_t* codes, std::size_t cols, float scale, std::uint8_t* row) noexcept {
        std::memcpy(row, &scale, sizeof scale);
        row += sizeof scale;
        for (std::size_t col = 0; col < cols; col += block_columns, row += block_bytes) {
            for (std::size_t j = 0; j < block_bytes; ++j) {
                const std::uint8_t* c = codes + col + j;
                row[j] = static_cast<std::uint8_t>(c[0] | c[16] << 2 | c[32] << 4 | c[48] << 6);
            }
        }
    }
};

/// Four rows of IQ2_BN interleaved: their four scales, and then 64 bytes for each 64 columns:
///
///     byte 16l + 4r + i, bits 2j and 2j + 1: the code of column 16l + 4j + i of row r      l, r, i, j < 4
struct iq2_bn_r4 {
    static constexpr std::string_view name = "IQ2_BN_R4";
    static constexpr std::size_t block_columns = 64;

    [[nodiscard]] static constexpr std::size_t row_bytes(std::size_t cols) noexcept { return iq2_bn::row_bytes(cols); }
    [[nodiscard]] static constexpr std::size_t segment_columns(std::size_t cols) noexcept { return cols; }
    [[nodiscard]] static float scale(const std::uint8_t* data, std::size_t row, std::size_t cols,
                                     std::size_t) noexcept {
        float d;
        std::memcpy(&d, data + row / 4 * 4 * row_bytes(cols) + row % 4 * sizeof d, sizeof d);
        return d;
    }

    [[nodiscard]] static bool unpack_row(const std::uint8_t* data, std::size_t row, std::size_t cols,
                                         std::uint8_t* codes) noexcept {
        const std::uint8_t* four = data + row / 4 * 4 * row_bytes(cols) + 4 * sizeof(float) + row % 4 * 4;
        unsigned bad = 0;
        for (std::size_t col = 0; col < cols; col += 16) { // a quarter of a block: 16 bytes, four of them our row's
            for (std::size_t i = 0; i < 4; ++i) {
                const unsigned packed = four[col + i];
                bad |= packed & (packed >> 1);
                for (std::size_t j = 0; j < 4; ++j) {
                    codes[col + 4 * j + i] = static_cast<std::uint8_t>(packed >> (2 * j) & 3u);
                }
            }
        }
        return (bad & 0x55u) == 0;
    }
};

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/kernel/tl1.hpp ----
// The tl1 layout: pairs of weights as indices of four bits, for kernels that look sums of activations up.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// The idea is that of TL1 in microsoft/BitNet and of T-MAC (Wei et al., 2024): what a pair of weights makes of its two
/// activations is one of nine sums, made once per token and looked up for each row. The byte order is our own.
///
/// 16 columns of 32 rows in 128 bytes: four lines of 32 bytes, byte r of line l for row r and columns 4l .. 4l + 3:
///
///   bits    | 7:4                                  | 3:0
///   index   | 3 * code(4l + 2) + code(4l + 3)      | 3 * code(4l) + code(4l + 1)         0..8
struct tl1 {
    static constexpr std::string_view name = "tl1";
    static constexpr std::size_t block_rows = 32;
    static constexpr std::size_t block_columns = 16;
    static constexpr std::size_t block_bytes = 128;
    static constexpr std::size_t most_columns = std::size_t{1} << 18; // what by_way_of_i2s.hpp has room for

    using view = ternary_view<tl1>;

    [[nodiscard]] static constexpr bool admits(std::size_t, std::size_t cols) noexcept { return cols <= most_columns; }

    /// The code 0..2 at (row, col). \pre row < rows, col < cols
    [[nodiscard]] static std::uint8_t code(const view& w, std::size_t row, std::size_t col) noexcept {
        const std::size_t block = row / 32 * blocks_across<tl1>(w.cols) + col / 16;
        const unsigned pair = w.data[block * block_bytes + col % 16 / 4 * 32 + row % 32] >> (col % 4 / 2 * 4) & 15u;
        return static_cast<std::uint8_t>(col % 2 == 0 ? pair / 3 : pair % 3);
    }

    static void pack_block(const std::uint8_t* codes, std::size_t stride, std::uint8_t* block) noexcept {
        for (std::size_t r = 0; r < 32; ++r) {
            const std::uint8_t* c = codes + r * stride;
            for (std::size_t line = 0; line < 4; ++line, c += 4) {
                block[line * 32 + r] = static_cast<std::uint8_t>((3 * c[2] + c[3]) << 4 | (3 * c[0] + c[1]));
            }
        }
    }
    static void unpack_block(const std::uint8_t* block, std::uint8_t* codes, std::size_t stride) noexcept {
        for (std::size_t r = 0; r < 32; ++r) {
            std::uint8_t* c = codes + r * stride;
            for (std::size_t line = 0; line < 4; ++line, c += 4) {
                const unsigned pairs = block[line * 32 + r];
                c[0] = third_of(pairs & 15u);
                c[1] = static_cast<std::uint8_t>((pairs & 15u) - 3u * c[0]);
                c[2] = third_of(pairs >> 4);
                c[3] = static_cast<std::uint8_t>((pairs >> 4) - 3u * c[2]);
            }
        }
    }
    [[nodiscard]] static bool is_ternary(const std::uint8_t* block) noexcept {
        std::uint8_t most = 0;
        for (std::size_t i = 0; i < std::size_t{4} * 32; ++i) {
            const auto high = static_cast<std::uint8_t>(block[i] >> 4);
            const auto low = static_cast<std::uint8_t>(block[i] & 15u);
            most = std::max(most, std::max(high, low));
        }
        return most <= 8;
    }

private:
    /// index / 3 without a division. \pre index <= 15
    [[nodiscard]] static constexpr std::uint8_t third_of(unsigned index) noexcept {
        return static_cast<std::uint8_t>(index * 11 >> 5);
    }
};

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/kernel/tl2.hpp ----
// The tl2 layout: three weights as a sign and an index of four bits, for kernels that look sums of activations up.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// The idea is that of TL2 in microsoft/BitNet (Wang et al., "Bitnet.cpp", 2025): of the 27 sums that three weights can
/// make of their activations, 13 are the negatives of others, so that a sign and an index of four bits are enough: 5/3
/// bits a weight. The byte order is our own; columns need be a multiple of nothing.
///
/// 24 columns of 32 rows in 160 bytes: five lines of 32 bytes, of which byte r belongs to row r. With
/// value(t) = 9 w(3t) + 3 w(3t + 1) + w(3t + 2) for triple t = 0..7 of the block, which is -13..13:
///
///   lines 0..3 | bits 7:4 |value(2 * line + 1)|, bits 3:0 |value(2 * line)|       0..13
///   line 4     | bit 7 - t: value(t) < 0
struct tl2 {
    static constexpr std::string_view name = "tl2";
    static constexpr std::size_t block_rows = 32;
    static constexpr std::size_t block_columns = 24;
    static constexpr std::size_t block_bytes = 160;
    static constexpr std::size_t most_columns = std::size_t{1} << 18; // what by_way_of_i2s.hpp has room for

    using view = ternary_view<tl2>;

    [[nodiscard]] static constexpr bool admits(std::size_t, std::size_t cols) noexcept { return cols <= most_columns; }

    /// The code 0..2 at (row, col). \pre row < rows, col < cols
    [[nodiscard]] static std::uint8_t code(const view& w, std::size_t row, std::size_t col) noexcept {
        const std::uint8_t* block =
            w.data + (row / 32 * blocks_across<tl2>(w.cols) + col / 24) * block_bytes + row % 32;
        const std::size_t triple = col % 24 / 3;
        const unsigned magnitude = block[triple / 2 * 32] >> (triple % 2 * 4) & 15u;
        const bool negative = (block[std::size_t{4} * 32] >> (7 - triple) & 1u) != 0;
        const unsigned value = negative ? 13 - magnitude : 13 + magnitude; // 9 c0 + 3 c1 + c2
        constexpr unsigned place[3] = {9, 3, 1};
        return static_cast<std::uint8_t>(value / place[col % 3] % 3);
    }

    static void pack_block(const std::uint8_t* codes, std::size_t stride, std::uint8_t* block) noexcept {
        for (std::size_t r = 0; r < 32; ++r) {
            const std::uint8_t* c = codes + r * stride;
            unsigned signs = 0;
            for (std::size_t line = 0; line < 4; ++line, c += 6) {
                const int low = 9 * c[0] + 3 * c[1] + c[2] - 13;
                const int high = 9 * c[3] + 3 * c[4] + c[5] - 13;
                signs = signs << 2 | (low < 0 ? 2u : 0u) | (high < 0 ? 1u : 0u);
                block[line * 32 + r] =
                    static_cast<std::uint8_t>((high < 0 ? -high : high) << 4 | (low < 0 ? -low : low));
            }
            block[std::size_t{4} * 32 + r] = static_cast<std::uint8_t>(signs);
        }
    }
    static void unpack_block(const std::uint8_t* block, std::uint8_t* codes, std::size_t stride) noexcept {
        for (std::size_t r = 0; r < 32; ++r) {
            std::uint8_t* c = codes + r * stride;
            unsigned signs = block[std::size_t{4} * 32 + r];
            for (std::size_t triple = 0; triple < 8; ++triple, c += 3, signs <<= 1) {
                const unsigned magnitude = block[triple / 2 * 32 + r] >> (triple % 2 * 4) & 15u;
                const unsigned value = (signs & 128u) != 0 ? 13 - magnitude : 13 + magnitude;
                const unsigned third = value * 11 >> 5; // value / 3 up to 26: tested
                const unsigned ninth = third * 11 >> 5;
                c[0] = static_cast<std::uint8_t>(ninth);
                c[1] = static_cast<std::uint8_t>(third - 3 * ninth);
                c[2] = static_cast<std::uint8_t>(value - 3 * third);
            }
        }
    }
    [[nodiscard]] static bool is_ternary(const std::uint8_t* block) noexcept {
        std::uint8_t most = 0;
        for (std::size_t i = 0; i < std::size_t{4} * 32; ++i) {
            const auto high = static_cast<std::uint8_t>(block[i] >> 4);
            const auto low = static_cast<std::uint8_t>(block[i] & 15u);
            most = std::max(most, std::max(high, low));
        }
        return most <= 13;
    }
};

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/kernel/tq1_0.hpp ----
// The row format TQ1_0 of llama.cpp: five weights in a byte, a half for every 256.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// 256 columns of a row in 54 bytes, 1.6875 bits a weight. Bytes are ternary_fractions; n counts their digits from the
/// most significant one:
///
///     0   qs[32]  byte m, digit n: the code of column 32n + m                        n < 5, m < 32
///     32  qs[16]  byte m, digit n: the code of column 160 + 16n + m                  n < 5, m < 16
///     48  qh[4]   byte m, digit n: the code of column 240 + 4n + m; the fifth is 0   n < 4, m < 4
///     52  d       half, the scale of these columns
///
/// Every byte gives digits 0 to 2: there is nothing to refuse.
struct tq1_0 {
    static constexpr std::string_view name = "TQ1_0";
    static constexpr std::size_t block_columns = 256;
    static constexpr std::size_t block_bytes = 54;
    static constexpr std::size_t scale_at = 52;

    [[nodiscard]] static constexpr std::size_t row_bytes(std::size_t cols) noexcept {
        return cols / block_columns * block_bytes;
    }
    [[nodiscard]] static constexpr std::size_t segment_columns(std::size_t) noexcept { return block_columns; }
    [[nodiscard]] static float scale(const std::uint8_t* data, std::size_t row, std::size_t cols,
                                     std::size_t segment) noexcept {
        half d;
        std::memcpy(&d, data + row * row_bytes(cols) + segment * block_bytes + scale_at, sizeof d);
        return widen(d);
    }
    [[nodiscard]] static float stored_scale(float scale) noexcept { return widen(narrow<half>(scale)); }

    [[nodiscard]] static bool unpack_row(const std::uint8_t* data, std::size_t row, std::size_t cols,
                                         std::uint8_t* codes) noexcept {
        const std::uint8_t* block = data + row * row_bytes(cols);
        for (std::size_t col = 0; col < cols; col += block_columns, block += block_bytes) {
            unpack<32, 5>(block, codes + col);
            unpack<16, 5>(block + 32, codes + col + 160);
            unpack<4, 4>(block + 48, codes + col + 240);
        }
        return true;
    }

    static void pack_row(const std::uint8_t* codes, std::size_t cols, float scale, std::uint8_t* row) noexcept {
        const half d = narrow<half>(scale);
        for (std::size_t col = 0; col < cols; col += block_columns, row += block_bytes) {
            pack<32, 5>(codes + col, row);
            pack<16, 5>(codes + col + 160, row + 32);
            pack<4, 4>(codes + col + 240, row + 48);
            std::memcpy(row + scale_at, &d, sizeof d);
        }
    }

private:
    /// `Bytes` bytes of `Digits` codes, those of one digit side by side.
    template <std::size_t Bytes, std::size_t Digits>
    static void unpack(const std::uint8_t* bytes, std::uint8_t* codes) noexcept {
        std::uint8_t fractions[Bytes];
        std::memcpy(fractions, bytes, Bytes);
        for (std::size_t n = 0; n < Digits; ++n) {
            for (std::size_t m = 0; m < Bytes; ++m) {
                codes[Bytes * n + m] = take_digit(fractions[m]);
            }
        }
    }
    template <std::size_t Bytes, std::size_t Digits>
    static void pack(const std::uint8_t* codes, std::uint8_t* bytes) noexcept {
        for (std::size_t m = 0; m < Bytes; ++m) {
            unsigned value = 0;
            for (std::size_t n = 0; n < 5; ++n) {
                value = 3 * value + (n < Digits ? codes[Bytes * n + m] : 0u);
            }
            bytes[m] = ternary_fraction(value);
        }
    }
};

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/kernel/tq2_0.hpp ----
// The row format TQ2_0 of llama.cpp: two bits a weight, a half for every 256.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// 256 columns of a row in 66 bytes, 2.0625 bits a weight:
///
///     0   qs[64]  byte 32h + m, bits 2l and 2l + 1: the code of column 128h + 32l + m      h < 2, l < 4, m < 32
///     64  d       half, the scale of these columns
///
/// Code 3 is not written by anybody.
struct tq2_0 {
    static constexpr std::string_view name = "TQ2_0";
    static constexpr std::size_t block_columns = 256;
    static constexpr std::size_t block_bytes = 66;
    static constexpr std::size_t scale_at = 64;

    [[nodiscard]] static constexpr std::size_t row_bytes(std::size_t cols) noexcept {
        return cols / block_columns * block_bytes;
    }
    [[nodiscard]] static constexpr std::size_t segment_columns(std::size_t) noexcept { return block_columns; }
    [[nodiscard]] static float scale(const std::uint8_t* data, std::size_t row, std::size_t cols,
                                     std::size_t segment) noexcept {
        half d;
        std::memcpy(&d, data + row * row_bytes(cols) + segment * block_bytes + scale_at, sizeof d);
        return widen(d);
    }
    [[nodiscard]] static float stored_scale(float scale) noexcept { return widen(narrow<half>(scale)); }

    [[nodiscard]] static bool unpack_row(const std::uint8_t* data, std::size_t row, std::size_t cols,
                                         std::uint8_t* codes) noexcept {
        const std::uint8_t* block = data + row * row_bytes(cols);
        unsigned bad = 0;
        for (std::size_t col = 0; col < cols; col += block_columns, block += block_bytes) {
            bad |= unpack_half(block, codes + col) | unpack_half(block + 32, codes + col + 128);
        }
        return (bad & 0x55u) == 0;
    }

    static void pack_row(const std::uint8_t* codes, std::size_t cols, float scale, std::uint8_t* row) noexcept {
        const half d = narrow<half>(scale);
        for (std::size_t col = 0; col < cols; col += block_columns, row += block_bytes) {
            for (std::size_t i = 0; i < scale_at; ++i) {
                const std::uint8_t* c = codes + col + i / 32 * 128 + i % 32;
                row[i] = static_cast<std::uint8_t>(c[0] | c[32] << 2 | c[64] << 4 | c[96] << 6);
            }
            std::memcpy(row + scale_at, &d, sizeof d);
        }
    }

private:
    /// 128 columns. \return an even bit where a code is 3
    [[nodiscard]] static unsigned unpack_half(const std::uint8_t* bytes, std::uint8_t* codes) noexcept {
        std::uint8_t packed[32];
        std::memcpy(packed, bytes, sizeof packed);
        unsigned bad = 0;
        for (const unsigned byte : packed) {
            bad |= byte & (byte >> 1);
        }
        for (std::size_t l = 0; l < 4; ++l) {
            for (std::size_t m = 0; m < 32; ++m) {
                codes[32 * l + m] = static_cast<std::uint8_t>(packed[m] >> (2 * l) & 3u);
            }
        }
        return bad;
    }
};

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/model/format_rows.hpp ----
// format_rows<F>: the rows of a tensor in a ternary row format, whose scales must all be one.

// ---- bitnet/kernel/row_format.hpp ----
// Ternary row formats: how other programs store rows of -1, 0, +1 with their scales among them. The concept.

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// A format in which other programs keep a [rows, cols] ternary matrix. Weights -1, 0, +1 are codes 0, 1, 2, times a
/// scale for each segment of a row: a block of columns, or the whole row. No kernel works on these formats; their rows
/// are read into a ternary_layout (model/format_rows.hpp), where one scale serves the whole matrix.
template <class F>
concept ternary_row_format = requires(const std::uint8_t* data, std::uint8_t* codes, std::size_t n) {
    { F::name } -> std::convertible_to<std::string_view>;
    { F::block_columns } -> std::convertible_to<std::size_t>; // cols is a multiple of it
    { F::row_bytes(n) }                                       // cols
    noexcept->std::same_as<std::size_t>;
    { F::segment_columns(n) } // cols
    noexcept->std::same_as<std::size_t>;
    { F::scale(data, n, n, n) } // the matrix, row, cols, segment
    noexcept->std::same_as<float>;
    { F::unpack_row(data, n, n, codes) } // the matrix, row, cols -> codes [cols]; whether all are 0, 1 or 2
    noexcept->std::same_as<bool>;
};

/// A row format that rows can be written in.
template <class F>
concept writable_row_format = ternary_row_format<F> &&
    requires(const std::uint8_t* codes, std::uint8_t* row, std::size_t cols, float scale) {
    { F::pack_row(codes, cols, scale, row) } // `scale`, rounded to what the format stores, and codes 0, 1, 2
    noexcept->std::same_as<void>;
    { F::stored_scale(scale) } // what a reader finds of it
    noexcept->std::same_as<float>;
};

/// Whether a number can be the scale of ternary weights: finite and above zero. By its bits, because -ffast-math folds
/// comparisons with infinity.
[[nodiscard]] constexpr bool is_ternary_scale(float scale) noexcept {
    const auto bits = std::bit_cast<std::uint32_t>(scale);
    return bits != 0 && bits < 0x7f800000u;
}

} // namespace bitnet::inline BITNET_ABI

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// "0.012345 (bits 1011129254)": two floats that differ look different.
[[nodiscard]] inline std::string scale_text(float scale) {
    return std::to_string(scale) + " (bits " + std::to_string(std::bit_cast<std::uint32_t>(scale)) + ")";
}

/// Rows in format `F`. Formats that repeat the scale for every block or row can only be read where it is the same
/// everywhere, as it is in a model that was trained ternary: one product of integers serves a whole row of the matrix.
/// Segments of scale 0 hold zeros. A tensor of nothing but such segments has the scale 1.
/// Borrows the tensor's bytes.
template <ternary_row_format F> class format_rows {
public:
    /// Reads scales up to the first one that is not 0. \pre the tensor is [cols, rows], its bytes as many as `F` needs
    /// \return errc::bad_scale where that scale is not finite or below zero.
    [[nodiscard]] static result<format_rows> open(const gguf_tensor& tensor, std::string_view file) {
        format_rows made(tensor);
        for (std::size_t row = 0; row < made.rows_; ++row) {
            for (std::size_t segment = 0; segment < made.segments(); ++segment) {
                const float scale = made.scale_of(row, segment);
                if (is_zero(scale)) {
                    continue;
                }
                if (!is_ternary_scale(scale)) {
                    return error{errc::bad_scale, std::string(file) + ": tensor " + quoted_name(tensor.name) +
                                                      ": row " + std::to_string(row) + " has the " +
                                                      std::string(F::name) + " scale " + scale_text(scale) +
                                                      ", it must be finite and not below zero"};
                }
                made.scale_ = scale;
                return made;
            }
        }
        return made;
    }

    [[nodiscard]] float scale() const noexcept { return scale_; }

    [[nodiscard]] bool read(std::size_t row, std::uint8_t* codes) const noexcept {
        bool good = F::unpack_row(data_, row, cols_, codes);
        for (std::size_t segment = 0; segment < segments(); ++segment) {
            const float scale = scale_of(row, segment);
            if (is_zero(scale)) {
                std::memset(codes + segment * F::segment_columns(cols_), 1, F::segment_columns(cols_));
            } else {
                good = good && same_bits(scale, scale_);
            }
        }
        return good;
    }

    [[nodiscard]] error fault(std::size_t row) const {
        for (std::size_t segment = 0; segment < segments(); ++segment) {
            const float scale = scale_of(row, segment);
            if (!is_zero(scale) && !same_bits(scale, scale_)) {
                return {errc::bad_scale, "has at column " + std::to_string(segment * F::segment_columns(cols_)) +
                                             " the " + std::string(F::name) + " scale " + scale_text(scale) +
                                             ", and those before it are " + scale_text(scale_) +
                                             ": a ternary tensor has one scale"};
            }
        }
        return {errc::bad_code, "holds the code 3; only 0, 1 and 2 are ternary"};
    }

private:
    explicit format_rows(const gguf_tensor& tensor) noexcept
        : data_(reinterpret_cast<const std::uint8_t*>(tensor.bytes.data())),
          rows_(static_cast<std::size_t>(tensor.dims[1])), cols_(static_cast<std::size_t>(tensor.dims[0])) {}

    [[nodiscard]] std::size_t segments() const noexcept { return cols_ / F::segment_columns(cols_); }
    [[nodiscard]] float scale_of(std::size_t row, std::size_t segment) const noexcept {
        return F::scale(data_, row, cols_, segment);
    }
    [[nodiscard]] static bool is_zero(float scale) noexcept {
        return (std::bit_cast<std::uint32_t>(scale) & 0x7fffffffu) == 0;
    }
    [[nodiscard]] static bool same_bits(float a, float b) noexcept {
        return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b);
    }

    const std::uint8_t* data_;
    std::size_t rows_;
    std::size_t cols_;
    float scale_ = 1.0f;
};

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/model/lookup_rows.hpp ----
// tl1_rows and tl2_rows: the rows of tensors in the lookup formats of microsoft/BitNet, whose tiling a caller supplies.

// ---- bitnet/model/lookup_tiling.hpp ----
// lookup_tiling: the tile sizes of microsoft/BitNet's TL1 and TL2 tensors, which stand in a kernel_config.ini.

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

namespace bitnet::inline BITNET_ABI {

/// How a [rows, cols] matrix was cut when a file was written; names as in the section of the ini file.
struct lookup_tiling {
    std::size_t m = 0; ///< rows
    std::size_t k = 0; ///< columns
    std::size_t bm = 0;
    std::size_t bk = 0;
    std::size_t bmm = 0;

    /// The section of `ini`, the text of a kernel_config.ini, for a matrix of that shape; empty where there is none.
    /// \return errc::invalid_argument with the line that is no section, comment or known key with a number.
    [[nodiscard]] static result<std::optional<lookup_tiling>> find(std::string_view ini, std::size_t rows,
                                                                   std::size_t cols);

private:
    [[nodiscard]] std::size_t* field(std::string_view key) noexcept {
        return key == "m"     ? &m
               : key == "k"   ? &k
               : key == "bm"  ? &bm
               : key == "bk"  ? &bk
               : key == "bmm" ? &bmm
                              : nullptr;
    }
    [[nodiscard]] static std::string_view trimmed(std::string_view text) noexcept {
        const auto first = text.find_first_not_of(" \t\r");
        const auto last = text.find_last_not_of(" \t\r");
        return first == text.npos ? std::string_view() : text.substr(first, last - first + 1);
    }
    /// "bm = 160" goes to its field. \return whether it is of that form
    [[nodiscard]] bool read_line(std::string_view line) noexcept {
        const auto equals = line.find('=');
        std::size_t* const to = equals != line.npos ? field(trimmed(line.substr(0, equals))) : nullptr;
        if (to == nullptr) {
            return false;
        }
        const std::string_view number = trimmed(line.substr(equals + 1));
        const auto [end, failed] = std::from_chars(number.data(), number.data() + number.size(), *to);
        return failed == std::errc() && end == number.data() + number.size();
    }
};

inline result<std::optional<lookup_tiling>> lookup_tiling::find(std::string_view ini, std::size_t rows,
                                                                std::size_t cols) {
    lookup_tiling section;
    for (std::size_t number = 1; !ini.empty(); ++number) {
        const std::string_view line = trimmed(ini.substr(0, ini.find('\n')));
        ini.remove_prefix(std::min(ini.size(), ini.find('\n') < ini.size() ? ini.find('\n') + 1 : ini.size()));
        if (line.empty() || line.front() == '#' || line.front() == ';') {
            continue;
        }
        if (line.front() == '[' && line.back() == ']') {
            if (section.m == rows && section.k == cols) {
                break;
            }
            section = {};
        } else if (!section.read_line(line)) {
            return error{errc::invalid_argument, "kernel_config.ini: line " + std::to_string(number) + " is " +
                                                     quoted_name(line) +
                                                     "; [section] or m, k, bm, bk or bmm = NUMBER expected"};
        }
    }
    const bool found = section.m == rows && section.k == cols;
    return found ? std::optional(section) : std::optional<lookup_tiling>();
}

} // namespace bitnet::inline BITNET_ABI

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// What both formats have in common: a matrix cut into tiles of bm rows and bk columns, those into stripes of 32, 64..
/// rows, and a tile's stripes one behind the other. The scale stands in a tensor of its own, `<name>.weight_scale`.
struct lookup_matrix {
    const std::uint8_t* data = nullptr;
    std::size_t rows = 0;
    std::size_t cols = 0;
    lookup_tiling tiling;

    /// Finds the tiling of a tensor in `ini`. \return errc::wrong_layout where there is none.
    [[nodiscard]] static result<lookup_matrix> open(const gguf_tensor& tensor, std::string_view file,
                                                    std::string_view ini) {
        const std::string place = std::string(file) + ": tensor " + quoted_name(tensor.name) + ": ";
        if (ini.empty()) {
            return error{errc::wrong_layout, place + "type " + std::string(name_of(tensor.type)) +
                                                 " of microsoft/BitNet: its tile sizes are not in the file. They stand "
                                                 "in the kernel_config.ini that it was written with: give its text as "
                                                 "open_options::lookup_tiling"};
        }
        lookup_matrix made{reinterpret_cast<const std::uint8_t*>(tensor.bytes.data()),
                           static_cast<std::size_t>(tensor.dims[1]),
                           static_cast<std::size_t>(tensor.dims[0]),
                           {}};
        const auto tiling = lookup_tiling::find(ini, made.rows, made.cols);
        if (!tiling) {
            return tiling.error();
        }
        if (!*tiling) {
            return error{errc::wrong_layout, place + dims_text(tensor) +
                                                 " in the file, and kernel_config.ini has no section with k = " +
                                                 std::to_string(made.cols) + " and m = " + std::to_string(made.rows)};
        }
        made.tiling = **tiling;
        return made;
    }

    /// Where the parts of a row are in a region that has `columns` columns in tiles of `tile_columns`, with stripes of
    /// `stripe` rows, `bytes` bytes for each tile and stripe. Calls part(first column of the region, where it begins).
    template <class Part>
    void for_each_tile(std::size_t row, std::size_t columns, std::size_t tile_columns, std::size_t stripe,
                       std::size_t bytes, Part&& part) const noexcept {
        const std::size_t across = columns / tile_columns;
        const std::size_t stripes = tiling.bm / stripe;
        for (std::size_t tile = 0; tile < across; ++tile) {
            const std::size_t at = (row / tiling.bm * across + tile) * stripes + row % tiling.bm / stripe;
            part(tile * tile_columns, at * bytes);
        }
    }

    [[nodiscard]] error does_not_fit(const gguf_tensor& tensor, std::string_view file, std::string_view rule) const {
        return error{errc::wrong_layout, std::string(file) + ": tensor " + quoted_name(tensor.name) + ": " +
                                             dims_text(tensor) + " as " + std::string(name_of(tensor.type)) +
                                             " with bm = " + std::to_string(tiling.bm) +
                                             ", bk = " + std::to_string(tiling.bk) +
                                             ", bmm = " + std::to_string(tiling.bmm) + ": " + std::string(rule)};
    }

    /// Two codes from an index 3 * c0 + c1. \return whether it is one, 0 to 8
    [[nodiscard]] static bool unpack_pair(unsigned index, std::uint8_t* codes) noexcept {
        codes[0] = static_cast<std::uint8_t>(index / 3);
        codes[1] = static_cast<std::uint8_t>(index % 3);
        return index <= 8;
    }
};

/// TL1 as convert-hf-to-gguf-bitnet.py of microsoft/BitNet writes it. Pairs of columns are indices 3 * c0 + c1. A
/// tile's stripes are bmm rows high and cut into groups of by = 256 / bmm columns, 64 bytes each:
///
///   byte 16 * (r / 16 * (by / 4) + p) + r % 16 of row r and columns 4p .. 4p + 3 of the group
///   bits 7:4 columns 4p, 4p + 1    bits 3:0 columns 4p + 2, 4p + 3
///
/// Every byte lies inside rows * cols / 4: tiles cover the matrix once. Borrows the tensor's bytes.
class tl1_rows {
public:
    /// \return errc::wrong_layout where `ini` has no tiling for the shape, or one that does not divide it.
    [[nodiscard]] static result<tl1_rows> open(const gguf_tensor& tensor, std::string_view file, std::string_view ini) {
        const auto matrix = lookup_matrix::open(tensor, file, ini);
        if (!matrix) {
            return matrix.error();
        }
        const lookup_tiling& t = matrix->tiling;
        const bool fits = (t.bmm == 16 || t.bmm == 32 || t.bmm == 64) && t.bm != 0 && t.bm % t.bmm == 0 &&
                          t.m % t.bm == 0 && t.bk != 0 && t.bk % (256 / t.bmm) == 0 && t.k % t.bk == 0;
        if (!fits) {
            return matrix->does_not_fit(tensor, file,
                                        "bmm must be 16, 32 or 64, bm a multiple of it that divides the rows, and bk a "
                                        "multiple of 256 / bmm that divides the columns");
        }
        return tl1_rows(*matrix);
    }

    [[nodiscard]] float scale() const noexcept { return 1.0f; }

    [[nodiscard]] bool read(std::size_t row, std::uint8_t* codes) const noexcept {
        const std::size_t bk = matrix_.tiling.bk;
        const std::size_t bmm = matrix_.tiling.bmm;
        const std::size_t group = 256 / bmm;
        const std::size_t r = row % bmm;
        bool good = true;
        matrix_.for_each_tile(row, matrix_.cols, bk, bmm, bk * bmm / 4,
                              [&](std::size_t first, std::size_t at) noexcept {
                                  for (std::size_t c = 0; c < bk; c += 4) {
                                      const std::size_t sixteen = r / 16 * (group / 4) + c % group / 4;
                                      const unsigned pairs = matrix_.data[at + c / group * 64 + sixteen * 16 + r % 16];
                                      good = lookup_matrix::unpack_pair(pairs >> 4, codes + first + c) && good;
                                      good = lookup_matrix::unpack_pair(pairs & 15u, codes + first + c + 2) && good;
                                  }
                              });
        return good;
    }
    [[nodiscard]] error fault(std::size_t) const {
        return {errc::bad_code, "holds an index above 8, which TL1 has not"};
    }

private:
    explicit tl1_rows(const lookup_matrix& matrix) noexcept : matrix_(matrix) {}

    lookup_matrix matrix_;
};

/// TL2 as convert-hf-to-gguf-bitnet.py of microsoft/BitNet writes it. The columns that whole tiles of bk cover are
/// triples: v = 9 w0 + 3 w1 + w2, stored as |v| in four bits and v < 0 in one. The rest are pairs 3 * c0 + c1, in tiles
/// of 32 columns. Stripes are 32 rows high. Three regions, one behind the other:
///
///   |v|     32 bytes for each 6 columns of a stripe:  bits 7:4 columns 0 .. 2, bits 3:0 columns 3 .. 5
///   v < 0   32 bytes for each 24 columns of a stripe: bit 15 - (2t + r / 16) of the u16 r % 16 for triple t
///   pairs   32 bytes for each 4 columns of a stripe:  bits 7:4 columns 0 and 1, bits 3:0 columns 2 and 3
///
/// Byte j of the first and third belongs to row j, but rows 8 .. 15 and 16 .. 23 have changed places. Of `a` columns in
/// triples and `b` in pairs a row takes 5a / 24 + b / 4 bytes, which b <= 256 keeps within what the format counts for a
/// tensor: 5(a + b - 256) / 24 + 64. Borrows the tensor's bytes.
class tl2_rows {
public:
    /// \return errc::wrong_layout where `ini` has no tiling for the shape, or one that does not fit it.
    [[nodiscard]] static result<tl2_rows> open(const gguf_tensor& tensor, std::string_view file, std::string_view ini) {
        const auto matrix = lookup_matrix::open(tensor, file, ini);
        if (!matrix) {
            return matrix.error();
        }
        const lookup_tiling& t = matrix->tiling;
        const bool fits = t.bmm == 32 && t.bm != 0 && t.bm % 32 == 0 && t.m % t.bm == 0 && t.bk != 0 &&
                          t.bk % 24 == 0 && t.k % t.bk % 32 == 0 && t.k % t.bk <= 256;
        if (!fits) {
            return matrix->does_not_fit(tensor, file,
                                        "bmm must be 32, bm a multiple of it that divides the rows, and bk a multiple "
                                        "of 24 that leaves a multiple of 32 and at most 256 of the columns");
        }
        return tl2_rows(*matrix);
    }

    [[nodiscard]] float scale() const noexcept { return 1.0f; }

    [[nodiscard]] bool read(std::size_t row, std::uint8_t* codes) const noexcept {
        const std::size_t bk = matrix_.tiling.bk;
        const std::size_t in_triples = matrix_.cols - matrix_.cols % bk;
        const std::size_t r = row % 32;
        const std::size_t place = (r & 7u) | (r & 8u) << 1 | (r & 16u) >> 1; // of its byte
        const std::uint8_t* const signs = matrix_.data + matrix_.rows * in_triples / 6;
        const std::uint8_t* const pairs = signs + matrix_.rows * in_triples / 24;
        bool good = true;
        matrix_.for_each_tile(row, in_triples, bk, 32, bk * 32 / 6, [&](std::size_t first, std::size_t at) noexcept {
            for (std::size_t c = 0; c < bk; c += 6) {
                const unsigned two = matrix_.data[at + c / 6 * 32 + place];
                const std::uint8_t* u16s = signs + at / 4 + c / 24 * 32 + r % 16 * 2;
                const unsigned bits = static_cast<unsigned>(u16s[0] | u16s[1] << 8) >> (r < 16 ? 1 : 0);
                const std::size_t shift = 14 - c % 24 / 3 * 2;
                good = unpack_triple(two >> 4, bits >> shift, codes + first + c) && good;
                good = unpack_triple(two & 15u, bits >> (shift - 2), codes + first + c + 3) && good;
            }
        });
        const auto read_pairs = [&](std::size_t first, std::size_t at) noexcept {
            for (std::size_t c = 0; c < 32; c += 4) {
                const unsigned two = pairs[at + c / 4 * 32 + place];
                good = lookup_matrix::unpack_pair(two >> 4, codes + in_triples + first + c) && good;
                good = lookup_matrix::unpack_pair(two & 15u, codes + in_triples + first + c + 2) && good;
            }
        };
        matrix_.for_each_tile(row, matrix_.cols - in_triples, 32, 32, 256, read_pairs);
        return good;
    }
    [[nodiscard]] error fault(std::size_t) const {
        return {errc::bad_code, "holds an index above 13 of three weights or above 8 of two, which TL2 has not"};
    }

private:
    explicit tl2_rows(const lookup_matrix& matrix) noexcept : matrix_(matrix) {}

    /// Three codes from |v| and, in the lowest bit, v < 0. \return whether |v| is at most 13
    [[nodiscard]] static bool unpack_triple(unsigned magnitude, unsigned negative, std::uint8_t* codes) noexcept {
        const unsigned value = (negative & 1u) != 0 ? 13u - magnitude : 13u + magnitude; // 9 c0 + 3 c1 + c2
        codes[0] = static_cast<std::uint8_t>(value / 9 % 3);
        codes[1] = static_cast<std::uint8_t>(value / 3 % 3);
        codes[2] = static_cast<std::uint8_t>(value % 3);
        return magnitude <= 13;
    }

    lookup_matrix matrix_;
};

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/model/master_rows.hpp ----
// master_rows<E>: ternary rows out of weights in floating point, exact where they are ternary and by absmean otherwise.

// ---- bitnet/core/float_environment.hpp ----
// default_float_environment: round to nearest and keep denormals while the library computes, whatever the host has set.

#if BITNET_X86_64
#include <xmmintrin.h>
#endif

#include <cstdint>

namespace bitnet::inline BITNET_ABI {

/// Sets the IEEE default for this thread and restores the caller's setting when it goes out of scope.
/// Needed because -ffast-math links start-up code that flushes denormals, and hosts change rounding.
class default_float_environment {
public:
    default_float_environment() noexcept : saved_(load()) { store(ieee_default); }
    ~default_float_environment() { store(saved_); }
    default_float_environment(const default_float_environment&) = delete;
    default_float_environment& operator=(const default_float_environment&) = delete;

private:
#if BITNET_X86_64
    using word = std::uint32_t;
    static constexpr word ieee_default = 0x1f80; // MXCSR after reset: all exceptions masked, nearest, no DAZ, no FTZ
    [[nodiscard]] static word load() noexcept { return _mm_getcsr(); }
    static void store(word value) noexcept { _mm_setcsr(value); }
#elif defined(__aarch64__) && !defined(_MSC_VER)
    using word = std::uint64_t;
    static constexpr word ieee_default = 0; // FPCR: nearest, no flush to zero, IEEE half precision
    [[nodiscard]] static word load() noexcept {
        word value;
        __asm__ volatile("mrs %0, fpcr" : "=r"(value));
        return value;
    }
    static void store(word value) noexcept { __asm__ volatile("msr fpcr, %0" : : "r"(value)); }
#else
    using word = std::uint32_t;
    static constexpr word ieee_default = 0;
    [[nodiscard]] static word load() noexcept { return 0; }
    static void store(word) noexcept {}
#endif
    word saved_;
};

} // namespace bitnet::inline BITNET_ABI

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

namespace bitnet::inline BITNET_ABI {

/// The bits of a floating point element: a sign, and a magnitude that orders as the number does.
template <class E> struct float_bits {
    using word = std::conditional_t<sizeof(E) == 2, std::uint16_t, std::uint32_t>;
    static_assert(sizeof(word) == sizeof(E));

    static constexpr word sign = static_cast<word>(word{1} << (8 * sizeof(word) - 1));
    static constexpr word infinity = std::is_same_v<E, float>  ? static_cast<word>(0x7f800000u)
                                     : std::is_same_v<E, half> ? static_cast<word>(0x7c00u)
                                                               : static_cast<word>(0x7f80u);

    [[nodiscard]] static word load(const std::byte* row, std::size_t i) noexcept {
        word bits;
        std::memcpy(&bits, row + i * sizeof bits, sizeof bits);
        return bits;
    }
    [[nodiscard]] static word magnitude(word bits) noexcept { return static_cast<word>(bits & (sign - 1u)); }
    [[nodiscard]] static float value(word bits) noexcept { return widen(std::bit_cast<E>(bits)); }
};

/// What a pass over a row of masters finds.
struct master_row_facts {
    double sum = 0;         ///< of the magnitudes
    bool finite = true;     ///< no infinity, no NaN
    bool is_ternary = true; ///< 0 and one magnitude only
};

} // namespace bitnet::inline BITNET_ABI

BITNET_PRECISE_BEGIN
namespace bitnet::inline BITNET_ABI {

/// The arithmetic of absmean, as written whatever the including program is built with.
struct absmean {
    /// One double sum over ascending columns. `only` is the magnitude that a ternary row has besides 0.
    template <class E>
    [[nodiscard]] static master_row_facts facts_of(const std::byte* row, std::size_t cols,
                                                   typename float_bits<E>::word only) noexcept {
        master_row_facts facts;
        std::size_t i = 0;
        for (; i + 16 <= cols; i += 16) {
            add<E>(row + i * sizeof(E), 16, only, facts);
        }
        add<E>(row + i * sizeof(E), cols - i, only, facts);
        return facts;
    }

    /// max(sum of all rows / elements, 1e-5), rows added in ascending order.
    [[nodiscard]] static double mean(const master_row_facts* facts, std::size_t rows, std::size_t cols) noexcept {
        double sum = 0;
        for (std::size_t row = 0; row < rows; ++row) {
            sum = sum + facts[row].sum;
        }
        const double mean = sum / (static_cast<double>(rows) * static_cast<double>(cols));
        return mean > 1e-5 ? mean : 1e-5;
    }

    /// The bits of the smallest magnitude w that becomes 1, which is round(w / mean), half to even, clamped to 1: the
    /// smallest one whose quotient is above 0.5. \pre w / mean ascends with w
    template <class E> [[nodiscard]] static typename float_bits<E>::word threshold(double mean) noexcept {
        using bits = float_bits<E>;
        typename bits::word below = 0;
        typename bits::word above = bits::infinity;
        while (above - below > 1) {
            const auto middle = static_cast<typename bits::word>(below + (above - below) / 2);
            const bool rounds_up = static_cast<double>(bits::value(middle)) / mean > 0.5;
            (rounds_up ? above : below) = middle;
        }
        return above;
    }

    /// The scale that published checkpoints keep: the mean as a float, then as a bfloat16.
    [[nodiscard]] static float scale(double mean) noexcept { return widen(narrow<bfloat16>(static_cast<float>(mean))); }

private:
    /// Up to 16 elements; of 16, what is no sum is vectorised.
    template <class E>
    static BITNET_ALWAYS_INLINE void add(const std::byte* elements, std::size_t count,
                                         typename float_bits<E>::word only, master_row_facts& facts) noexcept {
        using bits = float_bits<E>;
        typename bits::word magnitudes[16];
        unsigned infinite = 0;
        unsigned other = 0;
        for (std::size_t l = 0; l < count; ++l) {
            magnitudes[l] = bits::magnitude(bits::load(elements, l));
            infinite |= magnitudes[l] >= bits::infinity ? 1u : 0u;
            other |= magnitudes[l] != 0 && magnitudes[l] != only ? 1u : 0u;
        }
        for (std::size_t l = 0; l < count; ++l) {
            facts.sum = facts.sum + static_cast<double>(bits::value(magnitudes[l]));
        }
        facts.finite = facts.finite && infinite == 0;
        facts.is_ternary = facts.is_ternary && other == 0;
    }
};

} // namespace bitnet::inline BITNET_ABI
BITNET_PRECISE_END

namespace bitnet::inline BITNET_ABI {

/// Rows of float, half or bfloat16 weights. Where all of them are -s, 0 or +s for one s, that is what is read. Other
/// ones are masters, ternarised as in training (Ma et al., "The Era of 1-bit LLMs", 2024): m = max(mean |w|, 1e-5),
/// code = clamp(round(w / m), -1, 1) + 1, and the scale is bfloat16(m). The sum runs over each row and then over the
/// rows, in double, whatever the number of threads.
/// Borrows the tensor's bytes.
template <class E> class master_rows {
    using bits = float_bits<E>;
    using word = typename bits::word;

public:
    /// Reads the tensor once on the threads of `pool`. Memory: 16 bytes for each row.
    /// \param masters whether weights that are not ternary are ternarised
    /// \return errc::unsupported_type for those where they are not; bad_scale for a NaN or infinity; out_of_memory.
    template <thread_pool_type Pool>
    [[nodiscard]] static result<master_rows> open(const gguf_tensor& tensor, std::string_view file, bool masters,
                                                  Pool& pool) {
        master_rows made(tensor);
        const auto rows = static_cast<std::size_t>(tensor.dims[1]);
        auto facts = buffer<master_row_facts>::allocate(rows, "sums of rows");
        if (!facts) {
            return std::move(facts).error();
        }
        const word only = made.first_magnitude(rows);
        const default_float_environment environment;
        parallel_for(pool, rows, [&](std::size_t row) noexcept {
            (*facts)[row] = absmean::facts_of<E>(made.row(row), made.cols_, only);
        });
        if (const auto decided = made.decide(tensor, facts->span(), only, masters); !decided) {
            return error{decided.error().code,
                         std::string(file) + ": tensor " + quoted_name(tensor.name) + ": " + decided.error().message};
        }
        return made;
    }

    [[nodiscard]] float scale() const noexcept { return scale_; }

    [[nodiscard]] bool read(std::size_t r, std::uint8_t* codes) const noexcept {
        const std::byte* const weights = row(r);
        std::size_t i = 0;
        for (; i + 16 <= cols_; i += 16) {
            code_up_to_16(weights + i * sizeof(E), 16, codes + i);
        }
        code_up_to_16(weights + i * sizeof(E), cols_ - i, codes + i);
        return true;
    }

private:
    explicit master_rows(const gguf_tensor& tensor) noexcept
        : data_(tensor.bytes.data()), cols_(static_cast<std::size_t>(tensor.dims[0])) {}

    /// Threshold and scale. Errors are without the place.
    [[nodiscard]] result<void> decide(const gguf_tensor& tensor, std::span<const master_row_facts> facts, word only,
                                      bool masters) {
        const auto infinite = std::ranges::find(facts, false, &master_row_facts::finite);
        if (infinite != facts.end()) {
            return error{errc::bad_scale, "row " + std::to_string(infinite - facts.begin()) + " of its " +
                                              std::to_string(facts.size()) + " rows holds a NaN or an infinity"};
        }
        if (std::ranges::all_of(facts, &master_row_facts::is_ternary)) {
            threshold_ = 1;
            scale_ = only != 0 ? bits::value(only) : 1.0f;
            return {};
        }
        if (!masters) {
            return error{errc::unsupported_type,
                         "type " + std::string(name_of(tensor.type)) +
                             " in the file, with weights that are not -s, 0 and +s for one s: not a ternary model"};
        }
        const double mean = absmean::mean(facts.data(), facts.size(), cols_);
        threshold_ = absmean::threshold<E>(mean);
        scale_ = absmean::scale(mean);
        return is_ternary_scale(scale_)
                   ? result<void>()
                   : error{errc::bad_scale, "the mean of its magnitudes is too large for a bfloat16"};
    }

    /// A code is 1 below the threshold, otherwise 2 or 0 by the sign.
    BITNET_ALWAYS_INLINE void code_up_to_16(const std::byte* weights, std::size_t count,
                                            std::uint8_t* codes) const noexcept {
        for (std::size_t l = 0; l < count; ++l) {
            const word w = bits::load(weights, l);
            const unsigned step = bits::magnitude(w) >= threshold_ ? 1u : 0u;
            const unsigned down = w >= bits::sign ? step : 0u;
            codes[l] = static_cast<std::uint8_t>(1u + step - 2u * down);
        }
    }

    [[nodiscard]] const std::byte* row(std::size_t r) const noexcept { return data_ + r * cols_ * sizeof(E); }

    /// The first that is not 0; 0 where all are.
    [[nodiscard]] word first_magnitude(std::size_t rows) const noexcept {
        for (std::size_t i = 0; i < rows * cols_; ++i) {
            if (const word magnitude = bits::magnitude(bits::load(data_, i)); magnitude != 0) {
                return magnitude;
            }
        }
        return 0;
    }

    const std::byte* data_;
    std::size_t cols_;
    word threshold_ = 1;
    float scale_ = 1.0f;
};

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/model/packed_rows.hpp ----
// packed_rows: the ternary weights of Hugging Face checkpoints, four rows of a matrix to a row of bytes.

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace bitnet::inline BITNET_ABI {

/// The rows of a tensor of tensor_type::hf_packed, [rows, cols], rows a multiple of 4; the scale stands beside it.
///
///     byte (p, c), p < rows / 4:   bits 2i, 2i + 1 are the code of row p + i * rows / 4 in column c
///
/// Borrows the tensor's bytes. Source: pack_weights in transformers' integrations/bitnet.py.
class packed_rows {
public:
    /// \pre tensor.type == tensor_type::hf_packed, its bytes as many as its dims need
    explicit packed_rows(const gguf_tensor& tensor) noexcept
        : data_(reinterpret_cast<const std::uint8_t*>(tensor.bytes.data())),
          quarter_(static_cast<std::size_t>(tensor.dims[1] / 4)), cols_(static_cast<std::size_t>(tensor.dims[0])) {
        assert(tensor.type == tensor_type::hf_packed && tensor.dims[1] % 4 == 0);
    }

    [[nodiscard]] float scale() const noexcept { return 1.0f; }

    /// Writes the cols codes of a row. \return false where one of them is 3. \pre row < rows
    [[nodiscard]] bool read(std::size_t row, std::uint8_t* codes) const noexcept {
        const std::uint8_t* packed = data_ + row % quarter_ * cols_;
        const auto shift = static_cast<unsigned>(2 * (row / quarter_));
        std::uint64_t bad = 0;
        std::size_t c = 0;
        for (constexpr std::size_t step = sizeof(std::uint64_t); c + step <= cols_; c += step) {
            std::uint64_t word = 0; // eight bytes, one code each: what a shift takes from the next byte is masked
            std::memcpy(&word, packed + c, step);
            word = (word >> shift) & 0x0303030303030303u;
            bad |= word & (word >> 1);
            std::memcpy(codes + c, &word, step);
        }
        for (; c < cols_; ++c) {
            codes[c] = static_cast<std::uint8_t>((packed[c] >> shift) & 3u);
            bad |= codes[c] & (codes[c] >> 1u);
        }
        return (bad & 0x0101010101010101u) == 0;
    }

private:
    const std::uint8_t* data_;
    std::size_t quarter_;
    std::size_t cols_;
};

} // namespace bitnet::inline BITNET_ABI

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// The type of tensors in layout `L` in a file.
template <ternary_layout L> inline constexpr tensor_type file_type = tensor_type::i2_s;
template <> inline constexpr tensor_type file_type<dense> = tensor_type::hpp_dense;
template <> inline constexpr tensor_type file_type<tl1> = tensor_type::hpp_tl1;
template <> inline constexpr tensor_type file_type<tl2> = tensor_type::hpp_tl2;

/// Calls f.operator()<L>() for the layout L that tensors of `type` lie in; `order` tells which I2_S it is.
/// \return whether the type is a ternary one that can be read.
template <class F> bool with_layout_of(tensor_type type, i2s_order order, F&& f) {
    switch (type) {
    case tensor_type::i2_s:
        if (order == i2s_order::planar_128) {
            f.template operator()<i2s>();
        } else if (order == i2s_order::planar_64) {
            f.template operator()<i2s_b>();
        } else {
            f.template operator()<i2s_c>();
        }
        return true;
    case tensor_type::hpp_dense:
        f.template operator()<dense>();
        return true;
    case tensor_type::hpp_tl1:
        f.template operator()<tl1>();
        return true;
    case tensor_type::hpp_tl2:
        f.template operator()<tl2>();
        return true;
    default:
        return false;
    }
}

/// What the reading of ternary rows depends on besides the tensor.
struct row_options {
    std::string_view file;               ///< what error messages call it
    bool masters = false;                ///< whether weights in floating point are ternarised: see has_masters
    std::string_view lookup_tiling = {}; ///< the text of the kernel_config.ini that TL1 and TL2 were written with
};

/// Whether a file's weights in floating point are the masters of ternary ones, to be ternarised as in training: those
/// of a bitnet architecture, and those that the metadata calls so. Others are read if they are ternary as they stand.
[[nodiscard]] inline bool has_masters(const gguf_file& file) {
    const auto architecture = file.get_or<std::string_view>("general.architecture", "");
    const auto said = file.get_or<bool>("bitnet_hpp.masters", false);
    return (architecture && architecture->starts_with("bitnet")) || (said && *said);
}

/// Opens the rows of a tensor that is in no layout of ours and gives them to f, an any_ternary_rows that lives as long
/// as the call. Masters are read once before, on the threads of `pool`.
/// \pre the tensor is a matrix, [cols, rows]
/// \return what f returns; errc::unsupported_type, wrong_layout, bad_scale or out_of_memory, naming the file and the
/// tensor.
template <thread_pool_type Pool, class F>
[[nodiscard]] result<void> with_ternary_rows(const gguf_tensor& tensor, const row_options& options, Pool& pool, F&& f) {
    const auto give = [&](const auto& opened) -> result<void> {
        return opened ? f(any_ternary_rows(*opened)) : result<void>(opened.error());
    };
    const auto masters = [&]<class E>() {
        return give(master_rows<E>::open(tensor, options.file, options.masters, pool));
    };
    switch (tensor.type) {
    case tensor_type::tq1_0:
        return give(format_rows<tq1_0>::open(tensor, options.file));
    case tensor_type::tq2_0:
        return give(format_rows<tq2_0>::open(tensor, options.file));
    case tensor_type::iq1_bn:
        return give(format_rows<iq1_bn>::open(tensor, options.file));
    case tensor_type::iq2_bn:
        return give(format_rows<iq2_bn>::open(tensor, options.file));
    case tensor_type::iq2_bn_r4:
        return give(format_rows<iq2_bn_r4>::open(tensor, options.file));
    case tensor_type::hf_packed:
        return give(result<packed_rows>(packed_rows(tensor)));
    case tensor_type::tl1:
        return give(tl1_rows::open(tensor, options.file, options.lookup_tiling));
    case tensor_type::tl2:
        return give(tl2_rows::open(tensor, options.file, options.lookup_tiling));
    case tensor_type::f32:
        return masters.template operator()<float>();
    case tensor_type::f16:
        return masters.template operator()<half>();
    case tensor_type::bf16:
        return masters.template operator()<bfloat16>();
    default:
        return error{errc::unsupported_type, std::string(options.file) + ": tensor " + quoted_name(tensor.name) +
                                                 ": type " + std::string(name_of(tensor.type)) +
                                                 " in the file, a ternary one expected: I2_S, TQ1_0, TQ2_0, IQ1_BN, " +
                                                 "IQ2_BN, TL1, TL2, or F32, F16, BF16 masters"};
    }
}

/// The codes of a tensor in layout `L`, in place. \pre file_type<L> == tensor.type, L::admits its shape
template <ternary_layout L> [[nodiscard]] typename L::view codes_of(const gguf_tensor& tensor) noexcept {
    return {reinterpret_cast<const std::uint8_t*>(tensor.bytes.data()), static_cast<std::size_t>(tensor.dims[1]),
            static_cast<std::size_t>(tensor.dims[0])};
}

/// Whether rows [first, first + count) hold codes 0, 1 and 2 only. \pre they are whole blocks, or end the matrix
template <ternary_layout L>
[[nodiscard]] bool are_ternary(const typename L::view& w, std::size_t first, std::size_t count) noexcept {
    const std::size_t across = blocks_across<L>(w.cols);
    const std::uint8_t* begin = w.data + first / L::block_rows * across * L::block_bytes;
    const std::uint8_t* end = begin + blocks_down<L>(count) * across * L::block_bytes;
    for (; begin != end; begin += L::block_bytes) {
        if (!L::is_ternary(begin)) {
            return false;
        }
    }
    return true;
}

/// Whether all codes of a tensor are ternary. Reads the whole tensor. \pre as codes_of
/// \return errc::bad_code, naming the first place that is not.
template <ternary_layout L> [[nodiscard]] result<void> check_codes(const gguf_tensor& tensor, std::string_view file) {
    if constexpr (file_type<L> == tensor_type::i2_s) {
        return check_i2s_codes(tensor, file);
    } else {
        const auto codes = codes_of<L>(tensor);
        for (std::size_t row = 0; row < codes.rows; row += L::block_rows) {
            if (!are_ternary<L>(codes, row, std::min(L::block_rows, codes.rows - row))) {
                return error{errc::bad_code, std::string(file) + ": tensor " + quoted_name(tensor.name) + ": row " +
                                                 std::to_string(row) + " of its " + std::to_string(codes.rows) +
                                                 " rows, or one that shares its blocks, holds an index that layout " +
                                                 std::string(L::name) + " does not have"};
            }
        }
        return {};
    }
}

/// Writes the codes of `tensor`, which lies in layout `From`, to `out` in layout `To`, on the threads of `pool`. Reads
/// the tensor once. \pre both layouts admit its shape; `out` holds layout_bytes<To> of it
/// \return errc::bad_code, naming the tensor and the place of a code 3
template <ternary_layout To, ternary_layout From, thread_pool_type Pool>
[[nodiscard]] result<void> repack_tensor(Pool& pool, const gguf_tensor& tensor, std::string_view file,
                                         std::uint8_t* out) {
    constexpr std::size_t task_rows = 64; // tens of KiB: checked, they are still in a near cache when repacked
    static_assert(task_rows % repacked_rows<To, From> == 0);
    const auto from = codes_of<From>(tensor);
    std::atomic<bool> all_ternary{true};
    parallel_for(pool, (from.rows + task_rows - 1) / task_rows, [&](std::size_t task) noexcept {
        const std::size_t first = task * task_rows;
        const std::size_t count = std::min(task_rows, from.rows - first);
        if (are_ternary<From>(from, first, count)) {
            repack_rows<To, From>(from, first, count, out);
        } else {
            all_ternary.store(false, std::memory_order_relaxed);
        }
    });
    return all_ternary.load(std::memory_order_relaxed) ? result<void>{} : check_codes<From>(tensor, file);
}

} // namespace bitnet::inline BITNET_ABI

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// Whether a tensor of this name is one of the matrices that are ternary: "blk.0.attn_q.weight".
[[nodiscard]] constexpr bool is_ternary_place(std::string_view name) noexcept {
    constexpr std::array<std::string_view, 7> places{".attn_q.weight",      ".attn_k.weight",   ".attn_v.weight",
                                                     ".attn_output.weight", ".ffn_gate.weight", ".ffn_up.weight",
                                                     ".ffn_down.weight"};
    return name.starts_with("blk.") &&
           std::ranges::any_of(places, [name](std::string_view place) { return name.ends_with(place); });
}

/// The rows of a matrix in a layout of this library.
template <ternary_layout L> class layout_rows {
public:
    layout_rows(const typename L::view& codes, float scale) noexcept : codes_(codes), scale_(scale) {}

    [[nodiscard]] float scale() const noexcept { return scale_; }

    [[nodiscard]] bool read(std::size_t row, std::uint8_t* out) const noexcept {
        std::size_t col = 0;
        if constexpr (L::block_rows == 1) {
            const std::uint8_t* block = codes_.data + row * blocks_across<L>(codes_.cols) * L::block_bytes;
            for (; col + L::block_columns <= codes_.cols; col += L::block_columns, block += L::block_bytes) {
                L::unpack_block(block, out + col, codes_.cols);
            }
        }
        for (; col < codes_.cols; ++col) {
            out[col] = L::code(codes_, row, col);
        }
        std::uint8_t most = 0;
        for (std::size_t c = 0; c < codes_.cols; ++c) {
            most = std::max(most, out[c]);
        }
        return most <= 2;
    }

private:
    typename L::view codes_;
    float scale_;
};

/// What no file tells of its ternary tensors.
struct ternary_reading {
    i2s_order order = i2s_order::planar_128; ///< of I2_S tensors
    std::string_view lookup_tiling = {};     ///< the text of the kernel_config.ini that TL1 and TL2 were written with
};

/// Opens the rows of a ternary tensor of any type and gives them to f, an any_ternary_rows that lives as long as the
/// call. Masters are read once before, on the threads of `pool`.
/// \return what f returns; errc::wrong_shape where the tensor is no matrix; wrong_layout where its own layout does not
/// admit its shape; and as with_ternary_rows.
template <thread_pool_type Pool, class F>
[[nodiscard]] result<void> with_ternary_codes(const gguf_file& file, const gguf_tensor& tensor,
                                              const ternary_reading& reading, Pool& pool, F&& f) {
    const auto fail = [&](errc code, const std::string& sentence) {
        return error{code, file.name() + ": tensor " + quoted_name(tensor.name) + ": " + dims_text(tensor) + sentence};
    };
    if (tensor.rank != 2) {
        return fail(errc::wrong_shape, " in the file, a matrix expected");
    }
    result<void> done;
    const bool is_layout = with_layout_of(tensor.type, reading.order, [&]<class From>() {
        const auto scale = i2s_scale(tensor, file.name());
        if (!scale) {
            done = error{scale.error()};
        } else if (!From::admits(tensor.dims[1], tensor.dims[0])) {
            done =
                fail(errc::wrong_layout, " in the file, which layout " + std::string(From::name) + " does not admit");
        } else {
            done = f(any_ternary_rows(layout_rows<From>(codes_of<From>(tensor), *scale)));
        }
    });
    return is_layout ? std::move(done)
                     : with_ternary_rows(tensor, {file.name(), has_masters(file), reading.lookup_tiling}, pool,
                                         std::forward<F>(f));
}

/// "blk.0.attn_q.weight" -> "blk.0.attn_q.scale". \pre is_ternary_place(name)
[[nodiscard]] inline std::string scale_name(std::string_view name) {
    return std::string(name.substr(0, name.size() - std::string_view("weight").size())) + "scale";
}

/// The scale that stands in a tensor of its own beside a ternary one, which microsoft/BitNet's TL1 and TL2 always have;
/// nothing where there is none.
/// \return errc::missing_tensor, wrong_shape or bad_scale.
[[nodiscard]] inline result<std::optional<float>> find_scale(const gguf_file& file, const gguf_tensor& ternary) {
    const bool is_lookup = ternary.type == tensor_type::tl1 || ternary.type == tensor_type::tl2;
    const std::string name = is_lookup ? std::string(ternary.name) + "_scale" : scale_name(ternary.name);
    const gguf_tensor* tensor = file.find_tensor(name);
    const auto fail = [&](errc code, const std::string& sentence) {
        return error{code, file.name() + ": tensor " + quoted_name(name) + ": " + sentence};
    };
    if (tensor == nullptr) {
        return is_lookup ? result<std::optional<float>>(fail(errc::missing_tensor, "not in the file"))
                         : std::optional<float>{};
    }
    if (tensor->type != tensor_type::f32 || tensor->dims != tensor_dims{1, 1, 1, 1}) {
        return fail(errc::wrong_shape,
                    std::string(name_of(tensor->type)) + " " + dims_text(*tensor) + " in the file, F32 [1] expected");
    }
    float scale = 0;
    std::memcpy(&scale, tensor->bytes.data(), sizeof scale);
    if (!is_ternary_scale(scale)) {
        return fail(errc::bad_scale, "the scale is " + scale_text(scale) + ", it must be finite and above zero");
    }
    return std::optional(scale);
}

/// Whether a tensor of this name is the scale of a ternary one.
[[nodiscard]] inline bool is_scale_of_ternary(std::string_view name) {
    const auto belongs = [name](std::string_view ending) {
        return name.ends_with(ending) &&
               is_ternary_place(std::string(name.substr(0, name.size() - ending.size())) + ".weight");
    };
    return belongs(".scale") || belongs(".weight_scale");
}

/// In which order a checkpoint has the rows of a query or key matrix that a GGUF file of architecture llama permutes:
/// there, rows 2k and 2k + 1 of a head are turned together, here k and k + head_size / 2.
struct permuted_rows {
    std::size_t head_size = 0; ///< 0: rows are where they are

    /// The row of the checkpoint that is row `row` of the GGUF file.
    [[nodiscard]] std::size_t operator[](std::size_t row) const noexcept {
        if (head_size == 0) {
            return row;
        }
        const std::size_t in_head = row % head_size;
        return row - in_head + in_head / 2 + in_head % 2 * (head_size / 2);
    }

    /// For a tensor of a model with these parameters.
    [[nodiscard]] static permuted_rows of(const hyper_parameters& model, const gguf_tensor& tensor) noexcept {
        const bool turns = tensor.name.ends_with(".attn_q.weight") || tensor.name.ends_with(".attn_k.weight");
        return {model.keeps_row_order && turns ? model.head_size : 0};
    }
};

/// Rows in another order. Borrows them.
class reordered_rows {
public:
    reordered_rows(const any_ternary_rows& rows, permuted_rows order) noexcept : rows_(rows), order_(order) {}

    [[nodiscard]] float scale() const noexcept { return rows_.scale(); }
    [[nodiscard]] bool read(std::size_t row, std::uint8_t* codes) const noexcept {
        return rows_.read(order_[row], codes);
    }
    [[nodiscard]] error fault(std::size_t row) const { return rows_.fault(order_[row]); }

private:
    const any_ternary_rows& rows_;
    permuted_rows order_;
};

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/core/quantized_block.hpp ----
// q8_0, q6_k, q4_k and q4_0: ggml's quantised blocks as element types of a row.

#include <cstddef>
#include <cstdint>
#include <cstring>

BITNET_PRECISE_BEGIN
namespace bitnet::inline BITNET_ABI {

/// Q8_0: 32 columns in 34 bytes. value = d * q: 11 + 7 bits, no rounding.
///
///     0   d      half
///     2   q[32]  int8
struct q8_0 {
    static constexpr std::size_t block_columns = 32;
    static constexpr std::size_t block_bytes = 34;

    /// d
    [[nodiscard]] static BITNET_ALWAYS_INLINE half factor(const std::byte* block) noexcept {
        half d;
        std::memcpy(&d, block, sizeof d);
        return d;
    }
    /// Column `i` of a row.
    [[nodiscard]] static BITNET_ALWAYS_INLINE float value(const std::byte* row, std::size_t i) noexcept {
        const std::byte* block = row + i / block_columns * block_bytes;
        return widen(factor(block)) * static_cast<float>(static_cast<std::int8_t>(block[2 + i % block_columns]));
    }
};

/// Q6_K: 256 columns in 210 bytes. value = (d * scale) * (q - 32): 11 + 7 + 5 bits, no rounding.
/// Column c of a block: half h = c / 128, quarter k = c % 128 / 32, l = c % 32.
///
///     0    ql[128]    low four bits of q: byte 64h + 32(k % 2) + l, the low nibble for k < 2, the high one for k >= 2
///     128  qh[64]     high two bits: byte 32h + l, bits 2k and 2k + 1
///     192  scale[16]  int8, one for 16 columns
///     208  d          half
struct q6_k {
    static constexpr std::size_t block_columns = 256;
    static constexpr std::size_t block_bytes = 210;
    static constexpr std::size_t high_bits = 128;
    static constexpr std::size_t scales = 192;
    static constexpr std::size_t factor_at = 208;

    /// Where sixteen columns lie, beginning at a column that is a multiple of 16.
    struct sixteen {
        const std::byte* low;  ///< [16]
        const std::byte* high; ///< [16]
        int low_shift;         ///< 0 or 4
        int high_shift;        ///< 0, 2, 4 or 6
        half factor;           ///< d
        float scale;
    };
    [[nodiscard]] static BITNET_ALWAYS_INLINE sixteen at(const std::byte* row, std::size_t i) noexcept {
        const std::byte* block = row + i / block_columns * block_bytes;
        const std::size_t c = i % block_columns / 16; // 0..15
        const std::size_t half_block = c / 8;
        const std::size_t quarter = c % 8 / 2;
        const std::size_t l = c % 2 * 16;
        half d;
        std::memcpy(&d, block + factor_at, sizeof d);
        return {block + 64 * half_block + 32 * (quarter % 2) + l,
                block + high_bits + 32 * half_block + l,
                quarter < 2 ? 0 : 4,
                static_cast<int>(2 * quarter),
                d,
                static_cast<float>(static_cast<std::int8_t>(block[scales + c]))};
    }
    [[nodiscard]] static BITNET_ALWAYS_INLINE float value(const std::byte* row, std::size_t i) noexcept {
        const sixteen all = at(row, i);
        const int low = (static_cast<int>(all.low[i % 16]) >> all.low_shift) & 15;
        const int high = (static_cast<int>(all.high[i % 16]) >> all.high_shift) & 3;
        const float scale = widen(all.factor) * all.scale;
        return scale * static_cast<float>((low | high << 4) - 32);
    }
};

/// Q4_0: 32 columns in 18 bytes. value = d * (q - 8): 11 + 4 bits, no rounding.
///
///     0   d       half
///     2   qs[16]  byte j: the low nibble is column j, the high one column 16 + j
struct q4_0 {
    static constexpr std::size_t block_columns = 32;
    static constexpr std::size_t block_bytes = 18;

    /// Where sixteen columns lie, beginning at a column that is a multiple of 16.
    struct sixteen {
        const std::byte* codes; ///< [16]
        int shift;              ///< 0 or 4
        half factor;            ///< d
    };
    [[nodiscard]] static BITNET_ALWAYS_INLINE sixteen at(const std::byte* row, std::size_t i) noexcept {
        const std::byte* block = row + i / block_columns * block_bytes;
        half d;
        std::memcpy(&d, block, sizeof d);
        return {block + sizeof d, i % block_columns < 16 ? 0 : 4, d};
    }
    [[nodiscard]] static BITNET_ALWAYS_INLINE float value(const std::byte* row, std::size_t i) noexcept {
        const sixteen all = at(row, i);
        const int code = (static_cast<int>(all.codes[i % 16]) >> all.shift) & 15;
        return widen(all.factor) * static_cast<float>(code - 8);
    }
};

/// Q4_K: 256 columns in 144 bytes. value = (d * scale) * q - dmin * minimum: both products are exact (11 + 6 + 4 bits
/// and 11 + 6), so that the difference is rounded once, with an fma or without.
/// Column c of a block: group g = c / 32, l = c % 32.
///
///     0   d           half
///     2   dmin        half
///     4   scales[12]  six bits each: scale g < 4 in byte g, minimum g < 4 in byte 4 + g; of g >= 4 the low four bits
///                     in the nibbles of byte 4 + g (scale low, minimum high), the others on top of bytes g - 4 and g
///     16  qs[128]     byte 32(g / 2) + l, the low nibble for even g, the high one for odd g
struct q4_k {
    static constexpr std::size_t block_columns = 256;
    static constexpr std::size_t block_bytes = 144;
    static constexpr std::size_t scales = 4;
    static constexpr std::size_t codes = 16;

    /// Where sixteen columns lie, beginning at a column that is a multiple of 16.
    struct sixteen {
        const std::byte* codes; ///< [16]
        int shift;              ///< 0 or 4
        half factor;            ///< d
        half minimum_factor;    ///< dmin
        float scale;            ///< 0 to 63
        float minimum;          ///< 0 to 63
    };
    [[nodiscard]] static BITNET_ALWAYS_INLINE sixteen at(const std::byte* row, std::size_t i) noexcept {
        const std::byte* block = row + i / block_columns * block_bytes;
        const std::size_t g = i % block_columns / 32;
        const auto byte = [&](std::size_t k) { return std::to_integer<unsigned>(block[scales + k]); };
        const unsigned scale = g < 4 ? byte(g) & 63u : (byte(4 + g) & 15u) | (byte(g - 4) >> 6) << 4;
        const unsigned minimum = g < 4 ? byte(4 + g) & 63u : byte(4 + g) >> 4 | (byte(g) >> 6) << 4;
        half d;
        half dmin;
        std::memcpy(&d, block, sizeof d);
        std::memcpy(&dmin, block + sizeof d, sizeof dmin);
        return {block + codes + g / 2 * 32 + i % 32 / 16 * 16,
                g % 2 == 0 ? 0 : 4,
                d,
                dmin,
                static_cast<float>(scale),
                static_cast<float>(minimum)};
    }
    [[nodiscard]] static BITNET_ALWAYS_INLINE float value(const std::byte* row, std::size_t i) noexcept {
        const sixteen all = at(row, i);
        const int code = (static_cast<int>(all.codes[i % 16]) >> all.shift) & 15;
        const float scale = widen(all.factor) * all.scale;
        const float minimum = widen(all.minimum_factor) * all.minimum;
        const float product = scale * static_cast<float>(code);
        return product - minimum;
    }
};

/// An element type that lies in blocks: columns come in whole blocks.
template <class E>
concept block_format = requires {
    E::block_columns;
};

/// Bytes of `columns` elements in a row.
template <class E> [[nodiscard]] constexpr std::size_t row_bytes_of(std::size_t columns) noexcept {
    if constexpr (block_format<E>) {
        return columns * E::block_bytes / E::block_columns;
    } else {
        return columns * sizeof(E);
    }
}

/// Columns that a loop over a row of E takes at a time: a block, or sixteen.
template <class E> [[nodiscard]] constexpr std::size_t step_columns() noexcept {
    if constexpr (block_format<E>) {
        return E::block_columns;
    } else {
        return 16;
    }
}

/// Column `i` of a row of E, at any alignment.
template <class E> [[nodiscard]] BITNET_ALWAYS_INLINE float element_at(const std::byte* row, std::size_t i) noexcept {
    if constexpr (block_format<E>) {
        return E::value(row, i);
    } else {
        E element;
        std::memcpy(&element, row + i * sizeof(E), sizeof(E));
        return widen(element);
    }
}

} // namespace bitnet::inline BITNET_ABI
BITNET_PRECISE_END

// ---- bitnet/model/screened_head.hpp ----
// A screened head: the k largest logits, bit for bit, from a six-bit copy of the head and the few rows that matter.

// ---- bitnet/core/huge_pages.hpp ----
// Huge pages for large buffers that are read from end to end: a tenth to a quarter more bandwidth.

#include <cstddef>
#include <cstdint>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace bitnet::inline BITNET_ABI {

/// Asks for huge pages behind [memory, memory + bytes), where the system can: a wish, and no error if it cannot.
/// To be asked before the memory is first written. Pages then come 2 MB at a time.
inline void ask_for_huge_pages([[maybe_unused]] void* memory, [[maybe_unused]] std::size_t bytes) noexcept {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    constexpr std::uintptr_t huge = std::uintptr_t{2} << 20;
    const auto address = reinterpret_cast<std::uintptr_t>(memory);
    const std::uintptr_t first = (address + huge - 1) / huge * huge;
    const std::uintptr_t end = (address + bytes) / huge * huge;
    if (first < end) {
        ::madvise(static_cast<char*>(memory) + (first - address), end - first, MADV_HUGEPAGE);
    }
#endif
}

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/model/head.hpp ----
// The embedding and head: one row looked up, all rows multiplied by several hidden states in one reading.

// ---- bitnet/core/matrix_view.hpp ----
// matrix_view<T>: rows of equal length in memory that somebody else owns.

#include <cassert>
#include <cstddef>
#include <span>

namespace bitnet::inline BITNET_ABI {

/// A [rows, cols] matrix, row-major, `stride` elements from row to row. Borrows its memory.
template <class T> struct matrix_view {
    T* data = nullptr;
    std::size_t rows = 0;
    std::size_t cols = 0;
    std::size_t stride = 0; ///< elements; >= cols

    matrix_view() noexcept = default;
    matrix_view(T* first, std::size_t row_count, std::size_t col_count) noexcept
        : data(first), rows(row_count), cols(col_count), stride(col_count) {}
    matrix_view(T* first, std::size_t row_count, std::size_t col_count, std::size_t row_stride) noexcept
        : data(first), rows(row_count), cols(col_count), stride(row_stride) {}
    operator matrix_view<const T>() const noexcept { return {data, rows, cols, stride}; }

    [[nodiscard]] std::span<T> row(std::size_t r) const noexcept {
        return assert(r < rows), std::span<T>{data + r * stride, cols};
    }
};

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/model/weights.hpp ----
// weights<Layout>: the tensors of a model, in place in the file's bytes wherever the layout allows.

// ---- bitnet/model/model_file.hpp ----
// model_file: metadata and tensors of a model as one gguf_file, together with the bytes that they lie in.

// ---- bitnet/io/byte_source.hpp ----
// byte_source: the bytes of a model wherever the host keeps them: a file, its own memory, a pak file.

// ---- bitnet/io/file_handle.hpp ----
// file_handle: one open file of POSIX or Windows, named by a UTF-8 path; every failure is a sentence.

// ---- bitnet/io/win32.hpp ----
// The dozen functions of kernel32 that io needs, declared without windows.h and its macros. Empty elsewhere.

#if defined(_WIN32)
// The very types of windows.h (HANDLE is void*, DWORD unsigned long, BOOL int), so both may meet in one program.
struct _SECURITY_ATTRIBUTES;
struct _OVERLAPPED;
union _LARGE_INTEGER;
extern "C" {
__declspec(dllimport) void* __stdcall CreateFileW(const wchar_t*, unsigned long, unsigned long, _SECURITY_ATTRIBUTES*,
                                                  unsigned long, unsigned long, void*);
__declspec(dllimport) void* __stdcall CreateFileMappingW(void*, _SECURITY_ATTRIBUTES*, unsigned long, unsigned long,
                                                         unsigned long, const wchar_t*);
__declspec(dllimport) void* __stdcall MapViewOfFile(void*, unsigned long, unsigned long, unsigned long,
                                                    decltype(sizeof(0)));
__declspec(dllimport) int __stdcall UnmapViewOfFile(const void*);
__declspec(dllimport) int __stdcall CloseHandle(void*);
__declspec(dllimport) int __stdcall ReadFile(void*, void*, unsigned long, unsigned long*, _OVERLAPPED*);
__declspec(dllimport) int __stdcall WriteFile(void*, const void*, unsigned long, unsigned long*, _OVERLAPPED*);
__declspec(dllimport) int __stdcall GetFileSizeEx(void*, _LARGE_INTEGER*);
__declspec(dllimport) unsigned long __stdcall GetFileType(void*);
__declspec(dllimport) unsigned long __stdcall GetFileAttributesW(const wchar_t*);
__declspec(dllimport) int __stdcall MoveFileExW(const wchar_t*, const wchar_t*, unsigned long);
__declspec(dllimport) int __stdcall DeleteFileW(const wchar_t*);
__declspec(dllimport) int __stdcall MultiByteToWideChar(unsigned int, unsigned long, const char*, int, wchar_t*, int);
__declspec(dllimport) unsigned long __stdcall GetLastError();
}
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#if !defined(_WIN32)
#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

namespace bitnet::inline BITNET_ABI {

/// What the operating system offers, under one name on every system. Functions return 0 or the system's error number.
struct operating_system {
    enum class access { read, create };
    struct facts {
        bool regular = false;
        std::uint64_t size = 0; ///< bytes
    };

#if defined(_WIN32)
    using native = void*;
    static native closed() noexcept { return reinterpret_cast<void*>(static_cast<std::intptr_t>(-1)); }

    /// UTF-8 to UTF-16; empty where `path` is not UTF-8.
    static std::wstring wide(const std::string& path) {
        constexpr unsigned int utf8 = 65001;         // CP_UTF8
        constexpr unsigned long strict = 0x00000008; // MB_ERR_INVALID_CHARS
        const int bytes = static_cast<int>(path.size());
        const int length = MultiByteToWideChar(utf8, strict, path.data(), bytes, nullptr, 0);
        std::wstring converted(static_cast<std::size_t>(length > 0 ? length : 0), L'\0');
        MultiByteToWideChar(utf8, strict, path.data(), bytes, converted.data(), length);
        return converted;
    }
    static int open(const std::string& path, access wanted, native& file) {
        const bool create = wanted == access::create;
        const unsigned long rights = create ? 0x40000000u : 0x80000000u; // GENERIC_WRITE, GENERIC_READ
        const unsigned long sharing = create ? 0u : 1u;                  // FILE_SHARE_READ
        const unsigned long disposition = create ? 2u : 3u;              // CREATE_ALWAYS, OPEN_EXISTING
        file = CreateFileW(wide(path).c_str(), rights, sharing, nullptr, disposition, 0x80u, nullptr);
        return file != closed() ? 0 : static_cast<int>(GetLastError());
    }
    static bool is_directory(const std::string& path) {
        const unsigned long attributes = GetFileAttributesW(wide(path).c_str());
        return attributes != 0xffffffffu && (attributes & 0x10u) != 0; // FILE_ATTRIBUTE_DIRECTORY
    }
    static int look(native file, facts& found) noexcept {
        std::int64_t size = 0; // LARGE_INTEGER is this number
        if (GetFileSizeEx(file, reinterpret_cast<_LARGE_INTEGER*>(&size)) == 0) {
            return static_cast<int>(GetLastError());
        }
        found = {GetFileType(file) == 1u, static_cast<std::uint64_t>(size)}; // FILE_TYPE_DISK
        return 0;
    }
    static int read(native file, std::span<std::byte> out, std::size_t& taken) noexcept {
        unsigned long count = 0;
        const bool ok = ReadFile(file, out.data(), static_cast<unsigned long>(out.size()), &count, nullptr) != 0;
        taken = count;
        return ok ? 0 : static_cast<int>(GetLastError());
    }
    static int write(native file, std::span<const std::byte> bytes, std::size_t& taken) noexcept {
        unsigned long count = 0;
        const bool ok = WriteFile(file, bytes.data(), static_cast<unsigned long>(bytes.size()), &count, nullptr) != 0;
        taken = count;
        return ok ? 0 : static_cast<int>(GetLastError());
    }
    static int close(native file) noexcept { return CloseHandle(file) != 0 ? 0 : static_cast<int>(GetLastError()); }
    static int rename(const std::string& from, const std::string& to) {
        constexpr unsigned long replace_and_flush = 0x1u | 0x8u; // MOVEFILE_REPLACE_EXISTING | _WRITE_THROUGH
        const bool ok = MoveFileExW(wide(from).c_str(), wide(to).c_str(), replace_and_flush) != 0;
        return ok ? 0 : static_cast<int>(GetLastError());
    }
    static void remove(const std::string& path) { DeleteFileW(wide(path).c_str()); }
    static bool means_missing(int code) noexcept { return code == 2 || code == 3; } // file, path not found
    static std::string message(int code) { return std::system_category().message(code); }
#else
    using native = int;
    static native closed() noexcept { return -1; }

    static int open(const std::string& path, access wanted, native& file) noexcept {
        // O_NONBLOCK: opening a pipe that nobody writes to must not hang; regular files ignore it.
        const int flags = wanted == access::create ? O_WRONLY | O_CREAT | O_TRUNC : O_RDONLY | O_NONBLOCK;
        do {
            file = ::open(path.c_str(), flags | O_CLOEXEC, 0666);
        } while (file < 0 && errno == EINTR);
        return file >= 0 ? 0 : errno;
    }
    static bool is_directory(const std::string& path) noexcept {
        struct stat status = {};
        return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
    }
    static int look(native file, facts& found) noexcept {
        struct stat status = {};
        if (::fstat(file, &status) != 0) {
            return errno;
        }
        found = {S_ISREG(status.st_mode), static_cast<std::uint64_t>(status.st_size)};
        return 0;
    }
    static int read(native file, std::span<std::byte> out, std::size_t& taken) noexcept {
        const auto count = ::read(file, out.data(), out.size());
        taken = count > 0 ? static_cast<std::size_t>(count) : 0;
        return count >= 0 || errno == EINTR ? 0 : errno;
    }
    static int write(native file, std::span<const std::byte> bytes, std::size_t& taken) noexcept {
        const auto count = ::write(file, bytes.data(), bytes.size());
        taken = count > 0 ? static_cast<std::size_t>(count) : 0;
        return count >= 0 || errno == EINTR ? 0 : errno;
    }
    static int close(native file) noexcept { return ::close(file) == 0 || errno == EINTR ? 0 : errno; }
    static int rename(const std::string& from, const std::string& to) noexcept {
        return std::rename(from.c_str(), to.c_str()) == 0 ? 0 : errno;
    }
    static void remove(const std::string& path) noexcept { ::unlink(path.c_str()); }
    static bool means_missing(int code) noexcept { return code == ENOENT || code == ENOTDIR; }
    static std::string message(int code) { return std::generic_category().message(code); }
#endif
};

/// An open file and its path. Move-only; closes itself. Not for two threads at once.
class file_handle {
public:
    file_handle() noexcept = default;
    file_handle(file_handle&& other) noexcept
        : file_(std::exchange(other.file_, operating_system::closed())), size_(std::exchange(other.size_, 0)),
          path_(std::move(other.path_)) {}
    file_handle& operator=(file_handle&& other) noexcept {
        std::swap(file_, other.file_);
        std::swap(size_, other.size_);
        std::swap(path_, other.path_);
        return *this;
    }
    file_handle(const file_handle&) = delete;
    file_handle& operator=(const file_handle&) = delete;
    ~file_handle() {
        if (is_open()) {
            operating_system::close(file_);
        }
    }

    /// Opens a regular file that is not empty.
    /// \return errc::file_not_found, not_a_file (a directory, a pipe, a device), truncated (an empty file) or io_error
    /// (no permission and whatever else the system says), each with the path.
    [[nodiscard]] static result<file_handle> open(std::string_view utf8_path) {
        auto file = open_as(utf8_path, operating_system::access::read);
        if (!file) {
            return file;
        }
        operating_system::facts found;
        if (const int code = operating_system::look(file->file_, found)) {
            return file->failed("cannot be examined", code);
        }
        if (!found.regular) {
            return error{errc::not_a_file, file->path_ + ": is not a regular file"};
        }
        if (found.size == 0) {
            return error{errc::truncated, file->path_ + ": the file is empty (0 bytes)"};
        }
        file->size_ = found.size;
        return file;
    }

    /// Creates a file for writing, or empties an existing one.
    [[nodiscard]] static result<file_handle> create(std::string_view utf8_path) {
        return open_as(utf8_path, operating_system::access::create);
    }

    [[nodiscard]] bool is_open() const noexcept { return file_ != operating_system::closed(); }
    [[nodiscard]] std::uint64_t size() const noexcept { return size_; } ///< bytes when it was opened
    [[nodiscard]] const std::string& path() const noexcept { return path_; }
    [[nodiscard]] operating_system::native native() const noexcept { return file_; }

    /// Fills `out` from the current position.
    /// \return errc::truncated when the file ends first (somebody shortened it), or io_error.
    [[nodiscard]] result<void> read(std::span<std::byte> out) {
        const std::size_t wanted = out.size();
        while (!out.empty()) {
            std::size_t taken = 0;
            if (const int code = operating_system::read(file_, out.first(std::min(out.size(), largest_step)), taken)) {
                return failed("cannot be read", code);
            }
            if (taken == 0) {
                return error{errc::truncated, path_ + ": ends " + std::to_string(out.size()) + " bytes before the " +
                                                  std::to_string(wanted) + " bytes that it had when it was opened"};
            }
            out = out.subspan(taken);
        }
        return {};
    }

    /// Appends all of `bytes`. \return errc::io_error, a full disk for instance.
    [[nodiscard]] result<void> write(std::span<const std::byte> bytes) {
        while (!bytes.empty()) {
            std::size_t taken = 0;
            const auto step = bytes.first(std::min(bytes.size(), largest_step));
            if (const int code = operating_system::write(file_, step, taken)) {
                return failed("cannot be written", code);
            }
            bytes = bytes.subspan(taken);
        }
        return {};
    }

    /// Closes now and says whether all that was written has been accepted.
    [[nodiscard]] result<void> close() {
        if (const int code = operating_system::close(std::exchange(file_, operating_system::closed()))) {
            return failed("cannot be completed", code);
        }
        return {};
    }

    /// `path: what: the system's words (its number)`.
    [[nodiscard]] error failed(std::string_view what, int code) const {
        const errc kind = operating_system::means_missing(code) ? errc::file_not_found : errc::io_error;
        return error{kind, path_ + ": " + std::string(what) + ": " + operating_system::message(code) +
                               " (system error " + std::to_string(code) + ")"};
    }

private:
    // 64 MiB: below every system's limit for one call.
    static constexpr std::size_t largest_step = std::size_t{64} << 20;

    [[nodiscard]] static result<file_handle> open_as(std::string_view utf8_path, operating_system::access wanted) {
        file_handle file;
        file.path_ = utf8_path;
        if (utf8_path.empty() || utf8_path.find('\0') != std::string_view::npos) {
            return error{errc::file_not_found, "the path of " + std::to_string(utf8_path.size()) +
                                                   " bytes is empty or holds a NUL byte, so it names no file"};
        }
        if (operating_system::is_directory(file.path_)) {
            return error{errc::not_a_file, file.path_ + ": is a directory, not a file"};
        }
        if (const int code = operating_system::open(file.path_, wanted, file.file_)) {
            file.file_ = operating_system::closed();
            return file.failed(wanted == operating_system::access::create ? "cannot be created" : "cannot be opened",
                               code);
        }
        return file;
    }

    operating_system::native file_ = operating_system::closed();
    std::uint64_t size_ = 0;
    std::string path_;
};

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/io/mapped_file.hpp ----
// mapped_file: a file's bytes in the address space, read-only, without copying them.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#if !defined(_WIN32)
#include <cerrno>
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace bitnet::inline BITNET_ABI {

/// How the bytes will be read; a wish, not a promise.
enum class access_hint {
    normal,
    sequential, ///< from start to end: read ahead far
    random,     ///< do not read ahead
    will_need,  ///< start reading all of it now
    huge_pages, ///< back the range with huge pages where the system can
};

/// A read-only mapping of a whole file, page-aligned. Move-only; unmaps itself. Reading it is thread-safe.
///
/// The file must keep its length while it is mapped: a file that another program shortens raises SIGBUS (POSIX) or an
/// in-page error (Windows) in whatever reads the lost pages, and no library can turn that into an error value. Where
/// files can change, use byte_source::read, which copies. (Windows refuses to shorten a mapped file.)
class mapped_file {
public:
    mapped_file() noexcept = default;
    mapped_file(mapped_file&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, std::size_t{0})) {}
    mapped_file& operator=(mapped_file&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        return *this;
    }
    mapped_file(const mapped_file&) = delete;
    mapped_file& operator=(const mapped_file&) = delete;
    ~mapped_file() { unmap(); }

    /// Maps the file at `utf8_path`. Reads nothing yet: pages come when they are touched.
    /// \return errc::file_not_found, not_a_file, truncated (an empty file), io_error or out_of_memory (larger than the
    /// address space), each with the path.
    [[nodiscard]] static result<mapped_file> open(std::string_view utf8_path) {
        auto file = file_handle::open(utf8_path);
        if (!file) {
            return std::move(file).error();
        }
        if (file->size() > static_cast<std::uint64_t>(PTRDIFF_MAX)) {
            return error{errc::out_of_memory,
                         file->path() + ": " + std::to_string(file->size()) + " bytes exceed the address space"};
        }
        mapped_file mapping;
        mapping.size_ = static_cast<std::size_t>(file->size());
        if (const int code = mapping.map(file->native())) {
            mapping.size_ = 0;
            return file->failed("cannot be mapped", code);
        }
        return mapping;
    }

    [[nodiscard]] bool is_open() const noexcept { return data_ != nullptr; }
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept {
        return {static_cast<const std::byte*>(data_), size_};
    }

    /// Tells the system how the bytes will be read. \return whether the system took the hint.
    bool advise(access_hint hint) const noexcept;

    /// Tells the system that a part of bytes() will not be read soon, so that its pages need not count as this
    /// process's memory. They stay readable: touched again, they come back from the system's cache or the file.
    /// \return whether the system took the hint.
    bool give_back(std::span<const std::byte> part) const noexcept;

private:
#if defined(_WIN32)
    int map(void* file) noexcept {
        void* section = CreateFileMappingW(file, nullptr, 0x02u, 0, 0, nullptr); // PAGE_READONLY
        if (section == nullptr) {
            return static_cast<int>(GetLastError());
        }
        data_ = MapViewOfFile(section, 0x04u, 0, 0, 0); // FILE_MAP_READ
        const int code = data_ != nullptr ? 0 : static_cast<int>(GetLastError());
        CloseHandle(section); // the view keeps the section alive
        return code;
    }
    void unmap() noexcept {
        if (data_ != nullptr) {
            UnmapViewOfFile(data_);
        }
    }
#else
    int map(int file) noexcept {
        void* mapped = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, file, 0);
        if (mapped == MAP_FAILED) {
            return errno;
        }
        data_ = mapped; // the mapping outlives the descriptor
        return 0;
    }
    void unmap() noexcept {
        if (data_ != nullptr) {
            ::munmap(data_, size_);
        }
    }
#endif

    void* data_ = nullptr;
    std::size_t size_ = 0;
};

inline bool mapped_file::advise([[maybe_unused]] access_hint hint) const noexcept {
#if defined(_WIN32)
    return false;
#else
    if (data_ == nullptr) {
        return false;
    }
    switch (hint) {
    case access_hint::normal:
        return ::madvise(data_, size_, MADV_NORMAL) == 0;
    case access_hint::sequential:
        return ::madvise(data_, size_, MADV_SEQUENTIAL) == 0;
    case access_hint::random:
        return ::madvise(data_, size_, MADV_RANDOM) == 0;
    case access_hint::will_need:
        return ::madvise(data_, size_, MADV_WILLNEED) == 0;
    case access_hint::huge_pages:
#if defined(MADV_HUGEPAGE)
        return ::madvise(data_, size_, MADV_HUGEPAGE) == 0;
#else
        return false;
#endif
    }
    return false;
#endif
}

inline bool mapped_file::give_back([[maybe_unused]] std::span<const std::byte> part) const noexcept {
#if defined(_WIN32)
    return false;
#else
    const long page_bytes = ::sysconf(_SC_PAGESIZE);
    if (data_ == nullptr || page_bytes <= 0) {
        return false;
    }
    // Whole pages only: what lies beside the part may be in use.
    const auto page = static_cast<std::size_t>(page_bytes);
    const auto* start = static_cast<const std::byte*>(data_);
    const auto begin = static_cast<std::size_t>(part.data() - start);
    const std::size_t first = (begin + page - 1) / page * page;
    const std::size_t end = (begin + part.size()) / page * page;
    return first >= end || ::madvise(static_cast<std::byte*>(data_) + first, end - first, MADV_DONTNEED) == 0;
#endif
}

} // namespace bitnet::inline BITNET_ABI

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// Reads from wherever the host keeps its data: fills all of `out` with the bytes from `offset` on, or returns false.
struct read_callback {
    bool (*read)(void* context, std::uint64_t offset, std::span<std::byte> out) = nullptr;
    void* context = nullptr;
};

/// Immutable bytes and the name that error messages give them. Owns them, maps them or borrows them; move-only.
/// Moving it does not move the bytes: spans into them stay valid. Reading is thread-safe.
class byte_source {
public:
    byte_source() noexcept = default;

    /// Maps a file: no copy, no read. The file must not be shortened meanwhile (see mapped_file).
    /// \return errc::file_not_found, not_a_file, truncated (an empty file), io_error or out_of_memory.
    [[nodiscard]] static result<byte_source> open(std::string_view utf8_path) {
        auto mapping = mapped_file::open(utf8_path);
        if (!mapping) {
            return std::move(mapping).error();
        }
        byte_source source;
        source.mapping_ = *std::move(mapping);
        source.name_ = utf8_path;
        return source;
    }

    /// Reads a file into memory of its own (64-byte aligned): safe against files that change later.
    /// \return as open(); errc::truncated also when the file shrinks while it is read.
    [[nodiscard]] static result<byte_source> read(std::string_view utf8_path) {
        auto file = file_handle::open(utf8_path);
        if (!file) {
            return std::move(file).error();
        }
        auto source = allocate(file->size(), std::string(utf8_path));
        if (!source) {
            return source;
        }
        if (auto filled = file->read(source->copy_.span()); !filled) {
            return std::move(filled).error();
        }
        return source;
    }

    /// The caller's own memory, which must outlive the source. Nothing is copied.
    [[nodiscard]] static byte_source borrow(std::span<const std::byte> bytes, std::string name) {
        byte_source source;
        source.borrowed_ = bytes;
        source.name_ = std::move(name);
        return source;
    }

    /// Copies `size` bytes into memory of its own through `callback`, in ascending chunks of at most 16 MiB.
    /// \pre callback.read != nullptr
    /// \return errc::truncated when `size` is 0, io_error when the callback returns false, out_of_memory.
    [[nodiscard]] static result<byte_source> from_callback(read_callback callback, std::uint64_t size,
                                                           std::string name) {
        assert(callback.read != nullptr);
        if (size == 0) {
            return error{errc::truncated, name + ": there is nothing to read (0 bytes)"};
        }
        auto source = allocate(size, std::move(name));
        if (!source) {
            return source;
        }
        constexpr std::size_t largest = std::size_t{16} << 20;
        const auto all = source->copy_.span();
        for (std::size_t offset = 0; offset < all.size(); offset += largest) {
            const auto out = all.subspan(offset, std::min(largest, all.size() - offset));
            if (!callback.read(callback.context, offset, out)) {
                return error{errc::io_error, source->name_ + ": the read callback could not give " +
                                                 std::to_string(out.size()) + " bytes at offset " +
                                                 std::to_string(offset) + " of " + std::to_string(size)};
            }
        }
        return source;
    }

    [[nodiscard]] std::span<const std::byte> bytes() const noexcept {
        if (mapping_.is_open()) {
            return mapping_.bytes();
        }
        return copy_.empty() ? borrowed_ : copy_.span();
    }
    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] bool is_mapped() const noexcept { return mapping_.is_open(); }

    /// Passes a hint on to the mapping. \return false where nothing is mapped or the system ignores it.
    bool advise(access_hint hint) const noexcept { return mapping_.advise(hint); }
    /// The same for mapped_file::give_back. \pre `part` lies within bytes()
    bool give_back(std::span<const std::byte> part) const noexcept { return mapping_.give_back(part); }

private:
    [[nodiscard]] static result<byte_source> allocate(std::uint64_t size, std::string name) {
        auto memory = buffer<std::byte>::allocate(size, name);
        if (!memory) {
            return std::move(memory).error();
        }
        byte_source source;
        source.copy_ = *std::move(memory);
        source.name_ = std::move(name);
        return source;
    }

    mapped_file mapping_;
    buffer<std::byte> copy_;
    std::span<const std::byte> borrowed_;
    std::string name_;
};

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/model/hugging_face.hpp ----
// Hugging Face checkpoints, opened as if they were GGUF files: config.json as metadata, tensors in place.

// ---- bitnet/io/gguf_writer.hpp ----
// gguf_writer: writes GGUF files to memory or to disk; tensor data may be made while it is written.

#include <algorithm>
#include <bit>
#include <cassert>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <optional>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI {

/// Bytes that grow; says so, instead of throwing, when memory ends.
class growing_bytes {
public:
    growing_bytes() noexcept = default;
    growing_bytes(growing_bytes&& other) noexcept
        : memory_(std::move(other.memory_)), used_(std::exchange(other.used_, std::size_t{0})),
          ran_out_(other.ran_out_) {}
    growing_bytes& operator=(growing_bytes&& other) noexcept {
        std::swap(memory_, other.memory_);
        std::swap(used_, other.used_);
        std::swap(ran_out_, other.ran_out_);
        return *this;
    }
    growing_bytes(const growing_bytes&) = delete;
    growing_bytes& operator=(const growing_bytes&) = delete;
    ~growing_bytes() = default;

    /// \return false where memory ended; then nothing is appended, now and later.
    bool append(std::span<const std::byte> more) {
        if (more.size() > memory_.size() - used_ && !grow(more.size())) {
            return false;
        }
        std::ranges::copy(more, memory_.data() + used_);
        used_ += more.size();
        return true;
    }
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return memory_.span().first(used_); }
    [[nodiscard]] bool ran_out() const noexcept { return ran_out_; }

private:
    bool grow(std::size_t more) {
        const auto wanted = checked_add(used_, more);
        const auto doubled = checked_multiply(memory_.size(), 2);
        auto larger = buffer<std::byte>::allocate(std::max(wanted.value_or(UINT64_MAX), doubled.value_or(0)), "");
        if (ran_out_ || !larger) {
            ran_out_ = true;
            return false;
        }
        std::ranges::copy(bytes(), larger->data());
        memory_ = *std::move(larger);
        return true;
    }
    buffer<std::byte> memory_;
    std::size_t used_ = 0;
    bool ran_out_ = false;
};

struct gguf_writer_options {
    std::uint32_t version = 3;
    std::uint32_t alignment = 32; ///< bytes; any other value than 32 is written as general.alignment
};

/// Collects metadata and tensors and writes them in the order in which they were added.
///
/// The first mistake (a key twice, data of the wrong size, ...) is kept and returned by write_file and write_memory;
/// what is added after it is ignored. Metadata is copied; tensor data is borrowed until it is written.
class gguf_writer {
public:
    explicit gguf_writer(gguf_writer_options options = {}) : options_(options) {
        if (options.version != 2 && options.version != 3) {
            fail(errc::invalid_argument,
                 "GGUF version " + std::to_string(options.version) + ", only 2 and 3 can be written");
        }
        if (!std::has_single_bit(options.alignment) || options.alignment < 8 || options.alignment > 65536) {
            fail(errc::bad_alignment,
                 "alignment " + std::to_string(options.alignment) + ", it must be a power of two from 8 to 65536");
        }
        if (options.alignment != 32) {
            add("general.alignment", options.alignment);
        }
    }

    /// A number or bool; its C++ type decides the type in the file (int is i32, unsigned u32, float f32).
    template <class T>
    requires std::is_arithmetic_v<T>
    void add(std::string_view key, T value) {
        if (begin_entry(key, gguf_type_of<T>())) {
            put(value);
        }
    }
    void add(std::string_view key, std::string_view text) {
        if (begin_entry(key, gguf_type::string)) {
            put_string(text);
        }
    }

    /// An array of numbers.
    template <class T>
    requires std::is_arithmetic_v<T>
    void add_array(std::string_view key, std::span<const T> values) {
        if (begin_entry(key, gguf_type::array)) {
            put(static_cast<std::uint32_t>(gguf_type_of<T>()));
            put(static_cast<std::uint64_t>(values.size()));
            metadata_.append(std::as_bytes(values));
        }
    }
    /// An array of strings: any range whose elements convert to std::string_view and that can be walked twice.
    template <std::ranges::forward_range Strings>
    requires std::convertible_to<std::ranges::range_reference_t<Strings>, std::string_view>
    void add_strings(std::string_view key, const Strings& strings) {
        if (begin_entry(key, gguf_type::array)) {
            put(static_cast<std::uint32_t>(gguf_type::string));
            put(static_cast<std::uint64_t>(std::ranges::distance(strings)));
            for (const auto& text : strings) {
                put_string(text);
            }
        }
    }

    /// An entry of another file, as it is.
    void add(const gguf_value& copied) {
        if (!begin_entry(copied.key, copied.type)) {
            return;
        }
        if (copied.type == gguf_type::array) {
            put(static_cast<std::uint32_t>(copied.element_type));
            put(copied.count);
        } else if (copied.type == gguf_type::string) {
            put(static_cast<std::uint64_t>(copied.bytes.size()));
        }
        metadata_.append(copied.bytes);
    }

    /// A tensor of `dims` (fastest first) whose data is `bytes`, which must live until the file is written.
    void add_tensor(std::string_view name, tensor_type type, std::span<const std::uint64_t> dims,
                    std::span<const std::byte> bytes) {
        if (add_tensor_entry(name, type, dims)) {
            tensors_.back().bytes = bytes;
            if (bytes.size() != tensors_.back().size) {
                fail(errc::invalid_argument, tensors_.back(),
                     "got " + std::to_string(bytes.size()) + " bytes, its shape and type need " +
                         std::to_string(tensors_.back().size));
            }
        }
    }
    /// A tensor whose data `generator` makes while the file is written, in ascending chunks of at most 1 MiB; offsets
    /// count from the tensor's start. The context must live until then.
    /// \pre generator.read != nullptr
    void add_tensor(std::string_view name, tensor_type type, std::span<const std::uint64_t> dims,
                    read_callback generator) {
        assert(generator.read != nullptr);
        if (add_tensor_entry(name, type, dims)) {
            tensors_.back().generator = generator;
        }
    }

    /// Bytes of the file as it stands.
    [[nodiscard]] std::uint64_t file_size() const noexcept { return data_offset() + data_size_; }

    /// The whole file in memory.
    /// \return the first mistake made with this writer, errc::out_of_memory, or io_error where a generator fails.
    [[nodiscard]] result<buffer<std::byte>> write_memory() const {
        if (auto ready = check("memory"); !ready) {
            return std::move(ready).error();
        }
        auto memory = buffer<std::byte>::allocate(file_size(), "a GGUF file in memory");
        if (!memory) {
            return memory;
        }
        std::size_t used = 0;
        const auto sink = [&](std::span<const std::byte> bytes) {
            std::ranges::copy(bytes, memory->data() + used);
            used += bytes.size();
            return result<void>{};
        };
        if (auto written = write_all(sink, "memory"); !written) {
            return std::move(written).error();
        }
        return memory;
    }

    /// Writes `utf8_path`: first under that name with ".partial" behind it, which takes the place of `utf8_path` when
    /// all is written and is removed when something fails, so that nobody sees half a file.
    /// \return the bytes written; the first mistake made with this writer; errc::io_error (a full disk, no permission,
    /// a generator that fails), file_not_found (no such folder) or not_a_file.
    [[nodiscard]] result<std::uint64_t> write_file(std::string_view utf8_path) const {
        if (auto ready = check(utf8_path); !ready) {
            return std::move(ready).error();
        }
        const std::string path(utf8_path);
        const std::string partial = path + ".partial";
        if (operating_system::is_directory(path)) {
            return error{errc::not_a_file, path + ": is a directory, not a file"};
        }
        auto written = write_partial(partial);
        if (written) {
            if (const int code = operating_system::rename(partial, path)) {
                written = error{errc::io_error,
                                path + ": " + partial + " cannot be renamed to it: " + operating_system::message(code)};
            }
        }
        if (!written) {
            operating_system::remove(partial);
            return std::move(written).error();
        }
        return file_size();
    }

private:
    struct entry {
        std::string name;
        tensor_type type;
        std::vector<std::uint64_t> dims;
        std::uint64_t offset = 0;
        std::uint64_t size = 0; ///< bytes, without padding
        std::span<const std::byte> bytes;
        read_callback generator;
    };

    void fail(errc code, std::string sentence) {
        if (!failed_) {
            failed_ = true;
            failure_ = {code, std::move(sentence)};
        }
    }
    void fail(errc code, const entry& tensor, const std::string& sentence) {
        fail(code, "tensor " + quoted_name(tensor.name) + ": " + sentence);
    }

    template <class T> void put(T value) { metadata_.append(std::as_bytes(std::span<const T, 1>(&value, 1))); }
    void put_string(std::string_view text) {
        put(static_cast<std::uint64_t>(text.size()));
        metadata_.append(std::as_bytes(std::span(text)));
    }
    [[nodiscard]] bool begin_entry(std::string_view key, gguf_type type) {
        if (key.empty() || key.size() > gguf_file::longest_key || key.find('\0') != std::string_view::npos) {
            fail(errc::bad_key, "the metadata key " + quoted_name(key) + " of " + std::to_string(key.size()) +
                                    " bytes must have 1 to 65536 bytes, none of them NUL");
        }
        if (failed_) {
            return false;
        }
        keys_.emplace_back(key);
        put_string(key);
        put(static_cast<std::uint32_t>(type));
        return true;
    }

    [[nodiscard]] bool add_tensor_entry(std::string_view name, tensor_type type, std::span<const std::uint64_t> dims) {
        entry tensor{std::string(name), type, {dims.begin(), dims.end()}, data_size_, 0, {}, {}};
        if (name.empty() || name.size() > gguf_file::longest_tensor_name || name.find('\0') != std::string_view::npos) {
            fail(errc::bad_tensor_name, tensor,
                 "a name of " + std::to_string(name.size()) + " bytes; 1 to 128 are allowed, none of them NUL");
        }
        tensor_dims shape{1, 1, 1, 1};
        const bool ranked = !dims.empty() && dims.size() <= shape.size() && std::ranges::count(dims, 0u) == 0;
        std::ranges::copy(dims.first(std::min(dims.size(), shape.size())), shape.begin());
        const bool writable = ranked && type != tensor_type::hf_packed;
        const auto bytes = writable && fits_blocks(type, shape) ? tensor_bytes(type, shape) : std::nullopt;
        const auto end = bytes ? checked_add(data_size_, *bytes) : bytes;
        const auto padded = end ? checked_align(*end, options_.alignment) : end;
        if (!padded || *padded > largest_data) {
            fail(errc::bad_shape, tensor,
                 "a shape of " + std::to_string(dims.size()) + " dimensions that the type " +
                     std::string(name_of(type)) + " cannot have");
        }
        if (failed_) {
            return false;
        }
        tensor.size = *bytes;
        data_size_ = *padded;
        tensors_.push_back(std::move(tensor));
        return true;
    }

    /// Whether all that was added can be written; `target` is what error messages call the file.
    [[nodiscard]] result<void> check(std::string_view target) const {
        if (failed_) {
            return error{failure_.code, std::string(target) + ": " + failure_.message};
        }
        if (metadata_.ran_out()) {
            return error{errc::out_of_memory, std::string(target) + ": the metadata of more than " +
                                                  std::to_string(metadata_.bytes().size()) +
                                                  " bytes could not be allocated"};
        }
        std::vector<std::string_view> names(keys_.begin(), keys_.end());
        if (auto once = check_unique(names, target, errc::duplicate_key, "metadata key "); !once) {
            return once;
        }
        names.clear();
        std::ranges::transform(tensors_, std::back_inserter(names),
                               [](const entry& t) { return std::string_view(t.name); });
        return check_unique(names, target, errc::duplicate_tensor, "tensor ");
    }

    [[nodiscard]] static result<void> check_unique(std::vector<std::string_view>& names, std::string_view target,
                                                   errc code, std::string_view what) {
        std::ranges::sort(names);
        const auto twice = std::ranges::adjacent_find(names);
        if (twice == names.end()) {
            return {};
        }
        return error{code, std::string(target) + ": " + std::string(what) + quoted_name(*twice) + " was added twice"};
    }

    [[nodiscard]] std::uint64_t tensor_list_size() const noexcept {
        std::uint64_t size = 0;
        for (const entry& tensor : tensors_) {
            size += 8 + tensor.name.size() + 4 + 8 * tensor.dims.size() + 4 + 8;
        }
        return size;
    }
    [[nodiscard]] std::uint64_t data_offset() const noexcept {
        constexpr std::uint64_t header = 24;
        const std::uint64_t end = header + metadata_.bytes().size() + tensor_list_size();
        return checked_align(end, options_.alignment).value_or(end);
    }

    /// Header, metadata and tensor list, padded up to the data.
    [[nodiscard]] growing_bytes header() const {
        growing_bytes out;
        const auto put_into = [&](const auto& value) { out.append(std::as_bytes(std::span(&value, 1))); };
        const auto put_text = [&](std::string_view text) { out.append(std::as_bytes(std::span(text))); };
        put_text("GGUF");
        put_into(options_.version);
        put_into(static_cast<std::uint64_t>(tensors_.size()));
        put_into(static_cast<std::uint64_t>(keys_.size()));
        out.append(metadata_.bytes());
        for (const entry& tensor : tensors_) {
            put_into(static_cast<std::uint64_t>(tensor.name.size()));
            put_text(tensor.name);
            put_into(static_cast<std::uint32_t>(tensor.dims.size()));
            out.append(std::as_bytes(std::span(tensor.dims)));
            put_into(static_cast<std::uint32_t>(tensor.type));
            put_into(tensor.offset);
        }
        if (out.ran_out()) {
            return out;
        }
        const std::vector<std::byte> padding(static_cast<std::size_t>(data_offset() - out.bytes().size()));
        out.append(padding);
        return out;
    }

    [[nodiscard]] result<void> write_partial(const std::string& partial) const {
        auto file = file_handle::create(partial);
        if (!file) {
            return std::move(file).error();
        }
        const auto sink = [&](std::span<const std::byte> bytes) { return file->write(bytes); };
        auto written = write_all(sink, partial);
        auto closed = file->close(); // before the caller removes or renames it: Windows insists
        return written ? std::move(closed) : std::move(written);
    }

    template <class Sink> [[nodiscard]] result<void> write_all(const Sink& sink, std::string_view target) const {
        const growing_bytes start = header();
        if (start.ran_out()) {
            return error{errc::out_of_memory, std::string(target) + ": a header of " + std::to_string(data_offset()) +
                                                  " bytes could not be allocated"};
        }
        if (auto written = sink(start.bytes()); !written) {
            return written;
        }
        auto chunk = buffer<std::byte>::allocate(chunk_bytes, target);
        if (!chunk) {
            return std::move(chunk).error();
        }
        for (const entry& tensor : tensors_) {
            if (auto written = write_tensor(sink, tensor, chunk->span(), target); !written) {
                return written;
            }
        }
        return {};
    }

    template <class Sink>
    [[nodiscard]] result<void> write_tensor(const Sink& sink, const entry& tensor, std::span<std::byte> chunk,
                                            std::string_view target) const {
        if (tensor.generator.read == nullptr) {
            if (auto written = sink(tensor.bytes); !written) {
                return written;
            }
        } else if (auto written = write_generated(sink, tensor, chunk, target); !written) {
            return written;
        }
        const std::uint64_t end = tensor.offset + tensor.size;
        const auto padding = chunk.first(static_cast<std::size_t>(*checked_align(end, options_.alignment) - end));
        std::ranges::fill(padding, std::byte{0});
        return sink(padding);
    }

    template <class Sink>
    [[nodiscard]] result<void> write_generated(const Sink& sink, const entry& tensor, std::span<std::byte> chunk,
                                               std::string_view target) const {
        for (std::uint64_t offset = 0; offset < tensor.size; offset += chunk.size()) {
            const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(chunk.size(), tensor.size - offset));
            if (!tensor.generator.read(tensor.generator.context, offset, chunk.first(size))) {
                return error{errc::io_error, std::string(target) + ": tensor " + quoted_name(tensor.name) +
                                                 ": its generator could not give " + std::to_string(size) +
                                                 " bytes at offset " + std::to_string(offset) + " of " +
                                                 std::to_string(tensor.size)};
            }
            if (auto written = sink(chunk.first(size)); !written) {
                return written;
            }
        }
        return {};
    }

    // A quarter of what 64 bits hold, so that sums with a header cannot overflow.
    static constexpr std::uint64_t largest_data = std::uint64_t{1} << 62;
    // At least as large as the largest padding.
    static constexpr std::size_t chunk_bytes = std::size_t{1} << 20;

    gguf_writer_options options_;
    growing_bytes metadata_;
    std::vector<std::string> keys_;
    std::vector<entry> tensors_;
    std::uint64_t data_size_ = 0;
    error failure_;
    bool failed_ = false;
};

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/io/json.hpp ----
// json_document: reads JSON strictly by RFC 8259; append_json_string writes strings as pure ASCII.

// ---- bitnet/core/decimal.hpp ----
// parse_decimal: text to double, correctly rounded, whatever the locale, the C++ library and the compiler's flags.

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

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
    /// `scale`: by how many powers of ten each digit moves the others (1 behind the point).
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
    lower.shift_left(std::max(made.power, 0));
    upper.shift_left(std::max(-made.power, 0));
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

/// The bits of the nearest double, ties to even; nothing above the largest.
[[nodiscard]] inline std::optional<std::uint64_t> round_to_double_bits(const binary_quotient& value) noexcept {
    // Keep 53 bits, fewer below the smallest normal double; round on what is cut off.
    const int cut = 11 + std::max(-1022 - value.power, 0);
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

/// The double nearest to |number|, as bits; nothing above the largest double.
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
/// exponent; nothing where `text` is anything else or exceeds the largest double. Integer arithmetic only, so that
/// neither a locale nor -ffast-math changes a bit; std::from_chars for double is missing in libraries that are in use.
/// Cost: a few microseconds, linear in the text. Proven against std::from_chars by tests/core/decimal_test.cpp.
[[nodiscard]] inline std::optional<double> parse_decimal(std::string_view text) noexcept {
    const auto number = decimal_scanner(text).scan();
    const auto bits = number ? nearest_double_bits(*number) : std::nullopt;
    constexpr std::uint64_t sign = 0x8000000000000000u;
    return bits ? std::optional{std::bit_cast<double>(*bits | (number->negative ? sign : 0))} : std::nullopt;
}

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/core/utf8.hpp ----
// UTF-8 by the Unicode standard, table 3-7: no overlong forms, no surrogates, nothing beyond U+10FFFF.

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

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

} // namespace bitnet::inline BITNET_ABI

#include <algorithm>
#include <cassert>
#include <charconv>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

namespace bitnet::inline BITNET_ABI {

enum class json_type : std::uint8_t { null, boolean, number, string, array, object };

/// "null", "boolean", ...
[[nodiscard]] constexpr std::string_view name_of(json_type type) noexcept {
    constexpr std::string_view names[] = {"null", "boolean", "number", "string", "array", "object"};
    return names[static_cast<std::size_t>(type)];
}

/// One value, key or container in a json_document's table; containers stand before what they hold.
struct json_node {
    std::uint32_t start; ///< strings, numbers: first character; objects: first place in the order of keys; bool: value
    std::uint32_t size;  ///< strings, numbers: characters; containers: elements or members
    std::uint32_t next;  ///< the node behind this one and all that it holds
    json_type type;
};

struct json_member;

/// A value inside a json_document, which must outlive it; the size of three pointers, to be passed by value.
class json_value {
public:
    template <class Item> class sequence;

    [[nodiscard]] json_type type() const noexcept { return node().type; }
    [[nodiscard]] bool is_null() const noexcept { return type() == json_type::null; }
    [[nodiscard]] bool is_object() const noexcept { return type() == json_type::object; }
    [[nodiscard]] bool is_array() const noexcept { return type() == json_type::array; }

    /// The value if it is of that type, otherwise nothing.
    [[nodiscard]] std::optional<bool> as_bool() const noexcept {
        return type() == json_type::boolean ? std::optional{node().start != 0} : std::nullopt;
    }
    [[nodiscard]] std::optional<std::string_view> as_string() const noexcept {
        return type() == json_type::string ? std::optional{characters()} : std::nullopt;
    }
    /// A number that is written without fraction and exponent and fits T.
    template <std::integral T> [[nodiscard]] std::optional<T> as_integer() const noexcept {
        T value{};
        const std::string_view text = type() == json_type::number ? characters() : std::string_view{};
        const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
        const bool whole = !text.empty() && read.ec == std::errc{} && read.ptr == text.data() + text.size();
        return whole ? std::optional{value} : std::nullopt;
    }
    /// A number as the nearest double; nothing above the largest one. Costs microseconds.
    [[nodiscard]] std::optional<double> as_double() const noexcept {
        return type() == json_type::number ? parse_decimal(characters()) : std::nullopt;
    }

    /// Elements of an array or members of an object; 0 for other types.
    [[nodiscard]] std::size_t size() const noexcept { return is_array() || is_object() ? node().size : 0; }
    /// A forward range of json_value: the elements of an array, in order. Empty for other types.
    [[nodiscard]] sequence<json_value> elements() const noexcept;
    /// A forward range of json_member: the members of an object, in the order of the text. Empty for other types.
    [[nodiscard]] sequence<json_member> members() const noexcept;
    /// The member of an object called `key`; nothing where there is none or this is no object. O(log members).
    [[nodiscard]] std::optional<json_value> find(std::string_view key) const noexcept;

private:
    friend class json_document;

    json_value(const json_node* nodes, const std::uint32_t* order, const char* text, std::uint32_t index) noexcept
        : nodes_(nodes), order_(order), text_(text), index_(index) {}
    [[nodiscard]] const json_node& node() const noexcept { return nodes_[index_]; }
    [[nodiscard]] std::string_view characters() const noexcept { return {text_ + node().start, node().size}; }
    [[nodiscard]] json_value at(std::uint32_t index) const noexcept { return {nodes_, order_, text_, index}; }

    const json_node* nodes_;
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
        using iterator_category = std::input_iterator_tag; // in the old sense: operator* gives a value
        using iterator_concept = std::forward_iterator_tag;

        iterator() noexcept : at_(nullptr, nullptr, nullptr, 0) {}
        explicit iterator(json_value at) noexcept : at_(at) {}
        [[nodiscard]] Item operator*() const noexcept {
            if constexpr (std::is_same_v<Item, json_member>) {
                return {at_.characters(), at_.at(at_.index_ + 1)};
            } else {
                return at_;
            }
        }
        iterator& operator++() noexcept {
            const std::uint32_t value = at_.index_ + (std::is_same_v<Item, json_member> ? 1u : 0u);
            at_ = at_.at(at_.nodes_[value].next);
            return *this;
        }
        iterator operator++(int) noexcept {
            const iterator before = *this;
            ++*this;
            return before;
        }
        [[nodiscard]] bool operator==(const iterator& other) const noexcept { return at_.index_ == other.at_.index_; }

    private:
        json_value at_;
    };

    sequence(json_value first, json_value behind, std::size_t size) noexcept
        : first_(first), behind_(behind), size_(size) {}
    [[nodiscard]] iterator begin() const noexcept { return iterator{first_}; }
    [[nodiscard]] iterator end() const noexcept { return iterator{behind_}; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

private:
    json_value first_;
    json_value behind_;
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
    std::uint32_t depth = 64; ///< containers inside each other; at most 1024
};

/// A JSON text, read and checked. Owns all that its values show: the text itself need not outlive it. Move-only;
/// values stay valid when it moves.
class json_document {
public:
    /// Reads one JSON value and nothing behind it, by RFC 8259: UTF-8 only, no comments, no trailing commas. Stricter
    /// where the RFC leaves room: a key twice in an object and a lone surrogate are refused, and so is a byte order
    /// mark. `name` is what error messages call the text. Cost: O(n log n); memory for
    /// 16 bytes per '[', '{', ',' and ':' of the text, 4 more per ':', and the text once, allocated before reading.
    /// \pre options.depth <= 1024
    /// \return errc::bad_json with line and byte offset, errc::bad_utf8 likewise, or errc::out_of_memory.
    [[nodiscard]] static result<json_document> parse(std::string_view text, std::string_view name,
                                                     json_options options = {});

    [[nodiscard]] json_value root() const& noexcept { return {nodes_.data(), order_.data(), text_.data(), 0}; }
    json_value root() && = delete; // would dangle

private:
    friend class json_parser;

    buffer<json_node> nodes_;
    buffer<std::uint32_t> order_; // per object: the nodes of its keys, sorted
    buffer<char> text_;           // strings without escapes, numbers as written
};

/// One reading of a JSON text. Use json_document::parse.
class json_parser {
public:
    json_parser(std::string_view text, std::string_view name, json_options options)
        : text_(text), name_(name), depth_left_(options.depth) {
        assert(options.depth <= 1024);
    }

    [[nodiscard]] result<json_document> run() {
        if (text_.size() >= std::numeric_limits<std::uint32_t>::max()) {
            return error{errc::bad_json, std::string(name_) + ": " + std::to_string(text_.size()) +
                                             " bytes are more than a JSON text may have here (4 GiB)"};
        }
        if (auto made = allocate(); !made) {
            return std::move(made).error();
        }
        skip_whitespace();
        if (auto read = read_value(); !read) {
            return std::move(read).error();
        }
        skip_whitespace();
        if (at_ != text_.size()) {
            return std::move(fail("the end of the text is expected here").error_);
        }
        return std::move(document_);
    }

private:
    /// An error on its way out; converts to every result.
    struct failure {
        error error_;
        operator result<void>() && { return std::move(error_); }
    };

    [[nodiscard]] failure fail(std::string_view sentence, errc code = errc::bad_json) const {
        const auto lines = std::count(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(at_), '\n');
        return {error{code, std::string(name_) + ": line " + std::to_string(lines + 1) + ", byte " +
                                std::to_string(at_) + ": " + std::string(sentence)}};
    }

    /// Every value but the first stands behind one of [ { , : and every key behind { or , so counting them bounds both.
    [[nodiscard]] result<void> allocate() {
        std::uint64_t bound = 1;
        for (const char c : text_) {
            bound += c == '[' || c == '{' || c == ',' || c == ':' ? 1 : 0;
        }
        const auto colons = static_cast<std::uint64_t>(std::count(text_.begin(), text_.end(), ':'));
        const std::string what = std::string(name_) + ": JSON";
        auto nodes = buffer<json_node>::allocate(bound + 1, what); // one more: something stands behind the last
        auto order = buffer<std::uint32_t>::allocate(colons, what);
        auto text = buffer<char>::allocate(text_.size(), what);
        if (!nodes || !order || !text) {
            return std::move(!nodes ? std::move(nodes).error()
                                    : std::move(!order ? std::move(order).error() : std::move(text).error()));
        }
        document_.nodes_ = *std::move(nodes);
        document_.order_ = *std::move(order);
        document_.text_ = *std::move(text);
        return {};
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
        std::ranges::copy(characters, document_.text_.data() + text_used_);
        text_used_ += static_cast<std::uint32_t>(characters.size());
    }

    [[nodiscard]] result<void> read_value() {
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

    [[nodiscard]] result<void> read_word(std::string_view word, json_type type, std::uint32_t value) {
        if (text_.substr(at_, word.size()) != word) {
            return fail("a value is expected here");
        }
        at_ += word.size();
        open_node(type).start = value;
        return {};
    }

    std::size_t skip_digits() noexcept {
        const std::size_t first = at_;
        while (peek() >= '0' && peek() <= '9') {
            ++at_;
        }
        return at_ - first;
    }

    [[nodiscard]] result<void> read_number() {
        const std::size_t first = at_;
        const bool minus = skip('-');
        if (!skip('0') && skip_digits() == 0) {
            return fail(minus      ? "a digit is expected here"
                        : at_end() ? "the text ends where a value is expected"
                                   : "a value is expected here");
        }
        if (skip('.') && skip_digits() == 0) {
            return fail("a digit is expected behind the decimal point");
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
        return {};
    }

    [[nodiscard]] result<void> read_string() {
        assert(peek() == '"');
        ++at_;
        json_node& node = open_node(json_type::string);
        node.start = text_used_;
        while (!skip('"')) {
            if (auto read = peek() == '\\' ? read_escape() : read_characters(); !read) {
                return read;
            }
        }
        node.size = text_used_ - node.start;
        return {};
    }

    [[nodiscard]] result<void> read_characters() {
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
        return {};
    }

    [[nodiscard]] result<void> read_escape() {
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
        return {};
    }

    [[nodiscard]] result<void> read_unicode_escape() {
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
        return {};
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

    [[nodiscard]] result<void> enter() {
        if (depth_left_ == 0) {
            return fail("the containers are nested more deeply than is allowed here");
        }
        --depth_left_;
        ++at_;
        skip_whitespace();
        return {};
    }

    [[nodiscard]] result<void> read_array() {
        if (auto entered = enter(); !entered) {
            return entered;
        }
        json_node& array = open_node(json_type::array);
        bool more = !skip(']');
        while (more) {
            if (auto read = read_value(); !read) {
                return read;
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
        return {};
    }

    [[nodiscard]] result<void> read_object() {
        if (auto entered = enter(); !entered) {
            return entered;
        }
        json_node& object = open_node(json_type::object);
        bool more = !skip('}');
        while (more) {
            if (auto read = read_member(); !read) {
                return read;
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

    [[nodiscard]] result<void> read_member() {
        if (peek() != '"') {
            return fail("a key in double quotes is expected here");
        }
        if (auto key = read_string(); !key) {
            return key;
        }
        skip_whitespace();
        if (!skip(':')) {
            return fail("':' is expected behind a key");
        }
        skip_whitespace();
        return read_value();
    }

    [[nodiscard]] result<void> sort_keys(json_node& object) {
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
        std::ranges::sort(order, {}, characters);
        const auto same = std::ranges::adjacent_find(order, {}, characters);
        if (same != order.end()) {
            return fail("the object that ends here has the key " + quoted_name(characters(*same)) + " twice");
        }
        return {};
    }

    std::string_view text_;
    std::string_view name_;
    std::size_t at_ = 0;
    std::uint32_t depth_left_;
    json_document document_;
    std::uint32_t nodes_used_ = 0;
    std::uint32_t text_used_ = 0;
    std::uint32_t order_used_ = 0;
};

inline result<json_document> json_document::parse(std::string_view text, std::string_view name, json_options options) {
    return json_parser(text, name, options).run();
}

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

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/io/safetensors.hpp ----
// safetensors_file: reads safetensors files in place and refuses what does not hold together.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// The element types of safetensors whose elements are whole bytes.
enum class safetensors_type : std::uint8_t {
    boolean,
    u8,
    i8,
    f8_e4m3,
    f8_e5m2,
    f8_e8m0,
    i16,
    u16,
    f16,
    bf16,
    i32,
    u32,
    f32,
    i64,
    u64,
    f64,
    c64,
};

struct safetensors_format {
    safetensors_type type;
    std::string_view name; ///< as the header spells it
    std::uint32_t bytes;   ///< of one element
};

inline constexpr std::array<safetensors_format, 17> safetensors_formats{{
    {safetensors_type::boolean, "BOOL", 1},
    {safetensors_type::u8, "U8", 1},
    {safetensors_type::i8, "I8", 1},
    {safetensors_type::f8_e4m3, "F8_E4M3", 1},
    {safetensors_type::f8_e5m2, "F8_E5M2", 1},
    {safetensors_type::f8_e8m0, "F8_E8M0", 1},
    {safetensors_type::i16, "I16", 2},
    {safetensors_type::u16, "U16", 2},
    {safetensors_type::f16, "F16", 2},
    {safetensors_type::bf16, "BF16", 2},
    {safetensors_type::i32, "I32", 4},
    {safetensors_type::u32, "U32", 4},
    {safetensors_type::f32, "F32", 4},
    {safetensors_type::i64, "I64", 8},
    {safetensors_type::u64, "U64", 8},
    {safetensors_type::f64, "F64", 8},
    {safetensors_type::c64, "C64", 8},
}};

/// "BF16", ...
[[nodiscard]] constexpr std::string_view name_of(safetensors_type type) noexcept {
    return safetensors_formats[static_cast<std::size_t>(type)].name;
}

/// One tensor of a safetensors file. Everything points into the file's bytes or its safetensors_file.
struct safetensors_tensor {
    static constexpr std::size_t most_dimensions = 8;

    std::string_view name;
    safetensors_type type = safetensors_type::f32;
    std::array<std::uint64_t, most_dimensions> shape{}; ///< slowest first, as PyTorch shows it; 0 beyond `rank`
    std::uint32_t rank = 0;                             ///< 0: one element
    std::uint64_t offset = 0;                           ///< from the start of the file
    std::span<const std::byte> bytes;                   ///< of any alignment
};

/// "[640, 2560]", slowest dimension first.
[[nodiscard]] inline std::string shape_text(const safetensors_tensor& tensor) {
    std::string text = "[";
    for (std::uint32_t i = 0; i < tensor.rank; ++i) {
        text += (i == 0 ? "" : ", ") + std::to_string(tensor.shape[i]);
    }
    return text + "]";
}

/// The tensors of one safetensors file, in place and checked. Borrows the file's bytes, which must outlive it, and owns
/// the tensors' names. Immutable; move-only; what it gave stays valid when it moves.
///
///     u64 length of the header | header, JSON | data
///     {"name": {"dtype": "BF16", "shape": [out, in], "data_offsets": [begin, end]}, ..., "__metadata__": {"": ""}}
///
/// Source: the README of huggingface/safetensors.
class safetensors_file {
public:
    /// As in the format's own reader.
    static constexpr std::uint64_t longest_header = 100'000'000;
    static constexpr std::size_t longest_tensor_name = 1024;

    /// Reads the header of `bytes`; touches no tensor data. `name` is what error messages call the file. As strict as
    /// the format: the tensors fill the data section without overlap and without a hole. Cost: O(n log n) in the length
    /// of the header, and the memory of json_document.
    /// \return errc::truncated, bad_count (header length), bad_json, bad_utf8, bad_tensor_name, wrong_type,
    /// unsupported_type, bad_shape, bad_offset or out_of_memory, naming the tensor and both numbers. Proven by
    /// tests/io/safetensors_malformed_test.cpp.
    [[nodiscard]] static result<safetensors_file> parse(std::span<const std::byte> bytes, std::string_view name);

    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    /// In the order of their data.
    [[nodiscard]] std::span<const safetensors_tensor> tensors() const noexcept { return tensors_.span(); }
    /// The tensor called `tensor_name`, or null. O(log n).
    [[nodiscard]] const safetensors_tensor* find(std::string_view tensor_name) const noexcept {
        const auto sorted = names_sorted_.span();
        const auto name_at = [this](std::size_t i) { return tensors_[i].name; };
        const auto found = std::ranges::lower_bound(sorted, tensor_name, {}, name_at);
        return found != sorted.end() && name_at(*found) == tensor_name ? &tensors_[*found] : nullptr;
    }

private:
    friend class safetensors_parser;
    explicit safetensors_file(json_document header) noexcept : header_(std::move(header)) {}

    std::string name_;
    json_document header_;
    buffer<safetensors_tensor> tensors_;
    buffer<std::size_t> names_sorted_; // indices of tensors_ by name
};

/// One reading of a safetensors file. Use safetensors_file::parse.
class safetensors_parser {
public:
    safetensors_parser(std::span<const std::byte> bytes, std::string_view name) : bytes_(bytes), name_(name) {}

    [[nodiscard]] result<safetensors_file> run() {
        auto header = read_header();
        if (!header) {
            return std::move(header).error();
        }
        safetensors_file file(*std::move(header));
        file.name_ = name_;
        if (auto made = allocate(file); !made) {
            return std::move(made).error();
        }
        if (auto read = read_tensors(file.header_.root(), file.tensors_.span()); !read) {
            return std::move(read).error();
        }
        if (auto whole = check_coverage(file.tensors_.span()); !whole) {
            return std::move(whole).error();
        }
        for (std::size_t i = 0; i < file.tensors_.size(); ++i) {
            file.names_sorted_[i] = i;
        }
        std::ranges::sort(file.names_sorted_.span(), {}, [&](std::size_t i) { return file.tensors_[i].name; });
        return file;
    }

private:
    static constexpr std::string_view metadata_key = "__metadata__";

    [[nodiscard]] error fail(errc code, const std::string& sentence) const {
        return error{code, name_ + ": " + sentence};
    }
    [[nodiscard]] error fail(errc code, std::string_view tensor, const std::string& sentence) const {
        return fail(code, "tensor " + quoted_name(tensor) + ": " + sentence);
    }

    [[nodiscard]] result<json_document> read_header() {
        byte_reader reader(bytes_);
        const auto length = reader.read<std::uint64_t>();
        if (!length) {
            return fail(errc::truncated, "the file has " + std::to_string(bytes_.size()) +
                                             " bytes, the length of a safetensors header alone takes 8");
        }
        if (*length > safetensors_file::longest_header) {
            return fail(errc::bad_count, "announces a header of " + std::to_string(*length) + " bytes, up to " +
                                             std::to_string(safetensors_file::longest_header) + " are possible");
        }
        const auto text = reader.read_bytes(*length);
        if (!text) {
            return fail(errc::truncated, "announces a header of " + std::to_string(*length) + " bytes, but only " +
                                             std::to_string(reader.remaining()) + " bytes follow");
        }
        data_offset_ = reader.offset();
        constexpr std::uint32_t depth = 3; // header, tensor, shape
        auto header = json_document::parse({reinterpret_cast<const char*>(text->data()), text->size()},
                                           name_ + ": header", {depth});
        if (header && !header->root().is_object()) {
            return fail(errc::wrong_type, "the header is of JSON type " + std::string(name_of(header->root().type())) +
                                              ", it must be an object");
        }
        return header;
    }

    [[nodiscard]] result<void> allocate(safetensors_file& file) const {
        const std::size_t count = tensor_count(file.header_.root());
        auto tensors = buffer<safetensors_tensor>::allocate(count, name_ + ": tensor list");
        auto order = buffer<std::size_t>::allocate(count, name_ + ": an index of names");
        if (!tensors || !order) {
            return !tensors ? std::move(tensors).error() : std::move(order).error();
        }
        file.tensors_ = *std::move(tensors);
        file.names_sorted_ = *std::move(order);
        return {};
    }
    [[nodiscard]] static std::size_t tensor_count(json_value header) noexcept {
        return header.size() - (header.find(metadata_key) ? 1 : 0);
    }

    [[nodiscard]] result<void> read_tensors(json_value header, std::span<safetensors_tensor> tensors) const {
        std::size_t count = 0;
        for (const auto& [key, value] : header.members()) {
            auto read = key == metadata_key ? check_metadata(value) : read_tensor(key, value, tensors[count++]);
            if (!read) {
                return read;
            }
        }
        return {};
    }

    [[nodiscard]] result<void> check_metadata(json_value metadata) const {
        if (!metadata.is_object()) {
            return fail(errc::wrong_type, "__metadata__ is of JSON type " + std::string(name_of(metadata.type())) +
                                              ", it must be an object");
        }
        for (const auto& [key, value] : metadata.members()) {
            if (value.type() != json_type::string) {
                return fail(errc::wrong_type, "__metadata__: " + quoted_name(key) + " is of JSON type " +
                                                  std::string(name_of(value.type())) + ", it must be a string");
            }
        }
        return {};
    }

    [[nodiscard]] result<void> read_tensor(std::string_view name, json_value entry, safetensors_tensor& tensor) const {
        if (name.empty() || name.size() > safetensors_file::longest_tensor_name ||
            name.find('\0') != std::string_view::npos) {
            return fail(errc::bad_tensor_name, name,
                        "a name of " + std::to_string(name.size()) + " bytes; 1 to " +
                            std::to_string(safetensors_file::longest_tensor_name) + " are allowed, none of them NUL");
        }
        tensor.name = name;
        const auto type = entry.find("dtype");
        const auto shape = entry.find("shape");
        const auto offsets = entry.find("data_offsets");
        if (!type || !shape || !offsets || entry.size() != 3) {
            return fail(errc::wrong_type, name, "its entry must be an object of dtype, shape and data_offsets");
        }
        if (auto read = read_type(*type, tensor); !read) {
            return read;
        }
        if (auto read = read_shape(*shape, tensor); !read) {
            return read;
        }
        return read_range(*offsets, tensor);
    }

    [[nodiscard]] result<void> read_type(json_value value, safetensors_tensor& tensor) const {
        const auto text = value.as_string();
        if (!text) {
            return fail(errc::wrong_type, tensor.name,
                        "its dtype is of JSON type " + std::string(name_of(value.type())) + ", it must be a string");
        }
        const auto* found = std::ranges::find(safetensors_formats, *text, &safetensors_format::name);
        if (found == safetensors_formats.end()) {
            return fail(errc::unsupported_type, tensor.name, "unknown dtype " + quoted_name(*text));
        }
        tensor.type = found->type;
        return {};
    }

    [[nodiscard]] result<void> read_shape(json_value value, safetensors_tensor& tensor) const {
        if (!value.is_array() || value.size() > tensor.shape.size()) {
            return fail(errc::bad_shape, tensor.name,
                        "its shape must be an array of 0 to " + std::to_string(tensor.shape.size()) + " dimensions");
        }
        for (const json_value dim : value.elements()) {
            const auto size = dim.as_integer<std::uint64_t>();
            if (!size || *size > static_cast<std::uint64_t>(INT64_MAX)) {
                return fail(errc::bad_shape, tensor.name,
                            "dimension " + std::to_string(tensor.rank) + " is no integer from 0 to 2^63 - 1");
            }
            tensor.shape[tensor.rank++] = *size;
        }
        return {};
    }

    /// Bytes that type and shape need; nothing where they do not fit 64 bits.
    [[nodiscard]] static std::optional<std::uint64_t> byte_size(const safetensors_tensor& tensor) noexcept {
        std::optional<std::uint64_t> size = safetensors_formats[static_cast<std::size_t>(tensor.type)].bytes;
        for (std::uint32_t i = 0; i < tensor.rank && size; ++i) {
            size = checked_multiply(*size, tensor.shape[i]);
        }
        return size;
    }

    [[nodiscard]] result<void> read_range(json_value value, safetensors_tensor& tensor) const {
        std::array<std::optional<std::uint64_t>, 2> range;
        std::size_t count = 0;
        for (const json_value offset : value.elements()) {
            if (count < range.size()) {
                range[count] = offset.as_integer<std::uint64_t>();
            }
            ++count;
        }
        if (count != 2 || !range[0] || !range[1] || *range[0] > *range[1]) {
            return fail(errc::bad_offset, tensor.name, "its data_offsets must be two integers, begin <= end");
        }
        const std::uint64_t data = bytes_.size() - data_offset_;
        if (*range[1] > data) {
            return fail(errc::bad_offset, tensor.name,
                        "its data ends at " + std::to_string(*range[1]) + ", the file has " + std::to_string(data) +
                            " bytes of data");
        }
        const auto needed = byte_size(tensor);
        if (!needed || *needed != *range[1] - *range[0]) {
            return fail(errc::bad_shape, tensor.name,
                        "shape " + shape_text(tensor) + " of " + std::string(name_of(tensor.type)) + " needs " +
                            (needed ? std::to_string(*needed) : "more than 2^64") + " bytes, its data_offsets give " +
                            std::to_string(*range[1] - *range[0]));
        }
        tensor.offset = data_offset_ + *range[0];
        tensor.bytes = bytes_.subspan(static_cast<std::size_t>(tensor.offset), static_cast<std::size_t>(*needed));
        return {};
    }

    /// Sorts the tensors by their data, which must then lie one behind the other from the first byte to the last.
    [[nodiscard]] result<void> check_coverage(std::span<safetensors_tensor> tensors) const {
        const auto place = [](const safetensors_tensor& t) { return std::pair(t.offset, t.bytes.size()); };
        std::ranges::sort(tensors, {}, place); // empty tensors before the one that starts where they stand
        std::uint64_t end = data_offset_;
        for (const safetensors_tensor& tensor : tensors) {
            if (tensor.offset != end) {
                return fail(errc::bad_offset, tensor.name,
                            "its data begins at " + std::to_string(tensor.offset - data_offset_) +
                                (tensor.offset < end ? ", inside" : ", with a hole behind") +
                                " the data before it, which ends at " + std::to_string(end - data_offset_));
            }
            end += tensor.bytes.size();
        }
        if (end != bytes_.size()) {
            return fail(errc::bad_offset, "the data of its " + std::to_string(tensors.size()) + " tensors ends at " +
                                              std::to_string(end - data_offset_) + ", the file has " +
                                              std::to_string(bytes_.size() - data_offset_) + " bytes of data");
        }
        return {};
    }

    std::span<const std::byte> bytes_;
    std::string name_;
    std::size_t data_offset_ = 0;
};

inline result<safetensors_file> safetensors_file::parse(std::span<const std::byte> bytes, std::string_view name) {
    return safetensors_parser(bytes, name).run();
}

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/model/hugging_face_config.hpp ----
// config.json of a Hugging Face checkpoint, read strictly and written as GGUF metadata.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI {

/// The rotary scaling of LLaMA 3.1: long wavelengths are stretched by `factor`, short ones are kept.
struct llama3_rotary_scaling {
    double factor = 8;
    double low = 1;        ///< turns within the original context below which a frequency is divided by `factor`
    double high = 4;       ///< turns above which it is kept; in between lies a blend
    double context = 8192; ///< positions of the original context
};

} // namespace bitnet::inline BITNET_ABI

BITNET_PRECISE_BEGIN
namespace bitnet::inline BITNET_ABI {

/// What GGUF files hold as rope_freqs.weight: the divisor of every frequency theta^(-2 j / head_size).
/// From integer phases as in rotary_frequencies, so that it is the same everywhere.
/// \pre 1 <= theta < 2^126, low != high
[[nodiscard]] inline std::vector<float> llama3_rotary_divisors(float theta, std::size_t head_size,
                                                               const llama3_rotary_scaling& scaling) {
    constexpr std::uint64_t log2_of_2pi = 0x54d90e6931bbeebu; // * 2^57
    const std::uint64_t step = log2_fixed(theta) / head_size;
    std::vector<float> divisors(head_size / 2);
    for (std::size_t j = 0; j < divisors.size(); ++j) {
        const auto turns = static_cast<double>(exp2_negative_fixed(log2_of_2pi + step * 2 * j)) * 0x1p-64;
        const double within = turns * scaling.context;
        const double blend = (within - scaling.low) / (scaling.high - scaling.low);
        const double kept = blend < 0 ? 0 : blend > 1 ? 1 : blend;
        divisors[j] = static_cast<float>(1.0 / ((1.0 - kept) / scaling.factor + kept));
    }
    return divisors;
}

} // namespace bitnet::inline BITNET_ABI
BITNET_PRECISE_END

namespace bitnet::inline BITNET_ABI {

/// What config.json says of how the tensors are to be taken.
struct hugging_face_config {
    std::string_view architecture; ///< as general.architecture calls it
    std::size_t layers = 0;
    bool is_bitnet = false;             ///< says that its linear layers are ternary
    bool online = false;                ///< ternarised while it runs: the weights are masters
    bool divides = false;               ///< weight = code / weight_scale, otherwise code * weight_scale
    bool needs_norm_in = false;         ///< a norm in front of every projection
    std::optional<bool> tied;           ///< whether the embedding is the head
    std::vector<float> rotary_divisors; ///< empty but for rope_type llama3
    std::vector<std::string> notes;     ///< what was decided, a sentence each

    /// Gemma's norms multiply by 1 + weight.
    [[nodiscard]] bool is_gemma() const noexcept { return architecture == "gemma3"; }

    /// Reads `config`, the root of config.json, and adds the metadata keys of hyper_parameters to `out`. `name` is what
    /// error messages call the file. Nothing that would change a result is passed over.
    /// \return errc::missing_key, wrong_type, out_of_range, inconsistent or unsupported_architecture, naming the key.
    [[nodiscard]] static result<hugging_face_config> read(json_value config, std::string_view name, gguf_writer& out);
};

/// One reading of a config.json; the first failure stays. Use hugging_face_config::read.
class hugging_face_config_reader {
public:
    hugging_face_config_reader(json_value config, std::string_view name, gguf_writer& out)
        : config_(config), name_(name), out_(out) {}

    [[nodiscard]] result<hugging_face_config> run() {
        if (!config_.is_object()) {
            fail(errc::wrong_type,
                 "the text is a JSON " + std::string(name_of(config_.type())) + ", it must be an object");
        }
        read_architecture();
        if (failure_.code == errc{}) { // all keys begin with the architecture
            read_quantization();
            read_sizes();
            read_rotary();
            refuse_what_is_not_computed();
        }
        if (failure_.code != errc{}) {
            return std::move(failure_);
        }
        return std::move(made_);
    }

private:
    /// A class of transformers with one activation function, and what GGUF calls it.
    struct family {
        std::string_view name;
        std::string_view activation;
        std::string_view architecture;
    };
    static constexpr std::array<family, 9> families{{
        {"BitNetForCausalLM", "relu2", "bitnet-b1.58"},
        {"BitNetForCausalLM", "silu", "bitnet"},
        {"BitnetForCausalLM", "relu2", "bitnet-b1.58"},
        {"BitnetForCausalLM", "silu", "bitnet"},
        {"LlamaForCausalLM", "silu", "llama"},
        {"Qwen3Model", "silu", "qwen3"},
        {"Qwen3ForCausalLM", "silu", "qwen3"},
        {"Gemma3TextModel", "gelu_pytorch_tanh", "gemma3"},
        {"Gemma3ForCausalLM", "gelu_pytorch_tanh", "gemma3"},
    }};
    static constexpr std::uint64_t most_head_size = 1u << 16; // only bounds a table; hyper_parameters has the real cap

    void fail(errc code, const std::string& sentence) {
        if (failure_.code == errc{}) {
            failure_ = {code, name_ + ": " + sentence};
        }
    }

    /// The value of `key`; nothing where it is missing or null.
    [[nodiscard]] static std::optional<json_value> find(json_value object, std::string_view key) {
        const auto found = object.find(key);
        return found && !found->is_null() ? found : std::nullopt;
    }
    [[nodiscard]] std::optional<json_value> find(std::string_view key) const { return find(config_, key); }

    [[nodiscard]] std::optional<json_value> need(json_value object, std::string_view key) {
        const auto found = find(object, key);
        if (!found) {
            fail(errc::missing_key, "there is no " + quoted_name(key));
        }
        return found;
    }
    void fail_type(std::string_view key, std::string_view wanted, json_value found) {
        fail(errc::wrong_type, quoted_name(key) + " is a JSON " + std::string(name_of(found.type())) + ", " +
                                   std::string(wanted) + " is needed");
    }

    [[nodiscard]] std::string_view string_or(json_value object, std::string_view key, std::string_view fallback) {
        const auto value = find(object, key);
        if (value && !value->as_string()) {
            fail_type(key, "a string", *value);
        }
        return value ? value->as_string().value_or(fallback) : fallback;
    }
    [[nodiscard]] bool bool_or(json_value object, std::string_view key, bool fallback) {
        const auto value = find(object, key);
        if (value && !value->as_bool()) {
            fail_type(key, "true or false", *value);
        }
        return value ? value->as_bool().value_or(fallback) : fallback;
    }
    /// A whole number that fits the u32 of GGUF; 1 after a failure, so that reading can go on.
    [[nodiscard]] std::uint32_t size(std::string_view key) {
        const auto value = need(config_, key);
        const auto number = value ? value->as_integer<std::uint32_t>() : std::nullopt;
        if (value && !number) {
            fail_type(key, "a whole number below 2^32", *value);
        }
        return number.value_or(1);
    }
    /// A number that a float can hold. A finite double: JSON has no others.
    [[nodiscard]] double number(json_value object, std::string_view key) {
        constexpr double largest = 0x1.fffffep127;
        const auto value = need(object, key);
        const auto found = value ? value->as_double() : std::nullopt;
        if (value && !found) {
            fail_type(key, "a finite number", *value);
        } else if (found && (*found > largest || *found < -largest)) {
            fail(errc::out_of_range, quoted_name(key) + " is beyond what a float can hold");
        }
        return found.value_or(1.0);
    }

    [[nodiscard]] std::string key(std::string_view suffix) const {
        return std::string(made_.architecture) + "." + std::string(suffix);
    }

    void read_architecture() {
        const auto list = need(config_, "architectures");
        const auto first = list && list->size() != 0 ? std::optional(*list->elements().begin()) : std::nullopt;
        const auto name = list && list->is_array() && first ? first->as_string() : std::nullopt;
        if (!name) {
            fail(errc::wrong_type, "'architectures' must be an array of strings, the class of the model first");
            return;
        }
        const std::string_view activation =
            string_or(config_, find("hidden_act") ? "hidden_act" : "hidden_activation", "");
        std::string known;
        for (const family& row : families) {
            if (row.name == *name && row.activation == activation) {
                made_.architecture = row.architecture;
                out_.add("general.architecture", row.architecture);
                return;
            }
            known += row.name == *name ? (known.empty() ? "" : " or ") + std::string(row.activation) : "";
        }
        fail(errc::unsupported_architecture,
             known.empty() ? "the class of the model is " + quoted_name(*name) +
                                 "; BitNetForCausalLM, BitnetForCausalLM, LlamaForCausalLM, Qwen3Model, "
                                 "Qwen3ForCausalLM, Gemma3TextModel and Gemma3ForCausalLM can be read"
                           : "'hidden_act' is " + quoted_name(activation) + ", " + std::string(*name) +
                                 " can be run with " + known);
    }

    /// transformers' BitLinear divides by weight_scale, its AutoBitLinear multiplies.
    void read_quantization() {
        made_.is_bitnet = made_.architecture.starts_with("bitnet");
        const auto quantization = find("quantization_config");
        if (!quantization) {
            return;
        }
        const std::string_view method = string_or(*quantization, "quant_method", "");
        const std::string_view linear = string_or(*quantization, "linear_class", "bitlinear");
        const std::string_view mode = string_or(*quantization, "quantization_mode", "offline");
        if (method != "bitnet") {
            fail(errc::unsupported_architecture,
                 "'quant_method' is " + quoted_name(method) + ", only bitnet can be read");
        } else if (linear != "bitlinear" && linear != "autobitlinear") {
            fail(errc::unsupported_architecture,
                 "'linear_class' is " + quoted_name(linear) + ", bitlinear and autobitlinear can be read");
        } else if (mode != "offline" && mode != "online") {
            fail(errc::unsupported_architecture,
                 "'quantization_mode' is " + quoted_name(mode) + ", offline and online can be read");
        }
        made_.is_bitnet = true;
        made_.online = linear == "autobitlinear" && mode == "online";
        made_.divides = linear == "bitlinear";
        made_.needs_norm_in = bool_or(*quantization, "use_rms_norm", false);
        if (made_.needs_norm_in && find(*quantization, "rms_norm_eps") &&
            number(*quantization, "rms_norm_eps") != number(config_, "rms_norm_eps")) {
            fail(errc::unsupported_architecture, "the projections' norms have another 'rms_norm_eps' than the layers'");
        }
        refuse_unconverted(*quantization);
    }

    /// Linear layers that stay as they are, beside the head.
    void refuse_unconverted(json_value quantization) {
        const auto list = find(quantization, "modules_to_not_convert");
        if (!list) {
            return;
        }
        for (const json_value module : list->elements()) {
            const auto name = module.as_string().value_or("");
            if (name != "lm_head" && name != "embed_tokens" && name != "model.embed_tokens") {
                fail(errc::unsupported_architecture,
                     "'modules_to_not_convert' names " + quoted_name(name) + "; only lm_head may be no ternary layer");
            }
        }
    }

    /// Local attention sees everything as long as the context is no longer than its window.
    void read_context() {
        std::uint32_t context = size("max_position_embeddings");
        if (find("sliding_window") && bool_or(config_, "use_sliding_window", made_.is_gemma())) {
            const std::uint32_t window = size("sliding_window");
            out_.add(key("attention.sliding_window"), window);
            if (window < context) {
                made_.notes.push_back("the context ends at " + std::to_string(window) + " of its " +
                                      std::to_string(context) + " positions, where local attention would begin");
                context = window;
            }
        }
        out_.add(key("context_length"), context);
    }

    void read_sizes() {
        out_.add(key("vocab_size"), size("vocab_size"));
        read_context();
        out_.add(key("embedding_length"), size("hidden_size"));
        made_.layers = size("num_hidden_layers");
        out_.add(key("block_count"), static_cast<std::uint32_t>(made_.layers));
        out_.add(key("feed_forward_length"), size("intermediate_size"));
        const std::uint32_t heads = size("num_attention_heads");
        out_.add(key("attention.head_count"), heads);
        out_.add(key("attention.head_count_kv"), find("num_key_value_heads") ? size("num_key_value_heads") : heads);
        if (find("head_dim")) {
            head_size_ = size("head_dim");
            out_.add(key("attention.key_length"), head_size_);
            out_.add(key("attention.value_length"), head_size_);
        } else {
            head_size_ = size("hidden_size") / std::max(heads, 1u); // hyper_parameters refuses a remainder
        }
        out_.add(key("attention.layer_norm_rms_epsilon"), static_cast<float>(number(config_, "rms_norm_eps")));
    }

    /// Where the rotary embedding is described: rope_parameters since transformers 5, one for each kind of attention in
    /// Gemma, the top level and rope_scaling before.
    void read_rotary() {
        out_.add("bitnet_hpp.rotary", "halves"); // rows are not permuted here as converters do for LLaMA
        const auto parameters = find("rope_parameters");
        const auto global = parameters ? find(*parameters, "full_attention") : std::nullopt;
        const auto local = parameters ? find(*parameters, "sliding_attention") : std::nullopt;
        const json_value where = global ? *global : parameters ? *parameters : config_;
        const auto theta = static_cast<float>(number(where, "rope_theta"));
        out_.add(key("rope.freq_base"), theta);
        if (local || find("rope_local_base_freq")) {
            const double near = local ? number(*local, "rope_theta") : number(config_, "rope_local_base_freq");
            if (static_cast<float>(near) != theta ||
                (local && string_or(*local, "rope_type", "default") != "default")) {
                fail(errc::unsupported_architecture, "local attention rotates with theta " + std::to_string(near) +
                                                         ", global attention with " + std::to_string(theta) +
                                                         "; only one rotation for all layers can be run");
            }
        }
        if (const auto scaling = parameters ? std::optional(where) : find("rope_scaling")) {
            read_rotary_scaling(*scaling, theta);
        }
    }

    void read_rotary_scaling(json_value scaling, float theta) {
        const std::string_view type = string_or(scaling, find(scaling, "rope_type") ? "rope_type" : "type", "default");
        if (type == "llama3") {
            read_llama3_scaling(scaling, theta);
        } else if (type != "default") {
            out_.add(key("rope.scaling.type"), type); // hyper_parameters refuses those that cannot be run
            if (find(scaling, "factor")) {
                out_.add(key("rope.scaling.factor"), static_cast<float>(number(scaling, "factor")));
            }
        }
    }

    void read_llama3_scaling(json_value scaling, float theta) {
        llama3_rotary_scaling wanted;
        wanted.factor = number(scaling, "factor");
        wanted.low = number(scaling, "low_freq_factor");
        wanted.high = number(scaling, "high_freq_factor");
        wanted.context = number(find(scaling, "original_max_position_embeddings") ? scaling : config_,
                                "original_max_position_embeddings");
        const bool sane = wanted.factor >= 1 && wanted.low > 0 && wanted.high > wanted.low && wanted.context >= 1;
        if (!sane || !(theta >= 1) || !(theta < 0x1p126f) || head_size_ == 0 || head_size_ > most_head_size) {
            fail(errc::out_of_range, "the rotary scaling llama3 needs factor >= 1, 0 < low_freq_factor < "
                                     "high_freq_factor, original_max_position_embeddings >= 1 and rope_theta >= 1");
            return;
        }
        made_.rotary_divisors = llama3_rotary_divisors(theta, head_size_, wanted);
    }

    /// What would change a result and is not computed here.
    void refuse_what_is_not_computed() {
        made_.tied =
            find("tie_word_embeddings") ? std::optional(bool_or(config_, "tie_word_embeddings", false)) : std::nullopt;
        for (const std::string_view flag : {"attention_bias", "mlp_bias", "use_bidirectional_attention"}) {
            if (bool_or(config_, flag, false)) {
                fail(errc::unsupported_architecture, "'" + std::string(flag) + "' is true, which cannot be run");
            }
        }
        for (const std::string_view cap : {"attn_logit_softcapping", "final_logit_softcapping"}) {
            if (find(cap)) {
                fail(errc::unsupported_architecture, "'" + std::string(cap) + "' is set, which cannot be run");
            }
        }
        same_or_missing("partial_rotary_factor", 1);
        same_or_missing("input_bits", 8);
        same_or_missing("query_pre_attn_scalar", head_size_);
    }
    void same_or_missing(std::string_view key, double wanted) {
        if (find(key) && number(config_, key) != wanted) {
            fail(errc::unsupported_architecture, "'" + std::string(key) + "' is " +
                                                     std::to_string(number(config_, key)) + ", only " +
                                                     std::to_string(wanted) + " can be run");
        }
    }

    json_value config_;
    std::string name_;
    gguf_writer& out_;
    hugging_face_config made_;
    std::uint32_t head_size_ = 0;
    error failure_;
};

inline result<hugging_face_config> hugging_face_config::read(json_value config, std::string_view name,
                                                             gguf_writer& out) {
    return hugging_face_config_reader(config, name, out).run();
}

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/model/hugging_face_names.hpp ----
// The names that tensors of Hugging Face checkpoints have in GGUF files.

#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

namespace bitnet::inline BITNET_ABI {

/// What a tensor of a checkpoint is to the model.
enum class checkpoint_role {
    unknown, ///< nothing that a model here has
    unused,  ///< nothing that is not computed: inverse rotary frequencies
    ternary, ///< the weights of one of the seven projections
    scale,   ///< the weight_scale beside them
    norm,    ///< of a layer, a head, or the output
    norm_in, ///< in front of a projection
    embedding,
    head,
};

struct checkpoint_name {
    checkpoint_role role = checkpoint_role::unknown;
    std::string gguf;                   ///< empty for unknown and unused tensors
    std::optional<std::uint32_t> layer; ///< of tensors in a layer
};

/// The end of a tensor's name there and here.
struct renamed {
    std::string_view from;
    std::string_view to;
    checkpoint_role role = checkpoint_role::norm;
};

inline constexpr std::array<renamed, 7> projection_names{{
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"},
    {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
}};

/// Behind a projection's name. "norm" is what microsoft/BitNet's embedding models have, "rms_norm" what transformers'
/// BitLinear has.
inline constexpr std::array<renamed, 4> projection_parts{{
    {".weight", ".weight", checkpoint_role::ternary},
    {".weight_scale", ".scale", checkpoint_role::scale},
    {".norm.weight", "_norm_in.weight", checkpoint_role::norm_in},
    {".rms_norm.weight", "_norm_in.weight", checkpoint_role::norm_in},
}};

/// The other tensors of a layer. "inner_attn_ln" and "ffn_layernorm" are what 1bitLLM's checkpoints have.
inline constexpr std::array<renamed, 9> layer_names{{
    {"input_layernorm.weight", "attn_norm.weight"},
    {"post_attention_layernorm.weight", "ffn_norm.weight"},
    {"self_attn.attn_sub_norm.weight", "attn_sub_norm.weight"},
    {"self_attn.inner_attn_ln.weight", "attn_sub_norm.weight"},
    {"mlp.ffn_sub_norm.weight", "ffn_sub_norm.weight"},
    {"mlp.ffn_layernorm.weight", "ffn_sub_norm.weight"},
    {"self_attn.q_norm.weight", "attn_q_norm.weight"},
    {"self_attn.k_norm.weight", "attn_k_norm.weight"},
    {"self_attn.rotary_emb.inv_freq", "", checkpoint_role::unused},
}};

/// Gemma 3 has a norm on both sides of attention and of the feed-forward network.
inline constexpr std::array<renamed, 3> gemma_layer_names{{
    {"post_attention_layernorm.weight", "post_attention_norm.weight"},
    {"pre_feedforward_layernorm.weight", "ffn_norm.weight"},
    {"post_feedforward_layernorm.weight", "post_ffw_norm.weight"},
}};

inline constexpr std::array<renamed, 4> model_names{{
    {"embed_tokens.weight", "token_embd.weight", checkpoint_role::embedding},
    {"norm.weight", "output_norm.weight", checkpoint_role::norm},
    {"lm_head.weight", "output.weight", checkpoint_role::head},
    {"rotary_emb.inv_freq", "", checkpoint_role::unused},
}};

/// The row of `names` for `name`, or null.
template <std::size_t N>
[[nodiscard]] constexpr const renamed* find_renamed(const std::array<renamed, N>& names,
                                                    std::string_view name) noexcept {
    for (const renamed& row : names) {
        if (row.from == name) {
            return &row;
        }
    }
    return nullptr;
}

/// `name` as a tensor of one layer, without "layers.N.".
[[nodiscard]] inline checkpoint_name layer_tensor_name(std::string_view name, std::uint32_t layer, bool gemma) {
    const std::string block = "blk." + std::to_string(layer) + ".";
    for (const renamed& projection : projection_names) {
        if (!name.starts_with(projection.from)) {
            continue;
        }
        if (const renamed* part = find_renamed(projection_parts, name.substr(projection.from.size()))) {
            return {part->role, block + std::string(projection.to) + std::string(part->to), layer};
        }
    }
    const renamed* row = gemma ? find_renamed(gemma_layer_names, name) : nullptr;
    row = row == nullptr ? find_renamed(layer_names, name) : row;
    if (row == nullptr) {
        return {checkpoint_role::unknown, {}, layer};
    }
    return {row->role, row->to.empty() ? std::string() : block + std::string(row->to), layer};
}

/// What the tensor `name` of a checkpoint is: "model.layers.0.self_attn.q_proj.weight" is "blk.0.attn_q.weight". The
/// prefix "model." may be missing. Sources: transformers, and the converters of llama.cpp and microsoft/BitNet.
[[nodiscard]] inline checkpoint_name gguf_name_of(std::string_view name, bool gemma) {
    constexpr std::string_view prefix = "model.";
    constexpr std::string_view layers = "layers.";
    if (name.starts_with(prefix)) {
        name.remove_prefix(prefix.size());
    }
    if (!name.starts_with(layers)) {
        const renamed* row = find_renamed(model_names, name);
        return row != nullptr ? checkpoint_name{row->role, std::string(row->to), {}} : checkpoint_name{};
    }
    name.remove_prefix(layers.size());
    std::uint32_t layer = 0;
    const auto read = std::from_chars(name.data(), name.data() + name.size(), layer);
    const auto digits = static_cast<std::size_t>(read.ptr - name.data());
    const bool canonical = read.ec == std::errc{} && std::to_string(layer) == name.substr(0, digits);
    if (!canonical || digits == name.size() || name[digits] != '.') {
        return {};
    }
    return layer_tensor_name(name.substr(digits + 1), layer, gemma);
}

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/text/tokenizer_json.hpp ----
// add_tokenizer_json: the tokenizer of a Hugging Face directory as the tokenizer.ggml.* keys of a GGUF file.

// ---- bitnet/text/token.hpp ----
// token: the number of one entry of a vocabulary.

#include <cstdint>

namespace bitnet::inline BITNET_ABI {

/// Index of an entry of a vocabulary: 0 to vocabulary_size() - 1. GGUF and every runtime use 32 signed bits.
using token = std::int32_t;

/// No entry of any vocabulary.
inline constexpr token no_token = -1;

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/text/tokenizer_steps.hpp ----
// What the steps of a tokenizer.json (normalizer, pre_tokenizer, post_processor) amount to.

// ---- bitnet/text/pre_tokenizer.hpp ----
// Splitters: how tokenizer families cut text into pieces before merging, each written by hand from its pattern.

// ---- bitnet/text/splitter.hpp ----
// Building blocks of splitters: characters with their class, runs of a class, patterns that stand alone, and nesting.

// ---- bitnet/text/unicode_classes.hpp ----
// SPDX-License-Identifier: MIT AND Unicode-3.0
// Letter, number or whitespace, by Unicode 16.0. Generated by cmake/unicode/generate.mjs: do not edit.
//
// The tables are derived from the Unicode Character Database, which comes under this notice:
//
// UNICODE LICENSE V3
//
// COPYRIGHT AND PERMISSION NOTICE
//
// Copyright (c) 1991-2024 Unicode, Inc.
//
// NOTICE TO USER: Carefully read the following legal agreement. BY DOWNLOADING, INSTALLING, COPYING OR OTHERWISE USING
// DATA FILES, AND/OR SOFTWARE, YOU UNEQUIVOCALLY ACCEPT, AND AGREE TO BE BOUND BY, ALL OF THE TERMS AND CONDITIONS OF
// THIS AGREEMENT. IF YOU DO NOT AGREE, DO NOT DOWNLOAD, INSTALL, COPY, DISTRIBUTE OR USE THE DATA FILES OR SOFTWARE.
//
// Permission is hereby granted, free of charge, to any person obtaining a copy of data files and any associated
// documentation (the "Data Files") or software and any associated documentation (the "Software") to deal in the Data
// Files or Software without restriction, including without limitation the rights to use, copy, modify, merge, publish,
// distribute, and/or sell copies of the Data Files or Software, and to permit persons to whom the Data Files or
// Software are furnished to do so, provided that either (a) this copyright and permission notice appear with all copies
// of the Data Files or Software, or (b) this copyright and permission notice appear in associated Documentation.
//
// THE DATA FILES AND SOFTWARE ARE PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT
// LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT OF THIRD PARTY
// RIGHTS.
//
// IN NO EVENT SHALL THE COPYRIGHT HOLDER OR HOLDERS INCLUDED IN THIS NOTICE BE LIABLE FOR ANY CLAIM, OR ANY SPECIAL
// INDIRECT OR CONSEQUENTIAL DAMAGES, OR ANY DAMAGES WHATSOEVER RESULTING FROM LOSS OF USE, DATA OR PROFITS, WHETHER IN
// AN ACTION OF CONTRACT, NEGLIGENCE OR OTHER TORTIOUS ACTION, ARISING OUT OF OR IN CONNECTION WITH THE USE OR
// PERFORMANCE OF THE DATA FILES OR SOFTWARE.
//
// Except as contained in this notice, the name of a copyright holder shall not be used in advertising or otherwise to
// promote the sale, use or other dealings in these Data Files or Software without prior written authorization of the
// copyright holder.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace bitnet::inline BITNET_ABI {

/// What the pre-tokenizers' regular expressions ask of a code point. The four classes do not overlap.
enum class char_class : std::uint8_t {
    other,  ///< none of the others; marks, punctuation, symbols, unassigned
    letter, ///< \p{L}
    number, ///< \p{N}
    space,  ///< \s, the property White_Space
};

namespace unicode_tables {
inline constexpr char32_t limit = 0x32400; ///< from here on every code point is char_class::other
// clang-format off
/// For each 128 code points, the number of their block.
inline constexpr std::array<std::uint8_t, 1608> index{
    0, 1, 2, 2, 2, 3, 4, 5, 2, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22,
    23, 24, 25, 26, 27, 28, 29, 30, 2, 2, 31, 32, 33, 34, 35, 2, 2, 2, 36, 37, 38, 39, 40, 41, 42, 43,
    44, 45, 46, 47, 48, 49, 2, 50, 2, 2, 51, 52, 53, 54, 55, 56, 57, 57, 57, 57, 58, 59, 57, 57, 57, 57,
    60, 61, 57, 57, 57, 57, 57, 57, 57, 57, 2, 62, 63, 64, 65, 57, 57, 57, 66, 67, 68, 69, 70, 71, 57, 57,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 50,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 72, 2, 2, 73, 74, 75, 76, 77, 78,
    79, 80, 81, 82, 83, 84, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 85, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57,
    57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57,
    57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57,
    57, 57, 57, 57, 2, 2, 86, 87, 88, 89, 2, 2, 90, 91, 92, 93, 94, 95, 96, 97, 98, 99, 57, 100, 101, 102,
    2, 103, 104, 105, 2, 2, 106, 107, 108, 109, 110, 111, 112, 113, 114, 115, 116, 117, 118, 119, 120, 121, 122, 123, 124, 125,
    126, 127, 128, 129, 130, 131, 132, 133, 57, 134, 135, 136, 137, 57, 138, 139, 140, 141, 142, 143, 57, 144, 145, 146, 147, 148,
    57, 149, 150, 151, 2, 2, 2, 2, 2, 2, 2, 152, 153, 2, 154, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57,
    57, 57, 57, 57, 57, 57, 57, 57, 57, 155, 2, 2, 2, 2, 2, 2, 2, 2, 156, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 97, 2, 2,
    2, 2, 157, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57,
    57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57,
    57, 57, 57, 57, 158, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 2, 2, 2, 2, 159, 160, 161, 146,
    57, 57, 162, 57, 163, 164, 165, 166, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 167, 2, 2, 2, 2, 2, 2, 2, 2, 2, 168, 169, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57,
    57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57,
    57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57,
    57, 57, 57, 57, 57, 170, 2, 2, 171, 2, 2, 172, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57,
    57, 57, 57, 57, 173, 174, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57,
    57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 175, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 176, 177, 57,
    178, 179, 180, 2, 2, 181, 182, 183, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 184, 57, 185, 57,
    186, 57, 57, 187, 57, 57, 57, 188, 57, 189, 57, 57, 57, 190, 2, 191, 192, 57, 57, 57, 57, 57, 193, 194, 195, 57,
    196, 197, 57, 57, 57, 57, 198, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57,
    57, 175, 57, 57, 57, 57, 57, 57, 57, 57, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 199, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 200, 2, 201, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 202, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 203, 2, 2, 2, 2, 204, 57, 57, 57, 57, 57, 57, 57,
    57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 57, 2, 2, 2, 2, 205, 57, 57, 57, 57, 57, 57, 57, 57, 57,
    57, 57, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 206, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 207,
};
/// Four words per block, two bits per code point, the first code point lowest.
inline constexpr std::array<std::uint64_t, 832> blocks{
    0x000000000ffc0000u, 0x000aaaaa00000003u, 0x0015555555555554u, 0x0015555555555554u,
    0x0000000000000c00u, 0x2a1804a000100003u, 0x5555155555555555u, 0x5555155555555555u,
    0x5555555555555555u, 0x5555555555555555u, 0x5555555555555555u, 0x5555555555555555u,
    0x5555555555555555u, 0x5555555555555555u, 0x0000000555555005u, 0x0000000011000155u,
    0x0000000000000000u, 0x0000000000000000u, 0x0000000000000000u, 0x4550515500000000u,
    0x5555555551151000u, 0x5555555555555545u, 0x5555555555555555u, 0x5555455555555555u,
    0x5555555555500005u, 0x5555555555555555u, 0x5555555555555555u, 0x5555555555555555u,
    0x5555555555555555u, 0x5555555455555555u, 0x0004155555555555u, 0x5555555555555555u,
    0x0000000000015555u, 0x0000000000000000u, 0x5555555500000000u, 0x0000001540155555u,
    0x0000000000000000u, 0x5555555555555555u, 0x0000000000155555u, 0x55555554500aaaaau,
    0x5555555555555555u, 0x5555555555555555u, 0x0000045555555555u, 0x415aaaaa50001400u,
    0x5555555100000000u, 0x0000000055555555u, 0x5555555554000000u, 0x5555555555555555u,
    0x5555555555555555u, 0x0000000400000555u, 0x55555555555aaaaau, 0x0010050000155555u,
    0x0010055555555555u, 0x0000000000010100u, 0x0001555555555555u, 0x5555555500155555u,
    0x0000000015545555u, 0x5555555555555555u, 0x0000000000055555u, 0x0000000000000000u,
    0x5555555555555500u, 0x0405555555555555u, 0x5555000100000000u, 0x55555554aaaaa005u,
    0x5555554141555401u, 0x0405501155515555u, 0x4500000010000000u, 0x010aaa05aaaaa005u,
    0x5555554140155400u, 0x0005145155515555u, 0x1154000000000000u, 0x00000150aaaaa000u,
    0x5555554545555400u, 0x0405545155515555u, 0x0000000100000000u, 0x00040000aaaaa005u,
    0x5555554141555400u, 0x0405545155515555u, 0x4500000000000000u, 0x0000aaa4aaaaa005u,
    0x5114055150155440u, 0x0005555550150140u, 0x0000000100000000u, 0x0000002aaaaaa000u,
    0x5555555151555400u, 0x0405555555515555u, 0x0415000000000000u, 0x2aaa0000aaaaa005u,
    0x5555555151555401u, 0x0405545555515555u, 0x1400000000000000u, 0x00000014aaaaa005u,
    0x5555555151555500u, 0x0415555555555555u, 0x6aaa150010000000u, 0x5552aaaaaaaaa005u,
    0x5550155555555400u, 0x0455554555555555u, 0x0000000000001555u, 0x00000000aaaaa000u,
    0x5555555555555554u, 0x0000005155555555u, 0x000aaaaa00001555u, 0x0000000000000000u,
    0x5555555555155114u, 0x0400005155554455u, 0x550aaaaa00001155u, 0x0000000000000000u,
    0x0000000000000001u, 0x000000aaaaaaaaaau, 0x5555555555545555u, 0x0000000001555555u,
    0x0000000001550000u, 0x0000000000000000u, 0x0000000000000000u, 0x0000000000000000u,
    0x5555555555555555u, 0x4000000000155555u, 0x05500555000aaaaau, 0x5555540150001404u,
    0x000aaaaa10000005u, 0x5555555555555555u, 0x5555555504004555u, 0x5515555555555555u,
    0x5555555555555555u, 0x5555555555555555u, 0x0551155505515555u, 0x5555555555555555u,
    0x5555555505515555u, 0x1555055155555555u, 0x5555155555550551u, 0x5555555555555555u,
    0x5555055155555555u, 0x5555555555555555u, 0x0015555555555555u, 0x02aaaaaaaaa80000u,
    0x0000000055555555u, 0x5555555555555555u, 0x5555555555555555u, 0x0555055555555555u,
    0x5555555555555554u, 0x5555555555555555u, 0x5555555555555555u, 0x5555555555555555u,
    0x5555555555555555u, 0x5555555555555555u, 0x5555555555555555u, 0x5555555541555555u,
    0x0015555555555557u, 0x5555555555555555u, 0x5555555555555555u, 0x00015556a0155555u,
    0x4000000555555555u, 0x0000000555555555u, 0x0000000555555555u, 0x0000000151555555u,
    0x5555555555555555u, 0x0000005555555555u, 0x0100400000000000u, 0x000aaaaa000aaaaau,
    0x000aaaaa00000000u, 0x5555555555555555u, 0x5555555555555555u, 0x0001555555555555u,
    0x5555555555554155u, 0x5555555500115555u, 0x5555555555555555u, 0x0000055555555555u,
    0x1555555555555555u, 0x0000000000000000u, 0x55555555aaaaa000u, 0x0000015505555555u,
    0x5555555555555555u, 0x5555555500555555u, 0x002aaaaa00055555u, 0x0000000000000000u,
    0x0000155555555555u, 0x5555555555555555u, 0x0000015555555555u, 0x0000000000000000u,
    0x000aaaaa000aaaaau, 0x0000000000004000u, 0x0000000000000000u, 0x0000000000000000u,
    0x5555555555555400u, 0x0000005555555555u, 0x000aaaaa01555400u, 0x0000000000000000u,
    0x5555555555555540u, 0x555aaaaa50000001u, 0x5555555555555555u, 0x0000000000000555u,
    0x5555555555555555u, 0x0000000000000055u, 0x555aaaaa540aaaaau, 0x0555555555555555u,
    0x5555555500155555u, 0x5415555555555555u, 0x0000000000000000u, 0x0010145551540000u,
    0x5555555555555555u, 0x5555555555555555u, 0x0000000000000000u, 0x0000000000000000u,
    0x0555055555555555u, 0x5555555555555555u, 0x4444555505550555u, 0x0555555555555555u,
    0x5555555555555555u, 0x1155515555555555u, 0x0055505501555150u, 0x0155515001555555u,
    0x00000000003fffffu, 0x00000000c00f0000u, 0xc000000000000000u, 0x400aaa0600000000u,
    0x01555555000aaaaau, 0x0000000000000000u, 0x0000000000000000u, 0x0000000000000000u,
    0x0554045555504010u, 0x5505555545511100u, 0xaaaaaaaa10055400u, 0xaaaaaaaaaaaaaaaau,
    0x00000000000aa96au, 0x0000000000000000u, 0x0000000000000000u, 0x0000000000000000u,
    0x0000000000000000u, 0x0000000000000000u, 0x0000000000000000u, 0x0000000000000000u,
    0x0000000000000000u, 0x0000000000000000u, 0x0000000000000000u, 0xaaaaaaaaaaaaaaaau,
    0x00aaaaaaaaaaaaaau, 0x0000000000000000u, 0x0000000000000000u, 0xaaaaaaaaaaa00000u,
    0x0000000000000000u, 0x0000000000000000u, 0x0000000000000000u, 0xaaaaa00000000000u,
    0x000000aaaaaaaaaau, 0x0000000000000000u, 0x0000000000000000u, 0x0000000000000000u,
    0x5555555555555555u, 0x5555555555555555u, 0x5555555555555555u, 0x0800005015400155u,
    0x5555555555555555u, 0x5555555504004555u, 0x5555555555555555u, 0x0000000040005555u,
    0x0000155555555555u, 0x1555155515551555u, 0x1555155515551555u, 0x0000000000000000u,
    0x0000000000000000u, 0x0000000040000000u, 0x0000000000000000u, 0x0000000000000000u,
    0x0000000000009403u, 0x016a0554000aaaa8u, 0x5555555555555554u, 0x5555555555555555u,
    0x5400155555555555u, 0x5555555555555554u, 0x5555555555555555u, 0x5515555555555555u,
    0x5555555555555400u, 0x5555555455555555u, 0x5555555555555555u, 0x5555555555555555u,
    0x00000aa015555555u, 0x5555555555555555u, 0x0000000000000000u, 0x5555555500000000u,
    0x0000000000000000u, 0x00000000000aaaaau, 0xaaaaaaa8aaaa0000u, 0x0000000000000000u,
    0x00000000000aaaaau, 0xaaaaaaa800000000u, 0x0000000000000000u, 0x0000000000000000u,
    0x0000000001555555u, 0x0000000000000000u, 0x5555555500000000u, 0x0555555555555555u,
    0x5555555501555555u, 0x00000000005aaaaau, 0x5555555555555555u, 0x4000000015555555u,
    0x0555555555555555u, 0x5555555555555555u, 0x5555555555555555u, 0x00000000aaaaa555u,
    0x5555400000000000u, 0x5555555555555550u, 0x5555555555555555u, 0x5555555555555555u,
    0x5555555555415555u, 0x5555555555555555u, 0x0155544505555555u, 0x5555555000000000u,
    0x5555555555154545u, 0x00000aaa00000015u, 0x5555555555555555u, 0x0000005555555555u,
    0x5555555555555550u, 0x0000005555555555u, 0x000aaaaa00000000u, 0x1440555000000000u,
    0x55555555555aaaaau, 0x5555555500000555u, 0x0000000000001555u, 0x0155555555555555u,
    0x5555555555555500u, 0x0000001555555555u, 0x000aaaaa40000000u, 0x155aaaaa55555155u,
    0x5555555555555555u, 0x0000000000015555u, 0x000aaaaa00555515u, 0x5010155555555555u,
    0x5555555555555555u, 0x0554140455555555u, 0x0540000000000011u, 0x0000015000155555u,
    0x0000155415541554u, 0x5555555515551555u, 0x5515555555555555u, 0x5555555500055555u,
    0x5555555555555555u, 0x5555555555555555u, 0x5555555555555555u, 0x000aaaaa00000015u,
    0x5555555555555555u, 0x5555555500000055u, 0x5555555555401555u, 0x0055555555555555u,
    0x5555555555555555u, 0x5555555555555555u, 0x5555555555555555u, 0x5555555505555555u,
    0x5555555555555555u, 0x5555555555555555u, 0x0005555555555555u, 0x0000000000000000u,
    0x4400554000001555u, 0x1155155555515555u, 0x5555555555555145u, 0x5555555555555555u,
    0x5555555555555555u, 0x0000000555555555u, 0x5555554000000000u, 0x5555555555555555u,
    0x5555555555555555u, 0x0555555555555555u, 0x5555555500000000u, 0x5555555555555555u,
    0x5555555055555555u, 0x5555555555555555u, 0x0000000000005555u, 0x0055555500000000u,
    0x0000000000000000u, 0x0000000000000000u, 0x0000000000000000u, 0x5555515500000000u,
    0x5555555555555555u, 0x5555555555555555u, 0x5555555555555555u, 0x0155555555555555u,
    0x000aaaaa00000000u, 0x0015555555555554u, 0x0015555555555554u, 0x5555555555555000u,
    0x5555555555555555u, 0x1555555555555555u, 0x0150555055505550u, 0x0000000000000000u,
    0x5555555554555555u, 0x4515555555551555u, 0x0555555505555555u, 0x0000000000000000u,
    0x5555555555555555u, 0x5555555555555555u, 0x5555555555555555u, 0x0015555555555555u,
    0xaaaaaaaaaaaa8000u, 0x000000aaaaaaaaaau, 0xaaaaaaaaaaaaaaaau, 0x0002aaaaaaaaaaaau,
    0x0000000000a00000u, 0x0000000000000000u, 0x0000000000000000u, 0x0000000000000000u,
    0x0155555555555555u, 0x5555555555555555u, 0x0000000155555555u, 0x00aaaaaaaaaaaaa8u,
    0x5555555555555555u, 0x55555555540000aau, 0x5555555500255559u, 0x0000055555555555u,
    0x0555555555555555u, 0x5555555555555555u, 0x00000aa855550055u, 0x0000000000000000u,
    0x0555555555555555u, 0x55555555000aaaaau, 0x5555005555555555u, 0x0055555555555555u,
    0x5555555555555555u, 0x5555555500005555u, 0x5555555555555555u, 0x5515555500000055u,
    0x5555451555155555u, 0x0145554555555545u, 0x5555555555555555u, 0x0000005555555555u,
    0x5555555555555555u, 0x0000155555555555u, 0x0000055555555555u, 0x0000000000005555u,
    0x5555555555554555u, 0x0015555155555555u, 0x0000000000000000u, 0x0000000000000000u,
    0x5555555555510555u, 0x4101455555555555u, 0xaaaa055555555555u, 0xaaa8155555555555u,
    0x1555555555555555u, 0x00000000aaaa8000u, 0x0000000000000000u, 0xaa80051555555555u,
    0x00aaa55555555555u, 0x0005555555555555u, 0x0000000000000000u, 0x0000000000000000u,
    0x5555555555555555u, 0x5a00555555555555u, 0xaaaaaaa0aaaaaaaau, 0xaaaaaaaaaaaaaaaau,
    0x5554545500000001u, 0x0000055555555555u, 0x000000000002aaaau, 0x2955555555555555u,
    0xa955555555555555u, 0x0000000000000000u, 0x5555555555545555u, 0x00000000aa800155u,
    0x5555555555555555u, 0x0000055555555555u, 0xaaaa055555555555u, 0xaaaa001555555555u,
    0x0000000555555555u, 0x00000000aaa80000u, 0x0000000000000000u, 0x0000000000000000u,
    0x5555555555555555u, 0x5555555555555555u, 0x0000000000015555u, 0x0000000000000000u,
    0x5555555555555555u, 0x0000001555555555u, 0x5555555555555555u, 0xaaa0001555555555u,
    0x5555555555555555u, 0x000aaaaa00000055u, 0x55555555555aaaaau, 0x5555555540000555u,
    0x0000000000000555u, 0x0000000000000000u, 0x0000000000000000u, 0x0000000000000000u,
    0x0000000000000000u, 0x0000000000000000u, 0x0000000000000000u, 0x2aaaaaaaaaaaaaaau,
    0x5555555555555555u, 0x0000000500055555u, 0x0000000000000150u, 0x0000000000000000u,
    0xa955555555555555u, 0x5555555500006aaau, 0x000002a800000555u, 0x5555555500000000u,
    0x0000000000000005u, 0x5555555500000000u, 0x0000000000aaa955u, 0x0000155555555555u,
    0x5555555555555540u, 0x0000555555555555u, 0xaaaaaaa000000000u, 0x00000414aaaaaaaau,
    0x5555555555555540u, 0x0000000055555555u, 0x5555555500000000u, 0x000aaaaa00015555u,
    0x5555555555555540u, 0xaaaaa00000001555u, 0x5555555500004100u, 0x0000101555555555u,
    0x5555555555555540u, 0x0000001555555555u, 0x011aaaaa00000154u, 0x000002aaaaaaaaa8u,
    0x5555554555555555u, 0x4000000000555555u, 0x0000000000000001u, 0x0000000000000000u,
    0x4555555545511555u, 0x5555555500015555u, 0x1555555555555555u, 0x000aaaaa00000000u,
    0x5555554141555400u, 0x0405545155515555u, 0x5400000100000000u, 0x0000000000000005u,
    0x5555555510455555u, 0x0000455555555555u, 0x0000004400000000u, 0x0000000000000000u,
    0x5555555555555555u, 0x0000015555555555u, 0x400aaaaa00154000u, 0x0000000000000005u,
    0x5555555555555555u, 0x0000000055555555u, 0x000aaaaa00004500u, 0x0000000000000000u,
    0x5555555555555555u, 0x0000000015555555u, 0x0055000000000000u, 0x0000000000000000u,
    0x5555555555555555u, 0x0000000055555555u, 0x000aaaaa00000100u, 0x0000000000000000u,
    0x5555555555555555u, 0x0001000000155555u, 0xaaaaaaaa000aaaaau, 0x00000000000000aau,
    0x0015555555555555u, 0x00aaaaaa00000000u, 0x0000000000001555u, 0x0000000000000000u,
    0x5555555555555555u, 0x0000000000555555u, 0x0000000000000000u, 0x0000000000000000u,
    0x0000000000000000u, 0x5555555555555555u, 0x5555555555555555u, 0x4000002aaaaaaaaau,
    0x5555145555041555u, 0x4000000055555555u, 0x000aaaaa00000004u, 0x0000000000000000u,
    0x0000000000000000u, 0x5555555555505555u, 0x0000000155555555u, 0x0000000000000044u,
    0x5555555555400001u, 0x0010001555555555u, 0x5500000100000000u, 0x5555555555555555u,
    0x0400000000055555u, 0x5555555500000000u, 0x5555555555555555u, 0x0001555555555555u,
    0x0000000000000000u, 0x0000000000000000u, 0x5555555555555555u, 0x000aaaaa00000001u,
    0x5555555555515555u, 0x0000000015555555u, 0xaaaaaaaa00000001u, 0x5555555002aaaaaau,
    0x0000000055555555u, 0x0000000000000000u, 0x0000000000000000u, 0x0000000000000000u,
    0x5555555555451555u, 0x0000000155555555u, 0x000aaaaa00001000u, 0x5555555555514555u,
    0x0001000000055555u, 0x00000000000aaaaau, 0x0000000000000000u, 0x0000000000000000u,
    0x0000000000000000u, 0x0000000000000000u, 0x0000000000000000u, 0x0000001555555555u,
    0x5555555155555510u, 0x0000005555555555u, 0x000aaaaa00000000u, 0x0000000000000000u,
    0x0000000000000000u, 0x0000000100000000u, 0x000002aaaaaaaaaau, 0x0000000000000000u,
    0x0005555555555555u, 0x0000000000000000u, 0x0000000000000000u, 0x0000000000000000u,
    0xaaaaaaaaaaaaaaaau, 0xaaaaaaaaaaaaaaaau, 0xaaaaaaaaaaaaaaaau, 0x000000002aaaaaaau,
    0x5555555555555555u, 0x5555555555555555u, 0x0000000000000055u, 0x0000000000000000u,
    0x5555555500000000u, 0x5555555555555555u, 0x5555555555555555u, 0x0000000155555555u,
    0x5555555555555555u, 0x0000000055555555u, 0x0000000000001554u, 0x5555555555555555u,
    0x5555555555555555u, 0x5555555555555555u, 0x0000000000001555u, 0x0000000000000000u,
    0x0555555555555555u, 0x000aaaaa00000000u, 0x0000000000000000u, 0x0000000000000000u,
    0x5555555555555555u, 0x0001555555555555u, 0x1555555555555555u, 0x55555555000aaaaau,
    0x5555555555555555u, 0x1555555555555555u, 0x55555555000aaaaau, 0x0000000005555555u,
    0x5555555555555555u, 0x0000000055555555u, 0xaa8aaaaa00000055u, 0x540055555555554au,
    0x0000000000000000u, 0x0000000000000000u, 0x5555555555555555u, 0x000aaaaa01555555u,
    0x0000000000000000u, 0x0000000000000000u, 0x5555555555555555u, 0x5555555555555555u,
    0x00002aaaaaaaaaaau, 0x0000000000000000u, 0x0000000000000000u, 0x0000000000000000u,
    0x5555555555555555u, 0x5555555555555555u, 0x0000000100155555u, 0x0000000000000000u,
    0x5555554000000000u, 0x0000000000000000u, 0x0000000000000000u, 0x0000000000000045u,
    0x5555555555555555u, 0x5555555555555555u, 0x5555555555555555u, 0x0000555555555555u,
    0x5555555555555555u, 0x5555555555555555u, 0x0000055555555555u, 0x4000000000000000u,
    0x0000000000015555u, 0x0000000000000000u, 0x0000000000000000u, 0x0000000000000000u,
    0x0000000000000000u, 0x0000000000000000u, 0x0000000000000000u, 0x1455545500000000u,
    0x5555555555555555u, 0x0000001000000015u, 0x0000041500000000u, 0x5555555500005500u,
    0x5555555555555555u, 0x5555555555555555u, 0x5555555555555555u, 0x0055555555555555u,
    0x5555555555555555u, 0x5555555555555555u, 0x5555555555555555u, 0x0155555500155555u,
    0x0005555500015555u, 0x0000000000000000u, 0x0000000000000000u, 0x0000000000000000u,
    0x0000000000000000u, 0x0000000000000000u, 0x0000000000000000u, 0x000aaaaa00000000u,
    0x0000000000000000u, 0x0000000000000000u, 0x000000aaaaaaaaaau, 0x000000aaaaaaaaaau,
    0x0000000000000000u, 0x0000000000000000u, 0x0000000000000000u, 0x0002aaaaaaaaaaaau,
    0x5555555555555555u, 0x5555555555555555u, 0x5555515555555555u, 0x5555555555555555u,
    0x5155555555555555u, 0x5445555551541410u, 0x5555555555555455u, 0x5555555555555555u,
    0x5155515554154555u, 0x1545555555555555u, 0x5555555155501155u, 0x5555555555555555u,
    0x5555555555555555u, 0x5555555555550555u, 0x5515555555555551u, 0x5515555555555555u,
    0x5555515555555555u, 0x5555515555555555u, 0x5555555515555555u, 0x5555555515555555u,
    0x5555555555515555u, 0x5555555555515555u, 0xaaaaaaaaa0555515u, 0xaaaaaaaaaaaaaaaau,
    0x1555555555555555u, 0x0000000000155400u, 0x0000000000000000u, 0x0000000000000000u,
    0x0000000000000000u, 0x5555555500000000u, 0x5555555555555555u, 0x0000000005555555u,
    0x5555555555555555u, 0x0555400001555555u, 0x00000000100aaaaau, 0x0000000000000000u,
    0x5555555500000000u, 0x0000000005555555u, 0x5555555555555555u, 0x000aaaaa00555555u,
    0x0000000000000000u, 0x0000000000000000u, 0x5555555500000000u, 0x000aaaaa00555555u,
    0x0000000000000000u, 0x0000000000000000u, 0x5555555500000000u, 0x002aaaa905555555u,
    0x0000000000000000u, 0x0000000000000000u, 0x0000000000000000u, 0x1555555514551555u,
    0x5555555555555555u, 0x5555555555555555u, 0x00000000aaaa8155u, 0x0000000000000000u,
    0x5555555555555555u, 0x5555555555555555u, 0x000aaaaa00400055u, 0x0000000000000000u,
    0x0000000000000000u, 0x0000000000000000u, 0x0000000000000000u, 0xaaaaaaa800000000u,
    0xaaaaaaaaaaaaaaaau, 0x000002a8a8aaaaaau, 0x0000000000000000u, 0x0000000000000000u,
    0xaaaaaaaaaaaaaaa8u, 0x0aaaaaaa8aaaaaaau, 0x0000000000000000u, 0x0000000000000000u,
    0x5555555555555455u, 0x0044551555544114u, 0x4444411454444010u, 0x1154551555154114u,
    0x0055555555455555u, 0x0055555555455454u, 0x0000000000000000u, 0x0000000000000000u,
    0x0000000002aaaaaau, 0x0000000000000000u, 0x0000000000000000u, 0x0000000000000000u,
    0x5555555555555555u, 0x5555555555555555u, 0x5555555555555555u, 0x0000000000000000u,
    0x5555555555555555u, 0x0005555555555555u, 0x5555555555555555u, 0x5555555555555555u,
    0x0555555555555555u, 0x5555555555555555u, 0x5555555555555555u, 0x5555555555555555u,
    0x5555555555555555u, 0x5555555500000005u, 0x5555555555555555u, 0x5555555555555555u,
    0x5555555555555555u, 0x5555555555555555u, 0x5555555555555555u, 0x5555555500000001u,
    0x5555555555555555u, 0x5555555555555555u, 0x0555555555555555u, 0x0000000000000000u,
    0x0555555555555555u, 0x0000000000000000u, 0x0000000000000000u, 0x0000000000000000u,
    0x5555555555555555u, 0x5555555555555555u, 0x5555555500155555u, 0x5555555555555555u,
    0x5555555555555555u, 0x0000000055555555u, 0x0000000000000000u, 0x0000000000000000u,
};
/// The ranges of general category P, ascending: begin, one past the end, begin, ...
inline constexpr std::array<std::uint32_t, 396> punctuation{
    0x21, 0x24, 0x25, 0x2b, 0x2c, 0x30, 0x3a, 0x3c, 0x3f, 0x41, 0x5b, 0x5e, 0x5f, 0x60,
    0x7b, 0x7c, 0x7d, 0x7e, 0xa1, 0xa2, 0xa7, 0xa8, 0xab, 0xac, 0xb6, 0xb8, 0xbb, 0xbc,
    0xbf, 0xc0, 0x37e, 0x37f, 0x387, 0x388, 0x55a, 0x560, 0x589, 0x58b, 0x5be, 0x5bf, 0x5c0, 0x5c1,
    0x5c3, 0x5c4, 0x5c6, 0x5c7, 0x5f3, 0x5f5, 0x609, 0x60b, 0x60c, 0x60e, 0x61b, 0x61c, 0x61d, 0x620,
    0x66a, 0x66e, 0x6d4, 0x6d5, 0x700, 0x70e, 0x7f7, 0x7fa, 0x830, 0x83f, 0x85e, 0x85f, 0x964, 0x966,
    0x970, 0x971, 0x9fd, 0x9fe, 0xa76, 0xa77, 0xaf0, 0xaf1, 0xc77, 0xc78, 0xc84, 0xc85, 0xdf4, 0xdf5,
    0xe4f, 0xe50, 0xe5a, 0xe5c, 0xf04, 0xf13, 0xf14, 0xf15, 0xf3a, 0xf3e, 0xf85, 0xf86, 0xfd0, 0xfd5,
    0xfd9, 0xfdb, 0x104a, 0x1050, 0x10fb, 0x10fc, 0x1360, 0x1369, 0x1400, 0x1401, 0x166e, 0x166f, 0x169b, 0x169d,
    0x16eb, 0x16ee, 0x1735, 0x1737, 0x17d4, 0x17d7, 0x17d8, 0x17db, 0x1800, 0x180b, 0x1944, 0x1946, 0x1a1e, 0x1a20,
    0x1aa0, 0x1aa7, 0x1aa8, 0x1aae, 0x1b4e, 0x1b50, 0x1b5a, 0x1b61, 0x1b7d, 0x1b80, 0x1bfc, 0x1c00, 0x1c3b, 0x1c40,
    0x1c7e, 0x1c80, 0x1cc0, 0x1cc8, 0x1cd3, 0x1cd4, 0x2010, 0x2028, 0x2030, 0x2044, 0x2045, 0x2052, 0x2053, 0x205f,
    0x207d, 0x207f, 0x208d, 0x208f, 0x2308, 0x230c, 0x2329, 0x232b, 0x2768, 0x2776, 0x27c5, 0x27c7, 0x27e6, 0x27f0,
    0x2983, 0x2999, 0x29d8, 0x29dc, 0x29fc, 0x29fe, 0x2cf9, 0x2cfd, 0x2cfe, 0x2d00, 0x2d70, 0x2d71, 0x2e00, 0x2e2f,
    0x2e30, 0x2e50, 0x2e52, 0x2e5e, 0x3001, 0x3004, 0x3008, 0x3012, 0x3014, 0x3020, 0x3030, 0x3031, 0x303d, 0x303e,
    0x30a0, 0x30a1, 0x30fb, 0x30fc, 0xa4fe, 0xa500, 0xa60d, 0xa610, 0xa673, 0xa674, 0xa67e, 0xa67f, 0xa6f2, 0xa6f8,
    0xa874, 0xa878, 0xa8ce, 0xa8d0, 0xa8f8, 0xa8fb, 0xa8fc, 0xa8fd, 0xa92e, 0xa930, 0xa95f, 0xa960, 0xa9c1, 0xa9ce,
    0xa9de, 0xa9e0, 0xaa5c, 0xaa60, 0xaade, 0xaae0, 0xaaf0, 0xaaf2, 0xabeb, 0xabec, 0xfd3e, 0xfd40, 0xfe10, 0xfe1a,
    0xfe30, 0xfe53, 0xfe54, 0xfe62, 0xfe63, 0xfe64, 0xfe68, 0xfe69, 0xfe6a, 0xfe6c, 0xff01, 0xff04, 0xff05, 0xff0b,
    0xff0c, 0xff10, 0xff1a, 0xff1c, 0xff1f, 0xff21, 0xff3b, 0xff3e, 0xff3f, 0xff40, 0xff5b, 0xff5c, 0xff5d, 0xff5e,
    0xff5f, 0xff66, 0x10100, 0x10103, 0x1039f, 0x103a0, 0x103d0, 0x103d1, 0x1056f, 0x10570, 0x10857, 0x10858, 0x1091f, 0x10920,
    0x1093f, 0x10940, 0x10a50, 0x10a59, 0x10a7f, 0x10a80, 0x10af0, 0x10af7, 0x10b39, 0x10b40, 0x10b99, 0x10b9d, 0x10d6e, 0x10d6f,
    0x10ead, 0x10eae, 0x10f55, 0x10f5a, 0x10f86, 0x10f8a, 0x11047, 0x1104e, 0x110bb, 0x110bd, 0x110be, 0x110c2, 0x11140, 0x11144,
    0x11174, 0x11176, 0x111c5, 0x111c9, 0x111cd, 0x111ce, 0x111db, 0x111dc, 0x111dd, 0x111e0, 0x11238, 0x1123e, 0x112a9, 0x112aa,
    0x113d4, 0x113d6, 0x113d7, 0x113d9, 0x1144b, 0x11450, 0x1145a, 0x1145c, 0x1145d, 0x1145e, 0x114c6, 0x114c7, 0x115c1, 0x115d8,
    0x11641, 0x11644, 0x11660, 0x1166d, 0x116b9, 0x116ba, 0x1173c, 0x1173f, 0x1183b, 0x1183c, 0x11944, 0x11947, 0x119e2, 0x119e3,
    0x11a3f, 0x11a47, 0x11a9a, 0x11a9d, 0x11a9e, 0x11aa3, 0x11b00, 0x11b0a, 0x11be1, 0x11be2, 0x11c41, 0x11c46, 0x11c70, 0x11c72,
    0x11ef7, 0x11ef9, 0x11f43, 0x11f50, 0x11fff, 0x12000, 0x12470, 0x12475, 0x12ff1, 0x12ff3, 0x16a6e, 0x16a70, 0x16af5, 0x16af6,
    0x16b37, 0x16b3c, 0x16b44, 0x16b45, 0x16d6d, 0x16d70, 0x16e97, 0x16e9b, 0x16fe2, 0x16fe3, 0x1bc9f, 0x1bca0, 0x1da87, 0x1da8c,
    0x1e5ff, 0x1e600, 0x1e95e, 0x1e960,
};
// clang-format on
} // namespace unicode_tables

/// The class of a code point by Unicode 16.0; char_class::other beyond U+10FFFF. Cost: two table reads.
/// Proven by tests/text/unicode_classes_test.cpp, and in context for
/// every scalar value by tests/text/tokenizer_test.cpp.
[[nodiscard]] constexpr char_class class_of(char32_t code_point) noexcept {
    if (code_point >= unicode_tables::limit) {
        return char_class::other;
    }
    const std::size_t block = unicode_tables::index[code_point >> 7];
    const std::uint64_t word = unicode_tables::blocks[4 * block + ((code_point >> 5) & 3u)];
    return static_cast<char_class>((word >> (2 * (code_point & 31u))) & 3u);
}

/// Whether a code point is punctuation, \p{P}, by Unicode 16.0: char_class::other is the rest of it. Cost: a binary
/// search of 9 steps. (Signs such as $ + < = > ^ ` | ~ are symbols, not punctuation.)
[[nodiscard]] constexpr bool is_punctuation(char32_t code_point) noexcept {
    const auto& ends = unicode_tables::punctuation;
    const auto after = std::upper_bound(ends.begin(), ends.end(), static_cast<std::uint32_t>(code_point));
    return (after - ends.begin()) % 2 != 0;
}

} // namespace bitnet::inline BITNET_ABI

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// Cuts the text that it was made from into pieces, front to back: next() gives them one by one, and an empty one only
/// at the end. The pieces, in order, are the text, which must outlive it.
template <class S>
concept splitter = std::constructible_from<S, std::string_view> && requires(S& s) {
    { s.next() } -> std::same_as<std::string_view>;
};

namespace pre_tokenizing {
/// char_class of the ASCII characters: most text never leaves this table.
inline constexpr std::array<char_class, 128> ascii_classes = [] {
    std::array<char_class, 128> classes{};
    for (std::size_t c = 0; c < classes.size(); ++c) {
        classes[c] = class_of(static_cast<char32_t>(c));
    }
    return classes;
}();

[[nodiscard]] constexpr bool is_line_end(char c) noexcept { return c == '\r' || c == '\n'; }
[[nodiscard]] constexpr bool is_ascii_digit(char c) noexcept { return c >= '0' && c <= '9'; }

struct character {
    char_class kind;
    std::uint32_t size; ///< bytes; 0 at the end of the text
};

/// The character of `text` that starts at `i`. A byte that is not UTF-8 is a character of no class.
[[nodiscard]] constexpr character character_at(std::string_view text, std::size_t i) noexcept {
    if (i >= text.size()) {
        return {char_class::other, 0};
    }
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < 0x80) {
        return {ascii_classes[byte], 1};
    }
    const decoded_code_point decoded = first_code_point(text.substr(i));
    return {class_of(decoded.value), decoded.size};
}

/// Where the run of characters of class `kind` that starts at `i` ends; at most `most` of them.
[[nodiscard]] constexpr std::size_t run_end(std::string_view text, std::size_t i, char_class kind,
                                            std::size_t most = SIZE_MAX) noexcept {
    for (std::size_t n = 0; n < most; ++n) {
        const character c = character_at(text, i);
        if (c.size == 0 || c.kind != kind) {
            break;
        }
        i += c.size;
    }
    return i;
}

/// Where the run of characters that `in(code point)` holds for, from `i` on, ends.
template <class In> [[nodiscard]] constexpr std::size_t run_end(std::string_view text, std::size_t i, In in) noexcept {
    while (i < text.size()) {
        const decoded_code_point c = first_code_point(text.substr(i));
        if (!in(c.value)) {
            break;
        }
        i += c.size;
    }
    return i;
}

/// `\s+(?!\S) | \s+`: all of the white space at the end of the text; else all but the last character, which is left to
/// the next piece; else that one character. With LineEnds `\s*[\r\n]+` comes first: up to the last line end.
template <bool LineEnds>
[[nodiscard]] constexpr std::size_t white_space_end(std::string_view text, std::size_t begin) noexcept {
    std::size_t end = begin;
    std::size_t last = begin;
    std::size_t after_line_end = begin;
    for (character c = character_at(text, end); c.size != 0 && c.kind == char_class::space;
         c = character_at(text, end)) {
        last = end;
        end += c.size;
        if (LineEnds && is_line_end(text[last])) {
            after_line_end = end;
        }
    }
    if (after_line_end != begin) {
        return after_line_end;
    }
    return end == text.size() || last == begin ? end : last;
}
} // namespace pre_tokenizing

/// Cuts text into matches of a pattern that takes at least one character wherever it starts: Pattern::end(text, i) is
/// where the match that starts at i ends.
template <class Pattern> class consecutive_splitter {
public:
    explicit constexpr consecutive_splitter(std::string_view text) noexcept : text_(text) {}

    [[nodiscard]] constexpr std::string_view next() noexcept {
        if (position_ == text_.size()) {
            return {};
        }
        const std::size_t begin = std::exchange(position_, Pattern::end(text_, position_));
        return text_.substr(begin, position_ - begin);
    }

private:
    std::string_view text_;
    std::size_t position_ = 0;
};

/// Cuts text so that every match of a pattern is a piece of its own, and what lies between two matches another.
/// Pattern::end(text, i) is where the match that starts at i ends; i where none does. Cost: linear if end() takes
/// constant time where it finds nothing.
template <class Pattern> class isolating_splitter {
public:
    explicit constexpr isolating_splitter(std::string_view text) noexcept : text_(text) {}

    [[nodiscard]] constexpr std::string_view next() noexcept {
        if (match_size_ == 0) {
            std::size_t end = position_;
            while (end < text_.size() && (match_size_ = Pattern::end(text_, end) - end) == 0) {
                end += pre_tokenizing::character_at(text_, end).size;
            }
            if (end != position_) {
                return take(end - position_);
            }
        }
        return take(std::exchange(match_size_, std::size_t{0}));
    }

private:
    constexpr std::string_view take(std::size_t size) noexcept {
        const std::size_t begin = std::exchange(position_, position_ + size);
        return text_.substr(begin, size);
    }

    std::string_view text_;
    std::size_t position_ = 0;
    std::size_t match_size_ = 0; ///< of the match that the next piece is; 0 where none is known
};

/// Cuts each piece of `Outer` with `Inner`, which sees nothing beyond that piece.
template <splitter Outer, splitter Inner> class nested_splitter {
public:
    explicit constexpr nested_splitter(std::string_view text) noexcept : outer_(text) {}

    [[nodiscard]] constexpr std::string_view next() noexcept {
        std::string_view piece = inner_.next();
        if (piece.empty()) {
            inner_ = Inner(outer_.next());
            piece = inner_.next();
        }
        return piece;
    }

private:
    Outer outer_;
    Inner inner_{std::string_view{}};
};

} // namespace bitnet::inline BITNET_ABI

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// Cuts text as LLaMA-3 does, with numbers of up to `Digits` characters. Borrows the text.
///
/// The pattern, first alternative first, each greedy, classes by Unicode 16.0:
///
///     (?i:'s|'t|'re|'ve|'m|'ll|'d) | [^\r\n\p{L}\p{N}]?\p{L}+ | \p{N}{1,Digits} | ' '?[^\s\p{L}\p{N}]+[\r\n]*
///     | \s*[\r\n]+ | \s+(?!\S) | \s+
///
/// Case folding makes U+017F (long s) an s. A byte that is not UTF-8 is a character of no class.
/// Cost: linear, every byte is looked at no more than four times; allocates nothing.
/// Proven for LLaMA-3 by the golden files in tests/text/tokenizer_test.cpp, among them every scalar value in context.
template <std::size_t Digits> class word_pattern {
public:
    /// Where the piece that starts at `begin` ends. \pre begin < text.size()
    [[nodiscard]] static constexpr std::size_t end(std::string_view text, std::size_t begin) noexcept {
        const auto run_end = [text](std::size_t i, char_class kind, std::size_t most = SIZE_MAX) noexcept {
            return pre_tokenizing::run_end(text, i, kind, most);
        };
        if (text[begin] == '\'') {
            if (const std::size_t size = contraction_size(text.substr(begin + 1))) {
                return begin + 1 + size;
            }
        }
        const pre_tokenizing::character first = pre_tokenizing::character_at(text, begin);
        const std::size_t second = begin + first.size;
        if (first.kind == char_class::letter) {
            return run_end(second, char_class::letter);
        }
        if (first.kind == char_class::number) {
            return run_end(second, char_class::number, Digits - 1);
        }
        if (!pre_tokenizing::is_line_end(text[begin])) {
            if (const std::size_t end = run_end(second, char_class::letter); end != second) {
                return end;
            }
        }
        const std::size_t symbols = text[begin] == ' ' ? second : begin;
        if (const std::size_t end = run_end(symbols, char_class::other); end != symbols) {
            return line_ends_end(text, end);
        }
        return pre_tokenizing::white_space_end<true>(text, begin);
    }

private:
    /// Bytes after the apostrophe that belong to an English contraction; 0 if it is none.
    [[nodiscard]] static constexpr std::size_t contraction_size(std::string_view rest) noexcept {
        const auto lower = [rest](std::size_t i) { return i < rest.size() ? rest[i] | 0x20 : 0; };
        const int first = lower(0);
        if (first == 's' || first == 't' || first == 'm' || first == 'd') {
            return 1;
        }
        const int second = lower(1);
        const bool two = ((first == 'r' || first == 'v') && second == 'e') || (first == 'l' && second == 'l');
        return two || rest.starts_with("\xc5\xbf") ? 2 : 0;
    }

    [[nodiscard]] static constexpr std::size_t line_ends_end(std::string_view text, std::size_t i) noexcept {
        while (i < text.size() && pre_tokenizing::is_line_end(text[i])) {
            ++i;
        }
        return i;
    }
};

using llama3_splitter = consecutive_splitter<word_pattern<3>>;
using qwen2_splitter = consecutive_splitter<word_pattern<1>>;

/// Cuts text as GPT-2 does (Radford et al. 2019):
///
///     's|'t|'re|'ve|'m|'ll|'d | ' '?\p{L}+ | ' '?\p{N}+ | ' '?[^\s\p{L}\p{N}]+ | \s+(?!\S) | \s+
///
/// Cost: linear, allocates nothing.
struct gpt2_pattern {
    [[nodiscard]] static constexpr std::size_t end(std::string_view text, std::size_t begin) noexcept {
        if (text[begin] == '\'') {
            for (const std::string_view ending : {"s", "t", "re", "ve", "m", "ll", "d"}) {
                if (text.substr(begin + 1).starts_with(ending)) {
                    return begin + 1 + ending.size();
                }
            }
        }
        const std::size_t word = text[begin] == ' ' ? begin + 1 : begin;
        const pre_tokenizing::character first = pre_tokenizing::character_at(text, word);
        if (first.size == 0 || first.kind == char_class::space) {
            return pre_tokenizing::white_space_end<false>(text, begin);
        }
        return pre_tokenizing::run_end(text, word + first.size, first.kind);
    }
};
using gpt2_splitter = consecutive_splitter<gpt2_pattern>;

/// What stands alone in the splitters below; see isolating_splitter.
namespace patterns {
/// `[\p{P}...]+`, with the characters of `Symbols` besides.
template <char... Symbols> struct punctuation {
    [[nodiscard]] static constexpr std::size_t end(std::string_view text, std::size_t i) noexcept {
        return pre_tokenizing::run_end(
            text, i, [](char32_t c) { return ((c == static_cast<char32_t>(Symbols)) || ...) || is_punctuation(c); });
    }
};
/// `\p{N}{1,Most}`
template <std::size_t Most> struct numbers {
    [[nodiscard]] static constexpr std::size_t end(std::string_view text, std::size_t i) noexcept {
        return pre_tokenizing::run_end(text, i, char_class::number, Most);
    }
};
/// `[0-9][0-9][0-9]`
struct three_digits {
    [[nodiscard]] static constexpr std::size_t end(std::string_view text, std::size_t i) noexcept {
        const bool three = text.size() - i >= 3 && pre_tokenizing::is_ascii_digit(text[i]) &&
                           pre_tokenizing::is_ascii_digit(text[i + 1]) && pre_tokenizing::is_ascii_digit(text[i + 2]);
        return three ? i + 3 : i;
    }
};
/// `[\r\n]`
struct line_end {
    [[nodiscard]] static constexpr std::size_t end(std::string_view text, std::size_t i) noexcept {
        return pre_tokenizing::is_line_end(text[i]) ? i + 1 : i;
    }
};
/// `\s?`, then at least one character that `Pattern` takes
template <class Pattern> struct spaced {
    [[nodiscard]] static constexpr std::size_t end(std::string_view text, std::size_t i) noexcept {
        const pre_tokenizing::character first = pre_tokenizing::character_at(text, i);
        const std::size_t begin = first.kind == char_class::space ? i + first.size : i;
        const std::size_t end = begin < text.size() ? Pattern::end(text, begin) : begin;
        return end != begin ? end : i;
    }
};
/// `\p{L}+`
struct letters {
    [[nodiscard]] static constexpr std::size_t end(std::string_view text, std::size_t i) noexcept {
        return pre_tokenizing::run_end(text, i, char_class::letter);
    }
};
/// DeepSeek's range of ideographs and other scripts of three bytes a character
struct ideographs {
    [[nodiscard]] static constexpr std::size_t end(std::string_view text, std::size_t i) noexcept {
        return pre_tokenizing::run_end(
            text, i, [](char32_t c) { return (c >= 0x800 && c <= 0x9fa5) || (c >= 0xac00 && c <= 0xd7ff); });
    }
};
} // namespace patterns

/// `Splitter`, then each piece cut again so that every match of `Pattern` stands alone.
template <splitter Splitter, class Pattern> using then_isolate = nested_splitter<Splitter, isolating_splitter<Pattern>>;

/// Starcoder: every number character alone, the rest as GPT-2.
using starcoder_splitter = nested_splitter<isolating_splitter<patterns::numbers<1>>, gpt2_splitter>;

/// Falcon: punctuation and ASCII symbols, the rest as GPT-2, in which groups of three digits stand alone.
using falcon_splitter =
    then_isolate<nested_splitter<isolating_splitter<patterns::punctuation<'$', '+', '<', '=', '>', '^', '~', '|', '`'>>,
                                 gpt2_splitter>,
                 patterns::three_digits>;

/// What llama.cpp uses where a file names no splitter, or "default".
using default_splitter = then_isolate<
    then_isolate<nested_splitter<isolating_splitter<patterns::punctuation<'$', '+', '<', '=', '>', '^', '~', '|'>>,
                                 gpt2_splitter>,
                 patterns::numbers<SIZE_MAX>>,
    patterns::three_digits>;

/// DeepSeek-Coder: line ends, words, punctuation, ideographs and number characters, each in a step of its own.
using deepseek_coder_splitter = then_isolate<
    then_isolate<then_isolate<then_isolate<isolating_splitter<patterns::line_end>, patterns::spaced<patterns::letters>>,
                              patterns::spaced<patterns::punctuation<>>>,
                 patterns::ideographs>,
    patterns::numbers<1>>;

enum class pre_tokenizer_kind : std::uint8_t { llama3, qwen2, gpt2, starcoder, falcon, fallback, deepseek_coder };

/// Calls `use(s)` with the splitter of that kind over `text`.
template <class Use> decltype(auto) with_splitter(pre_tokenizer_kind kind, std::string_view text, Use use) {
    switch (kind) {
    case pre_tokenizer_kind::qwen2:
        return use(qwen2_splitter(text));
    case pre_tokenizer_kind::gpt2:
        return use(gpt2_splitter(text));
    case pre_tokenizer_kind::starcoder:
        return use(starcoder_splitter(text));
    case pre_tokenizer_kind::falcon:
        return use(falcon_splitter(text));
    case pre_tokenizer_kind::fallback:
        return use(default_splitter(text));
    case pre_tokenizer_kind::deepseek_coder:
        return use(deepseek_coder_splitter(text));
    default:
        return use(llama3_splitter(text));
    }
}

/// What a name in tokenizer.ggml.pre asks for.
struct pre_tokenizer_name {
    std::string_view name;
    pre_tokenizer_kind kind;
    bool whole_pieces = false; ///< a piece that is a token as it stands is not merged at all ("ignore_merges")
};

/// The known names, with what llama.cpp understands by them. falcon3 and falcon_e (of bitnet.cpp's converter) are
/// LLaMA-3's pattern there and in ik_llama.cpp; bitnet.cpp itself uses Falcon's steps with single digits for them.
inline constexpr std::array<pre_tokenizer_name, 19> pre_tokenizer_names{{
    {"llama-bpe", pre_tokenizer_kind::llama3, true},
    {"llama3", pre_tokenizer_kind::llama3, true},
    {"llama-v3", pre_tokenizer_kind::llama3, true},
    {"falcon3", pre_tokenizer_kind::llama3, true},
    {"falcon_e", pre_tokenizer_kind::llama3, true},
    {"falcon-h1", pre_tokenizer_kind::llama3, true},
    {"smaug-bpe", pre_tokenizer_kind::llama3},
    {"qwen2", pre_tokenizer_kind::qwen2},
    {"deepseek-r1-qwen", pre_tokenizer_kind::qwen2},
    {"gpt-2", pre_tokenizer_kind::gpt2},
    {"phi-2", pre_tokenizer_kind::gpt2},
    {"mpt", pre_tokenizer_kind::gpt2},
    {"olmo", pre_tokenizer_kind::gpt2},
    {"starcoder", pre_tokenizer_kind::starcoder},
    {"refact", pre_tokenizer_kind::starcoder},
    {"smollm", pre_tokenizer_kind::starcoder},
    {"falcon", pre_tokenizer_kind::falcon},
    {"default", pre_tokenizer_kind::fallback},
    {"deepseek-coder", pre_tokenizer_kind::deepseek_coder},
}};

/// What `name` asks for; null where it is not known.
[[nodiscard]] constexpr const pre_tokenizer_name* find_pre_tokenizer(std::string_view name) noexcept {
    for (const pre_tokenizer_name& known : pre_tokenizer_names) {
        if (known.name == name) {
            return &known;
        }
    }
    return nullptr;
}

} // namespace bitnet::inline BITNET_ABI

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// One step, or a sequence of steps, of a tokenizer.json as a line of text; empty for null. All that changes what a
/// step does is in the line, so that equal lines are equal steps: "Split Isolated REGEX; ByteLevel".
class step_description {
public:
    [[nodiscard]] static std::string of(std::optional<json_value> step, std::string_view list) {
        std::string line;
        if (!step || step->is_null()) {
            return line;
        }
        const std::string_view type = text_of(step->find("type"));
        const auto steps = step->find(list);
        if (type != "Sequence" || !steps) {
            return describe(*step, type);
        }
        for (const json_value one : steps->elements()) {
            line.append(line.empty() ? "" : "; ").append(describe(one, text_of(one.find("type"))));
        }
        return line;
    }

private:
    [[nodiscard]] static std::string_view text_of(const std::optional<json_value>& value) noexcept {
        return value ? value->as_string().value_or("?") : std::string_view{};
    }

    [[nodiscard]] static std::string describe(json_value step, std::string_view type) {
        std::string line(type);
        for (const std::string_view key : {"behavior", "prepend_scheme", "prepend", "replacement"}) {
            if (const auto value = step.find(key)) {
                line.append(" ").append(text_of(value));
            }
        }
        // What a missing flag means: Metaspace splits, ByteLevel prefixes a space and uses its pattern.
        describe_flag(line, step, "individual_digits", false);
        describe_flag(line, step, "invert", false);
        describe_flag(line, step, "add_prefix_space", type == "ByteLevel");
        describe_flag(line, step, "use_regex", type == "ByteLevel");
        describe_flag(line, step, "split", type == "Metaspace");
        if (const auto pattern = step.find("pattern")) {
            const auto regex = pattern->find("Regex");
            line.append(" ").append(regex ? text_of(regex) : "'" + std::string(text_of(pattern->find("String"))) + "'");
        }
        if (const auto content = step.find("content")) {
            line.append(" -> ").append(text_of(content));
        }
        return line;
    }

    static void describe_flag(std::string& line, json_value step, std::string_view key, bool missing) {
        const auto value = step.find(key);
        if (value ? value->as_bool().value_or(true) : missing) {
            line.append(" ").append(key);
        }
    }
};

[[nodiscard]] inline std::string describe_normalizer(std::optional<json_value> step) {
    return step_description::of(step, "normalizers");
}
[[nodiscard]] inline std::string describe_pre_tokenizer(std::optional<json_value> step) {
    return step_description::of(step, "pretokenizers");
}

/// What has to hold for the tokens where a splitter leaves out a file's step Digits: no token spans what it cuts.
enum class digit_tokens : std::uint8_t {
    any,    ///< no such step
    apart,  ///< Digits: no token joins a number with anything else
    single, ///< Digits individual_digits: no token joins a digit with anything, not even a digit
};

/// Whether a token, in the byte alphabet, is as `rule` asks. Digits looks at characters of that alphabet, in which also
/// six bytes that are no ASCII are spelled as numbers.
[[nodiscard]] inline bool keeps_digits_apart(std::string_view text, digit_tokens rule) noexcept {
    std::size_t digits = 0;
    std::size_t others = 0;
    for (std::size_t i = 0; rule != digit_tokens::any && i < text.size();) {
        const pre_tokenizing::character c = pre_tokenizing::character_at(text, i);
        (c.kind == char_class::number ? digits : others) += 1;
        i += c.size;
    }
    return digits == 0 || (others == 0 && (digits == 1 || rule == digit_tokens::apart));
}

/// Steps of a byte-level model and the splitter that cuts in the same way.
struct known_splitting {
    std::string_view steps; ///< as describe_pre_tokenizer() has them
    pre_tokenizer_kind kind;
    digit_tokens digits = digit_tokens::any;
};

/// As published with LLaMA-3, Qwen2, GPT-2, Starcoder, Falcon and DeepSeek-Coder, and close relatives.
inline constexpr std::array<known_splitting, 10> known_splittings{{
    {R"(Split Isolated (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})"
     R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+; ByteLevel)",
     pre_tokenizer_kind::llama3},
    {R"(Split Isolated (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})"
     R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+; ByteLevel)",
     pre_tokenizer_kind::qwen2},
    {"ByteLevel use_regex", pre_tokenizer_kind::gpt2},
    {R"(Split Isolated 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+; ByteLevel)",
     pre_tokenizer_kind::gpt2},
    {"Digits individual_digits; ByteLevel use_regex", pre_tokenizer_kind::starcoder},
    {"Punctuation Contiguous; ByteLevel use_regex; Split Isolated [0-9][0-9][0-9]", pre_tokenizer_kind::falcon},
    {"Punctuation Contiguous; ByteLevel use_regex; Digits; Split Isolated [0-9][0-9][0-9]", pre_tokenizer_kind::falcon,
     digit_tokens::apart},
    {"Punctuation Contiguous; ByteLevel use_regex; Digits individual_digits; Split Isolated [0-9][0-9][0-9]",
     pre_tokenizer_kind::falcon, digit_tokens::single},
    {"Punctuation Contiguous; ByteLevel use_regex; Digits individual_digits", pre_tokenizer_kind::falcon,
     digit_tokens::single},
    {"Split Isolated [\r\n]; Split Isolated \\s?\\p{L}+; Split Isolated \\s?\\p{P}+; Split Isolated "
     "[\xe4\xb8\x80-\xe9\xbe\xa5\xe0\xa0\x80-\xe4\xb8\x80\xea\xb0\x80-\xed\x9f\xbf]+; Digits individual_digits; "
     "ByteLevel",
     pre_tokenizer_kind::deepseek_coder},
}};

/// Null where the steps are not known.
[[nodiscard]] inline const known_splitting* find_splitting(std::string_view steps) noexcept {
    for (const known_splitting& known : known_splittings) {
        if (known.steps == steps) {
            return &known;
        }
    }
    return nullptr;
}

/// The first name under which GGUF files ask for that splitter; empty where none does with `whole_pieces`.
[[nodiscard]] inline std::string_view name_of_splitter(pre_tokenizer_kind kind, bool whole_pieces) noexcept {
    for (const pre_tokenizer_name& known : pre_tokenizer_names) {
        if (known.kind == kind && known.whole_pieces == whole_pieces) {
            return known.name;
        }
    }
    return {};
}

/// Whether a model with byte_fallback puts a space in front of text; nothing where its steps are not SentencePiece's.
/// (Metaspace "first" puts one in front of all text, but none behind a control token; that is not told apart.)
[[nodiscard]] inline std::optional<bool> find_space_prefix(std::string_view normalizer,
                                                           std::string_view splitting) noexcept {
    struct known {
        std::string_view normalizer;
        std::string_view splitting;
        bool prefix;
    };
    // LLaMA-2 as first published, after it was converted again (twice), and Gemma (twice).
    constexpr std::array<known, 6> all{{{"Prepend \xe2\x96\x81; Replace ' ' -> \xe2\x96\x81", "", true},
                                        {"", "Metaspace first \xe2\x96\x81", true},
                                        {"", "Metaspace always \xe2\x96\x81", true},
                                        {"", "Metaspace never \xe2\x96\x81", false},
                                        {"Replace ' ' -> \xe2\x96\x81", "", false},
                                        {"Replace ' ' -> \xe2\x96\x81", "Split MergedWithPrevious ' '", false}}};
    for (const known& k : all) {
        if (k.normalizer == normalizer && k.splitting == splitting) {
            return k.prefix;
        }
    }
    return std::nullopt;
}

/// The array `single` of TemplateProcessing, wherever it stands in a post_processor; nothing where there is none.
[[nodiscard]] inline std::optional<json_value> find_template(std::optional<json_value> step) noexcept {
    const auto is_template = [](json_value one) {
        const auto type = one.find("type");
        return type && type->as_string() == "TemplateProcessing";
    };
    if (step && is_template(*step)) {
        return step->find("single");
    }
    const auto steps = step ? step->find("processors") : std::nullopt;
    if (steps) {
        for (const json_value one : steps->elements()) {
            if (is_template(one)) {
                return one.find("single");
            }
        }
    }
    return std::nullopt;
}

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/text/vocabulary.hpp ----
// vocabulary: the tokens of a model, their bytes and their kinds, read strictly from a GGUF file.

// ---- bitnet/text/byte_alphabet.hpp ----
// The byte alphabet of GPT-2: how vocabulary files spell arbitrary bytes as printable characters.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// 256 characters, one per byte. Printable characters of Latin-1 (21-7E, A1-AC, AE-FF) stand for their own number; the
/// other 68 bytes, ascending, are U+0100 to U+0143. Source: Radford et al. 2019, the encoder published with GPT-2.
namespace byte_alphabet {
inline constexpr std::size_t size = 0x144; ///< one past the largest character

[[nodiscard]] constexpr bool stands_for_itself(unsigned byte) noexcept {
    return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad);
}

/// The byte of each character below `size`; -1 where the character is not in the alphabet.
inline constexpr std::array<std::int16_t, size> bytes = [] {
    std::array<std::int16_t, size> table{};
    table.fill(-1);
    std::size_t next = 0x100;
    for (unsigned byte = 0; byte < 256; ++byte) {
        table[stands_for_itself(byte) ? byte : next++] = static_cast<std::int16_t>(byte);
    }
    return table;
}();

/// Writes the bytes that `spelling` stands for to `out`, which has room for spelling.size() bytes.
/// \return how many; nothing where a character is not in the alphabet or not UTF-8.
[[nodiscard]] inline std::optional<std::size_t> decode(std::string_view spelling, char* out) noexcept {
    std::size_t written = 0;
    for (std::size_t i = 0; i < spelling.size(); ++i) {
        std::size_t character = static_cast<unsigned char>(spelling[i]);
        if (character >= 0x80) { // the alphabet ends at U+0143: two bytes are the most
            const unsigned next = i + 1 < spelling.size() ? static_cast<unsigned char>(spelling[i + 1]) : 0;
            if (character < 0xc2 || character > 0xc5 || (next & 0xc0u) != 0x80) {
                return std::nullopt;
            }
            character = ((character & 0x1f) << 6) | (next & 0x3fu);
            ++i;
        }
        if (character >= size || bytes[character] < 0) {
            return std::nullopt;
        }
        out[written++] = static_cast<char>(static_cast<unsigned char>(bytes[character]));
    }
    return written;
}
} // namespace byte_alphabet

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/text/token_index.hpp ----
// token_store and token_index: the bytes of every token, and the token of given bytes.

#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// The bytes of tokens 0, 1, 2, ... one after another in one block of memory that it owns.
class token_store {
public:
    /// Room for `count` tokens of `bytes` bytes in total.
    /// \return errc::out_of_memory with the bytes asked for.
    [[nodiscard]] static result<token_store> allocate(std::uint64_t count, std::uint64_t bytes) {
        token_store made;
        auto ends = buffer<std::uint32_t>::allocate(count + 1, "token offsets");
        if (!ends) {
            return std::move(ends).error();
        }
        auto text = buffer<char>::allocate(bytes, "token bytes");
        if (!text) {
            return std::move(text).error();
        }
        made.ends_ = *std::move(ends);
        made.bytes_ = *std::move(text);
        return made;
    }

    /// Where the next token's bytes go. They are not part of the store before append().
    [[nodiscard]] char* free_space() noexcept { return bytes_.data() + ends_[count_]; }

    /// Makes the first `size` bytes of free_space() the next token. \pre they fit what was allocated
    void append(std::size_t size) noexcept {
        assert(count_ + 1 < ends_.size() && size <= bytes_.size() - ends_[count_]);
        ends_[count_ + 1] = ends_[count_] + static_cast<std::uint32_t>(size);
        ++count_;
    }

    [[nodiscard]] std::size_t size() const noexcept { return count_; }

    /// \pre 0 <= id < size()
    [[nodiscard]] std::string_view operator[](token id) const noexcept {
        const auto i = static_cast<std::size_t>(id);
        assert(i < count_);
        return {bytes_.data() + ends_[i], ends_[i + 1] - ends_[i]};
    }

private:
    buffer<std::uint32_t> ends_; ///< ends_[i + 1] is where token i ends
    buffer<char> bytes_;
    std::size_t count_ = 0;
};

/// Tables below give up when a key is this far from its place. Half full, with honest keys, the farthest of a million
/// is below 100; only a file made to collide comes here, and would otherwise make loading quadratic.
inline constexpr std::size_t longest_probe = 1024;

/// 64 well mixed bits of a short string, eight bytes at a time.
[[nodiscard]] inline std::uint64_t hash_bytes(std::string_view bytes) noexcept {
    constexpr std::uint64_t odd = 0x9e3779b97f4a7c15u; // 2^64 divided by the golden ratio
    const auto mix = [](std::uint64_t h) { return (h ^ (h >> 32)) * odd; };
    std::uint64_t hash = bytes.size() * odd;
    const char* at = bytes.data();
    std::size_t left = bytes.size();
    std::uint64_t word = 0;
    for (; left >= 8; at += 8, left -= 8) {
        std::memcpy(&word, at, 8);
        hash = mix(hash ^ word);
    }
    word = 0;
    if (left >= 4) { // two halves that may overlap: no byte loop
        std::uint32_t low = 0;
        std::uint32_t high = 0;
        std::memcpy(&low, at, 4);
        std::memcpy(&high, at + left - 4, 4);
        word = low | (std::uint64_t{high} << 32);
    } else if (left != 0) {
        const auto byte = [at](std::size_t i) { return std::uint64_t{static_cast<unsigned char>(at[i])}; };
        word = byte(0) | (byte(left / 2) << 8) | (byte(left - 1) << 16);
    }
    hash = mix(hash ^ word);
    return hash ^ (hash >> 29);
}

/// The token of given bytes: a flat hash table, at most half full, linear probing. Holds ids; the bytes stay in the
/// token_store, which is passed in so that both can be moved freely.
class token_index {
public:
    /// \return errc::out_of_memory with the bytes asked for.
    [[nodiscard]] static result<token_index> allocate(std::uint64_t count) {
        auto slots = buffer<slot>::allocate(std::bit_ceil(2 * count + 2), "token index");
        if (!slots) {
            return std::move(slots).error();
        }
        token_index made;
        made.slots_ = *std::move(slots);
        return made;
    }

    enum class outcome { inserted, duplicate, crowded };

    /// Adds token `id` of `store`. `crowded`: longest_probe was reached.
    [[nodiscard]] outcome insert(const token_store& store, token id) noexcept {
        const std::string_view bytes = store[id];
        const std::uint64_t hash = hash_bytes(bytes);
        const std::size_t mask = slots_.size() - 1;
        for (std::size_t probe = 0; probe < longest_probe; ++probe) {
            slot& s = slots_[(static_cast<std::size_t>(hash >> 32) + probe) & mask];
            if (s.token_plus_one == 0) {
                s = {static_cast<std::uint32_t>(hash), static_cast<std::uint32_t>(id) + 1};
                return outcome::inserted;
            }
            if (holds(s, hash, bytes, store)) {
                return outcome::duplicate;
            }
        }
        return outcome::crowded;
    }

    /// The token with exactly these bytes, or no_token.
    [[nodiscard]] token find(const token_store& store, std::string_view bytes) const noexcept {
        const std::uint64_t hash = hash_bytes(bytes);
        const std::size_t mask = slots_.size() - 1;
        for (std::size_t i = static_cast<std::size_t>(hash >> 32) & mask;; i = (i + 1) & mask) {
            const slot& s = slots_[i];
            if (s.token_plus_one == 0) { // at most half full: every probe ends here
                return no_token;
            }
            if (holds(s, hash, bytes, store)) {
                return static_cast<token>(s.token_plus_one - 1);
            }
        }
    }

private:
    struct slot {
        std::uint32_t tag; ///< low half of the hash; the place comes from the high half
        std::uint32_t token_plus_one;
    };

    [[nodiscard]] static bool holds(const slot& s, std::uint64_t hash, std::string_view bytes,
                                    const token_store& store) noexcept {
        return s.tag == static_cast<std::uint32_t>(hash) && store[static_cast<token>(s.token_plus_one - 1)] == bytes;
    }

    buffer<slot> slots_;
};

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/text/token_matcher.hpp ----
// token_matcher: finds tokens that stand in text as they are spelled, such as <|eot_id|>.

#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>
#include <span>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// One token found in text. `size` 0: there was none up to the end, which is `position`.
struct token_match {
    std::size_t position = 0;
    std::size_t size = 0;
    token id = no_token;
};

/// A set of tokens in the order of their bytes. Leftmost first, the longest where several start at one place.
class token_matcher {
public:
    token_matcher() noexcept = default;

    /// \pre the tokens of `ids` are in strictly ascending order of their bytes, and none of these is empty
    /// \return errc::out_of_memory with the bytes asked for.
    [[nodiscard]] static result<token_matcher> make(const token_store& store, std::span<const token> ids) {
        auto sorted = buffer<token>::allocate(ids.size(), "special tokens");
        if (!sorted) {
            return std::move(sorted).error();
        }
        token_matcher made;
        made.ids_ = *std::move(sorted);
        std::copy(ids.begin(), ids.end(), made.ids_.data());
        for (const token id : ids) {
            assert(!store[id].empty());
            made.starts_[static_cast<unsigned char>(store[id][0])] = true;
        }
        return made;
    }

    [[nodiscard]] bool empty() const noexcept { return ids_.empty(); }

    /// The first of the tokens in `text` from `from` on. Cost: one table read per byte, and for a byte that starts some
    /// token two binary searches per matching byte.
    [[nodiscard]] token_match next(const token_store& store, std::string_view text, std::size_t from) const noexcept {
        for (std::size_t i = from; !ids_.empty() && i < text.size(); ++i) {
            if (!starts_[static_cast<unsigned char>(text[i])]) {
                continue;
            }
            if (const token id = longest_at(store, text.substr(i)); id != no_token) {
                return {i, store[id].size(), id};
            }
        }
        return {text.size(), 0, no_token};
    }

private:
    [[nodiscard]] token longest_at(const token_store& store, std::string_view rest) const noexcept {
        token best = no_token;
        auto candidates = ids_.span(); // those that share their first `depth` bytes with `rest`
        for (std::size_t depth = 0; !candidates.empty(); ++depth) {
            if (store[candidates.front()].size() == depth) { // a prefix of all the others, hence first
                best = candidates.front();
                candidates = candidates.subspan(1);
            }
            if (depth == rest.size()) {
                break;
            }
            const auto wanted = static_cast<unsigned char>(rest[depth]);
            const auto byte = [&](token id) { return static_cast<unsigned char>(store[id][depth]); };
            const auto low =
                std::partition_point(candidates.begin(), candidates.end(), [&](token id) { return byte(id) < wanted; });
            const auto high = std::partition_point(low, candidates.end(), [&](token id) { return byte(id) == wanted; });
            candidates = {low, high};
        }
        return best;
    }

    buffer<token> ids_;
    std::array<bool, 256> starts_{}; ///< bytes with which some token starts
};

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/text/tokenizer_metadata.hpp ----
// Strict reading of the tokenizer.ggml.* keys of a GGUF file.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// errc::bad_vocabulary: "FILE: KEY WHY".
[[nodiscard]] inline error bad_vocabulary(const gguf_file& file, std::string_view key, std::string_view why) {
    return {errc::bad_vocabulary, std::string(file.name()).append(": ").append(key).append(" ").append(why)};
}

/// errc::bad_vocabulary: "FILE: KEY[INDEX] WHY".
[[nodiscard]] inline error bad_vocabulary(const gguf_file& file, std::string_view key, std::uint64_t index,
                                          std::string_view why) {
    return bad_vocabulary(file, std::string(key) + "[" + std::to_string(index) + "]", why);
}

/// The array under `key`; null where the file has no such key.
/// \return errc::bad_vocabulary where it is no array of exactly `element`.
[[nodiscard]] inline result<const gguf_value*> find_array(const gguf_file& file, std::string_view key,
                                                          gguf_type element) {
    const gguf_value* value = file.find(key);
    if (value == nullptr || value->is_array_of(element)) {
        return value;
    }
    const bool is_array = value->type == gguf_type::array;
    const auto found =
        std::string(is_array ? "an array of " : "a ").append(name_of(is_array ? value->element_type : value->type));
    return bad_vocabulary(file, key, "is " + found + ", an array of " + std::string(name_of(element)) + " is needed");
}

/// The same, with errc::missing_key where the file has no such key.
[[nodiscard]] inline result<const gguf_value*> need_array(const gguf_file& file, std::string_view key,
                                                          gguf_type element) {
    auto found = find_array(file, key, element);
    if (found && *found == nullptr) {
        return error{errc::missing_key, std::string(file.name()).append(": the tokenizer needs ").append(key)};
    }
    return found;
}

/// The same as find_array, of exactly `count` elements, one for each token.
[[nodiscard]] inline result<const gguf_value*> find_array_of(const gguf_file& file, std::string_view key,
                                                             gguf_type element, std::uint64_t count) {
    auto found = find_array(file, key, element);
    if (found && *found != nullptr && (*found)->count != count) {
        return bad_vocabulary(
            file, key, "has " + std::to_string((*found)->count) + " elements for " + std::to_string(count) + " tokens");
    }
    return found;
}

/// The token id under `key`, of any integer type; nothing where the file has no such key.
/// \return errc::wrong_type where it is no integer, errc::bad_vocabulary where it lies outside the vocabulary.
[[nodiscard]] inline result<std::optional<token>> find_token_id(const gguf_file& file, std::string_view key,
                                                                std::size_t vocabulary_size) {
    if (file.find(key) == nullptr) {
        return std::optional<token>{};
    }
    const auto id = file.get<std::int64_t>(key);
    if (!id) {
        return error{id.error()};
    }
    if (*id < 0 || static_cast<std::uint64_t>(*id) >= vocabulary_size) {
        return bad_vocabulary(file, key,
                              "is " + std::to_string(*id) + ", outside the vocabulary of " +
                                  std::to_string(vocabulary_size) + " tokens");
    }
    return std::optional<token>{static_cast<token>(*id)};
}

} // namespace bitnet::inline BITNET_ABI

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// What a token is for, with its id in tokenizer.ggml.token_type.
enum class token_kind : std::uint8_t {
    normal = 1,       ///< spelled as token_spelling says; what merging makes
    unknown = 2,      ///< spelled as it is; found in text on request only
    control = 3,      ///< spelled as it is; found in text on request only
    user_defined = 4, ///< spelled as it is; always found in text, before splitting
    unused = 5,       ///< spelled as it is; never found
    byte = 6,         ///< spelled <0xHH>, stands for that byte; never found
};

/// How a model spells its normal tokens.
enum class token_spelling : std::uint8_t {
    byte_alphabet,  ///< bytes as characters, as in GPT-2
    sentence_piece, ///< text as it is, but U+2581 for every space
};

/// The tokens of a vocabulary. Owns its memory: the file may go once it is open. Immutable.
class vocabulary {
public:
    /// A token has at most this many bytes (LLaMA-3's longest has 128), which bounds all work per position in text.
    static constexpr std::size_t longest_token = 1024;

    /// U+2581, which SentencePiece puts for a space.
    static constexpr std::string_view space_mark = "\xe2\x96\x81";

    /// Reads tokenizer.ggml.tokens, .token_type and .scores. Where a byte-level file has no token_type, tokens spelled
    /// <|...|> are control tokens and all others normal.
    /// Cost: one pass; memory is the bytes of the tokens and about 25 bytes per token.
    /// \return errc::missing_key; errc::bad_vocabulary (element types, counts, kinds, an empty, too long, duplicate or
    /// undecodable token); errc::out_of_memory. tests/text/vocabulary_test.cpp has one of each.
    [[nodiscard]] static result<vocabulary> open(const gguf_file& file,
                                                 token_spelling spelling = token_spelling::byte_alphabet) {
        const auto spellings = need_array(file, tokens_key, gguf_type::string);
        if (!spellings) {
            return error{spellings.error()};
        }
        vocabulary made;
        made.spelling_ = spelling;
        for (const auto step :
             {&vocabulary::check_size, &vocabulary::read_kinds, &vocabulary::read_tokens,
              &vocabulary::index_normal_tokens, &vocabulary::find_byte_tokens, &vocabulary::make_matchers}) {
            if (auto done = (made.*step)(file, **spellings); !done) {
                return std::move(done).error();
            }
        }
        return made;
    }

    [[nodiscard]] std::size_t size() const noexcept { return store_.size(); }
    [[nodiscard]] bool contains(token id) const noexcept {
        return id >= 0 && static_cast<std::size_t>(id) < store_.size();
    }

    /// The bytes that a token stands for. \pre contains(id)
    [[nodiscard]] std::string_view bytes_of(token id) const noexcept { return store_[id]; }

    /// \pre contains(id)
    [[nodiscard]] token_kind kind_of(token id) const noexcept { return kinds_[static_cast<std::size_t>(id)]; }

    /// The token of exactly these bytes that merging can make, or no_token: a normal one, and with SentencePiece also a
    /// user-defined one.
    [[nodiscard]] token find(std::string_view bytes) const noexcept { return index_.find(store_, bytes); }

    /// The token that is found in text on request under this spelling, or no_token.
    [[nodiscard]] token find_special(std::string_view spelling) const noexcept {
        const token_match match = specials_.next(store_, spelling, 0);
        return match.position == 0 && match.size == spelling.size() ? match.id : no_token;
    }

    /// The next token in `text` from `from` on that is found as it is spelled: user-defined ones, and with
    /// `parse_special` control and unknown ones too.
    [[nodiscard]] token_match next_spelled(std::string_view text, std::size_t from, bool parse_special) const noexcept {
        return (parse_special ? specials_ : user_defined_).next(store_, text, from);
    }

    /// The tokens of the 256 single bytes; no_token where there is none. Byte-level: normal tokens. (Vocabularies made
    /// from valid text often lack the bytes that UTF-8 never uses, C0, C1 and F5 to FF; LLaMA-3 has all.)
    /// SentencePiece: byte tokens, or where one is missing, the token of that ASCII character.
    [[nodiscard]] const std::array<token, 256>& byte_tokens() const noexcept { return byte_tokens_; }

    /// Writes the bytes of a normal token that is spelled like this to `out`, which has room for spelling.size().
    /// \return how many; nothing where it is misspelled.
    [[nodiscard]] std::optional<std::size_t> decode_normal(std::string_view spelling, char* out) const noexcept {
        if (spelling_ == token_spelling::byte_alphabet) {
            return byte_alphabet::decode(spelling, out);
        }
        std::size_t written = 0;
        while (!spelling.empty()) {
            const bool space = spelling.starts_with(space_mark);
            if (spelling[0] == ' ') { // spaces are never spelled like this: two tokens could stand for the same text
                return std::nullopt;
            }
            out[written++] = space ? ' ' : spelling[0];
            spelling.remove_prefix(space ? space_mark.size() : 1);
        }
        return written;
    }

    /// Bytes of the longest token.
    [[nodiscard]] std::size_t longest() const noexcept { return longest_; }

private:
    static constexpr std::string_view tokens_key = "tokenizer.ggml.tokens";
    static constexpr std::string_view kinds_key = "tokenizer.ggml.token_type";
    static constexpr std::string_view scores_key = "tokenizer.ggml.scores";

    vocabulary() noexcept = default;

    [[nodiscard]] result<void> check_size(const gguf_file& file, const gguf_value& spellings) {
        constexpr std::uint64_t most = std::numeric_limits<token>::max();
        if (spellings.count == 0 || spellings.count > most) {
            return bad_vocabulary(file, tokens_key,
                                  "has " + std::to_string(spellings.count) + " tokens, 1 to " + std::to_string(most) +
                                      " are possible");
        }
        if (spellings.bytes.size() > std::numeric_limits<std::uint32_t>::max()) {
            return bad_vocabulary(file, tokens_key,
                                  "takes " + std::to_string(spellings.bytes.size()) +
                                      " bytes, at most 4 GiB are possible");
        }
        // Byte-level models do not use the scores, but a file whose scores do not fit was not written with care.
        if (const auto scores = find_array_of(file, scores_key, gguf_type::f32, spellings.count); !scores) {
            return error{scores.error()};
        }
        return {};
    }

    [[nodiscard]] result<void> read_kinds(const gguf_file& file, const gguf_value& spellings) {
        if (spelling_ == token_spelling::sentence_piece) {
            if (const auto there = need_array(file, kinds_key, gguf_type::i32); !there) {
                return error{there.error()};
            }
        }
        const auto numbers = find_array_of(file, kinds_key, gguf_type::i32, spellings.count);
        if (!numbers) {
            return error{numbers.error()};
        }
        auto kinds = buffer<token_kind>::allocate(spellings.count, "token kinds");
        if (!kinds) {
            return std::move(kinds).error();
        }
        kinds_ = *std::move(kinds);
        if (*numbers == nullptr) {
            std::size_t i = 0;
            for (const std::string_view spelling : spellings.strings()) {
                const bool special = spelling.starts_with("<|") && spelling.ends_with("|>");
                kinds_[i++] = special ? token_kind::control : token_kind::normal;
            }
            return {};
        }
        for (std::size_t i = 0; i < kinds_.size(); ++i) {
            const auto number = (*numbers)->element<std::int32_t>(i);
            if (number < 1 || number > 6) {
                return bad_vocabulary(file, kinds_key, i, "is " + std::to_string(number) + ", 1 to 6 are known");
            }
            kinds_[i] = static_cast<token_kind>(number);
        }
        return {};
    }

    [[nodiscard]] result<void> read_tokens(const gguf_file& file, const gguf_value& spellings) {
        // The array has a length of eight bytes before every string, and no token is longer than its spelling.
        auto store = token_store::allocate(spellings.count, spellings.bytes.size() - 8 * spellings.count);
        if (!store) {
            return std::move(store).error();
        }
        store_ = *std::move(store);
        std::size_t i = 0;
        for (const std::string_view spelling : spellings.strings()) {
            const auto size = decode(kinds_[i], spelling, store_.free_space());
            if (!size || *size == 0 || *size > longest_token) {
                return undecodable(file, i, spelling);
            }
            store_.append(*size);
            longest_ = std::max(longest_, *size);
            ++i;
        }
        return {};
    }

    /// Writes what `spelling` stands for to `out`, where it has room. \return the size; nothing if it is misspelled.
    [[nodiscard]] std::optional<std::size_t> decode(token_kind kind, std::string_view spelling,
                                                    char* out) const noexcept {
        if (kind == token_kind::normal) {
            return decode_normal(spelling, out);
        }
        if (kind != token_kind::byte) {
            std::memcpy(out, spelling.data(), spelling.size());
            return spelling.size();
        }
        const auto digit = [spelling](std::size_t i) { return std::string_view("0123456789ABCDEF").find(spelling[i]); };
        if (spelling.size() != 6 || !spelling.starts_with("<0x") || spelling[5] != '>' || digit(3) > 15 ||
            digit(4) > 15) {
            return std::nullopt;
        }
        *out = static_cast<char>(static_cast<unsigned char>(digit(3) * 16 + digit(4)));
        return 1;
    }

    [[nodiscard]] error undecodable(const gguf_file& file, std::size_t i, std::string_view spelling) const {
        if (spelling.empty()) {
            return bad_vocabulary(file, tokens_key, i, "is empty");
        }
        if (spelling.size() > longest_token) {
            return bad_vocabulary(file, tokens_key, i,
                                  "takes " + std::to_string(spelling.size()) + " bytes, at most " +
                                      std::to_string(longest_token) + " are possible for a token");
        }
        const bool byte = kinds_[i] == token_kind::byte;
        const bool pieces = spelling_ == token_spelling::sentence_piece;
        return bad_vocabulary(file, tokens_key, i,
                              "is " + quoted_name(spelling) + ", which is not " +
                                  (byte     ? "<0xHH> with capital digits, as its token_type 6 asks"
                                   : pieces ? "spelled with U+2581 for every space, as its token_type 1 asks"
                                            : "in the byte alphabet, as its token_type 1 asks"));
    }

    [[nodiscard]] error duplicate(const gguf_file& file, token id, token other) const {
        return bad_vocabulary(file, tokens_key, static_cast<std::uint64_t>(id),
                              "is " + quoted_name(store_[id]) + ", which token " + std::to_string(other) + " is too");
    }

    [[nodiscard]] bool can_be_merged(token id) const noexcept {
        return kind_of(id) == token_kind::normal ||
               (kind_of(id) == token_kind::user_defined && spelling_ == token_spelling::sentence_piece);
    }

    [[nodiscard]] result<void> index_normal_tokens(const gguf_file& file, const gguf_value& spellings) {
        auto index = token_index::allocate(spellings.count);
        if (!index) {
            return std::move(index).error();
        }
        index_ = *std::move(index);
        for (token id = 0; contains(id); ++id) {
            if (!can_be_merged(id)) {
                continue;
            }
            const auto outcome = index_.insert(store_, id);
            if (outcome == token_index::outcome::duplicate) {
                return duplicate(file, id, find(store_[id]));
            }
            if (outcome == token_index::outcome::crowded) {
                return bad_vocabulary(file, tokens_key, static_cast<std::uint64_t>(id),
                                      "collides with more than " + std::to_string(longest_probe) + " other tokens");
            }
        }
        return {};
    }

    [[nodiscard]] result<void> find_byte_tokens(const gguf_file& file, const gguf_value&) {
        for (std::size_t byte = 0; byte < byte_tokens_.size(); ++byte) {
            const char text = static_cast<char>(static_cast<unsigned char>(byte));
            byte_tokens_[byte] = find({&text, 1});
        }
        std::array<bool, 256> found{};
        for (token id = 0; spelling_ == token_spelling::sentence_piece && contains(id); ++id) {
            if (kind_of(id) != token_kind::byte) {
                continue;
            }
            const auto byte = static_cast<unsigned char>(store_[id][0]);
            if (std::exchange(found[byte], true)) {
                return duplicate(file, id, byte_tokens_[byte]);
            }
            byte_tokens_[byte] = id;
        }
        return {};
    }

    [[nodiscard]] result<void> make_matchers(const gguf_file& file, const gguf_value&) {
        auto room = buffer<token>::allocate(size(), "special tokens");
        if (!room) {
            return std::move(room).error();
        }
        std::size_t count = 0;
        for (token id = 0; contains(id); ++id) {
            if (kind_of(id) != token_kind::normal && kind_of(id) != token_kind::byte) {
                (*room)[count++] = id;
            }
        }
        const std::span<token> spelled = room->span().first(count);
        std::sort(spelled.begin(), spelled.end(),
                  [this](token a, token b) { return store_[a] == store_[b] ? a < b : store_[a] < store_[b]; });
        if (auto unique = check_spelled(file, spelled); !unique) {
            return unique;
        }
        return keep_matchers(spelled);
    }

    /// \pre `spelled` is in the order of the tokens' bytes
    [[nodiscard]] result<void> check_spelled(const gguf_file& file, std::span<const token> spelled) const {
        std::array<char, longest_token> bytes;
        for (std::size_t i = 0; i < spelled.size(); ++i) {
            const std::string_view spelling = store_[spelled[i]];
            if (i > 0 && store_[spelled[i - 1]] == spelling) {
                return duplicate(file, spelled[i], spelled[i - 1]);
            }
            const auto size = decode_normal(spelling, bytes.data());
            const token normal = size ? find({bytes.data(), *size}) : no_token;
            if (normal != no_token && normal != spelled[i]) {
                return duplicate(file, spelled[i], normal);
            }
        }
        return {};
    }

    [[nodiscard]] result<void> keep_matchers(std::span<token> spelled) {
        const auto keep = [this, &spelled](auto wanted) {
            const auto end =
                std::remove_if(spelled.begin(), spelled.end(), [&](token id) { return !wanted(kind_of(id)); });
            spelled = {spelled.begin(), end};
            return token_matcher::make(store_, spelled);
        };
        auto specials = keep([](token_kind kind) { return kind != token_kind::unused; });
        if (!specials) {
            return std::move(specials).error();
        }
        auto user_defined = keep([](token_kind kind) { return kind == token_kind::user_defined; });
        if (!user_defined) {
            return std::move(user_defined).error();
        }
        specials_ = *std::move(specials);
        user_defined_ = *std::move(user_defined);
        return {};
    }

    token_spelling spelling_ = token_spelling::byte_alphabet;
    token_store store_;
    buffer<token_kind> kinds_;
    token_index index_;      ///< of the tokens that merging can make
    token_matcher specials_; ///< user-defined, control and unknown tokens
    token_matcher user_defined_;
    std::array<token, 256> byte_tokens_{};
    std::size_t longest_ = 0;
};

} // namespace bitnet::inline BITNET_ABI

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI {

/// The files of a Hugging Face tokenizer, as texts. All but the first may be empty: then there is no such file.
struct tokenizer_json_files {
    std::string_view name;               ///< what error messages call tokenizer.json, such as its path
    std::string_view tokenizer;          ///< tokenizer.json
    std::string_view tokenizer_config;   ///< tokenizer_config.json: bos_token, eos_token, chat_template, ...
    std::string_view special_tokens_map; ///< special_tokens_map.json: the same tokens, where the config has none
    std::string_view model_config;       ///< config.json: their ids, where neither of the two has them
    std::string_view chat_template;      ///< chat_template.jinja, which goes before the one in the config
    std::string_view pre_tokenizer; ///< the caller's choice: one of pre_tokenizer_names, not looked for in the file
};

/// One reading of a tokenizer.json. Use add_tokenizer_json().
class tokenizer_json_reader {
public:
    tokenizer_json_reader(const tokenizer_json_files& files, std::uint64_t rows) noexcept
        : files_(files), rows_(rows) {}

    [[nodiscard]] result<void> run(gguf_writer& out) {
        auto parsed = json_document::parse(files_.tokenizer, files_.name);
        if (!parsed) {
            return std::move(parsed).error();
        }
        document_.emplace(*std::move(parsed));
        for (const auto step : {&tokenizer_json_reader::read_model, &tokenizer_json_reader::read_steps,
                                &tokenizer_json_reader::read_vocabulary, &tokenizer_json_reader::read_added_tokens,
                                &tokenizer_json_reader::fill_up, &tokenizer_json_reader::read_merges,
                                &tokenizer_json_reader::check_digits, &tokenizer_json_reader::read_config,
                                &tokenizer_json_reader::read_template}) {
            if (auto done = (this->*step)(); !done) {
                return done;
            }
        }
        write(out);
        return {};
    }

private:
    struct entry {
        std::string text; ///< empty: no token has this id yet
        token_kind kind = token_kind::normal;
        float score = 0;
    };

    /// A token with a role, its id, and whether every text gets it.
    struct role {
        std::string_view name; ///< as in tokenizer_config.json: NAME_token
        std::string_view key;  ///< as in GGUF: tokenizer.ggml.KEY_token_id
        std::optional<std::uint32_t> id{};
    };
    static constexpr std::size_t bos = 0;
    static constexpr std::size_t eos = 1;

    [[nodiscard]] error fail(errc code, const std::string& sentence) const {
        return {code, std::string(files_.name) + ": " + sentence};
    }
    [[nodiscard]] error bad(const std::string& sentence) const { return fail(errc::bad_vocabulary, sentence); }

    /// The bool `key` of `object`, or false where there is none.
    [[nodiscard]] result<bool> read_bool(json_value object, std::string_view key) const {
        const auto value = object.find(key);
        if (!value || value->is_null()) {
            return false;
        }
        const auto read = value->as_bool();
        return read ? result<bool>(*read)
                    : result<bool>(fail(errc::wrong_type, quoted_name(key) + " is of type " +
                                                              std::string(name_of(value->type())) +
                                                              ", boolean is needed"));
    }

    /// The member `key` of `object`, of that type.
    [[nodiscard]] result<json_value> need(json_value object, std::string_view key, json_type type) const {
        const auto value = object.find(key);
        if (!value) {
            return fail(errc::missing_key, "has no " + quoted_name(key));
        }
        if (value->type() != type) {
            return fail(errc::wrong_type, quoted_name(key) + " is of type " + std::string(name_of(value->type())) +
                                              ", " + std::string(name_of(type)) + " is needed");
        }
        return *value;
    }

    [[nodiscard]] result<void> read_model() {
        const auto model = need(document_->root(), "model", json_type::object);
        if (!model) {
            return error{model.error()};
        }
        model_ = *model;
        const auto type = model_->find("type");
        if (!type || type->as_string() != "BPE") {
            return fail(errc::unsupported_tokenizer, "model.type is " +
                                                         quoted_name(type ? type->as_string().value_or("") : "") +
                                                         ", only 'BPE' can be read");
        }
        for (const std::string_view key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
            const auto affix = model_->find(key);
            if (affix && !affix->is_null() && affix->as_string() != "") {
                return fail(errc::unsupported_tokenizer,
                            "model." + std::string(key) + " is set, it cannot be followed");
            }
        }
        const auto fallback = read_bool(*model_, "byte_fallback");
        const auto ignore = read_bool(*model_, "ignore_merges");
        if (!fallback || !ignore) {
            return error{(fallback ? ignore : fallback).error()};
        }
        pieces_ = *fallback;
        ignore_merges_ = *ignore;
        return {};
    }

    [[nodiscard]] result<void> read_steps() {
        const std::string normalizer = describe_normalizer(document_->root().find("normalizer"));
        const std::string splitting = describe_pre_tokenizer(document_->root().find("pre_tokenizer"));
        if (pieces_) {
            space_prefix_ = find_space_prefix(normalizer, splitting);
            if (!space_prefix_ || ignore_merges_) {
                return fail(errc::unsupported_tokenizer, "a model with byte_fallback, ignore_merges " +
                                                             std::string(ignore_merges_ ? "true" : "false") +
                                                             ", the normalizer " + quoted_name(normalizer) +
                                                             " and the pre-tokenizer " + quoted_name(splitting) +
                                                             " is not known");
            }
            return {};
        }
        if (!normalizer.empty() && normalizer != "NFC") {
            return fail(errc::unsupported_tokenizer, "the normalizer " + quoted_name(normalizer) + " is not known");
        }
        if (!files_.pre_tokenizer.empty()) {
            pre_tokenizer_ = files_.pre_tokenizer; // tokenizer::open() says whether it is known
            return {};
        }
        const known_splitting* known = find_splitting(splitting);
        if (known != nullptr) {
            pre_tokenizer_ = name_of_splitter(known->kind, ignore_merges_);
            digits_ = known->digits;
        }
        if (pre_tokenizer_.empty()) {
            return fail(errc::unknown_pre_tokenizer, "the pre-tokenizer with ignore_merges " +
                                                         std::string(ignore_merges_ ? "true" : "false") +
                                                         " is not known: " + quoted_name(splitting, 2000));
        }
        return {};
    }

    [[nodiscard]] result<void> read_vocabulary() {
        const auto tokens = need(*model_, "vocab", json_type::object);
        const auto added = document_->root().find("added_tokens");
        if (!tokens) {
            return error{tokens.error()};
        }
        if (added && !added->is_array() && !added->is_null()) {
            return fail(errc::wrong_type,
                        "'added_tokens' is of type " + std::string(name_of(added->type())) + ", array is needed");
        }
        vocabulary_ = *tokens;
        added_ = added ? *added : *tokens; // an object has no elements
        most_ = vocabulary_->size() + (added_->is_array() ? added_->size() : 0);
        entries_.resize(most_);
        const auto unknown = model_->find("unk_token");
        const std::string_view unk = unknown ? unknown->as_string().value_or("") : std::string_view{};
        for (const json_member member : vocabulary_->members()) {
            const auto id = member.value.as_integer<std::uint64_t>();
            if (auto put_in = put(member.key, id, kind_in_vocabulary(member.key, unk)); !put_in) {
                return put_in;
            }
        }
        return {};
    }

    [[nodiscard]] token_kind kind_in_vocabulary(std::string_view text, std::string_view unk) const noexcept {
        if (!pieces_) {
            return token_kind::normal;
        }
        if (text == unk) {
            return token_kind::unknown;
        }
        return text.size() == 6 && text.starts_with("<0x") && text.ends_with(">") ? token_kind::byte
                                                                                  : token_kind::normal;
    }

    /// Every token has an id of its own below the number of all tokens: what lies above leaves a hole.
    [[nodiscard]] result<void> put(std::string_view text, std::optional<std::uint64_t> id, token_kind kind) {
        const std::string what = "token " + quoted_name(text);
        if (!id) {
            return bad(what + " has no id that is a number");
        }
        if (*id >= most_) {
            return bad(what + " has id " + std::to_string(*id) + ", but there are no more than " +
                       std::to_string(most_) + " tokens: ids are missing below it");
        }
        entry& e = entries_[static_cast<std::size_t>(*id)];
        if (text.empty() || (!e.text.empty() && e.text != text)) {
            return bad(text.empty()
                           ? "token " + std::to_string(*id) + " is empty"
                           : what + " has id " + std::to_string(*id) + ", which " + quoted_name(e.text) + " has too");
        }
        e.text = text;
        e.kind = kind;
        count_ = std::max(count_, static_cast<std::size_t>(*id) + 1);
        return {};
    }

    [[nodiscard]] result<void> read_added_tokens() {
        for (const json_value object : added_->elements()) {
            const auto id = object.find("id");
            const auto content = object.find("content");
            const auto special = read_bool(object, "special");
            if (!id || !content || !content->as_string() || !special) {
                return special ? bad("an element of added_tokens has no id or no content") : error{special.error()};
            }
            const std::string_view text = *content->as_string();
            for (const std::string_view flag : {"single_word", "lstrip", "rstrip"}) {
                const auto set = read_bool(object, flag);
                if (!set || *set) {
                    return fail(errc::unsupported_tokenizer, "the added token " + quoted_name(text) + " has '" +
                                                                 std::string(flag) + "', which cannot be followed");
                }
            }
            const auto number = id->as_integer<std::uint64_t>();
            const bool unknown = number && *number < entries_.size() &&
                                 entries_[static_cast<std::size_t>(*number)].kind == token_kind::unknown;
            const token_kind kind = unknown                           ? token_kind::unknown
                                    : *special || looks_special(text) ? token_kind::control
                                                                      : token_kind::user_defined;
            if (auto put_in = put(text, number, kind); !put_in) {
                return put_in;
            }
        }
        return {};
    }

    /// Spelled like a control token, and taken for one, as llama.cpp's converter does: no user's text becomes one.
    [[nodiscard]] static bool looks_special(std::string_view text) noexcept {
        return (text.starts_with("<|") && text.ends_with("|>")) || text == "<pad>" || text == "<mask>";
    }

    /// Refuses holes, spells what llama.cpp's converter spells otherwise, and fills up to the rows of the embedding.
    [[nodiscard]] result<void> fill_up() {
        for (std::size_t id = 0; id < count_; ++id) {
            if (entries_[id].text.empty()) {
                return bad("no token has id " + std::to_string(id) + " of " + std::to_string(count_));
            }
        }
        if (rows_ != 0 && rows_ < count_) {
            return fail(errc::inconsistent,
                        std::to_string(count_) + " tokens, but the embedding has " + std::to_string(rows_) + " rows");
        }
        if (rows_ > static_cast<std::uint64_t>(std::numeric_limits<token>::max())) {
            return fail(errc::out_of_range, "an embedding of " + std::to_string(rows_) + " rows");
        }
        entries_.resize(static_cast<std::size_t>(rows_ != 0 ? rows_ : count_));
        for (std::size_t id = 0; id < entries_.size(); ++id) {
            entry& e = entries_[id];
            if (id >= count_) {
                e = {"[PAD" + std::to_string(id) + "]", token_kind::unused};
            } else if (e.kind == token_kind::user_defined) {
                replace_marks(e.text);
            }
            e.score = e.kind == token_kind::normal ? 0.0f : -1000.0f;
        }
        return {};
    }

    /// U+2581 in a user-defined token stands for a space, and text has spaces where these tokens are looked for.
    static void replace_marks(std::string& text) {
        for (std::size_t at = text.find(vocabulary::space_mark); at != std::string::npos;
             at = text.find(vocabulary::space_mark, at)) {
            text.replace(at, vocabulary::space_mark.size(), " ");
        }
    }

    [[nodiscard]] result<void> read_merges() {
        const auto list = need(*model_, "merges", json_type::array);
        if (!list) {
            return error{list.error()};
        }
        merges_.reserve(list->size());
        for (const json_value element : list->elements()) {
            if (auto read = read_merge(element); !read) {
                return read;
            }
        }
        for (entry& e : entries_) { // tokens that no merge makes must not go before those that one does
            if (pieces_ && e.kind == token_kind::normal && !has_score(e)) {
                e.score = -static_cast<float>(merges_.size() + 1);
            }
        }
        return {};
    }
    [[nodiscard]] static bool has_score(const entry& e) noexcept { return e.score < 0; }

    /// "LEFT RIGHT" or ["LEFT", "RIGHT"].
    [[nodiscard]] result<void> read_merge(json_value element) {
        const auto where = "model.merges[" + std::to_string(merges_.size()) + "]";
        std::string text;
        if (element.is_array() && element.size() == 2) {
            for (const json_value half : element.elements()) {
                const std::string_view part = half.as_string().value_or("");
                if (part.empty() || part.find(' ') != std::string_view::npos) {
                    return bad(where + " has the half " + quoted_name(part) + ", which no token is");
                }
                text.append(text.empty() ? "" : " ").append(part);
            }
        } else {
            text = element.as_string().value_or("");
        }
        const std::size_t space = text.find(' ');
        if (space == 0 || space + 1 == text.size() || text.find(' ', space + 1) != std::string::npos ||
            space == std::string::npos) {
            return bad(where + " is " + quoted_name(text) + ", not two tokens with one space between");
        }
        if (pieces_) {
            score(text, space);
        }
        merges_.push_back(std::move(text));
        return {};
    }

    /// Gives the token that the next merge makes its score: ranks of first merges, upside down.
    void score(std::string text, std::size_t space) {
        const auto whole = vocabulary_->find(text.erase(space, 1));
        const auto id = whole ? whole->as_integer<std::uint64_t>() : std::nullopt;
        if (id && !has_score(entries_[static_cast<std::size_t>(*id)])) {
            entries_[static_cast<std::size_t>(*id)].score = -static_cast<float>(merges_.size() + 1);
        }
    }

    /// Where the file has a step that cuts at digits and its splitter here has none: that no token could tell.
    [[nodiscard]] result<void> check_digits() {
        for (const entry& e : entries_) {
            if (e.kind == token_kind::normal && !e.text.empty() && !keeps_digits_apart(e.text, digits_)) {
                return fail(errc::unknown_pre_tokenizer,
                            "its step Digits cannot be left out: token " + quoted_name(e.text) + " spans it");
            }
        }
        return {};
    }

    [[nodiscard]] result<void> read_config() {
        roles_ = {{"bos", "bos"}, {"eos", "eos"}, {"unk", "unknown"}, {"pad", "padding"}, {"eot", "eot"}};
        for (const auto& [text, file] : {std::pair{files_.tokenizer_config, "tokenizer_config.json"},
                                         std::pair{files_.special_tokens_map, "special_tokens_map.json"},
                                         std::pair{files_.model_config, "config.json"}}) {
            if (auto read = text.empty() ? result<void>{} : read_roles(text, file); !read) {
                return read;
            }
        }
        return read_post_processor();
    }

    [[nodiscard]] result<void> read_roles(std::string_view text, const char* file) {
        auto parsed = json_document::parse(text, std::string(files_.name) + ", " + file);
        if (!parsed) {
            return std::move(parsed).error();
        }
        const json_value object = parsed->root();
        for (role& r : roles_) {
            const auto member = object.find(std::string(r.name) + "_token");
            const auto content = member && member->is_object() ? member->find("content") : member;
            const auto spelling = content ? content->as_string() : std::nullopt;
            const auto id = object.find(std::string(r.name) + "_token_id");
            if (!r.id && spelling) {
                r.id = find(*spelling);
            } else if (!r.id && id) {
                r.id = id->as_integer<std::uint32_t>();
            }
            if ((spelling && !r.id) || (r.id && *r.id >= entries_.size())) {
                return bad(std::string(file) + ": " + std::string(r.name) + "_token " +
                           (spelling ? quoted_name(*spelling) : std::to_string(*r.id)) + " is none of the " +
                           std::to_string(entries_.size()) + " tokens");
            }
        }
        return read_flags(object);
    }

    [[nodiscard]] result<void> read_flags(json_value object) {
        const auto add_bos = object.find("add_bos_token");
        const auto add_eos = object.find("add_eos_token");
        add_bos_ = add_bos_ || !add_bos ? add_bos_ : add_bos->as_bool();
        add_eos_ = add_eos_ || !add_eos ? add_eos_ : add_eos->as_bool();
        const auto chat = object.find("chat_template");
        if (!chat || !files_.chat_template.empty()) {
            return {};
        }
        if (const auto text = chat->as_string()) {
            template_ = *text;
        }
        for (const json_value named : chat->elements()) { // [{"name": "default", "template": "..."}, ...]
            const auto name = named.find("name");
            const auto text = named.find("template");
            if (name && name->as_string() == "default" && text) {
                template_ = text->as_string().value_or("");
            }
        }
        return {};
    }

    [[nodiscard]] std::optional<std::uint32_t> find(std::string_view text) const {
        for (std::size_t id = entries_.size(); id-- > 0;) {
            if (entries_[id].text == text) {
                return static_cast<std::uint32_t>(id);
            }
        }
        return std::nullopt;
    }

    /// TemplateProcessing says which tokens every text gets, whatever the flags say. A leading one is BOS, a trailing
    /// one EOS from now on; another EOS then ends a turn.
    [[nodiscard]] result<void> read_post_processor() {
        const auto single = find_template(document_->root().find("post_processor"));
        if (!single) {
            return {};
        }
        bool behind = false;
        add_bos_ = add_eos_ = false;
        for (const json_value part : single->elements()) {
            const auto special = part.find("SpecialToken");
            behind = behind || part.find("Sequence");
            if (!special) {
                continue;
            }
            const auto name = special->find("id");
            const auto id = name && name->as_string() ? find(*name->as_string()) : std::nullopt;
            auto& add = behind ? add_eos_ : add_bos_;
            if (!id || *add) {
                return fail(errc::unsupported_tokenizer, "its TemplateProcessing puts more than one token, or one "
                                                         "that is none, on one side of a text");
            }
            add = true;
            if (behind && roles_[eos].id != id && !roles_.back().id) {
                roles_.back().id = roles_[eos].id;
            }
            roles_[behind ? eos : bos].id = id;
        }
        return {};
    }

    [[nodiscard]] result<void> read_template() {
        if (!files_.chat_template.empty()) {
            template_ = files_.chat_template;
        }
        return {};
    }

    void write(gguf_writer& out) const {
        std::vector<std::string_view> texts;
        std::vector<float> scores;
        std::vector<std::int32_t> kinds;
        for (const entry& e : entries_) {
            texts.emplace_back(e.text);
            scores.push_back(e.score);
            kinds.push_back(static_cast<std::int32_t>(e.kind));
        }
        out.add("tokenizer.ggml.model", std::string_view(pieces_ ? "llama" : "gpt2"));
        out.add("tokenizer.ggml.pre", pieces_ ? std::string_view("default") : pre_tokenizer_);
        out.add_strings("tokenizer.ggml.tokens", texts);
        out.add_array("tokenizer.ggml.scores", std::span<const float>(scores));
        out.add_array("tokenizer.ggml.token_type", std::span<const std::int32_t>(kinds));
        out.add_strings("tokenizer.ggml.merges", merges_);
        for (const role& r : roles_) {
            if (r.id) {
                out.add("tokenizer.ggml." + std::string(r.key) + "_token_id", *r.id);
            }
        }
        if (add_bos_) {
            out.add("tokenizer.ggml.add_bos_token", *add_bos_ && roles_[bos].id.has_value());
        }
        if (add_eos_) {
            out.add("tokenizer.ggml.add_eos_token", *add_eos_ && roles_[eos].id.has_value());
        }
        if (space_prefix_) {
            out.add("tokenizer.ggml.add_space_prefix", *space_prefix_);
        }
        if (!template_.empty()) {
            out.add("tokenizer.chat_template", template_);
        }
    }

    tokenizer_json_files files_;
    std::uint64_t rows_;
    std::optional<json_document> document_;
    std::optional<json_value> model_;
    std::optional<json_value> vocabulary_;
    std::optional<json_value> added_;
    std::vector<entry> entries_;
    std::vector<std::string> merges_;
    std::vector<role> roles_;
    std::size_t most_ = 0;  ///< tokens in the vocabulary and added ones, if all differ
    std::size_t count_ = 0; ///< one past the largest id
    bool pieces_ = false;   ///< SentencePiece's kind
    bool ignore_merges_ = false;
    digit_tokens digits_ = digit_tokens::any;
    std::string_view pre_tokenizer_;
    std::optional<bool> space_prefix_;
    std::optional<bool> add_bos_;
    std::optional<bool> add_eos_;
    std::string template_;
};

/// Adds the tokenizer of `files` to `out`: tokenizer.ggml.{model, pre, tokens, scores, token_type, merges, ...} and
/// tokenizer.chat_template, as llama.cpp's converter writes them and tokenizer::open() reads them.
///
/// Byte-level BPE (LLaMA-3, Qwen2, Falcon, GPT-2) becomes "gpt2", with the name of the splitter that the steps of
/// `pre_tokenizer` amount to; NFC is left to the caller, as llama.cpp does. BPE with byte_fallback (LLaMA-2, Gemma)
/// becomes "llama" with the merges, which decide here; readers that know only scores find the rank of the first merge
/// that makes a token, upside down. That is the same encoding where the merges are all cuts of a token into two tokens,
/// token by token, as SentencePiece's converters write them; only where two cuts of one token overlap in text can the
/// leftmost, which scores prefer, be another than the earlier merge.
/// \param rows of the embedding: ids that no token has, up to there, become [PAD<id>], never found; 0: no such ids.
/// Cost: a few passes; memory is about four times the text, for the time of the call and in `out`.
/// \return errc::bad_json, missing_key, wrong_type, unsupported_tokenizer, unknown_pre_tokenizer, bad_vocabulary
/// (holes, ids and texts twice, misspelt merges, roles without token) or inconsistent (more tokens than rows); all name
/// the file.
[[nodiscard]] inline result<void> add_tokenizer_json(gguf_writer& out, const tokenizer_json_files& files,
                                                     std::uint64_t rows = 0) {
    return tokenizer_json_reader(files, rows).run(out);
}

} // namespace bitnet::inline BITNET_ABI

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI {

/// Whether `name` names a file inside a folder and nothing else: no way out of the folder, no drive, no stream.
[[nodiscard]] constexpr bool is_plain_file_name(std::string_view name) noexcept {
    constexpr std::string_view forbidden("/\\:\0", 4);
    return !name.empty() && name != "." && name != ".." && name.find_first_of(forbidden) == std::string_view::npos;
}

/// The metadata and tensors of a model and all that they point into. Move-only; what is in it stays where it is.
struct opened_checkpoint {
    gguf_file gguf;
    std::vector<byte_source> sources; ///< the files that hold tensors
    buffer<std::byte> made;           ///< a GGUF file in memory: metadata and small tensors
    std::vector<std::string> names;   ///< of the tensors in `sources`
    std::vector<std::string> notes;   ///< what was decided or passed over, a sentence each
};

struct checkpoint_options {
    /// Whether the tokenizer's files are read.
    bool load_tokenizer = true;
    /// Name of the pre-tokenizer, instead of what tokenizer.json amounts to: see tokenizer_json_files.
    std::string_view pre_tokenizer = {};
};

} // namespace bitnet::inline BITNET_ABI

BITNET_PRECISE_BEGIN
namespace bitnet::inline BITNET_ABI {

/// 1 / x, correctly rounded also under -ffast-math.
[[nodiscard]] inline float exact_reciprocal(float x) noexcept { return 1.0f / x; }

} // namespace bitnet::inline BITNET_ABI
BITNET_PRECISE_END

namespace bitnet::inline BITNET_ABI {

/// One opening of a directory. Use open_hugging_face.
class hugging_face_reader {
public:
    hugging_face_reader(std::string_view utf8_path, const checkpoint_options& options)
        : path_(utf8_path), options_(options) {
        while (path_.size() > 1 && (path_.back() == '/' || path_.back() == '\\')) {
            path_.pop_back();
        }
    }

    [[nodiscard]] result<opened_checkpoint> run() {
        for (const auto step :
             {&hugging_face_reader::read_config, &hugging_face_reader::open_shards, &hugging_face_reader::read_tensors,
              &hugging_face_reader::check_family, &hugging_face_reader::read_tokenizer}) {
            if (auto done = (this->*step)(); !done) {
                return std::move(done).error();
            }
        }
        return finish();
    }

private:
    static constexpr std::string_view single_file = "model.safetensors";
    static constexpr std::string_view index_file = "model.safetensors.index.json";

    [[nodiscard]] std::string path_of(std::string_view file) const { return path_ + "/" + std::string(file); }
    [[nodiscard]] error fail(errc code, const std::string& sentence) const {
        return error{code, path_ + ": " + sentence};
    }
    [[nodiscard]] static error fail(errc code, const safetensors_file& shard, const safetensors_tensor& tensor,
                                    const std::string& sentence) {
        return error{code, shard.name() + ": tensor " + quoted_name(tensor.name) + ": " + sentence};
    }

    [[nodiscard]] result<json_document> read_json(std::string_view file) const {
        const auto text = byte_source::open(path_of(file));
        if (!text) {
            return error{text.error()};
        }
        return json_document::parse(text_of(*text), text->name());
    }
    [[nodiscard]] static std::string_view text_of(const byte_source& source) noexcept {
        const auto bytes = source.bytes();
        return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    }

    [[nodiscard]] result<void> read_config() {
        const auto text = read_json("config.json");
        if (!text) {
            return error{text.error()};
        }
        auto read = hugging_face_config::read(text->root(), path_of("config.json"), writer_);
        if (!read) {
            return std::move(read).error();
        }
        config_ = *std::move(read);
        if (auto stops = read_stop_tokens(text->root(), "config.json"); !stops) {
            return stops;
        }
        notes_ = std::move(config_.notes);
        writer_.add("general.name", std::string_view(path_).substr(path_.find_last_of("/\\") + 1));
        return {};
    }

    [[nodiscard]] result<void> open_shards() {
        auto single = byte_source::open(path_of(single_file));
        if (single) {
            return add_shard(*std::move(single));
        }
        if (single.error().code != errc::file_not_found) {
            return std::move(single).error();
        }
        const auto index = read_json(index_file);
        if (!index) {
            const bool neither = index.error().code == errc::file_not_found;
            return neither ? fail(errc::file_not_found,
                                  "there is neither " + std::string(single_file) + " nor " + std::string(index_file))
                           : error{index.error()};
        }
        const auto map = index->root().find("weight_map");
        if (!map || !map->is_object()) {
            return error{errc::wrong_type, path_of(index_file) + ": 'weight_map' must be an object"};
        }
        if (auto opened = open_shards_of(*map); !opened) {
            return opened;
        }
        return check_index(*map);
    }

    [[nodiscard]] result<void> add_shard(byte_source source) {
        auto shard = safetensors_file::parse(source.bytes(), source.name());
        if (!shard) {
            return std::move(shard).error();
        }
        sources_.push_back(std::move(source));
        shards_.push_back(*std::move(shard));
        return {};
    }

    [[nodiscard]] result<void> open_shards_of(json_value map) {
        std::vector<std::string_view> files;
        for (const auto& [tensor, file] : map.members()) {
            const auto name = file.as_string();
            if (!name || !is_plain_file_name(*name)) {
                return error{errc::bad_file_name, path_of(index_file) + ": the file of " + quoted_name(tensor) + ", " +
                                                      quoted_name(name.value_or("")) +
                                                      ", is no plain name of a file in the same folder"};
            }
            files.push_back(*name);
        }
        std::ranges::sort(files);
        files.erase(std::unique(files.begin(), files.end()), files.end());
        for (const std::string_view file : files) {
            auto source = byte_source::open(path_of(file));
            if (!source) {
                return error{source.error().code,
                             path_of(index_file) + ": a file that it names: " + source.error().message};
            }
            if (auto added = add_shard(*std::move(source)); !added) {
                return added;
            }
        }
        return {};
    }

    /// Every tensor stands in the file that the index says, and in no other.
    [[nodiscard]] result<void> check_index(json_value map) const {
        std::size_t found = 0;
        for (const safetensors_file& shard : shards_) {
            for (const safetensors_tensor& tensor : shard.tensors()) {
                const auto file = map.find(tensor.name);
                if (!file || path_of(file->as_string().value_or("")) != shard.name()) {
                    return fail(errc::inconsistent, shard, tensor, "the index does not say that it is in this file");
                }
                ++found;
            }
        }
        if (found == map.size()) {
            return {};
        }
        for (const auto& [tensor, file] : map.members()) {
            const std::string path = path_of(file.as_string().value_or(""));
            const auto shard = std::ranges::find(shards_, path, &safetensors_file::name);
            if (shard == shards_.end() || shard->find(tensor) == nullptr) {
                return error{errc::missing_tensor,
                             path + ": tensor " + quoted_name(tensor) + ": not in the file, though the index says so"};
            }
        }
        return {};
    }

    [[nodiscard]] result<void> read_tensors() {
        std::size_t count = 0;
        for (const safetensors_file& shard : shards_) {
            count += shard.tensors().size();
        }
        names_.reserve(count); // views of short names would not survive a move
        for (const safetensors_file& shard : shards_) {
            for (const safetensors_tensor& tensor : shard.tensors()) {
                if (auto read = read_tensor(shard, tensor); !read) {
                    return read;
                }
            }
        }
        return {};
    }

    [[nodiscard]] result<void> read_tensor(const safetensors_file& shard, const safetensors_tensor& tensor) {
        checkpoint_name name = gguf_name_of(tensor.name, config_.is_gemma());
        if (name.layer && *name.layer >= config_.layers) {
            return fail(errc::inconsistent, shard, tensor,
                        "a layer beyond the " + std::to_string(config_.layers) + " of 'num_hidden_layers'");
        }
        switch (name.role) {
        case checkpoint_role::unknown:
            return fail(errc::unsupported_architecture, shard, tensor,
                        "no part of a model of architecture " + std::string(config_.architecture));
        case checkpoint_role::unused:
            return {};
        case checkpoint_role::scale:
            return read_scale(shard, tensor, name.gguf);
        case checkpoint_role::norm:
            return config_.is_gemma() ? read_gemma_norm(shard, tensor, name.gguf)
                                      : borrow(shard, tensor, std::move(name));
        case checkpoint_role::head:
            return read_head(shard, tensor, std::move(name));
        case checkpoint_role::norm_in:
            has_norm_in_ = true;
            break;
        default:
            break;
        }
        return borrow(shard, tensor, std::move(name));
    }

    /// Presents `tensor` under its new name, its data where it is.
    [[nodiscard]] result<void> borrow(const safetensors_file& shard, const safetensors_tensor& tensor,
                                      checkpoint_name name) {
        const auto type = type_of(tensor, name.role);
        if (!type) {
            return fail(errc::unsupported_type, shard, tensor,
                        "dtype " + std::string(name_of(tensor.type)) + ", F32, F16 or BF16" +
                            (name.role == checkpoint_role::ternary ? " (or U8, packed)" : "") + " expected");
        }
        if (tensor.rank == 0 || tensor.rank > 2 || tensor.bytes.empty()) {
            return fail(errc::bad_shape, shard, tensor,
                        "shape " + shape_text(tensor) + ", one or two dimensions above 0 expected");
        }
        gguf_tensor borrowed{
            names_.emplace_back(std::move(name.gguf)), *type, {1, 1, 1, 1}, tensor.rank, tensor.offset, tensor.bytes};
        std::ranges::reverse_copy(std::span(tensor.shape).first(tensor.rank), borrowed.dims.begin());
        if (*type == tensor_type::hf_packed) {
            borrowed.dims[1] *= 4; // its bytes are in memory: no overflow
        }
        const bool is_master = name.role == checkpoint_role::ternary && *type != tensor_type::hf_packed;
        has_masters_ = has_masters_ || is_master;
        has_packed_ = has_packed_ || *type == tensor_type::hf_packed;
        tensors_.push_back(borrowed);
        return {};
    }

    [[nodiscard]] static std::optional<tensor_type> type_of(const safetensors_tensor& tensor,
                                                            checkpoint_role role) noexcept {
        switch (tensor.type) {
        case safetensors_type::f32:
            return tensor_type::f32;
        case safetensors_type::f16:
            return tensor_type::f16;
        case safetensors_type::bf16:
            return tensor_type::bf16;
        case safetensors_type::u8:
            return role == checkpoint_role::ternary && tensor.rank == 2 ? std::optional(tensor_type::hf_packed)
                                                                        : std::nullopt;
        default:
            return std::nullopt;
        }
    }

    /// The elements of a F32, F16 or BF16 tensor as floats; empty for others.
    [[nodiscard]] static std::vector<float> floats(const safetensors_tensor& tensor) {
        const std::size_t width = safetensors_formats[static_cast<std::size_t>(tensor.type)].bytes;
        std::vector<float> values(tensor.bytes.size() / width);
        const auto widen_all = [&]<class E>(E element) {
            for (std::size_t i = 0; i < values.size(); ++i) {
                std::memcpy(&element, tensor.bytes.data() + i * sizeof(E), sizeof(E));
                values[i] = widen(element);
            }
        };
        switch (tensor.type) {
        case safetensors_type::f32:
            widen_all(0.0f);
            return values;
        case safetensors_type::f16:
            widen_all(half{});
            return values;
        case safetensors_type::bf16:
            widen_all(bfloat16{});
            return values;
        default:
            return {};
        }
    }

    void add_floats(std::string_view name, std::vector<float> values) {
        const auto& kept = made_.emplace_back(std::move(values));
        const std::array<std::uint64_t, 1> dims{kept.size()};
        writer_.add_tensor(name, tensor_type::f32, dims, std::as_bytes(std::span(kept)));
    }

    /// weight_scale becomes the factor that GGUF knows.
    [[nodiscard]] result<void> read_scale(const safetensors_file& shard, const safetensors_tensor& tensor,
                                          std::string_view name) {
        std::vector<float> values = floats(tensor);
        if (values.size() != 1) {
            return fail(errc::wrong_shape, shard, tensor,
                        std::string(name_of(tensor.type)) + " " + shape_text(tensor) +
                            ", one number of type F32, F16 or BF16 expected");
        }
        // By bits, because -ffast-math folds comparisons with infinity. Below 2^-126 the quotient could be infinite.
        const auto bits = std::bit_cast<std::uint32_t>(values[0]);
        if (bits < 0x00800000u || bits >= 0x7f800000u) {
            return fail(errc::bad_scale, shard, tensor,
                        "the scale has the bits " + std::to_string(bits) +
                            ", it must be a finite normal float above zero (bits 8388608 to 2139095039)");
        }
        values[0] = config_.divides ? exact_reciprocal(values[0]) : values[0];
        add_floats(name, std::move(values));
        return {};
    }

    [[nodiscard]] result<void> read_gemma_norm(const safetensors_file& shard, const safetensors_tensor& tensor,
                                               std::string_view name) {
        std::vector<float> values = floats(tensor);
        if (values.empty() || tensor.rank != 1) {
            return fail(errc::wrong_shape, shard, tensor,
                        std::string(name_of(tensor.type)) + " " + shape_text(tensor) +
                            ", one dimension of F32, F16 or BF16 expected");
        }
        for (float& value : values) {
            value += 1.0f;
        }
        add_floats(name, std::move(values));
        return {};
    }

    [[nodiscard]] result<void> read_head(const safetensors_file& shard, const safetensors_tensor& tensor,
                                         checkpoint_name name) {
        if (config_.tied.value_or(false)) {
            notes_.emplace_back(
                "tensor 'lm_head.weight' is not used: 'tie_word_embeddings' makes the embedding the head");
            return {};
        }
        if (config_.architecture.starts_with("bitnet")) {
            return fail(errc::unsupported_architecture, shard, tensor,
                        "architecture " + std::string(config_.architecture) +
                            " ties the head to the embedding, but 'tie_word_embeddings' is not true");
        }
        has_head_ = true;
        return borrow(shard, tensor, std::move(name));
    }

    /// Whether the tensors are what the configuration promises, and ternary at all.
    [[nodiscard]] result<void> check_family() {
        if (!config_.is_bitnet && !has_norm_in_) {
            return fail(errc::unsupported_architecture,
                        "not a BitNet model: config.json has no 'quantization_config' of method bitnet, and no "
                        "projection has a norm of its own");
        }
        if (config_.needs_norm_in && !has_norm_in_) {
            return fail(errc::missing_tensor, "'use_rms_norm' is true, but no projection has a norm of its own");
        }
        if (config_.online && has_packed_) {
            return fail(errc::inconsistent, "'quantization_mode' is online, but there are packed weights");
        }
        if (config_.tied == std::optional(false) && !has_head_ && !has_norm_in_) {
            return fail(errc::missing_tensor, "'tie_word_embeddings' is false, but there is no 'lm_head.weight'");
        }
        return {};
    }

    [[nodiscard]] result<void> read_tokenizer() {
        if (!options_.load_tokenizer) {
            return {};
        }
        const auto main = byte_source::open(path_of("tokenizer.json"));
        if (!main) {
            return error{main.error()};
        }
        constexpr std::array<std::string_view, 4> names{"tokenizer_config.json", "special_tokens_map.json",
                                                        "config.json", "chat_template.jinja"};
        std::array<byte_source, names.size()> others;
        for (std::size_t i = 0; i < names.size(); ++i) {
            auto source = byte_source::open(path_of(names[i]));
            if (!source && source.error().code != errc::file_not_found) {
                return std::move(source).error();
            }
            others[i] = source ? *std::move(source) : byte_source();
        }
        const auto embedding = std::ranges::find(tensors_, std::string_view("token_embd.weight"), &gguf_tensor::name);
        const std::uint64_t rows = embedding != tensors_.end() ? embedding->dims[1] : 0;
        const tokenizer_json_files files{.name = main->name(),
                                         .tokenizer = text_of(*main),
                                         .tokenizer_config = text_of(others[0]),
                                         .special_tokens_map = text_of(others[1]),
                                         .model_config = text_of(others[2]),
                                         .chat_template = text_of(others[3]),
                                         .pre_tokenizer = options_.pre_tokenizer};
        auto added = add_tokenizer_json(writer_, files, rows);
        return added ? add_stop_tokens() : std::move(added);
    }

    /// An answer may end at more tokens than eos, and eot, which has its name. GGUF has a place for one more: eom.
    [[nodiscard]] result<void> add_stop_tokens() {
        const auto config = read_json("generation_config.json");
        if (!config && config.error().code != errc::file_not_found) {
            return error{config.error()};
        }
        auto read = config ? read_stop_tokens(config->root(), "generation_config.json") : result<void>();
        if (read && stops_.size() > 1) {
            writer_.add("tokenizer.ggml.eom_token_id", stops_[1]);
        }
        if (stops_.size() > 2) {
            notes_.push_back(std::to_string(stops_.size()) +
                             " tokens end an answer by 'eos_token_id'; of those beyond " +
                             "the second, only end-of-turn tokens that are known by their spelling do here");
        }
        return read;
    }

    /// Collects the ids of eos_token_id: a number, a list or null.
    [[nodiscard]] result<void> read_stop_tokens(json_value config, std::string_view file) {
        const auto value = config.find("eos_token_id");
        std::vector<std::optional<std::uint32_t>> ids;
        if (value && value->is_array()) {
            for (const json_value id : value->elements()) {
                ids.push_back(id.as_integer<std::uint32_t>());
            }
        } else if (value && !value->is_null()) {
            ids.push_back(value->as_integer<std::uint32_t>());
        }
        for (const auto& id : ids) {
            if (!id) {
                return error{errc::wrong_type, path_of(file) + ": 'eos_token_id' must be a token id or a list of them"};
            }
            if (std::ranges::find(stops_, *id) == stops_.end()) {
                stops_.push_back(*id);
            }
        }
        return {};
    }

    [[nodiscard]] result<opened_checkpoint> finish() {
        if (!config_.rotary_divisors.empty()) {
            add_floats("rope_freqs.weight", config_.rotary_divisors);
        }
        if (has_masters_) {
            writer_.add("bitnet_hpp.masters", true);
        }
        auto made = writer_.write_memory();
        if (!made) {
            return fail(made.error().code, made.error().message);
        }
        auto metadata = gguf_file::parse(made->span(), path_);
        if (!metadata) {
            return std::move(metadata).error();
        }
        auto whole = gguf_file::extend(*std::move(metadata), tensors_);
        if (!whole) {
            return std::move(whole).error();
        }
        if (auto scaled = check_scales(*whole); !scaled) {
            return std::move(scaled).error();
        }
        return opened_checkpoint{*std::move(whole), std::move(sources_), *std::move(made), std::move(names_),
                                 std::move(notes_)};
    }

    /// Packed weights mean nothing without their weight_scale.
    [[nodiscard]] result<void> check_scales(const gguf_file& file) {
        for (const gguf_tensor& tensor : tensors_) {
            constexpr std::string_view ending = ".weight";
            const std::string_view stem = tensor.name.substr(0, tensor.name.size() - ending.size());
            if (tensor.type == tensor_type::hf_packed && file.find_tensor(std::string(stem) + ".scale") == nullptr) {
                return fail(errc::missing_tensor, "tensor " + quoted_name(tensor.name) +
                                                      " has packed weights, but there is no weight_scale for it");
            }
        }
        if (has_packed_) {
            notes_.emplace_back(config_.divides ? "weights are code / weight_scale (linear_class bitlinear)"
                                                : "weights are code * weight_scale (linear_class autobitlinear)");
        }
        return {};
    }

    std::string path_;
    checkpoint_options options_;
    gguf_writer writer_;
    hugging_face_config config_;
    std::vector<byte_source> sources_;
    std::vector<safetensors_file> shards_;
    std::deque<std::vector<float>> made_; // until writer_ has written them
    std::vector<std::string> names_;
    std::vector<gguf_tensor> tensors_;
    std::vector<std::string> notes_;
    std::vector<std::uint32_t> stops_;
    bool has_norm_in_ = false;
    bool has_masters_ = false;
    bool has_packed_ = false;
    bool has_head_ = false;
};

/// Opens the Hugging Face checkpoint in the folder at `utf8_path`: config.json, and model.safetensors or
/// model.safetensors.index.json with its shards, all mapped. What comes out looks like a GGUF file: see
/// hugging_face_config for its metadata and gguf_name_of for the names. Packed weights are of tensor_type::hf_packed,
/// with the factor that they need beside them; rows of Q and K are not permuted, and "bitnet_hpp.rotary" says so;
/// "bitnet_hpp.masters" says that weights in F32, F16 and BF16 are to be ternarised.
/// The tokenizer is that of tokenizer.json and the files beside it: see add_tokenizer_json.
/// \return whatever byte_source::open, json_document::parse, safetensors_file::parse, hugging_face_config::read and
/// add_tokenizer_json return; bad_file_name, file_not_found, inconsistent, missing_tensor, duplicate_tensor,
/// unsupported_architecture, unsupported_type, bad_shape, wrong_shape, bad_scale or out_of_memory. Each names the file
/// and the tensor or key. Proven by tests/model/hugging_face_malformed_test.cpp.
[[nodiscard]] inline result<opened_checkpoint> open_hugging_face(std::string_view utf8_path,
                                                                 const checkpoint_options& options = {}) {
    return hugging_face_reader(utf8_path, options).run();
}

} // namespace bitnet::inline BITNET_ABI

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI {

/// A model's file, or the files of its directory, opened and parsed. Owns all that gguf() points into. Immutable;
/// move-only; pointers and spans that it gave stay valid when it moves.
class model_file {
public:
    /// Opens what is at `utf8_path`: a GGUF file, mapped, or the folder of a Hugging Face checkpoint, to
    /// which alone the options apply.
    /// \return as byte_source::open, gguf_file::parse and open_hugging_face.
    [[nodiscard]] static result<model_file> open(std::string_view utf8_path, const checkpoint_options& options = {}) {
        if (utf8_path.find('\0') == std::string_view::npos && operating_system::is_directory(std::string(utf8_path))) {
            auto opened = open_hugging_face(utf8_path, options);
            return opened ? result<model_file>(model_file(*std::move(opened))) : std::move(opened).error();
        }
        auto source = byte_source::open(utf8_path);
        return source ? open(*std::move(source)) : result<model_file>(std::move(source).error());
    }

    /// Reads the GGUF file in `source`, which the model_file takes over. \return what gguf_file::parse returns.
    [[nodiscard]] static result<model_file> open(byte_source source) {
        auto parsed = gguf_file::parse(source.bytes(), source.name());
        if (!parsed) {
            return std::move(parsed).error();
        }
        model_file made({*std::move(parsed), {}, {}, {}, {}});
        made.parts_.sources.push_back(std::move(source));
        return made;
    }

    [[nodiscard]] const gguf_file& gguf() const noexcept { return parts_.gguf; }
    [[nodiscard]] const std::string& name() const noexcept { return parts_.gguf.name(); }
    /// What was decided or passed over while a directory was opened, a sentence each.
    [[nodiscard]] std::span<const std::string> notes() const noexcept { return parts_.notes; }
    /// Bytes of all files that hold tensors.
    [[nodiscard]] std::uint64_t size() const noexcept {
        std::uint64_t bytes = 0;
        for (const byte_source& source : parts_.sources) {
            bytes += source.bytes().size();
        }
        return bytes;
    }

    /// Whether all tensors of the files are mapped, so that their bytes are the system's to keep or drop.
    [[nodiscard]] bool is_mapped() const noexcept {
        return std::ranges::all_of(parts_.sources, &byte_source::is_mapped);
    }
    /// Passes a hint on to all mappings.
    void advise(access_hint hint) const noexcept {
        for (const byte_source& source : parts_.sources) {
            source.advise(hint);
        }
    }
    /// byte_source::give_back for the file that `part` lies in. \return false also where it lies in none.
    bool give_back(std::span<const std::byte> part) const noexcept {
        const std::less_equal<> not_behind; // a total order, also of pointers into different files
        const auto holds = [&](const byte_source& source) {
            const auto all = source.bytes();
            return not_behind(all.data(), part.data()) &&
                   not_behind(part.data() + part.size(), all.data() + all.size());
        };
        const auto found = std::ranges::find_if(parts_.sources, holds);
        return found != parts_.sources.end() && found->give_back(part);
    }

private:
    explicit model_file(opened_checkpoint parts) noexcept : parts_(std::move(parts)) {}

    opened_checkpoint parts_;
};

} // namespace bitnet::inline BITNET_ABI

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// A ternary matrix [rows, cols] and its one scale: weight = (code - 1) * scale.
template <class Layout> struct ternary_matrix {
    typename Layout::view codes;
    float scale = 0;

    [[nodiscard]] std::size_t rows() const noexcept { return codes.rows; }
    [[nodiscard]] std::size_t cols() const noexcept { return codes.cols; }
};

/// What the elements of a dense matrix are.
enum class dense_element { f32, f16, bf16, q8_0, q6_k, q4_k, q4_0 };

/// Calls f.operator()<E>() for the type of the elements.
template <class F> auto with_element(dense_element element, F&& f) noexcept {
    switch (element) {
    case dense_element::f32:
        return f.template operator()<float>();
    case dense_element::bf16:
        return f.template operator()<bfloat16>();
    case dense_element::q8_0:
        return f.template operator()<bitnet::q8_0>();
    case dense_element::q6_k:
        return f.template operator()<bitnet::q6_k>();
    case dense_element::q4_k:
        return f.template operator()<bitnet::q4_k>();
    case dense_element::q4_0:
        return f.template operator()<bitnet::q4_0>();
    case dense_element::f16:
        break;
    }
    return f.template operator()<half>();
}

/// What the elements of a tensor are; nothing for types that no head and no embedding has.
[[nodiscard]] constexpr std::optional<dense_element> dense_element_of(tensor_type type) noexcept {
    switch (type) {
    case tensor_type::f32:
        return dense_element::f32;
    case tensor_type::f16:
        return dense_element::f16;
    case tensor_type::bf16:
        return dense_element::bf16;
    case tensor_type::q8_0:
        return dense_element::q8_0;
    case tensor_type::q6_k:
        return dense_element::q6_k;
    case tensor_type::q4_k:
        return dense_element::q4_k;
    case tensor_type::q4_0:
        return dense_element::q4_0;
    default:
        return std::nullopt;
    }
}

/// The embedding and head, [rows, cols], in the file's own type and place, at any alignment.
struct dense_matrix {
    const std::byte* data = nullptr;
    std::size_t rows = 0;
    std::size_t cols = 0;
    dense_element element = dense_element::f16;

    [[nodiscard]] std::size_t row_bytes() const noexcept {
        return with_element(element, [this]<class E>() { return row_bytes_of<E>(cols); });
    }
};

/// The matrices and norms of one transformer block. Shapes are [rows, cols] = [outputs, inputs]. A norm that is null is
/// not applied.
template <class Layout> struct layer_weights {
    const float* attn_norm = nullptr;           ///< [hidden]
    const float* attn_q_norm_in = nullptr;      ///< [hidden]: after attn_norm, before attn_q alone
    const float* attn_k_norm_in = nullptr;      ///< [hidden]
    const float* attn_v_norm_in = nullptr;      ///< [hidden]
    ternary_matrix<Layout> attn_q;              ///< [query_columns, hidden]
    ternary_matrix<Layout> attn_k;              ///< [kv_columns, hidden]
    ternary_matrix<Layout> attn_v;              ///< [kv_columns, hidden]
    const float* attn_q_norm = nullptr;         ///< [head_size]: of each head, before rotation
    const float* attn_k_norm = nullptr;         ///< [head_size]
    const float* attn_sub_norm = nullptr;       ///< [query_columns]: before attn_output
    ternary_matrix<Layout> attn_output;         ///< [hidden, query_columns]
    const float* post_attention_norm = nullptr; ///< [hidden]: before the residual takes attn_output's products
    const float* ffn_norm = nullptr;            ///< [hidden]
    const float* ffn_gate_norm_in = nullptr;    ///< [hidden]: after ffn_norm, before ffn_gate alone
    const float* ffn_up_norm_in = nullptr;      ///< [hidden]
    ternary_matrix<Layout> ffn_gate;            ///< [feed_forward, hidden]
    ternary_matrix<Layout> ffn_up;              ///< [feed_forward, hidden]
    const float* ffn_sub_norm = nullptr;        ///< [feed_forward]: before ffn_down
    ternary_matrix<Layout> ffn_down;            ///< [hidden, feed_forward]
    const float* post_ffw_norm = nullptr;       ///< [hidden]: before the residual takes ffn_down's products

    /// Whether each of q, k and v, and each of gate and up, has an input of its own.
    [[nodiscard]] bool has_own_qkv_inputs() const noexcept {
        return attn_q_norm_in != nullptr || attn_k_norm_in != nullptr || attn_v_norm_in != nullptr;
    }
    [[nodiscard]] bool has_own_ffn_inputs() const noexcept {
        return ffn_gate_norm_in != nullptr || ffn_up_norm_in != nullptr;
    }
};

struct weight_options {
    /// Which of the three byte orders the file's I2_S tensors have: the file does not tell. A but for files that were
    /// quantised on Arm (B) or by an x86 build without ACT_PARALLEL (C).
    i2s_order file_order = i2s_order::planar_128;
    /// Whether every code of every ternary tensor is looked at, to refuse code 3. Reads all weights once. Tensors that
    /// are repacked are looked at in any case.
    bool verify_codes = false;
    /// Where the file's bytes come from: pages of tensors that were repacked are given back to it. May be null.
    const model_file* source = nullptr;
    /// The text of the kernel_config.ini that a file in microsoft/BitNet's TL1 or TL2 was written with.
    std::string_view lookup_tiling = {};
};

/// All weights of a model. Borrows the file's bytes, which must outlive it; owns the norms (widened to float) and the
/// ternary tensors that had to be repacked. Immutable once open.
template <class Layout> class weights {
public:
    /// Repacks tensors that are not in `Layout` on the threads of `pool`, and ternarises masters: see has_masters.
    /// \return errc::missing_tensor, wrong_shape, unsupported_type, wrong_layout, bad_scale, bad_code or out_of_memory,
    /// naming the file, the tensor and both shapes or numbers.
    template <thread_pool_type Pool>
    [[nodiscard]] static result<weights> open(const gguf_file& file, const hyper_parameters& model,
                                              const weight_options& options, Pool& pool);

    [[nodiscard]] const dense_matrix& embedding() const noexcept { return embedding_; } ///< [vocabulary, hidden]
    /// [vocabulary, hidden]; the embedding where the model has no head of its own.
    [[nodiscard]] const dense_matrix& head() const noexcept { return head_; }
    [[nodiscard]] const float* output_norm() const noexcept { return output_norm_; } ///< [hidden]
    [[nodiscard]] const layer_weights<Layout>& layer(std::size_t i) const noexcept { return layers_[i]; }

    /// How many ternary tensors were not in the policy's layout, and the bytes made of them.
    [[nodiscard]] std::size_t repacked_tensors() const noexcept { return repacked_tensors_; }
    [[nodiscard]] std::uint64_t repacked_bytes() const noexcept { return repacked_bytes_; }

private:
    template <class L, class Pool> friend class weight_reader;

    dense_matrix embedding_;
    dense_matrix head_;
    const float* output_norm_ = nullptr;
    std::unique_ptr<layer_weights<Layout>[]> layers_;
    buffer<float> norms_;
    buffer<std::uint8_t> repacked_;
    std::size_t repacked_tensors_ = 0;
    std::uint64_t repacked_bytes_ = 0;
};

/// One reading of a file's tensors; the first failure stays. Use weights::open.
template <class Layout, class Pool> class weight_reader {
public:
    weight_reader(const gguf_file& file, const hyper_parameters& model, const weight_options& options, Pool& pool)
        : file_(file), model_(model), options_(options), pool_(pool) {}

    [[nodiscard]] result<weights<Layout>> run() {
        if (auto made = allocate(); !made) {
            return std::move(made).error();
        }
        made_.embedding_ = dense("token_embd.weight");
        made_.head_ = model_.has_own_head ? dense("output.weight") : made_.embedding_;
        made_.output_norm_ = norm("output_norm.weight", model_.hidden);
        for (std::size_t i = 0; i < model_.layers && ok(); ++i) {
            read_layer("blk." + std::to_string(i) + ".", made_.layers_[i]);
        }
        refuse_unused();
        if (!ok()) {
            return std::move(failure_);
        }
        return std::move(made_);
    }

private:
    [[nodiscard]] bool ok() const noexcept { return failure_.code == errc{}; }

    void fail(errc code, std::string_view tensor, const std::string& sentence) {
        if (ok()) {
            failure_ = {code, file_.name() + ": tensor '" + std::string(tensor) + "': " + sentence};
        }
    }

    void fail(const error& failure) {
        if (ok()) {
            failure_ = failure;
        }
    }

    /// Norms are copied (and widened): a few MB at most, and then always aligned floats.
    [[nodiscard]] result<void> allocate() {
        const std::uint64_t per_layer =
            9 * model_.hidden + 2 * model_.head_size + model_.query_columns() + model_.feed_forward;
        auto norms = buffer<float>::allocate_uninitialized(per_layer * model_.layers + model_.hidden, "norm weights");
        if (!norms) {
            return std::move(norms).error();
        }
        made_.norms_ = *std::move(norms); // what a model has no norms for is never touched and takes no pages
        auto used = buffer<bool>::allocate(file_.tensors().size(), "tensor table");
        if (!used) {
            return std::move(used).error();
        }
        used_tensors_ = *std::move(used);
        made_.layers_.reset(new (std::nothrow) layer_weights<Layout>[model_.layers]);
        if (made_.layers_ == nullptr) {
            return error{errc::out_of_memory,
                         "layer table: " + std::to_string(model_.layers * sizeof(layer_weights<Layout>)) +
                             " bytes could not be allocated"};
        }
        return {};
    }

    /// Memory for all ternary tensors of the model. What stays unused is never touched and takes no pages.
    [[nodiscard]] result<void> allocate_repacked() {
        const std::size_t q = model_.query_columns();
        const std::size_t shapes[][3] = {{1, q, model_.hidden},
                                         {2, model_.kv_columns(), model_.hidden},
                                         {1, model_.hidden, q},
                                         {2, model_.feed_forward, model_.hidden},
                                         {1, model_.hidden, model_.feed_forward}};
        std::optional<std::uint64_t> bytes = 0;
        for (const auto& [count, rows, cols] : shapes) {
            const auto one = repacked_size(rows, cols);
            const auto all = one ? checked_multiply(*one, count * model_.layers) : one;
            bytes = bytes && all ? checked_add(*bytes, *all) : std::nullopt;
        }
        if (!bytes) {
            return error{errc::out_of_memory, "repacked weights: the number of bytes overflows 64 bits"};
        }
        auto memory = buffer<std::uint8_t>::allocate_uninitialized(*bytes, "repacked weights");
        if (!memory) {
            return std::move(memory).error();
        }
        made_.repacked_ = *std::move(memory);
        ask_for_huge_pages(made_.repacked_.data(), made_.repacked_.size_bytes());
        return {};
    }
    /// Bytes of a matrix in our layout, so that the next one starts at a cache line.
    [[nodiscard]] static std::optional<std::uint64_t> repacked_size(std::size_t rows, std::size_t cols) noexcept {
        const auto bytes = layout_bytes<Layout>(rows, cols);
        return bytes ? checked_align(*bytes, 64) : bytes;
    }

    [[nodiscard]] const gguf_tensor* find(const std::string& name, std::uint64_t rows, std::uint64_t cols) {
        const gguf_tensor* tensor = file_.find_tensor(name);
        if (tensor == nullptr) {
            fail(errc::missing_tensor, name, "not in the file");
            return nullptr;
        }
        if (tensor->dims != tensor_dims{cols, rows, 1, 1}) {
            fail(errc::wrong_shape, name,
                 dims_text(*tensor) + " in the file, [" + std::to_string(cols) +
                     (rows == 1 ? "" : ", " + std::to_string(rows)) + "] expected from the hyper-parameters");
            return nullptr;
        }
        used_tensors_[static_cast<std::size_t>(tensor - file_.tensors().data())] = true;
        return tensor;
    }

    /// Refuses norms and biases that no step of the graph has asked for: without them the results would be wrong.
    void refuse_unused() {
        for (std::size_t i = 0; i < file_.tensors().size() && ok(); ++i) {
            const std::string_view name = file_.tensors()[i].name;
            const bool matters =
                name.ends_with("norm.weight") || name.ends_with("norm_in.weight") || name.ends_with(".bias");
            if (matters && !used_tensors_[i]) {
                fail(errc::unsupported_architecture, name,
                     "in the file, but the graph of " + model_.architecture + " has no place for it");
            }
        }
    }

    /// The embedding or the head.
    [[nodiscard]] dense_matrix dense(const std::string& name) {
        const gguf_tensor* tensor = ok() ? find(name, model_.vocabulary, model_.hidden) : nullptr;
        if (tensor == nullptr) {
            return {};
        }
        const auto element = dense_element_of(tensor->type);
        if (!element) {
            fail(errc::unsupported_type, tensor->name,
                 "type " + std::string(name_of(tensor->type)) +
                     " in the file, F16, F32, BF16, Q8_0, Q6_K, Q4_K or Q4_0 expected");
            return {};
        }
        return {tensor->bytes.data(), model_.vocabulary, model_.hidden, *element};
    }

    [[nodiscard]] const float* norm(const std::string& name, std::size_t size) {
        const gguf_tensor* tensor = ok() ? find(name, 1, size) : nullptr;
        if (tensor == nullptr) {
            return nullptr;
        }
        float* out = made_.norms_.data() + used_norms_;
        used_norms_ += size;
        switch (tensor->type) {
        case tensor_type::f32:
            std::memcpy(out, tensor->bytes.data(), size * sizeof(float));
            break;
        case tensor_type::f16:
            widen_into<half>(*tensor, out);
            break;
        case tensor_type::bf16:
            widen_into<bfloat16>(*tensor, out);
            break;
        default:
            fail(errc::unsupported_type, name,
                 "type " + std::string(name_of(tensor->type)) + " in the file, F32, F16 or BF16 expected");
        }
        return out;
    }
    template <class E> static void widen_into(const gguf_tensor& tensor, float* out) noexcept {
        for (std::size_t i = 0; i < tensor.bytes.size() / sizeof(E); ++i) {
            E element;
            std::memcpy(&element, tensor.bytes.data() + i * sizeof(E), sizeof(E));
            out[i] = widen(element);
        }
    }

    /// The norm `prefix` + `what`.weight. Null in a model that has none: block 0 tells for all that have to follow.
    [[nodiscard]] const float* optional_norm(const std::string& prefix, const std::string& what, std::size_t size) {
        const std::string name = prefix + what + ".weight";
        const bool wanted =
            file_.find_tensor("blk.0." + what + ".weight") != nullptr || file_.find_tensor(name) != nullptr;
        return wanted ? norm(name, size) : nullptr;
    }

    /// A norm between a layer's last two steps: `what`, which BitNet b1.58 must have, or `other`, which stands in the
    /// same place in the embedding models, or none.
    [[nodiscard]] const float* sub_norm(const std::string& prefix, const std::string& what, const std::string& other,
                                        std::size_t size) {
        if (model_.has_sub_norms) {
            return norm(prefix + what + ".weight", size);
        }
        const float* found = optional_norm(prefix, what, size);
        return found != nullptr ? found : optional_norm(prefix, other, size);
    }

    void read_layer(const std::string& prefix, layer_weights<Layout>& layer) {
        read_attention(prefix, layer);
        const std::size_t hidden = model_.hidden;
        layer.ffn_norm = norm(prefix + "ffn_norm.weight", hidden);
        layer.ffn_gate_norm_in = optional_norm(prefix, "ffn_gate_norm_in", hidden);
        layer.ffn_up_norm_in = optional_norm(prefix, "ffn_up_norm_in", hidden);
        layer.ffn_gate = matrix(prefix + "ffn_gate", model_.feed_forward, hidden);
        layer.ffn_up = matrix(prefix + "ffn_up", model_.feed_forward, hidden);
        layer.ffn_sub_norm = sub_norm(prefix, "ffn_sub_norm", "ffn_down_norm_in", model_.feed_forward);
        layer.ffn_down = matrix(prefix + "ffn_down", hidden, model_.feed_forward);
        layer.post_ffw_norm = optional_norm(prefix, "post_ffw_norm", hidden);
    }

    void read_attention(const std::string& prefix, layer_weights<Layout>& layer) {
        const std::size_t q = model_.query_columns();
        const std::size_t hidden = model_.hidden;
        layer.attn_norm = norm(prefix + "attn_norm.weight", hidden);
        layer.attn_q_norm_in = optional_norm(prefix, "attn_q_norm_in", hidden);
        layer.attn_k_norm_in = optional_norm(prefix, "attn_k_norm_in", hidden);
        layer.attn_v_norm_in = optional_norm(prefix, "attn_v_norm_in", hidden);
        layer.attn_q = matrix(prefix + "attn_q", q, hidden);
        layer.attn_k = matrix(prefix + "attn_k", model_.kv_columns(), hidden);
        layer.attn_v = matrix(prefix + "attn_v", model_.kv_columns(), hidden);
        layer.attn_q_norm = optional_norm(prefix, "attn_q_norm", model_.head_size);
        layer.attn_k_norm = optional_norm(prefix, "attn_k_norm", model_.head_size);
        layer.attn_sub_norm = sub_norm(prefix, "attn_sub_norm", "attn_output_norm_in", q);
        layer.attn_output = matrix(prefix + "attn_output", hidden, q);
        layer.post_attention_norm = optional_norm(prefix, "post_attention_norm", hidden);
    }

    /// The ternary tensor `name`.weight, and the scalar `name`.scale that files of architecture bitnet may have beside
    /// it.
    [[nodiscard]] ternary_matrix<Layout> matrix(const std::string& name, std::size_t rows, std::size_t cols) {
        const gguf_tensor* tensor = ok() ? find(name + ".weight", rows, cols) : nullptr;
        if (tensor == nullptr) {
            return {};
        }
        ternary_matrix<Layout> made;
        if (has_ternary_scale(tensor->type)) {
            made.scale = scale(*tensor);
            with_layout_of(tensor->type, options_.file_order,
                           [&]<class From>() { made.codes = codes<From>(*tensor, rows, cols); });
        } else {
            made = read_rows(*tensor, rows, cols);
        }
        made.scale *= extra_scale(name + ".scale");
        check_scale(tensor->name, made.scale);
        return made;
    }

    /// A tensor in a format that no kernel works on, packed into our layout.
    [[nodiscard]] ternary_matrix<Layout> read_rows(const gguf_tensor& tensor, std::size_t rows, std::size_t cols) {
        ternary_matrix<Layout> made;
        const auto pack = [&](const any_ternary_rows& source) -> result<void> {
            made.scale = source.scale();
            made.codes = repacked(tensor, rows, cols, [&](std::uint8_t* out) {
                return pack_rows<Layout>(pool_, source, tensor, file_.name(), out);
            });
            return {};
        };
        if (!admits<Layout>(tensor)) {
            return {};
        }
        const row_options how{file_.name(), has_masters(file_), options_.lookup_tiling};
        if (const auto done = with_ternary_rows(tensor, how, pool_, pack); !done) {
            fail(done.error());
        }
        if (tensor.type == tensor_type::tl1 || tensor.type == tensor_type::tl2) {
            made.scale = lookup_scale(std::string(tensor.name) + "_scale");
        }
        return made;
    }

    /// TL1 and TL2 have their scale in a tensor of its own.
    [[nodiscard]] float lookup_scale(const std::string& name) {
        if (file_.find_tensor(name) == nullptr) {
            fail(errc::missing_tensor, name, "not in the file: it is the scale of a TL1 or TL2 tensor");
        }
        return extra_scale(name);
    }
    [[nodiscard]] float scale(const gguf_tensor& tensor) {
        const auto value = i2s_scale(tensor, file_.name());
        if (!value) {
            fail(value.error());
            return 1.0f;
        }
        return *value;
    }
    [[nodiscard]] float extra_scale(const std::string& name) {
        const gguf_tensor* tensor = file_.find_tensor(name);
        if (tensor == nullptr) {
            return 1.0f;
        }
        float value = 0;
        if (tensor->type != tensor_type::f32 || tensor->dims != tensor_dims{1, 1, 1, 1}) {
            fail(errc::wrong_shape, name,
                 std::string(name_of(tensor->type)) + " " + dims_text(*tensor) + " in the file, F32 [1] expected");
            return 1.0f;
        }
        std::memcpy(&value, tensor->bytes.data(), sizeof value);
        check_scale(name, value);
        return value;
    }
    void check_scale(std::string_view name, float value) {
        const auto bits = std::bit_cast<std::uint32_t>(value); // isfinite() would vanish under -ffast-math
        if (bits == 0 || bits >= 0x7f800000u) {
            fail(errc::bad_scale, name,
                 (bits & 0x7fffffffu) >= 0x7f800000u
                     ? std::string("the scale is not finite")
                     : "the scale is " + std::to_string(value) + ", it must be above 0");
        }
    }

    /// The codes of `tensor`, which lie in layout `From`: in place, or repacked.
    template <class From>
    [[nodiscard]] typename Layout::view codes(const gguf_tensor& tensor, std::size_t rows, std::size_t cols) {
        if (!ok() || !admits<From>(tensor) || !admits<Layout>(tensor)) {
            return {};
        }
        if constexpr (std::is_same_v<From, Layout>) {
            if (const auto checked = options_.verify_codes ? check_codes<From>(tensor, file_.name()) : result<void>{};
                !checked) {
                fail(checked.error());
            }
            return codes_of<From>(tensor);
        } else {
            return repacked(tensor, rows, cols, [&](std::uint8_t* out) {
                return repack_tensor<Layout, From>(pool_, tensor, file_.name(), out);
            });
        }
    }

    /// What `write`, given where it may lie, makes of a tensor in our layout. \pre Layout admits the shape
    template <class Write>
    [[nodiscard]] typename Layout::view repacked(const gguf_tensor& tensor, std::size_t rows, std::size_t cols,
                                                 Write&& write) {
        if (const auto ready = made_.repacked_.empty() ? allocate_repacked() : result<void>{}; !ready) {
            fail(ready.error());
            return {};
        }
        std::uint8_t* out = made_.repacked_.data() + used_repacked_;
        if (const auto done = write(out); !done) {
            fail(done.error());
        }
        if (options_.source != nullptr) {
            options_.source->give_back(tensor.bytes);
        }
        used_repacked_ += static_cast<std::size_t>(*repacked_size(rows, cols));
        ++made_.repacked_tensors_;
        made_.repacked_bytes_ += *layout_bytes<Layout>(rows, cols);
        return {out, rows, cols};
    }

    template <class L> [[nodiscard]] bool admits(const gguf_tensor& tensor) {
        const auto rows = static_cast<std::size_t>(tensor.dims[1]);
        const auto cols = static_cast<std::size_t>(tensor.dims[0]);
        if (!L::admits(rows, cols)) {
            fail(errc::wrong_layout, tensor.name,
                 dims_text(tensor) + " in the file, layout " + std::string(L::name) +
                     (file_type<L> == tensor_type::i2_s
                          ? " needs columns in multiples of " + std::to_string(L::block_columns) +
                                " and rows in multiples of " + std::to_string(L::block_rows) +
                                "; dense, tl1 and tl2 take all shapes"
                          : " holds fewer columns"));
            return false;
        }
        return true;
    }

    const gguf_file& file_;
    const hyper_parameters& model_;
    const weight_options& options_;
    Pool& pool_;
    weights<Layout> made_;
    buffer<bool> used_tensors_; ///< in the order of the file
    std::size_t used_norms_ = 0;
    std::size_t used_repacked_ = 0;
    error failure_;
};

template <class Layout>
template <thread_pool_type Pool>
result<weights<Layout>> weights<Layout>::open(const gguf_file& file, const hyper_parameters& model,
                                              const weight_options& options, Pool& pool) {
    return weight_reader<Layout, Pool>(file, model, options, pool).run();
}

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/policy.hpp ----
// policy: every compile-time choice in one type. What a file decides (head type, activation) is a run-time switch.

// ---- bitnet/kernel/dense_amx_int8.hpp ----
// The dense layout (five weights in a byte) for AMX. Empty on other architectures.

// ---- bitnet/kernel/amx_tiles.hpp ----
// amx_tiles: the tile registers of AMX as the matrix kernels use them. Empty on other architectures.

#include <cstddef>
#include <cstdint>

#if BITNET_X86_64

namespace bitnet::inline BITNET_ABI {

/// What ldtilecfg reads: 64 bytes, palette 1. Intel SDM volume 2, LDTILECFG.
struct alignas(64) tile_configuration {
    std::uint8_t palette = 1;
    std::uint8_t start_row = 0;
    std::uint8_t reserved[14] = {};
    std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64}; ///< of tiles 0..7; the palette has no more
    std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(tile_configuration) == 64);

#if BITNET_AMX_ASSEMBLER
/// The hardware's tiles. Written as assembly: the intrinsics of gcc and clang want literal tile numbers.
/// \pre isa::amx_int8::available(). State belongs to the thread: configure() before, release() after use.
struct amx_tiles {
    static void configure(const tile_configuration& c) noexcept { __asm__ volatile("ldtilecfg %0" ::"m"(c)); }
    static void release() noexcept { __asm__ volatile("tilerelease" ::); }

    template <int Tile> static BITNET_ALWAYS_INLINE void zero() noexcept {
        __asm__ volatile("tilezero %%tmm%c0" ::"i"(Tile));
    }
    template <int Tile> static BITNET_ALWAYS_INLINE void load(const void* p, std::size_t stride) noexcept {
        __asm__ volatile("{tileloadd (%0,%1,1), %%tmm%c2|tileloadd tmm%c2, [%0+%1*1]}" ::"r"(p), "r"(stride), "i"(Tile)
                         : "memory");
    }
    /// load() of what is used once before it leaves the first level of cache.
    template <int Tile> static BITNET_ALWAYS_INLINE void load_streamed(const void* p, std::size_t stride) noexcept {
        __asm__ volatile("{tileloaddt1 (%0,%1,1), %%tmm%c2|tileloaddt1 tmm%c2, [%0+%1*1]}" ::"r"(p), "r"(stride),
                         "i"(Tile)
                         : "memory");
    }
    template <int Tile> static BITNET_ALWAYS_INLINE void store(void* p, std::size_t stride) noexcept {
        __asm__ volatile("{tilestored %%tmm%c2, (%0,%1,1)|tilestored [%0+%1*1], tmm%c2}" ::"r"(p), "r"(stride),
                         "i"(Tile)
                         : "memory");
    }
    /// Sum += Codes (unsigned bytes) * Values (signed bytes), four by four.
    template <int Sum, int Codes, int Values> static BITNET_ALWAYS_INLINE void multiply() noexcept {
        __asm__ volatile("{tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0|tdpbusd tmm%c0, tmm%c1, tmm%c2}" ::"i"(Sum), "i"(Codes),
                         "i"(Values));
    }
};
#endif

} // namespace bitnet::inline BITNET_ABI
#endif

// ---- bitnet/kernel/by_way_of_i2s.hpp ----
// by_way_of_i2s: matrix products with many tokens for layouts that are slow to unpack, through the I2_S kernels.

// ---- bitnet/kernel/kernel.hpp ----
// kernel<Isa, Layout>: ternary matrix products of one instruction set on one layout, exact in int32.

#include <concepts>
#include <cstddef>
#include <cstdint>

namespace bitnet::inline BITNET_ABI {

/// Activation rows are zero from their last column to the next multiple of this many: whole blocks of I2_S (128) and of
/// dense (320), so that the one can be unpacked to the other.
inline constexpr std::size_t activation_padding = 640;

/// One or more quantised activation rows, [tokens, cols] of int8, and their sums. Borrows its memory.
/// Rows of quantized_rows start 64-byte aligned and are zero up to a multiple of activation_padding.
struct activation_view {
    const std::int8_t* data = nullptr;
    const std::int32_t* sums = nullptr; ///< [tokens]
    std::size_t stride = 0;             ///< int8 values from token to token
    std::size_t tokens = 0;
    const std::byte* arranged = nullptr; ///< where an arranging_kernel put the groups of tokens, the first one's here
    std::size_t arranged_stride = 0;     ///< bytes from group to group
};

/// Undefined: a pair of instruction set and layout for which no kernel is written fails to compile, by name.
template <class Isa, class Layout> struct kernel;

/// y[t * y_stride + r] = sum over c of w[first + r, c] * x[t, c] for r < count: exact, and so the same on every Isa.
/// Weights are code - 1; int32 holds any sum of up to 2^22 columns (2 * 128 * 2^22 = 2^30).
template <class K>
concept ternary_kernel = requires(const typename K::layout::view& w, std::size_t first, std::size_t count,
                                  const activation_view& x, std::int32_t* y, std::size_t y_stride) {
    { K::rows(w, first, count, x, y, y_stride) }
    noexcept->std::same_as<void>;
};

/// A kernel that wants activations in an order of its own, made once for all the matrices and rows they meet:
/// arrange(x, first_token, cols, out) writes the arranged_bytes(cols) bytes of the group of arranged_tokens tokens that
/// starts at first_token (a multiple of arranged_tokens; tokens beyond x.tokens are taken as zero) to `out`, which is
/// 64-byte aligned. rows() then finds the groups of its tokens at x.arranged, and its first token starts a group.
template <class K>
concept arranging_kernel = ternary_kernel<K> &&
    requires(const activation_view& x, std::size_t first_token, std::size_t cols, std::byte* out) {
    { K::arranged_tokens } -> std::convertible_to<std::size_t>;
    { K::arranged_bytes(cols) }
    noexcept->std::same_as<std::size_t>;
    { K::arrange(x, first_token, cols, out) }
    noexcept->std::same_as<void>;
};

/// Tokens that the kernel takes together: blocks of tokens are cut at multiples of this.
template <ternary_kernel K> [[nodiscard]] constexpr std::size_t tokens_per_group() noexcept {
    if constexpr (arranging_kernel<K>) {
        return K::arranged_tokens;
    } else {
        return 1;
    }
}

} // namespace bitnet::inline BITNET_ABI

#include <cstddef>
#include <cstdint>

namespace bitnet::inline BITNET_ABI {

/// Unpacks rows to I2_S, a block of rows at a time on the stack, and multiplies them by I2sKernel. Unpacking costs as
/// much as a few tokens do. The I2_S rows are as long as padded activations, whose zeros meet what fills them up.
/// \tparam Rows unpacks: Rows::unpack(w, first, count, out, bytes from row to row of out)
template <class I2sKernel, class Layout, class Rows> struct by_way_of_i2s {
    /// Columns of the I2_S rows; I2sKernel::arrange, if there is one, must be given so many, too.
    [[nodiscard]] static constexpr std::size_t padded(std::size_t cols) noexcept {
        return (cols + activation_padding - 1) / activation_padding * activation_padding;
    }

    static void rows(const typename Layout::view& w, std::size_t first, std::size_t count, const activation_view& x,
                     std::int32_t* y, std::size_t y_stride) noexcept {
        alignas(64) std::uint8_t unpacked[buffer_bytes];
        const std::size_t row_bytes = padded(w.cols) / 4;
        const std::size_t fitting = buffer_bytes / row_bytes;
        const std::size_t block = fitting < most_rows ? fitting : most_rows;
        for (std::size_t r = 0; r < count; r += block) {
            const std::size_t now = count - r < block ? count - r : block;
            Rows::unpack(w, first + r, now, unpacked, row_bytes);
            I2sKernel::rows({unpacked, now, padded(w.cols)}, 0, now, x, y + r, y_stride);
        }
    }

private:
    static constexpr std::size_t most_rows = 32;
    /// 32 rows of up to 9216 columns, and one of the 2^18 that layouts admit.
    static constexpr std::size_t buffer_bytes = std::size_t{72} * 1024;
};

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/kernel/dense_avx2.hpp ----
// The dense layout (five weights in a byte) for AVX2. Empty on other architectures.

// ---- bitnet/kernel/i2s_avx2.hpp ----
// I2_S (order A) for AVX2. Empty on other architectures.

// ---- bitnet/kernel/i2s_tiling.hpp ----
// The order in which register tiles of an I2_S kernel pass a range of rows. Empty on other architectures than x86-64.

#include <cstddef>
#include <cstdint>
#include <utility>

#if BITNET_X86_64
#include <xmmintrin.h>

namespace bitnet::inline BITNET_ABI {

/// Asks the second level of cache for the line 8 KiB after the pair of rows that starts at `w`, at block `b` of 64
/// bytes of the pair: one call in each step of a tile of two rows reads on across the ends of rows and chunks. Measured
/// on Zen 4: 97 % of the speed of plain reads; half as far 76 %, into the first level 41 %, not at all 39 %.
BITNET_ALWAYS_INLINE void prefetch_pair(const std::uint8_t* w, std::size_t b) noexcept {
    constexpr std::size_t distance = 8192;
    _mm_prefetch(reinterpret_cast<const char*>(w) + distance + b * 64, _MM_HINT_T1);
}

/// Cuts rows x tokens into tiles of 2 rows x up to MostTokens tokens, each computed by
/// Kernel::tile<Rows, Tokens>(weights of the first row, cols, x, first token, y of the first row, y_stride).
/// Few tokens: a pair of rows meets all of them on its way from memory. Many: the activations of one tile stay in the
/// first level of cache while a block of rows passes them.
template <class Kernel, std::size_t MostTokens> struct i2s_tiling {
    static void rows(const i2s::view& w, std::size_t first, std::size_t count, const activation_view& x,
                     std::int32_t* y, std::size_t y_stride) noexcept {
        constexpr std::size_t few_tokens = 12;
        constexpr std::size_t rows_in_cache = 32;
        const std::size_t block = x.tokens <= few_tokens ? 2 : rows_in_cache;
        for (std::size_t r = 0; r < count; r += block) {
            const std::size_t rest = count - r;
            all_tokens(w, first + r, rest < block ? rest : block, x, y + r, y_stride);
        }
    }

private:
    static void all_tokens(const i2s::view& w, std::size_t first, std::size_t count, const activation_view& x,
                           std::int32_t* y, std::size_t y_stride) noexcept {
        for (std::size_t t = 0; t < x.tokens;) {
            const std::size_t rest = x.tokens - t;
            const std::size_t groups = (rest + MostTokens - 1) / MostTokens;
            const std::size_t now = (rest + groups - 1) / groups; // so that all groups have nearly the same size
            [&]<std::size_t... Less>(std::index_sequence<Less...>) noexcept {
                (void)((now == Less + 1 && (tokens<Less + 1>(w, first, count, x, t, y, y_stride), true)) || ...);
            }
            (std::make_index_sequence<MostTokens>{});
            t += now;
        }
    }

    template <std::size_t Tokens>
    static void tokens(const i2s::view& w, std::size_t first, std::size_t count, const activation_view& x,
                       std::size_t t, std::int32_t* y, std::size_t y_stride) noexcept {
        const std::size_t row_bytes = w.cols / 4;
        const std::uint8_t* weights = w.data + first * row_bytes;
        std::size_t r = 0;
        for (; r + 2 <= count; r += 2) {
            Kernel::template tile<2, Tokens>(weights + r * row_bytes, w.cols, x, t, y + r, y_stride);
        }
        if (r < count) {
            Kernel::template tile<1, Tokens>(weights + r * row_bytes, w.cols, x, t, y + r, y_stride);
        }
    }
};

} // namespace bitnet::inline BITNET_ABI
#endif

// ---- bitnet/kernel/lane_sums.hpp ----
// lane_sums: the int32 lanes of ymm registers added up. Empty on other architectures than x86-64.

#include <cstddef>
#include <cstdint>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN("avx2,fma,f16c,bmi,bmi2")
namespace bitnet::inline BITNET_ABI {

[[nodiscard]] BITNET_ALWAYS_INLINE std::int32_t lane_sum(__m256i v) noexcept {
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
    return _mm_cvtsi128_si32(s);
}

/// y[r] = sum of the lanes of v[r], less `offset`.
template <std::size_t Rows>
BITNET_ALWAYS_INLINE void store_lane_sums(const __m256i (&v)[Rows], std::int32_t offset, std::int32_t* y) noexcept {
    if constexpr (Rows == 2) {
        const __m256i pairs = _mm256_hadd_epi32(v[0], v[1]);
        const __m128i quads = _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));
        const __m128i sums = _mm_sub_epi32(_mm_hadd_epi32(quads, quads), _mm_set1_epi32(offset));
        _mm_storel_epi64(reinterpret_cast<__m128i*>(y), sums);
    } else {
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            y[r] = lane_sum(v[r]) - offset;
        }
    }
}

} // namespace bitnet::inline BITNET_ABI
BITNET_TARGET_END
#endif

// ---- bitnet/simd/isa.hpp ----
// Instruction-set tags: what kernels are written for. available() says whether this machine runs them.

// ---- bitnet/simd/cpu.hpp ----
// What this CPU and this operating system can run, asked of cpuid and xgetbv.

#if BITNET_X86_64
#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

#include <cstdint>

namespace bitnet::inline BITNET_ABI {

/// Instruction sets of an x86-64 machine, each true only where the operating system saves its registers too.
struct x86_features {
    bool avx2 = false;        ///< AVX2, FMA, F16C, BMI1 and BMI2: one level, as Haswell and Zen have it
    bool avx_vnni = false;    ///< avx2 and AVX-VNNI (vpdpbusd on ymm)
    bool avx512_vnni = false; ///< avx2 and AVX-512 F, CD, DQ, BW, VL, VNNI
    bool amx_int8 = false;    ///< avx512_vnni and AMX tiles with INT8
};

#if BITNET_X86_64
namespace cpu {

struct registers {
    std::uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

/// cpuid of (leaf, subleaf); all zero where the CPU has no such leaf.
[[nodiscard]] inline registers cpuid(std::uint32_t leaf, std::uint32_t subleaf) noexcept {
    registers r;
#if defined(_MSC_VER) && !defined(__clang__)
    int words[4];
    __cpuid(words, 0);
    if (static_cast<std::uint32_t>(words[0]) >= leaf) {
        __cpuidex(words, static_cast<int>(leaf), static_cast<int>(subleaf));
        r = {static_cast<std::uint32_t>(words[0]), static_cast<std::uint32_t>(words[1]),
             static_cast<std::uint32_t>(words[2]), static_cast<std::uint32_t>(words[3])};
    }
#else
    __get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx);
#endif
    return r;
}

/// XCR0: which register files the operating system saves. \pre cpuid says OSXSAVE.
[[nodiscard]] inline std::uint64_t xgetbv() noexcept {
#if defined(_MSC_VER) && !defined(__clang__)
    return _xgetbv(0);
#else
    std::uint32_t low = 0;
    std::uint32_t high = 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (std::uint64_t{high} << 32) | low;
#endif
}

[[nodiscard]] constexpr bool has(std::uint32_t word, std::uint32_t bits) noexcept { return (word & bits) == bits; }

} // namespace cpu

/// Bit numbers: Intel SDM volume 2, CPUID.
[[nodiscard]] inline x86_features detect_x86_features() noexcept {
    x86_features found;
    const auto leaf1 = cpu::cpuid(1, 0);
    constexpr std::uint32_t osxsave = 1u << 27;
    constexpr std::uint32_t fma_f16c_avx = (1u << 12) | (1u << 29) | (1u << 28);
    if (!cpu::has(leaf1.ecx, osxsave | fma_f16c_avx)) {
        return found;
    }
    constexpr std::uint64_t ymm_state = 0x06;        // SSE and AVX
    constexpr std::uint64_t zmm_state = 0xe0 | 0x06; // opmask, ZMM_Hi256, Hi16_ZMM too
    const std::uint64_t saved = cpu::xgetbv();
    const auto leaf7 = cpu::cpuid(7, 0);
    constexpr std::uint32_t bmi1_avx2_bmi2 = (1u << 3) | (1u << 5) | (1u << 8);
    found.avx2 = (saved & ymm_state) == ymm_state && cpu::has(leaf7.ebx, bmi1_avx2_bmi2);
    if (!found.avx2) {
        return found;
    }
    found.avx_vnni = leaf7.eax >= 1 && cpu::has(cpu::cpuid(7, 1).eax, 1u << 4);
    constexpr std::uint32_t f_dq_cd_bw_vl = (1u << 16) | (1u << 17) | (1u << 28) | (1u << 30) | (1u << 31);
    found.avx512_vnni =
        (saved & zmm_state) == zmm_state && cpu::has(leaf7.ebx, f_dq_cd_bw_vl) && cpu::has(leaf7.ecx, 1u << 11);
    constexpr std::uint64_t tile_state = 0x60000; // XTILECFG, XTILEDATA
    constexpr std::uint32_t amx_tile_and_int8 = (1u << 24) | (1u << 25);
    found.amx_int8 = found.avx512_vnni && (saved & tile_state) == tile_state && cpu::has(leaf7.edx, amx_tile_and_int8);
    return found;
}
#else
[[nodiscard]] inline x86_features detect_x86_features() noexcept { return {}; }
#endif

/// Asks the operating system for AMX tile data; without that their first use would end the process. Linux grants it per
/// process, to threads that start later too (5.16 and later; ARCH_REQ_XCOMP_PERM of arch_prctl); asking again is
/// harmless. Windows saves the tiles of every thread; elsewhere nothing is known and the answer is no.
[[nodiscard]] inline bool permit_amx() noexcept {
#if BITNET_X86_64 && defined(__linux__)
    constexpr long request_permission = 0x1023;
    constexpr long tile_data = 18;
    return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#elif defined(_WIN32)
    return true;
#else
    return false;
#endif
}

} // namespace bitnet::inline BITNET_ABI

#include <concepts>
#include <string_view>

namespace bitnet::inline BITNET_ABI {
namespace isa {

/// Plain C++ for any machine: the oracle that every other instruction set equals bit for bit.
struct scalar {
    static constexpr std::string_view name = "scalar";
    [[nodiscard]] static bool available() noexcept { return true; }
};

/// x86-64 with AVX2, FMA, F16C, BMI (Haswell 2013, Zen 2017 and later).
struct avx2 {
    static constexpr std::string_view name = "avx2";
    [[nodiscard]] static bool available() noexcept { return detect_x86_features().avx2; }
};

/// avx2 and AVX-VNNI (Alder Lake 2021, Zen 5 2024 and later).
struct avx_vnni {
    static constexpr std::string_view name = "avx_vnni";
    [[nodiscard]] static bool available() noexcept { return detect_x86_features().avx_vnni; }
};

/// AVX-512 with VNNI (Ice Lake 2019, Zen 4 2022 and later).
struct avx512_vnni {
    static constexpr std::string_view name = "avx512_vnni";
    [[nodiscard]] static bool available() noexcept { return detect_x86_features().avx512_vnni; }
};

/// avx512_vnni and AMX with INT8 tiles (Sapphire Rapids 2023 and later).
struct amx_int8 {
    static constexpr std::string_view name = "amx_int8";
    /// Linux gives a process the tiles on demand only: the first call asks for them (see permit_amx()).
    [[nodiscard]] static bool available() noexcept { return detect_x86_features().amx_int8 && permit_amx(); }
};

template <class T>
concept instruction_set = requires {
    { T::name } -> std::convertible_to<std::string_view>;
    { T::available() }
    noexcept->std::same_as<bool>;
};

} // namespace isa
} // namespace bitnet::inline BITNET_ABI

#include <cstddef>
#include <cstdint>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN("avx2,fma,f16c,bmi,bmi2")
namespace bitnet::inline BITNET_ABI {

/// A block of 128 columns is one ymm register of weights:
///
///   bits of byte j | 7:6     | 5:4        | 3:2        | 1:0
///   column         | j       | 32 + j     | 64 + j     | 96 + j
///
/// Each plane is moved to bits 1:0 and multiplied by 32 activations with vpmaddubsw (unsigned codes 0..3, signed int8).
/// Overflow: a pair is at most 2 * 3 * 128 = 768, the four planes of a block 3072; int16 holds ten blocks (30720),
/// which are added before widening to int32. The sum of the activations is subtracted once, as weight = code - 1.
/// One or two tokens leave registers for sums of their own for planes 7:6 and 3:2, which are then moved to bits 3:2
/// only: two shifts less. These sums are multiples of 4, a pair at most 3072, the two planes of a block 6144: int16
/// holds five blocks (30720), and with a quarter of that added, the other sums stay below 7680 + 7680.
template <> struct kernel<isa::avx2, i2s> {
    using layout = i2s;

    static void rows(const i2s::view& w, std::size_t first, std::size_t count, const activation_view& x,
                     std::int32_t* y, std::size_t y_stride) noexcept {
        i2s_tiling<kernel, most_tokens>::rows(w, first, count, x, y, y_stride);
    }

private:
    static constexpr std::size_t most_tokens = 4; // 2 * 4 sums, 2 registers of weights, 2 of codes: 12 of 16
    friend i2s_tiling<kernel, most_tokens>;

    /// total += words, widened; those of a second scale count a quarter.
    template <std::size_t Scales, std::size_t Rows, std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void add_words(const __m256i (&words)[Scales][Rows][Tokens],
                                               __m256i (&total)[Rows][Tokens]) noexcept {
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            BITNET_UNROLL
            for (std::size_t t = 0; t < Tokens; ++t) {
                __m256i sum = words[0][r][t];
                if constexpr (Scales == 2) {
                    sum = _mm256_add_epi16(sum, _mm256_srai_epi16(words[1][r][t], 2));
                }
                total[r][t] = _mm256_add_epi32(total[r][t], _mm256_madd_epi16(sum, _mm256_set1_epi16(1)));
            }
        }
    }

    template <std::size_t Rows, std::size_t Tokens>
    static void tile(const std::uint8_t* w, std::size_t cols, const activation_view& x, std::size_t first_token,
                     std::int32_t* y, std::size_t y_stride) noexcept {
        const std::int8_t* values = x.data + first_token * x.stride;
        constexpr std::size_t scales = Tokens == 1 ? 2 : 1;
        constexpr std::size_t blocks_in_int16 = scales == 2 ? 5 : 10;
        __m256i total[Rows][Tokens];
        clear(total);
        for (std::size_t b = 0; b < cols / 128;) {
            const std::size_t rest = cols / 128 - b;
            const std::size_t end = b + (rest < blocks_in_int16 ? rest : blocks_in_int16);
            __m256i words[scales][Rows][Tokens];
            BITNET_UNROLL
            for (auto& of_scale : words) {
                clear(of_scale);
            }
            for (; b < end; ++b) {
                if constexpr (Rows == 2) {
                    prefetch_pair(w, b);
                }
                add_block(w + b * 32, cols / 4, values + b * 128, x.stride, words);
            }
            add_words(words, total);
        }
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            const std::size_t at = first_token + t;
            __m256i row_sums[Rows];
            BITNET_UNROLL
            for (std::size_t r = 0; r < Rows; ++r) {
                row_sums[r] = total[r][t];
            }
            store_lane_sums(row_sums, x.sums[at], y + at * y_stride);
        }
    }

    template <std::size_t Rows, std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void clear(__m256i (&sums)[Rows][Tokens]) noexcept {
        BITNET_UNROLL
        for (auto& row : sums) {
            BITNET_UNROLL
            for (auto& sum : row) {
                sum = _mm256_setzero_si256();
            }
        }
    }

    /// Adds sixteen int16 sums over the 128 columns of one block for each row and token.
    template <std::size_t Scales, std::size_t Rows, std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void add_block(const std::uint8_t* w, std::size_t row_bytes, const std::int8_t* x,
                                               std::size_t x_stride, __m256i (&words)[Scales][Rows][Tokens]) noexcept {
        __m256i q[Rows];
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            q[r] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w + r * row_bytes));
        }
        constexpr int more = Scales == 2 ? 2 : 0; // bits that planes 7:6 and 3:2 stay above the lowest
        add_plane<6 - more, 3 << more>(q, x, x_stride, words[Scales - 1]);
        add_plane<4, 3>(q, x + 32, x_stride, words[0]);
        add_plane<2 - more, 3 << more>(q, x + 64, x_stride, words[Scales - 1]);
        add_plane<0, 3>(q, x + 96, x_stride, words[0]);
    }
    template <int Shift, int Bits, std::size_t Rows, std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void add_plane(const __m256i (&q)[Rows], const std::int8_t* x, std::size_t x_stride,
                                               __m256i (&words)[Rows][Tokens]) noexcept {
        __m256i codes[Rows];
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            codes[r] = _mm256_and_si256(_mm256_srli_epi16(q[r], Shift), _mm256_set1_epi8(Bits));
        }
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            const __m256i values = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + t * x_stride));
            BITNET_UNROLL
            for (std::size_t r = 0; r < Rows; ++r) {
                add_words(words[r][t], _mm256_maddubs_epi16(codes[r], values));
            }
        }
    }

    /// sum += words, now: gcc would first add up the products of all planes, for which there are no registers.
    static BITNET_ALWAYS_INLINE void add_words(__m256i& sum, __m256i words) noexcept {
        sum = _mm256_add_epi16(sum, words);
#if defined(__GNUC__) && !defined(__clang__)
        __asm__("" : "+x"(sum));
#endif
    }
};

} // namespace bitnet::inline BITNET_ABI
BITNET_TARGET_END
#endif

#include <cstddef>
#include <cstdint>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN("avx2,fma,f16c,bmi,bmi2")
namespace bitnet::inline BITNET_ABI {

/// Rows of dense as I2_S, for many tokens: digits come out as in the kernel below, four of them go into a byte.
struct dense_unpacker_avx2 {
    /// \pre row_bytes holds a multiple of 640 columns, two blocks of dense and five of I2_S
    static void unpack(const dense::view& w, std::size_t first, std::size_t count, std::uint8_t* out,
                       std::size_t row_bytes) noexcept {
        const std::size_t blocks = blocks_across<dense>(w.cols);
        const std::uint8_t* from = w.data + first * blocks * dense::block_bytes;
        for (std::size_t r = 0; r < count; ++r, out += row_bytes) {
            for (std::size_t b = 0; b < blocks; b += 2, from += 2 * dense::block_bytes) {
                unpack_pair(from, b + 1 < blocks, out + b * 80);
            }
            from -= blocks % 2 * dense::block_bytes;
        }
    }

private:
    /// Two blocks, of which the second may be missing: then its codes are 0.
    static BITNET_ALWAYS_INLINE void unpack_pair(const std::uint8_t* p, bool both, std::uint8_t* out) noexcept {
        constexpr std::size_t ahead = 8192;
        _mm_prefetch(reinterpret_cast<const char*>(p) + ahead, _MM_HINT_T1);
        _mm_prefetch(reinterpret_cast<const char*>(p) + ahead + 64, _MM_HINT_T1);
        __m256i lower = load(p); // columns 0..31, 64..95, ...
        __m256i upper = load(p + 32);
        store(out, append(append(_mm256_setzero_si256(), lower, upper), lower, upper));
        store(out + 32, append(append(_mm256_setzero_si256(), lower, upper), lower, upper));
        const __m256i last = append(_mm256_setzero_si256(), lower, upper);
        lower = both ? load(p + 64) : _mm256_set1_epi8(-128);
        upper = both ? load(p + 96) : _mm256_set1_epi8(-128);
        store(out + 64, append(last, lower, upper));
        store(out + 96, append(append(_mm256_setzero_si256(), lower, upper), lower, upper));
        store(out + 128, append(append(_mm256_setzero_si256(), lower, upper), lower, upper));
    }

    /// Bytes less 128, as digits are compared.
    static BITNET_ALWAYS_INLINE __m256i load(const std::uint8_t* p) noexcept {
        return _mm256_xor_si256(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)), _mm256_set1_epi8(-128));
    }
    static BITNET_ALWAYS_INLINE void store(std::uint8_t* p, __m256i codes) noexcept {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), codes);
    }

    /// Shifts codes up and puts the next digits of `lower`, then of `upper`, below. What is shifted out of a byte is 0.
    static BITNET_ALWAYS_INLINE __m256i append(__m256i codes, __m256i& lower, __m256i& upper) noexcept {
        return append(append(codes, lower), upper);
    }
    static BITNET_ALWAYS_INLINE __m256i append(__m256i codes, __m256i& rest) noexcept {
        const __m256i negative = _mm256_add_epi8(_mm256_cmpgt_epi8(rest, _mm256_set1_epi8(85 - 128)),
                                                 _mm256_cmpgt_epi8(rest, _mm256_set1_epi8(170 - 128)));
        rest = _mm256_add_epi8(_mm256_add_epi8(rest, rest), rest);
        return _mm256_sub_epi8(_mm256_slli_epi16(codes, 2), negative);
    }
};

/// Bytes are taken less 128, for signed comparisons: digit k counts the thresholds 85 and 170 that r(k) is above, and
/// r(k+1) = 3 r(k) mod 256 is two additions, as 3 * -128 = -128 mod 256.
/// Overflow: a pair of products is at most 2 * 2 * 128 = 512, the ten of a block's row 5120; int16 holds six blocks.
template <> struct kernel<isa::avx2, dense> {
    using layout = dense;

    static void rows(const dense::view& w, std::size_t first, std::size_t count, const activation_view& x,
                     std::int32_t* y, std::size_t y_stride) noexcept {
        if (x.tokens > few_tokens) {
            by_way_of_i2s<kernel<isa::avx2, i2s>, dense, dense_unpacker_avx2>::rows(w, first, count, x, y, y_stride);
            return;
        }
        const std::size_t row_bytes = blocks_across<dense>(w.cols) * dense::block_bytes;
        const std::uint8_t* weights = w.data + first * row_bytes;
        for (std::size_t r = 0; r < count;) {
            const std::size_t taken = count - r < 4 ? 1 : 4;
            for (std::size_t t = 0; t < x.tokens; ++t) {
                std::int32_t* out = y + t * y_stride + r;
                const std::int8_t* values = x.data + t * x.stride;
                if (taken == 4) {
                    tile<4>(weights + r * row_bytes, row_bytes, values, x.sums[t], out);
                } else {
                    tile<1>(weights + r * row_bytes, row_bytes, values, x.sums[t], out);
                }
            }
            r += taken;
        }
    }

private:
    static constexpr std::size_t few_tokens = 1;

    /// Rows tiles are read row beside row, but prefetched as they lie in memory: far ahead, into the second level.
    template <std::size_t Rows> static BITNET_ALWAYS_INLINE void prefetch(const std::uint8_t* w) noexcept {
        constexpr std::size_t ahead = 10240;
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            _mm_prefetch(reinterpret_cast<const char*>(w) + ahead + 64 * r, _MM_HINT_T1);
        }
    }

    static constexpr std::size_t blocks_in_int16 = 6;

    template <std::size_t Rows>
    static BITNET_ALWAYS_INLINE void tile(const std::uint8_t* w, std::size_t row_bytes, const std::int8_t* x,
                                          std::int32_t sum, std::int32_t* y) noexcept {
        const std::size_t blocks = row_bytes / dense::block_bytes;
        __m256i total[Rows];
        BITNET_UNROLL
        for (auto& row : total) {
            row = _mm256_setzero_si256();
        }
        for (std::size_t begin = 0; begin < blocks; begin += blocks_in_int16) {
            const std::size_t end = begin + blocks_in_int16 < blocks ? begin + blocks_in_int16 : blocks;
            __m256i words[Rows];
            BITNET_UNROLL
            for (auto& row : words) {
                row = _mm256_setzero_si256();
            }
            for (std::size_t b = begin; b < end; ++b) {
                prefetch<Rows>(w + Rows * b * 64);
                add_half<Rows>(w + b * 64, row_bytes, x + b * 320, words);
                add_half<Rows>(w + b * 64 + 32, row_bytes, x + b * 320 + 32, words);
            }
            BITNET_UNROLL
            for (std::size_t r = 0; r < Rows; ++r) {
                total[r] = _mm256_add_epi32(total[r], _mm256_madd_epi16(words[r], _mm256_set1_epi16(1)));
            }
        }
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            y[r] = horizontal_sum(total[r]) - sum;
        }
    }

    /// 32 of the 64 bytes of a block, in each row.
    template <std::size_t Rows>
    static BITNET_ALWAYS_INLINE void add_half(const std::uint8_t* w, std::size_t row_bytes, const std::int8_t* x,
                                              __m256i (&words)[Rows]) noexcept {
        __m256i rest[Rows];
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            const std::uint8_t* p = w + r * row_bytes;
            const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
            rest[r] = _mm256_xor_si256(bytes, _mm256_set1_epi8(-128));
        }
        BITNET_UNROLL
        for (std::size_t k = 0; k < 5; ++k) {
            const __m256i values = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + 64 * k));
            BITNET_UNROLL
            for (std::size_t r = 0; r < Rows; ++r) {
                const __m256i above = _mm256_add_epi8(_mm256_cmpgt_epi8(rest[r], _mm256_set1_epi8(85 - 128)),
                                                      _mm256_cmpgt_epi8(rest[r], _mm256_set1_epi8(170 - 128)));
                words[r] = _mm256_add_epi16(words[r], _mm256_maddubs_epi16(_mm256_abs_epi8(above), values));
                rest[r] = _mm256_add_epi8(_mm256_add_epi8(rest[r], rest[r]), rest[r]);
            }
        }
    }

    static BITNET_ALWAYS_INLINE std::int32_t horizontal_sum(__m256i v) noexcept {
        __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
        s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
        s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
        return _mm_cvtsi128_si32(s);
    }
};

} // namespace bitnet::inline BITNET_ABI
BITNET_TARGET_END
#endif

// ---- bitnet/kernel/dense_avx512_vnni.hpp ----
// The dense layout (five weights in a byte) for AVX-512 VNNI. Empty on other architectures.

// ---- bitnet/kernel/i2s_avx512_vnni.hpp ----
// I2_S (order A) for AVX-512 VNNI. Empty on other architectures.

#include <cstddef>
#include <cstdint>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN("avx2,fma,f16c,bmi,bmi2,avx512f,avx512cd,avx512bw,avx512dq,avx512vl,avx512vnni")
namespace bitnet::inline BITNET_ABI {

/// A block of 128 columns is 32 bytes, read into both halves of a zmm register and masked in place, twice:
///
///   bits of byte j       | 7:6     | 5:4        | 3:2        | 1:0
///   column of the block  | j       | 32 + j     | 64 + j     | 96 + j
///   masked value         | code*64 | code*16    | code*4     | code
///   register             | first, lower half | first, upper half | second, lower | second, upper
///
/// So each register holds 64 neighbouring columns and meets activations in their natural order. vpdpbusd adds a block's
/// products to two accumulators; their halves are multiples of 64, 16, 4 and 1 of the sums and are shifted down,
/// exactly, once at the end. Overflow: a block adds at most 4 * 192 * 128 = 98304 to an int32 lane; that is safe to
/// 21,000 blocks (2.7 M columns).
template <> struct kernel<isa::avx512_vnni, i2s> {
    using layout = i2s;

    static void rows(const i2s::view& w, std::size_t first, std::size_t count, const activation_view& x,
                     std::int32_t* y, std::size_t y_stride) noexcept {
        i2s_tiling<kernel, 6>::rows(w, first, count, x, y, y_stride); // 2 * 6 * 2: 24 of 32 registers
    }

private:
    friend i2s_tiling<kernel, 6>;

    template <std::size_t Rows, std::size_t Tokens>
    static void tile(const std::uint8_t* w, std::size_t cols, const activation_view& x, std::size_t first_token,
                     std::int32_t* y, std::size_t y_stride) noexcept {
        const std::int8_t* values = x.data + first_token * x.stride;
        __m512i sums[2][Rows][Tokens];
        BITNET_UNROLL
        for (auto& half_block : sums) {
            BITNET_UNROLL
            for (auto& row_sums : half_block) {
                BITNET_UNROLL
                for (auto& sum : row_sums) {
                    sum = _mm512_setzero_si512();
                }
            }
        }
        const __m512i first_planes = planes(0x30, 0xc0);
        const __m512i second_planes = planes(0x03, 0x0c);
        for (std::size_t b = 0; b < cols / 128; ++b) {
            if constexpr (Rows == 2) {
                prefetch_pair(w, b);
            }
            add_columns<Rows, Tokens>(w + b * 32, cols / 4, first_planes, values + b * 128, x.stride, sums[0]);
            add_columns<Rows, Tokens>(w + b * 32, cols / 4, second_planes, values + b * 128 + 64, x.stride, sums[1]);
        }
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            const std::size_t at = first_token + t;
            __m256i row_sums[Rows];
            BITNET_UNROLL
            for (std::size_t r = 0; r < Rows; ++r) {
                row_sums[r] = shifted_down(sums[0][r][t], sums[1][r][t]);
            }
            store_lane_sums(row_sums, x.sums[at], y + at * y_stride);
        }
    }

    /// 64 columns of each row, whose bits `planes` picks, times those of each token.
    template <std::size_t Rows, std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void add_columns(const std::uint8_t* w, std::size_t row_bytes, __m512i planes,
                                                 const std::int8_t* x, std::size_t x_stride,
                                                 __m512i (&sums)[Rows][Tokens]) noexcept {
        __m512i codes[Rows];
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            const __m256i block = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w + r * row_bytes));
            codes[r] = _mm512_and_si512(_mm512_broadcast_i64x4(block), planes);
        }
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            const __m512i values = _mm512_loadu_si512(x + t * x_stride);
            BITNET_UNROLL
            for (std::size_t r = 0; r < Rows; ++r) {
                add_products(sums[r][t], codes[r], values);
            }
        }
    }

    /// sum += codes * values, four by four. Of the intrinsic, gcc 12 copies the accumulators in every step and clang 14
    /// spills them.
    static BITNET_ALWAYS_INLINE void add_products(__m512i& sum, __m512i codes, __m512i values) noexcept {
#if defined(__GNUC__)
        __asm__("{vpdpbusd %2, %1, %0|vpdpbusd %0, %1, %2}" : "+v"(sum) : "v"(codes), "v"(values));
#else
        sum = _mm512_dpbusd_epi32(sum, codes, values);
#endif
    }

    /// A mask for 32 bytes in each half.
    static BITNET_ALWAYS_INLINE __m512i planes(int upper, int lower) noexcept {
        const __m256i low = _mm256_set1_epi8(static_cast<char>(lower));
        return _mm512_inserti64x4(_mm512_set1_epi8(static_cast<char>(upper)), low, 0);
    }

    static BITNET_ALWAYS_INLINE __m256i shifted_down(__m512i first, __m512i second) noexcept {
        const __m256i by64 = _mm256_srai_epi32(_mm512_castsi512_si256(first), 6);
        const __m256i by16 = _mm256_srai_epi32(_mm512_extracti64x4_epi64(first, 1), 4);
        const __m256i by4 = _mm256_srai_epi32(_mm512_castsi512_si256(second), 2);
        const __m256i by1 = _mm512_extracti64x4_epi64(second, 1);
        return _mm256_add_epi32(_mm256_add_epi32(by64, by16), _mm256_add_epi32(by4, by1));
    }
};

} // namespace bitnet::inline BITNET_ABI
BITNET_TARGET_END
#endif

#include <cstddef>
#include <cstdint>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN("avx2,fma,f16c,bmi,bmi2,avx512f,avx512cd,avx512bw,avx512dq,avx512vl,avx512vnni")
namespace bitnet::inline BITNET_ABI {

/// Two sums of vpdpbusd and no digits, as dense_avx_vnni.hpp says; a block is one register. (Cutting the digits out by
/// VBMI's table look-ups was measured and is no faster.)
/// Overflow: as there, with twice the lanes.
template <> struct kernel<isa::avx512_vnni, dense> {
    using layout = dense;

    static void rows(const dense::view& w, std::size_t first, std::size_t count, const activation_view& x,
                     std::int32_t* y, std::size_t y_stride) noexcept {
        if (x.tokens > few_tokens) {
            by_way_of_i2s<kernel<isa::avx512_vnni, i2s>, dense, dense_unpacker_avx2>::rows(w, first, count, x, y,
                                                                                           y_stride);
            return;
        }
        const std::size_t row_bytes = blocks_across<dense>(w.cols) * dense::block_bytes;
        const std::uint8_t* weights = w.data + first * row_bytes;
        for (std::size_t r = 0; r < count;) {
            const std::size_t taken = count - r < 4 ? 1 : 4;
            for (std::size_t t = 0; t < x.tokens; ++t) {
                std::int32_t* out = y + t * y_stride + r;
                const std::int8_t* values = x.data + t * x.stride;
                if (taken == 4) {
                    tile<4>(weights + r * row_bytes, row_bytes, values, x.sums[t], out);
                } else {
                    tile<1>(weights + r * row_bytes, row_bytes, values, x.sums[t], out);
                }
            }
            r += taken;
        }
    }

private:
    static constexpr std::size_t few_tokens = 3;

    /// Rows tiles are read row beside row, but prefetched as they lie in memory: far ahead, into the second level.
    template <std::size_t Rows> static BITNET_ALWAYS_INLINE void prefetch(const std::uint8_t* w) noexcept {
        constexpr std::size_t ahead = 10240;
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            _mm_prefetch(reinterpret_cast<const char*>(w) + ahead + 64 * r, _MM_HINT_T1);
        }
    }

    template <std::size_t Rows>
    static BITNET_ALWAYS_INLINE void tile(const std::uint8_t* w, std::size_t row_bytes, const std::int8_t* x,
                                          std::int32_t sum, std::int32_t* y) noexcept {
        __m512i upper[Rows]; // sum of r(k) x(k)
        __m512i lower[Rows]; // sum of r(k+1) x(k)
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            upper[r] = _mm512_setzero_si512();
            lower[r] = _mm512_setzero_si512();
        }
        for (std::size_t at = 0; at < row_bytes; at += dense::block_bytes) {
            prefetch<Rows>(w + Rows * at);
            add_block<Rows>(w + at, row_bytes, x + 5 * at, upper, lower);
        }
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            const __m512i thrice = _mm512_add_epi32(_mm512_add_epi32(upper[r], upper[r]), upper[r]);
            y[r] = horizontal_sum(_mm512_srai_epi32(_mm512_sub_epi32(thrice, lower[r]), 8)) - sum;
        }
    }

    template <std::size_t Rows>
    static BITNET_ALWAYS_INLINE void add_block(const std::uint8_t* w, std::size_t row_bytes, const std::int8_t* x,
                                               __m512i (&upper)[Rows], __m512i (&lower)[Rows]) noexcept {
        __m512i rest[Rows];
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            const std::uint8_t* p = w + r * row_bytes;
            rest[r] = _mm512_loadu_si512(p);
        }
        BITNET_UNROLL
        for (std::size_t k = 0; k < 5; ++k) {
            const __m512i values = _mm512_loadu_si512(x + 64 * k);
            BITNET_UNROLL
            for (std::size_t r = 0; r < Rows; ++r) {
                upper[r] = _mm512_dpbusd_epi32(upper[r], rest[r], values);
                rest[r] = _mm512_add_epi8(_mm512_add_epi8(rest[r], rest[r]), rest[r]);
                lower[r] = _mm512_dpbusd_epi32(lower[r], rest[r], values);
            }
        }
    }

    static BITNET_ALWAYS_INLINE std::int32_t horizontal_sum(__m512i all) noexcept {
        const __m256i v = _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64(all, 1));
        __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
        s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
        s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
        return _mm_cvtsi128_si32(s);
    }
};

} // namespace bitnet::inline BITNET_ABI
BITNET_TARGET_END
#endif

// ---- bitnet/kernel/i2s_amx_int8.hpp ----
// I2_S (order A) for AMX. Empty on other architectures.

#include <cstddef>
#include <cstdint>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN("avx2,fma,f16c,bmi,bmi2,avx512f,avx512cd,avx512bw,avx512dq,avx512vl,avx512vnni")
namespace bitnet::inline BITNET_ABI {

/// Tiles of 32 rows x 32 tokens: tdpbusd multiplies 16 rows x 64 columns of codes by 64 columns x 16 tokens.
///
///   codes        | unpacked here, 32 rows x up to 1024 columns: [64 columns][half of the rows][16 rows][64]
///   activations  | arranged once: [64 columns][16 fours of columns][16 tokens][4]
///   sums         | [32 tokens][half of the rows][half of the tokens][16 rows][16 tokens]
///
/// Codes of a chunk stay in the first level of cache while all tokens pass, activations in the second.
/// Overflow: as in vpdpbusd, 4 * 3 * 128 for four columns; int32 holds 5 M columns.
/// \tparam Tiles amx_tiles, or a model of them: what is here needs AVX-512 VNNI only, so tests run it without AMX.
template <class Tiles> struct i2s_tile_kernel {
    using layout = i2s;
    static constexpr std::size_t arranged_tokens = 16;

    [[nodiscard]] static std::size_t arranged_bytes(std::size_t cols) noexcept { return cols * arranged_tokens; }

    static void arrange(const activation_view& x, std::size_t first_token, std::size_t cols, std::byte* out) noexcept {
        if (x.tokens <= few_tokens) {
            return;
        }
        for (std::size_t c = 0; c < cols; c += 64) {
            __m512i words[16];
            BITNET_UNROLL
            for (std::size_t t = 0; t < 16; ++t) {
                const std::int8_t* row = x.data + (first_token + t) * x.stride + c;
                words[t] = first_token + t < x.tokens ? _mm512_loadu_si512(row) : _mm512_setzero_si512();
            }
            transpose(words);
            BITNET_UNROLL
            for (std::size_t q = 0; q < 16; ++q) {
                _mm512_store_si512(out + c * arranged_tokens + q * 64, words[q]);
            }
        }
    }

    static void rows(const i2s::view& w, std::size_t first, std::size_t count, const activation_view& x,
                     std::int32_t* y, std::size_t y_stride) noexcept {
        if (x.tokens <= few_tokens) {
            kernel<isa::avx512_vnni, i2s>::rows(w, first, count, x, y, y_stride);
            return;
        }
        Tiles::configure(tile_configuration{});
        for (std::size_t t = 0; t < x.tokens; t += block_tokens) {
            for (std::size_t r = 0; r < count; r += block_rows) {
                const range rows{first + r, smaller(block_rows, count - r)};
                const range tokens{t, smaller(block_tokens, x.tokens - t)};
                block(w, rows, first + count, x, tokens, y + t * y_stride + r, y_stride);
            }
        }
        Tiles::release();
    }

private:
    /// Below, vpdpbusd takes 8 cycles per token for 16 rows x 64 columns; a tile takes 16 and the unpacking about 30.
    static constexpr std::size_t few_tokens = 4;
    static constexpr std::size_t block_tokens = 128;
    static constexpr std::size_t block_rows = 32;
    static constexpr std::size_t chunk_blocks = 8; // of 128 columns: 32 KiB of codes

    struct range {
        std::size_t first, count;
    };
    static constexpr std::size_t smaller(std::size_t a, std::size_t b) noexcept { return a < b ? a : b; }

    static void block(const i2s::view& w, range rows, std::size_t end_row, const activation_view& x, range tokens,
                      std::int32_t* y, std::size_t y_stride) noexcept {
        alignas(64) std::uint8_t codes[block_rows * chunk_blocks * 128];
        alignas(64) std::int32_t sums[block_rows * block_tokens];
        const std::size_t blocks = w.cols / 128;
        const std::size_t chunks = (blocks + chunk_blocks - 1) / chunk_blocks;
        const std::size_t chunk = (blocks + chunks - 1) / chunks; // of nearly the same size
        const std::byte* arranged = x.arranged + tokens.first / arranged_tokens * x.arranged_stride;
        for (std::size_t b = 0; b < blocks; b += chunk) {
            const std::size_t now = smaller(chunk, blocks - b);
            unpack(w, rows, end_row, b, now, codes);
            for (std::size_t t = 0; t < tokens.count; t += 32) {
                const std::byte* values = arranged + t / arranged_tokens * x.arranged_stride + b * 128 * 16;
                const operands in{codes, values, values + x.arranged_stride, 2 * now, b == 0};
                multiply(in, rows.count > 16, tokens.count - t > 16, sums + t * block_rows);
            }
        }
        for (std::size_t t = 0; t < tokens.count; t += 16) {
            for (std::size_t r = 0; r < rows.count; r += 16) {
                const std::int32_t* tile = sums + t / 32 * 1024 + r / 16 * 512 + t % 32 / 16 * 256;
                const std::size_t first_token = tokens.first + t;
                store(tile, x.sums + first_token, smaller(16, tokens.count - t), smaller(16, rows.count - r),
                      y + t * y_stride + r, y_stride);
            }
        }
    }

    /// Codes of `count` blocks of 128 columns as bytes; rows that are not there are zero.
    static void unpack(const i2s::view& w, range rows, std::size_t end_row, std::size_t first_block, std::size_t count,
                       std::uint8_t* out) noexcept {
        const __m512i by_6_and_4 = shifts(6, 4);
        const __m512i by_2_and_0 = shifts(2, 0);
        const __m512i low_bits = _mm512_set1_epi8(3);
        const std::size_t row_bytes = w.cols / 4;
        const std::size_t padded = (rows.count + 15) / 16 * 16;
        for (std::size_t r = 0; r < padded; ++r) {
            const std::uint8_t* p = w.data + (rows.first + r) * row_bytes + first_block * 32;
            std::uint8_t* to = out + r * 64; // sixteen rows to a tile
            if (r >= rows.count) {
                for (std::size_t step = 0; step < 2 * count; ++step) {
                    _mm512_store_si512(to + step * 2048, _mm512_setzero_si512());
                }
                continue;
            }
            const bool more = rows.first + r + block_rows < end_row;
            for (std::size_t b = 0; b < count; ++b) {
                if (more && b % 2 == 0) {
                    _mm_prefetch(reinterpret_cast<const char*>(p + block_rows * row_bytes + b * 32), _MM_HINT_T1);
                }
                const __m256i block = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + b * 32));
                const __m512i twice = _mm512_broadcast_i64x4(block);
                const __m512i first = _mm512_and_si512(_mm512_srlv_epi16(twice, by_6_and_4), low_bits);
                const __m512i second = _mm512_and_si512(_mm512_srlv_epi16(twice, by_2_and_0), low_bits);
                _mm512_store_si512(to + 2 * b * 2048, first);
                _mm512_store_si512(to + (2 * b + 1) * 2048, second);
            }
        }
    }
    static BITNET_ALWAYS_INLINE __m512i shifts(short lower, short upper) noexcept {
        return _mm512_inserti64x4(_mm512_set1_epi16(upper), _mm256_set1_epi16(lower), 0);
    }

    struct operands {
        const std::uint8_t* codes;
        const std::byte* first_values;
        const std::byte* second_values;
        std::size_t steps; ///< of 64 columns
        bool fresh;        ///< the sums start at zero
    };

    static void multiply(const operands& in, bool two_row_tiles, bool two_token_tiles, std::int32_t* sums) noexcept {
        if (two_row_tiles) {
            two_token_tiles ? multiply<true, true>(in, sums) : multiply<true, false>(in, sums);
        } else {
            two_token_tiles ? multiply<false, true>(in, sums) : multiply<false, false>(in, sums);
        }
    }

    /// Tiles 0..3: sums of (rows, tokens) halves (0, 0), (0, 1), (1, 0), (1, 1); 4, 5: codes; 6, 7: activations.
    template <bool TwoRowTiles, bool TwoTokenTiles>
    static void multiply(const operands& in, std::int32_t* sums) noexcept {
        if (in.fresh) {
            Tiles::template zero<0>();
            Tiles::template zero<1>();
            Tiles::template zero<2>();
            Tiles::template zero<3>();
        } else {
            each_sum<TwoRowTiles, TwoTokenTiles>(
                [sums]<int Tile>() noexcept { Tiles::template load<Tile>(sums + std::size_t{Tile} * 256, 64); });
        }
        for (std::size_t s = 0; s < in.steps; ++s) {
            Tiles::template load<4>(in.codes + s * 2048, 64);
            Tiles::template load_streamed<6>(in.first_values + s * 1024, 64);
            Tiles::template multiply<0, 4, 6>();
            if constexpr (TwoTokenTiles) {
                Tiles::template load_streamed<7>(in.second_values + s * 1024, 64);
                Tiles::template multiply<1, 4, 7>();
            }
            if constexpr (TwoRowTiles) {
                Tiles::template load<5>(in.codes + s * 2048 + 1024, 64);
                Tiles::template multiply<2, 5, 6>();
            }
            if constexpr (TwoRowTiles && TwoTokenTiles) {
                Tiles::template multiply<3, 5, 7>();
            }
        }
        each_sum<TwoRowTiles, TwoTokenTiles>(
            [sums]<int Tile>() noexcept { Tiles::template store<Tile>(sums + std::size_t{Tile} * 256, 64); });
    }
    template <bool TwoRowTiles, bool TwoTokenTiles, class F> static void each_sum(F&& f) noexcept {
        f.template operator()<0>();
        if constexpr (TwoTokenTiles) {
            f.template operator()<1>();
        }
        if constexpr (TwoRowTiles) {
            f.template operator()<2>();
        }
        if constexpr (TwoRowTiles && TwoTokenTiles) {
            f.template operator()<3>();
        }
    }

    /// One tile of sums [16 rows][16 tokens], turned over, less the sums of the activations.
    static void store(const std::int32_t* tile, const std::int32_t* offsets, std::size_t tokens, std::size_t rows,
                      std::int32_t* y, std::size_t y_stride) noexcept {
        __m512i words[16];
        BITNET_UNROLL
        for (std::size_t r = 0; r < 16; ++r) {
            words[r] = _mm512_load_si512(tile + r * 16);
        }
        transpose(words);
        const auto mask = static_cast<__mmask16>((1u << rows) - 1);
        BITNET_UNROLL
        for (std::size_t t = 0; t < 16; ++t) {
            if (t < tokens) {
                const __m512i sums = _mm512_sub_epi32(words[t], _mm512_set1_epi32(offsets[t]));
                _mm512_mask_storeu_epi32(y + t * y_stride, mask, sums);
            }
        }
    }

    /// words[i] word j <-> words[j] word i: pairs, fours, then quarters of registers.
    static BITNET_ALWAYS_INLINE void transpose(__m512i (&words)[16]) noexcept {
        __m512i pairs[16];
        BITNET_UNROLL
        for (std::size_t i = 0; i < 16; i += 2) {
            pairs[i] = _mm512_unpacklo_epi32(words[i], words[i + 1]);
            pairs[i + 1] = _mm512_unpackhi_epi32(words[i], words[i + 1]);
        }
        __m512i fours[16]; // fours[4 g + c]: words c, 4 + c, 8 + c, 12 + c of registers 4 g .. 4 g + 3
        BITNET_UNROLL
        for (std::size_t g = 0; g < 16; g += 4) {
            fours[g] = _mm512_unpacklo_epi64(pairs[g], pairs[g + 2]);
            fours[g + 1] = _mm512_unpackhi_epi64(pairs[g], pairs[g + 2]);
            fours[g + 2] = _mm512_unpacklo_epi64(pairs[g + 1], pairs[g + 3]);
            fours[g + 3] = _mm512_unpackhi_epi64(pairs[g + 1], pairs[g + 3]);
        }
        BITNET_UNROLL
        for (std::size_t c = 0; c < 4; ++c) {
            const __m512i even_low = _mm512_shuffle_i32x4(fours[c], fours[4 + c], 0x88);
            const __m512i odd_low = _mm512_shuffle_i32x4(fours[c], fours[4 + c], 0xdd);
            const __m512i even_high = _mm512_shuffle_i32x4(fours[8 + c], fours[12 + c], 0x88);
            const __m512i odd_high = _mm512_shuffle_i32x4(fours[8 + c], fours[12 + c], 0xdd);
            words[c] = _mm512_shuffle_i32x4(even_low, even_high, 0x88);
            words[4 + c] = _mm512_shuffle_i32x4(odd_low, odd_high, 0x88);
            words[8 + c] = _mm512_shuffle_i32x4(even_low, even_high, 0xdd);
            words[12 + c] = _mm512_shuffle_i32x4(odd_low, odd_high, 0xdd);
        }
    }
};

#if BITNET_AMX_ASSEMBLER
template <> struct kernel<isa::amx_int8, i2s> : i2s_tile_kernel<amx_tiles> {};
#else
template <> struct kernel<isa::amx_int8, i2s> : kernel<isa::avx512_vnni, i2s> {}; // the compiler knows no tiles
#endif

} // namespace bitnet::inline BITNET_ABI
BITNET_TARGET_END
#endif

#include <cstddef>
#include <cstdint>

#if BITNET_X86_64
namespace bitnet::inline BITNET_ABI {

/// Few tokens as AVX-512 VNNI takes them, many by way of the tiles of I2_S, for which activations are arranged.
/// \tparam Tiles as in i2s_tile_kernel
template <class Tiles> struct dense_tile_kernel {
    using layout = dense;
    using i2s_kernel = i2s_tile_kernel<Tiles>;
    using many_tokens = by_way_of_i2s<i2s_kernel, dense, dense_unpacker_avx2>;
    static constexpr std::size_t arranged_tokens = i2s_kernel::arranged_tokens;

    [[nodiscard]] static std::size_t arranged_bytes(std::size_t cols) noexcept {
        return i2s_kernel::arranged_bytes(many_tokens::padded(cols));
    }
    static void arrange(const activation_view& x, std::size_t first_token, std::size_t cols, std::byte* out) noexcept {
        i2s_kernel::arrange(x, first_token, many_tokens::padded(cols), out);
    }

    static void rows(const dense::view& w, std::size_t first, std::size_t count, const activation_view& x,
                     std::int32_t* y, std::size_t y_stride) noexcept {
        constexpr std::size_t few_tokens = 3;
        if (x.tokens <= few_tokens) {
            kernel<isa::avx512_vnni, dense>::rows(w, first, count, x, y, y_stride);
        } else {
            many_tokens::rows(w, first, count, x, y, y_stride);
        }
    }
};

#if BITNET_AMX_ASSEMBLER
template <> struct kernel<isa::amx_int8, dense> : dense_tile_kernel<amx_tiles> {};
#else
template <> struct kernel<isa::amx_int8, dense> : kernel<isa::avx512_vnni, dense> {}; // the compiler knows no tiles
#endif

} // namespace bitnet::inline BITNET_ABI
#endif

// ---- bitnet/kernel/dense_avx_vnni.hpp ----
// The dense layout (five weights in a byte) for AVX-VNNI. Empty on other architectures.

// ---- bitnet/kernel/i2s_avx_vnni.hpp ----
// I2_S (order A) for AVX-VNNI. Empty on other architectures.

#include <cstddef>
#include <cstdint>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN("avx2,fma,f16c,bmi,bmi2,avxvnni")
namespace bitnet::inline BITNET_ABI {

/// A block of 128 columns is one ymm register of weights:
///
///   bits of byte j | 7:6     | 5:4        | 3:2        | 1:0
///   column         | j       | 32 + j     | 64 + j     | 96 + j
///
/// Each plane is moved to bits 1:0 and multiplied by 32 activations with vpdpbusd, straight into int32. Overflow: a
/// block adds at most 4 * 4 * 3 * 128 = 6144 to a lane; that is safe to 349,000 blocks (44 M columns).
template <> struct kernel<isa::avx_vnni, i2s> {
    using layout = i2s;

    static void rows(const i2s::view& w, std::size_t first, std::size_t count, const activation_view& x,
                     std::int32_t* y, std::size_t y_stride) noexcept {
        i2s_tiling<kernel, most_tokens>::rows(w, first, count, x, y, y_stride);
    }

private:
    static constexpr std::size_t most_tokens = 4; // 2 * 4 sums, 2 registers of weights, 2 of codes: 12 of 16
    friend i2s_tiling<kernel, most_tokens>;

    template <std::size_t Rows, std::size_t Tokens>
    static void tile(const std::uint8_t* w, std::size_t cols, const activation_view& x, std::size_t first_token,
                     std::int32_t* y, std::size_t y_stride) noexcept {
        const std::int8_t* values = x.data + first_token * x.stride;
        constexpr std::size_t chains = Rows * Tokens <= 2   ? 4
                                       : Rows * Tokens <= 6 ? 2
                                                            : 1; // four planes that wait for one another would be slow
        __m256i sums[chains][Rows][Tokens];
        BITNET_UNROLL
        for (auto& chain : sums) {
            BITNET_UNROLL
            for (auto& row : chain) {
                BITNET_UNROLL
                for (auto& sum : row) {
                    sum = _mm256_setzero_si256();
                }
            }
        }
        for (std::size_t b = 0; b < cols / 128; ++b) {
            if constexpr (Rows == 2) {
                prefetch_pair(w, b);
            }
            add_block(w + b * 32, cols / 4, values + b * 128, x.stride, sums);
        }
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            const std::size_t at = first_token + t;
            __m256i row_sums[Rows];
            BITNET_UNROLL
            for (std::size_t r = 0; r < Rows; ++r) {
                row_sums[r] = sums[0][r][t];
                BITNET_UNROLL
                for (std::size_t chain = 1; chain < chains; ++chain) {
                    row_sums[r] = _mm256_add_epi32(row_sums[r], sums[chain][r][t]);
                }
            }
            store_lane_sums(row_sums, x.sums[at], y + at * y_stride);
        }
    }

    template <std::size_t Chains, std::size_t Rows, std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void add_block(const std::uint8_t* w, std::size_t row_bytes, const std::int8_t* x,
                                               std::size_t x_stride, __m256i (&sums)[Chains][Rows][Tokens]) noexcept {
        __m256i q[Rows];
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            q[r] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w + r * row_bytes));
        }
        add_plane<6>(q, x, x_stride, sums[0]);
        add_plane<4>(q, x + 32, x_stride, sums[1 % Chains]);
        add_plane<2>(q, x + 64, x_stride, sums[2 % Chains]);
        add_plane<0>(q, x + 96, x_stride, sums[3 % Chains]);
    }
    template <int Shift, std::size_t Rows, std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void add_plane(const __m256i (&q)[Rows], const std::int8_t* x, std::size_t x_stride,
                                               __m256i (&sums)[Rows][Tokens]) noexcept {
        __m256i codes[Rows];
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            codes[r] = _mm256_and_si256(_mm256_srli_epi16(q[r], Shift), _mm256_set1_epi8(3));
        }
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            const __m256i values = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + t * x_stride));
            BITNET_UNROLL
            for (std::size_t r = 0; r < Rows; ++r) {
                add_products(sums[r][t], codes[r], values);
            }
        }
    }

    /// sum += codes * values, four by four. Of the intrinsic, gcc 12 copies the accumulators in every step and clang 14
    /// spills them.
    static BITNET_ALWAYS_INLINE void add_products(__m256i& sum, __m256i codes, __m256i values) noexcept {
#if defined(__GNUC__)
        __asm__("{%{vex%} vpdpbusd %2, %1, %0|%{vex%} vpdpbusd %0, %1, %2}" : "+x"(sum) : "x"(codes), "x"(values));
#else
        sum = _mm256_dpbusd_avx_epi32(sum, codes, values);
#endif
    }
};

} // namespace bitnet::inline BITNET_ABI
BITNET_TARGET_END
#endif

#include <cstddef>
#include <cstdint>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN("avx2,fma,f16c,bmi,bmi2,avxvnni")
namespace bitnet::inline BITNET_ABI {

/// No digit is ever cut out. From 3 r(k) = 256 d(k) + r(k+1), see dense.hpp,
///
///     256 * sum of d(k) x(k) = 3 * sum of r(k) x(k) - sum of r(k+1) x(k),   k = 0..4
///
/// and both sums are vpdpbusd of bytes; r(k+1) = 3 r(k) mod 256 is two additions. The sums may wrap around; what they
/// make is 256 times a product, and fits a lane of int32 to 2^18 columns: 256 * 2 * 128 * 2^18 / 8 lanes = 2^31.
/// (The last step is shifted lane by lane, as its sum over lanes would not fit.)
template <> struct kernel<isa::avx_vnni, dense> {
    using layout = dense;

    static void rows(const dense::view& w, std::size_t first, std::size_t count, const activation_view& x,
                     std::int32_t* y, std::size_t y_stride) noexcept {
        if (x.tokens > few_tokens) {
            by_way_of_i2s<kernel<isa::avx_vnni, i2s>, dense, dense_unpacker_avx2>::rows(w, first, count, x, y,
                                                                                        y_stride);
            return;
        }
        const std::size_t row_bytes = blocks_across<dense>(w.cols) * dense::block_bytes;
        const std::uint8_t* weights = w.data + first * row_bytes;
        for (std::size_t r = 0; r < count;) {
            const std::size_t taken = count - r < 4 ? 1 : 4;
            for (std::size_t t = 0; t < x.tokens; ++t) {
                std::int32_t* out = y + t * y_stride + r;
                const std::int8_t* values = x.data + t * x.stride;
                if (taken == 4) {
                    tile<4>(weights + r * row_bytes, row_bytes, values, x.sums[t], out);
                } else {
                    tile<1>(weights + r * row_bytes, row_bytes, values, x.sums[t], out);
                }
            }
            r += taken;
        }
    }

private:
    static constexpr std::size_t few_tokens = 3;

    /// Rows tiles are read row beside row, but prefetched as they lie in memory: far ahead, into the second level.
    template <std::size_t Rows> static BITNET_ALWAYS_INLINE void prefetch(const std::uint8_t* w) noexcept {
        constexpr std::size_t ahead = 10240;
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            _mm_prefetch(reinterpret_cast<const char*>(w) + ahead + 64 * r, _MM_HINT_T1);
        }
    }

    template <std::size_t Rows>
    static BITNET_ALWAYS_INLINE void tile(const std::uint8_t* w, std::size_t row_bytes, const std::int8_t* x,
                                          std::int32_t sum, std::int32_t* y) noexcept {
        __m256i upper[Rows]; // sum of r(k) x(k)
        __m256i lower[Rows]; // sum of r(k+1) x(k)
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            upper[r] = _mm256_setzero_si256();
            lower[r] = _mm256_setzero_si256();
        }
        for (std::size_t at = 0; at < row_bytes; at += dense::block_bytes) {
            prefetch<Rows>(w + Rows * at);
            add_half<Rows>(w + at, row_bytes, x + 5 * at, upper, lower);
            add_half<Rows>(w + at + 32, row_bytes, x + 5 * at + 32, upper, lower);
        }
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            const __m256i thrice = _mm256_add_epi32(_mm256_add_epi32(upper[r], upper[r]), upper[r]);
            y[r] = horizontal_sum(_mm256_srai_epi32(_mm256_sub_epi32(thrice, lower[r]), 8)) - sum;
        }
    }

    /// 32 of the 64 bytes of a block, in each row.
    template <std::size_t Rows>
    static BITNET_ALWAYS_INLINE void add_half(const std::uint8_t* w, std::size_t row_bytes, const std::int8_t* x,
                                              __m256i (&upper)[Rows], __m256i (&lower)[Rows]) noexcept {
        __m256i rest[Rows];
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            const std::uint8_t* p = w + r * row_bytes;
            rest[r] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
        }
        BITNET_UNROLL
        for (std::size_t k = 0; k < 5; ++k) {
            const __m256i values = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + 64 * k));
            BITNET_UNROLL
            for (std::size_t r = 0; r < Rows; ++r) {
                upper[r] = _mm256_dpbusd_avx_epi32(upper[r], rest[r], values);
                rest[r] = _mm256_add_epi8(_mm256_add_epi8(rest[r], rest[r]), rest[r]);
                lower[r] = _mm256_dpbusd_avx_epi32(lower[r], rest[r], values);
            }
        }
    }

    static BITNET_ALWAYS_INLINE std::int32_t horizontal_sum(__m256i v) noexcept {
        __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
        s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
        s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
        return _mm_cvtsi128_si32(s);
    }
};

} // namespace bitnet::inline BITNET_ABI
BITNET_TARGET_END
#endif

// ---- bitnet/kernel/scalar.hpp ----
// The oracle of all ternary kernels: any layout, one weight at a time.

#include <cstddef>
#include <cstdint>

namespace bitnet::inline BITNET_ABI {

template <ternary_layout Layout> struct kernel<isa::scalar, Layout> {
    using layout = Layout;

    static void rows(const typename layout::view& w, std::size_t first, std::size_t count, const activation_view& x,
                     std::int32_t* y, std::size_t y_stride) noexcept {
        for (std::size_t t = 0; t < x.tokens; ++t) {
            for (std::size_t r = 0; r < count; ++r) {
                y[t * y_stride + r] = dot(w, first + r, x.data + t * x.stride);
            }
        }
    }

private:
    static std::int32_t dot(const typename layout::view& w, std::size_t row, const std::int8_t* x) noexcept {
        std::int32_t sum = 0;
        for (std::size_t c = 0; c < w.cols; ++c) {
            sum += (static_cast<std::int32_t>(layout::code(w, row, c)) - 1) * x[c];
        }
        return sum;
    }
};

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/kernel/tl1_avx2.hpp ----
// The tl1 layout (two weights in four bits) for AVX2: look-ups by vpshufb. Empty on other architectures.

// ---- bitnet/kernel/lookup_avx2.hpp ----
// What the look-up kernels tl1 and tl2 share: tables of bytes, and sums of 32 rows. Empty on other architectures.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <numeric>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN("avx2,fma,f16c,bmi,bmi2")
namespace bitnet::inline BITNET_ABI {

/// A sum of activations T, |T| <= 384, is looked up exactly as two bytes: T = 31 h + l with |l| <= 15 and |h| <= 12.
/// Eight of them (one block) add up in bytes: |8 l| <= 120, |8 h| <= 96. With 128 added, so that they are unsigned,
/// they then add up in int16, even and odd rows apart: 64 blocks are at most 64 * 248 = 15872; then they go to int32.
struct lookup_avx2 {
    static constexpr std::size_t table_bytes = 32; ///< l of sixteen entries, then h of them
    static constexpr std::size_t tables_per_block = 8;
    static constexpr std::size_t blocks_in_int16 = 64;
    static constexpr std::int32_t bias_per_block = 31 * 128 + 128;

    /// Splits sixteen sums. h = round(T * 1057 / 2^15) is T / 31 but for less than 1/31: tested for all T.
    static BITNET_ALWAYS_INLINE void store_table(__m256i sums, std::byte* out) noexcept {
        const __m256i high = _mm256_mulhrs_epi16(sums, _mm256_set1_epi16(1057));
        const __m256i low = _mm256_sub_epi16(sums, _mm256_mullo_epi16(high, _mm256_set1_epi16(31)));
        const __m256i bytes = _mm256_permute4x64_epi64(_mm256_packs_epi16(low, high), 0xd8);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), bytes);
    }
    static BITNET_ALWAYS_INLINE __m256i load_table(const std::byte* table) noexcept {
        return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table)));
    }

    /// Bytes of a block, l and h of 32 rows each.
    struct byte_sums {
        __m256i low;
        __m256i high;
    };
    [[nodiscard]] static BITNET_ALWAYS_INLINE byte_sums biased_zero() noexcept {
        return {_mm256_set1_epi8(-128), _mm256_set1_epi8(-128)};
    }

    /// int16 sums of bytes, even rows and odd rows.
    struct word_sums {
        __m256i low_even, low_odd, high_even, high_odd;
    };
    [[nodiscard]] static BITNET_ALWAYS_INLINE word_sums zero() noexcept {
        const __m256i none = _mm256_setzero_si256();
        return {none, none, none, none};
    }
    static BITNET_ALWAYS_INLINE void add(word_sums& to, const byte_sums& bytes) noexcept {
        const __m256i even = _mm256_set1_epi16(0xff);
        to.low_even = _mm256_add_epi16(to.low_even, _mm256_and_si256(bytes.low, even));
        to.low_odd = _mm256_add_epi16(to.low_odd, _mm256_srli_epi16(bytes.low, 8));
        to.high_even = _mm256_add_epi16(to.high_even, _mm256_and_si256(bytes.high, even));
        to.high_odd = _mm256_add_epi16(to.high_odd, _mm256_srli_epi16(bytes.high, 8));
    }

    /// total[r] += 31 h + l of row r < 32.
    static BITNET_ALWAYS_INLINE void add(std::int32_t* total, const word_sums& words) noexcept {
        const __m256i weights = _mm256_set1_epi32(31 << 16 | 1);
        const __m256i even_first = _mm256_madd_epi16(_mm256_unpacklo_epi16(words.low_even, words.high_even), weights);
        const __m256i even_last = _mm256_madd_epi16(_mm256_unpackhi_epi16(words.low_even, words.high_even), weights);
        const __m256i odd_first = _mm256_madd_epi16(_mm256_unpacklo_epi16(words.low_odd, words.high_odd), weights);
        const __m256i odd_last = _mm256_madd_epi16(_mm256_unpackhi_epi16(words.low_odd, words.high_odd), weights);
        add_rows(total, _mm256_unpacklo_epi32(even_first, odd_first));
        add_rows(total + 4, _mm256_unpackhi_epi32(even_first, odd_first));
        add_rows(total + 8, _mm256_unpacklo_epi32(even_last, odd_last));
        add_rows(total + 12, _mm256_unpackhi_epi32(even_last, odd_last));
    }

private:
    /// Rows 0..3 and 16..19.
    static BITNET_ALWAYS_INLINE void add_rows(std::int32_t* total, __m256i rows) noexcept {
        auto* first = reinterpret_cast<__m128i*>(total);
        auto* second = reinterpret_cast<__m128i*>(total + 16);
        _mm_storeu_si128(first, _mm_add_epi32(_mm_loadu_si128(first), _mm256_castsi256_si128(rows)));
        _mm_storeu_si128(second, _mm_add_epi32(_mm_loadu_si128(second), _mm256_extracti128_si256(rows, 1)));
    }
};

/// Rows of a look-up layout as I2_S, for many tokens. `Block` unpacks a block to weights -1, 0, +1 column by column, 32
/// rows in a register; four columns go into one byte of each row, and 32 x 32 bytes are transposed.
template <class Layout, class Block> struct lookup_unpacker_avx2 {
    static void unpack(const typename Layout::view& w, std::size_t first, std::size_t count, std::uint8_t* out,
                       std::size_t row_bytes) noexcept {
        const std::size_t end = first + count;
        for (std::size_t begin = first; begin < end;) {
            const std::size_t group = begin / 32;
            const std::size_t stop = end < (group + 1) * 32 ? end : (group + 1) * 32;
            unpack_group(w, group, {begin % 32, stop - group * 32, row_bytes, out + (begin - first) * row_bytes});
            begin = stop;
        }
    }

private:
    /// Whole blocks of the layout and of I2_S.
    static constexpr std::size_t window = std::lcm(Layout::block_columns, std::size_t{128});

    /// Where rows begin .. end - 1 of a group go, row `begin` to `data`.
    struct target {
        std::size_t begin, end, row_bytes;
        std::uint8_t* data;
    };

    static void unpack_group(const typename Layout::view& w, std::size_t group, const target& to) noexcept {
        constexpr std::size_t ahead = 10240;
        const std::size_t blocks = blocks_across<Layout>(w.cols);
        const std::uint8_t* block = w.data + group * blocks * Layout::block_bytes;
        const std::uint8_t* end = block + blocks * Layout::block_bytes;
        alignas(32) std::int8_t columns[window][32];
        for (std::size_t at = 0; at < to.row_bytes; at += window / 4) {
            for (std::size_t c = 0; c < window; c += Layout::block_columns) {
                if (block == end) {
                    std::memset(columns[c], 0, (window - c) * 32);
                    break;
                }
                _mm_prefetch(reinterpret_cast<const char*>(block) + ahead, _MM_HINT_T1);
                _mm_prefetch(reinterpret_cast<const char*>(block) + ahead + 64, _MM_HINT_T1);
                Block::unpack(block, columns + c);
                block += Layout::block_bytes;
            }
            for (std::size_t c = 0; c < window && at + c / 4 < to.row_bytes; c += 128) {
                store_bytes(columns + c, at + c / 4, to);
                store_bytes(columns + c + 16, at + c / 4 + 16, to);
            }
        }
    }

    /// Bytes at .. at + 15 of all rows: columns 0..15 of `columns`, and those 32, 64 and 96 further on.
    static BITNET_ALWAYS_INLINE void store_bytes(const std::int8_t (*columns)[32], std::size_t at,
                                                 const target& to) noexcept {
        __m256i bytes[16];
        BITNET_UNROLL
        for (std::size_t j = 0; j < 16; ++j) {
            __m256i sum = load(columns[j]);
            BITNET_UNROLL
            for (std::size_t plane = 1; plane < 4; ++plane) {
                const __m256i twice = _mm256_add_epi8(sum, sum);
                sum = _mm256_add_epi8(_mm256_add_epi8(twice, twice), load(columns[32 * plane + j]));
            }
            bytes[j] = _mm256_add_epi8(sum, _mm256_set1_epi8(0x55)); // codes are weights + 1
        }
        transpose(bytes);
        for (std::size_t r = to.begin; r < to.end; ++r) {
            const __m256i rows = bytes[r % 16];
            auto* out = reinterpret_cast<__m128i*>(to.data + (r - to.begin) * to.row_bytes + at);
            _mm_storeu_si128(out, r < 16 ? _mm256_castsi256_si128(rows) : _mm256_extracti128_si256(rows, 1));
        }
    }
    static BITNET_ALWAYS_INLINE __m256i load(const std::int8_t* weights) noexcept {
        return _mm256_load_si256(reinterpret_cast<const __m256i*>(weights));
    }

    /// 16 x 16 bytes in each half. One step turns the eight bits of (register, byte) once to the left: four swap them.
    static BITNET_ALWAYS_INLINE void transpose(__m256i (&v)[16]) noexcept {
        BITNET_UNROLL
        for (int step = 0; step < 4; ++step) {
            __m256i next[16];
            BITNET_UNROLL
            for (std::size_t i = 0; i < 8; ++i) {
                next[2 * i] = _mm256_unpacklo_epi8(v[i], v[i + 8]);
                next[2 * i + 1] = _mm256_unpackhi_epi8(v[i], v[i + 8]);
            }
            BITNET_UNROLL
            for (std::size_t i = 0; i < 16; ++i) {
                v[i] = next[i];
            }
        }
    }
};

/// The part of a look-up kernel that does not know how its blocks hold indices: `Block` makes the tables of a block and
/// adds its look-ups. Many tokens go by way of I2sKernel. For what the members do see kernel.hpp.
template <class Layout, class Block, class I2sKernel> struct lookup_rows_avx2 {
    using layout = Layout;
    static constexpr std::size_t arranged_tokens = 1;
    static constexpr std::size_t tables_bytes = lookup_avx2::tables_per_block * lookup_avx2::table_bytes;

    [[nodiscard]] static constexpr std::size_t arranged_bytes(std::size_t cols) noexcept {
        return blocks_across<Layout>(cols) * tables_bytes;
    }

    static void arrange(const activation_view& x, std::size_t first_token, std::size_t cols, std::byte* out) noexcept {
        constexpr std::size_t step = Layout::block_columns;
        const std::int8_t* values = x.data + first_token * x.stride;
        std::size_t c = 0;
        for (; c + step <= cols; c += step, out += tables_bytes) {
            Block::make_tables(values + c, out);
        }
        if (c < cols) {
            std::int8_t last[step] = {};
            std::memcpy(last, values + c, cols - c);
            Block::make_tables(last, out);
        }
    }

    static void rows(const typename Layout::view& w, std::size_t first, std::size_t count, const activation_view& x,
                     std::int32_t* y, std::size_t y_stride) noexcept {
        if (x.tokens > few_tokens) {
            using unpacker = lookup_unpacker_avx2<Layout, Block>;
            by_way_of_i2s<I2sKernel, Layout, unpacker>::rows(w, first, count, x, y, y_stride);
            return;
        }
        const std::size_t end = first + count;
        for (std::size_t begin = first; begin < end;) {
            const std::size_t group = begin / 32;
            const std::size_t stop = end < (group + 1) * 32 ? end : (group + 1) * 32;
            for (std::size_t t = 0; t < x.tokens; ++t) {
                std::int32_t total[32];
                sum_group(w, group, x.arranged + t * x.arranged_stride, total);
                std::memcpy(y + t * y_stride + (begin - first), total + begin % 32,
                            (stop - begin) * sizeof(std::int32_t));
            }
            begin = stop;
        }
    }

private:
    /// Measured on Zen 4: 8 tokens are looked up as fast as they are multiplied after unpacking.
    static constexpr std::size_t few_tokens = 8;

    /// Products of a group of 32 rows with one token.
    static BITNET_ALWAYS_INLINE void sum_group(const typename Layout::view& w, std::size_t group,
                                               const std::byte* tables, std::int32_t* total) noexcept {
        const std::size_t blocks = blocks_across<Layout>(w.cols);
        const std::uint8_t* block = w.data + group * blocks * Layout::block_bytes;
        for (std::size_t r = 0; r < 32; ++r) {
            total[r] = -static_cast<std::int32_t>(blocks) * lookup_avx2::bias_per_block;
        }
        for (std::size_t b = 0; b < blocks;) {
            const std::size_t end =
                b + lookup_avx2::blocks_in_int16 < blocks ? b + lookup_avx2::blocks_in_int16 : blocks;
            auto words = lookup_avx2::zero();
            for (; b < end; ++b, block += Layout::block_bytes, tables += tables_bytes) {
                prefetch(block);
                auto bytes = lookup_avx2::biased_zero();
                Block::add(block, tables, bytes);
                lookup_avx2::add(words, bytes);
            }
            lookup_avx2::add(total, words);
        }
    }

    /// Into the second level and far ahead: the first level's few outstanding misses halved the speed.
    static BITNET_ALWAYS_INLINE void prefetch(const std::uint8_t* block) noexcept {
        constexpr std::size_t ahead = 10240;
        BITNET_UNROLL
        for (std::size_t line = 0; line < Layout::block_bytes; line += 64) {
            _mm_prefetch(reinterpret_cast<const char*>(block) + ahead + line, _MM_HINT_T1);
        }
    }
};

} // namespace bitnet::inline BITNET_ABI
BITNET_TARGET_END
#endif

#include <cstddef>
#include <cstdint>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN("avx2,fma,f16c,bmi,bmi2")
namespace bitnet::inline BITNET_ABI {

/// A block of tl1. Entry 3 c0 + c1 of a pair's table is (c0 - 1) x0 + (c1 - 1) x1, at most 2 * 128 = 256; entries 9 to
/// 15 are never looked up.
struct tl1_block_avx2 {
    /// The eight tables of a block of 16 activations.
    static BITNET_ALWAYS_INLINE void make_tables(const std::int8_t* x, std::byte* out) noexcept {
        const __m256i a = _mm256_setr_epi16(-1, -1, -1, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0);
        const __m256i b = _mm256_setr_epi16(-1, 0, 1, -1, 0, 1, -1, 0, 1, 0, 0, 0, 0, 0, 0, 0);
        for (std::size_t pair = 0; pair < 8; ++pair, x += 2, out += lookup_avx2::table_bytes) {
            lookup_avx2::store_table(_mm256_add_epi16(_mm256_mullo_epi16(_mm256_set1_epi16(x[0]), a),
                                                      _mm256_mullo_epi16(_mm256_set1_epi16(x[1]), b)),
                                     out);
        }
    }

    static BITNET_ALWAYS_INLINE void add(const std::uint8_t* block, const std::byte* tables,
                                         lookup_avx2::byte_sums& sums) noexcept {
        BITNET_UNROLL
        for (std::size_t line = 0; line < 4; ++line, tables += 2 * lookup_avx2::table_bytes) {
            const __m256i pairs = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block + line * 32));
            add_pair(pairs, tables, sums);
            add_pair(_mm256_srli_epi16(pairs, 4), tables + lookup_avx2::table_bytes, sums);
        }
    }

    /// Weights of the 16 columns, 32 rows each.
    static BITNET_ALWAYS_INLINE void unpack(const std::uint8_t* block, std::int8_t (*columns)[32]) noexcept {
        BITNET_UNROLL
        for (std::size_t line = 0; line < 4; ++line, columns += 4) {
            const __m256i pairs = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block + line * 32));
            unpack_pair(pairs, columns);
            unpack_pair(_mm256_srli_epi16(pairs, 4), columns + 2);
        }
    }

private:
    static BITNET_ALWAYS_INLINE void unpack_pair(__m256i indices, std::int8_t (*columns)[32]) noexcept {
        const __m128i a = _mm_setr_epi8(-1, -1, -1, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0);
        const __m128i b = _mm_setr_epi8(-1, 0, 1, -1, 0, 1, -1, 0, 1, 0, 0, 0, 0, 0, 0, 0);
        const __m256i index = _mm256_and_si256(indices, _mm256_set1_epi8(15));
        _mm256_store_si256(reinterpret_cast<__m256i*>(columns[0]),
                           _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(a), index));
        _mm256_store_si256(reinterpret_cast<__m256i*>(columns[1]),
                           _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(b), index));
    }

    /// Adds the look-ups of the low four bits.
    static BITNET_ALWAYS_INLINE void add_pair(__m256i indices, const std::byte* table,
                                              lookup_avx2::byte_sums& sums) noexcept {
        const __m256i index = _mm256_and_si256(indices, _mm256_set1_epi8(15));
        sums.low = _mm256_add_epi8(sums.low, _mm256_shuffle_epi8(lookup_avx2::load_table(table), index));
        sums.high = _mm256_add_epi8(sums.high, _mm256_shuffle_epi8(lookup_avx2::load_table(table + 16), index));
    }
};

template <> struct kernel<isa::avx2, tl1> : lookup_rows_avx2<tl1, tl1_block_avx2, kernel<isa::avx2, i2s>> {};

/// VNNI multiplies, and one token needs no multiplication; many do.
template <> struct kernel<isa::avx_vnni, tl1> : lookup_rows_avx2<tl1, tl1_block_avx2, kernel<isa::avx_vnni, i2s>> {};
template <>
struct kernel<isa::avx512_vnni, tl1> : lookup_rows_avx2<tl1, tl1_block_avx2, kernel<isa::avx512_vnni, i2s>> {};

/// Activations are arranged as tables, so that tiles find them not as they need them.
template <> struct kernel<isa::amx_int8, tl1> : kernel<isa::avx512_vnni, tl1> {};

} // namespace bitnet::inline BITNET_ABI
BITNET_TARGET_END
#endif

// ---- bitnet/kernel/tl2_avx2.hpp ----
// The tl2 layout (three weights in five bits) for AVX2: look-ups by vpshufb. Empty on other architectures.

#include <cstddef>
#include <cstdint>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN("avx2,fma,f16c,bmi,bmi2")
namespace bitnet::inline BITNET_ABI {

/// A block of tl2. Entry v of a triple's table is what the weights of value v make of its activations:
/// v = 9 a + 3 b + c, the sum a x0 + b x1 + c x2, at most 3 * 128 = 384; entries 14 and 15 are never looked up.
struct tl2_block_avx2 {
    /// The eight tables of a block of 24 activations.
    static BITNET_ALWAYS_INLINE void make_tables(const std::int8_t* x, std::byte* out) noexcept {
        const __m256i a = _mm256_setr_epi16(0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0);
        const __m256i b = _mm256_setr_epi16(0, 0, 1, 1, 1, -1, -1, -1, 0, 0, 0, 1, 1, 1, 0, 0);
        const __m256i c = _mm256_setr_epi16(0, 1, -1, 0, 1, -1, 0, 1, -1, 0, 1, -1, 0, 1, 0, 0);
        for (std::size_t triple = 0; triple < 8; ++triple, x += 3, out += lookup_avx2::table_bytes) {
            const __m256i sums = _mm256_add_epi16(_mm256_mullo_epi16(_mm256_set1_epi16(x[0]), a),
                                                  _mm256_mullo_epi16(_mm256_set1_epi16(x[1]), b));
            lookup_avx2::store_table(_mm256_add_epi16(sums, _mm256_mullo_epi16(_mm256_set1_epi16(x[2]), c)), out);
        }
    }

    static BITNET_ALWAYS_INLINE void add(const std::uint8_t* block, const std::byte* tables,
                                         lookup_avx2::byte_sums& sums) noexcept {
        __m256i signs = load(block + std::size_t{4} * 32);
        BITNET_UNROLL
        for (std::size_t line = 0; line < 4; ++line, tables += 2 * lookup_avx2::table_bytes) {
            const __m256i pairs = load(block + line * 32);
            add_triple(pairs, tables, signs, sums);
            add_triple(_mm256_srli_epi16(pairs, 4), tables + lookup_avx2::table_bytes, signs, sums);
        }
    }

    /// Weights of the 24 columns, 32 rows each.
    static BITNET_ALWAYS_INLINE void unpack(const std::uint8_t* block, std::int8_t (*columns)[32]) noexcept {
        __m256i signs = load(block + std::size_t{4} * 32);
        BITNET_UNROLL
        for (std::size_t line = 0; line < 4; ++line, columns += 6) {
            const __m256i pairs = load(block + line * 32);
            unpack_triple(pairs, signs, columns);
            unpack_triple(_mm256_srli_epi16(pairs, 4), signs, columns + 3);
        }
    }

private:
    static BITNET_ALWAYS_INLINE void unpack_triple(__m256i indices, __m256i& signs,
                                                   std::int8_t (*columns)[32]) noexcept {
        const __m128i weights[3] = {_mm_setr_epi8(0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0),
                                    _mm_setr_epi8(0, 0, 1, 1, 1, -1, -1, -1, 0, 0, 0, 1, 1, 1, 0, 0),
                                    _mm_setr_epi8(0, 1, -1, 0, 1, -1, 0, 1, -1, 0, 1, -1, 0, 1, 0, 0)};
        const __m256i index = _mm256_and_si256(indices, _mm256_set1_epi8(15));
        const __m256i sign = _mm256_or_si256(signs, _mm256_set1_epi8(1));
        BITNET_UNROLL
        for (std::size_t i = 0; i < 3; ++i) {
            const __m256i positive = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(weights[i]), index);
            _mm256_store_si256(reinterpret_cast<__m256i*>(columns[i]), _mm256_sign_epi8(positive, sign));
        }
        signs = _mm256_add_epi8(signs, signs);
    }

    static BITNET_ALWAYS_INLINE __m256i load(const std::uint8_t* p) noexcept {
        return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    }

    /// Adds the look-ups of the low four bits, negated where bit 7 of `signs` is set, and shifts `signs` to the next.
    static BITNET_ALWAYS_INLINE void add_triple(__m256i indices, const std::byte* table, __m256i& signs,
                                                lookup_avx2::byte_sums& sums) noexcept {
        const __m256i index = _mm256_and_si256(indices, _mm256_set1_epi8(15));
        const __m256i sign = _mm256_or_si256(signs, _mm256_set1_epi8(1)); // never zero: vpsignb only negates
        const __m256i low = _mm256_shuffle_epi8(lookup_avx2::load_table(table), index);
        const __m256i high = _mm256_shuffle_epi8(lookup_avx2::load_table(table + 16), index);
        sums.low = _mm256_add_epi8(sums.low, _mm256_sign_epi8(low, sign));
        sums.high = _mm256_add_epi8(sums.high, _mm256_sign_epi8(high, sign));
        signs = _mm256_add_epi8(signs, signs);
    }
};

template <> struct kernel<isa::avx2, tl2> : lookup_rows_avx2<tl2, tl2_block_avx2, kernel<isa::avx2, i2s>> {};

/// VNNI multiplies, and one token needs no multiplication; many do.
template <> struct kernel<isa::avx_vnni, tl2> : lookup_rows_avx2<tl2, tl2_block_avx2, kernel<isa::avx_vnni, i2s>> {};
template <>
struct kernel<isa::avx512_vnni, tl2> : lookup_rows_avx2<tl2, tl2_block_avx2, kernel<isa::avx512_vnni, i2s>> {};

/// Activations are arranged as tables, so that tiles find them not as they need them.
template <> struct kernel<isa::amx_int8, tl2> : kernel<isa::avx512_vnni, tl2> {};

} // namespace bitnet::inline BITNET_ABI
BITNET_TARGET_END
#endif

// ---- bitnet/simd/float_ops.hpp ----
// float_ops<Isa>: the float loops compiled for one instruction set. All of them give the bits of the scalar ones.

// ---- bitnet/simd/lane_ops.hpp ----
// lane_ops: the float loops of a transformer in plain C++, in the library's one order of summation.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

BITNET_PRECISE_BEGIN
namespace bitnet::inline BITNET_ABI {

/// Reductions run in 16 lanes: element i goes to lane i mod 16, ascending, and the lanes fold l+8, l+4, l+2, l+1.
inline constexpr std::size_t reduction_lanes = 16;
/// Attention reduces over blocks of this many positions, anchored at position 0, and merges the blocks ascending.
inline constexpr std::size_t attention_block = 256;

/// What quantising one row gives besides the int8 values.
struct row_quantization {
    float scale;      ///< q = round(x * scale)
    std::int32_t sum; ///< of all q: ternary kernels multiply by codes 0..2 and subtract it once
};

/// What a softmax over some positions needs to be merged with another one.
struct softmax_state {
    float max;
    float sum; ///< of exp(score - max)
};

/// The loops, written once over plain floats; `Fma` says how a multiply-add is made, and every `Fma` gives the same
/// bits. Inlined into the per-ISA wrappers of float_ops, whose target the compiler then vectorises for. Rules that keep
/// the bits: a multiply-add is an explicit fma; no product is followed by a separate add; loops that do not reduce may
/// run in any order, and are cut in 16s so that -O2 vectorises them.
template <class Fma> struct lane_ops {
    using lanes = float[reduction_lanes];

    static BITNET_ALWAYS_INLINE float fold(const lanes& in) noexcept {
        lanes l;
        std::memcpy(l, in, sizeof l);
        for (std::size_t half_width = reduction_lanes / 2; half_width != 0; half_width /= 2) {
            for (std::size_t i = 0; i < half_width; ++i) {
                l[i] = l[i] + l[i + half_width];
            }
        }
        return l[0];
    }

    /// e^x within 2 units in the last place; 0 below -87 (never a denormal), e^88 above 88.
    /// n = round(x / ln 2), r = x - n ln 2 in two parts, then e^r by its Taylor series to r^7 (the rest is below
    /// (ln 2 / 2)^8 / 8! = 5e-9) and an exact scaling by 2^n.
    static BITNET_ALWAYS_INLINE float exp(float x) noexcept {
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
        const std::uint32_t exponent = (std::bit_cast<std::uint32_t>(shifted) - std::bit_cast<std::uint32_t>(shift))
                                       << 23;
        const float scaled = std::bit_cast<float>(std::bit_cast<std::uint32_t>(p) + exponent);
        const std::uint32_t kept = x < -87.0f ? 0u : 0xffffffffu; // a mask, which vectorises where a choice does not
        return std::bit_cast<float>(std::bit_cast<std::uint32_t>(scaled) & kept);
    }

    static BITNET_ALWAYS_INLINE float sum_of_squares(const float* x, std::size_t n) noexcept {
        lanes acc = {};
        std::size_t i = 0;
        for (; i + 16 <= n; i += 16) {
            for (std::size_t l = 0; l < 16; ++l) {
                acc[l] = Fma::fma(x[i + l], x[i + l], acc[l]);
            }
        }
        for (std::size_t l = 0; i + l < n; ++l) {
            acc[l] = Fma::fma(x[i + l], x[i + l], acc[l]);
        }
        return fold(acc);
    }

    /// The factor of an RMSNorm: 1 / sqrt(mean square + eps).
    static BITNET_ALWAYS_INLINE float inverse_rms(float sum_of_squares, std::size_t n, float eps) noexcept {
        const float mean = sum_of_squares / static_cast<float>(n);
        const float shifted = mean + eps;
        return 1.0f / exact_square_root(shifted);
    }

    /// y = (x * factor) * weight
    static BITNET_ALWAYS_INLINE void scale_by(const float* x, const float* weight, float factor, std::size_t n,
                                              float* y) noexcept {
        std::size_t i = 0;
        for (; i + 16 <= n; i += 16) {
            for (std::size_t l = 0; l < 16; ++l) {
                y[i + l] = (x[i + l] * factor) * weight[i + l];
            }
        }
        for (; i < n; ++i) {
            y[i] = (x[i] * factor) * weight[i];
        }
    }

    /// max |x|; a NaN counts as absent.
    static BITNET_ALWAYS_INLINE float absmax(const float* x, std::size_t n) noexcept {
        lanes acc = {};
        std::size_t i = 0;
        for (; i + 16 <= n; i += 16) {
            for (std::size_t l = 0; l < 16; ++l) {
                acc[l] = larger(magnitude(x[i + l]), acc[l]);
            }
        }
        for (; i < n; ++i) {
            acc[0] = larger(magnitude(x[i]), acc[0]);
        }
        float max = 0.0f;
        for (const float lane : acc) {
            max = larger(lane, max);
        }
        return max;
    }

    /// Absmax int8 quantisation of BitNet b1.58: s = 127 / max(max|x|, 1e-5), q = round_half_even(x * s) in [-128,
    /// 127]. |x| * s is at most 127 and a rounding error, so the clamp to int8 never acts on finite input; what is not
    /// finite gives some int8 and no undefined behaviour.
    static BITNET_ALWAYS_INLINE row_quantization quantize(const float* x, std::size_t n, std::int8_t* q) noexcept {
        const float scale = quantization_scale(absmax(x, n));
        return {scale, quantize_with(x, scale, n, q)};
    }

    /// The second half of quantize(), for a given scale. \return the sum of all q.
    static BITNET_ALWAYS_INLINE std::int32_t quantize_with(const float* x, float scale, std::size_t n,
                                                           std::int8_t* q) noexcept {
        std::int32_t sum = 0;
        for (std::size_t i = 0; i < n; ++i) {
            const std::int32_t rounded = round_to_int8(x[i] * scale);
            q[i] = static_cast<std::int8_t>(rounded);
            sum += rounded;
        }
        return sum;
    }

    static BITNET_ALWAYS_INLINE float quantization_scale(float largest) noexcept {
        return 127.0f / larger(largest, 1e-5f);
    }

    /// y = acc * factor: an int32 dot product becomes a float (exactly, for rows of up to 2^16 columns: |acc| < 2^24).
    /// factor = weight scale / activation scale.
    static BITNET_ALWAYS_INLINE void dequantize(const std::int32_t* acc, float factor, std::size_t n,
                                                float* y) noexcept {
        std::size_t i = 0;
        for (; i + 16 <= n; i += 16) {
            for (std::size_t l = 0; l < 16; ++l) {
                y[i + l] = static_cast<float>(acc[i + l]) * factor;
            }
        }
        for (; i < n; ++i) {
            y[i] = static_cast<float>(acc[i]) * factor;
        }
    }

    /// y += acc * factor, the product rounded by the fma only: the residual stream takes a projection.
    static BITNET_ALWAYS_INLINE void dequantize_add(const std::int32_t* acc, float factor, std::size_t n,
                                                    float* y) noexcept {
        std::size_t i = 0;
        for (; i + 16 <= n; i += 16) {
            for (std::size_t l = 0; l < 16; ++l) {
                y[i + l] = Fma::fma(static_cast<float>(acc[i + l]), factor, y[i + l]);
            }
        }
        for (; i < n; ++i) {
            y[i] = Fma::fma(static_cast<float>(acc[i]), factor, y[i]);
        }
    }

    /// y = relu(gate)^2 * up
    static BITNET_ALWAYS_INLINE void relu2_times(const float* gate, const float* up, std::size_t n, float* y) noexcept {
        std::size_t i = 0;
        for (; i + 16 <= n; i += 16) {
            for (std::size_t l = 0; l < 16; ++l) {
                const float g = larger(gate[i + l], 0.0f);
                y[i + l] = (g * g) * up[i + l];
            }
        }
        for (; i < n; ++i) {
            const float g = larger(gate[i], 0.0f);
            y[i] = (g * g) * up[i];
        }
    }

    /// y = silu(gate) * up, silu(g) = g / (1 + e^-g)
    static BITNET_ALWAYS_INLINE void silu_times(const float* gate, const float* up, std::size_t n, float* y) noexcept {
        std::size_t i = 0;
        for (; i + 16 <= n; i += 16) {
            for (std::size_t l = 0; l < 16; ++l) {
                y[i + l] = silu(gate[i + l]) * up[i + l];
            }
        }
        for (; i < n; ++i) {
            y[i] = silu(gate[i]) * up[i];
        }
    }

    /// y = gelu(gate) * up, gelu(g) = g/2 (1 + tanh(sqrt(2/pi) (g + 0.044715 g^3))).
    static BITNET_ALWAYS_INLINE void gelu_times(const float* gate, const float* up, std::size_t n, float* y) noexcept {
        std::size_t i = 0;
        for (; i + 16 <= n; i += 16) {
            for (std::size_t l = 0; l < 16; ++l) {
                y[i + l] = gelu(gate[i + l]) * up[i + l];
            }
        }
        for (; i < n; ++i) {
            y[i] = gelu(gate[i]) * up[i];
        }
    }

    /// Rotary position embedding of one head, halves rotated against each other (NEOX order):
    /// (a, b) at (j, j + pairs) becomes (a cos - b sin, b cos + a sin).
    static BITNET_ALWAYS_INLINE void rotate(float* head, const float* cos, const float* sin,
                                            std::size_t pairs) noexcept {
        for (std::size_t j = 0; j < pairs; ++j) {
            const float a = head[j];
            const float b = head[j + pairs];
            head[j] = Fma::fma(-b, sin[j], a * cos[j]);
            head[j + pairs] = Fma::fma(a, sin[j], b * cos[j]);
        }
    }

    /// y[t][r] = dot(row r of w, row t of x), every one in the 16-lane order whatever the number of tokens.
    /// w [rows, x.cols] of E, `row_bytes` apart, at any alignment; x [tokens, cols]; y has x.rows pointers.
    template <class E>
    static BITNET_ALWAYS_INLINE void dot_rows(const std::byte* w, std::size_t row_bytes, std::size_t rows,
                                              matrix_view<const float> x, float* const* y) noexcept {
        for (std::size_t t = 0; t < x.rows; ++t) {
            const float* input = x.data + t * x.stride;
            for (std::size_t r = 0; r < rows; ++r) {
                const std::byte* row = w + r * row_bytes;
                lanes acc = {};
                for (std::size_t i = 0; i < x.cols; ++i) {
                    acc[i % 16] = Fma::fma(element_at<E>(row, i), input[i], acc[i % 16]);
                }
                y[t][r] = fold(acc);
            }
        }
    }

    /// What attention scores are multiplied by: 1 / sqrt(head_size).
    static BITNET_ALWAYS_INLINE float score_scale(std::size_t head_size) noexcept {
        return 1.0f / exact_square_root(static_cast<float>(head_size));
    }

    /// out[p] = (sum over d of q[d] * k[p][d], one fma chain) * scale, for the positions of one attention block.
    /// k [positions / 16][head_size][16]: sixteen positions side by side. Writes whole sixteens.
    template <class E>
    static BITNET_ALWAYS_INLINE void scores(const float* q, const E* k, std::size_t head_size, std::size_t positions,
                                            float scale, float* out) noexcept {
        for (std::size_t p = 0; p < positions; p += 16) {
            const E* block = k + p * head_size;
            lanes acc = {};
            for (std::size_t d = 0; d < head_size; ++d) {
                for (std::size_t l = 0; l < 16; ++l) {
                    acc[l] = Fma::fma(q[d], widen(block[d * 16 + l]), acc[l]);
                }
            }
            for (std::size_t l = 0; l < 16; ++l) {
                out[p + l] = acc[l] * scale;
            }
        }
    }

    /// Turns scores into exp(score - max) in place and sums them in the 16-lane order. \pre 1 <= n <= attention_block
    static BITNET_ALWAYS_INLINE softmax_state exponentials(float* scores, std::size_t n) noexcept {
        const float max = maximum(scores, n);
        lanes acc = {};
        std::size_t i = 0;
        for (; i + 16 <= n; i += 16) {
            for (std::size_t l = 0; l < 16; ++l) {
                scores[i + l] = exp(scores[i + l] - max);
            }
            for (std::size_t l = 0; l < 16; ++l) {
                acc[l] = acc[l] + scores[i + l];
            }
        }
        for (std::size_t l = 0; i + l < n; ++l) {
            const float e = exp(scores[i + l] - max);
            scores[i + l] = e;
            acc[l] = acc[l] + e;
        }
        return {max, fold(acc)};
    }

    /// out[d] = sum over positions of p[position] * v[position][d], one fma chain per d, ascending. v [end, head_size].
    /// Adds positions [begin, end) to what `out` holds of the chain; one that begins at 0 starts it.
    template <class E>
    static BITNET_ALWAYS_INLINE void weighted_values(const float* p, const E* v, std::size_t head_size,
                                                     std::size_t begin, std::size_t end, float* out) noexcept {
        for (std::size_t d = 0; d < head_size; ++d) {
            float acc = begin == 0 ? 0.0f : out[d];
            for (std::size_t position = begin; position < end; ++position) {
                acc = Fma::fma(p[position], widen(v[position * head_size + d]), acc);
            }
            out[d] = acc;
        }
    }

    /// Merges the softmax of a later block into that of the earlier ones: both are scaled to the larger maximum.
    static BITNET_ALWAYS_INLINE softmax_state merge(softmax_state earlier, float* out, softmax_state later,
                                                    const float* block, std::size_t n) noexcept {
        const float max = larger(later.max, earlier.max);
        const float keep = exp(earlier.max - max);
        const float take = exp(later.max - max);
        for (std::size_t d = 0; d < n; ++d) {
            out[d] = Fma::fma(block[d], take, out[d] * keep);
        }
        return {max, Fma::fma(later.sum, take, earlier.sum * keep)};
    }

    /// x = x * y, element by element.
    static BITNET_ALWAYS_INLINE void multiply(float* x, const float* y, std::size_t n) noexcept {
        std::size_t i = 0;
        for (; i + 16 <= n; i += 16) {
            lanes products; // x and y could overlap, for all that the compiler knows
            for (std::size_t l = 0; l < 16; ++l) {
                products[l] = x[i + l] * y[i + l];
            }
            std::memcpy(x + i, products, sizeof products);
        }
        for (; i < n; ++i) {
            x[i] = x[i] * y[i];
        }
    }

    /// y = y + x, element by element.
    static BITNET_ALWAYS_INLINE void add(const float* x, std::size_t n, float* y) noexcept {
        std::size_t i = 0;
        for (; i + 16 <= n; i += 16) {
            lanes sums;
            for (std::size_t l = 0; l < 16; ++l) {
                sums[l] = y[i + l] + x[i + l];
            }
            std::memcpy(y + i, sums, sizeof sums);
        }
        for (; i < n; ++i) {
            y[i] = y[i] + x[i];
        }
    }

    static BITNET_ALWAYS_INLINE void scale(float* x, float factor, std::size_t n) noexcept {
        for (std::size_t i = 0; i < n; ++i) {
            x[i] = x[i] * factor;
        }
    }

    /// y = x / max(|x|, 1e-12), |x| the Euclidean length.
    static BITNET_ALWAYS_INLINE void normalize(const float* x, std::size_t n, float* y) noexcept {
        const float length = larger(exact_square_root(sum_of_squares(x, n)), 1e-12f);
        for (std::size_t i = 0; i < n; ++i) {
            y[i] = x[i] / length;
        }
    }

    static BITNET_ALWAYS_INLINE void divide(float* x, float divisor, std::size_t n) noexcept {
        for (std::size_t i = 0; i < n; ++i) {
            x[i] = x[i] / divisor;
        }
    }

    /// The largest of scores[0..n), lane by lane, then lane after lane. \pre n > 0
    static BITNET_ALWAYS_INLINE float maximum(const float* scores, std::size_t n) noexcept {
        lanes acc;
        for (float& lane : acc) {
            lane = scores[0];
        }
        std::size_t i = 0;
        for (; i + 16 <= n; i += 16) {
            for (std::size_t l = 0; l < 16; ++l) {
                acc[l] = larger(scores[i + l], acc[l]);
            }
        }
        for (std::size_t l = 0; i + l < n; ++l) {
            acc[l] = larger(scores[i + l], acc[l]);
        }
        float max = acc[0];
        for (const float lane : acc) {
            max = larger(lane, max);
        }
        return max;
    }

    /// y = x rounded to E. Integers are absmax quantised, see quantize().
    /// \return what widen(y) is to be multiplied by: 1 for float and half.
    template <class E> static BITNET_ALWAYS_INLINE float narrow_row(const float* x, std::size_t n, E* y) noexcept {
        for (std::size_t i = 0; i < n; ++i) {
            y[i] = narrow<E>(x[i]);
        }
        return 1.0f;
    }
    static BITNET_ALWAYS_INLINE float narrow_row(const float* x, std::size_t n, std::int8_t* y) noexcept {
        return step_of(quantize(x, n, y));
    }

    /// What one step of a quantised row is worth.
    static BITNET_ALWAYS_INLINE float step_of(row_quantization row) noexcept { return 1.0f / row.scale; }

    /// y = x in another element type, exactly.
    template <class E>
    static BITNET_ALWAYS_INLINE void widen_row(const std::byte* x, std::size_t n, float* y) noexcept {
        for (std::size_t i = 0; i < n; ++i) {
            y[i] = element_at<E>(x, i);
        }
    }

private:
    static BITNET_ALWAYS_INLINE float magnitude(float x) noexcept {
        return std::bit_cast<float>(std::bit_cast<std::uint32_t>(x) & 0x7fffffffu);
    }
    /// The larger of two; `b` when `a` is a NaN, as vmaxps does.
    static BITNET_ALWAYS_INLINE float larger(float a, float b) noexcept { return a > b ? a : b; }

    static BITNET_ALWAYS_INLINE float silu(float g) noexcept {
        const float e = exp(-g);
        const float denominator = 1.0f + e;
        return g / denominator;
    }

    /// (1 + tanh u) / 2 = 1 / (1 + e^-2u), so that exp() is all it takes. 2u = g (2 sqrt(2/pi) + 0.08943 sqrt(2/pi)
    /// g^2).
    static BITNET_ALWAYS_INLINE float gelu(float g) noexcept {
        const float square = g * g;
        const float slope = Fma::fma(square, 0x1.2444f2p-4f, 0x1.988454p+0f);
        const float e = exp(-(g * slope));
        const float denominator = 1.0f + e;
        return g / denominator;
    }

    /// Round half to even by adding 1.5 * 2^23, where the spacing of floats is 1. \param x a product, rounded already.
    static BITNET_ALWAYS_INLINE std::int32_t round_to_int8(float x) noexcept {
        constexpr float shift = 12582912.0f;
        const float above = x > 127.0f ? 127.0f : x;
        const float clamped = above < -128.0f ? -128.0f : above;
        const float shifted = clamped + shift;
        const std::uint32_t low = std::bit_cast<std::uint32_t>(shifted) - std::bit_cast<std::uint32_t>(shift);
        return static_cast<std::int8_t>(static_cast<std::uint8_t>(low));
    }
};

} // namespace bitnet::inline BITNET_ABI
BITNET_PRECISE_END

// ---- bitnet/simd/screen.hpp ----
// A screen of a dense matrix: six bits a weight and two norms a row, enough to bound every dot product from above.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>

BITNET_PRECISE_BEGIN
namespace bitnet::inline BITNET_ABI {

/// How a row w [cols] lies in a screen: blocks of 128 columns, the last one padded with zeros, then a row_bound. Column
/// c of a block is s * (q - 32) with a six-bit code q in 1..63 and the block's own s.
///
///     0   low[64]   byte j: low four bits of q of columns j (low nibble) and 64 + j (high nibble)
///     64  high[32]  byte j: high two bits of columns j, 32 + j, 64 + j, 96 + j, from bit 0 up
///     96  s         float
struct screen_layout {
    static constexpr std::size_t block_columns = 128;
    static constexpr std::size_t high_at = 64;
    static constexpr std::size_t scale_at = 96;
    static constexpr std::size_t block_bytes = 100;
    static constexpr int zero = 32;
    static constexpr int largest_code = 31; ///< codes are zero - 31 to zero + 31

    [[nodiscard]] static constexpr std::size_t blocks(std::size_t cols) noexcept {
        return (cols + block_columns - 1) / block_columns;
    }
    [[nodiscard]] static constexpr std::size_t row_bytes(std::size_t cols) noexcept {
        return blocks(cols) * block_bytes + 2 * sizeof(float);
    }
};

/// What is known of a row w and its screened copy v, both rounded up. error is infinity where w is not finite or huge:
/// such a row is never screened out.
struct row_bound {
    float error; ///< >= |w - v|
    float norm;  ///< >= |w| and >= |v|
};

/// A row x of floats as 16-bit integers, x = unit * (256 * high + low) + rest, and the bound of what that leaves open.
///
/// For every row w of a screen, with L the dot product of w and x that lane_ops::dot_rows computes in float, S the sum
/// that screen_rows computes and u = 2^-24:
///
///     L <= S * unit + error * norm + row_bound.norm * slack + tiny        (|.| the Euclidean norm, norm >= |x|)
///
/// Let y = x - rest be what the integers stand for. Then
///     w x - v y = (w - v) x + v (x - y)        so |w x - v y| <= |w - v| |x| + |v| |rest|       (Cauchy-Schwarz)
///     |L - w x| <= g(m + 4) |w| |x|            m = ceil(cols / 16) fmas to a lane and 4 additions to fold the lanes;
///                                              g(k) = k u / (1 - k u), sum |w_i x_i| <= |w| |x|
///     |S unit - v y| <= g(b + 4) |v| |y|       b blocks: one fma to a lane for each, and the same fold. The integers
///                                              under it are exact: a lane of a block adds 8 products of at most
///                                              31 * 32,767, less than 2^24
///     |y| <= |x| + |rest|
/// so slack = (g(m + 4) + g(b + 4) + 4 u) (|x| + |rest|) + |rest|. The 4 u and factors of 1 + 2^-20 on both norms are
/// for the roundings of the bound itself: the three fmas that add it up. `tiny` is for underflow: at most 2^20
/// operations, each wrong by 2^-150, and their sum multiplied by unit < 2^15. Nothing overflows, because rows of a norm
/// above 2^60 have an error of infinity and x with an element above 2^30 is refused.
struct screen_input {
    const std::int8_t* high = nullptr;    ///< [blocks * 128]
    const std::int8_t* low = nullptr;     ///< [blocks * 128]
    const std::int32_t* offset = nullptr; ///< [blocks * 16] -32 times the sum of the integers of a lane
    std::size_t blocks = 0;
    float unit = 0;
    float norm = 0;
    float slack = 0;

    static constexpr float tiny = 0x1p-100f;
};

/// The largest that the dot product of a row can be, from its sum and what stands behind its blocks. Never a NaN.
template <class Fma>
[[nodiscard]] BITNET_ALWAYS_INLINE float upper_bound_of(float sum, const std::byte* tail,
                                                        const screen_input& x) noexcept {
    row_bound row;
    std::memcpy(&row, tail, sizeof row);
    const float rounding = Fma::fma(row.norm, x.slack, screen_input::tiny);
    const float bound = Fma::fma(row.error, x.norm, rounding);
    const float upper = Fma::fma(sum, x.unit, bound);
    const bool is_nan = (std::bit_cast<std::uint32_t>(upper) & 0x7fffffffu) > 0x7f800000u;
    return is_nan ? std::numeric_limits<float>::infinity() : upper;
}

/// upper[r] = a bound of the dot product of row r of a screen with x, from above: the loop as plain C++, and the
/// oracle. Lane l of a block adds columns 4l..4l+3 and 64+4l..64+4l+3 as integers; blocks follow as fmas; the lanes
/// fold.
template <class Fma>
BITNET_ALWAYS_INLINE void screen_rows(const std::byte* rows, std::size_t count, const screen_input& x,
                                      float* upper) noexcept {
    for (std::size_t r = 0; r < count; ++r) {
        const std::byte* block = rows + r * screen_layout::row_bytes(x.blocks * screen_layout::block_columns);
        float acc[reduction_lanes] = {};
        for (std::size_t b = 0; b < x.blocks; ++b, block += screen_layout::block_bytes) {
            std::int32_t sums[reduction_lanes];
            std::copy_n(x.offset + b * reduction_lanes, reduction_lanes, sums);
            for (std::size_t c = 0; c < screen_layout::block_columns; ++c) {
                const auto low = static_cast<int>(block[c % 64]) >> (c / 64 * 4) & 15;
                const auto high = static_cast<int>(block[screen_layout::high_at + c % 32]) >> (c / 32 * 2) & 3;
                const std::size_t i = b * screen_layout::block_columns + c;
                sums[c % 64 / 4] += (low | high << 4) * (256 * x.high[i] + x.low[i]);
            }
            float scale;
            std::memcpy(&scale, block + screen_layout::scale_at, sizeof scale);
            for (std::size_t l = 0; l < reduction_lanes; ++l) {
                acc[l] = Fma::fma(static_cast<float>(sums[l]), scale, acc[l]);
            }
        }
        upper[r] = upper_bound_of<Fma>(lane_ops<Fma>::fold(acc), block, x);
    }
}

/// Writes screens row by row: for each block encode(), then finish(). Double arithmetic, where squares of floats are
/// exact and a sum of 2^20 of them is wrong by 2^-33 at most; what is kept is rounded up by more.
class screen_writer {
public:
    /// One block of a row. w [128]
    void encode(const float* w, std::byte* block) noexcept {
        std::uint32_t largest = 0;
        for (std::size_t i = 0; i < screen_layout::block_columns; ++i) {
            largest = std::max(largest, std::bit_cast<std::uint32_t>(w[i]) & 0x7fffffffu);
        }
        finite_ = finite_ && largest < 0x7f800000u;
        const float scale = finite_ ? std::bit_cast<float>(largest) / 31.0f : 0.0f;
        const float inverse = scale > 0x1p-100f ? 1.0f / scale : 0.0f;
        std::int32_t codes[screen_layout::block_columns];
        for (std::size_t i = 0; i < screen_layout::block_columns; ++i) {
            codes[i] = code_of(w[i] * inverse);
        }
        if (finite_) {
            measure(w, codes, static_cast<double>(scale));
        }
        pack(codes, block);
        std::memcpy(block + screen_layout::scale_at, &scale, sizeof scale);
    }

    /// Behind the last block of a row; begins the next one.
    void finish(std::byte* tail) noexcept {
        double squares = 0;
        double errors = 0;
        for (std::size_t l = 0; l < lanes; ++l) {
            squares = squares + squares_[l];
            errors = errors + errors_[l];
        }
        const double norm = std::sqrt(squares) + std::sqrt(errors); // |v| <= |w| + |w - v|
        row_bound row{std::numeric_limits<float>::infinity(), 0.0f};
        if (finite_ && norm < 0x1p60) {
            row = {round_up(std::sqrt(errors)), round_up(norm)};
        }
        std::memcpy(tail, &row, sizeof row);
        *this = {};
    }

    /// A float not below the non-negative `value`, unless that is below 2^-126.
    [[nodiscard]] static float round_up(double value) noexcept { return static_cast<float>(value * (1.0 + 0x1p-20)); }

private:
    static constexpr std::size_t lanes = 8;

    [[nodiscard]] static std::int32_t code_of(float x) noexcept {
        constexpr float shift = 12582912.0f; // 1.5 * 2^23
        const float above = x > 31.0f ? 31.0f : x;
        const float clamped = above < -31.0f ? -31.0f : above;
        const float shifted = clamped + shift;
        return static_cast<std::int32_t>(std::bit_cast<std::uint32_t>(shifted) - std::bit_cast<std::uint32_t>(shift));
    }

    void measure(const float* w, const std::int32_t* codes, double scale) noexcept {
        for (std::size_t i = 0; i < screen_layout::block_columns; i += lanes) {
            for (std::size_t l = 0; l < lanes; ++l) {
                const double exact = static_cast<double>(w[i + l]);
                const double screened = scale * static_cast<double>(codes[i + l]); // exact: 24 + 6 bits
                const double error = exact - screened;
                const double square = exact * exact;
                const double error_square = error * error;
                squares_[l] = squares_[l] + square;
                errors_[l] = errors_[l] + error_square;
            }
        }
    }

    static void pack(const std::int32_t* codes, std::byte* block) noexcept {
        const auto code = [codes](std::size_t i) {
            return static_cast<std::uint32_t>(codes[i] + screen_layout::zero) & 63u;
        };
        for (std::size_t j = 0; j < 64; ++j) {
            block[j] = static_cast<std::byte>((code(j) & 15u) | (code(64 + j) & 15u) << 4);
        }
        for (std::size_t j = 0; j < 32; ++j) {
            block[screen_layout::high_at + j] = static_cast<std::byte>(
                code(j) >> 4 | (code(32 + j) >> 4) << 2 | (code(64 + j) >> 4) << 4 | (code(96 + j) >> 4) << 6);
        }
    }

    double squares_[lanes] = {};
    double errors_[lanes] = {};
    bool finite_ = true;
};

/// Fills high, low [blocks * 128] and offset [blocks * 16] for x [cols], and gives a view of them in `made`.
/// \return false where x is no good for a screen: not finite, all below 2^-60 or some above 2^30. Costs 10 us.
[[nodiscard]] inline bool make_screen_input(const float* x, std::size_t cols, std::int8_t* high, std::int8_t* low,
                                            std::int32_t* offset, screen_input& made) noexcept {
    std::uint32_t bits = 0;
    for (std::size_t i = 0; i < cols; ++i) {
        bits = std::max(bits, std::bit_cast<std::uint32_t>(x[i]) & 0x7fffffffu);
    }
    if (bits < std::bit_cast<std::uint32_t>(0x1p-60f) || bits > std::bit_cast<std::uint32_t>(0x1p30f)) {
        return false;
    }
    const float unit = std::bit_cast<float>(bits) / 32000.0f;
    const double inverse = 1.0 / static_cast<double>(unit);
    const std::size_t blocks = screen_layout::blocks(cols);
    std::fill_n(offset, blocks * 16, 0);
    double squares = 0;
    double rest_squares = 0;
    for (std::size_t i = 0; i < blocks * screen_layout::block_columns; ++i) {
        const double exact = i < cols ? static_cast<double>(x[i]) : 0.0;
        const double scaled = exact * inverse; // at most 32,000 and a rounding error
        const auto integer = static_cast<std::int32_t>(scaled < 0.0 ? scaled - 0.5 : scaled + 0.5);
        const std::int32_t upper = (integer + 128) >> 8; // -125..125
        high[i] = static_cast<std::int8_t>(upper);
        low[i] = static_cast<std::int8_t>(integer - upper * 256); // -128..127
        const std::size_t c = i % screen_layout::block_columns;
        offset[i / screen_layout::block_columns * 16 + c % 64 / 4] -= screen_layout::zero * integer;
        const double represented = static_cast<double>(unit) * static_cast<double>(integer); // exact
        const double rest = exact - represented;
        const double square = exact * exact;
        const double rest_square = rest * rest;
        squares = squares + square;
        rest_squares = rest_squares + rest_square;
    }
    const double norm = std::sqrt(squares);
    const double rest = std::sqrt(rest_squares);
    const auto gamma = [](std::size_t k) {
        const double ku = static_cast<double>(k) * 0x1p-24;
        return ku / (1.0 - ku);
    };
    const double relative = gamma((cols + 15) / 16 + 4) + gamma(blocks + 4) + 4 * 0x1p-24;
    const double total = norm + rest;
    const double rounding = relative * total;
    made = {high, low, offset, blocks, unit, screen_writer::round_up(norm), screen_writer::round_up(rounding + rest)};
    return true;
}

/// Makes a row of a screen, screen_layout::row_bytes(cols), piece by piece in ascending order: `widen`(first, count,
/// out) gives `count` columns as floats, `take`(piece, size) the bytes.
template <class Widen, class Take> void make_screen_row(std::size_t cols, Widen&& widen, Take&& take) noexcept {
    screen_writer writer;
    float block[screen_layout::block_columns];
    std::byte piece[screen_layout::block_bytes];
    for (std::size_t c = 0; c < cols; c += screen_layout::block_columns) {
        const std::size_t count = std::min(screen_layout::block_columns, cols - c);
        widen(c, count, static_cast<float*>(block));
        std::fill(block + count, block + screen_layout::block_columns, 0.0f);
        writer.encode(block, piece);
        take(static_cast<const std::byte*>(piece), sizeof piece);
    }
    writer.finish(piece);
    take(static_cast<const std::byte*>(piece), sizeof(row_bound));
}

} // namespace bitnet::inline BITNET_ABI
BITNET_PRECISE_END

#include <cstddef>
#include <cstdint>
#include <span>

namespace bitnet::inline BITNET_ABI {

/// Whole loops, never single operations: a call costs nothing against the loop, and the loop is compiled for `Isa`.
/// Formulas and the order of summation stand in lane_ops.hpp; tests/simd/float_ops_test.cpp compares every
/// instruction set with the scalar one bit for bit. Undefined for an Isa without float loops.
template <class Isa> struct float_ops;

} // namespace bitnet::inline BITNET_ABI

BITNET_PRECISE_BEGIN
namespace bitnet::inline BITNET_ABI {

/// The oracle: lane_ops as written, multiply-adds emulated exactly. Wrapped in real functions, because an always_inline
/// one would take on the caller's -ffast-math.
template <> struct float_ops<isa::scalar> {
    using ops = lane_ops<software_fma>;

    static void rms_norm(const float* x, const float* weight, float eps, std::size_t n, float* y) noexcept {
        ops::scale_by(x, weight, ops::inverse_rms(ops::sum_of_squares(x, n), n, eps), n, y);
    }
    static row_quantization quantize(const float* x, std::size_t n, std::int8_t* q) noexcept {
        return ops::quantize(x, n, q);
    }
    static void dequantize(const std::int32_t* acc, float weight_scale, float activation_scale, std::size_t n,
                           float* y) noexcept {
        ops::dequantize(acc, weight_scale / activation_scale, n, y);
    }
    static void dequantize_add(const std::int32_t* acc, float weight_scale, float activation_scale, std::size_t n,
                               float* y) noexcept {
        ops::dequantize_add(acc, weight_scale / activation_scale, n, y);
    }
    static void relu2_times(const float* gate, const float* up, std::size_t n, float* y) noexcept {
        ops::relu2_times(gate, up, n, y);
    }
    static void silu_times(const float* gate, const float* up, std::size_t n, float* y) noexcept {
        ops::silu_times(gate, up, n, y);
    }
    static void gelu_times(const float* gate, const float* up, std::size_t n, float* y) noexcept {
        ops::gelu_times(gate, up, n, y);
    }
    static void rotate(float* head, const float* cos, const float* sin, std::size_t pairs) noexcept {
        ops::rotate(head, cos, sin, pairs);
    }
    template <class E>
    static void dot_rows(const std::byte* w, std::size_t row_bytes, std::size_t rows, matrix_view<const float> x,
                         float* const* y) noexcept {
        ops::dot_rows<E>(w, row_bytes, rows, x, y);
    }
    template <class E>
    static void dot_listed(const std::byte* w, std::size_t row_bytes, std::span<const std::uint32_t> rows,
                           const float* x, std::size_t cols, float* y) noexcept {
        for (std::size_t i = 0; i < rows.size(); ++i) {
            float* const to = y + i;
            ops::dot_rows<E>(w + rows[i] * row_bytes, row_bytes, 1, {x, 1, cols}, &to);
        }
    }
    static void screen_rows(const std::byte* rows, std::size_t count, const screen_input& x, float* upper) noexcept {
        bitnet::screen_rows<software_fma>(rows, count, x, upper);
    }
    /// For `queries` queries at once: `out` has a row of attention_block floats for each.
    template <class E>
    static void scores(const float* const* q, std::size_t queries, const E* k, std::size_t head_size,
                       std::size_t positions, float* out) noexcept {
        for (std::size_t i = 0; i < queries; ++i) {
            ops::scores(q[i], k, head_size, positions, ops::score_scale(head_size), out + i * attention_block);
        }
    }
    static softmax_state exponentials(float* scores, std::size_t n) noexcept { return ops::exponentials(scores, n); }
    /// For `queries` queries at once: `p` has a row of attention_block floats for each, out[i] is [head_size].
    template <class E>
    static void weighted_values(const float* p, std::size_t queries, const E* v, std::size_t head_size,
                                std::size_t begin, std::size_t end, float* const* out) noexcept {
        for (std::size_t i = 0; i < queries; ++i) {
            ops::weighted_values(p + i * attention_block, v, head_size, begin, end, out[i]);
        }
    }
    static softmax_state merge(softmax_state earlier, float* out, softmax_state later, const float* block,
                               std::size_t n) noexcept {
        return ops::merge(earlier, out, later, block, n);
    }
    static void multiply(float* x, const float* y, std::size_t n) noexcept { ops::multiply(x, y, n); }
    static void add(const float* x, std::size_t n, float* y) noexcept { ops::add(x, n, y); }
    static void scale(float* x, float factor, std::size_t n) noexcept { ops::scale(x, factor, n); }
    static void normalize(const float* x, std::size_t n, float* y) noexcept { ops::normalize(x, n, y); }
    static void divide(float* x, float divisor, std::size_t n) noexcept { ops::divide(x, divisor, n); }
    template <class E> static float narrow_row(const float* x, std::size_t n, E* y) noexcept {
        return ops::narrow_row(x, n, y);
    }
    template <class E> static void widen_row(const std::byte* x, std::size_t n, float* y) noexcept {
        ops::widen_row<E>(x, n, y);
    }
};

} // namespace bitnet::inline BITNET_ABI
BITNET_PRECISE_END

// ---- bitnet/simd/float_ops_avx2.hpp ----
// float_ops for AVX2 + FMA + F16C: sixteen lanes are two ymm registers. Empty on other architectures.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN("avx2,fma,f16c,bmi,bmi2")
namespace bitnet::inline BITNET_ABI {

template <> struct float_ops<isa::avx2> {
    using ops = lane_ops<hardware_fma>;

    static void rms_norm(const float* x, const float* weight, float eps, std::size_t n, float* y) noexcept {
        const float factor = ops::inverse_rms(sum_of_squares(x, n), n, eps);
        const std::size_t whole = n / 8 * 8;
        for (std::size_t i = 0; i < whole; i += 8) {
            const __m256 scaled = rounded_product(_mm256_loadu_ps(x + i), _mm256_set1_ps(factor));
            _mm256_storeu_ps(y + i, _mm256_mul_ps(scaled, _mm256_loadu_ps(weight + i)));
        }
        ops::scale_by(x + whole, weight + whole, factor, n - whole, y + whole);
    }

    static row_quantization quantize(const float* x, std::size_t n, std::int8_t* q) noexcept {
        const float scale = ops::quantization_scale(absmax(x, n));
        const std::size_t whole = n / 16 * 16;
        __m256i sums = _mm256_setzero_si256();
        for (std::size_t i = 0; i < whole; i += 16) {
            sums = _mm256_add_epi32(sums, quantize_16(x + i, scale, q + i));
        }
        std::int32_t lanes[8];
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(lanes), sums);
        std::int32_t sum = 0;
        for (const std::int32_t lane : lanes) {
            sum += lane;
        }
        return {scale, sum + ops::quantize_with(x + whole, scale, n - whole, q + whole)};
    }

    static void dequantize(const std::int32_t* acc, float weight_scale, float activation_scale, std::size_t n,
                           float* y) noexcept {
        ops::dequantize(acc, weight_scale / activation_scale, n, y);
    }
    static void dequantize_add(const std::int32_t* acc, float weight_scale, float activation_scale, std::size_t n,
                               float* y) noexcept {
        ops::dequantize_add(acc, weight_scale / activation_scale, n, y);
    }
    static void relu2_times(const float* gate, const float* up, std::size_t n, float* y) noexcept {
        const std::size_t whole = n / 8 * 8;
        for (std::size_t i = 0; i < whole; i += 8) {
            const __m256 g =
                _mm256_max_ps(_mm256_loadu_ps(gate + i), _mm256_setzero_ps()); // zero where the gate is a NaN
            _mm256_storeu_ps(y + i, _mm256_mul_ps(rounded_product(g, g), _mm256_loadu_ps(up + i)));
        }
        ops::relu2_times(gate + whole, up + whole, n - whole, y + whole);
    }
    static void silu_times(const float* gate, const float* up, std::size_t n, float* y) noexcept {
        ops::silu_times(gate, up, n, y);
    }
    static void gelu_times(const float* gate, const float* up, std::size_t n, float* y) noexcept {
        ops::gelu_times(gate, up, n, y);
    }
    static void rotate(float* head, const float* cos, const float* sin, std::size_t pairs) noexcept {
        ops::rotate(head, cos, sin, pairs);
    }

    template <class E>
    static void dot_rows(const std::byte* w, std::size_t row_bytes, std::size_t rows, matrix_view<const float> x,
                         float* const* y) noexcept {
        std::size_t t = 0;
        for (; t + 3 <= x.rows && t + 4 != x.rows; t += 3) {
            dot_tokens<2, 3, E>(w, row_bytes, rows, x, y, t);
        }
        for (; t + 2 <= x.rows; t += 2) {
            dot_tokens<2, 2, E>(w, row_bytes, rows, x, y, t);
        }
        for (; t < x.rows; ++t) {
            dot_tokens<2, 1, E>(w, row_bytes, rows, x, y, t);
        }
    }

    /// y[i] = the dot product of row rows[i] of w with x, as dot_rows gives it. Prefetches the row that is listed next.
    template <class E>
    static void dot_listed(const std::byte* w, std::size_t row_bytes, std::span<const std::uint32_t> rows,
                           const float* x, std::size_t cols, float* y) noexcept {
        for (std::size_t i = 0; i < rows.size(); ++i) {
            const std::byte* next = w + rows[std::min(i + 1, rows.size() - 1)] * row_bytes;
            dot<1, 1, E>(w + rows[i] * row_bytes, row_bytes, next, {x, 1, cols}, &y, i);
        }
    }

    /// Bounds of the products of all rows of a screen, two rows at a time.
    static void screen_rows(const std::byte* rows, std::size_t count, const screen_input& x, float* upper) noexcept {
        const std::size_t row_bytes = screen_layout::row_bytes(x.blocks * screen_layout::block_columns);
        std::size_t r = 0;
        for (; r + 2 <= count; r += 2) {
            screen<2>(rows + r * row_bytes, row_bytes, x, upper + r);
        }
        for (; r < count; ++r) {
            screen<1>(rows + r * row_bytes, row_bytes, x, upper + r);
        }
    }

    template <class E>
    static void scores(const float* const* q, std::size_t queries, const E* k, std::size_t head_size,
                       std::size_t positions, float* out) noexcept {
        const float scale = ops::score_scale(head_size);
        std::size_t i = 0;
        for (; i + 4 <= queries; i += 4) {
            score_queries<4, 1>(q + i, k, head_size, positions, scale, out + i * attention_block);
        }
        for (; i + 2 <= queries; i += 2) {
            score_queries<2, 2>(q + i, k, head_size, positions, scale, out + i * attention_block);
        }
        for (; i < queries; ++i) {
            score_queries<1, 4>(q + i, k, head_size, positions, scale, out + i * attention_block);
        }
    }

    static softmax_state exponentials(float* scores, std::size_t n) noexcept { return ops::exponentials(scores, n); }

    template <class E>
    static void weighted_values(const float* p, std::size_t queries, const E* v, std::size_t head_size,
                                std::size_t begin, std::size_t end, float* const* out) noexcept {
        std::size_t i = 0;
        for (; i + 4 <= queries; i += 4) {
            weigh_queries<4, 2>(p + i * attention_block, v, head_size, begin, end, out + i);
        }
        for (; i + 2 <= queries; i += 2) {
            weigh_queries<2, 4>(p + i * attention_block, v, head_size, begin, end, out + i);
        }
        for (; i < queries; ++i) {
            weigh_queries<1, 8>(p + i * attention_block, v, head_size, begin, end, out + i);
        }
    }

    static softmax_state merge(softmax_state earlier, float* out, softmax_state later, const float* block,
                               std::size_t n) noexcept {
        return ops::merge(earlier, out, later, block, n);
    }
    static void multiply(float* x, const float* y, std::size_t n) noexcept { ops::multiply(x, y, n); }
    static void add(const float* x, std::size_t n, float* y) noexcept { ops::add(x, n, y); }
    static void scale(float* x, float factor, std::size_t n) noexcept { ops::scale(x, factor, n); }
    static void normalize(const float* x, std::size_t n, float* y) noexcept { ops::normalize(x, n, y); }
    static void divide(float* x, float divisor, std::size_t n) noexcept { ops::divide(x, divisor, n); }

    template <class E> static float narrow_row(const float* x, std::size_t n, E* y) noexcept {
        if constexpr (std::is_same_v<E, std::int8_t>) {
            return ops::step_of(quantize(x, n, y));
        } else if constexpr (std::is_same_v<E, half>) {
            std::size_t i = 0;
            for (; i + 8 <= n; i += 8) {
                const __m128i halves = _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT);
                _mm_storeu_si128(reinterpret_cast<__m128i*>(y + i), halves);
            }
            return ops::narrow_row(x + i, n - i, y + i);
        } else {
            return ops::narrow_row(x, n, y);
        }
    }

    template <class E> static void widen_row(const std::byte* x, std::size_t n, float* y) noexcept {
        std::size_t i = 0;
        for (; i + 8 <= n; i += 8) {
            _mm256_storeu_ps(y + i, load<E>(x, i));
        }
        for (; i < n; ++i) {
            y[i] = element_at<E>(x, i);
        }
    }

private:
    /// a * b as a value of its own: under -ffast-math clang would reassociate the products of intrinsics.
    static BITNET_ALWAYS_INLINE __m256 rounded_product(__m256 a, __m256 b) noexcept {
        __m256 product = _mm256_mul_ps(a, b);
#if defined(__GNUC__)
        __asm__("" : "+x"(product));
#endif
        return product;
    }

    /// ops::absmax(), the largest in any order being the same.
    static float absmax(const float* x, std::size_t n) noexcept {
        const std::size_t whole = n / 16 * 16;
        const __m256 sign = _mm256_set1_ps(-0.0f);
        __m256 even = _mm256_setzero_ps();
        __m256 odd = _mm256_setzero_ps();
        for (std::size_t i = 0; i < whole; i += 16) {
            even = _mm256_max_ps(_mm256_andnot_ps(sign, _mm256_loadu_ps(x + i)), even); // the second if one is a NaN
            odd = _mm256_max_ps(_mm256_andnot_ps(sign, _mm256_loadu_ps(x + i + 8)), odd);
        }
        float lanes[9];
        _mm256_storeu_ps(lanes, _mm256_max_ps(even, odd));
        lanes[8] = ops::absmax(x + whole, n - whole);
        return ops::absmax(lanes, 9);
    }

    /// Eight elements as floats; F16C makes a quiet NaN of a signalling one, as widen() does.
    template <class E> static BITNET_ALWAYS_INLINE __m256 load(const std::byte* x) noexcept {
        if constexpr (std::is_same_v<E, half>) {
            return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x)));
        } else if constexpr (std::is_same_v<E, bfloat16>) {
            const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(x));
            return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
        } else if constexpr (std::is_same_v<E, std::int8_t>) {
            const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(x));
            return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
        } else {
            return _mm256_loadu_ps(reinterpret_cast<const float*>(x));
        }
    }
    template <class E> static BITNET_ALWAYS_INLINE __m256 load(const E* x) noexcept {
        return load<E>(reinterpret_cast<const std::byte*>(x));
    }

    /// Columns [i, i + 8) of a row. \pre i is a multiple of 8
    template <class E> static BITNET_ALWAYS_INLINE __m256 load(const std::byte* row, std::size_t i) noexcept {
        if constexpr (std::is_same_v<E, q8_0>) {
            const std::byte* block = row + i / q8_0::block_columns * q8_0::block_bytes;
            const __m256i q = _mm256_cvtepi8_epi32(load_8(block + 2 + i % q8_0::block_columns));
            return _mm256_mul_ps(_mm256_set1_ps(widen_one(q8_0::factor(block))), _mm256_cvtepi32_ps(q));
        } else if constexpr (std::is_same_v<E, q6_k>) {
            const q6_k::sixteen all = q6_k::at(row, i);
            const __m128i low = _mm_srli_epi16(load_8(all.low + i % 16), all.low_shift);
            const __m128i high = _mm_srli_epi16(load_8(all.high + i % 16), all.high_shift);
            const __m128i top = _mm_slli_epi16(_mm_and_si128(high, _mm_set1_epi8(3)), 4);
            const __m128i code = _mm_or_si128(_mm_and_si128(low, _mm_set1_epi8(15)), top);
            const __m256i q = _mm256_cvtepi8_epi32(_mm_sub_epi8(code, _mm_set1_epi8(32)));
            return _mm256_mul_ps(_mm256_set1_ps(widen_one(all.factor) * all.scale), _mm256_cvtepi32_ps(q));
        } else if constexpr (std::is_same_v<E, q4_0>) {
            const q4_0::sixteen all = q4_0::at(row, i);
            const __m128i code = nibbles(load_8(all.codes + i % 16), all.shift);
            const __m256i q = _mm256_cvtepi8_epi32(_mm_sub_epi8(code, _mm_set1_epi8(8)));
            return _mm256_mul_ps(_mm256_set1_ps(widen_one(all.factor)), _mm256_cvtepi32_ps(q));
        } else if constexpr (std::is_same_v<E, q4_k>) {
            const q4_k::sixteen all = q4_k::at(row, i);
            const __m256i q = _mm256_cvtepi8_epi32(nibbles(load_8(all.codes + i % 16), all.shift));
            const __m256 minimum = _mm256_set1_ps(widen_one(all.minimum_factor) * all.minimum);
            return _mm256_fmsub_ps(_mm256_set1_ps(widen_one(all.factor) * all.scale), _mm256_cvtepi32_ps(q), minimum);
        } else {
            return load<E>(row + i * sizeof(E));
        }
    }
    static BITNET_ALWAYS_INLINE __m128i nibbles(__m128i bytes, int shift) noexcept {
        return _mm_and_si128(_mm_srli_epi16(bytes, shift), _mm_set1_epi8(15));
    }
    static BITNET_ALWAYS_INLINE __m128i load_8(const std::byte* bytes) noexcept {
        return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes));
    }

    /// low holds lanes 0-7, high lanes 8-15: fold l+8, l+4, l+2, l+1.
    static BITNET_ALWAYS_INLINE float fold(__m256 low, __m256 high) noexcept {
        const __m256 by8 = _mm256_add_ps(low, high);
        const __m128 by4 = _mm_add_ps(_mm256_castps256_ps128(by8), _mm256_extractf128_ps(by8, 1));
        const __m128 by2 = _mm_add_ps(by4, _mm_movehl_ps(by4, by4));
        return _mm_cvtss_f32(_mm_add_ss(by2, _mm_shuffle_ps(by2, by2, 1)));
    }

    /// Folds after adding the last elements [i, n), fewer than 16, to their lanes, one by one.
    template <class E>
    static BITNET_ALWAYS_INLINE float fold_tail(__m256 low, __m256 high, const std::byte* w, const float* x,
                                                std::size_t i, std::size_t n) noexcept {
        if (i == n) {
            return fold(low, high);
        }
        float lanes[16];
        _mm256_storeu_ps(lanes, low);
        _mm256_storeu_ps(lanes + 8, high);
        for (std::size_t l = 0; i + l < n; ++l) {
            lanes[l] = hardware_fma::fma(element_at<E>(w, i + l), x[i + l], lanes[l]);
        }
        return ops::fold(lanes);
    }

    static float sum_of_squares(const float* x, std::size_t n) noexcept {
        __m256 low = _mm256_setzero_ps();
        __m256 high = _mm256_setzero_ps();
        std::size_t i = 0;
        for (; i + 16 <= n; i += 16) {
            const __m256 a = _mm256_loadu_ps(x + i);
            const __m256 b = _mm256_loadu_ps(x + i + 8);
            low = _mm256_fmadd_ps(a, a, low);
            high = _mm256_fmadd_ps(b, b, high);
        }
        return fold_tail<float>(low, high, reinterpret_cast<const std::byte*>(x), x, i, n);
    }

    /// Sixteen values to int8; gives their sums in eight lanes. vcvtps2dq rounds half to even.
    static BITNET_ALWAYS_INLINE __m256i quantize_16(const float* x, float scale, std::int8_t* q) noexcept {
        const __m256 s = _mm256_set1_ps(scale);
        const __m256 top = _mm256_set1_ps(127.0f);
        const __m256 bottom = _mm256_set1_ps(-128.0f);
        const __m256 a = _mm256_max_ps(_mm256_min_ps(_mm256_mul_ps(_mm256_loadu_ps(x), s), top), bottom);
        const __m256 b = _mm256_max_ps(_mm256_min_ps(_mm256_mul_ps(_mm256_loadu_ps(x + 8), s), top), bottom);
        const __m256i low = _mm256_cvtps_epi32(a);
        const __m256i high = _mm256_cvtps_epi32(b);
        const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xd8);
        const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(q), bytes);
        return _mm256_add_epi32(low, high);
    }

    /// How far a prefetch runs ahead of the tile behind the one that is worked on.
    static constexpr std::size_t prefetch_lead = 1024;

    /// Prefetches `Bytes` bytes into the second level, or into the first. \return what lies behind them.
    template <std::size_t Bytes, bool IntoFirst = false>
    static BITNET_ALWAYS_INLINE const std::byte* prefetch(const std::byte* p) noexcept {
        BITNET_UNROLL
        for (std::size_t i = 0; i < Bytes; i += 64) {
            _mm_prefetch(reinterpret_cast<const char*>(p) + i, IntoFirst ? _MM_HINT_T0 : _MM_HINT_T1);
        }
        return p + Bytes;
    }

    /// One half as a float, by the instruction.
    static BITNET_ALWAYS_INLINE float widen_one(half value) noexcept {
        return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(value.bits)));
    }

    /// Tokens [t, t + Tokens) of x with all rows of w, in tiles of Rows x Tokens.
    template <std::size_t Rows, std::size_t Tokens, class E>
    static BITNET_ALWAYS_INLINE void dot_tokens(const std::byte* w, std::size_t row_bytes, std::size_t rows,
                                                matrix_view<const float> x, float* const* y, std::size_t t) noexcept {
        const matrix_view<const float> tokens(x.data + t * x.stride, Tokens, x.cols, x.stride);
        std::size_t r = 0;
        for (; r + Rows <= rows; r += Rows) {
            const std::byte* row = w + r * row_bytes;
            dot<Rows, Tokens, E>(row, row_bytes, row + Rows * row_bytes + prefetch_lead, tokens, y + t, r);
        }
        for (; r < rows; ++r) {
            const std::byte* row = w + r * row_bytes;
            dot<1, Tokens, E>(row, row_bytes, row + row_bytes + prefetch_lead, tokens, y + t, r);
        }
    }

    /// One tile: `Rows` rows share the loads of x, tokens those of w. y[t][first + r]. Prefetches `next` into the
    /// second level, for contiguous rows the tile behind in the order of addresses: twice the speed of every row for
    /// itself.
    template <std::size_t Rows, std::size_t Tokens, class E>
    static BITNET_ALWAYS_INLINE void dot(const std::byte* row, std::size_t row_bytes, const std::byte* next,
                                         matrix_view<const float> x, float* const* y, std::size_t first) noexcept {
        __m256 low[Rows * Tokens];
        __m256 high[Rows * Tokens];
        BITNET_UNROLL
        for (std::size_t k = 0; k < Rows * Tokens; ++k) {
            low[k] = _mm256_setzero_ps();
            high[k] = _mm256_setzero_ps();
        }
        std::size_t i = 0;
        constexpr std::size_t step = step_columns<E>();
        for (; i + step <= x.cols; i += step) {
            const std::byte* block = row + row_bytes_of<E>(i);
            BITNET_UNROLL
            for (std::size_t c = 0; c < step; c += 16) {
                next = prefetch<Rows * row_bytes_of<E>(16)>(next);
                dot_step<Rows, Tokens, E>(block, row_bytes, c, x.data + i, x.stride, low);
                dot_step<Rows, Tokens, E>(block, row_bytes, c + 8, x.data + i, x.stride, high);
            }
        }
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            BITNET_UNROLL
            for (std::size_t t = 0; t < Tokens; ++t) {
                const std::size_t k = r * Tokens + t;
                y[t][first + r] = fold_tail<E>(low[k], high[k], row + r * row_bytes, x.data + t * x.stride, i, x.cols);
            }
        }
    }

    /// Eight columns of a tile, from column c of a block. x points at the block's first column.
    template <std::size_t Rows, std::size_t Tokens, class E>
    static BITNET_ALWAYS_INLINE void dot_step(const std::byte* block, std::size_t row_bytes, std::size_t c,
                                              const float* x, std::size_t stride, __m256* acc) noexcept {
        __m256 a[Tokens];
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            a[t] = _mm256_loadu_ps(x + t * stride + c);
        }
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            const __m256 b = load<E>(block + r * row_bytes, c);
            BITNET_UNROLL
            for (std::size_t t = 0; t < Tokens; ++t) {
                acc[r * Tokens + t] = _mm256_fmadd_ps(b, a[t], acc[r * Tokens + t]);
            }
        }
    }

    /// Rows that share the loads of x; scales and the fold are in the order of bitnet::screen_rows.
    template <std::size_t Rows>
    static BITNET_ALWAYS_INLINE void screen(const std::byte* rows, std::size_t row_bytes, const screen_input& x,
                                            float* upper) noexcept {
        const std::byte* next = rows + Rows * row_bytes + prefetch_lead;
        __m256 low[Rows];
        __m256 high[Rows];
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            low[r] = _mm256_setzero_ps();
            high[r] = _mm256_setzero_ps();
        }
        for (std::size_t b = 0; b < x.blocks; ++b) {
            next = prefetch<Rows * screen_layout::block_bytes, true>(next);
            BITNET_UNROLL
            for (std::size_t r = 0; r < Rows; ++r) {
                const std::byte* block = rows + r * row_bytes + b * screen_layout::block_bytes;
                float scale;
                std::memcpy(&scale, block + screen_layout::scale_at, sizeof scale);
                const __m256 s = _mm256_set1_ps(scale);
                low[r] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(screen_half<0>(block, b, x)), s, low[r]);
                high[r] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(screen_half<1>(block, b, x)), s, high[r]);
            }
        }
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            const std::byte* tail = rows + r * row_bytes + x.blocks * screen_layout::block_bytes;
            upper[r] = upper_bound_of<hardware_fma>(fold(low[r], high[r]), tail, x);
        }
    }

    /// The eight sums of columns [32 Half, 32 Half + 32) and the same of the second 64. A pair of products is at most
    /// 2 * 63 * 128, two pairs 32,256: int16 is safe.
    template <int Half>
    static BITNET_ALWAYS_INLINE __m256i screen_half(const std::byte* block, std::size_t b,
                                                    const screen_input& x) noexcept {
        const __m256i nibble = _mm256_set1_epi8(15);
        const __m256i top = _mm256_set1_epi8(0x30);
        const __m256i low = load_32(block + std::size_t{32} * Half);
        const __m256i high = load_32(block + screen_layout::high_at);
        const __m256i high0 = _mm256_and_si256(_mm256_slli_epi16(high, 4 - 2 * Half), top);
        const __m256i high1 = _mm256_and_si256(_mm256_srli_epi16(high, 2 * Half), top);
        const __m256i code0 = _mm256_or_si256(_mm256_and_si256(low, nibble), high0);
        const __m256i code1 = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(low, 4), nibble), high1);
        const std::size_t at = b * screen_layout::block_columns + std::size_t{32} * Half;
        const __m256i coarse = _mm256_add_epi16(_mm256_maddubs_epi16(code0, load_32(x.high + at)),
                                                _mm256_maddubs_epi16(code1, load_32(x.high + at + 64)));
        const __m256i fine = _mm256_add_epi16(_mm256_maddubs_epi16(code0, load_32(x.low + at)),
                                              _mm256_maddubs_epi16(code1, load_32(x.low + at + 64)));
        const __m256i sums = _mm256_add_epi32(_mm256_madd_epi16(coarse, _mm256_set1_epi16(256)),
                                              _mm256_madd_epi16(fine, _mm256_set1_epi16(1)));
        return _mm256_add_epi32(sums, load_32(x.offset + 16 * b + std::size_t{8} * Half));
    }
    static BITNET_ALWAYS_INLINE __m256i load_32(const void* bytes) noexcept {
        return _mm256_loadu_si256(static_cast<const __m256i*>(bytes));
    }

    /// Scores of a few queries, which share the loads of k: eight accumulators of sixteen registers, as many as hide
    /// the latency of an fma.
    template <std::size_t Queries, std::size_t Blocks, class E>
    static BITNET_ALWAYS_INLINE void score_queries(const float* const* q, const E* k, std::size_t head_size,
                                                   std::size_t positions, float scale, float* out) noexcept {
        std::size_t p = 0;
        for (; p + 16 * Blocks <= positions; p += 16 * Blocks) {
            score_tile<Queries, Blocks>(q, k + p * head_size, head_size, scale, out + p);
        }
        for (; p < positions; p += 16) {
            score_tile<Queries, 1>(q, k + p * head_size, head_size, scale, out + p);
        }
    }

    /// Queries x (16 * Blocks positions). Prefetches 8 KB ahead: streams of 2 to 4 KB are too short for the hardware to
    /// follow.
    template <std::size_t Queries, std::size_t Blocks, class E>
    static BITNET_ALWAYS_INLINE void score_tile(const float* const* q, const E* k, std::size_t head_size, float scale,
                                                float* out) noexcept {
        __m256 acc[Queries][2 * Blocks];
        BITNET_UNROLL
        for (auto& row : acc) {
            BITNET_UNROLL
            for (auto& a : row) {
                a = _mm256_setzero_ps();
            }
        }
        for (std::size_t d = 0; d < head_size; ++d) {
            __m256 keys[2 * Blocks];
            BITNET_UNROLL
            for (std::size_t b = 0; b < Blocks; ++b) {
                const E* block = k + (b * head_size + d) * 16;
                _mm_prefetch(reinterpret_cast<const char*>(block) + 8192, _MM_HINT_T1);
                keys[2 * b] = load(block);
                keys[2 * b + 1] = load(block + 8);
            }
            BITNET_UNROLL
            for (std::size_t i = 0; i < Queries; ++i) {
                const __m256 qd = _mm256_set1_ps(q[i][d]);
                BITNET_UNROLL
                for (std::size_t b = 0; b < 2 * Blocks; ++b) {
                    acc[i][b] = _mm256_fmadd_ps(qd, keys[b], acc[i][b]);
                }
            }
        }
        BITNET_UNROLL
        for (std::size_t i = 0; i < Queries; ++i) {
            BITNET_UNROLL
            for (std::size_t b = 0; b < 2 * Blocks; ++b) {
                _mm256_storeu_ps(out + i * attention_block + 8 * b, _mm256_mul_ps(acc[i][b], _mm256_set1_ps(scale)));
            }
        }
    }

    /// Values weighted for a few queries, which share the loads of v: 32 positions at a time, so that they stay in the
    /// first-level cache while all columns pass.
    template <std::size_t Queries, std::size_t Columns, class E>
    static BITNET_ALWAYS_INLINE void weigh_queries(const float* p, const E* v, std::size_t head_size, std::size_t begin,
                                                   std::size_t end, float* const* out) noexcept {
        while (begin < end) {
            const std::size_t stop = begin + 32 < end ? begin + 32 : end;
            std::size_t d = 0;
            for (; d + 8 * Columns <= head_size; d += 8 * Columns) {
                weigh_tile<Queries, Columns>(p, v + d, head_size, begin, stop, d, out);
            }
            for (; d + 8 <= head_size; d += 8) {
                weigh_tile<Queries, 1>(p, v + d, head_size, begin, stop, d, out);
            }
            weigh_tail<Queries>(p, v, head_size, begin, stop, d, out);
            begin = stop;
        }
    }

    /// Queries x (8 * Columns columns, from `d` of out on). Prefetches the same columns 32 positions ahead.
    template <std::size_t Queries, std::size_t Columns, class E>
    static BITNET_ALWAYS_INLINE void weigh_tile(const float* p, const E* v, std::size_t head_size, std::size_t begin,
                                                std::size_t end, std::size_t d, float* const* out) noexcept {
        __m256 acc[Queries][Columns];
        BITNET_UNROLL
        for (std::size_t i = 0; i < Queries; ++i) {
            BITNET_UNROLL
            for (std::size_t c = 0; c < Columns; ++c) {
                acc[i][c] = begin == 0 ? _mm256_setzero_ps() : _mm256_loadu_ps(out[i] + d + 8 * c);
            }
        }
        for (std::size_t position = begin; position < end; ++position) {
            const E* row = v + position * head_size;
            _mm_prefetch(reinterpret_cast<const char*>(row + 32 * head_size), _MM_HINT_T1);
            __m256 values[Columns];
            BITNET_UNROLL
            for (std::size_t c = 0; c < Columns; ++c) {
                values[c] = load(row + 8 * c);
            }
            BITNET_UNROLL
            for (std::size_t i = 0; i < Queries; ++i) {
                const __m256 weight = _mm256_set1_ps(p[i * attention_block + position]);
                BITNET_UNROLL
                for (std::size_t c = 0; c < Columns; ++c) {
                    acc[i][c] = _mm256_fmadd_ps(weight, values[c], acc[i][c]);
                }
            }
        }
        BITNET_UNROLL
        for (std::size_t i = 0; i < Queries; ++i) {
            BITNET_UNROLL
            for (std::size_t c = 0; c < Columns; ++c) {
                _mm256_storeu_ps(out[i] + d + 8 * c, acc[i][c]);
            }
        }
    }

    /// The last columns, fewer than eight, from `d` on.
    template <std::size_t Queries, class E>
    static BITNET_ALWAYS_INLINE void weigh_tail(const float* p, const E* v, std::size_t head_size, std::size_t begin,
                                                std::size_t end, std::size_t d, float* const* out) noexcept {
        for (; d < head_size; ++d) {
            for (std::size_t i = 0; i < Queries; ++i) {
                float acc = begin == 0 ? 0.0f : out[i][d];
                for (std::size_t position = begin; position < end; ++position) {
                    acc = hardware_fma::fma(p[i * attention_block + position], widen(v[position * head_size + d]), acc);
                }
                out[i][d] = acc;
            }
        }
    }
};

} // namespace bitnet::inline BITNET_ABI
BITNET_TARGET_END

namespace bitnet::inline BITNET_ABI {

/// AVX-VNNI adds integer dot products only: the float loops are those of AVX2.
template <> struct float_ops<isa::avx_vnni> : float_ops<isa::avx2> {};

} // namespace bitnet::inline BITNET_ABI
#endif

// ---- bitnet/simd/float_ops_avx512.hpp ----
// float_ops for AVX-512: sixteen lanes are one zmm register. Empty on other architectures.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN("avx2,fma,f16c,bmi,bmi2,avx512f,avx512cd,avx512bw,avx512dq,avx512vl,avx512vnni")
namespace bitnet::inline BITNET_ABI {

template <> struct float_ops<isa::avx512_vnni> {
    using ops = lane_ops<hardware_fma>;

    static void rms_norm(const float* x, const float* weight, float eps, std::size_t n, float* y) noexcept {
        const float factor = ops::inverse_rms(sum_of_squares(x, n), n, eps);
        const std::size_t whole = n / 16 * 16;
        for (std::size_t i = 0; i < whole; i += 16) {
            const __m512 scaled = rounded_product(_mm512_loadu_ps(x + i), _mm512_set1_ps(factor));
            _mm512_storeu_ps(y + i, _mm512_mul_ps(scaled, _mm512_loadu_ps(weight + i)));
        }
        ops::scale_by(x + whole, weight + whole, factor, n - whole, y + whole);
    }

    static row_quantization quantize(const float* x, std::size_t n, std::int8_t* q) noexcept {
        const float scale = ops::quantization_scale(absmax(x, n));
        const std::size_t whole = n / 16 * 16;
        __m512i sums = _mm512_setzero_si512();
        for (std::size_t i = 0; i < whole; i += 16) {
            const __m512 scaled = _mm512_mul_ps(_mm512_loadu_ps(x + i), _mm512_set1_ps(scale));
            const __m512i rounded = _mm512_cvtps_epi32(scaled); // half to even
            const __m128i bytes = _mm512_cvtsepi32_epi8(rounded);
            _mm_storeu_si128(reinterpret_cast<__m128i*>(q + i), bytes);
            sums = _mm512_add_epi32(sums, _mm512_cvtepi8_epi32(bytes));
        }
        std::int32_t lanes[16];
        _mm512_storeu_si512(lanes, sums);
        std::int32_t sum = 0;
        for (const std::int32_t lane : lanes) {
            sum += lane;
        }
        return {scale, sum + ops::quantize_with(x + whole, scale, n - whole, q + whole)};
    }

    static void dequantize(const std::int32_t* acc, float weight_scale, float activation_scale, std::size_t n,
                           float* y) noexcept {
        ops::dequantize(acc, weight_scale / activation_scale, n, y);
    }
    static void dequantize_add(const std::int32_t* acc, float weight_scale, float activation_scale, std::size_t n,
                               float* y) noexcept {
        ops::dequantize_add(acc, weight_scale / activation_scale, n, y);
    }
    static void relu2_times(const float* gate, const float* up, std::size_t n, float* y) noexcept {
        const std::size_t whole = n / 16 * 16;
        for (std::size_t i = 0; i < whole; i += 16) {
            const __m512 g =
                _mm512_max_ps(_mm512_loadu_ps(gate + i), _mm512_setzero_ps()); // zero where the gate is a NaN
            _mm512_storeu_ps(y + i, _mm512_mul_ps(rounded_product(g, g), _mm512_loadu_ps(up + i)));
        }
        ops::relu2_times(gate + whole, up + whole, n - whole, y + whole);
    }
    static void silu_times(const float* gate, const float* up, std::size_t n, float* y) noexcept {
        ops::silu_times(gate, up, n, y);
    }
    static void gelu_times(const float* gate, const float* up, std::size_t n, float* y) noexcept {
        ops::gelu_times(gate, up, n, y);
    }
    static void rotate(float* head, const float* cos, const float* sin, std::size_t pairs) noexcept {
        ops::rotate(head, cos, sin, pairs);
    }

    template <class E>
    static void dot_rows(const std::byte* w, std::size_t row_bytes, std::size_t rows, matrix_view<const float> x,
                         float* const* y) noexcept {
        std::size_t t = 0;
        for (; t + 4 <= x.rows; t += 4) {
            dot_tokens<4, 4, E>(w, row_bytes, rows, x, y, t);
        }
        for (; t + 2 <= x.rows; t += 2) {
            dot_tokens<4, 2, E>(w, row_bytes, rows, x, y, t);
        }
        for (; t < x.rows; ++t) {
            dot_tokens<2, 1, E>(w, row_bytes, rows, x, y, t);
        }
    }

    /// y[i] = the dot product of row rows[i] of w with x, as dot_rows gives it. Prefetches the row that is listed next.
    template <class E>
    static void dot_listed(const std::byte* w, std::size_t row_bytes, std::span<const std::uint32_t> rows,
                           const float* x, std::size_t cols, float* y) noexcept {
        for (std::size_t i = 0; i < rows.size(); ++i) {
            const std::byte* next = w + rows[std::min(i + 1, rows.size() - 1)] * row_bytes;
            dot<1, 1, E>(w + rows[i] * row_bytes, row_bytes, next, {x, 1, cols}, &y, i);
        }
    }

    /// Bounds of the products of all rows of a screen, two rows at a time.
    static void screen_rows(const std::byte* rows, std::size_t count, const screen_input& x, float* upper) noexcept {
        const std::size_t row_bytes = screen_layout::row_bytes(x.blocks * screen_layout::block_columns);
        std::size_t r = 0;
        for (; r + 2 <= count; r += 2) {
            screen<2>(rows + r * row_bytes, row_bytes, x, upper + r);
        }
        for (; r < count; ++r) {
            screen<1>(rows + r * row_bytes, row_bytes, x, upper + r);
        }
    }

    template <class E>
    static void scores(const float* const* q, std::size_t queries, const E* k, std::size_t head_size,
                       std::size_t positions, float* out) noexcept {
        const float scale = ops::score_scale(head_size);
        std::size_t i = 0;
        for (; i + 4 <= queries; i += 4) {
            score_queries<4>(q + i, k, head_size, positions, scale, out + i * attention_block);
        }
        for (; i + 2 <= queries; i += 2) {
            score_queries<2>(q + i, k, head_size, positions, scale, out + i * attention_block);
        }
        for (; i < queries; ++i) {
            score_queries<1>(q + i, k, head_size, positions, scale, out + i * attention_block);
        }
    }

    static softmax_state exponentials(float* scores, std::size_t n) noexcept { return ops::exponentials(scores, n); }

    template <class E>
    static void weighted_values(const float* p, std::size_t queries, const E* v, std::size_t head_size,
                                std::size_t begin, std::size_t end, float* const* out) noexcept {
        std::size_t i = 0;
        for (; i + 4 <= queries; i += 4) {
            weigh_queries<4>(p + i * attention_block, v, head_size, begin, end, out + i);
        }
        for (; i + 2 <= queries; i += 2) {
            weigh_queries<2>(p + i * attention_block, v, head_size, begin, end, out + i);
        }
        for (; i < queries; ++i) {
            weigh_queries<1>(p + i * attention_block, v, head_size, begin, end, out + i);
        }
    }

    static softmax_state merge(softmax_state earlier, float* out, softmax_state later, const float* block,
                               std::size_t n) noexcept {
        return ops::merge(earlier, out, later, block, n);
    }
    static void multiply(float* x, const float* y, std::size_t n) noexcept { ops::multiply(x, y, n); }
    static void add(const float* x, std::size_t n, float* y) noexcept { ops::add(x, n, y); }
    static void scale(float* x, float factor, std::size_t n) noexcept { ops::scale(x, factor, n); }
    static void normalize(const float* x, std::size_t n, float* y) noexcept { ops::normalize(x, n, y); }
    static void divide(float* x, float divisor, std::size_t n) noexcept { ops::divide(x, divisor, n); }

    template <class E> static float narrow_row(const float* x, std::size_t n, E* y) noexcept {
        if constexpr (std::is_same_v<E, std::int8_t>) {
            return ops::step_of(quantize(x, n, y));
        } else if constexpr (std::is_same_v<E, half>) {
            for (std::size_t i = 0; i < n; i += 16) {
                const __mmask16 mask = tail_mask(n - i);
                const __m512 a = _mm512_maskz_loadu_ps(mask, x + i);
                _mm256_mask_storeu_epi16(y + i, mask, _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
            }
            return 1.0f;
        } else {
            return ops::narrow_row(x, n, y);
        }
    }

    template <class E> static void widen_row(const std::byte* x, std::size_t n, float* y) noexcept {
        std::size_t i = 0;
        for (; i + 16 <= n; i += 16) {
            _mm512_storeu_ps(y + i, load<E>(x, i));
        }
        if (i < n) {
            _mm512_mask_storeu_ps(y + i, tail_mask(n - i), load_tail<E>(x, i, n - i));
        }
    }

private:
    /// a * b as a value of its own: under -ffast-math clang would reassociate the products of intrinsics.
    static BITNET_ALWAYS_INLINE __m512 rounded_product(__m512 a, __m512 b) noexcept {
        __m512 product = _mm512_mul_ps(a, b);
#if defined(__GNUC__)
        __asm__("" : "+v"(product));
#endif
        return product;
    }

    /// ops::absmax(), the largest in any order being the same.
    static float absmax(const float* x, std::size_t n) noexcept {
        const std::size_t whole = n / 32 * 32;
        __m512 even = _mm512_setzero_ps();
        __m512 odd = _mm512_setzero_ps();
        for (std::size_t i = 0; i < whole; i += 32) {
            even = _mm512_max_ps(_mm512_abs_ps(_mm512_loadu_ps(x + i)), even); // the second where the first is a NaN
            odd = _mm512_max_ps(_mm512_abs_ps(_mm512_loadu_ps(x + i + 16)), odd);
        }
        float lanes[17];
        _mm512_storeu_ps(lanes, _mm512_max_ps(even, odd));
        lanes[16] = ops::absmax(x + whole, n - whole);
        return ops::absmax(lanes, 17);
    }

    /// The lanes of the next `rest` elements: all sixteen, or the first `rest`.
    static BITNET_ALWAYS_INLINE __mmask16 tail_mask(std::size_t rest) noexcept {
        return static_cast<__mmask16>(rest >= 16 ? 0xffffu : (1u << rest) - 1);
    }

    /// Up to sixteen elements as floats; masked-off ones are zero and not read.
    template <class E> static BITNET_ALWAYS_INLINE __m512 load(const std::byte* x, __mmask16 mask) noexcept {
        if constexpr (std::is_same_v<E, half>) {
            return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, x));
        } else if constexpr (std::is_same_v<E, bfloat16>) {
            const __m256i bits = _mm256_maskz_loadu_epi16(mask, x);
            return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
        } else if constexpr (std::is_same_v<E, std::int8_t>) {
            return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(mask, x)));
        } else {
            return _mm512_maskz_loadu_ps(mask, x);
        }
    }
    template <class E> static BITNET_ALWAYS_INLINE __m512 load(const std::byte* x) noexcept {
        if constexpr (std::is_same_v<E, half>) {
            return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)));
        } else if constexpr (std::is_same_v<E, bfloat16>) {
            const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x));
            return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
        } else if constexpr (std::is_same_v<E, std::int8_t>) {
            const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(x));
            return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
        } else {
            return _mm512_loadu_ps(x);
        }
    }
    template <class E> static BITNET_ALWAYS_INLINE __m512 load(const E* x) noexcept {
        return load<E>(reinterpret_cast<const std::byte*>(x));
    }

    /// Columns [i, i + 16) of a row. \pre i is a multiple of 16
    template <class E> static BITNET_ALWAYS_INLINE __m512 load(const std::byte* row, std::size_t i) noexcept {
        if constexpr (std::is_same_v<E, q8_0>) {
            const std::byte* block = row + i / q8_0::block_columns * q8_0::block_bytes;
            const __m512i q = _mm512_cvtepi8_epi32(load_16(block + 2 + i % q8_0::block_columns));
            return _mm512_mul_ps(_mm512_set1_ps(widen_one(q8_0::factor(block))), _mm512_cvtepi32_ps(q));
        } else if constexpr (std::is_same_v<E, q6_k>) {
            const q6_k::sixteen all = q6_k::at(row, i);
            const __m128i low = _mm_srli_epi16(load_16(all.low), all.low_shift);
            const __m128i high = _mm_srli_epi16(load_16(all.high), all.high_shift);
            const __m128i top = _mm_slli_epi16(_mm_and_si128(high, _mm_set1_epi8(3)), 4);
            const __m128i code = _mm_or_si128(_mm_and_si128(low, _mm_set1_epi8(15)), top);
            const __m512i q = _mm512_cvtepi8_epi32(_mm_sub_epi8(code, _mm_set1_epi8(32)));
            return _mm512_mul_ps(_mm512_set1_ps(widen_one(all.factor) * all.scale), _mm512_cvtepi32_ps(q));
        } else if constexpr (std::is_same_v<E, q4_0>) {
            const q4_0::sixteen all = q4_0::at(row, i);
            const __m128i code = nibbles(load_16(all.codes), all.shift);
            const __m512i q = _mm512_cvtepi8_epi32(_mm_sub_epi8(code, _mm_set1_epi8(8)));
            return _mm512_mul_ps(_mm512_set1_ps(widen_one(all.factor)), _mm512_cvtepi32_ps(q));
        } else if constexpr (std::is_same_v<E, q4_k>) {
            const q4_k::sixteen all = q4_k::at(row, i);
            const __m512i q = _mm512_cvtepi8_epi32(nibbles(load_16(all.codes), all.shift));
            const __m512 minimum = _mm512_set1_ps(widen_one(all.minimum_factor) * all.minimum);
            return _mm512_fmsub_ps(_mm512_set1_ps(widen_one(all.factor) * all.scale), _mm512_cvtepi32_ps(q), minimum);
        } else {
            return load<E>(row + i * sizeof(E));
        }
    }
    /// Columns [i, i + rest) of a row, zeros behind them. Blocks end with the row's last sixteen: nothing to do there.
    template <class E>
    static BITNET_ALWAYS_INLINE __m512 load_tail(const std::byte* row, std::size_t i, std::size_t rest) noexcept {
        if constexpr (block_format<E>) {
            return _mm512_setzero_ps();
        } else {
            return load<E>(row + i * sizeof(E), tail_mask(rest));
        }
    }
    static BITNET_ALWAYS_INLINE __m128i nibbles(__m128i bytes, int shift) noexcept {
        return _mm_and_si128(_mm_srli_epi16(bytes, shift), _mm_set1_epi8(15));
    }
    static BITNET_ALWAYS_INLINE __m128i load_16(const std::byte* bytes) noexcept {
        return _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
    }

    /// Fold l+8, l+4, l+2, l+1.
    static BITNET_ALWAYS_INLINE float fold(__m512 lanes) noexcept {
        const __m256 upper = _mm512_extractf32x8_ps(lanes, 1);
        const __m256 by8 = _mm256_add_ps(_mm512_castps512_ps256(lanes), upper);
        const __m128 by4 = _mm_add_ps(_mm256_castps256_ps128(by8), _mm256_extractf128_ps(by8, 1));
        const __m128 by2 = _mm_add_ps(by4, _mm_movehl_ps(by4, by4));
        return _mm_cvtss_f32(_mm_add_ss(by2, _mm_shuffle_ps(by2, by2, 1)));
    }

    static float sum_of_squares(const float* x, std::size_t n) noexcept {
        __m512 acc = _mm512_setzero_ps();
        for (std::size_t i = 0; i < n; i += 16) {
            const __mmask16 mask = tail_mask(n - i);
            const __m512 a = _mm512_maskz_loadu_ps(mask, x + i);
            acc = _mm512_mask3_fmadd_ps(a, a, acc, mask);
        }
        return fold(acc);
    }

    /// How far a prefetch runs ahead of the tile behind the one that is worked on.
    static constexpr std::size_t prefetch_lead = 1024;

    /// Prefetches `Bytes` bytes into the second level, or into the first. \return what lies behind them.
    template <std::size_t Bytes, bool IntoFirst = false>
    static BITNET_ALWAYS_INLINE const std::byte* prefetch(const std::byte* p) noexcept {
        BITNET_UNROLL
        for (std::size_t i = 0; i < Bytes; i += 64) {
            _mm_prefetch(reinterpret_cast<const char*>(p) + i, IntoFirst ? _MM_HINT_T0 : _MM_HINT_T1);
        }
        return p + Bytes;
    }

    /// One half as a float, by the instruction.
    static BITNET_ALWAYS_INLINE float widen_one(half value) noexcept {
        return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(value.bits)));
    }

    /// Tokens [t, t + Tokens) of x with all rows of w, in tiles of Rows x Tokens.
    template <std::size_t Rows, std::size_t Tokens, class E>
    static BITNET_ALWAYS_INLINE void dot_tokens(const std::byte* w, std::size_t row_bytes, std::size_t rows,
                                                matrix_view<const float> x, float* const* y, std::size_t t) noexcept {
        const matrix_view<const float> tokens(x.data + t * x.stride, Tokens, x.cols, x.stride);
        std::size_t r = 0;
        for (; r + Rows <= rows; r += Rows) {
            const std::byte* row = w + r * row_bytes;
            dot<Rows, Tokens, E>(row, row_bytes, row + Rows * row_bytes + prefetch_lead, tokens, y + t, r);
        }
        for (; r < rows; ++r) {
            const std::byte* row = w + r * row_bytes;
            dot<1, Tokens, E>(row, row_bytes, row + row_bytes + prefetch_lead, tokens, y + t, r);
        }
    }

    /// One tile: `Rows` rows share the loads of x, tokens those of w. y[t][first + r]. Prefetches `next` into the
    /// second level, for contiguous rows the tile behind in the order of addresses: twice the speed of every row for
    /// itself.
    template <std::size_t Rows, std::size_t Tokens, class E>
    static BITNET_ALWAYS_INLINE void dot(const std::byte* row, std::size_t row_bytes, const std::byte* next,
                                         matrix_view<const float> x, float* const* y, std::size_t first) noexcept {
        __m512 acc[Rows * Tokens];
        BITNET_UNROLL
        for (auto& a : acc) {
            a = _mm512_setzero_ps();
        }
        std::size_t i = 0;
        constexpr std::size_t step = step_columns<E>();
        for (; i + step <= x.cols; i += step) {
            const std::byte* block = row + row_bytes_of<E>(i);
            BITNET_UNROLL
            for (std::size_t c = 0; c < step; c += 16) {
                next = prefetch<Rows * row_bytes_of<E>(16)>(next);
                dot_step<Rows, Tokens, E, true>(block, row_bytes, c, x.data + i, x.stride, 16, acc);
            }
        }
        if (i < x.cols) {
            dot_step<Rows, Tokens, E, false>(row + row_bytes_of<E>(i), row_bytes, 0, x.data + i, x.stride, x.cols - i,
                                             acc);
        }
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            BITNET_UNROLL
            for (std::size_t t = 0; t < Tokens; ++t) {
                y[t][first + r] = fold(acc[r * Tokens + t]);
            }
        }
    }

    /// Sixteen columns of a tile, from column c of a block, or those that are left; lanes behind the last column stay
    /// as they are. x points at the block's first column.
    template <std::size_t Rows, std::size_t Tokens, class E, bool Whole>
    static BITNET_ALWAYS_INLINE void dot_step(const std::byte* block, std::size_t row_bytes, std::size_t c,
                                              const float* x, std::size_t stride, std::size_t left,
                                              __m512* acc) noexcept {
        const __mmask16 mask = tail_mask(left);
        __m512 a[Tokens];
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            const float* from = x + t * stride + c;
            a[t] = Whole ? _mm512_loadu_ps(from) : _mm512_maskz_loadu_ps(mask, from);
        }
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            const std::byte* p = block + r * row_bytes;
            const __m512 b = Whole ? load<E>(p, c) : load_tail<E>(p, c, left);
            BITNET_UNROLL
            for (std::size_t t = 0; t < Tokens; ++t) {
                __m512& sum = acc[r * Tokens + t];
                sum = Whole ? _mm512_fmadd_ps(b, a[t], sum) : _mm512_mask3_fmadd_ps(b, a[t], sum, mask);
            }
        }
    }

    /// Rows that share the loads of x. The integers of two multiplications by bytes, high and low, are joined as
    /// 256 high + low; scales and the fold are in the order of bitnet::screen_rows.
    template <std::size_t Rows>
    static BITNET_ALWAYS_INLINE void screen(const std::byte* rows, std::size_t row_bytes, const screen_input& x,
                                            float* upper) noexcept {
        const std::byte* next = rows + Rows * row_bytes + prefetch_lead;
        __m512 acc[Rows];
        BITNET_UNROLL
        for (auto& a : acc) {
            a = _mm512_setzero_ps();
        }
        for (std::size_t b = 0; b < x.blocks; ++b) {
            const std::byte* block = rows + b * screen_layout::block_bytes;
            next = prefetch<Rows * screen_layout::block_bytes, true>(next);
            BITNET_UNROLL
            for (std::size_t r = 0; r < Rows; ++r) {
                acc[r] = screen_block(block + r * row_bytes, b, x, acc[r]);
            }
        }
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            const std::byte* tail = rows + r * row_bytes + x.blocks * screen_layout::block_bytes;
            upper[r] = upper_bound_of<hardware_fma>(fold(acc[r]), tail, x);
        }
    }

    /// acc + the scaled sums of one block.
    static BITNET_ALWAYS_INLINE __m512 screen_block(const std::byte* block, std::size_t b, const screen_input& x,
                                                    __m512 acc) noexcept {
        const __m512i nibble = _mm512_set1_epi8(15);
        const __m512i top = _mm512_set1_epi8(0x30);
        const __m512i low = _mm512_loadu_si512(block);
        const __m256i pairs = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block + screen_layout::high_at));
        const __m512i high = _mm512_broadcast_i64x4(pairs);
        // Bits 0-1 and 2-3 of `high` belong to the first 64 columns, 4-5 and 6-7 to the others; all go to bits 4-5.
        const __m512i shift_up = _mm512_inserti64x4(_mm512_set1_epi16(4), _mm256_set1_epi16(2), 1);
        const __m512i shift_down = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi16(2), 1);
        constexpr int and_or = 0xea; // (a & b) | c
        const __m512i low0 = _mm512_and_si512(low, nibble);
        const __m512i low1 = _mm512_and_si512(_mm512_srli_epi16(low, 4), nibble);
        const __m512i code0 = _mm512_ternarylogic_epi32(_mm512_sllv_epi16(high, shift_up), top, low0, and_or);
        const __m512i code1 = _mm512_ternarylogic_epi32(_mm512_srlv_epi16(high, shift_down), top, low1, and_or);
        const std::int8_t* x_high = x.high + b * screen_layout::block_columns;
        const std::int8_t* x_low = x.low + b * screen_layout::block_columns;
        __m512i coarse = _mm512_dpbusd_epi32(_mm512_setzero_si512(), code0, _mm512_loadu_si512(x_high));
        coarse = _mm512_dpbusd_epi32(coarse, code1, _mm512_loadu_si512(x_high + 64));
        __m512i fine = _mm512_dpbusd_epi32(_mm512_loadu_si512(x.offset + 16 * b), code0, _mm512_loadu_si512(x_low));
        fine = _mm512_dpbusd_epi32(fine, code1, _mm512_loadu_si512(x_low + 64));
        const __m512i sums = _mm512_add_epi32(fine, _mm512_slli_epi32(coarse, 8));
        float scale;
        std::memcpy(&scale, block + screen_layout::scale_at, sizeof scale);
        return _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums), _mm512_set1_ps(scale), acc);
    }

    /// Scores of a few queries, which share the loads of k: 64 positions in up to 16 accumulators.
    template <std::size_t Queries, class E>
    static BITNET_ALWAYS_INLINE void score_queries(const float* const* q, const E* k, std::size_t head_size,
                                                   std::size_t positions, float scale, float* out) noexcept {
        std::size_t p = 0;
        for (; p + 64 <= positions; p += 64) {
            score_tile<Queries, 4>(q, k + p * head_size, head_size, scale, out + p);
        }
        for (; p < positions; p += 16) {
            score_tile<Queries, 1>(q, k + p * head_size, head_size, scale, out + p);
        }
    }

    /// Queries x (16 * Blocks positions). Prefetches what the next tile reads: several streams of 2 to 4 KB are too
    /// short for the hardware to follow.
    template <std::size_t Queries, std::size_t Blocks, class E>
    static BITNET_ALWAYS_INLINE void score_tile(const float* const* q, const E* k, std::size_t head_size, float scale,
                                                float* out) noexcept {
        __m512 acc[Queries][Blocks];
        BITNET_UNROLL
        for (auto& row : acc) {
            BITNET_UNROLL
            for (auto& a : row) {
                a = _mm512_setzero_ps();
            }
        }
        const std::size_t ahead = Blocks * head_size * 16;
        for (std::size_t d = 0; d < head_size; ++d) {
            __m512 keys[Blocks];
            BITNET_UNROLL
            for (std::size_t b = 0; b < Blocks; ++b) {
                const E* block = k + (b * head_size + d) * 16;
                _mm_prefetch(reinterpret_cast<const char*>(block + ahead), _MM_HINT_T1);
                keys[b] = load(block);
            }
            BITNET_UNROLL
            for (std::size_t i = 0; i < Queries; ++i) {
                const __m512 qd = _mm512_set1_ps(q[i][d]);
                BITNET_UNROLL
                for (std::size_t b = 0; b < Blocks; ++b) {
                    acc[i][b] = _mm512_fmadd_ps(qd, keys[b], acc[i][b]);
                }
            }
        }
        BITNET_UNROLL
        for (std::size_t i = 0; i < Queries; ++i) {
            BITNET_UNROLL
            for (std::size_t b = 0; b < Blocks; ++b) {
                _mm512_storeu_ps(out + i * attention_block + 16 * b, _mm512_mul_ps(acc[i][b], _mm512_set1_ps(scale)));
            }
        }
    }

    /// Values weighted for a few queries, which share the loads of v: 32 positions at a time, so that they stay in the
    /// first-level cache while all columns pass.
    template <std::size_t Queries, class E>
    static BITNET_ALWAYS_INLINE void weigh_queries(const float* p, const E* v, std::size_t head_size, std::size_t begin,
                                                   std::size_t end, float* const* out) noexcept {
        while (begin < end) {
            const std::size_t stop = begin + 32 < end ? begin + 32 : end;
            std::size_t d = 0;
            for (; d + 64 <= head_size; d += 64) {
                weigh_tile<Queries, 4>(p, v + d, head_size, begin, stop, tail_mask(16), d, out);
            }
            for (; d < head_size; d += 16) {
                weigh_tile<Queries, 1>(p, v + d, head_size, begin, stop, tail_mask(head_size - d), d, out);
            }
            begin = stop;
        }
    }

    /// Queries x (16 * Columns columns, from `d` of out on). Prefetches the same columns 32 positions ahead.
    template <std::size_t Queries, std::size_t Columns, class E>
    static BITNET_ALWAYS_INLINE void weigh_tile(const float* p, const E* v, std::size_t head_size, std::size_t begin,
                                                std::size_t end, __mmask16 mask, std::size_t d,
                                                float* const* out) noexcept {
        __m512 acc[Queries][Columns];
        const __mmask16 resumed = begin == 0 ? __mmask16{0} : mask;
        BITNET_UNROLL
        for (std::size_t i = 0; i < Queries; ++i) {
            BITNET_UNROLL
            for (std::size_t c = 0; c < Columns; ++c) {
                acc[i][c] = _mm512_maskz_loadu_ps(resumed, out[i] + d + 16 * c);
            }
        }
        for (std::size_t position = begin; position < end; ++position) {
            __m512 values[Columns];
            BITNET_UNROLL
            for (std::size_t c = 0; c < Columns; ++c) {
                const E* column = v + position * head_size + 16 * c;
                _mm_prefetch(reinterpret_cast<const char*>(column + 32 * head_size), _MM_HINT_T1);
                values[c] = load<E>(reinterpret_cast<const std::byte*>(column), mask);
            }
            BITNET_UNROLL
            for (std::size_t i = 0; i < Queries; ++i) {
                const __m512 weight = _mm512_set1_ps(p[i * attention_block + position]);
                BITNET_UNROLL
                for (std::size_t c = 0; c < Columns; ++c) {
                    acc[i][c] = _mm512_fmadd_ps(weight, values[c], acc[i][c]);
                }
            }
        }
        BITNET_UNROLL
        for (std::size_t i = 0; i < Queries; ++i) {
            BITNET_UNROLL
            for (std::size_t c = 0; c < Columns; ++c) {
                _mm512_mask_storeu_ps(out[i] + d + 16 * c, mask, acc[i][c]);
            }
        }
    }
};

/// Tiles have no floats: the loops are those of AVX-512.
template <> struct float_ops<isa::amx_int8> : float_ops<isa::avx512_vnni> {};

} // namespace bitnet::inline BITNET_ABI
BITNET_TARGET_END
#endif

// ---- bitnet/thread/thread_pool.hpp ----
// thread_pool: persistent workers that spin briefly between loops, then park.

// ---- bitnet/thread/native_thread.hpp ----
// native_thread: a joined operating-system thread whose creation can fail without an exception.

#if defined(_WIN32)
#include <process.h>
extern "C" {
__declspec(dllimport) unsigned long __stdcall WaitForSingleObject(void*, unsigned long);
__declspec(dllimport) int __stdcall CloseHandle(void*);
__declspec(dllimport) int __stdcall SwitchToThread();
}
#else
#include <pthread.h>
#include <sched.h>
#endif

#include <cstdint>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// Unlike std::thread, start() reports failure, also under -fno-exceptions. join() is called by the destructor.
class native_thread {
public:
    using entry = void (*)(void* argument) noexcept;

    native_thread() noexcept = default;
    native_thread(const native_thread&) = delete;
    native_thread& operator=(const native_thread&) = delete;
    ~native_thread() { join(); }

    /// \return whether the thread runs. \pre not started before; this object does not move until join().
    [[nodiscard]] bool start(entry function, void* argument) noexcept {
        function_ = function;
        argument_ = argument;
#if defined(_WIN32)
        handle_ = reinterpret_cast<void*>(_beginthreadex(nullptr, 0, &native_thread::trampoline, this, 0, nullptr));
        joinable_ = handle_ != nullptr;
#else
        joinable_ = pthread_create(&handle_, nullptr, &native_thread::trampoline, this) == 0;
#endif
        return joinable_;
    }

    /// Waits for the thread's end; does nothing where none runs.
    void join() noexcept {
        if (!std::exchange(joinable_, false)) {
            return;
        }
#if defined(_WIN32)
        constexpr unsigned long infinite = 0xffffffffUL;
        WaitForSingleObject(handle_, infinite);
        CloseHandle(handle_);
#else
        pthread_join(handle_, nullptr);
#endif
    }

    /// Lets another thread that is ready run on this core, if there is one.
    static void yield() noexcept {
#if defined(_WIN32)
        SwitchToThread();
#else
        ::sched_yield();
#endif
    }

private:
#if defined(_WIN32)
    static unsigned __stdcall trampoline(void* self) noexcept {
        run(self);
        return 0;
    }
    void* handle_ = nullptr;
#else
    static void* trampoline(void* self) noexcept {
        run(self);
        return nullptr;
    }
    pthread_t handle_{};
#endif
    static void run(void* self) noexcept {
        const auto* thread = static_cast<native_thread*>(self);
        thread->function_(thread->argument_);
    }

    entry function_ = nullptr;
    void* argument_ = nullptr;
    bool joinable_ = false;
};

} // namespace bitnet::inline BITNET_ABI

#if BITNET_X86_64
#include <immintrin.h>
#endif

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string>

namespace bitnet::inline BITNET_ABI {

/// threads() - 1 workers beside the thread that calls run(). One loop at a time; run() is not reentrant.
///
/// Indices are handed out one by one from a single atomic word (loop number, indices left), by the caller too, and
/// run() returns when all *claimed* indices are done. A worker that the operating system has not scheduled holds up
/// nobody, so more threads than cores cost little: nothing ever waits for a thread to arrive, only for work that was
/// taken. A thread without work spins for as long as the caller says, yielding its core to threads that hold some, and
/// then sleeps on a futex: an idle pool uses no CPU.
class thread_pool {
public:
    static constexpr std::size_t max_threads = 1024;

    /// \param threads 1 to max_threads, the calling thread included.
    /// \param spin how long a thread waits for work before it sleeps. Zero sleeps at once: the least CPU, at some ten
    /// microseconds for each wake-up. Between the loops of one token pass a few microseconds.
    /// \return errc::invalid_argument, errc::thread_error when the operating system refuses a thread.
    [[nodiscard]] static result<std::unique_ptr<thread_pool>> open(std::size_t threads,
                                                                   std::chrono::microseconds spin = default_spin) {
        if (threads == 0 || threads > max_threads) {
            return error{errc::invalid_argument, "thread_pool: " + std::to_string(threads) +
                                                     " threads asked for, 1 to " + std::to_string(max_threads) +
                                                     " are possible"};
        }
        std::unique_ptr<thread_pool> pool(new (std::nothrow) thread_pool);
        if (pool == nullptr) {
            return error{errc::out_of_memory,
                         "thread_pool: " + std::to_string(sizeof(thread_pool)) + " bytes could not be allocated"};
        }
        pool->spin_ = spin;
        pool->workers_.reset(new (std::nothrow) native_thread[threads - 1]);
        if (pool->workers_ == nullptr) {
            return error{errc::out_of_memory, "thread_pool: " + std::to_string((threads - 1) * sizeof(native_thread)) +
                                                  " bytes could not be allocated"};
        }
        for (std::size_t i = 0; i + 1 < threads; ++i) {
            if (!pool->workers_[i].start(&thread_pool::work, pool.get())) {
                return error{errc::thread_error, "thread_pool: the operating system refused thread " +
                                                     std::to_string(i + 2) + " of " + std::to_string(threads)};
            }
            ++pool->started_;
        }
        return pool;
    }

    thread_pool(const thread_pool&) = delete;
    thread_pool& operator=(const thread_pool&) = delete;
    ~thread_pool() {
        stopping_.store(true, std::memory_order_relaxed);
        announce();
        for (std::size_t i = 0; i < started_; ++i) {
            workers_[i].join();
        }
    }

    [[nodiscard]] std::size_t threads() const noexcept { return started_ + 1; }

    /// \pre count < 2^32; called by one thread at a time.
    void run(std::size_t count, loop_body body) noexcept {
        if (count == 0) {
            return;
        }
        if (started_ == 0 || count == 1) {
            for (std::size_t i = 0; i < count; ++i) {
                body(i);
            }
            return;
        }
        body_ = body;
        count_ = count;
        finished_.store(0, std::memory_order_relaxed);
        ++loop_;
        ticket_.store((std::uint64_t{loop_} << 32) | count, std::memory_order_release);
        announce();
        while (claim_one()) {
        }
        wait_until_finished(count);
    }

private:
    thread_pool() noexcept = default;

    /// Runs one index of the current loop. \return whether there was one left.
    bool claim_one() noexcept {
        std::uint64_t ticket = ticket_.load(std::memory_order_relaxed);
        do {
            if ((ticket & 0xffffffffu) == 0) {
                return false;
            }
        } while (
            !ticket_.compare_exchange_weak(ticket, ticket - 1, std::memory_order_acquire, std::memory_order_relaxed));
        // The loop cannot end before this index is done: body_ and count_ stay what they are.
        const std::size_t count = count_;
        body_(count - static_cast<std::size_t>(ticket & 0xffffffffu));
        if (finished_.fetch_add(1, std::memory_order_acq_rel) + 1 == count) {
            finished_.notify_one();
        }
        return true;
    }

    void announce() noexcept {
        generation_.fetch_add(1, std::memory_order_seq_cst);
        if (sleepers_.load(std::memory_order_seq_cst) != 0) {
            generation_.notify_all();
        }
    }

    void wait_until_finished(std::size_t count) noexcept {
        if (spin_until([&] { return finished_.load(std::memory_order_acquire) == count; })) {
            return;
        }
        for (auto done = finished_.load(std::memory_order_acquire); done != count;
             done = finished_.load(std::memory_order_acquire)) {
            finished_.wait(done, std::memory_order_acquire);
        }
    }

    static void work(void* self) noexcept {
        const default_float_environment environment;
        auto& pool = *static_cast<thread_pool*>(self);
        std::uint32_t seen = 0;
        for (;;) {
            seen = pool.next_generation(seen);
            if (pool.stopping_.load(std::memory_order_relaxed)) {
                return;
            }
            while (pool.claim_one()) {
            }
        }
    }

    /// Waits until the generation is not `seen`. \return the new one.
    std::uint32_t next_generation(std::uint32_t seen) noexcept {
        std::uint32_t now = seen;
        const auto is_new = [&] {
            now = generation_.load(std::memory_order_acquire);
            return now != seen;
        };
        if (spin_until(is_new)) {
            return now;
        }
        sleepers_.fetch_add(1, std::memory_order_seq_cst);
        now = generation_.load(std::memory_order_seq_cst);
        while (now == seen) {
            generation_.wait(seen, std::memory_order_seq_cst);
            now = generation_.load(std::memory_order_seq_cst);
        }
        sleepers_.fetch_sub(1, std::memory_order_relaxed);
        return now;
    }

    /// Waits for `is_true` as long as spin_ says: pauses at first, then yields between them, so that a thread which
    /// holds work and lost its core gets one. \return whether it came true.
    template <class Condition> [[nodiscard]] bool spin_until(Condition&& is_true) const noexcept {
        constexpr unsigned pauses = 64; // 1 to 4 microseconds, by CPU
        if (is_true()) {
            return true;
        }
        if (spin_.count() == 0) {
            return false;
        }
        const auto start = std::chrono::steady_clock::now();
        do {
            for (unsigned i = 0; i < pauses; ++i) {
                if (is_true()) {
                    return true;
                }
                pause();
            }
            native_thread::yield();
        } while (std::chrono::steady_clock::now() - start < spin_);
        return is_true();
    }

    static void pause() noexcept {
#if BITNET_X86_64
        _mm_pause();
#elif defined(__aarch64__) && !defined(_MSC_VER)
        __asm__ volatile("yield");
#endif
    }

    alignas(64) std::atomic<std::uint64_t> ticket_{0};     ///< loop number << 32 | indices not yet claimed
    alignas(64) std::atomic<std::uint32_t> finished_{0};   ///< indices done in this loop
    alignas(64) std::atomic<std::uint32_t> generation_{0}; ///< rises with every loop; what sleepers wait on
    std::atomic<std::uint32_t> sleepers_{0};
    std::uint32_t loop_ = 0;
    std::atomic<bool> stopping_{false};
    loop_body body_{};
    std::size_t count_ = 0;
    std::chrono::microseconds spin_{};
    std::unique_ptr<native_thread[]> workers_;
    std::size_t started_ = 0;
};

} // namespace bitnet::inline BITNET_ABI

#include <concepts>
#include <cstdint>

namespace bitnet::inline BITNET_ABI {

/// What a KV cache may be made of: float is exact, half is exact to 11 bits and half the memory. std::int8_t is a
/// quarter of it and approximate: keys and values are absmax quantised, position by position and head by head.
template <class T>
concept kv_element_type = std::same_as<T, half> || std::same_as<T, float> || std::same_as<T, std::int8_t>;

/// Types in, types out. The first parameter is all that users spell; the rest goes through with_*, so that a misspelt
/// choice does not compile:
///
///     struct laptop : bitnet::policy<bitnet::isa::avx2>::with_kv<float> {};   // deriving keeps symbols short
///
/// \tparam Isa the instruction set of all loops; `Isa::available()` tells whether this machine has it
/// \tparam Layout how ternary weights lie in memory while the model runs; files in another one are repacked
/// \tparam Kv the element of the KV cache
/// \tparam Pool who runs parallel loops
template <isa::instruction_set Isa, class Layout = i2s, kv_element_type Kv = half, thread_pool_type Pool = thread_pool>
requires ternary_kernel<kernel<Isa, Layout>>
struct policy {
    using isa = Isa;
    using layout = Layout;
    using kv_element = Kv;
    using pool = Pool;
    using ternary = kernel<Isa, Layout>;
    using loops = float_ops<Isa>;

    template <class L> using with_layout = policy<Isa, L, Kv, Pool>;
    template <class E> using with_kv = policy<Isa, Layout, E, Pool>;
    template <class T> using with_pool = policy<Isa, Layout, Kv, T>;
};

template <class P>
concept policy_type = requires {
    typename P::isa;
    typename P::layout;
    typename P::kv_element;
    typename P::pool;
    typename P::ternary;
    typename P::loops;
};

/// The best instruction set that this translation unit's own compile flags enable: no dispatch, and the program needs
/// a machine that has it anyway. See bitnet::any_cpu for the choice at run time.
#if defined(__AMX_TILE__) && defined(__AMX_INT8__) && defined(__AVX512VNNI__) && defined(__AVX512BW__)
using native = policy<isa::amx_int8>;
#elif defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
using native = policy<isa::avx512_vnni>;
#elif defined(__AVXVNNI__) && defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
using native = policy<isa::avx_vnni>;
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
using native = policy<isa::avx2>;
#else
using native = policy<isa::scalar>;
#endif

} // namespace bitnet::inline BITNET_ABI

#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>
#include <span>

namespace bitnet::inline BITNET_ABI {

/// Row `r` of an embedding as floats: out [table.cols].
template <policy_type P> void widen_row(const dense_matrix& table, std::size_t r, float* out) noexcept {
    with_element(table.element, [&]<class E>() {
        P::loops::template widen_row<E>(table.data + r * row_bytes_of<E>(table.cols), table.cols, out);
    });
}

/// y[t][r] = dot(row first + r of the head, row t of x) for r < count.
template <policy_type P>
void dot_rows(const dense_matrix& head, std::size_t first, std::size_t count, matrix_view<const float> x,
              float* const* y) noexcept {
    with_element(head.element, [&]<class E>() {
        const std::size_t row_bytes = row_bytes_of<E>(head.cols);
        P::loops::template dot_rows<E>(head.data + first * row_bytes, row_bytes, count, x, y);
    });
}

/// out[t] [head.rows] = head * row t of x, for all rows of x [tokens, head.cols]. Reads the head from memory once: a
/// task takes 64 rows, which stay in a second level cache while the tokens pass them.
template <policy_type P>
void head_products(typename P::pool& pool, const dense_matrix& head, matrix_view<const float> x,
                   std::span<float* const> out) noexcept {
    assert(x.rows == out.size() && x.cols == head.cols);
    constexpr std::size_t chunk = 64;
    constexpr std::size_t group = 12; // tokens at a time: a multiple of every tile's
    parallel_stream(pool, (head.rows + chunk - 1) / chunk, [&](std::size_t task) noexcept {
        const std::size_t first = task * chunk;
        for (std::size_t begin = 0; begin < x.rows; begin += group) {
            const std::size_t tokens = std::min(group, x.rows - begin);
            std::array<float*, group> y;
            for (std::size_t t = 0; t < tokens; ++t) {
                y[t] = out[begin + t] + first;
            }
            dot_rows<P>(head, first, std::min(chunk, head.rows - first),
                        {x.data + begin * x.stride, tokens, x.cols, x.stride}, y.data());
        }
    });
}

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/model/ranking.hpp ----
// The order of logits: the largest first, the lower id on ties, NaN below everything.

#include <bit>
#include <cstdint>

namespace bitnet::inline BITNET_ABI {

/// A token and the logit it has.
struct scored_token {
    token id;
    float logit;
};

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

} // namespace bitnet::inline BITNET_ABI

#include <algorithm>
#include <array>
#include <atomic>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// "token_embd.weight" -> "token_embd.screen": where a conversion stores the screen of a head.
[[nodiscard]] inline std::string screen_name(std::string_view head) {
    return std::string(head.substr(0, head.find('.'))) + ".screen";
}
[[nodiscard]] constexpr bool is_screen(std::string_view name) noexcept { return name.ends_with(".screen"); }

/// The screen of a head: 6.25 bits for each weight and 8 bytes for each row, made once. Immutable, shared by sessions.
class screened_head {
public:
    /// A screen of no head.
    screened_head() noexcept = default;

    /// Whether a head of this type gains from a screen. Q6_K and Q8_0 are about as small themselves.
    [[nodiscard]] static constexpr bool admits(dense_element element) noexcept {
        return element == dense_element::f32 || element == dense_element::f16 || element == dense_element::bf16;
    }

    /// Reads the head once, in parallel. \pre admits(head.element)
    /// \return errc::out_of_memory with the bytes asked for.
    template <policy_type P>
    [[nodiscard]] static result<screened_head> open(typename P::pool& pool, const dense_matrix& head) {
        const std::size_t row_bytes = screen_layout::row_bytes(head.cols);
        const auto size = checked_multiply(head.rows, row_bytes);
        if (!size) {
            return error{errc::out_of_memory, "screened head: the number of bytes overflows 64 bits"};
        }
        auto bytes = buffer<std::byte>::allocate_uninitialized(*size, "screened head");
        if (!bytes) {
            return std::move(bytes).error();
        }
        screened_head made;
        made.own_ = *std::move(bytes);
        made.bytes_ = made.own_.span();
        made.row_bytes_ = row_bytes;
        ask_for_huge_pages(made.own_.data(), made.own_.size());
        for_rows(pool, head.rows,
                 [&](std::size_t r) noexcept { write_row<P>(head, r, made.own_.data() + r * row_bytes); });
        return made;
    }

    /// A screen that a conversion has stored in the tensor screen_name(head): in place. Borrows its bytes.
    /// \param verify whether every row is made again and compared: a screen of another head would give other tokens.
    /// \pre admits(head.element)
    /// \return errc::unsupported_type, wrong_shape, inconsistent or out_of_memory, naming the file and the tensor.
    template <policy_type P>
    [[nodiscard]] static result<screened_head> open(typename P::pool& pool, const dense_matrix& head,
                                                    const gguf_tensor& stored, std::string_view file, bool verify) {
        const auto fail = [&](errc code, const std::string& sentence) {
            return error{code, std::string(file) + ": tensor " + quoted_name(stored.name) + ": " + sentence};
        };
        screened_head made;
        made.bytes_ = stored.bytes;
        made.row_bytes_ = screen_layout::row_bytes(head.cols);
        if (stored.type != tensor_type::hpp_screen) {
            return fail(errc::unsupported_type,
                        "type " + std::string(name_of(stored.type)) + " in the file, HPP_SCREEN expected");
        }
        if (stored.dims != tensor_dims{made.row_bytes_, head.rows, 1, 1}) {
            return fail(errc::wrong_shape, dims_text(stored) + " in the file, [" + std::to_string(made.row_bytes_) +
                                               ", " + std::to_string(head.rows) + "] expected from the head");
        }
        std::atomic<std::size_t> other{head.rows};
        for_rows(pool, verify ? head.rows : 0, [&](std::size_t r) noexcept {
            if (!is_row<P>(head, r, made.row(r))) {
                keep_lowest(other, r);
            }
        });
        if (const std::size_t row = other.load(std::memory_order_relaxed); row != head.rows) {
            return fail(errc::inconsistent, "row " + std::to_string(row) + " of its " + std::to_string(head.rows) +
                                                " rows is not the screen of the head's row");
        }
        return made;
    }

    [[nodiscard]] bool empty() const noexcept { return bytes_.empty(); }
    [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_.size(); }
    [[nodiscard]] std::size_t row_bytes() const noexcept { return row_bytes_; }
    [[nodiscard]] const std::byte* row(std::size_t r) const noexcept { return bytes_.data() + r * row_bytes_; }

private:
    template <policy_type P, class Take>
    static void make_row(const dense_matrix& head, std::size_t r, Take&& take) noexcept {
        with_element(head.element, [&]<class E>() {
            const std::byte* row = head.data + r * row_bytes_of<E>(head.cols);
            const auto widen = [row](std::size_t first, std::size_t count, float* floats) noexcept {
                P::loops::template widen_row<E>(row + row_bytes_of<E>(first), count, floats);
            };
            make_screen_row(head.cols, widen, take);
        });
    }
    template <policy_type P> static void write_row(const dense_matrix& head, std::size_t r, std::byte* out) noexcept {
        make_row<P>(head, r, [&](const std::byte* piece, std::size_t size) noexcept {
            std::memcpy(out, piece, size);
            out += size;
        });
    }
    template <policy_type P>
    [[nodiscard]] static bool is_row(const dense_matrix& head, std::size_t r, const std::byte* stored) noexcept {
        bool same = true;
        make_row<P>(head, r, [&](const std::byte* piece, std::size_t size) noexcept {
            same = same && std::memcmp(stored, piece, size) == 0;
            stored += size;
        });
        return same;
    }
    template <class Pool, class F> static void for_rows(Pool& pool, std::size_t rows, F&& f) noexcept {
        constexpr std::size_t chunk = 64;
        parallel_for(pool, (rows + chunk - 1) / chunk, [&](std::size_t task) noexcept {
            const std::size_t end = std::min(rows, (task + 1) * chunk);
            for (std::size_t r = task * chunk; r < end; ++r) {
                f(r);
            }
        });
    }

    std::span<const std::byte> bytes_; ///< [rows, row_bytes_]
    buffer<std::byte> own_;            ///< where they are made here
    std::size_t row_bytes_ = 0;
};

/// What a session's screened steps cost.
struct head_statistics {
    std::uint64_t steps = 0;         ///< times that largest logits were asked for
    std::uint64_t full_passes = 0;   ///< of these, how often the whole head was read instead
    std::uint64_t rescored_rows = 0; ///< rows of the head that were read in the others
    std::uint64_t bytes_read = 0;    ///< of the screen and the head together
};

/// Finds the largest logits of one state after the other. Working memory of a session; allocates in open() only:
/// 12 bytes for each row of the head and 1.5 for each column.
///
/// 1. Every row's bound from above, out of the screen (screen_input has the proof).
/// 2. The exact logits of the rows whose bounds are the largest: the k-th largest of them is a floor, which the k-th
///    largest of all logits cannot be below.
/// 3. The exact logits of every row whose bound reaches the floor: the k largest of all are among them.
///
/// The exact logits come from dot_rows over the head as stored, so they are the full head's bit for bit, and the result
/// depends on nothing else: not on the instruction set, nor on the threads.
template <policy_type P> class head_screening {
public:
    using pool_type = typename P::pool;
    static constexpr std::size_t most = 256; ///< logits that can be asked for

    head_screening() noexcept = default;

    /// Borrows both. \return errc::out_of_memory.
    [[nodiscard]] static result<head_screening> open(const dense_matrix& head, const screened_head& screen) {
        head_screening made;
        made.head_ = &head;
        made.screen_ = &screen;
        made.group_ = (head.rows + most_groups - 1) / most_groups;
        const std::size_t groups = (head.rows + made.group_ - 1) / made.group_;
        const std::size_t cols = screen_layout::blocks(head.cols) * screen_layout::block_columns;
        error failure;
        allocate(made.high_, cols, failure);
        allocate(made.low_, cols, failure);
        allocate(made.offset_, cols / 8, failure);
        allocate(made.upper_, head.rows, failure);
        allocate(made.peaks_, groups, failure);
        allocate(made.order_, groups, failure);
        allocate(made.found_, made.limit() + most_candidates, failure);
        if (failure.code != errc{}) {
            return failure;
        }
        return made;
    }

    /// The k largest logits of head * x in descending order (see precedes), fewer where the head has fewer rows. Valid
    /// until the next call. Nothing where the whole head has to be read: x is not finite, or the bounds leave more than
    /// an eighth of the rows. x [head.cols]. \pre 1 <= k <= most; opened with a head
    [[nodiscard]] std::optional<std::span<const scored_token>> largest(pool_type& pool, const float* x,
                                                                       std::size_t k) noexcept {
        assert(k >= 1 && k <= most);
        k = std::min(k, head_->rows);
        ++statistics_.steps;
        if (!make_screen_input(x, head_->cols, high_.data(), low_.data(), offset_.data(), input_)) {
            return give_up();
        }
        bound_rows(pool);
        const std::int32_t floor = floor_of(pool, x, k);
        const std::size_t count = rescore(pool, x, floor);
        if (count > limit()) {
            return give_up();
        }
        statistics_.rescored_rows += count;
        statistics_.bytes_read += screen_->bytes() + (count + candidates_) * head_->row_bytes();
        scored_token* first = found_.data();
        std::nth_element(first, first + (k - 1), first + count, by_logit);
        std::sort(first, first + k, by_logit);
        return std::span<const scored_token>(first, k);
    }

    [[nodiscard]] const head_statistics& statistics() const noexcept { return statistics_; }

private:
    static constexpr std::size_t most_groups = 8192; ///< whose peaks are ordered by one thread, in under 0.1 ms
    static constexpr std::size_t most_candidates = 2 * most;
    static constexpr std::size_t rows_per_task = 256;
    static constexpr std::size_t rows_per_list = 64;

    /// The largest bound of a group of rows.
    struct peak {
        std::int32_t rank;
        std::uint32_t row;
    };

    template <class T> static void allocate(buffer<T>& into, std::size_t size, error& failure) {
        auto made = buffer<T>::allocate(size, "screened head, working memory");
        if (made) {
            into = *std::move(made);
        } else if (failure.code == errc{}) {
            failure = std::move(made).error();
        }
    }

    [[nodiscard]] static bool by_logit(const scored_token& a, const scored_token& b) noexcept { return precedes(a, b); }

    /// Rows that are rescored at most.
    [[nodiscard]] std::size_t limit() const noexcept { return head_->rows / 8 + 1; }

    [[nodiscard]] std::nullopt_t give_up() noexcept {
        ++statistics_.full_passes;
        statistics_.bytes_read += head_->rows * head_->row_bytes();
        return std::nullopt;
    }

    [[nodiscard]] std::size_t groups_per_task() const noexcept {
        return std::max<std::size_t>(1, rows_per_task / group_);
    }
    template <class F> void for_groups(pool_type& pool, F&& f) noexcept {
        const std::size_t per_task = groups_per_task();
        parallel_for(pool, (peaks_.size() + per_task - 1) / per_task, [&](std::size_t task) noexcept {
            f(task * per_task, std::min(peaks_.size(), (task + 1) * per_task));
        });
    }
    [[nodiscard]] std::size_t end_of(std::size_t group) const noexcept {
        return std::min(head_->rows, (group + 1) * group_);
    }

    [[nodiscard]] peak peak_of(std::size_t group) const noexcept {
        peak highest{INT32_MIN, 0};
        for (std::size_t r = group * group_; r < end_of(group); ++r) {
            const std::int32_t rank = rank_of(upper_[r]);
            if (rank > highest.rank) {
                highest = {rank, static_cast<std::uint32_t>(r)};
            }
        }
        return highest;
    }

    /// upper_ and peaks_.
    void bound_rows(pool_type& pool) noexcept {
        for_groups(pool, [&](std::size_t begin, std::size_t end) noexcept {
            const std::size_t first = begin * group_;
            P::loops::screen_rows(screen_->row(first), end_of(end - 1) - first, input_, upper_.data() + first);
            for (std::size_t g = begin; g < end; ++g) {
                peaks_[g] = peak_of(g);
            }
        });
    }

    /// The rank of a logit that k rows reach, from the exact logits of the highest peaks; the lowest rank where there
    /// are fewer than k peaks.
    [[nodiscard]] std::int32_t floor_of(pool_type& pool, const float* x, std::size_t k) noexcept {
        candidates_ = std::min({std::max<std::size_t>(16, 2 * k), most_candidates, order_.size()});
        if (candidates_ < k) {
            candidates_ = 0;
            return INT32_MIN;
        }
        std::copy_n(peaks_.data(), peaks_.size(), order_.data());
        std::nth_element(
            order_.data(), order_.data() + (candidates_ - 1), order_.data() + order_.size(),
            [](const peak& a, const peak& b) noexcept { return a.rank != b.rank ? a.rank > b.rank : a.row < b.row; });
        constexpr std::size_t chunk = 8;
        parallel_for(pool, (candidates_ + chunk - 1) / chunk, [&](std::size_t task) noexcept {
            std::array<std::uint32_t, chunk> rows;
            const std::size_t first = task * chunk;
            const std::size_t count = std::min(chunk, candidates_ - first);
            for (std::size_t i = 0; i < count; ++i) {
                rows[i] = order_[first + i].row;
            }
            score({rows.data(), count}, x, found_.data() + first);
        });
        std::nth_element(found_.data(), found_.data() + (k - 1), found_.data() + candidates_, by_logit);
        return rank_of(found_[k - 1].logit);
    }

    /// Calls visit(row) for the rows of groups [begin, end) whose bound reaches the floor.
    template <class F>
    void for_rows_reaching(std::int32_t floor, std::size_t begin, std::size_t end, F&& visit) const noexcept {
        for (std::size_t g = begin; g < end; ++g) {
            if (peaks_[g].rank < floor) {
                continue;
            }
            for (std::size_t r = g * group_; r < end_of(g); ++r) {
                if (rank_of(upper_[r]) >= floor) {
                    visit(r);
                }
            }
        }
    }

    /// Exact logits of all rows whose bound reaches the floor, to found_. \return their number; where it exceeds
    /// limit(), not all have been computed.
    [[nodiscard]] std::size_t rescore(pool_type& pool, const float* x, std::int32_t floor) noexcept {
        std::atomic<std::size_t> count{0};
        for_groups(pool, [&](std::size_t begin, std::size_t end) noexcept {
            std::array<std::uint32_t, rows_per_list> rows;
            std::size_t listed = 0;
            const auto flush = [&]() noexcept {
                const std::size_t at = count.fetch_add(listed, std::memory_order_relaxed);
                if (at + listed <= limit()) {
                    score({rows.data(), listed}, x, found_.data() + at);
                }
                listed = 0;
            };
            for_rows_reaching(floor, begin, end, [&](std::size_t row) noexcept {
                rows[listed++] = static_cast<std::uint32_t>(row);
                if (listed == rows.size()) {
                    flush();
                }
            });
            flush();
        });
        return count.load(std::memory_order_relaxed);
    }

    /// out[i] = row rows[i] and its exact logit. \pre rows.size() <= rows_per_list
    void score(std::span<const std::uint32_t> rows, const float* x, scored_token* out) const noexcept {
        std::array<float, rows_per_list> logits;
        with_element(head_->element, [&]<class E>() {
            P::loops::template dot_listed<E>(head_->data, row_bytes_of<E>(head_->cols), rows, x, head_->cols,
                                             logits.data());
        });
        for (std::size_t i = 0; i < rows.size(); ++i) {
            out[i] = {static_cast<token>(rows[i]), logits[i]};
        }
    }

    const dense_matrix* head_ = nullptr;
    const screened_head* screen_ = nullptr;
    std::size_t group_ = 1; ///< rows to a peak
    std::size_t candidates_ = 0;
    buffer<std::int8_t> high_;
    buffer<std::int8_t> low_;
    buffer<std::int32_t> offset_;
    screen_input input_;
    buffer<float> upper_;        ///< [rows] bounds
    buffer<peak> peaks_;         ///< [groups]
    buffer<peak> order_;         ///< [groups] the highest first
    buffer<scored_token> found_; ///< [limit + candidates]
    head_statistics statistics_;
};

} // namespace bitnet::inline BITNET_ABI

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// What was compared and found the same; and what may differ, because it was asked for.
struct comparison_report {
    std::size_t ternary_tensors = 0;
    std::uint64_t ternary_values = 0;
    std::size_t float_tensors = 0;
    std::uint64_t changed_floats = 0; ///< values of embeddings, heads and norms in another type that are another number
    float largest_change = 0;         ///< of them, absolute
    std::uint64_t vocabulary_entries = 0;
};

/// One comparison; the first difference ends it. Use compare_checkpoints.
template <thread_pool_type Pool> class checkpoint_comparison {
public:
    checkpoint_comparison(const gguf_file& from, const ternary_reading& reading, const gguf_file& to, Pool& pool)
        : from_(from), reading_(reading), to_(to), pool_(pool) {}

    [[nodiscard]] result<comparison_report> run(std::span<const std::string_view> edited) {
        auto parameters = hyper_parameters::read(from_);
        if (!parameters) {
            return std::move(parameters).error();
        }
        parameters_ = *std::move(parameters);
        for (const gguf_tensor& tensor : from_.tensors()) {
            const bool is_part = is_scale_of_ternary(tensor.name) || is_screen(tensor.name);
            if (auto done = is_part ? result<void>{} : compare(tensor); !done) {
                return std::move(done).error();
            }
        }
        for (const gguf_tensor& tensor : to_.tensors()) {
            const bool is_part = is_scale_of_ternary(tensor.name) || is_screen(tensor.name);
            if (!is_part && from_.find_tensor(tensor.name) == nullptr) {
                return differ(tensor, "not");
            }
        }
        if (auto done = compare_metadata(edited); !done) {
            return std::move(done).error();
        }
        return report_;
    }

private:
    [[nodiscard]] error differ(const gguf_tensor& tensor, const std::string& sentence) const {
        return {errc::inconsistent,
                to_.name() + ": tensor " + quoted_name(tensor.name) + ": " + sentence + " in " + from_.name()};
    }

    [[nodiscard]] result<void> compare(const gguf_tensor& a) {
        const gguf_tensor* b = to_.find_tensor(a.name);
        if (b == nullptr) {
            return error{errc::missing_tensor, to_.name() + ": tensor " + quoted_name(a.name) + ": not in the file"};
        }
        if (a.dims != b->dims) {
            return differ(a, dims_text(*b) + ", " + dims_text(a));
        }
        if (is_ternary_place(a.name)) {
            return compare_ternary(a, *b);
        }
        ++report_.float_tensors;
        if (a.type == b->type) {
            return std::ranges::equal(a.bytes, b->bytes) ? result<void>{} : differ(a, "other bytes than");
        }
        if (!dense_element_of(a.type) || !dense_element_of(b->type)) {
            return differ(a, std::string(name_of(b->type)) + ", " + std::string(name_of(a.type)));
        }
        compare_floats(a, *b);
        return {};
    }

    [[nodiscard]] result<void> compare_ternary(const gguf_tensor& a, const gguf_tensor& b) {
        const auto extra_a = find_scale(from_, a);
        const auto extra_b = find_scale(to_, b);
        if (!extra_a || !extra_b) {
            return extra_a ? extra_b.error() : extra_a.error();
        }
        const auto order = permuted_rows::of(parameters_, a);
        const auto both = [&](const any_ternary_rows& rows_a, const any_ternary_rows& rows_b) -> result<void> {
            const float scale_a = rows_a.scale() * extra_a->value_or(1.0f);
            const float scale_b = rows_b.scale() * extra_b->value_or(1.0f);
            if (std::bit_cast<std::uint32_t>(scale_a) != std::bit_cast<std::uint32_t>(scale_b)) {
                return differ(a, "the scale " + scale_text(scale_b) + ", " + scale_text(scale_a));
            }
            return compare_rows(a, reordered_rows(rows_a, order), rows_b);
        };
        ++report_.ternary_tensors;
        report_.ternary_values += a.dims[0] * a.dims[1];
        return with_ternary_codes(from_, a, reading_, pool_, [&](const any_ternary_rows& rows_a) {
            return with_ternary_codes(to_, b, ternary_reading(), pool_,
                                      [&](const any_ternary_rows& rows_b) { return both(rows_a, rows_b); });
        });
    }

    [[nodiscard]] result<void> compare_rows(const gguf_tensor& tensor, const reordered_rows& a,
                                            const any_ternary_rows& b) {
        const auto rows = static_cast<std::size_t>(tensor.dims[1]);
        const auto cols = static_cast<std::size_t>(tensor.dims[0]);
        constexpr std::size_t together = 64;
        auto codes = buffer<std::uint8_t>::allocate_uninitialized(2 * together * cols, "rows to be compared");
        if (!codes) {
            return std::move(codes).error();
        }
        std::atomic<std::size_t> other{rows};
        for (std::size_t first = 0; first < rows; first += together) {
            parallel_for(pool_, std::min(together, rows - first), [&](std::size_t i) noexcept {
                std::uint8_t* const codes_a = codes->data() + 2 * i * cols;
                std::uint8_t* const codes_b = codes_a + cols;
                const bool same = a.read(first + i, codes_a) && b.read(first + i, codes_b) &&
                                  std::memcmp(codes_a, codes_b, cols) == 0;
                if (!same) {
                    keep_lowest(other, first + i);
                }
            });
        }
        const std::size_t row = other.load(std::memory_order_relaxed);
        return row == rows ? result<void>{}
                           : differ(tensor, "row " + std::to_string(row) + " of " + std::to_string(rows) +
                                                " is not ternary or has other values than");
    }

    void compare_floats(const gguf_tensor& a, const gguf_tensor& b) {
        const std::uint64_t rows = a.dims[1] * a.dims[2] * a.dims[3];
        std::atomic<std::uint64_t> changed{0};
        std::atomic<float> largest{report_.largest_change};
        parallel_for(pool_, static_cast<std::size_t>(rows), [&](std::size_t row) noexcept {
            std::uint64_t changed_here = 0;
            float most = 0;
            for (std::size_t col = 0; col < a.dims[0]; ++col) {
                const float x = value(a, row, col);
                const float y = value(b, row, col);
                changed_here += x != y ? 1 : 0;
                most = std::max(most, x > y ? x - y : y - x);
            }
            changed.fetch_add(changed_here, std::memory_order_relaxed);
            float known = largest.load(std::memory_order_relaxed);
            while (most > known && !largest.compare_exchange_weak(known, most, std::memory_order_relaxed)) {
            }
        });
        report_.changed_floats += changed.load(std::memory_order_relaxed);
        report_.largest_change = largest.load(std::memory_order_relaxed);
    }
    [[nodiscard]] static float value(const gguf_tensor& tensor, std::size_t row, std::size_t col) noexcept {
        return with_element(*dense_element_of(tensor.type), [&]<class E>() {
            const auto cols = static_cast<std::size_t>(tensor.dims[0]);
            return element_at<E>(tensor.bytes.data() + row * row_bytes_of<E>(cols), col);
        });
    }

    /// Whether a metadata entry says what a model computes: its architecture, hyper-parameters or tokenizer.
    [[nodiscard]] bool matters(std::string_view key) const {
        return key == "general.architecture" || key.starts_with(parameters_.architecture + ".") ||
               key.starts_with("tokenizer.");
    }

    [[nodiscard]] result<void> compare_metadata(std::span<const std::string_view> edited) {
        for (const gguf_value& entry : from_.metadata()) {
            if (!matters(entry.key) || std::ranges::find(edited, entry.key) != edited.end()) {
                continue;
            }
            const gguf_value* found = to_.find(entry.key);
            if (found == nullptr || found->type != entry.type || found->element_type != entry.element_type ||
                !std::ranges::equal(found->bytes, entry.bytes)) {
                return error{errc::inconsistent, to_.name() + ": " + quoted_name(entry.key) +
                                                     (found == nullptr ? " is missing, unlike" : " is not the one") +
                                                     " in " + from_.name()};
            }
            report_.vocabulary_entries += entry.key == "tokenizer.ggml.tokens" ? entry.count : 0;
        }
        return {};
    }

    const gguf_file& from_;
    ternary_reading reading_;
    const gguf_file& to_;
    Pool& pool_;
    hyper_parameters parameters_;
    comparison_report report_;
};

/// Compares a converted file with what it was made from: every tensor of `from` has to be in `to`; ternary values and
/// effective scales have to be the same bits, and so do floats where their type is; of those in another type it is told
/// how many changed. Neither may have a tensor that the other lacks, but for scales and screens. The entries of the
/// architecture, its hyper-parameters and the tokenizer have to be the same, but for the keys in `edited`.
/// Cost: reads both files once. \param reading of `from`; the I2_S tensors of `to` are in order A
/// \return errc::inconsistent or missing_tensor, naming the first difference.
template <thread_pool_type Pool>
[[nodiscard]] result<comparison_report> compare_checkpoints(const gguf_file& from, const ternary_reading& reading,
                                                            const gguf_file& to, Pool& pool,
                                                            std::span<const std::string_view> edited = {}) {
    return checkpoint_comparison<Pool>(from, reading, to, pool).run(edited);
}

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/convert/checkpoint_converter.hpp ----
// checkpoint_converter: writes a model as a GGUF file, its ternary tensors and its head in the types asked for.

// ---- bitnet/convert/metadata_edit.hpp ----
// metadata_edit: one metadata entry to be set while a file is written, spelled KEY=TYPE:VALUE.

#include <charconv>
#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <variant>

namespace bitnet::inline BITNET_ABI {

/// A key and its new value. The text that it was read from must outlive it.
class metadata_edit {
public:
    /// Reads "KEY=TYPE:VALUE", where TYPE is u8, i8, u16, i16, u32, i32, u64, i64, f32, f64, bool or str:
    /// "tokenizer.ggml.pre=str:llama-bpe". A string is everything behind the colon.
    /// \return errc::invalid_argument, naming what is wrong with the text.
    [[nodiscard]] static result<metadata_edit> parse(std::string_view text) {
        const auto equals = text.find('=');
        const auto colon = text.find(':', equals == std::string_view::npos ? text.size() : equals);
        if (equals == 0 || colon == std::string_view::npos) {
            return error{errc::invalid_argument, "metadata " + quoted_name(text) +
                                                     ": KEY=TYPE:VALUE is needed, with a type such as u32 or str"};
        }
        metadata_edit made;
        made.key_ = text.substr(0, equals);
        const auto type = text.substr(equals + 1, colon - equals - 1);
        if (!made.set(type, text.substr(colon + 1))) {
            return error{errc::invalid_argument, "metadata " + quoted_name(text) + ": " +
                                                     quoted_name(text.substr(colon + 1)) + " is no value of type " +
                                                     quoted_name(type) +
                                                     " (u8, i8, u16, i16, u32, i32, u64, i64, f32, f64, bool, str)"};
        }
        return made;
    }

    [[nodiscard]] std::string_view key() const noexcept { return key_; }

    void add_to(gguf_writer& writer) const {
        std::visit([&](const auto& value) { writer.add(key_, value); }, value_);
    }

private:
    using value_type = std::variant<std::string_view, bool, std::uint8_t, std::int8_t, std::uint16_t, std::int16_t,
                                    std::uint32_t, std::int32_t, std::uint64_t, std::int64_t, float, double>;

    metadata_edit() = default;

    [[nodiscard]] bool set(std::string_view type, std::string_view text) {
        if (type == "str" || type == "string") {
            value_ = text;
            return true;
        }
        if (type == "bool") {
            value_ = text == "true";
            return text == "true" || text == "false";
        }
        return set_number<std::uint8_t>(type, text) || set_number<std::int8_t>(type, text) ||
               set_number<std::uint16_t>(type, text) || set_number<std::int16_t>(type, text) ||
               set_number<std::uint32_t>(type, text) || set_number<std::int32_t>(type, text) ||
               set_number<std::uint64_t>(type, text) || set_number<std::int64_t>(type, text) ||
               set_number<float>(type, text) || set_number<double>(type, text);
    }
    template <class T> [[nodiscard]] bool set_number(std::string_view type, std::string_view text) {
        if (type != name_of(gguf_type_of<T>())) {
            return false;
        }
        if constexpr (std::floating_point<T>) {
            const auto number = parse_decimal(text);
            value_ = static_cast<T>(number.value_or(0.0));
            return number.has_value();
        } else {
            T number{};
            const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
            value_ = number;
            return !text.empty() && read.ec == std::errc{} && read.ptr == text.data() + text.size();
        }
    }

    std::string_view key_;
    value_type value_;
};

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/convert/quantized_rows.hpp ----
// Rows of floats written as another element type: half, bfloat16, or ggml's Q8_0 and Q6_K blocks.

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

BITNET_PRECISE_BEGIN
namespace bitnet::inline BITNET_ABI {

namespace quantizing {

[[nodiscard]] constexpr float magnitude(float x) noexcept {
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(x) & 0x7fffffffu);
}

/// x rounded to an integer, ties to even, and clamped. \pre |x| < 2^22
[[nodiscard]] constexpr int rounded(float x, int least, int most) noexcept {
    constexpr float shift = 12582912.0f; // 1.5 * 2^23, where the spacing of floats is 1
    const int value = static_cast<int>((x + shift) - shift);
    return std::clamp(value, least, most);
}

/// One scale and codes -32..31 for sixteen values: scale * code is close to the value in the least squares, weighted by
/// the values' squares, among scales that put the largest value about one of its last codes.
struct sixteen {
    float scale = 0;
    std::array<int, 16> codes{};
};

[[nodiscard]] inline sixteen with_codes(const float* x, float inverse) noexcept {
    sixteen made;
    float weighted = 0; // sum x^2 * x * code
    float energy = 0;   // sum x^2 * code^2
    for (std::size_t i = 0; i < made.codes.size(); ++i) {
        made.codes[i] = rounded(x[i] * inverse, -32, 31);
        const float product = x[i] * static_cast<float>(made.codes[i]);
        weighted += x[i] * x[i] * product;
        energy += x[i] * x[i] * static_cast<float>(made.codes[i] * made.codes[i]);
    }
    made.scale = energy > 0 ? weighted / energy : 0.0f;
    return made;
}

[[nodiscard]] inline float weighted_error(const float* x, const sixteen& tried) noexcept {
    float error = 0;
    for (std::size_t i = 0; i < tried.codes.size(); ++i) {
        const float off = x[i] - tried.scale * static_cast<float>(tried.codes[i]);
        error += x[i] * x[i] * off * off;
    }
    return error;
}

[[nodiscard]] inline sixteen best_codes(const float* x) noexcept {
    const float* peak =
        std::max_element(x, x + 16, [](float a, float b) noexcept { return magnitude(a) < magnitude(b); });
    if (magnitude(*peak) < 1e-15f) { // its square would vanish, and any head's logits with it
        return {};
    }
    sixteen best;
    float least = 0;
    for (int step = -9; step <= 9; ++step) {
        const sixteen tried = with_codes(x, -(32.0f + 0.1f * static_cast<float>(step)) / *peak);
        const float error = weighted_error(x, tried);
        if (step == -9 || error < least) {
            best = tried;
            least = error;
        }
    }
    return best;
}

inline void encode(const float* x, std::byte* out, q8_0) noexcept {
    float most = 0;
    for (std::size_t i = 0; i < q8_0::block_columns; ++i) {
        most = std::max(most, magnitude(x[i]));
    }
    const half d = narrow<half>(most / 127.0f);
    const float scale = widen(d);
    std::memcpy(out, &d, sizeof d);
    for (std::size_t i = 0; i < q8_0::block_columns; ++i) {
        const int code = scale > 0 ? rounded(x[i] / scale, -127, 127) : 0;
        out[2 + i] = static_cast<std::byte>(static_cast<std::int8_t>(code));
    }
}

inline void encode(const float* x, std::byte* out, q6_k) noexcept {
    std::array<float, 16> scales;
    float peak = 0;
    for (std::size_t c = 0; c < scales.size(); ++c) {
        scales[c] = best_codes(x + 16 * c).scale;
        peak = magnitude(scales[c]) > magnitude(peak) ? scales[c] : peak;
    }
    const half d = narrow<half>(peak / -128.0f); // the largest scale becomes -128
    const float factor = widen(d);
    std::fill_n(out, q6_k::block_bytes, std::byte{0});
    std::memcpy(out + q6_k::factor_at, &d, sizeof d);
    for (std::size_t c = 0; c < scales.size(); ++c) {
        const int s = magnitude(factor) > 0 ? rounded(scales[c] / factor, -128, 127) : 0;
        out[q6_k::scales + c] = static_cast<std::byte>(static_cast<std::int8_t>(s));
        const q6_k::sixteen place = q6_k::at(out, 16 * c);
        const float scale = factor * static_cast<float>(s);
        auto* low = out + (place.low - out);
        auto* high = out + (place.high - out);
        for (std::size_t i = 0; i < 16; ++i) {
            const float value = magnitude(scale) > 0 ? x[16 * c + i] / scale : 0.0f;
            const auto code = static_cast<unsigned>(rounded(value, -32, 31) + 32);
            low[i] |= static_cast<std::byte>((code & 15u) << place.low_shift);
            high[i] |= static_cast<std::byte>((code >> 4) << place.high_shift);
        }
    }
}

} // namespace quantizing

/// The largest magnitude that rows of E are written for: a half is at most 65504, and so is the factor of a block.
template <class E> inline constexpr float largest_value = 0x1p127f;
template <> inline constexpr float largest_value<half> = 65504.0f;
template <> inline constexpr float largest_value<q8_0> = 65504.0f * 127.0f;
template <> inline constexpr float largest_value<q6_k> = 65504.0f * 127.0f * 31.0f;

/// Writes `cols` floats as elements of E: half and bfloat16 to nearest even; Q8_0 with d = max|x| / 127; Q6_K with the
/// scale of each sixteen chosen by least squares (the formats are ggml's; so is the idea of the search).
/// \return false where a value is not finite or above largest_value<E>; then the bytes mean nothing.
/// \pre cols is a multiple of step_columns<E>() for block formats
template <class E> [[nodiscard]] bool narrow_row(const float* x, std::size_t cols, std::byte* out) noexcept {
    for (std::size_t i = 0; i < cols; ++i) {
        if ((std::bit_cast<std::uint32_t>(x[i]) & 0x7fffffffu) > std::bit_cast<std::uint32_t>(largest_value<E>)) {
            return false; // a NaN too: its bits are above those of all numbers
        }
    }
    if constexpr (block_format<E>) {
        for (std::size_t c = 0; c < cols; c += E::block_columns, out += E::block_bytes) {
            quantizing::encode(x + c, out, E{});
        }
    } else {
        for (std::size_t i = 0; i < cols; ++i) {
            const E element = narrow<E>(x[i]);
            std::memcpy(out + i * sizeof(E), &element, sizeof element);
        }
    }
    return true;
}

} // namespace bitnet::inline BITNET_ABI
BITNET_PRECISE_END

// ---- bitnet/convert/ternary_encoding.hpp ----
// ternary_encoding: how a tensor type stores rows of ternary codes, for whoever chooses the type at run time.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// A tensor type that ternary weights can be written in.
struct ternary_encoding {
    std::string_view name; ///< "i2_s", "tl1", ..., "tq1_0"
    tensor_type type;
    std::uint32_t file_type; ///< general.file_type of a file of such tensors
    /// Rows that are stored together: 1 or a divisor of 32.
    std::size_t row_group;
    bool (*admits)(std::size_t rows, std::size_t cols) noexcept;
    /// Whether the type can hold this very scale.
    bool (*holds)(float scale) noexcept;
    /// Writes codes [rows, stride] of a group of row_group rows. Behind `cols` columns, up to `stride`, they are 1.
    void (*encode)(const std::uint8_t* codes, std::size_t cols, std::size_t stride, float scale,
                   std::uint8_t* out) noexcept;
    std::size_t block_columns; ///< encode() reads whole blocks: `stride` is a multiple of it

    [[nodiscard]] std::size_t stride(std::size_t cols) const noexcept {
        return (cols + block_columns - 1) / block_columns * block_columns;
    }
};

/// A layout of this library, whose scale stands in 32 bytes behind the rows.
template <ternary_layout L>
[[nodiscard]] constexpr ternary_encoding layout_encoding(std::string_view name, std::uint32_t file_type_id) noexcept {
    constexpr auto encode = [](const std::uint8_t* codes, std::size_t cols, std::size_t stride, float,
                               std::uint8_t* out) noexcept {
        for (std::size_t col = 0; col < cols; col += L::block_columns, out += L::block_bytes) {
            L::pack_block(codes + col, stride, out);
        }
    };
    return {name,   file_type<L>,    file_type_id, L::block_rows, &L::admits, [](float) noexcept { return true; },
            encode, L::block_columns};
}

/// A row format of other programs, which holds the scale in every row or block.
template <writable_row_format F>
[[nodiscard]] constexpr ternary_encoding row_encoding(std::string_view name, tensor_type type,
                                                      std::uint32_t file_type_id) noexcept {
    return {name,
            type,
            file_type_id,
            1,
            [](std::size_t, std::size_t cols) noexcept { return cols % F::block_columns == 0; },
            [](float scale) noexcept { return F::stored_scale(scale) == scale; },
            [](const std::uint8_t* codes, std::size_t cols, std::size_t, float scale, std::uint8_t* out) noexcept {
                F::pack_row(codes, cols, scale, out);
            },
            F::block_columns};
}

/// What bitnet.cpp, ik_llama.cpp and llama.cpp call their files, and the tensor type itself for our own layouts.
inline constexpr std::array<ternary_encoding, 7> ternary_encodings{
    {layout_encoding<i2s>("i2_s", 40),
     layout_encoding<dense>("dense", static_cast<std::uint32_t>(tensor_type::hpp_dense)),
     layout_encoding<tl1>("tl1", static_cast<std::uint32_t>(tensor_type::hpp_tl1)),
     layout_encoding<tl2>("tl2", static_cast<std::uint32_t>(tensor_type::hpp_tl2)),
     row_encoding<tq1_0>("tq1_0", tensor_type::tq1_0, 36), row_encoding<tq2_0>("tq2_0", tensor_type::tq2_0, 37),
     row_encoding<iq2_bn>("iq2_bn", tensor_type::iq2_bn, 137)}};

inline constexpr auto ternary_encoding_names = [] {
    std::array<std::string_view, ternary_encodings.size()> names;
    std::ranges::transform(ternary_encodings, names.begin(), &ternary_encoding::name);
    return names;
}();

/// Null where there is none of this name.
[[nodiscard]] constexpr const ternary_encoding* find_ternary_encoding(std::string_view name) noexcept {
    const auto* found = std::ranges::find(ternary_encodings, name, &ternary_encoding::name);
    return found != ternary_encodings.end() ? found : nullptr;
}

} // namespace bitnet::inline BITNET_ABI

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// Told after every piece that was written: bytes of tensors so far and in all. Stops the conversion by returning
/// false.
struct conversion_progress {
    bool (*report)(void* context, std::uint64_t done, std::uint64_t total) noexcept = nullptr;
    void* context = nullptr;
};

struct conversion_options {
    /// The name of one of ternary_encodings.
    std::string_view layout = "i2_s";
    /// "f16", "q8_0" or "q6_k": the type of the embedding and the head. "screened": as stored, and a screen beside it
    /// for head_mode::screened. Empty: as stored.
    std::string_view head = {};
    /// What the source does not tell of its ternary tensors.
    ternary_reading reading = {};
    /// Entries that are set, in place of the source's or behind them. Must outlive the converter.
    std::span<const metadata_edit> edits = {};
    conversion_progress progress = {};
};

/// What was written.
struct conversion_statistics {
    std::size_t ternary_tensors = 0; ///< read as codes and encoded
    std::size_t copied_tensors = 0;  ///< byte by byte
    std::size_t other_tensors = 0;   ///< norms, embeddings and heads that changed their type
    std::size_t scale_tensors = 0;   ///< added, for scales that the layout cannot hold
};

/// A copy of a model as a GGUF file: ternary tensors in one layout with the very codes and scales that model<P> would
/// run, norms in F32, the embedding and head as asked for, all other tensors and metadata as they are. Layouts of this
/// library have tensor types of their own, which hold the layout's version: other programs refuse them.
///
/// Rows of the query and key that a llama checkpoint holds unpermuted (metadata bitnet_hpp.rotary) are permuted as GGUF
/// files of that architecture have them.
///
/// Borrows the file, the pool and the options' memory, which must outlive it. Memory: the largest ternary tensor in its
/// new layout, 8 MiB for other tensors, and 32 bytes for each thread and column.
template <thread_pool_type Pool> class checkpoint_converter {
public:
    /// \return errc::invalid_argument for an unknown layout or head; wrong_layout where the layout does not admit the
    /// shape of a tensor; unsupported_type; bad_scale; out_of_memory: each names the tensor.
    [[nodiscard]] static result<std::unique_ptr<checkpoint_converter>>
    open(const gguf_file& file, const conversion_options& options, Pool& pool) {
        std::unique_ptr<checkpoint_converter> made(new (std::nothrow) checkpoint_converter(file, options, pool));
        if (made == nullptr) {
            return error{errc::out_of_memory, file.name() + ": " + std::to_string(sizeof(checkpoint_converter)) +
                                                  " bytes could not be allocated"};
        }
        auto parameters = hyper_parameters::read(file);
        if (!parameters) {
            return std::move(parameters).error();
        }
        made->parameters_ = *std::move(parameters);
        for (const auto step : {&checkpoint_converter::choose, &checkpoint_converter::add_metadata,
                                &checkpoint_converter::add_tensors, &checkpoint_converter::allocate}) {
            if (auto done = (*made.*step)(); !done) {
                return std::move(done).error();
            }
        }
        return made;
    }

    /// Bytes of the file to be written.
    [[nodiscard]] std::uint64_t file_size() const noexcept { return writer_.file_size(); }

    /// \return as gguf_writer::write_file; errc::bad_code, naming the tensor and the row that is not ternary;
    /// out_of_range for a head's value that its new type cannot hold; cancelled.
    [[nodiscard]] result<std::uint64_t> write_file(std::string_view utf8_path) {
        return first_failure(writer_.write_file(utf8_path));
    }
    /// The whole file in memory. \return as write_file, but for the disk's errors.
    [[nodiscard]] result<buffer<std::byte>> write_memory() { return first_failure(writer_.write_memory()); }

    [[nodiscard]] const conversion_statistics& statistics() const noexcept { return statistics_; }

private:
    static constexpr std::size_t window_floats = std::size_t{1} << 20;
    static constexpr std::size_t tail_bytes = 32;
    static constexpr std::size_t rows_together = 32; ///< a multiple of the row_group of every encoding

    /// One tensor to be written, a window of rows at a time.
    struct piece {
        enum class action { copy, ternary, dense, screen, scale };

        checkpoint_converter* self;
        action what;
        const gguf_tensor* tensor;
        tensor_type to;
        std::uint64_t size = 0; ///< bytes to be written
        float scale = 1;
        permuted_rows order = {};

        [[nodiscard]] std::size_t rows() const noexcept {
            return static_cast<std::size_t>(tensor->dims[1] * tensor->dims[2] * tensor->dims[3]);
        }
        [[nodiscard]] std::size_t cols() const noexcept { return static_cast<std::size_t>(tensor->dims[0]); }
        [[nodiscard]] std::uint64_t row_bytes() const noexcept { return size / rows(); } ///< not of ternary ones

        static bool read(void* context, std::uint64_t offset, std::span<std::byte> out) {
            auto& wanted = *static_cast<piece*>(context);
            return wanted.self->read(wanted, offset, out);
        }
    };

    checkpoint_converter(const gguf_file& file, const conversion_options& options, Pool& pool)
        : file_(file), options_(options), pool_(pool), writer_({3, std::max<std::uint32_t>(file.alignment(), 32)}) {}

    [[nodiscard]] result<void> choose() {
        encoding_ = find_ternary_encoding(options_.layout);
        if (encoding_ == nullptr) {
            return error{errc::invalid_argument, "there is no layout " + quoted_name(options_.layout)};
        }
        if (options_.head == "f16") {
            head_type_ = tensor_type::f16;
        } else if (options_.head == "q8_0") {
            head_type_ = tensor_type::q8_0;
        } else if (options_.head == "q6_k") {
            head_type_ = tensor_type::q6_k;
        } else if (!options_.head.empty() && options_.head != "screened") {
            return error{errc::invalid_argument,
                         "there is no head " + quoted_name(options_.head) + ": f16, q8_0, q6_k and screened are known"};
        }
        return {};
    }

    /// All entries but those that only tell how this source is read.
    [[nodiscard]] result<void> add_metadata() {
        for (const gguf_value& entry : file_.metadata()) {
            if (entry.key == "general.alignment" || entry.key.starts_with("bitnet_hpp.")) {
                continue; // the writer's own; and what only told how to read the source
            }
            if (const auto edit = std::ranges::find(options_.edits, entry.key, &metadata_edit::key);
                edit != options_.edits.end()) {
                edit->add_to(writer_);
            } else if (entry.key == "general.file_type") {
                writer_.add(entry.key, encoding_->file_type);
            } else {
                writer_.add(entry);
            }
        }
        constexpr std::string_view file_type = "general.file_type";
        if (file_.find(file_type) == nullptr &&
            std::ranges::find(options_.edits, file_type, &metadata_edit::key) == options_.edits.end()) {
            writer_.add(file_type, encoding_->file_type);
        }
        for (const metadata_edit& edit : options_.edits) {
            if (file_.find(edit.key()) == nullptr) {
                edit.add_to(writer_);
            }
        }
        return {};
    }

    [[nodiscard]] result<void> add_tensors() {
        for (const gguf_tensor& tensor : file_.tensors()) {
            auto added = is_ternary_place(tensor.name)      ? add_ternary(tensor)
                         : is_scale_of_ternary(tensor.name) ? result<void>{} // added with its tensor
                         : is_head(tensor.name)             ? add_head(tensor)
                         : is_screen(tensor.name)           ? result<void>{} // made again where it is asked for
                         : tensor.type == tensor_type::bf16 ? add_dense(tensor, tensor_type::f32)
                                                            : add_copy(tensor);
            if (!added) {
                return added;
            }
        }
        return {};
    }

    [[nodiscard]] static bool is_head(std::string_view name) noexcept {
        return name == "token_embd.weight" || name == "output.weight";
    }
    piece& add_piece(piece made, std::string_view name, std::span<const std::uint64_t> dims) {
        tensor_dims all{1, 1, 1, 1};
        std::ranges::copy(dims, all.begin());
        made.size = fits_blocks(made.to, all) ? tensor_bytes(made.to, all).value_or(0) : 0;
        pieces_.push_back(std::move(made));
        writer_.add_tensor(name, pieces_.back().to, dims, read_callback{&piece::read, &pieces_.back()});
        total_bytes_ += pieces_.back().size;
        return pieces_.back();
    }
    [[nodiscard]] static std::span<const std::uint64_t> dims_of(const gguf_tensor& tensor) noexcept {
        return std::span(tensor.dims).first(tensor.rank);
    }

    [[nodiscard]] result<void> add_copy(const gguf_tensor& tensor) {
        add_piece({this, piece::action::copy, &tensor, tensor.type}, tensor.name, dims_of(tensor));
        ++statistics_.copied_tensors;
        return {};
    }

    [[nodiscard]] result<void> add_dense(const gguf_tensor& tensor, tensor_type to) {
        if (tensor.type == to) {
            return add_copy(tensor);
        }
        if (!dense_element_of(tensor.type) || !fits_blocks(to, tensor.dims)) {
            return error{errc::unsupported_type, file_.name() + ": tensor " + quoted_name(tensor.name) + ": " +
                                                     std::string(name_of(tensor.type)) + " " + dims_text(tensor) +
                                                     " in the file, which cannot be written as " +
                                                     std::string(name_of(to))};
        }
        add_piece({this, piece::action::dense, &tensor, to}, tensor.name, dims_of(tensor));
        ++statistics_.other_tensors;
        return {};
    }

    [[nodiscard]] result<void> add_head(const gguf_tensor& tensor) {
        auto added = add_dense(tensor, head_type_.value_or(tensor.type));
        const bool is_last = tensor.name == "output.weight" || file_.find_tensor("output.weight") == nullptr;
        return added && is_last && options_.head == "screened" ? add_screen(tensor) : added;
    }

    [[nodiscard]] result<void> add_screen(const gguf_tensor& tensor) {
        const auto element = dense_element_of(tensor.type);
        if (!element || !screened_head::admits(*element)) {
            return error{errc::unsupported_type, file_.name() + ": tensor " + quoted_name(tensor.name) + ": type " +
                                                     std::string(name_of(tensor.type)) +
                                                     " in the file, a screen is for F16, BF16 and F32"};
        }
        const std::uint64_t dims[] = {screen_layout::row_bytes(tensor.dims[0]), tensor.dims[1]};
        add_piece({this, piece::action::screen, &tensor, tensor_type::hpp_screen}, screen_name(tensor.name), dims);
        return {};
    }

    /// The tensor with the scale that it has, or, where the layout cannot hold that, with 1 and the scale beside it.
    [[nodiscard]] result<void> add_ternary(const gguf_tensor& tensor) {
        if (!encoding_->admits(tensor.dims[1], tensor.dims[0])) {
            return error{errc::wrong_layout, file_.name() + ": tensor " + quoted_name(tensor.name) + ": " +
                                                 dims_text(tensor) + " in the file, which layout " +
                                                 std::string(encoding_->name) + " does not admit"};
        }
        float own = 1;
        const auto read_scale = [&own](const any_ternary_rows& rows) {
            own = rows.scale();
            return result<void>{};
        };
        if (auto read = with_ternary_codes(file_, tensor, options_.reading, pool_, read_scale); !read) {
            return read;
        }
        const std::string beside = scale_name(tensor.name);
        auto extra = find_scale(file_, tensor);
        if (!extra) {
            return std::move(extra).error();
        }
        if (own == 1.0f && *extra) {
            own = *std::exchange(*extra, std::nullopt);
        }
        if (!encoding_->holds(own)) {
            *extra = own * extra->value_or(1.0f);
            own = 1.0f;
            ++statistics_.scale_tensors;
        }
        const auto order = permuted_rows::of(parameters_, tensor);
        add_piece({this, piece::action::ternary, &tensor, encoding_->type, 0, own, order}, tensor.name,
                  dims_of(tensor));
        ++statistics_.ternary_tensors;
        if (*extra) {
            const std::uint64_t one = 1;
            add_piece({this, piece::action::scale, &tensor, tensor_type::f32, 0, **extra}, beside, {&one, 1});
        }
        return {};
    }

    /// A whole ternary tensor, or a window of the rows of another, and the floats that its rows were.
    [[nodiscard]] result<void> allocate() {
        std::uint64_t window = 0;
        std::uint64_t floats = 0;
        for (const piece& each : pieces_) {
            if (each.what == piece::action::ternary) {
                window = std::max(window, each.size);
            } else if (each.what == piece::action::dense || each.what == piece::action::screen) {
                window = std::max(window, window_rows(each) * each.row_bytes());
                floats = std::max<std::uint64_t>(floats, window_rows(each) * each.cols());
            }
        }
        auto bytes = buffer<std::byte>::allocate(window, "converted rows");
        auto widened = buffer<float>::allocate(floats, "rows to be converted");
        if (!bytes || !widened) {
            return bytes ? std::move(widened).error() : std::move(bytes).error();
        }
        window_ = *std::move(bytes);
        floats_ = *std::move(widened);
        return {};
    }

    /// How many rows of a dense tensor are converted at a time.
    [[nodiscard]] static std::size_t window_rows(const piece& wanted) noexcept {
        return std::clamp<std::size_t>(window_floats / wanted.cols(), 1, wanted.rows());
    }

    /// The next bytes of a tensor; the writer asks in ascending order.
    [[nodiscard]] bool read(piece& wanted, std::uint64_t offset, std::span<std::byte> out) {
        if (wanted.what == piece::action::copy) {
            std::ranges::copy(wanted.tensor->bytes.subspan(offset, out.size()), out.data());
        } else if (wanted.what == piece::action::scale) {
            std::memcpy(out.data(), &wanted.scale, sizeof wanted.scale);
        } else if (!read_windows(wanted, offset, out)) {
            return false;
        }
        done_bytes_ += out.size();
        const auto& progress = options_.progress;
        if (progress.report != nullptr && !progress.report(progress.context, done_bytes_, total_bytes_)) {
            failure_ = {errc::cancelled, file_.name() + ": the conversion was stopped after " +
                                             std::to_string(done_bytes_) + " of " + std::to_string(total_bytes_) +
                                             " bytes"};
            return false;
        }
        return true;
    }
    [[nodiscard]] bool read_windows(piece& wanted, std::uint64_t offset, std::span<std::byte> out) {
        while (!out.empty()) {
            if (offset == 0) {
                next_row_ = 0;
                window_end_ = 0;
            }
            if (offset == window_end_ &&
                !(wanted.what == piece::action::ternary ? convert_codes(wanted) : convert_floats(wanted))) {
                return false;
            }
            const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), window_end_ - offset));
            std::copy_n(window_.data() + (offset - window_begin_), size, out.data());
            offset += size;
            out = out.subspan(size);
        }
        return true;
    }

    /// All rows of a ternary tensor, and behind them the scale where the layout has it there.
    [[nodiscard]] bool convert_codes(const piece& wanted) {
        auto* out = reinterpret_cast<std::uint8_t*>(window_.data());
        const bool has_tail = has_ternary_scale(wanted.to);
        const std::size_t group = encoding_->row_group;
        const std::size_t groups = (wanted.rows() + group - 1) / group;
        const auto group_bytes = static_cast<std::size_t>((wanted.size - (has_tail ? tail_bytes : 0)) / groups);
        const auto encode = [&](std::size_t first, const std::uint8_t* codes, std::size_t stride) noexcept {
            for (std::size_t r = 0; r < rows_together && first + r < wanted.rows(); r += group) {
                encoding_->encode(codes + r * stride, wanted.cols(), stride, wanted.scale,
                                  out + (first + r) / group * group_bytes);
            }
        };
        const auto read = [&](const any_ternary_rows& rows) {
            const reordered_rows ordered(rows, wanted.order);
            return for_each_rows<rows_together>(pool_, any_ternary_rows(ordered), *wanted.tensor, file_.name(),
                                                encoding_->stride(wanted.cols()), encode);
        };
        if (auto done = with_ternary_codes(file_, *wanted.tensor, options_.reading, pool_, read); !done) {
            failure_ = std::move(done).error();
            return false;
        }
        if (has_tail) {
            write_tail(wanted, window_.data() + groups * group_bytes);
        }
        window_begin_ = 0;
        window_end_ = wanted.size;
        return true;
    }

    /// The scale in 32 bytes; the source's own where it has such, so that nothing is lost on the way there and back.
    static void write_tail(const piece& wanted, std::byte* out) noexcept {
        std::fill_n(out, tail_bytes, std::byte{0});
        if (has_ternary_scale(wanted.tensor->type)) {
            std::ranges::copy(wanted.tensor->bytes.last(tail_bytes), out);
        }
        std::memcpy(out, &wanted.scale, sizeof wanted.scale);
    }

    /// The next rows of a dense tensor or a screen.
    [[nodiscard]] bool convert_floats(const piece& wanted) {
        const std::size_t count = std::min(window_rows(wanted), wanted.rows() - next_row_);
        const auto row_bytes = static_cast<std::size_t>(wanted.row_bytes());
        std::atomic<std::size_t> bad_row{SIZE_MAX};
        parallel_for(pool_, count, [&](std::size_t i) noexcept {
            float* floats = floats_.data() + i * wanted.cols();
            widen_row_of(*wanted.tensor, next_row_ + i, floats);
            std::byte* out = window_.data() + i * row_bytes;
            if (wanted.what == piece::action::screen) {
                screen_row(floats, wanted.cols(), out);
            } else if (!narrow_row_to(wanted.to, floats, wanted.cols(), out)) {
                keep_lowest(bad_row, next_row_ + i);
            }
        });
        if (const std::size_t row = bad_row.load(std::memory_order_relaxed); row != SIZE_MAX) {
            failure_ = {errc::out_of_range, file_.name() + ": tensor " + quoted_name(wanted.tensor->name) + ": row " +
                                                std::to_string(row) + " of its " + std::to_string(wanted.rows()) +
                                                " rows holds a value that is not finite or too large for " +
                                                std::string(name_of(wanted.to))};
            return false;
        }
        next_row_ += count;
        window_begin_ = window_end_;
        window_end_ += count * row_bytes;
        return true;
    }

    static void widen_row_of(const gguf_tensor& tensor, std::size_t row, float* out) noexcept {
        const auto cols = static_cast<std::size_t>(tensor.dims[0]);
        with_element(*dense_element_of(tensor.type), [&]<class E>() {
            const std::byte* elements = tensor.bytes.data() + row * row_bytes_of<E>(cols);
            for (std::size_t c = 0; c < cols; ++c) {
                out[c] = element_at<E>(elements, c);
            }
        });
    }
    static void screen_row(const float* row, std::size_t cols, std::byte* out) noexcept {
        const auto widen = [row](std::size_t first, std::size_t count, float* floats) noexcept {
            std::copy_n(row + first, count, floats);
        };
        make_screen_row(cols, widen, [&](const std::byte* piece, std::size_t size) noexcept {
            std::memcpy(out, piece, size);
            out += size;
        });
    }
    [[nodiscard]] static bool narrow_row_to(tensor_type to, const float* x, std::size_t cols, std::byte* out) noexcept {
        switch (to) {
        case tensor_type::f16:
            return narrow_row<half>(x, cols, out);
        case tensor_type::q8_0:
            return narrow_row<q8_0>(x, cols, out);
        case tensor_type::q6_k:
            return narrow_row<q6_k>(x, cols, out);
        default:
            return narrow_row<float>(x, cols, out);
        }
    }

    /// Our own error, which tells more than the writer's "its generator could not give ...".
    template <class T> [[nodiscard]] result<T> first_failure(result<T> written) {
        return failure_.code == errc{} ? std::move(written) : result<T>(std::exchange(failure_, {}));
    }

    const gguf_file& file_;
    conversion_options options_;
    Pool& pool_;
    gguf_writer writer_;
    hyper_parameters parameters_;
    const ternary_encoding* encoding_ = nullptr;
    std::optional<tensor_type> head_type_;
    std::deque<piece> pieces_;
    conversion_statistics statistics_;
    buffer<float> floats_;           ///< of a window of dense rows
    buffer<std::byte> window_;       ///< a ternary tensor, or a window of another
    std::size_t next_row_ = 0;       ///< behind the window
    std::uint64_t window_begin_ = 0; ///< in bytes of the tensor
    std::uint64_t window_end_ = 0;
    std::uint64_t done_bytes_ = 0;
    std::uint64_t total_bytes_ = 0;
    error failure_;
};

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/fwd.hpp ----
// Forward declarations of public names, for headers of programs that only mention them.

#include <cstdint>

namespace bitnet::inline BITNET_ABI {

using token = std::int32_t;

enum class errc;
struct error;
template <class T> class result;

struct half;
struct bfloat16;
template <class T> struct matrix_view;

class byte_source;
class gguf_file;
class gguf_writer;
class json_document;
class safetensors_file;
class model_file;

class tokenizer;
class stream_decoder;
class chat_template;
class chat_dialog;
struct chat_message;
enum class chat_format : unsigned char;
struct encode_options;
struct decode_options;
struct tokenizer_json_files;
struct tokenizer_options;

namespace isa {
struct scalar;
struct avx2;
struct avx_vnni;
struct avx512_vnni;
struct amx_int8;
} // namespace isa

class thread_pool;
class inline_pool;

struct hyper_parameters;
struct open_options;
struct scored_token;
struct head_statistics;
enum class head_mode;
struct batch_options;
struct session_options;
struct sampler_options;
enum class stop_reason;
class sampler;
class any_model;
class any_session;

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/model/attention.hpp ----
// Causal grouped-query attention over the KV cache.

// ---- bitnet/model/kv_cache.hpp ----
// kv_cache<E>: the keys and values of every position that a sequence has passed.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// One head's keys and values of up to attention_block positions. Borrows its memory.
template <class E> struct kv_block {
    const E* keys;             ///< [positions / 16][head_size][16]
    const E* values;           ///< [positions][head_size]
    const float* key_scales;   ///< [positions]: what keys are to be multiplied by; null unless E is an integer
    const float* value_scales; ///< the same for values
};

/// Blocks [position / 256][layer][kv_head], each first its keys [position % 256 / 16][head_size][16], so that one fma
/// chain per position runs in sixteen lanes, then its values [position % 256][head_size]. An integer element has one
/// scale for each position and head, absmax / 127. The order is private to this class and float_ops.
/// Memory is written as the sequence grows, from front to back: a short one in a long context takes what it needs.
template <class E> class kv_cache {
public:
    /// Whether keys and values are quantised, and so have scales.
    static constexpr bool is_scaled = std::is_integral_v<E>;

    kv_cache() noexcept = default;

    /// Bytes of a cache: 2 * layers * kv_heads * context (rounded up to 16) * head_size elements, and scales.
    [[nodiscard]] static std::uint64_t bytes(const hyper_parameters& model, std::size_t context) noexcept {
        return (sizeof(E) * model.head_size + (is_scaled ? sizeof(float) : 0)) * rows(model, context);
    }

    /// \pre 1 <= context <= 2^20. \return errc::out_of_memory with the bytes asked for.
    [[nodiscard]] static result<kv_cache> open(const hyper_parameters& model, std::size_t context) {
        auto elements = buffer<E>::allocate_uninitialized(rows(model, context) * model.head_size, "KV cache");
        if (!elements) {
            return std::move(elements).error();
        }
        auto scales = buffer<float>::allocate_uninitialized(is_scaled ? rows(model, context) : 0, "KV cache scales");
        if (!scales) {
            return std::move(scales).error();
        }
        ask_for_huge_pages(elements->data(), elements->size_bytes());
        kv_cache made;
        made.elements_ = *std::move(elements);
        made.scales_ = *std::move(scales);
        made.heads_ = model.layers * model.kv_heads;
        made.kv_heads_ = model.kv_heads;
        made.head_size_ = model.head_size;
        made.positions_ = padded(context);
        return made;
    }

    /// Prepares `count` positions from `first` on, before any of them is stored: keys of sixteen positions are read
    /// together, so those that do not exist yet must have some value.
    void extend(std::size_t first, std::size_t count) noexcept {
        const std::size_t last = (first + count) / 16 * 16; // of the blocks of sixteen, the one that stays incomplete
        if (last == first + count || last < first) {
            return; // none, or one that was prepared before
        }
        for (std::size_t head = 0; head < heads_; ++head) {
            std::fill_n(elements_.data() + find(head, last).key * head_size_, 16 * head_size_, E{});
        }
    }

    /// Stores one position's key and value rows, [kv_heads * head_size] floats each, rounded to E by `Loops`.
    /// \pre extend() was called for the position. Different positions may be stored by different threads.
    template <class Loops>
    void store(std::size_t layer, std::size_t position, const float* key, const float* value) noexcept {
        std::array<E, largest_head> narrowed;
        for (std::size_t head = 0; head < kv_heads_; ++head) {
            const place at = find(layer * kv_heads_ + head, position);
            const float key_scale = Loops::narrow_row(key + head * head_size_, head_size_, narrowed.data());
            E* column = elements_.data() + (at.key - position % 16) * head_size_ + position % 16;
            for (std::size_t d = 0; d < head_size_; ++d) {
                column[d * 16] = narrowed[d];
            }
            E* row = elements_.data() + at.value * head_size_;
            const float value_scale = Loops::narrow_row(value + head * head_size_, head_size_, row);
            if constexpr (is_scaled) {
                scales_[at.key] = key_scale;
                scales_[at.value] = value_scale;
            }
        }
    }

    /// One head's positions from `first` on, a multiple of attention_block.
    [[nodiscard]] kv_block<E> block(std::size_t layer, std::size_t head, std::size_t first) const noexcept {
        const place at = find(layer * kv_heads_ + head, first);
        kv_block<E> found{elements_.data() + at.key * head_size_, elements_.data() + at.value * head_size_, nullptr,
                          nullptr};
        if constexpr (is_scaled) {
            found.key_scales = scales_.data() + at.key;
            found.value_scales = scales_.data() + at.value;
        }
        return found;
    }

private:
    static constexpr std::size_t largest_head = 1024; // hyper_parameters refuses larger ones

    /// Indices of a position's key and value among all rows of head_size elements, and among all scales.
    struct place {
        std::size_t key;
        std::size_t value;
    };

    [[nodiscard]] static std::size_t padded(std::size_t context) noexcept { return (context + 15) / 16 * 16; }
    /// Rows of head_size elements, keys and values. Cannot overflow, nor can the elements' bytes: 2^10 layers, 2^10
    /// heads, 2^20 positions, 2^10 columns of 2^2 bytes and 2 for keys and values are 2^53.
    [[nodiscard]] static std::uint64_t rows(const hyper_parameters& model, std::size_t context) noexcept {
        return std::uint64_t{2} * model.layers * model.kv_heads * padded(context);
    }
    /// `head` counts those of all layers.
    [[nodiscard]] place find(std::size_t head, std::size_t position) const noexcept {
        const std::size_t first = position / attention_block * attention_block;
        const std::size_t positions = std::min(attention_block, positions_ - first); // the last block may be shorter
        const std::size_t key = 2 * (first * heads_ + head * positions) + (position - first);
        return {key, key + positions};
    }

    buffer<E> elements_;
    buffer<float> scales_;  ///< of each row of elements; empty unless is_scaled
    std::size_t heads_ = 0; ///< layers * kv_heads
    std::size_t kv_heads_ = 0;
    std::size_t head_size_ = 0;
    std::size_t positions_ = 0;
};

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/model/scratch.hpp ----
// scratch: the working memory of one forward pass. Belongs to a session, never to the model.

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// Rows of int8 activations with their scales and sums: the input of every ternary product. [rows, cols]
/// One buffer serves inputs of several widths; whoever fills it zeroes each row to a multiple of activation_padding.
struct quantized_rows {
    buffer<std::int8_t> values;
    buffer<float> scales;            ///< [rows]; value = int8 / scale
    buffer<std::int32_t> sums;       ///< [rows]
    buffer<std::byte> arranged;      ///< [groups of rows], as the kernel arranges them; empty if it does not
    std::size_t stride = 0;          ///< int8 values from row to row
    std::size_t used_rows = 0;       ///< of this pass
    std::size_t group_rows = 1;      ///< rows that the kernel arranges together
    std::size_t arranged_stride = 0; ///< bytes from group to group

    [[nodiscard]] std::int8_t* row(std::size_t r) noexcept { return values.data() + r * stride; }
    /// The arranged group of rows g * group_rows and following.
    [[nodiscard]] std::byte* group(std::size_t g) noexcept { return arranged.data() + g * arranged_stride; }
    /// \pre `first` is a multiple of group_rows; `count` is one too or ends at used_rows.
    [[nodiscard]] activation_view view(std::size_t first, std::size_t count) const noexcept {
        assert(first % group_rows == 0);
        return {values.data() + first * stride,
                sums.data() + first,
                stride,
                count,
                arranged.data() + first / group_rows * arranged_stride,
                arranged_stride};
    }
};

/// Floats of [rows, cols] that are allocated once and viewed with as many rows as a pass has.
struct float_rows {
    buffer<float> values;
    std::size_t cols = 0;

    [[nodiscard]] matrix_view<float> first(std::size_t rows) noexcept {
        assert(rows * cols <= values.size());
        return {values.data(), rows, cols};
    }
};

/// What single blocks of attention come to before they are merged.
struct attention_parts {
    /// Blocks over all rows of a pass; a pass with more has tasks enough without splitting rows into blocks, or is one
    /// sequence beyond 32,768 positions, whose tasks are then its KV heads.
    static constexpr std::size_t most = 128;

    buffer<float> vectors;            ///< [most, query_columns]
    buffer<softmax_state> all_states; ///< [most, heads]
    std::size_t cols = 0;
    std::size_t heads = 0;

    [[nodiscard]] float* vector(std::size_t part) noexcept { return vectors.data() + part * cols; }
    [[nodiscard]] softmax_state* states(std::size_t part) noexcept { return all_states.data() + part * heads; }
};

/// Buffers for up to max_rows rows, allocated once; nothing allocates after open().
struct scratch {
    std::size_t max_rows = 0;
    float_rows residual; ///< [rows, hidden]
    float_rows normed;   ///< [rows, the widest of all]
    float_rows query;    ///< [rows, query_columns]
    float_rows key;      ///< [rows, kv_columns]
    float_rows value;    ///< [rows, kv_columns]
    float_rows attended; ///< [rows, query_columns]
    float_rows gated;    ///< [rows, feed_forward]
    float_rows cosines;  ///< [rows, head_size / 2]
    float_rows sines;    ///< [rows, head_size / 2]
    quantized_rows quantized;
    attention_parts parts;

    /// For products by `Kernel`. \pre max_rows > 0. \return errc::out_of_memory with the bytes asked for.
    template <ternary_kernel Kernel>
    [[nodiscard]] static result<scratch> open(const hyper_parameters& model, std::size_t max_rows) {
        scratch made;
        made.max_rows = max_rows;
        const std::size_t widest = std::max({model.hidden, model.query_columns(), model.feed_forward});
        error failure;
        const auto floats = [&](float_rows& into, std::size_t cols) {
            into.cols = cols;
            allocate(into.values, max_rows * cols, failure);
        };
        floats(made.residual, model.hidden);
        floats(made.normed, widest);
        floats(made.query, model.query_columns());
        floats(made.key, model.kv_columns());
        floats(made.value, model.kv_columns());
        floats(made.attended, model.query_columns());
        floats(made.gated, model.feed_forward);
        floats(made.cosines, model.head_size / 2);
        floats(made.sines, model.head_size / 2);
        made.quantized.stride = (widest + activation_padding - 1) / activation_padding * activation_padding;
        allocate(made.quantized.values, max_rows * made.quantized.stride, failure);
        if constexpr (arranging_kernel<Kernel>) {
            made.quantized.group_rows = Kernel::arranged_tokens;
            made.quantized.arranged_stride = (Kernel::arranged_bytes(widest) + 63) / 64 * 64;
            const std::size_t groups = (max_rows + Kernel::arranged_tokens - 1) / Kernel::arranged_tokens;
            allocate(made.quantized.arranged, groups * made.quantized.arranged_stride, failure);
        }
        allocate(made.quantized.scales, max_rows, failure);
        allocate(made.quantized.sums, max_rows, failure);
        made.parts.cols = model.query_columns();
        made.parts.heads = model.heads;
        allocate(made.parts.vectors, attention_parts::most * model.query_columns(), failure);
        allocate(made.parts.all_states, attention_parts::most * model.heads, failure);
        if (failure.code != errc{}) {
            return failure;
        }
        return made;
    }

private:
    template <class T> static void allocate(buffer<T>& into, std::size_t size, error& failure) {
        auto made = buffer<T>::allocate(size, "scratch");
        if (made) {
            into = *std::move(made);
        } else if (failure.code == errc{}) {
            failure = std::move(made).error();
        }
    }
};

} // namespace bitnet::inline BITNET_ABI

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace bitnet::inline BITNET_ABI {

/// One row of a forward pass: a token at a position of a sequence, whose cache holds all earlier positions.
template <class Kv> struct sequence_row {
    kv_cache<Kv>* cache;
    std::size_t position;
    token id;

    /// How many attention blocks hold positions 0..position.
    [[nodiscard]] std::size_t blocks() const noexcept { return position / attention_block + 1; }
};

/// Up to four queries that pass one block of keys and values together, so that its loads are shared.
struct attention_tile {
    static constexpr std::size_t most = 4;

    std::size_t size = 0;
    std::array<const float*, most> queries{}; ///< [head_size] each
    std::array<std::size_t, most> counts{};   ///< how many positions of the block a query sees: at least 1, ascending
    std::array<float*, most> out{};           ///< [head_size] each: the sum of weighted values
    std::array<softmax_state, most> states{}; ///< of the block

    void add(const float* query, std::size_t count, float* result) noexcept {
        queries[size] = query;
        counts[size] = count;
        out[size] = result;
        ++size;
    }
};

/// The softmax of one block, not yet divided by its sum.
template <policy_type P>
void attend_tile(const kv_block<typename P::kv_element>& block, std::size_t head_size, attention_tile& tile) noexcept {
    std::array<float, attention_tile::most * attention_block> weights;
    P::loops::scores(tile.queries.data(), tile.size, block.keys, head_size, tile.counts[tile.size - 1], weights.data());
    for (std::size_t i = 0; i < tile.size; ++i) {
        float* row = weights.data() + i * attention_block;
        if constexpr (kv_cache<typename P::kv_element>::is_scaled) {
            P::loops::multiply(row, block.key_scales, tile.counts[i]);
        }
        tile.states[i] = P::loops::exponentials(row, tile.counts[i]);
        if constexpr (kv_cache<typename P::kv_element>::is_scaled) {
            P::loops::multiply(row, block.value_scales, tile.counts[i]);
        }
    }
    const std::size_t seen_by_all = tile.counts[0];
    P::loops::weighted_values(weights.data(), tile.size, block.values, head_size, 0, seen_by_all, tile.out.data());
    for (std::size_t i = 0; i < tile.size; ++i) {
        P::loops::weighted_values(weights.data() + i * attention_block, 1, block.values, head_size, seen_by_all,
                                  tile.counts[i], tile.out.data() + i);
    }
}

/// Every row of a pass attends to positions 0..position of its sequence:
/// out = softmax(q k^T / sqrt(head_size)) v, head by head; the heads of a group share keys and values.
///
/// Blocks of 256 positions are reduced one by one and merged ascending by one thread, so that the bits depend on the
/// position alone. Where rows are few and sequences long, blocks are the tasks, and their parts meet in scratch;
/// elsewhere a task takes up to four rows of a group, all blocks.
/// Source: the online softmax of Milakov and Gimelshein, 2018; tests/run/same_bits_test.cpp.
template <policy_type P> class attention {
public:
    using row = sequence_row<typename P::kv_element>;

    /// query, out [rows, heads * head_size]
    attention(const hyper_parameters& model, std::size_t layer, std::span<const row> rows, matrix_view<float> query,
              matrix_view<float> out, attention_parts& parts) noexcept
        : model_(model), layer_(layer), rows_(rows), query_(query), out_(out), parts_(parts) {}

    void run(typename P::pool& pool) const noexcept {
        std::size_t blocks = 0;
        for (const row& each : rows_) {
            blocks += each.blocks();
        }
        constexpr std::size_t tasks_per_thread = 8; // so that a slow core does not hold up the rest
        const bool is_enough = rows_.size() * model_.kv_heads >= tasks_per_thread * pool.threads();
        if (pool.threads() == 1 || is_enough || blocks == rows_.size() || blocks > attention_parts::most) {
            const std::size_t groups = (rows_.size() + rows_per_task() - 1) / rows_per_task();
            return parallel_for(pool, groups * model_.kv_heads, [&](std::size_t task) noexcept {
                attend_rows(task / model_.kv_heads * rows_per_task(), task % model_.kv_heads);
            });
        }
        parallel_for(pool, blocks * model_.kv_heads,
                     [&](std::size_t task) noexcept { attend_part(task / model_.kv_heads, task % model_.kv_heads); });
        parallel_for(pool, rows_.size() * model_.kv_heads,
                     [&](std::size_t task) noexcept { merge_parts(task / model_.kv_heads, task % model_.kv_heads); });
    }

private:
    static constexpr std::size_t most_rows = 4;
    static constexpr std::size_t queries_per_task = 16;
    static constexpr std::size_t largest_head = 1024; // hyper_parameters refuses larger ones

    /// One query head of one row, and what its blocks have come to.
    struct running_query {
        std::size_t row;
        std::size_t column; ///< of the head, in query_ and out_
        softmax_state state;
    };

    [[nodiscard]] std::size_t rows_per_task() const noexcept {
        return std::clamp<std::size_t>(queries_per_task / model_.heads_per_kv(), 1, most_rows);
    }

    /// The rows from `first` on that a task takes, in runs of neighbours: the same sequence, ascending positions.
    void attend_rows(std::size_t first, std::size_t kv_head) const noexcept {
        const std::size_t end = std::min(first + rows_per_task(), rows_.size());
        while (first < end) {
            std::size_t next = first + 1;
            while (next < end && rows_[next].cache == rows_[first].cache &&
                   rows_[next].position > rows_[next - 1].position) {
                ++next;
            }
            for (std::size_t head = 0; head < model_.heads_per_kv(); head += queries_per_task) {
                attend_neighbours(first, next, kv_head, head);
            }
            first = next;
        }
    }

    /// Rows [first, end) of one sequence, up to queries_per_task heads of a group from `head` on.
    void attend_neighbours(std::size_t first, std::size_t end, std::size_t kv_head, std::size_t head) const noexcept {
        std::array<running_query, queries_per_task> all;
        std::size_t size = 0;
        const std::size_t head_end = std::min(head + queries_per_task, model_.heads_per_kv());
        for (std::size_t r = first; r < end; ++r) {
            for (std::size_t h = head; h < head_end; ++h) {
                all[size++] = {r, (kv_head * model_.heads_per_kv() + h) * model_.head_size, {}};
            }
        }
        const row& last = rows_[end - 1];
        for (std::size_t b = 0; b < last.blocks(); ++b) {
            const auto block = last.cache->block(layer_, kv_head, b * attention_block);
            std::size_t begin = 0;
            while (rows_[all[begin].row].blocks() <= b) {
                ++begin;
            }
            for (; begin < size; begin += attention_tile::most) {
                const std::size_t count = std::min(attention_tile::most, size - begin);
                attend_and_merge(block, b, std::span(all).subspan(begin, count));
            }
        }
        for (const running_query& each : std::span(all).first(size)) {
            P::loops::divide(out_of(each), each.state.sum, model_.head_size);
        }
    }

    /// Block `b` for up to four queries: the first goes to out_, later ones are merged into it.
    void attend_and_merge(const kv_block<typename P::kv_element>& block, std::size_t b,
                          std::span<running_query> some) const noexcept {
        std::array<float, attention_tile::most * largest_head> later;
        attention_tile tile;
        for (const running_query& each : some) {
            float* out = b == 0 ? out_of(each) : later.data() + tile.size * model_.head_size;
            tile.add(query_.row(each.row).data() + each.column, seen(rows_[each.row], b), out);
        }
        attend_tile<P>(block, model_.head_size, tile);
        for (std::size_t i = 0; i < some.size(); ++i) {
            some[i].state =
                b == 0 ? tile.states[i]
                       : P::loops::merge(some[i].state, out_of(some[i]), tile.states[i], tile.out[i], model_.head_size);
        }
    }

    /// The part of one block, counted over all rows, for all heads of a group.
    void attend_part(std::size_t part, std::size_t kv_head) const noexcept {
        std::size_t r = 0;
        std::size_t b = part;
        while (b >= rows_[r].blocks()) {
            b -= rows_[r++].blocks();
        }
        const auto block = rows_[r].cache->block(layer_, kv_head, b * attention_block);
        const std::size_t end = (kv_head + 1) * model_.heads_per_kv();
        for (std::size_t head = kv_head * model_.heads_per_kv(); head < end; head += attention_tile::most) {
            attention_tile tile;
            for (std::size_t h = head; h < std::min(head + attention_tile::most, end); ++h) {
                const std::size_t column = h * model_.head_size;
                tile.add(query_.row(r).data() + column, seen(rows_[r], b), parts_.vector(part) + column);
            }
            attend_tile<P>(block, model_.head_size, tile);
            std::copy_n(tile.states.data(), tile.size, parts_.states(part) + head);
        }
    }

    /// out_ of one row and all heads of a group from the parts of its blocks, ascending.
    void merge_parts(std::size_t r, std::size_t kv_head) const noexcept {
        std::size_t part = 0;
        for (std::size_t earlier = 0; earlier < r; ++earlier) {
            part += rows_[earlier].blocks();
        }
        const std::size_t end = part + rows_[r].blocks();
        for (std::size_t h = 0; h < model_.heads_per_kv(); ++h) {
            const std::size_t head = kv_head * model_.heads_per_kv() + h;
            const std::size_t column = head * model_.head_size;
            float* out = out_.row(r).data() + column;
            std::copy_n(parts_.vector(part) + column, model_.head_size, out);
            softmax_state state = parts_.states(part)[head];
            for (std::size_t later = part + 1; later < end; ++later) {
                state = P::loops::merge(state, out, parts_.states(later)[head], parts_.vector(later) + column,
                                        model_.head_size);
            }
            P::loops::divide(out, state.sum, model_.head_size);
        }
    }

    [[nodiscard]] float* out_of(const running_query& each) const noexcept {
        return out_.row(each.row).data() + each.column;
    }
    /// How many positions of block `b` a row sees.
    [[nodiscard]] static std::size_t seen(const row& each, std::size_t b) noexcept {
        return std::min(attention_block, each.position + 1 - b * attention_block);
    }

    const hyper_parameters& model_;
    std::size_t layer_;
    std::span<const row> rows_;
    matrix_view<float> query_;
    matrix_view<float> out_;
    attention_parts& parts_;
};

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/model/linear.hpp ----
// Ternary linear layers: quantise rows once, multiply them by one or several matrices in one parallel loop.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace bitnet::inline BITNET_ABI {

/// A task takes this many rows of a matrix: 40 to 64 KiB of weights, so that a chunk stays in a first or second level
/// cache while all rows of activations pass it. A multiple of 32, the rows of a pair of AMX tiles.
[[nodiscard]] constexpr std::size_t rows_per_task(std::size_t cols) noexcept {
    constexpr std::size_t bytes_per_task = std::size_t{64} * 1024;
    return cols / 4 * 64 <= bytes_per_task ? 64 : 32;
}

/// The weights of RMSNorms that a row passes one after another before it is quantised. Those that are null are left
/// out.
using norm_chain = std::array<const float*, 2>;

/// One row -> RMSNorms -> int8, zeroed to a multiple of activation_padding. `normed` is working memory [x.size()].
template <policy_type P>
void normalize_and_quantize_row(std::span<const float> x, const norm_chain& norms, float epsilon, float* normed,
                                quantized_rows& out, std::size_t r) noexcept {
    const float* from = x.data();
    for (const float* norm : norms) {
        if (norm != nullptr) {
            P::loops::rms_norm(from, norm, epsilon, x.size(), normed);
            from = normed;
        }
    }
    const row_quantization row = P::loops::quantize(from, x.size(), out.row(r));
    out.scales[r] = row.scale;
    out.sums[r] = row.sum;
    const std::size_t padded = (x.size() + activation_padding - 1) / activation_padding * activation_padding;
    std::memset(out.row(r) + x.size(), 0, padded - x.size());
}

/// x [rows, cols] -> RMSNorms -> int8, in parallel, and arranged where the kernel wants that: a task is one group of
/// rows. `normed` is working memory of at least x.cols columns.
template <policy_type P>
void normalize_and_quantize(typename P::pool& pool, matrix_view<const float> x, const norm_chain& norms, float epsilon,
                            matrix_view<float> normed, quantized_rows& out) noexcept {
    constexpr std::size_t group_rows = tokens_per_group<typename P::ternary>();
    out.used_rows = x.rows;
    parallel_for(pool, (x.rows + group_rows - 1) / group_rows, [&](std::size_t group) noexcept {
        const std::size_t first = group * group_rows;
        const std::size_t end = std::min(first + group_rows, x.rows);
        for (std::size_t r = first; r < end; ++r) {
            normalize_and_quantize_row<P>(x.row(r), norms, epsilon, normed.row(r).data(), out, r);
        }
        if constexpr (arranging_kernel<typename P::ternary>) {
            P::ternary::arrange(out.view(0, x.rows), first, x.cols, out.group(group));
        }
    });
}

/// Rows [first, first + count) of w times every row of x. Calls store(row of x, its scale, products [count]) for each
/// row; a product is worth product * w.scale / scale. \pre count <= 128
template <policy_type P, class Store>
void multiply_rows(const ternary_matrix<typename P::layout>& w, std::size_t first, std::size_t count,
                   const quantized_rows& x, Store&& store) noexcept {
    constexpr std::size_t group = tokens_per_group<typename P::ternary>();
    constexpr std::size_t most_products = 8192; // 32 KiB of stack: 128 tokens of 64 rows
    static_assert(most_products / 128 >= group);
    std::array<std::int32_t, most_products> products;
    const std::size_t most_tokens = most_products / count / group * group;
    for (std::size_t begin = 0; begin < x.used_rows; begin += most_tokens) {
        const std::size_t tokens = std::min(most_tokens, x.used_rows - begin);
        P::ternary::rows(w.codes, first, count, x.view(begin, tokens), products.data(), count);
        for (std::size_t t = 0; t < tokens; ++t) {
            store(begin + t, x.scales[begin + t], products.data() + t * count);
        }
    }
}

/// One matrix and where its products go: out [rows of x, rows of the matrix].
template <class Layout> struct projection {
    const ternary_matrix<Layout>* matrix;
    matrix_view<float> out;
};

/// out = x w^T for several matrices that share their input, in one parallel loop.
template <policy_type P, std::size_t Count>
void project(typename P::pool& pool, const std::array<projection<typename P::layout>, Count>& all,
             const quantized_rows& x) noexcept {
    const std::size_t chunk = rows_per_task(all[0].matrix->cols());
    std::array<std::size_t, Count + 1> task_ends{};
    for (std::size_t i = 0; i < Count; ++i) {
        task_ends[i + 1] = task_ends[i] + (all[i].matrix->rows() + chunk - 1) / chunk;
    }
    parallel_stream(pool, task_ends[Count], [&](std::size_t task) noexcept {
        std::size_t i = 0;
        while (task >= task_ends[i + 1]) {
            ++i;
        }
        const auto& w = *all[i].matrix;
        const std::size_t first = (task - task_ends[i]) * chunk;
        const std::size_t count = std::min(chunk, w.rows() - first);
        multiply_rows<P>(w, first, count, x, [&](std::size_t row, float scale, const std::int32_t* products) noexcept {
            P::loops::dequantize(products, w.scale, scale, count, all[i].out.row(row).data() + first);
        });
    });
}

/// residual += x w^T.
template <policy_type P>
void project_add(typename P::pool& pool, const ternary_matrix<typename P::layout>& w, const quantized_rows& x,
                 matrix_view<float> residual) noexcept {
    const std::size_t chunk = rows_per_task(w.cols());
    parallel_stream(pool, (w.rows() + chunk - 1) / chunk, [&](std::size_t task) noexcept {
        const std::size_t first = task * chunk;
        const std::size_t count = std::min(chunk, w.rows() - first);
        multiply_rows<P>(w, first, count, x, [&](std::size_t row, float scale, const std::int32_t* products) noexcept {
            P::loops::dequantize_add(products, w.scale, scale, count, residual.row(row).data() + first);
        });
    });
}

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/model/transformer.hpp ----
// transformer<P>: one forward pass over a batch of (sequence, position, token), in steps that the caller sequences.

#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// The graph of all model_families:
///
///     x = embedding[token] * embedding_scale
///     each layer: x += post_norm(o(sub_norm(attention(rope(head_norm(q(n))), rope(head_norm(k(n))), v(n)))))
///                 x += post_norm(down(sub_norm(activation(gate(m)) * up(m))))
///                 with n = norm(x) and m = norm(x), which q, k, v, gate and up may norm once more, each its own way
///     logits = head * norm(x)
///
/// Norms other than norm() are where the file has them.
/// Source: Ma et al., "The Era of 1-bit LLMs", 2024; BitNet b1.58 2B4T report, 2025; "BitNet Text Embeddings", 2026.
///
/// Every matrix but embedding and head is ternary and takes its input quantised to int8, row by row.
/// embed(), then layer(0), layer(1), ..., then logits() for the rows that are asked for: no loop over layers in here,
/// so a caller can stop between layers. All steps of a pass use the same rows. Allocates in open() only.
template <policy_type P> class transformer {
public:
    using kv_element = typename P::kv_element;
    using row = sequence_row<kv_element>;
    using pool_type = typename P::pool;

    /// Borrows its arguments but the numbers. \return errc::out_of_memory.
    [[nodiscard]] static result<transformer> open(const hyper_parameters& model,
                                                  const weights<typename P::layout>& weights,
                                                  const rotary_frequencies& frequencies, std::size_t max_rows) {
        auto memory = scratch::open<typename P::ternary>(model, max_rows);
        if (!memory) {
            return std::move(memory).error();
        }
        return transformer(model, weights, frequencies, *std::move(memory));
    }

    [[nodiscard]] std::size_t max_rows() const noexcept { return scratch_.max_rows; }

    /// Starts a pass: looks the tokens up. \pre 1 <= rows.size() <= max_rows(); ids inside the vocabulary; rows of one
    /// sequence have ascending positions and their cache has room. `rows` lives until the pass is over.
    void embed(pool_type& pool, std::span<const row> rows) noexcept {
        assert(!rows.empty() && rows.size() <= max_rows());
        rows_ = rows;
        const dense_matrix& table = weights_->embedding();
        parallel_for(pool, rows.size(), [&](std::size_t r) noexcept {
            float* x = row_of(scratch_.residual, r);
            widen_row<P>(table, static_cast<std::size_t>(rows[r].id), x);
            if (model_->embedding_scale != 1.0f) {
                P::loops::scale(x, model_->embedding_scale, model_->hidden);
            }
            frequencies_->angles(rows[r].position, row_of(scratch_.cosines, r), row_of(scratch_.sines, r));
        });
    }

    /// Runs layer `index` over all rows and stores their keys and values. \pre the layers below have run.
    void layer(pool_type& pool, std::size_t index) noexcept {
        const auto& w = weights_->layer(index);
        query_key_value(pool, w);
        parallel_for(pool, rows_.size(), [&](std::size_t r) noexcept { rotate_and_store(w, index, r); });
        attention<P>(*model_, index, rows_, used(scratch_.query), used(scratch_.attended), scratch_.parts).run(pool);
        quantize(pool, scratch_.attended, {w.attn_sub_norm});
        add_to_residual(pool, w.attn_output, w.post_attention_norm);
        gate_and_up(pool, w);
        quantize(pool, scratch_.gated, {w.ffn_sub_norm});
        add_to_residual(pool, w.ffn_down, w.post_ffw_norm);
    }

    /// Logits of rows `rows[i]` of the pass to out[i] [vocabulary], the same bits as one by one. Reads the head once.
    /// \pre all layers have run; rows.size() == out.size() <= max_rows(); rows below the number of this pass.
    void logits(pool_type& pool, std::span<const std::size_t> rows, std::span<float* const> out) noexcept {
        assert(rows.size() == out.size() && rows.size() <= max_rows());
        parallel_for(pool, rows.size(), [&](std::size_t i) noexcept {
            P::loops::rms_norm(row_of(scratch_.residual, rows[i]), weights_->output_norm(), model_->rms_epsilon,
                               model_->hidden, row_of(scratch_.normed, i));
        });
        const float_rows& normed = scratch_.normed;
        head_products<P>(pool, weights_->head(), {normed.values.data(), rows.size(), model_->hidden, normed.cols}, out);
    }
    /// The same for one row.
    void logits(pool_type& pool, std::size_t row_index, std::span<float> out) noexcept {
        float* const to = out.data();
        logits(pool, {&row_index, 1}, {&to, 1});
    }

    /// The hidden state [hidden] of one row behind the last norm: what the head multiplies. Valid until the next call.
    [[nodiscard]] const float* final_state(std::size_t row_index) noexcept {
        float* x = row_of(scratch_.normed, 0);
        P::loops::rms_norm(row_of(scratch_.residual, row_index), weights_->output_norm(), model_->rms_epsilon,
                           model_->hidden, x);
        return x;
    }

    /// The same scaled to length one. Source: the pooling of Qwen3-Embedding and BitNet's embedding models.
    [[nodiscard]] const float* embedding(std::size_t row_index) noexcept {
        P::loops::normalize(final_state(row_index), model_->hidden, row_of(scratch_.normed, 0));
        return row_of(scratch_.normed, 0);
    }

private:
    transformer(const hyper_parameters& model, const weights<typename P::layout>& weights,
                const rotary_frequencies& frequencies, scratch memory)
        : model_(&model), weights_(&weights), frequencies_(&frequencies), scratch_(std::move(memory)) {}

    using layer_type = layer_weights<typename P::layout>;
    using matrix_type = ternary_matrix<typename P::layout>;

    [[nodiscard]] matrix_view<float> used(float_rows& all) const noexcept { return all.first(rows_.size()); }
    [[nodiscard]] static float* row_of(float_rows& all, std::size_t r) noexcept {
        return all.values.data() + r * all.cols;
    }

    /// Norms and quantises all rows of x for the products that follow.
    void quantize(pool_type& pool, float_rows& x, const norm_chain& norms) noexcept {
        normalize_and_quantize<P>(pool, used(x), norms, model_->rms_epsilon, used(scratch_.normed), scratch_.quantized);
    }

    void query_key_value(pool_type& pool, const layer_type& w) noexcept {
        const projection<typename P::layout> query{&w.attn_q, used(scratch_.query)};
        const projection<typename P::layout> key{&w.attn_k, used(scratch_.key)};
        const projection<typename P::layout> value{&w.attn_v, used(scratch_.value)};
        quantize(pool, scratch_.residual, {w.attn_norm, w.attn_q_norm_in});
        if (!w.has_own_qkv_inputs()) {
            return project<P, 3>(pool, {{query, key, value}}, scratch_.quantized);
        }
        project<P, 1>(pool, {{query}}, scratch_.quantized);
        quantize(pool, scratch_.residual, {w.attn_norm, w.attn_k_norm_in});
        project<P, 1>(pool, {{key}}, scratch_.quantized);
        quantize(pool, scratch_.residual, {w.attn_norm, w.attn_v_norm_in});
        project<P, 1>(pool, {{value}}, scratch_.quantized);
    }

    void rotate_and_store(const layer_type& w, std::size_t layer, std::size_t r) noexcept {
        rotate_heads(row_of(scratch_.query, r), model_->heads, w.attn_q_norm, r);
        rotate_heads(row_of(scratch_.key, r), model_->kv_heads, w.attn_k_norm, r);
        rows_[r].cache->template store<typename P::loops>(layer, rows_[r].position, row_of(scratch_.key, r),
                                                          row_of(scratch_.value, r));
    }

    /// Norms, where there is a norm, and rotates the heads of row `r` in place.
    void rotate_heads(float* head, std::size_t count, const float* norm, std::size_t r) noexcept {
        const float* cosines = row_of(scratch_.cosines, r);
        const float* sines = row_of(scratch_.sines, r);
        for (const float* end = head + count * model_->head_size; head != end; head += model_->head_size) {
            if (norm != nullptr) {
                P::loops::rms_norm(head, norm, model_->rms_epsilon, model_->head_size, head);
            }
            if (model_->pairing == rotary_pairing::interleaved) {
                split_neighbours(head, row_of(scratch_.normed, r));
            }
            P::loops::rotate(head, cosines, sines, frequencies_->pairs());
        }
    }

    /// Columns 2 j and 2 j + 1 of a head to j and j + head_size / 2, where a checkpoint has them that was not permuted:
    /// with the order of the columns, the sums of attention are the same too.
    void split_neighbours(float* head, float* spare) noexcept {
        const std::size_t pairs = frequencies_->pairs();
        std::copy_n(head, 2 * pairs, spare);
        for (std::size_t j = 0; j < pairs; ++j) {
            head[j] = spare[2 * j];
            head[j + pairs] = spare[2 * j + 1];
        }
    }

    /// residual += norm(x w^T), x being what was quantised last; without a norm in one go.
    void add_to_residual(pool_type& pool, const matrix_type& w, const float* norm) noexcept {
        if (norm == nullptr) {
            return project_add<P>(pool, w, scratch_.quantized, used(scratch_.residual));
        }
        project<P, 1>(pool, {{{&w, used(scratch_.normed)}}}, scratch_.quantized);
        parallel_for(pool, rows_.size(), [&](std::size_t r) noexcept {
            float* products = row_of(scratch_.normed, r);
            P::loops::rms_norm(products, norm, model_->rms_epsilon, model_->hidden, products);
            P::loops::add(products, model_->hidden, row_of(scratch_.residual, r));
        });
    }

    /// gated = activation(x gate^T) * (x up^T), where both have the same x: both products of a chunk by one task,
    /// joined while still in cache.
    void gate_and_up(pool_type& pool, const layer_type& w) noexcept {
        quantize(pool, scratch_.residual, {w.ffn_norm, w.ffn_gate_norm_in});
        const bool shares_input = !w.has_own_ffn_inputs();
        const std::size_t cols = model_->feed_forward;
        const std::size_t chunk = rows_per_task(w.ffn_gate.cols());
        const std::size_t tasks = (cols + chunk - 1) / chunk;
        parallel_stream(pool, tasks, [&](std::size_t task) noexcept {
            const std::size_t first = task * chunk;
            const std::size_t count = std::min(chunk, cols - first);
            multiply_gate(w.ffn_gate, first, count);
            if (shares_input) {
                multiply_up(w.ffn_up, first, count);
            }
        });
        if (shares_input) {
            return;
        }
        quantize(pool, scratch_.residual, {w.ffn_norm, w.ffn_up_norm_in});
        parallel_stream(pool, tasks, [&](std::size_t task) noexcept {
            const std::size_t first = task * chunk;
            multiply_up(w.ffn_up, first, std::min(chunk, cols - first));
        });
    }

    /// Columns [first, first + count) of gated = x gate^T
    void multiply_gate(const matrix_type& gate, std::size_t first, std::size_t count) noexcept {
        multiply_rows<P>(gate, first, count, scratch_.quantized,
                         [&](std::size_t r, float scale, const std::int32_t* products) noexcept {
                             P::loops::dequantize(products, gate.scale, scale, count,
                                                  row_of(scratch_.gated, r) + first);
                         });
    }
    /// The same columns of gated = activation(gated) * (x up^T)
    void multiply_up(const matrix_type& up, std::size_t first, std::size_t count) noexcept {
        multiply_rows<P>(up, first, count, scratch_.quantized,
                         [&](std::size_t r, float scale, const std::int32_t* products) noexcept {
                             std::array<float, 128> factors; // rows_per_task() at most
                             P::loops::dequantize(products, up.scale, scale, count, factors.data());
                             activate(row_of(scratch_.gated, r) + first, factors.data(), count);
                         });
    }

    void activate(float* gate, const float* up, std::size_t n) const noexcept {
        switch (model_->activation) {
        case activation_function::relu2:
            return P::loops::relu2_times(gate, up, n, gate);
        case activation_function::silu:
            return P::loops::silu_times(gate, up, n, gate);
        case activation_function::gelu:
            return P::loops::gelu_times(gate, up, n, gate);
        }
    }

    const hyper_parameters* model_;
    const weights<typename P::layout>* weights_;
    const rotary_frequencies* frequencies_;
    scratch scratch_;
    std::span<const row> rows_;
};

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/run/any_model.hpp ----
// any_model and any_session: models and sessions of whichever policy this machine can run, as plain types.

// ---- bitnet/run/dispatch.hpp ----
// Choosing a policy at run time: with_first_available, ladder, any_cpu.

#include <array>
#include <cstddef>
#include <string_view>
#include <type_traits>

namespace bitnet::inline BITNET_ABI {

/// Calls f.operator()<P>() for the first P of the list whose instruction set this machine has. Dispatch once, at the
/// top: below the call everything is static.
///
///     bitnet::with_first_available<wide, any>([&]<class P>() { run<P>(argv[1]); });
///
/// \return whether there was one. A list that ends in a scalar policy always has one.
template <policy_type First, policy_type... Rest, class F> bool with_first_available(F&& f) {
    if (First::isa::available()) {
        f.template operator()<First>();
        return true;
    }
    if constexpr (sizeof...(Rest) != 0) {
        return with_first_available<Rest...>(f);
    } else {
        return false;
    }
}

/// A list of policies, the fastest first.
template <policy_type... P> struct ladder {
    template <class L> using with_layout = ladder<typename P::template with_layout<L>...>;
    template <class E> using with_kv = ladder<typename P::template with_kv<E>...>;
    template <class T> using with_pool = ladder<typename P::template with_pool<T>...>;

    /// Names of the instruction sets, in order.
    static constexpr std::array<std::string_view, sizeof...(P)> names = {P::isa::name...};

    /// with_first_available over the list.
    template <class F> static bool with_first_available(F&& f) { return bitnet::with_first_available<P...>(f); }

    /// Calls f.operator()<Q>() for the policy of that instruction set. \return whether it is in the list.
    template <class F> static bool with_isa(std::string_view name, F&& f) {
        return ((P::isa::name == name && (f.template operator()<P>(), true)) || ...);
    }
};

/// Ternary layouts to choose from by name at run time. Each is a template argument, so each costs an instantiation of
/// what `f` uses:
///
///     bitnet::all_layouts::with_layout("dense", [&]<class L>() { run<bitnet::any_cpu::with_layout<L>>(argv[1]); });
template <ternary_layout... L> struct layout_list {
    static constexpr std::array<std::string_view, sizeof...(L)> names = {L::name...};

    /// Calls f.operator()<Layout>() for the layout of that name. \return whether it is in the list.
    template <class F> static bool with_layout(std::string_view name, F&& f) {
        return ((L::name == name && (f.template operator()<L>(), true)) || ...);
    }
};

/// Every layout that has kernels for every instruction set.
using all_layouts = layout_list<i2s, dense, tl1, tl2>;

/// Every kernel that exists for this architecture, the fastest first, scalar last: runs on any CPU, needs no -m flag.
#if BITNET_X86_64
using any_cpu = ladder<policy<isa::amx_int8>, policy<isa::avx512_vnni>, policy<isa::avx_vnni>, policy<isa::avx2>,
                       policy<isa::scalar>>;
#else
using any_cpu = ladder<policy<isa::scalar>>;
#endif

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/run/model.hpp ----
// model<P>: an opened model file: hyper-parameters, tokenizer and weights. Immutable, shared by any number of sessions.

// ---- bitnet/text/tokenizer.hpp ----
// tokenizer: text to tokens and back, for byte-level models (GPT-2 and after) and SentencePiece's.

// ---- bitnet/text/byte_pair_encoding.hpp ----
// Byte pair encoding of one piece of text: from its bytes on, neighbours merge, lowest rank first, leftmost on ties.

// ---- bitnet/text/merge_table.hpp ----
// merge_table: which two neighbouring tokens may become one, and how early.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// What two neighbours become. Lower ranks go first.
struct merge {
    static constexpr std::uint32_t never = std::numeric_limits<std::uint32_t>::max();
    std::uint32_t rank = never;
    token whole = no_token;
};

/// (left, right) -> merge: a flat hash table, at most two thirds full, linear probing, 16 bytes per slot so that a
/// probe costs one cache line.
class merge_table {
public:
    /// \return errc::out_of_memory with the bytes asked for.
    [[nodiscard]] static result<merge_table> allocate(std::uint64_t count) {
        auto slots = buffer<slot>::allocate(std::bit_ceil(count + count / 2 + 2), "merge table");
        if (!slots) {
            return std::move(slots).error();
        }
        merge_table made;
        made.slots_ = *std::move(slots);
        return made;
    }

    /// Adds a pair. \pre `made.rank` < merge::never, and allocate() was told of at least as many pairs
    [[nodiscard]] token_index::outcome insert(token left, token right, merge made) noexcept {
        const std::size_t mask = slots_.size() - 1;
        const std::size_t home = home_of(left, right);
        for (std::size_t probe = 0; probe < longest_probe; ++probe) {
            slot& s = slots_[(home + probe) & mask];
            if (s.rank_plus_one == 0) {
                s = {left, right, made.rank + 1, made.whole};
                return token_index::outcome::inserted;
            }
            if (s.left == left && s.right == right) {
                return token_index::outcome::duplicate;
            }
        }
        return token_index::outcome::crowded;
    }

    /// The merge of two neighbours; {merge::never, no_token} where they have none.
    [[nodiscard]] merge find(token left, token right) const noexcept {
        const std::size_t mask = slots_.size() - 1;
        for (std::size_t i = home_of(left, right) & mask;; i = (i + 1) & mask) {
            const slot& s = slots_[i];
            if (s.rank_plus_one == 0) { // never full: every probe ends here
                return {};
            }
            if (s.left == left && s.right == right) {
                return {s.rank_plus_one - 1, s.whole};
            }
        }
    }

private:
    struct slot {
        token left;
        token right;
        std::uint32_t rank_plus_one; ///< 0: free
        token whole;
    };

    [[nodiscard]] static std::size_t home_of(token left, token right) noexcept {
        const auto low = static_cast<std::uint64_t>(static_cast<std::uint32_t>(right));
        std::uint64_t key = (static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32) | low;
        key *= 0x9e3779b97f4a7c15u; // 2^64 divided by the golden ratio: an odd number without pattern
        key = (key ^ (key >> 32)) * 0x9e3779b97f4a7c15u;
        return static_cast<std::size_t>(key >> 32);
    }

    buffer<slot> slots_;
};

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/text/token_merging.hpp ----
// token_merging: neighbours among tokens merge, lowest rank first, leftmost on ties: the core of all BPE models.

#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI {

/// Merges the tokens of single bytes or characters into those of words. Immutable: any number of threads may use it at
/// a time.
class token_merging {
public:
    explicit token_merging(merge_table merges) noexcept : merges_(std::move(merges)) {}

    /// The most symbols that run() takes: positions are kept in 32 bits.
    static constexpr std::size_t longest_run = std::numeric_limits<std::uint32_t>::max() - 1;

    /// Merges tokens[first], tokens[first + 1], ... where they are, and shortens `tokens` accordingly.
    /// \pre first <= tokens.size(), and no more than longest_run follow
    /// Cost for n symbols: O(n log n); runs of more than 64 symbols allocate 36 n bytes for the time of the call.
    /// \return errc::out_of_memory with the bytes asked for.
    [[nodiscard]] result<void> run(std::vector<token>& tokens, std::size_t first) const {
        assert(first <= tokens.size() && tokens.size() - first <= longest_run);
        const std::span<token> symbols = std::span(tokens).subspan(first);
        if (symbols.size() <= short_run) {
            tokens.resize(first + merge_short(symbols));
            return {};
        }
        auto merged = merge_long(symbols);
        if (!merged) {
            return std::move(merged).error();
        }
        tokens.resize(first + *merged);
        return {};
    }

private:
    /// Up to here, finding the lowest rank by looking at all of them beats a heap.
    static constexpr std::size_t short_run = 64;

    /// \return how many are left
    [[nodiscard]] std::size_t merge_short(std::span<token> ids) const noexcept {
        std::array<merge, short_run> pairs; // pairs[i] merges ids[i] and ids[i + 1]
        std::size_t count = ids.size();
        for (std::size_t i = 0; i + 1 < count; ++i) {
            pairs[i] = merges_.find(ids[i], ids[i + 1]);
        }
        while (count > 1) {
            const auto first = pairs.begin();
            const auto last = first + static_cast<std::ptrdiff_t>(count - 1);
            const auto lowest = static_cast<std::size_t>(
                std::min_element(first, last, [](const auto& a, const auto& b) { return a.rank < b.rank; }) - first);
            if (pairs[lowest].rank == merge::never) {
                break;
            }
            ids[lowest] = pairs[lowest].whole;
            --count;
            for (std::size_t i = lowest + 1; i < count; ++i) {
                ids[i] = ids[i + 1];
                pairs[i - 1] = pairs[i];
            }
            if (lowest > 0) {
                pairs[lowest - 1] = merges_.find(ids[lowest - 1], ids[lowest]);
            }
            if (lowest + 1 < count) {
                pairs[lowest] = merges_.find(ids[lowest], ids[lowest + 1]);
            }
        }
        return count;
    }

    /// A token of a long run, in a doubly linked list; its place in the array is that of its first symbol.
    struct node {
        token id;
        std::uint32_t previous;
        std::uint32_t next;
        merge pair; ///< with the next one
    };
    static constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();

    /// A heap of (rank, position): the lowest rank, and of equal ones the leftmost, is on top. Entries are not removed
    /// when their pair disappears; one counts only while its node still has a pair of that rank.
    class queue {
    public:
        explicit queue(buffer<std::uint64_t> room) noexcept : room_(std::move(room)) {}

        void add(std::uint32_t rank, std::uint32_t position) noexcept {
            if (rank != merge::never) {
                assert(size_ < room_.size());
                room_[size_++] = (std::uint64_t{rank} << 32) | position;
            }
        }
        void arrange() noexcept { std::make_heap(room_.data(), room_.data() + size_, later); }
        void push(std::uint32_t rank, std::uint32_t position) noexcept {
            const std::size_t before = size_;
            add(rank, position);
            if (size_ != before) {
                std::push_heap(room_.data(), room_.data() + size_, later);
            }
        }
        [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
        std::uint64_t pop() noexcept {
            std::pop_heap(room_.data(), room_.data() + size_, later);
            return room_[--size_];
        }

    private:
        static constexpr auto later = [](std::uint64_t a, std::uint64_t b) { return a > b; };

        buffer<std::uint64_t> room_;
        std::size_t size_ = 0;
    };

    /// \return how many are left
    [[nodiscard]] result<std::size_t> merge_long(std::span<token> symbols) const {
        auto allocated = buffer<node>::allocate(symbols.size(), "merging a long piece of text");
        if (!allocated) {
            return std::move(allocated).error();
        }
        // One entry per pair at first, fewer than n. A merge takes one out and puts two in; there are fewer than n.
        auto room = buffer<std::uint64_t>::allocate(2 * std::uint64_t{symbols.size()}, "merging a long piece of text");
        if (!room) {
            return std::move(room).error();
        }
        buffer<node>& nodes = *allocated;
        queue candidates(*std::move(room));
        link(symbols, nodes, candidates);
        while (!candidates.empty()) {
            const std::uint64_t top = candidates.pop();
            const auto position = static_cast<std::uint32_t>(top);
            if (nodes[position].pair.rank == static_cast<std::uint32_t>(top >> 32)) {
                merge_with_next(nodes, position, candidates);
            }
        }
        std::size_t count = 0;
        for (std::uint32_t i = 0; i != none; i = nodes[i].next) {
            symbols[count++] = nodes[i].id;
        }
        return count;
    }

    void link(std::span<const token> symbols, buffer<node>& nodes, queue& candidates) const noexcept {
        const auto count = static_cast<std::uint32_t>(symbols.size());
        for (std::uint32_t i = 0; i < count; ++i) {
            nodes[i] = {symbols[i], i == 0 ? none : i - 1, i + 1 == count ? none : i + 1, {}};
        }
        for (std::uint32_t i = 0; i + 1 < count; ++i) {
            nodes[i].pair = merges_.find(nodes[i].id, nodes[i + 1].id);
            candidates.add(nodes[i].pair.rank, i);
        }
        candidates.arrange();
    }

    void merge_with_next(buffer<node>& nodes, std::uint32_t position, queue& candidates) const noexcept {
        node& left = nodes[position];
        node& right = nodes[left.next];
        left.id = left.pair.whole;
        left.next = right.next;
        right.pair = {}; // entries for it in the queue count no more
        left.pair = {};
        if (left.next != none) {
            nodes[left.next].previous = position;
            left.pair = merges_.find(left.id, nodes[left.next].id);
            candidates.push(left.pair.rank, position);
        }
        if (left.previous != none) {
            node& before = nodes[left.previous];
            before.pair = merges_.find(before.id, left.id);
            candidates.push(before.pair.rank, left.previous);
        }
    }

    merge_table merges_;
};

} // namespace bitnet::inline BITNET_ABI

#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI {

/// Turns bytes into tokens by merging. Immutable: any number of threads may encode at a time.
class byte_pair_encoding {
public:
    /// `byte_tokens[b]` is the token of the single byte b, or no_token.
    byte_pair_encoding(const std::array<token, 256>& byte_tokens, merge_table merges) noexcept
        : byte_tokens_(byte_tokens), merging_(std::move(merges)),
          complete_(std::find(byte_tokens.begin(), byte_tokens.end(), no_token) == byte_tokens.end()) {}

    /// The longest piece that encode() takes.
    static constexpr std::size_t longest_piece = std::numeric_limits<std::int32_t>::max();

    /// Appends the tokens of `piece` to `out`. \pre piece.size() <= longest_piece
    /// Cost for n bytes: O(n log n); pieces of more than 64 bytes allocate 36 n bytes for the time of the call.
    /// \return errc::invalid_argument for a byte that has no token; errc::out_of_memory with the bytes asked for.
    [[nodiscard]] result<void> encode(std::string_view piece, std::vector<token>& out) const {
        assert(piece.size() <= longest_piece);
        if (!complete_) {
            if (auto possible = check_bytes(piece); !possible) {
                return possible;
            }
        }
        const std::size_t first = out.size();
        out.resize(first + piece.size());
        std::transform(piece.begin(), piece.end(), out.data() + first, [this](char byte) { return token_of(byte); });
        return merging_.run(out, first);
    }

private:
    [[nodiscard]] token token_of(char byte) const noexcept { return byte_tokens_[static_cast<unsigned char>(byte)]; }

    [[nodiscard]] result<void> check_bytes(std::string_view piece) const {
        for (const char byte : piece) {
            if (token_of(byte) == no_token) {
                return error{errc::invalid_argument, "the text holds byte " +
                                                         std::to_string(static_cast<unsigned char>(byte)) +
                                                         ", for which the vocabulary has no token"};
            }
        }
        return {};
    }

    std::array<token, 256> byte_tokens_;
    token_merging merging_;
    bool complete_; ///< every byte has a token
};

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/text/merge_list.hpp ----
// read_merges: the merges of a model, from a GGUF file, every one of them checked.

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// Reads tokenizer.ggml.merges: "LEFT RIGHT" as the vocabulary spells normal tokens, in the order of their ranks, into
/// a table. Use read_merges().
class merge_reader {
public:
    merge_reader(const gguf_file& file, const vocabulary& tokens) noexcept : file_(file), tokens_(tokens) {}

    [[nodiscard]] result<merge_table> run() {
        const auto list = need_array(file_, key, gguf_type::string);
        if (!list) {
            return error{list.error()};
        }
        if ((*list)->count >= merge::never) {
            return bad_vocabulary(file_, key,
                                  "has " + std::to_string((*list)->count) + " elements, fewer than " +
                                      std::to_string(merge::never) + " are possible");
        }
        auto table = merge_table::allocate((*list)->count);
        if (!table) {
            return table;
        }
        std::uint32_t rank = 0;
        for (const std::string_view text : (*list)->strings()) {
            if (auto done = add(*table, text, rank); !done) {
                return std::move(done).error();
            }
            ++rank;
        }
        return table;
    }

private:
    static constexpr std::string_view key = "tokenizer.ggml.merges";

    [[nodiscard]] result<void> add(merge_table& table, std::string_view text, std::uint32_t rank) {
        const std::size_t space = text.find(' ');
        if (space == std::string_view::npos || text.size() > 4 * vocabulary::longest_token) {
            return bad_vocabulary(file_, key, rank,
                                  "is " + quoted_name(text) + ", not two tokens with one space between");
        }
        const std::string_view left = text.substr(0, space);
        const std::string_view right = text.substr(space + 1);
        // The halves are decoded next to each other: together they are the bytes of the whole.
        const auto left_size = tokens_.decode_normal(left, bytes_.data());
        const auto right_size = left_size ? tokens_.decode_normal(right, bytes_.data() + *left_size) : std::nullopt;
        if (!right_size) {
            return missing(text, rank, left_size ? right : left);
        }
        const token left_id = tokens_.find({bytes_.data(), *left_size});
        const token right_id = tokens_.find({bytes_.data() + *left_size, *right_size});
        if (left_id == no_token || right_id == no_token) {
            return missing(text, rank, left_id == no_token ? left : right);
        }
        const token whole = tokens_.find({bytes_.data(), *left_size + *right_size});
        if (whole == no_token) {
            return missing(text, rank, std::string(left).append(right));
        }
        return insert(table, text, left_id, right_id, {rank, whole});
    }

    [[nodiscard]] result<void> insert(merge_table& table, std::string_view text, token left, token right, merge made) {
        switch (table.insert(left, right, made)) {
        case token_index::outcome::duplicate:
            return bad_vocabulary(file_, key, made.rank,
                                  "is " + quoted_name(text) + ", which element " +
                                      std::to_string(table.find(left, right).rank) + " is too");
        case token_index::outcome::crowded:
            return bad_vocabulary(file_, key, made.rank,
                                  "collides with more than " + std::to_string(longest_probe) + " other merges");
        default:
            return {};
        }
    }

    [[nodiscard]] error missing(std::string_view text, std::uint32_t rank, std::string_view part) const {
        return bad_vocabulary(file_, key, rank,
                              "is " + quoted_name(text) + ", but " + quoted_name(part) + " is none of the " +
                                  std::to_string(tokens_.size()) + " tokens");
    }

    const gguf_file& file_;
    const vocabulary& tokens_;
    std::array<char, 4 * vocabulary::longest_token> bytes_{}; ///< no text that decodes is longer than its spelling
};

/// The merges of `file` between tokens of `tokens`. Cost: three look-ups per merge, memory 24 to 48 bytes per merge.
/// \return errc::missing_key; errc::bad_vocabulary (no two halves, a half or the whole that is no token, a merge
/// twice); errc::out_of_memory. tests/text/vocabulary_test.cpp has one of each.
[[nodiscard]] inline result<merge_table> read_merges(const gguf_file& file, const vocabulary& tokens) {
    return merge_reader(file, tokens).run();
}

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/text/sentence_piece.hpp ----
// sentence_piece_encoding: text to tokens as SentencePiece's BPE models do (LLaMA-2, Gemma, Phi-3).

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI {

/// The merges of a SentencePiece vocabulary, from its scores: two tokens merge where their bytes together are a third,
/// the best score first. So every way to cut a token into two tokens is one merge. Use read_scores().
class score_reader {
public:
    score_reader(const gguf_file& file, const vocabulary& tokens) noexcept : file_(file), tokens_(tokens) {}

    [[nodiscard]] result<merge_table> run() {
        if (auto done = read(); !done) {
            return std::move(done).error();
        }
        std::uint64_t count = 0;
        for (token id = 0; tokens_.contains(id); ++id) {
            for_each_cut(id, [&count](token, token) { return ++count != 0; });
        }
        auto table = merge_table::allocate(count);
        if (!table) {
            return table;
        }
        for (token id = 0; tokens_.contains(id); ++id) {
            const merge made{rank_of(id), id};
            const bool fits = for_each_cut(id, [&](token left, token right) {
                return table->insert(left, right, made) != token_index::outcome::crowded;
            });
            if (!fits) {
                return bad_vocabulary(file_, "tokenizer.ggml.tokens", static_cast<std::uint64_t>(id),
                                      "collides with more than " + std::to_string(longest_probe) + " other merges");
            }
        }
        return table;
    }

private:
    static constexpr std::string_view key = "tokenizer.ggml.scores";

    [[nodiscard]] result<void> read() {
        const auto found = need_array(file_, key, gguf_type::f32);
        if (!found) {
            return error{found.error()};
        }
        scores_ = *found; // of as many elements as there are tokens: vocabulary::open() has checked that
        for (std::uint64_t i = 0; i < scores_->count; ++i) {
            const auto bits = std::bit_cast<std::uint32_t>(scores_->element<float>(i));
            if ((bits & 0x7f800000u) == 0x7f800000u) {
                return bad_vocabulary(file_, key, i, "is not a finite number");
            }
        }
        return {};
    }

    /// Lower for better scores: the bits of floats, turned so that their order as integers is that of the numbers,
    /// upside down. -0 ranks with 0. Below merge::never, which would be a NaN.
    [[nodiscard]] std::uint32_t rank_of(token id) const noexcept {
        const auto bits = std::bit_cast<std::uint32_t>(scores_->element<float>(static_cast<std::uint64_t>(id)));
        constexpr std::uint32_t sign = 0x80000000u;
        return bits > sign ? bits : 0x7fffffffu - (bits & ~sign);
    }

    /// Calls `use(left, right)` for every cut of a token that merging can make into two such tokens, as long as it
    /// returns true. \return whether it did so to the end
    template <class Use> bool for_each_cut(token id, Use use) const {
        const std::string_view bytes = tokens_.bytes_of(id);
        if (tokens_.find(bytes) != id) {
            return true;
        }
        for (std::size_t i = 1; i < bytes.size(); ++i) {
            const token left = tokens_.find(bytes.substr(0, i));
            const token right = left != no_token ? tokens_.find(bytes.substr(i)) : no_token;
            if (right != no_token && !use(left, right)) {
                return false;
            }
        }
        return true;
    }

    const gguf_file& file_;
    const vocabulary& tokens_;
    const gguf_value* scores_ = nullptr;
};

/// The merges between tokens of `tokens` that the scores of `file` ask for. Cost: two look-ups per byte of the tokens,
/// memory 24 to 48 bytes per merge.
/// \return errc::missing_key; errc::bad_vocabulary (scores that are no floats or not finite); errc::out_of_memory.
[[nodiscard]] inline result<merge_table> read_scores(const gguf_file& file, const vocabulary& tokens) {
    return score_reader(file, tokens).run();
}

/// Turns text into tokens: its characters, spaces as U+2581, merge by score (or by the ranks of a merges list, where a
/// file has one); a character without token becomes the tokens of its bytes. Immutable.
class sentence_piece_encoding {
public:
    /// \param tokens opened with token_spelling::sentence_piece; every call needs the same.
    /// \return as read_scores() or read_merges(); errc::bad_vocabulary where a byte or the space has no token.
    [[nodiscard]] static result<sentence_piece_encoding> open(const gguf_file& file, const vocabulary& tokens) {
        sentence_piece_encoding made;
        if (auto known = made.find_characters(file, tokens); !known) {
            return std::move(known).error();
        }
        auto merges =
            file.find("tokenizer.ggml.merges") != nullptr ? read_merges(file, tokens) : read_scores(file, tokens);
        if (!merges) {
            return std::move(merges).error();
        }
        made.merging_ = token_merging(*std::move(merges));
        made.words_apart_ = are_words_apart(tokens);
        return made;
    }

    /// Appends the tokens of `text` to `out`, behind a space if `space_in_front`.
    /// Cost for n bytes: O(n log n); words of more than 64 characters allocate 36 bytes per character for the time of
    /// the call. Where tokens span words, the whole text counts as one word.
    /// \pre text.size() < token_merging::longest_run
    /// \return errc::out_of_memory with the bytes asked for.
    [[nodiscard]] result<void> encode(const vocabulary& tokens, std::string_view text, bool space_in_front,
                                      std::vector<token>& out) const {
        std::size_t word = out.size();
        if (space_in_front) {
            out.push_back(space_);
        }
        for (std::size_t i = 0; i < text.size();) {
            const std::size_t size = character_size(text, i);
            const bool space = is_space(text.substr(i, size));
            if (space && words_apart_ && out.size() != word && out.back() != space_) {
                if (auto merged = merging_.run(out, word); !merged) {
                    return merged;
                }
                word = out.size();
            }
            append(tokens, space ? std::string_view(" ") : text.substr(i, size), out);
            i += size;
        }
        return merging_.run(out, word);
    }

private:
    sentence_piece_encoding() noexcept : merging_(merge_table{}) {}

    [[nodiscard]] static std::size_t character_size(std::string_view text, std::size_t i) noexcept {
        return static_cast<unsigned char>(text[i]) < 0x80 ? 1 : first_code_point(text.substr(i)).size;
    }
    [[nodiscard]] static bool is_space(std::string_view character) noexcept {
        return character == " " || character == vocabulary::space_mark;
    }

    void append(const vocabulary& tokens, std::string_view character, std::vector<token>& out) const {
        const auto first = static_cast<unsigned char>(character[0]);
        const token id = first < ascii_.size() ? ascii_[first] : tokens.find(character);
        if (id != no_token) {
            out.push_back(id);
            return;
        }
        for (const char byte : character) {
            out.push_back(bytes_[static_cast<unsigned char>(byte)]);
        }
    }

    [[nodiscard]] result<void> find_characters(const gguf_file& file, const vocabulary& tokens) {
        bytes_ = tokens.byte_tokens();
        for (std::size_t byte = 0; byte < bytes_.size(); ++byte) {
            if (bytes_[byte] == no_token) {
                return bad_vocabulary(file, "tokenizer.ggml.tokens",
                                      "has no token of type 6 for byte " + std::to_string(byte) + " among its " +
                                          std::to_string(tokens.size()));
            }
        }
        for (std::size_t c = 0; c < ascii_.size(); ++c) {
            const char text = static_cast<char>(c);
            ascii_[c] = tokens.find({&text, 1});
        }
        space_ = ascii_[' '];
        if (space_ == no_token) {
            return bad_vocabulary(file, "tokenizer.ggml.tokens",
                                  "has no token for the space (U+2581) among its " + std::to_string(tokens.size()));
        }
        return {};
    }

    /// Whether no token has a space behind another character: then no merge goes on over the start of a word.
    [[nodiscard]] static bool are_words_apart(const vocabulary& tokens) noexcept {
        for (token id = 0; tokens.contains(id); ++id) {
            const std::string_view bytes = tokens.bytes_of(id);
            const std::size_t word = bytes.find_first_not_of(' ');
            if (word != std::string_view::npos && bytes.find(' ', word) != std::string_view::npos &&
                tokens.find(bytes) == id) {
                return false;
            }
        }
        return true;
    }

    token_merging merging_;
    std::array<token, 256> bytes_{}; ///< of the bytes of characters without token
    std::array<token, 128> ascii_{}; ///< of the ASCII characters, or no_token
    token space_ = no_token;
    bool words_apart_ = false;
};

} // namespace bitnet::inline BITNET_ABI

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace bitnet::inline BITNET_ABI {

struct tokenizer_options {
    /// One of pre_tokenizer_names, used instead of what the file says; empty: the file decides. Byte-level models only.
    std::string_view pre_tokenizer = {};
};

struct encode_options {
    /// Whether control tokens that stand in the text, such as <|eot_id|>, become those tokens. Off: they are text like
    /// any other, which is what a user's own words have to be.
    bool parse_special = false;
    /// Whether the text goes on where other text ended. Only SentencePiece models that put a space in front of text
    /// care: then they do not.
    bool follows_text = false;
};

struct decode_options {
    /// Whether the tokens go on where others ended, such as a prompt. Only SentencePiece models that put a space in
    /// front of text care: then a space at the start is kept, otherwise one is taken away.
    bool follows_text = false;
};

/// Which splitter is in use, and how that was decided.
struct pre_tokenizer_choice {
    std::string name;      ///< as a file would spell it, "llama-bpe"; "none" for SentencePiece
    bool inferred = false; ///< the file names none; the vocabulary tells
    std::string why;       ///< a sentence for people
};

/// Control tokens that end an answer wherever they exist, whatever a file's keys say.
inline constexpr std::array<std::string_view, 5> stop_spellings{"<|end_of_text|>", "<|endoftext|>", "<|im_end|>",
                                                                "<end_of_turn>", "<|end|>"};

/// Text to tokens and back. Owns its tables: the file may go once it is open. Immutable: any number of threads may use
/// it at a time. Move-only.
///
/// encode() takes any bytes: those that are not UTF-8 count as characters of no class, one by one. With byte-level
/// models decode(encode(x)) is x for every x. (Only a vocabulary without tokens for some bytes makes encode() fail on
/// these; LLaMA-3 has all.) SentencePiece cannot tell U+2581 from a space, and one that puts a space in front of text
/// does so behind control and user-defined tokens too, as llama.cpp and SentencePiece do; all other text comes back as
/// it was.
class tokenizer {
public:
    /// Reads all tokenizer.ggml.* keys that it uses.
    /// Cost for LLaMA-3's 128,256 tokens and 280,147 merges: one pass over 5.5 MB, memory about 12 MB.
    /// \return errc::unsupported_tokenizer (tokenizer.ggml.model is not gpt2 or llama), unknown_pre_tokenizer,
    /// missing_key, wrong_type, bad_vocabulary or out_of_memory, naming the file, the key and both disagreeing numbers.
    [[nodiscard]] static result<tokenizer> open(const gguf_file& file, tokenizer_options options = {});

    /// The tokens of `text`, without BOS. Cost: linear but for pieces of text without a boundary, O(n log n) for these.
    /// \return errc::invalid_argument for text of 2 GiB or more and for a byte without token; errc::out_of_memory.
    [[nodiscard]] result<std::vector<token>> encode(std::string_view text, encode_options options = {}) const {
        std::vector<token> tokens;
        if (auto done = encode(text, tokens, options); !done) {
            return std::move(done).error();
        }
        return tokens;
    }

    /// The same, appended to `out`: for messages that are put together, and for callers who keep their memory.
    [[nodiscard]] result<void> encode(std::string_view text, std::vector<token>& out,
                                      encode_options options = {}) const {
        if (text.size() > byte_pair_encoding::longest_piece) {
            return error{errc::invalid_argument, "the text has " + std::to_string(text.size()) + " bytes, at most " +
                                                     std::to_string(byte_pair_encoding::longest_piece) +
                                                     " can be encoded at a time"};
        }
        bool space_in_front = adds_space_prefix() && !options.follows_text;
        for (std::size_t from = 0; from < text.size();) {
            const token_match match = tokens_.next_spelled(text, from, options.parse_special);
            const std::string_view plain = text.substr(from, match.position - from);
            if (auto done = encode_plain(plain, space_in_front, out); !done) {
                return done;
            }
            if (match.size != 0) {
                out.push_back(match.id);
                space_in_front = adds_space_prefix();
            }
            from = match.position + match.size;
        }
        return {};
    }

    /// The bytes that a token stands for, or its spelling if it is a control token; empty outside the vocabulary. With
    /// SentencePiece a word's token has its space in front; decode() takes away the first one.
    /// Lives as long as the tokenizer. Need not be whole code points: see stream_decoder.
    [[nodiscard]] std::string_view bytes_of(token id) const noexcept {
        return tokens_.contains(id) ? tokens_.bytes_of(id) : std::string_view{};
    }

    /// The bytes of all tokens, one after another, nothing tidied; without the first space where adds_space_prefix().
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

    [[nodiscard]] std::size_t vocabulary_size() const noexcept { return tokens_.size(); }
    [[nodiscard]] bool contains(token id) const noexcept { return tokens_.contains(id); }

    /// Whether a token is a control or unknown token, which no text becomes unless encode_options asks for it.
    [[nodiscard]] bool is_special(token id) const noexcept {
        return contains(id) &&
               (tokens_.kind_of(id) == token_kind::control || tokens_.kind_of(id) == token_kind::unknown);
    }

    /// The token that is spelled like this and found in text with parse_special; nothing if there is none.
    [[nodiscard]] std::optional<token> find_special(std::string_view spelling) const noexcept {
        const token id = tokens_.find_special(spelling);
        return id == no_token ? std::nullopt : std::optional{id};
    }

    [[nodiscard]] std::optional<token> bos() const noexcept { return bos_; } ///< begins every sequence
    [[nodiscard]] std::optional<token> eos() const noexcept { return eos_; } ///< ends a document
    [[nodiscard]] std::optional<token> eot() const noexcept { return eot_; } ///< ends a turn of a dialog

    /// Whether the model expects bos() in front and eos() at the end: tokenizer.ggml.add_bos_token and .add_eos_token.
    /// Where the first is missing: whether there is a BOS in a SentencePiece model or one of LLaMA-3's kind, no in
    /// others, as in llama.cpp; where the second is missing: no. encode() never adds them.
    [[nodiscard]] bool add_bos() const noexcept { return add_bos_; }
    [[nodiscard]] bool add_eos() const noexcept { return add_eos_; }

    /// Whether encode() puts a space in front of text, and decode() takes it away: SentencePiece models whose
    /// tokenizer.ggml.add_space_prefix does not say no.
    [[nodiscard]] bool adds_space_prefix() const noexcept { return space_prefix_; }

    /// The tokens after which generation ends, as far as they exist: eos, eot, eom and those of stop_spellings;
    /// ascending.
    [[nodiscard]] std::span<const token> stop_tokens() const noexcept { return {stops_.data(), stop_count_}; }
    [[nodiscard]] bool is_stop(token id) const noexcept {
        const auto stops = stop_tokens();
        return std::find(stops.begin(), stops.end(), id) != stops.end();
    }

    [[nodiscard]] const pre_tokenizer_choice& pre_tokenizer() const noexcept { return pre_tokenizer_; }

    /// Bytes of the longest token.
    [[nodiscard]] std::size_t longest_token() const noexcept { return tokens_.longest(); }

private:
    static constexpr std::string_view model_key = "tokenizer.ggml.model";
    static constexpr std::string_view pre_key = "tokenizer.ggml.pre";

    using encoding = std::variant<byte_pair_encoding, sentence_piece_encoding>;

    tokenizer(vocabulary tokens, encoding model) noexcept : tokens_(std::move(tokens)), model_(std::move(model)) {}

    [[nodiscard]] result<void> encode_plain(std::string_view text, bool space_in_front, std::vector<token>& out) const {
        if (text.empty()) {
            return {};
        }
        if (const auto* pieces = std::get_if<sentence_piece_encoding>(&model_)) {
            return pieces->encode(tokens_, text, space_in_front, out);
        }
        return with_splitter(splitting_.kind, text, [&](auto pieces) { return encode_pieces(pieces, out); });
    }

    template <splitter Pieces> [[nodiscard]] result<void> encode_pieces(Pieces& pieces, std::vector<token>& out) const {
        const auto& merging = *std::get_if<byte_pair_encoding>(&model_);
        for (std::string_view piece = pieces.next(); !piece.empty(); piece = pieces.next()) {
            const token whole = splitting_.whole_pieces ? tokens_.find(piece) : no_token;
            if (whole != no_token) {
                out.push_back(whole); // 588 tokens of LLaMA-3 can be reached in no other way
            } else if (auto done = merging.encode(piece, out); !done) {
                return done;
            }
        }
        return {};
    }

    [[nodiscard]] static result<token_spelling> read_model(const gguf_file& file);
    [[nodiscard]] static result<encoding> read_encoding(const gguf_file& file, const vocabulary& tokens,
                                                        token_spelling spelling);
    [[nodiscard]] result<void> read_space_prefix(const gguf_file& file);
    [[nodiscard]] result<void> choose_pre_tokenizer(const gguf_file& file, std::string_view wanted);
    [[nodiscard]] error unknown_pre_tokenizer(const gguf_file& file, const std::string& what) const;
    [[nodiscard]] result<void> infer_pre_tokenizer(const gguf_file& file);
    [[nodiscard]] std::string llama3_order() const;
    [[nodiscard]] result<void> read_ids(const gguf_file& file);
    [[nodiscard]] result<void> read_added(const gguf_file& file);
    void add_stop(std::optional<token> id) noexcept;

    vocabulary tokens_;
    encoding model_;
    pre_tokenizer_name splitting_{}; ///< of byte-level models
    pre_tokenizer_choice pre_tokenizer_;
    std::optional<token> bos_;
    std::optional<token> eos_;
    std::optional<token> eot_;
    std::array<token, 8> stops_{}; ///< three by key, at most five by spelling
    std::size_t stop_count_ = 0;
    bool add_bos_ = false;
    bool add_eos_ = false;
    bool space_prefix_ = false;
};

inline result<tokenizer> tokenizer::open(const gguf_file& file, tokenizer_options options) {
    const auto spelling = read_model(file);
    if (!spelling) {
        return error{spelling.error()};
    }
    auto tokens = vocabulary::open(file, *spelling);
    if (!tokens) {
        return std::move(tokens).error();
    }
    auto model = read_encoding(file, *tokens, *spelling);
    if (!model) {
        return std::move(model).error();
    }
    tokenizer made(*std::move(tokens), *std::move(model));
    if (auto done = made.read_ids(file); !done) {
        return std::move(done).error();
    }
    auto chosen = *spelling == token_spelling::sentence_piece ? made.read_space_prefix(file)
                                                              : made.choose_pre_tokenizer(file, options.pre_tokenizer);
    if (!chosen) {
        return std::move(chosen).error();
    }
    if (auto done = made.read_added(file); !done) {
        return std::move(done).error();
    }
    return made;
}

inline result<token_spelling> tokenizer::read_model(const gguf_file& file) {
    const auto model = file.get<std::string_view>(model_key);
    if (!model) {
        return error{model.error()};
    }
    if (*model == "gpt2") {
        return token_spelling::byte_alphabet;
    }
    if (*model == "llama") {
        return token_spelling::sentence_piece;
    }
    return error{errc::unsupported_tokenizer,
                 std::string(file.name()) + ": " + std::string(model_key) + " is " + quoted_name(*model) +
                     ", only 'gpt2' (byte-level BPE) and 'llama' (SentencePiece) can be read"};
}

inline result<tokenizer::encoding> tokenizer::read_encoding(const gguf_file& file, const vocabulary& tokens,
                                                            token_spelling spelling) {
    if (spelling == token_spelling::sentence_piece) {
        auto pieces = sentence_piece_encoding::open(file, tokens);
        return pieces ? result<encoding>(*std::move(pieces)) : result<encoding>(std::move(pieces).error());
    }
    auto merges = read_merges(file, tokens);
    if (!merges) {
        return std::move(merges).error();
    }
    return encoding(byte_pair_encoding(tokens.byte_tokens(), *std::move(merges)));
}

inline result<void> tokenizer::read_space_prefix(const gguf_file& file) {
    const auto prefix = file.get_or<bool>("tokenizer.ggml.add_space_prefix", true);
    if (!prefix) {
        return error{prefix.error()};
    }
    space_prefix_ = *prefix;
    pre_tokenizer_ = {"none", false, std::string(model_key) + " is 'llama': SentencePiece does not split text"};
    return {};
}

inline result<void> tokenizer::choose_pre_tokenizer(const gguf_file& file, std::string_view wanted) {
    const auto in_file = file.get_or<std::string_view>(pre_key, {});
    if (!in_file) {
        return error{in_file.error()};
    }
    if (wanted.empty() && in_file->empty()) {
        return infer_pre_tokenizer(file);
    }
    const std::string said = in_file->empty() ? "does not say" : "says " + quoted_name(*in_file);
    const std::string_view name = wanted.empty() ? *in_file : wanted;
    const pre_tokenizer_name* known = find_pre_tokenizer(name);
    if (known == nullptr) {
        return unknown_pre_tokenizer(file, wanted.empty()
                                               ? std::string(pre_key) + " is " + quoted_name(name)
                                               : "the caller asks for the pre-tokenizer " + quoted_name(name));
    }
    splitting_ = *known;
    pre_tokenizer_ = {std::string(name), false,
                      wanted.empty() ? "the file says so in " + std::string(pre_key)
                                     : "chosen by the caller; the file " + said};
    return {};
}

inline error tokenizer::unknown_pre_tokenizer(const gguf_file& file, const std::string& what) const {
    std::string known;
    for (const pre_tokenizer_name& name : pre_tokenizer_names) {
        known.append(known.empty() ? "" : ", ").append(name.name);
    }
    return {errc::unknown_pre_tokenizer, std::string(file.name()) + ": " + what + "; known are: " + known +
                                             " (tokenizer_options::pre_tokenizer overrides the file)"};
}

/// Where the file names no pre-tokenizer: the one whose vocabulary this must be. Never a guess.
inline result<void> tokenizer::infer_pre_tokenizer(const gguf_file& file) {
    struct fingerprint {
        std::string_view pre_tokenizer;
        std::string_view model;
        std::size_t size;
        std::string_view spelling; ///< a token that is a control token here
        token place;               ///< and its place
    };
    constexpr std::array<fingerprint, 4> fingerprints{{{"gpt-2", "GPT-2", 50257, "<|endoftext|>", 50256},
                                                       {"qwen2", "Qwen2 and Qwen3", 151936, "<|im_start|>", 151644},
                                                       {"falcon", "Falcon", 65024, ">>TITLE<<", 0},
                                                       {"falcon3", "Falcon3", 131072, ">>TITLE<<", 0}}};
    std::string_view name = "llama-bpe";
    std::string reason = llama3_order();
    for (const fingerprint& f : fingerprints) {
        if (vocabulary_size() == f.size && tokens_.find_special(f.spelling) == f.place) {
            name = f.pre_tokenizer;
            reason = std::to_string(f.size) + " tokens with " + std::string(f.spelling) + " at " +
                     std::to_string(f.place) + " are the vocabulary of " + std::string(f.model);
        }
    }
    if (reason.empty()) {
        return unknown_pre_tokenizer(file, std::string(pre_key) + " is missing, and the vocabulary of " +
                                               std::to_string(vocabulary_size()) +
                                               " tokens is none from which it can be told");
    }
    splitting_ = *find_pre_tokenizer(name);
    pre_tokenizer_ = {std::string(name), true, std::string(pre_key) + " is missing; " + reason};
    return {};
}

/// Why the vocabulary must be of LLaMA-3's family; empty if nothing tells so.
inline std::string tokenizer::llama3_order() const {
    if (vocabulary_size() == 128256 && bos_ == 128000) {
        return "128256 tokens with BOS 128000 are LLaMA-3's vocabulary";
    }
    struct place {
        std::string_view spelling;
        token from_bos;
    };
    // As in LLaMA-3, 3.1, 3.2 and 3.3, whose other control tokens changed names between versions.
    constexpr std::array<place, 4> order{
        {{"<|end_of_text|>", 1}, {"<|start_header_id|>", 6}, {"<|end_header_id|>", 7}, {"<|eot_id|>", 9}}};
    const token begin = tokens_.find_special("<|begin_of_text|>");
    for (const auto& [spelling, from_bos] : order) {
        if (begin == no_token || tokens_.find_special(spelling) != begin + from_bos) {
            return {};
        }
    }
    return "the control tokens from <|begin_of_text|> (" + std::to_string(begin) + ") to <|eot_id|> (" +
           std::to_string(begin + 9) + ") stand in LLaMA-3's order";
}

inline result<void> tokenizer::read_ids(const gguf_file& file) {
    struct key {
        std::string_view name;
        std::optional<token>* id;
    };
    std::optional<token> eom;
    for (const auto& value : file.metadata()) {
        if (!value.key.starts_with("tokenizer.ggml.") || !value.key.ends_with("_token_id")) {
            continue;
        }
        auto id = find_token_id(file, value.key, vocabulary_size());
        if (!id) {
            return std::move(id).error();
        }
        for (const auto& [name, target] : {key{"bos", &bos_}, key{"eos", &eos_}, key{"eot", &eot_}, key{"eom", &eom}}) {
            if (value.key.substr(15, value.key.size() - 24) == name) {
                *target = *id;
            }
        }
    }
    for (const std::string_view spelling : {"<|eot_id|>", "<|im_end|>", "<end_of_turn>", "<|end|>"}) {
        eot_ = eot_ ? eot_ : find_special(spelling);
    }
    eom = eom ? eom : find_special("<|eom_id|>");
    for (const auto& id : {eos_, eot_, eom}) {
        add_stop(id);
    }
    for (const std::string_view spelling : stop_spellings) {
        add_stop(find_special(spelling));
    }
    return {};
}

inline result<void> tokenizer::read_added(const gguf_file& file) {
    constexpr std::string_view bos_key = "tokenizer.ggml.add_bos_token";
    constexpr std::string_view eos_key = "tokenizer.ggml.add_eos_token";
    const bool by_itself = splitting_.whole_pieces || std::holds_alternative<sentence_piece_encoding>(model_);
    const auto add_bos = file.get_or<bool>(bos_key, by_itself && bos_.has_value());
    const auto add_eos = file.get_or<bool>(eos_key, false);
    if (!add_bos || !add_eos) {
        return error{(add_bos ? add_eos : add_bos).error()};
    }
    if (*add_bos && !bos_) {
        return bad_vocabulary(file, bos_key, "is true, but there is no tokenizer.ggml.bos_token_id");
    }
    if (*add_eos && !eos_) {
        return bad_vocabulary(file, eos_key, "is true, but there is no tokenizer.ggml.eos_token_id");
    }
    add_bos_ = *add_bos;
    add_eos_ = *add_eos;
    return {};
}

inline void tokenizer::add_stop(std::optional<token> id) noexcept {
    if (id && !is_stop(*id)) {
        stops_[stop_count_++] = *id;
        std::sort(stops_.begin(), stops_.begin() + static_cast<std::ptrdiff_t>(stop_count_));
    }
}

} // namespace bitnet::inline BITNET_ABI

#include <cassert>
#include <cstddef>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI {

/// How sessions find the largest logits.
enum class head_mode {
    as_stored, ///< by reading the whole head
    screened,  ///< the same tokens and logits by reading two fifths of an F16 head: see screened_head
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
    /// Whether every ternary code is looked at, to refuse code 3. Reads all weights once, so that by default mapped
    /// files are not scanned and other sources are.
    std::optional<bool> verify_codes = {};
    /// A screened head takes 6.25 bits more memory for each of its weights, and the time to read the head once. Heads
    /// in F16, BF16 and F32 have one; others are used as stored, and a note says so.
    head_mode head = head_mode::as_stored;
    /// Threads that repack ternary tensors and make the screen while the model is opened. They are gone when open()
    /// returns.
    std::size_t threads = 1;
};

/// What is known of a model before its weights are laid out for a policy.
struct model_facts {
    model_file source;
    hyper_parameters parameters;
    std::optional<tokenizer> text;
    rotary_frequencies frequencies;
    std::vector<std::string> notes;

    [[nodiscard]] const gguf_file& file() const noexcept { return source.gguf(); }

    [[nodiscard]] static result<std::unique_ptr<model_facts>> read(model_file source, const open_options& options);

private:
    model_facts(model_file opened, hyper_parameters read, rotary_frequencies turns)
        : source(std::move(opened)), parameters(std::move(read)), frequencies(std::move(turns)),
          notes(source.notes().begin(), source.notes().end()) {}

    [[nodiscard]] result<void> read_tokenizer(const open_options& options);
};

/// The type of a file's ternary tensors, so that a program can choose a policy before it opens a model: see
/// model_file::open.
/// \return errc::missing_tensor where the file has no blk.0.attn_q.weight.
[[nodiscard]] inline result<tensor_type> layout_of(const gguf_file& file) {
    const gguf_tensor* tensor = file.find_tensor("blk.0.attn_q.weight");
    if (tensor == nullptr) {
        return error{errc::missing_tensor, file.name() + ": tensor 'blk.0.attn_q.weight': not in the file"};
    }
    return tensor->type;
}
[[nodiscard]] inline result<tensor_type> layout_of(const byte_source& source) {
    const auto file = gguf_file::parse(source.bytes(), source.name());
    return file ? layout_of(*file) : result<tensor_type>(file.error());
}
[[nodiscard]] inline result<tensor_type> layout_of(const model_file& file) { return layout_of(file.gguf()); }

/// A model ready to run with policy P. Move-only; moving it moves nothing that sessions borrow.
/// Memory: the file's pages as the system maps them, norms, tokenizer, and what had to be repacked.
template <policy_type P> class model {
public:
    using policy = P;

    /// Maps and opens what is at `utf8_path`: a GGUF file, or the folder of a Hugging Face checkpoint. The files must
    /// not be shortened meanwhile: see byte_source.
    /// \return errc::unsupported_cpu where P::isa is not available, and any error of model_file::open,
    /// hyper_parameters::read, tokenizer::open, P::pool::open and weights::open: each names its place.
    [[nodiscard]] static result<model> open(std::string_view utf8_path, open_options options = {}) {
        auto source = model_file::open(utf8_path, {options.load_tokenizer, options.pre_tokenizer});
        return source ? open(*std::move(source), options) : result<model>(std::move(source).error());
    }

    /// The same from the bytes of a GGUF file that the model takes over: borrowed memory, a callback's bytes, a file
    /// that was read.
    [[nodiscard]] static result<model> open(byte_source source, open_options options = {}) {
        auto file = model_file::open(std::move(source));
        return file ? open(*std::move(file), options) : result<model>(std::move(file).error());
    }

    /// The same from a file that the program has looked at before, which the model takes over.
    [[nodiscard]] static result<model> open(model_file source, open_options options = {}) {
        if (!P::isa::available()) {
            return error{errc::unsupported_cpu, source.name() + ": this CPU or operating system does not support " +
                                                    std::string(P::isa::name)};
        }
        source.advise(access_hint::huge_pages); // where the system maps files so; ignored elsewhere
        auto facts = model_facts::read(std::move(source), options);
        if (!facts) {
            return std::move(facts).error();
        }
        auto pool = P::pool::open(options.threads);
        if (!pool) {
            return std::move(pool).error();
        }
        const weight_options ternary{options.file_order, options.verify_codes.value_or(!(*facts)->source.is_mapped()),
                                     &(*facts)->source, options.lookup_tiling};
        auto tensors = weights<typename P::layout>::open((*facts)->file(), (*facts)->parameters, ternary, **pool);
        if (!tensors) {
            return std::move(tensors).error();
        }
        auto screen = make_screen(**pool, **facts, tensors->head(), options.head, ternary.verify_codes);
        if (!screen) {
            return std::move(screen).error();
        }
        return finish(*std::move(facts), *std::move(tensors), *std::move(screen));
    }

    [[nodiscard]] const hyper_parameters& parameters() const noexcept { return state_->facts->parameters; }
    [[nodiscard]] const gguf_file& file() const noexcept { return state_->facts->file(); }

    [[nodiscard]] bool has_text() const noexcept { return state_->facts->text.has_value(); }
    /// \pre has_text(): the model was opened with open_options::load_tokenizer.
    [[nodiscard]] const tokenizer& text() const noexcept {
        assert(has_text());
        return *state_->facts->text;
    }

    [[nodiscard]] const weights<typename P::layout>& tensors() const noexcept { return state_->tensors; }
    /// Empty unless the model was opened with head_mode::screened.
    [[nodiscard]] const screened_head& screen() const noexcept { return state_->screen; }
    [[nodiscard]] const rotary_frequencies& frequencies() const noexcept { return state_->facts->frequencies; }

    /// What was decided or passed over while opening, a sentence each: an inferred pre-tokenizer, repacked tensors, a
    /// tensor that the architecture does not use.
    [[nodiscard]] std::span<const std::string> notes() const noexcept { return state_->facts->notes; }

private:
    struct state {
        std::unique_ptr<model_facts> facts;
        weights<typename P::layout> tensors;
        screened_head screen;
    };
    explicit model(std::unique_ptr<state> opened) noexcept : state_(std::move(opened)) {}

    [[nodiscard]] static result<screened_head> make_screen(typename P::pool& pool, model_facts& facts,
                                                           const dense_matrix& head, head_mode mode, bool verify) {
        if (mode == head_mode::as_stored || facts.parameters.is_embedder) {
            return screened_head();
        }
        if (!screened_head::admits(head.element)) {
            facts.notes.emplace_back(
                "the head is used as stored: a screen is for F16, BF16 and F32, and this one is " +
                std::string(name_of(facts.file().find_tensor(facts.parameters.head_name())->type)));
            return screened_head();
        }
        const gguf_file& file = facts.file();
        if (const auto* stored = file.find_tensor(screen_name(facts.parameters.head_name())); stored != nullptr) {
            return screened_head::open<P>(pool, head, *stored, file.name(), verify);
        }
        return screened_head::open<P>(pool, head);
    }

    [[nodiscard]] static result<model> finish(std::unique_ptr<model_facts> facts, weights<typename P::layout> tensors,
                                              screened_head screen) {
        if (tensors.repacked_tensors() != 0) {
            facts->notes.push_back(std::to_string(tensors.repacked_tensors()) +
                                   " ternary tensors were repacked to layout " + std::string(P::layout::name) + ": " +
                                   std::to_string(tensors.repacked_bytes()) + " bytes");
        }
        std::unique_ptr<state> opened(new (std::nothrow)
                                          state{std::move(facts), std::move(tensors), std::move(screen)});
        if (opened == nullptr) {
            return error{errc::out_of_memory,
                         "model: " + std::to_string(sizeof(state)) + " bytes could not be allocated"};
        }
        return model(std::move(opened));
    }

    std::unique_ptr<state> state_;
};

inline result<std::unique_ptr<model_facts>> model_facts::read(model_file source, const open_options& options) {
    auto parameters = hyper_parameters::read(source.gguf());
    if (!parameters) {
        return std::move(parameters).error();
    }
    auto frequencies = rotary_frequencies::open(parameters->rope_theta, parameters->head_size, parameters->scaling());
    if (!frequencies) {
        return std::move(frequencies).error();
    }
    std::unique_ptr<model_facts> facts(
        new (std::nothrow) model_facts(std::move(source), *std::move(parameters), *std::move(frequencies)));
    if (facts == nullptr) {
        return error{errc::out_of_memory,
                     "model: " + std::to_string(sizeof(model_facts)) + " bytes could not be allocated"};
    }
    if (!facts->parameters.has_own_head && facts->file().find_tensor("output.weight") != nullptr) {
        facts->notes.emplace_back("tensor 'output.weight' is not used: architecture " + facts->parameters.architecture +
                                  " ties the head to the embedding");
    }
    if (const auto pooling = facts->parameters.pooling;
        facts->parameters.is_embedder && pooling != pooling_type::last) {
        facts->notes.emplace_back("'" + facts->parameters.architecture + ".pooling_type' is " +
                                  std::to_string(static_cast<unsigned>(pooling)) +
                                  "; the embedding is the last token's state nevertheless, as BitNet's embedding "
                                  "models were trained");
    }
    if (auto read = facts->read_tokenizer(options); !read) {
        return std::move(read).error();
    }
    return facts;
}

inline result<void> model_facts::read_tokenizer(const open_options& options) {
    if (!options.load_tokenizer) {
        return {};
    }
    auto opened = tokenizer::open(file(), {.pre_tokenizer = options.pre_tokenizer});
    if (!opened) {
        return std::move(opened).error();
    }
    if (opened->vocabulary_size() != parameters.vocabulary) {
        return error{errc::inconsistent,
                     source.name() + ": 'tokenizer.ggml.tokens' has " + std::to_string(opened->vocabulary_size()) +
                         " entries, 'token_embd.weight' has " + std::to_string(parameters.vocabulary) + " rows"};
    }
    if (opened->pre_tokenizer().inferred) {
        notes.push_back("pre-tokenizer " + opened->pre_tokenizer().name +
                        " was inferred: " + opened->pre_tokenizer().why);
    }
    text.emplace(*std::move(opened));
    return {};
}

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/run/sampler.hpp ----
// sampler: chooses the next token from logits. The same seed gives the same tokens on every platform.

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// Steps are taken in this order: penalties, top_k, top_p, min_p, temperature, draw. temperature 0 is greedy: the
/// largest logit after penalties, the lowest id on ties.
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

    [[nodiscard]] static sampler_options greedy() noexcept {
        sampler_options options;
        options.temperature = 0.0f;
        return options;
    }
};

} // namespace bitnet::inline BITNET_ABI

BITNET_PRECISE_BEGIN
namespace bitnet::inline BITNET_ABI {

/// Holds its settings, its random state and the recent tokens. One sampler serves one sequence.
/// Allocates in open() only: 16 bytes for each token of the vocabulary.
class sampler {
public:
    static constexpr std::size_t largest_window = 1u << 16;

    /// \param vocabulary number of logits. \return errc::invalid_argument naming the option and its range,
    /// errc::out_of_memory.
    [[nodiscard]] static result<sampler> open(const sampler_options& options, std::size_t vocabulary) {
        sampler made;
        if (auto checked = check(options); !checked) {
            return std::move(checked).error();
        }
        made.options_ = options;
        made.random_ = options.seed;
        auto candidates = buffer<candidate>::allocate(vocabulary, "sampler candidates");
        auto counts = buffer<std::uint32_t>::allocate(vocabulary, "sampler counts");
        auto recent = buffer<token>::allocate(options.penalty_window, "recent tokens");
        for (const error* failure : {failure_of(candidates), failure_of(counts), failure_of(recent)}) {
            if (failure != nullptr) {
                return *failure;
            }
        }
        made.candidates_ = *std::move(candidates);
        made.counts_ = *std::move(counts);
        made.recent_ = *std::move(recent);
        return made;
    }

    /// Chooses a token. Changes only the random state; call accept() with what was really taken.
    /// \pre logits.size() is the vocabulary size given to open(), and not 0.
    [[nodiscard]] token choose(std::span<const float> logits) noexcept {
        assert(logits.size() == candidates_.size() && !logits.empty());
        const default_float_environment environment;
        for (std::size_t i = 0; i < logits.size(); ++i) {
            candidates_[i] = {penalized(logits[i], counts_[i]), static_cast<token>(i), 0.0f};
        }
        return choose_among(logits.size());
    }

    /// The same from the needs() largest logits alone, in any order: the token that all logits would give.
    /// \pre 0 < needs() <= largest.size() or largest has all tokens; every token once
    [[nodiscard]] token choose(std::span<const scored_token> largest) noexcept {
        assert(!largest.empty() && largest.size() <= candidates_.size());
        const default_float_environment environment;
        for (std::size_t i = 0; i < largest.size(); ++i) {
            const auto [id, logit] = largest[i];
            candidates_[i] = {penalized(logit, counts_[static_cast<std::size_t>(id)]), id, 0.0f};
        }
        return choose_among(largest.size());
    }

    /// How many of the largest logits are enough for choose(); 0 where only all of them are. Greedy needs one, top_k
    /// needs k. Penalties that lower the logits of c recent tokens push no more than c others up: c more are enough.
    [[nodiscard]] std::size_t needs() const noexcept {
        const std::size_t kept = is_greedy() ? 1 : options_.top_k;
        const bool lowers =
            options_.repeat_penalty >= 1.0f && options_.presence_penalty >= 0.0f && options_.frequency_penalty >= 0.0f;
        if (kept == 0 || (distinct_ != 0 && !lowers)) {
            return 0;
        }
        const bool penalizes =
            options_.repeat_penalty != 1.0f || options_.presence_penalty != 0.0f || options_.frequency_penalty != 0.0f;
        return kept + (penalizes ? distinct_ : 0);
    }

    /// Counts a token among the recent ones: those that were chosen, and those of the prompt if they should count.
    /// \pre 0 <= id < vocabulary
    void accept(token id) noexcept {
        if (recent_.empty()) {
            return;
        }
        const std::size_t at = accepted_ % recent_.size();
        if (accepted_ >= recent_.size()) {
            distinct_ -= --counts_[static_cast<std::size_t>(recent_[at])] == 0 ? 1 : 0;
        }
        recent_[at] = id;
        distinct_ += ++counts_[static_cast<std::size_t>(id)] == 1 ? 1 : 0;
        ++accepted_;
    }

    /// Forgets recent tokens and starts the random sequence anew.
    void reset() noexcept {
        std::fill_n(counts_.data(), counts_.size(), 0u);
        accepted_ = 0;
        distinct_ = 0;
        random_ = options_.seed;
    }

    [[nodiscard]] const sampler_options& options() const noexcept { return options_; }
    [[nodiscard]] bool is_greedy() const noexcept { return options_.temperature == 0.0f; }

private:
    using loops = lane_ops<software_fma>;

    struct candidate {
        float logit;
        token id;
        float weight;
    };

    sampler() noexcept = default;

    template <class T> [[nodiscard]] static const error* failure_of(const result<T>& made) noexcept {
        return made ? nullptr : &made.error();
    }

    [[nodiscard]] static result<void> check(const sampler_options& o) {
        const std::pair<std::string_view, bool> rules[] = {
            {"temperature must be 0 to 1e6", within(o.temperature, 0.0f, 1e6f)},
            {"top_p must be 0 to 1", within(o.top_p, 0.0f, 1.0f)},
            {"min_p must be 0 to 1", within(o.min_p, 0.0f, 1.0f)},
            {"repeat_penalty must be 0.001 to 1000", within(o.repeat_penalty, 0.001f, 1000.0f)},
            {"presence_penalty must be -1000 to 1000", within(o.presence_penalty, -1000.0f, 1000.0f)},
            {"frequency_penalty must be -1000 to 1000", within(o.frequency_penalty, -1000.0f, 1000.0f)},
            {"penalty_window must be 0 to 65536", o.penalty_window <= largest_window},
        };
        for (const auto& [sentence, holds] : rules) {
            if (!holds) {
                return error{errc::invalid_argument, "sampler: " + std::string(sentence)};
            }
        }
        return {};
    }
    [[nodiscard]] static bool within(float value, float low, float high) noexcept {
        return value >= low && value <= high;
    }

    [[nodiscard]] static bool before(const candidate& a, const candidate& b) noexcept {
        return precedes(a.logit, a.id, b.logit, b.id);
    }

    [[nodiscard]] float penalized(float logit, std::uint32_t count) const noexcept {
        if (count == 0) {
            return logit;
        }
        const float p = options_.repeat_penalty;
        const float absent = -options_.presence_penalty;
        const float present = logit > 0.0f ? logit / p + absent : exact_fma(logit, p, absent);
        return exact_fma(-static_cast<float>(count), options_.frequency_penalty, present);
    }

    /// The steps behind the penalties, over the first n candidates.
    [[nodiscard]] token choose_among(std::size_t n) noexcept {
        if (is_greedy()) {
            return std::min_element(candidates_.data(), candidates_.data() + n, before)->id;
        }
        std::size_t kept = keep_top_k(n);
        kept = keep_top_p(kept);
        kept = keep_min_p(kept);
        return draw(kept);
    }

    /// Sorts the k largest to the front, where a later step needs an order or a cut.
    [[nodiscard]] std::size_t keep_top_k(std::size_t n) noexcept {
        candidate* first = candidates_.data();
        const std::size_t k = options_.top_k == 0 ? n : std::min(options_.top_k, n);
        if (k < n) {
            std::nth_element(first, first + k, first + n, before);
        }
        std::sort(first, first + k, before);
        return k;
    }

    [[nodiscard]] std::size_t keep_top_p(std::size_t n) noexcept {
        if (options_.top_p >= 1.0f) {
            return n;
        }
        const float sum = weigh(n, 1.0f);
        const float enough = options_.top_p * sum;
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
        return candidates_[0].id; // all weights rounded away, or logits that are not numbers
    }

    /// weight = e^((logit - largest) / temperature) for the first n. \return their sum, ascending.
    float weigh(std::size_t n, float temperature) noexcept {
        float sum = 0.0f;
        for (std::size_t i = 0; i < n; ++i) {
            const float below = candidates_[i].logit - candidates_[0].logit;
            const float weight = loops::exp(below / temperature);
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
    buffer<candidate> candidates_;
    buffer<std::uint32_t> counts_; ///< [vocabulary] how often each token is among the recent ones
    buffer<token> recent_;         ///< ring
    std::size_t accepted_ = 0;
    std::size_t distinct_ = 0; ///< tokens whose count is not 0
};

} // namespace bitnet::inline BITNET_ABI
BITNET_PRECISE_END

// ---- bitnet/run/session.hpp ----
// session<P>: one conversation with a model: its position, its KV cache and its working memory.

#include <algorithm>
#include <array>
#include <cassert>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

namespace bitnet::inline BITNET_ABI {

struct session_options {
    /// Positions that the session has room for; 0 takes the model's own, but not more than 4096.
    std::size_t context = 0;
    /// Threads that a step uses, the calling one included. One by default: the host decides.
    std::size_t threads = 1;
    /// How long a thread without work spins before it sleeps; more saves wake-ups between tokens, zero saves power.
    std::chrono::microseconds spin = default_spin;
    /// Tokens that run through the layers together while a prompt is fed. More are faster until the caches are full.
    std::size_t batch = 128;
    /// Whether next() ends at the tokenizer's stop tokens. A model without tokenizer has none.
    bool stop_at_stop_tokens = true;
};

/// Why next() gave no token.
enum class stop_reason {
    none,         ///< it gave one, or was not called
    stop_token,   ///< the model ended its turn; the stop token is part of the sequence
    context_full, ///< position() is context()
    error,        ///< see error()
};

/// What a session does with the logits of each token of feed_each(): `function(context, index, logits)`.
struct logits_visitor {
    void (*function)(void* context, std::size_t index, std::span<const float> logits);
    void* context;

    void operator()(std::size_t index, std::span<const float> logits) const { function(context, index, logits); }
};

/// Erases visit(index, logits), which must outlive the visitor.
template <class Visit> [[nodiscard]] logits_visitor visitor_of(Visit& visit) noexcept {
    const auto call = [](void* context, std::size_t index, std::span<const float> logits) {
        (*static_cast<Visit*>(context))(index, logits);
    };
    return {call, const_cast<void*>(static_cast<const void*>(std::addressof(visit)))};
}

template <policy_type P> class batch;

/// Borrows the model, which must outlive it. Belongs to one thread at a time. Allocates in open() only:
/// 2 * layers * context * kv_heads * head_size elements of `P::kv_element`, scratch for `batch` rows (under 150 KiB a
/// row for the 2B model), and the logits.
template <policy_type P> class session {
public:
    static constexpr std::size_t default_context = 4096;
    static constexpr std::size_t largest_batch = 4096;

    /// \return errc::invalid_argument (a context beyond the model's, no threads, no batch), errc::out_of_memory with
    /// the bytes asked for, errc::thread_error.
    [[nodiscard]] static result<session> open(const model<P>& opened, session_options options = {}) {
        auto pool = P::pool::open(options.threads, options.spin);
        if (!pool) {
            return std::move(pool).error();
        }
        typename P::pool& runs = **pool;
        return make(opened, runs, *std::move(pool), options);
    }
    /// The same on the caller's pool, which must outlive the session; options.threads is not used. Sessions that share
    /// a pool take turns: a pool runs one loop at a time.
    [[nodiscard]] static result<session> open(const model<P>& opened, typename P::pool& pool,
                                              session_options options = {}) {
        return make(opened, pool, nullptr, options);
    }
    static result<session> open(model<P>&&, session_options = {}) = delete;                    // would dangle
    static result<session> open(model<P>&&, typename P::pool&, session_options = {}) = delete; // would dangle

    /// Appends tokens to the sequence and runs them through the model, `batch` at a time.
    /// \return errc::invalid_token, errc::context_full if position() + tokens.size() exceeds the context; nothing is
    /// fed then, and the session goes on as it was.
    [[nodiscard]] result<void> feed(std::span<const token> tokens) { return feed_rows(tokens, nullptr); }

    /// The same, and visits the logits [vocabulary] after each of `tokens`: visit(index, span<const float>). Reads the
    /// head once for eight tokens.
    template <class Visit> [[nodiscard]] result<void> feed_each(std::span<const token> tokens, Visit&& visit) {
        if (auto headed = check_head(); !headed) {
            return headed;
        }
        const logits_visitor visitor = visitor_of(visit);
        return feed_rows(tokens, &visitor);
    }

    /// The next token; empty at a stop token, at the end of the context and after an error. stop_reason() tells which,
    /// error() carries the sentence. The token is part of the sequence from here on; it runs through the model with the
    /// following call. After an empty answer the session can be fed and asked again.
    /// \pre `choose` was opened for this model's vocabulary size.
    [[nodiscard]] std::optional<token> next(sampler& choose) {
        if (position() != 0 && position() == context()) {
            return stopped(bitnet::stop_reason::context_full);
        }
        if (const auto ready = ready_for_logits(); !ready) {
            error_ = ready.error();
            return stopped(bitnet::stop_reason::error);
        }
        const default_float_environment environment;
        const auto few = screened_logits(choose.needs());
        const token chosen = few ? choose.choose(*few) : choose.choose(all_logits());
        choose.accept(chosen);
        pending_ = chosen;
        if (options_.stop_at_stop_tokens && text_ != nullptr && text_->is_stop(chosen)) {
            return stopped(bitnet::stop_reason::stop_token);
        }
        stop_reason_ = bitnet::stop_reason::none;
        return chosen;
    }

    /// The logits [vocabulary] after the last token. Valid until the next call that is not const.
    /// \return errc::nothing_fed before the first token, errc::no_head from a text embedding model.
    [[nodiscard]] result<std::span<const float>> logits() {
        if (auto ready = ready_for_logits(); !ready) {
            return std::move(ready).error();
        }
        const default_float_environment environment;
        return all_logits();
    }

    /// The k largest logits after the last token, the largest first, the lower id on ties; all where the vocabulary is
    /// smaller. The same bits as in logits(), and where the model has a screened head mostly without reading the whole
    /// one. Valid until the next call that is not const.
    /// \return errc::nothing_fed, errc::no_head, errc::invalid_argument unless 1 <= k <= 256.
    [[nodiscard]] result<std::span<const scored_token>> largest_logits(std::size_t k) {
        if (k == 0 || k > largest_.size()) {
            return bitnet::error{errc::invalid_argument, "session: the " + std::to_string(k) +
                                                             " largest logits were asked for, 1 to " +
                                                             std::to_string(largest_.size()) + " are possible"};
        }
        if (auto ready = ready_for_logits(); !ready) {
            return std::move(ready).error();
        }
        const default_float_environment environment;
        const auto few = screened_logits(k);
        return few ? *few : largest_of(all_logits(), k);
    }

    /// The hidden state [hidden] after the last token behind the last norm, scaled to length one: the embedding of the
    /// sequence, for which text embedding models are trained. The dot product of two is their cosine. Valid until the
    /// next call that is not const.
    /// \return errc::nothing_fed before the first token, errc::invalid_argument where a batch ran the last token.
    [[nodiscard]] result<std::span<const float>> embedding() {
        if (auto ready = run_pending(); !ready) {
            return std::move(ready).error();
        }
        if (last_row_ == no_row) {
            return bitnet::error{errc::invalid_argument,
                                 "session: the last token ran in a batch, so that its state is not here"};
        }
        const default_float_environment environment;
        return std::span<const float>(transformer_.embedding(last_row_), parameters_->hidden);
    }

    /// The embedding [hidden] of a sequence of its own: reset(), feed(tokens), embedding(). Of a text, see
    /// tokens_to_embed(). \return what these return.
    [[nodiscard]] result<std::span<const float>> embed(std::span<const token> tokens) {
        reset();
        if (auto fed = feed(tokens); !fed) {
            return std::move(fed).error();
        }
        return embedding();
    }

    /// What finding the largest logits has cost so far; all zero without a screened head.
    [[nodiscard]] const bitnet::head_statistics& head_statistics() const noexcept { return screening_.statistics(); }

    /// Tokens in the sequence: those fed and those that next() gave.
    [[nodiscard]] std::size_t position() const noexcept { return cached_ + (pending_ ? 1 : 0); }
    [[nodiscard]] std::size_t context() const noexcept { return options_.context; }
    [[nodiscard]] std::size_t threads() const noexcept { return pool_->threads(); }

    [[nodiscard]] bitnet::stop_reason stop_reason() const noexcept { return stop_reason_; }
    /// \pre stop_reason() == stop_reason::error
    [[nodiscard]] const bitnet::error& error() const noexcept { return error_; }

    /// Starts an empty sequence. Frees and allocates nothing.
    void reset() noexcept {
        cached_ = 0;
        pending_.reset();
        logits_valid_ = false;
        stop_reason_ = bitnet::stop_reason::none;
    }

private:
    friend class batch<P>;
    using row = sequence_row<typename P::kv_element>;
    static constexpr std::size_t logits_rows = 8; ///< that feed_each() computes together
    static constexpr std::size_t no_row = ~std::size_t{0};

    [[nodiscard]] static result<session> make(const model<P>& opened, typename P::pool& pool,
                                              std::unique_ptr<typename P::pool> owned, session_options options) {
        const hyper_parameters& parameters = opened.parameters();
        if (options.context == 0) {
            options.context = std::min(parameters.context, default_context);
        }
        if (auto checked = check(parameters, options); !checked) {
            return std::move(checked).error();
        }
        options.batch = std::min(options.batch, options.context);
        auto cache = kv_cache<typename P::kv_element>::open(parameters, options.context);
        if (!cache) {
            return std::move(cache).error();
        }
        auto forward = transformer<P>::open(parameters, opened.tensors(), opened.frequencies(), options.batch);
        if (!forward) {
            return std::move(forward).error();
        }
        auto rows = buffer<row>::allocate(options.batch, "batch rows");
        if (!rows) {
            return std::move(rows).error();
        }
        auto logits =
            buffer<float>::allocate_uninitialized(std::uint64_t{parameters.vocabulary} * logits_rows, "logits");
        if (!logits) {
            return std::move(logits).error();
        }
        head_screening<P> screening;
        if (!opened.screen().empty()) {
            auto screened = head_screening<P>::open(opened.tensors().head(), opened.screen());
            if (!screened) {
                return std::move(screened).error();
            }
            screening = *std::move(screened);
        }
        session made(opened, pool, std::move(owned), options, *std::move(cache), *std::move(forward));
        made.rows_ = *std::move(rows);
        made.logits_ = *std::move(logits);
        made.screening_ = std::move(screening);
        made.is_screened_ = !opened.screen().empty();
        return made;
    }

    [[nodiscard]] static result<void> check(const hyper_parameters& parameters, const session_options& options) {
        if (options.context > parameters.context) {
            return bitnet::error{errc::invalid_argument, "session: a context of " + std::to_string(options.context) +
                                                             " was asked for, the model has " +
                                                             std::to_string(parameters.context)};
        }
        if (options.batch == 0 || options.batch > largest_batch) {
            return bitnet::error{errc::invalid_argument, "session: a batch of " + std::to_string(options.batch) +
                                                             " was asked for, 1 to " + std::to_string(largest_batch) +
                                                             " are possible"};
        }
        return {};
    }

    session(const model<P>& opened, typename P::pool& pool, std::unique_ptr<typename P::pool> owned,
            const session_options& options, kv_cache<typename P::kv_element> cache, transformer<P> forward)
        : parameters_(&opened.parameters()), text_(opened.has_text() ? &opened.text() : nullptr), pool_(&pool),
          owned_pool_(std::move(owned)), options_(options), cache_(std::move(cache)), transformer_(std::move(forward)) {
    }

    std::optional<token> stopped(bitnet::stop_reason why) noexcept {
        stop_reason_ = why;
        return std::nullopt;
    }

    [[nodiscard]] result<void> feed_rows(std::span<const token> tokens, const logits_visitor* visitor) {
        if (auto checked = check_tokens(tokens); !checked) {
            return checked;
        }
        const default_float_environment environment;
        if (pending_ && !tokens.empty()) {
            const token last = *std::exchange(pending_, std::nullopt);
            run({&last, 1});
        }
        for (std::size_t begin = 0; begin < tokens.size(); begin += options_.batch) {
            const auto part = tokens.subspan(begin, std::min(options_.batch, tokens.size() - begin));
            run(part);
            if (visitor != nullptr) {
                visit_each(begin, part.size(), *visitor);
            }
        }
        return {};
    }

    /// Shows the logits of the `count` rows of the last pass, several from one reading of the head.
    void visit_each(std::size_t begin, std::size_t count, const logits_visitor& visitor) {
        std::array<std::size_t, logits_rows> rows;
        std::array<float*, logits_rows> out;
        for (std::size_t first = 0; first < count; first += logits_rows) {
            const std::size_t some = std::min(logits_rows, count - first);
            for (std::size_t i = 0; i < some; ++i) {
                rows[i] = first + i;
                out[i] = logits_row(some - 1 - i); // the last one to row 0, where logits() looks
            }
            transformer_.logits(*pool_, std::span(rows).first(some), std::span<float* const>(out).first(some));
            for (std::size_t i = 0; i < some; ++i) {
                visitor(begin + first + i, {out[i], parameters_->vocabulary});
            }
        }
        logits_valid_ = true;
    }

    [[nodiscard]] float* logits_row(std::size_t i) noexcept { return logits_.data() + i * parameters_->vocabulary; }

    [[nodiscard]] result<void> check_tokens(std::span<const token> tokens) const {
        if (tokens.size() > context() - position()) {
            return bitnet::error{errc::context_full, "session: " + std::to_string(tokens.size()) +
                                                         " tokens do not fit, the context has " +
                                                         std::to_string(context()) + " positions and " +
                                                         std::to_string(position()) + " are taken"};
        }
        const std::size_t vocabulary = parameters_->vocabulary;
        for (std::size_t i = 0; i < tokens.size(); ++i) {
            if (tokens[i] < 0 || static_cast<std::size_t>(tokens[i]) >= vocabulary) {
                return bitnet::error{errc::invalid_token, "session: token " + std::to_string(i) + " is " +
                                                              std::to_string(tokens[i]) + ", the vocabulary has " +
                                                              std::to_string(vocabulary)};
            }
        }
        return {};
    }

    [[nodiscard]] result<void> check_head() const {
        if (parameters_->is_embedder) {
            return bitnet::error{errc::no_head, "session: the model is a text embedding model and has no head, so "
                                                "there are no logits and no next token; embed() is what it does"};
        }
        return {};
    }

    [[nodiscard]] result<void> ready_for_logits() {
        auto headed = check_head();
        return headed ? run_pending() : std::move(headed);
    }

    /// Runs the token that next() gave last. \return errc::nothing_fed before the first token.
    [[nodiscard]] result<void> run_pending() {
        if (position() == 0) {
            return bitnet::error{errc::nothing_fed, "session: no token was fed, so there is nothing to continue"};
        }
        if (pending_) {
            const default_float_environment environment;
            const token last = *std::exchange(pending_, std::nullopt);
            run({&last, 1});
        }
        return {};
    }

    [[nodiscard]] std::span<const float> all_logits() noexcept {
        const std::span<float> out(logits_row(0), parameters_->vocabulary);
        if (!logits_valid_) {
            transformer_.logits(*pool_, last_row_, out);
            logits_valid_ = true;
        }
        return out;
    }

    /// The k largest by the screened head, where there is one, k is in its range and all logits are not at hand anyway.
    [[nodiscard]] std::optional<std::span<const scored_token>> screened_logits(std::size_t k) noexcept {
        if (!is_screened_ || logits_valid_ || k == 0 || k > largest_.size()) {
            return std::nullopt;
        }
        return screening_.largest(*pool_, transformer_.final_state(last_row_), k);
    }

    [[nodiscard]] std::span<const scored_token> largest_of(std::span<const float> logits, std::size_t k) noexcept {
        std::size_t count = 0;
        for (std::size_t i = 0; i < logits.size(); ++i) {
            const scored_token here{static_cast<token>(i), logits[i]};
            if (count == k && !precedes(here, largest_[k - 1])) {
                continue;
            }
            count = std::min(count + 1, k);
            std::size_t at = count - 1; // one drops out at the end where there are k already
            for (; at != 0 && precedes(here, largest_[at - 1]); --at) {
                largest_[at] = largest_[at - 1];
            }
            largest_[at] = here;
        }
        return std::span<const scored_token>(largest_).first(count);
    }

    /// One pass. \pre 1 <= tokens.size() <= batch, checked tokens, room in the context.
    void run(std::span<const token> tokens) noexcept {
        for (std::size_t i = 0; i < tokens.size(); ++i) {
            rows_[i] = {&cache_, cached_ + i, tokens[i]};
        }
        cache_.extend(cached_, tokens.size());
        transformer_.embed(*pool_, rows_.span().first(tokens.size()));
        for (std::size_t layer = 0; layer < parameters_->layers; ++layer) {
            transformer_.layer(*pool_, layer);
        }
        cached_ += tokens.size();
        last_row_ = tokens.size() - 1;
        logits_valid_ = false;
    }

    const hyper_parameters* parameters_;
    const tokenizer* text_; ///< null without one
    typename P::pool* pool_;
    std::unique_ptr<typename P::pool> owned_pool_;
    session_options options_;
    kv_cache<typename P::kv_element> cache_;
    transformer<P> transformer_;
    buffer<row> rows_;
    buffer<float> logits_; ///< [logits_rows, vocabulary]; those of the last token come first
    head_screening<P> screening_;
    bool is_screened_ = false;
    std::array<scored_token, head_screening<P>::most> largest_;
    std::size_t cached_ = 0;   ///< positions in the cache
    std::size_t last_row_ = 0; ///< of the last pass, or no_row
    bool logits_valid_ = false;
    std::optional<token> pending_; ///< given by next(), not yet run
    bitnet::stop_reason stop_reason_ = bitnet::stop_reason::none;
    bitnet::error error_;
};

} // namespace bitnet::inline BITNET_ABI

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// What a session can do, whatever its policy. See session<P> for what the functions promise.
class session_interface {
public:
    virtual ~session_interface() = default;
    [[nodiscard]] virtual result<void> feed(std::span<const token> tokens) = 0;
    [[nodiscard]] virtual result<void> feed_each(std::span<const token> tokens, const logits_visitor& visitor) = 0;
    [[nodiscard]] virtual std::optional<token> next(sampler& choose) = 0;
    [[nodiscard]] virtual result<std::span<const float>> logits() = 0;
    [[nodiscard]] virtual result<std::span<const scored_token>> largest_logits(std::size_t k) = 0;
    [[nodiscard]] virtual result<std::span<const float>> embedding() = 0;
    [[nodiscard]] virtual result<std::span<const float>> embed(std::span<const token> tokens) = 0;
    [[nodiscard]] virtual const bitnet::head_statistics& head_statistics() const noexcept = 0;
    [[nodiscard]] virtual std::size_t position() const noexcept = 0;
    [[nodiscard]] virtual std::size_t context() const noexcept = 0;
    [[nodiscard]] virtual std::size_t threads() const noexcept = 0;
    [[nodiscard]] virtual bitnet::stop_reason stop_reason() const noexcept = 0;
    [[nodiscard]] virtual const bitnet::error& error() const noexcept = 0;
    virtual void reset() noexcept = 0;
};

/// What a model can do, whatever its policy. See model<P>.
class model_interface {
public:
    virtual ~model_interface() = default;
    [[nodiscard]] virtual const hyper_parameters& parameters() const noexcept = 0;
    [[nodiscard]] virtual const gguf_file& file() const noexcept = 0;
    [[nodiscard]] virtual bool has_text() const noexcept = 0;
    [[nodiscard]] virtual const tokenizer& text() const noexcept = 0;
    [[nodiscard]] virtual std::span<const std::string> notes() const noexcept = 0;
    [[nodiscard]] virtual std::string_view isa() const noexcept = 0;
    [[nodiscard]] virtual std::string_view layout() const noexcept = 0;
    [[nodiscard]] virtual std::uint64_t repacked_bytes() const noexcept = 0;
    [[nodiscard]] virtual result<std::unique_ptr<session_interface>> open_session(const session_options&) const = 0;
};

/// The virtual functions of session_interface over session<P>.
template <policy_type P> class erased_session final : public session_interface {
public:
    explicit erased_session(session<P> opened) noexcept : session_(std::move(opened)) {}

    result<void> feed(std::span<const token> tokens) override { return session_.feed(tokens); }
    result<void> feed_each(std::span<const token> tokens, const logits_visitor& visitor) override {
        return session_.feed_each(tokens, visitor);
    }
    std::optional<token> next(sampler& choose) override { return session_.next(choose); }
    result<std::span<const float>> logits() override { return session_.logits(); }
    result<std::span<const scored_token>> largest_logits(std::size_t k) override { return session_.largest_logits(k); }
    result<std::span<const float>> embedding() override { return session_.embedding(); }
    result<std::span<const float>> embed(std::span<const token> tokens) override { return session_.embed(tokens); }
    const bitnet::head_statistics& head_statistics() const noexcept override { return session_.head_statistics(); }
    std::size_t position() const noexcept override { return session_.position(); }
    std::size_t context() const noexcept override { return session_.context(); }
    std::size_t threads() const noexcept override { return session_.threads(); }
    bitnet::stop_reason stop_reason() const noexcept override { return session_.stop_reason(); }
    const bitnet::error& error() const noexcept override { return session_.error(); }
    void reset() noexcept override { session_.reset(); }

private:
    session<P> session_;
};

/// The virtual functions of model_interface over model<P>.
template <policy_type P> class erased_model final : public model_interface {
public:
    explicit erased_model(model<P> opened) noexcept : model_(std::move(opened)) {}

    const hyper_parameters& parameters() const noexcept override { return model_.parameters(); }
    const gguf_file& file() const noexcept override { return model_.file(); }
    bool has_text() const noexcept override { return model_.has_text(); }
    const tokenizer& text() const noexcept override { return model_.text(); }
    std::span<const std::string> notes() const noexcept override { return model_.notes(); }
    std::string_view isa() const noexcept override { return P::isa::name; }
    std::string_view layout() const noexcept override { return P::layout::name; }
    std::uint64_t repacked_bytes() const noexcept override { return model_.tensors().repacked_bytes(); }
    result<std::unique_ptr<session_interface>> open_session(const session_options& options) const override {
        auto opened = session<P>::open(model_, options);
        if (!opened) {
            return std::move(opened).error();
        }
        std::unique_ptr<session_interface> erased(new (std::nothrow) erased_session<P>(*std::move(opened)));
        if (erased == nullptr) {
            return bitnet::error{errc::out_of_memory, "session: " + std::to_string(sizeof(erased_session<P>)) +
                                                          " bytes could not be allocated"};
        }
        return erased;
    }

private:
    model<P> model_;
};

/// A model whose policy was chosen at run time from a list. A plain type that a class can hold; move-only; what it
/// gives stays valid when it moves.
///
///     class storyteller {
///         bitnet::any_model model_;
///         bitnet::any_session session_;   // after model_: it borrows it
///     };
///
/// One virtual call per feed or next; below it everything is as static as with model<P>.
class any_model {
public:
    /// Opens a GGUF file or the folder of a Hugging Face checkpoint with the first policy of `Ladder` that this CPU can
    /// run, or with the one named `isa`.
    /// \return errc::unsupported_cpu where there is none or it is not available, and what model<P>::open returns.
    template <class Ladder = any_cpu>
    [[nodiscard]] static result<any_model> open(std::string_view utf8_path, open_options options = {},
                                                std::string_view isa = {});
    /// The same from the bytes of a GGUF file, which the model takes over.
    template <class Ladder = any_cpu>
    [[nodiscard]] static result<any_model> open(byte_source source, open_options options = {},
                                                std::string_view isa = {});
    /// The same from a file that the program has looked at before, which the model takes over.
    template <class Ladder = any_cpu>
    [[nodiscard]] static result<any_model> open(model_file source, open_options options = {},
                                                std::string_view isa = {});

    [[nodiscard]] const hyper_parameters& parameters() const noexcept { return model_->parameters(); }
    [[nodiscard]] const gguf_file& file() const noexcept { return model_->file(); }
    [[nodiscard]] bool has_text() const noexcept { return model_->has_text(); }
    /// \pre has_text()
    [[nodiscard]] const tokenizer& text() const noexcept { return model_->text(); }
    [[nodiscard]] std::span<const std::string> notes() const noexcept { return model_->notes(); }
    [[nodiscard]] std::string_view isa() const noexcept { return model_->isa(); } ///< "avx2", ...
    /// The layout in which ternary tensors are multiplied: "i2_s", ...
    [[nodiscard]] std::string_view layout() const noexcept { return model_->layout(); }
    /// Memory for tensors that the file has in another layout; 0 where all are used as they are mapped.
    [[nodiscard]] std::uint64_t repacked_bytes() const noexcept { return model_->repacked_bytes(); }

private:
    friend class any_session;
    explicit any_model(std::unique_ptr<model_interface> erased) noexcept : model_(std::move(erased)) {}

    template <policy_type P>
    [[nodiscard]] static result<any_model> erase(model_file source, const open_options& options);

    std::unique_ptr<model_interface> model_;
};

/// A session with an any_model, which must outlive it. Move-only, and belongs to one thread at a time.
class any_session {
public:
    /// \return what session<P>::open returns.
    [[nodiscard]] static result<any_session> open(const any_model& opened, session_options options = {}) {
        auto erased = opened.model_->open_session(options);
        return erased ? result<any_session>(any_session(*std::move(erased))) : std::move(erased).error();
    }
    static result<any_session> open(any_model&&, session_options = {}) = delete; // would dangle

    [[nodiscard]] result<void> feed(std::span<const token> tokens) { return session_->feed(tokens); }
    template <class Visit> [[nodiscard]] result<void> feed_each(std::span<const token> tokens, Visit&& visit) {
        return session_->feed_each(tokens, visitor_of(visit));
    }
    [[nodiscard]] std::optional<token> next(sampler& choose) { return session_->next(choose); }
    [[nodiscard]] result<std::span<const float>> logits() { return session_->logits(); }
    [[nodiscard]] result<std::span<const scored_token>> largest_logits(std::size_t k) {
        return session_->largest_logits(k);
    }
    [[nodiscard]] result<std::span<const float>> embedding() { return session_->embedding(); }
    [[nodiscard]] result<std::span<const float>> embed(std::span<const token> tokens) {
        return session_->embed(tokens);
    }
    [[nodiscard]] const bitnet::head_statistics& head_statistics() const noexcept {
        return session_->head_statistics();
    }
    [[nodiscard]] std::size_t position() const noexcept { return session_->position(); }
    [[nodiscard]] std::size_t context() const noexcept { return session_->context(); }
    [[nodiscard]] std::size_t threads() const noexcept { return session_->threads(); }
    [[nodiscard]] bitnet::stop_reason stop_reason() const noexcept { return session_->stop_reason(); }
    [[nodiscard]] const bitnet::error& error() const noexcept { return session_->error(); }
    void reset() noexcept { session_->reset(); }

private:
    explicit any_session(std::unique_ptr<session_interface> erased) noexcept : session_(std::move(erased)) {}

    std::unique_ptr<session_interface> session_;
};

// Defined outside the class, so that a program can declare `extern template` for its ladder and build it once.

template <class Ladder>
result<any_model> any_model::open(std::string_view utf8_path, open_options options, std::string_view isa) {
    auto source = model_file::open(utf8_path, {options.load_tokenizer, options.pre_tokenizer});
    return source ? open<Ladder>(*std::move(source), options, isa) : result<any_model>(std::move(source).error());
}

template <class Ladder>
result<any_model> any_model::open(byte_source source, open_options options, std::string_view isa) {
    auto file = model_file::open(std::move(source));
    return file ? open<Ladder>(*std::move(file), options, isa) : result<any_model>(std::move(file).error());
}

template <class Ladder>
result<any_model> any_model::open(model_file source, open_options options, std::string_view isa) {
    std::string names;
    for (const std::string_view name : Ladder::names) {
        names += (names.empty() ? "" : ", ") + std::string(name);
    }
    result<any_model> opened =
        bitnet::error{errc::unsupported_cpu, isa.empty() ? "this CPU runs none of: " + names
                                                         : "'" + std::string(isa) + "' is none of: " + names};
    const auto open_with = [&]<class P>() { opened = erase<P>(std::move(source), options); };
    if (isa.empty()) {
        Ladder::with_first_available(open_with);
    } else {
        Ladder::with_isa(isa, open_with);
    }
    return opened;
}

template <policy_type P> result<any_model> any_model::erase(model_file source, const open_options& options) {
    auto opened = model<P>::open(std::move(source), options);
    if (!opened) {
        return std::move(opened).error();
    }
    std::unique_ptr<model_interface> erased(new (std::nothrow) erased_model<P>(*std::move(opened)));
    if (erased == nullptr) {
        return bitnet::error{errc::out_of_memory,
                             "model: " + std::to_string(sizeof(erased_model<P>)) + " bytes could not be allocated"};
    }
    return any_model(std::move(erased));
}

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/run/batch.hpp ----
// batch<P>: one step of several sessions together, so that the weights are read once for all of them.

#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <utility>

namespace bitnet::inline BITNET_ABI {

struct batch_options {
    /// Sessions that one step can take.
    std::size_t rows = 8;
    /// As in session_options; the threads of the sessions themselves rest meanwhile.
    std::size_t threads = 1;
    std::chrono::microseconds spin = default_spin;
};

/// What one session gets in a step.
template <policy_type P> struct batch_entry {
    session<P>* of;
    token id;
};

/// Steps sessions of one model together: decoding is bound by reading the weights, and here one reading serves all.
/// The logits are the bits that each session would have computed alone. Borrows the model, which must outlive it, and
/// sessions only during a call. Belongs to one thread at a time, as do the sessions. Allocates in open() only: scratch
/// for `rows` rows (under 150 KiB a row for the 2B model).
///
///     while (is_any_going_on) {
///         batch.run_pending(sessions);                   // one pass over the weights
///         for (auto* each : sessions) each->next(choose) // only samples
///     }
template <policy_type P> class batch {
public:
    static constexpr std::size_t most_rows = 1024;

    /// \return errc::invalid_argument (no rows, too many, no threads), errc::no_head (a text embedding
    /// model), errc::out_of_memory, errc::thread_error.
    [[nodiscard]] static result<batch> open(const model<P>& opened, batch_options options = {}) {
        auto pool = P::pool::open(options.threads, options.spin);
        if (!pool) {
            return std::move(pool).error();
        }
        typename P::pool& runs = **pool;
        return make(opened, runs, *std::move(pool), options.rows);
    }
    /// The same on the caller's pool, which must outlive the batch; options.threads and spin are not used.
    [[nodiscard]] static result<batch> open(const model<P>& opened, typename P::pool& pool,
                                            batch_options options = {}) {
        return make(opened, pool, nullptr, options.rows);
    }
    static result<batch> open(model<P>&&, batch_options = {}) = delete;                    // would dangle
    static result<batch> open(model<P>&&, typename P::pool&, batch_options = {}) = delete; // would dangle

    /// Appends one token to each session and runs them in one pass; then logits() of each gives what follows it.
    /// A session whose next() gave a token takes that token first, so the entry must name it.
    /// \pre no entry's session is null.
    /// \return errc::invalid_argument (more entries than rows, a session of another model, the same one twice, another
    /// token than next() gave), errc::invalid_token, errc::context_full: every session is then as it was.
    [[nodiscard]] result<void> step(std::span<const batch_entry<P>> entries) {
        if (auto checked = check(entries); !checked || entries.empty()) {
            return checked;
        }
        const default_float_environment environment;
        for (std::size_t i = 0; i < entries.size(); ++i) {
            session<P>& of = *entries[i].of;
            rows_[i] = {&of.cache_, of.cached_, entries[i].id};
            of.cache_.extend(of.cached_, 1);
            row_indices_[i] = i;
            logits_[i] = of.logits_.data();
        }
        transformer_.embed(*pool_, rows_.span().first(entries.size()));
        for (std::size_t layer = 0; layer < parameters_->layers; ++layer) {
            transformer_.layer(*pool_, layer);
        }
        transformer_.logits(*pool_, row_indices_.span().first(entries.size()), logits_.span().first(entries.size()));
        for (const batch_entry<P>& each : entries) {
            ++each.of->cached_;
            each.of->pending_.reset();
            each.of->last_row_ = session<P>::no_row;
            each.of->logits_valid_ = true;
        }
        return {};
    }

    /// Steps those of `sessions` whose next() gave a token that has not run yet, so that their next() only samples.
    /// \return what step() returns.
    [[nodiscard]] result<void> run_pending(std::span<session<P>* const> sessions) {
        std::size_t count = 0;
        for (session<P>* each : sessions) {
            if (each->pending_) {
                if (count == entries_.size()) {
                    return too_many(sessions.size());
                }
                entries_[count++] = {each, *each->pending_};
            }
        }
        return step(entries_.span().first(count));
    }

    [[nodiscard]] std::size_t rows() const noexcept { return entries_.size(); }
    [[nodiscard]] std::size_t threads() const noexcept { return pool_->threads(); }

private:
    using row = sequence_row<typename P::kv_element>;

    [[nodiscard]] static result<batch> make(const model<P>& opened, typename P::pool& pool,
                                            std::unique_ptr<typename P::pool> owned, std::size_t rows) {
        if (rows == 0 || rows > most_rows) {
            return error{errc::invalid_argument, "batch: " + std::to_string(rows) + " rows were asked for, 1 to " +
                                                     std::to_string(most_rows) + " are possible"};
        }
        if (opened.parameters().is_embedder) {
            return error{errc::no_head, "batch: the model is a text embedding model and has no head; see "
                                        "session::embed()"};
        }
        auto forward = transformer<P>::open(opened.parameters(), opened.tensors(), opened.frequencies(), rows);
        if (!forward) {
            return std::move(forward).error();
        }
        batch made(opened, pool, std::move(owned), *std::move(forward));
        error failure;
        allocate(made.entries_, rows, failure);
        allocate(made.rows_, rows, failure);
        allocate(made.row_indices_, rows, failure);
        allocate(made.logits_, rows, failure);
        if (failure.code != errc{}) {
            return failure;
        }
        return made;
    }
    template <class T> static void allocate(buffer<T>& into, std::size_t rows, error& failure) {
        auto made = buffer<T>::allocate(rows, "batch rows");
        if (made) {
            into = *std::move(made);
        } else if (failure.code == errc{}) {
            failure = std::move(made).error();
        }
    }

    batch(const model<P>& opened, typename P::pool& pool, std::unique_ptr<typename P::pool> owned,
          transformer<P> forward)
        : parameters_(&opened.parameters()), pool_(&pool), owned_pool_(std::move(owned)),
          transformer_(std::move(forward)) {}

    [[nodiscard]] error too_many(std::size_t count) const {
        return {errc::invalid_argument,
                "batch: " + std::to_string(count) + " sessions in a step of " + std::to_string(rows()) + " rows"};
    }

    [[nodiscard]] result<void> check(std::span<const batch_entry<P>> entries) const {
        if (entries.size() > rows()) {
            return too_many(entries.size());
        }
        for (std::size_t i = 0; i < entries.size(); ++i) {
            for (std::size_t earlier = 0; earlier < i; ++earlier) {
                if (entries[earlier].of == entries[i].of) {
                    return error{errc::invalid_argument, "batch: entries " + std::to_string(earlier) + " and " +
                                                             std::to_string(i) + " are the same session"};
                }
            }
            if (auto checked = check(i, entries[i]); !checked) {
                return checked;
            }
        }
        return {};
    }

    [[nodiscard]] result<void> check(std::size_t i, const batch_entry<P>& entry) const {
        const session<P>& of = *entry.of;
        const auto name = [i] { return "batch: entry " + std::to_string(i); };
        if (of.parameters_ != parameters_) {
            return error{errc::invalid_argument, name() + " is a session of another model"};
        }
        if (of.pending_ && *of.pending_ != entry.id) {
            return error{errc::invalid_argument, name() + " has token " + std::to_string(entry.id) +
                                                     ", but next() of its session gave " +
                                                     std::to_string(*of.pending_)};
        }
        if (entry.id < 0 || static_cast<std::size_t>(entry.id) >= parameters_->vocabulary) {
            return error{errc::invalid_token, name() + " has token " + std::to_string(entry.id) +
                                                  ", the vocabulary has " + std::to_string(parameters_->vocabulary)};
        }
        if (of.cached_ == of.context()) {
            return error{errc::context_full, name() + ": the context has " + std::to_string(of.context()) +
                                                 " positions and " + std::to_string(of.cached_) + " are taken"};
        }
        return {};
    }

    const hyper_parameters* parameters_; ///< of the model, and so of each of its sessions
    typename P::pool* pool_;
    std::unique_ptr<typename P::pool> owned_pool_;
    transformer<P> transformer_;
    buffer<batch_entry<P>> entries_; ///< of run_pending()
    buffer<row> rows_;
    buffer<std::size_t> row_indices_;
    buffer<float*> logits_;
};

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/run/embedding.hpp ----
// Text embeddings: the tokens of a text to embed, and smaller forms of the vector.

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI {

/// The tokens of `text` as session::embed() wants them: bos in front and eos behind where the file asks for them. Text
/// embedding models are trained to gather the text in that eos. What else a model wants around a text, such as an
/// instruction before a query, is up to the caller.
/// \param model a model<P> or an any_model
/// \pre model.has_text(). \return errc::wrong_type for a tokenizer.ggml.add_eos_token that is no bool,
/// errc::missing_key where it asks for an eos that there is not; what tokenizer::encode returns.
template <class Model>
[[nodiscard]] result<std::vector<token>> tokens_to_embed(const Model& model, std::string_view text) {
    const tokenizer& tokens = model.text();
    const auto add_eos = model.file().template get_or<bool>("tokenizer.ggml.add_eos_token", false);
    if (!add_eos) {
        return add_eos.error();
    }
    if (*add_eos && !tokens.eos()) {
        return error{errc::missing_key, model.file().name() + ": 'tokenizer.ggml.add_eos_token' is true, but there is "
                                                              "no 'tokenizer.ggml.eos_token_id'"};
    }
    std::vector<token> made;
    if (tokens.add_bos() && tokens.bos()) {
        made.push_back(*tokens.bos());
    }
    if (auto done = tokens.encode(text, made); !done) {
        return std::move(done).error();
    }
    if (*add_eos) {
        made.push_back(*tokens.eos());
    }
    return made;
}

/// out[i] = round_half_even(x[i] * 127 / max|x|): a quarter of the bytes. Cosines can be taken of the integers as they
/// are. \pre out.size() == x.size(). \return what an integer is to be multiplied by for x.
inline float quantize_embedding(std::span<const float> x, std::span<std::int8_t> out) noexcept {
    assert(out.size() == x.size());
    return float_ops<isa::scalar>::narrow_row(x.data(), x.size(), out.data());
}

/// Bytes of a binary embedding of `size` elements.
[[nodiscard]] constexpr std::size_t binary_embedding_bytes(std::size_t size) noexcept { return (size + 7) / 8; }

/// One bit for each element, 1 where it is above 0: a 32nd of the bytes. Element 8 b is the highest bit of byte b, as
/// numpy.packbits and sentence-transformers' "ubinary" have it; the last byte is filled up with zeros. The fewer bits
/// two embeddings differ in, the closer they are. \pre out.size() == binary_embedding_bytes(x.size())
inline void binarize_embedding(std::span<const float> x, std::span<std::uint8_t> out) noexcept {
    assert(out.size() == binary_embedding_bytes(x.size()));
    for (std::size_t b = 0; b < out.size(); ++b) {
        unsigned bits = 0;
        for (std::size_t i = 8 * b; i < 8 * b + 8; ++i) {
            bits = 2 * bits + (i < x.size() && x[i] > 0.0f ? 1u : 0u);
        }
        out[b] = static_cast<std::uint8_t>(bits);
    }
}

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/text/chat_dialog.hpp ----
// chat_dialog: the turns of a dialog as tokens, piece by piece as a session needs them.

// ---- bitnet/text/chat_format.hpp ----
// chat_format: the published ways of writing a dialog as one text, and what they do to its roles and contents.

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// One format for each published template. [x] is the control token x, \n a line end; turns follow one another:
///
///     bitnet   Role: content[<|eot_id|>]                                                  prompt: "Assistant: "
///     llama3   [<|start_header_id|>]role[<|end_header_id|>]\n\ncontent[<|eot_id|>]        prompt: header of assistant
///     falcon3  <|role|>\ncontent\n, of the assistant <|assistant|>\ncontent[EOS]\n        prompt: "<|assistant|>\n"
///     chatml   [<|im_start|>]role\ncontent[<|im_end|>]\n                                  prompt: header of assistant
///
/// bitnet and llama3 begin with BOS and strip white space around contents. The last line end of falcon3 stands only
/// where another turn follows; its marks are control tokens where the vocabulary has them and text where not.
/// Sources: the templates published with microsoft/bitnet-b1.58-2B-4T and with LLaMA-3; falcon3 is what llama.cpp calls
/// so, with EOS behind an answer, where the model puts it (Tulu's and OLMo's templates are the same); ChatML is
/// OpenAI's.
enum class chat_format : unsigned char { bitnet, llama3, falcon3, chatml };

/// In the order of the enumeration.
inline constexpr std::array<std::string_view, 4> chat_format_names{"bitnet", "llama3", "falcon3", "chatml"};

[[nodiscard]] constexpr std::string_view name_of(chat_format format) noexcept {
    return chat_format_names[static_cast<std::size_t>(format)];
}

/// The format of that name; nothing if there is none.
[[nodiscard]] constexpr std::optional<chat_format> find_chat_format(std::string_view name) noexcept {
    const auto found = std::find(chat_format_names.begin(), chat_format_names.end(), name);
    if (found == chat_format_names.end()) {
        return std::nullopt;
    }
    return static_cast<chat_format>(found - chat_format_names.begin());
}

/// One turn of a dialog. Borrows its texts.
struct chat_message {
    std::string_view role;    ///< "system", "user", "assistant"; all but falcon3 take others, such as "tool"
    std::string_view content; ///< any bytes; control tokens spelled in it are text
};

/// Whether the template writes turns of that role: falcon3's passes over those it does not know.
[[nodiscard]] constexpr bool has_role(chat_format format, std::string_view role) noexcept {
    return format == chat_format::falcon3 ? role == "system" || role == "user" || role == "assistant" : !role.empty();
}

/// The spelling of the token that ends a turn; empty where it is the vocabulary's EOS.
[[nodiscard]] constexpr std::string_view end_of_turn(chat_format format) noexcept {
    switch (format) {
    case chat_format::bitnet:
    case chat_format::llama3:
        return "<|eot_id|>";
    case chat_format::chatml:
        return "<|im_end|>";
    case chat_format::falcon3:
        break;
    }
    return {};
}

/// Whether a dialog begins with BOS whatever the vocabulary says.
[[nodiscard]] constexpr bool begins_with_bos(chat_format format) noexcept {
    return format == chat_format::bitnet || format == chat_format::llama3;
}

/// Whether white space around a content is left out.
[[nodiscard]] constexpr bool strips_content(chat_format format) noexcept {
    return format == chat_format::bitnet || format == chat_format::llama3;
}

/// `text` without white space at both ends, as the `trim` of templates sees it: Python's str.strip(), which takes the
/// four separators from U+001C on for white space too.
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

/// The first letter large and the others small, as the `capitalize` of templates does it; ASCII only.
[[nodiscard]] inline std::string capitalized(std::string_view role) {
    std::string made(role);
    for (std::size_t i = 0; i < made.size(); ++i) {
        const char low = i == 0 ? 'a' : 'A';
        const bool turn = made[i] >= low && made[i] <= low + 25;
        made[i] = turn ? static_cast<char>(made[i] ^ 0x20) : made[i];
    }
    return made;
}

} // namespace bitnet::inline BITNET_ABI

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI {

/// Text with control tokens in it. Text between two of them is one run, which is encoded as a whole.
class chat_pieces {
public:
    explicit chat_pieces(const tokenizer& text) noexcept : tokenizer_(&text) {}

    /// Appends text in which nothing is a control token.
    void write(std::string_view plain) {
        if (all_.empty() || all_.back().id != no_token) {
            all_.push_back({no_token, {}});
        }
        all_.back().text.append(plain);
    }
    void mark(token id) { all_.push_back({id, std::string(tokenizer_->bytes_of(id))}); }
    /// Appends the control token of that spelling, or the spelling as text where the vocabulary has no such token.
    void mark(std::string_view spelling) {
        if (const auto id = tokenizer_->find_special(spelling)) {
            mark(*id);
        } else {
            write(spelling);
        }
    }
    void clear() noexcept { all_.clear(); }

    /// Appends all tokens to `out`, or leaves it as it is. \return what tokenizer::encode returns.
    [[nodiscard]] result<void> encode(std::vector<token>& out) const {
        const auto before = static_cast<std::ptrdiff_t>(out.size());
        for (const piece& each : all_) {
            if (each.id != no_token) {
                out.push_back(each.id);
            } else if (auto done = tokenizer_->encode(each.text, out); !done) {
                out.erase(out.begin() + before, out.end());
                return done;
            }
        }
        return {};
    }
    /// All as text, control tokens as they are spelled.
    [[nodiscard]] std::string text() const {
        std::string all;
        for (const piece& each : all_) {
            all.append(each.text);
        }
        return all;
    }

private:
    struct piece {
        token id; ///< no_token: text
        std::string text;
    };

    const tokenizer* tokenizer_;
    std::vector<piece> all_;
};

/// A dialog that grows turn by turn while a session follows it. What take() returns, in order, are the tokens of the
/// whole dialog: nothing that a session has been fed has to be fed again.
///
///     dialog.add({"user", question});
///     dialog.add_prompt();
///     session.feed(*dialog.take());
///     ... the session's answer, up to a stop token or until it is interrupted ...
///     dialog.end_answer(stopped);      // and the next question
///
/// The model's answer stays the tokens that it generated; encoding its text again may give others.
/// Borrows the tokenizer, which must outlive it. Copyable: a copy is a way back. Usually made by chat_template::dialog.
class chat_dialog {
public:
    chat_dialog(chat_format format, const tokenizer& text, bool begin_with_bos)
        : format_(format), tokenizer_(&text), pieces_(text) {
        if (begin_with_bos && text.bos()) {
            pieces_.mark(*text.bos());
        }
    }
    chat_dialog(chat_format, tokenizer&&, bool) = delete; // would dangle

    /// Appends a whole turn. \return errc::invalid_argument for a role that the format does not have.
    [[nodiscard]] result<void> add(const chat_message& message) {
        if (!has_role(format_, message.role)) {
            return error{errc::invalid_argument,
                         "chat format " + std::string(name_of(format_)) + " has no role " + quoted_name(message.role)};
        }
        separate();
        write_header(message.role);
        pieces_.write(strips_content(format_) ? stripped(message.content) : message.content);
        if (format_ == chat_format::falcon3 && message.role != "assistant") {
            pieces_.write("\n");
        } else {
            end_turn(true);
        }
        return {};
    }

    /// Appends the beginning of the assistant's turn, which the model is to continue.
    void add_prompt() { write_header("assistant"); }

    /// Ends a turn that the model wrote. `stopped`: its last token is a stop token, so that the mark that ends a turn
    /// is there; else it is appended.
    void end_answer(bool stopped) { end_turn(!stopped); }

    /// The tokens since the last call. \return what tokenizer::encode returns; the dialog is as before then.
    [[nodiscard]] result<std::vector<token>> take() {
        std::vector<token> tokens;
        if (auto done = pieces_.encode(tokens); !done) {
            return std::move(done).error();
        }
        pieces_.clear();
        return tokens;
    }

    /// What take() would return, for showing: control tokens as they are spelled.
    [[nodiscard]] std::string text() const { return pieces_.text(); }

private:
    /// falcon3's line end behind an answer, which stands only where another turn follows.
    void separate() {
        if (std::exchange(separator_due_, false)) {
            pieces_.write("\n");
        }
    }

    void write_header(std::string_view role) {
        switch (format_) {
        case chat_format::bitnet:
            return pieces_.write(capitalized(role) + ": ");
        case chat_format::llama3:
            pieces_.mark("<|start_header_id|>");
            pieces_.write(role);
            pieces_.mark("<|end_header_id|>");
            return pieces_.write("\n\n");
        case chat_format::falcon3:
            pieces_.mark("<|" + std::string(role) + "|>");
            return pieces_.write("\n");
        case chat_format::chatml:
            pieces_.mark("<|im_start|>");
            return pieces_.write(std::string(role) + "\n");
        }
    }

    void end_turn(bool with_mark) {
        if (with_mark && end_of_turn(format_).empty()) {
            pieces_.mark(tokenizer_->eos().value_or(no_token));
        } else if (with_mark) {
            pieces_.mark(end_of_turn(format_));
        }
        if (format_ == chat_format::chatml) {
            pieces_.write("\n");
        }
        separator_due_ = format_ == chat_format::falcon3;
    }

    chat_format format_;
    const tokenizer* tokenizer_;
    chat_pieces pieces_;
    bool separator_due_ = false;
};

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/text/chat_template.hpp ----
// chat_template: which chat format a model takes, why, and whole dialogs in it.

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI {

/// What tells a published template: texts that it contains.
struct chat_fingerprint {
    chat_format format;
    bool is_wrong;                         ///< published by mistake: the model was trained with `format`
    std::string_view what;                 ///< for people
    std::array<std::string_view, 3> parts; ///< all are in the template as comparable_template() makes it
};

/// The first that fits is taken. Nothing in a template is executed.
inline constexpr std::array<chat_fingerprint, 5> chat_fingerprints{{
    {chat_format::bitnet,
     true,
     "a template ('Human: ... BITNETAssistant: ') that is known to be wrong for its model",
     {"'Human:'", "BITNETAssistant:", "message.role"}},
    {chat_format::bitnet, false, "bitnet's template", {"message.role|capitalize+':'", "<|eot_id|>", "'Assistant:'"}},
    {chat_format::llama3, false, "LLaMA-3's template", {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"}},
    {chat_format::chatml, false, "a ChatML template", {"<|im_start|>", "<|im_end|>", "role"}},
    {chat_format::falcon3,
     false,
     "Falcon3's template",
     {"'<|user|>'+message.content+''", "'<|assistant|>'", "eos_token"}},
}};

/// What a recognised template may do beyond its format, so that it can be said.
struct chat_template_extra {
    std::string_view part; ///< in the template as comparable_template() makes it
    std::string_view what;
};
inline constexpr std::array<chat_template_extra, 3> chat_template_extras{{
    {"CuttingKnowledgeDate", "its lines with dates are not written"},
    {"systemYouare", "its own system prompt is not written: give one where it is wanted"},
    {"<think>", "its thinking parts are not written"},
}};

/// Longer texts are not looked at; published templates have less than 32 KiB.
inline constexpr std::size_t longest_chat_template = std::size_t{1} << 20;

/// A template as fingerprints see it: without white space and escaped line ends, in single quotes, with members
/// spelled message.role and message.content; empty for one that is too long.
[[nodiscard]] inline std::string comparable_template(std::string_view text) {
    constexpr std::array<std::pair<std::string_view, std::string_view>, 2> members{
        {{"['role']", ".role"}, {"['content']", ".content"}}};
    std::string made;
    text = text.size() <= longest_chat_template ? text : std::string_view{};
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text.substr(i, 2) == "\\n") {
            ++i;
        } else if (std::string_view(" \t\r\n").find(text[i]) == std::string_view::npos) {
            made += text[i] == '"' ? '\'' : text[i];
        }
        for (const auto& [subscript, member] : members) {
            if (made.ends_with(subscript)) {
                made.replace(made.size() - subscript.size(), subscript.size(), member);
            }
        }
    }
    return made;
}

/// The fingerprint that `comparable` has, or null.
[[nodiscard]] constexpr const chat_fingerprint* find_chat_fingerprint(std::string_view comparable) noexcept {
    for (const chat_fingerprint& known : chat_fingerprints) {
        const auto stands = [comparable](std::string_view part) {
            return comparable.find(part) != std::string_view::npos;
        };
        if (std::all_of(known.parts.begin(), known.parts.end(), stands)) {
            return &known;
        }
    }
    return nullptr;
}

/// Which format is in use, and how that was decided.
struct chat_format_choice {
    chat_format format = chat_format::bitnet;
    bool inferred = false;  ///< neither the caller nor a template of the file says so; architecture and vocabulary do
    bool corrected = false; ///< the file's template is known to be wrong, and not what is used
    std::string why;        ///< a sentence for people
};

/// The chat format of a model. Immutable: any number of threads may use it at a time. Borrows the tokenizer, which must
/// outlive it; the file may go.
class chat_template {
public:
    /// Recognises tokenizer.chat_template by what it contains; without one, goes by the architecture and the vocabulary
    /// where these leave no doubt. `name`, one of chat_format_names, is used instead of all that.
    /// \return errc::unknown_chat_template for a template, a name or a model of which nothing is known: a dialog in a
    /// wrong format gives answers that look right and are not. errc::bad_vocabulary where the format's control tokens
    /// are missing; errc::wrong_type.
    [[nodiscard]] static result<chat_template> open(const gguf_file& file, const tokenizer& text,
                                                    std::string_view name = {});
    static result<chat_template> open(const gguf_file&, tokenizer&&, std::string_view = {}) = delete; // would dangle

    [[nodiscard]] chat_format format() const noexcept { return choice_.format; }
    [[nodiscard]] const chat_format_choice& choice() const noexcept { return choice_; }

    /// The tokens that end an answer: those that end a turn in this format, and tokenizer::stop_tokens(); ascending.
    [[nodiscard]] std::span<const token> stop_tokens() const noexcept { return stops_; }
    [[nodiscard]] bool is_stop(token id) const noexcept { return std::binary_search(stops_.begin(), stops_.end(), id); }

    /// An empty dialog, for a session.
    [[nodiscard]] chat_dialog dialog() const { return {choice_.format, *text_, begins_with_bos_}; }

    /// A whole dialog as tokens, BOS included; `with_prompt`: the assistant is to answer. Contents are text: control
    /// tokens that are spelled in them are not taken for such.
    /// \return errc::invalid_argument for a role that the format does not have; what tokenizer::encode returns.
    [[nodiscard]] result<std::vector<token>> encode(std::span<const chat_message> messages,
                                                    bool with_prompt = true) const {
        auto written = write(messages, with_prompt);
        return written ? written->take() : result<std::vector<token>>(std::move(written).error());
    }
    /// The same as text, for showing: read back, it may give other tokens.
    [[nodiscard]] result<std::string> render(std::span<const chat_message> messages, bool with_prompt = true) const {
        auto written = write(messages, with_prompt);
        return written ? written->text() : result<std::string>(std::move(written).error());
    }

private:
    static constexpr std::string_view template_key = "tokenizer.chat_template";

    explicit chat_template(const tokenizer& text) noexcept : text_(&text) {}

    [[nodiscard]] result<chat_dialog> write(std::span<const chat_message> messages, bool with_prompt) const {
        chat_dialog written = dialog();
        for (const chat_message& message : messages) {
            if (auto done = written.add(message); !done) {
                return std::move(done).error();
            }
        }
        if (with_prompt) {
            written.add_prompt();
        }
        return written;
    }

    [[nodiscard]] result<void> choose(const gguf_file& file, std::string_view name);
    [[nodiscard]] bool infer(const gguf_file& file);
    [[nodiscard]] result<void> check_tokens(const gguf_file& file) const;
    [[nodiscard]] static error unknown(const gguf_file& file, const std::string& what);
    void collect_stops();

    const tokenizer* text_;
    chat_format_choice choice_;
    std::vector<token> stops_;
    bool begins_with_bos_ = false;
};

inline result<chat_template> chat_template::open(const gguf_file& file, const tokenizer& text, std::string_view name) {
    chat_template made(text);
    if (auto chosen = made.choose(file, name); !chosen) {
        return std::move(chosen).error();
    }
    if (auto checked = made.check_tokens(file); !checked) {
        return std::move(checked).error();
    }
    made.collect_stops();
    return made;
}

inline result<void> chat_template::choose(const gguf_file& file, std::string_view name) {
    const auto in_file = file.get_or<std::string_view>(template_key, {});
    if (!in_file) {
        return error{in_file.error()};
    }
    const std::string comparable = comparable_template(*in_file);
    const chat_fingerprint* known = find_chat_fingerprint(comparable);
    const std::string said = in_file->empty()   ? "no template"
                             : known != nullptr ? std::string(known->what)
                                                : "a template that is not known";
    begins_with_bos_ = text_->add_bos() || comparable.find("bos_token") != std::string::npos;
    if (!name.empty()) {
        const auto named = find_chat_format(name);
        if (!named) {
            return unknown(file, "the caller asks for the chat format " + quoted_name(name));
        }
        choice_ = {*named, false, known != nullptr && known->is_wrong, "chosen by the caller; the file has " + said};
    } else if (known != nullptr) {
        choice_ = {known->format, false, known->is_wrong, "the file has " + said};
        for (const auto& [part, what] : chat_template_extras) {
            choice_.why += comparable.find(part) != std::string::npos ? "; " + std::string(what) : "";
        }
    } else if (!in_file->empty()) {
        return unknown(file, std::string(template_key) + " is not known, it begins " + quoted_name(*in_file));
    } else if (!infer(file)) {
        return unknown(file, std::string(template_key) + " is missing, and architecture and vocabulary tell no format");
    }
    begins_with_bos_ = begins_with_bos_ || begins_with_bos(choice_.format);
    return {};
}

/// Goes by facts of published models. Old `bitnet` files are of models that were never trained to chat.
inline bool chat_template::infer(const gguf_file& file) {
    const std::string none = std::string(template_key) + " is missing; ";
    const auto architecture = file.get_or<std::string_view>("general.architecture", {});
    const std::string_view name = architecture ? *architecture : std::string_view{};
    if ((name == "bitnet-b1.58" || name == "bitnet-25") && text_->find_special("<|eot_id|>")) {
        choice_ = {chat_format::bitnet, true, false,
                   none + "architecture " + std::string(name) + " was trained with bitnet's"};
        return true;
    }
    if (name == "llama" && text_->find_special("<|start_header_id|>") && text_->find_special("<|eot_id|>")) {
        choice_ = {chat_format::llama3, true, false, none + "the vocabulary has the control tokens of LLaMA-3's"};
        return true;
    }
    return false;
}

inline result<void> chat_template::check_tokens(const gguf_file& file) const {
    const auto need = [&](std::string_view spelling) -> result<void> {
        if (text_->find_special(spelling)) {
            return {};
        }
        return error{errc::bad_vocabulary, file.name() + ": chat format " + std::string(name_of(format())) +
                                               " needs the control token " + quoted_name(spelling) +
                                               ", which is not among the " + std::to_string(text_->vocabulary_size()) +
                                               " of tokenizer.ggml.tokens"};
    };
    switch (format()) {
    case chat_format::bitnet:
        return need("<|eot_id|>");
    case chat_format::llama3:
        for (const std::string_view spelling : {"<|start_header_id|>", "<|end_header_id|>"}) {
            if (auto there = need(spelling); !there) {
                return there;
            }
        }
        return need("<|eot_id|>");
    case chat_format::chatml:
        if (auto there = need("<|im_start|>"); !there) {
            return there;
        }
        return need("<|im_end|>");
    case chat_format::falcon3:
        break;
    }
    if (!text_->eos()) {
        return error{errc::missing_key, file.name() + ": chat format falcon3 needs tokenizer.ggml.eos_token_id"};
    }
    return {};
}

inline error chat_template::unknown(const gguf_file& file, const std::string& what) {
    std::string names;
    for (const std::string_view name : chat_format_names) {
        names.append(names.empty() ? "" : ", ").append(name);
    }
    return {errc::unknown_chat_template,
            file.name() + ": " + what + "; known formats are: " + names + " (naming one overrides the file)"};
}

inline void chat_template::collect_stops() {
    stops_.assign(text_->stop_tokens().begin(), text_->stop_tokens().end());
    const auto add = [this](std::optional<token> id) {
        if (id && !is_stop(*id)) {
            stops_.insert(std::upper_bound(stops_.begin(), stops_.end(), *id), *id);
        }
    };
    add(end_of_turn(format()).empty() ? text_->eos() : text_->find_special(end_of_turn(format())));
    if (format() == chat_format::chatml) {
        add(text_->find_special("<|endoftext|>")); // Qwen's models end answers with either
    }
}

} // namespace bitnet::inline BITNET_ABI

// ---- bitnet/text/stream_decoder.hpp ----
// stream_decoder: the text of one token after another, in whole code points.

#include <string>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// Turns tokens into text that can be shown at once: a code point whose bytes are spread over several tokens comes out
/// with the last of them. Nothing is replaced: bytes that are not UTF-8 come out as they are, so that all the text
/// that feed() and flush() return is, byte for byte, tokenizer::decode() of all the tokens with the same options.
/// Holds back three bytes at most. Borrows the tokenizer, which must outlive it. Allocates only when it is made.
class stream_decoder {
public:
    explicit stream_decoder(const tokenizer& t, decode_options options = {})
        : tokenizer_(&t), drop_space_(t.adds_space_prefix() && !options.follows_text) {
        text_.reserve(t.longest_token() + 3);
    }
    explicit stream_decoder(tokenizer&&, decode_options = {}) = delete; // would dangle

    /// The text that became complete with `id`; may be empty. A token outside the vocabulary has no text.
    /// Valid until the next call.
    [[nodiscard]] std::string_view feed(token id) {
        drop_returned();
        std::string_view bytes = tokenizer_->bytes_of(id);
        if (drop_space_ && !bytes.empty()) {
            bytes.remove_prefix(bytes.starts_with(' ') ? 1 : 0);
            drop_space_ = false;
        }
        text_.append(bytes);
        returned_ = text_.size() - unfinished_tail(text_);
        return std::string_view(text_).substr(0, returned_);
    }

    /// What is still held back: the start of a code point that never got complete. Valid until the next call.
    [[nodiscard]] std::string_view flush() {
        drop_returned();
        returned_ = text_.size();
        return text_;
    }

private:
    void drop_returned() {
        text_.erase(0, returned_);
        returned_ = 0;
    }

    const tokenizer* tokenizer_;
    std::string text_;                    ///< what was returned last, then what is held back
    std::string::size_type returned_ = 0; ///< bytes of `text_` that were returned
    bool drop_space_;                     ///< the first byte is still to come, and goes if it is a space
};

} // namespace bitnet::inline BITNET_ABI
