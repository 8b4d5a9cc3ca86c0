/* dump: records, as they lie in segments and journal. */
#include "base/alloc.h"
#include "proto/sequence.h"
#include "storage/files.h"
#include "tools/ctl_json.h"
#include "tools/ctl_time.h"
#include "tools/inspect.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct dump {
    const struct inspect_dump_options *options;
    struct inspect_report *report;
    /* of the records that come */
    const char *stream;
    uint32_t shard_index;
    uint64_t shard_created_s;
    uint64_t printed;
    bool is_output_bad;
};

/* ---- one record ---- */

static void sequence_text(const struct dump *dump, uint64_t sequence, uint64_t arrival_unix_ms,
    char text[KS_SEQUENCE_TEXT_BYTES])
{
    const struct ks_sequence_number number = {
        .created_unix_s = ks_min_u64(dump->shard_created_s, KS_SEQUENCE_SECONDS_MAX),
        .ordinal = ks_min_u64(sequence, KS_SEQUENCE_MAX),
        .arrival_unix_s = ks_min_u64(arrival_unix_ms / 1000, KS_SEQUENCE_SECONDS_MAX),
        .shard_index = KS_MIN(dump->shard_index, KS_SHARD_INDEX_MAX)};
    ks_sequence_to_text(&number, text);
}

static bool add_bytes(json_t *object, struct ks_view data)
{
    if (ks_view_is_utf8(data))
        return ctl_json_add(
            object, "data", json_stringn(data.bytes ? (const char *)data.data : "", data.bytes));
    return ctl_json_add(object, "data_base64", ctl_json_bytes(data.data, data.bytes));
}

static bool print_json(const struct dump *dump, const struct ks_record_view *record,
    uint64_t sequence, uint64_t arrival_unix_ms)
{
    char shard_id[KS_SHARD_ID_TEXT_BYTES];
    char number[KS_SEQUENCE_TEXT_BYTES];
    char hash[KS_U128_TEXT_BYTES];
    ks_shard_id_to_text(KS_MIN(dump->shard_index, KS_SHARD_INDEX_MAX), shard_id);
    sequence_text(dump, sequence, arrival_unix_ms, number);
    json_t *object = json_object();
    bool is_fine = ctl_json_add(object, "stream", ctl_json_text(dump->stream)) &&
                   ctl_json_add(object, "shard_id", json_string(shard_id)) &&
                   ctl_json_add(object, "sequence", json_integer((json_int_t)sequence)) &&
                   ctl_json_add(object, "sequence_number", json_string(number)) &&
                   ctl_json_add(object, "arrival_time", ctl_json_time(arrival_unix_ms)) &&
                   ctl_json_add(object, "partition_key",
                       json_stringn((const char *)record->key.data, record->key.bytes));
    if (is_fine && record->explicit_hash.bytes > 0) {
        ks_u128_to_text(ks_u128_load_be(record->explicit_hash.data), hash);
        is_fine = ctl_json_add(object, "explicit_hash_key", json_string(hash));
    }
    is_fine = is_fine && add_bytes(object, record->data) &&
              json_dumpf(object, stdout, JSON_COMPACT) == 0 && fputc('\n', stdout) != EOF;
    json_decref(object);
    return is_fine;
}

/* What would upset a terminal or another tool's columns goes out as base64, and says so. */
static bool print_column(struct ks_view bytes)
{
    if (bytes.bytes == 0)
        return true;
    if (ctl_is_plain_text(bytes.data, bytes.bytes) && !memchr(bytes.data, '\t', bytes.bytes))
        return fwrite(bytes.data, 1, bytes.bytes, stdout) == bytes.bytes;
    json_t *text = ctl_json_bytes(bytes.data, bytes.bytes);
    bool is_fine = text && fprintf(stdout, "base64:%s", json_string_value(text)) > 0;
    json_decref(text);
    return is_fine;
}

