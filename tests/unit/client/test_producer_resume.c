/* A producer that takes up its old id, and one that is opened in the background. */
#include "tests/unit/client/sender.h"

#include <stdio.h>

#define ID 4711u

static struct kstream_producer_options resume_options(void)
{
    struct kstream_producer_options options = sender_quick_options();
    options.producer_id = ID;
    options.resume = 1;
    return options;
}

/* The process ends without a word, and starts again. */
static void reopen(struct sender *sender, const struct kstream_producer_options *options)
{
    struct kstream_error err = KSTREAM_ERROR_INIT;
    KS_IGNORE(kstream_producer_close(sender->producer, 0, NULL, NULL), "all is answered");
    enum kstream_status st =
        kstream_producer_open(sender->client, "clicks", options, &sender->producer, &err);
    ck_assert_msg(st == KSTREAM_OK, "%s", err.text);
}

START_TEST(a_new_id_has_nothing_to_resume)
{
    struct sender sender;
    struct kstream_producer_options options = resume_options();
    sender_open(&sender, 2, &options);
    size_t count = 9;
    KS_IGNORE(kstream_producer_resumed(sender.producer, &count), "count matters");
    ck_assert_uint_eq(count, 0);
    ck_assert_uint_eq(kstream_producer_id(sender.producer), ID);
    sender_put(&sender, 20);
    sender_flush_all(&sender);
    sender_check_all_stored(&sender);
    sender_close(&sender);
}
END_TEST

START_TEST(a_resumed_producer_goes_on_and_says_what_is_stored)
{
    struct sender sender;
    struct kstream_producer_options options = resume_options();
    sender_open(&sender, 2, &options);
    sender_put(&sender, 100);
    sender_flush_all(&sender);
    reopen(&sender, &options);
    size_t count = 0;
    const struct kstream_resumed_shard *shards = kstream_producer_resumed(sender.producer, &count);
    ck_assert_uint_eq(count, 2);
    for (size_t i = 0; i < count; i++) {
        ck_assert_uint_eq(shards[i].last_ordinal, fake_broker_count(sender.broker, (uint32_t)i));
        ck_assert_int_eq(shards[i].is_closed, 0);
        ck_assert_uint_gt(shards[i].batches, 0);
        ck_assert_str_eq(shards[i].shard_id, i ? "shardId-000000000001" : "shardId-000000000000");
    }
    for (size_t i = 0; i < SENDER_KEYS; i++) {
        char key[16];
        int bytes = snprintf(key, sizeof key, "k%zu", i);
        uint32_t home = sender.records[i].shard_index;
        for (uint32_t j = 0; j < 2; j++)
            ck_assert_int_eq(
                kstream_producer_resumed_holds(sender.producer, &shards[j], key, (size_t)bytes),
                j == home);
    }
    sender_put(&sender, 100);
    sender_flush_all(&sender);
    sender_check_all_stored(&sender);
    sender_close(&sender);
}
END_TEST

START_TEST(the_last_record_can_be_read_at_its_number)
{
    struct sender sender;
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_producer_options options = resume_options();
    sender_open(&sender, 1, &options);
    sender_put(&sender, 42);
    sender_flush_all(&sender);
    reopen(&sender, &options);
    size_t count = 0;
    const struct kstream_resumed_shard *shards = kstream_producer_resumed(sender.producer, &count);
    struct kstream_reader *reader = NULL;
    struct kstream_batch *batch = NULL;
    ck_assert_uint_eq(count, 1);
    ck_assert_int_eq(
        kstream_reader_open(sender.client, "clicks", shards[0].shard_id,
            kstream_from_sequence_number(shards[0].last_sequence_number), NULL, &reader, &err),
        KSTREAM_OK);
    ck_assert_int_eq(kstream_reader_next(reader, 5000, &batch, &err), KSTREAM_OK);
    ck_assert_uint_eq(kstream_batch_count(batch), 1);
    const struct kstream_record *record = kstream_batch_record(batch, 0);
    ck_assert_uint_eq(record->data_bytes, strlen(sender.records[41].data));
    ck_assert_mem_eq(record->data, sender.records[41].data, record->data_bytes);
    kstream_batch_free(batch);
    kstream_reader_close(reader);
    sender_close(&sender);
}
END_TEST

