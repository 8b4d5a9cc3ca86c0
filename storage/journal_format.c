#include "storage/journal_format.h"

#include "base/crc32c.h"

static const uint8_t block_magic[8] = {'K', 'S', 'J', 'B', 'L', 'O', 'C', 'K'};
static const uint8_t file_magic[8] = {'K', 'S', 'J', 'F', 'I', 'L', 'E', '\n'};

#define FORMAT_VERSION 1u

enum block_offset {
    BLOCK_MAGIC = 0,
    BLOCK_VERSION = 8,
    BLOCK_COMPATIBLE = 12,
    BLOCK_INCOMPATIBLE = 16,
    BLOCK_FLAGS = 20,
    BLOCK_UUID = 24,
    BLOCK_RUN = 40,
    BLOCK_LSN = 48,
    BLOCK_DURABLE_LSN = 56,
    BLOCK_ENTRY_COUNT = 64,
    BLOCK_PAYLOAD_BYTES = 68,
    BLOCK_PAYLOAD_CRC = 72,
    BLOCK_PREDECESSOR_CRC = 76,
    BLOCK_PREDECESSOR_RUN = 80,
    BLOCK_PREDECESSOR_LSN = 88,
    BLOCK_ORDINALS_BEFORE = 96,
    BLOCK_LAST_ORDINALS = 104,
    BLOCK_SETTLED_ORDINALS = 112,
    BLOCK_END_COUNT = 120,
    BLOCK_ENDS_LEFT_OUT = 124,
    BLOCK_RESERVED = 128, /* zeros */
    BLOCK_HEADER_CRC = 156,
    BLOCK_END = 160,
};
_Static_assert(BLOCK_END == KS_JOURNAL_BLOCK_HEADER_BYTES, "FORMAT.md says 160");
_Static_assert(KS_JOURNAL_BLOCK_HEADER_BYTES < KS_JOURNAL_BLOCK_ALIGN, "a header lies in one page");

enum entry_offset {
    ENTRY_TYPE = 0,
    ENTRY_KIND = 4,
    ENTRY_LOG = 8,
    ENTRY_FIRST = 16,
    ENTRY_LAST = 24,
    ENTRY_OFFSET = 32,
    ENTRY_BYTES = 36,
    ENTRY_END = 40,
};
_Static_assert(ENTRY_END == KS_JOURNAL_ENTRY_BYTES, "FORMAT.md says 40");

enum end_offset {
    END_LOG = 0,
    END_LAST = 8,
    END_END = 16,
};
#define END_CLOSED (1ull << 63) /* in END_LAST: no sequence is as high */
_Static_assert(KS_SEQUENCE_MAX < END_CLOSED, "a close batch's sequence leaves the bit free");
_Static_assert(END_END == KS_JOURNAL_END_BYTES, "FORMAT.md says 16");

enum file_offset {
    FILE_MAGIC = 0,
    FILE_VERSION = 8,
    FILE_COMPATIBLE = 12,
    FILE_INCOMPATIBLE = 16,
    FILE_RESERVED = 20, /* zeros */
    FILE_UUID = 24,
    FILE_NUMBER = 40,
    FILE_BYTES = 48,
    FILE_RUN = 56,
    FILE_FIRST_LSN = 64,
    FILE_ORDINALS_BEFORE = 72,
    FILE_NEEDED_ORDINALS = 80,
    FILE_PREDECESSOR_RUN = 88,
    FILE_PREDECESSOR_LSN = 96,
    FILE_PREDECESSOR_CRC = 104,
    FILE_FLAGS = 108,
    FILE_CRC = 112,
    FILE_END = 116, /* zeros up to the page's end, outside the checksum */
};
/* Rewritten in place: a disk writes a sector wholly or not at all. */
_Static_assert(FILE_END <= 512, "the file header lies in one sector");

uint64_t ks_journal_head_bytes(uint32_t entry_count, uint32_t end_count)
{
    return KS_JOURNAL_BLOCK_HEADER_BYTES + (uint64_t)entry_count * KS_JOURNAL_ENTRY_BYTES +
           (uint64_t)end_count * KS_JOURNAL_END_BYTES;
}

uint64_t ks_journal_block_bytes(uint32_t entry_count, uint32_t end_count, uint64_t payload_bytes)
{
    return ks_round_up(
        ks_journal_head_bytes(entry_count, end_count) + payload_bytes, KS_JOURNAL_BLOCK_ALIGN);
}

