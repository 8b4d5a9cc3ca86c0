/*
 * An engine on the simulated disk, for tests of what lies on it: appends, flushes, reads, power
 * cuts. The test owns the steps: nothing happens but in world_pump.
 */
#ifndef KS_TESTS_UNIT_STORAGE_STORE_WORLD_H
#define KS_TESTS_UNIT_STORAGE_STORE_WORLD_H

#include "storage/engine_priv.h"
#include "storage/io_sim.h"
#include "storage/kv_model.h"

struct world {
    struct ks_io_sim *disk;
    struct ks_kv_model *catalog_model;
    struct ks_kv_model *index_model;
    struct ks_kv *catalog;
    struct ks_fake_clock clock;
    struct ks_events events;
    struct ks_mailbox box;
    struct ks_engine_limits limits;
    struct ks_engine *engine;
    bool has_no_index; /* set before world_open, as the next three */
    bool is_catalog_copy;
    bool accepts_older_catalog;
    uint64_t cut_after;
    unsigned damage_events;   /* read.damaged and segment.damaged */
    unsigned dropped_events;  /* index.dropped */
    unsigned lost_pool_files; /* files.pool_file_missing */
    unsigned scrub_events;    /* scrub.damaged */
    unsigned reserve_events;  /* journal.reserve_used */
    enum ks_status admin_status;
    struct ks_stream *created;
};

void world_init(struct world *world);
void world_fini(struct world *world);
void world_open(struct world *world);
enum ks_status world_try_open(struct world *world, struct ks_error *err);
/* Cuts the power (or, clean, stops in order) and opens again. */
void world_restart(struct world *world, bool is_clean);
/* What "backup-catalog" makes, and cutting the power and starting with that instead of the catalog
 * of today. The copy belongs to the world afterwards; NULL: with the catalog that is there. With
 * cut_after the power goes again in the middle of the start. */
struct ks_kv_model *world_copy_catalog(struct world *world);
enum ks_status world_restart_with(
    struct world *world, struct ks_kv_model *copy, struct ks_error *err);
void world_pump(struct world *world);
/* Everything durable goes to segments. */
void world_flush(struct world *world);
enum ks_status world_create(struct world *world, const char *name, uint32_t shards);
enum ks_status world_delete(struct world *world, const char *name);
/* The reshard runs to its end, or what it was answered. */
enum ks_status world_reshard(
    struct world *world, const char *name, const struct ks_reshard_spec *spec);
enum ks_status world_split(struct world *world, const char *name, uint32_t shard, ks_u128 key);
enum ks_status world_merge(struct world *world, const char *name, uint32_t left, uint32_t right);
enum ks_status world_remove_shard(struct world *world, const char *name, uint32_t shard);
/* A snapshot; referenced. */
struct ks_stream *world_stream(struct world *world, const char *name);
enum ks_status world_change_retention(
    struct world *world, const char *name, const struct ks_retention_spec *spec);
enum ks_status world_set_retention(struct world *world, const char *name, uint32_t hours);
enum ks_status world_set_mode(struct world *world, const char *name, enum ks_stream_mode mode);
enum ks_status world_delete_later(struct world *world, const char *name, uint64_t keep_ms);
enum ks_status world_restore(struct world *world, const char *name);
struct ks_account;
enum ks_status world_set_account(struct world *world, const struct ks_account *account);
enum ks_status world_set(struct world *world, const char *name, struct ks_setting_change *change);
/* A pass of the compactor, to its end. */
enum ks_status world_compact(struct world *world);
/* Of a stream that is there. */
enum ks_stream_status world_status(struct world *world, const char *name);
struct ks_log *world_log(
    struct world *world, const char *name, uint32_t shard); /* lives as long as the stream */
/* One batch of count records whose data says their sequence; durable after the next pump. */
enum ks_status world_append(
    struct world *world, struct ks_log *log, uint32_t count, uint32_t data_bytes);
/*
 * Reads [from, end] and checks every record: in order, intact, its own. Damaged ones are counted in
 * *out_damaged and must be told of exactly once. Returns how many intact records were read.
 */
uint64_t world_read_all(
    struct world *world, struct ks_log *log, uint64_t from, uint64_t *out_damaged);

#endif
