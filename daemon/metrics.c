#include "daemon/metrics.h"

#include "base/alloc.h"
#include "daemon/meter.h"
#include "daemon/version.h"
#include "proto/operations.h"
#include "storage/registry.h"
#include "storage/retention.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LINE_BYTES_MAX 512

enum metric {
#define KS_METRIC(id, type, name, help) METRIC_##id,
#include "daemon/metrics.def"
#undef KS_METRIC
    METRIC_COUNT
};

static const struct family {
    const char *type;
    const char *name;
    const char *help;
} families[] = {
#define COUNTER "counter"
#define GAUGE "gauge"
#define HISTOGRAM "histogram"
#define KS_METRIC(id, type, name, help) {type, name, help},
#include "daemon/metrics.def"
#undef KS_METRIC
};

struct writer {
    struct ks_buf *to;
    enum metric metric; /* the family whose samples come */
    bool is_full;
};

/* ---- lines ---- */

static void write_line(struct writer *writer, const char *format, ...) KS_PRINTF(2, 3);
static void write_line(struct writer *writer, const char *format, ...)
{
    char line[LINE_BYTES_MAX];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    KS_ASSERT(n > 0 && (size_t)n < sizeof(line));
    if (!ks_buf_append(writer->to, line, (size_t)n))
        writer->is_full = true;
}

static void begin(struct writer *writer, enum metric metric)
{
    const struct family *family = &families[metric];
    writer->metric = metric;
    write_line(writer, "# HELP %s %s\n# TYPE %s %s\n", family->name, family->help, family->name,
        family->type);
}

/* labels: "" or "{name=\"value\"}". */
static void sample(struct writer *writer, const char *labels, uint64_t value)
{
    write_line(writer, "%s%s %" PRIu64 "\n", families[writer->metric].name, labels, value);
}

/* value thousandths. */
static void sample_milli(struct writer *writer, const char *labels, int64_t value)
{
    uint64_t size = value < 0 ? (uint64_t)-value : (uint64_t)value;
    write_line(writer, "%s%s %s%" PRIu64 ".%03" PRIu64 "\n", families[writer->metric].name, labels,
        value < 0 ? "-" : "", size / 1000, size % 1000);
}

static void single(struct writer *writer, enum metric metric, uint64_t value)
{
    begin(writer, metric);
    sample(writer, "", value);
}

/* label: stage="queue". */
static void histogram(
    struct writer *writer, const char *label, const struct ks_latency_sum *latencies)
{
    const char *name = families[writer->metric].name;
    uint64_t count = 0;
    for (unsigned i = 0; i < KS_LATENCY_BOUNDS; i++) {
        count += latencies->counts[i];
        write_line(writer, "%s_bucket{%s,le=\"%g\"} %" PRIu64 "\n", name, label,
            (double)ks_latency_bounds_ns[i] / 1e9, count);
    }
    count += latencies->counts[KS_LATENCY_BOUNDS];
    write_line(writer, "%s_bucket{%s,le=\"+Inf\"} %" PRIu64 "\n", name, label, count);
    write_line(writer, "%s_sum{%s} %" PRIu64 ".%09" PRIu64 "\n%s_count{%s} %" PRIu64 "\n", name,
        label, latencies->sum_ns / 1000000000, latencies->sum_ns % 1000000000, name, label, count);
}

/* ---- the process ---- */

static void write_event(void *arg, const struct ks_log_count *count)
{
    char labels[128];
    snprintf(labels, sizeof(labels), "{event=\"%s\",level=\"%s\"}", count->name, count->level);
    sample(arg, labels, count->count);
}

static void write_life(
    struct writer *writer, struct ks_metrics *metrics, bool is_serving, unsigned recovery_percent)
{
    begin(writer, METRIC_BUILD_INFO);
    sample(writer, "{version=\"" KS_VERSION "\"}", 1);
    single(writer, METRIC_READY, is_serving);
    begin(writer, METRIC_RECOVERY);
    sample_milli(writer, "", is_serving ? 1000 : (int64_t)recovery_percent * 10);
    begin(writer, METRIC_EVENTS);
    ks_logger_counts(metrics->logger, write_event, writer);
}

