/* SPDX-License-Identifier: MIT */
/* All of bitnet.h from C: dialog MODEL */
#include "check.h"

#include <bitnet/bitnet.h>

#include <string.h>

static char message[512];

/* The options that all conversations here have. */
static bitnet_conversation_options options_with(const bitnet_sampling* sampling) {
    bitnet_conversation_options options;
    CHECK(bitnet_conversation_options_init(&options) == BITNET_OK);
    options.context = 512;
    options.threads = 1;
    options.answer_limit = 24;
    options.sampling = sampling;
    options.system = "You tell stories.";
    options.chat_format = "llama3";
    return options;
}

static bitnet_conversation* opened(bitnet_model* model, const bitnet_conversation_options* options) {
    bitnet_conversation* talk = NULL;
    const int32_t code = bitnet_conversation_open(model, options, &talk, message, sizeof message);
    if (code != BITNET_OK) {
        fprintf(stderr, "%s: %s\n", bitnet_code_name(code), message);
    }
    CHECK(code == BITNET_OK && talk != NULL);
    return talk;
}

struct collected {
    char text[4096];
    size_t size;
    size_t most; /* bytes after which it wants no more */
};

static int32_t collect(void* context, const char* text, uint64_t bytes) {
    struct collected* all = context;
    CHECK(all->size + bytes < sizeof all->text);
    memcpy(all->text + all->size, text, (size_t)bytes);
    all->size += (size_t)bytes;
    all->text[all->size] = '\0';
    return all->size < all->most;
}

/* What it answers, without steps. */
static struct collected answer_of(bitnet_conversation* talk) {
    struct collected all = {"", 0, sizeof all.text};
    CHECK(bitnet_conversation_answer(talk, collect, &all) == BITNET_OK);
    return all;
}

/* The same in steps of a millisecond. */
static struct collected answer_in_steps(bitnet_conversation* talk) {
    struct collected all = {"", 0, sizeof all.text};
    int32_t state = BITNET_READING;
    while (state != BITNET_IDLE) {
        const char* text;
        uint64_t bytes;
        CHECK(bitnet_conversation_step(talk, 1000, &state) == BITNET_OK);
        CHECK(bitnet_conversation_take_text(talk, &text, &bytes) == BITNET_OK);
        (void)collect(&all, text, bytes);
    }
    return all;
}

static void check_model(bitnet_model* model) {
    bitnet_model_info info = {0};
    int32_t tokens[64];
    char text[64];
    uint32_t count = 0, bytes = 0;
    info.struct_size = sizeof info;
    CHECK(bitnet_model_get_info(model, &info) == BITNET_OK);
    CHECK(info.vocabulary > 256 && info.context >= 512 && info.layers != 0 && info.hidden != 0);
    CHECK(info.is_embedder == 0 && strlen(info.isa) != 0 && strcmp(info.layout, "i2_s") == 0);
    CHECK(bitnet_model_tokenize(model, "Once upon a time", -1, 0, tokens, 64, &count) == BITNET_OK && count > 1);
    CHECK(bitnet_model_tokenize(model, "Once upon a time", -1, 0, tokens, 1, &count) == BITNET_E_TOO_SMALL &&
          count > 1);
    CHECK(bitnet_model_tokenize(model, "Once upon a time", -1, 0, tokens, 64, &count) == BITNET_OK);
    CHECK(bitnet_model_detokenize(model, tokens, count, text, sizeof text, &bytes) == BITNET_OK);
    CHECK(bytes == 16 && memcmp(text, "Once upon a time", 16) == 0);
    tokens[0] = -7;
    CHECK(bitnet_model_detokenize(model, tokens, 1, text, sizeof text, &bytes) == BITNET_E_ARGUMENT);
}

