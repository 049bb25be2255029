// SPDX-License-Identifier: MIT
// memory_source: where a host lets the library have its large blocks of memory from.
#ifndef BITNET_CORE_MEMORY_SOURCE_HPP
#define BITNET_CORE_MEMORY_SOURCE_HPP

#include <bitnet/core/config.hpp>

#include <cstddef>
#include <cstdint>

namespace bitnet::inline BITNET_ABI {

/// What a block of memory is for.
enum class memory_use : std::uint8_t {
    weights,   ///< of a model: a copy of its file, repacked tensors, norms, the screen of its head
    tables,    ///< of a model: its tokenizer, the list of its tensors
    pages,     ///< keys and values, of a session or of a kv_pool
    scratch,   ///< of a session, a batch or a sampler: activations, logits, tokens
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
/// objects of a few KiB, strings and messages, stacks of threads, the containers that public functions return, and
/// what reading the folder of a Hugging Face checkpoint puts into containers. Files that are mapped are the system's.
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
