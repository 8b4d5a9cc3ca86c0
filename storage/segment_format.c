#include "storage/segment_format.h"

#include "base/alloc.h"
#include "base/crc32c.h"

#include <string.h>

/* ---- header: fixed places, little-endian, zeros behind ---- */

#define MAGIC "kstrmSEG"
#define VERSION 1u
#define AT_CRC 8u /* over all that follows it */
#define AT_VERSION 12u
#define AT_INCOMPATIBLE 16u
#define AT_COMPATIBLE 20u
#define AT_FILE_ID 24u
#define AT_GENERATION 32u
#define AT_LOG_ID 40u
#define AT_FIRST_SEQUENCE 48u
#define AT_CREATED 56u
#define AT_SHARD_CREATED 64u
#define AT_SHARD_INDEX 72u
#define AT_NAME_BYTES 76u
#define AT_HASH_FIRST 80u /* big-endian, as everywhere */
#define AT_HASH_LAST 96u
#define AT_STREAM_ID 112u
#define STREAM_ID_BYTES 24u
#define AT_STREAM_NAME 136u
#define STREAM_NAME_BYTES 128u
#define AT_END 264u

_Static_assert(AT_STREAM_NAME == AT_STREAM_ID + STREAM_ID_BYTES, "FORMAT.md");
_Static_assert(AT_END == AT_STREAM_NAME + STREAM_NAME_BYTES, "FORMAT.md");
_Static_assert(AT_END <= KS_SEGMENT_HEADER_BYTES, "FORMAT.md");

void ks_segment_header_encode(
    const struct ks_segment_header *header, uint8_t to[KS_SEGMENT_HEADER_BYTES])
{
    size_t name_bytes = strlen(header->stream_name);
    size_t id_bytes = strlen(header->stream_id);
    KS_ASSERT(name_bytes <= STREAM_NAME_BYTES && id_bytes <= STREAM_ID_BYTES);
    memset(to, 0, KS_SEGMENT_HEADER_BYTES);
    memcpy(to, MAGIC, 8);
    ks_store_u32le(to + AT_VERSION, VERSION);
    ks_store_u64le(to + AT_FILE_ID, header->file_id);
    ks_store_u64le(to + AT_GENERATION, header->generation);
    ks_store_u64le(to + AT_LOG_ID, header->log_id);
    ks_store_u64le(to + AT_FIRST_SEQUENCE, header->first_sequence);
    ks_store_u64le(to + AT_CREATED, header->created_unix_ms);
    ks_store_u64le(to + AT_SHARD_CREATED, header->shard_created_s);
    ks_store_u32le(to + AT_SHARD_INDEX, header->shard_index);
    ks_store_u32le(to + AT_NAME_BYTES, (uint32_t)name_bytes);
    ks_u128_store_be(to + AT_HASH_FIRST, header->hash_first);
    ks_u128_store_be(to + AT_HASH_LAST, header->hash_last);
    memcpy(to + AT_STREAM_ID, header->stream_id, id_bytes);
    memcpy(to + AT_STREAM_NAME, header->stream_name, name_bytes);
    ks_store_u32le(to + AT_CRC, ks_crc32c(to + AT_VERSION, KS_SEGMENT_HEADER_BYTES - AT_VERSION));
}

enum ks_status ks_segment_header_decode(
    struct ks_view from, struct ks_segment_header *out, struct ks_error *err)
{
    const uint8_t *data = from.data;
    if (from.bytes != KS_SEGMENT_HEADER_BYTES || memcmp(data, MAGIC, 8) != 0)
        return ks_fail(err, KS_CORRUPT, 0, "not a segment");
    if (ks_load_u32le(data + AT_CRC) !=
        ks_crc32c(data + AT_VERSION, KS_SEGMENT_HEADER_BYTES - AT_VERSION))
        return ks_fail(err, KS_CORRUPT, 0, "segment header has a wrong checksum");
    uint32_t version = ks_load_u32le(data + AT_VERSION);
    if (version != VERSION || ks_load_u32le(data + AT_INCOMPATIBLE) != 0)
        return ks_fail(err, KS_UNSUPPORTED, 0,
            "segment has format %u with features %08x, this version knows %u: use a newer kstream",
            version, ks_load_u32le(data + AT_INCOMPATIBLE), VERSION);
    uint32_t name_bytes = ks_load_u32le(data + AT_NAME_BYTES);
    if (name_bytes > STREAM_NAME_BYTES)
        return ks_fail(err, KS_CORRUPT, 0, "segment header has an impossible name");
    *out = (struct ks_segment_header){
        .file_id = ks_load_u64le(data + AT_FILE_ID),
        .generation = ks_load_u64le(data + AT_GENERATION),
        .log_id = ks_load_u64le(data + AT_LOG_ID),
        .first_sequence = ks_load_u64le(data + AT_FIRST_SEQUENCE),
        .created_unix_ms = ks_load_u64le(data + AT_CREATED),
        .shard_created_s = ks_load_u64le(data + AT_SHARD_CREATED),
        .shard_index = ks_load_u32le(data + AT_SHARD_INDEX),
        .hash_first = ks_u128_load_be(data + AT_HASH_FIRST),
        .hash_last = ks_u128_load_be(data + AT_HASH_LAST),
    };
    memcpy(out->stream_id, data + AT_STREAM_ID, STREAM_ID_BYTES);
    memcpy(out->stream_name, data + AT_STREAM_NAME, name_bytes);
    return KS_OK;
}

