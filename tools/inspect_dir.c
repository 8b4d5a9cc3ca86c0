/* A data directory as its catalog describes it: every row that can be read, whatever the others. */
#include "base/alloc.h"
#include "proto/catalog.pb-c.h"
#include "storage/catalog.h"
#include "storage/files.h"
#include "storage/producers.h"
#include "tools/inspect.h"
#include "tools/inspect_rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FORMAT_KNOWN 1u

/* While rows come in; arrays grow by doubling. */
struct load {
    struct inspect_dir *dir;
    struct inspect_report *report;
    uint32_t stream_capacity;
    uint32_t shard_capacity;
    uint32_t file_capacity;
    bool is_out_of_memory;
    uint32_t newer_format; /* 0: none met */
};

/* ---- rows ---- */

static void row_damage(struct load *load, enum ks_catalog_table table, const char *text)
{
    struct inspect_finding finding = {.severity = INSPECT_DAMAGE};
    snprintf(finding.where, sizeof finding.where, "catalog/data.mdb, table %s",
        ks_catalog_table_names[table]);
    inspect_report_add(load->report, &finding, "%s", text);
}

/* The next free element; NULL: no memory. */
static void *slot(struct load *load, void *items, uint32_t count, uint32_t *capacity,
    size_t item_bytes, void **out_items)
{
    if (count == *capacity) {
        uint32_t more = *capacity ? 2 * *capacity : 64;
        void *grown = ks_realloc(items, more * item_bytes);
        if (!grown) {
            load->is_out_of_memory = true;
            return NULL;
        }
        *out_items = grown;
        *capacity = more;
        items = grown;
    }
    uint8_t *at = (uint8_t *)items + count * item_bytes;
    memset(at, 0, item_bytes);
    return at;
}

static void take_stream(struct load *load, const Kstream__Catalog__StreamRow *row)
{
    struct inspect_dir *dir = load->dir;
    void *items = dir->streams;
    struct inspect_stream *stream =
        slot(load, items, dir->stream_count, &load->stream_capacity, sizeof *stream, &items);
    dir->streams = items;
    if (!stream)
        return;
    stream->number = row->stream_number;
    snprintf(stream->name, sizeof stream->name, "%s", row->stream_name);
    snprintf(stream->id, sizeof stream->id, "%s", row->stream_id);
    stream->created_unix_ms = row->created_unix_ms;
    stream->retention_hours = row->retention_hours;
    dir->stream_count++;
}

static void take_shard(struct load *load, const Kstream__Catalog__ShardRow *row)
{
    struct inspect_dir *dir = load->dir;
    if (row->first_hash_key.len != 16 || row->last_hash_key.len != 16 || row->log_id == 0) {
        row_damage(load, KS_TABLE_SHARDS, "a shard without a hash key range or a log");
        return;
    }
    void *items = dir->shards;
    struct inspect_shard *shard =
        slot(load, items, dir->shard_count, &load->shard_capacity, sizeof *shard, &items);
    dir->shards = items;
    if (!shard)
        return;
    shard->stream_number = row->stream_number;
    shard->index = row->shard_index;
    shard->log_id = row->log_id;
    shard->is_open = row->status == KS_SHARD_ROW_OPEN;
    shard->is_planned =
        row->status == KS_SHARD_ROW_PLANNED || row->status == KS_SHARD_ROW_PLANNED_SHORT;
    shard->created_s = row->created_unix_s;
    shard->hash_first = ks_u128_load_be(row->first_hash_key.data);
    shard->hash_last = ks_u128_load_be(row->last_hash_key.data);
    dir->shard_count++;
}

