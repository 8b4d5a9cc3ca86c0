/* Streams on demand, looked at every second: 20 records or 8 KiB a second are what a shard takes.
 */
#include "storage/reshard.h"
#include "tests/unit/ks_check.h"
#include "tests/unit/storage/store_world.h"

static struct world world;

static void begin(uint32_t shards, enum ks_stream_mode mode)
{
    world_init(&world);
    world.limits.scale.shards_min = 2;
    world.limits.scale.shards_max = 8;
    world_open(&world);
    ck_assert_int_eq(world_create(&world, "orders", shards), KS_OK);
    ck_assert_int_eq(world_set_mode(&world, "orders", mode), KS_OK);
    world_pump(&world); /* the first look */
}

static void put(uint32_t shard, uint32_t records, uint32_t data_bytes)
{
    ck_assert_int_eq(
        world_append(&world, world_log(&world, "orders", shard), records, data_bytes), KS_OK);
    world_pump(&world);
}

static void second_passes(void)
{
    ks_fake_clock_advance_ms(&world.clock, 1000);
    world_pump(&world);
}

static uint32_t open_count(void)
{
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = world_stream(&world, "orders");
    ck_assert_int_eq(stream->status, KS_STREAM_ACTIVE);
    return stream->open_count;
}

static uint64_t wakes_after_ms(void)
{
    return ks_reshards_step(world.engine->reshards)->idle_ms_max;
}

START_TEST(a_shard_with_more_than_half_of_its_records_is_split_in_the_middle)
{
    begin(2, KS_STREAM_ON_DEMAND);
    put(1, 10, 1);
    second_passes();
    ck_assert_uint_eq(open_count(), 2); /* just half */
    put(1, 11, 1);
    second_passes();
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = world_stream(&world, "orders");
    ck_assert_uint_eq(stream->open_count, 3);
    ck_assert(stream->shards[0].is_open && !stream->shards[1].is_open);
    ks_u128 width = stream->shards[1].hash_last - stream->shards[1].hash_first;
    ck_assert(stream->shards[3].hash_first == stream->shards[1].hash_first + width / 2 + 1);
    second_passes(); /* the load is over */
    ck_assert_uint_eq(open_count(), 3);
    ks_stream_unref(KS_TAKE(stream));
    world_fini(&world);
}
END_TEST

START_TEST(large_records_count_by_their_bytes)
{
    begin(2, KS_STREAM_ON_DEMAND);
    put(0, 1, 3000);
    second_passes();
    ck_assert_uint_eq(open_count(), 2);
    put(0, 1, 5000);
    second_passes();
    ck_assert_uint_eq(open_count(), 3);
    world_fini(&world);
}
END_TEST

START_TEST(all_hot_shards_are_split_at_once_as_far_as_there_is_room)
{
    begin(3, KS_STREAM_ON_DEMAND);
    world.engine->options.limits.scale.shards_max = 5;
    for (uint32_t shard = 0; shard < 3; shard++)
        put(shard, 15, 1);
    second_passes();
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = world_stream(&world, "orders");
    ck_assert_uint_eq(stream->open_count, 5);
    ck_assert_uint_eq(stream->routing_epoch, 2); /* one change */
    ks_stream_unref(KS_TAKE(stream));
    /* The account's limit counts as well. */
    world.engine->options.limits.scale.shards_max = 8;
    atomic_store(&world.engine->shards_max, 6);
    for (uint32_t shard = 2; shard < 7; shard++)
        put(shard, 15, 1);
    second_passes();
    ck_assert_uint_eq(open_count(), 6);
    world_fini(&world);
}
END_TEST

