/* What Kinesis does not have: Ping, DescribeRouting, ResumeProducer, ConfirmClock, DescribeConfig.
 */
#include "daemon/addresses.h"
#include "daemon/ops.h"
#include "daemon/version.h"

#include <string.h>
#include <unistd.h>

void ks_op_ping(struct ks_call *call, const ProtobufCMessage *message)
{
    (void)message;
    Kstream__PingResponse *response = ks_arena_alloc(&call->arena, sizeof(*response));
    if (!response) {
        ks_call_fail_memory(call);
        return;
    }
    kstream__ping_response__init(response);
    response->version = ks_arena_strdup(&call->arena, KS_VERSION);
    response->region = ks_arena_strdup(&call->arena, call->server->config->aws_region);
    response->account_id = ks_arena_strdup(&call->arena, call->server->config->aws_account_id);
    response->server_unix_ms = ks_server_unix_ms(call->server);
    response->run_id = call->server->run_id;
    response->frame_bytes_max = KS_FRAME_BYTES_MAX;
    response->has_pid = true;
    response->pid = (uint64_t)getpid();
    if (call->server->addresses) {
        char addresses[KS_ADDRESSES_TEXT_BYTES];
        ks_addresses_text(call->server->addresses, addresses, sizeof(addresses));
        response->addresses = ks_arena_strdup(&call->arena, addresses);
    }
    if (response->version && response->region && response->account_id)
        ks_call_finish(call, &response->base);
    else
        ks_call_fail_memory(call);
}

static Kstream__RoutingShard *routing_shard(struct ks_arena *arena, const struct ks_shard *shard)
{
    Kstream__RoutingShard *message = ks_arena_alloc(arena, sizeof(*message));
    uint8_t *keys = ks_arena_alloc(arena, 32);
    if (!message || !keys)
        return NULL;
    kstream__routing_shard__init(message);
    ks_u128_store_be(keys, shard->hash_first);
    ks_u128_store_be(keys + 16, shard->hash_last);
    message->shard_index = shard->index;
    message->log_id = ks_log_id(shard->log);
    message->created_unix_s = shard->created_s;
    message->first_hash_key = (ProtobufCBinaryData){.len = 16, .data = keys};
    message->last_hash_key = (ProtobufCBinaryData){.len = 16, .data = keys + 16};
    return message;
}

Kstream__DescribeRoutingResponse *ks_routing_message(
    struct ks_call *call, const struct ks_stream *stream)
{
    struct ks_arena *arena = &call->arena;
    Kstream__DescribeRoutingResponse *response = ks_arena_alloc(arena, sizeof(*response));
    Kstream__RoutingShard **shards =
        ks_arena_alloc(arena, ((size_t)stream->open_count + 1) * sizeof(shards[0]));
    if (!response || !shards)
        return NULL;
    kstream__describe_routing_response__init(response);
    response->stream_name = ks_arena_strdup(arena, stream->name);
    response->stream_id = ks_arena_strdup(arena, stream->id);
    response->routing_epoch = stream->routing_epoch;
    response->stream_status = ks_arena_strdup(arena, ks_stream_status_text(stream->status));
    response->record_bytes_max = stream->record_bytes_max;
    response->ack = ks_arena_strdup(arena, ks_ack_text(stream->ack));
    response->n_shards = stream->open_count;
    response->shards = shards;
    for (uint32_t i = 0; i < stream->open_count; i++) {
        shards[i] = routing_shard(arena, &stream->shards[stream->open_by_hash[i]]);
        if (!shards[i])
            return NULL;
    }
    bool is_whole =
        response->stream_name && response->stream_id && response->stream_status && response->ack;
    return is_whole ? response : NULL;
}

void ks_op_describe_routing(struct ks_call *call, const ProtobufCMessage *message)
{
    const Kstream__DescribeRoutingRequest *request = (const void *)message;
    const struct ks_stream_address address = KS_STREAM_ADDRESS(request);
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = NULL;
    struct ks_error error = KS_ERROR_INIT;
    enum ks_status st = ks_stream_resolve(call->server, &address, &stream, &error);
    if (st) {
        ks_call_fail(call, st, &error);
        return;
    }
    Kstream__DescribeRoutingResponse *response = ks_routing_message(call, stream);
    if (response)
        ks_call_finish(call, &response->base);
    else
        ks_call_fail_memory(call);
}

static Kstream__ProducerShard *resume_shard(
    struct ks_arena *arena, const struct ks_shard *shard, const struct ks_producer_state *state)
{
    Kstream__ProducerShard *message = ks_arena_alloc(arena, sizeof(*message));
    uint8_t *keys = ks_arena_alloc(arena, 32);
    if (!message || !keys)
        return NULL;
    kstream__producer_shard__init(message);
    struct ks_log_bounds bounds;
    ks_log_bounds(shard->log, &bounds);
    message->has_is_pending = true;
    message->is_pending = state->first_sequence + state->record_count - 1 > bounds.last_sequence;
    ks_u128_store_be(keys, shard->hash_first);
    ks_u128_store_be(keys + 16, shard->hash_last);
    message->shard_index = shard->index;
    message->last_producer_sequence = state->sequence;
    message->body_crc = state->body_crc;
    message->record_count = state->record_count;
    message->first_sequence = state->first_sequence;
    message->is_closed = !shard->is_open;
    message->has_created_unix_s = true;
    message->created_unix_s = shard->created_s;
    message->has_first_hash_key = true;
    message->first_hash_key = (ProtobufCBinaryData){.len = 16, .data = keys};
    message->has_last_hash_key = true;
    message->last_hash_key = (ProtobufCBinaryData){.len = 16, .data = keys + 16};
    return message;
}

