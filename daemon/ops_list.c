/* ListStreams and ListShards, with tokens for the next page. */
#include "daemon/ops.h"
#include "proto/sequence.h"

#include <string.h>

/* ---- ListStreams ---- */

/* The token: 8 bytes of issue time, then the last name given. */
static bool list_streams_after(struct ks_call *call, const Kstream__ListStreamsRequest *request,
    char after[KS_STREAM_NAME_BYTES_MAX + 1])
{
    uint8_t payload[KS_TOKEN_PAYLOAD_BYTES_MAX];
    size_t bytes = 0;
    after[0] = '\0';
    if (request->exclusive_start_stream_name)
        strcpy(after, request->exclusive_start_stream_name); /* its length has been validated */
    if (!request->next_token)
        return true;
    if (ks_token_open(&call->server->token_key, KS_TOKEN_LIST_STREAMS,
            ks_view_of_text(request->next_token), payload, &bytes) ||
        bytes < 9 || bytes > 8 + KS_STREAM_NAME_BYTES_MAX) {
        ks_call_fail_text(call, KS_INVALID, "Invalid NextToken.");
        return false;
    }
    if (ks_server_unix_ms(call->server) > ks_load_u64be(payload) + KS_ITERATOR_TTL_MS) {
        ks_call_fail_text(call, KS_EXPIRED_TOKEN,
            "NextToken has expired: it is valid for %u seconds.", KS_ITERATOR_TTL_MS / 1000);
        return false;
    }
    memcpy(after, payload + 8, bytes - 8);
    after[bytes - 8] = '\0';
    return true;
}

static Kstream__StreamSummary *stream_summary(struct ks_call *call, const struct ks_stream *stream)
{
    Kstream__StreamSummary *summary = ks_arena_alloc(&call->arena, sizeof(*summary));
    Kstream__StreamModeDetails *mode = ks_arena_alloc(&call->arena, sizeof(*mode));
    if (!summary || !mode)
        return NULL;
    kstream__stream_summary__init(summary);
    kstream__stream_mode_details__init(mode);
    mode->stream_mode = ks_arena_strdup(
        &call->arena, stream->mode == KS_STREAM_ON_DEMAND ? "ON_DEMAND" : "PROVISIONED");
    summary->stream_name = ks_arena_strdup(&call->arena, stream->name);
    summary->stream_arn = ks_stream_arn(call, stream);
    summary->stream_status = ks_arena_strdup(&call->arena, ks_stream_status_text(stream->status));
    summary->stream_mode_details = mode;
    summary->stream_creation_timestamp_unix_ms = stream->created_unix_ms;
    return mode->stream_mode && summary->stream_name && summary->stream_arn &&
                   summary->stream_status
               ? summary
               : NULL;
}

static bool list_streams_fill(struct ks_call *call, Kstream__ListStreamsResponse *response,
    struct ks_stream **streams, uint32_t count)
{
    size_t room = (size_t)count + 1;
    response->stream_names = ks_arena_alloc(&call->arena, room * sizeof(char *));
    response->stream_summaries =
        ks_arena_alloc(&call->arena, room * sizeof(Kstream__StreamSummary *));
    if (!response->stream_names || !response->stream_summaries)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        response->stream_summaries[i] = stream_summary(call, streams[i]);
        if (!response->stream_summaries[i])
            return false;
        response->stream_names[i] = response->stream_summaries[i]->stream_name;
    }
    response->n_stream_names = count;
    response->n_stream_summaries = count;
    if (!response->has_more_streams || count == 0)
        return true;
    uint8_t payload[8 + KS_STREAM_NAME_BYTES_MAX];
    char text[KS_TOKEN_TEXT_BYTES_MAX];
    size_t name_bytes = strlen(streams[count - 1]->name);
    ks_store_u64be(payload, ks_server_unix_ms(call->server));
    memcpy(payload + 8, streams[count - 1]->name, name_bytes);
    ks_token_seal(
        &call->server->token_key, KS_TOKEN_LIST_STREAMS, ks_view_of(payload, 8 + name_bytes), text);
    response->next_token = ks_arena_strdup(&call->arena, text);
    return response->next_token != NULL;
}

