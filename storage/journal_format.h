/*
 * The bytes of the journal: file header, block header, entry table, ends. The only module that
 * knows an offset (FORMAT.md draws them). Little-endian; every read is bounded; nothing here
 * allocates or touches a disk.
 *
 * A file is one 4 KiB page with the file header, then blocks, each at a multiple of 4 KiB. A block
 * is header, entry table, ends, payload, and zeros up to the next 4 KiB.
 *
 * The ends say again what the table of an earlier block said: up to where each of its logs went.
 * So a block whose head is lost is missed by its logs at once, even by those that nothing else
 * mentions any more; and the count of ordinals in each head says how many a longer hole held.
 */
#ifndef KS_STORAGE_JOURNAL_FORMAT_H
#define KS_STORAGE_JOURNAL_FORMAT_H

#include "base/bytes.h"
#include "base/status.h"
#include "storage/journal.h"

#define KS_JOURNAL_FILE_HEADER_BYTES 4096u
#define KS_JOURNAL_BLOCK_HEADER_BYTES 160u
#define KS_JOURNAL_ENTRY_BYTES 40u
#define KS_JOURNAL_END_BYTES 16u
#define KS_JOURNAL_UUID_BYTES 16u
#define KS_JOURNAL_BLOCK_BYTES_CEILING (64u << 20) /* a length beyond it is no length */

enum ks_journal_block_flags {
    KS_JOURNAL_FIRST_OF_RUN = 1, /* the predecessor is set */
};

/* What a run follows. All 0: nothing that is needed, for the directory was new or cleanly left. */
struct ks_journal_predecessor {
    uint64_t run_id;
    uint64_t lsn; /* its last accepted block; nothing beyond belongs to the log, ever */
    uint32_t crc; /* that block's header CRC; 0 = not checked */
};

/* Up to where a log went in an earlier block. */
struct ks_journal_end {
    uint64_t log_id;
    uint64_t last_sequence; /* of a close batch: the end + 1 */
    bool is_closed;         /* that batch closed the log */
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
    struct ks_journal_predecessor predecessor; /* of the run's first block */
    uint64_t ordinals_before;  /* in all blocks before this one, since the directory was made */
    uint64_t last_ordinals;    /* of them, in the newest block that had any: the ends are its */
    uint64_t settled_ordinals; /* of the run's first block: of lost ones before it whose logs were
                                  not all told of. What they mean is decided */
    uint32_t end_count;        /* rows of ends */
    uint32_t ends_left_out;    /* not 0: some logs of that block have no row */
    uint32_t header_crc; /* over all of the above, the table and the ends; by encode and decode */
};

/* What a block of so many rows is long: the part before the payload, and the whole of it in the
 * file, a multiple of 4 KiB. */
uint64_t ks_journal_head_bytes(uint32_t entry_count, uint32_t end_count);
uint64_t ks_journal_block_bytes(uint32_t entry_count, uint32_t end_count, uint64_t payload_bytes);

/* CRC32C of the payload, seeded by uuid, run and LSN: a right payload under a wrong name is wrong.
 */
uint32_t ks_journal_payload_crc(
    const struct ks_journal_block_header *header, struct ks_view payload);

/*
 * Writes header, entry table and ends to the start of a block (room for ks_journal_head_bytes);
 * header->payload_crc is set by the caller, header->header_crc by this.
 */
void ks_journal_head_encode(struct ks_journal_block_header *header,
    const struct ks_journal_entry *entries, const struct ks_journal_end *ends, uint8_t *to);

/*
 * The fixed part only, from at least KS_JOURNAL_BLOCK_HEADER_BYTES bytes: is there a header at all,
 * and how long are its table and payload? Not yet trusted: the CRC needs the table. KS_CORRUPT;
 * KS_UNSUPPORTED a newer version or an unknown incompatible flag (only to be believed when
 * ks_journal_head_check says KS_OK for the same bytes).
 */
enum ks_status ks_journal_head_peek(
    struct ks_view from, struct ks_journal_block_header *out_header) KS_MUST_USE;
/* Checks the header CRC, the table's bounds and the ends. head: all bytes before the payload. */
enum ks_status ks_journal_head_check(
    struct ks_view head, const struct ks_journal_block_header *header) KS_MUST_USE;
/* Row index of a checked head. */
void ks_journal_entry_at(struct ks_view head, uint32_t index, struct ks_journal_entry *out_entry);
void ks_journal_end_at(struct ks_view head, const struct ks_journal_block_header *header,
    uint32_t index, struct ks_journal_end *out_end);
/* How many ordinals a batch takes; a close batch takes one that names no record. */
static inline uint64_t ks_journal_entry_ordinals(const struct ks_journal_entry *entry)
{
    return entry->last_sequence - entry->first_sequence + 1;
}

/* --- the file header --- */

/*
 * Written once when the file is made, with run_id 0, and again each time blocks are about to be
 * written from its beginning: durable before the first of them. So what an earlier use left in the
 * file is never taken for blocks that are missed, and a bad first block is.
 */
struct ks_journal_file_header {
    uint8_t uuid[KS_JOURNAL_UUID_BYTES];
    uint64_t number;
    uint64_t file_bytes;
    uint64_t run_id;          /* of the first block of its present use; 0 = never used */
    uint64_t first_lsn;       /* of that block, as all below */
    uint64_t ordinals_before; /* see the block header */
    uint64_t needed_ordinals; /* ordinals_before of the oldest file that was needed at that time */
    uint32_t flags;           /* enum ks_journal_block_flags */
    struct ks_journal_predecessor predecessor;
};
void ks_journal_file_header_encode(
    const struct ks_journal_file_header *header, uint8_t to[KS_JOURNAL_FILE_HEADER_BYTES]);
/* Errors: KS_CORRUPT; KS_UNSUPPORTED the checksum is right, but it was written by a newer version.
 */
enum ks_status ks_journal_file_header_decode(
    struct ks_view from, struct ks_journal_file_header *out_header) KS_MUST_USE;

#endif
