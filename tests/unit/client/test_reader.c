/* Readers through lost connections, dead iterators, damage and the end of a shard. */
#include "tests/unit/client/fake_broker.h"
#include "tests/unit/ks_check.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#define RECORDS 250 /* three answers of the fake broker */

struct scene {
    struct fake_broker *broker;
    struct kstream_client *client;
};

static struct scene scene_open(uint32_t shards)
{
    struct scene scene = {.broker = fake_broker_start(shards)};
    scene.client = fake_broker_connect(scene.broker, "10000");
    return scene;
}

static void scene_close(struct scene *scene)
{
    kstream_close(scene->client);
    fake_broker_stop(scene->broker);
}

static void scene_fill(struct scene *scene, uint32_t shard, int from, int to)
{
    for (int i = from; i < to; i++) {
        char text[32];
        snprintf(text, sizeof text, "record %d", i);
        fake_broker_append(scene->broker, shard, "key", text);
    }
}

static struct kstream_reader *open_reader(
    struct scene *scene, const char *shard_id, struct kstream_position position)
{
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_reader *reader = NULL;
    enum kstream_status st =
        kstream_reader_open(scene->client, "clicks", shard_id, position, NULL, &reader, &err);
    ck_assert_msg(st == KSTREAM_OK, "%s", err.text);
    return reader;
}

static void check_record(const struct kstream_batch *batch, size_t index, int number)
{
    const struct kstream_record *record = kstream_batch_record(batch, index);
    char text[32];
    snprintf(text, sizeof text, "record %d", number);
    ck_assert_uint_eq(record->lost_records, 0);
    ck_assert_uint_eq(record->data_bytes, strlen(text));
    ck_assert_mem_eq(record->data, text, record->data_bytes);
}

/* Reads on until nothing is left; records next, next + 1... Returns the number behind the last. */
static int read_all(struct kstream_reader *reader, int next)
{
    struct kstream_error err = KSTREAM_ERROR_INIT;
    for (;;) {
        struct kstream_batch *batch = NULL;
        enum kstream_status st = kstream_reader_next(reader, 0, &batch, &err);
        if (st == KSTREAM_UNAVAILABLE)
            continue; /* "call again to go on" */
        if (st == KSTREAM_TIMEOUT)
            return next;
        ck_assert_msg(st == KSTREAM_OK, "%s", err.text);
        for (size_t i = 0; i < kstream_batch_count(batch); i++)
            check_record(batch, i, next++);
        kstream_batch_free(batch);
    }
}

START_TEST(a_reader_gets_everything_from_the_start_and_says_when_that_is_all)
{
    struct scene scene = scene_open(1);
    scene_fill(&scene, 0, 0, RECORDS);
    struct kstream_reader *reader =
        open_reader(&scene, "shardId-000000000000", kstream_from_trim_horizon());
    ck_assert_int_eq(read_all(reader, 0), RECORDS);
    scene_fill(&scene, 0, RECORDS, RECORDS + 10);
    ck_assert_int_eq(read_all(reader, RECORDS), RECORDS + 10);
    kstream_reader_close(reader);
    scene_close(&scene);
}
END_TEST

static const enum fake_fault reader_faults[] = {FAKE_CLOSE_BEFORE, FAKE_CLOSE_AFTER,
    FAKE_HALF_ANSWER, FAKE_GARBAGE, FAKE_WRONG_ANSWER, FAKE_NOTHING_YET, FAKE_ERROR};

START_TEST(a_lost_answer_neither_skips_nor_repeats_a_record)
{
    struct scene scene = scene_open(1);
    scene_fill(&scene, 0, 0, RECORDS);
    struct kstream_reader *reader =
        open_reader(&scene, "shardId-000000000000", kstream_from_trim_horizon());
    fake_broker_error_status(scene.broker, KS_THROTTLED);
    fake_broker_plan(scene.broker, KS_OP_GET_RECORDS, 1, reader_faults[_i]);
    fake_broker_plan(scene.broker, KS_OP_GET_RECORDS, 3, reader_faults[_i]);
    struct kstream_error err = KSTREAM_ERROR_INIT;
    for (int next = 0; next < RECORDS;) {
        struct kstream_batch *batch = NULL;
        enum kstream_status st = kstream_reader_next(reader, 20000, &batch, &err);
        ck_assert_msg(st == KSTREAM_OK, "%s: %s", kstream_status_name(st), err.text);
        for (size_t i = 0; i < kstream_batch_count(batch); i++)
            check_record(batch, i, next++);
        kstream_batch_free(batch);
    }
    ck_assert_int_eq(read_all(reader, RECORDS), RECORDS);
    kstream_reader_close(reader);
    scene_close(&scene);
}
END_TEST

