/*
 * Recovery's batches: into their logs, and what is missing there.
 *
 * A block whose table can be read costs at most its own batches, and says which ordinals they were.
 * A block whose head is lost is noticed by the count in the next head. That next
 * block says again up to where the lost one went, so each log is known to lack what it lacks. Only
 * when more than that is lost (several blocks, or the last one that was durable) the end of a log
 * that nothing mentions since is uncertain: then every ordinal that may have been given out is
 * marked damaged, in the first block of the new run, so that it never names another record.
 */
#include "base/alloc.h"
#include "storage/recovery_priv.h"

/* Of the block that holds the marks: far more logs than there can be. */
#define PINS_BYTES_MAX (KS_JOURNAL_BLOCK_BYTES_CEILING / 2)

static struct ks_journal_file *journal_file_of(const struct ks_chain_place *place)
{
    return place->file->user;
}

/* ---- what is missing ---- */

void recovery_lose(struct recovery *r, uint64_t ordinals, uint64_t lsn)
{
    r->missing.total += ordinals;
    r->missing.ordinals += ordinals;
    r->missing.lsn = lsn;
    ks_u64_map_fini(&r->missing.mentioned);
}

/* A log is known to lack some of them. */
static void recovery_found(struct recovery *r, uint64_t ordinals)
{
    r->missing.ordinals -= ks_min_u64(r->missing.ordinals, ordinals);
}

/* A run that has begun has decided what the holes before it mean, and its first block or what was
 * flushed since says so. Only what was lost later is new. */
static void recovery_settle(struct recovery *r, uint64_t settled_ordinals)
{
    uint64_t since = r->missing.total - ks_min_u64(r->missing.total, settled_ordinals);
    r->missing.ordinals = ks_min_u64(r->missing.ordinals, since);
}

/* Whoever finds no memory here is only taken for uncertain. */
static void recovery_mention(struct recovery *r, uint64_t log_id)
{
    if (r->missing.ordinals == 0 || ks_u64_map_get(&r->missing.mentioned, log_id) ||
        !ks_u64_map_reserve(&r->missing.mentioned, 1))
        return;
    ks_u64_map_put(&r->missing.mentioned, log_id, r);
}

/* Ordinals from where the log stands, which it should have and does not. Readers are told of them
 * by a damaged batch. */
static enum ks_status recovery_mark_damage(struct recovery *r, const struct ks_chain_place *place,
    struct ks_log *log, uint64_t last, struct ks_error *err)
{
    uint64_t first = log->next_sequence;
    enum ks_status st = ks_log_replay_damage(log, first, last, err);
    if (st)
        return st;
    ks_journal_owe(journal_file_of(place), ks_log_id(log), last);
    r->engine->recovery.damaged_batches++;
    EMIT(r, KS_LEVEL_ERROR, "journal.damaged_records",
        "log=%llu first_sequence=%llu last_sequence=%llu", ULL(ks_log_id(log)), ULL(first),
        ULL(last));
    return KS_OK;
}

/* A lost block held the log up to its end: *out_ordinals of them were not there yet. */
static enum ks_status recovery_take_end(struct recovery *r, const struct ks_chain_place *place,
    struct ks_log *log, const struct ks_journal_end *end, uint64_t *out_ordinals,
    struct ks_error *err)
{
    *out_ordinals = 0;
    if (log->state != KS_LOG_OPEN || end->last_sequence < log->next_sequence)
        return KS_OK;
    *out_ordinals = end->last_sequence - log->next_sequence + 1;
    uint64_t last_record = end->last_sequence - end->is_closed;
    enum ks_status st = KS_OK;
    if (last_record >= log->next_sequence)
        st = recovery_mark_damage(r, place, log, last_record, err);
    if (!st && end->is_closed) {
        st = ks_log_replay_close(log, end->last_sequence, err);
        ks_journal_owe(journal_file_of(place), ks_log_id(log), end->last_sequence);
    }
    return st;
}

/* Blocks before this one are lost. It says again what the last of them said of its logs. */
static enum ks_status recovery_miss(struct recovery *r, const struct ks_chain_place *place,
    const struct ks_scan_block *block, struct ks_error *err)
{
    const struct ks_journal_block_header *header = &block->header;
    bool is_told = place->lost_ordinals <= header->last_ordinals && header->ends_left_out == 0;
    if (!is_told)
        recovery_lose(r, place->lost_ordinals, header->lsn - 1);
    r->engine->recovery.holes_told += is_told;
    for (uint32_t i = 0; i < header->end_count; i++) {
        struct ks_journal_end end;
        ks_journal_end_at(block->head, header, i, &end);
        struct ks_log *log = ks_registry_log(r->engine->registry, end.log_id);
        if (!log)
            continue; /* deleted since */
        uint64_t ordinals;
        enum ks_status st = recovery_take_end(r, place, log, &end, &ordinals, err);
        if (st)
            return st;
        if (!is_told)
            recovery_found(r, ordinals);
        recovery_mention(r, end.log_id);
    }
    return KS_OK;
}

