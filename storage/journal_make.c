#include "base/alloc.h"
#include "storage/journal_priv.h"

#include <stdio.h>

#define ZERO_PIECE_BYTES (1u << 20)
#define FULL_RETRY_NS 10000000000ull
#define STEP_IDLE_MS 10000u

/* A file on its way: allocated, zeroed piece by piece, synced, headed, its name made durable. */
enum making_stage { MAKING_ALLOCATE, MAKING_ZERO, MAKING_SYNC, MAKING_HEAD, MAKING_DONE };

struct journal_making {
    struct ks_journal_file *made;   /* NULL: a removal */
    struct ks_journal_file *remove; /* NULL: a new file */
    enum making_stage stage;
    uint64_t zeroed_bytes;
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

/* One short piece of the work. A full disk shows at allocation, before anything was promised. */
static enum ks_status making_continue(
    struct ks_journal *journal, struct journal_making *making, struct ks_error *err)
{
    struct ks_journal_file *made = making->made;
    enum ks_status st;
    switch (making->stage) {
    case MAKING_ALLOCATE:
        st = making_allocate(journal, making, err);
        making->stage = MAKING_ZERO;
        return st;
    case MAKING_ZERO: {
        uint64_t piece = ks_min_u64(ZERO_PIECE_BYTES, made->bytes - making->zeroed_bytes);
        st = ks_file_write_one(
            made->file, making->zeros, piece, making->zeroed_bytes, KS_WRITE_PLAIN, err);
        making->zeroed_bytes += piece;
        if (making->zeroed_bytes == made->bytes)
            making->stage = MAKING_SYNC;
        return st;
    }
    case MAKING_SYNC:
        making->stage = MAKING_HEAD;
        return ks_file_sync(made->file, err);
    case MAKING_HEAD: {
        /* The header says that the zeros are on disk, so it comes after their sync. */
        struct ks_journal_file_header header = {.number = made->number, .file_bytes = made->bytes};
        memcpy(header.uuid, journal->uuid, sizeof header.uuid);
        ks_journal_file_header_encode(&header, making->zeros);
        st = ks_file_write_one(
            made->file, making->zeros, KS_JOURNAL_FILE_HEADER_BYTES, 0, KS_WRITE_DURABLE, err);
        making->stage = MAKING_DONE;
        return st ? st : ks_io_sync_dir(journal->io, KS_JOURNAL_DIR, err);
    }
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

static struct journal_making *making_create(struct ks_journal *journal, uint64_t bytes)
{
    struct journal_making *making = ks_zalloc(sizeof *making);
    if (!making)
        return NULL;
    making->made = file_create(journal, bytes);
    making->zeros = ks_aligned_alloc(KS_JOURNAL_BLOCK_ALIGN, ks_min_u64(ZERO_PIECE_BYTES, bytes));
    if (!making->made || !making->zeros) {
        making_free(making);
        return NULL;
    }
    memset(making->zeros, 0, ks_min_u64(ZERO_PIECE_BYTES, bytes));
    return making;
}

static struct journal_making *making_of_removal(
    struct ks_journal *journal, struct ks_journal_file *remove)
{
    struct journal_making *making = ks_zalloc(sizeof *making);
    if (making) {
        making->remove = remove;
        return making;
    }
    KS_LOCK_SCOPE(&journal->mu);
    ks_list_push(&journal->remake, &remove->link);
    journal->remake_count++;
    return NULL;
}

/* At open, when there is no ready file. */
enum ks_status ks_journal_make_now(struct ks_journal *journal, uint64_t bytes,
    struct ks_journal_file **out_file, struct ks_error *err)
{
    struct journal_making *making = making_create(journal, bytes);
    if (!making)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot make a journal file");
    enum ks_status st = KS_OK;
    while (!st && making->stage != MAKING_DONE)
        st = making_continue(journal, making, err);
    if (!st)
        *out_file = KS_TAKE(making->made);
    making_free(making);
    return st;
}

/* What a full disk left behind goes away again; the next start would remove it as well. */
static void making_undo(struct ks_journal *journal, struct journal_making *making)
{
    char path[KS_JOURNAL_PATH_BYTES];
    ks_journal_path(making->made->number, path);
    if (making->made->file)
        ks_file_close(making->made->file);
    making->made->file = NULL;
    KS_IGNORE(ks_io_unlink(journal->io, path, NULL), "an unheaded file is not used");
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
static struct ks_journal_file *journal_take_removable(struct ks_journal *journal)
{
    if (!journal->current || ks_list_is_empty(&journal->remake))
        return NULL;
    struct ks_journal_file *file = file_of(journal->remake.next);
    if (!file_is_told(journal, file))
        return NULL;
    ks_list_remove(&file->link);
    journal->remake_count--;
    return file;
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
    uint64_t now = ks_clock_mono_ns(journal->engine->options.clock);
    struct ks_journal_file *remove = NULL;
    bool is_wanted;
    {
        KS_LOCK_SCOPE(&journal->mu);
        if (may_recycle)
            KS_IGNORE(ks_journal_recycle(journal), "whether or not, the rest is looked at");
        remove = journal_take_removable(journal);
        is_wanted = journal->current && !remove &&
                    journal->file_count - journal->remake_count < journal->files_target &&
                    now >= journal->make_again_mono_ns;
        journal->file_count += is_wanted;
    }
    if (is_wanted)
        journal->making = making_create(journal, journal->file_bytes);
    else if (remove)
        journal->making = making_of_removal(journal, remove);
    if (is_wanted && !journal->making) {
        KS_LOCK_SCOPE(&journal->mu);
        journal->file_count--;
    }
    if (journal->making)
        return true;
    uint64_t oldest = ks_journal_oldest_lsn(journal);
    if (oldest > journal->trimmed_lsn)
        ks_registry_trim_tombstones(journal->engine->registry, oldest);
    journal->trimmed_lsn = oldest;
    return false;
}

static void journal_run(void *self)
{
    struct ks_journal *journal = self;
    struct journal_making *making = journal->making;
    if (making->made) {
        making->status = making_continue(journal, making, &making->error);
        return;
    }
    char path[KS_JOURNAL_PATH_BYTES];
    ks_journal_path(making->remove->number, path);
    ks_file_close(making->remove->file);
    making->remove->file = NULL;
    making->status = ks_io_unlink(journal->io, path, &making->error);
    if (!making->status)
        making->status = ks_io_sync_dir(journal->io, KS_JOURNAL_DIR, &making->error);
}

static void journal_end(void *self)
{
    struct ks_journal *journal = self;
    struct journal_making *making = journal->making;
    if (making->made && !making->status && making->stage != MAKING_DONE)
        return;
    journal->making = NULL;
    if (making->made && !making->status) {
        KS_LOCK_SCOPE(&journal->mu);
        struct ks_journal_file *made = KS_TAKE(making->made);
        ks_list_push(&journal->ready, &made->link);
        journal->ready_count++;
    } else {
        KS_LOCK_SCOPE(&journal->mu);
        journal->file_count--;
    }
    if (making->made && (making->status == KS_STORAGE_FULL || making->status == KS_NO_MEMORY)) {
        making_undo(journal, making);
        journal->make_again_mono_ns =
            ks_clock_mono_ns(journal->engine->options.clock) + FULL_RETRY_NS;
        ks_emit(journal->engine->options.events, KS_LEVEL_WARNING, "journal.no_room",
            "file_bytes=%llu", (unsigned long long)journal->file_bytes);
    } else if (making->status) {
        ks_engine_poison(journal->engine, &making->error);
    }
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
