/* What changes of streams have in common: the rows of streams and shards, the making of a shard's
 * log, and its end. */
#include "base/alloc.h"
#include "proto/catalog.pb-c.h"
#include "storage/engine_priv.h"
#include "storage/registry_priv.h"

#include <string.h>

/* ---- rows ---- */

struct tag_rows {
    Kstream__Catalog__TagRow rows[KS_TAGS_PER_STREAM_MAX];
    Kstream__Catalog__TagRow *list[KS_TAGS_PER_STREAM_MAX];
};

static void tags_to_row(
    const struct ks_tags *tags, struct tag_rows *room, Kstream__Catalog__StreamRow *row)
{
    for (uint32_t i = 0; tags && i < tags->count; i++) {
        kstream__catalog__tag_row__init(&room->rows[i]);
        room->rows[i].key = (char *)(uintptr_t)tags->items[i].key;
        room->rows[i].value = (char *)(uintptr_t)tags->items[i].value;
        room->list[i] = &room->rows[i];
    }
    row->n_tags = tags ? tags->count : 0;
    row->tags = room->list;
}

/* A row of its own only if there is anything to say. */
static void limits_to_row(const struct ks_stream_limits *limits, Kstream__Catalog__LimitsRow *to,
    Kstream__Catalog__StreamRow *row)
{
    static const struct ks_stream_limits none = {.mode = KS_LIMITS_OFF};
    kstream__catalog__limits_row__init(to);
    to->mode = (uint32_t)limits->mode;
    to->write_bytes_per_s = limits->write_bytes_per_s;
    to->write_records_per_s = limits->write_records_per_s;
    to->read_bytes_per_s = limits->read_bytes_per_s;
    to->read_calls_per_s = limits->read_calls_per_s;
    to->records_per_day = limits->records_per_day;
    to->client_bytes_per_s = limits->client_bytes_per_s;
    to->client_records_per_s = limits->client_records_per_s;
    row->limits = ks_stream_limits_equal(limits, &none) ? NULL : to;
}

enum ks_status ks_stream_row_put(
    const struct ks_stream *stream, struct ks_kv_txn *txn, struct ks_error *err)
{
    Kstream__Catalog__StreamRow row = KSTREAM__CATALOG__STREAM_ROW__INIT;
    row.stream_name = (char *)(uintptr_t)stream->name;
    row.stream_id = (char *)(uintptr_t)stream->id;
    row.status = (uint32_t)stream->status;
    row.created_unix_ms = stream->created_unix_ms;
    row.routing_epoch = stream->routing_epoch;
    row.retention_hours = stream->retention_hours;
    row.record_bytes_max = stream->record_bytes_max;
    row.stream_mode = (uint32_t)stream->mode;
    row.next_shard_index = stream->next_shard_index;
    row.ack = (uint32_t)stream->ack;
    row.retention_floor_unix_ms = stream->retention_floor_unix_ms;
    row.has_purge_unix_ms = stream->purge_unix_ms > 0;
    row.purge_unix_ms = stream->purge_unix_ms;
    row.stream_number = stream->number;
    row.has_warm_mibps = stream->warm_mibps > 0;
    row.warm_mibps = stream->warm_mibps;
    row.has_shard_metrics = stream->shard_metrics > 0;
    row.shard_metrics = stream->shard_metrics;
    struct tag_rows tags;
    tags_to_row(stream->tags, &tags, &row);
    Kstream__Catalog__LimitsRow limits;
    limits_to_row(&stream->limits, &limits, &row);
    struct ks_catalog_key key;
    return ks_catalog_put(
        txn, KS_TABLE_STREAMS, ks_catalog_key_u64(&key, stream->number), &row.base, err);
}

enum ks_status ks_shard_row_put(const struct ks_stream *stream, const struct ks_shard *shard,
    enum ks_shard_row_status status, struct ks_kv_txn *txn, struct ks_error *err)
{
    uint8_t first[16];
    uint8_t last[16];
    ks_u128_store_be(first, shard->hash_first);
    ks_u128_store_be(last, shard->hash_last);
    Kstream__Catalog__ShardRow row = KSTREAM__CATALOG__SHARD_ROW__INIT;
    row.stream_number = stream->number;
    row.shard_index = shard->index;
    row.log_id = ks_log_id(shard->log);
    row.first_hash_key = (ProtobufCBinaryData){.data = first, .len = sizeof first};
    row.last_hash_key = (ProtobufCBinaryData){.data = last, .len = sizeof last};
    row.created_unix_s = shard->created_s;
    row.status = (uint32_t)status;
    row.has_parent_shard_index = shard->has_parent;
    row.parent_shard_index = shard->parent_index;
    row.has_adjacent_parent_shard_index = shard->has_adjacent_parent;
    row.adjacent_parent_shard_index = shard->adjacent_parent_index;
    row.end_sequence = shard->end_sequence;
    row.closed_unix_s = shard->closed_s;
    struct ks_catalog_key key;
    return ks_catalog_put(txn, KS_TABLE_SHARDS,
        ks_catalog_key_shard(&key, stream->number, shard->index), &row.base, err);
}

enum ks_status ks_registry_high_put(
    struct ks_registry *registry, struct ks_kv_txn *txn, struct ks_error *err)
{
    uint64_t log_id_high = 0;
    uint64_t stream_number_high = 0;
    {
        KS_LOCK_SCOPE(&registry->mu);
        log_id_high = registry->log_id_high;
        stream_number_high = registry->stream_number_high;
    }
    enum ks_status st = ks_catalog_high_put(txn, "high.log", log_id_high, err);
    return st ? st : ks_catalog_high_put(txn, "high.stream", stream_number_high, err);
}