uint32_t ks_journal_payload_crc(
    const struct ks_journal_block_header *header, struct ks_view payload)
{
    uint8_t seed[KS_JOURNAL_UUID_BYTES + 16];
    memcpy(seed, header->uuid, KS_JOURNAL_UUID_BYTES);
    ks_store_u64le(seed + KS_JOURNAL_UUID_BYTES, header->run_id);
    ks_store_u64le(seed + KS_JOURNAL_UUID_BYTES + 8, header->lsn);
    uint32_t crc = ks_crc32c(seed, sizeof seed);
    return payload.bytes ? ks_crc32c_extend(crc, payload.data, payload.bytes) : crc;
}

/* Over the header but its own CRC field, then table and ends. */
static uint32_t head_crc(const uint8_t *head, const struct ks_journal_block_header *header)
{
    uint32_t crc = ks_crc32c(head, BLOCK_HEADER_CRC);
    uint64_t bytes = ks_journal_head_bytes(header->entry_count, header->end_count) -
                     KS_JOURNAL_BLOCK_HEADER_BYTES;
    return bytes ? ks_crc32c_extend(crc, head + KS_JOURNAL_BLOCK_HEADER_BYTES, bytes) : crc;
}

static void entry_encode(const struct ks_journal_entry *entry, uint8_t *to)
{
    ks_store_u32le(to + ENTRY_TYPE, (uint32_t)entry->type);
    ks_store_u32le(to + ENTRY_KIND, (uint32_t)entry->kind);
    ks_store_u64le(to + ENTRY_LOG, entry->log_id);
    ks_store_u64le(to + ENTRY_FIRST, entry->first_sequence);
    ks_store_u64le(to + ENTRY_LAST, entry->last_sequence);
    ks_store_u32le(to + ENTRY_OFFSET, entry->offset);
    ks_store_u32le(to + ENTRY_BYTES, entry->bytes);
}

static void predecessor_encode(
    const struct ks_journal_predecessor *predecessor, uint8_t *run, uint8_t *lsn, uint8_t *crc)
{
    ks_store_u64le(run, predecessor->run_id);
    ks_store_u64le(lsn, predecessor->lsn);
    ks_store_u32le(crc, predecessor->crc);
}

static struct ks_journal_predecessor predecessor_decode(
    const uint8_t *run, const uint8_t *lsn, const uint8_t *crc)
{
    return (struct ks_journal_predecessor){
        .run_id = ks_load_u64le(run), .lsn = ks_load_u64le(lsn), .crc = ks_load_u32le(crc)};
}

static void block_header_encode(const struct ks_journal_block_header *header, uint8_t *to)
{
    memset(to, 0, KS_JOURNAL_BLOCK_HEADER_BYTES);
    memcpy(to + BLOCK_MAGIC, block_magic, sizeof block_magic);
    ks_store_u32le(to + BLOCK_VERSION, FORMAT_VERSION);
    ks_store_u32le(to + BLOCK_FLAGS, header->flags);
    memcpy(to + BLOCK_UUID, header->uuid, KS_JOURNAL_UUID_BYTES);
    ks_store_u64le(to + BLOCK_RUN, header->run_id);
    ks_store_u64le(to + BLOCK_LSN, header->lsn);
    ks_store_u64le(to + BLOCK_DURABLE_LSN, header->durable_lsn);
    ks_store_u32le(to + BLOCK_ENTRY_COUNT, header->entry_count);
    ks_store_u32le(to + BLOCK_PAYLOAD_BYTES, header->payload_bytes);
    ks_store_u32le(to + BLOCK_PAYLOAD_CRC, header->payload_crc);
    predecessor_encode(&header->predecessor, to + BLOCK_PREDECESSOR_RUN, to + BLOCK_PREDECESSOR_LSN,
        to + BLOCK_PREDECESSOR_CRC);
    ks_store_u64le(to + BLOCK_ORDINALS_BEFORE, header->ordinals_before);
    ks_store_u64le(to + BLOCK_LAST_ORDINALS, header->last_ordinals);
    ks_store_u64le(to + BLOCK_SETTLED_ORDINALS, header->settled_ordinals);
    ks_store_u32le(to + BLOCK_END_COUNT, header->end_count);
    ks_store_u32le(to + BLOCK_ENDS_LEFT_OUT, header->ends_left_out);
}

void ks_journal_head_encode(struct ks_journal_block_header *header,
    const struct ks_journal_entry *entries, const struct ks_journal_end *ends, uint8_t *to)
{
    block_header_encode(header, to);
    uint8_t *at = to + KS_JOURNAL_BLOCK_HEADER_BYTES;
    for (uint32_t i = 0; i < header->entry_count; i++, at += KS_JOURNAL_ENTRY_BYTES)
        entry_encode(&entries[i], at);
    for (uint32_t i = 0; i < header->end_count; i++, at += KS_JOURNAL_END_BYTES) {
        ks_store_u64le(at + END_LOG, ends[i].log_id);
        ks_store_u64le(at + END_LAST, ends[i].last_sequence | (ends[i].is_closed ? END_CLOSED : 0));
    }
    header->header_crc = head_crc(to, header);
    ks_store_u32le(to + BLOCK_HEADER_CRC, header->header_crc);
}

