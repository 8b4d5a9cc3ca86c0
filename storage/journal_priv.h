/*
 * The journal's inside, for the committer and recovery. Files are reused in the order in which they
 * were filled, so what lies in them is always one unbroken stretch of LSNs, and recovery can tell a
 * missing block from a recycled one.
 */
#ifndef KS_STORAGE_JOURNAL_PRIV_H
#define KS_STORAGE_JOURNAL_PRIV_H

#include "base/list.h"
#include "base/mutex.h"
#include "storage/engine_priv.h"
#include "storage/io.h"
#include "storage/journal.h"
#include "storage/journal_format.h"
#include "storage/step.h"

#define KS_JOURNAL_DIR "journal"
#define KS_JOURNAL_PATH_BYTES 40
void ks_journal_path(uint64_t number, char path[KS_JOURNAL_PATH_BYTES]);

/* What one file still owes each log: its last sequence in the file, until a flushpoint covers it.
 * Open addressing. */
struct ks_journal_owed {
    uint64_t log_id; /* 0 = free slot */
    uint64_t last_sequence;
    uint32_t end_index; /* of ks_journal_ends.rows, if the log is in the newest block */
    bool is_covered;
};

#define KS_JOURNAL_ENDS_MAX 4096u       /* rows of an empty block */
#define KS_JOURNAL_ENDS_BESIDE_DATA 64u /* rows of another one: every reservation counts them */

/* Up to where a block went, which the next one says again. */
struct ks_journal_ends {
    struct ks_journal_end *rows; /* KS_JOURNAL_ENDS_MAX */
    uint32_t count;
    uint32_t left_out; /* batches of logs that found no row */
    uint64_t ordinals; /* of the block */
};

struct ks_journal_file {
    struct ks_list link;   /* journal->ready or journal->full; the current file is in neither */
    uint64_t number;       /* [const] "journal/NNNN.jnl" */
    uint64_t bytes;        /* [const] */
    struct ks_file *file;  /* [const] open for durable direct writes */
    uint64_t used_bytes;   /* where the next block goes */
    uint64_t zeroed_bytes; /* up to here written once: a block there changes no metadata */
    bool is_zeroing;       /* the journal step writes the rest: not to be used meanwhile */
    uint64_t first_lsn;    /* of the blocks in it, stale ones of a ready file included; 0 = none */
    uint64_t ordinals_before; /* of that block */
    struct ks_journal_owed *owed;
    uint32_t owed_capacity; /* a power of two, or 0 */
    uint32_t owed_count;    /* rows in use */
    uint32_t uncovered;     /* of them not yet covered */
    bool is_untracked; /* a row could not be noted for want of memory: not recycled before the next
                          start */
};

struct ks_journal {
    struct ks_engine *engine;            /* [const] */
    struct ks_io *io;                    /* [const] */
    uint64_t file_bytes;                 /* [const] of files made from now on */
    uint64_t files_target;               /* [const] how many there shall be */
    uint32_t block_bytes_max;            /* [const] */
    uint8_t uuid[KS_JOURNAL_UUID_BYTES]; /* [const] after start */
    uint64_t run_id;                     /* [const] after start */

    struct ks_mutex mu; /* KS_RANK_JOURNAL; all below */
    struct ks_journal_file *current;
    struct ks_list ready;  /* empty files, next one first (or the one behind it, while that is
                              zeroed); the last is the spare */
    struct ks_list full;   /* oldest first */
    struct ks_list remake; /* recycled, but shorter than file_bytes: to be removed */
    uint32_t ready_count;
    uint32_t remake_count;
    uint32_t file_count;  /* all of them, the one being made included */
    uint64_t number_high; /* the highest file number ever seen */
    uint64_t next_lsn;
    uint64_t durable_lsn;
    uint64_t ordinals;          /* in all blocks formed */
    uint64_t durable_ordinals;  /* in those up to durable_lsn */
    uint64_t needed_ordinals;   /* as the newest durable file header says */
    bool is_writing;            /* a block of the current file is under way */
    uint64_t outstanding_bytes; /* reserved, not yet in a block */
    uint32_t *outstanding;      /* how many reservations of each size, in units of 4 KiB */
    uint32_t largest_units;     /* of them; 0 = none */

    /* [commit step] the one is of the newest block with entries, the other for the next one. */
    struct ks_journal_ends ends[2];
    unsigned newest_ends;
    uint8_t *header_page; /* [commit step] aligned; for the file header */

    struct ks_wake wake;
    struct ks_step step;           /* "journal" */
    struct journal_making *making; /* [step] */
    uint64_t make_again_mono_ns;   /* [step] after a file could not be made: not before */
    uint64_t remove_again_mono_ns; /* [step] after one could not be unlinked */
    uint64_t trimmed_lsn;          /* [step] tombstones below it were offered for removal */
};

