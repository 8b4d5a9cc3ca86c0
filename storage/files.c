#include "storage/files.h"

#include "base/alloc.h"
#include "proto/catalog.pb-c.h"
#include "storage/engine_priv.h"
#include "storage/u64_map.h"

#include <stdio.h>
#include <string.h>

#define FILES_A_ROUND 256u
#define FOLDERS 256u
#define RETRY_AFTER_NS 1000000000ULL
/* With less than so many segments free, no space is kept in used files. */
#define SHORT_BELOW_SEGMENTS 16u
#define SHORT_LOOK_MS 10000u

enum file_use {
    FILE_MAKING, /* its row is being committed, or the file is being made */
    FILE_READY,  /* in the pool */
    FILE_IN_USE, /* a segment */
    FILE_SPARE,  /* given back */
    FILE_GOING,  /* being unlinked, or its row is being removed */
};

struct file {
    struct ks_list link; /* ready, spare or the round's list */
    uint64_t file_id;
    uint64_t generation;
    enum file_use use;
    bool is_present; /* seen in its folder at load, or made since */
    bool is_kept;    /* could not be removed */
};

/* One thing at a time: making files or removing them. */
enum round_state {
    ROUND_IDLE,
    ROUND_MAKE_ROWS, /* end submits the rows */
    ROUND_ROWS_PENDING,
    ROUND_MAKE_FILES, /* rows are durable: run makes the files */
    ROUND_UNLINK,     /* run unlinks, end submits the removal of the rows */
    ROUND_DROP_PENDING,
};

struct ks_files {
    struct ks_engine *engine;
    struct ks_step step;
    struct ks_wake wake;
    struct ks_map_cache maps;
    struct ks_mutex mu;      /* KS_RANK_FILES; guards all below but where noted */
    struct ks_u64_map table; /* every file the catalog knows: struct file */
    struct ks_list recycled; /* ready; used before: their blocks are written, syncs are cheaper */
    struct ks_list fresh;    /* ready; never used */
    uint32_t ready_count;    /* of both */
    uint32_t recycled_count;
    uint32_t wanted;      /* more than pool_files, once */
    struct ks_list spare; /* given back: to the pool or to be unlinked */
    struct ks_list gone;  /* not there any more, the row has to go */
    uint64_t file_id_high;
    uint64_t retry_mono_ns; /* after a refusal: not before */
    enum round_state state;
    struct ks_change change;
    struct ks_list round;  /* of the round: its owner's, by state */
    struct ks_list failed; /* [step] of the round: could not be made */
    uint32_t round_count;
    bool has_folder[FOLDERS]; /* [step] */
};

void ks_files_path(uint64_t file_id, char path[KS_FILE_PATH_BYTES])
{
    int bytes = snprintf(path, KS_FILE_PATH_BYTES, "segments/%02x/%016llx.seg",
        (unsigned)(file_id >> 8 & 0xff), (unsigned long long)file_id);
    KS_ASSERT(bytes > 0 && bytes < KS_FILE_PATH_BYTES);
}

struct ks_map_cache *ks_files_map_cache(struct ks_files *files)
{
    return &files->maps;
}

static struct file *file_of(struct ks_list *node)
{
    return KS_CONTAINER_OF(node, struct file, link);
}

/* ---- the pool ---- */

static uint32_t pool_target(const struct ks_files *files)
{
    return KS_MAX(files->engine->options.limits.pool_files, files->wanted);
}

static void pool_put(struct ks_files *files, struct file *file)
{
    file->use = FILE_READY;
    ks_list_push(file->generation > 0 ? &files->recycled : &files->fresh, &file->link);
    files->ready_count++;
    files->recycled_count += file->generation > 0;
    ks_engine_count(files->engine, KS_COUNT_FILES_POOLED, 1);
}