static void take_file(struct load *load, uint64_t file_id, const Kstream__Catalog__FileRow *row)
{
    struct inspect_dir *dir = load->dir;
    void *items = dir->files;
    struct inspect_file *file =
        slot(load, items, dir->file_count, &load->file_capacity, sizeof *file, &items);
    dir->files = items;
    if (!file)
        return;
    *file = (struct inspect_file){.file_id = file_id,
        .generation = row->generation,
        .state = row->status,
        .log_id = row->log_id,
        .first_sequence = row->first_sequence,
        .last_sequence = row->last_sequence,
        .file_bytes = row->file_bytes,
        .readable_bytes = row->readable_bytes,
        .first_arrival_unix_ms = row->first_arrival_unix_ms,
        .last_arrival_unix_ms = row->last_arrival_unix_ms,
        .batch_count = row->batch_count};
    dir->file_count++;
}

/* Shards come before flushpoints in the order of the tables, but the map of logs is made behind all
 * of them; so these wait in an array of their own, as files do. */
struct flushpoint {
    uint64_t log_id;
    struct inspect_shard as; /* only the flushpoint's fields */
};

struct flushpoints {
    struct flushpoint *items;
    uint32_t count;
    uint32_t capacity;
};

static void take_flushpoint(struct load *load, struct flushpoints *flushpoints, uint64_t log_id,
    const Kstream__Catalog__FlushpointRow *row)
{
    struct ks_producers *producers = NULL;
    if (row->has_producers &&
        ks_producers_decode(ks_view_of(row->producers.data, row->producers.len), &producers) !=
            KS_OK)
        row_damage(load, KS_TABLE_FLUSHPOINTS, "a table of producers that cannot be decoded");
    ks_producers_destroy(producers);
    void *items = flushpoints->items;
    struct flushpoint *flushpoint =
        slot(load, items, flushpoints->count, &flushpoints->capacity, sizeof *flushpoint, &items);
    flushpoints->items = items;
    if (!flushpoint)
        return;
    flushpoint->log_id = log_id;
    flushpoint->as = (struct inspect_shard){.has_flushpoint = true,
        .is_flushed_closed = row->is_closed,
        .flush_file_id = row->file_id,
        .flush_generation = row->generation,
        .flushed_bytes = row->flushed_bytes,
        .flushed_sequence = row->last_sequence};
    flushpoints->count++;
}

static void take_journal_row(struct load *load, const Kstream__Catalog__JournalRow *row)
{
    struct inspect_dir *dir = load->dir;
    if (row->format_version > FORMAT_KNOWN)
        load->newer_format = row->format_version;
    if (row->uuid.len != sizeof dir->uuid) {
        row_damage(load, KS_TABLE_META, "row 'journal': bad uuid");
        return;
    }
    dir->has_journal_row = true;
    memcpy(dir->uuid, row->uuid.data, sizeof dir->uuid);
    dir->run_id = row->run_id;
    dir->named_run_id = row->named_run_id;
    dir->named_lsn = row->named_lsn;
    dir->named_ordinals = row->named_ordinals;
    dir->is_clean = row->is_clean;
}

static void take_high_row(
    struct load *load, struct ks_view key, const Kstream__Catalog__HighWaterRow *row)
{
    if (ks_view_equal(key, ks_view_of_text("high.log")))
        load->dir->high_log = row->high;
    else if (ks_view_equal(key, ks_view_of_text("high.stream")))
        load->dir->high_stream = row->high;
    else if (ks_view_equal(key, ks_view_of_text("high.file")))
        load->dir->high_file = row->high;
}

static void take_tombstone(struct load *load, uint64_t log_id)
{
    struct ks_u64_map *map = &load->dir->tombstones;
    if (!ks_u64_map_reserve(map, 1))
        load->is_out_of_memory = true;
    else if (!ks_u64_map_get(map, log_id))
        ks_u64_map_put(map, log_id, load);
}

struct row_arg {
    struct load *load;
    struct flushpoints *flushpoints;
};

