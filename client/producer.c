#include "base/alloc.h"
#include "client/producer_priv.h"
#include "proto/batch.h"
#include "proto/sequence.h"

#include <poll.h>
#include <stdio.h>

#define PUMP_EVERY_NS 1000000u /* kstream_producer_put looks at the socket at most that often */
#define OPEN_POLL_MS 20u       /* a stream that is being made is looked at that often */

/* ---- open ---- */

static enum ks_status options_check(
    const struct kstream_producer_options *options, struct ks_error *err)
{
    if (options->batch_bytes_max == 0 || options->batch_bytes_max > KS_PUT_BYTES_MAX)
        return ks_fail(
            err, KS_INVALID, 0, "batch_bytes_max is not between 1 and %u", KS_PUT_BYTES_MAX);
    if (options->batch_records_max == 0 || options->batch_records_max > KS_PUT_ROUTED_RECORDS_MAX)
        return ks_fail(err, KS_INVALID, 0, "batch_records_max is not between 1 and %u",
            KS_PUT_ROUTED_RECORDS_MAX);
    if (options->in_flight_max == 0 || options->in_flight_max > PRODUCER_IN_FLIGHT_MAX)
        return ks_fail(
            err, KS_INVALID, 0, "in_flight_max is not between 1 and %u", PRODUCER_IN_FLIGHT_MAX);
    if (options->memory_bytes_max == 0 || options->request_timeout_ms == 0 ||
        options->retry_time_max_ms == 0)
        return ks_fail(err, KS_INVALID, 0,
            "memory_bytes_max, request_timeout_ms and retry_time_max_ms cannot be 0");
    return KS_OK;
}

static enum ks_status producer_learn_routing(struct kstream_client *client,
    struct kstream_producer *p, const char *stream, uint64_t deadline_ns, bool *out_is_ready,
    struct ks_error *err)
{
    Kstream__DescribeRoutingRequest request = KSTREAM__DESCRIBE_ROUTING_REQUEST__INIT;
    CLIENT_NAME_STREAM(&request, stream);
    struct client_exchange exchange = {.op = KS_OP_DESCRIBE_ROUTING,
        .request = &request.base,
        .deadline_ns = deadline_ns,
        .is_repeatable = true};
    struct ks_arena arena;
    ks_arena_init(&arena, CLIENT_ANSWER_BYTES_MAX);
    ProtobufCMessage *message = NULL;
    enum ks_status st = client_call(client, &exchange, &arena, &message, err);
    if (st == KS_OK) {
        const Kstream__DescribeRoutingResponse *routing = (const void *)message;
        *out_is_ready = strcmp(routing->stream_status, "CREATING") != 0;
        if (*out_is_ready)
            st = producer_adopt_routing(p, routing, err);
    }
    ks_arena_fini(&arena);
    return st;
}

/* A stream that is still being made is waited for. */
static enum ks_status producer_wait_routing(struct kstream_client *client,
    struct kstream_producer *p, const char *stream, struct ks_error *err)
{
    uint64_t deadline_ns = client_call_deadline_ns(client, 0);
    for (;;) {
        bool is_ready = false;
        enum ks_status st = producer_learn_routing(client, p, stream, deadline_ns, &is_ready, err);
        if (st || is_ready)
            return st;
        uint64_t wake_ns = client_deadline_ns(OPEN_POLL_MS);
        if (wake_ns >= deadline_ns)
            return ks_fail(err, KS_TIMEOUT, 0, "stream '%s' is still being made", stream);
        KS_IGNORE(poll(NULL, 0, client_poll_ms(wake_ns)), "an interrupted pause is a short one");
    }
}

static void producer_free(struct kstream_producer *p)
{
    client_conn_fini(&p->conn);
    producer_fail_all(p, KS_TIMEOUT, "the producer was closed before the broker answered");
    producer_free_shards(p);
    ks_md5_destroy(p->md5);
    ks_free(p);
}
KS_DEFINE_CLEANUP(struct kstream_producer, producer_free)

static enum ks_status producer_identity(struct kstream_producer *p, struct ks_error *err)
{
    uint64_t seed[2];
    enum ks_status st = ks_random_bytes(seed, sizeof seed, err);
    if (st)
        return st;
    ks_prng_seed(&p->jitter, seed[0]);
    while (p->options.producer_id == 0)
        p->options.producer_id = seed[1] ? seed[1] : ks_prng_u64(&p->jitter);
    return KS_OK;
}

