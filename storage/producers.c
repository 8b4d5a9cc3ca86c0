#include "storage/producers.h"

#include "base/alloc.h"

/* Encoded: u8 version, u16le producers; each u64le id, u8 batches, and per batch the five fields
 * below, little-endian. */
#define PRODUCERS_VERSION 1u
#define PRODUCER_BATCH_BYTES 32u
#define PRODUCERS_FIRST 1u
#define BATCHES_FIRST 2u

struct producer {
    uint32_t count;
    uint32_t capacity;
    struct ks_producer_batch
        *batches; /* oldest first, count of them; grows to KS_PRODUCER_BATCHES */
};

/* ids apart from the rows: looking for one of 128 reads 1 KiB, not 2. Small at first: there are
 * many logs that hear of one producer and once. */
struct ks_producers {
    uint32_t count;
    uint32_t capacity;
    uint64_t *ids;
    struct producer *rows;
};

enum ks_status ks_producers_create(struct ks_producers **out_producers)
{
    struct ks_producers *producers = ks_zalloc(sizeof *producers);
    if (!producers)
        return KS_NO_MEMORY;
    *out_producers = producers;
    return KS_OK;
}

void ks_producers_destroy(struct ks_producers *producers)
{
    if (!producers)
        return;
    for (uint32_t i = 0; i < producers->capacity; i++)
        ks_free(producers->rows[i].batches);
    ks_free(producers->ids);
    ks_free(producers->rows);
    ks_free(producers);
}

static struct producer *producers_find(const struct ks_producers *producers, uint64_t id)
{
    for (uint32_t i = 0; producers && i < producers->count; i++) {
        if (producers->ids[i] == id)
            return &producers->rows[i];
    }
    return NULL;
}

static const struct ks_producer_batch *producer_last(const struct producer *row)
{
    KS_ASSERT(row->count > 0);
    return &row->batches[row->count - 1];
}

static enum ks_producer_verdict refuse(enum ks_status status, enum ks_status *out_status)
{
    *out_status = status;
    return KS_PRODUCER_REFUSE;
}

enum ks_producer_verdict ks_producers_judge(const struct ks_producers *producers,
    uint64_t producer_id, uint64_t sequence, bool is_first, uint32_t record_count,
    uint32_t body_crc, struct ks_producer_batch *out_batch, enum ks_status *out_status,
    uint64_t *out_expected)
{
    *out_expected = 0;
    *out_status = KS_OK;
    const struct producer *row = producers_find(producers, producer_id);
    if (!row)
        return is_first ? KS_PRODUCER_ACCEPT : refuse(KS_PRODUCER_UNKNOWN, out_status);
    uint64_t last = producer_last(row)->sequence;
    *out_expected = last + 1;
    if (sequence > last)
        return sequence == last + 1 ? KS_PRODUCER_ACCEPT : refuse(KS_PRODUCER_GAP, out_status);
    for (uint32_t i = 0; i < row->count; i++) {
        const struct ks_producer_batch *batch = &row->batches[i];
        if (batch->sequence != sequence)
            continue;
        if (batch->record_count != record_count || batch->body_crc != body_crc)
            return refuse(KS_PRODUCER_MISMATCH, out_status);
        *out_batch = *batch;
        return KS_PRODUCER_DUPLICATE;
    }
    /* Older than what is remembered: it may have been stored or not, so neither answer is safe. */
    return refuse(KS_PRODUCER_UNKNOWN, out_status);
}

/* Room for one more batch, so that noting it cannot fail. */
static enum ks_status producer_reserve(struct producer *row)
{
    if (row->count < row->capacity || row->capacity == KS_PRODUCER_BATCHES)
        return KS_OK;
    uint32_t capacity = row->capacity ? row->capacity * 2 : BATCHES_FIRST;
    capacity = KS_MIN(capacity, (uint32_t)KS_PRODUCER_BATCHES);
    struct ks_producer_batch *batches = ks_realloc(row->batches, capacity * sizeof *batches);
    if (!batches)
        return KS_NO_MEMORY;
    row->batches = batches;
    row->capacity = capacity;
    return KS_OK;
}

