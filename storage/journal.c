#include "storage/journal.h"

#include "base/alloc.h"
#include "storage/journal_priv.h"
#include "storage/journal_reserve.h"

#include <errno.h>

#define FILE_BYTES_MIN (64u << 10)
#define OLDEST_LOGS_MAX 256u

static struct ks_journal_file *file_of(struct ks_list *node)
{
    return KS_CONTAINER_OF(node, struct ks_journal_file, link);
}

void ks_journal_file_free(struct ks_journal_file *file)
{
    if (!file)
        return;

    ks_file_close(file->file);
    ks_free(file->owed);
    ks_free(file);
}

/* ---- the budget ---- */

static void journal_check(struct ks_journal *journal)
{
    ks_mutex_assert_held(&journal->mu);
    KS_ASSERT(!journal->current || journal->current->used_bytes <= journal->current->bytes);
    KS_ASSERT((journal->outstanding_bytes == 0) == (journal->largest_units == 0));
    KS_ASSERT(journal->durable_lsn < journal->next_lsn);
    KS_ASSERT(journal->durable_ordinals <= journal->ordinals);
}

/*
 * What batches of at most largest bytes surely find in free bytes of one file: when the next one
 * does not fit, less than largest are wasted.
 */
static uint64_t usable_bytes(uint64_t free_bytes, uint64_t largest_bytes)
{
    uint64_t waste = largest_bytes - KS_JOURNAL_BLOCK_ALIGN;
    return free_bytes > waste ? free_bytes - waste : 0;
}

/* Of the current file and all ready ones but the spare, which the next start begins its run in. */
static uint64_t journal_usable_bytes(struct ks_journal *journal, uint64_t largest_bytes)
{
    if (!journal->current)
        return 0;
    uint64_t usable =
        usable_bytes(journal->current->bytes - journal->current->used_bytes, largest_bytes);
    uint32_t left = journal->ready_count;
    KS_LIST_FOR_EACH(node, &journal->ready)
    {
        if (--left == 0)
            break;
        usable += usable_bytes(file_of(node)->bytes - file_of(node)->used_bytes, largest_bytes);
    }
    return usable;
}

/* The next file to be used. At most one is being zeroed, and of two one is not. */
static struct ks_journal_file *journal_next_ready(struct ks_journal *journal)
{
    KS_LIST_FOR_EACH(node, &journal->ready)
    {
        if (!file_of(node)->is_zeroing)
            return file_of(node);
    }
    return NULL;
}

static void journal_take_ready(struct ks_journal *journal)
{
    journal->current = journal_next_ready(journal);
    ks_list_remove(&journal->current->link);
    journal->ready_count--;
    journal->current->zeroed_bytes = journal->current->bytes; /* as it will be when it is full */
}

static void journal_add_ready(struct ks_journal *journal, struct ks_journal_file *file)
{
    ks_journal_file_forget(file);
    if (file->bytes < journal->file_bytes) {
        ks_list_push(&journal->remake, &file->link);
        journal->remake_count++;
        return;
    }
    ks_list_push(&journal->ready, &file->link);
    journal->ready_count++;
}

/* In the order of filling, so that stale blocks never lie between needed ones. */
bool ks_journal_recycle(struct ks_journal *journal)
{
    bool is_any = false;
    while (!ks_list_is_empty(&journal->full)) {
        struct ks_journal_file *oldest = file_of(journal->full.next);
        if (ks_journal_file_is_needed(oldest))
            break;
        ks_list_remove(&oldest->link);
        journal_add_ready(journal, oldest);
        is_any = true;
    }
    if (is_any)
        ks_engine_count(journal->engine, KS_COUNT_FILES_RECYCLED, 1);
    return is_any;
}

/*
 * A current file that nobody needs any more changes places with the spare: with few files it would
 * otherwise stay too full for the next batch for ever, as only a batch makes the journal move on.
 */
