/*
 * One segment file from its first byte to its last: header, every batch and record, footer, each
 * against the catalog's row and against each other. A file by itself (no row) is judged by its own
 * header and footer and must be sealed: behind the last batch of an active one lies what only the
 * catalog can tell from data.
 */
#include "base/alloc.h"
#include "storage/files.h"
#include "storage/segment_format.h"
#include "tools/inspect.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define WINDOW_BYTES (1u << 20)
#define ULL(value) ((unsigned long long)(value))

struct walk {
    struct inspect_segment_job *job;
    struct ks_file *file;
    uint64_t file_bytes;
    uint64_t end_bytes; /* of the batches */
    uint64_t log_id;
    uint64_t last_sequence; /* of the segment; a close takes one */
    uint64_t expected;      /* sequence */
    uint64_t arrival_unix_ms;
    struct ks_footer footer;
    bool has_footer;
    uint32_t mark;  /* of the footer, next */
    uint32_t index; /* of the batch */
    bool is_out_of_memory;
    struct ks_buf window;
    uint64_t window_offset;
};

/* ---- findings ---- */

struct stretch {
    uint64_t offset;
    uint64_t bytes;
    uint64_t first; /* 0: no record is lost */
    uint64_t last;
};

static void damage(const struct walk *walk, struct stretch stretch, const char *text)
{
    struct inspect_finding finding = {.severity = INSPECT_DAMAGE,
        .offset = stretch.offset,
        .bytes = stretch.bytes,
        .shard = walk->job->shard,
        .log_id = walk->log_id,
        .first_sequence = stretch.first,
        .last_sequence = stretch.last};
    memcpy(finding.where, walk->job->path, sizeof finding.where);
    inspect_report_add(walk->job->report, &finding, "%s", text);
}

/* ---- bytes ---- */

static enum ks_status read_at(const struct walk *walk, uint64_t offset, uint8_t *to, size_t bytes)
{
    return ks_file_read_exactly(walk->file, to, bytes, offset, NULL);
}

/* bytes at offset, out of the window. KS_CORRUPT: unreadable sectors, or the file is shorter. */
static enum ks_status window_at(
    struct walk *walk, uint64_t offset, size_t bytes, struct ks_view *out)
{
    bool is_there =
        offset >= walk->window_offset && offset + bytes <= walk->window_offset + walk->window.bytes;
    if (!is_there) {
        size_t wanted =
            (size_t)ks_min_u64(ks_max_u64(bytes, WINDOW_BYTES), walk->end_bytes - offset);
        walk->window.bytes = 0;
        if (!ks_buf_reserve(&walk->window, wanted)) {
            walk->is_out_of_memory = true;
            return KS_NO_MEMORY;
        }
        enum ks_status st = read_at(walk, offset, walk->window.data, wanted);
        /* A bad sector further on must not hide what stands before it. */
        if (st && wanted > bytes) {
            wanted = bytes;
            st = read_at(walk, offset, walk->window.data, wanted);
        }
        if (st)
            return KS_CORRUPT;
        walk->window_offset = offset;
        walk->window.bytes = wanted;
    }
    *out = ks_view_of(walk->window.data + (offset - walk->window_offset), bytes);
    return KS_OK;
}

/* ---- header ---- */

static void header_check_shard(const struct walk *walk, const struct ks_segment_header *header)
{
    const struct inspect_shard *shard = walk->job->shard;
    bool is_same = header->shard_index == shard->index &&
                   header->shard_created_s == shard->created_s &&
                   header->hash_first == shard->hash_first && header->hash_last == shard->hash_last;
    if (shard->stream)
        is_same = is_same && strcmp(header->stream_name, shard->stream->name) == 0 &&
                  strcmp(header->stream_id, shard->stream->id) == 0;
    if (!is_same)
        damage(walk, (struct stretch){0, KS_SEGMENT_HEADER_BYTES, 0, 0},
            "the header names another stream or shard than the catalog");
}