static void take_row(void *arg, unsigned table_number, struct ks_view key, struct ks_view value)
{
    struct row_arg *row_arg = arg;
    struct load *load = row_arg->load;
    enum ks_catalog_table table = (enum ks_catalog_table)table_number;
    struct ks_error error = KS_ERROR_INIT;
    ProtobufCMessage *message = NULL;
    if (ks_catalog_unpack(table, key, value, &message, &error) != KS_OK) {
        row_damage(load, table, error.text);
        return;
    }
    load->dir->catalog_rows++;
    uint64_t number = key.bytes >= 8 ? ks_load_u64be(key.data) : 0;
    switch (table) {
    case KS_TABLE_META:
        if (ks_view_equal(key, ks_view_of_text("journal")))
            take_journal_row(load, (const void *)message);
        else
            take_high_row(load, key, (const void *)message);
        break;
    case KS_TABLE_STREAMS:
        take_stream(load, (const void *)message);
        break;
    case KS_TABLE_SHARDS:
        take_shard(load, (const void *)message);
        break;
    case KS_TABLE_FILES:
        take_file(load, number, (const void *)message);
        break;
    case KS_TABLE_FLUSHPOINTS:
        take_flushpoint(load, row_arg->flushpoints, number, (const void *)message);
        break;
    case KS_TABLE_TOMBSTONES:
        take_tombstone(load, number);
        break;
    case KS_TABLE_COUNT:
        break;
    }
    protobuf_c_message_free_unpacked(message, NULL);
}

/* ---- tying rows together ---- */

