/*
 * The compactor's step. Happy path: begin takes what is due off the heaps and plans it, log by log;
 * run looks for edges and reads a slice for the scrubber; end submits one change that marks the
 * expired segments RETIRED; when that is durable they leave their logs, and each file goes to the
 * pool or is unlinked as soon as nobody reads it any more (segment.c, files.c).
 *
 * Ways to fail: a refused commit (a full disk) leaves everything as it was, to be tried again in a
 * second. A log or a stream that goes another way meanwhile is passed over when the change is
 * applied. A crash before the commit forgets the round, one after it finds RETIRED rows, whose
 * files the next start takes into the pool.
 */
#include "storage/retention.h"

#include "base/alloc.h"
#include "proto/catalog.pb-c.h"
#include "storage/retention_priv.h"

#define RETRY_AFTER_NS 1000000000ULL
#define LOOK_MS_MAX 10000u /* while anything can expire: a machine sleeps, a clock is set */
#define ALLOWANCE_MAX 64u
#define REMOVAL_LOOK_MS 100u

/* ---- what is due when ---- */

static struct ks_log *log_of(struct ks_due *due)
{
    return KS_CONTAINER_OF(due, struct ks_log, due);
}

void ks_retention_note_at(struct ks_retention *retention, struct ks_log *log, uint64_t unix_ms)
{
    bool is_sooner = false;
    bool is_dropped = false;
    {
        KS_LOCK_SCOPE(&retention->mu);
        bool was_in = log->due.place != 0;
        const struct ks_due *first = ks_due_heap_first(&retention->logs);
        uint64_t first_ms = first ? first->unix_ms : UINT64_MAX;
        if (unix_ms == UINT64_MAX) {
            ks_due_heap_remove(&retention->logs, &log->due);
            is_dropped = was_in;
        } else if (ks_due_heap_put(&retention->logs, &log->due, unix_ms)) {
            if (!was_in)
                ks_log_ref(log);
            is_sooner = unix_ms < first_ms;
        } else {
            retention->needs_scan = true;
        }
    }
    if (is_sooner)
        ks_wake_set(&retention->wake);
    if (is_dropped)
        ks_log_unref(log); /* not the last one: the caller has his own */
}

void ks_retention_note(struct ks_retention *retention, struct ks_log *log)
{
    ks_retention_note_at(retention, log, ks_retention_due(log));
}

/* mu held. */
static void kept_add(struct ks_retention *retention, uint64_t number, uint64_t unix_ms)
{
    struct ks_kept_stream *kept = ks_zalloc(sizeof *kept);
    if (!kept || !ks_due_heap_put(&retention->streams, &kept->due, unix_ms)) {
        ks_free(kept);
        retention->needs_scan = true;
        return;
    }
    kept->number = number;
    ks_list_push(&retention->kept, &kept->link);
}

void ks_retention_note_kept(struct ks_retention *retention, uint64_t number, uint64_t unix_ms)
{
    {
        KS_LOCK_SCOPE(&retention->mu);
        kept_add(retention, number, unix_ms);
    }
    ks_wake_set(&retention->wake);
}

/* mu held. */
static void kept_drop(struct ks_retention *retention, struct ks_kept_stream *kept)
{
    ks_due_heap_remove(&retention->streams, &kept->due);
    ks_list_remove(&kept->link);
    ks_free(kept);
}

static void scan_log(void *arg, struct ks_log *log)
{
    KS_LOCK_SCOPE(&log->mu);
    ks_retention_note(arg, log);
}

struct kept_list {
    struct kept_found {
        uint64_t number;
        uint64_t purge_unix_ms;
    } * items;
    size_t count;
    size_t capacity;
    bool is_cut;
};

static void collect_kept(void *arg, uint64_t number, uint64_t purge_unix_ms)
{
    struct kept_list *list = arg;
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 16;
        struct kept_found *grown = ks_realloc(list->items, capacity * sizeof *grown);
        list->is_cut = list->is_cut || !grown;
        if (!grown)
            return;
        list->items = grown;
        list->capacity = capacity;
    }
    list->items[list->count++] =
        (struct kept_found){.number = number, .purge_unix_ms = purge_unix_ms};
}

