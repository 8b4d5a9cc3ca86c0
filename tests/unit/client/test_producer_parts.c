/* Requests of many parts, callbacks that put, explicit hash keys, memory that runs out. */
#include "base/alloc.h"
#include "tests/unit/client/sender.h"

/* Everything waits for the flush. */
static struct kstream_producer_options slow_options(void)
{
    struct kstream_producer_options options = KSTREAM_PRODUCER_OPTIONS_INIT;
    options.linger_ms = 60000;
    return options;
}

START_TEST(the_batches_of_many_shards_travel_in_one_request)
{
    struct sender sender;
    struct kstream_producer_options options = slow_options();
    sender_open(&sender, 8, &options);
    sender_put(&sender, 200);
    sender_flush_all(&sender);
    sender_check_all_stored(&sender);
    ck_assert_uint_eq(fake_broker_requests(sender.broker, KS_OP_PUT_RECORDS), 1);
    ck_assert_uint_ge(fake_broker_parts_max(sender.broker), 5); /* 16 keys over 8 shards */
    sender_close(&sender);
}
END_TEST

START_TEST(a_part_that_is_refused_is_sent_again_alone)
{
    struct sender sender;
    struct kstream_producer_options options = slow_options();
    sender_open(&sender, 8, &options);
    fake_broker_plan(sender.broker, KS_OP_PUT_RECORDS, 1, FAKE_PART_ERROR);
    sender_put(&sender, 200);
    sender_flush_all(&sender);
    sender_check_all_stored(&sender);
    ck_assert_uint_eq(fake_broker_requests(sender.broker, KS_OP_PUT_RECORDS), 2);
    struct kstream_producer_stats stats = sender_stats(&sender);
    ck_assert_uint_eq(stats.retries, 1);
    ck_assert_uint_eq(stats.records_repeated, 0); /* what was stored was not sent again */
    sender_close(&sender);
}
END_TEST

/* The broker refuses a whole request for one bad part: each part goes again by itself, and only the
 * bad one fails. */
START_TEST(one_bad_part_does_not_take_the_others_with_it)
{
    struct sender sender;
    struct kstream_producer_options options = slow_options();
    sender_open(&sender, 8, &options);
    fake_broker_error_status(sender.broker, KS_CORRUPT);
    fake_broker_plan(sender.broker, KS_OP_PUT_RECORDS, 1, FAKE_ERROR);
    fake_broker_plan(sender.broker, KS_OP_PUT_RECORDS, 3, FAKE_ERROR);
    sender_put(&sender, 200);
    ck_assert_int_eq(sender_flush(&sender), KSTREAM_PARTIAL);
    uint32_t bad_shard = UINT32_MAX;
    size_t stored = 0;
    for (size_t i = 0; i < sender.count; i++) {
        const struct sent_record *record = &sender.records[i];
        ck_assert_int_eq(record->acks, 1);
        if (record->status == KSTREAM_OK) {
            stored++;
            continue;
        }
        ck_assert_int_eq(record->status, KSTREAM_CORRUPT);
        ck_assert_int_eq(record->outcome_unknown, 0);
        ck_assert(bad_shard == UINT32_MAX || bad_shard == record->shard_index);
        bad_shard = record->shard_index;
    }
    ck_assert_uint_gt(stored, 100);
    ck_assert_uint_lt(stored, 200);
    sender_close(&sender);
}
END_TEST

START_TEST(keys_stay_in_order_through_splits_and_merges)
{
    struct sender sender;
    struct kstream_producer_options options = sender_quick_options();
    sender_open(&sender, 4, &options);
    for (int round = 0; round < 6; round++) {
        fake_broker_plan(sender.broker, KS_OP_PUT_RECORDS, 2, round % 2 ? FAKE_SPLIT : FAKE_MERGE);
        sender_put(&sender, 150); /* more than may be on its way at a time */
        sender_flush_all(&sender);
    }
    sender_check_all_stored(&sender);
    ck_assert_uint_eq(fake_broker_shards(sender.broker), 13);
    sender_close(&sender);
}
END_TEST

