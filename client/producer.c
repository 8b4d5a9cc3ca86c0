#include "base/alloc.h"
#include "client/producer_priv.h"
#include "proto/sequence.h"

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
    if (options->resume && options->producer_id == 0)
        return ks_fail(err, KS_INVALID, 0, "resume needs the producer_id of the last time");
    return KS_OK;
}

static void producer_free(struct kstream_producer *p)
{
    bool is_ours = client_is_ours(p->client);
    p->is_closing = true;
    if (is_ours) {
        client_conn_fini(&p->conn);
        producer_unstage(p);
        producer_fail_all(p, KS_TIMEOUT, "the producer was closed before the broker answered");
    } else {
        client_conn_abandon(&p->conn);
        producer_forget_all(p);
    }
    producer_free_spare(p);
    producer_free_requests(p);
    producer_free_shards(p);
    ks_md5_destroy(p->md5);
    ks_free(p->resumed);
    ks_free(p->answer);
    ks_free(p->stage.bytes);
    ks_free(p->stream);
    client_remove_worker(p->client, &p->worker);
    ks_free(p);
}
KS_DEFINE_CLEANUP(struct kstream_producer, producer_free)

static size_t producer_run(struct client_worker *worker)
{
    struct kstream_producer *p = KS_CONTAINER_OF(worker, struct kstream_producer, worker);
    uint64_t before = p->answered;
    producer_pump(p);
    return (size_t)(p->answered - before);
}

static uint64_t producer_worker_timer_ns(const struct client_worker *worker)
{
    return producer_next_timer_ns(
        (const struct kstream_producer *)(const void *)((const char *)worker -
                                                        offsetof(struct kstream_producer, worker)));
}

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

/* A producer that a close can free. */
static struct kstream_producer *producer_create(struct kstream_client *client, struct ks_error *err)
{
    struct kstream_producer *p = ks_zalloc(sizeof *p);
    if (!p || client_conn_of(client, &p->conn, err) != KS_OK) {
        ks_free(p);
        KS_IGNORE(ks_fail(err, KS_NO_MEMORY, 0, "no memory for a producer"), "the caller returns");
        return NULL;
    }
    p->client = client;
    p->worker.run = producer_run;
    p->worker.timer_ns = producer_worker_timer_ns;
    ks_list_init(&p->draining);
    ks_list_init(&p->lingering);
    ks_list_init(&p->ready);
    ks_list_init(&p->paused);
    ks_list_init(&p->moving);
    ks_list_init(&p->spare_batches);
    ks_list_init(&p->requests);
    ks_list_init(&p->spare_requests);
    client_add_worker(client, &p->worker);
    return p;
}

static enum ks_status producer_set_up(struct kstream_producer *p, const char *stream,
    const struct kstream_producer_options *options, struct ks_error *err)
{
    p->options = (struct kstream_producer_options)KSTREAM_PRODUCER_OPTIONS_INIT;
    if (options)
        memcpy(&p->options, options, KS_MIN(options->size, sizeof p->options));
    enum ks_status st = options_check(&p->options, err);
    if (st)
        return st;
    p->stream = ks_strdup(stream);
    p->answer = ks_malloc(sizeof *p->answer);
    p->stage.bytes = ks_malloc(PRODUCER_STAGE_BYTES);
    if (!p->stream || !p->answer || !p->stage.bytes)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for a producer");
    st = ks_md5_create(&p->md5, err);
    return st ? st : producer_identity(p, err);
}

/* Until the shards are known. A broker that cannot be reached is an error at once, a stream that is
 * still being made is waited for. */
static enum ks_status producer_wait_ready(struct kstream_producer *p, struct ks_error *err)
{
    uint64_t deadline_ns = client_call_deadline_ns(p->client, 0);
    for (;;) {
        producer_pump(p);
        if (p->phase == PRODUCER_RUNS)
            return KS_OK;
        if (p->fatal || p->conn.closed_count > 0) {
            const struct ks_error *why = p->fatal ? &p->trouble : &p->conn.why_closed;
            p->client->last_request_id = p->fatal ? p->setup_call.request_id : 0;
            return ks_fail(err, why->status, 0, "%s", why->text);
        }
        if (client_now_ns() >= deadline_ns)
            return ks_fail(err, KS_TIMEOUT, 0, "stream '%s' cannot be used yet%s%s", p->stream,
                p->trouble.text[0] ? ": " : "", p->trouble.text);
        client_conn_wait(&p->conn, ks_min_u64(deadline_ns, producer_next_timer_ns(p)));
    }
}

