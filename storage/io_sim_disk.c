#include "base/alloc.h"
#include "storage/io_sim_priv.h"

#include <string.h>

#define SECTOR KS_SIM_SECTOR_BYTES

static uint64_t sector_end(uint64_t bytes)
{
    return (bytes + SECTOR - 1) / SECTOR;
}

static void node_free(struct sim_node *node)
{
    ks_free(node->cached);
    ks_free(node->durable);
    ks_free(node->dirty);
    ks_free(node->allocated);
    ks_free(node->allocated_durable);
    ks_free(node);
}

static struct sim_node *node_make(struct ks_io_sim *sim)
{
    struct sim_node *node = ks_zalloc(sizeof *node);
    if (!node)
        return NULL;
    /* A page's alignment, as a real map has. */
    node->cached = ks_aligned_alloc(KS_IO_DIRECT_ALIGN, (size_t)sim->file_bytes_max);
    node->durable = ks_zalloc((size_t)sim->file_bytes_max);
    node->dirty = ks_calloc((size_t)sim->sectors_max, sizeof node->dirty[0]);
    node->allocated = ks_calloc((size_t)sim->sectors_max, sizeof node->allocated[0]);
    node->allocated_durable =
        ks_calloc((size_t)sim->sectors_max, sizeof node->allocated_durable[0]);
    if (!node->cached || !node->durable || !node->dirty || !node->allocated ||
        !node->allocated_durable) {
        node_free(node);
        return NULL;
    }
    memset(node->cached, 0, (size_t)sim->file_bytes_max);
    return node;
}

struct sim_node *ks_sim_node_create(struct ks_io_sim *sim, bool is_dir)
{
    struct ks_list *spare = ks_list_pop(&sim->spare_nodes);
    struct sim_node *node = spare ? KS_CONTAINER_OF(spare, struct sim_node, link) : node_make(sim);
    if (!node)
        return NULL;
    node->is_dir = is_dir;
    ks_list_push(&sim->nodes, &node->link);
    return node;
}

/* Zeros everything that was ever touched: cheaper than new memory, and a reused node is as a new
 * one. */
static void node_wipe(struct sim_node *node)
{
    uint64_t sectors = sector_end(node->used_bytes);
    memset(node->cached, 0, (size_t)node->used_bytes);
    memset(node->durable, 0, (size_t)node->used_bytes);
    memset(node->dirty, 0, (size_t)sectors * sizeof node->dirty[0]);
    memset(node->allocated, 0, (size_t)sectors);
    memset(node->allocated_durable, 0, (size_t)sectors);
    node->cached_bytes = node->durable_bytes = node->resized_at = node->used_bytes = 0;
    node->dirty_from = node->dirty_to = node->bad_from = node->bad_to = 0;
}

void ks_sim_node_release(struct ks_io_sim *sim, struct sim_node *node)
{
    if (node->refs || node->handles || node->maps)
        return;
    for (uint64_t s = 0; s < sector_end(node->used_bytes); s++)
        sim->used_sectors -= node->allocated[s];
    node_wipe(node);
    ks_list_remove(&node->link);
    ks_list_push(&sim->spare_nodes, &node->link);
}

void ks_sim_destroy_nodes(struct ks_io_sim *sim)
{
    for (struct ks_list *link; (link = ks_list_pop(&sim->spare_nodes));)
        node_free(KS_CONTAINER_OF(link, struct sim_node, link));
}

static void node_touch(struct sim_node *node, uint64_t end)
{
    node->used_bytes = ks_max_u64(node->used_bytes, sector_end(end) * SECTOR);
}

static void node_dirty(struct ks_io_sim *sim, struct sim_node *node, uint64_t from, uint64_t to)
{
    if (from >= to)
        return;
    bool was_clean = node->dirty_from == node->dirty_to;
    node->dirty_from = was_clean ? from : ks_min_u64(node->dirty_from, from);
    node->dirty_to = was_clean ? to : ks_max_u64(node->dirty_to, to);
    for (uint64_t s = from; s < to; s++)
        node->dirty[s] = ++sim->moment;
}

