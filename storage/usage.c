#include "storage/usage.h"

#include "storage/log_priv.h"

void ks_shard_usage(const struct ks_shard *shard, struct ks_usage *out)
{
    struct ks_log *log = shard->log;
    struct ks_log_bounds bounds;
    ks_log_bounds(log, &bounds);
    *out = (struct ks_usage){.oldest_unix_ms = 0};
    if (bounds.is_deleted)
        return;
    out->records = bounds.last_sequence + 1 - bounds.first_sequence;
    KS_LOCK_SCOPE(&log->mu);
    out->stored_bytes = log->tail.bytes;
    for (uint32_t i = 0; i < log->segments.count; i++) {
        const struct ks_segment *segment = log->segments.items[i];
        if (segment->batch_count == 0)
            continue;
        out->segments++;
        out->stored_bytes += ks_segment_disk_bytes(segment);
        if (out->oldest_unix_ms == 0)
            out->oldest_unix_ms = segment->first_arrival_unix_ms;
    }
}

void ks_stream_usage(const struct ks_stream *stream, struct ks_usage *out)
{
    *out = (struct ks_usage){.oldest_unix_ms = 0};
    for (uint32_t i = 0; i < stream->shard_count; i++) {
        struct ks_usage shard;
        ks_shard_usage(&stream->shards[i], &shard);
        out->records += shard.records;
        out->stored_bytes += shard.stored_bytes;
        out->segments += shard.segments;
        if (shard.oldest_unix_ms > 0 &&
            (out->oldest_unix_ms == 0 || shard.oldest_unix_ms < out->oldest_unix_ms))
            out->oldest_unix_ms = shard.oldest_unix_ms;
    }
}
