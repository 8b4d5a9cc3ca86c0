#include "base/alloc.h"
#include "storage/kv.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Reader slots in lock.mdb: the reader pool, the loops and a forked checker at once stay far below.
 */
#define READERS_MAX 512
/* What a full disk is asked for when a short write must be told from a failing one. */
#define FULL_PROBE_BYTES (1024u * 1024)

struct lmdb_kv {
    struct ks_kv kv; /* first member */
    char *path;
    MDB_env *env;
    MDB_dbi tables[KS_KV_TABLES_MAX];
    unsigned table_count;
    /* Our own descriptor of data.mdb: for fallocate, and because it is told once more about a
     * writeback error. */
    int data_fd;
    uint64_t allocate_ahead_bytes; /* [writer] 0: off, or the file system cannot */
    uint64_t allocated_bytes;      /* [writer] */
    bool is_cache;
    bool is_read_only;
};

struct lmdb_txn {
    struct ks_kv_txn txn; /* first member */
    MDB_txn *mdb;
    bool is_write;
    enum ks_status failed; /* the first failed change: commit returns it */
};

static struct lmdb_kv *kv_of(struct ks_kv *kv)
{
    return KS_CONTAINER_OF(kv, struct lmdb_kv, kv);
}

static struct lmdb_txn *txn_of(struct ks_kv_txn *txn)
{
    return KS_CONTAINER_OF(txn, struct lmdb_txn, txn);
}

static MDB_val val_of(struct ks_view view)
{
    static const char nothing[1] = "";
    const void *data = view.bytes ? (const void *)view.data : nothing;
    return (MDB_val){.mv_size = view.bytes, .mv_data = (void *)(uintptr_t)data};
}

static struct ks_view view_of(const MDB_val *val)
{
    return ks_view_of(val->mv_data, val->mv_size);
}

static enum ks_status status_of(int rc)
{
    switch (rc) {
    case MDB_SUCCESS:
        return KS_OK;
    case MDB_NOTFOUND:
    case ENOENT:
        return KS_NOT_FOUND;
    case MDB_MAP_FULL:
    case ENOSPC:
    case EDQUOT:
        return KS_STORAGE_FULL;
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INCOMPATIBLE:
        return KS_CORRUPT;
    case ENOMEM:
        return KS_NO_MEMORY;
    case MDB_TXN_FULL:
        return KS_TOO_LARGE;
    case MDB_READERS_FULL:
        return KS_LIMIT;
    default:
        return KS_IO; /* MDB_PANIC among them: a meta page could not be written */
    }
}

static enum ks_status fail_rc(struct lmdb_kv *kv, int rc, const char *doing, struct ks_error *err)
{
    enum ks_status st = status_of(rc);
    if (rc == MDB_INVALID)
        return ks_fail(err, st, 0, "'%s/data.mdb' is damaged or not a database", kv->path);
    if (rc == MDB_VERSION_MISMATCH)
        return ks_fail(err, st, 0,
            "'%s/data.mdb' was written by another version of LMDB, or is damaged", kv->path);
    if (rc == MDB_MAP_FULL)
        return ks_fail(err, st, 0, "cannot %s '%s': its size limit is reached", doing, kv->path);
    if (rc > 0)
        return ks_fail(err, st, rc, "cannot %s '%s'", doing, kv->path);
    return ks_fail(err, st, 0, "cannot %s '%s': %s", doing, kv->path, mdb_strerror(rc));
}

static enum ks_status lmdb_begin(
    struct ks_kv *base, bool is_write, struct ks_kv_txn **out_txn, struct ks_error *err)
{
    struct lmdb_kv *kv = kv_of(base);
    if (is_write && kv->is_read_only)
        return fail_rc(kv, EROFS, "change", err);
    KS_AUTO_FREE struct lmdb_txn *txn = ks_zalloc(sizeof *txn);
    if (!txn)
        return fail_rc(kv, ENOMEM, "begin a transaction in", err);
    int rc = mdb_txn_begin(kv->env, NULL, is_write ? 0 : MDB_RDONLY, &txn->mdb);
    if (rc)
        return fail_rc(kv, rc, "begin a transaction in", err);
    txn->txn.kv = base;
    txn->is_write = is_write;
    *out_txn = &KS_TAKE(txn)->txn;
    return KS_OK;
}

static void lmdb_abort(struct ks_kv_txn *base)
{
    struct lmdb_txn *txn = txn_of(base);
    mdb_txn_abort(txn->mdb);
    ks_free(txn);
}

/*
 * Real blocks ahead of the last page, so that on a full disk deletes still have pages to write.
 * Failing is no error: the next commit tries again, and a commit that really finds no room says so
 * itself.
 */