/* With a row a bad header is a finding: the batches say themselves whose they are. */
static enum ks_status walk_header(struct walk *walk, struct ks_error *err)
{
    struct inspect_segment_job *job = walk->job;
    KS_AUTO_FREE uint8_t *bytes = ks_malloc(KS_SEGMENT_HEADER_BYTES);
    if (!bytes)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory to check a segment");
    struct ks_segment_header header;
    struct ks_error error = KS_ERROR_INIT;
    if (!job->row && walk->file_bytes == 0)
        return ks_fail(err, KS_CORRUPT, 0, "the file is empty: kept for a segment to come");
    enum ks_status st = ks_file_read_exactly(walk->file, bytes, KS_SEGMENT_HEADER_BYTES, 0, &error);
    if (!st)
        st = ks_segment_header_decode(ks_view_of(bytes, KS_SEGMENT_HEADER_BYTES), &header, &error);
    if (st == KS_UNSUPPORTED || (st && !job->row)) {
        if (err)
            *err = error;
        return st;
    }
    const struct stretch all = {0, KS_SEGMENT_HEADER_BYTES, 0, 0};
    if (st) {
        damage(walk, all, error.text);
        return KS_OK;
    }
    if (!job->row) {
        job->log_id = header.log_id;
        job->shard_index = header.shard_index;
        job->shard_created_s = header.shard_created_s;
        memcpy(job->stream_name, header.stream_name, sizeof job->stream_name);
        walk->log_id = header.log_id;
        walk->expected = header.first_sequence;
        return KS_OK;
    }
    if (header.file_id != job->row->file_id || header.generation != job->row->generation ||
        header.log_id != job->row->log_id || header.first_sequence != job->row->first_sequence)
        damage(walk, all, "the header is of another use of the file than the catalog means");
    else if (job->shard)
        header_check_shard(walk, &header);
    return KS_OK;
}

/* ---- footer ---- */

static enum ks_status footer_read(
    struct walk *walk, struct stretch *out_place, struct ks_error *err)
{
    uint8_t last[4];
    uint64_t bytes = 0;
    *out_place = (struct stretch){walk->file_bytes - sizeof last, sizeof last, 0, 0};
    if (walk->file_bytes < KS_SEGMENT_HEADER_BYTES + sizeof last)
        return ks_fail(err, KS_CORRUPT, 0, "the file is too short for a footer");
    enum ks_status st = read_at(walk, walk->file_bytes - sizeof last, last, sizeof last);
    if (!st)
        st = ks_footer_length(ks_view_of(last, sizeof last), &bytes);
    if (st || bytes > walk->file_bytes - KS_SEGMENT_HEADER_BYTES)
        return ks_fail(err, KS_CORRUPT, 0, "the footer's length is not one");
    *out_place = (struct stretch){walk->file_bytes - bytes, bytes, 0, 0};
    KS_AUTO_FREE uint8_t *footer = ks_malloc(bytes);
    if (!footer)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory to check a segment");
    st = read_at(walk, walk->file_bytes - bytes, footer, bytes);
    if (!st)
        st = ks_footer_decode(ks_view_of(footer, bytes), &walk->footer);
    if (st == KS_NO_MEMORY)
        return ks_fail(err, st, 0, "no memory to check a segment");
    if (st)
        return ks_fail(err, KS_CORRUPT, 0, "the footer is damaged");
    walk->has_footer = true;
    return KS_OK;
}

/* What the footer says as a whole, against row and header. */
static void footer_check(struct walk *walk, struct stretch place)
{
    const struct ks_footer *footer = &walk->footer;
    const struct inspect_file *row = walk->job->row;
    uint64_t end = KS_SEGMENT_HEADER_BYTES + footer->batches_bytes;
    bool is_right = footer->log_id == walk->log_id && footer->first_sequence == walk->expected &&
                    end == place.offset;
    if (row)
        is_right =
            is_right && footer->last_sequence == row->last_sequence && end == row->readable_bytes;
    if (is_right)
        return;
    damage(walk, place, "the footer does not belong to this segment");
    ks_footer_fini(&walk->footer);
    walk->has_footer = false;
}

/*
 * Of a file by itself, where no footer was found: what is still written to ends in allocated
 * zeroes, or in what a former use of the file has left, and that is no damage.
 */
