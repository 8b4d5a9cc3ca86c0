#include "base/prng.h"
#include "storage/u64_map.h"
#include "tests/unit/ks_check.h"

#define IDS 500u

/* Against a plain array, with removals in between: what moves into a hole must still be found. */
START_TEST(holds_exactly_what_was_put_and_not_removed)
{
    struct ks_prng prng;
    ks_prng_seed(&prng, 4711);
    struct ks_u64_map map = {.slots = NULL};
    static int values[IDS];
    bool is_in[IDS] = {false};
    for (int round = 0; round < 20000; round++) {
        uint64_t id = ks_prng_below(&prng, IDS);
        if (is_in[id]) {
            ck_assert_ptr_eq(ks_u64_map_remove(&map, id), &values[id]);
        } else {
            ck_assert(ks_u64_map_reserve(&map, 1));
            ks_u64_map_put(&map, id, &values[id]);
        }
        is_in[id] = !is_in[id];
        uint64_t other = ks_prng_below(&prng, IDS);
        ck_assert_ptr_eq(ks_u64_map_get(&map, other), is_in[other] ? &values[other] : NULL);
    }
    size_t count = 0;
    KS_U64_MAP_FOR_EACH(slot, &map)
    {
        ck_assert(is_in[slot->id]);
        count++;
    }
    ck_assert_uint_eq(count, map.count);
    ks_u64_map_fini(&map);
    ck_assert_ptr_null(ks_u64_map_get(&map, 1));
}
END_TEST

KS_SUITE("storage/u64_map")
{
    KS_TEST(holds_exactly_what_was_put_and_not_removed);
}