static void allocate_ahead(struct lmdb_kv *kv)
{
    if (kv->allocate_ahead_bytes == 0)
        return;
    MDB_envinfo info;
    MDB_stat stat;
    if (mdb_env_info(kv->env, &info) || mdb_env_stat(kv->env, &stat))
        return;
    uint64_t used = ((uint64_t)info.me_last_pgno + 1) * stat.ms_psize;
    if (kv->allocated_bytes >= used + kv->allocate_ahead_bytes / 2)
        return;
    uint64_t want = used + kv->allocate_ahead_bytes;
    /* The size stays as LMDB made it. */
    if (fallocate(kv->data_fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)want) == 0)
        kv->allocated_bytes = want;
    else if (errno == EOPNOTSUPP || errno == ENOSYS)
        kv->allocate_ahead_bytes = 0;
}

static bool is_disk_full(struct lmdb_kv *kv)
{
    struct stat st;
    if (fstat(kv->data_fd, &st) < 0)
        return false;
    return fallocate(kv->data_fd, FALLOC_FL_KEEP_SIZE, st.st_size, FULL_PROBE_BYTES) < 0 &&
           (errno == ENOSPC || errno == EDQUOT);
}

/*
 * A commit writes pages, syncs, then writes the meta page. Out of space at the first of these
 * leaves the old state whole; at the second or third nobody knows. What tells them apart:
 *  - a failed sync is reported once to every descriptor that was open, ours included;
 *  - a failed meta page makes every later begin answer MDB_PANIC;
 *  - LMDB calls a page cut short by a full disk EIO.
 */
static bool is_nothing_changed(struct lmdb_kv *kv, int rc)
{
    if (rc == MDB_MAP_FULL)
        return true;
    if (rc != ENOSPC && rc != EDQUOT && rc != EIO)
        return false;
    bool is_full = rc != EIO || is_disk_full(kv);
    if (fdatasync(kv->data_fd) < 0 || !is_full)
        return false;
    MDB_txn *probe = NULL;
    if (mdb_txn_begin(kv->env, NULL, MDB_RDONLY, &probe))
        return false;
    mdb_txn_abort(probe);
    return true;
}

static enum ks_status lmdb_commit(struct ks_kv_txn *base, struct ks_error *err)
{
    KS_AUTO_FREE struct lmdb_txn *txn = txn_of(base);
    struct lmdb_kv *kv = kv_of(base->kv);
    if (txn->failed) {
        mdb_txn_abort(txn->mdb);
        return ks_fail(
            err, txn->failed, 0, "cannot commit in '%s': an earlier change failed", kv->path);
    }
    int rc = mdb_txn_commit(txn->mdb); /* frees it, whatever it returns */
    if (rc == 0) {
        if (txn->is_write)
            allocate_ahead(kv);
        return KS_OK;
    }
    if (is_nothing_changed(kv, rc)) {
        int errnum = rc == MDB_MAP_FULL ? 0
                     : rc == EDQUOT     ? EDQUOT
                                        : ENOSPC; /* EIO was not the truth */
        return ks_fail(err, KS_STORAGE_FULL, errnum, "cannot commit in '%s'", kv->path);
    }
    /* Whatever else LMDB calls it, the state on the disk is unknown. */
    return ks_fail(err, KS_IO, rc > 0 ? rc : 0, "cannot commit in '%s'%s%s", kv->path,
        rc > 0 ? "" : ": ", rc > 0 ? "" : mdb_strerror(rc));
}

static MDB_dbi table_of(struct ks_kv_txn *txn, unsigned table)
{
    struct lmdb_kv *kv = kv_of(txn->kv);
    KS_ASSERT(table < kv->table_count);
    return kv->tables[table];
}

static enum ks_status lmdb_get(struct ks_kv_txn *base, unsigned table, struct ks_view key,
    struct ks_view *out_value, struct ks_error *err)
{
    KS_ASSERT(key.bytes > 0 && key.bytes <= KS_KV_KEY_BYTES_MAX);
    MDB_val k = val_of(key), v;
    int rc = mdb_get(txn_of(base)->mdb, table_of(base, table), &k, &v);
    if (rc)
        return fail_rc(kv_of(base->kv), rc, "read from", err);
    *out_value = view_of(&v);
    return KS_OK;
}

/* Remembers the first failure: LMDB has marked the transaction broken, or a caller that went on
 * would commit half. */
static enum ks_status fail_change(
    struct lmdb_txn *txn, int rc, const char *doing, struct ks_error *err)
{
    enum ks_status st = fail_rc(kv_of(txn->txn.kv), rc, doing, err);
    if (!txn->failed)
        txn->failed = st;
    return st;
}