static void check_conversations(bitnet_model* model) {
    bitnet_sampling sampling;
    bitnet_conversation_options options;
    struct collected first, second, third;
    static unsigned char save[1 << 22];
    uint64_t needed = 0;
    uint32_t turns = 0, prompt = 0, answer = 0;
    int32_t end = -1;
    const uint64_t seed = 5;
    CHECK(bitnet_sampling_init(&sampling) == BITNET_OK);
    sampling.seed = 3;
    options = options_with(&sampling);
    bitnet_conversation* a = opened(model, &options);
    bitnet_conversation* b = opened(model, &options);
    CHECK(bitnet_conversation_say(a, "Who lived in the castle?", -1) == BITNET_OK);
    CHECK(bitnet_conversation_say(b, "Who lived in the castle? And", 24) == BITNET_OK);
    first = answer_of(a);
    second = answer_in_steps(b);
    CHECK(first.size != 0 && strcmp(first.text, second.text) == 0);
    CHECK(bitnet_conversation_ended_by(a, &end) == BITNET_OK &&
          (end == BITNET_END_LIMIT || end == BITNET_END_STOP_TOKEN));
    CHECK(bitnet_conversation_turns(a, &turns) == BITNET_OK && turns == 3);
    CHECK(bitnet_conversation_tokens(a, &prompt, &answer) == BITNET_OK && prompt > 8 && answer > 0);

    const char* role;
    const char* text;
    uint64_t role_bytes, text_bytes;
    CHECK(bitnet_conversation_turn(a, 1, &role, &role_bytes, &text, &text_bytes) == BITNET_OK);
    CHECK(role_bytes == 4 && memcmp(role, "user", 4) == 0 && text_bytes == 24);
    CHECK(bitnet_conversation_turn(a, 3, NULL, NULL, NULL, NULL) == BITNET_E_ARGUMENT);

    /* What was saved goes on as the one that was not. */
    CHECK(bitnet_conversation_save(a, 1, NULL, 0, &needed) == BITNET_E_TOO_SMALL && needed <= sizeof save);
    CHECK(bitnet_conversation_save(a, 1, save, sizeof save, &needed) == BITNET_OK);
    CHECK(bitnet_conversation_say(a, "Why?", -1) == BITNET_OK);
    first = answer_of(a);
    CHECK(bitnet_conversation_rewind(b, 0) == BITNET_OK);
    CHECK(bitnet_conversation_restore(b, save, needed) == BITNET_OK);
    CHECK(bitnet_conversation_say(b, "Why?", -1) == BITNET_OK);
    second = answer_of(b);
    CHECK(strcmp(first.text, second.text) == 0);
    save[needed / 2] ^= 1;
    CHECK(bitnet_conversation_restore(b, save, needed) == BITNET_E_FILE);
    CHECK(strstr(bitnet_conversation_error(b), "checksum") != NULL);

    /* A fork has the same past; closing the one it came from takes nothing from it. */
    bitnet_conversation* c = NULL;
    CHECK(bitnet_conversation_fork(b, &seed, &c) == BITNET_OK);
    CHECK(bitnet_conversation_turns(c, &turns) == BITNET_OK && turns == 5);
    bitnet_conversation_close(b);
    CHECK(bitnet_conversation_regenerate(c) == BITNET_OK);
    third = answer_of(c);
    CHECK(third.size != 0);

    /* A host that wants no more, and one that cancels. */
    CHECK(bitnet_conversation_say(c, "And then?", -1) == BITNET_OK);
    struct collected short_one = {"", 0, 1};
    CHECK(bitnet_conversation_answer(c, collect, &short_one) == BITNET_OK);
    CHECK(bitnet_conversation_ended_by(c, &end) == BITNET_OK && end == BITNET_END_CANCELLED);
    CHECK(bitnet_conversation_say(c, "And then?", -1) == BITNET_OK);
    bitnet_conversation_cancel(c);
    CHECK(bitnet_conversation_step(c, 1000, &end) == BITNET_OK && end == BITNET_IDLE);
    CHECK(bitnet_conversation_edit(c, 99, "x", 1) == BITNET_E_ARGUMENT);
    CHECK(strstr(bitnet_conversation_error(c), "99") != NULL);
    CHECK(bitnet_conversation_reset(c) == BITNET_OK);
    CHECK(bitnet_conversation_turns(c, &turns) == BITNET_OK && turns == 1);
    bitnet_conversation_close(c);
    bitnet_conversation_close(a);
}

