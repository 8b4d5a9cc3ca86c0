#include "storage/io_sim.h"

#include "base/alloc.h"
#include "storage/io_sim_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define FILE_BYTES_MAX_DEFAULT (1024u * 1024)
#define FS_BYTES_UNLIMITED (1024ull * 1024 * 1024) /* what an unlimited disk says of itself */

struct sim_file {
    struct ks_file file; /* first member */
    struct sim_node *node;
    char *path;
    bool is_writable, is_direct;
};

static struct ks_io_sim *sim_of(struct ks_io *io)
{
    struct ks_io_sim *sim = KS_CONTAINER_OF(io, struct ks_io_sim, io);
    KS_ASSERT(pthread_equal(sim->owner, pthread_self()));
    return sim;
}

static struct sim_file *file_of(struct ks_file *file)
{
    return KS_CONTAINER_OF(file, struct sim_file, file);
}

static enum ks_status fail_errno(
    struct ks_error *err, enum ks_io_call call, int errnum, const char *path)
{
    return ks_fail(
        err, ks_io_status_of(call, errnum), errnum, "cannot %s '%s'", ks_io_call_name(call), path);
}

/* The answer of every call without power. */
static enum ks_status fail_cut(struct ks_error *err, enum ks_io_call call, const char *path)
{
    return ks_fail(err, KS_IO, EIO, "cannot %s '%s' without power", ks_io_call_name(call), path);
}

enum ks_sim_step ks_io_sim_step(struct ks_io_sim *sim)
{
    KS_ASSERT(pthread_equal(sim->owner, pthread_self()));
    if (sim->is_cut)
        return KS_SIM_DEAD;
    sim->steps++;
    if (sim->cut_in == 0 || --sim->cut_in > 0)
        return KS_SIM_GO;
    sim->is_cut = true;
    return KS_SIM_CUT;
}

/* Counts down to a planned failure; true when it is due. */
static bool is_due(uint64_t *left)
{
    return *left > 0 && --*left == 0;
}

static bool has_room(const struct ks_io_sim *sim, uint64_t sectors)
{
    uint64_t capacity = sim->capacity_bytes / KS_SIM_SECTOR_BYTES;
    return sectors == 0 || sim->capacity_bytes == 0 || sim->used_sectors + sectors <= capacity;
}

/* The file or directory behind the name in the cache, NULL if there is none. */
static struct sim_node *node_at(struct ks_io_sim *sim, const char *path)
{
    struct sim_name *name = ks_sim_name_find(sim, path);
    return name ? name->cached : NULL;
}

/* errno for using path as a directory. "." is the root. */
static int check_dir(struct ks_io_sim *sim, const char *path)
{
    if (strcmp(path, ".") == 0)
        return 0;
    const struct sim_node *node = node_at(sim, path);
    return !node ? ENOENT : node->is_dir ? 0 : ENOTDIR;
}

/* errno for making something at path: its directory has to be there. */
static int check_parent(struct ks_io_sim *sim, const char *path)
{
    char dir[256] = ".";
    const char *slash = strrchr(path, '/');
    if (slash) {
        KS_ASSERT((size_t)(slash - path) < sizeof dir);
        memcpy(dir, path, (size_t)(slash - path));
        dir[slash - path] = '\0';
    }
    return check_dir(sim, dir);
}

/* A new empty file or directory under a name; an interrupted one is there or not. */
static enum ks_status create_node(struct ks_io_sim *sim, const char *path, bool is_dir,
    struct sim_node **out_node, struct ks_error *err)
{
    enum ks_io_call call = is_dir ? KS_IO_MAKE_DIR : KS_IO_OPEN;
    int errnum = check_parent(sim, path);
    if (errnum)
        return fail_errno(err, call, errnum, path);
    enum ks_sim_step step = ks_io_sim_step(sim);
    if (step == KS_SIM_CUT && ks_prng_chance(&sim->prng, 1, 2))
        return fail_cut(err, call, path);
    if (!has_room(sim, 1)) {
        sim->counts.full_refusals++;
        return fail_errno(err, call, ENOSPC, path);
    }
    struct sim_name *name = ks_sim_name_make(sim, path);
    if (!name || !ks_sim_reserve_change(sim))
        return fail_errno(err, call, ENOMEM, path);
    struct sim_node *node = ks_sim_node_create(sim, is_dir);
    if (!node)
        return fail_errno(err, call, ENOMEM, path);
    ks_sim_change(sim, name, node, NULL);
    sim->counts.creates++;
    if (step == KS_SIM_CUT)
        return fail_cut(err, call, path);
    *out_node = node;
    return KS_OK;
}

