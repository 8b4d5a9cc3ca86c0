#include "base/alloc.h"
#include "storage/io.h"
#include "storage/io_posix_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

/* More pieces than this in one write are written in several calls; each is durable by itself. */
#define IOV_WINDOW 64
/* Reads of an O_DIRECT file into unaligned memory go through an aligned buffer of at most this. */
#define BOUNCE_BYTES_MAX (256u * 1024)
#define ZEROS_BYTES (64u * 1024)
#define LOCK_NAME "lock"

struct posix_io {
    struct ks_io io; /* first member */
    char *root;
    int root_fd;
    int lock_fd; /* -1: read only, of a copy without a lock */
    bool is_read_only;
    _Atomic bool lacks_dsync; /* [atomic] pwritev2 refused RWF_DSYNC: fdatasync instead */
};

struct posix_file {
    struct ks_file file; /* first member */
    char *path;
    int fd;
    bool is_writable;
    _Atomic bool is_direct; /* [atomic] cleared when the file system refuses after all */
};

static int real_openat(int dir_fd, const char *path, int flags, mode_t mode)
{
    return openat(dir_fd, path, flags, mode);
}

struct ks_posix_calls ks_posix_calls = {
    .openat = real_openat,
    .pwritev2 = pwritev2,
    .pread = pread,
    .fdatasync = fdatasync,
    .fallocate = fallocate,
};

static struct posix_io *posix_of(struct ks_io *io)
{
    return KS_CONTAINER_OF(io, struct posix_io, io);
}

static struct posix_file *file_of(struct ks_file *file)
{
    return KS_CONTAINER_OF(file, struct posix_file, file);
}

static enum ks_status fail_call(
    struct ks_error *err, enum ks_io_call call, int errnum, const char *root, const char *path)
{
    return ks_fail(err, ks_io_status_of(call, errnum), errnum, "cannot %s '%s/%s'",
        ks_io_call_name(call), root, path);
}

static enum ks_status fail_file(
    struct ks_error *err, enum ks_io_call call, int errnum, struct posix_file *file)
{
    return fail_call(err, call, errnum, posix_of(file->file.io)->root, file->path);
}