enum ks_status ks_files_take(
    struct ks_files *files, uint64_t *out_file_id, uint64_t *out_generation)
{
    bool is_low = false;
    enum ks_status st = KS_WOULD_BLOCK;
    {
        KS_LOCK_SCOPE(&files->mu);
        struct ks_list *node = ks_list_pop(&files->recycled);
        if (!node)
            node = ks_list_pop(&files->fresh);
        if (node) {
            struct file *file = file_of(node);
            files->ready_count--;
            if (file->generation > 0) {
                files->recycled_count--;
                ks_engine_count(files->engine, KS_COUNT_FILES_RECYCLED, 1);
            }
            file->use = FILE_IN_USE;
            file->generation++;
            *out_file_id = file->file_id;
            *out_generation = file->generation;
            st = KS_OK;
        }
        is_low = files->ready_count < pool_target(files);
    }
    if (is_low)
        ks_wake_set(&files->wake);
    return st;
}

uint32_t ks_files_ready_count(struct ks_files *files)
{
    KS_LOCK_SCOPE(&files->mu);
    return files->ready_count;
}

bool ks_files_has_ready(struct ks_files *files)
{
    return ks_files_ready_count(files) > 0;
}

void ks_files_give_back(struct ks_files *files, uint64_t file_id, uint64_t generation)
{
    {
        KS_LOCK_SCOPE(&files->mu);
        struct file *file = ks_u64_map_get(&files->table, file_id);
        KS_ASSERT(file && file->use == FILE_IN_USE && file->generation == generation);
        file->use = FILE_SPARE;
        ks_list_push(&files->spare, &file->link);
    }
    ks_wake_set(&files->wake);
}

void ks_files_discard(struct ks_files *files, uint64_t file_id, uint64_t generation)
{
    {
        KS_LOCK_SCOPE(&files->mu);
        struct file *file = ks_u64_map_get(&files->table, file_id);
        KS_ASSERT(file && file->use == FILE_IN_USE && file->generation == generation);
        file->use = FILE_GOING;
        file->is_present = true; /* should its name be there again, it goes as well */
        ks_list_push(&files->gone, &file->link);
    }
    ks_emit(files->engine->options.events, KS_LEVEL_WARNING, "files.pool_file_missing",
        "file=%016llx", (unsigned long long)file_id);
    ks_wake_set(&files->wake);
}

void ks_files_want(struct ks_files *files, uint32_t count)
{
    {
        KS_LOCK_SCOPE(&files->mu);
        files->wanted = KS_MAX(files->wanted, KS_MIN(count, FILES_A_ROUND));
    }
    ks_wake_set(&files->wake);
}

/* ---- making files ---- */

static enum ks_status rows_apply(
    struct ks_change *change, struct ks_kv_txn *txn, struct ks_error *err)
{
    struct ks_files *files = KS_CONTAINER_OF(change, struct ks_files, change);
    enum ks_status st = ks_catalog_high_put(txn, "high.file", files->file_id_high, err);
    struct ks_catalog_key key;
    Kstream__Catalog__FileRow row = KSTREAM__CATALOG__FILE_ROW__INIT;
    row.status = KS_FILE_POOL;
    for (struct ks_list *node = files->round.next; !st && node != &files->round; node = node->next)
        st = ks_catalog_put(
            txn, KS_TABLE_FILES, ks_catalog_key_u64(&key, file_of(node)->file_id), &row.base, err);
    return st;
}

/* mu held. */
static void file_free(struct ks_files *files, struct file *file)
{
    ks_u64_map_remove(&files->table, file->file_id);
    ks_free(file);
}

static void back_off(struct ks_files *files, const char *what, const struct ks_error *error)
{
    files->retry_mono_ns = ks_clock_mono_ns(files->engine->options.clock) + RETRY_AFTER_NS;
    if (error->status == KS_STORAGE_FULL)
        atomic_store(&files->engine->is_disk_full, true);
    ks_emit(files->engine->options.events, KS_LEVEL_WARNING, what, "why=\"%s\"", error->text);
}

