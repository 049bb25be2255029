// SPDX-License-Identifier: MIT
// workspace: what computes for one session at a time: threads and working memory.
#ifndef BITNET_RUN_WORKSPACE_HPP
#define BITNET_RUN_WORKSPACE_HPP

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/engine.hpp>
#include <bitnet/model/ranking.hpp>
#include <bitnet/model/screened_search.hpp>
#include <bitnet/model/sequence_row.hpp>
#include <bitnet/model/transformer.hpp>
#include <bitnet/run/allowed_tokens.hpp>
#include <bitnet/run/complete_options.hpp>
#include <bitnet/run/forward_pass.hpp>
#include <bitnet/run/logits_rows.hpp>
#include <bitnet/run/model_parts.hpp>
#include <bitnet/run/rows_ahead.hpp>
#include <bitnet/run/session_options.hpp>
#include <bitnet/thread/pool.hpp>
#include <bitnet/thread/stepped_pool.hpp>
#include <bitnet/thread/usable_cores.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

class last_state;

/// A pool of one's own or a borrowed one.
class session_pool {
public:
    /// \param threads nullopt: usable_cores()
    [[nodiscard]] static result<session_pool> open(const engine& tables, std::optional<std::size_t> threads,
                                                   std::chrono::microseconds spin, const pool_ref* borrowed) {
        if (borrowed != nullptr) {
            return session_pool(*borrowed, std::nullopt);
        }
        auto opened = tables.open_pool(threads ? *threads : usable_cores(), spin);
        if (!opened) {
            return failed(opened);
        }
        const pool_ref ref = opened->ref();
        return session_pool(ref, *std::move(opened));
    }

    [[nodiscard]] pool_ref ref() const noexcept { return ref_; }

private:
    session_pool(pool_ref ref, std::optional<owned_pool> owned) noexcept : ref_(ref), owned_(std::move(owned)) {}

    pool_ref ref_;
    std::optional<owned_pool> owned_;
};

/// Shared by the forks of a session, of which one works at a time.
struct workspace {
    static constexpr std::size_t rows_of_logits = 8; ///< that feed_each() computes together

    session_pool pool;
    std::optional<transformer> forward;
    stepped_pool steps;        ///< of `pool`
    forward_pass pass;         ///< the owner's
    buffer<sequence_row> rows; ///< [prompt_chunk]
    logits_rows logits;
    std::array<scored_token, screened_search::most> largest; ///< found without a screen
    buffer<scored_token> listed;                             ///< [allowed_tokens::most_listed], as the next one
    buffer<float> listed_values;
    screened_search search;
    rows_ahead ahead;            ///< the owner's
    last_state* owner = nullptr; ///< whose row is in `forward`
    std::atomic<std::size_t> users{1};

    explicit workspace(session_pool opened) noexcept : pool(std::move(opened)), steps(pool.ref()) {}
};

/// One user of a workspace, which ends with its last user.
class workspace_share {
public:
    workspace_share() noexcept = default;
    workspace_share(const workspace_share&) = delete;
    workspace_share& operator=(const workspace_share&) = delete;
    workspace_share(workspace_share&& other) noexcept : shared_(std::exchange(other.shared_, nullptr)) {}
    workspace_share& operator=(workspace_share&& other) noexcept {
        std::swap(shared_, other.shared_);
        return *this;
    }
    ~workspace_share() {
        if (shared_ != nullptr && shared_->users.fetch_sub(1, std::memory_order_acq_rel) == 1) {
            delete shared_;
        }
    }

    /// \return errc::out_of_memory, thread_error.
    [[nodiscard]] static result<workspace_share> open(const model_parts& model, const session_options& options,
                                                      session_pool pool) {
        workspace_share made;
        made.shared_ = new (std::nothrow) workspace(std::move(pool));
        if (made.shared_ == nullptr) {
            return error{errc::out_of_memory,
                         sentence({"session: ", sizeof(workspace), " bytes could not be allocated"})};
        }
        workspace& all = *made.shared_;
        auto forward =
            transformer::open(model.tables, model.parameters, model.tensors, options.prompt_chunk, options.memory);
        if (!forward) {
            return failed(forward);
        }
        all.forward.emplace(*std::move(forward));
        error failure;
        allocate(all.rows, options.prompt_chunk, "prompt rows", failure, session_scratch(options));
        allocate(all.listed, allowed_tokens::most_listed, "logits", failure, session_scratch(options));
        allocate(all.listed_values, allowed_tokens::most_listed, "logits", failure, session_scratch(options));
        if (failure.code != errc{}) {
            return failure;
        }
        auto logits =
            logits_rows::open(workspace::rows_of_logits, model.parameters.vocabulary, session_scratch(options));
        if (!logits) {
            return failed(logits);
        }
        all.logits = *std::move(logits);
        if (!model.screen.is_expected()) {
            return made;
        }
        auto search = screened_search::open(*model.tables.loops, model.tensors.lm_head(), model.screen.get(),
                                            model.parameters.logit_scale, options.memory);
        if (!search) {
            return failed(search);
        }
        all.search = *std::move(search);
        return made;
    }

    [[nodiscard]] workspace_share again() const noexcept {
        shared_->users.fetch_add(1, std::memory_order_relaxed);
        workspace_share made;
        made.shared_ = shared_;
        return made;
    }

    [[nodiscard]] workspace* operator->() const noexcept { return shared_; }
    [[nodiscard]] workspace& operator*() const noexcept { return *shared_; }

private:
    workspace* shared_ = nullptr;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
