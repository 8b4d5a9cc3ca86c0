/*
 * Recovery (DESIGN §11). Happy path: every journal file is synced, dropped from the cache and
 * looked at; the newest run and those it names as predecessors are replayed in order, of an earlier
 * run exactly up to the named block; each batch above its log's flushpoint goes into the log's
 * tail; then this run begins in a file of its own and its first block is durable.
 *
 * Ways to fail: a bad block that was durable is damage: a copy goes to quarantine, what it held is
 * marked damaged in its logs, and replay goes on behind it. A bad block that nothing names as
 * durable is the torn end. A batch of a log that the catalog does not know, a journal of another
 * directory or of a newer version: the start is refused, nothing is changed.
 */
#include "base/alloc.h"
#include "storage/engine_priv.h"
#include "storage/journal_priv.h"
#include "storage/journal_scan.h"
#include "storage/u64_map.h"

#include <stdio.h>
#include <stdlib.h>

#define QUARANTINE_DIR "quarantine"
#define QUARANTINE_BYTES_MAX (16u << 20)
#define JOURNAL_FILES_MAX 65536u

struct recovered_file {
    struct ks_scan_file scan;
    struct ks_journal_file *file; /* what it owes; adopted by the journal at the end */
    bool is_chained;              /* a block of it was part of the log */
};

/* A run to be replayed, newest first. */
struct run {
    uint64_t run_id;
    uint64_t limit_lsn; /* nothing beyond belongs to the log */
    uint32_t limit_crc; /* of that block's head; 0 = not named */
    bool is_named;      /* by its successor: up to the limit everything was durable */
};

struct recovery {
    struct ks_engine *engine;
    struct ks_io *io;
    struct ks_catalog_journal_row row;
    struct ks_scan scan;
    struct recovered_file *files; /* sorted by LSN, those without a block at the end */
    uint32_t file_count;
    uint32_t placed_count; /* of them with a block */
    uint64_t *numbers;     /* of the directory listing */
    uint32_t number_count;
    bool is_out_of_memory;
    struct run *runs;
    uint32_t run_count;
    uint64_t seen_lsn; /* the highest anywhere, accepted or not */
    uint64_t seen_run;
    uint64_t end_run; /* the last accepted block */
    uint64_t end_lsn;
    uint32_t end_crc;
    bool is_lenient;             /* blocks that may be left from before their file was recycled */
    uint64_t uncertain_lsn;      /* the newest bad block whose table could not be read; 0 = none */
    struct ks_u64_map mentioned; /* logs with a block behind it */
};

/* Where a walk through a run stands. */
struct walk {
    const struct run *run;
    uint32_t index; /* of files */
    uint64_t offset;
    uint64_t expected;
};

#define EMIT(r, level, name, ...) ks_emit((r)->engine->options.events, level, name, __VA_ARGS__)
#define ULL(value) ((unsigned long long)(value))

/* ---- the files ---- */

static void recovery_note_name(void *arg, const char *name)
{
    struct recovery *r = arg;
    unsigned long long number;
    int end = 0;
    if (sscanf(name, "%20llu.jnl%n", &number, &end) != 1 || end == 0 || name[end] != '\0' ||
        r->number_count == JOURNAL_FILES_MAX) {
        EMIT(r, KS_LEVEL_WARNING, "journal.stranger", "name=%.100s", name);
        return;
    }
    uint64_t *numbers = ks_realloc(r->numbers, (r->number_count + 1) * sizeof *numbers);
    if (!numbers) {
        r->is_out_of_memory = true;
        return;
    }
    r->numbers = numbers;
    r->numbers[r->number_count++] = number;
}

/* After an unclean stop a page of the cache may hold what the disk refused: sync, forget, then
 * read. */
static enum ks_status file_trust(struct recovery *r, struct ks_file *file, struct ks_error *err)
{
    if (r->row.was_clean)
        return KS_OK;
    enum ks_status st = ks_file_sync(file, err);
    if (!st)
        ks_file_drop_cache(file);
    return st;
}

