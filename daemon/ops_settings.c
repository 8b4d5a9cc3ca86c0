/* UpdateMaxRecordSize, UpdateStreamWarmThroughput, EnableEnhancedMonitoring and its mirror image:
 * settings of a stream that are a row of the catalog. */
#include "daemon/ops_setting.h"

#include <string.h>

/* ---- what the changes have in common ---- */

struct ks_stream *ks_call_resolve(struct ks_call *call, const struct ks_stream_address *address)
{
    struct ks_stream *stream = NULL;
    struct ks_error error = KS_ERROR_INIT;
    enum ks_status st = ks_stream_resolve(call->server, address, &stream, &error);
    if (st)
        ks_call_fail(call, st, &error);
    else
        call->stream_number = stream->number;
    return stream;
}

struct ks_stream *ks_call_resolve_active(
    struct ks_call *call, const struct ks_stream_address *address)
{
    struct ks_stream *stream = ks_call_resolve(call, address);
    if (!stream || stream->status == KS_STREAM_ACTIVE)
        return stream;
    ks_call_fail_not_active(call, stream);
    ks_stream_unref(stream);
    return NULL;
}

static void setting_refused(struct ks_call *call, enum ks_status st, const struct ks_error *error)
{
    const struct ks_setting_work *work = call->work;
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = NULL;
    struct ks_error gone = KS_ERROR_INIT;
    bool is_gone =
        ks_registry_find_number(call->server->engine, work->stream_number, &stream) != KS_OK;
    if (is_gone || st == KS_NOT_FOUND)
        ks_call_fail(call,
            ks_stream_not_found(call->server, ks_view_of_text(work->stream_name), &gone), &gone);
    else if (st == KS_IN_USE && stream->status == KS_STREAM_ACTIVE) /* again, by now */
        ks_call_fail_text(call, st, "Stream %s under account %s not ACTIVE, instead in state %s",
            stream->name, call->server->config->aws_account_id,
            ks_stream_status_text(KS_STREAM_UPDATING));
    else if (st == KS_IN_USE)
        ks_call_fail_not_active(call, stream);
    else if (st == KS_LIMIT && work->refuse_limit)
        work->refuse_limit(call, work);
    else
        ks_call_fail(call, st, error);
}

static void setting_delivered(struct ks_mail *mail)
{
    struct ks_call *call = KS_CONTAINER_OF(mail, struct ks_call, admin.mail);
    const struct ks_setting_work *work = call->work;
    if (call->admin.status)
        setting_refused(call, call->admin.status, &call->admin.error);
    else if (work->answer)
        work->answer(call, work);
    else
        ks_call_finish(call, call->response);
}

struct ks_setting_work *ks_setting_work_make(struct ks_call *call, const struct ks_stream *stream)
{
    struct ks_setting_work *work = ks_arena_zalloc(&call->arena, sizeof(*work));
    if (!work) {
        ks_call_fail_memory(call);
        return NULL;
    }
    strcpy(work->stream_name, stream->name);
    work->stream_number = stream->number;
    call->work = work;
    return work;
}

void ks_setting_start(struct ks_call *call)
{
    struct ks_setting_work *work = call->work;
    struct ks_error error = KS_ERROR_INIT;
    call->admin.mail.deliver = setting_delivered;
    call->admin.home = &call->loop->mailbox;
    enum ks_status st = ks_stream_set(
        call->server->engine, work->stream_number, &work->change, &call->admin, &error);
    if (st)
        setting_refused(call, st, &error);
}

/* ---- UpdateMaxRecordSize ---- */

bool ks_call_record_size_fits(struct ks_call *call, uint32_t bytes)
{
    uint64_t most = ks_engine_record_bytes_max(call->server->engine);
    if (bytes <= most)
        return true;
    ks_call_fail_text(call, KS_INVALID,
        "Records of %u KiB do not fit this broker, which stores up to %llu KiB: its segments "
        "(storage.segment_bytes) or journal files (storage.journal_file_bytes) are too small.",
        bytes >> 10, (unsigned long long)(most >> 10));
    return false;
}

