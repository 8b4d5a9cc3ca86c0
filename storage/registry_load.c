/* What the registry is after a start: streams, shards, flushpoints and segments out of the catalog.
 */
#include "base/alloc.h"
#include "proto/catalog.pb-c.h"
#include "storage/engine_priv.h"
#include "storage/registry_priv.h"
#include "storage/reshard.h"

#include <stdlib.h>
#include <string.h>

struct load {
    struct ks_registry *registry;
    struct ks_kv_txn *txn;
    struct ks_stream *stream; /* whose shards are being read */
    uint32_t shards_read;
    struct ks_shard *planned; /* of a reshard that is to be gone on with */
    uint32_t planned_count;
    uint32_t planned_read;
};

static enum ks_status damaged(
    struct ks_error *err, const char *table, uint64_t id, const char *what)
{
    return ks_fail(err, KS_CORRUPT, 0, "catalog table '%s', row %llu: %s", table,
        (unsigned long long)id, what);
}

static bool text_fits(const char *from, char *to, size_t to_bytes)
{
    size_t bytes = strlen(from);
    if (bytes >= to_bytes)
        return false;
    memcpy(to, from, bytes + 1);
    return true;
}

/* ---- shards ---- */

static bool row_is_planned(const Kstream__Catalog__ShardRow *row)
{
    return row->status == KS_SHARD_ROW_PLANNED || row->status == KS_SHARD_ROW_PLANNED_SHORT;
}

static void shard_from_row(const Kstream__Catalog__ShardRow *row, struct ks_shard *shard)
{
    shard->index = row->shard_index;
    shard->is_open = row->status == KS_SHARD_ROW_OPEN || row->status == KS_SHARD_ROW_PLANNED;
    shard->has_parent = row->has_parent_shard_index;
    shard->has_adjacent_parent = row->has_adjacent_parent_shard_index;
    shard->parent_index = row->parent_shard_index;
    shard->adjacent_parent_index = row->adjacent_parent_shard_index;
    shard->created_s = row->created_unix_s;
    shard->closed_s = row->closed_unix_s;
    shard->end_sequence = row->end_sequence;
    shard->hash_first = ks_u128_load_be(row->first_hash_key.data);
    shard->hash_last = ks_u128_load_be(row->last_hash_key.data);
}

static enum ks_status load_shard_row(
    struct load *load, const Kstream__Catalog__ShardRow *row, struct ks_error *err)
{
    struct ks_registry *registry = load->registry;
    struct ks_stream *stream = load->stream;
    bool is_planned = row_is_planned(row);
    bool has_room = is_planned ? load->planned_read < load->planned_count
                               : load->shards_read < stream->shard_count;
    if (row->stream_number != stream->number || row->log_id == 0 ||
        row->log_id > registry->log_id_high || row->first_hash_key.len != 16 ||
        row->last_hash_key.len != 16 || row->status > KS_SHARD_ROW_PLANNED_SHORT || !has_room ||
        row->shard_index >= stream->next_shard_index)
        return damaged(err, "shards", row->log_id, "does not fit its stream");
    if (ks_u64_map_get(&registry->logs, row->log_id))
        return damaged(err, "shards", row->log_id, "log named twice");
    struct ks_shard *shard =
        is_planned ? &load->planned[load->planned_read++] : &stream->shards[load->shards_read++];
    shard_from_row(row, shard);
    enum ks_status st = ks_shard_make_log(registry->engine, stream, shard, row->log_id, err);
    if (st)
        return st;
    if (is_planned) {
        shard->log->routing_epoch++; /* as the reshard will make it */
        return KS_OK;
    }
    /* A closed one is OPEN too until the journal has been replayed: ks_registry_settle_ends. */
    if (!ks_u64_map_reserve(&registry->logs, registry->logs_expected + 1))
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot load the shards");
    ks_u64_map_put(&registry->logs, row->log_id, ks_log_ref(shard->log));
    return KS_OK;
}

/* The shards of one stream lie together: each(arg, position) while the key begins with its number.
 */
