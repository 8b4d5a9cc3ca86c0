#include "daemon/datadir.h"

#include "storage/catalog.h"
#include "storage/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Address space, not memory: 100 000 shards need some 200 MB. */
#define CATALOG_MAP_BYTES_MAX (16ull << 30)
#define CATALOG_AHEAD_BYTES (16ull << 20) /* DESIGN: deletes can commit on a full disk */
#define INDEX_MAP_BYTES_MAX (64ull << 30)
#define CHECKER_EXIT_DAMAGED 3
#define RESTORED_MARK "catalog/restored"

static bool path_in(const struct ks_datadir *dir, const char *name, char path[PATH_MAX])
{
    int n = snprintf(path, PATH_MAX, "%s/%s", dir->path, name);
    return n > 0 && n < PATH_MAX;
}

static enum ks_status status_of(int errnum)
{
    return errnum == ENOSPC || errnum == EDQUOT ? KS_STORAGE_FULL : KS_IO;
}

static enum ks_status sync_path(const char *path, struct ks_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return ks_fail(err, KS_IO, errno, "cannot open '%s'", path);
    int rc = fsync(fd);
    int errnum = errno;
    close(fd);
    return rc < 0 ? ks_fail(err, KS_IO, errnum, "cannot sync '%s'", path) : KS_OK;
}

/*
 * A folder's name stands in its parent: until that is synced, a power cut may take the folder and
 * with it all that was acknowledged in there. A first start may have been killed after mkdir, so a
 * first start syncs for folders that are there as well; those may be beyond its rights.
 */
static enum ks_status make_dir(const char *path, mode_t mode, bool is_first, struct ks_error *err)
{
    char parent[PATH_MAX];
    bool is_made = mkdir(path, mode) == 0;
    if (!is_made && errno != EEXIST)
        return ks_fail(err, status_of(errno), errno, "cannot make the directory '%s'", path);
    if (!is_made && !is_first)
        return KS_OK;
    snprintf(parent, sizeof(parent), "%s", path);
    char *slash = strrchr(parent, '/');
    if (slash)
        slash[slash == parent] = '\0';
    else
        strcpy(parent, ".");
    enum ks_status st = sync_path(parent, is_made ? err : NULL);
    return is_made ? st : KS_OK;
}

/* Every missing folder of the path, the last one for us alone. */
static enum ks_status make_dirs(const struct ks_datadir *dir, struct ks_error *err)
{
    char part[PATH_MAX];
    if (!path_in(dir, "run", part))
        return ks_fail(err, KS_IO, ENAMETOOLONG, "cannot use '%s'", dir->path);
    bool is_first = access(part, F_OK) < 0;
    snprintf(part, sizeof(part), "%s", dir->path);
    for (char *p = part + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        enum ks_status st = make_dir(part, 0755, is_first, err);
        if (st)
            return st;
        *p = '/';
    }
    enum ks_status st = make_dir(part, 0700, is_first, err);
    if (st)
        return st;
    struct stat made;
    if (stat(part, &made) == 0 && !S_ISDIR(made.st_mode))
        return ks_fail(err, KS_IO, ENOTDIR, "the data directory '%s' is not a directory", part);
    if (access(part, R_OK | W_OK | X_OK) < 0)
        return ks_fail(err, KS_IO, errno, "the data directory '%s' is not writable", dir->path);
    return KS_OK;
}

static enum ks_status check_fs(
    const struct ks_datadir *dir, const struct ks_datadir_options *options, struct ks_error *err)
{
    struct ks_fs_info info;
    enum ks_status st = dir->io->ops->fs_info(dir->io, &info, err);
    if (st)
        return st;
    if (info.is_refused && !options->is_unsafe_fs_allowed)
        return ks_fail(err, KS_UNSUPPORTED, 0,
            "'%s' is on %s, which loses acknowledged records at a power cut; use ext4 or xfs, or "
            "add --unsafe-fs "
            "if they may be lost",
            dir->path, info.type);
    if (info.is_refused)
        ks_emit(options->events, KS_LEVEL_WARNING, "datadir.unsafe_fs",
            "type=%s text=\"acknowledged records do not survive a power cut\"", info.type);
    else if (!info.is_supported)
        ks_emit(options->events, KS_LEVEL_WARNING, "datadir.untested_fs",
            "type=%s text=\"durability is tested on ext4 and xfs\"", info.type);
    return KS_OK;
}

