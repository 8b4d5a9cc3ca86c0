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
    BLOCK_RESERVED = 96, /* zeros */
    BLOCK_HEADER_CRC = 156,
    BLOCK_END = 160,
};
_Static_assert(BLOCK_END == KS_JOURNAL_BLOCK_HEADER_BYTES, "FORMAT.md says 160");
_Static_assert(KS_JOURNAL_BLOCK_HEADER_BYTES < KS_JOURNAL_BLOCK_ALIGN, "a header lies in one page");

enum entry_offset {
    ENTRY_TYPE = 0,
    ENTRY_RESERVED = 4, /* zeros */
    ENTRY_LOG = 8,
    ENTRY_FIRST = 16,
    ENTRY_LAST = 24,
    ENTRY_OFFSET = 32,
    ENTRY_BYTES = 36,
    ENTRY_END = 40,
};
_Static_assert(ENTRY_END == KS_JOURNAL_ENTRY_BYTES, "FORMAT.md says 40");

enum file_offset {
    FILE_MAGIC = 0,
    FILE_VERSION = 8,
    FILE_COMPATIBLE = 12,
    FILE_INCOMPATIBLE = 16,
    FILE_RESERVED = 20, /* zeros */
    FILE_UUID = 24,
    FILE_NUMBER = 40,
    FILE_BYTES = 48,
    FILE_CRC = 56,
    FILE_END = 60, /* zeros up to the page's end, outside the checksum */
};

uint64_t ks_journal_head_bytes(uint32_t entry_count)
{
    return KS_JOURNAL_BLOCK_HEADER_BYTES + (uint64_t)entry_count * KS_JOURNAL_ENTRY_BYTES;
}

uint64_t ks_journal_block_bytes(uint32_t entry_count, uint64_t payload_bytes)
{
    return ks_round_up(ks_journal_head_bytes(entry_count) + payload_bytes, KS_JOURNAL_BLOCK_ALIGN);
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

/* Over the header but its own CRC field, then the table. */
static uint32_t head_crc(const uint8_t *head, uint32_t entry_count)
{
    uint32_t crc = ks_crc32c(head, BLOCK_HEADER_CRC);
    if (entry_count == 0)
        return crc;
    return ks_crc32c_extend(
        crc, head + KS_JOURNAL_BLOCK_HEADER_BYTES, (size_t)entry_count * KS_JOURNAL_ENTRY_BYTES);
}

static void entry_encode(const struct ks_journal_entry *entry, uint8_t *to)
{
    ks_store_u32le(to + ENTRY_TYPE, (uint32_t)entry->type);
    ks_store_u32le(to + ENTRY_RESERVED, 0);
    ks_store_u64le(to + ENTRY_LOG, entry->log_id);
    ks_store_u64le(to + ENTRY_FIRST, entry->first_sequence);
    ks_store_u64le(to + ENTRY_LAST, entry->last_sequence);
    ks_store_u32le(to + ENTRY_OFFSET, entry->offset);
    ks_store_u32le(to + ENTRY_BYTES, entry->bytes);
}

void ks_journal_head_encode(
    struct ks_journal_block_header *header, const struct ks_journal_entry *entries, uint8_t *to)
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
    ks_store_u32le(to + BLOCK_PREDECESSOR_CRC, header->predecessor_crc);
    ks_store_u64le(to + BLOCK_PREDECESSOR_RUN, header->predecessor_run);
    ks_store_u64le(to + BLOCK_PREDECESSOR_LSN, header->predecessor_lsn);
    for (uint32_t i = 0; i < header->entry_count; i++)
        entry_encode(
            &entries[i], to + KS_JOURNAL_BLOCK_HEADER_BYTES + (size_t)i * KS_JOURNAL_ENTRY_BYTES);
    header->header_crc = head_crc(to, header->entry_count);
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
        .predecessor_run = ks_load_u64le(at + BLOCK_PREDECESSOR_RUN),
        .predecessor_lsn = ks_load_u64le(at + BLOCK_PREDECESSOR_LSN),
        .predecessor_crc = ks_load_u32le(at + BLOCK_PREDECESSOR_CRC),
        .header_crc = ks_load_u32le(at + BLOCK_HEADER_CRC),
    };
    memcpy(header.uuid, at + BLOCK_UUID, KS_JOURNAL_UUID_BYTES);
    if (header.lsn == 0 || header.run_id == 0 ||
        ks_journal_block_bytes(header.entry_count, header.payload_bytes) >
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
        if (entry.log_id == 0 || entry.first_sequence == 0 ||
            entry.last_sequence < entry.first_sequence || entry.bytes == 0 || entry.offset != end)
            return false;
        end += entry.bytes;
        if (end > header->payload_bytes)
            return false;
    }
    return end == header->payload_bytes;
}

enum ks_status ks_journal_head_check(
    struct ks_view head, const struct ks_journal_block_header *header)
{
    if (head.bytes < ks_journal_head_bytes(header->entry_count))
        return KS_CORRUPT;
    if (head_crc(head.data, header->entry_count) != header->header_crc)
        return KS_CORRUPT;
    if (ks_load_u32le(head.data + BLOCK_VERSION) != FORMAT_VERSION ||
        ks_load_u32le(head.data + BLOCK_INCOMPATIBLE) != 0)
        return KS_OK; /* whole, but of another version: what its rows mean is not known here */
    return entries_are_right(head, header) ? KS_OK : KS_CORRUPT;
}

void ks_journal_entry_at(struct ks_view head, uint32_t index, struct ks_journal_entry *out_entry)
{
    uint64_t offset = ks_journal_head_bytes(index);
    KS_ASSERT(offset + KS_JOURNAL_ENTRY_BYTES <= head.bytes);
    const uint8_t *at = head.data + offset;
    *out_entry = (struct ks_journal_entry){
        .type = (enum ks_journal_entry_type)ks_load_u32le(at + ENTRY_TYPE),
        .log_id = ks_load_u64le(at + ENTRY_LOG),
        .first_sequence = ks_load_u64le(at + ENTRY_FIRST),
        .last_sequence = ks_load_u64le(at + ENTRY_LAST),
        .offset = ks_load_u32le(at + ENTRY_OFFSET),
        .bytes = ks_load_u32le(at + ENTRY_BYTES),
    };
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
    ks_store_u32le(to + FILE_CRC, ks_crc32c(to, FILE_CRC));
}

enum ks_status ks_journal_file_header_decode(
    struct ks_view from, struct ks_journal_file_header *out_header)
{
    if (from.bytes < FILE_END || memcmp(from.data, file_magic, sizeof file_magic) != 0 ||
        ks_load_u32le(from.data + FILE_CRC) != ks_crc32c(from.data, FILE_CRC))
        return KS_CORRUPT;
    if (ks_load_u32le(from.data + FILE_VERSION) != FORMAT_VERSION ||
        ks_load_u32le(from.data + FILE_INCOMPATIBLE) != 0)
        return KS_UNSUPPORTED;
    memcpy(out_header->uuid, from.data + FILE_UUID, KS_JOURNAL_UUID_BYTES);
    out_header->number = ks_load_u64le(from.data + FILE_NUMBER);
    out_header->file_bytes = ks_load_u64le(from.data + FILE_BYTES);
    return KS_OK;
}
