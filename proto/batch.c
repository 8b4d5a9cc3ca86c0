#include "proto/batch.h"

#include "base/crc32c.h"

/* Tags: field number << 3 | wire type (1 fixed64, 2 length-delimited, 5 fixed32). */
enum {
    TAG_SEGMENT_BATCH = 0x0a,
    TAG_BATCH_HEADER = 0x0a,
    TAG_BATCH_RECORD = 0x12,
    TAG_BATCH_PADDING = 0x1a,
    TAG_HEADER_CRC = 0x0d,
    TAG_HEADER_LOG_ID = 0x11,
    TAG_HEADER_FIRST_SEQUENCE = 0x19,
    TAG_HEADER_ARRIVAL = 0x21,
    TAG_HEADER_RECORD_COUNT = 0x2d,
    TAG_HEADER_RECORDS_BYTES = 0x35,
    TAG_HEADER_BODY_CRC = 0x3d,
    TAG_HEADER_KIND = 0x45,
    TAG_HEADER_PADDING_BYTES = 0x4d,
    TAG_HEADER_PRODUCER_ID = 0x51,
    TAG_HEADER_PRODUCER_SEQUENCE = 0x59,
    TAG_HEADER_FLAGS = 0x65,
    TAG_RECORD_CRC = 0x0d,
    TAG_RECORD_KEY = 0x12,
    TAG_RECORD_DATA = 0x1a,
    TAG_RECORD_HASH = 0x22
};

#define CRC_FIELD_BYTES 5      /* tag and fixed32 */
#define HEADER_FIELD_BYTES 2   /* tag and one-byte length in front of the header */
#define HEADER_BYTES_LIMIT 127 /* a header's length is one byte in every version */
#define HASH_FIELD_BYTES 18
/* crc 5, key tag, length and one character 3, data tag and length 2, and the record's own tag and
 * length 2 */
#define RECORD_ENCODED_BYTES_MIN 12u

_Static_assert(KS_BATCH_HEADER_BYTES == 7 * 5 + 5 * 9, "seven fixed32 and five fixed64 fields");
_Static_assert(KS_BATCH_PREFIX_BYTES_MAX == 1 + 5 + HEADER_FIELD_BYTES + KS_BATCH_HEADER_BYTES,
    "FORMAT.md says 88");
_Static_assert(KS_BATCH_STORED_BYTES_MAX >= KS_BATCH_PREFIX_BYTES_MAX + KS_BATCH_RECORDS_BYTES_MAX +
                                                KS_BATCH_PADDING_BYTES_MAX,
    "the largest put fits a batch");
_Static_assert(KS_BATCH_STORED_BYTES_MAX < KS_FRAME_BYTES_MAX, "a batch fits an answer");

/* ---- padding ---- */

/* A padding field of exactly this many bytes exists: tag, minimal length, zeros. */
static bool padding_is_possible(uint64_t padding_bytes)
{
    if (padding_bytes == 0)
        return true;
    for (uint64_t length_bytes = 1; length_bytes <= 4; length_bytes++) {
        uint64_t around = 1 + length_bytes;
        if (padding_bytes >= around && ks_varint_bytes(padding_bytes - around) == length_bytes)
            return true;
    }
    return false;
}

/* The length inside a stored form of that size; false when no batch has such a stored form. */
static bool batch_bytes_of_stored(uint64_t stored_bytes, uint64_t *out_batch_bytes)
{
    for (uint64_t length_bytes = 1; length_bytes <= 5; length_bytes++) {
        uint64_t around = 1 + length_bytes;
        if (stored_bytes >= around && ks_varint_bytes(stored_bytes - around) == length_bytes) {
            *out_batch_bytes = stored_bytes - around;
            return true;
        }
    }
    return false;
}

uint32_t ks_batch_padding_for(size_t unpadded_stored_bytes, size_t alignment)
{
    KS_ASSERT(alignment > 0 && alignment <= KS_BATCH_PADDING_BYTES_MAX / 4);
    KS_ASSERT((alignment & (alignment - 1)) == 0);
    uint64_t unpadded = 0;
    bool is_batch = batch_bytes_of_stored(unpadded_stored_bytes, &unpadded);
    KS_ASSERT(is_batch);
    for (uint64_t target = ks_round_up(unpadded_stored_bytes, alignment);; target += alignment) {
        uint64_t padded = 0;
        if (!batch_bytes_of_stored(target, &padded) || padded < unpadded)
            continue;
        uint64_t padding_bytes = padded - unpadded;
        /* At most three units on: a length's two odd totals are next to each other. */
        KS_ASSERT(padding_bytes <= KS_BATCH_PADDING_BYTES_MAX);
        if (padding_is_possible(padding_bytes))
            return (uint32_t)padding_bytes;
    }
}