static struct inspect_stream *stream_of(struct inspect_dir *dir, uint64_t number)
{
    for (uint32_t low = 0, high = dir->stream_count; low < high;) {
        uint32_t middle = low + (high - low) / 2;
        if (dir->streams[middle].number == number)
            return &dir->streams[middle];
        if (dir->streams[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static int by_log_and_sequence(const void *a, const void *b)
{
    const struct inspect_file *left = *(struct inspect_file *const *)a;
    const struct inspect_file *right = *(struct inspect_file *const *)b;
    if (left->log_id != right->log_id)
        return left->log_id < right->log_id ? -1 : 1;
    return left->first_sequence < right->first_sequence
               ? -1
               : left->first_sequence > right->first_sequence;
}

static bool tie_shards(struct load *load)
{
    struct inspect_dir *dir = load->dir;
    if (!ks_u64_map_reserve(&dir->logs, dir->shard_count))
        return false;
    for (uint32_t i = 0; i < dir->shard_count; i++) {
        struct inspect_shard *shard = &dir->shards[i];
        struct inspect_stream *stream = stream_of(dir, shard->stream_number);
        shard->stream = stream;
        if (stream) {
            stream->shard_count++;
            stream->open_count += shard->is_open;
        }
        if (ks_u64_map_get(&dir->logs, shard->log_id))
            row_damage(load, KS_TABLE_SHARDS, "two shards name one log");
        else
            ks_u64_map_put(&dir->logs, shard->log_id, shard);
    }
    return true;
}

static void tie_flushpoints(struct load *load, const struct flushpoints *flushpoints)
{
    for (uint32_t i = 0; i < flushpoints->count; i++) {
        const struct flushpoint *from = &flushpoints->items[i];
        struct inspect_shard *shard = ks_u64_map_get(&load->dir->logs, from->log_id);
        if (!shard) {
            char text[80];
            snprintf(text, sizeof text, "a flushpoint of log %llu, which no shard has",
                (unsigned long long)from->log_id);
            row_damage(load, KS_TABLE_FLUSHPOINTS, text);
            continue;
        }
        shard->has_flushpoint = true;
        shard->is_flushed_closed = from->as.is_flushed_closed;
        shard->flush_file_id = from->as.flush_file_id;
        shard->flush_generation = from->as.flush_generation;
        shard->flushed_bytes = from->as.flushed_bytes;
        shard->flushed_sequence = from->as.flushed_sequence;
    }
}

static bool tie_files(struct inspect_dir *dir)
{
    if (dir->file_count == 0)
        return true;
    // NOLINTNEXTLINE(bugprone-sizeof-expression): an array of pointers is meant
    dir->by_log = ks_calloc(dir->file_count, sizeof *dir->by_log);
    if (!dir->by_log)
        return false;
    for (uint32_t i = 0; i < dir->file_count; i++) {
        struct inspect_file *file = &dir->files[i];
        if (file->state == KS_FILE_ACTIVE || file->state == KS_FILE_SEALED)
            dir->by_log[dir->by_log_count++] = file;
    }
    if (dir->by_log_count > 1)
        qsort(dir->by_log, dir->by_log_count, sizeof(struct inspect_file *), by_log_and_sequence);
    for (uint32_t i = 0; i < dir->by_log_count; i++) {
        struct inspect_shard *shard = ks_u64_map_get(&dir->logs, dir->by_log[i]->log_id);
        if (!shard)
            continue;
        if (shard->file_count++ == 0)
            shard->files = &dir->by_log[i];
    }
    return true;
}

/* ---- open and close ---- */

static enum ks_status read_catalog(
    struct inspect_dir *dir, struct inspect_report *report, struct ks_error *err)
{
    char path[sizeof dir->path + 16];
    snprintf(path, sizeof path, "%s/catalog", dir->path);
    struct load load = {.dir = dir, .report = report};
    struct flushpoints flushpoints = {.items = NULL};
    struct row_arg arg = {.load = &load, .flushpoints = &flushpoints};
    const struct inspect_rows_options options = {
        .path = path, .table_names = ks_catalog_table_names, .table_count = KS_TABLE_COUNT};
    struct ks_error error = KS_ERROR_INIT;
    enum ks_status st = inspect_rows_read(&options, take_row, &arg, &error);
    if (st == KS_CORRUPT) {
        struct inspect_finding finding = {.severity = INSPECT_DAMAGE, .where = "catalog/data.mdb"};
        inspect_report_add(report, &finding, "%s", error.text);
        st = KS_OK;
    }
    if (st == KS_NOT_FOUND)
        st = ks_fail(&error, st, 0, "'%s' has no catalog: is it a data directory?", dir->path);
    if (!st && load.newer_format)
        st = ks_fail(&error, KS_UNSUPPORTED, 0,
            "the data directory has format %u, this version knows %u: use a newer kstream",
            load.newer_format, FORMAT_KNOWN);
    bool is_tied = !load.is_out_of_memory && (st || (tie_shards(&load) && tie_files(dir)));
    if (!st && !is_tied)
        st = ks_fail(&error, KS_NO_MEMORY, 0, "no memory for the catalog of '%s'", dir->path);
    if (!st)
        tie_flushpoints(&load, &flushpoints);
    ks_free(flushpoints.items);
    if (st && err)
        *err = error;
    return st;
}

enum ks_status inspect_dir_open(
    const char *path, struct inspect_report *report, struct inspect_dir *dir, struct ks_error *err)
{
    *dir = (struct inspect_dir){.io = NULL};
    if (strlen(path) >= sizeof dir->path - 32)
        return ks_fail(err, KS_USAGE, 0, "the path of the data directory is too long");
    memcpy(dir->path, path, strlen(path) + 1);
    enum ks_status st = ks_io_posix_open_read_only(path, &dir->io, err);
    if (st)
        return st;
    char clean[sizeof dir->path + 16];
    snprintf(clean, sizeof clean, "%s/clean", path);
    dir->has_clean_mark = access(clean, F_OK) == 0;
    st = read_catalog(dir, report, err);
    if (st)
        inspect_dir_close(dir);
    return st;
}

void inspect_dir_close(struct inspect_dir *dir)
{
    for (uint32_t i = 0; i < dir->shard_count; i++)
        ks_free(dir->shards[i].pending);
    ks_u64_map_fini(&dir->logs);
    ks_u64_map_fini(&dir->tombstones);
    ks_free(dir->by_log);
    ks_free(dir->files);
    ks_free(dir->shards);
    ks_free(dir->streams);
    ks_io_posix_close(dir->io);
    *dir = (struct inspect_dir){.io = NULL};
}

const struct inspect_stream *inspect_dir_stream(const struct inspect_dir *dir, const char *name)
{
    for (uint32_t i = 0; i < dir->stream_count; i++)
        if (strcmp(dir->streams[i].name, name) == 0)
            return &dir->streams[i];
    return NULL;
}
