#include "base/alloc.h"
#include "client/producer_priv.h"
#include "proto/sequence.h"

#define BACKOFF_MS_MAX 1000u
/* Not more waits for the socket: what is not yet written could still be batched. */
#define BACKLOG_BYTES_MAX (4u << 20)
#define TURNS_MAX 64
#define TIMER_MS_MAX                                                                               \
    1000u /* looked at that often in any case: retry times, memory that was short */

/* ---- back-off ---- */

/* Doubles *backoff_ms and returns when to try again: between half of it and all of it from now, so
 * that a thousand producers do not come back in the same millisecond. */
static uint64_t backoff_next_ns(struct kstream_producer *p, uint32_t *backoff_ms)
{
    *backoff_ms = *backoff_ms ? KS_MIN(*backoff_ms * 2, BACKOFF_MS_MAX) : PRODUCER_BACKOFF_MS_FIRST;
    uint64_t half_ns = (uint64_t)*backoff_ms * 500000u;
    return client_now_ns() + half_ns + ks_prng_below(&p->jitter, half_ns);
}

static bool has_passed_ms(uint64_t since_ns, uint32_t ms)
{
    return client_now_ns() - since_ns >= (uint64_t)ms * 1000000u;
}

/* ---- the connection ---- */

static void producer_in_trouble(struct kstream_producer *p, const struct ks_error *why)
{
    p->trouble = *why;
    if (p->trouble_since_ns == 0)
        p->trouble_since_ns = client_now_ns();
    p->reconnect_not_before_ns = backoff_next_ns(p, &p->reconnect_backoff_ms);
}

static void routing_done(struct client_call *call, enum ks_status status, uint8_t *frame,
    const struct ks_response_view *response, const struct ks_error *err KS_UNUSED)
{
    struct kstream_producer *p = KS_CONTAINER_OF(call, struct kstream_producer, routing_call);
    if (status)
        return; /* the lost connection is dealt with in producer_connect */
    KS_AUTO_FREE KS_UNUSED uint8_t *owned = frame;
    p->wants_turn = true;
    struct ks_error why = KS_ERROR_INIT;
    struct ks_arena arena;
    ks_arena_init(&arena, CLIENT_ANSWER_BYTES_MAX);
    enum ks_status st = KS_OK;
    if (response->op == KS_OP_ERROR) {
        st = client_read_error(&arena, response->message, &why).status;
    } else {
        ProtobufCMessage *message = ks_arena_unpack(
            &arena, &kstream__describe_routing_response__descriptor, response->message);
        st = message ? producer_adopt_routing(p, (const void *)message, &why)
                     : ks_fail(&why, KS_PROTOCOL, 0, "the broker's routing is malformed");
    }
    ks_arena_fini(&arena);
    if (st == KS_OK) {
        p->is_routing_fresh = true;
        return;
    }
    if (st == KS_NOT_FOUND) {
        p->fatal = st;
        p->trouble = why;
        return;
    }
    /* Anything else may pass: come back later on a new connection. */
    client_conn_close(&p->conn, KS_UNAVAILABLE, why.text);
}

static void producer_ask_routing(struct kstream_producer *p)
{
    Kstream__DescribeRoutingRequest request = KSTREAM__DESCRIBE_ROUTING_REQUEST__INIT;
    /* By id: a stream of the same name made meanwhile is another one. */
    request.stream_id = p->stream_id;
    struct ks_error why = KS_ERROR_INIT;
    p->routing_call.on_done = routing_done;
    p->routing_sent_ns = client_now_ns();
    if (client_conn_submit(
            &p->conn, &p->routing_call, KS_OP_DESCRIBE_ROUTING, &request.base, &why) != KS_OK)
        client_conn_close(&p->conn, KS_UNAVAILABLE, why.text);
}