static void sim_close(struct ks_file *base)
{
    struct sim_file *file = file_of(base);
    struct ks_io_sim *sim = sim_of(base->io);
    if (file->node) {
        KS_ASSERT(file->node->handles > 0 && sim->handles > 0);
        file->node->handles--;
        sim->handles--;
        ks_sim_node_release(sim, file->node);
    }
    ks_free(file->path);
    ks_free(file);
}

static enum ks_status sim_open(struct ks_io *base, const char *path, unsigned open_flags,
    struct ks_file **out_file, struct ks_error *err)
{
    struct ks_io_sim *sim = sim_of(base);
    sim->counts.calls[KS_IO_OPEN]++;
    if (sim->is_cut)
        return fail_cut(err, KS_IO_OPEN, path);
    struct sim_file *file = ks_zalloc(sizeof *file);
    if (!file)
        return fail_errno(err, KS_IO_OPEN, ENOMEM, path);
    KS_CLEANUP(ks_file_closep) struct ks_file *out = &file->file;
    file->file.io = base;
    file->path = ks_strdup(path);
    if (!file->path)
        return fail_errno(err, KS_IO_OPEN, ENOMEM, path);
    file->file.path = file->path;
    file->is_writable = open_flags & KS_OPEN_WRITE;
    file->is_direct = open_flags & KS_OPEN_DIRECT;
    struct sim_node *node = node_at(sim, path);
    if (!node && !(open_flags & KS_OPEN_CREATE))
        return fail_errno(err, KS_IO_OPEN, ENOENT, path);
    if (node && node->is_dir)
        return fail_errno(err, KS_IO_OPEN, EISDIR, path);
    if (!node) {
        enum ks_status st = create_node(sim, path, false, &node, err);
        if (st)
            return st;
    }
    file->node = node;
    node->handles++;
    sim->handles++;
    *out_file = KS_TAKE(out);
    return KS_OK;
}

static enum ks_status sim_allocate(
    struct ks_file *base, uint64_t offset, uint64_t bytes, struct ks_error *err)
{
    struct ks_io_sim *sim = sim_of(base->io);
    struct sim_file *file = file_of(base);
    KS_ASSERT(file->is_writable && bytes > 0);
    sim->counts.calls[KS_IO_ALLOCATE]++;
    enum ks_sim_step step = ks_io_sim_step(sim);
    if (step == KS_SIM_DEAD || (step == KS_SIM_CUT && ks_prng_chance(&sim->prng, 1, 2)))
        return fail_cut(err, KS_IO_ALLOCATE, file->path);
    if (offset + bytes > sim->file_bytes_max)
        return fail_errno(err, KS_IO_ALLOCATE, EFBIG, file->path);
    if (!has_room(sim, ks_sim_node_missing(file->node, offset, bytes))) {
        sim->counts.full_refusals++;
        return fail_errno(err, KS_IO_ALLOCATE, ENOSPC, file->path);
    }
    ks_sim_node_allocate(sim, file->node, offset, bytes);
    return step == KS_SIM_CUT ? fail_cut(err, KS_IO_ALLOCATE, file->path) : KS_OK;
}

/* What O_DIRECT would refuse with EINVAL is a mistake of the engine. */
static uint64_t check_pieces(
    const struct sim_file *file, const struct iovec *iov, int iov_count, uint64_t offset)
{
    uint64_t total = 0;
    KS_ASSERT(!file->is_direct || offset % KS_IO_DIRECT_ALIGN == 0);
    for (int i = 0; i < iov_count; i++) {
        KS_ASSERT(!file->is_direct || iov[i].iov_len % KS_IO_DIRECT_ALIGN == 0);
        KS_ASSERT(!file->is_direct || (uintptr_t)iov[i].iov_base % KS_IO_DIRECT_ALIGN == 0);
        total += iov[i].iov_len;
    }
    return total;
}

