/*
 * The catalog's rows against each other, and against the files below segments/. What the broker
 * demands at its start (registry_load.c) is demanded here too; but here every complaint is told,
 * not the first one.
 */
#include "base/alloc.h"
#include "proto/hash_range.h"
#include "storage/files.h"
#include "storage/segment_format.h"
#include "tools/inspect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ULL(value) ((unsigned long long)(value))

/* ---- rows ---- */

static void damage_in_table(struct inspect_report *report, const char *table,
    const struct inspect_shard *shard, const char *text)
{
    struct inspect_finding finding = {.severity = INSPECT_DAMAGE, .shard = shard};
    snprintf(finding.where, sizeof finding.where, "catalog/data.mdb, table %s", table);
    inspect_report_add(report, &finding, "%s", text);
}

static void check_meta(const struct inspect_dir *dir, struct inspect_report *report)
{
    if (!dir->has_journal_row) {
        damage_in_table(report, "meta", NULL, "row 'journal' is missing or cannot be read");
        return;
    }
    if (dir->has_clean_mark && !dir->is_clean)
        damage_in_table(report, "meta", NULL,
            "the directory is marked as stopped in order, the catalog is not: it is an older copy");
    uint64_t log_max = 0;
    uint64_t stream_max = 0;
    for (uint32_t i = 0; i < dir->shard_count; i++)
        log_max = ks_max_u64(log_max, dir->shards[i].log_id);
    for (uint32_t i = 0; i < dir->stream_count; i++)
        stream_max = ks_max_u64(stream_max, dir->streams[i].number);
    uint64_t file_max = dir->file_count > 0 ? dir->files[dir->file_count - 1].file_id : 0;
    if (log_max > dir->high_log)
        damage_in_table(report, "meta", NULL, "row 'high.log' is below a log that there is");
    if (stream_max > dir->high_stream)
        damage_in_table(report, "meta", NULL, "row 'high.stream' is below a stream that there is");
    if (file_max > dir->high_file)
        damage_in_table(report, "meta", NULL, "row 'high.file' is below a file that there is");
}

static int by_hash(const void *a, const void *b)
{
    const struct ks_hash_range *left = a;
    const struct ks_hash_range *right = b;
    return left->first < right->first ? -1 : left->first > right->first;
}

/* The open shards of a stream share all hash keys among them. */
static void check_stream(const struct inspect_dir *dir, const struct inspect_stream *stream,
    const struct inspect_shard *shards, struct inspect_report *report)
{
    char text[160];
    for (const struct inspect_stream *other = dir->streams; other < stream; other++) {
        if (strcmp(other->name, stream->name) != 0)
            continue;
        snprintf(text, sizeof text, "the name '%.100s' is there twice", stream->name);
        damage_in_table(report, "streams", NULL, text);
    }
    KS_AUTO_FREE struct ks_hash_range *ranges = ks_calloc(stream->open_count + 1u, sizeof *ranges);
    uint32_t count = 0;
    for (uint32_t i = 0; ranges && i < stream->shard_count; i++) {
        if (shards[i].is_open)
            ranges[count++] = (struct ks_hash_range){shards[i].hash_first, shards[i].hash_last};
    }
    if (count > 1)
        qsort(ranges, count, sizeof *ranges, by_hash);
    if (ranges && count > 0 && ks_hash_ranges_tile(ranges, count))
        return;
    snprintf(text, sizeof text, "stream '%.80s': its %u open shards do not cover all hash keys",
        stream->name, count);
    damage_in_table(report, "shards", NULL, text);
}

static void check_streams(const struct inspect_dir *dir, struct inspect_report *report)
{
    uint32_t at = 0; /* both tables are sorted by the stream's number */
    for (uint32_t i = 0; i < dir->stream_count; i++) {
        while (at < dir->shard_count && dir->shards[at].stream_number < dir->streams[i].number)
            at++;
        check_stream(dir, &dir->streams[i], &dir->shards[at], report);
    }
    for (uint32_t i = 0; i < dir->shard_count; i++) {
        if (!dir->shards[i].stream)
            damage_in_table(report, "shards", &dir->shards[i], "a shard of an unknown stream");
    }
}

static void file_damage(struct inspect_report *report, const struct inspect_shard *shard,
    const struct inspect_file *file, const char *text)
{
    char whole[160];
    snprintf(whole, sizeof whole, "file %016llx: %s", ULL(file->file_id), text);
    damage_in_table(report, "files", shard, whole);
}

/* A log's segments follow each other, only the last may be active, and they end at the flushpoint.
 */
