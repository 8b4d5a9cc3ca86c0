/*
 * Which streams and shards there are by now. A shard says in each of its segments where it belongs;
 * what the shards of a reshard replaced is closed; and hash keys that no shard speaks for, because
 * the one that has them was never written to, get a new one.
 */
#include "base/alloc.h"
#include "proto/limits.h"
#include "storage/adopt_priv.h"
#include "storage/registry_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Whatever clients have learnt of the routing since the copy was made, it is not this. */
#define EPOCHS_SKIPPED (1ull << 20)

static uint64_t now_s(const struct adopt *adopt)
{
    return ks_clock_unix_ms(adopt->engine->options.clock) / 1000;
}

/* ---- streams ---- */

/* Nobody knows how long its records were to stay, so nothing of it expires until somebody says. */
static struct adopt_stream *stream_make(
    struct adopt *adopt, const char *name, const char *id, uint64_t created_s)
{
    Kstream__Catalog__StreamRow row = KSTREAM__CATALOG__STREAM_ROW__INIT;
    row.stream_name = (char *)(uintptr_t)name;
    row.stream_id = (char *)(uintptr_t)id;
    row.status = KS_STREAM_ACTIVE;
    row.created_unix_ms = created_s * 1000;
    row.retention_hours = KS_RETENTION_HOURS_CAP;
    row.record_bytes_max = KS_RECORD_BYTES_MAX;
    row.stream_mode = KS_STREAM_PROVISIONED;
    row.stream_number = adopt->stream_number_high + 1;
    /* Packed and unpacked, so that it is freed as the others are. */
    size_t bytes = kstream__catalog__stream_row__get_packed_size(&row);
    KS_AUTO_FREE uint8_t *packed = ks_malloc(bytes);
    if (!packed)
        return NULL;
    kstream__catalog__stream_row__pack(&row, packed);
    Kstream__Catalog__StreamRow *own = kstream__catalog__stream_row__unpack(NULL, bytes, packed);
    if (!own)
        return NULL;
    struct adopt_stream *stream = adopt_stream_add(adopt, own);
    if (!stream) {
        protobuf_c_message_free_unpacked(&own->base, NULL);
        return NULL;
    }
    stream->is_new = true;
    adopt->counts.streams++;
    return stream;
}

/* A log of which only the journal knows: its records get a stream of their own. */
static struct adopt_stream *stream_for_stray(struct adopt *adopt, struct adopt_log *log)
{
    char name[64];
    char id[25];
    snprintf(name, sizeof name, "recovered-%llu", (unsigned long long)log->log_id);
    snprintf(id, sizeof id, "recovered%011llu-%03u", (unsigned long long)log->log_id % 99999999999,
        (unsigned)(adopt->seen_run % 1000));
    log->hash_first = 0;
    log->hash_last = KS_U128_MAX;
    log->created_s = now_s(adopt);
    return stream_make(adopt, name, id, log->created_s);
}

static void stream_drop(struct adopt *adopt, struct adopt_stream *stream)
{
    stream->is_gone = true;
    for (uint32_t i = 0; i < stream->log_count; i++) {
        struct adopt_log *log = stream->logs[i];
        for (uint32_t k = 0; k < log->segment_count; k++) {
            struct adopt_file *file = ks_u64_map_get(&adopt->files, log->segments[k].file_id);
            file->is_kept = false;
        }
    }
    ks_emit(adopt->engine->options.events, KS_LEVEL_WARNING, "catalog.stream_replaced",
        "stream=\"%.128s\" id=%.24s text=\"another one has its name since: what is left of it is "
        "in "
        "quarantine\"",
        stream->row->stream_name, stream->row->stream_id);
}

static bool map_put(struct ks_u64_map *map, const char *text, struct adopt_stream *stream)
{
    uint64_t hash = ks_registry_id_hash(text);
    if (ks_u64_map_get(map, hash))
        return true;
    if (!ks_u64_map_reserve(map, 1))
        return false;
    ks_u64_map_put(map, hash, stream);
    return true;
}

static enum ks_status place_log(
    struct adopt *adopt, struct ks_u64_map *by_id, struct adopt_log *log, struct ks_error *err)
{
    struct adopt_stream *stream = NULL;
    if (log->stream_id[0] == '\0')
        stream = stream_for_stray(adopt, log);
    else
        stream = ks_u64_map_get(by_id, ks_registry_id_hash(log->stream_id));
    if (!stream)
        stream = stream_make(adopt, log->stream_name, log->stream_id, log->created_s);
    if (!stream || !map_put(by_id, stream->row->stream_id, stream) ||
        !adopt_stream_take_log(stream, log))
        return adopt_no_memory(err);
    stream->row->created_unix_ms = ks_min_u64(stream->row->created_unix_ms, log->created_s * 1000);
    stream->is_changed = true;
    return KS_OK;
}

