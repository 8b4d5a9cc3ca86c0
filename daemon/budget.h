/* Bytes that many share and nobody may exceed: memory of requests under way. Threads: any. */
#ifndef KS_DAEMON_BUDGET_H
#define KS_DAEMON_BUDGET_H

#include "base/defs.h"

#include <stdatomic.h>

struct ks_budget {
    _Atomic uint64_t bytes_max; /* a reload may change it; what is already taken stays */
    _Atomic uint64_t used_bytes;
};

static inline void ks_budget_init(struct ks_budget *budget, uint64_t bytes_max)
{
    atomic_init(&budget->bytes_max, bytes_max);
    atomic_init(&budget->used_bytes, 0);
}

/* Only as far as max, which may be below bytes_max. False: nothing taken, come back later. */
static inline bool ks_budget_reserve_below(struct ks_budget *budget, uint64_t bytes, uint64_t max)
{
    uint64_t used = atomic_fetch_add_explicit(&budget->used_bytes, bytes, memory_order_relaxed);
    if (used + bytes <= max)
        return true;
    atomic_fetch_sub_explicit(&budget->used_bytes, bytes, memory_order_relaxed);
    return false;
}

static inline bool ks_budget_reserve(struct ks_budget *budget, uint64_t bytes)
{
    return ks_budget_reserve_below(
        budget, bytes, atomic_load_explicit(&budget->bytes_max, memory_order_relaxed));
}

static inline bool ks_budget_is_over(const struct ks_budget *budget)
{
    return atomic_load_explicit(&budget->used_bytes, memory_order_relaxed) >=
           atomic_load_explicit(&budget->bytes_max, memory_order_relaxed);
}

/* For what has already been received: counted even past the end, so that it holds back others. */
static inline void ks_budget_force(struct ks_budget *budget, uint64_t bytes)
{
    atomic_fetch_add_explicit(&budget->used_bytes, bytes, memory_order_relaxed);
}

static inline void ks_budget_release(struct ks_budget *budget, uint64_t bytes)
{
    uint64_t used = atomic_fetch_sub_explicit(&budget->used_bytes, bytes, memory_order_relaxed);
    KS_ASSERT(used >= bytes);
}

#endif
