#include "base/prng.h"
#include "storage/due_heap.h"
#include "tests/unit/ks_check.h"

#define NODES 200u

/* Against a plain array, through random puts, moves and removals. */
START_TEST(the_first_is_always_the_one_due_first)
{
    struct ks_due_heap heap = {.nodes = NULL};
    struct ks_due nodes[NODES] = {{.unix_ms = 0}};
    struct ks_prng prng;
    ks_prng_seed(&prng, (uint64_t)_i + 1);
    for (int step = 0; step < 5000; step++) {
        struct ks_due *node = &nodes[ks_prng_below(&prng, NODES)];
        if (ks_prng_chance(&prng, 1, 3))
            ks_due_heap_remove(&heap, node);
        else
            ck_assert(ks_due_heap_put(&heap, node, ks_prng_below(&prng, 1000)));
        uint32_t in = 0;
        uint64_t least = UINT64_MAX;
        for (uint32_t i = 0; i < NODES; i++) {
            if (nodes[i].place == 0)
                continue;
            in++;
            least = nodes[i].unix_ms < least ? nodes[i].unix_ms : least;
        }
        ck_assert_uint_eq(heap.count, in);
        const struct ks_due *first = ks_due_heap_first(&heap);
        ck_assert_uint_eq(first ? first->unix_ms : UINT64_MAX, least);
    }
    ks_due_heap_fini(&heap);
    for (uint32_t i = 0; i < NODES; i++)
        ck_assert_uint_eq(nodes[i].place, 0);
}
END_TEST

START_TEST(what_is_not_in_can_be_removed)
{
    struct ks_due_heap heap = {.nodes = NULL};
    struct ks_due node = {.unix_ms = 0};
    ks_due_heap_remove(&heap, &node);
    ck_assert_ptr_null(ks_due_heap_first(&heap));
    ck_assert(ks_due_heap_put(&heap, &node, 7));
    ks_due_heap_remove(&heap, &node);
    ks_due_heap_remove(&heap, &node);
    ck_assert_ptr_null(ks_due_heap_first(&heap));
    ks_due_heap_fini(&heap);
}
END_TEST

KS_SUITE("storage/due_heap")
{
    KS_TEST_LOOP(the_first_is_always_the_one_due_first, 4);
    KS_TEST(what_is_not_in_can_be_removed);
}
