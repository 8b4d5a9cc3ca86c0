#include "storage/segment.h"

#include "base/alloc.h"
#include "storage/engine_priv.h"

#include <string.h>

/* A hint further back than this is no better than the index. */
#define HINT_RECORDS_MAX 4096u
/* So many maps are looked at when there are too many. */
#define EVICT_TRIES_MAX 64u

/* ---- life ---- */

struct ks_segment *ks_segment_create(struct ks_engine *engine, uint64_t file_id,
    uint64_t generation, uint64_t log_id, uint64_t first_sequence)
{
    struct ks_segment *segment = ks_zalloc(sizeof *segment);
    if (!segment)
        return NULL;
    segment->engine = engine;
    segment->file_id = file_id;
    segment->generation = generation;
    segment->log_id = log_id;
    segment->first_sequence = first_sequence;
    segment->last_sequence = first_sequence - 1;
    segment->readable_bytes = KS_SEGMENT_HEADER_BYTES;
    atomic_init(&segment->refs, 1);
    ks_mutex_init(&segment->mu, KS_RANK_SEGMENT);
    return segment;
}

struct ks_segment *ks_segment_ref(struct ks_segment *segment)
{
    uint32_t refs = atomic_fetch_add_explicit(&segment->refs, 1, memory_order_relaxed);
    KS_ASSERT(refs > 0);
    return segment;
}

static void segment_forget_map(struct ks_segment *segment)
{
    struct ks_map_cache *cache = ks_files_map_cache(segment->engine->files);
    KS_LOCK_SCOPE(&cache->mu);
    if (!ks_list_is_linked(&segment->map_link))
        return;
    ks_list_remove(&segment->map_link);
    cache->count--;
}

uint64_t ks_segment_disk_bytes(const struct ks_segment *segment)
{
    return segment->state == KS_SEGMENT_ACTIVE ? segment->readable_bytes : segment->file_bytes;
}

void ks_segment_retire(struct ks_segment *segment)
{
    KS_ASSERT(segment->state != KS_SEGMENT_RETIRED);
    uint64_t bytes = ks_segment_disk_bytes(segment);
    segment->state = KS_SEGMENT_RETIRED;
    struct ks_engine *engine = segment->engine;
    ks_engine_count(engine, KS_COUNT_SEGMENTS_RETIRED, 1);
    ks_engine_count(engine, KS_COUNT_BYTES_RETIRED, bytes);
    ks_engine_count(
        engine, KS_COUNT_RECORDS_RETIRED, segment->last_sequence - segment->first_sequence + 1);
    ks_engine_count(engine, KS_COUNT_SEGMENTS_HELD, 1);
    ks_engine_count(engine, KS_COUNT_BYTES_HELD, bytes);
    segment->held_bytes = bytes;
#ifdef KS_PLANTED_BUG_RECYCLE_WHILE_PINNED
    ks_files_give_back(segment->engine->files, segment->file_id, segment->generation);
#endif
}

void ks_segment_unref(struct ks_segment *segment)
{
    if (atomic_fetch_sub_explicit(&segment->refs, 1, memory_order_acq_rel) != 1)
        return;
    struct ks_engine *engine = segment->engine;
    KS_ASSERT(segment->map_pins == 0);
    if (segment->map) {
        segment_forget_map(segment);
        ks_io_unmap(engine->options.io, segment->map, segment->map_bytes);
    }
    if (segment->state == KS_SEGMENT_RETIRED) {
        atomic_fetch_sub(&engine->counters[KS_COUNT_SEGMENTS_HELD], 1);
        atomic_fetch_sub(&engine->counters[KS_COUNT_BYTES_HELD], segment->held_bytes);
        if (engine->index)
            ks_index_forget(engine->index, segment->file_id, segment->generation);
#ifndef KS_PLANTED_BUG_RECYCLE_WHILE_PINNED
        ks_files_give_back(engine->files, segment->file_id, segment->generation);
#endif
    }
    ks_mutex_fini(&segment->mu);
    ks_free(segment->sparse);
    ks_free(segment->hints);
    ks_free(segment);
}

/* ---- the first use ---- */