static bool journal_rotate(struct ks_journal *journal)
{
    struct ks_journal_file *current = journal->current;
    if (!current || journal->is_writing || journal->outstanding_bytes > 0 ||
        !journal_next_ready(journal) || ks_journal_file_is_needed(current) ||
        current->used_bytes == KS_JOURNAL_FILE_HEADER_BYTES || !ks_list_is_empty(&journal->full))
        return false;
    journal_take_ready(journal);
    journal_add_ready(journal, current);
    return true;
}

static enum ks_status journal_reserve(
    struct ks_journal *journal, uint64_t bytes, uint64_t *out_reserved)
{
    bool may_recycle = ks_catalog_commits(journal->engine->catalog) > 0;
    uint32_t units = (uint32_t)(bytes / KS_JOURNAL_BLOCK_ALIGN);
    KS_LOCK_SCOPE(&journal->mu);
    uint32_t largest = KS_MAX(units, journal->largest_units);
    uint64_t largest_bytes = (uint64_t)largest * KS_JOURNAL_BLOCK_ALIGN;
    uint64_t needed = journal->outstanding_bytes + bytes;
    if (journal_usable_bytes(journal, largest_bytes) < needed && may_recycle &&
        !ks_journal_recycle(journal))
        KS_IGNORE(journal_rotate(journal), "the room is looked at again");
    if (journal_usable_bytes(journal, largest_bytes) < needed)
        return KS_THROTTLED;
    journal->outstanding[units]++;
    journal->outstanding_bytes += bytes;
    journal->largest_units = largest;
    journal_check(journal);
    *out_reserved = bytes;
    return KS_OK;
}

/* A batch reserves what it takes if it is alone in its block. */
static uint64_t batch_bytes(uint32_t stored_bytes)
{
    return ks_journal_block_bytes(1, KS_JOURNAL_ENDS_BESIDE_DATA, stored_bytes);
}

/* Of a block, header included. */
static uint64_t block_bytes_most(const struct ks_journal *journal)
{
    return ks_min_u64(journal->block_bytes_max, journal->file_bytes - KS_JOURNAL_FILE_HEADER_BYTES);
}

uint64_t ks_journal_batch_bytes_max(const struct ks_journal *journal)
{
    uint64_t most = block_bytes_most(journal);
    return most - most % KS_JOURNAL_BLOCK_ALIGN -
           ks_journal_head_bytes(1, KS_JOURNAL_ENDS_BESIDE_DATA);
}

enum ks_status ks_journal_reserve(
    struct ks_journal *journal, uint32_t stored_bytes, uint64_t *out_reserved)
{
    uint64_t bytes = batch_bytes(stored_bytes);
    if (bytes > block_bytes_most(journal))
        return KS_TOO_LARGE;
    return journal_reserve(journal, bytes, out_reserved);
}

enum ks_status ks_journal_reserve_empty(struct ks_journal *journal, uint64_t *out_reserved)
{
    return journal_reserve(journal, ks_journal_next_bytes(journal, 0, 0), out_reserved);
}

static void journal_release(struct ks_journal *journal, uint64_t reserved_bytes)
{
    uint32_t units = (uint32_t)(reserved_bytes / KS_JOURNAL_BLOCK_ALIGN);
    KS_ASSERT(journal->outstanding[units] > 0);
    journal->outstanding[units]--;
    journal->outstanding_bytes -= reserved_bytes;
    while (journal->largest_units > 0 && journal->outstanding[journal->largest_units] == 0)
        journal->largest_units--;
}

void ks_journal_release(struct ks_journal *journal, uint64_t reserved_bytes)
{
    if (reserved_bytes == 0)
        return;
    KS_LOCK_SCOPE(&journal->mu);
    journal_release(journal, reserved_bytes);
    journal_check(journal);
}

unsigned ks_journal_used_percent(struct ks_journal *journal)
{
    KS_LOCK_SCOPE(&journal->mu);
    if (!journal->current)
        return 0;
    uint64_t used = journal->outstanding_bytes;
    uint64_t total = journal->current->bytes;
    if (ks_journal_file_is_needed(journal->current))
        used += journal->current->used_bytes;
    KS_LIST_FOR_EACH(node, &journal->full)
    {
        used += file_of(node)->bytes;
        total += file_of(node)->bytes;
    }
    uint32_t left = journal->ready_count;
    KS_LIST_FOR_EACH(node, &journal->ready)
    {
        if (--left == 0)
            break;
        total += file_of(node)->bytes;
    }
    return (unsigned)ks_min_u64(100, used * 100 / total);
}

