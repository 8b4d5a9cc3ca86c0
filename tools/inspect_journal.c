/*
 * The journal as recovery would read it (storage/journal_chain.h), but reported instead of
 * replayed. A batch at or below its shard's flushpoint is in a segment as well: damage to it loses
 * nothing.
 */
#include "base/alloc.h"
#include "storage/journal_chain.h"
#include "tools/inspect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ULL(value) ((unsigned long long)(value))

struct journal {
    struct inspect_dir *dir;
    struct inspect_report *report;
    struct inspect_journal *out;
    struct ks_chain chain;
    uint64_t told_lost; /* findings with lost records about that block */
    bool is_start_told;
};

/* ---- findings ---- */

static struct inspect_finding finding_at(
    const struct ks_chain_place *place, enum inspect_severity severity)
{
    struct inspect_finding finding = {.severity = severity, .offset = place->offset};
    snprintf(
        finding.where, sizeof finding.where, "journal/%04llu.jnl", ULL(place->file->scan.number));
    return finding;
}

/* What a shard was promised and the journal does not have. */
static void tell_gap(struct journal *j, const struct ks_chain_place *place,
    const struct inspect_shard *shard, uint64_t first, uint64_t last)
{
    struct inspect_finding finding = finding_at(place, INSPECT_DAMAGE);
    finding.shard = shard;
    finding.first_sequence = first;
    finding.last_sequence = last;
    inspect_report_add(j->report, &finding,
        "records are missing: they were in a block that cannot be read, or in no file any more");
}

/* ---- batches ---- */

static bool pending_add(struct inspect_shard *shard, const struct inspect_pending *pending)
{
    if (shard->pending_count == shard->pending_capacity) {
        uint32_t capacity = shard->pending_capacity ? 2 * shard->pending_capacity : 4;
        struct inspect_pending *grown = ks_realloc(shard->pending, capacity * sizeof *grown);
        if (!grown)
            return false;
        shard->pending = grown;
        shard->pending_capacity = capacity;
    }
    shard->pending[shard->pending_count++] = *pending;
    return true;
}

/* True when the bytes are the batch that the table speaks of. */
static bool batch_is_expected(
    struct ks_view stored, const struct ks_journal_entry *entry, struct ks_batch_view *out_batch)
{
    return ks_batch_decode(stored, out_batch) == KS_OK && out_batch->stored_bytes == stored.bytes &&
           out_batch->header.log_id == entry->log_id &&
           out_batch->header.first_sequence == entry->first_sequence &&
           ks_batch_last_sequence(&out_batch->header) == entry->last_sequence;
}

static void tell_batch(struct journal *j, const struct ks_chain_place *place, uint64_t offset,
    const struct ks_journal_entry *entry, bool is_needed)
{
    struct inspect_finding finding = finding_at(place, INSPECT_DAMAGE);
    finding.offset = offset;
    finding.bytes = entry->bytes;
    finding.shard = ks_u64_map_get(&j->dir->logs, entry->log_id);
    finding.log_id = entry->log_id;
    if (is_needed) {
        finding.first_sequence = entry->first_sequence;
        finding.last_sequence = entry->last_sequence;
        j->told_lost++;
    }
    inspect_report_add(j->report, &finding,
        is_needed ? "a batch that is in no segment yet is damaged"
                  : "a batch is damaged; its records are in a segment as well");
}

static void unknown_log(
    struct journal *j, const struct ks_chain_place *place, const struct ks_journal_entry *entry)
{
    if (place->may_be_stale || ks_u64_map_get(&j->dir->tombstones, entry->log_id))
        return;
    struct inspect_finding finding = finding_at(place, INSPECT_DAMAGE);
    finding.log_id = entry->log_id;
    finding.first_sequence = entry->first_sequence;
    finding.last_sequence = entry->last_sequence;
    inspect_report_add(j->report, &finding,
        "records of a log that the catalog does not know: the catalog is older than the journal");
}

