// SPDX-License-Identifier: MIT
#include "machine.hpp"

#include <bitnet/core/config.hpp>
#include <bitnet/simd/amx_tiles.hpp>
#include <bitnet/simd/cpu.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <thread>

#if defined(__linux__)
#include <sys/mman.h>
#endif
#if BITNET_X86_64
#include <immintrin.h>

// Four running sums keep several loads in flight; a prefetch of Ahead bytes, 0 for none.
BITNET_TARGET_BEGIN("avx2")
namespace {
template <std::size_t Ahead> std::uint64_t read_avx2(const std::byte* p, std::size_t n) noexcept {
    __m256i sums[4] = {};
    for (std::size_t i = 0; i + 128 <= n; i += 128) {
        if constexpr (Ahead != 0) {
            _mm_prefetch(reinterpret_cast<const char*>(p + i) + Ahead, _MM_HINT_T0);
            _mm_prefetch(reinterpret_cast<const char*>(p + i) + Ahead + 64, _MM_HINT_T0);
        }
        BITNET_UNROLL
        for (std::size_t s = 0; s < 4; ++s) {
            const __m256i value = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + i + 32 * s));
            sums[s] = _mm256_add_epi64(sums[s], value);
        }
    }
    const __m256i all = _mm256_add_epi64(_mm256_add_epi64(sums[0], sums[1]), _mm256_add_epi64(sums[2], sums[3]));
    alignas(32) std::array<std::uint64_t, 4> lanes{};
    _mm256_store_si256(reinterpret_cast<__m256i*>(lanes.data()), all);
    return lanes[0] + lanes[1] + lanes[2] + lanes[3];
}

/// Eight chains of vpmaddubsw and vpaddw, 32 products a step. The asm hides the values from the optimiser.
std::uint64_t multiply_avx2(std::size_t steps) noexcept {
    __m256i sums[8] = {};
    __m256i x = _mm256_set1_epi8(1);
    for (std::size_t i = 0; i < steps; ++i) {
        BITNET_UNROLL
        for (std::size_t s = 0; s < 8; ++s) {
            __asm__ volatile("" : "+x"(x)); // or one product would serve all sums
            sums[s] = _mm256_add_epi16(sums[s], _mm256_maddubs_epi16(x, x));
        }
        __asm__ volatile("" : "+x"(sums[0]), "+x"(sums[1]), "+x"(sums[2]), "+x"(sums[3]));
        __asm__ volatile("" : "+x"(sums[4]), "+x"(sums[5]), "+x"(sums[6]), "+x"(sums[7]));
    }
    return steps * 8 * 32;
}
} // namespace
BITNET_TARGET_END

BITNET_TARGET_BEGIN("avx2,avxvnni")
namespace {
/// vpdpbusd takes five cycles on Intel, where two can start in each: ten chains and more reach its peak.
constexpr std::size_t vnni_chains = 12;

std::uint64_t multiply_avx_vnni(std::size_t steps) noexcept {
    __m256i sums[vnni_chains] = {};
    __m256i x = _mm256_set1_epi8(1);
    for (std::size_t i = 0; i < steps; ++i) {
        BITNET_UNROLL
        for (std::size_t s = 0; s < vnni_chains; ++s) {
            sums[s] = _mm256_dpbusd_avx_epi32(sums[s], x, x);
            __asm__ volatile("" : "+x"(sums[s]));
        }
    }
    return steps * vnni_chains * 32;
}
} // namespace
BITNET_TARGET_END