/* The first `bytes` of the pieces go into the cache. */
static void write_pieces(struct ks_io_sim *sim, struct sim_node *node, const struct iovec *iov,
    int iov_count, uint64_t offset, uint64_t bytes)
{
    for (int i = 0; i < iov_count && bytes > 0; i++) {
        uint64_t piece = ks_min_u64(iov[i].iov_len, bytes);
        ks_sim_node_write(sim, node, iov[i].iov_base, piece, offset);
        offset += piece;
        bytes -= piece;
    }
}

/* How much of an interrupted or failing write is done: nothing, all, or up to some sector. */
static uint64_t partial_bytes(struct ks_io_sim *sim, uint64_t total)
{
    switch (ks_prng_below(&sim->prng, 4)) {
    case 0:
        return 0;
    case 1:
        return total;
    default:
        break;
    }
    uint64_t bytes = ks_prng_below(&sim->prng, total + 1);
    return bytes - bytes % KS_SIM_SECTOR_BYTES;
}

/* The bytes reached the cache, the disk refused them. O_DIRECT: no cache, so either written and not
 * known, or not. */
static void fail_durable(
    struct ks_io_sim *sim, struct sim_file *file, uint64_t offset, uint64_t bytes)
{
    if (file->is_direct && ks_prng_chance(&sim->prng, 1, 2)) {
        ks_sim_node_sync(sim, file->node, offset, bytes);
        return;
    }
    ks_sim_node_forget(sim, file->node, offset, bytes);
    if (file->is_direct)
        ks_sim_node_drop_cache(file->node);
}

static enum ks_status sim_write(struct ks_file *base, const struct iovec *iov, int iov_count,
    uint64_t offset, unsigned write_flags, struct ks_error *err)
{
    struct ks_io_sim *sim = sim_of(base->io);
    struct sim_file *file = file_of(base);
    KS_ASSERT(file->is_writable);
    bool is_durable = write_flags & KS_WRITE_DURABLE;
    sim->counts.calls[KS_IO_WRITE]++;
    sim->counts.durable_writes += is_durable;
    uint64_t total = check_pieces(file, iov, iov_count, offset);
    enum ks_sim_step step = ks_io_sim_step(sim);
    if (step == KS_SIM_DEAD)
        return fail_cut(err, KS_IO_WRITE, file->path);
    if (total > sim->file_bytes_max || offset > sim->file_bytes_max - total)
        return fail_errno(err, KS_IO_WRITE, EFBIG, file->path);
    if (!has_room(sim, ks_sim_node_missing(file->node, offset, total))) {
        sim->counts.full_refusals++;
        return fail_errno(err, KS_IO_WRITE, ENOSPC, file->path);
    }
    bool is_failing = is_due(&sim->fail_write_in);
    bool is_sync_failing = is_durable && is_due(&sim->fail_sync_in);
    bool is_partial = step == KS_SIM_CUT || is_failing;
    uint64_t bytes = is_partial ? partial_bytes(sim, total) : total;
    write_pieces(sim, file->node, iov, iov_count, offset, bytes);
    if (step == KS_SIM_CUT) {
        if (is_durable &&
            ks_prng_chance(&sim->prng, 1, 4)) /* the power went after it, before the answer */
            ks_sim_node_sync(sim, file->node, offset, bytes);
        return fail_cut(err, KS_IO_WRITE, file->path);
    }
    if (is_failing || is_sync_failing) {
        sim->counts.failed_writes += is_failing;
        sim->counts.failed_syncs += is_sync_failing;
        if (is_durable)
            fail_durable(sim, file, offset, bytes);
        return fail_errno(err, KS_IO_WRITE, EIO, file->path);
    }
    if (is_durable)
        ks_sim_node_sync(sim, file->node, offset, bytes);
    return KS_OK;
}

