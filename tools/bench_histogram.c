#include "tools/bench_histogram.h"

void bench_histogram_merge(struct bench_histogram *into, const struct bench_histogram *from)
{
    for (size_t i = 0; i < BENCH_HISTOGRAM_BUCKETS; i++)
        into->counts[i] += from->counts[i];
    into->total += from->total;
    into->max = ks_max_u64(into->max, from->max);
}

/* The largest value of a bucket. */
static uint64_t bucket_end(size_t bucket)
{
    if (bucket < BENCH_HISTOGRAM_SUB)
        return bucket;
    unsigned shift = (unsigned)(bucket / BENCH_HISTOGRAM_SUB) - 1;
    uint64_t leading = BENCH_HISTOGRAM_SUB + bucket % BENCH_HISTOGRAM_SUB;
    return (leading << shift) + ((1ULL << shift) - 1);
}

uint64_t bench_histogram_permille(const struct bench_histogram *histogram, unsigned permille)
{
    /* Rounded up: of two values the 500th thousandth is the first, the 501st the second. */
    uint64_t rank =
        histogram->total / 1000 * permille + (histogram->total % 1000 * permille + 999) / 1000;
    uint64_t seen = 0;
    for (size_t i = 0; histogram->total > 0 && i < BENCH_HISTOGRAM_BUCKETS; i++) {
        seen += histogram->counts[i];
        if (seen >= rank)
            return ks_min_u64(bucket_end(i), histogram->max);
    }
    return 0;
}
