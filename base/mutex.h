/* Ranked mutexes and condition variables: thin over pthread, with the order of locking asserted. */
#ifndef KS_BASE_MUTEX_H
#define KS_BASE_MUTEX_H

#include "base/defs.h"
#include "base/lock_rank.h"

#include <pthread.h>

struct ks_mutex {
    pthread_mutex_t pthread;
    enum ks_lock_rank rank;
};

struct ks_cond {
    pthread_cond_t pthread; /* on CLOCK_MONOTONIC */
};

void ks_mutex_init(struct ks_mutex *mu, enum ks_lock_rank rank);
void ks_mutex_fini(struct ks_mutex *mu);
void ks_mutex_lock(struct ks_mutex *mu);
void ks_mutex_unlock(struct ks_mutex *mu);
void ks_mutex_assert_held(
    struct ks_mutex *mu); /* by this thread; checks the rank bookkeeping only */

void ks_cond_init(struct ks_cond *cond);
void ks_cond_fini(struct ks_cond *cond);
void ks_cond_wait(struct ks_cond *cond, struct ks_mutex *mu);
/* False when timeout_ms passed without a signal. */
bool ks_cond_wait_ms(struct ks_cond *cond, struct ks_mutex *mu, uint64_t timeout_ms);
void ks_cond_signal(struct ks_cond *cond);
void ks_cond_broadcast(struct ks_cond *cond);

static inline struct ks_mutex *ks_mutex_guard_(struct ks_mutex *mu)
{
    ks_mutex_lock(mu);
    return mu;
}
static inline void ks_mutex_unguard_(struct ks_mutex **mu)
{
    ks_mutex_unlock(*mu);
}
#define KS_GUARD_NAME_2(line) ks_guard_##line
#define KS_GUARD_NAME(line) KS_GUARD_NAME_2(line)
/* Locks mu until the end of the scope. */
#define KS_LOCK_SCOPE(mu)                                                                          \
    KS_CLEANUP(ks_mutex_unguard_)                                                                  \
    KS_UNUSED struct ks_mutex *KS_GUARD_NAME(__LINE__) = ks_mutex_guard_(mu)

#endif
