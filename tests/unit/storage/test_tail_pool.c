#include "base/alloc.h"
#include "storage/tail_pool.h"
#include "tests/unit/ks_check.h"

#include <pthread.h>

enum { BLOCKS = 1000 };

static struct ks_tail_pool pool;

static size_t slabs_with_room(void)
{
    size_t count = 0;
    KS_LIST_FOR_EACH(node, &pool.slabs)
    count++;
    return count;
}

START_TEST(blocks_are_apart_and_come_back)
{
    static uint8_t *blocks[BLOCKS];
    ks_tail_pool_init(&pool);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < BLOCKS; i++) {
            blocks[i] = ks_tail_pool_take(&pool);
            ck_assert_ptr_nonnull(blocks[i]);
            ck_assert_uint_eq((uintptr_t)blocks[i] % 16, 0);
            memset(blocks[i], i & 0xff, KS_TAIL_POOL_BLOCK_BYTES);
        }
        for (int i = 0; i < BLOCKS; i++) {
            int at = (i * 7 + round) % BLOCKS; /* in another order */
            for (unsigned k = 0; k < KS_TAIL_POOL_BLOCK_BYTES; k++)
                ck_assert_uint_eq(blocks[at][k], at & 0xff);
            ks_tail_pool_give(&pool, blocks[at]);
        }
        ck_assert_uint_eq(slabs_with_room(), 1); /* the others went back to the heap */
    }
    ks_tail_pool_fini(&pool);
}
END_TEST

START_TEST(a_failed_allocation_is_told_and_harms_nothing)
{
    ks_tail_pool_init(&pool);
    ks_alloc_fail_nth(1, false);
    ck_assert_ptr_null(ks_tail_pool_take(&pool));
    void *block = ks_tail_pool_take(&pool);
    ck_assert_ptr_nonnull(block);
    ks_tail_pool_give(&pool, block);
    ks_tail_pool_fini(&pool);
}
END_TEST

static void *take_and_give(void *arg)
{
    void *held[64] = {NULL};
    (void)arg;
    for (unsigned i = 0; i < 20000; i++) {
        void **slot = &held[i * 31 % KS_COUNT_OF(held)];
        if (*slot)
            ks_tail_pool_give(&pool, KS_TAKE(*slot));
        else
            *slot = ks_tail_pool_take(&pool);
    }
    for (size_t i = 0; i < KS_COUNT_OF(held); i++)
        if (held[i])
            ks_tail_pool_give(&pool, held[i]);
    return NULL;
}

START_TEST(threads_share_it)
{
    pthread_t threads[4];
    ks_tail_pool_init(&pool);
    for (size_t i = 0; i < KS_COUNT_OF(threads); i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, take_and_give, NULL), 0);
    for (size_t i = 0; i < KS_COUNT_OF(threads); i++)
        pthread_join(threads[i], NULL);
    ks_tail_pool_fini(&pool); /* asserts that all are back */
}
END_TEST

KS_SUITE("storage/tail_pool")
{
    KS_TEST(blocks_are_apart_and_come_back);
    KS_TEST(a_failed_allocation_is_told_and_harms_nothing);
    KS_TEST(threads_share_it);
}
