/*
 * What a stream holds. Threads: any; nothing waits for the disk.
 */
#ifndef KS_STORAGE_USAGE_H
#define KS_STORAGE_USAGE_H

#include "storage/registry.h"

struct ks_usage {
    uint64_t records;      /* that can be read */
    uint64_t stored_bytes; /* of segments, and of what waits for them in the journal */
    uint64_t segments;
    uint64_t oldest_unix_ms; /* arrival of the oldest record of a segment; 0: none is in one */
};

void ks_stream_usage(const struct ks_stream *stream, struct ks_usage *out);
void ks_shard_usage(const struct ks_shard *shard, struct ks_usage *out);

#endif
