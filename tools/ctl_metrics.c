/* get-metrics: what the broker has counted, under the names and in the form of CloudWatch. */
#include "base/clock.h"
#include "proto/sequence.h"
#include "tools/ctl_native.h"
#include "tools/ctl_time.h"

#include <stdlib.h>
#include <string.h>

#define HOUR_MS 3600000u
#define MINUTE_S 60u
#define PERIOD_S_MAX (14u * 86400u)

enum statistic { STAT_COUNT, STAT_SUM, STAT_AVERAGE, STAT_MINIMUM, STAT_MAXIMUM, STATISTICS };
static const char *const statistic_names[STATISTICS] = {
    "SampleCount", "Sum", "Average", "Minimum", "Maximum"};

struct question {
    Kstream__GetMetricsRequest request;
    char shard_id[KS_SHARD_ID_TEXT_BYTES];
    bool wants[STATISTICS];
};

/* ---- the question ---- */

static enum kstream_status read_time(struct ctl *ctl, enum ctl_option_id option, uint64_t otherwise,
    uint64_t *out_unix_ms, struct kstream_error *err)
{
    struct ks_error inner = KS_ERROR_INIT;
    const char *text = ctl_text(ctl, option);
    *out_unix_ms = otherwise;
    if (!text)
        return KSTREAM_OK;
    return ctl_fail_from(err,
        ctl_time_from_text(text, ks_clock_unix_ms(&ks_clock_system), out_unix_ms, &inner), &inner);
}

/* "Sum Average", each word may also hold several with commas between. */
static enum kstream_status read_statistics(
    const struct ctl *ctl, struct question *question, struct kstream_error *err)
{
    const char *item = NULL;
    for (int i = 0; i < STATISTICS; i++)
        question->wants[i] = !ctl_has(ctl, CTL_STATISTICS);
    for (size_t n = 0; (item = ctl_args_item(&ctl->args, CTL_STATISTICS, n)); n++) {
        int found = 0;
        while (found < STATISTICS && strcmp(item, statistic_names[found]) != 0)
            found++;
        if (found == STATISTICS)
            return ctl_fail(err, KSTREAM_USAGE,
                "'--statistics %.40s': SampleCount, Sum, Average, Minimum or Maximum is needed",
                item);
        question->wants[found] = true;
    }
    return KSTREAM_OK;
}

/* Without a metric's name all of them are told, and unless said otherwise as one period each. */
static enum kstream_status read_period(
    const struct ctl *ctl, struct question *question, struct kstream_error *err)
{
    Kstream__GetMetricsRequest *request = &question->request;
    uint64_t whole_s = (request->end_unix_ms - request->start_unix_ms) / 1000;
    uint64_t period_s = MINUTE_S;
    /* A period more than the time: it may not begin at one of its multiples. */
    if (!request->metric_name)
        period_s = KS_MIN((whole_s / MINUTE_S + 1) * MINUTE_S, PERIOD_S_MAX);
    enum kstream_status st = ctl_number(
        ctl, CTL_PERIOD, (struct ctl_range){MINUTE_S, PERIOD_S_MAX, period_s}, &period_s, err);
    request->has_period_s = true;
    request->period_s = (int32_t)period_s;
    if (!st && period_s % MINUTE_S)
        st = ctl_fail(err, KSTREAM_USAGE, "'--period %llu': a multiple of 60 is needed",
            (unsigned long long)period_s);
    return st;
}

static enum kstream_status read_question(
    struct ctl *ctl, struct question *question, struct kstream_error *err)
{
    Kstream__GetMetricsRequest *request = &question->request;
    kstream__get_metrics_request__init(request);
    uint64_t now = ks_clock_unix_ms(&ks_clock_system);
    const char *shard = ctl_text(ctl, CTL_SHARD_ID);
    request->metric_name = (char *)(uintptr_t)ctl_text(ctl, CTL_METRIC_NAME);
    if (shard) {
        ctl_shard_id_text(shard, question->shard_id);
        request->shard_id = question->shard_id;
    }
    /* The running minute too. */
    enum kstream_status st = read_time(ctl, CTL_END_TIME, now + 1, &request->end_unix_ms, err);
    if (!st)
        st = read_time(ctl, CTL_START_TIME,
            request->end_unix_ms > HOUR_MS ? request->end_unix_ms - HOUR_MS : 0,
            &request->start_unix_ms, err);
    request->has_end_unix_ms = true;
    request->has_start_unix_ms = true;
    if (!st && request->start_unix_ms >= request->end_unix_ms)
        st = ctl_fail(err, KSTREAM_USAGE, "'--start-time' must be before '--end-time'");
    if (!st)
        st = read_period(ctl, question, err);
    return st ? st : read_statistics(ctl, question, err);
}

