/* list: what a data directory holds, out of its catalog and its journal. */
#include "base/alloc.h"
#include "proto/sequence.h"
#include "storage/files.h"
#include "tools/ctl_json.h"
#include "tools/inspect.h"

#include <stdio.h>
#include <string.h>

static bool add_number(json_t *object, const char *name, uint64_t number)
{
    return ctl_json_add(object, name, json_integer((json_int_t)number));
}

static bool add_some(json_t *object, const char *name, uint64_t number, bool is_known)
{
    return ctl_json_add(object, name, is_known ? json_integer((json_int_t)number) : json_null());
}

static bool add_time(json_t *object, const char *name, uint64_t unix_ms)
{
    return ctl_json_add(object, name, unix_ms ? ctl_json_time(unix_ms) : json_null());
}

/* Takes object. */
static bool append(json_t *list, json_t *object, bool is_fine)
{
    if (is_fine)
        return json_array_append_new(list, object) == 0;
    json_decref(object);
    return false;
}

/* ---- shards and streams ---- */

struct extent {
    uint64_t first; /* 0: nothing is stored */
    uint64_t last;
    uint64_t segment_bytes;
    uint64_t journal_batches;
};

static struct extent extent_of(const struct inspect_shard *shard)
{
    struct extent extent = {.first = 0};
    uint64_t flushed = shard->flushed_sequence - (shard->is_flushed_closed ? 1 : 0);
    for (uint32_t i = 0; i < shard->file_count; i++)
        extent.segment_bytes += shard->files[i]->readable_bytes;
    extent.journal_batches = shard->pending_count;
    if (shard->file_count > 0) {
        extent.first = shard->files[0]->first_sequence;
        extent.last = flushed;
    }
    for (uint32_t i = 0; i < shard->pending_count; i++) {
        extent.first = extent.first ? extent.first : shard->pending[i].first_sequence;
        extent.last = shard->pending[i].last_sequence;
    }
    return extent;
}

static bool list_shard(json_t *list, const struct inspect_shard *shard)
{
    struct extent extent = extent_of(shard);
    char shard_id[KS_SHARD_ID_TEXT_BYTES];
    char hash[KS_U128_TEXT_BYTES];
    ks_shard_id_to_text(KS_MIN(shard->index, KS_SHARD_INDEX_MAX), shard_id);
    json_t *object = json_object();
    bool is_fine = ctl_json_add(object, "stream",
                       shard->stream ? ctl_json_text(shard->stream->name) : json_null()) &&
                   ctl_json_add(object, "shard_id", json_string(shard_id)) &&
                   ctl_json_add(object, "state",
                       json_string(shard->is_open      ? "open"
                                   : shard->is_planned ? "planned"
                                                       : "closed")) &&
                   add_number(object, "log", shard->log_id) &&
                   add_some(object, "first_sequence", extent.first, extent.first > 0) &&
                   add_some(object, "last_sequence", extent.last, extent.first > 0) &&
                   add_number(object, "flushed_sequence", shard->flushed_sequence) &&
                   add_number(object, "segments", shard->file_count) &&
                   add_number(object, "segment_bytes", extent.segment_bytes) &&
                   add_number(object, "journal_batches", extent.journal_batches);
    ks_u128_to_text(shard->hash_first, hash);
    is_fine = is_fine && ctl_json_add(object, "first_hash_key", json_string(hash));
    ks_u128_to_text(shard->hash_last, hash);
    is_fine = is_fine && ctl_json_add(object, "last_hash_key", json_string(hash));
    return append(list, object, is_fine);
}

static bool list_shards(const struct inspect_dir *dir, json_t *list)
{
    for (uint32_t i = 0; i < dir->shard_count; i++)
        if (!list_shard(list, &dir->shards[i]))
            return false;
    return true;
}

static bool list_stream(
    const struct inspect_dir *dir, json_t *list, const struct inspect_stream *stream)
{
    uint64_t records = 0;
    uint64_t segments = 0;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < dir->shard_count; i++) {
        const struct inspect_shard *shard = &dir->shards[i];
        if (shard->stream != stream)
            continue;
        struct extent extent = extent_of(shard);
        records += extent.first ? extent.last - extent.first + 1 : 0;
        segments += shard->file_count;
        bytes += extent.segment_bytes;
    }
    json_t *object = json_object();
    bool is_fine = ctl_json_add(object, "stream", ctl_json_text(stream->name)) &&
                   ctl_json_add(object, "id", ctl_json_text(stream->id)) &&
                   add_number(object, "shards", stream->shard_count) &&
                   add_number(object, "open_shards", stream->open_count) &&
                   add_number(object, "records", records) &&
                   add_number(object, "segments", segments) &&
                   add_number(object, "segment_bytes", bytes) &&
                   add_number(object, "retention_hours", stream->retention_hours) &&
                   add_time(object, "created_time", stream->created_unix_ms);
    return append(list, object, is_fine);
}

static bool list_streams(const struct inspect_dir *dir, json_t *list)
{
    for (uint32_t i = 0; i < dir->stream_count; i++)
        if (!list_stream(dir, list, &dir->streams[i]))
            return false;
    return true;
}

/* ---- segments ---- */