void ks_retention_load(struct ks_retention *retention)
{
    struct ks_registry *registry = retention->engine->registry;
    struct kept_list list = {.items = NULL};
    {
        KS_LOCK_SCOPE(&retention->mu);
        retention->needs_scan = false;
        while (!ks_list_is_empty(&retention->kept))
            kept_drop(
                retention, KS_CONTAINER_OF(retention->kept.next, struct ks_kept_stream, link));
    }
    ks_registry_each_log(registry, scan_log, retention);
    ks_registry_each_kept(registry, collect_kept, &list);
    {
        KS_LOCK_SCOPE(&retention->mu);
        for (size_t i = 0; i < list.count; i++)
            kept_add(retention, list.items[i].number, list.items[i].purge_unix_ms);
        retention->needs_scan = retention->needs_scan || list.is_cut;
    }
    ks_free(list.items);
}

/* ---- begin ---- */

/* Segments that may go now: so many a second, all of them when space is needed or somebody waits.
 */
static void allowance_add(struct ks_retention *retention, bool is_pressed)
{
    uint64_t rate = atomic_load(&retention->engine->compact_files_per_s);
    uint64_t now = ks_clock_mono_ns(retention->engine->options.clock);
    if (rate == 0 || is_pressed) {
        retention->allowance = ALLOWANCE_MAX;
        retention->tokens_mono_ns = now;
        return;
    }
    uint64_t since = ks_min_u64(now - retention->tokens_mono_ns, 1000000000);
    uint64_t more = since * rate / 1000000000;
    if (more == 0)
        return;
    retention->allowance = ks_min_u64(retention->allowance + more, ALLOWANCE_MAX);
    retention->tokens_mono_ns = now;
}

/* The logs that are due, their references with them. */
static uint32_t take_due_logs(
    struct ks_retention *retention, uint64_t now_unix_ms, struct ks_log **logs)
{
    uint32_t count = 0;
    KS_LOCK_SCOPE(&retention->mu);
    while (count < KS_LOOK_ROUND_MAX) {
        struct ks_due *due = ks_due_heap_first(&retention->logs);
        if (!due || due->unix_ms > now_unix_ms)
            break;
        ks_due_heap_remove(&retention->logs, due);
        logs[count++] = log_of(due);
    }
    return count;
}

/* Returns how many removals of shards it began. */
static uint32_t plan_logs(struct ks_retention *retention, uint64_t now_unix_ms)
{
    struct ks_log *logs[KS_LOOK_ROUND_MAX];
    uint32_t count = take_due_logs(retention, now_unix_ms, logs);
    uint32_t begun = 0;
    for (uint32_t i = 0; i < count; i++) {
        begun += ks_retention_remove_shard(retention, logs[i], now_unix_ms);
        ks_retention_plan(retention, logs[i], now_unix_ms);
        ks_log_unref(logs[i]);
    }
    return begun;
}

/* Begins purges; returns how many streams it looked at. Each stays noted until the registry says
 * that it is gone. */
static uint32_t purge_streams(struct ks_retention *retention, uint64_t now_unix_ms)
{
    for (uint32_t i = 0;; i++) {
        struct ks_kept_stream *kept = NULL; /* only this step moves or drops one */
        {
            KS_LOCK_SCOPE(&retention->mu);
            struct ks_due *due = ks_due_heap_first(&retention->streams);
            if (!due || due->unix_ms > now_unix_ms || i == KS_PURGE_ROUND_MAX)
                return i;
            kept = KS_CONTAINER_OF(due, struct ks_kept_stream, due);
        }
        struct ks_error error = KS_ERROR_INIT;
        uint64_t look_unix_ms = 0;
        enum ks_status st =
            ks_registry_purge(retention->engine, kept->number, now_unix_ms, &look_unix_ms, &error);
        if (st)
            ks_emit(retention->engine->options.events, KS_LEVEL_WARNING, "retention.purge_refused",
                "stream_number=%llu why=\"%s\"", (unsigned long long)kept->number, error.text);
        KS_LOCK_SCOPE(&retention->mu);
        if (look_unix_ms == 0)
            kept_drop(retention, kept);
        else
            KS_IGNORE(ks_due_heap_put(&retention->streams, &kept->due, look_unix_ms),
                "a node that is in needs no memory");
    }
}

