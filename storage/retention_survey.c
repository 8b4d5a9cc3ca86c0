/* What a pass of the compactor would do, or what a change would cost, without doing it. */
#include "storage/retention_priv.h"

/* An iterator lives so long: whoever read lately may come back. */
#define READ_RECENT_NS 300000000000ULL

struct survey {
    const struct ks_compact_scope *scope;
    struct ks_compact_survey *out;
    uint64_t now_unix_ms;
    uint64_t now_mono_ns;
};

/* Log mutex held. What arrived before it would be gone. */
static uint64_t survey_horizon(const struct survey *survey, const struct ks_log *log)
{
    const struct ks_compact_scope *scope = survey->scope;
    uint64_t kept_ms = (uint64_t)scope->retention_hours * KS_HOUR_MS;
    uint64_t horizon = ks_log_horizon(log, survey->now_unix_ms);
    if (scope->is_everything)
        return UINT64_MAX;
    if (kept_ms > 0 && survey->now_unix_ms > kept_ms)
        horizon = ks_max_u64(horizon, survey->now_unix_ms - kept_ms);
    return horizon;
}

static uint64_t readers_of(const struct survey *survey, struct ks_segment *segment)
{
    KS_LOCK_SCOPE(&segment->mu);
    bool is_recent =
        segment->read_mono_ns > 0 && survey->now_mono_ns - segment->read_mono_ns < READ_RECENT_NS;
    return ks_max_u64(segment->map_pins, is_recent);
}

/* Log mutex held. Segments that would go whole. */
static void survey_segments(const struct survey *survey, const struct ks_log *log, uint64_t horizon)
{
    struct ks_compact_survey *out = survey->out;
    for (uint32_t i = 0; i < log->segments.count; i++) {
        struct ks_segment *segment = log->segments.items[i];
        if (segment->batch_count == 0 || segment->last_arrival_unix_ms >= horizon)
            return;
        out->segments++;
        out->bytes += ks_segment_disk_bytes(segment);
        out->records += segment->last_sequence - segment->first_sequence + 1;
        out->readers_hit += readers_of(survey, segment);
        out->oldest_unix_ms = ks_min_u64(out->oldest_unix_ms, segment->first_arrival_unix_ms);
        out->newest_unix_ms = ks_max_u64(out->newest_unix_ms, segment->last_arrival_unix_ms);
    }
}

/* Records that can be read now and could not be then. What cannot be found out counts nothing. */
static uint64_t records_hidden(struct ks_log *log, uint64_t horizon)
{
    struct ks_log_bounds bounds;
    uint64_t first_now = 0;
    uint64_t first_then = 0;
    ks_log_bounds(log, &bounds);
    if (ks_log_find_time(log, 0, true, &first_now, NULL))
        return 0;
    if (horizon == UINT64_MAX)
        first_then = bounds.last_sequence + 1;
    else if (ks_log_find_time(log, horizon, true, &first_then, NULL))
        return 0;
    return first_then > first_now ? first_then - first_now : 0;
}

static void survey_log(void *arg, struct ks_log *log)
{
    const struct survey *survey = arg;
    uint64_t horizon = 0;
    {
        KS_LOCK_SCOPE(&log->mu);
        if (log->state == KS_LOG_DELETED)
            return;
        horizon = survey_horizon(survey, log);
        survey_segments(survey, log, horizon);
    }
    if (survey->scope->is_everything || survey->scope->retention_hours > 0)
        survey->out->records_hidden += records_hidden(log, horizon);
}

void ks_compact_survey(
    struct ks_engine *engine, const struct ks_compact_scope *scope, struct ks_compact_survey *out)
{
    *out = (struct ks_compact_survey){.oldest_unix_ms = UINT64_MAX};
    struct survey survey = {.scope = scope,
        .out = out,
        .now_unix_ms = ks_engine_retention_unix_ms(engine),
        .now_mono_ns = ks_clock_mono_ns(engine->options.clock)};
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = NULL;
    if (scope->stream_number == 0)
        ks_registry_each_log(engine->registry, survey_log, &survey);
    else if (ks_registry_find_number(engine, scope->stream_number, &stream) == KS_OK)
        for (uint32_t i = 0; i < stream->shard_count; i++)
            survey_log(&survey, stream->shards[i].log);
    if (out->oldest_unix_ms == UINT64_MAX)
        out->oldest_unix_ms = 0;
}
