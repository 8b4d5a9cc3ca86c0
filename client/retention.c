/* The calls about how long records stay, and about the compactor. */
#include "client/client.h"
#include "client/kstream_admin.h"
#include "proto/api.pb-c.h"

#include <stdio.h>
#include <string.h>

/* One exchange about a stream; what it answers is empty. */
static enum kstream_status stream_call(struct kstream_client *client, const char *stream,
    const struct kstream_call_options *options, struct client_exchange *exchange,
    struct kstream_error *err)
{
    struct ks_error inner = client_begin(client);
    struct ks_arena arena;
    enum ks_status st = KS_OK;
    if (!stream || stream[0] == '\0')
        st = ks_fail(&inner, KS_INVALID, 0, "the name of the stream is missing");
    ks_arena_init(&arena, CLIENT_ANSWER_BYTES_MAX);
    exchange->deadline_ns = client_call_deadline_ns(client, CLIENT_OPTION(options, timeout_ms, 0));
    ProtobufCMessage *message = NULL;
    if (!st)
        st = client_call(client, exchange, &arena, &message, &inner);
    ks_arena_fini(&arena);
    return client_result(st, &inner, client->last_request_id, err);
}

/* Into a caller's struct, of whatever version it is. */
static void info_give(void *to, size_t to_bytes, const void *from, size_t from_bytes)
{
    memcpy(to, from, KS_MIN(to_bytes, from_bytes));
    memcpy(to, &to_bytes, sizeof to_bytes); /* its size comes first */
}

/* ---- retention ---- */

enum kstream_status kstream_increase_retention(struct kstream_client *client, const char *stream,
    uint32_t hours, const struct kstream_call_options *options, struct kstream_error *err)
{
    Kstream__IncreaseStreamRetentionPeriodRequest request =
        KSTREAM__INCREASE_STREAM_RETENTION_PERIOD_REQUEST__INIT;
    if (stream)
        CLIENT_NAME_STREAM(&request, stream);
    request.has_retention_period_hours = true;
    request.retention_period_hours = (int32_t)KS_MIN(hours, (uint32_t)INT32_MAX);
    struct client_exchange exchange = {.op = KS_OP_INCREASE_STREAM_RETENTION_PERIOD,
        .request = &request.base,
        .is_repeatable = true};
    return stream_call(client, stream, options, &exchange, err);
}

enum kstream_status kstream_decrease_retention(struct kstream_client *client, const char *stream,
    uint32_t hours, const struct kstream_call_options *options, struct kstream_error *err)
{
    Kstream__DecreaseStreamRetentionPeriodRequest request =
        KSTREAM__DECREASE_STREAM_RETENTION_PERIOD_REQUEST__INIT;
    if (stream)
        CLIENT_NAME_STREAM(&request, stream);
    request.has_retention_period_hours = true;
    request.retention_period_hours = (int32_t)KS_MIN(hours, (uint32_t)INT32_MAX);
    struct client_exchange exchange = {.op = KS_OP_DECREASE_STREAM_RETENTION_PERIOD,
        .request = &request.base,
        .is_repeatable = true};
    return stream_call(client, stream, options, &exchange, err);
}

/* ---- deletion ---- */

enum kstream_status kstream_delete_stream_later(struct kstream_client *client, const char *stream,
    const struct kstream_call_options *options, struct kstream_error *err)
{
    Kstream__DeleteStreamRequest request = KSTREAM__DELETE_STREAM_REQUEST__INIT;
    if (stream)
        CLIENT_NAME_STREAM(&request, stream);
    request.has_enforce_retention = true;
    request.enforce_retention = true;
    struct client_exchange exchange = {.op = KS_OP_DELETE_STREAM, .request = &request.base};
    return stream_call(client, stream, options, &exchange, err);
}

enum kstream_status kstream_restore_stream(struct kstream_client *client, const char *stream,
    const struct kstream_call_options *options, struct kstream_error *err)
{
    Kstream__RestoreStreamRequest request = KSTREAM__RESTORE_STREAM_REQUEST__INIT;
    if (stream)
        CLIENT_NAME_STREAM(&request, stream);
    struct client_exchange exchange = {.op = KS_OP_RESTORE_STREAM, .request = &request.base};
    return stream_call(client, stream, options, &exchange, err);
}

/* ---- the compactor ---- */

