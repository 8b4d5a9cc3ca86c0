/*
 * Space for the day when the disk is full: a file that only holds blocks. A start on a full disk
 * whose journal files are all needed takes a piece of it for the file of its run, so that records
 * can be read and streams deleted; without that nobody could make room.
 *
 * Threads: at open only.
 */
#ifndef KS_STORAGE_JOURNAL_RESERVE_H
#define KS_STORAGE_JOURNAL_RESERVE_H

#include "storage/io.h"

struct ks_journal_reserve {
    uint64_t bytes; /* of the whole: 2 MiB, less on a small disk and with small journal files */
    uint64_t
        piece; /* of one start: half for its journal file, half for small files of the daemon */
};

struct ks_journal_reserve ks_journal_reserve_plan(struct ks_io *io, uint64_t journal_file_bytes);
/* Makes the reserve whole again, if there is room. */
void ks_journal_reserve_fill(struct ks_io *io, const struct ks_journal_reserve *reserve);
/* Frees a piece, more if bytes is more than half of one. False: nothing was left. */
bool ks_journal_reserve_spend(
    struct ks_io *io, const struct ks_journal_reserve *reserve, uint64_t bytes);

#endif
