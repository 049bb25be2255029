// SPDX-License-Identifier: MIT
// bench_model and bench_session over one engine, with its kernels and loops timed.
#pragma once

#include "phases.hpp"
#include "runner.hpp"

#include <bitnet/model/kv_cache.hpp>
#include <bitnet/run/any_batch.hpp>
#include <bitnet/run/any_session.hpp>
#include <bitnet/run/dispatch.hpp>
#include <bitnet/run/open_model.hpp>
#include <bitnet/run/scheduler.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <thread>
#include <utility>
#include <vector>

namespace bench {

[[nodiscard]] inline bitnet::detail::model_parts parts_of(const bitnet::any_model& opened) {
    return static_cast<const bitnet::detail::model_core&>(opened.base()).parts();
}

/// Bytes of a ternary matrix as it is multiplied.
[[nodiscard]] inline double bytes_of(const bitnet::detail::ternary_matrix& matrix, const bitnet::layout_table& layout) {
    return static_cast<double>(matrix.has_blocks() ? matrix.blocks.row_bytes() * matrix.rows()
                                                   : *layout.bytes(matrix.rows(), matrix.cols()));
}

[[nodiscard]] inline double head_bytes(const bitnet::detail::weights& tensors) {
    const bitnet::detail::scaled_blocks& blocks = tensors.ternary_head().blocks;
    const bitnet::detail::float_matrix& head = tensors.lm_head();
    return static_cast<double>(tensors.ternary_head().has_blocks() ? blocks.row_bytes() * blocks.rows
                                                                   : head.row_bytes() * head.rows);
}

/// A sequence of a scheduler that wants so many tokens more.
class bench_speaker final : public bitnet::speaker {
public:
    bench_speaker(bitnet::any_session& session, bitnet::sampler& choose) noexcept
        : session_(&session), choose_(&choose) {}

    bitnet::any_session& session() noexcept override { return *session_; }
    std::optional<bitnet::any_chooser> chooser() noexcept override {
        return wanted != 0 ? std::optional<bitnet::any_chooser>(*choose_) : std::nullopt;
    }
    void take(std::optional<bitnet::token> id) noexcept override {
        has_failed = !id;
        wanted = id ? wanted - 1 : 0;
    }

    std::size_t wanted = 0;
    bool has_failed = false;

private:
    bitnet::any_session* session_;
    bitnet::sampler* choose_;
};

class measured_session final : public bench_session {
public:
    [[nodiscard]] static bitnet::result<std::unique_ptr<bench_session>> open(const bitnet::any_model& opened,
                                                                             std::size_t threads, std::size_t context,
                                                                             std::size_t sequences, together how) {
        auto made = std::make_unique<measured_session>();
        auto pool = timed_pool::open(threads, bitnet::default_spin);
        if (!pool) {
            return failed(pool);
        }
        made->pool_ = *std::move(pool);
        auto choose = bitnet::sampler::open(bitnet::sampler_options::greedy(), opened.parameters().vocabulary);
        if (!choose) {
            return std::move(choose).error();
        }
        made->choose_.emplace(*std::move(choose));
        for (std::size_t i = 0; i < sequences; ++i) {
            auto one = i != 0 && how == together::scheduler // whose sessions need no working memory
                           ? made->sessions_[0].fork()
                           : bitnet::any_session::open(opened, bitnet::pool_ref(*made->pool_),
                                                       {.context = context, .stop_at_stop_tokens = false});
            if (!one) {
                return std::move(one).error();
            }
            made->sessions_.push_back(*std::move(one));
        }
        if (how == together::scheduler) {
            if (auto scheduled = made->open_scheduler(opened); !scheduled) {
                return std::move(scheduled).error();
            }
        } else if (sequences > 1) {
            auto together = bitnet::any_batch::open(opened, bitnet::pool_ref(*made->pool_), {.sessions = sequences});
            if (!together) {
                return std::move(together).error();
            }
            made->batch_.emplace(*std::move(together));
        }
        for (auto& session : made->sessions_) {
            made->pending_.push_back(&session);
        }
        made->stored_head_bytes_ = head_bytes(parts_of(opened).tensors);
        return std::unique_ptr<bench_session>(std::move(made));
    }

    bitnet::result<double> prefill(std::span<const bitnet::token> tokens) override {
        const stopwatch watch(*this);
        for (auto& session : sessions_) {
            session.reset();
            if (auto fed = session.feed(tokens); !fed) {
                return std::move(fed).error();
            }
            if (auto logits = session.logits(); !logits) {
                return std::move(logits).error();
            }
        }
        return watch.seconds();
    }

    bitnet::result<double> decode(std::size_t tokens) override {
        const stopwatch watch(*this);
        if (scheduler_) {
            if (auto ran = run_scheduler(tokens); !ran) {
                return std::move(ran).error();
            }
            return watch.seconds();
        }
        for (std::size_t i = 0; i < tokens; ++i) {
            if (auto stepped = step(); !stepped) {
                return std::move(stepped).error();
            }
        }
        return watch.seconds();
    }