static enum ks_status fail_unsealed(
    const struct walk *walk, struct stretch place, const char *why, struct ks_error *err)
{
    uint8_t last[4] = {0};
    bool has_end = walk->file_bytes >= KS_SEGMENT_HEADER_BYTES + sizeof last &&
                   (ks_file_read_exactly(walk->file, last, sizeof last,
                        walk->file_bytes - sizeof last, NULL) != KS_OK ||
                       memcmp(last, (uint8_t[4]){0}, sizeof last) != 0);
    if (place.bytes > sizeof last)
        return ks_fail(err, KS_CORRUPT, 0, "%s", why);
    return ks_fail(err, KS_CORRUPT, 0,
        "this segment is not sealed%s: it has no footer, and only the catalog knows where it ends. "
        "Use verify DIR, dump DIR --segment ID",
        has_end ? " (or damaged at its end)" : "");
}

static enum ks_status walk_footer(struct walk *walk, struct ks_error *err)
{
    const struct inspect_file *row = walk->job->row;
    if (row && row->state != KS_FILE_SEALED)
        return KS_OK;
    if (row && row->file_bytes == row->readable_bytes)
        return KS_OK; /* given up when its header was found to be damaged */
    struct stretch place;
    struct ks_error error = KS_ERROR_INIT;
    enum ks_status st = footer_read(walk, &place, &error);
    if (st && st != KS_NO_MEMORY && !row)
        return fail_unsealed(walk, place, error.text, err);
    if (st == KS_NO_MEMORY) {
        if (err)
            *err = error;
        return st;
    }
    if (st) {
        damage(walk, place, error.text);
        return KS_OK;
    }
    footer_check(walk, place);
    if (!row && !walk->has_footer)
        return ks_fail(err, KS_CORRUPT, 0, "the footer does not belong to this segment");
    if (!row) {
        walk->end_bytes = place.offset;
        walk->last_sequence = walk->footer.last_sequence;
    }
    return KS_OK;
}

/* ---- batches ---- */

void inspect_batch_damage(const struct ks_batch_view *batch,
    void (*each)(
        void *arg, size_t position, size_t bytes, uint64_t first, uint64_t last, const char *text),
    void *arg)
{
    uint64_t first = batch->header.first_sequence;
    uint64_t last = ks_batch_last_sequence(&batch->header);
    size_t records_at = (size_t)(batch->records.data - batch->stored.data);
    struct ks_record_walk walk;
    struct ks_record_view record;
    uint32_t count = 0;
    uint32_t bad = 0;
    size_t position = 0; /* behind the last record that has its form */
    ks_record_walk_init(&walk, batch->records);
    while (count < batch->header.record_count && ks_record_walk_next(&walk, &record) == KS_OK) {
        if (!ks_record_crc_is_right(&record)) {
            each(arg, (size_t)(record.stored.data - batch->stored.data), record.stored.bytes,
                first + count, first + count, "a record has a wrong checksum");
            bad++;
        }
        count++;
        position = walk.cursor.position;
    }
    size_t at = records_at + position;
    size_t left = batch->records.bytes - position;
    if (count < batch->header.record_count)
        each(arg, at, left, first + count, last,
            "a record is malformed: the rest of its batch cannot be found");
    else if (left > 0)
        each(arg, at, left, 0, 0, "bytes behind the last record of a batch");
    else if (bad == 0)
        each(arg, records_at, batch->records.bytes, first, last,
            "the records are not the ones that the batch was written for");
}

struct batch_damage {
    const struct walk *walk;
    uint64_t offset;
};

static void batch_damage_each(
    void *arg, size_t position, size_t bytes, uint64_t first, uint64_t last, const char *text)
{
    const struct batch_damage *of = arg;
    damage(of->walk, (struct stretch){of->offset + position, bytes, first, last}, text);
}

/* Header and lengths of the batch at offset are right: is it the one that should stand here? */
static bool batch_is_expected(const struct walk *walk, const struct ks_batch_header *header)
{
    return header->log_id == walk->log_id && header->first_sequence == walk->expected &&
           ks_batch_last_sequence(header) <= walk->last_sequence;
}

