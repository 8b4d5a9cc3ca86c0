/* Retention as readers see it, and the compactor: on the simulated disk. */
#include "base/alloc.h"
#include "tests/unit/ks_check.h"
#include "tests/unit/storage/retention_rig.h"

/* ---- what readers see ---- */

START_TEST(a_record_in_memory_expires_to_the_millisecond)
{
    world_init(&world);
    world.limits.flush_age_ms = 100 * DAY_MS; /* nothing is flushed */
    world_open(&world);
    ck_assert_int_eq(world_create(&world, "orders", 1), KS_OK);
    struct ks_log *log = world_log(&world, "orders", 0);
    put(log, 100);
    advance(5);
    put(log, 100);
    advance(DAY_MS - 5);
    ck_assert_uint_eq(log->segments.count, 0);
    ck_assert_uint_eq(first_read(log), 1);
    ck_assert_uint_eq(first_bound(log), 1);
    advance(1);
    ck_assert_uint_eq(first_read(log), 2);
    ck_assert_uint_eq(first_bound(log), 2);
    ck_assert_uint_eq(time_of_zero(log), 2);
    advance(5);
    ck_assert_uint_eq(first_read(log), 0);
    ck_assert_uint_eq(first_bound(log), 3);
    ck_assert_uint_eq(time_of_zero(log), 3);
    /* New ones are there as ever, under the next number. */
    put(log, 100);
    ck_assert_uint_eq(first_read(log), 3);
    world_fini(&world);
}
END_TEST

/* Sealed and active, with the index and without, before the compactor has done anything. */
START_TEST(a_record_in_a_segment_expires_to_the_millisecond)
{
    world_init(&world);
    world.limits.segment_bytes = 32768;
    world.has_no_index = _i % 2;
    world_open(&world);
    ck_assert_int_eq(world_create(&world, "orders", 1), KS_OK);
    struct ks_log *log = world_log(&world, "orders", 0);
    uint64_t start = world.clock.unix_ms;
    put_minutely(log, 60, 1000);
    ck_assert_uint_gt(log->segments.count, 1);
    ck_assert_int_eq(log->segments.items[0]->state, KS_SEGMENT_SEALED);
    for (uint64_t n = 1; n <= 60; n++) {
        uint64_t arrival = start + (n - 1) * MINUTE_MS;
        world.clock.unix_ms = arrival + DAY_MS;
        ck_assert_uint_eq(first_read(log), n);
        world.clock.unix_ms = arrival + DAY_MS + 1;
        ck_assert_uint_eq(time_of_zero(log), n + 1);
        ck_assert_uint_eq(first_read(log), n < 60 ? n + 1 : 0);
    }
    ck_assert_uint_eq(counter(KS_COUNT_SEGMENTS_RETIRED), 0);
    world_fini(&world);
}
END_TEST

START_TEST(a_time_before_the_horizon_leads_to_the_horizon)
{
    setup();
    struct ks_log *log = world_log(&world, "orders", 0);
    uint64_t start = world.clock.unix_ms;
    put_minutely(log, 30, 100);
    world.clock.unix_ms = start + DAY_MS + 10 * MINUTE_MS;
    for (uint64_t minute = 0; minute < 30; minute++) {
        uint64_t found = 0;
        ck_assert_int_eq(
            ks_log_find_time(log, start + minute * MINUTE_MS, true, &found, NULL), KS_OK);
        ck_assert_uint_eq(found, ks_max_u64(minute, 10) + 1);
    }
    world_fini(&world);
}
END_TEST

START_TEST(a_read_that_may_not_wait_does_not_search_for_the_horizon)
{
    setup();
    struct ks_log *log = world_log(&world, "orders", 0);
    uint64_t start = world.clock.unix_ms;
    put_minutely(log, 30, 900);
    world_restart(&world, false);
    log = world_log(&world, "orders", 0);
    world.clock.unix_ms = start + DAY_MS + 10 * MINUTE_MS + 1;
    struct ks_read read;
    struct ks_read_request request = {.from_sequence = 1, .bytes_max = 1, .records_max = 1};
    ck_assert_int_eq(ks_log_read(log, &request, &read, NULL), KS_WOULD_BLOCK);
    ck_assert_uint_eq(first_read(log), 12);
    /* It goes on from there. */
    request.from_sequence = 13;
    ck_assert_int_eq(ks_log_read(log, &request, &read, NULL), KS_OK);
    ck_assert_uint_eq(read.next_sequence, 14);
    ks_read_release(&read);
    world_fini(&world);
}
END_TEST