static bool print_text(const struct dump *dump, const struct ks_record_view *record,
    uint64_t sequence, uint64_t arrival_unix_ms)
{
    char shard_id[KS_SHARD_ID_TEXT_BYTES];
    char time[CTL_TIME_TEXT_BYTES];
    ks_shard_id_to_text(KS_MIN(dump->shard_index, KS_SHARD_INDEX_MAX), shard_id);
    ctl_time_to_utc(arrival_unix_ms, time);
    return fprintf(stdout, "%s\t%s\t%llu\t%s\t", dump->stream, shard_id,
               (unsigned long long)sequence, time) > 0 &&
           print_column(record->key) && fputc('\t', stdout) != EOF && print_column(record->data) &&
           fputc('\n', stdout) != EOF;
}

/* ---- one batch ---- */

/* False: enough has been printed, or no more can be. */
static bool print_batch(void *arg, const struct ks_batch_view *batch, bool is_whole)
{
    struct dump *dump = arg;
    uint64_t sequence = batch->header.first_sequence;
    struct ks_record_walk walk;
    struct ks_record_view record;
    ks_record_walk_init(&walk, batch->records);
    for (uint32_t i = 0; i < batch->header.record_count; i++, sequence++) {
        if (ks_record_walk_next(&walk, &record))
            return true; /* told of already */
        if (sequence < dump->options->from_sequence ||
            (!is_whole && !ks_record_crc_is_right(&record)))
            continue;
        if (dump->printed == dump->options->limit)
            return false;
        bool is_fine = dump->options->is_json
                           ? print_json(dump, &record, sequence, batch->header.arrival_unix_ms)
                           : print_text(dump, &record, sequence, batch->header.arrival_unix_ms);
        if (!is_fine) {
            dump->is_output_bad = true;
            return false;
        }
        dump->printed++;
    }
    return dump->printed < dump->options->limit;
}

/* ---- one segment ---- */

static enum ks_status dump_segment(struct dump *dump, const struct inspect_dir *dir,
    const struct inspect_shard *shard, const struct inspect_file *file, struct ks_error *err)
{
    struct inspect_segment_job job = {.io = dir->io,
        .shard = shard,
        .row = file,
        .report = dump->report,
        .each = print_batch,
        .arg = dump};
    ks_files_path(file->file_id, job.path);
    return inspect_segment_walk(&job, err);
}

/* Once to learn whose it is and what is damaged, and once more to print. */
static enum ks_status dump_file(struct dump *dump, const char *path, struct ks_error *err)
{
    struct inspect_segment_job job = {.report = dump->report};
    enum ks_status st = inspect_file_open(path, &job, err);
    if (!st)
        st = inspect_segment_walk(&job, err);
    struct inspect_report ignored;
    inspect_report_init(&ignored);
    struct dump inner = *dump;
    inner.stream = job.stream_name;
    inner.shard_index = job.shard_index;
    inner.shard_created_s = job.shard_created_s;
    job.report = &ignored;
    job.each = print_batch;
    job.arg = &inner;
    if (!st)
        st = inspect_segment_walk(&job, err);
    dump->printed = inner.printed;
    dump->is_output_bad = inner.is_output_bad;
    inspect_report_fini(&ignored);
    ks_io_posix_close(job.io);
    return st;
}

/* ---- one shard ---- */

static enum ks_status dump_pending(struct dump *dump, const struct inspect_dir *dir,
    const struct inspect_pending *pending, struct ks_error *err)
{
    char path[40];
    snprintf(path, sizeof path, "journal/%04llu.jnl", (unsigned long long)pending->file_number);
    KS_CLEANUP(ks_file_closep) struct ks_file *file = NULL;
    enum ks_status st = ks_io_open(dir->io, path, KS_OPEN_READ, &file, err);
    if (st)
        return st;
    KS_AUTO_FREE uint8_t *bytes = ks_malloc(pending->bytes);
    if (!bytes)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for a batch");
    struct ks_batch_view batch;
    /* A batch that cannot be read whole was told of with the journal. */
    if (ks_file_read_exactly(file, bytes, pending->bytes, pending->offset, NULL) == KS_OK &&
        ks_batch_decode(ks_view_of(bytes, pending->bytes), &batch) == KS_OK)
        KS_IGNORE(print_batch(dump, &batch, pending->is_whole), "the caller looks at the limit");
    return KS_OK;
}

static bool dump_is_done(const struct dump *dump)
{
    return dump->is_output_bad || dump->printed == dump->options->limit;
}

