/* Readers of a whole stream: all shards, parents before children, a saved position. */
#include "base/alloc.h"
#include "client/reader_priv.h"
#include "tests/unit/client/fake_broker.h"
#include "tests/unit/ks_check.h"

#include <stdio.h>
#include <stdlib.h>

#define SHARDS_MAX FAKE_SHARDS_MAX

struct scene {
    struct fake_broker *broker;
    struct kstream_client *client;
    struct kstream_reader *reader;
    int next[SHARDS_MAX];   /* number of the next record of each shard */
    bool begun[SHARDS_MAX]; /* something of it was handed out */
};

static void scene_open(struct scene *scene, uint32_t shards)
{
    *scene = (struct scene){.broker = fake_broker_start(shards)};
    scene->client = fake_broker_connect(scene->broker, "10000");
}

static void scene_close(struct scene *scene)
{
    kstream_reader_close(scene->reader);
    kstream_close(scene->client);
    fake_broker_stop(scene->broker);
}

static void scene_read(struct scene *scene, struct kstream_position position, const char *saved)
{
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_reader_options options = KSTREAM_READER_OPTIONS_INIT;
    options.saved = saved;
    enum kstream_status st = kstream_reader_open(
        scene->client, "clicks", NULL, position, &options, &scene->reader, &err);
    ck_assert_msg(st == KSTREAM_OK, "%s", err.text);
}

/* Records from..to-1 of the shard. */
static void scene_fill(struct scene *scene, uint32_t shard, int from, int to)
{
    for (int i = from; i < to; i++) {
        char text[32];
        snprintf(text, sizeof text, "%u/%d", shard, i);
        fake_broker_append(scene->broker, shard, "key", text);
    }
}

/* Takes what is stored now and checks that each shard goes on where it was; returns the number. */
static size_t scene_drain(struct scene *scene)
{
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_batch *batch = NULL;
    enum kstream_status st;
    size_t count = 0;
    while ((st = kstream_reader_next(scene->reader, 0, &batch, &err)) == KSTREAM_OK ||
           st == KSTREAM_UNAVAILABLE) {
        if (st)
            continue; /* "call again to go on" */
        unsigned shard = 0;
        ck_assert_int_eq(sscanf(kstream_batch_shard_id(batch), "shardId-%u", &shard), 1);
        scene->begun[shard] = true;
        for (size_t i = 0; i < kstream_batch_count(batch); i++, count++) {
            const struct kstream_record *record = kstream_batch_record(batch, i);
            char text[32];
            int bytes = snprintf(text, sizeof text, "%u/%d", shard, scene->next[shard]++);
            ck_assert_uint_eq(record->data_bytes, (size_t)bytes);
            ck_assert_mem_eq(record->data, text, record->data_bytes);
        }
        kstream_batch_free(batch);
    }
    ck_assert_msg(st == KSTREAM_TIMEOUT, "%s: %s", kstream_status_name(st), err.text);
    return count;
}

static char *scene_save(const struct scene *scene)
{
    struct kstream_error err = KSTREAM_ERROR_INIT;
    char *text = NULL;
    ck_assert_int_eq(kstream_reader_save(scene->reader, &text, &err), KSTREAM_OK);
    return text;
}

START_TEST(all_shards_are_read_each_in_its_order)
{
    struct scene scene;
    scene_open(&scene, 5); /* the list of shards has two pages */
    for (uint32_t i = 0; i < 5; i++)
        scene_fill(&scene, i, 0, 250);
    fake_broker_plan(scene.broker, KS_OP_GET_RECORDS, 4, FAKE_CLOSE_BEFORE);
    fake_broker_plan(scene.broker, KS_OP_GET_RECORDS, 7, FAKE_HALF_ANSWER);
    scene_read(&scene, kstream_from_trim_horizon(), NULL);
    ck_assert_uint_eq(scene_drain(&scene), 1250);
    scene_fill(&scene, 3, 250, 260);
    ck_assert_uint_eq(scene_drain(&scene), 10);
    ck_assert_str_eq(kstream_reader_shard_id(scene.reader), "");
    scene_close(&scene);
}
END_TEST

/* Reads batch by batch: nothing of a child before the last record of its parents. */
static void drain_in_order(struct scene *scene, uint32_t child, uint32_t parent, int parent_records)
{
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_batch *batch = NULL;
    while (kstream_reader_next(scene->reader, 0, &batch, &err) == KSTREAM_OK) {
        unsigned shard = 0;
        ck_assert_int_eq(sscanf(kstream_batch_shard_id(batch), "shardId-%u", &shard), 1);
        if (shard == child && kstream_batch_count(batch) > 0)
            ck_assert_int_eq(scene->next[parent], parent_records);
        scene->next[shard] += (int)kstream_batch_count(batch);
        kstream_batch_free(batch);
    }
    ck_assert_int_eq(err.status, KSTREAM_TIMEOUT);
}