START_TEST(an_expired_iterator_is_renewed_from_the_position)
{
    struct scene scene = scene_open(1);
    scene_fill(&scene, 0, 0, RECORDS);
    struct kstream_reader *reader =
        open_reader(&scene, "shardId-000000000000", kstream_from_trim_horizon());
    fake_broker_error_status(scene.broker, KS_EXPIRED_ITERATOR);
    fake_broker_plan(scene.broker, KS_OP_GET_RECORDS, 2, FAKE_ERROR);
    ck_assert_int_eq(read_all(reader, 0), RECORDS);
    ck_assert_uint_eq(fake_broker_requests(scene.broker, KS_OP_GET_SHARD_ITERATOR), 2);
    kstream_reader_close(reader);
    scene_close(&scene);
}
END_TEST

START_TEST(latest_survives_a_lost_iterator)
{
    struct scene scene = scene_open(1);
    struct kstream_reader *reader =
        open_reader(&scene, "shardId-000000000000", kstream_from_latest());
    ck_assert_int_eq(read_all(reader, 0), 0);
    ck_assert_int_eq(kstream_reader_position(reader).type, KSTREAM_AT_TIMESTAMP);
    ck_assert_uint_eq(kstream_reader_position(reader).timestamp_unix_ms, FAKE_NOW_UNIX_MS);
    scene_fill(&scene, 0, 0, 10);
    fake_broker_error_status(scene.broker, KS_EXPIRED_ITERATOR);
    fake_broker_plan(scene.broker, KS_OP_GET_RECORDS, 1, FAKE_ERROR);
    ck_assert_int_eq(read_all(reader, 0), 10);
    kstream_reader_close(reader);
    scene_close(&scene);
}
END_TEST

START_TEST(a_position_kept_as_text_goes_on_behind_the_last_record)
{
    struct scene scene = scene_open(1);
    scene_fill(&scene, 0, 0, 30);
    struct kstream_reader *reader =
        open_reader(&scene, "shardId-000000000000", kstream_from_trim_horizon());
    ck_assert_int_eq(read_all(reader, 0), 30);
    struct kstream_position position = kstream_reader_position(reader);
    kstream_reader_close(reader);
    char text[KSTREAM_POSITION_BYTES];
    kstream_position_to_text(&position, text);
    ck_assert_int_eq(kstream_position_from_text(text, &position, NULL), KSTREAM_OK);
    scene_fill(&scene, 0, 30, 40);
    reader = open_reader(&scene, "shardId-000000000000", position);
    ck_assert_int_eq(read_all(reader, 30), 40);
    kstream_reader_close(reader);
    scene_close(&scene);
}
END_TEST

START_TEST(a_closed_shard_ends_after_its_last_record)
{
    struct scene scene = scene_open(1);
    struct kstream_error err = KSTREAM_ERROR_INIT;
    scene_fill(&scene, 0, 0, 5);
    fake_broker_close_shard(scene.broker, 0);
    struct kstream_reader *reader =
        open_reader(&scene, "shardId-000000000000", kstream_from_trim_horizon());
    struct kstream_batch *batch = NULL;
    ck_assert_int_eq(kstream_reader_next(reader, 5000, &batch, &err), KSTREAM_OK);
    ck_assert_uint_eq(kstream_batch_count(batch), 5);
    kstream_batch_free(batch);
    ck_assert_int_eq(kstream_reader_next(reader, 5000, &batch, &err), KSTREAM_END);
    ck_assert_int_eq(kstream_reader_next(reader, 0, &batch, &err), KSTREAM_END);
    kstream_reader_close(reader);
    scene_close(&scene);
}
END_TEST

START_TEST(damage_is_told_in_its_place_and_reading_goes_on)
{
    struct scene scene = scene_open(1);
    struct kstream_error err = KSTREAM_ERROR_INIT;
    scene_fill(&scene, 0, 0, RECORDS);
    fake_broker_plan(scene.broker, KS_OP_GET_RECORDS, 1, FAKE_DAMAGE_RECORD);
    struct kstream_reader *reader =
        open_reader(&scene, "shardId-000000000000", kstream_from_trim_horizon());
    struct kstream_batch *batch = NULL;
    ck_assert_int_eq(kstream_reader_next(reader, 5000, &batch, &err), KSTREAM_OK);
    ck_assert_uint_eq(kstream_batch_count(batch), 100);
    ck_assert_uint_eq(kstream_batch_lost_records(batch), 1);
    ck_assert_uint_eq(kstream_batch_record(batch, 99)->lost_records, 1);
    ck_assert_uint_eq(kstream_batch_record(batch, 99)->ordinal, 100);
    kstream_batch_free(batch);
    ck_assert_int_eq(read_all(reader, 100), RECORDS);
    kstream_reader_close(reader);
    scene_close(&scene);
}
END_TEST

