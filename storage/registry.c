#include "storage/registry.h"

#include "base/alloc.h"
#include "base/crc32c.h"
#include "proto/hash_range.h"
#include "storage/engine_priv.h"
#include "storage/registry_priv.h"
#include "storage/reshard.h"

#include <stdlib.h>
#include <string.h>

/* ---- snapshots ---- */

struct ks_stream *ks_stream_new(uint32_t shard_count)
{
    struct ks_stream *stream = ks_zalloc(sizeof *stream);
    if (!stream)
        return NULL;
    atomic_init(&stream->refs, 1);
    if (shard_count == 0)
        return stream;
    stream->shards = ks_calloc(shard_count, sizeof *stream->shards);
    stream->open_by_hash = ks_calloc(shard_count, sizeof *stream->open_by_hash);
    stream->shard_count = shard_count;
    if (stream->shards && stream->open_by_hash)
        return stream;
    ks_stream_unref(stream);
    return NULL;
}

struct ks_stream *ks_stream_copy(const struct ks_stream *from, uint32_t more_shards)
{
    struct ks_stream *stream = ks_stream_new(from->shard_count + more_shards);
    if (!stream)
        return NULL;
    /* All that follows the count of references is constant in both. */
    struct ks_shard *shards = stream->shards;
    uint32_t *open_by_hash = stream->open_by_hash;
    uint32_t shard_count = stream->shard_count;
    size_t constant = offsetof(struct ks_stream, number);
    memcpy((char *)stream + constant, (const char *)from + constant, sizeof *stream - constant);
    stream->shards = shards;
    stream->open_by_hash = open_by_hash;
    stream->shard_count = shard_count;
    ks_tags_ref(stream->tags);
    if (from->shard_count > 0)
        memcpy(shards, from->shards, from->shard_count * sizeof *shards);
    if (from->open_count > 0)
        memcpy(open_by_hash, from->open_by_hash, from->open_count * sizeof *open_by_hash);
    for (uint32_t i = 0; i < from->shard_count; i++)
        ks_log_ref(shards[i].log);
    return stream;
}

struct ks_stream *ks_stream_ref(struct ks_stream *stream)
{
    atomic_fetch_add_explicit(&stream->refs, 1, memory_order_relaxed);
    return stream;
}

