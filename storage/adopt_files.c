/* What the files below segments/ are by now, and which segment of which log that makes them. */
#include "base/alloc.h"
#include "storage/adopt_priv.h"
#include "storage/read_priv.h"

#include <stdio.h>
#include <string.h>

#define FOLDERS 256u
#define BATCH_BYTES_MAX (17u << 20) /* more than any batch has */

/* ---- lists ---- */

static struct adopt_segment *log_add_segment(struct adopt_log *log)
{
    if (log->segment_count == log->segment_capacity) {
        uint32_t capacity = log->segment_capacity ? 2 * log->segment_capacity : 4;
        struct adopt_segment *grown = ks_realloc(log->segments, capacity * sizeof *grown);
        if (!grown)
            return NULL;
        log->segments = grown;
        log->segment_capacity = capacity;
    }
    struct adopt_segment *segment = &log->segments[log->segment_count++];
    *segment = (struct adopt_segment){.file_id = 0};
    kstream__catalog__file_row__init(&segment->row);
    return segment;
}

static enum ks_status note_segment(struct adopt_log *log, struct adopt_file *file,
    enum adopt_proof proof, const Kstream__Catalog__FileRow *row, struct ks_error *err)
{
    struct adopt_segment *segment = log_add_segment(log);
    if (!segment)
        return adopt_no_memory(err);
    segment->file_id = file->file_id;
    segment->proof = proof;
    segment->row = *row;
    /* Of an active one the flushpoint says it, of a sealed one it does not matter: another log
     * would have to follow. */
    segment->is_closed = log->flushpoint && log->flushpoint->is_closed &&
                         row->last_sequence == log->flushpoint->last_sequence;
    file->is_known = true;
    return KS_OK;
}

/* ---- what a file holds ---- */

/* Batches from offset on, as long as each follows the one before and is intact: what was flushed,
 * and perhaps what was about to be. All of it was durable in the journal before. */
static enum ks_status walk_batches(struct ks_file *file, uint64_t file_bytes, uint64_t log_id,
    struct adopt_segment *segment, struct ks_error *err)
{
    Kstream__Catalog__FileRow *row = &segment->row;
    struct ks_buf bytes;
    ks_buf_init(&bytes, BATCH_BYTES_MAX);
    enum ks_status st = KS_OK;
    while (!segment->is_closed && row->readable_bytes + KS_BATCH_HEADER_BYTES < file_bytes) {
        uint8_t prefix[KS_BATCH_PREFIX_BYTES_MAX];
        struct ks_batch_header header;
        struct ks_batch_view batch;
        size_t stored_bytes = 0;
        size_t wanted = (size_t)ks_min_u64(sizeof prefix, file_bytes - row->readable_bytes);
        st = ks_file_read_exactly(file, prefix, wanted, row->readable_bytes, err);
        if (st || ks_batch_decode_prefix(ks_view_of(prefix, wanted), &header, &stored_bytes) ||
            header.log_id != log_id || header.first_sequence != row->last_sequence + 1 ||
            stored_bytes > file_bytes - row->readable_bytes || stored_bytes > BATCH_BYTES_MAX)
            break;
        bytes.bytes = 0;
        if (!ks_buf_reserve(&bytes, stored_bytes)) {
            st = adopt_no_memory(err);
            break;
        }
        st = ks_file_read_exactly(file, bytes.data, stored_bytes, row->readable_bytes, err);
        if (st || ks_batch_decode(ks_view_of(bytes.data, stored_bytes), &batch) ||
            ks_batch_verify(&batch))
            break;
        if (row->batch_count == 0)
            row->first_arrival_unix_ms = header.arrival_unix_ms;
        row->last_arrival_unix_ms = header.arrival_unix_ms;
        row->last_sequence = ks_batch_last_sequence(&header);
        row->readable_bytes += stored_bytes;
        row->batch_count++;
        segment->is_closed = header.kind == KS_BATCH_CLOSE;
    }
    ks_buf_fini(&bytes);
    return st == KS_CORRUPT || st == KS_IO ? KS_OK : st; /* what cannot be read ends it */
}