static void batch_check_footer(
    struct walk *walk, uint64_t offset, const struct ks_batch_view *batch)
{
    const struct ks_footer *footer = &walk->footer;
    if (!walk->has_footer)
        return;
    const struct stretch place = {offset, batch->stored_bytes, 0, 0};
    if (walk->index >= footer->batch_count ||
        footer->batches[walk->index].bytes != batch->stored_bytes ||
        footer->batches[walk->index].record_count != batch->header.record_count) {
        damage(walk, place, "the footer lists another batch here");
        return;
    }
    if (walk->mark < footer->mark_count && footer->marks[walk->mark].batch == walk->index) {
        if (footer->marks[walk->mark].arrival_unix_ms != batch->header.arrival_unix_ms)
            damage(walk, place, "the footer has another arrival for this batch");
        walk->mark++;
    }
}

/* Returns whether all its records are right. */
static bool batch_check(struct walk *walk, uint64_t offset, const struct ks_batch_view *batch)
{
    const struct ks_batch_header *header = &batch->header;
    struct inspect_segment_job *job = walk->job;
    bool is_whole = ks_batch_verify(batch) == KS_OK;
    if (header->kind == KS_BATCH_DAMAGED) {
        damage(walk,
            (struct stretch){offset, batch->stored_bytes, header->first_sequence,
                ks_batch_last_sequence(header)},
            "lost to earlier damage, as recovery has noted here");
    } else if (!is_whole) {
        struct batch_damage of = {.walk = walk, .offset = offset};
        inspect_batch_damage(batch, batch_damage_each, &of);
    }
    if (header->arrival_unix_ms < walk->arrival_unix_ms)
        damage(walk, (struct stretch){offset, batch->stored_bytes, 0, 0},
            "a batch arrived before the one in front of it");
    walk->arrival_unix_ms = header->arrival_unix_ms;
    batch_check_footer(walk, offset, batch);
    job->batches++;
    job->records += header->record_count;
    return is_whole;
}

/* The batch at offset. KS_CORRUPT: there is none that should be here; KS_UNSUPPORTED. */
static enum ks_status batch_at(struct walk *walk, uint64_t offset, struct ks_batch_view *out_batch)
{
    struct ks_view view;
    struct ks_batch_header header;
    size_t stored_bytes = 0;
    size_t prefix = (size_t)ks_min_u64(KS_BATCH_PREFIX_BYTES_MAX, walk->end_bytes - offset);
    enum ks_status st = window_at(walk, offset, prefix, &view);
    if (!st)
        st = ks_batch_decode_prefix(view, &header, &stored_bytes);
    if (!st && (stored_bytes > walk->end_bytes - offset || !batch_is_expected(walk, &header)))
        st = KS_CORRUPT;
    if (!st)
        st = window_at(walk, offset, stored_bytes, &view);
    return st ? st : ks_batch_decode(view, out_batch);
}

/* Without a batch at offset: the footer knows where the next one begins, else nobody does. */
static uint64_t damage_end(const struct walk *walk, uint64_t offset, uint64_t *out_next_sequence)
{
    uint64_t at = KS_SEGMENT_HEADER_BYTES;
    uint64_t sequence = walk->footer.first_sequence;
    *out_next_sequence = walk->last_sequence + 1;
    for (uint32_t i = 0; walk->has_footer && i < walk->footer.batch_count; i++) {
        uint64_t next = at + walk->footer.batches[i].bytes;
        uint64_t next_sequence = sequence + walk->footer.batches[i].record_count;
        if (at == offset && sequence == walk->expected) {
            *out_next_sequence = next_sequence;
            return next;
        }
        at = next;
        sequence = next_sequence;
    }
    return walk->end_bytes;
}

static uint64_t batch_is_missing(struct walk *walk, uint64_t offset, enum ks_status st)
{
    uint64_t next_sequence = 0;
    uint64_t end = damage_end(walk, offset, &next_sequence);
    bool is_lost = next_sequence > walk->expected;
    damage(walk,
        (struct stretch){
            offset, end - offset, is_lost ? walk->expected : 0, is_lost ? next_sequence - 1 : 0},
        st == KS_UNSUPPORTED ? "a batch of a newer version of kstream"
                             : "no readable batch where one should begin");
    if (walk->has_footer && walk->mark < walk->footer.mark_count &&
        walk->footer.marks[walk->mark].batch == walk->index)
        walk->mark++;
    walk->expected = next_sequence;
    return end;
}