static enum ks_status producer_open(struct kstream_client *client, const char *stream,
    const struct kstream_producer_options *options, struct kstream_producer **out_producer,
    struct ks_error *err)
{
    if (!stream || stream[0] == '\0')
        return ks_fail(err, KS_INVALID, 0, "the name of the stream is missing");
    struct kstream_producer *fresh = ks_zalloc(sizeof *fresh);
    if (!fresh)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for a producer");
    enum ks_status st = client_conn_init(&fresh->conn, &client->endpoint, err);
    if (st) {
        ks_free(fresh);
        return st;
    }
    KS_CLEANUP(producer_freep) struct kstream_producer *p = fresh;
    ks_list_init(&p->spare);
    p->options = (struct kstream_producer_options)KSTREAM_PRODUCER_OPTIONS_INIT;
    if (options)
        memcpy(&p->options, options, KS_MIN(options->size, sizeof p->options));
    p->connect_timeout_ms = client->connect_timeout_ms;
    st = options_check(&p->options, err);
    if (st == KS_OK)
        st = ks_md5_create(&p->md5, err);
    if (st == KS_OK)
        st = producer_identity(p, err);
    if (st == KS_OK)
        st = producer_wait_routing(client, p, stream, err);
    if (st)
        return st;
    producer_pump(p);
    *out_producer = KS_TAKE(p);
    return KS_OK;
}

enum kstream_status kstream_producer_open(struct kstream_client *client, const char *stream,
    const struct kstream_producer_options *options, struct kstream_producer **out_producer,
    struct kstream_error *err)
{
    struct ks_error inner = KS_ERROR_INIT;
    client->last_request_id = 0;
    enum ks_status st = producer_open(client, stream, options, out_producer, &inner);
    return client_result(st, &inner, client->last_request_id, err);
}

/* ---- put ---- */

static enum ks_status put_check(struct kstream_producer *p, const struct ks_view *key,
    const struct ks_view *data, struct ks_error *err)
{
    KS_ASSERT(!p->is_in_callback);
    if (p->fatal) {
        if (err)
            *err = p->trouble;
        return p->fatal;
    }
    if (!ks_key_is_valid(*key))
        return ks_fail(err, KS_VALIDATION, 0,
            "the partition key is not 1 to %u characters of UTF-8",
            KS_PARTITION_KEY_CHARACTERS_MAX);
    if (data->bytes > p->record_bytes_max || key->bytes > p->record_bytes_max - data->bytes)
        return ks_fail(err, KS_TOO_LARGE, 0, "a record of %zu bytes, the stream's limit is %u",
            data->bytes + key->bytes, p->record_bytes_max);
    return KS_OK;
}

static bool producer_has_room(const struct kstream_producer *p, size_t cost)
{
    return p->memory_bytes == 0 || p->memory_bytes + cost <= p->options.memory_bytes_max;
}

/* False: no room within the time the caller allows. */
static bool producer_make_room(struct kstream_producer *p, size_t cost)
{
    if (producer_has_room(p, cost))
        return true;
    producer_pump(p);
    uint64_t deadline_ns = client_deadline_ns(p->options.block_ms_max);
    while (!producer_has_room(p, cost)) {
        if (client_now_ns() >= deadline_ns)
            return false;
        client_conn_wait(&p->conn, ks_min_u64(deadline_ns, producer_next_timer_ns(p)));
        producer_pump(p);
    }
    return true;
}

/* The first record that waits: the time allowed for retries starts here, and a pause between
 * attempts that grew while nobody wanted anything must not use it up. */
static void producer_first_waits(struct kstream_producer *p, uint64_t now_ns)
{
    bool is_open = p->conn.state == CLIENT_CONN_OPEN;
    p->trouble_since_ns = is_open || p->trouble_since_ns == 0 ? 0 : now_ns;
    p->reconnect_backoff_ms = 0;
    p->reconnect_not_before_ns =
        ks_min_u64(p->reconnect_not_before_ns, now_ns + PRODUCER_BACKOFF_MS_FIRST * 1000000u);
}

static enum ks_status producer_put(struct kstream_producer *p, const struct ks_view *key,
    const struct ks_view *data, struct producer_entry *entry, struct ks_error *err)
{
    ks_u128 hash;
    enum ks_status st = producer_hash(p, *key, &hash, err);
    if (st)
        return st;
    if (p->memory_bytes == 0)
        producer_first_waits(p, entry->put_ns);
    struct producer_shard *shard = producer_route(p, hash);
    st = producer_shard_append(shard, key, data, entry, err);
    if (st)
        return st;
    p->stats.records_taken++;
    bool is_full = producer_shard_open_batch(shard) == NULL;
    if (is_full || entry->put_ns - p->pumped_ns >= PUMP_EVERY_NS) {
        p->pumped_ns = entry->put_ns;
        producer_pump(p);
    }
    return KS_OK;
}

enum kstream_status kstream_producer_put(struct kstream_producer *producer, const char *key,
    size_t key_bytes, const void *data, size_t data_bytes, kstream_ack_fn on_ack, void *arg,
    struct kstream_error *err)
{
    struct ks_error inner = KS_ERROR_INIT;
    struct ks_view key_view = ks_view_of(key, key ? key_bytes : 0);
    struct ks_view data_view = ks_view_of(data, data ? data_bytes : 0);
    enum ks_status st = put_check(producer, &key_view, &data_view, &inner);
    if (st)
        return client_result(st, &inner, 0, err);
    if (!producer_make_room(producer, producer_record_cost(key_bytes, data_view.bytes))) {
        if (err) {
            *err = (struct kstream_error){.status = KSTREAM_FULL, .retryable = 1};
            snprintf(err->text, sizeof err->text,
                "the producer holds %llu bytes unanswered%s%.150s",
                (unsigned long long)producer->memory_bytes, producer->trouble.text[0] ? ": " : "",
                producer->trouble.text);
        }
        return KSTREAM_FULL;
    }
    struct producer_entry entry = {.on_ack = on_ack, .arg = arg, .put_ns = client_now_ns()};
    st = producer_put(producer, &key_view, &data_view, &entry, &inner);
    return client_result(st, &inner, 0, err);
}

