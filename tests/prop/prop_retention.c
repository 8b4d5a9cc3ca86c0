/*
 * Retention is never early and never more than a minute late: random appends, flushes, clocks,
 * changes of the retention, passes of the compactor, stops and power cuts, against plain arrays of
 * arrivals. KS_PROP_SEED repeats a run.
 */
#include "base/prng.h"
#include "tests/unit/ks_check.h"
#include "tests/unit/storage/store_world.h"

#include <stdio.h>
#include <time.h>

#define SHARDS 3u
#define RECORDS_MAX 4000u
#define STEPS 500
#define SECOND_MS 1000u
#define MINUTE_MS (60 * SECOND_MS)
#define HOUR_MS (60ull * MINUTE_MS)

struct model_log {
    uint64_t arrivals[RECORDS_MAX]; /* of the records 1.. */
    uint64_t count;
};

static struct world world;
static struct model_log logs[SHARDS];
static struct ks_prng prng;
static uint64_t retention_hours;
static uint64_t floor_ms;
static uint64_t expired_seen;

static uint64_t horizon_at(uint64_t now)
{
    uint64_t kept = retention_hours * HOUR_MS;
    return ks_max_u64(floor_ms, now > kept ? now - kept : 0);
}

/* The first record that arrived at or after unix_ms. */
static uint64_t first_since(const struct model_log *log, uint64_t unix_ms)
{
    uint64_t i = 0;
    while (i < log->count && log->arrivals[i] < unix_ms)
        i++;
    return i + 1;
}

static void check_log(uint32_t shard)
{
    const struct model_log *model = &logs[shard];
    struct ks_log *log = world_log(&world, "orders", shard);
    uint64_t horizon = horizon_at(world.clock.unix_ms);
    uint64_t expected = first_since(model, horizon);
    uint64_t found = 0;
    ck_assert_int_eq(ks_log_find_time(log, 0, true, &found, NULL), KS_OK);
    ck_assert_uint_eq(found, expected);
    expired_seen += expected > 1;
    struct ks_log_bounds bounds;
    ks_log_bounds(log, &bounds);
    ck_assert_uint_eq(bounds.last_sequence, model->count);
    ck_assert_uint_le(bounds.first_sequence, expected);
    uint64_t late = horizon > MINUTE_MS ? horizon - MINUTE_MS : 0;
    ck_assert_uint_ge(bounds.first_sequence, first_since(model, ks_max_u64(late, floor_ms)));
    struct ks_read read;
    struct ks_read_request request = {
        .from_sequence = 1, .bytes_max = 1, .records_max = 1, .may_block = true};
    ck_assert_int_eq(ks_log_read(log, &request, &read, NULL), KS_OK);
    ck_assert_uint_eq(read.next_sequence - read.take, expected);
    ck_assert_uint_eq(read.take, expected <= model->count);
    ks_read_release(&read);
    if (ks_prng_chance(&prng, 1, 8))
        ck_assert_uint_eq(world_read_all(&world, log, expected, NULL), model->count + 1 - expected);
}

static void append_some(void)
{
    uint32_t shard = (uint32_t)ks_prng_below(&prng, SHARDS);
    struct model_log *model = &logs[shard];
    uint64_t count = ks_prng_below(&prng, 40);
    for (uint64_t i = 0; i < count && model->count < RECORDS_MAX; i++) {
        uint32_t bytes = ks_prng_chance(&prng, 1, 4) ? 2000 : 60;
        ck_assert_int_eq(world_append(&world, world_log(&world, "orders", shard), 1, bytes), KS_OK);
        model->arrivals[model->count++] = world.clock.unix_ms;
        if (ks_prng_chance(&prng, 1, 3))
            ks_fake_clock_advance_ms(&world.clock, ks_prng_below(&prng, 20 * SECOND_MS));
        world_pump(&world);
    }
}

static void advance_some(void)
{
    static const uint64_t most[] = {10, SECOND_MS, MINUTE_MS, HOUR_MS, 12 * HOUR_MS, 30 * HOUR_MS};
    uint64_t most_ms = most[ks_prng_below(&prng, KS_COUNT_OF(most))];
    ks_fake_clock_advance_ms(&world.clock, ks_prng_below(&prng, most_ms));
    world_pump(&world);
}

/* To the very edge: the moment before and after a record expires. */
static void advance_to_an_expiry(void)
{
    const struct model_log *model = &logs[ks_prng_below(&prng, SHARDS)];
    uint64_t first = first_since(model, horizon_at(world.clock.unix_ms));
    if (first > model->count)
        return;
    uint64_t at = model->arrivals[first - 1] + retention_hours * HOUR_MS;
    if (at > world.clock.unix_ms)
        ks_fake_clock_advance_ms(&world.clock, at - world.clock.unix_ms);
    world_pump(&world);
    for (uint32_t shard = 0; shard < SHARDS; shard++)
        check_log(shard);
    ks_fake_clock_advance_ms(&world.clock, 1);
    world_pump(&world);
}

static void change_retention(void)
{
    uint64_t hours = 24 + ks_prng_below(&prng, 60);
    uint64_t kept = ks_min_u64(hours, retention_hours) * HOUR_MS;
    ck_assert_int_eq(world_set_retention(&world, "orders", (uint32_t)hours), KS_OK);
    floor_ms = ks_max_u64(floor_ms, world.clock.unix_ms - kept);
    retention_hours = hours;
}

static void step(void)
{
    uint64_t dice = ks_prng_below(&prng, 100);
    if (dice < 40)
        append_some();
    else if (dice < 60)
        advance_some();
    else if (dice < 75)
        advance_to_an_expiry();
    else if (dice < 85)
        world_flush(&world);
    else if (dice < 91)
        change_retention();
    else if (dice < 95)
        ck_assert_int_eq(world_compact(&world), KS_OK);
    else
        world_restart(&world, dice % 2);
}

START_TEST(retention_is_never_early_and_at_most_a_minute_late)
{
    const char *wanted = getenv("KS_PROP_SEED");
    uint64_t seed = wanted ? strtoull(wanted, NULL, 0) : (uint64_t)time(NULL) * 10 + (uint64_t)_i;
    printf("retention: KS_PROP_SEED=%llu\n", (unsigned long long)seed);
    fflush(stdout);
    ks_prng_seed(&prng, seed);
    memset(logs, 0, sizeof logs);
    retention_hours = 24;
    floor_ms = 0;
    world_init(&world);
    world.limits.segment_bytes = 32768ull << ks_prng_below(&prng, 2);
    world.has_no_index = ks_prng_chance(&prng, 1, 4);
    world_open(&world);
    ck_assert_int_eq(world_create(&world, "orders", SHARDS), KS_OK);
    for (int i = 0; i < STEPS; i++) {
        step();
        world_pump(&world);
        for (uint32_t shard = 0; shard < SHARDS; shard++)
            check_log(shard);
    }
    ck_assert_uint_gt(expired_seen, 0);
    ck_assert_uint_eq(world.damage_events, 0);
    world_fini(&world);
}
END_TEST

KS_SUITE("prop/retention")
{
    KS_TEST_LOOP(retention_is_never_early_and_at_most_a_minute_late, 6);
}
