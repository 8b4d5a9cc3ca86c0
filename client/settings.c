/* The calls about settings of a stream, and of the account. */
#include "client/client.h"
#include "client/kstream_admin.h"
#include "proto/api.pb-c.h"

#include <stdio.h>
#include <string.h>

static enum ks_status check_stream(const char *stream, struct ks_error *err)
{
    if (!stream || stream[0] == '\0')
        return ks_fail(err, KS_INVALID, 0, "the name of the stream is missing");
    return KS_OK;
}

/* Into a caller's struct, of whatever version it is. */
static void info_give(void *to, size_t to_bytes, const void *from, size_t from_bytes)
{
    memcpy(to, from, KS_MIN(to_bytes, from_bytes));
    memcpy(to, &to_bytes, sizeof to_bytes); /* its size comes first */
}

/* ---- of a stream ---- */

/* The operation knows a stream by its ARN or id alone. */
static enum ks_status update_record_size(struct kstream_client *client, const char *stream,
    uint32_t kib, const struct kstream_setting_options *options, struct ks_error *err)
{
    uint64_t deadline_ns = client_call_deadline_ns(client, CLIENT_OPTION(options, timeout_ms, 0));
    Kstream__UpdateMaxRecordSizeRequest request = KSTREAM__UPDATE_MAX_RECORD_SIZE_REQUEST__INIT;
    request.has_dry_run = request.dry_run = CLIENT_OPTION(options, dry_run, 0) != 0;
    request.has_max_record_size_in_kib = true;
    request.max_record_size_in_kib = (int32_t)KS_MIN(kib, (uint32_t)INT32_MAX);
    struct client_exchange exchange = {.op = KS_OP_UPDATE_MAX_RECORD_SIZE,
        .request = &request.base,
        .deadline_ns = deadline_ns,
        .is_repeatable = true};
    struct ks_arena arena;
    ks_arena_init(&arena, CLIENT_ANSWER_BYTES_MAX);
    const Kstream__StreamDescriptionSummary *about = NULL;
    enum ks_status st = client_stream_about(client, stream, deadline_ns, &arena, &about, err);
    ProtobufCMessage *message = NULL;
    if (!st) {
        request.stream_arn = about->stream_arn;
        st = client_call(client, &exchange, &arena, &message, err);
    }
    ks_arena_fini(&arena);
    return st;
}

enum kstream_status kstream_update_max_record_size(struct kstream_client *client,
    const char *stream, uint32_t max_record_size_kib, const struct kstream_setting_options *options,
    struct kstream_error *err)
{
    struct ks_error inner = client_begin(client);
    enum ks_status st = check_stream(stream, &inner);
    if (!st)
        st = update_record_size(client, stream, max_record_size_kib, options, &inner);
    return client_result(st, &inner, client->last_request_id, err);
}

enum kstream_status kstream_update_warm_throughput(struct kstream_client *client,
    const char *stream, uint32_t mibps, const struct kstream_setting_options *options,
    struct kstream_warm_throughput *info, struct kstream_error *err)
{
    Kstream__UpdateStreamWarmThroughputRequest request =
        KSTREAM__UPDATE_STREAM_WARM_THROUGHPUT_REQUEST__INIT;
    request.has_dry_run = request.dry_run = CLIENT_OPTION(options, dry_run, 0) != 0;
    if (stream)
        CLIENT_NAME_STREAM(&request, stream);
    request.has_warm_throughput_mibps = true;
    request.warm_throughput_mibps = (int32_t)KS_MIN(mibps, (uint32_t)INT32_MAX);
    struct client_exchange exchange = {.op = KS_OP_UPDATE_STREAM_WARM_THROUGHPUT,
        .request = &request.base,
        .deadline_ns = client_call_deadline_ns(client, CLIENT_OPTION(options, timeout_ms, 0)),
        .is_repeatable = true};
    struct ks_error inner = client_begin(client);
    struct ks_arena arena;
    ks_arena_init(&arena, CLIENT_ANSWER_BYTES_MAX);
    ProtobufCMessage *message = NULL;
    enum ks_status st = check_stream(stream, &inner);
    if (!st)
        st = client_call(client, &exchange, &arena, &message, &inner);
    if (!st && info) {
        const Kstream__WarmThroughput *warm =
            ((const Kstream__UpdateStreamWarmThroughputResponse *)(const void *)message)
                ->warm_throughput;
        const struct kstream_warm_throughput filled = {.size = sizeof filled,
            .target_mibps = warm ? (uint32_t)warm->target_mibps : 0,
            .current_mibps = warm ? (uint32_t)warm->current_mibps : 0};
        info_give(info, info->size, &filled, sizeof filled);
    }
    ks_arena_fini(&arena);
    return client_result(st, &inner, client->last_request_id, err);
}

