#include "daemon/catalog_copy.h"

#include "daemon/datadir.h"
#include "daemon/server.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define NAME_FORMAT "%Y-%m-%dT%H-%M-%SZ"
#define NAME_BYTES 32
#define FIRST_AFTER_MS 60000u /* a new broker has little to copy, and is busy */

/* ---- names ---- */

static bool copies_path(
    const struct ks_catalog_copies *copies, const char *name, char path[KS_CATALOG_COPY_PATH_BYTES])
{
    int n = snprintf(path, KS_CATALOG_COPY_PATH_BYTES, "%s/%s%s%s", copies->datadir->path,
        KS_CATALOG_COPIES_DIR, name ? "/" : "", name ? name : "");
    return n > 0 && n < KS_CATALOG_COPY_PATH_BYTES;
}

static void name_of(uint64_t unix_ms, char name[NAME_BYTES])
{
    time_t seconds = (time_t)(unix_ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    strftime(name, NAME_BYTES, NAME_FORMAT, &tm);
}

/* 0: not the name of a copy. */
static uint64_t time_of(const char *name)
{
    struct tm tm = {.tm_isdst = 0};
    const char *end = strptime(name, NAME_FORMAT, &tm);
    time_t seconds = end && *end == '\0' ? timegm(&tm) : 0;
    return seconds > 0 ? (uint64_t)seconds * 1000 : 0;
}

static int is_copy(const struct dirent *entry)
{
    return time_of(entry->d_name) > 0;
}

/* Sorted, oldest first; *out_names and each of them is to be freed. None: 0. */
static int list_copies(const struct ks_catalog_copies *copies, struct dirent ***out_names)
{
    char path[KS_CATALOG_COPY_PATH_BYTES];
    *out_names = NULL;
    int count = copies_path(copies, NULL, path) ? scandir(path, out_names, is_copy, alphasort) : 0;
    return *out_names && count > 0 ? count : 0;
}

static void free_names(struct dirent **names, int count)
{
    for (int i = 0; i < count; i++)
        free(names[i]);
    free(names);
}

/* ---- one copy ---- */

static int sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 || fsync(fd) < 0 ? errno : 0;
    if (fd >= 0)
        close(fd);
    return rc;
}

static void remove_copy(const char *path)
{
    static const char *const files[] = {"data.mdb", "lock.mdb"};
    char name[KS_CATALOG_COPY_PATH_BYTES + 16];
    for (size_t i = 0; i < KS_COUNT_OF(files); i++) {
        snprintf(name, sizeof(name), "%s/%s", path, files[i]);
        unlink(name);
    }
    rmdir(path);
}

/* The newest ones stay; what somebody put beside them, too. */
static uint32_t drop_old_copies(const struct ks_catalog_copies *copies)
{
    struct dirent **names;
    char path[KS_CATALOG_COPY_PATH_BYTES];
    int count = list_copies(copies, &names);
    int most = (int)copies->server->live.storage_catalog_copies;
    int dropped = 0;
    for (; count - dropped > most; dropped++)
        if (copies_path(copies, names[dropped]->d_name, path))
            remove_copy(path);
    free_names(names, count);
    return (uint32_t)(count - dropped);
}

static enum ks_status copy_fail(const char *path, int errnum, struct ks_error *err)
{
    return ks_fail(err, errnum == ENOSPC || errnum == EDQUOT ? KS_STORAGE_FULL : KS_IO, errnum,
        "cannot make '%s'", path);
}

