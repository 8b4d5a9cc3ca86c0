#include "tests/bench/memory_disk.h"

#include "base/alloc.h"
#include "base/list.h"
#include "storage/u64_map.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

/* Address space of a file; its pages come as they are touched. */
#define FILE_BYTES_MAX (16u << 20)
#define PATH_BYTES 64

struct node {
    struct ks_list link;
    char path[PATH_BYTES];
    uint8_t *data;
    uint64_t bytes;
};

struct disk {
    struct ks_io io; /* first member */
    struct ks_list nodes;
    struct ks_u64_map
        by_path; /* hash of the path -> node; these few paths have no two of one hash */
};

struct opened {
    struct ks_file file; /* first member */
    struct node *node;
};

static struct disk *disk_of(struct ks_io *io)
{
    return KS_CONTAINER_OF(io, struct disk, io);
}

static struct node *node_of(struct ks_file *file)
{
    return KS_CONTAINER_OF(file, struct opened, file)->node;
}

static uint64_t hash_of(const char *path)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *path; path++)
        hash = (hash ^ (uint8_t)*path) * 0x100000001b3u;
    return hash;
}

static struct node *find(struct disk *disk, const char *path)
{
    struct node *node = ks_u64_map_get(&disk->by_path, hash_of(path));
    KS_ASSERT(!node || strcmp(node->path, path) == 0);
    return node;
}

static void know(struct disk *disk, struct node *node)
{
    KS_ASSERT(ks_u64_map_reserve(&disk->by_path, 1));
    ks_u64_map_put(&disk->by_path, hash_of(node->path), node);
}

