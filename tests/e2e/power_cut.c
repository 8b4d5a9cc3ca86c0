/*
 * For LD_PRELOAD: the power goes at the n-th change that a program makes to a directory.
 *
 * Bytes written since the last sync of their file are volatile: their former content is kept, by
 * sectors of 512 bytes. At the cut a random part of them goes back to it, the write that was under
 * way included, and the process is killed. What a sync, or a write that syncs (RWF_DSYNC, O_DSYNC),
 * has returned for is left alone.
 *
 * Stricter than most disks: any subset of unsynced sectors survives, in any order. Not modelled:
 * directory entries (they are durable at once: tests/sim has them), stores into maps (nobody here
 * makes any), syncs by sync() and syncfs() (they are only not believed: what they wrote stays
 * volatile).
 *
 * Environment:
 *   POWER_CUT_DIR     changes below this directory count
 *   POWER_CUT_AT      the number of the change that is cut, from 1; 0: never
 *   POWER_CUT_SEED    what survives
 *   POWER_CUT_KEEPS   how many of 256 volatile sectors survive (default 128)
 *   POWER_CUT_LIES    1: no sync makes anything durable, as on a disk that lies
 *   POWER_CUT_REPORT  file that gets a line at the cut, and at the end the number of changes
 *
 * Locks: an inode's lock is held over each call on it, so that a write is before or after a sync.
 * The cut waits for the calls under way (power_lock), those that come later wait for the kill.
 */
/* Defines both the names with 64 and those without, so no header may turn one into the other. */
#undef _FILE_OFFSET_BITS

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))
#define SECTOR 512u
#define INODE_BUCKETS 1024u

/* ---- the calls below ---- */

static struct {
    ssize_t (*pwritev2)(int, const struct iovec *, int, off_t, int);
    ssize_t (*writev)(int, const struct iovec *, int);
    int (*fdatasync)(int);
    int (*fsync)(int);
    int (*ftruncate)(int, off_t);
    int (*fallocate)(int, int, off_t, off_t);
    int (*unlinkat)(int, const char *, int);
    int (*renameat)(int, const char *, int, const char *);
} below;

/* ---- state ---- */

struct sector {
    uint64_t number;
    uint8_t before[SECTOR]; /* zeros behind the former end */
};

struct inode {
    struct inode *next;
    dev_t device;
    ino_t number;
    bool counts; /* below POWER_CUT_DIR */
    int fd;      /* own descriptor while something is volatile, else -1 */
    off_t durable_size;
    struct sector *sectors; /* open addressing by number; count <= room / 2 */
    bool *is_taken;
    size_t count, room;
    pthread_mutex_t lock;
};

static struct inode *inodes[INODE_BUCKETS];
static pthread_mutex_t inodes_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t power_lock = PTHREAD_RWLOCK_INITIALIZER;
static atomic_ulong changes;
static unsigned long cut_at;
static unsigned keeps_of_256 = 128;
static uint64_t seed;
static bool lies;
static bool is_off; /* no directory named, or a forked child */
static char directory[4096];
static size_t directory_bytes;