static void write_process(struct writer *writer, const struct ks_metrics *metrics)
{
    struct ks_process_figures figures;
    ks_process_figures(&figures);
    begin(writer, METRIC_PROCESS_CPU);
    sample_milli(writer, "", (int64_t)figures.cpu_ms);
    single(writer, METRIC_PROCESS_RSS, figures.resident_bytes);
    single(writer, METRIC_PROCESS_VSZ, figures.virtual_bytes);
    single(writer, METRIC_PROCESS_THREADS, figures.threads);
    single(writer, METRIC_PROCESS_FDS, figures.open_fds);
    single(writer, METRIC_PROCESS_FDS_MAX, figures.max_fds);
    begin(writer, METRIC_PROCESS_START);
    sample_milli(writer, "", (int64_t)metrics->started_unix_ms);
}

/* ---- streams ---- */

struct named_sums {
    const struct ks_stream_sums *sums;
    char name[KS_STREAM_NAME_BYTES_MAX + 1];
};

static const struct {
    enum metric metric;
    enum ks_stream_count count;
} stream_families[] = {
    {METRIC_INCOMING_RECORDS, KS_STREAM_IN_RECORDS},
    {METRIC_INCOMING_BYTES, KS_STREAM_IN_BYTES},
    {METRIC_OUTGOING_RECORDS, KS_STREAM_OUT_RECORDS},
    {METRIC_OUTGOING_BYTES, KS_STREAM_OUT_BYTES},
};

static const char *const refusals[KS_REFUSAL_COUNT] = {[KS_REFUSED_CLOSING] = "reshard",
    [KS_REFUSED_JOURNAL] = "journal",
    [KS_REFUSED_MEMORY] = "memory",
    [KS_REFUSED_DISK] = "disk",
    [KS_REFUSED_LIMIT] = "limit"};

static bool is_zero(const struct ks_stream_sums *sums)
{
    for (unsigned i = 0; i < KS_STREAM_COUNTS; i++)
        if (sums->values[i] > 0)
            return false;
    return true;
}

/* Parentheses stand in no name of a stream. Returns how many have a name and are not all zero. */
static uint32_t streams_name(struct ks_server *server, const struct ks_stream_sums *sums,
    uint32_t count, struct named_sums *out)
{
    uint32_t named = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct ks_stream *stream = NULL;
        if (is_zero(&sums[i]))
            continue;
        if (sums[i].number == 0) {
            strcpy(out[named].name, "(others)");
        } else {
            if (ks_registry_find_number(server->engine, sums[i].number, &stream))
                continue; /* deleted this moment */
            strcpy(out[named].name, stream->name);
            ks_stream_unref(stream);
        }
        out[named++].sums = &sums[i];
    }
    return named;
}

static void write_stream_families(
    struct writer *writer, const struct named_sums *streams, uint32_t count)
{
    char labels[KS_STREAM_NAME_BYTES_MAX + 64];
    for (size_t f = 0; f < KS_COUNT_OF(stream_families); f++) {
        begin(writer, stream_families[f].metric);
        for (uint32_t i = 0; i < count; i++) {
            snprintf(labels, sizeof(labels), "{stream=\"%s\"}", streams[i].name);
            sample(writer, labels, streams[i].sums->values[stream_families[f].count]);
        }
    }
    begin(writer, METRIC_THROTTLED_RECORDS);
    for (uint32_t i = 0; i < count; i++)
        for (unsigned r = 0; r < KS_REFUSAL_COUNT; r++) {
            snprintf(labels, sizeof(labels), "{stream=\"%s\",reason=\"%s\"}", streams[i].name,
                refusals[r]);
            sample(writer, labels, streams[i].sums->values[KS_STREAM_REFUSED + r]);
        }
}