static enum ks_status visit_entry(struct journal *j, const struct ks_chain_place *place,
    const struct ks_scan_block *block, const struct ks_journal_entry *entry, struct ks_error *err)
{
    struct inspect_shard *shard = ks_u64_map_get(&j->dir->logs, entry->log_id);
    uint64_t offset = place->offset + block->head.bytes + entry->offset;
    struct ks_batch_view batch = {.stored_bytes = 0};
    bool is_whole = block->payload.data &&
                    batch_is_expected(ks_view_of(block->payload.data + entry->offset, entry->bytes),
                        entry, &batch) &&
                    ks_batch_verify(&batch) == KS_OK;
    bool is_needed = shard && entry->last_sequence > shard->flushed_sequence;
    j->out->batches++;
    if (entry->last_sequence >= entry->first_sequence && is_whole)
        j->out->records += batch.header.record_count;
    if (!is_whole)
        tell_batch(j, place, offset, entry, is_needed);
    if (!shard)
        unknown_log(j, place, entry);
    if (!is_needed)
        return KS_OK;
    if (shard->next_sequence > 0 && entry->first_sequence > shard->next_sequence)
        tell_gap(j, place, shard, shard->next_sequence, entry->first_sequence - 1);
    shard->next_sequence = is_whole ? batch.header.first_sequence + batch.header.record_count
                                    : entry->last_sequence + 1;
    struct inspect_pending pending = {.file_number = place->file->scan.number,
        .offset = offset,
        .bytes = entry->bytes,
        .is_whole = is_whole,
        .first_sequence = entry->first_sequence,
        .last_sequence = entry->last_sequence};
    return pending_add(shard, &pending)
               ? KS_OK
               : ks_fail(err, KS_NO_MEMORY, 0, "no memory for the journal");
}

/* ---- blocks ---- */

static struct inspect_journal_file *file_of(struct journal *j, uint64_t number)
{
    for (uint32_t i = 0; i < j->out->file_count; i++)
        if (j->out->files[i].number == number)
            return &j->out->files[i];
    return NULL;
}

static void check_padding(
    struct journal *j, const struct ks_chain_place *place, const struct ks_scan_block *block)
{
    uint64_t used = block->head.bytes + block->payload.bytes;
    if (ks_bytes_are_zero(block->head.data + used, (size_t)(block->bytes - used)))
        return;
    struct inspect_finding finding = finding_at(place, INSPECT_DAMAGE);
    finding.offset += used;
    finding.bytes = block->bytes - used;
    inspect_report_add(j->report, &finding, "the zeros behind a block are none");
}

/* The header of the oldest file cannot be read, nor its first block: what comes behind may be left
 * from an earlier use. */
static void tell_bad_start(struct journal *j, const struct ks_chain_place *place)
{
    struct inspect_finding finding = finding_at(place, INSPECT_NOTE);
    finding.offset = KS_JOURNAL_FILE_HEADER_BYTES;
    finding.bytes = place->file->scan.offset - KS_JOURNAL_FILE_HEADER_BYTES;
    if (!j->is_start_told)
        inspect_report_add(j->report, &finding,
            "the beginning of the oldest file cannot be read: what it held is not known");
    j->is_start_told = true;
}

/* Blocks before this one are lost. It says again up to where the last of them went. */
static void tell_hole(
    struct journal *j, const struct ks_chain_place *place, const struct ks_scan_block *block)
{
    const struct ks_journal_block_header *header = &block->header;
    for (uint32_t i = 0; i < header->end_count; i++) {
        struct ks_journal_end end;
        ks_journal_end_at(block->head, header, i, &end);
        struct inspect_shard *shard = ks_u64_map_get(&j->dir->logs, end.log_id);
        uint64_t last = end.last_sequence - end.is_closed;
        if (!shard || shard->next_sequence == 0 || last < shard->next_sequence)
            continue;
        tell_gap(j, place, shard, shard->next_sequence, last);
        shard->next_sequence = last + 1;
    }
    if (j->dir->is_clean ||
        (place->lost_ordinals <= header->last_ordinals && header->ends_left_out == 0))
        return;
    struct inspect_finding finding = finding_at(place, INSPECT_DAMAGE);
    inspect_report_add(j->report, &finding,
        "blocks before this one held %llu records, and it does not tell of all which shards",
        ULL(place->lost_ordinals));
}