void ks_journal_cover(struct ks_journal *journal, uint64_t log_id, uint64_t last_sequence)
{
    bool may_recycle = ks_catalog_commits(journal->engine->catalog) > 0;
    bool is_recycled = false;
    {
        KS_LOCK_SCOPE(&journal->mu);
        if (journal->current)
            ks_journal_file_cover(journal->current, log_id, last_sequence);
        KS_LIST_FOR_EACH(node, &journal->full)
        ks_journal_file_cover(file_of(node), log_id, last_sequence);
        is_recycled = may_recycle && ks_journal_recycle(journal);
    }
    if (is_recycled)
        ks_wake_set(&journal->wake); /* a short one is to be replaced */
}

uint64_t ks_journal_oldest_lsn(struct ks_journal *journal)
{
    KS_LOCK_SCOPE(&journal->mu);
    uint64_t oldest = journal->next_lsn;
    struct ks_list *lists[] = {&journal->full, &journal->ready, &journal->remake};
    for (size_t i = 0; i < KS_COUNT_OF(lists); i++) {
        KS_LIST_FOR_EACH(node, lists[i])
        {
            if (file_of(node)->first_lsn > 0)
                oldest = ks_min_u64(oldest, file_of(node)->first_lsn);
        }
    }
    if (journal->current && journal->current->first_lsn > 0)
        oldest = ks_min_u64(oldest, journal->current->first_lsn);
    return oldest;
}

static uint32_t file_uncovered_logs(
    const struct ks_journal_file *file, uint64_t ids[OLDEST_LOGS_MAX])
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < file->owed_capacity && count < OLDEST_LOGS_MAX; i++) {
        if (file->owed[i].log_id != 0 && !file->owed[i].is_covered)
            ids[count++] = file->owed[i].log_id;
    }
    return count;
}

void ks_journal_oldest_logs(
    struct ks_journal *journal, void (*each)(void *arg, uint64_t log_id), void *arg)
{
    uint64_t ids[OLDEST_LOGS_MAX];
    uint32_t count = 0;
    {
        KS_LOCK_SCOPE(&journal->mu);
        if (!ks_list_is_empty(&journal->full))
            count = file_uncovered_logs(file_of(journal->full.next), ids);
        else if (journal->current)
            count = file_uncovered_logs(journal->current, ids);
    }
    for (uint32_t i = 0; i < count; i++)
        each(arg, ids[i]);
}

struct ks_journal_durable ks_journal_durable(struct ks_journal *journal)
{
    KS_LOCK_SCOPE(&journal->mu);
    return (struct ks_journal_durable){.run_id = journal->run_id,
        .lsn = journal->durable_lsn,
        .ordinals = journal->durable_ordinals};
}

/* ---- blocks ---- */

uint64_t ks_journal_room(struct ks_journal *journal)
{
    KS_LOCK_SCOPE(&journal->mu);
    KS_ASSERT(journal->current);
    return journal->current->bytes - journal->current->used_bytes;
}

void ks_journal_advance(struct ks_journal *journal)
{
    KS_LOCK_SCOPE(&journal->mu);
    KS_ASSERT(!journal->is_writing);
    KS_ASSERT(journal->ready_count >= 2); /* the budget said so, and the spare stays */
    ks_list_push(&journal->full, &journal->current->link);
    journal_take_ready(journal);
    journal_check(journal);
}

/* How many of the newest block's ends the next one says again. */
static uint32_t ends_carried(const struct ks_journal *journal, uint32_t entry_count)
{
    const struct ks_journal_ends *ends = &journal->ends[journal->newest_ends];
    uint32_t max = KS_JOURNAL_ENDS_BESIDE_DATA;
    if (entry_count == 0)
        max = (journal->block_bytes_max - KS_JOURNAL_BLOCK_HEADER_BYTES) / KS_JOURNAL_END_BYTES;
    return KS_MIN(ends->count, max);
}

