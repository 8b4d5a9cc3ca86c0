#include "daemon/heat.h"
#include "proto/batch.h"
#include "tests/unit/ks_check.h"

#include <stdio.h>

static struct ks_heat *heat;
static struct ks_md5 *md5;

static void set_up(void)
{
    ck_assert_int_eq(ks_heat_create(1, &heat, NULL), KS_OK);
    ck_assert_int_eq(ks_md5_create(&md5, NULL), KS_OK);
}

static void tear_down(void)
{
    ks_heat_destroy(heat, 1);
    ks_md5_destroy(md5);
}

/* Puts count records of one key in one part. */
static void put(const char *key, uint32_t count, uint64_t mono_ms)
{
    static uint8_t bytes[1u << 16];
    size_t end = 0;
    const struct ks_record record = {.key = ks_view_of_text(key), .data = ks_view_of("d", 1)};
    for (uint32_t i = 0; i < count; i++) {
        KS_IGNORE(ks_record_encode(&record, bytes + end), "the checksum is not needed");
        end += ks_record_encoded_bytes(record.key.bytes, record.data.bytes, false);
        ck_assert_uint_lt(end, sizeof(bytes) - 512);
    }
    const struct ks_heat_put part = {.stream_number = 1,
        .shard_index = 3,
        .record_count = count,
        .records = ks_view_of(bytes, end)};
    ks_heat_put(heat, md5, &part, mono_ms);
}

static const struct ks_heat_key *key_of(const char *key)
{
    for (uint32_t i = 0; i < KS_HEAT_KEYS; i++)
        if (heat->keys[i].count > 0 && heat->keys[i].key_bytes == strlen(key) &&
            memcmp(heat->keys[i].key, key, strlen(key)) == 0)
            return &heat->keys[i];
    return NULL;
}

/* No count is too small, and at most its error too large, however many keys come. */
START_TEST(a_heavy_key_is_never_lost_among_many)
{
    char key[32];
    set_up();
    for (uint32_t i = 0; i < 5000; i++) {
        uint64_t mono_ms = 1000 + i * 10; /* a hundred a second: each is looked at */
        snprintf(key, sizeof(key), "light%u", i);
        put(i % 10 == 0 ? "heavy" : key, 1, mono_ms);
    }
    const struct ks_heat_key *heavy = key_of("heavy");
    ck_assert_ptr_nonnull(heavy);
    ck_assert_uint_eq(heat->interval, 1);
    ck_assert_uint_ge(heavy->count, 500);
    ck_assert_uint_le(heavy->count - heavy->error, 500);
    ck_assert_uint_eq(heavy->shard_index, 3);
    ck_assert_uint_eq(heat->sample_count, 5000);
    tear_down();
}
END_TEST

/* A flood is looked at less and less, and what was seen still stands for all of it. */
START_TEST(a_flood_is_sampled)
{
    set_up();
    uint64_t records = 0;
    for (uint32_t i = 0; i < 4000; i++, records += 250)
        put(i % 4 == 0 ? "quarter" : "rest", 250, 1000 + i);
    uint64_t weight = 0;
    uint64_t quarter = key_of("quarter")->count;
    for (uint64_t i = 0; i < KS_MIN(heat->sample_count, (uint64_t)KS_HEAT_SAMPLES); i++)
        weight += heat->samples[i].weight;
    ck_assert_uint_lt(heat->sample_count, 8000);
    ck_assert_uint_gt(heat->interval, 1);
    ck_assert_uint_gt(weight, records * 85 / 100);
    ck_assert_uint_lt(weight, records * 115 / 100);
    ck_assert_uint_gt(quarter, records * 20 / 100);
    ck_assert_uint_lt(quarter, records * 30 / 100);
    /* When it is over each record is looked at again before long. */
    for (uint32_t i = 0; i < 100; i++)
        put("calm", 50, 10000 + i * 1000);
    ck_assert_uint_eq(heat->interval, 1);
    tear_down();
}
END_TEST

START_TEST(what_was_hot_cools_down)
{
    set_up();
    put("old", 100, 1000);
    uint64_t before = key_of("old")->count;
    ck_assert_uint_eq(before, 100);
    for (uint32_t i = 1; i <= 5; i++)
        put("new", 1, 1000 + i * 61000);
    ck_assert_uint_eq(key_of("old")->count, 100 / 32);
    tear_down();
}
END_TEST

START_TEST(a_long_key_is_cut_and_not_taken_for_another)
{
    char key[200];
    set_up();
    memset(key, 'a', sizeof(key));
    key[199] = '\0';
    put(key, 2, 1000);
    key[198] = 'b';
    put(key, 3, 1001);
    unsigned found = 0;
    for (uint32_t i = 0; i < KS_HEAT_KEYS; i++) {
        const struct ks_heat_key *at = &heat->keys[i];
        if (at->count == 0)
            continue;
        found++;
        ck_assert(at->is_cut && at->key_bytes == KS_HEAT_KEY_BYTES);
        ck_assert(at->count == 2 || at->count == 3);
    }
    ck_assert_uint_eq(found, 2);
    tear_down();
}
END_TEST

KS_SUITE("daemon/heat")
{
    KS_TEST(a_heavy_key_is_never_lost_among_many);
    KS_TEST(a_flood_is_sampled);
    KS_TEST(what_was_hot_cools_down);
    KS_TEST(a_long_key_is_cut_and_not_taken_for_another);
}
