/* SPDX-License-Identifier: MIT */
/* What worker.js calls: one model and one dialog with it, on the C interface. Texts come and go in the module's memory,
 * each ended by a 0; functions return 0 or more, or a code of bitnet.h whose sentence message() has. */
#include <bitnet/bitnet.h>

#include <stdlib.h>
#include <string.h>

#define EXPORTED(name) __attribute__((export_name(#name), used))

const bitnet_jobs* page_jobs; /* null: one thread; of pool.c where that is part of the module */

static bitnet_model* model;
static bitnet_grammar* grammar;
static bitnet_conversation* talk;
static uint32_t told; /* turns of the dialog that ask() is about */
static const char* taken = "";
static uint64_t taken_bytes;
static char sentence[1024];

EXPORTED(reserve) void* page_reserve(uint32_t bytes) { return malloc(bytes); }
EXPORTED(discard) void page_discard(void* block) { free(block); }
EXPORTED(message) const char* page_message(void) { return sentence; }

static int32_t of_talk(int32_t code) {
    if (code < 0) {
        strncpy(sentence, bitnet_conversation_error(talk), sizeof sentence - 1);
    }
    return code;
}

/* The bytes of a GGUF file, which stay where they are. Once in the life of a module: its memory cannot be given back.
 */
EXPORTED(open_model) int32_t page_open_model(const void* bytes, uint32_t size) {
    bitnet_model_options options;
    bitnet_model_options_init(&options);
    options.threads = 1;
    options.jobs = page_jobs;
    options.head = BITNET_HEAD_SCREENED; /* the same tokens sooner: automatic would need a thread to make it */
    return bitnet_model_open_memory(bytes, size, &options, &model, sentence, sizeof sentence);
}

/* "wasm_relaxed_simd" or another, as long as the module. */
EXPORTED(isa) const char* page_isa(void) {
    bitnet_model_info info = {.struct_size = sizeof info};
    return bitnet_model_get_info(model, &info) == 0 ? info.isa : "";
}

/* A dialog without turns. Below 0 and UINT32_MAX: as the model's file advises; limit 0: none; schema null: any text;
 * chat_format null: as the file says. */
EXPORTED(begin)
int32_t page_begin(float temperature, float top_p, uint32_t top_k, uint32_t limit, double seed, const char* schema,
                   const char* chat_format) {
    bitnet_sampling sampling;
    bitnet_sampling_init(&sampling);
    sampling.is_advised = 2;
    sampling.temperature = temperature;
    sampling.top_p = top_p;
    sampling.min_p = -1;
    sampling.top_k = top_k;
    sampling.seed = (uint64_t)seed;
    bitnet_conversation_options options;
    bitnet_conversation_options_init(&options);
    options.threads = 1;
    options.jobs = page_jobs;
    options.answer_limit = limit;
    options.when_full = BITNET_FULL_DROP_OLDEST;
    options.sampling = &sampling;
    options.chat_format = chat_format;
    bitnet_conversation_close(talk);
    bitnet_grammar_close(grammar);
    talk = NULL;
    grammar = NULL;
    int32_t code = 0;
    if (schema != NULL) {
        code = bitnet_grammar_open(BITNET_GRAMMAR_JSON_SCHEMA, schema, -1, &grammar, sentence, sizeof sentence);
    }
    if (code == 0) {
        code = bitnet_conversation_open(model, &options, &talk, sentence, sizeof sentence);
    }
    return code == 0 && grammar != NULL ? of_talk(bitnet_conversation_constrain(talk, grammar)) : code;
}

static int is_same(const char* text, const char* there, uint64_t bytes) {
    return strlen(text) == bytes && memcmp(text, there, bytes) == 0;
}

/* Turn `index` of the dialog. One that is there already stays, computed as it is; another takes its place and that of
 * all behind it. */
EXPORTED(tell) int32_t page_tell(uint32_t index, const char* role, const char* text) {
    const char *its_role, *its_text;
    uint64_t role_bytes, text_bytes;
    told = index + 1;
    if (bitnet_conversation_turn(talk, index, &its_role, &role_bytes, &its_text, &text_bytes) == 0) {
        if (is_same(role, its_role, role_bytes) && is_same(text, its_text, text_bytes)) {
            return 0;
        }
        const int32_t code = of_talk(bitnet_conversation_rewind(talk, index));
        if (code != 0) {
            return code;
        }
    }
    return of_talk(bitnet_conversation_add(talk, role, text, -1));
}

/* An answer to what was told begins. */
EXPORTED(ask) int32_t page_ask(void) {
    uint32_t turns;
    int32_t code = of_talk(bitnet_conversation_turns(talk, &turns));
    if (code == 0 && turns > told) {
        code = of_talk(bitnet_conversation_rewind(talk, told));
    }
    return code == 0 ? of_talk(bitnet_conversation_begin_answer(talk, "", 0)) : code;
}

/* Works for so long at most. Returns 0 when the answer has ended; text() is what it got. */
EXPORTED(step) int32_t page_step(uint32_t budget_us) {
    int32_t state = 0;
    const int32_t code = bitnet_conversation_step(talk, budget_us, &state);
    taken_bytes = 0;
    bitnet_conversation_take_text(talk, &taken, &taken_bytes);
    return code == 0 ? state : of_talk(code);
}
EXPORTED(text) const char* page_text(void) { return taken; }
EXPORTED(text_bytes) uint32_t page_text_bytes(void) { return (uint32_t)taken_bytes; }
EXPORTED(stop) void page_stop(void) { bitnet_conversation_cancel(talk); }

EXPORTED(tokens) uint32_t page_tokens(void) {
    uint32_t answer = 0;
    bitnet_conversation_tokens(talk, NULL, &answer);
    return answer;
}
EXPORTED(ended_by) int32_t page_ended_by(void) {
    int32_t end = BITNET_END_NONE;
    bitnet_conversation_ended_by(talk, &end);
    return end;
}
