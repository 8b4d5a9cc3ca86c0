#include "base/latency.h"

#define US 1000ull
#define MS 1000000ull

const uint64_t ks_latency_bounds_ns[KS_LATENCY_BOUNDS] = {50 * US, 100 * US, 250 * US, 500 * US,
    1 * MS, 2500 * US, 5 * MS, 10 * MS, 25 * MS, 50 * MS, 100 * MS, 250 * MS, 500 * MS, 1000 * MS,
    2500 * MS, 5000 * MS, 10000 * MS};

void ks_latency_add(struct ks_latency *latency, uint64_t begin_ns, uint64_t end_ns, uint64_t times)
{
    uint64_t ns = end_ns > begin_ns ? end_ns - begin_ns : 0;
    unsigned bucket = 0;
    while (bucket < KS_LATENCY_BOUNDS && ns > ks_latency_bounds_ns[bucket])
        bucket++;
    atomic_fetch_add_explicit(&latency->counts[bucket], times, memory_order_relaxed);
    atomic_fetch_add_explicit(&latency->sum_ns, ns * times, memory_order_relaxed);
}

void ks_latency_sum_add(struct ks_latency_sum *sum, const struct ks_latency *latency)
{
    for (unsigned i = 0; i <= KS_LATENCY_BOUNDS; i++)
        sum->counts[i] += atomic_load_explicit(&latency->counts[i], memory_order_relaxed);
    sum->sum_ns += atomic_load_explicit(&latency->sum_ns, memory_order_relaxed);
}