static enum ks_status each_shard(struct load *load, uint64_t stream_number,
    enum ks_status (*each)(
        struct load *load, const Kstream__Catalog__ShardRow *row, struct ks_error *err),
    struct ks_error *err)
{
    struct ks_catalog_key wanted;
    for (uint64_t index = 0; index <= UINT32_MAX;) {
        struct ks_view key;
        struct ks_view value;
        enum ks_status st = ks_kv_at_or_after(load->txn, KS_TABLE_SHARDS,
            ks_catalog_key_shard(&wanted, stream_number, (uint32_t)index), &key, &value, err);
        if (st == KS_NOT_FOUND)
            return KS_OK;
        if (st)
            return st;
        ProtobufCMessage *message = NULL;
        st = ks_catalog_unpack(KS_TABLE_SHARDS, key, value, &message, err);
        if (st)
            return st;
        const Kstream__Catalog__ShardRow *row = (const Kstream__Catalog__ShardRow *)message;
        bool is_ours = ks_load_u64be(key.data) == stream_number;
        index = (uint64_t)row->shard_index + 1;
        if (is_ours)
            st = each(load, row, err);
        protobuf_c_message_free_unpacked(message, NULL);
        if (st || !is_ours)
            return st;
    }
    return KS_OK;
}

static enum ks_status count_shard(
    struct load *load, const Kstream__Catalog__ShardRow *row, struct ks_error *err)
{
    (void)err;
    if (row_is_planned(row))
        load->planned_count++;
    else
        load->shards_read++;
    return KS_OK;
}

/* ---- streams ---- */

static struct ks_stream_limits limits_from_row(const Kstream__Catalog__LimitsRow *row)
{
    if (!row)
        return (struct ks_stream_limits){.mode = KS_LIMITS_OFF};
    return (struct ks_stream_limits){.mode = (enum ks_limits_mode)row->mode,
        .write_bytes_per_s = row->write_bytes_per_s,
        .write_records_per_s = row->write_records_per_s,
        .read_bytes_per_s = row->read_bytes_per_s,
        .read_calls_per_s = row->read_calls_per_s,
        .records_per_day = row->records_per_day,
        .client_bytes_per_s = row->client_bytes_per_s,
        .client_records_per_s = row->client_records_per_s};
}

static enum ks_status settings_from_row(
    const Kstream__Catalog__StreamRow *row, struct ks_stream *stream, struct ks_error *err)
{
    stream->record_bytes_max = row->record_bytes_max;
    stream->ack = row->ack == KS_ACK_MEMORY ? KS_ACK_MEMORY : KS_ACK_DURABLE;
    stream->warm_mibps = row->warm_mibps;
    stream->shard_metrics = row->shard_metrics;
    stream->limits = limits_from_row(row->limits);
    if (row->limits && row->limits->mode >= KS_LIMITS_MODES)
        return damaged(err, "streams", row->stream_number, "impossible limits");
    if (row->ack > KS_ACK_MEMORY || row->shard_metrics >> KS_SHARD_METRIC_COUNT)
        return damaged(err, "streams", row->stream_number, "impossible ack or metrics");
    KS_AUTO_FREE struct ks_tag *tags = ks_calloc(row->n_tags + 1, sizeof *tags);
    if (!tags || row->n_tags > UINT32_MAX)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot load the streams");
    for (size_t i = 0; i < row->n_tags; i++)
        tags[i] = (struct ks_tag){row->tags[i]->key, row->tags[i]->value};
    enum ks_status st = ks_tags_with(NULL, tags, (uint32_t)row->n_tags, &stream->tags, err);
    return st == KS_LIMIT ? damaged(err, "streams", row->stream_number, "too many tags") : st;
}

