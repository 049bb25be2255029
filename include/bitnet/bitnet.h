/* SPDX-License-Identifier: MIT */
/* The C interface of bitnet.hpp: what the shared library of the CMake target bitnet::c exports. C99 and C++.
 *
 * Functions return 0 or one of BITNET_E_...; the sentence that says why is to be had of the handle (..._error), or is
 * written to `message` where there is no handle yet: at most `capacity` bytes with a 0 at their end; null: not wanted.
 *
 * Texts are UTF-8. One that is given has its size in bytes beside it, or -1: up to its 0. One that is got is a pointer
 * and a size in bytes, without a 0 at its end, and valid until the next call with the same handle.
 *
 * Options begin with their size, are set by their ..._init function and may have more fields in later versions, at
 * their end. A null pointer in place of options is what _init sets.
 *
 * A handle belongs to one thread at a time, but for a model, whose sessions and conversations may be used on several,
 * and for bitnet_conversation_cancel. Handles may be closed in any order: what one needs of another lives as long as it
 * does. Null may be closed. The library calls the host's functions only on the thread that called it and during the
 * call, but for its allocator, which every thread of the library may call. */
#ifndef BITNET_BITNET_H
#define BITNET_BITNET_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32) && defined(BITNET_C_BUILD)
#define BITNET_API __declspec(dllexport)
#elif defined(_WIN32)
#define BITNET_API __declspec(dllimport)
#elif defined(__GNUC__)
#define BITNET_API __attribute__((visibility("default")))
#else
#define BITNET_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Rises with every function and field that is added; none is ever removed or changed. */
#define BITNET_C_VERSION 2
BITNET_API int32_t bitnet_c_version(void);          /* of the library */
BITNET_API const char* bitnet_version_string(void); /* "0.1.0" */

enum {
    BITNET_OK = 0,
    BITNET_E_ARGUMENT = -1,      /* a value outside its documented range, a null pointer */
    BITNET_E_NOT_FOUND = -2,     /* no such file */
    BITNET_E_IO = -3,            /* the operating system or a callback of the host's refused to read or write */
    BITNET_E_MEMORY = -4,        /* the sentence has the bytes asked for, where they are many */
    BITNET_E_MACHINE = -5,       /* this CPU cannot run it, no thread was to be had, or a kernel is broken */
    BITNET_E_FILE = -6,          /* the bytes of a model file or of a save are not what they have to be */
    BITNET_E_MODEL = -7,         /* a file that is whole, and no model that this library runs */
    BITNET_E_WRONG_MODEL = -8,   /* a save of another model */
    BITNET_E_GRAMMAR = -9,       /* a grammar or schema that cannot be read or not be enforced */
    BITNET_E_CONTEXT_FULL = -10, /* more tokens than the context has room for */
    BITNET_E_PAGES_FULL = -11,   /* more positions than a bitnet_pages has room for */
    BITNET_E_NO_TOKEN = -12,     /* no token may be chosen */
    BITNET_E_NO_HEAD = -13,      /* logits, tokens or answers of a text embedding model */
    BITNET_E_CANCELLED = -14,    /* by the host */
    BITNET_E_TOO_SMALL = -15     /* the room that was given; `needed` says how much it takes */
};
BITNET_API const char* bitnet_code_name(int32_t code); /* "BITNET_E_ARGUMENT"; "unknown" */

typedef struct bitnet_model bitnet_model;
typedef struct bitnet_pages bitnet_pages;
typedef struct bitnet_grammar bitnet_grammar;
typedef struct bitnet_tools bitnet_tools;
typedef struct bitnet_session bitnet_session;
typedef struct bitnet_conversation bitnet_conversation;
typedef struct bitnet_scheduler bitnet_scheduler;

/* ---- threads ---- */

/* The host's job system, which runs parallel loops in place of threads of the library's own: `threads` of the options
 * is not used then. `context` outlives all that was opened with it; the struct itself need not. */
typedef struct bitnet_jobs {
    /* Calls body(data, 0) to body(data, count - 1), each once, in any order on any threads, and returns when all are
     * done. Two threads that use handles of one job system at a time call it at a time, too. */
    void (*run)(void* context, size_t count, void (*body)(void* data, size_t index), void* data);
    void* context;
    uint32_t threads; /* for how many it is worth cutting a loop up, the caller's included if it takes part; not 0 */
    uint32_t reserved;
} bitnet_jobs;