uint64_t ks_journal_next_bytes(
    const struct ks_journal *journal, uint32_t entry_count, uint64_t payload_bytes)
{
    return ks_journal_block_bytes(entry_count, ends_carried(journal, entry_count), payload_bytes);
}

/* mu held. */
static void journal_place(struct ks_journal *journal, const struct ks_journal_entry *entries,
    uint32_t entry_count, uint64_t payload_bytes, struct ks_journal_placed *out_placed)
{
    const struct ks_journal_ends *newest = &journal->ends[journal->newest_ends];
    struct ks_journal_file *file = journal->current;
    uint64_t bytes = ks_journal_next_bytes(journal, entry_count, payload_bytes);
    uint32_t carried = ends_carried(journal, entry_count);
    KS_ASSERT(!journal->is_writing);
    KS_ASSERT(bytes <= file->bytes - file->used_bytes);
    if (file->used_bytes == KS_JOURNAL_FILE_HEADER_BYTES)
        file->ordinals_before = journal->ordinals;
    const struct ks_journal_file *oldest =
        ks_list_is_empty(&journal->full) ? file : file_of(journal->full.next);
    *out_placed = (struct ks_journal_placed){.file = file,
        .ends = newest->rows,
        .needed_ordinals = oldest->ordinals_before,
        .offset = file->used_bytes,
        .bytes = bytes,
        .header = {.run_id = journal->run_id,
            .lsn = journal->next_lsn++,
            .durable_lsn = journal->durable_lsn,
            .entry_count = entry_count,
            .payload_bytes = (uint32_t)payload_bytes,
            .ordinals_before = journal->ordinals,
            .last_ordinals = newest->ordinals,
            .end_count = carried,
            .ends_left_out = newest->left_out + newest->count - carried}};
    memcpy(out_placed->header.uuid, journal->uuid, sizeof journal->uuid);
    file->used_bytes += bytes;
    journal->is_writing = true;
    if (entry_count == 0)
        return; /* the next one says the same ends again */
    struct ks_journal_ends *ends = ks_journal_ends_begin(journal);
    for (uint32_t i = 0; i < entry_count; i++)
        ks_journal_ends_note(
            ends, ks_journal_owe(file, entries[i].log_id, entries[i].last_sequence), &entries[i]);
    ks_journal_ends_finish(journal);
    journal->ordinals += ends->ordinals;
}

void ks_journal_place(struct ks_journal *journal, const struct ks_journal_entry *entries,
    uint32_t entry_count, uint64_t payload_bytes, struct ks_journal_placed *out_placed)
{
    KS_LOCK_SCOPE(&journal->mu);
    journal_place(journal, entries, entry_count, payload_bytes, out_placed);
    for (uint32_t i = 0; i < entry_count; i++)
        journal_release(journal, batch_bytes(entries[i].bytes));
    journal_check(journal);
}

/* Before the first block: what an earlier use left in the file is from then on nothing. */
static enum ks_status journal_write_file_header(
    struct ks_journal *journal, const struct ks_journal_placed *placed, struct ks_error *err)
{
    const struct ks_journal_block_header *block = &placed->header;
    struct ks_journal_file_header header = {.number = placed->file->number,
        .file_bytes = placed->file->bytes,
        .run_id = block->run_id,
        .first_lsn = block->lsn,
        .ordinals_before = block->ordinals_before,
        .needed_ordinals = placed->needed_ordinals,
        .flags = block->flags,
        .predecessor = block->predecessor};
    memcpy(header.uuid, journal->uuid, sizeof header.uuid);
    ks_journal_file_header_encode(&header, journal->header_page);
    return ks_file_write_one(placed->file->file, journal->header_page, KS_JOURNAL_FILE_HEADER_BYTES,
        0, KS_WRITE_DURABLE, err);
}