static enum ks_status recovery_open_file(struct recovery *r, uint64_t number, struct ks_error *err)
{
    struct recovered_file *found = &r->files[r->file_count++];
    found->scan.number = number;
    found->file = ks_zalloc(sizeof *found->file);
    if (!found->file)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory to recover the journal");
    char path[KS_JOURNAL_PATH_BYTES];
    ks_journal_path(number, path);
    enum ks_status st = ks_io_open(r->io, path, KS_OPEN_READ, &found->scan.file, err);
    if (!st)
        st = file_trust(r, found->scan.file, err);
    if (!st)
        st = ks_file_size(found->scan.file, &found->scan.bytes, err);
    found->scan.bytes -= found->scan.bytes % KS_JOURNAL_BLOCK_ALIGN;
    /* After a clean stop all is in segments: nobody needs a second look at empty files. */
    uint64_t empty_bytes_max = r->row.was_clean ? 0 : r->engine->options.limits.block_bytes_max;
    if (!st)
        st = ks_scan_file_open(&r->scan, &found->scan, empty_bytes_max, err);
    found->file->number = number;
    found->file->bytes = found->scan.bytes;
    found->file->first_lsn = found->scan.lsn;
    found->file->used_bytes = KS_JOURNAL_FILE_HEADER_BYTES;
    r->seen_lsn = ks_max_u64(r->seen_lsn, found->scan.lsn);
    r->seen_run = ks_max_u64(r->seen_run, found->scan.run_id);
    return st;
}

static int file_compare(const void *a, const void *b)
{
    const struct recovered_file *x = a;
    const struct recovered_file *y = b;
    uint64_t left = x->scan.lsn ? x->scan.lsn : UINT64_MAX;
    uint64_t right = y->scan.lsn ? y->scan.lsn : UINT64_MAX;
    if (left != right)
        return left < right ? -1 : 1;
    return x->scan.number < y->scan.number ? -1 : 1;
}

static void recovery_progress(struct recovery *r, uint64_t done, uint64_t all)
{
    if (r->engine->options.on_progress && all > 0)
        r->engine->options.on_progress(
            r->engine->options.on_progress_arg, (unsigned)(done * 100 / all));
}

static enum ks_status recovery_open_files(struct recovery *r, struct ks_error *err)
{
    enum ks_status st = ks_io_list(r->io, KS_JOURNAL_DIR, recovery_note_name, r, err);
    if (st)
        return st;
    r->files = r->number_count ? ks_calloc(r->number_count, sizeof *r->files) : NULL;
    if (r->is_out_of_memory || (r->number_count > 0 && !r->files))
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory to recover the journal");
    for (uint32_t i = 0; i < r->number_count; i++) {
        st = recovery_open_file(r, r->numbers[i], err);
        if (st)
            return st;
    }
    if (r->file_count > 1)
        qsort(r->files, r->file_count, sizeof *r->files, file_compare);
    while (r->placed_count < r->file_count && r->files[r->placed_count].scan.run_id != 0)
        r->placed_count++;
    return KS_OK;
}

/* ---- which runs, and how far ---- */

/* The placed file of the run with its lowest LSN; file_count when it has none. */
static uint32_t run_lowest(const struct recovery *r, uint64_t run_id)
{
    for (uint32_t i = 0; i < r->placed_count; i++) {
        if (r->files[i].scan.run_id == run_id)
            return i;
    }
    return r->file_count;
}

