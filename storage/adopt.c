/*
 * An older catalog becomes today's (adopt_priv.h). Happy path: the rows of the copy are read; the
 * journal tells which run was the newest and which logs it has batches of; every segment is asked
 * what it is; each log gets the segments that follow each other and a flushpoint at their end; each
 * stream gets its shards; all of it is one commit. Only then the ordinary start begins: it replays
 * the journal above those flushpoints.
 *
 * Ways to fail: until the commit nothing is changed, so whatever ends this can be tried again. What
 * does not fit (two segments with the same records, one that follows nothing) is left without a
 * row: such a file goes to quarantine, it is not used again.
 */
#include "base/alloc.h"
#include "proto/limits.h"
#include "storage/adopt_priv.h"
#include "storage/journal_chain.h"
#include "storage/registry_priv.h"

#include <string.h>

#define ULL(value) ((unsigned long long)(value))

enum ks_status adopt_no_memory(struct ks_error *err)
{
    return ks_fail(err, KS_NO_MEMORY, 0, "no memory to bring the catalog up to date");
}

/* ---- what is known of logs and streams ---- */

static struct adopt_log *log_add(struct adopt *adopt, uint64_t log_id)
{
    struct adopt_log *log = ks_zalloc(sizeof *log);
    if (!log || !ks_u64_map_reserve(&adopt->logs, 1)) {
        ks_free(log);
        return NULL;
    }
    log->log_id = log_id;
    log->status = KS_SHARD_ROW_OPEN;
    kstream__catalog__flushpoint_row__init(&log->flushed);
    ks_buf_init(&log->producers, SIZE_MAX);
    ks_u64_map_put(&adopt->logs, log_id, log);
    adopt->log_id_next = ks_max_u64(adopt->log_id_next, log_id + 1);
    return log;
}

enum ks_status adopt_log_for(
    struct adopt *adopt, uint64_t log_id, struct adopt_log **out_log, struct ks_error *err)
{
    *out_log = ks_u64_map_get(&adopt->logs, log_id);
    if (*out_log || log_id <= adopt->log_id_high || ks_u64_map_get(&adopt->deleted, log_id))
        return KS_OK;
    *out_log = log_add(adopt, log_id);
    if (!*out_log)
        return adopt_no_memory(err);
    (*out_log)->is_new = true;
    return KS_OK;
}

bool adopt_stream_take_log(struct adopt_stream *stream, struct adopt_log *log)
{
    if (stream->log_count == stream->log_capacity) {
        uint32_t capacity = stream->log_capacity ? 2 * stream->log_capacity : 8;
        struct adopt_log **grown = ks_realloc(stream->logs, capacity * sizeof *grown);
        if (!grown)
            return false;
        stream->logs = grown;
        stream->log_capacity = capacity;
    }
    stream->logs[stream->log_count++] = log;
    log->stream = stream;
    return true;
}

struct adopt_stream *adopt_stream_add(struct adopt *adopt, Kstream__Catalog__StreamRow *row)
{
    if (adopt->stream_count == adopt->stream_capacity) {
        uint32_t capacity = adopt->stream_capacity ? 2 * adopt->stream_capacity : 64;
        struct adopt_stream **grown = ks_realloc(adopt->streams, capacity * sizeof *grown);
        if (!grown)
            return NULL;
        adopt->streams = grown;
        adopt->stream_capacity = capacity;
    }
    struct adopt_stream *stream = ks_zalloc(sizeof *stream);
    if (!stream)
        return NULL;
    stream->row = row;
    adopt->streams[adopt->stream_count++] = stream;
    adopt->stream_number_high = ks_max_u64(adopt->stream_number_high, row->stream_number);
    return stream;
}

/* ---- the copy ---- */

/* Takes the message, or frees it. */
typedef enum ks_status (*take_fn)(
    struct adopt *adopt, struct ks_view key, ProtobufCMessage *message, struct ks_error *err);

struct load {
    struct adopt *adopt;
    enum ks_catalog_table table;
    take_fn take;
};

static enum ks_status load_row(
    void *arg, struct ks_view key, struct ks_view value, struct ks_error *err)
{
    struct load *load = arg;
    ProtobufCMessage *message = NULL;
    enum ks_status st = ks_catalog_unpack(load->table, key, value, &message, err);
    return st ? st : load->take(load->adopt, key, message, err);
}

