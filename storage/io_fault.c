#include "storage/io_fault.h"

#include "base/alloc.h"

#include <errno.h>
#include <stdatomic.h>

struct ks_io_fault {
    struct ks_io io;
    struct ks_io *inner;                 /* [const] */
    struct ks_io_fault_plan plan;        /* [const] while calls are under way */
    _Atomic uint64_t seen;               /* [atomic] calls the plan is about, since it was made */
    _Atomic uint64_t given;              /* [atomic] */
    _Atomic uint64_t calls[KS_IO_CALLS]; /* [atomic] */
};

struct fault_file {
    struct ks_file file; /* first member */
    struct ks_file *inner;
};

static struct ks_io_fault *fault_of(struct ks_io *io)
{
    return KS_CONTAINER_OF(io, struct ks_io_fault, io);
}

static struct ks_file *inner_of(struct ks_file *file)
{
    return KS_CONTAINER_OF(file, struct fault_file, file)->inner;
}

/* Counts the call. True when it is its turn to fail. */
static bool is_due(struct ks_io_fault *fault, enum ks_io_call call)
{
    atomic_fetch_add(&fault->calls[call], 1);
    const struct ks_io_fault_plan *plan = &fault->plan;
    if (plan->nth == 0 || (plan->call != call && plan->call != KS_IO_FAULT_ANY))
        return false;
    uint64_t seen = atomic_fetch_add(&fault->seen, 1) + 1;
    if (seen != plan->nth && !(plan->is_sticky && seen > plan->nth))
        return false;
    atomic_fetch_add(&fault->given, 1);
    return true;
}

static int errno_of(enum ks_fault fault)
{
    switch (fault) {
    case KS_FAULT_ENOSPC:
        return ENOSPC;
    case KS_FAULT_EDQUOT:
        return EDQUOT;
    case KS_FAULT_ENOMEM:
        return ENOMEM;
    case KS_FAULT_EIO:
    case KS_FAULT_SHORT:
    case KS_FAULT_DONE_EIO:
        break;
    }
    return EIO;
}

static bool is_done_first(const struct ks_io_fault *fault)
{
    return fault->plan.fault == KS_FAULT_DONE_EIO;
}

static enum ks_status give(
    struct ks_io_fault *fault, enum ks_io_call call, const char *path, struct ks_error *err)
{
    int errnum = errno_of(fault->plan.fault);
    return ks_fail(
        err, ks_io_status_of(call, errnum), errnum, "cannot %s '%s'", ks_io_call_name(call), path);
}

static enum ks_status fault_open(struct ks_io *io, const char *path, unsigned open_flags,
    struct ks_file **out_file, struct ks_error *err)
{
    struct ks_io_fault *fault = fault_of(io);
    if (is_due(fault, KS_IO_OPEN))
        return give(fault, KS_IO_OPEN, path, err);
    KS_AUTO_FREE struct fault_file *file = ks_zalloc(sizeof *file);
    if (!file)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot open '%s'", path);
    enum ks_status st = ks_io_open(fault->inner, path, open_flags, &file->inner, err);
    if (st)
        return st;
    file->file.io = io;
    file->file.path = file->inner->path;
    *out_file = &KS_TAKE(file)->file;
    return KS_OK;
}

static void fault_close(struct ks_file *file)
{
    ks_file_close(inner_of(file));
    ks_free(KS_CONTAINER_OF(file, struct fault_file, file));
}

static enum ks_status fault_allocate(
    struct ks_file *file, uint64_t offset, uint64_t bytes, struct ks_error *err)
{
    struct ks_io_fault *fault = fault_of(file->io);
    bool is_failing = is_due(fault, KS_IO_ALLOCATE);
    if (is_failing && !is_done_first(fault))
        return give(fault, KS_IO_ALLOCATE, file->path, err);
    enum ks_status st = ks_file_allocate(inner_of(file), offset, bytes, err);
    return is_failing ? give(fault, KS_IO_ALLOCATE, file->path, err) : st;
}

/* Writes the first half, rounded down to what O_DIRECT can take. */
static void write_half(struct ks_file *file, const struct iovec *iov, int iov_count,
    uint64_t offset, unsigned write_flags)
{
    uint64_t total = 0, done = 0;
    for (int i = 0; i < iov_count; i++)
        total += iov[i].iov_len;
    uint64_t half = total / 2 & ~(uint64_t)(KS_IO_DIRECT_ALIGN - 1);
    half = half ? half : total % KS_IO_DIRECT_ALIGN ? total / 2 : 0;
    for (int i = 0; i < iov_count && done < half; i++) {
        size_t bytes = (size_t)ks_min_u64(iov[i].iov_len, half - done);
        KS_IGNORE(ks_file_write_one(
                      inner_of(file), iov[i].iov_base, bytes, offset + done, write_flags, NULL),
            "the call fails anyway");
        done += bytes;
    }
}