START_TEST(children_come_after_their_parent)
{
    struct scene scene;
    scene_open(&scene, 1);
    scene_fill(&scene, 0, 0, 350);
    fake_broker_split(scene.broker); /* 1 and 2 */
    scene_fill(&scene, 1, 0, 120);
    scene_fill(&scene, 2, 0, 120);
    scene_read(&scene, kstream_from_trim_horizon(), NULL);
    drain_in_order(&scene, 1, 0, 350);
    ck_assert_int_eq(scene.next[0] + scene.next[1] + scene.next[2], 590);
    scene_close(&scene);
}
END_TEST

START_TEST(a_split_while_reading_is_followed)
{
    struct scene scene;
    scene_open(&scene, 2);
    scene_fill(&scene, 0, 0, 10);
    scene_fill(&scene, 1, 0, 10);
    scene_read(&scene, kstream_from_trim_horizon(), NULL);
    ck_assert_uint_eq(scene_drain(&scene), 20);
    fake_broker_split(scene.broker); /* 1 becomes 2 and 3 */
    scene_fill(&scene, 2, 0, 10);
    scene_fill(&scene, 3, 0, 10);
    ck_assert_uint_eq(scene_drain(&scene), 20);
    fake_broker_split(scene.broker); /* 3 becomes 4 and 5, which stay empty */
    ck_assert_uint_eq(scene_drain(&scene), 0);
    scene_fill(&scene, 4, 0, 5);
    ck_assert_uint_eq(scene_drain(&scene), 5);
    scene_close(&scene);
}
END_TEST

START_TEST(a_merged_shard_waits_for_both_parents)
{
    struct scene scene;
    scene_open(&scene, 2);
    scene_fill(&scene, 0, 0, 150);
    scene_fill(&scene, 1, 0, 350);
    fake_broker_merge(scene.broker); /* 2 */
    scene_fill(&scene, 2, 0, 50);
    scene_read(&scene, kstream_from_trim_horizon(), NULL);
    drain_in_order(&scene, 2, 1, 350);
    ck_assert_int_eq(scene.next[0], 150);
    ck_assert_int_eq(scene.next[2], 50);
    scene_close(&scene);
}
END_TEST

START_TEST(more_shards_than_may_be_asked_at_a_time_take_turns)
{
    struct scene scene;
    scene_open(&scene, 12);
    scene_read(&scene, kstream_from_trim_horizon(), NULL);
    scene.reader->asked_max = 2;
    for (int round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < 12; i++)
            scene_fill(&scene, i, 120 * round, 120 * (round + 1));
        ck_assert_uint_eq(scene_drain(&scene), 12 * 120);
        ck_assert_uint_le(scene.reader->asked_count, 2);
    }
    scene_close(&scene);
}
END_TEST

/* One parent of a merge is a child itself that the reader has not heard of yet. */
START_TEST(a_parent_that_is_not_known_yet_is_waited_for)
{
    struct scene scene;
    scene_open(&scene, 2);
    scene_read(&scene, kstream_from_trim_horizon(), NULL); /* knows 0 and 1 */
    scene_fill(&scene, 0, 0, 10);
    scene_fill(&scene, 1, 0, 550);
    fake_broker_split(scene.broker); /* 1 becomes 2 and 3 */
    scene_fill(&scene, 2, 0, 120);
    fake_broker_merge_shards(scene.broker, 0, 2); /* 4 */
    scene_fill(&scene, 4, 0, 50);
    drain_in_order(&scene, 4, 2, 120);
    ck_assert_int_eq(scene.next[4], 50);
    scene_close(&scene);
}
END_TEST

/* A reader that was away for longer than records are kept: the list of shards leads on. */
START_TEST(a_shard_that_has_vanished_meanwhile_does_not_end_the_reading)
{
    struct scene scene;
    scene_open(&scene, 2);
    scene_fill(&scene, 0, 0, 5);
    scene_fill(&scene, 1, 0, 5);
    scene_read(&scene, kstream_from_trim_horizon(), NULL);
    ck_assert_uint_eq(scene_drain(&scene), 10);
    char *text = scene_save(&scene);
    kstream_reader_close(scene.reader);
    fake_broker_split(scene.broker); /* 1 becomes 2 and 3 */
    scene_fill(&scene, 3, 0, 5);
    fake_broker_split(scene.broker); /* 3 becomes 4 and 5 */
    scene_fill(&scene, 5, 0, 5);
    /* Its iterator leads to the end of 1, whose child 3 is gone by then. */
    scene_read(&scene, kstream_from_trim_horizon(), text);
    fake_broker_expire(scene.broker, 3);
    kstream_text_free(text);
    scene_fill(&scene, 0, 5, 10);
    scene_fill(&scene, 2, 0, 5);
    size_t read = scene_drain(&scene);
    ck_assert(read == 15 || read == 20); /* 3 may have been read before */
    ck_assert_int_eq(scene.next[5], 5);
    scene_close(&scene);
}
END_TEST