static enum ks_status place_logs(struct adopt *adopt, struct ks_error *err)
{
    struct ks_u64_map by_id = {.slots = NULL};
    enum ks_status st = KS_OK;
    for (uint32_t i = 0; !st && i < adopt->stream_count; i++)
        if (!map_put(&by_id, adopt->streams[i]->row->stream_id, adopt->streams[i]))
            st = adopt_no_memory(err);
    KS_U64_MAP_FOR_EACH(slot, &adopt->logs)
    {
        struct adopt_log *log = slot->value;
        if (!st && !log->stream)
            st = place_log(adopt, &by_id, log, err);
    }
    ks_u64_map_fini(&by_id);
    return st;
}

/* Of two streams with one name the younger one is there. */
static enum ks_status settle_names(struct adopt *adopt, struct ks_error *err)
{
    struct ks_u64_map by_name = {.slots = NULL};
    enum ks_status st = KS_OK;
    for (uint32_t i = 0; !st && i < adopt->stream_count; i++) {
        struct adopt_stream *stream = adopt->streams[i];
        struct adopt_stream *other =
            ks_u64_map_remove(&by_name, ks_registry_id_hash(stream->row->stream_name));
        if (other && stream->row->created_unix_ms < other->row->created_unix_ms) {
            struct adopt_stream *older = stream;
            stream = other;
            other = older;
        }
        if (other)
            stream_drop(adopt, other);
        if (!map_put(&by_name, stream->row->stream_name, stream))
            st = adopt_no_memory(err);
    }
    ks_u64_map_fini(&by_name);
    return st;
}

/* ---- shards ---- */

static int by_index(const void *a, const void *b)
{
    const struct adopt_log *left = *(struct adopt_log *const *)a;
    const struct adopt_log *right = *(struct adopt_log *const *)b;
    if (left->shard_index != right->shard_index)
        return left->shard_index < right->shard_index ? -1 : 1;
    return left->log_id < right->log_id ? -1 : left->log_id > right->log_id;
}

static int by_hash(const void *a, const void *b)
{
    const struct adopt_log *left = *(struct adopt_log *const *)a;
    const struct adopt_log *right = *(struct adopt_log *const *)b;
    return left->hash_first < right->hash_first ? -1 : left->hash_first > right->hash_first;
}

static bool overlaps(const struct adopt_log *a, const struct adopt_log *b)
{
    return a->hash_first <= b->hash_last && b->hash_first <= a->hash_last;
}

/* The first one behind i that has some of its keys: a reshard has replaced it. */
static const struct adopt_log *find_heir(const struct adopt_stream *stream, uint32_t i)
{
    for (uint32_t k = i + 1; k < stream->log_count; k++)
        if (overlaps(stream->logs[i], stream->logs[k]))
            return stream->logs[k];
    return NULL;
}

/* Those before i with keys of it which nothing between them has. */
static void find_parents(const struct adopt_stream *stream, uint32_t i)
{
    struct adopt_log *log = stream->logs[i];
    for (uint32_t k = i; k-- > 0 && !log->has_adjacent_parent;) {
        const struct adopt_log *parent = stream->logs[k];
        bool is_between = false;
        for (uint32_t m = k + 1; m < i; m++)
            is_between =
                is_between || (overlaps(stream->logs[m], parent) && overlaps(stream->logs[m], log));
        if (!overlaps(parent, log) || is_between)
            continue;
        if (log->has_parent) {
            log->has_adjacent_parent = true;
            log->adjacent_parent_index = parent->shard_index;
        } else {
            log->has_parent = true;
            log->parent_index = parent->shard_index;
        }
    }
}

/* No two have one index, and the next one is above all. */
static void settle_indexes(struct adopt_stream *stream)
{
    qsort(stream->logs, stream->log_count, sizeof *stream->logs, by_index);
    uint32_t next = stream->row->next_shard_index;
    for (uint32_t i = 0; i < stream->log_count; i++)
        next = KS_MAX(next, stream->logs[i]->shard_index + 1);
    for (uint32_t i = 1; i < stream->log_count; i++)
        if (stream->logs[i]->shard_index == stream->logs[i - 1]->shard_index)
            stream->logs[i]->shard_index = next++;
    qsort(stream->logs, stream->log_count, sizeof *stream->logs, by_index);
    stream->row->next_shard_index = next;
}

