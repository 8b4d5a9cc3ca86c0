#include "tools/ctl_top.h"

#include "base/alloc.h"
#include "tools/ctl_json.h"
#include "tools/ctl_time.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHARDS_SHOWN 5u
#define HEAD_ROWS 4u
#define P99 0.99
#define BOLD "\033[1m"
#define INVERSE "\033[7m"
#define RED "\033[31m"
#define PLAIN "\033[0m"
#define LAG_MS_BAD 60000

/* ---- rates ---- */

static double rounded(double value)
{
    return round(value * 10) / 10;
}

/* Counters that went back are those of another run: they count from zero. */
static uint64_t more(uint64_t before, uint64_t now)
{
    return now >= before ? now - before : now;
}

static int by_name(const void *a, const void *b)
{
    const Kstream__LoadStream *left = *(Kstream__LoadStream *const *)a;
    const Kstream__LoadStream *right = *(Kstream__LoadStream *const *)b;
    return strcmp(left->stream_name, right->stream_name);
}

struct times {
    const Kstream__DescribeLoadResponse *before; /* of the same run; NULL: since the start */
    const Kstream__DescribeLoadResponse *now;
    double seconds;
};

static struct times times_of(
    const Kstream__DescribeLoadResponse *before, const Kstream__DescribeLoadResponse *now)
{
    struct times times = {.before = before, .now = now};
    uint64_t ms = before ? now->mono_ms - before->mono_ms : now->uptime_ms;
    if (before && (now->uptime_ms < before->uptime_ms || now->mono_ms <= before->mono_ms)) {
        times.before = NULL;
        ms = now->uptime_ms;
    }
    times.seconds = (double)KS_MAX(ms, (uint64_t)1) / 1000;
    return times;
}

static json_t *stream_row(
    const struct times *times, const Kstream__LoadStream *was, const Kstream__LoadStream *is)
{
    double seconds = times->seconds;
    json_t *behind = is->has_behind_ms ? json_integer((json_int_t)is->behind_ms) : json_null();
    return json_pack("{s:s, s:i, s:f, s:f, s:f, s:f, s:o, s:f}", "stream_name", is->stream_name,
        "shards", (int)is->open_shards, "in_records_per_s",
        rounded((double)more(was ? was->incoming_records : 0, is->incoming_records) / seconds),
        "in_bytes_per_s",
        rounded((double)more(was ? was->incoming_bytes : 0, is->incoming_bytes) / seconds),
        "out_records_per_s",
        rounded((double)more(was ? was->outgoing_records : 0, is->outgoing_records) / seconds),
        "out_bytes_per_s",
        rounded((double)more(was ? was->outgoing_bytes : 0, is->outgoing_bytes) / seconds),
        "behind_ms", behind, "throttled_per_s",
        rounded((double)more(was ? was->throttled_records : 0, is->throttled_records) / seconds));
}

static enum ctl_top_order compared;

static int by_order(const void *a, const void *b)
{
    static const char *const members[] = {[CTL_TOP_BY_IN] = "in_bytes_per_s",
        [CTL_TOP_BY_OUT] = "out_bytes_per_s",
        [CTL_TOP_BY_LAG] = "behind_ms"};
    json_t *left = *(json_t *const *)a;
    json_t *right = *(json_t *const *)b;
    double by = 0;
    if (compared != CTL_TOP_BY_NAME)
        by = json_number_value(json_object_get(right, members[compared])) -
             json_number_value(json_object_get(left, members[compared]));
    if (by > 0 || by < 0)
        return by > 0 ? 1 : -1;
    return strcmp(json_string_value(json_object_get(left, "stream_name")),
        json_string_value(json_object_get(right, "stream_name")));
}

/* NULL: out of memory. */
static json_t *streams_of(const struct times *times, enum ctl_top_order order)
{
    size_t count = times->now->n_streams;
    json_t *list = json_array();
    KS_AUTO_FREE json_t **rows = ks_calloc(count + 1, sizeof(json_t *));
    if (!rows || !list) {
        json_decref(list);
        return NULL;
    }
    bool is_fine = true;
    size_t made = 0;
    for (; made < count && is_fine; made++) {
        Kstream__LoadStream *is = times->now->streams[made];
        /* The first answer's streams are sorted when it is taken. */
        Kstream__LoadStream **was =
            times->before ? bsearch(&is, times->before->streams, times->before->n_streams,
                                sizeof(Kstream__LoadStream *), by_name)
                          : NULL;
        rows[made] = stream_row(times, was ? *was : NULL, is);
        is_fine = rows[made] != NULL;
    }
    compared = order;
    if (is_fine)
        qsort(rows, count, sizeof(rows[0]), by_order);
    for (size_t i = 0; i < count; i++)
        if (!is_fine || json_array_append_new(list, KS_TAKE(rows[i])))
            is_fine = false;
    for (size_t i = 0; i < count; i++)
        json_decref(rows[i]);
    if (is_fine)
        return list;
    json_decref(list);
    return NULL;
}

