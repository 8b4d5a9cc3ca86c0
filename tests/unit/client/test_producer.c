/*
 * The idempotent producer against a broker that loses answers, refuses, forgets and splits shards:
 * every record is stored once, in order per key, and acknowledged where it lies.
 */
#include "tests/unit/client/sender.h"
#include "tests/unit/ks_check.h"

#include <stdio.h>
#include <stdlib.h>

START_TEST(records_are_stored_once_in_order_and_acknowledged_where_they_lie)
{
    struct sender sender;
    struct kstream_producer_options options = sender_quick_options();
    sender_open(&sender, 4, &options);
    sender_put(&sender, 1000);
    sender_flush_all(&sender);
    sender_check_all_stored(&sender);
    struct kstream_producer_stats stats = sender_stats(&sender);
    ck_assert_uint_eq(stats.records_durable, 1000);
    ck_assert_uint_eq(stats.records_waiting, 0);
    ck_assert_uint_eq(stats.retries, 0);
    ck_assert_uint_eq(stats.memory_bytes, 0);
    ck_assert_uint_gt(stats.latency_p50_ns, 0);
    ck_assert_uint_le(stats.latency_p50_ns, stats.latency_p99_ns);
    sender_close(&sender);
}
END_TEST

/* Every way in which an answer can fail to come, at the first batch, in mid-flight and late. */
static const enum fake_fault lost_answers[] = {FAKE_CLOSE_BEFORE, FAKE_CLOSE_AFTER,
    FAKE_HALF_ANSWER, FAKE_GARBAGE, FAKE_WRONG_ANSWER, FAKE_SILENCE};

START_TEST(a_lost_answer_stores_nothing_twice_and_loses_nothing)
{
    struct sender sender;
    struct kstream_producer_options options = sender_quick_options();
    options.request_timeout_ms = 200; /* for the silent broker */
    sender_open(&sender, 2, &options);
    fake_broker_plan(sender.broker, KS_OP_PUT_RECORDS, 1, lost_answers[_i]);
    fake_broker_plan(sender.broker, KS_OP_PUT_RECORDS, 9, lost_answers[_i]);
    fake_broker_plan(sender.broker, KS_OP_PUT_RECORDS, 30, lost_answers[_i]);
    sender_put(&sender, 300);
    sender_flush_all(&sender);
    sender_check_all_stored(&sender);
    struct kstream_producer_stats stats = sender_stats(&sender);
    /* Two of them may fall into one connection. */
    ck_assert_uint_ge(stats.reconnects, 1);
    ck_assert_uint_le(stats.reconnects, 3);
    ck_assert_uint_ge(stats.retries, 1);
    if (lost_answers[_i] != FAKE_CLOSE_BEFORE)
        ck_assert_uint_gt(stats.records_repeated, 0);
    sender_close(&sender);
}
END_TEST

START_TEST(what_the_broker_refuses_for_now_is_tried_again_in_order)
{
    struct sender sender;
    struct kstream_producer_options options = sender_quick_options();
    sender_open(&sender, 1, &options);
    fake_broker_error_status(sender.broker, _i == 0 ? KS_THROTTLED : KS_STORAGE_FULL);
    for (uint32_t nth = 1; nth < 30; nth += 3)
        fake_broker_plan(sender.broker, KS_OP_PUT_RECORDS, nth, FAKE_ERROR);
    sender_put(&sender, 200);
    sender_flush_all(&sender);
    sender_check_all_stored(&sender);
    ck_assert_uint_eq(sender_stats(&sender).reconnects, 0);
    sender_close(&sender);
}
END_TEST

