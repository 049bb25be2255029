// SPDX-License-Identifier: MIT
// What the handles of conversations and schedulers hold.
#pragma once

#include "grammar.hpp"

namespace bitnet_c {

/// What chooses the tokens of an answer that is to be a text of a grammar. Stays where it is: its parts borrow each
/// other.
struct answer_constraint {
    std::shared_ptr<const lazy_trie> trie;
    bitnet::sampler choose;
    std::optional<bitnet::token_constraint> constraint;
    std::optional<bitnet::constrained_chooser<bitnet::sampler>> chooser;
};

struct scheduler_state {
    std::shared_ptr<model_state> model;
    bitnet::scheduler all;
};

} // namespace bitnet_c

struct bitnet_conversation : bitnet_c::failing {
    std::shared_ptr<bitnet_c::model_state> model;
    std::shared_ptr<bitnet::kv_pool> pool;        ///< null without pages
    std::shared_ptr<bitnet_c::tools_state> tools; ///< null without tools
    bitnet_sampling sampling;
    std::optional<std::size_t> answer_limit;
    std::unique_ptr<bitnet_c::answer_constraint> constrained; ///< null: any text
    std::shared_ptr<bitnet_c::host_jobs> jobs;                ///< null: threads of its own
    bitnet::conversation talk;
    std::weak_ptr<bitnet_c::scheduler_state> served_by;

    /// The code of what begins an answer; the grammar begins anew with it.
    [[nodiscard]] std::int32_t begun(const bitnet::result<void>& done) noexcept {
        if (done && constrained != nullptr) {
            constrained->constraint->restart();
        }
        return code(done);
    }
};

struct bitnet_scheduler : bitnet_c::failing {
    std::shared_ptr<bitnet_c::scheduler_state> state;
};