static struct node *make(struct disk *disk, const char *path)
{
    struct node *node = ks_zalloc(sizeof *node);
    KS_ASSERT(node && strlen(path) < PATH_BYTES);
    memcpy(node->path, path, strlen(path) + 1);
    node->data = mmap(NULL, FILE_BYTES_MAX, PROT_READ | PROT_WRITE,
        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    KS_ASSERT(node->data != MAP_FAILED);
    ks_list_push(&disk->nodes, &node->link);
    know(disk, node);
    return node;
}

static enum ks_status memory_open(struct ks_io *io, const char *path, unsigned open_flags,
    struct ks_file **out_file, struct ks_error *err)
{
    struct node *node = find(disk_of(io), path);
    if (!node && !(open_flags & KS_OPEN_CREATE))
        return ks_fail(err, KS_NOT_FOUND, 0, "there is no '%s'", path);
    struct opened *opened = ks_zalloc(sizeof *opened);
    KS_ASSERT(opened);
    opened->node = node ? node : make(disk_of(io), path);
    opened->file = (struct ks_file){.io = io, .path = opened->node->path};
    *out_file = &opened->file;
    return KS_OK;
}

static void memory_close(struct ks_file *file)
{
    ks_free(file);
}

static void reach(struct node *node, uint64_t bytes)
{
    KS_ASSERT(bytes <= FILE_BYTES_MAX);
    node->bytes = ks_max_u64(node->bytes, bytes);
}

static enum ks_status memory_allocate(
    struct ks_file *file, uint64_t offset, uint64_t bytes, struct ks_error *err)
{
    (void)err;
    reach(node_of(file), offset + bytes);
    return KS_OK;
}

static enum ks_status memory_write(struct ks_file *file, const struct iovec *iov, int iov_count,
    uint64_t offset, unsigned write_flags, struct ks_error *err)
{
    (void)write_flags;
    (void)err;
    struct node *node = node_of(file);
    for (int i = 0; i < iov_count; i++) {
        reach(node, offset + iov[i].iov_len);
        memcpy(node->data + offset, iov[i].iov_base, iov[i].iov_len);
        offset += iov[i].iov_len;
    }
    return KS_OK;
}

static enum ks_status memory_read(struct ks_file *file, void *to, size_t bytes, uint64_t offset,
    size_t *out_bytes, struct ks_error *err)
{
    (void)err;
    const struct node *node = node_of(file);
    *out_bytes = offset < node->bytes ? (size_t)ks_min_u64(bytes, node->bytes - offset) : 0;
    memcpy(to, node->data + offset, *out_bytes);
    return KS_OK;
}

static enum ks_status memory_sync(struct ks_file *file, struct ks_error *err)
{
    (void)file;
    (void)err;
    return KS_OK;
}

static void memory_start_writeback(struct ks_file *file, uint64_t offset, uint64_t bytes)
{
    (void)file;
    (void)offset;
    (void)bytes;
}

static enum ks_status memory_truncate(struct ks_file *file, uint64_t bytes, struct ks_error *err)
{
    (void)err;
    node_of(file)->bytes = bytes;
    return KS_OK;
}

static enum ks_status memory_size(struct ks_file *file, uint64_t *out_bytes, struct ks_error *err)
{
    (void)err;
    *out_bytes = node_of(file)->bytes;
    return KS_OK;
}

static void memory_drop_cache(struct ks_file *file)
{
    (void)file;
}

static enum ks_status memory_map(
    struct ks_file *file, uint64_t bytes, void **out_map, struct ks_error *err)
{
    (void)bytes;
    (void)err;
    *out_map = node_of(file)->data;
    return KS_OK;
}

static void memory_unmap(struct ks_io *io, void *map, uint64_t bytes)
{
    (void)io;
    (void)map;
    (void)bytes;
}

static bool memory_is_resident(struct ks_io *io, const void *from, uint64_t bytes)
{
    (void)io;
    (void)from;
    (void)bytes;
    return true;
}

static void drop(struct disk *disk, struct node *node)
{
    ks_u64_map_remove(&disk->by_path, hash_of(node->path));
    ks_list_remove(&node->link);
    munmap(node->data, FILE_BYTES_MAX);
    ks_free(node);
}

static enum ks_status memory_unlink(struct ks_io *io, const char *path, struct ks_error *err)
{
    struct node *node = find(disk_of(io), path);
    if (!node)
        return ks_fail(err, KS_NOT_FOUND, 0, "there is no '%s'", path);
    drop(disk_of(io), node);
    return KS_OK;
}

static enum ks_status memory_rename(
    struct ks_io *io, const char *from, const char *to, struct ks_error *err)
{
    struct node *node = find(disk_of(io), from);
    if (!node)
        return ks_fail(err, KS_NOT_FOUND, 0, "there is no '%s'", from);
    KS_ASSERT(strlen(to) < PATH_BYTES && !find(disk_of(io), to));
    ks_u64_map_remove(&disk_of(io)->by_path, hash_of(from));
    memcpy(node->path, to, strlen(to) + 1);
    know(disk_of(io), node);
    return KS_OK;
}

static enum ks_status memory_make_dir(struct ks_io *io, const char *path, struct ks_error *err)
{
    (void)io;
    (void)path;
    (void)err;
    return KS_OK;
}

static enum ks_status memory_list(struct ks_io *io, const char *path,
    void (*each)(void *arg, const char *name), void *arg, struct ks_error *err)
{
    (void)err;
    size_t bytes = strlen(path);
    KS_LIST_FOR_EACH(link, &disk_of(io)->nodes)
    {
        const struct node *node = KS_CONTAINER_OF(link, struct node, link);
        bool is_below = strncmp(node->path, path, bytes) == 0 && node->path[bytes] == '/';
        if (is_below && !strchr(node->path + bytes + 1, '/'))
            each(arg, node->path + bytes + 1);
    }
    return KS_OK;
}

static enum ks_status memory_fs_info(struct ks_io *io, struct ks_fs_info *out, struct ks_error *err)
{
    (void)io;
    (void)err;
    *out = (struct ks_fs_info){.total_bytes = 1ull << 40,
        .free_bytes = 1ull << 39,
        .type = "memory",
        .is_supported = true};
    return KS_OK;
}

static const struct ks_io_ops memory_ops = {
    .open = memory_open,
    .close = memory_close,
    .allocate = memory_allocate,
    .write = memory_write,
    .read = memory_read,
    .sync = memory_sync,
    .start_writeback = memory_start_writeback,
    .truncate = memory_truncate,
    .size = memory_size,
    .drop_cache = memory_drop_cache,
    .map = memory_map,
    .unmap = memory_unmap,
    .is_resident = memory_is_resident,
    .unlink = memory_unlink,
    .rename = memory_rename,
    .make_dir = memory_make_dir,
    .sync_dir = memory_make_dir,
    .list = memory_list,
    .fs_info = memory_fs_info,
};

struct ks_io *memory_disk_create(void)
{
    struct disk *disk = ks_zalloc(sizeof *disk);
    if (!disk)
        return NULL;
    disk->io.ops = &memory_ops;
    ks_list_init(&disk->nodes);
    return &disk->io;
}

void memory_disk_destroy(struct ks_io *io)
{
    struct disk *disk = disk_of(io);
    KS_LIST_FOR_EACH_SAFE(link, &disk->nodes)
    drop(disk, KS_CONTAINER_OF(link, struct node, link));
    ks_u64_map_fini(&disk->by_path);
    ks_free(disk);
}
