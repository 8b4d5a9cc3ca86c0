/*
 * What users set of the account, the broker as a whole: a row of the catalog's meta table.
 * Threads: any.
 */
#ifndef KS_STORAGE_ACCOUNT_H
#define KS_STORAGE_ACCOUNT_H

#include "storage/registry.h"

/* The minimum throughput billing commitment of Kinesis. Nothing in the engine depends on it. */
struct ks_account {
    uint64_t commitment_started_unix_ms; /* 0: never */
    uint64_t commitment_earliest_end_unix_ms;
    uint64_t commitment_ended_unix_ms; /* may be yet to come; 0: not ended */
};

void ks_account_get(struct ks_engine *engine, struct ks_account *out);
/* Errors at once: KS_NO_MEMORY, KS_POISONED, KS_STOPPING. By mail: KS_STORAGE_FULL, KS_POISONED. */
enum ks_status ks_account_set(struct ks_engine *engine, const struct ks_account *account,
    struct ks_admin *admin, struct ks_error *err) KS_MUST_USE;

#endif
