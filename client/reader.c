#include "base/alloc.h"
#include "client/reader_priv.h"
#include "proto/sequence.h"

#include <poll.h>

#define SHORT_PAUSE_NS 10000000u /* without memory for a question */

/* ---- life ---- */

static void reader_free(struct kstream_reader *reader)
{
    struct client_conn *conn = &reader->client->conn;
    client_conn_forget(conn, &reader->setup_call);
    for (size_t i = 0; i < reader->cursor_count; i++) {
        client_conn_forget(conn, &reader->cursors[i]->call);
        kstream_batch_free(reader->cursors[i]->batch);
        ks_free(reader->cursors[i]);
    }
    ks_free(reader->cursors);
    ks_free(reader->saved);
    ks_free(reader->next_token);
    ks_free(reader->stream);
    client_remove_worker(reader->client, &reader->worker);
    ks_free(reader);
}
KS_DEFINE_CLEANUP(struct kstream_reader, reader_free)

/* The connection's part of a turn. True: open. */
static bool reader_connect(const struct kstream_reader *reader)
{
    struct client_conn *conn = &reader->client->conn;
    client_conn_process(conn);
    if (conn->state != CLIENT_CONN_OPEN) {
        client_conn_keep(conn);
        client_conn_process(conn);
    }
    return conn->state == CLIENT_CONN_OPEN;
}

/* The reader's part: asks for what is due. */
static void reader_push(struct kstream_reader *reader, const struct reader_question *question)
{
    reader->wants_turn = false;
    client_say_hello(reader->client);
    reader_set_up(reader);
    if (reader->phase == READER_READS)
        reader_ask(reader, question);
}

/* Whatever is possible now without waiting. */
static void reader_turn(struct kstream_reader *reader, const struct reader_question *question)
{
    if (!reader_connect(reader))
        return;
    reader_push(reader, question);
    client_conn_process(&reader->client->conn);
}

/* When reader_turn has something to do next, the socket apart. */
static uint64_t reader_timer_ns(const struct kstream_reader *reader)
{
    uint64_t timer_ns = client_conn_timer_ns(&reader->client->conn);
    if (reader->client->conn.state != CLIENT_CONN_OPEN || reader->failed)
        return timer_ns;
    if (reader->wants_turn)
        return 0;
    if (reader->is_short)
        timer_ns = ks_min_u64(timer_ns, client_now_ns() + SHORT_PAUSE_NS);
    if (reader->phase != READER_READS)
        return ks_list_is_linked(&reader->setup_call.node)
                   ? timer_ns
                   : ks_min_u64(timer_ns, reader->setup_not_before_ns);
    KS_LIST_FOR_EACH(node, &reader->paused)
    timer_ns =
        ks_min_u64(timer_ns, KS_CONTAINER_OF(node, struct reader_cursor, node)->not_before_ns);
    return timer_ns;
}

static size_t reader_run(struct client_worker *worker)
{
    struct kstream_reader *reader = KS_CONTAINER_OF(worker, struct kstream_reader, worker);
    reader_turn(reader, READER_LONG_POLL);
    size_t news = (size_t)(reader->became_ready - reader->told_ready);
    reader->told_ready = reader->became_ready;
    return news;
}

static uint64_t reader_worker_timer_ns(const struct client_worker *worker)
{
    return reader_timer_ns(
        (const struct kstream_reader *)(const void *)((const char *)worker -
                                                      offsetof(struct kstream_reader, worker)));
}

/* ---- waiting for the first of many ---- */

struct reader_wait {
    struct kstream_reader *const *readers;
    size_t count;
    uint32_t timeout_ms;
    uint64_t started_ns;
    uint64_t deadline_ns;
};