enum kstream_status kstream_update_stream_limits(struct kstream_client *client, const char *stream,
    const struct kstream_stream_limits *limits, const struct kstream_setting_options *options,
    struct kstream_error *err)
{
    Kstream__StreamLimits message = KSTREAM__STREAM_LIMITS__INIT;
    message.mode = client_text(CLIENT_OPTION(limits, mode, "off"));
    message.write_bytes_per_second = CLIENT_OPTION(limits, write_bytes_per_second, 0);
    message.write_records_per_second = CLIENT_OPTION(limits, write_records_per_second, 0);
    message.read_bytes_per_second = CLIENT_OPTION(limits, read_bytes_per_second, 0);
    message.read_calls_per_second = CLIENT_OPTION(limits, read_calls_per_second, 0);
    message.records_per_day = CLIENT_OPTION(limits, records_per_day, 0);
    message.client_bytes_per_second = CLIENT_OPTION(limits, client_bytes_per_second, 0);
    message.client_records_per_second = CLIENT_OPTION(limits, client_records_per_second, 0);
    message.has_write_bytes_per_second = message.has_write_records_per_second = true;
    message.has_read_bytes_per_second = message.has_read_calls_per_second = true;
    message.has_client_bytes_per_second = message.has_client_records_per_second = true;
    message.has_records_per_day = true;
    Kstream__UpdateStreamLimitsRequest request = KSTREAM__UPDATE_STREAM_LIMITS_REQUEST__INIT;
    if (stream)
        CLIENT_NAME_STREAM(&request, stream);
    request.limits = &message;
    request.has_dry_run = request.dry_run = CLIENT_OPTION(options, dry_run, 0) != 0;
    struct client_exchange exchange = {.op = KS_OP_UPDATE_STREAM_LIMITS,
        .request = &request.base,
        .deadline_ns = client_call_deadline_ns(client, CLIENT_OPTION(options, timeout_ms, 0)),
        .is_repeatable = true};
    struct ks_error inner = client_begin(client);
    struct ks_arena arena;
    ks_arena_init(&arena, CLIENT_ANSWER_BYTES_MAX);
    ProtobufCMessage *answer = NULL;
    enum ks_status st = check_stream(stream, &inner);
    if (!st)
        st = client_call(client, &exchange, &arena, &answer, &inner);
    ks_arena_fini(&arena);
    return client_result(st, &inner, client->last_request_id, err);
}

/* ---- monitoring of shards ---- */

static const char *const metric_names[] = {"IncomingBytes", "IncomingRecords", "OutgoingBytes",
    "OutgoingRecords", "WriteProvisionedThroughputExceeded", "ReadProvisionedThroughputExceeded",
    "IteratorAgeMilliseconds"};

/* A name that this library does not know is left out. */
static size_t metrics_fill(char *const *names, size_t count, const char **out)
{
    size_t filled = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < KS_COUNT_OF(metric_names); k++)
            if (filled < KSTREAM_SHARD_METRICS_MAX && strcmp(names[i], metric_names[k]) == 0)
                out[filled++] = metric_names[k];
    return filled;
}

struct metrics_change {
    struct client_exchange exchange;
    const char *const *metrics; /* as the caller gave them */
    size_t count;
};