/* ---- footer: message Footer of log.proto, in its one canonical form ---- */

#define TAG_SEGMENT_FOOTER 0x12u
#define TAG_CRC 0x0du
#define TAG_LOG_ID 0x11u
#define TAG_FIRST_SEQUENCE 0x19u
#define TAG_LAST_SEQUENCE 0x21u
#define TAG_LAST_ARRIVAL 0x29u
#define TAG_BATCHES_BYTES 0x31u
#define TAG_BATCH_BYTES 0x3au
#define TAG_BATCH_RECORDS 0x42u
#define TAG_MARK 0x4au
#define TAG_MARK_BATCH 0x08u
#define TAG_MARK_ARRIVAL 0x10u
#define TAG_FOOTER_BYTES 0x7du
#define FIXED_BYTES (5u + 5u * 9u + 5u) /* crc, five fixed64, footer_bytes */
#define CRC_FIELD_BYTES 5u
#define PACKED_OVERHEAD_BYTES (1u + 5u)
#define BATCH_BYTES_MAX (5u + 5u) /* two varints of 32 bits */
#define MARK_BYTES_MAX (2u + 1u + 5u + 1u + 10u)

void ks_footer_fini(struct ks_footer *footer)
{
    ks_free(footer->batches);
    ks_free(footer->marks);
    footer->batches = NULL;
    footer->marks = NULL;
}

/* Room for one more element; the new capacity. NULL: no memory, nothing changed. */
static void *grown(void *items, uint32_t count, uint32_t *capacity, size_t item_bytes)
{
    if (count < *capacity)
        return items;
    uint32_t more = *capacity ? 2 * *capacity : 64;
    void *bigger = ks_realloc(items, more * item_bytes);
    if (bigger)
        *capacity = more;
    return bigger;
}

bool ks_footer_add_batch(struct ks_footer *footer, uint32_t bytes, uint32_t record_count)
{
    if (footer->batch_count == KS_FOOTER_BATCHES_MAX)
        return false;
    void *batches = grown(
        footer->batches, footer->batch_count, &footer->batch_capacity, sizeof *footer->batches);
    if (!batches)
        return false;
    footer->batches = batches;
    footer->batches[footer->batch_count++] =
        (struct ks_footer_batch){.bytes = bytes, .record_count = record_count};
    footer->batches_bytes += bytes;
    return true;
}

bool ks_footer_add_mark(struct ks_footer *footer, uint32_t batch, uint64_t arrival_unix_ms)
{
    void *marks =
        grown(footer->marks, footer->mark_count, &footer->mark_capacity, sizeof *footer->marks);
    if (!marks)
        return false;
    footer->marks = marks;
    footer->marks[footer->mark_count++] =
        (struct ks_footer_mark){.batch = batch, .arrival_unix_ms = arrival_unix_ms};
    return true;
}

uint64_t ks_footer_bytes_bound(uint64_t batch_count, uint64_t mark_count)
{
    return 1 + KS_VARINT_BYTES_MAX + FIXED_BYTES + 2 * PACKED_OVERHEAD_BYTES +
           batch_count * BATCH_BYTES_MAX + mark_count * MARK_BYTES_MAX;
}

static bool put_fixed64(struct ks_buf *to, uint8_t tag, uint64_t value)
{
    uint8_t field[9] = {tag};
    ks_store_u64le(field + 1, value);
    return ks_buf_append(to, field, sizeof field);
}

static bool put_fixed32(struct ks_buf *to, uint8_t tag, uint32_t value)
{
    uint8_t field[5] = {tag};
    ks_store_u32le(field + 1, value);
    return ks_buf_append(to, field, sizeof field);
}