BITNET_TARGET_BEGIN("avx512f,avx512bw,avx512vl,avx512vnni")
namespace {
template <std::size_t Ahead> std::uint64_t read_avx512(const std::byte* p, std::size_t n) noexcept {
    __m512i sums[4] = {};
    for (std::size_t i = 0; i + 256 <= n; i += 256) {
        BITNET_UNROLL
        for (std::size_t s = 0; s < 4; ++s) {
            if constexpr (Ahead != 0) {
                _mm_prefetch(reinterpret_cast<const char*>(p + i + 64 * s) + Ahead, _MM_HINT_T0);
            }
            sums[s] = _mm512_add_epi64(sums[s], _mm512_loadu_si512(p + i + 64 * s));
        }
    }
    const __m512i all = _mm512_add_epi64(_mm512_add_epi64(sums[0], sums[1]), _mm512_add_epi64(sums[2], sums[3]));
    alignas(64) std::array<std::uint64_t, 8> lanes{};
    _mm512_store_si512(lanes.data(), all);
    return lanes[0] + lanes[1] + lanes[2] + lanes[3] + lanes[4] + lanes[5] + lanes[6] + lanes[7];
}

std::uint64_t multiply_avx512_vnni(std::size_t steps) noexcept {
    __m512i sums[vnni_chains] = {};
    __m512i x = _mm512_set1_epi8(1);
    for (std::size_t i = 0; i < steps; ++i) {
        BITNET_UNROLL
        for (std::size_t s = 0; s < vnni_chains; ++s) {
            sums[s] = _mm512_dpbusd_epi32(sums[s], x, x);
            __asm__ volatile("" : "+v"(sums[s]));
        }
    }
    return steps * vnni_chains * 64;
}
} // namespace
BITNET_TARGET_END
#if BITNET_AMX_ASSEMBLER
namespace {
/// Four chains of tdpbsud on zeroed tiles of 16 x 64 and 64 x 16 bytes.
std::uint64_t multiply_amx_int8(std::size_t steps) noexcept {
    using tiles = bitnet::detail::amx_tiles;
    tiles::configure({});
    tiles::zero<4>();
    tiles::zero<5>();
    for (std::size_t i = 0; i < steps; ++i) {
        tiles::multiply<0, 4, 5>();
        tiles::multiply<1, 4, 5>();
        tiles::multiply<2, 4, 5>();
        tiles::multiply<3, 4, 5>();
    }
    tiles::release();
    return steps * 4 * 16 * 16 * 64;
}

/// The same with two tiles of each operand loaded before every four products, from 16 KiB that stay in the L1 cache.
std::uint64_t multiply_amx_int8_from_cache(std::size_t steps) noexcept {
    using tiles = bitnet::detail::amx_tiles;
    constexpr std::size_t tile = 1024;
    alignas(64) std::array<std::byte, 16 * tile> memory{};
    tiles::configure({});
    for (std::size_t i = 0; i < steps; ++i) {
        const std::byte* operands = memory.data() + i % 4 * (4 * tile);
        tiles::load<4>(operands, 64);
        tiles::load<5>(operands + tile, 64);
        tiles::load<6>(operands + 2 * tile, 64);
        tiles::load<7>(operands + 3 * tile, 64);
        tiles::multiply<0, 4, 6>();
        tiles::multiply<1, 4, 7>();
        tiles::multiply<2, 5, 6>();
        tiles::multiply<3, 5, 7>();
    }
    tiles::release();
    return steps * 4 * 16 * 16 * 64;
}
} // namespace
#endif
#endif

namespace {

using read_loop = std::uint64_t (*)(const std::byte*, std::size_t) noexcept;
using multiply_loop = std::uint64_t (*)(std::size_t) noexcept;

template <std::size_t Sums> std::uint64_t read_words(const std::byte* p, std::size_t n) noexcept {
    std::array<std::uint64_t, Sums> sums{};
    for (std::size_t i = 0; i + 8 * Sums <= n; i += 8 * Sums) {
        for (std::size_t s = 0; s < Sums; ++s) {
            std::uint64_t word = 0;
            std::memcpy(&word, p + i + 8 * s, sizeof word);
            sums[s] += word;
        }
    }
    std::uint64_t all = 0;
    for (const std::uint64_t sum : sums) {
        all += sum;
    }
    return all;
}

std::vector<read_loop> loops_of_this_cpu() {
    std::vector<read_loop> loops{&read_words<8>};
#if BITNET_X86_64
    const auto features = bitnet::detail::detect_x86_features();
    if (features.avx2) {
        loops.insert(loops.end(), {&read_avx2<0>, &read_avx2<1024>, &read_avx2<4096>});
    }
    if (features.avx512_vnni) {
        loops.insert(loops.end(), {&read_avx512<0>, &read_avx512<1024>, &read_avx512<4096>});
    }
#endif
    return loops;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// The number after `key` in /proc/self/status, which is in kB.
std::uint64_t status_bytes(std::string_view key) {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);) {
        if (line.starts_with(key)) {
            return std::strtoull(line.c_str() + key.size(), nullptr, 10) * 1024;
        }
    }
    return 0;
}

std::string brand() {
#if BITNET_X86_64
    if (bitnet::detail::cpu::cpuid(0x80000000u, 0).eax >= 0x80000004u) {
        std::string text;
        for (std::uint32_t leaf = 0x80000002u; leaf <= 0x80000004u; ++leaf) {
            const auto r = bitnet::detail::cpu::cpuid(leaf, 0);
            for (const std::uint32_t word : {r.eax, r.ebx, r.ecx, r.edx}) {
                text.append(reinterpret_cast<const char*>(&word), sizeof word);
            }
        }
        text.resize(text.find('\0') == std::string::npos ? text.size() : text.find('\0'));
        text.erase(text.find_last_not_of(' ') + 1);
        return text;
    }
#endif
    return "unknown CPU";
}