START_TEST(a_merge_behind_a_lost_answer_stores_nothing_twice)
{
    struct sender sender;
    struct kstream_producer_options options = sender_quick_options();
    sender_open(&sender, 2, &options);
    fake_broker_plan(sender.broker, KS_OP_PUT_RECORDS, 2, FAKE_CLOSE_AFTER);
    fake_broker_plan(sender.broker, KS_OP_PUT_RECORDS, 3, FAKE_MERGE);
    sender_put(&sender, 300);
    sender_flush_all(&sender);
    sender_check_all_stored(&sender);
    ck_assert_uint_eq(fake_broker_shards(sender.broker), 3);
    ck_assert_uint_gt(sender_stats(&sender).records_repeated, 0);
    sender_close(&sender);
}
END_TEST

START_TEST(the_brokers_credit_bounds_what_is_on_its_way)
{
    struct sender sender;
    struct kstream_producer_options options = sender_quick_options();
    options.request_timeout_ms = 60000;
    options.batch_records_max =
        20; /* ten batches of it may be on their way, four times the credit */
    sender.broker = fake_broker_start(2);
    fake_broker_put_credit(sender.broker, 1000);
    sender_open_at(&sender, &options);
    for (uint32_t nth = 1; nth <= 60; nth++)
        fake_broker_plan(sender.broker, KS_OP_PUT_RECORDS, nth, FAKE_SILENCE);
    sender_put(&sender, 300);
    for (int i = 0; i < 5; i++)
        kstream_producer_poll(sender.producer, 10);
    ck_assert_uint_gt(fake_broker_put_bytes(sender.broker), 0);
    ck_assert_uint_le(fake_broker_put_bytes(sender.broker), 1000);
    sender_close(&sender);
}
END_TEST

/* Two shards are merged while the fate of a batch of the first is open: nothing goes to the child
 * before that is known, though the second has nothing to wait for. */
START_TEST(a_child_waits_for_all_its_parents)
{
    struct sender sender;
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_producer_options options = sender_quick_options();
    options.request_timeout_ms = 200;
    sender_open(&sender, 2, &options);
    unsigned char low[16] = {0x10};
    unsigned char high[16] = {0xf0};
    struct sent_record acks[3] = {{.acks = 0}};
    struct kstream_producer *p = sender.producer;
    fake_broker_plan(sender.broker, KS_OP_PUT_RECORDS, 1, FAKE_SILENCE);
    ck_assert_int_eq(
        kstream_producer_put_hashed(p, low, "k", 1, "a", 1, sender_on_ack, &acks[0], &err),
        KSTREAM_OK);
    while (fake_broker_requests(sender.broker, KS_OP_PUT_RECORDS) == 0)
        kstream_producer_poll(p, 1);
    fake_broker_merge(sender.broker);
    /* One more of the first shard, by which the producer hears of the merge. */
    ck_assert_int_eq(
        kstream_producer_put_hashed(p, low, "k", 1, "a", 1, sender_on_ack, &acks[2], &err),
        KSTREAM_OK);
    kstream_producer_poll(p, 50);
    ck_assert_int_eq(
        kstream_producer_put_hashed(p, high, "k", 1, "b", 1, sender_on_ack, &acks[1], &err),
        KSTREAM_OK);
    while (acks[0].acks == 0) {
        ck_assert_int_eq(acks[1].acks, 0);
        ck_assert_uint_eq(fake_broker_count(sender.broker, 2), 0);
        kstream_producer_poll(p, 1000);
    }
    sender_flush_all(&sender);
    ck_assert_uint_eq(acks[0].shard_index, 0);
    ck_assert_uint_eq(acks[1].shard_index, 2);
    sender_close(&sender);
}
END_TEST

