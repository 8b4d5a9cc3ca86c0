/*
 * What a reshard will make of a stream's open shards: pure arithmetic on hash ranges and lineage,
 * no log, no disk.
 *
 * A split makes two of one shard, a merge one of two neighbours. A new count is reached as Kinesis
 * reaches it, in uniform rounds: every shard is split, until there are enough; then neighbours are
 * merged, until there are as many as wanted. Shards made by one round and used up by a later one
 * are short-lived: they are part of the lineage (a shard has two parents at most), but never open.
 * Of what splits and merges leave free, where to cut and what to merge, the choice that comes
 * nearest to equal ranges is taken.
 */
#ifndef KS_STORAGE_RESHARD_PLAN_H
#define KS_STORAGE_RESHARD_PLAN_H

#include "storage/registry.h"

struct ks_reshard_plan {
    struct ks_shard *made; /* by index, from the stream's next_shard_index on; without logs */
    uint32_t made_count;
    uint32_t made_open; /* of them */
    uint32_t *parents;  /* positions in stream->shards of those that close, ascending */
    uint32_t parent_count;
};

/*
 * now_s: of the clock; a child is dated at least a second behind its parents, so that its sequence
 * numbers are above theirs. A count that is there already makes an empty plan.
 * Errors: KS_NOT_FOUND no such shard; KS_INVALID closed shard, key out of place, no neighbours;
 * KS_LIMIT the ranges cannot be cut so small; KS_NO_MEMORY. out_plan is valid only on KS_OK.
 */
enum ks_status ks_reshard_plan_make(const struct ks_stream *stream,
    const struct ks_reshard_spec *spec, uint64_t now_s, struct ks_reshard_plan *out_plan,
    struct ks_error *err) KS_MUST_USE;
void ks_reshard_plan_fini(struct ks_reshard_plan *plan);

#endif