static enum ks_status dump_shard(struct dump *dump, const struct inspect_dir *dir,
    const struct inspect_shard *shard, struct ks_error *err)
{
    dump->stream = shard->stream ? shard->stream->name : "?";
    dump->shard_index = shard->index;
    dump->shard_created_s = shard->created_s;
    enum ks_status st = KS_OK;
    for (uint32_t i = 0; !st && i < shard->file_count && !dump_is_done(dump); i++) {
        if (shard->files[i]->last_sequence >= dump->options->from_sequence)
            st = dump_segment(dump, dir, shard, shard->files[i], err);
    }
    for (uint32_t i = 0; !st && i < shard->pending_count && !dump_is_done(dump); i++)
        st = dump_pending(dump, dir, &shard->pending[i], err);
    return st;
}

/* ---- a directory ---- */

static enum ks_status dump_one_segment(
    struct dump *dump, const struct inspect_dir *dir, struct ks_error *err)
{
    for (uint32_t i = 0; i < dir->by_log_count; i++) {
        const struct inspect_file *file = dir->by_log[i];
        if (file->file_id != dump->options->segment)
            continue;
        const struct inspect_shard *shard = ks_u64_map_get(&dir->logs, file->log_id);
        dump->stream = shard && shard->stream ? shard->stream->name : "?";
        dump->shard_index = shard ? shard->index : 0;
        dump->shard_created_s = shard ? shard->created_s : 0;
        return dump_segment(dump, dir, shard, file, err);
    }
    return ks_fail(err, KS_NOT_FOUND, 0, "no segment %016llx holds records",
        (unsigned long long)dump->options->segment);
}

static enum ks_status dump_shards(
    struct dump *dump, const struct inspect_dir *dir, struct ks_error *err)
{
    const struct inspect_dump_options *options = dump->options;
    const struct inspect_stream *stream = NULL;
    if (options->stream) {
        stream = inspect_dir_stream(dir, options->stream);
        if (!stream)
            return ks_fail(err, KS_NOT_FOUND, 0, "there is no stream '%.128s'", options->stream);
    }
    bool is_found = false;
    enum ks_status st = KS_OK;
    for (uint32_t i = 0; !st && i < dir->shard_count && !dump_is_done(dump); i++) {
        const struct inspect_shard *shard = &dir->shards[i];
        if ((stream && shard->stream != stream) ||
            (options->has_shard && shard->index != options->shard))
            continue;
        is_found = true;
        st = dump_shard(dump, dir, shard, err);
    }
    if (!st && options->has_shard && !is_found)
        st = ks_fail(err, KS_NOT_FOUND, 0, "there is no shard %u", options->shard);
    return st;
}

static enum ks_status dump_dir(struct dump *dump, const char *path, struct ks_error *err)
{
    struct inspect_dir dir;
    struct inspect_journal journal = {.files = NULL};
    enum ks_status st = inspect_dir_open(path, dump->report, &dir, err);
    if (st)
        return st;
    st = inspect_journal_read(&dir, dump->report, &journal, err);
    inspect_journal_fini(&journal);
    if (st == KS_CORRUPT) /* told of; the segments are still there */
        st = KS_OK;
    if (!st)
        st = dump->options->has_segment ? dump_one_segment(dump, &dir, err)
                                        : dump_shards(dump, &dir, err);
    inspect_dir_close(&dir);
    return st;
}

enum ks_status inspect_dump(const char *path, const struct inspect_dump_options *options,
    struct inspect_report *report, struct ks_error *err)
{
    struct dump dump = {.options = options, .report = report};
    errno = 0;
    if (options->has_header && !options->is_json)
        fputs("STREAM\tSHARD\tSEQUENCE\tARRIVAL\tKEY\tDATA\n", stdout);
    enum ks_status st =
        inspect_is_file(path) ? dump_file(&dump, path, err) : dump_dir(&dump, path, err);
    if (fflush(stdout) != 0 || dump.is_output_bad || ferror(stdout)) {
        int errnum = errno;
        return ks_fail(err, KS_IO, errnum, "cannot write the records");
    }
    return st;
}