/* Opens below the root, again after EINTR. Returns the descriptor or -1 with errno. */
static int open_below(struct posix_io *io, const char *path, int flags)
{
    int fd;
    do {
        fd = ks_posix_calls.openat(io->root_fd, path, flags | O_CLOEXEC | O_NOCTTY, 0600);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

static void posix_close(struct ks_file *base)
{
    struct posix_file *file = file_of(base);
    if (file->fd >= 0)
        close(file->fd);
    ks_free(file->path);
    ks_free(file);
}

static int open_flags_to_posix(unsigned open_flags)
{
    int flags = O_NOFOLLOW;
    flags |= open_flags & KS_OPEN_WRITE ? O_RDWR : O_RDONLY;
    flags |= open_flags & KS_OPEN_CREATE ? O_CREAT : 0;
    flags |= open_flags & KS_OPEN_DIRECT ? O_DIRECT : 0;
    return flags;
}

static enum ks_status posix_open(struct ks_io *base, const char *path, unsigned open_flags,
    struct ks_file **out_file, struct ks_error *err)
{
    struct posix_io *io = posix_of(base);
    if (io->is_read_only && open_flags & (KS_OPEN_WRITE | KS_OPEN_CREATE))
        return fail_call(err, KS_IO_OPEN, EROFS, io->root, path);
    KS_CLEANUP(ks_file_closep) struct ks_file *out = NULL;
    struct posix_file *file = ks_zalloc(sizeof *file);
    if (!file)
        return fail_call(err, KS_IO_OPEN, ENOMEM, io->root, path);
    file->file.io = base;
    file->fd = -1;
    out = &file->file;
    file->path = ks_strdup(path);
    if (!file->path)
        return fail_call(err, KS_IO_OPEN, ENOMEM, io->root, path);
    file->file.path = file->path;
    file->is_writable = open_flags & KS_OPEN_WRITE;
    bool is_direct = open_flags & KS_OPEN_DIRECT;
    file->fd = open_below(io, path, open_flags_to_posix(open_flags));
    if (file->fd < 0 && errno == EINVAL && is_direct) { /* a file system without O_DIRECT */
        is_direct = false;
        file->fd =
            open_below(io, path, open_flags_to_posix(open_flags & ~(unsigned)KS_OPEN_DIRECT));
    }
    if (file->fd < 0)
        return fail_call(err, KS_IO_OPEN, errno, io->root, path);
    file->is_direct = is_direct;
    *out_file = KS_TAKE(out);
    return KS_OK;
}

/* The file system took O_DIRECT at open and refuses it at a call that has not begun: buffered from
 * now on. */
static bool leave_direct(struct posix_file *file)
{
    if (!file->is_direct)
        return false;
    int flags = fcntl(file->fd, F_GETFL);
    if (flags < 0 || fcntl(file->fd, F_SETFL, flags & ~O_DIRECT) < 0)
        return false;
    file->is_direct = false;
    return true;
}

/* Copies to window the pieces of iov that lie behind the first `done` bytes. Returns how many. */
static int window_fill(
    struct iovec window[IOV_WINDOW], const struct iovec *iov, int iov_count, uint64_t done)
{
    int count = 0;
    for (int i = 0; i < iov_count && count < IOV_WINDOW; i++) {
        if (done >= iov[i].iov_len) {
            done -= iov[i].iov_len;
            continue;
        }
        window[count].iov_base = (char *)iov[i].iov_base + done;
        window[count].iov_len = iov[i].iov_len - (size_t)done;
        done = 0;
        count++;
    }
    return count;
}

/*
 * One call, or the reason why not, as errno. Continues after EINTR and short writes; steps down,
 * for good, from RWF_DSYNC and O_DIRECT where the kernel refuses them before it has written
 * anything.
 */
static int write_all(struct posix_file *file, const struct iovec *iov, int iov_count,
    uint64_t offset, bool is_durable)
{
    struct posix_io *io = posix_of(file->file.io);
    uint64_t done = 0;
    bool owes_sync = false;
    for (;;) {
        struct iovec window[IOV_WINDOW];
        int count = window_fill(window, iov, iov_count, done);
        if (count == 0)
            break;
        bool by_flag = is_durable && !io->lacks_dsync;
        ssize_t n = ks_posix_calls.pwritev2(
            file->fd, window, count, (off_t)(offset + done), by_flag ? RWF_DSYNC : 0);
        if (n > 0) {
            done += (uint64_t)n;
            owes_sync |= is_durable && !by_flag;
            continue;
        }
        if (n == 0)
            return EIO; /* no progress and no reason: never spin on it */
        if (errno == EINTR)
            continue;
        if (by_flag && (errno == EOPNOTSUPP || errno == ENOSYS))
            io->lacks_dsync = true;
        else if (errno != EINVAL || !leave_direct(file))
            return errno;
    }
    if (owes_sync && ks_posix_calls.fdatasync(file->fd) < 0)
        return errno;
    return 0;
}

static enum ks_status posix_write(struct ks_file *base, const struct iovec *iov, int iov_count,
    uint64_t offset, unsigned write_flags, struct ks_error *err)
{
    struct posix_file *file = file_of(base);
    KS_ASSERT(file->is_writable);
    int errnum = write_all(file, iov, iov_count, offset, write_flags & KS_WRITE_DURABLE);
    return errnum ? fail_file(err, KS_IO_WRITE, errnum, file) : KS_OK;
}

/* For file systems without fallocate: zeros behind the end, never over what is there. */
static int allocate_by_zeros(struct posix_file *file, uint64_t offset, uint64_t bytes)
{
    struct stat st;
    if (fstat(file->fd, &st) < 0)
        return errno;
    uint64_t at = ks_max_u64(offset, (uint64_t)st.st_size);
    uint64_t end = offset + bytes;
    if (at >= end)
        return 0;
    KS_AUTO_FREE void *zeros = ks_aligned_alloc(KS_IO_DIRECT_ALIGN, ZEROS_BYTES);
    if (!zeros)
        return ENOMEM;
    memset(zeros, 0, ZEROS_BYTES);
    for (; at < end; at += ZEROS_BYTES) {
        struct iovec iov = {
            .iov_base = zeros, .iov_len = (size_t)ks_min_u64(ZEROS_BYTES, end - at)};
        int errnum = write_all(file, &iov, 1, at, false);
        if (errnum)
            return errnum;
    }
    return 0;
}

static enum ks_status posix_allocate(
    struct ks_file *base, uint64_t offset, uint64_t bytes, struct ks_error *err)
{
    struct posix_file *file = file_of(base);
    KS_ASSERT(file->is_writable);
    int rc;
    do {
        rc = ks_posix_calls.fallocate(file->fd, 0, (off_t)offset, (off_t)bytes);
    } while (rc < 0 && errno == EINTR);
    int errnum = rc < 0 ? errno : 0;
    if (errnum == EOPNOTSUPP || errnum == ENOSYS)
        errnum = allocate_by_zeros(file, offset, bytes);
    return errnum ? fail_file(err, KS_IO_ALLOCATE, errnum, file) : KS_OK;
}

/* O_DIRECT wants aligned memory and offsets, callers have neither: through an aligned buffer.
 * Returns errno. */
static int read_bounced(
    struct posix_file *file, void *to, size_t bytes, uint64_t offset, size_t *out_bytes)
{
    size_t bounce_bytes = (size_t)ks_min_u64(
        BOUNCE_BYTES_MAX, ks_round_up(bytes, KS_IO_DIRECT_ALIGN) + KS_IO_DIRECT_ALIGN);
    KS_AUTO_FREE uint8_t *bounce = ks_aligned_alloc(KS_IO_DIRECT_ALIGN, bounce_bytes);
    if (!bounce)
        return ENOMEM;
    size_t done = 0;
    while (done < bytes) {
        size_t skip = (size_t)((offset + done) % KS_IO_DIRECT_ALIGN);
        ssize_t n =
            ks_posix_calls.pread(file->fd, bounce, bounce_bytes, (off_t)(offset + done - skip));
        if (n < 0 && (errno == EINTR || (errno == EINVAL && leave_direct(file))))
            continue;
        if (n < 0)
            return errno;
        if ((size_t)n <= skip)
            break; /* the end of the file */
        size_t usable = (size_t)ks_min_u64((size_t)n - skip, bytes - done);
        memcpy((char *)to + done, bounce + skip, usable);
        done += usable;
    }
    *out_bytes = done;
    return 0;
}

static bool is_aligned_read(const void *to, size_t bytes, uint64_t offset)
{
    return ((uintptr_t)to | bytes | offset) % KS_IO_DIRECT_ALIGN == 0;
}

static enum ks_status posix_read(struct ks_file *base, void *to, size_t bytes, uint64_t offset,
    size_t *out_bytes, struct ks_error *err)
{
    struct posix_file *file = file_of(base);
    if (file->is_direct && !is_aligned_read(to, bytes, offset)) {
        int errnum = read_bounced(file, to, bytes, offset, out_bytes);
        return errnum ? fail_file(err, KS_IO_READ, errnum, file) : KS_OK;
    }
    size_t done = 0;
    while (done < bytes) {
        ssize_t n =
            ks_posix_calls.pread(file->fd, (char *)to + done, bytes - done, (off_t)(offset + done));
        if (n < 0 && (errno == EINTR || (errno == EINVAL && leave_direct(file))))
            continue;
        if (n < 0)
            return fail_file(err, KS_IO_READ, errno, file);
        if (n == 0)
            break;
        done += (size_t)n;
    }
    *out_bytes = done;
    return KS_OK;
}

static enum ks_status posix_sync(struct ks_file *base, struct ks_error *err)
{
    struct posix_file *file = file_of(base);
    /* Not even EINTR is tried again: the kernel may have marked the lost pages clean, and the
     * second call would lie. */
    if (ks_posix_calls.fdatasync(file->fd) < 0)
        return fail_file(err, KS_IO_SYNC, errno, file);
    return KS_OK;
}

static void posix_start_writeback(struct ks_file *base, uint64_t offset, uint64_t bytes)
{
    /* Only a hint: it takes no error away from the fdatasync that follows. */
    KS_IGNORE(
        sync_file_range(file_of(base)->fd, (off_t)offset, (off_t)bytes, SYNC_FILE_RANGE_WRITE),
        "the sync that follows reports what went wrong");
}

static enum ks_status posix_truncate(struct ks_file *base, uint64_t bytes, struct ks_error *err)
{
    struct posix_file *file = file_of(base);
    KS_ASSERT(file->is_writable);
    int rc;
    do {
        rc = ftruncate(file->fd, (off_t)bytes);
    } while (rc < 0 && errno == EINTR);
    return rc < 0 ? fail_file(err, KS_IO_TRUNCATE, errno, file) : KS_OK;
}

static enum ks_status posix_size(struct ks_file *base, uint64_t *out_bytes, struct ks_error *err)
{
    struct posix_file *file = file_of(base);
    struct stat st;
    if (fstat(file->fd, &st) < 0)
        return fail_file(err, KS_IO_SIZE, errno, file);
    *out_bytes = (uint64_t)st.st_size;
    return KS_OK;
}

static void posix_drop_cache(struct ks_file *base)
{
    KS_IGNORE(posix_fadvise(file_of(base)->fd, 0, 0, POSIX_FADV_DONTNEED),
        "a cache that stays is slower to distrust, not wrong");
}

static enum ks_status posix_map(
    struct ks_file *base, uint64_t bytes, void **out_map, struct ks_error *err)
{
    struct posix_file *file = file_of(base);
    void *map = mmap(NULL, (size_t)bytes, PROT_READ, MAP_SHARED, file->fd, 0);
    if (map == MAP_FAILED)
        return fail_file(err, KS_IO_MAP, errno, file);
    *out_map = map;
    return KS_OK;
}

static void posix_unmap(struct ks_io *io, void *map, uint64_t bytes)
{
    (void)io;
    KS_ASSERT(munmap(map, (size_t)bytes) == 0);
}

static bool posix_is_resident(struct ks_io *io, const void *from, uint64_t bytes)
{
    (void)io;
    unsigned char pages[256];
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    uintptr_t at = (uintptr_t)from & ~(uintptr_t)(page_bytes - 1);
    uintptr_t end = (uintptr_t)from + bytes;
    while (at < end) {
        size_t count =
            (size_t)ks_min_u64(KS_COUNT_OF(pages), (end - at + page_bytes - 1) / page_bytes);
        if (mincore((void *)at, count * page_bytes, pages) < 0)
            return false;
        for (size_t i = 0; i < count; i++) {
            if (!(pages[i] & 1))
                return false;
        }
        at += count * page_bytes;
    }
    return true;
}

static enum ks_status refuse_change(
    struct posix_io *io, enum ks_io_call call, const char *path, struct ks_error *err)
{
    return io->is_read_only ? fail_call(err, call, EROFS, io->root, path) : KS_OK;
}

static enum ks_status posix_unlink(struct ks_io *base, const char *path, struct ks_error *err)
{
    struct posix_io *io = posix_of(base);
    enum ks_status st = refuse_change(io, KS_IO_UNLINK, path, err);
    if (st)
        return st;
    if (unlinkat(io->root_fd, path, 0) < 0)
        return fail_call(err, KS_IO_UNLINK, errno, io->root, path);
    return KS_OK;
}

static enum ks_status posix_rename(
    struct ks_io *base, const char *from, const char *to, struct ks_error *err)
{
    struct posix_io *io = posix_of(base);
    enum ks_status st = refuse_change(io, KS_IO_RENAME, from, err);
    if (st)
        return st;
    if (renameat(io->root_fd, from, io->root_fd, to) < 0)
        return fail_call(err, KS_IO_RENAME, errno, io->root, from);
    return KS_OK;
}

static enum ks_status posix_make_dir(struct ks_io *base, const char *path, struct ks_error *err)
{
    struct posix_io *io = posix_of(base);
    struct stat st;
    if (fstatat(io->root_fd, path, &st, 0) == 0)
        return S_ISDIR(st.st_mode) ? KS_OK
                                   : fail_call(err, KS_IO_MAKE_DIR, ENOTDIR, io->root, path);
    enum ks_status refused = refuse_change(io, KS_IO_MAKE_DIR, path, err);
    if (refused)
        return refused;
    if (mkdirat(io->root_fd, path, 0700) < 0)
        return fail_call(err, KS_IO_MAKE_DIR, errno, io->root, path);
    return KS_OK;
}

static enum ks_status posix_sync_dir(struct ks_io *base, const char *path, struct ks_error *err)
{
    struct posix_io *io = posix_of(base);
    int fd = open_below(io, path, O_RDONLY | O_DIRECTORY);
    int errnum = fd < 0 || fsync(fd) < 0 ? errno : 0;
    if (fd >= 0)
        close(fd);
    return errnum ? fail_call(err, KS_IO_SYNC_DIR, errnum, io->root, path) : KS_OK;
}

static enum ks_status posix_list(struct ks_io *base, const char *path,
    void (*each)(void *arg, const char *name), void *arg, struct ks_error *err)
{
    struct posix_io *io = posix_of(base);
    int fd = open_below(io, path, O_RDONLY | O_DIRECTORY);
    if (fd < 0)
        return fail_call(err, KS_IO_LIST, errno, io->root, path);
    DIR *dir = fdopendir(fd); /* owns fd on success */
    if (!dir) {
        int errnum = errno;
        close(fd);
        return fail_call(err, KS_IO_LIST, errnum, io->root, path);
    }
    int errnum;
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        errnum = errno;
        if (!entry)
            break;
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            each(arg, entry->d_name);
    }
    closedir(dir);
    return errnum ? fail_call(err, KS_IO_LIST, errnum, io->root, path) : KS_OK;
}

/* Magic numbers: statfs(2). ext2 and ext3 share ext4's, and its driver. */
static const struct {
    uint32_t magic;
    const char *type;
    bool is_supported, is_refused;
} file_systems[] = {
    {0xef53, "ext4", true, false},
    {0x58465342, "xfs", true, false},
    {0x01021994, "tmpfs", false, true},
    {0x858458f6, "ramfs", false, true},
    {0x6969, "nfs", false, true},
    {0xff534d42, "cifs", false, true},
    {0xfe534d42, "smb2", false, true},
    {0x9123683e, "btrfs", false, false},
    {0x2fc12fc1, "zfs", false, false},
    {0xf2f52010, "f2fs", false, false},
    {0x794c7630, "overlayfs", false, false},
    {0x65735546, "fuse", false, false},
    {0x01021997, "9p", false, false},
    {0x4d44, "vfat", false, false},
};

static enum ks_status posix_fs_info(
    struct ks_io *base, struct ks_fs_info *out, struct ks_error *err)
{
    struct posix_io *io = posix_of(base);
    struct statfs fs;
    if (fstatfs(io->root_fd, &fs) < 0)
        return fail_call(err, KS_IO_FS_INFO, errno, io->root, ".");
    struct ks_fs_info info = {
        .total_bytes = (uint64_t)fs.f_blocks * (uint64_t)fs.f_frsize,
        .free_bytes = (uint64_t)fs.f_bavail * (uint64_t)fs.f_frsize,
    };
    uint32_t magic = (uint32_t)fs.f_type;
    snprintf(info.type, sizeof info.type, "0x%x", magic);
    for (size_t i = 0; i < KS_COUNT_OF(file_systems); i++) {
        if (file_systems[i].magic != magic)
            continue;
        snprintf(info.type, sizeof info.type, "%s", file_systems[i].type);
        info.is_supported = file_systems[i].is_supported;
        info.is_refused = file_systems[i].is_refused;
    }
    *out = info;
    return KS_OK;
}

static const struct ks_io_ops posix_ops = {
    .open = posix_open,
    .close = posix_close,
    .allocate = posix_allocate,
    .write = posix_write,
    .read = posix_read,
    .sync = posix_sync,
    .start_writeback = posix_start_writeback,
    .truncate = posix_truncate,
    .size = posix_size,
    .drop_cache = posix_drop_cache,
    .map = posix_map,
    .unmap = posix_unmap,
    .is_resident = posix_is_resident,
    .unlink = posix_unlink,
    .rename = posix_rename,
    .make_dir = posix_make_dir,
    .sync_dir = posix_sync_dir,
    .list = posix_list,
    .fs_info = posix_fs_info,
};

/* Says who has the directory, as far as the lock and its file tell. */
static enum ks_status fail_locked(struct posix_io *io, struct ks_error *err)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(io->lock_fd, F_OFD_GETLK, &lock) == 0 && lock.l_type == F_RDLCK)
        return ks_fail(err, KS_IN_USE, 0,
            "data directory '%s' is being inspected: start again when that is done", io->root);
    char pid[16] = "";
    ssize_t n = pread(io->lock_fd, pid, sizeof pid - 1, 0);
    size_t digits = n > 0 ? strspn(pid, "0123456789") : 0;
    if (digits == 0)
        return ks_fail(
            err, KS_IN_USE, 0, "data directory '%s' is in use by another process", io->root);
    return ks_fail(err, KS_IN_USE, 0, "data directory '%s' is in use by process %.*s", io->root,
        (int)digits, pid);
}