static void rows_done(struct ks_change *change, enum ks_status status, const struct ks_error *error)
{
    struct ks_files *files = KS_CONTAINER_OF(change, struct ks_files, change);
    {
        KS_LOCK_SCOPE(&files->mu);
        if (status) {
            struct ks_list *node;
            while ((node = ks_list_pop(&files->round)))
                file_free(files, file_of(node));
            back_off(files, "files.make_refused", error);
            files->state = ROUND_IDLE;
        } else {
            files->state = ROUND_MAKE_FILES;
        }
    }
    ks_wake_set(&files->wake);
}

/* mu held. */
static bool round_plan_make(struct ks_files *files)
{
    uint32_t target = pool_target(files);
    if (files->ready_count >= target)
        return false;
    uint32_t count = KS_MIN(target - files->ready_count, FILES_A_ROUND);
    if (!ks_u64_map_reserve(&files->table, count))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        struct file *file = ks_zalloc(sizeof *file);
        if (!file)
            break;
        file->file_id = ++files->file_id_high;
        file->use = FILE_MAKING;
        ks_u64_map_put(&files->table, file->file_id, file);
        ks_list_push(&files->round, &file->link);
    }
    if (ks_list_is_empty(&files->round))
        return false;
    files->state = ROUND_MAKE_ROWS;
    return true;
}

static enum ks_status folder_make(struct ks_files *files, unsigned folder, struct ks_error *err)
{
    if (files->has_folder[folder])
        return KS_OK;
    char path[KS_FILE_PATH_BYTES];
    snprintf(path, sizeof path, "segments/%02x", folder);
    struct ks_io *io = files->engine->options.io;
    enum ks_status st = ks_io_make_dir(io, path, err);
    if (!st)
        st = ks_io_sync_dir(io, "segments", err);
    files->has_folder[folder] = st == KS_OK;
    return st;
}

static enum ks_status file_make(struct ks_files *files, uint64_t file_id, struct ks_error *err)
{
    char path[KS_FILE_PATH_BYTES];
    ks_files_path(file_id, path);
    enum ks_status st = folder_make(files, (unsigned)(file_id >> 8 & 0xff), err);
    if (st)
        return st;
    KS_CLEANUP(ks_file_closep) struct ks_file *file = NULL;
    return ks_io_open(files->engine->options.io, path, KS_OPEN_WRITE | KS_OPEN_CREATE, &file, err);
}

static enum ks_status folder_sync(struct ks_files *files, unsigned folder, struct ks_error *err)
{
    char path[KS_FILE_PATH_BYTES];
    snprintf(path, sizeof path, "segments/%02x", folder);
    return ks_io_sync_dir(files->engine->options.io, path, err);
}

/* Files of one folder are synced together. An entry whose directory sync failed may vanish: such a
 * file must never hold a segment. */
static void files_make(struct ks_files *files)
{
    struct ks_list made;
    struct ks_error error = KS_ERROR_INIT;
    ks_list_init(&made);
    bool is_used[FOLDERS] = {false};
    enum ks_status made_st = KS_OK;
    enum ks_status sync_st = KS_OK;
    struct ks_list *node;
    while ((node = ks_list_pop(&files->round))) {
        if (!made_st)
            made_st = file_make(files, file_of(node)->file_id, &error);
        ks_list_push(made_st ? &files->failed : &made, node);
        is_used[file_of(node)->file_id >> 8 & 0xff] |= !made_st;
    }
    for (unsigned folder = 0; !sync_st && folder < FOLDERS; folder++) {
        if (is_used[folder])
            sync_st = folder_sync(files, folder, &error);
    }
    ks_list_splice(sync_st ? &files->failed : &files->round, &made);
    if (made_st || sync_st) {
        KS_LOCK_SCOPE(&files->mu);
        back_off(files, "files.make_failed", &error);
    }
}

/* ---- removing files ---- */

static enum ks_status drop_apply(
    struct ks_change *change, struct ks_kv_txn *txn, struct ks_error *err)
{
    struct ks_files *files = KS_CONTAINER_OF(change, struct ks_files, change);
    struct ks_catalog_key key;
    enum ks_status st = KS_OK;
    for (struct ks_list *node = files->round.next; !st && node != &files->round; node = node->next)
        st = ks_catalog_remove(
            txn, KS_TABLE_FILES, ks_catalog_key_u64(&key, file_of(node)->file_id), err);
    return st;
}