static enum ks_status sim_read(struct ks_file *base, void *to, size_t bytes, uint64_t offset,
    size_t *out_bytes, struct ks_error *err)
{
    struct ks_io_sim *sim = sim_of(base->io);
    struct sim_file *file = file_of(base);
    const struct sim_node *node = file->node;
    sim->counts.calls[KS_IO_READ]++;
    if (sim->is_cut)
        return fail_cut(err, KS_IO_READ, file->path);
    uint64_t left = offset < node->cached_bytes ? node->cached_bytes - offset : 0;
    size_t got = (size_t)ks_min_u64(bytes, left);
    if (offset < node->bad_to && offset + got > node->bad_from) {
        sim->counts.failed_reads++;
        return fail_errno(err, KS_IO_READ, EIO, file->path);
    }
    if (got > 0)
        memcpy(to, node->cached + offset, got);
    *out_bytes = got;
    return KS_OK;
}

static enum ks_status sim_sync(struct ks_file *base, struct ks_error *err)
{
    struct ks_io_sim *sim = sim_of(base->io);
    struct sim_file *file = file_of(base);
    sim->counts.calls[KS_IO_SYNC]++;
    enum ks_sim_step step = ks_io_sim_step(sim);
    if (step == KS_SIM_DEAD || (step == KS_SIM_CUT && ks_prng_chance(&sim->prng, 3, 4)))
        return fail_cut(err, KS_IO_SYNC, file->path);
    if (is_due(&sim->fail_sync_in)) {
        sim->counts.failed_syncs++;
        ks_sim_node_forget(sim, file->node, 0, UINT64_MAX);
        return fail_errno(err, KS_IO_SYNC, EIO, file->path);
    }
    ks_sim_node_sync(sim, file->node, 0, UINT64_MAX);
    return step == KS_SIM_CUT ? fail_cut(err, KS_IO_SYNC, file->path) : KS_OK;
}

static void sim_start_writeback(struct ks_file *base, uint64_t offset, uint64_t bytes)
{
    /* Sectors reach the disk when they like; power_on decides which did. */
    (void)sim_of(base->io);
    (void)offset;
    (void)bytes;
}

static enum ks_status sim_truncate(struct ks_file *base, uint64_t bytes, struct ks_error *err)
{
    struct ks_io_sim *sim = sim_of(base->io);
    struct sim_file *file = file_of(base);
    KS_ASSERT(file->is_writable);
    sim->counts.calls[KS_IO_TRUNCATE]++;
    enum ks_sim_step step = ks_io_sim_step(sim);
    if (step == KS_SIM_DEAD || (step == KS_SIM_CUT && ks_prng_chance(&sim->prng, 1, 2)))
        return fail_cut(err, KS_IO_TRUNCATE, file->path);
    if (bytes > sim->file_bytes_max)
        return fail_errno(err, KS_IO_TRUNCATE, EFBIG, file->path);
    ks_sim_node_resize(sim, file->node, bytes);
    return step == KS_SIM_CUT ? fail_cut(err, KS_IO_TRUNCATE, file->path) : KS_OK;
}

static enum ks_status sim_size(struct ks_file *base, uint64_t *out_bytes, struct ks_error *err)
{
    struct ks_io_sim *sim = sim_of(base->io);
    struct sim_file *file = file_of(base);
    sim->counts.calls[KS_IO_SIZE]++;
    if (sim->is_cut)
        return fail_cut(err, KS_IO_SIZE, file->path);
    *out_bytes = file->node->cached_bytes;
    return KS_OK;
}

static void sim_drop_cache(struct ks_file *base)
{
    struct ks_io_sim *sim = sim_of(base->io);
    if (!sim->is_cut)
        ks_sim_node_drop_cache(file_of(base)->node);
}

static enum ks_status sim_map(
    struct ks_file *base, uint64_t bytes, void **out_map, struct ks_error *err)
{
    struct ks_io_sim *sim = sim_of(base->io);
    struct sim_file *file = file_of(base);
    sim->counts.calls[KS_IO_MAP]++;
    if (sim->is_cut)
        return fail_cut(err, KS_IO_MAP, file->path);
    if (bytes == 0 || bytes > sim->file_bytes_max)
        return fail_errno(err, KS_IO_MAP, EINVAL, file->path);
    file->node->maps++;
    sim->maps++;
    *out_map = file->node->cached;
    return KS_OK;
}