static void check_grammars(bitnet_model* model) {
    static const char schema[] = "{\"type\":\"object\",\"properties\":{\"hp\":{\"type\":\"integer\",\"minimum\":0,"
                                 "\"maximum\":99}},\"required\":[\"hp\"],\"additionalProperties\":false}";
    bitnet_sampling sampling;
    bitnet_conversation_options options;
    bitnet_grammar* grammar = NULL;
    int hp = -1, read = 0;
    CHECK(bitnet_sampling_init(&sampling) == BITNET_OK);
    sampling.is_advised = 0;
    sampling.temperature = 2.0f;
    options = options_with(&sampling);
    bitnet_conversation* talk = opened(model, &options);
    CHECK(bitnet_grammar_open(BITNET_GRAMMAR_JSON_SCHEMA, schema, -1, &grammar, message, sizeof message) == BITNET_OK);
    CHECK(bitnet_conversation_constrain(talk, grammar) == BITNET_OK);
    bitnet_grammar_close(grammar); /* the conversation keeps what it needs */
    CHECK(bitnet_conversation_say(talk, "How many?", -1) == BITNET_OK);
    struct collected json = answer_of(talk);
    CHECK(sscanf(json.text, "{\"hp\":%d}%n", &hp, &read) == 1 && (size_t)read == json.size && hp >= 0 && hp <= 99);
    CHECK(bitnet_conversation_constrain(talk, NULL) == BITNET_OK);
    CHECK(bitnet_grammar_open(BITNET_GRAMMAR_GBNF, "root ::= (", -1, &grammar, message, sizeof message) ==
          BITNET_E_GRAMMAR);
    CHECK(grammar == NULL && strlen(message) != 0);
    bitnet_conversation_close(talk);

    sampling.is_advised = 2; /* the file's top_k and others, and a temperature that leaves no choice */
    sampling.temperature = 0;
    sampling.top_p = sampling.min_p = -1;
    sampling.top_k = UINT32_MAX;
    talk = opened(model, &options);
    CHECK(bitnet_conversation_say(talk, "How many?", -1) == BITNET_OK);
    struct collected advised = answer_of(talk);
    bitnet_conversation_close(talk);
    sampling.is_advised = 0;
    sampling.top_p = sampling.min_p = 0.5f;
    sampling.top_k = 1;
    talk = opened(model, &options);
    CHECK(bitnet_conversation_say(talk, "How many?", -1) == BITNET_OK);
    CHECK(strcmp(answer_of(talk).text, advised.text) == 0);
    bitnet_conversation_close(talk);
}

/* What was opened with one model is refused by another. */
static void check_other_models(const char* path, bitnet_model* model) {
    static const char list[] = "[{\"type\":\"function\",\"function\":{\"name\":\"go\"}}]";
    bitnet_conversation_options options = options_with(NULL);
    bitnet_session_options of_session;
    bitnet_model* other = NULL;
    bitnet_conversation* talk = NULL;
    bitnet_session* session = NULL;
    CHECK(bitnet_model_open(path, -1, NULL, &other, message, sizeof message) == BITNET_OK);
    CHECK(bitnet_tools_open(other, list, -1, &options.tools, message, sizeof message) == BITNET_OK);
    CHECK(bitnet_conversation_open(model, &options, &talk, message, sizeof message) == BITNET_E_ARGUMENT);
    CHECK(talk == NULL && strstr(message, "tools are of another model") != NULL);
    bitnet_tools_close(options.tools);
    options.tools = NULL;
    CHECK(bitnet_pages_open(other, UINT64_C(1) << 23, &options.pages, message, sizeof message) == BITNET_OK);
    CHECK(bitnet_conversation_open(model, &options, &talk, message, sizeof message) == BITNET_E_ARGUMENT);
    CHECK(talk == NULL && strstr(message, "pages are of another model") != NULL);
    CHECK(bitnet_session_options_init(&of_session) == BITNET_OK);
    of_session.pages = options.pages;
    CHECK(bitnet_session_open(model, &of_session, &session, message, sizeof message) == BITNET_E_ARGUMENT);
    bitnet_pages_close(options.pages);
    bitnet_model_close(other);
}