/* ---- the compactor ---- */

START_TEST(expired_segments_are_retired_and_their_files_used_again)
{
    setup();
    struct ks_log *log = world_log(&world, "orders", 0);
    put_minutely(log, 120, 1000);
    uint32_t segments = log->segments.count;
    ck_assert_uint_gt(segments, 3);
    uint64_t index_rows = counter(KS_COUNT_INDEX_WRITTEN);
    ck_assert_uint_gt(index_rows, 0);
    advance(DAY_MS);
    compact();
    ck_assert_uint_eq(log->segments.count, 0);
    ck_assert_uint_eq(counter(KS_COUNT_SEGMENTS_RETIRED), segments);
    ck_assert_uint_eq(counter(KS_COUNT_RECORDS_RETIRED), 120);
    ck_assert_uint_eq(counter(KS_COUNT_SEGMENTS_HELD), 0);
    /* Files beyond the pool are gone from disk, rows of the index too. */
    struct ks_kv_txn *txn = NULL;
    ck_assert_int_eq(ks_kv_begin(ks_index_kv(world.engine->index), false, &txn, NULL), KS_OK);
    struct ks_view key;
    struct ks_view value;
    ck_assert_int_eq(
        ks_kv_at_or_after(txn, 0, ks_view_of("", 0), &key, &value, NULL), KS_NOT_FOUND);
    ks_kv_abort(txn);
    ck_assert_uint_eq(first_bound(log), 121);
    uint64_t recycled = counter(KS_COUNT_FILES_RECYCLED);
    put(log, 1000);
    world_flush(&world);
    ck_assert_uint_eq(counter(KS_COUNT_FILES_RECYCLED), recycled + 1);
    ck_assert_uint_eq(first_read(log), 121);
    world_restart(&world, false);
    ck_assert_uint_eq(first_read(world_log(&world, "orders", 0)), 121);
    world_fini(&world);
}
END_TEST

START_TEST(nothing_that_can_be_read_is_retired)
{
    setup();
    struct ks_log *log = world_log(&world, "orders", 0);
    uint64_t start = world.clock.unix_ms;
    put_minutely(log, 120, 1000);
    for (uint64_t minute = 1; minute < 120; minute += 7) {
        world.clock.unix_ms = start + DAY_MS + minute * MINUTE_MS - 2000;
        world.clock.mono_ns += 1000000000;
        compact();
        /* Four seconds have gone by. */
        ck_assert_uint_eq(first_read(log), minute + 2);
        ck_assert_uint_le(log->segments.items[0]->first_sequence, minute + 2);
        ck_assert_uint_eq(world_read_all(&world, log, minute + 2, NULL), 120 - minute - 1);
    }
    world_fini(&world);
}
END_TEST

START_TEST(bounds_are_at_most_a_minute_late)
{
    world_init(&world);
    world_open(&world);
    ck_assert_int_eq(world_create(&world, "orders", 1), KS_OK);
    struct ks_log *log = world_log(&world, "orders", 0);
    uint64_t start = world.clock.unix_ms;
    for (int i = 0; i < 200; i++) {
        put(log, 50);
        advance(5000);
    }
    world_flush(&world);
    ck_assert_uint_eq(log->segments.count, 1);
    world.clock.unix_ms = start + DAY_MS;
    for (int i = 0; i < 500; i++) {
        advance(2000);
        world_pump(&world);
        uint64_t horizon = world.clock.unix_ms - DAY_MS;
        uint64_t exact = (horizon - start + 4999) / 5000 + 1;
        uint64_t late =
            horizon < start + MINUTE_MS ? 1 : (horizon - MINUTE_MS - start + 4999) / 5000 + 1;
        ck_assert_uint_le(first_bound(log), ks_min_u64(exact, 201));
        ck_assert_uint_ge(first_bound(log), ks_min_u64(late, 201));
    }
    ck_assert_uint_eq(first_bound(log), 201);
    world_fini(&world);
}
END_TEST

