/* UpdateStreamLimits, and what is said when a limit is met. */
#include "daemon/ops_setting.h"

#include <stdio.h>
#include <string.h>

/* Developer guide, quotas: of each shard. */
static const struct ks_stream_limits aws_limits = {.mode = KS_LIMITS_AWS,
    .write_bytes_per_s = 1u << 20,
    .write_records_per_s = 1000,
    .read_bytes_per_s = 2u << 20,
    .read_calls_per_s = 5};

#define NUMBER_MAX (1ull << 50) /* a rate that nobody has; buckets count it without overflow */

/* ---- refusals ---- */

char *ks_refusal_text(
    struct ks_call *call, const struct ks_limit_use *use, const struct ks_limit_refusal *refusal)
{
    char text[640];
    char shard[64] = "";
    if (refusal->is_of_shard)
        snprintf(shard, sizeof(shard), "shard shardId-%012u in ", use->shard_index);
    else if (refusal->is_of_client)
        strcpy(shard, "this client in ");
    snprintf(text, sizeof(text),
        "Rate exceeded for %sstream %s under account %s. Limit: %s=%llu, current: %llu, retry "
        "after %llu ms.",
        shard, use->stream->name, call->server->config->aws_account_id, refusal->name,
        (unsigned long long)refusal->limit, (unsigned long long)refusal->current,
        (unsigned long long)refusal->retry_after_ms);
    return ks_arena_strdup(&call->arena, text);
}

void ks_call_fail_refused(
    struct ks_call *call, const struct ks_limit_use *use, const struct ks_limit_refusal *refusal)
{
    const char *text = ks_refusal_text(call, use, refusal);
    call->refusal = *refusal;
    call->has_refusal = true;
    ks_call_fail_text(call, KS_THROTTLED, "%s", text ? text : ks_status_info(KS_THROTTLED)->text);
}

/* ---- limits as a message ---- */

static const char *const mode_names[KS_LIMITS_MODES] = {
    [KS_LIMITS_OFF] = "off", [KS_LIMITS_AWS] = "aws", [KS_LIMITS_CUSTOM] = "custom"};

Kstream__StreamLimits *ks_limits_message(
    struct ks_call *call, const struct ks_stream_limits *limits)
{
    Kstream__StreamLimits *message = ks_arena_alloc(&call->arena, sizeof(*message));
    if (!message)
        return NULL;
    kstream__stream_limits__init(message);
    message->mode = ks_arena_strdup(&call->arena, mode_names[limits->mode]);
    message->write_bytes_per_second = limits->write_bytes_per_s;
    message->write_records_per_second = limits->write_records_per_s;
    message->read_bytes_per_second = limits->read_bytes_per_s;
    message->read_calls_per_second = limits->read_calls_per_s;
    message->records_per_day = limits->records_per_day;
    message->client_bytes_per_second = limits->client_bytes_per_s;
    message->client_records_per_second = limits->client_records_per_s;
    message->has_write_bytes_per_second = limits->write_bytes_per_s > 0;
    message->has_write_records_per_second = limits->write_records_per_s > 0;
    message->has_read_bytes_per_second = limits->read_bytes_per_s > 0;
    message->has_read_calls_per_second = limits->read_calls_per_s > 0;
    message->has_records_per_day = limits->records_per_day > 0;
    message->has_client_bytes_per_second = limits->client_bytes_per_s > 0;
    message->has_client_records_per_second = limits->client_records_per_s > 0;
    return message->mode ? message : NULL;
}

/* False: the call has failed. */
static bool limits_read(
    struct ks_call *call, const Kstream__StreamLimits *message, struct ks_stream_limits *out)
{
    const uint64_t of_shards[] = {message->write_bytes_per_second,
        message->write_records_per_second, message->read_bytes_per_second,
        message->read_calls_per_second};
    const uint64_t of_others[] = {message->records_per_day, message->client_bytes_per_second,
        message->client_records_per_second};
    uint64_t largest = 0;
    bool has_of_shards = false;
    for (size_t i = 0; i < KS_COUNT_OF(of_shards); i++) {
        largest = ks_max_u64(largest, of_shards[i]);
        has_of_shards = has_of_shards || of_shards[i] > 0;
    }
    for (size_t i = 0; i < KS_COUNT_OF(of_others); i++)
        largest = ks_max_u64(largest, of_others[i]);
    *out = (struct ks_stream_limits){.mode = KS_LIMITS_OFF};
    if (strcmp(message->mode, mode_names[KS_LIMITS_AWS]) == 0)
        *out = aws_limits;
    if (strcmp(message->mode, mode_names[KS_LIMITS_CUSTOM]) == 0)
        *out = (struct ks_stream_limits){.mode = KS_LIMITS_CUSTOM,
            .write_bytes_per_s = of_shards[0],
            .write_records_per_s = of_shards[1],
            .read_bytes_per_s = of_shards[2],
            .read_calls_per_s = of_shards[3]};
    out->records_per_day = of_others[0];
    out->client_bytes_per_s = of_others[1];
    out->client_records_per_s = of_others[2];
    if (largest <= NUMBER_MAX && (out->mode == KS_LIMITS_CUSTOM || !has_of_shards))
        return true;
    if (largest > NUMBER_MAX)
        ks_call_fail_text(call, KS_INVALID, "A limit is %llu at most.", NUMBER_MAX);
    else
        ks_call_fail_text(call, KS_INVALID,
            "Rates of shards can be given with the mode custom only; the mode is %s.",
            mode_names[out->mode]);
    return false;
}

/* ---- UpdateStreamLimits ---- */

static void limits_answer(struct ks_call *call, const struct ks_setting_work *work)
{
    Kstream__UpdateStreamLimitsResponse *response = ks_arena_alloc(&call->arena, sizeof(*response));
    if (response) {
        kstream__update_stream_limits_response__init(response);
        response->limits = ks_limits_message(call, &work->change.limits);
    }
    if (!response || !response->limits)
        ks_call_fail_memory(call);
    else
        ks_call_finish(call, &response->base);
}

void ks_op_update_stream_limits(struct ks_call *call, const ProtobufCMessage *message)
{
    const Kstream__UpdateStreamLimitsRequest *request = (const void *)message;
    const struct ks_stream_address address = KS_STREAM_ADDRESS(request);
    struct ks_stream_limits limits;
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = ks_call_resolve_active(call, &address);
    if (!stream || !limits_read(call, request->limits, &limits))
        return;
    struct ks_setting_work *work = ks_setting_work_make(call, stream);
    if (!work)
        return;
    work->change = (struct ks_setting_change){.setting = KS_SETTING_LIMITS, .limits = limits};
    work->answer = limits_answer;
    if (request->dry_run)
        limits_answer(call, work);
    else
        ks_setting_start(call);
}
