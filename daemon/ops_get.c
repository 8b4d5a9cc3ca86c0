/*
 * GetShardIterator and GetRecords. Records are read by reference: nothing here looks at one. What
 * would wait for the disk goes to the reader pool; what waits for new records is parked on its
 * shard (park.h) until something happens there.
 */
#include "daemon/ops.h"
#include "proto/get_records.h"
#include "proto/sequence.h"

#include <string.h>

/* What one job of the reader pool brings at most: the next call goes on from there. */
#define COLD_READ_BYTES_MAX (1u << 20)
/* And what any answer brings while those that nobody reads fill their budget. */
#define SHORT_READ_BYTES_MAX (64u * 1024)

/* ---- GetShardIterator ---- */

struct iterator_work {
    struct ks_stream *stream;
    const struct ks_shard *shard;
    uint64_t unix_ms;
    uint64_t sequence;
    enum ks_status status;
    struct ks_error error;
};

static void iterator_finish(struct ks_call *call, const struct ks_stream *stream,
    const struct ks_shard *shard, uint64_t sequence)
{
    char text[KS_TOKEN_TEXT_BYTES_MAX];
    const struct ks_iterator iterator = {.issued_unix_ms = ks_server_unix_ms(call->server),
        .stream_number = stream->number,
        .log_id = ks_log_id(shard->log),
        .shard_index = shard->index,
        .sequence = sequence};
    ks_iterator_to_text(&call->server->token_key, &iterator, text);
    Kstream__GetShardIteratorResponse *response = ks_arena_alloc(&call->arena, sizeof(*response));
    if (response) {
        kstream__get_shard_iterator_response__init(response);
        response->shard_iterator = ks_arena_strdup(&call->arena, text);
    }
    if (!response || !response->shard_iterator)
        ks_call_fail_memory(call);
    else
        ks_call_finish(call, &response->base);
}

static void find_time_run(struct ks_job *job)
{
    struct ks_call *call = KS_CONTAINER_OF(job, struct ks_call, job);
    struct iterator_work *work = call->work;
    work->status =
        ks_log_find_time(work->shard->log, work->unix_ms, true, &work->sequence, &work->error);
}

static void find_time_delivered(struct ks_mail *mail)
{
    struct ks_call *call = KS_CONTAINER_OF(mail, struct ks_call, job.mail);
    struct iterator_work *work = call->work;
    struct ks_stream *stream = work->stream;
    if (work->status)
        ks_call_fail(call, work->status, &work->error);
    else
        iterator_finish(call, stream, work->shard, work->sequence);
    ks_stream_unref(stream);
}

static void iterator_at_time(
    struct ks_call *call, struct ks_stream *stream, const struct ks_shard *shard, uint64_t unix_ms)
{
    struct ks_error error = KS_ERROR_INIT;
    uint64_t sequence = 0;
    enum ks_status st = ks_log_find_time(shard->log, unix_ms, false, &sequence, &error);
    if (st == KS_OK) {
        iterator_finish(call, stream, shard, sequence);
        return;
    }
    struct iterator_work *work = NULL;
    if (st == KS_WOULD_BLOCK) {
        work = ks_arena_zalloc(&call->arena, sizeof(*work));
        if (!work) {
            ks_call_fail_memory(call);
            return;
        }
        work->shard = shard;
        work->unix_ms = unix_ms;
        work->stream = ks_stream_ref(stream);
        call->work = work;
        call->job.run = find_time_run;
        call->job.home = &call->loop->mailbox;
        call->job.mail.deliver = find_time_delivered;
        st = ks_readers_submit(call->server->readers, &call->job, &error);
        if (st)
            ks_stream_unref(stream);
    }
    if (st)
        ks_call_fail(call, st, &error);
}

