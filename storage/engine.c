#include "storage/engine.h"

#include "base/alloc.h"
#include "storage/engine_priv.h"
#include "storage/reshard.h"
#include "storage/threads.h"

#include <time.h>

#define KIB 1024u
#define MIB (1024u * 1024u)
#define STEPS_MAX 8u
#define STOP_POLL_NS 1000000 /* while threads drain */
#define MODEL_PASSES_MAX 100000u

void ks_engine_limits_default(struct ks_engine_limits *limits)
{
    *limits = (struct ks_engine_limits){.segment_bytes = 64 * MIB,
        .segment_step_bytes = 64 * KIB,
        .segment_batches_max = KS_FOOTER_BATCHES_MAX,
        .journal_bytes = 256 * MIB,
        .journal_file_bytes = 32 * MIB,
        .journal_first_file_bytes = 4 * MIB,
        .block_bytes_max = 16 * MIB,
        .group_bytes = 4 * MIB,
        .tail_chunk_bytes = 256 * KIB,
        .tail_bytes_max = 512ull * MIB,
        .flush_bytes = 64 * MIB,
        .flush_log_bytes = 1 * MIB,
        .flush_age_ms = 60000,
        .flush_logs_max = 256,
        .index_interval_bytes = 64 * KIB,
        .pool_files = 4,
        .shards_max = 20000,
        .compact_files_per_s = 200,
        .scrub_bytes_per_s = 4 * MIB,
        .scrub_interval_ms = 7ull * 24 * 3600 * 1000,
        .pinned_bytes_max = 256 * MIB,
        .scale = {.interval_ms = 60000,
            .bytes_per_s = 1 * MIB,
            .records_per_s = 1000,
            .cold_ms = 6ull * 3600 * 1000,
            .shards_min = 4,
            .shards_max = 10000},
        .map_bytes_min = 16 * KIB};
}

void ks_engine_limits_small(struct ks_engine_limits *limits)
{
    *limits = (struct ks_engine_limits){.segment_bytes = 64 * KIB,
        .segment_step_bytes = 8 * KIB,
        .segment_batches_max = 200,
        .journal_bytes = 512 * KIB,
        .journal_file_bytes = 128 * KIB,
        .journal_first_file_bytes = 64 * KIB,
        .block_bytes_max = 32 * KIB,
        .group_bytes = 16 * KIB,
        .tail_chunk_bytes = 8 * KIB,
        .tail_bytes_max = 4 * MIB,
        .flush_bytes = 64 * KIB,
        .flush_log_bytes = 16 * KIB,
        .flush_age_ms = 2000,
        .flush_logs_max = 4,
        .index_interval_bytes = 4 * KIB,
        .pool_files = 2,
        .shards_max = 100,
        .compact_files_per_s = 1000,
        .scrub_bytes_per_s = 16 * MIB,
        .scrub_interval_ms = 60000,
        .pinned_bytes_max = 1 * MIB,
        .scale = {.interval_ms = 1000,
            .bytes_per_s = 8 * KIB,
            .records_per_s = 20,
            .cold_ms = 3000,
            .shards_min = 1,
            .shards_max = 4},
        .map_bytes_min = 6 * KIB};
}

/* What the parts rely on: a batch fits a block, a block a file, and two batches a segment. */
static enum ks_status limits_check(const struct ks_engine_limits *limits, struct ks_error *err)
{
    if (limits->block_bytes_max < 16 * KIB || limits->journal_file_bytes < 64 * KIB ||
        limits->segment_bytes < 32 * KIB || limits->segment_bytes > UINT32_MAX / 2 ||
        limits->segment_batches_max == 0 || limits->segment_batches_max > KS_FOOTER_BATCHES_MAX ||
        limits->group_bytes == 0 || limits->tail_chunk_bytes < 4 * KIB ||
        limits->flush_logs_max == 0 || limits->tail_bytes_max < 1 * MIB)
        return ks_fail(err, KS_INVALID, 0, "storage limits are too small or too large");
    return KS_OK;
}

void ks_engine_poison(struct ks_engine *engine, const struct ks_error *error)
{
    /* No mutex: the caller may hold any. The text is there before the flag is. */
    if (atomic_exchange(&engine->is_poison_claimed, true))
        return; /* the first failure is the one to tell */
    engine->poison_error = *error;
    atomic_store(&engine->is_poisoned, true);
    ks_emit(
        engine->options.events, KS_LEVEL_ERROR, "engine.poisoned", "why=\"%.300s\"", error->text);
    /* Whoever sleeps shall see it: the committer answers what is queued. */
    struct ks_step *steps[STEPS_MAX];
    size_t count = ks_engine_steps(engine, steps, STEPS_MAX);
    for (size_t i = 0; i < count; i++)
        ks_wake_set(steps[i]->wake);
    if (engine->options.on_poison)
        engine->options.on_poison(engine->options.on_poison_arg, error);
}

