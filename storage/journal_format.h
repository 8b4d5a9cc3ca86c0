/*
 * The bytes of the journal: file header, block header, entry table. The only module that knows an
 * offset (FORMAT.md draws them). Little-endian; every read is bounded; nothing here allocates or
 * touches a disk.
 *
 * A file is one 4 KiB page with the file header, then blocks, each at a multiple of 4 KiB. A block
 * is header, entry table, payload, and zeros up to the next 4 KiB.
 */
#ifndef KS_STORAGE_JOURNAL_FORMAT_H
#define KS_STORAGE_JOURNAL_FORMAT_H

#include "base/bytes.h"
#include "base/status.h"
#include "storage/journal.h"

#define KS_JOURNAL_FILE_HEADER_BYTES 4096u
#define KS_JOURNAL_BLOCK_HEADER_BYTES 160u
#define KS_JOURNAL_ENTRY_BYTES 40u
#define KS_JOURNAL_UUID_BYTES 16u
#define KS_JOURNAL_BLOCK_BYTES_CEILING (64u << 20) /* a length beyond it is no length */

enum ks_journal_block_flags {
    KS_JOURNAL_FIRST_OF_RUN = 1, /* the predecessor fields are set */
};

struct ks_journal_block_header {
    uint8_t uuid[KS_JOURNAL_UUID_BYTES];
    uint64_t run_id;
    uint64_t lsn;
    uint64_t durable_lsn; /* the last LSN known durable when this block was formed; 0 = none in this
                             run */
    uint32_t flags;       /* enum ks_journal_block_flags */
    uint32_t entry_count;
    uint32_t payload_bytes;
    uint32_t payload_crc;
    uint64_t predecessor_run; /* 0 = none: the first run of the directory */
    uint64_t predecessor_lsn; /* its last accepted block; nothing beyond belongs to the log, ever */
    uint32_t predecessor_crc; /* that block's header CRC */
    uint32_t header_crc; /* over all of the above and the entry table; set by encode and decode */
};

/* Bytes before the payload: header and entry table. */
uint64_t ks_journal_head_bytes(uint32_t entry_count);
/* The whole block in the file, a multiple of 4 KiB. */
uint64_t ks_journal_block_bytes(uint32_t entry_count, uint64_t payload_bytes);

/* CRC32C of the payload, seeded by uuid, run and LSN: a right payload under a wrong name is wrong.
 */
uint32_t ks_journal_payload_crc(
    const struct ks_journal_block_header *header, struct ks_view payload);

/*
 * Writes header and entry table to the start of a block (room for ks_journal_head_bytes);
 * header->payload_crc is set by the caller, header->header_crc by this.
 */
void ks_journal_head_encode(
    struct ks_journal_block_header *header, const struct ks_journal_entry *entries, uint8_t *to);

/*
 * The fixed part only, from at least KS_JOURNAL_BLOCK_HEADER_BYTES bytes: is there a header at all,
 * and how long are its table and payload? Not yet trusted: the CRC needs the table. KS_CORRUPT;
 * KS_UNSUPPORTED a newer version or an unknown incompatible flag (only to be believed when
 * ks_journal_head_check says KS_OK for the same bytes).
 */
enum ks_status ks_journal_head_peek(
    struct ks_view from, struct ks_journal_block_header *out_header) KS_MUST_USE;
/* Checks the header CRC and the table's bounds. head: ks_journal_head_bytes(header->entry_count)
 * bytes at least. */
enum ks_status ks_journal_head_check(
    struct ks_view head, const struct ks_journal_block_header *header) KS_MUST_USE;
/* Row index of a checked head. */
void ks_journal_entry_at(struct ks_view head, uint32_t index, struct ks_journal_entry *out_entry);

/* --- the file header --- */

struct ks_journal_file_header {
    uint8_t uuid[KS_JOURNAL_UUID_BYTES];
    uint64_t number;
    uint64_t file_bytes;
};
void ks_journal_file_header_encode(
    const struct ks_journal_file_header *header, uint8_t to[KS_JOURNAL_FILE_HEADER_BYTES]);
/* Errors: KS_CORRUPT; KS_UNSUPPORTED the checksum is right, but it was written by a newer version.
 */
enum ks_status ks_journal_file_header_decode(
    struct ks_view from, struct ks_journal_file_header *out_header) KS_MUST_USE;

#endif