START_TEST(an_absent_broker_is_said_and_reading_goes_on_when_it_is_back)
{
    struct scene scene = scene_open(1);
    struct kstream_error err = KSTREAM_ERROR_INIT;
    scene_fill(&scene, 0, 0, RECORDS);
    struct kstream_reader *reader =
        open_reader(&scene, "shardId-000000000000", kstream_from_trim_horizon());
    struct kstream_batch *batch = NULL;
    fake_broker_away(scene.broker, true);
    /* What was on its way already is handed out first. */
    int next = 0;
    enum kstream_status st;
    while ((st = kstream_reader_next(reader, 100, &batch, &err)) == KSTREAM_OK) {
        next += (int)kstream_batch_count(batch);
        kstream_batch_free(batch);
    }
    ck_assert_int_eq(st, KSTREAM_UNAVAILABLE);
    ck_assert_int_lt(next, RECORDS);
    ck_assert_uint_gt(strlen(err.text), 0);
    fake_broker_away(scene.broker, false);
    ck_assert_int_eq(read_all(reader, next), RECORDS);
    kstream_reader_close(reader);
    scene_close(&scene);
}
END_TEST

START_TEST(many_readers_share_one_wait_and_none_is_hidden)
{
    struct scene scene = scene_open(3);
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_reader *readers[3];
    int next[3] = {0};
    for (uint32_t i = 0; i < 3; i++) {
        char shard_id[KSTREAM_SHARD_ID_BYTES];
        snprintf(shard_id, sizeof shard_id, "shardId-%012u", i);
        scene_fill(&scene, i, 0, RECORDS);
        readers[i] = open_reader(&scene, shard_id, kstream_from_trim_horizon());
    }
    /* Each has a batch that waits. */
    struct pollfd poller = {.fd = kstream_fd(scene.client, &err), .events = POLLIN};
    for (size_t ready = 0; ready < 3; ready += kstream_process(scene.client))
        ck_assert_int_eq(poll(&poller, 1, 20000), 1);
    fake_broker_plan(scene.broker, KS_OP_GET_RECORDS, 2, FAKE_CLOSE_BEFORE);
    size_t which = 9;
    struct kstream_batch *batch = NULL;
    enum kstream_status st = KSTREAM_OK;
    int batches = 0;
    while ((st = kstream_reader_next_any(readers, 3, 5000, &which, &batch, &err)) == KSTREAM_OK) {
        for (size_t i = 0; i < kstream_batch_count(batch); i++)
            check_record(batch, i, next[which]++);
        kstream_batch_free(batch);
        if (++batches == 3) /* each has had its turn before one has a second */
            for (int i = 0; i < 3; i++)
                ck_assert_int_eq(next[i], 100);
        if (next[0] + next[1] + next[2] == 3 * RECORDS)
            break;
    }
    ck_assert_msg(st == KSTREAM_OK, "%s", err.text);
    ck_assert_int_eq(kstream_reader_next_any(readers, 3, 0, &which, &batch, &err), KSTREAM_TIMEOUT);
    for (int i = 0; i < 3; i++)
        kstream_reader_close(readers[i]);
    scene_close(&scene);
}
END_TEST

START_TEST(a_shard_that_does_not_exist_is_said_when_the_reader_is_opened)
{
    struct scene scene = scene_open(1);
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_reader *reader = NULL;
    ck_assert_int_eq(kstream_reader_open(scene.client, "clicks", "shardId-000000000007",
                         kstream_from_trim_horizon(), NULL, &reader, &err),
        KSTREAM_NOT_FOUND);
    ck_assert_ptr_null(reader);
    scene_close(&scene);
}
END_TEST

KS_SUITE("client/reader")
{
    KS_TEST(a_reader_gets_everything_from_the_start_and_says_when_that_is_all);
    KS_TEST_LOOP(a_lost_answer_neither_skips_nor_repeats_a_record, (int)KS_COUNT_OF(reader_faults));
    KS_TEST(an_expired_iterator_is_renewed_from_the_position);
    KS_TEST(latest_survives_a_lost_iterator);
    KS_TEST(a_position_kept_as_text_goes_on_behind_the_last_record);
    KS_TEST(a_closed_shard_ends_after_its_last_record);
    KS_TEST(damage_is_told_in_its_place_and_reading_goes_on);
    KS_TEST(an_absent_broker_is_said_and_reading_goes_on_when_it_is_back);
    KS_TEST(many_readers_share_one_wait_and_none_is_hidden);
    KS_TEST(a_shard_that_does_not_exist_is_said_when_the_reader_is_opened);
}
