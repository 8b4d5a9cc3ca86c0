/* Counts of durations in log-linear buckets: 32 to each doubling, so a percentile is within 3.2 %.
 */
#ifndef KS_CLIENT_HISTOGRAM_H
#define KS_CLIENT_HISTOGRAM_H

#include "base/defs.h"

#define CLIENT_HISTOGRAM_SUB 32u
#define CLIENT_HISTOGRAM_BUCKETS (60u * CLIENT_HISTOGRAM_SUB)

struct client_histogram {
    uint64_t counts[CLIENT_HISTOGRAM_BUCKETS];
    uint64_t total;
    uint64_t max;
};

void client_histogram_add(struct client_histogram *histogram, uint64_t value, uint64_t count);
/* The smallest bucket end that percent of the values do not exceed; 0 without values.
 * percent 1..100
 */
uint64_t client_histogram_percentile(const struct client_histogram *histogram, unsigned percent);

#endif
