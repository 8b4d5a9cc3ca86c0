/*
 * The scrubber: reads sealed segments over again, past the page cache, a slice at a time, and
 * compares every batch with the footer and with its checksums. What it finds it tells
 * (scrub.damaged) and counts; nothing is changed: readers are told of damage when they come to it
 * (segment_view.c).
 *
 * A pass goes through all logs by id and through each log's segments by sequence. A segment that is
 * retired under way is left at the next slice.
 */
#include "base/alloc.h"
#include "storage/flush_priv.h"
#include "storage/read_priv.h"
#include "storage/retention_priv.h"

#include <stdlib.h>

#define SLICE_BYTES (1u << 20)
/* Nothing was sealed when a pass began, or the broker has just started. */
#define FIRST_PASS_MS 3600000u

struct ks_scrub {
    struct ks_engine *engine;
    uint64_t *log_ids; /* of the pass */
    size_t log_count;
    size_t log_at;
    size_t log_capacity;
    struct ks_log *log;         /* referenced; NULL: the next one is due */
    uint64_t log_sequence;      /* the segments up to here are done */
    struct ks_segment *segment; /* referenced */
    struct ks_verify *verify;   /* of ks_verify_log; NULL: the scrubber itself */
    struct ks_file *file;
    struct ks_footer footer;
    uint32_t batch; /* of the footer, as all that follows */
    uint64_t offset;
    uint64_t sequence;
    uint64_t damaged_batches; /* of the segment */
    uint64_t damaged_records;
    uint64_t damaged_from;
    bool is_due;          /* a slice, in this round */
    int64_t budget_bytes; /* below zero after a large batch */
    uint64_t budget_mono_ns;
    _Atomic uint64_t wait_from_mono_ns; /* for the next pass; 0: one is under way */
    _Atomic uint64_t wait_ms_max;       /* sooner than by the interval */
    _Atomic uint64_t segments, bytes, bad_segments, bad_batches, bad_records, passes, last_unix_ms;
};

/* ---- when ---- */

static uint64_t scrub_now(const struct ks_scrub *scrub)
{
    return ks_clock_mono_ns(scrub->engine->options.clock);
}

static void pass_schedule(struct ks_scrub *scrub, uint64_t wait_ms_max)
{
    atomic_store(&scrub->wait_ms_max, wait_ms_max);
    atomic_store(&scrub->wait_from_mono_ns, ks_max_u64(1, scrub_now(scrub)));
}

/* Milliseconds until the next pass may begin; 0: now, or one is under way. Any thread. */
static uint64_t pass_wait_ms(const struct ks_scrub *scrub)
{
    uint64_t from = atomic_load(&scrub->wait_from_mono_ns);
    uint64_t interval_ms = atomic_load(&scrub->engine->scrub_interval_ms);
    uint64_t due = from + ks_min_u64(interval_ms, atomic_load(&scrub->wait_ms_max)) * 1000000;
    uint64_t now = scrub_now(scrub);
    return from == 0 || due <= now ? 0 : (due - now) / 1000000 + 1;
}

static void note_log(void *arg, struct ks_log *log)
{
    struct ks_scrub *scrub = arg;
    {
        KS_LOCK_SCOPE(&log->mu);
        if (log->segments.count == 0 || log->segments.items[0]->state != KS_SEGMENT_SEALED)
            return;
    }
    if (scrub->log_count == scrub->log_capacity) {
        size_t capacity = scrub->log_capacity ? 2 * scrub->log_capacity : 64;
        uint64_t *grown = ks_realloc(scrub->log_ids, capacity * sizeof *grown);
        if (!grown)
            return; /* the next pass may have more memory */
        scrub->log_ids = grown;
        scrub->log_capacity = capacity;
    }
    scrub->log_ids[scrub->log_count++] = ks_log_id(log);
}