static bool put_packed(
    struct ks_buf *to, uint8_t tag, const struct ks_footer *footer, bool is_bytes)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < footer->batch_count; i++)
        bytes +=
            ks_varint_bytes(is_bytes ? footer->batches[i].bytes : footer->batches[i].record_count);
    bool is_done = ks_buf_append(to, &tag, 1) && ks_buf_append_varint(to, bytes);
    for (uint32_t i = 0; is_done && i < footer->batch_count; i++)
        is_done = ks_buf_append_varint(
            to, is_bytes ? footer->batches[i].bytes : footer->batches[i].record_count);
    return is_done;
}

static bool put_mark(struct ks_buf *to, const struct ks_footer_mark *mark)
{
    uint8_t field[MARK_BYTES_MAX] = {TAG_MARK, 0, TAG_MARK_BATCH};
    size_t at = 3 + ks_varint_store(field + 3, mark->batch);
    field[at++] = TAG_MARK_ARRIVAL;
    at += ks_varint_store(field + at, mark->arrival_unix_ms);
    field[1] = (uint8_t)(at - 2);
    return ks_buf_append(to, field, at);
}

/* The message without its first and last field. */
static bool put_middle(struct ks_buf *to, const struct ks_footer *footer)
{
    bool is_done = put_fixed64(to, TAG_LOG_ID, footer->log_id) &&
                   put_fixed64(to, TAG_FIRST_SEQUENCE, footer->first_sequence) &&
                   put_fixed64(to, TAG_LAST_SEQUENCE, footer->last_sequence) &&
                   put_fixed64(to, TAG_LAST_ARRIVAL, footer->last_arrival_unix_ms) &&
                   put_fixed64(to, TAG_BATCHES_BYTES, footer->batches_bytes) &&
                   put_packed(to, TAG_BATCH_BYTES, footer, true) &&
                   put_packed(to, TAG_BATCH_RECORDS, footer, false);
    for (uint32_t i = 0; is_done && i < footer->mark_count; i++)
        is_done = put_mark(to, &footer->marks[i]);
    return is_done;
}

static bool encode_checked(const struct ks_footer *footer, struct ks_buf *body, struct ks_buf *to)
{
    if (!put_middle(body, footer))
        return false;
    uint32_t footer_bytes = (uint32_t)(body->bytes + CRC_FIELD_BYTES + 5);
    if (!put_fixed32(body, TAG_FOOTER_BYTES, footer_bytes))
        return false;
    uint8_t tag = TAG_SEGMENT_FOOTER;
    return ks_buf_append(to, &tag, 1) && ks_buf_append_varint(to, footer_bytes) &&
           put_fixed32(to, TAG_CRC, ks_crc32c(body->data, body->bytes)) &&
           ks_buf_append(to, body->data, body->bytes);
}

bool ks_footer_encode(const struct ks_footer *footer, struct ks_buf *to)
{
    struct ks_buf body;
    ks_buf_init(&body, KS_FOOTER_BYTES_MAX);
    bool is_done = encode_checked(footer, &body, to);
    ks_buf_fini(&body);
    return is_done;
}

enum ks_status ks_footer_length(struct ks_view last_four_bytes, uint64_t *out_bytes)
{
    if (last_four_bytes.bytes != 4)
        return KS_CORRUPT;
    uint32_t footer_bytes = ks_load_u32le(last_four_bytes.data);
    if (footer_bytes < FIXED_BYTES || footer_bytes > KS_FOOTER_BYTES_MAX)
        return KS_CORRUPT;
    *out_bytes = 1 + ks_varint_bytes(footer_bytes) + (uint64_t)footer_bytes;
    return KS_OK;
}

static bool take_tag(struct ks_cursor *c, uint8_t tag)
{
    uint8_t found = 0;
    return ks_cursor_u8(c, &found) && found == tag;
}

static bool take_fixed64(struct ks_cursor *c, uint8_t tag, uint64_t *out)
{
    return take_tag(c, tag) && ks_cursor_u64le(c, out);
}

static bool take_packed(struct ks_cursor *c, uint8_t tag, struct ks_cursor *out)
{
    uint64_t bytes = 0;
    struct ks_view packed;
    if (!take_tag(c, tag) || !ks_cursor_varint(c, &bytes) || bytes > ks_cursor_left(c) ||
        !ks_cursor_view(c, (size_t)bytes, &packed))
        return false;
    *out = ks_cursor_over(packed.data, packed.bytes);
    return true;
}