/* Where AT_ and AFTER_SEQUENCE_NUMBER begin. */
static enum ks_status sequence_start(struct ks_call *call, const struct ks_stream *stream,
    const struct ks_shard *shard, const char *text, bool is_after, uint64_t *out_sequence,
    struct ks_error *err)
{
    const char *account = call->server->config->aws_account_id;
    struct ks_sequence_number number;
    struct ks_log_bounds bounds;
    char used[KS_SHARD_ID_TEXT_BYTES];
    char encoded[KS_SHARD_ID_TEXT_BYTES];
    ks_shard_id_to_text(shard->index, used);
    if (ks_sequence_from_text(ks_view_of_text(text), &number))
        return ks_fail(err, KS_INVALID, 0,
            "StartingSequenceNumber %.60s used in GetShardIterator on shard %s in stream %.64s "
            "under account %s is invalid.",
            text, used, stream->name, account);
    if (number.shard_index != shard->index) {
        ks_shard_id_to_text(number.shard_index, encoded);
        return ks_fail(err, KS_INVALID, 0,
            "Invalid StartingSequenceNumber. It encodes %s, while it was used in a call to a shard "
            "with %s",
            encoded, used);
    }
    ks_log_bounds(shard->log, &bounds);
    bool is_end = number.ordinal == KS_SEQUENCE_ORDINAL_END;
    if (number.created_unix_s != shard->created_s ||
        (!is_end && number.ordinal > bounds.last_sequence))
        return ks_fail(err, KS_INVALID, 0,
            "StartingSequenceNumber %.60s used in GetShardIterator on shard %s in stream %.48s "
            "under account %s is "
            "invalid because it did not come from this stream.",
            text, used, stream->name, account);
    uint64_t sequence = is_end ? bounds.last_sequence + 1 : number.ordinal + (is_after ? 1 : 0);
    *out_sequence = ks_max_u64(sequence, 1);
    return KS_OK;
}

static bool iterator_arguments_fit(
    struct ks_call *call, const Kstream__GetShardIteratorRequest *request)
{
    const char *type = request->shard_iterator_type;
    bool is_time = strcmp(type, "AT_TIMESTAMP") == 0;
    bool needs_sequence = strstr(type, "SEQUENCE_NUMBER") != NULL;
    if (needs_sequence != (request->starting_sequence_number != NULL)) {
        ks_call_fail_text(call, KS_INVALID,
            "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and "
            "StartingSequenceNumber or (2) "
            "TRIM_HORIZON or LATEST and no StartingSequenceNumber. Request specified %s and %s "
            "StartingSequenceNumber.",
            type, needs_sequence ? "no" : "also a");
        return false;
    }
    if (is_time && !request->has_timestamp_unix_ms) {
        ks_call_fail_text(call, KS_INVALID,
            "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. Current "
            "request has no "
            "timestamp parameter.");
        return false;
    }
    /* A client's "now" is its wall clock, which the broker's clock may be behind. */
    uint64_t now = ks_max_u64(ks_server_unix_ms(call->server), ks_clock_unix_ms(&ks_clock_system));
    if (is_time && request->timestamp_unix_ms > now) {
        ks_call_fail_text(call, KS_INVALID,
            "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. "
            "timestampInMillis: "
            "%llu, currentTimestampInMillis: %llu",
            (unsigned long long)request->timestamp_unix_ms, (unsigned long long)now);
        return false;
    }
    return true;
}

void ks_op_get_shard_iterator(struct ks_call *call, const ProtobufCMessage *message)
{
    const Kstream__GetShardIteratorRequest *request = (const void *)message;
    const struct ks_stream_address address = KS_STREAM_ADDRESS(request);
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = NULL;
    const struct ks_shard *shard = NULL;
    struct ks_log_bounds bounds;
    struct ks_error error = KS_ERROR_INIT;
    uint64_t sequence = 0;
    if (!iterator_arguments_fit(call, request))
        return;
    enum ks_status st = ks_stream_resolve(call->server, &address, &stream, &error);
    if (!st)
        st = ks_stream_shard_by_text(call->server, stream, request->shard_id, &shard, &error);
    if (st) {
        ks_call_fail(call, st, &error);
        return;
    }
    const char *type = request->shard_iterator_type;
    ks_log_bounds(shard->log, &bounds);
    if (strcmp(type, "AT_TIMESTAMP") == 0) {
        iterator_at_time(call, stream, shard, request->timestamp_unix_ms);
        return;
    }
    if (strcmp(type, "TRIM_HORIZON") == 0)
        sequence = bounds.first_sequence;
    else if (strcmp(type, "LATEST") == 0)
        sequence = bounds.last_sequence + 1;
    else
        st = sequence_start(call, stream, shard, request->starting_sequence_number,
            strcmp(type, "AFTER_SEQUENCE_NUMBER") == 0, &sequence, &error);
    if (st)
        ks_call_fail(call, st, &error);
    else
        iterator_finish(call, stream, shard, sequence);
}