static struct sim_node *node_of_map(struct ks_io_sim *sim, const void *from)
{
    KS_LIST_FOR_EACH(link, &sim->nodes)
    {
        struct sim_node *node = KS_CONTAINER_OF(link, struct sim_node, link);
        if ((const uint8_t *)from >= node->cached &&
            (const uint8_t *)from < node->cached + sim->file_bytes_max)
            return node;
    }
    return NULL;
}

static void sim_unmap(struct ks_io *io, void *map, uint64_t bytes)
{
    struct ks_io_sim *sim = sim_of(io);
    struct sim_node *node = node_of_map(sim, map);
    (void)bytes;
    KS_ASSERT(node && node->cached == map && node->maps > 0);
    node->maps--;
    sim->maps--;
    ks_sim_node_release(sim, node);
}

static bool sim_is_resident(struct ks_io *io, const void *from, uint64_t bytes)
{
    struct ks_io_sim *sim = sim_of(io);
    const struct sim_node *node = node_of_map(sim, from);
    (void)bytes;
    KS_ASSERT(node && node->maps > 0); /* asking about a released map is a mistake of the engine */
    return sim->cold_percent == 0 || !ks_prng_chance(&sim->prng, sim->cold_percent, 100);
}

static enum ks_status sim_unlink(struct ks_io *io, const char *path, struct ks_error *err)
{
    struct ks_io_sim *sim = sim_of(io);
    sim->counts.calls[KS_IO_UNLINK]++;
    enum ks_sim_step step = ks_io_sim_step(sim);
    if (step == KS_SIM_DEAD || (step == KS_SIM_CUT && ks_prng_chance(&sim->prng, 1, 2)))
        return fail_cut(err, KS_IO_UNLINK, path);
    struct sim_name *name = ks_sim_name_find(sim, path);
    if (!name || !name->cached)
        return fail_errno(err, KS_IO_UNLINK, ENOENT, path);
    if (name->cached->is_dir)
        return fail_errno(err, KS_IO_UNLINK, EISDIR, path);
    if (!ks_sim_reserve_change(sim))
        return fail_errno(err, KS_IO_UNLINK, ENOMEM, path);
    ks_sim_change(sim, name, NULL, NULL);
    return step == KS_SIM_CUT ? fail_cut(err, KS_IO_UNLINK, path) : KS_OK;
}

static enum ks_status sim_rename(
    struct ks_io *io, const char *from, const char *to, struct ks_error *err)
{
    struct ks_io_sim *sim = sim_of(io);
    sim->counts.calls[KS_IO_RENAME]++;
    enum ks_sim_step step = ks_io_sim_step(sim);
    if (step == KS_SIM_DEAD || (step == KS_SIM_CUT && ks_prng_chance(&sim->prng, 1, 2)))
        return fail_cut(err, KS_IO_RENAME, from);
    struct sim_name *old = ks_sim_name_find(sim, from);
    int errnum = old && old->cached ? check_parent(sim, to) : ENOENT;
    if (errnum)
        return fail_errno(err, KS_IO_RENAME, errnum, from);
    KS_ASSERT(!old->cached->is_dir && strcmp(from, to) != 0); /* the engine renames files only */
    struct sim_name *name = ks_sim_name_make(sim, to);
    if (!name || !ks_sim_reserve_change(sim))
        return fail_errno(err, KS_IO_RENAME, ENOMEM, from);
    if (name->cached && name->cached->is_dir)
        return fail_errno(err, KS_IO_RENAME, EISDIR, from);
    ks_sim_change(sim, name, old->cached, old);
    return step == KS_SIM_CUT ? fail_cut(err, KS_IO_RENAME, from) : KS_OK;
}