static enum ks_status lmdb_put(struct ks_kv_txn *base, unsigned table, struct ks_view key,
    struct ks_view value, struct ks_error *err)
{
    struct lmdb_txn *txn = txn_of(base);
    KS_ASSERT(txn->is_write);
    KS_ASSERT(key.bytes > 0 && key.bytes <= KS_KV_KEY_BYTES_MAX);
    MDB_val k = val_of(key), v = val_of(value);
    int rc = mdb_put(txn->mdb, table_of(base, table), &k, &v, 0);
    return rc ? fail_change(txn, rc, "write to", err) : KS_OK;
}

static enum ks_status lmdb_remove(
    struct ks_kv_txn *base, unsigned table, struct ks_view key, struct ks_error *err)
{
    struct lmdb_txn *txn = txn_of(base);
    KS_ASSERT(txn->is_write);
    KS_ASSERT(key.bytes > 0 && key.bytes <= KS_KV_KEY_BYTES_MAX);
    MDB_val k = val_of(key);
    int rc = mdb_del(txn->mdb, table_of(base, table), &k, NULL);
    return rc && rc != MDB_NOTFOUND ? fail_change(txn, rc, "remove from", err) : KS_OK;
}

static int seek_at_or_after(MDB_cursor *cursor, struct ks_view key, MDB_val *k, MDB_val *v)
{
    if (key.bytes == 0)
        return mdb_cursor_get(cursor, k, v, MDB_FIRST);
    *k = val_of(key);
    return mdb_cursor_get(cursor, k, v, MDB_SET_RANGE);
}

static int seek_at_or_before(MDB_cursor *cursor, struct ks_view key, MDB_val *k, MDB_val *v)
{
    if (key.bytes == 0)
        return MDB_NOTFOUND;
    *k = val_of(key);
    int rc = mdb_cursor_get(cursor, k, v, MDB_SET_RANGE);
    if (rc == MDB_NOTFOUND)
        return mdb_cursor_get(cursor, k, v, MDB_LAST);
    if (rc || ks_view_equal(view_of(k), key))
        return rc;
    return mdb_cursor_get(cursor, k, v, MDB_PREV);
}

static enum ks_status seek(struct ks_kv_txn *base, unsigned table, struct ks_view key,
    bool is_after, struct ks_view *out_key, struct ks_view *out_value, struct ks_error *err)
{
    KS_ASSERT(key.bytes <= KS_KV_KEY_BYTES_MAX);
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(txn_of(base)->mdb, table_of(base, table), &cursor);
    if (rc)
        return fail_rc(kv_of(base->kv), rc, "read from", err);
    MDB_val k, v;
    rc = is_after ? seek_at_or_after(cursor, key, &k, &v) : seek_at_or_before(cursor, key, &k, &v);
    mdb_cursor_close(cursor);
    if (rc)
        return fail_rc(kv_of(base->kv), rc, "read from", err);
    *out_key = view_of(&k);
    *out_value = view_of(&v);
    return KS_OK;
}

static enum ks_status lmdb_at_or_after(struct ks_kv_txn *txn, unsigned table, struct ks_view key,
    struct ks_view *out_key, struct ks_view *out_value, struct ks_error *err)
{
    return seek(txn, table, key, true, out_key, out_value, err);
}

static enum ks_status lmdb_at_or_before(struct ks_kv_txn *txn, unsigned table, struct ks_view key,
    struct ks_view *out_key, struct ks_view *out_value, struct ks_error *err)
{
    return seek(txn, table, key, false, out_key, out_value, err);
}