/* True: the file is sealed, and its footer says all. */
static bool take_footer(
    struct ks_file *file, uint64_t file_bytes, uint64_t log_id, struct adopt_segment *segment)
{
    Kstream__Catalog__FileRow *row = &segment->row;
    const struct ks_segment asked = {.log_id = log_id, .first_sequence = row->first_sequence};
    struct ks_footer footer;
    if (ks_segment_read_footer_from(&asked, file, file_bytes, &footer, NULL))
        return false;
    if (row->first_arrival_unix_ms == 0 && footer.mark_count > 0)
        row->first_arrival_unix_ms = footer.marks[0].arrival_unix_ms;
    row->status = KS_FILE_SEALED;
    row->last_sequence = footer.last_sequence;
    row->last_arrival_unix_ms = footer.last_arrival_unix_ms;
    row->readable_bytes = KS_SEGMENT_HEADER_BYTES + footer.batches_bytes;
    row->file_bytes = file_bytes;
    row->batch_count = footer.batch_count;
    segment->is_closed =
        footer.batch_count > 0 && footer.batches[footer.batch_count - 1].record_count == 0;
    ks_footer_fini(&footer);
    return true;
}

static enum ks_status examine(
    struct ks_file *file, uint64_t log_id, struct adopt_segment *segment, struct ks_error *err)
{
    uint64_t file_bytes = 0;
    enum ks_status st = ks_file_size(file, &file_bytes, err);
    if (st)
        return st;
    if (take_footer(file, file_bytes, log_id, segment)) {
        segment->proof = ADOPT_FOOTER;
        return KS_OK;
    }
    segment->proof = ADOPT_WALK;
    segment->row.file_bytes = file_bytes;
    return walk_batches(file, file_bytes, log_id, segment, err);
}

/* ---- which segment it is ---- */

/* Still what its row says, and perhaps more of it. */
static enum ks_status take_known(struct adopt *adopt, struct adopt_file *known,
    struct ks_file *file, bool is_readable, struct ks_error *err)
{
    struct adopt_log *log = ks_u64_map_get(&adopt->logs, known->row->log_id);
    bool is_active = known->row->status == KS_FILE_ACTIVE;
    if (!log)
        return ks_fail(err, KS_CORRUPT, 0, "catalog table 'files', row %llu: of no log",
            (unsigned long long)known->file_id);
    enum ks_status st = note_segment(log, known, ADOPT_ROW, known->row, err);
    if (st || !is_active || !is_readable)
        return st;
    struct adopt_segment *segment = &log->segments[log->segment_count - 1];
    st = examine(file, log->log_id, segment, err);
    /* That row may be as it was, but then it is right. */
    if (segment->row.last_sequence == known->row->last_sequence &&
        segment->row.status == KS_FILE_ACTIVE)
        segment->proof = ADOPT_ROW;
    segment->row.file_bytes =
        segment->row.status == KS_FILE_SEALED ? segment->row.file_bytes : known->row->file_bytes;
    return st;
}

static enum ks_status take_newer(struct adopt *adopt, struct adopt_file *known,
    struct ks_file *file, const struct ks_segment_header *header, struct ks_error *err)
{
    struct adopt_log *log = NULL;
    enum ks_status st = adopt_log_for(adopt, header->log_id, &log, err);
    known->is_other = true;
    if (st || !log)
        return st; /* of a log that was deleted before the copy was made */
    Kstream__Catalog__FileRow row = KSTREAM__CATALOG__FILE_ROW__INIT;
    row.generation = header->generation;
    row.status = KS_FILE_ACTIVE;
    row.log_id = header->log_id;
    row.first_sequence = header->first_sequence;
    row.last_sequence = header->first_sequence - 1;
    row.readable_bytes = KS_SEGMENT_HEADER_BYTES;
    st = note_segment(log, known, ADOPT_WALK, &row, err);
    if (st)
        return st;
    struct adopt_segment *segment = &log->segments[log->segment_count - 1];
    st = examine(file, log->log_id, segment, err);
    if (segment->row.last_sequence < segment->row.first_sequence) {
        log->segment_count--; /* a header, and nothing behind it yet */
        return st;
    }
    if (log->is_new && log->stream_id[0] == '\0') {
        log->shard_index = header->shard_index;
        log->hash_first = header->hash_first;
        log->hash_last = header->hash_last;
        log->created_s = header->shard_created_s;
        memcpy(log->stream_id, header->stream_id, sizeof log->stream_id);
        memcpy(log->stream_name, header->stream_name, sizeof log->stream_name);
    }
    return st;
}