/* mu held. While something is due: until the allowance or the time after a refusal lets it go. */
static uint64_t blocked_ms(const struct ks_retention *retention)
{
    uint64_t now = ks_clock_mono_ns(retention->engine->options.clock);
    uint64_t rate = atomic_load(&retention->engine->compact_files_per_s);
    if (now < retention->retry_mono_ns)
        return (retention->retry_mono_ns - now) / 1000000 + 1;
    return rate > 0 ? 1000 / rate + 1 : 1;
}

/* mu held. When begin shall be asked again, unsignalled. */
static uint64_t idle_ms(struct ks_retention *retention, uint64_t now_unix_ms, uint64_t scrub_ms)
{
    uint64_t wait = scrub_ms ? scrub_ms : UINT64_MAX;
    const struct ks_due *firsts[] = {
        ks_due_heap_first(&retention->logs), ks_due_heap_first(&retention->streams)};
    for (size_t i = 0; i < KS_COUNT_OF(firsts); i++) {
        if (!firsts[i])
            continue;
        uint64_t until = firsts[i]->unix_ms > now_unix_ms ? firsts[i]->unix_ms - now_unix_ms
                                                          : blocked_ms(retention);
        wait = ks_min_u64(wait, ks_min_u64(until, LOOK_MS_MAX));
    }
    if (retention->needs_scan)
        wait = ks_min_u64(wait, LOOK_MS_MAX);
    if (retention->removal_count > 0)
        wait = ks_min_u64(wait, REMOVAL_LOOK_MS); /* its mail wakes nobody */
    return wait == UINT64_MAX ? 0 : ks_max_u64(wait, 1);
}

/* mu held. */
static bool is_anything_due(const struct ks_retention *retention, uint64_t now_unix_ms)
{
    const struct ks_due *log = ks_due_heap_first(&retention->logs);
    const struct ks_due *stream = ks_due_heap_first(&retention->streams);
    return (log && log->unix_ms <= now_unix_ms) || (stream && stream->unix_ms <= now_unix_ms);
}

static void run_note_begun(struct ks_retention *retention)
{
    KS_LOCK_SCOPE(&retention->mu);
    if (retention->is_running)
        return;
    retention->is_running = true;
    retention->before = retention->last;
    retention->last = (struct ks_compactor_run){
        .started_unix_ms = ks_clock_unix_ms(retention->engine->options.clock)};
}

static void run_note_ended(struct ks_retention *retention)
{
    struct ks_compactor_run run;
    {
        KS_LOCK_SCOPE(&retention->mu);
        if (!retention->is_running)
            return;
        retention->is_running = false;
        retention->last.ended_unix_ms = ks_clock_unix_ms(retention->engine->options.clock);
        run = retention->last;
        /* A pass that found nothing to retire does not hide the figures of one that did. */
        if (run.segments == 0 && retention->before.segments > 0)
            retention->last = retention->before;
    }
    if (run.segments > 0)
        ks_emit(retention->engine->options.events, KS_LEVEL_INFO, "retention.pass",
            "segments=%llu bytes=%llu records=%llu", (unsigned long long)run.segments,
            (unsigned long long)run.bytes, (unsigned long long)run.records);
}

/* Who waits for a pass is answered with its outcome. */
static void answer_waiters(
    struct ks_retention *retention, enum ks_status status, const struct ks_error *error)
{
    struct ks_list waiters;
    ks_list_init(&waiters);
    {
        KS_LOCK_SCOPE(&retention->mu);
        ks_list_splice(&waiters, &retention->waiters);
    }
    struct ks_list *node;
    while ((node = ks_list_pop(&waiters))) {
        struct ks_mail *mail = KS_CONTAINER_OF(node, struct ks_mail, link);
        struct ks_admin *admin = KS_CONTAINER_OF(mail, struct ks_admin, mail);
        admin->status = status;
        admin->error = *error;
        admin->stream = NULL;
        ks_mailbox_send(admin->home, &admin->mail);
    }
}

/* Nothing is due. */
static void pass_over(struct ks_retention *retention)
{
    struct ks_error error = KS_ERROR_INIT;
    run_note_ended(retention);
    answer_waiters(retention, KS_OK, &error);
}

