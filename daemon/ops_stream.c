/* CreateStream, DeleteStream and the questions about streams and shards. */
#include "daemon/ops.h"
#include "proto/hash_range.h"
#include "proto/sequence.h"

#include <stdio.h>
#include <string.h>

/* ---- CreateStream, DeleteStream ---- */

static void admin_delivered(struct ks_mail *mail)
{
    struct ks_call *call = KS_CONTAINER_OF(mail, struct ks_call, admin.mail);
    if (call->admin.stream)
        ks_stream_unref(call->admin.stream);
    if (call->admin.status)
        ks_call_fail(call, call->admin.status, &call->admin.error);
    else
        ks_call_finish(call, call->response);
}

static void create_refused(struct ks_call *call, enum ks_status st, const struct ks_error *error,
    const struct ks_stream_spec *spec)
{
    const struct ks_config *config = call->server->config;
    if (st == KS_EXISTS) {
        ks_call_fail_text(call, st, "Stream %s under account %s already exists.", spec->name,
            config->aws_account_id);
    } else if (st == KS_LIMIT && spec->tag_count > KS_TAGS_PER_STREAM_MAX) {
        ks_call_fail_tag_limit(call, spec->name);
    } else if (st == KS_LIMIT) {
        ks_call_fail_shard_limit(call, spec->shard_count);
    } else {
        ks_call_fail(call, st, error);
    }
}

void ks_op_create_stream(struct ks_call *call, const ProtobufCMessage *message)
{
    const Kstream__CreateStreamRequest *request = (const void *)message;
    struct ks_stream_spec spec = {.name = request->stream_name,
        .mode = KS_STREAM_PROVISIONED,
        .retention_hours = KS_RETENTION_HOURS_DEFAULT,
        .record_bytes_max = KS_RECORD_BYTES_DEFAULT};
    if (request->stream_mode_details &&
        strcmp(request->stream_mode_details->stream_mode, "ON_DEMAND") == 0)
        spec.mode = KS_STREAM_ON_DEMAND;
    if (request->has_max_record_size_in_kib)
        spec.record_bytes_max = (uint32_t)request->max_record_size_in_kib << 10;
    if (request->ack && strcmp(request->ack, ks_ack_text(KS_ACK_MEMORY)) == 0)
        spec.ack = KS_ACK_MEMORY;
    if (!ks_call_mode_fits(call, spec.mode) ||
        !ks_call_record_size_fits(call, spec.record_bytes_max) ||
        !ks_call_tags_fit(call, spec.name, request->tags, request->n_tags))
        return;
    if (request->has_warm_throughput_mibps) {
        spec.warm_mibps = (uint32_t)request->warm_throughput_mibps;
        if (!ks_call_warm_throughput_fits(call, spec.mode, spec.warm_mibps))
            return;
    }
    spec.tags = ks_tags_in(&call->arena, request->tags, request->n_tags);
    spec.tag_count = (uint32_t)request->n_tags;
    if (spec.mode == KS_STREAM_ON_DEMAND) {
        spec.shard_count = KS_MAX(KS_ON_DEMAND_SHARDS_DEFAULT, spec.warm_mibps);
    } else if (!request->has_shard_count && !request->stream_mode_details) {
        spec.shard_count = KS_SHARDS_DEFAULT;
    } else if (!request->has_shard_count) {
        ks_call_fail_text(call, KS_INVALID, "ShardCount is required in PROVISIONED mode.");
        return;
    } else {
        spec.shard_count = (uint32_t)request->shard_count;
    }
    if (spec.shard_count > KS_SHARDS_PER_STREAM_MAX) {
        ks_call_fail_text(call, KS_INVALID,
            "ShardCount %u is over the limit of %u shards per stream.", spec.shard_count,
            KS_SHARDS_PER_STREAM_MAX);
        return;
    }
    Kstream__CreateStreamResponse *response = ks_arena_alloc(&call->arena, sizeof(*response));
    if (!response || !spec.tags) {
        ks_call_fail_memory(call);
        return;
    }
    kstream__create_stream_response__init(response);
    call->response = &response->base;
    call->admin.mail.deliver = admin_delivered;
    call->admin.home = &call->loop->mailbox;
    struct ks_error error = KS_ERROR_INIT;
    enum ks_status st = ks_stream_create(call->server->engine, &spec, &call->admin, &error);
    if (st)
        create_refused(call, st, &error, &spec);
}

