/* The verbs about settings of streams, and the account. */
#include "tools/ctl_dry_run.h"
#include "tools/ctl_param.h"
#include "tools/ctl_tags.h"

#include <string.h>

static enum kstream_status fail_memory(struct kstream_error *err)
{
    return ctl_fail(err, KSTREAM_NO_MEMORY, "out of memory");
}

/* ---- numbers ---- */

enum kstream_status ctl_run_update_record_size(struct ctl *ctl, struct kstream_error *err)
{
    struct kstream_setting_options options;
    uint64_t kib = 0;
    enum kstream_status st = ctl_number(ctl, CTL_MAX_RECORD_KIB,
        (struct ctl_range){KS_RECORD_KIB_MIN, KS_RECORD_KIB_MAX, 0}, &kib, err);
    if (!st)
        st = ctl_setting_begin(ctl, &options, err);
    if (st)
        return st;
    st = kstream_update_max_record_size(ctl->client, ctl->stream, (uint32_t)kib, &options, err);
    if (options.dry_run)
        return st ? ctl_would_not(ctl, st)
                  : ctl_would(ctl, err, "let records of '%s' have up to %u KiB", ctl->stream_name,
                        (unsigned)kib);
    if (st)
        return st;
    ctl->result = json_pack(
        "{s:s, s:I}", "StreamName", ctl->stream_name, "MaxRecordSizeInKiB", (json_int_t)kib);
    return ctl->result ? KSTREAM_OK : fail_memory(err);
}

enum kstream_status ctl_run_update_warm(struct ctl *ctl, struct kstream_error *err)
{
    struct kstream_setting_options options;
    struct kstream_warm_throughput info = KSTREAM_WARM_THROUGHPUT_INIT;
    uint64_t mibps = 0;
    enum kstream_status st = ctl_number(
        ctl, CTL_WARM_MIBPS, (struct ctl_range){0, KS_SHARDS_PER_STREAM_MAX, 0}, &mibps, err);
    if (!st)
        st = ctl_setting_begin(ctl, &options, err);
    if (st)
        return st;
    st = kstream_update_warm_throughput(
        ctl->client, ctl->stream, (uint32_t)mibps, &options, &info, err);
    if (options.dry_run)
        return st ? ctl_would_not(ctl, st)
                  : ctl_would(ctl, err, "keep '%s' at %u shards or more; it has enough for %u",
                        ctl->stream_name, (unsigned)mibps, (unsigned)info.current_mibps);
    if (st)
        return st;
    ctl->result = json_pack("{s:s, s:{s:I, s:I}}", "StreamName", ctl->stream_name, "WarmThroughput",
        "TargetMiBps", (json_int_t)info.target_mibps, "CurrentMiBps",
        (json_int_t)info.current_mibps);
    return ctl->result ? KSTREAM_OK : fail_memory(err);
}

/* ---- monitoring ---- */

static enum kstream_status change_monitoring(struct ctl *ctl, bool is_on, struct kstream_error *err)
{
    KS_CLEANUP(ctl_words_fini) struct ctl_words names = {.count = 0};
    struct kstream_setting_options options;
    struct kstream_shard_metrics info = KSTREAM_SHARD_METRICS_INIT;
    enum kstream_status st = ctl_words_read(ctl, CTL_SHARD_METRICS, &names, err);
    if (!st)
        st = ctl_setting_begin(ctl, &options, err);
    if (st)
        return st;
    st = (is_on ? kstream_enable_shard_metrics : kstream_disable_shard_metrics)(
        ctl->client, ctl->stream, names.list, names.count, &options, &info, err);
    if (options.dry_run)
        return st ? ctl_would_not(ctl, st)
                  : ctl_would(ctl, err, "have %zu metrics of each shard of '%s' instead of %zu",
                        info.after_count, ctl->stream_name, info.before_count);
    if (st)
        return st;
    ctl->result = json_pack("{s:s, s:o, s:o}", "StreamName", ctl->stream_name,
        "CurrentShardLevelMetrics", ctl_json_texts(info.before, info.before_count),
        "DesiredShardLevelMetrics", ctl_json_texts(info.after, info.after_count));
    return ctl->result ? KSTREAM_OK : fail_memory(err);
}

enum kstream_status ctl_run_enable_monitoring(struct ctl *ctl, struct kstream_error *err)
{
    return change_monitoring(ctl, true, err);
}