static enum ks_status sim_make_dir(struct ks_io *io, const char *path, struct ks_error *err)
{
    struct ks_io_sim *sim = sim_of(io);
    sim->counts.calls[KS_IO_MAKE_DIR]++;
    if (sim->is_cut)
        return fail_cut(err, KS_IO_MAKE_DIR, path);
    struct sim_node *node = node_at(sim, path);
    if (node)
        return node->is_dir ? KS_OK : fail_errno(err, KS_IO_MAKE_DIR, ENOTDIR, path);
    return create_node(sim, path, true, &node, err);
}

static enum ks_status sim_sync_dir(struct ks_io *io, const char *path, struct ks_error *err)
{
    struct ks_io_sim *sim = sim_of(io);
    sim->counts.calls[KS_IO_SYNC_DIR]++;
    enum ks_sim_step step = ks_io_sim_step(sim);
    if (step == KS_SIM_DEAD || (step == KS_SIM_CUT && ks_prng_chance(&sim->prng, 3, 4)))
        return fail_cut(err, KS_IO_SYNC_DIR, path);
    int errnum = check_dir(sim, path);
    if (errnum)
        return fail_errno(err, KS_IO_SYNC_DIR, errnum, path);
    if (is_due(&sim->fail_sync_in)) {
        sim->counts.failed_syncs++;
        return fail_errno(err, KS_IO_SYNC_DIR, EIO, path);
    }
    ks_sim_sync_names(sim, path);
    return step == KS_SIM_CUT ? fail_cut(err, KS_IO_SYNC_DIR, path) : KS_OK;
}

static enum ks_status sim_list(struct ks_io *io, const char *path,
    void (*each)(void *arg, const char *name), void *arg, struct ks_error *err)
{
    struct ks_io_sim *sim = sim_of(io);
    sim->counts.calls[KS_IO_LIST]++;
    if (sim->is_cut)
        return fail_cut(err, KS_IO_LIST, path);
    int errnum = check_dir(sim, path);
    if (errnum)
        return fail_errno(err, KS_IO_LIST, errnum, path);
    for (size_t i = 0; i < sim->name_count; i++) {
        const struct sim_name *name = sim->names[i];
        if (name->cached && ks_sim_name_is_in(name, path))
            each(arg, name->path + (name->dir_bytes ? name->dir_bytes + 1 : 0));
    }
    return KS_OK;
}

static enum ks_status sim_fs_info(struct ks_io *io, struct ks_fs_info *out, struct ks_error *err)
{
    struct ks_io_sim *sim = sim_of(io);
    sim->counts.calls[KS_IO_FS_INFO]++;
    if (sim->is_cut)
        return fail_cut(err, KS_IO_FS_INFO, ".");
    uint64_t total = sim->capacity_bytes ? sim->capacity_bytes : FS_BYTES_UNLIMITED;
    *out = (struct ks_fs_info){
        .total_bytes = total,
        .free_bytes = total - ks_min_u64(total, ks_io_sim_used_bytes(sim)),
        .type = "sim",
        .is_supported = true,
    };
    return KS_OK;
}

static const struct ks_io_ops sim_ops = {
    .open = sim_open,
    .close = sim_close,
    .allocate = sim_allocate,
    .write = sim_write,
    .read = sim_read,
    .sync = sim_sync,
    .start_writeback = sim_start_writeback,
    .truncate = sim_truncate,
    .size = sim_size,
    .drop_cache = sim_drop_cache,
    .map = sim_map,
    .unmap = sim_unmap,
    .is_resident = sim_is_resident,
    .unlink = sim_unlink,
    .rename = sim_rename,
    .make_dir = sim_make_dir,
    .sync_dir = sim_sync_dir,
    .list = sim_list,
    .fs_info = sim_fs_info,
};

enum ks_status ks_io_sim_create(
    const struct ks_io_sim_options *options, struct ks_io_sim **out_sim, struct ks_error *err)
{
    struct ks_io_sim *sim = ks_zalloc(sizeof *sim);
    if (!sim)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot make a simulated disk");
    sim->io.ops = &sim_ops;
    sim->owner = pthread_self();
    sim->file_bytes_max =
        ks_round_up(options->file_bytes_max ? options->file_bytes_max : FILE_BYTES_MAX_DEFAULT,
            KS_IO_DIRECT_ALIGN);
    sim->sectors_max = sim->file_bytes_max / KS_SIM_SECTOR_BYTES;
    sim->capacity_bytes = options->capacity_bytes;
    sim->cold_percent = options->cold_percent;
    ks_list_init(&sim->nodes);
    ks_list_init(&sim->spare_nodes);
    ks_prng_seed(&sim->prng, options->seed);
    *out_sim = sim;
    return KS_OK;
}