/* What is not durable may yet be lost with the broker: it must not count as stored. */
START_TEST(a_batch_that_is_not_durable_is_waited_for)
{
    struct sender sender;
    struct kstream_producer_options options = resume_options();
    sender_open(&sender, 1, &options);
    sender_put(&sender, 5);
    sender_flush_all(&sender);
    fake_broker_plan(sender.broker, KS_OP_RESUME_PRODUCER, 1, FAKE_NOTHING_YET);
    uint32_t before = fake_broker_requests(sender.broker, KS_OP_RESUME_PRODUCER);
    reopen(&sender, &options);
    ck_assert_uint_eq(fake_broker_requests(sender.broker, KS_OP_RESUME_PRODUCER), before + 2);
    size_t count = 0;
    KS_IGNORE(kstream_producer_resumed(sender.producer, &count), "count matters");
    ck_assert_uint_eq(count, 1);
    sender_close(&sender);
}
END_TEST

START_TEST(a_parent_that_was_split_is_told_as_closed)
{
    struct sender sender;
    struct kstream_producer_options options = resume_options();
    sender_open(&sender, 1, &options);
    sender_put(&sender, 20);
    sender_flush_all(&sender);
    fake_broker_split(sender.broker);
    reopen(&sender, &options);
    size_t count = 0;
    const struct kstream_resumed_shard *shards = kstream_producer_resumed(sender.producer, &count);
    ck_assert_uint_eq(count, 1);
    ck_assert_int_eq(shards[0].is_closed, 1);
    ck_assert_int_eq(kstream_producer_resumed_holds(sender.producer, &shards[0], "k1", 2), 1);
    sender_put(&sender, 20);
    sender_flush_all(&sender);
    sender_check_all_stored(&sender);
    sender_close(&sender);
}
END_TEST

/* The earlier life was not as dead as it looked: one of the two ends, and nothing is stored twice.
 */
START_TEST(two_producers_with_one_id_do_not_mix)
{
    struct sender sender;
    struct sender other;
    struct kstream_producer_options options = resume_options();
    struct kstream_error err = KSTREAM_ERROR_INIT;
    options.linger_ms = 60000; /* whole batches only */
    sender_open(&sender, 1, &options);
    fake_broker_allow_mismatch(sender.broker);
    other = sender;
    other.records = calloc(SENDER_RECORDS_MAX, sizeof *other.records);
    other.count = 0;
    ck_assert_int_eq(
        kstream_producer_open(sender.client, "clicks", &options, &other.producer, &err),
        KSTREAM_OK);
    sender_put(&sender, 5);
    sender_flush_all(&sender);
    sender_put(&other, 3);
    ck_assert_int_eq(sender_flush(&other), KSTREAM_PARTIAL);
    for (size_t i = 0; i < other.count; i++) {
        ck_assert_int_eq(other.records[i].status, KSTREAM_PRODUCER_MISMATCH);
        ck_assert_int_eq(other.records[i].outcome_unknown, 0);
    }
    ck_assert_int_eq(sender_put_one(&other, &err), KSTREAM_PRODUCER_MISMATCH);
    KS_IGNORE(kstream_producer_close(other.producer, 0, NULL, NULL), "it has ended");
    free(other.records);
    sender_put(&sender, 5);
    sender_flush_all(&sender);
    sender_check_all_stored(&sender);
    sender_close(&sender);
}
END_TEST

START_TEST(a_producer_that_may_be_resumed_ends_with_its_first_failure)
{
    struct sender sender;
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_producer_options options = resume_options();
    options.in_flight_max = 1;
    sender_open(&sender, 1, &options);
    fake_broker_error_status(sender.broker, KS_VALIDATION);
    fake_broker_plan(sender.broker, KS_OP_PUT_RECORDS, 2, FAKE_ERROR);
    for (int i = 0; i < 40; i++)
        if (sender_put_one(&sender, &err) != KSTREAM_OK)
            break;
    KS_IGNORE(sender_flush(&sender), "some failed");
    ck_assert_int_eq(sender_put_one(&sender, &err), KSTREAM_VALIDATION);
    size_t stored = 0;
    for (size_t i = 0; i < sender.count; i++) {
        ck_assert_int_eq(sender.records[i].acks, 1);
        if (sender.records[i].status == KSTREAM_OK)
            ck_assert_uint_eq(++stored, i + 1); /* a beginning, without a hole */
    }
    ck_assert_uint_eq(stored, fake_broker_count(sender.broker, 0));
    reopen(&sender, &options);
    size_t count = 0;
    const struct kstream_resumed_shard *shards = kstream_producer_resumed(sender.producer, &count);
    ck_assert_uint_eq(count, 1);
    ck_assert_uint_eq(shards[0].last_ordinal, stored);
    sender_close(&sender);
}
END_TEST