/* ---- GetRecords ---- */

struct get_work {
    struct ks_stream *stream; /* referenced until done */
    const struct ks_shard *shard;
    struct ks_read_request request;
    uint64_t wait_until_mono_ms; /* 0: does not wait */
    uint64_t parked_mono_ns;     /* when the last wait began */
    enum ks_status status;       /* of the job */
    struct ks_error error;
};

static void get_try(struct ks_call *call);

static void minutes_of_shard(struct ks_call *call, uint64_t behind_ms)
{
    const struct get_work *work = call->work;
    uint32_t metrics = work->stream->shard_metrics;
    struct ks_minute_half *half =
        ks_minutes_half(call->loop->minutes, work->stream->number, work->shard->index);
    if (!half)
        return;
    if (metrics & 1u << KS_SHARD_OUTGOING_BYTES)
        ks_minutes_add(half, KS_FIGURE_OUTGOING_BYTES, call->has_read ? call->read.bytes : 0);
    if (metrics & 1u << KS_SHARD_OUTGOING_RECORDS)
        ks_minutes_add(half, KS_FIGURE_OUTGOING_RECORDS, call->has_read ? call->read.take : 0);
    if (metrics & 1u << KS_SHARD_READ_THROTTLED)
        ks_minutes_add(half, KS_FIGURE_READ_EXCEEDED, 0);
    if (metrics & 1u << KS_SHARD_ITERATOR_AGE)
        ks_minutes_add(half, KS_FIGURE_ITERATOR_AGE, behind_ms);
}

/* behind_ms: of the answer. */
static void get_count_minutes(struct ks_call *call, bool is_success, uint64_t behind_ms)
{
    const struct get_work *work = call->work;
    uint64_t took_ns = ks_clock_mono_ns(&ks_clock_system) - call->begun_mono_ns;
    struct ks_minute_half *half =
        ks_minutes_half(call->loop->minutes, work->stream->number, KS_MINUTES_WHOLE_STREAM);
    if (!half)
        return;
    ks_minutes_add(half, KS_FIGURE_GET_SUCCESS, is_success);
    if (!is_success)
        return;
    uint64_t bytes = call->has_read ? call->read.bytes : 0;
    uint64_t records = call->has_read ? call->read.take : 0;
    ks_minutes_add(half, KS_FIGURE_GET_BYTES, bytes);
    ks_minutes_add(half, KS_FIGURE_GET_RECORDS, records);
    ks_minutes_add(half, KS_FIGURE_OUTGOING_BYTES, bytes);
    ks_minutes_add(half, KS_FIGURE_OUTGOING_RECORDS, records);
    ks_minutes_add(half, KS_FIGURE_GET_ITERATOR_AGE, behind_ms);
    ks_minutes_add(half, KS_FIGURE_ITERATOR_AGE, behind_ms);
    ks_minutes_add(half, KS_FIGURE_READ_EXCEEDED, 0);
    ks_minutes_add(half, KS_FIGURE_GET_LATENCY,
        took_ns > call->waited_ns ? (took_ns - call->waited_ns) / 1000 : 0);
    if (work->stream->shard_metrics)
        minutes_of_shard(call, behind_ms);
}

static void get_fail(struct ks_call *call, enum ks_status st, struct ks_error *error)
{
    struct get_work *work = call->work;
    struct ks_stream *stream = work->stream;
    if (st == KS_NOT_FOUND)
        st = ks_stream_not_found(call->server, ks_view_of_text(stream->name), error);
    get_count_minutes(call, false, 0);
    ks_call_fail(call, st, error);
    ks_stream_unref(stream);
}

static Kstream__ChildShard *child_message(struct ks_call *call, const struct ks_shard *shard)
{
    Kstream__ChildShard *child = ks_arena_alloc(&call->arena, sizeof(*child));
    char **parents = ks_arena_alloc(&call->arena, 2 * sizeof(parents[0]));
    if (!child || !parents)
        return NULL;
    kstream__child_shard__init(child);
    child->shard_id = ks_shard_id_in(&call->arena, shard->index);
    child->hash_key_range = ks_hash_key_range_in(&call->arena, shard);
    child->parent_shards = parents;
    parents[child->n_parent_shards++] = ks_shard_id_in(&call->arena, shard->parent_index);
    if (shard->has_adjacent_parent)
        parents[child->n_parent_shards++] =
            ks_shard_id_in(&call->arena, shard->adjacent_parent_index);
    return child->shard_id && child->hash_key_range && parents[0] &&
                   (!shard->has_adjacent_parent || parents[1])
               ? child
               : NULL;
}