static enum ks_status take_lock(struct posix_io *io, struct ks_error *err)
{
    io->lock_fd = open_below(io, LOCK_NAME, O_RDWR | O_CREAT | O_NOFOLLOW);
    if (io->lock_fd < 0)
        return ks_fail(err, ks_io_status_of(KS_IO_OPEN, errno), errno,
            "cannot write in data directory '%s'", io->root);
    /* Belongs to the open file, not to the process: another open in the same process is refused
     * too. */
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(io->lock_fd, F_OFD_SETLK, &lock) < 0) {
        if (errno == EAGAIN || errno == EACCES)
            return fail_locked(io, err);
        return ks_fail(err, KS_IO, errno, "cannot lock data directory '%s'", io->root);
    }
    char text[16];
    int length = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    KS_IGNORE(ftruncate(io->lock_fd, 0), "the number only makes another's refusal friendlier");
    KS_IGNORE(pwrite(io->lock_fd, text, (size_t)length, 0), "as above; the disk may be full");
    return KS_OK;
}

/* Shared among readers, refused while a broker has the directory. A copy need not have the file. */
static enum ks_status take_read_lock(struct posix_io *io, struct ks_error *err)
{
    io->lock_fd = open_below(io, LOCK_NAME, O_RDONLY | O_NOFOLLOW);
    if (io->lock_fd < 0 && errno == ENOENT)
        return KS_OK;
    if (io->lock_fd < 0)
        return fail_call(err, KS_IO_OPEN, errno, io->root, LOCK_NAME);
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
    if (fcntl(io->lock_fd, F_OFD_SETLK, &lock) == 0)
        return KS_OK;
    if (errno == EAGAIN || errno == EACCES)
        return fail_locked(io, err);
    return ks_fail(err, KS_IO, errno, "cannot lock data directory '%s'", io->root);
}