void ks_op_update_max_record_size(struct ks_call *call, const ProtobufCMessage *message)
{
    static const Kstream__UpdateMaxRecordSizeResponse empty =
        KSTREAM__UPDATE_MAX_RECORD_SIZE_RESPONSE__INIT;
    const Kstream__UpdateMaxRecordSizeRequest *request = (const void *)message;
    const struct ks_stream_address address = {ks_view_of(NULL, 0),
        ks_view_of_optional(request->stream_arn), ks_view_of_optional(request->stream_id)};
    uint32_t bytes = (uint32_t)request->max_record_size_in_kib << 10;
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = ks_call_resolve_active(call, &address);
    if (!stream || !ks_call_record_size_fits(call, bytes))
        return;
    call->response = &empty.base;
    if (request->dry_run) {
        ks_call_finish(call, call->response);
        return;
    }
    struct ks_setting_work *work = ks_setting_work_make(call, stream);
    if (!work)
        return;
    work->change = (struct ks_setting_change){.setting = KS_SETTING_RECORD_BYTES, .number = bytes};
    ks_setting_start(call);
}

/* ---- UpdateStreamWarmThroughput ---- */

bool ks_call_warm_throughput_fits(struct ks_call *call, enum ks_stream_mode mode, uint32_t mibps)
{
    if (mode != KS_STREAM_ON_DEMAND)
        ks_call_fail_text(call, KS_VALIDATION,
            "Request is invalid. WarmThroughputMiBps is for streams in On-Demand mode.");
    else if (mibps > KS_SHARDS_PER_STREAM_MAX)
        ks_call_fail_text(call, KS_INVALID,
            "WarmThroughputMiBps %u is over the limit of %u, one for each shard of a stream.",
            mibps, KS_SHARDS_PER_STREAM_MAX);
    else
        return true;
    return false;
}

bool ks_call_warm_shards_fit(struct ks_call *call, const struct ks_stream *stream, uint32_t mibps)
{
    uint32_t more = mibps > stream->open_count ? mibps - stream->open_count : 0;
    if (ks_registry_open_shards(call->server->engine) + (uint64_t)more <=
        call->server->live.limits_shards)
        return true;
    ks_call_fail_shard_limit(call, more);
    return false;
}

Kstream__WarmThroughput *ks_warm_throughput_message(
    struct ks_call *call, uint32_t target_mibps, uint32_t open_shards)
{
    Kstream__WarmThroughput *warm = ks_arena_alloc(&call->arena, sizeof(*warm));
    if (!warm)
        return NULL;
    kstream__warm_throughput__init(warm);
    warm->has_target_mibps = true;
    warm->target_mibps = (int32_t)target_mibps;
    warm->has_current_mibps = true; /* a shard takes 1 MiB a second */
    warm->current_mibps = (int32_t)KS_MIN(open_shards, target_mibps);
    return warm;
}

static void warm_answer(struct ks_call *call, const struct ks_setting_work *work)
{
    Kstream__UpdateStreamWarmThroughputResponse *response =
        ks_arena_alloc(&call->arena, sizeof(*response));
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = NULL;
    struct ks_error gone = KS_ERROR_INIT;
    if (ks_registry_find_number(call->server->engine, work->stream_number, &stream)) {
        ks_call_fail(call,
            ks_stream_not_found(call->server, ks_view_of_text(work->stream_name), &gone), &gone);
        return;
    }
    if (response) {
        kstream__update_stream_warm_throughput_response__init(response);
        response->stream_name = ks_arena_strdup(&call->arena, stream->name);
        response->stream_arn = ks_stream_arn(call, stream);
        response->warm_throughput =
            ks_warm_throughput_message(call, work->change.number, stream->open_count);
    }
    if (!response || !response->stream_name || !response->stream_arn || !response->warm_throughput)
        ks_call_fail_memory(call);
    else
        ks_call_finish(call, &response->base);
}

/* The shards are there: now they stay. */
static void warm_resharded(struct ks_mail *mail)
{
    struct ks_call *call = KS_CONTAINER_OF(mail, struct ks_call, admin.mail);
    const struct ks_setting_work *work = call->work;
    if (call->admin.status == KS_LIMIT && work->refuse_limit)
        work->refuse_limit(call, work);
    else if (call->admin.status)
        setting_refused(call, call->admin.status, &call->admin.error);
    else
        ks_setting_start(call);
}

