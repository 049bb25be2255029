// SPDX-License-Identifier: MIT
// page_mode: whether a model's files are mapped or copied into memory with huge pages.
#ifndef BITNET_IO_PAGE_MODE_HPP
#define BITNET_IO_PAGE_MODE_HPP

#include <bitnet/core/config.hpp>

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
