/*
 * A segment: one file holding consecutive batches of one log: a 4 KiB header, stored batches, and
 * once sealed a footer with every batch's length and count (FORMAT.md). Written by the flusher with
 * pwrite; read through read-only maps.
 *
 * Life:    active -> sealed -> retired. A sealed file is never written again under this generation.
 * Threads: the list belongs to the log's mutex; a pinned segment may be read by any thread below
 * readable_bytes.
 */
#ifndef KS_STORAGE_SEGMENT_H
#define KS_STORAGE_SEGMENT_H

#include "base/list.h"
#include "base/mutex.h"
#include "base/status.h"
#include "storage/io.h"
#include "storage/segment_format.h"

#include <stdatomic.h>

struct ks_engine;

enum ks_segment_state { KS_SEGMENT_ACTIVE, KS_SEGMENT_SEALED, KS_SEGMENT_RETIRED };

/* One row of the sparse index: the batch at offset begins with sequence. */
struct ks_index_entry {
    uint64_t sequence;
    uint64_t arrival_unix_ms;
    uint32_t offset;
};

#define KS_SEGMENT_HINTS 4
struct ks_segment_hints {
    struct ks_index_entry entries[KS_SEGMENT_HINTS];
    uint32_t next;
};

struct ks_segment {
    struct ks_engine *engine;    /* [const] */
    uint64_t file_id;            /* [const] */
    uint64_t generation;         /* [const] */
    uint64_t log_id;             /* [const] */
    uint64_t first_sequence;     /* [const] */
    enum ks_segment_state state; /* [log mutex] */
    uint64_t last_sequence; /* [log mutex] of the flushed part; first_sequence - 1 while empty */
    uint64_t first_arrival_unix_ms; /* [log mutex] */
    uint64_t last_arrival_unix_ms;  /* [log mutex] */
    uint64_t readable_bytes;        /* [log mutex] file offset behind the last flushed batch; header
                                       included; no footer */
    uint64_t allocated_bytes;       /* [flusher] */
    uint64_t file_bytes;            /* [log mutex] sealed: the whole file, footer included */
    uint64_t held_bytes;  /* [log mutex] retired: what it takes on disk until it is let go */
    uint32_t batch_count; /* [log mutex] */
    struct ks_index_entry *sparse; /* [log mutex] active only: an entry about every
                                      index_interval_bytes; may be NULL after a start */
    uint32_t sparse_count;
    uint32_t sparse_capacity;

    _Atomic uint32_t refs; /* the list holds one, each pin one; at zero: unmapped, and if retired
                              given back to the pool */
    struct ks_mutex mu;    /* KS_RANK_SEGMENT: the map */
    void *map;             /* [mu] NULL = not mapped */
    uint64_t map_bytes; /* [mu] a longer need makes a new mapping once no pin uses the old one, or
                           reads a copy */
    uint32_t map_pins;  /* [mu] */
    struct ks_list map_link; /* [map cache] */
    bool is_header_checked; /* [mu] first use after a start: header matches id and generation, cache
                               was dropped */
    bool is_damaged;        /* [mu] it does not: nothing in it can be served */
    struct ks_segment_hints *hints; /* [mu] where recent reads ended: the next one goes on there.
                                       NULL before the first, and when the map went */
    uint64_t read_mono_ns;          /* [mu] when the last read ended in it; 0 = never */
};

/* Which segments are mapped, least recently used first. */
struct ks_map_cache {
    struct ks_mutex mu;  /* KS_RANK_MAPS */
    struct ks_list maps; /* [mu] ks_segment.map_link */
    uint32_t count;      /* [mu] */
    uint32_t count_max;  /* [const] far below vm.max_map_count, 65 530 */
};
#define KS_MAPS_MAX 1024u
void ks_map_cache_init(struct ks_map_cache *cache, uint32_t count_max);
void ks_map_cache_fini(struct ks_map_cache *cache);

/*
 * Opens the file. The first use after a start drops its cached pages if the stop was unclean and
 * checks the header: waits for the disk. Errors: KS_CORRUPT the file is not the one the catalog
 * means, or is gone; KS_IO; KS_NO_MEMORY.
 */
enum ks_status ks_segment_open_file(struct ks_segment *segment, unsigned open_flags,
    struct ks_file **out_file, struct ks_error *err) KS_MUST_USE;
/*
 * Pins a map of at least bytes. Errors: KS_WOULD_BLOCK it would have to be made, and may_block is
 * not set; KS_IN_USE the map is too short and pinned (read a copy); those of ks_segment_open_file.
 */
enum ks_status ks_segment_pin_map(struct ks_segment *segment, uint64_t bytes, bool may_block,
    const uint8_t **out_map, struct ks_error *err) KS_MUST_USE;
void ks_segment_unpin_map(struct ks_segment *segment);
/* Remembers and recalls where reads ended. Recall: the nearest batch known at or not far before
 * sequence; false if there is none. */
void ks_segment_hint(struct ks_segment *segment, const struct ks_index_entry *entry);
bool ks_segment_recall(
    struct ks_segment *segment, uint64_t sequence, struct ks_index_entry *out_entry);

/* Segments of one log, oldest first, in an array for binary search. */
struct ks_segment_list {
    struct ks_segment **items;
    uint32_t count;
    uint32_t capacity;
};

/* One reference for the caller; everything else is zero. NULL: no memory. */
struct ks_segment *ks_segment_create(struct ks_engine *engine, uint64_t file_id,
    uint64_t generation, uint64_t log_id, uint64_t first_sequence) KS_MUST_USE;
/* What it takes on disk, but for what is allocated ahead; log mutex held. */
uint64_t ks_segment_disk_bytes(const struct ks_segment *segment);
/* The RETIRED row is durable: with the last reference the file is unmapped and given back (log
 * mutex held). */
void ks_segment_retire(struct ks_segment *segment);
struct ks_segment *ks_segment_ref(struct ks_segment *segment);
void ks_segment_unref(struct ks_segment *segment);
/* The segment that holds sequence, or the first one behind it; NULL when all end before it. */
struct ks_segment *ks_segment_list_find(const struct ks_segment_list *list, uint64_t sequence);
/* The oldest segment with a record that arrived at unix_ms or later; NULL: there is none. One that
 * was just made, in which nothing is yet, is passed by. */
struct ks_segment *ks_segment_list_find_arrival(
    const struct ks_segment_list *list, uint64_t unix_ms);
bool ks_segment_list_reserve(struct ks_segment_list *list) KS_MUST_USE; /* room for one more */
void ks_segment_list_push(struct ks_segment_list *list,
    struct ks_segment *segment);                         /* after reserve; takes the reference */
void ks_segment_list_fini(struct ks_segment_list *list); /* drops the references */

#endif
