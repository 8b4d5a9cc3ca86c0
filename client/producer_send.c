#include "base/alloc.h"
#include "client/producer_priv.h"
#include "proto/sequence.h"

/* A request gathers parts up to here; a single batch may be larger. */
#define REQUEST_BYTES (512u << 10)
/* Smaller parts are copied into the frame: a piece of its own costs more than the copy. */
#define COPY_BYTES_MAX 4096u
/* Not more waits for the socket: what is not yet written could still be batched. */
#define BACKLOG_BYTES_MAX (4u << 20)
#define TURNS_MAX 64
#define SHORT_PAUSE_NS 10000000u /* without memory for a request */

/* ---- giving up ---- */

void producer_begin_waiting(struct kstream_producer *p)
{
    p->trouble_since_ns = 0;
    if (p->conn.state == CLIENT_CONN_CLOSED)
        client_conn_hurry(&p->conn);
}

/* Everything fails; nothing is in flight afterwards. */
static void producer_bury(struct kstream_producer *p)
{
    client_conn_close(&p->conn, p->fatal, p->trouble.text);
    producer_unstage(p);
    producer_fail_all(p, p->fatal, p->trouble.text);
}

/* Nothing was stored for as long as the caller allows: all that waits fails. */
static void producer_give_up(struct kstream_producer *p, const struct ks_error *why)
{
    struct ks_error reason = *why;
    p->trouble_since_ns = 0;
    if (p->options.resume) {
        producer_die(p, reason.status, reason.text);
        return;
    }
    client_log(p->client, KSTREAM_LOG_ERROR, "producer.gives_up records=%llu reason=\"%s\"",
        (unsigned long long)(p->stats.records_taken - p->answered), reason.text);
    client_conn_close(&p->conn, KS_UNAVAILABLE, reason.text);
    producer_unstage(p);
    producer_fail_all(p, reason.status, reason.text);
}

/*
 * An attempt has failed: a connection, or what is asked on it. Time counts from the first failure
 * to a later one, so that a caller who was away in between does not lose records untried.
 */
static void producer_attempt_failed(struct kstream_producer *p, const struct ks_error *why)
{
    if (p->memory_bytes == 0)
        return;
    uint64_t now_ns = client_now_ns();
    if (p->trouble_since_ns == 0)
        p->trouble_since_ns = now_ns;
    else if (now_ns - p->trouble_since_ns >= (uint64_t)p->options.retry_time_max_ms * 1000000u)
        producer_give_up(p, why);
}

/* The same for a shard whose batches were refused all the time. */
static void shard_give_up(struct producer_shard *shard)
{
    struct kstream_producer *p = shard->producer;
    struct ks_error why = p->trouble;
    shard->gives_up = false;
    shard->trouble_since_ns = 0;
    if (p->options.resume) {
        producer_die(p, why.status, why.text);
        return;
    }
    client_log(p->client, KSTREAM_LOG_ERROR, "producer.gives_up shard=%u reason=\"%s\"",
        shard->index, why.text);
    struct ks_list failed;
    ks_list_init(&failed);
    ks_list_splice(&failed, &shard->batches);
    producer_shard_new_identity(shard);
    while (!ks_list_is_empty(&failed))
        producer_batch_fail(
            KS_CONTAINER_OF(failed.next, struct producer_batch, node), why.status, why.text);
}

/* ---- before anything can be sent: the routing, and what is known of an old id ---- */

void producer_ask_anew(struct kstream_producer *p)
{
    if (p->phase != PRODUCER_RUNS)
        return;
    p->phase = PRODUCER_WANTS_ROUTING;
    p->setup_not_before_ns = client_backoff_ns(&p->jitter, &p->setup_backoff_ms);
}

static void setup_next(struct kstream_producer *p)
{
    p->setup_not_before_ns = 0;
    if (p->phase == PRODUCER_WANTS_ROUTING && p->options.resume && !p->has_resumed) {
        p->phase = PRODUCER_WANTS_RESUME;
        return;
    }
    p->phase = PRODUCER_RUNS;
    p->trouble.text[0] = '\0';
}

