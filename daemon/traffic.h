/*
 * What went through each stream in the last 24 hours, from the history; since the start where that
 * does not reach further back. Threads: one owner; collecting waits for the disk.
 */
#ifndef KS_DAEMON_TRAFFIC_H
#define KS_DAEMON_TRAFFIC_H

#include "daemon/server.h"

struct ks_traffic_sums {
    uint64_t incoming_records;
    uint64_t incoming_bytes;
    uint64_t outgoing_records;
    uint64_t outgoing_bytes;
    uint64_t throttled_records;
};

struct ks_traffic {
    struct ks_u64_map sums; /* stream number to its sums, owned */
    uint64_t since_unix_ms;
    uint64_t now_unix_ms;
    bool is_full; /* while collecting: out of memory */
};

/* Errors: KS_NO_MEMORY, KS_IO. out is to be freed by fini in every case. */
enum ks_status ks_traffic_collect(
    struct ks_server *server, struct ks_traffic *out, struct ks_error *err) KS_MUST_USE;
void ks_traffic_fini(struct ks_traffic *traffic);
KS_DEFINE_CLEANUP(struct ks_traffic, ks_traffic_fini)
/* All zero if there was none. */
struct ks_traffic_sums ks_traffic_of(const struct ks_traffic *traffic, uint64_t stream_number);

#endif