std::atomic<std::uint64_t> sink; // what the loops computed, so that they have to

/// Products that the loop makes on all threads, in 1e9/s: the best of five turns.
double fastest(bitnet::thread_pool& pool, multiply_loop loop) {
    constexpr std::size_t steps = 200'000;
    constexpr std::size_t tasks_per_thread = 8;
    std::vector<double> turns;
    for (int turn = 0; turn < 5; ++turn) {
        std::atomic<std::uint64_t> products{0};
        const auto start = std::chrono::steady_clock::now();
        bitnet::detail::parallel_for(pool, pool.threads() * tasks_per_thread,
                                     [&](std::size_t) noexcept { products += loop(steps); });
        turns.push_back(static_cast<double>(products.load()) / seconds_since(start) / 1e9);
    }
    return *std::max_element(turns.begin(), turns.end());
}

} // namespace

namespace bench {

std::string machine_name() { return brand() + ", " + std::to_string(std::thread::hardware_concurrency()) + " CPUs"; }

memory_use memory_of_process() { return {status_bytes("VmHWM:"), status_bytes("RssAnon:")}; }

void reset_peak_memory() { std::ofstream("/proc/self/clear_refs") << '5'; }

bitnet::result<read_benchmark> read_benchmark::open() {
    constexpr std::size_t huge = std::size_t{2} << 20;
    auto memory = bitnet::buffer<std::byte>::allocate_uninitialized(bytes + huge, "read benchmark");
    if (!memory) {
        return std::move(memory).error();
    }
    read_benchmark made;
    made.memory_ = *std::move(memory);
#if defined(__linux__)
    const auto at = reinterpret_cast<std::uintptr_t>(made.memory_.data());
    ::madvise(made.memory_.data() + (huge - at % huge) % huge, bytes, MADV_HUGEPAGE);
#endif
    std::fill_n(made.memory_.data(), made.memory_.size(), std::byte{1});
    return made;
}

std::vector<double> read_benchmark::turn(bitnet::thread_pool& pool) const {
    const std::span<const std::byte> own = memory_.span();
    return turn(pool, {&own, 1});
}

std::vector<double> read_benchmark::turn(bitnet::thread_pool& pool,
                                         std::span<const std::span<const std::byte>> memory) const {
    constexpr std::size_t longest = std::size_t{1} << 20;
    std::vector<std::span<const std::byte>> pieces;
    std::size_t bytes_of_all = 0;
    for (std::span<const std::byte> rest : memory) {
        bytes_of_all += rest.size();
        while (!rest.empty()) {
            pieces.push_back(rest.first(std::min(longest, rest.size())));
            rest = rest.subspan(pieces.back().size());
        }
    }
    std::vector<double> speeds;
    for (const read_loop loop : loops_of_this_cpu()) {
        const auto start = std::chrono::steady_clock::now();
        bitnet::detail::parallel_for(pool, pieces.size(), [&](std::size_t i) noexcept {
            sink.fetch_add(loop(pieces[i].data(), pieces[i].size()), std::memory_order_relaxed);
        });
        speeds.push_back(static_cast<double>(bytes_of_all) / seconds_since(start) / 1e9);
    }
    return speeds;
}

double empty_loop(bitnet::thread_pool& pool) {
    std::array<double, 401> all;
    for (double& seconds : all) {
        const auto start = std::chrono::steady_clock::now();
        bitnet::detail::parallel_for(pool, pool.threads(), [](std::size_t) noexcept {});
        seconds = seconds_since(start);
    }
    std::nth_element(all.begin(), all.begin() + all.size() / 2, all.end());
    return all[all.size() / 2];
}

double int8_peak(bitnet::thread_pool& pool, std::string_view isa) {
    multiply_loop loop = nullptr;
#if BITNET_X86_64
    loop = isa == "avx2"          ? &multiply_avx2
           : isa == "avx_vnni"    ? &multiply_avx_vnni
           : isa == "avx512_vnni" ? &multiply_avx512_vnni
                                  : nullptr;
#if BITNET_AMX_ASSEMBLER
    loop = isa == "amx_int8" ? &multiply_amx_int8 : loop;
#endif
#endif
    if (loop == nullptr) {
        return 0;
    }
    return fastest(pool, loop);
}

std::optional<double> int8_peak_from_cache([[maybe_unused]] bitnet::thread_pool& pool,
                                           [[maybe_unused]] std::string_view isa) {
#if BITNET_X86_64 && BITNET_AMX_ASSEMBLER
    if (isa == "amx_int8") {
        return fastest(pool, &multiply_amx_int8_from_cache);
    }
#endif
    return std::nullopt;
}

} // namespace bench
