// SPDX-License-Identifier: MIT
// What the machine can do at most: bytes read from memory and int8 products in registers; and what a process takes.
#pragma once

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/thread/thread_pool.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bench {

/// "Vendor CPU model, N logical CPUs".
[[nodiscard]] std::string machine_name();

/// Memory of this process in bytes; 0 where the system does not tell.
struct memory_use {
    std::uint64_t peak_resident = 0; ///< since reset_peak()
    std::uint64_t anonymous = 0;     ///< resident and backed by no file
};
[[nodiscard]] memory_use memory_of_process();
void reset_peak_memory();

/// Reads memory as fast as any of its loops can: plain and with prefetch, in the widest registers of this CPU.
class read_benchmark {
public:
    static constexpr std::size_t bytes = std::size_t{512} << 20;

    [[nodiscard]] static bitnet::result<read_benchmark> open();

    /// One turn of every loop over 512 MiB of huge pages of its own. \return GB/s of each loop
    [[nodiscard]] std::vector<double> turn(bitnet::thread_pool& pool) const;
    /// The same over the pages of others, in this order.
    [[nodiscard]] std::vector<double> turn(bitnet::thread_pool& pool,
                                           std::span<const std::span<const std::byte>> memory) const;

    /// Its own, huge pages where the system has them.
    [[nodiscard]] std::span<const std::byte> memory() const noexcept { return memory_.span(); }

private:
    read_benchmark() = default;

    bitnet::buffer<std::byte> memory_;
};

/// Seconds of a parallel loop whose tasks do nothing, one for each thread: the median of many.
[[nodiscard]] double empty_loop(bitnet::thread_pool& pool);

/// Products of int8 that the instruction set makes in registers alone, in 1e9/s on all threads of the pool; 0 for
/// scalar, which has no such instruction.
[[nodiscard]] double int8_peak(bitnet::thread_pool& pool, std::string_view isa);
/// The same where every step loads its four tiles of AMX from the L1 cache, as a kernel has to; nothing for other
/// instruction sets.
[[nodiscard]] std::optional<double> int8_peak_from_cache(bitnet::thread_pool& pool, std::string_view isa);

} // namespace bench