static void check_tools(bitnet_model* model) {
    static const char list[] =
        "[{\"type\":\"function\",\"function\":{\"name\":\"give\",\"parameters\":{\"type\":\"object\",\"properties\":"
        "{\"item\":{\"enum\":[\"bread\",\"sword\"]}},\"required\":[\"item\"],\"additionalProperties\":false}}}]";
    static const char* const results[] = {"Ann has it."};
    bitnet_conversation_options options = options_with(NULL);
    bitnet_tools* tools = NULL;
    uint32_t calls = 0;
    int32_t end = -1;
    const char *name, *arguments;
    uint64_t name_bytes, argument_bytes;
    CHECK(bitnet_tools_open(model, list, -1, &tools, message, sizeof message) == BITNET_OK);
    options.answer_limit = 64;
    options.tools = tools;
    bitnet_conversation* talk = opened(model, &options);
    bitnet_tools_close(tools);
    CHECK(bitnet_conversation_choose_calls(talk, BITNET_CALLS_NAMED, "steal", 0) == BITNET_E_ARGUMENT);
    CHECK(bitnet_conversation_choose_calls(talk, BITNET_CALLS_REQUIRED, NULL, 0) == BITNET_OK);
    CHECK(bitnet_conversation_say(talk, "Give Ann the bread.", -1) == BITNET_OK);
    (void)answer_of(talk);
    CHECK(bitnet_conversation_ended_by(talk, &end) == BITNET_OK && end == BITNET_END_TOOL_CALLS);
    CHECK(bitnet_conversation_calls(talk, &calls) == BITNET_OK && calls == 1);
    CHECK(bitnet_conversation_call(talk, 0, &name, &name_bytes, &arguments, &argument_bytes) == BITNET_OK);
    CHECK(name_bytes == 4 && memcmp(name, "give", 4) == 0);
    CHECK(argument_bytes >= 16 && memcmp(arguments, "{\"item\":", 8) == 0 && arguments[argument_bytes - 1] == '}');
    CHECK(bitnet_conversation_say_results(talk, results, 0) == BITNET_E_ARGUMENT);
    CHECK(bitnet_conversation_choose_calls(talk, BITNET_CALLS_NONE, NULL, 0) == BITNET_OK);
    CHECK(bitnet_conversation_say_results(talk, results, 1) == BITNET_OK);
    (void)answer_of(talk);
    bitnet_conversation_close(talk);
}

static void check_sessions(bitnet_model* model) {
    bitnet_session_options options;
    bitnet_session *session = NULL, *other = NULL;
    int32_t prompt[64], tokens[8], again[8], ready = 0;
    uint32_t count = 0, logits_count = 0, hidden = 0;
    uint64_t position = 0, needed = 0;
    const float *logits, *embedding;
    static unsigned char save[1 << 21];
    float length = 0;
    CHECK(bitnet_session_options_init(&options) == BITNET_OK);
    options.context = 128;
    options.threads = 2;
    CHECK(bitnet_session_open(model, &options, &session, message, sizeof message) == BITNET_OK);
    CHECK(bitnet_session_next(session, tokens) == BITNET_E_ARGUMENT); /* nothing was fed */
    CHECK(strlen(bitnet_session_error(session)) != 0);
    CHECK(bitnet_model_tokenize(model, "The king", -1, 0, prompt, 64, &count) == BITNET_OK);
    CHECK(bitnet_session_feed(session, prompt, count) == BITNET_OK);
    CHECK(bitnet_session_save(session, 1, save, sizeof save, &needed) == BITNET_OK);
    for (int i = 0; i < 8; ++i) {
        CHECK(bitnet_session_next(session, tokens + i) == BITNET_OK && tokens[i] >= 0);
    }
    CHECK(bitnet_session_position(session, &position) == BITNET_OK && position == count + 8);
    CHECK(bitnet_session_logits(session, &logits, &logits_count) == BITNET_OK && logits_count > 256);
    CHECK(bitnet_session_rewind(session, 999) == BITNET_E_ARGUMENT);

    options.threads = 1;
    CHECK(bitnet_session_open(model, &options, &other, message, sizeof message) == BITNET_OK);
    CHECK(bitnet_session_restore(other, save, needed) == BITNET_OK);
    for (int i = 0; i < 8; ++i) {
        for (ready = 0; !ready;) {
            CHECK(bitnet_session_step(other, 500, &ready) == BITNET_OK);
        }
        CHECK(bitnet_session_next(other, again + i) == BITNET_OK && again[i] == tokens[i]);
    }
    CHECK(bitnet_session_reset(other) == BITNET_OK);
    CHECK(bitnet_session_queue(other, prompt, count) == BITNET_OK);
    CHECK(bitnet_session_next(other, again) == BITNET_OK && again[0] == tokens[0]);
    CHECK(bitnet_session_embed(other, "a castle", -1, &embedding, &hidden) == BITNET_OK);
    for (uint32_t i = 0; i < hidden; ++i) {
        length += embedding[i] * embedding[i];
    }
    CHECK(length > 0.999f && length < 1.001f);
    bitnet_session_close(session);
    bitnet_session_close(other);
}