static enum ks_status fault_write(struct ks_file *file, const struct iovec *iov, int iov_count,
    uint64_t offset, unsigned write_flags, struct ks_error *err)
{
    struct ks_io_fault *fault = fault_of(file->io);
    bool is_failing = is_due(fault, KS_IO_WRITE);
    if (is_failing && fault->plan.fault == KS_FAULT_SHORT)
        write_half(file, iov, iov_count, offset, write_flags);
    if (is_failing && !is_done_first(fault))
        return give(fault, KS_IO_WRITE, file->path, err);
    enum ks_status st = ks_file_write(inner_of(file), iov, iov_count, offset, write_flags, err);
    return is_failing ? give(fault, KS_IO_WRITE, file->path, err) : st;
}

static enum ks_status fault_read(struct ks_file *file, void *to, size_t bytes, uint64_t offset,
    size_t *out_bytes, struct ks_error *err)
{
    struct ks_io_fault *fault = fault_of(file->io);
    bool is_failing = is_due(fault, KS_IO_READ);
    if (is_failing && fault->plan.fault == KS_FAULT_SHORT)
        KS_IGNORE(ks_file_read(inner_of(file), to, bytes / 2, offset, out_bytes, NULL),
            "the call fails anyway; half of the memory is overwritten");
    if (is_failing)
        return give(fault, KS_IO_READ, file->path, err);
    return ks_file_read(inner_of(file), to, bytes, offset, out_bytes, err);
}

static enum ks_status fault_sync(struct ks_file *file, struct ks_error *err)
{
    struct ks_io_fault *fault = fault_of(file->io);
    bool is_failing = is_due(fault, KS_IO_SYNC);
    if (is_failing && !is_done_first(fault))
        return give(fault, KS_IO_SYNC, file->path, err);
    enum ks_status st = ks_file_sync(inner_of(file), err);
    return is_failing ? give(fault, KS_IO_SYNC, file->path, err) : st;
}

static void fault_start_writeback(struct ks_file *file, uint64_t offset, uint64_t bytes)
{
    ks_file_start_writeback(inner_of(file), offset, bytes);
}

static enum ks_status fault_truncate(struct ks_file *file, uint64_t bytes, struct ks_error *err)
{
    struct ks_io_fault *fault = fault_of(file->io);
    bool is_failing = is_due(fault, KS_IO_TRUNCATE);
    if (is_failing && !is_done_first(fault))
        return give(fault, KS_IO_TRUNCATE, file->path, err);
    enum ks_status st = ks_file_truncate(inner_of(file), bytes, err);
    return is_failing ? give(fault, KS_IO_TRUNCATE, file->path, err) : st;
}

static enum ks_status fault_size(struct ks_file *file, uint64_t *out_bytes, struct ks_error *err)
{
    struct ks_io_fault *fault = fault_of(file->io);
    if (is_due(fault, KS_IO_SIZE))
        return give(fault, KS_IO_SIZE, file->path, err);
    return ks_file_size(inner_of(file), out_bytes, err);
}

static void fault_drop_cache(struct ks_file *file)
{
    ks_file_drop_cache(inner_of(file));
}

static enum ks_status fault_map(
    struct ks_file *file, uint64_t bytes, void **out_map, struct ks_error *err)
{
    struct ks_io_fault *fault = fault_of(file->io);
    if (is_due(fault, KS_IO_MAP))
        return give(fault, KS_IO_MAP, file->path, err);
    return ks_file_map(inner_of(file), bytes, out_map, err);
}

static void fault_unmap(struct ks_io *io, void *map, uint64_t bytes)
{
    ks_io_unmap(fault_of(io)->inner, map, bytes);
}

static bool fault_is_resident(struct ks_io *io, const void *from, uint64_t bytes)
{
    return ks_io_is_resident(fault_of(io)->inner, from, bytes);
}

static enum ks_status fault_unlink(struct ks_io *io, const char *path, struct ks_error *err)
{
    struct ks_io_fault *fault = fault_of(io);
    bool is_failing = is_due(fault, KS_IO_UNLINK);
    if (is_failing && !is_done_first(fault))
        return give(fault, KS_IO_UNLINK, path, err);
    enum ks_status st = ks_io_unlink(fault->inner, path, err);
    return is_failing ? give(fault, KS_IO_UNLINK, path, err) : st;
}

