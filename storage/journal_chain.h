/*
 * Which blocks of the files in journal/ are the log, in order (DESIGN §11): the newest run and
 * those it names as predecessors, of an earlier run exactly up to the named block. Where a block is
 * bad it decides whether that one was durable (damage) or is the torn end of what was being
 * written. Heads count the ordinals before them, so what lost blocks held is known as a number.
 *
 * Reads only. What follows from a block is its visitor's business: recovery replays it, the offline
 * inspector reports it. Threads: one.
 */
#ifndef KS_STORAGE_JOURNAL_CHAIN_H
#define KS_STORAGE_JOURNAL_CHAIN_H

#include "storage/journal_scan.h"

#define KS_CHAIN_FILES_MAX 65536u /* twice KS_JOURNAL_FILES_MAX (storage/engine.h) */

struct ks_chain_file {
    struct ks_scan_file scan;
    bool is_chained; /* a block of it is part of the log */
    void *user;      /* the visitor's */
};

/* A run of the log, newest first in ks_chain.runs. */
struct ks_chain_run {
    uint64_t run_id;
    uint64_t limit_lsn; /* nothing beyond belongs to the log */
    uint32_t limit_crc; /* of that block's head; 0 = not named */
    bool is_named;      /* by its successor: up to the limit everything was durable */
};

struct ks_chain_place {
    struct ks_chain_file *file;
    uint64_t offset;
    uint64_t run_id;
    uint64_t lsn;
    /* The block may be left from before its file was recycled: its logs may be gone. */
    bool may_be_stale;
    uint64_t lost_ordinals; /* in blocks just before this one, which are lost */
};

/* The block expected at a place was durable and is bad. */
struct ks_chain_damage {
    struct ks_chain_place place;
    uint64_t bytes;       /* of the bad stretch in that file */
    uint64_t resumes_lsn; /* where the log goes on; 0 = nowhere */
    bool has_table;       /* head and table are right: block is called next, with them */
};

struct ks_chain_visitor {
    void *arg;
    /* A file has been opened and nothing of it read yet. */
    enum ks_status (*open)(void *arg, struct ks_chain_file *file, struct ks_error *err);
    /* The next block of the log; with is_whole false its payload is bad or missing (data NULL).
     * Views are valid until the chain's scan is used again. */
    enum ks_status (*block)(void *arg, const struct ks_chain_place *place,
        const struct ks_scan_block *block, bool is_whole, struct ks_error *err);
    enum ks_status (*damage)(void *arg, const struct ks_chain_damage *damage, struct ks_error *err);
    /* So many ordinals of the log's end were durable and cannot be read. first_lsn: blocks from
     * there to named_lsn were not told of as damage yet; above named_lsn: there are none. */
    enum ks_status (*missing)(
        void *arg, uint64_t first_lsn, uint64_t lost_ordinals, struct ks_error *err);
    /* A block that nobody was told of was cut short. */
    void (*torn)(void *arg, const struct ks_chain_place *place);
    /* A whole block behind the end that the next run named: not part of the log, ever. */
    void (*beyond)(void *arg, const struct ks_chain_place *place);
    void (*stranger)(void *arg, const char *name); /* a name in journal/ that is none of ours */
    void (*progress)(void *arg, uint64_t done, uint64_t all);
};

/* What the catalog says of the journal. */
struct ks_chain_options {
    struct ks_io *io;
    uint8_t uuid[KS_JOURNAL_UUID_BYTES];
    uint64_t named_run_id;
    uint64_t named_lsn;      /* durable in that run */
    uint64_t named_ordinals; /* in all blocks up to it */
    bool was_clean;          /* all is in segments */
    bool only_headers;       /* of the files: no block is needed */
};

struct ks_chain {
    struct ks_chain_options options;
    const struct ks_chain_visitor *visitor;
    struct ks_scan scan;
    struct ks_chain_file *files; /* sorted by LSN, those without a block at the end */
    uint32_t file_count;
    uint32_t placed_count;    /* of them with a place in a run */
    uint32_t first;           /* of them, where the log may begin: what lies before is not needed */
    uint64_t needed_ordinals; /* the newest word on where it is needed from; UINT64_MAX = none */
    uint64_t *numbers;        /* of the directory listing */
    uint32_t number_count;
    bool is_out_of_memory;
    bool is_too_many; /* more files than KS_CHAIN_FILES_MAX */
    struct ks_chain_run *runs;
    uint32_t run_count;
    uint64_t seen_lsn; /* the highest anywhere, accepted or not */
    uint64_t seen_run;
    struct ks_journal_predecessor end; /* of the log: its last block, lost or not */
    bool is_end_lost;                  /* not even its table can be read */
    uint64_t ordinals; /* in all blocks up to where the walk stands, lost ones included */
    bool may_be_stale;
};

/* options and visitor are borrowed until fini. */
void ks_chain_init(struct ks_chain *chain, const struct ks_chain_options *options,
    const struct ks_chain_visitor *visitor);
void ks_chain_fini(
    struct ks_chain *chain); /* closes the files; their user pointers are not freed */

/*
 * Opens every file, chooses the runs, calls the visitor for each block in order. Errors: those of
 * the visitor; KS_CORRUPT a journal of another directory, or one that is gone altogether;
 * KS_UNSUPPORTED a newer version; KS_LIMIT too many files; KS_IO; KS_NO_MEMORY.
 */
enum ks_status ks_chain_walk(struct ks_chain *chain, struct ks_error *err) KS_MUST_USE;

#endif