static const char *state_name(uint32_t state)
{
    switch ((enum ks_file_state)state) {
    case KS_FILE_POOL:
        return "pool";
    case KS_FILE_ACTIVE:
        return "active";
    case KS_FILE_SEALED:
        return "sealed";
    case KS_FILE_RETIRED:
        return "retired";
    }
    return "unknown";
}

static bool list_segment(
    const struct inspect_dir *dir, json_t *list, const struct inspect_file *file)
{
    bool is_used = file->state == KS_FILE_ACTIVE || file->state == KS_FILE_SEALED;
    const struct inspect_shard *shard = is_used ? ks_u64_map_get(&dir->logs, file->log_id) : NULL;
    char path[KS_FILE_PATH_BYTES];
    ks_files_path(file->file_id, path);
    json_t *object = json_object();
    bool is_fine =
        ctl_json_add(object, "file", json_string(path)) &&
        ctl_json_add(object, "state", json_string(state_name(file->state))) &&
        add_number(object, "generation", file->generation) &&
        ctl_json_add(object, "stream",
            shard && shard->stream ? ctl_json_text(shard->stream->name) : json_null()) &&
        add_some(object, "shard", shard ? shard->index : 0, shard != NULL) &&
        add_some(object, "log", file->log_id, is_used) &&
        add_some(object, "first_sequence", file->first_sequence, is_used) &&
        add_some(object, "last_sequence", file->last_sequence, is_used) &&
        add_some(object, "batches", file->batch_count, is_used) &&
        add_some(object, "bytes",
            file->state == KS_FILE_SEALED ? file->file_bytes : file->readable_bytes, is_used) &&
        add_time(object, "first_arrival_time", is_used ? file->first_arrival_unix_ms : 0) &&
        add_time(object, "last_arrival_time", is_used ? file->last_arrival_unix_ms : 0);
    return append(list, object, is_fine);
}

static bool list_segments(const struct inspect_dir *dir, json_t *list)
{
    for (uint32_t i = 0; i < dir->file_count; i++)
        if (!list_segment(dir, list, &dir->files[i]))
            return false;
    return true;
}

/* ---- journal ---- */

static bool list_journal(const struct inspect_journal *journal, json_t *list)
{
    for (uint32_t i = 0; i < journal->file_count; i++) {
        const struct inspect_journal_file *file = &journal->files[i];
        char path[40];
        snprintf(path, sizeof path, "journal/%04llu.jnl", (unsigned long long)file->number);
        json_t *object = json_object();
        bool is_fine =
            ctl_json_add(object, "file", json_string(path)) &&
            ctl_json_add(object, "state", json_string(file->is_part_of_log ? "log" : "free")) &&
            add_number(object, "bytes", file->bytes) &&
            add_some(object, "run", file->run_id, file->blocks > 0) &&
            add_some(object, "first_block", file->first_lsn, file->blocks > 0) &&
            add_some(object, "last_block", file->last_lsn, file->blocks > 0) &&
            add_number(object, "blocks", file->blocks) &&
            add_number(object, "batches", file->batches) &&
            add_number(object, "block_bytes", file->block_bytes);
        if (!append(list, object, is_fine))
            return false;
    }
    return true;
}

/* ---- list ---- */

static const struct {
    const char *name;
    bool (*list)(const struct inspect_dir *dir, json_t *list); /* NULL: the journal */
} subjects[] = {
    {"streams", list_streams},
    {"shards", list_shards},
    {"segments", list_segments},
    {"journal", NULL},
};

static enum ks_status list_into(struct inspect_dir *dir, size_t subject,
    struct inspect_report *report, json_t *list, struct ks_error *err)
{
    struct inspect_journal journal = {.files = NULL};
    enum ks_status st = inspect_journal_read(dir, report, &journal, err);
    /* A journal that cannot be read is told of; the catalog has its own to say. */
    if (st && (st != KS_CORRUPT || !subjects[subject].list)) {
        inspect_journal_fini(&journal);
        return st;
    }
    bool is_fine =
        subjects[subject].list ? subjects[subject].list(dir, list) : list_journal(&journal, list);
    inspect_journal_fini(&journal);
    return is_fine ? KS_OK : ks_fail(err, KS_NO_MEMORY, 0, "no memory for the list");
}

enum ks_status inspect_list(const char *path, const char *what, struct inspect_report *report,
    json_t **out_result, struct ks_error *err)
{
    size_t subject = 0;
    while (subject < KS_COUNT_OF(subjects) && strcmp(subjects[subject].name, what) != 0)
        subject++;
    if (subject == KS_COUNT_OF(subjects))
        return ks_fail(err, KS_USAGE, 0,
            "'%.40s' cannot be listed: streams, shards, segments or journal", what);
    struct inspect_dir dir;
    enum ks_status st = inspect_dir_open(path, report, &dir, err);
    if (st)
        return st;
    json_t *list = json_array();
    st = list ? list_into(&dir, subject, report, list, err)
              : ks_fail(err, KS_NO_MEMORY, 0, "no memory for the list");
    inspect_dir_close(&dir);
    if (st)
        json_decref(list);
    else
        *out_result = list;
    return st;
}