static void check_scheduler(bitnet_model* model) {
    bitnet_sampling sampling;
    bitnet_pages* pages = NULL;
    bitnet_scheduler* all = NULL;
    bitnet_conversation* talks[3];
    int32_t ready = 0;
    CHECK(bitnet_sampling_init(&sampling) == BITNET_OK);
    sampling.seed = 3;
    bitnet_conversation_options options = options_with(&sampling);
    bitnet_conversation* alone = opened(model, &options);
    CHECK(bitnet_conversation_say(alone, "Who is there?", -1) == BITNET_OK);
    struct collected expected = answer_of(alone);
    CHECK(bitnet_pages_open(model, 1, &pages, message, sizeof message) == BITNET_E_ARGUMENT);
    CHECK(bitnet_pages_open(model, UINT64_C(1) << 23, &pages, message, sizeof message) == BITNET_OK);
    options.pages = pages;
    CHECK(bitnet_scheduler_open(model, 1, &all, message, sizeof message) == BITNET_OK);
    for (int i = 0; i < 3; ++i) {
        talks[i] = opened(model, &options);
        CHECK(bitnet_conversation_say(talks[i], "Who is there?", -1) == BITNET_OK);
        CHECK(bitnet_scheduler_add(all, talks[i], i) == BITNET_OK);
    }
    bitnet_pages_close(pages);
    CHECK(bitnet_scheduler_add(all, talks[0], 0) == BITNET_E_ARGUMENT && strlen(bitnet_scheduler_error(all)) != 0);
    bitnet_conversation_close(talks[2]); /* which is removed */
    while (!ready) {
        CHECK(bitnet_scheduler_step(all, 2000, &ready) == BITNET_OK);
    }
    for (int i = 0; i < 2; ++i) {
        const char* text;
        uint64_t bytes;
        CHECK(bitnet_conversation_take_text(talks[i], &text, &bytes) == BITNET_OK);
        CHECK(bytes == expected.size && memcmp(text, expected.text, expected.size) == 0);
    }
    CHECK(bitnet_scheduler_remove(all, talks[0]) == BITNET_OK);
    CHECK(bitnet_scheduler_remove(all, talks[0]) == BITNET_E_ARGUMENT);
    bitnet_scheduler_close(all); /* before the other conversation */
    bitnet_conversation_close(talks[0]);
    bitnet_conversation_close(talks[1]);
    bitnet_conversation_close(alone);
}

/* ---- errors, and models from elsewhere ---- */

struct file {
    FILE* stream;
    int reads;
};

static int32_t read_file(void* context, uint64_t offset, void* out, uint64_t bytes) {
    struct file* of = context;
    ++of->reads;
    return fseek(of->stream, (long)offset, SEEK_SET) == 0 && fread(out, 1, (size_t)bytes, of->stream) == bytes;
}

static int32_t give_up(void* context, uint64_t done, uint64_t all) {
    (void)done, (void)all;
    return ++*(int*)context < 2;
}

struct future_options { /* of a later version of the library */
    bitnet_model_options known;
    void* unknown;
};