enum ks_status ks_journal_write(struct ks_journal *journal, struct ks_journal_placed *placed,
    const struct ks_journal_entry *entries, uint8_t *block, struct ks_error *err)
{
    struct ks_journal_block_header *header = &placed->header;
    const uint8_t *payload = block + ks_journal_head_bytes(header->entry_count, header->end_count);
    header->payload_crc =
        ks_journal_payload_crc(header, ks_view_of(payload, header->payload_bytes));
    ks_journal_head_encode(header, entries, placed->ends, block);
    if (placed->offset == KS_JOURNAL_FILE_HEADER_BYTES) {
        enum ks_status st = journal_write_file_header(journal, placed, err);
        if (st)
            return st;
    }
    return ks_file_write_one(
        placed->file->file, block, placed->bytes, placed->offset, KS_WRITE_DURABLE, err);
}

void ks_journal_done(
    struct ks_journal *journal, const struct ks_journal_placed *placed, bool is_durable)
{
    KS_LOCK_SCOPE(&journal->mu);
    KS_ASSERT(journal->is_writing);
    journal->is_writing = false;
    if (!is_durable)
        return;
    KS_ASSERT(placed->header.lsn > journal->durable_lsn);
    journal->durable_lsn = placed->header.lsn;
    journal->durable_ordinals = journal->ordinals;
    /* Only now is what was stale in the file out of reach: until the write is durable, a crash
     * brings it back, and recovery then needs the tombstones of the logs it mentions. */
    if (placed->offset == KS_JOURNAL_FILE_HEADER_BYTES) {
        placed->file->first_lsn = placed->header.lsn;
        journal->needed_ordinals = placed->needed_ordinals;
    }
    journal_check(journal);
}

/* ---- life ---- */

/* An eighth of the file system at most, two files at least. */
static enum ks_status journal_size(struct ks_journal *journal, struct ks_error *err)
{
    const struct ks_engine_limits *limits = &journal->engine->options.limits;
    struct ks_fs_info fs;
    enum ks_status st = ks_io_fs_info(journal->io, &fs, err);
    if (st)
        return st;
    uint64_t all = limits->journal_bytes;
    if (fs.total_bytes > 0)
        all = ks_min_u64(all, fs.total_bytes / 8);
    uint64_t bytes = ks_min_u64(limits->journal_file_bytes, all / 2);
    bytes = ks_max_u64(bytes, ks_min_u64(FILE_BYTES_MIN, limits->journal_file_bytes));
    bytes -= bytes % KS_JOURNAL_BLOCK_ALIGN;
    if (bytes < 4 * KS_JOURNAL_BLOCK_ALIGN)
        return ks_fail(err, KS_INVALID, 0, "journal files of %llu bytes are too small",
            (unsigned long long)bytes);
    if (all / bytes > KS_JOURNAL_FILES_MAX)
        return ks_fail(err, KS_INVALID, 0,
            "a journal of %llu bytes in files of %llu bytes is more than %u files: make the files "
            "larger",
            (unsigned long long)all, (unsigned long long)bytes, KS_JOURNAL_FILES_MAX);
    journal->file_bytes = bytes;
    journal->files_target = ks_max_u64(2, all / bytes);
    journal->block_bytes_max = limits->block_bytes_max;
    journal->block_bytes_max -= journal->block_bytes_max % KS_JOURNAL_BLOCK_ALIGN;
    return KS_OK;
}

static bool journal_allocate(struct ks_journal *journal)
{
    journal->outstanding = ks_calloc(
        journal->block_bytes_max / KS_JOURNAL_BLOCK_ALIGN + 1, sizeof *journal->outstanding);
    journal->header_page = ks_aligned_alloc(KS_JOURNAL_BLOCK_ALIGN, KS_JOURNAL_FILE_HEADER_BYTES);
    bool is_whole = journal->outstanding && journal->header_page;
    for (size_t i = 0; i < KS_COUNT_OF(journal->ends); i++) {
        struct ks_journal_ends *ends = &journal->ends[i];
        ends->rows = ks_malloc(KS_JOURNAL_ENDS_MAX * sizeof *ends->rows);
        is_whole = is_whole && ends->rows;
    }
    return is_whole;
}