/* What may be done now: is a commit under way, has one been refused, is the allowance used up? */
static bool may_plan(struct ks_retention *retention)
{
    bool is_pressed = atomic_load(&retention->engine->is_disk_full);
    uint64_t now = ks_clock_mono_ns(retention->engine->options.clock);
    {
        KS_LOCK_SCOPE(&retention->mu);
        is_pressed = is_pressed || !ks_list_is_empty(&retention->waiters);
        if (now < retention->retry_mono_ns)
            return false;
    }
    allowance_add(retention, is_pressed);
    return retention->allowance > 0;
}

static bool retention_begin(void *self)
{
    struct ks_retention *retention = self;
    struct ks_engine *engine = retention->engine;
    if (ks_engine_is_poisoned(engine) || atomic_load(&engine->is_stopping)) {
        struct ks_error error = KS_ERROR_INIT;
        answer_waiters(retention,
            ks_fail(&error, KS_STOPPING, 0, "%s", ks_status_info(KS_STOPPING)->text), &error);
        return false;
    }
    ks_mailbox_deliver(&retention->box);
    uint64_t now = ks_engine_retention_unix_ms(engine);
    bool is_due = false;
    bool needs_scan = false;
    {
        KS_LOCK_SCOPE(&retention->mu);
        if (retention->is_busy)
            return false;
        needs_scan = retention->needs_scan;
    }
    if (needs_scan)
        ks_retention_load(retention);
    {
        KS_LOCK_SCOPE(&retention->mu);
        is_due = is_anything_due(retention, now);
    }
    if (!is_due)
        pass_over(retention);
    uint32_t begun = 0;
    if (is_due && may_plan(retention)) {
        run_note_begun(retention);
        begun = purge_streams(retention, now);
        begun += plan_logs(retention, now);
    }
    uint64_t scrub_ms = 0;
    bool is_scrub_due = ks_scrub_is_due(retention->scrub, &scrub_ms);
    KS_LOCK_SCOPE(&retention->mu);
    retention->step.idle_ms_max = idle_ms(retention, now, scrub_ms);
    retention->is_busy =
        retention->doomed_count > 0 || retention->refresh_count > 0 || begun > 0 || is_scrub_due;
    return retention->is_busy;
}

/* ---- run ---- */

static void retention_run(void *self)
{
    struct ks_retention *retention = self;
    uint64_t now = ks_engine_retention_unix_ms(retention->engine);
    for (uint32_t i = 0; i < retention->refresh_count; i++) {
        ks_retention_refresh(retention->refresh[i], now);
        ks_log_unref(retention->refresh[i]);
    }
    retention->refresh_count = 0;
    ks_scrub_run(retention->scrub);
}

/* ---- end: the commit ---- */

/* Log mutex held. Still what it was when it was planned? */
static bool is_in_list(const struct ks_doomed *doomed)
{
    return doomed->log->state != KS_LOG_DELETED &&
           ks_segment_list_find(&doomed->log->segments, doomed->segment->last_sequence) ==
               doomed->segment;
}

static enum ks_status retire_apply(
    struct ks_change *change, struct ks_kv_txn *txn, struct ks_error *err)
{
    struct ks_retention *retention = KS_CONTAINER_OF(change, struct ks_retention, change);
    enum ks_status st = KS_OK;
    for (uint32_t i = 0; !st && i < retention->doomed_count; i++) {
        struct ks_doomed *doomed = &retention->doomed[i];
        {
            KS_LOCK_SCOPE(&doomed->log->mu);
            doomed->is_skipped = !is_in_list(doomed);
        }
        if (doomed->is_skipped)
            continue;
        Kstream__Catalog__FileRow row = KSTREAM__CATALOG__FILE_ROW__INIT;
        row.generation = doomed->segment->generation;
        row.status = KS_FILE_RETIRED;
        struct ks_catalog_key key;
        st = ks_catalog_put(txn, KS_TABLE_FILES, ks_catalog_key_u64(&key, doomed->segment->file_id),
            &row.base, err);
    }
    return st;
}