__attribute__((noreturn, format(printf, 1, 2))) static void give_up(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("power_cut: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    _exit(99);
}

static void report(const char *text)
{
    const char *path = getenv("POWER_CUT_REPORT");
    int fd = path ? open(path, O_WRONLY | O_CREAT | O_APPEND, 0600) : -1;
    if (fd < 0)
        return;
    if (write(fd, text, strlen(text)) < 0)
        give_up("cannot report: %s", strerror(errno));
    close(fd);
}

static uint64_t draw(void) /* splitmix64 */
{
    uint64_t z = (seed += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static void in_child(void)
{
    is_off = true;
}

static void find(const char *name, void *out)
{
    void *at = dlsym(RTLD_NEXT, name);
    if (!at)
        give_up("there is no %s", name);
    memcpy(out, &at, sizeof at);
}

__attribute__((constructor)) static void begin(void)
{
    const char *text = getenv("POWER_CUT_DIR");
    find("pwritev64v2", &below.pwritev2);
    find("writev", &below.writev);
    find("fdatasync", &below.fdatasync);
    find("fsync", &below.fsync);
    find("ftruncate64", &below.ftruncate);
    find("fallocate64", &below.fallocate);
    find("unlinkat", &below.unlinkat);
    find("renameat", &below.renameat);
    is_off = !text || !realpath(text, directory);
    directory_bytes = strlen(directory);
    cut_at = strtoul((text = getenv("POWER_CUT_AT")) ? text : "0", NULL, 10);
    seed = strtoull((text = getenv("POWER_CUT_SEED")) ? text : "1", NULL, 10);
    keeps_of_256 = (unsigned)strtoul((text = getenv("POWER_CUT_KEEPS")) ? text : "128", NULL, 10);
    lies = (text = getenv("POWER_CUT_LIES")) && strcmp(text, "1") == 0;
    pthread_atfork(NULL, NULL, in_child);
}

__attribute__((destructor)) static void end(void)
{
    char line[64];
    snprintf(line, sizeof line, "changes %lu\n", atomic_load(&changes));
    if (!is_off)
        report(line);
}

/* ---- inodes and their volatile sectors ---- */

static bool is_below_directory(int fd)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0)
        return false;
    path[n] = 0;
    return strncmp(path, directory, directory_bytes) == 0 && path[directory_bytes] == '/';
}

/* NULL if calls on fd do not count. */
static struct inode *inode_of(int fd)
{
    struct stat st;
    if (is_off || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return NULL;
    pthread_mutex_lock(&inodes_lock);
    struct inode **at = &inodes[st.st_ino % INODE_BUCKETS];
    while (*at && ((*at)->number != st.st_ino || (*at)->device != st.st_dev))
        at = &(*at)->next;
    if (!*at) {
        *at = calloc(1, sizeof **at);
        if (!*at)
            give_up("no memory");
        (*at)->device = st.st_dev;
        (*at)->number = st.st_ino;
        (*at)->fd = -1;
        (*at)->counts = is_below_directory(fd);
        pthread_mutex_init(&(*at)->lock, NULL);
    }
    struct inode *inode = *at;
    pthread_mutex_unlock(&inodes_lock);
    return inode->counts ? inode : NULL;
}

static size_t slot_of(const struct inode *inode, uint64_t number)
{
    size_t slot = (size_t)(number * 0x9e3779b97f4a7c15u >> 20) & (inode->room - 1);
    while (inode->is_taken[slot] && inode->sectors[slot].number != number)
        slot = (slot + 1) & (inode->room - 1);
    return slot;
}

static void make_room(struct inode *inode, size_t more)
{
    if ((inode->count + more) * 2 <= inode->room)
        return;
    struct inode old = *inode;
    while ((inode->count + more) * 2 > inode->room)
        inode->room = inode->room ? inode->room * 2 : 64;
    inode->sectors = calloc(inode->room, sizeof *inode->sectors);
    inode->is_taken = calloc(inode->room, sizeof *inode->is_taken);
    if (!inode->sectors || !inode->is_taken)
        give_up("no memory");
    for (size_t i = 0; i < old.room; i++) {
        if (!old.is_taken[i])
            continue;
        size_t slot = slot_of(inode, old.sectors[i].number);
        inode->sectors[slot] = old.sectors[i];
        inode->is_taken[slot] = true;
    }
    free(old.sectors);
    free(old.is_taken);
}

/* The former content of what a write is about to change. */
static void remember(struct inode *inode, int fd, off_t offset, size_t bytes)
{
    uint64_t first = (uint64_t)offset / SECTOR,
             last = ((uint64_t)offset + bytes + SECTOR - 1) / SECTOR;
    if (inode->fd < 0) {
        char link[64];
        struct stat st;
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        inode->fd = open(link, O_RDWR | O_CLOEXEC);
        if (inode->fd < 0 || fstat(inode->fd, &st) < 0)
            give_up("cannot open a second time: %s", strerror(errno));
        if (inode->count == 0)
            inode->durable_size = st.st_size;
    }
    make_room(inode, (size_t)(last - first));
    for (uint64_t number = first; number < last; number++) {
        size_t slot = slot_of(inode, number);
        if (inode->is_taken[slot])
            continue;
        struct sector *sector = &inode->sectors[slot];
        memset(sector->before, 0, SECTOR);
        if (pread(inode->fd, sector->before, SECTOR, (off_t)(number * SECTOR)) < 0)
            give_up("cannot read what is there: %s", strerror(errno));
        sector->number = number;
        inode->is_taken[slot] = true;
        inode->count++;
    }
}

static void forget(struct inode *inode)
{
    free(inode->sectors);
    free(inode->is_taken);
    if (inode->fd >= 0)
        close(inode->fd);
    inode->sectors = NULL;
    inode->is_taken = NULL;
    inode->count = inode->room = 0;
    inode->fd = -1;
}

/* ---- the cut ---- */

static size_t undo(struct inode *inode)
{
    size_t undone = 0;
    for (size_t i = 0; i < inode->room; i++) {
        if (!inode->is_taken[i] || draw() % 256 < keeps_of_256)
            continue;
        const struct sector *sector = &inode->sectors[i];
        struct iovec iov = {(void *)(uintptr_t)sector->before, SECTOR};
        if (below.pwritev2(inode->fd, &iov, 1, (off_t)(sector->number * SECTOR), 0) != SECTOR)
            give_up("cannot undo: %s", strerror(errno));
        undone++;
    }
    /* A file that grew has its former size, or holes where nothing arrived. */
    struct stat st;
    if (inode->count > 0 && fstat(inode->fd, &st) == 0 && st.st_size > inode->durable_size &&
        draw() % 256 >= keeps_of_256 && below.ftruncate(inode->fd, inode->durable_size) < 0)
        give_up("cannot shrink: %s", strerror(errno));
    return undone;
}

__attribute__((noreturn)) static void cut_power(const char *call)
{
    char line[160];
    size_t volatile_sectors = 0, undone = 0;
    pthread_rwlock_wrlock(&power_lock);
    for (size_t i = 0; i < INODE_BUCKETS; i++)
        for (struct inode *inode = inodes[i]; inode; inode = inode->next) {
            volatile_sectors += inode->count;
            undone += undo(inode);
        }
    snprintf(line, sizeof line, "cut at %lu in %s: %zu of %zu volatile sectors lost\n", cut_at,
        call, undone, volatile_sectors);
    report(line);
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

/* Whether this change is the one. The caller holds no lock when it cuts. */
static bool is_the_one(void)
{
    return atomic_fetch_add(&changes, 1) + 1 == cut_at;
}

/* ---- calls that change bytes ---- */

/* offset -1: where the descriptor stands, which moves. */
static ssize_t write_below(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    return offset < 0 ? below.writev(fd, iov, count)
                      : below.pwritev2(fd, iov, count, offset, flags);
}

static ssize_t write_at(int fd, const struct iovec *iov, int count, off_t at, int flags)
{
    struct inode *inode = inode_of(fd);
    off_t offset = inode && at < 0 ? lseek(fd, 0, SEEK_CUR) : at;
    if (!inode)
        return write_below(fd, iov, count, at, flags);
    bool is_last = is_the_one();
    size_t bytes = 0;
    for (int i = 0; i < count; i++)
        bytes += iov[i].iov_len;
    pthread_rwlock_rdlock(&power_lock);
    pthread_mutex_lock(&inode->lock);
    int mode = fcntl(fd, F_GETFL);
    bool is_durable = !lies && ((flags & RWF_DSYNC) || (mode >= 0 && (mode & O_DSYNC)));
    bool was_clean = inode->count == 0;
    /* One that syncs by itself is volatile until it returns: only a cut in it can undo it. */
    if (!is_durable || is_last)
        remember(inode, fd, offset, bytes);
    ssize_t n = write_below(fd, iov, count, at, flags);
    int errnum = errno;
    if (is_durable && !was_clean && n > 0 && !is_last)
        for (uint64_t number = (uint64_t)offset / SECTOR;
             number < ((uint64_t)offset + (uint64_t)n) / SECTOR; number++) {
            size_t slot = slot_of(inode, number);
            struct iovec now = {inode->sectors[slot].before, SECTOR};
            /* Stays listed, with the content that is durable now. */
            if (inode->is_taken[slot] && preadv(inode->fd, &now, 1, (off_t)(number * SECTOR)) < 0)
                give_up("cannot read what was written: %s", strerror(errno));
        }
    pthread_mutex_unlock(&inode->lock);
    pthread_rwlock_unlock(&power_lock);
    if (is_last)
        cut_power("a write");
    errno = errnum;
    return n;
}

static int sync_file(int fd, int (*sync)(int))
{
    struct inode *inode = inode_of(fd);
    if (!inode)
        return sync(fd);
    if (is_the_one())
        cut_power("a sync");
    pthread_rwlock_rdlock(&power_lock);
    pthread_mutex_lock(&inode->lock);
    int rc = sync(fd);
    int errnum = errno;
    if (rc == 0 && !lies)
        forget(inode);
    pthread_mutex_unlock(&inode->lock);
    pthread_rwlock_unlock(&power_lock);
    errno = errnum;
    return rc;
}

/* A change of size is durable at once; what it cuts off has no former content any more. */
static int resize(int fd, off_t size)
{
    struct inode *inode = inode_of(fd);
    if (!inode)
        return below.ftruncate(fd, size);
    if (is_the_one())
        cut_power("a change of size");
    pthread_rwlock_rdlock(&power_lock);
    pthread_mutex_lock(&inode->lock);
    int rc = below.ftruncate(fd, size);
    int errnum = errno;
    if (rc == 0)
        forget(inode);
    pthread_mutex_unlock(&inode->lock);
    pthread_rwlock_unlock(&power_lock);
    errno = errnum;
    return rc;
}

static int reserve(int fd, int mode, off_t offset, off_t bytes)
{
    if (inode_of(fd) && is_the_one())
        cut_power("an allocation");
    pthread_rwlock_rdlock(&power_lock);
    int rc = below.fallocate(fd, mode, offset, bytes);
    int errnum = errno;
    pthread_rwlock_unlock(&power_lock);
    errno = errnum;
    return rc;
}

/* ---- calls that change names ---- */

/* The file that path names goes with its name; its number may come back for another. */
static void forget_named(int at, const char *path)
{
    struct stat st;
    if (fstatat(at, path, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_nlink != 1)
        return;
    pthread_mutex_lock(&inodes_lock);
    for (struct inode *inode = inodes[st.st_ino % INODE_BUCKETS]; inode; inode = inode->next) {
        if (inode->number != st.st_ino || inode->device != st.st_dev)
            continue;
        pthread_mutex_lock(&inode->lock);
        forget(inode);
        pthread_mutex_unlock(&inode->lock);
    }
    pthread_mutex_unlock(&inodes_lock);
}

/* Before or after the change, whichever the seed wants. */
static bool cuts_before(bool is_last)
{
    return is_last && (seed & 1);
}

static int remove_name(int at, const char *path, int flags)
{
    bool is_last = !is_off && is_the_one();
    if (cuts_before(is_last))
        cut_power("an unlink");
    pthread_rwlock_rdlock(&power_lock);
    if (!is_off)
        forget_named(at, path);
    int rc = below.unlinkat(at, path, flags);
    int errnum = errno;
    pthread_rwlock_unlock(&power_lock);
    if (is_last)
        cut_power("an unlink");
    errno = errnum;
    return rc;
}

static int change_name(int from_at, const char *from, int to_at, const char *to)
{
    bool is_last = !is_off && is_the_one();
    if (cuts_before(is_last))
        cut_power("a rename");
    pthread_rwlock_rdlock(&power_lock);
    if (!is_off)
        forget_named(to_at, to);
    int rc = below.renameat(from_at, from, to_at, to);
    int errnum = errno;
    pthread_rwlock_unlock(&power_lock);
    if (is_last)
        cut_power("a rename");
    errno = errnum;
    return rc;
}

/* ---- their names, with and without 64 ---- */

EXPORTED ssize_t pwritev2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    return write_at(fd, iov, count, offset, flags);
}

EXPORTED ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t offset)
{
    return write_at(fd, iov, count, offset, 0);
}

EXPORTED ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset)
{
    struct iovec iov = {(void *)(uintptr_t)data, bytes};
    return write_at(fd, &iov, 1, offset, 0);
}

EXPORTED ssize_t writev(int fd, const struct iovec *iov, int count)
{
    return write_at(fd, iov, count, -1, 0);
}

EXPORTED ssize_t write(int fd, const void *data, size_t bytes)
{
    struct iovec iov = {(void *)(uintptr_t)data, bytes};
    return write_at(fd, &iov, 1, -1, 0);
}

EXPORTED int fdatasync(int fd)
{
    return sync_file(fd, below.fdatasync);
}

EXPORTED int fsync(int fd)
{
    return sync_file(fd, below.fsync);
}

EXPORTED int ftruncate(int fd, off_t size)
{
    return resize(fd, size);
}

EXPORTED int fallocate(int fd, int mode, off_t offset, off_t bytes)
{
    return reserve(fd, mode, offset, bytes);
}

EXPORTED int unlinkat(int at, const char *path, int flags)
{
    return remove_name(at, path, flags);
}

EXPORTED int unlink(const char *path)
{
    return remove_name(AT_FDCWD, path, 0);
}

EXPORTED int renameat(int from_at, const char *from, int to_at, const char *to)
{
    return change_name(from_at, from, to_at, to);
}

EXPORTED int rename(const char *from, const char *to)
{
    return change_name(AT_FDCWD, from, AT_FDCWD, to);
}

/* The same under the names that programs with 64-bit offsets call. */
#define ALIAS(type, name, of, ...) EXPORTED __attribute__((alias(#of))) type name(__VA_ARGS__)
ALIAS(ssize_t, pwritev64v2, pwritev2, int, const struct iovec *, int, off_t, int);
ALIAS(ssize_t, pwritev64, pwritev, int, const struct iovec *, int, off_t);
ALIAS(ssize_t, pwrite64, pwrite, int, const void *, size_t, off_t);
ALIAS(int, ftruncate64, ftruncate, int, off_t);
ALIAS(int, fallocate64, fallocate, int, int, off_t, off_t);