static enum ks_status producers_grow(struct ks_producers *producers)
{
    uint32_t capacity = producers->capacity ? producers->capacity * 2 : PRODUCERS_FIRST;
    capacity = KS_MIN(capacity, (uint32_t)KS_PRODUCERS_MAX);
    uint64_t *ids = ks_realloc(producers->ids, capacity * sizeof *ids);
    if (!ids)
        return KS_NO_MEMORY;
    producers->ids = ids;
    struct producer *rows = ks_realloc(producers->rows, capacity * sizeof *rows);
    if (!rows)
        return KS_NO_MEMORY;
    for (uint32_t i = producers->capacity; i < capacity; i++)
        rows[i] = (struct producer){.count = 0};
    producers->rows = rows;
    producers->capacity = capacity;
    return KS_OK;
}

/* The place for a new producer; a full table forgets the one whose newest batch is the oldest in
 * the log. */
static uint32_t producers_place(const struct ks_producers *producers)
{
    if (producers->count < KS_PRODUCERS_MAX) {
        KS_ASSERT(producers->count < producers->capacity); /* reserved */
        return producers->count;
    }
    uint32_t oldest = 0;
    for (uint32_t i = 1; i < producers->count; i++) {
        if (producer_last(&producers->rows[i])->first_sequence <
            producer_last(&producers->rows[oldest])->first_sequence)
            oldest = i;
    }
    return oldest;
}

enum ks_status ks_producers_reserve(struct ks_producers *producers, uint64_t producer_id)
{
    struct producer *row = producers_find(producers, producer_id);
    if (row)
        return producer_reserve(row);
    if (producers->count == producers->capacity && producers->count < KS_PRODUCERS_MAX) {
        enum ks_status st = producers_grow(producers);
        if (st)
            return st;
    }
    /* It would begin anew in the row of another: then there is room in it. */
    row = &producers->rows[producers_place(producers)];
    return row->capacity > 0 ? KS_OK : producer_reserve(row);
}

void ks_producers_record(
    struct ks_producers *producers, uint64_t producer_id, const struct ks_producer_batch *batch)
{
    struct producer *row = producers_find(producers, producer_id);
    if (!row) {
        uint32_t place = producers_place(producers);
        producers->count = KS_MAX(producers->count, place + 1);
        producers->ids[place] = producer_id;
        row = &producers->rows[place];
        row->count = 0;
    }
    if (row->count == KS_PRODUCER_BATCHES) {
        memmove(
            &row->batches[0], &row->batches[1], (KS_PRODUCER_BATCHES - 1) * sizeof row->batches[0]);
        row->count--;
    }
    KS_ASSERT(row->count < row->capacity); /* reserved */
    row->batches[row->count++] = *batch;
}

bool ks_producers_may_have_forgotten(
    const struct ks_producers *producers, uint64_t producer_id, uint64_t sequence)
{
    const struct producer *row = producers_find(producers, producer_id);
    if (!row)
        return producers && producers->count == KS_PRODUCERS_MAX;
    return sequence < row->batches[0].sequence;
}

const struct ks_producer_batch *ks_producers_last(
    const struct ks_producers *producers, uint64_t producer_id)
{
    const struct producer *row = producers_find(producers, producer_id);
    return row ? producer_last(row) : NULL;
}

/* Batches of a row that begin at or below last_sequence. */
static uint32_t producer_count_below(const struct producer *row, uint64_t last_sequence)
{
    uint32_t count = 0;
    while (count < row->count && row->batches[count].first_sequence <= last_sequence)
        count++;
    return count;
}

