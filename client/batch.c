#include "client/batch.h"

#include "base/alloc.h"
#include "base/crc32c.h"
#include "proto/batch.h"
#include "proto/sequence.h"
#include "proto/wire.h"

#define RECORDS_FIRST 64u /* room made at first, doubled when it is used up */
#define RECORD_BYTES 12u  /* the shortest there is: tags, lengths, checksum, one letter of a key */

struct kstream_batch {
    uint8_t *frame; /* everything below points into it */
    struct ks_arena arena;
    struct kstream_record *records;
    size_t count;
    size_t capacity;
    uint64_t lost_records;
    uint64_t created_unix_s; /* of the shard */
    uint64_t millis_behind_latest;
    uint32_t shard_index;
    char shard_id[KSTREAM_SHARD_ID_BYTES];
    char *next_iterator; /* in the arena */
    struct kstream_child_shard *children;
    size_t child_count;
};

/* The numbers of the answer that the walk needs. */
struct answer_fields {
    uint64_t shard_index;
    uint64_t created_unix_s;
    uint64_t skip_records;
    uint64_t take_records;
    struct ks_view segment;
    unsigned seen; /* bit n: field n was there */
};

/* ---- collecting records ---- */

/* The walk through the stored batches: what is to be skipped, what is still to be taken. */
struct walk {
    struct kstream_batch *batch;
    uint64_t skip;
    uint64_t take;
    uint64_t next_ordinal; /* 0: not known yet */
};

static bool batch_reserve(struct kstream_batch *batch, size_t capacity)
{
    struct kstream_record *records = ks_realloc(batch->records, capacity * sizeof *batch->records);
    if (!records)
        return false;
    batch->records = records;
    batch->capacity = capacity;
    return true;
}

static enum ks_status batch_append(
    struct kstream_batch *batch, const struct kstream_record *record, struct ks_error *err)
{
    if (batch->count == batch->capacity) {
        size_t capacity = batch->capacity ? batch->capacity * 2 : RECORDS_FIRST;
        if (!batch_reserve(batch, capacity))
            return ks_fail(err, KS_NO_MEMORY, 0, "no memory for %zu records", capacity);
    }
    batch->records[batch->count++] = *record;
    return KS_OK;
}

/* lost ordinals from walk->next_ordinal on; neighbouring stretches become one. */
static enum ks_status walk_lost(
    struct walk *walk, uint64_t lost, uint64_t arrival_unix_ms, struct ks_error *err)
{
    uint64_t skipped = ks_min_u64(lost, walk->skip);
    uint64_t taken = ks_min_u64(lost - skipped, walk->take);
    uint64_t ordinal = walk->next_ordinal + skipped;
    walk->skip -= skipped;
    walk->take -= taken;
    walk->next_ordinal += lost;
    if (taken == 0)
        return KS_OK;
    struct kstream_batch *batch = walk->batch;
    batch->lost_records += taken;
    struct kstream_record *last = batch->count ? &batch->records[batch->count - 1] : NULL;
    if (last && last->lost_records > 0 && last->ordinal + last->lost_records == ordinal) {
        last->lost_records += taken;
        return KS_OK;
    }
    struct kstream_record stretch = {
        .lost_records = taken, .ordinal = ordinal, .arrival_unix_ms = arrival_unix_ms};
    return batch_append(batch, &stretch, err);
}

static enum ks_status walk_record(struct walk *walk, const struct ks_record_view *view,
    uint64_t arrival_unix_ms, struct ks_error *err)
{
    uint64_t ordinal = walk->next_ordinal++;
    if (walk->skip > 0) {
        walk->skip--;
        return KS_OK;
    }
    if (walk->take == 0)
        return KS_OK;
    walk->take--;
    struct kstream_record record = {.ordinal = ordinal,
        .arrival_unix_ms = arrival_unix_ms,
        .key = (const char *)view->key.data,
        .key_bytes = view->key.bytes,
        .data = view->data.data,
        .data_bytes = view->data.bytes,
        .explicit_hash_key = view->explicit_hash.bytes ? view->explicit_hash.data : NULL};
    return batch_append(walk->batch, &record, err);
}

/*
 * Whether header and records belong together. A record whose own checksum field was hit changes the
 * body checksum too; with the checksum it ought to have, the body must fit again, else the records
 * are not the ones the header was written for.
 */