static bool resume_fill(struct ks_call *call, const struct ks_stream *stream, uint64_t producer_id,
    Kstream__ResumeProducerResponse *response)
{
    response->shards = ks_arena_alloc(
        &call->arena, ((size_t)stream->shard_count + 1) * sizeof(Kstream__ProducerShard *));
    if (!response->shards)
        return false;
    for (uint32_t i = 0; i < stream->shard_count; i++) {
        struct ks_producer_state state;
        if (ks_log_producer_state(stream->shards[i].log, producer_id, &state, NULL))
            continue; /* this shard does not know it */
        Kstream__ProducerShard *shard = resume_shard(&call->arena, &stream->shards[i], &state);
        if (!shard)
            return false;
        response->shards[response->n_shards++] = shard;
    }
    return true;
}

void ks_op_resume_producer(struct ks_call *call, const ProtobufCMessage *message)
{
    const Kstream__ResumeProducerRequest *request = (const void *)message;
    const struct ks_stream_address address = KS_STREAM_ADDRESS(request);
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = NULL;
    struct ks_error error = KS_ERROR_INIT;
    enum ks_status st = ks_stream_resolve(call->server, &address, &stream, &error);
    if (!st && request->producer_id == 0)
        st = ks_fail(&error, KS_INVALID, 0, "producer_id must not be 0");
    if (st) {
        ks_call_fail(call, st, &error);
        return;
    }
    Kstream__ResumeProducerResponse *response = ks_arena_alloc(&call->arena, sizeof(*response));
    if (response)
        kstream__resume_producer_response__init(response);
    if (!response || !resume_fill(call, stream, request->producer_id, response))
        ks_call_fail_memory(call);
    else
        ks_call_finish(call, &response->base);
}

void ks_op_confirm_clock(struct ks_call *call, const ProtobufCMessage *message)
{
    (void)message;
    Kstream__ConfirmClockResponse *response = ks_arena_alloc(&call->arena, sizeof(*response));
    if (!response) {
        ks_call_fail_memory(call);
        return;
    }
    struct ks_broker_clock_status before;
    kstream__confirm_clock_response__init(response);
    response->step_ms = ks_broker_clock_confirm(&call->server->timekeeper->clock, &before);
    response->clock_unix_ms = ks_server_unix_ms(call->server);
    response->was_retention_held = before.hold != KS_CLOCK_TRUSTED;
    response->retention_behind_ms = before.held_gap_ms;
    response->why = (char *)(uintptr_t)ks_clock_hold_text(before.hold);
    ks_call_finish(call, &response->base);
}

/* ---- DescribeConfig ---- */

static Kstream__ConfigSetting *setting_message(struct ks_call *call, size_t i)
{
    const struct ks_server *server = call->server;
    Kstream__ConfigSetting *message = ks_arena_alloc(&call->arena, sizeof(*message));
    if (!message)
        return NULL;
    struct ks_config_setting now;
    struct ks_config_setting next;
    ks_config_setting_at(server->running, i, &now);
    ks_config_setting_at(server->latest, i, &next);
    kstream__config_setting__init(message);
    message->key = ks_arena_strdup(&call->arena, now.key);
    message->value = ks_arena_strdup(&call->arena, now.value);
    message->default_value = (char *)(uintptr_t)now.fallback;
    message->origin = (char *)(uintptr_t)ks_config_source_text(now.origin->source);
    message->where = ks_arena_strdup(&call->arena, now.origin->where);
    message->needs_restart = !now.is_live;
    bool is_next = strcmp(now.value, next.value) != 0;
    if (is_next)
        message->next_value = ks_arena_strdup(&call->arena, next.value);
    bool is_whole =
        message->key && message->value && message->where && (!is_next || message->next_value);
    return is_whole ? message : NULL;
}

void ks_op_describe_config(struct ks_call *call, const ProtobufCMessage *message)
{
    (void)message;
    Kstream__DescribeConfigResponse *response = ks_arena_alloc(&call->arena, sizeof(*response));
    Kstream__ConfigSetting **settings =
        ks_arena_alloc(&call->arena, KS_CONFIG_ROWS * sizeof(settings[0]));
    if (!response || !settings) {
        ks_call_fail_memory(call);
        return;
    }
    kstream__describe_config_response__init(response);
    response->settings = settings;
    bool is_whole = true;
    ks_mutex_lock(&call->server->settings_mu);
    for (size_t i = 0; i < KS_CONFIG_ROWS && is_whole; i++) {
        settings[i] = setting_message(call, i);
        is_whole = settings[i] != NULL;
        response->n_settings += is_whole;
    }
    ks_mutex_unlock(&call->server->settings_mu);
    if (is_whole)
        ks_call_finish(call, &response->base);
    else
        ks_call_fail_memory(call);
}