static int by_id(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

/* False: there is nothing to read over. */
static bool pass_begin(struct ks_scrub *scrub)
{
    scrub->log_count = 0;
    scrub->log_at = 0;
    ks_registry_each_log(scrub->engine->registry, note_log, scrub);
    if (scrub->log_count == 0) {
        pass_schedule(scrub, FIRST_PASS_MS);
        return false;
    }
    qsort(scrub->log_ids, scrub->log_count, sizeof *scrub->log_ids, by_id);
    atomic_store(&scrub->wait_from_mono_ns, 0);
    return true;
}

static void pass_end(struct ks_scrub *scrub)
{
    ks_free(KS_TAKE(scrub->log_ids));
    scrub->log_capacity = 0;
    scrub->log_count = 0;
    atomic_fetch_add(&scrub->passes, 1);
    atomic_store(&scrub->last_unix_ms, ks_clock_unix_ms(scrub->engine->options.clock));
    pass_schedule(scrub, UINT64_MAX / 1000000);
    ks_emit(scrub->engine->options.events, KS_LEVEL_INFO, "scrub.pass",
        "segments=%llu bytes=%llu damaged_segments=%llu",
        (unsigned long long)atomic_load(&scrub->segments),
        (unsigned long long)atomic_load(&scrub->bytes),
        (unsigned long long)atomic_load(&scrub->bad_segments));
}

/* What may be read now, after so much time. */
static void budget_add(struct ks_scrub *scrub, uint64_t rate)
{
    uint64_t now = scrub_now(scrub);
    uint64_t since_ns = ks_min_u64(now - scrub->budget_mono_ns, 60000000000ULL);
    int64_t more = (int64_t)(since_ns / 1000 * ks_min_u64(rate, UINT32_MAX) / 1000000);
    if (more <= 0)
        return;
    scrub->budget_bytes = KS_MIN(scrub->budget_bytes + more, (int64_t)SLICE_BYTES);
    scrub->budget_mono_ns = now;
}

bool ks_scrub_is_due(struct ks_scrub *scrub, uint64_t *out_wait_ms)
{
    uint64_t rate = atomic_load(&scrub->engine->scrub_bytes_per_s);
    *out_wait_ms = 0;
    scrub->is_due = false;
    if (rate == 0 || atomic_load(&scrub->engine->scrub_interval_ms) == 0)
        return false;
    *out_wait_ms = pass_wait_ms(scrub);
    if (*out_wait_ms > 0)
        return false;
    if (atomic_load(&scrub->wait_from_mono_ns) > 0 && !pass_begin(scrub)) {
        *out_wait_ms = pass_wait_ms(scrub);
        return false;
    }
    budget_add(scrub, rate);
    scrub->is_due = scrub->budget_bytes >= SLICE_BYTES;
    if (!scrub->is_due)
        *out_wait_ms = (uint64_t)((int64_t)SLICE_BYTES - scrub->budget_bytes) * 1000 / rate + 1;
    return scrub->is_due;
}

/* ---- one segment ---- */

static void segment_leave(struct ks_scrub *scrub)
{
    ks_file_close(KS_TAKE(scrub->file));
    ks_footer_fini(&scrub->footer);
    scrub->footer = (struct ks_footer){.batches = NULL};
    ks_segment_unref(KS_TAKE(scrub->segment));
}

static void segment_tell(struct ks_scrub *scrub)
{
    const struct ks_segment *segment = scrub->segment;
    atomic_fetch_add(&scrub->segments, 1);
    if (scrub->verify)
        scrub->verify->records += segment->last_sequence - segment->first_sequence + 1;
    if (scrub->damaged_batches == 0)
        return;
    if (scrub->verify)
        scrub->verify->damages[scrub->verify->damage_count++] =
            (struct ks_verify_damage){.file_id = segment->file_id,
                .from_sequence = scrub->damaged_from,
                .batches = scrub->damaged_batches,
                .records = scrub->damaged_records};
    atomic_fetch_add(&scrub->bad_segments, 1);
    atomic_fetch_add(&scrub->bad_batches, scrub->damaged_batches);
    atomic_fetch_add(&scrub->bad_records, scrub->damaged_records);
    ks_emit(scrub->engine->options.events, KS_LEVEL_ERROR, "scrub.damaged",
        "file=%016llx log=%llu batches=%llu records=%llu from_sequence=%llu",
        (unsigned long long)segment->file_id, (unsigned long long)segment->log_id,
        (unsigned long long)scrub->damaged_batches, (unsigned long long)scrub->damaged_records,
        (unsigned long long)scrub->damaged_from);
}

static void note_damage(struct ks_scrub *scrub, uint64_t records)
{
    if (scrub->damaged_batches++ == 0)
        scrub->damaged_from = scrub->sequence;
    scrub->damaged_records += records;
}

/* The header as it is on disk now. Errors: KS_CORRUPT it is not; KS_NO_MEMORY nobody knows. */
static enum ks_status header_check(const struct ks_segment *segment, struct ks_file *file)
{
    KS_AUTO_FREE uint8_t *bytes = ks_malloc(KS_SEGMENT_HEADER_BYTES);
    if (!bytes)
        return KS_NO_MEMORY;
    struct ks_segment_header header;
    enum ks_status st = ks_file_read_exactly(file, bytes, KS_SEGMENT_HEADER_BYTES, 0, NULL);
    if (!st)
        st = ks_segment_header_decode(ks_view_of(bytes, KS_SEGMENT_HEADER_BYTES), &header, NULL);
    if (st)
        return st == KS_NO_MEMORY ? st : KS_CORRUPT;
    bool is_right = header.file_id == segment->file_id &&
                    header.generation == segment->generation && header.log_id == segment->log_id &&
                    header.first_sequence == segment->first_sequence;
    return is_right ? KS_OK : KS_CORRUPT;
}

/* A footer that cannot be read is damage by itself; a walk then says what there is. */
static enum ks_status footer_get(struct ks_scrub *scrub)
{
    struct ks_segment *segment = scrub->segment;
    enum ks_status st = ks_segment_read_footer_from(
        segment, scrub->file, segment->file_bytes, &scrub->footer, NULL);
    if (st != KS_CORRUPT && st != KS_IO)
        return st;
    note_damage(scrub, 0);
    return ks_segment_build_footer(segment, scrub->file, NULL, 0, &scrub->footer, NULL);
}

/* False: it has been dealt with, or there is no memory for it now. */
static bool segment_open(struct ks_scrub *scrub, struct ks_segment *take_segment)
{
    struct ks_segment *segment = take_segment;
    char path[KS_FILE_PATH_BYTES];
    scrub->segment = segment;
    scrub->damaged_batches = 0;
    scrub->damaged_records = 0;
    scrub->batch = 0;
    scrub->offset = KS_SEGMENT_HEADER_BYTES;
    scrub->sequence = segment->first_sequence;
    ks_files_path(segment->file_id, path);
    scrub->budget_bytes -= KS_SEGMENT_HEADER_BYTES;
    enum ks_status st = ks_io_open(
        scrub->engine->options.io, path, KS_OPEN_READ | KS_OPEN_DIRECT, &scrub->file, NULL);
    if (!st)
        st = header_check(segment, scrub->file);
    if (st == KS_NOT_FOUND || st == KS_CORRUPT) {
        note_damage(scrub, segment->last_sequence - segment->first_sequence + 1);
        segment_tell(scrub);
        segment_leave(scrub);
        return false;
    }
    if (!st)
        st = footer_get(scrub);
    if (!st)
        return true;
    segment_leave(scrub);
    return false;
}

/* Also true when there is no memory: it is not looked at then. */
static bool batch_is_right(const struct ks_scrub *scrub, const struct ks_footer_batch *told)
{
    KS_AUTO_FREE uint8_t *bytes = ks_malloc(told->bytes);
    enum ks_status st =
        bytes ? ks_file_read_exactly(scrub->file, bytes, told->bytes, scrub->offset, NULL)
              : KS_NO_MEMORY;
    if (st)
        return st == KS_NO_MEMORY;
    struct ks_batch_view batch;
    return ks_batch_decode(ks_view_of(bytes, told->bytes), &batch) == KS_OK &&
           batch.stored_bytes == told->bytes && batch.header.log_id == scrub->segment->log_id &&
           batch.header.first_sequence == scrub->sequence &&
           batch.header.record_count == told->record_count &&
           (batch.header.kind == KS_BATCH_DAMAGED || ks_batch_verify(&batch) == KS_OK);
}

static void batch_verify(struct ks_scrub *scrub)
{
    const struct ks_footer_batch *told = &scrub->footer.batches[scrub->batch];
    if (told->bytes > KS_BATCH_STORED_BYTES_MAX || !batch_is_right(scrub, told))
        note_damage(scrub, told->record_count);
    scrub->budget_bytes -= told->bytes;
    atomic_fetch_add(&scrub->bytes, told->bytes);
    scrub->offset += told->bytes;
    scrub->sequence += told->record_count;
    scrub->batch++;
}

/* ---- from log to log ---- */

/* The log's next sealed segment, referenced; NULL: none. */
static struct ks_segment *next_segment(struct ks_scrub *scrub)
{
    struct ks_log *log = scrub->log;
    KS_LOCK_SCOPE(&log->mu);
    struct ks_segment *segment = ks_segment_list_find(&log->segments, scrub->log_sequence + 1);
    if (log->state == KS_LOG_DELETED || !segment || segment->state != KS_SEGMENT_SEALED)
        return NULL;
    scrub->log_sequence = segment->last_sequence;
    return ks_segment_ref(segment);
}

static void log_leave(struct ks_scrub *scrub)
{
    ks_log_unref(KS_TAKE(scrub->log));
    scrub->log_at++;
}

/* On to the next segment. False: the pass is over. */
static bool advance(struct ks_scrub *scrub)
{
    if (!scrub->log && scrub->log_at < scrub->log_count) {
        scrub->log = ks_registry_log_ref(scrub->engine->registry, scrub->log_ids[scrub->log_at]);
        scrub->log_sequence = 0;
        if (!scrub->log)
            scrub->log_at++;
        return true;
    }
    if (!scrub->log)
        return false;
    struct ks_segment *segment = next_segment(scrub);
    if (!segment)
        log_leave(scrub);
    else
        KS_IGNORE(segment_open(scrub, segment), "what cannot be opened is passed over");
    return true;
}

/* Nothing is read any more of a file that has been retired. */
static void leave_retired(struct ks_scrub *scrub)
{
    bool is_retired = false;
    {
        KS_LOCK_SCOPE(&scrub->log->mu);
        is_retired = scrub->segment->state == KS_SEGMENT_RETIRED;
    }
    if (is_retired)
        segment_leave(scrub);
}

void ks_scrub_run(struct ks_scrub *scrub)
{
    if (!scrub->is_due)
        return;
    if (scrub->segment)
        leave_retired(scrub);
    while (scrub->budget_bytes > 0) {
        if (!scrub->segment && !advance(scrub)) {
            pass_end(scrub);
            return;
        }
        if (!scrub->segment)
            continue;
        if (scrub->batch < scrub->footer.batch_count) {
            batch_verify(scrub);
        } else {
            segment_tell(scrub);
            segment_leave(scrub);
        }
    }
}

/* ---- at once ---- */

/* What was found counts with what the scrubber finds by itself. */
static void verify_count(struct ks_scrub *own, const struct ks_scrub *found)
{
    atomic_fetch_add(&own->segments, atomic_load(&found->segments));
    atomic_fetch_add(&own->bytes, atomic_load(&found->bytes));
    atomic_fetch_add(&own->bad_segments, atomic_load(&found->bad_segments));
    atomic_fetch_add(&own->bad_batches, atomic_load(&found->bad_batches));
    atomic_fetch_add(&own->bad_records, atomic_load(&found->bad_records));
}

enum ks_status ks_verify_log(struct ks_log *log, struct ks_verify *verify, struct ks_error *err)
{
    struct ks_engine *engine = log->engine;
    struct ks_scrub *scrub = NULL;
    enum ks_status st = ks_scrub_create(engine, &scrub, err);
    if (st)
        return st;
    scrub->verify = verify;
    scrub->log = ks_log_ref(log);
    scrub->log_sequence = verify->after_sequence;
    verify->is_done = false;
    for (;;) {
        bool is_enough = atomic_load(&scrub->bytes) >= verify->bytes_max ||
                         verify->damage_count == KS_VERIFY_DAMAGES_MAX;
        if (!scrub->segment && is_enough)
            break;
        if (!scrub->segment && !advance(scrub)) {
            verify->is_done = true;
            break;
        }
        if (!scrub->segment)
            continue;
        if (scrub->batch < scrub->footer.batch_count) {
            batch_verify(scrub);
        } else {
            segment_tell(scrub);
            segment_leave(scrub);
        }
    }
    verify->after_sequence = scrub->log_sequence;
    verify->segments = atomic_load(&scrub->segments);
    verify->bytes = atomic_load(&scrub->bytes);
    verify_count(engine->retention->scrub, scrub);
    ks_scrub_destroy(scrub);
    return KS_OK;
}

/* ---- life ---- */

void ks_scrub_describe(struct ks_scrub *scrub, struct ks_compactor_status *out)
{
    out->scrub_segments = atomic_load(&scrub->segments);
    out->scrub_bytes = atomic_load(&scrub->bytes);
    out->scrub_damaged_segments = atomic_load(&scrub->bad_segments);
    out->scrub_damaged_batches = atomic_load(&scrub->bad_batches);
    out->scrub_damaged_records = atomic_load(&scrub->bad_records);
    out->scrub_passes = atomic_load(&scrub->passes);
    out->scrub_last_pass_unix_ms = atomic_load(&scrub->last_unix_ms);
    bool is_on = atomic_load(&scrub->engine->scrub_bytes_per_s) > 0;
    uint64_t wait_ms = is_on ? pass_wait_ms(scrub) : 0;
    out->scrub_next_pass_unix_ms =
        wait_ms > 0 ? ks_clock_unix_ms(scrub->engine->options.clock) + wait_ms : 0;
}

enum ks_status ks_scrub_create(
    struct ks_engine *engine, struct ks_scrub **out, struct ks_error *err)
{
    struct ks_scrub *scrub = ks_zalloc(sizeof *scrub);
    if (!scrub)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot make the scrubber");
    scrub->engine = engine;
    scrub->budget_mono_ns = scrub_now(scrub);
    pass_schedule(scrub, FIRST_PASS_MS);
    *out = scrub;
    return KS_OK;
}

void ks_scrub_destroy(struct ks_scrub *scrub)
{
    if (!scrub)
        return;
    if (scrub->segment)
        segment_leave(scrub);
    if (scrub->log)
        ks_log_unref(scrub->log);
    ks_free(scrub->log_ids);
    ks_free(scrub);
}