/* A row that could not be removed names a file that is gone: the next start drops it. */
static void drop_done(struct ks_change *change, enum ks_status status, const struct ks_error *error)
{
    (void)status;
    (void)error;
    struct ks_files *files = KS_CONTAINER_OF(change, struct ks_files, change);
    {
        KS_LOCK_SCOPE(&files->mu);
        struct ks_list *node;
        while ((node = ks_list_pop(&files->round)))
            file_free(files, file_of(node));
        files->state = ROUND_IDLE;
    }
    ks_wake_set(&files->wake);
}

/* mu held. Spare files go to the pool while it has room, used ones even beside as many fresh ones:
 * they serve better. The others are unlinked. */
static void pool_fill(struct ks_files *files)
{
    struct ks_list *node;
    while (files->recycled_count < pool_target(files) && (node = ks_list_pop(&files->spare)))
        pool_put(files, file_of(node));
}

/* mu held. Space is short: what used files hold is worth more to everybody else. A file that one
 * log filled would also stay whole in the hands of one with a single record. */
static void pool_empty(struct ks_files *files)
{
    struct ks_list *node;
    while ((node = ks_list_pop(&files->recycled))) {
        files->ready_count--;
        files->recycled_count--;
        file_of(node)->use = FILE_SPARE;
        ks_list_push(&files->spare, node);
    }
}

static bool disk_is_short(const struct ks_files *files)
{
    struct ks_fs_info info;
    struct ks_error error;
    if (ks_io_fs_info(files->engine->options.io, &info, &error))
        return false;
    return info.free_bytes < SHORT_BELOW_SEGMENTS * files->engine->options.limits.segment_bytes;
}

/* mu held. */
static bool round_plan_drop(struct ks_files *files, bool is_short)
{
    struct ks_list *node;
    if (is_short)
        pool_empty(files);
    else
        pool_fill(files);
    for (uint32_t i = 0; i < FILES_A_ROUND && (node = ks_list_pop(&files->spare)); i++) {
        file_of(node)->use = FILE_GOING;
        file_of(node)->is_present = true;
        ks_list_push(&files->round, node);
    }
    ks_list_splice(&files->round, &files->gone);
    if (ks_list_is_empty(&files->round))
        return false;
    files->state = ROUND_UNLINK;
    return true;
}

/* Whether its name is gone nobody knows: the file and its row are left for the next start. */
static void file_keep(struct ks_files *files, struct file *file, const struct ks_error *error)
{
    if (file->is_kept)
        return;
    file->is_kept = true;
    ks_emit(files->engine->options.events, KS_LEVEL_WARNING, "files.unlink_failed",
        "file=%016llx why=\"%s\"", (unsigned long long)file->file_id, error->text);
}

static unsigned folder_of(const struct file *file)
{
    return (unsigned)(file->file_id >> 8 & 0xff);
}

static void folder_keep(struct ks_files *files, unsigned folder, const struct ks_error *error)
{
    KS_LIST_FOR_EACH(node, &files->round)
    {
        if (file_of(node)->is_present && folder_of(file_of(node)) == folder)
            file_keep(files, file_of(node), error);
    }
}

/* The directory is synced before the row goes: a file that comes back after a power cut must be
 * known. */
static void files_unlink(struct ks_files *files)
{
    bool is_used[FOLDERS] = {false};
    struct ks_error error = KS_ERROR_INIT;
    KS_LIST_FOR_EACH(node, &files->round)
    {
        struct file *file = file_of(node);
        if (!file->is_present)
            continue;
        char path[KS_FILE_PATH_BYTES];
        ks_files_path(file->file_id, path);
        enum ks_status st = ks_io_unlink(files->engine->options.io, path, &error);
        is_used[folder_of(file)] = true;
        if (st && st != KS_NOT_FOUND)
            file_keep(files, file, &error);
    }
    for (unsigned folder = 0; folder < FOLDERS; folder++) {
        if (is_used[folder] && folder_sync(files, folder, &error))
            folder_keep(files, folder, &error);
    }
    KS_LIST_FOR_EACH_SAFE(node, &files->round)
    {
        if (file_of(node)->is_kept)
            ks_list_remove(node); /* stays in the table, out of use until the next start */
    }
}

