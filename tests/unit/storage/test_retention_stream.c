/* A stream's retention, deletion with a time to change one's mind, closed shards that leave. */
#include "tests/unit/ks_check.h"
#include "tests/unit/storage/retention_rig.h"

/* ---- the retention itself ---- */

START_TEST(a_decrease_hides_at_once_and_an_increase_brings_nothing_back)
{
    setup();
    struct ks_log *log = world_log(&world, "orders", 0);
    uint64_t start = world.clock.unix_ms;
    ck_assert_int_eq(world_set_retention(&world, "orders", 72), KS_OK);
    put_minutely(log, 100, 100);
    world.clock.unix_ms = start + DAY_MS + 50 * MINUTE_MS;
    ck_assert_uint_eq(first_read(log), 1);
    ck_assert_int_eq(world_set_retention(&world, "orders", 24), KS_OK);
    ck_assert_uint_eq(first_read(log), 51);
    ck_assert_int_eq(world_set_retention(&world, "orders", 168), KS_OK);
    ck_assert_uint_eq(first_read(log), 51);
    world_restart(&world, _i % 2);
    log = world_log(&world, "orders", 0);
    ck_assert_uint_eq(first_read(log), 51);
    advance(5 * DAY_MS);
    compact();
    ck_assert_uint_eq(first_read(log), 51);
    advance(2 * DAY_MS);
    ck_assert_uint_eq(first_read(log), 0);
    world_fini(&world);
}
END_TEST

/* An increase keeps what is left, and nothing that had expired before it. */
START_TEST(an_increase_keeps_what_has_not_expired)
{
    setup();
    struct ks_log *log = world_log(&world, "orders", 0);
    uint64_t start = world.clock.unix_ms;
    put_minutely(log, 100, 100);
    world.clock.unix_ms = start + DAY_MS + 20 * MINUTE_MS;
    ck_assert_int_eq(world_set_retention(&world, "orders", 48), KS_OK);
    advance(DAY_MS - 20 * MINUTE_MS);
    compact();
    ck_assert_uint_eq(first_read(log), 21);
    ck_assert_int_eq(world_status(&world, "orders"), KS_STREAM_ACTIVE);
    world_fini(&world);
}
END_TEST

/* Judged by what the retention is when its turn comes. */
START_TEST(an_increase_never_decreases_and_a_decrease_never_increases)
{
    setup();
    ck_assert_int_eq(world_set_retention(&world, "orders", 48), KS_OK);
    static const struct {
        struct ks_retention_spec spec;
        enum ks_status expected;
    } cases[] = {
        {{47, KS_RETENTION_INCREASE}, KS_INVALID},
        {{49, KS_RETENTION_DECREASE}, KS_INVALID},
        {{48, KS_RETENTION_INCREASE}, KS_OK},
        {{48, KS_RETENTION_DECREASE}, KS_OK},
        {{50, KS_RETENTION_INCREASE}, KS_OK},
        {{25, KS_RETENTION_DECREASE}, KS_OK},
    };
    for (size_t i = 0; i < KS_COUNT_OF(cases); i++)
        ck_assert_int_eq(
            world_change_retention(&world, "orders", &cases[i].spec), cases[i].expected);
    ck_assert_int_eq(world_status(&world, "orders"), KS_STREAM_ACTIVE);
    world_fini(&world);
}
END_TEST

START_TEST(a_refused_change_leaves_the_stream_as_it_was)
{
    setup();
    fail_next_commit();
    ck_assert_int_eq(world_set_retention(&world, "orders", 48), KS_STORAGE_FULL);
    ck_assert_int_eq(world_status(&world, "orders"), KS_STREAM_ACTIVE);
    fail_next_commit();
    ck_assert_int_eq(world_delete_later(&world, "orders", DAY_MS), KS_STORAGE_FULL);
    ck_assert_int_eq(world_status(&world, "orders"), KS_STREAM_ACTIVE);
    ck_assert_int_eq(world_delete_later(&world, "orders", DAY_MS), KS_OK);
    ck_assert_int_eq(world_status(&world, "orders"), KS_STREAM_DELETING);
    world_fini(&world);
}
END_TEST

/* ---- deletion ---- */