static void settle_shard(struct adopt *adopt, const struct adopt_stream *stream, uint32_t i)
{
    struct adopt_log *log = stream->logs[i];
    const struct adopt_log *heir = find_heir(stream, i);
    bool may_be_open = log->status == KS_SHARD_ROW_OPEN || log->status == KS_SHARD_ROW_PLANNED;
    if (log->is_new)
        find_parents(stream, i);
    if (may_be_open && !heir && !log->is_closed)
        log->status = KS_SHARD_ROW_OPEN;
    else if (log->status != KS_SHARD_ROW_CLOSED)
        adopt_log_close(log, heir ? heir->created_s : now_s(adopt));
}

static enum ks_status add_shard(struct adopt *adopt, struct adopt_stream *stream, ks_u128 first,
    ks_u128 last, struct ks_error *err)
{
    struct adopt_log *log = NULL;
    enum ks_status st = adopt_log_for(adopt, adopt->log_id_next, &log, err);
    if (st)
        return st;
    log->shard_index = stream->row->next_shard_index++;
    log->hash_first = first;
    log->hash_last = last;
    log->created_s = now_s(adopt);
    if (!adopt_stream_take_log(stream, log))
        return adopt_no_memory(err);
    find_parents(stream, stream->log_count - 1);
    return KS_OK;
}

/* Hash keys without an open shard get one. */
static enum ks_status fill_holes(
    struct adopt *adopt, struct adopt_stream *stream, struct ks_error *err)
{
    uint32_t count = 0;
    KS_AUTO_FREE struct adopt_log **open = ks_calloc(stream->log_count + 1u, sizeof *open);
    if (!open)
        return adopt_no_memory(err);
    for (uint32_t i = 0; i < stream->log_count; i++)
        if (stream->logs[i]->status == KS_SHARD_ROW_OPEN)
            open[count++] = stream->logs[i];
    qsort(open, count, sizeof *open, by_hash);
    ks_u128 at = 0;
    for (uint32_t i = 0; i < count; i++) {
        enum ks_status st = open[i]->hash_first > at
                                ? add_shard(adopt, stream, at, open[i]->hash_first - 1, err)
                                : KS_OK;
        if (st)
            return st;
        if (open[i]->hash_last == KS_U128_MAX)
            return KS_OK;
        at = open[i]->hash_last + 1;
    }
    return add_shard(adopt, stream, at, KS_U128_MAX, err);
}

static bool is_resharded(const struct adopt_stream *stream)
{
    bool is_changed = stream->is_changed || stream->row->status == KS_STREAM_UPDATING;
    for (uint32_t i = 0; i < stream->log_count; i++)
        is_changed = is_changed ||
                     (stream->logs[i]->status == KS_SHARD_ROW_OPEN && stream->logs[i]->is_closed);
    return is_changed;
}

static enum ks_status settle_stream(
    struct adopt *adopt, struct adopt_stream *stream, struct ks_error *err)
{
    uint32_t known = 0;
    for (uint32_t i = 0; i < stream->log_count; i++)
        known += !stream->logs[i]->is_new;
    settle_indexes(stream);
    for (uint32_t i = 0; i < stream->log_count; i++)
        settle_shard(adopt, stream, i);
    enum ks_status st = fill_holes(adopt, stream, err);
    stream->is_changed = true;
    stream->row->status = KS_STREAM_ACTIVE;
    stream->row->routing_epoch += EPOCHS_SKIPPED;
    adopt->counts.shards += stream->log_count - known;
    if (!st && stream->is_new)
        ks_emit(adopt->engine->options.events, KS_LEVEL_WARNING, "catalog.stream_adopted",
            "stream=\"%.128s\" shards=%u retention_h=%u text=\"its settings are lost: set its "
            "retention period\"",
            stream->row->stream_name, stream->log_count, stream->row->retention_hours);
    else if (!st)
        ks_emit(adopt->engine->options.events, KS_LEVEL_WARNING, "catalog.stream_resharded",
            "stream=\"%.128s\" shards=%u new_shards=%u", stream->row->stream_name,
            stream->log_count, stream->log_count - known);
    return st;
}

enum ks_status adopt_streams_settle(struct adopt *adopt, struct ks_error *err)
{
    enum ks_status st = place_logs(adopt, err);
    if (!st)
        st = settle_names(adopt, err);
    for (uint32_t i = 0; !st && i < adopt->stream_count; i++) {
        struct adopt_stream *stream = adopt->streams[i];
        if (!stream->is_gone && is_resharded(stream))
            st = settle_stream(adopt, stream, err);
    }
    KS_U64_MAP_FOR_EACH(slot, &adopt->files)
    {
        const struct adopt_file *file = slot->value;
        adopt->counts.files_left += file->is_present && !file->is_kept && !file->is_fresh &&
                                    (file->is_known || file->is_other || !file->row);
    }
    return st;
}