START_TEST(a_batch_refused_for_good_fails_alone)
{
    struct sender sender;
    struct kstream_producer_options options = sender_quick_options();
    sender_open(&sender, 1, &options);
    fake_broker_error_status(sender.broker, KS_VALIDATION);
    fake_broker_plan(sender.broker, KS_OP_PUT_RECORDS, 3, FAKE_ERROR);
    sender_put(&sender, 100);
    ck_assert_int_eq(sender_flush(&sender), KSTREAM_PARTIAL);
    uint64_t last = 0;
    size_t failed = 0;
    for (size_t i = 0; i < sender.count; i++) {
        const struct sent_record *record = &sender.records[i];
        ck_assert_int_eq(record->acks, 1);
        if (record->status == KSTREAM_OK) {
            ck_assert_uint_gt(record->ordinal, last);
            last = record->ordinal;
            continue;
        }
        ck_assert_int_eq(record->status, KSTREAM_VALIDATION);
        ck_assert_int_eq(record->outcome_unknown, 0);
        failed++;
    }
    ck_assert_uint_gt(failed, 0);
    ck_assert_uint_le(failed, 5);
    ck_assert_uint_eq(fake_broker_count(sender.broker, 0), sender.count - failed);
    /* The next flush starts with a clean slate. */
    sender_flush_all(&sender);
    sender_close(&sender);
}
END_TEST

START_TEST(a_split_takes_the_records_of_its_parent_along_in_order)
{
    struct sender sender;
    struct kstream_producer_options options = sender_quick_options();
    sender_open(&sender, 1 + (uint32_t)_i, &options);
    fake_broker_plan(sender.broker, KS_OP_PUT_RECORDS, 3, FAKE_SPLIT);
    sender_put(&sender, 250);
    sender_flush_all(&sender);
    fake_broker_plan(sender.broker, KS_OP_PUT_RECORDS, 3, FAKE_SPLIT);
    sender_put(&sender, 250);
    sender_flush_all(&sender);
    ck_assert_uint_eq(fake_broker_shards(sender.broker), 5 + (uint32_t)_i);
    sender_check_all_stored(&sender);
    sender_close(&sender);
}
END_TEST

START_TEST(a_split_behind_a_lost_answer_stores_nothing_twice)
{
    struct sender sender;
    struct kstream_producer_options options = sender_quick_options();
    sender_open(&sender, 1, &options);
    /* Stored in the parent, the answer lost; the parent is closed when the client asks again. */
    fake_broker_plan(sender.broker, KS_OP_PUT_RECORDS, 4, FAKE_CLOSE_AFTER);
    fake_broker_plan(sender.broker, KS_OP_PUT_RECORDS, 5, FAKE_SPLIT);
    sender_put(&sender, 300);
    sender_flush_all(&sender);
    sender_check_all_stored(&sender);
    ck_assert_uint_gt(sender_stats(&sender).records_repeated, 0);
    sender_close(&sender);
}
END_TEST

START_TEST(a_broker_that_has_forgotten_the_producer_gets_a_new_one)
{
    struct sender sender;
    struct kstream_producer_options options = sender_quick_options();
    sender_open(&sender, 1, &options);
    sender_put(&sender, 20);
    sender_flush_all(&sender);
    fake_broker_plan(sender.broker, KS_OP_PUT_RECORDS, 1, FAKE_FORGET);
    sender_put(&sender, 100);
    sender_flush_all(&sender);
    sender_check_all_stored(&sender);
    sender_close(&sender);
}
END_TEST

START_TEST(an_outcome_the_broker_has_forgotten_is_said_to_be_unknown)
{
    struct sender sender;
    struct kstream_producer_options options = sender_quick_options();
    options.in_flight_max = 1;
    options.linger_ms = 60000; /* whole batches only */
    sender_open(&sender, 1, &options);
    sender_put(&sender, 5);
    sender_flush_all(&sender);
    fake_broker_plan(sender.broker, KS_OP_PUT_RECORDS, 1, FAKE_CLOSE_AFTER);
    fake_broker_plan(sender.broker, KS_OP_PUT_RECORDS, 2, FAKE_FORGET);
    sender_put(&sender, 15);
    ck_assert_int_eq(sender_flush(&sender), KSTREAM_PARTIAL);
    for (size_t i = 0; i < sender.count; i++) {
        const struct sent_record *record = &sender.records[i];
        bool is_forgotten = i >= 5 && i < 10;
        ck_assert_int_eq(record->acks, 1);
        ck_assert_int_eq(record->status, is_forgotten ? KSTREAM_PRODUCER_UNKNOWN : KSTREAM_OK);
        ck_assert_int_eq(record->outcome_unknown, is_forgotten);
    }
    sender_close(&sender);
}
END_TEST