static enum ks_status stream_from_row(
    struct load *load, const Kstream__Catalog__StreamRow *row, struct ks_error *err)
{
    struct ks_registry *registry = load->registry;
    struct ks_stream *stream = load->stream;
    stream->number = row->stream_number;
    stream->status = row->status == KS_STREAM_UPDATING ? KS_STREAM_UPDATING
                     : row->has_purge_unix_ms          ? KS_STREAM_DELETING
                                                       : KS_STREAM_ACTIVE;
    stream->purge_unix_ms = row->has_purge_unix_ms ? row->purge_unix_ms : 0;
    stream->mode =
        row->stream_mode == KS_STREAM_ON_DEMAND ? KS_STREAM_ON_DEMAND : KS_STREAM_PROVISIONED;
    stream->created_unix_ms = row->created_unix_ms;
    stream->retention_hours = row->retention_hours;
    stream->retention_floor_unix_ms = row->retention_floor_unix_ms;
    stream->routing_epoch = row->routing_epoch;
    stream->next_shard_index = row->next_shard_index;
    if (!text_fits(row->stream_name, stream->name, sizeof stream->name) ||
        !text_fits(row->stream_id, stream->id, sizeof stream->id) ||
        row->stream_number > registry->stream_number_high)
        return damaged(err, "streams", row->stream_number, "impossible name, id or number");
    load->shards_read = 0;
    enum ks_status st = settings_from_row(row, stream, err);
    if (!st)
        st = each_shard(load, stream->number, load_shard_row, err);
    if (st)
        return st;
    if (!ks_stream_route_init(stream))
        return damaged(err, "streams", stream->number, "its open shards do not tile the hash keys");
    if (ks_u64_map_get(&registry->by_id, ks_registry_id_hash(stream->id)))
        return damaged(err, "streams", stream->number, "its id is there twice");
    if (!ks_registry_insert(registry, stream))
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot load the streams");
    ks_stream_ref(stream); /* the tables have their own */
    registry->open_shards += stream->open_count;
    registry->kept_shards += stream->shard_count;
    if ((stream->status == KS_STREAM_UPDATING) != (load->planned_count > 0))
        return damaged(err, "streams", stream->number, "its status and its shards disagree");
    if (load->planned_count == 0)
        return KS_OK;
    return ks_reshards_adopt(
        registry->engine->reshards, stream, KS_TAKE(load->planned), load->planned_count, err);
}

static void load_forget_planned(struct load *load)
{
    for (uint32_t i = 0; load->planned && i < load->planned_read; i++)
        ks_log_unref(load->planned[i].log);
    ks_free(load->planned);
    load->planned = NULL;
    load->planned_count = 0;
    load->planned_read = 0;
}

static enum ks_status load_stream_shards(
    struct load *load, const Kstream__Catalog__StreamRow *row, struct ks_error *err)
{
    load->stream = ks_stream_new(load->shards_read);
    if (load->planned_count > 0)
        load->planned = ks_calloc(load->planned_count, sizeof *load->planned);
    if (!load->stream || (load->planned_count > 0 && !load->planned))
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot load the streams");
    return stream_from_row(load, row, err);
}

static enum ks_status load_stream(
    void *arg, struct ks_view key, struct ks_view value, struct ks_error *err)
{
    struct load *load = arg;
    ProtobufCMessage *message = NULL;
    enum ks_status st = ks_catalog_unpack(KS_TABLE_STREAMS, key, value, &message, err);
    if (st)
        return st;
    const Kstream__Catalog__StreamRow *row = (const Kstream__Catalog__StreamRow *)message;
    load->shards_read = 0;
    st = row->stream_number == ks_load_u64be(key.data)
             ? each_shard(load, row->stream_number, count_shard, err)
             : damaged(err, "streams", row->stream_number, "key and value disagree");
    if (!st)
        st = load_stream_shards(load, row, err);
    if (load->stream)
        ks_stream_unref(load->stream);
    load->stream = NULL;
    load_forget_planned(load);
    protobuf_c_message_free_unpacked(message, NULL);
    return st;
}

/* ---- flushpoints, files, tombstones ---- */

