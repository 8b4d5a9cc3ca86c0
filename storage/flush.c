#include "base/alloc.h"
#include "proto/catalog.pb-c.h"
#include "storage/engine_priv.h"
#include "storage/flush_priv.h"

#include <string.h>

#define RETRY_AFTER_NS 1000000000ULL
#define LOOK_MS 1000u /* while something is unflushed: tails grow old */
#define JOURNAL_PERCENT_EAGER 50u

struct candidate {
    struct ks_log *log; /* referenced */
    uint64_t bytes;
    uint64_t since_mono_ns;
    bool is_first;   /* pins the oldest journal file */
    bool wants_seal; /* its active segment has grown too old */
};

struct ks_flush {
    struct ks_engine *engine;
    struct ks_step step;
    struct ks_wake wake;
    struct ks_mutex mu;           /* KS_RANK_FLUSH */
    struct ks_list dirty;         /* [mu] ks_log.flush_link, each referenced */
    bool is_draining;             /* [mu] */
    bool is_busy;                 /* [mu] from begin until the round's commit is through */
    _Atomic bool must_trim;       /* tails were freed since memory was last given back */
    _Atomic bool is_wake_sent;    /* spares appends the signal's lock */
    bool waits_for_files;         /* [mu] retry_mono_ns ends as soon as the pool has files */
    uint64_t retry_mono_ns;       /* [mu] after a full disk: not before */
    struct candidate *candidates; /* [step] */
    size_t candidate_count;
    size_t candidate_capacity;
    uint64_t *first_logs; /* [step] flush_logs_max */
    size_t first_count;
    struct ks_flush_round round; /* [step, then the catalog's] */
};

/* ---- the list of dirty logs ---- */

void ks_flush_note(struct ks_flush *flush, struct ks_log *log)
{
    const struct ks_engine_limits *limits = &flush->engine->options.limits;
    bool is_new = !log->is_noted;
    if (is_new) {
        log->is_noted = true;
        ks_log_ref(log);
        KS_LOCK_SCOPE(&flush->mu);
        is_new = ks_list_is_empty(&flush->dirty);
        ks_list_push(&flush->dirty, &log->flush_link);
    }
    bool is_large =
        log->tail.bytes >= limits->flush_log_bytes ||
        atomic_load_explicit(&flush->engine->tail_budget.used_bytes, memory_order_relaxed) >=
            atomic_load_explicit(&flush->engine->flush_bytes, memory_order_relaxed);
    if (is_new || (is_large && !atomic_exchange(&flush->is_wake_sent, true)))
        ks_wake_set(&flush->wake);
}

static void list_put_back(struct ks_flush *flush)
{
    KS_LOCK_SCOPE(&flush->mu);
    for (size_t i = 0; i < flush->candidate_count; i++)
        ks_list_push(&flush->dirty, &flush->candidates[i].log->flush_link);
    flush->candidate_count = 0;
}

static bool candidate_room(struct ks_flush *flush)
{
    if (flush->candidate_count < flush->candidate_capacity)
        return true;
    size_t capacity = flush->candidate_capacity ? 2 * flush->candidate_capacity : 64;
    struct candidate *grown = ks_realloc(flush->candidates, capacity * sizeof *grown);
    if (!grown)
        return false;
    flush->candidates = grown;
    flush->candidate_capacity = capacity;
    return true;
}

/* Every dirty log, with what decides whether it is flushed now. Returns the unflushed bytes of all.
 */
static uint64_t gather(struct ks_flush *flush)
{
    struct ks_list dirty;
    ks_list_init(&dirty);
    {
        KS_LOCK_SCOPE(&flush->mu);
        ks_list_splice(&dirty, &flush->dirty);
    }
    uint64_t total = 0;
    while (!ks_list_is_empty(&dirty) && candidate_room(flush)) {
        struct ks_log *log = KS_CONTAINER_OF(ks_list_pop(&dirty), struct ks_log, flush_link);
        struct candidate candidate = {.log = log};
        bool is_clean = false;
        {
            KS_LOCK_SCOPE(&log->mu);
            candidate.wants_seal = log->wants_seal;
            is_clean = log->state == KS_LOG_DELETED || (log->tail.bytes == 0 && !log->wants_seal);
            log->is_noted = !is_clean;
            candidate.bytes = log->tail.bytes;
            candidate.since_mono_ns = log->tail_since_mono_ns;
        }
        if (is_clean) {
            ks_log_unref(log);
            continue;
        }
        total += candidate.bytes;
        flush->candidates[flush->candidate_count++] = candidate;
    }
    KS_LOCK_SCOPE(&flush->mu);
    ks_list_splice(&flush->dirty, &dirty); /* no memory for these: next time */
    return total;
}

/* ---- choosing ---- */

