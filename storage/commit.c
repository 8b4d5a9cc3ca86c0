/*
 * The committer: gathers queued batches into one journal block, writes it durably, then publishes
 * and answers. Happy path: begin takes a group and its place in the journal, run copies the batches
 * into the block and writes it, end stores each log's durable sequence and mails the completions in
 * queue order. A failed write poisons the engine: nothing of the group or of what is queued behind
 * it is ever acknowledged.
 */
#include "base/alloc.h"
#include "storage/engine_priv.h"
#include "storage/journal_priv.h"
#include "storage/reshard.h"

#define SILENCE_MS 1000u
#define FLUSH_AT_PERCENT 50u
/* A group: so much may be queued for nobody, alone and while somebody waits for the disk. */
#define BEHIND_DIVIDES 8u
#define BEHIND_DIVIDES_WAITED 64u

struct ks_commit {
    struct ks_engine *engine;
    struct ks_mutex mu;            /* KS_RANK_COMMIT_QUEUE */
    struct ks_list queue;          /* [mu] of ks_append.commit_link */
    _Atomic uint64_t queued_bytes; /* stored bytes in the queue; written under mu */
    _Atomic uint64_t waited;       /* durable appends in the queue or the group */
    bool is_busy;                  /* [mu] a group is between begin and end */
    bool names_now;                /* [mu] do not wait for the silence */
    bool is_unnamed;               /* [mu] no block names the newest durable one yet */
    uint64_t last_block_mono_ns;   /* [mu] */

    /* The rest belongs to the step. */
    struct ks_list group;
    struct ks_list woken; /* of ks_log_watch.mail.link: who waited for a log of the group */
    struct ks_journal_placed placed;
    bool has_block;
    enum ks_status status;
    struct ks_error error;
    struct ks_journal_entry *entries;
    uint32_t entries_max;
    uint8_t *block; /* aligned; block_bytes long */
    uint64_t block_bytes;
    struct ks_wake wake;
    struct ks_step step;
};

static struct ks_append *append_of(struct ks_list *node)
{
    return KS_CONTAINER_OF(node, struct ks_append, commit_link);
}

static bool is_waited_for(const struct ks_append *append)
{
    return append->ack != KS_ACK_MEMORY;
}

void ks_commit_enqueue(struct ks_commit *commit, struct ks_append *append)
{
    if (is_waited_for(append))
        atomic_fetch_add_explicit(&commit->waited, 1, memory_order_relaxed);
    {
        KS_LOCK_SCOPE(&commit->mu);
        ks_list_push(&commit->queue, &append->commit_link);
        if (append->chunk)
            atomic_fetch_add_explicit(
                &commit->queued_bytes, append->stored_bytes, memory_order_relaxed);
    }
    ks_wake_set(&commit->wake);
}

bool ks_commit_is_behind(const struct ks_commit *commit)
{
    uint32_t divides = atomic_load_explicit(&commit->waited, memory_order_relaxed) > 0
                           ? BEHIND_DIVIDES_WAITED
                           : BEHIND_DIVIDES;
    return atomic_load_explicit(&commit->queued_bytes, memory_order_relaxed) >
           commit->engine->options.limits.group_bytes / divides;
}

bool ks_commit_is_idle(struct ks_commit *commit)
{
    KS_LOCK_SCOPE(&commit->mu);
    bool is_naming = commit->names_now && commit->is_unnamed;
    return ks_list_is_empty(&commit->queue) && !commit->is_busy && !is_naming;
}

void ks_commit_name_last(struct ks_commit *commit)
{
    {
        KS_LOCK_SCOPE(&commit->mu);
        commit->names_now = true;
    }
    ks_wake_set(&commit->wake);
}

/* Room for the group's entries and block; both are kept for the next group. */
static bool commit_make_room(struct ks_commit *commit, uint32_t entries, uint64_t block_bytes)
{
    if (entries > commit->entries_max) {
        uint32_t max = KS_MAX(entries, commit->entries_max * 2);
        struct ks_journal_entry *grown = ks_realloc(commit->entries, max * sizeof *commit->entries);
        if (!grown)
            return false;
        commit->entries = grown;
        commit->entries_max = max;
    }
    if (block_bytes > commit->block_bytes) {
        uint64_t bytes = ks_min_u64(ks_max_u64(block_bytes, commit->block_bytes * 2),
            ks_max_u64(block_bytes, commit->engine->options.limits.block_bytes_max));
        uint8_t *block = ks_aligned_alloc(KS_JOURNAL_BLOCK_ALIGN, bytes);
        if (!block)
            return false;
        ks_free(commit->block); /* nothing is in it between groups */
        commit->block = block;
        commit->block_bytes = bytes;
    }
    return true;
}