static bool body_belongs(const struct ks_batch_view *view)
{
    struct ks_record_walk records;
    struct ks_record_view record;
    uint32_t as_stored = 0;
    uint32_t as_computed = 0;
    uint32_t count = 0;
    enum ks_status st = KS_OK;
    ks_record_walk_init(&records, view->records);
    while ((st = ks_record_walk_next(&records, &record)) == KS_OK) {
        as_stored = ks_body_crc_extend(as_stored, record.crc);
        as_computed =
            ks_body_crc_extend(as_computed, ks_crc32c(record.checked.data, record.checked.bytes));
        count++;
    }
    /* Cut short by a damaged length: what precedes it is judged by its own checksums alone. */
    if (st != KS_END)
        return count <= view->header.record_count;
    return count == view->header.record_count &&
           (as_stored == view->header.body_crc || as_computed == view->header.body_crc);
}

/*
 * The common case in one pass: every record is right, and header and records belong together.
 * False: something is not, or memory is out; nothing has been taken, and walk_data judges record by
 * record.
 */
static bool walk_intact(struct walk *walk, const struct ks_batch_view *view)
{
    const struct walk before = *walk;
    size_t count_before = walk->batch->count;
    struct ks_record_walk records;
    struct ks_record_view record;
    uint32_t body_crc = 0;
    uint32_t count = 0;
    enum ks_status st = KS_OK;
    ks_record_walk_init(&records, view->records);
    while ((st = ks_record_walk_next(&records, &record)) == KS_OK &&
           ks_record_crc_is_right(&record) &&
           walk_record(walk, &record, view->header.arrival_unix_ms, NULL) == KS_OK) {
        body_crc = ks_body_crc_extend(body_crc, record.crc);
        count++;
    }
    if (st == KS_END && count == view->header.record_count && body_crc == view->header.body_crc)
        return true;
    *walk = before;
    walk->batch->count = count_before;
    return false;
}

static enum ks_status walk_data(
    struct walk *walk, const struct ks_batch_view *view, struct ks_error *err)
{
    uint64_t arrival_unix_ms = view->header.arrival_unix_ms;
    if (walk_intact(walk, view))
        return KS_OK;
    if (!body_belongs(view))
        return walk_lost(walk, view->header.record_count, arrival_unix_ms, err);
    struct ks_record_walk records;
    ks_record_walk_init(&records, view->records);
    for (uint32_t i = 0; i < view->header.record_count; i++) {
        struct ks_record_view record;
        enum ks_status st = ks_record_walk_next(&records, &record);
        if (st)
            return walk_lost(walk, view->header.record_count - i, arrival_unix_ms, err);
        st = ks_record_crc_is_right(&record) ? walk_record(walk, &record, arrival_unix_ms, err)
                                             : walk_lost(walk, 1, arrival_unix_ms, err);
        if (st)
            return st;
    }
    return KS_OK;
}

static enum ks_status walk_batch(
    struct walk *walk, const struct ks_batch_view *view, struct ks_error *err)
{
    uint64_t first = view->header.first_sequence;
    if (view->header.kind == KS_BATCH_CLOSE)
        return KS_OK;
    if (walk->next_ordinal == 0)
        walk->next_ordinal = first;
    if (first < walk->next_ordinal)
        return ks_fail(err, KS_CORRUPT, 0, "the answer repeats records");
    if (first > KS_SEQUENCE_MAX - view->header.record_count)
        return ks_fail(err, KS_CORRUPT, 0, "the answer has impossible sequence numbers");
    /* The batch that stood here could not be read: its ordinals are lost, not skipped. */
    enum ks_status st =
        walk_lost(walk, first - walk->next_ordinal, view->header.arrival_unix_ms, err);
    if (st)
        return st;
    if (view->header.kind == KS_BATCH_DAMAGED)
        return walk_lost(walk, view->header.record_count, view->header.arrival_unix_ms, err);
    return walk_data(walk, view, err);
}

/* Steps over a batch whose header is damaged. False: its length is gone as well. */
static bool step_over(struct ks_view *rest)
{
    struct ks_cursor c = ks_cursor_over(rest->data, rest->bytes);
    struct ks_wire_field field;
    if (!ks_wire_next(&c, &field) || !ks_wire_is(&field, 1, KS_WIRE_BYTES))
        return false;
    *rest = ks_view_of(rest->data + c.position, rest->bytes - c.position);
    return true;
}

static enum ks_status walk_segment(struct walk *walk, struct ks_view rest, struct ks_error *err)
{
    while (rest.bytes > 0) {
        struct ks_batch_view view;
        enum ks_status st = ks_batch_decode(rest, &view);
        if (st == KS_UNSUPPORTED)
            return ks_fail(err, st, 0, "the stream has records of a newer version of kstream");
        if (st == KS_OK) {
            rest = ks_view_of(rest.data + view.stored_bytes, rest.bytes - view.stored_bytes);
            st = walk_batch(walk, &view, err);
            if (st)
                return st;
            continue;
        }
        if (walk->next_ordinal == 0)
            return ks_fail(err, KS_CORRUPT, 0, "the answer is damaged at its start");
        if (!step_over(&rest))
            break;
    }
    if (walk->take == 0)
        return KS_OK;
    if (walk->next_ordinal == 0)
        return ks_fail(err, KS_PROTOCOL, 0, "the answer has no records where some were announced");
    return walk_lost(walk, walk->skip + walk->take, 0, err);
}

