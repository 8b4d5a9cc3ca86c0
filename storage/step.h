/*
 * Background work as steps. begin takes work under locks and says whether there is any; run does
 * the blocking I/O without a lock; end publishes the outcome. In production a thread loops over the
 * three (storage/threads.c); the simulator calls them itself, in any interleaving with other steps,
 * appends and reads: the same objects run in both.
 */
#ifndef KS_STORAGE_STEP_H
#define KS_STORAGE_STEP_H

#include "base/mutex.h"

#include <stdatomic.h>

struct ks_step {
    const char *name; /* "commit", "flush", "catalog", "files", "index" */
    void *self;
    bool (*begin)(void *self); /* false: nothing to do now */
    void (*run)(void *self);
    void (*end)(void *self);
    struct ks_wake *wake; /* signalled when begin may find work */
    uint64_t idle_ms_max; /* look again after this long even unsignalled; 0 = only when signalled */
};

/* What the thread of a step is at, for a watchdog. */
struct ks_step_pulse {
    const char *name;
    uint64_t turns; /* goes up whenever it looks for work */
    bool is_busy;   /* it works, or has been told that there is work */
};

/* A level-triggered signal between threads. */
struct ks_wake {
    struct ks_mutex mu;
    struct ks_cond cond;
    _Atomic bool is_set; /* written under mu; watched without it (ks_wake_spin) */
    bool is_stopped;     /* [mu] */
};

void ks_wake_init(struct ks_wake *wake, enum ks_lock_rank rank);
void ks_wake_fini(struct ks_wake *wake);
void ks_wake_set(struct ks_wake *wake);
void ks_wake_stop(struct ks_wake *wake);
bool ks_wake_is_stopped(struct ks_wake *wake);
/* Waits until set, stopped or timeout_ms (0 = for ever) have passed; clears the signal. False when
 * stopped. */
bool ks_wake_wait(struct ks_wake *wake, uint64_t timeout_ms);

/*
 * For a waiter that would rather burn a little of its core than sleep: a thread that sleeps costs
 * its waker a system call and itself the way back to a core (30 to 60 us on a virtual machine, a
 * third of a durable put). Only while that pays: after a spin that saw no signal, twice as many
 * waits as the last time go by before the next spin.
 */
struct ks_spin {
    uint32_t skips;      /* waits still to let go by */
    uint32_t skips_next; /* after the next spin in vain */
};
/* Before ks_wake_wait, by its thread: true when it was set while we watched, for ns_max at most. */
bool ks_wake_spin(struct ks_wake *wake, struct ks_spin *spin, uint64_t ns_max);

#endif