bool ks_engine_is_poisoned(struct ks_engine *engine)
{
    return atomic_load(&engine->is_poisoned);
}

/* The directories of the journal; those of the segments are the files' own. */
static enum ks_status engine_make_dirs(struct ks_engine *engine, struct ks_error *err)
{
    static const char *const dirs[] = {"journal", "quarantine"};
    for (size_t i = 0; i < KS_COUNT_OF(dirs); i++) {
        enum ks_status st = ks_io_make_dir(engine->options.io, dirs[i], err);
        if (st)
            return st;
    }
    return ks_io_sync_dir(engine->options.io, ".", err);
}

static enum ks_status engine_create_parts(struct ks_engine *engine, struct ks_error *err)
{
    enum ks_status st = ks_journal_create(engine, &engine->journal, err);
    if (!st)
        st = ks_catalog_create(engine, &engine->catalog, err);
    if (!st)
        st = ks_registry_create(engine, &engine->registry, err);
    if (!st)
        st = ks_reshards_create(engine, &engine->reshards, err);
    if (!st)
        st = ks_files_create(engine, &engine->files, err);
    if (!st)
        st = ks_flush_create(engine, &engine->flush, err);
    if (!st)
        st = ks_retention_create(engine, &engine->retention, err);
    if (!st)
        st = ks_commit_create(engine, &engine->commit, err);
    return st;
}

/*
 * The run id first: raised durably before anything of this run can be written. Then the catalog's
 * rows, the files they name, and the journal on top of them.
 */
static enum ks_status engine_recover(struct ks_engine *engine, struct ks_error *err)
{
    struct ks_catalog_journal_row row;
    enum ks_status st = ks_adopt_newer(engine, err);
    if (!st)
        st = ks_catalog_begin_run(engine->catalog, &row, err);
    if (st)
        return st;
    bool erase_index = !row.was_clean;
#ifdef KS_PLANTED_BUG_TRUST_INDEX_AFTER_CRASH
    erase_index = false;
#endif
    st = ks_index_create(engine, erase_index, &engine->index, err);
    if (!st)
        st = ks_registry_load(engine->registry, err);
    if (!st)
        st = ks_files_load(engine->files, err);
    if (!st)
        st = ks_recovery_run(engine, &row, err);
    if (st)
        return st;
    ks_reshards_resume(engine->reshards);
    ks_retention_load(engine->retention);
    return KS_OK;
}

enum ks_status ks_engine_open(
    const struct ks_engine_options *options, struct ks_engine **out_engine, struct ks_error *err)
{
    enum ks_status st = limits_check(&options->limits, err);
    if (st)
        return st;
    KS_CLEANUP(ks_engine_destroyp) struct ks_engine *engine = ks_zalloc(sizeof *engine);
    if (!engine)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot open the storage engine");
    engine->options = *options;
    ks_tail_budget_init(&engine->tail_budget, options->limits.tail_bytes_max);
    ks_engine_set_limits(engine, &options->limits);
    uint64_t seed = options->random_seed;
    if (seed == 0)
        st = ks_random_bytes(&seed, sizeof seed, err);
    if (st)
        return st;
    ks_prng_seed(&engine->prng, seed);
    st = engine_make_dirs(engine, err);
    if (!st)
        st = engine_create_parts(engine, err);
    if (!st)
        st = engine_recover(engine, err);
    if (st)
        return st;
    *out_engine = KS_TAKE(engine);
    return KS_OK;
}

/* The queue first: its appends refer to logs and to reshards. The catalog completes the changes of
 * all others while they are there. The registry drops the logs, their segments and those of the
 * index use files. */
void ks_engine_destroy(struct ks_engine *engine)
{
    if (!engine)
        return;
    ks_threads_stop(engine->threads);
    ks_commit_destroy(engine->commit);
    ks_reshards_end(engine->reshards);
    ks_catalog_destroy(engine->catalog);
    ks_reshards_destroy(engine->reshards);
    ks_flush_destroy(engine->flush);
    ks_retention_destroy(engine->retention);
    ks_registry_destroy(engine->registry);
    ks_index_destroy(engine->index);
    engine->index = NULL;
    ks_files_destroy(engine->files);
    ks_journal_destroy(engine->journal);
    ks_tail_budget_fini(&engine->tail_budget);
    ks_free(engine);
}

