/* What the files of the fake broker share. */
#ifndef KS_TESTS_UNIT_CLIENT_FAKE_BROKER_PRIV_H
#define KS_TESTS_UNIT_CLIENT_FAKE_BROKER_PRIV_H

#include "base/prng.h"
#include "proto/api.pb-c.h"
#include "proto/arena.h"
#include "proto/batch.h"
#include "proto/frame.h"
#include "proto/hash_range.h"
#include "tests/unit/client/fake_broker.h"

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define CONNECTIONS_MAX 16
#define PLANS_MAX 64
#define OPS_MAX 64
#define PARKED_MAX 32
#define RECORDS_PER_ANSWER 100
#define STREAM_ID "fakeStreamFake000000-001"

struct fake_record {
    char *key;
    char *data;
};

/* One accepted batch of an idempotent producer. */
struct fake_batch {
    uint64_t producer_id;
    uint64_t sequence;
    uint32_t count;
    uint32_t body_crc;
    uint64_t first;
};

struct fake_shard {
    struct ks_hash_range range;
    bool is_open;
    bool is_expired; /* not listed any more */
    bool has_parent;
    uint32_t parents[2]; /* the same twice for one */
    struct fake_record *records;
    size_t count;
    struct fake_batch *batches;
    size_t batch_count;
    bool has_forgotten; /* producers */
};

struct fake_plan {
    enum ks_op op;
    uint32_t at; /* number of the request, counted from the start */
    enum fake_fault fault;
};

/* The body of a request that waits for records. */
struct fake_parked {
    uint8_t *body;
    size_t bytes;
};

struct fake_connection {
    int fd; /* -1: free */
    struct ks_buf in;
    struct fake_parked parked[PARKED_MAX];
    size_t parked_count;
};

struct fake_broker {
    pthread_t thread;
    pthread_mutex_t mu; /* guards all below but the connections */
    int listener;
    int wake[2];
    char endpoint[32];
    bool must_stop;
    bool is_away;
    uint64_t epoch;
    struct fake_shard shards[FAKE_SHARDS_MAX];
    uint32_t shard_count;
    struct fake_plan plans[PLANS_MAX];
    uint32_t plan_count;
    uint32_t requests[OPS_MAX];
    enum ks_status error_status;
    struct ks_prng prng;
    uint32_t misbehave_percent;
    uint32_t put_credit_bytes;
    const char *ack;
    bool allows_mismatch;
    uint32_t parts_max;
    size_t put_bytes;
    bool has_long_poll;
    struct fake_connection connections[CONNECTIONS_MAX]; /* of the thread */
};

/* The request at hand and what becomes of it. */
struct fake_request {
    struct fake_broker *broker;
    struct ks_request_view view;
    enum fake_fault fault;
    bool must_wait; /* for records */
    struct ks_arena arena;
    struct ks_buf out; /* the frame of the answer */
};

/* Each makes the frame of the answer in request->out. */
void fake_answer(struct fake_request *request, uint32_t op, const ProtobufCMessage *message);
void fake_answer_error(struct fake_request *request, enum ks_status status, uint64_t expected,
    Kstream__DescribeRoutingResponse *routing);
/* The request's message, in its arena. */
ProtobufCMessage *fake_unpack(struct fake_request *request);

Kstream__DescribeRoutingResponse *fake_routing(struct fake_request *request);
void fake_shard_store(struct fake_shard *shard, struct ks_view key, struct ks_view data);

void fake_put_routed(struct fake_request *request, const Kstream__PutRecordsRequest *message);
void fake_put_plain(struct fake_request *request, const Kstream__PutRecordsRequest *message);
void fake_put_record(struct fake_request *request);
void fake_resume_producer(struct fake_request *request);
void fake_list_shards(struct fake_request *request);
void fake_get_iterator(struct fake_request *request);
void fake_get_records(struct fake_request *request);

#endif
