/* SPDX-License-Identifier: MIT */
/* unload LIBRARY MODEL: loads the library, has it open a model and a session of two threads, and unloads it, three
 * times; nothing of it may stay in the process. */
#define _GNU_SOURCE 1
#include "check.h"

#include <bitnet/bitnet.h>

#include <dlfcn.h>
#include <string.h>

static int is_mapped(const char* file) {
    char line[4096];
    int found = 0;
    FILE* maps = fopen("/proc/self/maps", "r");
    CHECK(maps != NULL);
    while (fgets(line, sizeof line, maps) != NULL) {
        found |= strstr(line, file) != NULL;
    }
    fclose(maps);
    return found;
}

/* A function of the library as a pointer of that type. */
#define FUNCTION(name)                                                                                                 \
    __typeof__(&name) p_##name;                                                                                        \
    *(void**)&p_##name = dlsym(library, #name);                                                                        \
    CHECK(p_##name != NULL)

int main(int argc, char** argv) {
    CHECK(argc == 3);
    const char* slash = strrchr(argv[1], '/');
    const char* file = slash != NULL ? slash + 1 : argv[1];
    for (int round = 0; round < 3; ++round) {
        void* library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
        CHECK(library != NULL && is_mapped(file));
        FUNCTION(bitnet_model_open);
        FUNCTION(bitnet_model_close);
        FUNCTION(bitnet_session_options_init);
        FUNCTION(bitnet_session_open);
        FUNCTION(bitnet_session_close);
        FUNCTION(bitnet_session_feed);
        FUNCTION(bitnet_session_next);
        bitnet_model* model = NULL;
        bitnet_session* session = NULL;
        bitnet_session_options options;
        const int32_t prompt = 1;
        int32_t token = -1;
        CHECK(p_bitnet_model_open(argv[2], -1, NULL, &model, NULL, 0) == BITNET_OK);
        CHECK(p_bitnet_session_options_init(&options) == BITNET_OK);
        options.threads = 2;
        CHECK(p_bitnet_session_open(model, &options, &session, NULL, 0) == BITNET_OK);
        CHECK(p_bitnet_session_feed(session, &prompt, 1) == BITNET_OK);
        CHECK(p_bitnet_session_next(session, &token) == BITNET_OK && token >= 0);
        p_bitnet_model_close(model);
        p_bitnet_session_close(session);
        CHECK(dlclose(library) == 0 && !is_mapped(file));
    }
    puts("it leaves nothing behind");
    return 0;
}