/* Brings the connection forward. True: open, with the routing known. */
static bool producer_connect(struct kstream_producer *p)
{
    client_conn_process(&p->conn);
    if (p->conn.state == CLIENT_CONN_CONNECTING &&
        has_passed_ms(p->connect_since_ns, p->connect_timeout_ms))
        client_conn_close(&p->conn, KS_TIMEOUT, "connecting took too long");
    if (p->conn.state == CLIENT_CONN_CLOSED) {
        p->is_routing_fresh = false;
        if (p->has_begun) {
            p->has_begun = false;
            producer_in_trouble(p, &p->conn.why_closed);
        }
        if (client_now_ns() < p->reconnect_not_before_ns)
            return false;
        struct ks_error why = KS_ERROR_INIT;
        p->connect_since_ns = client_now_ns();
        if (client_conn_begin(&p->conn, &why) != KS_OK) {
            producer_in_trouble(p, &why);
            return false;
        }
        p->has_begun = true;
    }
    if (p->conn.state != CLIENT_CONN_OPEN)
        return false;
    if (!p->is_routing_fresh && !ks_list_is_linked(&p->routing_call.node) && p->fatal == KS_OK) {
        producer_ask_routing(p);
        client_conn_process(&p->conn);
    }
    return p->is_routing_fresh && p->conn.state == CLIENT_CONN_OPEN;
}

/* A broker that holds the connection open but does not answer is as good as gone. */
static void producer_check_answers(struct kstream_producer *p)
{
    bool is_late = ks_list_is_linked(&p->routing_call.node) &&
                   has_passed_ms(p->routing_sent_ns, p->options.request_timeout_ms);
    for (uint32_t i = 0; i < p->shard_count && !is_late; i++) {
        if (p->shards[i]->in_flight == 0)
            continue;
        KS_LIST_FOR_EACH(node, &p->shards[i]->batches)
        {
            struct producer_batch *batch = KS_CONTAINER_OF(node, struct producer_batch, node);
            if (batch->is_in_flight)
                is_late = is_late || has_passed_ms(batch->sent_ns, p->options.request_timeout_ms);
        }
    }
    if (is_late)
        client_conn_close(&p->conn, KS_UNAVAILABLE, "the broker did not answer in time");
}

/* ---- answers ---- */

/* Whether an earlier attempt's outcome stays open after this status, or it is known that nothing of
 * this attempt was stored. */
static bool leaves_outcome_open(enum ks_status status)
{
    return status == KS_TIMEOUT || status == KS_POISONED || status == KS_INTERNAL ||
           status == KS_IO || status == KS_UNAVAILABLE;
}

static void shard_back_off(struct producer_shard *shard)
{
    if (shard->trouble_since_ns == 0)
        shard->trouble_since_ns = client_now_ns();
    shard->not_before_ns = backoff_next_ns(shard->producer, &shard->backoff_ms);
}

/* For good: what follows in the shard gets a new identity, for the broker would see a gap. */
static void batch_give_up(struct producer_batch *batch, enum ks_status status, const char *text)
{
    struct producer_shard *shard = batch->shard;
    producer_batch_fail(batch, status, text);
    producer_shard_new_identity(shard);
}

/* The batch before it that still waits under the same producer id; NULL: there is none. */
static struct producer_batch *batch_predecessor(struct producer_batch *batch)
{
    struct producer_batch *found = NULL;
    KS_LIST_FOR_EACH(node, &batch->shard->batches)
    {
        struct producer_batch *earlier = KS_CONTAINER_OF(node, struct producer_batch, node);
        if (earlier == batch)
            break;
        if (earlier->producer_id == batch->producer_id)
            found = earlier;
    }
    return found;
}

static void batch_unknown(struct producer_batch *batch, const char *text)
{
    struct producer_batch *earlier = batch_predecessor(batch);
    if (earlier) {
        /*
         * The broker may not know the producer because its first batch has yet to be stored: sent
         * again behind that one. Behind a batch that is certainly not stored nothing is.
         */
        if (!earlier->is_maybe_stored && !earlier->is_in_flight)
            batch->is_maybe_stored = false;
    } else if (batch->is_maybe_stored) {
        batch_give_up(batch, KS_PRODUCER_UNKNOWN, text);
    } else if (batch->producer_id != batch->shard->producer_id) {
        batch->producer_id = 0;
    } else {
        /* Never stored, and the broker has forgotten this producer: a new one may go on. */
        producer_shard_new_identity(batch->shard);
    }
}

static void batch_gap(struct producer_batch *batch, uint64_t expected, const char *text)
{
    struct producer_shard *shard = batch->shard;
    /* Nothing was stored of it, in this attempt or before: the broker has not come that far. */
    batch->is_maybe_stored = false;
    if (batch->producer_id != shard->producer_id)
        batch->producer_id = 0; /* the batch before it failed for good */
    else if (producer_shard_head(shard) != batch)
        return; /* sent again behind the one that is missing */
    else if (expected < batch->producer_sequence && batch->producer->is_ack_memory)
        /* A crash has taken what was answered from memory. This batch never came that far. */
        producer_shard_new_identity(shard);
    else if (expected != batch->producer_sequence)
        batch_give_up(batch, KS_PRODUCER_GAP, text);
    else
        shard_back_off(shard);
}