size_t ks_batch_encode_padding(const struct ks_batch_header *h, uint8_t *to)
{
    if (h->padding_bytes == 0)
        return 0;
    KS_ASSERT(padding_is_possible(h->padding_bytes));
    uint64_t zeros = h->padding_bytes - 2;
    while (1 + ks_varint_bytes(zeros) + zeros != h->padding_bytes)
        zeros--;
    to[0] = TAG_BATCH_PADDING;
    size_t at = 1 + ks_varint_store(to + 1, zeros);
    memset(to + at, 0, (size_t)zeros);
    return at + (size_t)zeros;
}

static bool padding_is_canonical(struct ks_view padding)
{
    if (padding.bytes == 0)
        return true;
    struct ks_cursor c = ks_cursor_over(padding.data, padding.bytes);
    uint8_t tag = 0;
    uint64_t zeros = 0;
    if (!ks_cursor_u8(&c, &tag) || tag != TAG_BATCH_PADDING || !ks_cursor_varint(&c, &zeros))
        return false;
    return zeros == ks_cursor_left(&c) &&
           ks_bytes_are_zero(padding.data + c.position, (size_t)zeros);
}

/* ---- header ---- */

/* What a header must say to make sense, whoever made it. */
static bool header_is_valid(const struct ks_batch_header *h)
{
    if (h->log_id == 0 || h->first_sequence == 0 || h->first_sequence > KS_SEQUENCE_MAX)
        return false;
    if (h->records_bytes > KS_BATCH_RECORDS_BYTES_MAX ||
        h->padding_bytes > KS_BATCH_PADDING_BYTES_MAX || !padding_is_possible(h->padding_bytes))
        return false;
    if (h->producer_id == 0 && (h->producer_sequence != 0 || (h->flags & KS_BATCH_FLAG_FIRST)))
        return false;
    if (h->record_count > 0 && h->record_count - 1 > KS_SEQUENCE_MAX - h->first_sequence)
        return false;
    switch (h->kind) {
    case KS_BATCH_DATA:
        return h->record_count > 0 &&
               h->records_bytes / RECORD_ENCODED_BYTES_MIN >= h->record_count;
    case KS_BATCH_CLOSE:
        return h->record_count == 0 && h->records_bytes == 0 && h->body_crc == 0 &&
               h->producer_id == 0;
    case KS_BATCH_DAMAGED:
        return h->record_count > 0 && h->records_bytes == 0 && h->body_crc == 0 &&
               h->producer_id == 0;
    }
    return false;
}

static uint64_t header_batch_bytes(const struct ks_batch_header *h)
{
    return (uint64_t)HEADER_FIELD_BYTES + KS_BATCH_HEADER_BYTES + h->records_bytes +
           h->padding_bytes;
}

size_t ks_batch_stored_bytes(const struct ks_batch_header *h)
{
    uint64_t batch_bytes = header_batch_bytes(h);
    return (size_t)(1 + ks_varint_bytes(batch_bytes) + batch_bytes);
}

static uint8_t *put_u32(uint8_t *to, uint8_t tag, uint32_t value)
{
    to[0] = tag;
    ks_store_u32le(to + 1, value);
    return to + 5;
}

static uint8_t *put_u64(uint8_t *to, uint8_t tag, uint64_t value)
{
    to[0] = tag;
    ks_store_u64le(to + 1, value);
    return to + 9;
}

size_t ks_batch_encode_prefix(const struct ks_batch_header *h, uint8_t *to)
{
    KS_ASSERT(header_is_valid(h));
    KS_ASSERT((h->flags & ~KS_BATCH_FLAGS_KNOWN) == 0);
    uint8_t *at = to;
    *at++ = TAG_SEGMENT_BATCH;
    at += ks_varint_store(at, header_batch_bytes(h));
    *at++ = TAG_BATCH_HEADER;
    *at++ = KS_BATCH_HEADER_BYTES;
    uint8_t *checked = at + CRC_FIELD_BYTES;
    uint8_t *p = put_u64(checked, TAG_HEADER_LOG_ID, h->log_id);
    p = put_u64(p, TAG_HEADER_FIRST_SEQUENCE, h->first_sequence);
    p = put_u64(p, TAG_HEADER_ARRIVAL, h->arrival_unix_ms);
    p = put_u32(p, TAG_HEADER_RECORD_COUNT, h->record_count);
    p = put_u32(p, TAG_HEADER_RECORDS_BYTES, h->records_bytes);
    p = put_u32(p, TAG_HEADER_BODY_CRC, h->body_crc);
    p = put_u32(p, TAG_HEADER_KIND, (uint32_t)h->kind);
    p = put_u32(p, TAG_HEADER_PADDING_BYTES, h->padding_bytes);
    p = put_u64(p, TAG_HEADER_PRODUCER_ID, h->producer_id);
    p = put_u64(p, TAG_HEADER_PRODUCER_SEQUENCE, h->producer_sequence);
    p = put_u32(p, TAG_HEADER_FLAGS, h->flags);
    KS_ASSERT(p == at + KS_BATCH_HEADER_BYTES);
    put_u32(at, TAG_HEADER_CRC, ks_crc32c(checked, (size_t)(p - checked)));
    return (size_t)(p - to);
}

