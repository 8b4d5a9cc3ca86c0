/*
 * What each minute brings to a stream, or to a shard with enhanced monitoring: figures.def. A loop
 * writes only its own cells; a cell has two halves, for even and odd minutes, so that one can be
 * read at leisure while the other is filled.
 *
 * A stream or shard gets a cell when something is first counted for it, up to slots_max; beyond
 * that nothing is kept of the others. Cells of streams that are gone are given to others, two
 * minutes later.
 *
 * Threads: ks_minutes_cell and _add by the loop alone; the others any.
 */
#ifndef KS_DAEMON_MINUTES_H
#define KS_DAEMON_MINUTES_H

#include "base/mutex.h"
#include "base/status.h"
#include "storage/registry.h"
#include "storage/u64_map.h"

#include <stdatomic.h>

struct ks_clock;

enum ks_figure {
#define KS_FIGURE(id, name, unit, scale, shard_metric) KS_FIGURE_##id,
#include "daemon/figures.def"
#undef KS_FIGURE
    KS_FIGURE_COUNT
};
_Static_assert(KS_FIGURE_COUNT <= 32, "a bit each in the history");

struct ks_figure_info {
    const char *name;
    const char *unit;
    uint32_t scale;
    enum ks_shard_metric shard_metric; /* KS_SHARD_METRIC_COUNT: none */
};
extern const struct ks_figure_info ks_figures[KS_FIGURE_COUNT];

struct ks_figure_value {
    uint64_t count; /* 0: nothing; the others mean nothing then */
    uint64_t sum;
    uint64_t least;
    uint64_t greatest;
};
void ks_figure_merge(struct ks_figure_value *into, const struct ks_figure_value *more);

#define KS_MINUTES_WHOLE_STREAM UINT32_MAX

/* What a minute brought. */
struct ks_minute_row {
    uint64_t minute; /* since 1970 */
    uint64_t stream_number;
    uint32_t shard_index; /* or KS_MINUTES_WHOLE_STREAM */
    struct ks_figure_value values[KS_FIGURE_COUNT];
};

struct ks_minute_value {
    _Atomic uint64_t count;
    _Atomic uint64_t sum;
    _Atomic uint64_t least;
    _Atomic uint64_t greatest;
};

struct ks_minute_half {
    _Atomic uint64_t minute;
    struct ks_minute_value values[KS_FIGURE_COUNT];
};

/* Of one loop. */
struct ks_loop_minutes {
    struct ks_minutes *minutes;
    struct ks_minute_half *halves; /* two a slot; its pages are touched only when used */
    struct ks_u64_map known;       /* [loop] key to number of the slot + 1 */
};

struct ks_minutes_options {
    const struct ks_clock *clock;                       /* running time */
    bool (*is_gone)(void *arg, uint64_t stream_number); /* the stream is deleted; any thread */
    void *arg;
    unsigned loop_count;
    uint32_t slots_max;
};

struct ks_minutes {
    struct ks_minutes_options options;
    _Atomic uint64_t minute; /* now */
    _Atomic bool has_news;   /* something was counted since it was last made false */
    struct ks_mutex mu;      /* KS_RANK_MINUTES */
    struct ks_u64_map slots; /* [mu] key to number of the slot + 1 */
    uint64_t *keys;          /* [mu] of each slot; 0: free */
    uint64_t *free_since_ms; /* [mu] 0: never used */
    uint64_t swept_mono_ms;  /* [mu] */
    struct ks_loop_minutes *loops;
    unsigned loop_count;
};

/* Errors: KS_NO_MEMORY. */
enum ks_status ks_minutes_create(const struct ks_minutes_options *options,
    struct ks_minutes **out_minutes, struct ks_error *err) KS_MUST_USE;
void ks_minutes_destroy(struct ks_minutes *minutes); /* NULL is fine */

/* The clock's minute; a step back of one is not followed: its half may still be filled. */
void ks_minutes_set(struct ks_minutes *minutes, uint64_t minute);
/* The half of this minute; NULL: there is no room for one more. */
struct ks_minute_half *ks_minutes_half(
    struct ks_loop_minutes *loop, uint64_t stream_number, uint32_t shard_index);
void ks_minutes_add(struct ks_minute_half *half, enum ks_figure figure, uint64_t value);

/* All that this or the last minute brought so far, in no order. */
void ks_minutes_collect(struct ks_minutes *minutes, uint64_t minute,
    void (*each)(void *arg, const struct ks_minute_row *row), void *arg);

#endif