enum ks_status ks_journal_create(
    struct ks_engine *engine, struct ks_journal **out, struct ks_error *err)
{
    struct ks_journal *journal = ks_zalloc(sizeof *journal);
    if (!journal)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot open the journal");
    journal->engine = engine;
    journal->io = engine->options.io;
    journal->next_lsn = 1;
    ks_mutex_init(&journal->mu, KS_RANK_JOURNAL);
    ks_list_init(&journal->ready);
    ks_list_init(&journal->full);
    ks_list_init(&journal->remake);
    ks_journal_step_init(journal);
    enum ks_status st = journal_size(journal, err);
    if (!st && !journal_allocate(journal))
        st = ks_fail(err, KS_NO_MEMORY, 0, "cannot open the journal");
    if (st) {
        ks_journal_destroy(journal);
        return st;
    }
    *out = journal;
    return KS_OK;
}

void ks_journal_destroy(struct ks_journal *journal)
{
    if (!journal)
        return;
    struct ks_list *lists[] = {&journal->full, &journal->ready, &journal->remake};
    for (size_t i = 0; i < KS_COUNT_OF(lists); i++) {
        struct ks_list *node;
        while ((node = ks_list_pop(lists[i])) != NULL)
            ks_journal_file_free(file_of(node));
    }
    ks_journal_file_free(journal->current);
    ks_journal_making_free(journal);
    ks_free(journal->outstanding);
    ks_free(journal->header_page);
    for (size_t i = 0; i < KS_COUNT_OF(journal->ends); i++)
        ks_free(journal->ends[i].rows);
    ks_wake_fini(&journal->wake);
    ks_mutex_fini(&journal->mu);
    ks_free(journal);
}

void ks_journal_adopt(struct ks_journal *journal, struct ks_journal_file *file, bool is_full)
{
    KS_LOCK_SCOPE(&journal->mu);
    journal->file_count++;
    journal->number_high = ks_max_u64(journal->number_high, file->number);
    file->zeroed_bytes = file->bytes; /* by the run that made it; if not, its first use is slower */
    if (is_full)
        ks_list_push(&journal->full, &file->link);
    else
        journal_add_ready(journal, file);
}

/* On a full disk, the oldest file that nobody needs: this run's durable commit of its run id proves
 * that the catalog which says so is on disk. */
static struct ks_journal_file *journal_unneeded_file(struct ks_journal *journal, uint64_t needed)
{
    if (ks_list_is_empty(&journal->full))
        return NULL;
    struct ks_journal_file *file = file_of(journal->full.next);
    if (ks_journal_file_is_needed(file) || file->bytes < needed)
        return NULL;
    ks_list_remove(&file->link);
    ks_journal_file_forget(file);
    return file;
}

/* The last resort: as little as a run needs, out of the reserve. */
static enum ks_status journal_reserve_file(struct ks_journal *journal, uint64_t needed,
    struct ks_journal_file **out_file, struct ks_error *err)
{
    struct ks_journal_reserve reserve = ks_journal_reserve_plan(journal->io, journal->file_bytes);
    uint64_t bytes = ks_max_u64(reserve.piece / 2, needed);
    if (!ks_journal_reserve_spend(journal->io, &reserve, bytes))
        return ks_fail(err, KS_STORAGE_FULL, ENOSPC,
            "the disk is full and every journal file is needed: free %llu KiB on it, start again, "
            "then delete streams that nobody needs",
            (unsigned long long)ks_max_u64(reserve.piece, 4 * needed) >> 10);
    ks_emit(journal->engine->options.events, KS_LEVEL_WARNING, "journal.reserve_used", "bytes=%llu",
        (unsigned long long)bytes);
    return ks_journal_make_now(journal, bytes, bytes, out_file, err);
}

/* A ready file; else a new short one; on a full disk one that nobody needs, or one from the
 * reserve. */