/* The broker refused the batch; it is not in flight any more. */
static void batch_refused(
    struct producer_batch *batch, const struct client_broker_error *error, const char *text)
{
    struct producer_shard *shard = batch->shard;
    struct kstream_producer *p = batch->producer;
    shard->must_settle = true;
    if (leaves_outcome_open(error->status))
        batch->is_maybe_stored = true;
    if (error->status == KS_ROUTING_CHANGED || error->status == KS_SHARD_CLOSED) {
        if (error->status == KS_SHARD_CLOSED)
            batch->is_maybe_stored = false; /* the closed shard says: not applied */
        struct ks_error why = KS_ERROR_INIT;
        if (!error->routing || error->routing->routing_epoch == p->routing.epoch ||
            producer_adopt_routing(p, error->routing, &why) != KS_OK) {
            p->is_routing_fresh = false;
            shard_back_off(shard); /* the broker may be in the middle of the change */
        }
    } else if (error->status == KS_PRODUCER_GAP) {
        batch_gap(batch, error->expected_producer_sequence, text);
    } else if (error->status == KS_PRODUCER_UNKNOWN) {
        batch_unknown(batch, text);
    } else if (ks_status_info(error->status)->retryable) {
        shard_back_off(shard);
        KS_IGNORE(ks_fail(&p->trouble, error->status, 0, "%s", text), "only fills it");
    } else {
        batch_give_up(batch, error->status, text);
    }
}

static void shard_succeeded(struct producer_shard *shard)
{
    struct kstream_producer *p = shard->producer;
    shard->backoff_ms = 0;
    shard->not_before_ns = 0;
    shard->trouble_since_ns = 0;
    p->trouble_since_ns = 0;
    p->reconnect_backoff_ms = 0;
    p->trouble.text[0] = '\0';
}

/* The bounds that printing a sequence number needs. */
static bool result_is_sane(
    const struct producer_batch *batch, const Kstream__ShardPutResult *result)
{
    return result->shard_index == batch->shard->index && result->record_count == batch->count &&
           result->first_sequence > 0 && result->first_sequence <= KS_SEQUENCE_MAX - batch->count &&
           result->created_unix_s <= KS_SEQUENCE_SECONDS_MAX &&
           result->arrival_unix_ms / 1000 <= KS_SEQUENCE_SECONDS_MAX;
}

static void batch_read_result(
    struct producer_batch *batch, struct ks_arena *arena, struct ks_view message)
{
    struct kstream_producer *p = batch->producer;
    const Kstream__PutRecordsResponse *answer =
        (const void *)ks_arena_unpack(arena, &kstream__put_records_response__descriptor, message);
    if (answer && answer->n_parts == 1 && answer->parts[0]->error) {
        struct ks_error why = KS_ERROR_INIT;
        struct client_broker_error error = client_read_error_message(answer->parts[0]->error, &why);
        batch_refused(batch, &error, why.text);
        return;
    }
    if (answer && answer->n_parts == 1 && result_is_sane(batch, answer->parts[0])) {
        shard_succeeded(batch->shard);
        producer_batch_succeed(batch, answer->parts[0]);
        return;
    }
    /* Whatever it meant to say, the records may be stored: ask again on a new connection. */
    batch->is_maybe_stored = true;
    batch->shard->must_settle = true;
    client_conn_close(&p->conn, KS_PROTOCOL, "the broker answered a malformed message");
}

static void batch_done(struct client_call *call, enum ks_status status, uint8_t *frame,
    const struct ks_response_view *response, const struct ks_error *err KS_UNUSED)
{
    struct producer_batch *batch = KS_CONTAINER_OF(call, struct producer_batch, call);
    struct kstream_producer *p = batch->producer;
    batch->is_in_flight = false;
    batch->shard->in_flight--;
    p->in_flight_bytes -= batch->records.bytes;
    p->wants_turn = true;
    if (status) {
        batch->is_maybe_stored = true;
        batch->shard->must_settle = true;
        return;
    }
    KS_AUTO_FREE KS_UNUSED uint8_t *owned = frame;
    struct ks_arena arena;
    ks_arena_init(&arena, CLIENT_ANSWER_BYTES_MAX);
    if (response->op == KS_OP_ERROR) {
        struct ks_error why = KS_ERROR_INIT;
        struct client_broker_error error = client_read_error(&arena, response->message, &why);
        batch_refused(batch, &error, why.text);
    } else {
        batch_read_result(batch, &arena, response->message);
    }
    ks_arena_fini(&arena);
}

