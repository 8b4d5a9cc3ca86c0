/* DescribeUsage: what streams hold, and what went through them. */
#include "daemon/ops.h"
#include "daemon/traffic.h"
#include "storage/usage.h"

#define STREAMS_DEFAULT 1000u

struct usage_work {
    struct ks_call *call;
    struct ks_traffic traffic;
    Kstream__DescribeUsageResponse *response;
};

static Kstream__StreamTraffic *traffic_of(struct usage_work *work, const struct ks_stream *stream)
{
    struct ks_traffic_sums sums = ks_traffic_of(&work->traffic, stream->number);
    Kstream__StreamTraffic *traffic = ks_arena_alloc(&work->call->arena, sizeof(*traffic));
    if (!traffic)
        return NULL;
    kstream__stream_traffic__init(traffic);
    traffic->incoming_records = sums.incoming_records;
    traffic->incoming_bytes = sums.incoming_bytes;
    traffic->outgoing_records = sums.outgoing_records;
    traffic->outgoing_bytes = sums.outgoing_bytes;
    traffic->throttled_records = sums.throttled_records;
    return traffic;
}

/* Counted by itself, or certainly not counted at all. */
static bool has_traffic(struct ks_call *call, const struct ks_stream *stream)
{
    struct ks_stream_sums sums;
    return !ks_meter_is_full(call->server->meter) ||
           ks_meter_stream(call->server->meter, stream->number, &sums);
}

static Kstream__StreamUsage *usage_message(struct usage_work *work, const struct ks_stream *stream)
{
    struct ks_usage usage;
    struct ks_arena *arena = &work->call->arena;
    Kstream__StreamUsage *message = ks_arena_alloc(arena, sizeof(*message));
    if (!message)
        return NULL;
    ks_stream_usage(stream, &usage);
    kstream__stream_usage__init(message);
    message->stream_name = ks_arena_strdup(arena, stream->name);
    message->stream_mode =
        ks_arena_strdup(arena, stream->mode == KS_STREAM_ON_DEMAND ? "ON_DEMAND" : "PROVISIONED");
    message->open_shards = stream->open_count;
    message->retention_period_hours = (int32_t)stream->retention_hours;
    message->records = usage.records;
    message->stored_bytes = usage.stored_bytes;
    message->has_oldest_unix_ms = usage.oldest_unix_ms > 0;
    message->oldest_unix_ms = usage.oldest_unix_ms;
    bool is_counted = has_traffic(work->call, stream);
    if (is_counted)
        message->traffic = traffic_of(work, stream);
    bool is_whole = message->stream_name && message->stream_mode;
    return is_whole && (message->traffic || !is_counted) ? message : NULL;
}

static bool fill(struct usage_work *work, const struct ks_stream *stream)
{
    Kstream__StreamUsage *usage = usage_message(work, stream);
    if (usage)
        work->response->streams[work->response->n_streams++] = usage;
    return usage != NULL;
}

static bool fill_all(
    struct usage_work *work, const Kstream__DescribeUsageRequest *request, uint32_t limit)
{
    bool has_more = false;
    bool is_fine = true;
    struct ks_call *call = work->call;
    struct ks_stream **streams = ks_arena_alloc(&call->arena, limit * sizeof(streams[0]));
    if (!streams)
        return false;
    uint32_t count = ks_registry_list(
        call->server->engine, request->exclusive_start_stream_name, limit, streams, &has_more);
    for (uint32_t i = 0; i < count; i++) {
        is_fine = is_fine && fill(work, streams[i]);
        ks_stream_unref(streams[i]);
    }
    work->response->has_more_streams = has_more;
    return is_fine;
}

static bool fill_named(
    struct usage_work *work, const struct ks_stream_address *address, struct ks_error *err)
{
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = NULL;
    return ks_stream_resolve(work->call->server, address, &stream, err) == KS_OK &&
           fill(work, stream);
}

static const ProtobufCMessage *build_usage(
    struct ks_call *call, const ProtobufCMessage *message, struct ks_error *err)
{
    const Kstream__DescribeUsageRequest *request = (const void *)message;
    const struct ks_stream_address address = KS_STREAM_ADDRESS(request);
    bool is_named = address.name.data || address.arn.data || address.id.data;
    uint32_t limit = request->has_limit ? (uint32_t)request->limit : STREAMS_DEFAULT;
    struct usage_work work = {.call = call};
    work.response = ks_arena_alloc(&call->arena, sizeof(*work.response));
    Kstream__StreamUsage **streams = ks_arena_alloc(&call->arena, limit * sizeof(streams[0]));
    if (!work.response || !streams)
        return NULL;
    kstream__describe_usage_response__init(work.response);
    work.response->streams = streams;
    enum ks_status st = ks_traffic_collect(call->server, &work.traffic, err);
    bool is_fine =
        !st && (is_named ? fill_named(&work, &address, err) : fill_all(&work, request, limit));
    work.response->since_unix_ms = work.traffic.since_unix_ms;
    work.response->now_unix_ms = work.traffic.now_unix_ms;
    ks_traffic_fini(&work.traffic);
    return is_fine ? &work.response->base : NULL;
}

void ks_op_describe_usage(struct ks_call *call, const ProtobufCMessage *message)
{
    ks_call_build(call, message, build_usage);
}