void ks_op_list_streams(struct ks_call *call, const ProtobufCMessage *message)
{
    const Kstream__ListStreamsRequest *request = (const void *)message;
    struct ks_stream *streams[KS_LIST_STREAMS_PAGE_MAX];
    char after[KS_STREAM_NAME_BYTES_MAX + 1];
    if (!list_streams_after(call, request, after))
        return;
    uint32_t limit = KS_LIST_STREAMS_PAGE_MAX;
    if (request->has_limit)
        limit = KS_MIN((uint32_t)request->limit, limit);
    Kstream__ListStreamsResponse *response = ks_arena_alloc(&call->arena, sizeof(*response));
    if (!response) {
        ks_call_fail_memory(call);
        return;
    }
    kstream__list_streams_response__init(response);
    bool has_more = false;
    uint32_t count = ks_registry_list(call->server->engine, after, limit, streams, &has_more);
    response->has_more_streams = has_more;
    bool is_filled = list_streams_fill(call, response, streams, count);
    for (uint32_t i = 0; i < count; i++)
        ks_stream_unref(streams[i]);
    if (is_filled)
        ks_call_finish(call, &response->base);
    else
        ks_call_fail_memory(call);
}

/* ---- ListShards ---- */

enum shard_filter_type {
    FILTER_FROM_TRIM_HORIZON, /* the default: all that is retained */
    FILTER_AFTER_SHARD_ID,
    FILTER_AT_TRIM_HORIZON,
    FILTER_AT_LATEST,
    FILTER_AT_TIMESTAMP,
    FILTER_FROM_TIMESTAMP,
    FILTER_COUNT,
};
static const char *const filter_names[FILTER_COUNT] = {
    [FILTER_FROM_TRIM_HORIZON] = "FROM_TRIM_HORIZON",
    [FILTER_AFTER_SHARD_ID] = "AFTER_SHARD_ID",
    [FILTER_AT_TRIM_HORIZON] = "AT_TRIM_HORIZON",
    [FILTER_AT_LATEST] = "AT_LATEST",
    [FILTER_AT_TIMESTAMP] = "AT_TIMESTAMP",
    [FILTER_FROM_TIMESTAMP] = "FROM_TIMESTAMP",
};

/* Which shards, and where a page begins: also what the token carries. */
struct shard_query {
    uint64_t stream_number;
    bool has_after;
    uint32_t after;
    enum shard_filter_type filter;
    uint64_t unix_ms; /* the time in question: the trim horizon at the first page, or later */
};
#define QUERY_PAYLOAD_BYTES (8 + 8 + 1 + 4 + 1 + 8)

static void query_to_token(
    const struct ks_server *server, const struct shard_query *query, char *text)
{
    uint8_t payload[QUERY_PAYLOAD_BYTES];
    ks_store_u64be(payload, ks_server_unix_ms(server));
    ks_store_u64be(payload + 8, query->stream_number);
    payload[16] = query->has_after;
    ks_store_u32be(payload + 17, query->after);
    payload[21] = (uint8_t)query->filter;
    ks_store_u64be(payload + 22, query->unix_ms);
    ks_token_seal(
        &server->token_key, KS_TOKEN_LIST_SHARDS, ks_view_of(payload, sizeof(payload)), text);
}

static enum ks_status query_from_token(const struct ks_server *server, const char *token,
    struct shard_query *query, struct ks_error *err)
{
    uint8_t payload[KS_TOKEN_PAYLOAD_BYTES_MAX];
    size_t bytes = 0;
    if (ks_token_open(
            &server->token_key, KS_TOKEN_LIST_SHARDS, ks_view_of_text(token), payload, &bytes) ||
        bytes != QUERY_PAYLOAD_BYTES || payload[21] >= FILTER_COUNT)
        return ks_fail(err, KS_INVALID, 0, "Invalid NextToken.");
    if (ks_server_unix_ms(server) > ks_load_u64be(payload) + KS_ITERATOR_TTL_MS)
        return ks_fail(err, KS_EXPIRED_TOKEN, 0,
            "NextToken has expired: it is valid for %u seconds.", KS_ITERATOR_TTL_MS / 1000);
    struct ks_cursor c = ks_cursor_over(payload + 17, 4);
    query->stream_number = ks_load_u64be(payload + 8);
    query->has_after = payload[16] != 0;
    KS_ASSERT(ks_cursor_u32be(&c, &query->after));
    query->filter = (enum shard_filter_type)payload[21];
    query->unix_ms = ks_load_u64be(payload + 22);
    return KS_OK;
}