enum ks_status ks_journal_head_peek(struct ks_view from, struct ks_journal_block_header *out_header)
{
    if (from.bytes < KS_JOURNAL_BLOCK_HEADER_BYTES ||
        memcmp(from.data + BLOCK_MAGIC, block_magic, sizeof block_magic) != 0)
        return KS_CORRUPT;
    const uint8_t *at = from.data;
    struct ks_journal_block_header header = {
        .run_id = ks_load_u64le(at + BLOCK_RUN),
        .lsn = ks_load_u64le(at + BLOCK_LSN),
        .durable_lsn = ks_load_u64le(at + BLOCK_DURABLE_LSN),
        .flags = ks_load_u32le(at + BLOCK_FLAGS),
        .entry_count = ks_load_u32le(at + BLOCK_ENTRY_COUNT),
        .payload_bytes = ks_load_u32le(at + BLOCK_PAYLOAD_BYTES),
        .payload_crc = ks_load_u32le(at + BLOCK_PAYLOAD_CRC),
        .predecessor = predecessor_decode(
            at + BLOCK_PREDECESSOR_RUN, at + BLOCK_PREDECESSOR_LSN, at + BLOCK_PREDECESSOR_CRC),
        .ordinals_before = ks_load_u64le(at + BLOCK_ORDINALS_BEFORE),
        .last_ordinals = ks_load_u64le(at + BLOCK_LAST_ORDINALS),
        .settled_ordinals = ks_load_u64le(at + BLOCK_SETTLED_ORDINALS),
        .end_count = ks_load_u32le(at + BLOCK_END_COUNT),
        .ends_left_out = ks_load_u32le(at + BLOCK_ENDS_LEFT_OUT),
        .header_crc = ks_load_u32le(at + BLOCK_HEADER_CRC),
    };
    memcpy(header.uuid, at + BLOCK_UUID, KS_JOURNAL_UUID_BYTES);
    if (header.lsn == 0 || header.run_id == 0 ||
        ks_journal_block_bytes(header.entry_count, header.end_count, header.payload_bytes) >
            KS_JOURNAL_BLOCK_BYTES_CEILING)
        return KS_CORRUPT;
    *out_header = header;
    bool is_known = ks_load_u32le(at + BLOCK_VERSION) == FORMAT_VERSION &&
                    ks_load_u32le(at + BLOCK_INCOMPATIBLE) == 0 &&
                    (header.flags & ~(uint32_t)KS_JOURNAL_FIRST_OF_RUN) == 0;
    return is_known ? KS_OK : KS_UNSUPPORTED;
}

/* DATA rows tile the payload in order, so that no two batches share bytes and none is outside. */
static bool entries_are_right(struct ks_view head, const struct ks_journal_block_header *header)
{
    uint64_t end = 0;
    for (uint32_t i = 0; i < header->entry_count; i++) {
        struct ks_journal_entry entry;
        ks_journal_entry_at(head, i, &entry);
        if (entry.kind > KS_BATCH_DAMAGED || entry.log_id == 0 || entry.first_sequence == 0 ||
            entry.last_sequence < entry.first_sequence || entry.bytes == 0 || entry.offset != end)
            return false;
        end += entry.bytes;
        if (end > header->payload_bytes)
            return false;
    }
    return end == header->payload_bytes;
}

static bool ends_are_right(struct ks_view head, const struct ks_journal_block_header *header)
{
    for (uint32_t i = 0; i < header->end_count; i++) {
        struct ks_journal_end end;
        ks_journal_end_at(head, header, i, &end);
        if (end.log_id == 0 || end.last_sequence == 0)
            return false;
    }
    return header->ordinals_before >= header->last_ordinals;
}

enum ks_status ks_journal_head_check(
    struct ks_view head, const struct ks_journal_block_header *header)
{
    if (head.bytes < ks_journal_head_bytes(header->entry_count, header->end_count))
        return KS_CORRUPT;
    if (head_crc(head.data, header) != header->header_crc)
        return KS_CORRUPT;
    if (ks_load_u32le(head.data + BLOCK_VERSION) != FORMAT_VERSION ||
        ks_load_u32le(head.data + BLOCK_INCOMPATIBLE) != 0)
        return KS_OK; /* whole, but of another version: what its rows mean is not known here */
    return entries_are_right(head, header) && ends_are_right(head, header) ? KS_OK : KS_CORRUPT;
}