START_TEST(a_kept_stream_is_read_and_restored)
{
    setup();
    struct ks_log *log = world_log(&world, "orders", 0);
    put(log, 100);
    ck_assert_int_eq(world_delete_later(&world, "orders", DAY_MS), KS_OK);
    ck_assert_int_eq(world_status(&world, "orders"), KS_STREAM_DELETING);
    ck_assert_int_eq(world_create(&world, "orders", 1), KS_EXISTS);
    ck_assert_uint_eq(first_read(log), 1);
    world_restart(&world, _i % 2);
    ck_assert_int_eq(world_status(&world, "orders"), KS_STREAM_DELETING);
    ck_assert_uint_eq(first_read(world_log(&world, "orders", 0)), 1);
    advance(DAY_MS - 5000);
    compact();
    ck_assert_int_eq(world_restore(&world, "orders"), KS_OK);
    ck_assert_int_eq(world_restore(&world, "orders"), KS_IN_USE);
    advance(2 * DAY_MS);
    compact();
    ck_assert_int_eq(world_status(&world, "orders"), KS_STREAM_ACTIVE);
    put(world_log(&world, "orders", 0), 100);
    ck_assert_uint_eq(first_read(world_log(&world, "orders", 0)), 2);
    world_restart(&world, true);
    ck_assert_int_eq(world_status(&world, "orders"), KS_STREAM_ACTIVE);
    world_fini(&world);
}
END_TEST

START_TEST(a_kept_stream_is_purged_when_its_time_is_over)
{
    setup();
    put_minutely(world_log(&world, "orders", 0), 60, 1000);
    ck_assert_int_eq(world_delete_later(&world, "orders", DAY_MS), KS_OK);
    if (_i % 2)
        world_restart(&world, true);
    advance(DAY_MS - 5000);
    compact(); /* four seconds */
    ck_assert_int_eq(world_status(&world, "orders"), KS_STREAM_DELETING);
    advance(1001);
    world_pump(&world);
    struct ks_stream *stream = NULL;
    ck_assert_int_eq(ks_registry_find(world.engine, "orders", &stream), KS_NOT_FOUND);
    ck_assert_uint_eq(counter(KS_COUNT_STREAMS_PURGED), 1);
    ck_assert_int_eq(world_create(&world, "orders", 1), KS_OK);
    world_restart(&world, false);
    ck_assert_uint_eq(first_read(world_log(&world, "orders", 0)), 0);
    world_fini(&world);
}
END_TEST

/* What somebody sees who asks after the night is the pass that did something. */
START_TEST(a_pass_that_retires_nothing_leaves_the_figures_of_the_last)
{
    struct ks_compactor_status status;
    setup();
    put_minutely(world_log(&world, "orders", 0), 120, 1000);
    ck_assert_int_eq(world_create(&world, "empty", 1), KS_OK);
    advance(DAY_MS);
    compact();
    ks_compactor_describe(world.engine, &status);
    ck_assert_uint_eq(status.last.records, 120);
    uint64_t started_unix_ms = status.last.started_unix_ms;
    ck_assert_int_eq(world_delete_later(&world, "empty", DAY_MS), KS_OK);
    advance(DAY_MS + 1);
    compact();
    ks_compactor_describe(world.engine, &status);
    ck_assert_uint_eq(status.streams_purged, 1);
    ck_assert(!status.is_running);
    ck_assert_uint_eq(status.last.records, 120);
    ck_assert_uint_eq(status.last.started_unix_ms, started_unix_ms);
    world_fini(&world);
}
END_TEST

START_TEST(a_plain_delete_purges_a_kept_stream_at_once)
{
    setup();
    ck_assert_int_eq(world_delete_later(&world, "orders", DAY_MS), KS_OK);
    ck_assert_int_eq(world_delete_later(&world, "orders", DAY_MS), KS_IN_USE);
    ck_assert_int_eq(world_set_retention(&world, "orders", 48), KS_IN_USE);
    ck_assert_int_eq(world_delete(&world, "orders"), KS_OK);
    ck_assert_int_eq(world_create(&world, "orders", 1), KS_OK);
    advance(2 * DAY_MS);
    compact();
    ck_assert_int_eq(world_status(&world, "orders"), KS_STREAM_ACTIVE);
    world_fini(&world);
}
END_TEST

