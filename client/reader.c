/*
 * A reader asks for the next batch ahead of its caller's wait and remembers where the last batch
 * ended. Iterators and connections come and go below it; the position is what counts.
 */
#include "base/alloc.h"
#include "base/prng.h"
#include "client/batch.h"
#include "client/position.h"

#include <poll.h>
#include <stdio.h>

#define BACKOFF_MS_FIRST 10u
#define BACKOFF_MS_MAX 1000u

enum reader_state {
    READER_IDLE,          /* the next request is due */
    READER_WANTS_RECORDS, /* GetRecords is on its way */
    READER_WANTS_ITERATOR,
    READER_READY, /* batch or status wait for the caller */
    READER_ENDED
};

struct kstream_reader {
    struct kstream_client *client;
    char *stream;
    char shard_id[KSTREAM_SHARD_ID_BYTES];
    struct kstream_reader_options options;
    struct kstream_position position; /* where the next batch starts */
    char iterator[KSTREAM_ITERATOR_BYTES];
    bool has_iterator;
    bool is_iterator_fresh; /* not used yet: if it is refused now, a new one will be too */
    enum reader_state state;
    struct client_call call;
    uint32_t asked_wait_ms;
    uint64_t sent_ns;
    bool is_caught_up; /* answered "nothing" since the present wait began */
    uint64_t not_before_ns;
    uint32_t backoff_ms;
    uint64_t trouble_since_ns; /* 0: all is well */
    struct ks_prng jitter;
    struct kstream_batch *batch; /* READER_READY */
    enum ks_status status;
    struct ks_error err;
};

KS_DEFINE_CLEANUP(struct kstream_reader, kstream_reader_close)

/* ---- answers ---- */

static void reader_fail(
    struct kstream_reader *reader, enum ks_status status, const struct ks_error *err)
{
    reader->state = READER_READY;
    reader->status = status;
    reader->err = *err;
}

static void reader_back_off(struct kstream_reader *reader, const struct ks_error *err)
{
    reader->err = *err;
    if (reader->trouble_since_ns == 0)
        reader->trouble_since_ns = client_now_ns();
    reader->backoff_ms =
        reader->backoff_ms ? KS_MIN(reader->backoff_ms * 2, BACKOFF_MS_MAX) : BACKOFF_MS_FIRST;
    uint64_t half_ns = (uint64_t)reader->backoff_ms * 500000u;
    reader->not_before_ns = client_now_ns() + half_ns + ks_prng_below(&reader->jitter, half_ns);
}

static void reader_refused(
    struct kstream_reader *reader, enum ks_status status, const struct ks_error *err)
{
    /* An iterator dies with age, and with a broker whose memory of it is gone. */
    bool is_iterator_dead =
        status == KS_EXPIRED_ITERATOR || (status == KS_INVALID && reader->has_iterator);
    if (is_iterator_dead && !reader->is_iterator_fresh) {
        reader->has_iterator = false;
        return;
    }
    if (ks_status_info(status)->retryable)
        reader_back_off(reader, err);
    else
        reader_fail(reader, status, err);
}

static void reader_take_batch(struct kstream_reader *reader, const struct client_answer *answer)
{
    struct ks_error err = KS_ERROR_INIT;
    struct kstream_batch *batch = NULL;
    enum ks_status st = client_batch_take(answer, &batch, &err);
    if (st == KS_CORRUPT && !reader->is_iterator_fresh) {
        /* Damaged on the way, perhaps: once more, from the same place. */
        reader->is_iterator_fresh = true;
        return;
    }
    if (st) {
        reader_fail(reader, st, &err);
        return;
    }
    reader->trouble_since_ns = 0;
    reader->backoff_ms = 0;
    reader->is_iterator_fresh = false;
    const char *next = kstream_batch_next_iterator(batch);
    reader->has_iterator = next != NULL;
    if (next)
        snprintf(reader->iterator, sizeof reader->iterator, "%s", next);
    if (kstream_batch_count(batch) > 0 || !next) {
        reader->state = READER_READY;
        reader->status = KS_OK;
        reader->batch = batch;
        return;
    }
    /* Empty but behind: the broker stopped short of the newest record; ask on at once. */
    reader->is_caught_up =
        reader->asked_wait_ms > 0 || kstream_batch_millis_behind_latest(batch) == 0;
    kstream_batch_free(batch);
}