/* A block with its place in a file: between place and done it is the committer's. */
struct ks_journal_placed {
    struct ks_journal_block_header header;
    const struct ks_journal_end *ends; /* header.end_count; the journal's, until the next place */
    uint64_t needed_ordinals;          /* ordinals_before of the oldest file that may be needed */
    struct ks_journal_file *file;
    uint64_t offset;
    uint64_t bytes;
};

/* Contiguous room for a block, header included, in the current file. */
uint64_t ks_journal_room(struct ks_journal *journal);
/* What the next block will take, with what it says of the block before it. */
uint64_t ks_journal_next_bytes(
    const struct ks_journal *journal, uint32_t entry_count, uint64_t payload_bytes);
/* The next ready file becomes the current one. Only when a reserved batch does not fit: then there
 * is one. */
void ks_journal_advance(struct ks_journal *journal);
/* Takes room and the next LSN for a block of these entries, and gives back what was reserved for
 * them. */
void ks_journal_place(struct ks_journal *journal, const struct ks_journal_entry *entries,
    uint32_t entry_count, uint64_t payload_bytes, struct ks_journal_placed *out_placed);
/*
 * block: aligned to 4 KiB, placed->bytes long, the payload already behind room for the head, zeros
 * behind it. Fills in the head and writes the block, durably; before the first one of a file its
 * header. After a failure the journal must not be used again.
 */
enum ks_status ks_journal_write(struct ks_journal *journal, struct ks_journal_placed *placed,
    const struct ks_journal_entry *entries, uint8_t *block, struct ks_error *err) KS_MUST_USE;
void ks_journal_done(
    struct ks_journal *journal, const struct ks_journal_placed *placed, bool is_durable);

/* mu held: files nobody needs become ready, oldest first. Only once this run has a durable commit.
 * True: some did. */
bool ks_journal_recycle(struct ks_journal *journal);

/* --- journal_owed.c; mu held, once there are threads --- */
/* Notes that the file holds log_id up to last_sequence. NULL: no memory, the file is untracked. */
struct ks_journal_owed *ks_journal_owe(
    struct ks_journal_file *file, uint64_t log_id, uint64_t last_sequence);
void ks_journal_file_cover(struct ks_journal_file *file, uint64_t log_id, uint64_t last_sequence);
bool ks_journal_file_is_needed(const struct ks_journal_file *file);
/* Nobody needs what is in it: it is empty again. */
void ks_journal_file_forget(struct ks_journal_file *file);

/* The ends of the block that is being formed: begun, each batch noted, and then they are the
 * newest. owed: what the block's file owes the log; tells at once whether the log has its row
 * already. NULL: it gets another one. */
struct ks_journal_ends *ks_journal_ends_begin(struct ks_journal *journal);
void ks_journal_ends_note(struct ks_journal_ends *ends, struct ks_journal_owed *owed,
    const struct ks_journal_entry *entry);
void ks_journal_ends_finish(struct ks_journal *journal);
/* For recovery: the newest accepted block had these entries; NULL: it is not known what was in it.
 */
void ks_journal_note_newest(
    struct ks_journal *journal, const struct ks_journal_entry *entries, uint32_t entry_count);

/* --- journal_make.c --- */
void ks_journal_step_init(struct ks_journal *journal);
void ks_journal_making_free(struct ks_journal *journal);
/* Makes a file at once, at open; zeroed up to zeroed_bytes. */
enum ks_status ks_journal_make_now(struct ks_journal *journal, uint64_t bytes,
    uint64_t zeroed_bytes, struct ks_journal_file **out_file, struct ks_error *err) KS_MUST_USE;

/* --- for recovery, before threads exist --- */

/* Takes file (ks_zalloc'd) into the journal as full (by age, oldest first) or ready. */
void ks_journal_adopt(struct ks_journal *journal, struct ks_journal_file *file, bool is_full);
void ks_journal_file_free(struct ks_journal_file *file);
struct ks_journal_start {
    const uint8_t *uuid;
    uint64_t run_id;
    uint64_t first_lsn;
    uint64_t ordinals_before;
    uint64_t settled_ordinals;
    struct ks_journal_predecessor predecessor;
    const struct ks_journal_entry *entries; /* of the first block: what recovery has decided */
    uint32_t entry_count;
    struct ks_view payload;
    bool is_continued; /* no new run: for a planted bug only */
};
/* Begins the run in a file of its own: its first block is durable when this returns KS_OK. */
enum ks_status ks_journal_start(struct ks_journal *journal, const struct ks_journal_start *start,
    struct ks_error *err) KS_MUST_USE;

#endif