static enum ks_status query_filter(
    const Kstream__ShardFilter *filter, struct shard_query *query, struct ks_error *err)
{
    for (unsigned i = 0; i < FILTER_COUNT; i++)
        if (strcmp(filter->type, filter_names[i]) == 0)
            query->filter = (enum shard_filter_type)i;
    bool needs_time =
        query->filter == FILTER_AT_TIMESTAMP || query->filter == FILTER_FROM_TIMESTAMP;
    if (needs_time != (bool)filter->has_timestamp_unix_ms)
        return ks_fail(err, KS_INVALID, 0, "ShardFilter of type %s %s a Timestamp.", filter->type,
            needs_time ? "needs" : "does not take");
    if (needs_time) /* before the trim horizon there is nothing */
        query->unix_ms = ks_max_u64(query->unix_ms, filter->timestamp_unix_ms);
    if ((query->filter == FILTER_AFTER_SHARD_ID) != (filter->shard_id != NULL))
        return ks_fail(err, KS_INVALID, 0, "ShardFilter of type %s %s a ShardId.", filter->type,
            filter->shard_id ? "does not take" : "needs");
    if (!filter->shard_id)
        return KS_OK;
    query->has_after = true;
    if (ks_shard_id_from_text(ks_view_of_text(filter->shard_id), &query->after))
        return ks_fail(err, KS_INVALID, 0, "ShardId %s is not a shard id.", filter->shard_id);
    return KS_OK;
}

/* The query of a first page, or of a later one; and the stream, referenced. */
static enum ks_status query_make(struct ks_call *call, const Kstream__ListShardsRequest *request,
    struct shard_query *query, struct ks_stream **out_stream, struct ks_error *err)
{
    const struct ks_stream_address address = KS_STREAM_ADDRESS(request);
    bool is_named = address.name.data || address.arn.data || address.id.data;
    if (request->next_token) {
        if (is_named)
            return ks_fail(
                err, KS_INVALID, 0, "NextToken and StreamName cannot be provided together.");
        if (request->exclusive_start_shard_id || request->has_stream_creation_timestamp_unix_ms)
            return ks_fail(err, KS_INVALID, 0,
                "NextToken cannot be provided together with ExclusiveStartShardId or "
                "StreamCreationTimestamp.");
        enum ks_status st = query_from_token(call->server, request->next_token, query, err);
        if (st)
            return st;
        if (ks_registry_find_number(call->server->engine, query->stream_number, out_stream))
            return ks_fail(err, KS_NOT_FOUND, 0, "The stream of this NextToken is not found.");
        return KS_OK;
    }
    if (!is_named)
        return ks_fail(err, KS_INVALID, 0, "Either NextToken or StreamName should be provided.");
    enum ks_status st = ks_stream_resolve(call->server, &address, out_stream, err);
    if (st)
        return st;
    query->stream_number = (*out_stream)->number;
    query->unix_ms = ks_stream_horizon_unix_ms(call->server->engine, *out_stream);
    if (request->shard_filter)
        st = query_filter(request->shard_filter, query, err);
    if (!st && request->exclusive_start_shard_id) {
        query->has_after = true;
        if (ks_shard_id_from_text(
                ks_view_of_text(request->exclusive_start_shard_id), &query->after))
            st = ks_fail(err, KS_INVALID, 0, "ExclusiveStartShardId %.64s is not a shard id.",
                request->exclusive_start_shard_id);
    }
    if (!st && request->has_stream_creation_timestamp_unix_ms &&
        request->stream_creation_timestamp_unix_ms / 1000 != (*out_stream)->created_unix_ms / 1000)
        st = ks_stream_not_found(call->server, ks_view_of_text((*out_stream)->name), err);
    return st;
}

