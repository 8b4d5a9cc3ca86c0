/*
 * A hash table from 64-bit ids to pointers: open addressing, half full at most. The caller owns
 * the values and guards the table. Ids may be anything; a value is never NULL.
 */
#ifndef KS_STORAGE_U64_MAP_H
#define KS_STORAGE_U64_MAP_H

#include "base/defs.h"

struct ks_u64_slot {
    uint64_t id;
    void *value; /* NULL: free */
};

struct ks_u64_map {
    struct ks_u64_slot *slots;
    size_t slot_count; /* 0 or a power of two */
    size_t count;
};

void ks_u64_map_fini(struct ks_u64_map *map);
/* Room for more values than there are now, so that as many puts cannot fail. */
bool ks_u64_map_reserve(struct ks_u64_map *map, size_t more) KS_MUST_USE;
/* After a reserve; id must not be there. */
void ks_u64_map_put(struct ks_u64_map *map, uint64_t id, void *value);
void *ks_u64_map_get(const struct ks_u64_map *map, uint64_t id); /* NULL: not there */
void *ks_u64_map_remove(struct ks_u64_map *map, uint64_t id);    /* what it was; NULL: not there */

/* Every value, in no order; the table must not change meanwhile. */
#define KS_U64_MAP_FOR_EACH(slot, map)                                                             \
    for (struct ks_u64_slot *slot = (map)->slots; slot != (map)->slots + (map)->slot_count;        \
         slot++)                                                                                   \
        if (slot->value)

#endif