/* ---- poll, flush, close ---- */

size_t kstream_producer_poll(struct kstream_producer *producer, uint32_t timeout_ms)
{
    KS_ASSERT(!producer->is_in_callback);
    uint64_t before = producer->answered;
    uint64_t deadline_ns = client_deadline_ns(timeout_ms);
    producer_pump(producer);
    while (producer->answered == before && client_now_ns() < deadline_ns) {
        client_conn_wait(
            &producer->conn, ks_min_u64(deadline_ns, producer_next_timer_ns(producer)));
        producer_pump(producer);
    }
    return (size_t)(producer->answered - before);
}

static enum ks_status producer_flush(
    struct kstream_producer *p, uint32_t timeout_ms, struct ks_error *err)
{
    KS_ASSERT(!p->is_in_callback);
    uint64_t deadline_ns = client_deadline_ns(timeout_ms);
    p->is_flushing = true;
    producer_pump(p);
    while (p->memory_bytes > 0 && client_now_ns() < deadline_ns) {
        client_conn_wait(&p->conn, ks_min_u64(deadline_ns, producer_next_timer_ns(p)));
        producer_pump(p);
    }
    p->is_flushing = false;
    if (p->memory_bytes > 0)
        return ks_fail(err, KS_TIMEOUT, 0, "%llu records are still unanswered%s%s",
            (unsigned long long)(p->stats.records_taken - p->answered),
            p->trouble.text[0] ? ": " : "", p->trouble.text);
    uint64_t failed = p->failed_since_flush;
    p->failed_since_flush = 0;
    if (failed == 0)
        return KS_OK;
    return ks_fail(err, KS_PARTIAL, 0, "%llu records failed, the first: %s",
        (unsigned long long)failed, p->first_failure.text);
}

enum kstream_status kstream_producer_flush(
    struct kstream_producer *producer, uint32_t timeout_ms, struct kstream_error *err)
{
    struct ks_error inner = KS_ERROR_INIT;
    enum ks_status st = producer_flush(producer, timeout_ms, &inner);
    return client_result(st, &inner, 0, err);
}

enum kstream_status kstream_producer_close(struct kstream_producer *producer, uint32_t timeout_ms,
    uint64_t *left_records, struct kstream_error *err)
{
    if (left_records)
        *left_records = 0;
    if (!producer)
        return KSTREAM_OK;
    struct ks_error inner = KS_ERROR_INIT;
    enum ks_status st = producer_flush(producer, timeout_ms, &inner);
    if (left_records)
        *left_records = producer->stats.records_taken - producer->answered;
    producer_free(producer);
    return client_result(st, &inner, 0, err);
}

uint32_t kstream_producer_wants(struct kstream_producer *producer, int *fd, short *poll_events)
{
    *fd = producer->conn.fd;
    *poll_events = client_conn_events(&producer->conn);
    return (uint32_t)client_poll_ms(producer_next_timer_ns(producer));
}

/* ---- what it is doing ---- */

void kstream_producer_stats(
    const struct kstream_producer *producer, struct kstream_producer_stats *stats)
{
    struct kstream_producer_stats filled = producer->stats;
    uint64_t opened = producer->conn.opened_count;
    filled.records_waiting = filled.records_taken - producer->answered;
    filled.reconnects = opened > 0 ? opened - 1 : 0;
    filled.memory_bytes = producer->memory_bytes;
    filled.latency_p50_ns = client_histogram_percentile(&producer->latency, 50);
    filled.latency_p99_ns = client_histogram_percentile(&producer->latency, 99);
    filled.latency_max_ns = producer->latency.max;
    filled.is_connected = producer->is_routing_fresh;
    size_t size = KS_MIN(stats->size, sizeof filled);
    filled.size = stats->size;
    memcpy(stats, &filled, size);
}

const char *kstream_producer_trouble(const struct kstream_producer *producer)
{
    return producer->trouble.text;
}

void kstream_ack_sequence_number(const struct kstream_ack *ack, char text[KSTREAM_SEQUENCE_BYTES])
{
    text[0] = '\0';
    if (ack->status != KSTREAM_OK || ack->ordinal == 0)
        return;
    struct ks_sequence_number number = {.created_unix_s = ack->shard_created_unix_s,
        .ordinal = ack->ordinal,
        .arrival_unix_s = ack->arrival_unix_ms / 1000,
        .shard_index = ack->shard_index};
    ks_sequence_to_text(&number, text);
}
