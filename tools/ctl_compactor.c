/* The compactor: what it would clear away, what it has, and a pass at once. */
#include "tools/ctl_dry_run.h"
#include "tools/ctl_survey.h"

static enum kstream_status fail_memory(struct kstream_error *err)
{
    return ctl_fail(err, KSTREAM_NO_MEMORY, "out of memory");
}

/* ---- surveys ---- */

json_t *ctl_time_or_null(uint64_t unix_ms)
{
    return unix_ms > 0 ? ctl_json_time(unix_ms) : json_null();
}

json_t *ctl_number_to_json(uint64_t value)
{
    return json_integer((json_int_t)value);
}

json_t *ctl_survey_to_json(const struct kstream_compact_info *info)
{
    json_t *object = json_object();
    bool is_fine =
        ctl_json_add(object, "Segments", ctl_number_to_json(info->segments)) &&
        ctl_json_add(object, "Bytes", ctl_number_to_json(info->bytes)) &&
        ctl_json_add(object, "Records", ctl_number_to_json(info->records)) &&
        ctl_json_add(object, "OldestTimestamp", ctl_time_or_null(info->oldest_unix_ms)) &&
        ctl_json_add(object, "NewestTimestamp", ctl_time_or_null(info->newest_unix_ms)) &&
        ctl_json_add(object, "RecordsHidden", ctl_number_to_json(info->records_hidden)) &&
        ctl_json_add(object, "ReadersHit", ctl_number_to_json(info->readers_hit));
    if (is_fine)
        return object;
    json_decref(object);
    return NULL;
}

enum kstream_status ctl_survey(
    struct ctl *ctl, uint32_t hours, struct kstream_compact_info *info, struct kstream_error *err)
{
    struct kstream_compact_options options = KSTREAM_COMPACT_OPTIONS_INIT;
    options.timeout_ms = ctl->timeout_ms;
    options.dry_run = 1;
    options.stream = ctl->stream;
    options.retention_hours = hours;
    options.purge = hours == 0;
    *info = (struct kstream_compact_info)KSTREAM_COMPACT_INFO_INIT;
    return kstream_compact(ctl->client, &options, info, err);
}

enum kstream_status ctl_survey_give(
    struct ctl *ctl, const struct kstream_compact_info *info, struct kstream_error *err)
{
    return ctl_json_add(ctl->result, "WouldGo", ctl_survey_to_json(info)) ? KSTREAM_OK
                                                                          : fail_memory(err);
}

/* ---- the compactor ---- */

static struct kstream_call_options call_options(const struct ctl *ctl)
{
    return (struct kstream_call_options){
        .size = sizeof(struct kstream_call_options), .timeout_ms = ctl->timeout_ms};
}

static json_t *run_to_json(const struct kstream_compactor_info *info)
{
    if (info->run_started_unix_ms == 0)
        return json_null();
    return json_pack("{s:o, s:o, s:I, s:I, s:I}", "StartTimestamp",
        ctl_json_time(info->run_started_unix_ms), "EndTimestamp",
        ctl_time_or_null(info->run_ended_unix_ms), "Segments", (json_int_t)info->run_segments,
        "Bytes", (json_int_t)info->run_bytes, "Records", (json_int_t)info->run_records);
}

static json_t *totals_to_json(const struct kstream_compactor_info *info)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "Segments",
        (json_int_t)info->segments_retired, "Bytes", (json_int_t)info->bytes_retired, "Records",
        (json_int_t)info->records_retired, "SegmentsSealedByAge", (json_int_t)info->segments_sealed,
        "StreamsPurged", (json_int_t)info->streams_purged, "ShardsRemoved",
        (json_int_t)info->shards_removed, "CommitsRefused", (json_int_t)info->commits_refused);
}

static json_t *scrub_to_json(const struct kstream_compactor_info *info)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "Passes",
        (json_int_t)info->scrub_passes, "Segments", (json_int_t)info->scrub_segments, "Bytes",
        (json_int_t)info->scrub_bytes, "DamagedSegments", (json_int_t)info->scrub_damaged_segments,
        "DamagedBatches", (json_int_t)info->scrub_damaged_batches, "DamagedRecords",
        (json_int_t)info->scrub_damaged_records, "LastPassTimestamp",
        ctl_time_or_null(info->scrub_last_pass_unix_ms), "NextPassTimestamp",
        ctl_time_or_null(info->scrub_next_pass_unix_ms));
}

enum kstream_status ctl_run_describe_compactor(struct ctl *ctl, struct kstream_error *err)
{
    const struct kstream_call_options options = call_options(ctl);
    struct kstream_compactor_info info = KSTREAM_COMPACTOR_INFO_INIT;
    enum kstream_status st = ctl_connect(ctl, err);
    if (!st)
        st = kstream_describe_compactor(ctl->client, &options, &info, err);
    if (st)
        return st;
    const char *status = info.is_retention_held ? "HELD" : info.is_running ? "RUNNING" : "IDLE";
    json_t *object = json_object();
    if (ctl_json_add(object, "Status", ctl_json_text(status)) &&
        (!info.is_retention_held ||
            ctl_json_add(object, "WhyHeld", ctl_json_text(info.why_held))) &&
        ctl_json_add(object, "NextDueTimestamp", ctl_time_or_null(info.next_due_unix_ms)) &&
        ctl_json_add(object, "LastRun", run_to_json(&info)) &&
        ctl_json_add(object, "SinceStart", totals_to_json(&info)) &&
        ctl_json_add(object, "HeldByReaders",
            json_pack("{s:I, s:I}", "Segments", (json_int_t)info.segments_held, "Bytes",
                (json_int_t)info.bytes_held)) &&
        ctl_json_add(object, "FilesReady", ctl_number_to_json(info.files_ready)) &&
        ctl_json_add(object, "Scrubber", scrub_to_json(&info)))
        ctl->result = json_incref(object);
    json_decref(object);
    return ctl->result ? KSTREAM_OK : fail_memory(err);
}

enum kstream_status ctl_run_compact(struct ctl *ctl, struct kstream_error *err)
{
    struct kstream_compact_options options = KSTREAM_COMPACT_OPTIONS_INIT;
    struct kstream_compact_info info = KSTREAM_COMPACT_INFO_INIT;
    options.timeout_ms = ctl->timeout_ms;
    options.dry_run = ctl_is_dry_run(ctl);
    options.stream = ctl->stream;
    if (options.stream && !options.dry_run)
        return ctl_fail(err, KSTREAM_USAGE,
            "--stream-name goes with --dry-run: the compactor works on all streams");
    enum kstream_status st = ctl_connect(ctl, err);
    if (!st)
        st = kstream_compact(ctl->client, &options, &info, err);
    if (st)
        return options.dry_run ? ctl_would_not(ctl, st) : st;
    if (!options.dry_run) {
        ctl->result = json_pack("{s:o}", "Gone", ctl_survey_to_json(&info));
        return ctl->result ? KSTREAM_OK : fail_memory(err);
    }
    st = ctl_would(ctl, err, "clear away %llu segments", (unsigned long long)info.segments);
    return st ? st : ctl_survey_give(ctl, &info, err);
}