/* Log mutex held. The segment leaves its log; the list's reference goes to the caller. */
static bool leave_log(struct ks_doomed *doomed)
{
    struct ks_segment_list *list = &doomed->log->segments;
    if (doomed->is_skipped || !is_in_list(doomed))
        return false;
    uint32_t at = 0;
    while (list->items[at] != doomed->segment)
        at++;
    list->count--;
    for (; at < list->count; at++)
        list->items[at] = list->items[at + 1];
    struct ks_log_edge edge = {.sequence = doomed->segment->last_sequence + 1,
        .arrival_unix_ms = doomed->segment->last_arrival_unix_ms};
    ks_log_note_edge(doomed->log, &edge);
    ks_segment_retire(doomed->segment);
    return true;
}

static void run_count(struct ks_retention *retention, const struct ks_segment *segment)
{
    KS_LOCK_SCOPE(&retention->mu);
    retention->last.segments++;
    retention->last.bytes += segment->held_bytes;
    retention->last.records += segment->last_sequence - segment->first_sequence + 1;
}

static void doomed_end(struct ks_retention *retention, struct ks_doomed *doomed, bool is_done)
{
    bool has_left = false;
    {
        KS_LOCK_SCOPE(&doomed->log->mu);
        has_left = is_done && leave_log(doomed);
        if (doomed->has_token)
            doomed->log->is_flushing = false;
        ks_retention_note(retention, doomed->log);
    }
    if (has_left) {
        run_count(retention, doomed->segment);
        ks_segment_unref(doomed->segment);
    }
    ks_segment_unref(doomed->segment);
    ks_log_unref(doomed->log);
}

static void round_end(struct ks_retention *retention, bool is_done)
{
    for (uint32_t i = 0; i < retention->doomed_count; i++)
        doomed_end(retention, &retention->doomed[i], is_done);
    retention->doomed_count = 0;
    {
        KS_LOCK_SCOPE(&retention->mu);
        retention->is_busy = false;
    }
    ks_wake_set(&retention->wake);
}

static void retire_done(
    struct ks_change *change, enum ks_status status, const struct ks_error *error)
{
    struct ks_retention *retention = KS_CONTAINER_OF(change, struct ks_retention, change);
    if (status) {
        ks_emit(retention->engine->options.events, KS_LEVEL_WARNING, "retention.refused",
            "why=\"%s\"", error->text);
        {
            KS_LOCK_SCOPE(&retention->mu);
            retention->commits_refused++;
            retention->retry_mono_ns =
                ks_clock_mono_ns(retention->engine->options.clock) + RETRY_AFTER_NS;
        }
        answer_waiters(retention, status, error);
    }
#ifdef KS_PLANTED_BUG_RETIRE_BEFORE_CATALOG
    round_end(retention, false);
#else
    round_end(retention, status == KS_OK);
#endif
}

static void retention_end(void *self)
{
    struct ks_retention *retention = self;
    if (retention->doomed_count == 0) {
        round_end(retention, false);
        return;
    }
#ifdef KS_PLANTED_BUG_RETIRE_BEFORE_CATALOG
    for (uint32_t i = 0; i < retention->doomed_count; i++) {
        struct ks_doomed *doomed = &retention->doomed[i];
        ks_mutex_lock(&doomed->log->mu);
        bool has_left = leave_log(doomed);
        ks_mutex_unlock(&doomed->log->mu);
        if (has_left)
            ks_segment_unref(doomed->segment);
    }
#endif
    retention->change.apply = retire_apply;
    retention->change.done = retire_done;
    ks_catalog_submit(retention->engine->catalog, &retention->change);
}

struct ks_step *ks_retention_step(struct ks_retention *retention)
{
    return &retention->step;
}

/* ---- from above ---- */

enum ks_status ks_compact_now(
    struct ks_engine *engine, struct ks_admin *admin, struct ks_error *err)
{
    struct ks_retention *retention = engine->retention;
    {
        KS_LOCK_SCOPE(&retention->mu);
        if (ks_engine_is_poisoned(engine))
            return ks_fail(err, KS_POISONED, 0, "%s", ks_status_info(KS_POISONED)->text);
        if (atomic_load(&engine->is_stopping))
            return ks_fail(err, KS_STOPPING, 0, "%s", ks_status_info(KS_STOPPING)->text);
        ks_list_push(&retention->waiters, &admin->mail.link);
    }
    ks_wake_set(&retention->wake);
    return KS_OK;
}

