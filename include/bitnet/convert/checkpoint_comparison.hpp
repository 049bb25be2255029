// SPDX-License-Identifier: MIT
// compare_checkpoints: whether two files hold the same model, ternary value by ternary value.
#ifndef BITNET_CONVERT_CHECKPOINT_COMPARISON_HPP
#define BITNET_CONVERT_CHECKPOINT_COMPARISON_HPP

#include <bitnet/checkpoint/block_rows.hpp>
#include <bitnet/checkpoint/float_tensor.hpp>
#include <bitnet/checkpoint/hyper_parameter_reader.hpp>
#include <bitnet/convert/permuted_rows.hpp>
#include <bitnet/core/buffer.hpp>
#include <bitnet/core/checked.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/quantized_block.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/gguf_types.hpp>
#include <bitnet/io/gguf_value.hpp>
#include <bitnet/io/quoted_name.hpp>
#include <bitnet/model/lm_head_screen.hpp>
#include <bitnet/text/control_spelling.hpp>
#include <bitnet/thread/pool.hpp>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
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

namespace detail {

/// The weights of a ternary tensor of any type as floats, row by row. Borrows the tensor.
class ternary_values {
public:
    /// \return what ternary_source::open does, of types whose blocks have no scales
    [[nodiscard]] static result<ternary_values> open(const gguf_file& file, const gguf_tensor& tensor,
                                                     const ternary_reading& reading, permuted_rows order,
                                                     pool_ref pool) {
        ternary_values made(order, to_size(tensor.dims[0]));
        if (has_block_scales(tensor.type)) {
            const auto beside =
                is_ternary_place(tensor.name) ? find_scale(file, tensor) : result<std::optional<float>>(std::nullopt);
            if (!beside) {
                return failed(beside);
            }
            made.blocks_.emplace(tensor);
            made.scale_ = beside->value_or(1.0f);
            return made;
        }
        auto source = ternary_source::open(file, tensor, reading, pool);
        if (!source) {
            return failed(source);
        }
        made.scale_ = source->scale();
        made.source_.emplace(*std::move(source));
        return made;
    }

    /// \param codes working memory [cols] \return false if the row is not ternary
    [[nodiscard]] bool read(std::size_t row, std::uint8_t* codes, float* out) const noexcept {
        if (blocks_) {
            const bool good = blocks_->widen_row(order_[row], out);
            for (std::size_t i = 0; i < cols_; ++i) {
                out[i] *= scale_;
            }
            return good;
        }
        const bool good = source_->rows().read(order_[row], codes);
        for (std::size_t i = 0; i < cols_; ++i) {
            out[i] = static_cast<float>(static_cast<int>(codes[i]) - 1) * scale_;
        }
        return good;
    }

private:
    ternary_values(permuted_rows order, std::size_t cols) noexcept : order_(order), cols_(cols) {}

    permuted_rows order_;
    std::size_t cols_;
    float scale_ = 1.0f;
    std::optional<block_rows> blocks_;
    std::optional<ternary_source> source_;
};

/// One comparison; the first difference ends it. Use compare_checkpoints.
class checkpoint_comparison {
public:
    checkpoint_comparison(const gguf_file& from, const ternary_reading& reading, const gguf_file& to, pool_ref pool)
        : from_(from), reading_(reading), to_(to), pool_(pool) {}