/* The next batch joins if the block with it stays within the file, the largest block and memory. */
static bool group_can_take(
    struct ks_commit *commit, uint32_t entries, uint64_t payload_bytes, uint64_t room)
{
    uint64_t bytes = ks_journal_next_bytes(commit->engine->journal, entries, payload_bytes);
    return bytes <= room && bytes <= commit->engine->options.limits.block_bytes_max &&
           commit_make_room(commit, entries, bytes);
}

/* mu held. Moves what fits one block from the queue to the group; duplicates come along, in order.
 */
static uint64_t group_take(struct ks_commit *commit, uint32_t *out_entries)
{
    struct ks_journal *journal = commit->engine->journal;
    uint64_t room = ks_journal_room(journal);
    uint64_t payload_bytes = 0;
    uint32_t entries = 0;
    while (!ks_list_is_empty(&commit->queue) &&
           payload_bytes < commit->engine->options.limits.group_bytes) {
        struct ks_append *append = append_of(commit->queue.next);
        uint64_t more = append->chunk ? append->stored_bytes : 0;
        if (more > 0 && entries == 0 && ks_journal_next_bytes(journal, 1, more) > room) {
            ks_journal_advance(journal);
            room = ks_journal_room(journal);
        }
        if (more > 0 && !group_can_take(commit, entries + 1, payload_bytes + more, room))
            break;
        ks_list_remove(&append->commit_link);
        ks_list_push(&commit->group, &append->commit_link);
        if (more == 0)
            continue;
        commit->entries[entries++] = (struct ks_journal_entry){.type = KS_JOURNAL_DATA,
            .kind = append->record_count == 0 ? KS_BATCH_CLOSE : KS_BATCH_DATA,
            .log_id = ks_log_id(append->log),
            .first_sequence = append->first_sequence,
            .last_sequence = append->last_sequence,
            .offset = (uint32_t)payload_bytes,
            .bytes = append->stored_bytes};
        payload_bytes += more;
    }
    atomic_fetch_sub_explicit(&commit->queued_bytes, payload_bytes, memory_order_relaxed);
    *out_entries = entries;
    return payload_bytes;
}

/* mu held. After a second of silence, or at once before a clean stop, an empty block names the last
 * durable one. */
static bool commit_wants_naming(const struct ks_commit *commit)
{
    if (!commit->is_unnamed || !ks_list_is_empty(&commit->queue))
        return false;
    uint64_t now = ks_clock_mono_ns(commit->engine->options.clock);
    return commit->names_now || now - commit->last_block_mono_ns >= (uint64_t)SILENCE_MS * 1000000;
}

/* The naming block is a courtesy: without room for it, recovery judges by what is there. */
static bool commit_begin_naming(struct ks_commit *commit)
{
    struct ks_journal *journal = commit->engine->journal;
    uint64_t reserved;
    commit->is_unnamed = false;
    if (!commit_make_room(commit, 0, ks_journal_next_bytes(journal, 0, 0)) ||
        ks_journal_reserve_empty(journal, &reserved) != KS_OK)
        return false;
    if (ks_journal_room(journal) < reserved)
        ks_journal_advance(journal);
    ks_journal_place(journal, NULL, 0, 0, &commit->placed);
    ks_journal_release(journal, reserved);
    commit->has_block = true;
    return true;
}

static bool commit_begin(void *self)
{
    struct ks_commit *commit = self;
    KS_LOCK_SCOPE(&commit->mu);
    KS_ASSERT(!commit->is_busy);
    commit->has_block = false;
    commit->status = KS_OK;
    if (atomic_load(&commit->engine->is_poisoned)) {
        commit->is_busy = !ks_list_is_empty(&commit->queue);
        commit->status = KS_POISONED;
        return commit->is_busy;
    }
    if (commit_wants_naming(commit)) {
        commit->is_busy = commit_begin_naming(commit);
        return commit->is_busy;
    }
    if (ks_list_is_empty(&commit->queue))
        return false;
    uint32_t entries;
    uint64_t payload_bytes = group_take(commit, &entries);
    if (entries > 0) {
        ks_journal_place(
            commit->engine->journal, commit->entries, entries, payload_bytes, &commit->placed);
        commit->has_block = true;
    }
    commit->is_busy = !ks_list_is_empty(&commit->group);
    return commit->is_busy;
}

