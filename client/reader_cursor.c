#include "base/alloc.h"
#include "client/reader_priv.h"

#include <stdio.h>

void reader_cursor_move(struct reader_cursor *cursor, enum cursor_state state)
{
    struct kstream_reader *reader = cursor->reader;
    struct ks_list *const lists[] = {[CURSOR_WANTS] = &reader->wants,
        [CURSOR_PAUSED] = &reader->paused,
        [CURSOR_ASKED] = &reader->asked,
        [CURSOR_READY] = &reader->ready,
        [CURSOR_ENDED] = NULL};
    bool was_active = ks_list_is_linked(&cursor->node);
    if (was_active)
        ks_list_remove(&cursor->node);
    reader->asked_count -= cursor->state == CURSOR_ASKED;
    reader->asked_count += state == CURSOR_ASKED;
    reader->became_ready += state == CURSOR_READY;
    reader->wants_turn = reader->wants_turn || state == CURSOR_WANTS;
    if (lists[state])
        ks_list_push(lists[state], &cursor->node);
    reader->active_count += !was_active && lists[state];
    reader->active_count -= was_active && !lists[state];
    cursor->state = state;
}

/* ---- answers ---- */

static void cursor_fail(
    struct reader_cursor *cursor, enum ks_status status, const struct ks_error *err)
{
    cursor->status = status;
    cursor->err = *err;
    reader_cursor_move(cursor, CURSOR_READY);
}

static void cursor_refused(
    struct reader_cursor *cursor, enum ks_status status, const struct ks_error *err)
{
    /* An iterator dies with age, and with a broker whose memory of it is gone. */
    bool is_iterator_dead =
        status == KS_EXPIRED_ITERATOR || (status == KS_INVALID && cursor->has_iterator);
    if (is_iterator_dead && !cursor->is_iterator_fresh) {
        cursor->has_iterator = false;
        reader_cursor_move(cursor, CURSOR_WANTS);
    } else if (status == KS_NOT_FOUND && cursor->reader->is_whole) {
        reader_cursor_vanished(cursor);
    } else if (ks_status_info(status)->retryable) {
        cursor->err = *err;
        cursor->not_before_ns = client_backoff_ns(&cursor->reader->jitter, &cursor->backoff_ms);
        reader_cursor_move(cursor, CURSOR_PAUSED);
    } else {
        cursor_fail(cursor, status, err);
    }
}

static void cursor_take_batch(struct reader_cursor *cursor, const struct client_answer *answer)
{
    struct ks_error err = KS_ERROR_INIT;
    KS_CLEANUP(kstream_batch_freep) struct kstream_batch *batch = NULL;
    enum ks_status st = client_batch_take(answer, &batch, &err);
    if (st == KS_CORRUPT && !cursor->is_iterator_fresh) {
        /* Damaged on the way, perhaps: once more, from the same place. */
        cursor->is_iterator_fresh = true;
        reader_cursor_move(cursor, CURSOR_WANTS);
        return;
    }
    if (st) {
        cursor_fail(cursor, st, &err);
        return;
    }
    cursor->backoff_ms = 0;
    cursor->is_iterator_fresh = false;
    const char *next = kstream_batch_next_iterator(batch);
    cursor->has_iterator = next != NULL;
    if (next)
        snprintf(cursor->iterator, sizeof cursor->iterator, "%s", next);
    if (!next && kstream_batch_count(batch) == 0 && cursor->reader->is_whole) {
        st = reader_cursor_end(cursor, batch, &err);
        if (st)
            cursor_fail(cursor, st, &err);
        return;
    }
    if (!next || kstream_batch_count(batch) > 0) {
        cursor->status = KS_OK;
        cursor->batch = KS_TAKE(batch);
        reader_cursor_move(cursor, CURSOR_READY);
        return;
    }
    /* Empty but behind: the broker stopped short of the newest record; ask on at once. */
    if (cursor->asked_wait_ms > 0 || kstream_batch_millis_behind_latest(batch) == 0)
        cursor->nothing_ns = cursor->asked_ns;
    reader_cursor_move(cursor, CURSOR_WANTS);
}

