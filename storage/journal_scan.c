#include "storage/journal_scan.h"

#include "base/alloc.h"

#define WINDOW_BYTES (1u << 20)

void ks_scan_init(struct ks_scan *scan, const uint8_t uuid[KS_JOURNAL_UUID_BYTES])
{
    *scan = (struct ks_scan){0};
    memcpy(scan->uuid, uuid, KS_JOURNAL_UUID_BYTES);
}

void ks_scan_fini(struct ks_scan *scan)
{
    ks_free(scan->window);
    *scan = (struct ks_scan){0};
}

static enum ks_status window_grow(struct ks_scan *scan, uint64_t bytes, struct ks_error *err)
{
    if (bytes <= scan->window_capacity)
        return KS_OK;
    uint8_t *window = ks_malloc(bytes);
    if (!window)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory to read the journal");
    ks_free(scan->window);
    scan->window = window;
    scan->window_capacity = bytes;
    scan->window_file = NULL;
    return KS_OK;
}

enum ks_status ks_scan_bytes(struct ks_scan *scan, const struct ks_scan_file *file, uint64_t offset,
    uint64_t bytes, struct ks_view *out_bytes, struct ks_error *err)
{
    if (offset >= file->bytes) {
        *out_bytes = ks_view_of(NULL, 0);
        return KS_OK;
    }
    bytes = ks_min_u64(bytes, file->bytes - offset);
    bool is_inside = scan->window_file == file->file && offset >= scan->window_offset &&
                     offset + bytes <= scan->window_offset + scan->window_bytes;
    if (!is_inside) {
        enum ks_status st = window_grow(scan, ks_max_u64(bytes, WINDOW_BYTES), err);
        if (st)
            return st;
        scan->window_file = NULL;
        size_t got = 0;
        uint64_t wanted = ks_min_u64(scan->window_capacity, file->bytes - offset);
        st = ks_file_read(file->file, scan->window, wanted, offset, &got, err);
        if (st)
            return st;
        scan->window_file = file->file;
        scan->window_offset = offset;
        scan->window_bytes = got;
        bytes = ks_min_u64(bytes, got);
    }
    *out_bytes = ks_view_of(scan->window + (offset - scan->window_offset), bytes);
    return KS_OK;
}

/* The head at offset: SCAN_NOTHING, TORN or HEAD. */
static enum ks_status scan_head(struct ks_scan *scan, const struct ks_scan_file *file,
    uint64_t offset, enum ks_scan_found *out_found, struct ks_scan_block *out_block,
    struct ks_error *err)
{
    *out_found = KS_SCAN_NOTHING;
    struct ks_view bytes;
    enum ks_status st =
        ks_scan_bytes(scan, file, offset, KS_JOURNAL_BLOCK_HEADER_BYTES, &bytes, err);
    if (st)
        return st;
    struct ks_journal_block_header *header = &out_block->header;
    enum ks_status peeked = ks_journal_head_peek(bytes, header);
    if (peeked == KS_CORRUPT || memcmp(header->uuid, scan->uuid, sizeof header->uuid) != 0)
        return KS_OK;
    *out_found = KS_SCAN_TORN;
    out_block->bytes =
        ks_journal_block_bytes(header->entry_count, header->end_count, header->payload_bytes);
    if (out_block->bytes > file->bytes - offset)
        return KS_OK;
    st = ks_scan_bytes(scan, file, offset,
        ks_journal_head_bytes(header->entry_count, header->end_count), &out_block->head, err);
    if (st)
        return st;
    if (ks_journal_head_check(out_block->head, header) != KS_OK)
        return KS_OK;
    if (peeked == KS_UNSUPPORTED)
        return ks_fail(err, KS_UNSUPPORTED, 0,
            "journal file %04llu was written by a newer version of kstream: start that version",
            (unsigned long long)file->number);
    *out_found = KS_SCAN_HEAD;
    return KS_OK;
}