static enum ks_status log_set_flushpoint(
    struct ks_log *log, const Kstream__Catalog__FlushpointRow *row, struct ks_error *err)
{
    /* With the close batch in, last_sequence counts it: the last record is one below. */
    uint64_t last_record = row->is_closed ? row->last_sequence - 1 : row->last_sequence;
    log->flushed_sequence = row->last_sequence;
    log->flushed_arrival_unix_ms = row->last_arrival_unix_ms;
    log->next_sequence = last_record + 1;
    log->last_arrival_unix_ms = row->last_arrival_unix_ms;
    atomic_store(&log->durable_sequence, last_record);
    atomic_store(&log->durable_arrival_unix_ms, row->last_arrival_unix_ms);
    if (row->is_closed) {
        atomic_store(&log->durable_end, true);
        log->state = KS_LOG_CLOSING;
    }
    if (!row->has_producers)
        return KS_OK;
    enum ks_status st =
        ks_producers_decode(ks_view_of(row->producers.data, row->producers.len), &log->producers);
    if (st)
        return ks_fail(err, st, 0, "catalog table 'flushpoints', row %llu: bad producer table",
            (unsigned long long)log->log_id);
    return KS_OK;
}

static enum ks_status load_flushpoint(
    void *arg, struct ks_view key, struct ks_view value, struct ks_error *err)
{
    struct load *load = arg;
    ProtobufCMessage *message = NULL;
    enum ks_status st = ks_catalog_unpack(KS_TABLE_FLUSHPOINTS, key, value, &message, err);
    if (st)
        return st;
    uint64_t log_id = ks_load_u64be(key.data);
    const Kstream__Catalog__FlushpointRow *row = (const Kstream__Catalog__FlushpointRow *)message;
    struct ks_log *log = ks_u64_map_get(&load->registry->logs, log_id);
    if (!log || row->last_sequence == 0)
        st = damaged(err, "flushpoints", log_id, "of an unknown log, or of nothing");
    else
        st = log_set_flushpoint(log, row, err);
    protobuf_c_message_free_unpacked(message, NULL);
    return st;
}

static enum ks_status load_segment(
    struct load *load, uint64_t file_id, const Kstream__Catalog__FileRow *row, struct ks_error *err)
{
    struct ks_log *log = ks_u64_map_get(&load->registry->logs, row->log_id);
    if (!log || row->first_sequence == 0 || row->last_sequence < row->first_sequence ||
        row->readable_bytes < KS_SEGMENT_HEADER_BYTES)
        return damaged(err, "files", file_id, "of an unknown log, or empty");
    struct ks_segment *segment = ks_segment_create(
        load->registry->engine, file_id, row->generation, row->log_id, row->first_sequence);
    if (!segment || !ks_segment_list_reserve(&log->segments)) {
        if (segment)
            ks_segment_unref(segment);
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot load the segments");
    }
    segment->state = row->status == KS_FILE_ACTIVE ? KS_SEGMENT_ACTIVE : KS_SEGMENT_SEALED;
    segment->last_sequence = row->last_sequence;
    segment->first_arrival_unix_ms = row->first_arrival_unix_ms;
    segment->last_arrival_unix_ms = row->last_arrival_unix_ms;
    segment->readable_bytes = row->readable_bytes;
    segment->file_bytes = row->file_bytes;
    segment->batch_count = row->batch_count;
    ks_segment_list_push(&log->segments, segment);
    return KS_OK;
}

static enum ks_status load_file(
    void *arg, struct ks_view key, struct ks_view value, struct ks_error *err)
{
    struct load *load = arg;
    ProtobufCMessage *message = NULL;
    enum ks_status st = ks_catalog_unpack(KS_TABLE_FILES, key, value, &message, err);
    if (st)
        return st;
    const Kstream__Catalog__FileRow *row = (const Kstream__Catalog__FileRow *)message;
    bool is_segment = row->status == KS_FILE_ACTIVE || row->status == KS_FILE_SEALED;
    if (is_segment && !ks_files_row_is_empty(row))
        st = load_segment(load, ks_load_u64be(key.data), row, err);
    protobuf_c_message_free_unpacked(message, NULL);
    return st;
}

