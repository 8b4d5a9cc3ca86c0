#include "base/alloc.h"
#include "storage/journal_priv.h"

#include <stdio.h>

#define ZERO_PIECE_BYTES (1u << 20)
#define FULL_RETRY_NS 10000000000ull
#define STEP_IDLE_MS 10000u

/*
 * A file on its way: allocated, zeroed piece by piece as far as is wanted, synced, headed, its name
 * made durable. Most are made unzeroed, which takes no time, and zeroed once they are ready.
 */
enum making_stage { MAKING_ALLOCATE, MAKING_ZERO, MAKING_SYNC, MAKING_HEAD, MAKING_DONE };

/* What the journal step is about: one of the three. */
struct journal_making {
    struct ks_journal_file *made;
    struct ks_journal_file *zero;   /* ready and not zeroed: the journal's; begins at MAKING_ZERO */
    struct ks_journal_file *remove; /* too short to be used again */
    enum making_stage stage;        /* the one to do; after a failure, the one that failed */
    uint64_t zero_from;
    uint64_t zero_to;
    uint8_t *zeros;
    enum ks_status status;
    struct ks_error error;
};

static struct ks_journal_file *file_of(struct ks_list *node)
{
    return KS_CONTAINER_OF(node, struct ks_journal_file, link);
}

void ks_journal_path(uint64_t number, char path[KS_JOURNAL_PATH_BYTES])
{
    snprintf(path, KS_JOURNAL_PATH_BYTES, KS_JOURNAL_DIR "/%04llu.jnl", (unsigned long long)number);
}

static struct ks_journal_file *file_create(struct ks_journal *journal, uint64_t bytes)
{
    struct ks_journal_file *file = ks_zalloc(sizeof *file);
    if (!file)
        return NULL;
    file->number = ++journal->number_high;
    file->bytes = bytes;
    file->used_bytes = KS_JOURNAL_FILE_HEADER_BYTES;
    return file;
}

static enum ks_status making_allocate(
    struct ks_journal *journal, struct journal_making *making, struct ks_error *err)
{
    char path[KS_JOURNAL_PATH_BYTES];
    ks_journal_path(making->made->number, path);
    enum ks_status st = ks_io_open(journal->io, path,
        KS_OPEN_WRITE | KS_OPEN_CREATE | KS_OPEN_DIRECT, &making->made->file, err);
    if (st)
        return st;
    return ks_file_allocate(making->made->file, 0, making->made->bytes, err);
}

static enum ks_status making_head(
    struct ks_journal *journal, struct journal_making *making, struct ks_error *err)
{
    struct ks_journal_file *made = making->made;
    struct ks_journal_file_header header = {.number = made->number, .file_bytes = made->bytes};
    memcpy(header.uuid, journal->uuid, sizeof header.uuid);
    ks_journal_file_header_encode(&header, making->zeros);
    enum ks_status st = ks_file_write_one(
        made->file, making->zeros, KS_JOURNAL_FILE_HEADER_BYTES, 0, KS_WRITE_DURABLE, err);
    return st ? st : ks_io_sync_dir(journal->io, KS_JOURNAL_DIR, err);
}

/* Nothing has been written or synced: as if it had not been tried. */
static bool making_has_begun(const struct journal_making *making)
{
    return making->stage != MAKING_ALLOCATE;
}

/* One short piece of the work. A full disk shows at allocation, before anything was promised. */
static enum ks_status making_continue(
    struct ks_journal *journal, struct journal_making *making, struct ks_error *err)
{
    struct ks_journal_file *file = making->made ? making->made : making->zero;
    enum ks_status st = KS_OK;
    switch (making->stage) {
    case MAKING_ALLOCATE:
        st = making_allocate(journal, making, err);
        if (!st)
            making->stage = making->zero_to > 0 ? MAKING_ZERO : MAKING_HEAD;
        return st;
    case MAKING_ZERO: {
        uint64_t piece = ks_min_u64(ZERO_PIECE_BYTES, file->bytes / 8);
        piece = ks_max_u64(piece - piece % KS_JOURNAL_BLOCK_ALIGN, KS_JOURNAL_BLOCK_ALIGN);
        piece = ks_min_u64(piece, making->zero_to - making->zero_from);
        st = ks_file_write_one(
            file->file, making->zeros, piece, making->zero_from, KS_WRITE_PLAIN, err);
        making->zero_from += piece;
        if (making->zero_from == making->zero_to)
            making->stage = MAKING_SYNC;
        return st;
    }
    case MAKING_SYNC:
        making->stage = making->made ? MAKING_HEAD : MAKING_DONE;
        return ks_file_sync(file->file, err);
    case MAKING_HEAD:
        making->stage = MAKING_DONE;
        return making_head(journal, making, err);
    case MAKING_DONE:
        break;
    }
    return KS_OK;
}