/* The same of the very first batch, which a broker would otherwise take for a new producer's. */
START_TEST(a_first_batch_that_may_be_forgotten_is_not_stored_twice)
{
    struct sender sender;
    struct kstream_producer_options options = sender_quick_options();
    options.in_flight_max = 1;
    options.linger_ms = 60000; /* whole batches only */
    sender_open(&sender, 1, &options);
    fake_broker_plan(sender.broker, KS_OP_PUT_RECORDS, 1, FAKE_CLOSE_AFTER);
    fake_broker_plan(sender.broker, KS_OP_PUT_RECORDS, 2, FAKE_FORGET);
    sender_put(&sender, 15);
    ck_assert_int_eq(sender_flush(&sender), KSTREAM_PARTIAL);
    for (size_t i = 0; i < sender.count; i++) {
        const struct sent_record *record = &sender.records[i];
        ck_assert_int_eq(record->acks, 1);
        ck_assert_int_eq(record->status, i < 5 ? KSTREAM_PRODUCER_UNKNOWN : KSTREAM_OK);
        ck_assert_int_eq(record->outcome_unknown, i < 5);
    }
    ck_assert_uint_eq(fake_broker_count(sender.broker, 0), 15);
    sender_close(&sender);
}
END_TEST

/* Records 15 to 19 were answered, and then a crash took them. */
static void lose_and_go_on(struct sender *sender, const char *ack)
{
    struct kstream_producer_options options = sender_quick_options();
    options.linger_ms = 60000; /* whole batches only */
    sender->broker = fake_broker_start(1);
    fake_broker_ack(sender->broker, ack);
    sender_open_at(sender, &options);
    sender_put(sender, 20);
    sender_flush_all(sender);
    fake_broker_plan(sender->broker, KS_OP_PUT_RECORDS, 1, FAKE_LOSE_LAST);
    sender_put(sender, 30);
}

START_TEST(what_was_answered_from_memory_and_lost_holds_nothing_up)
{
    struct sender sender;
    lose_and_go_on(&sender, "memory");
    sender_flush_all(&sender);
    ck_assert_uint_eq(fake_broker_count(sender.broker, 0), 45);
    for (size_t i = 0, at = 0; i < sender.count; i++) {
        ck_assert_int_eq(sender.records[i].acks, 1);
        ck_assert_int_eq(sender.records[i].status, KSTREAM_OK);
        if (i < 15 || i >= 20)
            ck_assert_str_eq(fake_broker_data(sender.broker, 0, at++), sender.records[i].data);
    }
    sender_close(&sender);
}
END_TEST

/* A gap where nothing may be lost is an alarm, not a thing to pass over. */
START_TEST(a_durable_record_that_is_gone_is_not_passed_over)
{
    struct sender sender;
    lose_and_go_on(&sender, "durable");
    ck_assert_int_eq(sender_flush(&sender), KSTREAM_PARTIAL);
    ck_assert_int_eq(sender.records[20].status, KSTREAM_PRODUCER_GAP);
    sender_close(&sender);
}
END_TEST

START_TEST(an_absent_broker_fills_the_producer_and_loses_nothing)
{
    struct sender sender;
    struct kstream_producer_options options = sender_quick_options();
    options.memory_bytes_max = 2000;
    struct kstream_error err = KSTREAM_ERROR_INIT;
    sender_open(&sender, 2, &options);
    sender_put(&sender, 10);
    sender_flush_all(&sender);
    fake_broker_away(sender.broker, true);
    enum kstream_status st = KSTREAM_OK;
    while (st == KSTREAM_OK)
        st = sender_put_one(&sender, &err);
    ck_assert_int_eq(st, KSTREAM_FULL);
    ck_assert_int_eq(err.retryable, 1);
    ck_assert_uint_le(sender_stats(&sender).memory_bytes, 2000);
    ck_assert_int_eq(kstream_producer_flush(sender.producer, 30, &err), KSTREAM_TIMEOUT);
    ck_assert_ptr_nonnull(strchr(err.text, ':')); /* it says why */
    fake_broker_away(sender.broker, false);
    sender_flush_all(&sender);
    sender_put(&sender, 10);
    sender_flush_all(&sender);
    sender_check_all_stored(&sender);
    sender_close(&sender);
}
END_TEST