/* ---- models ---- */

enum { BITNET_PAGES_AUTOMATIC = 0, BITNET_PAGES_MAPPED = 1, BITNET_PAGES_COPIED = 2 };
enum { BITNET_HEAD_AUTOMATIC = 0, BITNET_HEAD_AS_STORED = 1, BITNET_HEAD_SCREENED = 2 };

typedef struct bitnet_model_options {
    uint32_t struct_size;
    uint32_t threads; /* that open it; 0: those that the machine has */
    int32_t pages;    /* of files that are opened by a path */
    int32_t head;
    const char* isa; /* "avx2" ...; null: the best of this CPU */
    /* The host's allocator, all three or none; null refuses. See memory_source in bitnet.hpp. */
    void* (*allocate)(void* memory, uint64_t bytes, uint64_t alignment);
    void (*release)(void* memory, void* block, uint64_t bytes, uint64_t alignment);
    void* memory;
    /* Told how many bytes of all are done; 0 gives the opening up. */
    int32_t (*progress)(void* progress_context, uint64_t done, uint64_t all);
    void* progress_context;
    const bitnet_jobs* jobs; /* that open it; null: `threads` */
} bitnet_model_options;
BITNET_API int32_t bitnet_model_options_init(bitnet_model_options* options);

/* A GGUF file or the folder of a Hugging Face checkpoint. */
BITNET_API int32_t bitnet_model_open(const char* path, int64_t path_bytes, const bitnet_model_options* options,
                                     bitnet_model** model, char* message, uint32_t capacity);
/* The bytes of a GGUF file, which must outlive the model and all that was opened with it. */
BITNET_API int32_t bitnet_model_open_memory(const void* data, uint64_t bytes, const bitnet_model_options* options,
                                            bitnet_model** model, char* message, uint32_t capacity);
/* The same, read by the host: `read` fills `out` with `bytes` bytes from `offset` on and returns 1, or 0. */
BITNET_API int32_t bitnet_model_open_callback(int32_t (*read)(void* context, uint64_t offset, void* out,
                                                              uint64_t bytes),
                                              void* context, uint64_t bytes, const bitnet_model_options* options,
                                              bitnet_model** model, char* message, uint32_t capacity);
BITNET_API void bitnet_model_close(bitnet_model* model);

enum { BITNET_SCREEN_NONE = 0, BITNET_SCREEN_BEING_MADE = 1, BITNET_SCREEN_READY = 2 };

typedef struct bitnet_model_info {
    uint32_t struct_size;
    uint32_t vocabulary;
    uint32_t context; /* positions, at most */
    uint32_t layers;
    uint32_t hidden;     /* values of a hidden state and of an embedding */
    int32_t is_embedder; /* 1: a text embedding model */
    int32_t screen;      /* of the head */
    uint32_t notes;
    const char* isa; /* as long as the model */
    const char* layout;
} bitnet_model_info;
/* `info->struct_size` has to be set. */
BITNET_API int32_t bitnet_model_get_info(const bitnet_model* model, bitnet_model_info* info);
/* What was decided or passed over while opening. */
BITNET_API int32_t bitnet_model_note(const bitnet_model* model, uint32_t index, const char** text, uint64_t* bytes);

/* `with_special`: 1: control tokens that are spelled in the text become those tokens. `needed` is set in any case. */
BITNET_API int32_t bitnet_model_tokenize(const bitnet_model* model, const char* text, int64_t bytes,
                                         int32_t with_special, int32_t* tokens, uint32_t capacity, uint32_t* needed);
BITNET_API int32_t bitnet_model_detokenize(const bitnet_model* model, const int32_t* tokens, uint32_t count, char* text,
                                           uint32_t capacity, uint32_t* needed);