static void warm_refuse_limit(struct ks_call *call, const struct ks_setting_work *work)
{
    ks_call_fail_shard_limit(call, work->change.number);
}

void ks_warm_throughput_start(struct ks_call *call, const struct ks_stream *stream, uint32_t mibps,
    void (*answer)(struct ks_call *call, const struct ks_setting_work *work))
{
    struct ks_setting_work *work = ks_setting_work_make(call, stream);
    if (!work)
        return;
    work->change = (struct ks_setting_change){.setting = KS_SETTING_WARM_MIBPS, .number = mibps};
    work->answer = answer;
    work->refuse_limit = warm_refuse_limit;
    if (mibps <= stream->open_count) {
        ks_setting_start(call);
        return;
    }
    const struct ks_reshard_spec spec = {.kind = KS_RESHARD_COUNT, .target_count = mibps};
    struct ks_error error = KS_ERROR_INIT;
    call->admin.mail.deliver = warm_resharded;
    call->admin.home = &call->loop->mailbox;
    enum ks_status st =
        ks_stream_reshard(call->server->engine, stream->number, &spec, &call->admin, &error);
    if (st)
        setting_refused(call, st, &error);
}

void ks_op_update_stream_warm_throughput(struct ks_call *call, const ProtobufCMessage *message)
{
    const Kstream__UpdateStreamWarmThroughputRequest *request = (const void *)message;
    const struct ks_stream_address address = KS_STREAM_ADDRESS(request);
    uint32_t mibps = (uint32_t)request->warm_throughput_mibps;
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = ks_call_resolve_active(call, &address);
    if (!stream || !ks_call_warm_throughput_fits(call, stream->mode, mibps))
        return;
    if (!request->dry_run) {
        ks_warm_throughput_start(call, stream, mibps, warm_answer);
        return;
    }
    if (!ks_call_warm_shards_fit(call, stream, mibps))
        return;
    struct ks_setting_work *work = ks_setting_work_make(call, stream);
    if (!work)
        return;
    work->change.number = mibps;
    warm_answer(call, work);
}

/* ---- EnableEnhancedMonitoring, DisableEnhancedMonitoring ---- */

static char *const metric_names[KS_SHARD_METRIC_COUNT] = {
    [KS_SHARD_INCOMING_BYTES] = "IncomingBytes",
    [KS_SHARD_INCOMING_RECORDS] = "IncomingRecords",
    [KS_SHARD_OUTGOING_BYTES] = "OutgoingBytes",
    [KS_SHARD_OUTGOING_RECORDS] = "OutgoingRecords",
    [KS_SHARD_WRITE_THROTTLED] = "WriteProvisionedThroughputExceeded",
    [KS_SHARD_READ_THROTTLED] = "ReadProvisionedThroughputExceeded",
    [KS_SHARD_ITERATOR_AGE] = "IteratorAgeMilliseconds",
};
_Static_assert(KS_SHARD_METRIC_COUNT <= KS_SHARD_METRICS_MAX, "as many as the API lists");

bool ks_shard_metrics_list(
    struct ks_call *call, uint32_t metrics, char ***out_list, size_t *out_count)
{
    char **list = ks_arena_alloc(&call->arena, KS_SHARD_METRIC_COUNT * sizeof(list[0]));
    size_t count = 0;
    for (unsigned i = 0; list && i < KS_SHARD_METRIC_COUNT; i++)
        if (metrics & 1u << i)
            list[count++] = metric_names[i];
    *out_list = list;
    *out_count = count;
    return list != NULL;
}

/* The names are valid by the rules. */
static uint32_t metrics_of(char *const *names, size_t count)
{
    uint32_t metrics = 0;
    for (size_t n = 0; n < count; n++)
        for (unsigned i = 0; i < KS_SHARD_METRIC_COUNT; i++)
            if (strcmp(names[n], "ALL") == 0 || strcmp(names[n], metric_names[i]) == 0)
                metrics |= 1u << i;
    return metrics;
}

