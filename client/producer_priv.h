/*
 * The parts of an idempotent producer. producer.c is what the caller sees, producer_put.c takes
 * records, producer_batch.c holds them, producer_routing.c knows the shards, producer_send.c talks
 * to the broker and producer_judge.c decides what an answer means.
 *
 * A batch stays in its shard's list, in order, until its fate is known:
 *   open -> sealed -> in flight -> acknowledged | failed
 *              ^------------/  (refused for now, or the connection was lost)
 * It keeps producer id and sequence through every attempt, so the broker can tell a repetition.
 * They are given back only when it is certain that no attempt was stored.
 */
#ifndef KS_CLIENT_PRODUCER_PRIV_H
#define KS_CLIENT_PRODUCER_PRIV_H

#include "base/md5.h"
#include "base/prng.h"
#include "client/client.h"
#include "client/histogram.h"
#include "proto/hash_range.h"
#include "proto/put_records.h"

#define PRODUCER_IN_FLIGHT_MAX 5u /* DESIGN 8: the broker remembers that many per producer */
#define PRODUCER_SPARE_PART 4u    /* emptied batches keep up to this part of memory_bytes_max */
#define PRODUCER_STAGED_MAX 16u   /* keys hashed at a time */
#define PRODUCER_STAGE_BYTES (64u << 10)

struct producer_entry {
    kstream_ack_fn on_ack;
    void *arg;
    uint64_t put_ns;
};

struct producer_shard;

struct producer_batch {
    struct ks_list node; /* in its shard's list, or among the spare ones */
    struct kstream_producer *producer;
    struct producer_shard *shard;
    struct ks_buf records; /* encoded, as they will be stored */
    struct producer_entry *entries;
    uint32_t count;
    uint32_t capacity; /* of entries */
    uint64_t payload_bytes;
    uint64_t producer_id;       /* 0 while no sequence is assigned */
    uint64_t producer_sequence; /* 1 is the first of its producer id */
    uint64_t opened_ns;
    uint32_t attempts;
    bool is_sealed;
    bool is_in_flight;
    bool is_maybe_stored; /* an attempt was sent whose answer never came */
    bool is_alone;        /* a request that it was part of was refused whole: to find the culprit */
};

/* Where a shard waits to be sent; shard_place decides. */
enum producer_place {
    PRODUCER_IDLE,    /* nothing to send, or not before an answer */
    PRODUCER_LINGERS, /* p->lingering: its open batch may still grow */
    PRODUCER_READY,   /* p->ready: something can go now */
    PRODUCER_PAUSES,  /* p->paused: after a refusal */
    PRODUCER_MOVES    /* p->moving: closed, without open questions, see producer_move.c */
};

struct producer_shard {
    struct kstream_producer *producer;
    struct ks_list node; /* in the list of its place */
    enum producer_place place;
    uint32_t index;
    char id[KSTREAM_SHARD_ID_BYTES];
    struct ks_hash_range range;
    bool is_open;              /* in the present routing */
    struct ks_list drain_node; /* p->draining: closed, and has batches */
    struct ks_list batches;    /* the oldest first; at most the last one is not sealed */
    uint32_t in_flight;
    bool must_settle; /* a batch came back: send nothing until none is in flight */
    uint64_t in_flight_producer_id;
    uint64_t producer_id; /* for batches that get a sequence from now on */
    uint64_t next_sequence;
    uint64_t not_before_ns;    /* back-off after a refusal */
    uint32_t backoff_ms;       /* 0: none */
    uint64_t trouble_since_ns; /* first refusal since the last success; 0: none */
    bool gives_up;             /* that was too long ago: when none is in flight, all fail */
};

struct producer_routing {
    uint64_t epoch;
    uint32_t count;
    struct ks_hash_range *ranges; /* sorted; they tile all keys */
    struct producer_shard **shards;
};

/* One PutRecords on its way. */
struct producer_request {
    struct client_call call;
    struct ks_list node; /* in flight, or among the spare ones */
    struct kstream_producer *producer;
    size_t bytes;
    uint32_t record_count;
    uint32_t count;
    uint32_t capacity;
    struct producer_batch **batches;
};