/* Takes the answer's message; WOULD_BLOCK: not ready, ask again. */
static enum ks_status setup_take(struct kstream_producer *p, struct ks_arena *arena,
    const struct ks_response_view *response, struct ks_error *why)
{
    if (response->op == KS_OP_ERROR)
        return client_read_error(arena, response->message, why).status;
    const ProtobufCMessage *message =
        ks_arena_unpack(arena, ks_operation_by_number(response->op)->response, response->message);
    if (!message)
        return client_unpack_failed(arena, "the broker's routing", why);
    if (response->op == KS_OP_RESUME_PRODUCER)
        return producer_adopt_resume(p, (const void *)message, why);
    const Kstream__DescribeRoutingResponse *routing = (const void *)message;
    if (strcmp(routing->stream_status, "CREATING") == 0)
        return ks_fail(
            why, KS_WOULD_BLOCK, 0, "stream '%s' is still being made", routing->stream_name);
    return producer_adopt_routing(p, routing, why);
}

static void setup_done(struct client_call *call, enum ks_status status, uint8_t *frame,
    const struct ks_response_view *response, const struct ks_error *err KS_UNUSED)
{
    struct kstream_producer *p = KS_CONTAINER_OF(call, struct kstream_producer, setup_call);
    if (status)
        return; /* asked again on the next connection */
    p->wants_turn = true;
    struct ks_error why = KS_ERROR_INIT;
    struct ks_arena arena;
    ks_arena_init(&arena, CLIENT_ANSWER_BYTES_MAX);
    enum ks_status st = setup_take(p, &arena, response, &why);
    ks_arena_fini(&arena);
    ks_free(frame);
    if (st == KS_OK) {
        setup_next(p);
        return;
    }
    p->trouble = why;
    p->setup_not_before_ns = client_backoff_ns(&p->jitter, &p->setup_backoff_ms);
    p->has_failed = p->has_failed || st != KS_WOULD_BLOCK;
    bool is_new = p->routing.count == 0 || p->phase == PRODUCER_WANTS_RESUME;
    if (st == KS_NOT_FOUND || (is_new && !ks_status_info(st)->retryable && st != KS_PROTOCOL))
        producer_die(p, st, why.text);
    else if (st == KS_PROTOCOL)
        client_conn_close(&p->conn, KS_UNAVAILABLE, why.text);
}

static void setup_ask(struct kstream_producer *p)
{
    if (ks_list_is_linked(&p->setup_call.node) || client_now_ns() < p->setup_not_before_ns)
        return;
    struct ks_error why = KS_ERROR_INIT;
    enum ks_status st = KS_OK;
    p->setup_call.on_done = setup_done;
    p->setup_call.answer_by_ns = client_deadline_ns(p->options.request_timeout_ms);
    if (p->phase == PRODUCER_WANTS_ROUTING) {
        Kstream__DescribeRoutingRequest request = KSTREAM__DESCRIBE_ROUTING_REQUEST__INIT;
        /* By id once it is known: a stream of the same name made meanwhile is another one. */
        if (p->stream_id[0])
            request.stream_id = p->stream_id;
        else
            CLIENT_NAME_STREAM(&request, p->stream);
        st = client_conn_submit(
            &p->conn, &p->setup_call, KS_OP_DESCRIBE_ROUTING, &request.base, &why);
    } else {
        Kstream__ResumeProducerRequest request = KSTREAM__RESUME_PRODUCER_REQUEST__INIT;
        request.stream_id = p->stream_id;
        request.producer_id = p->options.producer_id;
        st = client_conn_submit(
            &p->conn, &p->setup_call, KS_OP_RESUME_PRODUCER, &request.base, &why);
    }
    if (st)
        client_conn_close(&p->conn, KS_UNAVAILABLE, why.text);
}

/* ---- requests ---- */