static bool take_u32(struct ks_cursor *c, uint8_t tag, uint32_t *out)
{
    uint8_t found = 0;
    return ks_cursor_u8(c, &found) && found == tag && ks_cursor_u32le(c, out);
}

static bool take_u64(struct ks_cursor *c, uint8_t tag, uint64_t *out)
{
    uint8_t found = 0;
    return ks_cursor_u8(c, &found) && found == tag && ks_cursor_u64le(c, out);
}

/* c stands behind the header's crc field. */
static bool header_take_fields(struct ks_cursor *c, struct ks_batch_header *h, uint32_t *kind)
{
    return take_u64(c, TAG_HEADER_LOG_ID, &h->log_id) &&
           take_u64(c, TAG_HEADER_FIRST_SEQUENCE, &h->first_sequence) &&
           take_u64(c, TAG_HEADER_ARRIVAL, &h->arrival_unix_ms) &&
           take_u32(c, TAG_HEADER_RECORD_COUNT, &h->record_count) &&
           take_u32(c, TAG_HEADER_RECORDS_BYTES, &h->records_bytes) &&
           take_u32(c, TAG_HEADER_BODY_CRC, &h->body_crc) && take_u32(c, TAG_HEADER_KIND, kind) &&
           take_u32(c, TAG_HEADER_PADDING_BYTES, &h->padding_bytes) &&
           take_u64(c, TAG_HEADER_PRODUCER_ID, &h->producer_id) &&
           take_u64(c, TAG_HEADER_PRODUCER_SEQUENCE, &h->producer_sequence) &&
           take_u32(c, TAG_HEADER_FLAGS, &h->flags) && ks_cursor_left(c) == 0;
}

/*
 * A header whose checksum is right was written as it stands: what this version does not know in it
 * comes from a newer one, and refusing to go on is better than calling its data damaged.
 */
static enum ks_status header_decode(struct ks_view header, struct ks_batch_header *h)
{
    struct ks_cursor c = ks_cursor_over(header.data, header.bytes);
    uint32_t crc = 0;
    if (!take_u32(&c, TAG_HEADER_CRC, &crc) ||
        ks_crc32c(header.data + CRC_FIELD_BYTES, header.bytes - CRC_FIELD_BYTES) != crc)
        return KS_CORRUPT;
    uint32_t kind = 0;
    if (!header_take_fields(&c, h, &kind))
        return header.bytes > KS_BATCH_HEADER_BYTES ? KS_UNSUPPORTED : KS_CORRUPT;
    if (kind > KS_BATCH_DAMAGED || (h->flags & ~KS_BATCH_FLAGS_KNOWN))
        return KS_UNSUPPORTED;
    h->kind = (enum ks_batch_kind)kind;
    return header_is_valid(h) ? KS_OK : KS_CORRUPT;
}

enum ks_status ks_batch_decode_prefix(
    struct ks_view prefix, struct ks_batch_header *out_header, size_t *out_stored_bytes)
{
    struct ks_cursor c = ks_cursor_over(prefix.data, prefix.bytes);
    uint8_t tag = 0;
    uint64_t batch_bytes = 0;
    if (!ks_cursor_u8(&c, &tag) || tag != TAG_SEGMENT_BATCH ||
        !ks_cursor_varint(&c, &batch_bytes) || batch_bytes > KS_BATCH_STORED_BYTES_MAX)
        return KS_CORRUPT;
    size_t stored_bytes = c.position + (size_t)batch_bytes;
    c.bytes = KS_MIN(c.bytes, stored_bytes);
    uint8_t header_bytes = 0;
    struct ks_view header;
    if (!ks_cursor_u8(&c, &tag) || tag != TAG_BATCH_HEADER || !ks_cursor_u8(&c, &header_bytes) ||
        header_bytes > HEADER_BYTES_LIMIT || !ks_cursor_view(&c, header_bytes, &header))
        return KS_CORRUPT;
    struct ks_batch_header decoded;
    enum ks_status st = header_decode(header, &decoded);
    if (st)
        return st;
    if (header_batch_bytes(&decoded) != batch_bytes)
        return KS_CORRUPT;
    *out_header = decoded;
    *out_stored_bytes = stored_bytes;
    return KS_OK;
}

