/* DescribeUsage: what streams hold, and what went through them. */
#include "daemon/ops.h"
#include "storage/usage.h"

#define STREAMS_DEFAULT 1000u

static Kstream__StreamTraffic *traffic_of(struct ks_call *call, const struct ks_stream *stream)
{
    struct ks_stream_sums sums = {.number = 0};
    Kstream__StreamTraffic *traffic = ks_arena_alloc(&call->arena, sizeof(*traffic));
    if (!traffic)
        return NULL;
    kstream__stream_traffic__init(traffic);
    if (!ks_meter_stream(call->server->meter, stream->number, &sums))
        return traffic; /* nothing has gone through it */
    traffic->incoming_records = sums.values[KS_STREAM_IN_RECORDS];
    traffic->incoming_bytes = sums.values[KS_STREAM_IN_BYTES];
    traffic->outgoing_records = sums.values[KS_STREAM_OUT_RECORDS];
    traffic->outgoing_bytes = sums.values[KS_STREAM_OUT_BYTES];
    for (unsigned r = 0; r < KS_REFUSAL_COUNT; r++)
        traffic->throttled_records += sums.values[KS_STREAM_REFUSED + r];
    return traffic;
}

/* Counted by itself, or certainly not counted at all. */
static bool has_traffic(struct ks_call *call, const struct ks_stream *stream)
{
    struct ks_stream_sums sums;
    return !ks_meter_is_full(call->server->meter) ||
           ks_meter_stream(call->server->meter, stream->number, &sums);
}

static Kstream__StreamUsage *usage_message(struct ks_call *call, const struct ks_stream *stream)
{
    struct ks_usage usage;
    Kstream__StreamUsage *message = ks_arena_alloc(&call->arena, sizeof(*message));
    if (!message)
        return NULL;
    ks_stream_usage(stream, &usage);
    kstream__stream_usage__init(message);
    message->stream_name = ks_arena_strdup(&call->arena, stream->name);
    message->stream_mode = ks_arena_strdup(
        &call->arena, stream->mode == KS_STREAM_ON_DEMAND ? "ON_DEMAND" : "PROVISIONED");
    message->open_shards = stream->open_count;
    message->retention_period_hours = (int32_t)stream->retention_hours;
    message->records = usage.records;
    message->stored_bytes = usage.stored_bytes;
    message->has_oldest_unix_ms = usage.oldest_unix_ms > 0;
    message->oldest_unix_ms = usage.oldest_unix_ms;
    bool is_counted = has_traffic(call, stream);
    if (is_counted)
        message->traffic = traffic_of(call, stream);
    bool is_whole = message->stream_name && message->stream_mode;
    return is_whole && (message->traffic || !is_counted) ? message : NULL;
}

static bool fill(
    struct ks_call *call, const struct ks_stream *stream, Kstream__DescribeUsageResponse *response)
{
    Kstream__StreamUsage *usage = usage_message(call, stream);
    if (usage)
        response->streams[response->n_streams++] = usage;
    return usage != NULL;
}

static bool fill_all(struct ks_call *call, const Kstream__DescribeUsageRequest *request,
    uint32_t limit, Kstream__DescribeUsageResponse *response)
{
    bool has_more = false;
    bool is_fine = true;
    struct ks_stream **streams = ks_arena_alloc(&call->arena, limit * sizeof(streams[0]));
    if (!streams)
        return false;
    uint32_t count = ks_registry_list(
        call->server->engine, request->exclusive_start_stream_name, limit, streams, &has_more);
    for (uint32_t i = 0; i < count; i++) {
        is_fine = is_fine && fill(call, streams[i], response);
        ks_stream_unref(streams[i]);
    }
    response->has_more_streams = has_more;
    return is_fine;
}

static const ProtobufCMessage *build_usage(
    struct ks_call *call, const ProtobufCMessage *message, struct ks_error *err)
{
    const Kstream__DescribeUsageRequest *request = (const void *)message;
    const struct ks_stream_address address = KS_STREAM_ADDRESS(request);
    uint32_t limit = request->has_limit ? (uint32_t)request->limit : STREAMS_DEFAULT;
    Kstream__DescribeUsageResponse *response = ks_arena_alloc(&call->arena, sizeof(*response));
    Kstream__StreamUsage **streams = ks_arena_alloc(&call->arena, limit * sizeof(streams[0]));
    if (!response || !streams)
        return NULL;
    kstream__describe_usage_response__init(response);
    response->streams = streams;
    response->since_unix_ms = call->server->started_unix_ms;
    response->now_unix_ms = ks_server_unix_ms(call->server);
    if (!address.name.data && !address.arn.data && !address.id.data)
        return fill_all(call, request, limit, response) ? &response->base : NULL;
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = NULL;
    if (ks_stream_resolve(call->server, &address, &stream, err))
        return NULL;
    return fill(call, stream, response) ? &response->base : NULL;
}

void ks_op_describe_usage(struct ks_call *call, const ProtobufCMessage *message)
{
    ks_call_build(call, message, build_usage);
}