/* A fresh snapshot is due: the children were made when the parent closed. */
static bool children_fill(
    struct ks_call *call, const struct get_work *work, Kstream__GetRecordsResponse *response)
{
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = NULL;
    if (ks_registry_find_number(call->server->engine, work->stream->number, &stream))
        return true; /* deleted meanwhile: no children then */
    uint32_t index = work->shard->index;
    response->child_shards = ks_arena_alloc(
        &call->arena, ((size_t)stream->shard_count + 1) * sizeof(Kstream__ChildShard *));
    if (!response->child_shards)
        return false;
    for (uint32_t i = 0; i < stream->shard_count; i++) {
        const struct ks_shard *shard = &stream->shards[i];
        if (!(shard->has_parent && shard->parent_index == index) &&
            !(shard->has_adjacent_parent && shard->adjacent_parent_index == index))
            continue;
        Kstream__ChildShard *child = child_message(call, shard);
        if (!child)
            return false;
        response->child_shards[response->n_child_shards++] = child;
    }
    return true;
}

static bool get_fill(
    struct ks_call *call, const struct get_work *work, Kstream__GetRecordsResponse *response)
{
    struct ks_log_bounds bounds;
    char text[KS_TOKEN_TEXT_BYTES_MAX];
    uint64_t next = call->has_read ? call->read.next_sequence : work->request.from_sequence;
    ks_log_bounds(work->shard->log, &bounds);
    uint64_t now = ks_server_unix_ms(call->server);
    uint64_t seen = call->has_read ? call->read.last_arrival_unix_ms : 0;
    response->has_millis_behind_latest = true;
    response->millis_behind_latest =
        bounds.last_sequence >= next && now > seen && seen > 0 ? now - seen : 0;
    response->shard_index = work->shard->index;
    response->created_unix_s = work->shard->created_s;
    response->skip_records = call->has_read ? call->read.skip : 0;
    response->take_records = call->has_read ? call->read.take : 0;
    if (bounds.is_closed && next > bounds.last_sequence)
        return children_fill(call, work, response);
    const struct ks_iterator iterator = {.issued_unix_ms = now,
        .stream_number = work->stream->number,
        .log_id = ks_log_id(work->shard->log),
        .shard_index = work->shard->index,
        .sequence = next};
    ks_iterator_to_text(&call->server->token_key, &iterator, text);
    response->next_shard_iterator = ks_arena_strdup(&call->arena, text);
    return response->next_shard_iterator != NULL;
}

static void get_finish(struct ks_call *call)
{
    struct get_work *work = call->work;
    struct ks_stream *stream = work->stream;
    Kstream__GetRecordsResponse *response = ks_arena_alloc(&call->arena, sizeof(*response));
    if (response)
        kstream__get_records_response__init(response);
    if (call->has_read && call->read.take > 0) {
        struct ks_stream_cell *cell = ks_meter_cell(call->loop->meter, stream->number);
        ks_meter_add(&cell->values[KS_STREAM_OUT_RECORDS], call->read.take);
        ks_meter_add(&cell->values[KS_STREAM_OUT_BYTES], call->read.bytes);
        const struct ks_limit_use use = {
            .stream = stream, .shard_index = work->shard->index, .bytes = call->read.bytes};
        if (ks_stream_has_get_limits(stream))
            ks_limits_add_read(call->server->limits, &use);
    }
    bool is_filled = response && get_fill(call, work, response);
    get_count_minutes(call, is_filled, is_filled ? response->millis_behind_latest : 0);
    if (is_filled)
        ks_call_finish(call, &response->base);
    else
        ks_call_fail_memory(call);
    ks_stream_unref(stream);
}

/* ---- waiting for records ---- */

static uint64_t get_now_ms(const struct ks_call *call)
{
    return ks_clock_mono_ns(call->server->clock) / 1000000;
}

static bool get_has_news(const struct get_work *work)
{
    struct ks_log_bounds bounds;
    ks_log_bounds(work->shard->log, &bounds);
    return bounds.last_sequence >= work->request.from_sequence || bounds.is_closed ||
           bounds.is_deleted;
}