typedef struct bitnet_memory {
    uint32_t struct_size;
    uint32_t reserved;
    uint64_t mapped;  /* bytes of the file that are mapped */
    uint64_t model;   /* all others of a model */
    uint64_t session; /* of each session or conversation */
} bitnet_memory;
/* What opening would take, from the header of the file. `context`: 0: the library's choice. */
BITNET_API int32_t bitnet_estimate_memory(const char* path, int64_t path_bytes, const bitnet_model_options* options,
                                          uint32_t context, bitnet_memory* memory, char* message, uint32_t capacity);

/* Memory for the keys and values of several sessions and conversations, `bytes` at most. */
BITNET_API int32_t bitnet_pages_open(bitnet_model* model, uint64_t bytes, bitnet_pages** pages, char* message,
                                     uint32_t capacity);
BITNET_API void bitnet_pages_close(bitnet_pages* pages);

/* ---- what answers may be ---- */

enum { BITNET_GRAMMAR_GBNF = 0, BITNET_GRAMMAR_JSON_SCHEMA = 1, BITNET_GRAMMAR_REGEX = 2 };
BITNET_API int32_t bitnet_grammar_open(int32_t kind, const char* source, int64_t bytes, bitnet_grammar** grammar,
                                       char* message, uint32_t capacity);
BITNET_API void bitnet_grammar_close(bitnet_grammar* grammar);
/* BITNET_E_ARGUMENT behind the last one. */
BITNET_API int32_t bitnet_grammar_note(const bitnet_grammar* grammar, uint32_t index, const char** text,
                                       uint64_t* bytes);

/* Functions that a model may call: a JSON array as OpenAI's interface has it. */
BITNET_API int32_t bitnet_tools_open(bitnet_model* model, const char* json, int64_t bytes, bitnet_tools** tools,
                                     char* message, uint32_t capacity);
BITNET_API void bitnet_tools_close(bitnet_tools* tools);

/* ---- sampling: see sampler_options in bitnet.hpp ---- */

typedef struct bitnet_sampling {
    uint32_t struct_size;
    /* 1, as _init sets it: temperature, top_k, top_p and min_p are those that the file advises; 2: those of them are
     * that are NaN, or UINT32_MAX for top_k; 0: none */
    int32_t is_advised;
    uint64_t seed;
    float temperature;
    float top_p;
    float min_p;
    float typical_p;
    float repeat_penalty;
    float presence_penalty;
    float frequency_penalty;
    uint32_t top_k;
    uint32_t penalty_window;
    uint32_t reserved;
} bitnet_sampling;
BITNET_API int32_t bitnet_sampling_init(bitnet_sampling* sampling);

/* ---- conversations ---- */

enum { BITNET_FULL_STOP = 0, BITNET_FULL_DROP_OLDEST = 1, BITNET_FULL_WINDOW = 2 };
enum { BITNET_THINKING_BY_TEMPLATE = 0, BITNET_THINKING_ON = 1, BITNET_THINKING_OFF = 2 };
enum { BITNET_CALLS_AUTOMATIC = 0, BITNET_CALLS_NONE = 1, BITNET_CALLS_REQUIRED = 2, BITNET_CALLS_NAMED = 3 };

typedef struct bitnet_conversation_options {
    uint32_t struct_size;
    uint32_t context;      /* positions; 0: the library's choice */
    uint32_t threads;      /* 0: those that the machine has; 1: the caller's alone */
    uint32_t answer_limit; /* tokens; 0: none */
    int32_t when_full;
    int32_t thinking;
    int32_t show_thoughts;
    uint32_t stop_count;
    const char* const* stop_texts; /* each up to its 0 */
    const char* system;            /* up to its 0; null: none */
    const char* chat_format;       /* null: as the file says */
    const bitnet_sampling* sampling;
    bitnet_pages* pages;     /* null: memory of its own */
    bitnet_tools* tools;     /* null: none */
    const bitnet_jobs* jobs; /* null: `threads` */
} bitnet_conversation_options;
BITNET_API int32_t bitnet_conversation_options_init(bitnet_conversation_options* options);

BITNET_API int32_t bitnet_conversation_open(bitnet_model* model, const bitnet_conversation_options* options,
                                            bitnet_conversation** talk, char* message, uint32_t capacity);
BITNET_API void bitnet_conversation_close(bitnet_conversation* talk);
/* Of the last call that failed; never null. */
BITNET_API const char* bitnet_conversation_error(const bitnet_conversation* talk);