static void reader_done(struct client_call *call, enum ks_status status, uint8_t *frame,
    const struct ks_response_view *response, const struct ks_error *err)
{
    struct kstream_reader *reader = KS_CONTAINER_OF(call, struct kstream_reader, call);
    bool is_iterator = reader->state == READER_WANTS_ITERATOR;
    reader->state = READER_IDLE;
    if (status) {
        reader_back_off(reader, err);
        reader->not_before_ns = 0; /* connecting has its own pause */
        return;
    }
    struct ks_error why = KS_ERROR_INIT;
    if (response->op != KS_OP_ERROR && !is_iterator) {
        struct client_answer answer = {.frame = frame, .response = *response};
        reader_take_batch(reader, &answer);
        return;
    }
    enum ks_status st = KS_OK;
    if (response->op == KS_OP_ERROR) {
        struct ks_arena arena;
        ks_arena_init(&arena, CLIENT_ANSWER_BYTES_MAX);
        st = client_read_error(&arena, response->message, &why).status;
        ks_arena_fini(&arena);
    } else {
        st = client_iterator_read(response->message, reader->iterator, &why);
    }
    ks_free(frame);
    if (st) {
        reader_refused(reader, st, &why);
        return;
    }
    reader->has_iterator = true;
    reader->is_iterator_fresh = true;
}

/* ---- asking ---- */

static enum ks_status reader_ask_records(
    struct kstream_reader *reader, uint32_t wait_ms, struct ks_error *err)
{
    Kstream__GetRecordsRequest request = KSTREAM__GET_RECORDS_REQUEST__INIT;
    request.shard_iterator = reader->iterator;
    request.has_limit = reader->options.limit > 0;
    request.limit = (int32_t)KS_MIN(reader->options.limit, KS_GET_RECORDS_MAX);
    request.has_max_bytes = reader->options.max_bytes > 0;
    request.max_bytes = reader->options.max_bytes;
    request.has_wait_ms = wait_ms > 0;
    request.wait_ms = wait_ms;
    reader->asked_wait_ms = wait_ms;
    return client_conn_submit(
        &reader->client->conn, &reader->call, KS_OP_GET_RECORDS, &request.base, err);
}

static enum ks_status reader_ask_iterator(struct kstream_reader *reader, struct ks_error *err)
{
    Kstream__GetShardIteratorRequest request = KSTREAM__GET_SHARD_ITERATOR_REQUEST__INIT;
    CLIENT_NAME_STREAM(&request, reader->stream);
    request.shard_id = reader->shard_id;
    enum ks_status st = client_position_request(&reader->position, &request, err);
    if (st)
        return st;
    reader->asked_wait_ms = 0;
    return client_conn_submit(
        &reader->client->conn, &reader->call, KS_OP_GET_SHARD_ITERATOR, &request.base, err);
}

/* Asks if nothing is on its way. deadline_ns: until when the caller waits for a record. */
static void reader_ask(struct kstream_reader *reader, uint64_t deadline_ns)
{
    uint64_t now_ns = client_now_ns();
    if (reader->state != READER_IDLE || now_ns < reader->not_before_ns)
        return;
    if (reader->is_caught_up && now_ns >= deadline_ns)
        return;
    uint64_t left_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
    uint32_t wait_ms = (uint32_t)ks_min_u64((left_ns + 999999u) / 1000000u, KS_GET_WAIT_MS_MAX);
    struct ks_error err = KS_ERROR_INIT;
    enum reader_state next = reader->has_iterator ? READER_WANTS_RECORDS : READER_WANTS_ITERATOR;
    enum ks_status st = reader->has_iterator ? reader_ask_records(reader, wait_ms, &err)
                                             : reader_ask_iterator(reader, &err);
    if (st) {
        reader_fail(reader, st, &err);
        return;
    }
    reader->state = next;
    reader->sent_ns = now_ns;
}