/* ---- sending ---- */

static bool producer_has_credit(const struct kstream_producer *p, size_t bytes)
{
    /* One batch may always be on its way, else a small credit would stop everything. */
    return p->in_flight_bytes == 0 || (p->in_flight_bytes + bytes <= p->conn.put_credit_bytes &&
                                          client_conn_backlog(&p->conn) < BACKLOG_BYTES_MAX);
}

static bool batch_submit(struct producer_batch *batch)
{
    struct kstream_producer *p = batch->producer;
    struct producer_shard *shard = batch->shard;
    if (batch->producer_id == 0) {
        batch->producer_id = shard->producer_id;
        batch->producer_sequence = shard->next_sequence++;
    }
    Kstream__ShardPut put = KSTREAM__SHARD_PUT__INIT;
    put.shard_index = shard->index;
    put.has_producer_id = true;
    put.producer_id = batch->producer_id;
    put.has_producer_sequence = true;
    put.producer_sequence = batch->producer_sequence;
    put.has_is_first = true;
    put.is_first = batch->producer_sequence == 1;
    put.record_count = batch->count;
    put.records = (ProtobufCBinaryData){.len = batch->records.bytes, .data = batch->records.data};
    Kstream__ShardPut *puts[1] = {&put};
    Kstream__PutRecordsRequest request = KSTREAM__PUT_RECORDS_REQUEST__INIT;
    request.stream_id = p->stream_id;
    request.has_routing_epoch = true;
    request.routing_epoch = p->routing.epoch;
    request.n_shard_puts = 1;
    request.shard_puts = puts;
    batch->call.on_done = batch_done;
    struct ks_error why = KS_ERROR_INIT;
    if (client_conn_submit(&p->conn, &batch->call, KS_OP_PUT_RECORDS, &request.base, &why) != KS_OK)
        return false; /* memory: tried again with the next turn */
    batch->is_in_flight = true;
    batch->sent_ns = client_now_ns();
    p->stats.batches_sent++;
    if (batch->attempts++ > 0)
        p->stats.retries++;
    shard->in_flight++;
    shard->in_flight_producer_id = batch->producer_id;
    p->in_flight_bytes += batch->records.bytes;
    return true;
}

static bool batch_is_due(const struct producer_batch *batch)
{
    const struct kstream_producer *p = batch->producer;
    return batch->is_sealed || p->is_flushing ||
           has_passed_ms(batch->opened_ns, p->options.linger_ms);
}

/* True if the batch may go now, behind those of its shard that are in flight. */
static bool batch_may_go(const struct producer_batch *batch)
{
    const struct kstream_producer *p = batch->producer;
    const struct producer_shard *shard = batch->shard;
    if (!batch_is_due(batch) || shard->in_flight >= p->options.in_flight_max ||
        !producer_has_credit(p, batch->records.bytes))
        return false;
    /* Two identities in flight at once could overtake each other. */
    uint64_t producer_id = batch->producer_id ? batch->producer_id : shard->producer_id;
    return shard->in_flight == 0 || shard->in_flight_producer_id == producer_id;
}

/* A closed shard without open questions hands its batches to its children. */
static bool shard_can_reroute(struct producer_shard *shard)
{
    if (shard->is_open || shard->in_flight > 0 || ks_list_is_empty(&shard->batches))
        return false;
    KS_LIST_FOR_EACH(node, &shard->batches)
    if (KS_CONTAINER_OF(node, struct producer_batch, node)->is_maybe_stored)
        return false;
    return true;
}

static void shard_send(struct producer_shard *shard)
{
    if (shard->must_settle && shard->in_flight > 0)
        return;
    shard->must_settle = false;
    if (client_now_ns() < shard->not_before_ns)
        return;
    KS_LIST_FOR_EACH(node, &shard->batches)
    {
        struct producer_batch *batch = KS_CONTAINER_OF(node, struct producer_batch, node);
        /* A closed shard is only asked about what it may have; the rest waits for its children. */
        if (batch->is_in_flight || (!shard->is_open && !batch->is_maybe_stored))
            continue;
        if (!batch_may_go(batch))
            return;
        batch->is_sealed = true;
        if (!batch_submit(batch))
            return;
    }
}

