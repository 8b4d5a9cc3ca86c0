/* The verbs about how long records stay: retention periods, and streams deleted but kept. */
#include "tools/ctl_retention.h"

#include "proto/limits.h"
#include "tools/ctl_dry_run.h"
#include "tools/ctl_survey.h"

#include <inttypes.h>
#include <string.h>

#define HOUR_S 3600u
/* The default of limits.max_retention_hours. */
#define HOURS_UNASKED_MAX 168u

static enum kstream_status fail_memory(struct kstream_error *err)
{
    return ctl_fail(err, KSTREAM_NO_MEMORY, "out of memory");
}

static struct kstream_call_options call_options(const struct ctl *ctl)
{
    return (struct kstream_call_options){
        .size = sizeof(struct kstream_call_options), .timeout_ms = ctl->timeout_ms};
}

/* ---- delete, restore ---- */

enum kstream_status ctl_delete_later(struct ctl *ctl, struct kstream_error *err)
{
    const struct kstream_call_options options = call_options(ctl);
    enum kstream_status st = kstream_delete_stream_later(ctl->client, ctl->stream, &options, err);
    if (st)
        return st;
    ctl->result =
        json_pack("{s:s, s:s}", "StreamName", ctl->stream_name, "StreamStatus", "DELETING");
    /* Until when is good to know, and no reason to fail. */
    struct kstream_stream *about = NULL;
    struct kstream_error ignored = KSTREAM_ERROR_INIT;
    if (ctl->result &&
        kstream_describe_stream_summary(ctl->client, ctl->stream, &options, &about, &ignored) ==
            KSTREAM_OK &&
        about->purge_unix_ms > 0 &&
        !ctl_json_add(ctl->result, "PurgeTimestamp", ctl_json_time(about->purge_unix_ms)))
        st = fail_memory(err);
    kstream_stream_free(about);
    return ctl->result ? st : fail_memory(err);
}

static enum kstream_status restore_dry(struct ctl *ctl, struct kstream_error *err)
{
    struct kstream_stream *about = NULL;
    enum kstream_status st =
        kstream_describe_stream_summary(ctl->client, ctl->stream, NULL, &about, err);
    if (st)
        return ctl_would_not(ctl, st);
    if (about->purge_unix_ms == 0)
        st = ctl_would_not(ctl, ctl_fail(err, KSTREAM_IN_USE, "stream '%.128s' is %s, not deleted",
                                    about->stream_name, about->stream_status));
    else
        st = ctl_would(ctl, err, "restore stream '%s'", about->stream_name);
    kstream_stream_free(about);
    return st;
}

enum kstream_status ctl_run_restore_stream(struct ctl *ctl, struct kstream_error *err)
{
    const struct kstream_call_options options = call_options(ctl);
    enum kstream_status st = ctl_connect(ctl, err);
    if (!st && ctl_is_dry_run(ctl))
        return restore_dry(ctl, err);
    if (!st)
        st = kstream_restore_stream(ctl->client, ctl->stream, &options, err);
    if (st)
        return st;
    ctl->result = json_pack("{s:s, s:s}", "StreamName", ctl->stream_name, "StreamStatus", "ACTIVE");
    return ctl->result ? KSTREAM_OK : fail_memory(err);
}

/* ---- the retention ---- */

/* One of the two options, in hours. */
static enum kstream_status wanted_hours(
    struct ctl *ctl, uint32_t *out_hours, struct kstream_error *err)
{
    bool has_hours = ctl_has(ctl, CTL_RETENTION_HOURS);
    bool has_seconds = ctl_has(ctl, CTL_RETENTION_SECONDS);
    uint64_t value = 0;
    if (has_hours == has_seconds)
        return ctl_fail(err, KSTREAM_USAGE,
            has_hours ? "--retention-period-hours and --retention-period-seconds exclude each other"
                      : "--retention-period-hours or --retention-period-seconds is needed");
    const struct ctl_range hours = {KS_RETENTION_HOURS_MIN, KS_RETENTION_HOURS_CAP, 0};
    const struct ctl_range seconds = {
        KS_RETENTION_HOURS_MIN * HOUR_S, KS_RETENTION_HOURS_CAP * HOUR_S, 0};
    enum kstream_status st = has_hours
                                 ? ctl_number(ctl, CTL_RETENTION_HOURS, hours, &value, err)
                                 : ctl_number(ctl, CTL_RETENTION_SECONDS, seconds, &value, err);
    if (st)
        return st;
    if (has_seconds && value % HOUR_S != 0)
        return ctl_fail(err, KSTREAM_USAGE,
            "--retention-period-seconds %" PRIu64 ": whole hours are needed, so %" PRIu64
            " or %" PRIu64,
            value, value - value % HOUR_S, value - value % HOUR_S + HOUR_S);
    *out_hours = (uint32_t)(has_hours ? value : value / HOUR_S);
    return KSTREAM_OK;
}

