#include "storage/tail_pool.h"

#include "base/alloc.h"

#define SLAB_BYTES (64u << 10) /* and its alignment: a block finds its slab */
#define SLAB_HEAD_BYTES 64u
#define SLAB_BLOCKS ((SLAB_BYTES - SLAB_HEAD_BYTES) / KS_TAIL_POOL_BLOCK_BYTES)

struct block {
    struct block *next;
};

struct slab {
    struct ks_list link; /* in pool->slabs while a block is free */
    uint32_t used;
    uint32_t touched; /* blocks that were given out at least once: the rest is not even mapped */
    struct block *free;
};
_Static_assert(sizeof(struct slab) <= SLAB_HEAD_BYTES, "a slab begins with its head");

void ks_tail_pool_init(struct ks_tail_pool *pool)
{
    ks_mutex_init(&pool->mu, KS_RANK_TAIL_POOL);
    ks_list_init(&pool->slabs);
}

void ks_tail_pool_fini(struct ks_tail_pool *pool)
{
    struct ks_list *node;
    while ((node = ks_list_pop(&pool->slabs))) {
        struct slab *slab = KS_CONTAINER_OF(node, struct slab, link);
        KS_ASSERT(slab->used == 0);
        ks_free(slab);
    }
    ks_mutex_fini(&pool->mu);
}

static struct slab *slab_make(struct ks_tail_pool *pool)
{
    struct slab *slab = ks_aligned_alloc(SLAB_BYTES, SLAB_BYTES);
    if (!slab)
        return NULL;
    *slab = (struct slab){.used = 0};
    ks_list_push(&pool->slabs, &slab->link);
    return slab;
}

void *ks_tail_pool_take(struct ks_tail_pool *pool)
{
    KS_LOCK_SCOPE(&pool->mu);
    struct slab *slab = ks_list_is_empty(&pool->slabs)
                            ? slab_make(pool)
                            : KS_CONTAINER_OF(pool->slabs.next, struct slab, link);
    if (!slab)
        return NULL;
    struct block *block = slab->free;
    if (block)
        slab->free = block->next;
    else
        block = (struct block *)(void *)((uint8_t *)slab + SLAB_HEAD_BYTES +
                                         slab->touched++ * KS_TAIL_POOL_BLOCK_BYTES);
    if (++slab->used == SLAB_BLOCKS)
        ks_list_remove(&slab->link);
    return block;
}

void ks_tail_pool_give(struct ks_tail_pool *pool, void *bytes)
{
    struct slab *slab = (struct slab *)((uintptr_t)bytes & ~(uintptr_t)(SLAB_BYTES - 1));
    struct block *block = bytes;
    KS_LOCK_SCOPE(&pool->mu);
    KS_ASSERT(slab->used > 0 && slab->used <= SLAB_BLOCKS);
    block->next = slab->free;
    slab->free = block;
    if (slab->used-- == SLAB_BLOCKS)
        ks_list_push(&pool->slabs, &slab->link);
    /* One empty slab stays for the next. */
    bool is_only = pool->slabs.next == &slab->link && pool->slabs.prev == &slab->link;
    if (slab->used > 0 || is_only)
        return;
    ks_list_remove(&slab->link);
    ks_free(slab);
}