void ks_compactor_describe(struct ks_engine *engine, struct ks_compactor_status *out)
{
    struct ks_retention *retention = engine->retention;
    *out = (struct ks_compactor_status){.is_running = false};
    {
        KS_LOCK_SCOPE(&retention->mu);
        const struct ks_due *log = ks_due_heap_first(&retention->logs);
        const struct ks_due *stream = ks_due_heap_first(&retention->streams);
        uint64_t next =
            ks_min_u64(log ? log->unix_ms : UINT64_MAX, stream ? stream->unix_ms : UINT64_MAX);
        out->is_running = retention->is_running;
        out->next_due_unix_ms = next == UINT64_MAX ? 0 : next;
        out->last = retention->last;
        out->commits_refused = retention->commits_refused;
    }
    out->segments_retired = atomic_load(&engine->counters[KS_COUNT_SEGMENTS_RETIRED]);
    out->bytes_retired = atomic_load(&engine->counters[KS_COUNT_BYTES_RETIRED]);
    out->records_retired = atomic_load(&engine->counters[KS_COUNT_RECORDS_RETIRED]);
    out->segments_held = atomic_load(&engine->counters[KS_COUNT_SEGMENTS_HELD]);
    out->bytes_held = atomic_load(&engine->counters[KS_COUNT_BYTES_HELD]);
    out->segments_sealed = atomic_load(&engine->counters[KS_COUNT_SEGMENTS_AGED]);
    out->streams_purged = atomic_load(&engine->counters[KS_COUNT_STREAMS_PURGED]);
    out->shards_removed = atomic_load(&engine->counters[KS_COUNT_SHARDS_REMOVED]);
    out->files_ready = ks_files_ready_count(engine->files);
    ks_scrub_describe(retention->scrub, out);
}

/* ---- life ---- */

enum ks_status ks_retention_create(
    struct ks_engine *engine, struct ks_retention **out, struct ks_error *err)
{
    struct ks_retention *retention = ks_zalloc(sizeof *retention);
    if (!retention)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot make the compactor");
    enum ks_status st = ks_scrub_create(engine, &retention->scrub, err);
    if (!st)
        st = ks_mailbox_init(&retention->box, false, err);
    if (st) {
        ks_scrub_destroy(retention->scrub);
        ks_free(retention);
        return st;
    }
    retention->engine = engine;
    ks_wake_init(&retention->wake, KS_RANK_WAKE);
    ks_mutex_init(&retention->mu, KS_RANK_RETENTION);
    ks_list_init(&retention->kept);
    ks_list_init(&retention->waiters);
    retention->step = (struct ks_step){.name = "retention",
        .self = retention,
        .begin = retention_begin,
        .run = retention_run,
        .end = retention_end,
        .wake = &retention->wake};
    *out = retention;
    return KS_OK;
}

/* The catalog has completed the round's change already; a round that never got so far ends here. */
void ks_retention_destroy(struct ks_retention *retention)
{
    if (!retention)
        return;
    struct ks_error error = KS_ERROR_INIT;
    answer_waiters(retention,
        ks_fail(&error, KS_STOPPING, 0, "%s", ks_status_info(KS_STOPPING)->text), &error);
    for (uint32_t i = 0; i < retention->refresh_count; i++)
        ks_log_unref(retention->refresh[i]);
    for (uint32_t i = 0; i < retention->doomed_count; i++)
        doomed_end(retention, &retention->doomed[i], false);
    ks_mailbox_deliver(&retention->box);
    KS_ASSERT(retention->removal_count == 0);
    struct ks_due *due;
    while ((due = ks_due_heap_first(&retention->logs))) {
        ks_due_heap_remove(&retention->logs, due);
        ks_log_unref(log_of(due));
    }
    while (!ks_list_is_empty(&retention->kept))
        kept_drop(retention, KS_CONTAINER_OF(retention->kept.next, struct ks_kept_stream, link));
    ks_due_heap_fini(&retention->logs);
    ks_due_heap_fini(&retention->streams);
    ks_scrub_destroy(retention->scrub);
    ks_mailbox_fini(&retention->box);
    ks_mutex_fini(&retention->mu);
    ks_wake_fini(&retention->wake);
    ks_free(retention);
}