enum kstream_status ctl_run_disable_monitoring(struct ctl *ctl, struct kstream_error *err)
{
    return change_monitoring(ctl, false, err);
}

/* ---- the account ---- */

enum kstream_status ctl_run_describe_limits(struct ctl *ctl, struct kstream_error *err)
{
    struct kstream_call_options options = KSTREAM_CALL_OPTIONS_INIT;
    struct kstream_limits_info info = KSTREAM_LIMITS_INFO_INIT;
    enum kstream_status st = ctl_connect(ctl, err);
    options.timeout_ms = ctl->timeout_ms;
    if (!st)
        st = kstream_describe_limits(ctl->client, &options, &info, err);
    if (st)
        return st;
    ctl->result = json_pack("{s:I, s:I, s:I, s:I}", "ShardLimit", (json_int_t)info.shard_limit,
        "OpenShardCount", (json_int_t)info.open_shard_count, "OnDemandStreamCount",
        (json_int_t)info.on_demand_stream_count, "OnDemandStreamCountLimit",
        (json_int_t)info.on_demand_stream_limit);
    return ctl->result ? KSTREAM_OK : fail_memory(err);
}

static enum kstream_status give_account(
    struct ctl *ctl, const struct kstream_account_info *info, struct kstream_error *err)
{
    json_t *commitment = json_object();
    bool is_fine = ctl_json_add(commitment, "Status", ctl_json_text(info->commitment_status));
    if (is_fine && info->commitment_started_unix_ms)
        is_fine =
            ctl_json_add(commitment, "StartedAt", ctl_json_time(info->commitment_started_unix_ms));
    if (is_fine && info->commitment_ended_unix_ms)
        is_fine =
            ctl_json_add(commitment, "EndedAt", ctl_json_time(info->commitment_ended_unix_ms));
    if (is_fine && info->commitment_earliest_end_unix_ms)
        is_fine = ctl_json_add(commitment, "EarliestAllowedEndAt",
            ctl_json_time(info->commitment_earliest_end_unix_ms));
    ctl->result = json_object();
    is_fine =
        ctl_json_add(ctl->result, "MinimumThroughputBillingCommitment", commitment) && is_fine;
    return is_fine ? KSTREAM_OK : fail_memory(err);
}

enum kstream_status ctl_run_describe_account(struct ctl *ctl, struct kstream_error *err)
{
    struct kstream_call_options options = KSTREAM_CALL_OPTIONS_INIT;
    struct kstream_account_info info = KSTREAM_ACCOUNT_INFO_INIT;
    enum kstream_status st = ctl_connect(ctl, err);
    options.timeout_ms = ctl->timeout_ms;
    if (!st)
        st = kstream_describe_account(ctl->client, &options, &info, err);
    return st ? st : give_account(ctl, &info, err);
}

/* Status=ENABLED or the object. */
static enum kstream_status wanted_status(
    const struct ctl *ctl, char *out, size_t bytes, struct kstream_error *err)
{
    struct ks_error inner = KS_ERROR_INIT;
    json_t *value = NULL;
    enum ks_status st = ctl_param_structure(
        ctl_option_name(CTL_COMMITMENT), ctl_text(ctl, CTL_COMMITMENT), &value, &inner);
    if (st)
        return ctl_fail_from(err, st, &inner);
    const char *status = json_string_value(json_object_get(value, "Status"));
    bool is_known = status && json_object_size(value) == 1 && strlen(status) < bytes;
    if (is_known)
        strcpy(out, status);
    json_decref(value);
    return is_known ? KSTREAM_OK
                    : ctl_fail(err, KSTREAM_USAGE, "'--%s': Status=ENABLED or DISABLED is needed",
                          ctl_option_name(CTL_COMMITMENT));
}

enum kstream_status ctl_run_update_account(struct ctl *ctl, struct kstream_error *err)
{
    struct kstream_setting_options options;
    struct kstream_account_info info = KSTREAM_ACCOUNT_INFO_INIT;
    char status[32] = "";
    enum kstream_status st = wanted_status(ctl, status, sizeof status, err);
    if (!st)
        st = ctl_setting_begin(ctl, &options, err);
    if (st)
        return st;
    st = kstream_update_account(ctl->client, status, &options, &info, err);
    if (options.dry_run)
        return st ? ctl_would_not(ctl, st)
                  : ctl_would(ctl, err, "make the commitment %s", info.commitment_status);
    return st ? st : give_account(ctl, &info, err);
}