static void cursor_take_iterator(struct reader_cursor *cursor, struct ks_view message)
{
    struct ks_error err = KS_ERROR_INIT;
    enum ks_status st = client_iterator_read(message, cursor->iterator, &err);
    if (st) {
        cursor_fail(cursor, st, &err);
        return;
    }
    cursor->has_iterator = true;
    cursor->is_iterator_fresh = true;
    /* "The end as of now" must survive a lost iterator: it is a point in time from here on. */
    if (cursor->position.type == KSTREAM_LATEST)
        cursor->position = kstream_from_time_ms(cursor->reader->now_unix_ms);
    reader_cursor_move(cursor, CURSOR_WANTS);
}

static void cursor_done(struct client_call *call, enum ks_status status, uint8_t *frame,
    const struct ks_response_view *response, const struct ks_error *err KS_UNUSED)
{
    struct reader_cursor *cursor = KS_CONTAINER_OF(call, struct reader_cursor, call);
    if (status) {
        /* The connection has a pause of its own. */
        if (cursor->position.type == KSTREAM_LATEST)
            cursor->position = kstream_from_time_ms(cursor->reader->now_unix_ms);
        reader_cursor_move(cursor, CURSOR_WANTS);
        return;
    }
    if (response->op == KS_OP_GET_RECORDS) {
        struct client_answer answer = {.frame = frame, .response = *response};
        cursor_take_batch(cursor, &answer);
        return;
    }
    if (response->op == KS_OP_ERROR) {
        struct ks_error why = KS_ERROR_INIT;
        struct ks_arena arena;
        ks_arena_init(&arena, CLIENT_ANSWER_BYTES_MAX);
        enum ks_status st = client_read_error(&arena, response->message, &why).status;
        ks_arena_fini(&arena);
        cursor_refused(cursor, st, &why);
    } else {
        cursor_take_iterator(cursor, response->message);
    }
    ks_free(frame);
}

/* ---- questions ---- */

static uint32_t answer_bytes_max(const struct kstream_reader *reader)
{
    uint64_t share = reader->options.memory_bytes_max / KS_MAX(reader->active_count, (size_t)1);
    uint32_t bytes =
        (uint32_t)ks_min_u64(ks_max_u64(share, READER_ANSWER_BYTES_MIN), KS_GET_BYTES_MAX);
    uint32_t wanted = reader->options.max_bytes;
    return wanted > 0 ? KS_MIN(wanted, bytes) : bytes;
}

static enum ks_status cursor_ask_records(
    struct reader_cursor *cursor, uint32_t wait_ms, struct ks_error *err)
{
    const struct kstream_reader *reader = cursor->reader;
    Kstream__GetRecordsRequest request = KSTREAM__GET_RECORDS_REQUEST__INIT;
    request.shard_iterator = cursor->iterator;
    request.has_limit = reader->options.limit > 0;
    request.limit = (int32_t)KS_MIN(reader->options.limit, KS_GET_RECORDS_MAX);
    request.has_max_bytes = true;
    request.max_bytes = answer_bytes_max(reader);
    request.has_wait_ms = wait_ms > 0;
    request.wait_ms = wait_ms;
    return client_conn_submit(
        &reader->client->conn, &cursor->call, KS_OP_GET_RECORDS, &request.base, err);
}

static enum ks_status cursor_ask_iterator(struct reader_cursor *cursor, struct ks_error *err)
{
    Kstream__GetShardIteratorRequest request = KSTREAM__GET_SHARD_ITERATOR_REQUEST__INIT;
    CLIENT_NAME_STREAM(&request, cursor->reader->stream);
    request.shard_id = cursor->shard_id;
    enum ks_status st = client_position_request(&cursor->position, &request, err);
    if (st)
        return st;
    return client_conn_submit(
        &cursor->reader->client->conn, &cursor->call, KS_OP_GET_SHARD_ITERATOR, &request.base, err);
}