static struct producer_request *request_get(struct kstream_producer *p)
{
    struct ks_list *node = ks_list_pop(&p->spare_requests);
    if (node)
        return KS_CONTAINER_OF(node, struct producer_request, node);
    struct producer_request *request = ks_zalloc(sizeof *request);
    if (request)
        request->producer = p;
    return request;
}

static void request_recycle(struct producer_request *request)
{
    struct kstream_producer *p = request->producer;
    request->count = 0;
    request->record_count = 0;
    request->bytes = 0;
    ks_list_push(p->spare_requests.next, &request->node);
}

void producer_free_requests(struct kstream_producer *p)
{
    KS_ASSERT(ks_list_is_empty(&p->requests)); /* the connection has failed them */
    for (struct ks_list *node; (node = ks_list_pop(&p->spare_requests));) {
        struct producer_request *request = KS_CONTAINER_OF(node, struct producer_request, node);
        ks_free(request->batches);
        ks_free(request);
    }
}

static bool request_reserve(struct producer_request *request)
{
    if (request->count < request->capacity)
        return true;
    uint32_t capacity = request->capacity ? request->capacity * 2 : 4;
    struct producer_batch **batches =
        ks_realloc(request->batches, capacity * sizeof(struct producer_batch *));
    if (!batches)
        return false;
    request->batches = batches;
    request->capacity = capacity;
    return true;
}

/* ---- answers ---- */

/* Nothing of the request is in flight any more; its shards are placed anew when their batches have
 * been judged. */
static void request_ended(struct producer_request *request)
{
    struct kstream_producer *p = request->producer;
    ks_list_remove(&request->node);
    p->in_flight_bytes -= request->bytes;
    p->wants_turn = true;
    for (uint32_t i = 0; i < request->count; i++) {
        request->batches[i]->is_in_flight = false;
        request->batches[i]->shard->in_flight--;
    }
}

/* The bounds that printing a sequence number needs. */
static bool result_is_sane(const struct producer_batch *batch, const struct ks_put_result *result)
{
    if (result->status != KS_OK)
        return true;
    return result->shard_index == batch->shard->index && result->record_count == batch->count &&
           result->first_sequence > 0 && result->first_sequence <= KS_SEQUENCE_MAX - batch->count &&
           result->created_unix_s <= KS_SEQUENCE_SECONDS_MAX &&
           result->arrival_unix_ms / 1000 <= KS_SEQUENCE_SECONDS_MAX;
}

static bool answer_is_sane(
    const struct producer_request *request, const struct ks_put_response *answer)
{
    if (answer->part_count != request->count)
        return false;
    for (uint32_t i = 0; i < answer->part_count; i++)
        if (!result_is_sane(request->batches[i], &answer->parts[i]))
            return false;
    return true;
}

/* Each may be stored or not: sent again unchanged, in order. */
static void request_unanswered(struct producer_request *request)
{
    for (uint32_t i = 0; i < request->count; i++) {
        request->batches[i]->is_maybe_stored = true;
        request->batches[i]->shard->must_settle = true;
    }
}

static void request_answered(
    struct producer_request *request, const struct ks_response_view *response)
{
    struct kstream_producer *p = request->producer;
    if (response->op == KS_OP_ERROR) {
        struct ks_error why = KS_ERROR_INIT;
        struct ks_arena arena;
        ks_arena_init(&arena, CLIENT_ANSWER_BYTES_MAX);
        struct client_broker_error error = client_read_error(&arena, response->message, &why);
        if (arena.was_refused) {
            /* What it says is not known, so neither is what became of the records. */
            request_unanswered(request);
            client_conn_close(&p->conn, KS_NO_MEMORY, why.text);
        } else {
            producer_request_refused(request, &error, why.text);
        }
        ks_arena_fini(&arena);
        return;
    }
    struct ks_put_response *answer = p->answer;
    if (ks_put_response_decode(response->message, answer, NULL) != KS_OK ||
        !answer_is_sane(request, answer)) {
        /* Whatever it meant to say, the records may be stored: ask again on a new connection. */
        request_unanswered(request);
        client_conn_close(&p->conn, KS_PROTOCOL, "the broker answered a malformed message");
        return;
    }
    for (uint32_t i = 0; i < request->count; i++)
        producer_batch_judge(request->batches[i], &answer->parts[i]);
}

