// SPDX-License-Identifier: MIT
// Sessions.
#include "handles.hpp"

#include <vector>

struct bitnet_session : bitnet_c::failing {
    std::shared_ptr<bitnet_c::model_state> model;
    std::shared_ptr<bitnet::kv_pool> pool;     ///< null without pages
    std::shared_ptr<bitnet_c::host_jobs> jobs; ///< null: threads of its own
    bitnet::sampler choose;
    bitnet::any_session session;
};

using namespace bitnet_c;

namespace {

[[nodiscard]] bool has_tokens(const int32_t* tokens, uint32_t count) noexcept {
    return tokens != nullptr || count == 0;
}

} // namespace

extern "C" {

int32_t bitnet_session_options_init(bitnet_session_options* options) { return initialise(options); }

int32_t bitnet_session_open(bitnet_model* model, const bitnet_session_options* options, bitnet_session** session,
                            char* message, uint32_t capacity) {
    if (model == nullptr || session == nullptr) {
        return fail("bitnet_session_open: there is no model, or nowhere to put the session", message, capacity);
    }
    *session = nullptr;
    bitnet_session_options chosen{};
    bitnet_sampling sampling{};
    bitnet_sampling_init(&sampling);
    auto wrong = take(options, chosen);
    wrong = wrong ? wrong : take(chosen.sampling, sampling);
    if (!wrong && chosen.pages != nullptr && chosen.pages->model != model->state) {
        wrong = "bitnet_session_options: pages are of another model";
    }
    wrong = wrong ? wrong : check_jobs(chosen.jobs);
    if (wrong) {
        return fail(*wrong, message, capacity);
    }
    const bitnet::any_model& of = *model->state->model;
    bitnet::session_options how;
    how.context = chosen.context;
    if (chosen.threads != 0) {
        how.threads = chosen.threads;
    }
    how.kv = chosen.pages != nullptr ? chosen.pages->pool.get() : nullptr;
    std::shared_ptr<host_jobs> jobs;
    auto opened = bitnet::detail::guarded([&] {
        jobs = jobs_of(chosen.jobs);
        return jobs != nullptr ? bitnet::any_session::open(of, *jobs, how) : bitnet::any_session::open(of, how);
    });
    if (!opened) {
        return fail(opened.error(), message, capacity);
    }
    auto choose = bitnet::sampler::open(sampling_of(sampling, of), of.parameters().vocabulary,
                                        model->state->source.allocate != nullptr ? &model->state->source : nullptr);
    if (!choose) {
        return fail(choose.error(), message, capacity);
    }
    *session = made<bitnet_session>(failing{}, model->state, chosen.pages != nullptr ? chosen.pages->pool : nullptr,
                                    std::move(jobs), *std::move(choose), *std::move(opened));
    return *session != nullptr ? BITNET_OK : fail(bitnet::detail::out_of_memory(), message, capacity);
}

void bitnet_session_close(bitnet_session* session) { delete session; }

const char* bitnet_session_error(const bitnet_session* session) {
    return session != nullptr ? session->message.c_str() : "";
}

int32_t bitnet_session_feed(bitnet_session* session, const int32_t* tokens, uint32_t count) {
    if (session == nullptr || !has_tokens(tokens, count)) {
        return BITNET_E_ARGUMENT;
    }
    return session->code(session->session.feed({tokens, count}));
}

int32_t bitnet_session_queue(bitnet_session* session, const int32_t* tokens, uint32_t count) {
    if (session == nullptr || !has_tokens(tokens, count)) {
        return BITNET_E_ARGUMENT;
    }
    return session->code(session->session.queue({tokens, count}));
}

int32_t bitnet_session_step(bitnet_session* session, uint64_t budget_us, int32_t* is_ready) {
    if (session == nullptr) {
        return BITNET_E_ARGUMENT;
    }
    const auto stepped = session->session.step(budget_of(budget_us), session->choose);
    if (is_ready != nullptr) {
        *is_ready = stepped && *stepped == bitnet::step_state::ready ? 1 : 0;
    }
    return session->code(stepped);
}

int32_t bitnet_session_next(bitnet_session* session, int32_t* token) {
    if (session == nullptr || token == nullptr) {
        return BITNET_E_ARGUMENT;
    }
    const auto chosen = session->session.next(session->choose);
    *token = chosen.value_or(bitnet::no_token);
    return !chosen && session->session.stopped_by() == bitnet::stop_reason::error
               ? session->fail(session->session.last_error())
               : BITNET_OK;
}

int32_t bitnet_session_logits(bitnet_session* session, const float** logits, uint32_t* count) {
    if (session == nullptr || logits == nullptr) {
        return BITNET_E_ARGUMENT;
    }
    const auto all = session->session.logits();
    *logits = all ? all->data() : nullptr;
    if (count != nullptr) {
        *count = all ? counted(all->size()) : 0;
    }
    return session->code(all);
}

int32_t bitnet_session_position(const bitnet_session* session, uint64_t* position) {
    if (session == nullptr || position == nullptr) {
        return BITNET_E_ARGUMENT;
    }
    *position = session->session.position();
    return BITNET_OK;
}

int32_t bitnet_session_rewind(bitnet_session* session, uint64_t position) {
    return session != nullptr ? session->code(session->session.rewind(clamped(position))) : BITNET_E_ARGUMENT;
}

int32_t bitnet_session_reset(bitnet_session* session) {
    if (session == nullptr) {
        return BITNET_E_ARGUMENT;
    }
    session->session.reset();
    session->choose.reset();
    return BITNET_OK;
}

int32_t bitnet_session_save(const bitnet_session* session, int32_t with_keys, void* out, uint64_t capacity,
                            uint64_t* needed) {
    if (session == nullptr || (out == nullptr && capacity != 0)) {
        return BITNET_E_ARGUMENT;
    }
    counted_room room{{static_cast<std::byte*>(out), clamped(capacity)}};
    const auto saved = session->session.save(room, {.keys_and_values = with_keys != 0});
    return saved ? room.done(needed) : code_of(saved.error().code);
}

int32_t bitnet_session_restore(bitnet_session* session, const void* saved, uint64_t bytes) {
    if (session == nullptr || (saved == nullptr && bytes != 0)) {
        return BITNET_E_ARGUMENT;
    }
    return session->code(session->session.restore({static_cast<const std::byte*>(saved), clamped(bytes)}));
}

int32_t bitnet_session_embed(bitnet_session* session, const char* text, int64_t bytes, const float** embedding,
                             uint32_t* count) {
    const auto given = view(text, bytes);
    if (session == nullptr || !given || embedding == nullptr) {
        return BITNET_E_ARGUMENT;
    }
    *embedding = nullptr;
    const auto tokens = bitnet::tokens_to_embed(*session->model->model, *given);
    if (!tokens) {
        return session->fail(tokens.error());
    }
    const auto made = session->session.embed(*tokens);
    if (made) {
        *embedding = made->data();
    }
    if (count != nullptr) {
        *count = made ? counted(made->size()) : 0;
    }
    return session->code(made);
}

} // extern "C"
