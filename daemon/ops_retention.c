/*
 * How long records stay: IncreaseStreamRetentionPeriod and its mirror image, deleting a stream with
 * a time to change one's mind, RestoreStream, and the compactor: DescribeCompactor, Compact.
 */
#include "daemon/ops.h"
#include "storage/retention.h"

#include <string.h>

/* ---- changes of one stream ---- */

/* What the operation does once the stream is known; KS_OK: call->admin comes by mail. */
typedef enum ks_status (*change_fn)(
    struct ks_call *call, const struct ks_stream *stream, struct ks_error *err);

struct change_work {
    uint64_t stream_number;
    uint32_t hours;
    enum ks_retention_direction direction;
    /* By mail or at once: the status with the words of Kinesis. */
    void (*refuse)(struct ks_call *call, enum ks_status st, const struct ks_stream *stream);
};

/* KS_IN_USE, KS_NOT_FOUND and KS_INVALID in the operation's own words, from the stream as it is
 * now. */
static void change_refused(struct ks_call *call, enum ks_status st, const struct ks_error *error)
{
    const struct change_work *work = call->work;
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = NULL;
    struct ks_error own = *error;
    if (st != KS_IN_USE && st != KS_NOT_FOUND && st != KS_INVALID) {
        ks_call_fail(call, st, &own);
        return;
    }
    if (ks_registry_find_number(call->server->engine, work->stream_number, &stream))
        ks_call_fail_text(call, KS_NOT_FOUND, "The stream under account %s not found.",
            call->server->config->aws_account_id);
    else
        work->refuse(call, st, stream);
}

static void change_delivered(struct ks_mail *mail)
{
    struct ks_call *call = KS_CONTAINER_OF(mail, struct ks_call, admin.mail);
    if (call->admin.status)
        change_refused(call, call->admin.status, &call->admin.error);
    else
        ks_call_finish(call, call->response);
}

static void change_start(struct ks_call *call, const struct ks_stream_address *address,
    const struct change_work *wanted, const ProtobufCMessage *response, change_fn start)
{
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = NULL;
    struct ks_error error = KS_ERROR_INIT;
    enum ks_status st = ks_stream_resolve(call->server, address, &stream, &error);
    if (st) {
        ks_call_fail(call, st, &error);
        return;
    }
    struct change_work *work = ks_arena_alloc(&call->arena, sizeof(*work));
    if (!work || !response) {
        ks_call_fail_memory(call);
        return;
    }
    *work = *wanted;
    work->stream_number = stream->number;
    call->work = work;
    call->response = response;
    call->admin.mail.deliver = change_delivered;
    call->admin.home = &call->loop->mailbox;
    st = start(call, stream, &error);
    if (st)
        change_refused(call, st, &error);
}

static void refuse_status(struct ks_call *call, const struct ks_stream *stream, const char *wanted)
{
    ks_call_fail_text(call, KS_IN_USE, "Stream %s under account %s not %s, instead in state %s",
        stream->name, call->server->config->aws_account_id, wanted,
        ks_stream_status_text(stream->status));
}

/* ---- the retention ---- */

static void refuse_retention(
    struct ks_call *call, enum ks_status st, const struct ks_stream *stream)
{
    const struct change_work *work = call->work;
    bool is_increase = work->direction == KS_RETENTION_INCREASE;
    if (st != KS_INVALID) {
        refuse_status(call, stream, "ACTIVE");
        return;
    }
    ks_call_fail_text(call, st,
        "Requested retention period (%u hours) for stream %s can not be %s than existing retention "
        "period (%u hours). Use %sRetentionPeriod API.",
        work->hours, stream->name, is_increase ? "shorter" : "longer", stream->retention_hours,
        is_increase ? "Decrease" : "Increase");
}