void ks_journal_entry_at(struct ks_view head, uint32_t index, struct ks_journal_entry *out_entry)
{
    uint64_t offset = ks_journal_head_bytes(index, 0);
    KS_ASSERT(offset + KS_JOURNAL_ENTRY_BYTES <= head.bytes);
    const uint8_t *at = head.data + offset;
    *out_entry = (struct ks_journal_entry){
        .type = (enum ks_journal_entry_type)ks_load_u32le(at + ENTRY_TYPE),
        .kind = (enum ks_batch_kind)ks_load_u32le(at + ENTRY_KIND),
        .log_id = ks_load_u64le(at + ENTRY_LOG),
        .first_sequence = ks_load_u64le(at + ENTRY_FIRST),
        .last_sequence = ks_load_u64le(at + ENTRY_LAST),
        .offset = ks_load_u32le(at + ENTRY_OFFSET),
        .bytes = ks_load_u32le(at + ENTRY_BYTES),
    };
}

void ks_journal_end_at(struct ks_view head, const struct ks_journal_block_header *header,
    uint32_t index, struct ks_journal_end *out_end)
{
    uint64_t offset = ks_journal_head_bytes(header->entry_count, index);
    KS_ASSERT(index < header->end_count && offset + KS_JOURNAL_END_BYTES <= head.bytes);
    out_end->log_id = ks_load_u64le(head.data + offset + END_LOG);
    uint64_t last = ks_load_u64le(head.data + offset + END_LAST);
    out_end->last_sequence = last & ~END_CLOSED;
    out_end->is_closed = (last & END_CLOSED) != 0;
}

void ks_journal_file_header_encode(
    const struct ks_journal_file_header *header, uint8_t to[KS_JOURNAL_FILE_HEADER_BYTES])
{
    memset(to, 0, KS_JOURNAL_FILE_HEADER_BYTES);
    memcpy(to + FILE_MAGIC, file_magic, sizeof file_magic);
    ks_store_u32le(to + FILE_VERSION, FORMAT_VERSION);
    memcpy(to + FILE_UUID, header->uuid, KS_JOURNAL_UUID_BYTES);
    ks_store_u64le(to + FILE_NUMBER, header->number);
    ks_store_u64le(to + FILE_BYTES, header->file_bytes);
    ks_store_u64le(to + FILE_RUN, header->run_id);
    ks_store_u64le(to + FILE_FIRST_LSN, header->first_lsn);
    ks_store_u64le(to + FILE_ORDINALS_BEFORE, header->ordinals_before);
    ks_store_u64le(to + FILE_NEEDED_ORDINALS, header->needed_ordinals);
    predecessor_encode(&header->predecessor, to + FILE_PREDECESSOR_RUN, to + FILE_PREDECESSOR_LSN,
        to + FILE_PREDECESSOR_CRC);
    ks_store_u32le(to + FILE_FLAGS, header->flags);
    ks_store_u32le(to + FILE_CRC, ks_crc32c(to, FILE_CRC));
}

enum ks_status ks_journal_file_header_decode(
    struct ks_view from, struct ks_journal_file_header *out_header)
{
    if (from.bytes < FILE_END || memcmp(from.data, file_magic, sizeof file_magic) != 0 ||
        ks_load_u32le(from.data + FILE_CRC) != ks_crc32c(from.data, FILE_CRC))
        return KS_CORRUPT;
    if (ks_load_u32le(from.data + FILE_VERSION) != FORMAT_VERSION ||
        ks_load_u32le(from.data + FILE_INCOMPATIBLE) != 0 ||
        (ks_load_u32le(from.data + FILE_FLAGS) & ~(uint32_t)KS_JOURNAL_FIRST_OF_RUN) != 0)
        return KS_UNSUPPORTED;
    const uint8_t *at = from.data;
    struct ks_journal_file_header header = {.number = ks_load_u64le(at + FILE_NUMBER),
        .file_bytes = ks_load_u64le(at + FILE_BYTES),
        .run_id = ks_load_u64le(at + FILE_RUN),
        .first_lsn = ks_load_u64le(at + FILE_FIRST_LSN),
        .ordinals_before = ks_load_u64le(at + FILE_ORDINALS_BEFORE),
        .needed_ordinals = ks_load_u64le(at + FILE_NEEDED_ORDINALS),
        .flags = ks_load_u32le(at + FILE_FLAGS),
        .predecessor = predecessor_decode(
            at + FILE_PREDECESSOR_RUN, at + FILE_PREDECESSOR_LSN, at + FILE_PREDECESSOR_CRC)};
    memcpy(header.uuid, at + FILE_UUID, KS_JOURNAL_UUID_BYTES);
    if ((header.run_id == 0) != (header.first_lsn == 0))
        return KS_CORRUPT;
    *out_header = header;
    return KS_OK;
}