/* Follows the predecessor links back from the newest run, as far as there are files. */
static enum ks_status recovery_choose_runs(struct recovery *r, struct ks_error *err)
{
    r->runs = ks_calloc(r->placed_count + 1u, sizeof *r->runs);
    if (!r->runs)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory to recover the journal");
    if (r->placed_count == 0)
        return KS_OK;
    struct run run = {.run_id = r->seen_run, .limit_lsn = UINT64_MAX};
    while (r->run_count < r->placed_count) {
        uint32_t lowest = run_lowest(r, run.run_id);
        if (lowest == r->file_count)
            break; /* recycled long ago */
        r->runs[r->run_count++] = run;
        const struct ks_scan_file *file = &r->files[lowest].scan;
        if (file->is_first_of_run) {
            if (file->first.predecessor_run == 0 || file->first.predecessor_run >= run.run_id)
                break;
            run = (struct run){.run_id = file->first.predecessor_run,
                .limit_lsn = file->first.predecessor_lsn,
                .limit_crc = file->first.predecessor_crc,
                .is_named = true};
            continue;
        }
        /* Files are reused in order, so a run whose beginning was recycled has no needed
         * predecessor; one whose beginning cannot be read may have: then it is taken as it is. */
        if (!file->is_bad_start || lowest == 0)
            break;
        run = (struct run){.run_id = r->files[lowest - 1].scan.run_id, .limit_lsn = file->lsn - 1};
        if (run.run_id >= r->runs[r->run_count - 1].run_id)
            break;
    }
    r->engine->recovery.runs_followed = r->run_count - 1;
    return KS_OK;
}

/* ---- damage ---- */

static enum ks_status recovery_quarantine(struct recovery *r, const struct recovered_file *from,
    const struct walk *walk, uint64_t bytes, struct ks_error *err)
{
    struct ks_view copy;
    enum ks_status st = ks_scan_bytes(
        &r->scan, &from->scan, walk->offset, ks_min_u64(bytes, QUARANTINE_BYTES_MAX), &copy, err);
    if (st || copy.bytes == 0)
        return st;
    char path[96];
    snprintf(path, sizeof path, QUARANTINE_DIR "/journal-%llu-%llu.blk", ULL(walk->run->run_id),
        ULL(walk->expected));
    KS_CLEANUP(ks_file_closep) struct ks_file *file = NULL;
    st = ks_io_open(r->io, path, KS_OPEN_WRITE | KS_OPEN_CREATE, &file, err);
    if (!st)
        st = ks_file_write_one(file, copy.data, copy.bytes, 0, KS_WRITE_DURABLE, err);
    return st ? st : ks_io_sync_dir(r->io, QUARANTINE_DIR, err);
}

/* Ordinals a log should have and does not. Readers are told of them by a damaged batch. */
static enum ks_status recovery_mark_damage(struct recovery *r, struct recovered_file *from,
    struct ks_log *log, uint64_t first, uint64_t last, struct ks_error *err)
{
    enum ks_status st = ks_log_replay_damage(log, first, last, err);
    if (st)
        return st;
    ks_journal_owe(from->file, ks_log_id(log), last);
    r->engine->recovery.damaged_batches++;
    EMIT(r, KS_LEVEL_ERROR, "journal.damaged_records",
        "log=%llu first_sequence=%llu last_sequence=%llu", ULL(ks_log_id(log)), ULL(first),
        ULL(last));
    return KS_OK;
}

/* ---- batches ---- */

/* NULL: skip it. An unknown log is refused: it is more likely that the catalog is old than that the
 * records are void. */
