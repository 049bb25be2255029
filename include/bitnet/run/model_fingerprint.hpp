// SPDX-License-Identifier: MIT
// model_fingerprint: a number that tells models apart whose logits differ.
#ifndef BITNET_RUN_MODEL_FINGERPRINT_HPP
#define BITNET_RUN_MODEL_FINGERPRINT_HPP

#include <bitnet/checkpoint/hyper_parameters.hpp>
#include <bitnet/core/checksum.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/gguf_types.hpp>
#include <bitnet/kernel/i2s_order.hpp>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

namespace bitnet::inline BITNET_ABI::detail {

/// Covers every hyper-parameter that is computed with, the order of I2_S, and of each tensor name, type, shape and 16
/// pieces of up to 256 bytes, the first and the last among them: under a megabyte of the largest models. Fine-tuning
/// changes nearly all weights; a model that differs in a few bytes between the pieces passes for the same. Nothing that
/// depends on the machine, its instruction set or the order of tensors is covered, and neither are the tokenizer and
/// the screen of the head: they change no logits.
class model_fingerprint {
public:
    /// Borrows both, which must outlive it.
    model_fingerprint(const gguf_file& file, const hyper_parameters& parameters, i2s_order order) noexcept
        : file_(&file), parameters_(&parameters), order_(order) {}

    /// Computed by the first call, from a few thousand places of the file. Any thread may ask.
    [[nodiscard]] std::uint64_t value() const noexcept {
        std::uint64_t known = value_.load(std::memory_order_relaxed);
        if (known == 0) {
            known = compute() | 1; // not 0, which says unknown
            value_.store(known, std::memory_order_relaxed);
        }
        return known;
    }

private:
    static constexpr std::size_t pieces = 16;
    static constexpr std::size_t piece_bytes = 256;

    [[nodiscard]] std::uint64_t compute() const noexcept {
        std::uint64_t tensors = 0;
        for (const gguf_tensor& tensor : file_->tensors()) {
            if (tensor.type != tensor_type::hpp_screen) {
                tensors += of(tensor); // a sum, because files have their tensors in different orders
            }
        }
        checksum all(tensors);
        add_parameters(all);
        return all.value();
    }

    template <class T> static void add(checksum& all, T value) noexcept {
        const auto wide = static_cast<std::uint64_t>(value); // size_t has 32 bits elsewhere
        all.add(std::as_bytes(std::span(&wide, 1)));
    }
    static void add(checksum& all, float value) noexcept { add(all, std::bit_cast<std::uint32_t>(value)); }

    void add_parameters(checksum& all) const noexcept {
        const hyper_parameters& p = *parameters_;
        for (const std::size_t size : {p.layers, p.hidden, p.feed_forward, p.heads, p.kv_heads, p.head_size,
                                       p.vocabulary, p.rope_original_context}) {
            add(all, size);
        }
        for (const float number : {p.rms_epsilon, p.rope_theta, p.rope_factor, p.rope_magnitude, p.embedding_scale,
                                   p.residual_scale, p.logit_scale}) {
            add(all, number);
        }
        for (const bool is_so : {p.has_sub_norms, p.has_qkv_biases, p.has_own_lm_head, p.is_embedder}) {
            add(all, is_so);
        }
        add(all, static_cast<unsigned>(p.pairing));
        add(all, static_cast<unsigned>(p.activation));
        add(all, static_cast<unsigned>(order_));
        for (const auto* divisors : {&p.rope_divisors, &p.rope_long_divisors}) {
            add(all, divisors->size());
            all.add(std::as_bytes(std::span(*divisors)));
        }
    }

    [[nodiscard]] static std::uint64_t of(const gguf_tensor& tensor) noexcept {
        checksum all;
        all.add(std::as_bytes(std::span(tensor.name)));
        add(all, static_cast<std::uint32_t>(tensor.type));
        for (const std::uint64_t dim : tensor.dims) {
            add(all, dim);
        }
        const std::size_t size = (std::min)(piece_bytes, tensor.bytes.size());
        const std::uint64_t last = tensor.bytes.size() - size;
        for (std::size_t i = 0; i < pieces; ++i) { // i * last fits: no tensor has 2^60 bytes
            all.add(tensor.bytes.subspan(to_size(i * last / (pieces - 1)), size));
        }
        return all.value();
    }

    const gguf_file* file_;
    const hyper_parameters* parameters_;
    i2s_order order_;
    mutable std::atomic<std::uint64_t> value_{0};
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