/* True when the hours are possible at all; else the call has failed. */
static bool hours_fit(struct ks_call *call, int32_t hours)
{
    uint64_t most = call->server->live.limits_max_retention_hours;
    if (hours < (int32_t)KS_RETENTION_HOURS_MIN)
        ks_call_fail_text(call, KS_INVALID,
            "Minimum allowed retention period is %u hours. Requested retention period (%d hours) "
            "is "
            "too short.",
            KS_RETENTION_HOURS_MIN, hours);
    else if ((uint64_t)hours > most)
        ks_call_fail_text(call, KS_INVALID,
            "Maximum allowed retention period is %llu hours. Requested retention period (%d hours) "
            "is too long.",
            (unsigned long long)most, hours);
    else
        return true;
    return false;
}

static enum ks_status start_retention(
    struct ks_call *call, const struct ks_stream *stream, struct ks_error *err)
{
    const struct change_work *work = call->work;
    const struct ks_retention_spec spec = {.hours = work->hours, .direction = work->direction};
    return ks_stream_set_retention(call->server->engine, stream->number, &spec, &call->admin, err);
}

static void change_retention(struct ks_call *call, const struct ks_stream_address *address,
    int32_t hours, enum ks_retention_direction direction, const ProtobufCMessage *response)
{
    if (!hours_fit(call, hours))
        return;
    const struct change_work work = {
        .hours = (uint32_t)hours, .direction = direction, .refuse = refuse_retention};
    change_start(call, address, &work, response, start_retention);
}

void ks_op_increase_stream_retention_period(struct ks_call *call, const ProtobufCMessage *message)
{
    const Kstream__IncreaseStreamRetentionPeriodRequest *request = (const void *)message;
    const struct ks_stream_address address = KS_STREAM_ADDRESS(request);
    Kstream__IncreaseStreamRetentionPeriodResponse *response =
        ks_arena_alloc(&call->arena, sizeof(*response));
    if (response)
        kstream__increase_stream_retention_period_response__init(response);
    change_retention(call, &address, request->retention_period_hours, KS_RETENTION_INCREASE,
        response ? &response->base : NULL);
}

void ks_op_decrease_stream_retention_period(struct ks_call *call, const ProtobufCMessage *message)
{
    const Kstream__DecreaseStreamRetentionPeriodRequest *request = (const void *)message;
    const struct ks_stream_address address = KS_STREAM_ADDRESS(request);
    Kstream__DecreaseStreamRetentionPeriodResponse *response =
        ks_arena_alloc(&call->arena, sizeof(*response));
    if (response)
        kstream__decrease_stream_retention_period_response__init(response);
    change_retention(call, &address, request->retention_period_hours, KS_RETENTION_DECREASE,
        response ? &response->base : NULL);
}

/* ---- deleting later, restoring ---- */

static void refuse_delete(struct ks_call *call, enum ks_status st, const struct ks_stream *stream)
{
    (void)st;
    refuse_status(call, stream, "ACTIVE");
}

static enum ks_status start_delete_later(
    struct ks_call *call, const struct ks_stream *stream, struct ks_error *err)
{
    return ks_stream_delete_later(
        call->server->engine, stream->number, KS_DELETED_KEPT_MS, &call->admin, err);
}

void ks_op_delete_stream_later(struct ks_call *call, const struct ks_stream_address *address)
{
    const struct change_work work = {.refuse = refuse_delete};
    Kstream__DeleteStreamResponse *response = ks_arena_alloc(&call->arena, sizeof(*response));
    if (response)
        kstream__delete_stream_response__init(response);
    change_start(call, address, &work, response ? &response->base : NULL, start_delete_later);
}

static void refuse_restore(struct ks_call *call, enum ks_status st, const struct ks_stream *stream)
{
    (void)st;
    if (stream->status == KS_STREAM_DELETING)
        ks_call_fail_text(call, KS_IN_USE,
            "Stream %s under account %s is being purged: it cannot be restored", stream->name,
            call->server->config->aws_account_id);
    else
        refuse_status(call, stream, "DELETING");
}

static enum ks_status start_restore(
    struct ks_call *call, const struct ks_stream *stream, struct ks_error *err)
{
    return ks_stream_restore(call->server->engine, stream->number, &call->admin, err);
}