static void request_done(struct client_call *call, enum ks_status status, uint8_t *frame,
    const struct ks_response_view *response, const struct ks_error *err KS_UNUSED)
{
    struct producer_request *request = KS_CONTAINER_OF(call, struct producer_request, call);
    struct producer_shard *shards[KS_PUT_PARTS_MAX];
    request_ended(request);
    for (uint32_t i = 0; i < request->count; i++)
        shards[i] = request->batches[i]->shard;
    if (status)
        request_unanswered(request);
    else
        request_answered(request, response);
    uint64_t now_ns = client_now_ns();
    for (uint32_t i = 0; i < request->count; i++) {
        if (shards[i]->gives_up && shards[i]->in_flight == 0)
            shard_give_up(shards[i]);
        producer_place_shard(shards[i], now_ns);
    }
    request_recycle(request);
    ks_free(frame);
}

/* ---- sending ---- */

/* One batch may always be on its way, else a small credit would stop everything. */
static bool request_may_take(
    const struct producer_request *request, const struct producer_batch *batch)
{
    const struct kstream_producer *p = request->producer;
    size_t bytes = batch->records.bytes;
    size_t on_its_way = p->in_flight_bytes + request->bytes;
    if (on_its_way > 0 && (on_its_way + bytes > p->conn.put_credit_bytes ||
                              p->conn.backlog_bytes + request->bytes > BACKLOG_BYTES_MAX))
        return false;
    if (request->count == 0)
        return true;
    return request->bytes + bytes <= REQUEST_BYTES && request->count < KS_PUT_PARTS_MAX &&
           request->record_count + batch->count <= KS_PUT_ROUTED_RECORDS_MAX && !batch->is_alone &&
           !request->batches[0]->is_alone;
}

/* False: no memory. */
static bool request_take(struct producer_request *request, struct producer_batch *batch)
{
    struct producer_shard *shard = batch->shard;
    if (!request_reserve(request))
        return false;
    batch->is_sealed = true;
    if (batch->producer_id == 0) {
        batch->producer_id = shard->producer_id;
        batch->producer_sequence = shard->next_sequence++;
    }
    batch->is_in_flight = true;
    shard->in_flight++;
    shard->in_flight_producer_id = batch->producer_id;
    request->batches[request->count++] = batch;
    request->bytes += batch->records.bytes;
    request->record_count += batch->count;
    return true;
}

static void part_of(const struct producer_batch *batch, struct ks_put_part *part)
{
    *part = (struct ks_put_part){.producer_id = batch->producer_id,
        .producer_sequence = batch->producer_sequence,
        .shard_index = batch->shard->index,
        .record_count = batch->count,
        .is_first = batch->producer_sequence == 1,
        .is_repeat = batch->is_maybe_stored,
        .records = ks_view_of(batch->records.data, batch->records.bytes)};
}

