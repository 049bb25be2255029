/* SPDX-License-Identifier: MIT */
/* bitnet.h in C99: the places of all fields, which bindings of other languages write down. */
#include "check.h"

#include <bitnet/bitnet.h>

#include <stddef.h>

/* `field` follows `before` without padding. */
#define FOLLOWS(type, before, field) CHECK(offsetof(type, field) == offsetof(type, before) + sizeof(((type*)0)->before))
#define ENDS_WITH(type, field) CHECK(sizeof(type) == offsetof(type, field) + sizeof(((type*)0)->field))

int main(void) {
    FOLLOWS(bitnet_model_options, struct_size, threads);
    FOLLOWS(bitnet_model_options, threads, pages);
    FOLLOWS(bitnet_model_options, pages, head);
    FOLLOWS(bitnet_model_options, head, isa);
    FOLLOWS(bitnet_model_options, isa, allocate);
    FOLLOWS(bitnet_model_options, allocate, release);
    FOLLOWS(bitnet_model_options, release, memory);
    FOLLOWS(bitnet_model_options, memory, progress);
    FOLLOWS(bitnet_model_options, progress, progress_context);
    FOLLOWS(bitnet_model_options, progress_context, jobs);
    ENDS_WITH(bitnet_model_options, jobs);
    FOLLOWS(bitnet_jobs, run, context);
    FOLLOWS(bitnet_jobs, context, threads);
    FOLLOWS(bitnet_jobs, threads, reserved);
    ENDS_WITH(bitnet_jobs, reserved);
    FOLLOWS(bitnet_model_info, notes, isa);
    FOLLOWS(bitnet_model_info, isa, layout);
    ENDS_WITH(bitnet_model_info, layout);
    FOLLOWS(bitnet_memory, reserved, mapped);
    FOLLOWS(bitnet_memory, mapped, model);
    ENDS_WITH(bitnet_memory, session);
    FOLLOWS(bitnet_sampling, is_advised, seed);
    FOLLOWS(bitnet_sampling, seed, temperature);
    FOLLOWS(bitnet_sampling, temperature, top_p);
    FOLLOWS(bitnet_sampling, frequency_penalty, top_k);
    FOLLOWS(bitnet_sampling, penalty_window, reserved);
    ENDS_WITH(bitnet_sampling, reserved);
    FOLLOWS(bitnet_conversation_options, stop_count, stop_texts);
    FOLLOWS(bitnet_conversation_options, stop_texts, system);
    FOLLOWS(bitnet_conversation_options, system, chat_format);
    FOLLOWS(bitnet_conversation_options, chat_format, sampling);
    FOLLOWS(bitnet_conversation_options, sampling, pages);
    FOLLOWS(bitnet_conversation_options, pages, tools);
    FOLLOWS(bitnet_conversation_options, tools, jobs);
    ENDS_WITH(bitnet_conversation_options, jobs);
    FOLLOWS(bitnet_session_options, reserved, sampling);
    FOLLOWS(bitnet_session_options, sampling, pages);
    FOLLOWS(bitnet_session_options, pages, jobs);
    ENDS_WITH(bitnet_session_options, jobs);
    CHECK(bitnet_c_version() >= BITNET_C_VERSION);
    puts("no padding");
    return 0;
}