static void get_count_wait(struct ks_call *call)
{
    const struct get_work *work = call->work;
    call->waited_ns += ks_clock_mono_ns(call->server->clock) - work->parked_mono_ns;
}

static void get_resume(struct ks_park *park, enum ks_park_end why)
{
    struct ks_call *call = KS_CONTAINER_OF(park, struct ks_call, park);
    struct get_work *work = call->work;
    get_count_wait(call);
    call->end_wait = NULL;
    if (why != KS_PARK_NEWS)
        work->wait_until_mono_ms = 0;
    get_try(call);
}

static void get_end_wait(struct ks_call *call)
{
    ks_park_cancel(&call->park);
    get_count_wait(call);
    get_finish(call);
}

static void get_park(struct ks_call *call, uint64_t wait_ms)
{
    struct get_work *work = call->work;
    call->park.resume = get_resume;
    work->parked_mono_ns = ks_clock_mono_ns(call->server->clock);
    if (ks_park_begin(&call->loop->parking, &call->park, work->shard->log, wait_ms)) {
        get_finish(call);
        return;
    }
    call->end_wait = get_end_wait;
    /* Parked first, looked at again second: what became durable in between is seen here, what
     * comes later wakes us. */
    if (!get_has_news(work))
        return;
    ks_park_cancel(&call->park);
    call->end_wait = NULL;
    get_try(call);
}

/* ---- reading ---- */

static void get_read_done(struct ks_call *call, enum ks_status st, struct ks_error *error)
{
    struct get_work *work = call->work;
    if (st) {
        get_fail(call, st, error);
        return;
    }
    call->has_read = true;
    struct ks_log_bounds bounds;
    ks_log_bounds(work->shard->log, &bounds);
    bool is_end = bounds.is_closed && call->read.next_sequence > bounds.last_sequence;
    uint64_t now_ms = work->wait_until_mono_ms > 0 ? get_now_ms(call) : 0;
    if (call->read.extent_count > 0 || is_end || work->wait_until_mono_ms <= now_ms ||
        call->loop->is_stopping) {
        get_finish(call);
        return;
    }
    /* What expired meanwhile must not pass for news. */
    work->request.from_sequence = call->read.next_sequence;
    ks_read_release(&call->read);
    call->has_read = false;
    /* While it waits it has no answer: others may use the room. */
    if (call->end_promise)
        call->end_promise(call);
    get_park(call, work->wait_until_mono_ms - now_ms);
}

static void get_job_run(struct ks_job *job)
{
    struct ks_call *call = KS_CONTAINER_OF(job, struct ks_call, job);
    struct get_work *work = call->work;
    struct ks_read_request request = work->request;
    request.may_block = true;
    request.bytes_max = ks_min_u64(request.bytes_max, COLD_READ_BYTES_MAX);
    work->status = ks_log_read(work->shard->log, &request, &call->read, &work->error);
}

static void get_job_delivered(struct ks_mail *mail)
{
    struct ks_call *call = KS_CONTAINER_OF(mail, struct ks_call, job.mail);
    struct get_work *work = call->work;
    get_read_done(call, work->status, &work->error);
}

static void get_abandon(struct ks_call *call)
{
    struct ks_error error = KS_ERROR_INIT;
    get_fail(call, ks_fail(&error, KS_UNAVAILABLE, 0, "the client is gone"), &error);
}

static void get_try(struct ks_call *call)
{
    struct get_work *work = call->work;
    struct ks_error error = KS_ERROR_INIT;
    struct ks_read_request request = work->request;
    if (call->is_output_short && call->is_output_short(call))
        request.bytes_max = ks_min_u64(request.bytes_max, SHORT_READ_BYTES_MAX);
    enum ks_status st = ks_log_read(work->shard->log, &request, &call->read, &error);
    if (st != KS_WOULD_BLOCK) {
        get_read_done(call, st, &error);
        return;
    }
    error = (struct ks_error)KS_ERROR_INIT;
    call->resume = get_try;
    call->abandon = get_abandon;
    if (call->promise && !call->promise(call, COLD_READ_BYTES_MAX)) {
        ks_meter_add(&call->loop->meter->reads_delayed, 1);
        return;
    }
    call->job.run = get_job_run;
    call->job.home = &call->loop->mailbox;
    call->job.mail.deliver = get_job_delivered;
    st = ks_readers_submit(call->server->readers, &call->job, &error);
    if (st)
        get_fail(call, st, &error);
}