enum ks_status ks_scan_at(struct ks_scan *scan, const struct ks_scan_file *file, uint64_t offset,
    enum ks_scan_found *out_found, struct ks_scan_block *out_block, struct ks_error *err)
{
    enum ks_status st = scan_head(scan, file, offset, out_found, out_block, err);
    if (st || *out_found != KS_SCAN_HEAD)
        return st;
    struct ks_view block;
    st = ks_scan_bytes(scan, file, offset, out_block->bytes, &block, err);
    if (st)
        return st;
    uint64_t head_bytes =
        ks_journal_head_bytes(out_block->header.entry_count, out_block->header.end_count);
    if (block.bytes < out_block->bytes)
        return KS_OK;
    out_block->head = ks_view_of(block.data, head_bytes);
    out_block->payload = ks_view_of(block.data + head_bytes, out_block->header.payload_bytes);
    if (ks_journal_payload_crc(&out_block->header, out_block->payload) ==
        out_block->header.payload_crc)
        *out_found = KS_SCAN_BLOCK;
    return KS_OK;
}

enum ks_status ks_scan_find(struct ks_scan *scan, const struct ks_scan_file *file, uint64_t offset,
    uint64_t end, uint64_t run_id, uint64_t lsn_min, uint64_t *out_offset,
    struct ks_journal_block_header *out_header, struct ks_error *err)
{
    *out_offset = 0;
    end = ks_min_u64(end, file->bytes);
    for (; offset < end; offset += KS_JOURNAL_BLOCK_ALIGN) {
        enum ks_scan_found found;
        struct ks_scan_block block;
        enum ks_status st = scan_head(scan, file, offset, &found, &block, err);
        if (st)
            return st;
        bool is_wanted = found == KS_SCAN_HEAD && block.header.lsn >= lsn_min &&
                         (run_id == 0 || block.header.run_id == run_id);
        if (!is_wanted)
            continue;
        *out_offset = offset;
        *out_header = block.header;
        return KS_OK;
    }
    return KS_OK;
}

static enum ks_status scan_file_header(
    struct ks_scan *scan, struct ks_scan_file *file, struct ks_error *err)
{
    struct ks_view page;
    enum ks_status st = ks_scan_bytes(scan, file, 0, KS_JOURNAL_FILE_HEADER_BYTES, &page, err);
    if (st)
        return st;
    struct ks_journal_file_header header;
    st = ks_journal_file_header_decode(page, &header);
    if (st == KS_UNSUPPORTED)
        return ks_fail(err, st, 0,
            "journal file %04llu was written by a newer version of kstream: start that version",
            (unsigned long long)file->number);
    if (st == KS_OK && memcmp(header.uuid, scan->uuid, sizeof scan->uuid) != 0)
        return ks_fail(err, KS_CORRUPT, 0,
            "journal file %04llu belongs to another data directory: move it away",
            (unsigned long long)file->number);
    if (st == KS_CORRUPT)
        return KS_OK;
    file->is_headed = true;
    file->run_id = header.run_id;
    file->lsn = header.first_lsn;
    file->ordinals_before = header.ordinals_before;
    file->needed_ordinals = header.needed_ordinals;
    file->offset = KS_JOURNAL_FILE_HEADER_BYTES;
    file->is_first_of_run = (header.flags & KS_JOURNAL_FIRST_OF_RUN) != 0;
    file->predecessor = header.predecessor;
    return KS_OK;
}

enum ks_status ks_scan_file_open(
    struct ks_scan *scan, struct ks_scan_file *file, bool only_header, struct ks_error *err)
{
    enum ks_status st = scan_file_header(scan, file, err);
    if (st || only_header || (file->is_headed && file->run_id == 0))
        return st;
    /* Nearly always the first place that is looked at. */
    uint64_t offset;
    struct ks_journal_block_header first;
    st = ks_scan_find(scan, file, KS_JOURNAL_FILE_HEADER_BYTES, file->bytes, file->run_id,
        ks_max_u64(1, file->lsn), &offset, &first, err);
    if (st || offset == 0)
        return st;
    file->has_block = true;
    if (file->is_headed)
        return KS_OK;
    file->run_id = first.run_id;
    file->lsn = first.lsn;
    file->ordinals_before = first.ordinals_before;
    file->offset = offset;
    file->is_first_of_run = (first.flags & KS_JOURNAL_FIRST_OF_RUN) != 0;
    file->predecessor = first.predecessor;
    file->is_bad_start = offset != KS_JOURNAL_FILE_HEADER_BYTES;
    return KS_OK;
}