void ks_engine_set_limits(struct ks_engine *engine, const struct ks_engine_limits *limits)
{
    atomic_store(&engine->tail_budget.bytes_max, limits->tail_bytes_max);
    /* Before the memory is short. */
    atomic_store(&engine->flush_bytes, ks_min_u64(limits->flush_bytes, limits->tail_bytes_max / 2));
    atomic_store(&engine->flush_age_ms, limits->flush_age_ms);
    atomic_store(&engine->shards_max, limits->shards_max);
    atomic_store(&engine->compact_files_per_s, limits->compact_files_per_s);
    atomic_store(&engine->scrub_bytes_per_s, limits->scrub_bytes_per_s);
    atomic_store(&engine->scrub_interval_ms, limits->scrub_interval_ms);
    if (engine->retention)
        ks_wake_set(ks_retention_step(engine->retention)->wake);
}

const struct ks_adopted *ks_engine_adopted(const struct ks_engine *engine)
{
    return &engine->adopted;
}

const struct ks_recovery_stats *ks_engine_recovery(const struct ks_engine *engine)
{
    return &engine->recovery;
}

/* While an engine opens or closes some parts are not there. */
size_t ks_engine_steps(struct ks_engine *engine, struct ks_step **out_steps, size_t count_max)
{
    struct ks_step *steps[STEPS_MAX] = {
        engine->commit ? ks_commit_step(engine->commit) : NULL,
        engine->flush ? ks_flush_step(engine->flush) : NULL,
        engine->catalog ? ks_catalog_step(engine->catalog) : NULL,
        engine->files ? ks_files_step(engine->files) : NULL,
        engine->index ? ks_index_step(engine->index) : NULL,
        engine->journal ? ks_journal_step(engine->journal) : NULL,
        engine->reshards ? ks_reshards_step(engine->reshards) : NULL,
        engine->retention ? ks_retention_step(engine->retention) : NULL,
    };
    size_t count = 0;
    for (size_t i = 0; i < STEPS_MAX && count < count_max; i++) {
        if (steps[i])
            out_steps[count++] = steps[i];
    }
    return count;
}

enum ks_status ks_engine_start(struct ks_engine *engine, struct ks_error *err)
{
    KS_ASSERT(!engine->threads);
    struct ks_step *steps[STEPS_MAX];
    size_t count = ks_engine_steps(engine, steps, STEPS_MAX);
    return ks_threads_start(steps, count, engine->options.events, &engine->threads, err);
}

const struct ks_engine_latencies *ks_engine_latencies(const struct ks_engine *engine)
{
    return &engine->latencies;
}

size_t ks_engine_pulses(
    struct ks_engine *engine, struct ks_step_pulse *out_pulses, size_t count_max)
{
    return engine->threads ? ks_threads_pulses(engine->threads, out_pulses, count_max) : 0;
}

/* ---- stop ---- */

/* Runs every step until none finds work. False: it seems to go on for ever. */
static bool steps_run_dry(struct ks_engine *engine)
{
    struct ks_step *steps[STEPS_MAX];
    size_t count = ks_engine_steps(engine, steps, STEPS_MAX);
    for (unsigned pass = 0; pass < MODEL_PASSES_MAX; pass++) {
        bool is_any = false;
        for (size_t i = 0; i < count; i++) {
            if (!steps[i]->begin(steps[i]->self))
                continue;
            steps[i]->run(steps[i]->self);
            steps[i]->end(steps[i]->self);
            is_any = true;
        }
        if (!is_any)
            return true;
    }
    return false;
}

static void engine_wake_all(struct ks_engine *engine)
{
    struct ks_step *steps[STEPS_MAX];
    size_t count = ks_engine_steps(engine, steps, STEPS_MAX);
    for (size_t i = 0; i < count; i++)
        ks_wake_set(steps[i]->wake);
}

static bool commit_is_done(struct ks_engine *engine)
{
    return ks_commit_is_idle(engine->commit);
}

static bool flush_is_done(struct ks_engine *engine)
{
    return ks_flush_is_idle(engine->flush);
}

static enum ks_status engine_wait(struct ks_engine *engine, bool (*is_done)(struct ks_engine *),
    uint64_t deadline_mono_ns, const char *what, struct ks_error *err)
{
    if (!engine->threads)
        KS_IGNORE(steps_run_dry(engine), "is_done tells");
    while (!is_done(engine)) {
        if (atomic_load(&engine->is_poisoned))
            return ks_fail(
                err, KS_POISONED, 0, "cannot stop cleanly: %.160s", engine->poison_error.text);
        if (!engine->threads || ks_clock_mono_ns(&ks_clock_system) >= deadline_mono_ns)
            return ks_fail(
                err, KS_TIMEOUT, 0, "%s did not end in time: the next start will recover", what);
        engine_wake_all(engine);
        struct timespec pause = {.tv_nsec = STOP_POLL_NS};
        nanosleep(&pause, NULL);
    }
    return KS_OK;
}