static void check_shard(const struct inspect_shard *shard, struct inspect_report *report)
{
    if (shard->file_count > 0 && !shard->has_flushpoint)
        damage_in_table(report, "flushpoints", shard, "the flushpoint of a shard is missing");
    if (shard->file_count == 0 || !shard->has_flushpoint)
        return;
    for (uint32_t i = 0; i + 1 < shard->file_count; i++) {
        const struct inspect_file *file = shard->files[i];
        if (file->state != KS_FILE_SEALED)
            file_damage(report, shard, file, "active, and not the last of its shard");
        if (file->last_sequence + 1 != shard->files[i + 1]->first_sequence)
            file_damage(report, shard, file, "does not end where the next one begins");
    }
    const struct inspect_file *last = shard->files[shard->file_count - 1];
    if (last->last_sequence != shard->flushed_sequence)
        file_damage(report, shard, last, "the last of its shard does not end at the flushpoint");
    if (last->file_id != shard->flush_file_id || last->generation != shard->flush_generation ||
        last->readable_bytes != shard->flushed_bytes)
        file_damage(report, shard, last, "the flushpoint names another file, generation or place");
}

static void check_files(const struct inspect_dir *dir, struct inspect_report *report)
{
    for (uint32_t i = 0; i < dir->by_log_count; i++) {
        const struct inspect_file *file = dir->by_log[i];
        const struct inspect_shard *shard = ks_u64_map_get(&dir->logs, file->log_id);
        bool is_sound = file->first_sequence > 0 && file->last_sequence >= file->first_sequence &&
                        file->readable_bytes >= KS_SEGMENT_HEADER_BYTES &&
                        (file->state == KS_FILE_ACTIVE || file->file_bytes >= file->readable_bytes);
        if (!shard)
            file_damage(report, NULL, file, "of a log that no shard has");
        else if (!is_sound)
            file_damage(report, shard, file, "impossible sequences or sizes");
    }
}

void inspect_dir_check(struct inspect_dir *dir, struct inspect_report *report)
{
    check_meta(dir, report);
    check_streams(dir, report);
    check_files(dir, report);
    for (uint32_t i = 0; i < dir->shard_count; i++)
        check_shard(&dir->shards[i], report);
}

/* ---- files ---- */

struct names {
    struct inspect_dir *dir;
    struct inspect_report *report;
    char folder[32];
    uint8_t has_folder[256];
};

static void stranger(struct names *names, const char *name)
{
    struct inspect_finding finding = {.severity = INSPECT_NOTE};
    snprintf(finding.where, sizeof finding.where, "%s/%.30s", names->folder, name);
    inspect_report_add(names->report, &finding,
        "not known to the catalog: the next start moves it to quarantine/");
}

static void note_folder(void *arg, const char *name)
{
    struct names *names = arg;
    unsigned long folder = strtoul(name, NULL, 16) & 0xff;
    char spelled[4];
    snprintf(spelled, sizeof spelled, "%02lx", folder);
    if (strcmp(name, spelled) == 0)
        names->has_folder[folder] = 1;
    else
        stranger(names, name);
}

static struct inspect_file *file_by_id(const struct inspect_dir *dir, uint64_t file_id)
{
    for (uint32_t low = 0, high = dir->file_count; low < high;) {
        uint32_t middle = low + (high - low) / 2;
        if (dir->files[middle].file_id == file_id)
            return &dir->files[middle];
        if (dir->files[middle].file_id < file_id)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static void note_file(void *arg, const char *name)
{
    struct names *names = arg;
    uint64_t file_id = strtoull(name, NULL, 16);
    char path[KS_FILE_PATH_BYTES];
    char found[KS_FILE_PATH_BYTES + 32];
    ks_files_path(file_id, path); /* only the right spelling of it is one of ours */
    snprintf(found, sizeof found, "%s/%.31s", names->folder, name);
    struct inspect_file *file = strcmp(found, path) == 0 ? file_by_id(names->dir, file_id) : NULL;
    if (file)
        file->is_seen = true;
    else
        stranger(names, name);
}

static void unreadable(
    struct inspect_report *report, const char *where, const struct ks_error *error)
{
    struct inspect_finding finding = {.severity = INSPECT_DAMAGE};
    snprintf(finding.where, sizeof finding.where, "%s", where);
    inspect_report_add(report, &finding, "%s", error->text);
}

void inspect_dir_check_files(struct inspect_dir *dir, struct inspect_report *report)
{
    struct names names = {.dir = dir, .report = report, .folder = "segments"};
    struct ks_error error = KS_ERROR_INIT;
    enum ks_status st = ks_io_list(dir->io, "segments", note_folder, &names, &error);
    if (st && st != KS_NOT_FOUND)
        unreadable(report, "segments", &error);
    for (unsigned folder = 0; folder < 256; folder++) {
        if (!names.has_folder[folder])
            continue;
        snprintf(names.folder, sizeof names.folder, "segments/%02x", folder);
        if (ks_io_list(dir->io, names.folder, note_file, &names, &error))
            unreadable(report, names.folder, &error);
    }
    for (uint32_t i = 0; i < dir->by_log_count; i++) {
        const struct inspect_file *file = dir->by_log[i];
        if (file->is_seen)
            continue;
        struct inspect_finding finding = {.severity = INSPECT_DAMAGE,
            .shard = ks_u64_map_get(&dir->logs, file->log_id),
            .log_id = file->log_id,
            .first_sequence = file->first_sequence,
            .last_sequence = file->last_sequence};
        ks_files_path(file->file_id, finding.where);
        inspect_report_add(report, &finding, "the file is missing");
    }
}