/* What could not be sent to either parent goes to the child in the order of the puts. */
START_TEST(a_merge_mixes_what_waited_in_the_order_of_the_puts)
{
    struct sender sender;
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_producer_options options = slow_options();
    sender_open(&sender, 2, &options);
    struct sent_record acks[40] = {{.acks = 0}};
    for (int i = 0; i < 40; i++) {
        unsigned char hash[16] = {i % 3 ? 0x10 : 0xf0};
        ck_assert_int_eq(kstream_producer_put_hashed(
                             sender.producer, hash, "k", 1, "x", 1, sender_on_ack, &acks[i], &err),
            KSTREAM_OK);
        if (i == 20)
            fake_broker_merge(sender.broker);
    }
    sender_flush_all(&sender);
    for (int i = 0; i < 40; i++) {
        ck_assert_uint_eq(acks[i].shard_index, 2);
        ck_assert_uint_eq(acks[i].ordinal, (uint64_t)i + 1);
    }
    sender_close(&sender);
}
END_TEST

START_TEST(an_explicit_hash_key_picks_the_shard)
{
    struct sender sender;
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_producer_options options = slow_options();
    sender_open(&sender, 4, &options);
    struct sent_record acks[4] = {{.acks = 0}};
    for (int i = 0; i < 4; i++) {
        unsigned char hash[16] = {(unsigned char)(0x40 * i + 1)};
        ck_assert_int_eq(kstream_producer_put_hashed(sender.producer, hash, "same", 4, "x", 1,
                             sender_on_ack, &acks[i], &err),
            KSTREAM_OK);
    }
    sender_flush_all(&sender);
    for (uint32_t i = 0; i < 4; i++) {
        ck_assert_int_eq(acks[i].status, KSTREAM_OK);
        ck_assert_uint_eq(acks[i].shard_index, i);
    }
    sender_close(&sender);
}
END_TEST

/* A split while records with explicit hash keys wait: they move by those, not by their keys. */
START_TEST(an_explicit_hash_key_survives_a_split)
{
    struct sender sender;
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_producer_options options = slow_options();
    sender_open(&sender, 1, &options);
    struct sent_record acks[20] = {{.acks = 0}};
    for (int i = 0; i < 20; i++) {
        unsigned char hash[16] = {i % 2 ? 0xf0 : 0x10};
        ck_assert_int_eq(kstream_producer_put_hashed(sender.producer, hash, "same", 4, "x", 1,
                             sender_on_ack, &acks[i], &err),
            KSTREAM_OK);
    }
    fake_broker_split(sender.broker);
    sender_flush_all(&sender);
    for (int i = 0; i < 20; i++) {
        ck_assert_int_eq(acks[i].status, KSTREAM_OK);
        ck_assert_uint_eq(acks[i].shard_index, i % 2 ? 2u : 1u);
    }
    sender_close(&sender);
}
END_TEST

/* Puts the next record from the acknowledgement of the last. */
static void put_next(const struct kstream_ack *ack, void *arg)
{
    struct sent_record *record = arg;
    struct sender *sender = record->sender;
    struct kstream_error err = KSTREAM_ERROR_INIT;
    uint64_t left = 0;
    ck_assert_int_eq(ack->status, KSTREAM_OK);
    ck_assert_int_eq(kstream_producer_flush(sender->producer, 10, &err), KSTREAM_INVALID);
    ck_assert_int_eq(kstream_producer_close(sender->producer, 10, &left, &err), KSTREAM_INVALID);
    ck_assert_uint_eq(kstream_producer_poll(sender->producer, 10), 0);
    if (++sender->count < 100) {
        char key[2] = {(char)('a' + sender->count % 26), '\0'};
        ck_assert_int_eq(
            kstream_producer_put(sender->producer, key, 1, "x", 1, put_next, record, &err),
            KSTREAM_OK);
    }
}

START_TEST(a_callback_may_put_and_nothing_else)
{
    struct sender sender;
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_producer_options options = sender_quick_options();
    sender_open(&sender, 3, &options);
    struct sent_record record = {.sender = &sender};
    ck_assert_int_eq(
        kstream_producer_put(sender.producer, "a", 1, "x", 1, put_next, &record, &err), KSTREAM_OK);
    ck_assert_int_eq(kstream_producer_flush(sender.producer, 30000, &err), KSTREAM_OK);
    ck_assert_uint_eq(sender.count, 100);
    sender_close(&sender);
}
END_TEST