static void making_free(struct journal_making *making)
{
    if (!making)
        return;
    ks_journal_file_free(making->made);
    ks_journal_file_free(making->remove);
    ks_free(making->zeros);
    ks_free(making);
}

KS_DEFINE_CLEANUP(struct journal_making, making_free)

static struct journal_making *making_create(void)
{
    struct journal_making *making = ks_zalloc(sizeof *making);
    if (!making)
        return NULL;
    making->zeros = ks_aligned_alloc(KS_JOURNAL_BLOCK_ALIGN, ZERO_PIECE_BYTES);
    if (!making->zeros) {
        making_free(making);
        return NULL;
    }
    memset(making->zeros, 0, ZERO_PIECE_BYTES);
    return making;
}

/* What a failure left behind goes away again; the next start would remove it as well. */
static void making_undo(struct ks_journal *journal, struct journal_making *making)
{
    char path[KS_JOURNAL_PATH_BYTES];
    ks_journal_path(making->made->number, path);
    if (making->made->file)
        ks_file_close(making->made->file);
    making->made->file = NULL;
    KS_IGNORE(ks_io_unlink(journal->io, path, NULL), "an unheaded file is not used");
}

/* At open, before there are threads. */
enum ks_status ks_journal_make_now(struct ks_journal *journal, uint64_t bytes,
    uint64_t zeroed_bytes, struct ks_journal_file **out_file, struct ks_error *err)
{
    KS_CLEANUP(making_freep) struct journal_making *making = making_create();
    if (making)
        making->made = file_create(journal, bytes);
    if (!making || !making->made)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot make a journal file");
    making->zero_to = zeroed_bytes;
    making->made->zeroed_bytes = zeroed_bytes;
    enum ks_status st = KS_OK;
    while (!st && making->stage != MAKING_DONE)
        st = making_continue(journal, making, err);
    if (!st)
        *out_file = KS_TAKE(making->made);
    else if (st == KS_STORAGE_FULL)
        making_undo(journal, making);
    return st;
}

/* mu held. Does the newest file header say that the file is not needed? Recovery begins with the
 * last file that does not begin above what is needed. */
static bool file_is_told(struct ks_journal *journal, const struct ks_journal_file *file)
{
    const struct ks_journal_file *current = journal->current;
    if (current->first_lsn > file->first_lsn &&
        current->ordinals_before <= journal->needed_ordinals)
        return true;
    KS_LIST_FOR_EACH(node, &journal->full)
    {
        const struct ks_journal_file *other = file_of(node);
        if (other->first_lsn > file->first_lsn &&
            other->ordinals_before <= journal->needed_ordinals)
            return true;
    }
    return false;
}

/* mu held. A file too short to be used again, as soon as recovery will not miss it. */
static struct ks_journal_file *journal_find_removable(struct ks_journal *journal)
{
    if (!journal->current || ks_list_is_empty(&journal->remake) ||
        ks_clock_mono_ns(journal->engine->options.clock) < journal->remove_again_mono_ns)
        return NULL;
    struct ks_journal_file *file = file_of(journal->remake.next);
    return file_is_told(journal, file) ? file : NULL;
}

/* mu held. The next file to be used that is not zeroed, unless there is no other. */
static struct ks_journal_file *journal_find_unzeroed(struct ks_journal *journal)
{
    if (journal->ready_count < 2)
        return NULL;
    KS_LIST_FOR_EACH(node, &journal->ready)
    {
        if (file_of(node)->zeroed_bytes < file_of(node)->bytes)
            return file_of(node);
    }
    return NULL;
}

/* mu held. New files first: they are room, and take no time. */
static bool journal_wants_file(const struct ks_journal *journal)
{
    return journal->current &&
           journal->file_count - journal->remake_count < journal->files_target &&
           ks_clock_mono_ns(journal->engine->options.clock) >= journal->make_again_mono_ns;
}

static struct journal_making *journal_choose(struct ks_journal *journal)
{
    KS_CLEANUP(making_freep) struct journal_making *making = making_create();
    if (!making)
        return NULL;
    KS_LOCK_SCOPE(&journal->mu);
    making->remove = journal_find_removable(journal);
    if (making->remove) {
        ks_list_remove(&making->remove->link);
        journal->remake_count--;
        return KS_TAKE(making);
    }
    if (journal_wants_file(journal)) {
        making->made = file_create(journal, journal->file_bytes);
        journal->file_count += making->made != NULL;
        return making->made ? KS_TAKE(making) : NULL;
    }
    making->zero = journal_find_unzeroed(journal);
    if (!making->zero)
        return NULL;
    making->zero->is_zeroing = true;
    making->stage = MAKING_ZERO;
    making->zero_from = ks_max_u64(making->zero->zeroed_bytes, KS_JOURNAL_FILE_HEADER_BYTES);
    making->zero_to = making->zero->bytes;
    return KS_TAKE(making);
}