    [[nodiscard]] result<comparison_report> run(std::span<const std::string_view> edited) {
        auto parameters = hyper_parameters::read(from_);
        if (!parameters) {
            return failed(parameters);
        }
        parameters_ = *std::move(parameters);
        for (const gguf_tensor& tensor : from_.tensors()) {
            const bool is_part = is_scale_of_ternary(tensor.name) || is_screen(tensor.name);
            if (auto done = is_part ? result<void>{} : compare(tensor); !done) {
                return failed(done);
            }
        }
        for (const gguf_tensor& tensor : to_.tensors()) {
            const bool is_part = is_scale_of_ternary(tensor.name) || is_screen(tensor.name);
            if (!is_part && from_.find_tensor(tensor.name) == nullptr) {
                return differ(tensor, "not");
            }
        }
        if (auto done = compare_metadata(edited); !done) {
            return failed(done);
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
        const bool has_blocks = has_block_scales(a.type) || has_block_scales(b->type);
        if (is_ternary_place(a.name)) {
            return has_blocks ? compare_values(a, *b) : compare_ternary(a, *b);
        }
        if (has_block_scales(a.type) && has_block_scales(b->type)) {
            return compare_values(a, *b);
        }
        ++report_.float_tensors;
        if (a.type == b->type) {
            return std::equal(a.bytes.begin(), a.bytes.end(), b->bytes.begin(), b->bytes.end())
                       ? result<void>{}
                       : differ(a, "other bytes than");
        }
        if (!is_widened(a.type) || !is_widened(b->type)) {
            return differ(a, std::string(name_of(b->type)) + ", " + std::string(name_of(a.type)));
        }
        return compare_floats(a, *b);
    }
    [[nodiscard]] static bool is_widened(tensor_type type) noexcept {
        return float_element_of(type) || has_block_scales(type);
    }

    /// Ternary tensors of which one at least has a scale for each block: weight by weight. Zeros are the same whatever
    /// the scale of their block.
    [[nodiscard]] result<void> compare_values(const gguf_tensor& a, const gguf_tensor& b) {
        const auto values_a = ternary_values::open(from_, a, reading_, permuted_rows::of(parameters_, a), pool_);
        if (!values_a) {
            return failed(values_a);
        }
        const auto values_b = ternary_values::open(to_, b, ternary_reading(), {}, pool_);
        if (!values_b) {
            return failed(values_b);
        }
        ++report_.ternary_tensors;
        report_.ternary_values += a.dims[0] * a.dims[1];
        const auto cols = to_size(a.dims[0]);
        const auto rows = to_size(a.dims[1]);
        auto codes = buffer<std::uint8_t>::allocate_uninitialized(pool_.threads() * cols, "rows to be compared");
        auto floats = buffer<float>::allocate_uninitialized(2 * pool_.threads() * cols, "rows to be compared");
        if (!codes || !floats) {
            return codes ? failed(floats) : failed(codes);
        }
        const std::size_t row = first_bad_row(pool_, rows, [&](std::size_t r, std::size_t slot) noexcept {
            float* const x = floats->data() + 2 * slot * cols;
            float* const y = x + cols;
            std::uint8_t* const working = codes->data() + slot * cols;
            return values_a->read(r, working, x) && values_b->read(r, working, y) && std::equal(x, x + cols, y);
        });
        return row == rows ? result<void>{} : other_row(a, row);
    }
    [[nodiscard]] error other_row(const gguf_tensor& tensor, std::size_t row) const {
        return differ(tensor, "row " + std::to_string(row) + " of " + std::to_string(tensor.dims[1]) +
                                  " is not ternary or has other values than");
    }

    [[nodiscard]] result<void> compare_ternary(const gguf_tensor& a, const gguf_tensor& b) {
        const auto source_a = ternary_source::open(from_, a, reading_, pool_);
        if (!source_a) {
            return failed(source_a);
        }
        const auto source_b = ternary_source::open(to_, b, ternary_reading(), pool_);
        if (!source_b) {
            return failed(source_b);
        }
        ++report_.ternary_tensors;
        report_.ternary_values += a.dims[0] * a.dims[1];
        const float scale_a = source_a->scale();
        const float scale_b = source_b->scale();
        if (std::bit_cast<std::uint32_t>(scale_a) != std::bit_cast<std::uint32_t>(scale_b)) {
            return differ(a, "the scale " + scale_text(scale_b) + ", " + scale_text(scale_a));
        }
        const auto order = permuted_rows::of(parameters_, a);
        return compare_rows(a, reordered_rows(source_a->rows(), order), source_b->rows());
    }

    [[nodiscard]] result<void> compare_rows(const gguf_tensor& tensor, const reordered_rows& a,
                                            const any_ternary_rows& b) {
        const auto rows = to_size(tensor.dims[1]);
        const auto cols = to_size(tensor.dims[0]);
        constexpr std::size_t together = 64;
        auto codes = buffer<std::uint8_t>::allocate_uninitialized(2 * together * cols, "rows to be compared");
        if (!codes) {
            return failed(codes);
        }
        std::atomic<std::size_t> other{rows};
        for (std::size_t first = 0; first < rows; first += together) {
            parallel_for(pool_, (std::min)(together, rows - first), [&](std::size_t i) noexcept {
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
        return row == rows ? result<void>{} : other_row(tensor, row);
    }

    /// Counts the values that changed, and how far.
    [[nodiscard]] result<void> compare_floats(const gguf_tensor& a, const gguf_tensor& b) {
        const auto rows = to_size(a.dims[1] * a.dims[2] * a.dims[3]);
        const auto cols = to_size(a.dims[0]);
        auto floats = buffer<float>::allocate_uninitialized(2 * pool_.threads() * cols, "rows to be compared");
        if (!floats) {
            return failed(floats);
        }
        std::atomic<std::uint64_t> changed{0};
        std::atomic<float> largest{report_.largest_change};
        std::atomic<std::size_t> next{0};
        parallel_for(pool_, pool_.threads(), [&](std::size_t slot) noexcept {
            float* const x = floats->data() + 2 * slot * cols;
            float* const y = x + cols;
            std::uint64_t changed_here = 0;
            float most = 0;
            for (std::size_t row = next.fetch_add(1); row < rows; row = next.fetch_add(1)) {
                widen_row(a, row, x);
                widen_row(b, row, y);
                for (std::size_t col = 0; col < cols; ++col) {
                    changed_here += x[col] != y[col] ? 1 : 0;
                    most = (std::max)(most, x[col] > y[col] ? x[col] - y[col] : y[col] - x[col]);
                }
            }
            changed.fetch_add(changed_here, std::memory_order_relaxed);
            float known = largest.load(std::memory_order_relaxed);
            while (most > known && !largest.compare_exchange_weak(known, most, std::memory_order_relaxed)) {
            }
        });
        report_.changed_floats += changed.load(std::memory_order_relaxed);
        report_.largest_change = largest.load(std::memory_order_relaxed);
        return {};
    }

    /// Whether a metadata entry says what a model computes: its architecture, hyper-parameters or tokenizer.
    [[nodiscard]] bool matters(std::string_view key) const {
        return key == "general.architecture" || key.starts_with(parameters_.architecture + ".") ||
               key.starts_with("tokenizer.");
    }

    [[nodiscard]] result<void> compare_metadata(std::span<const std::string_view> edited) {
        for (const gguf_value& entry : from_.metadata()) {
            if (!matters(entry.key) || std::find(edited.begin(), edited.end(), entry.key) != edited.end()) {
                continue;
            }
            const gguf_value* found = to_.find(entry.key);
            if (found == nullptr || !(is_same(entry, *found) || is_repaired(entry, *found))) {
                return error{errc::inconsistent, to_.name() + ": " + quoted_name(entry.key) +
                                                     (found == nullptr ? " is missing, unlike" : " is not the one") +
                                                     " in " + from_.name()};
            }
            report_.vocabulary_entries += entry.key == "tokenizer.ggml.tokens" ? entry.count : 0;
        }
        return {};
    }

    [[nodiscard]] static bool is_same(const gguf_value& a, const gguf_value& b) noexcept {
        return a.type == b.type && a.element_type == b.element_type &&
               std::equal(a.bytes.begin(), a.bytes.end(), b.bytes.begin(), b.bytes.end());
    }
    /// Whether the tokens are those of `from`, its control tokens without the BOS or EOS that stood around them.
    [[nodiscard]] bool is_repaired(const gguf_value& from, const gguf_value& to) const {
        if (from.key != "tokenizer.ggml.tokens" || !to.is_array_of(gguf_type::string)) {
            return false;
        }
        const auto repaired = repaired_spellings(from_);
        const gguf_strings written = to.strings();
        return !repaired.empty() && std::equal(repaired.begin(), repaired.end(), written.begin(), written.end());
    }

    const gguf_file& from_;
    ternary_reading reading_;
    const gguf_file& to_;
    pool_ref pool_;
    hyper_parameters parameters_;
    comparison_report report_;
};

} // namespace detail

/// Compares a converted file with what it was made from: every tensor of `from` has to be in `to`; ternary values and
/// effective scales have to be the same bits, and so do floats where their type is; of those in another type it is told
/// how many changed. Neither may have a tensor that the other lacks, but for scales and screens. The entries of the
/// architecture, its hyper-parameters and the tokenizer have to be the same, but for the keys in `edited`, and for BOS
/// or EOS around the control tokens of `from`, which a conversion takes away.
/// Cost: reads both files once. \param reading of `from`; the I2_S tensors of `to` are in order A
/// \return errc::inconsistent or missing_tensor, naming the first difference.
[[nodiscard]] inline result<comparison_report> compare_checkpoints(const gguf_file& from,
                                                                   const ternary_reading& reading, const gguf_file& to,
                                                                   pool_ref pool,
                                                                   std::span<const std::string_view> edited = {}) {
    return detail::guarded([&] { return detail::checkpoint_comparison(from, reading, to, pool).run(edited); });
}

} // namespace bitnet::inline BITNET_ABI

#endif
