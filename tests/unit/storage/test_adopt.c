/* A catalog of some time ago under the journal and the segments of today: nothing is lost. */
#include "storage/registry_priv.h"
#include "tests/unit/ks_check.h"
#include "tests/unit/storage/store_world.h"

#include <stdio.h>

#define HALF ((ks_u128)1 << 127)
#define DAY_MS (24ull * 3600 * 1000)
#define PER_BATCH 3u

static struct world world;
static struct ks_kv_model *copy;

static void setup(uint32_t shards)
{
    world_init(&world);
    world.is_catalog_copy = true;
    world_open(&world);
    world.is_catalog_copy = false;
    ck_assert_int_eq(world_create(&world, "orders", shards), KS_OK);
}

static void append_to(const char *name, uint32_t shard, uint32_t batches)
{
    for (uint32_t i = 0; i < batches; i++) {
        ck_assert_int_eq(
            world_append(&world, world_log(&world, name, shard), PER_BATCH, 700), KS_OK);
        ks_fake_clock_advance_ms(&world.clock, 1);
        if (i % 8 == 7)
            world_pump(&world);
    }
    world_pump(&world);
}

/* The power goes, and the catalog with it: the copy comes back. */
static void lose_catalog(void)
{
    struct ks_error error = KS_ERROR_INIT;
    world.is_catalog_copy = true;
    enum ks_status st = world_restart_with(&world, copy, &error);
    ck_assert_msg(st == KS_OK, "%s: %s", ks_status_name(st), error.text);
    world.is_catalog_copy = false;
    ck_assert(ks_engine_adopted(world.engine)->was_older);
}

static void check_all(const char *name, uint32_t shard, uint64_t batches)
{
    uint64_t damaged = 0;
    struct ks_log *log = world_log(&world, name, shard);
    ck_assert_uint_eq(world_read_all(&world, log, 1, &damaged), PER_BATCH * batches);
    ck_assert_uint_eq(damaged, 0);
}

START_TEST(nothing_is_lost_with_an_older_catalog)
{
    setup(2);
    append_to("orders", 0, 10);
    if (_i & 1)
        world_flush(&world);
    copy = world_copy_catalog(&world);
    append_to("orders", 0, 200);
    append_to("orders", 1, 90);
    world_flush(&world);
    append_to("orders", 0, 100);
    append_to("orders", 1, 2);
    if (_i & 2)
        world_restart(&world, true);
    if (_i & 4)
        world_restart(&world, false);
    append_to("orders", 0, 3);
    if (_i & 8) /* all is flushed, and the journal needs nothing */
        world_restart(&world, true);
    lose_catalog();
    for (int restarts = 0; restarts < 3; restarts++) {
        check_all("orders", 0, 313 + (uint32_t)restarts);
        check_all("orders", 1, 92);
        append_to("orders", 0, 1);
        world_restart(&world, restarts == 1);
    }
    ck_assert_uint_eq(world.damage_events, 0);
    ck_assert_uint_eq(world.engine->recovery.files_quarantined, 0);
    world_fini(&world);
}
END_TEST

/* Whoever has put a copy back by hand says that it may be one; the journal knows the newer run. */
START_TEST(an_older_catalog_is_accepted_only_when_somebody_says_so)
{
    struct ks_error error = KS_ERROR_INIT;
    setup(1);
    copy = world_copy_catalog(&world);
    append_to("orders", 0, 20);
    world_restart(&world, false);
    append_to("orders", 0, 20);
    world.accepts_older_catalog = _i == 0;
    enum ks_status st = world_restart_with(&world, copy, &error);
    if (_i == 0) {
        ck_assert_msg(st == KS_OK, "%s", error.text);
        check_all("orders", 0, 40);
        world_restart(&world, false);
        ck_assert(!ks_engine_adopted(world.engine)->was_older);
        check_all("orders", 0, 40);
    } else {
        ck_assert_int_eq(st, KS_CORRUPT);
        ck_assert_msg(strstr(error.text, "--accept-older-catalog"), "%s", error.text);
    }
    world_fini(&world);
}
END_TEST

