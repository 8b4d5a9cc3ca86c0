/*
 * A broker for the tests of the client: a thread on a loopback port that speaks frames, keeps
 * streams in memory, follows the rules of idempotent producers to the letter, and misbehaves when
 * told to. It has one stream, named "clicks".
 */
#ifndef KS_TESTS_UNIT_CLIENT_FAKE_BROKER_H
#define KS_TESTS_UNIT_CLIENT_FAKE_BROKER_H

#include "base/status.h"
#include "client/kstream.h"
#include "proto/operations.h"

#define FAKE_SHARDS_MAX 16
#define FAKE_CREATED_UNIX_S 1790000000u
#define FAKE_NOW_UNIX_MS 1790000001000u

/* What happens to a request instead of an ordinary answer. "done" means its effect took place. */
enum fake_fault {
    FAKE_NONE,
    FAKE_CLOSE_BEFORE, /* not done, connection closed */
    FAKE_CLOSE_AFTER,  /* done, connection closed without an answer */
    FAKE_HALF_ANSWER,  /* done, half of the answer, closed */
    FAKE_GARBAGE,      /* done, bytes that are no message */
    FAKE_WRONG_ANSWER, /* done, the answer to another operation */
    FAKE_SILENCE,      /* done, no answer at all */
    FAKE_ERROR,        /* not done, answered with error_status */
    FAKE_PART_ERROR,   /* a put: its first part is not done and answered with error_status */
    FAKE_SPLIT,        /* shard 0 or the last child is split first; then as usual */
    FAKE_MERGE,        /* two open neighbours are merged first; then as usual */
    FAKE_FORGET,       /* the producer tables are emptied first; then as usual */
    FAKE_LOSE_LAST, /* the newest batch of each shard is lost first, as by a crash; then as usual */
    FAKE_DAMAGE_RECORD, /* GetRecords: one bit of the last record of the answer is flipped */
    FAKE_SHORT_PART,    /* a plain put: answered as if its records were none, the first the last
                           possible */
    FAKE_NOTHING_YET /* GetRecords: none this time, but behind; ResumeProducer: not durable yet */
};

struct fake_broker;

/* One shard, split by the plan if there is one. */
struct fake_broker *fake_broker_start(uint32_t shards);
void fake_broker_stop(struct fake_broker *broker);
const char *fake_broker_endpoint(const struct fake_broker *broker);

/* The n-th request of that operation from now (1 is the next) meets the fault, once. Up to 64. */
void fake_broker_plan(
    struct fake_broker *broker, enum ks_op op, uint32_t nth, enum fake_fault fault);
/* The status of FAKE_ERROR from now on. */
void fake_broker_error_status(struct fake_broker *broker, enum ks_status status);
/* Every put meets one of the faults that cost nothing with this probability. */
void fake_broker_misbehave(struct fake_broker *broker, uint64_t seed, uint32_t percent);
/* What the routing says of the stream's ack from now on. */
void fake_broker_ack(struct fake_broker *broker, const char *ack);
void fake_broker_put_credit(struct fake_broker *broker, uint32_t bytes);
/* Closes all connections and refuses new ones, or takes them again. */
void fake_broker_away(struct fake_broker *broker, bool is_away);

/* Every batch of the next answers holds that many records at most. */
void fake_broker_append(
    struct fake_broker *broker, uint32_t shard, const char *key, const char *data);
/* A GetRecords with wait_ms that finds nothing waits from now on, until there is something. */
void fake_broker_long_poll(struct fake_broker *broker);
void fake_broker_split(struct fake_broker *broker);
void fake_broker_merge(struct fake_broker *broker);
void fake_broker_merge_shards(struct fake_broker *broker, uint32_t low, uint32_t high);
/* The shard is not there any more, as when its last record has expired. */
void fake_broker_expire(struct fake_broker *broker, uint32_t shard);
/* A batch that is not the one first sent under its sequence is refused, not a broken test. */
void fake_broker_allow_mismatch(struct fake_broker *broker);
/* Bytes of records in all puts so far. */
size_t fake_broker_put_bytes(struct fake_broker *broker);
/* The most parts that a put has had. */
uint32_t fake_broker_parts_max(struct fake_broker *broker);
/* Closes the shard to writers: its readers get to its end. */
void fake_broker_close_shard(struct fake_broker *broker, uint32_t shard);

/* What is stored. Texts live until the broker is stopped. */
size_t fake_broker_count(struct fake_broker *broker, uint32_t shard);
uint32_t fake_broker_shards(struct fake_broker *broker);
const char *fake_broker_data(struct fake_broker *broker, uint32_t shard, size_t index);
/* Requests of that operation so far. */
uint32_t fake_broker_requests(struct fake_broker *broker, enum ks_op op);

struct kstream_client *fake_broker_connect(struct fake_broker *broker, const char *timeout_ms);

#endif