/* mu held. Is there anything to do? */
static bool journal_has_work(struct ks_journal *journal)
{
    return journal_find_removable(journal) || journal_wants_file(journal) ||
           journal_find_unzeroed(journal);
}

static bool journal_begin(void *self)
{
    struct ks_journal *journal = self;
    /* A file half made at stop is removed at the next start. */
    if (atomic_load(&journal->engine->is_poisoned) || atomic_load(&journal->engine->is_stopping))
        return false;
    if (journal->making)
        return true;
    bool may_recycle = ks_catalog_commits(journal->engine->catalog) > 0;
    bool has_work;
    {
        KS_LOCK_SCOPE(&journal->mu);
        if (may_recycle)
            KS_IGNORE(ks_journal_recycle(journal), "whether or not, the rest is looked at");
        has_work = journal_has_work(journal);
    }
    if (has_work)
        journal->making = journal_choose(journal);
    if (journal->making)
        return true;
    uint64_t oldest = ks_journal_oldest_lsn(journal);
    if (oldest > journal->trimmed_lsn)
        ks_registry_trim_tombstones(journal->engine->registry, oldest);
    journal->trimmed_lsn = oldest;
    return false;
}

static enum ks_status making_remove(
    struct ks_journal *journal, struct journal_making *making, struct ks_error *err)
{
    char path[KS_JOURNAL_PATH_BYTES];
    ks_journal_path(making->remove->number, path);
    ks_file_close(making->remove->file);
    making->remove->file = NULL;
    enum ks_status st = ks_io_unlink(journal->io, path, err);
    if (st && st != KS_NOT_FOUND) /* a failed one may have been done nevertheless */
        return st;
    making->stage = MAKING_SYNC;
    return ks_io_sync_dir(journal->io, KS_JOURNAL_DIR, err);
}

static void journal_run(void *self)
{
    struct ks_journal *journal = self;
    struct journal_making *making = journal->making;
    making->status = making->remove ? making_remove(journal, making, &making->error)
                                    : making_continue(journal, making, &making->error);
}

/* What was under way is over, well or not: the files are the journal's again. */
static void journal_take_back(struct ks_journal *journal, struct journal_making *making)
{
    KS_LOCK_SCOPE(&journal->mu);
    if (making->zero) {
        making->zero->is_zeroing = false;
        making->zero->zeroed_bytes = making->zero->bytes;
    } else if (making->made && !making->status) {
        ks_list_push(&journal->ready, &making->made->link);
        journal->ready_count++;
        making->made = NULL;
    } else if (making->remove && making->status) {
        ks_list_push(&journal->remake, &making->remove->link);
        journal->remake_count++;
        making->remove = NULL;
    } else {
        journal->file_count--;
    }
}

/* No descriptor left, no room, no right: nothing of the log is touched, so it is tried again later.
 */
static void journal_put_off(struct ks_journal *journal, struct journal_making *making)
{
    uint64_t again = ks_clock_mono_ns(journal->engine->options.clock) + FULL_RETRY_NS;
    const struct ks_events *events = journal->engine->options.events;
    if (!making->made) {
        journal->remove_again_mono_ns = again;
        ks_emit(
            events, KS_LEVEL_WARNING, "journal.unlink_failed", "why=\"%s\"", making->error.text);
        return;
    }
    making_undo(journal, making);
    journal->make_again_mono_ns = again;
    if (making->status == KS_STORAGE_FULL || making->status == KS_NO_MEMORY)
        ks_emit(events, KS_LEVEL_WARNING, "journal.no_room", "file_bytes=%llu",
            (unsigned long long)journal->file_bytes);
    else
        ks_emit(events, KS_LEVEL_WARNING, "journal.make_failed", "why=\"%s\"", making->error.text);
}

static void journal_end(void *self)
{
    struct ks_journal *journal = self;
    struct journal_making *making = journal->making;
    if (!making->remove && !making->status && making->stage != MAKING_DONE)
        return;
    journal->making = NULL;
    journal_take_back(journal, making);
    bool is_full = making->status == KS_STORAGE_FULL || making->status == KS_NO_MEMORY;
    if (making->status && (!making_has_begun(making) || (making->made && is_full)))
        journal_put_off(journal, making);
    else if (making->status)
        ks_engine_poison(journal->engine, &making->error);
    making_free(making);
}

void ks_journal_making_free(struct ks_journal *journal)
{
    making_free(KS_TAKE(journal->making));
}

void ks_journal_step_init(struct ks_journal *journal)
{
    ks_wake_init(&journal->wake, KS_RANK_WAKE);
    journal->step = (struct ks_step){.name = "journal",
        .self = journal,
        .begin = journal_begin,
        .run = journal_run,
        .end = journal_end,
        .wake = &journal->wake,
        .idle_ms_max = STEP_IDLE_MS};
}

struct ks_step *ks_journal_step(struct ks_journal *journal)
{
    return &journal->step;
}