static void note_first(void *arg, uint64_t log_id)
{
    struct ks_flush *flush = arg;
    if (flush->first_count < flush->engine->options.limits.flush_logs_max)
        flush->first_logs[flush->first_count++] = log_id;
}

static void mark_first(struct ks_flush *flush)
{
    flush->first_count = 0;
    ks_journal_oldest_logs(flush->engine->journal, note_first, flush);
    for (size_t i = 0; i < flush->candidate_count; i++) {
        for (size_t k = 0; k < flush->first_count; k++)
            flush->candidates[i].is_first |=
                ks_log_id(flush->candidates[i].log) == flush->first_logs[k];
    }
}

static void plan(struct ks_flush *flush, bool is_all)
{
    const struct ks_engine_limits *limits = &flush->engine->options.limits;
    uint64_t now = ks_clock_mono_ns(flush->engine->options.clock);
    uint64_t age_ns = atomic_load(&flush->engine->flush_age_ms) * 1000000;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < flush->candidate_count; i++) {
            const struct candidate *candidate = &flush->candidates[i];
            bool is_old = candidate->since_mono_ns != 0 && now >= candidate->since_mono_ns + age_ns;
            bool is_wanted = is_all || is_old || candidate->wants_seal ||
                             candidate->bytes >= limits->flush_log_bytes;
            if (candidate->is_first != (pass == 0) || !is_wanted)
                continue;
            if (flush->round.count == limits->flush_logs_max)
                return;
            struct ks_flush_job *job = ks_flush_job_plan(candidate->log);
            if (job)
                flush->round.jobs[flush->round.count++] = job;
        }
    }
}

/*
 * Nothing is unflushed: what the tails of many logs have left between their other memory goes back
 * to the kernel. Only now, for other threads wait while the heap is looked through.
 */
static bool flush_rest(struct ks_flush *flush)
{
    if (flush->engine->threads && atomic_exchange(&flush->must_trim, false))
        ks_alloc_trim();
    return false;
}

static bool flush_begin(void *self)
{
    struct ks_flush *flush = self;
    struct ks_engine *engine = flush->engine;
    if (ks_engine_is_poisoned(engine))
        return false;
    bool is_draining = false;
    bool is_clean = false;
    {
        KS_LOCK_SCOPE(&flush->mu);
        is_clean = ks_list_is_empty(&flush->dirty) && !flush->is_busy;
        bool is_refused = ks_clock_mono_ns(engine->options.clock) < flush->retry_mono_ns;
        flush->step.idle_ms_max = ks_list_is_empty(&flush->dirty) ? 0 : LOOK_MS;
        if (!is_clean && (flush->is_busy || is_refused))
            return false;
        flush->is_busy = !is_clean;
        is_draining = flush->is_draining;
    }
    if (is_clean)
        return flush_rest(flush);
    atomic_store(&flush->is_wake_sent, false);
    flush->candidate_count = 0;
    uint64_t total = gather(flush);
    bool is_pressed =
        engine->journal && ks_journal_used_percent(engine->journal) >= JOURNAL_PERCENT_EAGER;
    if (is_pressed)
        mark_first(flush);
    plan(flush, is_draining || is_pressed || total >= atomic_load(&engine->flush_bytes));
    list_put_back(flush);
    if (flush->round.count > 0)
        return true;
    KS_LOCK_SCOPE(&flush->mu);
    flush->is_busy = false;
    return false;
}

/* ---- the round ---- */

static void flush_run(void *self)
{
    struct ks_flush *flush = self;
    ks_flush_round_run(&flush->round);
}

static enum ks_status round_apply(
    struct ks_change *change, struct ks_kv_txn *txn, struct ks_error *err)
{
    struct ks_flush_round *round = KS_CONTAINER_OF(change, struct ks_flush_round, change);
    for (uint32_t i = 0; i < round->count; i++) {
        enum ks_status st = ks_flush_job_apply(round->jobs[i], txn, err);
        if (st)
            return st;
    }
    return KS_OK;
}

static void round_free(struct ks_flush *flush)
{
    for (uint32_t i = 0; i < flush->round.count; i++)
        ks_flush_job_free(flush->round.jobs[i]);
    flush->round.count = 0;
    KS_LOCK_SCOPE(&flush->mu);
    flush->is_busy = false;
}

static void refused(struct ks_flush *flush, const struct ks_error *error)
{
    ks_emit(flush->engine->options.events, KS_LEVEL_WARNING, "flush.refused", "why=\"%s\"",
        error->text);
    if (error->status == KS_STORAGE_FULL)
        atomic_store(&flush->engine->is_disk_full, true);
    ks_files_want(flush->engine->files, 0); /* it gives back what it can spare */
    KS_LOCK_SCOPE(&flush->mu);
    flush->waits_for_files = false;
    flush->retry_mono_ns = ks_clock_mono_ns(flush->engine->options.clock) + RETRY_AFTER_NS;
}