/* The frame, with the larger parts by reference. False: no memory, nothing has changed. */
static bool request_write(struct producer_request *request)
{
    struct kstream_producer *p = request->producer;
    struct client_conn *conn = &p->conn;
    struct ks_put_part parts[KS_PUT_PARTS_MAX];
    size_t copied = KS_PUT_HEAD_BYTES_MAX;
    size_t pieces = 2;
    for (uint32_t i = 0; i < request->count; i++) {
        part_of(request->batches[i], &parts[i]);
        bool is_copied = parts[i].records.bytes <= COPY_BYTES_MAX;
        copied += KS_PUT_PART_HEAD_BYTES_MAX + (is_copied ? parts[i].records.bytes : 0);
        pieces += is_copied ? 0 : 2;
    }
    if (!client_conn_reserve(conn, copied, pieces))
        return false;
    struct ks_put_routed put = {.request_id = conn->next_request_id,
        .stream_id = ks_view_of_text(p->stream_id),
        .routing_epoch = p->routing.epoch,
        .parts = parts,
        .part_count = request->count};
    uint8_t head[KS_PUT_HEAD_BYTES_MAX];
    size_t head_bytes = ks_put_routed_encode_head(&put, head);
    KS_ASSERT(head_bytes > 0); /* far below the limit of a frame */
    client_conn_append(conn, head, head_bytes);
    for (uint32_t i = 0; i < request->count; i++) {
        uint8_t part_head[KS_PUT_PART_HEAD_BYTES_MAX];
        client_conn_append(conn, part_head, ks_put_part_encode_head(&parts[i], part_head));
        if (parts[i].records.bytes <= COPY_BYTES_MAX)
            client_conn_append(conn, parts[i].records.data, parts[i].records.bytes);
        else
            client_conn_append_borrowed(conn, parts[i].records.data, parts[i].records.bytes);
    }
    return true;
}

static void request_submit(struct producer_request *request)
{
    struct kstream_producer *p = request->producer;
    request->call.on_done = request_done;
    request->call.answer_by_ns = client_deadline_ns(p->options.request_timeout_ms);
    client_conn_link(&p->conn, &request->call, KS_OP_PUT_RECORDS);
    ks_list_push(&p->requests, &request->node);
    p->in_flight_bytes += request->bytes;
    for (uint32_t i = 0; i < request->count; i++) {
        p->stats.batches_sent++;
        if (request->batches[i]->attempts++ > 0)
            p->stats.retries++;
    }
}

/* Not sent: as if nothing had been taken. Sequences stay: the batches keep them. */
static void request_undo(struct producer_request *request, uint64_t now_ns)
{
    for (uint32_t i = 0; i < request->count; i++) {
        request->batches[i]->is_in_flight = false;
        request->batches[i]->shard->in_flight--;
        producer_place_shard(request->batches[i]->shard, now_ns);
    }
    request_recycle(request);
}

/* Fills one request from the shards that are ready. */
static void request_fill(struct producer_request *request, uint64_t now_ns)
{
    struct kstream_producer *p = request->producer;
    while (!ks_list_is_empty(&p->ready)) {
        struct producer_shard *shard = KS_CONTAINER_OF(p->ready.next, struct producer_shard, node);
        struct producer_batch *batch = producer_shard_next(shard);
        KS_ASSERT(batch);
        if (!request_may_take(request, batch))
            return;
        p->is_short = !request_take(request, batch);
        if (p->is_short)
            return;
        producer_place_shard(shard, now_ns);
    }
}

static void producer_send(struct kstream_producer *p)
{
    uint64_t now_ns = client_now_ns();
    p->is_short = false;
    while (!ks_list_is_empty(&p->ready) && !p->is_short) {
        struct producer_request *request = request_get(p);
        if (!request) {
            p->is_short = true;
            return;
        }
        request_fill(request, now_ns);
        if (request->count == 0) {
            request_recycle(request);
            return;
        }
        if (!request_write(request)) {
            request_undo(request, now_ns);
            p->is_short = true;
            return;
        }
        request_submit(request);
    }
}

/* ---- time ---- */

static void producer_check_times(struct kstream_producer *p, uint64_t now_ns)
{
    KS_LIST_FOR_EACH_SAFE(node, &p->paused)
    {
        struct producer_shard *shard = KS_CONTAINER_OF(node, struct producer_shard, node);
        if (now_ns >= shard->not_before_ns)
            producer_place_shard(shard, now_ns);
    }
    while (!ks_list_is_empty(&p->lingering)) {
        struct producer_shard *shard =
            KS_CONTAINER_OF(p->lingering.next, struct producer_shard, node);
        producer_place_shard(shard, now_ns);
        if (shard->place == PRODUCER_LINGERS)
            return;
    }
}

