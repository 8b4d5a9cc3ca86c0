/*
 * Recovery (DESIGN §11). Happy path: every journal file is synced, dropped from the cache and
 * looked at; the blocks that are the log (journal_chain.h) are replayed in order; each batch above
 * its log's flushpoint goes into the log's tail; then this run begins in a file of its own and its
 * first block is durable. After a clean stop there is nothing to replay.
 *
 * Ways to fail: a bad block that was durable is damage: a copy goes to quarantine, what it held is
 * marked damaged in its logs, and replay goes on behind it; of logs that may have lost their end
 * the new run's first block says so for ever. A bad block that nothing names as durable is the torn
 * end. A batch of a log that the catalog does not know, a journal of another
 * directory or of a newer version: the start is refused, nothing is changed.
 */
#include "base/alloc.h"
#include "storage/recovery_priv.h"

#include <stdio.h>

#define QUARANTINE_DIR "quarantine"
#define QUARANTINE_BYTES_MAX (16u << 20)

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

static enum ks_status recovery_block(void *arg, const struct ks_chain_place *place,
    const struct ks_scan_block *block, bool is_whole, struct ks_error *err)
{
    struct recovery *r = arg;
    enum ks_status st = recovery_replay_block(r, place, block, err);
    if (st == KS_CORRUPT || st == KS_UNSUPPORTED)
        KS_IGNORE(recovery_quarantine(r, place, block->bytes, NULL),
            "the start is refused, so the original stays");
    r->engine->recovery.blocks_accepted += !st && is_whole;
    return st;
}

static enum ks_status recovery_damage(
    void *arg, const struct ks_chain_damage *damage, struct ks_error *err)
{
    struct recovery *r = arg;
    const struct ks_chain_place *place = &damage->place;
    r->engine->recovery.damaged_blocks++;
    EMIT(r, KS_LEVEL_ERROR, "journal.damage", "run=%llu lsn=%llu file=%llu offset=%llu",
        ULL(place->run_id), ULL(place->lsn), ULL(place->file->scan.number), ULL(place->offset));
    return recovery_quarantine(r, place, damage->bytes, err);
}

static enum ks_status recovery_missing(
    void *arg, uint64_t first_lsn, uint64_t lost_ordinals, struct ks_error *err)
{
    struct recovery *r = arg;
    (void)err;
    recovery_lose(r, lost_ordinals, r->row.named_lsn);
    if (first_lsn > r->row.named_lsn)
        return KS_OK;
    r->engine->recovery.damaged_blocks++;
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
        file->ordinals_before = found->scan.ordinals_before;
        file->used_bytes = KS_JOURNAL_FILE_HEADER_BYTES;
        ks_file_close(found->scan.file);
        found->scan.file = NULL;
        r->chain.scan.window_file = NULL;
        bool is_usable = found->is_chained ||
                         (found->scan.is_headed && found->scan.bytes >= 2 * KS_JOURNAL_BLOCK_ALIGN);
        enum ks_status st;
        if (!is_usable) {
            /* Its making was cut short, or nothing that is in it can be read. */
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

static enum ks_status recovery_begin_run(
    struct recovery *r, const struct recovery_pins *pins, struct ks_error *err)
{
    struct ks_journal_start start = {.uuid = r->row.uuid,
        .run_id = r->row.run_id,
        .first_lsn = ks_max_u64(r->chain.seen_lsn, r->row.named_lsn) + 1,
        .ordinals_before = r->chain.ordinals,
        .settled_ordinals = r->missing.total,
        .predecessor = r->chain.end,
        .entries = pins->entries,
        .entry_count = pins->count,
        .payload = ks_view_of(pins->payload.data, pins->payload.bytes)};
#ifdef KS_PLANTED_BUG_REUSE_LSN
    if (r->chain.end.run_id != 0) {
        start.run_id = r->chain.end.run_id;
        start.first_lsn = r->chain.end.lsn + 1;
        start.is_continued = true;
    }
#else
    if (r->chain.seen_run >= r->row.run_id)
        return ks_fail(err, KS_CORRUPT, 0,
            "the journal is of run %llu, the catalog of run %llu: the catalog is an older copy; "
            "put back the newest one, and start once with --accept-older-catalog",
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

/* Shards that the catalog has closed have their end before it is asked which ends are uncertain. */
static enum ks_status recovery_recover(
    struct recovery *r, struct recovery_pins *pins, struct ks_error *err)
{
    enum ks_status st = ks_chain_walk(&r->chain, err);
    if (st)
        return st;
    r->engine->recovery.runs_followed = r->chain.run_count > 0 ? r->chain.run_count - 1 : 0;
    if (r->chain.is_end_lost)
        ks_journal_note_newest(r->engine->journal, NULL, 0);
    st = ks_registry_settle_ends(r->engine->registry, err);
    if (!st)
        st = recovery_pin_ends(r, pins, err);
    if (!st)
        st = recovery_adopt_files(r, err);
    return st ? st : recovery_begin_run(r, pins, err);
}

static void recovery_fini(struct recovery *r)
{
    for (uint32_t i = 0; i < r->chain.file_count; i++)
        ks_journal_file_free(r->chain.files[i].user);
    ks_u64_map_fini(&r->missing.mentioned);
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
        .named_ordinals = row->named_ordinals,
        .was_clean = row->was_clean,
        .only_headers = row->was_clean}; /* all is in segments, and the new run follows nothing */
    memcpy(options.uuid, row->uuid, sizeof options.uuid);
    ks_chain_init(&r.chain, &options, &visitor);
    engine->recovery.was_clean = row->was_clean;
    struct recovery_pins pins = {0};
    enum ks_status st = recovery_recover(&r, &pins, err);
    const struct ks_recovery_stats *stats = &engine->recovery;
    if (!st)
        EMIT(&r, KS_LEVEL_INFO, "recovery.done",
            "clean=%d runs=%llu blocks=%llu batches=%llu torn_tails=%llu damaged_blocks=%llu",
            row->was_clean, ULL(r.chain.run_count), ULL(stats->blocks_accepted),
            ULL(stats->batches_replayed), ULL(stats->torn_tails), ULL(stats->damaged_blocks));
    recovery_pins_fini(&pins);
    recovery_fini(&r);
    return st;
}