/* The flushpoints are durable: only now may readers switch, the tail be freed, the journal forget.
 */
static void round_done(
    struct ks_change *change, enum ks_status status, const struct ks_error *error)
{
    struct ks_flush_round *round = KS_CONTAINER_OF(change, struct ks_flush_round, change);
    struct ks_flush *flush = KS_CONTAINER_OF(round, struct ks_flush, round);
#ifdef KS_PLANTED_BUG_FLUSHPOINT_BEFORE_SYNC
    if (!status)
        ks_flush_round_sync(round);
#endif
    if (status)
        refused(flush, error);
    for (uint32_t i = 0; !status && i < round->count; i++)
        ks_flush_job_publish(round->jobs[i]);
    if (!status) {
        atomic_store(&flush->must_trim, true);
        ks_engine_count(flush->engine, KS_COUNT_FLUSH_ROUNDS, 1);
        if (round->refusal.status != KS_STORAGE_FULL && round->files_missing == 0)
            atomic_store(&flush->engine->is_disk_full, false);
    }
    round_free(flush);
    ks_wake_set(&flush->wake);
}

void ks_flush_files_ready(struct ks_flush *flush)
{
    {
        KS_LOCK_SCOPE(&flush->mu);
        if (flush->waits_for_files)
            flush->retry_mono_ns = 0;
        flush->waits_for_files = false;
    }
    ks_wake_set(&flush->wake);
}

/* Nothing could be written for want of files: look again when there are some, not before. */
static void wait_for_files(struct ks_flush *flush)
{
    {
        KS_LOCK_SCOPE(&flush->mu);
        flush->waits_for_files = true;
        flush->retry_mono_ns = ks_clock_mono_ns(flush->engine->options.clock) + RETRY_AFTER_NS;
    }
    /* They may have come between the round and the lines above. */
    if (ks_files_has_ready(flush->engine->files))
        ks_flush_files_ready(flush);
}

static void flush_end(void *self)
{
    struct ks_flush *flush = self;
    struct ks_flush_round *round = &flush->round;
    if (round->files_missing > 0)
        ks_files_want(flush->engine->files, round->files_missing);
    if (round->refusal.status)
        refused(flush, &round->refusal);
    if (round->ready_count == 0 && round->files_missing > 0 && !round->refusal.status)
        wait_for_files(flush);
    if (round->ready_count == 0 || ks_engine_is_poisoned(flush->engine)) {
        round_free(flush);
        return;
    }
    round->change.apply = round_apply;
    round->change.done = round_done;
    ks_catalog_submit(flush->engine->catalog, &round->change);
}

struct ks_step *ks_flush_step(struct ks_flush *flush)
{
    return &flush->step;
}

void ks_flush_drain(struct ks_flush *flush)
{
    {
        KS_LOCK_SCOPE(&flush->mu);
        flush->is_draining = true;
    }
    ks_wake_set(&flush->wake);
}

bool ks_flush_is_idle(struct ks_flush *flush)
{
    KS_LOCK_SCOPE(&flush->mu);
    return !flush->is_busy && ks_list_is_empty(&flush->dirty);
}

/* ---- life ---- */

enum ks_status ks_flush_create(
    struct ks_engine *engine, struct ks_flush **out, struct ks_error *err)
{
    uint32_t logs_max = engine->options.limits.flush_logs_max;
    struct ks_flush *flush = ks_zalloc(sizeof *flush);
    if (flush) {
        flush->first_logs = ks_calloc(logs_max, sizeof *flush->first_logs);
        flush->round.jobs = ks_calloc(logs_max, sizeof(struct ks_flush_job *));
    }
    if (!flush || !flush->first_logs || !flush->round.jobs) {
        if (flush) {
            ks_free(flush->first_logs);
            ks_free(flush->round.jobs);
        }
        ks_free(flush);
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot make the flusher");
    }
    flush->engine = engine;
    flush->round.engine = engine;
    ks_wake_init(&flush->wake, KS_RANK_WAKE);
    ks_mutex_init(&flush->mu, KS_RANK_FLUSH);
    ks_list_init(&flush->dirty);
    flush->step = (struct ks_step){.name = "flush",
        .self = flush,
        .begin = flush_begin,
        .run = flush_run,
        .end = flush_end,
        .wake = &flush->wake};
    *out = flush;
    return KS_OK;
}

void ks_flush_destroy(struct ks_flush *flush)
{
    if (!flush)
        return;
    round_free(flush);
    struct ks_list *node;
    while ((node = ks_list_pop(&flush->dirty)))
        ks_log_unref(KS_CONTAINER_OF(node, struct ks_log, flush_link));
    ks_free(flush->candidates);
    ks_free(flush->first_logs);
    ks_free(flush->round.jobs);
    ks_mutex_fini(&flush->mu);
    ks_wake_fini(&flush->wake);
    ks_free(flush);
}
