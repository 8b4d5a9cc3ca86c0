/*
 * What streams hold and cost: prices, a row per stream, and tips that its figures justify.
 * Threads: plain functions.
 */
#ifndef KS_TOOLS_CTL_USAGE_H
#define KS_TOOLS_CTL_USAGE_H

#include "base/status.h"
#include "proto/api.pb-c.h"

#include <jansson.h>

struct ctl_prices {
    double stored_gb_month;  /* of 10^9 bytes that are kept for a month */
    double thousand_records; /* that come in */
    char currency[16];
};

/* $0.00025 and $0.0000003. */
void ctl_prices_default(struct ctl_prices *out);
/*
 * A file with lines such as "stored_gb_month = 0.00025", "thousand_records = 0.0000003",
 * "currency = EUR"; # begins a comment. What it does not name stays as it is in prices.
 * Errors: KS_USAGE with its place; KS_IO.
 */
enum ks_status ctl_prices_load(
    const char *path, struct ctl_prices *prices, struct ks_error *err) KS_MUST_USE;

struct ctl_usage_totals {
    uint64_t streams;
    uint64_t records;
    uint64_t stored_bytes;
    double stored_cost_month;
    double records_cost_month;
};

/* NULL: out of memory. window_ms: what traffic is of. */
json_t *ctl_usage_row(const Kstream__StreamUsage *usage, uint64_t window_ms,
    const struct ctl_prices *prices, struct ctl_usage_totals *totals);
json_t *ctl_usage_totals_to_json(
    const struct ctl_usage_totals *totals, const struct ctl_prices *prices);

#endif