/* The row of the copy is of an earlier use: that segment is gone. */
static enum ks_status note_gone(
    struct adopt *adopt, struct adopt_file *known, enum adopt_proof proof, struct ks_error *err)
{
    struct adopt_log *log = ks_u64_map_get(&adopt->logs, known->row->log_id);
    return log ? note_segment(log, known, proof, known->row, err) : KS_OK;
}

static bool is_segment(const struct adopt_file *file)
{
    return file->row &&
           (file->row->status == KS_FILE_ACTIVE || file->row->status == KS_FILE_SEALED);
}

/* False: no segment of ours, or its header is damaged. */
static bool read_header(struct ks_file *file, uint64_t file_id, struct ks_segment_header *header)
{
    uint8_t bytes[KS_SEGMENT_HEADER_BYTES];
    ks_file_drop_cache(file);
    return !ks_file_read_exactly(file, bytes, sizeof bytes, 0, NULL) &&
           !ks_segment_header_decode(ks_view_of(bytes, sizeof bytes), header, NULL) &&
           header->file_id == file_id;
}

static enum ks_status look_at_file(
    struct adopt *adopt, struct adopt_file *known, const char *path, struct ks_error *err)
{
    KS_CLEANUP(ks_file_closep) struct ks_file *file = NULL;
    struct ks_segment_header header;
    uint64_t file_bytes = 0;
    enum ks_status st = ks_io_open(adopt->io, path, KS_OPEN_READ, &file, err);
    if (!st)
        st = ks_file_size(file, &file_bytes, err);
    if (st)
        return st;
    bool is_readable = read_header(file, known->file_id, &header);
    bool is_newer = is_readable && (!known->row || header.generation > known->row->generation);
    known->is_fresh = !known->row && file_bytes == 0;
    if (is_readable || known->is_fresh)
        adopt->file_id_high = ks_max_u64(adopt->file_id_high, known->file_id);
    if (is_segment(known) && !is_newer)
        return take_known(adopt, known, file, is_readable, err);
    if (is_segment(known))
        st = note_gone(adopt, known, ADOPT_REUSED, err);
    return st || !is_newer ? st : take_newer(adopt, known, file, &header, err);
}

/* ---- folders ---- */

/* Names, zero-terminated one after the other: the callback may not call back into io. */
static void collect_name(void *arg, const char *name)
{
    struct ks_buf *names = arg;
    if (!ks_buf_append(names, name, strlen(name) + 1))
        names->bytes_max = 0; /* seen by the caller */
}

static enum ks_status file_for(
    struct adopt *adopt, uint64_t file_id, struct adopt_file **out_file, struct ks_error *err)
{
    *out_file = ks_u64_map_get(&adopt->files, file_id);
    if (*out_file)
        return KS_OK;
    *out_file = ks_zalloc(sizeof **out_file);
    if (!*out_file || !ks_u64_map_reserve(&adopt->files, 1)) {
        ks_free(*out_file);
        return adopt_no_memory(err);
    }
    (*out_file)->file_id = file_id;
    ks_u64_map_put(&adopt->files, file_id, *out_file);
    return KS_OK;
}