uint64_t ks_sim_node_missing(const struct sim_node *node, uint64_t offset, uint64_t bytes)
{
    uint64_t missing = 0;
    for (uint64_t s = offset / SECTOR; s < sector_end(offset + bytes); s++)
        missing += !node->allocated[s];
    return missing;
}

static void node_take_blocks(
    struct ks_io_sim *sim, struct sim_node *node, uint64_t offset, uint64_t bytes)
{
    sim->used_sectors += ks_sim_node_missing(node, offset, bytes);
    for (uint64_t s = offset / SECTOR; s < sector_end(offset + bytes); s++)
        node->allocated[s] = true;
    node_touch(node, offset + bytes);
}

static void node_grow(struct ks_io_sim *sim, struct sim_node *node, uint64_t bytes)
{
    if (bytes <= node->cached_bytes)
        return;
    node_touch(node, bytes);
    node->cached_bytes = bytes;
    node->resized_at = ++sim->moment;
}

void ks_sim_node_allocate(
    struct ks_io_sim *sim, struct sim_node *node, uint64_t offset, uint64_t bytes)
{
    node_take_blocks(sim, node, offset, bytes);
    node_grow(sim, node, offset + bytes);
}

void ks_sim_node_write(
    struct ks_io_sim *sim, struct sim_node *node, const void *data, uint64_t bytes, uint64_t offset)
{
    if (bytes == 0)
        return;
    node_take_blocks(sim, node, offset, bytes);
    memcpy(node->cached + offset, data, (size_t)bytes);
    node_dirty(sim, node, offset / SECTOR, sector_end(offset + bytes));
    node_grow(sim, node, offset + bytes);
}

void ks_sim_node_resize(struct ks_io_sim *sim, struct sim_node *node, uint64_t bytes)
{
    uint64_t old = node->cached_bytes;
    node_touch(node, ks_max_u64(bytes, old));
    if (bytes < old) {
        memset(node->cached + bytes, 0, (size_t)(old - bytes));
        node_dirty(sim, node, bytes / SECTOR, sector_end(old));
        for (uint64_t s = sector_end(bytes); s < sector_end(node->used_bytes); s++) {
            sim->used_sectors -= node->allocated[s];
            node->allocated[s] = false;
        }
    }
    if (bytes != old) {
        node->cached_bytes = bytes;
        node->resized_at = ++sim->moment;
    }
}

static void sector_harden(struct sim_node *node, uint64_t s)
{
    memcpy(node->durable + s * SECTOR, node->cached + s * SECTOR, SECTOR);
    node->dirty[s] = 0;
}

static void node_shrink_dirty(struct sim_node *node)
{
    while (node->dirty_from < node->dirty_to && !node->dirty[node->dirty_from])
        node->dirty_from++;
    while (node->dirty_to > node->dirty_from && !node->dirty[node->dirty_to - 1])
        node->dirty_to--;
}

static uint64_t range_end(uint64_t offset, uint64_t bytes)
{
    return bytes > UINT64_MAX - offset - SECTOR ? UINT64_MAX / SECTOR : sector_end(offset + bytes);
}

void ks_sim_node_sync(struct ks_io_sim *sim, struct sim_node *node, uint64_t offset, uint64_t bytes)
{
    (void)sim;
    uint64_t to = ks_min_u64(node->dirty_to, range_end(offset, bytes));
    for (uint64_t s = ks_max_u64(node->dirty_from, offset / SECTOR); s < to; s++) {
        if (node->dirty[s])
            sector_harden(node, s);
    }
    node_shrink_dirty(node);
    /* Size and blocks belong to the metadata that data needs: all of it, also for a range. */
    memcpy(node->allocated_durable, node->allocated, (size_t)sector_end(node->used_bytes));
    node->durable_bytes = node->cached_bytes;
    node->resized_at = 0;
}

void ks_sim_node_forget(
    struct ks_io_sim *sim, struct sim_node *node, uint64_t offset, uint64_t bytes)
{
    (void)sim;
    uint64_t to = ks_min_u64(node->dirty_to, range_end(offset, bytes));
    for (uint64_t s = ks_max_u64(node->dirty_from, offset / SECTOR); s < to; s++)
        node->dirty[s] = 0;
    node_shrink_dirty(node);
}