START_TEST(the_segment_of_a_trickling_shard_ends_when_its_oldest_record_expires)
{
    setup();
    struct ks_log *log = world_log(&world, "orders", 0);
    for (int hour = 0; hour < 30; hour++) {
        put(log, 100);
        world_flush(&world);
        advance(HOUR_MS);
        compact();
    }
    /* One segment of 24 hours is sealed, the newest records are in another. */
    ck_assert_uint_eq(log->segments.count, 2);
    ck_assert_int_eq(log->segments.items[0]->state, KS_SEGMENT_SEALED);
    ck_assert_int_eq(log->segments.items[1]->state, KS_SEGMENT_ACTIVE);
    ck_assert_uint_eq(counter(KS_COUNT_SEGMENTS_AGED), 1);
    advance(3 * DAY_MS);
    compact();
    ck_assert_uint_eq(log->segments.count, 0);
    ck_assert_uint_eq(first_bound(log), 31);
    world_fini(&world);
}
END_TEST

START_TEST(a_slow_reader_keeps_what_it_reads_and_nobody_else_writes_there)
{
    setup();
    struct ks_log *log = world_log(&world, "orders", 0);
    put_minutely(log, 120, 1000);
    struct ks_read read;
    struct ks_read_request request = {
        .from_sequence = 1, .bytes_max = 20000, .records_max = 10, .may_block = true};
    ck_assert_int_eq(ks_log_read(log, &request, &read, NULL), KS_OK);
    KS_AUTO_FREE uint8_t *before = ks_memdup(read.extents[0].data, read.extents[0].bytes);
    advance(DAY_MS);
    compact();
    ck_assert_uint_eq(log->segments.count, 0);
    ck_assert_uint_eq(counter(KS_COUNT_SEGMENTS_HELD), 1);
    struct ks_compactor_status status;
    ks_compactor_describe(world.engine, &status);
    ck_assert_uint_eq(status.segments_held, 1);
    ck_assert_uint_gt(status.bytes_held, 0);
    put_minutely(log, 120, 1000);
    ck_assert_mem_eq(before, read.extents[0].data, read.extents[0].bytes);
    ks_read_release(&read);
    ck_assert_uint_eq(counter(KS_COUNT_SEGMENTS_HELD), 0);
    ck_assert_uint_eq(counter(KS_COUNT_BYTES_HELD), 0);
    world_pump(&world);
    world_fini(&world);
}
END_TEST

START_TEST(a_refused_commit_changes_nothing_and_is_tried_again)
{
    setup();
    struct ks_log *log = world_log(&world, "orders", 0);
    put_minutely(log, 60, 1000);
    uint32_t segments = log->segments.count;
    advance(DAY_MS);
    fail_next_commit();
    world_pump(&world);
    ck_assert_uint_eq(log->segments.count, segments);
    ck_assert_uint_eq(counter(KS_COUNT_SEGMENTS_RETIRED), 0);
    struct ks_compactor_status status;
    ks_compactor_describe(world.engine, &status);
    ck_assert_uint_ge(status.commits_refused, 1);
    compact();
    ck_assert_uint_eq(log->segments.count, 0);
    world_fini(&world);
}
END_TEST

START_TEST(so_many_segments_a_second_and_all_of_them_when_asked)
{
    world_init(&world);
    world.limits.segment_bytes = 32768;
    world.limits.compact_files_per_s = 2;
    world_open(&world);
    ck_assert_int_eq(world_create(&world, "orders", 1), KS_OK);
    struct ks_log *log = world_log(&world, "orders", 0);
    put_minutely(log, 400, 1000);
    uint64_t all = log->segments.count;
    world.clock.unix_ms += DAY_MS + HOUR_MS * 7;
    world_pump(&world);
    uint64_t first = counter(KS_COUNT_SEGMENTS_RETIRED);
    for (uint64_t second = 1; second <= 3; second++) {
        advance(1000);
        world_pump(&world);
        ck_assert_uint_eq(counter(KS_COUNT_SEGMENTS_RETIRED), first + 2 * second);
    }
    ck_assert_int_eq(world_compact(&world), KS_OK);
    ck_assert_uint_eq(counter(KS_COUNT_SEGMENTS_RETIRED), all);
    struct ks_compactor_status status;
    ks_compactor_describe(world.engine, &status);
    ck_assert(!status.is_running);
    ck_assert_uint_eq(status.last.segments, all);
    ck_assert_uint_eq(status.last.records, 400);
    ck_assert_uint_gt(status.last.bytes, 400 * 1000);
    ck_assert_uint_ge(status.last.ended_unix_ms, status.last.started_unix_ms);
    world_fini(&world);
}
END_TEST

