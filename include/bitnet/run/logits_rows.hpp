// SPDX-License-Identifier: MIT
// logits_rows: where logits are computed, and which session may still read which of them.
#ifndef BITNET_RUN_LOGITS_ROWS_HPP
#define BITNET_RUN_LOGITS_ROWS_HPP

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/memory_source.hpp>
#include <bitnet/core/result.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

class held_logits;

struct logits_row {
    float* values = nullptr;
    held_logits* holder = nullptr; ///< whose logits these are
};

/// The logits of a session's last token, as long as nobody has computed others in their place. Both this and the rows
/// may end first.
class held_logits {
public:
    held_logits() noexcept = default;
    held_logits(const held_logits&) = delete;
    held_logits& operator=(const held_logits&) = delete;
    ~held_logits() { release(); }

    [[nodiscard]] bool has() const noexcept { return row_ != nullptr; }
    /// \pre has()
    [[nodiscard]] float* values() const noexcept { return row_->values; }

    void hold(logits_row& row) noexcept {
        release();
        if (row.holder != nullptr) {
            row.holder->release();
        }
        row.holder = this;
        row_ = &row;
    }
    void release() noexcept {
        if (row_ != nullptr) {
            std::exchange(row_, nullptr)->holder = nullptr;
        }
    }

private:
    logits_row* row_ = nullptr;
};

/// Memory for several rows of logits [vocabulary]. Sessions have none of their own: a hundred that wait would hold 50
/// MB with a vocabulary of 128,000. Move-only.
class logits_rows {
public:
    logits_rows() noexcept = default;
    logits_rows(logits_rows&&) noexcept = default;
    logits_rows& operator=(logits_rows&&) noexcept = default;
    ~logits_rows() {
        for (logits_row& row : rows_.span()) {
            static_cast<void>(overwrite(row));
        }
    }

    /// Memory is used when it is written. \return errc::out_of_memory with the bytes asked for.
    [[nodiscard]] static result<logits_rows> open(std::size_t rows, std::size_t vocabulary, const memory_from& from) {
        logits_rows made;
        auto values = buffer<float>::allocate_uninitialized(std::uint64_t{rows} * vocabulary, "logits", from);
        if (!values) {
            return failed(values);
        }
        error failure;
        allocate(made.rows_, rows, "logits", failure, from);
        if (failure.code != errc{}) {
            return failure;
        }
        made.values_ = *std::move(values);
        for (std::size_t i = 0; i < rows; ++i) {
            made.rows_[i].values = made.values_.data() + i * vocabulary;
        }
        return made;
    }

    [[nodiscard]] std::size_t size() const noexcept { return rows_.size(); }
    [[nodiscard]] logits_row& operator[](std::size_t i) noexcept { return rows_[i]; }

    /// Where to compute row `i` anew: whose it was has no logits any more.
    [[nodiscard]] float* overwrite(std::size_t i) noexcept { return overwrite(rows_[i]); }

private:
    [[nodiscard]] static float* overwrite(logits_row& row) noexcept {
        if (row.holder != nullptr) {
            row.holder->release();
        }
        return row.values;
    }

    buffer<float> values_;
    buffer<logits_row> rows_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
