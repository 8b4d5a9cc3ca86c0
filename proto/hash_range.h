/* Hash key ranges: how 2^128 keys are divided among shards, and which shard a key belongs to. */
#ifndef KS_PROTO_HASH_RANGE_H
#define KS_PROTO_HASH_RANGE_H

#include "base/u128.h"

struct ks_hash_range {
    ks_u128 first; /* inclusive, both */
    ks_u128 last;
};

/* Range number index of shard_count equal ones; the last takes the remainder. shard_count > 0,
 * index < shard_count. */
struct ks_hash_range ks_hash_range_initial(uint32_t shard_count, uint32_t index);
/* True if ranges (sorted by first) cover every key exactly once. */
bool ks_hash_ranges_tile(const struct ks_hash_range *ranges, uint32_t count);
/* The index of the range that holds hash; ranges must tile. Binary search. */
uint32_t ks_hash_range_find(const struct ks_hash_range *ranges, uint32_t count, ks_u128 hash);

static inline bool ks_hash_range_holds(const struct ks_hash_range *range, ks_u128 hash)
{
    return range->first <= hash && hash <= range->last;
}

#endif
