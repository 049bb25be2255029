// SPDX-License-Identifier: MIT
// Schedulers.
#include "conversation.hpp"

using namespace bitnet_c;

extern "C" {

int32_t bitnet_scheduler_open(bitnet_model* model, uint32_t threads, bitnet_scheduler** scheduler, char* message,
                              uint32_t capacity) {
    if (model == nullptr || scheduler == nullptr) {
        return fail("bitnet_scheduler_open: there is no model, or nowhere to put the scheduler", message, capacity);
    }
    *scheduler = nullptr;
    bitnet::scheduler_options how;
    if (threads != 0) {
        how.threads = threads;
    }
    auto opened = bitnet::detail::guarded([&]() -> bitnet::result<std::shared_ptr<scheduler_state>> {
        auto all = bitnet::scheduler::open(*model->state->model, how);
        if (!all) {
            return bitnet::failed(all);
        }
        return std::shared_ptr<scheduler_state>(new scheduler_state{model->state, *std::move(all)});
    });
    if (!opened) {
        return fail(opened.error(), message, capacity);
    }
    *scheduler = made<bitnet_scheduler>(failing{}, *std::move(opened));
    return *scheduler != nullptr ? BITNET_OK : fail(bitnet::detail::out_of_memory(), message, capacity);
}

void bitnet_scheduler_close(bitnet_scheduler* scheduler) { delete scheduler; }

const char* bitnet_scheduler_error(const bitnet_scheduler* scheduler) {
    return scheduler != nullptr ? scheduler->message.c_str() : "";
}

int32_t bitnet_scheduler_add(bitnet_scheduler* scheduler, bitnet_conversation* talk, int32_t priority) {
    if (scheduler == nullptr || talk == nullptr) {
        return BITNET_E_ARGUMENT;
    }
    const auto added = scheduler->state->all.add(talk->talk, priority);
    if (added) {
        talk->served_by = scheduler->state;
    }
    return scheduler->code(added);
}

int32_t bitnet_scheduler_remove(bitnet_scheduler* scheduler, bitnet_conversation* talk) {
    if (scheduler == nullptr || talk == nullptr || !scheduler->state->all.remove(talk->talk)) {
        return BITNET_E_ARGUMENT;
    }
    talk->served_by.reset();
    return BITNET_OK;
}

int32_t bitnet_scheduler_step(bitnet_scheduler* scheduler, uint64_t budget_us, int32_t* is_ready) {
    if (scheduler == nullptr) {
        return BITNET_E_ARGUMENT;
    }
    const bitnet::step_state state = scheduler->state->all.step(budget_of(budget_us));
    if (is_ready != nullptr) {
        *is_ready = state == bitnet::step_state::ready ? 1 : 0;
    }
    return BITNET_OK;
}

} // extern "C"