START_TEST(a_put_that_may_block_waits_for_room)
{
    struct sender sender;
    struct kstream_producer_options options = sender_quick_options();
    options.memory_bytes_max = 2000;
    options.block_ms_max = 20000;
    sender_open(&sender, 2, &options);
    sender_put(&sender, 500);
    sender_flush_all(&sender);
    sender_check_all_stored(&sender);
    sender_close(&sender);
}
END_TEST

START_TEST(retries_end_with_their_time)
{
    struct sender sender;
    struct kstream_producer_options options = sender_quick_options();
    options.retry_time_max_ms = 300;
    sender_open(&sender, 1, &options);
    fake_broker_away(sender.broker, true);
    sender_put(&sender, 12);
    ck_assert_int_eq(sender_flush(&sender), KSTREAM_PARTIAL);
    for (size_t i = 0; i < sender.count; i++) {
        ck_assert_int_eq(sender.records[i].acks, 1);
        ck_assert_int_eq(sender.records[i].status, KSTREAM_UNAVAILABLE);
    }
    /* And the producer is of use again when the broker is. */
    fake_broker_away(sender.broker, false);
    sender_put(&sender, 12);
    sender_flush_all(&sender);
    for (size_t i = 12; i < sender.count; i++)
        ck_assert_int_eq(sender.records[i].status, KSTREAM_OK);
    sender_close(&sender);
}
END_TEST

START_TEST(refusals_end_with_their_time_too)
{
    struct sender sender;
    struct kstream_producer_options options = sender_quick_options();
    options.retry_time_max_ms = 50;
    sender_open(&sender, 1, &options);
    for (uint32_t nth = 1; nth <= 60; nth++)
        fake_broker_plan(sender.broker, KS_OP_PUT_RECORDS, nth, FAKE_ERROR);
    sender_put(&sender, 3);
    ck_assert_int_eq(sender_flush(&sender), KSTREAM_PARTIAL);
    for (size_t i = 0; i < sender.count; i++) {
        ck_assert_int_eq(sender.records[i].status, KSTREAM_THROTTLED);
        ck_assert_int_eq(sender.records[i].outcome_unknown, 0);
    }
    sender_close(&sender);
}
END_TEST

START_TEST(a_stream_that_is_gone_ends_the_producer)
{
    struct sender sender;
    struct kstream_producer_options options = sender_quick_options();
    struct kstream_error err = KSTREAM_ERROR_INIT;
    sender_open(&sender, 1, &options);
    sender_put(&sender, 5);
    sender_flush_all(&sender);
    fake_broker_error_status(sender.broker, KS_NOT_FOUND);
    fake_broker_plan(sender.broker, KS_OP_PUT_RECORDS, 1, FAKE_CLOSE_BEFORE);
    fake_broker_plan(sender.broker, KS_OP_DESCRIBE_ROUTING, 1, FAKE_ERROR);
    sender_put(&sender, 5);
    ck_assert_int_eq(sender_flush(&sender), KSTREAM_PARTIAL);
    for (size_t i = 5; i < 10; i++)
        ck_assert_int_eq(sender.records[i].status, KSTREAM_NOT_FOUND);
    ck_assert_int_eq(sender_put_one(&sender, &err), KSTREAM_NOT_FOUND);
    sender_close(&sender);
}
END_TEST

START_TEST(a_close_that_cannot_wait_says_what_was_left)
{
    struct sender sender;
    struct kstream_producer_options options = sender_quick_options();
    struct kstream_error err = KSTREAM_ERROR_INIT;
    sender_open(&sender, 1, &options);
    sender_put(&sender, 5);
    sender_flush_all(&sender);
    fake_broker_away(sender.broker, true);
    sender_put(&sender, 7);
    uint64_t left = 0;
    ck_assert_int_eq(kstream_producer_close(sender.producer, 20, &left, &err), KSTREAM_TIMEOUT);
    sender.producer = NULL;
    ck_assert_uint_eq(left, 7);
    for (size_t i = 5; i < 12; i++) {
        ck_assert_int_eq(sender.records[i].acks, 1);
        ck_assert_int_eq(sender.records[i].status, KSTREAM_TIMEOUT);
    }
    sender_close(&sender);
}
END_TEST

