/* GetMetrics: what was counted of a stream or a shard, minute by minute, for periods. */
#include "daemon/ops.h"

#include <string.h>

#define MINUTE_MS 60000u
#define POINTS_MAX (KS_HISTORY_DAYS * 1440u) /* of one metric */
#define POINTS_OF_ALL_MAX 1440u              /* of each of all metrics */

struct metrics_work {
    uint64_t stream_number;
    uint32_t shard_index;
    uint64_t first_minute; /* of the first period */
    uint64_t period_minutes;
    uint32_t points;
    unsigned figure_first;
    unsigned figure_count;
    struct ks_figure_value *values; /* points of each figure */
};

static void take_row(void *arg, const struct ks_minute_row *row)
{
    const struct metrics_work *work = arg;
    if (row->stream_number != work->stream_number || row->shard_index != work->shard_index)
        return;
    uint64_t point = (row->minute - work->first_minute) / work->period_minutes;
    KS_ASSERT(point < work->points);
    for (unsigned i = 0; i < work->figure_count; i++)
        ks_figure_merge(
            &work->values[(size_t)i * work->points + point], &row->values[work->figure_first + i]);
}

static enum ks_status find_figures(
    const Kstream__GetMetricsRequest *request, struct metrics_work *work, struct ks_error *err)
{
    work->figure_count = KS_FIGURE_COUNT;
    if (!request->metric_name)
        return KS_OK;
    work->figure_count = 1;
    for (unsigned i = 0; i < KS_FIGURE_COUNT; i++) {
        work->figure_first = i;
        if (strcmp(ks_figures[i].name, request->metric_name) == 0)
            return KS_OK;
    }
    return ks_fail(err, KS_INVALID, 0, "there is no metric '%.64s'", request->metric_name);
}

static enum ks_status find_periods(
    const Kstream__GetMetricsRequest *request, struct metrics_work *work, struct ks_error *err)
{
    work->period_minutes = (uint64_t)request->period_s / 60;
    if (request->period_s % 60)
        return ks_fail(err, KS_INVALID, 0, "a period is of whole minutes: 60, 120, 300 seconds...");
    if (request->end_unix_ms <= request->start_unix_ms)
        return ks_fail(err, KS_INVALID, 0, "the end must be later than the start");
    uint64_t start = request->start_unix_ms / MINUTE_MS;
    uint64_t end = (request->end_unix_ms - 1) / MINUTE_MS + 1;
    work->first_minute = start - start % work->period_minutes;
    uint64_t points = (end - work->first_minute + work->period_minutes - 1) / work->period_minutes;
    uint64_t points_max = work->figure_count == 1 ? POINTS_MAX : POINTS_OF_ALL_MAX;
    if (points > points_max)
        return ks_fail(err, KS_INVALID, 0,
            "%llu periods are asked for, at most %llu of %s can be answered: take a shorter time, "
            "or a longer period",
            (unsigned long long)points, (unsigned long long)points_max,
            work->figure_count == 1 ? "a metric" : "all metrics");
    work->points = (uint32_t)points;
    return KS_OK;
}

static enum ks_status find_stream(struct ks_call *call, const Kstream__GetMetricsRequest *request,
    struct metrics_work *work, struct ks_error *err)
{
    const struct ks_stream_address address = KS_STREAM_ADDRESS(request);
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = NULL;
    const struct ks_shard *shard = NULL;
    enum ks_status st = ks_stream_resolve(call->server, &address, &stream, err);
    if (st)
        return st;
    work->stream_number = stream->number;
    work->shard_index = KS_MINUTES_WHOLE_STREAM;
    if (!request->shard_id)
        return KS_OK;
    st = ks_stream_shard_by_text(call->server, stream, request->shard_id, &shard, err);
    if (!st)
        work->shard_index = shard->index;
    return st;
}

/* NULL: out of memory. */
static Kstream__Metric *metric_message(
    struct ks_arena *arena, const struct metrics_work *work, unsigned number)
{
    const struct ks_figure_info *info = &ks_figures[work->figure_first + number];
    const struct ks_figure_value *values = &work->values[(size_t)number * work->points];
    Kstream__Metric *metric = ks_arena_alloc(arena, sizeof(*metric));
    size_t count = 0;
    for (uint32_t i = 0; i < work->points; i++)
        count += values[i].count > 0;
    Kstream__MetricDatapoint **points = ks_arena_alloc(arena, (count + 1) * sizeof(points[0]));
    Kstream__MetricDatapoint *points_memory =
        ks_arena_alloc(arena, (count + 1) * sizeof(points_memory[0]));
    if (!metric || !points || !points_memory)
        return NULL;
    kstream__metric__init(metric);
    metric->name = (char *)(uintptr_t)info->name;
    metric->unit = (char *)(uintptr_t)info->unit;
    metric->scale = info->scale;
    metric->datapoints = points;
    for (uint32_t i = 0; i < work->points; i++) {
        if (values[i].count == 0)
            continue;
        Kstream__MetricDatapoint *point = &points_memory[metric->n_datapoints];
        points[metric->n_datapoints++] = point;
        kstream__metric_datapoint__init(point);
        point->start_unix_ms = (work->first_minute + i * work->period_minutes) * MINUTE_MS;
        point->count = values[i].count;
        point->sum = values[i].sum;
        point->least = values[i].least;
        point->greatest = values[i].greatest;
    }
    return metric;
}

static const ProtobufCMessage *metrics_message(
    struct ks_arena *arena, const struct metrics_work *work)
{
    Kstream__GetMetricsResponse *response = ks_arena_alloc(arena, sizeof(*response));
    Kstream__Metric **metrics = ks_arena_alloc(arena, work->figure_count * sizeof(metrics[0]));
    if (!response || !metrics)
        return NULL;
    kstream__get_metrics_response__init(response);
    response->metrics = metrics;
    for (unsigned i = 0; i < work->figure_count; i++) {
        metrics[i] = metric_message(arena, work, i);
        if (!metrics[i])
            return NULL;
        response->n_metrics++;
    }
    return &response->base;
}

static const ProtobufCMessage *build_metrics(
    struct ks_call *call, const ProtobufCMessage *message, struct ks_error *err)
{
    const Kstream__GetMetricsRequest *request = (const void *)message;
    struct metrics_work work = {.figure_first = 0};
    enum ks_status st = find_figures(request, &work, err);
    if (!st)
        st = find_periods(request, &work, err);
    if (!st)
        st = find_stream(call, request, &work, err);
    if (st)
        return NULL;
    work.values = ks_arena_zalloc(
        &call->arena, (size_t)work.figure_count * work.points * sizeof(work.values[0]));
    if (!work.values)
        return NULL;
    const struct ks_history_range range = {.minute_first = work.first_minute,
        .minute_end = work.first_minute + work.points * work.period_minutes};
    if (ks_history_each(call->server->history, &range, take_row, &work, err))
        return NULL;
    return metrics_message(&call->arena, &work);
}

void ks_op_get_metrics(struct ks_call *call, const ProtobufCMessage *message)
{
    ks_call_build(call, message, build_metrics);
}
