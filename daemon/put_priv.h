/*
 * A put on its way: parts, one per shard concerned, each with an append of its own. ops_put.c takes
 * requests apart; put_work.c appends, waits for reshards and answers.
 *
 * A part whose shard is about to close, or has closed since the routing was looked up, is refused
 * by its log. Records of a plain put wait for the new routing (briefly, and within bounds) and go
 * to the children; a part of a routed put is answered with the new routing, for its client has to
 * know. Puts that wait keep their order: a later one of the same loop never overtakes them.
 *
 * Threads: the loop's only.
 */
#ifndef KS_DAEMON_PUT_PRIV_H
#define KS_DAEMON_PUT_PRIV_H

#include "daemon/ops.h"

struct put_part {
    struct ks_append append;
    struct ks_put_work *work;
    struct ks_log *log; /* of work->stream */
    uint32_t shard_index;
    uint64_t created_s;
    ks_u128 hash_first;
    ks_u128 hash_last;
    bool was_open;   /* in work->stream */
    bool is_refused; /* the shard closes: to be routed again */
    enum ks_status status;
    const char *error_text; /* in the arena; NULL: the status's own */
    uint64_t expected_producer_sequence;
    struct ks_limit_refusal refusal; /* if has_refusal: by a limit of the stream */
    bool has_refusal;
    bool is_admitted; /* has been counted: not again when it is routed again */
};

struct ks_put_work {
    struct ks_call *call;
    struct ks_stream *stream; /* the routing of the parts; referenced until done */
    struct put_part **parts;  /* room for parts_max */
    uint32_t part_count;
    uint32_t parts_max;
    uint32_t pending;      /* appends under way, and one while more are to be started */
    uint32_t record_count; /* plain form */
    uint16_t *record_parts;
    bool is_put_record;
    struct ks_list held_link; /* loop->held_puts */
    uint64_t held_bytes;
    uint64_t held_until_mono_ms; /* 0: has not been held yet */
};

/* Parts are made one by one, parts_max at most. NULL: no memory. */
struct ks_put_work *ks_put_work_make(
    struct ks_call *call, struct ks_stream *stream, uint32_t parts_max);
struct put_part *ks_put_work_add(struct ks_put_work *work, const struct ks_shard *shard);
/* Appends all parts; the call answers when the last one has ended. The work takes a reference to
 * the stream. */
void ks_put_work_start(struct ks_put_work *work);
/* Before a put of the stream: those that were held and can go on now do. */
void ks_put_release_held(struct ks_loop *loop, const struct ks_stream *stream);

#endif