/* False: no more can be asked just now. */
static bool cursor_ask(struct reader_cursor *cursor, uint32_t wait_ms)
{
    struct kstream_reader *reader = cursor->reader;
    struct ks_error err = KS_ERROR_INIT;
    uint32_t asked_wait_ms = cursor->has_iterator ? wait_ms : 0;
    cursor->call.on_done = cursor_done;
    cursor->call.answer_by_ns =
        client_now_ns() + ((uint64_t)asked_wait_ms + reader->client->request_timeout_ms) * 1000000u;
    enum ks_status st = cursor->has_iterator ? cursor_ask_records(cursor, asked_wait_ms, &err)
                                             : cursor_ask_iterator(cursor, &err);
    if (st == KS_INVALID || st == KS_TOO_LARGE) {
        cursor_fail(cursor, st, &err);
        return true;
    }
    if (st)
        return false;
    cursor->asked_wait_ms = asked_wait_ms;
    cursor->asked_ns = client_now_ns();
    reader_cursor_move(cursor, CURSOR_ASKED);
    return true;
}

void reader_ask(struct kstream_reader *reader, const struct reader_question *question)
{
    uint64_t now_ns = client_now_ns();
    reader->is_short = false;
    uint32_t wait_ms_max =
        reader->active_count > reader->asked_max ? READER_TURN_MS : READER_LONG_POLL_MS;
    KS_LIST_FOR_EACH_SAFE(node, &reader->paused)
    {
        struct reader_cursor *cursor = KS_CONTAINER_OF(node, struct reader_cursor, node);
        if (now_ns >= cursor->not_before_ns)
            reader_cursor_move(cursor, CURSOR_WANTS);
    }
    KS_LIST_FOR_EACH_SAFE(node, &reader->wants)
    {
        struct reader_cursor *cursor = KS_CONTAINER_OF(node, struct reader_cursor, node);
        if (cursor->nothing_ns >= question->settled_since_ns)
            continue;
        if (reader->asked_count >= reader->asked_max)
            return;
        reader->is_short = !cursor_ask(cursor, KS_MIN(question->wait_ms, wait_ms_max));
        if (reader->is_short)
            return;
    }
}

void reader_recall(struct kstream_reader *reader)
{
    KS_LIST_FOR_EACH_SAFE(node, &reader->asked)
    {
        struct reader_cursor *cursor = KS_CONTAINER_OF(node, struct reader_cursor, node);
        if (cursor->asked_wait_ms == 0)
            continue;
        client_conn_forget(&reader->client->conn, &cursor->call);
        reader_cursor_move(cursor, CURSOR_WANTS);
    }
}

/* ---- handing out ---- */

enum ks_status reader_hand_out(
    struct reader_cursor *cursor, struct kstream_batch **out_batch, struct ks_error *err)
{
    KS_ASSERT(cursor->state == CURSOR_READY);
    if (cursor->status) {
        *err = cursor->err;
        cursor->reader->client->last_request_id = cursor->call.request_id;
        reader_cursor_move(cursor, CURSOR_WANTS); /* asking again may help, if the caller does */
        return cursor->status;
    }
    struct kstream_batch *batch = cursor->batch;
    bool is_last = kstream_batch_next_iterator(batch) == NULL;
    enum ks_status st = is_last ? reader_cursor_end(cursor, batch, err) : KS_OK;
    if (st)
        return st; /* the batch is still there */
    if (!is_last)
        reader_cursor_move(cursor, CURSOR_WANTS);
    if (kstream_batch_count(batch) > 0) {
        cursor->position.type = KSTREAM_AFTER_SEQUENCE_NUMBER;
        client_batch_last_sequence_number(batch, cursor->position.sequence_number);
    }
    *out_batch = KS_TAKE(cursor->batch);
    return KS_OK;
}