START_TEST(a_stream_made_since_comes_back_from_its_segments)
{
    setup(1);
    copy = world_copy_catalog(&world);
    ck_assert_int_eq(world_create(&world, "views", 4), KS_OK);
    append_to("views", 1, 60);
    append_to("views", 2, 5);
    world_flush(&world);
    append_to("views", 1, 4);
    lose_catalog();
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = world_stream(&world, "views");
    ck_assert_int_eq(stream->status, KS_STREAM_ACTIVE);
    ck_assert_uint_eq(stream->open_count, 4);
    ck_assert_uint_eq(stream->retention_hours, 8760);
    check_all("views", 1, 64);
    check_all("views", 2, 5);
    ck_assert_ptr_eq(ks_stream_route(stream, HALF - 1), ks_stream_shard(stream, 1));
    ck_assert_ptr_ne(ks_stream_route(stream, 0), ks_stream_shard(stream, 1));
    ks_stream_unref(KS_TAKE(stream));
    ck_assert_int_eq(world_create(&world, "third", 1), KS_OK);
    append_to("third", 0, 3);
    world_restart(&world, true);
    check_all("views", 1, 64);
    check_all("third", 0, 3);
    world_fini(&world);
}
END_TEST

/* Nothing says what stream it was: its records are there all the same. */
START_TEST(records_of_which_only_the_journal_knows_get_a_stream)
{
    char name[40];
    setup(1);
    copy = world_copy_catalog(&world);
    ck_assert_int_eq(world_create(&world, "views", 1), KS_OK);
    append_to("views", 0, 7);
    snprintf(name, sizeof name, "recovered-%llu",
        (unsigned long long)world_log(&world, "views", 0)->log_id);
    lose_catalog();
    check_all(name, 0, 7);
    append_to(name, 0, 1);
    world_restart(&world, false);
    check_all(name, 0, 8);
    world_fini(&world);
}
END_TEST

/* A split or a merge that is newer than the catalog. _i & 1: one of the new shards was never
 * written to. _i & 2: nothing is flushed before the crash but the children. */
START_TEST(a_reshard_made_since_is_found_again)
{
    setup(2);
    append_to("orders", 0, 30);
    world_flush(&world);
    copy = world_copy_catalog(&world);
    append_to("orders", 0, 10);
    ck_assert_int_eq(world_split(&world, "orders", 0, HALF / 2), KS_OK);
    append_to("orders", 2, 20);
    if (!(_i & 1))
        append_to("orders", 3, 10);
    world_flush(&world);
    append_to("orders", 2, 2);
    if (_i & 2)
        world_restart(&world, true);
    lose_catalog();
    for (int restarts = 0; restarts < 2; restarts++) {
        KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = world_stream(&world, "orders");
        ck_assert_int_eq(stream->status, KS_STREAM_ACTIVE);
        ck_assert_uint_eq(stream->shard_count, 4);
        ck_assert_uint_eq(stream->open_count, 3);
        ck_assert(!ks_stream_shard(stream, 0)->is_open && ks_stream_shard(stream, 1)->is_open);
        for (uint32_t i = 2; i < 4; i++) {
            const struct ks_shard *child = ks_stream_shard(stream, i);
            ck_assert(child->is_open && child->has_parent && child->parent_index == 0);
            ck_assert(!child->has_adjacent_parent);
        }
        ck_assert_uint_gt(stream->routing_epoch, 2);
        check_all("orders", 0, 40);
        check_all("orders", 2, 22);
        ck_assert_ptr_eq(ks_stream_route(stream, HALF / 2 - 1), ks_stream_shard(stream, 2));
        ck_assert_ptr_eq(ks_stream_route(stream, HALF / 2), ks_stream_shard(stream, 3));
        ks_stream_unref(KS_TAKE(stream));
        world_restart(&world, false);
    }
    append_to("orders", 3, 1);
    ck_assert_int_eq(world_merge(&world, "orders", 2, 3), KS_OK);
    append_to("orders", 4, 1);
    world_fini(&world);
}
END_TEST

/* The copy was made in the middle of a reshard, which ended. */
START_TEST(a_reshard_that_the_copy_has_half_is_whole)
{
    setup(1);
    append_to("orders", 0, 5);
    copy = world_copy_catalog(&world);
    ck_assert_int_eq(world_split(&world, "orders", 0, HALF), KS_OK);
    append_to("orders", 1, 5);
    append_to("orders", 2, 5);
    world_flush(&world);
    ck_assert_int_eq(world_merge(&world, "orders", 1, 2), KS_OK);
    append_to("orders", 3, 5);
    if (_i == 1)
        world_flush(&world);
    lose_catalog();
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = world_stream(&world, "orders");
    check_all("orders", 0, 5);
    check_all("orders", 1, 5);
    check_all("orders", 2, 5);
    ck_assert_uint_eq(stream->open_count, 1);
    if (_i == 1) {
        const struct ks_shard *merged = ks_stream_shard(stream, 3);
        check_all("orders", 3, 5);
        ck_assert(merged->is_open && merged->has_parent && merged->has_adjacent_parent);
        ck_assert_uint_eq(merged->parent_index + merged->adjacent_parent_index, 3);
    }
    ks_stream_unref(KS_TAKE(stream));
    world_fini(&world);
}
END_TEST