static enum ks_status producer_open(struct kstream_client *client, const char *stream,
    const struct kstream_producer_options *options, struct kstream_producer **out_producer,
    struct ks_error *err)
{
    if (!stream || stream[0] == '\0' || !out_producer)
        return ks_fail(err, KS_INVALID, 0, "the name of the stream is missing");
    if (client->is_closed)
        return ks_fail(err, KS_INVALID, 0, "the client is closed");
    KS_CLEANUP(producer_freep) struct kstream_producer *p = producer_create(client, err);
    if (!p)
        return KS_NO_MEMORY;
    enum ks_status st = producer_set_up(p, stream, options, err);
    if (st)
        return st;
    if (p->options.open_in_background)
        producer_pump(p);
    else
        st = producer_wait_ready(p, err);
    if (st == KS_OK)
        *out_producer = KS_TAKE(p);
    return st;
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

/* ---- poll, flush, close ---- */

size_t kstream_producer_poll(struct kstream_producer *producer, uint32_t timeout_ms)
{
    if (producer->is_in_callback)
        return 0;
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

static const char *producer_reason(const struct kstream_producer *p)
{
    return p->trouble.text[0]         ? p->trouble.text
           : p->conn.trouble_since_ns ? p->conn.why_closed.text
                                      : "";
}

static enum ks_status producer_flush(
    struct kstream_producer *p, uint32_t timeout_ms, struct ks_error *err)
{
    uint64_t deadline_ns = client_deadline_ns(timeout_ms);
    p->is_flushing = true;
    producer_pump(p);
    while (p->memory_bytes > 0 && client_now_ns() < deadline_ns) {
        client_conn_wait(&p->conn, ks_min_u64(deadline_ns, producer_next_timer_ns(p)));
        producer_pump(p);
    }
    p->is_flushing = false;
    if (p->memory_bytes > 0) {
        const char *reason = producer_reason(p);
        return ks_fail(err, KS_TIMEOUT, 0, "%llu records are still unanswered%s%s",
            (unsigned long long)(p->stats.records_taken - p->answered), reason[0] ? ": " : "",
            reason);
    }
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
    enum ks_status st = producer->is_in_callback
                            ? ks_fail(&inner, KS_INVALID, 0, "a callback of the producer runs")
                            : producer_flush(producer, timeout_ms, &inner);
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
    enum ks_status st = KS_OK;
    if (producer->is_in_callback)
        return client_result(
            ks_fail(&inner, KS_INVALID, 0, "a callback of the producer runs"), &inner, 0, err);
    if (client_is_ours(producer->client))
        st = producer_flush(producer, timeout_ms, &inner);
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

/* ---- an id from an earlier life ---- */

uint64_t kstream_producer_id(const struct kstream_producer *producer)
{
    return producer->options.producer_id;
}

const struct kstream_resumed_shard *kstream_producer_resumed(
    const struct kstream_producer *producer, size_t *count)
{
    *count = producer->resumed_count;
    return producer->resumed;
}

int kstream_producer_resumed_holds(struct kstream_producer *producer,
    const struct kstream_resumed_shard *shard, const char *key, size_t key_bytes)
{
    struct ks_view view = ks_view_of(key, key_bytes);
    ks_u128 hash = 0;
    return ks_md5_many(producer->md5, &view, 1, &hash) == KS_OK &&
           ks_u128_load_be(shard->first_hash_key) <= hash &&
           hash <= ks_u128_load_be(shard->last_hash_key);
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
    filled.is_connected = producer->phase == PRODUCER_RUNS;
    size_t size = KS_MIN(stats->size, sizeof filled);
    filled.size = stats->size;
    memcpy(stats, &filled, size);
}

const char *kstream_producer_trouble(const struct kstream_producer *producer)
{
    return producer_reason(producer);
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
