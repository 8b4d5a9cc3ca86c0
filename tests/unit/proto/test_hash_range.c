#include "base/md5.h"
#include "base/prng.h"
#include "proto/hash_range.h"
#include "tests/unit/ks_check.h"

#include <string.h>

static ks_u128 number(const char *text)
{
    ks_u128 value = 0;
    ck_assert(ks_u128_from_text(text, strlen(text), &value));
    return value;
}

START_TEST(two_and_three_shards_split_where_kinesis_splits)
{
    ck_assert(ks_hash_range_initial(1, 0).last == KS_U128_MAX);
    ck_assert(
        ks_hash_range_initial(2, 1).first == number("170141183460469231731687303715884105728"));
    ck_assert(
        ks_hash_range_initial(3, 1).first == number("113427455640312821154458202477256070485"));
    ck_assert(
        ks_hash_range_initial(3, 2).first == number("226854911280625642308916404954512140970"));
    ck_assert(
        ks_hash_range_initial(3, 2).last == number("340282366920938463463374607431768211455"));
}
END_TEST

START_TEST(keys_go_where_kinesis_sends_them)
{
    struct ks_view keys[] = {
        ks_view_of_text("a"), ks_view_of_text("user-1"), ks_view_of_text("파티션")};
    ks_u128 hashes[3];
    struct ks_md5 *md5 = NULL;
    ck_assert_int_eq(ks_md5_create(&md5, NULL), KS_OK);
    ck_assert_int_eq(ks_md5_many(md5, keys, 3, hashes), KS_OK);
    ks_md5_destroy(md5);
    ck_assert(hashes[0] == number("16955237001963240173058271559858726497"));
    ck_assert(hashes[1] == number("285573413173782752570879317399258818820"));
    ck_assert(hashes[2] == number("224410371168786790645122210282851657437"));
    struct ks_hash_range ranges[3];
    for (uint32_t i = 0; i < 3; i++)
        ranges[i] = ks_hash_range_initial(3, i);
    ck_assert_uint_eq(ks_hash_range_find(ranges, 3, hashes[0]), 0);
    ck_assert_uint_eq(ks_hash_range_find(ranges, 3, hashes[1]), 2);
    ck_assert_uint_eq(ks_hash_range_find(ranges, 3, hashes[2]), 1);
}
END_TEST

#define SHARDS_MAX 1100

START_TEST(initial_ranges_tile_and_every_key_finds_its_own)
{
    static struct ks_hash_range ranges[SHARDS_MAX];
    struct ks_prng prng;
    ks_prng_seed(&prng, 5);
    for (uint32_t count = 1; count <= SHARDS_MAX; count += count < 70 ? 1 : 97) {
        for (uint32_t i = 0; i < count; i++)
            ranges[i] = ks_hash_range_initial(count, i);
        ck_assert(ks_hash_ranges_tile(ranges, count));
        for (uint32_t i = 0; i < count; i++) {
            ck_assert_uint_eq(ks_hash_range_find(ranges, count, ranges[i].first), i);
            ck_assert_uint_eq(ks_hash_range_find(ranges, count, ranges[i].last), i);
        }
        ks_u128 any = (ks_u128)ks_prng_u64(&prng) << 64 | ks_prng_u64(&prng);
        ck_assert(ks_hash_range_holds(&ranges[ks_hash_range_find(ranges, count, any)], any));
    }
}
END_TEST

START_TEST(gaps_and_overlaps_do_not_tile)
{
    struct ks_hash_range ranges[3];
    for (uint32_t i = 0; i < 3; i++)
        ranges[i] = ks_hash_range_initial(3, i);
    ck_assert(!ks_hash_ranges_tile(ranges, 0));
    ck_assert(!ks_hash_ranges_tile(ranges, 2));
    ck_assert(!ks_hash_ranges_tile(ranges + 1, 2));
    ranges[1].first++;
    ck_assert(!ks_hash_ranges_tile(ranges, 3));
    ranges[1].first -= 2;
    ck_assert(!ks_hash_ranges_tile(ranges, 3));
    ranges[1].first++;
    ck_assert(ks_hash_ranges_tile(ranges, 3));
    ranges[1].last = ranges[1].first - 1;
    ranges[2].first = ranges[1].first;
    ck_assert(!ks_hash_ranges_tile(ranges, 3));
}
END_TEST

KS_SUITE("proto/hash_range")
{
    KS_TEST(two_and_three_shards_split_where_kinesis_splits);
    KS_TEST(keys_go_where_kinesis_sends_them);
    KS_TEST(initial_ranges_tile_and_every_key_finds_its_own);
    KS_TEST(gaps_and_overlaps_do_not_tile);
}
