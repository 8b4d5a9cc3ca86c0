/*
 * Background work as steps. begin takes work under locks and says whether there is any; run does
 * the blocking I/O without a lock; end publishes the outcome. In production a thread loops over the
 * three (storage/threads.c); the simulator calls them itself, in any interleaving with other steps,
 * appends and reads: the same objects run in both.
 */
#ifndef KS_STORAGE_STEP_H
#define KS_STORAGE_STEP_H

#include "base/mutex.h"

struct ks_step {
    const char *name; /* "commit", "flush", "catalog", "files", "index" */
    void *self;
    bool (*begin)(void *self); /* false: nothing to do now */
    void (*run)(void *self);
    void (*end)(void *self);
    struct ks_wake *wake; /* signalled when begin may find work */
    uint64_t idle_ms_max; /* look again after this long even unsignalled; 0 = only when signalled */
};

/* A level-triggered signal between threads. */
struct ks_wake {
    struct ks_mutex mu;
    struct ks_cond cond;
    bool is_set;     /* [mu] */
    bool is_stopped; /* [mu] */
};

void ks_wake_init(struct ks_wake *wake, enum ks_lock_rank rank);
void ks_wake_fini(struct ks_wake *wake);
void ks_wake_set(struct ks_wake *wake);
void ks_wake_stop(struct ks_wake *wake);
bool ks_wake_is_stopped(struct ks_wake *wake);
/* Waits until set, stopped or timeout_ms (0 = for ever) have passed; clears the signal. False when
 * stopped. */
bool ks_wake_wait(struct ks_wake *wake, uint64_t timeout_ms);

#endif