    bitnet::result<step_times> prefill_in_steps(std::span<const bitnet::token> tokens,
                                                std::chrono::microseconds budget) override {
        step_times times;
        sessions_[0].reset();
        if (auto queued = sessions_[0].queue(tokens); !queued) {
            return std::move(queued).error();
        }
        if (auto ran = run_steps(budget, times); !ran) {
            return std::move(ran).error();
        }
        return times;
    }

    bitnet::result<step_times> decode_in_steps(std::size_t tokens, std::chrono::microseconds budget) override {
        step_times times;
        for (std::size_t i = 0; i < tokens; ++i) {
            if (auto ran = run_steps(budget, times); !ran) {
                return std::move(ran).error();
            }
            const auto start = std::chrono::steady_clock::now();
            if (!sessions_[0].next(*choose_)) {
                return bitnet::error{sessions_[0].last_error()};
            }
            times.in_all += seconds_since(start);
        }
        return times;
    }

    std::size_t position() const override { return sessions_[0].position(); }

    std::size_t loops() const override { return pool_->loops(); }
    double head_bytes_per_step() const override {
        const bitnet::screen_statistics& screened = sessions_[0].screening();
        return batch_ || scheduler_ || screened.steps == 0
                   ? stored_head_bytes_
                   : static_cast<double>(screened.bytes_read) / static_cast<double>(screened.steps);
    }
    phase_shares shares() override {
        const phase_shares found = shares_of(spent_, pool_->threads());
        phase_counters::clear();
        pool_->clear();
        spent_ = 0;
        return found;
    }

private:
    class stopwatch {
    public:
        explicit stopwatch(measured_session& session) noexcept : session_(session) {}
        stopwatch(const stopwatch&) = delete;
        stopwatch& operator=(const stopwatch&) = delete;
        ~stopwatch() { session_.spent_ += ticks() - first_tick_; }
        [[nodiscard]] double seconds() const {
            return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
        }

    private:
        measured_session& session_;
        std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
        std::uint64_t first_tick_ = ticks();
    };

    [[nodiscard]] static double seconds_since(std::chrono::steady_clock::time_point start) {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    }

    /// Steps of the first sequence until its logits are there.
    [[nodiscard]] bitnet::result<void> run_steps(std::chrono::microseconds budget, step_times& times) {
        for (;;) {
            const auto start = std::chrono::steady_clock::now();
            const auto state = sessions_[0].step(budget, *choose_);
            times.seconds.push_back(seconds_since(start));
            times.in_all += times.seconds.back();
            if (!state) {
                return bitnet::error{state.error()};
            }
            if (*state == bitnet::step_state::ready) {
                return {};
            }
            std::this_thread::sleep_for(4 * bitnet::default_spin);
        }
    }

    [[nodiscard]] bitnet::result<void> open_scheduler(const bitnet::any_model& opened) {
        auto made = bitnet::scheduler::open(opened, bitnet::pool_ref(*pool_),
                                            {.speakers = sessions_.size(), .answers = sessions_.size()});
        if (!made) {
            return std::move(made).error();
        }
        scheduler_.emplace(*std::move(made));
        speakers_.reserve(sessions_.size()); // the scheduler has their addresses
        for (auto& session : sessions_) {
            speakers_.emplace_back(session, *choose_);
            if (auto added = scheduler_->add(speakers_.back()); !added) {
                return added;
            }
        }
        return {};
    }

    /// `tokens` of every sequence.
    [[nodiscard]] bitnet::result<void> run_scheduler(std::size_t tokens) {
        for (auto& each : speakers_) {
            each.wanted = tokens;
        }
        while (scheduler_->step() == bitnet::step_state::working) {
        }
        for (auto& each : speakers_) {
            if (each.has_failed) {
                return bitnet::error{each.session().last_error()};
            }
        }
        return {};
    }

    /// Chooses the next token of every sequence; the logits after it come with the step or with the next choice.
    [[nodiscard]] bitnet::result<void> step() {
        for (auto& session : sessions_) {
            if (!session.next(*choose_)) {
                return bitnet::error{session.last_error()};
            }
        }
        return batch_ ? batch_->run_pending(pending_) : bitnet::result<void>{};
    }