static enum ks_status header_check(
    struct ks_segment *segment, struct ks_file *file, struct ks_error *err)
{
    if (!segment->engine->recovery.was_clean)
        ks_file_drop_cache(file);
    KS_AUTO_FREE uint8_t *bytes = ks_malloc(KS_SEGMENT_HEADER_BYTES);
    if (!bytes)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot check segment '%s'", file->path);
    enum ks_status st = ks_file_read_exactly(file, bytes, KS_SEGMENT_HEADER_BYTES, 0, err);
    struct ks_segment_header header;
    if (!st)
        st = ks_segment_header_decode(ks_view_of(bytes, KS_SEGMENT_HEADER_BYTES), &header, err);
    if (st == KS_NO_MEMORY)
        return st;
    if (st)
        return ks_fail(err, KS_CORRUPT, 0, "segment '%s' has no readable header", file->path);
    if (header.file_id != segment->file_id || header.generation != segment->generation ||
        header.log_id != segment->log_id || header.first_sequence != segment->first_sequence)
        return ks_fail(err, KS_CORRUPT, 0,
            "segment '%s' is of log %llu, generation %llu; the catalog says log %llu, generation "
            "%llu",
            file->path, (unsigned long long)header.log_id, (unsigned long long)header.generation,
            (unsigned long long)segment->log_id, (unsigned long long)segment->generation);
    return KS_OK;
}

static void segment_note_damage(struct ks_segment *segment, const struct ks_error *error)
{
    ks_engine_count(segment->engine, KS_COUNT_DAMAGE_MET, 1);
    ks_emit(segment->engine->options.events, KS_LEVEL_ERROR, "segment.damaged",
        "file=%016llx log=%llu why=\"%s\"", (unsigned long long)segment->file_id,
        (unsigned long long)segment->log_id, error->text);
}

static enum ks_status segment_is_damaged(struct ks_segment *segment, struct ks_error *err)
{
    return ks_fail(err, KS_CORRUPT, 0, "segment file %016llx is not what the catalog means",
        (unsigned long long)segment->file_id);
}

enum ks_status ks_segment_open_file(struct ks_segment *segment, unsigned open_flags,
    struct ks_file **out_file, struct ks_error *err)
{
    char path[KS_FILE_PATH_BYTES];
    ks_files_path(segment->file_id, path);
    bool is_checked = false;
    {
        KS_LOCK_SCOPE(&segment->mu);
        if (segment->is_damaged)
            return segment_is_damaged(segment, err);
        is_checked = segment->is_header_checked;
    }
    struct ks_error error = KS_ERROR_INIT;
    KS_CLEANUP(ks_file_closep) struct ks_file *file = NULL;
    enum ks_status st = ks_io_open(segment->engine->options.io, path, open_flags, &file, &error);
    if (st == KS_NOT_FOUND)
        st = ks_fail(&error, KS_CORRUPT, 0, "segment '%s' is missing", path);
    if (!st && !is_checked)
        st = header_check(segment, file, &error);
    bool is_news = false;
    if (!st || st == KS_CORRUPT) {
        KS_LOCK_SCOPE(&segment->mu);
        is_news = st && !segment->is_damaged;
        segment->is_damaged = segment->is_damaged || st;
        segment->is_header_checked = true;
    }
    if (is_news)
        segment_note_damage(segment, &error);
    if (st) {
        if (err)
            *err = error;
        return st;
    }
    *out_file = KS_TAKE(file);
    return KS_OK;
}

/* ---- maps ---- */

void ks_map_cache_init(struct ks_map_cache *cache, uint32_t count_max)
{
    ks_mutex_init(&cache->mu, KS_RANK_MAPS);
    ks_list_init(&cache->maps);
    cache->count = 0;
    cache->count_max = count_max;
}

void ks_map_cache_fini(struct ks_map_cache *cache)
{
    KS_ASSERT(ks_list_is_empty(&cache->maps));
    ks_mutex_fini(&cache->mu);
}