static enum ks_status journal_first_file(struct ks_journal *journal, uint64_t block_bytes,
    struct ks_journal_file **out_file, struct ks_error *err)
{
    uint64_t needed = KS_JOURNAL_FILE_HEADER_BYTES + block_bytes;
    uint64_t zeroed =
        ks_min_u64(journal->file_bytes, journal->engine->options.limits.journal_first_file_bytes);
    zeroed = ks_max_u64(zeroed - zeroed % KS_JOURNAL_BLOCK_ALIGN, 4 * KS_JOURNAL_BLOCK_ALIGN);
    if (journal->ready_count > 0 && file_of(journal->ready.next)->bytes >= needed) {
        journal_take_ready(journal);
        *out_file = KS_TAKE(journal->current);
        return KS_OK;
    }
    /* With two files only, one of them is the spare: then a short one would be all that there is.
     */
    uint64_t bytes = journal->files_target > 2 ? zeroed : journal->file_bytes;
    enum ks_status st =
        ks_journal_make_now(journal, ks_max_u64(bytes, needed), zeroed, out_file, err);
    if (st == KS_STORAGE_FULL && (*out_file = journal_unneeded_file(journal, needed)))
        return KS_OK;
    if (st == KS_STORAGE_FULL)
        st = journal_reserve_file(journal, needed, out_file, err);
    if (!st)
        journal->file_count++;
    return st;
}

/* The first block: empty, or with what recovery has decided and nobody may see undone. */
static enum ks_status journal_write_first(
    struct ks_journal *journal, const struct ks_journal_start *start, struct ks_error *err)
{
    struct ks_journal_placed placed;
    {
        KS_LOCK_SCOPE(&journal->mu);
        journal_place(journal, start->entries, start->entry_count, start->payload.bytes, &placed);
    }
    KS_AUTO_FREE uint8_t *block = ks_aligned_alloc(KS_JOURNAL_BLOCK_ALIGN, placed.bytes);
    if (!block)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot begin the journal");
    memset(block, 0, placed.bytes);
    if (start->payload.bytes > 0)
        memcpy(block + ks_journal_head_bytes(start->entry_count, placed.header.end_count),
            start->payload.data, start->payload.bytes);
    if (!start->is_continued) {
        placed.header.flags = KS_JOURNAL_FIRST_OF_RUN;
        placed.header.predecessor = start->predecessor;
        placed.header.settled_ordinals = start->settled_ordinals;
    }
    enum ks_status st = ks_journal_write(journal, &placed, start->entries, block, err);
    ks_journal_done(journal, &placed, st == KS_OK);
    return st;
}

/*
 * Two files behind the current one, so that a put of any size finds room from the first moment on:
 * allocated, not zeroed, which takes no time. Without room for them the journal step tries again.
 */
static enum ks_status journal_make_spares(struct ks_journal *journal, struct ks_error *err)
{
    while (journal->ready_count < 2 && journal->file_count < journal->files_target) {
        struct ks_journal_file *file = NULL;
        enum ks_status st = ks_journal_make_now(journal, journal->file_bytes, 0, &file, err);
        if (st == KS_STORAGE_FULL || st == KS_NO_MEMORY)
            return KS_OK;
        if (st)
            return st;
        KS_LOCK_SCOPE(&journal->mu);
        journal->file_count++;
        ks_list_push(&journal->ready, &file->link);
        journal->ready_count++;
    }
    return KS_OK;
}

enum ks_status ks_journal_start(
    struct ks_journal *journal, const struct ks_journal_start *start, struct ks_error *err)
{
    memcpy(journal->uuid, start->uuid, sizeof journal->uuid);
    journal->run_id = start->run_id;
    journal->next_lsn = start->first_lsn;
    journal->ordinals = start->ordinals_before;
    struct ks_journal_file *file = NULL;
    enum ks_status st = journal_first_file(journal,
        ks_journal_next_bytes(journal, start->entry_count, start->payload.bytes), &file, err);
    if (st)
        return st;
    journal->current = file;
    st = journal_write_first(journal, start, err);
    if (!st)
        st = journal_make_spares(journal, err);
    const struct ks_journal_reserve reserve =
        ks_journal_reserve_plan(journal->io, journal->file_bytes);
    if (!st)
        ks_journal_reserve_fill(journal->io, &reserve);
    return st;
}