/* A record on its way into a batch. */
struct producer_record {
    const struct ks_record *record;
    struct ks_view encoded; /* bytes == 0: encode the record */
    size_t encoded_bytes;
    size_t payload_bytes;
    struct producer_entry entry;
};

/* One whose key is not hashed yet; its bytes lie in stage.bytes. */
struct producer_staged {
    struct producer_record record;
    struct ks_view key;
    bool has_hash; /* an explicit one */
    ks_u128 hash;
};

struct producer_stage {
    uint8_t *bytes; /* PRODUCER_STAGE_BYTES */
    size_t used;
    uint32_t count;
    struct producer_staged list[PRODUCER_STAGED_MAX];
};

/* What is asked, in this order, before records can be sent; again on each new connection. */
enum producer_phase {
    PRODUCER_WANTS_ROUTING,
    PRODUCER_WANTS_RESUME, /* options.resume, once */
    PRODUCER_RUNS
};

struct kstream_producer {
    struct client_worker worker;
    struct kstream_client *client;
    struct client_conn conn;
    struct kstream_producer_options options;
    char *stream; /* as the caller named it, until stream_id is known */
    char stream_id[64];
    uint32_t record_bytes_max;
    bool is_ack_memory; /* what was answered may be lost by a crash of the broker */
    struct ks_md5 *md5;
    struct ks_prng jitter;
    struct producer_shard **shards; /* every shard ever seen, sorted by index */
    uint32_t shard_count;
    struct ks_list draining; /* closed shards that still have batches, the first closed first */
    struct producer_routing routing;
    struct ks_list lingering; /* the batch that was opened first comes first */
    struct ks_list ready;
    struct ks_list paused;
    struct ks_list moving;
    struct ks_list spare_batches;
    size_t spare_bytes;
    struct ks_list requests; /* in flight, the oldest first */
    struct ks_list spare_requests;
    struct ks_put_response *answer; /* room to take one apart */
    struct producer_stage stage;

    enum producer_phase phase;
    struct client_call setup_call; /* of the phase */
    uint64_t setup_not_before_ns;
    uint32_t setup_backoff_ms;
    bool has_resumed;
    struct kstream_resumed_shard *resumed;
    size_t resumed_count;

    bool wants_turn;           /* an answer came: there may be more to send */
    bool has_failed;           /* a question was refused since the last turn */
    bool has_drained;          /* a closed shard has no batches any more: its children may go */
    bool is_short;             /* of memory for a request: tried again after a pause */
    uint64_t trouble_since_ns; /* first failed attempt since the last success; 0: none */
    uint64_t closed_count;     /* of the connection, when it was last looked at */
    struct ks_error trouble;   /* text "" when all is well */
    enum ks_status fatal;      /* nothing can be sent any more; trouble says why */

    uint64_t pumped_ns;
    uint64_t last_put_ns;
    uint64_t in_flight_bytes;
    uint64_t memory_bytes;
    bool is_flushing; /* open batches are due now */
    bool is_in_callback;
    bool is_closing;
    bool is_unstaging;
    bool has_sealed;   /* a batch has become full since the last pump of a put */
    uint64_t answered; /* records whose fate is known */
    uint64_t failed_since_flush;
    struct ks_error first_failure;
    struct kstream_producer_stats stats;
    struct client_histogram latency;
};

/* ---- producer_put.c ---- */

/* Staged records enter the batches of their shards. */
void producer_unstage(struct kstream_producer *p);

/* ---- producer_routing.c ---- */

/* The shard that a key goes to now: a closed one that still has batches keeps its keys in order. */
struct producer_shard *producer_route(struct kstream_producer *p, ks_u128 hash);
/* Whether a key's hash makes no difference. */
static inline bool producer_has_one_way(const struct kstream_producer *p)
{
    return p->routing.count == 1 && ks_list_is_empty(&p->draining);
}
/* Makes the shards of the message the present ones. Errors: KS_PROTOCOL, KS_NO_MEMORY. */
enum ks_status producer_adopt_routing(struct kstream_producer *p,
    const Kstream__DescribeRoutingResponse *routing, struct ks_error *err) KS_MUST_USE;