/* The segment may be on its way out: only a count above zero may be raised. */
static bool segment_try_ref(struct ks_segment *segment)
{
    uint32_t refs = atomic_load(&segment->refs);
    while (refs > 0) {
        if (atomic_compare_exchange_weak(&segment->refs, &refs, refs + 1))
            return true;
    }
    return false;
}

/* To the young end of the list. True: there are too many maps now. */
static bool map_cache_touch(struct ks_segment *segment)
{
    struct ks_map_cache *cache = ks_files_map_cache(segment->engine->files);
    KS_LOCK_SCOPE(&cache->mu);
    if (ks_list_is_linked(&segment->map_link)) {
        if (cache->maps.prev == &segment->map_link)
            return false;
        ks_list_remove(&segment->map_link);
        cache->count--;
    }
    ks_list_push(&cache->maps, &segment->map_link);
    return ++cache->count > cache->count_max;
}

/* Referenced: the segment whose map should go; NULL: there are not too many. One without a
 * reference left is about to take its map away itself. */
static struct ks_segment *map_cache_victim(struct ks_map_cache *cache)
{
    KS_LOCK_SCOPE(&cache->mu);
    if (cache->count <= cache->count_max)
        return NULL;
    KS_LIST_FOR_EACH(node, &cache->maps)
    {
        struct ks_segment *victim = KS_CONTAINER_OF(node, struct ks_segment, map_link);
        if (segment_try_ref(victim))
            return victim;
    }
    return NULL;
}

/* A pinned one is being read: it is not the oldest, whatever the list says. */
static void map_cache_evict(struct ks_segment *victim)
{
    void *map = NULL;
    uint64_t map_bytes = 0;
    KS_AUTO_FREE struct ks_segment_hints *hints = NULL;
    {
        KS_LOCK_SCOPE(&victim->mu);
        if (victim->map_pins > 0) {
            map_cache_touch(victim);
        } else if (victim->map) {
            map = victim->map;
            map_bytes = victim->map_bytes;
            victim->map = NULL;
            hints = KS_TAKE(victim->hints); /* nobody has read here for long */
            segment_forget_map(victim);
        }
    }
    if (map)
        ks_io_unmap(victim->engine->options.io, map, map_bytes);
    ks_segment_unref(victim);
}

/* Down to what there may be; not for ever, when nearly all are pinned. */
static void map_cache_shrink(struct ks_map_cache *cache)
{
    for (unsigned tries = 0; tries < EVICT_TRIES_MAX; tries++) {
        struct ks_segment *victim = map_cache_victim(cache);
        if (!victim)
            return;
        map_cache_evict(victim);
    }
}

/* Pins the map if it is long enough. */
static enum ks_status pin_existing(
    struct ks_segment *segment, uint64_t bytes, const uint8_t **out_map, struct ks_error *err)
{
    bool is_over = false;
    {
        KS_LOCK_SCOPE(&segment->mu);
        if (segment->is_damaged)
            return segment_is_damaged(segment, err);
        if (!segment->map)
            return KS_NOT_FOUND;
        if (segment->map_bytes < bytes)
            return segment->map_pins > 0 ? KS_IN_USE : KS_NOT_FOUND;
        segment->map_pins++;
        *out_map = segment->map;
        is_over = map_cache_touch(segment);
    }
    if (is_over)
        map_cache_shrink(ks_files_map_cache(segment->engine->files));
    return KS_OK;
}

/* Without the lock: made by whoever comes first, the others throw theirs away. */
static enum ks_status make_map(struct ks_segment *segment, uint64_t bytes, struct ks_error *err)
{
    KS_CLEANUP(ks_file_closep) struct ks_file *file = NULL;
    enum ks_status st = ks_segment_open_file(segment, KS_OPEN_READ, &file, err);
    if (st)
        return st;
    void *spare = NULL;
    uint64_t spare_bytes = bytes;
    st = ks_file_map(file, bytes, &spare, err);
    if (st)
        return st;
    {
        KS_LOCK_SCOPE(&segment->mu);
        bool is_shorter = !segment->map || segment->map_bytes < bytes;
        if (is_shorter && segment->map_pins == 0) {
            void *old = segment->map;
            uint64_t old_bytes = segment->map_bytes;
            segment->map = spare;
            segment->map_bytes = bytes;
            spare = old;
            spare_bytes = old_bytes;
        }
    }
    if (spare)
        ks_io_unmap(segment->engine->options.io, spare, spare_bytes);
    return KS_OK;
}