void ks_sim_node_drop_cache(struct sim_node *node)
{
    for (uint64_t s = 0; s < sector_end(node->cached_bytes); s++) {
        uint64_t bytes = ks_min_u64(SECTOR, node->cached_bytes - s * SECTOR);
        if (!node->dirty[s])
            memcpy(node->cached + s * SECTOR, node->durable + s * SECTOR, (size_t)bytes);
    }
}

/* Points slot to node, or to nothing, and lets go of what it pointed to. */
static void slot_set(struct ks_io_sim *sim, struct sim_node **slot, struct sim_node *node)
{
    struct sim_node *old = *slot;
    if (node)
        node->refs++;
    *slot = node;
    if (!old)
        return;
    old->refs--;
    ks_sim_node_release(sim, old);
}

static uint32_t hash_of(const char *path)
{
    uint32_t hash = 2166136261u; /* FNV-1a: draft-eastlake-fnv */
    for (; *path; path++)
        hash = (hash ^ (uint8_t)*path) * 16777619u;
    return hash;
}

struct sim_name *ks_sim_name_find(struct ks_io_sim *sim, const char *path)
{
    uint32_t hash = hash_of(path);
    for (size_t i = 0; i < sim->name_count; i++) {
        if (sim->names[i]->hash == hash && strcmp(sim->names[i]->path, path) == 0)
            return sim->names[i];
    }
    return NULL;
}

struct sim_name *ks_sim_name_make(struct ks_io_sim *sim, const char *path)
{
    struct sim_name *name = ks_sim_name_find(sim, path);
    if (name)
        return name;
    if (sim->name_count == sim->name_capacity) {
        size_t capacity = sim->name_capacity ? sim->name_capacity * 2 : 64;
        struct sim_name **names = ks_realloc(sim->names, capacity * sizeof names[0]);
        if (!names)
            return NULL;
        sim->names = names;
        sim->name_capacity = capacity;
    }
    name = ks_zalloc(sizeof *name);
    if (!name)
        return NULL;
    name->path = ks_strdup(path);
    if (!name->path) {
        ks_free(name);
        return NULL;
    }
    const char *slash = strrchr(path, '/');
    name->dir_bytes = slash ? (size_t)(slash - path) : 0;
    name->hash = hash_of(path);
    sim->names[sim->name_count++] = name;
    return name;
}

bool ks_sim_name_is_in(const struct sim_name *name, const char *dir)
{
    size_t dir_bytes = strcmp(dir, ".") == 0 ? 0 : strlen(dir);
    return name->dir_bytes == dir_bytes && memcmp(name->path, dir, dir_bytes) == 0;
}

static void name_free(struct sim_name *name)
{
    ks_free(name->path);
    ks_free(name);
}

/* Forgets names nothing stands behind, so that finding one stays quick on a disk with a long life.
 */
static void names_compact(struct ks_io_sim *sim)
{
    KS_ASSERT(sim->change_count == 0); /* they point to names */
    size_t kept = 0;
    for (size_t i = 0; i < sim->name_count; i++) {
        struct sim_name *name = sim->names[i];
        if (name->cached || name->durable)
            sim->names[kept++] = name;
        else
            name_free(name);
    }
    sim->name_count = kept;
}

bool ks_sim_reserve_change(struct ks_io_sim *sim)
{
    if (sim->change_count < sim->change_capacity)
        return true;
    size_t capacity = sim->change_capacity ? sim->change_capacity * 2 : 64;
    struct sim_change *changes = ks_realloc(sim->changes, capacity * sizeof changes[0]);
    if (!changes)
        return false;
    sim->changes = changes;
    sim->change_capacity = capacity;
    return true;
}

void ks_sim_change(
    struct ks_io_sim *sim, struct sim_name *name, struct sim_node *node, struct sim_name *old)
{
    KS_ASSERT(sim->change_count < sim->change_capacity);
    struct sim_change *change = &sim->changes[sim->change_count++];
    *change = (struct sim_change){.name = name, .old = old, .moment = ++sim->moment};
    slot_set(sim, &change->node, node);
    slot_set(sim, &name->cached, node);
    if (old)
        slot_set(sim, &old->cached, NULL);
}