static void block_fill(struct ks_commit *commit)
{
    const struct ks_journal_block_header *header = &commit->placed.header;
    uint64_t head_bytes = ks_journal_head_bytes(header->entry_count, header->end_count);
    uint8_t *to = commit->block + head_bytes;
    KS_LIST_FOR_EACH(node, &commit->group)
    {
        const struct ks_append *append = append_of(node);
        if (!append->chunk)
            continue;
        memcpy(to, append->chunk->data + append->chunk_offset, append->stored_bytes);
        to += append->stored_bytes;
    }
    uint64_t filled = (uint64_t)(to - commit->block);
    KS_ASSERT(filled == head_bytes + header->payload_bytes);
    memset(to, 0, commit->placed.bytes - filled);
}

/* Readable from here on. The arrival first: a reader that sees the sequence finds its arrival. */
static void append_publish(struct ks_commit *commit, struct ks_append *append)
{
    struct ks_log *log = append->log;
    if (!append->chunk)
        return;
    if (append->record_count == 0) { /* a close batch */
        atomic_store(&log->durable_end, true);
    } else {
        atomic_store(&log->durable_arrival_unix_ms, append->arrival_unix_ms);
        KS_ASSERT(append->last_sequence > atomic_load(&log->durable_sequence));
        atomic_store(&log->durable_sequence, append->last_sequence);
    }
    for (struct ks_log_watch *watch = ks_log_watch_take(log); watch; watch = watch->next)
        ks_list_push(&commit->woken, &watch->mail.link);
}

/* Whose mail goes next; NULL: none is left. */
static struct ks_mailbox *group_next_home(const struct ks_commit *commit)
{
    if (!ks_list_is_empty(&commit->group))
        return append_of(commit->group.next)->home;
    if (!ks_list_is_empty(&commit->woken))
        return KS_CONTAINER_OF(commit->woken.next, struct ks_log_watch, mail.link)->home;
    return NULL;
}

/* One wake-up per mailbox: its completions in queue order, then its watches. After the mail both
 * are their owners'. */
static void group_deliver(struct ks_commit *commit)
{
    for (struct ks_mailbox *home; (home = group_next_home(commit));) {
        struct ks_list mails;
        ks_list_init(&mails);
        KS_LIST_FOR_EACH_SAFE(node, &commit->group)
        {
            struct ks_append *append = append_of(node);
            if (append->home != home)
                continue;
            ks_list_remove(&append->commit_link);
            ks_list_push(&mails, &append->mail.link);
        }
        KS_LIST_FOR_EACH_SAFE(node, &commit->woken)
        {
            if (KS_CONTAINER_OF(node, struct ks_log_watch, mail.link)->home != home)
                continue;
            ks_list_remove(node);
            ks_list_push(&mails, node);
        }
        ks_mailbox_send_all(home, &mails);
    }
}

static void group_complete(struct ks_commit *commit, enum ks_status status)
{
    uint64_t batches = 0;
    uint64_t waited = 0;
    bool has_close = false;
    KS_LIST_FOR_EACH_SAFE(node, &commit->group)
    {
        struct ks_append *append = append_of(node);
        append->status = status;
        if (status == KS_OK)
            append_publish(commit, append);
        batches += append->chunk != NULL;
        waited += is_waited_for(append);
        has_close |= append->record_count == 0;
        ks_tail_chunk_unref(append->chunk);
        append->chunk = NULL;
        ks_log_unref(append->log);
        append->log = NULL;
        if (!append->home) {
            ks_list_remove(node);
            ks_free(append);
        }
    }
    atomic_fetch_sub_explicit(&commit->waited, waited, memory_order_relaxed);
    if (status == KS_OK)
        ks_engine_count(commit->engine, KS_COUNT_DURABLE_BATCHES, batches);
    group_deliver(commit);
    if (has_close)
        ks_wake_set(
            ks_reshards_step(commit->engine->reshards)->wake); /* its mail is there by now */
}

/* Each batch of the group shares the time of its block. */
static void group_measure(struct ks_commit *commit, uint64_t begun_ns, uint64_t filled_ns)
{
    struct ks_engine_latencies *latencies = &commit->engine->latencies;
    uint64_t now_ns = ks_clock_mono_ns(commit->engine->options.clock);
    uint64_t batches = 0;
    KS_LIST_FOR_EACH(node, &commit->group)
    {
        struct ks_append *append = append_of(node);
        append->durable_mono_ns = now_ns;
        if (!append->chunk || append->queued_mono_ns == 0)
            continue;
        ks_latency_add(&latencies->queue, append->queued_mono_ns, begun_ns, 1);
        batches++;
    }
    ks_latency_add(&latencies->write, begun_ns, filled_ns, batches);
    ks_latency_add(&latencies->sync, filled_ns, now_ns, batches);
    ks_latency_add(&latencies->journal_sync, filled_ns, now_ns, 1);
}

