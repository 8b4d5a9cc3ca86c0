/*
 * Resharding: shards of a stream are split and merged while puts and reads go on.
 *
 * Life of one:  waits for its turn -> planned -> intent committed (children with their log ids,
 * stream UPDATING) -> the parents take no more appends, their close batches are queued -> all
 * closes durable -> parents CLOSED and children OPEN committed, in one transaction -> published:
 * the new routing, then the parents' ends. Once the intent is durable it only goes forward: a crash
 * at any point, or a disk that is full for a while, delays it; the next start goes on from the
 * intent.
 *
 * Until the children are published nobody sees the end of a parent, so a reader that comes to it
 * finds them; and nothing is appended to a child before every append to its parents is durable, so
 * a reader that reads parents first sees each key in order.
 *
 * Threads: submitted from any; advanced by the reshard step; committed by the catalog's.
 */
#ifndef KS_STORAGE_RESHARD_H
#define KS_STORAGE_RESHARD_H

#include "storage/registry.h"
#include "storage/step.h"

struct ks_reshards;

enum ks_status ks_reshards_create(
    struct ks_engine *engine, struct ks_reshards **out, struct ks_error *err) KS_MUST_USE;
/* Before the catalog ends: whoever waits for an answer gets one, nothing new begins. */
void ks_reshards_end(struct ks_reshards *reshards);
/* After the catalog has ended. */
void ks_reshards_destroy(struct ks_reshards *reshards);
struct ks_step *ks_reshards_step(struct ks_reshards *reshards);

/*
 * At the start, for a stream that the catalog says is UPDATING: its shards that are planned, in the
 * order of their indexes, with their logs (taken). Goes on once ks_reshards_resume has been called.
 */
enum ks_status ks_reshards_adopt(struct ks_reshards *reshards, struct ks_stream *stream,
    struct ks_shard *take_made, uint32_t made_count, struct ks_error *err) KS_MUST_USE;
void ks_reshards_resume(struct ks_reshards *reshards);

#endif
