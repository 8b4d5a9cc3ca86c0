/*
 * The disk seam. Storage reaches files only through this table, so that tests can fail the n-th
 * call (io_fault.h) or put a simulated disk below the engine (io_sim.h). Paths are relative to the
 * data directory ("segments/0a/000000000000000a.seg").
 *
 * Threads: all calls may come from any thread (the simulation: from one); one file's writes come
 * from one thread at a time. Errors: KS_STORAGE_FULL only for ENOSPC/EDQUOT out of open, allocate,
 * make_dir and rename (nothing was promised yet); KS_NOT_FOUND for a missing path; KS_NO_MEMORY;
 * KS_IO for everything else, ENOSPC of a write or sync included: the caller treats that as poison.
 */
#ifndef KS_STORAGE_IO_H
#define KS_STORAGE_IO_H

#include "base/status.h"

#include <sys/uio.h>

/* Writes through a KS_OPEN_DIRECT file: offset, length and every address are multiples of this.
 * Reads need not be. */
#define KS_IO_DIRECT_ALIGN 4096u

struct ks_io;

/* An open file: the first member of the implementation's own struct. */
struct ks_file {
    struct ks_io *io;
    const char *path; /* as given to open, for error texts; lives as long as the file is open */
};

enum ks_open_flags {
    KS_OPEN_READ = 0,
    KS_OPEN_WRITE = 1, /* for reading and writing */
    KS_OPEN_CREATE =
        2, /* make it if missing (0600); the directory entry is durable only after sync_dir */
    KS_OPEN_DIRECT =
        4, /* O_DIRECT where the file system can; else buffered, with the same promises */
};

enum ks_write_flags {
    KS_WRITE_PLAIN = 0,
    KS_WRITE_DURABLE =
        1, /* on disk when the call returns KS_OK (RWF_DSYNC; else write + fdatasync) */
};

struct ks_fs_info {
    uint64_t total_bytes;
    uint64_t free_bytes; /* for us */
    char type[16];       /* "ext4", "xfs", "tmpfs", ... or the magic in hex */
    bool is_supported;   /* ext4, xfs */
    bool is_refused;     /* tmpfs, nfs: not durable, needs --unsafe-fs */
};

struct ks_io_ops {
    enum ks_status (*open)(struct ks_io *io, const char *path, unsigned open_flags,
        struct ks_file **out_file, struct ks_error *err);
    void (*close)(struct ks_file *file);
    /* Real blocks for [offset, offset + bytes), the size grown if needed: a later write there
     * cannot run out of space. */
    enum ks_status (*allocate)(
        struct ks_file *file, uint64_t offset, uint64_t bytes, struct ks_error *err);
    /* Writes everything or fails; short writes are continued inside. A failed call is never to be
     * repeated. */
    enum ks_status (*write)(struct ks_file *file, const struct iovec *iov, int iov_count,
        uint64_t offset, unsigned write_flags, struct ks_error *err);
    /* Reads up to bytes; *out_bytes is less only at the end of the file. */
    enum ks_status (*read)(struct ks_file *file, void *to, size_t bytes, uint64_t offset,
        size_t *out_bytes, struct ks_error *err);
    enum ks_status (*sync)(
        struct ks_file *file, struct ks_error *err); /* fdatasync; never repeated after a failure */
    void (*start_writeback)(
        struct ks_file *file, uint64_t offset, uint64_t bytes); /* a hint: lets the sync be short */
    enum ks_status (*truncate)(struct ks_file *file, uint64_t bytes, struct ks_error *err);
    enum ks_status (*size)(struct ks_file *file, uint64_t *out_bytes, struct ks_error *err);
    void (*drop_cache)(struct ks_file
            *file); /* forget clean cached pages, so that the next read comes from the disk */
    /* Read-only, shared. Stays valid after close; loads only through ks_map_copy or by a kernel
     * call. */
    enum ks_status (*map)(
        struct ks_file *file, uint64_t bytes, void **out_map, struct ks_error *err);
    void (*unmap)(struct ks_io *io, void *map, uint64_t bytes);
    /* True when [from, from + bytes) of a mapping can be read without waiting for the disk
     * (mincore). */
    bool (*is_resident)(struct ks_io *io, const void *from, uint64_t bytes);
    enum ks_status (*unlink)(struct ks_io *io, const char *path, struct ks_error *err);
    enum ks_status (*rename)(
        struct ks_io *io, const char *from, const char *to, struct ks_error *err);
    enum ks_status (*make_dir)(
        struct ks_io *io, const char *path, struct ks_error *err); /* 0700; existing is fine */
    enum ks_status (*sync_dir)(struct ks_io *io, const char *path, struct ks_error *err);
    /* Calls each(arg, name) for every entry but "." and "..", in no order. each must not call back
     * into io. */
    enum ks_status (*list)(struct ks_io *io, const char *path,
        void (*each)(void *arg, const char *name), void *arg, struct ks_error *err);
    enum ks_status (*fs_info)(struct ks_io *io, struct ks_fs_info *out, struct ks_error *err);
};

struct ks_io {
    const struct ks_io_ops *ops;
};

/*
 * The real disk below root (which exists). Holds an exclusive lock on root/lock for its life.
 * Errors: KS_IN_USE another process has the directory (the text names its pid); KS_IO;
 * KS_NO_MEMORY.
 */
enum ks_status ks_io_posix_open(
    const char *root, struct ks_io **out_io, struct ks_error *err) KS_MUST_USE;
/*
 * For the offline inspector: refuses every change. Shares the lock with other readers, so that no
 * broker starts meanwhile; a directory without the file (a copy, or just a folder) needs none.
 * Errors: as above.
 */