static void note_time(struct adopt *adopt, uint64_t unix_ms)
{
    adopt->newest_unix_ms = ks_max_u64(adopt->newest_unix_ms, unix_ms);
}

static enum ks_status take_stream(
    struct adopt *adopt, struct ks_view key, ProtobufCMessage *message, struct ks_error *err)
{
    (void)key;
    note_time(adopt, ((Kstream__Catalog__StreamRow *)message)->created_unix_ms);
    if (adopt_stream_add(adopt, (Kstream__Catalog__StreamRow *)message))
        return KS_OK;
    protobuf_c_message_free_unpacked(message, NULL);
    return adopt_no_memory(err);
}

static struct adopt_stream *stream_by_number(const struct adopt *adopt, uint64_t number)
{
    for (uint32_t low = 0, high = adopt->stream_count; low < high;) { /* loaded in this order */
        uint32_t middle = low + (high - low) / 2;
        uint64_t at = adopt->streams[middle]->row->stream_number;
        if (at == number)
            return adopt->streams[middle];
        if (at < number)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static enum ks_status log_from_row(
    struct adopt *adopt, const Kstream__Catalog__ShardRow *row, struct ks_error *err)
{
    struct adopt_stream *stream = stream_by_number(adopt, row->stream_number);
    if (!stream || row->first_hash_key.len != 16 || row->last_hash_key.len != 16 ||
        ks_u64_map_get(&adopt->logs, row->log_id))
        return ks_fail(
            err, KS_CORRUPT, 0, "catalog table 'shards', log %llu: does not fit", ULL(row->log_id));
    struct adopt_log *log = log_add(adopt, row->log_id);
    if (!log || !adopt_stream_take_log(stream, log))
        return adopt_no_memory(err);
    log->shard_index = row->shard_index;
    log->hash_first = ks_u128_load_be(row->first_hash_key.data);
    log->hash_last = ks_u128_load_be(row->last_hash_key.data);
    log->created_s = row->created_unix_s;
    log->closed_s = row->closed_unix_s;
    log->end_sequence = row->end_sequence;
    log->status = row->status;
    log->has_parent = row->has_parent_shard_index;
    log->has_adjacent_parent = row->has_adjacent_parent_shard_index;
    log->parent_index = row->parent_shard_index;
    log->adjacent_parent_index = row->adjacent_parent_shard_index;
    return KS_OK;
}

static enum ks_status take_shard(
    struct adopt *adopt, struct ks_view key, ProtobufCMessage *message, struct ks_error *err)
{
    (void)key;
    enum ks_status st = log_from_row(adopt, (Kstream__Catalog__ShardRow *)message, err);
    note_time(adopt, ((Kstream__Catalog__ShardRow *)message)->created_unix_s * 1000);
    protobuf_c_message_free_unpacked(message, NULL);
    return st;
}

static enum ks_status take_flushpoint(
    struct adopt *adopt, struct ks_view key, ProtobufCMessage *message, struct ks_error *err)
{
    struct adopt_log *log = ks_u64_map_get(&adopt->logs, ks_load_u64be(key.data));
    if (!log) {
        protobuf_c_message_free_unpacked(message, NULL);
        return ks_fail(err, KS_CORRUPT, 0, "catalog table 'flushpoints', log %llu: is of no shard",
            ULL(ks_load_u64be(key.data)));
    }
    log->flushpoint = (Kstream__Catalog__FlushpointRow *)message;
    log->flushed = *log->flushpoint;
    log->flushed.has_producers = false;
    note_time(adopt, log->flushpoint->last_arrival_unix_ms);
    log->is_closed = log->flushpoint->is_closed;
    return KS_OK;
}

static enum ks_status take_file(
    struct adopt *adopt, struct ks_view key, ProtobufCMessage *message, struct ks_error *err)
{
    struct adopt_file *file = ks_zalloc(sizeof *file);
    if (!file || !ks_u64_map_reserve(&adopt->files, 1)) {
        ks_free(file);
        protobuf_c_message_free_unpacked(message, NULL);
        return adopt_no_memory(err);
    }
    file->file_id = ks_load_u64be(key.data);
    file->row = (Kstream__Catalog__FileRow *)message;
    ks_u64_map_put(&adopt->files, file->file_id, file);
    return KS_OK;
}

static enum ks_status take_tombstone(
    struct adopt *adopt, struct ks_view key, ProtobufCMessage *message, struct ks_error *err)
{
    protobuf_c_message_free_unpacked(message, NULL);
    if (!ks_u64_map_reserve(&adopt->deleted, 1))
        return adopt_no_memory(err);
    ks_u64_map_put(&adopt->deleted, ks_load_u64be(key.data), adopt);
    return KS_OK;
}

static enum ks_status load_copy(struct adopt *adopt, struct ks_error *err)
{
    static const struct {
        enum ks_catalog_table table;
        take_fn take;
    } tables[] = {
        {KS_TABLE_STREAMS, take_stream},
        {KS_TABLE_SHARDS, take_shard},
        {KS_TABLE_FLUSHPOINTS, take_flushpoint},
        {KS_TABLE_FILES, take_file},
        {KS_TABLE_TOMBSTONES, take_tombstone},
    };
    enum ks_status st = ks_catalog_high_get(adopt->txn, "high.log", &adopt->log_id_high, err);
    if (!st)
        st = ks_catalog_high_get(adopt->txn, "high.stream", &adopt->stream_number_high, err);
    if (!st)
        st = ks_catalog_high_get(adopt->txn, "high.file", &adopt->file_id_high, err);
    adopt->log_id_next = adopt->log_id_high + 1;
    for (size_t i = 0; !st && i < KS_COUNT_OF(tables); i++) {
        struct load load = {.adopt = adopt, .table = tables[i].table, .take = tables[i].take};
        st = ks_kv_scan(adopt->txn, tables[i].table, load_row, &load, err);
    }
    return st;
}

/* ---- the journal ---- */

static enum ks_status journal_open(void *arg, struct ks_chain_file *file, struct ks_error *err)
{
    (void)arg;
    (void)file;
    (void)err;
    return KS_OK;
}

static enum ks_status journal_entry(
    struct adopt *adopt, const struct ks_journal_entry *entry, struct ks_error *err)
{
    struct adopt_log *log = NULL;
    enum ks_status st = adopt_log_for(adopt, entry->log_id, &log, err);
    if (st || !log)
        return st;
    log->is_in_journal = true;
    log->is_closed = log->is_closed || entry->kind == KS_BATCH_CLOSE;
    return KS_OK;
}

static enum ks_status journal_block(void *arg, const struct ks_chain_place *place,
    const struct ks_scan_block *block, bool is_whole, struct ks_error *err)
{
    (void)is_whole;
    enum ks_status st = KS_OK;
    for (uint32_t i = 0; !st && !place->may_be_stale && i < block->header.entry_count; i++) {
        struct ks_journal_entry entry;
        ks_journal_entry_at(block->head, i, &entry);
        st = journal_entry(arg, &entry, err);
    }
    return st;
}

/* What is damaged is told by the start that follows. */
static enum ks_status journal_damage(
    void *arg, const struct ks_chain_damage *damage, struct ks_error *err)
{
    (void)arg;
    (void)damage;
    (void)err;
    return KS_OK;
}

static enum ks_status journal_missing(
    void *arg, uint64_t first_lsn, uint64_t lost_ordinals, struct ks_error *err)
{
    (void)arg;
    (void)first_lsn;
    (void)lost_ordinals;
    (void)err;
    return KS_OK;
}

static void journal_place(void *arg, const struct ks_chain_place *place)
{
    (void)arg;
    (void)place;
}

static void journal_stranger(void *arg, const char *name)
{
    (void)arg;
    (void)name;
}

static void journal_progress(void *arg, uint64_t done, uint64_t all)
{
    (void)arg;
    (void)done;
    (void)all;
}

static enum ks_status look_at_journal(struct adopt *adopt, const Kstream__Catalog__JournalRow *row,
    bool only_headers, struct ks_error *err)
{
    const struct ks_chain_visitor visitor = {.arg = adopt,
        .open = journal_open,
        .block = journal_block,
        .damage = journal_damage,
        .missing = journal_missing,
        .torn = journal_place,
        .beyond = journal_place,
        .stranger = journal_stranger,
        .progress = journal_progress};
    struct ks_chain_options options = {.io = adopt->io,
        .named_run_id = row->named_run_id,
        .named_lsn = row->named_lsn,
        .named_ordinals = row->named_ordinals,
        .only_headers = only_headers};
    memcpy(options.uuid, row->uuid.data, sizeof options.uuid);
    struct ks_chain chain;
    ks_chain_init(&chain, &options, &visitor);
    enum ks_status st = ks_chain_walk(&chain, err);
    adopt->seen_run = chain.seen_run;
    adopt->seen_lsn = chain.seen_lsn;
    ks_chain_fini(&chain);
    return st;
}

/* ---- the rows of today ---- */

static enum ks_status write_log(
    struct adopt *adopt, const struct adopt_log *log, struct ks_error *err)
{
    struct ks_catalog_key key;
    enum ks_status st = KS_OK;
    for (uint32_t i = log->first; !st && log->has_chain && i < log->segment_count;) {
        const struct adopt_segment *segment = &log->segments[i];
        st = ks_catalog_put(adopt->txn, KS_TABLE_FILES, ks_catalog_key_u64(&key, segment->file_id),
            &segment->row.base, err);
        i = segment->next == i ? log->segment_count : segment->next;
    }
    if (st || !log->needs_flushpoint)
        return st;
    Kstream__Catalog__FlushpointRow row = log->flushed;
    row.has_producers = log->producers.bytes > 0;
    row.producers = (ProtobufCBinaryData){.data = log->producers.data, .len = log->producers.bytes};
    return ks_catalog_put(
        adopt->txn, KS_TABLE_FLUSHPOINTS, ks_catalog_key_u64(&key, log->log_id), &row.base, err);
}

static enum ks_status write_shard(struct adopt *adopt, const struct adopt_stream *stream,
    const struct adopt_log *log, struct ks_error *err)
{
    uint8_t first[16];
    uint8_t last[16];
    ks_u128_store_be(first, log->hash_first);
    ks_u128_store_be(last, log->hash_last);
    Kstream__Catalog__ShardRow row = KSTREAM__CATALOG__SHARD_ROW__INIT;
    row.stream_number = stream->row->stream_number;
    row.shard_index = log->shard_index;
    row.log_id = log->log_id;
    row.first_hash_key = (ProtobufCBinaryData){.data = first, .len = sizeof first};
    row.last_hash_key = (ProtobufCBinaryData){.data = last, .len = sizeof last};
    row.created_unix_s = log->created_s;
    row.status = log->status;
    row.has_parent_shard_index = log->has_parent;
    row.parent_shard_index = log->parent_index;
    row.has_adjacent_parent_shard_index = log->has_adjacent_parent;
    row.adjacent_parent_shard_index = log->adjacent_parent_index;
    row.end_sequence = log->end_sequence;
    row.closed_unix_s = log->closed_s;
    struct ks_catalog_key key;
    return ks_catalog_put(adopt->txn, KS_TABLE_SHARDS,
        ks_catalog_key_shard(&key, row.stream_number, row.shard_index), &row.base, err);
}

/* A stream whose name another one has by now was deleted since. */
static enum ks_status bury_log(struct adopt *adopt, const struct adopt_stream *stream,
    const struct adopt_log *log, struct ks_error *err)
{
    Kstream__Catalog__TombstoneRow row = KSTREAM__CATALOG__TOMBSTONE_ROW__INIT;
    struct ks_catalog_key key;
    row.stream_number = stream->row->stream_number;
    row.deleted_unix_ms = ks_clock_unix_ms(adopt->engine->options.clock);
    row.lsn = adopt->seen_lsn;
    enum ks_status st = ks_catalog_put(
        adopt->txn, KS_TABLE_TOMBSTONES, ks_catalog_key_u64(&key, log->log_id), &row.base, err);
    if (!st)
        st = ks_catalog_remove(
            adopt->txn, KS_TABLE_FLUSHPOINTS, ks_catalog_key_u64(&key, log->log_id), err);
    if (!st)
        st = ks_catalog_remove(adopt->txn, KS_TABLE_SHARDS,
            ks_catalog_key_shard(&key, row.stream_number, log->shard_index), err);
    return st;
}

static enum ks_status write_stream(
    struct adopt *adopt, const struct adopt_stream *stream, struct ks_error *err)
{
    struct ks_catalog_key key;
    struct ks_view number = ks_catalog_key_u64(&key, stream->row->stream_number);
    enum ks_status st = KS_OK;
    if (stream->is_gone)
        st = ks_catalog_remove(adopt->txn, KS_TABLE_STREAMS, number, err);
    else if (stream->is_changed)
        st = ks_catalog_put(adopt->txn, KS_TABLE_STREAMS, number, &stream->row->base, err);
    for (uint32_t i = 0; !st && i < stream->log_count; i++) {
        const struct adopt_log *log = stream->logs[i];
        if (stream->is_gone)
            st = bury_log(adopt, stream, log, err);
        else if (stream->is_changed)
            st = write_shard(adopt, stream, log, err);
        if (!st && !stream->is_gone)
            st = write_log(adopt, log, err);
    }
    return st;
}

/* Rows of files first, so that those of segments stand over them. A row that is wrong now goes, and
 * its file, if there is one, to quarantine. */
static enum ks_status write_files(struct adopt *adopt, struct ks_error *err)
{
    struct ks_catalog_key key;
    KS_U64_MAP_FOR_EACH(slot, &adopt->files)
    {
        const struct adopt_file *file = slot->value;
        enum ks_status st = KS_OK;
        struct ks_view id = ks_catalog_key_u64(&key, file->file_id);
        if (file->is_fresh) {
            Kstream__Catalog__FileRow row = KSTREAM__CATALOG__FILE_ROW__INIT;
            row.status = KS_FILE_POOL;
            st = ks_catalog_put(adopt->txn, KS_TABLE_FILES, id, &row.base, err);
        } else if (!file->is_kept && file->row && (file->is_known || file->is_other)) {
            st = ks_catalog_remove(adopt->txn, KS_TABLE_FILES, id, err);
        }
        if (st)
            return st;
    }
    return KS_OK;
}

static enum ks_status write_journal_row(
    struct adopt *adopt, Kstream__Catalog__JournalRow *row, struct ks_error *err)
{
    row->run_id = ks_max_u64(row->run_id, adopt->seen_run);
    row->is_clean = false; /* the copy may be of a stopped broker; the journal went on */
    return ks_catalog_put(adopt->txn, KS_TABLE_META, ks_view_of_text("journal"), &row->base, err);
}

static enum ks_status write_rows(
    struct adopt *adopt, Kstream__Catalog__JournalRow *row, struct ks_error *err)
{
    enum ks_status st = write_files(adopt, err);
    for (uint32_t i = 0; !st && i < adopt->stream_count; i++)
        st = write_stream(adopt, adopt->streams[i], err);
    if (!st)
        st = ks_catalog_high_put(adopt->txn, "high.log", adopt->log_id_next - 1, err);
    if (!st)
        st = ks_catalog_high_put(adopt->txn, "high.stream", adopt->stream_number_high, err);
    if (!st)
        st = ks_catalog_high_put(adopt->txn, "high.file", adopt->file_id_high, err);
    return st ? st : write_journal_row(adopt, row, err);
}

/* ---- the whole ---- */

static enum ks_status adopt_all(
    struct adopt *adopt, Kstream__Catalog__JournalRow *row, struct ks_error *err)
{
    adopt->may_have_expired = ks_clock_unix_ms(adopt->engine->options.clock) >=
                              adopt->newest_unix_ms + KS_RETENTION_HOURS_MIN * 3600000ull;
    enum ks_status st = adopt_files_look(adopt, err);
    KS_U64_MAP_FOR_EACH(slot, &adopt->logs)
    {
        if (!st)
            st = adopt_log_settle(adopt, slot->value, err);
    }
    if (!st)
        st = adopt_streams_settle(adopt, err);
    if (!st)
        st = write_rows(adopt, row, err);
    if (!st)
        st = ks_kv_commit(KS_TAKE(adopt->txn), err);
    return st;
}

static void adopt_fini(struct adopt *adopt)
{
    ks_kv_abort(adopt->txn);
    KS_U64_MAP_FOR_EACH(slot, &adopt->logs)
    {
        struct adopt_log *log = slot->value;
        if (log->flushpoint)
            protobuf_c_message_free_unpacked(&log->flushpoint->base, NULL);
        ks_buf_fini(&log->producers);
        ks_free(log->segments);
        ks_free(log);
    }
    KS_U64_MAP_FOR_EACH(slot, &adopt->files)
    {
        struct adopt_file *file = slot->value;
        if (file->row)
            protobuf_c_message_free_unpacked(&file->row->base, NULL);
        ks_free(file);
    }
    for (uint32_t i = 0; i < adopt->stream_count; i++) {
        protobuf_c_message_free_unpacked(&adopt->streams[i]->row->base, NULL);
        ks_free(adopt->streams[i]->logs);
        ks_free(adopt->streams[i]);
    }
    ks_free(adopt->streams);
    ks_u64_map_fini(&adopt->logs);
    ks_u64_map_fini(&adopt->files);
    ks_u64_map_fini(&adopt->deleted);
}

static enum ks_status read_journal_row(
    struct adopt *adopt, Kstream__Catalog__JournalRow **out_row, struct ks_error *err)
{
    ProtobufCMessage *message = NULL;
    enum ks_status st = ks_catalog_get(adopt->txn, KS_TABLE_META, ks_view_of_text("journal"),
        &kstream__catalog__journal_row__descriptor, &message, err);
    if (st)
        return st;
    *out_row = (Kstream__Catalog__JournalRow *)message;
    if ((*out_row)->uuid.len == KS_JOURNAL_UUID_BYTES)
        return KS_OK;
    protobuf_c_message_free_unpacked(message, NULL);
    return ks_fail(err, KS_CORRUPT, 0, "catalog table 'meta', row 'journal': bad uuid");
}

/* A run is raised in the catalog before its journal begins, and a file has its number there before
 * it is made: what is higher than the catalog knows was made under a newer one. */
static enum ks_status look_whether_older(
    struct adopt *adopt, bool *out_is_older, struct ks_error *err)
{
    Kstream__Catalog__JournalRow *row = NULL;
    uint64_t run_id = 0;
    uint64_t file_id_high = 0;
    enum ks_status st = ks_kv_begin(adopt->engine->options.catalog, false, &adopt->txn, err);
    if (!st)
        st = read_journal_row(adopt, &row, err);
    *out_is_older = false;
    if (!st)
        st = ks_catalog_high_get(adopt->txn, "high.file", &file_id_high, err);
    if (!st)
        st = look_at_journal(adopt, row, true, err);
    if (row) {
        run_id = row->run_id;
        protobuf_c_message_free_unpacked(&row->base, NULL);
    }
    ks_kv_abort(KS_TAKE(adopt->txn));
    if (st)
        return st;
    adopt->file_id_high = file_id_high;
    st = adopt_files_highest(adopt, err);
    *out_is_older = adopt->seen_run > run_id || adopt->file_id_high > file_id_high;
    return st;
}

static enum ks_status adopt_run(struct adopt *adopt, struct ks_error *err)
{
    Kstream__Catalog__JournalRow *row = NULL;
    enum ks_status st = ks_kv_begin(adopt->engine->options.catalog, true, &adopt->txn, err);
    if (!st)
        st = read_journal_row(adopt, &row, err);
    if (!st)
        st = load_copy(adopt, err);
    if (!st)
        st = look_at_journal(adopt, row, false, err);
    if (!st)
        st = adopt_all(adopt, row, err);
    adopt->counts.was_older = st == KS_OK;
    if (row)
        protobuf_c_message_free_unpacked(&row->base, NULL);
    return st;
}

enum ks_status ks_adopt_newer(struct ks_engine *engine, struct ks_error *err)
{
    const struct ks_engine_options *options = &engine->options;
    struct adopt looking = {.engine = engine, .io = options->io};
    bool is_older = false;
    enum ks_status st = look_whether_older(&looking, &is_older, err);
    adopt_fini(&looking);
    if (st == KS_NOT_FOUND || (!st && !is_older && !options->is_catalog_copy))
        return KS_OK; /* a new directory; or what the start always finds */
    if (!st && !options->is_catalog_copy && !options->accepts_older_catalog)
        return ks_fail(err, KS_CORRUPT, 0,
            "journal and segments are newer than the catalog: it is an older copy. Put back the "
            "newest one, and start once with --accept-older-catalog");
    struct adopt adopt = {.engine = engine, .io = options->io};
    if (!st)
        st = adopt_run(&adopt, err);
    const struct ks_adopted *counts = &adopt.counts;
    if (!st)
        ks_emit(options->events, KS_LEVEL_WARNING, "catalog.adopted",
            "segments=%llu shards=%llu streams=%llu files_left=%llu text=\"the catalog was an "
            "older copy and has been brought up to date\"",
            ULL(counts->segments), ULL(counts->shards), ULL(counts->streams),
            ULL(counts->files_left));
    engine->adopted = *counts;
    adopt_fini(&adopt);
    return st;
}