void ks_stream_unref(struct ks_stream *stream)
{
    if (atomic_fetch_sub_explicit(&stream->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (uint32_t i = 0; stream->shards && i < stream->shard_count; i++) {
        if (stream->shards[i].log)
            ks_log_unref(stream->shards[i].log);
    }
    ks_tags_unref(stream->tags);
    ks_free(stream->shards);
    ks_free(stream->open_by_hash);
    ks_free(stream);
}

/* Insertion sort: ranges nearly always come in order. */
bool ks_stream_route_init(struct ks_stream *stream)
{
    stream->open_count = 0;
    for (uint32_t i = 0; i < stream->shard_count; i++) {
        if (!stream->shards[i].is_open)
            continue;
        uint32_t at = stream->open_count++;
        while (at > 0 && stream->shards[stream->open_by_hash[at - 1]].hash_first >
                             stream->shards[i].hash_first) {
            stream->open_by_hash[at] = stream->open_by_hash[at - 1];
            at--;
        }
        stream->open_by_hash[at] = i;
    }
    ks_u128 next = 0;
    for (uint32_t i = 0; i < stream->open_count; i++) {
        const struct ks_shard *shard = &stream->shards[stream->open_by_hash[i]];
        if (shard->hash_first != next || shard->hash_last < shard->hash_first)
            return false;
        next = shard->hash_last + 1;
    }
    return stream->open_count == 0 || next == 0; /* 2^128 wraps to 0 */
}

const struct ks_shard *ks_stream_route(const struct ks_stream *stream, ks_u128 hash)
{
    if (stream->open_count == 0)
        return NULL;
    uint32_t low = 0;
    uint32_t high = stream->open_count - 1;
    while (low < high) {
        uint32_t middle = low + (high - low + 1) / 2;
        if (stream->shards[stream->open_by_hash[middle]].hash_first <= hash)
            low = middle;
        else
            high = middle - 1;
    }
    return &stream->shards[stream->open_by_hash[low]];
}

const struct ks_shard *ks_stream_shard(const struct ks_stream *stream, uint32_t index)
{
    uint32_t low = 0;
    uint32_t high = stream->shard_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (stream->shards[middle].index < index)
            low = middle + 1;
        else
            high = middle;
    }
    return low < stream->shard_count && stream->shards[low].index == index ? &stream->shards[low]
                                                                           : NULL;
}

/* ---- tables ---- */

uint64_t ks_registry_id_hash(const char *stream_id)
{
    size_t bytes = strlen(stream_id);
    return (uint64_t)ks_crc32c(stream_id, bytes) << 32 |
           ks_crc32c_extend(0x6b73, stream_id + bytes / 2, bytes - bytes / 2);
}

/* The position of name, or where it would go. */
static size_t name_position(const struct ks_registry *registry, const char *name, bool *out_found)
{
    size_t low = 0;
    size_t high = registry->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(registry->by_name[middle]->stream->name, name);
        if (order == 0) {
            *out_found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *out_found = false;
    return low;
}

bool ks_registry_has_name(const struct ks_registry *registry, const char *name)
{
    bool is_found = false;
    KS_IGNORE(name_position(registry, name, &is_found), "only whether it is there");
    return is_found;
}

static int by_name_order(const void *a, const void *b)
{
    return strcmp((*(struct ks_registry_entry *const *)a)->stream->name,
        (*(struct ks_registry_entry *const *)b)->stream->name);
}

const struct ks_stream *ks_registry_sort(struct ks_registry *registry)
{
    registry->is_loading = false;
    if (registry->count > 1)
        qsort(
            registry->by_name, registry->count, sizeof(struct ks_registry_entry *), by_name_order);
    for (size_t i = 1; i < registry->count; i++) {
        if (by_name_order(&registry->by_name[i - 1], &registry->by_name[i]) == 0)
            return registry->by_name[i]->stream;
    }
    return NULL;
}

/* mu held. */
static void count_on_demand(
    struct ks_registry *registry, const struct ks_stream *old, const struct ks_stream *new)
{
    bool was = old && old->mode == KS_STREAM_ON_DEMAND;
    bool is = new &&new->mode == KS_STREAM_ON_DEMAND;
    registry->on_demand_count += is;
    registry->on_demand_count -= was;
    if (is && !was)
        ks_wake_set(ks_reshards_step(registry->engine->reshards)->wake); /* storage/scaling.h */
}

bool ks_registry_insert(struct ks_registry *registry, struct ks_stream *stream)
{
    if (registry->count == registry->capacity) {
        size_t capacity = registry->capacity ? 2 * registry->capacity : 16;
        struct ks_registry_entry **grown =
            ks_realloc(registry->by_name, capacity * sizeof(struct ks_registry_entry *));
        if (!grown)
            return false;
        registry->by_name = grown;
        registry->capacity = capacity;
    }
    if (!ks_u64_map_reserve(&registry->by_number, 1) || !ks_u64_map_reserve(&registry->by_id, 1))
        return false;
    struct ks_registry_entry *entry = ks_zalloc(sizeof *entry);
    if (!entry)
        return false;
    entry->stream = stream;
    ks_list_init(&entry->turns);
    bool is_found = false;
    size_t at =
        registry->is_loading ? registry->count : name_position(registry, stream->name, &is_found);
    KS_ASSERT(!is_found);
    memmove(registry->by_name + at + 1, registry->by_name + at,
        (registry->count - at) * sizeof(struct ks_registry_entry *));
    registry->by_name[at] = entry;
    registry->count++;
    count_on_demand(registry, NULL, stream);
    ks_u64_map_put(&registry->by_number, stream->number, entry);
    ks_u64_map_put(&registry->by_id, ks_registry_id_hash(stream->id), entry);
    return true;
}

struct ks_stream *ks_registry_remove(
    struct ks_registry *registry, uint64_t number, struct ks_list *out_turns)
{
    struct ks_registry_entry *entry = ks_u64_map_remove(&registry->by_number, number);
    KS_ASSERT(entry);
    struct ks_stream *stream = entry->stream;
    struct ks_registry_entry *same =
        ks_u64_map_remove(&registry->by_id, ks_registry_id_hash(stream->id));
    KS_ASSERT(same == entry);
    bool is_found = false;
    size_t at = name_position(registry, stream->name, &is_found);
    KS_ASSERT(is_found);
    registry->count--;
    count_on_demand(registry, stream, NULL);
    memmove(registry->by_name + at, registry->by_name + at + 1,
        (registry->count - at) * sizeof(struct ks_registry_entry *));
    ks_list_init(out_turns);
    ks_list_splice(out_turns, &entry->turns);
    ks_free(entry);
    return stream;
}

static struct ks_turn *turn_of(struct ks_list *node)
{
    return KS_CONTAINER_OF(node, struct ks_turn, link);
}

struct ks_stream *ks_registry_publish(struct ks_registry *registry, struct ks_stream *stream)
{
    struct ks_registry_entry *entry = ks_u64_map_get(&registry->by_number, stream->number);
    KS_ASSERT(entry);
    struct ks_stream *old = entry->stream;
    bool is_settled = stream->status == KS_STREAM_ACTIVE || stream->purge_unix_ms > 0;
    entry->stream = ks_stream_ref(stream);
    count_on_demand(registry, old, stream);
    /* Who sees that, or is answered, may ask for the next change before the turn is given on. */
    if (is_settled && !ks_list_is_empty(&entry->turns))
        turn_of(entry->turns.next)->is_announced = false;
    return old;
}

/* ---- turns ---- */

/* mu held. */
static enum ks_status turn_refuse(const struct ks_registry_entry *entry, const struct ks_turn *turn)
{
    if (!entry)
        return KS_NOT_FOUND;
    if (entry->stream->status == KS_STREAM_CREATING)
        return KS_IN_USE;
    if (!turn->is_announced)
        return KS_OK;
    bool is_active = entry->stream->status == KS_STREAM_ACTIVE;
    bool is_kept = entry->stream->purge_unix_ms > 0;
    if (!(is_active && turn->wants != KS_TURN_WANTS_KEPT) &&
        !(is_kept && turn->wants != KS_TURN_WANTS_ACTIVE))
        return KS_IN_USE;
    KS_LIST_FOR_EACH(node, &entry->turns)
    {
        if (turn_of(node)->is_announced)
            return KS_IN_USE;
    }
    return KS_OK;
}

enum ks_status ks_registry_take_turn(struct ks_registry *registry, struct ks_turn *turn)
{
    struct ks_stream *stream = NULL;
    {
        KS_LOCK_SCOPE(&registry->mu);
        struct ks_registry_entry *entry = ks_u64_map_get(&registry->by_number, turn->stream_number);
        enum ks_status st = turn_refuse(entry, turn);
        if (st)
            return st;
        if (ks_list_is_empty(&entry->turns))
            stream = ks_stream_ref(entry->stream);
        ks_list_push(&entry->turns, &turn->link);
    }
    if (stream)
        turn->start(turn, stream);
    return KS_OK;
}

void ks_registry_adopt_turn(struct ks_registry *registry, struct ks_turn *turn)
{
    KS_LOCK_SCOPE(&registry->mu);
    struct ks_registry_entry *entry = ks_u64_map_get(&registry->by_number, turn->stream_number);
    KS_ASSERT(entry && ks_list_is_empty(&entry->turns));
    ks_list_push(&entry->turns, &turn->link);
}

void ks_registry_give_turn_on(struct ks_registry *registry, struct ks_turn *turn)
{
    struct ks_turn *next = NULL;
    struct ks_stream *stream = NULL;
    {
        KS_LOCK_SCOPE(&registry->mu);
        struct ks_registry_entry *entry = ks_u64_map_get(&registry->by_number, turn->stream_number);
        KS_ASSERT(entry && turn_of(entry->turns.next) == turn);
        ks_list_remove(&turn->link);
        if (ks_list_is_empty(&entry->turns))
            return;
        next = turn_of(entry->turns.next);
        stream = ks_stream_ref(entry->stream);
    }
    next->start(next, stream);
}

void ks_registry_cancel_turns(struct ks_list *turns, const struct ks_turn *own)
{
    struct ks_list *node;
    while ((node = ks_list_pop(turns))) {
        if (turn_of(node) != own)
            turn_of(node)->cancel(turn_of(node), KS_NOT_FOUND);
    }
}

static enum ks_status give_snapshot(
    const struct ks_registry_entry *entry, struct ks_stream **out_stream)
{
    if (!entry)
        return KS_NOT_FOUND;
    *out_stream = ks_stream_ref(entry->stream);
    return KS_OK;
}

enum ks_status ks_registry_find(
    struct ks_engine *engine, const char *name, struct ks_stream **out_stream)
{
    struct ks_registry *registry = engine->registry;
    KS_LOCK_SCOPE(&registry->mu);
    bool is_found = false;
    size_t at = name_position(registry, name, &is_found);
    return give_snapshot(is_found ? registry->by_name[at] : NULL, out_stream);
}

enum ks_status ks_registry_find_id(
    struct ks_engine *engine, const char *stream_id, struct ks_stream **out_stream)
{
    struct ks_registry *registry = engine->registry;
    KS_LOCK_SCOPE(&registry->mu);
    const struct ks_registry_entry *entry =
        ks_u64_map_get(&registry->by_id, ks_registry_id_hash(stream_id));
    bool is_same = entry && strcmp(entry->stream->id, stream_id) == 0;
    return give_snapshot(is_same ? entry : NULL, out_stream);
}

enum ks_status ks_registry_find_number(
    struct ks_engine *engine, uint64_t number, struct ks_stream **out_stream)
{
    struct ks_registry *registry = engine->registry;
    KS_LOCK_SCOPE(&registry->mu);
    return give_snapshot(ks_u64_map_get(&registry->by_number, number), out_stream);
}

uint32_t ks_registry_list(struct ks_engine *engine, const char *after, uint32_t limit,
    struct ks_stream **out_streams, bool *out_more)
{
    struct ks_registry *registry = engine->registry;
    KS_LOCK_SCOPE(&registry->mu);
    size_t at = 0;
    if (after && *after) {
        bool is_found = false;
        at = name_position(registry, after, &is_found);
        at += is_found ? 1 : 0;
    }
    uint32_t given = 0;
    while (given < limit && at < registry->count)
        out_streams[given++] = ks_stream_ref(registry->by_name[at++]->stream);
    *out_more = at < registry->count;
    return given;
}

uint32_t ks_registry_stream_count(struct ks_engine *engine)
{
    KS_LOCK_SCOPE(&engine->registry->mu);
    return (uint32_t)engine->registry->count;
}

uint32_t ks_registry_open_shards(struct ks_engine *engine)
{
    KS_LOCK_SCOPE(&engine->registry->mu);
    return engine->registry->open_shards;
}

enum ks_status ks_registry_list_on_demand(
    struct ks_registry *registry, struct ks_stream ***out_streams, size_t *out_count)
{
    *out_streams = NULL;
    *out_count = 0;
    KS_LOCK_SCOPE(&registry->mu);
    if (registry->on_demand_count == 0)
        return KS_OK;
    struct ks_stream **streams = ks_malloc(registry->on_demand_count * sizeof(struct ks_stream *));
    if (!streams)
        return KS_NO_MEMORY;
    for (size_t i = 0; i < registry->count; i++) {
        if (registry->by_name[i]->stream->mode == KS_STREAM_ON_DEMAND)
            streams[(*out_count)++] = ks_stream_ref(registry->by_name[i]->stream);
    }
    *out_streams = streams;
    return KS_OK;
}

uint32_t ks_registry_on_demand_streams(struct ks_engine *engine)
{
    KS_LOCK_SCOPE(&engine->registry->mu);
    return engine->registry->on_demand_count;
}

void ks_registry_each_kept(struct ks_registry *registry,
    void (*each)(void *arg, uint64_t number, uint64_t purge_unix_ms), void *arg)
{
    KS_LOCK_SCOPE(&registry->mu);
    for (size_t i = 0; i < registry->count; i++) {
        const struct ks_stream *stream = registry->by_name[i]->stream;
        if (stream->purge_unix_ms > 0)
            each(arg, stream->number, stream->purge_unix_ms);
    }
}

struct ks_log *ks_registry_log(struct ks_registry *registry, uint64_t log_id)
{
    KS_LOCK_SCOPE(&registry->mu);
    return ks_u64_map_get(&registry->logs, log_id);
}

struct ks_log *ks_registry_log_ref(struct ks_registry *registry, uint64_t log_id)
{
    KS_LOCK_SCOPE(&registry->mu);
    struct ks_log *log = ks_u64_map_get(&registry->logs, log_id);
    return log ? ks_log_ref(log) : NULL;
}

/* Without the lock, so that each may call back; a log made meanwhile may be left out. */
void ks_registry_each_log(
    struct ks_registry *registry, void (*each)(void *arg, struct ks_log *log), void *arg)
{
    for (size_t i = 0;; i++) {
        struct ks_log *log = NULL;
        {
            KS_LOCK_SCOPE(&registry->mu);
            if (i >= registry->logs.slot_count)
                return;
            log = registry->logs.slots[i].value;
            if (log)
                ks_log_ref(log);
        }
        if (!log)
            continue;
        each(arg, log);
        ks_log_unref(log);
    }
}

/* ---- tombstones ---- */

bool ks_registry_reserve_tombstones(struct ks_registry *registry, size_t more)
{
    size_t needed = registry->tombstone_count + more;
    if (needed <= registry->tombstone_capacity)
        return true;
    size_t capacity = KS_MAX(2 * registry->tombstone_capacity, needed);
    struct ks_registry_tombstone *grown =
        ks_realloc(registry->tombstones, capacity * sizeof *grown);
    if (!grown)
        return false;
    registry->tombstones = grown;
    registry->tombstone_capacity = capacity;
    return true;
}

bool ks_registry_is_tombstoned(struct ks_registry *registry, uint64_t log_id)
{
    KS_LOCK_SCOPE(&registry->mu);
    for (size_t i = 0; i < registry->tombstone_count; i++) {
        if (registry->tombstones[i].log_id == log_id)
            return true;
    }
    return false;
}

struct trim_work {
    struct ks_change change;
    struct ks_registry *registry;
    size_t count;
    uint64_t log_ids[];
};

static enum ks_status trim_apply(
    struct ks_change *change, struct ks_kv_txn *txn, struct ks_error *err)
{
    struct trim_work *work = KS_CONTAINER_OF(change, struct trim_work, change);
    for (size_t i = 0; i < work->count; i++) {
        struct ks_catalog_key key;
        enum ks_status st = ks_catalog_remove(
            txn, KS_TABLE_TOMBSTONES, ks_catalog_key_u64(&key, work->log_ids[i]), err);
        if (st)
            return st;
    }
    return KS_OK;
}

/* A refused trim leaves the rows for the next one. */
static void trim_done(struct ks_change *change, enum ks_status status, const struct ks_error *error)
{
    (void)error;
    struct trim_work *work = KS_CONTAINER_OF(change, struct trim_work, change);
    struct ks_registry *registry = work->registry;
    ks_mutex_lock(&registry->mu);
    registry->is_trimming = false;
    size_t kept = 0;
    for (size_t i = 0; i < registry->tombstone_count; i++) {
        struct ks_registry_tombstone tombstone = registry->tombstones[i];
        if (tombstone.is_going && status == KS_OK)
            continue;
        tombstone.is_going = false;
        registry->tombstones[kept++] = tombstone;
    }
    registry->tombstone_count = kept;
    ks_mutex_unlock(&registry->mu);
    ks_free(work);
}

void ks_registry_trim_tombstones(struct ks_registry *registry, uint64_t oldest_lsn)
{
    struct trim_work *work = NULL;
    {
        KS_LOCK_SCOPE(&registry->mu);
        size_t count = 0;
        for (size_t i = 0; i < registry->tombstone_count; i++)
            count += registry->tombstones[i].lsn < oldest_lsn;
        if (count == 0 || registry->is_trimming)
            return;
        work = ks_zalloc(sizeof *work + count * sizeof work->log_ids[0]);
        if (!work)
            return; /* the next call finds them again */
        for (size_t i = 0; i < registry->tombstone_count; i++) {
            struct ks_registry_tombstone *tombstone = &registry->tombstones[i];
            if (tombstone->lsn >= oldest_lsn)
                continue;
            tombstone->is_going = true;
            work->log_ids[work->count++] = tombstone->log_id;
        }
        registry->is_trimming = true;
    }
    work->registry = registry;
    work->change.apply = trim_apply;
    work->change.done = trim_done;
    ks_catalog_submit(registry->engine->catalog, &work->change);
}

/* ---- life ---- */

enum ks_status ks_registry_create(
    struct ks_engine *engine, struct ks_registry **out, struct ks_error *err)
{
    struct ks_registry *registry = ks_zalloc(sizeof *registry);
    if (!registry)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot make the registry");
    registry->engine = engine;
    ks_mutex_init(&registry->mu, KS_RANK_REGISTRY);
    *out = registry;
    return KS_OK;
}

void ks_registry_destroy(struct ks_registry *registry)
{
    if (!registry)
        return;
    for (size_t i = 0; i < registry->count; i++) {
        ks_stream_unref(registry->by_name[i]->stream);
        ks_free(registry->by_name[i]);
    }
    KS_U64_MAP_FOR_EACH(slot, &registry->logs)
    {
        ks_log_unref(slot->value);
    }
    ks_free(registry->by_name);
    ks_free(registry->tombstones);
    ks_u64_map_fini(&registry->by_number);
    ks_u64_map_fini(&registry->by_id);
    ks_u64_map_fini(&registry->logs);
    ks_mutex_fini(&registry->mu);
    ks_free(registry);
}