static void compactor_fill(
    struct kstream_compactor_info *to, const Kstream__DescribeCompactorResponse *from)
{
    const Kstream__CompactorRun *run = from->last_run;
    *to = (struct kstream_compactor_info){.size = sizeof *to,
        .is_running = from->is_running,
        .is_retention_held = from->is_retention_held,
        .next_due_unix_ms = from->next_due_unix_ms,
        .run_started_unix_ms = run ? run->started_unix_ms : 0,
        .run_ended_unix_ms = run ? run->ended_unix_ms : 0,
        .run_segments = run ? run->segments : 0,
        .run_bytes = run ? run->bytes : 0,
        .run_records = run ? run->records : 0,
        .segments_retired = from->segments_retired,
        .bytes_retired = from->bytes_retired,
        .records_retired = from->records_retired,
        .segments_held = from->segments_held,
        .bytes_held = from->bytes_held,
        .segments_sealed = from->segments_sealed,
        .streams_purged = from->streams_purged,
        .shards_removed = from->shards_removed,
        .commits_refused = from->commits_refused,
        .files_ready = from->files_ready,
        .scrub_segments = from->scrub_segments,
        .scrub_bytes = from->scrub_bytes,
        .scrub_damaged_segments = from->scrub_damaged_segments,
        .scrub_damaged_batches = from->scrub_damaged_batches,
        .scrub_damaged_records = from->scrub_damaged_records,
        .scrub_passes = from->scrub_passes,
        .scrub_last_pass_unix_ms = from->scrub_last_pass_unix_ms,
        .scrub_next_pass_unix_ms = from->scrub_next_pass_unix_ms};
    snprintf(to->why_held, sizeof to->why_held, "%s", from->why_held ? from->why_held : "");
}

enum kstream_status kstream_describe_compactor(struct kstream_client *client,
    const struct kstream_call_options *options, struct kstream_compactor_info *info,
    struct kstream_error *err)
{
    Kstream__DescribeCompactorRequest request = KSTREAM__DESCRIBE_COMPACTOR_REQUEST__INIT;
    struct client_exchange exchange = {.op = KS_OP_DESCRIBE_COMPACTOR,
        .request = &request.base,
        .deadline_ns = client_call_deadline_ns(client, CLIENT_OPTION(options, timeout_ms, 0)),
        .is_repeatable = true};
    struct ks_error inner = client_begin(client);
    struct ks_arena arena;
    ks_arena_init(&arena, CLIENT_ANSWER_BYTES_MAX);
    ProtobufCMessage *message = NULL;
    enum ks_status st = client_check_place(info, &inner);
    if (st == KS_OK)
        st = client_call(client, &exchange, &arena, &message, &inner);
    if (st == KS_OK) {
        struct kstream_compactor_info filled;
        compactor_fill(&filled, (const void *)message);
        info_give(info, info->size, &filled, sizeof filled);
    }
    ks_arena_fini(&arena);
    return client_result(st, &inner, client->last_request_id, err);
}

enum kstream_status kstream_compact(struct kstream_client *client,
    const struct kstream_compact_options *options, struct kstream_compact_info *info,
    struct kstream_error *err)
{
    Kstream__CompactRequest request = KSTREAM__COMPACT_REQUEST__INIT;
    const char *stream = CLIENT_OPTION(options, stream, NULL);
    uint32_t hours = CLIENT_OPTION(options, retention_hours, 0);
    if (stream)
        CLIENT_NAME_STREAM(&request, stream);
    request.has_dry_run = true;
    request.dry_run = CLIENT_OPTION(options, dry_run, 0) != 0;
    request.has_purge = CLIENT_OPTION(options, purge, 0) != 0;
    request.purge = request.has_purge;
    request.has_retention_period_hours = hours > 0;
    request.retention_period_hours = (int32_t)KS_MIN(hours, (uint32_t)INT32_MAX);
    struct client_exchange exchange = {.op = KS_OP_COMPACT,
        .request = &request.base,
        .deadline_ns = client_call_deadline_ns(client, CLIENT_OPTION(options, timeout_ms, 0)),
        .is_repeatable = true};
    struct ks_error inner = client_begin(client);
    struct ks_arena arena;
    ks_arena_init(&arena, CLIENT_ANSWER_BYTES_MAX);
    ProtobufCMessage *message = NULL;
    enum ks_status st = client_call(client, &exchange, &arena, &message, &inner);
    if (st == KS_OK && info) {
        const Kstream__CompactResponse *answer = (const void *)message;
        const struct kstream_compact_info filled = {.size = sizeof filled,
            .segments = answer->segments,
            .bytes = answer->bytes,
            .records = answer->records,
            .oldest_unix_ms = answer->oldest_unix_ms,
            .newest_unix_ms = answer->newest_unix_ms,
            .records_hidden = answer->records_hidden,
            .readers_hit = answer->readers_hit};
        info_give(info, info->size, &filled, sizeof filled);
    }
    ks_arena_fini(&arena);
    return client_result(st, &inner, client->last_request_id, err);
}