START_TEST(a_start_after_days_retires_what_expired_meanwhile)
{
    setup();
    struct ks_log *log = world_log(&world, "orders", 0);
    put_minutely(log, 60, 1000);
    put(world_log(&world, "orders", 1), 100); /* in the journal only */
    ck_assert_int_eq(ks_engine_stop(world.engine, 1000, NULL), KS_OK);
    advance(8 * DAY_MS);
    world_restart(&world, _i % 2);
    log = world_log(&world, "orders", 0);
    ck_assert_uint_eq(first_read(log), 0);
    ck_assert_uint_eq(first_read(world_log(&world, "orders", 1)), 0);
    compact();
    ck_assert_uint_eq(log->segments.count, 0);
    ck_assert_uint_eq(first_bound(log), 61);
    put(log, 100);
    ck_assert_uint_eq(first_read(log), 61);
    world_fini(&world);
}
END_TEST

/* Lost records have no arrival: their loss is told as long as what surrounds them can be read. */
START_TEST(damage_next_to_the_horizon_is_told)
{
    setup();
    struct ks_log *log = world_log(&world, "orders", 0);
    uint64_t start = world.clock.unix_ms;
    put_minutely(log, 60, 1000);
    const struct ks_segment *segment = log->segments.items[0];
    char path[KS_FILE_PATH_BYTES];
    ks_files_path(segment->file_id, path);
    /* The header of the eleventh batch. */
    uint64_t batch_bytes =
        (segment->readable_bytes - KS_SEGMENT_HEADER_BYTES) / segment->batch_count;
    ks_io_sim_flip_bit(world.disk, path, KS_SEGMENT_HEADER_BYTES + 10 * batch_bytes + 12, 3);
    world_restart(&world, true);
    log = world_log(&world, "orders", 0);
    world.clock.unix_ms = start + DAY_MS + 9 * MINUTE_MS + 1; /* the tenth has expired */
    struct ks_read read;
    struct ks_read_request request = {
        .from_sequence = 1, .bytes_max = 4096, .records_max = 10, .may_block = true};
    ck_assert_int_eq(ks_log_read(log, &request, &read, NULL), KS_OK);
    struct ks_batch_view batch;
    ck_assert_int_eq(ks_batch_decode(read.extents[0], &batch), KS_OK);
    ck_assert_int_eq(batch.header.kind, KS_BATCH_DAMAGED);
    ck_assert_uint_le(batch.header.first_sequence, 11);
    ck_assert_uint_gt(read.next_sequence, 11);
    ks_read_release(&read);
    /* With the twelfth gone, so is the question. */
    world.clock.unix_ms = start + DAY_MS + 11 * MINUTE_MS + 1;
    ck_assert_uint_eq(first_read(log), 13);
    world_fini(&world);
}
END_TEST

/* ---- what would be ---- */

START_TEST(a_survey_tells_what_a_pass_then_does)
{
    setup();
    struct ks_log *log = world_log(&world, "orders", 0);
    uint64_t start = world.clock.unix_ms;
    put_minutely(log, 120, 1000);
    struct ks_compact_scope scope = {.stream_number = 0};
    struct ks_compact_survey survey;
    ks_compact_survey(world.engine, &scope, &survey);
    ck_assert_uint_eq(survey.segments, 0);
    ck_assert_uint_eq(survey.oldest_unix_ms, 0);
    struct ks_read read;
    struct ks_read_request request = {
        .from_sequence = 1, .bytes_max = 1, .records_max = 1, .may_block = true};
    ck_assert_int_eq(ks_log_read(log, &request, &read, NULL), KS_OK);
    ks_read_release(&read);
    world.clock.unix_ms = start + DAY_MS + 60 * MINUTE_MS;
    ks_compact_survey(world.engine, &scope, &survey);
    ck_assert_uint_gt(survey.segments, 0);
    ck_assert_uint_eq(survey.oldest_unix_ms, start);
    ck_assert_uint_lt(survey.newest_unix_ms, start + 60 * MINUTE_MS);
    ck_assert_uint_eq(survey.readers_hit, 1);
    ck_assert_uint_eq(survey.records_hidden, 0);
    compact();
    struct ks_compactor_status status;
    ks_compactor_describe(world.engine, &status);
    ck_assert_uint_eq(status.last.segments, survey.segments);
    ck_assert_uint_eq(status.last.bytes, survey.bytes);
    ck_assert_uint_eq(status.last.records, survey.records);
    world_fini(&world);
}
END_TEST

