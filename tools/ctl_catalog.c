/*
 * The catalog of the broker: a copy of it, and one put back. The second works on the directory of a
 * broker that is stopped. It deletes nothing: what was there lies beside it afterwards, and until
 * the last rename nothing has changed; a run that was cut short can be made again.
 */
#include "client/kstream_admin.h"
#include "tools/ctl_dry_run.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define COPIES_DIR "catalog.copies"
#define FRESH_DIR "catalog.restoring"
#define NAME_PATTERN "%Y-%m-%dT%H-%M-%SZ"
#define BUFFER_BYTES (256u << 10)
#define MAGIC_OFFSET 16u
#define MAGIC_BYTES 4u

/* ---- backup ---- */

enum kstream_status ctl_run_backup_catalog(struct ctl *ctl, struct kstream_error *err)
{
    const struct kstream_call_options options = {
        .size = sizeof options, .timeout_ms = ctl->timeout_ms};
    struct kstream_catalog_copy copy = KSTREAM_CATALOG_COPY_INIT;
    enum kstream_status st = ctl_connect(ctl, err);
    if (st)
        return st;
    st = kstream_backup_catalog(ctl->client, &options, &copy, err);
    if (st)
        return st;
    ctl->result = json_pack("{s:s, s:I, s:o, s:I}", "Path", copy.path, "Bytes",
        (json_int_t)copy.bytes, "CreationTimestamp", ctl_json_time(copy.created_unix_ms),
        "CopiesKept", (json_int_t)copy.kept);
    return ctl->result ? KSTREAM_OK : ctl_fail(err, KSTREAM_NO_MEMORY, "out of memory");
}

/* ---- restore: which copy ---- */

struct restore {
    const char *data_dir;
    char copy[PATH_MAX];  /* the folder */
    char fresh[PATH_MAX]; /* what becomes the catalog */
    char catalog[PATH_MAX];
    char aside[PATH_MAX]; /* where the one that is there goes; "": there is none */
    int lock_fd;
};

static enum kstream_status fail_errno(struct kstream_error *err, const char *what, const char *path)
{
    int errnum = errno;
    return ctl_fail(err, errnum == ENOSPC ? KSTREAM_STORAGE_FULL : KSTREAM_IO, "cannot %s '%s': %s",
        what, path, strerror(errnum));
}

static bool path_below(const char *folder, const char *name, char path[PATH_MAX])
{
    int n = snprintf(path, PATH_MAX, "%s/%s", folder, name);
    return n > 0 && n < PATH_MAX;
}

static int is_copy(const struct dirent *entry)
{
    struct tm tm;
    const char *end = strptime(entry->d_name, NAME_PATTERN, &tm);
    return end && *end == '\0';
}

static bool newest_copy(const char *copies, char path[PATH_MAX])
{
    struct dirent **names = NULL;
    int count = scandir(copies, &names, is_copy, alphasort);
    bool is_found = count > 0 && path_below(copies, names[count - 1]->d_name, path);
    for (int i = 0; i < count; i++)
        free(names[i]);
    free(names);
    return is_found;
}

/* Whether it is a database at all; the broker's start checks every row of it. */
static enum kstream_status check_copy(const struct restore *restore, struct kstream_error *err)
{
    static const uint8_t magic[MAGIC_BYTES] = {0xde, 0xc0, 0xef, 0xbe};
    char path[PATH_MAX];
    uint8_t bytes[MAGIC_BYTES] = {0};
    if (!path_below(restore->copy, "data.mdb", path))
        return ctl_fail(err, KSTREAM_USAGE, "the path of the copy is too long");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail_errno(err, "open", path);
    ssize_t n = pread(fd, bytes, sizeof bytes, MAGIC_OFFSET);
    close(fd);
    if (n == (ssize_t)sizeof bytes && memcmp(bytes, magic, sizeof bytes) == 0)
        return KSTREAM_OK;
    return ctl_fail(err, KSTREAM_CORRUPT, "'%.200s' is no copy of a catalog", path);
}

