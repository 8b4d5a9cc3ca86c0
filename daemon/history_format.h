/*
 * The bytes of the history: files of blocks, a block per minute and run of the broker.
 *
 *   0   u32 magic           "KSH1"
 *   4   u32 crc32c          of all that follows in the block
 *   8   u32 payload bytes
 *   12  u32 zero
 *   16  u64 minute          since 1970
 *   24  u64 run             of the broker (DIR/run)
 *   32  the payload: for each stream, or shard with enhanced monitoring, varints: number of the
 *       stream, index of the shard + 1 (0: the whole stream), bits of the figures that follow
 *       (position in figures.def), and of each count, sum, least, greatest
 *
 * Numbers are little-endian. A block is whole or it is not there: what follows one that is not is
 * not read. Several blocks of a minute add up.
 */
#ifndef KS_DAEMON_HISTORY_FORMAT_H
#define KS_DAEMON_HISTORY_FORMAT_H

#include "base/bytes.h"
#include "daemon/minutes.h"

#define KS_HISTORY_HEADER_BYTES 32u
#define KS_HISTORY_BLOCK_BYTES_MAX (16u << 20)

struct ks_history_block {
    uint64_t minute;
    uint64_t run_id;
    struct ks_view payload;
    size_t bytes; /* of the whole block */
};

/* Begins a block in an empty buffer; rows follow, and the end makes it whole. False: no room. */
bool ks_history_block_begin(struct ks_buf *buf) KS_MUST_USE;
bool ks_history_block_add(struct ks_buf *buf, const struct ks_minute_row *row) KS_MUST_USE;
void ks_history_block_end(struct ks_buf *buf, uint64_t minute, uint64_t run_id);

/* The block at the beginning of data. False: none that is whole. */
bool ks_history_block_read(struct ks_view data, struct ks_history_block *out) KS_MUST_USE;
/* The next row of a payload; false: the end, or what is no row. minute is not touched. */
bool ks_history_row_read(struct ks_cursor *payload, struct ks_minute_row *row) KS_MUST_USE;

#endif