START_TEST(a_parent_that_is_not_kept_any_more_holds_nobody_up)
{
    struct scene scene;
    scene_open(&scene, 1);
    fake_broker_split(scene.broker);
    fake_broker_expire(scene.broker, 0);
    scene_fill(&scene, 1, 0, 10);
    scene_fill(&scene, 2, 0, 10);
    scene_read(&scene, kstream_from_trim_horizon(), NULL);
    ck_assert_uint_eq(scene_drain(&scene), 20);
    scene_close(&scene);
}
END_TEST

START_TEST(latest_leaves_out_what_is_there_and_no_more)
{
    struct scene scene;
    scene_open(&scene, 2);
    scene_fill(&scene, 0, 0, 10);
    scene_fill(&scene, 1, 0, 10);
    fake_broker_split(scene.broker); /* 1 becomes 2 and 3 */
    scene_fill(&scene, 2, 0, 10);
    scene_read(&scene, kstream_from_latest(), NULL);
    ck_assert_uint_eq(scene_drain(&scene), 0);
    scene.next[0] = scene.next[2] = 10;
    scene_fill(&scene, 0, 10, 15);
    scene_fill(&scene, 2, 10, 15);
    fake_broker_split(scene.broker); /* 3 becomes 4 and 5: they are read from their start */
    scene_fill(&scene, 5, 0, 5);
    ck_assert_uint_eq(scene_drain(&scene), 15);
    ck_assert(!scene.begun[1]);
    scene_close(&scene);
}
END_TEST

/* Another process goes on where this one stopped, whatever happened to the shards meanwhile. */
START_TEST(a_saved_position_goes_on_in_another_process)
{
    struct scene scene;
    scene_open(&scene, 2);
    scene_fill(&scene, 0, 0, 130);
    scene_fill(&scene, 1, 0, 30);
    scene_read(&scene, kstream_from_trim_horizon(), NULL);
    ck_assert_uint_eq(scene_drain(&scene), 160);
    char *text = scene_save(&scene);
    kstream_reader_close(scene.reader);
    scene_fill(&scene, 0, 130, 140);
    scene_fill(&scene, 1, 30, 40);
    fake_broker_split(scene.broker); /* 1 becomes 2 and 3 */
    scene_fill(&scene, 3, 0, 10);
    fake_broker_split(scene.broker); /* 3 becomes 4 and 5 */
    scene_fill(&scene, 5, 0, 10);
    scene_read(&scene, kstream_from_latest(), text);
    kstream_text_free(text);
    ck_assert_uint_eq(scene_drain(&scene), 40);
    /* The parents are over: they are not read again. */
    text = scene_save(&scene);
    ck_assert_ptr_null(strstr(text, "shardId-000000000001="));
    kstream_reader_close(scene.reader);
    scene_fill(&scene, 5, 10, 20);
    scene_read(&scene, kstream_from_trim_horizon(), text);
    kstream_text_free(text);
    ck_assert_uint_eq(scene_drain(&scene), 10);
    scene_close(&scene);
}
END_TEST

START_TEST(what_was_not_handed_out_is_not_in_the_saved_position)
{
    struct scene scene;
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_batch *batch = NULL;
    scene_open(&scene, 1);
    scene_fill(&scene, 0, 0, 350);
    scene_read(&scene, kstream_from_trim_horizon(), NULL);
    ck_assert_int_eq(kstream_reader_next(scene.reader, 5000, &batch, &err), KSTREAM_OK);
    size_t first = kstream_batch_count(batch);
    kstream_batch_free(batch);
    char *text = scene_save(&scene); /* the next batch is on its way */
    kstream_reader_close(scene.reader);
    scene_read(&scene, kstream_from_trim_horizon(), text);
    kstream_text_free(text);
    scene.next[0] = (int)first;
    ck_assert_uint_eq(scene_drain(&scene), 350 - first);
    scene_close(&scene);
}
END_TEST