START_TEST(a_survey_tells_what_a_change_would_cost)
{
    setup();
    struct ks_log *log = world_log(&world, "orders", 0);
    uint64_t start = world.clock.unix_ms;
    ck_assert_int_eq(world_set_retention(&world, "orders", 72), KS_OK);
    put_minutely(log, 120, 1000);
    world.clock.unix_ms = start + DAY_MS + 60 * MINUTE_MS;
    struct ks_stream *stream = NULL;
    ck_assert_int_eq(ks_registry_find(world.engine, "orders", &stream), KS_OK);
    struct ks_compact_scope scope = {.stream_number = stream->number, .retention_hours = 24};
    struct ks_compact_survey survey;
    ks_compact_survey(world.engine, &scope, &survey);
    ck_assert_uint_eq(survey.records_hidden, 60);
    ck_assert_uint_gt(survey.segments, 0);
    ck_assert_uint_le(survey.records, 60);
    scope = (struct ks_compact_scope){.stream_number = stream->number, .is_everything = true};
    ks_compact_survey(world.engine, &scope, &survey);
    ck_assert_uint_eq(survey.records_hidden, 120);
    ck_assert_uint_eq(survey.segments, log->segments.count);
    ks_stream_unref(stream);
    world_fini(&world);
}
END_TEST

static enum ks_status deleted_with;

static void deleted(struct ks_mail *mail)
{
    deleted_with = KS_CONTAINER_OF(mail, struct ks_admin, mail)->status;
}

static void step_until_idle(const char *name)
{
    struct ks_step *steps[16];
    size_t count = ks_engine_steps(world.engine, steps, 16);
    for (size_t i = 0; i < count; i++) {
        while (strcmp(steps[i]->name, name) == 0 && steps[i]->begin(steps[i]->self)) {
            steps[i]->run(steps[i]->self);
            steps[i]->end(steps[i]->self);
        }
    }
}

/* The compactor came by while the delete was under way. */
START_TEST(a_stream_whose_delete_is_refused_expires_as_before)
{
    setup();
    struct ks_log *log = world_log(&world, "orders", 0);
    put_minutely(log, 40, 1000);
    ck_assert_uint_gt(log->segments.count, 1);
    advance(DAY_MS + HOUR_MS);
    struct ks_admin admin = {.mail = {.deliver = deleted}, .home = &world.box};
    ck_assert_int_eq(ks_stream_delete(world.engine, "orders", &admin, NULL), KS_OK);
    step_until_idle("retention");
    fail_next_commit();
    step_until_idle("catalog");
    ks_mailbox_deliver(&world.box);
    ck_assert_int_eq(deleted_with, KS_STORAGE_FULL);
    ck_assert_int_eq(world_status(&world, "orders"), KS_STREAM_ACTIVE);
    ck_assert_uint_gt(log->segments.count, 1);
    compact();
    ck_assert_uint_eq(log->segments.count, 0);
    world_fini(&world);
}
END_TEST

KS_SUITE("storage/retention")
{
    KS_TEST(a_record_in_memory_expires_to_the_millisecond);
    KS_TEST_LOOP(a_record_in_a_segment_expires_to_the_millisecond, 2);
    KS_TEST(a_time_before_the_horizon_leads_to_the_horizon);
    KS_TEST(a_read_that_may_not_wait_does_not_search_for_the_horizon);
    KS_TEST(expired_segments_are_retired_and_their_files_used_again);
    KS_TEST(nothing_that_can_be_read_is_retired);
    KS_TEST(bounds_are_at_most_a_minute_late);
    KS_TEST(the_segment_of_a_trickling_shard_ends_when_its_oldest_record_expires);
    KS_TEST(a_slow_reader_keeps_what_it_reads_and_nobody_else_writes_there);
    KS_TEST(a_refused_commit_changes_nothing_and_is_tried_again);
    KS_TEST(so_many_segments_a_second_and_all_of_them_when_asked);
    KS_TEST_LOOP(a_start_after_days_retires_what_expired_meanwhile, 2);
    KS_TEST(damage_next_to_the_horizon_is_told);
    KS_TEST(a_survey_tells_what_a_pass_then_does);
    KS_TEST(a_survey_tells_what_a_change_would_cost);
    KS_TEST(a_stream_whose_delete_is_refused_expires_as_before);
}
