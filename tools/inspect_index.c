/*
 * The index against the footers it was made from. It is a cache: a wrong row makes the broker drop
 * it, so nothing is lost with it; but it is damage all the same. After an unclean stop the broker
 * deletes it unopened, so nothing is looked at then.
 */
#include "base/alloc.h"
#include "storage/engine.h"
#include "storage/files.h"
#include "storage/segment_format.h"
#include "tools/inspect.h"
#include "tools/inspect_rows.h"

#include <stdio.h>
#include <string.h>

#define KEY_BYTES 24u
#define VALUE_BYTES 20u

struct check {
    const struct inspect_dir *dir;
    struct inspect_report *report;
    uint64_t rows;
    /* the segment of the rows under way */
    const struct inspect_file *file; /* NULL: none that is current */
    uint64_t file_id;
    uint64_t generation;
    struct ks_footer footer;
    bool has_footer;
};

static void complain(struct check *check, const char *text)
{
    struct inspect_finding finding = {.severity = INSPECT_DAMAGE, .where = "index/data.mdb"};
    if (check->file)
        finding.shard = ks_u64_map_get(&check->dir->logs, check->file->log_id);
    inspect_report_add(
        check->report, &finding, "%s; no record is lost, the index is a cache", text);
}

static void segment_leave(struct check *check)
{
    if (check->has_footer)
        ks_footer_fini(&check->footer);
    check->has_footer = false;
    check->file = NULL;
}

/* An unreadable footer is told of with its segment. */
static void footer_read(struct check *check)
{
    char path[KS_FILE_PATH_BYTES];
    ks_files_path(check->file->file_id, path);
    KS_CLEANUP(ks_file_closep) struct ks_file *file = NULL;
    uint64_t bytes = check->file->file_bytes - check->file->readable_bytes;
    if (bytes == 0 || bytes > KS_FOOTER_BYTES_MAX + 16 ||
        ks_io_open(check->dir->io, path, KS_OPEN_READ, &file, NULL))
        return;
    KS_AUTO_FREE uint8_t *footer = ks_malloc(bytes);
    check->has_footer =
        footer && !ks_file_read_exactly(file, footer, bytes, check->file->readable_bytes, NULL) &&
        !ks_footer_decode(ks_view_of(footer, bytes), &check->footer);
}

static void segment_enter(struct check *check, uint64_t file_id, uint64_t generation)
{
    segment_leave(check);
    check->file_id = file_id;
    check->generation = generation;
    for (uint32_t i = 0; i < check->dir->by_log_count; i++) {
        const struct inspect_file *file = check->dir->by_log[i];
        if (file->file_id == file_id && file->generation == generation &&
            file->state == KS_FILE_SEALED)
            check->file = file;
    }
    if (check->file)
        footer_read(check);
}

/* Rows are made of the footer's marks and of nothing else. */
static bool footer_has(
    const struct ks_footer *footer, uint64_t sequence, uint64_t arrival_unix_ms, uint32_t offset)
{
    uint64_t at = KS_SEGMENT_HEADER_BYTES;
    uint64_t first = footer->first_sequence;
    uint32_t mark = 0;
    for (uint32_t i = 0; i < footer->batch_count && mark < footer->mark_count; i++) {
        if (footer->marks[mark].batch == i) {
            if (at == offset)
                return first == sequence && footer->marks[mark].arrival_unix_ms == arrival_unix_ms;
            mark++;
        }
        at += footer->batches[i].bytes;
        first += footer->batches[i].record_count;
    }
    return false;
}

static void check_row(void *arg, unsigned table, struct ks_view key, struct ks_view value)
{
    struct check *check = arg;
    check->rows++;
    if (key.bytes != KEY_BYTES || value.bytes != VALUE_BYTES) {
        complain(check, "a row of a wrong size");
        return;
    }
    uint64_t file_id = ks_load_u64be(key.data);
    uint64_t generation = ks_load_u64be(key.data + 8);
    if (check->rows == 1 || file_id != check->file_id || generation != check->generation)
        segment_enter(check, file_id, generation);
    if (!check->file || !check->has_footer)
        return; /* of an earlier use of the file: nobody asks for it */
    uint64_t sequence = ks_load_u64le(value.data);
    uint64_t arrival_unix_ms = ks_load_u64le(value.data + 8);
    uint64_t said = table == KS_INDEX_BY_SEQUENCE ? sequence : arrival_unix_ms;
    if (ks_load_u64be(key.data + 16) != said ||
        !footer_has(&check->footer, sequence, arrival_unix_ms, ks_load_u32le(value.data + 16)))
        complain(check, "a row leads to no batch of its segment");
}

void inspect_index_check(
    const struct inspect_dir *dir, struct inspect_report *report, uint64_t *out_rows)
{
    static const char *const names[KS_INDEX_TABLE_COUNT] = KS_INDEX_TABLE_NAMES;
    char path[sizeof dir->path + 16];
    snprintf(path, sizeof path, "%s/index", dir->path);
    struct check check = {.dir = dir, .report = report};
    const struct inspect_rows_options options = {
        .path = path, .table_names = names, .table_count = KS_INDEX_TABLE_COUNT};
    struct ks_error error = KS_ERROR_INIT;
    enum ks_status st = dir->has_clean_mark && dir->is_clean
                            ? inspect_rows_read(&options, check_row, &check, &error)
                            : KS_NOT_FOUND;
    segment_leave(&check);
    if (st && st != KS_NOT_FOUND)
        complain(&check, error.text);
    *out_rows = check.rows;
}
