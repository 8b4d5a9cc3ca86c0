/*
 * Recovery (DESIGN §11). Happy path: every journal file is synced, dropped from the cache and
 * looked at; the blocks that are the log (journal_chain.h) are replayed in order; each batch above
 * its log's flushpoint goes into the log's tail; then this run begins in a file of its own and its
 * first block is durable.
 *
 * Ways to fail: a bad block that was durable is damage: a copy goes to quarantine, what it held is
 * marked damaged in its logs, and replay goes on behind it. A bad block that nothing names as
 * durable is the torn end. A batch of a log that the catalog does not know, a journal of another
 * directory or of a newer version: the start is refused, nothing is changed.
 */
#include "base/alloc.h"
#include "storage/engine_priv.h"
#include "storage/journal_chain.h"
#include "storage/journal_priv.h"
#include "storage/u64_map.h"

#include <stdio.h>

#define QUARANTINE_DIR "quarantine"
#define QUARANTINE_BYTES_MAX (16u << 20)

struct recovery {
    struct ks_engine *engine;
    struct ks_io *io;
    struct ks_catalog_journal_row row;
    struct ks_chain chain;
    uint64_t uncertain_lsn;      /* the newest bad block whose table could not be read; 0 = none */
    struct ks_u64_map mentioned; /* logs with a block behind it */
};

#define EMIT(r, level, name, ...) ks_emit((r)->engine->options.events, level, name, __VA_ARGS__)
#define ULL(value) ((unsigned long long)(value))

/* ---- the files ---- */

/* What a file owes, adopted by the journal at the end. */
static struct ks_journal_file *journal_file_of(const struct ks_chain_file *file)
{
    return file->user;
}

static void recovery_stranger(void *arg, const char *name)
{
    struct recovery *r = arg;
    EMIT(r, KS_LEVEL_WARNING, "journal.stranger", "name=%.100s", name);
}

/* After an unclean stop a page of the cache may hold what the disk refused: sync, forget, then
 * read. */
static enum ks_status recovery_open_file(
    void *arg, struct ks_chain_file *file, struct ks_error *err)
{
    struct recovery *r = arg;
    file->user = ks_zalloc(sizeof(struct ks_journal_file));
    if (!file->user)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory to recover the journal");
    if (r->row.was_clean)
        return KS_OK;
    enum ks_status st = ks_file_sync(file->scan.file, err);
    if (!st)
        ks_file_drop_cache(file->scan.file);
    return st;
}

static void recovery_progress(void *arg, uint64_t done, uint64_t all)
{
    struct recovery *r = arg;
    if (r->engine->options.on_progress && all > 0)
        r->engine->options.on_progress(
            r->engine->options.on_progress_arg, (unsigned)(done * 100 / all));
}

/* ---- damage ---- */

static enum ks_status recovery_quarantine(
    struct recovery *r, const struct ks_chain_place *place, uint64_t bytes, struct ks_error *err)
{
    struct ks_view copy;
    enum ks_status st = ks_scan_bytes(&r->chain.scan, &place->file->scan, place->offset,
        ks_min_u64(bytes, QUARANTINE_BYTES_MAX), &copy, err);
    if (st || copy.bytes == 0)
        return st;
    char path[96];
    snprintf(path, sizeof path, QUARANTINE_DIR "/journal-%llu-%llu.blk", ULL(place->run_id),
        ULL(place->lsn));
    KS_CLEANUP(ks_file_closep) struct ks_file *file = NULL;
    st = ks_io_open(r->io, path, KS_OPEN_WRITE | KS_OPEN_CREATE, &file, err);
    if (!st)
        st = ks_file_write_one(file, copy.data, copy.bytes, 0, KS_WRITE_DURABLE, err);
    return st ? st : ks_io_sync_dir(r->io, QUARANTINE_DIR, err);
}

/* Ordinals a log should have and does not. Readers are told of them by a damaged batch. */
static enum ks_status recovery_mark_damage(struct recovery *r, const struct ks_chain_place *place,
    struct ks_log *log, uint64_t first, uint64_t last, struct ks_error *err)
{
    enum ks_status st = ks_log_replay_damage(log, first, last, err);
    if (st)
        return st;
    ks_journal_owe(journal_file_of(place->file), ks_log_id(log), last);
    r->engine->recovery.damaged_batches++;
    EMIT(r, KS_LEVEL_ERROR, "journal.damaged_records",
        "log=%llu first_sequence=%llu last_sequence=%llu", ULL(ks_log_id(log)), ULL(first),
        ULL(last));
    return KS_OK;
}