enum ks_status ks_segment_pin_map(struct ks_segment *segment, uint64_t bytes, bool may_block,
    const uint8_t **out_map, struct ks_error *err)
{
    enum ks_status st = pin_existing(segment, bytes, out_map, err);
    if (st != KS_NOT_FOUND)
        return st;
    if (!may_block)
        return KS_WOULD_BLOCK;
    st = make_map(segment, bytes, err);
    if (st)
        return st;
    st = pin_existing(segment, bytes, out_map, err);
    return st == KS_NOT_FOUND ? KS_IN_USE : st; /* it went at once: read a copy */
}

void ks_segment_unpin_map(struct ks_segment *segment)
{
    KS_LOCK_SCOPE(&segment->mu);
    KS_ASSERT(segment->map_pins > 0);
    segment->map_pins--;
}

void ks_segment_hint(struct ks_segment *segment, const struct ks_index_entry *entry)
{
    uint64_t now_ns = ks_max_u64(1, ks_clock_mono_ns(segment->engine->options.clock));
    KS_LOCK_SCOPE(&segment->mu);
    segment->read_mono_ns = now_ns;
    if (!segment->hints)
        segment->hints = ks_zalloc(sizeof *segment->hints);
    struct ks_segment_hints *hints = segment->hints;
    if (!hints)
        return; /* the next read looks in the index */
    hints->entries[hints->next] = *entry;
    hints->next = (hints->next + 1) % KS_SEGMENT_HINTS;
}

bool ks_segment_recall(
    struct ks_segment *segment, uint64_t sequence, struct ks_index_entry *out_entry)
{
    KS_LOCK_SCOPE(&segment->mu);
    bool is_found = false;
    for (uint32_t i = 0; segment->hints && i < KS_SEGMENT_HINTS; i++) {
        const struct ks_index_entry *hint = &segment->hints->entries[i];
        if (hint->offset == 0 || hint->sequence > sequence ||
            sequence - hint->sequence > HINT_RECORDS_MAX)
            continue;
        if (!is_found || hint->sequence > out_entry->sequence)
            *out_entry = *hint;
        is_found = true;
    }
    return is_found;
}

/* ---- lists ---- */

struct ks_segment *ks_segment_list_find(const struct ks_segment_list *list, uint64_t sequence)
{
    uint32_t low = 0;
    uint32_t high = list->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (list->items[middle]->last_sequence < sequence)
            low = middle + 1;
        else
            high = middle;
    }
    return low < list->count ? list->items[low] : NULL;
}

struct ks_segment *ks_segment_list_find_arrival(
    const struct ks_segment_list *list, uint64_t unix_ms)
{
    uint32_t low = 0;
    uint32_t high = list->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        uint32_t at = middle;
        while (at > low && list->items[at]->batch_count == 0)
            at--;
        const struct ks_segment *segment = list->items[at];
        if (segment->batch_count == 0 || segment->last_arrival_unix_ms < unix_ms)
            low = middle + 1;
        else
            high = at;
    }
    return low < list->count ? list->items[low] : NULL;
}

bool ks_segment_list_reserve(struct ks_segment_list *list)
{
    if (list->count < list->capacity)
        return true;
    uint32_t capacity = list->capacity ? 2 * list->capacity : 2;
    struct ks_segment **grown = ks_realloc(list->items, capacity * sizeof(struct ks_segment *));
    if (!grown)
        return false;
    list->items = grown;
    list->capacity = capacity;
    return true;
}

void ks_segment_list_push(struct ks_segment_list *list, struct ks_segment *segment)
{
    KS_ASSERT(list->count < list->capacity);
    list->items[list->count++] = segment;
}

void ks_segment_list_fini(struct ks_segment_list *list)
{
    for (uint32_t i = 0; i < list->count; i++)
        ks_segment_unref(list->items[i]);
    ks_free(list->items);
    *list = (struct ks_segment_list){.items = NULL};
}