static void check_openings(const char* path) {
    bitnet_model* model = NULL;
    bitnet_model_options options;
    struct future_options later = {0};
    bitnet_memory memory = {0};
    int told = 0;
    char cut[8];
    CHECK(bitnet_model_open("no such file.gguf", -1, NULL, &model, message, sizeof message) == BITNET_E_NOT_FOUND);
    CHECK(model == NULL && strstr(message, "no such file.gguf") != NULL);
    CHECK(bitnet_model_open("no such file.gguf", -1, NULL, &model, cut, sizeof cut) == BITNET_E_NOT_FOUND);
    CHECK(strcmp(cut, "no such") == 0);
    CHECK(bitnet_model_open(NULL, -1, NULL, &model, NULL, 0) == BITNET_E_ARGUMENT);
    CHECK(bitnet_model_open(path, -1, NULL, NULL, NULL, 0) == BITNET_E_ARGUMENT);

    CHECK(bitnet_model_options_init(&options) == BITNET_OK && options.struct_size == sizeof options);
    options.isa = "mmx";
    CHECK(bitnet_model_open(path, -1, &options, &model, message, sizeof message) == BITNET_E_MACHINE);
    CHECK(bitnet_model_options_init(&options) == BITNET_OK);
    options.head = 7;
    CHECK(bitnet_model_open(path, -1, &options, &model, message, sizeof message) == BITNET_E_ARGUMENT);
    CHECK(bitnet_model_options_init(&options) == BITNET_OK);
    options.progress = give_up;
    options.progress_context = &told;
    CHECK(bitnet_model_open(path, -1, &options, &model, message, sizeof message) == BITNET_E_CANCELLED && told == 2);

    later.known.struct_size = sizeof later;
    CHECK(bitnet_model_open(path, -1, &later.known, &model, message, sizeof message) == BITNET_OK);
    bitnet_model_close(model);
    later.unknown = &later;
    CHECK(bitnet_model_open(path, -1, &later.known, &model, message, sizeof message) == BITNET_E_ARGUMENT);
    CHECK(strstr(message, "does not know") != NULL);

    memory.struct_size = sizeof memory;
    CHECK(bitnet_estimate_memory(path, -1, NULL, 512, &memory, message, sizeof message) == BITNET_OK);
    CHECK(memory.mapped + memory.model > 100000 && memory.session > 100000);
}

struct counted { /* the host's memory */
    uint64_t blocks, bytes;
};

static void* allocate(void* context, uint64_t bytes, uint64_t alignment) {
    struct counted* of = context;
    void* block = aligned_alloc((size_t)alignment, (size_t)((bytes + alignment - 1) / alignment * alignment));
    of->blocks += block != NULL;
    of->bytes += block != NULL ? bytes : 0;
    return block;
}

static void release(void* context, void* block, uint64_t bytes, uint64_t alignment) {
    struct counted* of = context;
    (void)alignment;
    --of->blocks;
    of->bytes -= bytes;
    free(block);
}

static void check_read_model(const char* path) {
    struct file of = {fopen(path, "rb"), 0};
    struct counted memory = {0, 0};
    bitnet_model* model = NULL;
    bitnet_model_options options;
    CHECK(of.stream != NULL && fseek(of.stream, 0, SEEK_END) == 0);
    const uint64_t bytes = (uint64_t)ftell(of.stream);
    CHECK(bitnet_model_options_init(&options) == BITNET_OK);
    options.allocate = allocate;
    CHECK(bitnet_model_open_callback(read_file, &of, bytes, &options, &model, message, sizeof message) ==
          BITNET_E_ARGUMENT);
    options.release = release;
    options.memory = &memory;
    CHECK(bitnet_model_open_callback(read_file, &of, bytes, &options, &model, message, sizeof message) == BITNET_OK);
    CHECK(of.reads != 0 && memory.bytes > bytes);
    bitnet_session* session = NULL;
    CHECK(bitnet_session_open(model, NULL, &session, message, sizeof message) == BITNET_OK);
    bitnet_model_close(model); /* the session keeps it */
    CHECK(memory.bytes > bytes);
    bitnet_session_close(session);
    CHECK(memory.blocks == 0 && memory.bytes == 0);

    void* data = malloc((size_t)bytes);
    CHECK(data != NULL && read_file(&of, 0, data, bytes));
    CHECK(bitnet_model_open_memory(data, bytes, NULL, &model, message, sizeof message) == BITNET_OK);
    check_model(model);
    bitnet_model_close(model);
    CHECK(bitnet_model_open_memory(data, bytes / 2, NULL, &model, message, sizeof message) == BITNET_E_FILE);
    free(data);
    fclose(of.stream);
}

