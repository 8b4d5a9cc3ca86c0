/*
 * Reading the journal back: files as found on disk, blocks at a place, the next header behind a bad
 * one. Bounded, and safe with any bytes; decides nothing (recovery.c does).
 */
#ifndef KS_STORAGE_JOURNAL_SCAN_H
#define KS_STORAGE_JOURNAL_SCAN_H

#include "storage/io.h"
#include "storage/journal_format.h"

struct ks_scan_file {
    uint64_t number;
    uint64_t bytes;
    struct ks_file *file; /* for reading */
    bool is_headed;       /* the file header is right: the file was finished once */
    uint64_t run_id;      /* of the first block of its present use; 0 = there is none */
    uint64_t lsn;
    uint64_t ordinals_before;
    uint64_t needed_ordinals; /* 0 = not known */
    uint64_t offset;          /* where that block is, or should be */
    bool has_block;           /* a block of run_id can be read, be it another one */
    bool is_first_of_run;
    struct ks_journal_predecessor predecessor;
    bool is_bad_start; /* neither file header nor first block can be read: what is said above is of
                          the first one that can, and may be of an earlier use */
};

/* A block at a place. Views are valid until the next read of the scan. */
struct ks_scan_block {
    struct ks_journal_block_header header;
    struct ks_view head;
    struct ks_view payload;
    uint64_t bytes;
};

enum ks_scan_found {
    KS_SCAN_NOTHING, /* no head of this directory, or a damaged one */
    KS_SCAN_TORN,    /* the fixed part can be read, but the head as a whole is not right: header is
                        set, no views */
    KS_SCAN_HEAD,  /* head and table are right, the payload is not (no view of it when the file ends
                      before) */
    KS_SCAN_BLOCK, /* all right */
};

struct ks_scan {
    uint8_t uuid[KS_JOURNAL_UUID_BYTES];
    struct ks_file *window_file; /* whose bytes are in the window */
    uint64_t window_offset;
    uint64_t window_bytes;
    uint8_t *window;
    uint64_t window_capacity;
};

void ks_scan_init(struct ks_scan *scan, const uint8_t uuid[KS_JOURNAL_UUID_BYTES]);
void ks_scan_fini(struct ks_scan *scan);

/* What lies at offset. Errors: KS_IO; KS_NO_MEMORY; KS_UNSUPPORTED a whole head of a newer version.
 */
enum ks_status ks_scan_at(struct ks_scan *scan, const struct ks_scan_file *file, uint64_t offset,
    enum ks_scan_found *out_found, struct ks_scan_block *out_block,
    struct ks_error *err) KS_MUST_USE;

/*
 * The first place at or behind offset (a multiple of 4 KiB), before end, with a right head of
 * run_id (0 = any run) and an LSN of at least lsn_min. *out_offset is 0 when there is none. Errors:
 * as above.
 */
enum ks_status ks_scan_find(struct ks_scan *scan, const struct ks_scan_file *file, uint64_t offset,
    uint64_t end, uint64_t run_id, uint64_t lsn_min, uint64_t *out_offset,
    struct ks_journal_block_header *out_header, struct ks_error *err) KS_MUST_USE;

/*
 * Reads the file header and, unless only_header, looks where the first block should be: number,
 * bytes and file are set by the caller. A file without a right header is searched for a block.
 * Errors: as above; KS_CORRUPT it belongs to another directory.
 */
enum ks_status ks_scan_file_open(struct ks_scan *scan, struct ks_scan_file *file, bool only_header,
    struct ks_error *err) KS_MUST_USE;

/* Up to bytes at offset, for a quarantine copy; shorter at the file's end. */
enum ks_status ks_scan_bytes(struct ks_scan *scan, const struct ks_scan_file *file, uint64_t offset,
    uint64_t bytes, struct ks_view *out_bytes, struct ks_error *err) KS_MUST_USE;

#endif
