/*
 * The parts of an idempotent producer. producer.c is what the caller sees, producer_batch.c fills
 * and re-routes batches, producer_send.c talks to the broker.
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

#define PRODUCER_IN_FLIGHT_MAX 5u /* DESIGN 8: the broker remembers that many per producer */
#define PRODUCER_BACKOFF_MS_FIRST 10u
#define PRODUCER_SPARE_BATCHES 8u /* emptied batches kept, so that their memory is reused */

struct producer_entry {
    kstream_ack_fn on_ack;
    void *arg;
    uint64_t put_ns;
};

struct producer_batch {
    struct ks_list node; /* in its shard's list, or among the spare ones */
    struct client_call call;
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
    uint64_t sent_ns;
    uint32_t attempts;
    bool is_sealed;
    bool is_in_flight;
    bool is_maybe_stored; /* an attempt was sent whose answer never came */
};

struct producer_shard {
    struct kstream_producer *producer;
    uint32_t index;
    struct ks_hash_range range;
    bool is_open;           /* in the present routing */
    struct ks_list batches; /* the oldest first; at most the last one is not sealed */
    uint32_t in_flight;
    bool must_settle; /* a batch came back: send nothing until none is in flight */
    uint64_t in_flight_producer_id;
    uint64_t producer_id; /* for batches that get a sequence from now on */
    uint64_t next_sequence;
    uint64_t not_before_ns;    /* back-off after a refusal */
    uint32_t backoff_ms;       /* 0: none */
    uint64_t trouble_since_ns; /* first refusal since the last success; 0: none */
};

struct producer_routing {
    uint64_t epoch;
    uint32_t count;
    struct ks_hash_range *ranges; /* sorted; they tile all keys */
    struct producer_shard **shards;
};

struct kstream_producer {
    struct client_conn conn;
    struct kstream_producer_options options;
    uint32_t connect_timeout_ms;
    char stream_id[64];
    uint32_t record_bytes_max;
    bool is_ack_memory; /* what was answered may be lost by a crash of the broker */
    struct ks_md5 *md5;
    struct ks_prng jitter;
    struct producer_shard **shards; /* every shard ever seen */
    uint32_t shard_count;
    uint32_t draining; /* closed shards that still have batches */
    struct producer_routing routing;
    struct ks_list spare;
    uint32_t spare_count;
    uint32_t turn; /* the shard that may send first */

    struct client_call routing_call;
    bool is_routing_fresh; /* asked for on this connection */
    bool has_begun;        /* a connection was begun whose end has not been dealt with */
    bool wants_turn;       /* an answer came: there may be more to send */
    uint64_t routing_sent_ns;
    uint64_t connect_since_ns;
    uint64_t reconnect_not_before_ns;
    uint32_t reconnect_backoff_ms;
    uint64_t trouble_since_ns; /* without a connection that works; 0: all is well */
    struct ks_error trouble;
    enum ks_status fatal; /* the stream is gone: nothing can be sent any more */

    uint64_t pumped_ns;
    uint64_t in_flight_bytes;
    uint64_t memory_bytes;
    bool is_flushing; /* open batches are due now */
    bool is_in_callback;
    uint64_t answered; /* records whose fate is known */
    uint64_t failed_since_flush;
    struct ks_error first_failure;
    struct kstream_producer_stats stats;
    struct client_histogram latency;
};

/* ---- producer_batch.c ---- */

/* The shard that record goes to now: a closed one that still has batches keeps its keys in order.
 */
struct producer_shard *producer_route(struct kstream_producer *p, ks_u128 hash);
enum ks_status producer_hash(struct kstream_producer *p, struct ks_view key, ks_u128 *out_hash,
    struct ks_error *err) KS_MUST_USE;
/* What a record adds to memory_bytes. */
size_t producer_record_cost(size_t key_bytes, size_t data_bytes);
/* A new record with its checksum. Errors: KS_NO_MEMORY, nothing taken. */
enum ks_status producer_shard_append(struct producer_shard *shard, const struct ks_view *key,
    const struct ks_view *data, const struct producer_entry *entry,
    struct ks_error *err) KS_MUST_USE;
/* Moves the batches of a closed shard, none of which can be stored, to the shards of today. */
void producer_shard_reroute(struct producer_shard *shard);
struct producer_batch *producer_shard_head(struct producer_shard *shard);
struct producer_batch *producer_shard_open_batch(struct producer_shard *shard);
/* A new producer id from now on; sequences that were certainly not stored are given back. */
void producer_shard_new_identity(struct producer_shard *shard);

/* Makes the shards of the message the present ones. Errors: KS_PROTOCOL, KS_NO_MEMORY. */
enum ks_status producer_adopt_routing(struct kstream_producer *p,
    const Kstream__DescribeRoutingResponse *routing, struct ks_error *err) KS_MUST_USE;

/* The end of a batch: calls the callbacks, unlinks and recycles it. */
void producer_batch_succeed(struct producer_batch *batch, const Kstream__ShardPutResult *result);
void producer_batch_fail(struct producer_batch *batch, enum ks_status status, const char *text);
/* Every batch of the producer. */
void producer_fail_all(struct kstream_producer *p, enum ks_status status, const char *text);
void producer_free_shards(struct kstream_producer *p);

/* ---- producer_send.c ---- */

/* Whatever is possible now without waiting. */
void producer_pump(struct kstream_producer *p);
/* When producer_pump has something to do next, the socket apart. */
uint64_t producer_next_timer_ns(const struct kstream_producer *p);

#endif