BITNET_API int32_t bitnet_conversation_say(bitnet_conversation* talk, const char* text, int64_t bytes);
/* A turn of any role, to which no answer is wanted. */
BITNET_API int32_t bitnet_conversation_add(bitnet_conversation* talk, const char* role, const char* text,
                                           int64_t bytes);
/* The model is to answer what was added, and begins with `text`, which may be empty. */
BITNET_API int32_t bitnet_conversation_begin_answer(bitnet_conversation* talk, const char* text, int64_t bytes);
BITNET_API int32_t bitnet_conversation_regenerate(bitnet_conversation* talk);
BITNET_API int32_t bitnet_conversation_edit(bitnet_conversation* talk, uint32_t turn, const char* text, int64_t bytes);
BITNET_API int32_t bitnet_conversation_rewind(bitnet_conversation* talk, uint32_t turns);
BITNET_API int32_t bitnet_conversation_reset(bitnet_conversation* talk);

enum { BITNET_IDLE = 0, BITNET_READING = 1, BITNET_SPEAKING = 2 };
/* Works for at most so many microseconds. `state`: what is left to do. */
BITNET_API int32_t bitnet_conversation_step(bitnet_conversation* talk, uint64_t budget_us, int32_t* state);
/* Works until the answer has ended. `on_text`, which may be null, gets its text as it comes and returns 0 to end it. */
BITNET_API int32_t bitnet_conversation_answer(bitnet_conversation* talk,
                                              int32_t (*on_text)(void* context, const char* text, uint64_t bytes),
                                              void* context);
/* The text that the answer got since the last call, in whole characters. */
BITNET_API int32_t bitnet_conversation_take_text(bitnet_conversation* talk, const char** text, uint64_t* bytes);
BITNET_API int32_t bitnet_conversation_state(const bitnet_conversation* talk, int32_t* state);
enum {
    BITNET_END_NONE = 0, /* it has not ended, or there is none */
    BITNET_END_STOP_TOKEN = 1,
    BITNET_END_STOP_TEXT = 2,
    BITNET_END_LIMIT = 3,
    BITNET_END_CANCELLED = 4,
    BITNET_END_CONTEXT_FULL = 5,
    BITNET_END_ERROR = 6,
    BITNET_END_TOOL_CALLS = 7
};
BITNET_API int32_t bitnet_conversation_ended_by(const bitnet_conversation* talk, int32_t* end);
/* Any thread may call it at any time: the answer ends as it stands. */
BITNET_API void bitnet_conversation_cancel(bitnet_conversation* talk);

BITNET_API int32_t bitnet_conversation_turns(const bitnet_conversation* talk, uint32_t* count);
/* Each pointer may be null. */
BITNET_API int32_t bitnet_conversation_turn(const bitnet_conversation* talk, uint32_t index, const char** role,
                                            uint64_t* role_bytes, const char** text, uint64_t* text_bytes);
BITNET_API int32_t bitnet_conversation_tokens(const bitnet_conversation* talk, uint32_t* prompt, uint32_t* answer);

/* Answers are texts of the grammar from the next one on, and whole within answer_limit; null: any text. Neither a fork
 * nor a save has it. BITNET_E_ARGUMENT while an answer is being given, and for a conversation with tools. */
BITNET_API int32_t bitnet_conversation_constrain(bitnet_conversation* talk, const bitnet_grammar* grammar);
/* `name`: of the function, for BITNET_CALLS_NAMED. `is_parallel`: 1: an answer may have several calls. */
BITNET_API int32_t bitnet_conversation_choose_calls(bitnet_conversation* talk, int32_t mode, const char* name,
                                                    int32_t is_parallel);
/* The calls of the last turn. */
BITNET_API int32_t bitnet_conversation_calls(const bitnet_conversation* talk, uint32_t* count);
BITNET_API int32_t bitnet_conversation_call(const bitnet_conversation* talk, uint32_t index, const char** name,
                                            uint64_t* name_bytes, const char** arguments, uint64_t* argument_bytes);
