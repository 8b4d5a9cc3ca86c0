/*
 * Streams on demand: their shards are split and merged as their load asks for.
 *
 * Once a minute the records and bytes that each open shard has taken since the last look are held
 * against what a shard is meant to take (struct ks_scale_limits). One that has taken more than half
 * of that is split in the middle. Two neighbours that have both taken less than a tenth, at each
 * look for six hours, are merged, while the stream has more shards than it began with, and than its
 * warm throughput asks for (1 MiB a second is a shard). All of that is one reshard of the stream
 * (storage/reshard.h); if it cannot be done, the next look asks again.
 *
 * What has been measured is only in memory: after a start it is measured anew. Without streams on
 * demand nothing here wakes.
 *
 * Threads: the reshard step.
 */
#ifndef KS_STORAGE_SCALING_H
#define KS_STORAGE_SCALING_H

#include "storage/engine.h"

struct ks_mailbox;
struct ks_scaling;

/* home: the reshard step's, where answers arrive. */
enum ks_status ks_scaling_create(struct ks_engine *engine, struct ks_mailbox *home,
    struct ks_scaling **out, struct ks_error *err) KS_MUST_USE;
/* No answer can arrive any more. */
void ks_scaling_destroy(struct ks_scaling *scaling);
/* Looks, if it is time, and begins what is to be done. Returns after how many milliseconds it wants
 * to be called again; 0: not before a stream is on demand. */
uint64_t ks_scaling_look(struct ks_scaling *scaling);

#endif