/* The connection is as good as lost when an answer is later than its wait and the request timeout.
 */
static bool reader_is_late(const struct kstream_reader *reader)
{
    uint64_t allowed_ms = (uint64_t)reader->asked_wait_ms + reader->client->request_timeout_ms;
    return (reader->state == READER_WANTS_RECORDS || reader->state == READER_WANTS_ITERATOR) &&
           client_now_ns() - reader->sent_ns >= allowed_ms * 1000000u;
}

/* Whether the caller's wait is over as far as this reader is concerned: it was told that there is
 * nothing, or its question waits in the broker, which would have answered by now. */
static bool reader_has_nothing(const struct kstream_reader *reader)
{
    return reader->is_caught_up || reader->state == READER_ENDED ||
           (reader->state == READER_WANTS_RECORDS && reader->asked_wait_ms > 0);
}

/* ---- waiting for the first of many ---- */

struct reader_wait {
    struct kstream_reader *const *readers;
    size_t count;
    uint64_t started_ns;
    uint64_t deadline_ns;
};

/* The answer of a reader that has one. */
static enum ks_status reader_hand_out(
    struct kstream_reader *reader, struct kstream_batch **out_batch, struct ks_error *err)
{
    if (reader->state == READER_ENDED)
        return ks_fail(err, KS_END, 0, "shard '%s' ends here", reader->shard_id);
    reader->state = READER_IDLE;
    if (reader->status) {
        *err = reader->err;
        return reader->status;
    }
    struct kstream_batch *batch = KS_TAKE(reader->batch);
    if (!kstream_batch_next_iterator(batch))
        reader->state = READER_ENDED;
    if (kstream_batch_count(batch) > 0) {
        reader->position.type = KSTREAM_AFTER_SEQUENCE_NUMBER;
        client_batch_last_sequence_number(batch, reader->position.sequence_number);
    }
    *out_batch = batch;
    return KS_OK;
}

static bool wait_find_ready(const struct reader_wait *wait, size_t *out_index)
{
    uint32_t turn = wait->readers[0]->client->reader_turn;
    for (size_t i = 0; i < wait->count; i++) {
        size_t at = (turn + i) % wait->count;
        enum reader_state state = wait->readers[at]->state;
        if (state == READER_READY || state == READER_ENDED) {
            wait->readers[0]->client->reader_turn = (uint32_t)(at + 1);
            *out_index = at;
            return true;
        }
    }
    return false;
}

/* Until when to sleep: the caller's deadline, a back-off, a late answer. */
static uint64_t wait_timer_ns(const struct reader_wait *wait)
{
    uint64_t now_ns = client_now_ns();
    uint64_t timer_ns = wait->deadline_ns > now_ns ? wait->deadline_ns : CLIENT_DEADLINE_NONE;
    for (size_t i = 0; i < wait->count; i++) {
        const struct kstream_reader *reader = wait->readers[i];
        uint64_t late_ns =
            reader->sent_ns +
            ((uint64_t)reader->asked_wait_ms + reader->client->request_timeout_ms) * 1000000u;
        if (reader->state == READER_IDLE && !(reader->is_caught_up && timer_ns <= now_ns))
            timer_ns = ks_min_u64(timer_ns, ks_max_u64(reader->not_before_ns, now_ns));
        else
            timer_ns = ks_min_u64(timer_ns, late_ns);
    }
    return timer_ns;
}

