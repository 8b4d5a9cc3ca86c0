#include "storage/step.h"

void ks_wake_init(struct ks_wake *wake, enum ks_lock_rank rank)
{
    ks_mutex_init(&wake->mu, rank);
    ks_cond_init(&wake->cond);
    wake->is_set = false;
    wake->is_stopped = false;
}

void ks_wake_fini(struct ks_wake *wake)
{
    ks_cond_fini(&wake->cond);
    ks_mutex_fini(&wake->mu);
}

void ks_wake_set(struct ks_wake *wake)
{
    KS_LOCK_SCOPE(&wake->mu);
    if (wake->is_set)
        return; /* the signal is already under way */
    wake->is_set = true;
    ks_cond_signal(&wake->cond);
}

void ks_wake_stop(struct ks_wake *wake)
{
    KS_LOCK_SCOPE(&wake->mu);
    wake->is_stopped = true;
    ks_cond_broadcast(&wake->cond);
}

bool ks_wake_is_stopped(struct ks_wake *wake)
{
    KS_LOCK_SCOPE(&wake->mu);
    return wake->is_stopped;
}

bool ks_wake_wait(struct ks_wake *wake, uint64_t timeout_ms)
{
    KS_LOCK_SCOPE(&wake->mu);
    /* A wake-up without a signal ends a timed wait early: begin then finds nothing, which is
     * harmless. */
    while (!wake->is_set && !wake->is_stopped) {
        if (timeout_ms == 0) {
            ks_cond_wait(&wake->cond, &wake->mu);
            continue;
        }
        KS_IGNORE(ks_cond_wait_ms(&wake->cond, &wake->mu, timeout_ms), "time is a reason as well");
        break;
    }
    wake->is_set = false;
    return !wake->is_stopped;
}