enum ks_status ks_batch_decode(struct ks_view stored, struct ks_batch_view *out_batch)
{
    struct ks_batch_view batch = {.stored = {NULL, 0}};
    enum ks_status st = ks_batch_decode_prefix(stored, &batch.header, &batch.stored_bytes);
    if (st)
        return st;
    if (batch.stored_bytes > stored.bytes)
        return KS_CORRUPT;
    batch.stored = ks_view_of(stored.data, batch.stored_bytes);
    size_t behind = (size_t)batch.header.records_bytes + batch.header.padding_bytes;
    size_t at = batch.stored_bytes - behind;
    batch.records = ks_view_of(stored.data + at, batch.header.records_bytes);
    at += batch.header.records_bytes;
    if (!padding_is_canonical(ks_view_of(stored.data + at, batch.header.padding_bytes)))
        return KS_CORRUPT;
    *out_batch = batch;
    return KS_OK;
}

enum ks_status ks_batch_verify(const struct ks_batch_view *batch)
{
    struct ks_record_walk walk;
    ks_record_walk_init(&walk, batch->records);
    struct ks_record_view record;
    uint32_t body_crc = 0;
    uint32_t count = 0;
    enum ks_status st;
    while ((st = ks_record_walk_next(&walk, &record)) == KS_OK) {
        if (!ks_record_crc_is_right(&record))
            return KS_CORRUPT;
        body_crc = ks_body_crc_extend(body_crc, record.crc);
        count++;
    }
    if (st != KS_END || body_crc != batch->header.body_crc)
        return KS_CORRUPT;
    return batch->header.kind != KS_BATCH_DATA || count == batch->header.record_count ? KS_OK
                                                                                      : KS_CORRUPT;
}

uint64_t ks_batch_last_sequence(const struct ks_batch_header *h)
{
    return h->record_count == 0 ? h->first_sequence : h->first_sequence + h->record_count - 1;
}

/* ---- records ---- */

static size_t record_bytes(size_t key_bytes, size_t data_bytes, bool has_explicit_hash)
{
    return CRC_FIELD_BYTES + 1 + ks_varint_bytes(key_bytes) + key_bytes + 1 +
           ks_varint_bytes(data_bytes) + data_bytes + (has_explicit_hash ? HASH_FIELD_BYTES : 0);
}

size_t ks_record_encoded_bytes(size_t key_bytes, size_t data_bytes, bool has_explicit_hash)
{
    size_t bytes = record_bytes(key_bytes, data_bytes, has_explicit_hash);
    return 1 + ks_varint_bytes(bytes) + bytes;
}

static uint8_t *put_view(uint8_t *to, uint8_t tag, struct ks_view view)
{
    *to++ = tag;
    to += ks_varint_store(to, view.bytes);
    if (view.bytes > 0)
        memcpy(to, view.data, view.bytes);
    return to + view.bytes;
}

uint32_t ks_record_encode(const struct ks_record *record, uint8_t *to)
{
    KS_ASSERT(record->key.bytes > 0 && record->key.bytes <= KS_PARTITION_KEY_BYTES_MAX);
    KS_ASSERT(record->data.bytes <= KS_RECORD_BYTES_MAX);
    size_t bytes = record_bytes(record->key.bytes, record->data.bytes, record->has_explicit_hash);
    uint8_t *at = to;
    *at++ = TAG_BATCH_RECORD;
    at += ks_varint_store(at, bytes);
    uint8_t *checked = at + CRC_FIELD_BYTES;
    uint8_t *p = put_view(checked, TAG_RECORD_KEY, record->key);
    p = put_view(p, TAG_RECORD_DATA, record->data);
    if (record->has_explicit_hash)
        p = put_view(p, TAG_RECORD_HASH, ks_view_of(record->explicit_hash, KS_EXPLICIT_HASH_BYTES));
    KS_ASSERT(p == at + bytes);
    uint32_t crc = ks_crc32c(checked, (size_t)(p - checked));
    put_u32(at, TAG_RECORD_CRC, crc);
    return crc;
}

bool ks_key_is_valid(struct ks_view key)
{
    if (key.bytes == 0 || key.bytes > KS_PARTITION_KEY_BYTES_MAX || !ks_view_is_utf8(key))
        return false;
    return key.bytes <= KS_PARTITION_KEY_CHARACTERS_MAX ||
           ks_view_utf8_characters(key) <= KS_PARTITION_KEY_CHARACTERS_MAX;
}