static enum ks_status walk_batches(struct walk *walk, struct ks_error *err)
{
    uint64_t offset = KS_SEGMENT_HEADER_BYTES;
    bool is_wanted = true;
    while (is_wanted && offset < walk->end_bytes) {
        struct ks_batch_view batch;
        enum ks_status st = batch_at(walk, offset, &batch);
        if (walk->is_out_of_memory)
            return ks_fail(err, KS_NO_MEMORY, 0, "no memory to check a segment");
        if (st) {
            offset = batch_is_missing(walk, offset, st);
        } else {
            bool is_whole = batch_check(walk, offset, &batch);
            if (walk->job->each)
                is_wanted = walk->job->each(walk->job->arg, &batch, is_whole);
            walk->expected = batch.header.first_sequence + batch.header.record_count;
            offset += batch.stored_bytes;
        }
        walk->index++;
    }
    walk->job->bytes = offset;
    uint64_t end = walk->last_sequence + 1;
    /* A close batch takes the segment's last sequence without counting as a record. */
    if (is_wanted && walk->expected != end && walk->expected + 1 != end)
        damage(walk, (struct stretch){walk->end_bytes, 0, walk->expected, walk->last_sequence},
            "the batches end before the last record that should be here");
    return KS_OK;
}

/* ---- the whole file ---- */

static enum ks_status walk_size(struct walk *walk, struct ks_error *err)
{
    const struct inspect_file *row = walk->job->row;
    enum ks_status st = ks_file_size(walk->file, &walk->file_bytes, err);
    if (st || !row)
        return st;
    bool is_sealed = row->state == KS_FILE_SEALED;
    uint64_t needed = is_sealed ? row->file_bytes : row->readable_bytes;
    char text[120];
    snprintf(text, sizeof text, "the file has %llu bytes, the catalog says %s%llu",
        ULL(walk->file_bytes), is_sealed ? "" : "at least ", ULL(needed));
    if (walk->file_bytes < needed || (is_sealed && walk->file_bytes > needed))
        damage(walk, (struct stretch){ks_min_u64(walk->file_bytes, needed), 0, 0, 0}, text);
    if (is_sealed)
        walk->file_bytes = needed; /* where the footer was written */
    walk->end_bytes = row->readable_bytes;
    return KS_OK;
}

static enum ks_status walk_file(struct walk *walk, struct ks_error *err)
{
    const struct inspect_file *row = walk->job->row;
    if (row) {
        walk->log_id = row->log_id;
        walk->expected = row->first_sequence;
        walk->last_sequence = row->last_sequence;
    }
    enum ks_status st = walk_size(walk, err);
    if (!st)
        st = walk_header(walk, err);
    if (!st)
        st = walk_footer(walk, err);
    return st ? st : walk_batches(walk, err);
}

enum ks_status inspect_segment_walk(struct inspect_segment_job *job, struct ks_error *err)
{
    struct walk walk = {.job = job};
    struct ks_error error = KS_ERROR_INIT;
    enum ks_status st = ks_io_open(job->io, job->path, KS_OPEN_READ, &walk.file, &error);
    if (st && job->row) {
        walk.log_id = job->row->log_id;
        damage(&walk, (struct stretch){0, 0, job->row->first_sequence, job->row->last_sequence},
            error.text);
        return KS_OK;
    }
    if (!st) {
        ks_buf_init(&walk.window, KS_BATCH_STORED_BYTES_MAX + WINDOW_BYTES);
        st = walk_file(&walk, &error);
        ks_buf_fini(&walk.window);
        if (walk.has_footer)
            ks_footer_fini(&walk.footer);
    }
    ks_file_close(walk.file);
    if (st && err)
        *err = error;
    return st;
}

/* ---- a file by itself ---- */

bool inspect_is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

enum ks_status inspect_file_open(
    const char *path, struct inspect_segment_job *job, struct ks_error *err)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    char folder[4096] = ".";
    if (strlen(path) >= sizeof folder || strlen(name) >= sizeof job->path)
        return ks_fail(err, KS_USAGE, 0, "the name of the file is too long");
    if (slash)
        snprintf(folder, sizeof folder, "%.*s/", (int)(slash - path), path);
    memcpy(job->path, name, strlen(name) + 1);
    return ks_io_posix_open_read_only(folder, &job->io, err);
}