/* Takes up where the producer's id left off. Errors: KS_PROTOCOL, KS_NO_MEMORY. */
enum ks_status producer_adopt_resume(struct kstream_producer *p,
    const Kstream__ResumeProducerResponse *known, struct ks_error *err) KS_MUST_USE;
struct producer_shard *producer_find_shard(struct kstream_producer *p, uint32_t index);
/* Decides anew where the shard waits; after any change of its batches, or with time. */
void producer_place_shard(struct producer_shard *shard, uint64_t now_ns);
void producer_place_all(struct kstream_producer *p);
void producer_free_shards(struct kstream_producer *p);

/* ---- producer_batch.c ---- */

/* What a record adds to memory_bytes. */
size_t producer_record_cost(size_t encoded_bytes);
/* Encodes the record, or copies it as it is. Errors: KS_NO_MEMORY, nothing taken. */
enum ks_status producer_shard_append(
    struct producer_shard *shard, const struct producer_record *record) KS_MUST_USE;
struct producer_batch *producer_shard_head(struct producer_shard *shard);
struct producer_batch *producer_shard_open_batch(struct producer_shard *shard);
/* The first that is not in flight; of a closed shard, only if the broker may have it. */
struct producer_batch *producer_shard_next(struct producer_shard *shard);
/* A new producer id from now on; sequences that were certainly not stored are given back. */
void producer_shard_new_identity(struct producer_shard *shard);

/* The end of a batch: calls the callbacks, unlinks and recycles it. */
void producer_batch_succeed(struct producer_batch *batch, const struct ks_put_result *result);
void producer_batch_fail(struct producer_batch *batch, enum ks_status status, const char *text);
/* One record that was taken and is in no batch. */
void producer_taken_fail(struct kstream_producer *p, const struct producer_entry *entry,
    size_t encoded_bytes, enum ks_status status);
/* Takes the batch out of its shard; the caller still reads it and then recycles it. */
void producer_batch_unlink(struct producer_batch *batch);
void producer_batch_recycle(struct producer_batch *batch);
/* Every batch of the producer, none of which is in flight. */
void producer_fail_all(struct kstream_producer *p, enum ks_status status, const char *text);
/* The same without a word to anybody, in the child of a fork. */
void producer_forget_all(struct kstream_producer *p);
void producer_free_spare(struct kstream_producer *p);

/* ---- producer_move.c ---- */

/* Hands what waits in closed shards to their children, as far as it is clear what waits. */
void producer_move(struct kstream_producer *p);
/* A shard to which nothing is sent yet: a parent still drains. */
bool producer_shard_is_held(const struct producer_shard *shard);

/* ---- producer_judge.c ---- */

/* What the broker says of a batch, which is not in flight any more. */
void producer_batch_judge(struct producer_batch *batch, const struct ks_put_result *result);
/* It refused a whole request. */
struct client_broker_error;
void producer_request_refused(
    struct producer_request *request, const struct client_broker_error *error, const char *text);
/* Nothing will ever be sent again: all that waits fails. */
void producer_die(struct kstream_producer *p, enum ks_status status, const char *text);

/* ---- producer_send.c ---- */

/* The first record that waits: the time allowed for retries starts with the next failure, and a
 * pause between attempts that grew while nobody wanted anything must not use it up. */
void producer_begin_waiting(struct kstream_producer *p);
/* Whatever is possible now without waiting. */
void producer_pump(struct kstream_producer *p);
/* When producer_pump has something to do next, the socket apart. */
uint64_t producer_next_timer_ns(const struct kstream_producer *p);
/* The routing is asked for again, after a pause. */
void producer_ask_anew(struct kstream_producer *p);
void producer_free_requests(struct kstream_producer *p);

#endif