/* ---- uncertain ends ---- */

static enum ks_status pins_add(struct recovery_pins *pins, const struct ks_log *log, uint64_t first,
    uint64_t last, struct ks_error *err)
{
    if (pins->count == pins->capacity) {
        uint32_t capacity = pins->capacity ? 2 * pins->capacity : 64;
        struct ks_journal_entry *grown =
            ks_realloc(pins->entries, capacity * sizeof *pins->entries);
        if (!grown)
            return ks_fail(err, KS_NO_MEMORY, 0, "no memory to recover the journal");
        pins->entries = grown;
        pins->capacity = capacity;
    }
    if (!ks_buf_reserve(&pins->payload, KS_BATCH_PREFIX_BYTES_MAX))
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory to recover the journal");
    size_t bytes = ks_log_encode_damage(log, first, last, pins->payload.data + pins->payload.bytes);
    pins->entries[pins->count++] = (struct ks_journal_entry){.type = KS_JOURNAL_DATA,
        .kind = KS_BATCH_DAMAGED,
        .log_id = ks_log_id(log),
        .first_sequence = first,
        .last_sequence = last,
        .offset = (uint32_t)pins->payload.bytes,
        .bytes = (uint32_t)bytes};
    pins->payload.bytes += bytes;
    return KS_OK;
}

struct pinning {
    struct recovery *r;
    struct recovery_pins *pins;
    enum ks_status status;
    struct ks_error *err;
};

static void pin_log(void *arg, struct ks_log *log)
{
    struct pinning *pinning = arg;
    struct missing *missing = &pinning->r->missing;
    if (pinning->status || log->state != KS_LOG_OPEN ||
        ks_u64_map_get(&missing->mentioned, ks_log_id(log)))
        return;
    uint64_t count = ks_min_u64(missing->ordinals, KS_SEQUENCE_MAX - log->next_sequence);
    uint64_t last = log->next_sequence + count - 1;
    enum ks_status st = KS_OK;
    while (!st && log->next_sequence <= last) {
        uint64_t first = log->next_sequence;
        uint64_t batch_last = ks_min_u64(last, first + UINT32_MAX - 1); /* a batch counts in u32 */
        st = pins_add(pinning->pins, log, first, batch_last, pinning->err);
        if (!st)
            st = ks_log_replay_damage(log, first, batch_last, pinning->err);
    }
    pinning->status = st;
    pinning->r->engine->recovery.ends_pinned++;
}

enum ks_status recovery_pin_ends(
    struct recovery *r, struct recovery_pins *pins, struct ks_error *err)
{
    ks_buf_init(&pins->payload, PINS_BYTES_MAX);
#ifdef KS_PLANTED_BUG_REUSE_UNCERTAIN_ORDINALS
    r->missing.ordinals = 0;
#endif
    if (r->missing.ordinals == 0)
        return KS_OK;
    struct pinning pinning = {.r = r, .pins = pins, .err = err};
    ks_registry_each_log(r->engine->registry, pin_log, &pinning);
    if (pins->count > 0)
        EMIT(r, KS_LEVEL_ERROR, "journal.end_uncertain",
            "lsn=%llu shards=%llu records_at_most=%llu "
            "text=\"their newest records may be missing, and are told to readers as damaged\"",
            ULL(r->missing.lsn), ULL(r->engine->recovery.ends_pinned), ULL(r->missing.ordinals));
    return pinning.status;
}

void recovery_pins_fini(struct recovery_pins *pins)
{
    ks_free(pins->entries);
    ks_buf_fini(&pins->payload);
}

/* ---- batches ---- */

/* NULL: skip it. An unknown log is refused: it is more likely that the catalog is old than that the
 * records are void. */