static enum ks_status load_tombstone(
    void *arg, struct ks_view key, struct ks_view value, struct ks_error *err)
{
    struct load *load = arg;
    struct ks_registry *registry = load->registry;
    ProtobufCMessage *message = NULL;
    enum ks_status st = ks_catalog_unpack(KS_TABLE_TOMBSTONES, key, value, &message, err);
    if (st)
        return st;
    if (ks_registry_reserve_tombstones(registry, 1))
        registry->tombstones[registry->tombstone_count++] =
            (struct ks_registry_tombstone){.log_id = ks_load_u64be(key.data),
                .lsn = ((const Kstream__Catalog__TombstoneRow *)message)->lsn};
    else
        st = ks_fail(err, KS_NO_MEMORY, 0, "cannot load the tombstones");
    protobuf_c_message_free_unpacked(message, NULL);
    return st;
}

/* ---- what only all rows together can say ---- */

static int by_first_sequence(const void *a, const void *b)
{
    const struct ks_segment *left = *(struct ks_segment *const *)a;
    const struct ks_segment *right = *(struct ks_segment *const *)b;
    return left->first_sequence < right->first_sequence
               ? -1
               : left->first_sequence > right->first_sequence;
}

/* A log's segments follow each other, only the last may be active, and they end at the flushpoint.
 */
static enum ks_status check_log(struct ks_log *log, struct ks_error *err)
{
    struct ks_segment_list *list = &log->segments;
    if (list->count == 0) {
        /* Retention may have taken all segments of a log; the flushpoint stays. */
        return KS_OK;
    }
    qsort(list->items, list->count, sizeof(struct ks_segment *), by_first_sequence);
    for (uint32_t i = 0; i < list->count; i++) {
        const struct ks_segment *segment = list->items[i];
        bool is_last = i + 1 == list->count;
        uint64_t end = is_last ? log->flushed_sequence : list->items[i + 1]->first_sequence - 1;
        if (segment->last_sequence != end || (!is_last && segment->state != KS_SEGMENT_SEALED))
            return damaged(
                err, "files", segment->file_id, "does not end where the next one begins");
    }
    return KS_OK;
}

static enum ks_status load_tables(struct load *load, struct ks_error *err)
{
    static const struct {
        enum ks_catalog_table table;
        enum ks_status (*each)(
            void *arg, struct ks_view key, struct ks_view value, struct ks_error *err);
    } tables[] = {
        {KS_TABLE_STREAMS, load_stream}, /* with its shards */
        {KS_TABLE_FLUSHPOINTS, load_flushpoint},
        {KS_TABLE_FILES, load_file},
        {KS_TABLE_TOMBSTONES, load_tombstone},
    };
    for (size_t i = 0; i < KS_COUNT_OF(tables); i++) {
        enum ks_status st = ks_kv_scan(load->txn, tables[i].table, tables[i].each, load, err);
        if (st)
            return st;
    }
    const struct ks_stream *twice = ks_registry_sort(load->registry);
    if (twice)
        return damaged(err, "streams", twice->number, "its name is there twice");
    KS_U64_MAP_FOR_EACH(slot, &load->registry->logs)
    {
        enum ks_status st = check_log(slot->value, err);
        if (st)
            return st;
    }
    return KS_OK;
}

enum ks_status ks_registry_load(struct ks_registry *registry, struct ks_error *err)
{
    KS_CLEANUP(ks_kv_abortp) struct ks_kv_txn *txn = NULL;
    enum ks_status st = ks_kv_begin(registry->engine->options.catalog, false, &txn, err);
    if (!st)
        st = ks_catalog_high_get(txn, "high.log", &registry->log_id_high, err);
    if (!st)
        st = ks_catalog_high_get(txn, "high.stream", &registry->stream_number_high, err);
    if (!st)
        st = ks_account_load(registry, txn, err);
    if (st)
        return st;
    registry->is_loading = true;
    struct load load = {.registry = registry, .txn = txn};
    return load_tables(&load, err);
}

enum ks_status ks_registry_settle_ends(struct ks_registry *registry, struct ks_error *err)
{
    for (size_t i = 0; i < registry->count; i++) {
        const struct ks_stream *stream = registry->by_name[i]->stream;
        for (uint32_t k = 0; k < stream->shard_count; k++) {
            const struct ks_shard *shard = &stream->shards[k];
            if (shard->is_open)
                continue;
            enum ks_status st = ks_log_settle_end(shard->log, shard->end_sequence, err);
            if (st)
                return st;
        }
    }
    return KS_OK;
}