/* No record of it can be later. */
static uint64_t shard_ended_ms(const struct ks_shard *shard)
{
    return shard->closed_s * 1000 + 999;
}

/* Parents close and children open at one moment, so that the shards of a time tile all keys: what
 * counts is when the parents ended. One that is gone ended before anything that is asked for. */
static bool shard_was_there(
    const struct ks_stream *stream, const struct ks_shard *shard, uint64_t unix_ms)
{
    const struct ks_shard *parents[2] = {
        shard->has_parent ? ks_stream_shard(stream, shard->parent_index) : NULL,
        shard->has_adjacent_parent ? ks_stream_shard(stream, shard->adjacent_parent_index) : NULL};
    for (size_t i = 0; i < KS_COUNT_OF(parents); i++)
        if (parents[i] && shard_ended_ms(parents[i]) >= unix_ms)
            return false;
    return shard->is_open || shard_ended_ms(shard) >= unix_ms;
}

static bool query_wants(
    const struct shard_query *query, const struct ks_stream *stream, const struct ks_shard *shard)
{
    if (query->has_after && shard->index <= query->after)
        return false;
    switch (query->filter) {
    case FILTER_AT_LATEST:
        return shard->is_open;
    case FILTER_AT_TIMESTAMP:
    case FILTER_AT_TRIM_HORIZON:
        return shard_was_there(stream, shard, query->unix_ms);
    case FILTER_FROM_TIMESTAMP:
    case FILTER_FROM_TRIM_HORIZON:
    case FILTER_AFTER_SHARD_ID:
        return shard->is_open || shard_ended_ms(shard) >= query->unix_ms;
    case FILTER_COUNT:
        break;
    }
    return false;
}

static bool list_shards_fill(struct ks_call *call, const struct ks_stream *stream,
    struct shard_query *query, uint32_t limit, Kstream__ListShardsResponse *response)
{
    uint32_t room = KS_MIN(limit, stream->shard_count);
    response->shards = ks_arena_alloc(&call->arena, ((size_t)room + 1) * sizeof(Kstream__Shard *));
    if (!response->shards)
        return false;
    for (uint32_t i = 0; i < stream->shard_count; i++) {
        const struct ks_shard *shard = &stream->shards[i];
        if (!query_wants(query, stream, shard))
            continue;
        if (response->n_shards == limit) {
            char text[KS_TOKEN_TEXT_BYTES_MAX];
            query_to_token(call->server, query, text);
            response->next_token = ks_arena_strdup(&call->arena, text);
            return response->next_token != NULL;
        }
        response->shards[response->n_shards] = ks_shard_message(call, shard);
        if (!response->shards[response->n_shards++])
            return false;
        if (response->n_shards == limit) {
            query->has_after = true;
            query->after = shard->index;
        }
    }
    return true;
}

void ks_op_list_shards(struct ks_call *call, const ProtobufCMessage *message)
{
    const Kstream__ListShardsRequest *request = (const void *)message;
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = NULL;
    struct shard_query query = {.filter = FILTER_FROM_TRIM_HORIZON};
    struct ks_error error = KS_ERROR_INIT;
    enum ks_status st = query_make(call, request, &query, &stream, &error);
    if (st) {
        ks_call_fail(call, st, &error);
        return;
    }
    uint32_t limit = KS_LIST_SHARDS_PAGE_MAX;
    if (request->has_max_results)
        limit = KS_MIN((uint32_t)request->max_results, limit);
    Kstream__ListShardsResponse *response = ks_arena_alloc(&call->arena, sizeof(*response));
    if (response)
        kstream__list_shards_response__init(response);
    if (!response || !list_shards_fill(call, stream, &query, limit, response))
        ks_call_fail_memory(call);
    else
        ks_call_finish(call, &response->base);
}