START_TEST(warm_shards_are_not_merged)
{
    begin(6, KS_STREAM_ON_DEMAND);
    struct ks_setting_change change = {.setting = KS_SETTING_WARM_MIBPS, .number = 5};
    ck_assert_int_eq(world_set(&world, "orders", &change), KS_OK);
    for (int s = 0; s < 8; s++)
        second_passes();
    ck_assert_uint_eq(open_count(), 5);
    change.number = 0;
    ck_assert_int_eq(world_set(&world, "orders", &change), KS_OK);
    for (int s = 0; s < 8; s++)
        second_passes();
    ck_assert_uint_eq(open_count(), 2);
    world_fini(&world);
}
END_TEST

START_TEST(neighbours_that_stay_cold_are_merged_down_to_the_least_number)
{
    begin(6, KS_STREAM_ON_DEMAND);
    for (int s = 0; s < 3; s++) {
        put(2, 3, 1); /* more than a tenth: neither cold nor hot */
        second_passes();
        ck_assert_uint_eq(open_count(), s < 2 ? 6 : 4); /* (0 1) 2 (3 4) 5 */
    }
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = world_stream(&world, "orders");
    ck_assert(stream->shards[2].is_open && stream->shards[5].is_open);
    ks_stream_unref(KS_TAKE(stream));
    /* A merged shard is cold for as long again before it is merged once more. */
    put(2, 3, 1);
    second_passes();
    ck_assert_uint_eq(open_count(), 4);
    for (int s = 0; s < 12; s++)
        second_passes();
    ck_assert_uint_eq(open_count(), 2);
    world_fini(&world);
}
END_TEST

START_TEST(a_warm_moment_begins_the_cold_time_anew)
{
    begin(3, KS_STREAM_ON_DEMAND);
    second_passes();
    second_passes();
    put(1, 3, 1);
    second_passes();
    second_passes();
    second_passes();
    ck_assert_uint_eq(open_count(), 3);
    second_passes();
    ck_assert_uint_eq(open_count(), 2);
    world_fini(&world);
}
END_TEST

START_TEST(other_streams_are_left_alone_and_wake_nobody)
{
    begin(3, KS_STREAM_PROVISIONED);
    ck_assert_uint_eq(wakes_after_ms(), 0);
    put(0, 20, 1);
    for (int s = 0; s < 5; s++)
        second_passes();
    ck_assert_uint_eq(open_count(), 3);
    ck_assert_int_eq(world_set_mode(&world, "orders", KS_STREAM_ON_DEMAND), KS_OK);
    ck_assert_uint_gt(wakes_after_ms(), 0);
    put(0, 20, 1);
    second_passes();
    ck_assert_uint_eq(open_count(), 4);
    ck_assert_int_eq(world_set_mode(&world, "orders", KS_STREAM_PROVISIONED), KS_OK);
    second_passes();
    ck_assert_uint_eq(wakes_after_ms(), 0);
    world_fini(&world);
}
END_TEST

START_TEST(a_start_measures_anew)
{
    begin(2, KS_STREAM_ON_DEMAND);
    put(0, 20, 1);
    world_restart(&world, true);
    second_passes();
    ck_assert_uint_eq(open_count(), 2);
    put(0, 20, 1);
    second_passes();
    ck_assert_uint_eq(open_count(), 3);
    /* And a stream that is deleted is forgotten. */
    put(1, 20, 1);
    ck_assert_int_eq(world_delete(&world, "orders"), KS_OK);
    second_passes();
    ck_assert_uint_eq(wakes_after_ms(), 0);
    world_fini(&world);
}
END_TEST

KS_SUITE("storage/scaling")
{
    KS_TEST(a_shard_with_more_than_half_of_its_records_is_split_in_the_middle);
    KS_TEST(large_records_count_by_their_bytes);
    KS_TEST(all_hot_shards_are_split_at_once_as_far_as_there_is_room);
    KS_TEST(warm_shards_are_not_merged);
    KS_TEST(neighbours_that_stay_cold_are_merged_down_to_the_least_number);
    KS_TEST(a_warm_moment_begins_the_cold_time_anew);
    KS_TEST(other_streams_are_left_alone_and_wake_nobody);
    KS_TEST(a_start_measures_anew);
}