    std::unique_ptr<timed_pool> pool_;
    std::optional<bitnet::sampler> choose_;
    std::vector<bitnet::any_session> sessions_;
    std::optional<bitnet::any_batch> batch_;
    std::vector<bitnet::any_session*> pending_; ///< all sessions
    std::optional<bitnet::scheduler> scheduler_;
    std::vector<bench_speaker> speakers_;
    double stored_head_bytes_ = 0;
    std::uint64_t spent_ = 0; ///< ticks in calls since the last shares()
};

class measured_model final : public bench_model {
public:
    /// What was measured while it was opened.
    struct opening {
        double load_seconds = 0;
        double screen_seconds = 0;
        bool is_mapped = true;
    };
    measured_model(bitnet::any_model opened, const opening& how) : model_(std::move(opened)), opening_(how) {
        const auto parts = parts_of(model_);
        const auto add = [&](const void* data, std::size_t bytes) {
            read_parts_.emplace_back(static_cast<const std::byte*>(data), bytes);
        };
        for (std::size_t i = 0; i < model_.parameters().layers; ++i) {
            for (const auto* matrix : matrices_of(parts.tensors.layer(i))) {
                add(matrix->has_blocks() ? matrix->blocks.data : matrix->codes.data,
                    static_cast<std::size_t>(bytes_of(*matrix, *parts.tables.ternary->layout)));
            }
        }
        const auto& ternary = parts.tensors.ternary_head();
        if (parts.screen.is_ready()) {
            add(parts.screen.get().row(0), static_cast<std::size_t>(parts.screen.get().bytes()));
        } else if (ternary.has_blocks()) {
            add(ternary.blocks.data, static_cast<std::size_t>(head_bytes(parts.tensors)));
        } else {
            add(parts.tensors.lm_head().data, static_cast<std::size_t>(head_bytes(parts.tensors)));
        }
        const auto address = [](const auto& part) { return reinterpret_cast<std::uintptr_t>(part.data()); };
        std::sort(read_parts_.begin(), read_parts_.end(),
                  [&](const auto& a, const auto& b) { return address(a) < address(b); });
    }

    double load_seconds() const override { return opening_.load_seconds; }
    double screen_seconds() const override { return opening_.screen_seconds; }
    std::string_view pages() const override { return opening_.is_mapped ? "mapped" : "copied"; }
    const bitnet::hyper_parameters& parameters() const override { return model_.parameters(); }
    std::span<const std::span<const std::byte>> read_parts() const override { return read_parts_; }
    std::string_view isa() const override { return model_.isa(); }
    std::string_view layout() const override { return model_.layout(); }
    bitnet::activation_rounding activations() const override { return model_.activations(); }
    std::string head_type() const override {
        if (parts_of(model_).tensors.ternary_head().has_blocks()) {
            return "ternary";
        }
        const std::string stored = name_of(parts_of(model_).tensors.lm_head().element);
        return !parts_of(model_).screen.is_expected() ? stored : stored + ", screened";
    }

    model_cost cost() const override {
        const auto& of = model_.parameters();
        const auto parts = parts_of(model_);
        const auto& tensors = parts.tensors;
        model_cost cost;
        for (std::size_t i = 0; i < of.layers; ++i) {
            for (const auto* matrix : matrices_of(tensors.layer(i))) {
                cost.ternary_bytes += bytes_of(*matrix, *parts.tables.ternary->layout);
                cost.products_per_token += static_cast<double>(matrix->rows() * matrix->cols());
            }
            cost.norm_bytes +=
                static_cast<double>(sizeof(float) * (2 * of.hidden + of.query_columns() + of.feed_forward));
        }
        cost.head_bytes = head_bytes(tensors);
        cost.norm_bytes += static_cast<double>(sizeof(float) * of.hidden + row_of_embedding(tensors));
        cost.kv_bytes_per_position = static_cast<double>(bitnet::detail::kv_cache::bytes(
                                         of, parts.tables.kv->element_bytes, parts.tables.kv->is_scaled, 16)) /
                                     16;
        return cost;
    }

    bitnet::result<std::unique_ptr<bench_session>> open_session(std::size_t threads, std::size_t context,
                                                                std::size_t sequences, together how) const override {
        return measured_session::open(model_, threads, context, sequences, how);
    }
    const bitnet::any_model& opened() const override { return model_; }

private:
    [[nodiscard]] static std::size_t row_of_embedding(const bitnet::detail::weights& tensors) {
        return tensors.ternary_embedding().has_blocks() ? tensors.ternary_embedding().blocks.row_bytes()
                                                        : tensors.token_embedding().row_bytes();
    }
    [[nodiscard]] static std::string name_of(bitnet::float_element element) {
        switch (element) {
        case bitnet::float_element::f32:
            return "f32";
        case bitnet::float_element::f16:
            return "f16";
        case bitnet::float_element::bf16:
            return "bf16";
        case bitnet::float_element::q8_0:
            return "q8_0";
        case bitnet::float_element::q6_k:
            return "q6_k";
        case bitnet::float_element::q4_k:
            return "q4_k";
        case bitnet::float_element::q4_0:
            return "q4_0";
        }
        return "unknown";
    }

    [[nodiscard]] static std::array<const bitnet::detail::ternary_matrix*, 7>
    matrices_of(const bitnet::detail::layer_weights& layer) noexcept {
        return {&layer.attn_q,   &layer.attn_k, &layer.attn_v,  &layer.attn_output,
                &layer.ffn_gate, &layer.ffn_up, &layer.ffn_down};
    }

    bitnet::any_model model_;
    opening opening_;
    std::vector<std::span<const std::byte>> read_parts_;
};

} // namespace bench