/* ---- batches ---- */

/* NULL: skip it. An unknown log is refused: it is more likely that the catalog is old than that the
 * records are void. */
static enum ks_status entry_log(struct recovery *r, const struct ks_chain_place *place,
    const struct ks_journal_entry *entry, struct ks_log **out_log, struct ks_error *err)
{
    *out_log = ks_registry_log(r->engine->registry, entry->log_id);
    if (*out_log)
        return KS_OK;
    if (ks_registry_is_tombstoned(r->engine->registry, entry->log_id)) {
        r->engine->recovery.entries_of_deleted++;
        return KS_OK;
    }
    if (place->may_be_stale)
        return KS_OK;
    return ks_fail(err, KS_CORRUPT, 0,
        "the journal has records of log %llu, which the catalog does not know: the catalog may be "
        "an "
        "older copy; restore the newest one (a copy of the records is in quarantine/)",
        ULL(entry->log_id));
}

static void recovery_mention(struct recovery *r, uint64_t log_id)
{
    if (r->uncertain_lsn == 0 || ks_u64_map_get(&r->mentioned, log_id) ||
        !ks_u64_map_reserve(&r->mentioned, 1))
        return;
    ks_u64_map_put(&r->mentioned, log_id, r);
}

/* True when the payload's bytes are the batch the table speaks of. */
static bool batch_is_right(
    struct ks_view stored, const struct ks_journal_entry *entry, struct ks_batch_view *out_batch)
{
    return ks_batch_decode(stored, out_batch) == KS_OK && out_batch->stored_bytes == stored.bytes &&
           out_batch->header.log_id == entry->log_id &&
           out_batch->header.first_sequence == entry->first_sequence &&
           ks_batch_last_sequence(&out_batch->header) == entry->last_sequence &&
           ks_batch_verify(out_batch) == KS_OK;
}

/* payload NULL: the table can be read, the payload cannot. Each batch is judged by its own
 * checksums, so that a flipped bit costs one batch of a block. */
static enum ks_status recovery_replay_entry(struct recovery *r, const struct ks_chain_place *place,
    const struct ks_journal_entry *entry, const struct ks_view *payload, struct ks_error *err)
{
    if (entry->type != KS_JOURNAL_DATA)
        return ks_fail(err, KS_UNSUPPORTED, 0,
            "the journal has entries of a newer version of kstream: start that version");
    struct ks_log *log;
    enum ks_status st = entry_log(r, place, entry, &log, err);
    if (st || !log)
        return st;
    if (entry->last_sequence <= log->flushed_sequence) {
        r->engine->recovery.batches_below_flushpoint++;
        return KS_OK;
    }
    if (payload)
        recovery_mention(r, entry->log_id);
    if (entry->first_sequence > log->next_sequence && log->state == KS_LOG_OPEN) {
        st =
            recovery_mark_damage(r, place, log, log->next_sequence, entry->first_sequence - 1, err);
        if (st)
            return st;
    }
    struct ks_batch_view batch;
    bool is_right =
        payload &&
        batch_is_right(ks_view_of(payload->data + entry->offset, entry->bytes), entry, &batch);
    if (!is_right && entry->bytes != ks_close_bytes())
        return recovery_mark_damage(
            r, place, log, entry->first_sequence, entry->last_sequence, err);
    /* Nothing else is as short as a close batch, so the table alone tells of one. */
    st = is_right ? ks_log_replay(log, batch.stored, err)
                  : ks_log_replay_close(log, entry->first_sequence, err);
    if (st)
        return st;
    ks_journal_owe(journal_file_of(place->file), entry->log_id, entry->last_sequence);
    r->engine->recovery.batches_replayed++;
    return KS_OK;
}