/* ---- the answer ---- */

static enum ks_status batch_add_child(
    struct kstream_batch *batch, struct ks_view packed, struct ks_error *err)
{
    const Kstream__ChildShard *from =
        (const void *)ks_arena_unpack(&batch->arena, &kstream__child_shard__descriptor, packed);
    if (!from)
        return client_unpack_failed(&batch->arena, "a child shard in the answer", err);
    struct kstream_child_shard *children =
        ks_realloc(batch->children, (batch->child_count + 1) * sizeof *children);
    if (!children)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for the child shards");
    batch->children = children;
    children[batch->child_count++] = (struct kstream_child_shard){.shard_id = from->shard_id,
        .parent_shard_ids = (const char *const *)from->parent_shards,
        .parent_count = from->n_parent_shards,
        .starting_hash_key = from->hash_key_range->starting_hash_key,
        .ending_hash_key = from->hash_key_range->ending_hash_key};
    return KS_OK;
}

/* Field numbers of GetRecordsResponse. */
enum {
    FIELD_NEXT_ITERATOR = 1,
    FIELD_MILLIS_BEHIND = 2,
    FIELD_CHILD = 3,
    FIELD_SHARD_INDEX = 4,
    FIELD_CREATED = 5,
    FIELD_SKIP = 6,
    FIELD_TAKE = 7,
    FIELD_SEGMENT = 15
};
#define FIELDS_REQUIRED                                                                            \
    (1u << FIELD_SHARD_INDEX | 1u << FIELD_CREATED | 1u << FIELD_SKIP | 1u << FIELD_TAKE)

static enum ks_status batch_read_field(struct kstream_batch *batch,
    const struct ks_wire_field *field, struct answer_fields *fields, struct ks_error *err)
{
    if (field->number > FIELD_SEGMENT)
        return KS_OK; /* of a newer broker */
    bool is_number = field->number == FIELD_MILLIS_BEHIND ||
                     (field->number >= FIELD_SHARD_INDEX && field->number <= FIELD_TAKE);
    bool is_bytes = field->number == FIELD_NEXT_ITERATOR || field->number == FIELD_CHILD ||
                    field->number == FIELD_SEGMENT;
    if ((is_number && field->type != KS_WIRE_VARINT) || (is_bytes && field->type != KS_WIRE_BYTES))
        return ks_fail(err, KS_PROTOCOL, 0, "a malformed answer to GetRecords");
    fields->seen |= 1u << field->number;
    switch (field->number) {
    case FIELD_NEXT_ITERATOR:
        if (field->bytes.bytes >= KSTREAM_ITERATOR_BYTES)
            return ks_fail(err, KS_PROTOCOL, 0, "the broker's iterator is too long");
        batch->next_iterator = ks_arena_text(&batch->arena, field->bytes);
        return batch->next_iterator ? KS_OK : ks_fail(err, KS_NO_MEMORY, 0, "no memory");
    case FIELD_MILLIS_BEHIND:
        batch->millis_behind_latest = field->value;
        return KS_OK;
    case FIELD_CHILD:
        return batch_add_child(batch, field->bytes, err);
    case FIELD_SHARD_INDEX:
        fields->shard_index = field->value;
        return KS_OK;
    case FIELD_CREATED:
        fields->created_unix_s = field->value;
        return KS_OK;
    case FIELD_SKIP:
        fields->skip_records = field->value;
        return KS_OK;
    case FIELD_TAKE:
        fields->take_records = field->value;
        return KS_OK;
    case FIELD_SEGMENT:
        fields->segment = field->bytes;
        return KS_OK;
    default:
        return KS_OK;
    }
}