static enum ks_status lmdb_scan(struct ks_kv_txn *base, unsigned table,
    enum ks_status (*each)(
        void *arg, struct ks_view key, struct ks_view value, struct ks_error *err),
    void *arg, struct ks_error *err)
{
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(txn_of(base)->mdb, table_of(base, table), &cursor);
    if (rc)
        return fail_rc(kv_of(base->kv), rc, "read from", err);
    enum ks_status st = KS_OK;
    MDB_val k, v;
    rc = mdb_cursor_get(cursor, &k, &v, MDB_FIRST);
    while (!rc && !st) {
        st = each(arg, view_of(&k), view_of(&v), err);
        if (!st)
            rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    if (st)
        return st;
    return rc == MDB_NOTFOUND ? KS_OK : fail_rc(kv_of(base->kv), rc, "read from", err);
}

static enum ks_status lmdb_count(
    struct ks_kv_txn *base, unsigned table, uint64_t *out_rows, struct ks_error *err)
{
    MDB_stat stat;
    int rc = mdb_stat(txn_of(base)->mdb, table_of(base, table), &stat);
    if (rc)
        return fail_rc(kv_of(base->kv), rc, "read from", err);
    *out_rows = stat.ms_entries;
    return KS_OK;
}

static enum ks_status lmdb_sync(struct ks_kv *base, struct ks_error *err)
{
    struct lmdb_kv *kv = kv_of(base);
    int rc = mdb_env_sync(kv->env, 1);
    return rc ? ks_fail(err, KS_IO, rc, "cannot sync '%s'", kv->path) : KS_OK;
}

static void lmdb_close(struct ks_kv *base)
{
    struct lmdb_kv *kv = kv_of(base);
    if (kv->env)
        mdb_env_close(kv->env);
    if (kv->data_fd >= 0)
        close(kv->data_fd);
    ks_free(kv->path);
    ks_free(kv);
}

static const struct ks_kv_ops lmdb_ops = {
    .begin = lmdb_begin,
    .commit = lmdb_commit,
    .abort = lmdb_abort,
    .get = lmdb_get,
    .put = lmdb_put,
    .remove = lmdb_remove,
    .at_or_after = lmdb_at_or_after,
    .at_or_before = lmdb_at_or_before,
    .scan = lmdb_scan,
    .count = lmdb_count,
    .sync = lmdb_sync,
    .close = lmdb_close,
};

/* fsync of a directory, so that a file made in it stays. Returns errno. */
static int sync_directory(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    int errnum = fsync(fd) < 0 ? errno : 0;
    close(fd);
    return errnum;
}

/* LMDB syncs what it writes, not the directory entries of the files it makes. */
static enum ks_status sync_entries(struct lmdb_kv *kv, struct ks_error *err)
{
    char parent[4096];
    int n = snprintf(parent, sizeof parent, "%s/..", kv->path);
    if (n < 0 || (size_t)n >= sizeof parent)
        return fail_rc(kv, ENAMETOOLONG, "open", err);
    int errnum = sync_directory(kv->path);
    if (!errnum)
        errnum = sync_directory(parent);
    return errnum ? ks_fail(err, KS_IO, errnum, "cannot sync directory '%s'", kv->path) : KS_OK;
}

static enum ks_status open_tables(
    struct lmdb_kv *kv, const struct ks_kv_options *options, struct ks_error *err)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(kv->env, NULL, kv->is_read_only ? MDB_RDONLY : 0, &txn);
    if (rc)
        return fail_rc(kv, rc, "open", err);
    unsigned flags = kv->is_read_only ? 0 : MDB_CREATE;
    for (unsigned i = 0; i < options->table_count; i++) {
        rc = mdb_dbi_open(txn, options->table_names[i], flags, &kv->tables[i]);
        if (rc) {
            mdb_txn_abort(txn);
            if (rc == MDB_NOTFOUND)
                return ks_fail(err, KS_CORRUPT, 0, "'%s' has no table '%s'", kv->path,
                    options->table_names[i]);
            return fail_rc(kv, rc, "open a table of", err);
        }
    }
    rc = mdb_txn_commit(txn);
    return rc ? fail_rc(kv, rc, "open", err) : KS_OK;
}

static enum ks_status open_env(
    struct lmdb_kv *kv, const struct ks_kv_options *options, struct ks_error *err)
{
    int rc = mdb_env_create(&kv->env);
    if (rc)
        return fail_rc(kv, rc, "open", err);
    /*
     * The whole address space at once: growing the map later would need every reader to stop, and a
     * write transaction that hit the end could not go on anyway. Address space costs nothing; the
     * file grows page by page.
     */
    rc = mdb_env_set_mapsize(kv->env, (size_t)options->map_bytes_max);
    if (!rc)
        rc = mdb_env_set_maxdbs(kv->env, KS_KV_TABLES_MAX);
    if (!rc)
        rc = mdb_env_set_maxreaders(kv->env, READERS_MAX);
    unsigned flags =
        MDB_NOTLS | MDB_NORDAHEAD; /* a reader belongs to its transaction, not to a thread */
    flags |= options->is_cache ? MDB_NOSYNC : 0;
    flags |= kv->is_read_only ? MDB_RDONLY : 0;
    flags |= options->is_unlocked ? MDB_NOLOCK : 0;
    if (!rc)
        rc = mdb_env_open(kv->env, kv->path, flags, 0600);
    if (rc)
        return fail_rc(kv, rc, "open", err);
    int dead; /* slots of killed readers would keep old pages for ever */
    KS_IGNORE(mdb_reader_check(kv->env, &dead), "the next open tries again");
    return open_tables(kv, options, err);
}