/* Under another name until it is whole and durable. */
static enum ks_status copy_write(
    struct ks_catalog_copies *copies, struct ks_catalog_copy *copy, struct ks_error *err)
{
    char folder[KS_CATALOG_COPY_PATH_BYTES];
    char fresh[KS_CATALOG_COPY_PATH_BYTES];
    char name[NAME_BYTES];
    name_of(copy->created_unix_ms, name);
    if (!copies_path(copies, NULL, folder) || !copies_path(copies, "new", fresh) ||
        !copies_path(copies, name, copy->path))
        return copy_fail(copies->datadir->path, ENAMETOOLONG, err);
    if (mkdir(folder, 0700) < 0 && errno != EEXIST)
        return copy_fail(folder, errno, err);
    int rc = sync_folder(copies->datadir->path);
    if (rc)
        return copy_fail(folder, rc, err);
    remove_copy(fresh); /* what a crash left */
    enum ks_status st = ks_kv_lmdb_copy(copies->datadir->catalog, fresh, &copy->bytes, err);
    if (st) {
        remove_copy(fresh);
        return st;
    }
    remove_copy(copy->path); /* of the same second: this one is newer */
    if (rename(fresh, copy->path) < 0)
        return copy_fail(copy->path, errno, err);
    rc = sync_folder(folder);
    return rc ? copy_fail(copy->path, rc, err) : KS_OK;
}

enum ks_status ks_catalog_copy_make(
    struct ks_catalog_copies *copies, struct ks_catalog_copy *out_copy, struct ks_error *err)
{
    if (atomic_exchange(&copies->is_busy, true))
        return ks_fail(err, KS_IN_USE, 0, "a copy of the catalog is being made");
    struct ks_error error = KS_ERROR_INIT;
    out_copy->bytes = 0;
    out_copy->created_unix_ms = ks_server_unix_ms(copies->server);
    enum ks_status st = copy_write(copies, out_copy, &error);
    if (st) {
        ks_emit(copies->server->events, KS_LEVEL_ERROR, "catalog.copy_failed", "why=\"%s\"",
            error.text);
        if (err)
            *err = error;
    } else {
        out_copy->kept = drop_old_copies(copies);
        ks_emit(copies->server->events, KS_LEVEL_INFO, "catalog.copied", "path=\"%s\" bytes=%llu",
            out_copy->path, (unsigned long long)out_copy->bytes);
    }
    atomic_store(&copies->is_busy, false);
    return st;
}

/* ---- every day ---- */

static void daily_run(struct ks_job *job)
{
    struct ks_catalog_copies *copies = KS_CONTAINER_OF(job, struct ks_catalog_copies, job);
    struct ks_catalog_copy copy;
    KS_IGNORE(ks_catalog_copy_make(copies, &copy, NULL), "the log says it, and the next is due");
}

static void daily_delivered(struct ks_mail *mail)
{
    struct ks_job *job = KS_CONTAINER_OF(mail, struct ks_job, mail);
    atomic_store(&KS_CONTAINER_OF(job, struct ks_catalog_copies, job)->is_job_out, false);
}

static uint64_t newest_unix_ms(const struct ks_catalog_copies *copies)
{
    struct dirent **names;
    int count = list_copies(copies, &names);
    uint64_t newest = count > 0 ? time_of(names[count - 1]->d_name) : 0;
    free_names(names, count);
    return newest;
}

void ks_catalog_copies_tick(struct ks_catalog_copies *copies)
{
    uint64_t interval = copies->server->live.storage_catalog_copy_interval;
    uint64_t now = ks_server_unix_ms(copies->server);
    if (copies->next_unix_ms == 0)
        copies->next_unix_ms = ks_max_u64(newest_unix_ms(copies) + interval, now + FIRST_AFTER_MS);
    /* Or an interval that has become shorter since. */
    bool is_due =
        now >= copies->next_unix_ms || copies->next_unix_ms > now + interval + FIRST_AFTER_MS;
    if (interval == 0 || !is_due || atomic_exchange(&copies->is_job_out, true))
        return;
    copies->next_unix_ms = now + interval;
    copies->job = (struct ks_job){.mail = {.deliver = daily_delivered},
        .home = &copies->server->loops[0].mailbox,
        .run = daily_run};
    if (ks_readers_submit(copies->server->readers, &copies->job, NULL))
        atomic_store(&copies->is_job_out, false);
}

void ks_catalog_copies_init(
    struct ks_catalog_copies *copies, struct ks_server *server, const struct ks_datadir *datadir)
{
    *copies = (struct ks_catalog_copies){.server = server, .datadir = datadir};
}