static enum ks_status batch_read(
    struct kstream_batch *batch, struct ks_view message, struct ks_error *err)
{
    struct answer_fields fields = {.seen = 0};
    struct ks_cursor c = ks_cursor_over(message.data, message.bytes);
    struct ks_wire_field field;
    while (ks_wire_next(&c, &field)) {
        enum ks_status st = batch_read_field(batch, &field, &fields, err);
        if (st)
            return st;
    }
    if (ks_cursor_left(&c) > 0 || (fields.seen & FIELDS_REQUIRED) != FIELDS_REQUIRED ||
        fields.shard_index > KS_SHARD_INDEX_MAX ||
        fields.created_unix_s > KS_SEQUENCE_SECONDS_MAX || fields.skip_records > UINT32_MAX ||
        fields.take_records > UINT32_MAX)
        return ks_fail(err, KS_PROTOCOL, 0, "a malformed answer to GetRecords");
    batch->shard_index = (uint32_t)fields.shard_index;
    batch->created_unix_s = fields.created_unix_s;
    ks_shard_id_to_text(batch->shard_index, batch->shard_id);
    struct walk walk = {.batch = batch, .skip = fields.skip_records, .take = fields.take_records};
    /* As many as are announced, if so many can lie in these bytes. */
    size_t announced = (size_t)ks_min_u64(fields.take_records, fields.segment.bytes / RECORD_BYTES);
    if (announced > 0 && !batch_reserve(batch, announced))
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for %zu records", announced);
    return walk_segment(&walk, fields.segment, err);
}

enum ks_status client_batch_take(
    const struct client_answer *answer, struct kstream_batch **out_batch, struct ks_error *err)
{
    KS_CLEANUP(kstream_batch_freep) struct kstream_batch *batch = ks_zalloc(sizeof *batch);
    if (!batch) {
        ks_free(answer->frame);
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for a batch");
    }
    batch->frame = answer->frame;
    ks_arena_init(&batch->arena, CLIENT_ANSWER_BYTES_MAX);
    enum ks_status st = batch_read(batch, answer->response.message, err);
    if (st == KS_OK)
        *out_batch = KS_TAKE(batch);
    return st;
}

/* ---- what the caller sees ---- */

static void sequence_text(const struct kstream_batch *batch, uint64_t ordinal,
    uint64_t arrival_unix_ms, char text[KSTREAM_SEQUENCE_BYTES])
{
    struct ks_sequence_number number = {.created_unix_s = batch->created_unix_s,
        .ordinal = ks_min_u64(ordinal, KS_SEQUENCE_MAX),
        .arrival_unix_s = ks_min_u64(arrival_unix_ms / 1000, KS_SEQUENCE_SECONDS_MAX),
        .shard_index = batch->shard_index};
    ks_sequence_to_text(&number, text);
}

/* The sequence number of the last ordinal of an entry. */
static void entry_end_text(
    const struct kstream_batch *batch, size_t index, char text[KSTREAM_SEQUENCE_BYTES])
{
    const struct kstream_record *entry = &batch->records[index];
    uint64_t more = entry->lost_records > 0 ? entry->lost_records - 1 : 0;
    sequence_text(batch, entry->ordinal + more, entry->arrival_unix_ms, text);
}

void client_batch_last_sequence_number(
    const struct kstream_batch *batch, char text[KSTREAM_SEQUENCE_BYTES])
{
    KS_ASSERT(batch->count > 0);
    entry_end_text(batch, batch->count - 1, text);
}

size_t kstream_batch_count(const struct kstream_batch *batch)
{
    return batch->count;
}

const struct kstream_record *kstream_batch_record(const struct kstream_batch *batch, size_t index)
{
    return index < batch->count ? &batch->records[index] : NULL;
}

void kstream_batch_sequence_number(
    const struct kstream_batch *batch, size_t index, char text[KSTREAM_SEQUENCE_BYTES])
{
    text[0] = '\0';
    if (index < batch->count)
        sequence_text(
            batch, batch->records[index].ordinal, batch->records[index].arrival_unix_ms, text);
}

struct kstream_position kstream_batch_position(const struct kstream_batch *batch, size_t index)
{
    struct kstream_position position = kstream_from_trim_horizon();
    if (index >= batch->count)
        return position;
    position.type = KSTREAM_AFTER_SEQUENCE_NUMBER;
    entry_end_text(batch, index, position.sequence_number);
    return position;
}

uint64_t kstream_batch_lost_records(const struct kstream_batch *batch)
{
    return batch->lost_records;
}

const char *kstream_batch_shard_id(const struct kstream_batch *batch)
{
    return batch->shard_id;
}

const char *kstream_batch_next_iterator(const struct kstream_batch *batch)
{
    return batch->next_iterator;
}

uint64_t kstream_batch_millis_behind_latest(const struct kstream_batch *batch)
{
    return batch->millis_behind_latest;
}

const struct kstream_child_shard *kstream_batch_child_shards(
    const struct kstream_batch *batch, size_t *count)
{
    *count = batch->child_count;
    return batch->children;
}

void kstream_batch_free(struct kstream_batch *batch)
{
    if (!batch)
        return;
    ks_arena_fini(&batch->arena);
    ks_free(batch->children);
    ks_free(batch->records);
    ks_free(batch->frame);
    ks_free(batch);
}
