/* A producer at the fake broker, and what its callbacks said of each record. */
#ifndef KS_TESTS_UNIT_CLIENT_SENDER_H
#define KS_TESTS_UNIT_CLIENT_SENDER_H

#include "tests/unit/client/fake_broker.h"
#include "tests/unit/ks_check.h"

#define SENDER_RECORDS_MAX 4000
#define SENDER_KEYS 16

/* What the callbacks said of each record. */
struct sent_record {
    struct sender *sender;
    char data[32]; /* "KEY-NUMBER" */
    int acks;
    enum kstream_status status;
    int outcome_unknown;
    uint32_t shard_index;
    uint64_t ordinal;
};

struct sender {
    struct fake_broker *broker;
    struct kstream_client *client;
    struct kstream_producer *producer;
    struct sent_record *records;
    size_t count;
};

/* No linger, five records to a batch: many batches. */
struct kstream_producer_options sender_quick_options(void);
void sender_open_at(struct sender *sender, const struct kstream_producer_options *options);
void sender_open(
    struct sender *sender, uint32_t shards, const struct kstream_producer_options *options);
/* Closes the producer (NULL is fine), the client and the broker. */
void sender_close(struct sender *sender);

void sender_on_ack(const struct kstream_ack *ack, void *arg);
/* One more record, its key by its number. */
enum kstream_status sender_put_one(struct sender *sender, struct kstream_error *err);
void sender_put(struct sender *sender, size_t count);
enum kstream_status sender_flush(struct sender *sender);
void sender_flush_all(struct sender *sender);
/* Nothing lost, nothing twice, nothing out of order; every acknowledgement points at its record. */
void sender_check_all_stored(struct sender *sender);
struct kstream_producer_stats sender_stats(const struct sender *sender);

#endif