static enum ks_status fault_rename(
    struct ks_io *io, const char *from, const char *to, struct ks_error *err)
{
    struct ks_io_fault *fault = fault_of(io);
    bool is_failing = is_due(fault, KS_IO_RENAME);
    if (is_failing && !is_done_first(fault))
        return give(fault, KS_IO_RENAME, from, err);
    enum ks_status st = ks_io_rename(fault->inner, from, to, err);
    return is_failing ? give(fault, KS_IO_RENAME, from, err) : st;
}

static enum ks_status fault_make_dir(struct ks_io *io, const char *path, struct ks_error *err)
{
    struct ks_io_fault *fault = fault_of(io);
    bool is_failing = is_due(fault, KS_IO_MAKE_DIR);
    if (is_failing && !is_done_first(fault))
        return give(fault, KS_IO_MAKE_DIR, path, err);
    enum ks_status st = ks_io_make_dir(fault->inner, path, err);
    return is_failing ? give(fault, KS_IO_MAKE_DIR, path, err) : st;
}

static enum ks_status fault_sync_dir(struct ks_io *io, const char *path, struct ks_error *err)
{
    struct ks_io_fault *fault = fault_of(io);
    bool is_failing = is_due(fault, KS_IO_SYNC_DIR);
    if (is_failing && !is_done_first(fault))
        return give(fault, KS_IO_SYNC_DIR, path, err);
    enum ks_status st = ks_io_sync_dir(fault->inner, path, err);
    return is_failing ? give(fault, KS_IO_SYNC_DIR, path, err) : st;
}

static enum ks_status fault_list(struct ks_io *io, const char *path,
    void (*each)(void *arg, const char *name), void *arg, struct ks_error *err)
{
    struct ks_io_fault *fault = fault_of(io);
    if (is_due(fault, KS_IO_LIST))
        return give(fault, KS_IO_LIST, path, err);
    return ks_io_list(fault->inner, path, each, arg, err);
}

static enum ks_status fault_fs_info(struct ks_io *io, struct ks_fs_info *out, struct ks_error *err)
{
    struct ks_io_fault *fault = fault_of(io);
    if (is_due(fault, KS_IO_FS_INFO))
        return give(fault, KS_IO_FS_INFO, ".", err);
    return ks_io_fs_info(fault->inner, out, err);
}

static const struct ks_io_ops fault_ops = {
    .open = fault_open,
    .close = fault_close,
    .allocate = fault_allocate,
    .write = fault_write,
    .read = fault_read,
    .sync = fault_sync,
    .start_writeback = fault_start_writeback,
    .truncate = fault_truncate,
    .size = fault_size,
    .drop_cache = fault_drop_cache,
    .map = fault_map,
    .unmap = fault_unmap,
    .is_resident = fault_is_resident,
    .unlink = fault_unlink,
    .rename = fault_rename,
    .make_dir = fault_make_dir,
    .sync_dir = fault_sync_dir,
    .list = fault_list,
    .fs_info = fault_fs_info,
};

enum ks_status ks_io_fault_create(
    struct ks_io *inner, struct ks_io_fault **out_fault, struct ks_error *err)
{
    struct ks_io_fault *fault = ks_zalloc(sizeof *fault);
    if (!fault)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot make a failing disk");
    fault->io.ops = &fault_ops;
    fault->inner = inner;
    *out_fault = fault;
    return KS_OK;
}

void ks_io_fault_destroy(struct ks_io_fault *fault)
{
    ks_free(fault);
}

struct ks_io *ks_io_fault_io(struct ks_io_fault *fault)
{
    return &fault->io;
}

void ks_io_fault_plan(struct ks_io_fault *fault, const struct ks_io_fault_plan *plan)
{
    fault->plan = *plan;
    fault->seen = 0;
    fault->given = 0;
}

uint64_t ks_io_fault_given(const struct ks_io_fault *fault)
{
    return fault->given;
}

uint64_t ks_io_fault_calls(const struct ks_io_fault *fault, enum ks_io_call call)
{
    if (call < KS_IO_CALLS)
        return fault->calls[call];
    uint64_t sum = 0;
    for (unsigned i = 0; i < KS_IO_CALLS; i++)
        sum += fault->calls[i];
    return sum;
}