START_TEST(resume_without_an_id_is_refused)
{
    struct sender sender;
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_producer_options options = resume_options();
    sender_open(&sender, 1, &options);
    struct kstream_producer *producer = NULL;
    options.producer_id = 0;
    ck_assert_int_eq(
        kstream_producer_open(sender.client, "clicks", &options, &producer, &err), KSTREAM_INVALID);
    ck_assert_ptr_null(producer);
    sender_close(&sender);
}
END_TEST

/* ---- opened in the background ---- */

START_TEST(a_producer_opened_in_the_background_is_full_until_it_is_open)
{
    struct sender sender;
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_producer_options options = sender_quick_options();
    sender_open(&sender, 2, &options);
    KS_IGNORE(kstream_producer_close(sender.producer, 0, NULL, NULL), "another is opened");
    fake_broker_away(sender.broker, true);
    options.open_in_background = 1;
    ck_assert_int_eq(
        kstream_producer_open(sender.client, "clicks", &options, &sender.producer, &err),
        KSTREAM_OK);
    ck_assert_int_eq(sender_put_one(&sender, &err), KSTREAM_FULL);
    kstream_producer_poll(sender.producer, 20);
    ck_assert_int_eq(sender_put_one(&sender, &err), KSTREAM_FULL);
    ck_assert_ptr_nonnull(strstr(err.text, "not known yet"));
    fake_broker_away(sender.broker, false);
    while (sender_put_one(&sender, &err) == KSTREAM_FULL)
        kstream_producer_poll(sender.producer, 100);
    sender_flush_all(&sender);
    sender_check_all_stored(&sender);
    sender_close(&sender);
}
END_TEST

START_TEST(a_stream_that_does_not_exist_is_told_by_the_puts)
{
    struct sender sender;
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_producer_options options = sender_quick_options();
    sender_open(&sender, 1, &options);
    KS_IGNORE(kstream_producer_close(sender.producer, 0, NULL, NULL), "another is opened");
    fake_broker_error_status(sender.broker, KS_NOT_FOUND);
    fake_broker_plan(sender.broker, KS_OP_DESCRIBE_ROUTING, 1, FAKE_ERROR);
    options.open_in_background = 1;
    ck_assert_int_eq(
        kstream_producer_open(sender.client, "clicks", &options, &sender.producer, &err),
        KSTREAM_OK);
    enum kstream_status st;
    while ((st = sender_put_one(&sender, &err)) == KSTREAM_FULL)
        kstream_producer_poll(sender.producer, 100);
    ck_assert_int_eq(st, KSTREAM_NOT_FOUND);
    sender_close(&sender);
}
END_TEST

START_TEST(an_absent_broker_is_an_error_of_open)
{
    struct sender sender;
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_producer *producer = NULL;
    sender_open(&sender, 1, NULL);
    fake_broker_away(sender.broker, true);
    ck_assert_int_eq(
        kstream_producer_open(sender.client, "clicks", NULL, &producer, &err), KSTREAM_UNAVAILABLE);
    ck_assert_ptr_null(producer);
    ck_assert_uint_gt(strlen(err.text), 0);
    sender_close(&sender);
}
END_TEST

KS_SUITE("client/producer_resume")
{
    KS_TEST(a_new_id_has_nothing_to_resume);
    KS_TEST(a_resumed_producer_goes_on_and_says_what_is_stored);
    KS_TEST(the_last_record_can_be_read_at_its_number);
    KS_TEST(a_batch_that_is_not_durable_is_waited_for);
    KS_TEST(a_parent_that_was_split_is_told_as_closed);
    KS_TEST(two_producers_with_one_id_do_not_mix);
    KS_TEST(a_producer_that_may_be_resumed_ends_with_its_first_failure);
    KS_TEST(resume_without_an_id_is_refused);
    KS_TEST(a_producer_opened_in_the_background_is_full_until_it_is_open);
    KS_TEST(a_stream_that_does_not_exist_is_told_by_the_puts);
    KS_TEST(an_absent_broker_is_an_error_of_open);
}