static enum ks_status entry_log(struct recovery *r, const struct ks_journal_entry *entry,
    struct ks_log **out_log, struct ks_error *err)
{
    *out_log = ks_registry_log(r->engine->registry, entry->log_id);
    if (*out_log)
        return KS_OK;
    if (ks_registry_is_tombstoned(r->engine->registry, entry->log_id)) {
        r->engine->recovery.entries_of_deleted++;
        return KS_OK;
    }
    if (r->is_lenient)
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
static enum ks_status recovery_replay_entry(struct recovery *r, struct recovered_file *from,
    const struct ks_journal_entry *entry, const struct ks_view *payload, struct ks_error *err)
{
    if (entry->type != KS_JOURNAL_DATA)
        return ks_fail(err, KS_UNSUPPORTED, 0,
            "the journal has entries of a newer version of kstream: start that version");
    struct ks_log *log;
    enum ks_status st = entry_log(r, entry, &log, err);
    if (st || !log)
        return st;
    if (entry->last_sequence <= log->flushed_sequence) {
        r->engine->recovery.batches_below_flushpoint++;
        return KS_OK;
    }
    if (payload)
        recovery_mention(r, entry->log_id);
    if (entry->first_sequence > log->next_sequence && log->state == KS_LOG_OPEN) {
        st = recovery_mark_damage(r, from, log, log->next_sequence, entry->first_sequence - 1, err);
        if (st)
            return st;
    }
    struct ks_batch_view batch;
    if (!payload ||
        !batch_is_right(ks_view_of(payload->data + entry->offset, entry->bytes), entry, &batch))
        return recovery_mark_damage(r, from, log, entry->first_sequence, entry->last_sequence, err);
    st = ks_log_replay(log, batch.stored, err);
    if (st)
        return st;
    ks_journal_owe(from->file, entry->log_id, entry->last_sequence);
    r->engine->recovery.batches_replayed++;
    return KS_OK;
}

static enum ks_status recovery_replay_block(struct recovery *r, const struct walk *walk,
    const struct ks_scan_block *block, struct ks_error *err)
{
    struct recovered_file *from = &r->files[walk->index];
    const struct ks_view *payload = block->payload.data ? &block->payload : NULL;
    for (uint32_t i = 0; i < block->header.entry_count; i++) {
        struct ks_journal_entry entry;
        ks_journal_entry_at(block->head, i, &entry);
        enum ks_status st = recovery_replay_entry(r, from, &entry, payload, err);
        if (st == KS_CORRUPT || st == KS_UNSUPPORTED)
            KS_IGNORE(recovery_quarantine(r, from, walk, block->bytes, NULL),
                "the start is refused, so the original stays");
        if (st)
            return st;
    }
    return KS_OK;
}

/* ---- the walk through a run ---- */

/* The next file of the run behind index; file_count when there is none. */
static uint32_t walk_next_file(const struct recovery *r, const struct walk *walk)
{
    for (uint32_t i = walk->index + 1; i < r->placed_count; i++) {
        if (r->files[i].scan.run_id == walk->run->run_id)
            return i;
    }
    return r->file_count;
}

/* Where the run goes on behind a bad block: the rest of the file, then the run's next file. False:
 * nowhere. */
static enum ks_status walk_find_later(struct recovery *r, const struct walk *walk,
    struct walk *out_later, bool *out_is_found, struct ks_error *err)
{
    const struct ks_scan_file *file = &r->files[walk->index].scan;
    struct ks_journal_block_header header;
    *out_later = *walk;
    enum ks_status st = ks_scan_find(&r->scan, file, walk->offset, file->bytes, walk->run->run_id,
        walk->expected + 1, &out_later->offset, &header, err);
    if (st)
        return st;
    *out_is_found = out_later->offset != 0;
    if (*out_is_found) {
        out_later->expected = header.lsn;
    } else {
        uint32_t next = walk_next_file(r, walk);
        *out_is_found = next < r->file_count && r->files[next].scan.lsn > walk->expected;
        if (*out_is_found) {
            out_later->index = next;
            out_later->offset = r->files[next].scan.offset;
            out_later->expected = r->files[next].scan.lsn;
        }
    }
    if (*out_is_found)
        r->seen_lsn = ks_max_u64(r->seen_lsn, out_later->expected);
    return KS_OK;
}

/* Does anything say that the block the walk expects was durable? */
static bool walk_is_durable(const struct recovery *r, const struct walk *walk, bool is_found_later)
{
#ifdef KS_PLANTED_BUG_TRUNCATE_AT_BAD_CRC
    (void)r;
    (void)walk;
    (void)is_found_later;
    return false;
#else
    return is_found_later || walk->run->is_named ||
           (r->row.named_run_id == walk->run->run_id && walk->expected <= r->row.named_lsn);
#endif
}

static enum ks_status walk_damage(struct recovery *r, const struct walk *walk,
    const struct walk *later, bool is_found, enum ks_scan_found found,
    const struct ks_scan_block *block, struct ks_error *err)
{
    struct recovered_file *from = &r->files[walk->index];
    uint64_t bytes = found == KS_SCAN_HEAD ? block->bytes : from->scan.bytes - walk->offset;
    if (is_found && later->index == walk->index)
        bytes = later->offset - walk->offset;
    r->engine->recovery.damaged_blocks++;
    EMIT(r, KS_LEVEL_ERROR, "journal.damage", "run=%llu lsn=%llu file=%llu offset=%llu",
        ULL(walk->run->run_id), ULL(walk->expected), ULL(from->scan.number), ULL(walk->offset));
    enum ks_status st = recovery_quarantine(r, from, walk, bytes, err);
    if (st)
        return st;
    if (!is_found) {
        /* This run's successor names it as part of the log, so that the next start sees the same.
         */
        r->end_run = walk->run->run_id;
        r->end_lsn = walk->expected;
        r->end_crc = 0;
    }
    if (found != KS_SCAN_HEAD || (is_found && later->expected != walk->expected + 1)) {
        r->uncertain_lsn = walk->expected;
        ks_u64_map_fini(&r->mentioned);
    }
    if (found != KS_SCAN_HEAD)
        return KS_OK;
    /* The window has moved on: read the table again. */
    struct ks_scan_block again;
    st = ks_scan_at(&r->scan, &from->scan, walk->offset, &found, &again, err);
    if (st || found != KS_SCAN_HEAD)
        return st;
    from->is_chained = true;
    return recovery_replay_block(r, walk, &again, err);
}

/* The walk stands where its block is not, or is bad. *out_is_end: the run ends before it. */
static enum ks_status walk_bad(struct recovery *r, struct walk *walk, enum ks_scan_found found,
    const struct ks_scan_block *block, bool *out_is_end, struct ks_error *err)
{
    struct walk later;
    bool is_found;
    enum ks_status st = walk_find_later(r, walk, &later, &is_found, err);
    if (st)
        return st;
    bool is_torn = found != KS_SCAN_NOTHING && block->header.run_id == walk->run->run_id &&
                   block->header.lsn == walk->expected;
    if (is_torn)
        r->seen_lsn = ks_max_u64(r->seen_lsn, walk->expected);
    *out_is_end = true;
    if (!walk_is_durable(r, walk, is_found)) {
        r->engine->recovery.torn_tails += is_torn;
        if (is_torn)
            EMIT(r, KS_LEVEL_NOTICE, "journal.torn_tail", "run=%llu lsn=%llu",
                ULL(walk->run->run_id), ULL(walk->expected));
        return KS_OK;
    }
    st = walk_damage(r, walk, &later, is_found, is_torn ? found : KS_SCAN_NOTHING, block, err);
    if (st || !is_found || later.expected > walk->run->limit_lsn)
        return st;
    *walk = later;
    *out_is_end = false;
    return KS_OK;
}

static enum ks_status walk_accept(
    struct recovery *r, struct walk *walk, const struct ks_scan_block *block, struct ks_error *err)
{
    const struct ks_journal_block_header *header = &block->header;
    struct recovered_file *from = &r->files[walk->index];
    if (walk->run->limit_crc != 0 && header->lsn == walk->run->limit_lsn &&
        header->header_crc != walk->run->limit_crc)
        return ks_fail(err, KS_CORRUPT, 0,
            "journal run %llu does not end as its successor says: block %llu is another one",
            ULL(header->run_id), ULL(header->lsn));
    enum ks_status st = recovery_replay_block(r, walk, block, err);
    if (st)
        return st;
    r->engine->recovery.blocks_accepted++;
    from->is_chained = true;
    r->end_run = header->run_id;
    r->end_lsn = header->lsn;
    r->end_crc = header->header_crc;
    r->seen_lsn = ks_max_u64(r->seen_lsn, header->lsn);
    walk->offset += block->bytes;
    walk->expected++;
    return KS_OK;
}

/* What lies behind the named end is not part of the log, ever; it is only counted. */
static enum ks_status walk_look_beyond(
    struct recovery *r, const struct walk *walk, struct ks_error *err)
{
    enum ks_scan_found found;
    struct ks_scan_block block;
    enum ks_status st =
        ks_scan_at(&r->scan, &r->files[walk->index].scan, walk->offset, &found, &block, err);
    if (st || found != KS_SCAN_BLOCK || block.header.run_id != walk->run->run_id ||
        block.header.lsn < walk->expected)
        return st;
    r->seen_lsn = ks_max_u64(r->seen_lsn, block.header.lsn);
    r->engine->recovery.blocks_beyond_named++;
    EMIT(r, KS_LEVEL_NOTICE, "journal.beyond_named", "run=%llu lsn=%llu", ULL(walk->run->run_id),
        ULL(block.header.lsn));
    return KS_OK;
}

static enum ks_status recovery_walk_run(
    struct recovery *r, const struct run *run, bool is_oldest, struct ks_error *err)
{
    uint32_t lowest = run_lowest(r, run->run_id);
    struct walk walk = {.run = run,
        .index = lowest,
        .offset = r->files[lowest].scan.offset,
        .expected = r->files[lowest].scan.lsn};
    /* An unreadable beginning of the oldest file: most likely a block that was torn when the file
     * was begun anew, with stale blocks behind it whose logs may be gone. */
    r->is_lenient = is_oldest && r->files[lowest].scan.is_bad_start;
    bool is_end = false;
    while (!is_end && walk.expected <= run->limit_lsn) {
        struct recovered_file *at = &r->files[walk.index];
        enum ks_scan_found found;
        struct ks_scan_block block;
        enum ks_status st = ks_scan_at(&r->scan, &at->scan, walk.offset, &found, &block, err);
        if (st)
            return st;
        bool is_here = (found == KS_SCAN_BLOCK || found == KS_SCAN_HEAD) &&
                       block.header.run_id == run->run_id && block.header.lsn == walk.expected;
        uint32_t next = walk_next_file(r, &walk);
        if (is_here && found == KS_SCAN_BLOCK) {
            st = walk_accept(r, &walk, &block, err);
        } else if (!is_here && next < r->file_count && r->files[next].scan.lsn == walk.expected &&
                   !r->files[next].scan.is_bad_start) {
            walk.index = next; /* the ordinary end of a file */
            walk.offset = r->files[next].scan.offset;
            r->is_lenient = false;
            recovery_progress(r, next, r->placed_count);
        } else {
            st = walk_bad(r, &walk, found, &block, &is_end, err);
            r->is_lenient = r->is_lenient && walk.index == lowest;
        }
        if (st)
            return st;
    }
    return is_end || run->limit_lsn == UINT64_MAX ? KS_OK : walk_look_beyond(r, &walk, err);
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
    for (uint32_t i = 0; i < r->file_count; i++) {
        struct recovered_file *found = &r->files[i];
        char path[KS_JOURNAL_PATH_BYTES];
        ks_journal_path(found->scan.number, path);
        ks_file_close(found->scan.file);
        found->scan.file = NULL;
        r->scan.window_file = NULL;
        bool is_usable = found->is_chained ||
                         (found->scan.is_headed && found->scan.bytes >= 2 * KS_JOURNAL_BLOCK_ALIGN);
        enum ks_status st;
        if (!is_usable) {
            /* Its making was cut short: nothing was ever in it. */
            st = ks_io_unlink(r->io, path, err);
            ks_free(KS_TAKE(found->file));
        } else {
            st = ks_io_open(r->io, path, KS_OPEN_WRITE | KS_OPEN_DIRECT, &found->file->file, err);
            if (!st)
                ks_journal_adopt(r->engine->journal, KS_TAKE(found->file), found->is_chained);
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
        .first_lsn = ks_max_u64(r->seen_lsn, r->row.named_lsn) + 1,
        .predecessor_run = r->end_run,
        .predecessor_lsn = r->end_lsn,
        .predecessor_crc = r->end_crc};
#ifdef KS_PLANTED_BUG_REUSE_LSN
    if (r->end_run != 0) {
        start.run_id = r->end_run;
        start.first_lsn = r->end_lsn + 1;
        start.is_continued = true;
    }
#else
    if (r->seen_run >= r->row.run_id)
        return ks_fail(err, KS_CORRUPT, 0,
            "the journal is of run %llu, the catalog of run %llu: the catalog is an older copy; "
            "restore the newest one",
            ULL(r->seen_run), ULL(r->row.last_run_id));
#endif
    return ks_journal_start(r->engine->journal, &start, err);
}

/* Durable blocks that no file has any more. */
static enum ks_status recovery_check_named(struct recovery *r, struct ks_error *err)
{
    if (r->row.named_lsn == 0 || r->row.was_clean || r->end_lsn >= r->row.named_lsn)
        return KS_OK;
    /* Files whose blocks cannot be read are damage; no files at all are somebody's mistake. */
    if (r->file_count == 0)
        return ks_fail(err, KS_CORRUPT, 0,
            "the journal is missing: block %llu was durable, but no file in journal/ has a block; "
            "put "
            "the files back",
            ULL(r->row.named_lsn));
    r->engine->recovery.damaged_blocks++;
    r->uncertain_lsn = r->row.named_lsn;
    ks_u64_map_fini(&r->mentioned);
    EMIT(r, KS_LEVEL_ERROR, "journal.damage", "run=%llu lsn=%llu missing_from=%llu",
        ULL(r->row.named_run_id), ULL(r->row.named_lsn), ULL(r->end_lsn + 1));
    return KS_OK;
}

static enum ks_status recovery_replay(struct recovery *r, struct ks_error *err)
{
    enum ks_status st = recovery_open_files(r, err);
    if (!st)
        st = recovery_choose_runs(r, err);
    for (uint32_t i = r->run_count; !st && i > 0; i--)
        st = recovery_walk_run(r, &r->runs[i - 1], i == r->run_count, err);
    if (!st)
        st = recovery_check_named(r, err);
    if (st)
        return st;
    recovery_tell_uncertain(r);
    st = recovery_adopt_files(r, err);
    return st ? st : recovery_begin_run(r, err);
}

static void recovery_fini(struct recovery *r)
{
    for (uint32_t i = 0; i < r->file_count; i++) {
        ks_file_close(r->files[i].scan.file);
        ks_journal_file_free(r->files[i].file);
    }
    ks_free(r->files);
    ks_free(r->numbers);
    ks_free(r->runs);
    ks_u64_map_fini(&r->mentioned);
    ks_scan_fini(&r->scan);
}

enum ks_status ks_recovery_run(
    struct ks_engine *engine, const struct ks_catalog_journal_row *row, struct ks_error *err)
{
    struct recovery r = {.engine = engine, .io = engine->options.io, .row = *row};
    ks_scan_init(&r.scan, row->uuid);
    engine->recovery.was_clean = row->was_clean;
    enum ks_status st = recovery_replay(&r, err);
    const struct ks_recovery_stats *stats = &engine->recovery;
    if (!st)
        EMIT(&r, KS_LEVEL_INFO, "recovery.done",
            "clean=%d runs=%llu blocks=%llu batches=%llu torn_tails=%llu damaged_blocks=%llu",
            row->was_clean, ULL(r.run_count), ULL(stats->blocks_accepted),
            ULL(stats->batches_replayed), ULL(stats->torn_tails), ULL(stats->damaged_blocks));
    recovery_fini(&r);
    return st;
}
