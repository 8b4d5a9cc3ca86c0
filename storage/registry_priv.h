/* The registry's inside, for registry*.c only. */
#ifndef KS_STORAGE_REGISTRY_PRIV_H
#define KS_STORAGE_REGISTRY_PRIV_H

#include "base/bytes.h"
#include "base/mutex.h"
#include "storage/registry.h"
#include "storage/u64_map.h"

struct ks_kv_txn;

/* A stream as the tables know it, from its CREATING to the end of its DELETING. */
struct ks_registry_entry {
    struct ks_stream *stream; /* [registry's mutex] the newest snapshot, referenced */
};

struct ks_registry_tombstone {
    uint64_t log_id;
    uint64_t lsn;  /* no block above it mentions the log */
    bool is_going; /* a change that removes it is under way */
};

struct ks_registry {
    struct ks_engine *engine;
    struct ks_mutex mu;                 /* KS_RANK_REGISTRY; guards all below */
    struct ks_registry_entry **by_name; /* sorted */
    size_t count;
    size_t capacity;
    bool is_loading;             /* by_name is not sorted yet */
    struct ks_u64_map by_number; /* entries */
    struct ks_u64_map by_id; /* entries, by ks_registry_id_hash of the stream id: ids are made so
                                that it is unique */
    struct ks_u64_map logs;  /* each referenced once */
    struct ks_registry_tombstone *tombstones;
    size_t tombstone_count;
    size_t tombstone_capacity;
    bool is_trimming;     /* a change that removes tombstones is under way */
    size_t logs_expected; /* room in logs and tombstones promised to changes under way */
    size_t tombstones_expected;
    uint64_t log_id_high; /* given out; the durable row may be behind until the change is */
    uint64_t stream_number_high;
    uint32_t open_shards;
};

uint64_t ks_registry_id_hash(const char *stream_id);
/* mu held, or before threads exist. Puts a new entry into all tables; takes the snapshot's
 * reference. False: no memory. */
bool ks_registry_insert(struct ks_registry *registry, struct ks_stream *stream) KS_MUST_USE;
bool ks_registry_has_name(const struct ks_registry *registry, const char *name); /* mu held */
/* Ends loading: sorts by_name. Returns a stream whose name is there twice, or NULL. */
const struct ks_stream *ks_registry_sort(struct ks_registry *registry);
/* mu held. Out of the tables; the snapshot's reference goes to the caller. */
struct ks_stream *ks_registry_remove(struct ks_registry *registry, uint64_t number);
/* mu held. Publishes a newer snapshot of a known stream (references it); returns the old one with
 * its reference. */
struct ks_stream *ks_registry_publish(struct ks_registry *registry, struct ks_stream *stream);
bool ks_registry_reserve_tombstones(struct ks_registry *registry, size_t more) KS_MUST_USE;

/* A snapshot with room for shard_count shards, one reference; NULL: no memory. */
struct ks_stream *ks_stream_new(uint32_t shard_count);
/* Sorts the open shards by hash range. False: they do not tile (load: damage). */
bool ks_stream_route_init(struct ks_stream *stream) KS_MUST_USE;

#endif
