/*
 * How long something takes, counted in fixed buckets from 50 us to 10 s: a Prometheus histogram.
 * Threads: any adds and reads; a reader may see an addition in the sum and not yet in its bucket.
 */
#ifndef KS_BASE_LATENCY_H
#define KS_BASE_LATENCY_H

#include "base/defs.h"

#include <stdatomic.h>

#define KS_LATENCY_BOUNDS 17u

/* Upper ends of the buckets, inclusive; one more bucket holds what is above the last. */
extern const uint64_t ks_latency_bounds_ns[KS_LATENCY_BOUNDS];

struct ks_latency {
    _Atomic uint64_t counts[KS_LATENCY_BOUNDS + 1];
    _Atomic uint64_t sum_ns;
};

/* From begin to end, by one monotonic clock, so many times. */
void ks_latency_add(struct ks_latency *latency, uint64_t begin_ns, uint64_t end_ns, uint64_t times);

struct ks_latency_sum {
    uint64_t counts[KS_LATENCY_BOUNDS + 1]; /* of each bucket alone */
    uint64_t sum_ns;
};
/* Adds to what is in sum already, so that several can be put together. */
void ks_latency_sum_add(struct ks_latency_sum *sum, const struct ks_latency *latency);

#endif