/* The stream and shard that the token names; both must still be what they were. */
static enum ks_status get_resolve(struct ks_call *call, const Kstream__GetRecordsRequest *request,
    struct ks_iterator *iterator, struct get_work *work, struct ks_error *err)
{
    struct ks_server *server = call->server;
    enum ks_status st = ks_iterator_from_text(&server->token_key,
        ks_view_of_text(request->shard_iterator), ks_server_unix_ms(server), iterator, err);
    if (st)
        return st;
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = NULL;
    if (ks_registry_find_number(server->engine, iterator->stream_number, &stream))
        return ks_fail(
            err, KS_NOT_FOUND, 0, "The stream of this ShardIterator is not found: it was deleted.");
    if (request->stream_arn || request->stream_id) {
        const struct ks_stream_address address = {ks_view_of(NULL, 0),
            ks_view_of_optional(request->stream_arn), ks_view_of_optional(request->stream_id)};
        KS_CLEANUP(ks_stream_unrefp) struct ks_stream *named = NULL;
        st = ks_stream_resolve(server, &address, &named, err);
        if (st)
            return st;
        if (named->number != stream->number)
            return ks_fail(err, KS_INVALID, 0, "The ShardIterator belongs to another stream.");
    }
    work->shard = ks_stream_shard(stream, iterator->shard_index);
    if (!work->shard || ks_log_id(work->shard->log) != iterator->log_id)
        return ks_fail(err, KS_NOT_FOUND, 0, "The shard of this ShardIterator is not found.");
    work->stream = KS_TAKE(stream);
    call->stream_number = work->stream->number;
    return KS_OK;
}

static void get_count_refused(struct ks_call *call, const struct get_work *work)
{
    const struct ks_stream *stream = work->stream;
    struct ks_minute_half *half =
        ks_minutes_half(call->loop->minutes, stream->number, KS_MINUTES_WHOLE_STREAM);
    if (half) {
        ks_minutes_add(half, KS_FIGURE_GET_SUCCESS, 0);
        ks_minutes_add(half, KS_FIGURE_READ_EXCEEDED, 1);
    }
    if (!(stream->shard_metrics & 1u << KS_SHARD_READ_THROTTLED))
        return;
    half = ks_minutes_half(call->loop->minutes, stream->number, work->shard->index);
    if (half)
        ks_minutes_add(half, KS_FIGURE_READ_EXCEEDED, 1);
}

/* Whether the limits of the stream allow it now; else the call has failed. */
static bool get_is_admitted(struct ks_call *call, const struct get_work *work)
{
    struct ks_stream *stream = work->stream;
    const struct ks_limit_use use = {.stream = stream, .shard_index = work->shard->index};
    struct ks_limit_refusal refusal;
    if (!ks_stream_has_get_limits(stream) ||
        ks_limits_take_get(call->server->limits, &use, &refusal))
        return true;
    get_count_refused(call, work);
    ks_call_fail_refused(call, &use, &refusal);
    ks_stream_unref(stream); /* work is gone with the call */
    return false;
}

void ks_op_get_records(struct ks_call *call, const ProtobufCMessage *message)
{
    const Kstream__GetRecordsRequest *request = (const void *)message;
    struct ks_error error = KS_ERROR_INIT;
    struct ks_iterator iterator;
    struct get_work *work = ks_arena_zalloc(&call->arena, sizeof(*work));
    if (!work) {
        ks_call_fail_memory(call);
        return;
    }
    enum ks_status st = get_resolve(call, request, &iterator, work, &error);
    if (st) {
        ks_call_fail(call, st, &error);
        return;
    }
    if (!get_is_admitted(call, work))
        return;
    uint64_t bytes_max = request->has_max_bytes ? request->max_bytes : KS_GET_BYTES_MAX;
    work->request = (struct ks_read_request){.from_sequence = iterator.sequence,
        .bytes_max = ks_max_u64(1, ks_min_u64(bytes_max, KS_GET_BYTES_MAX)),
        .records_max = request->has_limit ? (uint32_t)request->limit : KS_GET_RECORDS_MAX,
        .may_block = false};
    call->work = work;
    if (request->has_wait_ms && request->wait_ms > 0)
        work->wait_until_mono_ms = get_now_ms(call) + KS_MIN(request->wait_ms, KS_GET_WAIT_MS_MAX);
    get_try(call);
}