void ks_io_posix_close(struct ks_io *base)
{
    if (!base)
        return;
    struct posix_io *io = posix_of(base);
    if (io->lock_fd >= 0)
        close(io->lock_fd); /* ends the lock; the file stays: removing it would race with the next
                               owner */
    if (io->root_fd >= 0)
        close(io->root_fd);
    ks_free(io->root);
    ks_free(io);
}
KS_DEFINE_CLEANUP(struct ks_io, ks_io_posix_close)

static enum ks_status open_root(
    const char *root, bool is_read_only, struct ks_io **out_io, struct ks_error *err)
{
    struct posix_io *io = ks_zalloc(sizeof *io);
    if (!io)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot open data directory '%s'", root);
    KS_CLEANUP(ks_io_posix_closep) struct ks_io *out = &io->io;
    io->io.ops = &posix_ops;
    io->root_fd = -1;
    io->lock_fd = -1;
    io->is_read_only = is_read_only;
    io->root = ks_strdup(root);
    if (!io->root)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot open data directory '%s'", root);
    io->root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (io->root_fd < 0)
        return ks_fail(err, ks_io_status_of(KS_IO_OPEN, errno), errno,
            "cannot open data directory '%s'", root);
    enum ks_status st = is_read_only ? take_read_lock(io, err) : take_lock(io, err);
    if (st)
        return st;
    *out_io = KS_TAKE(out);
    return KS_OK;
}

enum ks_status ks_io_posix_open(const char *root, struct ks_io **out_io, struct ks_error *err)
{
    return open_root(root, false, out_io, err);
}

enum ks_status ks_io_posix_open_read_only(
    const char *root, struct ks_io **out_io, struct ks_error *err)
{
    return open_root(root, true, out_io, err);
}