/* What both answers have. */
static bool monitoring_fill(struct ks_call *call, const struct ks_setting_work *work,
    Kstream__EnableEnhancedMonitoringResponse *response, bool is_on)
{
    uint32_t before = work->change.metrics_before;
    uint32_t after = is_on ? before | work->change.number : before & ~work->change.number;
    response->stream_name = ks_arena_strdup(&call->arena, work->stream_name);
    response->stream_arn = ks_stream_arn_of(call, work->stream_name);
    return response->stream_name && response->stream_arn &&
           ks_shard_metrics_list(call, before, &response->current_shard_level_metrics,
               &response->n_current_shard_level_metrics) &&
           ks_shard_metrics_list(call, after, &response->desired_shard_level_metrics,
               &response->n_desired_shard_level_metrics);
}

static void enable_answer(struct ks_call *call, const struct ks_setting_work *work)
{
    Kstream__EnableEnhancedMonitoringResponse *response =
        ks_arena_alloc(&call->arena, sizeof(*response));
    if (response)
        kstream__enable_enhanced_monitoring_response__init(response);
    if (!response || !monitoring_fill(call, work, response, true))
        ks_call_fail_memory(call);
    else
        ks_call_finish(call, &response->base);
}

static void disable_answer(struct ks_call *call, const struct ks_setting_work *work)
{
    Kstream__EnableEnhancedMonitoringResponse filled;
    kstream__enable_enhanced_monitoring_response__init(&filled);
    Kstream__DisableEnhancedMonitoringResponse *response =
        ks_arena_alloc(&call->arena, sizeof(*response));
    if (!response || !monitoring_fill(call, work, &filled, false)) {
        ks_call_fail_memory(call);
        return;
    }
    kstream__disable_enhanced_monitoring_response__init(response);
    response->stream_name = filled.stream_name;
    response->stream_arn = filled.stream_arn;
    response->current_shard_level_metrics = filled.current_shard_level_metrics;
    response->n_current_shard_level_metrics = filled.n_current_shard_level_metrics;
    response->desired_shard_level_metrics = filled.desired_shard_level_metrics;
    response->n_desired_shard_level_metrics = filled.n_desired_shard_level_metrics;
    ks_call_finish(call, &response->base);
}

struct monitoring_wish {
    uint32_t metrics;
    bool is_on;
    bool is_dry_run;
};

static void change_monitoring(struct ks_call *call, const struct ks_stream_address *address,
    const struct monitoring_wish *wish)
{
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = ks_call_resolve_active(call, address);
    struct ks_setting_work *work = stream ? ks_setting_work_make(call, stream) : NULL;
    if (!work)
        return;
    work->change = (struct ks_setting_change){
        .setting = wish->is_on ? KS_SETTING_METRICS_ON : KS_SETTING_METRICS_OFF,
        .number = wish->metrics,
        .metrics_before = stream->shard_metrics};
    work->answer = wish->is_on ? enable_answer : disable_answer;
    if (wish->is_dry_run)
        work->answer(call, work);
    else
        ks_setting_start(call);
}

void ks_op_enable_enhanced_monitoring(struct ks_call *call, const ProtobufCMessage *message)
{
    const Kstream__EnableEnhancedMonitoringRequest *request = (const void *)message;
    const struct ks_stream_address address = KS_STREAM_ADDRESS(request);
    const struct monitoring_wish wish = {
        metrics_of(request->shard_level_metrics, request->n_shard_level_metrics), true,
        request->dry_run};
    change_monitoring(call, &address, &wish);
}

void ks_op_disable_enhanced_monitoring(struct ks_call *call, const ProtobufCMessage *message)
{
    const Kstream__DisableEnhancedMonitoringRequest *request = (const void *)message;
    const struct ks_stream_address address = KS_STREAM_ADDRESS(request);
    const struct monitoring_wish wish = {
        metrics_of(request->shard_level_metrics, request->n_shard_level_metrics), false,
        request->dry_run};
    change_monitoring(call, &address, &wish);
}