/* ---- the step ---- */

static bool files_begin(void *self)
{
    struct ks_files *files = self;
    if (ks_engine_is_poisoned(files->engine))
        return false;
    bool is_short = disk_is_short(files);
    KS_LOCK_SCOPE(&files->mu);
    if (files->state == ROUND_MAKE_FILES)
        return true;
    if (files->state != ROUND_IDLE)
        return false;
    if (round_plan_drop(files, is_short))
        return true;
    uint64_t now = ks_clock_mono_ns(files->engine->options.clock);
    bool may_make = now >= files->retry_mono_ns;
    files->step.idle_ms_max = files->recycled_count > 0 ? SHORT_LOOK_MS : 0;
    if (!may_make)
        files->step.idle_ms_max = RETRY_AFTER_NS / 1000000;
    return may_make && round_plan_make(files);
}

static void files_run(void *self)
{
    struct ks_files *files = self;
    if (files->state == ROUND_MAKE_FILES)
        files_make(files);
    else if (files->state == ROUND_UNLINK)
        files_unlink(files);
}

static void submit_drop(struct ks_files *files)
{
    files->change.apply = drop_apply;
    files->change.done = drop_done;
    files->state = ROUND_DROP_PENDING;
    ks_catalog_submit(files->engine->catalog, &files->change);
}

/* New files into the pool; those that could not be made are unlinked by the next round. */
static void made_end(struct ks_files *files)
{
    struct ks_list *node;
    {
        KS_LOCK_SCOPE(&files->mu);
        while ((node = ks_list_pop(&files->round)))
            pool_put(files, file_of(node));
        while ((node = ks_list_pop(&files->failed))) {
            file_of(node)->use = FILE_GOING;
            file_of(node)->is_present = true;
            ks_list_push(&files->gone, node);
        }
        files->wanted = 0;
        files->state = ROUND_IDLE;
    }
    if (files->engine->flush)
        ks_flush_files_ready(files->engine->flush);
    ks_wake_set(&files->wake);
}

static void files_end(void *self)
{
    struct ks_files *files = self;
    switch (files->state) {
    case ROUND_MAKE_ROWS:
        files->change.apply = rows_apply;
        files->change.done = rows_done;
        files->state = ROUND_ROWS_PENDING;
        ks_catalog_submit(files->engine->catalog, &files->change);
        break;
    case ROUND_MAKE_FILES:
        made_end(files);
        break;
    case ROUND_UNLINK:
        submit_drop(files);
        break;
    case ROUND_IDLE:
    case ROUND_ROWS_PENDING:
    case ROUND_DROP_PENDING:
        break;
    }
}

struct ks_step *ks_files_step(struct ks_files *files)
{
    return &files->step;
}

/* ---- life ---- */

enum ks_status ks_files_create(
    struct ks_engine *engine, struct ks_files **out, struct ks_error *err)
{
    struct ks_files *files = ks_zalloc(sizeof *files);
    if (!files)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot make the file table");
    files->engine = engine;
    ks_wake_init(&files->wake, KS_RANK_WAKE);
    ks_mutex_init(&files->mu, KS_RANK_FILES);
    ks_map_cache_init(&files->maps, KS_MAPS_MAX);
    struct ks_list *lists[] = {&files->recycled, &files->fresh, &files->spare, &files->gone,
        &files->round, &files->failed};
    for (size_t i = 0; i < KS_COUNT_OF(lists); i++)
        ks_list_init(lists[i]);
    files->step = (struct ks_step){.name = "files",
        .self = files,
        .begin = files_begin,
        .run = files_run,
        .end = files_end,
        .wake = &files->wake};
    *out = files;
    return KS_OK;
}