/* A result of each call, up to its 0, and the model is to go on. */
BITNET_API int32_t bitnet_conversation_say_results(bitnet_conversation* talk, const char* const* results,
                                                   uint32_t count);

/* `seed`: null: random numbers go on as those of `talk`. The two belong to one thread together. */
BITNET_API int32_t bitnet_conversation_fork(bitnet_conversation* talk, const uint64_t* seed,
                                            bitnet_conversation** fork);
/* `with_keys`: 0: a small save, of which all tokens are computed again. `needed` is set where the room is too small,
 * too. */
BITNET_API int32_t bitnet_conversation_save(bitnet_conversation* talk, int32_t with_keys, void* out, uint64_t capacity,
                                            uint64_t* needed);
/* What fails changes nothing. */
BITNET_API int32_t bitnet_conversation_restore(bitnet_conversation* talk, const void* saved, uint64_t bytes);

/* ---- sessions: tokens in, tokens out ---- */

typedef struct bitnet_session_options {
    uint32_t struct_size;
    uint32_t context;
    uint32_t threads;
    uint32_t reserved;
    const bitnet_sampling* sampling;
    bitnet_pages* pages;
    const bitnet_jobs* jobs;
} bitnet_session_options;
BITNET_API int32_t bitnet_session_options_init(bitnet_session_options* options);

BITNET_API int32_t bitnet_session_open(bitnet_model* model, const bitnet_session_options* options,
                                       bitnet_session** session, char* message, uint32_t capacity);
BITNET_API void bitnet_session_close(bitnet_session* session);
BITNET_API const char* bitnet_session_error(const bitnet_session* session);
/* Runs the tokens; queue leaves that to step, or to the next call that needs them. */
BITNET_API int32_t bitnet_session_feed(bitnet_session* session, const int32_t* tokens, uint32_t count);
BITNET_API int32_t bitnet_session_queue(bitnet_session* session, const int32_t* tokens, uint32_t count);
/* `is_ready`: 1: all that was asked for, and what next needs, is computed. */
BITNET_API int32_t bitnet_session_step(bitnet_session* session, uint64_t budget_us, int32_t* is_ready);
/* `token`: the next one, which is part of the sequence; -1 behind a stop token and at the end of the context. */
BITNET_API int32_t bitnet_session_next(bitnet_session* session, int32_t* token);
BITNET_API int32_t bitnet_session_logits(bitnet_session* session, const float** logits, uint32_t* count);
BITNET_API int32_t bitnet_session_position(const bitnet_session* session, uint64_t* position);
BITNET_API int32_t bitnet_session_rewind(bitnet_session* session, uint64_t position);
BITNET_API int32_t bitnet_session_reset(bitnet_session* session);
BITNET_API int32_t bitnet_session_save(const bitnet_session* session, int32_t with_keys, void* out, uint64_t capacity,
                                       uint64_t* needed);
BITNET_API int32_t bitnet_session_restore(bitnet_session* session, const void* saved, uint64_t bytes);
/* The embedding of a text, of bitnet_model_info::hidden values and length one. */
BITNET_API int32_t bitnet_session_embed(bitnet_session* session, const char* text, int64_t bytes,
                                        const float** embedding, uint32_t* count);

/* ---- many conversations in one reading of the weights ---- */

BITNET_API int32_t bitnet_scheduler_open(bitnet_model* model, uint32_t threads, bitnet_scheduler** scheduler,
                                         char* message, uint32_t capacity);
BITNET_API void bitnet_scheduler_close(bitnet_scheduler* scheduler);
BITNET_API const char* bitnet_scheduler_error(const bitnet_scheduler* scheduler);
/* Conversations of the same model; a higher priority goes first. Closing a conversation removes it. */
BITNET_API int32_t bitnet_scheduler_add(bitnet_scheduler* scheduler, bitnet_conversation* talk, int32_t priority);
BITNET_API int32_t bitnet_scheduler_remove(bitnet_scheduler* scheduler, bitnet_conversation* talk);
/* `is_ready`: 1: none of them has anything to do. */
BITNET_API int32_t bitnet_scheduler_step(bitnet_scheduler* scheduler, uint64_t budget_us, int32_t* is_ready);

#ifdef __cplusplus
}
#endif

#endif