bool ks_record_crc_is_right(const struct ks_record_view *record)
{
    return ks_crc32c(record->checked.data, record->checked.bytes) == record->crc;
}

uint32_t ks_body_crc_extend(uint32_t body_crc, uint32_t record_crc)
{
    uint8_t bytes[4];
    ks_store_u32le(bytes, record_crc);
    return ks_crc32c_extend(body_crc, bytes, sizeof bytes);
}

void ks_record_walk_init(struct ks_record_walk *walk, struct ks_view records)
{
    walk->cursor = ks_cursor_over(records.data, records.bytes);
}

static bool take_view(struct ks_cursor *c, uint8_t tag, uint64_t bytes_max, struct ks_view *out)
{
    uint8_t found = 0;
    uint64_t bytes = 0;
    return ks_cursor_u8(c, &found) && found == tag && ks_cursor_varint(c, &bytes) &&
           bytes <= bytes_max && ks_cursor_view(c, (size_t)bytes, out);
}

enum ks_status ks_record_walk_next(struct ks_record_walk *walk, struct ks_record_view *out_record)
{
    struct ks_cursor *c = &walk->cursor;
    if (ks_cursor_left(c) == 0)
        return KS_END;
    struct ks_record_view record = {.crc = 0};
    const uint8_t *start = c->data + c->position;
    struct ks_view body;
    if (!take_view(c, TAG_BATCH_RECORD, KS_BATCH_RECORDS_BYTES_MAX, &body))
        return KS_CORRUPT;
    struct ks_cursor r = ks_cursor_over(body.data, body.bytes);
    if (!take_u32(&r, TAG_RECORD_CRC, &record.crc) ||
        !take_view(&r, TAG_RECORD_KEY, KS_PARTITION_KEY_BYTES_MAX, &record.key) ||
        !take_view(&r, TAG_RECORD_DATA, KS_RECORD_BYTES_MAX, &record.data))
        return KS_CORRUPT;
    if (ks_cursor_left(&r) > 0 &&
        (!take_view(&r, TAG_RECORD_HASH, KS_EXPLICIT_HASH_BYTES, &record.explicit_hash) ||
            record.explicit_hash.bytes != KS_EXPLICIT_HASH_BYTES || ks_cursor_left(&r) > 0))
        return KS_CORRUPT;
    if (!ks_key_is_valid(record.key))
        return KS_CORRUPT;
    record.checked = ks_view_of(body.data + CRC_FIELD_BYTES, body.bytes - CRC_FIELD_BYTES);
    record.stored = ks_view_of(start, (size_t)(c->data + c->position - start));
    *out_record = record;
    return KS_OK;
}

enum ks_status ks_records_validate(struct ks_view records, uint32_t count,
    const struct ks_record_limits *limits, uint32_t *out_body_crc, struct ks_error *err)
{
    if (count == 0)
        return ks_fail(err, KS_PROTOCOL, 0, "a put without records");
    if (count > limits->count_max)
        return ks_fail(err, KS_TOO_LARGE, 0, "%u records in one put, the limit is %u", count,
            limits->count_max);
    if (records.bytes > KS_BATCH_RECORDS_BYTES_MAX)
        return ks_fail(err, KS_TOO_LARGE, 0, "%zu bytes of records in one put, the limit is %u",
            records.bytes, KS_BATCH_RECORDS_BYTES_MAX);
    struct ks_record_walk walk;
    ks_record_walk_init(&walk, records);
    struct ks_record_view record;
    uint32_t body_crc = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (ks_record_walk_next(&walk, &record))
            return ks_fail(err, KS_PROTOCOL, 0, "record %u of %u is malformed", i + 1, count);
        if (record.key.bytes + record.data.bytes > limits->record_bytes_max)
            return ks_fail(err, KS_TOO_LARGE, 0,
                "record %u has %zu bytes of data and key, the limit of the stream is %u", i + 1,
                record.key.bytes + record.data.bytes, limits->record_bytes_max);
        if (!ks_record_crc_is_right(&record))
            return ks_fail(
                err, KS_CORRUPT, 0, "record %u of %u has a wrong checksum", i + 1, count);
        body_crc = ks_body_crc_extend(body_crc, record.crc);
    }
    if (ks_cursor_left(&walk.cursor) > 0)
        return ks_fail(err, KS_PROTOCOL, 0, "more than the announced %u records", count);
    *out_body_crc = body_crc;
    return KS_OK;
}
