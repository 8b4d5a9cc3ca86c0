#include "client/histogram.h"

#define SUB_BITS 5
_Static_assert(CLIENT_HISTOGRAM_SUB == 1u << SUB_BITS, "bits of a bucket within its doubling");

/* Values below 32 have a bucket each; above, the five bits behind the leading one choose. */
static size_t bucket_of(uint64_t value)
{
    if (value < CLIENT_HISTOGRAM_SUB)
        return (size_t)value;
    unsigned exponent = 63u - (unsigned)__builtin_clzll(value);
    uint64_t sub = (value >> (exponent - SUB_BITS)) & (CLIENT_HISTOGRAM_SUB - 1);
    return (size_t)((exponent - SUB_BITS + 1) * CLIENT_HISTOGRAM_SUB + sub);
}

/* The largest value of a bucket. */
static uint64_t bucket_end(size_t bucket)
{
    if (bucket < CLIENT_HISTOGRAM_SUB)
        return bucket;
    unsigned shift = (unsigned)(bucket / CLIENT_HISTOGRAM_SUB) - 1;
    uint64_t leading = CLIENT_HISTOGRAM_SUB + bucket % CLIENT_HISTOGRAM_SUB;
    return (leading << shift) + ((1ULL << shift) - 1);
}

void client_histogram_add(struct client_histogram *histogram, uint64_t value, uint64_t count)
{
    histogram->counts[bucket_of(value)] += count;
    histogram->total += count;
    histogram->max = ks_max_u64(histogram->max, value);
}

uint64_t client_histogram_percentile(const struct client_histogram *histogram, unsigned percent)
{
    /* The rank is rounded up: of two values the 50th percentile is the first, the 51st the second.
     */
    uint64_t rank =
        histogram->total / 100 * percent + (histogram->total % 100 * percent + 99) / 100;
    uint64_t seen = 0;
    for (size_t bucket = 0; histogram->total > 0 && bucket < CLIENT_HISTOGRAM_BUCKETS; bucket++) {
        seen += histogram->counts[bucket];
        if (seen >= rank)
            return ks_min_u64(bucket_end(bucket), histogram->max);
    }
    return 0;
}