static bool write_streams(struct writer *writer, struct ks_server *server)
{
    size_t room = server->meter->options.streams_max + 1;
    KS_AUTO_FREE struct ks_stream_sums *sums = ks_calloc(room, sizeof(sums[0]));
    KS_AUTO_FREE struct named_sums *named = ks_calloc(room, sizeof(named[0]));
    if (!sums || !named)
        return false;
    uint32_t count = ks_meter_streams(server->meter, sums);
    count = streams_name(server, sums, count, named);
    write_stream_families(writer, named, count);
    return true;
}

/* ---- requests ---- */

static uint64_t loops_sum(const struct ks_meter *meter, size_t offset)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < meter->loop_count; i++)
        sum += atomic_load_explicit(
            (const _Atomic uint64_t *)(const void *)((const char *)&meter->loops[i] + offset),
            memory_order_relaxed);
    return sum;
}

static void write_requests(struct writer *writer, const struct ks_meter *meter)
{
    char labels[128];
    begin(writer, METRIC_REQUESTS);
    for (size_t i = 0; i < ks_operations_count && i < KS_METER_OPERATIONS_MAX; i++) {
        snprintf(labels, sizeof(labels), "{operation=\"%s\"}", ks_operations[i].name);
        sample(writer, labels,
            loops_sum(meter, offsetof(struct ks_loop_meter, requests) + i * sizeof(uint64_t)));
    }
    begin(writer, METRIC_ERRORS);
    for (uint32_t i = 1; i < KS_METER_STATUSES_MAX; i++) {
        uint64_t errors =
            loops_sum(meter, offsetof(struct ks_loop_meter, errors) + i * sizeof(uint64_t));
        snprintf(labels, sizeof(labels), "{status=\"%s\"}", ks_status_name((enum ks_status)i));
        if (errors > 0)
            sample(writer, labels, errors);
    }
}

static void write_durations(struct writer *writer, struct ks_server *server)
{
    static const char *const classes[KS_REQUEST_CLASSES] = {[KS_REQUEST_PUT] = "class=\"put\"",
        [KS_REQUEST_GET] = "class=\"get\"",
        [KS_REQUEST_ADMIN] = "class=\"admin\""};
    const struct ks_meter *meter = server->meter;
    const struct ks_engine_latencies *disk = ks_engine_latencies(server->engine);
    struct ks_latency_sum answer = {.sum_ns = 0};
    begin(writer, METRIC_REQUEST_DURATION);
    for (unsigned c = 0; c < KS_REQUEST_CLASSES; c++) {
        struct ks_latency_sum sum = {.sum_ns = 0};
        for (unsigned i = 0; i < meter->loop_count; i++)
            ks_latency_sum_add(&sum, &meter->loops[i].duration[c]);
        histogram(writer, classes[c], &sum);
    }
    for (unsigned i = 0; i < meter->loop_count; i++)
        ks_latency_sum_add(&answer, &meter->loops[i].put_answer);
    const struct {
        enum metric metric;
        const char *label;
        const struct ks_latency *latency;
    } rows[] = {
        {METRIC_PUT_DURATION, "stage=\"queue\"", &disk->queue},
        {METRIC_PUT_DURATION, "stage=\"write\"", &disk->write},
        {METRIC_PUT_DURATION, "stage=\"fsync\"", &disk->sync},
        {METRIC_PUT_DURATION, "stage=\"ack\"", NULL},
        {METRIC_FSYNC_DURATION, "file=\"journal\"", &disk->journal_sync},
        {METRIC_FSYNC_DURATION, "file=\"segment\"", &disk->segment_sync},
        {METRIC_FSYNC_DURATION, "file=\"catalog\"", &disk->catalog_commit},
    };
    for (size_t i = 0; i < KS_COUNT_OF(rows); i++) {
        struct ks_latency_sum sum = {.sum_ns = 0};
        if (i == 0 || rows[i].metric != rows[i - 1].metric)
            begin(writer, rows[i].metric);
        if (rows[i].latency)
            ks_latency_sum_add(&sum, rows[i].latency);
        histogram(writer, rows[i].label, rows[i].latency ? &sum : &answer);
    }
}

/* ---- memory, disk, engine ---- */