START_TEST(a_purge_that_finds_no_room_is_tried_again)
{
    setup();
    ck_assert_int_eq(world_delete_later(&world, "orders", DAY_MS), KS_OK);
    advance(DAY_MS + 1);
    fail_next_commit();
    world_pump(&world);
    ck_assert_int_eq(world_status(&world, "orders"), KS_STREAM_DELETING);
    advance(2 * MINUTE_MS);
    world_pump(&world);
    ck_assert_uint_eq(counter(KS_COUNT_STREAMS_PURGED), 1);
    world_fini(&world);
}
END_TEST

/* ---- closed shards ---- */

static uint32_t shard_count(void)
{
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = world_stream(&world, "orders");
    return stream->shard_count;
}

/* Also without a single record, after a restart, and with a retention that changes. */
START_TEST(a_closed_shard_is_there_until_its_close_has_expired)
{
    world_init(&world);
    world_open(&world);
    ck_assert_int_eq(world_create(&world, "orders", 1), KS_OK);
    if (_i % 2)
        put_minutely(world_log(&world, "orders", 0), 10, 1000);
    advance(HOUR_MS);
    ck_assert_int_eq(world_split(&world, "orders", 0, (ks_u128)1 << 127), KS_OK);
    ck_assert_uint_eq(shard_count(), 3);
    if (_i / 2)
        world_restart(&world, _i % 2);
    advance(DAY_MS - 10000);
    compact(); /* the records have expired, the close has not */
    ck_assert_uint_eq(shard_count(), 3);
    ck_assert_uint_eq(first_read(world_log(&world, "orders", 0)), 0);
    advance(10000);
    compact();
    ck_assert_uint_eq(shard_count(), 2);
    ck_assert_uint_eq(counter(KS_COUNT_SHARDS_REMOVED), 1);
    put(world_log(&world, "orders", 1), 100);
    world_restart(&world, false);
    ck_assert_uint_eq(shard_count(), 2);
    ck_assert_uint_eq(first_read(world_log(&world, "orders", 1)), 1);
    world_fini(&world);
}
END_TEST

START_TEST(a_parent_leaves_before_its_child)
{
    setup();
    ck_assert_int_eq(world_merge(&world, "orders", 0, 1), KS_OK);
    advance(3000);
    ck_assert_int_eq(world_split(&world, "orders", 2, 1000), KS_OK);
    ck_assert_uint_eq(shard_count(), 5);
    advance(8 * DAY_MS);
    compact(); /* all three have expired at once */
    ck_assert_uint_eq(shard_count(), 2);
    ck_assert_uint_eq(counter(KS_COUNT_SHARDS_REMOVED), 3);
    world_fini(&world);
}
END_TEST

START_TEST(a_removal_that_finds_no_room_is_tried_again)
{
    setup();
    ck_assert_int_eq(world_merge(&world, "orders", 0, 1), KS_OK);
    world_flush(&world);
    advance(DAY_MS + 2000);
    fail_next_commit();
    world_pump(&world);
    uint32_t left = shard_count();
    ck_assert_uint_gt(left, 1);
    compact();
    ck_assert_uint_eq(shard_count(), 1);
    world_fini(&world);
}
END_TEST

KS_SUITE("storage/retention_stream")
{
    KS_TEST_LOOP(a_decrease_hides_at_once_and_an_increase_brings_nothing_back, 2);
    KS_TEST(an_increase_keeps_what_has_not_expired);
    KS_TEST(an_increase_never_decreases_and_a_decrease_never_increases);
    KS_TEST(a_refused_change_leaves_the_stream_as_it_was);
    KS_TEST_LOOP(a_kept_stream_is_read_and_restored, 2);
    KS_TEST_LOOP(a_kept_stream_is_purged_when_its_time_is_over, 2);
    KS_TEST(a_pass_that_retires_nothing_leaves_the_figures_of_the_last);
    KS_TEST(a_plain_delete_purges_a_kept_stream_at_once);
    KS_TEST(a_purge_that_finds_no_room_is_tried_again);
    KS_TEST_LOOP(a_closed_shard_is_there_until_its_close_has_expired, 4);
    KS_TEST(a_parent_leaves_before_its_child);
    KS_TEST(a_removal_that_finds_no_room_is_tried_again);
}
