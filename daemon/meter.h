/*
 * What a loop counts of streams and requests. A loop writes only its own cells, so a count costs a
 * load and a store; /metrics adds up those of all loops.
 *
 * A stream gets a cell of its own when something is first counted for it, in the order of their
 * coming, up to streams_max at a time; the others share one. Cells of deleted streams are given to
 * others, a minute later, when no request can be under way for them any more.
 */
#ifndef KS_DAEMON_METER_H
#define KS_DAEMON_METER_H

#include "base/latency.h"
#include "base/mutex.h"
#include "base/status.h"
#include "storage/u64_map.h"

struct ks_clock;

enum ks_stream_count {
    KS_STREAM_IN_RECORDS,
    KS_STREAM_IN_BYTES,
    KS_STREAM_OUT_RECORDS,
    KS_STREAM_OUT_BYTES,
    KS_STREAM_REFUSED, /* records; + enum ks_refusal */
    KS_STREAM_COUNTS = KS_STREAM_REFUSED + 5,
};

/* One stream on one loop: whole cache lines, the first for all but one reason of refusals. */
struct ks_stream_cell {
    _Alignas(64) _Atomic uint64_t values[16];
};
_Static_assert(KS_STREAM_COUNTS <= 16, "a count per reason");

enum ks_request_class { KS_REQUEST_PUT, KS_REQUEST_GET, KS_REQUEST_ADMIN, KS_REQUEST_CLASSES };

#define KS_METER_OPERATIONS_MAX 128u
#define KS_METER_STATUSES_MAX 64u
#define KS_METER_SLOTS_A_TURN 64u /* looked at under one lock */

/* Of one loop. */
struct ks_loop_meter {
    struct ks_meter *meter;
    struct ks_stream_cell *cells;                       /* streams_max, and that of the others */
    struct ks_u64_map known;                            /* [loop] stream number to its cell */
    _Atomic uint64_t requests[KS_METER_OPERATIONS_MAX]; /* by position in ks_operations */
    _Atomic uint64_t errors[KS_METER_STATUSES_MAX];     /* by status */
    _Atomic uint64_t reads_delayed;                     /* waited for room for their answer */
    struct ks_latency duration[KS_REQUEST_CLASSES];
    struct ks_latency put_answer; /* from durable to its answer */
};

struct ks_meter_options {
    const struct ks_clock *clock;
    bool (*is_gone)(void *arg, uint64_t stream_number); /* the stream is deleted; any thread */
    void *arg;
    unsigned loop_count;
    uint32_t streams_max;
};

/* Of all loops. */
struct ks_meter {
    struct ks_meter_options options;
    struct ks_mutex mu;      /* KS_RANK_METER */
    struct ks_u64_map slots; /* [mu] stream number to number of its slot + 1 */
    uint64_t *numbers;       /* [mu] of each slot; 0 = free */
    uint64_t *free_since_ms; /* [mu] monotonic; 0 = never used */
    uint64_t swept_mono_ms;  /* [mu] when the last round of sweeping ended */
    uint32_t sweep_next;     /* [mu] of the round under way; 0: there is none */
    struct ks_loop_meter *loops;
    unsigned loop_count;
};

/* Errors: KS_NO_MEMORY. */
enum ks_status ks_meter_create(const struct ks_meter_options *options, struct ks_meter **out_meter,
    struct ks_error *err) KS_MUST_USE;
void ks_meter_destroy(struct ks_meter *meter); /* NULL is fine */

/* The loop's thread: counts of that stream. */
struct ks_stream_cell *ks_meter_cell(struct ks_loop_meter *loop, uint64_t stream_number);

/* One writer: no need for an atomic addition. */
static inline void ks_meter_add(_Atomic uint64_t *count, uint64_t more)
{
    atomic_store_explicit(
        count, atomic_load_explicit(count, memory_order_relaxed) + more, memory_order_relaxed);
}

/* Any thread: the sums of all loops. */
struct ks_stream_sums {
    uint64_t number; /* 0: of all streams without a cell of their own */
    uint64_t values[KS_STREAM_COUNTS];
};
/* Fills at most streams_max + 1; returns how many. Frees the slots of streams that are gone. */
uint32_t ks_meter_streams(struct ks_meter *meter, struct ks_stream_sums *out);

/* Those of one stream; false: it has no cell of its own, or nothing has been counted yet. */
bool ks_meter_stream(
    struct ks_meter *meter, uint64_t stream_number, struct ks_stream_sums *out) KS_MUST_USE;
/* Whether a stream without a cell may have counts among those of the others. */
bool ks_meter_is_full(struct ks_meter *meter);

#endif
