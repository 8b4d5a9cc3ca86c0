/*
 * Recovery's inside: recovery.c visits the blocks that are the log (journal_chain.h) and begins the
 * new run; recovery_replay.c puts their batches into the logs and accounts for what is missing. One
 * thread, before others exist.
 */
#ifndef KS_STORAGE_RECOVERY_PRIV_H
#define KS_STORAGE_RECOVERY_PRIV_H

#include "storage/engine_priv.h"
#include "storage/journal_chain.h"
#include "storage/journal_priv.h"
#include "storage/u64_map.h"

/*
 * What lost blocks held. The chain tells how many ordinals are gone, and mostly the block behind
 * the hole tells of which logs. What no log is known to lack may be the end of any that nothing
 * mentions since.
 */
struct missing {
    uint64_t total;              /* in holes of which not every log is told */
    uint64_t ordinals;           /* of them not known to be of a log; 0 = every end is certain */
    uint64_t lsn;                /* of the newest block that held some of them */
    struct ks_u64_map mentioned; /* logs with a block behind it: their end is certain */
};

struct recovery {
    struct ks_engine *engine;
    struct ks_io *io;
    struct ks_catalog_journal_row row;
    struct ks_chain chain;
    struct missing missing;
};

#define EMIT(r, level, name, ...) ks_emit((r)->engine->options.events, level, name, __VA_ARGS__)
#define ULL(value) ((unsigned long long)(value))

/* --- recovery_replay.c --- */
/* A block whose table can be read; without a payload its batches are damaged. The window of the
 * scan must not move meanwhile. */
enum ks_status recovery_replay_block(struct recovery *r, const struct ks_chain_place *place,
    const struct ks_scan_block *block, struct ks_error *err);
/* So many ordinals are missing, up to lsn, and nobody tells of which logs. */
void recovery_lose(struct recovery *r, uint64_t ordinals, uint64_t lsn);

/* Damaged batches for logs whose end is uncertain: over every ordinal that may have been in use. */
struct recovery_pins {
    struct ks_journal_entry *entries;
    uint32_t count;
    uint32_t capacity;
    struct ks_buf payload;
};
enum ks_status recovery_pin_ends(
    struct recovery *r, struct recovery_pins *pins, struct ks_error *err);
void recovery_pins_fini(struct recovery_pins *pins);

#endif