static enum ks_status recovery_block(void *arg, const struct ks_chain_place *place,
    const struct ks_scan_block *block, bool is_whole, struct ks_error *err)
{
    struct recovery *r = arg;
    const struct ks_view *payload = block->payload.data ? &block->payload : NULL;
    for (uint32_t i = 0; i < block->header.entry_count; i++) {
        struct ks_journal_entry entry;
        ks_journal_entry_at(block->head, i, &entry);
        enum ks_status st = recovery_replay_entry(r, place, &entry, payload, err);
        if (st == KS_CORRUPT || st == KS_UNSUPPORTED)
            KS_IGNORE(recovery_quarantine(r, place, block->bytes, NULL),
                "the start is refused, so the original stays");
        if (st)
            return st;
    }
    r->engine->recovery.blocks_accepted += is_whole;
    return KS_OK;
}

/* From here on it is not known what logs lost. */
static void recovery_be_uncertain(struct recovery *r, uint64_t lsn)
{
    r->uncertain_lsn = lsn;
    ks_u64_map_fini(&r->mentioned);
}

static enum ks_status recovery_damage(
    void *arg, const struct ks_chain_damage *damage, struct ks_error *err)
{
    struct recovery *r = arg;
    const struct ks_chain_place *place = &damage->place;
    r->engine->recovery.damaged_blocks++;
    EMIT(r, KS_LEVEL_ERROR, "journal.damage", "run=%llu lsn=%llu file=%llu offset=%llu",
        ULL(place->run_id), ULL(place->lsn), ULL(place->file->scan.number), ULL(place->offset));
    bool is_next = damage->resumes_lsn == 0 || damage->resumes_lsn == place->lsn + 1;
    if (!damage->has_table || !is_next)
        recovery_be_uncertain(r, place->lsn);
    return recovery_quarantine(r, place, damage->bytes, err);
}

static enum ks_status recovery_missing(void *arg, uint64_t first_lsn, struct ks_error *err)
{
    struct recovery *r = arg;
    (void)err;
    r->engine->recovery.damaged_blocks++;
    recovery_be_uncertain(r, r->row.named_lsn);
    EMIT(r, KS_LEVEL_ERROR, "journal.damage", "run=%llu lsn=%llu missing_from=%llu",
        ULL(r->row.named_run_id), ULL(r->row.named_lsn), ULL(first_lsn));
    return KS_OK;
}

static void recovery_torn(void *arg, const struct ks_chain_place *place)
{
    struct recovery *r = arg;
    r->engine->recovery.torn_tails++;
    EMIT(r, KS_LEVEL_NOTICE, "journal.torn_tail", "run=%llu lsn=%llu", ULL(place->run_id),
        ULL(place->lsn));
}

static void recovery_beyond(void *arg, const struct ks_chain_place *place)
{
    struct recovery *r = arg;
    r->engine->recovery.blocks_beyond_named++;
    EMIT(r, KS_LEVEL_NOTICE, "journal.beyond_named", "run=%llu lsn=%llu", ULL(place->run_id),
        ULL(place->lsn));
}

/* ---- the end ---- */

struct uncertain_count {
    struct recovery *r;
    uint64_t logs;
};

static void uncertain_each(void *arg, struct ks_log *log)
{
    struct uncertain_count *count = arg;
    if (log->state == KS_LOG_OPEN && !ks_u64_map_get(&count->r->mentioned, ks_log_id(log)))
        count->logs++;
}

static void recovery_tell_uncertain(struct recovery *r)
{
    if (r->uncertain_lsn == 0)
        return;
    struct uncertain_count count = {.r = r};
    ks_registry_each_log(r->engine->registry, uncertain_each, &count);
    if (count.logs > 0)
        EMIT(r, KS_LEVEL_ERROR, "journal.end_uncertain",
            "lsn=%llu shards=%llu text=\"their newest records may be missing\"",
            ULL(r->uncertain_lsn), ULL(count.logs));
}

/* The journal takes the files over: chained ones with what they owe, the others for new blocks. */
static enum ks_status recovery_adopt_files(struct recovery *r, struct ks_error *err)
{
    for (uint32_t i = 0; i < r->chain.file_count; i++) {
        struct ks_chain_file *found = &r->chain.files[i];
        struct ks_journal_file *file = journal_file_of(found);
        char path[KS_JOURNAL_PATH_BYTES];
        ks_journal_path(found->scan.number, path);
        file->number = found->scan.number;
        file->bytes = found->scan.bytes;
        file->first_lsn = found->scan.lsn;
        file->used_bytes = KS_JOURNAL_FILE_HEADER_BYTES;
        ks_file_close(found->scan.file);
        found->scan.file = NULL;
        r->chain.scan.window_file = NULL;
        bool is_usable = found->is_chained ||
                         (found->scan.is_headed && found->scan.bytes >= 2 * KS_JOURNAL_BLOCK_ALIGN);
        enum ks_status st;
        if (!is_usable) {
            /* Its making was cut short: nothing was ever in it. */
            st = ks_io_unlink(r->io, path, err);
            ks_free(KS_TAKE(found->user));
        } else {
            st = ks_io_open(r->io, path, KS_OPEN_WRITE | KS_OPEN_DIRECT, &file->file, err);
            if (!st) {
                found->user = NULL;
                ks_journal_adopt(r->engine->journal, file, found->is_chained);
            }
        }
        if (st)
            return st;
    }
    return KS_OK;
}