static void producer_give_up_old(struct kstream_producer *p)
{
    uint32_t max_ms = p->options.retry_time_max_ms;
    if (p->fatal) {
        client_conn_close(&p->conn, p->fatal, p->trouble.text);
        producer_fail_all(p, p->fatal, p->trouble.text);
        return;
    }
    if (p->trouble_since_ns && p->conn.state != CLIENT_CONN_OPEN &&
        has_passed_ms(p->trouble_since_ns, max_ms)) {
        producer_fail_all(p, KS_UNAVAILABLE, p->trouble.text);
        p->trouble_since_ns = client_now_ns();
    }
    for (uint32_t i = 0; i < p->shard_count; i++) {
        struct producer_shard *shard = p->shards[i];
        if (shard->trouble_since_ns == 0 || shard->in_flight > 0 ||
            !has_passed_ms(shard->trouble_since_ns, max_ms))
            continue;
        for (struct producer_batch *batch; (batch = producer_shard_head(shard));)
            producer_batch_fail(batch, p->trouble.status ? p->trouble.status : KS_TIMEOUT,
                p->trouble.text[0] ? p->trouble.text : "the broker refused it for too long");
        producer_shard_new_identity(shard);
        shard->trouble_since_ns = 0;
    }
}

static void producer_turn(struct kstream_producer *p)
{
    bool is_ready = producer_connect(p);
    producer_check_answers(p);
    producer_give_up_old(p);
    if (!is_ready || p->conn.state != CLIENT_CONN_OPEN || p->fatal)
        return;
    for (uint32_t i = 0; i < p->shard_count; i++)
        if (shard_can_reroute(p->shards[i]))
            producer_shard_reroute(p->shards[i]);
    for (uint32_t i = 0; i < p->shard_count; i++)
        shard_send(p->shards[(p->turn + i) % p->shard_count]);
    p->turn++;
    client_conn_process(&p->conn);
}

void producer_pump(struct kstream_producer *p)
{
    /* An answer that came in makes room for the next batch; bounded, for the caller has work too.
     */
    for (int i = 0; i < TURNS_MAX; i++) {
        p->wants_turn = false;
        producer_turn(p);
        if (!p->wants_turn)
            return;
    }
}

/* A time that has passed is no timer: then the socket is waited for. */
static uint64_t if_ahead(uint64_t timer_ns, uint64_t now_ns)
{
    return timer_ns > now_ns ? timer_ns : CLIENT_DEADLINE_NONE;
}

static uint64_t shard_timer_ns(
    const struct kstream_producer *p, const struct producer_shard *shard, uint64_t now_ns)
{
    uint64_t timer_ns = CLIENT_DEADLINE_NONE;
    KS_LIST_FOR_EACH(node, &shard->batches)
    {
        const struct producer_batch *batch = KS_CONTAINER_OF(node, struct producer_batch, node);
        if (batch->is_in_flight)
            timer_ns = ks_min_u64(
                timer_ns, batch->sent_ns + (uint64_t)p->options.request_timeout_ms * 1000000u);
        else if (!batch->is_sealed)
            timer_ns = ks_min_u64(timer_ns,
                if_ahead(batch->opened_ns + (uint64_t)p->options.linger_ms * 1000000u, now_ns));
    }
    if (!ks_list_is_empty(&shard->batches))
        timer_ns = ks_min_u64(timer_ns, if_ahead(shard->not_before_ns, now_ns));
    return timer_ns;
}

uint64_t producer_next_timer_ns(const struct kstream_producer *p)
{
    uint64_t now_ns = client_now_ns();
    if (p->wants_turn)
        return now_ns;
    uint64_t timer_ns = now_ns + (uint64_t)TIMER_MS_MAX * 1000000u;
    if (p->fatal)
        return timer_ns;
    if (p->conn.state == CLIENT_CONN_CLOSED)
        return ks_min_u64(timer_ns, p->reconnect_not_before_ns);
    if (p->conn.state == CLIENT_CONN_CONNECTING)
        return ks_min_u64(
            timer_ns, p->connect_since_ns + (uint64_t)p->connect_timeout_ms * 1000000u);
    for (uint32_t i = 0; i < p->shard_count; i++)
        timer_ns = ks_min_u64(timer_ns, shard_timer_ns(p, p->shards[i], now_ns));
    return timer_ns;
}
