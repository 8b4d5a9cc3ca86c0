/*
 * Memory for the smallest chunks of tails, in slabs of its own: a record in each of many logs comes
 * and goes without leaving holes between what stays. Threads: any.
 */
#ifndef KS_STORAGE_TAIL_POOL_H
#define KS_STORAGE_TAIL_POOL_H

#include "base/list.h"
#include "base/mutex.h"

#define KS_TAIL_POOL_BLOCK_BYTES 640u

struct ks_tail_pool {
    struct ks_mutex mu;   /* KS_RANK_TAIL_POOL */
    struct ks_list slabs; /* [mu] those with a free block */
};

void ks_tail_pool_init(struct ks_tail_pool *pool);
void ks_tail_pool_fini(struct ks_tail_pool *pool); /* every block is back */
/* KS_TAIL_POOL_BLOCK_BYTES; NULL: no memory. */
void *ks_tail_pool_take(struct ks_tail_pool *pool) KS_MUST_USE;
void ks_tail_pool_give(struct ks_tail_pool *pool, void *block);

#endif