static void write_memory(
    struct writer *writer, struct ks_server *server, const struct ks_engine_stats *stats)
{
    struct ks_loop_shared *shared = &server->loop_shared;
    begin(writer, METRIC_MEMORY);
    sample(writer, "{budget=\"input\"}", atomic_load(&shared->input.used_bytes));
    sample(writer, "{budget=\"output\"}", atomic_load(&shared->output.used_bytes));
    sample(writer, "{budget=\"records\"}", stats->tail_bytes);
    sample(writer, "{budget=\"maps\"}", stats->pinned_bytes);
    begin(writer, METRIC_MEMORY_LIMIT);
    sample(writer, "{budget=\"input\"}", atomic_load(&shared->input.bytes_max));
    sample(writer, "{budget=\"output\"}", atomic_load(&shared->output.bytes_max));
    sample(writer, "{budget=\"records\"}", server->live.limits_memory);
    begin(writer, METRIC_JOURNAL_USED);
    sample_milli(writer, "", (int64_t)stats->journal_used_percent * 10);
}

static void write_disk(struct writer *writer, struct ks_io *io)
{
    struct ks_fs_info info;
    if (ks_io_fs_info(io, &info, NULL))
        return; /* no figure is better than a wrong one */
    single(writer, METRIC_DISK_FREE, info.free_bytes);
    single(writer, METRIC_DISK_SIZE, info.total_bytes);
}

static void write_connections(struct writer *writer, struct ks_server *server)
{
    const struct ks_loop_shared *shared = &server->loop_shared;
    single(writer, METRIC_CONNECTIONS, atomic_load(&shared->connections));
    single(writer, METRIC_CONNECTIONS_ACCEPTED, atomic_load(&shared->accepted));
    single(writer, METRIC_CONNECTIONS_REFUSED, atomic_load(&shared->refused));
    uint64_t parked = 0;
    for (unsigned i = 0; i < server->loop_count; i++)
        parked += atomic_load_explicit(&server->loops[i].parking.count, memory_order_relaxed);
    single(writer, METRIC_PARKED, parked);
}

static void write_compactor(struct writer *writer, const struct ks_compactor_status *compactor)
{
    single(writer, METRIC_SEGMENTS_RETIRED, compactor->segments_retired);
    single(writer, METRIC_RETIRED_BYTES, compactor->bytes_retired);
    single(writer, METRIC_RETIRED_RECORDS, compactor->records_retired);
    single(writer, METRIC_HELD_SEGMENTS, compactor->segments_held);
    single(writer, METRIC_HELD_BYTES, compactor->bytes_held);
    single(writer, METRIC_STREAMS_PURGED, compactor->streams_purged);
    single(writer, METRIC_SHARDS_REMOVED, compactor->shards_removed);
    begin(writer, METRIC_COMPACTOR_START);
    sample_milli(writer, "", (int64_t)compactor->last.started_unix_ms);
    begin(writer, METRIC_COMPACTOR_END);
    sample_milli(writer, "", (int64_t)compactor->last.ended_unix_ms);
    single(writer, METRIC_COMPACTOR_SEGMENTS, compactor->last.segments);
    single(writer, METRIC_COMPACTOR_BYTES, compactor->last.bytes);
    single(writer, METRIC_COMPACTOR_RECORDS, compactor->last.records);
}

static void write_scrubber(struct writer *writer, const struct ks_compactor_status *compactor)
{
    single(writer, METRIC_SCRUBBED_SEGMENTS, compactor->scrub_segments);
    single(writer, METRIC_SCRUBBED_BYTES, compactor->scrub_bytes);
    single(writer, METRIC_SCRUB_PASSES, compactor->scrub_passes);
    begin(writer, METRIC_SCRUB_END);
    sample_milli(writer, "", (int64_t)compactor->scrub_last_pass_unix_ms);
}