static void commit_run(void *self)
{
    struct ks_commit *commit = self;
    if (!commit->has_block)
        return;
    uint64_t begun_ns = ks_clock_mono_ns(commit->engine->options.clock);
    block_fill(commit);
    uint64_t filled_ns = ks_clock_mono_ns(commit->engine->options.clock);
#ifdef KS_PLANTED_BUG_ACK_BEFORE_SYNC
    group_complete(commit, KS_OK);
#endif
    commit->status = ks_journal_write(
        commit->engine->journal, &commit->placed, commit->entries, commit->block, &commit->error);
    if (!commit->status)
        group_measure(commit, begun_ns, filled_ns);
}

static void commit_fail(struct ks_commit *commit)
{
    if (commit->has_block) {
        ks_journal_done(commit->engine->journal, &commit->placed, false);
        ks_engine_poison(commit->engine, &commit->error);
    }
    {
        KS_LOCK_SCOPE(&commit->mu);
        ks_list_splice(&commit->group, &commit->queue);
    }
    KS_LIST_FOR_EACH(node, &commit->group)
    {
        append_of(node)->reserved_bytes = 0; /* nothing is reserved in a journal that has ended */
    }
    group_complete(commit, KS_POISONED);
}

static void commit_wake_flusher(struct ks_engine *engine)
{
    if (atomic_load(&engine->tail_budget.used_bytes) >= atomic_load(&engine->flush_bytes) ||
        ks_journal_used_percent(engine->journal) >= FLUSH_AT_PERCENT)
        ks_wake_set(ks_flush_step(engine->flush)->wake);
}

static void commit_end(void *self)
{
    struct ks_commit *commit = self;
    struct ks_engine *engine = commit->engine;
    if (atomic_load(&engine->is_poisoned) && !commit->status)
        commit->status = KS_POISONED; /* another part failed meanwhile: nothing more is promised */
    if (commit->status) {
        commit_fail(commit);
    } else {
        if (commit->has_block) {
            ks_journal_done(engine->journal, &commit->placed, true);
            ks_engine_count(engine, KS_COUNT_DURABLE_BLOCKS, 1);
        }
        group_complete(commit, KS_OK);
    }
    bool has_data = commit->has_block && commit->placed.header.entry_count > 0;
    {
        KS_LOCK_SCOPE(&commit->mu);
        commit->is_busy = false;
        if (has_data) {
            commit->is_unnamed = true;
            commit->last_block_mono_ns = ks_clock_mono_ns(engine->options.clock);
        }
    }
    if (has_data && !commit->status)
        commit_wake_flusher(engine);
}

enum ks_status ks_commit_create(
    struct ks_engine *engine, struct ks_commit **out, struct ks_error *err)
{
    struct ks_commit *commit = ks_zalloc(sizeof *commit);
    if (!commit)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot start the committer");
    commit->engine = engine;
    ks_mutex_init(&commit->mu, KS_RANK_COMMIT_QUEUE);
    ks_list_init(&commit->queue);
    ks_list_init(&commit->group);
    ks_list_init(&commit->woken);
    ks_wake_init(&commit->wake, KS_RANK_WAKE);
    commit->step = (struct ks_step){.name = "commit",
        .self = commit,
        .begin = commit_begin,
        .run = commit_run,
        .end = commit_end,
        .wake = &commit->wake,
        .idle_ms_max = SILENCE_MS};
    /* Enough for a small group from the start; it grows with the first large one. */
    if (!commit_make_room(commit, 64, 64u << 10)) {
        ks_commit_destroy(commit);
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot start the committer");
    }
    *out = commit;
    return KS_OK;
}

/* Completions still due are not delivered: this is the end of the process, or a simulated one. */
void ks_commit_destroy(struct ks_commit *commit)
{
    if (!commit)
        return;
    ks_list_splice(&commit->group, &commit->queue);
    struct ks_list *node;
    while ((node = ks_list_pop(&commit->group)) != NULL) {
        struct ks_append *append = append_of(node);
        ks_tail_chunk_unref(append->chunk);
        append->chunk = NULL;
        ks_log_unref(append->log);
        append->log = NULL;
        if (!append->home)
            ks_free(append);
    }
    ks_free(commit->entries);
    ks_free(commit->block);
    ks_wake_fini(&commit->wake);
    ks_mutex_fini(&commit->mu);
    ks_free(commit);
}

struct ks_step *ks_commit_step(struct ks_commit *commit)
{
    return &commit->step;
}