/* Removed durably before anything changes, so that a crash of this run is seen as one. */
static enum ks_status take_clean_mark(struct ks_datadir *dir, struct ks_error *err)
{
    char path[PATH_MAX];
    if (!path_in(dir, "clean", path))
        return ks_fail(err, KS_IO, ENAMETOOLONG, "cannot use '%s'", dir->path);
    dir->was_clean = unlink(path) == 0;
    if (!dir->was_clean && errno != ENOENT)
        return ks_fail(err, KS_IO, errno, "cannot remove '%s'", path);
    enum ks_status st = dir->was_clean ? sync_path(dir->path, err) : KS_OK;
    if (!path_in(dir, RESTORED_MARK, path))
        return ks_fail(err, KS_IO, ENAMETOOLONG, "cannot use '%s'", dir->path);
    dir->is_catalog_copy = access(path, F_OK) == 0;
    dir->was_clean = dir->was_clean && !dir->is_catalog_copy; /* that was another catalog */
    return st;
}

enum ks_status ks_datadir_catalog_adopted(struct ks_datadir *dir, struct ks_error *err)
{
    char path[PATH_MAX];
    if (!dir->is_catalog_copy)
        return KS_OK;
    dir->is_catalog_copy = false;
    if (!path_in(dir, RESTORED_MARK, path) || unlink(path) < 0)
        return ks_fail(err, KS_IO, errno, "cannot remove '%s/" RESTORED_MARK "'", dir->path);
    *strrchr(path, '/') = '\0'; /* the folder */
    return sync_path(path, err);
}

/* One more than the last run's number. */
static enum ks_status raise_run(struct ks_datadir *dir, struct ks_error *err)
{
    char path[PATH_MAX];
    char fresh[PATH_MAX];
    char text[32] = "0";
    if (!path_in(dir, "run", path) || !path_in(dir, "run.new", fresh))
        return ks_fail(err, KS_IO, ENAMETOOLONG, "cannot use '%s'", dir->path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t n = read(fd, text, sizeof(text) - 1);
        text[n > 0 ? n : 0] = '\0';
        close(fd);
    }
    dir->run_id = strtoull(text, NULL, 10) + 1;
    int bytes = snprintf(text, sizeof(text), "%llu\n", (unsigned long long)dir->run_id);
    /* A number for monitoring is not worth refusing to start on a full disk. */
    fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 && (errno == ENOSPC || errno == EDQUOT))
        return KS_OK;
    if (fd < 0)
        return ks_fail(err, KS_IO, errno, "cannot write '%s'", fresh);
    ssize_t n = write(fd, text, (size_t)bytes);
    int errnum = n < 0 ? errno : ENOSPC;
    close(fd);
    if (n == bytes && rename(fresh, path) == 0)
        return KS_OK;
    if (n == bytes)
        errnum = errno;
    unlink(fresh);
    return errnum == ENOSPC || errnum == EDQUOT
               ? KS_OK
               : ks_fail(err, KS_IO, errnum, "cannot write '%s'", fresh);
}

static void catalog_options(const char *path, struct ks_kv_options *options)
{
    *options = (struct ks_kv_options){.path = path,
        .table_names = ks_catalog_table_names,
        .table_count = KS_TABLE_COUNT,
        .map_bytes_max = CATALOG_MAP_BYTES_MAX,
        .allocate_ahead_bytes = CATALOG_AHEAD_BYTES};
}

/* A dot is progress; the parent takes what follows the dots for the reason. */
static void checker_tell(void *arg, uint64_t rows)
{
    (void)rows;
    KS_IGNORE(write(*(int *)arg, ".", 1), "the exit code is what counts");
}

/* In the child: a damaged environment may kill it, and nobody else. The last line of the pipe is
 * the reason. */
KS_NORETURN static void checker_run(const char *catalog_path, int to)
{
    struct ks_kv_options options;
    struct ks_kv *kv = NULL;
    struct ks_error error = KS_ERROR_INIT;
    uint64_t rows = 0;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    catalog_options(catalog_path, &options);
    enum ks_status st = ks_kv_lmdb_open_read_only(&options, &kv, &error);
    if (st == KS_OK)
        st = ks_catalog_verify(kv, checker_tell, &to, &rows, &error);
    if (st && st != KS_NOT_FOUND) {
        KS_IGNORE(write(to, error.text, strlen(error.text)), "the exit code says it too");
        _exit(CHECKER_EXIT_DAMAGED);
    }
    _exit(0);
}