static bool wait_find_ready(
    const struct reader_wait *wait, size_t *out_index, struct reader_cursor **out_cursor)
{
    struct kstream_client *client = wait->readers[0]->client;
    for (size_t i = 0; i < wait->count; i++) {
        size_t at = (client->reader_turn + i) % wait->count;
        struct kstream_reader *reader = wait->readers[at];
        if (ks_list_is_empty(&reader->ready))
            continue;
        client->reader_turn = (uint32_t)(at + 1);
        *out_index = at;
        *out_cursor = KS_CONTAINER_OF(reader->ready.next, struct reader_cursor, node);
        return true;
    }
    return false;
}

/* A reader that can never have anything. */
static bool wait_find_over(const struct reader_wait *wait, size_t *out_index,
    enum ks_status *out_status, struct ks_error *err)
{
    for (size_t i = 0; i < wait->count; i++) {
        const struct kstream_reader *reader = wait->readers[i];
        if (!reader->failed && (reader->phase != READER_READS || reader->active_count > 0))
            continue;
        *out_index = i;
        *out_status = reader->failed;
        if (reader->failed)
            *err = reader->err;
        else
            *out_status =
                ks_fail(err, KS_END, 0, "%s '%s' ends here", reader->is_whole ? "stream" : "shard",
                    reader->is_whole ? reader->stream : reader->shard_id);
        return true;
    }
    return false;
}

/* Whether the broker has answered since the wait began that it has nothing. */
static bool reader_has_nothing(const struct kstream_reader *reader, uint64_t since_ns)
{
    if (reader->phase != READER_READS || !ks_list_is_empty(&reader->asked))
        return false;
    KS_LIST_FOR_EACH(node, &reader->wants)
    if (KS_CONTAINER_OF(node, struct reader_cursor, node)->nothing_ns < since_ns)
        return false;
    return ks_list_is_empty(&reader->paused);
}

/* What keeps a reader from reading, if anything does. */
static const struct ks_error *reader_trouble(const struct kstream_reader *reader)
{
    const struct client_conn *conn = &reader->client->conn;
    if (conn->trouble_since_ns)
        return &conn->why_closed;
    if (!ks_list_is_empty(&reader->paused))
        return &KS_CONTAINER_OF(reader->paused.next, struct reader_cursor, node)->err;
    return NULL;
}

/* True when the wait is over without a result: *out_status says why. */
static bool wait_is_over(const struct reader_wait *wait, size_t *out_index,
    enum ks_status *out_status, struct ks_error *err)
{
    uint64_t now_ns = client_now_ns();
    bool is_past = now_ns >= wait->deadline_ns;
    bool is_settled = true;
    for (size_t i = 0; i < wait->count; i++) {
        const struct kstream_reader *reader = wait->readers[i];
        const struct ks_error *trouble = reader_trouble(reader);
        bool is_too_long =
            now_ns - wait->started_ns >= (uint64_t)reader->options.retry_time_max_ms * 1000000u;
        if (trouble && (is_past || is_too_long)) {
            *out_index = i;
            *err = *trouble;
            *out_status = err->status;
            return true;
        }
        is_settled =
            is_settled && (wait->timeout_ms > 0 || reader_has_nothing(reader, wait->started_ns));
    }
    if (!is_past || !is_settled)
        return false;
    *out_status = ks_fail(err, KS_TIMEOUT, 0, "no new record");
    return true;
}

/* Asks; with a timeout of 0, questions that wait in the broker are asked anew without waiting, so
 * that "nothing" is an answer of now. */
static void wait_ask(const struct reader_wait *wait, bool is_first)
{
    uint64_t now_ns = client_now_ns();
    uint64_t left_ns = wait->deadline_ns > now_ns ? wait->deadline_ns - now_ns : 0;
    struct reader_question question = {
        .wait_ms = (uint32_t)ks_min_u64((left_ns + 999999u) / 1000000u, READER_LONG_POLL_MS),
        .settled_since_ns = wait->timeout_ms == 0 ? wait->started_ns : CLIENT_DEADLINE_NONE};
    if (!reader_connect(wait->readers[0]))
        return;
    for (size_t i = 0; i < wait->count; i++) {
        struct kstream_reader *reader = wait->readers[i];
        if (is_first && wait->timeout_ms == 0)
            reader_recall(reader);
        reader_push(reader, &question);
    }
    client_conn_process(&wait->readers[0]->client->conn);
}