static enum kstream_status give_retention(
    struct ctl *ctl, uint32_t hours, struct kstream_error *err)
{
    ctl->result = json_pack(
        "{s:s, s:I}", "StreamName", ctl->stream_name, "RetentionPeriodHours", (json_int_t)hours);
    return ctl->result ? KSTREAM_OK : fail_memory(err);
}

/* What the broker would say of the change, but for its ceiling, which it alone knows. */
static enum kstream_status change_dry(
    struct ctl *ctl, uint32_t hours, bool is_increase, struct kstream_error *err)
{
    struct kstream_stream *about = NULL;
    struct kstream_compact_info info;
    enum kstream_status st =
        kstream_describe_stream_summary(ctl->client, ctl->stream, NULL, &about, err);
    if (st)
        return ctl_would_not(ctl, st);
    uint32_t has = about->retention_period_hours;
    if (about->purge_unix_ms > 0)
        st = ctl_fail(err, KSTREAM_IN_USE, "stream '%.128s' is DELETING", about->stream_name);
    else if (is_increase ? hours < has : hours > has)
        st = ctl_fail(err, KSTREAM_INVALID,
            "stream '%.128s' keeps its records for %u hours already", about->stream_name, has);
    kstream_stream_free(about);
    if (st)
        return ctl_would_not(ctl, st);
    st = ctl_survey(ctl, hours, &info, err);
    if (!st)
        st = ctl_would(ctl, err, "keep the records of '%s' for %u hours instead of %u",
            ctl->stream_name, hours, has);
    return st ? st : ctl_survey_give(ctl, &info, err);
}

enum kstream_status ctl_run_increase_retention(struct ctl *ctl, struct kstream_error *err)
{
    const struct kstream_call_options options = call_options(ctl);
    uint32_t hours = 0;
    enum kstream_status st = wanted_hours(ctl, &hours, err);
    if (!st)
        st = ctl_connect(ctl, err);
    if (!st && ctl_is_dry_run(ctl))
        return change_dry(ctl, hours, true, err);
    if (!st)
        st = kstream_increase_retention(ctl->client, ctl->stream, hours, &options, err);
    if (st == KSTREAM_INVALID && hours > HOURS_UNASKED_MAX)
        ctl->hint = "168 hours (604800 seconds) at most, unless kstreamd was started with a larger "
                    "--max-retention-hours";
    return st ? st : give_retention(ctl, hours, err);
}

/* What a decrease hides is gone for good, so it asks like a delete, but only if there is something.
 */
static enum kstream_status confirm_decrease(
    struct ctl *ctl, uint32_t hours, struct kstream_error *err)
{
    struct kstream_compact_info info;
    enum kstream_status st = ctl_survey(ctl, hours, &info, err);
    if (st || info.records_hidden == 0)
        return st;
    char what[64];
    snprintf(what, sizeof what, "%" PRIu64 " records", info.records_hidden);
    return ctl_confirm(ctl, what, ctl->stream_name, err);
}

enum kstream_status ctl_run_decrease_retention(struct ctl *ctl, struct kstream_error *err)
{
    const struct kstream_call_options options = call_options(ctl);
    uint32_t hours = 0;
    enum kstream_status st = wanted_hours(ctl, &hours, err);
    if (!st)
        st = ctl_connect(ctl, err);
    if (!st && ctl_is_dry_run(ctl))
        return change_dry(ctl, hours, false, err);
    if (!st)
        st = confirm_decrease(ctl, hours, err);
    if (!st)
        st = kstream_decrease_retention(ctl->client, ctl->stream, hours, &options, err);
    return st ? st : give_retention(ctl, hours, err);
}