/* After an unclean stop: what reached only the page cache must not be taken for truth, and what is
 * read must be the disk's. */
static enum ks_status start_checker(struct ks_datadir *dir, struct ks_error *err)
{
    char folder[PATH_MAX];
    char data[PATH_MAX];
    int ends[2];
    if (!path_in(dir, "catalog", folder) || !path_in(dir, "catalog/data.mdb", data))
        return ks_fail(err, KS_IO, ENAMETOOLONG, "cannot use '%s'", dir->path);
    int fd = open(data, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? KS_OK : ks_fail(err, KS_IO, errno, "cannot open '%s'", data);
    int rc = fdatasync(fd);
    int errnum = errno;
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
    if (rc < 0)
        return ks_fail(
            err, KS_IO, errnum, "cannot sync '%s': what it says cannot be trusted", data);
    if (pipe2(ends, O_CLOEXEC) < 0)
        return ks_fail(err, KS_IO, errno, "cannot check the catalog");
    pid_t child = fork();
    if (child == 0)
        checker_run(folder, ends[1]);
    close(ends[1]);
    if (child < 0) {
        close(ends[0]);
        return ks_fail(err, KS_IO, errno, "cannot check the catalog");
    }
    dir->checker = child;
    dir->checker_pipe = ends[0];
    return KS_OK;
}

enum ks_status ks_datadir_open(
    const struct ks_datadir_options *options, struct ks_datadir *dir, struct ks_error *err)
{
    memset(dir, 0, sizeof(*dir));
    dir->checker_pipe = -1;
    if (strlen(options->path) >= sizeof(dir->path) - 64)
        return ks_fail(err, KS_USAGE, 0, "the path of the data directory is too long");
    strcpy(dir->path, options->path);
    for (size_t n = strlen(dir->path); n > 1 && dir->path[n - 1] == '/'; n--)
        dir->path[n - 1] = '\0'; /* or the last folder would be made as one on the way */
    enum ks_status st = make_dirs(dir, err);
    if (!st)
        st = ks_io_posix_open(dir->path, &dir->io, err);
    if (!st)
        st = check_fs(dir, options, err);
    if (!st)
        st = take_clean_mark(dir, err);
    if (!st)
        st = raise_run(dir, err);
    if (!st && !dir->was_clean)
        st = start_checker(dir, err);
    if (st)
        ks_datadir_close(dir);
    return st;
}

static enum ks_status await_checker(
    struct ks_datadir *dir, void (*on_progress)(void *arg), void *arg, struct ks_error *err)
{
    char reason[KS_ERROR_TEXT_BYTES] = "";
    size_t bytes = 0;
    ssize_t n;
    int status = 0;
    while ((n = read(dir->checker_pipe, reason + bytes, sizeof(reason) - 1 - bytes)) > 0) {
        bytes += (size_t)n;
        size_t dots = strspn(reason, ".");
        memmove(reason, reason + dots, bytes - dots);
        bytes -= dots;
        reason[bytes] = '\0';
        if (on_progress)
            on_progress(arg);
    }
    close(dir->checker_pipe);
    dir->checker_pipe = -1;
    while (waitpid(dir->checker, &status, 0) < 0 && errno == EINTR)
        ;
    dir->checker = 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return KS_OK;
    if (!reason[0])
        snprintf(reason, sizeof(reason), "reading it ended the checker (signal %d)",
            WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    return ks_fail(err, KS_CORRUPT, 0,
        "the catalog is damaged: %.90s. Nothing was changed. Put back a backup of it with "
        "kstreamctl restore-catalog, start again",
        reason);
}

/* The first catalog is made beside its place and moved there whole: a start that is cut off leaves
 * none, not half of one. */
static enum ks_status make_catalog(const struct ks_datadir *dir, struct ks_error *err)
{
    char path[PATH_MAX];
    char data[PATH_MAX];
    char fresh[PATH_MAX];
    struct ks_kv_options options;
    struct ks_kv *kv;
    if (!path_in(dir, "catalog", path) || !path_in(dir, "catalog/data.mdb", data) ||
        !path_in(dir, "catalog.new", fresh))
        return ks_fail(err, KS_IO, ENAMETOOLONG, "cannot use '%s'", dir->path);
    if (access(data, F_OK) == 0)
        return KS_OK;
    if (errno != ENOENT)
        return ks_fail(err, KS_IO, errno, "cannot use '%s'", data);
    catalog_options(fresh, &options);
    enum ks_status st = ks_kv_lmdb_erase(fresh, err);
    if (!st)
        st = ks_kv_lmdb_erase(path, err); /* a lock file may be left there */
    if (!st)
        st = ks_kv_lmdb_open(&options, &kv, err);
    if (st)
        return st;
    ks_kv_close(kv);
    if (rename(fresh, path) < 0)
        return ks_fail(err, KS_IO, errno, "cannot rename '%s'", fresh);
    return sync_path(dir->path, err);
}

enum ks_status ks_datadir_open_catalog(
    struct ks_datadir *dir, void (*on_progress)(void *arg), void *arg, struct ks_error *err)
{
    char path[PATH_MAX];
    struct ks_kv_options options;
    enum ks_status st = dir->checker ? await_checker(dir, on_progress, arg, err) : KS_OK;
    if (st)
        return st;
    if (!path_in(dir, "catalog", path))
        return ks_fail(err, KS_IO, ENAMETOOLONG, "cannot use '%s'", dir->path);
    st = make_catalog(dir, err);
    if (st)
        return st;
    catalog_options(path, &options);
    return ks_kv_lmdb_open(&options, &dir->catalog, err);
}

enum ks_status ks_datadir_open_index(
    void *arg, bool erase_first, struct ks_kv **out_kv, struct ks_error *err)
{
    static const char *const names[KS_INDEX_TABLE_COUNT] = KS_INDEX_TABLE_NAMES;
    struct ks_datadir *dir = arg;
    char path[PATH_MAX];
    dir->index = NULL; /* the engine owned the last one, and has closed it */
    if (!path_in(dir, "index", path))
        return ks_fail(err, KS_IO, ENAMETOOLONG, "cannot use '%s'", dir->path);
    enum ks_status st = erase_first || !dir->was_clean ? ks_kv_lmdb_erase(path, err) : KS_OK;
    if (st)
        return st;
    const struct ks_kv_options options = {.path = path,
        .table_names = names,
        .table_count = KS_INDEX_TABLE_COUNT,
        .map_bytes_max = INDEX_MAP_BYTES_MAX,
        .is_cache = true};
    st = ks_kv_lmdb_open(&options, &dir->index, err);
    if (st == KS_CORRUPT) { /* a cache: begin again */
        st = ks_kv_lmdb_erase(path, err);
        if (!st)
            st = ks_kv_lmdb_open(&options, &dir->index, err);
    }
    if (st == KS_STORAGE_FULL) { /* slower reads of old records, and that is all */
        *out_kv = NULL;
        return KS_OK;
    }
    if (!st)
        *out_kv = dir->index;
    return st;
}

void ks_datadir_mark_clean(struct ks_datadir *dir, const struct ks_events *events)
{
    char path[PATH_MAX];
    struct ks_error error = KS_ERROR_INIT;
    if (dir->index && ks_kv_sync(dir->index, &error)) {
        ks_emit(events, KS_LEVEL_WARNING, "datadir.not_clean", "why=\"%s\"", error.text);
        return;
    }
    if (!path_in(dir, "clean", path))
        return;
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        ks_emit(events, KS_LEVEL_WARNING, "datadir.not_clean", "why=\"%s\"", strerror(errno));
        return;
    }
    close(fd);
    if (sync_path(dir->path, &error))
        ks_emit(events, KS_LEVEL_WARNING, "datadir.not_clean", "why=\"%s\"", error.text);
}

void ks_datadir_close(struct ks_datadir *dir)
{
    if (dir->checker) {
        kill(dir->checker, SIGKILL);
        while (waitpid(dir->checker, NULL, 0) < 0 && errno == EINTR)
            ;
        dir->checker = 0;
    }
    if (dir->checker_pipe >= 0)
        close(dir->checker_pipe);
    dir->checker_pipe = -1;
    ks_kv_close(dir->catalog);
    dir->catalog = NULL;
    if (dir->io)
        ks_io_posix_close(dir->io);
    dir->io = NULL;
}
