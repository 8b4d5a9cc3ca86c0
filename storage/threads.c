#include "storage/threads.h"

#include "base/alloc.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define COMMITTER_NICE (-10)
#define COMMITTER_SPIN_NS 150000u /* the way of an answer to a client and of its next put back */

struct step_thread {
    pthread_t pthread;
    struct ks_step *step;
    const struct ks_events *events;
    _Atomic uint64_t turns;
    _Atomic bool is_waiting;
};

struct ks_threads {
    size_t count; /* started */
    struct step_thread each[];
};

/*
 * With busy cores a sync that returns waits a scheduler tick (4 ms) for its thread at normal
 * priority and 0.3 ms with a class of its own (spec/storage-experiments.md).
 */
static void committer_ask_for_priority(const struct ks_events *events)
{
    struct sched_param param = {.sched_priority = sched_get_priority_min(SCHED_RR)};
    const char *got = "SCHED_RR";
    if (pthread_setschedparam(pthread_self(), SCHED_RR, &param) != 0) {
        /* On Linux this sets the calling thread alone. */
        got = setpriority(PRIO_PROCESS, 0, COMMITTER_NICE) == 0 ? "nice" : "normal";
    }
    ks_emit(events, KS_LEVEL_INFO, "committer.priority", "got=%s", got);
}

static bool thread_turns(struct step_thread *self)
{
    atomic_fetch_add_explicit(&self->turns, 1, memory_order_relaxed);
    return !ks_wake_is_stopped(self->step->wake);
}

static void *step_thread_run(void *arg)
{
    struct step_thread *self = arg;
    struct ks_step *step = self->step;
    char name[16];
    snprintf(name, sizeof name, "ks-%.12s", step->name);
    KS_IGNORE(pthread_setname_np(pthread_self(), name), "a name is for people");
    bool is_committer = strcmp(step->name, "commit") == 0;
    if (is_committer)
        committer_ask_for_priority(self->events);
    /* On a single core whoever would set the signal could not run. */
    bool may_spin = is_committer && sysconf(_SC_NPROCESSORS_ONLN) > 1;
    struct ks_spin spin = {0};
    do {
        /* A step that always finds work must not outlive the stop. */
        atomic_store(&self->is_waiting, false);
        while (thread_turns(self) && step->begin(step->self)) {
            step->run(step->self);
            step->end(step->self);
        }
        atomic_store(&self->is_waiting, true);
        if (may_spin)
            KS_IGNORE(ks_wake_spin(step->wake, &spin, COMMITTER_SPIN_NS), "the wait looks again");
    } while (ks_wake_wait(step->wake, step->idle_ms_max));
    return NULL;
}

enum ks_status ks_threads_start(struct ks_step *const *steps, size_t count,
    const struct ks_events *events, struct ks_threads **out_threads, struct ks_error *err)
{
    struct ks_threads *threads = ks_zalloc(sizeof *threads + count * sizeof threads->each[0]);
    if (!threads)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot start the engine's threads");
    /* Signals belong to the main thread. */
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = 0;
    /* Before the first of them runs: steps look there to learn whether there are threads. */
    *out_threads = threads;
    while (threads->count < count && failed == 0) {
        struct step_thread *thread = &threads->each[threads->count];
        thread->step = steps[threads->count];
        thread->events = events;
        failed = pthread_create(&thread->pthread, NULL, step_thread_run, thread);
        threads->count += failed == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed != 0) {
        ks_threads_stop(threads);
        *out_threads = NULL;
        return ks_fail(err, KS_NO_MEMORY, failed, "cannot start the engine's threads");
    }
    return KS_OK;
}

size_t ks_threads_pulses(
    struct ks_threads *threads, struct ks_step_pulse *out_pulses, size_t count_max)
{
    size_t count = KS_MIN(threads->count, count_max);
    for (size_t i = 0; i < count; i++) {
        struct step_thread *thread = &threads->each[i];
        out_pulses[i] = (struct ks_step_pulse){.name = thread->step->name,
            .turns = atomic_load_explicit(&thread->turns, memory_order_relaxed),
            .is_busy =
                !atomic_load(&thread->is_waiting) || atomic_load(&thread->step->wake->is_set)};
    }
    return count;
}

void ks_threads_stop(struct ks_threads *threads)
{
    if (!threads)
        return;
    for (size_t i = 0; i < threads->count; i++)
        ks_wake_stop(threads->each[i].step->wake);
    for (size_t i = 0; i < threads->count; i++) {
        int failed = pthread_join(threads->each[i].pthread, NULL);
        KS_ASSERT(failed == 0);
    }
    ks_free(threads);
}
