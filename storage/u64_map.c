#include "storage/u64_map.h"

#include "base/alloc.h"

#define SLOTS_MIN 16u

/* The finalizer of splitmix64 spreads consecutive ids over the table. */
static uint64_t mix(uint64_t id)
{
    id = (id ^ (id >> 30)) * 0xbf58476d1ce4e5b9ULL;
    id = (id ^ (id >> 27)) * 0x94d049bb133111ebULL;
    return id ^ (id >> 31);
}

/* The slot that holds id, or the free one where it would go. */
static size_t slot_of(const struct ks_u64_map *map, uint64_t id)
{
    size_t mask = map->slot_count - 1;
    size_t i = (size_t)mix(id) & mask;
    while (map->slots[i].value && map->slots[i].id != id)
        i = (i + 1) & mask;
    return i;
}

void ks_u64_map_fini(struct ks_u64_map *map)
{
    ks_free(map->slots);
    *map = (struct ks_u64_map){.slots = NULL};
}

bool ks_u64_map_reserve(struct ks_u64_map *map, size_t more)
{
    size_t slot_count = KS_MAX(map->slot_count, (size_t)SLOTS_MIN);
    while (map->count + more > slot_count / 2)
        slot_count *= 2;
    if (slot_count == map->slot_count)
        return true;
    struct ks_u64_map grown = {
        .slots = ks_calloc(slot_count, sizeof *grown.slots), .slot_count = slot_count};
    if (!grown.slots)
        return false;
    KS_U64_MAP_FOR_EACH(slot, map)
    {
        ks_u64_map_put(&grown, slot->id, slot->value);
    }
    ks_free(map->slots);
    *map = grown;
    return true;
}

void ks_u64_map_put(struct ks_u64_map *map, uint64_t id, void *value)
{
    KS_ASSERT(value && map->count < map->slot_count / 2);
    size_t i = slot_of(map, id);
    KS_ASSERT(!map->slots[i].value);
    map->slots[i] = (struct ks_u64_slot){.id = id, .value = value};
    map->count++;
}

void *ks_u64_map_get(const struct ks_u64_map *map, uint64_t id)
{
    return map->slot_count ? map->slots[slot_of(map, id)].value : NULL;
}

void *ks_u64_map_remove(struct ks_u64_map *map, uint64_t id)
{
    if (!map->slot_count)
        return NULL;
    size_t mask = map->slot_count - 1;
    size_t hole = slot_of(map, id);
    void *value = map->slots[hole].value;
    if (!value)
        return NULL;
    /* No tombstones: what a probe would no longer reach past the hole moves into it. */
    for (size_t i = (hole + 1) & mask; map->slots[i].value; i = (i + 1) & mask) {
        size_t wanted = (size_t)mix(map->slots[i].id) & mask;
        if (((i - wanted) & mask) >= ((i - hole) & mask)) {
            map->slots[hole] = map->slots[i];
            hole = i;
        }
    }
    map->slots[hole].value = NULL;
    map->count--;
    return value;
}