static enum ks_status visit_block(void *arg, const struct ks_chain_place *place,
    const struct ks_scan_block *block, bool is_whole, struct ks_error *err)
{
    struct journal *j = arg;
    struct inspect_journal_file *file = file_of(j, place->file->scan.number);
    j->out->blocks++;
    j->out->bytes += block->bytes;
    if (place->may_be_stale)
        tell_bad_start(j, place);
    if (file) {
        file->run_id = place->run_id;
        file->first_lsn = file->first_lsn ? file->first_lsn : place->lsn;
        file->last_lsn = place->lsn;
        file->blocks++;
        file->batches += block->header.entry_count;
        file->block_bytes += block->bytes;
    }
    uint64_t told = j->told_lost;
    if (place->lost_ordinals > 0)
        tell_hole(j, place, block);
    for (uint32_t i = 0; i < block->header.entry_count; i++) {
        struct ks_journal_entry entry;
        ks_journal_entry_at(block->head, i, &entry);
        enum ks_status st = visit_entry(j, place, block, &entry, err);
        if (st)
            return st;
    }
    if (is_whole) {
        check_padding(j, place, block);
    } else if (j->told_lost == told) {
        struct inspect_finding finding = finding_at(place, INSPECT_NOTE);
        finding.bytes = block->bytes;
        inspect_report_add(j->report, &finding, "no record is lost with this block");
    }
    return KS_OK;
}

static enum ks_status visit_damage(
    void *arg, const struct ks_chain_damage *damage, struct ks_error *err)
{
    struct journal *j = arg;
    (void)err;
    struct inspect_finding finding = finding_at(&damage->place, INSPECT_DAMAGE);
    finding.bytes = damage->bytes;
    if (damage->has_table)
        inspect_report_add(j->report, &finding, "the payload of block %llu of run %llu is damaged",
            ULL(damage->place.lsn), ULL(damage->place.run_id));
    else if (damage->resumes_lsn)
        inspect_report_add(j->report, &finding,
            "block %llu of run %llu cannot be read; the log goes on with block %llu",
            ULL(damage->place.lsn), ULL(damage->place.run_id), ULL(damage->resumes_lsn));
    else
        inspect_report_add(j->report, &finding,
            "block %llu of run %llu cannot be read, and none behind it: %s", ULL(damage->place.lsn),
            ULL(damage->place.run_id),
            j->dir->is_clean ? "no record is lost, all are in segments"
                             : "the newest records of some shards may be missing");
    return KS_OK;
}

static enum ks_status visit_missing(
    void *arg, uint64_t first_lsn, uint64_t lost_ordinals, struct ks_error *err)
{
    struct journal *j = arg;
    (void)err;
    struct inspect_finding finding = {.severity = INSPECT_DAMAGE, .where = "journal"};
    if (first_lsn <= j->dir->named_lsn)
        inspect_report_add(j->report, &finding,
            "blocks %llu to %llu were durable and are in no file: the newest %llu records of some "
            "shards may be missing",
            ULL(first_lsn), ULL(j->dir->named_lsn), ULL(lost_ordinals));
    return KS_OK;
}

static void visit_torn(void *arg, const struct ks_chain_place *place)
{
    struct journal *j = arg;
    struct inspect_finding finding = finding_at(place, INSPECT_NOTE);
    inspect_report_add(j->report, &finding,
        "block %llu of run %llu was cut short by a crash; nothing in it was acknowledged",
        ULL(place->lsn), ULL(place->run_id));
}

static void visit_beyond(void *arg, const struct ks_chain_place *place)
{
    struct journal *j = arg;
    struct inspect_finding finding = finding_at(place, INSPECT_NOTE);
    inspect_report_add(j->report, &finding,
        "block %llu of run %llu lies behind the end of its run: not part of the log",
        ULL(place->lsn), ULL(place->run_id));
}

static void visit_stranger(void *arg, const char *name)
{
    struct journal *j = arg;
    struct inspect_finding finding = {.severity = INSPECT_NOTE};
    snprintf(finding.where, sizeof finding.where, "journal/%.40s", name);
    inspect_report_add(j->report, &finding, "not a file of the journal");
}

static void visit_progress(void *arg, uint64_t done, uint64_t all)
{
    (void)arg;
    (void)done;
    (void)all;
}

/* ---- files ---- */

static enum ks_status visit_open(void *arg, struct ks_chain_file *file, struct ks_error *err)
{
    struct journal *j = arg;
    struct inspect_journal *out = j->out;
    struct inspect_journal_file *files =
        ks_realloc(out->files, (out->file_count + 1) * sizeof *files);
    if (!files)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for the journal");
    out->files = files;
    files[out->file_count++] = (struct inspect_journal_file){.number = file->scan.number};
    return KS_OK;
}

/* The page of the file header: a file of the log must have a right one; one that is all zeros was
 * never finished and holds nothing. */