/* An append that saw the engine running is queued when its log's mutex is free again; later ones
 * are refused. */
static void log_barrier(void *arg, struct ks_log *log)
{
    (void)arg;
    ks_mutex_lock(&log->mu);
    ks_mutex_unlock(&log->mu);
}

static enum ks_status engine_drain(
    struct ks_engine *engine, uint64_t deadline_mono_ns, struct ks_error *err)
{
    atomic_store(&engine->is_stopping, true);
    ks_registry_each_log(engine->registry, log_barrier, NULL);
    enum ks_status st = engine_wait(engine, commit_is_done, deadline_mono_ns, "writing", err);
    if (st)
        return st;
    ks_flush_drain(engine->flush);
    engine_wake_all(engine);
    st = engine_wait(engine, flush_is_done, deadline_mono_ns, "flushing", err);
    if (st)
        return st;
    ks_commit_name_last(engine->commit);
    return engine_wait(engine, commit_is_done, deadline_mono_ns, "writing", err);
}

enum ks_status ks_engine_stop(struct ks_engine *engine, uint64_t timeout_ms, struct ks_error *err)
{
    uint64_t deadline =
        ks_clock_mono_ns(&ks_clock_system) + ks_min_u64(timeout_ms, UINT32_MAX) * 1000000;
    enum ks_status st = engine_drain(engine, deadline, err);
    /* Steps look whether there are threads until the last has ended. */
    ks_threads_stop(engine->threads);
    engine->threads = NULL;
    /* What the threads left is answered, written or refused: no caller waits for ever. */
    KS_IGNORE(steps_run_dry(engine), "what is still there is recovered at the next start");
    ks_reshards_end(engine->reshards);
    KS_IGNORE(steps_run_dry(engine), "changes that waited for a reshard");
    if (!st && atomic_load(&engine->is_poisoned))
        st = ks_fail(err, KS_POISONED, 0, "cannot stop cleanly: %.160s", engine->poison_error.text);
    if (st)
        return st;
    ks_index_settle(engine->index);
    return ks_catalog_mark_clean(engine->catalog, err);
}

void ks_engine_stats(struct ks_engine *engine, struct ks_engine_stats *out)
{
    uint64_t counts[KS_COUNT_OF(engine->counters)];
    for (size_t i = 0; i < KS_COUNT_OF(counts); i++)
        counts[i] = atomic_load_explicit(&engine->counters[i], memory_order_relaxed);
    *out = (struct ks_engine_stats){.appended_records = counts[KS_COUNT_APPENDED_RECORDS],
        .appended_bytes = counts[KS_COUNT_APPENDED_BYTES],
        .durable_blocks = counts[KS_COUNT_DURABLE_BLOCKS],
        .durable_batches = counts[KS_COUNT_DURABLE_BATCHES],
        .flushed_bytes = counts[KS_COUNT_FLUSHED_BYTES],
        .flush_rounds = counts[KS_COUNT_FLUSH_ROUNDS],
        .catalog_commits = counts[KS_COUNT_CATALOG_COMMITS],
        .segments_sealed = counts[KS_COUNT_SEGMENTS_SEALED],
        .reads_from_tail = counts[KS_COUNT_READS_TAIL],
        .reads_from_maps = counts[KS_COUNT_READS_MAP],
        .reads_by_copy = counts[KS_COUNT_READS_COPY],
        .duplicates_answered = counts[KS_COUNT_DUPLICATES],
        .index_entries_written = counts[KS_COUNT_INDEX_WRITTEN],
        .index_lookups = counts[KS_COUNT_INDEX_LOOKUPS],
        .index_rebuilds = counts[KS_COUNT_INDEX_REBUILDS],
        .files_pooled = counts[KS_COUNT_FILES_POOLED],
        .files_recycled = counts[KS_COUNT_FILES_RECYCLED],
        .pinned_bytes = counts[KS_COUNT_PINNED_BYTES],
        .damage_met = counts[KS_COUNT_DAMAGE_MET] + engine->recovery.damaged_batches,
        .tail_bytes = atomic_load(&engine->tail_budget.used_bytes),
        .journal_used_percent = ks_journal_used_percent(engine->journal),
        .is_disk_full = atomic_load(&engine->is_disk_full)};
}