static enum ks_status entry_log(struct recovery *r, const struct ks_chain_place *place,
    const struct ks_journal_entry *entry, struct ks_log **out_log, struct ks_error *err)
{
    *out_log = ks_registry_log(r->engine->registry, entry->log_id);
    if (*out_log)
        return KS_OK;
    if (ks_registry_is_tombstoned(r->engine->registry, entry->log_id)) {
        r->engine->recovery.entries_of_deleted++;
        return KS_OK;
    }
    if (place->may_be_stale)
        return KS_OK;
    return ks_fail(err, KS_CORRUPT, 0,
        "the journal has records of log %llu, which the catalog does not know: the catalog may be "
        "an older copy; put back the newest one and start once with --accept-older-catalog (a copy "
        "of the records is in quarantine/)",
        ULL(entry->log_id));
}

/* True when the payload's bytes are the batch the table speaks of. */
static bool batch_is_right(
    struct ks_view stored, const struct ks_journal_entry *entry, struct ks_batch_view *out_batch)
{
    return ks_batch_decode(stored, out_batch) == KS_OK && out_batch->stored_bytes == stored.bytes &&
           out_batch->header.log_id == entry->log_id &&
           out_batch->header.first_sequence == entry->first_sequence &&
           ks_batch_last_sequence(&out_batch->header) == entry->last_sequence &&
           ks_batch_verify(out_batch) == KS_OK;
}

/* payload NULL: the table can be read, the payload cannot. Each batch is judged by its own
 * checksums, so that a flipped bit costs one batch of a block. */
static enum ks_status recovery_replay_entry(struct recovery *r, const struct ks_chain_place *place,
    const struct ks_journal_entry *entry, const struct ks_view *payload, struct ks_error *err)
{
    if (entry->type != KS_JOURNAL_DATA)
        return ks_fail(err, KS_UNSUPPORTED, 0,
            "the journal has entries of a newer version of kstream: start that version");
    struct ks_log *log;
    enum ks_status st = entry_log(r, place, entry, &log, err);
    if (st || !log)
        return st;
    recovery_mention(r, entry->log_id);
    if (entry->last_sequence <= log->flushed_sequence) {
        r->engine->recovery.batches_below_flushpoint++;
        return KS_OK;
    }
    if (entry->first_sequence > log->next_sequence && log->state == KS_LOG_OPEN) {
        recovery_found(r, entry->first_sequence - log->next_sequence);
        st = recovery_mark_damage(r, place, log, entry->first_sequence - 1, err);
        if (st)
            return st;
    }
    struct ks_batch_view batch;
    bool is_right =
        payload &&
        batch_is_right(ks_view_of(payload->data + entry->offset, entry->bytes), entry, &batch);
    if (entry->kind == KS_BATCH_DAMAGED || (!is_right && entry->kind == KS_BATCH_DATA)) {
        /* What was once given up and can be read again is there already. */
        if (entry->last_sequence < log->next_sequence)
            return KS_OK;
        return recovery_mark_damage(r, place, log, entry->last_sequence, err);
    }
    /* The table alone tells of a close batch. */
    st = is_right ? ks_log_replay(log, batch.stored, err)
                  : ks_log_replay_close(log, entry->first_sequence, err);
    if (st)
        return st;
    ks_journal_owe(journal_file_of(place), entry->log_id, entry->last_sequence);
    r->engine->recovery.batches_replayed++;
    return KS_OK;
}

/* What the next block would say again of this one. */
static enum ks_status recovery_note_newest(
    struct recovery *r, const struct ks_scan_block *block, struct ks_error *err)
{
    uint32_t count = block->header.entry_count;
    if (count == 0)
        return KS_OK;
    KS_AUTO_FREE struct ks_journal_entry *entries = ks_calloc(count, sizeof *entries);
    if (!entries)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory to recover the journal");
    for (uint32_t i = 0; i < count; i++)
        ks_journal_entry_at(block->head, i, &entries[i]);
    ks_journal_note_newest(r->engine->journal, entries, count);
    return KS_OK;
}

enum ks_status recovery_replay_block(struct recovery *r, const struct ks_chain_place *place,
    const struct ks_scan_block *block, struct ks_error *err)
{
    const struct ks_view *payload = block->payload.data ? &block->payload : NULL;
    enum ks_status st = KS_OK;
    if (place->lost_ordinals > 0)
        st = recovery_miss(r, place, block, err);
    if (block->header.flags & KS_JOURNAL_FIRST_OF_RUN)
        recovery_settle(r, block->header.settled_ordinals);
    if (!st)
        st = recovery_note_newest(r, block, err);
    for (uint32_t i = 0; !st && i < block->header.entry_count; i++) {
        struct ks_journal_entry entry;
        ks_journal_entry_at(block->head, i, &entry);
        st = recovery_replay_entry(r, place, &entry, payload, err);
    }
    return st;
}
