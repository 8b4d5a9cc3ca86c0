/*
 * Which shards a reader reads. A child begins when all its parents that are still kept have been
 * handed out to their end, so that the records of a key come in order through splits and merges.
 *
 * A saved position lists the shards being read and where each stands. What it does not list either
 * descends from one of those, and waits for it, or was over before the reader began.
 */
#include "base/alloc.h"
#include "client/reader_priv.h"
#include "proto/sequence.h"

#include <stdio.h>

#define SAVED_PREFIX "kstream-reader-1 "
#define SAVED_END "end"

/* ---- the tree ---- */

/* Where a cursor of that index is, or belongs. */
static size_t cursor_position(const struct kstream_reader *reader, uint32_t index)
{
    size_t low = 0;
    size_t high = reader->cursor_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (reader->cursors[middle]->shard_index < index)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct reader_cursor *find_cursor(const struct kstream_reader *reader, uint32_t index)
{
    size_t at = cursor_position(reader, index);
    return at < reader->cursor_count && reader->cursors[at]->shard_index == index
               ? reader->cursors[at]
               : NULL;
}

static const struct reader_saved *find_saved(const struct kstream_reader *reader, uint32_t index)
{
    for (size_t i = 0; i < reader->saved_count; i++)
        if (reader->saved[i].shard_index == index)
            return &reader->saved[i];
    return NULL;
}

static struct reader_cursor *add_cursor(struct kstream_reader *reader, uint32_t index)
{
    struct reader_cursor **cursors =
        ks_realloc(reader->cursors, (reader->cursor_count + 1) * sizeof(struct reader_cursor *));
    if (!cursors)
        return NULL;
    reader->cursors = cursors;
    struct reader_cursor *cursor = ks_zalloc(sizeof *cursor);
    if (!cursor)
        return NULL;
    cursor->reader = reader;
    cursor->state = CURSOR_WAITS_PARENTS;
    cursor->shard_index = index;
    ks_shard_id_to_text(index, cursor->shard_id);
    size_t at = cursor_position(reader, index);
    memmove(&cursors[at + 1], &cursors[at],
        (reader->cursor_count - at) * sizeof(struct reader_cursor *));
    cursors[at] = cursor;
    reader->cursor_count++;
    return cursor;
}

static void add_parent(struct reader_cursor *cursor, const char *parent_id)
{
    uint32_t index = 0;
    if (parent_id && cursor->parent_count < READER_PARENTS_MAX &&
        ks_shard_id_from_text(ks_view_of_text(parent_id), &index) == KS_OK)
        cursor->parents[cursor->parent_count++] = index;
}

/* A parent that the broker did not list has expired, and there is nothing to wait for; one that was
 * made after the list is learned of when its own parents end. */
static bool has_open_parent(const struct reader_cursor *cursor)
{
    const struct kstream_reader *reader = cursor->reader;
    for (uint32_t i = 0; i < cursor->parent_count; i++) {
        const struct reader_cursor *parent = find_cursor(reader, cursor->parents[i]);
        if (parent ? parent->state != CURSOR_ENDED : cursor->parents[i] > reader->listed_index_max)
            return true;
    }
    return false;
}

/* Where a shard begins that the caller did not name a position for. */
static struct kstream_position first_position(const struct kstream_reader *reader)
{
    return reader->start.type == KSTREAM_AT_TIMESTAMP ? reader->start : kstream_from_trim_horizon();
}

static void begin_children(struct kstream_reader *reader)
{
    for (size_t i = 0; i < reader->cursor_count; i++) {
        struct reader_cursor *cursor = reader->cursors[i];
        if (cursor->state == CURSOR_WAITS_PARENTS && !has_open_parent(cursor))
            reader_cursor_move(cursor, CURSOR_WANTS);
    }
}

enum ks_status reader_cursor_end(
    struct reader_cursor *cursor, const struct kstream_batch *last, struct ks_error *err)
{
    struct kstream_reader *reader = cursor->reader;
    size_t count = 0;
    const struct kstream_child_shard *children = kstream_batch_child_shards(last, &count);
    for (size_t i = 0; reader->is_whole && i < count; i++) {
        uint32_t index = 0;
        if (ks_shard_id_from_text(ks_view_of_text(children[i].shard_id), &index))
            return ks_fail(err, KS_PROTOCOL, 0, "the broker names an impossible shard");
        if (find_cursor(reader, index))
            continue;
        struct reader_cursor *child = add_cursor(reader, index);
        if (!child)
            return ks_fail(err, KS_NO_MEMORY, 0, "no memory for the children of a shard");
        child->position = first_position(reader);
        for (size_t j = 0; j < children[i].parent_count; j++)
            add_parent(child, children[i].parent_shard_ids[j]);
    }
    reader_cursor_move(cursor, CURSOR_ENDED);
    begin_children(reader);
    return KS_OK;
}

void reader_cursor_vanished(struct reader_cursor *cursor)
{
    reader_cursor_move(cursor, CURSOR_ENDED);
    cursor->reader->phase = READER_WANTS_SHARDS;
    cursor->reader->wants_turn = true;
}

/* ---- the shards as the broker lists them ---- */

/* Whether the reader of a saved position has yet to read this shard, which it does not list. */
static bool descends_from_saved(const struct reader_cursor *cursor)
{
    const struct kstream_reader *reader = cursor->reader;
    for (uint32_t i = 0; i < cursor->parent_count; i++) {
        const struct reader_cursor *parent = find_cursor(reader, cursor->parents[i]);
        if (find_saved(reader, cursor->parents[i]) || (parent && parent->state != CURSOR_ENDED))
            return true;
    }
    return false;
}

/* The state in which a listed shard begins; parents come before their children. */
static void start_cursor(struct reader_cursor *cursor, bool is_open)
{
    const struct kstream_reader *reader = cursor->reader;
    const struct reader_saved *saved = find_saved(reader, cursor->shard_index);
    bool is_over = false;
    cursor->position = first_position(reader);
    if (saved) {
        is_over = saved->is_ended;
        cursor->position = saved->position;
    } else if (reader->saved_count > 0) {
        is_over = !descends_from_saved(cursor);
    } else if (reader->start.type == KSTREAM_LATEST && !reader->has_listed) {
        is_over = !is_open;
        cursor->position = reader->start;
    }
    if (is_over)
        reader_cursor_move(cursor, CURSOR_ENDED);
    else if (saved)
        reader_cursor_move(cursor, CURSOR_WANTS);
}

static enum ks_status take_shard(
    struct kstream_reader *reader, const Kstream__Shard *shard, struct ks_error *err)
{
    uint32_t index = 0;
    if (ks_shard_id_from_text(ks_view_of_text(shard->shard_id), &index))
        return ks_fail(err, KS_PROTOCOL, 0, "the broker names an impossible shard");
    reader->listed_index_max = KS_MAX(reader->listed_index_max, index);
    if (find_cursor(reader, index))
        return KS_OK;
    struct reader_cursor *cursor = add_cursor(reader, index);
    if (!cursor)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for a shard");
    add_parent(cursor, shard->parent_shard_id);
    add_parent(cursor, shard->adjacent_parent_shard_id);
    start_cursor(cursor, shard->sequence_number_range->ending_sequence_number == NULL);
    return KS_OK;
}

static void begin_reading(struct kstream_reader *reader)
{
    reader->phase = READER_READS;
    reader->has_listed = true;
    ks_free(reader->saved);
    reader->saved = NULL;
    reader->saved_count = 0;
    begin_children(reader);
}

static enum ks_status take_shards(
    struct kstream_reader *reader, const Kstream__ListShardsResponse *page, struct ks_error *err)
{
    for (size_t i = 0; i < page->n_shards; i++) {
        enum ks_status st = take_shard(reader, page->shards[i], err);
        if (st)
            return st;
    }
    ks_free(reader->next_token);
    reader->next_token = page->next_token ? ks_strdup(page->next_token) : NULL;
    if (page->next_token && !reader->next_token)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for a list of shards");
    if (!page->next_token)
        begin_reading(reader);
    return KS_OK;
}

/* The one shard of a reader that was opened for it. */
static enum ks_status take_named_shard(struct kstream_reader *reader, struct ks_error *err)
{
    struct reader_cursor *cursor = add_cursor(reader, reader->shard_index);
    if (!cursor)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for a reader");
    const struct reader_saved *saved = find_saved(reader, reader->shard_index);
    cursor->position = saved ? saved->position : reader->start;
    reader_cursor_move(cursor, saved && saved->is_ended ? CURSOR_ENDED : CURSOR_WANTS);
    begin_reading(reader);
    return KS_OK;
}

/* ---- asking for them ---- */

static enum ks_status phase_next(struct kstream_reader *reader, struct ks_error *err)
{
    reader->phase = READER_WANTS_SHARDS;
    return reader->is_whole ? KS_OK : take_named_shard(reader, err);
}

static enum ks_status setup_take(struct kstream_reader *reader, struct ks_arena *arena,
    const struct ks_response_view *response, struct ks_error *err)
{
    if (response->op == KS_OP_ERROR)
        return client_read_error(arena, response->message, err).status;
    const ProtobufCMessage *message =
        ks_arena_unpack(arena, ks_operation_by_number(response->op)->response, response->message);
    if (!message)
        return client_unpack_failed(arena, "the broker's answer", err);
    if (response->op == KS_OP_LIST_SHARDS)
        return take_shards(reader, (const void *)message, err);
    reader->now_unix_ms = ((const Kstream__PingResponse *)(const void *)message)->server_unix_ms;
    return phase_next(reader, err);
}

static void setup_done(struct client_call *call, enum ks_status status, uint8_t *frame,
    const struct ks_response_view *response, const struct ks_error *err KS_UNUSED)
{
    struct kstream_reader *reader = KS_CONTAINER_OF(call, struct kstream_reader, setup_call);
    if (status)
        return; /* asked again on the next connection */
    struct ks_arena arena;
    ks_arena_init(&arena, CLIENT_ANSWER_BYTES_MAX);
    enum ks_status st = setup_take(reader, &arena, response, &reader->err);
    ks_arena_fini(&arena);
    ks_free(frame);
    reader->wants_turn = true;
    if (st == KS_OK)
        return;
    reader->setup_not_before_ns = client_backoff_ns(&reader->jitter, &reader->setup_backoff_ms);
    if (st == KS_EXPIRED_TOKEN) {
        ks_free(reader->next_token);
        reader->next_token = NULL;
    } else if (!ks_status_info(st)->retryable) {
        reader->failed = st;
    }
}

static enum ks_status setup_ask(struct kstream_reader *reader, struct ks_error *err)
{
    struct client_conn *conn = &reader->client->conn;
    struct client_call *call = &reader->setup_call;
    call->on_done = setup_done;
    call->answer_by_ns = client_deadline_ns(reader->client->request_timeout_ms);
    if (reader->phase == READER_WANTS_TIME) {
        Kstream__PingRequest request = KSTREAM__PING_REQUEST__INIT;
        return client_conn_submit(conn, call, KS_OP_PING, &request.base, err);
    }
    Kstream__ListShardsRequest request = KSTREAM__LIST_SHARDS_REQUEST__INIT;
    if (reader->next_token)
        request.next_token = reader->next_token;
    else
        CLIENT_NAME_STREAM(&request, reader->stream);
    return client_conn_submit(conn, call, KS_OP_LIST_SHARDS, &request.base, err);
}

void reader_set_up(struct kstream_reader *reader)
{
    struct ks_error err = KS_ERROR_INIT;
    if (reader->phase == READER_READS || reader->failed ||
        ks_list_is_linked(&reader->setup_call.node) ||
        reader->client->conn.state != CLIENT_CONN_OPEN ||
        client_now_ns() < reader->setup_not_before_ns)
        return;
    enum ks_status st = KS_OK;
    if (reader->phase == READER_WANTS_TIME && reader->start.type != KSTREAM_LATEST)
        st = phase_next(reader, &err);
    if (st == KS_OK && reader->phase != READER_READS)
        st = setup_ask(reader, &err);
    if (st) {
        reader->err = err;
        reader->failed = st;
    }
}

/* ---- saved positions ---- */

/* One SHARD=POSITION of the text. */
static enum ks_status saved_parse_one(
    struct kstream_reader *reader, char *word, struct ks_error *err)
{
    char *equals = strchr(word, '=');
    uint32_t index = 0;
    if (!equals ||
        ks_shard_id_from_text(ks_view_of(word, (size_t)(equals - word)), &index) != KS_OK)
        return ks_fail(err, KS_INVALID, 0, "'%.60s' is no saved position of a shard", word);
    struct reader_saved *list = ks_realloc(reader->saved, (reader->saved_count + 1) * sizeof *list);
    if (!list)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for a saved position");
    reader->saved = list;
    struct reader_saved *saved = &list[reader->saved_count];
    *saved =
        (struct reader_saved){.shard_index = index, .is_ended = strcmp(equals + 1, SAVED_END) == 0};
    if (!saved->is_ended &&
        kstream_position_from_text(equals + 1, &saved->position, NULL) != KSTREAM_OK)
        return ks_fail(err, KS_INVALID, 0, "'%.60s' is no saved position of a shard", word);
    reader->saved_count++;
    return KS_OK;
}

enum ks_status reader_saved_parse(
    struct kstream_reader *reader, const char *text, struct ks_error *err)
{
    KS_AUTO_FREE char *copy = ks_strdup(text);
    if (!copy)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for a saved position");
    char *rest = copy;
    if (strncmp(copy, SAVED_PREFIX, strlen(SAVED_PREFIX)) == 0)
        rest = copy + strlen(SAVED_PREFIX);
    char *stream = rest == copy ? NULL : strsep(&rest, " ");
    if (!stream || strcmp(stream, reader->stream) != 0)
        return ks_fail(err, KS_INVALID, 0, "'%.40s...' was not saved by a reader of '%.80s'", text,
            reader->stream);
    for (char *word; (word = strsep(&rest, " "));) {
        enum ks_status st = saved_parse_one(reader, word, err);
        if (st)
            return st;
    }
    bool is_there = reader->is_whole ? reader->saved_count > 0
                                     : find_saved(reader, reader->shard_index) != NULL;
    return is_there ? KS_OK
                    : ks_fail(err, KS_INVALID, 0, "the saved position is not of %s",
                          reader->is_whole ? "any shard" : reader->shard_id);
}

enum ks_status reader_save(
    const struct kstream_reader *reader, struct ks_buf *to, struct ks_error *err)
{
    bool is_fine = ks_buf_printf(to, "%s%s", SAVED_PREFIX, reader->stream);
    bool has_any = false;
    for (size_t i = 0; i < reader->cursor_count && is_fine; i++) {
        const struct reader_cursor *cursor = reader->cursors[i];
        char text[KSTREAM_POSITION_BYTES] = SAVED_END;
        /* What waits for its parents is found again through them; what is over is not read again,
         * and its children are in the list. */
        if (cursor->state == CURSOR_WAITS_PARENTS)
            continue;
        if (cursor->state == CURSOR_ENDED && reader->active_count > 0)
            continue;
        if (cursor->state != CURSOR_ENDED)
            kstream_position_to_text(&cursor->position, text);
        is_fine = ks_buf_printf(to, " %s=%s", cursor->shard_id, text);
        has_any = true;
    }
    if (!is_fine)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for the position");
    return has_any ? KS_OK
                   : ks_fail(err, KS_WOULD_BLOCK, 0, "the reader does not know its shards yet");
}