static enum kstream_status choose_copy(
    struct ctl *ctl, struct restore *restore, struct kstream_error *err)
{
    char copies[PATH_MAX];
    const char *named = ctl_text(ctl, CTL_CATALOG_COPY);
    if (named && snprintf(restore->copy, sizeof restore->copy, "%s", named) < PATH_MAX)
        return check_copy(restore, err);
    if (named || !path_below(restore->data_dir, COPIES_DIR, copies))
        return ctl_fail(err, KSTREAM_USAGE, "the path is too long");
    if (newest_copy(copies, restore->copy))
        return check_copy(restore, err);
    return ctl_fail(err, KSTREAM_NOT_FOUND,
        "there is no copy of the catalog in '%.200s'; --copy names one that lies elsewhere",
        copies);
}

/* ---- restore: putting it there ---- */

/* The lock that the broker holds while it runs. */
static enum kstream_status take_lock(struct restore *restore, struct kstream_error *err)
{
    char path[PATH_MAX];
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (!path_below(restore->data_dir, "lock", path))
        return ctl_fail(err, KSTREAM_USAGE, "the path of the data directory is too long");
    restore->lock_fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (restore->lock_fd < 0 && errno == ENOENT)
        return ctl_fail(
            err, KSTREAM_NOT_FOUND, "'%.200s' is no data directory of kstreamd", restore->data_dir);
    if (restore->lock_fd < 0)
        return fail_errno(err, "open", path);
    if (fcntl(restore->lock_fd, F_OFD_SETLK, &lock) == 0)
        return KSTREAM_OK;
    return ctl_fail(
        err, KSTREAM_IN_USE, "a broker is running on '%.200s': stop it first", restore->data_dir);
}

static enum kstream_status sync_path(const char *path, struct kstream_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail_errno(err, "open", path);
    int rc = fsync(fd);
    enum kstream_status st = rc < 0 ? fail_errno(err, "sync", path) : KSTREAM_OK;
    close(fd);
    return st;
}

static enum kstream_status copy_bytes(int from, int to, const char *path, struct kstream_error *err)
{
    static char buffer[BUFFER_BYTES];
    for (;;) {
        ssize_t n = read(from, buffer, sizeof buffer);
        if (n == 0)
            return KSTREAM_OK;
        if (n < 0)
            return fail_errno(err, "read", "the copy");
        for (ssize_t at = 0; at < n;) {
            ssize_t written = write(to, buffer + at, (size_t)(n - at));
            if (written < 0)
                return fail_errno(err, "write", path);
            at += written;
        }
    }
}

/* Makes path durable, with the content of source; without one, empty. */
static enum kstream_status make_file(const char *path, const char *source, mode_t mode,
    const struct stat *owner, struct kstream_error *err)
{
    int from = source ? open(source, O_RDONLY | O_CLOEXEC) : -1;
    if (source && from < 0)
        return fail_errno(err, "open", source);
    int to = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
    enum kstream_status st = to < 0 ? fail_errno(err, "make", path) : KSTREAM_OK;
    if (!st && from >= 0)
        st = copy_bytes(from, to, path, err);
    if (!st && (fchown(to, owner->st_uid, owner->st_gid) < 0 || fsync(to) < 0))
        st = fail_errno(err, "make durable", path);
    if (from >= 0)
        close(from);
    if (to >= 0)
        close(to);
    return st;
}

/* Everything that may fail for want of space, under another name. Whoever runs this may be root:
 * the files are to belong to whom the directory does. */
static enum kstream_status make_fresh(const struct restore *restore, struct kstream_error *err)
{
    char source[PATH_MAX];
    char data[PATH_MAX];
    char lock[PATH_MAX];
    char mark[PATH_MAX];
    struct stat owner;
    if (!path_below(restore->copy, "data.mdb", source) ||
        !path_below(restore->fresh, "data.mdb", data) ||
        !path_below(restore->fresh, "lock.mdb", lock) ||
        !path_below(restore->fresh, "restored", mark))
        return ctl_fail(err, KSTREAM_USAGE, "the path of the data directory is too long");
    if (stat(restore->data_dir, &owner) < 0)
        return fail_errno(err, "look at", restore->data_dir);
    if (mkdir(restore->fresh, 0700) < 0 && errno != EEXIST)
        return fail_errno(err, "make", restore->fresh);
    if (chown(restore->fresh, owner.st_uid, owner.st_gid) < 0)
        return fail_errno(err, "give away", restore->fresh);
    unlink(lock); /* readers of another time */
    enum kstream_status st = make_file(data, source, 0600, &owner, err);
    if (!st)
        st = make_file(mark, NULL, 0600, &owner, err);
    return st ? st : sync_path(restore->fresh, err);
}