void ks_io_sim_format(struct ks_io_sim *sim, uint64_t seed)
{
    KS_ASSERT(sim->handles == 0 && sim->maps == 0);
    ks_sim_forget_names(sim);
    KS_ASSERT(ks_list_is_empty(&sim->nodes) && sim->used_sectors == 0);
    ks_prng_seed(&sim->prng, seed);
    sim->cut_in = sim->fail_sync_in = sim->fail_write_in = 0;
    sim->is_cut = false;
}

void ks_io_sim_destroy(struct ks_io_sim *sim)
{
    if (!sim)
        return;
    ks_io_sim_format(sim, 0);
    ks_sim_destroy_nodes(sim);
    ks_free(sim->names);
    ks_free(sim->changes);
    ks_free(sim);
}

struct ks_io *ks_io_sim_io(struct ks_io_sim *sim)
{
    return &sim->io;
}

void ks_io_sim_cut_after(struct ks_io_sim *sim, uint64_t n)
{
    sim->cut_in = n;
}

bool ks_io_sim_is_cut(const struct ks_io_sim *sim)
{
    return sim->is_cut;
}

void ks_io_sim_power_on(struct ks_io_sim *sim, enum ks_sim_survive survive)
{
    KS_ASSERT(sim->handles == 0 && sim->maps == 0);
    sim->cut_in = sim->fail_sync_in = sim->fail_write_in = 0;
    sim->is_cut = false;
    KS_LIST_FOR_EACH(link, &sim->nodes)
    {
        struct sim_node *node = KS_CONTAINER_OF(link, struct sim_node, link);
        node->bad_from = node->bad_to = 0;
    }
    sim->counts.kills += survive == KS_SIM_PROCESS;
    sim->counts.cuts += survive != KS_SIM_PROCESS;
    if (survive != KS_SIM_PROCESS)
        ks_sim_survive(sim, survive);
}

struct ks_prng *ks_io_sim_prng(struct ks_io_sim *sim)
{
    return &sim->prng;
}

uint64_t ks_io_sim_steps(const struct ks_io_sim *sim)
{
    return sim->steps;
}

void ks_io_sim_fail_sync_after(struct ks_io_sim *sim, uint64_t n)
{
    sim->fail_sync_in = n;
}

void ks_io_sim_fail_write_after(struct ks_io_sim *sim, uint64_t n)
{
    sim->fail_write_in = n;
}

void ks_io_sim_set_capacity(struct ks_io_sim *sim, uint64_t bytes)
{
    sim->capacity_bytes = bytes;
}

uint64_t ks_io_sim_used_bytes(const struct ks_io_sim *sim)
{
    return sim->used_sectors * KS_SIM_SECTOR_BYTES;
}

void ks_io_sim_flip_bit(struct ks_io_sim *sim, const char *path, uint64_t offset, unsigned bit)
{
    struct sim_node *node = node_at(sim, path);
    KS_ASSERT(node && !node->is_dir && offset < node->cached_bytes && bit < 8);
    uint8_t mask = (uint8_t)(1u << bit);
    node->durable[offset] ^= mask;
    if (!node->dirty[offset / KS_SIM_SECTOR_BYTES])
        node->cached[offset] ^= mask;
    sim->counts.flipped_bits++;
}

void ks_io_sim_fail_reads(struct ks_io_sim *sim, const char *path, uint64_t offset, uint64_t bytes)
{
    struct sim_node *node = node_at(sim, path);
    KS_ASSERT(node && !node->is_dir);
    node->bad_from = offset;
    node->bad_to = offset + bytes;
}

const struct ks_io_sim_counts *ks_io_sim_counts(const struct ks_io_sim *sim)
{
    return &sim->counts;
}