void ks_op_restore_stream(struct ks_call *call, const ProtobufCMessage *message)
{
    const Kstream__RestoreStreamRequest *request = (const void *)message;
    const struct ks_stream_address address = KS_STREAM_ADDRESS(request);
    const struct change_work work = {.refuse = refuse_restore};
    Kstream__RestoreStreamResponse *response = ks_arena_alloc(&call->arena, sizeof(*response));
    if (response)
        kstream__restore_stream_response__init(response);
    change_start(call, &address, &work, response ? &response->base : NULL, start_restore);
}

/* ---- the compactor ---- */

static Kstream__CompactorRun *run_message(
    struct ks_arena *arena, const struct ks_compactor_run *run)
{
    Kstream__CompactorRun *message = ks_arena_alloc(arena, sizeof(*message));
    if (!message)
        return NULL;
    kstream__compactor_run__init(message);
    message->started_unix_ms = run->started_unix_ms;
    message->has_ended_unix_ms = run->ended_unix_ms > 0;
    message->ended_unix_ms = run->ended_unix_ms;
    message->segments = run->segments;
    message->bytes = run->bytes;
    message->records = run->records;
    return message;
}

static void describe_fill(
    Kstream__DescribeCompactorResponse *to, const struct ks_compactor_status *from)
{
    to->is_running = from->is_running;
    to->has_next_due_unix_ms = from->next_due_unix_ms > 0;
    to->next_due_unix_ms = from->next_due_unix_ms;
    to->segments_retired = from->segments_retired;
    to->bytes_retired = from->bytes_retired;
    to->records_retired = from->records_retired;
    to->segments_held = from->segments_held;
    to->bytes_held = from->bytes_held;
    to->segments_sealed = from->segments_sealed;
    to->streams_purged = from->streams_purged;
    to->shards_removed = from->shards_removed;
    to->commits_refused = from->commits_refused;
    to->files_ready = from->files_ready;
    to->scrub_segments = from->scrub_segments;
    to->scrub_bytes = from->scrub_bytes;
    to->scrub_damaged_segments = from->scrub_damaged_segments;
    to->scrub_damaged_batches = from->scrub_damaged_batches;
    to->scrub_damaged_records = from->scrub_damaged_records;
    to->scrub_passes = from->scrub_passes;
    to->has_scrub_last_pass_unix_ms = from->scrub_last_pass_unix_ms > 0;
    to->scrub_last_pass_unix_ms = from->scrub_last_pass_unix_ms;
    to->has_scrub_next_pass_unix_ms = from->scrub_next_pass_unix_ms > 0;
    to->scrub_next_pass_unix_ms = from->scrub_next_pass_unix_ms;
}

void ks_op_describe_compactor(struct ks_call *call, const ProtobufCMessage *message)
{
    (void)message;
    struct ks_compactor_status status;
    struct ks_broker_clock_status clock;
    Kstream__DescribeCompactorResponse *response = ks_arena_alloc(&call->arena, sizeof(*response));
    if (!response) {
        ks_call_fail_memory(call);
        return;
    }
    kstream__describe_compactor_response__init(response);
    ks_compactor_describe(call->server->engine, &status);
    ks_broker_clock_status(&call->server->timekeeper->clock, &clock);
    describe_fill(response, &status);
    response->is_retention_held = clock.hold != KS_CLOCK_TRUSTED;
    if (response->is_retention_held)
        response->why_held = (char *)(uintptr_t)ks_clock_hold_text(clock.hold);
    if (status.last.started_unix_ms > 0)
        response->last_run = run_message(&call->arena, &status.last);
    if (status.last.started_unix_ms > 0 && !response->last_run)
        ks_call_fail_memory(call);
    else
        ks_call_finish(call, &response->base);
}

struct compact_work {
    struct ks_compact_scope scope;
    struct ks_compact_survey survey;
    bool is_dry_run;
    Kstream__CompactResponse response;
};