START_TEST(without_credit_one_batch_at_a_time_gets_through)
{
    struct sender sender;
    struct kstream_producer_options options = sender_quick_options();
    sender_open(&sender, 2, &options);
    fake_broker_put_credit(sender.broker, 0);
    sender_put(&sender, 200);
    sender_flush_all(&sender);
    sender_check_all_stored(&sender);
    sender_close(&sender);
}
END_TEST

START_TEST(bad_records_are_refused_and_nothing_is_taken)
{
    struct sender sender;
    struct kstream_error err = KSTREAM_ERROR_INIT;
    sender_open(&sender, 1, NULL);
    char long_key[300];
    memset(long_key, 'k', sizeof long_key);
    struct kstream_producer *p = sender.producer;
    ck_assert_int_eq(kstream_producer_put(p, "", 0, "x", 1, NULL, NULL, &err), KSTREAM_VALIDATION);
    ck_assert_int_eq(
        kstream_producer_put(p, long_key, 257, "x", 1, NULL, NULL, &err), KSTREAM_VALIDATION);
    ck_assert_int_eq(
        kstream_producer_put(p, "\xff", 1, "x", 1, NULL, NULL, &err), KSTREAM_VALIDATION);
    char *large = calloc(1, 2u << 20);
    ck_assert_int_eq(
        kstream_producer_put(p, "k", 1, large, 1u << 20, NULL, NULL, &err), KSTREAM_TOO_LARGE);
    ck_assert_int_eq(
        kstream_producer_put(p, "k", 1, large, (1u << 20) - 1, NULL, NULL, &err), KSTREAM_OK);
    free(large);
    ck_assert_uint_eq(sender_stats(&sender).records_taken, 1);
    sender_close(&sender);
}
END_TEST

START_TEST(whatever_happens_nothing_is_lost_twice_or_out_of_order)
{
    struct sender sender;
    struct kstream_producer_options options = sender_quick_options();
    options.in_flight_max = 1 + (uint32_t)_i % 5;
    options.batch_records_max = 1 + (uint32_t)_i % 7;
    sender_open(&sender, 1 + (uint32_t)_i % 3, &options);
    fake_broker_misbehave(sender.broker, (uint64_t)_i + 1, 15);
    for (int round = 0; round < 5; round++) {
        sender_put(&sender, 80);
        KS_IGNORE(kstream_producer_poll(sender.producer, 1), "some have been answered, or not");
    }
    fake_broker_misbehave(sender.broker, 1, 0);
    sender_flush_all(&sender);
    sender_check_all_stored(&sender);
    sender_close(&sender);
}
END_TEST

KS_SUITE("client/producer")
{
    KS_TEST(records_are_stored_once_in_order_and_acknowledged_where_they_lie);
    KS_TEST_LOOP(
        a_lost_answer_stores_nothing_twice_and_loses_nothing, (int)KS_COUNT_OF(lost_answers));
    KS_TEST_LOOP(what_the_broker_refuses_for_now_is_tried_again_in_order, 2);
    KS_TEST(a_batch_refused_for_good_fails_alone);
    KS_TEST_LOOP(a_split_takes_the_records_of_its_parent_along_in_order, 2);
    KS_TEST(a_split_behind_a_lost_answer_stores_nothing_twice);
    KS_TEST(a_broker_that_has_forgotten_the_producer_gets_a_new_one);
    KS_TEST(an_outcome_the_broker_has_forgotten_is_said_to_be_unknown);
    KS_TEST(a_first_batch_that_may_be_forgotten_is_not_stored_twice);
    KS_TEST(what_was_answered_from_memory_and_lost_holds_nothing_up);
    KS_TEST(a_durable_record_that_is_gone_is_not_passed_over);
    KS_TEST(an_absent_broker_fills_the_producer_and_loses_nothing);
    KS_TEST(a_put_that_may_block_waits_for_room);
    KS_TEST(retries_end_with_their_time);
    KS_TEST(refusals_end_with_their_time_too);
    KS_TEST(a_stream_that_is_gone_ends_the_producer);
    KS_TEST(a_close_that_cannot_wait_says_what_was_left);
    KS_TEST(without_credit_one_batch_at_a_time_gets_through);
    KS_TEST(bad_records_are_refused_and_nothing_is_taken);
    KS_TEST_LOOP(whatever_happens_nothing_is_lost_twice_or_out_of_order, 60);
}