void ks_files_destroy(struct ks_files *files)
{
    if (!files)
        return;
    KS_U64_MAP_FOR_EACH(slot, &files->table)
    {
        ks_free(slot->value);
    }
    ks_u64_map_fini(&files->table);
    ks_map_cache_fini(&files->maps);
    ks_mutex_fini(&files->mu);
    ks_wake_fini(&files->wake);
    ks_free(files);
}

/* ---- load ---- */

bool ks_files_row_is_empty(const Kstream__Catalog__FileRow *row)
{
    return (row->status == KS_FILE_ACTIVE || row->status == KS_FILE_SEALED) &&
           row->batch_count == 0 && row->first_sequence > 0 &&
           row->last_sequence == row->first_sequence - 1;
}

static enum file_use use_of_row(const Kstream__Catalog__FileRow *row)
{
    if (ks_files_row_is_empty(row))
        return FILE_GOING;
    return row->status == KS_FILE_ACTIVE || row->status == KS_FILE_SEALED ? FILE_IN_USE
                                                                          : FILE_SPARE;
}

static enum ks_status load_row(
    void *arg, struct ks_view key, struct ks_view value, struct ks_error *err)
{
    struct ks_files *files = arg;
    ProtobufCMessage *message = NULL;
    enum ks_status st = ks_catalog_unpack(KS_TABLE_FILES, key, value, &message, err);
    if (st)
        return st;
    const Kstream__Catalog__FileRow *row = (const Kstream__Catalog__FileRow *)message;
    struct file *file = ks_zalloc(sizeof *file);
    if (file && ks_u64_map_reserve(&files->table, 1)) {
        file->file_id = ks_load_u64be(key.data);
        file->generation = row->generation;
        file->use = use_of_row(row);
        ks_u64_map_put(&files->table, ks_load_u64be(key.data), KS_TAKE(file));
    } else {
        st = ks_fail(err, KS_NO_MEMORY, 0, "cannot load the file table");
    }
    ks_free(file);
    protobuf_c_message_free_unpacked(message, NULL);
    return st;
}

/* Names of a folder, zero-terminated one after the other: list's callback may not call back into
 * io. */
static void collect_name(void *arg, const char *name)
{
    struct ks_buf *names = arg;
    if (!ks_buf_append(names, name, strlen(name) + 1))
        names->bytes_max = 0; /* seen by the caller */
}