static void change_harden(struct ks_io_sim *sim, struct sim_change *change)
{
    slot_set(sim, &change->name->durable, change->node);
    if (change->old)
        slot_set(sim, &change->old->durable, NULL);
}

static bool is_sharing_name(const struct sim_change *a, const struct sim_change *b)
{
    return a->name == b->name || (a->old && (a->old == b->name || a->old == b->old)) ||
           (b->old && b->old == a->name);
}

void ks_sim_sync_names(struct ks_io_sim *sim, const char *dir)
{
    struct sim_change *changes = sim->changes;
    for (size_t i = 0; i < sim->change_count; i++) {
        changes[i].is_marked = ks_sim_name_is_in(changes[i].name, dir) ||
                               (changes[i].old && ks_sim_name_is_in(changes[i].old, dir));
    }
    /* What a durable change builds on is durable too. */
    for (size_t i = sim->change_count; i-- > 0;) {
        for (size_t j = 0; changes[i].is_marked && j < i; j++)
            changes[j].is_marked |= is_sharing_name(&changes[i], &changes[j]);
    }
    size_t kept = 0;
    for (size_t i = 0; i < sim->change_count; i++) {
        if (changes[i].is_marked) {
            change_harden(sim, &changes[i]);
            slot_set(sim, &changes[i].node, NULL);
        } else {
            changes[kept++] = changes[i];
        }
    }
    sim->change_count = kept;
    if (kept == 0)
        names_compact(sim);
}

/* What survives a power cut, as chosen by the mode and the seed. */
struct survival {
    enum ks_sim_survive mode;
    uint64_t limit;  /* KS_SIM_PREFIX: moments up to here */
    uint64_t chance; /* KS_SIM_RANDOM: of 8 */
};

static bool is_surviving(struct ks_io_sim *sim, const struct survival *how, uint64_t moment)
{
    switch (how->mode) {
    case KS_SIM_NOTHING:
        return false;
    case KS_SIM_ALL:
    case KS_SIM_PROCESS:
        return true;
    case KS_SIM_PREFIX:
        return moment <= how->limit;
    case KS_SIM_RANDOM:
        break;
    }
    return ks_prng_chance(&sim->prng, how->chance, 8);
}

static uint64_t oldest_volatile(struct ks_io_sim *sim)
{
    uint64_t oldest = sim->moment + 1;
    for (size_t i = 0; i < sim->change_count; i++)
        oldest = ks_min_u64(oldest, sim->changes[i].moment);
    KS_LIST_FOR_EACH(link, &sim->nodes)
    {
        struct sim_node *node = KS_CONTAINER_OF(link, struct sim_node, link);
        if (node->resized_at)
            oldest = ks_min_u64(oldest, node->resized_at);
        for (uint64_t s = node->dirty_from; s < node->dirty_to; s++) {
            if (node->dirty[s])
                oldest = ks_min_u64(oldest, node->dirty[s]);
        }
    }
    return oldest;
}

static void survive_size(struct ks_io_sim *sim, struct sim_node *node, const struct survival *how)
{
    if (!node->resized_at)
        return;
    uint64_t from = node->durable_bytes, to = node->cached_bytes;
    bool is_growing_in_part =
        how->mode == KS_SIM_RANDOM && to > from && ks_prng_chance(&sim->prng, 1, 4);
    if (is_growing_in_part)
        node->durable_bytes = from + ks_prng_below(&sim->prng, to - from + 1);
    else if (is_surviving(sim, how, node->resized_at))
        node->durable_bytes = to;
}

