// SPDX-License-Identifier: MIT
// open_progress: how far the opening of a model is, for a host that shows it or may give it up.
#ifndef BITNET_IO_OPEN_PROGRESS_HPP
#define BITNET_IO_OPEN_PROGRESS_HPP

#include <bitnet/core/config.hpp>

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
