/*
 * verify: everything in a data directory, or one sealed segment by itself. The catalog and the
 * index are read first, by children; then the journal and the segments are jobs for a few threads,
 * each with a window of its own that stays in its core's cache.
 */
#include "base/alloc.h"
#include "base/clock.h"
#include "storage/files.h"
#include "tools/ctl_json.h"
#include "tools/ctl_time.h"
#include "tools/inspect.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THREADS_MAX 64u
#define BAR_EVERY_MS 200u
#define LINE_EVERY_NS 10000000000ull

struct verify {
    struct inspect_dir dir;
    struct inspect_report *report;
    struct inspect_file **files; /* largest first, so that the threads end together */
    uint32_t file_count;
    uint64_t bytes_max; /* what will be read */
    uint64_t index_rows;
    struct inspect_journal journal; /* [the thread that took it] */
    _Atomic uint32_t next;          /* job 0 is the journal, job n the file n - 1 */
    _Atomic uint64_t bytes;
    _Atomic uint64_t batches;
    _Atomic uint64_t records;
    _Atomic uint32_t segments;
    _Atomic uint32_t active; /* threads */
    struct ks_mutex mu;      /* KS_RANK_WAKE; with ended */
    struct ks_cond ended;
    struct ks_error error; /* [mu] what kept it from looking at everything */
};

/* ---- jobs ---- */

static void fail(struct verify *verify, const struct ks_error *error, enum ks_status st)
{
    KS_LOCK_SCOPE(&verify->mu);
    if (!verify->error.status) {
        verify->error = *error;
        verify->error.status = st;
    }
}

static void journal_job(struct verify *verify)
{
    struct ks_error error = KS_ERROR_INIT;
    enum ks_status st =
        inspect_journal_read(&verify->dir, verify->report, &verify->journal, &error);
    if (st && st != KS_CORRUPT)
        fail(verify, &error, st);
    atomic_fetch_add(&verify->bytes, verify->journal.bytes);
}

static void segment_job(struct verify *verify, const struct inspect_file *file)
{
    struct inspect_segment_job job = {.io = verify->dir.io,
        .shard = ks_u64_map_get(&verify->dir.logs, file->log_id),
        .row = file,
        .report = verify->report};
    ks_files_path(file->file_id, job.path);
    struct ks_error error = KS_ERROR_INIT;
    enum ks_status st = inspect_segment_walk(&job, &error);
    if (st)
        fail(verify, &error, st);
    atomic_fetch_add(&verify->segments, 1);
    atomic_fetch_add(&verify->bytes, file->readable_bytes);
    atomic_fetch_add(&verify->batches, job.batches);
    atomic_fetch_add(&verify->records, job.records);
}

static void *run_jobs(void *arg)
{
    struct verify *verify = arg;
    uint32_t i;
    while ((i = atomic_fetch_add(&verify->next, 1)) <= verify->file_count) {
        if (i == 0)
            journal_job(verify);
        else
            segment_job(verify, verify->files[i - 1]);
    }
    KS_LOCK_SCOPE(&verify->mu);
    atomic_fetch_sub(&verify->active, 1);
    ks_cond_signal(&verify->ended);
    return NULL;
}

/* ---- progress ---- */

static void show(
    const struct verify *verify, const struct inspect_verify_options *options, uint64_t started_ns)
{
    uint64_t bytes = atomic_load(&verify->bytes);
    double seconds = (double)(ks_clock_mono_ns(&ks_clock_system) - started_ns) / 1e9;
    char done[32];
    char all[32];
    ctl_size_to_text(bytes, done, sizeof done);
    ctl_size_to_text(verify->bytes_max, all, sizeof all);
    uint64_t percent = verify->bytes_max > 0 ? bytes * 100 / verify->bytes_max : 100;
    fprintf(stderr, "%sverify: %llu %%, %s of %s, %.1f GB/s%s", options->has_bar ? "\r" : "",
        (unsigned long long)KS_MIN(percent, 100u), done, all,
        seconds > 0 ? (double)bytes / seconds / 1e9 : 0, options->has_bar ? "   " : "\n");
}