START_TEST(a_text_that_is_no_saved_position_is_refused)
{
    static const char *const bad[] = {"", "clicks", "kstream-reader-1 clicks",
        "kstream-reader-1 other shardId-000000000000=trim-horizon",
        "kstream-reader-1 clicks shardId-000000000000", "kstream-reader-1 clicks =end",
        "kstream-reader-1 clicks shardId-000000000000=somewhere",
        "kstream-reader-2 clicks shardId-000000000000=trim-horizon"};
    struct scene scene;
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_reader_options options = KSTREAM_READER_OPTIONS_INIT;
    scene_open(&scene, 1);
    for (size_t i = 0; i < KS_COUNT_OF(bad); i++) {
        options.saved = bad[i];
        ck_assert_msg(kstream_reader_open(scene.client, "clicks", NULL, kstream_from_trim_horizon(),
                          &options, &scene.reader, &err) == KSTREAM_INVALID,
            "'%s'", bad[i]);
    }
    options.saved = NULL;
    ck_assert_int_eq(kstream_reader_open(scene.client, "clicks", NULL,
                         kstream_from_sequence_number("123"), &options, &scene.reader, &err),
        KSTREAM_INVALID);
    scene_close(&scene);
}
END_TEST

START_TEST(a_position_within_a_batch_can_be_kept)
{
    struct scene scene;
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_batch *batch = NULL;
    scene_open(&scene, 1);
    scene_fill(&scene, 0, 0, 50);
    scene_read(&scene, kstream_from_trim_horizon(), NULL);
    ck_assert_int_eq(kstream_reader_next(scene.reader, 5000, &batch, &err), KSTREAM_OK);
    struct kstream_position behind = kstream_batch_position(batch, 19);
    ck_assert_int_eq(kstream_batch_position(batch, 50).type, KSTREAM_TRIM_HORIZON);
    kstream_batch_free(batch);
    kstream_reader_close(scene.reader);
    ck_assert_int_eq(kstream_reader_open(scene.client, "clicks", "shardId-000000000000", behind,
                         NULL, &scene.reader, &err),
        KSTREAM_OK);
    scene.next[0] = 20;
    ck_assert_uint_eq(scene_drain(&scene), 30);
    scene_close(&scene);
}
END_TEST

/* The n-th allocation fails, for each n: nothing is skipped or repeated. */
START_TEST(without_memory_a_reader_says_so_and_goes_on)
{
    bool was_refused = true;
    for (uint64_t n = 1; was_refused; n++) {
        struct scene scene;
        struct kstream_error err = KSTREAM_ERROR_INIT;
        scene_open(&scene, 1);
        scene_fill(&scene, 0, 0, 120);
        fake_broker_split(scene.broker);
        scene_fill(&scene, 2, 0, 10);
        ks_alloc_fail_nth(n, false);
        enum kstream_status st = kstream_reader_open(
            scene.client, "clicks", NULL, kstream_from_trim_horizon(), NULL, &scene.reader, &err);
        if (st != KSTREAM_OK)
            scene_read(&scene, kstream_from_trim_horizon(), NULL);
        size_t read = 0;
        while (read < 130) {
            struct kstream_batch *batch = NULL;
            st = kstream_reader_next(scene.reader, 5000, &batch, &err);
            ck_assert_msg(st == KSTREAM_OK || st == KSTREAM_NO_MEMORY, "%s: %s",
                kstream_status_name(st), err.text);
            read += batch ? kstream_batch_count(batch) : 0;
            kstream_batch_free(batch);
        }
        was_refused = ks_alloc_count() >= n;
        ks_alloc_fail_nth(0, false);
        ck_assert_uint_eq(read, 130);
        scene_close(&scene);
    }
}
END_TEST

KS_SUITE("client/reader_stream")
{
    KS_TEST(all_shards_are_read_each_in_its_order);
    KS_TEST(children_come_after_their_parent);
    KS_TEST(a_split_while_reading_is_followed);
    KS_TEST(a_merged_shard_waits_for_both_parents);
    KS_TEST(more_shards_than_may_be_asked_at_a_time_take_turns);
    KS_TEST(a_parent_that_is_not_known_yet_is_waited_for);
    KS_TEST(a_shard_that_has_vanished_meanwhile_does_not_end_the_reading);
    KS_TEST(a_parent_that_is_not_kept_any_more_holds_nobody_up);
    KS_TEST(latest_leaves_out_what_is_there_and_no_more);
    KS_TEST(a_saved_position_goes_on_in_another_process);
    KS_TEST(what_was_not_handed_out_is_not_in_the_saved_position);
    KS_TEST(a_text_that_is_no_saved_position_is_refused);
    KS_TEST(a_position_within_a_batch_can_be_kept);
    KS_TEST(without_memory_a_reader_says_so_and_goes_on);
}