void ks_op_delete_stream(struct ks_call *call, const ProtobufCMessage *message)
{
    const Kstream__DeleteStreamRequest *request = (const void *)message;
    const struct ks_stream_address address = KS_STREAM_ADDRESS(request);
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = NULL;
    struct ks_error error = KS_ERROR_INIT;
    if (request->has_enforce_retention && request->enforce_retention) {
        ks_op_delete_stream_later(call, &address);
        return;
    }
    enum ks_status st = ks_stream_resolve(call->server, &address, &stream, &error);
    if (st) {
        ks_call_fail(call, st, &error);
        return;
    }
    Kstream__DeleteStreamResponse *response = ks_arena_alloc(&call->arena, sizeof(*response));
    if (!response) {
        ks_call_fail_memory(call);
        return;
    }
    kstream__delete_stream_response__init(response);
    call->response = &response->base;
    call->admin.mail.deliver = admin_delivered;
    call->admin.home = &call->loop->mailbox;
    st = ks_stream_delete(call->server->engine, stream->name, &call->admin, &error);
    if (st == KS_IN_USE)
        ks_call_fail_text(call, st, "Stream %s under account %s not ACTIVE, instead in state %s",
            stream->name, call->server->config->aws_account_id,
            ks_stream_status_text(stream->status));
    else if (st == KS_NOT_FOUND)
        ks_call_fail(
            call, ks_stream_not_found(call->server, ks_view_of_text(stream->name), &error), &error);
    else if (st)
        ks_call_fail(call, st, &error);
}

/* ---- DescribeStream, DescribeStreamSummary ---- */

static Kstream__StreamModeDetails *mode_message(
    struct ks_call *call, const struct ks_stream *stream)
{
    static char on_demand[] = "ON_DEMAND";
    static char provisioned[] = "PROVISIONED";
    Kstream__StreamModeDetails *details = ks_arena_alloc(&call->arena, sizeof(*details));
    if (!details)
        return NULL;
    kstream__stream_mode_details__init(details);
    details->stream_mode = stream->mode == KS_STREAM_ON_DEMAND ? on_demand : provisioned;
    return details;
}

/* One entry, without metrics while enhanced monitoring is off. */
static Kstream__EnhancedMetrics **monitoring_message(
    struct ks_call *call, const struct ks_stream *stream)
{
    Kstream__EnhancedMetrics **list = ks_arena_alloc(&call->arena, sizeof(*list));
    Kstream__EnhancedMetrics *metrics = ks_arena_alloc(&call->arena, sizeof(*metrics));
    if (!list || !metrics)
        return NULL;
    kstream__enhanced_metrics__init(metrics);
    list[0] = metrics;
    return ks_shard_metrics_list(call, stream->shard_metrics, &metrics->shard_level_metrics,
               &metrics->n_shard_level_metrics)
               ? list
               : NULL;
}

/* The first shard whose index is above after; shards are sorted by index. */
static uint32_t shards_from(const struct ks_stream *stream, bool has_after, uint32_t after)
{
    uint32_t i = 0;
    while (has_after && i < stream->shard_count && stream->shards[i].index <= after)
        i++;
    return i;
}

static bool shard_list_fill(struct ks_call *call, const struct ks_stream *stream, uint32_t from,
    uint32_t count, Kstream__Shard ***out_list)
{
    Kstream__Shard **list = ks_arena_alloc(&call->arena, count * sizeof(list[0]));
    if (!list)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        list[i] = ks_shard_message(call, &stream->shards[from + i]);
        if (!list[i])
            return false;
    }
    *out_list = list;
    return true;
}

static bool description_fill(struct ks_call *call, const struct ks_stream *stream,
    Kstream__StreamDescription *to, uint32_t from, uint32_t limit)
{
    kstream__stream_description__init(to);
    uint32_t left = stream->shard_count - from;
    uint32_t count = KS_MIN(left, limit);
    to->stream_name = ks_arena_strdup(&call->arena, stream->name);
    to->stream_arn = ks_stream_arn(call, stream);
    to->stream_status = ks_arena_strdup(&call->arena, ks_stream_status_text(stream->status));
    to->stream_mode_details = mode_message(call, stream);
    to->n_shards = count;
    to->has_more_shards = left > count;
    to->retention_period_hours = (int32_t)stream->retention_hours;
    to->stream_creation_timestamp_unix_ms = stream->created_unix_ms;
    to->has_purge_unix_ms = stream->purge_unix_ms > 0;
    to->purge_unix_ms = stream->purge_unix_ms;
    to->n_enhanced_monitoring = 1;
    to->enhanced_monitoring = monitoring_message(call, stream);
    to->ack = ks_arena_strdup(&call->arena, ks_ack_text(stream->ack));
    return to->stream_name && to->stream_arn && to->stream_status && to->stream_mode_details &&
           to->enhanced_monitoring && to->ack &&
           shard_list_fill(call, stream, from, count, &to->shards);
}