static void write_engine(
    struct writer *writer, struct ks_server *server, const struct ks_engine_stats *stats)
{
    struct ks_compactor_status compactor;
    ks_compactor_describe(server->engine, &compactor);
    single(writer, METRIC_STREAMS, ks_registry_stream_count(server->engine));
    single(writer, METRIC_SHARDS, ks_registry_open_shards(server->engine));
    single(writer, METRIC_APPENDED_BYTES, stats->appended_bytes);
    single(writer, METRIC_JOURNAL_BLOCKS, stats->durable_blocks);
    single(writer, METRIC_JOURNAL_BATCHES, stats->durable_batches);
    single(writer, METRIC_FLUSHED_BYTES, stats->flushed_bytes);
    single(writer, METRIC_FLUSH_ROUNDS, stats->flush_rounds);
    single(writer, METRIC_SEGMENTS_SEALED, stats->segments_sealed);
    write_compactor(writer, &compactor);
    single(writer, METRIC_FILES_POOLED, stats->files_pooled);
    single(writer, METRIC_FILES_RECYCLED, stats->files_recycled);
    single(writer, METRIC_CATALOG_COMMITS, stats->catalog_commits);
    begin(writer, METRIC_READS);
    sample(writer, "{from=\"memory\"}", stats->reads_from_tail);
    sample(writer, "{from=\"segment\"}", stats->reads_from_maps);
    sample(writer, "{from=\"copy\"}", stats->reads_by_copy);
    single(writer, METRIC_INDEX_ENTRIES, stats->index_entries_written);
    single(writer, METRIC_INDEX_LOOKUPS, stats->index_lookups);
    single(writer, METRIC_INDEX_REBUILDS, stats->index_rebuilds);
    write_scrubber(writer, &compactor);
    single(writer, METRIC_CHECKSUM_ERRORS, compactor.scrub_damaged_records + stats->damage_met);
}

static void write_clock(struct writer *writer, struct ks_server *server)
{
    struct ks_broker_clock_status status;
    ks_broker_clock_status(&server->timekeeper->clock, &status);
    begin(writer, METRIC_CLOCK_DIFFERENCE);
    sample_milli(writer, "", status.difference_ms);
    begin(writer, METRIC_RETENTION_BEHIND);
    sample_milli(writer, "", (int64_t)status.held_gap_ms);
}

/* mu held: the server stays whole. */
static bool write_server(struct writer *writer, const struct ks_metrics *metrics)
{
    struct ks_server *server = metrics->server;
    struct ks_engine_stats stats;
    ks_engine_stats(server->engine, &stats);
    if (!write_streams(writer, server))
        return false;
    single(writer, METRIC_DELAYED_READS,
        loops_sum(server->meter, offsetof(struct ks_loop_meter, reads_delayed)));
    single(writer, METRIC_DUPLICATES, stats.duplicates_answered);
    write_requests(writer, server->meter);
    write_durations(writer, server);
    write_connections(writer, server);
    write_memory(writer, server, &stats);
    write_disk(writer, metrics->io);
    write_engine(writer, server, &stats);
    write_clock(writer, server);
    return true;
}

bool ks_metrics_write(struct ks_metrics *metrics, unsigned recovery_percent, struct ks_buf *to)
{
    struct writer writer = {.to = to};
    KS_LOCK_SCOPE(&metrics->mu);
    write_life(&writer, metrics, metrics->server != NULL, recovery_percent);
    if (metrics->server && !write_server(&writer, metrics))
        return false;
    write_process(&writer, metrics);
    return !writer.is_full;
}

/* ---- life ---- */

void ks_metrics_init(struct ks_metrics *metrics, struct ks_logger *logger)
{
    memset(metrics, 0, sizeof(*metrics));
    ks_mutex_init(&metrics->mu, KS_RANK_METRICS);
    metrics->logger = logger;
    metrics->started_unix_ms = ks_clock_unix_ms(&ks_clock_system);
}

void ks_metrics_fini(struct ks_metrics *metrics)
{
    ks_mutex_fini(&metrics->mu);
}

void ks_metrics_open(struct ks_metrics *metrics, struct ks_server *server, struct ks_io *io)
{
    KS_LOCK_SCOPE(&metrics->mu);
    metrics->server = server;
    metrics->io = io;
}

void ks_metrics_close(struct ks_metrics *metrics)
{
    KS_LOCK_SCOPE(&metrics->mu);
    metrics->server = NULL;
    metrics->io = NULL;
}