static enum kstream_status change_metrics(struct kstream_client *client, const char *stream,
    struct metrics_change *change, const struct kstream_setting_options *options,
    struct kstream_shard_metrics *info, struct kstream_error *err)
{
    struct client_exchange *exchange = &change->exchange;
    struct ks_error inner = client_begin(client);
    struct ks_arena arena;
    ks_arena_init(&arena, CLIENT_ANSWER_BYTES_MAX);
    exchange->deadline_ns = client_call_deadline_ns(client, CLIENT_OPTION(options, timeout_ms, 0));
    exchange->is_repeatable = true;
    ProtobufCMessage *message = NULL;
    enum ks_status st = check_stream(stream, &inner);
    if (!st)
        st = client_check_list(change->metrics, change->count, "the list of metrics", &inner);
    if (!st)
        st = client_call(client, exchange, &arena, &message, &inner);
    if (!st && info) {
        struct kstream_shard_metrics filled = {.size = sizeof filled};
        if (exchange->op == KS_OP_ENABLE_ENHANCED_MONITORING) {
            const Kstream__EnableEnhancedMonitoringResponse *answer = (const void *)message;
            filled.before_count = metrics_fill(answer->current_shard_level_metrics,
                answer->n_current_shard_level_metrics, filled.before);
            filled.after_count = metrics_fill(answer->desired_shard_level_metrics,
                answer->n_desired_shard_level_metrics, filled.after);
        } else {
            const Kstream__DisableEnhancedMonitoringResponse *answer = (const void *)message;
            filled.before_count = metrics_fill(answer->current_shard_level_metrics,
                answer->n_current_shard_level_metrics, filled.before);
            filled.after_count = metrics_fill(answer->desired_shard_level_metrics,
                answer->n_desired_shard_level_metrics, filled.after);
        }
        info_give(info, info->size, &filled, sizeof filled);
    }
    ks_arena_fini(&arena);
    return client_result(st, &inner, client->last_request_id, err);
}

enum kstream_status kstream_enable_shard_metrics(struct kstream_client *client, const char *stream,
    const char *const *metrics, size_t count, const struct kstream_setting_options *options,
    struct kstream_shard_metrics *info, struct kstream_error *err)
{
    Kstream__EnableEnhancedMonitoringRequest request =
        KSTREAM__ENABLE_ENHANCED_MONITORING_REQUEST__INIT;
    request.has_dry_run = request.dry_run = CLIENT_OPTION(options, dry_run, 0) != 0;
    if (stream)
        CLIENT_NAME_STREAM(&request, stream);
    request.shard_level_metrics = client_texts(metrics);
    request.n_shard_level_metrics = count;
    struct metrics_change change = {
        {.op = KS_OP_ENABLE_ENHANCED_MONITORING, .request = &request.base}, metrics, count};
    return change_metrics(client, stream, &change, options, info, err);
}

enum kstream_status kstream_disable_shard_metrics(struct kstream_client *client, const char *stream,
    const char *const *metrics, size_t count, const struct kstream_setting_options *options,
    struct kstream_shard_metrics *info, struct kstream_error *err)
{
    Kstream__DisableEnhancedMonitoringRequest request =
        KSTREAM__DISABLE_ENHANCED_MONITORING_REQUEST__INIT;
    request.has_dry_run = request.dry_run = CLIENT_OPTION(options, dry_run, 0) != 0;
    if (stream)
        CLIENT_NAME_STREAM(&request, stream);
    request.shard_level_metrics = client_texts(metrics);
    request.n_shard_level_metrics = count;
    struct metrics_change change = {
        {.op = KS_OP_DISABLE_ENHANCED_MONITORING, .request = &request.base}, metrics, count};
    return change_metrics(client, stream, &change, options, info, err);
}

/* ---- of the account ---- */

