// SPDX-License-Identifier: MIT
// A model and sessions with it, behind virtual functions: what a benchmark asks of them.
#pragma once

#include "phase_shares.hpp"

#include <bitnet/checkpoint/activation_rounding.hpp>
#include <bitnet/checkpoint/hyper_parameters.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/io/page_mode.hpp>
#include <bitnet/run/any_model.hpp>
#include <bitnet/run/open_options.hpp>
#include <bitnet/run/sampler.hpp>
#include <bitnet/run/session_options.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bench {

/// What a model is opened with.
struct model_choice {
    std::string path;
    std::string isa;
    std::string layout = "i2_s";
    std::string head = "automatic"; ///< or "as-stored", "screened"
    std::string kv = "f16";
    std::string pages = "automatic"; ///< or "mapped", "copied"
    bitnet::activation_rounding activations = bitnet::activation_rounding::by_model;
    std::size_t threads = 1; ///< while opening

    [[nodiscard]] bitnet::page_mode page_mode() const {
        return pages == "copied"   ? bitnet::page_mode::copied
               : pages == "mapped" ? bitnet::page_mode::mapped
                                   : bitnet::page_mode::automatic;
    }

    [[nodiscard]] bitnet::open_options to_open() const {
        bitnet::open_options options;
        options.lm_head = head == "screened"    ? bitnet::lm_head_mode::screened
                          : head == "as-stored" ? bitnet::lm_head_mode::as_stored
                                                : bitnet::lm_head_mode::automatic;
        options.activations = activations;
        options.threads = threads;
        return options;
    }
};

/// What a pass over the model touches and computes.
struct model_cost {
    double ternary_bytes = 0;
    double head_bytes = 0;            ///< of the whole head as it is stored
    double norm_bytes = 0;            ///< and one row of the embedding
    double kv_bytes_per_position = 0; ///< read by a step for each position after it
    double products_per_token = 0;    ///< of int8 and ternary weights
};

struct step_times {
    std::vector<double> seconds; ///< of each step()
    double in_all = 0;           ///< of these and of next()
};

/// Who runs several sequences, and one.
enum class together { batch, scheduler };

/// One or more sequences that take the same steps; those in steps of a budget are one.
class bench_session {
public:
    virtual ~bench_session() = default;
    /// Starts all sequences anew with these tokens, and computes the logits after the last one. \return seconds
    [[nodiscard]] virtual bitnet::result<double> prefill(std::span<const bitnet::token> tokens) = 0;
    /// `tokens` greedy steps of every sequence, from where they stand. \return seconds
    [[nodiscard]] virtual bitnet::result<double> decode(std::size_t tokens) = 0;
    /// The same two by session::step() with this budget. Between two steps the threads go to sleep, as they do in a
    /// program that draws frames. \return what each step took
    [[nodiscard]] virtual bitnet::result<step_times> prefill_in_steps(std::span<const bitnet::token> tokens,
                                                                      std::chrono::microseconds budget) = 0;
    [[nodiscard]] virtual bitnet::result<step_times> decode_in_steps(std::size_t tokens,
                                                                     std::chrono::microseconds budget) = 0;
    [[nodiscard]] virtual std::size_t position() const = 0;
    /// Where the time of the calls since the last shares() went.
    [[nodiscard]] virtual phase_shares shares() = 0;
    /// Bytes of the head that one step has read on average.
    [[nodiscard]] virtual double head_bytes_per_step() const = 0;
    /// Loops of several tasks since the last shares(), each of which ends with all threads waiting for the last one.
    [[nodiscard]] virtual std::size_t loops() const = 0;
};

class bench_model {
public:
    virtual ~bench_model() = default;
    [[nodiscard]] virtual double load_seconds() const = 0;
    /// From opening until the screen was there that a thread made meanwhile; 0 if none was made so.
    [[nodiscard]] virtual double screen_seconds() const = 0;
    [[nodiscard]] virtual std::string_view pages() const = 0; ///< "mapped" or "copied"
    [[nodiscard]] virtual const bitnet::hyper_parameters& parameters() const = 0;
    [[nodiscard]] virtual model_cost cost() const = 0;
    /// What a step reads of the weights and of the head or its screen, in the order of memory, which is the file's.
    [[nodiscard]] virtual std::span<const std::span<const std::byte>> read_parts() const = 0;
    [[nodiscard]] virtual std::string_view isa() const = 0;
    [[nodiscard]] virtual std::string_view layout() const = 0; ///< that ternary matrices are multiplied in
    [[nodiscard]] virtual bitnet::activation_rounding activations() const = 0;
    [[nodiscard]] virtual std::string
    head_type() const = 0; ///< as it is read: "f16", "q6_k", "f16, screened", "ternary"
    [[nodiscard]] virtual bitnet::result<std::unique_ptr<bench_session>>
    open_session(std::size_t threads, std::size_t context, std::size_t sequences, together how) const = 0;
    /// Its kernels and loops are timed.
    [[nodiscard]] virtual const bitnet::any_model& opened() const = 0;
};

/// What was read so that a model's files are in the system's page cache.
struct page_cache_warm_up {
    std::uint64_t bytes = 0;
    double seconds = 0;
};
[[nodiscard]] bitnet::result<page_cache_warm_up> warm_page_cache(const std::string& path);

/// Waits until a screen that is made in the background is there.
/// \return errc::invalid_argument for a combination that the benchmark is not built with, and what model::open returns.
[[nodiscard]] bitnet::result<std::unique_ptr<bench_model>> open_model(const model_choice& choice);

/// Seconds that a program needs for its first token: it opens the model and a session, feeds `prompt` and chooses. What
/// is made in the background takes part.
[[nodiscard]] bitnet::result<double> seconds_to_first_token(const model_choice& choice, std::size_t threads,
                                                            std::span<const bitnet::token> prompt);

} // namespace bench
