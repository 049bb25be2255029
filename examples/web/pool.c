/* SPDX-License-Identifier: MIT */
/* Threads for module.c: workers that have the same module on the same memory and run pieces of its loops, as
 * bitnet::thread_pool's do. They call work(), which never returns, and allocate nothing. */
#include <bitnet/bitnet.h>

#include <stdatomic.h>

#define EXPORTED(name) __attribute__((export_name(#name), used))

static const uint32_t spins = 1 << 14;   /* some ten microseconds: longer than the gaps within a token */
static const uint32_t broken = 1u << 31; /* more than any count */

static _Atomic uint64_t ticket;     /* number of the loop << 32 | indices that nobody has taken yet */
static _Atomic uint32_t finished;   /* indices done in this loop */
static _Atomic uint32_t generation; /* rises with every loop; what sleepers wait on */
static _Atomic uint32_t sleepers;
static uint32_t loop;
static struct {
    void (*body)(void*, size_t);
    void* data;
    size_t count;
} current;

static uint32_t load(const _Atomic uint32_t* number) { return atomic_load_explicit(number, memory_order_seq_cst); }

/* Waits until the number is not `old`. */
static uint32_t changed(_Atomic uint32_t* number, uint32_t old) {
    for (uint32_t i = 0; i < spins; ++i) {
        const uint32_t now = load(number);
        if (now != old) {
            return now;
        }
    }
    atomic_fetch_add(&sleepers, 1);
    while (load(number) == old) {
        __builtin_wasm_memory_atomic_wait32((int*)number, (int)old, -1);
    }
    atomic_fetch_sub(&sleepers, 1);
    return load(number);
}
/* Wakes those that wait for it to change, which it has. */
static void tell(_Atomic uint32_t* number) {
    if (load(&sleepers) != 0) {
        __builtin_wasm_memory_atomic_notify((int*)number, UINT32_MAX);
    }
}

/* Runs one index of the current loop, if there is one left. */
static int take_one(void) {
    uint64_t seen = atomic_load_explicit(&ticket, memory_order_relaxed);
    do {
        if ((uint32_t)seen == 0) {
            return 0;
        }
    } while (!atomic_compare_exchange_weak(&ticket, &seen, seen - 1));
    /* The loop cannot end before this index is done: `current` stays what it is. */
    const size_t count = current.count;
    current.body(current.data, count - (uint32_t)seen);
    if (atomic_fetch_add(&finished, 1) + 1 == count) {
        tell(&finished);
    }
    return 1;
}

static void run(void* context, size_t count, void (*body)(void*, size_t), void* data) {
    (void)context;
    if (count == 1) {
        body(data, 0);
        return;
    }
    current.body = body;
    current.data = data;
    current.count = count;
    atomic_store(&finished, 0);
    atomic_store(&ticket, (uint64_t)++loop << 32 | count);
    atomic_fetch_add(&generation, 1);
    tell(&generation);
    while (take_one()) {
    }
    for (uint32_t done = load(&finished); done != count; done = changed(&finished, done)) {
        if (done >= broken) {
            __builtin_trap(); /* what a helper had taken will never be done */
        }
    }
}

extern const bitnet_jobs* page_jobs; /* of module.c */

/* From now on there are so many threads: this one, and the others call work(). */
EXPORTED(share) void page_share(uint32_t threads) {
    static bitnet_jobs jobs = {.run = run};
    jobs.threads = threads;
    page_jobs = &jobs;
}

EXPORTED(work) void page_work(void) {
    for (uint32_t seen = 0;;) {
        seen = changed(&generation, seen);
        while (take_one()) {
        }
    }
}

/* Said by a worker whose work() has trapped. */
EXPORTED(give_up) void page_give_up(void) {
    atomic_fetch_or(&finished, broken);
    tell(&finished);
}
