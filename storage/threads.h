/* Production: a thread per step, a short loop around begin, run and end. */
#ifndef KS_STORAGE_THREADS_H
#define KS_STORAGE_THREADS_H

#include "base/events.h"
#include "base/status.h"
#include "storage/step.h"

struct ks_threads;

/* steps: borrowed pointers, all with a wake. Errors: KS_NO_MEMORY; KS_INTERNAL no thread. */
enum ks_status ks_threads_start(struct ks_step *const *steps, size_t count,
    const struct ks_events *events, struct ks_threads **out_threads,
    struct ks_error *err) KS_MUST_USE;
/* One per thread, in the order of steps; at most count_max. From any thread while they run. */
size_t ks_threads_pulses(
    struct ks_threads *threads, struct ks_step_pulse *out_pulses, size_t count_max);
/* Each finishes what it is at; returns when all have ended. The wakes stay stopped. */
void ks_threads_stop(struct ks_threads *threads);

#endif
