// SPDX-License-Identifier: MIT
// open_options: how a model is opened.
#ifndef BITNET_RUN_OPEN_OPTIONS_HPP
#define BITNET_RUN_OPEN_OPTIONS_HPP

#include <bitnet/checkpoint/activation_rounding.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/memory_source.hpp>
#include <bitnet/io/open_progress.hpp>
#include <bitnet/io/page_mode.hpp>
#include <bitnet/kernel/i2s_order.hpp>
#include <bitnet/thread/pool.hpp>

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