static enum ks_status readers_next(const struct reader_wait *wait, size_t *out_index,
    struct kstream_batch **out_batch, struct ks_error *err)
{
    struct kstream_client *client = wait->readers[0]->client;
    if (client->is_closed)
        return ks_fail(err, KS_INVALID, 0, "the client is closed");
    for (bool is_first = true;; is_first = false) {
        enum ks_status st = KS_OK;
        struct reader_cursor *cursor = NULL;
        wait_ask(wait, is_first);
        if (wait_find_ready(wait, out_index, &cursor)) {
            st = reader_hand_out(cursor, out_batch, err);
            /* The next one can be on its way while the caller is busy with this one. */
            wait_ask(wait, false);
            return st;
        }
        if (wait_find_over(wait, out_index, &st, err) || wait_is_over(wait, out_index, &st, err))
            return st;
        uint64_t timer_ns =
            client_now_ns() < wait->deadline_ns ? wait->deadline_ns : CLIENT_DEADLINE_NONE;
        for (size_t i = 0; i < wait->count; i++)
            timer_ns = ks_min_u64(timer_ns, reader_timer_ns(wait->readers[i]));
        client_conn_wait(&client->conn, timer_ns);
    }
}

static bool readers_are_usable(struct kstream_reader *const *readers, size_t count)
{
    if (!readers || count == 0)
        return false;
    for (size_t i = 0; i < count; i++)
        if (!readers[i] || readers[i]->client != readers[0]->client)
            return false;
    return true;
}

enum kstream_status kstream_reader_next_any(struct kstream_reader *const *readers, size_t count,
    uint32_t timeout_ms, size_t *out_index, struct kstream_batch **out_batch,
    struct kstream_error *err)
{
    struct ks_error inner = KS_ERROR_INIT;
    if (!readers_are_usable(readers, count) || !out_index || !out_batch)
        return client_result(
            ks_fail(&inner, KS_INVALID, 0, "readers of one client are needed"), &inner, 0, err);
    struct reader_wait wait = {.readers = readers,
        .count = count,
        .timeout_ms = timeout_ms,
        .started_ns = client_now_ns(),
        .deadline_ns = client_deadline_ns(timeout_ms)};
    readers[0]->client->last_request_id = 0;
    enum ks_status st = readers_next(&wait, out_index, out_batch, &inner);
    return client_result(st, &inner, readers[0]->client->last_request_id, err);
}

enum kstream_status kstream_reader_next(struct kstream_reader *reader, uint32_t timeout_ms,
    struct kstream_batch **out_batch, struct kstream_error *err)
{
    size_t index = 0;
    return kstream_reader_next_any(&reader, 1, timeout_ms, &index, out_batch, err);
}

static enum ks_status reader_take(
    struct kstream_reader *reader, struct kstream_batch **out_batch, struct ks_error *err)
{
    struct reader_wait wait = {.readers = &reader, .count = 1};
    struct reader_cursor *cursor = NULL;
    size_t index = 0;
    enum ks_status st = KS_OK;
    if (reader->client->is_closed)
        return ks_fail(err, KS_INVALID, 0, "the client is closed");
    if (wait_find_ready(&wait, &index, &cursor)) {
        st = reader_hand_out(cursor, out_batch, err);
        reader_turn(reader, READER_LONG_POLL);
        client_arm(reader->client, reader_timer_ns(reader));
        return st;
    }
    if (wait_find_over(&wait, &index, &st, err))
        return st;
    struct client_conn *conn = &reader->client->conn;
    if (conn->trouble_since_ns && client_now_ns() - conn->trouble_since_ns >=
                                      (uint64_t)reader->options.retry_time_max_ms * 1000000u) {
        conn->trouble_since_ns = client_now_ns(); /* said once in that time */
        *err = conn->why_closed;
        return err->status;
    }
    return ks_fail(err, KS_WOULD_BLOCK, 0, "nothing has arrived yet");
}

