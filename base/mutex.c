#include "base/mutex.h"

#include <errno.h>
#include <time.h>

/* Ranks rise, so a thread can hold one mutex of each rank at most; this is more than there are
 * ranks. */
#define HELD_MAX 24

/* What this thread holds, in the order of locking: ranks rise from the bottom to the top. */
static _Thread_local struct ks_mutex *held[HELD_MAX];
static _Thread_local size_t held_count;

static size_t held_find(const struct ks_mutex *mu)
{
    size_t i = held_count;
    while (i > 0 && held[i - 1] != mu)
        i--;
    KS_ASSERT(i > 0); /* this thread holds mu */
    return i - 1;
}

void ks_mutex_init(struct ks_mutex *mu, enum ks_lock_rank rank)
{
    KS_ASSERT(pthread_mutex_init(&mu->pthread, NULL) == 0);
    mu->rank = rank;
}

void ks_mutex_fini(struct ks_mutex *mu)
{
    KS_ASSERT(pthread_mutex_destroy(&mu->pthread) == 0);
}

void ks_mutex_lock(struct ks_mutex *mu)
{
    /* Before locking: a wrong order then aborts every time, not only on the day it deadlocks. */
    KS_ASSERT(held_count == 0 || held[held_count - 1]->rank < mu->rank);
    KS_ASSERT(held_count < HELD_MAX);
    KS_ASSERT(pthread_mutex_lock(&mu->pthread) == 0);
    held[held_count++] = mu;
}

void ks_mutex_unlock(struct ks_mutex *mu)
{
    size_t at = held_find(mu);
    held_count--;
    for (size_t i = at; i < held_count; i++)
        held[i] = held[i + 1];
    KS_ASSERT(pthread_mutex_unlock(&mu->pthread) == 0);
}

void ks_mutex_assert_held(struct ks_mutex *mu)
{
    (void)held_find(mu);
}

void ks_cond_init(struct ks_cond *cond)
{
    pthread_condattr_t attributes;
    KS_ASSERT(pthread_condattr_init(&attributes) == 0);
    KS_ASSERT(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    KS_ASSERT(pthread_cond_init(&cond->pthread, &attributes) == 0);
    pthread_condattr_destroy(&attributes);
}

void ks_cond_fini(struct ks_cond *cond)
{
    KS_ASSERT(pthread_cond_destroy(&cond->pthread) == 0);
}

/* A wait gives up one mutex; any other this thread held would stay locked for as long as the wait
 * lasts. */
static void assert_only_held(struct ks_mutex *mu)
{
    KS_ASSERT(held_count == 1);
    KS_ASSERT(held[0] == mu);
}

void ks_cond_wait(struct ks_cond *cond, struct ks_mutex *mu)
{
    assert_only_held(mu);
    KS_ASSERT(pthread_cond_wait(&cond->pthread, &mu->pthread) == 0);
}

bool ks_cond_wait_ms(struct ks_cond *cond, struct ks_mutex *mu, uint64_t timeout_ms)
{
    assert_only_held(mu);
    /* Beyond a century the sum could overflow, and nobody can tell the difference. */
    timeout_ms = ks_min_u64(timeout_ms, (uint64_t)100 * 365 * 86400 * 1000);
    struct timespec deadline;
    KS_ASSERT(clock_gettime(CLOCK_MONOTONIC, &deadline) == 0);
    deadline.tv_sec += (time_t)(timeout_ms / 1000);
    deadline.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (deadline.tv_nsec >= 1000000000) {
        deadline.tv_sec++;
        deadline.tv_nsec -= 1000000000;
    }
    int result = pthread_cond_timedwait(&cond->pthread, &mu->pthread, &deadline);
    KS_ASSERT(result == 0 || result == ETIMEDOUT);
    return result == 0;
}

void ks_cond_signal(struct ks_cond *cond)
{
    KS_ASSERT(pthread_cond_signal(&cond->pthread) == 0);
}

void ks_cond_broadcast(struct ks_cond *cond)
{
    KS_ASSERT(pthread_cond_broadcast(&cond->pthread) == 0);
}
