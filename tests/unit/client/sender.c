#include "tests/unit/client/sender.h"

#include <stdio.h>

struct kstream_producer_options sender_quick_options(void)
{
    struct kstream_producer_options options = KSTREAM_PRODUCER_OPTIONS_INIT;
    options.linger_ms = 0;
    options.batch_records_max = 5;
    return options;
}

void sender_open_at(struct sender *sender, const struct kstream_producer_options *options)
{
    struct kstream_error err = KSTREAM_ERROR_INIT;
    sender->client = fake_broker_connect(sender->broker, "20000");
    sender->records = calloc(SENDER_RECORDS_MAX, sizeof *sender->records);
    sender->count = 0;
    enum kstream_status st =
        kstream_producer_open(sender->client, "clicks", options, &sender->producer, &err);
    ck_assert_msg(st == KSTREAM_OK, "%s", err.text);
}

void sender_open(
    struct sender *sender, uint32_t shards, const struct kstream_producer_options *options)
{
    sender->broker = fake_broker_start(shards);
    sender_open_at(sender, options);
}

void sender_close(struct sender *sender)
{
    uint64_t left = 0;
    KS_IGNORE(kstream_producer_close(sender->producer, 0, &left, NULL), "judged by the flush");
    kstream_close(sender->client);
    fake_broker_stop(sender->broker);
    free(sender->records);
}

void sender_on_ack(const struct kstream_ack *ack, void *arg)
{
    struct sent_record *record = arg;
    record->acks++;
    record->status = ack->status;
    record->outcome_unknown = ack->outcome_unknown;
    record->shard_index = ack->shard_index;
    record->ordinal = ack->ordinal;
}

enum kstream_status sender_put_one(struct sender *sender, struct kstream_error *err)
{
    ck_assert_uint_lt(sender->count, SENDER_RECORDS_MAX);
    struct sent_record *record = &sender->records[sender->count];
    char key[16];
    int key_bytes = snprintf(key, sizeof key, "k%zu", sender->count % SENDER_KEYS);
    snprintf(record->data, sizeof record->data, "%s-%zu", key, sender->count);
    enum kstream_status st = kstream_producer_put(sender->producer, key, (size_t)key_bytes,
        record->data, strlen(record->data), sender_on_ack, record, err);
    if (st == KSTREAM_OK)
        sender->count++;
    return st;
}

void sender_put(struct sender *sender, size_t count)
{
    struct kstream_error err = KSTREAM_ERROR_INIT;
    for (size_t i = 0; i < count; i++) {
        enum kstream_status st = sender_put_one(sender, &err);
        ck_assert_msg(st == KSTREAM_OK, "%s", err.text);
    }
}

enum kstream_status sender_flush(struct sender *sender)
{
    struct kstream_error err = KSTREAM_ERROR_INIT;
    return kstream_producer_flush(sender->producer, 30000, &err);
}

void sender_flush_all(struct sender *sender)
{
    struct kstream_error err = KSTREAM_ERROR_INIT;
    enum kstream_status st = kstream_producer_flush(sender->producer, 30000, &err);
    ck_assert_msg(st == KSTREAM_OK, "%s: %s", kstream_status_name(st), err.text);
}

/* The shard and place of every stored record of that text; their number. */
static size_t find_stored(struct fake_broker *broker, const char *data, uint32_t *shard, size_t *at)
{
    size_t found = 0;
    for (uint32_t i = 0; i < fake_broker_shards(broker); i++)
        for (size_t j = 0; j < fake_broker_count(broker, i); j++)
            if (strcmp(fake_broker_data(broker, i, j), data) == 0) {
                *shard = i;
                *at = j;
                found++;
            }
    return found;
}

/* Each shard has its records in the order of the puts, whatever their keys: what is stored of a
 * producer is a beginning. */
static void check_order(struct fake_broker *broker)
{
    for (uint32_t i = 0; i < fake_broker_shards(broker); i++) {
        long last = -1;
        for (size_t j = 0; j < fake_broker_count(broker, i); j++) {
            long number = strtol(strchr(fake_broker_data(broker, i, j), '-') + 1, NULL, 10);
            ck_assert_msg(number > last, "shard %u has %ld behind %ld", i, number, last);
            last = number;
        }
    }
}

/* Nothing lost, nothing twice, nothing out of order; every acknowledgement points at its record. */
void sender_check_all_stored(struct sender *sender)
{
    size_t stored = 0;
    for (uint32_t i = 0; i < fake_broker_shards(sender->broker); i++)
        stored += fake_broker_count(sender->broker, i);
    ck_assert_uint_eq(stored, sender->count);
    check_order(sender->broker);
    for (size_t i = 0; i < sender->count; i++) {
        const struct sent_record *record = &sender->records[i];
        uint32_t shard = 0;
        size_t at = 0;
        ck_assert_int_eq(record->acks, 1);
        ck_assert_int_eq(record->status, KSTREAM_OK);
        ck_assert_str_eq(fake_broker_data(sender->broker, record->shard_index, record->ordinal - 1),
            record->data);
        ck_assert_uint_eq(find_stored(sender->broker, record->data, &shard, &at), 1);
        if (i < SENDER_KEYS)
            continue;
        /* The record of this key before it: in the same shard before it, or in an older shard. */
        const struct sent_record *before = &sender->records[i - SENDER_KEYS];
        ck_assert(
            before->shard_index < record->shard_index ||
            (before->shard_index == record->shard_index && before->ordinal < record->ordinal));
    }
}

struct kstream_producer_stats sender_stats(const struct sender *sender)
{
    struct kstream_producer_stats stats = KSTREAM_PRODUCER_STATS_INIT;
    kstream_producer_stats(sender->producer, &stats);
    return stats;
}