enum ks_status ks_io_posix_open_read_only(
    const char *root, struct ks_io **out_io, struct ks_error *err) KS_MUST_USE;
void ks_io_posix_close(struct ks_io *io);

/*
 * What engine code calls. ks_file_... take the open file, ks_io_... a path.
 */
static inline enum ks_status KS_MUST_USE ks_io_open(struct ks_io *io, const char *path,
    unsigned open_flags, struct ks_file **out_file, struct ks_error *err)
{
    return io->ops->open(io, path, open_flags, out_file, err);
}

static inline enum ks_status KS_MUST_USE ks_io_unlink(
    struct ks_io *io, const char *path, struct ks_error *err)
{
    return io->ops->unlink(io, path, err);
}

static inline enum ks_status KS_MUST_USE ks_io_rename(
    struct ks_io *io, const char *from, const char *to, struct ks_error *err)
{
    return io->ops->rename(io, from, to, err);
}

static inline enum ks_status KS_MUST_USE ks_io_make_dir(
    struct ks_io *io, const char *path, struct ks_error *err)
{
    return io->ops->make_dir(io, path, err);
}

/* Makes the entries created, renamed or removed in the directory durable; "." is the root. Not
 * inline: see io.c. */
enum ks_status ks_io_sync_dir(struct ks_io *io, const char *path, struct ks_error *err) KS_MUST_USE;

static inline enum ks_status KS_MUST_USE ks_io_list(struct ks_io *io, const char *path,
    void (*each)(void *arg, const char *name), void *arg, struct ks_error *err)
{
    return io->ops->list(io, path, each, arg, err);
}

static inline enum ks_status KS_MUST_USE ks_io_fs_info(
    struct ks_io *io, struct ks_fs_info *out, struct ks_error *err)
{
    return io->ops->fs_info(io, out, err);
}

static inline void ks_io_unmap(struct ks_io *io, void *map, uint64_t bytes)
{
    io->ops->unmap(io, map, bytes);
}

static inline bool ks_io_is_resident(struct ks_io *io, const void *from, uint64_t bytes)
{
    return io->ops->is_resident(io, from, bytes);
}

/* NULL is fine. */
static inline void ks_file_close(struct ks_file *file)
{
    if (file)
        file->io->ops->close(file);
}
KS_DEFINE_CLEANUP(struct ks_file, ks_file_close)

static inline enum ks_status KS_MUST_USE ks_file_allocate(
    struct ks_file *file, uint64_t offset, uint64_t bytes, struct ks_error *err)
{
    return file->io->ops->allocate(file, offset, bytes, err);
}

static inline enum ks_status KS_MUST_USE ks_file_write(struct ks_file *file,
    const struct iovec *iov, int iov_count, uint64_t offset, unsigned write_flags,
    struct ks_error *err)
{
    return file->io->ops->write(file, iov, iov_count, offset, write_flags, err);
}

static inline enum ks_status KS_MUST_USE ks_file_read(struct ks_file *file, void *to, size_t bytes,
    uint64_t offset, size_t *out_bytes, struct ks_error *err)
{
    return file->io->ops->read(file, to, bytes, offset, out_bytes, err);
}

static inline enum ks_status KS_MUST_USE ks_file_sync(struct ks_file *file, struct ks_error *err)
{
    return file->io->ops->sync(file, err);
}

static inline void ks_file_start_writeback(struct ks_file *file, uint64_t offset, uint64_t bytes)
{
    file->io->ops->start_writeback(file, offset, bytes);
}

static inline enum ks_status KS_MUST_USE ks_file_truncate(
    struct ks_file *file, uint64_t bytes, struct ks_error *err)
{
    return file->io->ops->truncate(file, bytes, err);
}

static inline enum ks_status KS_MUST_USE ks_file_size(
    struct ks_file *file, uint64_t *out_bytes, struct ks_error *err)
{
    return file->io->ops->size(file, out_bytes, err);
}

static inline void ks_file_drop_cache(struct ks_file *file)
{
    file->io->ops->drop_cache(file);
}

static inline enum ks_status KS_MUST_USE ks_file_map(
    struct ks_file *file, uint64_t bytes, void **out_map, struct ks_error *err)
{
    return file->io->ops->map(file, bytes, out_map, err);
}

enum ks_status ks_file_write_one(struct ks_file *file, const void *data, size_t bytes,
    uint64_t offset, unsigned write_flags, struct ks_error *err) KS_MUST_USE;
/* Reads exactly bytes; a shorter file is KS_CORRUPT. */
enum ks_status ks_file_read_exactly(struct ks_file *file, void *to, size_t bytes, uint64_t offset,
    struct ks_error *err) KS_MUST_USE;

/* For implementations: the kinds of call, and the one rule from errno to status (KS_OK for 0). */
enum ks_io_call {
    KS_IO_OPEN,
    KS_IO_ALLOCATE,
    KS_IO_WRITE,
    KS_IO_READ,
    KS_IO_SYNC,
    KS_IO_TRUNCATE,
    KS_IO_SIZE,
    KS_IO_MAP,
    KS_IO_UNLINK,
    KS_IO_RENAME,
    KS_IO_MAKE_DIR,
    KS_IO_SYNC_DIR,
    KS_IO_LIST,
    KS_IO_FS_INFO,
    KS_IO_CALLS /* how many kinds there are */
};
const char *ks_io_call_name(enum ks_io_call call); /* "write", "sync directory", ... */
enum ks_status ks_io_status_of(enum ks_io_call call, int errnum);

#endif
