#include "storage/step.h"

#include "base/clock.h"

#define SPIN_SKIPS_MAX 1024u
#define SPINS_PER_LOOK 64u /* at the clock */

void ks_wake_init(struct ks_wake *wake, enum ks_lock_rank rank)
{
    ks_mutex_init(&wake->mu, rank);
    ks_cond_init(&wake->cond);
    atomic_init(&wake->is_set, false);
    wake->is_stopped = false;
}

void ks_wake_fini(struct ks_wake *wake)
{
    ks_cond_fini(&wake->cond);
    ks_mutex_fini(&wake->mu);
}

void ks_wake_set(struct ks_wake *wake)
{
    {
        KS_LOCK_SCOPE(&wake->mu);
        if (atomic_load(&wake->is_set))
            return; /* the signal is already under way */
        atomic_store(&wake->is_set, true);
    }
    /* After the unlock: a thread woken under it would wake twice, the second time for the mutex. */
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
    while (!atomic_load(&wake->is_set) && !wake->is_stopped) {
        if (timeout_ms == 0) {
            ks_cond_wait(&wake->cond, &wake->mu);
            continue;
        }
        KS_IGNORE(ks_cond_wait_ms(&wake->cond, &wake->mu, timeout_ms), "time is a reason as well");
        break;
    }
    atomic_store(&wake->is_set, false);
    return !wake->is_stopped;
}

static bool wake_watch(struct ks_wake *wake, uint64_t ns_max)
{
    uint64_t until = ks_clock_mono_ns(&ks_clock_system) + ns_max;
    do {
        for (uint32_t i = 0; i < SPINS_PER_LOOK; i++) {
            if (atomic_load_explicit(&wake->is_set, memory_order_relaxed))
                return true;
            ks_cpu_relax();
        }
    } while (ks_clock_mono_ns(&ks_clock_system) < until);
    return false;
}

bool ks_wake_spin(struct ks_wake *wake, struct ks_spin *spin, uint64_t ns_max)
{
    if (spin->skips > 0) {
        spin->skips--;
        return false;
    }
    if (wake_watch(wake, ns_max)) {
        spin->skips_next = 0;
        return true;
    }
    spin->skips_next = KS_MIN(spin->skips_next * 2 + 1, SPIN_SKIPS_MAX);
    spin->skips = spin->skips_next;
    return false;
}