/* True when the wait is over without a result: *out_status says why. */
static bool wait_is_over(const struct reader_wait *wait, size_t *out_index,
    enum ks_status *out_status, struct ks_error *err)
{
    uint64_t now_ns = client_now_ns();
    bool is_past = now_ns >= wait->deadline_ns;
    bool all_have_nothing = true;
    for (size_t i = 0; i < wait->count; i++) {
        const struct kstream_reader *reader = wait->readers[i];
        all_have_nothing = all_have_nothing && reader_has_nothing(reader);
        if (reader->trouble_since_ns == 0)
            continue;
        bool is_too_long = now_ns - reader->trouble_since_ns >=
                           (uint64_t)reader->options.retry_time_max_ms * 1000000u;
        if (is_past || is_too_long) {
            *out_index = i;
            *out_status = reader->err.status;
            *err = reader->err;
            return true;
        }
    }
    if (!is_past || !all_have_nothing)
        return false;
    *out_status = ks_fail(err, KS_TIMEOUT, 0, "no new record");
    return true;
}

/* Connects if need be. A failure is every waiting reader's trouble. */
static void wait_connect(const struct reader_wait *wait)
{
    struct kstream_client *client = wait->readers[0]->client;
    if (client->conn.state == CLIENT_CONN_OPEN || client_now_ns() < client->reconnect_not_before_ns)
        return;
    struct ks_error err = KS_ERROR_INIT;
    uint64_t deadline_ns = client_deadline_ns(client->connect_timeout_ms);
    if (wait->deadline_ns > client_now_ns())
        deadline_ns = ks_min_u64(deadline_ns, wait->deadline_ns);
    if (client_conn_ensure(&client->conn, deadline_ns, &err) == KS_OK)
        return;
    struct kstream_reader *first = wait->readers[0];
    for (size_t i = 0; i < wait->count; i++)
        if (wait->readers[i]->state == READER_IDLE) {
            reader_back_off(wait->readers[i], &err);
            if (wait->readers[i]->not_before_ns > first->not_before_ns)
                first = wait->readers[i];
        }
    client->reconnect_not_before_ns = first->not_before_ns;
}

static enum ks_status readers_next(const struct reader_wait *wait, size_t *out_index,
    struct kstream_batch **out_batch, struct ks_error *err)
{
    struct kstream_client *client = wait->readers[0]->client;
    for (size_t i = 0; i < wait->count; i++) {
        wait->readers[i]->is_caught_up = false;
        /* The time allowed for an absent broker starts with this wait. */
        if (wait->readers[i]->trouble_since_ns)
            wait->readers[i]->trouble_since_ns = wait->started_ns;
    }
    for (;;) {
        enum ks_status st = KS_OK;
        client_conn_process(&client->conn);
        wait_connect(wait);
        for (size_t i = 0; i < wait->count && client->conn.state == CLIENT_CONN_OPEN; i++) {
            reader_ask(wait->readers[i], wait->deadline_ns);
            if (reader_is_late(wait->readers[i]))
                client_conn_close(
                    &client->conn, KS_UNAVAILABLE, "the broker did not answer in time");
        }
        client_conn_process(&client->conn);
        if (wait_find_ready(wait, out_index))
            return reader_hand_out(wait->readers[*out_index], out_batch, err);
        if (wait_is_over(wait, out_index, &st, err))
            return st;
        client_conn_wait(&client->conn, wait_timer_ns(wait));
    }
}

/* ---- the calls ---- */

enum kstream_status kstream_reader_next_any(struct kstream_reader *const *readers, size_t count,
    uint32_t timeout_ms, size_t *out_index, struct kstream_batch **out_batch,
    struct kstream_error *err)
{
    struct ks_error inner = KS_ERROR_INIT;
    bool is_usable = readers && count > 0 && out_index && out_batch;
    for (size_t i = 0; is_usable && i < count; i++)
        is_usable = readers[i] && readers[i]->client == readers[0]->client;
    if (!is_usable)
        return client_result(
            ks_fail(&inner, KS_INVALID, 0, "readers of one client are needed"), &inner, 0, err);
    struct reader_wait wait = {.readers = readers,
        .count = count,
        .started_ns = client_now_ns(),
        .deadline_ns = client_deadline_ns(timeout_ms)};
    enum ks_status st = readers_next(&wait, out_index, out_batch, &inner);
    return client_result(st, &inner, 0, err);
}