/* A job system, which has no threads and runs loops from their end. */
static void run_backwards(void* loops, size_t count, void (*body)(void*, size_t), void* data) {
    ++*(size_t*)loops;
    while (count-- != 0) {
        body(data, count);
    }
}

static void check_jobs(const char* path, bitnet_model* own_threads) {
    size_t loops = 0, before;
    bitnet_jobs jobs = {NULL, &loops, 3, 0};
    bitnet_model* model = NULL;
    bitnet_session* session = NULL;
    bitnet_conversation *talk = NULL, *fork = NULL;
    bitnet_model_options opening;
    bitnet_session_options of_session;
    bitnet_conversation_options options = options_with(NULL);
    bitnet_conversation* plain = opened(own_threads, &options);
    CHECK(bitnet_model_options_init(&opening) == BITNET_OK);
    CHECK(bitnet_session_options_init(&of_session) == BITNET_OK);
    opening.jobs = of_session.jobs = options.jobs = &jobs; /* which has no function yet */
    CHECK(bitnet_model_open(path, -1, &opening, &model, message, sizeof message) == BITNET_E_ARGUMENT);
    CHECK(bitnet_session_open(own_threads, &of_session, &session, message, sizeof message) == BITNET_E_ARGUMENT);
    CHECK(bitnet_conversation_open(own_threads, &options, &talk, message, sizeof message) == BITNET_E_ARGUMENT);
    CHECK(strstr(message, "bitnet_jobs") != NULL);

    jobs.run = run_backwards;
    opening.head = BITNET_HEAD_SCREENED;
    CHECK(bitnet_model_open(path, -1, &opening, &model, message, sizeof message) == BITNET_OK && loops != 0);
    CHECK(bitnet_session_open(model, &of_session, &session, message, sizeof message) == BITNET_OK);
    talk = opened(model, &options);
    jobs.run = NULL; /* the struct is needed no longer */
    before = loops;
    CHECK(bitnet_session_feed(session, &(int32_t){1}, 1) == BITNET_OK && loops > before);
    CHECK(bitnet_conversation_fork(talk, NULL, &fork) == BITNET_OK);
    bitnet_conversation_close(talk);
    CHECK(bitnet_conversation_say(fork, "Who lived in the castle?", -1) == BITNET_OK);
    CHECK(bitnet_conversation_say(plain, "Who lived in the castle?", -1) == BITNET_OK);
    before = loops;
    const struct collected here = answer_of(fork), there = answer_of(plain);
    CHECK(loops > before && here.size != 0 && strcmp(here.text, there.text) == 0);
    bitnet_conversation_close(fork);
    bitnet_conversation_close(plain);
    bitnet_session_close(session);
    bitnet_model_close(model);
}

int main(int argc, char** argv) {
    bitnet_model* model = NULL;
    CHECK(argc == 2);
    CHECK(bitnet_c_version() == BITNET_C_VERSION && strlen(bitnet_version_string()) >= 5);
    CHECK(strcmp(bitnet_code_name(BITNET_E_TOO_SMALL), "BITNET_E_TOO_SMALL") == 0);
    CHECK(strcmp(bitnet_code_name(-99), "unknown") == 0 && strcmp(bitnet_code_name(1), "unknown") == 0);
    check_openings(argv[1]);
    check_read_model(argv[1]);
    CHECK(bitnet_model_open(argv[1], -1, NULL, &model, message, sizeof message) == BITNET_OK);
    check_model(model);
    check_conversations(model);
    check_grammars(model);
    check_tools(model);
    check_other_models(argv[1], model);
    check_sessions(model);
    check_jobs(argv[1], model);
    check_scheduler(model);
    bitnet_model_close(model);
    bitnet_model_close(NULL);
    bitnet_conversation_close(NULL);
    puts("all of bitnet.h works from C");
    return 0;
}
