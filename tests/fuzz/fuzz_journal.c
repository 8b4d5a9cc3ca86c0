/*
 * Any bytes as a journal: heads are bounded, what passes the checks is read within its bounds, and
 * a search ends. The uuid is the input's own, so that a whole block can be met.
 */
#include "base/alloc.h"
#include "base/crc32c.h"
#include "storage/journal_scan.h"
#include "tests/fuzz/fuzz.h"

/* A file in memory behind the seam: all that the scan uses is read. */
struct memory_file {
    struct ks_file file; /* first member */
    struct ks_view bytes;
};

static enum ks_status memory_read(struct ks_file *file, void *to, size_t bytes, uint64_t offset,
    size_t *out_bytes, struct ks_error *err)
{
    (void)err;
    const struct memory_file *memory = (const struct memory_file *)file;
    KS_ASSERT(offset <= memory->bytes.bytes);
    *out_bytes = KS_MIN(bytes, memory->bytes.bytes - (size_t)offset);
    if (*out_bytes > 0)
        memcpy(to, memory->bytes.data + offset, *out_bytes);
    return KS_OK;
}

static void entries_are_bounded(const struct ks_scan_block *block)
{
    uint64_t end = 0;
    for (uint32_t i = 0; i < block->header.entry_count; i++) {
        struct ks_journal_entry entry;
        ks_journal_entry_at(block->head, i, &entry);
        KS_ASSERT(entry.offset == end);
        end += entry.bytes;
        KS_ASSERT(end <= block->header.payload_bytes);
        KS_ASSERT(entry.first_sequence > 0 && entry.last_sequence >= entry.first_sequence);
    }
}

static void ends_are_bounded(const struct ks_scan_block *block)
{
    for (uint32_t i = 0; i < block->header.end_count; i++) {
        struct ks_journal_end end;
        ks_journal_end_at(block->head, &block->header, i, &end);
        KS_ASSERT(end.log_id > 0 && end.last_sequence > 0);
    }
    KS_ASSERT(block->header.last_ordinals <= block->header.ordinals_before);
}

static void check(struct ks_view input)
{
    static const struct ks_io_ops ops = {.read = memory_read};
    static struct ks_io io = {.ops = &ops};
    struct memory_file memory = {.file = {.io = &io}, .bytes = input};
    struct ks_scan_file file = {.number = 1,
        .bytes = input.bytes - input.bytes % KS_JOURNAL_BLOCK_ALIGN,
        .file = &memory.file};
    uint8_t uuid[KS_JOURNAL_UUID_BYTES] = {0};
    if (input.bytes >= KS_JOURNAL_FILE_HEADER_BYTES + 40)
        memcpy(uuid, input.data + KS_JOURNAL_FILE_HEADER_BYTES + 24, sizeof uuid);
    struct ks_scan scan;
    ks_scan_init(&scan, uuid);
    enum ks_status st = ks_scan_file_open(&scan, &file, input.bytes % 2 == 1, NULL);
    KS_ASSERT(st == KS_OK || st == KS_UNSUPPORTED || st == KS_CORRUPT);
    for (uint64_t at = 0; at < file.bytes; at += KS_JOURNAL_BLOCK_ALIGN) {
        enum ks_scan_found found;
        struct ks_scan_block block;
        if (ks_scan_at(&scan, &file, at, &found, &block, NULL) != KS_OK)
            continue;
        if (found >= KS_SCAN_HEAD) {
            entries_are_bounded(&block);
            ends_are_bounded(&block);
        }
        if (found == KS_SCAN_BLOCK)
            KS_ASSERT(block.payload.bytes == block.header.payload_bytes &&
                      at + block.bytes <= file.bytes);
    }
    ks_scan_fini(&scan);
}

/* Right checksums where the shape tells where they belong, so that inputs reach what is behind the
 * checks. */
static void reseal(uint8_t *data, size_t bytes)
{
    if (bytes >= 116)
        ks_store_u32le(data + 112, ks_crc32c(data, 112));
    for (size_t at = 0; at + KS_JOURNAL_BLOCK_HEADER_BYTES <= bytes; at += KS_JOURNAL_BLOCK_ALIGN) {
        struct ks_journal_block_header header;
        struct ks_view rest = ks_view_of(data + at, bytes - at);
        if (ks_journal_head_peek(rest, &header) == KS_CORRUPT)
            continue;
        uint64_t head_bytes = ks_journal_head_bytes(header.entry_count, header.end_count);
        if (head_bytes + header.payload_bytes > rest.bytes)
            continue;
        ks_store_u32le(
            data + at + 72, ks_journal_payload_crc(
                                &header, ks_view_of(rest.data + head_bytes, header.payload_bytes)));
        uint32_t crc = ks_crc32c(rest.data, 156);
        if (head_bytes > KS_JOURNAL_BLOCK_HEADER_BYTES)
            crc = ks_crc32c_extend(crc, rest.data + KS_JOURNAL_BLOCK_HEADER_BYTES,
                (size_t)(head_bytes - KS_JOURNAL_BLOCK_HEADER_BYTES));
        ks_store_u32le(data + at + 156, crc);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static uint8_t resealed[1u << 18];
    check(ks_view_of(data, bytes));
    if (bytes > 0 && bytes <= sizeof resealed) {
        memcpy(resealed, data, bytes);
        reseal(resealed, bytes);
        check(ks_view_of(resealed, bytes));
    }
    return 0;
}