static bool batch_encode(const struct ks_producer_batch *batch, struct ks_buf *to)
{
    uint8_t bytes[PRODUCER_BATCH_BYTES];
    ks_store_u64le(bytes, batch->sequence);
    ks_store_u64le(bytes + 8, batch->first_sequence);
    ks_store_u64le(bytes + 16, batch->arrival_unix_ms);
    ks_store_u32le(bytes + 24, batch->record_count);
    ks_store_u32le(bytes + 28, batch->body_crc);
    return ks_buf_append(to, bytes, sizeof bytes);
}

static bool producer_encode(
    uint64_t id, const struct producer *row, uint32_t batches, struct ks_buf *to)
{
    uint8_t head[9];
    ks_store_u64le(head, id);
    head[8] = (uint8_t)batches;
    if (!ks_buf_append(to, head, sizeof head))
        return false;
    for (uint32_t i = 0; i < batches; i++) {
        if (!batch_encode(&row->batches[i], to))
            return false;
    }
    return true;
}

bool ks_producers_encode(
    const struct ks_producers *producers, uint64_t last_sequence, struct ks_buf *to)
{
    uint32_t known = 0;
    for (uint32_t i = 0; producers && i < producers->count; i++)
        known += producer_count_below(&producers->rows[i], last_sequence) > 0;
    if (known == 0)
        return true;
    uint8_t head[3] = {PRODUCERS_VERSION, (uint8_t)known, (uint8_t)(known >> 8)};
    if (!ks_buf_append(to, head, sizeof head))
        return false;
    for (uint32_t i = 0; i < producers->count; i++) {
        uint32_t batches = producer_count_below(&producers->rows[i], last_sequence);
        if (batches > 0 && !producer_encode(producers->ids[i], &producers->rows[i], batches, to))
            return false;
    }
    return true;
}

static bool batch_decode(struct ks_cursor *c, struct ks_producer_batch *batch)
{
    return ks_cursor_u64le(c, &batch->sequence) && ks_cursor_u64le(c, &batch->first_sequence) &&
           ks_cursor_u64le(c, &batch->arrival_unix_ms) &&
           ks_cursor_u32le(c, &batch->record_count) && ks_cursor_u32le(c, &batch->body_crc);
}

static enum ks_status producer_decode(struct ks_cursor *c, struct ks_producers *producers)
{
    uint64_t id;
    uint8_t batches;
    if (!ks_cursor_u64le(c, &id) || !ks_cursor_u8(c, &batches) || id == 0 || batches == 0 ||
        batches > KS_PRODUCER_BATCHES || producers_find(producers, id))
        return KS_CORRUPT;
    uint64_t before = 0;
    for (uint32_t i = 0; i < batches; i++) {
        struct ks_producer_batch batch;
        if (!batch_decode(c, &batch) || batch.first_sequence <= before)
            return KS_CORRUPT;
        before = batch.first_sequence;
        enum ks_status st = ks_producers_reserve(producers, id);
        if (st)
            return st;
        ks_producers_record(producers, id, &batch);
    }
    return KS_OK;
}

enum ks_status ks_producers_decode(struct ks_view from, struct ks_producers **out_producers)
{
    if (from.bytes == 0) {
        *out_producers = NULL;
        return KS_OK;
    }
    struct ks_cursor c = ks_cursor_over(from.data, from.bytes);
    uint8_t version;
    uint16_t count;
    if (!ks_cursor_u8(&c, &version) || version != PRODUCERS_VERSION ||
        !ks_cursor_u16le(&c, &count) || count == 0 || count > KS_PRODUCERS_MAX)
        return KS_CORRUPT;
    struct ks_producers *made = NULL;
    enum ks_status st = ks_producers_create(&made);
    if (st)
        return st;
    KS_CLEANUP(ks_producers_destroyp) struct ks_producers *producers = made;
    for (uint32_t i = 0; i < count; i++) {
        st = producer_decode(&c, producers);
        if (st)
            return st;
    }
    if (ks_cursor_left(&c) != 0)
        return KS_CORRUPT;
    *out_producers = KS_TAKE(producers);
    return KS_OK;
}