enum kstream_status kstream_reader_next(struct kstream_reader *reader, uint32_t timeout_ms,
    struct kstream_batch **out_batch, struct kstream_error *err)
{
    size_t index = 0;
    return kstream_reader_next_any(&reader, 1, timeout_ms, &index, out_batch, err);
}

static enum ks_status reader_first_iterator(struct kstream_reader *reader, struct ks_error *err)
{
    struct kstream_error public_err = KSTREAM_ERROR_INIT;
    struct kstream_server_info info = KSTREAM_SERVER_INFO_INIT;
    enum kstream_status st = KSTREAM_OK;
    bool is_latest = reader->position.type == KSTREAM_LATEST;
    if (is_latest)
        st = kstream_ping(reader->client, reader->client->request_timeout_ms, &info, &public_err);
    if (st == KSTREAM_OK)
        st = kstream_get_shard_iterator(reader->client, reader->stream, reader->shard_id,
            &reader->position, NULL, reader->iterator, &public_err);
    if (st != KSTREAM_OK)
        return ks_fail(err, ks_status_from_wire((uint32_t)st), 0, "%s", public_err.text);
    reader->has_iterator = true;
    reader->is_iterator_fresh = true;
    /* "The end as of now" must survive a lost iterator: it is a point in time from here on. */
    if (is_latest)
        reader->position = kstream_from_time_ms(info.server_unix_ms);
    return KS_OK;
}

static enum ks_status reader_open(struct kstream_client *client, const char *stream,
    const char *shard_id, const struct kstream_position *position,
    const struct kstream_reader_options *options, struct kstream_reader **out_reader,
    struct ks_error *err)
{
    if (!stream || !shard_id || strlen(shard_id) >= KSTREAM_SHARD_ID_BYTES)
        return ks_fail(err, KS_INVALID, 0, "a stream and a shard are needed");
    KS_CLEANUP(kstream_reader_closep) struct kstream_reader *reader = ks_zalloc(sizeof *reader);
    if (!reader)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for a reader");
    reader->client = client;
    reader->call.on_done = reader_done;
    reader->position = *position;
    reader->options = (struct kstream_reader_options)KSTREAM_READER_OPTIONS_INIT;
    if (options)
        memcpy(&reader->options, options, KS_MIN(options->size, sizeof reader->options));
    snprintf(reader->shard_id, sizeof reader->shard_id, "%s", shard_id);
    reader->stream = ks_strdup(stream);
    if (!reader->stream)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for a reader");
    uint64_t seed = 0;
    enum ks_status st = ks_random_bytes(&seed, sizeof seed, err);
    if (st == KS_OK)
        st = reader_first_iterator(reader, err);
    if (st)
        return st;
    ks_prng_seed(&reader->jitter, seed);
    *out_reader = KS_TAKE(reader);
    return KS_OK;
}

enum kstream_status kstream_reader_open(struct kstream_client *client, const char *stream,
    const char *shard_id, struct kstream_position position,
    const struct kstream_reader_options *options, struct kstream_reader **out_reader,
    struct kstream_error *err)
{
    struct ks_error inner = KS_ERROR_INIT;
    client->last_request_id = 0;
    enum ks_status st =
        reader_open(client, stream, shard_id, &position, options, out_reader, &inner);
    return client_result(st, &inner, client->last_request_id, err);
}

void kstream_reader_close(struct kstream_reader *reader)
{
    if (!reader)
        return;
    client_conn_forget(&reader->client->conn, &reader->call);
    kstream_batch_free(reader->batch);
    ks_free(reader->stream);
    ks_free(reader);
}

struct kstream_position kstream_reader_position(const struct kstream_reader *reader)
{
    return reader->position;
}

const char *kstream_reader_shard_id(const struct kstream_reader *reader)
{
    return reader->shard_id;
}