/* ---- the answer ---- */

static json_t *number_to_json(uint64_t value, uint32_t scale)
{
    if (value % scale == 0)
        return json_integer((json_int_t)(value / scale));
    return json_real((double)value / scale);
}

static json_t *statistic_to_json(
    enum statistic statistic, const Kstream__MetricDatapoint *point, uint32_t scale)
{
    switch (statistic) {
    case STAT_COUNT:
        return json_integer((json_int_t)point->count);
    case STAT_SUM:
        return number_to_json(point->sum, scale);
    case STAT_AVERAGE:
        return json_real((double)point->sum / (double)point->count / scale);
    case STAT_MINIMUM:
        return number_to_json(point->least, scale);
    case STAT_MAXIMUM:
        return number_to_json(point->greatest, scale);
    case STATISTICS:
        break;
    }
    return NULL;
}

/* NULL: out of memory. */
static json_t *point_to_json(const struct question *question, const Kstream__Metric *metric,
    const Kstream__MetricDatapoint *point)
{
    json_t *object = json_object();
    bool is_fine = question->request.metric_name ||
                   ctl_json_add(object, "MetricName", ctl_json_text(metric->name));
    is_fine = is_fine && ctl_json_add(object, "Timestamp", ctl_json_time(point->start_unix_ms));
    for (int i = 0; i < STATISTICS && is_fine; i++)
        if (question->wants[i])
            is_fine = ctl_json_add(object, statistic_names[i],
                statistic_to_json((enum statistic)i, point, metric->scale));
    if (is_fine && ctl_json_add(object, "Unit", ctl_json_text(metric->unit)))
        return object;
    json_decref(object);
    return NULL;
}

static enum kstream_status give(struct ctl *ctl, const struct question *question,
    const Kstream__GetMetricsResponse *answer, struct kstream_error *err)
{
    json_t *points = json_array();
    bool is_fine = points != NULL;
    for (size_t i = 0; i < answer->n_metrics; i++) {
        const Kstream__Metric *metric = answer->metrics[i];
        for (size_t k = 0; k < metric->n_datapoints && is_fine; k++) {
            json_t *point = metric->datapoints[k]->count > 0 && metric->scale > 0
                                ? point_to_json(question, metric, metric->datapoints[k])
                                : NULL;
            is_fine = point && json_array_append_new(points, point) == 0;
        }
    }
    ctl->list_member = "Datapoints";
    ctl->result = json_object();
    is_fine =
        is_fine &&
        (!question->request.metric_name ||
            ctl_json_add(ctl->result, "Label", ctl_json_text(question->request.metric_name))) &&
        ctl_json_add(ctl->result, "Datapoints", json_incref(points));
    json_decref(points);
    return is_fine ? KSTREAM_OK : ctl_fail(err, KSTREAM_NO_MEMORY, "out of memory");
}

enum kstream_status ctl_run_get_metrics(struct ctl *ctl, struct kstream_error *err)
{
    struct question question;
    ProtobufCMessage *message = NULL;
    struct ks_arena arena;
    enum kstream_status st = read_question(ctl, &question, err);
    if (!st)
        st = ctl_connect(ctl, err);
    if (st)
        return st;
    ctl_name_stream(ctl, &question.request.stream_name, &question.request.stream_arn);
    ks_arena_init(&arena, CTL_ANSWER_BYTES_MAX);
    st = ctl_call(ctl, KS_OP_GET_METRICS, &question.request.base, &arena, &message, err);
    if (!st)
        st = give(ctl, &question, (const void *)message, err);
    ks_arena_fini(&arena);
    return st;
}