enum kstream_status kstream_reader_take(
    struct kstream_reader *reader, struct kstream_batch **out_batch, struct kstream_error *err)
{
    struct ks_error inner = KS_ERROR_INIT;
    reader->client->last_request_id = 0;
    enum ks_status st = reader_take(reader, out_batch, &inner);
    return client_result(st, &inner, reader->client->last_request_id, err);
}

/* ---- open ---- */

static enum ks_status reader_set_options(struct kstream_reader *reader,
    const struct kstream_reader_options *options, struct ks_error *err)
{
    reader->options = (struct kstream_reader_options)KSTREAM_READER_OPTIONS_INIT;
    if (options)
        memcpy(&reader->options, options, KS_MIN(options->size, sizeof reader->options));
    if (reader->options.retry_time_max_ms == 0 || reader->options.memory_bytes_max == 0)
        return ks_fail(err, KS_INVALID, 0, "retry_time_max_ms and memory_bytes_max cannot be 0");
    bool names_a_record = reader->start.type == KSTREAM_AT_SEQUENCE_NUMBER ||
                          reader->start.type == KSTREAM_AFTER_SEQUENCE_NUMBER;
    if (reader->is_whole && names_a_record)
        return ks_fail(err, KS_INVALID, 0,
            "a sequence number is a position in one shard: name the shard as well");
    return reader->options.saved ? reader_saved_parse(reader, reader->options.saved, err) : KS_OK;
}

/* Every cursor that can begin has its iterator: the position is fixed, and right. */
static bool reader_is_placed(const struct kstream_reader *reader)
{
    if (reader->phase != READER_READS)
        return false;
    for (size_t i = 0; i < reader->cursor_count; i++) {
        const struct reader_cursor *cursor = reader->cursors[i];
        bool is_on_the_way = cursor->state == CURSOR_WANTS || cursor->state == CURSOR_ASKED ||
                             cursor->state == CURSOR_PAUSED;
        if (is_on_the_way && !cursor->has_iterator)
            return false;
    }
    return true;
}

static enum ks_status reader_wait_placed(struct kstream_reader *reader, struct ks_error *err)
{
    struct client_conn *conn = &reader->client->conn;
    uint64_t deadline_ns = client_call_deadline_ns(reader->client, 0);
    enum ks_status st = client_conn_ensure(
        conn, ks_min_u64(deadline_ns, client_deadline_ns(reader->client->connect_timeout_ms)), err);
    uint64_t closed_count = conn->closed_count;
    while (st == KS_OK) {
        reader_turn(reader, &(struct reader_question){0, CLIENT_DEADLINE_NONE});
        if (reader->failed) {
            reader->client->last_request_id = reader->setup_call.request_id;
            return ks_fail(err, reader->failed, 0, "%s", reader->err.text);
        }
        if (!ks_list_is_empty(&reader->ready)) {
            const struct reader_cursor *cursor =
                KS_CONTAINER_OF(reader->ready.next, struct reader_cursor, node);
            *err = cursor->err;
            reader->client->last_request_id = cursor->call.request_id;
            return cursor->status; /* of an iterator, or KS_OK: a batch is there */
        }
        if (reader_is_placed(reader))
            return KS_OK;
        if (conn->closed_count != closed_count && conn->state != CLIENT_CONN_OPEN)
            return ks_fail(err, conn->why_closed.status, 0, "%s", conn->why_closed.text);
        if (client_now_ns() >= deadline_ns)
            return ks_fail(err, KS_TIMEOUT, 0, "the broker did not answer in time");
        client_conn_wait(conn, ks_min_u64(deadline_ns, reader_timer_ns(reader)));
    }
    return st;
}