/* False: none of ours. */
static bool name_parse(unsigned folder, const char *name, uint64_t *out_file_id)
{
    char path[KS_FILE_PATH_BYTES];
    unsigned long long file_id = 0;
    int end = 0;
    if (sscanf(name, "%16llx.seg%n", &file_id, &end) != 1 || end == 0 || name[end] != '\0')
        return false;
    ks_files_path(file_id, path);
    *out_file_id = file_id;
    return (file_id >> 8 & 0xff) == folder && strcmp(path + sizeof "segments/xx", name) == 0;
}

static enum ks_status look_at_name(struct adopt *adopt, uint64_t file_id, struct ks_error *err)
{
    char path[KS_FILE_PATH_BYTES];
    struct adopt_file *file = NULL;
    enum ks_status st = file_for(adopt, file_id, &file, err);
    if (st)
        return st;
    ks_files_path(file_id, path);
    file->is_present = true;
    return look_at_file(adopt, file, path, err);
}

/* Only whether a segment has a number above what the catalog has given out. */
static enum ks_status look_at_number(struct adopt *adopt, uint64_t file_id, struct ks_error *err)
{
    KS_CLEANUP(ks_file_closep) struct ks_file *file = NULL;
    struct ks_segment_header header;
    char path[KS_FILE_PATH_BYTES];
    if (file_id <= adopt->file_id_high)
        return KS_OK;
    ks_files_path(file_id, path);
    enum ks_status st = ks_io_open(adopt->io, path, KS_OPEN_READ, &file, err);
    if (!st && read_header(file, file_id, &header))
        adopt->file_id_high = file_id;
    return st;
}

static enum ks_status list_folder(
    struct adopt *adopt, const char *path, struct ks_buf *names, struct ks_error *err)
{
    enum ks_status st = ks_io_list(adopt->io, path, collect_name, names, err);
    if (!st && names->bytes_max == 0)
        return adopt_no_memory(err);
    return st == KS_NOT_FOUND ? KS_OK : st;
}

/* is_look: what each file is; else only whether there is one that the catalog cannot know. */
static enum ks_status each_file(
    struct adopt *adopt, unsigned folder, bool is_look, struct ks_error *err)
{
    char path[KS_FILE_PATH_BYTES];
    struct ks_buf names;
    snprintf(path, sizeof path, "segments/%02x", folder);
    ks_buf_init(&names, SIZE_MAX);
    enum ks_status st = list_folder(adopt, path, &names, err);
    for (size_t at = 0; !st && at < names.bytes;) {
        const char *name = (const char *)names.data + at;
        uint64_t file_id = 0;
        bool is_ours = name_parse(folder, name, &file_id);
        if (is_ours)
            st = is_look ? look_at_name(adopt, file_id, err) : look_at_number(adopt, file_id, err);
        at += strlen(name) + 1;
    }
    ks_buf_fini(&names);
    return st;
}

static enum ks_status each_folder(struct adopt *adopt, bool is_look, struct ks_error *err)
{
    struct ks_buf names;
    ks_buf_init(&names, SIZE_MAX);
    enum ks_status st = list_folder(adopt, "segments", &names, err);
    for (size_t at = 0; !st && at < names.bytes;) {
        const char *name = (const char *)names.data + at;
        char same[8];
        unsigned folder = FOLDERS;
        if (strlen(name) == 2 && sscanf(name, "%02x", &folder) == 1 && folder < FOLDERS) {
            snprintf(same, sizeof same, "%02x", folder);
            st = strcmp(same, name) == 0 ? each_file(adopt, folder, is_look, err) : KS_OK;
        }
        at += strlen(name) + 1;
    }
    ks_buf_fini(&names);
    return st;
}

enum ks_status adopt_files_highest(struct adopt *adopt, struct ks_error *err)
{
    return each_folder(adopt, false, err);
}

enum ks_status adopt_files_look(struct adopt *adopt, struct ks_error *err)
{
    enum ks_status st = each_folder(adopt, true, err);
    KS_U64_MAP_FOR_EACH(slot, &adopt->files)
    {
        struct adopt_file *file = slot->value;
        if (!st && is_segment(file) && !file->is_present)
            st = note_gone(adopt, file, ADOPT_MISSING, err);
    }
    return st;
}