static json_t *shards_of(const Kstream__DescribeLoadResponse *now)
{
    json_t *list = json_array();
    for (size_t i = 0; i < now->n_shards; i++) {
        const Kstream__LoadShard *shard = now->shards[i];
        json_t *row = json_pack("{s:s, s:s, s:f, s:f}", "stream_name", shard->stream_name,
            "shard_id", shard->shard_id, "records_per_s", rounded(shard->records_per_s),
            "bytes_per_s", rounded(shard->bytes_per_s));
        if (!row || json_array_append_new(list, row)) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

/* ---- syncs ---- */

static uint64_t syncs_in(const struct times *times, size_t bucket)
{
    bool has_before = times->before && bucket < times->before->n_sync_counts;
    return more(
        has_before ? times->before->sync_counts[bucket] : 0, times->now->sync_counts[bucket]);
}

/* The bound that so many of them keep; null: there was none. */
static json_t *sync_quantile_ms(const struct times *times, double quantile)
{
    const Kstream__DescribeLoadResponse *now = times->now;
    uint64_t all = 0;
    uint64_t seen = 0;
    for (size_t i = 0; i < now->n_sync_counts; i++)
        all += syncs_in(times, i);
    if (all == 0)
        return json_null();
    for (size_t i = 0; i < now->n_sync_counts && i < now->n_sync_bounds_ns; i++) {
        seen += syncs_in(times, i);
        if ((double)seen >= quantile * (double)all)
            return json_real((double)now->sync_bounds_ns[i] / 1e6);
    }
    return json_null(); /* longer than any bound */
}

static json_t *sync_average_ms(const struct times *times)
{
    uint64_t all = 0;
    for (size_t i = 0; i < times->now->n_sync_counts; i++)
        all += syncs_in(times, i);
    uint64_t sum = more(times->before ? times->before->sync_sum_ns : 0, times->now->sync_sum_ns);
    if (all == 0)
        return json_null();
    return json_real(round((double)sum / (double)all / 1e3) / 1e3);
}

static json_t *broker_of(const struct times *times)
{
    const Kstream__DescribeLoadResponse *now = times->now;
    const Kstream__DescribeLoadResponse *before = times->before;
    double requests = (double)more(before ? before->requests : 0, now->requests);
    double errors = (double)more(before ? before->errors : 0, now->errors);
    return json_pack("{s:f, s:I, s:f, s:f, s:i, s:o, s:o, s:I, s:I, s:i, s:I, s:I}", "seconds",
        times->seconds, "uptime_seconds", (json_int_t)(now->uptime_ms / 1000), "requests_per_s",
        rounded(requests / times->seconds), "errors_per_s", rounded(errors / times->seconds),
        "connections", (int)now->connections, "sync_average_ms", sync_average_ms(times),
        "sync_p99_ms", sync_quantile_ms(times, P99), "memory_bytes", (json_int_t)now->memory_bytes,
        "memory_limit_bytes", (json_int_t)now->memory_limit_bytes, "journal_used_percent",
        (int)now->journal_used_percent, "disk_free_bytes", (json_int_t)now->disk_free_bytes,
        "disk_total_bytes", (json_int_t)now->disk_total_bytes);
}

json_t *ctl_top_picture(const Kstream__DescribeLoadResponse *before,
    const Kstream__DescribeLoadResponse *now, enum ctl_top_order order)
{
    struct times times = times_of(before, now);
    if (before)
        qsort(before->streams, before->n_streams, sizeof(before->streams[0]), by_name);
    return json_pack("{s:o, s:o, s:o}", "streams", streams_of(&times, order), "shards",
        shards_of(now), "broker", broker_of(&times));
}

/* ---- the screen ---- */

struct drawing {
    const struct ctl_top_screen *screen;
    struct ks_buf *out;
    unsigned rows_left;
    bool is_full; /* out of memory */
};

/* A line, cut where the screen ends. style: "" or how it looks. */
static void line(struct drawing *drawing, const char *style, const char *format, ...)
    KS_PRINTF(3, 4);
static void line(struct drawing *drawing, const char *style, const char *format, ...)
{
    char text[512];
    va_list args;
    if (drawing->rows_left == 0)
        return;
    drawing->rows_left--;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (drawing->screen->columns < sizeof text)
        text[drawing->screen->columns] = '\0';
    bool is_styled = style[0] && drawing->screen->has_color;
    if (!ks_buf_printf(
            drawing->out, "%s%s%s\n", is_styled ? style : "", text, is_styled ? PLAIN : ""))
        drawing->is_full = true;
}

static double number_of(json_t *object, const char *name)
{
    return json_number_value(json_object_get(object, name));
}

struct text {
    char text[32];
};

static struct text size_of(double bytes)
{
    struct text size;
    ctl_size_to_text(bytes > 0 ? (uint64_t)bytes : 0, size.text, sizeof size.text);
    return size;
}

/* "-" where there was none. */
static struct text ms_of(json_t *value)
{
    struct text text = {"-"};
    double ms = json_number_value(value);
    if (json_is_null(value))
        return text;
    if (ms < 10000)
        snprintf(text.text, sizeof text.text, "%.*f ms", ms < 10 ? 2 : 0, ms);
    else
        snprintf(text.text, sizeof text.text, "%.0f s", ms / 1000);
    return text;
}

static void draw_head(struct drawing *drawing, json_t *picture)
{
    json_t *broker = json_object_get(picture, "broker");
    struct text sync = ms_of(json_object_get(broker, "sync_average_ms"));
    struct text p99 = ms_of(json_object_get(broker, "sync_p99_ms"));
    struct text memory = size_of(number_of(broker, "memory_bytes"));
    struct text memory_max = size_of(number_of(broker, "memory_limit_bytes"));
    struct text disk = size_of(number_of(broker, "disk_free_bytes"));
    struct text disk_max = size_of(number_of(broker, "disk_total_bytes"));
    line(drawing, BOLD, "kstream %s   up %.0f s   %.0f connections", drawing->screen->title,
        number_of(broker, "uptime_seconds"), number_of(broker, "connections"));
    line(drawing, "", "requests %.0f/s (%.1f/s failed)   sync %s on average, 99 %% within %s",
        number_of(broker, "requests_per_s"), number_of(broker, "errors_per_s"), sync.text,
        p99.text);
    line(drawing, "", "memory %s of %s   journal %.0f %%   disk %s of %s free", memory.text,
        memory_max.text, number_of(broker, "journal_used_percent"), disk.text, disk_max.text);
    line(drawing, RED, "%s", drawing->screen->notice);
}

static void draw_stream(struct drawing *drawing, json_t *row)
{
    json_t *behind = json_object_get(row, "behind_ms");
    struct text in = size_of(number_of(row, "in_bytes_per_s"));
    struct text out = size_of(number_of(row, "out_bytes_per_s"));
    struct text lag = ms_of(behind);
    bool is_bad = json_number_value(behind) >= LAG_MS_BAD || number_of(row, "throttled_per_s") > 0;
    line(drawing, is_bad ? RED : "", "%-28.28s %6.0f %10.1f %12s %10.1f %12s %10s %8.1f",
        json_string_value(json_object_get(row, "stream_name")), number_of(row, "shards"),
        number_of(row, "in_records_per_s"), in.text, number_of(row, "out_records_per_s"), out.text,
        lag.text, number_of(row, "throttled_per_s"));
}

static void draw_shards(struct drawing *drawing, json_t *shards)
{
    size_t count = KS_MIN(json_array_size(shards), (size_t)SHARDS_SHOWN);
    line(drawing, INVERSE, "%-28s %-20s %10s %12s", "HOTTEST SHARDS", "SHARD", "RECORDS/S",
        "BYTES/S");
    for (size_t i = 0; i < count; i++) {
        json_t *row = json_array_get(shards, i);
        struct text size = size_of(number_of(row, "bytes_per_s"));
        line(drawing, "", "%-28.28s %-20.20s %10.1f %12s",
            json_string_value(json_object_get(row, "stream_name")),
            json_string_value(json_object_get(row, "shard_id")), number_of(row, "records_per_s"),
            size.text);
    }
}

bool ctl_top_draw(json_t *picture, const struct ctl_top_screen *screen, struct ks_buf *out)
{
    struct drawing drawing = {.screen = screen, .out = out, .rows_left = screen->rows};
    json_t *streams = json_object_get(picture, "streams");
    json_t *shards = json_object_get(picture, "shards");
    size_t shard_rows =
        json_array_size(shards) > 0 ? KS_MIN(json_array_size(shards), (size_t)SHARDS_SHOWN) + 1 : 0;
    draw_head(&drawing, picture);
    line(&drawing, INVERSE, "%-28s %6s %10s %12s %10s %12s %10s %8s", "STREAM", "SHARDS",
        "IN REC/S", "IN B/S", "OUT REC/S", "OUT B/S", "BEHIND", "REFUSED");
    size_t count = json_array_size(streams);
    size_t room = drawing.rows_left > shard_rows + 1 ? drawing.rows_left - shard_rows - 1 : 0;
    for (size_t i = 0; i < count && i < room; i++)
        draw_stream(&drawing, json_array_get(streams, i));
    if (count > room)
        line(&drawing, "", "... and %zu more", count - room);
    if (shard_rows > 0)
        draw_shards(&drawing, shards);
    return !drawing.is_full;
}