/* Whatever is gone by now, no sequence is given out twice. */
START_TEST(sequences_of_expired_records_are_not_used_again)
{
    setup(1);
    append_to("orders", 0, 10);
    world_flush(&world);
    copy = world_copy_catalog(&world);
    append_to("orders", 0, 200);
    world_flush(&world);
    uint64_t used = world_log(&world, "orders", 0)->next_sequence;
    ks_fake_clock_advance_ms(&world.clock, DAY_MS + 5000);
    ck_assert_int_eq(world_compact(&world), KS_OK);
    ck_assert_int_eq(world_create(&world, "views", 1), KS_OK);
    append_to("views", 0, 300); /* takes over the files, and the journal */
    world_flush(&world);
    world_restart(&world, true);
    lose_catalog();
    ck_assert_uint_ge(world_log(&world, "orders", 0)->next_sequence, used);
    check_all("views", 0, 300);
    uint64_t damaged = 0;
    append_to("orders", 0, 2);
    uint64_t from = world_log(&world, "orders", 0)->next_sequence - 2 * PER_BATCH;
    ck_assert_uint_ge(from, used);
    ck_assert_uint_eq(
        world_read_all(&world, world_log(&world, "orders", 0), from, &damaged), 2 * PER_BATCH);
    world_restart(&world, false);
    ck_assert_uint_ge(world_log(&world, "orders", 0)->next_sequence, used);
    world_fini(&world);
}
END_TEST

START_TEST(a_stream_made_anew_under_its_name_is_the_one_that_counts)
{
    setup(1);
    append_to("orders", 0, 40);
    world_flush(&world);
    copy = world_copy_catalog(&world);
    ck_assert_int_eq(world_delete(&world, "orders"), KS_OK);
    ks_fake_clock_advance_ms(&world.clock, 2000);
    ck_assert_int_eq(world_create(&world, "orders", 1), KS_OK);
    append_to("orders", 0, 12);
    world_flush(&world);
    lose_catalog();
    check_all("orders", 0, 12);
    append_to("orders", 0, 1);
    world_restart(&world, false);
    check_all("orders", 0, 13);
    world_fini(&world);
}
END_TEST

START_TEST(a_catalog_that_is_none_older_stays_as_it_is)
{
    setup(2);
    append_to("orders", 0, 100);
    world_flush(&world);
    append_to("orders", 1, 10);
    copy = world_copy_catalog(&world);
    lose_catalog();
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = world_stream(&world, "orders");
    ck_assert_uint_eq(stream->routing_epoch, 1);
    ck_assert_uint_eq(stream->retention_hours, 24);
    ck_assert_uint_eq(ks_engine_adopted(world.engine)->segments, 0);
    ck_assert_uint_eq(ks_engine_adopted(world.engine)->streams, 0);
    check_all("orders", 0, 100);
    check_all("orders", 1, 10);
    ks_stream_unref(KS_TAKE(stream));
    world_fini(&world);
}
END_TEST

/* Nothing is changed until all of it is: the power may go at any moment. */
START_TEST(a_start_that_is_cut_short_is_made_again)
{
    struct ks_error error = KS_ERROR_INIT;
    setup(1);
    copy = world_copy_catalog(&world);
    append_to("orders", 0, 100);
    world_flush(&world);
    append_to("orders", 0, 5);
    world.is_catalog_copy = true;
    unsigned cuts = 0;
    enum ks_status st = KS_IO;
    for (world.cut_after = 1; st; world.cut_after++) {
        st = world_restart_with(&world, KS_TAKE(copy), &error);
        cuts += st != KS_OK;
    }
    ck_assert_uint_gt(cuts, 3);
    check_all("orders", 0, 105);
    world_fini(&world);
}
END_TEST

KS_SUITE("storage/adopt")
{
    KS_TEST_LOOP(nothing_is_lost_with_an_older_catalog, 16);
    KS_TEST_LOOP(an_older_catalog_is_accepted_only_when_somebody_says_so, 2);
    KS_TEST(a_stream_made_since_comes_back_from_its_segments);
    KS_TEST(records_of_which_only_the_journal_knows_get_a_stream);
    KS_TEST_LOOP(a_reshard_made_since_is_found_again, 4);
    KS_TEST_LOOP(a_reshard_that_the_copy_has_half_is_whole, 2);
    KS_TEST(sequences_of_expired_records_are_not_used_again);
    KS_TEST(a_stream_made_anew_under_its_name_is_the_one_that_counts);
    KS_TEST(a_catalog_that_is_none_older_stays_as_it_is);
    KS_TEST(a_start_that_is_cut_short_is_made_again);
}