static enum ks_status open_data_fd(struct lmdb_kv *kv, struct ks_error *err)
{
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/data.mdb", kv->path);
    if (n < 0 || (size_t)n >= sizeof path)
        return fail_rc(kv, ENAMETOOLONG, "open", err);
    kv->data_fd = open(path, O_RDWR | O_CLOEXEC);
    return kv->data_fd < 0 ? fail_rc(kv, errno, "open", err) : KS_OK;
}

static enum ks_status open_at(const struct ks_kv_options *options, bool is_read_only,
    struct ks_kv **out_kv, struct ks_error *err)
{
    KS_ASSERT(options->table_count > 0 && options->table_count <= KS_KV_TABLES_MAX);
    KS_ASSERT(is_read_only || !options->is_unlocked);
    struct lmdb_kv *kv = ks_zalloc(sizeof *kv);
    if (!kv)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot open '%s'", options->path);
    KS_CLEANUP(ks_kv_closep) struct ks_kv *out = &kv->kv;
    kv->kv.ops = &lmdb_ops;
    kv->data_fd = -1;
    kv->table_count = options->table_count;
    kv->is_cache = options->is_cache;
    kv->is_read_only = is_read_only;
    kv->allocate_ahead_bytes = is_read_only ? 0 : options->allocate_ahead_bytes;
    kv->path = ks_strdup(options->path);
    if (!kv->path)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot open '%s'", options->path);
    if (!is_read_only && mkdir(kv->path, 0700) < 0 && errno != EEXIST)
        return fail_rc(kv, errno, "make directory", err);
    enum ks_status st = open_env(kv, options, err);
    if (!st && !is_read_only)
        st = open_data_fd(kv, err);
    if (!st && !is_read_only && !kv->is_cache)
        st = sync_entries(kv, err);
    if (st)
        return st;
    allocate_ahead(kv);
    *out_kv = KS_TAKE(out);
    return KS_OK;
}

enum ks_status ks_kv_lmdb_open(
    const struct ks_kv_options *options, struct ks_kv **out_kv, struct ks_error *err)
{
    return open_at(options, false, out_kv, err);
}

enum ks_status ks_kv_lmdb_open_read_only(
    const struct ks_kv_options *options, struct ks_kv **out_kv, struct ks_error *err)
{
    return open_at(options, true, out_kv, err);
}

enum ks_status ks_kv_lmdb_erase(const char *path, struct ks_error *err)
{
    static const char *const names[] = {"data.mdb", "lock.mdb"};
    for (size_t i = 0; i < KS_COUNT_OF(names); i++) {
        char name[4096];
        int n = snprintf(name, sizeof name, "%s/%s", path, names[i]);
        if (n < 0 || (size_t)n >= sizeof name)
            return ks_fail(err, KS_IO, ENAMETOOLONG, "cannot remove '%s'", path);
        if (unlink(name) < 0 && errno != ENOENT)
            return ks_fail(err, KS_IO, errno, "cannot remove '%s'", name);
    }
    return KS_OK;
}

/* A copy that fails is a copy less: no reason to stop. */
static enum ks_status copy_status(int rc)
{
    return rc == ENOSPC || rc == EDQUOT ? KS_STORAGE_FULL : KS_IO;
}

enum ks_status ks_kv_lmdb_copy(
    struct ks_kv *kv, const char *path, uint64_t *out_bytes, struct ks_error *err)
{
    struct lmdb_kv *lmdb = KS_CONTAINER_OF(kv, struct lmdb_kv, kv);
    char name[4096];
    struct stat info;
    int n = snprintf(name, sizeof name, "%s/data.mdb", path);
    if (n < 0 || (size_t)n >= sizeof name)
        return ks_fail(err, KS_IO, ENAMETOOLONG, "cannot make '%s'", path);
    if (mkdir(path, 0700) < 0)
        return ks_fail(err, copy_status(errno), errno, "cannot make '%s'", path);
    int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return ks_fail(err, copy_status(errno), errno, "cannot make '%s'", name);
    int rc = mdb_env_copyfd2(lmdb->env, fd, MDB_CP_COMPACT);
    if (!rc && (fsync(fd) < 0 || fstat(fd, &info) < 0))
        rc = errno;
    close(fd);
    if (!rc)
        rc = sync_directory(path);
    if (rc)
        return ks_fail(err, copy_status(rc), rc > 0 ? rc : 0, "cannot copy '%s': %s", lmdb->path,
            mdb_strerror(rc));
    *out_bytes = (uint64_t)info.st_size;
    return KS_OK;
}