static enum ks_status recovery_begin_run(struct recovery *r, struct ks_error *err)
{
    struct ks_journal_start start = {.uuid = r->row.uuid,
        .run_id = r->row.run_id,
        .first_lsn = ks_max_u64(r->chain.seen_lsn, r->row.named_lsn) + 1,
        .predecessor_run = r->chain.end_run,
        .predecessor_lsn = r->chain.end_lsn,
        .predecessor_crc = r->chain.end_crc};
#ifdef KS_PLANTED_BUG_REUSE_LSN
    if (r->chain.end_run != 0) {
        start.run_id = r->chain.end_run;
        start.first_lsn = r->chain.end_lsn + 1;
        start.is_continued = true;
    }
#else
    if (r->chain.seen_run >= r->row.run_id)
        return ks_fail(err, KS_CORRUPT, 0,
            "the journal is of run %llu, the catalog of run %llu: the catalog is an older copy; "
            "restore the newest one",
            ULL(r->chain.seen_run), ULL(r->row.last_run_id));
#endif
    return ks_journal_start(r->engine->journal, &start, err);
}

static const struct ks_chain_visitor recovery_visitor = {
    .open = recovery_open_file,
    .block = recovery_block,
    .damage = recovery_damage,
    .missing = recovery_missing,
    .torn = recovery_torn,
    .beyond = recovery_beyond,
    .stranger = recovery_stranger,
    .progress = recovery_progress,
};

static enum ks_status recovery_replay(struct recovery *r, struct ks_error *err)
{
    enum ks_status st = ks_chain_walk(&r->chain, err);
    if (st)
        return st;
    r->engine->recovery.runs_followed = r->chain.run_count > 0 ? r->chain.run_count - 1 : 0;
    recovery_tell_uncertain(r);
    st = recovery_adopt_files(r, err);
    return st ? st : recovery_begin_run(r, err);
}

static void recovery_fini(struct recovery *r)
{
    for (uint32_t i = 0; i < r->chain.file_count; i++)
        ks_journal_file_free(r->chain.files[i].user);
    ks_u64_map_fini(&r->mentioned);
    ks_chain_fini(&r->chain);
}

enum ks_status ks_recovery_run(
    struct ks_engine *engine, const struct ks_catalog_journal_row *row, struct ks_error *err)
{
    struct recovery r = {.engine = engine, .io = engine->options.io, .row = *row};
    struct ks_chain_visitor visitor = recovery_visitor;
    visitor.arg = &r;
    struct ks_chain_options options = {.io = r.io,
        .named_run_id = row->named_run_id,
        .named_lsn = row->named_lsn,
        .was_clean = row->was_clean,
        /* After a clean stop all is in segments: nobody needs a second look at empty files. */
        .empty_bytes_max = row->was_clean ? 0 : engine->options.limits.block_bytes_max};
    memcpy(options.uuid, row->uuid, sizeof options.uuid);
    ks_chain_init(&r.chain, &options, &visitor);
    engine->recovery.was_clean = row->was_clean;
    enum ks_status st = recovery_replay(&r, err);
    const struct ks_recovery_stats *stats = &engine->recovery;
    if (!st)
        EMIT(&r, KS_LEVEL_INFO, "recovery.done",
            "clean=%d runs=%llu blocks=%llu batches=%llu torn_tails=%llu damaged_blocks=%llu",
            row->was_clean, ULL(r.chain.run_count), ULL(stats->blocks_accepted),
            ULL(stats->batches_replayed), ULL(stats->torn_tails), ULL(stats->damaged_blocks));
    recovery_fini(&r);
    return st;
}