static void survive_node(struct ks_io_sim *sim, struct sim_node *node, const struct survival *how)
{
    bool is_metadata_kept = is_surviving(sim, how, node->resized_at);
    for (uint64_t s = node->dirty_from; s < node->dirty_to; s++) {
        if (!node->dirty[s])
            continue;
        bool is_kept = is_surviving(sim, how, node->dirty[s]);
        node->dirty[s] = 0;
        sim->counts.sectors_kept += is_kept;
        sim->counts.sectors_lost += !is_kept;
        if (is_kept) {
            sector_harden(node, s);
            node->allocated_durable[s] |= node->allocated[s];
        }
    }
    survive_size(sim, node, how);
    memset(
        node->durable + node->durable_bytes, 0, (size_t)(node->used_bytes - node->durable_bytes));
    memcpy(node->cached, node->durable, (size_t)node->used_bytes);
    for (uint64_t s = 0; s < sector_end(node->used_bytes); s++) {
        bool is_there = is_metadata_kept ? node->allocated[s] : node->allocated_durable[s];
        sim->used_sectors += (uint64_t)is_there - (uint64_t)node->allocated[s];
        node->allocated[s] = node->allocated_durable[s] = is_there;
    }
    node->cached_bytes = node->durable_bytes;
    node->resized_at = node->dirty_from = node->dirty_to = 0;
}

static void survive_change(struct ks_io_sim *sim, struct sim_change *change)
{
    sim->counts.names_kept += !change->is_marked;
    sim->counts.names_lost += change->is_marked;
    if (!change->is_marked) {
        change_harden(sim, change);
        return;
    }
    sim->counts.files_vanished += change->node && !change->old;
    sim->counts.files_back += !change->node;
}

/* Decides every unsynced change of names. Returns whether a directory was lost, and with it all
 * below. */
static bool survive_names(struct ks_io_sim *sim, const struct survival *how)
{
    bool is_dir_lost = false;
    for (size_t i = 0; i < sim->change_count; i++) {
        struct sim_change *change = &sim->changes[i];
        change->is_marked = !is_surviving(sim, how, change->moment);
        for (size_t j = 0; j < i; j++)
            change->is_marked |=
                sim->changes[j].is_marked && is_sharing_name(change, &sim->changes[j]);
        is_dir_lost |= change->is_marked && change->node && change->node->is_dir;
        survive_change(sim, change);
    }
    for (size_t i = 0; i < sim->change_count; i++)
        slot_set(sim, &sim->changes[i].node, NULL);
    sim->change_count = 0;
    return is_dir_lost;
}

static bool has_durable_parent(struct ks_io_sim *sim, const struct sim_name *name)
{
    if (name->dir_bytes == 0)
        return true;
    for (size_t i = 0; i < sim->name_count; i++) {
        const struct sim_name *dir = sim->names[i];
        if (dir->durable && strlen(dir->path) == name->dir_bytes &&
            memcmp(dir->path, name->path, name->dir_bytes) == 0)
            return true;
    }
    return false;
}

static void lose_orphans(struct ks_io_sim *sim)
{
    bool is_changed;
    do {
        is_changed = false;
        for (size_t i = 0; i < sim->name_count; i++) {
            struct sim_name *name = sim->names[i];
            if (!name->durable || has_durable_parent(sim, name))
                continue;
            slot_set(sim, &name->durable, NULL);
            sim->counts.files_vanished++;
            is_changed = true;
        }
    } while (is_changed);
}

void ks_sim_survive(struct ks_io_sim *sim, enum ks_sim_survive mode)
{
    struct survival how = {.mode = mode, .chance = 1 + ks_prng_below(&sim->prng, 7)};
    if (mode == KS_SIM_PREFIX) {
        uint64_t oldest = oldest_volatile(sim);
        how.limit = oldest - 1 + ks_prng_below(&sim->prng, sim->moment + 2 - oldest);
    }
    bool is_dir_lost = survive_names(sim, &how);
    if (is_dir_lost)
        lose_orphans(sim);
    for (size_t i = 0; i < sim->name_count; i++)
        slot_set(sim, &sim->names[i]->cached, sim->names[i]->durable);
    names_compact(sim);
    KS_LIST_FOR_EACH(link, &sim->nodes)
    survive_node(sim, KS_CONTAINER_OF(link, struct sim_node, link), &how);
}

void ks_sim_forget_names(struct ks_io_sim *sim)
{
    for (size_t i = 0; i < sim->change_count; i++)
        slot_set(sim, &sim->changes[i].node, NULL);
    sim->change_count = 0;
    for (size_t i = 0; i < sim->name_count; i++) {
        slot_set(sim, &sim->names[i]->cached, NULL);
        slot_set(sim, &sim->names[i]->durable, NULL);
    }
    names_compact(sim);
}