enum kstream_status kstream_describe_limits(struct kstream_client *client,
    const struct kstream_call_options *options, struct kstream_limits_info *info,
    struct kstream_error *err)
{
    Kstream__DescribeLimitsRequest request = KSTREAM__DESCRIBE_LIMITS_REQUEST__INIT;
    struct client_exchange exchange = {.op = KS_OP_DESCRIBE_LIMITS,
        .request = &request.base,
        .deadline_ns = client_call_deadline_ns(client, CLIENT_OPTION(options, timeout_ms, 0)),
        .is_repeatable = true};
    struct ks_error inner = client_begin(client);
    struct ks_arena arena;
    ks_arena_init(&arena, CLIENT_ANSWER_BYTES_MAX);
    ProtobufCMessage *message = NULL;
    enum ks_status st = client_check_place(info, &inner);
    if (!st)
        st = client_call(client, &exchange, &arena, &message, &inner);
    if (!st) {
        const Kstream__DescribeLimitsResponse *answer = (const void *)message;
        const struct kstream_limits_info filled = {.size = sizeof filled,
            .shard_limit = (uint32_t)answer->shard_limit,
            .open_shard_count = (uint32_t)answer->open_shard_count,
            .on_demand_stream_limit = (uint32_t)answer->on_demand_stream_count_limit,
            .on_demand_stream_count = (uint32_t)answer->on_demand_stream_count};
        info_give(info, info->size, &filled, sizeof filled);
    }
    ks_arena_fini(&arena);
    return client_result(st, &inner, client->last_request_id, err);
}

static void account_fill(const Kstream__MinimumThroughputBillingCommitmentOutput *from,
    struct kstream_account_info *info)
{
    struct kstream_account_info filled = {.size = sizeof filled};
    if (from) {
        snprintf(filled.commitment_status, sizeof filled.commitment_status, "%s", from->status);
        filled.commitment_started_unix_ms = from->started_at_unix_ms;
        filled.commitment_ended_unix_ms = from->ended_at_unix_ms;
        filled.commitment_earliest_end_unix_ms = from->earliest_allowed_end_at_unix_ms;
    }
    info_give(info, info->size, &filled, sizeof filled);
}

static enum kstream_status account_call(struct kstream_client *client,
    struct client_exchange *exchange, uint32_t timeout_ms, struct kstream_account_info *info,
    struct kstream_error *err)
{
    struct ks_error inner = client_begin(client);
    struct ks_arena arena;
    ks_arena_init(&arena, CLIENT_ANSWER_BYTES_MAX);
    exchange->deadline_ns = client_call_deadline_ns(client, timeout_ms);
    exchange->is_repeatable = true;
    ProtobufCMessage *message = NULL;
    enum ks_status st = client_call(client, exchange, &arena, &message, &inner);
    if (!st && info && exchange->op == KS_OP_DESCRIBE_ACCOUNT_SETTINGS)
        account_fill(((const Kstream__DescribeAccountSettingsResponse *)(const void *)message)
                         ->minimum_throughput_billing_commitment,
            info);
    else if (!st && info)
        account_fill(((const Kstream__UpdateAccountSettingsResponse *)(const void *)message)
                         ->minimum_throughput_billing_commitment,
            info);
    ks_arena_fini(&arena);
    return client_result(st, &inner, client->last_request_id, err);
}

enum kstream_status kstream_describe_account(struct kstream_client *client,
    const struct kstream_call_options *options, struct kstream_account_info *info,
    struct kstream_error *err)
{
    Kstream__DescribeAccountSettingsRequest request =
        KSTREAM__DESCRIBE_ACCOUNT_SETTINGS_REQUEST__INIT;
    struct client_exchange exchange = {
        .op = KS_OP_DESCRIBE_ACCOUNT_SETTINGS, .request = &request.base};
    return account_call(client, &exchange, CLIENT_OPTION(options, timeout_ms, 0), info, err);
}

enum kstream_status kstream_update_account(struct kstream_client *client,
    const char *commitment_status, const struct kstream_setting_options *options,
    struct kstream_account_info *info, struct kstream_error *err)
{
    Kstream__MinimumThroughputBillingCommitmentInput input =
        KSTREAM__MINIMUM_THROUGHPUT_BILLING_COMMITMENT_INPUT__INIT;
    Kstream__UpdateAccountSettingsRequest request = KSTREAM__UPDATE_ACCOUNT_SETTINGS_REQUEST__INIT;
    request.has_dry_run = request.dry_run = CLIENT_OPTION(options, dry_run, 0) != 0;
    input.status = client_text(commitment_status);
    request.minimum_throughput_billing_commitment = &input;
    struct client_exchange exchange = {
        .op = KS_OP_UPDATE_ACCOUNT_SETTINGS, .request = &request.base};
    return account_call(client, &exchange, CLIENT_OPTION(options, timeout_ms, 0), info, err);
}