static enum ks_status take_batches(struct ks_cursor *c, struct ks_footer *footer)
{
    struct ks_cursor bytes_list;
    struct ks_cursor records_list;
    if (!take_packed(c, TAG_BATCH_BYTES, &bytes_list) ||
        !take_packed(c, TAG_BATCH_RECORDS, &records_list))
        return KS_CORRUPT;
    uint64_t said_bytes = footer->batches_bytes;
    footer->batches_bytes = 0;
    while (ks_cursor_left(&bytes_list) > 0) {
        uint64_t bytes = 0;
        uint64_t records = 0;
        if (!ks_cursor_varint(&bytes_list, &bytes) || !ks_cursor_varint(&records_list, &records) ||
            bytes == 0 || bytes > UINT32_MAX || records > UINT32_MAX ||
            footer->batch_count == KS_FOOTER_BATCHES_MAX)
            return KS_CORRUPT;
        if (!ks_footer_add_batch(footer, (uint32_t)bytes, (uint32_t)records))
            return KS_NO_MEMORY;
    }
    return ks_cursor_left(&records_list) == 0 && footer->batches_bytes == said_bytes ? KS_OK
                                                                                     : KS_CORRUPT;
}

static enum ks_status take_marks(struct ks_cursor *c, struct ks_footer *footer)
{
    while (ks_cursor_left(c) > 0 && c->data[c->position] == TAG_MARK) {
        struct ks_cursor mark;
        uint64_t batch = 0;
        uint64_t arrival = 0;
        if (!take_packed(c, TAG_MARK, &mark) || !take_tag(&mark, TAG_MARK_BATCH) ||
            !ks_cursor_varint(&mark, &batch) || !take_tag(&mark, TAG_MARK_ARRIVAL) ||
            !ks_cursor_varint(&mark, &arrival) || ks_cursor_left(&mark) > 0)
            return KS_CORRUPT;
        bool is_later =
            footer->mark_count == 0 || batch > footer->marks[footer->mark_count - 1].batch;
        if (batch >= footer->batch_count || !is_later)
            return KS_CORRUPT;
        if (!ks_footer_add_mark(footer, (uint32_t)batch, arrival))
            return KS_NO_MEMORY;
    }
    return KS_OK;
}

/* The ordinals counted over the batches must be those the footer names; a close takes one more. */
static bool sequences_agree(const struct ks_footer *footer)
{
    uint64_t records = 0;
    for (uint32_t i = 0; i < footer->batch_count; i++)
        records += footer->batches[i].record_count;
    if (footer->first_sequence == 0 || footer->last_sequence > KS_SEQUENCE_MAX + 1 ||
        footer->last_sequence < footer->first_sequence)
        return false;
    uint64_t span = footer->last_sequence - footer->first_sequence + 1;
    return records == span || records + 1 == span;
}

static enum ks_status decode_fields(
    struct ks_cursor *c, uint32_t footer_bytes, struct ks_footer *footer)
{
    if (!take_fixed64(c, TAG_LOG_ID, &footer->log_id) ||
        !take_fixed64(c, TAG_FIRST_SEQUENCE, &footer->first_sequence) ||
        !take_fixed64(c, TAG_LAST_SEQUENCE, &footer->last_sequence) ||
        !take_fixed64(c, TAG_LAST_ARRIVAL, &footer->last_arrival_unix_ms) ||
        !take_fixed64(c, TAG_BATCHES_BYTES, &footer->batches_bytes))
        return KS_CORRUPT;
    enum ks_status st = take_batches(c, footer);
    if (!st)
        st = take_marks(c, footer);
    if (st)
        return st;
    uint32_t said_bytes = 0;
    if (!take_tag(c, TAG_FOOTER_BYTES) || !ks_cursor_u32le(c, &said_bytes) ||
        said_bytes != footer_bytes || ks_cursor_left(c) > 0 || !sequences_agree(footer))
        return KS_CORRUPT;
    return KS_OK;
}

enum ks_status ks_footer_decode(struct ks_view from, struct ks_footer *out_footer)
{
    struct ks_cursor c = ks_cursor_over(from.data, from.bytes);
    uint64_t footer_bytes = 0;
    uint32_t crc = 0;
    if (!take_tag(&c, TAG_SEGMENT_FOOTER) || !ks_cursor_varint(&c, &footer_bytes) ||
        footer_bytes != ks_cursor_left(&c) || footer_bytes > KS_FOOTER_BYTES_MAX ||
        !take_tag(&c, TAG_CRC) || !ks_cursor_u32le(&c, &crc) ||
        crc != ks_crc32c(from.data + c.position, ks_cursor_left(&c)))
        return KS_CORRUPT;
    struct ks_footer footer = {.log_id = 0};
    enum ks_status st = decode_fields(&c, (uint32_t)footer_bytes, &footer);
    if (st) {
        ks_footer_fini(&footer);
        return st;
    }
    *out_footer = footer;
    return KS_OK;
}