static void compact_finish(struct ks_call *call)
{
    struct compact_work *work = call->work;
    const struct ks_compact_survey *survey = &work->survey;
    Kstream__CompactResponse *response = &work->response;
    kstream__compact_response__init(response);
    response->segments = survey->segments;
    response->bytes = survey->bytes;
    response->records = survey->records;
    response->has_oldest_unix_ms = survey->oldest_unix_ms > 0;
    response->oldest_unix_ms = survey->oldest_unix_ms;
    response->has_newest_unix_ms = survey->newest_unix_ms > 0;
    response->newest_unix_ms = survey->newest_unix_ms;
    response->records_hidden = survey->records_hidden;
    response->readers_hit = survey->readers_hit;
    ks_call_finish(call, &response->base);
}

static void compact_delivered(struct ks_mail *mail)
{
    struct ks_call *call = KS_CONTAINER_OF(mail, struct ks_call, admin.mail);
    if (call->admin.status)
        ks_call_fail(call, call->admin.status, &call->admin.error);
    else
        compact_finish(call);
}

static void survey_run(struct ks_job *job)
{
    struct ks_call *call = KS_CONTAINER_OF(job, struct ks_call, job);
    struct compact_work *work = call->work;
    ks_compact_survey(call->server->engine, &work->scope, &work->survey);
}

static void survey_delivered(struct ks_mail *mail)
{
    struct ks_call *call = KS_CONTAINER_OF(mail, struct ks_call, job.mail);
    const struct compact_work *work = call->work;
    struct ks_error error = KS_ERROR_INIT;
    if (work->is_dry_run) {
        compact_finish(call);
        return;
    }
    call->admin.mail.deliver = compact_delivered;
    call->admin.home = &call->loop->mailbox;
    enum ks_status st = ks_compact_now(call->server->engine, &call->admin, &error);
    if (st)
        ks_call_fail(call, st, &error);
}

/* What the request asks for, or why it cannot. */
static enum ks_status compact_scope(struct ks_call *call, const Kstream__CompactRequest *request,
    struct compact_work *work, struct ks_error *err)
{
    const struct ks_stream_address address = KS_STREAM_ADDRESS(request);
    bool is_named = address.name.data || address.arn.data || address.id.data;
    work->is_dry_run = request->has_dry_run && request->dry_run;
    work->scope.is_everything = request->has_purge && request->purge;
    if (request->has_retention_period_hours) {
        if (request->retention_period_hours < (int32_t)KS_RETENTION_HOURS_MIN ||
            request->retention_period_hours > (int32_t)KS_RETENTION_HOURS_CAP)
            return ks_fail(err, KS_INVALID, 0, "RetentionPeriodHours must be %u to %u",
                KS_RETENTION_HOURS_MIN, KS_RETENTION_HOURS_CAP);
        work->scope.retention_hours = (uint32_t)request->retention_period_hours;
    }
    bool is_change = work->scope.is_everything || work->scope.retention_hours > 0;
    if ((is_named || is_change) && !work->is_dry_run)
        return ks_fail(err, KS_INVALID, 0,
            "A stream, a retention period or a purge can be named for a dry run only: the "
            "compactor "
            "works on all streams.");
    if (is_change && !is_named)
        return ks_fail(err, KS_INVALID, 0, "What a change would cost is said for one stream.");
    if (!is_named)
        return KS_OK;
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = NULL;
    enum ks_status st = ks_stream_resolve(call->server, &address, &stream, err);
    if (!st)
        work->scope.stream_number = stream->number;
    return st;
}

void ks_op_compact(struct ks_call *call, const ProtobufCMessage *message)
{
    struct ks_error error = KS_ERROR_INIT;
    struct compact_work *work = ks_arena_zalloc(&call->arena, sizeof(*work));
    if (!work) {
        ks_call_fail_memory(call);
        return;
    }
    enum ks_status st = compact_scope(call, (const void *)message, work, &error);
    call->work = work;
    call->job.run = survey_run;
    call->job.home = &call->loop->mailbox;
    call->job.mail.deliver = survey_delivered;
    if (!st)
        st = ks_readers_submit(call->server->readers, &call->job, &error);
    if (st)
        ks_call_fail(call, st, &error);
}