void ks_op_describe_stream(struct ks_call *call, const ProtobufCMessage *message)
{
    const Kstream__DescribeStreamRequest *request = (const void *)message;
    const struct ks_stream_address address = KS_STREAM_ADDRESS(request);
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = NULL;
    struct ks_error error = KS_ERROR_INIT;
    enum ks_status st = ks_stream_resolve(call->server, &address, &stream, &error);
    if (st) {
        ks_call_fail(call, st, &error);
        return;
    }
    uint32_t after = 0;
    const char *after_text = request->exclusive_start_shard_id;
    if (after_text && ks_shard_id_from_text(ks_view_of_text(after_text), &after)) {
        ks_call_fail_text(call, KS_NOT_FOUND,
            "Could not find shard %s in stream %s under account %s.", after_text, stream->name,
            call->server->config->aws_account_id);
        return;
    }
    uint32_t limit = KS_DESCRIBE_SHARDS_PAGE_MAX;
    if (request->has_limit)
        limit = KS_MIN((uint32_t)request->limit, limit);
    Kstream__DescribeStreamResponse *response = ks_arena_alloc(&call->arena, sizeof(*response));
    Kstream__StreamDescription *description = ks_arena_alloc(&call->arena, sizeof(*description));
    if (!response || !description ||
        !description_fill(
            call, stream, description, shards_from(stream, after_text != NULL, after), limit)) {
        ks_call_fail_memory(call);
        return;
    }
    kstream__describe_stream_response__init(response);
    response->stream_description = description;
    ks_call_finish(call, &response->base);
}

static bool summary_fill(
    struct ks_call *call, const struct ks_stream *stream, Kstream__StreamDescriptionSummary *to)
{
    kstream__stream_description_summary__init(to);
    to->stream_name = ks_arena_strdup(&call->arena, stream->name);
    to->stream_arn = ks_stream_arn(call, stream);
    to->stream_id = ks_arena_strdup(&call->arena, stream->id);
    to->stream_status = ks_arena_strdup(&call->arena, ks_stream_status_text(stream->status));
    to->stream_mode_details = mode_message(call, stream);
    to->retention_period_hours = (int32_t)stream->retention_hours;
    to->stream_creation_timestamp_unix_ms = stream->created_unix_ms;
    to->has_purge_unix_ms = stream->purge_unix_ms > 0;
    to->purge_unix_ms = stream->purge_unix_ms;
    to->n_enhanced_monitoring = 1;
    to->enhanced_monitoring = monitoring_message(call, stream);
    to->open_shard_count = (int32_t)stream->open_count;
    to->has_consumer_count = true;
    to->consumer_count = 0;
    to->has_max_record_size_in_kib = true;
    to->max_record_size_in_kib = (int32_t)(stream->record_bytes_max >> 10);
    to->ack = ks_arena_strdup(&call->arena, ks_ack_text(stream->ack));
    to->limits = ks_limits_message(call, &stream->limits);
    if (stream->warm_mibps > 0)
        to->warm_throughput =
            ks_warm_throughput_message(call, stream->warm_mibps, stream->open_count);
    return to->stream_name && to->stream_arn && to->stream_id && to->stream_status &&
           to->stream_mode_details && to->enhanced_monitoring && to->ack && to->limits &&
           (stream->warm_mibps == 0 || to->warm_throughput);
}

void ks_op_describe_stream_summary(struct ks_call *call, const ProtobufCMessage *message)
{
    const Kstream__DescribeStreamSummaryRequest *request = (const void *)message;
    const struct ks_stream_address address = KS_STREAM_ADDRESS(request);
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = NULL;
    struct ks_error error = KS_ERROR_INIT;
    enum ks_status st = ks_stream_resolve(call->server, &address, &stream, &error);
    if (st) {
        ks_call_fail(call, st, &error);
        return;
    }
    Kstream__DescribeStreamSummaryResponse *response =
        ks_arena_alloc(&call->arena, sizeof(*response));
    Kstream__StreamDescriptionSummary *summary = ks_arena_alloc(&call->arena, sizeof(*summary));
    if (!response || !summary || !summary_fill(call, stream, summary)) {
        ks_call_fail_memory(call);
        return;
    }
    kstream__describe_stream_summary_response__init(response);
    response->stream_description_summary = summary;
    ks_call_finish(call, &response->base);
}