/* ---- turns ---- */

/* What has failed since the turn before counts once. */
static void producer_note_failures(struct kstream_producer *p)
{
    bool is_lost = p->closed_count != p->conn.closed_count;
    p->closed_count = p->conn.closed_count;
    if (is_lost)
        producer_attempt_failed(p, &p->conn.why_closed);
    else if (p->has_failed)
        producer_attempt_failed(p, &p->trouble);
    p->has_failed = false;
}

/* True: connected. A new connection may be one to a broker that has restarted: its routing comes
 * first. */
static bool producer_connect(struct kstream_producer *p)
{
    if (p->conn.state == CLIENT_CONN_OPEN)
        return true;
    p->phase = PRODUCER_WANTS_ROUTING;
    p->setup_not_before_ns = 0;
    client_conn_keep(&p->conn);
    client_conn_process(&p->conn);
    return p->conn.state == CLIENT_CONN_OPEN;
}

static void producer_turn(struct kstream_producer *p)
{
    client_conn_process(&p->conn);
    producer_note_failures(p);
    if (p->fatal) {
        if (p->memory_bytes > 0 || p->conn.state != CLIENT_CONN_CLOSED)
            producer_bury(p);
        return;
    }
    producer_unstage(p);
    producer_check_times(p, client_now_ns());
    if (!producer_connect(p))
        return;
    if (p->phase == PRODUCER_RUNS) {
        producer_move(p);
        if (p->has_drained)
            producer_place_all(p);
        producer_send(p);
    } else {
        setup_ask(p);
    }
    client_conn_process(&p->conn);
}

void producer_pump(struct kstream_producer *p)
{
    if (p->is_in_callback)
        return;
    /* An answer that came in makes room for the next batch; bounded, for the caller has work too.
     */
    for (int i = 0; i < TURNS_MAX; i++) {
        p->wants_turn = false;
        producer_turn(p);
        if (!p->wants_turn)
            break;
    }
    if (p->client->watch.epoll_fd >= 0)
        client_arm(p->client, producer_next_timer_ns(p));
}

/* What records wait for, apart from the socket. */
static uint64_t waiting_timer_ns(const struct kstream_producer *p)
{
    uint64_t timer_ns = CLIENT_DEADLINE_NONE;
    uint64_t linger_ns = (uint64_t)p->options.linger_ms * 1000000u;
    KS_LIST_FOR_EACH(node, &p->paused)
    timer_ns =
        ks_min_u64(timer_ns, KS_CONTAINER_OF(node, struct producer_shard, node)->not_before_ns);
    if (!ks_list_is_empty(&p->lingering)) {
        struct producer_shard *shard =
            KS_CONTAINER_OF(p->lingering.next, struct producer_shard, node);
        timer_ns = ks_min_u64(timer_ns, producer_shard_open_batch(shard)->opened_ns + linger_ns);
    }
    if (p->stage.count > 0)
        timer_ns = ks_min_u64(timer_ns, p->stage.list[0].record.entry.put_ns + linger_ns);
    return timer_ns;
}

uint64_t producer_next_timer_ns(const struct kstream_producer *p)
{
    if (p->wants_turn)
        return 0;
    if (p->fatal)
        return p->memory_bytes > 0 ? 0 : CLIENT_DEADLINE_NONE;
    uint64_t timer_ns = client_conn_timer_ns(&p->conn);
    if (p->memory_bytes > 0)
        timer_ns = ks_min_u64(timer_ns, waiting_timer_ns(p));
    if (p->conn.state != CLIENT_CONN_OPEN)
        return timer_ns;
    if (p->phase != PRODUCER_RUNS && !ks_list_is_linked(&p->setup_call.node))
        timer_ns = ks_min_u64(timer_ns, p->setup_not_before_ns);
    if (p->is_short)
        timer_ns = ks_min_u64(timer_ns, client_now_ns() + SHORT_PAUSE_NS);
    return timer_ns;
}
