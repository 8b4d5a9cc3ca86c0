#include "base/bytes.h"
#include "base/prng.h"
#include "tests/unit/ks_check.h"

#include <string.h>

/* The first outputs of the authors' xoshiro256** from the state 1, 2, 3, 4. */
START_TEST(the_generator_is_xoshiro256)
{
    static const uint64_t expected[] = {11520, 0, 1509978240, 1215971899390074240,
        1216172134540287360, 607988272756665600, 16172922978634559625u, 8476171486693032832};
    struct ks_prng prng = {.state = {1, 2, 3, 4}};
    for (size_t i = 0; i < KS_COUNT_OF(expected); i++)
        ck_assert_uint_eq(ks_prng_u64(&prng), expected[i]);
}
END_TEST

/* The published outputs of splitmix64 for the seed 1234567. */
START_TEST(the_seed_is_spread_by_splitmix64)
{
    static const uint64_t expected[] = {
        6457827717110365317, 3203168211198807973, 9817491932198370423u, 4593380528125082431};
    struct ks_prng prng;
    ks_prng_seed(&prng, 1234567);
    for (size_t i = 0; i < 4; i++)
        ck_assert_uint_eq(prng.state[i], expected[i]);
}
END_TEST

START_TEST(one_seed_one_sequence)
{
    struct ks_prng a;
    struct ks_prng b;
    struct ks_prng c;
    ks_prng_seed(&a, 0);
    ks_prng_seed(&b, 0);
    ks_prng_seed(&c, 1);
    int different = 0;
    for (int i = 0; i < 100; i++) {
        uint64_t value = ks_prng_u64(&a);
        ck_assert_uint_eq(value, ks_prng_u64(&b));
        different += value != ks_prng_u64(&c);
    }
    ck_assert_int_eq(different, 100);
}
END_TEST

START_TEST(below_stays_below_and_meets_every_value)
{
    struct ks_prng prng;
    ks_prng_seed(&prng, 3);
    unsigned seen[7] = {0};
    for (int i = 0; i < 7000; i++) {
        uint64_t value = ks_prng_below(&prng, 7);
        ck_assert_uint_lt(value, 7);
        seen[value]++;
    }
    for (size_t i = 0; i < 7; i++)
        ck_assert(seen[i] > 850 && seen[i] < 1150);
    for (int i = 0; i < 100; i++) {
        ck_assert_uint_eq(ks_prng_below(&prng, 1), 0);
        ck_assert_uint_lt(ks_prng_below(&prng, UINT64_MAX), UINT64_MAX);
    }
}
END_TEST

/* 3 * 2^62 values: without drawing again the lowest third would come up twice as often. */
START_TEST(below_is_fair_for_bounds_that_do_not_divide)
{
    struct ks_prng prng;
    ks_prng_seed(&prng, 9);
    uint64_t third = (uint64_t)1 << 62;
    unsigned seen[3] = {0};
    for (int i = 0; i < 6000; i++)
        seen[ks_prng_below(&prng, 3 * third) / third]++;
    for (size_t i = 0; i < 3; i++)
        ck_assert(seen[i] > 1850 && seen[i] < 2150);
}
END_TEST

START_TEST(chance_keeps_its_odds)
{
    struct ks_prng prng;
    ks_prng_seed(&prng, 5);
    unsigned hits = 0;
    for (int i = 0; i < 10000; i++)
        hits += ks_prng_chance(&prng, 1, 4);
    ck_assert(hits > 2300 && hits < 2700);
    ck_assert(!ks_prng_chance(&prng, 0, 4));
    ck_assert(ks_prng_chance(&prng, 4, 4));
}
END_TEST

START_TEST(random_bytes_fill_all_and_differ)
{
    uint8_t first[1000] = {0};
    uint8_t second[1000] = {0};
    ck_assert_int_eq(ks_random_bytes(first, sizeof first, NULL), KS_OK);
    ck_assert_int_eq(ks_random_bytes(second, sizeof second, NULL), KS_OK);
    ck_assert_mem_ne(first, second, sizeof first);
    ck_assert(!ks_bytes_are_zero(first + 984, 16));
}
END_TEST

START_TEST(a_bound_of_zero_aborts)
{
    struct ks_prng prng;
    ks_prng_seed(&prng, 5);
    ks_prng_below(&prng, 0);
}
END_TEST

KS_SUITE("base/prng")
{
    KS_TEST(the_generator_is_xoshiro256);
    KS_TEST(the_seed_is_spread_by_splitmix64);
    KS_TEST(one_seed_one_sequence);
    KS_TEST(below_stays_below_and_meets_every_value);
    KS_TEST(below_is_fair_for_bounds_that_do_not_divide);
    KS_TEST(chance_keeps_its_odds);
    KS_TEST(random_bytes_fill_all_and_differ);
    KS_TEST_ABORTS(a_bound_of_zero_aborts);
}