START_TEST(a_broker_that_takes_everything_and_answers_nothing_does_not_hang_anyone)
{
    struct sender sender;
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_producer_options options = sender_quick_options();
    options.request_timeout_ms = 50;
    options.retry_time_max_ms = 200;
    sender_open(&sender, 2, &options);
    for (uint32_t nth = 1; nth <= 60; nth++)
        fake_broker_plan(sender.broker, KS_OP_PUT_RECORDS, nth, FAKE_SILENCE);
    sender_put(&sender, 10);
    ck_assert_int_eq(kstream_producer_flush(sender.producer, 10, &err), KSTREAM_TIMEOUT);
    ck_assert_int_eq(sender_flush(&sender), KSTREAM_PARTIAL);
    for (size_t i = 0; i < sender.count; i++) {
        ck_assert_int_eq(sender.records[i].acks, 1);
        ck_assert_int_eq(sender.records[i].status, KSTREAM_UNAVAILABLE);
        ck_assert_int_eq(sender.records[i].outcome_unknown, 1);
    }
    sender_close(&sender);
}
END_TEST

/* The n-th allocation fails, for each n until none does: every record that was taken gets its
 * answer, and what was stored is right. */
START_TEST(without_memory_every_record_gets_its_answer)
{
    bool was_refused = true;
    for (uint64_t n = 1; was_refused; n++) {
        struct sender sender;
        struct kstream_error err = KSTREAM_ERROR_INIT;
        struct kstream_producer_options options = sender_quick_options();
        sender_open(&sender, 3, &options);
        fake_broker_plan(sender.broker, KS_OP_PUT_RECORDS, 2, FAKE_SPLIT);
        ks_alloc_fail_nth(n, false);
        for (int i = 0; i < 60; i++) {
            enum kstream_status st = sender_put_one(&sender, &err);
            ck_assert(st == KSTREAM_OK || st == KSTREAM_NO_MEMORY);
        }
        enum kstream_status st = sender_flush(&sender);
        was_refused = ks_alloc_count() >= n;
        ks_alloc_fail_nth(0, false);
        ck_assert(st == KSTREAM_OK || st == KSTREAM_PARTIAL);
        size_t stored = 0;
        for (uint32_t i = 0; i < fake_broker_shards(sender.broker); i++)
            stored += fake_broker_count(sender.broker, i);
        for (size_t i = 0; i < sender.count; i++) {
            ck_assert_int_eq(sender.records[i].acks, 1);
            stored -= sender.records[i].status == KSTREAM_OK;
        }
        ck_assert_uint_eq(stored, 0);
        sender_close(&sender);
    }
}
END_TEST

KS_SUITE("client/producer_parts")
{
    KS_TEST(the_batches_of_many_shards_travel_in_one_request);
    KS_TEST(a_part_that_is_refused_is_sent_again_alone);
    KS_TEST(one_bad_part_does_not_take_the_others_with_it);
    KS_TEST(keys_stay_in_order_through_splits_and_merges);
    KS_TEST(a_merge_behind_a_lost_answer_stores_nothing_twice);
    KS_TEST(the_brokers_credit_bounds_what_is_on_its_way);
    KS_TEST(a_child_waits_for_all_its_parents);
    KS_TEST(a_merge_mixes_what_waited_in_the_order_of_the_puts);
    KS_TEST(an_explicit_hash_key_picks_the_shard);
    KS_TEST(an_explicit_hash_key_survives_a_split);
    KS_TEST(a_callback_may_put_and_nothing_else);
    KS_TEST(a_broker_that_takes_everything_and_answers_nothing_does_not_hang_anyone);
    KS_TEST(without_memory_every_record_gets_its_answer);
}
