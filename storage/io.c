#include "storage/io.h"

#include <errno.h>

const char *ks_io_call_name(enum ks_io_call call)
{
    static const char *const names[KS_IO_CALLS] = {
        [KS_IO_OPEN] = "open",
        [KS_IO_ALLOCATE] = "allocate",
        [KS_IO_WRITE] = "write",
        [KS_IO_READ] = "read",
        [KS_IO_SYNC] = "sync",
        [KS_IO_TRUNCATE] = "truncate",
        [KS_IO_SIZE] = "get the size of",
        [KS_IO_MAP] = "map",
        [KS_IO_UNLINK] = "remove",
        [KS_IO_RENAME] = "rename",
        [KS_IO_MAKE_DIR] = "make directory",
        [KS_IO_SYNC_DIR] = "sync directory",
        [KS_IO_LIST] = "list directory",
        [KS_IO_FS_INFO] = "get the file system of",
    };
    KS_ASSERT(call < KS_IO_CALLS);
    return names[call];
}

enum ks_status ks_io_status_of(enum ks_io_call call, int errnum)
{
    bool is_promise_free = call == KS_IO_OPEN || call == KS_IO_ALLOCATE || call == KS_IO_MAKE_DIR ||
                           call == KS_IO_RENAME;
    switch (errnum) {
    case 0:
        return KS_OK;
    case ENOSPC:
    case EDQUOT:
        return is_promise_free ? KS_STORAGE_FULL : KS_IO;
    case ENOENT:
        return KS_NOT_FOUND;
    case ENOMEM:
        /* A write or sync that ran out of kernel memory may have been done in part: that is poison,
         * not a retry. */
        return call == KS_IO_WRITE || call == KS_IO_SYNC || call == KS_IO_SYNC_DIR ? KS_IO
                                                                                   : KS_NO_MEMORY;
    default:
        return KS_IO;
    }
}

/* In one place, so that the planted bug below is the same on the real and on the simulated disk. */
enum ks_status ks_io_sync_dir(struct ks_io *io, const char *path, struct ks_error *err)
{
#ifdef KS_PLANTED_BUG_SKIP_DIR_SYNC
    (void)io;
    (void)path;
    (void)err;
    return KS_OK;
#else
    return io->ops->sync_dir(io, path, err);
#endif
}

enum ks_status ks_file_write_one(struct ks_file *file, const void *data, size_t bytes,
    uint64_t offset, unsigned write_flags, struct ks_error *err)
{
    /* writev's iovec is not const, though it only reads. */
    struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = bytes};
    return ks_file_write(file, &iov, 1, offset, write_flags, err);
}

enum ks_status ks_file_read_exactly(
    struct ks_file *file, void *to, size_t bytes, uint64_t offset, struct ks_error *err)
{
    size_t got = 0;
    enum ks_status st = ks_file_read(file, to, bytes, offset, &got, err);
    if (st)
        return st;
    if (got < bytes)
        return ks_fail(err, KS_CORRUPT, 0, "'%s' ends %zu bytes too early for %zu bytes at %llu",
            file->path, bytes - got, bytes, (unsigned long long)offset);
    return KS_OK;
}