/* The broker's mark of a clean stop was about the other catalog. */
static enum kstream_status swap(const struct restore *restore, struct kstream_error *err)
{
    char clean[PATH_MAX];
    if (!path_below(restore->data_dir, "clean", clean))
        return ctl_fail(err, KSTREAM_USAGE, "the path of the data directory is too long");
    if (unlink(clean) < 0 && errno != ENOENT)
        return fail_errno(err, "remove", clean);
    enum kstream_status st = sync_path(restore->data_dir, err);
    if (!st && restore->aside[0] && rename(restore->catalog, restore->aside) < 0)
        st = fail_errno(err, "rename", restore->catalog);
    if (!st && rename(restore->fresh, restore->catalog) < 0)
        st = fail_errno(err, "rename", restore->fresh);
    return st ? st : sync_path(restore->data_dir, err);
}

/* ---- restore: the whole ---- */

/* A name for what is there; "" when nothing is. */
static bool name_aside(struct restore *restore)
{
    char name[96];
    char time_text[64];
    time_t now = time(NULL);
    struct tm tm;
    struct stat info;
    restore->aside[0] = '\0';
    if (lstat(restore->catalog, &info) < 0)
        return errno == ENOENT;
    gmtime_r(&now, &tm);
    strftime(time_text, sizeof time_text, NAME_PATTERN, &tm);
    for (unsigned n = 0; n == 0 || lstat(restore->aside, &info) == 0; n++) {
        snprintf(name, sizeof name, n ? "catalog.old-%s-%u" : "catalog.old-%s", time_text, n);
        if (!path_below(restore->data_dir, name, restore->aside))
            return false;
    }
    return true;
}

static enum kstream_status plan(struct ctl *ctl, struct restore *restore, struct kstream_error *err)
{
    restore->data_dir = ctl_text(ctl, CTL_DATA_DIR);
    enum kstream_status st = take_lock(restore, err);
    if (!st)
        st = choose_copy(ctl, restore, err);
    if (st)
        return st;
    if (!path_below(restore->data_dir, FRESH_DIR, restore->fresh) ||
        !path_below(restore->data_dir, "catalog", restore->catalog) || !name_aside(restore))
        return ctl_fail(err, KSTREAM_USAGE, "the path of the data directory is too long");
    return KSTREAM_OK;
}

static enum kstream_status restore_run(
    struct ctl *ctl, struct restore *restore, struct kstream_error *err)
{
    enum kstream_status st = plan(ctl, restore, err);
    if (ctl_is_dry_run(ctl))
        return st ? ctl_would_not(ctl, st)
                  : ctl_would(ctl, err, "put back the copy '%s'", restore->copy);
    if (!st)
        st = make_fresh(restore, err);
    if (!st)
        st = swap(restore, err);
    if (st)
        return st;
    ctl->result = json_pack("{s:s, s:o}", "Restored", restore->copy, "OldCatalog",
        restore->aside[0] ? ctl_json_text(restore->aside) : json_null());
    return ctl->result ? KSTREAM_OK : ctl_fail(err, KSTREAM_NO_MEMORY, "out of memory");
}

enum kstream_status ctl_run_restore_catalog(struct ctl *ctl, struct kstream_error *err)
{
    struct restore *restore = calloc(1, sizeof *restore);
    if (!restore)
        return ctl_fail(err, KSTREAM_NO_MEMORY, "out of memory");
    restore->lock_fd = -1;
    enum kstream_status st = restore_run(ctl, restore, err);
    if (restore->lock_fd >= 0)
        close(restore->lock_fd);
    free(restore);
    return st;
}