static bool name_parse(const char *name, uint64_t *out_file_id)
{
    if (strlen(name) != 20 || strcmp(name + 16, ".seg") != 0)
        return false;
    uint64_t id = 0;
    for (int i = 0; i < 16; i++) {
        char c = name[i];
        if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f'))
            return false;
        id = id << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    *out_file_id = id;
    return true;
}

static enum ks_status quarantine(
    struct ks_files *files, const char *folder, const char *name, struct ks_error *err)
{
    struct ks_engine *engine = files->engine;
    struct ks_io *io = engine->options.io;
    char from[300];
    char to[320];
    snprintf(from, sizeof from, "%s/%s", folder, name);
    /* The number tells apart strangers of one name from several starts. */
    for (unsigned i = 0;; i++) {
        snprintf(to, sizeof to, "quarantine/%s.%u", name, i);
        struct ks_file *file = NULL;
        enum ks_status st = ks_io_open(io, to, KS_OPEN_READ, &file, err);
        ks_file_close(file);
        if (st == KS_NOT_FOUND)
            break;
        if (st)
            return st;
    }
    enum ks_status st = ks_io_make_dir(io, "quarantine", err);
    if (!st)
        st = ks_io_sync_dir(io, ".", err);
    if (!st)
        st = ks_io_rename(io, from, to, err);
    if (!st)
        st = ks_io_sync_dir(io, "quarantine", err);
    if (!st)
        st = ks_io_sync_dir(io, folder, err);
    if (st)
        return st;
    engine->recovery.files_quarantined++;
    ks_emit(engine->options.events, KS_LEVEL_WARNING, "files.quarantined", "file=\"%s\" to=\"%s\"",
        from, to);
    return KS_OK;
}

static enum ks_status load_folder(struct ks_files *files, unsigned folder, struct ks_error *err)
{
    char path[KS_FILE_PATH_BYTES];
    snprintf(path, sizeof path, "segments/%02x", folder);
    struct ks_buf names;
    ks_buf_init(&names, SIZE_MAX);
    enum ks_status st = ks_io_list(files->engine->options.io, path, collect_name, &names, err);
    if (!st && names.bytes_max == 0)
        st = ks_fail(err, KS_NO_MEMORY, 0, "cannot list '%s'", path);
    for (size_t at = 0; !st && at < names.bytes;) {
        const char *name = (const char *)names.data + at;
        uint64_t file_id = 0;
        struct file *file = NULL;
        if (name_parse(name, &file_id) && (file_id >> 8 & 0xff) == folder)
            file = ks_u64_map_get(&files->table, file_id);
        if (file)
            file->is_present = true;
        else
            st = quarantine(files, path, name, err);
        at += strlen(name) + 1;
    }
    ks_buf_fini(&names);
    /* The run before may have ended between making a file and syncing its folder. */
    return st ? st : ks_io_sync_dir(files->engine->options.io, path, err);
}

static void note_folder(void *arg, const char *name)
{
    struct ks_files *files = arg;
    unsigned folder = 0;
    char same[8];
    if (strlen(name) != 2 || sscanf(name, "%02x", &folder) != 1)
        return;
    snprintf(same, sizeof same, "%02x", folder);
    if (strcmp(same, name) == 0)
        files->has_folder[folder] = true;
}

static enum ks_status load_folders(struct ks_files *files, struct ks_error *err)
{
    struct ks_io *io = files->engine->options.io;
    enum ks_status st = ks_io_make_dir(io, "segments", err);
    if (!st)
        st = ks_io_sync_dir(io, ".", err);
    if (!st)
        st = ks_io_list(io, "segments", note_folder, files, err);
    /* A folder found may not be durable yet: made before a power cut that did not happen. */
    if (!st)
        st = ks_io_sync_dir(io, "segments", err);
    for (unsigned folder = 0; !st && folder < FOLDERS; folder++) {
        if (files->has_folder[folder])
            st = load_folder(files, folder, err);
    }
    return st;
}

/* What nobody uses goes to the pool, a row without its file goes away, a segment without its file
 * is damage that its readers will be told of. */
static void sort_out(struct ks_files *files)
{
    struct ks_engine *engine = files->engine;
    KS_U64_MAP_FOR_EACH(slot, &files->table)
    {
        struct file *file = slot->value;
        if (file->use == FILE_IN_USE) {
            if (file->is_present)
                continue;
            ks_engine_count(engine, KS_COUNT_DAMAGE_MET, 1);
            ks_emit(engine->options.events, KS_LEVEL_ERROR, "files.missing", "file=%016llx",
                (unsigned long long)file->file_id);
            continue;
        }
        if (!file->is_present || file->use == FILE_GOING) {
            file->use = FILE_GOING;
            engine->recovery.files_unlinked++;
            ks_list_push(&files->gone, &file->link);
            continue;
        }
        ks_list_push(&files->spare, &file->link);
    }
}

enum ks_status ks_files_load(struct ks_files *files, struct ks_error *err)
{
    KS_CLEANUP(ks_kv_abortp) struct ks_kv_txn *txn = NULL;
    enum ks_status st = ks_kv_begin(files->engine->options.catalog, false, &txn, err);
    if (!st)
        st = ks_catalog_high_get(txn, "high.file", &files->file_id_high, err);
    if (!st)
        st = ks_kv_scan(txn, KS_TABLE_FILES, load_row, files, err);
    if (!st)
        st = load_folders(files, err);
    if (st)
        return st;
    sort_out(files);
    pool_fill(files);
    ks_wake_set(&files->wake);
    return KS_OK;
}
