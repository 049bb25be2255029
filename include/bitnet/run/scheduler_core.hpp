// SPDX-License-Identifier: MIT
// scheduler_core: what scheduler holds, compiled once for all engines.
#ifndef BITNET_RUN_SCHEDULER_CORE_HPP
#define BITNET_RUN_SCHEDULER_CORE_HPP

#include <bitnet/checkpoint/hyper_parameters.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/memory_source.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/model/transformer.hpp>
#include <bitnet/run/draft_length.hpp>
#include <bitnet/run/forward_pass.hpp>
#include <bitnet/run/model_parts.hpp>
#include <bitnet/run/pass_answers.hpp>
#include <bitnet/run/pass_plan.hpp>
#include <bitnet/run/scheduler.hpp>
#include <bitnet/run/served_speaker.hpp>
#include <bitnet/run/served_speakers.hpp>
#include <bitnet/run/session_options.hpp>
#include <bitnet/run/speaker.hpp>
#include <bitnet/run/workspace.hpp>
#include <bitnet/thread/pool.hpp>
#include <bitnet/thread/stepped_pool.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <new>
#include <optional>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// The order in which the parts of a pass take turns: what it has is planned (pass_plan) for who is served
/// (served_speakers), the layers run (forward_pass), and the tokens behind are chosen (pass_answers).
class scheduler_core final : public scheduler_base {
public:
    [[nodiscard]] static result<std::unique_ptr<scheduler_base>>
    open(const model_parts& model, const scheduler_options& options, const pool_ref* borrowed) {
        auto pool = session_pool::open(model.tables, options.threads, options.spin, borrowed);
        if (!pool) {
            return failed(pool);
        }
        if (auto checked = check_options(model.parameters, options); !checked) {
            return failed(checked);
        }
        std::unique_ptr<scheduler_core> made(new (std::nothrow) scheduler_core(model, options, *std::move(pool)));
        if (made == nullptr) {
            return error{errc::out_of_memory,
                         sentence({"scheduler: ", sizeof(scheduler_core), " bytes could not be allocated"})};
        }
        if (auto allocated = made->allocate_all(); !allocated) {
            return failed(allocated);
        }
        return std::unique_ptr<scheduler_base>(std::move(made));
    }

    result<void> add(speaker& who, int priority) override {
        return guarded([&] { return speakers_.add(who, priority, model_.parameters); });
    }

    bool set_priority(const speaker& who, int priority) noexcept override {
        served_speaker* const found = speakers_.find(who);
        if (found != nullptr) {
            found->priority = priority;
        }
        return found != nullptr;
    }

    bool remove(const speaker& who) noexcept override {
        served_speaker* const found = speakers_.find(who);
        if (found == nullptr) {
            return false;
        }
        if (stage_ == stage::layers && found->is_in_pass) {
            drop_pass(); // its pages may be gone when the others' layers run
        }
        found->drop_rows_ahead();
        speakers_.remove(*found);
        return true;
    }

    step_state step(std::optional<std::chrono::nanoseconds> budget) noexcept override {
        for (served_speaker& each : speakers_.places()) {
            each.is_refused = false;
        }
        if (budget) {
            steps_.start(*budget, nullptr);
        } else {
            steps_.start(nullptr);
        }
        for (;;) {
            const auto start = clock::now();
            if (stage_ == stage::none && !begin_pass()) {
                return step_state::ready;
            }
            const bool is_done = go_on();
            pass_time_ += clock::now() - start;
            if (!is_done) {
                return step_state::working;
            }
            plan_.end(pass_time_);
            if (!budget || steps_.is_over()) {
                return speakers_.has_work() ? step_state::working : step_state::ready;
            }
        }
    }

    std::size_t speakers() const noexcept override { return speakers_.count(); }
    std::size_t threads() const noexcept override { return pool_.ref().threads(); }

private:
    using clock = std::chrono::steady_clock;

    /// How far a pass is.
    enum class stage { none, layers, answers };

    scheduler_core(const model_parts& model, const scheduler_options& options, session_pool pool) noexcept
        : model_(model), options_(options), pool_(std::move(pool)), steps_(pool_.ref()), plan_(options_, speakers_),
          answers_(speakers_, pool_.ref()) {}

    [[nodiscard]] static result<void> check_options(const hyper_parameters& parameters,
                                                    const scheduler_options& options) {
        struct range {
            std::string_view what;
            std::size_t asked;
            std::size_t most;
        };
        const range ranges[] = {
            {"speakers", options.speakers, scheduler_options::most_speakers},
            {"answers to a pass", options.answers, scheduler_options::most_answers},
            {"prompt tokens to a pass", options.prompt_chunk, session_options::largest_prompt_chunk},
            {"prompt tokens beside answers", options.prompt_beside_answers, session_options::largest_prompt_chunk}};
        for (const auto& [what, asked, most] : ranges) {
            if (asked == 0 || asked > most) {
                return error{errc::invalid_argument, sentence({"scheduler: ", asked, " ", what,
                                                               " were asked for, 1 to ", most, " are possible"})};
            }
        }
        if (options.speculation.most > draft_length::most) {
            return error{errc::invalid_argument,
                         sentence({"scheduler: ", options.speculation.most, " guesses to a pass were asked for, up to ",
                                   draft_length::most, " are possible"})};
        }
        if (parameters.is_embedder) {
            return error{errc::no_lm_head, "scheduler: the model is a text embedding model and has no head; see "
                                           "session::embed()"};
        }
        return {};
    }

    [[nodiscard]] result<void> allocate_all() {
        const memory_from from{options_.memory, {memory_use::scratch, false}};
        auto forward =
            transformer::open(model_.tables, model_.parameters, model_.tensors, plan_.most_rows(), options_.memory);
        if (!forward) {
            return failed(forward);
        }
        forward_.emplace(*std::move(forward));
        if (auto opened = answers_.open(model_, *forward_, options_.answers, from); !opened) {
            return opened;
        }
        if (auto opened = speakers_.open(options_.speakers, from); !opened) {
            return opened;
        }
        return plan_.open(from);
    }

    /// \return whether there is anything to do
    [[nodiscard]] bool begin_pass() noexcept {
        pass_time_ = {};
        if (!plan_.make()) {
            return false;
        }
        stage_ = stage::layers;
        pass_.begin(plan_.rows());
        return true;
    }

    /// Goes on with a pass until it is done or the step ends. \return whether it is done
    [[nodiscard]] bool go_on() noexcept {
        if (stage_ == stage::layers) {
            if (speakers_.has_changed()) {
                drop_pass();
                return true;
            }
            const std::size_t rows = plan_.rows().size();
            if (rows != 0 && !pass_.run(steps_, *forward_)) {
                return false;
            }
            answers_.begin(rows);
            stage_ = stage::answers;
        }
        if (!answers_.run(pass_, steps_)) {
            return false;
        }
        pass_.drop();
        stage_ = stage::none;
        return true;
    }

    void drop_pass() noexcept {
        pass_.drop();
        stage_ = stage::none;
        plan_.drop();
    }

    model_parts model_;
    scheduler_options options_;
    session_pool pool_;
    stepped_pool steps_; ///< of pool_
    std::optional<transformer> forward_;
    served_speakers speakers_;
    pass_plan plan_;
    forward_pass pass_;
    pass_answers answers_;
    stage stage_ = stage::none;
    clock::duration pass_time_{};
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
