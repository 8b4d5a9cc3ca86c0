/* The insides of the simulated disk: io_sim.c has the calls, io_sim_disk.c files, names and the
 * power switch. */
#ifndef KS_STORAGE_IO_SIM_PRIV_H
#define KS_STORAGE_IO_SIM_PRIV_H

#include "base/list.h"
#include "base/prng.h"
#include "storage/io_sim.h"

#include <pthread.h>

/* One file or directory. It lives while a name (cached, durable or in a pending change), a handle
 * or a map needs it. */
struct sim_node {
    struct ks_list link; /* in sim->nodes, or in sim->spare_nodes */
    uint8_t *cached;     /* file_bytes_max: what reads and maps see; zeros beyond the size */
    uint8_t *durable;    /* file_bytes_max: what a power cut leaves */
    uint64_t *dirty;     /* a sector's moment of last unsynced write, 0 = clean */
    bool *allocated;     /* a sector has real blocks */
    bool *allocated_durable;
    uint64_t cached_bytes, durable_bytes;
    uint64_t resized_at;           /* moment of the last unsynced change of the size, 0 = none */
    uint64_t used_bytes;           /* nothing was ever touched beyond, in any of the arrays */
    uint64_t dirty_from, dirty_to; /* sectors; all dirty ones lie between */
    uint64_t bad_from, bad_to;     /* reads of these bytes fail */
    unsigned refs;                 /* names and changes that point here */
    unsigned handles, maps;
    bool is_dir;
};

/* A name that exists or existed. Never freed before the disk is formatted. */
struct sim_name {
    char *path;
    size_t dir_bytes; /* length of the part before the last slash; 0 = in the root */
    uint32_t hash;
    struct sim_node *cached, *durable; /* NULL = not there */
};

/* An unsynced change of names. */
struct sim_change {
    struct sim_name *name; /* gets node */
    struct sim_node *node; /* NULL: removed */
    struct sim_name *old;  /* loses what it has (rename), or NULL */
    uint64_t moment;
    bool is_marked; /* scratch: lost (power_on) or made durable (sync_names) */
};

struct ks_io_sim {
    struct ks_io io;
    struct ks_prng prng;
    pthread_t owner;
    uint64_t file_bytes_max, sectors_max;
    uint64_t capacity_bytes; /* 0 = no limit */
    uint64_t used_sectors;
    unsigned cold_percent;
    uint64_t moment; /* rises with every sector written and every name changed */
    uint64_t steps, cut_in, fail_sync_in, fail_write_in;
    bool is_cut;
    unsigned handles, maps;
    struct ks_list nodes, spare_nodes;
    struct sim_name **names;
    size_t name_count, name_capacity;
    struct sim_change *changes;
    size_t change_count, change_capacity;
    struct ks_io_sim_counts counts;
};

struct sim_node *ks_sim_node_create(struct ks_io_sim *sim, bool is_dir); /* NULL: no memory */
/* Back to the spare ones if nothing needs it any more. */
void ks_sim_node_release(struct ks_io_sim *sim, struct sim_node *node);
/* A write into the cache; there is room, checked before. */
void ks_sim_node_write(struct ks_io_sim *sim, struct sim_node *node, const void *data,
    uint64_t bytes, uint64_t offset);
/* How many sectors of the range have no blocks yet. */
uint64_t ks_sim_node_missing(const struct sim_node *node, uint64_t offset, uint64_t bytes);
void ks_sim_node_allocate(
    struct ks_io_sim *sim, struct sim_node *node, uint64_t offset, uint64_t bytes);
void ks_sim_node_resize(struct ks_io_sim *sim, struct sim_node *node, uint64_t bytes);
void ks_sim_node_sync(
    struct ks_io_sim *sim, struct sim_node *node, uint64_t offset, uint64_t bytes);
/* The sync failed: the dirty sectors of the range will never be written, and nobody remembers. */
void ks_sim_node_forget(
    struct ks_io_sim *sim, struct sim_node *node, uint64_t offset, uint64_t bytes);
void ks_sim_node_drop_cache(struct sim_node *node);

/* The name, whether or not there is something behind it; NULL: never seen. */
struct sim_name *ks_sim_name_find(struct ks_io_sim *sim, const char *path);
/* Makes the name if it was never seen; NULL: no memory. */
struct sim_name *ks_sim_name_make(struct ks_io_sim *sim, const char *path);
bool ks_sim_name_is_in(const struct sim_name *name, const char *dir);
/* Room for one more change, so that the next one cannot fail. */
bool ks_sim_reserve_change(struct ks_io_sim *sim) KS_MUST_USE;
void ks_sim_change(
    struct ks_io_sim *sim, struct sim_name *name, struct sim_node *node, struct sim_name *old);
void ks_sim_sync_names(struct ks_io_sim *sim, const char *dir);

/* Makes cache and disk what survived. Not for KS_SIM_PROCESS. */
void ks_sim_survive(struct ks_io_sim *sim, enum ks_sim_survive mode);
/* Every file is gone (format); their memory is kept as spare. */
void ks_sim_forget_names(struct ks_io_sim *sim);
void ks_sim_destroy_nodes(struct ks_io_sim *sim); /* the spare ones; there are no others */

#endif