static void check_file_header(struct journal *j, struct ks_chain_file *file)
{
    uint8_t page[KS_JOURNAL_FILE_HEADER_BYTES];
    struct ks_journal_file_header header;
    struct ks_chain_place place = {.file = file};
    struct inspect_finding finding = finding_at(&place, INSPECT_DAMAGE);
    finding.bytes = sizeof page;
    if (ks_file_read_exactly(file->scan.file, page, sizeof page, 0, NULL)) {
        inspect_report_add(j->report, &finding, "the file header cannot be read");
        return;
    }
    if (!file->is_chained && ks_bytes_are_zero(page, sizeof page))
        return;
    const struct ks_journal_file_header expected = {
        .number = file->scan.number, .file_bytes = file->scan.bytes};
    uint8_t again[sizeof page];
    if (ks_journal_file_header_decode(ks_view_of(page, sizeof page), &header) != KS_OK) {
        inspect_report_add(j->report, &finding, "the file header is damaged");
        return;
    }
    if (header.number != expected.number || header.file_bytes != expected.file_bytes)
        inspect_report_add(j->report, &finding, "the file header is of file %llu of %llu bytes",
            ULL(header.number), ULL(header.file_bytes));
    ks_journal_file_header_encode(&header, again);
    if (memcmp(page, again, sizeof page) != 0)
        inspect_report_add(j->report, &finding, "the zeros behind the file header are none");
}

static int by_number(const void *a, const void *b)
{
    const struct inspect_journal_file *left = a;
    const struct inspect_journal_file *right = b;
    return left->number < right->number ? -1 : left->number > right->number;
}

static void take_files(struct journal *j)
{
    for (uint32_t i = 0; i < j->chain.file_count; i++) {
        struct ks_chain_file *found = &j->chain.files[i];
        struct inspect_journal_file *file = file_of(j, found->scan.number);
        file->bytes = found->scan.bytes;
        file->is_part_of_log = found->is_chained;
        if (found->scan.file)
            check_file_header(j, found);
    }
    if (j->out->file_count > 1)
        qsort(j->out->files, j->out->file_count, sizeof *j->out->files, by_number);
}

static void check_run(struct journal *j)
{
    if (!j->dir->has_journal_row || j->chain.seen_run <= j->dir->run_id)
        return;
    struct inspect_finding finding = {.severity = INSPECT_DAMAGE, .where = "catalog/data.mdb"};
    inspect_report_add(j->report, &finding,
        "the journal is of run %llu, the catalog of run %llu: the catalog is an older copy",
        ULL(j->chain.seen_run), ULL(j->dir->run_id));
}

enum ks_status inspect_journal_read(struct inspect_dir *dir, struct inspect_report *report,
    struct inspect_journal *out, struct ks_error *err)
{
    *out = (struct inspect_journal){.files = NULL};
    if (!dir->has_journal_row)
        return ks_fail(
            err, KS_CORRUPT, 0, "without row 'journal' of the catalog nothing is known of it");
    struct journal j = {.dir = dir, .report = report, .out = out};
    const struct ks_chain_visitor visitor = {.arg = &j,
        .open = visit_open,
        .block = visit_block,
        .damage = visit_damage,
        .missing = visit_missing,
        .torn = visit_torn,
        .beyond = visit_beyond,
        .stranger = visit_stranger,
        .progress = visit_progress};
    struct ks_chain_options options = {.io = dir->io,
        .named_run_id = dir->named_run_id,
        .named_lsn = dir->named_lsn,
        .named_ordinals = dir->named_ordinals,
        .was_clean = dir->is_clean};
    memcpy(options.uuid, dir->uuid, sizeof options.uuid);
    for (uint32_t i = 0; i < dir->shard_count; i++)
        dir->shards[i].next_sequence =
            dir->shards[i].flushed_sequence + (dir->shards[i].is_flushed_closed ? 0 : 1);
    ks_chain_init(&j.chain, &options, &visitor);
    struct ks_error error = KS_ERROR_INIT;
    enum ks_status st = ks_chain_walk(&j.chain, &error);
    if (st && st != KS_NO_MEMORY) {
        struct inspect_finding finding = {.severity = INSPECT_DAMAGE, .where = "journal"};
        inspect_report_add(report, &finding, "%s", error.text);
    }
    take_files(&j);
    if (!st)
        check_run(&j);
    ks_chain_fini(&j.chain);
    if (st && err)
        *err = error;
    return st;
}

void inspect_journal_fini(struct inspect_journal *journal)
{
    ks_free(journal->files);
    journal->files = NULL;
}