static void wait_for_threads(
    struct verify *verify, const struct inspect_verify_options *options, uint64_t started_ns)
{
    uint64_t shown_ns = started_ns;
    bool has_shown = false;
    KS_LOCK_SCOPE(&verify->mu);
    while (atomic_load(&verify->active) > 0) {
        KS_IGNORE(ks_cond_wait_ms(&verify->ended, &verify->mu, BAR_EVERY_MS), "a look, either way");
        uint64_t now_ns = ks_clock_mono_ns(&ks_clock_system);
        if (options->is_quiet || (!options->has_bar && now_ns - shown_ns < LINE_EVERY_NS))
            continue;
        show(verify, options, started_ns);
        shown_ns = now_ns;
        has_shown = true;
    }
    if (has_shown && options->has_bar)
        fputs("\r\033[K", stderr);
}

static void run_threads(
    struct verify *verify, const struct inspect_verify_options *options, uint64_t started_ns)
{
    pthread_t threads[THREADS_MAX];
    unsigned wanted = KS_MIN(KS_MAX(options->threads, 1u), THREADS_MAX);
    unsigned started = 0;
    atomic_store(&verify->active, wanted);
    while (started < wanted && pthread_create(&threads[started], NULL, run_jobs, verify) == 0)
        started++;
    atomic_fetch_sub(&verify->active, wanted - started);
    if (started == 0) {
        atomic_store(&verify->active, 1);
        run_jobs(verify);
    }
    wait_for_threads(verify, options, started_ns);
    for (unsigned i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
}

/* ---- the result ---- */

static json_t *finding_to_json(const struct inspect_finding *finding)
{
    const struct inspect_shard *shard = finding->shard;
    json_t *object = json_object();
    bool is_fine =
        ctl_json_add(object, "severity",
            json_string(finding->severity == INSPECT_NOTE ? "note" : "damage")) &&
        ctl_json_add(object, "file", ctl_json_text(finding->where)) &&
        ctl_json_add(object, "offset", json_integer((json_int_t)finding->offset)) &&
        ctl_json_add(object, "bytes", json_integer((json_int_t)finding->bytes)) &&
        ctl_json_add(object, "stream",
            shard && shard->stream ? ctl_json_text(shard->stream->name) : json_null()) &&
        ctl_json_add(object, "shard", shard ? json_integer(shard->index) : json_null()) &&
        ctl_json_add(object, "log",
            finding->log_id ? json_integer((json_int_t)finding->log_id) : json_null());
    uint64_t first = finding->first_sequence;
    is_fine = is_fine &&
              ctl_json_add(object, "first_sequence",
                  first ? json_integer((json_int_t)first) : json_null()) &&
              ctl_json_add(object, "last_sequence",
                  first ? json_integer((json_int_t)finding->last_sequence) : json_null()) &&
              ctl_json_add(object, "text", ctl_json_text(finding->text));
    if (is_fine)
        return object;
    json_decref(object);
    return NULL;
}

static int by_place(const void *a, const void *b)
{
    const struct inspect_finding *left = a;
    const struct inspect_finding *right = b;
    int order = strcmp(left->where, right->where);
    if (order != 0)
        return order;
    return left->offset < right->offset ? -1 : left->offset > right->offset;
}

static json_t *findings_to_json(struct inspect_report *report)
{
    if (report->finding_count > 1)
        qsort(report->findings, report->finding_count, sizeof *report->findings, by_place);
    json_t *list = json_array();
    for (size_t i = 0; list && i < report->finding_count; i++) {
        if (json_array_append_new(list, finding_to_json(&report->findings[i])) < 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static bool add_number(json_t *object, const char *name, uint64_t number)
{
    return ctl_json_add(object, name, json_integer((json_int_t)number));
}

struct totals {
    uint64_t catalog_rows, index_rows, journal_blocks, segments, batches, records, bytes;
    double seconds;
};

static enum ks_status result_make(struct inspect_report *report, const struct totals *totals,
    json_t **out_result, struct ks_error *err)
{
    json_t *result = json_object();
    bool is_fine =
        add_number(result, "damages", report->damages) &&
        add_number(result, "lost_records", report->lost_records) &&
        add_number(result, "notes", report->notes) &&
        add_number(result, "catalog_rows", totals->catalog_rows) &&
        add_number(result, "index_rows", totals->index_rows) &&
        add_number(result, "journal_blocks", totals->journal_blocks) &&
        add_number(result, "segments", totals->segments) &&
        add_number(result, "batches", totals->batches) &&
        add_number(result, "records", totals->records) &&
        add_number(result, "bytes", totals->bytes) &&
        ctl_json_add(result, "seconds", json_real(totals->seconds)) &&
        add_number(result, "bytes_per_second",
            totals->seconds > 0 ? (uint64_t)((double)totals->bytes / totals->seconds) : 0) &&
        ctl_json_add(result, "findings", findings_to_json(report));
    if (!is_fine) {
        json_decref(result);
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for the result");
    }
    *out_result = result;
    return KS_OK;
}

/* ---- a directory ---- */

static int by_size(const void *a, const void *b)
{
    const struct inspect_file *left = *(struct inspect_file *const *)a;
    const struct inspect_file *right = *(struct inspect_file *const *)b;
    return left->readable_bytes > right->readable_bytes
               ? -1
               : left->readable_bytes < right->readable_bytes;
}

static bool choose_files(struct verify *verify)
{
    struct inspect_dir *dir = &verify->dir;
    // NOLINTNEXTLINE(bugprone-sizeof-expression): an array of pointers is meant
    verify->files = ks_calloc(dir->by_log_count + 1u, sizeof *verify->files);
    if (!verify->files)
        return false;
    for (uint32_t i = 0; i < dir->by_log_count; i++) {
        if (!dir->by_log[i]->is_seen)
            continue;
        verify->files[verify->file_count++] = dir->by_log[i];
        verify->bytes_max += dir->by_log[i]->readable_bytes;
    }
    if (verify->file_count > 1)
        qsort(verify->files, verify->file_count, sizeof(struct inspect_file *), by_size);
    return true;
}

static enum ks_status verify_dir(struct verify *verify, const char *path,
    const struct inspect_verify_options *options, json_t **out_result, struct ks_error *err)
{
    uint64_t started_ns = ks_clock_mono_ns(&ks_clock_system);
    enum ks_status st = inspect_dir_open(path, verify->report, &verify->dir, err);
    if (st)
        return st;
    inspect_dir_check(&verify->dir, verify->report);
    inspect_dir_check_files(&verify->dir, verify->report);
    inspect_index_check(&verify->dir, verify->report, &verify->index_rows);
    if (!choose_files(verify))
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory to verify '%s'", path);
    run_threads(verify, options, started_ns);
    const struct totals totals = {.catalog_rows = verify->dir.catalog_rows,
        .index_rows = verify->index_rows,
        .journal_blocks = verify->journal.blocks,
        .segments = atomic_load(&verify->segments),
        .batches = atomic_load(&verify->batches) + verify->journal.batches,
        .records = atomic_load(&verify->records) + verify->journal.records,
        .bytes = atomic_load(&verify->bytes),
        .seconds = (double)(ks_clock_mono_ns(&ks_clock_system) - started_ns) / 1e9};
    st = result_make(verify->report, &totals, out_result, err);
    if (!st && verify->error.status) {
        st = verify->error.status;
        *err = verify->error;
    }
    return st;
}

/* ---- one file ---- */

static enum ks_status verify_file(
    const char *path, struct inspect_report *report, json_t **out_result, struct ks_error *err)
{
    uint64_t started_ns = ks_clock_mono_ns(&ks_clock_system);
    struct inspect_segment_job job = {.report = report};
    enum ks_status st = inspect_file_open(path, &job, err);
    if (!st)
        st = inspect_segment_walk(&job, err);
    ks_io_posix_close(job.io);
    if (st)
        return st;
    const struct totals totals = {.segments = 1,
        .batches = job.batches,
        .records = job.records,
        .bytes = job.bytes,
        .seconds = (double)(ks_clock_mono_ns(&ks_clock_system) - started_ns) / 1e9};
    return result_make(report, &totals, out_result, err);
}

enum ks_status inspect_verify(const char *path, const struct inspect_verify_options *options,
    struct inspect_report *report, json_t **out_result, struct ks_error *err)
{
    if (inspect_is_file(path))
        return verify_file(path, report, out_result, err);
    struct verify verify = {.report = report, .error = KS_ERROR_INIT};
    ks_mutex_init(&verify.mu, KS_RANK_WAKE);
    ks_cond_init(&verify.ended);
    enum ks_status st = verify_dir(&verify, path, options, out_result, err);
    inspect_journal_fini(&verify.journal);
    if (verify.dir.io)
        inspect_dir_close(&verify.dir);
    ks_free(verify.files);
    ks_cond_fini(&verify.ended);
    ks_mutex_fini(&verify.mu);
    return st;
}