enum ks_status ks_shard_make_log(struct ks_engine *engine, const struct ks_stream *stream,
    struct ks_shard *shard, uint64_t log_id, struct ks_error *err)
{
    struct ks_log_identity identity = {.stream_number = stream->number,
        .shard_index = shard->index,
        .shard_created_s = shard->created_s,
        .hash_first = shard->hash_first,
        .hash_last = shard->hash_last};
    enum ks_status st = ks_log_create(engine, log_id, &identity, &shard->log, err);
    if (st)
        return st;
    const struct ks_log_retention retention = {
        .hours = stream->retention_hours, .floor_unix_ms = stream->retention_floor_unix_ms};
    ks_log_set_retention(shard->log, &retention);
    shard->log->routing_epoch = stream->routing_epoch;
    return KS_OK;
}

void ks_stream_apply_retention(const struct ks_stream *stream)
{
    const struct ks_log_retention retention = {
        .hours = stream->retention_hours, .floor_unix_ms = stream->retention_floor_unix_ms};
    for (uint32_t i = 0; i < stream->shard_count; i++)
        ks_log_set_retention(stream->shards[i].log, &retention);
}

/* ---- the end of a log ---- */

/* Appends accepted before the mark may still be on their way to the journal: until they are there,
 * no LSN can be named above which the log is not mentioned. */
static bool log_is_settled(struct ks_log *log)
{
    KS_LOCK_SCOPE(&log->mu);
    return atomic_load(&log->durable_sequence) + 1 >= log->next_sequence;
}

/* Every file of the log, an active one that no commit knows yet included. */
static enum ks_status retire_files(struct ks_log *log, struct ks_kv_txn *txn, struct ks_error *err)
{
    KS_LOCK_SCOPE(&log->mu);
    for (uint32_t i = 0; i < log->segments.count; i++) {
        const struct ks_segment *segment = log->segments.items[i];
        Kstream__Catalog__FileRow row = KSTREAM__CATALOG__FILE_ROW__INIT;
        row.generation = segment->generation;
        row.status = KS_FILE_RETIRED;
        struct ks_catalog_key key;
        enum ks_status st = ks_catalog_put(
            txn, KS_TABLE_FILES, ks_catalog_key_u64(&key, segment->file_id), &row.base, err);
        if (st)
            return st;
    }
    return KS_OK;
}

enum ks_status ks_shard_rows_remove(struct ks_engine *engine, uint64_t stream_number,
    const struct ks_shard *shard, struct ks_registry_tombstone *tombstone, struct ks_kv_txn *txn,
    struct ks_error *err)
{
    if (!log_is_settled(shard->log))
        return KS_WOULD_BLOCK;
    uint64_t log_id = ks_log_id(shard->log);
    Kstream__Catalog__TombstoneRow row = KSTREAM__CATALOG__TOMBSTONE_ROW__INIT;
    row.stream_number = stream_number;
    row.deleted_unix_ms = ks_clock_unix_ms(engine->options.clock);
    /* One above: the committer may have published the batch before its LSN. */
    row.lsn = engine->journal ? ks_journal_durable(engine->journal).lsn + 1 : 0;
    *tombstone = (struct ks_registry_tombstone){.log_id = log_id, .lsn = row.lsn};
    struct ks_catalog_key key;
    enum ks_status st =
        ks_catalog_put(txn, KS_TABLE_TOMBSTONES, ks_catalog_key_u64(&key, log_id), &row.base, err);
    if (!st)
        st = ks_catalog_remove(txn, KS_TABLE_FLUSHPOINTS, ks_catalog_key_u64(&key, log_id), err);
    if (!st)
        st = ks_catalog_remove(
            txn, KS_TABLE_SHARDS, ks_catalog_key_shard(&key, stream_number, shard->index), err);
    return st ? st : retire_files(shard->log, txn, err);
}

void ks_log_revive(struct ks_log *log, enum ks_log_state state)
{
    KS_LOCK_SCOPE(&log->mu);
    log->state = state;
    /* The flusher and the compactor may have let go of it meanwhile. */
    if (log->tail.bytes > 0 || log->wants_seal)
        ks_flush_note(log->engine->flush, log);
    ks_retention_note(log->engine->retention, log);
}

void ks_registry_bury_log(
    struct ks_registry *registry, const struct ks_registry_tombstone *tombstone)
{
    registry->tombstones_expected--;
    registry->tombstones[registry->tombstone_count++] = *tombstone;
    ks_u64_map_remove(&registry->logs, tombstone->log_id);
}

/* The files leave the log; each goes to the pool when its last reader has left. */
void ks_log_bury(struct ks_log *log)
{
    struct ks_segment_list segments;
    {
        KS_LOCK_SCOPE(&log->mu);
        KS_ASSERT(log->state == KS_LOG_DELETED);
        segments = log->segments;
        log->segments = (struct ks_segment_list){.items = NULL};
        for (uint32_t i = 0; i < segments.count; i++)
            ks_segment_retire(segments.items[i]);
        ks_retention_note_at(log->engine->retention, log, UINT64_MAX);
    }
    ks_segment_list_fini(&segments);
    if (log->engine->journal)
        ks_journal_cover(log->engine->journal, ks_log_id(log), UINT64_MAX);
    ks_log_wake(log); /* who waits for its records is told that none will come */
    ks_log_unref(log);
}