static enum ks_status reader_create(struct kstream_client *client, const char *stream,
    const char *shard_id, struct kstream_reader **out_reader, struct ks_error *err)
{
    uint32_t index = 0;
    uint64_t seed = 0;
    if (!stream || stream[0] == '\0')
        return ks_fail(err, KS_INVALID, 0, "the name of the stream is missing");
    if (shard_id && (strlen(shard_id) >= KSTREAM_SHARD_ID_BYTES ||
                        ks_shard_id_from_text(ks_view_of_text(shard_id), &index) != KS_OK))
        return ks_fail(err, KS_INVALID, 0, "'%.60s' is no shard", shard_id);
    if (client->is_closed)
        return ks_fail(err, KS_INVALID, 0, "the client is closed");
    enum ks_status st = ks_random_bytes(&seed, sizeof seed, err);
    if (st)
        return st;
    KS_AUTO_FREE struct kstream_reader *reader = ks_zalloc(sizeof *reader);
    KS_AUTO_FREE char *name = ks_strdup(stream);
    if (!reader || !name)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for a reader");
    reader->client = client;
    reader->stream = KS_TAKE(name);
    reader->is_whole = shard_id == NULL;
    if (shard_id)
        ks_shard_id_to_text(index, reader->shard_id);
    reader->shard_index = index;
    reader->asked_max = READER_ASKED_MAX;
    reader->worker.run = reader_run;
    reader->worker.timer_ns = reader_worker_timer_ns;
    ks_list_init(&reader->wants);
    ks_list_init(&reader->paused);
    ks_list_init(&reader->asked);
    ks_list_init(&reader->ready);
    ks_prng_seed(&reader->jitter, seed);
    client_add_worker(client, &reader->worker);
    *out_reader = KS_TAKE(reader);
    return KS_OK;
}

static enum ks_status reader_open(struct kstream_client *client, const char *stream,
    const char *shard_id, const struct kstream_position *position,
    const struct kstream_reader_options *options, struct kstream_reader **out_reader,
    struct ks_error *err)
{
    KS_CLEANUP(reader_freep) struct kstream_reader *reader = NULL;
    enum ks_status st = reader_create(client, stream, shard_id, &reader, err);
    if (st)
        return st;
    reader->start = *position;
    st = reader_set_options(reader, options, err);
    if (st == KS_OK && reader->options.open_in_background)
        reader_turn(reader, READER_LONG_POLL);
    else if (st == KS_OK)
        st = reader_wait_placed(reader, err);
    if (st == KS_OK)
        *out_reader = KS_TAKE(reader);
    return st;
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
    if (reader)
        reader_free(reader);
}

/* ---- where it stands ---- */

struct kstream_position kstream_reader_position(const struct kstream_reader *reader)
{
    return !reader->is_whole && reader->cursor_count > 0 ? reader->cursors[0]->position
                                                         : reader->start;
}

const char *kstream_reader_shard_id(const struct kstream_reader *reader)
{
    return reader->shard_id;
}

enum kstream_status kstream_reader_save(
    const struct kstream_reader *reader, char **out_text, struct kstream_error *err)
{
    struct ks_error inner = KS_ERROR_INIT;
    struct ks_buf text;
    ks_buf_init(&text, SIZE_MAX);
    enum ks_status st = reader_save(reader, &text, &inner);
    if (st == KS_OK && !ks_buf_append(&text, "", 1))
        st = ks_fail(&inner, KS_NO_MEMORY, 0, "no memory for the position");
    if (st)
        ks_buf_fini(&text);
    else
        *out_text = (char *)text.data;
    return client_result(st, &inner, 0, err);
}

void kstream_text_free(char *text)
{
    ks_free(text);
}
