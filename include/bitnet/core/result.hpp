// SPDX-License-Identifier: MIT
// errc, error and result<T>: how functions report failure. Nothing here throws.
#ifndef BITNET_CORE_RESULT_HPP
#define BITNET_CORE_RESULT_HPP

#include <bitnet/core/config.hpp>

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
