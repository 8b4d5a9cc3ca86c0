/*
 * Counts of durations in log-linear buckets: 128 to each doubling, so that a quantile is within 0.8
 * %. Threads: one owner.
 */
#ifndef KS_TOOLS_BENCH_HISTOGRAM_H
#define KS_TOOLS_BENCH_HISTOGRAM_H

#include "base/defs.h"

#define BENCH_HISTOGRAM_SUB_BITS 7u
#define BENCH_HISTOGRAM_SUB (1u << BENCH_HISTOGRAM_SUB_BITS)
#define BENCH_HISTOGRAM_BUCKETS ((size_t)(64u - BENCH_HISTOGRAM_SUB_BITS + 1) * BENCH_HISTOGRAM_SUB)

struct bench_histogram {
    uint64_t counts[BENCH_HISTOGRAM_BUCKETS];
    uint64_t total;
    uint64_t max;
};

/* Below one doubling's worth of buckets a value has one of its own; above, the bits behind the
 * leading one choose. */
static inline size_t bench_histogram_bucket(uint64_t value)
{
    if (value < BENCH_HISTOGRAM_SUB)
        return (size_t)value;
    unsigned shift = 63u - (unsigned)__builtin_clzll(value) - BENCH_HISTOGRAM_SUB_BITS;
    return (size_t)(shift + 1) * BENCH_HISTOGRAM_SUB +
           (size_t)((value >> shift) & (BENCH_HISTOGRAM_SUB - 1));
}

static inline void bench_histogram_add(struct bench_histogram *histogram, uint64_t value)
{
    histogram->counts[bench_histogram_bucket(value)]++;
    histogram->total++;
    histogram->max = ks_max_u64(histogram->max, value);
}

void bench_histogram_merge(struct bench_histogram *into, const struct bench_histogram *from);
/* The smallest bucket end that so many thousandths of the values do not exceed (1..1000); 0 without
 * values. */
uint64_t bench_histogram_permille(const struct bench_histogram *histogram, unsigned permille);

#endif
